"""What an error means for people and programs."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from krakpot import values
from krakpot.cli.command import Command, Commands, Failure, Value, json_option
from krakpot.errors import (
    ConfigError,
    ConnectionLost,
    FeedError,
    KrakpotError,
    NoLake,
    StorageError,
    TokenError,
)


@pytest.mark.parametrize(
    ("error", "kind", "code", "retryable"),
    [
        (click.UsageError("no"), "usage", 2, False),
        (click.MissingParameter("no"), "usage", 2, False),
        (click.BadParameter("no"), "config", 2, False),
        (ConfigError("no"), "config", 2, False),
        (ValueError("no"), "config", 2, False),
        (NoLake("no", Path("x")), "no_lake", 2, False),
        (StorageError("no", Path("x")), "storage", 1, False),
        (OSError(errno.ENOSPC, "No space left on device"), "storage", 1, False),
        (TokenError("no", lasting=True), "token", 1, False),
        (TokenError("no", lasting=False), "token", 1, True),
        (ConnectionLost(3, "no"), "connection", 1, True),
        (FeedError("no"), "feed", 1, True),
        (KrakpotError("no"), "krakpot", 1, False),
        (KeyboardInterrupt(), "interrupted", 130, True),
    ],
)
def test_kinds_of_errors(error: BaseException, kind: str, code: int, *, retryable: bool) -> None:
    """Each class has its kind and exit code; whether to try again is said."""
    found = Failure.of(error)
    assert found is not None
    assert (found.kind, found.exit_code, found.retryable) == (kind, code, retryable)
    assert found.message


def test_a_fault_of_krakpot_is_none_of_the_user() -> None:
    """Its traceback is worth a report."""
    assert Failure.of(AssertionError("x")) is None
    assert Failure.of(TypeError("x")) is None


def test_a_message_is_one_printable_line() -> None:
    """Whatever was typed: line feeds, NUL bytes, bytes that are no UTF-8."""
    found = Failure.of(ConfigError("a\nb\0c\udcff \x1b[31m"))
    assert found is not None
    assert found.message == "a b\\x00c\\udcff \\x1b[31m"


def test_what_the_system_says_names_the_file() -> None:
    """An error of the system without a sentence of ours."""
    found = Failure.of(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert found is not None
    assert found.message == "permission denied: /x/y"


def run(error: BaseException, *arguments: str) -> Result:
    """A command that ends with an error."""

    @click.group(cls=Commands)
    def group() -> None:
        """Hold the command."""

    @click.command(cls=Command, interrupted="half is done; run it again")
    @click.option("--lake", type=Value(values.folder, "FOLDER"))
    @json_option
    def work(lake: Path | None, *, json_: bool) -> int:
        """Fail."""
        raise error

    group.add_command(work)
    return CliRunner().invoke(group, ["work", *arguments])


def test_ctrl_c_says_what_became_of_the_work() -> None:
    """Exit code 130, one sentence."""
    done = run(KeyboardInterrupt())
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr == "krakpot: interrupted: half is done; run it again\n"
    done = run(KeyboardInterrupt(), "--json")
    assert json.loads(done.stdout)["error"]["kind"] == "interrupted"


def test_an_error_of_the_system_in_a_lake_names_the_lake() -> None:
    """A part that cannot be read: verify says which one it is."""
    done = run(OSError(errno.EIO, "Input/output error"), "--lake", "x")
    assert done.exit_code == 1
    assert "a part cannot be read ([Errno 5] Input/output error); `krakpot verify x` names it: x" in done.stderr


def test_with_json_the_error_is_the_object() -> None:
    """The same sentence and exit code."""
    plain, facts = run(ConfigError("it is wrong")), run(ConfigError("it is wrong"), "--json")
    assert (plain.exit_code, plain.stderr, plain.stdout) == (2, "krakpot: it is wrong\n", "")
    assert (facts.exit_code, facts.stderr) == (2, plain.stderr)
    assert json.loads(facts.stdout) == {"error": {"kind": "config", "message": "it is wrong", "retryable": False}}


def test_usage_errors_too() -> None:
    """Click's own sentences, with the option and where the help is."""
    done = run(ConfigError("x"), "--lake", "")
    assert done.exit_code == 2
    assert done.stderr == "krakpot: --lake: '' is not allowed; allowed is the name of a folder\n"
    done = run(ConfigError("x"), "--json", "--lak", "x")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["message"].startswith("no such option")


def test_a_fault_of_krakpot_shows_its_traceback() -> None:
    """It is not hidden behind a sentence."""
    assert isinstance(run(AssertionError("x")).exception, AssertionError)

"""The command line as a whole: help, version, exit codes, and what it loads."""

from __future__ import annotations

import importlib.abc
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from commands import facts, krakpot, wrong
from krakpot import __version__, _core
from krakpot.__main__ import main as start
from krakpot.cli.main import main

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    "arguments",
    [["verify"], ["no-such-command"], ["ingest"], ["book", "lake"], ["verify", "--fast"], ["verify", "a", "b"]],
)
def test_what_click_refuses_is_exit_2_too(arguments: list[str]) -> None:
    """One sentence, and where the help is."""
    wrong(krakpot(*arguments), "--help`")


def test_json_before_the_command_is_said_to_belong_behind_it() -> None:
    """The command line as it is right, and the error as one object, as was asked for."""
    done = krakpot("--json", "verify", "lake")
    sentence = "--json belongs behind the command: `krakpot verify --json`; see `krakpot --help`"
    assert (done.exit_code, done.stderr) == (2, f"krakpot: {sentence}\n")
    assert facts(done)["error"] == {"kind": "usage", "message": sentence, "retryable": False}


def test_every_command_has_help() -> None:
    """A first sentence, and what each option means."""
    assert len(main.commands) >= 8
    for name, command in main.commands.items():
        shown = krakpot(name, "--help")
        assert shown.exit_code == 0
        assert command.help
        assert "--json" in shown.stdout, name
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), f"{name} {parameter.name}"
    assert all(name in krakpot("--help").stdout for name in main.commands)
    assert __version__ in krakpot("--version").stdout
    assert krakpot().stdout == krakpot("--help").stdout


def test_what_chooses_rows_is_called_the_same_in_every_command() -> None:
    """Pairs are chosen by ``--symbols``, a range by ``--start`` and ``--end``."""
    flags = {(name, flag) for name, command in main.commands.items() for one in command.params for flag in one.opts}
    assert {name for name, flag in flags if flag == "--symbols"} >= {"book", "bars", "coverage", "order", "plot"}
    assert {name for name, flag in flags if flag == "--start"} >= {"compare", "order", "plot", "integrity"}
    # The import names the pair of one file; it chooses nothing. The export's is its format.
    others = {(name, flag) for name, flag in flags if flag in {"--symbol", "--pair", "--from", "--to"}}
    assert others == {("import", "--symbol"), ("export", "--to")}


@pytest.mark.parametrize("columns", [80, 100])
def test_the_list_of_commands_is_not_cut(columns: int) -> None:
    """What a command does is one whole sentence on one line, in a terminal of the usual width."""
    shown = CliRunner().invoke(main, ["--help"], terminal_width=columns).stdout
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(main.commands)
    assert not [line for line in lines if not line.endswith(".") or line.endswith("...") or len(line) > columns]


@pytest.mark.parametrize("name", main.commands)
def test_help_teaches_by_example(name: str) -> None:
    """At least two examples of the command, as they are typed."""
    shown = krakpot(name, "--help").stdout
    examples = [
        line for line in shown.splitlines() if line.startswith(f"  krakpot {name} ") or line == f"  krakpot {name}"
    ]
    assert len(examples) >= 2, shown


def test_debug_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever wants to report it."""
    monkeypatch.setenv("KRAKPOT_DEBUG", "1")
    assert type(krakpot("verify", "none").exception).__name__ == "NoLake"


@pytest.mark.slow
def test_as_a_process(folder: Path, file: Path) -> None:
    """``python -m krakpot``: the same doors, real exit codes, and no traceback when the reader of a pipe goes away."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "krakpot", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=folder,
        )

    assert run("ingest", str(file), "--out", "lake").returncode == 0
    assert run("verify", "lake").returncode == 0
    missing = run("verify", "none")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "Traceback" not in missing.stderr
    assert os.environ.get("KRAKPOT_DEBUG") is None


def test_the_commands_read_nothing_that_they_need_not(file: Path) -> None:
    """Help and version come without Polars, which takes longer to load than all the rest."""
    code = "import sys; from krakpot.cli import main; sys.exit('polars' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert set(_core.TABLES) >= {"book"}
    assert pl.__version__


def test_ctrl_c_while_it_is_loaded_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The modules of the commands take a moment to load; Ctrl-C in it ends the program as it does later."""

    class Interrupting(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, *_: object) -> None:
            if fullname == "krakpot.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "krakpot.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "krakpot: interrupted\n"

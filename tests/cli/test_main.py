"""The command line as a whole: help, version, exit codes, and what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import lakes
from commands import krakpot, wrong
from krakpot import __version__, _core
from krakpot.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands are given in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    """A file of good frames."""
    return lakes.write_frames(folder / "good.jsonl", lakes.market(200))


def test_wrong_use_is_exit_2_with_one_plain_sentence(folder: Path, file: Path) -> None:
    """Missing, unreadable, unknown, not allowed, not writable: each says what to do, none shows a traceback."""
    krakpot("ingest", file, "--out", "lake")
    (folder / "spoiled.jsonl.zst").write_bytes(b"no zstd")
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "typo.toml").write_text("depht = 10\n")
    for arguments, sentence in [
        (["ingest", "none.jsonl"], "none.jsonl: there is no such file; give files with one frame per line"),
        (["ingest", "lake"], "lake: cannot be read: Is a directory"),
        (["ingest", "spoiled.jsonl.zst"], "spoiled.jsonl.zst: cannot be read"),
        (["ingest", "empty.jsonl"], "empty.jsonl: has no frames"),
        (["ingest", file, "--depth", "7"], "--depth: '7' is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
        (["ingest", file, "--precision", "BTCUSD"], "--precision: "),
        (["ingest", file, "--out", file], "a lake cannot be made here; choose a folder that you may write to"),
        (["ingest", file, "--out", file / "below"], "a lake cannot be made here"),
        (["verify", "none"], "there is no such folder; give the folder that `krakpot record --out` wrote"),
        (["verify", file], "there is no such folder"),
        (["verify", "."], "this folder is not a lake: it has no _lake.json"),
        (["recover", "none"], "there is no such folder"),
        (["coverage", "none"], "there is no such folder"),
        (["coverage", "lake", "--symbol", "BTC/USDC"], "the lake has no symbol 'BTC/USDC'; did you mean BTC/USD"),
        (["pairs", "--lake", "none"], "there is no such folder"),
        (["pairs", "--url", "http://x"], "--url: 'http://x' is not allowed; allowed is a wss:// address"),
        (
            ["record", "--config", "typo.toml"],
            "typo.toml: unknown key 'depht' (did you mean depth?); allowed are api_key, api_secret, channel_symbols",
        ),
        (["record", "--config", "none.toml"], "none.toml: there is no such file"),
        (["record", "--depth", "11"], "--depth: '11' is not allowed"),
        (
            ["record", "--channels", "books"],
            "--channels: 'books' is not allowed; allowed is one or more of book, trade, ticker, ohlc",
        ),
        (["record", "--for", "soon"], "--for: 'soon' is not allowed; allowed is a duration"),
    ]:
        assert isinstance(arguments, list)
        wrong(krakpot(*arguments), str(sentence))
    assert not (folder / "data").exists() or not list((folder / "data").rglob("*.parquet"))


@pytest.mark.parametrize(
    "arguments",
    [["verify"], ["no-such-command"], ["ingest"], ["book", "lake"], ["verify", "--fast"], ["verify", "a", "b"]],
)
def test_what_click_refuses_is_exit_2_too(arguments: list[str]) -> None:
    """One sentence, and where the help is."""
    wrong(krakpot(*arguments), "--help`")


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

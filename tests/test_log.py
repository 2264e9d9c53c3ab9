"""Log lines: a sentence for people, facts for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from krakpot import log
from krakpot.cli.main import main
from krakpot.cli.screen import Screen
from krakpot.log import LogLine, LogRateLimit, as_json, passes_level, size
from krakpot.net.client import REPORTED

PAGE = Path(__file__).resolve().parent.parent / "docs/running.md"
SOURCES = Path(__file__).resolve().parent.parent / "python/krakpot"


def test_a_line_is_its_sentence() -> None:
    """As text a line is a ``str``; a value of None is left out; a label comes first."""
    line = LogLine("gone BTC/USD", "gone", "warning", symbol="BTC/USD", channel=None)
    assert line == "gone BTC/USD"
    assert (line.event, line.level, line.facts) == ("gone", "warning", {"symbol": "BTC/USD"})
    labelled = line.labelled("level 3, connection 1: ")
    assert labelled == "level 3, connection 1: gone BTC/USD"
    assert (labelled.event, labelled.level, labelled.facts) == (line.event, line.level, line.facts)


def test_json_of_a_line() -> None:
    """One object on one line, whatever the words are; facts do not replace the fields that every line has."""
    line = LogLine('a "quote"\nand more', "limit", "error", count=3, ts="mine", path=Path("x"))
    text = as_json(line, 1_785_641_750_123_456_789)
    assert "\n" not in text
    assert json.loads(text) == {
        "ts": "2026-08-02T03:35:50.123456Z", "level": "error", "event": "limit", "message": 'a "quote"\nand more',
        "count": 3, "path": "x",
    }  # fmt: skip
    assert json.loads(as_json("plain")).items() >= {"level": "info", "event": "note", "message": "plain"}.items()


@pytest.mark.parametrize("level", log.LEVELS)
def test_levels(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines from a level on; a plain sentence has the level info."""
    lines = ["plain", *(LogLine(name, "note", name) for name in log.LEVELS)]
    wanted = [line for line in lines if passes_level(line, level)]
    assert len(wanted) == {"info": 4, "warning": 2, "error": 1}[level]
    with Screen(json=True, level=level) as screen:
        for line in lines:
            screen.log(line)
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == wanted


def test_a_storm_is_cut_and_told_and_does_not_last() -> None:
    """At most a number of lines per hour, then one line about that; errors are always logged. The next hour begins with
    the number of lines left out, so a recorder that runs for months still logs after a storm.
    """
    measure = LogRateLimit(most=3, window=10.0)
    lines = [LogLine(f"{n}", "gap", "warning") for n in range(6)]
    said = [measure.take(line, 100.0 + n) for n, line in enumerate(lines)]
    assert said[:3] == [[line] for line in lines[:3]]
    assert "only errors" in said[3][0]
    assert [len(one) for one in said] == [1, 1, 1, 1, 0, 0]
    assert measure.take(error := LogLine("sealing failed", "seal_failed", "error"), 109.0) == [error]
    told_again = measure.take("a plain one", 110.0)
    assert [str(line) for line in told_again] == [
        "3 log lines were left out; the ledger has what they reported", "a plain one"
    ]  # fmt: skip
    assert isinstance(told_again[0], LogLine)
    assert told_again[0].facts == {"count": 3}
    assert measure.rest() == []
    assert [measure.take("more", 111.0) for _ in range(2)] == [["more"]] * 2
    measure.take("too many", 112.0)
    assert [str(line) for line in measure.rest()] == ["1 log line was left out; the ledger has what they reported"]


def test_a_recording_that_fails_says_so_in_json(tmp_path: Path) -> None:
    """Every line on standard error is an object, the last one too; the exit code is the same as with text."""
    (tmp_path / "lake").write_text("no folder")
    arguments = ["record", "--url", "ws://127.0.0.1:1/v2", "--for", "1s", "--out", str(tmp_path / "lake")]
    plain = CliRunner().invoke(main, arguments)
    done = CliRunner().invoke(main, [*arguments, "--log-format", "json"])
    # Nothing began, so there is no line about a start.
    (last,) = map(json.loads, done.stderr.splitlines())
    assert last.items() >= {"event": "failed", "level": "error"}.items()
    assert plain.stderr.splitlines()[-1] == f"krakpot: {last['message']}"
    assert plain.exit_code == done.exit_code > 0


def test_every_event_is_on_the_page() -> None:
    """docs/running.md lists the events that the sources say, and no other."""
    found = set(REPORTED)
    for path in sorted(SOURCES.rglob("*.py")):
        found |= set(re.findall(r"Line\((?:[^()]|\([^()]*\))*?\"([a-z_]+)\"(?:,|\))", path.read_text()))
    rows = re.findall(r"^\| (`[a-z_`, ]+) \| (?:info|warning|error) \|", PAGE.read_text(), re.MULTILINE)
    told_there = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert {"start", "disconnect", "mismatch"} <= told_there
    assert found == told_there


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e9, "5.0 GB"), (2.5e12, "2.5 TB"),
        (4e15, "4000.0 TB"),
    ],
)  # fmt: skip
def test_sizes_for_people(number: float, text: str) -> None:
    """Bytes in steps of a thousand, as disks are sold."""
    assert size(number) == text

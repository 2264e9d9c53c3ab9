"""What people see: sizes and times in their words, lines where there is no terminal, a panel where there is one."""

from __future__ import annotations

import io
from typing import Any

import pytest
from krakpot import progress
from krakpot.progress import Screen, size, span
from krakpot.recorder import Progress
from rich.console import Console
from rich.live import Live

COUNTS: dict[str, Any] = {
    "frames": 1234, "rows": {"book": 5000, "trades": 7}, "checksums": {"book": {"ok": 1200, "bad": 1}}, "gaps": 2, "errors": 3,
    "live": 4, "selected": 5, "waiting": 1, "refused": 6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (2.5e9, "2.5 GB"), (4e12, "4.0 TB"), (5e15, "5000.0 TB")],
)
def test_sizes(number: float, text: str) -> None:
    """Powers of a thousand, as disks are sold."""
    assert size(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.9, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (90_061, "25:01:01")])
def test_spans(seconds: float, text: str) -> None:
    """As clocks show them."""
    assert span(seconds) == text


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, one line now and then and one at the end; standard output stays free for results."""
    monkeypatch.setattr(progress, "LINE_EVERY", 1e9)
    with Screen() as screen:
        screen.say("recording [all]")
        screen.show(Progress(COUNTS, 10.0, 5.0, 2048, "recording"))
        screen.show(Progress(COUNTS, 15.0, 0, 2048, "stopping"))
    out = capsys.readouterr()
    assert out.out == ""
    lines = out.err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(" recording [all]")
    for word in ("stopping", "4 of 5 books", "checksums 1,200 ok 1 bad", "2 gaps", "3 errors", "2.0 kB"):
        assert word in lines[1]


def test_a_quiet_screen_shows_no_state(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--json`` only what must be said is said."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with Screen(quiet=True) as screen:
        screen.show(Progress(COUNTS, 10.0, 0, 2048, "recording"))
        screen.say("a word")
    assert capsys.readouterr().err.count("\n") == 1


def test_the_panel_of_a_terminal() -> None:
    """The same facts, and the time that is left; before the first counts come, too."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    screen = Screen()
    screen.console = console
    screen.live = Live(console=console, transient=True, auto_refresh=False)
    with screen:
        screen.show(Progress({}, 0.0, None, 0, "connecting"))
        screen.show(Progress(COUNTS, 10.0, 50.0, 2048, "recording"))
        screen.say("a [bracket] stays")
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in ("connecting", "recording", "0:50 left", "4 alive of 5 pairs", "1,200 ok", "1 bad", "2.0 kB", "a [bracket] stays"):
        assert word in text

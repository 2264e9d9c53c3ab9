from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.live import Live

from krakpot.cli.screen import LINE_EVERY, Screen, span
from krakpot.record.progress import Progress

COUNTS = {
    "frames": 12_345, "rows": {"book": 20_000, "trades": 34}, "checksums": {"book": {"ok": 9_999, "bad": 2}},
    "gaps": 1, "errors": 3, "rejected": 4, "in_sync": 5, "selected": 6, "waiting": 1,
}  # fmt: skip


def progress(remaining: float | None = 65.0, state: str = "recording") -> Progress:
    """A recording of an hour."""
    return Progress(COUNTS, 3661.0, remaining, 1_234_567, state)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3599, "59:59"), (90_061, "25:01:01")])
def test_spans_for_people(seconds: float, text: str) -> None:
    """Minutes and seconds, hours where there are any."""
    assert span(seconds) == text


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What is said comes at once with the time; the state at most every ten seconds, and when the time is over."""
    with Screen() as screen:
        assert screen.live is None
        screen.log("[bold]as it is[/bold]")
        screen.show(progress())
        assert re.fullmatch(r"\d\d:\d\d:\d\d \[bold\]as it is\[/bold\]\n", capsys.readouterr().err)
        screen._line_at -= LINE_EVERY
        screen.show(progress())
        line = capsys.readouterr().err
        assert "5 of 6 books in sync, checksums 9,999 ok 2 bad, 1 gap, 3 errors, 1.2 MB" in line
        screen.show(progress())
        assert capsys.readouterr().err == ""
        screen.show(replace(progress(state="sealing"), bytes=0))
        assert capsys.readouterr().err == "", "a recording that was refused before anything was written"
        screen.show(progress(remaining=0, state="sealing"))
        screen.show(progress(remaining=0, state="sealing"))
        line = capsys.readouterr().err
        assert line.count("sealing: ") == 1
        assert "sealing: 12,345 messages, 20,034 rows, checksums 9,999 ok 2 bad" in line, (
            "no rates, no books: it is over"
        )


def test_level_3_stands_beside_the_books(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is recorded: its own books, checksums and, on a terminal, connections that are down."""
    level3 = {"in_sync": 7, "selected": 8, "waiting": 1, "connections": 3, "down": 2}
    counts = COUNTS | {"level3": level3, "checksums": {"book": {"ok": 5, "bad": 0}, "level3": {"ok": 1_234, "bad": 1}}}
    with Screen() as screen:
        screen._line_at -= LINE_EVERY
        screen.show(Progress(counts, 1.0, None, 0, "recording"))
        line = capsys.readouterr().err
        assert (
            "5 of 6 books in sync, checksums 5 ok 0 bad, 7 of 8 level-3 books in sync, checksums 1,234 ok 1 bad, 1 gap,"
            in line
        )
    file = io.StringIO()
    Console(file=file, width=100).print(Screen()._panel(Progress(counts, 1.0, None, 0, "recording"), (0, 0)))
    assert "7 in sync of 8 pairs · 1 waiting · 2 of 3 connections down" in file.getvalue()
    assert "1,234 ok · 1 bad" in file.getvalue()


@pytest.mark.parametrize(("channels", "shown"), [(("level3", "trade"), "7 of 8 level-3 books"), (("trade",), "")])
def test_books_that_are_not_recorded_are_not_missing(
    capsys: pytest.CaptureFixture[str], channels: tuple[str, ...], shown: str
) -> None:
    """Without the channel book its pairs are no books that are out of sync."""
    level3 = {"in_sync": 7, "selected": 8, "waiting": 1, "connections": 1, "down": 0}
    counts = (
        COUNTS | {"checksums": {"book": {"ok": 0, "bad": 0}}} | ({"level3": level3} if "level3" in channels else {})
    )
    with Screen(channels=channels) as screen:
        screen._line_at -= LINE_EVERY
        screen.show(Progress(counts, 1.0, None, 0, "recording"))
        line = capsys.readouterr().err
    assert " of 6 " not in line
    assert shown in line
    file = io.StringIO()
    Console(file=file, width=100).print(screen._panel(Progress(counts, 1.0, None, 0, "recording"), (0, 0)))
    assert "6 pairs" not in file.getvalue()


def test_a_second_source_and_connections_that_are_down(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are any: the second source's books, and how many connections of either are down."""
    counts = COUNTS | {
        "connections": 4, "down": 1,
        "redundant": {"in_sync": 2, "selected": 3, "waiting": 1, "connections": 1, "down": 1},
    }  # fmt: skip
    with Screen() as screen:
        screen._line_at -= LINE_EVERY
        screen.show(Progress(counts, 1.0, None, 0, "waiting for the disk"))
    line = capsys.readouterr().err
    assert "waiting for the disk: " in line
    assert "2 bad, 2 of 3 books of the second source in sync, 1 gap," in line
    file = io.StringIO()
    Console(file=file, width=100).print(Screen()._panel(Progress(counts, 1.0, None, 0, "recording"), (0, 0)))
    assert "5 in sync of 6 pairs · 1 waiting · 1 of 4 connections down" in file.getvalue()
    assert "2 books in sync of 3 pairs · 1 of 1 connection down" in file.getvalue()


def test_quiet_says_only_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` nobody looks at states; what is said still is, on standard error."""
    with Screen(quiet=True) as screen:
        screen.log("something")
        screen.show(progress(remaining=0))
    captured = capsys.readouterr()
    assert captured.err.endswith(" something\n")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_panel_has_every_figure() -> None:
    """On a terminal all counters stand in the panel; bad checksums are red, and lines stand above it."""
    file = io.StringIO()
    screen = Screen()
    screen.console = Console(file=file, force_terminal=True, width=100, color_system="standard")
    screen.live = Live(console=screen.console, transient=True, auto_refresh=False)
    with screen:
        assert file.getvalue().rfind("\x1b[?25h") > file.getvalue().rfind("\x1b[?25l"), "the cursor stays"
        screen.log("a line above the panel")
        screen.show(progress())
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    for words in ("1:01:01 · 1:05 left", "12,345", "20,034", "5 in sync of 6 pairs · 1 waiting", "9,999 ok · 2 bad"):
        assert words in text, words
    for words in ("1 · errors 3 · rejected 4", "1.2 MB", "krakpot · recording", "a line above the panel"):
        assert words in text, words
    assert re.search(r"\x1b\[31m[^\x1b]*9,999 ok · 2 bad", file.getvalue()), "red"


def test_nothing_counted_yet() -> None:
    """The first look comes before the first session has counters."""
    file = io.StringIO()
    screen = Screen()
    screen.console = Console(file=file, force_terminal=True, width=100)
    screen.live = Live(console=screen.console, transient=True, auto_refresh=False)
    with screen:
        screen.show(Progress({}, 0.0, None, 0, "connecting"))
    assert "0 in sync of 0 pairs" in file.getvalue()

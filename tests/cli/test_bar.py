"""The progress of long work, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.live import Live

from krakpot.cli.bar import LOOK, REDRAW, WIDTH, Bar, line
from krakpot.cli.screen import LINE_EVERY


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [
        (500, 2000, "rows", "x: 25%, 500 of 2,000 rows, 50 rows/s, 0:30 left"),
        (10**6, 4 * 10**6, "bytes", "x: 25%, 1.0 MB of 4.0 MB, 100.0 kB/s, 0:30 left"),
        (500, 0, "rows", "x: 500 rows, 50 rows/s"),
        (10**6, 0, "bytes", "x: 1.0 MB, 100.0 kB/s"),
        (0, 2000, "rows", "x: 0%, 0 of 2,000 rows, 0 rows/s"),
        (2001, 2000, "rows", "x: 100%, 2,001 of 2,000 rows, 200 rows/s, 0:00 left"),
    ],
)
def test_share_rate_and_time_left(done: int, total: int, unit: str, text: str) -> None:
    """As far as they are known, after ten seconds."""
    assert line("x", done, total, unit, 10.0) == text


def test_lines_now_and_then_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """One every ten seconds, on standard error."""
    with Bar("verify") as bar:
        bar(1, 2, "rows")
        assert capsys.readouterr().err == ""
        bar._shown -= LINE_EVERY
        bar(1, 2, "rows")
        bar(2, 2, "rows")
    captured = capsys.readouterr()
    assert re.fullmatch(r"\d\d:\d\d:\d\d verify: 50%, 1 of 2 rows, .*\n", captured.err)
    assert captured.out == ""


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` nobody looks."""
    with Bar("verify", quiet=True) as bar:
        bar._shown -= LINE_EVERY
        bar(1, 2, "rows")
        bar.note("session x")
        bar.trouble("it is down")
    assert capsys.readouterr().err == ""


def test_work_is_looked_at_as_often_as_it_is_shown() -> None:
    """Not at all for a bar that shows nothing, ten times a second for one on a terminal."""
    assert Bar("trading", quiet=True).look_every is None
    assert Bar("trading").look_every == LOOK
    on_terminal = Bar("trading")
    on_terminal._live = Live()
    assert on_terminal.look_every == REDRAW


def test_trouble_is_a_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """At once, however long ago the last line was."""
    with Bar("backfill") as bar:
        bar.trouble("it is down; asked again in 2 s")
    assert capsys.readouterr().err == "it is down; asked again in 2 s\n"


def test_a_bar_on_a_terminal() -> None:
    """It is as full as the work is done, and it is gone at the end."""
    file = io.StringIO()
    bar = Bar("verify")
    bar._live = Live(console=Console(file=file, force_terminal=True, width=120), transient=True, auto_refresh=False)
    with bar:
        bar._shown -= REDRAW
        bar(1, 2, "rows")
        assert "━" * (WIDTH // 2) + " " * (WIDTH // 2) + " verify: 50%" in file.getvalue()
        bar._shown -= REDRAW
        bar.note("session x")
        assert "verify: session x" in file.getvalue()
        bar.trouble("it is down [x]")
        assert "it is down [x]\n" in file.getvalue()
        assert "verify waits: it is down [x]" in file.getvalue()
    assert file.getvalue().rstrip().endswith("\x1b[2K")

"""What is seen while work goes on: a live panel on a terminal, plain lines elsewhere, or lines of JSON."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from krakpot import log
from krakpot.errors import counted
from krakpot.log import LogLine, size
from krakpot.record.progress import Progress

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What writing to a full disk, or to a terminal that is gone, gives."""
LINE_EVERY = 10.0
"""Seconds between two plain lines."""
SEALING = "sealing"
"""State of a recording that has ended."""

FACTS = ("frames", "messages", "rows", "checksums", "unchecked", "gaps", "errors", "selected", "in_sync", "waiting")
"""Counters that a line of progress has as facts."""


def span(seconds: float) -> str:
    """Seconds for people: ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _books(counts: dict[str, Any], *, book: bool) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """Word before its name, state and checksums of each kind of book that is recorded."""
    kinds = [("", counts, "book")] if book else []
    if "level3" in counts:
        kinds.append(("level-3 ", counts["level3"], "level3"))
    none = {"ok": 0, "bad": 0}
    return [(what, state, counts.get("checksums", {}).get(channel, none)) for what, state, channel in kinds]


def _down(state: dict[str, int]) -> str:
    """Say how many connections are not there, if any."""
    return f" · {state['down']} of {counted(state['connections'], 'connection')} down" if state.get("down") else ""


@contextmanager
def unwritable() -> Iterator[None]:
    """What is said may come to nobody: who collected the lines is gone, the terminal is closed, their disk is full.

    That ends no recording: the ledger has what they told, and the metrics go on. The next line is tried again.
    """
    try:
        yield
    except BrokenPipeError:
        # For good; and the interpreter must not fail at its end of what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise


class Screen:
    """Shows a recording: ``log`` for lines, ``show`` for the state; a context manager."""

    def __init__(
        self, *, quiet: bool = False, json: bool = False, level: str = "info", channels: Collection[str] = ("book",)
    ) -> None:
        """Write to standard error, so that standard output is free for results; ``quiet`` shows lines only.

        ``json``: each line is a JSON object, also on a terminal. Lines below ``level`` are left out.
        ``channels`` are those that are recorded.
        """
        self._book = "book" in channels
        self.json = json
        self.level = level
        self.console = Console(stderr=True, highlight=False)
        self.live = (
            Live(console=self.console, transient=True, auto_refresh=False)
            if self.console.is_terminal and not quiet and not json
            else None
        )
        self.quiet = quiet
        self._last: tuple[float, int, int] = (time.monotonic(), 0, 0)
        self._line_at = time.monotonic()
        self._over = False
        """Whether the line at the end of the recording was printed."""

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self.live is not None:
            self.live.start()
            # Rich hides it, and a second Ctrl-C ends the process without a chance to show it again.
            self.console.show_cursor(show=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        if self.live is not None:
            self.live.stop()

    def log(self, line: str) -> None:
        """Print one line above the panel."""
        if not log.passes_level(line, self.level):
            return
        with unwritable():
            if self.json:
                sys.stderr.write(log.as_json(line) + "\n")
                sys.stderr.flush()
            elif self.console.is_terminal:
                self.console.print(line, markup=False)
            else:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
                sys.stderr.flush()

    def text(self, lines: list[str]) -> None:
        """Show these lines in place of the ones before; where there is no terminal, the last one now and then."""
        if self.live is not None:
            with unwritable():
                self.live.update(Text("\n".join(lines)), refresh=True)
        elif time.monotonic() - self._line_at >= LINE_EVERY:
            self._line_at = time.monotonic()
            self.log(lines[-1])

    def show(self, progress: Progress) -> None:
        """Show the state, with rates since the last time."""
        counts = progress.counts
        rows = sum(counts.get("rows", {}).values())
        frames = counts.get("frames", 0)
        now = time.monotonic()
        at, frames_then, rows_then = self._last
        elapsed = max(now - at, 1e-9)
        rates = ((frames - frames_then) / elapsed, (rows - rows_then) / elapsed)
        if self.live is not None:
            self._last = (now, frames, rows)
            with unwritable():
                self.live.update(self._panel(progress, rates), refresh=True)
            return
        # The counts at the end are shown at once, and once; without a journal there is nothing to seal.
        over = progress.state == SEALING and progress.bytes > 0 and not self._over
        if not self.quiet and (over or now - self._line_at >= LINE_EVERY):
            self._last = (now, frames, rows)
            self._line_at = now
            self._over |= over
            facts = {name: counts[name] for name in FACTS if name in counts}
            sentence = f"{progress.state}: {', '.join(self._figures(progress, rates))}"
            self.log(LogLine(sentence, "progress", state=progress.state, journal_bytes=progress.bytes, **facts))

    def _figures(self, progress: Progress, rates: tuple[float, float]) -> Iterator[str]:
        """What a plain line has."""
        counts = progress.counts
        # Of the books of a session that has ended none is left, and nothing more is received.
        ended = progress.state == SEALING
        if ended:
            yield counted(counts.get("frames", 0), "message")
            yield counted(sum(counts.get("rows", {}).values()), "row")
        else:
            yield f"{rates[0]:,.0f} messages/s"
            yield f"{rates[1]:,.0f} rows/s"
        for what, state, checked in _books(counts, book=self._book):
            if not ended:
                yield f"{state.get('in_sync', 0)} of {counted(state.get('selected', 0), f'{what}book')} in sync"
            yield f"{what if ended else ''}checksums {checked['ok']:,} ok {checked['bad']} bad"
        if "redundant" in counts and not ended:
            state = counts["redundant"]
            yield f"{state['in_sync']} of {counted(state['selected'], 'book')} of the second source in sync"
        yield counted(counts.get("gaps", 0), "gap")
        yield counted(counts.get("errors", 0), "error")
        yield size(progress.bytes)

    def _panel(self, progress: Progress, rates: tuple[float, float]) -> Table:
        counts = progress.counts
        table = Table(
            title=f"krakpot · {progress.state}", title_justify="left", show_header=False, box=None, padding=(0, 2)
        )
        left = "" if progress.remaining is None else f" · {span(progress.remaining)} left"
        table.add_row("time", f"{span(progress.seconds)}{left}")
        table.add_row("messages", f"{counts.get('frames', 0):,} · {rates[0]:,.0f}/s")
        table.add_row("rows", f"{sum(counts.get('rows', {}).values()):,} · {rates[1]:,.0f}/s")
        for what, state, checked in _books(counts, book=self._book):
            table.add_row(
                f"{what}books",
                f"{state.get('in_sync', 0):,} in sync of {counted(state.get('selected', 0), 'pair')}"
                f" · {state.get('waiting', 0):,} waiting{_down(state)}",
            )
            colour = "red" if checked["bad"] else "green"
            table.add_row(f"{what}checksums", f"[{colour}]{checked['ok']:,} ok · {checked['bad']:,} bad[/]")
        if "redundant" in counts:
            state = counts["redundant"]
            books = f"{counted(state['in_sync'], 'book')} in sync of {counted(state['selected'], 'pair')}"
            table.add_row("second source", f"{books}{_down(state)}")
        table.add_row(
            "gaps",
            f"{counts.get('gaps', 0):,} · errors {counts.get('errors', 0):,} · rejected {counts.get('rejected', 0):,}",
        )
        table.add_row("journal", size(progress.bytes))
        return table

"""What is seen while work goes on: a live panel on a terminal, plain lines elsewhere, or lines of JSON."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from krakpot import log
from krakpot.log import LogLine, size
from krakpot.record.progress import Progress

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What writing to a full disk, or to a terminal that is gone, gives."""
LINE_EVERY = 10.0
"""Seconds between two plain lines."""

FACTS = ("frames", "messages", "rows", "checksums", "unchecked", "gaps", "errors", "selected", "in_sync", "waiting")
"""Counters that a line of progress has as facts."""


def span(seconds: float) -> str:
    """Seconds for people: ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _books(counts: dict[str, Any]) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """Words that stand before it, state and checksums of each kind of book: of level 3 only where it is recorded."""
    kinds = [("", counts, "book")]
    if "level3" in counts:
        kinds.append(("level-3 ", counts["level3"], "level3"))
    none = {"ok": 0, "bad": 0}
    return [(what, state, counts.get("checksums", {}).get(channel, none)) for what, state, channel in kinds]


def _down(state: dict[str, int]) -> str:
    """Say how many connections are not there, if any."""
    return f" · {state['down']} of {state['connections']} connections down" if state.get("down") else ""


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

    def __init__(self, *, quiet: bool = False, json: bool = False, level: str = "info") -> None:
        """Write to standard error, so that standard output is free for results; ``quiet`` shows lines only.

        ``json``: each line is a JSON object, also on a terminal. Lines below ``level`` are left out.
        """
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
        elif not self.quiet and (now - self._line_at >= LINE_EVERY or progress.remaining == 0):
            self._last = (now, frames, rows)
            self._line_at = now
            # Of the books of a session that has ended none is left, and that is as it should be.
            ended = progress.state == "sealing"
            books = "".join(
                ("" if ended else f"{state.get('in_sync', 0)} of {state.get('selected', 0)} {what}books in sync, ")
                + f"{what if ended else ''}checksums {checked['ok']:,} ok {checked['bad']} bad, "
                for what, state, checked in _books(counts)
            )
            if "redundant" in counts and not ended:
                state = counts["redundant"]
                books += f"{state['in_sync']} of {state['selected']} books of the second source in sync, "
            sentence = (
                f"{progress.state}: {rates[0]:,.0f} messages/s, {rates[1]:,.0f} rows/s, {books}"
                f"{counts.get('gaps', 0)} gaps, {counts.get('errors', 0)} errors, {size(progress.bytes)}"
            )
            facts = {name: counts[name] for name in FACTS if name in counts}
            self.log(LogLine(sentence, "progress", state=progress.state, journal_bytes=progress.bytes, **facts))

    @staticmethod
    def _panel(progress: Progress, rates: tuple[float, float]) -> Table:
        counts = progress.counts
        table = Table(
            title=f"krakpot · {progress.state}", title_justify="left", show_header=False, box=None, padding=(0, 2)
        )
        left = "" if progress.remaining is None else f" · {span(progress.remaining)} left"
        table.add_row("time", f"{span(progress.seconds)}{left}")
        table.add_row("messages", f"{counts.get('frames', 0):,} · {rates[0]:,.0f}/s")
        table.add_row("rows", f"{sum(counts.get('rows', {}).values()):,} · {rates[1]:,.0f}/s")
        for what, state, checked in _books(counts):
            table.add_row(
                f"{what}books",
                f"{state.get('in_sync', 0):,} in sync of {state.get('selected', 0):,} pairs"
                f" · {state.get('waiting', 0):,} waiting{_down(state)}",
            )
            colour = "red" if checked["bad"] else "green"
            table.add_row(f"{what}checksums", f"[{colour}]{checked['ok']:,} ok · {checked['bad']:,} bad[/]")
        if "redundant" in counts:
            state = counts["redundant"]
            table.add_row(
                "second source", f"{state['in_sync']:,} books in sync of {state['selected']:,} pairs{_down(state)}"
            )
        table.add_row(
            "gaps",
            f"{counts.get('gaps', 0):,} · errors {counts.get('errors', 0):,} · rejected {counts.get('rejected', 0):,}",
        )
        table.add_row("journal", size(progress.bytes))
        return table

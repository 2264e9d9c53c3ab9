"""The progress of long work: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from krakpot.cli.screen import LINE_EVERY, span, unwritable
from krakpot.log import size

WIDTH = 30
"""Characters of a bar."""
REDRAW = 0.1
"""Seconds between two drawings."""
LOOK = 1.0
"""Seconds between two looks at work of which a line is written now and then."""


class Bar:
    """Shows how far a piece of work is; call it with what is done, the total and the unit (``work.OnProgress``)."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        """Write to standard error, so that standard output is free for results; ``quiet`` shows nothing."""
        self.what = what
        self.quiet = quiet
        console = Console(stderr=True, highlight=False)
        terminal = console.is_terminal and not quiet
        self._live = Live(console=console, transient=True, auto_refresh=False) if terminal else None
        self._begun = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, done: int, total: int, unit: str) -> None:
        """Show that ``done`` of ``total`` are done; 0: nobody knows how many there are."""
        now = time.monotonic()
        if not self._due(now):
            return
        full = round(WIDTH * min(done, total) / total) if total else 0
        bar = f"{'━' * full}{' ' * (WIDTH - full)} " if total and self._live is not None else ""
        self._show(now, bar + line(self.what, done, total, unit, now - self._begun))

    def note(self, text: str) -> None:
        """Show what is being done, where nobody knows how far it is."""
        now = time.monotonic()
        if self._due(now):
            self._show(now, f"{self.what}: {text}")

    def say(self, text: str) -> None:
        """Write a sentence that stays; what is shown goes on below it."""
        if self.quiet:
            return
        with unwritable():
            if self._live is not None:
                self._live.console.print(Text(text), soft_wrap=True)
            else:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
                sys.stderr.flush()

    def trouble(self, text: str) -> None:
        """Write what went wrong, and show that it is waited for."""
        if self.quiet:
            return
        with unwritable():
            if self._live is not None:
                self._live.console.print(Text(text), soft_wrap=True)
                self._live.update(Text(f"{self.what} waits: {text}"), refresh=True)
            else:
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()

    @property
    def look_every(self) -> float | None:
        """Seconds between two looks at the work that show all there is to show; None: nothing is shown."""
        if self.quiet:
            return None
        return REDRAW if self._live is not None else LOOK

    def _due(self, now: float) -> bool:
        """Whether it is time to show something again."""
        return not self.quiet and now - self._shown >= (REDRAW if self._live is not None else LINE_EVERY)

    def _show(self, now: float, text: str) -> None:
        """Replace what is shown, or write a line."""
        self._shown = now
        with unwritable():
            if self._live is not None:
                self._live.update(Text(text), refresh=True)
            else:
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
                sys.stderr.flush()


def line(what: str, done: int, total: int, unit: str, seconds: float) -> str:
    """``verify: 43%, 1.2 GB of 2.8 GB, 300.0 MB/s, 0:05 left`` after this many seconds."""
    rate = done / seconds if seconds > 0 else 0.0
    in_bytes = unit == "bytes"
    amount = size(done) if in_bytes else f"{done:,}"
    parts = [f"{done / total:.0%}"] if total else []
    of = f" of {size(total) if in_bytes else f'{total:,}'}" if total else ""
    parts.append(f"{amount}{of}" + ("" if in_bytes else f" {unit}"))
    parts.append(f"{size(rate)}/s" if in_bytes else f"{rate:,.0f} {unit}/s")
    if total and rate:
        parts.append(f"{span(max(0, total - done) / rate)} left")
    return f"{what}: {', '.join(parts)}"

"""The progress of long work: what is done, of how much."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

OnProgress = Callable[[int, int, str], None]
"""Called with what is done, the total (0: not known), and the unit of both: ``rows``, ``bytes`` or ``messages``."""


class Work:
    """Counts how much of a piece of work is done, from any thread, and reports it."""

    def __init__(self, total: int, unit: str, report: OnProgress) -> None:
        """``total`` may be an estimate: what goes beyond it is not counted."""
        self.total = total
        self.unit = unit
        self.done = 0.0
        self._report = report
        self._lock = Lock()

    def add(self, number: float) -> None:
        """Count ``number`` more units as done."""
        with self._lock:
            self._reach(self.done + number)

    def reach(self, done: float) -> None:
        """Set how many units are done in all."""
        with self._lock:
            self._reach(done)

    def _reach(self, done: float) -> None:
        self.done = min(done, self.total)
        self._report(round(self.done), self.total, self.unit)


def no_progress(_done: int, _total: int, _unit: str) -> None:
    """Ignore the progress."""

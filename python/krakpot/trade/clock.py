"""Whether this machine's clock was set: by hand, or by a time service that found it far off."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP = 5_000_000
"""A clock that differs by more than this from the one that nobody sets was set, ns. A time service that only makes it
faster or slower does so with both."""
EXACT = 1_000_000
"""Two looks at the same clock are so close together, ns: else the process was stopped between them."""
NEVER_SET = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The clock that nobody sets. Linux has one that also counts the time for which the machine slept."""


def _never_set() -> int:
    return time.clock_gettime_ns(NEVER_SET)


class ClockWatch:
    """Compares the clock of this machine with one that nobody sets."""

    def __init__(self, clock: Callable[[], int] = time.time_ns, steady: Callable[[], int] = _never_set) -> None:
        """``clock``: the one that may be set; ``steady``: the other one; ns."""
        self._clock = clock
        self._steady = steady
        self._apart: int | None = None

    def step(self) -> int:
        """By how much the clock was set since the last look that said something else than 0, or since the first; ns."""
        before = self._steady()
        clock = self._clock()
        after = self._steady()
        if after - before > EXACT:
            return 0
        apart = clock - (before + after) // 2
        if self._apart is None:
            self._apart = apart
        step = apart - self._apart
        if abs(step) <= STEP:
            # Small ones add up until they are worth it.
            return 0
        self._apart = apart
        return step

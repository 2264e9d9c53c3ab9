"""How late the loop is: what the receive times of all its sockets have in common that is not the exchange's.

All sockets of a recorder are read by one loop. While it works on one message, those of the other sockets wait, and
their receive times are late by so much. Whoever compares the times of two channels needs to know it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

EVERY = 0.01
"""Seconds between two looks: short against a second, so that percentiles mean something, and nearly free."""


@dataclass(frozen=True)
class Lateness:
    """How late the loop was within some time, ns."""

    largest: int
    p50: int
    p99: int


class Lag:
    """Measures the loop that it is made on, until ``stop``.

    A timer is due every 10 ms; what it is late by, a message that had come at that moment would have been late by as
    well. A stop of 100 ms counts for each of the ten moments that it covers, as it would for ten messages. The loop's
    timers wait in whole milliseconds, so that up to one of them is the timer's own.
    """

    def __init__(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._late: list[float] = []
        self._due = self._loop.time() + EVERY
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        while self._due <= now:
            self._late.append(now - self._due)
            self._due += EVERY
        self._timer = self._loop.call_at(self._due, self._look)

    def take(self) -> Lateness | None:
        """The lateness since the last call; None if no moment was due."""
        late, self._late = sorted(self._late), []
        if not late:
            return None
        largest, p50, p99 = (round(late[int(share * (len(late) - 1))] * 1e9) for share in (1.0, 0.5, 0.99))
        return Lateness(largest, p50, p99)

    def stop(self) -> None:
        """Measure no more."""
        self._timer.cancel()

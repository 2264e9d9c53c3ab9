"""How late the event loop is, which delays the receive times of all its sockets.

One loop reads all sockets of a recorder. While it works on one message, the messages of the other sockets wait, and
their receive times are late by that much. Comparing the times of two channels needs this figure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

EVERY = 0.01
"""Seconds between two looks: short compared with a second, so that percentiles mean something, and nearly free."""


@dataclass(frozen=True)
class Lateness:
    """How late the loop was within some time, ns."""

    largest: int
    p50: int
    p99: int


class Lag:
    """Measures how late a loop is, until ``stop``.

    A timer is due every 10 ms. A message that came at that moment would have been late by as much as the timer is. A
    stop of 100 ms counts for each of the ten moments within it, as it would for ten messages. The loop's timers have a
    resolution of one millisecond, so up to one millisecond is due to the timer itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Begin to measure ``loop``; None: the running one."""
        self._loop = asyncio.get_running_loop() if loop is None else loop
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
        """How late the loop was since the last call; None if no moment was due."""
        late, self._late = sorted(self._late), []
        if not late:
            return None
        largest, p50, p99 = (round(late[int(share * (len(late) - 1))] * 1e9) for share in (1.0, 0.5, 0.99))
        return Lateness(largest, p50, p99)

    def stop(self) -> None:
        """Stop measuring."""
        self._timer.cancel()

"""When to connect again, and how fast requests may go out: policies without a clock or a socket."""

from __future__ import annotations

import random
from bisect import insort
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Decides when to connect again. Pure: times are arguments, in seconds of a monotonic clock.

    The first attempts are made at once, also after a drop. Later ones wait 1, 2, 4 … 30 s plus jitter. After
    maintenance the wait is at least 5 s, because Kraken's engine is in ``cancel_only`` first; after an oversized frame
    it is at least 30 s. A server that says it is busy is never tried again at once. Kraken bans an IP address for 10
    minutes after about 150 attempts in 10 minutes, so at most 120 are made. All connections of one process share
    ``attempts``. A connection with a smaller ``budget`` leaves the rest to the others.
    """

    random: random.Random = field(default_factory=random.Random)
    fast: int = 4
    """Attempts made at once: the first one, and three after drops."""
    budget: int = 120
    """Attempts within ``window``."""
    window: float = 600.0
    """Seconds."""
    longest: float = 30.0
    """The longest wait before jitter, seconds."""
    stable: float = 30.0
    """A connection that was open for this many seconds resets ``failures``."""
    failures: int = 0
    attempts: deque[float] = field(default_factory=deque)
    """Times of the attempts within ``window``, also of those that are still to be made."""

    def opened(self, at: float, until: float) -> None:
        """Report a connection that was open from ``at`` to ``until``: a stable one resets the count of failures."""
        if until - at >= self.stable:
            self.failures = 0

    def delay(
        self, now: float, *, maintenance: bool = False, too_big: bool = False, busy: float | None = None
    ) -> float:
        """Seconds to wait before the next attempt. The attempt is counted at the end of the wait.

        ``busy``: the server said that it is busy, and asked for this many seconds; 0 if it named no time.
        """
        if busy is not None:
            self.failures = max(self.failures, self.fast)
        # Limited before the power: a night without network has more failures than a float has exponents.
        step = min(self.failures - self.fast, 16)
        wait = 0.0 if step < 0 else min(self.longest, 2.0**step)
        if wait:
            wait += self.random.uniform(0, 0.75)
        if maintenance:
            wait = max(wait, 5.0 + self.random.uniform(0, 2))
        if busy:
            wait = max(wait, busy + self.random.uniform(0, 0.75))
        if too_big:
            wait = max(wait, self.longest + self.random.uniform(0, 30))
        self.failures += 1
        while self.attempts and self.attempts[0] <= now - self.window:
            self.attempts.popleft()
        at = self._free(now + wait)
        # Several connections share the attempts, and their waits differ.
        insort(self.attempts, at)
        return at - now

    def _free(self, at: float) -> float:
        """The first moment from ``at`` on at which no window holds more attempts than the budget.

        Attempts of others that are still to come count at the time at which they will be made. So a connection that
        waits for long takes nothing from one that does not.
        """
        while True:
            times = sorted((*self.attempts, at))
            place = times.index(at)
            begins = range(max(0, place - self.budget), min(place, len(times) - 1 - self.budget) + 1)
            full = [times[n] for n in begins if times[n + self.budget] < times[n] + self.window]
            if not full:
                return at
            at = full[-1] + self.window


@dataclass
class Pacer:
    """Rate limit for requests: ``rate`` a second after a first ``burst``. Pure; keeps the order."""

    rate: float = 10.0
    burst: float = 10.0
    waiting: deque[bytes] = field(default_factory=deque)
    _tokens: float = 10.0
    _at: float = 0.0

    def add(self, requests: list[bytes]) -> None:
        """Queue requests."""
        self.waiting.extend(requests)

    def due(self, now: float) -> list[bytes]:
        """Requests that may be sent now."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        out = []
        while self.waiting and self._tokens >= 1:
            self._tokens -= 1
            out.append(self.waiting.popleft())
        return out

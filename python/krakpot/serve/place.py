"""A place in a lake: one client's own time in a recording, which it plays, pauses, and moves.

Everything that reads the lake is done by ``advance``, which the server calls in a thread, one call at a time: it plays
for a moment and returns. Requests only say what is wanted; the next ``advance`` does it. While nobody calls it the
place stands still, so a client that does not read costs nothing.

After a move the books are rebuilt from the checkpoints of the hour before. The messages of that hour are counted too,
so that the last message of a pair and its latest trades are known at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import cast

from krakpot.errors import KrakpotError
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE
from krakpot.replay.source import HOUR, MARGIN, TIME_MAX, Owner, ReplaySource
from krakpot.serve.facts import facts_of
from krakpot.serve.market import Market
from krakpot.stream.book import LiveBook
from krakpot.stream.orders import LiveOrders
from krakpot.stream.stream import EventStream
from krakpot.values import LEVEL3

BUDGET = 0.05
"""Seconds that one call of ``advance`` plays at most."""
STEPS = 512
"""Reads of sockets that are played between two looks at the clock."""
STEP_MAX = 1.0
"""Seconds of the clock that count at most between two calls: a client that did not read goes on where it was."""
LOOK = 0.1
"""Seconds between two looks at what was recorded meanwhile, at least; a recorder writes every fifth of a second."""
LOOK_WHOLE = 2.0
"""Seconds after which the whole lake is looked at again, although no session says that another began."""
LOOK_ENDED = 5.0
"""Seconds between two looks at the whole lake, at least, where nobody records: somebody may begin again."""
LOOK_SHARE = 4
"""A look at the whole lake that takes long is followed by so many times as long without one."""

STATES = ("gap", "connection", "status")
"""Events that are heard beside those of the channels."""

Wanted = Mapping[str, frozenset[str]]
"""Pairs by channel."""


class _Unheard:
    """What a source takes for its stream: nobody listens but the callbacks that it is given."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def wake(self) -> None:
        """Nobody sleeps."""

    def stop(self) -> None:
        """Nobody reads."""


class Place:
    """One client's place in a lake."""

    live = False

    def __init__(self, folder: Folder, begin: int, end: int, *, follow: bool) -> None:
        """Begin at ``begin``, ns, or with ``follow`` at the end of what is being recorded."""
        self.market = Market()
        self.speed = 1.0
        self.paused = False
        self.at_end = False
        """Whether there is nothing later, so far."""
        self._built = False
        """Whether the books are those of its time."""
        self.error = ""
        """Why it cannot go on, until it is moved."""
        self._folder = folder
        self._source: ReplaySource | None = None
        self._at = end if follow else begin
        self._end = end
        self._follow = follow
        self._sought: deque[int] = deque(maxlen=1)
        """Where to go; written by the requests, taken by ``advance``."""
        self._wanted: Wanted = {}
        self._applied: Wanted = {}
        self._clock: float | None = None
        """When the last call was; None: the time does not pass yet."""
        self._look_at = 0.0
        self._whole_least = self._whole_at = 0.0
        """When the next look at the whole lake may be, and when it is due."""
        self._alone = threading.Lock()
        """A client that leaves closes its place while it may still be played."""
        self._closed = False

    # What is wanted.

    def want(self, wanted: Wanted) -> None:
        """Play these pairs of these channels."""
        self._wanted = wanted

    def seek(self, at: int) -> None:
        """Go on at another time, ns."""
        self._sought.append(at)

    def pause(self) -> None:
        """Stand still."""
        self.paused = True
        self._follow = False

    def resume(self) -> None:
        """Go on where it is."""
        self.paused = False

    # What is there.

    @property
    def ready(self) -> bool:
        """Whether the books are what was requested last: of that time, of all those pairs."""
        return self._built and not self._sought and self._covers(self._wanted)

    def _covers(self, wanted: Wanted) -> bool:
        return all(symbols <= self._applied.get(channel, frozenset()) for channel, symbols in wanted.items())

    @property
    def now(self) -> int:
        """The time that is shown, ns."""
        return self._sought[-1] if self._sought else self._at

    @property
    def connected(self) -> bool:
        """Whether the recorder's connections were up then."""
        return self._source is not None and not self.error and not self.market.down

    @property
    def system(self) -> str:
        """State of the exchange then; empty before it said."""
        return (self._source.system if self._source is not None else None) or ""

    def book(self, symbol: str) -> LiveBook:
        """The level-2 book of a pair."""
        assert self._source is not None, "ready"
        return LiveBook(Owner(self._source, "book", symbol), symbol)

    def orders(self, symbol: str) -> LiveOrders:
        """The level-3 book of a pair."""
        assert self._source is not None, "ready"
        return LiveOrders(Owner(self._source, LEVEL3, symbol), symbol)

    # Playing.

    def advance(self) -> None:
        """Do what is wanted, and play for a moment. In a thread."""
        with self._alone:
            if not self._closed:
                self._do()

    def _do(self) -> None:
        now = time.monotonic()
        passed = 0.0 if self._clock is None else min(now - self._clock, STEP_MAX)
        try:
            if self._moved():
                passed = 0.0
            if any(self._applied.values()) and not self.error:
                self._clock = now
                self._advance(passed)
        except (KrakpotError, ValueError, *UNREADABLE) as error:
            self.error = str(error) or type(error).__name__
            self._discard()

    def close(self) -> None:
        """End its threads. In a thread."""
        with self._alone:
            self._closed = True
            self._discard()

    def _discard(self) -> None:
        self._built = False
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _moved(self) -> bool:
        """Apply what was requested; whether the books have to be rebuilt."""
        sought = self._sought.pop() if self._sought else None
        wanted = self._wanted
        if sought is not None:
            self.error, self.at_end, self._follow = "", False, False
            if sought >= self._end:
                # What was the end is long ago, perhaps.
                facts = facts_of(self._folder)
                self._end = max(self._end, facts.end or 0)
                self._follow = facts.recorded and sought >= self._end
            self._at = min(sought, self._end)
            self.market.clear()
        elif self._covers(wanted):
            return False
        else:
            self.error = ""
            # What was seen of the other pairs stays: their messages up to here come again.
            self.market.taken(self._at, self._applied)
        self._built = False
        self._applied = wanted
        if any(wanted.values()):
            self._rebuild()
        return True

    def _rebuild(self) -> None:
        """Begin at the checkpoints before the time that is shown."""
        start = (self._at - MARGIN) // HOUR * HOUR + MARGIN
        names = {channel: sorted(symbols) for channel, symbols in self._applied.items()}
        if self._source is None:
            source = ReplaySource(self._folder, names, start=start, end=None, by="recv", speed=None)
            source.choose([*names, *STATES], rows=False)
            self._source = source
            source.open(cast("EventStream", _Unheard()))
        else:
            self._source.symbols = names
            self._source.choose([*names, *STATES], rows=False)
            self._source.seek(start)

    def _advance(self, passed: float) -> None:
        source = self._source
        if source is None:
            return
        if not self._built:
            goal = self._at if not self._follow else TIME_MAX - 1
        elif self.paused:
            return
        elif self._follow:
            goal = TIME_MAX - 1
        else:
            goal = self._at + int(passed * self.speed * 1e9)
        if not self._follow:
            # The end itself is not played: there the books end.
            goal = min(goal, self._end - 1)
        why = self._play(source, goal)
        if not why:
            if self._built:
                # It cannot be played that fast.
                self._at = max(self._at, source.now or 0)
            return
        if not self._built:
            self._built = True
            self.market.taken(0, {})
            self.market.forget_gaps()
        # Where nothing more is there, its last message is what is shown.
        self._at = goal if not self._follow else source.now or self._at
        self.at_end = self._follow or goal >= self._end - 1
        if self.at_end:
            self._look(source)

    def _play(self, source: ReplaySource, goal: int) -> str:
        """Play up to a time, inclusive: ``until``, ``end`` (nothing more is there), or nothing if it takes longer."""
        listeners = self.market.listeners(source.symbols)
        give_up = time.monotonic() + BUDGET
        while True:
            why, _ = source.play(goal + 1, listeners, STEPS)
            if why in {"until", "end"}:
                return why
            if time.monotonic() > give_up:
                return ""

    def _look(self, source: ReplaySource) -> None:
        """See what was recorded meanwhile, and whether it goes on."""
        now = time.monotonic()
        if now < self._look_at:
            return
        found = source.follow() if self._follow and now < self._whole_at else None
        if found is None and now >= self._whole_least:
            source.go_on()
            recorded = source.recorded_now
            self._follow = self._follow or recorded
            pause = max(LOOK if recorded else LOOK_ENDED, LOOK_SHARE * (time.monotonic() - now))
            self._whole_least = now + pause
            self._whole_at = now + max(LOOK_WHOLE, pause)
        self._look_at = time.monotonic() + max(LOOK, time.monotonic() - now)
        self._end = max(self._end, source.now or 0)

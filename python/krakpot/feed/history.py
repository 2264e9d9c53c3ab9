"""What happened before a feed: it is replayed, and then the feed goes on live, without a hole or a repeat.

While the lake is replayed, nothing is subscribed. At its end the live subscriptions begin, and what they bring waits.
If the lake is being recorded, its newest rows are replayed until they reach the live snapshots. Then the feed goes on
with what is later than the last recorded message. What neither has is a gap, and becomes a ``GapEvent``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from krakpot import values
from krakpot._core import Batch, Events, Session
from krakpot.errors import ConfigError
from krakpot.feed.options import PLACE
from krakpot.lake.folder import Folder
from krakpot.replay.source import TIME_MAX, Owner, ReplaySource
from krakpot.stream.events import (
    BookEvent,
    Event,
    GapEvent,
    Level3Event,
    OhlcEvent,
    TickerEvent,
    TradeEvent,
)
from krakpot.stream.stream import EventStream, Listeners, SlowReaderPolicy
from krakpot.values import Time

if TYPE_CHECKING:
    from krakpot.feed.source import FeedSource

STEPS = 4096
"""Reads of sockets that are replayed before the event loop gets its turn."""
LOOK = 0.1
"""Seconds between two looks at what was recorded meanwhile."""
PATIENCE = 10.0
"""Seconds to wait for the recording to reach the live snapshots, and for these."""
HELD_MAX = 1_000_000
"""Live events that wait at most."""
OF_MESSAGES = (BookEvent, Level3Event, TradeEvent, TickerEvent, OhlcEvent, GapEvent)
"""Events that the recording has as well."""


class Hold:
    """What the live connections take for the stream: while the history is replayed, their events wait here."""

    def __init__(self, stream: EventStream) -> None:
        """``release`` lets events through."""
        self._stream = stream
        self.held: list[Event] | None = []
        """Events that wait; None: they are let through."""

    @property
    def stopped(self) -> asyncio.Event:
        """The stream's."""
        return self._stream.stopped

    @property
    def error(self) -> Exception | None:
        """The stream's."""
        return self._stream.error

    @property
    def skipped(self) -> Counter[str]:
        """The stream's."""
        return self._stream.skipped

    def fail(self, error: Exception) -> None:
        """Let the stream fail."""
        self._stream.fail(error)

    def deliver(self, events: Sequence[Event]) -> None:
        """Keep the events, or let them through."""
        if self.held is None:
            self._stream.deliver(events)
        else:
            self.held.extend(events)

    def receive(self, made: Events, session: Session, frames: list[bytes], ts_recv: int) -> None:
        """Keep the events that are made, or let the stream make them."""
        if self.held is None:
            self._stream.receive(made, session, frames, ts_recv)
        else:
            self.held.extend(made.receive(session, frames, ts_recv))

    def rows_arrived(self) -> None:
        """Let the stream know, if it reads live."""
        if self.held is None:
            self._stream.rows_arrived()


class HistoryOwner:
    """Whoever has the session of one symbol in one channel at the moment: the replay's, later the live one."""

    __slots__ = ("_channel", "_history", "_replay", "_symbol")

    def __init__(self, history: History, channel: str, symbol: str) -> None:
        """For a handle to the symbol's book."""
        self._history = history
        self._channel = channel
        self._symbol = symbol
        self._replay = Owner(history.replay, channel, symbol)

    @property
    def session(self) -> Session:
        """The session."""
        if self._history.live_now:
            return self._history.live.client_of(self._channel, self._symbol).session
        return self._replay.session

    @property
    def down(self) -> str:
        """Why its connection is down; empty if it is up."""
        if self._history.live_now:
            return self._history.live.client_of(self._channel, self._symbol).down
        return self._replay.down


class History:
    """The source of a feed that begins with a recording."""

    def __init__(self, live: FeedSource, replay: ReplaySource) -> None:
        """``open`` begins."""
        self.live = live
        self.replay = replay
        self.live_now = False
        """Whether it is over, and the events are live."""
        self.hold: Hold
        self._stream: EventStream
        self._joining = False
        self._deadline = 0.0
        self._looked = 0.0
        self._matched: set[tuple[str, str]] = set()
        """Books whose last recorded message was met among the live ones."""

    def hold_for(self, stream: EventStream) -> Hold:
        """What the live connections are to deliver to."""
        self._stream = stream
        self.hold = Hold(stream)
        return self.hold

    def open(self) -> None:
        """See what there is to replay."""
        self.replay.open(self._stream)
        self.replay.replayer.track()

    # Delivering.

    def produce(self, listeners: Listeners | None, steps: int = STEPS) -> bool:
        """Deliver what comes next of the recording; at its end join the live feed."""
        if self.live_now:
            return False
        why, events = self.replay.play(TIME_MAX, listeners, steps)
        if events:
            self._stream.deliver(events)
        if why != "end" or self._stream.stopped.is_set():
            return True
        now = time.monotonic()
        if now - self._looked < LOOK:
            asyncio.get_running_loop().call_later(LOOK, self._stream.wake)
            return False
        self._looked = now
        if self.replay.go_on() and not self._joining:
            return True
        if not self._joining:
            self._join(now)
        if self._complete() or now > self._deadline or len(self._held) > HELD_MAX:
            self._release()
        return True

    @property
    def _held(self) -> list[Event]:
        return self.hold.held or []

    def _join(self, now: float) -> None:
        """Subscribe live, after all that is recorded."""
        self._joining = True
        self._deadline = now + PATIENCE
        for session in self.replay.sessions:
            for client in self.live.clients:
                client.session.go_on_from(session)
        self.live.subscribe()

    def _complete(self) -> bool:
        """Whether the live books are there, and the recording, if it goes on, has reached them."""
        if not self.live.ready():
            return False
        snapshots = [event for event in self._held if isinstance(event, (BookEvent, Level3Event)) and _begins(event)]
        return not self.replay.recorded_now or all(self._overlaps(event) for event in snapshots)

    def _overlaps(self, event: BookEvent | Level3Event) -> bool:
        """Whether the recording goes on beyond a live snapshot."""
        last = self.replay.replayer.last(event.channel, event.symbol)
        return last is not None and event.ts_event is not None and last[0] >= event.ts_event

    def _release(self) -> None:
        """Go on live: with what is later than the recording."""
        held = self._held
        joined = {
            (event.channel, event.symbol)
            for event in held
            if isinstance(event, (BookEvent, Level3Event)) and _begins(event) and self._overlaps(event)
        }
        later = [event for event in held if not isinstance(event, OF_MESSAGES) or self._is_later(event, joined)]
        self.hold.held = None
        self.live_now = True
        self.replay.close()
        self._stream.deliver(later)

    def _is_later(
        self,
        event: BookEvent | Level3Event | TradeEvent | TickerEvent | OhlcEvent | GapEvent,
        joined: Collection[tuple[str, str]],
    ) -> bool:
        """Whether a live event is not in the recording."""
        channel = event.of if isinstance(event, GapEvent) else event.channel
        last = self.replay.replayer.last(channel, event.symbol)
        if last is None:
            return True
        time_of, number, checksum = last
        later = (getattr(event, "ts_event", None) or TIME_MAX) > time_of
        if isinstance(event, GapEvent):
            books = (channel, event.symbol) not in joined and channel in {"book", "level3"}
            return books if event.last_trade_id is None else event.last_trade_id > number
        if isinstance(event, TradeEvent):
            return later or event.trade_id > number
        if isinstance(event, (BookEvent, Level3Event)) and not later:
            # Several messages may have one time: the last recorded one is known by its checksum.
            key = (channel, event.symbol)
            later = key not in joined or key in self._matched
            if event.ts_event == time_of and event.checksum == checksum:
                self._matched.add(key)
        return later

    def ready(self) -> bool:
        """Whether all books are in sync: those of the recording, later the live ones."""
        return self.live.ready() if self.live_now else self.replay.ready()

    def owner(self, channel: str, symbol: str) -> HistoryOwner:
        """Whoever has the session of a symbol."""
        return HistoryOwner(self, channel, symbol)

    def close(self) -> None:
        """End the replay."""
        if not self.live_now:
            self.replay.close()

    # What the stream asks for.

    @property
    def paused(self) -> bool:
        """Whether the sockets are not read for now."""
        return self.live.paused

    @property
    def pending_rows(self) -> int:
        """None: a feed with a history has no batches."""
        return 0

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        """Make the events of these channels from now on."""
        self.live.choose(channels, rows=rows)
        if not self.live_now:
            self.replay.choose(channels, rows=False)

    def check_symbol(self, channel: str, symbol: str, place: str) -> None:
        """As the live feed."""
        self.live.check_symbol(channel, symbol, place)

    def pause(self) -> None:
        """Read no socket for now."""
        self.live.pause()

    def resume(self, answer: SlowReaderPolicy) -> None:
        """Read the sockets again."""
        self.live.resume(answer)

    def take_rows(self) -> list[dict[str, Batch]]:
        """None."""
        return []

    def skip_rows(self) -> dict[str, int]:
        """None."""
        return {}

    async def pass_time(self, seconds: float, stopped: asyncio.Event) -> None:
        """As the live feed."""
        await self.live.pass_time(seconds, stopped)


def _begins(event: BookEvent | Level3Event) -> bool:
    """Whether a book begins with a message."""
    return event.kind == "snapshot"


def history_of(live: FeedSource, lake: Folder | str | PathLike[str] | None, since: Time | None) -> History | None:
    """The history of a feed that is to begin with a recording; None without one. ``ConfigError`` for a wrong option."""
    if lake is None:
        if since is not None:
            raise ConfigError(
                f"{PLACE}: since: {values.shown(since)} has no effect without history; give the lake, too"
            )
        return None
    folder = lake if isinstance(lake, Folder) else Folder(Path(lake))
    begin = None if since is None else values.time_of(since, f"{PLACE}: since")
    if begin is not None and begin > time.time_ns():
        raise ConfigError(f"{PLACE}: since: {values.shown(since)} is in the future; give a time that was recorded")
    known = folder.symbols()
    symbols = {channel: live.selection.symbols(known, [channel]) for channel in live.selection.channels}
    if not any(symbols.values()):
        raise ConfigError(
            f"{PLACE}: history: the lake has none of these symbols; it has {', '.join(known[:5]) or 'none'}"
        )
    return History(live, ReplaySource(folder, symbols, start=begin, end=None, by="recv", speed=None))

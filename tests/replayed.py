"""A world in simulated time (``simulated``) whose links make events and a lake of the same frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import krakpot
import lakes
from krakpot import _core
from krakpot.lake import journal, seal
from krakpot.lake.format import open_lake
from simulated import Link, Trouble, World

EVENTS = list(_core.EVENT_CHANNELS)
Plain = tuple[Any, ...]
PUBLIC = ("book", "trade", "ticker")


COLUMNS = {
    "connection": ("up", "endpoint"),
    "status": ("message", "ts_recv", "system"),
    "subscription": ("of", "symbol", "state"),
    "gap": ("symbol", "message", "ts_recv", "of", "first_trade_id", "last_trade_id", "ts_from", "ts_to", "reason"),
    "book": ("symbol", "message", "ts_recv", "ts_event", "kind", "checksum", "outcome", "entries"),
    "level3": ("symbol", "message", "ts_recv", "ts_event", "kind", "checksum", "outcome", "orders"),
    "trade": ("symbol", "message", "ts_recv", "ts_event", "kind", "side", "ord_type", "trade_id", "price", "qty"),
    "ticker": ("symbol", "message", "ts_recv", "ts_event", "bid", "bid_qty", "ask", "ask_qty", "last", "statistics"),
    "ohlc": ("symbol", "message", "ts_recv", "ts_event", "interval", "interval_begin", "trades", "candle"),
}
"""All that the events of a channel say."""


def plain(event: Any) -> Plain:
    """All that an event says, as a tuple that begins with its channel."""
    values = [getattr(event, name) for name in COLUMNS[event.channel]]
    found = [value() if callable(value) else value for value in values]
    return event.channel, *(sorted(value.items()) if isinstance(value, dict) else value for value in found)


def refused(event: Plain) -> bool:
    """Whether it is a message of a book that could not be held: it is no row."""
    return event[0] in {"book", "level3"} and event[7] == "refused"


class Tape:
    """A session, the events that it made, and the rows that go to a lake."""

    def __init__(self, raw: _core.Session, lake: Path, events: list[Plain]) -> None:
        self.raw = raw
        self._maker = _core.Events(EVENTS)
        self._events = events
        self._writer = journal.Writer(lake, raw.id)

    def __getattr__(self, name: str) -> Any:
        """All else is the session's."""
        return getattr(self.raw, name)

    def receive(self, frames: list[bytes], now: int) -> None:
        """As a feed receives what one read of the socket brought."""
        self._events += map(plain, self._maker.receive(self.raw, frames, now))

    def drain(self) -> dict[str, _core.Batch]:
        """Hand the rows out, and to the journal."""
        rows = self.raw.drain()
        if rows:
            self._writer.write(rows, self.raw.now)
        return rows

    def end(self, now: int, reason: str) -> None:
        """End it, and its journal."""
        self._events += map(plain, self._maker.receive(self.raw, [], now))
        self.raw.end(now, reason)

    def close(self) -> None:
        """Close the journal."""
        self.drain()
        self._writer.close()

    def import_pairs(self, other: Tape, symbols: list[str], now: int) -> None:
        self.raw.import_pairs(other.raw, symbols, now)

    def cross_check(self, other: Tape, now: int) -> None:
        self.raw.cross_check(other.raw, now)


@dataclass(eq=False)
class TapedLink(Link):
    """A link whose sessions are taped."""

    made: list[Plain] = field(default_factory=list)
    tapes: list[Tape] = field(default_factory=list)

    def _session(self, before: Any) -> Any:
        world: Any = self.world
        now = world.now
        name = f"{lakes.session_name(now)[:-4]}{len(self.tapes):02x}{self.endpoint == 'level3':02x}"
        raw = _core.Session(name, after=before and before.raw, **self.options)
        self.sessions += 1
        detail = f'{{"previous":"{before.raw.id}"}}' if before else None
        raw.add_ledger_row("connect", now, detail=detail)
        self.tapes.append(Tape(raw, world.lake, self.made))
        return self.tapes[-1]


class TapedWorld(World):
    """A world that records."""

    def __init__(self, seed: int, lake: Path, **options: Any) -> None:
        open_lake(lake)
        self.lake = lake
        super().__init__(seed, **options)
        self.public = TapedLink(self, "public", self.public.options, self.public.backoff)
        self.level3 = TapedLink(self, "level3", self.level3.options, self.level3.backoff)
        self.links = (self.public, self.level3)

    def seal(self) -> None:
        """End the recording, and make parts of it."""
        for link in self.links:
            if link.number is not None:
                link.session.end(self.now, "stopped")
            for tape in link.tapes:  # type: ignore[attr-defined]  # of a taped link
                tape.close()
        seal.recover(self.lake)


def world_of(lake: Path, seed: int, episodes: int, *faults: str) -> TapedWorld:
    """A recorded world, after so many episodes of random trouble, or of some faults."""
    world = TapedWorld(seed, lake)
    world.settle()
    trouble = Trouble(world)
    for _ in range(episodes):
        for text in faults or trouble.some():
            world.fault(text)
        world.run(world.random.uniform(0.5, 5))
    world.settle()
    world.seal()
    return world


async def played(lake: Path, *arguments: Any, **options: Any) -> list[Plain]:
    """All events of a replay."""
    async with krakpot.Replay(lake, *arguments, **options) as feed:
        return [plain(event) async for event in feed]


def of(events: Iterable[Plain], *channels: str) -> list[Plain]:
    """Those of some channels that are rows."""
    return [event for event in events if event[0] in channels and not refused(event)]

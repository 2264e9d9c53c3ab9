"""Where the data of a run comes from: a replay, or a live feed; and the pairs that it has."""

from __future__ import annotations

import asyncio
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import polars as pl

from krakpot import _core
from krakpot._core import Events, Session, Trading
from krakpot.errors import ConfigError
from krakpot.feed.facts import (
    channels_of,
    depths_of,
    described_pairs,
    session_of,
    sessions_of,
    share_tokens,
    silence_of,
    status_of,
    take_reads,
)
from krakpot.feed.feed import Feed
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE, unreadable
from krakpot.replay.replay import Replay, check_range, folder_of, source_of
from krakpot.replay.source import STEPS, TIME_MAX, Owner, ReplaySource
from krakpot.stream.book import BookOwner, LiveBook
from krakpot.stream.events import ALWAYS, Callback, ConnectionEvent
from krakpot.stream.orders import LiveOrders
from krakpot.stream.stream import EventStream
from krakpot.trade.client import AccountClient
from krakpot.trade.options import PLAYED, TIMED
from krakpot.trade.turns import Turns
from krakpot.values import LEVEL3

FEED = "krakpot.run: feed"
"""Where the data of a run is given."""
COST_DIGITS = 5
"""Decimals of costs where the exchange did not say."""
NEEDED = "level3 or book, and trade"
PAUSE_MAX = 0.05
"""Seconds between two looks at the clock of a live run."""
TICK = 0.001
"""The least of them."""
IDLE_MAX = 86400.0
"""Seconds of silence that are told; without a connection it is infinite."""


@dataclass(frozen=True)
class TradedPair:
    """A pair as the data describes it."""

    symbol: str
    base: str
    quote: str
    price_precision: int
    qty_precision: int
    cost_precision: int
    price_increment: str
    qty_min: str
    cost_min: str
    status: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TradedPair:
        """From a row of the table ``pairs``, or a pair of a session."""
        base, _, quote = str(row["symbol"]).partition("/")
        digits = int(row["price_precision"])
        increment = row.get("price_increment")
        cost_precision = row.get("cost_precision")
        return cls(
            symbol=str(row["symbol"]),
            base=row["base"] or base,
            quote=row["quote"] or quote,
            price_precision=digits,
            qty_precision=int(row["qty_precision"]),
            cost_precision=COST_DIGITS if cost_precision is None else int(cost_precision),
            price_increment=f"{Decimal(1).scaleb(-digits):f}" if increment is None else plain(increment),
            qty_min=plain(row["qty_min"] or 0),
            cost_min=plain(row["cost_min"] or 0),
            status=row["status"] or "online",
        )

    def add_to(self, core: Trading, fees: tuple[int, int], *, level3: bool) -> None:
        """Let a run know it, with its fees in millionths."""
        maker, taker = fees
        core.add_pair(
            self.symbol, self.base, self.quote, price_precision=self.price_precision,
            qty_precision=self.qty_precision, cost_precision=self.cost_precision,
            price_increment=self.price_increment, qty_min=self.qty_min, cost_min=self.cost_min, maker=maker,
            taker=taker, status=self.status, level3=level3,
        )  # fmt: skip


def plain(number: object) -> str:
    """A number without zeros at its end."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def recorded_pairs(folder: Folder, symbols: Sequence[str], place: str) -> list[TradedPair]:
    """Pairs as a lake has them: as the exchange described them last before the end."""
    try:
        frame = folder.look(["pairs"]).scan("pairs").filter(pl.col("symbol").is_in(list(symbols))).collect()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    known = frame.sort("origin", "ts_recv", descending=[False, False]).to_dicts()
    described: dict[str, Mapping[str, Any]] = {}
    for row in sorted(known, key=lambda row: (row["origin"] == "instrument", row["ts_recv"])):
        described[row["symbol"]] = row
    for symbol in symbols:
        if symbol not in described:
            raise ConfigError(f"{place}: the lake does not describe {symbol}; record its pairs, or leave it out")
    return [TradedPair.of(described[symbol]) for symbol in symbols]


def recorded_depth(folder: Folder, symbols: Sequence[str], channel: str) -> int | None:
    """Levels a side that a recording shows; None if it has none."""
    table = _core.CHANNELS[channel]
    chosen = folder.look([table]).scan(table).filter(pl.col("symbol").is_in(list(symbols))).select("depth")
    try:
        first = chosen.head(1).collect()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    return None if first.is_empty() else int(first["depth"][0])


class Data(ABC):
    """Data of a run, while it lasts."""

    name: str
    """What it is, for the integrity line."""
    symbols: tuple[str, ...]

    @abstractmethod
    async def open(self) -> None:
        """See what there is; connect."""

    @abstractmethod
    def pairs(self) -> list[TradedPair]:
        """Pairs, in the order of ``symbols``."""

    @abstractmethod
    def has_level3(self, symbol: str) -> bool:
        """Whether the orders of a pair come."""

    @abstractmethod
    def depth(self, *, level3: bool) -> int | None:
        """Levels a side that the data shows."""

    @abstractmethod
    async def drive(self, core: Trading, end: Callable[[int], int | None], stopped: Callable[[], str]) -> str:
        """Give everything to a run until it is over; why it is."""

    @abstractmethod
    async def close(self) -> None:
        """Let its threads and connections end."""

    @abstractmethod
    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair."""

    @abstractmethod
    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""

    @abstractmethod
    def interrupt(self) -> None:
        """Let it return soon."""


class Silent:
    """The stream of a source that nobody reads as a stream."""

    def __init__(self) -> None:
        """It is not stopped."""
        self.stopped = asyncio.Event()


class PlayedData(Data):
    """A recording, from a lake or in memory."""

    @abstractmethod
    def look(self) -> None:
        """See what there is to play."""

    @abstractmethod
    def step(self, core: Trading, until: int, steps: int = STEPS, *, fetch: bool = False) -> str:
        """Play on for a moment; why it came to a halt: ``waits`` if the clock does not allow more yet."""

    @abstractmethod
    def end(self) -> None:
        """Let its threads end."""

    async def open(self) -> None:
        """See what there is to play."""
        self.look()

    async def drive(self, core: Trading, end: Callable[[int], int | None], stopped: Callable[[], str]) -> str:
        """Play until the end of the recording, of the run's time, or a stop."""
        until = None
        while not (why := stopped()):
            if until is None and core.begin_ns is not None:
                until = end(core.begin_ns)
            # Until it is known when the run ends, not more is played than the first message.
            halt = self.step(core, TIME_MAX if until is None else until, STEPS if core.begin_ns is not None else 1)
            if halt == "end":
                core.advance(core.now)
                return PLAYED
            if halt == "until" and until is not None:
                core.advance(until)
                return TIMED
            await asyncio.sleep(TICK if halt == "waits" else 0)
        return why

    async def close(self) -> None:
        """Let its threads end."""
        self.end()


class ReplayData(PlayedData):
    """A recording in a lake."""

    def __init__(self, replay: Replay | ReplayData, place: str = FEED) -> None:
        """Nothing is read yet; the replay itself is left as it is."""
        self.folder: Folder
        self.source: ReplaySource
        if isinstance(replay, ReplayData):
            self.folder, self.source = replay.folder, replay.source.again()
        else:
            self.folder, self.source = folder_of(replay), source_of(replay)
        self._place = place
        channels = self.source.symbols
        if self.source.by != "recv":
            sentence = f'{place}: its messages must come in the order in which they came: by="recv"'
            raise ConfigError(sentence)
        _check_channels(channels, "the replay", place)
        self.symbols = tuple(sorted(set(channels.get(LEVEL3, ())) | set(channels.get("book", ()))))
        self._books: dict[str, LiveBook | LiveOrders] = {}
        self._orders: dict[str, LiveOrders] = {}
        self.name = f"lake sha256 {self._content()[:16]}"

    def _content(self) -> str:
        """A SHA-256 over names and sizes of the lake's parts: a part's content never changes."""
        found = hashlib.sha256()
        tables = [_core.CHANNELS[channel] for channel in self.source.symbols]
        try:
            for path in sorted(part.path for table in tables for part in self.folder.parts(table)):
                found.update(f"{path.relative_to(self.folder.path)} {path.stat().st_size}\n".encode())
        except UNREADABLE as error:
            unreadable(self.folder.path, error)
        return found.hexdigest()

    def look(self) -> None:
        """See what there is to play."""
        self.source.choose([*self.source.symbols, *ALWAYS], rows=False)
        self.source.open(cast("EventStream", Silent()))
        check_range(self.source)

    def pairs(self) -> list[TradedPair]:
        """Pairs as the lake has them: as the exchange described them last before the end."""
        return recorded_pairs(self.folder, self.symbols, self._place)

    def depth(self, *, level3: bool) -> int | None:
        """Levels a side that the recording shows; None if it has none."""
        return recorded_depth(self.folder, self.symbols, LEVEL3 if level3 else "book")

    def has_level3(self, symbol: str) -> bool:
        """Whether the orders of a pair are replayed."""
        return symbol in self.source.symbols.get(LEVEL3, ())

    def step(self, core: Trading, until: int, steps: int = STEPS, *, fetch: bool = False) -> str:
        """Play on for a moment; why it came to a halt: ``waits`` if the clock does not allow more yet."""

        def read(replayer: _core.Replayer, bound: int, _: int) -> tuple[str, int | None]:
            return core.fetch(replayer, bound) or ("events", None)

        halt = self.source.play(min(until, self.source.due()), None, steps, read if fetch else core.play)[0]
        return "waits" if halt == "until" and self.source.due() < until else halt

    def interrupt(self) -> None:
        """Let it return soon."""
        self.source.replayer.interrupt()

    def end(self) -> None:
        """Let its threads end."""
        self.source.close()

    def owner(self, channel: str, symbol: str) -> BookOwner:
        """Whoever has the session of a symbol."""
        return Owner(self.source, channel, symbol)

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair: level 2, or level 3 where only that is replayed."""
        found = self._books.get(symbol)
        if found is None:
            if "book" not in self.source.symbols:
                return self.level3(symbol)
            self.source.check_symbol("book", symbol, "krakpot.Market.book: symbol")
            found = self._books[symbol] = LiveBook(self.owner("book", symbol), symbol)
        return found

    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""
        found = self._orders.get(symbol)
        if found is None:
            _check_level3(self.source.symbols)
            self.source.check_symbol(LEVEL3, symbol, "krakpot.Market.level3: symbol")
            found = self._orders[symbol] = LiveOrders(self.owner(LEVEL3, symbol), symbol)
        return found


class FeedData(Data):
    """A live feed. It is started here, and closed at the end."""

    def __init__(self, feed: Feed) -> None:
        """Nothing connects yet."""
        self.feed = feed
        self.name = "live feed"
        self._started = False
        """What comes before is not told: the books have it."""
        self._channels = channels_of(feed)
        _check_channels(dict.fromkeys(self._channels, ()), "the feed")
        self.symbols: tuple[str, ...] = ()
        self._look_at = 0.0
        """When the state of the pairs is looked at again."""
        self._send: Callable[[], object] | None = None
        """Sends what handlers asked for; None where nothing is sent."""

    async def open(self) -> None:
        """Connect, and wait until the exchange has described its pairs."""
        await self.feed.start()
        self.symbols = tuple(self.feed.selected_symbols)

    def pairs(self) -> list[TradedPair]:
        """Pairs as the exchange described them."""
        return [TradedPair.of(row) for row in described_pairs(self.feed) if row["symbol"] in self.symbols]

    def depth(self, *, level3: bool) -> int | None:
        """Levels a side that the feed shows."""
        return depths_of(self.feed)[level3]

    def has_level3(self, symbol: str) -> bool:  # noqa: ARG002  # a feed's channels have all its symbols
        """Whether the orders of a pair come."""
        return LEVEL3 in self._channels

    async def drive(self, core: Trading, end: Callable[[int], int | None], stopped: Callable[[], str]) -> str:
        """Give what comes to a run until its time is over, or a stop."""
        running = asyncio.ensure_future(self.feed.run())
        turns = None
        try:
            self._listen(core)
            await self.ready()
            begin = time.time_ns()
            until = end(begin)
            self._started = True
            for symbol in self.symbols:
                channel = LEVEL3 if self.has_level3(symbol) else "book"
                core.see(begin, symbol, session_of(self.feed, channel, symbol))
            core.start(begin)
            turns = Turns(lambda: stopped() or self._turn(core, until))
            # No handler is called after an error of one.
            running.add_done_callback(turns.stop)
            ends: tuple[asyncio.Future[Any], ...] = (running, turns.over)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if turns.over.done():
                return turns.result()
            await running
            return "the feed ended"
        finally:
            if turns is not None:
                turns.stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _turn(self, core: Trading, until: int | None) -> str | float:
        """Do what is due; why the run is over, or seconds until the next turn."""
        now = time.time_ns()
        if until is not None and now >= until:
            return TIMED
        self._look_at_pairs(core, now)
        core.advance(now)
        if self._send is not None:
            self._send()
        self.on_turn()
        wait = (core.next_due - time.time_ns()) / 1e9
        return min(max(wait, TICK), PAUSE_MAX)

    def _look_at_pairs(self, core: Trading, now: int) -> None:
        """Let the run know in which state its pairs are: the exchange may take no orders, or only some."""
        clock = time.monotonic()
        if clock < self._look_at:
            return
        self._look_at = clock + PAUSE_MAX
        for symbol in self.symbols:
            status = status_of(self.feed, symbol)
            if status is not None:
                core.set_pair_status(now, symbol, status)

    def _listen(self, core: Trading) -> None:
        """Hand everything over as it comes."""

        def read(made: Events, session: Session, frames: list[bytes], ts_recv: int) -> None:
            if self._started:
                core.receive(made, session, frames, ts_recv, self._send)
            else:
                made.receive(session, frames, ts_recv)

        def take(event: Any) -> None:  # noqa: ANN401  # whichever of these channels it is of
            if self._started:
                # What a gap or a subscription is of is where its books are.
                channel = getattr(event, "of", event.channel)
                core.take([event], session_of(self.feed, channel, getattr(event, "symbol", "")))
                if self._send is not None:
                    self._send()

        def connection(event: ConnectionEvent) -> None:
            if self._started and not event.up:
                for session in sessions_of(self.feed, event.endpoint):
                    core.advance(event.ts_recv, session, event.endpoint == LEVEL3)

        of_data = {"book", "trade", LEVEL3} & set(self._channels)
        callbacks: dict[str, Callback] = dict.fromkeys((*of_data, "status", "gap", "subscription"), take)
        take_reads(self.feed, callbacks | {"connection": connection}, read)

    async def ready(self) -> None:
        """Wait until the strategy may begin."""

    def on_turn(self) -> None:
        """The loop made one turn."""

    def interrupt(self) -> None:
        """Nothing: it looks often enough."""

    async def close(self) -> None:
        """Close the connections."""
        await self.feed.close()

    def book(self, symbol: str) -> LiveBook | LiveOrders:
        """The book of a pair."""
        return self.feed.book(symbol) if "book" in self._channels else self.feed.orders(symbol)

    def level3(self, symbol: str) -> LiveOrders:
        """The orders of a pair."""
        return self.feed.orders(symbol)


class LiveData(FeedData):
    """A live feed beside an account at the exchange."""

    def __init__(self, feed: Feed, client: AccountClient) -> None:
        """Nothing connects yet."""
        super().__init__(feed)
        self.client = client
        self._send = client.flush

    async def open(self) -> None:
        """Connect, and wait until the exchange has described its pairs."""
        share_tokens(self.feed, self.client.key.key, self.client)
        await super().open()

    async def ready(self) -> None:
        """Wait until own orders are known."""
        await self.client.reconciled()
        self.client.started = True

    def on_turn(self) -> None:
        """Do what is due."""
        self.client.heard(time.time_ns() - int(min(silence_of(self.feed), IDLE_MAX) * 1e9))
        self.client.tick()


def _check_channels(channels: Mapping[str, Any], what: str, place: str = FEED) -> None:
    if not {LEVEL3, "book"} & set(channels) or "trade" not in channels:
        has = ", ".join(channels) or "none"
        sentence = f"{place}: {what} has the channels {has}; orders are filled by {NEEDED}"
        raise ConfigError(sentence)


def _check_level3(channels: Mapping[str, Any]) -> None:
    if LEVEL3 not in channels:
        sentence = f"krakpot.Market.level3: the data has no channel level3; it has {', '.join(channels)}"
        raise ConfigError(sentence)

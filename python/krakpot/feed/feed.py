"""Live books and trades for a strategy, in process: the recorder's connection and session, without a lake.

>>> async def strategy() -> None:
...     async with krakpot.Feed(["BTC/USD"], channels=["book", "trade"]) as feed:
...         async for event in feed:
...             book = feed.book("BTC/USD")
...             if book.live:
...                 print(event, book.best_bid, book.best_ask)

There are three ways to listen: callbacks (``on``), which run when the socket was read and nothing waits between;
iteration, through a bounded queue; and ``batches``, Arrow tables without an object for any message. Books are checked
before anybody hears of them. A strategy that is slower than the feed chooses what happens, and sees that it does.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
import time
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from os import PathLike, fspath
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar, overload

from krakpot import _core, config
from krakpot._core import (
    Batch,
    Book,
    BookEvent,
    Events,
    Frame,
    OhlcEvent,
    StatusEvent,
    SubscriptionEvent,
    TickerEvent,
    TradeEvent,
)
from krakpot.config import URL, Config
from krakpot.errors import ConfigError, ConnectionLost, FeedError, NoBook, SlowReader
from krakpot.feed.sidecar import Beside
from krakpot.log import LogLine
from krakpot.net.backoff import Backoff
from krakpot.net.client import Client, ClientContext, supervise, uuid7
from krakpot.net.connection import Connection
from krakpot.values import LEVEL3, unmatched

EVENTS_MAX = 10_000
"""Events that may wait for iteration."""
ROWS_MAX = 200_000
"""Rows that may wait for ``batches``, some 200 bytes each."""
TICK = 0.1
"""Seconds between two looks at the clock's duties."""
ATTEMPTS_BESIDE = 20
"""Attempts to connect in ten minutes where a recorder runs beside, which has 120 of the 150 that Kraken allows."""
WHEN_SLOW = ("wait", "newest", "fail")
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """The feed's connection came about, or is gone: then no book is live until it is back."""

    channel: ClassVar[str] = "connection"
    up: bool
    reason: str
    """Why it is gone."""
    ts_recv: int
    """Since when, ns."""


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """Events that the strategy will not see, since it was slow and chose so: how many of each channel."""

    channel: ClassVar[str] = "skipped"
    counts: Mapping[str, int]


Event = (
    BookEvent | TradeEvent | TickerEvent | OhlcEvent | StatusEvent | SubscriptionEvent | ConnectionEvent | SkippedEvent
)
Callback = Callable[[Any], object]
Exact = Decimal | None
"""A price or quantity; None where that side of the book is empty."""


class LiveBook:
    """The book of one symbol as it is now. It is the same object over all reconnects.

    Prices and quantities are exact: ``decimal.Decimal`` padded to the pair's precision. ``numbers="float"`` gives the
    nearest floats, ``numbers="int"`` whole steps of the precision. A book that may not be trusted (a wrong checksum, no
    snapshot yet, no connection) gives nothing: ``NoBook`` says why.
    """

    __slots__ = ("_link", "symbol")

    def __init__(self, link: FeedClient, symbol: str) -> None:
        """``Feed.book`` makes them."""
        self._link = link
        self.symbol = symbol

    @property
    def live(self) -> bool:
        """Whether it may be trusted now."""
        return self._link.session.best(self.symbol, "int") is not None

    @property
    def state(self) -> tuple[str, str]:
        """Where its subscription stands, and why if that is not as it should be; see ``Session.subscriptions``."""
        if self._link.connection is None:
            return "down", self._link.reason
        found = (s for s in self._link.session.subscriptions() if s[:2] == ("book", self.symbol))
        for _, _, state, reason in found:
            return state, reason
        return "unknown", "the exchange has not told the pair"

    def _none(self) -> NoBook:
        return NoBook(self.symbol, *self.state)

    @overload
    def best(self, numbers: Literal["decimal"] = "decimal") -> tuple[Exact, Exact, Exact, Exact]: ...
    @overload
    def best(self, numbers: Literal["float"]) -> tuple[float | None, float | None, float | None, float | None]: ...
    @overload
    def best(self, numbers: Literal["int"]) -> tuple[int | None, int | None, int | None, int | None]: ...
    def best(self, numbers: str = "decimal") -> tuple[Any, Any, Any, Any]:
        """Best bid, its quantity, best ask, its quantity, of one moment."""
        found = self._link.session.best(self.symbol, numbers)
        if found is None:
            raise self._none()
        return found

    @property
    def best_bid(self) -> Exact:
        """Price of the best bid."""
        return self.best()[0]

    @property
    def best_ask(self) -> Exact:
        """Price of the best ask."""
        return self.best()[2]

    @property
    def spread(self) -> Exact:
        """Best ask less best bid, exact."""
        return self.middle()[0]

    @property
    def mid(self) -> Exact:
        """The middle between best bid and best ask, exact."""
        return self.middle()[1]

    @overload
    def middle(self, numbers: Literal["decimal"] = "decimal") -> tuple[Exact, Exact]: ...
    @overload
    def middle(self, numbers: Literal["float"]) -> tuple[float | None, float | None]: ...
    def middle(self, numbers: str = "decimal") -> tuple[Any, Any]:
        """Spread and middle, of one moment; None where a side is empty."""
        found = self._link.session.mid_and_spread(self.symbol, numbers)
        if found is None:
            raise self._none()
        return found

    @overload
    def bids(
        self, levels: int | None = None, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[Decimal, Decimal]]: ...
    @overload
    def bids(self, levels: int | None = None, *, numbers: Literal["float"]) -> list[tuple[float, float]]: ...
    @overload
    def bids(self, levels: int | None = None, *, numbers: Literal["int"]) -> list[tuple[int, int]]: ...
    def bids(self, levels: int | None = None, numbers: str = "decimal") -> list[Any]:
        """Price and quantity of the best ``levels`` bids, all without a number; best first."""
        return self._side("bid", levels, numbers)

    @overload
    def asks(
        self, levels: int | None = None, numbers: Literal["decimal"] = "decimal"
    ) -> list[tuple[Decimal, Decimal]]: ...
    @overload
    def asks(self, levels: int | None = None, *, numbers: Literal["float"]) -> list[tuple[float, float]]: ...
    @overload
    def asks(self, levels: int | None = None, *, numbers: Literal["int"]) -> list[tuple[int, int]]: ...
    def asks(self, levels: int | None = None, numbers: str = "decimal") -> list[Any]:
        """Price and quantity of the best ``levels`` asks, all without a number; best first."""
        return self._side("ask", levels, numbers)

    def _side(self, side: str, levels: int | None, numbers: str) -> list[Any]:
        found = self._link.session.levels(self.symbol, side, levels, numbers)
        if found is None:
            raise self._none()
        return found

    def copy(self) -> Book:
        """Copy it: the copy does not change any more."""
        found = self._link.session.book(self.symbol)
        if found is None:
            raise self._none()
        return found

    @property
    def checksum(self) -> int:
        """Kraken's CRC32 of the best ten levels of both sides."""
        return self.copy().checksum

    def to_arrow(self) -> Frame:
        """All levels: side, level (0 is the best), price, qty. Anything that reads Arrow takes it without copying."""
        return self.copy().to_arrow()

    def __repr__(self) -> str:
        """Symbol and best prices."""
        if not self.live:
            return f"LiveBook({self.symbol}, {self.state[0]})"
        return f"LiveBook({self.symbol}, {self.best_bid} / {self.best_ask})"


class FeedClient(Client):
    """The feed's connection: what it brings goes to the strategy."""

    def __init__(self, context: ClientContext, url: str, backoff: Backoff, feed: Feed) -> None:
        """``run`` connects."""
        self._feed = feed
        self._latest: Connection | None = None
        self.reason = "not connected yet"
        """Why there is no connection, if there is none."""
        self.left: list[dict[str, Batch]] = []
        """Rows of sessions that ended, for ``batches``."""
        super().__init__(context, url, backoff)

    async def _connect(self, session: _core.Session) -> Connection | None:
        """Tell the strategy, besides what every link does."""
        try:
            connection = await super()._connect(session)
        except FeedError as error:
            self.reason = str(error)
            raise
        if connection is not None:
            self._latest = connection
            if self.paused:
                connection.pause()
            self._feed.deliver([ConnectionEvent(up=True, reason="", ts_recv=time.time_ns())])
        return connection

    def _receive(self, frames: list[bytes], ts_recv: int) -> None:
        self._feed.take(self.session, frames, ts_recv)

    def _follow(self, ended: _core.Session) -> None:
        """Tell the strategy, besides what every link does."""
        assert self._latest is not None, "what was not connected does not end"
        self.reason = self._latest.closed.result()
        self._feed.ended(ended)
        super()._follow(ended)
        self._feed.deliver([ConnectionEvent(up=False, reason=self.reason, ts_recv=time.time_ns())])


class _Reader:
    """A loop that reads the feed."""

    def __init__(self, feed: Feed) -> None:
        """``Feed`` makes them."""
        self._feed = feed

    def __aiter__(self) -> Self:
        return self


_R = TypeVar("_R", bound=_Reader)


class _EventReader(_Reader):
    async def __anext__(self) -> Event:
        return await self._feed.next_event()


class _BatchReader(_Reader):
    def __init__(self, feed: Feed, every: float | None) -> None:
        super().__init__(feed)
        self._every = every

    async def __anext__(self) -> dict[str, Batch]:
        return await self._feed.next_batch(self._every)


@dataclass(slots=True)
class _Listener:
    """A callback, and whose events it wants."""

    callback: Callback
    symbol: str | None


@dataclass
class Feed:
    """Live books and trades while its ``async with`` block runs.

    Entering waits until the exchange has told its pairs: ``ConfigError`` for a pattern that matches none, or an option
    that is wrong; ``ConnectionLost`` if there is no connection within ``patience`` seconds. From then on connections
    that are lost are taken up again underneath.

    ``record`` is the folder of a lake, or options as of ``krakpot.toml`` (``{"out": "lake", "symbols": "*"}``): a
    recorder in a process of its own, with a connection of its own, runs beside the feed and ends with it.
    """

    symbols: Sequence[str]
    """Patterns, as ``BTC/USD`` or ``ETH/*``."""
    channels: Sequence[str] = ("book", "trade")
    """Of book, trade, ticker, ohlc."""
    depth: int = 10
    """Levels a side: 10, 25, 100, 500, 1000."""
    exclude: Sequence[str] = ()
    interval: int = 1
    """Minutes of a candle."""
    tokenised: bool = False
    url: str = URL
    plaintext: bool = False
    """Whether ``url`` may be ``ws://`` on another machine, where nobody proves who answers."""
    when_slow: Literal["wait", "newest", "fail"] = "wait"
    """When the strategy is slower than the feed: the socket waits, only the newest is kept, or the feed fails."""
    room: int | None = None
    """Events (rows, with ``batches``) that may wait for the strategy; None: ``EVENTS_MAX`` (``ROWS_MAX``)."""
    record: str | PathLike[str] | Mapping[str, Any] | None = None
    patience: float = 30.0
    """Seconds to wait for the first connection and the pairs."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the options."""
        names = ("symbols", "channels", "depth", "exclude", "interval", "tokenised", "url", "plaintext")
        given = {name: config.read(name, getattr(self, name), f"krakpot.Feed: {name}") for name in names}
        if LEVEL3 in given["channels"]:
            sentence = (
                "krakpot.Feed: channels: level3 is recorded, and not served to strategies; "
                "allowed are book, trade, ticker, ohlc"
            )
            raise ConfigError(sentence)
        if self.when_slow not in WHEN_SLOW:
            allowed = ", ".join(WHEN_SLOW)
            sentence = f"krakpot.Feed: when_slow: {self.when_slow!r} is not allowed; allowed is one of {allowed}"
            raise ConfigError(sentence)
        try:
            self._config = Config(**given)
        except ConfigError as error:
            raise ConfigError(f"krakpot.Feed: {error}") from None
        self.skipped: Counter[str] = Counter()
        """Events by channel (rows by table, with ``batches``) that the strategy did not see, since it chose so."""
        self.error: Exception | None = None
        """What the feed failed of."""
        self.beside: Beside | None = None
        """The recorder beside, if there is one."""
        self._line: FeedClient | None = None
        self._books: dict[str, LiveBook] = {}
        self._listeners: dict[str, list[_Listener]] = {}
        self._reading: Literal["", "events", "batches"] = ""
        self._reader: weakref.ref[_Reader] | None = None
        self._entered = asyncio.Event()
        self._queue: deque[Event] = deque()
        self._left_over = 0
        """Events that were left when the others were dropped last."""
        self._events: Events | None = None
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._recording: asyncio.Task[None] | None = None

    # Its life.

    async def __aenter__(self) -> Self:
        """Connect, and wait for the pairs."""
        if self._line is not None:
            sentence = "a feed is entered once; make another one"
            raise RuntimeError(sentence)
        budget = Backoff()
        if self.record is not None:
            beside = self.record if isinstance(self.record, Mapping) else {"out": fspath(self.record)}
            names = ("symbols", "exclude", "channels", "depth", "url", "plaintext")
            same = {name: getattr(self._config, name) for name in names}
            self.beside = Beside(same | dict(beside), _log)
            budget = Backoff(budget=ATTEMPTS_BESIDE)
        shared = ClientContext(self._config, uuid7(), self._stop, _say, self._task, self.tls)
        self._line = FeedClient(shared, self.url, budget, self)
        try:
            if self.beside is not None:
                await self.beside.start()
                self._recording = self._task(self.beside.run())
            self._tasks = [self._task(self._link.run()), self._task(self._duties(shared))]
            try:
                async with asyncio.timeout(self.patience):
                    await self._until(lambda: shared.checked)
            except TimeoutError:
                raise self._lost() from None
        except BaseException:
            await self._close()
            raise
        self._entered.set()
        return self

    @property
    def _link(self) -> FeedClient:
        if self._line is None:
            sentence = "this feed is not connected yet: use it within `async with feed:`"
            raise RuntimeError(sentence)
        return self._line

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close in order; what the feed failed of is raised unless something else is."""
        await self._close()
        if error is None and self.error is not None:
            raise self.error

    async def _close(self) -> None:
        self.stop()
        await asyncio.gather(*self._tasks[:1], return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.beside is not None and self._recording is not None:
            self.beside.stop()
            await asyncio.gather(self._recording, return_exceptions=True)

    def _lost(self) -> Exception:
        link = self._link
        if not link.connected:
            return ConnectionLost(link.attempts, link.last_error or f"{self.url}: no answer yet")
        return FeedError(f"{self.url}: connected, but the exchange told no pairs within {self.patience:.0f} s")

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the strategy; if it fails, the feed does."""
        return supervise(work, self.fail)

    def stop(self) -> None:
        """End in order: iteration ends, ``run`` returns."""
        self._stop.set()
        self._wake.set()

    def fail(self, error: Exception) -> None:
        """End because of an error, which iteration, ``run`` and the block raise; the first one counts."""
        self.error = self.error or error
        self.stop()

    async def run(self) -> None:
        """Let callbacks be called until ``stop``; raises what the feed, or a callback, failed of."""
        await self._stop.wait()
        if self.error is not None:
            raise self.error

    async def until_live(self, patience: float | None = None) -> None:
        """Wait until every subscription delivers, but for those that are refused or gone; ``TimeoutError`` if not."""
        async with asyncio.timeout(patience):
            await self._until(
                lambda: (
                    all(
                        state not in {"pending", "requested", "acked", "resyncing", "unsubscribing"}
                        for *_, state, _ in self.subscriptions()
                    )
                    and self._link.connection is not None
                )
            )

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._stop.is_set():  # noqa: ASYNC110  # what happens in Rust wakes nobody
            await asyncio.sleep(TICK / 10)
        if self.error is not None:
            raise self.error

    async def _duties(self, shared: ClientContext) -> None:
        """Do what is due."""
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            if not shared.checked:
                self._check_symbols(shared)
                if shared.checked:
                    # Nothing is subscribed before the block begins: who listens there from its begin on hears all.
                    await self._entered.wait()
            self._link.tick(now)
            # Rows and states that no frame brought.
            self.take(self._link.session, [], time.time_ns())
            if now - looked >= 1:
                looked = now
                self._link.check(now)
                self._link.take_counts()
            await asyncio.sleep(TICK)

    def _check_symbols(self, shared: ClientContext) -> None:
        """Once the pairs are known: every pattern must match one."""
        pairs = self._link.session.pairs()
        names = [pair["symbol"] for pair in pairs]
        for pattern in self._config.symbols if names else ():
            if not any(_core.matches(pattern, name) for name in names):
                raise ConfigError(unmatched(pattern, names, "krakpot.Feed: symbols"))
        if names and not any(pair["selected"] for pair in pairs):
            sentence = f"krakpot.Feed: exclude leaves none of the {len(names)} pairs"
            raise ConfigError(sentence)
        shared.checked = bool(names)

    # What it knows.

    def book(self, symbol: str) -> LiveBook:
        """Return the live book of a symbol: the same object each time. ``ValueError`` if it is not followed."""
        found = self._books.get(symbol)
        if found is None:
            followed = self.followed
            if "book" not in self._config.channels:
                sentence = 'this feed has no books; say channels=["book", …]'
                raise ValueError(sentence)
            if symbol not in followed:
                sentence = f"{symbol!r} is not followed by this feed; followed are {', '.join(followed[:20])}"
                raise ValueError(sentence + (", …" if len(followed) > 20 else ""))  # noqa: PLR2004  # enough of a hint
            found = self._books[symbol] = LiveBook(self._link, symbol)
        return found

    @property
    def followed(self) -> list[str]:
        """Symbols that the patterns choose now; newly listed ones join."""
        return [pair["symbol"] for pair in self._link.session.pairs() if pair["selected"]]

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connection is not None

    @property
    def silence(self) -> float:
        """Seconds since the exchange last sent anything, which it does every second; infinite without a connection."""
        connection = self._link.connection
        return float("inf") if connection is None else connection.silence(time.monotonic())

    @property
    def system(self) -> str | None:
        """State of the exchange: online, maintenance, cancel_only, post_only."""
        return self._link.session.system

    def subscriptions(self) -> list[tuple[str, str, str, str]]:
        """Channel, symbol, state and reason of each; see ``Session.subscriptions``."""
        return self._link.session.subscriptions()

    @property
    def counts(self) -> dict[str, Any]:
        """Counters over all connections, as of ``Session.counts``; how often and how long the socket waited."""
        link = self._link
        link.take_counts()
        waits = {"waits": link.waits, "waited_seconds": link.waited / 1e9, "skipped": dict(self.skipped)}
        return link.counts | waits

    @property
    def _room(self) -> int:
        if self.room is not None:
            return self.room
        return ROWS_MAX if self._reading == "batches" else EVENTS_MAX

    @property
    def waiting(self) -> int:
        """Events, or rows, that wait for the strategy."""
        return self._link.session.pending_rows if self._reading == "batches" else len(self._queue)

    # Listening.

    def on(self, channel: str, callback: Callback, symbol: str | None = None) -> None:
        """Call ``callback`` with each event of a channel, or of one symbol there, as soon as the socket was read.

        Channels: those of the feed, and ``status``, ``subscription`` and ``connection``. While the callback runs the
        socket waits. An exception ends the feed and is raised by ``run``.
        """
        allowed = (*self._config.channels, "status", "subscription", "connection")
        if channel not in allowed:
            sentence = f"this feed has no events of {channel!r}; it has {', '.join(allowed)}"
            raise ValueError(sentence)
        if inspect.iscoroutinefunction(callback):
            sentence = "a callback is a plain function; to await something use `async for event in feed`"
            raise TypeError(sentence)
        self._not_both("batches")
        self._listeners.setdefault(channel, []).append(_Listener(callback, symbol))
        self._choose()

    def _not_both(self, reading: str) -> None:
        if self._reading == reading:
            way = "batches" if reading == "batches" else "iteration"
            sentence = f"this feed is already read by {way}; use another Feed"
            raise RuntimeError(sentence)

    def _choose(self) -> None:
        """Let events be made of what somebody listens to, and of nothing else."""
        channels = {*self._config.channels, "status", "subscription"} if self._reading == "events" else set()
        channels |= self._listeners.keys() - {"connection"}
        if channels and self._events is None and self._entered.is_set():
            # What came while nobody listened is not news.
            self._link.session.drain()
        self._events = Events(sorted(channels)) if channels else None

    def take(self, session: _core.Session, frames: list[bytes], ts_recv: int) -> None:
        """Take the frames of a socket read; for the connection."""
        if self._reading == "batches":
            session.receive(frames, ts_recv)
            if session.pending_rows:
                self._wake.set()
                if session.pending_rows > self._room:
                    self._overfull_rows(session)
        elif self._events is not None:
            self.deliver(self._events.receive(session, frames, ts_recv))
        else:
            session.receive(frames, ts_recv)
            if not frames:
                # Nobody listens: books are all that is wanted.
                session.drain()

    def deliver(self, events: Sequence[Event]) -> None:
        """Give events to whoever listens; for the connection."""
        if self._stop.is_set():
            return
        try:
            if self._listeners:
                for event in events:
                    for listener in self._listeners.get(event.channel, ()):
                        if listener.symbol is None or listener.symbol == getattr(event, "symbol", None):
                            listener.callback(event)
        except Exception as error:  # noqa: BLE001  # whatever a strategy's code raises is the strategy's to see
            self.fail(error)
        if self._reading == "events" and events:
            self._queue.extend(events)
            self._wake.set()
            if len(self._queue) > self._room:
                self._overfull()

    def ended(self, session: _core.Session) -> None:
        """Keep the last rows of a session that ended; for the connection."""
        if self._reading == "batches":
            if session.pending_rows:
                self._link.left.append(session.drain())
        else:
            self.take(session, [], time.time_ns())
        # The next session's subscriptions are told anew.
        self._choose()

    def _overfull(self) -> None:
        if self.when_slow == "fail":
            self.fail(SlowReader(len(self._queue), self._room))
        elif self.when_slow == "wait":
            self._link.pause()
        elif len(self._queue) > 2 * self._left_over:
            self._keep_newest()

    def _keep_newest(self) -> None:
        """Of each channel, symbol and subscription keep the newest event, and say in front how many are gone."""
        newest: dict[tuple[object, ...], Event] = {}
        counts: Counter[str] = Counter()
        gone: Counter[str] = Counter()
        for event in self._queue:
            if isinstance(event, SkippedEvent):
                counts.update(event.counts)
                continue
            key = (event.channel, getattr(event, "symbol", None), getattr(event, "of", None))
            if newest.pop(key, None) is not None:
                gone[event.channel] += 1
            newest[key] = event
        self.skipped += gone
        counts += gone
        self._queue = deque([SkippedEvent(dict(counts))] if counts else [])
        self._queue.extend(newest.values())
        # Many symbols may have more that is newest than there is room: then it is looked at again when it has doubled.
        self._left_over = len(self._queue)

    def _overfull_rows(self, session: _core.Session) -> None:
        if self.when_slow == "fail":
            self.fail(SlowReader(session.pending_rows, self._room))
        elif self.when_slow == "wait":
            self._link.pause()
        else:
            rows = {table: batch.num_rows for table, batch in session.drain().items()}
            self.skipped.update(rows)
            count = sum(rows.values())
            detail = '{"queue":"strategy","answer":"newest"}'
            session.add_ledger_row("backpressure", time.time_ns(), count=count, detail=detail)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Events from now on, in order, one iteration at a time.

        It ends with ``stop``, and raises what the feed failed of.
        """
        self._not_both("batches")
        self._not_both("events")
        return self._begin(_EventReader(self), "events")

    def batches(self, every: float | None = None) -> AsyncIterator[dict[str, Batch]]:
        """Rows from now on, by table as in a lake (``docs/reference/tables.md``): Arrow, without copying.

        What came since the last time, as soon as something came, or every so many seconds. Callbacks and iteration are
        not to be had beside.
        """
        self._not_both("batches")
        self._not_both("events")
        if self._listeners:
            sentence = "this feed has callbacks; use another Feed for batches"
            raise RuntimeError(sentence)
        # What came while nobody listened is not news.
        self._link.session.drain()
        return self._begin(_BatchReader(self, every), "batches")

    def _begin(self, reader: _R, reading: Literal["events", "batches"]) -> _R:
        """Let one read until it is forgotten, as a loop that was left forgets it."""
        self._reading = reading
        self._reader = weakref.ref(reader, lambda _: self._leave())
        self._choose()
        return reader

    async def next_event(self) -> Event:
        """Take the next event; for iteration."""
        while not self._queue:
            await self._more()
        if self.error is not None:
            raise self.error
        event = self._queue.popleft()
        if self._link.paused and len(self._queue) <= self._room // 2:
            self._link.resume("strategy", self.when_slow)
        return event

    async def next_batch(self, every: float | None) -> dict[str, Batch]:
        """Take the rows that wait, or the next ones; for ``batches``."""
        link = self._link
        if every is not None and not link.left:
            await asyncio.sleep(every)
        while not link.left and not link.session.pending_rows:
            await self._more()
        if self.error is not None:
            raise self.error
        if link.left:
            return link.left.pop(0)
        batch = link.session.drain()
        if link.paused:
            link.resume("strategy", self.when_slow)
        return batch

    async def _more(self) -> None:
        """Wait for something to happen; the end ends the iteration."""
        if self.error is not None:
            raise self.error
        if self._stop.is_set():
            raise StopAsyncIteration
        self._wake.clear()
        await self._wake.wait()

    def _leave(self) -> None:
        """Nobody reads any more."""
        self._reading = ""
        self._reader = None
        self._queue.clear()
        self._choose()
        if self._link.paused:
            self._link.resume("strategy", self.when_slow)


def _say(line: str) -> None:
    """Lines of the link go to the log."""
    LOGGER.log(LEVELS[line.level if isinstance(line, LogLine) else "info"], "%s", line)


def _log(line: Mapping[str, Any]) -> None:
    """Lines of the recorder beside, too."""
    LOGGER.log(LEVELS[line["level"]], "recorder: %s", line["message"])

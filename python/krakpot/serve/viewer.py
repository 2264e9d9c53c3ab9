"""A client of the stream: what it wants, and what it is sent.

It is sent states when they are due: of each pair the newest one. Behind them goes a ping. What a client has not
answered yet it has not read, so after ``WINDOW`` pings without an answer nothing more is sent until it answers: states
neither pile up nor grow old in the buffers between the two.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from krakpot.serve import encode
from krakpot.serve.encode import ClockFlag, Flag, Head, Line
from krakpot.serve.facts import PairFacts
from krakpot.serve.market import Market, Messages
from krakpot.serve.request import SYMBOLS_MAX, RefusedError, Request
from krakpot.stream.book import LiveBook
from krakpot.stream.orders import LiveOrders, Side
from krakpot.values import LEVEL3

RATE = 30.0
"""States of a pair a second, unless a client asks for another rate."""
CLOCK = 0.25
"""Seconds between two clocks."""
OVERVIEW = 1.0
"""Seconds between two overviews."""
WINDOW = 4
"""Pings that may be without an answer."""
PATIENCE = 60.0
"""Seconds after which a client that answers no ping, or takes no bytes, is gone."""
TRADES_BEFORE = 50
"""Trades before its time that a new subscription begins with."""
IMBALANCE_LEVELS = 5
OVERVIEW_BOOKS = 50
"""Pairs of a lake whose books are all read for an overview; of more, tickers are."""
ORDER_BITS = (1 << 64) - 1


class Sight(Protocol):
    """What a viewer looks at: the live feed, or its place in a lake."""

    market: Market
    live: bool
    speed: float
    paused: bool
    at_end: bool

    @property
    def ready(self) -> bool:
        """Whether the books are those of the time that is shown."""

    @property
    def now(self) -> int:
        """The time that is shown, ns."""

    @property
    def connected(self) -> bool:
        """Whether the connection to the exchange is up."""

    @property
    def error(self) -> str:
        """Why nothing can come."""

    @property
    def system(self) -> str:
        """State of the exchange."""

    def book(self, symbol: str) -> LiveBook:
        """The level-2 book of a pair."""

    def orders(self, symbol: str) -> LiveOrders:
        """The level-3 book of a pair."""


class Wire(Protocol):
    """Where messages go."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message, when the client has room for it."""

    async def send_json(self, data: Any) -> None:  # noqa: ANN401  # as aiohttp has it
        """Send a text message."""

    async def ping(self, message: bytes) -> None:
        """Send a ping."""


@dataclass
class Seen:
    """How much of a book a viewer has been sent."""

    count: int | None = None
    run: int = 0
    in_sync: bool = False


@dataclass
class Subscription:
    """A pair that a viewer wants."""

    number: int
    depth: int
    channels: tuple[str, ...]
    orders: bool
    book: Seen = field(default_factory=Seen)
    level3: Seen = field(default_factory=Seen)
    traded: int | None = None
    """Trades that it has been sent, or that are lost to it; None: nothing yet."""
    trade_run: int = 0


class Viewer:
    """One client."""

    def __init__(
        self, sight: Sight, pairs: Mapping[str, PairFacts], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``pairs``: in the order of their numbers."""
        self.sight = sight
        self.pairs = pairs
        self.rate = RATE
        self.overview = False
        self.subscriptions: dict[str, Subscription] = {}
        self.sent: Counter[str] = Counter()
        """Messages that were sent, by kind."""
        self.pinged = self.answered = 0
        self._clock = clock
        self._epoch = sight.market.epoch
        self._gaps = sight.market.gap_count
        self._status: dict[str, str] = {}
        self._clock_due = self._overview_due = 0.0
        self._room = asyncio.Event()
        self._woken = asyncio.Event()

    # What it wants.

    def do(self, request: Request) -> None:
        """Do a request about what is sent. ``RefusedError`` if there is no such thing."""
        if request.method == "subscribe":
            self._subscribe(request)
        elif request.method == "unsubscribe":
            for symbol in request.symbols:
                self.subscriptions.pop(symbol, None)
        elif request.method == "overview":
            self.overview = request.on
            self._overview_due = 0.0
        elif request.method == "rate":
            self.rate = request.number
        self.wake()

    def _subscribe(self, request: Request) -> None:
        if len({*self.subscriptions, *request.symbols}) > SYMBOLS_MAX:
            raise RefusedError(
                f"symbols: more than {SYMBOLS_MAX} pairs are too many; unsubscribe some, or take the overview"
            )
        numbers = {symbol: number for number, symbol in enumerate(self.pairs)}
        for symbol in request.symbols:
            channels = self.pairs[symbol].channels
            if request.orders and LEVEL3 not in channels:
                raise RefusedError(f"orders: there is no level 3 of {symbol} here")
        for symbol in request.symbols:
            channels = self.pairs[symbol].channels
            self.subscriptions[symbol] = Subscription(numbers[symbol], request.depth, channels, request.orders)

    def wanted(self, *, all_books: bool) -> dict[str, frozenset[str]]:
        """Pairs by channel that a place in a lake has to play."""
        found: dict[str, set[str]] = {"book": set(), "trade": set(), "ticker": set(), LEVEL3: set()}
        for symbol, one in self.subscriptions.items():
            for channel in one.channels:
                if channel != LEVEL3 or one.orders:
                    found[channel].add(symbol)
        if self.overview:
            for symbol, pair in self.pairs.items():
                for channel in pair.channels:
                    if channel in {"trade", "ticker"} or (channel == "book" and all_books):
                        found[channel].add(symbol)
        return {channel: frozenset(symbols) for channel, symbols in found.items() if symbols}

    def wake(self) -> None:
        """Something was requested: do not wait for the next state to be due."""
        self._woken.set()

    # Sending.

    def pong(self) -> None:
        """The client has read everything up to a ping."""
        self.answered = min(self.answered + 1, self.pinged)
        self._room.set()

    @property
    def full(self) -> bool:
        """Whether it has to read before more is sent."""
        return self.pinged - self.answered >= WINDOW

    async def wait(self) -> None:
        """Wait until something may be due, and the client has room for it; ``TimeoutError`` if it is gone."""
        if not self._woken.is_set():
            try:
                async with asyncio.timeout(1 / self.rate):
                    await self._woken.wait()
            except TimeoutError:
                pass
        self._woken.clear()
        while self.full:
            self._room.clear()
            async with asyncio.timeout(PATIENCE):
                await self._room.wait()

    async def send(self, wire: Wire) -> None:
        """Send what is due, and a ping behind it; ``TimeoutError`` if it does not take it."""
        async with asyncio.timeout(PATIENCE):
            sent = False
            for message in self.due():
                if isinstance(message, bytes):
                    await wire.send_bytes(message)
                else:
                    await wire.send_json(message)
                sent = True
            if sent:
                self.pinged += 1
                await wire.ping(b"")

    def due(self) -> Iterator[bytes | dict[str, Any]]:
        """What is to be sent now; taken one by one, each is of the moment at which it is taken."""
        now = self._clock()
        status = self._state()
        if status != self._status:
            self._status = status
            self.sent["status"] += 1
            yield {"type": "status", **status}
        if self.sight.ready and not self.sight.error:
            self._look()
            for message in self._states():
                yield message
                if not self.sight.ready:
                    # It was moved while the client took that: what is left is of the time before.
                    break
            else:
                yield from self._new_gaps()
            if self.sight.ready and self.overview and now >= self._overview_due:
                self._overview_due = now + OVERVIEW
                self.sent["overview"] += 1
                yield self._overview()
        if now >= self._clock_due:
            self._clock_due = now + CLOCK
            self.sent["clock"] += 1
            yield self._clock_message()

    def _state(self) -> dict[str, str]:
        sight = self.sight
        if sight.error:
            return {"connection": "down", "reason": sight.error, "system": sight.system}
        if not sight.ready:
            return self._status
        up = sight.connected
        return {
            "connection": "up" if up else "down",
            "reason": "" if up else sight.market.reason,
            "system": sight.system,
        }

    def _clock_message(self) -> bytes:
        sight = self.sight
        flags = ClockFlag.NONE
        for on, flag in (
            (sight.paused, ClockFlag.PAUSED),
            (sight.at_end, ClockFlag.AT_END),
            (sight.live, ClockFlag.LIVE),
            (sight.connected, ClockFlag.CONNECTED),
        ):
            if on:
                flags |= flag
        return encode.clock(flags, sight.now, time.time_ns(), sight.speed)

    def _look(self) -> None:
        """See whether all is of another time now."""
        market = self.sight.market
        if self._epoch != market.epoch:
            self._epoch = market.epoch
            self._gaps = market.gap_count
            self._overview_due = 0.0
            for one in self.subscriptions.values():
                one.book, one.level3, one.traded = Seen(), Seen(), None

    # States.

    def _states(self) -> Iterator[bytes]:
        for symbol, one in list(self.subscriptions.items()):
            # Unsubscribed meanwhile, it gets nothing more.
            if self.subscriptions.get(symbol) is one:
                yield from self._of(symbol, one)

    def _of(self, symbol: str, one: Subscription) -> Iterator[bytes]:
        pair = self.sight.market.pair(symbol)
        if "book" in one.channels:
            book = self.sight.book(symbol)
            if (head := _head(one.number, one.book, pair.book, in_sync=book.in_sync)) is not None:
                self.sent["book"] += 1
                yield _book(head, book, one.depth)
        if one.orders:
            orders = self.sight.orders(symbol)
            if (head := _head(one.number, one.level3, pair.level3, in_sync=orders.in_sync)) is not None:
                self.sent["orders"] += 1
                yield _orders(head, orders, one.depth)
        if "trade" in one.channels:
            began = one.traded is None
            if one.traded is None:
                one.traded = pair.traded - min(len(pair.trades), TRADES_BEFORE)
                one.trade_run = pair.trade_run
            new = pair.traded - one.traded
            if new:
                kept = [pair.trades[i] for i in range(-min(new, len(pair.trades)), 0)]
                flags = Flag.NOT_CONTINUED if began or one.trade_run != pair.trade_run else Flag.NONE
                one.traded, one.trade_run = pair.traded, pair.trade_run
                self.sent["trades"] += 1
                yield encode.trades(one.number, flags, kept, new - len(kept))

    def _new_gaps(self) -> Iterator[bytes]:
        market = self.sight.market
        new = min(market.gap_count - self._gaps, len(market.gaps))
        self._gaps = market.gap_count
        for gap in list(market.gaps)[-new:] if new else ():
            for symbol in self.subscriptions if gap.symbol is None else [gap.symbol]:
                one = self.subscriptions.get(symbol)
                if one is not None and gap.channel in one.channels and (gap.channel != LEVEL3 or one.orders):
                    self.sent["gap"] += 1
                    yield encode.gap(gap.channel, one.number, gap.since, gap.until, gap.reason)

    def _overview(self) -> bytes:
        market, lines = self.sight.market, []
        played = None if self.sight.live else self.wanted(all_books=len(self.pairs) <= OVERVIEW_BOOKS).get("book", ())
        for number, (symbol, facts) in enumerate(self.pairs.items()):
            line, pair = Line(number), market.pair(symbol)
            line.last, line.volume = pair.last, pair.volume
            if pair.ticker is not None:
                ticker = pair.ticker
                line.bid, line.ask, line.last = map(_float, (ticker.bid, ticker.ask, ticker.last))
                line.volume = _float(ticker.statistics().get("volume"))
                if not math.isnan(pair.last):
                    # A trade is at least as new.
                    line.last = pair.last
            if "book" in facts.channels and (played is None or symbol in played):
                line.right, line.wrong = pair.book.right, pair.book.wrong
                _of_book(line, self.sight.book(symbol))
            lines.append(line)
        return encode.overview(self.sight.now, lines)


def _head(number: int, seen: Seen, messages: Messages, *, in_sync: bool) -> Head | None:
    """What a state begins with, if there is something new."""
    began = seen.count is None
    if not began and seen.count == messages.count and seen.in_sync == in_sync and seen.run == messages.run:
        return None
    flags = Flag.IN_SYNC if in_sync else Flag.NONE
    if began or seen.run != messages.run:
        flags |= Flag.NOT_CONTINUED
    since = 0 if seen.count is None else messages.count - seen.count
    seen.count, seen.run, seen.in_sync = messages.count, messages.run, in_sync
    return Head(number, flags, messages.checked, messages.ts_recv, messages.ts_event, messages.checksum, since)


def _book(head: Head, book: LiveBook, depth: int) -> bytes:
    if not head.flags & Flag.IN_SYNC:
        return encode.book(head, (), ())
    if not head.messages and not head.ts_recv:
        head.checksum = book.checksum
    return encode.book(head, book.bids(depth, numbers="float"), book.asks(depth, numbers="float"))


def _orders(head: Head, orders: LiveOrders, depth: int) -> bytes:
    if not head.flags & Flag.IN_SYNC:
        return encode.orders(head, (), ())
    return encode.orders(head, _queues(orders, "bid", depth), _queues(orders, "ask", depth))


def _queues(orders: LiveOrders, side: Side, depth: int) -> list[tuple[float, float, int, int]]:
    """All orders of the best levels of a side."""
    # A number that is the same for the same id, without a memory of ids: Python's own hash of it.
    return [
        (float(price), qty, ts_order, hash(order_id) & ORDER_BITS)
        for price, _, _ in orders.levels(side, depth)
        for order_id, qty, ts_order in orders.queue(side, price, "float")
    ]


def _of_book(line: Line, book: LiveBook) -> None:
    """What a book says for an overview."""
    if not book.in_sync:
        line.in_sync = 0
        line.bid = line.ask = encode.NAN
        return
    bids = book.bids(IMBALANCE_LEVELS, numbers="float")
    asks = book.asks(IMBALANCE_LEVELS, numbers="float")
    line.in_sync = 1
    line.bid = bids[0][0] if bids else encode.NAN
    line.ask = asks[0][0] if asks else encode.NAN
    bought, sold = sum(qty for _, qty in bids), sum(qty for _, qty in asks)
    if bought + sold:
        line.imbalance = (bought - sold) / (bought + sold)


def _float(value: object) -> float:
    """A number of a ticker; NaN if it has none."""
    return encode.NAN if value is None else float(value)  # type: ignore[arg-type]  # a Decimal

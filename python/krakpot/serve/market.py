"""What came of each pair: counts, the last message, trades and gaps. Viewers remember how far they have seen.

A market is written by the events of a feed or of a replay, and read by any number of viewers. What it keeps is bounded
by pair, and no viewer adds to it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from krakpot.serve import encode
from krakpot.serve.encode import TRADE
from krakpot.stream.events import (
    BookEvent,
    ConnectionEvent,
    Endpoint,
    GapEvent,
    Level3Event,
    StatusEvent,
    TickerEvent,
    TradeEvent,
)
from krakpot.stream.stream import Listeners
from krakpot.values import LEVEL3

TRADES_KEPT = 1000
"""Trades of a pair that wait for slow viewers; more are counted and left out."""
GAPS_KEPT = 1000
"""Gaps of all pairs that wait for slow viewers."""
LOST = {"mismatch": "checksum mismatch", "crossed": "crossed book", "refused": "a number that cannot be held"}
"""Outcomes of a message after which a book is out of sync, in words."""
CHECKED = {"ok": encode.RIGHT, "mismatch": encode.WRONG, "crossed": encode.WRONG}
SIDES = {"buy": 0, "sell": 1}
TYPES = {"limit": 0, "market": 1}


class Messages:
    """What came of a book of a pair."""

    __slots__ = ("checked", "checksum", "count", "right", "run", "ts_event", "ts_recv", "wrong")

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0
        self.run = 0
        """Changes when what comes does not continue what was there."""
        self.ts_recv = self.ts_event = self.checksum = 0
        self.checked = encode.UNCHECKED
        self.right = self.wrong = 0

    def take(self, event: BookEvent | Level3Event) -> None:
        """Take a message."""
        self.count += 1
        self.run += event.kind == "snapshot"
        self.ts_recv = event.ts_recv
        self.ts_event = event.ts_event or 0
        self.checksum = event.checksum or 0
        self.checked = CHECKED.get(event.outcome, encode.UNCHECKED)
        self.right += self.checked == encode.RIGHT
        self.wrong += self.checked == encode.WRONG


class Pair:
    """What came of a pair."""

    __slots__ = ("book", "last", "level3", "ticker", "trade_run", "traded", "trades", "volume")

    def __init__(self) -> None:
        """Nothing yet."""
        self.book = Messages()
        self.level3 = Messages()
        self.ticker: TickerEvent | None = None
        self.trades: deque[bytes] = deque(maxlen=TRADES_KEPT)
        self.traded = 0
        """How many trades came, also those that are not kept."""
        self.trade_run = 0
        self.last = encode.NAN
        """Price of the last trade."""
        self.volume = encode.NAN
        """Quantity of the trades that were seen."""

    def take(self, event: TradeEvent) -> None:
        """Take a trade."""
        price, qty = float(event.price), float(event.qty)
        self.trades.append(
            TRADE.pack(
                event.ts_event or event.ts_recv, event.ts_recv, event.trade_id, price, qty,
                SIDES.get(event.side, 0), TYPES.get(event.ord_type, 0),
            )
        )  # fmt: skip
        self.traded += 1
        self.last = price
        if event.kind != "snapshot":
            self.volume = qty if math.isnan(self.volume) else self.volume + qty


class Gap(NamedTuple):
    """Something that is not known."""

    channel: str
    symbol: str | None
    """None: of all pairs."""
    since: int
    until: int
    """0 while it lasts."""
    reason: str


class Market:
    """All pairs."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.pairs: dict[str, Pair] = {}
        self.gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)
        self.gap_count = 0
        """How many gaps came, also those that are not kept."""
        self.ts = 0
        """Receipt of the last message, ns."""
        self.system = ""
        self.down: dict[Endpoint, str] = {}
        """Why connections to the exchange are down, those that are."""
        self.epoch = 0
        """Changes when all is of another time."""
        self._taken: tuple[int, Mapping[str, Collection[str]]] = (0, {})
        """Events up to this time, of these pairs by channel, were taken already."""

    def pair(self, symbol: str) -> Pair:
        """What came of a pair."""
        found = self.pairs.get(symbol)
        if found is None:
            found = self.pairs[symbol] = Pair()
        return found

    def clear(self) -> None:
        """Forget everything: what comes now is of another time."""
        self.pairs.clear()
        self.forget_gaps()
        self.taken(0, {})
        self.epoch += 1
        self.down.clear()

    @property
    def reason(self) -> str:
        """Why a connection is down; empty if none is, as far as was said."""
        return "; ".join(self.down.values())

    def taken(self, until: int, pairs: Mapping[str, Collection[str]]) -> None:
        """Ignore events up to a time, of these pairs by channel: they come again, and were taken."""
        self._taken = (until, {channel: frozenset(symbols) for channel, symbols in pairs.items()})

    def forget_gaps(self) -> None:
        """No viewer wants to hear of the gaps so far."""
        self.gaps.clear()
        self.gap_count += 1

    def _again(self, channel: str, symbol: str, ts: int) -> bool:
        until, pairs = self._taken
        return ts <= until and symbol in pairs.get(channel, ())

    def listeners(self, channels: Iterable[str]) -> Listeners:
        """What to call with the events of these channels, and with those that every stream has."""
        takers: dict[str, Callable[..., None]] = {
            "book": self._book,
            LEVEL3: self._level3,
            "trade": self._trade,
            "ticker": self._ticker,
        }
        always: dict[str, Callable[..., None]] = {
            "gap": self._gap,
            "connection": self._connection,
            "status": self._status,
        }
        chosen = {name: taker for name, taker in takers.items() if name in set(channels)} | always
        return {name: [(taker, None)] for name, taker in chosen.items()}

    def _book(self, event: BookEvent) -> None:
        if self._again("book", event.symbol, event.ts_recv):
            return
        self.ts = event.ts_recv
        self.pair(event.symbol).book.take(event)
        if event.outcome in LOST:
            self._add(Gap("book", event.symbol, event.ts_recv, 0, LOST[event.outcome]))

    def _level3(self, event: Level3Event) -> None:
        if self._again(LEVEL3, event.symbol, event.ts_recv):
            return
        self.ts = event.ts_recv
        self.pair(event.symbol).level3.take(event)
        if event.outcome in LOST:
            self._add(Gap(LEVEL3, event.symbol, event.ts_recv, 0, LOST[event.outcome]))

    def _trade(self, event: TradeEvent) -> None:
        if self._again("trade", event.symbol, event.ts_recv):
            return
        self.ts = event.ts_recv
        self.pair(event.symbol).take(event)

    def _ticker(self, event: TickerEvent) -> None:
        if self._again("ticker", event.symbol, event.ts_recv):
            return
        self.ts = event.ts_recv
        self.pair(event.symbol).ticker = event

    def _gap(self, event: GapEvent) -> None:
        if self._again(event.of, event.symbol, event.ts_recv):
            return
        pair = self.pair(event.symbol)
        if event.of == "book":
            pair.book.run += 1
        elif event.of == LEVEL3:
            pair.level3.run += 1
        elif event.of == "trade":
            pair.trade_run += 1
        if event.of in encode.CHANNELS:
            since = event.ts_to if event.ts_from is None else event.ts_from
            self._add(Gap(event.of, event.symbol, since, event.ts_to, event.reason))

    def _connection(self, event: ConnectionEvent) -> None:
        if event.up:
            self.down.pop(event.endpoint, None)
        else:
            self.down[event.endpoint] = event.reason
        if not event.up and event.ts_recv > self._taken[0]:
            for channel in [LEVEL3] if event.endpoint == LEVEL3 else ["book", "trade", "ticker"]:
                self._add(Gap(channel, None, event.ts_recv, 0, event.reason))

    def _status(self, event: StatusEvent) -> None:
        self.system = event.system

    def _add(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self.gap_count += 1

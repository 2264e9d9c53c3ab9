"""Frames as Kraken sends them, and an independent model of books: dicts, ``Decimal`` and zlib, nothing of krakpot.

>>> book = Book("BTC/USD", depth=10, price_precision=1, qty_precision=8)
>>> frame = book.snapshot(bids=[("45283.5", "0.1")], asks=[("45285.2", "0.001")])
>>> frame[:41]
b'{"channel":"book","type":"snapshot","data'
"""

from __future__ import annotations

import functools
import json
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
START = 1_785_641_750 * SECOND
"""2026-08-02T03:35:50Z, ns since the epoch."""
DEPTHS = (10, 25, 100, 500, 1000)

Entry = tuple[str, str, str]
"""Side (bid, ask), price and quantity as on the wire."""
OrderEntry = tuple[str, str | None, str, str, str, int]
"""Side, event (None in snapshots), order id, price, quantity, time."""

EXACT = Context(prec=1000)
"""Arithmetic that loses no digit of anything a test sends."""


class Number(str):
    """A number by its digits, written without quotes."""

    __slots__ = ()


def dumps(value: object) -> str:
    """JSON without blanks, in which a ``Number`` keeps its digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value)


def frame(value: object) -> bytes:
    """A frame of ``value``."""
    return dumps(value).encode()


def rfc3339(ts: int) -> str:
    """Time of the exchange: microseconds and Z."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def padded(value: Decimal, precision: int) -> str:
    """Digits with exactly ``precision`` decimals; an error if that would lose one."""
    text = format(EXACT.quantize(value, EXACT.scaleb(Decimal(1), -precision)), "f")
    assert EXACT.create_decimal(text) == value, f"{value} has more than {precision} decimals"
    return text


def checksum(bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> int:
    """Kraken's CRC32 of padded levels, best first: asks, then bids, ten each, without points and leading zeros."""
    digits = [text.replace(".", "").lstrip("0") for side in (asks, bids) for level in list(side)[:10] for text in level]
    return zlib.crc32("".join(digits).encode())


class Book:
    """A level-2 book as two dicts: the simplest model."""

    def __init__(self, symbol: str, *, depth: int = 10, price_precision: int = 1, qty_precision: int = 8) -> None:
        """An empty book."""
        self.symbol = symbol
        self.depth = depth
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "ask": {}}

    def apply(self, entries: Iterable[Entry]) -> None:
        """Apply each entry: zero removes, anything else sets; then remove the worst level beyond the depth."""
        for side, price, qty in entries:
            levels = self.sides[side]
            if Decimal(qty) == 0:
                levels.pop(Decimal(price), None)
            else:
                levels[Decimal(price)] = Decimal(qty)
            if len(levels) > self.depth:
                del levels[min(levels) if side == "bid" else max(levels)]

    def levels(self, side: str) -> list[tuple[str, str]]:
        """Padded price and quantity, best first."""
        ordered = sorted(self.sides[side].items(), reverse=side == "bid")
        return [(padded(price, self.price_precision), padded(qty, self.qty_precision)) for price, qty in ordered]

    @property
    def checksum(self) -> int:
        """Checksum of the best ten levels."""
        return checksum(self.levels("bid"), self.levels("ask"))

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bids, asks = self.sides["bid"], self.sides["ask"]
        return bool(bids and asks) and max(bids) >= min(asks)

    def snapshot(
        self,
        bids: Sequence[tuple[str, str]] | None = None,
        asks: Sequence[tuple[str, str]] | None = None,
        *,
        ts: int = START,
    ) -> bytes:
        """A snapshot of the given levels, else of the current book."""
        given = {
            "bid": self.levels("bid") if bids is None else bids,
            "ask": self.levels("ask") if asks is None else asks,
        }
        self.sides = {"bid": {}, "ask": {}}
        entries = [(side, price, qty) for side in ("bid", "ask") for price, qty in given[side]]
        self.apply(entries)
        return book("snapshot", self.symbol, entries, self.checksum, ts=ts)

    def update(self, entries: Sequence[Entry], *, ts: int = START, crc: int | None = None) -> bytes:
        """An update with the checksum of the book after it (or ``crc``). Bids come first in a frame."""
        ordered = sorted(entries, key=lambda entry: entry[0] == "ask")
        self.apply(ordered)
        return book("update", self.symbol, ordered, self.checksum if crc is None else crc, ts=ts)


def book(kind: str, symbol: str, entries: Iterable[Entry], crc: int | None, *, ts: int = START) -> bytes:
    """A book message; the levels of each side keep their order."""
    levels: dict[str, list[dict[str, Number]]] = {"bid": [], "ask": []}
    for side, price, qty in entries:
        levels[side].append({"price": Number(price), "qty": Number(qty)})
    data: dict[str, Any] = {"symbol": symbol, "bids": levels["bid"], "asks": levels["ask"]}
    if crc is not None:
        data["checksum"] = crc
    return frame({"channel": "book", "type": kind, "data": [data | {"timestamp": rfc3339(ts)}]})


@dataclass
class Order:
    """One order of the model."""

    side: str
    order_id: str
    price: Decimal
    qty: Decimal
    place: tuple[int, int]
    """Time and arrival."""


@dataclass
class Orders:
    """A level-3 book as an unsorted list of orders; each question sorts it."""

    depth: int
    price_precision: int
    qty_precision: int
    rule: str = "keep_place"
    held: list[Order] = field(default_factory=list)
    arrivals: int = 0
    absent: int = 0
    replaced: int = 0
    symbol: str = "BTC/USD"

    def find(self, order_id: str) -> Order | None:
        """The order of that id."""
        return next((order for order in self.held if order.order_id == order_id), None)

    def apply(self, entries: list[OrderEntry]) -> None:
        """Apply each entry; then remove the levels beyond the depth, with their orders."""
        for side, what, order_id, price_text, qty_text, time in entries:
            price, qty = Decimal(price_text), Decimal(qty_text)
            self.arrivals += 1
            old = self.find(order_id)
            if what in {None, "add"}:
                self.held = [order for order in self.held if order is not old]
                self.replaced += old is not None
                self.held.append(Order(side, order_id, price, qty, (time, self.arrivals)))
            elif old is None:
                self.absent += 1
            elif what == "delete":
                self.held.remove(old)
            else:
                moved = (old.side, old.price) != (side, price)
                if moved or (self.rule == "take_timestamp" and time != old.place[0]):
                    old.place = (time, self.arrivals)
                old.side, old.price, old.qty = side, price, qty
            self.held = [order for order in self.held if order.qty]
        window = {(side, price) for side in ("bid", "ask") for price in self.prices(side)[: self.depth]}
        self.held = [order for order in self.held if (order.side, order.price) in window]

    def prices(self, side: str) -> list[Decimal]:
        """Prices of a side, best first."""
        return sorted({order.price for order in self.held if order.side == side}, reverse=side == "bid")

    def queue(self, side: str, price: Decimal) -> list[Order]:
        """The orders at a price, in the order in which they are filled."""
        at = [order for order in self.held if (order.side, order.price) == (side, price)]
        return sorted(at, key=lambda order: order.place)

    def price(self, value: Decimal) -> str:
        """A price padded."""
        return padded(value, self.price_precision)

    def qty(self, *values: Decimal) -> str:
        """A sum of quantities padded."""
        return padded(functools.reduce(EXACT.add, values, Decimal(0)), self.qty_precision)

    def levels(self, side: str) -> list[tuple[str, str, int]]:
        """The level-2 view: padded price and quantity, number of orders; best first."""
        queues = [self.queue(side, price) for price in self.prices(side)]
        return [(self.price(queue[0].price), self.qty(*(order.qty for order in queue)), len(queue)) for queue in queues]

    def checksum(self) -> int:
        """Kraken's CRC32 of every order of the best ten levels: asks, then bids, in the order of the queues."""
        orders = [o for side in ("ask", "bid") for price in self.prices(side)[:10] for o in self.queue(side, price)]
        texts = [text for order in orders for text in (self.price(order.price), self.qty(order.qty))]
        return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in texts).encode())

    def checksum_level2(self) -> int:
        """CRC32 of the level-2 view."""
        bids, asks = ([level[:2] for level in self.levels(side)] for side in ("bid", "ask"))
        return checksum(bids, asks)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bids, asks = self.prices("bid"), self.prices("ask")
        return bool(bids and asks and bids[0] >= asks[0])

    def snapshot(self, *, ts: int = START) -> bytes:
        """A snapshot of the current book."""
        entries: list[OrderEntry] = [
            (side, None, one.order_id, self.price(one.price), self.qty(one.qty), one.place[0])
            for side in ("bid", "ask")
            for price in self.prices(side)
            for one in self.queue(side, price)
        ]
        return level3("snapshot", self.symbol, entries, self.checksum(), ts=ts)

    def update(self, entries: Sequence[OrderEntry], *, ts: int = START, crc: int | None = None) -> bytes:
        """An update with the checksum of the book after it (or ``crc``). Bids come first in a frame."""
        ordered = sorted(entries, key=lambda entry: entry[0] == "ask")
        self.apply(ordered)
        return level3("update", self.symbol, ordered, self.checksum() if crc is None else crc, ts=ts)


def level3(kind: str, symbol: str, entries: Iterable[OrderEntry], crc: int | None, *, ts: int = START) -> bytes:
    """A level-3 message; the orders of each side keep their order."""
    sides: dict[str, list[dict[str, Any]]] = {"bid": [], "ask": []}
    for side, event, order_id, price, qty, time in entries:
        facts = {} if event is None else {"event": event}
        facts |= {"order_id": order_id, "limit_price": Number(price), "order_qty": Number(qty)}
        sides[side].append(facts | {"timestamp": rfc3339(time)})
    data: dict[str, Any] = {"symbol": symbol, "bids": sides["bid"], "asks": sides["ask"]}
    if crc is not None:
        data["checksum"] = crc
    return frame({"channel": "level3", "type": kind, "data": [data | {"timestamp": rfc3339(ts)}]})


def ack(
    channel: str, symbol: str, *, method: str = "subscribe", req_id: int | None = None, depth: int | None = None
) -> bytes:
    """A request was granted."""
    result: dict[str, Any] = {"channel": channel, "symbol": symbol, "snapshot": True}
    if depth is not None:
        result["depth"] = depth
    reply: dict[str, Any] = {"method": method, "result": result, "success": True, "time_out": rfc3339(START)}
    return frame(reply if req_id is None else reply | {"req_id": req_id})


def refusal(error: str, *, symbol: str | None = None, method: str = "subscribe", req_id: int | None = None) -> bytes:
    """A request was refused."""
    reply: dict[str, Any] = {"error": error, "method": method, "success": False}
    reply |= {} if symbol is None else {"symbol": symbol}
    return frame(reply if req_id is None else reply | {"req_id": req_id})


def status(system: str = "online", **more: Any) -> bytes:
    """State of the exchange."""
    facts = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": 18125794168470749634}
    return frame({"channel": "status", "type": "update", "data": [facts | more]})


def pair(
    symbol: str, *, price_precision: int = 1, qty_precision: int = 8, status: str = "online", **more: Any
) -> dict[str, Any]:
    """One pair of the instrument channel."""
    base, _, quote = symbol.partition("/")
    return {
        "symbol": symbol, "base": base, "quote": quote, "status": status, "qty_precision": qty_precision,
        "qty_increment": Number("1E-8"), "price_precision": price_precision, "cost_precision": 5, "marginable": True,
        "has_index": True, "cost_min": "0.5", "margin_initial": Number("0.2"), "position_limit_long": 300,
        "position_limit_short": 240, "tick_size": Number("0.1"), "price_increment": Number("0.1"),
        "qty_min": Number("0.00005"),
    } | more  # fmt: skip


def asset(name: str, **more: Any) -> dict[str, Any]:
    """One asset of the instrument channel."""
    return {
        "id": name, "status": "enabled", "precision": 10, "precision_display": 5, "borrowable": True,
        "collateral_value": Number("1.00"), "margin_rate": Number("0.010000"), "class": "currency",
    } | more  # fmt: skip


def instrument(*pairs: Mapping[str, Any], assets: Sequence[Mapping[str, Any]] = (), kind: str = "snapshot") -> bytes:
    """Pairs and assets."""
    return frame({"channel": "instrument", "type": kind, "data": {"assets": list(assets), "pairs": list(pairs)}})


def trade(
    symbol: str,
    trade_id: int,
    *,
    price: str = "45283.5",
    qty: str = "0.10000000",
    kind: str = "update",
    ts: int = START,
    **more: Any,
) -> bytes:
    """One trade."""
    facts = {"symbol": symbol, "side": "buy", "price": Number(price), "qty": Number(qty), "ord_type": "market"}
    data = facts | {"trade_id": trade_id, "timestamp": rfc3339(ts)} | more
    return frame({"channel": "trade", "type": kind, "data": [data]})


def ticker(symbol: str, *, kind: str = "update", ts: int = START, **more: Any) -> bytes:
    """Best prices and 24-hour statistics."""
    numbers = {
        "bid": "45283.5", "bid_qty": "0.10000000", "ask": "45285.2", "ask_qty": "0.00100000", "last": "45283.5",
        "volume": "2391.07131524", "vwap": "45100.1", "low": "44000.0", "high": "46000.0", "change": "-120.5",
        "change_pct": "-0.27",
    }  # fmt: skip
    data = {"symbol": symbol} | {key: Number(text) for key, text in numbers.items()} | more
    return frame({"channel": "ticker", "type": kind, "data": [data | {"timestamp": rfc3339(ts)}]})


def ohlc(symbol: str, *, kind: str = "update", ts: int = START, **more: Any) -> bytes:
    """A candle."""
    numbers = {
        "open": "45283.5",
        "high": "45285.2",
        "low": "45280.0",
        "close": "45281.1",
        "vwap": "45282.2",
        "volume": "1.5",
    }
    data = {"symbol": symbol} | {key: Number(text) for key, text in numbers.items()} | {"trades": 12, "interval": 1}
    data |= {"interval_begin": rfc3339(ts - ts % (60 * SECOND)), "timestamp": rfc3339(ts)} | more
    return frame({"channel": "ohlc", "type": kind, "timestamp": rfc3339(ts), "data": [data]})


HEARTBEAT = frame({"channel": "heartbeat"})


def _order_events(orders: Orders, number: int, ts: int) -> list[OrderEntry]:
    """A new order; sometimes a partial fill, or the end of the oldest order."""
    side, sign = (("bid", -1), ("ask", 1))[number // 2 % 2]
    price = f"{1000 + sign * (1 + number * 7 % 9)}.0"
    events: list[OrderEntry] = [(side, "add", f"OAAAAA-{number:05}-AAAAAA", price, f"{number % 13 + 1}.5", ts)]
    if orders.held and number % 3 == 0:
        one = orders.held[number % len(orders.held)]
        events.append((one.side, "modify", one.order_id, orders.price(one.price), "0.25", one.place[0]))
    if len(orders.held) > 20:  # enough for several per level
        one = orders.held[0]
        events.insert(0, (one.side, "delete", one.order_id, orders.price(one.price), orders.qty(one.qty), ts))
    return events


def market(
    symbols: Sequence[str], *, begin: int, step: int, count: int, seed: int = 1, level3: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Receive time and frame: status, pairs, acks and snapshots of all symbols, then ``count`` book updates and trades.

    With ``level3`` every fifth of these is followed by a level-3 update (of other orders than the
    book's). Every message of books has the right checksum and every symbol's trade ids follow each other.
    """
    rng = random.Random(seed)
    orders = [Orders(10, 1, 8, symbol=symbol) for symbol in symbols if level3]
    books = [Book(symbol) for symbol in symbols]
    ids = [100] * len(books)
    opening = [status(), instrument(*map(pair, symbols), assets=[asset("USD")])]
    for one in books:
        opening += [ack("book", one.symbol, depth=10), ack("trade", one.symbol), ack("ticker", one.symbol)]
        levels = [
            [(f"{price + sign * i}.{i % 10}", f"{i + 1}.5") for i in range(10)]
            for price, sign in ((1000, -1), (1001, 1))
        ]
        opening += [one.snapshot(*levels, ts=begin), ticker(one.symbol, kind="snapshot", ts=begin)]
        opening.append(ohlc(one.symbol, kind="snapshot", ts=begin))
    opening += [one.snapshot(ts=begin) for one in orders]
    yield from ((begin, opened) for opened in opening)
    for n in range(count):
        ts = begin + (n + 1) * step
        if orders and n % 5 == 4:  # as the docstring says
            number = n // 5
            one_order = orders[number % len(orders)]
            yield ts, one_order.update(_order_events(one_order, number, ts), ts=ts)
        at = rng.randrange(len(books))
        one = books[at]
        if rng.random() < 0.2:  # a share of trades
            ids[at] += 1
            yield ts, trade(one.symbol, ids[at], ts=ts)
            continue
        entries = []
        for _ in range(rng.randint(1, 4)):
            side = rng.choice(["bid", "ask"])
            held = sorted(one.sides[side])
            if len(held) > 5 and rng.random() < 0.3:  # a share of removals, and levels enough to spare
                entries.append((side, padded(rng.choice(held), 1), "0.00000000"))
            else:
                price = 1000 - rng.randrange(12) if side == "bid" else 1001 + rng.randrange(12)
                entries.append(
                    (
                        side,
                        f"{price}.{rng.randrange(10) if side == 'ask' else 0}",
                        f"{rng.randint(1, 10**9) / 10**8:.8f}",
                    )
                )
        yield ts, one.update(entries, ts=ts)

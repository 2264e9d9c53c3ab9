"""Frames as Kraken sends them, and a second opinion on books: dicts, ``Decimal`` and zlib, none of it krakpot's.

>>> book = Book("BTC/USD", depth=10, price_precision=1, qty_precision=8)
>>> frame = book.snapshot(bids=[("45283.5", "0.1")], asks=[("45285.2", "0.001")])
>>> frame[:41]
b'{"channel":"book","type":"snapshot","data'
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """A level-2 book as two dicts: the plainest thing that could be right."""

    def __init__(self, symbol: str, *, depth: int = 10, price_precision: int = 1, qty_precision: int = 8) -> None:
        """An empty book."""
        self.symbol = symbol
        self.depth = depth
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "ask": {}}

    def apply(self, entries: Iterable[Entry]) -> None:
        """Entry after entry: zero removes, anything else sets; then the worst level beyond the depth goes."""
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
        """A snapshot: of the levels given, else of the book as it stands."""
        given = {
            "bid": self.levels("bid") if bids is None else bids,
            "ask": self.levels("ask") if asks is None else asks,
        }
        self.sides = {"bid": {}, "ask": {}}
        entries = [(side, price, qty) for side in ("bid", "ask") for price, qty in given[side]]
        self.apply(entries)
        return book("snapshot", self.symbol, entries, self.checksum, ts=ts)

    def update(self, entries: Sequence[Entry], *, ts: int = START, crc: int | None = None) -> bytes:
        """An update with the checksum of the book after it (or ``crc``). Bids stand first in a frame."""
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


def market(symbols: Sequence[str], *, begin: int, step: int, count: int, seed: int = 1) -> Iterator[tuple[int, bytes]]:
    """Receive time and frame: status, pairs, acks and snapshots of all symbols, then ``count`` book updates and trades.

    Every book message has the right checksum and every symbol's trade ids follow each other.
    """
    rng = random.Random(seed)
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
    yield from ((begin, opened) for opened in opening)
    for n in range(count):
        ts = begin + (n + 1) * step
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

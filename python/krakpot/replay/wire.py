"""Messages of Kraken's WebSocket v2, as text: numbers in fixed point with the digits of the pair, times in RFC 3339."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from krakpot.stream.events import BookEvent, Level3Event, OhlcEvent, TickerEvent, TradeEvent

HEARTBEAT = '{"channel":"heartbeat"}'
Levels = Sequence[tuple[int, int]]
"""Prices and quantities in steps of the precision, best first."""
Precision = tuple[int, int]
"""Decimals of prices and of quantities."""
ORDER_KEYS = ("event", "order_id", "limit_price", "order_qty", "timestamp")


def number(value: Decimal | int) -> str:
    """A number as it is written: all its digits, never an exponent."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def steps(value: int, decimals: int) -> str:
    """A whole number of steps as a number with so many decimals: 5100 with 8 is ``0.00005100``."""
    if not decimals:
        return str(value)
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def time(ns: int, decimals: int = 6) -> str:
    """A time, with its quotes and so many decimals of a second."""
    seconds, rest = divmod(ns, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f'"{whole}.{f"{rest:09}"[:decimals]}Z"'


def _fields(fields: Iterable[tuple[str, str | None]]) -> str:
    """An object of fields that are written already; those without a value are left out."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields if text is not None) + "}"


def _message(channel: str, kind: str, items: Iterable[str], more: str = "") -> str:
    return f'{{"channel":"{channel}","type":"{kind}"{more},"data":[{",".join(items)}]}}'


def _level(price: str, qty: str) -> str:
    return f'{{"price":{price},"qty":{qty}}}'


def _book(kind: str, symbol: str, sides: Mapping[str, Sequence[str]], checksum: int, ts: int | None) -> str:
    fields = [
        ("symbol", json.dumps(symbol)),
        ("bids", f"[{','.join(sides['bid'])}]"),
        ("asks", f"[{','.join(sides['ask'])}]"),
        ("checksum", str(checksum)),
        ("timestamp", None if ts is None else time(ts)),
    ]
    return _message("book", kind, [_fields(fields)])


def book(event: BookEvent) -> str:
    """A message of a book, as it was recorded."""
    sides: dict[str, list[str]] = {"bid": [], "ask": []}
    for side, price, qty in event.entries():
        sides[side].append(_level(number(price), number(qty)))
    assert event.checksum is not None, "such a message is not sent on"
    return _book(event.kind, event.symbol, sides, event.checksum, event.ts_event)


def book_snapshot(symbol: str, bids: Levels, asks: Levels, precision: Precision, checksum: int, ts: int | None) -> str:
    """A snapshot of a book."""
    sides = {"bid": _levels(bids, precision), "ask": _levels(asks, precision)}
    return _book("snapshot", symbol, sides, checksum, ts)


def _levels(levels: Iterable[tuple[int, int]], precision: Precision) -> list[str]:
    return [_level(steps(price, precision[0]), steps(qty, precision[1])) for price, qty in levels]


def book_update(
    symbol: str,
    before: tuple[Levels, Levels],
    after: tuple[Levels, Levels],
    depth: int,
    precision: Precision,
    checksum: int,
    ts: int | None,
) -> str | None:
    """What changed in the best ``depth`` levels of a book; None: nothing."""
    bids = changed(before[0], after[0], depth, falls=True)
    asks = changed(before[1], after[1], depth, falls=False)
    if not bids and not asks:
        return None
    return _book("update", symbol, {"bid": _levels(bids, precision), "ask": _levels(asks, precision)}, checksum, ts)


def changed(before: Levels, after: Levels, depth: int, *, falls: bool) -> list[tuple[int, int]]:
    """Levels that make ``after`` of ``before``, both the best ``depth`` of a side; removed ones first, quantity zero.

    ``falls``: prices fall from the best on, as those of bids. A level that others have pushed out is not named: a
    client keeps its best ``depth`` levels and drops it itself. Removed levels come first and better levels before
    worse, so this is right whether a client drops levels after each entry or after the message.
    """
    old, new = dict(before), dict(after)
    gone = [price for price in old if price not in new]
    if len(after) == depth:
        last = after[-1][0]
        gone = [price for price in gone if (price > last if falls else price < last)]
    return [(price, 0) for price in gone] + [level for level in after if old.get(level[0]) != level[1]]


def trades(events: Sequence[TradeEvent], kind: str) -> str:
    """Trades of one message."""
    return _message(
        "trade",
        kind,
        (
            _fields(
                [
                    ("symbol", json.dumps(event.symbol)),
                    ("side", json.dumps(event.side)),
                    ("price", number(event.price)),
                    ("qty", number(event.qty)),
                    ("ord_type", json.dumps(event.ord_type)),
                    ("trade_id", str(event.trade_id)),
                    ("timestamp", None if event.ts_event is None else time(event.ts_event)),
                ]
            )
            for event in events
        ),
    )


def ticker(event: TickerEvent, kind: str) -> str:
    """A ticker."""
    numbers = {name: getattr(event, name) for name in ("bid", "bid_qty", "ask", "ask_qty", "last")} | event.statistics()
    fields = [(name, None if value is None else number(value)) for name, value in numbers.items()]
    at = None if event.ts_event is None else time(event.ts_event)
    return _message("ticker", kind, [_fields([("symbol", json.dumps(event.symbol)), *fields, ("timestamp", at)])])


def ohlc(events: Sequence[OhlcEvent], kind: str) -> str:
    """Candles of one message."""
    items = []
    for event in events:
        end = event.interval_begin + event.interval * 60 * 10**9
        items.append(
            _fields(
                [
                    ("symbol", json.dumps(event.symbol)),
                    *((name, None if value is None else number(value)) for name, value in event.candle().items()),
                    ("trades", None if event.trades is None else str(event.trades)),
                    ("interval_begin", time(event.interval_begin, 9)),
                    ("interval", str(event.interval)),
                    ("timestamp", time(end)),
                ]
            )
        )
    stamp = events[-1].ts_event
    return _message("ohlc", kind, items, "" if stamp is None else f',"timestamp":{time(stamp, 9)}')


Order = tuple[str, str | None, str, str, str, int]
"""Side, event (None in snapshots), order id, price, quantity, time."""


def level3(kind: str, symbol: str, orders: Iterable[Order], checksum: int, ts: int | None) -> str:
    """A message of level 3."""
    sides: dict[str, list[str]] = {"bid": [], "ask": []}
    for side, event, order_id, price, qty, timestamp in orders:
        texts = (None if event is None else f'"{event}"', json.dumps(order_id), price, qty, time(timestamp, 9))
        sides[side].append(_fields(zip(ORDER_KEYS, texts, strict=True)))
    fields = [
        ("checksum", str(checksum)),
        ("symbol", json.dumps(symbol)),
        ("timestamp", None if ts is None else time(ts, 9)),
        ("bids", f"[{','.join(sides['bid'])}]"),
        ("asks", f"[{','.join(sides['ask'])}]"),
    ]
    return _message("level3", kind, [_fields(fields)])


def level3_of(event: Level3Event) -> str:
    """A message of level 3, as it was recorded."""
    assert event.checksum is not None, "such a message is not sent on"
    # In snapshots orders have no event.
    orders = (
        (side, None if event.kind == "snapshot" else what, order_id, number(price), number(qty), timestamp)
        for side, what, order_id, price, qty, timestamp in event.orders()
    )
    return level3(event.kind, event.symbol, orders, event.checksum, event.ts_event)


def status(system: str, connection: int) -> str:
    """State of the exchange; the first message of a connection."""
    fields = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection}
    return _message("status", "update", [json.dumps(fields | {"upcoming_maintenance": [], "emergency": []})])


INSTRUMENT_LEFT_OUT = ("session", "message", "entry", "ts_recv", "ts_event", "origin", "extra")


def described(row: Mapping[str, Any]) -> str:
    """A row of ``pairs`` or ``assets`` as the exchange wrote it; what is not known is left out."""
    fields = [
        (name, number(value.normalize()) if isinstance(value, Decimal) else json.dumps(value))
        for name, value in row.items()
        if name not in INSTRUMENT_LEFT_OUT and value is not None
    ]
    text = _fields(fields)
    more = (row.get("extra") or "{}").strip()[1:-1].strip()
    return f"{text[:-1]},{more}}}" if more else text


def instrument(kind: str, assets: Iterable[str], pairs: Iterable[str]) -> str:
    """Assets and pairs, each as ``described``."""
    data = f'{{"assets":[{",".join(assets)}],"pairs":[{",".join(pairs)}]}}'
    return f'{{"channel":"instrument","type":"{kind}","data":{data}}}'


def answer(fields: Mapping[str, object], req_id: int | None, now: int) -> str:
    """An answer to a request."""
    whole = dict(fields)
    if req_id is not None:
        whole["req_id"] = req_id
    return f'{json.dumps(whole)[:-1]},"time_in":{time(now)},"time_out":{time(now)}}}'

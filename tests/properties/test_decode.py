"""Decoding against ``json.loads``: keys in any order, blanks anywhere, unknown fields everywhere, numbers by their
digits.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import frames
from krakpot import _core

SYMBOLS = ("BTC/USD", "AAPLx/USD", "LONGBASE123456/EUR", "ÜBER/USD", 'QU"OTE\\/USD')

number = st.builds(
    lambda units, scale: frames.Number(frames.padded(Decimal(units).scaleb(-scale, frames.EXACT), scale)),
    st.integers(1, 10**17),
    st.integers(0, 10),
)
anything = st.recursive(
    st.none() | st.booleans() | number | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def text(value: object, rng: random.Random) -> str:
    """JSON with keys in random order and blanks at random places."""

    def blank() -> str:
        return rng.choice(["", "", "", " ", "\n", "\t \r"])

    if isinstance(value, frames.Number):
        return str(value)
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        inner = (blank() + ",").join(
            f"{blank()}{string(key, rng)}{blank()}:{blank()}{text(item, rng)}" for key, item in items
        )
        return "{" + inner + blank() + "}"
    if isinstance(value, list):
        return "[" + (blank() + ",").join(blank() + text(item, rng) for item in value) + blank() + "]"
    return string(value, rng) if isinstance(value, str) else json.dumps(value)


def string(value: str, rng: random.Random) -> str:
    """A JSON string, escaped as ASCII or as it is."""
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def unknown(known: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that the documentation does not name."""
    return st.dictionaries(st.text(max_size=10).filter(lambda key: key not in known), anything, max_size=2)


def decoded(value: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """The frame as Python's json reads it, and the rows that krakpot makes of it."""
    frame = text(value, rng)
    session = _core.Session("s", passive=True, precision=dict.fromkeys(SYMBOLS, (10, 10)))
    session.receive([frame.encode()], frames.START)
    assert session.counts()["errors"] == 0, (frame, session.take_ledger())
    tables = {}
    for name, batch in session.drain().items():
        arrow = pa.record_batch(batch)
        arrow.validate(full=True)
        tables[name] = pl.DataFrame(arrow)
    return json.loads(frame, parse_float=Decimal, parse_int=Decimal), tables


def extra(item: dict[str, Any], known: set[str]) -> dict[str, Any] | None:
    """The fields that no column keeps; krakpot writes them as one JSON object, None where there are none."""
    return {key: value for key, value in item.items() if key not in known} or None


def read_extra(cell: str | None) -> dict[str, Any] | None:
    """The column ``extra`` as Python's json reads it."""
    return None if cell is None else json.loads(cell, parse_float=Decimal, parse_int=Decimal)


times = st.integers(0, 4_000_000_000_000_000).map(lambda us: us * 1000)


def utc(moment: str) -> datetime:
    """A time of the wire."""
    return datetime.fromisoformat(moment).astimezone(UTC)


LEVEL = {"price", "qty"}
BOOK = {"symbol", "bids", "asks", "checksum", "timestamp"}
TRADE = {"symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"}
TICKER = {"bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"}
OHLC = {"open", "high", "low", "close", "vwap", "volume"}
ENVELOPE = {"channel", "type", "data", "timestamp", "method"}


@given(st.data(), st.randoms(use_true_random=False))
def test_book(data: st.DataObject, rng: random.Random) -> None:
    """Entries in wire order, bids and asks in whichever order their keys come."""
    level = st.builds(lambda price, qty, more: {"price": price, "qty": qty} | more, number, number, unknown(LEVEL))
    item = {
        "symbol": data.draw(st.sampled_from(SYMBOLS)), "bids": data.draw(st.lists(level, max_size=5)),
        "asks": data.draw(st.lists(level, max_size=5)), "checksum": data.draw(st.integers(0, 2**32 - 1)),
        "timestamp": frames.rfc3339(data.draw(times)),
    } | data.draw(unknown(BOOK))  # fmt: skip
    kind = data.draw(st.sampled_from(["snapshot", "update"]))
    frame = {"channel": "book", "type": kind, "data": [item]} | data.draw(unknown(ENVELOPE))
    python, tables = decoded(frame, rng)
    (one,) = python["data"]
    sides = {"bids": "bid", "asks": "ask"}
    entries: list[tuple[Any, ...]] = [
        (sides[key], e["price"], e["qty"]) for key in one if key in sides for e in one[key]
    ]
    entries = entries or [(None, None, None)]
    book = tables["book"]
    assert book.select("side", "price", "qty").rows() == entries
    assert book["entry"].to_list() == list(range(len(entries)))
    head = (one["symbol"], kind, int(one["checksum"]), utc(one["timestamp"]))
    assert set(book.select("symbol", "kind", "checksum", "ts_event").rows()) == {head}


@given(st.data(), st.randoms(use_true_random=False))
def test_trades(data: st.DataObject, rng: random.Random) -> None:
    """Several trades of one frame, in their order."""
    trade = st.builds(
        lambda symbol, side, price, qty, word, ts, more: {
            "symbol": symbol, "side": side, "price": price, "qty": qty, "ord_type": word,
            "timestamp": frames.rfc3339(ts),
        } | more,
        st.sampled_from(SYMBOLS), st.sampled_from(["buy", "sell"]), number, number, st.text(max_size=20), times,
        unknown(TRADE),
    )  # fmt: skip
    items = [{**item, "trade_id": n} for n, item in enumerate(data.draw(st.lists(trade, min_size=1, max_size=6)))]
    python, tables = decoded({"channel": "trade", "type": "update", "data": items}, rng)
    found = tables["trades"].select("symbol", "side", "price", "qty", "ord_type", "trade_id", "ts_event").rows()
    assert found == [
        (t["symbol"], t["side"], t["price"], t["qty"], t["ord_type"], int(t["trade_id"]), utc(t["timestamp"]))
        for t in python["data"]
    ]


@given(st.data(), st.randoms(use_true_random=False))
def test_ticker(data: st.DataObject, rng: random.Random) -> None:
    """Numbers may be missing or null; fields without a column stand in ``extra`` with their digits."""
    numbers = data.draw(st.dictionaries(st.sampled_from(sorted(TICKER)), number | st.none()))
    known = TICKER | {"symbol", "timestamp"}
    item = {"symbol": data.draw(st.sampled_from(SYMBOLS))} | numbers | data.draw(unknown(known))
    python, tables = decoded({"channel": "ticker", "type": "update", "data": [item]}, rng)
    (one,) = python["data"]
    (row,) = tables["ticker"].to_dicts()
    assert {key: row[key] for key in TICKER} == {key: one.get(key) for key in TICKER}
    assert (row["symbol"], row["ts_event"]) == (one["symbol"], None)
    assert read_extra(row["extra"]) == extra(one, known)


@given(st.data(), st.randoms(use_true_random=False))
def test_ohlc(data: st.DataObject, rng: random.Random) -> None:
    """Candles, with the time of the frame as ``ts_event``."""
    numbers = data.draw(st.dictionaries(st.sampled_from(sorted(OHLC)), number | st.none()))
    known = OHLC | {"symbol", "interval", "interval_begin", "trades"}
    interval = data.draw(st.sampled_from([1, 5, 1440, 21600]))
    item = {
        "symbol": data.draw(st.sampled_from(SYMBOLS)), "interval": interval,
        "trades": data.draw(st.integers(0, 2**64 - 1)),
        "interval_begin": frames.rfc3339(data.draw(times)),
    } | numbers | data.draw(unknown(known))  # fmt: skip
    frame = {"channel": "ohlc", "type": "snapshot", "timestamp": frames.rfc3339(data.draw(times)), "data": [item]}
    python, tables = decoded(frame, rng)
    (one,) = python["data"]
    (row,) = tables["ohlc"].to_dicts()
    assert {key: row[key] for key in OHLC} == {key: one.get(key) for key in OHLC}
    assert (row["interval"], row["trades"]) == (int(one["interval"]), int(one["trades"]))
    assert (row["interval_begin"], row["ts_event"]) == (utc(one["interval_begin"]), utc(python["timestamp"]))
    assert read_extra(row["extra"]) == extra(one, known)


@given(st.data(), st.randoms(use_true_random=False))
def test_instrument(data: st.DataObject, rng: random.Random) -> None:
    """Pairs and assets; null is as if the field were not there."""
    pair_numbers = ["price_increment", "qty_increment", "qty_min", "cost_min", "margin_initial"]
    pair_own = {
        "base": st.text(max_size=20), "quote": st.text(max_size=20),
        "status": st.sampled_from(["online", "cancel_only", "new"]),
        "cost_precision": st.integers(0, 255), "marginable": st.booleans(), "has_index": st.booleans(),
        "position_limit_long": st.integers(-(2**63), 2**63 - 1), "position_limit_short": st.integers(0, 300),
    } | dict.fromkeys(pair_numbers, number)  # fmt: skip
    pair_known = {"symbol", "price_precision", "qty_precision", *pair_own}
    asset_own: dict[str, st.SearchStrategy[Any]] = {
        "precision": st.integers(0, 255), "precision_display": st.integers(0, 255), "borrowable": st.booleans(),
        "collateral_value": number, "margin_rate": number, "class": st.text(max_size=20),
    }  # fmt: skip
    asset_known = {"id", "status", *asset_own}

    def optional(own: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
        return {key: data.draw(st.none() | value, label=key) for key, value in own.items() if data.draw(st.booleans())}

    pairs = [
        {"symbol": symbol, "price_precision": data.draw(st.integers(0, 255)),
        "qty_precision": data.draw(st.integers(0, 10))}
        | optional(pair_own) | data.draw(unknown(pair_known))
        for symbol in data.draw(st.lists(st.sampled_from(SYMBOLS), max_size=2, unique=True))
    ]  # fmt: skip
    assets = [
        {"id": f"ASSET{n}", "status": "enabled"} | optional(asset_own) | data.draw(unknown(asset_known))
        for n in range(data.draw(st.integers(0, 2)))
    ]
    frame = {"channel": "instrument", "type": "snapshot", "data": {"pairs": pairs, "assets": assets}}
    python, tables = decoded(frame, rng)

    def check(table: str, items: list[dict[str, Any]], known: set[str]) -> None:
        rows = tables[table].to_dicts() if items else []
        assert len(rows) == len(items)
        for row, item in zip(rows, items, strict=True):
            # Text that is empty is null in the table: nothing is said either way.
            assert {key: row[key] for key in known} == {
                key: item.get(key) if item.get(key) != "" or key == "class" else None for key in known
            }
            without_null = {key: value for key, value in item.items() if value is not None}
            assert read_extra(row["extra"]) == extra(without_null, known)

    check("pairs", python["data"]["pairs"], pair_known)
    check("assets", python["data"]["assets"], asset_known)

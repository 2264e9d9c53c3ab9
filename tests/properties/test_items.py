"""One odd item of a message never blocks the others, in any channel's array.

A message has several items, one of which is damaged in one field, or is no object at all. All others must be taken, and
one ledger row must name the damaged one.
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
from krakpot import _core

Fields = list[tuple[str, str]]
"""The fields of an item: names and values as JSON, so that a name can stand twice."""

TIME = frames.rfc3339(frames.START)
TEXT = ["null", "5", "true", "[]", "{}"]
"""What no required text can be."""
NUMBER = ["null", '"x"', "true", "[]", "{}", '""', "9" * 39]
WHOLE = ["null", '"x"', "true", "[]", "{}", "1.5", "9" * 25]
MOMENT = ["null", "5", '"yesterday"', '"2026-13-01T00:00:00Z"', "[]"]
OPTIONAL_NUMBER = ['"x"', "true", "[]", "{}"]
"""Null is as if the field were not there; a number that no column holds goes to ``extra``."""
OPTIONAL_TEXT = ["5", "true", "[]"]
OPTIONAL_BOOLEAN = ["5", '"yes"', "[]"]
SIDE = ["5", "{}", "[5]", "[null]", '[{"price":1}]', '[{"price":1,"qty":"x"}]', '[{"price":1,"qty":null}]']
ORDERS = ["5", "{}", "[5]", '[{"order_id":"a"}]', '[{"order_id":7,"limit_price":1,"order_qty":1}]']

DAMAGES: dict[str, dict[str, list[str]]] = {
    "trade": {
        "symbol": TEXT, "side": TEXT, "price": NUMBER, "qty": NUMBER, "ord_type": TEXT, "trade_id": WHOLE,
        "timestamp": MOMENT,
    },
    "ticker": {"symbol": TEXT, "bid": OPTIONAL_NUMBER, "change_pct": OPTIONAL_NUMBER, "timestamp": MOMENT[1:]},
    "ohlc": {
        "symbol": TEXT, "interval": WHOLE, "interval_begin": MOMENT, "trades": OPTIONAL_NUMBER, "open": OPTIONAL_NUMBER,
    },
    "status": {
        "system": TEXT, "version": OPTIONAL_TEXT, "api_version": OPTIONAL_TEXT, "connection_id": OPTIONAL_NUMBER,
    },
    "pairs": {
        "symbol": [*TEXT, json.dumps("X" * 70)], "base": OPTIONAL_TEXT, "status": OPTIONAL_TEXT,
        "price_precision": [*WHOLE, "300", "-1"], "qty_precision": WHOLE, "qty_min": OPTIONAL_NUMBER,
        "cost_precision": OPTIONAL_NUMBER, "marginable": OPTIONAL_BOOLEAN, "position_limit_long": OPTIONAL_NUMBER,
    },
    "assets": {
        "id": TEXT, "status": TEXT, "precision": OPTIONAL_NUMBER, "borrowable": OPTIONAL_BOOLEAN,
        "margin_rate": OPTIONAL_NUMBER, "class": OPTIONAL_TEXT,
    },
    "book": {"symbol": TEXT, "bids": SIDE, "asks": SIDE, "checksum": ['"x"', "-1", "1.5"], "timestamp": MOMENT[1:]},
    "level3": {
        "symbol": TEXT, "bids": ORDERS, "asks": ORDERS, "checksum": ['"x"', "-1", "[]"], "timestamp": MOMENT[1:],
    },
}  # fmt: skip
"""By array: what each field cannot be."""
REQUIRED = {
    "trade": list(DAMAGES["trade"]), "ticker": ["symbol"], "ohlc": ["symbol", "interval", "interval_begin"],
    "status": ["system"], "pairs": ["symbol", "price_precision", "qty_precision"], "assets": ["id", "status"],
    "book": ["symbol"], "level3": ["symbol"],
}  # fmt: skip
TABLES = {"trade": "trades", "level3": "orders"}
"""Tables with another name than their array."""
ODD = ["null", "5", '"x"', "[]", "true", "{}"]
"""Items that are no item."""


def item(array: str, number: int) -> Fields:
    """A good item, which differs from the others by its number."""
    symbol, moment = json.dumps(f"S{number}/USD"), json.dumps(TIME)
    level = f'[{{"price":1.5,"qty":{number + 1}.0}}]'
    order = f'[{{"order_id":"O{number}","limit_price":1.5,"order_qty":{number + 1}.0,"timestamp":{moment}}}]'
    fields: dict[str, Fields] = {
        "trade": [
            ("symbol", symbol), ("side", '"buy"'), ("price", "1.5"), ("qty", "2.0"), ("ord_type", '"limit"'),
            ("trade_id", str(number)), ("timestamp", moment),
        ],
        "ticker": [("symbol", symbol), ("bid", "1.5"), ("change_pct", "-0.5"), ("timestamp", moment)],
        "ohlc": [("symbol", symbol), ("interval", "1"), ("interval_begin", moment), ("trades", "7"), ("open", "1.5")],
        "status": [
            ("system", json.dumps(f"state {number}")), ("version", '"2.0.0"'), ("api_version", '"v2"'),
            ("connection_id", "18446744073709551615"),
        ],
        "pairs": [
            ("symbol", symbol), ("base", '"S"'), ("status", '"online"'), ("price_precision", "2"),
            ("qty_precision", "8"), ("qty_min", "0.5"), ("cost_precision", "2"), ("marginable", "true"),
            ("position_limit_long", "9"),
        ],
        "assets": [
            ("id", json.dumps(f"A{number}")), ("status", '"enabled"'), ("precision", "8"), ("borrowable", "false"),
            ("margin_rate", "0.5"), ("class", '"currency"'),
        ],
        "book": [("symbol", symbol), ("bids", level), ("asks", "[]"), ("checksum", "1"), ("timestamp", moment)],
        "level3": [("symbol", symbol), ("bids", order), ("asks", "[]"), ("checksum", "1"), ("timestamp", moment)],
    }  # fmt: skip
    return fields[array]


def written(fields: Fields) -> str:
    """The item as JSON."""
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in fields) + "}"


def message(array: str, items: list[str]) -> bytes:
    """The frame that has these items."""
    data = "[" + ",".join(items) + "]"
    if array in ("pairs", "assets"):
        channel, data = "instrument", f'{{"{array}":{data}}}'
    else:
        channel = array
    return f'{{"channel":"{channel}","type":"snapshot","data":{data}}}'.encode()


def taken(array: str, items: list[str]) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Names of the items that have rows, with their place in the message, and the ledger's rows about refused bytes."""
    session = _core.Session("s", passive=True, precision={f"S{n}/USD": (1, 8) for n in range(10)})
    session.receive([message(array, items)], frames.START)
    batches = session.drain()
    table = TABLES.get(array, array)
    key = {"status": "system", "assets": "id"}.get(array, "symbol")
    rows = pl.DataFrame(pa.record_batch(batches[table])) if table in batches else None
    if rows is not None and array == "pairs":
        rows = rows.filter(pl.col("origin") == "instrument")
    found = [] if rows is None else rows.select(key, "entry").rows()
    return found, [row for row in session.take_ledger() if row["kind"] in ("decode_error", "limit")]


@st.composite
def damaged(draw: st.DrawFn, array: str) -> tuple[str, str | None, bool]:
    """An item of the array that is wrong in one field: as JSON, with that field, and whether its symbol can be read."""
    fields = item(array, 9)
    how = draw(st.sampled_from(["value", "value", "missing", "repeated", "odd"]))
    if how == "odd":
        return draw(st.sampled_from(ODD)), None, False
    if how == "missing":
        field = draw(st.sampled_from(REQUIRED[array]))
        fields = [(key, value) for key, value in fields if key != field]
    elif how == "repeated":
        field, value = draw(st.sampled_from(fields))
        fields = draw(st.permutations([*fields, (field, value)]))
    else:
        field = draw(st.sampled_from(sorted(DAMAGES[array])))
        wrong = draw(st.sampled_from(DAMAGES[array][field]))
        fields = [(key, wrong if key == field else value) for key, value in fields]
    shuffled = draw(st.permutations(fields)) if how != "repeated" else fields
    return written(shuffled), field, array != "assets" and field != "symbol"


@pytest.mark.parametrize("array", sorted(DAMAGES))
@given(st.data())
def test_the_others_are_taken(array: str, data: st.DataObject) -> None:
    """One row names the damaged item, its field and, where it can be read, its symbol; the others keep their places."""
    good = data.draw(st.integers(0, 4))
    place = data.draw(st.integers(0, good))
    wrong, field, named = data.draw(damaged(array))
    items = [written(item(array, number)) for number in range(good)]
    items.insert(place, wrong)
    whole, _ = taken(array, [written(item(array, number)) for number in range(good)])
    found, errors = taken(array, items)
    assert [name for name, _ in found] == [name for name, _ in whole]
    if array not in ("book", "level3"):
        assert [entry for _, entry in found] == [n for n in range(len(items)) if n != place]
    assert len(errors) == 1, errors
    (error,) = errors
    facts = json.loads(error["detail"])
    assert error["channel"] == ("instrument" if array in ("pairs", "assets") else array)
    assert (facts["array"], facts["index"]) == (array if array in ("pairs", "assets") else "data", place)
    assert facts["excerpt"]
    if array in ("book", "level3"):
        # A row that names the symbol in its own column would end the book; this one is only in doubt.
        assert error["symbol"] is None
    symbol = facts.get("symbol") if array in ("book", "level3") else error["symbol"]
    if named and field not in ("bids", "asks"):
        assert (facts["field"], symbol) == (field, "S9/USD" if array != "status" else None)
    elif field == "symbol":
        assert facts["field"] == "symbol"


@pytest.mark.parametrize(("field", "value"), [("position_limit_long", 2**63), ("cost_precision", 300)])
def test_what_no_column_holds_stays_in_extra(field: str, value: int) -> None:
    """An optional number beyond its column does not refuse the pair: it is kept with its digits."""
    pair = [(key, str(value) if key == field else old) for key, old in item("pairs", 1)]
    session = _core.Session("s", passive=True)
    session.receive([message("pairs", [written(pair)])], frames.START)
    assert session.counts()["errors"] == 0
    (row,) = pl.DataFrame(pa.record_batch(session.drain()["pairs"])).to_dicts()
    assert row[field] is None
    assert json.loads(row["extra"]) == {field: value}


@pytest.mark.parametrize(
    "frame", [b'{"foo":"bar"}', b"[1,2,3]", b"7", b'{"channel":null}', b'{"channel":"trade","type":5}']
)
def test_json_that_concerns_no_book_leaves_the_books_alone(frame: bytes) -> None:
    """It gets a row; no book is doubted, so nothing is subscribed again."""
    session = _core.Session("s", passive=True)
    session.receive([message("book", [written([*item("book", 1)[:3]])])], frames.START)
    session.take_ledger()
    session.receive([frame] * 3, frames.START)
    assert [row["kind"] for row in session.take_ledger()] == ["decode_error"] * 3

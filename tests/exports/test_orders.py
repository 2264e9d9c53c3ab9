"""Changes of orders as other tools take them, and the fills that follow from trades."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot.exports.orders import SCHEMA, Counts, fills, order_rows
from krakpot.exports.pieces import Recorded
from krakpot.lake.lake import Lake

SECOND = frames.SECOND
START = frames.START
MS = 1_000_000


def rows_of(lake: Lake, start: int | None = None) -> tuple[pl.DataFrame, Counts]:
    """Rows of the pieces of BTC/USD, and what was counted."""
    view = lake.look(["orders", "orders_checkpoints", "ledger"])
    recorded = Recorded(view)
    counts = Counts()
    pieces = recorded.pieces("level3", "BTC/USD", start)
    return pl.concat([rows for piece in pieces for rows in order_rows(view, recorded, piece, counts)]), counts


Queue = list[tuple[str, Decimal]]


def applied(rows: pl.DataFrame) -> dict[int, dict[tuple[str, Decimal], Queue]]:
    """After each message the queues of a tool that knows add (behind all), modify (in place) and cancel.

    It stops, as hftbacktest does, at an order that it does not know, or knows already.
    """
    where: dict[str, tuple[str, Decimal]] = {}
    queues: dict[tuple[str, Decimal], Queue] = {}
    found = {}
    for message, what, order_id, side, price, qty in rows.select(
        "message", "what", "order_id", "side", "price", "qty"
    ).iter_rows():
        key = side, price
        if what in {"snapshot", "add"}:
            assert order_id not in where
            where[order_id] = key
            queues.setdefault(key, []).append((order_id, qty))
        else:
            assert where[order_id] == key
            at = [one for one, _ in queues[key]].index(order_id)
            if what == "modify":
                queues[key][at] = (order_id, qty)
            else:
                del queues[key][at], where[order_id]
        found[message] = {key: list(queue) for key, queue in queues.items() if queue}
    return found


def wanted(model: frames.Orders) -> dict[tuple[str, Decimal], Queue]:
    """The queues of the model."""
    return {
        (side, price): [(order.order_id, order.qty) for order in model.queue(side, price)]
        for side in ("bid", "ask")
        for price in model.prices(side)
    }


@pytest.mark.slow
@given(st.data())
def test_the_queues_of_a_simple_tool_are_those_of_the_book(data: st.DataObject) -> None:
    """After every message that changed the book, by both rules of ``modify``, from the first message on and from any
    later time on. Orders come in the order of their times, as Kraken's do.
    """
    rule = data.draw(st.sampled_from(["keep_place", "take_timestamp"]))
    model = frames.Orders(10, 1, 8, rule)
    ids = [f"OAAAAA-AAAAA-{n:06}" for n in range(8)]

    def entry(now: int) -> frames.OrderEntry:
        order_id = data.draw(st.sampled_from(ids))
        held = model.find(order_id)
        what = data.draw(st.sampled_from(["add", "modify", "delete"])) if held else "add"
        side = held.side if held and what != "add" else data.draw(st.sampled_from(["bid", "ask"]))
        n = data.draw(st.integers(0, 12))
        price = (
            model.price(held.price)
            if held and what != "add" and data.draw(st.booleans())
            else f"{100 - n if side == 'bid' else 101 + n}.0"
        )
        if what == "delete" and held:
            price = model.price(held.price)
        return side, what, order_id, price, data.draw(st.sampled_from(["1", "2", "0.5"])), now

    timed = [(START, frames.ack("level3", "BTC/USD", depth=10)), (START, model.snapshot(ts=START))]
    states = [wanted(model)]
    count = data.draw(st.integers(1, 8))
    for number in range(1, count + 1):
        ts = START + number * SECOND
        # Several entries of one order in a message would be told in the order of sides.
        entries = {one[2]: one for one in (entry(ts) for _ in range(data.draw(st.integers(1, 4))))}
        timed.append((ts, model.update(list(entries.values()), ts=ts)))
        states.append(wanted(model))
    with tempfile.TemporaryDirectory() as name:
        lakes.make(Path(name) / "lake", timed, precision={"BTC/USD": (1, 8)})
        lake = Lake(Path(name) / "lake")
        rules = lake.ledger().filter(kind="modify_rule").collect().height
        if rule == "take_timestamp" and not rules:
            return  # no checksum could tell the two rules apart, so the other one may be in use
        rows, counts = rows_of(lake)
        assert counts.unknown == 0
        first = lake.orders("BTC/USD").collect()["message"].min()
        assert isinstance(first, int)
        told = applied(rows)
        last: dict[tuple[str, Decimal], Queue] = {}
        for number, state in enumerate(states):
            last = told.get(first + number, last)
            assert last == state, number
        since = data.draw(st.integers(1, count))
        later, _ = rows_of(lake, START + since * SECOND - 1)
        for message, state in applied(later).items():
            assert state == states[message - first]


def test_what_changed_and_by_how_much(tmp_path: Path) -> None:
    """An order that shrinks says by how much; one that leaves the window, or moves, does not."""
    model = frames.Orders(10, 1, 8)
    asks: list[frames.OrderEntry] = [
        ("ask", "add", f"OAAAAA-AAAAA-{n:06}", f"{101 + n}.0", "2", START + n) for n in range(10)
    ]
    timed = [(START, frames.ack("level3", "BTC/USD", depth=10))]
    model.apply(asks)
    timed.append((START, model.snapshot(ts=START)))
    first = "OAAAAA-AAAAA-000000"
    steps: list[list[frames.OrderEntry]] = [
        [("ask", "modify", first, "101.0", "0.5", START)],
        [("ask", "modify", first, "101.0", "3", START)],
        [("ask", "add", "OAAAAA-AAAAA-000100", "100.5", "1", START + 5)],
        [("ask", "modify", first, "102.0", "1", START + 6 * SECOND)],
        [("ask", "delete", first, "102.0", "1", START + 7 * SECOND)],
    ]
    for number, entries in enumerate(steps, 1):
        timed.append((START + number * SECOND, model.update(entries, ts=START + number * SECOND)))
    lakes.make(tmp_path / "lake", timed, precision={"BTC/USD": (1, 8)})
    rows, counts = rows_of(Lake(tmp_path / "lake"))
    told = rows.filter(pl.col("what") != "snapshot").select(
        "what", pl.col("order_id").str.slice(-3), "price", "qty", "less"
    )
    assert told.rows() == [
        ("modify", "000", Decimal("101"), Decimal("0.5"), Decimal("1.5")),
        ("modify", "000", Decimal("101"), Decimal("3"), None),
        ("add", "100", Decimal("100.5"), Decimal("1"), None),
        ("left", "009", Decimal("110"), Decimal("0"), None),
        ("cancel", "000", Decimal("101"), Decimal("0"), None),
        ("add", "000", Decimal("102"), Decimal("1"), None),
        ("cancel", "000", Decimal("102"), Decimal("0"), Decimal("1")),
    ]
    assert (counts.unknown, counts.grew_in_place, counts.placed_ahead, counts.left) == (0, 0, 0, 1)


def change(ts: int, less: str | None, price: str = "100", side: str = "ask", what: str = "cancel") -> dict[str, Any]:
    """A row of orders."""
    return {
        "message": 1, "ts_recv": ts, "ts_event": ts, "what": what, "order_id": "O", "side": side,
        "price": Decimal(price), "qty": Decimal(0), "less": None if less is None else Decimal(less), "added": 0,
    }  # fmt: skip


def trade(ts: int, qty: str, price: str = "100", side: str = "buy") -> dict[str, Any]:
    """A trade."""
    return {"ts_event": ts, "side": side, "price": Decimal(price), "qty": Decimal(qty)}


def matched(rows: list[dict[str, Any]], trades: list[dict[str, Any]]) -> list[tuple[int, int, bool]]:
    """Row, trade and whether it was hidden."""
    number = pl.Decimal(38, 10)
    types = pl.Schema({"ts_event": pl.Int64(), "side": pl.String(), "price": number, "qty": number})
    return fills(pl.DataFrame(rows, schema=SCHEMA), pl.DataFrame(trades, schema=types)).rows()


def test_equal_times_come_first() -> None:
    """A cancel of the same quantity shortly before is not taken for the fill."""
    rows = [change(START - MS, "1"), change(START, "1"), change(START, "2")]
    assert matched(rows, [trade(START, "1"), trade(START, "2")]) == [(1, 0, False), (2, 1, False)]


def test_orders_that_are_alike_are_filled_in_their_order() -> None:
    """Three orders lost the same, two trades: the first two. Side, price and quantity must fit."""
    rows = [change(START, "1"), change(START, "1"), change(START, "1")]
    assert matched(rows, [trade(START, "1"), trade(START, "1")]) == [(0, 0, False), (1, 1, False)]
    assert matched([change(START, "1")], [trade(START, "1", side="sell")]) == []
    assert matched([change(START, "1")], [trade(START, "1", price="101")]) == []
    assert matched([change(START, "1", side="bid")], [trade(START, "1", side="sell")]) == [(0, 0, False)]


def test_several_trades_of_one_order() -> None:
    """What one order lost in an instant can be the sum of all trades of its price that are left."""
    rows = [change(START, "1"), change(START, "5")]
    trades = [trade(START, "1"), trade(START, "2"), trade(START, "3")]
    assert matched(rows, trades) == [(0, 0, False), (1, 1, False), (1, 2, False)]


def test_hidden_quantity_trades_behind_what_is_shown() -> None:
    """Trades that took more than was shown, at a price where an order was filled in the same instant."""
    rows = [change(START, "1")]
    trades = [trade(START, "1"), trade(START, "1"), trade(START, "0.5"), trade(START, "1", price="101")]
    assert matched(rows, trades) == [(0, 0, False), (0, 1, True), (0, 2, True)]


def test_times_that_are_near() -> None:
    """The nearest one, each once; one microsecond apart is the same instant; too far apart is no fill."""
    rows = [change(START, "1"), change(START + 3 * MS, "1"), change(START, "2"), change(START + 900 * MS, "3", "105")]
    trades = [trade(START + 2 * MS, "1"), trade(START + 1000, "2"), trade(START, "3", "105")]
    assert matched(rows, trades) == [(1, 0, False), (2, 1, False)]
    assert matched([], [trade(START, "1")]) == matched([change(START, "1")], []) == []

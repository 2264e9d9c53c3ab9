"""Features of books against a plain model, row by row."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given

import bookframes
from krakpot import ConfigError
from krakpot.features import books


def model(rows: list[bookframes.Row]) -> list[dict[str, Any]]:
    """What each row says, and what it says against the row of its symbol before."""
    found = []
    before: dict[str, bookframes.Row | None] = {}
    for row in rows:
        symbol, _, reason, bids, asks = row
        one: dict[str, Any] = dict.fromkeys(
            ("mid", "spread", "microprice", "imbalance_2", "bid_depth_2", "ask_slope_3", "ofi")
        )
        if bids:
            one["bid_depth_2"] = sum(qty for _, qty in bids[:2])
        if bids and asks:
            (bid, bid_qty), (ask, ask_qty) = bids[0], asks[0]
            middle = (bid + ask) / 2
            one |= {"mid": middle, "spread": ask - bid}
            one["microprice"] = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)
            down, up = sum(qty for _, qty in bids[:2]), sum(qty for _, qty in asks[:2])
            one["imbalance_2"] = (down - up) / (down + up)
            upper = lower = total = 0.0
            for price, qty in asks:
                total += qty
                upper += (price - middle) * total
                lower += (price - middle) ** 2
            one["ask_slope_3"] = upper / lower
            last = before.get(symbol)
            if last is not None and last[3] and last[4]:
                (bid0, bid_qty0), (ask0, ask_qty0) = last[3][0], last[4][0]
                flow = 0.0
                flow += bid_qty if bid >= bid0 else 0
                flow -= bid_qty0 if bid <= bid0 else 0
                flow -= ask_qty if ask <= ask0 else 0
                flow += ask_qty0 if ask >= ask0 else 0
                one["ofi"] = flow
        before[symbol] = None if reason else row
        found.append(one)
    return found


@given(rows=bookframes.rows())
def test_features_are_the_plain_model_s(rows: list[bookframes.Row]) -> None:
    """Every feature, with short and empty sides, and with gaps in between."""
    frame = bookframes.books(rows)
    found = books.order_flow_imbalance(books.microprice(books.spread(books.mid(frame))))
    found = books.slope(books.imbalance(books.depth_of(found, 2), 2), 3)
    expected = model(rows)
    assert found.columns[: len(frame.columns)] == frame.columns
    for row, one in zip(found.iter_rows(named=True), expected, strict=True):
        assert {name: row[name] for name in one} == {
            name: value if value is None else pytest.approx(value, abs=1e-9) for name, value in one.items()
        }


def test_decimals_give_the_same_floats() -> None:
    """A lake's exact numbers may be given as they are."""
    rows: list[bookframes.Row] = [
        ("A", 0, None, ((99.5, 2.0),), ((100.5, 1.0),)),
        ("A", 1, None, ((99.5, 3.0),), ((100.0, 1.0),)),
    ]
    floats = bookframes.books(rows, 1)
    exact = floats.with_columns(pl.col(pl.Float64).cast(pl.Decimal(38, 10)))
    for feature in (books.mid, books.spread, books.microprice, books.order_flow_imbalance):
        assert feature(exact)[:, -1].equals(feature(floats)[:, -1])
    assert books.order_flow_imbalance(floats)["ofi"].to_list() == [None, 0.0], "a bid of 1 more, an ask of 1 more"


def test_a_depth_that_the_frame_does_not_have() -> None:
    """One sentence that says what it has."""
    frame = bookframes.books([], 3)
    with pytest.raises(ConfigError, match="depth=4: the frame has 3 levels a side; ask for books of that depth"):
        books.imbalance(frame, 4)
    with pytest.raises(ConfigError, match="depth=0 is not allowed; allowed is a whole number from 1 on"):
        books.slope(frame, 0)
    with pytest.raises(ConfigError, match="the frame has no column 'bid_price_0'"):
        books.mid(pl.DataFrame({"ts": []}))

"""Books as cells of a heat map, and trades as marks."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakpot.view.heat import depth_of, heat, trade_marks
from spans import spans, times


def books(*rows: tuple[list[tuple[float, float]], list[tuple[float, float]]] | None, depth: int = 2) -> pl.DataFrame:
    """Books at 0, 10, 20 … ns: bids and asks as price and quantity, best first; None: no book."""
    found: list[dict[str, Any]] = []
    for row in rows:
        one: dict[str, Any] = {"reason": None if row else "gap"}
        for level in range(depth):
            for side, levels in zip(("bid", "ask"), row or ([], []), strict=True):
                price, qty = levels[level] if level < len(levels) else (None, None)
                one |= {f"{side}_price_{level}": price, f"{side}_qty_{level}": qty}
        found.append(one)
    types = dict.fromkeys([name for name in found[0] if name != "reason"], pl.Float64)
    frame = pl.DataFrame(found, schema={"reason": pl.String, **types})
    # Books of several symbols have their name first; what is drawn is found by the names of columns.
    return frame.select(pl.lit("BTC/USD").alias("symbol"), times(*range(0, 10 * len(rows), 10)).alias("ts"), pl.all())


BOOK = ([(10.0, 1.0), (9.9, 2.0)], [(10.1, 3.0), (10.3, 4.0)])


def test_each_level_is_in_the_cell_of_its_price() -> None:
    """Rows are one price step high here, and prices lie in their middle."""
    found = heat(books(BOOK, BOOK), spans(), 20, rows=100, near=2)
    assert depth_of(books(BOOK)) == 2
    assert found.edges == [0, 10, 20]
    assert found.height == pytest.approx(0.1)
    centres = {
        (column, side, round(found.low + (row + 0.5) * found.height, 6)): qty
        for column, row, side, qty in found.cells.rows()
    }
    one = {("bid", 10.0): 1.0, ("bid", 9.9): 2.0, ("ask", 10.1): 3.0}
    assert {(side, price): qty for (column, side, price), qty in centres.items() if column == 1} == one
    assert found.high < 10.3, "the prices reach as far as the side that reaches less"


def test_rows_are_bounded_and_nothing_is_lost_in_them() -> None:
    """A row then has several prices, whose quantities are added."""
    book = ([(100.0 - i, 1.0) for i in range(50)], [(101.0 + i, 1.0) for i in range(50)])
    found = heat(books(book, depth=50), spans(), 10, rows=20, near=50)
    assert found.rows <= 20
    assert found.height == 5
    assert found.cells["qty"].sum() == 100


def test_a_time_without_a_book_has_no_cells() -> None:
    """And the best prices have a hole there."""
    found = heat(books(BOOK, None, BOOK), spans((10, 20, "gap")), 30, rows=100, near=2)
    assert set(found.cells["column"]) == {0, 2}
    assert found.lines["bid"].to_list() == [10.0, 10.0, None, None, 10.0, 10.0, None]
    assert found.lines["lowest"].drop_nulls().unique().to_list() == [9.9]


def test_no_book_at_all_is_no_error() -> None:
    """There is a picture of a gap."""
    found = heat(books(None, None), spans((0, 20, "gap")), 20, rows=100, near=2)
    assert found.cells.is_empty()
    assert found.lines["bid"].null_count() == found.lines.height


PRICES = st.lists(st.integers(1, 400), min_size=2, max_size=12, unique=True)


@given(st.lists(st.tuples(PRICES, st.integers(1, 11)), min_size=1, max_size=5), st.integers(4, 60))
def test_cells_are_the_sums_of_a_plain_model(rows: list[tuple[list[int], int]], most: int) -> None:
    """For any books: each level within the prices of the picture is in one cell, the one that its price is in."""
    given_books = []
    for prices, bids in rows:
        ordered = sorted(prices)
        cut = min(bids, len(ordered) - 1)
        halves = (list(reversed(ordered[:cut])), ordered[cut:])
        given_books.append(tuple([(price / 10, float(price)) for price in half] for half in halves))
    found = heat(books(*given_books, depth=12), spans(), 10 * len(rows), rows=most, near=12)  # type: ignore[arg-type]  # two sides each
    assert found.rows <= most
    expected: dict[tuple[int, int, str], float] = {}
    for column, sides in enumerate(given_books):
        for side, levels in zip(("bid", "ask"), sides, strict=True):
            for price, qty in levels:
                row = int((price - found.low) // found.height)
                if 0 <= row < found.rows:
                    expected[column, row, side] = expected.get((column, row, side), 0) + qty
    assert {(column, row, side): qty for column, row, side, qty in found.cells.rows()} == pytest.approx(expected)


def trades(count: int) -> pl.LazyFrame:
    """Trades at 0, 1, 2 … ns, bought and sold in turn."""
    return pl.LazyFrame(
        {
            "ts_recv": times(*range(count)),
            "side": ["buy" if i % 2 else "sell" for i in range(count)],
            "price": [100.0 + i for i in range(count)],
            "qty": [1.0] * count,
        }
    )


def test_few_trades_are_one_mark_each() -> None:
    """Also several of one time."""
    assert trade_marks(trades(10), 0, 10, most=10)["trades"].to_list() == [1] * 10


def test_many_trades_are_put_together_by_side_and_time() -> None:
    """None is lost, and there are no more than asked for."""
    found = trade_marks(trades(1000), 0, 1000, most=20)
    assert found.height <= 20
    assert found["trades"].sum() == found["qty"].sum() == 1000
    first = found.row(0, named=True)
    assert (first["side"], first["trades"], first["price"]) == ("sell", 50, 149.0)

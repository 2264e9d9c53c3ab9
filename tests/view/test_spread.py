"""The spread in columns."""

from __future__ import annotations

import polars as pl

from krakpot.view.spread import bins
from spans import spans, times


def books(count: int) -> pl.DataFrame:
    """Books at 0, 1, 2 … ns whose spread grows from 1 by 1."""
    return pl.DataFrame(
        {
            "ts": times(*range(count)),
            "bid_price_0": [100.0] * count,
            "ask_price_0": [101.0 + i for i in range(count)],
        }
    )


def test_a_column_has_the_median_and_the_ends() -> None:
    """Of the books in it; the last one holds until the end."""
    found = bins(books(10), spans(), 0, 10, columns=2)
    assert found["ts"].cast(pl.Int64).to_list() == [0, 5, 10, 10]
    assert found["spread"].to_list() == [3.0, 8.0, 8.0, None]
    assert found["spread_min"].to_list()[:2] == [1.0, 6.0]
    assert found["spread_max"].to_list()[:2] == [5.0, 10.0]
    assert found["mid"].to_list()[:2] == [101.5, 104.0]


def test_a_column_does_not_reach_over_a_gap() -> None:
    """What was before it and what came after it are two columns."""
    frame = books(10).filter(~pl.col("ts").cast(pl.Int64).is_between(3, 5))
    found = bins(frame, spans((3, 6, "gap")), 0, 10, columns=1)
    assert found["ts"].cast(pl.Int64).to_list() == [0, 3, 3, 6, 10, 10]
    assert found["spread"].to_list() == [2.0, 2.0, None, 8.5, 8.5, None]


def test_a_book_with_one_side_has_no_spread() -> None:
    """It is left out, not taken for zero."""
    frame = books(2).with_columns(ask_price_0=pl.Series([None, 101.5]))
    assert bins(frame, spans(), 0, 2, columns=2)["spread"].drop_nulls().unique().to_list() == [1.5]

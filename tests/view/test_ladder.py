"""Levels and orders as rows of a picture."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import polars as pl

from krakpot.view.ladder import blocks, rungs
from krakpot.view.look import BLOCKS_MAX

LEVELS = pl.DataFrame(
    {
        "level": [0, 1],
        "bid_price": [Decimal("10.0"), Decimal("9.5")],
        "bid_qty": [Decimal(1), Decimal(2)],
        "ask_price": [Decimal("10.5"), None],
        "ask_qty": [Decimal(3), None],
    },
    schema_overrides=dict.fromkeys(("bid_price", "bid_qty", "ask_price", "ask_qty"), pl.Decimal(38, 10)),
)


def orders(ages: list[float] | list[timedelta], *, level: int = 0) -> pl.DataFrame:
    """A queue of bids at one price, each of quantity 2."""
    count = len(ages)
    return pl.DataFrame(
        {
            "side": ["bid"] * count,
            "price": [Decimal(100 - level)] * count,
            "place": list(range(count)),
            "order_id": [f"O{i}" for i in range(count)],
            "qty": [Decimal(2)] * count,
            "ahead": [Decimal(2 * i) for i in range(count)],
            "level": [level] * count,
            "age": ages,
        }
    )


def test_rungs_go_up_from_the_lowest_bid() -> None:
    """Sums begin at the best price of each side; a shorter side has fewer rungs."""
    found = rungs(LEVELS)
    assert found["label"].to_list() == ["9.5", "10.0", "10.5"]
    assert found["place"].to_list() == [0, 1, 2]
    assert found["side"].to_list() == ["bid", "bid", "ask"]
    assert found["total"].to_list() == [3.0, 1.0, 3.0]


def test_no_levels_are_no_rungs() -> None:
    """There is no book then."""
    assert rungs(LEVELS.clear()).is_empty()
    assert blocks(orders([]), 10).is_empty()


def test_blocks_are_orders_in_the_order_of_the_queue() -> None:
    """Ages may be durations or seconds."""
    found = blocks(orders([timedelta(seconds=5), timedelta(milliseconds=250)]), 10)
    assert found["ahead"].to_list() == [0.0, 2.0]
    assert found["age"].to_list() == [5.0, 0.25]
    assert found["order_id"].to_list() == ["O0", "O1"]
    assert blocks(orders([5.0, 0.25]), 10).equals(found)


def test_only_the_best_levels_are_shown() -> None:
    """As many as asked for; they are numbered from below."""
    frame = pl.concat([orders([1.0], level=level) for level in range(5)])
    found = blocks(frame, 2)
    assert found.select("price", "place").rows() == [(100.0, 1), (99.0, 0)]


def test_the_end_of_a_long_queue_is_one_block() -> None:
    """With the number of its orders, their sum and the age of the oldest."""
    found = blocks(orders([float(i) for i in range(BLOCKS_MAX + 20)]), 10)
    assert found.height == BLOCKS_MAX + 1
    last = found.row(-1, named=True)
    assert (last["orders"], last["qty"], last["ahead"]) == (20, 40.0, 2.0 * BLOCKS_MAX)
    assert (last["age"], last["order_id"]) == (BLOCKS_MAX + 19.0, None)

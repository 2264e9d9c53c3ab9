"""The heat map of a book as cells: how much lies at which price at which time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import polars as pl

from krakpot.view.gaps import broken
from krakpot.view.look import TRADES_MAX

SIDES = ("bid", "ask")


@dataclass(frozen=True)
class Heat:
    """A heat map: cells in columns of time and rows of price."""

    cells: pl.DataFrame
    """``column``, ``row`` (from the lowest price), ``side``, ``qty``; only cells in which something lies."""
    edges: list[int]
    """Begin of each column, and the end of the last one, ns."""
    low: float
    """Lower edge of the lowest row."""
    height: float
    """Prices of a row."""
    rows: int
    lines: pl.DataFrame
    """``ts``; the best prices ``bid`` and ``ask``, the outer ones ``lowest`` and ``highest``: each is valid until the
    next row, and null in gaps."""

    @property
    def high(self) -> float:
        """Upper edge of the highest row."""
        return self.low + self.rows * self.height


def depth_of(books: pl.DataFrame) -> int:
    """Levels of each side that a frame of ``Lake.books`` has."""
    return sum(re.fullmatch(r"bid_price_\d+", name) is not None for name in books.columns)


def heat(books: pl.DataFrame, gaps: pl.DataFrame, end: int, *, rows: int, near: int) -> Heat:
    """Cells of books at regular times.

    Parameters
    ----------
    books
        As ``Lake.books`` gives them with ``numbers="float"``, of one symbol.
    gaps
        Columns ``ts_from``, ``ts_to``, ``reason``.
    end
        End of the last column, ns.
    rows
        Largest number of rows. A row is a whole number of price steps: otherwise some would hold more prices than
        others.
    near
        How far the prices reach from the best ones: as far as so many levels do at most times.

    Returns
    -------
    Heat
        Cells and lines of the picture.

    """
    edges = [*books["ts"].cast(pl.Int64).to_list(), end]
    depth = range(depth_of(books))
    best = books.select(
        "ts",
        bid="bid_price_0",
        ask="ask_price_0",
        lowest=pl.min_horizontal(f"bid_price_{level}" for level in depth),
        highest=pl.max_horizontal(f"ask_price_{level}" for level in depth),
    )
    lines = broken(best, gaps, end)
    levels = _levels(books)
    if levels.is_empty():
        return Heat(_cells(levels, 0.0, 1.0, 1), edges, 0.0, 1.0, 1, lines)
    inner = (
        levels.filter(pl.col("level") < near)
        .group_by("column", "side")
        .agg(
            best=pl.when(pl.col("side").first() == "bid").then(pl.col("price").max()).otherwise(pl.col("price").min()),
            reach=pl.col("price").max() - pl.col("price").min(),
        )
    )
    # The levels of thin pairs reach far on one side: half a price below, many times the price above.
    reach = float(inner.group_by("side").agg(pl.col("reach").median()).select(pl.col("reach").min()).item())
    step = _step(levels)
    # A median may lie between two prices.
    reach = math.ceil(reach / step - 1e-6) * step
    low, high = inner.select(pl.col("best").min() - reach, pl.col("best").max().alias("high") + reach).row(0)
    steps = round((high - low) / step) + 1
    height = step * -(-steps // rows)
    count = -(-steps // round(height / step))
    # Prices are in the middle of a row that is one step high.
    return Heat(_cells(levels, low - step / 2, height, count), edges, low - step / 2, height, count, lines)


def _levels(books: pl.DataFrame) -> pl.DataFrame:
    """Each level of each book: column, side, level, price, qty."""
    numbered = books.with_row_index("column")
    parts = [
        numbered.select(
            "column",
            pl.lit(side).alias("side"),
            pl.lit(level).alias("level"),
            price=f"{side}_price_{level}",
            qty=f"{side}_qty_{level}",
        ).drop_nulls()
        for side in SIDES
        for level in range(depth_of(books))
    ]
    return pl.concat(parts)


def _step(levels: pl.DataFrame) -> float:
    """The price step: what all differences of prices are whole multiples of."""
    prices = levels["price"].unique().sort()
    highest = float(prices[-1])
    # A float has 15 digits that can be relied on; a price has ten decimals at the most.
    digits = min(10, 15 - len(str(int(highest))))
    whole = (prices * 10**digits).round().cast(pl.Int64)
    found = math.gcd(*whole.diff().drop_nulls())
    return found / 10**digits if found else highest / 1000


def _cells(levels: pl.DataFrame, low: float, height: float, count: int) -> pl.DataFrame:
    """The levels put into rows."""
    row = ((pl.col("price") - low) / height).floor().cast(pl.Int64).alias("row")
    found = levels.with_columns(row).filter(pl.col("row").is_between(0, count - 1))
    return found.group_by("column", "row", "side").agg(pl.col("qty").sum()).sort("column", "row", "side")


def trade_marks(trades: pl.LazyFrame, begin: int, end: int, *, most: int = TRADES_MAX) -> pl.DataFrame:
    """Trades as marks: one each, or those of a short time and a side together where there are more than ``most``.

    Parameters
    ----------
    trades
        ``ts_recv``, ``side``, ``price`` and ``qty`` (floats).
    begin, end
        The time that the picture shows, ns.
    most
        Largest number of marks.

    Returns
    -------
    DataFrame
        ``ts``, ``side``, ``price`` (of several trades their mean, weighted by quantity), ``qty`` (their sum),
        ``trades`` (their number), by time.

    """
    width = max(1, -(-(end - begin) * 2 // most))
    times = pl.col("ts_recv").cast(pl.Int64)
    alone = trades.select(pl.len()).collect(engine="streaming").item() <= most
    key = pl.int_range(pl.len()) if alone else (times - begin) // width
    return (
        trades.select("ts_recv", "side", "price", "qty", at=key)
        .group_by("at", "side")
        .agg(
            ts=pl.col("ts_recv").min(),
            price=(pl.col("price") * pl.col("qty")).sum() / pl.col("qty").sum(),
            qty=pl.col("qty").sum(),
            trades=pl.len(),
        )
        .select("ts", "side", "price", "qty", "trades")
        .sort("ts", "side", "price")
        .collect(engine="streaming")
    )

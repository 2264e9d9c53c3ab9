"""The levels of a book at one time, and the orders at each price, as rows of a picture."""

from __future__ import annotations

import polars as pl

from krakpot.view import look

RUNGS = pl.Schema(
    {
        "side": pl.String(), "price": pl.Float64(), "qty": pl.Float64(), "total": pl.Float64(), "place": pl.Int64(),
        "label": pl.String(),
    }
)  # fmt: skip
BLOCKS = pl.Schema(
    {
        "side": pl.String(), "price": pl.Float64(), "place": pl.Int64(), "label": pl.String(), "ahead": pl.Float64(),
        "qty": pl.Float64(), "age": pl.Float64(), "orders": pl.Int64(), "order_id": pl.String(),
    }
)  # fmt: skip


def rungs(levels: pl.DataFrame) -> pl.DataFrame:
    """Levels one above the other: asks on top, the lowest bid at place 0.

    Parameters
    ----------
    levels
        Columns ``bid_price``, ``bid_qty``, ``ask_price``, ``ask_qty``, best first; the shorter side ends with nulls.

    Returns
    -------
    DataFrame
        ``side``, ``price``, ``qty``; ``total``: the quantity from the best price up to here; ``place``: row of the
        picture, from below; ``label``: the price as text.

    """
    sides = [
        levels.select(
            pl.lit(side).alias("side"), price=pl.col(f"{side}_price").cast(pl.Float64),
            qty=pl.col(f"{side}_qty").cast(pl.Float64),
        ).drop_nulls().with_columns(total=pl.col("qty").cum_sum())
        for side in ("bid", "ask")
    ]  # fmt: skip
    bids, asks = sides
    found = pl.concat([bids.reverse(), asks]).with_row_index("place")
    return found.with_columns(label=pl.Series(look.numbers(found["price"]), dtype=pl.String)).select(
        pl.col(name).cast(kind) for name, kind in RUNGS.items()
    )


def blocks(orders: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Orders of the best prices as blocks in the rows of a picture.

    Parameters
    ----------
    orders
        Columns ``side``, ``price``, ``place`` (0: filled first), ``order_id``, ``qty``, ``ahead`` (quantity before it),
        ``level`` (0: best), ``age`` (a duration, or seconds).
    depth
        Levels of each side.

    Returns
    -------
    DataFrame
        ``side``, ``price``; ``place``: row of the picture, from below; ``label``: the price as text; ``ahead``,
        ``qty``; ``age`` in seconds; ``orders``: 1, or how many orders at the end of a queue are one block, whose age
        is that of the oldest; ``order_id`` (null for several).

    """
    age = pl.col("age").dt.total_nanoseconds() / 1e9 if isinstance(orders.schema["age"], pl.Duration) else pl.col("age")
    near = orders.filter(pl.col("level") < depth).with_columns(
        pl.col("price", "qty", "ahead").cast(pl.Float64), age=age.cast(pl.Float64)
    )
    block = pl.min_horizontal("place", pl.lit(look.BLOCKS_MAX)).alias("block")
    found = (
        near.group_by("side", "level", "price", block)
        .agg(
            pl.col("ahead").min(),
            pl.col("qty").sum(),
            pl.col("age").max(),
            orders=pl.len(),
            order_id=pl.when(pl.len() == 1).then(pl.col("order_id").first()),
        )
        .sort("side", "level", "block")
    )
    prices = found.select("price").unique().sort("price").with_row_index("place")
    prices = prices.with_columns(label=pl.Series(look.numbers(prices["price"]), dtype=pl.String))
    return found.join(prices, on="price", maintain_order="left").select(
        pl.col(name).cast(kind) for name, kind in BLOCKS.items()
    )

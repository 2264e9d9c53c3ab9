"""The spread over time as columns of a picture: smallest, median and largest of each."""

from __future__ import annotations

import polars as pl

from krakpot.view.gaps import broken


def bins(books: pl.DataFrame, gaps: pl.DataFrame, begin: int, end: int, *, columns: int) -> pl.DataFrame:
    """Spread and mid price of books in columns of equal width, with holes at gaps.

    Parameters
    ----------
    books
        ``ts``, ``bid_price_0``, ``ask_price_0`` (floats), by time.
    gaps
        Columns ``ts_from``, ``ts_to``, ``reason``.
    begin, end
        The time that the picture shows, ns.
    columns
        Their number.

    Returns
    -------
    DataFrame
        ``ts``; of ``spread`` and ``mid`` the median, and the smallest and largest with ``_min`` and ``_max``; each
        row is valid until the next; null in gaps.

    """
    width = max(1, -(-(end - begin) // columns))
    # A column ends at a gap: what is before and what is after do not belong together.
    marks = gaps.sort("ts_from").select(gap=pl.col("ts_from"))
    known = books.drop_nulls(["bid_price_0", "ask_price_0"]).join_asof(marks, left_on="ts", right_on="gap")
    found = (
        known.with_columns(
            spread=pl.col("ask_price_0") - pl.col("bid_price_0"),
            mid=(pl.col("ask_price_0") + pl.col("bid_price_0")) / 2,
        )
        .group_by((pl.col("ts").cast(pl.Int64) - begin) // width, "gap", maintain_order=True)
        .agg(
            pl.col("ts").min().alias("time"),
            pl.col("spread", "mid").median(),
            pl.col("spread", "mid").min().name.suffix("_min"),
            pl.col("spread", "mid").max().name.suffix("_max"),
        )
        .drop("ts", "gap")
        .rename({"time": "ts"})
        .sort("ts")
    )
    return broken(found, gaps, end)

"""Small frames that pictures are drawn of: ten books a second apart, with a gap from the third to the fifth second."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from krakpot.values import nanoseconds
from spans import spans, times

SECOND = 10**9
BEGIN = nanoseconds("2026-11-22T10:00:00")
END = BEGIN + 10 * SECOND
GAPS = spans((BEGIN + 3 * SECOND, BEGIN + 5 * SECOND, "mismatch"))
WHOLE = pl.DataFrame(
    {
        "ts": times(*(BEGIN + i * SECOND for i in range(10))),
        "reason": pl.Series([None] * 10, dtype=pl.String),
        **{
            f"{side}_{what}_{level}": [value + 0.1 * i * (what == "price") for i in range(10)]
            for side, sign in (("bid", -1), ("ask", 1))
            for level in range(2)
            for what, value in (("price", 100 + sign * (0.5 + 0.5 * level)), ("qty", 1.0 + level))
        },
    }
)
"""Books without a gap, whose prices rise."""
_GAP = pl.int_range(pl.len()).is_in([3, 4])
BOOKS = WHOLE.with_columns(
    pl.when(_GAP).then(pl.lit("mismatch")).alias("reason"),
    *(pl.when(~_GAP).then(pl.col(name)).alias(name) for name in WHOLE.columns if name not in {"ts", "reason"}),
)
TRADES = pl.DataFrame(
    {
        "ts": times(BEGIN + SECOND, BEGIN + 2 * SECOND, BEGIN + 7 * SECOND),
        "side": ["buy", "sell", "buy"],
        "price": [100.5, 99.7, 101.2],
        "qty": [0.5, 1.0, 2.0],
        "trades": [1, 1, 3],
    }
)
LEVELS = pl.DataFrame(
    {"bid_price": [99.5, 99.0], "bid_qty": [1.0, 2.0], "ask_price": [100.5, 101.0], "ask_qty": [3.0, 4.0]}
)
COVERAGE = pl.concat(
    [
        pl.DataFrame({"symbol": ["BTC/USD"] * 3, "channel": ["book", "book", "trade"]}),
        spans((0, 40, "mismatch"), (60, 100, "stopped"), (10, 100, "stopped")),
    ],
    how="horizontal",
)
ORDERS = pl.DataFrame(
    {
        "side": ["bid", "bid", "ask"],
        "price": [99.0, 99.0, 100.0],
        "place": [0, 1, 0],
        "order_id": ["OLD", "NEW", "ASK"],
        "qty": [1.0, 2.0, 5.0],
        "ahead": [0.0, 1.0, 0.0],
        "level": [0, 0, 0],
        "age": [timedelta(hours=1), timedelta(seconds=1), timedelta(minutes=1)],
    }
)

"""Features of prices at regular times: returns, realised volatility, price impact. Never across a gap."""

from __future__ import annotations

import polars as pl

from krakpot.features.frames import added, need, over, runs, whole


def log_return(frame: pl.DataFrame, price: str = "mid") -> pl.DataFrame:
    """Add ``log_return``: the natural logarithm of the price divided by that of the row before; without a unit."""
    need(frame, [price])
    framed = runs(frame)
    value = pl.col(price).cast(pl.Float64).log()
    return added(framed.with_columns(log_return=over(framed, value.diff(), "run")), frame, "log_return")


def realised_volatility(frame: pl.DataFrame, window: int, price: str = "mid") -> pl.DataFrame:
    """Add ``realised_volatility``: the square root of the sum of the last ``window`` squared log returns.

    Without a unit, for the time of the window (not for a year). Null until so many returns are known since a gap.
    """
    whole(window, "window")
    framed = log_return(runs(frame), price)
    total = pl.col("log_return").pow(2).rolling_sum(window, min_samples=window)
    found = framed.with_columns(realised_volatility=over(framed, total, "run").clip(0).sqrt())
    return added(found, frame, "realised_volatility")


def kyle_lambda(
    frame: pl.DataFrame, window: int, price: str = "mid", signed_volume: str = "signed_volume"
) -> pl.DataFrame:
    """Add ``kyle_lambda``, the price impact: by how much the price moves for each unit of net volume bought.

    The slope of the regression of price changes on signed volume, cov(Δp, v) / var(v), over the last ``window`` rows;
    v is the volume that takers bought less what they sold since the row before. Quote currency for each unit of the
    base currency, and for one unit of that. Null until so many rows are known since a gap, and where v did not vary.
    Source: Kyle, Continuous Auctions and Insider Trading, Econometrica 53 (1985), 1315-1335.
    """
    whole(window, "window", 2)
    need(frame, [price, signed_volume])
    framed = runs(frame)
    volume = pl.col(signed_volume).cast(pl.Float64)
    framed = framed.with_columns(_change=over(framed, pl.col(price).cast(pl.Float64).diff(), "run"))
    framed = framed.with_columns(_volume=pl.when(pl.col("_change").is_not_null()).then(volume))
    both = {"_both": pl.col("_change") * pl.col("_volume"), "_square": pl.col("_volume") ** 2}
    framed = framed.with_columns(**both)
    change, flow, product, square = (
        over(framed, pl.col(name).rolling_mean(window, min_samples=window), "run")
        for name in ("_change", "_volume", "_both", "_square")
    )
    varied = over(framed, pl.col("_volume").rolling_max(window, min_samples=window), "run") > over(
        framed, pl.col("_volume").rolling_min(window, min_samples=window), "run"
    )
    impact = (product - change * flow) / (square - flow**2)
    return added(framed.with_columns(kyle_lambda=pl.when(varied).then(impact)), frame, "kyle_lambda")

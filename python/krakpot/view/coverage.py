"""Coverage as lanes: one for each symbol and channel, with what is known and what is not."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from krakpot.view.gaps import between
from krakpot.view.look import LANES_MAX, TIMES


@dataclass(frozen=True)
class Lanes:
    """Lanes of a picture, from above."""

    names: pl.DataFrame
    """``lane``, ``symbol``, ``channel``, ``share`` of the time that is covered."""
    spans: pl.DataFrame
    """``lane``, ``ts_from``, ``ts_to``."""
    gaps: pl.DataFrame
    """``lane``, ``ts_from``, ``ts_to``, ``reason``."""
    left_out: str
    """What the title says of lanes that are not shown; empty if all are."""


def lanes(coverage: pl.DataFrame, begin: int, end: int, *, most: int = LANES_MAX) -> Lanes:
    """Lanes of a range of time.

    Parameters
    ----------
    coverage
        As ``Lake.coverage`` gives it.
    begin, end
        The range, ns.
    most
        Largest number of lanes; of more, those with the least coverage are taken.

    Returns
    -------
    Lanes
        By symbol and channel.

    """
    keys = coverage.select("symbol", "channel").unique().sort("symbol", "channel")
    found = []
    for (symbol, channel), mine in coverage.partition_by("symbol", "channel", as_dict=True).items():
        gaps = between(mine, begin, end)
        lost = gaps.select((pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds().sum()).item()
        found.append((symbol, channel, 1 - lost / (end - begin), mine, gaps))
    found.sort(key=lambda lane: lane[2])
    left_out = "" if len(found) <= most else f" ({most} of {len(found):,}: those with the least)"
    shown = sorted(found[:most], key=lambda lane: lane[:2])
    bounds = (pl.lit(time, pl.Int64).cast(TIMES) for time in (begin, end))
    low, high = bounds
    numbered = pl.lit(0, pl.Int64).alias("lane")
    spans, holes = (
        [coverage.clear().select(numbered, "ts_from", "ts_to")],
        [between(coverage.clear(), 0, 0).select(numbered, pl.all())],
    )
    for lane, (_, _, _, mine, gaps) in enumerate(shown):
        number = pl.lit(lane, pl.Int64).alias("lane")
        clipped = mine.select(number, pl.max_horizontal("ts_from", low), pl.min_horizontal("ts_to", high))
        spans.append(clipped.filter(pl.col("ts_from") < pl.col("ts_to")))
        holes.append(gaps.select(number, pl.all()))
    names = pl.DataFrame(
        [(lane, symbol, channel, share) for lane, (symbol, channel, share, _, _) in enumerate(shown)],
        schema={"lane": pl.Int64, "symbol": keys.schema["symbol"], "channel": pl.String, "share": pl.Float64},
        orient="row",
    )
    return Lanes(names, pl.concat(spans), pl.concat(holes), left_out)

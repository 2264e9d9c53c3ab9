"""Origins of rows: those of the feed, and imported ones, which lie in sessions of their own and are never proved.

A reader takes the rows of the feed unless it is asked for others. A row of the ledger of the kind ``imported`` says for
each time range what was added to it, and from where.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from krakpot.errors import ConfigError
from krakpot.lake.format import FEED, ORIGIN_TABLES, ORIGINS, Origin
from krakpot.values import alternatives, shown

Origins = str | Iterable[str]
"""One origin, several, or ``"all"``."""
SAME = 1_000_000_000
"""ns. Two rows of one trade id are the same trade if their times differ by less: the feed has microseconds, REST up to
nanoseconds. A pair that is listed again may number its trades anew, months later."""


def origins_of(table: str, origin: Origins) -> tuple[Origin, ...]:
    """Read the argument ``origin`` of a reader of a table; ``ConfigError`` for what does not exist."""
    names = [origin] if isinstance(origin, str) else list(origin)
    if names == ["all"]:
        return ORIGINS if table in ORIGIN_TABLES else (FEED,)
    wrong = next((name for name in names if name not in ORIGINS), None) if names else ""
    if wrong is not None:
        allowed = alternatives([*ORIGINS, "all"])
        raise ConfigError(f"origin: {shown(wrong)} is not allowed; allowed is {allowed}, or several of them")
    if table not in ORIGIN_TABLES and names != [FEED]:
        tables = " and ".join(ORIGIN_TABLES)
        raise ConfigError(f"origin: the table {table!r} has rows of the feed only; leave it out, or read {tables}")
    return tuple(one for one in ORIGINS if one in names)


def of_origins(frame: pl.LazyFrame, origins: tuple[Origin, ...]) -> pl.LazyFrame:
    """Rows of these origins."""
    if origins == ORIGINS:
        return frame
    return frame.filter(pl.col("origin") == origins[0] if len(origins) == 1 else pl.col("origin").is_in(origins))


def distinct_of_origins(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Each trade once, by its id: of the origin that is best known; in the order of the exchange's times.

    Rows without an id are all kept: nothing tells whether two of them are one trade.
    """
    numbered = frame.filter(pl.col("trade_id").is_not_null()).sort("symbol", "trade_id", "ts_event")
    later = pl.col("ts_event") - pl.col("ts_event").shift(1) >= pl.duration(nanoseconds=SAME)
    other = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in ("symbol", "trade_id"))
    rank = pl.col("origin").replace_strict({name: n for n, name in enumerate(ORIGINS)}, return_dtype=pl.UInt8)
    once = (
        numbered.with_columns(_trade=(later | other).fill_null(value=True).cum_sum())
        .sort(rank, pl.col("kind") != "update", "ts_recv", "session", "message", "entry")
        .unique("_trade", keep="first", maintain_order=True)
        .drop("_trade")
    )
    bare = frame.filter(pl.col("trade_id").is_null())
    return pl.concat([once, bare]).sort("ts_event", "trade_id", "session", "message", "entry")

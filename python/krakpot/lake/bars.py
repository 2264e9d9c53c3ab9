"""Bars: the trades of a time, or of a number, a volume or a value of trades, as one row.

A bar says what it is made of: ``covered`` is the share of its time in which the trades were followed, ``missing`` the
number of trades that the ids say were made and that the lake does not have. ``whole`` says that a bar lacks nothing.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, get_args

import polars as pl

from krakpot.errors import ConfigError
from krakpot.lake.sample import one_of, plain, step
from krakpot.lake.times import TIME
from krakpot.values import BarKind, shown

ORDER = ("ts_event", "trade_id")
"""Columns that order the trades of a symbol as they were made."""
SIZE_MAX = 10**15
DECIMALS = {"tick": 0, "volume": 10, "dollar": 20}
"""Decimals of the amount of a trade: of a quantity, and of a price times a quantity."""
CURRENCY = {"volume": "base currency", "dollar": "quote currency"}
LATE = 60 * 10**9
"""How far the recorder's clock may be behind the exchange's, ns."""
NEEDED = ("symbol", "ts_event", "trade_id", "side", "price", "qty")
"""Columns of trades that bars are made of."""


def size_of(every: object, by: BarKind) -> int:
    """Size of a bar: nanoseconds, trades, or steps of 10^-``DECIMALS``; ``ConfigError`` for anything else."""
    one_of("by", by, get_args(BarKind))
    if by == "time":
        return step(every)  # type: ignore[arg-type]  # it refuses what is none
    allowed = "a whole number of trades" if by == "tick" else f"an amount of the {CURRENCY[by]}"
    try:
        size = Decimal(every if isinstance(every, (int, Decimal)) else str(every))
        fits = not isinstance(every, bool) and 0 < size <= SIZE_MAX and size == round(size, DECIMALS[by])
    except ArithmeticError:
        fits = False
    if not fits:
        raise ConfigError(f"every={shown(every)} is not allowed with by={by!r}; allowed is {allowed}, above 0")
    return int(size * 10 ** DECIMALS[by])


def bars(trades: pl.LazyFrame, by: BarKind, size: int) -> pl.LazyFrame:
    """Bars of trades with the columns ``NEEDED``, each trade once; times are those of the exchange.

    Bars of a time are made in one pass, in bounded memory. The others need the trades in their order.
    """
    moment = pl.col("ts_event").dt.epoch("ns")
    if by == "time":
        begin = moment - moment % size
        keyed = trades.with_columns(bar=begin, reached=begin + size)
    else:
        # Whole numbers, since a quotient of decimals is rounded.
        price, qty = (pl.col(name).to_physical() for name in ("price", "qty"))
        amount = price * qty if by == "dollar" else qty
        reached = pl.int_range(1, pl.len() + 1) if by == "tick" else amount.cum_sum()
        before = reached - (1 if by == "tick" else amount)
        columns = {"bar": (before // size).over("symbol").cast(pl.Int64), "reached": reached.over("symbol")}
        keyed = trades.sort("symbol", *ORDER).with_columns(**columns)
    place = pl.struct(*ORDER)
    value = pl.col("price") * pl.col("qty")
    found = keyed.group_by("symbol", "bar").agg(
        first=pl.col("ts_event").min(),
        last=pl.col("ts_event").max(),
        open=pl.col("price").min_by(place),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").max_by(place),
        volume=pl.col("qty").sum(),
        value=value.sum(),
        trades=pl.len(),
        buy_volume=pl.col("qty").filter(pl.col("side") == "buy").sum(),
        id_first=pl.col("trade_id").min(),
        id_last=pl.col("trade_id").max(),
        reached=pl.col("reached").max(),
    )
    if by == "time":
        ends = [pl.col("bar").cast(TIME).alias("ts_from"), (pl.col("bar") + size).cast(TIME).alias("ts_to")]
        full = pl.lit(value=True)
    else:
        after = pl.duration(nanoseconds=1)
        ends = [pl.col("first").alias("ts_from"), (pl.col("last") + after).alias("ts_to")]
        # The last bar of a symbol need not have come to its end.
        full = pl.col("reached") // size > pl.col("bar")
    # Ids that begin anew (a relisted pair) are smaller than those before: nothing is missing there.
    gap = pl.col("id_first") - pl.col("id_last").shift(1).over("symbol") - 1
    inside = pl.col("id_last") - pl.col("id_first") + 1 - pl.col("trades")
    return (
        found.sort("symbol", "bar")
        .with_columns(*ends, full.alias("full"), vwap=pl.col("value") / pl.col("volume"))
        .with_columns(missing=(gap.fill_null(0).clip(0) + inside.clip(0)).cast(pl.Int64))
        .select(
            "symbol", "ts_from", "ts_to", "open", "high", "low", "close", "volume", "vwap", "trades", "buy_volume",
            "missing", "full",
        )
    )  # fmt: skip


def covered_share(found: pl.DataFrame, coverage: pl.DataFrame) -> pl.DataFrame:
    """Add ``covered``, the share of each bar's time in which the trades of its symbol were followed, and ``whole``.

    ``coverage`` is ``Lake.coverage``. It is of receive times, which are later than those of the exchange by the way
    that a message takes.
    """
    spans = (
        coverage.filter(channel="trade")
        .select("symbol", pl.col("ts_from", "ts_to").dt.epoch("ns"))
        .sort("symbol", "ts_from")
        .with_columns(until=pl.col("ts_to").cum_max().shift(1).over("symbol"))
        .with_columns(begin=pl.max_horizontal("ts_from", "until"))
        .filter(pl.col("ts_to") > pl.col("begin"))
        .select("symbol", "begin", length=pl.col("ts_to") - pl.col("begin"))
        .with_columns(before=(pl.col("length").cum_sum() - pl.col("length")).over("symbol"))
        .sort("begin")
    )

    def until(column: str) -> pl.Series:
        """Nanoseconds that were covered before the times of a column."""
        at = found.select("symbol", begin=pl.col(column).dt.epoch("ns"), at=pl.col(column).dt.epoch("ns"))
        rows = at.with_row_index("row").sort("begin")
        joined = rows.join_asof(spans, on="begin", by="symbol", coalesce=False, check_sortedness=False)
        within = pl.min_horizontal(pl.col("at") - pl.col("begin_right"), "length")
        return joined.sort("row").select((pl.col("before") + within).fill_null(0).alias("ns"))["ns"]

    length = (pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds()
    share = (until("ts_to") - until("ts_from")) / found.select(length)["ts_to"]
    whole = pl.col("full") & (pl.col("covered") == 1) & (pl.col("missing") == 0)
    return found.with_columns(share.alias("covered")).with_columns(whole=whole).drop("full")


def to_dicts(found: pl.DataFrame) -> list[dict[str, Any]]:
    """Bars as JSON has them: exact numbers as text without trailing zeros, times with nine decimals."""
    times = pl.col("ts_from", "ts_to").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
    rows = found.with_columns(times).iter_rows(named=True)
    return [{name: plain(one) if isinstance(one, Decimal) else one for name, one in row.items()} for row in rows]


def lines(found: pl.DataFrame) -> list[str]:
    """Bars as a table for a terminal."""
    columns = ("open", "high", "low", "close", "volume")
    table = [f"{'pair':<13}{'from (UTC)':<24}{''.join(f'{name:>15}' for name in columns)}  recorded"]
    for bar in found.iter_rows(named=True):
        numbers = "".join(f"{plain(bar[name]):>15}" for name in columns)
        covered, missing = bar["covered"], bar["missing"]
        lacks = [
            *([] if covered == 1 else [f"{math.floor(covered * 1000) / 10}%"]),
            *([f"{missing:,} missing"] if missing else []),
        ]
        recorded = "whole" if bar["whole"] else ", ".join(lacks) or "not full"
        begin = f"{bar['ts_from']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        table.append(f"{bar['symbol']:<13}{begin:<24}{numbers}  {recorded}")
    return table

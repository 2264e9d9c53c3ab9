"""Bars: the trades of a time, or of a number, a volume, a value or an imbalance of trades, as one row.

A bar says what it is made of: ``covered`` is the share of its time in which the trades were followed, ``missing`` the
number of trades that the ids say were made and that the lake does not have. ``whole`` says that a bar lacks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, get_args

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import spans
from krakpot.lake.arbitration import distinct_trades
from krakpot.lake.format import polars_schema
from krakpot.lake.sample import one_of, plain
from krakpot.lake.times import TIME
from krakpot.values import BarKind, shown, step

ORDER = ("ts_event", "trade_id")
"""Columns that order the trades of a symbol as they were made."""
SIZE_MAX = 10**15
DECIMALS = {"tick": 0, "volume": 10, "dollar": 20, "imbalance": 10}
"""Decimals of the amount of a trade: of a quantity, and of a price times a quantity."""
CURRENCY = {"volume": "base currency", "dollar": "quote currency", "imbalance": "base currency"}
LATE = 86_400 * 10**9
"""How far the recorder's clock may be behind the exchange's, ns. Parts are of a day, so a day costs little more."""
NEAR = 600 * 10**9
"""Trades of so many ns are taken together to say how much later they are received than made: the clock may step."""
NEEDED = ("symbol", "ts_event", "trade_id", "side", "price", "qty")
"""Columns of trades that bars are made of."""
TYPES = {name: polars_schema("trades")[name] for name in NEEDED}
HOUR = 3600 * 10**9
ROWS_AT_ONCE = 200_000
"""Rows of trades that are in memory at a time, some 200 MB with what is made of them; an hour is not divided."""


def size_of(every: object, by: BarKind) -> int:
    """Size of a bar: nanoseconds, trades, or steps of 10^-``DECIMALS``; ``ConfigError`` for anything else."""
    one_of("by", by, get_args(BarKind))
    if by == "time":
        return step(every)
    allowed = "a whole number of trades" if by == "tick" else f"an amount of the {CURRENCY[by]}"
    try:
        size = Decimal(every if isinstance(every, (int, Decimal)) else str(every))
        fits = not isinstance(every, bool) and 0 < size <= SIZE_MAX and size == round(size, DECIMALS[by])
    except ArithmeticError:
        fits = False
    if not fits:
        raise ConfigError(f"every={shown(every)} is not allowed with by={by!r}; allowed is {allowed}, above 0")
    return int(size * 10 ** DECIMALS[by])


def in_windows(
    trades: pl.LazyFrame, distinct: Callable[[pl.LazyFrame], pl.LazyFrame] = distinct_trades
) -> Iterator[pl.DataFrame]:
    """Trades in frames of some ``ROWS_AT_ONCE`` rows, one time after the other; ``distinct`` takes each trade once.

    All rows of a trade have the same time of the exchange, so a window of these times has all rows of its trades.
    """
    moment = pl.col("ts_event").dt.epoch("ns")
    hours = trades.group_by(hour=moment // HOUR).agg(rows=pl.len()).collect(engine="streaming").sort("hour")
    bounds: list[tuple[int, int]] = []
    held = 0
    for hour, rows in hours.iter_rows():
        if bounds and held + rows <= ROWS_AT_ONCE:
            bounds[-1] = bounds[-1][0], hour + 1
            held += rows
        else:
            bounds.append((hour, hour + 1))
            held = rows
    for begin, end in bounds:
        first, last = (pl.lit(hour * HOUR).cast(TIME) for hour in (begin, end))
        some = trades.filter(pl.col("ts_event").is_between(first, last, closed="left"))
        yield distinct(some).select(NEEDED).collect(engine="streaming")


def bars(trades: Iterable[pl.DataFrame], by: BarKind, size: int) -> pl.DataFrame:
    """Bars of trades with the columns ``NEEDED``, each trade once; times are those of the exchange.

    The trades of a frame are later than those of the frames before it, so one frame is in memory at a time.
    """
    keys = {"time": _ByTime, "imbalance": _ByImbalance}.get(by, _ByAmount)(by, size)
    pieces = [_aggregated(keys.add(frame.sort("symbol", *ORDER))) for frame in trades]
    found = pl.concat(pieces or [_aggregated(keys.add(pl.DataFrame(schema=TYPES)))])
    # A bar may have trades of several frames.
    found = found.group_by("symbol", "bar", maintain_order=True).agg(
        pl.col("first", "open").first(),
        pl.col("high", "id_last").max(),
        pl.col("low", "id_low").min(),
        pl.col("last", "close").last(),
        pl.col("volume", "value", "trades").sum(),
        # A side that is not known is neither bought nor sold.
        pl.when(pl.col("buy_volume").is_not_null().all()).then(pl.col("buy_volume").sum()).alias("buy_volume"),
        pl.col("full").any(),
        pl.col("numbered").all(),
    )
    if by == "time":
        ends = [pl.col("bar").cast(TIME).alias("ts_from"), (pl.col("bar") + size).cast(TIME).alias("ts_to")]
    else:
        after = pl.duration(nanoseconds=1)
        ends = [pl.col("first").alias("ts_from"), (pl.col("last") + after).alias("ts_to")]
    # Ids that begin anew (a relisted pair) are smaller than those before: nothing is missing there.
    gap = pl.col("id_low") - pl.col("id_last").shift(1).over("symbol") - 1
    inside = pl.col("id_last") - pl.col("id_low") + 1 - pl.col("trades")
    return (
        found.sort("symbol", "bar")
        .with_columns(*ends, vwap=_quotient(pl.col("value"), pl.col("volume").to_physical().cast(pl.Int128)))
        # Without an id it is not known what is missing.
        .with_columns(missing=pl.when("numbered").then(gap.fill_null(0).clip(0) + inside.clip(0)).cast(pl.Int64))
        .select(
            "symbol", "ts_from", "ts_to", "open", "high", "low", "close", "volume", "vwap", "trades", "buy_volume",
            "missing", "full",
        )
    )  # fmt: skip


def _quotient(value: pl.Expr, volume: pl.Expr) -> pl.Expr:
    """Price of a value and a volume, in steps of their columns, rounded to the nearest; null without a volume."""
    steps = (2 * value + volume) // (2 * volume)
    return steps.cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, DECIMALS["volume"])) / pl.lit(
        Decimal(10 ** DECIMALS["volume"])
    )


def _aggregated(keyed: pl.DataFrame) -> pl.DataFrame:
    """What one frame has of each bar, its trades in order, with ``bar`` and ``full``."""
    # As whole numbers: a product of decimals is rounded, and of a small price nothing may be left.
    price, qty = (pl.col(name).to_physical().cast(pl.Int128) for name in ("price", "qty"))
    return keyed.group_by("symbol", "bar", maintain_order=True).agg(
        first=pl.col("ts_event").first(),
        last=pl.col("ts_event").last(),
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
        volume=pl.col("qty").sum(),
        value=(price * qty).sum(),
        trades=pl.len(),
        buy_volume=pl.when(pl.col("side").is_not_null().all()).then(
            pl.col("qty").filter(pl.col("side") == "buy").sum()
        ),
        id_low=pl.col("trade_id").min(),
        id_last=pl.col("trade_id").max(),
        full=pl.col("full").any(),
        numbered=pl.col("trade_id").is_not_null().all(),
    )


class _ByTime:
    """Gives each trade its ``bar``, and says whether that came to its end (``full``): by time."""

    def __init__(self, by: BarKind, size: int) -> None:
        self.by, self.size = by, size

    def add(self, trades: pl.DataFrame) -> pl.DataFrame:
        moment = pl.col("ts_event").dt.epoch("ns")
        return trades.with_columns(bar=moment - moment % self.size, full=pl.lit(value=True))


class _ByAmount(_ByTime):
    """By a number, a volume or a value of trades, which is counted on from frame to frame."""

    def __init__(self, by: BarKind, size: int) -> None:
        super().__init__(by, size)
        self.reached = pl.DataFrame(schema={"symbol": pl.String, "before": pl.Int128})

    def add(self, trades: pl.DataFrame) -> pl.DataFrame:
        # Whole numbers, since a quotient of decimals is rounded.
        price, qty = (pl.col(name).to_physical().cast(pl.Int128) for name in ("price", "qty"))
        amount = {"tick": pl.lit(1, pl.Int128), "volume": qty, "dollar": price * qty}[self.by]
        counted = trades.join(self.reached, on="symbol", how="left", maintain_order="left")
        counted = counted.with_columns(amount=amount, before=pl.col("before").fill_null(0))
        counted = counted.with_columns(reached=pl.col("before") + pl.col("amount").cum_sum().over("symbol"))
        after = counted.group_by("symbol").agg(before=pl.col("reached").last())
        self.reached = pl.concat([self.reached.join(after, on="symbol", how="anti"), after])
        bar = ((pl.col("reached") - pl.col("amount")) // self.size).cast(pl.Int64)
        # The last bar of a symbol need not have come to its end.
        return counted.with_columns(bar=bar).with_columns(full=pl.col("reached") // self.size > pl.col("bar"))


class _ByImbalance(_ByTime):
    """By what takers bought less what they sold since the bar began; each bar depends on where the one before ended."""

    def __init__(self, by: BarKind, size: int) -> None:
        super().__init__(by, size)
        self.state: dict[str, tuple[int, int]] = {}
        """Number and imbalance of the last bar of each symbol."""

    def add(self, trades: pl.DataFrame) -> pl.DataFrame:
        if trades["side"].null_count():
            sentence = (
                "by='imbalance': some of these trades have no side (origin kraken-csv has none); choose other origins"
            )
            raise ConfigError(sentence)
        qty = pl.col("qty").to_physical()
        signed = trades.select(pl.when(pl.col("side") == "buy").then(qty).otherwise(qty * -1))["qty"]
        bars: list[int] = []
        full: list[bool] = []
        for symbol, amounts in trades.select("symbol", signed=signed).group_by("symbol", maintain_order=True):
            name = str(symbol[0])
            bar, sum_ = self.state.get(name, (0, 0))
            for amount in amounts["signed"].to_list():
                sum_ += amount
                ended = abs(sum_) >= self.size
                bars.append(bar)
                full.append(ended)
                if ended:
                    bar, sum_ = bar + 1, 0
            self.state[name] = bar, sum_
        return trades.with_columns(bar=pl.Series(bars, dtype=pl.Int64), full=pl.Series(full, dtype=pl.Boolean))


def by_exchange(coverage: pl.DataFrame, trades: pl.LazyFrame) -> pl.DataFrame:
    """The coverage of trades in the exchange's times, as the trades tell how the two clocks differ.

    Of a session, each end of a span moves by the least time that a trade took near it; what was imported has these
    times already.
    """
    way = (pl.col("ts_recv") - pl.col("ts_event")).dt.total_nanoseconds()
    live = trades.filter(pl.col("kind") == "update", pl.col("ts_event").is_not_null())
    near = pl.col("ts_recv").dt.epoch("ns") // NEAR
    offsets = live.group_by("session", near=near).agg(way=way.min()).collect(engine="streaming").sort("near")
    found = coverage.filter(channel="trade").with_row_index("_row")
    for name in ("ts_from", "ts_to"):
        placed = found.with_columns(near=pl.col(name).dt.epoch("ns") // NEAR).sort("near")
        moved = placed.join_asof(offsets, on="near", by="session", strategy="nearest", check_sortedness=False)
        found = moved.with_columns(
            pl.col(name) - pl.duration(nanoseconds=pl.col("way").fill_null(0)).cast(pl.Duration("ns"))
        ).drop("near", "way")
    return found.sort("_row").drop("_row")


def covered_share(
    found: pl.DataFrame, coverage: pl.DataFrame, start: int | None = None, until: int | None = None
) -> pl.DataFrame:
    """Add ``covered``, the share of each bar's time in which the trades of its symbol were followed, and ``whole``.

    ``coverage`` is ``Lake.coverage``, in the exchange's times (``by_exchange``). Of what was not asked for, before
    ``start`` and from ``until`` on, ns, nothing is in the bars.
    """
    begin, end = (pl.col(name).dt.epoch("ns") for name in ("ts_from", "ts_to"))
    known = (
        spans(coverage, "trade")
        .select("symbol", begin=pl.max_horizontal(begin, pl.lit(start)), end=pl.min_horizontal(end, pl.lit(until)))
        .filter(pl.col("begin") < pl.col("end"))
        .select("symbol", "begin", length=pl.col("end") - pl.col("begin"))
        .with_columns(before=(pl.col("length").cum_sum() - pl.col("length")).over("symbol"))
        .sort("begin")
    )

    def before(column: str) -> pl.Series:
        """Nanoseconds that were covered before the times of a column."""
        at = found.select("symbol", begin=pl.col(column).dt.epoch("ns"), at=pl.col(column).dt.epoch("ns"))
        rows = at.with_row_index("row").sort("begin")
        joined = rows.join_asof(known, on="begin", by="symbol", coalesce=False, check_sortedness=False)
        within = pl.min_horizontal(pl.col("at") - pl.col("begin_right"), "length")
        return joined.sort("row").select((pl.col("before") + within).fill_null(0).alias("ns"))["ns"]

    length = (pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds()
    share = (before("ts_to") - before("ts_from")) / found.select(length)["ts_to"]
    whole = pl.col("full") & (pl.col("covered") == 1) & (pl.col("missing") == 0).fill_null(value=False)
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
            *(["no ids"] if missing is None else []),
            *([] if covered == 1 else [f"{math.floor(covered * 1000) / 10}%"]),
            *([f"{missing:,} missing"] if missing else []),
        ]
        recorded = "whole" if bar["whole"] else ", ".join(lacks) or "not full"
        begin = f"{bar['ts_from']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        table.append(f"{bar['symbol']:<13}{begin:<24}{numbers}  {recorded}")
    return table

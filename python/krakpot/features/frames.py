"""What all features need of a frame: its columns, durations, and the runs of rows that no gap divides.

A *run* is a stretch of rows of one symbol without a gap. A difference, a rolling sum or a label is made of rows of one
run only; where that is not possible, it is null.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from krakpot.errors import ConfigError
from krakpot.values import shown

TIME = pl.Datetime("ns", "UTC")


def whole(value: object, name: str, least: int = 1) -> int:
    """A whole number from ``least`` on; ``ConfigError`` for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}={shown(value)} is not allowed; allowed is a whole number from {least} on")
    return value


def need(frame: pl.DataFrame, columns: Iterable[str]) -> None:
    """Raise ``ConfigError`` for what is no frame of Polars, and for columns that it does not have."""
    if not isinstance(frame, pl.DataFrame):
        kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
        cures = {"polars.LazyFrame": "collect() it first", "pandas.DataFrame": "give polars.from_pandas(frame)"}
        raise ConfigError(f"frame: a {kind} is not allowed; {cures.get(kind, 'give a polars.DataFrame')}")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        sentence = (
            f"the frame has no column {', '.join(map(repr, missing))}; it has {', '.join(frame.columns) or 'none'}"
        )
        raise ConfigError(sentence)


def numbers(*names: str) -> list[pl.Expr]:
    """Columns as floats, whether they are decimals or floats."""
    return [pl.col(name).cast(pl.Float64) for name in names]


def over(frame: pl.DataFrame, expression: pl.Expr, *more: str) -> pl.Expr:
    """The expression per symbol, if the frame has symbols, and per further column."""
    keys = [*(["symbol"] if "symbol" in frame.columns else []), *more]
    return expression.over(keys) if keys else expression


def added(found: pl.DataFrame, frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The columns of ``frame``, then those of these names from ``found``: a column of the name is replaced."""
    return found.select(*(name for name in frame.columns if name not in names), *names)


def spans(coverage: pl.DataFrame, channel: str) -> pl.DataFrame:
    """Times without a gap, per symbol: spans of several sessions that overlap or touch are one.

    Parameters
    ----------
    coverage
        As ``Lake.coverage`` gives it.
    channel
        The channel that counts: ``"book"``, ``"trade"``, ``"level3"``, …

    Returns
    -------
    DataFrame
        Columns symbol, ts_from, ts_to (Datetime, ns, UTC; ts_to exclusive), by symbol and time.

    """
    need(coverage, ("channel", "symbol", "ts_from", "ts_to"))
    ends = pl.col("ts_to").cum_max().shift(1).over("symbol")
    return (
        coverage.filter(channel=channel)
        .filter(pl.col("ts_from") < pl.col("ts_to"))
        .sort("symbol", "ts_from")
        .with_columns(span=(pl.col("ts_from") > ends).fill_null(value=True).cum_sum())
        .group_by("symbol", "span", maintain_order=True)
        .agg(pl.col("ts_from").min(), pl.col("ts_to").max())
        .select("symbol", pl.col("ts_from", "ts_to").cast(TIME))
    )


def runs(frame: pl.DataFrame, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """Add the column ``run``, a number for each stretch of rows without a gap; null for rows without data.

    Parameters
    ----------
    frame
        Rows in the order of time, of one symbol, or of several with a column ``symbol``; columns ``ts``, and ``reason``
        if it has one: a row with a reason has no data and ends the run before it.
    known
        ``spans(lake.coverage(), channel)``: also a gap that lies between two rows ends a run, and rows outside of every
        span have no data. None: only ``reason`` counts.

    Returns
    -------
    DataFrame
        The frame with ``run`` (UInt32). A frame that has the column already is given back as it is.

    Raises
    ------
    ConfigError
        If a column is missing, or if spans of several symbols are given for a frame without symbols.

    """
    if "run" in frame.columns:
        return frame
    need(frame, ["ts"])
    lost = pl.col("reason").is_not_null() if "reason" in frame.columns else pl.lit(value=False)
    marked = frame.with_columns(_lost=lost)
    ends = pl.col("_lost")
    if known is not None:
        marked = _located(marked, known)
        # Also the first row after a gap that no row saw.
        moved = over(frame, pl.col("_span") != pl.col("_span").shift(1)).fill_null(value=False)
        marked = marked.with_columns(_lost=pl.col("_lost") | pl.col("_span").is_null())
        ends = pl.col("_lost") | moved
    marked = marked.with_columns(_ends=ends).with_columns(_number=over(frame, pl.col("_ends").cum_sum()))
    number = pl.when(~pl.col("_lost")).then("_number")
    return marked.with_columns(run=over(frame, number.rank("dense")) - 1).select(*frame.columns, "run")


def _located(frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add ``_span``, the number of the span in which a row lies; null outside of all."""
    if "symbol" not in frame.columns and known["symbol"].n_unique() > 1:
        raise ConfigError("the frame has no column 'symbol', but the spans are of several; filter them by symbol")
    numbered = known.with_row_index("_span").select(
        "symbol", "_span", _from=pl.col("ts_from").cast(TIME), _to=pl.col("ts_to").cast(TIME)
    )
    by = "symbol" if "symbol" in frame.columns else None
    numbered = numbered if by else numbered.drop("symbol")
    rows = frame.with_row_index("_row").with_columns(_at=pl.col("ts").cast(TIME)).sort("_at")
    joined = rows.join_asof(
        numbered.sort("_from"), left_on="_at", right_on="_from", by=by, check_sortedness=False
    ).sort("_row")
    return joined.with_columns(_span=pl.when(pl.col("_at") < pl.col("_to")).then("_span")).drop(
        "_row", "_at", "_from", "_to", strict=False
    )

"""Tables of a lake as CSV, as Arrow IPC files, and as Parquet with microseconds: one file per table and day (UTC)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from krakpot.errors import words_of
from krakpot.exports.books import text
from krakpot.exports.output import Output
from krakpot.lake.format import FEED, ORIGIN_TABLES, UNREADABLE, Origin, polars_schema, unreadable
from krakpot.lake.lake import Lake

DAY = 86_400 * 10**9
SIGNED: dict[pl.DataType, pl.DataType] = {
    pl.UInt8(): pl.Int16(),
    pl.UInt16(): pl.Int32(),
    pl.UInt32(): pl.Int64(),
    pl.UInt64(): pl.Decimal(20, 0),
}
"""Types without a sign, which Spark and Delta do not have, and those that hold the same numbers."""


class Range(NamedTuple):
    """What to export: symbols (None: all) and receive times, ns (None: no bound)."""

    symbols: list[str] | None
    start: int | None
    end: int | None


def export_tables(
    lake: Lake, output: Output, tables: tuple[str, ...], chosen: Range, origins: tuple[Origin, ...], form: str,
    done: Callable[[int], None],
) -> None:  # fmt: skip
    """Write the tables; ``done`` is called with the number of rows of each file."""
    suffix, write = FORMS[form]
    for table in tables:
        symbols = chosen.symbols if "symbol" in polars_schema(table) and table not in WHOLE else None
        known = origins if table in ORIGIN_TABLES else (FEED,)
        # Of several origins a trade comes once, and its rows may have been received on different days: all are held.
        held = None
        if len(known) > 1:
            frame = lake.scan(table, symbols, chosen.start, chosen.end, origin=known)
            try:
                held = frame.collect(engine="streaming").lazy()
            except UNREADABLE as error:
                unreadable(lake.path, error)
        for day in _days(lake, table):
            begin = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
            low, high = begin, begin + DAY
            low, high = max(low, chosen.start or low), min(high, high if chosen.end is None else chosen.end)
            if low >= high:
                continue
            frame = lake.scan(table, symbols, low, high, origin=known) if held is None else _received(held, low, high)
            with output.file(f"{table}/{table}_{day}.{suffix}") as file:
                try:
                    file.rows = write(frame, file.unfinished)
                except UNREADABLE as error:
                    _readable(lake, frame)
                    raise OSError(words_of(error)) from None
                file.facts = {"table": table, "date": str(day)}
            done(file.rows)


def _received(frame: pl.LazyFrame, low: int, high: int) -> pl.LazyFrame:
    """Rows that were received in [low, high), ns."""
    begin, end = (pl.lit(ts).cast(pl.Datetime("ns", "UTC")) for ts in (low, high))
    return frame.filter(pl.col("ts_recv") >= begin, pl.col("ts_recv") < end)


def _readable(lake: Lake, frame: pl.LazyFrame) -> None:
    """``StorageError`` if the lake cannot be read: Polars tells of a full disk and of a damaged part alike."""
    try:
        for _ in frame.collect_batches():
            pass
    except UNREADABLE as error:
        unreadable(lake.path, error)


WHOLE = ("ledger", "status", "frames")
"""Tables that are about more than one symbol: rows without a symbol belong to any choice."""


def _days(lake: Lake, table: str) -> list[date]:
    """Days of which the lake may have rows."""
    view = lake.look([table])
    days = {part.date for part in view.of(table)}
    if view.journals:
        # A journal ends at midnight; its first rows may have been received just before the one before.
        begun = {name.begun.date() for name in view.journals}
        days |= begun | {day - timedelta(days=1) for day in begun}
    return sorted(days)


def _csv(frame: pl.LazyFrame, path: Path) -> int:
    kinds = frame.collect_schema()
    decimals = [text(name).alias(name) for name, kind in kinds.items() if isinstance(kind, pl.Decimal)]
    binary = [pl.col(name).bin.encode("base64") for name, kind in kinds.items() if kind == pl.Binary]
    frame.with_columns(*decimals, *binary).sink_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ")
    return _rows(pl.scan_csv(path, infer_schema=False))


def _arrow(frame: pl.LazyFrame, path: Path) -> int:
    # Older readers do not know the view types.
    frame.sink_ipc(path, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return _rows(pl.scan_ipc(path))


def _parquet(frame: pl.LazyFrame, path: Path) -> int:
    kinds = frame.collect_schema()
    times = [name for name, kind in kinds.items() if isinstance(kind, pl.Datetime)]
    frame.with_columns(
        *(pl.col(name).cast(SIGNED[kind]) for name, kind in kinds.items() if kind in SIGNED),
        *(pl.col(name).dt.cast_time_unit("us") for name in times),
        *(pl.col(name).dt.epoch("ns").alias(f"{name}_ns") for name in times),
    ).sink_parquet(path, compression="zstd")
    return _rows(pl.scan_parquet(path))


def _rows(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


FORMS: dict[str, tuple[str, Callable[[pl.LazyFrame, Path], int]]] = {
    "csv": ("csv", _csv),
    "arrow": ("arrow", _arrow),
    "parquet-us": ("parquet", _parquet),
}
"""Suffix and writer of each format."""

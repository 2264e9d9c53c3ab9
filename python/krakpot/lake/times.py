"""Many times, as notebooks hold them: a list, a NumPy array, a column of pandas or Polars; as one Polars series."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import polars as pl

from krakpot.errors import ConfigError
from krakpot.values import EARLIEST, Time, time_of, too_early

TIME = pl.Datetime("ns", "UTC")
Times = Time | Iterable[Time] | pl.Series
"""One time or many: also ``numpy`` arrays of datetime64, and columns and indexes of pandas."""


def times_of(value: Times, name: str) -> pl.Series:
    """Times of the argument ``name``, Datetime("ns", "UTC"), in their order; ``ConfigError`` for what is not a time."""
    column = _column(value)
    if column is not None:
        return _converted(column, name)
    many = isinstance(value, Iterable) and not isinstance(value, (str, bytes, date))
    listed: Iterable[Any] = value if many else [value]  # type: ignore[assignment]  # as it was asked just now
    return pl.Series("ts", [time_of(one, name) for one in listed], dtype=pl.Int64).cast(TIME)


def _column(value: Any) -> pl.Series | None:  # noqa: ANN401  # of libraries that need not be installed
    """The value as a series, if it is a column of some library and not a plain sequence."""
    if isinstance(value, pl.Series):
        return value
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and getattr(value, "ndim", None) == 1:
        kind = value.dtype.kind
        # Polars knows no days and minutes of NumPy; seconds fit wherever nanoseconds do.
        unit = str(value.dtype).removeprefix("datetime64")
        if kind == "M" and unit not in ("[ns]", "[us]", "[ms]"):
            value = value.astype("datetime64[us]" if unit in ("[s]", "[m]", "[h]", "[D]") else "datetime64[ns]")
        return None if kind in "OU" else pl.Series(value)
    if module == "pandas" and hasattr(value, "array"):
        # An index has no index of its own to be left out.
        plain = value.reset_index(drop=True) if hasattr(value, "reset_index") else value
        return None if plain.dtype == object else pl.Series(pl.from_pandas(plain))
    return None


def _converted(column: pl.Series, name: str) -> pl.Series:
    column = column.alias("ts")
    kind = column.dtype
    if column.is_empty():
        return pl.Series("ts", [], dtype=TIME)
    if column.null_count():
        raise ConfigError(f"{name}: {column.null_count()} of {len(column)} times are missing; drop them first")
    try:
        if isinstance(kind, pl.Datetime):
            utc = column.dt.replace_time_zone("UTC") if kind.time_zone is None else column.dt.convert_time_zone("UTC")
            return utc.cast(TIME)
        if kind == pl.Date:
            return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIME)
        if kind.is_integer():
            early = column.filter(column < EARLIEST)
            if early.len():
                raise ConfigError(f"{name}: {too_early(int(early[0]))}")
            return column.cast(pl.Int64).cast(TIME)
    except pl.exceptions.PolarsError:
        sentence = "a time is out of range; times from 1678 to 2261 fit into 64 bits of nanoseconds"
        raise ConfigError(f"{name}: {sentence}") from None
    if kind == pl.String:
        return pl.Series("ts", [time_of(one, name) for one in column], dtype=pl.Int64).cast(TIME)
    if kind.is_float():
        time_of(column[0], name)
    raise ConfigError(
        f"{name}: values of type {kind} are not times; allowed: Datetime, Date, text, or whole nanoseconds"
    )

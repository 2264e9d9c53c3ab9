"""Frames of spans and times, written as nanoseconds."""

from __future__ import annotations

import polars as pl

from krakpot.view.gaps import SCHEMA
from krakpot.view.look import TIMES


def spans(*rows: tuple[int, int, str]) -> pl.DataFrame:
    """Spans or gaps by nanoseconds."""
    plain = {"ts_from": pl.Int64, "ts_to": pl.Int64, "reason": pl.String}
    return pl.DataFrame(rows, schema=plain, orient="row").cast(SCHEMA)


def times(*ns: int) -> pl.Series:
    """Times by nanoseconds."""
    return pl.Series(ns, dtype=pl.Int64).cast(TIMES)

"""Gaps in pictures: times of which nothing is known. A line is never drawn across one."""

from __future__ import annotations

import polars as pl

from krakpot.view.look import TIMES

ABSENT = "absent"
"""The reason of a gap before the first span: nothing was known yet."""
SCHEMA = pl.Schema({"ts_from": TIMES, "ts_to": TIMES, "reason": pl.String()})


def between(spans: pl.DataFrame, begin: int, end: int) -> pl.DataFrame:
    """The times of a range that no span covers.

    Parameters
    ----------
    spans
        Columns ``ts_from``, ``ts_to`` (exclusive) and ``reason``: why the span ended. Spans may overlap.
    begin, end
        The range, ns.

    Returns
    -------
    DataFrame
        ``ts_from``, ``ts_to``, ``reason``, by time. The reason is that of the span before, or ``absent``.

    """
    found: list[tuple[int, int, str]] = []
    known, reason = begin, ABSENT
    latest: int | None = None
    times = pl.col("ts_from", "ts_to").cast(pl.Int64)
    for since, until, why in spans.sort("ts_from").select(times, "reason").iter_rows():
        if since >= end:
            break
        if since > known:
            found.append((known, since, reason))
        if latest is None or until > latest:
            latest, reason = until, why
            known = max(known, until)
    if known < end:
        found.append((known, end, reason))
    plain = {name: pl.Int64() if kind == TIMES else kind for name, kind in SCHEMA.items()}
    return pl.DataFrame(found, schema=plain, orient="row").cast(SCHEMA)


def unknown(books: pl.DataFrame, gaps: pl.DataFrame, end: int) -> pl.DataFrame:
    """The gaps, and the times at which there is no book for another reason.

    Parameters
    ----------
    books
        Columns ``ts`` and ``reason`` (null: there is a book), by time.
    gaps
        Columns ``ts_from``, ``ts_to``, ``reason``.
    end
        End of the last time of ``books``, ns.

    Returns
    -------
    DataFrame
        Columns of ``gaps``, by time.

    """
    until = pl.col("ts").shift(-1).fill_null(pl.lit(end, pl.Int64).cast(TIMES))
    lacking = books.select("ts", "reason", until=until).with_columns(run=pl.col("reason").rle_id())
    runs = (
        lacking.drop_nulls("reason")
        .join_asof(gaps.select("ts_from", "ts_to").sort("ts_from"), left_on="ts", right_on="ts_from")
        .filter(pl.col("ts_to").is_null() | (pl.col("ts") >= pl.col("ts_to")))
        .group_by("run", "reason")
        .agg(ts_from=pl.col("ts").min(), ts_to=pl.col("until").max())
    )
    return pl.concat([gaps.select(SCHEMA.names()), runs.select(SCHEMA.names())]).sort("ts_from")


def broken(lines: pl.DataFrame, gaps: pl.DataFrame, end: int) -> pl.DataFrame:
    """Lines of steps with a hole at each gap.

    Each value holds until the next one, so before a gap the last value is repeated at its begin, then comes a row of
    nulls. The same at the end.

    Parameters
    ----------
    lines
        Column ``ts`` and columns of numbers, by time; the numbers are null where nothing is known.
    gaps
        Columns ``ts_from``, ``ts_to``, ``reason``.
    end
        Where the last value ends, ns.

    Returns
    -------
    DataFrame
        Columns of ``lines``, by time.

    """
    numbers = [name for name in lines.columns if name != "ts"]
    begins = pl.concat([gaps["ts_from"], pl.Series([end], dtype=pl.Int64).cast(TIMES)]).unique().sort()
    # Times as Python has them are without nanoseconds.
    first = pl.lit(lines["ts"].cast(pl.Int64).min(), pl.Int64).cast(TIMES)
    marks = begins.alias("ts").to_frame().filter(pl.col("ts") > first)
    held = marks.join_asof(lines, on="ts", allow_exact_matches=False).with_columns(order=1)
    holes = marks.select("ts", *(pl.lit(None, lines.schema[name]).alias(name) for name in numbers), order=2)
    rows = pl.concat([held, holes, lines.with_columns(order=3)], how="vertical_relaxed")
    # What lies inside of a gap is not known, whatever the frame says.
    rows = rows.sort("ts", "order").join_asof(
        gaps.select("ts_from", "ts_to").sort("ts_from"), left_on="ts", right_on="ts_from"
    )
    inside = (pl.col("order") == 3) & (pl.col("ts") < pl.col("ts_to")).fill_null(value=False)  # noqa: PLR2004  # a row of the lines
    return rows.with_columns(pl.when(~inside).then(pl.col(name)).alias(name) for name in numbers).select(lines.columns)

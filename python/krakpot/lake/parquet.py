"""How parts are encoded. docs/decisions/storage.md says what was measured.

Polars writes the parts, through its PyArrow engine, because only that one takes an encoding for each column.
``krakpot compact`` writes parts that are larger than memory, row group by row group, which no function of Polars does
with these encodings; so it has PyArrow's writer with the same options. Both give the same bytes for the same rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from krakpot.lake.format import ROW_GROUP, sync_file

DELTA = ("message", "entry", "ts_recv", "ts_event", "ts_order", "trade_id", "ts_from", "ts_to")
"""Columns that grow by small steps: delta encoding."""
PLAIN = ("qty", "checksum")
"""Columns whose values seldom come again: stored as they are, for zstd alone. All others: dictionary."""
WORDS_MAX = 4
"""Different words of a column that is written as a dictionary."""
LEVEL = 3
"""Of zstd."""


def write_part(frame: pl.DataFrame, path: Path, places: pl.Series | None = None) -> None:
    """Write one Parquet file in row groups of ``ROW_GROUP`` rows, then fsync it.

    ``places`` are the rows in the order in which they are written. The frame is taken apart then: each column is put in
    order on its own, so that never more than one column is in memory twice.
    """
    if places is not None:
        columns = [_text(frame.drop_in_place(name).gather(places)) for name in frame.columns]
        frame = pl.DataFrame(columns)
        columns.clear()
    frame.write_parquet(
        path,
        compression="zstd",
        compression_level=LEVEL,
        statistics=True,
        row_group_size=ROW_GROUP,
        use_pyarrow=True,
        pyarrow_options=_options(frame.columns),
    )
    sync_file(path)


def part_writer(like: pl.DataFrame, path: Path) -> pq.ParquetWriter:
    """Begin a Parquet file with the columns of ``like``, for rows that come in several frames."""
    return pq.ParquetWriter(
        path,
        like.head(0).to_arrow().schema,
        compression="zstd",
        compression_level=LEVEL,
        write_statistics=True,
        **_options(like.columns),
    )


def _options(columns: list[str]) -> dict[str, Any]:
    """Options of PyArrow's writer for these columns."""
    return {
        "use_dictionary": [name for name in columns if name not in (*DELTA, *PLAIN)],
        "column_encoding": dict.fromkeys((name for name in columns if name in DELTA), "DELTA_BINARY_PACKED"),
        "data_page_version": "2.0",
        # The types of Arrow, such as dictionaries, are ours; readers get text.
        "store_schema": False,
    }


def _text(column: pl.Series) -> pl.Series:
    """Text for a column of categories: as a dictionary where there are few of them, which needs less memory.

    PyArrow writes such a dictionary whole into each row group. For the side of an entry that is what is in the group
    anyway; the symbols of a part would be written again and again.
    """
    if column.dtype != pl.Categorical:
        return column
    words = column.unique(maintain_order=True).cast(pl.String).drop_nulls()
    return column.cast(pl.Enum(words) if len(words) <= WORDS_MAX else pl.String)


def text(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn categories into the text that they represent."""
    return frame.cast({pl.Categorical: pl.String})

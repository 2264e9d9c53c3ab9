"""How parts are encoded.

docs/decisions/storage.md says what was measured.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from krakpot.lake.format import ROW_GROUP, sync_file

DELTA = ("message", "entry", "ts_recv", "ts_event", "ts_order", "trade_id", "ts_from", "ts_to")
"""Columns that grow by small steps: delta encoding."""
PLAIN = ("qty", "checksum")
"""Columns whose values seldom come again: stored as they are, for zstd alone. All others: dictionary."""


def write_part(frame: pl.DataFrame, path: Path, places: pl.Series | None = None) -> None:
    """Write one Parquet file in row groups of ``ROW_GROUP`` rows, then fsync it.

    ``places`` are the rows in the order in which they are written; so at most one row group is in memory twice.
    """
    with part_writer(text(frame.head(0)), path) as writer:
        for at in range(0, frame.height, ROW_GROUP):
            group = frame[at : at + ROW_GROUP] if places is None else frame[places[at : at + ROW_GROUP]]
            writer.write_table(text(group).to_arrow(), row_group_size=ROW_GROUP)
    sync_file(path)


def text(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn categories into the text that they represent."""
    return frame.cast({pl.Categorical: pl.String})


def part_writer(like: pl.DataFrame, path: Path) -> pq.ParquetWriter:
    """Begin a Parquet file with the columns of ``like``: zstd, statistics, an encoding by column."""
    return pq.ParquetWriter(
        path,
        like.head(0).to_arrow().schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in like.columns if name not in (*DELTA, *PLAIN)],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in like.columns if name in DELTA},
        data_page_version="2.0",
        write_statistics=True,
        store_schema=False,
    )

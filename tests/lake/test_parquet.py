"""Parts have the encodings that docs/decisions/storage.md chose."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import lakes
from krakpot.lake import parquet
from krakpot.lake.format import ROW_GROUP, order


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Rows of books, as sealed."""
    lake = tmp_path_factory.mktemp("lake") / "lake"
    lakes.make(lake, lakes.market(300))
    return pl.read_parquet(lakes.parts(lake, "book"), hive_partitioning=False).sort(order("book"))


def test_every_column_has_its_encoding(book: pl.DataFrame, tmp_path: Path) -> None:
    """Deltas for what grows, plain for what does not come again, dictionaries for the rest; zstd and statistics."""
    path = tmp_path / "part.parquet"
    parquet.write_part(book, path)
    group = pq.read_metadata(path).row_group(0)
    found = {}
    for column in map(group.column, range(group.num_columns)):
        assert column.compression == "ZSTD"
        assert column.statistics is not None
        encodings = set(column.encodings)
        found[column.path_in_schema] = (
            "delta"
            if "DELTA_BINARY_PACKED" in encodings
            else "dictionary"
            if "RLE_DICTIONARY" in encodings
            else "plain"
        )
    assert {name for name, encoding in found.items() if encoding == "delta"} == {
        "message", "entry", "ts_recv", "ts_event",
    }  # fmt: skip
    assert {name for name, encoding in found.items() if encoding == "plain"} == {"qty", "checksum"}
    assert len(found) == len(book.columns)


def test_rows_are_written_in_the_order_of_their_places(book: pl.DataFrame, tmp_path: Path) -> None:
    """Row group by row group, none larger than the bound; categories become the text that they represent."""
    many = pl.concat([book] * (ROW_GROUP // book.height + 2))
    places = pl.int_range(many.height, eager=True).shuffle(1)
    path = tmp_path / "part.parquet"
    parquet.write_part(many.cast({pl.String: pl.Categorical}), path, places)
    whole = tmp_path / "whole.parquet"
    parquet.write_part(many[places], whole)
    assert path.stat().st_size <= 1.0001 * whole.stat().st_size, "a dictionary costs nothing"
    data = pq.read_metadata(path)
    sizes = [data.row_group(n).num_rows for n in range(data.num_row_groups)]
    assert sizes == [ROW_GROUP, many.height - ROW_GROUP]
    assert pl.read_parquet(path).equals(many[places])


def test_polars_and_the_writer_of_compaction_give_the_same_bytes(book: pl.DataFrame, tmp_path: Path) -> None:
    """Nobody has to know which of the two wrote a part."""
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    parquet.write_part(book, one)
    with parquet.part_writer(book, other) as writer:
        for at in range(0, book.height, ROW_GROUP):
            writer.write_table(book[at : at + ROW_GROUP].to_arrow(), row_group_size=ROW_GROUP)
    assert one.read_bytes() == other.read_bytes()

"""Reads parts of one session as one stream of rows, in the order of the lake, in bounded memory.

Every part is sorted. So one block of each part is enough to know the next rows. ``krakpot.lake.compact`` merges more
than ``FAN`` parts in several passes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot.lake.format import FEED, order, polars_schema

BLOCK = 4096
"""Rows of each part that are in memory at a time."""
BUFFER = 65_536
"""Bytes of a column that are read at a time."""
FAN = 32
"""Parts that ``krakpot.lake.compact`` merges at a time; for a book it needs 600 MB, with the writing."""

Key = tuple[tuple[bool, str | int], ...]
Failed = Callable[[Path, Exception], None]


class _Cursor:
    """The next rows of one part."""

    def __init__(self, path: Path, table: str, columns: list[str], failed: Failed) -> None:
        self.path = path
        self.schema = {name: kind for name, kind in polars_schema(table).items() if name in columns}
        self.by = by(table)
        self.failed = failed
        self.block: pl.DataFrame | None = None
        self.blocks = self._read()
        self._next()

    def _read(self) -> Iterator[pl.DataFrame]:
        try:
            # With reading ahead, all data would stay in memory until the file is closed.
            with pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
                for batch in file.iter_batches(BLOCK, columns=list(self.schema), use_threads=False):
                    # Otherwise text that is not UTF-8 would be accepted.
                    batch.validate(full=True)
                    frame = pl.from_arrow(pa.Table.from_batches([batch]))
                    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
                    if "origin" in self.schema and "origin" not in frame.columns:
                        frame = frame.with_columns(origin=pl.lit(FEED))
                    if dict(frame.schema) == self.schema:
                        yield frame
                    else:
                        yield frame.select(pl.col(name).cast(kind) for name, kind in self.schema.items())
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            self.failed(self.path, error)

    def _next(self) -> None:
        self.block = next(self.blocks, None)
        if self.block is not None:
            self.first = self._key(0)
            self.last = self._key(self.block.height - 1)

    def _key(self, row: int) -> Key:
        """Place of a row; null comes first."""
        assert self.block is not None, "there is a row"
        values = [self.block[name][row] for name in self.by]
        return tuple((value is not None, 0 if value is None else value) for value in values)

    def take(self, bound: Key) -> pl.DataFrame:
        """Rows up to ``bound``."""
        assert self.block is not None, "there are rows"
        rows = self.block
        if self.last <= bound:
            self._next()
            return rows
        upto = bisect_right(range(rows.height), bound, key=self._key)
        self.block = rows.slice(upto)
        self.first = self._key(0)
        return rows.head(upto)


def by(table: str) -> list[str]:
    """Columns by which the rows of one session are sorted."""
    return [name for name in order(table) if name != "session"]


def merged(
    paths: Iterable[Path], table: str, *, columns: list[str] | None = None, failed: Failed
) -> Iterator[pl.DataFrame]:
    """Rows of parts of one session, in the order of ``format.order``, in frames of any size.

    ``failed`` is called with a part that cannot be read to its end; if it returns, the others are read on.
    ``columns`` hold those of the order.
    """
    chosen = columns or list(polars_schema(table))
    cursors = [cursor for path in paths if (cursor := _Cursor(path, table, chosen, failed)).block is not None]
    while cursors:
        # Later rows of a part come after the end of its block. So up to the smallest end all rows are in memory.
        bound = min(cursor.last for cursor in cursors)
        rows = [cursor.take(bound) for cursor in cursors if cursor.first <= bound]
        yield rows[0] if len(rows) == 1 else pl.concat(rows).sort(by(table), maintain_order=True)
        cursors = [cursor for cursor in cursors if cursor.block is not None]


def whole(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of at most ``rows`` rows. No frame ends within a message, unless the message has more."""
    held: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        held.append(frame)
        height += frame.height
        while height > rows:
            joined = pl.concat(held) if len(held) > 1 else held[0]
            end = _end(joined, rows)
            yield joined.head(end)
            held = [joined.slice(end)]
            height -= end
    if height:
        yield pl.concat(held)


def _end(frame: pl.DataFrame, rows: int) -> int:
    """The last place up to ``rows`` at which a message ends; ``rows`` if there is none."""
    keys = [name for name in ("symbol", "message") if name in frame.columns]
    ends = frame.head(rows + 1).select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in keys)
    )
    places = ends.to_series().arg_true()
    return int(places[-1]) if len(places) and places[-1] else rows


def expand_ranges(ranges: Iterable[Iterable[int]]) -> set[int]:
    """Numbers of ``[[0, 2], [5, 5]]``: 0, 1, 2, 5."""
    return {number for begin, end in ranges for number in range(begin, end + 1)}


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Write numbers as ranges: 0, 1, 2, 5 become ``[[0, 2], [5, 5]]``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found

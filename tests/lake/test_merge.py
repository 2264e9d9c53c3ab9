"""Parts merged as a stream give what sorting all their rows would give."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import lakes
from krakpot.lake import merge, parquet, seal
from krakpot.lake.format import order, polars_schema


def fail(path: Path, error: Exception) -> None:
    """No part is expected to fail."""
    raise AssertionError(path) from error


def book(tmp_path: Path) -> pl.DataFrame:
    """Rows of a book of some hundred messages, as sealed."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(300))
    return pl.read_parquet(lakes.parts(lake, "book"), hive_partitioning=False).sort(order("book"))


def cut(frame: pl.DataFrame, tmp_path: Path, count: int, how: str) -> list[Path]:
    """The rows in ``count`` parts: one after the other, or at random."""
    chance = random.Random(1)
    by = "message" if how == "by time" else "symbol"
    rows = frame.sort(by, "entry")
    places = pl.Series([min(n * count // rows.height, count - 1) for n in range(rows.height)])
    if how == "at random":
        places = pl.Series([chance.randrange(count) for _ in range(rows.height)])
    paths = []
    for n in range(count):
        paths.append(tmp_path / f"{n}.parquet")
        parquet.write_part(rows.filter(places == n).sort(order("book")), paths[-1])
    chance.shuffle(paths)
    return paths


@pytest.mark.parametrize("block", [1, 7, 100, 10**6])
@pytest.mark.parametrize("how", ["by time", "by symbol", "at random"])
def test_merging_is_sorting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, block: int) -> None:
    """However the rows are spread over the parts, and however many of a part are held."""
    want = book(tmp_path)
    assert want.height > 500
    monkeypatch.setattr(merge, "BLOCK", block)
    paths = cut(want.head(200) if block == 1 else want, tmp_path, 5, how)
    found = pl.concat(merge.merged(paths, "book", failed=fail))
    assert found.equals(want.head(200) if block == 1 else want)
    assert dict(found.schema) == polars_schema("book")


def test_rows_without_symbol_or_message_come_first(tmp_path: Path) -> None:
    """Null is the least, as in every part; a ledger has many of them."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, interval=1.0)
    timed = lakes.market(300)
    recorder.session.add_ledger_row("start", timed[0][0])
    for n in range(0, len(timed), 30):
        recorder.take(timed[n : n + 30])
    recorder.end()
    seal.recover(lake)
    parts = lakes.parts(lake, "ledger")
    assert len(parts) > 3
    want = pl.concat([pl.read_parquet(part, hive_partitioning=False) for part in parts]).sort(order("ledger"))
    assert want["symbol"].null_count() > 0
    assert want["message"].null_count() > 0
    assert pl.concat(merge.merged(parts, "ledger", failed=fail)).equals(want)


def test_some_columns_are_enough(tmp_path: Path) -> None:
    """The order's columns and what is wanted; the others are not read."""
    want = book(tmp_path)
    columns = ["symbol", "message", "entry", "price"]
    paths = cut(want, tmp_path, 3, "by time")
    found = pl.concat(merge.merged(paths, "book", columns=columns, failed=fail))
    assert set(found.columns) == set(columns)
    assert found.select(columns).equals(want.select(columns))


def test_a_part_that_cannot_be_read_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    """Spoiled at its foot or in a page: named once, and no row of another part is missing."""
    want = book(tmp_path)
    good, bad = cut(want, tmp_path, 2, "by time")
    others = pl.read_parquet(good, hive_partitioning=False)
    data = bad.read_bytes()
    for place in (10, len(data) // 2, len(data) - 5):
        bad.write_bytes(data[:place] + bytes(byte ^ 0xFF for byte in data[place : place + 40]) + data[place + 40 :])
        told: list[Path] = []
        found = merge.merged([good, bad], "book", failed=lambda path, _, told=told: told.append(path))  # type: ignore[misc]  # the list of this turn
        rows = pl.concat(found)
        assert others.join(rows, on=["symbol", "message", "entry"], how="anti").height == 0
        assert told in ([bad], [])
    bad.write_bytes(b"")
    told = []
    rows = pl.concat(merge.merged([bad, good], "book", failed=lambda path, _: told.append(path)))
    assert (rows.equals(others), told) == (True, [bad])


@pytest.mark.parametrize("rows", [1, 10, 333, 10**6])
def test_no_frame_ends_within_a_message(tmp_path: Path, rows: int) -> None:
    """Frames of at most so many rows; a message that is longer is cut, no other."""
    want = book(tmp_path)
    found = list(merge.whole((want.slice(n, 50) for n in range(0, want.height, 50)), rows))
    assert pl.concat(found).equals(want)
    assert max(frame.height for frame in found) <= rows
    longest = int(want.group_by("symbol", "message").len()["len"].max())  # type: ignore[arg-type]  # a number
    assert longest > 10
    if rows >= longest:
        ends = [(frame["symbol"][-1], frame["message"][-1]) for frame in found]
        begins = [(frame["symbol"][0], frame["message"][0]) for frame in found]
        assert all(end != begin for end, begin in zip(ends, begins[1:], strict=False))
    assert list(merge.whole([], rows)) == []


def test_ranges() -> None:
    """Numbers in few words and back."""
    numbers = {0, 1, 2, 5, 7, 8}
    assert merge.ranges(numbers) == [[0, 2], [5, 5], [7, 8]]
    assert merge.expand_ranges([[0, 2], [5, 5], [7, 8]]) == numbers
    assert merge.ranges([]) == []


def test_the_order_is_the_lake_s() -> None:
    """Within a session the session says nothing."""
    assert merge.by("book") == ["symbol", "message", "entry"]
    assert merge.by("assets") == ["message", "entry"]


def test_what_was_read_of_a_part_does_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even as compressed: a part of a day has some hundred megabytes."""
    monkeypatch.setattr(parquet, "ROW_GROUP", 10_000)
    chance = random.Random(1)
    rows = 400_000
    times = pl.Series([chance.randrange(1 << 60) for _ in range(rows)])
    frame = (
        book(tmp_path).head(1)[[0] * rows]
        .with_columns(message=pl.int_range(rows, dtype=pl.UInt64), ts_recv=times.cast(pl.Datetime("ns", "UTC")))
    )  # fmt: skip
    path = tmp_path / "long.parquet"
    parquet.write_part(frame.cast(polars_schema("book")), path)  # type: ignore[arg-type]  # as Polars reads it
    before = pa.default_memory_pool().bytes_allocated()
    held, read = [], 0
    for taken in merge.merged([path], "book", failed=fail):
        read += taken.height
        held.append(pa.default_memory_pool().bytes_allocated())
    assert read == rows
    # Eight bytes a row; as decoded it has more than a hundred.
    assert max(held) - before < path.stat().st_size

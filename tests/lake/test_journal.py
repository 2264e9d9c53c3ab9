"""The journal keeps every whole flush: through tears at any byte, flipped bits, full disks and living owners."""

from __future__ import annotations

import errno
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import frames
import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal, seal
from krakpot.lake.format import open_lake, polars_schema
from krakpot.lake.verify import verify

SESSION = "019e0000-0000-7000-8000-000000000000"


def flushes(count: int = 5) -> list[dict[str, _core.Batch]]:
    """Rows of a market in several flushes."""
    session = _core.Session(SESSION, passive=True)
    timed = lakes.market(200)
    size = len(timed) // count
    taken = []
    for n in range(count):
        for ts, frame in timed[n * size : (n + 1) * size]:
            session.receive([frame], ts)
        taken.append(session.drain())
    return taken


def write(lake: Path, batches: list[dict[str, _core.Batch]], *, end: bool) -> tuple[Path, list[int]]:
    """A journal of these flushes, and the offsets at which they end."""
    writer = journal.Writer(lake, SESSION)
    offsets = []
    for n, flush in enumerate(batches):
        assert writer.write(flush, frames.START + n) is None
        offsets.append(writer.bytes + len(journal.MAGIC))
    assert writer.path is not None
    path = writer.path
    if end:
        assert writer.close() == path
    else:
        writer.sync()
        os.close(writer._file)  # as a killed process would
    return path, offsets


def held(content: journal.Content) -> dict[str, pa.Table]:
    """Tables of what was read."""
    return {table: pa.Table.from_batches(batches) for table, batches in content.tables.items()}


def wanted(batches: list[dict[str, _core.Batch]]) -> dict[str, pa.Table]:
    """Tables of what was written."""
    found: dict[str, list[pa.RecordBatch]] = {}
    for flush in batches:
        for table, batch in flush.items():
            found.setdefault(table, []).append(pa.record_batch(batch))
    return {table: pa.Table.from_batches(rows) for table, rows in found.items()}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """All batches of all tables, in their order, with the session and number that the name tells."""
    batches = flushes()
    path, _ = write(tmp_path, batches, end=True)
    content = journal.read(path)
    assert held(content) == wanted(batches)
    assert (content.ended, content.torn, content.size) == (True, None, path.stat().st_size)
    assert (content.session, content.number) == (SESSION, 0)
    assert journal.journals(tmp_path) == [path]


def test_the_format_is_what_the_page_says(tmp_path: Path) -> None:
    """Magic, then blocks of kind, length, crc32 of kind and payload: read here without the journal's own reader."""
    path, offsets = write(tmp_path, flushes(3), end=True)
    data = path.read_bytes()
    assert data[:4] == b"KPJ1"
    at, kinds, ends = 4, [], []
    while at < len(data):
        kind, length, crc = struct.unpack_from("<BII", data, at)
        payload = data[at + 9 : at + 9 + length]
        assert zlib.crc32(bytes([kind]) + payload) == crc
        at += 9 + length
        kinds.append(kind)
        ends.append(at)
    assert kinds == [1, 1, 1, 2]
    assert ends[:3] == offsets


def test_a_tear_at_any_byte_of_the_last_block_keeps_all_blocks_before_it(tmp_path: Path) -> None:
    """Cut at every byte near the block's edges and at many between: earlier flushes whole, the torn one not at all."""
    batches = flushes()
    path, offsets = write(tmp_path, batches, end=False)
    data = path.read_bytes()
    assert len(data) == offsets[-1]
    before = offsets[-2]
    cuts = sorted({*range(before, before + 16), *range(before, len(data), 97), *range(len(data) - 16, len(data))})
    assert len(cuts) > 40
    whole = wanted(batches[:-1])
    for cut in cuts:
        path.write_bytes(data[:cut])
        content = journal.read(path)
        assert held(content) == whole, f"cut at byte {cut}"
        assert (content.torn, content.ended) == (None if cut == before else before, False)


@pytest.mark.parametrize("keep", range(4))
def test_a_file_torn_within_its_magic_holds_nothing(tmp_path: Path, keep: int) -> None:
    """A recorder died before anything was in the file: no rows, and no error either."""
    path, _ = write(tmp_path, flushes(1), end=False)
    path.write_bytes(path.read_bytes()[:keep])
    content = journal.read(path)
    assert (content.tables, content.ended, content.torn) == ({}, False, 0 if keep else None)


def small(lake: Path, count: int) -> tuple[Path, list[int], list[dict[str, _core.Batch]]]:
    """A journal whose blocks are some hundred bytes: a row of the ledger each."""
    session = _core.Session(SESSION, passive=True)
    batches = []
    for n in range(count):
        session.add_ledger_row("start", frames.START + n, count=n)
        batches.append(session.drain())
    path, offsets = write(lake, batches, end=True)
    return path, offsets, batches


def test_a_tear_at_every_byte(tmp_path: Path) -> None:
    """Of a small journal every length there can be: all blocks that are whole, and nothing else."""
    path, offsets, batches = small(tmp_path, 3)
    data = path.read_bytes()
    assert len(data) < 3000
    starts = [len(journal.MAGIC), *offsets]
    for cut in range(len(journal.MAGIC), len(data)):
        path.write_bytes(data[:cut])
        content = journal.read(path)
        whole = sum(offset <= cut for offset in offsets)
        assert held(content) == wanted(batches[:whole]), f"cut at byte {cut}"
        assert (content.torn, content.holes, content.ended) == (None if cut in starts else starts[whole], [], False)
        assert not content.damaged


@pytest.mark.slow
def test_a_tear_at_500_offsets(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Of a larger journal 500 random lengths; some are recovered, which gives these rows and can be repeated."""
    batches = flushes(20)
    open_lake(tmp_path)
    path, offsets = write(tmp_path, batches, end=True)
    data = path.read_bytes()
    assert len(data) > 20_000
    chance = random.Random(5)
    rows = [sum(pa.record_batch(batch).num_rows for batch in flush.values()) for flush in batches]
    cuts = chance.sample(range(len(data)), 500)
    record_property("times", len(cuts))
    for n, cut in enumerate(cuts):
        path.write_bytes(data[:cut])
        content = journal.read(path)
        whole = sum(offset <= cut for offset in offsets)
        assert sum(table.num_rows for table in held(content).values()) == sum(rows[:whole]), f"cut at byte {cut}"
        if n % 50 == 0:
            report = seal.recover(tmp_path)
            assert report.sealed == [path.name]
            found = sum(
                lakes.rows(tmp_path, table).filter(~pl.lit(table == "ledger") | (pl.col("entry") < 2**31)).height
                for table in _core.TABLES
            )
            assert found == sum(rows[:whole])
            assert seal.recover(tmp_path).rows == 0
            for part in tmp_path.rglob("*.parquet"):
                part.unlink()


def test_any_flipped_bit_costs_one_block(tmp_path: Path) -> None:
    """Every byte of a small journal, one bit flipped: the block that it is in is not read, all others are, and it is
    told where.
    """
    path, offsets, batches = small(tmp_path, 4)
    data = path.read_bytes()
    starts = [0, len(journal.MAGIC), *offsets]
    for place in range(len(data)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << (place % 8)
        path.write_bytes(spoiled)
        content = journal.read(path)
        hit = sum(start <= place for start in starts) - 2
        kept = [batch for n, batch in enumerate(batches) if n != hit]
        assert held(content) == wanted(kept), f"bit {place % 8} of byte {place}"
        begin, end = starts[hit + 1], [*starts, len(data)][hit + 2]
        assert content.lost == [(begin, end - begin)]
        # Without its last block a journal looks as if its recorder had died.
        assert (content.ended, content.damaged) == ((False, False) if hit == len(batches) else (True, True))


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    """A bit in kind, length, checksum or payload of a large block: nothing wrong is read, and all other blocks are."""
    batches = flushes()
    path, offsets = write(tmp_path, batches, end=True)
    data = path.read_bytes()
    begin, end = offsets[2], offsets[3]
    others = wanted([*batches[:3], *batches[4:]])
    places = [*range(begin, begin + 9), *range(begin + 9, end, 211), end - 1]
    for n, place in enumerate(places):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << (n % 8)
        path.write_bytes(spoiled)
        content = journal.read(path)
        assert held(content) == others, f"bit {n % 8} of byte {place}"
        assert (content.holes, content.torn, content.ended) == ([(begin, end)], None, True)


def test_a_damaged_journal_is_sealed_told_and_put_aside(tmp_path: Path) -> None:
    """The rows that are whole are in the lake, the ledger says what is not, verify that rows are missing; the file
    stays for whoever can read more of it, and recovery has nothing more to do.
    """
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    timed = lakes.market(300, step=frames.SECOND // 10)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
    recorder.end()
    (path,) = recorder.closed
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (hole,) = journal.read(path).holes
    report = seal.recover(lake)
    told = {"journal": path.name, "offset": hole[0], "bytes": hole[1] - hole[0]}
    assert (report.torn, report.recovered) == ([told], [])
    assert lakes.facts(lakes.rows(lake, "ledger").filter(kind="torn")["detail"].item()) == told
    assert [file.name for file in (lake / "_journal").iterdir()] == [path.stem + journal.DAMAGED]
    assert path.with_suffix(journal.DAMAGED).read_bytes() == data
    messages = lakes.rows(lake, "book")["message"]
    assert messages.min() < 50  # type: ignore[operator]  # numbers
    assert messages.max() > 250  # type: ignore[operator]  # numbers
    proof = verify(lake, threads=1)
    assert any("are not accounted for" in sentence for sentence in proof.problems)
    assert proof.bad == 0
    assert seal.recover(lake).sealed == []


@pytest.mark.parametrize("what", ["garbage", "zeros"])
def test_a_journal_that_is_none_is_put_aside(tmp_path: Path, what: str) -> None:
    """Nothing of it can be read: said, kept, and the other journals are sealed."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    recorder.take(lakes.market(20))
    recorder.end()
    other = lake / "_journal" / f"20260802T000000-{SESSION[:-1]}1-0.journal"
    other.write_bytes(random.Random(1).randbytes(300_000) if what == "garbage" else bytes(3_000_000))
    size = other.stat().st_size
    report = seal.recover(lake)
    assert len(report.sealed) == 2
    assert report.torn == [{"journal": other.name, "offset": 0, "bytes": size}]
    assert [file.suffix for file in (lake / "_journal").iterdir()] == [journal.DAMAGED]
    assert verify(lake, threads=1).problems == []


def test_a_journal_or_lake_that_is_removed_while_recording_is_noticed(tmp_path: Path) -> None:
    """The system lets one write on into a file without a name: the next sync says so; and no half lake comes back."""
    batches = flushes(2)
    for gone in ("journal", "lake"):
        lake = tmp_path / gone
        lake.mkdir()
        writer = journal.Writer(lake, SESSION)
        writer.write(batches[0], frames.START)
        writer.sync()
        assert writer.path is not None
        if gone == "journal":
            writer.path.unlink()
        else:
            shutil.rmtree(lake)
        writer.write(batches[1], frames.START)
        with pytest.raises(StorageError, match="cannot sync the journal: it is gone; was the lake moved or removed"):
            writer.sync()
    with pytest.raises(StorageError, match="cannot begin a journal: it is gone"):
        journal.Writer(lake, SESSION).write(batches[0], frames.START)
    assert not lake.exists()


def test_a_block_of_another_version_is_left_and_told(tmp_path: Path) -> None:
    """Right checksum, unknown table: reading stops there and says where, rather than guess."""
    batches = flushes(2)
    path, offsets = write(tmp_path, batches, end=False)
    raw = b"\x07futures" + struct.pack("<I", 3) + b"abc"
    payload = struct.pack("<I", len(raw)) + pa.compress(raw, codec="zstd", asbytes=True)
    with path.open("ab") as file:
        file.write(journal.BLOCK.pack(1, len(payload), zlib.crc32(b"\x01" + payload)) + payload)
    content = journal.read(path)
    assert held(content) == wanted(batches)
    assert (content.torn, content.ended) == (offsets[-1], False)


@pytest.mark.parametrize(
    "strange",
    [
        b"\x06ledger" + struct.pack("<I", 0),
        b"\x06ledger" + struct.pack("<I", 2**31) + b"abc",
        b"\x07futures" + struct.pack("<I", 3) + b"abc",
        None,
    ],
    ids=["empty batch", "beyond the end", "unknown table", "not zstd"],
)
def test_what_is_in_a_block_of_another_version_raises_nothing_unknown(tmp_path: Path, strange: bytes | None) -> None:
    """To read leaves it and says where; to follow a living journal is refused with a sentence."""
    batches = flushes(2)
    path, offsets = write(tmp_path, batches, end=False)
    payload = struct.pack("<I", 4) + b"none"
    if strange is not None:
        payload = struct.pack("<I", len(strange)) + pa.compress(strange, codec="zstd", asbytes=True)
    with path.open("ab") as file:
        file.write(journal.BLOCK.pack(1, len(payload), zlib.crc32(b"\x01" + payload)) + payload)
    content = journal.read(path)
    assert held(content) == wanted(batches)
    assert (content.torn, content.damaged) == (offsets[-1], True)
    with pytest.raises(StorageError, match=f"the block at byte {offsets[-1]} of the journal is of another version"):
        journal.follow(path, 0)


def test_a_small_block_that_unpacks_into_a_large_one_is_not_unpacked(tmp_path: Path) -> None:
    """Some kilobytes that say, truly, that they are two gigabytes: another version's at best, and left where it is."""
    size = 2 * journal.BLOCK_MAX
    piece = 1 << 24
    with pa.CompressedOutputStream(packed := pa.BufferOutputStream(), "zstd") as stream:
        for _ in range(size // piece):
            stream.write(b"\0" * piece)
    payload = struct.pack("<I", size) + packed.getvalue().to_pybytes()
    assert len(payload) < 1 << 20
    batches = flushes(2)
    path, offsets = write(tmp_path, batches, end=False)
    with path.open("ab") as file:
        file.write(journal.BLOCK.pack(1, len(payload), zlib.crc32(b"\x01" + payload)) + payload)
    pa.default_memory_pool().release_unused()
    before = pa.default_memory_pool().bytes_allocated()
    content = journal.read(path)
    assert held(content) == wanted(batches)
    assert (content.torn, content.damaged) == (offsets[-1], True)
    assert pa.default_memory_pool().max_memory() - before < journal.BLOCK_MAX


def test_a_journal_closes_at_midnight_at_its_rows_and_after_its_time(tmp_path: Path) -> None:
    """``write`` returns the journal that it closed; rows go to the next one, whose number is one higher."""
    flush = flushes(1)[0]
    midnight = frames.START // frames.DAY * frames.DAY + frames.DAY
    for name, options, times in [
        ("midnight", {}, (midnight - 1, midnight)),
        ("rows", {"rows_max": 10}, (frames.START, frames.START + 1)),
        ("time", {"interval": 2.0}, (frames.START, frames.START + 2 * frames.SECOND)),
    ]:
        (tmp_path / name).mkdir()
        writer = journal.Writer(tmp_path / name, SESSION, **options)  # type: ignore[arg-type]  # names and numbers
        assert writer.write(flush, times[0]) is None
        first = writer.path
        assert writer.write(flush, times[1]) == first
        second = writer.close()
        assert first is not None
        assert second is not None
        assert [journal.read(path).number for path in (first, second)] == [0, 1]
        assert all(journal.read(path).ended for path in (first, second))
    assert writer.write({}, frames.START) is None
    assert writer.path is None, "no rows, no journal"


def test_the_journal_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    """Recovery neither reads nor removes what somebody owns, and says so; once let go it is sealed."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(20))
    path = recorder.writer.path
    assert path is not None
    before = path.read_bytes()
    assert journal.lock(path) is None
    report = seal.recover(tmp_path / "lake")
    assert (report.alive, report.sealed) == ([path.name], [])
    assert path.read_bytes() == before
    recorder.take(lakes.market(5, begin=frames.START + frames.SECOND))
    assert recorder.die() == path
    handle = journal.lock(path)
    assert handle is not None
    os.close(handle)
    report = seal.recover(tmp_path / "lake")
    assert (report.alive, report.sealed, report.recovered) == ([], [path.name], [path.name])
    assert journal.lock(path) is None, "gone is not lockable"


def test_a_full_disk_keeps_the_file_whole_and_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half way is taken back: what stood before can be read, and writing may go on later."""
    batches = flushes(3)
    writer = journal.Writer(tmp_path, SESSION)
    writer.write(batches[0], frames.START)
    assert writer.path is not None
    path, size = writer.path, writer.path.stat().st_size
    real = os.write
    calls = []

    def full(handle: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match=r"disk is full; make room, then run `krakpot recover`") as caught:
            writer.write(batches[1], frames.START)
    assert len(calls) == 2
    assert caught.value.path == path
    assert path.stat().st_size == size
    assert held(journal.read(path)) == wanted(batches[:1])
    writer.write(batches[2], frames.START)
    writer.close()
    content = journal.read(path)
    assert held(content) == wanted([batches[0], batches[2]])
    assert (content.ended, content.torn) == (True, None)


@pytest.mark.parametrize("fails", ["write", "rename", "mkdir"])
def test_a_journal_that_cannot_be_begun_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A full disk at the very first byte: a sentence, no half file, no open handle, and the next attempt works."""
    batches = flushes(1)
    writer = journal.Writer(tmp_path, SESSION)
    handles = len(os.listdir("/proc/self/fd"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        with pytest.raises(StorageError, match="the disk is full"):
            writer.write(batches[0], frames.START)
    assert len(os.listdir("/proc/self/fd")) == handles
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    writer.write(batches[0], frames.START)
    path = writer.close()
    assert path is not None
    assert held(journal.read(path)) == wanted(batches)


def test_a_journal_that_is_gone_is_named(tmp_path: Path) -> None:
    """Reading a file that is not there gives a sentence with its path."""
    gone = tmp_path / f"20260802T033550-{SESSION}-0.journal"
    with pytest.raises(StorageError, match="cannot read the journal: it is gone") as caught:
        journal.read(gone)
    assert caught.value.path == gone
    with pytest.raises(StorageError, match="the file is not named like a journal"):
        journal.read(tmp_path / "nothing.journal")


def test_rows_survive_the_way_through_polars(tmp_path: Path) -> None:
    """What the sealer makes of a journal's batches is what Polars makes of the session's."""
    batches = flushes(2)
    path, _ = write(tmp_path, batches, end=True)
    for table, written in wanted(batches).items():
        read = pl.from_arrow(held(journal.read(path))[table])
        there = pl.from_arrow(written)
        assert isinstance(read, pl.DataFrame)
        assert isinstance(there, pl.DataFrame)
        assert read.equals(there)
        assert dict(read.schema) == polars_schema(table)


def test_a_growing_journal_is_followed_block_by_block(tmp_path: Path) -> None:
    """Each call gives the rows behind the byte that the last one told, a block that is half written none yet."""
    recorder = lakes.Recorder(tmp_path)
    timed = lakes.market(60)
    path: Path | None = None
    at = 0
    rows: list[int] = []
    for first in range(0, len(timed), 10):
        recorder.take(timed[first : first + 10])
        path = recorder.writer.path
        assert path is not None
        tables, at = journal.follow(path, at)
        rows.append(sum(batch.num_rows for batches in tables.values() for batch in batches))
        assert at == path.stat().st_size
    assert path is not None
    assert all(rows)
    whole = journal.read(path)
    assert sum(rows) == sum(batch.num_rows for batches in whole.tables.values() for batch in batches)
    with path.open("ab") as file:
        file.write(b"\x01\x00\x00")
    assert journal.follow(path, at) == ({}, at)
    with pytest.raises(StorageError):
        journal.follow(tmp_path / "gone", 0)

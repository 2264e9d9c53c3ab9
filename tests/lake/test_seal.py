"""Sealing makes every row exactly once, whatever kills it between two steps, and never replaces what is published."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import frames
import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal, parquet, seal
from krakpot.lake.format import ROW_GROUP, SEALER_ENTRY, order, polars_schema
from krakpot.lake.lock import locked
from krakpot.lake.verify import verify

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY


class Crash(BaseException):
    """Stands for the kill of a process: nothing may catch it."""


def unsealed(lake: Path, *, torn: bool) -> dict[str, pl.DataFrame]:
    """A lake with one journal that crosses midnight, ended or torn, and the rows that must come out of it."""
    recorder = lakes.Recorder(lake, frames=True)
    flushes = []
    real = recorder.session.drain
    timed = lakes.market(300, begin=MIDNIGHT - 2 * frames.SECOND, step=frames.SECOND // 50, level3=True)
    third = len(timed) // 3
    for n in range(3):
        for ts, frame in timed[n * third : (n + 1) * third]:
            recorder.session.receive([frame], ts)
        flushes.append(real())
        # One journal over two days, as when a flush holds rows of both.
        assert recorder.writer.write(flushes[-1], MIDNIGHT) is None
    if torn:
        path = recorder.die()
        with path.open("ab") as file:
            file.write(journal.BLOCK.pack(1, 1000, 0) + b"a flush that never got whole")
    else:
        recorder.session.end(recorder.session.now, "over")
        recorder.session.add_ledger_row("stop", recorder.session.now)
        flushes.append(real())
        assert recorder.writer.write(flushes[-1], MIDNIGHT) is None
        recorder.writer.close()
    return {table: lakes.expected(flushes, table) for table in _core.TABLES}


def check(lake: Path, want: dict[str, pl.DataFrame]) -> None:
    """Every row is there once, no journal or temporary file is left, and the lake proves itself."""
    for table, frame in want.items():
        found = lakes.rows(lake, table)
        if table == "ledger":
            found = found.filter(pl.col("entry") < SEALER_ENTRY)
        assert found.equals(frame), table
    assert list((lake / "_journal").iterdir()) == []
    report = verify(lake, threads=1)
    assert report.problems == []
    assert (report.ok > 0, report.bad) == (True, 0)


def steps_of(tmp_path: Path, *, torn: bool) -> list[str]:
    """Names of all steps of sealing that journal."""
    lake = tmp_path / "steps"
    unsealed(lake, torn=torn)
    steps: list[str] = []
    seal.recover(lake, step=steps.append)
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True], ids=["ended", "torn"])
def test_a_crash_between_any_two_steps_neither_loses_nor_repeats_a_row(tmp_path: Path, torn: bool) -> None:
    """Crash at each step there is, recover, compare; a second recovery finds nothing to do and changes nothing."""
    steps = steps_of(tmp_path, torn=torn)
    assert steps[0] == "read"
    assert steps[-2:] == ["all published", "removed"]
    assert {f"{what} {table}" for what in ("written", "linked", "published") for table in _core.TABLES} <= set(steps)
    whole = tmp_path / "whole"
    want = unsealed(whole, torn=torn)
    # What a torn tail adds lies in two of the steps, so of these every fourth is enough for a quick run.
    every = 4 if torn and os.environ.get("KRAKPOT_TEST") != "all" else 1
    for n, name in list(enumerate(steps))[::every]:
        lake = tmp_path / f"lake{n}"
        shutil.copytree(whole, lake)
        done: list[str] = []

        def crash(step: str, done: list[str] = done, n: int = n) -> None:
            done.append(step)
            if len(done) == n + 1:
                raise Crash(step)

        with pytest.raises(Crash, match=name):
            seal.recover(lake, step=crash)
        report = seal.recover(lake)
        assert len(report.sealed) == (0 if name == "removed" else 1), f"after a crash at {name}"
        check(lake, want)
        parts = {part: part.read_bytes() for part in lake.rglob("*.parquet")}
        again = seal.recover(lake)
        assert (again.sealed, again.parts, again.rows) == ([], 0, 0)
        assert {part: part.read_bytes() for part in lake.rglob("*.parquet")} == parts
        shutil.rmtree(lake)


def test_two_crashes_in_a_row_do_no_more_harm_than_one(tmp_path: Path) -> None:
    """Recovery itself may die, again and again, one step further each time."""
    lake = tmp_path / "lake"
    want = unsealed(lake, torn=True)
    for _ in range(200):
        seen: list[str] = []

        def crash(step: str, seen: list[str] = seen) -> None:
            seen.append(step)
            if step.startswith("published"):
                raise Crash(step)

        try:
            seal.recover(lake, step=crash)
        except Crash:
            continue
        break
    else:
        pytest.fail("recovery makes no headway")
    check(lake, want)


KILL = """
import os, sys
from pathlib import Path
from krakpot.lake import seal
lake, at = Path(sys.argv[1]), sys.argv[2]
seal.recover(lake, step=lambda step: os._exit(9) if step == at else None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["read", "written book", "linked trades", "published ledger", "all published"])
def test_a_process_that_is_gone_at_a_step_does_no_harm(tmp_path: Path, at: str) -> None:
    """A real process that ends without a word: no handler, no flush, no unlock but the kernel's."""
    lake = tmp_path / "lake"
    want = unsealed(lake, torn=False)
    done = subprocess.run([sys.executable, "-c", KILL, str(lake), at], check=False, timeout=120)
    assert done.returncode == 9
    assert len(journal.journals(lake)) == 1
    seal.recover(lake)
    check(lake, want)


def test_a_published_part_is_never_replaced(tmp_path: Path) -> None:
    """A name that is taken stays as it is: sealing the same journal again leaves every part byte for byte."""
    lake = tmp_path / "lake"
    unsealed(lake, torn=False)
    (path,) = journal.journals(lake)
    kept = path.read_bytes()
    seal.recover(lake)
    parts = lakes.parts(lake, "trades")
    parts[0].write_bytes(b"somebody else's")
    path.write_bytes(kept)
    report = seal.recover(lake)
    assert report.sealed == [path.name]
    assert parts[0].read_bytes() == b"somebody else's"
    assert not list((lake / "_journal").iterdir())


def test_a_part_that_appears_while_another_is_written_wins(tmp_path: Path) -> None:
    """Two sealers of one name: the link refuses, the first stays, the second cleans up after itself."""
    lake = tmp_path / "lake"
    unsealed(lake, torn=False)

    def meanwhile(step: str) -> None:
        if step == "written trades":
            (hidden,) = (lake / "_journal").glob(".trades-*.tmp")
            day, _, name = hidden.name.removeprefix(".trades-").removesuffix(".tmp").partition("-")
            final = lake / "trades" / f"date={day[:4]}-{day[4:6]}-{day[6:]}" / name
            final.parent.mkdir(parents=True, exist_ok=True)
            final.write_bytes(b"first")

    seal.recover(lake, step=meanwhile)
    assert all(part.read_bytes() == b"first" for part in lakes.parts(lake, "trades"))
    assert not list((lake / "_journal").iterdir())


def test_a_full_disk_stops_with_a_sentence_and_keeps_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for a part: the journal stays, nothing half is published, and the next run ends the work."""
    lake = tmp_path / "lake"
    want = unsealed(lake, torn=False)
    real = parquet.write_part

    def full(frame: pl.DataFrame, path: Path, places: pl.Series | None = None) -> None:
        if ".ticker-" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(frame, path, places)

    with monkeypatch.context() as patch:
        patch.setattr(seal, "write_part", full)
        with pytest.raises(
            StorageError, match="cannot write a part: the disk is full; make room, then run `krakpot recover`"
        ):
            seal.recover(lake)
    assert len(journal.journals(lake)) == 1
    assert not (lake / "ticker").exists()
    seal.recover(lake)
    check(lake, want)


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import lakes
from krakpot.errors import StorageError
recorder = lakes.Recorder(Path(sys.argv[1]))
timed = lakes.market(3000)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
for n in range(0, len(timed), 50):
    try:
        recorder.take(timed[n:n + 50])
    except StorageError as error:
        print(n)
        sys.exit(str(error))
"""


def test_a_file_that_may_not_grow_ends_the_writing_and_keeps_all_that_was_written(tmp_path: Path) -> None:
    """A real limit of the kernel in a real process: one sentence, and after recovery every earlier flush is in the
    lake.
    """
    lake = tmp_path / "lake"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(lake), str(Path(__file__).parents[1])],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr.startswith("cannot write the journal: "), done.stderr
    written = int(done.stdout)
    assert written > 50
    report = seal.recover(lake)
    assert (len(report.recovered), report.torn) == (1, [])
    found = verify(lake, threads=1)
    assert found.problems == []
    assert found.frames == written
    assert len(set(lakes.rows(lake, "book")["message"])) == found.ok


def test_parts_are_sorted_typed_and_named(tmp_path: Path) -> None:
    """A part holds one UTC day, sorted by symbol, session, message, entry; zstd, statistics, one row group; types of
    the schema.
    """
    lake = tmp_path / "lake"
    unsealed(lake, torn=False)
    seal.recover(lake)
    days = {part.parent.name for part in lakes.parts(lake, "book")}
    assert days == {"date=2026-08-02", "date=2026-08-03"}
    for table in _core.TABLES:
        for part in lake.glob(f"{table}/*/*.parquet"):
            frame = pl.read_parquet(part, hive_partitioning=False)
            assert frame.equals(frame.sort(order(table), maintain_order=True))
            assert dict(frame.schema) == polars_schema(table)
            first = frame.select(pl.col("ts_recv").min().dt.strftime("date=%Y-%m-%d/%H%M%S")).item()
            assert f"{first}-019e0000-0000-7000-8000-000000000000-0.parquet" == f"{part.parent.name}/{part.name}"
            column = pq.read_metadata(part).row_group(0).column(3)
            assert (column.path_in_schema, column.compression, column.is_stats_set) == ("ts_recv", "ZSTD", True)
    assert not list(lake.glob("*/*.tmp"))


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_rows_of_many_blocks_become_many_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    """However many pieces a journal is copied in, and in whatever order its blocks are, a part is whole and sorted."""
    for module in ("parquet", "seal"):
        monkeypatch.setattr(f"krakpot.lake.{module}.ROW_GROUP", 16)
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    flushes = []
    timed = lakes.market(300, level3=True)
    for n in range(0, len(timed), 30):
        for ts, frame in timed[n : n + 30]:
            recorder.session.receive([frame], ts)
        flushes.append(recorder.session.drain())
    for flush in reversed(flushes) if backwards else flushes:
        recorder.writer.write(flush, recorder.session.now)
    recorder.writer.close()
    seal.recover(lake)
    for table in ("book", "orders", "trades"):
        (part,) = lakes.parts(lake, table)
        rows = pl.read_parquet(part, hive_partitioning=False)
        assert lakes.by_place(rows).equals(lakes.expected(flushes, table))
        assert rows.equals(rows.sort(order(table), maintain_order=True))
        assert pq.read_metadata(part).num_row_groups == -(-rows.height // 16) > 1


@pytest.mark.parametrize("rows", [1, ROW_GROUP])
def test_rows_that_were_read_hold_on_to_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """A block has the rows of all tables, and one column that is but a view of it would keep it to the end: whether the
    blocks are copied one by one or together.
    """
    monkeypatch.setattr(seal, "ROW_GROUP", rows)
    recorder = lakes.Recorder(tmp_path / "lake")
    timed = lakes.market(2000)
    recorder.session.add_ledger_row("start", timed[0][0], detail="a text " * 3000)
    for n in range(4):
        recorder.take(timed[n * len(timed) // 4 : (n + 1) * len(timed) // 4])
    recorder.end()
    (path,) = journal.journals(tmp_path / "lake")
    before = pa.total_allocated_bytes()
    content = journal.read(path)
    blocks = pa.total_allocated_bytes() - before
    assert blocks > 500_000
    del content
    assert pa.total_allocated_bytes() == before
    _, tables = seal._read(path)  # between two steps
    assert tables["book"].height > 2000
    assert pa.total_allocated_bytes() - before < blocks / 10


def test_the_ledger_names_every_part_with_its_rows(tmp_path: Path) -> None:
    """``sealed`` rows: table, part, rows, first and last message; so a part that goes is missed."""
    lake = tmp_path / "lake"
    unsealed(lake, torn=False)
    report = seal.recover(lake)
    ledger = lakes.rows(lake, "ledger")
    sealed = [
        (lakes.facts(detail), count) for detail, count in ledger.filter(kind="sealed").select("detail", "count").rows()
    ]
    others = [part for table in _core.TABLES if table != "ledger" for part in (lake / table).glob("*/*.parquet")]
    assert {fact["part"] for fact, _ in sealed} == {str(part.relative_to(lake)) for part in others}
    for fact, count in sealed:
        messages = pl.read_parquet(lake / fact["part"], hive_partitioning=False)["message"].drop_nulls()
        assert (fact["first"], fact["last"]) == (messages.min(), messages.max())
        assert count == len(pl.read_parquet(lake / fact["part"], hive_partitioning=False))
    assert report.rows == sum(lakes.rows(lake, table).height for table in _core.TABLES)


def test_a_torn_tail_is_told(tmp_path: Path) -> None:
    """What was lost stands in the report and in the ledger: where, and how many bytes."""
    lake = tmp_path / "lake"
    unsealed(lake, torn=True)
    (path,) = journal.journals(lake)
    size = path.stat().st_size
    report = seal.recover(lake)
    lost = len(journal.BLOCK.pack(1, 0, 0)) + len(b"a flush that never got whole")
    assert report.torn == [{"journal": path.name, "offset": size - lost, "bytes": lost}]
    assert report.recovered == [path.name]
    row = lakes.rows(lake, "ledger").filter(kind="torn")
    assert lakes.facts(row["detail"].item()) == report.torn[0]


def test_several_journals_of_one_session_after_a_kill(tmp_path: Path) -> None:
    """Journals closed and not sealed, and one cut within a second of its begin: the account still adds up."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, interval=1.5)
    timed = lakes.market(500, step=frames.SECOND // 50)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
        if len(recorder.closed) == 3:
            break
    assert len(recorder.closed) == 3
    recorder.die()
    counts = recorder.session.counts()
    report = seal.recover(lake)
    assert (len(report.sealed), len(report.recovered)) == (4, 1)
    found = verify(lake, threads=1)
    assert found.problems == []
    assert (found.ok, found.frames) == (counts["checksums"]["book"]["ok"], counts["frames"])


def test_a_journal_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    """A bad sector under one journal: it is named, it stays, and those behind it are sealed."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake, interval=1.5)
    timed = lakes.market(300)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
    recorder.end()
    first, *others = recorder.closed
    assert len(others) > 1
    data = first.read_bytes()
    first.unlink()
    # Reading a folder fails as reading a bad sector does.
    first.mkdir()
    with pytest.raises(StorageError, match=f"cannot read the journal: .*: {first}$"):
        seal.recover(lake)
    assert journal.journals(lake) == [first]
    first.rmdir()
    first.write_bytes(data)
    assert seal.recover(lake).sealed == [first.name]
    found = verify(lake, threads=1)
    assert (found.problems, found.frames) == ([], recorder.session.counts()["frames"])


def test_a_reader_that_looks_who_owns_a_journal_keeps_no_sealer_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal with its end is tried again; the last sealing of a recorder must not pass it by."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    recorder.take(lakes.market(50))
    other = lakes.Recorder(lake, lakes.session_name(frames.START))
    other.take(lakes.market(50))
    recorder.end()
    (path,) = recorder.closed
    assert journal.has_end(path)
    assert other.writer.path is not None
    assert not journal.has_end(other.writer.path)
    reader = ExitStack()
    assert reader.enter_context(locked(path, exclusive=False))
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            reader.close()

    monkeypatch.setattr("krakpot.lake.seal.time.sleep", pause)
    report = seal.recover(lake)
    assert (report.sealed, report.alive) == ([path.name], [other.writer.path.name])
    assert len(pauses) == 2, "one that is being written is not tried again"
    other.end()


def test_the_sealer_as_a_process(tmp_path: Path) -> None:
    """``python -m krakpot.seal LAKE`` prints its report as JSON; a folder that is no lake gives one sentence and 1."""
    lake = tmp_path / "lake"
    want = unsealed(lake, torn=False)
    done = subprocess.run(
        [sys.executable, "-m", "krakpot.lake.seal", str(lake)], check=True, capture_output=True, text=True, timeout=120
    )
    report = json.loads(done.stdout)
    assert (len(report["sealed"]), report["torn"], report["alive"]) == (1, [], [])
    check(lake, want)
    done = subprocess.run(
        [sys.executable, "-m", "krakpot.lake.seal", str(tmp_path / "none")],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("krakpot: there is no such folder")
    assert done.stderr.count("\n") == 1

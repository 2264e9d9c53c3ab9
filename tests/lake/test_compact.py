"""Compaction keeps every row and the proof, whatever kills it between two steps."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

import frames
import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import compact, journal, seal
from krakpot.lake.format import hold, order, stamp, sync_file
from krakpot.lake.lake import Lake
from krakpot.lake.verify import Report, verify

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY
FIRST, SECOND = (stamp(MIDNIGHT - frames.DAY).date() + timedelta(days=n) for n in range(2))
LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


class Crash(BaseException):
    """Stands for the kill of a process: nothing may catch it."""


def record(lake: Path, begin: int, *, count: int = 400, seed: int = 1, slow: bool = False) -> lakes.Recorder:
    """A session of some journals with all tables; slow: over hours, so that it has many checkpoints."""
    interval, step = (7200.0, 120 * frames.SECOND) if slow else (1.0, frames.SECOND // 50)
    recorder = lakes.Recorder(lake, lakes.session_name(begin), frames=True, interval=interval)
    timed = lakes.market(count, begin=begin, step=step, seed=seed, level3=True)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
    return recorder


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions at once over a midnight, of several journals each, and one of a single journal."""
    lake = tmp_path_factory.mktemp("days") / "lake"
    record(lake, MIDNIGHT - 4 * frames.SECOND).end()
    record(lake, MIDNIGHT - 6 * frames.HOUR, slow=True).end()
    lakes.make(
        lake, lakes.market(100, begin=MIDNIGHT - frames.HOUR), session=lakes.session_name(MIDNIGHT - frames.HOUR)
    )
    seal.recover(lake)
    return lake


@pytest.fixture
def lake(days: Path, tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(days, tmp_path / "lake"))


def run(lake: Path, **options: Any) -> compact.Report:
    """Compact long after, without waiting."""
    defaults: dict[str, Any] = {"now": LONG_AFTER, "grace": 0.0}
    return compact.compact(lake, **(defaults | options))


def content(lake: Path) -> dict[str, pl.DataFrame]:
    """All rows of all tables, of the ledger those that the recorder and the sealer wrote."""
    found = {table: lakes.rows(lake, table) for table in _core.TABLES}
    return found | {"ledger": found["ledger"].filter(pl.col("kind") != "compacted")}


def same(lake: Path, want: dict[str, pl.DataFrame], proof: Report) -> None:
    """Every row is there once, and the proof is what it was."""
    for table, frame in content(lake).items():
        assert frame.equals(want[table]), table
    report = verify(lake, threads=2)
    assert report.problems == []
    changed = {"rows": {**proof.rows, "ledger": report.rows["ledger"]}}
    assert report.to_dict() == proof.to_dict() | changed | {"lake": str(lake)}


def folders(lake: Path, table: str) -> dict[str, list[str]]:
    """Names of the parts of each session and date."""
    found: dict[str, list[str]] = {}
    for part in Lake(lake).parts(table):
        found.setdefault(f"{part.session[:13]} {part.date}", []).append(part.path.name)
    return found


@pytest.mark.slow
def test_many_parts_become_few_and_nothing_else_changes(days: Path, lake: Path) -> None:
    """Rows, order, types, encodings and proof stay; each session has one part a table and date."""
    before, proof = content(days), verify(days, threads=2)
    assert max(map(len, folders(days, "book").values())) > 3
    report = run(lake)
    assert report.compacted == [str(FIRST), str(SECOND)]
    assert (report.skipped, report.wrong) == ({}, False)
    same(lake, before, proof)
    for table in _core.TABLES:
        for parts in folders(lake, table).values():
            assert len(parts) == 1
    names = [part.path.name for part in Lake(lake).parts("book")]
    assert sum(name.endswith("-c0.parquet") for name in names) == 4
    assert sum(name.endswith("-0.parquet") for name in names) == 1, "a single part is left as it is"
    assert not (lake / compact.FOLDER).exists()
    for table in _core.TABLES:
        model = pq.ParquetFile(lakes.parts(days, table)[0])
        for path in lakes.parts(lake, table):
            part = pq.ParquetFile(path)
            assert part.schema.equals(model.schema)
            frame = pl.read_parquet(path, hive_partitioning=False)
            assert frame.equals(frame.sort(order(table), maintain_order=True))
            first = frame.select(pl.col("ts_recv").min().dt.strftime("date=%Y-%m-%d/%H%M%S")).item()
            assert first == f"{path.parent.name}/{path.name[:6]}"
            for n in range(part.metadata.num_columns):
                column, like = (file.metadata.row_group(0).column(n) for file in (part, model))
                assert (column.compression, column.is_stats_set) == (like.compression, like.is_stats_set)
                assert ("DELTA_BINARY_PACKED" in column.encodings) == ("DELTA_BINARY_PACKED" in like.encodings)


def test_the_second_time_there_is_nothing_to_do(lake: Path) -> None:
    """Repeatable: not a byte and not a name changes."""
    run(lake)
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    again = run(lake)
    assert (again.compacted, again.finished, again.skipped, again.rows) == ([], [], {}, 0)
    assert {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_crash_between_any_two_steps_does_no_harm(days: Path, tmp_path: Path) -> None:
    """Crash at each step there is: the lake is whole and proved as it is left; the next run ends the work, from where
    it stands, with the same files.
    """
    before, proof = content(days), verify(days, threads=2)
    done = tmp_path / "done"
    shutil.copytree(days, done)
    steps: list[str] = []
    run(done, step=steps.append, dates=[SECOND])
    names = sorted(path.relative_to(done) for path in done.rglob("*.parquet"))
    tables = {"book", "orders", "trades", "checkpoints", "orders_checkpoints", "ledger"}
    assert {f"{what} {table}" for what in ("built", "linked", "swapped") for table in tables} <= set(steps)
    assert {"planned", "swapped", f"removed date={SECOND}"} <= set(steps)
    for n, name in enumerate(steps):
        lake = tmp_path / f"lake{n}"
        shutil.copytree(days, lake)
        seen: list[str] = []

        def crash(step: str, seen: list[str] = seen, n: int = n) -> None:
            seen.append(step)
            if len(seen) == n + 1:
                raise Crash(step)

        with pytest.raises(Crash, match=name):
            run(lake, step=crash, dates=[SECOND])
        same(lake, before, proof)
        report = run(lake, dates=[SECOND])
        assert report.compacted + report.finished == ([] if name in ("swapped", steps[-1]) else [str(SECOND)]), name
        same(lake, before, proof)
        assert sorted(path.relative_to(lake) for path in lake.rglob("*.parquet")) == names
        assert not (lake / compact.FOLDER).exists()
        shutil.rmtree(lake)


KILL = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from krakpot.lake import compact
at = sys.argv[2]
compact.compact(
    Path(sys.argv[1]), grace=0, now=datetime(2027, 1, 1, tzinfo=UTC),
    step=lambda step: os._exit(9) if step == at else None,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["built book", "planned", "swapped ledger", "swapped trades"])
def test_a_process_that_is_gone_at_a_step_does_no_harm(days: Path, lake: Path, at: str) -> None:
    """A real process that ends without a word: no handler runs, and its locks are gone with it."""
    before, proof = content(days), verify(days, threads=2)
    done = subprocess.run([sys.executable, "-c", KILL, str(lake), at], check=False, timeout=120)
    assert done.returncode == 9
    same(lake, before, proof)
    run(lake)
    same(lake, before, proof)
    assert not (lake / compact.FOLDER).exists()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["built book", "planned", "linked book", "swapped book", "swapped"])
def test_what_is_sealed_meanwhile_goes_along(days: Path, lake: Path, at: str) -> None:
    """A late journal of the day, sealed at any moment of the compaction: not a row is lost, and the next run takes it
    in, under numbers that were not there.
    """
    late = lakes.market(100, begin=MIDNIGHT + frames.HOUR, seed=9)
    other = Path(shutil.copytree(days, lake.parent / "other"))
    lakes.make(other, late, session=lakes.session_name(MIDNIGHT + frames.HOUR))
    before, proof = content(other), verify(other, threads=2)

    def meanwhile(step: str) -> None:
        if step == at:
            # What a sealer that runs beside does, but for the lock, which it holds at these steps or waits for.
            for path in other.rglob("*.parquet"):
                target = lake / path.relative_to(other)
                if not (days / path.relative_to(other)).exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, target)

    if at == "linked book":
        # Under the exclusive lock nobody can add a part.
        with hold(lake) as had:
            assert had

        def locked(step: str) -> None:
            if step == at:
                with hold(lake, wait=False) as had:
                    assert not had

        run(lake, step=locked, dates=[SECOND])
        return
    run(lake, step=meanwhile, dates=[SECOND])
    same(lake, before, proof)
    run(lake)
    same(lake, before, proof)


def late_journal(lake: Path) -> tuple[dict[str, pl.DataFrame], Report]:
    """A journal of a compacted session that turns up late, as from a backup of ``_journal``; what is to be there."""
    whole = lake.with_name("whole")
    recorder = record(whole, MIDNIGHT - frames.HOUR)
    recorder.end()
    for path in journal.journals(whole):
        if path.name.endswith("-3.journal"):
            kept = path.read_bytes(), path.name
    seal.recover(whole)
    shutil.copytree(whole, lake)
    number = kept[1].rpartition("-")[2].removesuffix(".journal")
    for part in lake.rglob(f"*-{number}.parquet"):
        part.unlink()
    run(lake)
    (lake / "_journal" / kept[1]).write_bytes(kept[0])
    return content(whole), verify(whole, threads=2)


def test_a_journal_of_the_middle_that_comes_late_is_taken_in(tmp_path: Path) -> None:
    """Its rows stand between those that were compacted: the second compaction puts them where they belong."""
    lake = tmp_path / "lake"
    before, proof = late_journal(lake)
    assert not verify(lake).proved
    steps: list[str] = []
    report = run(lake, step=steps.append)
    assert report.compacted == [str(FIRST)]
    same(lake, before, proof)
    assert {part.path.name[-11:] for part in Lake(lake).parts("book")} == {"-c1.parquet"}


@pytest.mark.slow
def test_a_crash_of_the_second_compaction_does_no_harm(tmp_path: Path) -> None:
    """Between the ledger's swap and the table's, the ledger names the first parts and the second."""
    base = tmp_path / "base"
    before, proof = late_journal(base)
    for at in ("planned", "swapped ledger", "swapped book", "swapped"):
        lake = Path(shutil.copytree(base, tmp_path / at.replace(" ", "-")))

        def crash(step: str, at: str = at) -> None:
            if step == at:
                raise Crash(step)

        with pytest.raises(Crash):
            run(lake, step=crash)
        same(lake, before, proof)
        run(lake)
        same(lake, before, proof)


@pytest.mark.slow
def test_many_parts_take_several_passes_and_big_ones_are_cut(
    days: Path, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small bounds give the same rows in more parts, cut between messages; nothing of the passes is left."""
    before, proof = content(days), verify(days, threads=2)
    for name, value in {"FAN": 2, "PART_ROWS": 200}.items():
        monkeypatch.setattr(compact, name, value)
    for module in ("parquet", "compact"):
        monkeypatch.setattr(f"krakpot.lake.{module}.ROW_GROUP", 64)
    monkeypatch.setattr("krakpot.lake.merge.BLOCK", 50)
    monkeypatch.setattr("krakpot.lake.messages.ROWS", 77)
    run(lake)
    same(lake, before, proof)
    session, parts = max(folders(lake, "book").items(), key=lambda item: len(item[1]))
    assert len(parts) > 2
    assert all(f"-c{n}.parquet" in name for n, name in enumerate(parts)), session
    for part in Lake(lake).parts("book"):
        if part.compacted:
            meta = pq.read_metadata(part.path)
            assert meta.num_rows <= 200
            assert max(meta.row_group(n).num_rows for n in range(meta.num_row_groups)) <= 64


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "altered", "other rows", "beside", "foreign"])
def test_what_is_wrong_with_a_compacted_part_is_noticed(days: Path, lake: Path, harm: str) -> None:
    """As with sealed parts: missing, altered by a bit, rewritten with other rows, beside an old one, unknown."""
    run(lake)
    part = next(part for part in Lake(lake).parts("book") if part.compacted).path
    name = str(part.relative_to(lake))
    if harm == "gone":
        part.unlink()
        words = [f"the part {name} with", "is missing"]
    elif harm == "altered":
        data = bytearray(part.read_bytes())
        data[-20] ^= 1
        part.write_bytes(data)
        words = [name]
    elif harm == "other rows":
        lakes.rewrite(part, lambda frame: frame.head(frame.height - 1))
        words = [name, "the ledger says"]
    elif harm == "beside":
        session = part.stem.partition("-")[2].rpartition("-")[0]
        old = next(
            path for path in lakes.parts(days, "book") if session in path.name and path.parent.name == part.parent.name
        )
        shutil.copy(old, part.with_name(old.name))
        words = [old.name, "is beside the compacted parts that hold its rows"]
    else:
        shutil.copy(part, part.with_name(part.name.replace("-c0", "-c7")))
        words = ["-c7", "is not named in the ledger"]
    report = verify(lake)
    assert any(all(word in sentence for word in words) for sentence in report.problems), report.problems


def test_the_rows_of_the_old_parts_and_of_the_new_must_add_up(lake: Path) -> None:
    """The ledger still says how many rows were sealed: a compaction with fewer is no proof."""
    run(lake)
    part = next(part for part in Lake(lake).parts("ledger") if part.compacted).path
    more = pl.when(pl.col("kind") == "sealed").then(pl.col("count") + 1).otherwise(pl.col("count"))
    lakes.rewrite(part, lambda frame: frame.with_columns(count=more))
    problems = verify(lake).problems
    assert any("rows, the parts that they replaced had" in sentence for sentence in problems), problems


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "words"), [("altered", "is not the file that was sealed"), ("foreign", "the ledger does not name")]
)
def test_a_day_that_is_not_what_the_ledger_says_is_left_alone(lake: Path, harm: str, words: str) -> None:
    """Compaction must not make true what was changed; other days are compacted."""
    part = next(part for part in Lake(lake).parts("trades") if part.date == FIRST and part.number == 1).path
    if harm == "altered":
        lakes.rewrite(part, lambda frame: frame.with_columns(price=pl.col("price") + 1))
    else:
        shutil.copy(part, part.with_name(part.name.replace("-1.parquet", "-99.parquet")))
    problems = verify(lake).problems
    report = run(lake)
    assert (report.compacted, list(report.skipped), report.wrong) == ([str(SECOND)], [str(FIRST)], True)
    assert words in report.skipped[str(FIRST)]
    assert verify(lake).problems == problems


def test_what_is_not_krakpot_s_is_kept(lake: Path) -> None:
    """A file that somebody put beside the parts is there afterwards; where it is a folder the day is left alone."""
    note = lake / "book" / f"date={FIRST}" / "notes.txt"
    note.write_text("the day of the outage")
    folder = lake / "trades" / f"date={SECOND}" / "plots"
    folder.mkdir()
    report = run(lake)
    assert (report.compacted, report.skipped) == (
        [str(FIRST)],
        {str(SECOND): f"trades/date={SECOND} has a folder in it"},
    )
    assert note.read_text() == "the day of the outage"
    assert folder.is_dir()


def test_a_missing_part_is_still_missed(lake: Path) -> None:
    """What is not there is not among the rows that were merged: its own row of the ledger goes on asking for it."""
    part = next(part for part in Lake(lake).parts("book") if part.date == FIRST and part.number == 1).path
    part.unlink()
    assert run(lake).compacted == [str(FIRST), str(SECOND)]
    report = verify(lake)
    assert any(part.name in sentence and "is missing" in sentence for sentence in report.problems), report.problems


def test_only_whole_past_dates(lake: Path) -> None:
    """Not today, not the first hour after, not while a journal may hold rows of the day; the reason is said."""
    end = datetime(SECOND.year, SECOND.month, SECOND.day, tzinfo=UTC)
    report = run(lake, now=end + timedelta(minutes=30))
    assert report.compacted == []
    assert set(report.skipped) == {str(FIRST), str(SECOND)}
    assert not report.wrong
    recorder = record(lake, MIDNIGHT + 30 * 60 * frames.SECOND, count=10)
    assert recorder.writer.path is not None
    report = run(lake)
    assert report.compacted == []
    assert f"{recorder.writer.path.name} may hold rows of it" in report.skipped[str(FIRST)]
    recorder.end()
    late = record(lake, MIDNIGHT + 3 * frames.HOUR, count=10)
    report = run(lake)
    assert (report.compacted, list(report.skipped)) == ([str(FIRST)], [str(SECOND)])
    late.end()


def test_beside_a_living_recorder_and_a_verification(days: Path, lake: Path) -> None:
    """A recorder that is in a later day goes on; who reads holds the swap up until done; one compaction at a time."""
    recorder = record(lake, MIDNIGHT + frames.DAY + 2 * frames.HOUR, count=50)
    with hold(lake, exclusive=True, wait=False) as had:
        assert had
    said: list[str] = []

    def second(step: str) -> None:
        said.append(step)
        if step == "planned":
            with pytest.raises(StorageError, match="this lake is being compacted already"):
                run(lake)

    assert run(lake, step=second).compacted == [str(FIRST), str(SECOND)]
    recorder.end()
    seal.recover(lake)
    assert verify(lake).problems == []
    assert lakes.rows(lake, "book").height > lakes.rows(days, "book").height


def test_readers_that_have_a_file_open_go_on(lake: Path) -> None:
    """The old file is read to its end through the swap and its removal."""
    part = next(part for part in Lake(lake).parts("book") if part.number == 1).path
    whole = part.read_bytes()
    with part.open("rb") as file:
        begin = file.read(100)
        run(lake)
        assert not part.exists()
        assert begin + file.read() == whole


def test_the_old_parts_stay_for_the_grace(lake: Path) -> None:
    """They are removed after it, or by the next run where this one is interrupted."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        assert list((lake / compact.FOLDER).rglob("*.parquet"))
        waited.append(seconds)

    run(lake, grace=600.0, sleep=sleep)
    assert len(waited) == 2
    assert 500 < waited[0] <= 600
    assert not (lake / compact.FOLDER).exists()


def test_an_interrupted_wait_leaves_the_removal_to_the_next_run(lake: Path) -> None:
    """Ctrl-C while it waits."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(lake, grace=600.0, sleep=interrupt)
    assert (lake / compact.FOLDER).exists()
    assert verify(lake).proved
    run(lake)
    assert not (lake / compact.FOLDER).exists()


@pytest.mark.slow
def test_where_folders_cannot_be_exchanged(days: Path, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere two renames do it, unless a recorder lives; a crash between the two is finished by the next run."""
    before, proof = content(days), verify(days, threads=2)
    monkeypatch.setattr(compact, "_renameat2", lambda: None)
    recorder = record(lake, MIDNIGHT + frames.DAY + 2 * frames.HOUR, count=10)
    with pytest.raises(StorageError, match="cannot exchange two folders in one step; stop the recorder"):
        run(lake)
    assert verify(lake).proved
    assert recorder.writer.path is not None
    recorder.writer.discard()

    def crash(step: str) -> None:
        if step == "aside book":
            raise Crash(step)

    with pytest.raises(Crash):
        run(lake, step=crash)
    assert not (lake / "book" / f"date={FIRST}").exists()
    run(lake)
    same(lake, before, proof)


@pytest.mark.slow
def test_a_full_disk_leaves_the_lake_as_it_was(days: Path, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the new parts, known before or noticed on the way: said, nothing half is left, and later it works."""
    before, proof = content(days), verify(days, threads=2)
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(lake)
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        report = run(lake)
        assert (report.compacted, report.wrong) == ([], True)
        assert "bytes and the disk has 1,000" in report.skipped[str(FIRST)]
    real = sync_file
    said: set[str] = set()
    for nth in range(1, 30):
        calls = 0

        def full(path: Path) -> None:
            nonlocal calls
            calls += 1
            if calls == nth:  # noqa: B023  # called within the loop's turn
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(path)

        with monkeypatch.context() as patch:
            for module in ("compact", "parquet", "format"):
                patch.setattr(f"krakpot.lake.{module}.sync_file", full)
            try:
                run(lake)
            except StorageError as error:
                said.add(str(error).partition(";")[0])
            else:
                break
        assert verify(lake, threads=1).problems == []
    assert nth > 10
    assert said == {"cannot compact the lake: the disk is full"}
    same(lake, before, proof)


def test_a_date_that_was_asked_for_and_has_nothing_to_do_says_why(lake: Path) -> None:
    """The day that is not over, a day without parts; without dates nothing is said, and text is read as days."""
    early = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(hours=23)
    over = "it is not over, or not for an hour"
    assert run(lake, now=early, dates=[FIRST]).skipped == {str(FIRST): over}
    assert run(lake, now=early - timedelta(days=1), dates=[FIRST - timedelta(days=1)]).skipped == {
        str(FIRST - timedelta(days=1)): over
    }
    none = run(lake, dates=compact.days("2025-01-01..2025-01-31"))
    assert none.skipped == {"2025-01-01..2025-01-31": "the lake has no part of it"}
    done = run(lake, dates=f"2025-01-01..{SECOND}")
    assert (done.compacted, done.skipped) == ([str(FIRST), str(SECOND)], {})
    assert run(lake, dates=[FIRST, SECOND]).skipped == {}
    assert run(lake).skipped == {}


@pytest.mark.parametrize("fan", [2, 32])
def test_progress_is_told(lake: Path, monkeypatch: pytest.MonkeyPatch, fan: int) -> None:
    """Bytes that are merged grow to the total, which counts them once for each pass; what waits is a note."""
    monkeypatch.setattr(compact, "FAN", fan)
    told: list[tuple[int, int, str]] = []
    notes: list[str] = []
    run(lake, progress=lambda *one: told.append(one), note=notes.append, grace=1.0, sleep=lambda _: None)
    assert len({(total, unit) for _, total, unit in told}) == 1
    done = [one for one, _, _ in told]
    assert done == sorted(done)
    assert done[0] < done[-1]
    assert told[-1][0] == pytest.approx(told[-1][1], abs=1)
    assert [note[:17] for note in notes] == ["the old parts of "] * len(notes) != []


def test_dates_are_read() -> None:
    """Single ones, ranges, several; anything else is refused."""
    assert compact.days("2026-08-01, 2026-08-30..2026-09-01") == [
        date(2026, 8, 1), date(2026, 8, 30), date(2026, 8, 31), date(2026, 9, 1),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"a range that ends after it begins, as 2026-08-01\.\.2026-08-02"):
        compact.days("2026-08-02..2026-08-01")
    for text in ("", "yesterday", "2026-08-01..", "2026-13-01"):
        with pytest.raises(ValueError, match="dates as 2026-08-01"):
            compact.days(text)


def test_what_is_no_lake(tmp_path: Path) -> None:
    """Said, and nothing is made."""
    with pytest.raises(StorageError, match="there is no such folder"):
        compact.compact(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []

"""Old days go, the current one never; a recording ends before the disk is full."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import frames
import lakes
from krakpot.config import Config
from krakpot.errors import StorageError
from krakpot.lake import seal
from krakpot.lake.format import hold, open_lake, stamp
from krakpot.lake.verify import verify
from krakpot.log import LogLine
from krakpot.record import clock as hostclock
from krakpot.record import disk

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY
FIRST, SECOND, THIRD = (stamp(MIDNIGHT + n * frames.DAY).date() for n in (-1, 0, 1))
END = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=1)
"""Of the first day."""
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session over three days, one that ended on the first, and one that follows it from the second on."""
    lake = tmp_path_factory.mktemp("days") / "lake"
    timed = lakes.market(300, begin=MIDNIGHT - frames.DAY // 2, step=8 * 60 * frames.SECOND)
    long = lakes.Recorder(lake, lakes.session_name(timed[0][0]), interval=1e9)
    for day in range(3):
        begin = MIDNIGHT + (day - 1) * frames.DAY
        long.take([item for item in timed if begin <= item[0] < begin + frames.DAY])
    long.end()
    before = lakes.session_name(MIDNIGHT - frames.HOUR)
    short = lakes.Recorder(lake, before)
    short.take(lakes.market(50, begin=MIDNIGHT - frames.HOUR))
    short.session.end(short.session.now, "cut")
    short.flush(short.session.now)
    short.writer.close()
    next_begin = MIDNIGHT + frames.HOUR
    follower = lakes.Recorder(lake, lakes.session_name(next_begin))
    detail = f'{{"previous":"{before}"}}'
    follower.session.add_ledger_row("connect", next_begin, detail=detail)
    follower.session.add_ledger_row("gap", next_begin, ts_from=short.session.now, ts_to=next_begin, detail=detail)
    follower.take(lakes.market(50, begin=next_begin))
    follower.end()
    seal.recover(lake)
    assert verify(lake, threads=1).problems == []
    return lake


@pytest.fixture
def lake(days: Path, tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(days, tmp_path / "lake"))


def dates(lake: Path) -> list[str]:
    """Dates that are there."""
    return sorted({folder.name.removeprefix("date=") for folder in lake.glob("*/date=*")})


def test_whole_days_go_when_they_are_old_enough(lake: Path) -> None:
    """Not a moment before; all tables of a day at once; what remains is proved, though sessions began before it."""
    assert disk.expire(lake, 3 * DAY, END + 3 * DAY - timedelta(seconds=1)) == []
    assert len(dates(lake)) == 3
    removed = disk.expire(lake, 3 * DAY, END + 3 * DAY)
    assert removed is not None
    (day,) = removed
    assert (day.day, day.parts > 6, day.bytes > 10_000) == (FIRST, True, True)
    assert dates(lake) == [str(SECOND), str(THIRD)]
    assert not (lake / disk.FOLDER).exists()
    report = verify(lake, threads=1)
    assert report.problems == []
    assert any("the lake begins with session" in note for note in report.notes)
    assert disk.expire(lake, 3 * DAY, END + 3 * DAY) == []
    removed = disk.expire(lake, DAY, END + 10 * DAY)
    assert removed is not None
    assert [day.day for day in removed] == [SECOND, THIRD]
    assert dates(lake) == []


def test_a_day_with_a_journal_stays(lake: Path) -> None:
    """And those after it; what is being recorded or was not recovered is never removed."""
    recorder = lakes.Recorder(lake, lakes.session_name(MIDNIGHT + frames.HOUR + 1))
    recorder.take(lakes.market(10, begin=MIDNIGHT + 2 * frames.HOUR))
    removed = disk.expire(lake, DAY, END + 100 * DAY)
    assert removed is not None
    assert [day.day for day in removed] == [FIRST]
    assert dates(lake) == [str(SECOND), str(THIRD)]


def test_nobody_s_reading_is_disturbed(lake: Path) -> None:
    """While somebody verifies or seals nothing goes; that is told apart from nothing to do."""
    with hold(lake):
        assert disk.expire(lake, DAY, END + 10 * DAY) is None
    assert len(dates(lake)) == 3


@pytest.mark.parametrize("at", ["first", "last", "removal"])
def test_a_crash_leaves_no_day_half_there_for_long(lake: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Between two moves, or while the files are removed: the next time ends it."""
    moves = 0
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if at == "first" or (at == "last" and moves == 6):
            raise KeyboardInterrupt
        return real(path, target)

    def remove(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        if at == "removal":
            patch.setattr(shutil, "rmtree", remove)
        with pytest.raises(KeyboardInterrupt):
            disk.expire(lake, DAY, END + DAY)
    assert (lake / disk.FOLDER).exists()
    disk.expire(lake, DAY, END + DAY)
    assert dates(lake) == [str(SECOND), str(THIRD)]
    assert not (lake / disk.FOLDER).exists()
    assert verify(lake, threads=1).problems == []


def test_room_is_looked_at(tmp_path: Path) -> None:
    """Enough is silence; too little, or no folder any more, is a sentence with the cure."""
    open_lake(tmp_path / "lake")
    disk.check_room(tmp_path / "lake", 0)
    disk.check_room(tmp_path / "lake", 1)
    with pytest.raises(
        StorageError, match=r"the disk has [\d.]+ \wB left, less than the 1000000.0 TB of --min-free; make room"
    ):
        disk.check_room(tmp_path / "lake", 10**18)
    with pytest.raises(StorageError, match="cannot look at the lake: it is gone; was the lake moved or removed"):
        disk.check_room(tmp_path / "none", 0)


class Ledger:
    """Takes what a keeper writes, as a session would, and its log lines."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.logged: list[str] = []

    def add_ledger_row(self, kind: str, now: int, **columns: Any) -> None:
        """A row."""
        self.rows.append({"kind": kind, "now": now, **columns, "detail": lakes.facts(columns["detail"])})


def keep(config: Config, done: Callable[[Ledger], bool]) -> Ledger:
    """Run a keeper until something is done."""

    async def work() -> Ledger:
        ledger = Ledger()
        keeper = disk.Keeper(config, lambda: ledger, ledger.logged.append)  # type: ignore[arg-type, return-value]  # only its rows
        task = asyncio.create_task(keeper.run())
        async with asyncio.timeout(20):
            while not done(ledger) and not task.done():
                await asyncio.sleep(0.01)
        if task.done():
            task.result()
        task.cancel()
        return ledger

    return asyncio.run(work())


def test_the_clock_s_quality_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and every hour; one that nobody keeps is said aloud, once."""
    open_lake(tmp_path)
    monkeypatch.setattr(hostclock, "kernel", lambda: hostclock.Timex(status=hostclock.STA_UNSYNC))
    monkeypatch.setattr(disk, "LOOK", 0.01)
    monkeypatch.setattr(disk, "HOUR", 0.05)
    ledger = keep(Config(out=tmp_path), lambda ledger: len(ledger.rows) >= 3)
    assert {row["kind"] for row in ledger.rows} == {"clock"}
    assert all(row["detail"]["synchronised"] is False for row in ledger.rows)
    assert ledger.logged == [
        "this machine's clock is not synchronised with a time server, so receive times may be wrong"
    ]
    monkeypatch.setattr(hostclock, "quality", lambda _: {})
    monkeypatch.setattr(disk, "check_room", lambda *_: (_ for _ in ()).throw(StorageError("full", tmp_path)))
    with pytest.raises(StorageError, match="full"):
        keep(Config(out=tmp_path), lambda _: False)


def test_what_was_removed_is_a_row_and_a_line(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day, its bounds, its parts and bytes; tried again soon where somebody was reading."""
    monkeypatch.setattr(disk, "LOOK", 0.01)
    monkeypatch.setattr(disk, "AGAIN", 0.05)
    config = Config(out=lake, keep=86_400.0 * 2)
    with hold(lake):
        busy = keep(config, lambda ledger: bool(ledger.rows))
    assert [row["kind"] for row in busy.rows if row["kind"] == "removed"] == []
    assert len(dates(lake)) == 3
    size = sum(path.stat().st_size for path in lake.glob(f"*/date={FIRST}/*"))
    ledger = keep(config, lambda ledger: len([line for line in ledger.logged if "removed" in line]) == 3)
    rows = [row for row in ledger.rows if row["kind"] == "removed"]
    assert [row["ts_from"] for row in rows] == [MIDNIGHT + n * frames.DAY for n in (-1, 0, 1)]
    assert all(row["ts_to"] - row["ts_from"] == frames.DAY for row in rows)
    assert rows[0]["detail"] == {"date": str(FIRST), "bytes": size}
    assert f"removed {FIRST}, which is older than --keep: {rows[0]['count']} parts" in ledger.logged[-3]
    assert os.listdir(lake / "book") == []


def test_days_that_cannot_be_removed_end_no_recording(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in it is somebody else's: said as an error with its place, what went from the tables is a row all the
    same, and the next time goes on.
    """
    monkeypatch.setattr(disk, "LOOK", 0.01)
    monkeypatch.setattr(disk, "HOUR", 0.2)
    real, refused = shutil.rmtree, list[Path]()

    def rmtree(path: Path) -> None:
        if len(refused) < 2:
            refused.append(path)
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        real(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    config = Config(out=lake, keep=86_400.0 * 2)
    ledger = keep(config, lambda _: len(refused) == 2 and not (lake / disk.FOLDER).exists())
    assert len([row for row in ledger.rows if row["kind"] == "removed"]) == 3
    errors = [line for line in ledger.logged if isinstance(line, LogLine) and line.level == "error"]
    assert len(errors) == 2
    assert errors[0].startswith("old days cannot be removed: Permission denied; ")
    assert str(lake / disk.FOLDER) in errors[0]

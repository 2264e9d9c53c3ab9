"""Compaction: the many parts of a past day become few.

For each table and date the parts of each session are merged into parts of up to ``PART_ROWS`` rows: same rows, same
order, same columns and encodings. The order of steps is what makes a crash harmless::

    build     <lake>/_compact/date=D/<table>/…       forced to the disk; without plan.json the next run begins again
    plan      <lake>/_compact/date=D/plan.json
    swap      the ledger's folder, then every table's, each exchanged in one step with the new one
    remove    the old folders, after the grace

The new ledger names the new parts with their SHA-256 in rows ``compacted``, in addition to the rows ``sealed`` of the
old parts. For each table ``krakpot verify`` takes the parts that are there: all of the old or all of the new ones. New
parts have names that no part of the day had before, so that the next run sees which tables were swapped. Parts that
are not what the ledger says are left alone: a damaged part must not become valid by being written again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from krakpot import _core, values
from krakpot.errors import ConfigError, StorageError, counted
from krakpot.lake import journal, seal
from krakpot.lake.folder import Folder
from krakpot.lake.format import (
    COMPACT_ENTRY,
    COMPACTED,
    ROW_GROUP,
    Part,
    digest,
    hold,
    order,
    polars_schema,
    stamp,
    storage_error,
    sync_file,
)
from krakpot.lake.ledger import detail, ledger_frame
from krakpot.lake.lock import FOLDERS, locked, sync_folder
from krakpot.lake.merge import FAN, expand_ranges, merged, ranges, whole
from krakpot.lake.parquet import part_writer, write_part
from krakpot.work import OnProgress, Work, no_progress

FOLDER = "_compact"
PLAN = "plan.json"
PART_ROWS = 128 * ROW_GROUP
"""Rows of a compacted part: about 200 MB of a book."""
GRACE = 600.0
"""Seconds for which the old parts stay beside the lake."""
LATE = timedelta(hours=1)
"""A journal that was begun this long after midnight has no row of the day before, even if the disk was slow."""
RENAME_EXCHANGE = 2
AT_FDCWD = -100

Note = Callable[[str], None]
"""Called with what is being done, where nobody knows how far it is."""


def _silent(_: str) -> None:
    """Without a caller who wants to know."""


@dataclass
class Report:
    """Result of a compaction."""

    compacted: list[str] = field(default_factory=list)
    """Dates whose parts were merged and swapped."""
    finished: list[str] = field(default_factory=list)
    """Dates that an earlier run had not finished."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Dates that were skipped, and why."""
    wrong: bool = False
    """Whether any of these is not as the ledger says, or the disk is too full; the others can be compacted later."""
    rows: int = 0
    parts_before: int = 0
    parts_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


@contextmanager
def _alone(lake: Path) -> Iterator[None]:
    """One compaction of a lake at a time."""
    if not FOLDERS:
        raise StorageError("krakpot cannot lock a folder on this platform; compact the lake on Linux or macOS", lake)
    with locked(lake, exclusive=True) as obtained:
        if not obtained:
            raise StorageError("this lake is being compacted already; wait for that to end", lake)
        yield


def compact(
    path: str | Path,
    *,
    dates: str | Iterable[date] | None = None,
    grace: float = GRACE,
    now: datetime | None = None,
    sleep: Callable[[float], object] = time.sleep,
    step: seal.Step = _silent,
    progress: OnProgress = no_progress,
    note: Note = _silent,
) -> Report:
    """Merge the parts of past dates (default: all); waits ``grace`` seconds, then removes what was swapped out.

    Can be run at any time, any number of times, also beside a recorder. ``step`` is called with the name of each step,
    ``progress`` with the bytes of parts that are merged, and those of all parts that need it. ``ConfigError`` for a
    wrong argument.
    """
    lake = Folder(path)
    asked = None if dates is None else _asked(dates)
    if not isinstance(grace, (int, float)) or grace < 0:
        raise ConfigError(f"grace: {values.shown(grace)} is not allowed; allowed is a number of seconds")
    now = now or datetime.now(UTC)
    report = Report()
    with _alone(lake.path):
        try:
            seal.recover(lake.path, progress=lambda name: note(f"sealing {name}"))
            _finish(lake, report, step)
            _remove(lake, grace, None, step, note)
            here = sorted(_dates(lake) if asked is None else _dates(lake) & asked)
            if asked is not None and (absent := _absent(lake, asked, now)) is not None:
                report.skipped[absent[0]] = absent[1]
            total = sum(_load(_todo(lake, day)) for day in here if hindrance(lake, day, now) is None)
            work = Work(total, "bytes", progress)
            for day in here:
                folder = lake.path / FOLDER / f"date={day}"
                todo = _todo(lake, day)
                reason = hindrance(lake, day, now)
                if not todo:
                    if asked is not None and reason is not None:
                        report.skipped[str(day)] = reason
                    continue
                if reason is None and folder.exists():
                    reason = "its old parts still wait for their removal; run compact again"
                if reason is None:
                    reason = _Day(lake, day, folder, report, step, work).compact(todo)
                    report.wrong |= reason is not None
                if reason is not None:
                    report.skipped[str(day)] = reason
            _remove(lake, grace, sleep, step, note)
        except OSError as error:
            raise storage_error(error, "compact the lake", lake.path, "krakpot compact") from error
    return report


def days(text: str) -> list[date]:
    """Dates of ``2026-08-01,2026-08-03..2026-08-05``; ``ValueError`` says what is allowed."""
    found: list[date] = []
    for item in text.split(","):
        begin, dots, end = item.strip().partition("..")
        try:
            first = date.fromisoformat(begin)
            last = date.fromisoformat(end) if dots else first
        except ValueError:
            first, last = date.max, date.min
        if last < first < date.max:
            sentence = f"a range that ends after it begins, as {last}..{first}"
            raise ValueError(sentence)
        if last < first:
            sentence = "dates as 2026-08-01 or 2026-08-01..2026-08-31, several with commas between"
            raise ValueError(sentence)
        found += [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return found


def _asked(dates: str | Iterable[date]) -> set[date]:
    """The dates that a caller names."""
    if isinstance(dates, str):
        return set(values.read(days, dates, "dates"))
    asked = list(dates) if isinstance(dates, Iterable) else [dates]
    if not all(isinstance(day, date) and not isinstance(day, datetime) for day in asked):
        raise ConfigError(f"dates: {values.shown(dates)} is not allowed; allowed is dates as datetime.date(2026, 8, 1)")
    return set(asked)


def _absent(lake: Folder, asked: set[date], now: datetime) -> tuple[str, str] | None:
    """Dates that were asked for and have no part, and why: today, or all of them."""
    absent = asked - _dates(lake)
    if now.date() not in absent and absent != asked:
        return None
    first = now.date() if now.date() in absent else min(absent, default=None)
    if first is None:
        return None
    words = str(first) if first == max(absent) or first == now.date() else f"{first}..{max(absent)}"
    return words, hindrance(lake, first, now) or "the lake has no part of it"


def _dates(lake: Folder) -> set[date]:
    return {part.date for table in _core.TABLES for part in lake.parts(table)}


def midnight(day: date) -> datetime:
    """The begin of a date, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def hindrance(lake: Folder, day: date, now: datetime) -> str | None:
    """Why rows of this date may still be added; None if not."""
    end = midnight(day) + timedelta(days=1)
    if now < end + LATE:
        return "it is not over, or not for an hour"
    for name in journal.journal_names(lake.path):
        if name.begun < end + LATE:
            return f"{name.path.name} may hold rows of it and is not sealed"
    return None


def _mergeable(parts: list[Part]) -> bool:
    """Whether these parts of one session, table and date are more than there need be."""
    return len(parts) > 1 and not all(part.compacted for part in parts)


def _by_session(parts: Iterable[Part]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.session].append(part)
    return found


def _todo(lake: Folder, day: date) -> dict[str, dict[str, list[Part]]]:
    """Parts of the tables that need merging, by table and session."""
    found = {}
    for table in _core.TABLES:
        sessions = _by_session(part for part in lake.parts(table) if part.date == day)
        if any(_mergeable(parts) for parts in sessions.values()):
            found[table] = sessions
    return found


def _passes(parts: int) -> int:
    """How often the rows of this number of parts are written."""
    passes = 1
    while parts > FAN:
        parts = -(-parts // FAN)
        passes += 1
    return passes


def _size(parts: Iterable[Part]) -> int:
    return sum(part.path.stat().st_size for part in parts)


def _load(todo: dict[str, dict[str, list[Part]]]) -> int:
    """Bytes that are merged, counted once for each pass. The ledger is small."""
    sessions = (parts for table, found in todo.items() if table != "ledger" for parts in found.values())
    return sum(_size(parts) * _passes(len(parts)) for parts in sessions if _mergeable(parts))


class _Day:
    """Compaction of one date."""

    def __init__(self, lake: Folder, day: date, folder: Path, report: Report, step: seal.Step, work: Work) -> None:
        self.lake = lake
        self.day = day
        self.folder = folder
        self.report = report
        self.step = step
        self.work = work
        self.named: dict[str, dict[str, Any]] = {}
        """What the ledger says of each part of the date: path within the lake, facts and rows."""
        self.made: dict[str, list[tuple[seal.SealedPart, set[int]]]] = defaultdict(list)
        """New parts of each session, with the numbers of the journals whose rows they hold."""
        self.plan: dict[str, Any] = {"tables": {}, "swapped": None}

    def compact(self, todo: dict[str, dict[str, list[Part]]]) -> str | None:
        """Build, plan, swap; or a reason why not."""
        self._read_ledger()
        reason = self._wrong(todo) or self._room(todo)
        if reason is not None:
            return reason
        try:
            self._build(todo)
            _write_plan(self.folder, self.plan)
        except BaseException:
            # The room may be needed by a recorder. (A crash of the machine leaves it to the next run.)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.step("planned")
        for table, facts in self.plan["tables"].items():
            self.report.parts_before += len(facts["old"])
            self.report.parts_after += len(facts["new"])
            self.report.bytes_before += sum((self._final(table) / name).stat().st_size for name in facts["old"])
            self.report.bytes_after += sum((self.folder / table / name).stat().st_size for name in facts["new"])
        _swap(self.lake, self.folder, self.plan, self.step)
        self.report.compacted.append(str(self.day))
        return None

    def _final(self, table: str) -> Path:
        return self.lake.path / table / self.folder.name

    def _read_ledger(self) -> None:
        # A journal that crossed midnight is named in the next day's ledger.
        days = (self.day, self.day + timedelta(days=1))
        paths = [part.path for part in self.lake.parts("ledger") if part.date in days]
        ledger = pl.scan_parquet(paths, hive_partitioning=False)
        rows = ledger.filter(pl.col("kind").is_in(["sealed", "compacted"])).select("detail", "count").collect()
        for text, count in rows.iter_rows():
            facts = detail(text)
            self.named[str(facts["part"])] = facts | {"rows": count}

    def _wrong(self, todo: dict[str, dict[str, list[Part]]]) -> str | None:
        """Why the date must not be compacted: a part is not what the ledger says; writing it again would hide that."""
        for table in {*todo, "ledger"}:
            # Files that are no parts go along; a folder would go with the old parts.
            if (final := self._final(table)).exists() and not all(path.is_file() for path in final.iterdir()):
                return f"{table}/{final.name} has a folder in it"
        for parts in (parts for table, sessions in todo.items() if table != "ledger" for parts in sessions.values()):
            for part in parts if _mergeable(parts) else []:
                name = part.name
                facts = self.named.get(name)
                if facts is None:
                    return f"the ledger does not name {name}; `krakpot verify` says more"
                if facts.get("sha256") not in (None, digest(part.path)):
                    return f"{name} is not the file that was sealed; `krakpot verify` says more"
        return None

    def _room(self, todo: dict[str, dict[str, list[Part]]]) -> str | None:
        """Why there is too little room: new parts are beside the old ones, and twice if they need several passes."""
        need = 0
        for parts in (parts for sessions in todo.values() for parts in sessions.values() if _mergeable(parts)):
            need += _size(parts) * min(2, _passes(len(parts)))
        free = shutil.disk_usage(self.lake.path).free
        return f"it needs {need:,} bytes and the disk has {free:,}" if need > free else None

    # Building.

    def _build(self, todo: dict[str, dict[str, list[Part]]]) -> None:
        self.folder.mkdir(parents=True)
        for table, sessions in todo.items():
            if table != "ledger":
                (self.folder / table).mkdir()
                for session, parts in sessions.items():
                    self._session(table, session, parts)
                self._plan(table, [part for parts in sessions.values() for part in parts])
                self.step(f"built {table}")
        self._ledger()
        self.step("built ledger")
        for folder in (*(self.folder / table for table in self.plan["tables"]), self.folder, self.folder.parent):
            sync_folder(folder)
        sync_folder(self.lake.path)

    def _plan(self, table: str, parts: list[Part]) -> None:
        new = sorted(path.name for path in (self.folder / table).iterdir())
        self.plan["tables"][table] = {"old": sorted(part.path.name for part in parts), "new": new}

    def _session(self, table: str, session: str, parts: list[Part]) -> None:
        """Merge the parts of a session, or take them over where there is nothing to merge."""
        if not _mergeable(parts):
            self._take_over(table, parts)
            return
        numbers: set[int] = set()
        for part in parts:
            name = part.name
            numbers |= expand_ranges(self.named[name]["journals"]) if part.compacted else {part.number}
        paths = [part.path for part in parts]
        rows = sum(pq.read_metadata(path).num_rows for path in paths)
        row_bytes = _size(parts) / max(1, rows)
        number = _next_number(parts)
        passes = 0
        while len(paths) > FAN:
            passes += 1
            paths = [
                self._write(table, paths[n : n + FAN], row_bytes, self.folder / f".pass{passes}-{n}", None)[0].path
                for n in range(0, len(paths), FAN)
            ]
        written = self._write(table, paths, row_bytes, self.folder / table / ".new", PART_ROWS)
        if sum(new.rows for new in written) != rows:
            became = f"{counted(rows, 'row')} became {sum(new.rows for new in written):,}"
            sentence = f"{table} of {self.day}: {became}; nothing was changed"
            raise StorageError(sentence, self.lake.path)
        for n, new in enumerate(written):
            self.made[session].append((self._name(table, session, number + n, new), numbers))
        self.report.rows += rows

    def _take_over(self, table: str, parts: list[Part]) -> None:
        for part in parts:
            os.link(part.path, self.folder / table / part.path.name)

    def _write(
        self, table: str, paths: list[Path], row_bytes: float, begin: Path, rows_max: int | None
    ) -> list[_Written]:
        """Merge parts into files of up to ``rows_max`` rows; the names begin with ``begin``.

        ``row_bytes``: bytes of a row in the parts of the day, for the progress.
        """
        frames = whole(merged(paths, table, failed=_unreadable), ROW_GROUP)
        frame = next(frames, None)
        written: list[_Written] = []
        while frame is not None:
            new = _Written(begin.with_name(f"{begin.name}-{len(written)}.tmp"))
            with part_writer(frame, new.path) as writer:
                while frame is not None and (rows_max is None or new.rows + frame.height <= rows_max):
                    writer.write_table(frame.to_arrow(), row_group_size=frame.height)
                    new.add(frame)
                    self.work.add(row_bytes * frame.height)
                    frame = next(frames, None)
            sync_file(new.path)
            written.append(new)
        for path in paths:
            if path.parent == self.folder:
                # Of the pass before.
                path.unlink()
        return written

    def _name(self, table: str, session: str, number: int, new: _Written) -> seal.SealedPart:
        """Give a file its name as a part."""
        name = f"{stamp(new.ts_from):%H%M%S}-{session}-{COMPACTED}{number}.parquet"
        path = self.folder / table / name
        new.path.rename(path)
        part = f"{table}/{self.folder.name}/{name}"
        return seal.SealedPart(table, part, new.rows, new.first, new.last, new.ts_from, new.ts_to, digest(path))

    def _ledger(self) -> None:
        """Write the ledger of every session with new parts: it names them."""
        (self.folder / "ledger").mkdir()
        old = [part for part in self.lake.parts("ledger") if part.date == self.day]
        sessions = _by_session(old)
        for session in sorted({*sessions, *self.made}):
            parts = sessions.get(session, [])
            if session not in self.made and not _mergeable(parts):
                self._take_over("ledger", parts)
                continue
            frame = pl.concat(
                [
                    pl.DataFrame(schema=polars_schema("ledger")),
                    *merged([part.path for part in parts], "ledger", failed=_unreadable),
                ]
            )
            # Parts that a run which was not finished named.
            void = [
                kind == "compacted" and not (self.lake.path / str(detail(text)["part"])).exists()
                for kind, text in frame.select("kind", "detail").iter_rows()
            ]
            frame = frame.filter(~pl.Series(void, dtype=pl.Boolean))
            rows = _rows(session, self.made[session], int((frame["kind"] == "compacted").sum()))
            frame = pl.concat([frame, rows]).sort(order("ledger"), maintain_order=True)
            new = _Written(self.folder / "ledger" / ".new.tmp")
            write_part(frame, new.path)
            new.add(frame)
            self._name("ledger", session, _next_number(parts), new)
        self._plan("ledger", old)


@dataclass
class _Written:
    """A file that was written."""

    path: Path
    rows: int = 0
    first: int | None = None
    """First and last message."""
    last: int | None = None
    ts_from: int = 0
    ts_to: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Add the numbers and times of these rows."""
        times = frame["ts_recv"].to_physical()
        begin, end = int(times.min()), int(times.max())  # type: ignore[arg-type]  # there are rows, each with its time
        self.ts_from = min(self.ts_from, begin) if self.rows else begin
        self.ts_to = max(self.ts_to, end)
        self.rows += frame.height
        numbers = frame["message"].drop_nulls()
        if len(numbers):
            low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]  # whole numbers
            self.first = low if self.first is None else min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)


def _rows(session: str, made: list[tuple[seal.SealedPart, set[int]]], begin: int) -> pl.DataFrame:
    """Rows of the ledger that name the new parts, at the time of the last row: a second run gives the same."""
    now = max((part.ts_to for part, _ in made), default=0)
    message = max((part.last for part, _ in made if part.last is not None), default=None)
    rows = [
        {
            "session": session, "message": message, "entry": COMPACT_ENTRY + n, "ts_recv": now,
            "kind": "compacted", "ts_from": part.ts_from, "ts_to": part.ts_to, "count": part.rows,
            "detail": json.dumps(
                {
                    "table": part.table, "part": part.part, "first": part.first, "last": part.last,
                    "journals": ranges(numbers), "sha256": part.sha256,
                },
                separators=(",", ":"),
            ),
        }
        for n, (part, numbers) in enumerate(made, begin)
    ]  # fmt: skip
    return ledger_frame(rows)


def _next_number(parts: list[Part]) -> int:
    """A number that no compacted part of this session, table and date has."""
    return max((part.number for part in parts if part.compacted), default=-1) + 1


def _unreadable(path: Path, error: Exception) -> None:
    reason = str(error).partition("\n")[0]
    raise StorageError(f"a part cannot be read ({reason}); `krakpot verify` says more", path) from error


# Swapping.


def _write_plan(folder: Path, plan: dict[str, Any]) -> None:
    hidden = folder / f".{PLAN}"
    hidden.write_text(json.dumps(plan) + "\n")
    sync_file(hidden)
    hidden.replace(folder / PLAN)
    sync_folder(folder)


def _read_plan(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / PLAN).read_text()))
    except FileNotFoundError:
        return None


def _folders(lake: Folder) -> list[Path]:
    return sorted((lake.path / FOLDER).glob("date=*"))


def _finish(lake: Folder, report: Report, step: seal.Step) -> None:
    """Finish what a crash interrupted."""
    for folder in _folders(lake):
        plan = _read_plan(folder)
        if plan is None:
            shutil.rmtree(folder)
        elif plan["swapped"] is None:
            _swap(lake, folder, plan, step)
            report.finished.append(folder.name.removeprefix("date="))


def _swap(lake: Folder, folder: Path, plan: dict[str, Any], step: seal.Step) -> None:
    """Exchange the folders: the ledger's first, since it is right with the old parts and with the new ones."""
    with hold(lake.path, exclusive=True):
        for table in sorted(plan["tables"], key=lambda table: table != "ledger"):
            new, final = folder / table, lake.path / table / folder.name
            old_names, new_names = (set(plan["tables"][table][which]) for which in ("old", "new"))
            here = {path.name for path in final.iterdir()} if final.exists() else set()
            if here & (new_names - old_names):
                continue
            for name in here - old_names:
                # Sealed since: it goes along.
                if not (new / name).exists():
                    os.link(final / name, new / name)
            sync_folder(new)
            step(f"linked {table}")
            _exchange(lake, new, final, step)
            sync_folder(final.parent)
            sync_folder(folder)
            step(f"swapped {table}")
    plan["swapped"] = time.time()
    _write_plan(folder, plan)
    step("swapped")


@cache
def _renameat2() -> Callable[..., int] | None:
    """The C library's function, or None where there is none."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _exchange(lake: Folder, new: Path, final: Path, step: seal.Step) -> None:
    """Put ``new`` where ``final`` is, in one step where the system can."""
    if final.exists():
        function = _renameat2()
        if function is not None and not function(
            AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(final), RENAME_EXCHANGE
        ):
            return
        code = errno.ENOSYS if function is None else ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code), str(final))
        if any(_owned(path) for path in journal.journals(lake.path)):
            raise StorageError(
                "this file system cannot exchange two folders in one step; stop the recorder, then compact", lake.path
            )
        final.rename(new.with_name(f".{new.name}.{time.time_ns()}"))
        step(f"aside {final.parent.name}")
    final.parent.mkdir(exist_ok=True)
    new.rename(final)


def _owned(path: Path) -> bool:
    handle = journal.lock(path)
    if handle is not None:
        os.close(handle)
    return handle is None


def _remove(lake: Folder, grace: float, sleep: Callable[[float], object] | None, step: seal.Step, note: Note) -> None:
    """Remove what was swapped out once its time is over; without ``sleep`` only where it is over."""
    for folder in _folders(lake):
        plan = _read_plan(folder)
        if plan is None:
            continue
        left = min(grace, plan["swapped"] + grace - time.time())
        if left > 0:
            if sleep is None:
                continue
            note(f"the old parts of {folder.name.removeprefix('date=')} are removed in {left:.0f} s")
            sleep(left)
        shutil.rmtree(folder)
        step(f"removed {folder.name}")
    with suppress(OSError):
        # Not empty, or not there.
        (lake.path / FOLDER).rmdir()

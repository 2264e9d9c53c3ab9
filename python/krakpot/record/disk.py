"""Space on the disk: how much is left, and which days are old enough to be removed.

``Keeper`` runs beside a recording. Every second it checks the free space, so that the recording ends in order while
there is enough left to seal what was written. Every hour it removes the days that are older than ``--keep`` and writes
the quality of this machine's clock to the ledger.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import StorageError, words_of
from krakpot.lake import journal
from krakpot.lake.compact import hindrance, midnight
from krakpot.lake.format import hold, storage_error
from krakpot.lake.lake import Lake
from krakpot.log import LogLine, size
from krakpot.record import clock as hostclock

FOLDER = "_expired"
LOOK = 1.0
"""Seconds between two looks at the free space."""
NEAR = 2_000_000_000
"""Bytes above ``--min-free`` below which the disk is nearly full: the full feed takes two hours to write them."""
HOUR = 3600.0
AGAIN = 60.0
"""Seconds until another attempt to remove days, where somebody was reading the lake."""


def check_room(lake: Path, least: int) -> int:
    """Free bytes for this user; ``StorageError`` if these are fewer than ``least``, or the lake is gone."""
    try:
        free = shutil.disk_usage(lake).free
    except OSError as error:
        raise storage_error(error, "look at the lake", lake) from error
    if free < least:
        raise StorageError(
            f"the disk has {size(free)} left, less than the {size(least)} of --min-free; "
            "make room, or let --keep remove old days, then record again",
            lake,
        )
    return free


@dataclass(frozen=True)
class Removed:
    """A day that was removed."""

    day: date
    parts: int
    bytes: int


class RemovalError(StorageError):
    """Old days could not be removed, or only some of them."""

    def __init__(self, error: OSError, removed: list[Removed], lake: Path) -> None:
        """``removed`` are those that are no longer in the tables."""
        where = Path(error.filename or lake)
        super().__init__(
            f"old days cannot be removed: {words_of(error)}; do all files in it belong to the recorder?", where
        )
        self.removed = removed


def expire(lake: Path, keep: timedelta, now: datetime) -> list[Removed] | None:
    """Remove the whole dates that ended ``keep`` ago or earlier.

    A day with a journal that is not sealed stays, and so does today, however short ``keep`` is.

    Returns
    -------
    list of Removed, or None
        The days that were removed; None if somebody is reading the lake at this moment.

    Raises
    ------
    RemovalError
        The system does not allow it. The next call continues.

    """
    opened = Lake(lake)
    days = sorted({part.date for table in _core.TABLES for part in opened.parts(table)})
    old = [
        day for day in days if midnight(day) + timedelta(days=1) + keep <= now and hindrance(opened, day, now) is None
    ]
    aside = lake / FOLDER
    if not old and not aside.exists():
        return []
    with hold(lake, exclusive=True, wait=False) as had:
        if not had:
            return None
        removed: list[Removed] = []
        try:
            for day in old:
                folders = [folder for table in _core.TABLES if (folder := lake / table / f"date={day}").exists()]
                files = [path.stat().st_size for folder in folders for path in folder.iterdir()]
                # First out of the tables, which takes no time: so a crash never leaves half a day there.
                target = aside / f"{day}-{time.time_ns()}"
                target.mkdir(parents=True)
                for folder in folders:
                    folder.rename(target / folder.parent.name)
                removed.append(Removed(day, len(files), sum(files)))
            shutil.rmtree(aside)
        except OSError as error:
            raise RemovalError(error, removed, lake) from error
    return removed


class Keeper:
    """Looks after the disk and the clock while a recording runs."""

    def __init__(self, config: Config, session: Callable[[], _core.Session], log: Callable[[str], None]) -> None:
        """``session`` returns the session whose ledger gets the rows, ``log`` takes log lines."""
        self.config = config
        self.session = session
        self.log = log
        self._near = False
        """Whether it was reported that the disk is nearly full."""

    async def run(self) -> None:
        """Run until cancelled; raises ``StorageError`` when the disk has no room left."""
        if self.clock().get("synchronised") is False:
            self.log("this machine's clock is not synchronised with a time server, so receive times may be wrong")
        days = time.monotonic()
        clock = days + HOUR
        while True:
            now = time.monotonic()
            self._report_room(check_room(self.config.out, self.config.min_free))
            if now >= clock:
                clock = now + HOUR
                self.clock()
            if self.config.keep is not None and now >= days:
                days = now + (HOUR if await self._expire(timedelta(seconds=self.config.keep)) else AGAIN)
            await asyncio.sleep(LOOK)

    def _report_room(self, free: int) -> None:
        """Log that the disk is nearly full, once until there is room again."""
        above = free - self.config.min_free
        if above < NEAR and not self._near:
            self._near = True
            least = size(self.config.min_free)
            sentence = f"the disk has {size(free)} left; the recording ends in order at {least} (--min-free)"
            self.log(LogLine(sentence, "disk_low", "warning", free=free))
        elif above > NEAR + NEAR // 4:
            self._near = False

    def clock(self) -> dict[str, bool | int | str]:
        """Write the quality of the clock to the ledger."""
        facts = hostclock.quality(hostclock.kernel())
        if facts:
            self.session().add_ledger_row("clock", time.time_ns(), detail=json.dumps(facts, separators=(",", ":")))
        return facts

    async def _expire(self, keep: timedelta) -> bool:
        """Remove old days. Returns False if somebody was reading the lake."""
        try:
            removed = await asyncio.to_thread(expire, self.config.out, keep, datetime.now(UTC))
        except RemovalError as error:
            # The recording is more important: it goes on until there is no room left.
            self.log(LogLine(f"{error}; the next attempt is in an hour", "removal_failed", "error", error=str(error)))
            removed = error.removed
        for day in removed or []:
            begin = round(midnight(day.day).timestamp()) * 1_000_000_000
            detail = json.dumps({"date": str(day.day), "bytes": day.bytes}, separators=(",", ":"))
            self.session().add_ledger_row(
                "removed", time.time_ns(), ts_from=begin, ts_to=begin + journal.DAY, count=day.parts, detail=detail
            )
            self.log(f"removed {day.day}, which is older than --keep: {day.parts:,} parts, {size(day.bytes)}")
        return removed is not None

"""Room on the disk: what is left of it, and which days were kept long enough.

``Keeper`` runs beside a recording: every second it looks whether there is room, so that the recording ends in order
while there is still enough to seal what was written; every hour it removes the days that are older than ``--keep`` and
writes into the ledger how good this machine's clock is.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import StorageError
from krakpot.lake import journal
from krakpot.lake.compact import hindrance, midnight
from krakpot.lake.format import hold, storage_error
from krakpot.lake.lake import Lake
from krakpot.log import LogLine
from krakpot.record import clock as hostclock

FOLDER = "_expired"
LOOK = 1.0
"""Seconds between two looks at the room on the disk."""
HOUR = 3600.0
AGAIN = 60.0
"""Seconds until days are removed that somebody was just reading."""


def check_room(lake: Path, least: int) -> None:
    """Raise ``StorageError`` where the disk has less than ``least`` bytes for us, or the lake is gone."""
    try:
        found = os.statvfs(lake)
    except OSError as error:
        raise storage_error(error, "look at the lake", lake) from error
    free = found.f_bavail * found.f_frsize
    if free < least:
        raise StorageError(
            f"the disk has {free / 1e9:.2f} GB left, less than --min-free, {least / 1e9:.2f} GB; "
            "make room, or let --keep remove old days, then record again",
            lake,
        )


@dataclass(frozen=True)
class Removed:
    """A day that was removed."""

    day: date
    parts: int
    bytes: int


class RemovalError(StorageError):
    """Old days could not be removed, or not all of them."""

    def __init__(self, error: OSError, removed: list[Removed], lake: Path) -> None:
        """``removed`` are out of the tables all the same."""
        where = Path(error.filename or lake)
        super().__init__(f"old days cannot be removed: {error.strerror or error}; is all in it the recorder's?", where)
        self.removed = removed


def expire(lake: Path, keep: timedelta, now: datetime) -> list[Removed] | None:
    """Remove the whole dates that ended ``keep`` ago or earlier; None if somebody is reading the lake just now.

    A day of which a journal is not sealed stays, and so does today, however short ``keep`` is. ``RemovalError`` where
    the system does not let us; the next call goes on.
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
                # Out of the tables first, which takes no time: a crash leaves no day half there.
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
    """What is looked after while a recording goes on."""

    def __init__(self, config: Config, session: Callable[[], _core.Session], log: Callable[[str], None]) -> None:
        """``session`` gives the one whose ledger tells of it, ``log`` takes log lines."""
        self.config = config
        self.session = session
        self.log = log

    async def run(self) -> None:
        """Go on until cancelled; ``StorageError`` when there is no room any more."""
        if self.clock().get("synchronised") is False:
            self.log("no time server keeps this machine's clock: receive times are as good as it is")
        days = time.monotonic()
        clock = days + HOUR
        while True:
            now = time.monotonic()
            check_room(self.config.out, self.config.min_free)
            if now >= clock:
                clock = now + HOUR
                self.clock()
            if self.config.keep is not None and now >= days:
                days = now + (HOUR if await self._expire(timedelta(seconds=self.config.keep)) else AGAIN)
            await asyncio.sleep(LOOK)

    def clock(self) -> dict[str, bool | int | str]:
        """Write down how good the clock is."""
        facts = hostclock.quality(hostclock.kernel())
        if facts:
            self.session().add_ledger_row("clock", time.time_ns(), detail=json.dumps(facts, separators=(",", ":")))
        return facts

    async def _expire(self, keep: timedelta) -> bool:
        """Remove old days; whether that could be done."""
        try:
            removed = await asyncio.to_thread(expire, self.config.out, keep, datetime.now(UTC))
        except RemovalError as error:
            # What is recorded now matters more: that ends where there is no room any more.
            self.log(LogLine(f"{error}; tried again in an hour", "removal_failed", "error", error=str(error)))
            removed = error.removed
        for day in removed or []:
            begin = round(midnight(day.day).timestamp()) * 1_000_000_000
            detail = json.dumps({"date": str(day.day), "bytes": day.bytes}, separators=(",", ":"))
            self.session().add_ledger_row(
                "removed", time.time_ns(), ts_from=begin, ts_to=begin + journal.DAY, count=day.parts, detail=detail
            )
            self.log(f"removed {day.day}, which is older than --keep: {day.parts:,} parts, {day.bytes / 1e9:.2f} GB")
        return removed is not None

"""Rows of parts, and rows of book messages in their order of application, in bounded memory.

``MessageReader`` is the one reader of book messages: for the proof, for books at a time, for the comparison of
channels. It gives frames that are sorted by symbol, message and entry; no message is in two frames, and the messages of
a symbol come in ascending order from frame to frame. A frame has about ``ROWS`` rows at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from krakpot.lake.folder import View
from krakpot.lake.format import UNREADABLE, BookKind, Part, polars_schema, unreadable
from krakpot.lake.journal import JournalName
from krakpot.lake.merge import merged, whole
from krakpot.values import nanoseconds

ROWS = 1_000_000
"""Rows that are read at a time where parts are compacted, or where small ones are read together."""
ENOUGH = 32_768
"""Rows of a chosen symbol that are worth a frame of their own: the core finds them in the caches of the processor."""
MESSAGE_MAX = 2**63 - 1
EARLIEST, LATEST = -(2**63), 2**63 - 1
"""Times, ns."""

Failed = Callable[[Path, BaseException], None]


class PartReader:
    """Reads columns of parts; a part that cannot be read is told once and left out from then on."""

    def __init__(self, failed: Failed = unreadable) -> None:
        """``failed`` is told of a part that cannot be read; if it returns, the others go on."""
        self.unreadable: set[Path] = set()
        self._failed = failed

    def read(
        self,
        parts: Iterable[Part],
        table: str,
        columns: Collection[str],
        *where: pl.Expr,
        rows: tuple[int, int] | None = None,
    ) -> pl.DataFrame:
        """Columns of parts of a table, of rows that meet ``where``; ``rows``: only these (offset, number) of each."""
        schema = pl.Schema({name: kind for name, kind in polars_schema(table).items() if name in columns})

        def read(paths: list[Path]) -> pl.DataFrame:
            lazy = pl.scan_parquet(paths, hive_partitioning=False)
            lazy = (lazy if rows is None else lazy.slice(*rows)).filter(*where)
            frame = lazy.select(schema.names()).collect()
            return frame if frame.schema == schema else frame.cast(schema)

        paths = [part.path for part in parts if part.path not in self.unreadable]
        if rows is None and len(paths) > 1:
            # All at once is faster. One that cannot be read, or has another schema, fails for all: then one by one.
            with suppress(*UNREADABLE):
                return read(paths)
        frames = []
        for path in paths:
            try:
                frames.append(read([path]))
            except UNREADABLE as error:
                self.failed(path, error)
        return pl.concat(frames) if frames else pl.DataFrame(schema=schema)

    def failed(self, path: Path, error: BaseException) -> None:
        """Take note of a part that cannot be read."""
        if path not in self.unreadable:
            self.unreadable.add(path)
            self._failed(path, error)


class _Group(NamedTuple):
    """One row group: where it is, and what its statistics say; a bound is the widest where they say nothing."""

    begin: int
    rows: int
    first: int
    last: int
    begun: int
    """The earliest receive time, ns."""


class Groups(NamedTuple):
    """Row groups of a part that may hold what is wanted, by their statistics."""

    first: int
    """First and last message in them."""
    last: int
    rows: int
    each: list[_Group]
    alone: bool
    """Whether they are all of the part, and it has no other symbol."""


class _Unit(NamedTuple):
    """Parts whose messages overlap, and the checkpoints that belong to them; or a journal."""

    messages: list[Part]
    checkpoints: list[Part]
    rows: int = 0
    alone: bool = True
    """Whether its messages are all of the chosen symbol."""
    journal: JournalName | None = None

    @property
    def begun(self) -> datetime:
        """When its first part, or journal, was begun, to the second."""
        parts = self.messages or self.checkpoints
        return self.journal.begun if self.journal is not None else min(part.begun for part in parts)


class MessageReader:
    """Rows of the messages of one kind of book, and of its checkpoints, of one session."""

    def __init__(
        self,
        view: View,
        session: str,
        kind: BookKind,
        *,
        columns: Collection[str] = (),
        symbols: Collection[str] | None = None,
        reader: PartReader | None = None,
        spans: Mapping[Path, tuple[int, int]] | None = None,
        metadata: Callable[[Path], pq.FileMetaData] = pq.read_metadata,
    ) -> None:
        """Read what ``view`` has of the session: its parts, then its journals.

        Parameters
        ----------
        view
            The lake at one moment; it has the tables of ``kind``.
        session, kind
            Whose rows, and of which books.
        columns
            Columns of the messages beside ``kind.message_columns``.
        symbols
            Only these symbols; None: all.
        reader
            Reads the parts; by default a part that cannot be read is a ``StorageError``.
        spans
            First and last message of parts, where they are known; else the parts tell.
        metadata
            Reads what a part says of its row groups; several readers may share what was read.

        """
        self.view = view
        self.session = session
        self.kind = kind
        self.columns = [*kind.message_columns, *columns]
        self.symbols = None if symbols is None else sorted(symbols)
        self.reader = reader or PartReader()
        self.spans = spans or {}
        self._metadata = metadata
        self._groups: dict[Path, Groups | None] = {}
        self._found_parts: dict[str, list[tuple[int, int, Part]]] = {}
        self._finding = Lock()

    def frames(
        self,
        first: int = 0,
        until: int | None = None,
        *,
        since: datetime | None = None,
        before: datetime | None = None,
        checkpoints: bool = True,
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        """Tables and rows, in an order in which the core can take them: checkpoints of a symbol before its messages.

        ``first`` and ``until``: messages from ``first`` to before ``until``. ``since`` and ``before``: only units of
        parts that may hold rows received between, from the last unit that was begun at ``since`` or earlier; of
        compacted ones all rows but those of row groups that were begun at ``before`` or later. Without ``checkpoints``
        only messages.
        """
        until = MESSAGE_MAX if until is None else until
        for unit in self._chosen(first, until, since, before):
            if unit.journal is not None:
                yield from self._unsealed(unit.journal, first, until, checkpoints=checkpoints)
            elif checkpoints:
                yield from self._together(unit, first, until, before)
            else:
                frames = self._rows(self.kind.messages, self.columns, unit.messages, unit.rows, first, until, before)
                yield from ((self.kind.messages, frame) for frame in frames)

    def _together(
        self, unit: _Unit, first: int, until: int, before: datetime | None
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        """Rows of both tables of a unit; all checkpoints of a symbol go before its messages, later symbols may wait."""
        kind = self.kind
        counted = unit.checkpoints if self.symbols is not None else []
        rows = sum(groups.rows for part in counted if (groups := self._found(part)) is not None)
        all_marks = self._rows(kind.checkpoints, kind.checkpoint_columns, unit.checkpoints, rows, first, until, before)
        given: str | None = ""
        for frame in self._rows(kind.messages, self.columns, unit.messages, unit.rows, first, until, before):
            last = str(frame["symbol"][-1])
            while given is not None and given <= last:
                marks = next(all_marks, None)
                given = None if marks is None else str(marks["symbol"][-1])
                if marks is not None:
                    yield kind.checkpoints, marks
            yield kind.messages, frame
        for marks in all_marks:
            yield kind.checkpoints, marks

    # Units.

    def _chosen(self, first: int, until: int, since: datetime | None, before: datetime | None) -> list[_Unit]:
        """The units that hold what is wanted, in order."""
        units = self._units(first, until)
        if since is not None:
            early = [n for n, unit in enumerate(units) if unit.begun <= since]
            units = units[early[-1] :] if early else units
        # A journal has rows that were received before it was begun.
        return self._joined([unit for unit in units if before is None or unit.journal or unit.begun < before])

    def _joined(self, units: list[_Unit]) -> list[_Unit]:
        """Small units as one, where symbols are chosen: up to ``ROWS`` rows, for few of them may be of these symbols.

        That takes half the time. Where all rows are of the symbol, ``ENOUGH`` are enough, and more would be slower.
        """
        joined: list[_Unit] = []
        for unit in units:
            last = joined[-1] if joined and self.symbols is not None else None
            most = ENOUGH if last is not None and (last.alone or unit.alone) else ROWS
            if last is None or last.journal or unit.journal or last.rows + unit.rows > most:
                joined.append(unit)
            else:
                messages, checkpoints = last.messages + unit.messages, last.checkpoints + unit.checkpoints
                joined[-1] = _Unit(messages, checkpoints, last.rows + unit.rows, last.alone and unit.alone)
        return joined

    def _units(self, first: int, until: int) -> list[_Unit]:
        """Parts of messages whose numbers overlap belong together; checkpoints go with the first unit they concern.

        A unit is a journal, a compacted day, or both sides of a midnight at which the clock was set back.
        """
        units: list[_Unit] = []
        begins: list[int] = []
        end = -1
        for low, high, part in self._parts(self.kind.messages):
            if high < first or low >= until:
                continue
            if low > end or not units:
                units.append(_Unit([], []))
                begins.append(low)
            last, groups = units[-1], self._groups.get(part.path)
            last.messages.append(part)
            if groups is not None:
                units[-1] = last._replace(rows=last.rows + groups.rows, alone=last.alone and groups.alone)
            end = max(end, high)
        for low, high, part in self._parts(self.kind.checkpoints):
            if high < first or low >= until:
                continue
            if not units:
                units.append(_Unit([], []))
                begins.append(low)
            units[max(bisect_right(begins, low) - 1, 0)].checkpoints.append(part)
        for name in self.view.journals:
            if name.session == self.session:
                # Most often the last ones; but a journal that cannot be sealed is passed by.
                later = (n for n, unit in enumerate(units) if _behind(unit, name))
                units.insert(next(later, len(units)), _Unit([], [], journal=name))
        return [unit for unit in units if unit.messages or unit.checkpoints or unit.journal]

    def _parts(self, table: str) -> list[tuple[int, int, Part]]:
        """First and last message of each part that may hold what is wanted, in order."""
        # Several threads may ask at the same time; one finds out for all.
        with self._finding:
            if table not in self._found_parts:
                found = []
                for part in self.view.of(table, self.session):
                    if self.symbols is None and part.path in self.spans:
                        found.append((*self.spans[part.path], part))
                    elif (groups := self._found(part)) is not None:
                        found.append((groups.first, groups.last, part))
                self._found_parts[table] = sorted(found)
            return self._found_parts[table]

    def _found(self, part: Part) -> Groups | None:
        if part.path not in self._groups:
            try:
                self._groups[part.path] = groups_of(self._metadata(part.path), self.symbols)
            except UNREADABLE as error:
                self.reader.failed(part.path, error)
                self._groups[part.path] = None
        return self._groups[part.path]

    # Rows.

    def _rows(
        self,
        table: str,
        columns: list[str],
        parts: list[Part],
        rows: int,
        first: int,
        until: int,
        before: datetime | None,
    ) -> Iterator[pl.DataFrame]:
        """Rows of parts that belong together, in order, no message in two frames."""
        parts = [part for part in parts if part.path not in self.reader.unreadable]
        where = self._where(first, until, parts)
        if (len(parts) == 1 and not parts[0].compacted) or (self.symbols is not None and rows <= ROWS):
            frame = self.reader.read(parts, table, columns, *where)
            if frame.height:
                yield frame if len(parts) == 1 else self._sorted(frame)
        elif all(part.compacted for part in parts) and len({part.date for part in parts}) == 1:
            # One after the other they are in order.
            in_order = sorted(parts, key=lambda part: part.number)
            end = LATEST if before is None else nanoseconds(before)
            runs = ((part, run) for part in in_order for run in self._runs(part, first, until, end))
            pieces = (
                self.reader.read([part], table, columns, *where, rows=run)
                for part, run in runs
                if part.path not in self.reader.unreadable
            )
            yield from whole(pieces, ROWS)
        else:
            paths = [part.path for part in parts]
            frames = merged(paths, table, columns=columns, failed=self.reader.failed)
            yield from whole((frame.filter(*where) for frame in frames), ROWS)

    def _sorted(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.symbols is not None and len(self.symbols) == 1:
            return frame if frame["message"].is_sorted() else frame.sort("message", "entry")
        return frame.sort("symbol", "message", "entry")

    def _runs(self, part: Part, first: int, until: int, end: int) -> Iterator[tuple[int, int]]:
        """Offset and number of rows, ``ROWS`` at most, of the row groups that may hold what is wanted."""
        groups = self._found(part)
        begin, height = 0, 0
        for group in [] if groups is None else groups.each:
            if group.last < first or group.first >= until or group.begun >= end:
                continue
            if group.begin != begin + height:
                if height:
                    yield begin, height
                begin, height = group.begin, 0
            height += group.rows
            while height >= ROWS:
                yield begin, ROWS
                begin, height = begin + ROWS, height - ROWS
        if height:
            yield begin, height

    def _where(self, first: int, until: int, parts: list[Part] | None = None) -> list[pl.Expr]:
        """What rows have to meet; of ``parts`` without what all of their rows meet, as their metadata says."""
        known = [None] if parts is None else [self._groups.get(part.path) for part in parts]
        where = []
        if self.symbols is not None and not all(groups is not None and groups.alone for groups in known):
            one = len(self.symbols) == 1
            where.append(pl.col("symbol") == self.symbols[0] if one else pl.col("symbol").is_in(self.symbols))
        if first > 0 and not all(groups is not None and groups.first >= first for groups in known):
            where.append(pl.col("message") >= first)
        if until < MESSAGE_MAX and not all(groups is not None and groups.last < until for groups in known):
            where.append(pl.col("message") < until)
        return where

    def _unsealed(
        self, name: JournalName, first: int, until: int, *, checkpoints: bool
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        """Rows of one journal, which has no more than a part of one."""
        kind = self.kind
        tables = [(kind.checkpoints, kind.checkpoint_columns)] if checkpoints else []
        for table, columns in (*tables, (kind.messages, self.columns)):
            view = View(self.view.folder, [], [name], {})
            frames = [
                frame.filter(*self._where(first, until))
                for frame in view.unsealed(table, columns=columns, symbols=self.symbols)
            ]
            if any(frame.height for frame in frames):
                yield table, self._sorted(pl.concat(frames))


def _behind(unit: _Unit, name: JournalName) -> bool:
    """Whether the rows of a unit come after those of a journal of the session."""
    parts = unit.messages or unit.checkpoints
    return bool(parts) and all(not part.compacted and part.number > name.number for part in parts)


def groups_of(data: pq.FileMetaData, symbols: list[str] | None) -> Groups | None:
    """Row groups of a part that may hold rows of the symbols; None if there are none."""
    names = data.schema.names
    symbol, message, received = (names.index(name) for name in ("symbol", "message", "ts_recv"))
    alone = symbols is not None and len(symbols) == 1
    each: list[_Group] = []
    at = 0
    for group in map(data.row_group, range(data.num_row_groups)):
        named, numbers, times = (group.column(column).statistics for column in (symbol, message, received))
        # Without statistics anything may be in it.
        if symbols is None or named is None or not named.has_min_max or _holds(named, symbols):
            low, high = (numbers.min_raw, numbers.max_raw) if numbers and numbers.has_min_max else (0, MESSAGE_MAX)
            begun = times.min_raw if times and times.has_min_max else EARLIEST
            each.append(_Group(at, group.num_rows, low, high, begun))
            alone = (
                alone and named is not None and named.has_min_max and named.min == named.max and not named.null_count
            )
        at += group.num_rows
    rows = sum(group.rows for group in each)
    if not rows:
        return None
    first, last = min(group.first for group in each), max(group.last for group in each)
    return Groups(first, last, rows, each, alone and rows == at)


def _holds(named: pq.Statistics, symbols: list[str]) -> bool:
    """Whether any of the symbols lies within the bounds of a row group."""
    place = bisect_right(symbols, named.max)
    return place > 0 and symbols[place - 1] >= named.min

"""The folder of a lake: its parts by name, and its rows that are not sealed yet.

A recorder and a sealer change the folder while somebody reads it. ``Folder.look`` sees it as it was at one moment,
without a lock. What it relies on:

1. The parts of a journal are published one by one; the part of the ledger comes last. A part never goes away again,
   except by ``krakpot compact`` and ``--keep``, which ``format.hold`` keeps out.
2. A journal is removed after its last part was published. A name is never used twice.
3. The next journal of a session, and the first journal of the session that follows it, are there before a journal gets
   its end. So they are there before it is sealed.

``look`` lists four times: the ledger's parts, the parts of the other tables, the journals, the ledger's parts again. A
name that is there during the whole of a listing is in it. Say a journal is *complete* if all of its parts of the ledger
(two, if it crossed midnight) are in the first listing. Then

- all parts of a complete journal are found: they were there before its part of the ledger, so before the second
  listing;
- a journal that was begun earlier than a complete one is complete too; or it is found in the third listing; or, if it
  was removed before that, the fourth listing has a part of it that the first one lacks. It is *unsettled* then;
- whatever follows a complete journal (3) is complete or unsettled, for the same reason;
- a part that belongs to no journal of the listings is an orphan: its journal was there when the part was listed; if it
  was removed before the third listing, its part of the ledger is in the fourth one.

So the parts below a session's first unsettled journal are a whole: nothing in the middle is missing, and it is known
whether the session goes on. That is what ``verify`` proves. ``Lake`` reads on: the rows of a journal that is still
there come from the journal, and from no part; those of a journal that was sealed meanwhile come from its parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.lake import journal
from krakpot.lake.format import (
    UNREADABLE,
    Part,
    check_lake,
    part,
    polars_schema,
    schema,
    sealed_rows,
    stamp,
    storage_error,
    unreadable,
)
from krakpot.lake.journal import JournalName
from krakpot.values import is_pattern, near, shown, unmatched

NAMING = ("pairs", "ledger")
"""Tables that name every symbol of a lake; the smaller one first."""
NAMED_MAX = 5
"""Symbols that an error names."""
BLOCKS_HELD = 64
"""Blocks of a journal that are read at a time, some 13 s of a recording: one at a time is much slower."""


class Position(NamedTuple):
    """A place in the journals of a session."""

    journal: int
    """Number of the journal."""
    byte: int


BEGIN = Position(0, 0)


class Folder:
    """The folder of a lake. ``StorageError`` if it is not a lake, or of a later version."""

    def __init__(self, path: str | Path) -> None:
        """Open the lake at ``path``."""
        self.path = values.read(values.folder, path, "path")
        check_lake(self.path)

    def __repr__(self) -> str:
        """Show the path."""
        return f"{type(self).__name__}({str(self.path)!r})"

    def parts(self, table: str) -> list[Part]:
        """Published parts of a table, by date, session and number; compacted ones first.

        A file with any other name is not a part and is left alone.
        """
        if table not in _core.TABLES:
            sentence = f"no table {shown(table)}; tables: {', '.join(_core.TABLES)}"
            raise ConfigError(sentence)
        parts = [found for path in (self.path / table).glob("date=*/*.parquet") if (found := part(path, table))]
        return sorted(parts, key=lambda part: (part.date, part.session, not part.compacted, part.number))

    def foreign(self, table: str) -> list[Path]:
        """Files in a table's folder that end in ``.parquet`` and are not parts, sorted."""
        return sorted(path for path in (self.path / table).rglob("*.parquet") if not self._is_part(path, table))

    def _is_part(self, path: Path, table: str) -> bool:
        return path.parent.parent == self.path / table and part(path, table) is not None

    def look(self, tables: Iterable[str] = _core.TABLES) -> View:
        """See what is sealed and what is not, at one moment, beside recorders and sealers; see the module's page."""
        tables = list(tables)
        ledger = self.parts("ledger")
        parts = [part for table in tables for part in (ledger if table == "ledger" else self.parts(table))]
        journals = journal.journal_names(self.path)
        sealed = _sealed_between(ledger, self.parts("ledger"))
        # All parts of these journals are there now.
        fresh = (
            [part for table in tables for part in self.parts(table) if _journal_of(part) in sealed] if sealed else []
        )
        return _view(self, parts, journals, sealed, fresh)

    def symbols(self) -> list[str]:
        """Symbols that the lake knows, sorted; also those that are only in journals."""
        view = self.look(NAMING)
        return sorted(set().union(*self._sealed_symbols(view), self._unsealed_symbols(view)))

    @staticmethod
    def _sealed_symbols(view: View) -> Iterator[set[str]]:
        """The symbols that each table names."""
        for table in NAMING:
            if paths := [part.path for part in view.of(table)]:
                scan = pl.scan_parquet(paths, hive_partitioning=False)
                try:
                    yield set(scan.select(pl.col("symbol").drop_nulls().unique()).collect()["symbol"])
                except UNREADABLE as error:
                    unreadable(view.folder.path, error)

    @staticmethod
    def _unsealed_symbols(view: View) -> set[str]:
        frames = (frame for table in NAMING for frame in view.unsealed(table, columns=["symbol"]))
        return {symbol for frame in frames for symbol in frame["symbol"].drop_nulls().unique()}

    def matching(self, wanted: str | Iterable[str]) -> list[str]:
        """Symbols of the lake that are named or match one of the patterns; ``ConfigError`` for what matches none."""
        names = values.read(values.symbols, wanted, "symbols")
        if not any(map(is_pattern, names)):
            self.check_symbols(names)
            return list(names)
        known = self.symbols()
        found: list[str] = []
        for name in names:
            matched = [symbol for symbol in known if _core.matches(name, symbol)]
            if known and not matched:
                raise ConfigError(unmatched(name, known, "symbols", "`Lake.symbols`"))
            found += matched
        return list(dict.fromkeys(found))

    def check_symbols(self, wanted: Iterable[str]) -> None:
        """Raise ``ConfigError``, with names that are near, for a symbol that the lake does not have."""
        wanted = values.read(values.symbols, wanted, "symbols")
        view = self.look(NAMING)
        known: set[str] = set()
        for named in self._sealed_symbols(view):
            known |= named
            # To read the whole ledger and all journals takes long, and most often it is not needed.
            if known.issuperset(wanted):
                return
        known |= self._unsealed_symbols(view)
        for symbol in wanted:
            if known and symbol not in known:
                close = near(symbol, sorted(known))
                some = ", ".join(sorted(known)[:NAMED_MAX]) + (", …" if len(known) > NAMED_MAX else "")
                hint = f"; did you mean {' or '.join(close)}?" if close else f"; it has {some}"
                raise ConfigError(f"the lake has no symbol {shown(symbol)}{hint}")

    def sessions(self) -> list[str]:
        """Sessions with a part in any table or a journal, by their time (a session's name begins with it)."""
        view = self.look()
        return sorted({part.session for part in view.parts} | {name.session for name in view.journals})


@dataclass(frozen=True)
class View:
    """A lake as it was at one moment."""

    folder: Folder
    parts: list[Part]
    """Parts of the tables that were asked for, except those of a journal that is still there."""
    journals: list[JournalName]
    """Journals that are not sealed."""
    unsettled: dict[str, int]
    """Per session that is not settled, its first journal that is not sealed, or was sealed only now."""

    def of(self, table: str, session: str | None = None) -> list[Part]:
        """Parts of a table, of one session or all."""
        return [part for part in self.parts if part.table == table and session in (None, part.session)]

    def sessions(self, table: str) -> set[str]:
        """Sessions with a part of a table, or with a journal, which may have rows of it."""
        return {part.session for part in self.of(table)} | {name.session for name in self.journals}

    def settled(self) -> View:
        """The same without what is unsettled: what a proof can rely on."""
        parts = [
            part
            for part in self.parts
            if part.compacted or part.number < self.unsettled.get(part.session, part.number + 1)
        ]
        return View(self.folder, parts, [], self.unsettled)

    def scan(
        self, table: str, *, session: str | None = None, start: int | None = None, end: int | None = None
    ) -> pl.LazyFrame:
        """Rows of a table, of parts and journals, as one lazy frame.

        Parameters
        ----------
        table
            One of the tables that were asked for.
        session
            Only its rows; None: of all sessions.
        start, end
            Receive times, ns: parts and journals of other days are left out. All rows of the others are given.

        Returns
        -------
        LazyFrame
            The columns of the table. Journals are read when it is collected, block by block: rows that a filter leaves
            out are never held.

        """
        first, last = (None if time is None else stamp(time).date() for time in (start, end))
        parts = [
            part.path
            for part in self.of(table, session)
            if (first is None or part.date >= first) and (last is None or part.date <= last)
        ]
        # A journal has rows that were received a little before it was begun.
        late = None if end is None else stamp(end) + timedelta(hours=1)
        journals = [
            name for name in self.journals if session in (None, name.session) and (late is None or name.begun < late)
        ]
        types = polars_schema(table)
        frames = [pl.LazyFrame(schema=types)]
        if parts:
            frames.append(sealed_rows(parts, table))
        if journals:
            view = View(self.folder, [], journals, self.unsettled)
            # A journal grows, so one read does not stand for another.
            frames.append(register_io_source(partial(view._source, table), schema=types, is_pure=False))
        return frames[-1] if len(frames) == 2 else pl.concat(frames)  # noqa: PLR2004  # one beside the empty one

    def _source(
        self, table: str, columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        """Rows of the journals, as a Polars source: with a predicate, and with at most ``rows``."""
        needed = None if columns is None else {*columns, *(() if predicate is None else predicate.meta.root_names())}
        for frame in self.unsealed(table, columns=needed):
            found = frame if predicate is None else frame.filter(predicate)
            found = found if columns is None else found.select(columns)
            if rows is not None:
                found = found.head(rows)
                rows -= found.height
            yield found
            if rows == 0:
                return

    def unsealed(
        self,
        table: str,
        *,
        columns: Collection[str] | None = None,
        symbols: Collection[str] | None = None,
        session: str | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Rows of the journals, by session and number; ``BLOCKS_HELD`` flushes are in memory at a time.

        The types are those of ``format.polars_schema``. No lock is taken and no recorder is held up; the torn end of a
        journal is left out. A journal that was sealed since ``look`` is read from its parts instead. ``columns`` and
        ``symbols``: only these. ``StorageError`` if a journal cannot be read.
        """
        chosen = {name: kind for name, kind in polars_schema(table).items() if columns is None or name in columns}
        for name in sorted(self.journals, key=lambda name: (name.session, name.number)):
            if session in (None, name.session):
                for frame in self._rows(name, table):
                    rows = frame if symbols is None else frame.filter(pl.col("symbol").is_in(list(symbols)))
                    if rows.height:
                        yield rows.select(pl.col(column).cast(kind) for column, kind in chosen.items())

    def unsealed_tables(
        self, tables: Collection[str], session: str, behind: Position = BEGIN
    ) -> tuple[dict[str, pl.DataFrame], Position]:
        """Rows of the journals of a session, of several tables, as of one moment: each flush in all of them.

        As ``unsealed``, but in memory at once. ``behind``: only what is there; a journal that was sealed meanwhile
        gives all of its rows. Also returns where they end.
        """
        held: dict[str, list[pl.DataFrame]] = {table: [] for table in tables}
        until = behind
        for name in sorted(self.journals, key=lambda name: name.number):
            if name.session == session and name.number >= behind.journal:
                at = behind.byte if name.number == behind.journal else 0
                until = self._add_journal(held, name, at)
        return {table: _joined(frames, table) for table, frames in held.items()}, until

    def _add_journal(self, held: dict[str, list[pl.DataFrame]], name: JournalName, at: int) -> Position:
        """Add what is behind byte ``at`` of a journal; where it ends."""
        try:
            file = name.path.open("rb")
        except FileNotFoundError:
            # Sealed meanwhile, so all of its parts are there.
            for table in held:
                held[table] += self._rows(name, table)
            return Position(name.number + 1, 0)
        except OSError as error:
            raise storage_error(error, "read the journal", name.path) from error
        found: dict[str, list[pa.RecordBatch]] = {table: [] for table in held}
        with file:
            for batches, end in journal.stream(file, name.path, at):
                at = end
                for table, batch in batches:
                    if table in found:
                        found[table].append(batch)
        for table, of_table in found.items():
            if of_table:
                held[table].append(_frame(of_table, table))
        return Position(name.number, at)

    def _rows(self, name: JournalName, table: str) -> Iterator[pl.DataFrame]:
        try:
            file = name.path.open("rb")
        except FileNotFoundError:
            # Sealed meanwhile, so all of its parts are there.
            found = [part for part in self.folder.parts(table) if _journal_of(part) == name[1:]]
            for part in found:
                yield pl.read_parquet(part.path, hive_partitioning=False)
            return
        except OSError as error:
            raise storage_error(error, "read the journal", name.path) from error
        with file:
            held: list[pa.RecordBatch] = []
            blocks = 0
            for batches, _ in journal.stream(file, name.path):
                held += [batch for of, batch in batches if of == table]
                blocks += 1
                if held and blocks >= BLOCKS_HELD:
                    yield _frame(held, table)
                    held, blocks = [], 0
            if held:
                yield _frame(held, table)


def _frame(batches: list[pa.RecordBatch], table: str) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches(batches, schema(table)))
    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
    return frame


def _joined(frames: list[pl.DataFrame], table: str) -> pl.DataFrame:
    kinds = polars_schema(table)
    if not frames:
        return pl.DataFrame(schema=kinds)
    return pl.concat([frame.select(pl.col(name).cast(kind) for name, kind in kinds.items()) for frame in frames])


def _sealed_between(before: Iterable[Part], after: Iterable[Part]) -> set[tuple[str, int]]:
    """Session and number of the journals that were sealed between two listings of the ledger's parts."""
    return {(part.session, part.number) for part in set(after).difference(before) if not part.compacted}


def _view(
    folder: Folder,
    parts: Iterable[Part],
    journals: list[JournalName],
    sealed: set[tuple[str, int]],
    fresh: Iterable[Part],
) -> View:
    """Put the listings together; ``sealed``: between the two of the ledger, with their parts in ``fresh``."""
    waiting = {(name.session, name.number) for name in journals}
    unsettled: dict[str, int] = {}
    for session, number in waiting | sealed:
        unsettled[session] = min(number, unsettled.get(session, number))
    found = [part for part in parts if _journal_of(part) not in sealed]
    found = [part for part in (*found, *fresh) if _journal_of(part) not in waiting]
    return View(folder, sorted(found, key=_by_time), journals, unsettled)


def _journal_of(part: Part) -> tuple[str, int] | None:
    """Session and number of the journal of a part; None for a compacted one."""
    return None if part.compacted else (part.session, part.number)


def _by_time(part: Part) -> tuple[object, ...]:
    return _core.TABLES.index(part.table), part.date, part.session, not part.compacted, part.number

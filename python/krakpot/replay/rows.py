"""Rows of one recorded session, of all its tables, window by window in the order of its messages, in bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl
import pyarrow.parquet as pq

from krakpot import _core
from krakpot.lake.folder import BEGIN, Position, View
from krakpot.lake.format import BOOK_KINDS, UNREADABLE, Part, polars_schema
from krakpot.lake.messages import MESSAGE_MAX, Groups, PartReader, groups_of
from krakpot.lake.sample import By

ROWS = 300_000
"""Rows of a window, about; over all tables."""
CHECKPOINTS = {kind.messages: kind.checkpoints for kind in BOOK_KINDS}
"""Tables of books, and the tables of their checkpoints."""
NOT_OF_THE_FEED = ("alive", "lag", "clock", "sealed", "compacted", "recovered", "removed", "torn")
"""Kinds of ledger rows that tell nothing of the exchange's data; the sealer's come after the end of a session."""
LEFT_OUT = ("extra", "session")
"""Columns that no event has."""


@dataclass(frozen=True)
class _Piece:
    """Rows that lie together: a part, or the rows of the journals; from the message ``first`` to ``last``."""

    first: int
    last: int
    rows: int
    part: Part | None = None
    groups: Groups | None = None


class _WholeGroups:
    """Rows of parts that have one symbol alone, window by window: row groups are read whole, and cut without a copy.

    To filter rows, and to join those of several groups, takes longer than to decode them.
    """

    def __init__(self, reader: PartReader, table: str, columns: list[str], pieces: Iterable[_Piece]) -> None:
        self._reader = reader
        self._table = table
        self._columns = columns
        self._left = deque(
            (piece.part, group)
            for piece in pieces
            if piece.part is not None and piece.groups is not None
            for group in piece.groups.each
        )
        self._held: pl.DataFrame | None = None
        """Rows that were read and belong to the next window, in chunks of whole messages."""

    @classmethod
    def of(cls, reader: PartReader, table: str, columns: list[str], pieces: list[_Piece]) -> _WholeGroups | None:
        """None if they must be read another way."""
        groups = [group for piece in pieces if piece.groups is not None for group in piece.groups.each]
        alone = all(piece.groups is not None and piece.groups.alone for piece in pieces)
        if not groups or not alone or any(group.last >= MESSAGE_MAX for group in groups):
            return None
        follow = all(one.last <= other.first for one, other in pairwise(groups))
        return cls(reader, table, columns, pieces) if follow else None

    def take(self, first: int, until: int) -> pl.DataFrame:
        """Rows from a message to before another one, in order, in chunks of whole messages."""
        while self._left and self._left[0][1].first < until:
            part, group = self._left.popleft()
            if group.last < first:
                continue
            rows = (group.begin, group.rows)
            frame = self._reader.read([part], self._table, self._columns, rows=rows).rechunk()
            frame = frame if _in_order(frame) else frame.sort("message", "entry", maintain_order=True)
            self._held = frame if self._held is None else _joined(self._held, frame)
        if self._held is None:
            return self._reader.read([], self._table, self._columns)
        message = self._held["message"]
        begin, end = (int(message.search_sorted(number)) for number in (first, until))
        found, self._held = self._held.slice(begin, end - begin), self._held.slice(end)
        return found


class SessionRows:
    """The rows of one session, from a message on."""

    def __init__(
        self,
        view: View,
        session: str,
        symbols: Mapping[str, Collection[str]],
        *,
        first: int = 0,
        entry: int = -1,
        behind: Position = BEGIN,
        by: By = "recv",
    ) -> None:
        """Find the rows of ``symbols``, by table. ``view`` has these tables, and the checkpoints of books.

        ``first``: from this message on. ``entry``: the last row of the ledger that is known already. ``behind``: the
        place in the journals up to which all is known already; parts of earlier journals are left out.
        """
        self.session = session
        self._by = by
        self._view = view
        self._reader = PartReader()
        self._symbols: dict[str, list[str] | None] = {"ledger": None, "status": None}
        for table, names in symbols.items():
            self._symbols[table] = sorted(names)
            if table in CHECKPOINTS:
                self._symbols[CHECKPOINTS[table]] = sorted(names)
        self._of_the_feed = self._ledger_rows(symbols)
        self._entry = entry
        self._behind = behind
        self.behind = behind
        """The same, once these rows are known."""
        self._unsealed = self._journals() if any(name.session == session for name in view.journals) else {}
        self._pieces = {table: self._of(table) for table in self._symbols}
        self._first = first
        pieces = [piece for found in self._pieces.values() for piece in found]
        # A part of the ledger whose rows all lack a message, as of a recorder that could not connect, has no last one.
        self.until = max((piece.last + 1 for piece in pieces if piece.last + 1 < MESSAGE_MAX), default=first)
        """The message after the last one that is there."""
        self.last_entry = entry
        """The last row of the ledger that concerns these symbols, of the windows so far."""

    @property
    def has_ledger_rows(self) -> bool:
        """Whether the ledger says anything that is not known already."""
        return self._window("ledger", self._first, MESSAGE_MAX).height > 0

    def windows(self, floor: int | None = None) -> Iterator[_core.ReplayWindow]:
        """Windows that follow each other, each in order; ``floor``: no time in them is less."""
        window: _core.ReplayWindow | None = None
        whole = {
            table: groups
            for table, pieces in self._pieces.items()
            if (groups := _WholeGroups.of(self._reader, table, self._columns(table), pieces)) is not None
        }
        for first, until in self._bounds():
            tables = {table: self._window(table, first, until) for table in self._symbols if table not in whole}
            if (last := tables["ledger"]["entry"].max()) is not None:
                self.last_entry = max(self.last_entry, int(last))  # type: ignore[arg-type]  # it is a number
            found = {table: frame.rechunk() for table, frame in tables.items() if frame.height}
            # The core takes a chunk as a whole: no message may lie in two.
            cut = {table: groups.take(first, until) for table, groups in whole.items()}
            found |= {table: frame for table, frame in cut.items() if frame.height}
            if found:
                window = _core.ReplayWindow(found, by=self._by, after=window, floor=floor)
                yield window

    # Where the rows are.

    def _of(self, table: str) -> list[_Piece]:
        """The pieces of a table that may hold what is wanted."""
        pieces = []
        for part in self._view.of(table, self.session):
            if not part.compacted and part.number < self._behind.journal:
                continue
            try:
                groups = groups_of(pq.read_metadata(part.path), self._symbols[table])
            except UNREADABLE as error:
                self._reader.failed(part.path, error)
                continue
            if groups is not None:
                pieces.append(_Piece(groups.first, min(groups.last, MESSAGE_MAX - 1), groups.rows, part, groups))
        rows = self._unsealed.get(table)
        if rows is not None and rows.height:
            messages = rows["message"].fill_null(0)
            pieces.append(_Piece(int(messages[0]), int(messages[-1]), rows.height))
        pieces.sort(key=lambda piece: piece.first)
        if table == "ledger" and pieces:
            # Its rows without a message, which come before all.
            pieces[0] = replace(pieces[0], first=0)
        return pieces

    def _journals(self) -> dict[str, pl.DataFrame]:
        """What is not sealed, of all tables as of one moment."""
        found = {}
        frames, self.behind = self._view.unsealed_tables(list(self._symbols), self.session, self._behind)
        for table, frame in frames.items():
            if not frame.height:
                continue
            symbols = self._symbols[table]
            rows = frame if symbols is None else frame.filter(pl.col("symbol").is_in(symbols))
            found[table] = self._sorted(table, rows.select(self._columns(table)))
        return found

    @staticmethod
    def _ledger_rows(symbols: Mapping[str, Collection[str]]) -> pl.Expr:
        """Which rows of the ledger concern these symbols, by table, or all."""
        channel, symbol = pl.col("channel"), pl.col("symbol")
        channels = {name: symbols[table] for name, table in _core.CHANNELS.items() if table in symbols}
        ours = channel.is_null() | (symbol.is_null() & channel.is_in(list(channels)))
        for name, names in channels.items():
            ours |= (channel == name) & symbol.is_in(list(names))
        return ~pl.col("kind").is_in(NOT_OF_THE_FEED) & ours

    @staticmethod
    def _columns(table: str) -> list[str]:
        return [name for name in polars_schema(table) if name not in LEFT_OUT]

    @classmethod
    def _empty(cls, table: str) -> pl.DataFrame:
        kinds = polars_schema(table)
        return pl.DataFrame(schema={name: kinds[name] for name in cls._columns(table)})

    @staticmethod
    def _sorted(table: str, frame: pl.DataFrame) -> pl.DataFrame:
        # The entries of a checkpoint are numbered for each symbol.
        within = ["symbol", "entry"] if table in CHECKPOINTS.values() else ["entry"]
        if within == ["entry"] and _in_order(frame):
            return frame
        return frame.sort("message", *within, nulls_last=False, maintain_order=True)

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """First message of each window, and the one after its last."""
        pieces = [piece for found in self._pieces.values() for piece in found]
        if not pieces:
            return
        edges = sorted({edge for piece in pieces for edge in (piece.first, piece.last + 1)})
        first = at = max(self._first, edges[0])
        rows = 0.0
        while at < edges[-1]:
            # Between two edges rows are taken to be spread evenly over the messages.
            edge = edges[bisect_right(edges, at)]
            within = [piece for piece in pieces if piece.first <= at <= piece.last]
            density = sum(piece.rows / (piece.last + 1 - piece.first) for piece in within)
            room = max(1, int((ROWS - rows) / density)) if density else edge
            at, rows = min(edge, at + room), rows + density * min(edge - at, room)
            if rows + density >= ROWS:
                yield first, at
                first, rows = at, 0.0
        yield first, MESSAGE_MAX

    def _window(self, table: str, first: int, until: int) -> pl.DataFrame:
        """Rows of a table from a message to before another one, in order."""
        # What the ledger says of the last message may have come after that was read.
        late = table == "ledger" and self._entry >= 0 and first == self._first
        least = first - 1 if late else first
        pieces = [piece for piece in self._pieces[table] if piece.last >= least and piece.first < until]
        if not pieces:
            return self._empty(table)
        symbols = self._symbols[table]
        number = pl.col("message").fill_null(0) if table == "ledger" else pl.col("message")
        within = [number >= first, number < until]
        where = [*within, *([] if symbols is None else [pl.col("symbol").is_in(symbols)])]
        if table == "ledger":
            if late:
                within = [number >= first - 1, number < until, pl.col("entry") > self._entry]
            within = where = [*within, self._of_the_feed]
        parts = [piece.part for piece in pieces if piece.part is not None]
        frame = self._reader.read(parts, table, self._columns(table), *where)
        if any(piece.part is None for piece in pieces):
            frame = pl.concat([frame, self._unsealed[table].filter(within)])
        return self._sorted(table, frame)


def _joined(frame: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Rows and those that follow them, in chunks of whole messages; both are in order."""
    if not frame.height or not after.height:
        return frame if frame.height else after
    last = frame["message"][-1]
    mine, more = int(frame["message"].search_sorted(last)), int(after["message"].search_sorted(last, side="right"))
    if not more:
        return pl.concat([frame, after])
    both = pl.concat([frame.slice(mine), after.head(more)]).rechunk()
    return pl.concat([part for part in (frame.head(mine), both, after.slice(more)) if part.height])


def _in_order(frame: pl.DataFrame) -> bool:
    """Whether rows are sorted by message and entry, as those of a part are: to sort them copies all columns."""
    message, entry = frame["message"], frame["entry"]
    if message.null_count() or entry.null_count():
        return False
    before, after = message.head(-1), message.slice(1)
    return bool(((before < after) | ((before == after) & (entry.head(-1) <= entry.slice(1)))).all())

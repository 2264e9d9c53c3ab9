"""The comparison of a lake that is being recorded: sealed parts, and the journals as they grow.

What is shown is the latest span of time (a minute, unless said otherwise): states before it are forgotten, so that
memory is bounded by the span and the number of symbols. What stands on the disk is read, nothing is asked of the
recorder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.compare.compare import (
    LIVES,
    RUN_UP,
    STATES,
    TIME,
    WINDOW,
    Channel,
    Report,
    Walk,
    begun,
    compare_channels,
    lacking,
    lines,
    read,
    sequence,
    tables_of,
)  # fmt: skip
from krakpot.errors import ConfigError, StorageError
from krakpot.lake import journal
from krakpot.lake.lake import Lake, Part
from krakpot.lake.seal import polars_schema
from krakpot.lake.verify import BOOKS

SPAN = 60.0
"""Seconds shown."""
REFRESH = 3.0
"""Seconds between two looks at the lake."""
PATIENCE = 30.0
"""Seconds that a channel may have no rows."""

Frames = dict[str, pl.DataFrame]
"""Rows by table."""


@dataclass
class _Session:
    """How far one session was read."""

    number: int = -1
    """The journal that is being read."""
    offset: int = 0
    """Bytes of it that were read."""
    message: int = -1
    """The last message that was read."""
    entry: int = -1
    """The last row of the ledger that was read."""
    walks: dict[str, Walk] = field(default_factory=dict)
    """By channel."""


class Follower:
    """Reads what a lake's recorders have written since the last look, and compares the latest span."""

    def __init__(self, lake: Lake, symbols: str = "*", *, span: float = SPAN, window: int = WINDOW) -> None:
        """Follow the symbols that the patterns choose."""
        self.lake = lake
        self.wanted = [pattern.strip() for pattern in symbols.split(",")]
        self.span = round(span * 1e9)
        self.window = window
        self.depths: dict[str, int] = {}
        """Levels that both channels have, by symbol."""
        self._sessions: dict[str, _Session] = {}
        self._states = {books.channel: pl.DataFrame(schema=STATES) for books in BOOKS}
        self._loop = pl.DataFrame(schema={"ts_recv": TIME, "count": pl.UInt64})
        self._waiting: list[tuple[str, Frames]] = []

    def look(self) -> Report | None:
        """Read what is new; None as long as one of the channels has no rows.

        ``ConfigError`` if nobody records into the lake.
        """
        journals: dict[str, list[Path]] = {}
        for path in journal.journals(self.lake.path):
            journals.setdefault(journal.Content(path).session, []).append(path)
        if not journals and not self._sessions:
            sentence = f"{self.lake.path}: nobody records into it; without --live its parts are compared"
            raise ConfigError(sentence)
        for session in sorted({*journals, *self._sessions}):
            self._waiting += [(session, frames) for frames in self._news(session, journals.get(session, []))]
        if not self.depths and not self._begin():
            return None
        for session, frames in self._waiting:
            self._take(session, frames)
        self._waiting.clear()
        return self._report()

    def known(self, table: str) -> bool:
        """Whether rows of a table wait to be compared."""
        return any(not frames[table].is_empty() for _, frames in self._waiting if table in frames)

    def _news(self, session: str, journals: list[Path]) -> list[Frames]:
        """Rows of a session that were written since the last look, journal by journal."""
        at = self._sessions.setdefault(session, _Session())
        numbers = {journal.Content(path).number: path for path in journals}
        first = at.number < 0
        found: dict[int, Frames] = {}
        ends: dict[int, int] = {}
        for number, path in numbers.items():
            if number < at.number:
                continue
            try:
                tables, ends[number] = journal.follow(path, at.offset if number == at.number else 0)
            except StorageError:
                # Sealed between the listing and the reading: its parts are there.
                continue
            found[number] = {table: self._frame(table, batches) for table, batches in tables.items()}
        since = datetime.now(UTC) - RUN_UP
        for number, parts in self._parts(session).items():
            # Of a session that is new here, as much as its books need; else what a journal held to its end.
            wanted = all(begun(part) > since for part in parts) if first else number >= at.number
            if wanted and number not in found:
                found[number] = {part.table: self._sealed(at, part) for part in parts}
        news = []
        for number in sorted(found):
            # What is sealed is complete: the next one follows.
            at.number, at.offset = (number, ends[number]) if number in ends else (number + 1, 0)
            news.append(found[number])
            self._mark(at, found[number])
        return news

    def _parts(self, session: str) -> dict[int, list[Part]]:
        """Parts of a session by number; the ledger's is published last, so a number without one is not complete."""
        tables = ["ledger", *(name for books in BOOKS for name in tables_of(books)[0])]
        found: dict[int, list[Part]] = {}
        for table in tables:
            for part in self.lake.parts(table):
                # What is compacted was compared long ago.
                if part.session == session and not part.compacted and (table == "ledger" or part.number in found):
                    found.setdefault(part.number, []).append(part)
        return found

    def _frame(self, table: str, batches: list[pa.RecordBatch]) -> pl.DataFrame:
        frame = pl.from_arrow(pa.Table.from_batches(batches, journal.schema(table)))
        assert isinstance(frame, pl.DataFrame), "a table gives a frame"
        return self._chosen(frame)

    def _sealed(self, at: _Session, part: Part) -> pl.DataFrame:
        """Rows of a part behind what its journal had told."""
        frame = self._chosen(read([part], part.table, list(polars_schema(part.table)), None))
        behind = pl.col("entry") > at.entry if part.table == "ledger" else pl.col("message").cast(pl.Int64) > at.message
        return frame.filter(behind)

    def _chosen(self, frame: pl.DataFrame) -> pl.DataFrame:
        if "symbol" not in frame.columns or self.wanted == ["*"]:
            return frame
        names = frame["symbol"].drop_nulls().unique()
        chosen = [name for name in names if any(_core.matches(pattern, name) for pattern in self.wanted)]
        return frame.filter(pl.col("symbol").is_in(chosen) | pl.col("symbol").is_null())

    @staticmethod
    def _mark(at: _Session, frames: Frames) -> None:
        """Remember how far a session was read, for the case that its journal is sealed before the next look."""
        for table, frame in frames.items():
            numbers = frame["entry" if table == "ledger" else "message"].drop_nulls()
            last = numbers.filter(numbers < 2**31).max() if table == "ledger" else numbers.max()
            if isinstance(last, int):
                at.entry, at.message = (max(at.entry, last), at.message) if table == "ledger" else (
                    at.entry, max(at.message, last)
                )  # fmt: skip

    def _begin(self) -> bool:
        """Whether both channels have rows; then the depth of each symbol is known."""
        depths: list[dict[str, int]] = []
        for books in BOOKS:
            rows = [
                frames[books.messages].select("symbol", "depth")
                for _, frames in self._waiting
                if books.messages in frames
            ]
            least = pl.concat(rows).group_by("symbol").agg(pl.col("depth").min()) if rows else pl.DataFrame()
            depths.append(dict(least.iter_rows()))
        self.depths = {
            symbol: min(depth, depths[1][symbol]) for symbol, depth in sorted(depths[0].items()) if symbol in depths[1]
        }
        return bool(self.depths)

    def _take(self, session: str, frames: Frames) -> None:
        """Rebuild the books of one session on, and keep their states."""
        walks = self._sessions[session].walks
        for books in BOOKS:
            rows = [frames.get(name, pl.DataFrame(schema=polars_schema(name))) for name in tables_of(books)[0]]
            walk = walks.get(books.channel)
            if walk is None:
                if rows[1].is_empty():
                    continue
                walk = walks[books.channel] = Walk(session, books, self.depths)
            if "ledger" in frames:
                walk.ends(frames["ledger"])
            walk.take(*(frame.sort("symbol", "message", "entry") for frame in rows))
            states = walk.channel().states
            self._states[books.channel] = pl.concat([self._states[books.channel], states])
            new = states["symbol"].unique()
            # Symbols that came later are compared by their best ten levels, as both walks do it.
            self.depths |= {name: 10 for name in new if name not in self.depths}
        if "ledger" in frames:
            lag = frames["ledger"].filter(pl.col("kind") == "lag").select("ts_recv", "count")
            self._loop = pl.concat([self._loop, lag])

    def _report(self) -> Report:
        """Compare the latest span; forget what lies before it."""
        channels = []
        newest = max((walk.last or 0 for at in self._sessions.values() for walk in at.walks.values()), default=0)
        start = newest - self.span
        recv = pl.col("ts_recv").dt.epoch("ns")
        for books in BOOKS:
            walks = [at.walks[books.channel] for at in self._sessions.values() if books.channel in at.walks]
            lives = pl.concat([pl.DataFrame(schema=LIVES), *(walk.channel().lives for walk in walks)])
            # The state that a book has been in since before the span is kept.
            latest = pl.col("message") == pl.col("message").max().over("session", "symbol", "life")
            self._states[books.channel] = self._states[books.channel].filter((recv >= start - self.window) | latest)
            channels.append(sequence(Channel(self._states[books.channel], lives), start))
        self._loop = self._loop.filter(recv >= start)
        return compare_channels(
            *channels, lake=str(self.lake.path), window=self.window, depths=self.depths, loop=self._loop
        )


def follow(
    lake: Lake,
    symbols: str,
    *,
    span: float = SPAN,
    window: int = WINDOW,
    seconds: float | None = None,
    show: Callable[[list[str]], None],
) -> Report | None:
    """Look at the lake every few seconds and ``show`` lines of what is there; ends after ``seconds``, or by Ctrl-C.

    Returns the last report. ``ConfigError`` if nobody records into the lake, or only one of the channels.
    """
    follower = Follower(lake, symbols, span=span, window=window)
    begun_at = time.monotonic()
    until = None if seconds is None else begun_at + seconds
    report = None
    try:
        while True:
            report = follower.look()
            if report is None and time.monotonic() - begun_at >= PATIENCE:
                missing = " and ".join(books.channel for books in BOOKS if not follower.known(books.messages))
                raise ConfigError(lacking(lake.path, missing or "symbol of both channels"))
            show(["waiting for rows of both channels"] if report is None else lines(report, most=15))
            left = REFRESH if until is None else min(REFRESH, until - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
    except KeyboardInterrupt:
        pass
    return report

"""Compare level 3 with the book channel while the lake is being recorded.

Reads new rows from sealed parts and from growing journals, and compares the latest window of time (one minute by
default). Older states are dropped, so memory is bounded by the window and the number of symbols. The recorder is not
involved: everything is read from the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from krakpot import _core, values
from krakpot.compare.align import WINDOW
from krakpot.compare.compare import lacking
from krakpot.compare.report import Report, compare_channels
from krakpot.compare.states import (
    RUN_UP,
    STATES,
    TIME,
    Channel,
    StateCollector,
    joined,
    sequence,
)  # fmt: skip
from krakpot.compare.text import lines
from krakpot.errors import ConfigError, StorageError
from krakpot.lake import journal
from krakpot.lake.format import BOOK_KINDS, Part, polars_schema, schema
from krakpot.lake.lake import Lake
from krakpot.lake.messages import PartReader
from krakpot.values import unmatched

SPAN = 60.0
"""Seconds that are compared."""
REFRESH = 3.0
"""Seconds between two readings of the lake."""
START_TIMEOUT = 30.0
"""Seconds to wait for the first rows of both channels."""

Frames = dict[str, pl.DataFrame]
"""Rows by table."""


@dataclass
class _Session:
    """How far a session has been read."""

    number: int = -1
    """Number of the journal that is being read."""
    offset: int = 0
    """Bytes of it that have been read."""
    message: int = -1
    """Number of the last message read."""
    entry: int = -1
    """Number of the last ledger row read."""
    collectors: dict[str, StateCollector] = field(default_factory=dict)
    """By channel."""


class Follower:
    """Reads the rows that recorders have added to a lake, and compares the latest window."""

    def __init__(
        self, lake: Lake, symbols: str | Sequence[str] = "*", *, span: float = SPAN, window: int = WINDOW
    ) -> None:
        """Follow the symbols that match the patterns; compare the last ``span`` seconds."""
        self.lake = lake
        self.wanted = values.read(values.patterns, symbols, "symbols")
        self.span = round(span * 1e9)
        self.window = window
        self.depths: dict[str, int] = {}
        """Levels per side that both channels have, by symbol."""
        self._sessions: dict[str, _Session] = {}
        self._states = {kind.channel: pl.DataFrame(schema=STATES) for kind in BOOK_KINDS}
        self._loop = pl.DataFrame(schema={"ts_recv": TIME, "count": pl.UInt64})
        self._waiting: list[tuple[str, Frames]] = []

    def look(self) -> Report | None:
        """Read new rows and compare; None while one of the channels has no rows.

        Raises ``ConfigError`` if no recorder writes into the lake.
        """
        journals: dict[str, dict[int, Path]] = {}
        for path, session, number in journal.journal_names(self.lake.path):
            journals.setdefault(session, {})[number] = path
        if not journals and not self._sessions:
            sentence = f"{self.lake.path}: no recorder writes into this lake; leave out --live to compare its parts"
            raise ConfigError(sentence)
        for session in sorted({*journals, *self._sessions}):
            self._waiting += [(session, frames) for frames in self._news(session, journals.get(session, {}))]
        if not self.depths and not self._begin():
            return None
        for session, frames in self._waiting:
            self._take(session, frames)
        self._waiting.clear()
        return self._report()

    def check_wanted(self) -> None:
        """Raise ``ConfigError`` if the pairs of the lake are known, and none matches."""
        known = self.lake.symbols()
        if known and not any(_core.matches(pattern, name) for pattern in self.wanted for name in known):
            raise ConfigError(unmatched(self.wanted[0], known, lister=f"`krakpot pairs --lake {self.lake.path}`"))

    def known(self, table: str) -> bool:
        """Whether rows of a table have been read and wait to be compared."""
        return any(not frames[table].is_empty() for _, frames in self._waiting if table in frames)

    def _news(self, session: str, numbers: dict[int, Path]) -> list[Frames]:
        """New rows of a session, journal by journal."""
        at = self._sessions.setdefault(session, _Session())
        first = at.number < 0
        found: dict[int, Frames] = {}
        ends: dict[int, int] = {}
        for number, path in numbers.items():
            if number < at.number:
                continue
            try:
                tables, ends[number] = journal.follow(path, at.offset if number == at.number else 0)
            except StorageError:
                # The journal was sealed after it was listed: its parts exist.
                continue
            found[number] = {table: self._frame(table, batches) for table, batches in tables.items()}
        since = datetime.now(UTC) - RUN_UP
        for number, parts in self._parts(session).items():
            # Of a new session read what its books need; of a known one the rest of the journal that was being read.
            wanted = all(part.begun > since for part in parts) if first else number >= at.number
            if wanted and number not in found:
                found[number] = {part.table: self._sealed(at, part) for part in parts}
        news = []
        for number in sorted(found):
            # A sealed journal is complete: continue with the next one.
            at.number, at.offset = (number, ends[number]) if number in ends else (number + 1, 0)
            news.append(found[number])
            self._mark(at, found[number])
        return news

    def _parts(self, session: str) -> dict[int, list[Part]]:
        """Parts of a session by number. The ledger part is published last, so a number without one is incomplete."""
        tables = ["ledger", *(name for kind in BOOK_KINDS for name in (kind.checkpoints, kind.messages))]
        found: dict[int, list[Part]] = {}
        for table in tables:
            for part in self.lake.parts(table):
                # Compacted parts are of past days, which were compared long ago.
                if part.session == session and not part.compacted and (table == "ledger" or part.number in found):
                    found.setdefault(part.number, []).append(part)
        return found

    def _frame(self, table: str, batches: list[pa.RecordBatch]) -> pl.DataFrame:
        frame = pl.from_arrow(pa.Table.from_batches(batches, schema(table)))
        assert isinstance(frame, pl.DataFrame), "a table gives a frame"
        return self._chosen(frame)

    def _sealed(self, at: _Session, part: Part) -> pl.DataFrame:
        """Rows of a part that were not read from its journal."""
        frame = self._chosen(PartReader().read([part], part.table, list(polars_schema(part.table))))
        unread = pl.col("entry") > at.entry if part.table == "ledger" else pl.col("message").cast(pl.Int64) > at.message
        return frame.filter(unread)

    def _chosen(self, frame: pl.DataFrame) -> pl.DataFrame:
        if "symbol" not in frame.columns or self.wanted == ("*",):
            return frame
        names = frame["symbol"].drop_nulls().unique()
        chosen = [name for name in names if any(_core.matches(pattern, name) for pattern in self.wanted)]
        return frame.filter(pl.col("symbol").is_in(chosen) | pl.col("symbol").is_null())

    @staticmethod
    def _mark(at: _Session, frames: Frames) -> None:
        """Remember how far a session was read, in case its journal is sealed before the next reading."""
        for table, frame in frames.items():
            numbers = frame["entry" if table == "ledger" else "message"].drop_nulls()
            last = numbers.filter(numbers < 2**31).max() if table == "ledger" else numbers.max()
            if isinstance(last, int):
                at.entry, at.message = (max(at.entry, last), at.message) if table == "ledger" else (
                    at.entry, max(at.message, last)
                )  # fmt: skip

    def _begin(self) -> bool:
        """Set the depth of each symbol; returns whether both channels have rows of some symbol."""
        depths: list[dict[str, int]] = []
        for kind in BOOK_KINDS:
            rows = [
                frames[kind.messages].select("symbol", "depth")
                for _, frames in self._waiting
                if kind.messages in frames
            ]
            least = pl.concat(rows).group_by("symbol").agg(pl.col("depth").min()) if rows else pl.DataFrame()
            depths.append(dict(least.iter_rows()))
        self.depths = {
            symbol: min(depth, depths[1][symbol]) for symbol, depth in sorted(depths[0].items()) if symbol in depths[1]
        }
        return bool(self.depths)

    def _take(self, session: str, frames: Frames) -> None:
        """Continue the books of one session, and keep their states."""
        collectors = self._sessions[session].collectors
        for kind in BOOK_KINDS:
            names = (kind.checkpoints, kind.messages)
            rows = [frames.get(name, pl.DataFrame(schema=polars_schema(name))) for name in names]
            collector = collectors.get(kind.channel)
            if collector is None:
                if rows[1].is_empty():
                    continue
                collector = collectors[kind.channel] = StateCollector(session, kind, self.depths)
            if "ledger" in frames:
                collector.ends(frames["ledger"])
            checkpoints, messages = (frame.sort("symbol", "message", "entry") for frame in rows)
            collector.checkpoints(checkpoints)
            collector.messages(messages)
            states = collector.channel().states
            self._states[kind.channel] = pl.concat([self._states[kind.channel], states])
            new = states["symbol"].unique()
            # Symbols that appear later are compared by their best ten levels, the default of both collectors.
            self.depths |= {name: 10 for name in new if name not in self.depths}
        if "ledger" in frames:
            lag = frames["ledger"].filter(pl.col("kind") == "lag").select("ts_recv", "count")
            self._loop = pl.concat([self._loop, lag])

    def _report(self) -> Report:
        """Compare the latest window; drop older states."""
        channels = []
        newest = max((one.last or 0 for at in self._sessions.values() for one in at.collectors.values()), default=0)
        start = newest - self.span
        recv = pl.col("ts_recv").dt.epoch("ns")
        for kind in BOOK_KINDS:
            sessions = self._sessions.values()
            collectors = [at.collectors[kind.channel] for at in sessions if kind.channel in at.collectors]
            spans = joined([one.channel() for one in collectors]).spans
            # The last state of each book is kept, even if it is older than the window.
            latest = pl.col("message") == pl.col("message").max().over("session", "symbol", "span")
            self._states[kind.channel] = self._states[kind.channel].filter((recv >= start - self.window) | latest)
            channels.append(sequence(Channel(self._states[kind.channel], spans), start))
        self._loop = self._loop.filter(recv >= start)
        return compare_channels(
            *channels, lake=str(self.lake.path), window=self.window, depths=self.depths, loop=self._loop
        )


def follow(
    lake: Lake,
    symbols: str | Sequence[str],
    *,
    span: float = SPAN,
    window: int = WINDOW,
    seconds: float | None = None,
    show: Callable[[list[str]], None],
) -> Report | None:
    """Compare the lake every few seconds and pass the lines to ``show``; ends after ``seconds``, or on Ctrl-C.

    Returns the last report. Raises ``ConfigError`` if no recorder writes into the lake, or only one of the channels
    has rows.
    """
    follower = Follower(lake, symbols, span=span, window=window)
    begun_at = time.monotonic()
    until = None if seconds is None else begun_at + seconds
    report = None
    try:
        while True:
            report = follower.look()
            if report is None:
                follower.check_wanted()
            if report is None and time.monotonic() - begun_at >= START_TIMEOUT:
                missing = " and ".join(kind.channel for kind in BOOK_KINDS if not follower.known(kind.messages))
                raise ConfigError(lacking(lake.path, missing or "symbol of both channels"))
            show(["waiting for rows of both channels"] if report is None else lines(report, most=15))
            left = REFRESH if until is None else min(REFRESH, until - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
    except KeyboardInterrupt:
        pass
    return report

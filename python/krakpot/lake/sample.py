"""The books of a symbol at many times, rebuilt from the lake by the core, every checksum on the way proved.

The work is cut at the hourly checkpoints: each piece begins with a book of its own, so that the pieces are read and
rebuilt beside each other, and none but those that hold the times asked for. The book at a time is the one after the
last message that is not later. Where no book is known, or it was wrong, there is none, and ``reason`` says why: a kind
of the ledger, or one of ``REASONS``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot import _core
from krakpot.lake import arbitration as sources
from krakpot.lake import journal
from krakpot.lake.format import BOOK_KINDS, BookKind, Numbers, polars_schema, stamp
from krakpot.lake.ledger import book_ends

if TYPE_CHECKING:
    from krakpot.lake.format import Part
    from krakpot.lake.lake import Lake

By = Literal["recv", "event"]
"""Whose time counts: of receipt here, or the exchange's."""
REASONS = {
    "absent": "no book was known yet",
    "unfinished": "the recording ended without a word",
    "unchecked": "a message came without a checksum",
    "unsaid": "nothing of the exchange's came after it until the book ended",
}
"""Why there is no book, beside the kinds of the ledger."""
TIMES_MAX = 100_000_000
"""Books at a time asked for at once."""
SKEW = 60_000_000_000
"""Most by which the exchange's clock may be ahead of the receiver's, ns."""
TIME = pl.Datetime("ns", "UTC")
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}


@dataclass(frozen=True)
class BookAt:
    """The book of a symbol at a time."""

    symbol: str
    at: pl.Series
    """The time, one value, ns."""
    reason: str | None
    """Why there is none; None where there is one."""
    checksum: int | None
    """Kraken's, of its best ten levels."""
    levels: pl.DataFrame
    """Columns level, bid_price, bid_qty, ask_price, ask_qty, best first; the shorter side ends with nulls."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object: numbers as text without trailing zeros, exact; sides best first."""
        sides = {
            f"{side}s": [[plain(price), plain(qty)] for price, qty in self._side(side).iter_rows()]
            for side in ("bid", "ask")
        }
        return {"symbol": self.symbol, "at": self._at(), "reason": self.reason, "checksum": self.checksum} | sides

    def lines(self) -> list[str]:
        """As a table for people."""
        if self.reason is not None:
            why = REASONS.get(self.reason, f"the ledger says {self.reason}")
            return [f"{self.symbol} at {self._at()}: there is no book: {why}"]
        found = [f"{self.symbol} at {self._at()}, checksum {self.checksum}"]
        found.append(f"{'bid qty':>20} {'bid':>16}   {'ask':<16} {'ask qty':<20}".rstrip())
        columns = ("bid_qty", "bid_price", "ask_price", "ask_qty")
        for row in self.levels.select(columns).iter_rows():
            bid_qty, bid, ask, ask_qty = ("" if number is None else plain(number) for number in row)
            found.append(f"{bid_qty:>20} {bid:>16}   {ask:<16} {ask_qty:<20}".rstrip())
        return found

    def _side(self, side: str) -> pl.DataFrame:
        return self.levels.select(f"{side}_price", f"{side}_qty").drop_nulls()

    def _at(self) -> str:
        return str(self.at.dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")[0])


def plain(number: Decimal | float) -> str:
    """Without trailing zeros and exponent."""
    return f"{number.normalize():f}" if isinstance(number, Decimal) else repr(number)


class _Piece(NamedTuple):
    """Messages of a session from ``first`` to before ``until``, that begin with a book of their own."""

    first: int
    until: int
    checkpoint: int | None
    """When the checkpoint before them was made, ns; None: they begin with a snapshot."""


class _File(NamedTuple):
    """A part that holds messages of the symbol, by its statistics."""

    first: int
    last: int
    path: Path
    rows: int
    """Of the row groups that hold some."""


def step(every: str | int) -> int:
    """Nanoseconds of ``100ms``, ``1s``, ``1m``, or a number of them."""
    found = re.fullmatch(r"(\d+)(ns|us|ms|s|m|h|d)", str(every).strip())
    ns = every if isinstance(every, int) else int(found[1]) * UNITS[found[2]] if found else 0
    if ns <= 0:
        sentence = f"every={every!r} is not allowed; write for example '100ms', '1s' or '5m'"
        raise ValueError(sentence)
    return ns


def grid(begin: int, end: int, every: int) -> pl.Series:
    """Times from ``begin`` to before ``end``, ns."""
    if (end - begin) // every > TIMES_MAX:
        sentence = f"{(end - begin) // every:,} times are more than {TIMES_MAX:,}; ask for fewer at once"
        raise ValueError(sentence)
    return pl.int_range(begin, max(begin, end), every, dtype=pl.Int64, eager=True).cast(TIME)


class Reader:
    """Reads books of one symbol and channel."""

    def __init__(self, lake: Lake, symbol: str, *, channel: str = "book", by: By = "recv") -> None:
        """Read what the ledger says of the symbol; ``ValueError`` for one that the lake does not have."""
        lake.check_symbols([symbol])
        kinds = {kind.channel: kind for kind in BOOK_KINDS}
        for name, value, allowed in (("channel", channel, tuple(kinds)), ("by", by, get_args(By))):
            if value not in allowed:
                sentence = f"{name}={value!r}; allowed: {', '.join(map(repr, allowed))}"
                raise ValueError(sentence)
        self.lake = lake
        self.symbol = symbol
        self.books: BookKind = kinds[channel]
        self.event = by == "event"
        self.spans, self.ledger = self._told()

    def _told(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Coverage of the symbol, and the ledger's rows that are about it."""
        from krakpot.lake.lake import covered  # noqa: PLC0415  # it needs this module
        from krakpot.lake.ledger import MARKS  # noqa: PLC0415  # as above

        mine = [pl.col(name).is_null() | (pl.col(name) == value) for name, value in
                (("symbol", self.symbol), ("channel", self.books.channel))]  # fmt: skip
        ledger = self.lake.ledger().filter(mine).select("session", "message", *MARKS).collect()
        return covered(ledger).filter(channel=self.books.channel, symbol=self.symbol), ledger

    @property
    def covered(self) -> tuple[int, int] | None:
        """From when to when there is anything, ns."""
        if self.spans.is_empty():
            return None
        bounds = self.spans.select(pl.col("ts_from").min(), pl.col("ts_to").max()).cast(pl.Int64)
        begin, end = bounds.row(0)
        return int(begin), int(end)

    def at(
        self, times: pl.Series, *, depth: int = 10, numbers: Numbers = "decimal", threads: int | None = None
    ) -> pl.DataFrame:
        """Books at ascending times; see ``Lake.books``."""
        if not 1 <= depth <= _core.LIMITS["DEPTH_MAX"]:
            sentence = f"depth={depth}; allowed: 1 to {_core.LIMITS['DEPTH_MAX']}"
            raise ValueError(sentence)
        if numbers not in ("decimal", "float"):
            sentence = f"numbers={numbers!r}; allowed: 'decimal', 'float'"
            raise ValueError(sentence)

        def core(session: str, asked: pl.DataFrame) -> _core.BookSampler:
            return _core.BookSampler(
                session,
                channel=self.books.channel,
                times=asked,
                depth=depth,
                event=self.event,
                floats=numbers == "float",
            )

        turns = self._turns(times)
        found = [pl.DataFrame(pa.record_batch(core("", turns.head(0).select("ts")).frame(0)))]
        found += [turns.filter(pl.col("session").is_null()).select("ts", "reason")]
        threads = threads or os.cpu_count() or 1
        # Twice as many pieces: while some are read, which Polars does beside, others are rebuilt.
        rebuilding = BoundedSemaphore(threads)
        with ThreadPoolExecutor(max_workers=2 * threads) as pool:
            for (session,), mine in turns.drop_nulls("session").partition_by("session", as_dict=True).items():
                asked = mine.select("ts")
                pieces = self._pieces(str(session), asked["ts"])
                cores = [core(str(session), asked) for _ in pieces]
                files = self._files(str(session), asked["ts"], pieces[0].first)
                ends = book_ends(self.ledger.filter(pl.col("session") == session), self.books.channel)
                ends = ends.select("symbol", "message", "kind")
                jobs = [
                    pool.submit(
                        self._piece, rebuilding, str(session), one, piece, files, ends, asked["ts"] if n == 0 else None
                    )
                    for n, (one, piece) in enumerate(zip(cores, pieces, strict=True))
                ]
                for job in jobs:
                    job.result()
                # What a later message says of a time counts, should the clock have stepped back.
                until = asked.height
                last_first: list[pl.DataFrame] = []
                for one in reversed(cores):
                    first = one.first
                    if first is not None and first < until:
                        last_first.append(pl.DataFrame(pa.record_batch(one.frame(until))))
                        until = first
                absent = pl.lit("absent", dtype=pl.String)
                found += [asked.head(until).with_columns(absent.alias("reason")), *reversed(last_first)]
        books = pl.concat(
            [frame for n, frame in enumerate(found) if n == 0 or frame.height], how="diagonal", rechunk=False
        )
        return books if books["ts"].is_sorted() else books.sort("ts", maintain_order=True)

    def _turns(self, times: pl.Series) -> pl.DataFrame:
        """Session of each time, null where there is none, and then the reason."""
        spans = self.spans.select(pl.col("ts_from", "ts_to").cast(pl.Int64), "session", "reason")
        if self.event:
            spans = self._said(spans, int(times.cast(pl.Int64).max() or 0))  # type: ignore[arg-type]  # whole numbers
        taken = sources.turns(sources.Span(*row) for row in spans.select("ts_from", "ts_to", "session").iter_rows())
        schema = {"session": pl.String, "begin": pl.Int64, "joined": pl.Boolean}
        turns = pl.DataFrame(taken, schema=schema, orient="row").select("session", "begin").sort("begin")
        asked = times.alias("ts").to_frame().with_columns(at=pl.col("ts").cast(pl.Int64))
        found = asked.join_asof(turns, left_on="at", right_on="begin").join_asof(
            spans.sort("ts_from"), left_on="at", right_on="ts_from", by="session", check_sortedness=False
        )
        there = (pl.col("at") < pl.col("ts_to")).fill_null(value=False)
        return found.select(
            "ts",
            pl.when(there).then("session").alias("session"),
            pl.when(~there).then(pl.col("reason").fill_null("absent")).alias("reason"),
        )

    def _said(self, spans: pl.DataFrame, last: int) -> pl.DataFrame:
        """By the exchange's time a book is known up to the last message of its span; nobody knows what came after."""
        rows = []
        for begin, end, session, reason in spans.iter_rows():
            if end - SKEW > last:
                rows.append((begin, end, session, reason))
                continue
            files = [part.path for part in self._parts(self.books.messages, session, stamp(begin).date())]
            until = None
            if files:
                since, to = (pl.lit(at).cast(TIME) for at in (begin, end))
                received = pl.col("ts_recv").is_between(since, to, closed="left")
                told = pl.scan_parquet(files, hive_partitioning=False).filter(pl.col("symbol") == self.symbol, received)
                until = told.select(pl.col("ts_event").max().cast(pl.Int64)).collect().item()
            rows.append((begin, begin if until is None else until + 1, session, "unsaid"))
        return pl.DataFrame(rows, schema=spans.schema, orient="row")

    def _parts(self, table: str, session: str, begin: date, end: date = date.max) -> list[Part]:
        """Parts of a session from a day on."""
        return [p for p in self.lake.parts(table) if p.session == session and begin <= p.date <= end]

    def _checkpoints(self, session: str, begin: date, end: date) -> pl.LazyFrame:
        schema = polars_schema(self.books.checkpoints)
        parts = self._parts(self.books.checkpoints, session, begin, end)
        frames = [pl.LazyFrame(schema=schema)]
        frames += [pl.scan_parquet(part.path, hive_partitioning=False).select(list(schema)) for part in parts]
        return pl.concat(frames).filter(pl.col("symbol") == self.symbol)

    def _pieces(self, session: str, times: pl.Series) -> list[_Piece]:
        """Where to begin: with the last book of its own before the first time, and again at each checkpoint."""
        margin = SKEW if self.event else 0
        begin, end = (int(time) for time in times.cast(pl.Int64).gather([0, -1]))
        days = stamp(begin - margin).date() - timedelta(days=1), stamp(end + margin).date()
        made = self._checkpoints(session, *days).group_by("message").agg(pl.col("ts_recv").first()).collect()
        snapshots = self.ledger.filter(session=session, kind="snapshot", symbol=self.symbol).drop_nulls("message")
        own = [(number, ts, ts) for number, ts in made.cast({"ts_recv": pl.Int64}).iter_rows()]
        told = snapshots.select("message", pl.col("ts_recv").cast(pl.Int64)).iter_rows()
        own += [(number, ts, None) for number, ts in told]
        before = [one for one in own if one[1] <= begin - margin]
        first = max(before, key=lambda one: one[0], default=(0, begin, None))
        cuts = sorted(one for one in own if one[2] is not None and one[0] > first[0] and one[1] <= end + margin)
        cuts = [first, *cuts]
        untils = [*(cut[0] for cut in cuts[1:]), 2**63 - 1]
        return [_Piece(cut[0], until, cut[2]) for cut, until in zip(cuts, untils, strict=True)]

    def _files(self, session: str, times: pl.Series, first: int) -> list[_File]:
        """Parts that hold what is needed, by their statistics."""
        margin = SKEW if self.event else 0
        begin, end = (int(time) for time in times.cast(pl.Int64).gather([0, -1]))
        anchor = self.ledger.filter(pl.col("session") == session, pl.col("message") >= first)["ts_recv"]
        oldest = min(int(anchor.cast(pl.Int64).min() or begin), begin) - margin  # type: ignore[arg-type]  # whole numbers
        days = stamp(oldest).date() - timedelta(days=1), stamp(end + margin).date()
        files = []
        for part in self._parts(self.books.messages, session, *days):
            data = pq.read_metadata(part.path)
            names = data.schema.names
            symbol, message, time = (names.index(name) for name in ("symbol", "message", "ts_recv"))
            held = []
            for group in map(data.row_group, range(data.num_row_groups)):
                names_there = group.column(symbol).statistics
                if names_there.min <= self.symbol <= names_there.max:
                    numbers, received = group.column(message).statistics, group.column(time).statistics
                    if received.min_raw <= end + margin and numbers.max_raw >= first:
                        held.append((numbers.min_raw, numbers.max_raw, group.num_rows))
            if held:
                lows, highs, rows = zip(*held, strict=True)
                files.append(_File(min(lows), max(highs), part.path, sum(rows)))
        return sorted(files)

    def _piece(
        self,
        rebuilding: BoundedSemaphore,
        session: str,
        core: _core.BookSampler,
        piece: _Piece,
        files: list[_File],
        ends: pl.DataFrame,
        times: pl.Series | None,
    ) -> None:
        """Rebuild the books of one piece; ``times`` if it is the first, whose checkpoint stands for what was before."""
        core.ends(ends)
        if piece.checkpoint is not None:
            day = stamp(piece.checkpoint).date()
            rows = self._checkpoints(session, day - timedelta(days=1), day).filter(pl.col("message") == piece.first)
            core.checkpoints(rows.select(self.books.checkpoint_columns).sort("entry").collect())
            if times is not None:
                since = int(times.cast(pl.Int64)[0]) if self.event else piece.checkpoint
                core.begin(self.symbol, piece.first, since)
        for frame in self._frames(piece, files):
            with rebuilding:
                core.messages(frame)

    def _frames(self, piece: _Piece, files: list[_File]) -> Iterator[pl.DataFrame]:
        """Rows of the messages of a piece, in order, no message in two frames."""
        times = ["ts_recv", "ts_event"] if self.event else ["ts_recv"]
        schema = polars_schema(self.books.messages)
        columns = [name for name in schema if name in (*self.books.message_columns, *times)]
        mine = [file for file in files if file.first < piece.until and file.last >= piece.first]
        number = pl.col("message")
        wanted = (pl.col("symbol") == self.symbol, number >= piece.first, number < piece.until)
        while mine:
            # Parts whose messages overlap belong together: both sides of a midnight at which the clock was set back.
            # Small ones are read together, up to the rows of a large one, because that takes half the time.
            together = [mine.pop(0)]
            while mine and (
                mine[0].first <= max(file.last for file in together)
                or sum(file.rows for file in together) + mine[0].rows <= journal.ROWS_MAX
            ):
                together.append(mine.pop(0))
            rows = pl.concat(
                pl.scan_parquet(file.path, hive_partitioning=False)
                .filter(*wanted)
                .select(pl.col(name).cast(schema[name]) for name in columns)
                for file in together
            ).collect()
            if rows.height:
                yield rows if rows["message"].is_sorted() else rows.sort("message", "entry")


def ladder(row: dict[str, Any], numbers: Numbers) -> pl.DataFrame:
    """Levels of one row of books, one below the other."""
    names = ("bid_price", "bid_qty", "ask_price", "ask_qty")
    kind = pl.Float64() if numbers == "float" else pl.Decimal(38, 10)
    depth = sum(name.startswith("bid_price_") for name in row)
    columns = {name: [row[f"{name}_{level}"] for level in range(depth)] for name in names}
    levels = pl.DataFrame(columns, schema=dict.fromkeys(names, kind)).with_row_index("level")
    return levels.filter(pl.col("bid_price").is_not_null() | pl.col("ask_price").is_not_null())

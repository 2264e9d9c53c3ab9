"""Books of symbols at many times, rebuilt from the lake by the core, which checks every checksum on the way.

The book at a time is the book after the last message that is not later. If no book is known at a time, or it was wrong,
there is none, and ``reason`` says why: a kind of the ledger, or one of ``REASONS``.

The work is cut at the hourly checkpoints. Each piece begins with a book of its own, so pieces are read and rebuilt in
parallel, and only those are read that hold the times asked for.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, cached_property, partial
from itertools import pairwise
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.lake.arbitration import Segment, Span, arbitrate
from krakpot.lake.coverage import RECORDING, STOPPED, UNFINISHED, covered, recorded_sessions
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import BOOK_KINDS, BookKind, Part, moment, stamp
from krakpot.lake.ledger import MARKS, SINCE, book_ends
from krakpot.lake.messages import MESSAGE_MAX, MessageReader
from krakpot.lake.recorded import check_depth_recorded, check_recorded, warn_outside
from krakpot.lake.times import TIME, Times, times_of
from krakpot.values import Numbers, Time, shown, smaller_step, step, step_text, threads_of, time_of, time_range

Core = TypeVar("Core", _core.BookSampler, _core.BookChanges)
Begin = Callable[[ThreadPoolExecutor, BoundedSemaphore], Callable[[], pl.DataFrame]]
"""Begins pieces of work in a pool; what is returned waits for their result."""
By = Literal["recv", "event"]
"""Which time counts: the receive time here, or the exchange's time."""
Before = Literal["message", "event"]
"""What decides which book came before a trade: the order of messages, or the exchange's time."""
ABSENT, UNCONFIRMED, SNAPSHOT = "absent", "unconfirmed", "snapshot"
REASONS = {
    ABSENT: "no book was known yet",
    UNCONFIRMED: "it is later than the last message that the exchange sent before the recording of the book ended",
    SNAPSHOT: "the trade came in a snapshot, some time after it was made",
    "unchecked": "a message came without a checksum",
    STOPPED: "the recording had ended",
    RECORDING: "the recording has not come that far",
    UNFINISHED: "the recording ended without saying so: the recorder was killed",
}
"""Why there is no book, beside the kinds of the ledger."""
CHANGE = "change"
"""Instead of a step: a row for each message that changed a book."""
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
Layout = Literal["wide", "long"]
"""A column for each level, or a row."""
LEVEL_COLUMNS = ("bid_price", "bid_qty", "ask_price", "ask_qty")
LONG_ROWS = 100_000
"""Books that are laid out at a time, level below level."""
NUMBERS = ("decimal", "float")
"""Numbers that books have. Whole steps would change their size with the pair's precision, from row to row."""
ROWS_MAX, ROWS_MANY = 100_000_000, 50_000_000
"""Largest number of rows of books in one call, and from which number on it is said how large that is."""
SKEW = 60_000_000_000
"""How much the clock of the recorder may drift within a span, ns, where times are the exchange's."""
WALK = 10_000
"""Rows of a step of ``SymbolBooks.walk``: whoever has seen enough can stop after it."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class BookAt:
    """The book of a symbol at a time."""

    symbol: str
    at: int
    """The time, nanoseconds since the epoch."""
    reason: str | None
    """Why there is no book; None if there is one."""
    checksum: int | None
    """Kraken's checksum of the best ten levels; None if there is no book."""
    levels: pl.DataFrame
    """Columns level, bid_price, bid_qty, ask_price, ask_qty; best first; the shorter side ends with nulls."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object: exact numbers as text without trailing zeros; sides best first."""
        sides = {
            f"{side}s": [[plain(price), plain(qty)] for price, qty in self._side(side).iter_rows()]
            for side in ("bid", "ask")
        }
        return {"symbol": self.symbol, "at": moment(self.at), "reason": self.reason, "checksum": self.checksum} | sides

    def lines(self) -> list[str]:
        """As a table for a terminal."""
        if self.reason is not None:
            why = REASONS.get(self.reason, f"the ledger says {self.reason}")
            return [f"{self.symbol} at {moment(self.at)}: there is no book: {why}"]
        found = [f"{self.symbol} at {moment(self.at)}, checksum {self.checksum}"]
        found.append(f"{'bid qty':>20} {'bid':>16}   {'ask':<16} {'ask qty':<20}".rstrip())
        columns = ("bid_qty", "bid_price", "ask_price", "ask_qty")
        for row in self.levels.select(columns).iter_rows():
            bid_qty, bid, ask, ask_qty = ("" if number is None else plain(number) for number in row)
            found.append(f"{bid_qty:>20} {bid:>16}   {ask:<16} {ask_qty:<20}".rstrip())
        return found

    def _side(self, side: str) -> pl.DataFrame:
        return self.levels.select(f"{side}_price", f"{side}_qty").drop_nulls()


def plain(number: Decimal | float) -> str:
    """Text of a number without trailing zeros and exponent."""
    return f"{number.normalize():f}" if isinstance(number, Decimal) else repr(number)


class _Piece(NamedTuple):
    """Messages of a session from ``first`` to before ``until``, which begin with a whole book."""

    first: int
    until: int
    checkpoint: int | None
    """Receive time of the checkpoint before ``first``, ns; None if they begin with a snapshot."""


class _Job(NamedTuple):
    """Pieces of one session to rebuild, and where."""

    session: str
    window: _Window
    pieces: list[_Piece]
    pool: ThreadPoolExecutor
    rebuilding: BoundedSemaphore


class _Window(NamedTuple):
    """Receive times in which the messages for the asked times may have come, ns."""

    begin: int
    end: int


def grid(begin: int, end: int, every: int) -> pl.Series:
    """Times from ``begin`` to before ``end``, ns."""
    check_size(-(-(end - begin) // every), "times")
    return pl.int_range(begin, max(begin, end), every, dtype=pl.Int64, eager=True).cast(TIME)


def warn_no_step(every: int, begin: int, end: int) -> None:
    """Warn that no whole step lies in what is known, from ``begin`` to ``end``, all in ns; say which one would."""
    span = " to ".join(f"{stamp(time):%Y-%m-%dT%H:%M:%SZ}" for time in (begin, end))
    sentence = (
        f"every={step_text(every)!r}: no whole step lies in what is known, {span}, so there are no rows; "
        f"give a smaller step, as every={smaller_step(end - begin)!r}, or a start"
    )
    # The caller of the lake's method.
    warnings.warn(sentence, UserWarning, stacklevel=4)


def check_size(count: int, what: str, size: int = 0) -> None:
    """Raise ``ConfigError`` if there are too many, warn if there are very many; ``size``: bytes of each."""
    if count > ROWS_MAX:
        raise ConfigError(f"{count:,} {what} are more than {ROWS_MAX:,}; ask for fewer at once")
    if count > ROWS_MANY and size:
        sentence = f"{count:,} {what} take {count * size / 1e9:,.0f} GB; ask for fewer at once if that is too much"
        warnings.warn(sentence, UserWarning, stacklevel=5)


def check_depth(depth: object, name: str = "depth") -> None:
    """Raise ``ConfigError`` for levels that are no number of them."""
    if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= _core.LIMITS["DEPTH_MAX"]:
        raise ConfigError(f"{name}={shown(depth)}; allowed: 1 to {_core.LIMITS['DEPTH_MAX']}")


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ``ConfigError`` for an option with another value."""
    if value not in allowed:
        raise ConfigError(f"{name}={shown(value)}; allowed: {', '.join(map(repr, allowed))}")


class BookSampler:
    """Reads books of symbols at many times; symbols, and the pieces of each, are rebuilt in parallel."""

    def __init__(self, folder: Folder, symbols: Sequence[str], *, channel: str = "book", by: By = "recv") -> None:
        """Read the ledger for these symbols of the lake."""
        kinds = {kind.channel: kind for kind in BOOK_KINDS}
        one_of("channel", channel, tuple(kinds))
        one_of("by", by, get_args(By))
        kind = kinds[channel]
        view = folder.look([kind.messages, kind.checkpoints, "ledger"])
        mine = pl.col("symbol").is_null() | pl.col("symbol").is_in(list(symbols))
        mine &= pl.col("channel").is_null() | (pl.col("channel") == channel)
        ledger = view.scan("ledger").filter(mine).select("session", "message", *MARKS).collect()
        spans = covered(ledger, recorded_sessions(view)).filter(channel=channel)
        self.folder, self.channel = folder, channel
        # A part's metadata is read once, not once for each symbol.
        metadata = cache(pq.read_metadata)
        self.symbols = [
            SymbolBooks(
                symbol,
                kind,
                view,
                ledger.filter(pl.col("symbol").is_null() | (pl.col("symbol") == symbol)),
                spans.filter(symbol=symbol),
                event=by == "event",
                metadata=metadata,
            )
            for symbol in symbols
        ]

    def check(self, depth: int = 0) -> None:
        """Raise ``ConfigError`` if books of none of the symbols were recorded, or none with so many levels."""
        names = [one.symbol for one in self.symbols]
        if not any(one.recorded for one in self.symbols):
            check_recorded(self.folder, names, [self.channel])
        check_depth_recorded(self.folder, names, self.channel, depth)

    @property
    def covered(self) -> tuple[int, int] | None:
        """First time at which a book of any symbol is known, and the end of the last span, ns; None without one."""
        found = [span for one in self.symbols if (span := one.covered) is not None]
        return (min(begin for begin, _ in found), max(end for _, end in found)) if found else None

    def at(
        self, times: pl.Series, *, depth: int = 10, numbers: Numbers = "decimal", threads: int | None = None
    ) -> pl.DataFrame:
        """Books at times, of each symbol in the order of the times; see ``Lake.books``."""
        order = None if times.is_sorted() else times.arg_sort()
        ascending = times if order is None else times.gather(order)
        found = _in_parallel(
            [partial(one.begin, ascending, depth, floats=numbers == "float") for one in self.symbols],
            threads_of(threads),
        )
        frames = [_empty(depth, floats=numbers == "float").select(pl.lit("").alias("symbol"), pl.all())]
        for one, books in zip(self.symbols, found, strict=True):
            # The place of each time among the ascending ones.
            asked = books if order is None else books[order.arg_sort()]
            frames.append(asked.select(pl.lit(one.symbol).alias("symbol"), pl.all()))
        return pl.concat(frames, rechunk=False)

    def changes(
        self, begin: int, end: int, *, depth: int, numbers: Numbers, threads: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """The changes of each symbol in [begin, end), ns; first a frame without rows."""
        floats = numbers == "float"
        begun = [partial(one.begin_changes, begin, end, depth, floats=floats) for one in self.symbols]
        for one, rows in zip(self.symbols, _in_parallel(begun, threads_of(threads)), strict=True):
            yield rows.select(pl.lit(one.symbol).alias("symbol"), pl.all())

    def before(self, asked: pl.DataFrame, *, depth: int, floats: bool) -> pl.DataFrame:
        """The book before messages of other channels; columns row, symbol, session, message, recv and event (ns)."""
        mine = asked.partition_by("symbol", as_dict=True, include_key=False)
        chosen = [(one, mine[one.symbol,]) for one in self.symbols if (one.symbol,) in mine]
        begun = [
            partial(one.begin_earlier if one.event else one.begin_before, rows, depth, floats=floats)
            for one, rows in chosen
        ]
        return pl.concat(_in_parallel(begun, threads_of(None))).sort("row")


def symbol_books(folder: Folder, symbol: str, *, channel: str, by: By = "recv") -> SymbolBooks:
    """The books of one symbol; ``ConfigError`` for one that the lake does not have."""
    name = values.read(values.symbol, symbol, "symbol")
    folder.check_symbols([name])
    return BookSampler(folder, [name], channel=channel, by=by).symbols[0]


def _empty(depth: int, *, floats: bool) -> pl.DataFrame:
    """The columns of books, without rows."""
    none = pl.DataFrame(schema={"ts": TIME})
    core = _core.BookSampler("", channel="book", times=none, depth=depth, floats=floats)
    return pl.DataFrame(pa.record_batch(core.frame(0)))


def _no_change(depth: int, *, floats: bool) -> pl.DataFrame:
    """The columns of changes, without rows."""
    text, number = pl.lit(None, pl.String), pl.lit(None, pl.UInt64)
    columns = [text.alias("symbol"), pl.col("ts"), text.alias("session"), number.alias("message"), pl.exclude("ts")]
    return _empty(depth, floats=floats).select(columns)


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Frames one below the other; the first one has all columns, and may be empty."""
    some = [frame for n, frame in enumerate(frames) if n == 0 or frame.height]
    return pl.concat(some, how="diagonal", rechunk=False)


def _in_parallel(begin: Sequence[Begin], threads: int) -> Iterator[pl.DataFrame]:
    """What each job gives, in order; their pieces are read and rebuilt together."""
    # Twice as many pieces as threads: some are read, which Polars does in threads of its own, others are rebuilt.
    pools = ThreadPoolExecutor(max_workers=2 * threads), ThreadPoolExecutor(max_workers=threads)
    rebuilding = BoundedSemaphore(threads)
    try:
        begun = deque(pools[1].submit(one, pools[0], rebuilding) for one in begin)
        while begun:
            yield begun.popleft().result()()
    finally:
        for pool in reversed(pools):
            pool.shutdown(cancel_futures=True)


class SymbolBooks:
    """Books of one symbol."""

    def __init__(
        self,
        symbol: str,
        kind: BookKind,
        view: View,
        ledger: pl.DataFrame,
        spans: pl.DataFrame,
        *,
        event: bool,
        metadata: Callable[[Path], pq.FileMetaData],
    ) -> None:
        """Of the rows of the ledger that concern the symbol, and its coverage."""
        self.symbol = symbol
        self.kind = kind
        self.view = view
        self.ledger = ledger
        self.event = event
        self.clock = "event" if event else "recv"
        self._metadata = metadata
        self._recv = spans.select("session", "reason", pl.col("ts_from", "ts_to").cast(pl.Int64))

    @property
    def recorded(self) -> bool:
        """Whether it was ever recorded."""
        return not self._recv.is_empty()

    @cached_property
    def spans(self) -> pl.DataFrame:
        """Session, reason, and times in ns: ts_from and ts_to of a book, ts_over from which on it has surely ended."""
        return self._by_event(self._recv) if self.event else self._recv.with_columns(ts_over="ts_to")

    @property
    def covered(self) -> tuple[int, int] | None:
        """First time at which a book is known, and the end of the last span, ns; None if there is none."""
        if self.spans.is_empty():
            return None
        begin, end = self.spans.select(pl.col("ts_from").min(), pl.col("ts_to").max()).row(0)
        return int(begin), int(end)

    def begin(
        self, times: pl.Series, depth: int, pool: ThreadPoolExecutor, rebuilding: BoundedSemaphore, *, floats: bool
    ) -> Callable[[], pl.DataFrame]:
        """Begin to rebuild the books at ascending times; what is returned waits for them, one row each."""
        by_session: dict[str, list[pl.Series]] = {}
        unknown = []
        for session, reason, asked in self._steps(times):
            if session is None:
                unknown.append(asked.to_frame().with_columns(pl.lit(reason, pl.String).alias("reason")))
            else:
                by_session.setdefault(session, []).append(asked)
        begun = []
        for session, series in by_session.items():
            mine = pl.concat(series)
            window = self._window(session, mine)
            job = _Job(session, window, self._pieces(session, window), pool, rebuilding)
            begun.append(self._sample(job, mine.to_frame(), self.clock, depth, floats=floats))

        def finish() -> pl.DataFrame:
            found = [_empty(depth, floats=floats), *unknown]
            books = _together([*found, *(frame for end in begun for frame in end())])
            return books if books["ts"].is_sorted() else books.sort("ts", maintain_order=True)

        return finish

    def begin_before(
        self, asked: pl.DataFrame, depth: int, pool: ThreadPoolExecutor, rebuilding: BoundedSemaphore, *, floats: bool
    ) -> Callable[[], pl.DataFrame]:
        """Begin to rebuild the books before messages of any channel (columns row, session, message, recv)."""
        here = pl.col("session").is_in(self._recv["session"].unique().to_list())
        begun = []
        for (session,), mine in asked.filter(here).sort("message").partition_by("session", as_dict=True).items():
            name = str(session)
            window = _Window(int(mine["recv"].min()) - SKEW, int(mine["recv"].max()) + SKEW)  # type: ignore[arg-type]  # numbers
            first, last = mine["message"].gather([0, -1])
            job = _Job(name, window, self._pieces(name, window, (first, last)), pool, rebuilding)
            # The last message before it has a number up to one less.
            times = mine.select(ts=(pl.col("message").cast(pl.Int64) - 1).cast(TIME))
            begun.append((mine, self._sample(job, times, "message", depth, floats=floats)))
        others = asked.filter(~here).sort("recv")
        elsewhere = self.begin((others["recv"] - 1).cast(TIME), depth, pool, rebuilding, floats=floats)

        def finish() -> pl.DataFrame:
            empty = _empty(depth, floats=floats)
            found = [
                pl.concat([mine, _together([empty, *end()])], how="horizontal").with_columns(self._dead(str(name)))
                for mine, end in begun
                for name in mine["session"].head(1)
            ]
            found.append(pl.concat([others, elsewhere()], how="horizontal"))
            return pl.concat(found).drop("ts").sort("row")

        return finish

    def begin_earlier(
        self, asked: pl.DataFrame, depth: int, pool: ThreadPoolExecutor, rebuilding: BoundedSemaphore, *, floats: bool
    ) -> Callable[[], pl.DataFrame]:
        """Begin to rebuild the books of the last messages with an earlier time of the exchange (columns row, event)."""
        rows = asked.sort("event")
        found = self.begin((rows["event"] - 1).cast(TIME), depth, pool, rebuilding, floats=floats)
        return lambda: pl.concat([rows, found()], how="horizontal")

    def begin_changes(
        self, begin: int, end: int, depth: int, pool: ThreadPoolExecutor, rebuilding: BoundedSemaphore, *, floats: bool
    ) -> Callable[[], pl.DataFrame]:
        """Begin to rebuild the changes of the book in [begin, end), ns."""
        taken = self._taken()
        if self.spans.is_empty():
            begin = end = 0
        else:
            begin = max(begin, int(self.spans["ts_from"].min()))  # type: ignore[arg-type]  # numbers
            end = min(end, int(self.spans.select(pl.max_horizontal("ts_to", "ts_over").max()).item()) + 1)
        begun = []
        for number, segment in enumerate(taken):
            after = taken[number + 1] if number + 1 < len(taken) else None
            # The session that joins in has a book already; what it gets at that very time is in it.
            low = max(begin, segment.begin + segment.joined)
            high = end if after is None else min(end, after.begin + after.joined)
            if low >= high:
                continue
            window = self._window(segment.session, pl.Series([low, high - 1]).cast(TIME))
            # From before the first time on: a snapshot that comes then may change nothing.
            pieces = self._pieces(segment.session, _Window(window.begin - 1, window.end))
            job = _Job(segment.session, window, pieces, pool, rebuilding)
            cores = [
                _core.BookChanges(
                    segment.session,
                    channel=self.kind.channel,
                    begin=low,
                    end=high,
                    depth=depth,
                    clock=self.clock,
                    floats=floats,
                )
                for _ in job.pieces
            ]
            begun.append(
                (
                    segment.session,
                    cores,
                    self._submit(job, cores, lambda core, piece, _: core.begin(self.symbol, piece.first)),
                )
            )
        joins = pl.Series([one.begin for one in taken if one.joined and begin <= one.begin < end], dtype=pl.Int64)
        joined = self.begin(joins.cast(TIME), depth, pool, rebuilding, floats=floats)
        ends = pl.concat([self.spans["ts_to"], self.spans["ts_over"]]).unique().sort()
        unknown = self._segments(ends.filter((ends >= begin) & (ends < end)).cast(TIME), named=True)

        def finish() -> pl.DataFrame:
            found: list[pl.DataFrame] = []
            for session, cores, jobs in begun:
                for job in jobs:
                    job.result()
                parts = [pl.DataFrame(pa.record_batch(core.frame())) for core in cores]
                found += [one.with_columns(pl.lit(session).alias("session")) for one in parts]
            none = _no_change(depth, floats=floats).drop("symbol")
            changes = pl.concat([none, *(one.select(none.columns) for one in found)], rechunk=False)
            # Receive times may step back; rows stay in the order of messages.
            changes = changes.with_columns(at=pl.col("ts").cum_max())
            others = pl.concat(
                [
                    joined().join(self._joined(taken), on="ts", how="left"),
                    unknown.filter(pl.col("reason").is_not_null()),
                ],
                how="diagonal",
            ).with_columns(at="ts")
            rows = pl.concat([changes, others], how="diagonal").sort("at", maintain_order=True).drop("at")
            # A row that was no message is one only if something changes by it.
            facts = pl.exclude("ts", "session", "message")
            repeated = pl.all_horizontal(facts.eq_missing(facts.shift(1)))
            first = pl.int_range(pl.len()) == 0
            kept = pl.col("message").is_not_null() | first | ~repeated
            return rows.filter(kept).select("ts", "session", "message", pl.exclude("ts", "session", "message"))

        return finish

    def session_at(self, time: int) -> tuple[str | None, str | None]:
        """Session whose book is the one at a time, ns; if there is none, None and the reason."""
        row = self._segments(pl.Series([time], dtype=pl.Int64).cast(TIME)).row(0, named=True)
        return row["session"], row["reason"]

    def walk(self, core: _core.QueueReader, session: str, first: int, last: int) -> Iterator[None]:
        """Give ``core`` the messages of a session up to a time, in steps; it has the book at ``first``, ns, and before.

        It begins with the last whole book before ``first``: a checkpoint or a snapshot.
        """
        window = self._window(session, pl.Series([first, last], dtype=pl.Int64))
        piece = self._pieces(session, window)[0]
        core.ends(self._ends(session))
        if piece.checkpoint is not None:
            core.checkpoints(self._checkpoint(session, piece))
            core.begin(self.symbol, piece.first)
        reader = self._reader(session, window, piece, ("ts_recv", "ts_event"))
        before = stamp(window.end) + timedelta(seconds=1)
        for _, frame in reader.frames(piece.first, before=before, checkpoints=False):
            numbers = frame["message"]
            begin = 0
            while begin < frame.height:
                # To the end of a message.
                number = numbers[min(begin + WALK, frame.height) - 1]
                end = int(numbers.search_sorted(number, side="right"))
                core.messages(frame[begin:end])
                begin = end
                yield

    def _sample(
        self, job: _Job, asked: pl.DataFrame, clock: str, depth: int, *, floats: bool
    ) -> Callable[[], list[pl.DataFrame]]:
        """Begin to rebuild the books of one session at ascending times; what is returned waits for their frames."""
        times = asked["ts"].cast(pl.Int64)
        begins = [piece.first if clock == "message" else piece.checkpoint for piece in job.pieces[1:]]
        places = [0, *times.search_sorted(pl.Series(begins, dtype=pl.Int64)), times.len()]
        cores = [
            _core.BookSampler(
                job.session,
                channel=self.kind.channel,
                times=asked,
                depth=depth,
                room=until - place,
                clock=clock,
                floats=floats,
            )
            for place, until in pairwise(places)
        ]
        first = int(times[0])

        def begin(core: _core.BookSampler, piece: _Piece, checkpoint: int) -> None:
            core.begin(self.symbol, piece.first, checkpoint if clock == "recv" else first)

        jobs = self._submit(job, cores, begin)

        def finish() -> list[pl.DataFrame]:
            for one in jobs:
                one.result()
            # If the clock stepped back, what a later message says of a time counts.
            until = asked.height
            last_first: list[pl.DataFrame] = []
            for core in reversed(cores):
                core.close()
                place = core.first
                if place is not None and place < until:
                    last_first.append(pl.DataFrame(pa.record_batch(core.frame(until))))
                    until = place
            absent = pl.lit(ABSENT, dtype=pl.String)
            return [asked.head(until).with_columns(absent.alias("reason")), *reversed(last_first)]

        return finish

    def _submit(
        self, job: _Job, cores: Sequence[Core], begin: Callable[[Core, _Piece, int], None]
    ) -> list[Future[None]]:
        """Rebuild the pieces of one session; ``begin`` is called with the first one if it begins with a checkpoint."""
        reader = self._reader(job.session, job.window, job.pieces[0])
        ends = self._ends(job.session)
        return [
            job.pool.submit(self._piece, job, reader, core, piece, ends, begin)
            for core, piece in zip(cores, job.pieces, strict=True)
        ]

    def _taken(self) -> list[Segment]:
        """Which session is taken, from which time on; each one differs from the one before."""
        spans = self.spans.select("ts_from", "ts_to", "session").iter_rows()
        found: list[Segment] = []
        for segment in arbitrate(Span(*row) for row in spans):
            if not found or found[-1].session != segment.session:
                found.append(segment)
        return found

    def _joined(self, taken: list[Segment]) -> pl.DataFrame:
        """Time and session of each change to a session that had a book already."""
        rows = [(one.begin, one.session) for one in taken if one.joined]
        return pl.DataFrame(rows, schema={"ts": pl.Int64, "session": pl.String}, orient="row").cast({"ts": TIME})

    def _steps(self, times: pl.Series) -> Iterator[tuple[str | None, str | None, pl.Series]]:
        """Session, or None and the reason, and the ascending times for which that is so; runs that follow each other.

        It changes only where a segment or a span begins or ends. So it is computed for these times alone.
        """
        ends = self.spans.select("ts_from", "ts_to", "ts_over")
        changes = pl.concat(
            [*ends, pl.Series([LOWEST, *(one.begin for one in self._taken())], dtype=pl.Int64)]
        ).unique()
        known = self._segments(changes.drop_nulls().sort().cast(TIME))
        places = [*times.cast(pl.Int64).search_sorted(known["ts"].cast(pl.Int64), side="left"), times.len()]
        for at, (session, reason) in enumerate(known.select("session", "reason").iter_rows()):
            if places[at] < places[at + 1]:
                yield session, reason, times[places[at] : places[at + 1]].alias("ts")

    def _segments(self, times: pl.Series, *, named: bool = False) -> pl.DataFrame:
        """Session of each time; where there is none, null and the reason. ``named``: then too the one before."""
        spans = self.spans
        taken = arbitrate(Span(*row) for row in spans.select("ts_from", "ts_to", "session").iter_rows())
        schema = {"session": pl.String, "begin": pl.Int64, "joined": pl.Boolean}
        segments = pl.DataFrame(taken, schema=schema, orient="row").select("session", "begin").sort("begin")
        asked = times.alias("ts").to_frame().with_columns(at=pl.col("ts").cast(pl.Int64))
        found = asked.join_asof(segments, left_on="at", right_on="begin").join_asof(
            spans.sort("ts_from"), left_on="at", right_on="ts_from", by="session", check_sortedness=False
        )
        there = (pl.col("at") < pl.col("ts_to")).fill_null(value=False)
        over = (pl.col("at") >= pl.col("ts_over")).fill_null(value=True)
        why = pl.when(over).then(pl.col("reason").fill_null(ABSENT)).otherwise(pl.lit(UNCONFIRMED))
        session = pl.col("session") if named else pl.when(there).then("session")
        return found.select("ts", session.alias("session"), pl.when(~there).then(why).alias("reason"))

    # Times of the exchange.

    def _by_event(self, spans: pl.DataFrame) -> pl.DataFrame:
        """The spans by the exchange's time: from their first message to their last one, inclusive.

        The recorder's clock may be wrong by any amount, so the messages themselves say when a span begins and ends.
        """
        frames = [
            self._event_spans(str(name), mine) for (name,), mine in spans.partition_by("session", as_dict=True).items()
        ]
        more = dict.fromkeys(("ts_over", "low", "high"), pl.Int64())
        return pl.concat([pl.DataFrame(schema={**spans.schema, **more}), *frames])

    def _event_spans(self, session: str, spans: pl.DataFrame) -> pl.DataFrame:
        """Spans of one session by the exchange's time; ``low`` and ``high``: receive time minus exchange time, ns."""
        spans = spans.sort("ts_from").with_row_index("span")
        bounds = [
            (stamp(begin).date(), stamp(end - 1).date()) for begin, end in spans.select("ts_from", "ts_to").rows()
        ]
        messages = self._times(session, {day for days in bounds for day in days}, spans)
        last_days = pl.DataFrame({"span": spans["span"], "last_day": [end for _, end in bounds]})
        seen = (
            messages.filter("within")
            .join(last_days, on="span")
            .filter(pl.col("ts_recv").cast(TIME).dt.date() == pl.col("last_day"))
        )
        quiet = spans.join(seen, on="span", how="anti")
        if quiet.height:
            # Such a span has no message on its last day, so its last message is on a day before.
            days = {
                begin + n * DAY
                for row in quiet["span"]
                for begin, end in [bounds[row]]
                for n in range((end - begin).days)
            }
            messages = pl.concat([messages, self._times(session, days, quiet)])
        offset = pl.col("ts_recv") - pl.col("ts_event")
        known = (
            messages.filter("within")
            .group_by("span")
            .agg(
                first=pl.col("ts_event").sort_by("message").first(),
                last=pl.col("ts_event").max(),
                behind=offset.sort_by("message").last(),
            )
        )
        found = spans.join(known, on="span", how="left", maintain_order="left")
        # All messages count: while the clock was wrong, they were received outside of their span.
        low, high = messages.select(low=offset.min(), high=offset.max()).row(0)
        # A span without any time of the exchange's keeps its receive times.
        over = pl.max_horizontal(pl.col("last") + 1, pl.col("ts_to") - pl.col("behind"))
        return found.select(
            "session",
            "reason",
            pl.min_horizontal("first", "last").fill_null(pl.col("ts_from")).alias("ts_from"),
            (pl.col("last") + 1).fill_null(pl.col("ts_to")).alias("ts_to"),
            over.fill_null(pl.col("ts_to")).alias("ts_over"),
            pl.lit(low or 0, pl.Int64).alias("low"),
            pl.lit(high or 0, pl.Int64).alias("high"),
        )

    def _times(self, session: str, days: set[date], spans: pl.DataFrame) -> pl.DataFrame:
        """The symbol's messages in parts of these days: times (ns), the latest span begun, whether they lie in it."""
        parts = [part for part in self.view.of(self.kind.messages, session) if part.date in days]
        reader = self._messages(session, parts)
        bounds = spans.select("span", "ts_from", "ts_to")
        found = [
            pl.DataFrame(
                schema=dict.fromkeys(("ts_recv", "ts_event"), pl.Int64())
                | {"message": pl.UInt64(), "span": pl.UInt32(), "within": pl.Boolean()}
            )
        ]
        for _, frame in reader.frames(checkpoints=False):
            rows = frame.select("message", pl.col("ts_recv", "ts_event").cast(pl.Int64)).drop_nulls().unique("message")
            began = rows.sort("ts_recv").join_asof(bounds, left_on="ts_recv", right_on="ts_from")
            within = (pl.col("ts_recv") < pl.col("ts_to")).fill_null(value=False)
            found.append(began.select("ts_recv", "ts_event", "message", "span", within.alias("within")))
        return pl.concat(found)

    # What is read.

    def _ends(self, session: str) -> pl.DataFrame:
        """Rows of the ledger after which the book is out of sync, as the core takes them."""
        ends = book_ends(self.ledger.filter(pl.col("session") == session), self.kind.channel)
        return ends.select("symbol", "message", "kind")

    def _checkpoint(self, session: str, piece: _Piece) -> pl.DataFrame:
        """The whole book before the first message of a piece."""
        scan = self.view.scan(self.kind.checkpoints, session=session, start=piece.checkpoint, end=piece.checkpoint)
        rows = scan.filter(pl.col("symbol") == self.symbol, pl.col("message") == piece.first)
        return rows.select(self.kind.checkpoint_columns).sort("entry").collect()

    def _window(self, session: str, times: pl.Series) -> _Window:
        begin, end = (int(time) for time in times.cast(pl.Int64).gather([0, -1]))
        if not self.event:
            return _Window(begin, end)
        low, high = self.spans.filter(session=session).select(pl.col("low").min(), pl.col("high").max()).row(0)
        return _Window(begin + low - SKEW, end + high + SKEW)

    def _messages(self, session: str, parts: list[Part], times: Sequence[str] = ()) -> MessageReader:
        view = View(self.view.folder, parts, self.view.journals, self.view.unsettled)
        return MessageReader(
            view,
            session,
            self.kind,
            columns=times or (("ts_recv", "ts_event") if self.event else ("ts_recv",)),
            symbols=[self.symbol],
            metadata=self._metadata,
        )

    def _reader(self, session: str, window: _Window, first: _Piece, times: Sequence[str] = ()) -> MessageReader:
        """Reader of the parts that may hold messages of a window, or what its first book is built from."""
        rows = self.ledger.filter(pl.col("session") == session, pl.col("message") >= first.first)
        oldest = rows.select(pl.col("ts_recv").cast(pl.Int64).min().fill_null(window.begin)).item()
        days = stamp(min(oldest, window.begin)).date() - DAY, stamp(window.end).date()
        parts = self.view.of(self.kind.messages, session)
        return self._messages(session, [part for part in parts if days[0] <= part.date <= days[1]], times)

    def _pieces(self, session: str, window: _Window, messages: tuple[int, int] | None = None) -> list[_Piece]:
        """Where to begin: at the last snapshot or checkpoint before the window, and at each checkpoint in it.

        ``messages``: instead, at the last one that is not later than the first of these, and at each up to the last.
        """
        begin, end = window
        scan = self.view.scan(self.kind.checkpoints, session=session, start=begin - 86_400 * 10**9, end=end)
        made = scan.filter(pl.col("symbol") == self.symbol).group_by("message").agg(pl.col("ts_recv").first()).collect()
        snapshots = self.ledger.filter(session=session, kind="snapshot", symbol=self.symbol).drop_nulls("message")
        own = [(number, ts, ts) for number, ts in made.cast({"ts_recv": pl.Int64}).iter_rows()]
        own += [
            (number, ts, None)
            for number, ts in snapshots.select("message", pl.col("ts_recv").cast(pl.Int64)).iter_rows()
        ]
        place = 1 if messages is None else 0
        low, high = (begin, end) if messages is None else messages
        first = max((one for one in own if one[place] <= low), key=lambda one: one[0], default=(0, begin, None))
        cuts = [first, *sorted(one for one in own if one[2] is not None and one[0] > first[0] and one[place] <= high)]
        untils = [*(cut[0] for cut in cuts[1:]), MESSAGE_MAX]
        return [_Piece(cut[0], until, cut[2]) for cut, until in zip(cuts, untils, strict=True)]

    def _piece(
        self,
        job: _Job,
        reader: MessageReader,
        core: Core,
        piece: _Piece,
        ends: pl.DataFrame,
        begin: Callable[[Core, _Piece, int], None],
    ) -> None:
        """Rebuild the books of one piece. The checkpoint of the first piece is the book before it."""
        core.ends(ends)
        if piece.checkpoint is not None:
            core.checkpoints(self._checkpoint(reader.session, piece))
            if piece is job.pieces[0] or isinstance(core, _core.BookChanges):
                begin(core, piece, piece.checkpoint)
        before = stamp(job.window.end) + timedelta(seconds=1)
        for _, frame in reader.frames(piece.first, piece.until, before=before, checkpoints=False):
            with job.rebuilding:
                core.messages(frame)

    def _dead(self, session: str) -> list[pl.Expr]:
        """Books of a subscription that was dead before that was noticed are no books: the levels, and why."""
        ends = book_ends(self.ledger.filter(session=session), self.kind.channel)
        ends = ends.filter(pl.col("kind").is_in(SINCE)).drop_nulls("ts_from")
        why = pl.col("reason")
        dead = pl.lit(value=False)
        rows = ends.select(pl.col("ts_from").cast(pl.Int64), pl.col("message").fill_null(0), "kind").iter_rows()
        for since, message, kind in rows:
            this = (pl.col("recv") > since) & (pl.col("message") <= message) & pl.col("reason").is_null()
            dead |= this
            why = pl.when(this).then(pl.lit(kind)).otherwise(why)
        return [why.alias("reason"), pl.when(~dead).then(pl.col("checksum", "^(bid|ask)_(price|qty)_.*$"))]


def books_at(
    folder: Folder,
    symbols: Sequence[str],
    at: Time,
    *,
    depth: int | None,
    by: By,
    channel: str,
    numbers: Numbers = "decimal",
) -> list[BookAt]:
    """The book of each of these symbols at one time; see ``Lake.book_at``."""
    time = time_of(at, "at")
    most = _core.LIMITS["DEPTH_MAX"] if depth is None else depth
    check_depth(most)
    one_of("numbers", numbers, NUMBERS)
    times = pl.Series([time], dtype=pl.Int64).cast(TIME)
    sampler = BookSampler(folder, symbols, channel=channel, by=by)
    sampler.check(0 if depth is None else depth)
    found = sampler.at(times, depth=most, numbers=numbers)
    return [
        BookAt(row["symbol"], time, row["reason"], row["checksum"], levels(row, numbers))
        for row in found.iter_rows(named=True)
    ]


def books(
    folder: Folder,
    symbols: Sequence[str],
    start: Time | None,
    end: Time | None,
    *,
    every: str | timedelta | None,
    at: Times | None,
    depth: int,
    by: By,
    channel: str,
    numbers: Numbers,
    layout: Layout = "wide",
    threads: int | None = None,
    required: bool = True,
) -> pl.DataFrame:
    """Books of these symbols at times; see ``Lake.books``. ``required``: without any, or that deep, is an error."""
    check_depth(depth)
    one_of("numbers", numbers, NUMBERS)
    one_of("layout", layout, get_args(Layout))
    if at is not None and (start, end, every) != (None, None, None):
        raise ConfigError("at: give either at, or start, end and every")
    begin, until = time_range(start, end)
    number = 8 if numbers == "float" else 16
    size = 40 + 4 * number * (1 if layout == "long" else depth)
    if every == CHANGE:
        sampler = BookSampler(folder, symbols, channel=channel, by=by)
        sampler.check(depth)
        bounds = (LOWEST if begin is None else begin, HIGHEST if until is None else until)
        frames = [_no_change(depth, floats=numbers == "float")]
        count = 0
        for frame in sampler.changes(*bounds, depth=depth, numbers=numbers, threads=threads):
            frames.append(long(frame) if layout == "long" else frame)
            count += frames[-1].height
            check_size(count, "rows")
        check_size(count, "rows", size)
        warn_outside(begin, until, sampler.covered)
        frames[0] = long(frames[0]) if layout == "long" else frames[0]
        return pl.concat(frames, rechunk=False)
    width = step("100ms" if every is None else every, more=f", or {CHANGE!r}")
    sampler = BookSampler(folder, symbols, channel=channel, by=by)
    if required:
        sampler.check(depth)
    if at is not None:
        times = times_of(at, "at")
    else:
        known = sampler.covered or (0, 0)
        first = -(-known[0] // width) * width if begin is None else begin
        last = known[1] if until is None else until
        times = grid(first, last, width)
        if times.is_empty() and begin is None and known[0] < known[1] and last > known[0]:
            warn_no_step(width, *known)
        elif required:
            warn_outside(begin, until, sampler.covered)
    levels = depth if layout == "long" else 1
    check_size(len(symbols) * len(times) * levels, "rows", size)
    found = sampler.at(times, depth=depth, numbers=numbers, threads=threads)
    return long(found) if layout == "long" else found


def with_books(
    folder: Folder, trades: pl.LazyFrame, *, depth: int, numbers: Numbers, by: Before = "message"
) -> pl.LazyFrame:
    """Trades with the book before each of them; see ``Lake.trades``."""
    check_depth(depth, "book")
    event = by == "event"
    if numbers not in NUMBERS:
        raise ConfigError(f"numbers={shown(numbers)}: with book, allowed are {', '.join(map(repr, NUMBERS))}")
    floats = numbers == "float"
    books = _empty(depth, floats=floats).drop("ts", "checksum").rename({"reason": "book_reason"})

    def rebuilt(frame: pl.DataFrame) -> pl.DataFrame:
        times = {"recv": pl.col("ts_recv").cast(pl.Int64), "event": pl.col("ts_event").cast(pl.Int64)}
        asked = frame.select("symbol", "session", "message", "kind", **times, row=pl.int_range(pl.len()))
        # The time of a trade says where it belongs, however it came.
        placed = pl.lit(event) | (pl.col("kind") != SNAPSHOT)
        live = asked.filter(placed).drop("kind")
        if live.is_empty():
            found = [books]
        else:
            sampler = BookSampler(folder, live["symbol"].unique().sort().to_list(), by="event" if event else "recv")
            before = sampler.before(live, depth=depth, floats=floats).rename({"reason": "book_reason"})
            found = [before.select("row", *books.columns)]
        snapshots = asked.filter(~placed).select("row", book_reason=pl.lit(SNAPSHOT))
        rows = pl.concat([*found, snapshots], how="diagonal").sort("row")
        return pl.concat([frame, rows.select(books.columns)], how="horizontal")

    schema = {**trades.collect_schema(), **books.schema}
    # A filter on the books cannot be asked of the trades.
    options = dict.fromkeys(("predicate_pushdown", "projection_pushdown", "slice_pushdown"), False)
    return trades.map_batches(rebuilt, schema=schema, **options)


def long(frame: pl.DataFrame) -> pl.DataFrame:
    """The same books with a row for each level; a row without a level where there is none."""
    depth = sum(name.startswith("bid_price_") for name in frame.columns)
    facts = [name for name in frame.columns if not name.endswith(tuple("0123456789"))]
    some = pl.any_horizontal(pl.col("bid_price", "ask_price").is_not_null())
    parts = []
    for part in (frame.head(0), *frame.iter_slices(LONG_ROWS)):
        rows = part.select(
            *facts,
            pl.lit(list(range(depth)), dtype=pl.List(pl.UInt32)).alias("level"),
            *(pl.concat_list(f"{name}_{level}" for level in range(depth)).alias(name) for name in LEVEL_COLUMNS),
        ).explode("level", *LEVEL_COLUMNS)
        # A book without any level, or no book, has its first row.
        parts.append(
            rows.filter(some | (pl.col("level") == 0)).with_columns(pl.when(some).then("level").alias("level"))
        )
    return pl.concat(parts, rechunk=False)


def levels(row: dict[str, Any], numbers: Numbers) -> pl.DataFrame:
    """Levels of one row of books, one below the other."""
    kind = pl.Float64() if numbers == "float" else pl.Decimal(38, 10)
    depth = sum(name.startswith("bid_price_") for name in row)
    columns = {name: [row[f"{name}_{level}"] for level in range(depth)] for name in LEVEL_COLUMNS}
    found = pl.DataFrame(columns, schema=dict.fromkeys(LEVEL_COLUMNS, kind)).with_row_index("level")
    return found.filter(pl.col("bid_price").is_not_null() | pl.col("ask_price").is_not_null())

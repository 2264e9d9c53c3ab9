"""Books of a symbol at many times, rebuilt from the lake by the core, which checks every checksum on the way.

The book at a time is the book after the last message that is not later. If no book is known at a time, or it was wrong,
there is none, and ``reason`` says why: a kind of the ledger, or one of ``REASONS``.

The work is cut at the hourly checkpoints. Each piece begins with a book of its own, so pieces are read and rebuilt in
parallel, and only those are read that hold the times asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from threading import BoundedSemaphore
from typing import Any, Literal, NamedTuple, get_args

import polars as pl
import pyarrow as pa

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.lake.arbitration import Span, arbitrate
from krakpot.lake.coverage import RECORDING, STOPPED, UNFINISHED, covered, recorded_sessions
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import BOOK_KINDS, BookKind, Part, stamp
from krakpot.lake.ledger import MARKS, book_ends
from krakpot.lake.messages import MESSAGE_MAX, MessageReader
from krakpot.values import Numbers, shown, threads_of

By = Literal["recv", "event"]
"""Which time counts: the receive time here, or the exchange's time."""
ABSENT, UNCONFIRMED = "absent", "unconfirmed"
REASONS = {
    ABSENT: "no book was known yet",
    UNCONFIRMED: "it is later than the last message that the exchange sent before the recording of the book ended",
    "unchecked": "a message came without a checksum",
    STOPPED: "the recording had ended",
    RECORDING: "the recording has not come that far",
    UNFINISHED: "the recording ended without saying so: the recorder was killed",
}
"""Why there is no book, beside the kinds of the ledger."""
NUMBERS = ("decimal", "float")
"""Numbers that books have. Whole steps would change their size with the pair's precision, from row to row."""
TIMES_MAX = 100_000_000
"""Largest number of books in one call."""
SKEW = 60_000_000_000
"""How much the clock of the recorder may drift within a span, ns, where times are the exchange's."""
WALK = 10_000
"""Rows of a step of ``BookSampler.walk``: whoever has seen enough can stop after it."""
TIME = pl.Datetime("ns", "UTC")
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
STEP_MAX = 366 * UNITS["d"]
"""Longest step between two books, ns."""
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
        return {"symbol": self.symbol, "at": self._at(), "reason": self.reason, "checksum": self.checksum} | sides

    def lines(self) -> list[str]:
        """As a table for a terminal."""
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
        return f"{stamp(self.at):%Y-%m-%dT%H:%M:%S}.{self.at % 10**9:09}Z"


def plain(number: Decimal | float) -> str:
    """Text of a number without trailing zeros and exponent."""
    return f"{number.normalize():f}" if isinstance(number, Decimal) else repr(number)


class _Piece(NamedTuple):
    """Messages of a session from ``first`` to before ``until``, which begin with a whole book."""

    first: int
    until: int
    checkpoint: int | None
    """Receive time of the checkpoint before ``first``, ns; None if they begin with a snapshot."""


class _Window(NamedTuple):
    """Receive times in which the messages for the asked times may have come, ns."""

    begin: int
    end: int


def step(every: str | int | timedelta) -> int:
    """Nanoseconds of ``100ms``, ``1s``, ``1m``, of a timedelta, or of a number of them."""
    if isinstance(every, timedelta):
        ns = every // timedelta(microseconds=1) * 1000
    elif isinstance(every, int) and not isinstance(every, bool):
        ns = every
    else:
        found = re.fullmatch(r"(\d{1,18})(ns|us|ms|s|m|h|d)", str(every).strip(), re.ASCII)
        ns = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < ns <= STEP_MAX:
        raise ConfigError(f"every={shown(every)} is not allowed; write for example '100ms', '1s' or '5m', up to 366d")
    return ns


def grid(begin: int, end: int, every: int) -> pl.Series:
    """Times from ``begin`` to before ``end``, ns."""
    if (end - begin) // every > TIMES_MAX:
        raise ConfigError(f"{(end - begin) // every:,} times are more than {TIMES_MAX:,}; ask for fewer at once")
    return pl.int_range(begin, max(begin, end), every, dtype=pl.Int64, eager=True).cast(TIME)


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ``ConfigError`` for an option with another value."""
    if value not in allowed:
        raise ConfigError(f"{name}={shown(value)}; allowed: {', '.join(map(repr, allowed))}")


class BookSampler:
    """Reads books of one symbol and channel at many times."""

    def __init__(self, folder: Folder, symbol: str, *, channel: str = "book", by: By = "recv") -> None:
        """Read the ledger for the symbol; ``ConfigError`` for a symbol that the lake does not have."""
        kinds = {kind.channel: kind for kind in BOOK_KINDS}
        one_of("channel", channel, tuple(kinds))
        one_of("by", by, get_args(By))
        self.symbol = values.read(values.symbol, symbol, "symbol")
        folder.check_symbols([symbol])
        self.kind: BookKind = kinds[channel]
        self.event = by == "event"
        self.view = folder.look([self.kind.messages, self.kind.checkpoints, "ledger"])
        self.ledger = self._ledger()
        recorded = recorded_sessions(self.view)
        spans = covered(self.ledger, recorded).filter(channel=channel, symbol=symbol)
        spans = spans.select("session", "reason", pl.col("ts_from", "ts_to").cast(pl.Int64))
        self.spans = self._by_event(spans) if self.event else spans.with_columns(ts_over="ts_to")
        """Session, reason, and times in ns: ts_from and ts_to of a book, ts_over from which on it has surely ended."""

    def _ledger(self) -> pl.DataFrame:
        """The ledger's rows that concern the symbol."""
        mine = [
            pl.col(name).is_null() | (pl.col(name) == value)
            for name, value in (("symbol", self.symbol), ("channel", self.kind.channel))
        ]
        return self.view.scan("ledger").filter(mine).select("session", "message", *MARKS).collect()

    @property
    def covered(self) -> tuple[int, int] | None:
        """First time at which a book is known, and the end of the last span, ns; None if there is none."""
        if self.spans.is_empty():
            return None
        begin, end = self.spans.select(pl.col("ts_from").min(), pl.col("ts_to").max()).row(0)
        return int(begin), int(end)

    def at(
        self, times: pl.Series, *, depth: int = 10, numbers: Numbers = "decimal", threads: int | None = None
    ) -> pl.DataFrame:
        """Books at ascending times, one row each; see ``Lake.books``."""
        if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= _core.LIMITS["DEPTH_MAX"]:
            raise ConfigError(f"depth={shown(depth)}; allowed: 1 to {_core.LIMITS['DEPTH_MAX']}")
        one_of("numbers", numbers, NUMBERS)

        def core(session: str, asked: pl.DataFrame) -> _core.BookSampler:
            return _core.BookSampler(
                session,
                channel=self.kind.channel,
                times=asked,
                depth=depth,
                event=self.event,
                floats=numbers == "float",
            )

        segments = self._segments(times)
        found = [pl.DataFrame(pa.record_batch(core("", segments.head(0).select("ts")).frame(0)))]
        found += [segments.filter(pl.col("session").is_null()).select("ts", "reason")]
        threads = threads_of(threads)
        # Twice as many pieces as threads: some are read, which Polars does in threads of its own, others are rebuilt.
        rebuilding = BoundedSemaphore(threads)
        with ThreadPoolExecutor(max_workers=2 * threads) as pool:
            for (session,), mine in segments.drop_nulls("session").partition_by("session", as_dict=True).items():
                asked = mine.select("ts")
                window = self._window(str(session), asked["ts"])
                pieces = self._pieces(str(session), window)
                reader = self._reader(str(session), window, pieces[0])
                cores = [core(str(session), asked) for _ in pieces]
                ends = self._ends(str(session))
                jobs = [
                    pool.submit(
                        self._piece, rebuilding, reader, one, piece, window, ends, asked["ts"] if n == 0 else None
                    )
                    for n, (one, piece) in enumerate(zip(cores, pieces, strict=True))
                ]
                for job in jobs:
                    job.result()
                # If the clock stepped back, what a later message says of a time counts.
                until = asked.height
                last_first: list[pl.DataFrame] = []
                for one in reversed(cores):
                    first = one.first
                    if first is not None and first < until:
                        last_first.append(pl.DataFrame(pa.record_batch(one.frame(until))))
                        until = first
                absent = pl.lit(ABSENT, dtype=pl.String)
                found += [asked.head(until).with_columns(absent.alias("reason")), *reversed(last_first)]
        books = pl.concat(
            [frame for n, frame in enumerate(found) if n == 0 or frame.height], how="diagonal", rechunk=False
        )
        return books if books["ts"].is_sorted() else books.sort("ts", maintain_order=True)

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
        reader = self._reader(session, window, piece)
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

    def _segments(self, times: pl.Series) -> pl.DataFrame:
        """Session of each time; where there is none, null and the reason."""
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
        return found.select(
            "ts", pl.when(there).then("session").alias("session"), pl.when(~there).then(why).alias("reason")
        )

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

    def _messages(self, session: str, parts: list[Part]) -> MessageReader:
        view = View(self.view.folder, parts, self.view.journals, self.view.unsettled)
        return MessageReader(view, session, self.kind, columns=("ts_recv", "ts_event"), symbols=[self.symbol])

    def _reader(self, session: str, window: _Window, first: _Piece) -> MessageReader:
        """Reader of the parts that may hold messages of a window, or what its first book is built from."""
        rows = self.ledger.filter(pl.col("session") == session, pl.col("message") >= first.first)["ts_recv"]
        oldest = min((int(ts) for ts in rows.cast(pl.Int64)), default=window.begin)
        days = stamp(min(oldest, window.begin)).date() - DAY, stamp(window.end).date()
        parts = self.view.of(self.kind.messages, session)
        return self._messages(session, [part for part in parts if days[0] <= part.date <= days[1]])

    def _pieces(self, session: str, window: _Window) -> list[_Piece]:
        """Where to begin: at the last snapshot or checkpoint before the window, and at each checkpoint in it."""
        begin, end = window
        scan = self.view.scan(self.kind.checkpoints, session=session, start=begin - 86_400 * 10**9, end=end)
        made = scan.filter(pl.col("symbol") == self.symbol).group_by("message").agg(pl.col("ts_recv").first()).collect()
        snapshots = self.ledger.filter(session=session, kind="snapshot", symbol=self.symbol).drop_nulls("message")
        own = [(number, ts, ts) for number, ts in made.cast({"ts_recv": pl.Int64}).iter_rows()]
        own += [
            (number, ts, None)
            for number, ts in snapshots.select("message", pl.col("ts_recv").cast(pl.Int64)).iter_rows()
        ]
        first = max((one for one in own if one[1] <= begin), key=lambda one: one[0], default=(0, begin, None))
        cuts = [first, *sorted(one for one in own if one[2] is not None and one[0] > first[0] and one[1] <= end)]
        untils = [*(cut[0] for cut in cuts[1:]), MESSAGE_MAX]
        return [_Piece(cut[0], until, cut[2]) for cut, until in zip(cuts, untils, strict=True)]

    def _piece(
        self,
        rebuilding: BoundedSemaphore,
        reader: MessageReader,
        core: _core.BookSampler,
        piece: _Piece,
        window: _Window,
        ends: pl.DataFrame,
        times: pl.Series | None,
    ) -> None:
        """Rebuild the books of one piece. ``times``: of the first piece, whose checkpoint is the book before them."""
        core.ends(ends)
        if piece.checkpoint is not None:
            core.checkpoints(self._checkpoint(reader.session, piece))
            if times is not None:
                since = int(times.cast(pl.Int64)[0]) if self.event else piece.checkpoint
                core.begin(self.symbol, piece.first, since)
        before = stamp(window.end) + timedelta(seconds=1)
        for _, frame in reader.frames(piece.first, piece.until, before=before, checkpoints=False):
            with rebuilding:
                core.messages(frame)


def levels(row: dict[str, Any], numbers: Numbers) -> pl.DataFrame:
    """Levels of one row of books, one below the other."""
    names = ("bid_price", "bid_qty", "ask_price", "ask_qty")
    kind = pl.Float64() if numbers == "float" else pl.Decimal(38, 10)
    depth = sum(name.startswith("bid_price_") for name in row)
    columns = {name: [row[f"{name}_{level}"] for level in range(depth)] for name in names}
    found = pl.DataFrame(columns, schema=dict.fromkeys(names, kind)).with_row_index("level")
    return found.filter(pl.col("bid_price").is_not_null() | pl.col("ask_price").is_not_null())

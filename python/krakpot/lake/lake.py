"""The lake: a folder of Parquet parts, read as Polars frames.

>>> lake = krakpot.Lake("data")                                    # doctest: +SKIP
>>> lake.trades("BTC/USD", "2026-11-22", "2026-11-23").collect()   # doctest: +SKIP

Plain readers need no krakpot: ``pl.scan_parquet("data/book", hive_partitioning=True)``. Ranges are [start, end) of the
receive time; times without a zone are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from krakpot import _core
from krakpot.lake import arbitration as several
from krakpot.lake.folder import Folder
from krakpot.lake.format import BOOK_KINDS, SOURCES, Numbers, Sources, polars_schema, stamp
from krakpot.lake.ledger import ALIVE_MARGIN, BEGINS, ENDS, MARKS, REFUSALS, SINCE
from krakpot.values import Time, nanoseconds

if TYPE_CHECKING:
    from krakpot.lake.sample import BookAt, By
    from krakpot.lake.verify import Report


class Lake(Folder):
    """A recorded lake. ``StorageError`` if the folder is none, or of a later version."""

    def scan(
        self,
        table: str,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Rows of a table, received in [start, end).

        A lake without such rows gives an empty frame of the right columns. ``numbers="float"`` turns the exact decimals
        into Float64, for arithmetic. Where several sessions followed a symbol at one time, one of them is given, and
        each trade once; ``sources="all"`` gives what each had. ``ValueError`` for a symbol that the lake does not have.
        """
        begin = None if start is None else nanoseconds(start)
        until = None if end is None else nanoseconds(end)
        turns = sources == "one" and table in several.CHANNELS
        # What another session had before decides what is taken of this one.
        first_day = None if begin is None else stamp(begin).date() - timedelta(days=turns)
        chosen = [
            part
            for part in self.parts(table)
            if (first_day is None or part.date >= first_day) and (until is None or part.date <= stamp(until).date())
        ]
        schema = polars_schema(table)
        paths = [part.path for part in chosen]
        frame = pl.scan_parquet(paths, hive_partitioning=False) if paths else pl.LazyFrame(schema=schema)
        frame = frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
        if symbol is not None:
            wanted = [symbol] if isinstance(symbol, str) else list(symbol)
            self.check_symbols(wanted)
            frame = frame.filter(pl.col("symbol").is_in(wanted) if len(wanted) != 1 else pl.col("symbol") == wanted[0])
        if sources not in SOURCES:
            sentence = f"sources={sources!r}; allowed: 'one', 'all'"
            raise ValueError(sentence)
        if turns and len({part.session for part in chosen}) > 1:
            frame = several.distinct_trades(frame) if table == "trades" else several.one(frame, table, self.coverage())
        times = pl.Datetime("ns", "UTC")
        if begin is not None:
            frame = frame.filter(pl.col("ts_recv") >= pl.lit(begin).cast(times))
        if until is not None:
            frame = frame.filter(pl.col("ts_recv") < pl.lit(until).cast(times))
        if numbers == "float":
            frame = frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64))
        elif numbers != "decimal":
            sentence = f"numbers={numbers!r}; allowed: 'decimal', 'float'"
            raise ValueError(sentence)
        return frame

    def book(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Entries of book messages: one row a level that changed."""
        return self.scan("book", symbol, start, end, numbers=numbers, sources=sources)

    def orders(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Entries of level-3 messages: one row an order that came, changed or went."""
        return self.scan("orders", symbol, start, end, numbers=numbers, sources=sources)

    def trades(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Trades; ``side`` is the taker's."""
        return self.scan("trades", symbol, start, end, numbers=numbers, sources=sources)

    def ticker(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Best prices and 24-hour statistics."""
        return self.scan("ticker", symbol, start, end, numbers=numbers, sources=sources)

    def ohlc(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Candles; the running one is sent again with every trade."""
        return self.scan("ohlc", symbol, start, end, numbers=numbers, sources=sources)

    def book_at(
        self,
        symbol: str,
        at: Time,
        *,
        depth: int | None = None,
        by: By = "recv",
        channel: str = "book",
        numbers: Numbers = "decimal",
    ) -> BookAt:
        """Give the book as it was: after the last message received, or sent (``by="event"``), up to ``at``.

        ``depth``: levels a side; None: all. ``channel="level3"``: the book that follows from the orders. Where there is
        none, its ``reason`` says why.
        """
        from krakpot.lake import sample as books  # noqa: PLC0415  # it needs this module

        reader = books.Reader(self, symbol, channel=channel, by=by)
        times = pl.Series([nanoseconds(at)], dtype=pl.Int64).cast(books.TIME)
        row = reader.at(times, depth=depth or _core.LIMITS["DEPTH_MAX"], numbers=numbers).row(0, named=True)
        return books.BookAt(symbol, times, row["reason"], row["checksum"], books.ladder(row, numbers))

    def books(
        self,
        symbol: str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | int = "100ms",
        depth: int = 10,
        by: By = "recv",
        channel: str = "book",
        numbers: Numbers = "decimal",
        threads: int | None = None,
    ) -> pl.DataFrame:
        """Give the books at ``start``, and ``every`` so often after it, before ``end``: one row a time.

        Columns: ts; reason (null where there is a book, else why there is none); checksum (Kraken's, of the best ten
        levels); and level by level bid_price_0, bid_qty_0, ask_price_0, ask_qty_0, bid_price_1, … Each row is the book
        after the last message received, or sent (``by="event"``), up to its time. Without ``start`` or ``end``: from
        the first whole step at which anything is known, to the end of what is.
        """
        from krakpot.lake import sample as books  # noqa: PLC0415  # it needs this module

        reader = books.Reader(self, symbol, channel=channel, by=by)
        step = books.step(every)
        known = reader.covered or (0, 0)
        begin = -(-known[0] // step) * step if start is None else nanoseconds(start)
        times = books.grid(begin, known[1] if end is None else nanoseconds(end), step)
        return reader.at(times, depth=depth, numbers=numbers, threads=threads)

    def pairs(self, symbol: str | Iterable[str] | None = None) -> pl.LazyFrame:
        """Pairs as the exchange described them, and precisions that were told or inferred."""
        return self.scan("pairs", symbol)

    def ledger(self, start: Time | None = None, end: Time | None = None) -> pl.LazyFrame:
        """Everything that happened to the recording."""
        return self.scan("ledger", None, start, end)

    def coverage(self) -> pl.DataFrame:
        """Which channel and symbol is known from when to when, and why it ended.

        Columns: channel, symbol, ts_from, ts_to (ns, UTC; ts_to exclusive), reason, session. ``reason`` is a kind of
        the ledger, or ``unfinished`` where the session has no end.
        """
        return covered(self.ledger().select("session", *MARKS).collect())

    def verify(self, *, strict: bool = False, threads: int | None = None) -> Report:
        """Prove the lake from its parts alone; see ``krakpot.lake.verify``."""
        from krakpot.lake import verify  # noqa: PLC0415  # verify needs this module

        return verify.verify(self.path, strict=strict, threads=threads)


def covered(ledger: pl.DataFrame) -> pl.DataFrame:
    """Coverage by the ledger's rows, of which it takes the columns ``MARKS`` and the session; see ``Lake.coverage``."""
    rows: list[dict[str, object]] = []
    ordered = ledger.sort("session", "entry")
    for (session,), group in ordered.partition_by("session", as_dict=True, maintain_order=True).items():
        rows += [row | {"session": session} for row in _spans(group)]
    times = pl.Datetime("ns", "UTC")
    schema = {"channel": pl.String, "symbol": pl.String, "ts_from": pl.Int64, "ts_to": pl.Int64, "reason": pl.String}
    frame = pl.DataFrame(rows, schema=schema | {"session": pl.String})
    return frame.with_columns(pl.col("ts_from", "ts_to").cast(times)).sort("channel", "symbol", "ts_from")


def _spans(ledger: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Spans of coverage of one session, from its ledger rows in order."""
    open_spans: dict[tuple[str, str], int] = {}
    rows = ledger.with_columns(pl.col("ts_recv", "ts_from").to_physical())
    last_alive = rows.filter(pl.col("kind") == "alive")["ts_recv"].max()
    marks = rows.filter(pl.col("kind").is_in([*BEGINS.values(), *ENDS]))
    columns = ("kind", "channel", "symbol", "ts_recv", "ts_from")
    for kind, channel, symbol, ts, since in marks.select(columns).iter_rows():
        if channel in BEGINS and kind == BEGINS[channel]:
            open_spans.setdefault((channel, symbol), ts)
        elif kind in ENDS:
            for key in list(open_spans):
                if (symbol is None or key[1] == symbol) and (channel is None or key[0] == channel):
                    if kind in REFUSALS and (symbol is None or key[0] not in {kind.channel for kind in BOOK_KINDS}):
                        continue
                    begin = open_spans.pop(key)
                    # The message of ``since`` is the last one that is covered.
                    end = ts if since is None or kind not in SINCE else max(begin, min(ts, since + 1))
                    yield {"channel": key[0], "symbol": key[1], "ts_from": begin, "ts_to": end, "reason": kind}
    for (channel, symbol), ts in open_spans.items():
        until = max(ts, int(last_alive) + ALIVE_MARGIN if isinstance(last_alive, int) else ts)
        yield {"channel": channel, "symbol": symbol, "ts_from": ts, "ts_to": until, "reason": "unfinished"}

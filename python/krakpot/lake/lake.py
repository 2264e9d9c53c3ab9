"""The lake: a recorded folder, read as Polars frames.

>>> lake = krakpot.Lake("data")                                    # doctest: +SKIP
>>> lake.trades("BTC/USD", "2026-11-22", "2026-11-23").collect()   # doctest: +SKIP

A lake can be read while it is recorded: rows that are not sealed yet are read from the journals. Readers that do not
know krakpot see the sealed parts: ``pl.scan_parquet("data/book", hive_partitioning=True)``. Ranges are [start, end) of
the receive time; a time without a zone is UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Literal

import polars as pl
import polars.selectors as cs

from krakpot import _core
from krakpot.errors import ConfigError, StorageError
from krakpot.lake.arbitration import CHANNELS, distinct_trades, single_source
from krakpot.lake.bars import LATE, NEEDED, bars, covered_share, size_of
from krakpot.lake.coverage import covered, imported, recorded_sessions
from krakpot.lake.folder import Folder
from krakpot.lake.format import FEED, ORIGIN_TABLES, SOURCES, UNREADABLE, Sources, polars_schema, unreadable
from krakpot.lake.journal import journal_names
from krakpot.lake.ledger import MARKS, RANGES
from krakpot.lake.origin import Origins, distinct_of_origins, of_origins, origins_of
from krakpot.lake.sample import BookAt, BookSampler, By, grid, levels, one_of, step
from krakpot.lake.verify import Report, verify
from krakpot.values import BarKind, Numbers, Time, time_of, time_range

DAY = 86_400 * 10**9
SCALE = 10
"""Decimals of the columns of prices and quantities."""
WHOLE = {"price": "price_precision", "qty": "qty_precision"}
"""Columns that can be given in whole steps, and the columns that have their number of decimals."""


class Lake(Folder):
    """A recorded lake, sealed or still being recorded.

    Parameters
    ----------
    path
        The folder that ``krakpot record --out`` or ``krakpot ingest`` wrote.

    Raises
    ------
    StorageError
        If the folder is not a lake, or of a later version.

    Examples
    --------
    >>> lake = krakpot.Lake("data")                       # doctest: +SKIP
    >>> lake.book_at("BTC/USD", "2026-11-22T10:00").levels    # doctest: +SKIP

    """

    def scan(
        self,
        table: str,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
        origin: Origins = FEED,
    ) -> pl.LazyFrame:
        """Rows of a table.

        Parameters
        ----------
        table
            Its name, one of ``krakpot._core.TABLES``.
        symbol
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.
        start, end
            Range of receive times, [start, end); None: no bound.
        numbers
            ``"decimal"``: exact, Decimal(38, 10). ``"float"``: Float64. ``"int"``: Int64, whole steps of the precision
            in the same row (``price_precision``, ``qty_precision``), for tables that have these columns.
        sources
            ``"one"``: if several sessions followed a symbol at the same time, rows of one of them, and each trade once.
            ``"all"``: rows of all sessions.
        origin
            For trades and ohlc: ``"feed"``, or one or several of the origins of imported rows (``"rest"``,
            ``"kraken-csv"``, ``"tardis"``, ``"cryptohftdata"``), or ``"all"``. Of several origins a trade comes once,
            by its id, and trades are in the order of the exchange's times; rows without an id are all given.

        Returns
        -------
        LazyFrame
            The columns of the table (docs/reference/tables.md); empty if the lake has no such rows. Times are
            Datetime("ns", "UTC").

        Raises
        ------
        ConfigError
            For a table, symbol, time or option that does not exist; the sentence names those that do.
        polars.exceptions.ComputeError
            When the frame is collected, if a part is damaged; ``verify`` names the part.

        Examples
        --------
        >>> lake.scan("checkpoints", "BTC/USD", "2026-11-22").collect()    # doctest: +SKIP

        """
        view = self.look([table])
        begin, until = time_range(start, end)
        one_of("sources", sources, SOURCES)
        origins = origins_of(table, origin)
        arbitrated = sources == "one" and table in CHANNELS
        # What another session had before the range decides what is taken of this one.
        frame = view.scan(table, start=begin if begin is None else begin - DAY * arbitrated, end=until)
        if symbol is not None:
            frame = frame.filter(self._of(table, symbol))
        if table in ORIGIN_TABLES:
            frame = of_origins(frame, origins)
        if table == "trades" and arbitrated:
            frame = distinct_trades(frame) if origins == (FEED,) else distinct_of_origins(frame)
        elif arbitrated and len(view.sessions(table)) > 1 and FEED in origins:
            frame = single_source(frame, table, self.coverage())
        times = pl.Datetime("ns", "UTC")
        if begin is not None:
            frame = frame.filter(pl.col("ts_recv") >= pl.lit(begin).cast(times))
        if until is not None:
            frame = frame.filter(pl.col("ts_recv") < pl.lit(until).cast(times))
        return _numbers(frame, table, numbers)

    def _of(self, table: str, symbol: str | Iterable[str]) -> pl.Expr:
        """Condition of rows of these symbols."""
        if "symbol" not in polars_schema(table):
            raise ConfigError(f"the table {table!r} has no symbols; leave symbol out")
        wanted = self.matching(symbol)
        return pl.col("symbol") == wanted[0] if len(wanted) == 1 else pl.col("symbol").is_in(wanted)

    def book(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Entries of book messages: one row for each level that changed.

        Parameters
        ----------
        symbol, start, end, numbers, sources
            As for ``scan``.

        Returns
        -------
        LazyFrame
            Price and quantity of a level after the change (quantity 0: the level is gone), the checksum of the message,
            the precisions in force.

        Raises
        ------
        ConfigError
            As ``scan``.

        Examples
        --------
        >>> lake.book("BTC/USD", "2026-11-22T10:00", "2026-11-22T10:05").collect()    # doctest: +SKIP

        """
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
        """Entries of level-3 messages: one row for each order that was added, changed or deleted.

        Parameters
        ----------
        symbol, start, end, numbers, sources
            As for ``scan``.

        Returns
        -------
        LazyFrame
            The order's id, price, quantity and time, the event, and the checksum of the message.

        Raises
        ------
        ConfigError
            As ``scan``.

        Examples
        --------
        >>> lake.orders("BTC/USD").filter(event="delete").collect()    # doctest: +SKIP

        """
        return self.scan("orders", symbol, start, end, numbers=numbers, sources=sources)

    def trades(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
        origin: Origins = FEED,
    ) -> pl.LazyFrame:
        """Trades, each once; ``side`` is the taker's.

        Parameters
        ----------
        symbol, start, end, numbers, sources, origin
            As for ``scan``.

        Returns
        -------
        LazyFrame
            Price, quantity, side, order type and id of each trade.

        Raises
        ------
        ConfigError
            As ``scan``.

        Examples
        --------
        >>> lake.trades("BTC/USD", "2026-11-22", numbers="float").collect()    # doctest: +SKIP

        """
        return self.scan("trades", symbol, start, end, numbers=numbers, sources=sources, origin=origin)

    def bars(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | float | Decimal | timedelta = "1m",
        by: BarKind = "time",
        numbers: Literal["decimal", "float"] = "decimal",
        origin: Origins = FEED,
    ) -> pl.DataFrame:
        """Bars of trades: open, high, low, close and volume, and how much of each bar was recorded.

        Parameters
        ----------
        symbol
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.
        start, end
            Range of the exchange's times of the trades, [start, end); None: no bound.
        every
            Size of a bar: ``"1m"`` or a ``timedelta`` for bars of a time, else a number.
        by
            ``"time"``: bars of a time; they begin at its multiples since 1970, as Kraken's candles do. ``"tick"``: of
            ``every`` trades. ``"volume"``, ``"dollar"``: of an amount of the base or the quote currency; the trade that
            reaches it is the last one of its bar, and what it is too much counts for the next bar.
        numbers
            ``"decimal"``: exact, Decimal(38, 10); vwap is rounded. ``"float"``: Float64.
        origin
            As for ``scan``. What was imported counts as recorded, for the range that the ledger says.

        Returns
        -------
        DataFrame
            A row for each bar that has a trade, by symbol and time: ``ts_from``, ``ts_to`` (exclusive), ``open``,
            ``high``, ``low``, ``close`` and ``vwap`` in the quote currency, ``volume`` and ``buy_volume`` (the taker
            bought) in the base currency, ``trades``; ``covered``, the share of [ts_from, ts_to) in which trades were
            recorded; ``missing``, the number of trades that were made since the bar before, by their ids, and are not
            in the lake; ``whole``: covered is 1, nothing is missing, and the bar came to its end.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist.
        StorageError
            If a part cannot be read.

        Examples
        --------
        >>> lake.bars("BTC/USD", "2026-11-22", every="5m").filter("whole")    # doctest: +SKIP
        >>> lake.bars("BTC/USD", every="2.5", by="volume")    # doctest: +SKIP

        """
        size = size_of(every, by)
        one_of("numbers", numbers, ("decimal", "float"))
        begin, until = time_range(start, end)
        # A trade is received after it was made, by a snapshot long after; a clock may be behind.
        received = None if begin is None else max(begin - LATE, -(1 << 63))
        frame = self.trades(symbol, received, origin=origin).select(NEEDED)
        made = pl.col("ts_event").dt.epoch("ns")
        if begin is not None:
            frame = frame.filter(made >= begin)
        if until is not None:
            frame = frame.filter(made < until)
        try:
            found = bars(frame, by, size).collect(engine="streaming")
        except UNREADABLE as error:
            unreadable(self.path, error)
        found = covered_share(found, self.coverage(origin=origin))
        return found if numbers == "decimal" else found.with_columns(cs.decimal().cast(pl.Float64))

    def ticker(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Best prices and 24-hour statistics, one row for each message.

        Parameters
        ----------
        symbol, start, end, numbers, sources
            As for ``scan``.

        Returns
        -------
        LazyFrame
            Best bid and ask with their quantities, last price, volume, vwap, low, high, change.

        Raises
        ------
        ConfigError
            As ``scan``.

        Examples
        --------
        >>> lake.ticker(["BTC/USD", "ETH/USD"], numbers="float").collect()    # doctest: +SKIP

        """
        return self.scan("ticker", symbol, start, end, numbers=numbers, sources=sources)

    def ohlc(
        self,
        symbol: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
        origin: Origins = FEED,
    ) -> pl.LazyFrame:
        """Candles; the current candle is sent again with every trade.

        Parameters
        ----------
        symbol, start, end, numbers, sources, origin
            As for ``scan``.

        Returns
        -------
        LazyFrame
            Open, high, low, close, vwap, volume and number of trades of a candle, and its interval in minutes.

        Raises
        ------
        ConfigError
            As ``scan``.

        Examples
        --------
        >>> lake.ohlc("BTC/USD").unique("interval_begin", keep="last").collect()    # doctest: +SKIP

        """
        return self.scan("ohlc", symbol, start, end, numbers=numbers, sources=sources, origin=origin)

    def pairs(self, symbol: str | Iterable[str] | None = None) -> pl.LazyFrame:
        """Pairs as the exchange described them, and precisions from options or snapshots.

        Parameters
        ----------
        symbol
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.

        Returns
        -------
        LazyFrame
            One row for each description that was received: precisions, increments, minimums, status, ``origin``.

        Raises
        ------
        ConfigError
            For a symbol that the lake does not have.

        Examples
        --------
        >>> lake.pairs("BTC/USD").select("price_precision", "qty_precision").collect()    # doctest: +SKIP

        """
        return self.scan("pairs", symbol)

    def ledger(self, start: Time | None = None, end: Time | None = None) -> pl.LazyFrame:
        """Everything that happened to the recording.

        Parameters
        ----------
        start, end
            Range of receive times, [start, end); None: no bound.

        Returns
        -------
        LazyFrame
            One row per event: kind, channel, symbol, times, count, ``detail`` (JSON).

        Raises
        ------
        ConfigError
            For text that is not a time.

        Examples
        --------
        >>> lake.ledger().filter(kind="mismatch").collect()    # doctest: +SKIP

        """
        return self.scan("ledger", None, start, end)

    def coverage(self, *, origin: Origins = FEED) -> pl.DataFrame:
        """From when to when each channel and symbol is known, and why it ended.

        Parameters
        ----------
        origin
            As for ``scan``: ``"all"`` shows what was recorded and what was imported.

        Returns
        -------
        DataFrame
            Columns channel, symbol, ts_from, ts_to (receive times, ns, UTC; ts_to exclusive), reason, session, origin;
            one row per span. ``reason`` is a kind of the ledger, or ``stopped`` (the recording ended as planned),
            ``recording`` (it still runs), ``unfinished`` (the recorder was killed). A range that was imported has the
            exchange's times, and the reason ``imported``.

        Raises
        ------
        ConfigError
            For an origin that does not exist.
        StorageError
            If a part of the ledger cannot be read, or other tables have parts and the ledger has none.

        Examples
        --------
        >>> lake.coverage().filter(channel="book", symbol="BTC/USD")    # doctest: +SKIP

        """
        origins = origins_of("trades", origin)
        view = self.look(["ledger"])
        try:
            ledger = view.scan("ledger").select("session", *MARKS, *RANGES).collect()
        except UNREADABLE as error:
            unreadable(self.path, error)
        if ledger.is_empty() and not any(journal_names(self.path)) and any(map(self.parts, _core.TABLES)):
            sentence = (
                "the parts of its ledger are gone, so it is not known what was recorded; restore them from a copy"
            )
            raise StorageError(sentence, self.path)
        spans = [covered(ledger, recorded_sessions(view)), imported(ledger)]
        found = pl.concat(spans).filter(pl.col("origin").is_in(origins))
        return found.sort("channel", "symbol", "ts_from", maintain_order=True)

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
        """The book as it was at one time: after the last message up to ``at``.

        Parameters
        ----------
        symbol
            The pair.
        at
            The time.
        depth
            Levels per side; None: all.
        by
            ``"recv"``: the last message received up to ``at``. ``"event"``: the last one by the exchange's time.
        channel
            ``"book"``, or ``"level3"`` for the book that follows from the orders.
        numbers
            ``"decimal"``: exact. ``"float"``: Float64.

        Returns
        -------
        BookAt
            Its ``levels`` (a DataFrame with columns level, bid_price, bid_qty, ask_price, ask_qty, best first) and
            ``checksum``. If there is no book, levels are empty and ``reason`` says why.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist.

        Examples
        --------
        >>> lake.book_at("BTC/USD", "2026-11-22T10:00:00.250").levels    # doctest: +SKIP

        """
        time = time_of(at, "at")
        sampler = BookSampler(self, symbol, channel=channel, by=by)
        times = pl.Series([time], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        most = _core.LIMITS["DEPTH_MAX"] if depth is None else depth
        row = sampler.at(times, depth=most, numbers=numbers).row(0, named=True)
        return BookAt(symbol, time, row["reason"], row["checksum"], levels(row, numbers))

    def books(
        self,
        symbol: str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | int | timedelta = "100ms",
        depth: int = 10,
        by: By = "recv",
        channel: str = "book",
        numbers: Numbers = "decimal",
        threads: int | None = None,
    ) -> pl.DataFrame:
        """Books at regular times: at ``start`` and after each step, before ``end``.

        Parameters
        ----------
        symbol
            The pair.
        start, end
            Range of times; None: from the first whole step at which a book is known, to the end of what is known.
        every
            Step: ``"100ms"``, ``"1s"``, ``"5m"``, a timedelta, or nanoseconds.
        depth
            Levels per side, 1 to 1000.
        by
            ``"recv"``: the book after the last message received up to a time. ``"event"``: by the exchange's time.
        channel
            ``"book"``, or ``"level3"`` for the book that follows from the orders.
        numbers
            ``"decimal"``: Decimal(38, 10). ``"float"``: Float64.
        threads
            Threads that rebuild books; None: one per core.

        Returns
        -------
        DataFrame
            One row per time. Columns ts (Datetime, ns, UTC); reason (String, null if there is a book, else why there is
            none); checksum (UInt32, Kraken's, of the best ten levels); and for each level bid_price_0, bid_qty_0,
            ask_price_0, ask_qty_0, bid_price_1, …, null where a side has no such level.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist, and for more than 100 million rows.

        Examples
        --------
        >>> lake.books("BTC/USD", "2026-11-22", "2026-11-23", every="1s", depth=5, numbers="float")    # doctest: +SKIP

        """
        width = step(every)
        begin, until = time_range(start, end)
        sampler = BookSampler(self, symbol, channel=channel, by=by)
        known = sampler.covered or (0, 0)
        times = grid(
            -(-known[0] // width) * width if begin is None else begin, known[1] if until is None else until, width
        )
        return sampler.at(times, depth=depth, numbers=numbers, threads=threads)

    def verify(self, *, strict: bool = False, threads: int | None = None) -> Report:
        """Prove the lake from its parts alone: every checksum, every row that the ledger counts.

        Parameters
        ----------
        strict
            Whether a wrong checksum is a failure although the ledger names it.
        threads
            Threads that rebuild books; None: one per core.

        Returns
        -------
        Report
            ``outcome`` (``"proved"``, ``"not proved"``, or ``"nothing yet"`` beside a recorder that has not sealed
            anything), ``proved`` (whether it is the first one), counts, and ``problems``: what is wrong, in sentences.

        Raises
        ------
        StorageError
            If the lake cannot be read.

        Examples
        --------
        >>> lake.verify().proved    # doctest: +SKIP

        """
        return verify(self.path, strict=strict, threads=threads)


def _numbers(frame: pl.LazyFrame, table: str, numbers: Numbers) -> pl.LazyFrame:
    """The frame with its decimals as they are, as floats, or in whole steps."""
    one_of("numbers", numbers, ("decimal", "float", "int"))
    if numbers == "float":
        return frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64))
    if numbers == "int":
        if not set(WHOLE.values()) <= set(polars_schema(table)):
            raise ConfigError(f"numbers='int': the table {table!r} has no precisions; allowed: 'decimal', 'float'")
        digits = list(range(SCALE + 1))
        units = pl.Series([10 ** (SCALE - n) for n in digits], dtype=pl.Int64)
        return frame.with_columns(
            # The physical value of a decimal is a whole number of units of the column's scale.
            (pl.col(name).to_physical() // pl.col(precision).replace_strict(digits, units)).cast(pl.Int64).alias(name)
            for name, precision in WHOLE.items()
        )
    return frame

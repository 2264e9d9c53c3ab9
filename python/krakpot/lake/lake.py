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
from functools import partial
from typing import Any, Literal, get_args, overload

import polars as pl
import polars.selectors as cs

from krakpot import _core, asked, display, values
from krakpot.display import Shown, Theme
from krakpot.errors import ConfigError, StorageError
from krakpot.features.steps import sources, wanted
from krakpot.lake import skew
from krakpot.lake.arbitration import CHANNELS, distinct_trades, single_source
from krakpot.lake.bars import LATE, bars, by_exchange, covered_share, in_windows, size_of
from krakpot.lake.coverage import covered, imported, recorded_sessions, settled
from krakpot.lake.features import CHANNELS as FEATURE_CHANNELS
from krakpot.lake.features import features
from krakpot.lake.fills import WouldFill, would_fill
from krakpot.lake.folder import Folder
from krakpot.lake.format import FEED, ORIGIN_TABLES, SOURCES, UNREADABLE, Sources, polars_schema, unreadable
from krakpot.lake.integrity import Integrity, integrity
from krakpot.lake.journal import journal_names
from krakpot.lake.ledger import MARKS, RANGES
from krakpot.lake.origin import Origins, distinct_of_origins, of_origins, origins_of
from krakpot.lake.plot import Plot
from krakpot.lake.queue import OrderLife, OrdersAt, order_life, orders_at
from krakpot.lake.recorded import check_depth_recorded, check_recorded, warn_outside
from krakpot.lake.sample import Before, BookAt, By, Layout, books, books_at, one_of, with_books
from krakpot.lake.times import Times
from krakpot.lake.verify import Report, verify
from krakpot.values import BarKind, Instant, Numbers, OrderSide, Time, is_pattern, shown, step, time_of, time_range

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
        symbols: str | Iterable[str] | None = None,
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
        symbols
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
        if symbols is not None:
            frame = frame.filter(self._of(table, symbols))
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

    def _of(self, table: str, symbols: str | Iterable[str]) -> pl.Expr:
        """Condition of rows of these symbols."""
        if "symbol" not in polars_schema(table):
            raise ConfigError(f"the table {table!r} has no symbols; leave symbols out")
        wanted = self.matching(symbols)
        return pl.col("symbol") == wanted[0] if len(wanted) == 1 else pl.col("symbol").is_in(wanted)

    def _some(self, symbols: str | Iterable[str]) -> list[str]:
        """Symbols of the lake, at least one unless it has none; ``ConfigError`` for an empty list."""
        chosen = list(symbols) if isinstance(symbols, Iterable) and not isinstance(symbols, str) else symbols
        if chosen == []:
            raise ConfigError(
                "symbols: the list is empty; give a pair as BTC/USD, a pattern as BTC/*, or several of them"
            )
        return self.matching(chosen)

    def _check(self, channel: str, symbols: str | Iterable[str] | None) -> None:
        """Raise ``ConfigError`` if the channel was recorded of none of the symbols."""
        if symbols is not None:
            try:
                check_recorded(self, self.matching(symbols), [channel])
            except UNREADABLE as error:
                unreadable(self.path, error)

    def book(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Entries of book messages: one row for each level that changed.

        Parameters
        ----------
        symbols, start, end, numbers, sources
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
        self._check("book", symbols)
        return self.scan("book", symbols, start, end, numbers=numbers, sources=sources)

    def orders(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Entries of level-3 messages: one row for each order that was added, changed or deleted.

        Parameters
        ----------
        symbols, start, end, numbers, sources
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
        self._check("level3", symbols)
        return self.scan("orders", symbols, start, end, numbers=numbers, sources=sources)

    def trades(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
        book: int | None = None,
        by: Before = "message",
        origin: Origins = FEED,
    ) -> pl.LazyFrame:
        """Trades, each once; ``side`` is the taker's.

        Parameters
        ----------
        symbols, start, end, numbers, sources, origin
            As for ``scan``.
        book
            Levels per side, 1 to 1000: with each trade, the best levels of the book as it was before it.
        by
            With ``book``, what before means. ``"message"``: before the trade's message came. ``"event"``: before the
            trade was made, by the exchange's time.

        Returns
        -------
        LazyFrame
            Price, quantity, side, order type and id of each trade. With ``book`` also book_reason (String, null if the
            book is known, else why it is not) and for each level bid_price_0, bid_qty_0, ask_price_0, ask_qty_0,
            bid_price_1, …, null where a side has no such level. The books are rebuilt when the frame is collected, for
            all of its trades at once.

        Raises
        ------
        ConfigError
            As ``scan``; for ``book`` with ``numbers="int"``, and for ``by="event"`` without ``book``.

        Notes
        -----
        ``by="message"``: the book after the last message of the trade's connection that came before the trade's
        message; the order of messages decides, not a time. If the book was not followed on that connection, it is the
        book of another one after the last message that was received before the trade. A trade that came in a snapshot
        has no known book. This is what a program knew when the trade came. Where the exchange sends the change of the
        book before the trade that caused it, this book has felt the trade.

        ``by="event"``: the book after the last message whose exchange time is earlier than the trade's. It has felt
        nothing of what happened at the trade's time, whatever came first, so all trades of a large order that sweeps
        several levels have the book before the first of them. This is what the taker met. A trade that came in a
        snapshot has its book too, if that was recorded at the trade's time.

        Examples
        --------
        >>> lake.trades("BTC/USD", "2026-11-22", numbers="float").collect()    # doctest: +SKIP
        >>> lake.trades("BTC/USD", book=1, by="event").filter(side="buy").collect()    # doctest: +SKIP

        """
        one_of("by", by, get_args(Before))
        if origins_of("trades", origin) == (FEED,):
            self._check("trade", symbols)
        frame = self.scan("trades", symbols, start, end, numbers=numbers, sources=sources, origin=origin)
        if book is None:
            if by != "message":
                raise ConfigError(f"by={shown(by)} says which book comes before a trade; give book too, as book=1")
            return frame
        if origins_of("trades", origin) != (FEED,):
            raise ConfigError("book: imported trades have no book before them; leave origin out, or book")
        return with_books(self, frame, depth=book, numbers=numbers, by=by)

    def bars(
        self,
        symbols: str | Iterable[str] | None = None,
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
        symbols
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.
        start, end
            Range of the exchange's times of the trades, [start, end); None: no bound.
        every
            Size of a bar: ``"1m"`` or a ``timedelta`` for bars of a time, else a number.
        by
            ``"time"``: bars of a time; they begin at its multiples since 1970, as Kraken's candles do. ``"tick"``: of
            ``every`` trades. ``"volume"``, ``"dollar"``: of an amount of the base or the quote currency; the trade that
            reaches it is the last one of its bar, and what it is too much counts for the next bar. ``"imbalance"``: the
            trade after which takers have bought ``every`` of the base currency more than they sold since the bar began,
            or sold more, is the last one of its bar, and the next bar begins at zero. It needs trades with sides.
        numbers
            ``"decimal"``: exact, Decimal(38, 10); vwap is rounded. ``"float"``: Float64.
        origin
            As for ``scan``. What was imported counts as recorded, for the range that the ledger says.

        Returns
        -------
        DataFrame
            A row for each bar that has a trade, by symbol and time: ``ts_from``, ``ts_to`` (exclusive), ``open``,
            ``high``, ``low``, ``close`` and ``vwap`` in the quote currency, ``volume`` and ``buy_volume`` (the taker
            bought; null if a trade has no side) in the base currency, ``trades``; ``covered``, the share of
            [ts_from, ts_to) in which trades were recorded and which lies in [start, end); ``missing``, the number of
            trades that were made since the bar before, by their ids, and are not in the lake, null if a trade has no
            id; ``whole``: covered is 1, nothing is missing, and the bar came to its end. Trades of ``kraken-csv`` have
            no ids, so nothing proves that their bars lack none, and ``whole`` is never true of them:
            ``filter(pl.col("covered") == 1)`` gives the bars that lie within the file.

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
        received = None if begin is None else Instant(max(begin - LATE, -(1 << 63)))
        frame = self.scan("trades", symbols, received, sources="all", origin=origin)
        distinct = distinct_trades if origins_of("trades", origin) == (FEED,) else distinct_of_origins
        made = pl.col("ts_event").dt.epoch("ns")
        if begin is not None:
            frame = frame.filter(made >= begin)
        if until is not None:
            frame = frame.filter(made < until)
        try:
            found = bars(in_windows(frame, distinct), by, size)
            coverage = by_exchange(settled(self.coverage(origin=origin)), frame)
        except UNREADABLE as error:
            unreadable(self.path, error)
        if found.is_empty():
            self._warn_no_trades(symbols, begin, until, origin)
        found = covered_share(found, coverage, begin, until)
        return found if numbers == "decimal" else found.with_columns(cs.decimal().cast(pl.Float64))

    def _imported(self, channel: str) -> bool:
        """Whether all that there is of a channel was imported."""
        origins = set(self.coverage(origin="all").filter(channel=channel)["origin"])
        return bool(origins) and FEED not in origins

    def _warn_no_trades(
        self, symbols: str | Iterable[str] | None, begin: int | None, until: int | None, origin: Origins
    ) -> None:
        """``ConfigError`` or a warning where there can be no bars."""
        chosen = self.symbols() if symbols is None else self.matching(symbols)
        if origins_of("trades", origin) == (FEED,) and (symbols is not None or (self._imported("trade"))):
            check_recorded(self, chosen, ["trade"])
        spans = self.coverage(chosen, origin=origin) if chosen else self.coverage(origin=origin)
        known = (
            spans.filter(channel="trade").select(pl.col("ts_from").min(), pl.col("ts_to").max()).cast(pl.Int64).row(0)
        )
        if None not in known:
            warn_outside(begin, until, known)

    def ticker(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        numbers: Numbers = "decimal",
        sources: Sources = "one",
    ) -> pl.LazyFrame:
        """Best prices and 24-hour statistics, one row for each message.

        Parameters
        ----------
        symbols, start, end, numbers, sources
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
        self._check("ticker", symbols)
        return self.scan("ticker", symbols, start, end, numbers=numbers, sources=sources)

    def ohlc(
        self,
        symbols: str | Iterable[str] | None = None,
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
        symbols, start, end, numbers, sources, origin
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
        if origins_of("ohlc", origin) == (FEED,):
            self._check("ohlc", symbols)
        return self.scan("ohlc", symbols, start, end, numbers=numbers, sources=sources, origin=origin)

    def pairs(self, symbols: str | Iterable[str] | None = None) -> pl.LazyFrame:
        """Pairs as the exchange described them, and precisions from options or snapshots.

        Parameters
        ----------
        symbols
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
        return self.scan("pairs", symbols)

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

    def coverage(self, symbols: str | Iterable[str] | None = None, *, origin: Origins = FEED) -> pl.DataFrame:
        """From when to when each channel and symbol is known, and why it ended.

        Parameters
        ----------
        symbols
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.
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
            For a symbol or an origin that does not exist.
        StorageError
            If a part of the ledger cannot be read, or other tables have parts and the ledger has none.

        Examples
        --------
        >>> lake.coverage("BTC/USD").filter(channel="book")    # doctest: +SKIP

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
        if symbols is not None:
            found = found.filter(pl.col("symbol").is_in(self.matching(symbols)))
        return found.sort("channel", "symbol", "ts_from", maintain_order=True)

    def clock_skew(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | timedelta | None = None,
    ) -> pl.DataFrame:
        """How much later messages were received than the exchange stamped them: quantiles, with their sign.

        Parameters
        ----------
        symbols, start, end
            As for ``scan``. Snapshots are left out, and all sessions count.
        every
            A row for each step of receive time too: ``"1m"`` or a timedelta. None: one row per channel.

        Returns
        -------
        DataFrame
            By channel, and by ``ts_from`` with ``every``: ``messages``; ``early``, the number of those that were
            received before the exchange's time; ``p0``, ``p1``, ``p10``, ``p50``, ``p90``, ``p99``, ``p100``
            (Duration, ns): p0 and p100 are exact, the others are rounded to three digits; ``clock``: ``"behind"`` if p0
            is below -1 ms, ``"ahead"`` (or the line was slow) if it is 500 ms or more, else null.

        Raises
        ------
        ConfigError
            For a symbol, time or step that does not exist.
        StorageError
            If a part cannot be read.

        Examples
        --------
        >>> lake.clock_skew("BTC/USD").select("channel", "p0", "p50", "p99")    # doctest: +SKIP
        >>> lake.clock_skew(every="1m").filter(clock="behind")    # doctest: +SKIP

        """
        width = None if every is None else step(every)
        rows = skew.channels_of(partial(self.scan, symbols=symbols, start=start, end=end, sources="all"))
        try:
            return skew.quantiles(rows, width)
        except UNREADABLE as error:
            unreadable(self.path, error)

    @overload
    def integrity(self, symbols: str, start: Time | None = None, end: Time | None = None) -> Integrity: ...

    @overload
    def integrity(
        self, symbols: list[str] | tuple[str, ...], start: Time | None = None, end: Time | None = None
    ) -> list[Integrity]: ...

    def integrity(
        self, symbols: str | list[str] | tuple[str, ...], start: Time | None = None, end: Time | None = None
    ) -> Integrity | list[Integrity]:
        """What is known of a symbol in a period: what was recorded, which gaps lie in it, which checksums were right.

        Parameters
        ----------
        symbols
            The pair; or a list of pairs and patterns, ``["BTC/*"]``, which gives a list.
        start, end
            Range of receive times; None: what is covered. Give the first and last time of a frame, and it says what the
            frame is built on.

        Returns
        -------
        Integrity, or a list of them
            For each channel that was ever recorded of the symbol: seconds covered and not covered, the gaps with their
            reasons, and of books the messages whose checksum was right, wrong or not compared, as the recorder found
            them (``verify`` computes them again). Of the trades their origins, and how many are missing by their ids.
            ``str(…)`` is one line, ``to_dict()`` one JSON object, ``whole`` whether nothing is missing or wrong.

        Raises
        ------
        ConfigError
            For a symbol or a time that does not exist.
        StorageError
            If a part cannot be read.

        Examples
        --------
        >>> print(lake.integrity("BTC/USD", "2026-11-22", "2026-11-23"))    # doctest: +SKIP

        """
        one = isinstance(symbols, str)
        if isinstance(symbols, str) and (is_pattern(symbols) or "," in symbols):
            cure = f"give a list, {[name.strip() for name in symbols.split(',')]}, and the answer is a list"
            raise ConfigError(f"symbols: {shown(symbols)} may be several pairs; {cure}")
        chosen = self._some(symbols)
        begin, until = time_range(start, end)
        try:
            coverage = self.coverage(origin="all")
            found = [integrity(self, symbol, begin, until, coverage) for symbol in chosen]
            return found[0] if one else found
        except UNREADABLE as error:
            unreadable(self.path, error)

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
        name = values.read(values.symbol, symbol, "symbol")
        return books_at(self, self.matching(name), at, depth=depth, by=by, channel=channel, numbers=numbers)[0]

    def books(
        self,
        symbols: str | Iterable[str],
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | timedelta | None = None,
        at: Times | None = None,
        depth: int = 10,
        by: By = "recv",
        channel: str = "book",
        numbers: Numbers = "decimal",
        layout: Layout = "wide",
        threads: int | None = None,
    ) -> pl.DataFrame:
        """Books at regular times, at the times that you give, or after each change.

        Parameters
        ----------
        symbols
            One symbol or pattern (``"BTC/*"``), or several of them.
        start, end
            Range of times: there is a row at ``start`` and after each step, before ``end``. None: from the first whole
            step at which a book of any of the symbols is known, to the end of what is known.
        every
            Step: ``"100ms"``, ``"1s"``, ``"5m"``, or a timedelta; None: 100 ms. ``"change"``: no step, but a row
            after each message in the range that changed one of the best ``depth`` levels.
        at
            Instead of a range: times in any order, also repeated; a list, a NumPy array of datetime64, a column of
            Polars or pandas, or one time.
        depth
            Levels per side, 1 to 1000.
        by
            ``"recv"``: the book after the last message received up to a time. ``"event"``: by the exchange's time.
        channel
            ``"book"``, or ``"level3"`` for the book that follows from the orders.
        numbers
            ``"decimal"``: Decimal(38, 10). ``"float"``: Float64.
        layout
            ``"wide"``: a row for each time, with columns for each level. ``"long"``: a row for each level.
        threads
            Threads that rebuild books; None: one per core.

        Returns
        -------
        DataFrame
            By symbol, then time; with ``at`` the times of each symbol in the order in which they were given. Columns
            symbol; ts (Datetime, ns, UTC); reason (String, null if there is a book, else why there is none); checksum
            (UInt32, Kraken's, of the best ten levels); and for each level bid_price_0, bid_qty_0, ask_price_0,
            ask_qty_0, bid_price_1, …, null where a side has no such level. With ``layout="long"`` instead level
            (UInt32, 0 is the best), bid_price, bid_qty, ask_price, ask_qty: a row for each level that one of the sides
            has, and one row with nulls where there is no book. With ``every="change"`` also session and message, after
            ts: rows are in the order of messages, and a row with a reason says from when on there is no book. Its
            message is null if it was not by a message; so is that of a row with which another session continues.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist, and for more than 100 million rows.
        StorageError
            If a part cannot be read.

        Warns
        -----
        UserWarning
            For more than 50 million rows, and for a step that is longer than what is recorded.

        Examples
        --------
        >>> lake.books("BTC/USD", "2026-11-22", "2026-11-23", every="1s", depth=5, numbers="float")    # doctest: +SKIP
        >>> lake.books(["BTC/USD", "ETH/*"], at=fills["ts"], layout="long")    # doctest: +SKIP

        """
        return books(
            self,
            sorted(set(self._some(symbols))),
            start,
            end,
            every=every,
            at=at,
            depth=depth,
            by=by,
            channel=channel,
            numbers=numbers,
            layout=layout,
            threads=threads,
        )

    def features(
        self,
        symbols: str | Iterable[str],
        names: str | Iterable[str],
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: str | timedelta = "1s",
        window: int = 60,
    ) -> pl.DataFrame:
        """Features at regular times: at ``start`` and after each step, before ``end``.

        A row has what was known here at its time, and nothing later: the book after the last message that was received
        up to it, and the trades and orders received in the step that ends with it, (ts - every, ts].

        Parameters
        ----------
        symbols
            One symbol or pattern (``"BTC/*"``), or several of them.
        names
            Names of features, keys of ``krakpot.FEATURES``; those with an N take a number of levels: ``"imbalance_5"``.
        start, end
            Range of receive times; None: what is covered.
        every
            Step: ``"100ms"``, ``"1s"``, ``"5m"``, or a timedelta.
        window
            How many steps ``realised_volatility`` and ``kyle_lambda`` look back.

        Returns
        -------
        DataFrame
            A row for each symbol and time: symbol, ts (Datetime, ns, UTC), reason (why there is no book; null if no
            feature needs one), run (UInt32, a number for each stretch without a gap; null in a gap), and a column for
            each name; docs/features.md has the units. A feature is null where it is not known: in a gap, in the first
            row after one if it is a difference, and in a step that is not wholly recorded or lacks a trade.

        Raises
        ------
        ConfigError
            For a feature, symbol, time or option that does not exist; the sentence names those that do.
        StorageError
            If a part cannot be read.

        Warns
        -----
        UserWarning
            For a step that is longer than what is recorded.

        Examples
        --------
        >>> lake.features("BTC/USD", ["mid", "imbalance_5", "signed_volume"], "2026-11-22")    # doctest: +SKIP

        """
        chosen = wanted(names)
        begin, until = time_range(start, end)
        symbols = self._some(symbols)

        def best_at(one: str, times: pl.Series) -> pl.DataFrame:
            return books(
                self, [one], None, None, every=None, at=times, depth=1, by="recv", channel="book", numbers="float",
                required=False,
            )  # fmt: skip

        def read(
            symbol: str, start: int, end: int, *, every: str, depth: int, channel: str = "book",
            numbers: Numbers = "decimal",
        ) -> pl.DataFrame:  # fmt: skip
            return books(
                self, [symbol], start, end, every=every, at=None, depth=depth, by="recv", channel=channel,
                numbers=numbers, required=False,
            )  # fmt: skip

        try:
            needed = {FEATURE_CHANNELS[source] for source in sources(chosen)}
            check_recorded(self, symbols, sorted(needed))
            check_depth_recorded(self, symbols, "book", max(one.depth for one in chosen))
            return features(
                self,
                read,
                best_at,
                symbols,
                chosen,
                begin,
                until,
                every=step(every),
                window=window,
            )
        except UNREADABLE as error:
            unreadable(self.path, error)

    def orders_at(
        self, symbol: str, at: Time, *, depth: int | None = None, by: By = "recv", numbers: Numbers = "decimal"
    ) -> OrdersAt:
        """Every order of the level-3 book as it was at one time: after the last message up to ``at``.

        Parameters
        ----------
        symbol
            The pair.
        at
            The time.
        depth
            Levels per side, 1 to 1000; None: all.
        by
            ``"recv"``: the last message received up to ``at``. ``"event"``: the last one by the exchange's time.
        numbers
            ``"decimal"``: exact, Decimal(38, 10). ``"float"``: Float64.

        Returns
        -------
        OrdersAt
            Its ``orders`` (a DataFrame, a row for each order in the order in which they are filled: side, price, place
            in the queue of its price from 0, order_id, qty, ``ahead``: the quantity before it in its queue, level from
            0, ts_order, age as Duration in ns) and ``checksum``. If there is no book, there are no orders and
            ``reason`` says why.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist.

        Examples
        --------
        >>> lake.orders_at("BTC/USD", "2026-11-22T10:00:00.250", depth=1).orders    # doctest: +SKIP

        """
        return orders_at(self, symbol, time_of(at, "at"), by=by, depth=depth, numbers=numbers)

    def order(
        self,
        order_id: str,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> OrderLife:
        """One order of level 3: what was told of it, its place in the queue over time, how much of it traded.

        Kraken's level 3 does not say why an order shrinks or goes. What it lost counts as traded if there is a trade of
        the same time (in microseconds), price and quantity, else as unattributed.

        Parameters
        ----------
        order_id
            Its id.
        symbols
            Its pair, or pairs and patterns to look in; None: in all of them.
        start, end
            Range of receive times in which it is looked for, [start, end); None: no bound. A narrow one is faster.

        Returns
        -------
        OrderLife
            ``rows`` and ``path`` (DataFrames: its rows, and its place after each message that changed it or its
            level), ``ended`` (why it is no longer in the book), ``traded`` and ``unattributed`` (exact quantities).

        Raises
        ------
        ConfigError
            For an order, symbol or time that does not exist.
        StorageError
            If a part cannot be read.

        Examples
        --------
        >>> lake.order("OTCFZG-YOE2Q-LQKNM3", "BTC/USD").path    # doctest: +SKIP

        """
        if not isinstance(order_id, str):
            raise ConfigError(f"order_id={shown(order_id)} is no text; give the id as Kraken writes it")
        try:
            rows = self.orders(symbols, start, end).filter(pl.col("order_id") == order_id).collect(engine="streaming")
            if rows.is_empty():
                place = "the lake" if symbols is None else symbols if isinstance(symbols, str) else ", ".join(symbols)
                raise ConfigError(f"there is no order {shown(order_id)} in the level 3 of {place}")
            return order_life(self, rows, self.scan("trades", rows["symbol"][0]))
        except UNREADABLE as error:
            unreadable(self.path, error)

    @overload
    def would_fill(
        self,
        symbol: str,
        side: OrderSide,
        price: str | Decimal | float,
        qty: str | Decimal | float,
        at: Time,
        until: Time | None = None,
        *,
        channel: Literal["level3", "book"] | None = None,
    ) -> WouldFill: ...

    @overload
    def would_fill(self, symbol: Any, *, channel: Literal["level3", "book"] | None = None) -> pl.DataFrame: ...  # noqa: ANN401  # a frame of any library

    def would_fill(
        self,
        symbol: Any,
        side: Any = None,
        price: Any = None,
        qty: Any = None,
        at: Any = None,
        until: Time | None = None,
        *,
        channel: Literal["level3", "book"] | None = None,
    ) -> WouldFill | pl.DataFrame:
        """Whether limit orders would have filled: one with the evidence, or a table of any number in one pass.

        Each order is alone: it takes what it would meet, and rests behind all orders that were at its price at ``at``;
        what traded decides how far it came. The rules are those of ``krakpot.Paper``, without latency. Level 3 gives
        the exact queue. Level 2 gives two bounds: all that was canceled stood behind the order, or before it. Needs
        trades of the pairs. Orders are assumed to change nothing.

        Parameters
        ----------
        symbol
            The pair; or a table in any library's frame that Polars reads, with a row for each order and the columns
            ``symbol``, ``side``, ``price``, ``qty``, ``at``, where wanted ``until`` and ``tag``. Then nothing else but
            ``channel`` is given.
        side
            ``"buy"`` or ``"sell"``.
        price, qty
            Limit price and quantity: text, Decimal, or a number.
        at
            When the order reached the exchange, by the exchange's time.
        until
            The last time that counts; None: the end of the recording.
        channel
            ``"level3"``, ``"book"``, or None: level 3 if it is known (of one order: at ``at``), else book.

        Returns
        -------
        WouldFill or DataFrame
            Of one order ``outcome``: ``"filled"``, ``"partly filled"``, ``"not filled"``, ``"not recorded"`` (the book
            is not known at ``at``), ``"unknown"`` (``reason`` says why: a gap, for example; what was known up to it
            counts). ``filled``, ``filled_max`` (exact), ``first_fill``, ``last_fill`` (ns), ``ahead``; the evidence:
            ``fills``, ``trades``, ``orders`` (DataFrames).
            Of a table its columns, in its order, and ``outcome``, ``reason``, ``filled``, ``filled_max``,
            ``first_fill``, ``last_fill``, ``evidence`` (kinds, joined by ``+`` in the order in which they came),
            ``trade_id`` (of the first trade that filled it), ``ahead``, ``doubt``, ``gaps``, ``known_until``.

        Raises
        ------
        ConfigError
            For a symbol, time, number or option that is not allowed, before anything is played; of a table the sentence
            names column and row.
        StorageError
            If a part cannot be read.

        Examples
        --------
        >>> lake.would_fill("BTC/USD", "buy", "63380.8", "0.1", "2026-11-22T10:00").outcome    # doctest: +SKIP
        >>> lake.would_fill(orders).group_by("outcome", "evidence").len()    # doctest: +SKIP

        """
        if all(one is None for one in (side, price, qty, at, until)) and not isinstance(symbol, str):
            return self._would_fill(symbol, channel, fills=False)[0]
        if at is None:
            raise ConfigError("at is missing; give the time when the order reached the exchange")
        time, end = time_of(at, "at"), None if until is None else time_of(until, "until")
        try:
            return would_fill(
                self, lambda begin, end: self.scan("trades", symbol, Instant(begin), Instant(end)),
                lambda frame, kind: self._would_fill(frame, kind, fills=True),
                symbol=symbol, side=side, price=price, qty=qty, at=time, until=end, channel=channel,
            )  # fmt: skip
        except UNREADABLE as error:
            unreadable(self.path, error)

    def _would_fill(self, frame: Any, channel: str | None, *, fills: bool) -> tuple[pl.DataFrame, pl.DataFrame]:  # noqa: ANN401  # a frame of any library
        try:
            return asked.oracle().answer(self, frame, channel=channel, fills=fills)
        except UNREADABLE as error:
            unreadable(self.path, error)

    @property
    def plot(self) -> Plot:
        """Pictures of the lake: ``lake.plot.book``, ``ladder``, ``spread``, ``coverage``, ``queue``.

        Returns
        -------
        Plot
            Its methods return figures of matplotlib, or charts of altair with ``interactive=True``.

        Examples
        --------
        >>> lake.plot.book("BTC/USD", "2026-11-22T10:00", "2026-11-22T10:05")    # doctest: +SKIP

        """
        return Plot(self)

    def view(
        self,
        symbol: str,
        *,
        at: Time | None = None,
        depth: int = display.DEPTH,
        theme: Theme = "auto",
        height: int = display.HEIGHT,
    ) -> Shown:
        """Show the lake in a notebook: the page of ``krakpot view``, as the output of a cell.

        It is played in a thread of its own, and needs no server and no port.

        Parameters
        ----------
        symbol
            The pair that is shown first.
        at
            Receive time at which it stands still; None: it is played from the beginning, or followed while it is
            recorded.
        depth
            Levels a side: 10, 25, 100, 500 or 1000.
        theme
            ``"dark"``, ``"light"``, or ``"auto"``: that of the notebook.
        height
            Pixels, from 240 to 4,000.

        Returns
        -------
        Shown
            An anywidget. Its attributes ``symbol``, ``depth``, ``theme`` and ``height`` can be assigned to; ``close``
            removes it.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist, and if anywidget is not installed.
        StorageError
            If the ledger cannot be read.

        Examples
        --------
        >>> lake.view("BTC/USD", at="2026-11-22T10:00:00.250", depth=25)    # doctest: +SKIP

        """
        return display.widgets().of_lake(self, symbol, at=at, depth=depth, theme=theme, height=height)

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

"""The events of a recording, as a live feed gave them.

>>> async def strategy(feed: krakpot.Feed | krakpot.Replay) -> None:
...     async for event in feed:
...         book = feed.book("BTC/USD")
...         if book.in_sync:
...             print(event, book.best_bid, book.best_ask)

A strategy that is written for ``Feed`` runs on ``Replay`` unchanged: the same events in the same order, the same books.
The books are those after the messages that came with one read of the socket, as they were live: never later ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Self

from krakpot import _core, values
from krakpot._core import Batch
from krakpot.errors import ConfigError, FeedError
from krakpot.lake.folder import Folder
from krakpot.lake.format import stamp
from krakpot.lake.recorded import check_recorded, has_rows
from krakpot.lake.sample import By, one_of
from krakpot.replay.source import Owner, ReplaySource
from krakpot.stream.book import LiveBook
from krakpot.stream.events import Callback, Event, Subscription
from krakpot.stream.orders import LiveOrders
from krakpot.stream.stream import ALREADY_STARTED, OVER, EventStream
from krakpot.values import LEVEL3, Time, time_of, time_range

PLACE = "krakpot.Replay"


class Replay:
    """Events and books of a lake, while its ``async with`` block runs or between ``start`` and ``close``.

    Parameters
    ----------
    lake
        A ``krakpot.Lake``, or the folder of one. It may be recorded meanwhile: what is there at the start is replayed.
    symbols
        Patterns of pairs, as ``BTC/USD`` or ``ETH/*``; None: all that the lake has.
    start, end
        Range of receive times, [start, end); None: all. Books are in sync from the start on, where they were.
    channels
        Of ``book``, ``trade``, ``ticker``, ``ohlc`` and ``level3``; None: all that were recorded.
    exclude
        Patterns of pairs to leave out.
    by
        ``"recv"``: in the order in which the messages came. ``"event"``: in the order of the exchange's time; messages
        of one symbol and channel keep their order. A message that came more than five seconds late comes late here,
        too.
    speed
        Recorded seconds a second: 1.0 is as it was, 60.0 a minute a second. None: as fast as the strategy reads.

    Raises
    ------
    ConfigError
        An option is wrong, or the lake has no such symbol or channel.
    StorageError
        The folder is not a lake, or a part cannot be read.

    Examples
    --------
    >>> replay = krakpot.Replay("data", ["BTC/USD"], "2026-11-22T10:00", "2026-11-22T11:00")  # doctest: +SKIP

    """

    __slots__ = ("_books", "_folder", "_orders", "_source", "_started", "_stream")

    def __init__(
        self,
        lake: Folder | str | PathLike[str],
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        channels: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        by: By = "recv",
        speed: float | None = None,
    ) -> None:
        """Check the options, and see which symbols there are; nothing is played before it is read."""
        self._folder = lake if isinstance(lake, Folder) else Folder(lake)  # type: ignore[arg-type]  # it checks
        one_of("by", by, ("recv", "event"))
        begin, until = time_range(start, end)
        chosen = self._channels(channels)
        names = self._symbols(symbols, exclude)
        if channels is not None:
            check_recorded(self._folder, names, chosen)
        elif symbols is not None and not any(has_rows(self._folder, names, one) for one in chosen):
            raise ConfigError(f"{PLACE}: symbols: nothing was recorded of {', '.join(names)}")
        self._source = ReplaySource(
            self._folder,
            dict.fromkeys(chosen, names),
            start=begin,
            end=until,
            by=by,
            speed=_speed(speed),
        )
        self._stream = EventStream(self._source, chosen, name=PLACE)
        self._started = False
        self._books: dict[str, LiveBook] = {}
        self._orders: dict[str, LiveOrders] = {}

    def _channels(self, channels: Sequence[str] | None) -> list[str]:
        view = self._folder.look()
        there = [channel for channel, table in _core.CHANNELS.items() if view.of(table) or view.journals]
        if channels is None:
            return there
        chosen = values.read(values.words_of(tuple(_core.CHANNELS)), channels, f"{PLACE}: channels")
        for channel in chosen:
            if channel not in there:
                sentence = f"{PLACE}: channels: the lake has no {channel}; it has {', '.join(there) or 'none'}"
                raise ConfigError(sentence)
        return list(chosen)

    def _symbols(self, symbols: str | Sequence[str] | None, exclude: Sequence[str]) -> list[str]:
        names = self._folder.symbols() if symbols is None else self._folder.matching(symbols)
        left_out = values.read(values.patterns, exclude, f"{PLACE}: exclude") if exclude else []
        chosen = [name for name in names if not any(_core.matches(pattern, name) for pattern in left_out)]
        if not chosen and names:
            raise ConfigError(f"{PLACE}: exclude leaves none of {len(names)} symbols")
        return chosen

    # Begin and end.

    async def start(self) -> Self:
        """See what there is to play. ``async with`` does this on entering.

        Nothing is played before somebody reads: by ``run``, by iteration, by ``batches`` or in ``wait_ready``.

        Returns
        -------
        Self
            The replay itself.

        Raises
        ------
        FeedError
            It is started already, or closed; make another one.
        ConfigError
            Nothing was recorded from ``start`` to ``end``.
        StorageError
            The ledger cannot be read.

        Examples
        --------
        >>> replay = await krakpot.Replay("data").start()  # doctest: +SKIP

        """
        if self._stream.stopped.is_set():
            raise FeedError(OVER)
        if self._started:
            raise FeedError(ALREADY_STARTED)
        self._started = True
        try:
            self._source.open(self._stream)
            check_range(self._source)
            self._stream.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Stop, and let its threads end. ``async with`` does this on leaving.

        Examples
        --------
        >>> await replay.close()  # doctest: +SKIP

        """
        self.stop()
        self._source.close()

    async def __aenter__(self) -> Self:
        """``start``."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """``close``; raises the error of a replay that failed, unless another error is raised."""
        await self.close()
        if error is None and self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End: iteration and ``batches`` end, ``run`` returns. No callback and no event comes after this call.

        Examples
        --------
        >>> feed.on("gap", lambda event: feed.stop())  # doctest: +SKIP

        """
        self._stream.stop()
        self._source.stop()

    async def run(self) -> None:
        """Let callbacks be called until the end of the recording, or ``stop``.

        Raises
        ------
        FeedError
            The replay is not started.
        Exception
            The error of the replay, or of a callback.

        Examples
        --------
        >>> async with krakpot.Replay("data", ["BTC/USD"]) as feed:  # doctest: +SKIP
        ...     feed.on("trade", print)
        ...     await feed.run()

        """
        await self._stream.run()

    async def wait_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as `Feed` has it
        """Play until all books are in sync and every subscription delivers.

        Callbacks get the events; who iterates afterwards does not see them, as in a live feed.

        Parameters
        ----------
        timeout
            Recorded seconds to play at most, from 0; None: to the end.

        Raises
        ------
        TimeoutError
            It took longer, or the recording ended before.
        ConfigError
            ``timeout`` is no number of seconds.
        FeedError
            The replay is not started, or is closed.

        Examples
        --------
        >>> await feed.wait_ready(timeout=30)  # doctest: +SKIP

        """
        if timeout is not None:
            timeout = values.read(values.timeout, timeout, f"{PLACE}.wait_ready: timeout")
        self._stream.check_open()
        self._check_started()
        await self._source.reach_start(self._stream.stopped)
        until = None
        while not self._source.ready():
            if self._stream.error is not None:
                raise self._stream.error
            now = self._source.now
            if until is None and now is not None and timeout is not None:
                until = now + int(timeout * 1e9)
            if self._stream.stopped.is_set() or (until is not None and now is not None and now > until):
                ended = "the recording ended" if self._stream.stopped.is_set() else f"not ready within {timeout:g} s"
                sentence = f"{ended}: {self._source.unready()}"
                raise TimeoutError(sentence)
            await asyncio.sleep(0 if self._stream.produce(steps=1) else 0.001)

    def _check_started(self) -> None:
        if not self._started:
            sentence = "this replay is not started: use it within `async with replay:`, or after `await replay.start()`"
            raise FeedError(sentence)

    # The clock of the replay.

    @property
    def now(self) -> int | None:
        """The recorded time that is played now, ns since the epoch; None before the first message."""
        return self._source.now

    @property
    def speed(self) -> float | None:
        """Recorded seconds a second; None: as fast as the strategy reads. It can be set while it plays."""
        return self._source.speed

    @speed.setter
    def speed(self, speed: float | None) -> None:
        self._source.set_speed(_speed(speed))

    def pause(self) -> None:
        """Play nothing until ``resume``.

        Examples
        --------
        >>> replay.pause()  # doctest: +SKIP

        """
        self._source.pause_by_user()

    def resume(self) -> None:
        """Play on after ``pause``.

        Examples
        --------
        >>> replay.resume()  # doctest: +SKIP

        """
        self._source.resume_by_user()

    def seek(self, at: Time) -> None:
        """Go on at another time, earlier or later. Books are then as they were at that time.

        Parameters
        ----------
        at
            Receive time from which on events come.

        Raises
        ------
        ConfigError
            ``at`` is no time.
        FeedError
            The replay is not started, or is over.

        Examples
        --------
        >>> replay.seek("2026-11-22T10:30")  # doctest: +SKIP

        """
        self._stream.check_open()
        self._check_started()
        self._source.seek(time_of(at, "at"))
        self._stream.forget()

    # Listening.

    def on(self, channel: str, callback: Callback, symbol: str | None = None) -> None:
        """Call a function with each event of a channel. Nothing is played while it runs.

        Parameters
        ----------
        channel
            A channel of the replay, or ``status``, ``subscription``, ``connection``, ``gap``.
        callback
            A plain function (no coroutine) that takes the event. An exception in it ends the replay.
        symbol
            Only events of this symbol; None: of all.

        Raises
        ------
        ConfigError
            The replay does not have this channel or symbol; ``callback`` is no plain function.
        FeedError
            The replay is read by ``batches``, or is closed.

        Examples
        --------
        >>> feed.on("trade", lambda event: print(event.price, event.qty), symbol="BTC/USD")  # doctest: +SKIP

        """
        self._stream.on(channel, callback, symbol)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over all events, in order; one iteration at a time. It ends with the recording, or with ``stop``."""
        return aiter(self._stream)

    def batches(self, every: float | None = None) -> AsyncIterator[dict[str, Batch]]:
        """Iterate over rows, as Arrow record batches by table, without copying.

        Parameters
        ----------
        every
            Recorded seconds between two batches, above zero; None: as many as are played at once.

        Returns
        -------
        AsyncIterator[dict[str, Batch]]
            An asynchronous iterator of dicts from table name to batch, as of ``Feed.batches``.

        Raises
        ------
        ConfigError
            ``every`` is no number of seconds above zero.
        FeedError
            The replay is not started, has callbacks, or is read already.

        Examples
        --------
        >>> async for tables in feed.batches(every=1.0):  # doctest: +SKIP
        ...     frame = polars.DataFrame(pyarrow.record_batch(tables["trades"]))

        """
        return self._stream.batches(every)

    # What it knows.

    def book(self, symbol: str) -> LiveBook:
        """Return the book of a symbol: the same object each time.

        Parameters
        ----------
        symbol
            A pair that is replayed, as ``BTC/USD``.

        Returns
        -------
        LiveBook
            A handle that shows the book at the time that is played; ask ``in_sync`` before its prices.

        Raises
        ------
        ConfigError
            The replay has no channel ``book``, or not this symbol.
        FeedError
            The replay is not started.

        Examples
        --------
        >>> book = feed.book("BTC/USD")  # doctest: +SKIP

        """
        found = self._books.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            self._check_handle("book", symbol)
            found = self._books[symbol] = LiveBook(Owner(self._source, "book", symbol), symbol)
        return found

    def orders(self, symbol: str) -> LiveOrders:
        """Return the level-3 book of a symbol: the same object each time.

        Parameters
        ----------
        symbol
            A pair that is replayed in its channel ``level3``.

        Returns
        -------
        LiveOrders
            A handle that shows the orders at the time that is played, and their places in the queues.

        Raises
        ------
        ConfigError
            The replay has no channel ``level3``, or not this symbol.
        FeedError
            The replay is not started.

        Examples
        --------
        >>> orders = feed.orders("BTC/USD")  # doctest: +SKIP

        """
        found = self._orders.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            self._check_handle(LEVEL3, symbol)
            found = self._orders[symbol] = LiveOrders(Owner(self._source, LEVEL3, symbol), symbol)
        return found

    def _check_handle(self, channel: str, symbol: str) -> None:
        """``ConfigError`` if there is no book of this symbol; the sentence says what there is."""
        self._check_started()
        place = f"{PLACE}.{'orders' if channel == LEVEL3 else channel}"
        if channel not in self._source.symbols:
            there = ", ".join(self._source.symbols)
            sentence = f"{place}: this replay has no channel {channel}; it has {there}"
            raise ConfigError(sentence)
        self._source.check_symbol(channel, symbol, f"{place}: symbol")

    async def add_symbols(self, symbols: Sequence[str], channels: Sequence[str] | None = None) -> list[str]:
        """Select more symbols of the lake while it plays; their books are those of this moment.

        Parameters
        ----------
        symbols
            Patterns of pairs.
        channels
            For which channels of the replay; None: for all.

        Returns
        -------
        list[str]
            The symbols that were added.

        Raises
        ------
        ConfigError
            The lake has no such symbol, or the replay not such a channel.
        FeedError
            The replay is not started, or is over.

        Examples
        --------
        >>> await feed.add_symbols(["SOL/USD"])  # doctest: +SKIP
        ['SOL/USD']

        """
        return self._change("add_symbols", symbols, channels, selects=True)

    async def remove_symbols(self, symbols: Sequence[str], channels: Sequence[str] | None = None) -> list[str]:
        """Select fewer symbols while it plays.

        Parameters
        ----------
        symbols
            Patterns of pairs.
        channels
            For which channels of the replay; None: for all.

        Returns
        -------
        list[str]
            The symbols that were removed.

        Raises
        ------
        ConfigError
            The lake has no such symbol, or the replay not such a channel.
        FeedError
            The replay is not started, or is over.

        Examples
        --------
        >>> await feed.remove_symbols(["SOL/*"])  # doctest: +SKIP
        ['SOL/EUR', 'SOL/USD']

        """
        removed = self._change("remove_symbols", symbols, channels, selects=False)
        for handles, channel in ((self._books, "book"), (self._orders, LEVEL3)):
            for symbol in removed:
                if symbol not in self._source.symbols.get(channel, ()):
                    handles.pop(symbol, None)
        return removed

    def _change(
        self, method: str, symbols: Sequence[str], channels: Sequence[str] | None, *, selects: bool
    ) -> list[str]:
        self._stream.check_open()
        self._check_started()
        place = f"{PLACE}.{method}"
        known = tuple(self._source.symbols)
        chosen = known
        if channels is not None:
            chosen = values.read(values.words_of(known), channels, f"{place}: channels")
        patterns = values.read(values.patterns, symbols, f"{place}: symbols")
        return self._source.change(set(self._folder.matching(patterns)), chosen, selects=selects)

    @property
    def selected_symbols(self) -> list[str]:
        """Symbols that are replayed in any channel."""
        return sorted({name for names in self._source.symbols.values() for name in names})

    @property
    def channels(self) -> list[str]:
        """Channels that are replayed."""
        return list(self._source.symbols)

    @property
    def connected(self) -> bool:
        """Whether all connections of the recording are up at the time that is played."""
        return self._source.connected

    @property
    def idle_seconds(self) -> float:
        """Recorded seconds since the last message that was played; infinite before the first."""
        return self._source.idle_seconds

    @property
    def system(self) -> str | None:
        """State of the exchange at that time: ``online``, ``maintenance``, …; None before it said."""
        return self._source.system

    def subscriptions(self) -> list[Subscription]:
        """Every subscription that the recording had at the time that is played, with its state.

        Examples
        --------
        >>> [s.symbol for s in feed.subscriptions() if s.state == "rejected"]  # doctest: +SKIP

        """
        return [] if self._stream.stopped.is_set() else self._source.subscriptions()

    @property
    def counts(self) -> dict[str, Any]:
        """Counters over all sessions that were played; those of ``krakpot.FeedCounts`` that a recording has."""
        return self._source.counts()

    @property
    def waiting(self) -> int:
        """Events, or rows with ``batches``, that wait for the strategy."""
        return self._stream.waiting

    @property
    def skipped(self) -> Counter[str]:
        """Always empty: a replay waits for its strategy."""
        return self._stream.skipped

    @property
    def error(self) -> Exception | None:
        """The error of a replay that failed; else None."""
        return self._stream.error

    @property
    def recording(self) -> Mapping[str, Any]:
        """Always empty: no recorder runs beside a replay."""
        return {}

    def __repr__(self) -> str:
        """Its folder, channels and symbols."""
        names = self.selected_symbols
        some = " ".join(names[:3]) + (" …" if len(names) > 3 else "")  # noqa: PLR2004  # as many as fit a line
        return f"Replay({str(self._folder.path)!r}, {', '.join(self._source.symbols)}: {some})"


def check_range(source: ReplaySource) -> None:
    """``ConfigError`` if nothing was recorded in the time that is asked for."""
    recorded = source.recorded_range
    if recorded is None or source.has_sessions:
        return
    begin, end = (f"{stamp(ts):%Y-%m-%d %H:%M:%S}" for ts in recorded)
    raise ConfigError(f"{PLACE}: nothing was recorded from start to end; recorded is {begin} to {end} UTC")


def folder_of(replay: Replay) -> Folder:
    """The folder of the lake that a replay plays."""
    return replay._folder  # noqa: SLF001  # of this file


def source_of(replay: Replay) -> ReplaySource:
    """Make another source of what a replay plays, from its begin on: the replay itself is left as it is."""
    return replay._source.again()  # noqa: SLF001  # of this file


def _speed(speed: float | None) -> float | None:
    """Read ``speed``; ``ConfigError`` if it is no number above zero."""
    return None if speed is None else values.read(values.speed, speed, f"{PLACE}: speed")

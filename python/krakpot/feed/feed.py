"""Live books and events for a strategy, in its own process.

>>> async def strategy() -> None:
...     async with krakpot.Feed(["BTC/USD"], channels=["book", "trade"]) as feed:
...         async for event in feed:
...             book = feed.book("BTC/USD")
...             if book.in_sync:
...                 print(event, book.best_bid, book.best_ask)

A feed uses the connection and the session of the recorder, without a lake. There are three ways to listen: callbacks
(``on``), which run as soon as the socket was read; iteration, through a bounded queue; and ``batches``, Arrow tables
without a Python object for any message. Every book message is checked before the strategy sees it. ``slow_reader`` says
what happens when the strategy is slower than the feed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from krakpot import display, values
from krakpot._core import Batch
from krakpot.config import REST_URL, URL
from krakpot.display import Shown, Theme
from krakpot.errors import ConfigError, FeedError
from krakpot.feed import options
from krakpot.feed.options import PLACE
from krakpot.feed.sidecar import Sidecar
from krakpot.feed.source import TICK, FeedCounts, FeedSource, Owner
from krakpot.log import LogLine
from krakpot.net.backoff import Backoff
from krakpot.net.client import ClientContext, supervise, uuid7
from krakpot.stream.book import LiveBook
from krakpot.stream.events import Callback, Event, Subscription
from krakpot.stream.orders import LiveOrders
from krakpot.stream.stream import ALREADY_STARTED, NOT_STARTED, OVER, EventStream, SlowReaderPolicy
from krakpot.values import LEVEL3, Time

if TYPE_CHECKING:
    from krakpot.feed.history import History
    from krakpot.lake.folder import Folder

ATTEMPTS_BESIDE = 20
"""Attempts to connect in ten minutes where a recorder runs beside, which has 120 of the 150 that Kraken allows."""
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOGGER = logging.getLogger("krakpot.feed")


class Feed:
    """Live books and events, while its ``async with`` block runs or between ``start`` and ``close``.

    Parameters
    ----------
    symbols
        Patterns of pairs, as ``BTC/USD`` or ``ETH/*``: ``*`` matches any run of characters, ``?`` one.
    channels
        Of ``book``, ``trade``, ``ticker``, ``ohlc`` and ``level3``: a list, or a mapping from channel to the patterns
        of its symbols, then without ``symbols``: ``{"book": ["*"], "level3": ["BTC/USD"]}``.
    depth
        Price levels a side of ``book``: 10, 25, 100, 500 or 1000.
    exclude
        Patterns of pairs to leave out.
    interval
        Minutes of a candle (``ohlc``): 1, 5, 15, 30, 60, 240, 1440, 10080 or 21600.
    tokenised
        Whether tokenised assets (as ``AAPLx/USD``) are among the pairs.
    slow_reader
        When the strategy is slower than the feed: ``wait`` leaves the socket unread, ``newest`` keeps the newest event
        of each symbol, ``fail`` ends the feed with ``SlowReader``.
    max_queue
        Events (rows, with ``batches``) that may wait for the strategy; None: 10,000 events, 200,000 rows.
    level3_depth
        Price levels a side of ``level3``: 10, 100 or 1000.
    api_key, api_secret
        API key for ``level3``, with the permission "WebSocket interface - On" and no other; None: the environment
        variables ``KRAKPOT_API_KEY`` and ``KRAKPOT_API_SECRET``.
    level3_rate
        Cost of level-3 subscriptions a second that the account may use: 200 for a standard account, 500 for pro.
    url, level3_url, rest_url
        Addresses of the exchange; Kraken's by default. ``krakpot exchange`` prints those of the built-in one.
    plaintext
        Whether ``url`` may be ``ws://`` on another machine, where nothing proves who answers.
    connect_timeout
        Seconds to wait for the first connection and the list of pairs.
    record
        The folder of a lake, or options as in ``krakpot.toml`` (``{"out": "lake", "symbols": "*"}``): a recorder in a
        separate process, with a separate connection, runs beside the feed and ends with it.
    tls
        The TLS context for ``wss://``; None: the system's certificate authorities.

    history, since
        A ``krakpot.Lake`` or its folder, and a time: what was recorded from then on comes first, as ``Replay`` gives
        it, as fast as it is read; then the feed goes on live, without a hole or a repeat if a recorder runs. A hole is
        said by a ``GapEvent``. ``batches`` is not available then.

    Raises
    ------
    ConfigError
        An option is wrong; the sentence names it and what is allowed.

    Examples
    --------
    >>> feed = krakpot.Feed(["BTC/USD"], channels=["book"], depth=25)  # doctest: +SKIP

    """

    __slots__ = (
        "__weakref__", "_books", "_context", "_history", "_options", "_orders", "_recording", "_sidecar", "_source",
        "_stream", "_tasks", "_tls",
    )  # fmt: skip

    def __init__(
        self,
        symbols: Sequence[str] | None = None,
        *,
        channels: Sequence[str] | Mapping[str, Sequence[str]] = ("book", "trade"),
        depth: int = options.DEPTH,
        exclude: Sequence[str] = (),
        interval: int = 1,
        tokenised: bool = False,
        slow_reader: SlowReaderPolicy = "wait",
        max_queue: int | None = None,
        level3_depth: int = 100,
        api_key: str | None = None,
        api_secret: str | None = None,
        level3_rate: int = 200,
        url: str = URL,
        level3_url: str | None = None,
        rest_url: str = REST_URL,
        plaintext: bool = False,
        connect_timeout: float = 30.0,
        record: str | PathLike[str] | Mapping[str, Any] | None = None,
        tls: ssl.SSLContext | None = None,
        history: Folder | str | PathLike[str] | None = None,
        since: Time | None = None,
    ) -> None:
        """Check the options; nothing connects before ``start``."""
        if tls is not None:
            values.read(values.instance_of(ssl.SSLContext, "an ssl.SSLContext"), tls, f"{PLACE}: tls")
        self._options = options.read(
            symbols, channels, record, connect_timeout,
            depth=depth, exclude=exclude, interval=interval, tokenised=tokenised, url=url, plaintext=plaintext,
            level3_depth=level3_depth, level3_url=level3_url, level3_rate=level3_rate, rest_url=rest_url,
            api_key=api_key, api_secret=api_secret,
        )  # fmt: skip
        self._source = FeedSource(self._options)
        self._history = self._history_of(history, since)
        self._stream = EventStream(
            self._history or self._source, self._source.selection.channels, max_queue=max_queue, slow_reader=slow_reader
        )
        self._tls = tls
        self._context: ClientContext | None = None
        self._sidecar: Sidecar | None = None
        self._recording: asyncio.Task[None] | None = None
        self._books: dict[str, LiveBook] = {}
        self._orders: dict[str, LiveOrders] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _history_of(self, lake: Folder | str | PathLike[str] | None, since: Time | None) -> History | None:
        if lake is None and since is None:
            return None
        from krakpot.feed.history import history_of  # noqa: PLC0415  # Polars takes longer than all the rest

        return history_of(self._source, lake, since)

    # Begin and end.

    async def start(self) -> Self:
        """Connect, and wait until the exchange has described its pairs. ``async with`` does this on entering.

        A connection that is lost later is established again by itself. In a notebook use ``start`` and ``close`` in
        cells of their own.

        Returns
        -------
        Self
            The feed itself.

        Raises
        ------
        ConfigError
            A pattern matches no pair, or the exchange rejects the API key.
        ConnectionLost
            No connection within ``connect_timeout`` seconds.
        FeedError
            There is a connection, but the exchange did not describe its pairs in time.
        FeedError
            The feed is started already, or closed; make another one.

        Examples
        --------
        >>> feed = await krakpot.Feed(["BTC/USD"]).start()  # doctest: +SKIP
        >>> await feed.close()  # doctest: +SKIP

        """
        if self._stream.stopped.is_set():
            raise FeedError(OVER)
        if self._context is not None:
            raise FeedError(ALREADY_STARTED)
        if self._options.record is not None:
            self._sidecar = Sidecar(self._options.record, _log_recorder)
        context = self._new_context()
        try:
            if self._sidecar is not None:
                await self._sidecar.start()
                self._recording = supervise(self._sidecar.run(), self._stream.fail)
            sink = self._stream if self._history is None else self._history.hold_for(self._stream)
            await self._source.open(sink, context, self._backoff())
            if self._history is not None:
                self._history.open()
            self._stream.start()
        except BaseException:
            await self.close()
            raise
        if self._history is None:
            self._source.subscribe()
        return self

    def _new_context(self) -> ClientContext:
        """What all its connections share."""
        self._context = ClientContext(self._options.config, uuid7(), self._stream.stopped, _log, self._task, self._tls)
        return self._context

    def _backoff(self) -> Backoff:
        """How often it may try to connect: a recorder beside uses the same address."""
        return Backoff() if self._options.record is None else Backoff(budget=ATTEMPTS_BESIDE)

    async def close(self) -> None:
        """Stop, close the connections in order, and let the recorder beside seal what it has.

        ``async with`` does this on leaving. Closing twice does nothing more; a feed that is closed before its start
        cannot be started. ``error`` has the reason if the feed failed.

        Examples
        --------
        >>> await feed.close()  # doctest: +SKIP

        """
        self.stop()
        if self._history is not None:
            self._history.close()
        await self._source.closed()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._sidecar is not None and self._recording is not None:
            self._sidecar.stop()
            await asyncio.gather(self._recording, return_exceptions=True)

    async def __aenter__(self) -> Self:
        """``start``."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """``close``; raises the error of a feed that failed, unless another error is raised."""
        await self.close()
        if error is None and self.error is not None:
            raise self.error

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the strategy; if it fails, the feed does."""
        task = supervise(work, self._stream.fail)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """End: iteration and ``batches`` end, ``run`` returns. No callback and no event comes after this call.

        No book is in sync any more. The connections are closed by ``close``, or on leaving the block.

        Examples
        --------
        >>> feed.on("status", lambda event: feed.stop() if event.system != "online" else None)  # doctest: +SKIP

        """
        self._stream.stop()
        self._source.stop()

    async def run(self) -> None:
        """Let callbacks be called until ``stop``.

        Raises
        ------
        FeedError
            The feed is not started.
        Exception
            The error of the feed, or of a callback.

        Examples
        --------
        >>> async with krakpot.Feed(["BTC/USD"]) as feed:  # doctest: +SKIP
        ...     feed.on("trade", print)
        ...     await feed.run()

        """
        await self._stream.run()

    async def wait_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as asyncio's own waits
        """Wait until all books are in sync and every subscription delivers.

        Also right after a reconnect, when nothing is subscribed yet. Delisted pairs, and rejected subscriptions of
        symbols that a pattern with ``*`` or ``?`` selects, are not waited for. While a socket waits for the strategy
        (``slow_reader="wait"``) nothing becomes ready: do not call this in the loop that reads.

        Parameters
        ----------
        timeout
            Seconds to wait at most, from 0; None: no limit.

        Raises
        ------
        TimeoutError
            It took longer; the text says what was waited for.
        ConfigError
            ``timeout`` is no number of seconds.
        SubscriptionRejected
            The exchange rejected a symbol that is selected by its name.
        FeedError
            The feed is not started, or is closed. If the feed failed, its error is raised.

        Examples
        --------
        >>> await feed.wait_ready(timeout=30)  # doctest: +SKIP

        """
        if timeout is not None:
            timeout = values.read(values.timeout, timeout, f"{PLACE}.wait_ready: timeout")
        self._running()
        try:
            async with asyncio.timeout(timeout) as limit:
                if self._history is not None:
                    while not self._history.live_now and not self._history.ready():
                        await asyncio.sleep(0 if self._stream.produce(steps=1) else TICK)
                        self._stream.check_open()
                else:
                    await self._source.until(self._source.ready)
        except TimeoutError:
            if not limit.expired():
                # A callback's own, of which the feed failed.
                raise
            sentence = f"not ready within {timeout:g} s: {self._source.unready()}"
            raise TimeoutError(sentence) from None

    def _started(self) -> None:
        """``FeedError`` if there was no connection yet, so that nothing is known."""
        if self._source.public is None:
            raise FeedError(OVER if self._stream.stopped.is_set() else NOT_STARTED)

    def _running(self) -> None:
        """The same, also if the feed is over: its error, or ``FeedError``."""
        self._stream.check_open()
        self._started()

    # Listening.

    def on(self, channel: str, callback: Callback, symbol: str | None = None) -> None:
        """Call a function with each event of a channel, within the call that read the socket.

        While the callback runs, the socket waits. An exception in it ends the feed, and ``run`` raises it.

        Parameters
        ----------
        channel
            A channel of the feed, or ``status``, ``subscription``, ``connection``.
        callback
            A plain function (no coroutine) that takes the event.
        symbol
            Only events of this symbol; None: of all.

        Raises
        ------
        ConfigError
            The feed does not have this channel, or does not select this symbol; ``callback`` is no plain function.
        FeedError
            The feed is read by ``batches``, or is closed.

        Examples
        --------
        >>> feed.on("trade", lambda event: print(event.price, event.qty), symbol="BTC/USD")  # doctest: +SKIP

        """
        self._stream.on(channel, callback, symbol)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over all events from now on, in order; one iteration at a time.

        It ends with ``stop``, and raises the error of a feed that failed. ``FeedError`` if the feed is not started.
        """
        return aiter(self._stream)

    def batches(self, every: float | None = None) -> AsyncIterator[dict[str, Batch]]:
        """Iterate over rows from now on, as Arrow record batches by table, without copying.

        Callbacks and iteration are not available on the same feed.

        Parameters
        ----------
        every
            Seconds between two batches, above zero; None: as soon as rows arrive.

        Returns
        -------
        AsyncIterator[dict[str, Batch]]
            An asynchronous iterator of dicts from table name to batch. Tables and columns are those of a lake; see
            ``docs/reference/tables.md``.

        Raises
        ------
        ConfigError
            ``every`` is no number of seconds above zero.
        FeedError
            The feed is not started, has callbacks, or is read already.

        Examples
        --------
        >>> async for tables in feed.batches(every=1.0):  # doctest: +SKIP
        ...     frame = polars.DataFrame(pyarrow.record_batch(tables["trades"]))

        """
        if self._history is not None:
            sentence = "a feed with a history has no batches; read a krakpot.Replay, then a feed without history"
            raise FeedError(sentence)
        return self._stream.batches(every)

    # What it knows.

    def book(self, symbol: str) -> LiveBook:
        """Return the live book of a symbol: the same object each time.

        Parameters
        ----------
        symbol
            A pair that the feed selects, as ``BTC/USD``.

        Returns
        -------
        LiveBook
            A handle that always shows the current state; ask ``in_sync`` before its prices.

        Raises
        ------
        ConfigError
            The feed has no channel ``book``, or does not select this symbol.
        FeedError
            The feed is not started.

        Examples
        --------
        >>> book = feed.book("BTC/USD")  # doctest: +SKIP

        """
        found = self._books.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            self._check_handle("book", symbol)
            assert self._source.public is not None, "checked"
            # All books come over the public connection: no look-up on the way to a price.
            owner = self._source.public if self._history is None else self._history.owner("book", symbol)
            found = self._books[symbol] = LiveBook(owner, symbol)
        return found

    def orders(self, symbol: str) -> LiveOrders:
        """Return the live level-3 book of a symbol: the same object each time.

        Parameters
        ----------
        symbol
            A pair that the feed selects in its channel ``level3``.

        Returns
        -------
        LiveOrders
            A handle that always shows the current orders and their places in the queues.

        Raises
        ------
        ConfigError
            The feed has no channel ``level3``, or does not select this symbol there.
        FeedError
            The feed is not started.

        Examples
        --------
        >>> orders = feed.orders("BTC/USD")  # doctest: +SKIP

        """
        found = self._orders.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            self._check_handle(LEVEL3, symbol)
            live = Owner(self._source, LEVEL3, symbol)
            owner = live if self._history is None else self._history.owner(LEVEL3, symbol)
            found = self._orders[symbol] = LiveOrders(owner, symbol)
        return found

    def _check_handle(self, channel: str, symbol: str) -> None:
        """``ConfigError`` if there is no book of this symbol; the sentence says what there is."""
        self._started()
        place = f"{PLACE}.{'orders' if channel == LEVEL3 else channel}"
        if channel not in self._source.selection.channels:
            sentence = f'{place}: this feed has no channel {channel}; give channels=["{channel}", …] to krakpot.Feed'
            raise ConfigError(sentence)
        self._source.check_symbol(channel, symbol, f"{place}: symbol")

    def view(
        self, symbol: str, *, depth: int = display.DEPTH, theme: Theme = "auto", height: int = display.HEIGHT
    ) -> Shown:
        """Show the feed in a notebook: the page of ``krakpot view``, as the output of a cell.

        It draws what the feed has, while the notebook's loop runs; it needs no server and no port. Afterwards the feed
        cannot be read by ``batches``.

        Parameters
        ----------
        symbol
            The pair that is shown first, one that the feed selects.
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
            An option is wrong, the feed does not select this symbol, or anywidget is not installed.
        FeedError
            The feed is not started, is closed, or is read by ``batches``; or this is not its loop.

        Examples
        --------
        >>> feed = await krakpot.Feed(["BTC/USD"]).start()  # doctest: +SKIP
        >>> feed.view("BTC/USD")  # doctest: +SKIP

        """
        self._running()
        return display.widgets().of_feed(self, symbol, depth=depth, theme=theme, height=height)

    async def add_symbols(self, symbols: Sequence[str], channels: Sequence[str] | None = None) -> list[str]:
        """Select more symbols while the feed runs.

        Their subscriptions begin at once; ``wait_ready`` waits for them.

        Parameters
        ----------
        symbols
            Patterns of pairs, as in ``Feed``. They also select what ``exclude`` or ``remove_symbols`` left out before.
        channels
            For which channels of the feed; None: for all.

        Returns
        -------
        list[str]
            The symbols that were added.

        Raises
        ------
        ConfigError
            A pattern matches no pair, or the feed does not have a channel.
        FeedError
            The feed is not started, or is closed. If the feed failed, its error is raised.

        Examples
        --------
        >>> await feed.add_symbols(["SOL/USD"])  # doctest: +SKIP
        ['SOL/USD']

        """
        return self._change("add_symbols", symbols, channels, selects=True)

    async def remove_symbols(self, symbols: Sequence[str], channels: Sequence[str] | None = None) -> list[str]:
        """Select fewer symbols while the feed runs.

        Their books are out of sync at once, and they are unsubscribed. That is no gap: there is no ``GapEvent``, also
        when they are added again.

        Parameters
        ----------
        symbols
            Patterns of pairs, as in ``Feed``.
        channels
            For which channels of the feed; None: for all.

        Returns
        -------
        list[str]
            The symbols that were removed.

        Raises
        ------
        ConfigError
            A pattern matches no pair, or the feed does not have a channel.
        FeedError
            The feed is not started, or is closed. If the feed failed, its error is raised.

        Examples
        --------
        >>> await feed.remove_symbols(["SOL/*"], channels=["level3"])  # doctest: +SKIP
        ['SOL/EUR', 'SOL/USD']

        """
        removed = self._change("remove_symbols", symbols, channels, selects=False)
        for symbol in removed:
            for channel, handles in (("book", self._books), (LEVEL3, self._orders)):
                if not self._source.selection.selects(channel, symbol):
                    handles.pop(symbol, None)
        return removed

    def _change(
        self, method: str, symbols: Sequence[str], channels: Sequence[str] | None, *, selects: bool
    ) -> list[str]:
        self._running()
        place = f"{PLACE}.{method}"
        known = self._source.selection.channels
        chosen = known
        if channels is not None:
            chosen = values.read(values.words_of(known), channels, f"{place}: channels")
        patterns = values.read(values.patterns, symbols, f"{place}: symbols")
        return self._source.change(patterns, chosen, place, selects=selects)

    @property
    def selected_symbols(self) -> list[str]:
        """Symbols of listed pairs that the patterns select now; newly listed ones join by themselves."""
        self._started()
        return self._source.selected

    @property
    def connected(self) -> bool:
        """Whether all its connections are up now."""
        self._started()
        clients = self._source.clients
        return not self._stream.stopped.is_set() and all(client.connection is not None for client in clients)

    @property
    def idle_seconds(self) -> float:
        """Seconds since the exchange last sent anything on the public connection; infinite without a connection.

        Kraken sends something every second. After 15 s of silence the connection is given up.
        """
        self._started()
        connection = self._source.public and self._source.public.connection
        return (
            connection.silence(time.monotonic()) if connection and not self._stream.stopped.is_set() else float("inf")
        )

    @property
    def system(self) -> str | None:
        """State of the exchange: ``online``, ``maintenance``, ``cancel_only``, ``post_only``; None before it said."""
        self._started()
        return self._source.public.session.system if self._source.public else None

    def subscriptions(self) -> list[Subscription]:
        """Every subscription: its channel, symbol, state, and the reason where the state is not ``active``.

        A feed that is closed has none.

        Examples
        --------
        >>> [s.symbol for s in feed.subscriptions() if s.state == "rejected"]  # doctest: +SKIP

        """
        self._started()
        return self._source.subscriptions()

    @property
    def counts(self) -> FeedCounts:
        """Counters over all connections so far; ``krakpot.FeedCounts`` describes each."""
        self._started()
        return self._source.counts()

    @property
    def waiting(self) -> int:
        """Events, or rows with ``batches``, that wait for the strategy."""
        return self._stream.waiting

    @property
    def skipped(self) -> Counter[str]:
        """Events by channel (rows by table with ``batches``) that ``slow_reader="newest"`` dropped so far."""
        return self._stream.skipped

    @property
    def error(self) -> Exception | None:
        """The error of a feed that failed; else None."""
        return self._stream.error

    @property
    def recording(self) -> Mapping[str, Any]:
        """Summary of the recorder beside the feed, as of ``krakpot record --json``; empty until it has ended."""
        return {} if self._sidecar is None else self._sidecar.summary

    def __repr__(self) -> str:
        """Its channels and symbols."""
        channels = ", ".join(f"{name}: {' '.join(patterns)}" for name, patterns in self._options.channels.items())
        return f"Feed({channels})"


def _log(line: str) -> None:
    """Lines of the connections go to the logger."""
    LOGGER.log(LEVELS[line.level if isinstance(line, LogLine) else "info"], "%s", line)


def _log_recorder(line: Mapping[str, Any]) -> None:
    """Lines of the recorder beside go there, too."""
    LOGGER.log(LEVELS[line["level"]], "recorder: %s", line["message"])

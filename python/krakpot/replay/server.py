"""A recording, served as Kraken's WebSocket v2: clients of Kraken run on the market of another day.

One replay is played for all clients. Messages go out as they were recorded; of a book with fewer levels than recorded
goes out what changed in its best levels. While a book is out of sync nothing is sent of it, and then a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus
from os import PathLike
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.lake.format import stamp
from krakpot.lake.recorded import recorded_depths
from krakpot.lake.sample import By
from krakpot.log import LogLine, LogRateLimit
from krakpot.net.http import cannot_listen, foreign
from krakpot.replay import request, wire
from krakpot.replay.recorded import Instruments, first_time, intervals
from krakpot.replay.replay import Replay
from krakpot.stream.book import LiveBook
from krakpot.stream.events import (
    BookEvent,
    ConnectionEvent,
    Event,
    GapEvent,
    Level3Event,
    OhlcEvent,
    StatusEvent,
    SubscriptionEvent,
    TickerEvent,
    TradeEvent,
)
from krakpot.stream.orders import LiveOrders
from krakpot.values import LEVEL3, LOOPBACK, Time, time_of

PLACE = "krakpot.replay.server.ReplayServer"
PATH, LEVEL3_PATH = "/v2", "/level3/v2"
"""Kraken has a host for each, with the path ``/v2``."""
REQUEST_MAX = 1 << 20
"""Bytes of a request; one with all pairs has 20 kB."""
SLOW = 64 << 20
"""Bytes that may wait for a client; with more it is disconnected: it reads more slowly than the recording is played."""
HIGH = 1 << 20
"""Bytes that may wait for a client where the speed is that of the clients."""
TICK = 0.1
"""Seconds between two looks at what is due."""
HEARTBEAT = 1.0
"""Seconds between two heartbeats."""
SETTLE = 1.0
"""Seconds without a request after which the replay begins: a client subscribes its channels one by one."""
TRADES = 50
"""Trades that a client gets that wants a snapshot of them, as of Kraken."""
CLOSE_TIMEOUT = 3.0
"""Seconds."""
STALLED = 60.0
"""Seconds in which no client takes anything, at the end of the recording, until they are disconnected."""
OVER = "the recording is over"
GOOD = ("ok", "unchecked")
"""Outcomes of messages that a book took."""
BOOKS = ("book", LEVEL3)

LOGGER = logging.getLogger(__name__)
# What websockets logs are faults of clients, with tracebacks.
LOGGER.setLevel(logging.CRITICAL)

Key = tuple[str, str]
"""Channel and symbol."""
Window = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""The best bids and asks."""


class _Client:
    """One client."""

    def __init__(self, connection: ServerConnection, number: int, *, level3: bool) -> None:
        self.connection = connection
        self.number = number
        self.level3 = level3
        self.instrument = False
        self.topics: dict[Key, request.Topic] = {}
        self.begun: set[Key] = set()
        """What it has a snapshot of, so that updates may follow."""

    @property
    def waiting(self) -> int:
        """Bytes that it has not taken."""
        return self.connection.transport.get_write_buffer_size()


class _Held:
    """Depth and decimals of a book while it is in sync, and the windows of it that clients have."""

    def __init__(self, depth: int, precision: wire.Precision) -> None:
        self.depth = depth
        self.precision = precision
        self.windows: dict[int, Window] = {}


class ReplayServer:
    """Serves a recording while its ``async with`` block runs.

    The replay begins one second after the last request of the clients, if one of them has subscribed a channel.

    Parameters
    ----------
    lake, symbols, start, end, channels, by, speed
        As of ``krakpot.Replay``; ``speed`` None: as fast as the clients read.
    host, port
        Where it listens; port 0 chooses a free one.
    log
        Is called with lines about clients and gaps.

    Attributes
    ----------
    address, level3_address : str
        Where clients connect, for the public channels and for level 3.
    replay : Replay
        What is played.
    finished : asyncio.Event
        Set at the end of the recording.

    Raises
    ------
    ConfigError
        An option is wrong, or it cannot listen there.
    StorageError
        The folder is not a lake, or a part cannot be read.

    Examples
    --------
    >>> async def main():
    ...     async with ReplayServer("data", ["BTC/USD"], "2026-11-22T10:00") as server:
    ...         print(server.address)
    ...         await server.finished.wait()

    """

    def __init__(
        self,
        lake: Folder | str | PathLike[str],
        symbols: str | Sequence[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        channels: Sequence[str] | None = None,
        by: By = "recv",
        speed: float | None = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Check the options, and read what the lake says of its pairs."""
        self.replay = Replay(lake, symbols, start, end, channels=channels, by=by, speed=speed)
        folder = lake if isinstance(lake, Folder) else Folder(lake)  # type: ignore[arg-type]  # Replay checked it
        self.address = self.level3_address = ""
        self.finished = asyncio.Event()
        self.error: Exception | None = None
        """The error that ended it."""
        self.served = 0
        """Clients that came."""
        self._host, self._port = host, port
        self._here = host in LOOPBACK
        self._log = log
        self._limit = LogRateLimit()
        self._channels = self.replay.channels
        self._symbols = set(self.replay.selected_symbols)
        self._instruments = Instruments(folder, self._symbols)
        # What can be served at any time.
        self._depths = {key: least for key, (least, _) in recorded_depths(folder).items()}
        self._intervals = intervals(folder) if "ohlc" in self._channels else set()
        self._begin = first_time(folder) if start is None else time_of(start, "start")
        self._clients: set[_Client] = set()
        self._followers: dict[Key, dict[_Client, request.Topic]] = defaultdict(dict)
        self._held: dict[Key, _Held] = {}
        self._stamps: dict[Key, int | None] = {}
        """Time of the exchange of the last message of a book."""
        self._moved: dict[str, BookEvent] = {}
        """Books that changed since the last look, with their last message."""
        self._pending: set[Key] = set()
        """Books that clients wait for."""
        self._touched: set[Key] = set()
        """Those of them that may be there now."""
        self._batch: list[TradeEvent | OhlcEvent] = []
        """Trades or candles of one message."""
        self._trades: dict[str, deque[TradeEvent]] = defaultdict(lambda: deque(maxlen=TRADES))
        self._latest: dict[Key, TickerEvent | OhlcEvent] = {}
        self._running = False
        self._requested: float | None = None
        """When the last request came after which the replay may begin."""
        self._server: Server
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen; the replay waits for a client."""
        try:
            self._server = await serve(
                self._serve,
                self._host,
                self._port,
                process_request=self._handshake,
                compression=None,
                max_size=REQUEST_MAX,
                # Pings wait behind what a slow client has not read: its answer would come too late.
                ping_interval=None,
                close_timeout=CLOSE_TIMEOUT,
                logger=LOGGER,
            )
        except (OSError, UnicodeError) as error:
            raise ConfigError(cannot_listen(PLACE, self._host, "port", self._port, error)) from None
        port = next(iter(self._server.sockets)).getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address, self.level3_address = (f"ws://{host}:{port}{path}" for path in (PATH, LEVEL3_PATH))
        await self.replay.start()
        self.replay.pause()
        self._tasks = [asyncio.create_task(self._watched(work)) for work in (self._play, self._tick)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; clients that are there still are told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close(CloseCode.GOING_AWAY, "the server closes")
        await self.replay.close()
        for line in self._limit.rest():
            self._log(line)
        if self.error is not None and error is None:
            raise self.error

    async def _close(self, code: CloseCode, reason: str) -> None:
        """Take no more clients, and disconnect those that are there."""
        self._server.close(close_connections=False)
        await asyncio.gather(*(client.connection.close(code, reason) for client in self._clients))

    async def _taken(self) -> None:
        """Wait until the clients have taken all, as long as one of them takes something."""
        least: dict[_Client, int] = {}
        since = time.monotonic()
        while waiting := {client: client.waiting for client in self._clients if client.waiting}:
            now = time.monotonic()
            if any(size < least.get(client, SLOW + 1) for client, size in waiting.items()):
                since = now
            elif now - since > STALLED:
                return
            least = {client: min(size, least.get(client, size)) for client, size in waiting.items()}
            await asyncio.sleep(TICK)

    async def _watched(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let ``work`` run; its end, or its error, is that of the server."""
        try:
            await work()
            await self._taken()
            await self._close(CloseCode.NORMAL_CLOSURE, OVER)
        except Exception as error:  # noqa: BLE001  # `__aexit__` raises it
            self._fail(error)
        self.finished.set()

    def _fail(self, error: Exception) -> None:
        """End because of an error, which ``__aexit__`` raises."""
        self.error = self.error or error
        self.finished.set()

    def _say(self, sentence: str, event: str, level: str = "info", **facts: object) -> None:
        for line in self._limit.take(LogLine(sentence, event, level, **facts), time.monotonic()):
            self._log(line)

    # Clients.

    def _handshake(self, connection: ServerConnection, handshake: Handshake) -> Response | None:
        headers = {name.lower(): value for name, value in handshake.headers.raw_items()}
        if foreign(headers, here=self._here):
            sentence = "Pages in a browser are not served: send no Origin, and name this machine in Host\n"
            return connection.respond(HTTPStatus.FORBIDDEN, sentence)
        if handshake.path.partition("?")[0] not in {PATH, LEVEL3_PATH}:
            return connection.respond(HTTPStatus.NOT_FOUND, f"The recording is at {PATH}, level 3 at {LEVEL3_PATH}\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None, "its handshake is done"
        self.served += 1
        level3 = connection.request.path.partition("?")[0] == LEVEL3_PATH
        client = _Client(connection, self.served, level3=level3)
        self._clients.add(client)
        self._say(f"client {client.number} connected", "client", client=client.number)
        self._send([client], wire.status(self.replay.system or "online", client.number))
        try:
            with suppress(ConnectionClosed):
                async for text in connection:
                    self._request(client, text)
        except Exception as error:  # noqa: BLE001  # `__aexit__` raises it
            self._fail(error)
        finally:
            self._clients.discard(client)
            for key in client.topics:
                self._leave(client, key)
            self._say(f"client {client.number} is gone", "client", client=client.number)

    def _leave(self, client: _Client, key: Key) -> None:
        """Send it nothing more of a subscription."""
        followers = self._followers[key]
        followers.pop(client, None)
        client.begun.discard(key)
        if not followers:
            del self._followers[key]
            self._pending.discard(key)
            self._held.pop(key, None)

    @staticmethod
    def _send(clients: Iterable[_Client], text: str) -> None:
        broadcast([client.connection for client in clients], text)

    # Requests.

    @property
    def _now(self) -> int:
        """The time that is played, or will be first."""
        return self.replay.now or self._begin

    def _request(self, client: _Client, text: str | bytes) -> None:
        method, req_id, message = request.read(text)

        def answer(**fields: object) -> None:
            self._send([client], wire.answer(fields, req_id, self._now))

        try:
            asked = request.understood(method, message, level3=client.level3)
        except request.RefusedError as error:
            return answer(error=str(error), method=method, success=False)
        if asked.method == "ping":
            return answer(method="pong")
        if self._requested is not None or asked.topic.channel != "instrument":
            self._requested = time.monotonic()
        if asked.topic.channel == "instrument":
            return self._instrument(client, asked, answer)
        for symbol in asked.symbols:
            try:
                done = self._subscribe if asked.method == "subscribe" else self._unsubscribe
                topic = done(client, asked.topic, symbol)
            except request.RefusedError as error:
                answer(error=str(error), method=method, success=False, symbol=symbol)
                continue
            subscribe = asked.method == "subscribe"
            answer(
                method=method,
                result=topic.result(symbol, subscribe=subscribe, snapshot=asked.snapshot),
                success=True,
            )
            if subscribe:
                self._begin_topic(client, (topic.channel, symbol), snapshot=asked.snapshot)
        return None

    def _instrument(self, client: _Client, asked: request.Request, answer: Callable[..., None]) -> None:
        subscribe = asked.method == "subscribe"
        if client.instrument == subscribe:
            refusal = request.ALREADY if subscribe else request.NOT_SUBSCRIBED
            return answer(error=refusal, method=asked.method, success=False)
        client.instrument = subscribe
        result: dict[str, object] = {"channel": "instrument"}
        if subscribe:
            result |= {"snapshot": asked.snapshot, "warnings": request.WARNINGS["instrument"]}
        answer(method=asked.method, result=result, success=True)
        if subscribe and asked.snapshot:
            self._send([client], wire.instrument("snapshot", *self._instruments.snapshot(self._now)))
        return None

    def _check_symbol(self, symbol: str) -> None:
        if symbol not in self._symbols:
            raise request.RefusedError(f"Currency pair not supported {symbol}")

    def _subscribe(self, client: _Client, topic: request.Topic, symbol: str) -> request.Topic:
        """``RefusedError`` if the recording does not have it."""
        self._check_symbol(symbol)
        key = topic.channel, symbol
        if key in client.topics:
            raise request.RefusedError(request.ALREADY)
        if topic.channel not in self._channels:
            raise request.RefusedError("Subscription name invalid")
        depth = self._depths.get(key, 0)
        if (topic.channel == "book" and topic.size > depth) or (topic.channel == LEVEL3 and topic.size != depth):
            raise request.RefusedError(request.NO_DEPTH)
        if topic.channel == "ohlc" and topic.size not in self._intervals:
            raise request.RefusedError(request.NO_INTERVAL)
        client.topics[key] = topic
        self._followers[key][client] = topic
        return topic

    def _unsubscribe(self, client: _Client, topic: request.Topic, symbol: str) -> request.Topic:
        """``RefusedError`` if it is not subscribed."""
        self._check_symbol(symbol)
        key = topic.channel, symbol
        found = client.topics.pop(key, None)
        if found is None:
            raise request.RefusedError(request.NOT_SUBSCRIBED)
        self._leave(client, key)
        return found

    def _begin_topic(self, client: _Client, key: Key, *, snapshot: bool) -> None:
        """Send what a new subscription begins with."""
        channel, symbol = key
        if channel in BOOKS:
            # Also who wants no snapshot gets one: without it the updates are of no use.
            self._wait_for(key)
            if not self.replay.waiting:
                self._send_snapshots([key])
        elif channel == "trade":
            if snapshot and self._trades[symbol]:
                self._send([client], wire.trades(list(self._trades[symbol]), "snapshot"))
        elif snapshot and (event := self._latest.get(key)) is not None:
            client.begun.add(key)
            self._send([client], _text("snapshot", event))

    # What is due by the clock.

    async def _tick(self) -> None:
        beat = time.monotonic()
        told = self._now
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if not self._running and self._requested is not None and now - self._requested >= SETTLE:
                self._running = bool(self._followers)
                if self._running:
                    self.replay.resume()
            self._disconnect_slow()
            if not self.replay.waiting:
                self._send_snapshots(list(self._pending))
            if now - beat < HEARTBEAT:
                continue
            beat = max(beat + HEARTBEAT, now - HEARTBEAT)
            self._send(self._clients, wire.HEARTBEAT)
            assets, pairs = self._instruments.changes(told, self._now)
            told = self._now
            if assets or pairs:
                self._send((one for one in self._clients if one.instrument), wire.instrument("update", assets, pairs))

    def _disconnect_slow(self) -> None:
        for client in [client for client in self._clients if client.waiting > SLOW]:
            sentence = f"disconnected client {client.number} with {SLOW >> 20} MiB waiting: it reads too slowly"
            self._say(sentence, "slow_client", "warning", client=client.number)
            client.connection.transport.abort()

    # What is played.

    async def _play(self) -> None:
        async for event in self.replay:
            self._take(event)
            if not self.replay.waiting:
                self._settle()
            if self.replay.speed is None:
                while any(client.waiting > HIGH for client in self._clients):  # noqa: ASYNC110  # as they read
                    await asyncio.sleep(TICK / 10)
        self._settle()

    def _take(self, event: Event) -> None:
        if self._batch and not _together(self._batch[0], event):
            self._send_batch()
        if isinstance(event, TradeEvent):
            self._batch.append(event)
            self._trades[event.symbol].append(event)
        elif isinstance(event, OhlcEvent):
            self._batch.append(event)
            self._latest["ohlc", event.symbol] = event
        elif isinstance(event, TickerEvent):
            self._latest["ticker", event.symbol] = event
            self._send_kinds(("ticker", event.symbol), event)
        elif isinstance(event, (BookEvent, Level3Event)):
            self._take_book(event)
        else:
            self._take_state(event)

    def _take_state(self, event: Event) -> None:
        """Take what is no message of a market."""
        if isinstance(event, StatusEvent):
            for client in self._clients:
                self._send([client], wire.status(event.system, client.number))
        elif isinstance(event, ConnectionEvent):
            if not event.up:
                self._say(f"the recording lost its connection: {event.reason}", "connection", "warning")
            self._check_books(list(self._followers))
        elif isinstance(event, GapEvent):
            sentence = f"gap of {event.of} {event.symbol} until {stamp(event.ts_to):%H:%M:%S.%f}: {event.reason}"
            self._say(sentence, "gap", "warning", channel=event.of, symbol=event.symbol)
            self._check_books([(event.of, event.symbol)])
        elif isinstance(event, SubscriptionEvent):
            self._check_books([(event.of, event.symbol)])

    def _take_book(self, event: BookEvent | Level3Event) -> None:
        key = event.channel, event.symbol
        self._stamps[key] = event.ts_event
        followers = self._followers.get(key)
        if not followers:
            return
        if event.outcome not in GOOD or event.checksum is None:
            self._wait_for(key, lost=True)
            return
        if event.kind == "snapshot":
            self._wait_for(key, lost=True)
            self._held.pop(key, None)
        held = self._hold(key)
        if held is None:
            self._wait_for(key, lost=True)
            return
        begins = event.kind == "snapshot"
        same = [one for one, topic in followers.items() if topic.size == held.depth and (begins or key in one.begun)]
        if same:
            self._send(same, wire.book(event) if isinstance(event, BookEvent) else wire.level3_of(event))
            for client in same:
                client.begun.add(key)
        if isinstance(event, BookEvent) and len(same) < len(followers):
            self._moved[event.symbol] = event
        if key in self._pending:
            self._touched.add(key)

    def _settle(self) -> None:
        """Send what can be sent between two reads of the recording, when the books are those of the last event."""
        if self._batch:
            self._send_batch()
        if self._moved:
            moved, self._moved = self._moved, {}
            for symbol, event in moved.items():
                self._send_changes(symbol, event)
        if self._touched:
            touched, self._touched = self._touched, set()
            self._send_snapshots(touched & self._pending)

    def _send_changes(self, symbol: str, event: BookEvent) -> None:
        """Send what changed in the windows of a book that clients have."""
        key = "book", symbol
        held, book = self._held.get(key), self.replay.book(symbol)
        if held is None or not held.windows:
            return
        if not book.in_sync or event.checksum is None:
            self._wait_for(key, lost=True)
            return
        for depth, before in list(held.windows.items()):
            clients = [one for one, topic in self._followers[key].items() if topic.size == depth and key in one.begun]
            if not clients:
                del held.windows[depth]
                continue
            after = book.bids(depth, numbers="int"), book.asks(depth, numbers="int")
            held.windows[depth] = after
            text = wire.book_update(symbol, before, after, depth, held.precision, event.checksum, event.ts_event)
            if text is not None:
                self._send(clients, text)

    def _send_batch(self) -> None:
        batch, self._batch = self._batch, []
        key = batch[0].channel, batch[0].symbol
        trades = [event for event in batch if isinstance(event, TradeEvent)]
        if not trades:
            self._send_kinds(key, *batch)  # type: ignore[arg-type]  # candles
        elif followers := self._followers.get(key):
            self._send(followers, wire.trades(trades, trades[0].kind))

    def _send_kinds(self, key: Key, *events: TickerEvent | OhlcEvent) -> None:
        """Send a message: to who had none before it is a snapshot."""
        followers = self._followers.get(key, {})
        for kind in ("snapshot", "update"):
            clients = [one for one in followers if (key in one.begun) is (kind == "update")]
            if clients:
                self._send(clients, _text(kind, *events))
        for client in followers:
            client.begun.add(key)

    # Books: who waits for one.

    def _wait_for(self, key: Key, *, lost: bool = False) -> None:
        """Clients wait for a book; ``lost``: those that had it, too."""
        if lost:
            for client in self._followers.get(key, ()):
                client.begun.discard(key)
            self._held.pop(key, None)
        if self._followers.get(key):
            self._pending.add(key)
            self._touched.add(key)

    def _check_books(self, keys: Collection[Key]) -> None:
        """Something happened: books that are out of sync now are lost."""
        for key in keys:
            if key[0] in BOOKS and key in self._followers and not self._book(key).in_sync:
                self._wait_for(key, lost=True)

    def _book(self, key: Key) -> LiveBook | LiveOrders:
        channel, symbol = key
        return self.replay.book(symbol) if channel == "book" else self.replay.orders(symbol)

    def _hold(self, key: Key) -> _Held | None:
        """Depth and decimals of a book; None if it is out of sync."""
        held = self._held.get(key)
        if held is None and self._book(key).in_sync:
            if key[0] == "book":
                copy = self.replay.book(key[1]).copy()
                held = _Held(copy.depth, (copy.price_precision, copy.qty_precision))
            else:
                held = _Held(self._depths[key], (0, 0))
            self._held[key] = held
        return held

    def _send_snapshots(self, keys: Collection[Key]) -> None:
        """Send snapshots to those that wait for one, of books that are in sync."""
        for key in keys:
            if not self._book(key).in_sync or (held := self._hold(key)) is None:
                continue
            self._pending.discard(key)
            waiting: dict[int, list[_Client]] = defaultdict(list)
            for client, topic in self._followers.get(key, {}).items():
                if key not in client.begun:
                    client.begun.add(key)
                    waiting[topic.size].append(client)
            for depth, clients in waiting.items():
                self._send(clients, self._snapshot(key, depth, held))

    def _snapshot(self, key: Key, depth: int, held: _Held) -> str:
        symbol, ts = key[1], self._stamps.get(key)
        if key[0] == LEVEL3:
            orders = self.replay.orders(symbol)
            found: list[wire.Order] = [
                (side, None, order_id, wire.number(price), wire.number(qty), timestamp)
                for side in ("bid", "ask")
                for price, _, _ in orders.levels(side)
                for order_id, qty, timestamp in orders.queue(side, price)
            ]
            return wire.level3("snapshot", symbol, found, orders.copy().update([])["checksum"], ts)
        book = self.replay.book(symbol)
        window = book.bids(depth, numbers="int"), book.asks(depth, numbers="int")
        if depth != held.depth:
            held.windows[depth] = window
        return wire.book_snapshot(symbol, *window, held.precision, book.checksum, ts)


def _together(one: TradeEvent | OhlcEvent, event: Event) -> bool:
    """Whether an event is of the same message."""
    same = type(event) is type(one) and event.symbol == one.symbol and event.message == one.message
    return same and getattr(event, "kind", "") == getattr(one, "kind", "")


def _text(kind: str, *events: TickerEvent | OhlcEvent) -> str:
    """A message of a ticker, or of candles."""
    first = events[0]
    if isinstance(first, TickerEvent):
        return wire.ticker(first, kind)
    return wire.ohlc([event for event in events if isinstance(event, OhlcEvent)], kind)

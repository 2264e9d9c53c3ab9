"""A scripted exchange on loopback: enough of Kraken's v2 protocol for a recorder, and every kind of trouble on demand.

It uses websockets' asyncio server and the books of ``frames``, nothing of krakpot. The markets have fewer levels than
the smallest depth, so that one book serves all depths. ``sent`` of each client is the exchange's account.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

import frames
from frames import Book, Entry, Number

Action = Callable[[ServerConnection], Awaitable[None]]

PATIENCE = 60.0
"""Seconds after which a test gives up waiting; a busy machine is slow, not wrong."""
TRADES_KEPT = 50
"""Trades in a snapshot."""
HEARTBEAT_EVERY = 1.0


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until ``condition`` is true; ``AssertionError`` if it does not become true in time."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, f"it did not come: {what or condition}"
        await asyncio.sleep(0.01)


class Market:
    """One pair: its book, its trades, its place in the instrument channel."""

    def __init__(
        self, symbol: str, *, price_precision: int = 1, qty_precision: int = 8, status: str = "online"
    ) -> None:
        """Five levels a side and ten trades."""
        self.symbol = symbol
        self.status = status
        self.rng = random.Random(symbol)
        self.book = Book(symbol, price_precision=price_precision, qty_precision=qty_precision)
        self.trades: list[dict[str, Any]] = []
        self.last_trade = 1000
        for side, price, step in (("bid", 1000, -1), ("ask", 1001, 1)):
            self.book.apply([(side, self.price(price + i * step), self.qty()) for i in range(5)])
        for _ in range(10):
            self.trade()

    def price(self, price: int) -> str:
        """Digits of a price, padded."""
        return frames.padded(Decimal(price), self.book.price_precision)

    def qty(self) -> str:
        """Digits of some quantity."""
        precision = self.book.qty_precision
        return frames.padded(Decimal(self.rng.randint(1, 10**6)).scaleb(-min(precision, 4)), precision)

    def pair(self) -> dict[str, Any]:
        """Its entry in the instrument channel."""
        book = self.book
        return frames.pair(
            self.symbol, price_precision=book.price_precision, qty_precision=book.qty_precision, status=self.status
        )

    def entries(self) -> list[Entry]:
        """Changes of one to three levels; each side keeps three to eight levels."""
        changes: dict[tuple[str, Decimal], str] = {}
        for _ in range(self.rng.randint(1, 3)):
            side = self.rng.choice(["bid", "ask"])
            held = [price for price in self.book.sides[side] if (side, price) not in changes]
            zero = frames.padded(Decimal(0), self.book.qty_precision)
            if len(held) > 5:
                changes[side, self.rng.choice(held)] = self.rng.choice([zero, self.qty()])
            else:
                step = self.rng.randrange(8)
                changes[side, Decimal(1000 - step if side == "bid" else 1001 + step)] = self.qty()
        return [(side, frames.padded(price, self.book.price_precision), qty) for (side, price), qty in changes.items()]

    def trade(self) -> dict[str, Any]:
        """One more trade."""
        self.last_trade += 1
        item = {
            "symbol": self.symbol, "side": self.rng.choice(["buy", "sell"]), "price": Number(self.price(1000)),
            "qty": Number(self.qty()), "ord_type": "limit", "trade_id": self.last_trade,
            "timestamp": frames.rfc3339(time.time_ns()),
        }  # fmt: skip
        self.trades = [*self.trades, item][-TRADES_KEPT:]
        return item

    def ticker(self, kind: str) -> bytes:
        """Best prices and statistics."""
        (bid, bid_qty), (ask, ask_qty) = self.book.levels("bid")[0], self.book.levels("ask")[0]
        numbers = {"bid": bid, "bid_qty": bid_qty, "ask": ask, "ask_qty": ask_qty}
        best = {name: Number(text) for name, text in numbers.items()}
        return frames.ticker(self.symbol, kind=kind, ts=time.time_ns(), **best)


@dataclass
class Client:
    """One connection, as the exchange sees it."""

    number: int
    socket: ServerConnection
    requests: list[dict[str, Any]] = field(default_factory=list)
    subscribed: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    """Frames, in order."""
    actions: asyncio.Queue[Action] = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    close_code: int | None = None
    """Code of the close frame that it sent, or 1006 without one."""
    muted: bool = False
    """Send it nothing, answer nothing, and keep the connection."""

    def do(self, action: Action) -> None:
        """Do something with its socket, after everything that was queued before."""
        self.actions.put_nowait(action)

    def send(self, frame: bytes) -> None:
        """Send a text frame; it need not be UTF-8."""
        self.sent.append(frame)
        self.do(lambda socket: socket.send(frame, text=True))

    def send_pieces(self, pieces: Sequence[bytes]) -> None:
        """Send a text message as a first frame and continuation frames."""
        self.sent.append(b"".join(pieces))
        self.do(lambda socket: socket.send(pieces, text=True))

    def asked(self, method: str, channel: str) -> list[dict[str, Any]]:
        """Parameters of its requests of a kind, with ``req_id``."""
        found = [r for r in self.requests if r["method"] == method and r.get("params", {}).get("channel") == channel]
        return [request["params"] | {"req_id": request["req_id"]} for request in found]


class Exchange:
    """Serves while its ``async with`` block runs; its trouble can be set at any time."""

    def __init__(self, *symbols: str, beat: float = 0.01, tls: ssl.SSLContext | None = None) -> None:
        """Serve markets of ``symbols``, each moving every ``beat`` seconds."""
        self.markets = {symbol: Market(symbol) for symbol in symbols or ("BTC/USD", "ETH/USD", "ADA/EUR")}
        self.beat = beat
        self.tls = tls
        self.clients: list[Client] = []
        """All clients that ever connected."""
        self.system = "online"
        self.attempts: list[Request] = []
        """Number of handshakes requested."""
        self.handshakes: list[int] = []
        """HTTP codes with which to refuse the next handshakes."""
        self.retry_after = ""
        """``Retry-After`` of these answers."""
        self.hang = False
        """Answer no handshake."""
        self.silent = False
        """Send nothing, answer nothing, and keep the connections."""
        self.instrument = True
        """Whether the instrument channel is served."""
        self.refusals: dict[str, str] = {}
        """Error text for a symbol's subscriptions."""
        self.wrong: set[str] = set()
        """Symbols whose next book update has a wrong checksum; then they are right again."""
        self.ack_delay = 0.0
        """Seconds before an ack."""
        self.quiet: set[str] = set()
        """Symbols that do not move."""
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        scheme = "ws" if self.tls is None else "wss"
        self._server = await serve(
            self._client, "127.0.0.1", 0, process_request=self._handshake, ssl=self.tls, max_size=None,
            ping_interval=None, close_timeout=1,
        )  # fmt: skip
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}/v2"
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an error of the exchange fails the test."""
        self._over.set()
        self._clock.cancel()
        (failure,) = await asyncio.gather(self._clock, return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()
        if error is None and not isinstance(failure, asyncio.CancelledError):
            raise AssertionError from failure

    @property
    def client(self) -> Client:
        """The latest connection."""
        return self.clients[-1]

    async def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.attempts.append(request)
        if self.hang:
            await self._over.wait()
        if self.handshakes:
            code = HTTPStatus(self.handshakes.pop(0))
            response = connection.respond(code, f"{code.phrase}\n")
            if self.retry_after:
                response.headers["Retry-After"] = self.retry_after
            return response
        return None

    async def _client(self, socket: ServerConnection) -> None:
        client = Client(len(self.clients), socket)
        self.clients.append(client)
        client.send(frames.status(self.system))
        writer = asyncio.create_task(self._write(client))
        try:
            async for text in socket:
                request = json.loads(text)
                client.requests.append(request)
                if not self.silent and not client.muted:
                    self._answer(client, request)
        except ConnectionClosed:
            pass  # the code tells
        finally:
            writer.cancel()
            received = socket.protocol.close_rcvd
            client.close_code = 1006 if received is None else int(received.code)
            client.subscribed.clear()
            client.gone.set()

    async def _write(self, client: Client) -> None:
        while True:
            action = await client.actions.get()
            try:
                await action(client.socket)
            except ConnectionClosed:
                return

    def _answer(self, client: Client, request: dict[str, Any]) -> None:
        method, number = request["method"], request.get("req_id")
        if method == "ping":
            client.send(frames.frame({"method": "pong", "req_id": number}))
            return
        assert method in {"subscribe", "unsubscribe"}, f"the recorder asked for {method}"
        params = request["params"]
        if params["channel"] == "instrument":
            if not self.instrument:
                return
            client.subscribed["instrument", ""] = params
            result = {"channel": "instrument", "snapshot": True}
            client.send(frames.frame({"method": method, "req_id": number, "result": result, "success": True}))
            pairs = [market.pair() for market in self.markets.values()]
            client.send(frames.instrument(*pairs, assets=[frames.asset("USD")]))
            return
        if params["channel"] == "book" and params["depth"] not in frames.DEPTHS:
            client.send(frames.refusal("Subscription depth not supported", method=method, req_id=number))
            return
        for symbol in params["symbol"]:
            if self.ack_delay:
                asyncio.get_running_loop().call_later(self.ack_delay, self._grant, client, request, symbol)
            else:
                self._grant(client, request, symbol)

    def _grant(self, client: Client, request: dict[str, Any], symbol: str) -> None:
        method, params, number = request["method"], request["params"], request.get("req_id")
        channel = params["channel"]
        key = (channel, symbol)
        error = None
        if symbol not in self.markets:
            error = f"Currency pair not supported {symbol}"
        elif method == "unsubscribe":
            error = None if key in client.subscribed else "Subscription Not Found"
        elif symbol in self.refusals:
            error = self.refusals[symbol]
        elif key in client.subscribed:
            error = "Already subscribed"
        if error is not None:
            client.send(frames.refusal(error, symbol=symbol, method=method, req_id=number))
            return
        client.send(frames.ack(channel, symbol, method=method, req_id=number, depth=params.get("depth")))
        if method == "unsubscribe":
            del client.subscribed[key]
            return
        client.subscribed[key] = params
        market = self.markets[symbol]
        if params.get("snapshot"):
            client.send(
                {
                    "book": lambda: market.book.snapshot(ts=time.time_ns()),
                    "ticker": lambda: market.ticker("snapshot"),
                    "trade": lambda: frames.frame({"channel": "trade", "type": "snapshot", "data": market.trades}),
                    "ohlc": lambda: frames.ohlc(symbol, kind="snapshot", ts=time.time_ns()),
                }[channel]()
            )

    async def _run(self) -> None:
        beaten = time.monotonic()
        while True:
            await asyncio.sleep(self.beat)
            for market in self.markets.values():
                if market.symbol not in self.quiet and market.status != "delisted":
                    self.move(market)
            if time.monotonic() - beaten >= HEARTBEAT_EVERY:
                beaten = time.monotonic()
                self.tell(frames.HEARTBEAT)

    def move(self, market: Market) -> None:
        """One book update, and perhaps a trade and a ticker, to all that subscribed."""
        book = market.book.update(market.entries(), ts=time.time_ns())
        if market.symbol in self.wrong and any(("book", market.symbol) in client.subscribed for client in self.clients):
            self.wrong.discard(market.symbol)
            book = book.replace(b'"checksum":%d' % market.book.checksum, b'"checksum":%d' % (market.book.checksum ^ 1))
        self.tell(book, ("book", market.symbol))
        if market.rng.random() < 0.3:
            trade = market.trade()
            self.tell(frames.frame({"channel": "trade", "type": "update", "data": [trade]}), ("trade", market.symbol))
            self.tell(market.ticker("update"), ("ticker", market.symbol))

    def tell(self, frame: bytes, subscription: tuple[str, str] | None = None) -> None:
        """Send to all that have a subscription; without one to all that have any."""
        for client in self.clients:
            wanted = subscription in client.subscribed if subscription else client.subscribed
            if wanted and not self.silent and not client.muted:
                client.send(frame)

    def set_status(self, system: str) -> None:
        """Change the state of the exchange, and announce it."""
        self.system = system
        self.tell(frames.status(system))

    def list_pair(self, market: Market) -> None:
        """Announce a pair that is new or changed."""
        self.markets[market.symbol] = market
        self.tell(frames.instrument(market.pair(), kind="update"), ("instrument", ""))

    def cut(self) -> None:
        """Cut all connections without a close frame."""
        for client in self.clients:
            client.socket.transport.abort()

    def sent(self, channel: str, symbol: str) -> list[dict[str, Any]]:
        """All data sent of a channel and symbol, over all clients, numbers as their digits."""
        found = []
        for client in self.clients:
            for frame in client.sent:
                if frame.startswith(b'{"channel":"%s"' % channel.encode()):
                    message = json.loads(frame, parse_float=str, parse_int=str)
                    found += [item | {"type": message["type"]} for item in message["data"] if item["symbol"] == symbol]
        return found

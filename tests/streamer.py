"""A server of the stream that docs/reference/stream.md describes, for tests of what draws it.

Its market is a formula, so a test can say what any book at any time is. It shares no line with the server of krakpot:
the two and the page check each other.
"""

from __future__ import annotations

import asyncio
import json
import math
import mimetypes
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

WEB = Path(__file__).resolve().parents[1] / "python" / "krakpot" / "page"
SECOND = 10**9
BEGIN = 1_795_933_140 * SECOND
"""2026-11-29T06:19:00Z in ns: where the recording begins."""
STATE = SECOND // 20
"""Time between two states of the market."""
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/EUR", "XRP/USD", "ADA/EUR", "DOGE/USD", "DOT/EUR", "LTC/USD")
Levels = list[tuple[float, float]]


def noise(*numbers: int) -> float:
    """A number from 0 to 1 that follows from these."""
    n = 0
    for one in numbers:
        n = (n * 1_000_003 + one * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFFFFFF
        n ^= n >> 15
        n = n * 0x2C1B3C6D & 0xFFFFFFFF
        n ^= n >> 12
    return n / 2**32


class Pair:
    """A pair of the formula."""

    def __init__(self, number: int, symbol: str) -> None:
        self.number = number
        self.symbol = symbol
        self.precision = (1, 2, 2, 5, 5, 6, 4, 2)[number % 8]
        self.qty_precision = 8
        self.middle = (650_000, 350_000, 14_200, 62_000, 45_000, 180_000, 65_000, 9_100)[number % 8]

    def price(self, tick: int) -> float:
        return float(f"{tick / 10**self.precision:.{self.precision}f}")

    def mid(self, t: int) -> int:
        s = t / SECOND
        wave = 60 * math.sin(s / 41 + self.number) + 22 * math.sin(s / 9.7) + 7 * math.sin(s / 2.3)
        return self.middle + round(wave) + round(3 * noise(self.number, t // (SECOND // 2)))

    def book(self, t: int, depth: int) -> tuple[Levels, Levels]:
        """Bids and asks at a time."""
        slot = t // STATE
        mid = self.mid(slot * STATE)
        wide = 1 + int(noise(self.number, slot // 9) * 3)
        sides: list[Levels] = []
        for way in (-1, 1):
            levels: Levels = []
            tick, k = mid + (wide if way > 0 else 0), 0
            while len(levels) < depth:
                at = tick + way * k
                k += 1
                # A level lives for some seconds, then another takes its place.
                if (held := noise(self.number, at, (slot + at * 7) // 160)) < 0.45 and len(levels) > 2:
                    continue
                qty = 0.02 + 1.6 * held**4 + 0.05 * noise(at, slot // 20)
                if at % 25 == 0:
                    qty += 5 + 4 * noise(at, (slot + at) // 600)
                qty *= 0.25 + min(k, 60) / 40
                levels.append((self.price(at), round(qty, self.qty_precision)))
            sides.append(levels)
        return sides[0], sides[1]

    def trades(self, since: int, until: int) -> list[tuple[int, int, float, float, int, int]]:
        """Time, id, price, quantity, side and type of the trades behind a time, up to another."""
        found = []
        step = SECOND // 4
        for slot in range(since // step + 1, until // step + 1):
            t = slot * step
            if noise(self.number, slot, 1) < 0.55:
                continue
            bids, asks = self.book(t, 1)
            side = int(noise(self.number, slot // 12, 2) + noise(slot, 3) * 0.6 > 0.8)
            qty = round(0.01 + 2.5 * noise(self.number, slot, 4) ** 6, 8)
            found.append((t, slot, (bids if side else asks)[0][0], qty, side, slot % 2))
        return found


def book(
    number: int,
    t: int,
    bids: Levels,
    asks: Levels,
    *,
    flags: int = 1,
    checked: int = 1,
    messages: int = 3,
    checksum: int = 0xC0FFEE,
) -> bytes:
    """Kind 1."""
    head = struct.pack(
        "<BBBBIqqIIII", 1, flags, checked, 0, number, t, t - 2_000_000, checksum, messages, len(bids), len(asks)
    )
    return head + b"".join(
        struct.pack(f"<{len(side)}d", *(level[i] for level in side)) for side in (bids, asks) for i in (0, 1)
    )


def trades(
    number: int, found: list[tuple[int, int, float, float, int, int]], *, flags: int = 0, left_out: int = 0
) -> bytes:
    """Kind 2."""
    n = len(found)
    out = struct.pack("<BBHIII", 2, flags, 0, number, n, left_out)
    times, ids, prices, qtys, sides, types = zip(*found, strict=True) if found else ((),) * 6
    out += struct.pack(f"<{n}q", *times) * 2 + struct.pack(f"<{n}q", *ids)
    return out + struct.pack(f"<{n}d", *prices) + struct.pack(f"<{n}d", *qtys) + bytes(sides) + bytes(types)


def orders(number: int, t: int, sides: tuple[list[tuple[float, float, int, int]], ...], *, flags: int = 1) -> bytes:
    """Kind 3."""
    out = struct.pack("<BBBBIqqIIII", 3, flags, 1, 0, number, t, t, 7, 1, *map(len, sides))
    for side in sides:
        n = len(side)
        prices, qtys, times, ids = zip(*side, strict=True) if side else ((),) * 4
        out += struct.pack(f"<{n}d", *prices) + struct.pack(f"<{n}d", *qtys)
        out += struct.pack(f"<{n}q", *times) + struct.pack(f"<{n}Q", *ids)
    return out


def overview(t: int, lines: list[tuple[float, float, float, float, float, int, int, int, int]]) -> bytes:
    """Kind 4: bid, ask, last, volume, imbalance, number, right, wrong, in sync."""
    n = len(lines)
    out = struct.pack("<BBBBIq", 4, 0, 0, 0, n, t)
    for i, kind in enumerate("dddddIIIB"):
        out += struct.pack(f"<{n}{kind}", *(line[i] for line in lines))
    return out


def gap(channel: int, number: int, since: int, until: int, reason: str) -> bytes:
    """Kind 5."""
    text = reason.encode()
    return struct.pack("<BBHIqq", 5, channel, len(text), number, since, until) + text


def clock(flags: int, shown: int, speed: float = 1.0) -> bytes:
    """Kind 6."""
    return struct.pack("<BB6xqqd", 6, flags, shown, time.time_ns(), speed)


class Client:
    """One connection: what it wants, and its place in the recording."""

    def __init__(self, server: Streamer, socket: ServerConnection) -> None:
        self.server = server
        self.socket = socket
        self.subscribed: dict[str, tuple[int, bool]] = {}
        self.rate = 30.0
        self.overview = False
        self.overview_due = 0.0
        self.at = server.begin
        self.last = time.monotonic()
        self.paused = False
        self.speed = 1.0
        self.sent: dict[str, int] = {}
        self.traded: dict[str, int] = {}

    @property
    def now(self) -> int:
        """The time that it is shown."""
        return time.time_ns() if self.server.live else self.at

    def advance(self) -> None:
        now = time.monotonic()
        if not self.paused:
            self.at = min(self.at + int((now - self.last) * self.speed * SECOND), self.server.end)
        self.last = now

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what is requested; the answer."""
        method = message["method"]
        server = self.server
        server.requests.append(message)
        answer: dict[str, Any] = {"type": "answer", "method": method, "req_id": message.get("req_id"), "success": True}
        if method in server.refuse:
            return answer | {"success": False, "error": server.refuse[method]}
        if method == "subscribe":
            for symbol in message["symbols"]:
                self.subscribed[symbol] = (message["depth"], message["orders"])
                self.sent.pop(symbol, None)
        elif method == "unsubscribe":
            for symbol in message["symbols"]:
                self.subscribed.pop(symbol, None)
        elif method == "overview":
            self.overview = message["on"]
        elif method == "rate":
            self.rate = message["per_second"]
        elif method == "seek":
            self.advance()
            self.at = message["at_us"] * 1000
            self.sent.clear()
            self.overview_due = time.monotonic() + 0.3
            self.traded.clear()
        elif method in {"pause", "resume"}:
            self.advance()
            self.paused = method == "pause"
        elif method == "speed":
            self.advance()
            self.speed = message["speed"]
        elif method == "coverage":
            spans = [
                {
                    "symbol": symbol,
                    "channel": "book",
                    "from_us": since // 1000,
                    "to_us": until // 1000,
                    "reason": "disconnect",
                }
                for symbol in message["symbols"]
                for since, until in server.spans
            ]
            return {"type": "coverage", "req_id": message.get("req_id"), "spans": spans}
        return answer

    def due(self) -> Iterator[bytes]:
        """States of now."""
        server, now = self.server, self.now
        for symbol, (depth, with_orders) in self.subscribed.items():
            pair = server.pairs[symbol]
            slot = now // STATE * STATE
            before = self.sent.get(symbol)
            if before == slot:
                continue
            self.sent[symbol] = slot
            flags = 3 if before is None else 1
            hole = server.hole_at(slot)
            was = before is not None and server.hole_at(before)
            if hole:
                if not was:
                    yield book(pair.number, hole[0], [], [], flags=0, checked=2)
                    yield gap(0, pair.number, hole[0], 0, hole[2])
                continue
            if was:
                flags = 3
            bids, asks = pair.book(slot, min(depth, server.depth))
            count = 0 if before is None else max(1, round(server.messages * (slot - before) / SECOND))
            yield book(pair.number, slot, bids, asks, flags=flags, messages=count, checksum=slot // STATE & 0xFFFFFFFF)
            if was:
                yield gap(0, pair.number, was[0], was[1], was[2])
            since = self.traded.get(symbol, slot - 5 * SECOND)
            found = [one for one in pair.trades(since, slot) if not server.hole_at(one[0])]
            self.traded[symbol] = slot
            if found:
                yield trades(pair.number, found, flags=2 if before is None else 0)
            if with_orders:
                yield orders(pair.number, slot, server.queues(pair, slot))


class Streamer:
    """The server: files of the page, and the stream."""

    def __init__(self, *, live: bool = False) -> None:
        self.live = live
        self.begin, self.end = BEGIN, BEGIN + 600 * SECOND
        self.depth = 100
        self.messages = 200
        self.names: tuple[str, ...] = SYMBOLS
        self.stale_after = 3.0
        self.version: Any = 1
        self.channels = ["book", "trade", "level3"]
        self.holes: list[tuple[int, int, str]] = []
        """Times out of sync, and why."""
        self.refuse: dict[str, str] = {}
        """Errors of requests, by method."""
        self.requests: list[dict[str, Any]] = []
        self.silent = False
        """Send nothing more, and keep the connections."""
        self.clients: list[Client] = []
        self.status = {"type": "status", "connection": "up", "reason": "", "system": "online"}
        self.greet = True
        self._queues: dict[tuple[int, int], Any] = {}
        self.port = 0

    @property
    def pairs(self) -> dict[str, Pair]:
        """Pairs by symbol."""
        return {symbol: Pair(number, symbol) for number, symbol in enumerate(self.names)}

    @property
    def spans(self) -> list[tuple[int, int]]:
        """What is recorded."""
        edges = [self.begin, *(edge for since, until, _ in self.holes for edge in (since, until)), self.end]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def hole_at(self, t: int) -> tuple[int, int, str] | None:
        return next((one for one in self.holes if one[0] <= t < one[1]), None)

    def queues(
        self, pair: Pair, t: int
    ) -> tuple[list[tuple[float, float, int, int]], list[tuple[float, float, int, int]]]:
        """Orders of the best levels."""
        out: list[list[tuple[float, float, int, int]]] = []
        for side in pair.book(t, 25):
            found = []
            for price, qty in side:
                tick = round(price * 10**pair.precision)
                n = 1 + int(noise(tick, 5) * 9)
                shares = [0.1 + noise(tick, i) for i in range(n)]
                for i, share in enumerate(shares):
                    age = int(3600 * SECOND * noise(tick, i, 6) ** (1 + 5 * i / n))
                    found.append((price, qty * share / sum(shares), t - age, tick * 16 + i))
            out.append(found)
        return out[0], out[1]

    def hello(self) -> dict[str, Any]:
        """What it says of itself."""
        symbols = [
            {
                "symbol": pair.symbol, "price_precision": pair.precision, "qty_precision": pair.qty_precision,
                "depth": self.depth, "channels": self.channels,
            }
            for pair in self.pairs.values()
        ]  # fmt: skip
        return {
            "type": "hello", "stream": self.version, "krakpot": "0.1.0", "source": "live" if self.live else "lake",
            "name": "lake",
            "stale_after_s": self.stale_after, "begin_us": None if self.live else self.begin // 1000,
            "end_us": None if self.live else self.end // 1000, "rate": 30, "symbols": symbols,
        }  # fmt: skip

    async def _stream(self, socket: ServerConnection) -> None:
        client = Client(self, socket)
        self.clients.append(client)
        if self.greet:
            await socket.send(json.dumps(self.hello()))
            await socket.send(json.dumps(self.status))
        sender = asyncio.create_task(self._send(client))
        try:
            async for text in socket:
                if not self.silent:
                    await socket.send(json.dumps(client.ask(json.loads(text))))
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            self.clients.remove(client)

    async def _send(self, client: Client) -> None:
        clock_due = 0.0
        while True:
            await asyncio.sleep(1 / client.rate)
            if self.silent or not self.greet:
                continue
            client.advance()
            for one in client.due():
                await client.socket.send(one)
            now = time.monotonic()
            if now >= clock_due:
                clock_due = now + 0.25
                flags = 12 if self.live else 8 | client.paused | (2 if client.at >= self.end else 0)
                if self.status["connection"] != "up":
                    flags &= ~8
                await client.socket.send(clock(flags, client.now, client.speed))
            if client.overview and now >= client.overview_due:
                client.overview_due = now + 1
                await client.socket.send(overview(client.now, self.lines(client.now)))

    def lines(self, t: int) -> list[tuple[float, float, float, float, float, int, int, int, int]]:
        """What an overview says of each pair."""
        out = []
        for pair in self.pairs.values():
            bids, asks = pair.book(t, 1)
            right = (
                (t - self.begin) // SECOND * self.messages if not self.live else t // SECOND % 100_000 * self.messages
            )
            wrong = int(pair.number == 5)
            out.append(
                (bids[0][0], asks[0][0], bids[0][0], 1000.0, 0.2, pair.number, int(right), wrong, int(pair.number != 6))
            )
        return out

    def _file(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/stream":
            return None
        file = WEB / (path.lstrip("/") or "index.html")
        if not file.is_file() or WEB not in file.resolve().parents:
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such file\n")
        kind = {".js": "text/javascript", ".wasm": "application/wasm"}.get(file.suffix) or mimetypes.guess_type(
            file.name
        )[0]
        body = file.read_bytes()
        headers = Headers(
            {"Content-Type": kind or "text/plain", "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        )
        return Response(200, "OK", headers, body)

    def start(self) -> None:
        """Serve in a thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.open()

    def _do(self, work: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def open(self) -> None:
        """Begin to listen; again at the same port."""

        async def listen() -> Server:
            return await serve(
                self._stream, "127.0.0.1", self.port, process_request=self._file, compression=None, max_size=None
            )

        self._server: Server = self._do(listen)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    def shut(self) -> None:
        """Stop to listen, and cut all connections."""

        async def close() -> None:
            self._server.close()
            await self._server.wait_closed()

        self._do(close)

    def cut(self) -> None:
        """Cut all connections."""

        async def close() -> None:
            for client in list(self.clients):
                client.socket.transport.abort()

        self._do(close)

    def send(self, *messages: bytes | str | dict[str, Any]) -> None:
        """Send something to every client."""

        async def send() -> None:
            for client in list(self.clients):
                for one in messages:
                    await client.socket.send(json.dumps(one) if isinstance(one, dict) else one)

        self._do(send)

    def stop(self) -> None:
        """End."""
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def page(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def served(**options: Any) -> Iterator[Streamer]:
    """Serve for a while, with these options."""
    streamer = Streamer(live=options.pop("live", False))
    for name, value in options.items():
        assert hasattr(streamer, name)
        setattr(streamer, name, value)
    streamer.start()
    try:
        yield streamer
    finally:
        streamer.stop()

"""A client of the stream of ``krakpot view``: it reads messages by the offsets of docs/reference/stream.md alone."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

Level = tuple[float, float]


@dataclass(frozen=True)
class Book:
    """Kind 1."""

    in_sync: bool
    not_continued: bool
    checked: int
    number: int
    ts_recv: int
    ts_event: int
    checksum: int
    messages: int
    bids: list[Level]
    asks: list[Level]


@dataclass(frozen=True)
class Orders:
    """Kind 3."""

    in_sync: bool
    number: int
    ts_recv: int
    checksum: int
    bids: list[tuple[float, float, int, int]]
    asks: list[tuple[float, float, int, int]]


@dataclass(frozen=True)
class Trades:
    """Kind 2."""

    not_continued: bool
    number: int
    left_out: int
    rows: list[tuple[int, int, int, float, float, int, int]]
    """Exchange's time, receipt, id, price, quantity, side, type."""


@dataclass(frozen=True)
class Overview:
    """Kind 4."""

    ts: int
    rows: dict[int, dict[str, float]]


@dataclass(frozen=True)
class Gap:
    """Kind 5."""

    channel: int
    number: int
    since: int
    until: int
    reason: str


@dataclass(frozen=True)
class Clock:
    """Kind 6."""

    paused: bool
    at_end: bool
    live: bool
    connected: bool
    shown: int
    now: int
    speed: float


Message = Book | Orders | Trades | Overview | Gap | Clock | dict[str, Any]
T = TypeVar("T", Book, Orders, Trades, Overview, Gap, Clock)


def decode(data: bytes) -> Message:
    """Read a binary message."""

    def column(at: int, kind: str, count: int) -> tuple[Any, ...]:
        return struct.unpack_from(f"<{count}{kind}", data, at)

    flags, size = data[1], len(data)
    if data[0] in {1, 3}:
        (number,) = column(4, "I", 1)
        ts_recv, ts_event = column(8, "q", 2)
        checksum, messages, n, m = column(24, "I", 4)
        width = 16 if data[0] == 1 else 32
        assert size == 40 + width * (n + m)
        sides: list[list[Any]] = []
        for begin, count in ((40, n), (40 + width * n, m)):
            kinds = "dd" if data[0] == 1 else "ddqQ"
            columns = [column(begin + 8 * count * i, kind, count) for i, kind in enumerate(kinds)]
            sides.append(list(zip(*columns, strict=True)))
        if data[0] == 3:
            return Orders(bool(flags & 1), number, ts_recv, checksum, *sides)
        return Book(bool(flags & 1), bool(flags & 2), data[2], number, ts_recv, ts_event, checksum, messages, *sides)
    if data[0] == 2:
        number, n, left_out = column(4, "I", 3)
        assert size == 16 + 42 * n
        offsets = [(0, "q"), (8, "q"), (16, "q"), (24, "d"), (32, "d"), (40, "B"), (41, "B")]
        rows = zip(*(column(16 + offset * n, kind, n) for offset, kind in offsets), strict=True)
        return Trades(bool(flags & 2), number, left_out, list(rows))
    if data[0] == 4:
        (n,), (ts,) = column(4, "I", 1), column(8, "q", 1)
        names = ["bid", "ask", "last", "volume", "imbalance"]
        found = {name: column(16 + 8 * n * i, "d", n) for i, name in enumerate(names)}
        begin = 16 + 40 * n
        found |= {name: column(begin + 4 * n * i, "I", n) for i, name in enumerate(["number", "right", "wrong"])}
        found["in_sync"] = column(begin + 12 * n, "B", n)
        assert size == begin + 13 * n
        return Overview(ts, {found["number"][i]: {name: found[name][i] for name in found} for i in range(n)})
    if data[0] == 5:
        (length,), (number,) = column(2, "H", 1), column(4, "I", 1)
        since, until = column(8, "q", 2)
        assert size == 24 + length
        return Gap(flags, number, since, until, data[24:].decode())
    assert data[0] == 6
    assert size == 32
    bits = [bool(flags & bit) for bit in (1, 2, 4, 8)]
    return Clock(*bits, *column(8, "q", 2), *column(24, "d", 1))


class Client:
    """A client, connected within its block."""

    def __init__(self, address: str, **options: Any) -> None:
        self.address = address
        self.hello: dict[str, Any] = {}
        self.heard: list[Message] = []
        """All messages so far."""
        self._options = options

    async def __aenter__(self) -> Self:
        """Connect, and take ``hello``."""
        self._session = aiohttp.ClientSession()
        try:
            self.socket = await self._session.ws_connect(self.address, **self._options)
            first = await self.next()
        except BaseException:
            await self._session.close()
            raise
        assert isinstance(first, dict)
        assert first["type"] == "hello"
        self.hello = first
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        await self.socket.close()
        await self._session.close()

    async def next(self) -> Message:
        """The next message; ``EOFError`` with the code if the server has closed."""
        message = await self.socket.receive()
        while message.type is aiohttp.WSMsgType.PING:
            # It came to a client that answers none by itself.
            message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            found: Message = message.json()
        elif message.type is aiohttp.WSMsgType.BINARY:
            found = decode(message.data)
        else:
            raise EOFError(self.socket.close_code)
        self.heard.append(found)
        return found

    async def until(self, kind: type[T], condition: Callable[[T], bool] = lambda message: True) -> T:
        """The next message of a kind of which something is true."""
        while True:
            message = await self.next()
            if isinstance(message, kind) and condition(message):
                return message

    async def text(self, kind: str) -> dict[str, Any]:
        """The next text message of a type."""
        while True:
            message = await self.next()
            if isinstance(message, dict) and message["type"] == kind:
                return message

    async def send(self, method: str, **fields: Any) -> None:
        """Send a request."""
        await self.socket.send_json({"method": method, **fields})

    async def ask(self, method: str, **fields: Any) -> dict[str, Any]:
        """Send a request; its answer."""
        await self.send(method, **fields)
        return await self.text("answer")

    async def done(self, method: str, **fields: Any) -> None:
        """Send a request, which succeeds."""
        answer = await self.ask(method, **fields)
        assert answer["success"], answer

    def number(self, symbol: str) -> int:
        """Number of a pair."""
        return [one["symbol"] for one in self.hello["symbols"]].index(symbol)

    async def moved(self, at: int) -> Clock:
        """Go to another time, ns, and wait until it is shown."""
        await self.done("seek", at_us=at // 1000)
        return await self.until(Clock, lambda clock: clock.shown == at // 1000 * 1000)

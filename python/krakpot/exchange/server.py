"""The built-in exchange as a server: sockets and clock around ``_core.Exchange``.

websockets' Sans-I/O server protocol does handshakes, pings and closes; the frames of the market come from Rust in
blocks and go to the socket as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import polars as pl
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange.faults import FORGET, Line, reset
from krakpot.exchange.rest import Key, Rest, RestServer
from krakpot.lake.lake import Lake
from krakpot.net import http as http1
from krakpot.values import LOOPBACK, nanoseconds

PATH, LEVEL3_PATH = "/v2", "/level3/v2"
ENDPOINTS = {PATH: "public", LEVEL3_PATH: "level3"}
"""Paths, and what the connections there are for. Kraken has hosts of their own, with the path ``/v2``."""
REQUEST_MAX = 1 << 20
"""Bytes of a request; all pairs of an exchange are 20 kB."""
SLICE = 0.005
"""Seconds between two looks at the clock."""
FINE_SLICE = 0.001
"""The same where messages are delayed: about that much does a message leave later than it should."""
BLOCK = 1 << 18
"""Bytes that are made before they are written: from then on the clients can read them while more are made."""
HIGH, LOW = 1 << 20, 1 << 18
"""Bytes waiting in a socket's buffer at which ``max`` waits, and goes on."""
SLOW = 256 << 20
"""Bytes waiting for a client at which it is cut: it reads more slowly than the market moves."""
SETTLE = 2.0
"""Seconds after the last request for which ``max`` runs at normal speed: a client is subscribing."""
CLOSE_TIMEOUT = 3.0
COMPARED = {"book": "book", "level3": "orders", "trade": "trades", "ticker": "ticker"}
"""Channels of the exchange's account, and the tables of their messages."""
NUMBERS = {"book": "checksum", "level3": "checksum", "trade": "trade_id"}
"""Columns over which the account has a hash."""
INJECTED = 100_000
"""Faults that a server remembers; of more the oldest are forgotten, the log has all."""
HASH = 6364136223846793005
"""Multiplier of the hash over checksums; see ``_core.Exchange.summary``."""


@dataclass(frozen=True)
class Pace:
    """How messages of a channel go out, ns of the exchange's time."""

    delay: int = 0
    """From the making of a message to its sending."""
    jitter: int = 0
    """Up to as much more, at random; messages of one connection stay in their order."""
    conflate: int = 0
    """For so long changes of one symbol are collected into one message."""

    @property
    def whole(self) -> tuple[int, int, int]:
        """As ``_core.Exchange`` takes it."""
        return self.delay, self.jitter, self.conflate


@dataclass(frozen=True)
class Options:
    """What exchange to serve, and how."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: a free one."""
    pairs: int = 200
    rate: float = 1000.0
    """Messages a second of a full subscription."""
    seed: int = 1
    speed: float | None = 1.0
    """Exchange seconds in a second; None: as fast as the clients read, and not at all while nobody does."""
    duration: float | None = None
    """Exchange seconds after which it closes."""
    start: int | None = None
    """Exchange time at the start, ns; None: now."""
    log: Path | None = None
    """File for a line a frame, CSV: wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault."""
    book: Pace = Pace()
    level3: Pace = Pace()
    rest_port: int = 0
    """Port of REST; 0: a free one."""
    key: Key | None = None
    """Key for tokens; None: a new one."""
    faults: tuple[str, ...] = ()
    """What goes wrong from the beginning: see ``_core.Exchange.fault``."""


PAUSE_MAX = 3600 * 10**9
UNITS = {"us": 10**3, "ms": 10**6, "s": 10**9}
"""ns."""


def pause(text: str) -> int:
    """Read ``--book-delay`` and the like: ``5ms``, ``250us``, ``1.5s`` or 0, to ns."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s)", "0s" if text == "0" else text)
    value = PAUSE_MAX + 1 if match is None else round(float(match[1]) * UNITS[match[2]])
    if value > PAUSE_MAX:
        sentence = "a time as 5ms, 250us or 1.5s, up to an hour, or 0"
        raise ValueError(sentence)
    return value


def key(name: str | None, secret: str | None) -> Key | None:
    """Read ``--api-key`` and ``--api-secret``: both or none."""
    if name is None and secret is None:
        return None
    if not name or not secret:
        sentence = "--api-key and --api-secret belong together"
        raise ConfigError(sentence)
    return Key.read(name, secret)


def speed(text: str) -> float | None:
    """Read ``--speed``: a number above zero, or ``max`` (None)."""
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:  # noqa: PLR2004  # beyond, nothing can follow
        sentence = "a number above 0 (2 is twice as fast), or max"
        raise ValueError(sentence)
    return value


def start(text: str) -> int:
    """Read ``--start``: RFC 3339, to nanoseconds since the epoch."""
    return nanoseconds(text)


class _Client(asyncio.Protocol):
    """One client's socket."""

    def __init__(self, server: ExchangeServer) -> None:
        self.server = server
        self.protocol = ServerProtocol(max_size=REQUEST_MAX)
        self.number: int | None = None
        """The exchange's number of this connection, from the handshake on."""
        self.writable = True
        self.line = Line()
        self.deaf = 0
        """Until when nothing is read, ns of the exchange's time; 0: it is read."""
        self.transport: asyncio.Transport
        self._message = bytearray()
        """The request that is under way, perhaps in many frames."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's, whatever its class: uvloop's are none of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(HIGH, LOW)
        self.server.clients.add(self)

    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._message += event.data
                if len(self._message) > REQUEST_MAX:
                    self.protocol.fail(CloseCode.MESSAGE_TOO_BIG)
                elif event.fin:
                    text = bytes(self._message)
                    self._message.clear()
                    self._request(text)
        self.flush()

    def _handshake(self, request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        if http1.foreign(headers, here=self.server.here):
            response = self.protocol.reject(
                403, "No page in a browser is served: no Origin, and this machine as Host\n"
            )
            return self.protocol.send_response(response)
        endpoint = ENDPOINTS.get(request.path.partition("?")[0])
        refusal = None if endpoint is None else self.server.exchange.admit(self._who())
        if refusal is not None:
            endpoint = None
            if not refusal:
                return reset(self.transport)
            response = self.protocol.reject(503, "Refused by a fault of the exchange\n")
            response.status_code = refusal
        elif endpoint is not None:
            response = self.protocol.accept(request)
        else:
            response = self.protocol.reject(404, f"The exchange is at {PATH}, level 3 at {LEVEL3_PATH}\n")
        self.protocol.send_response(response)
        if endpoint is not None and self.protocol.state is State.OPEN:
            self.number = self.server.exchange.connect(endpoint)
        return None

    def _who(self) -> str:
        return str(self.transport.get_extra_info("peername", ("",))[0])

    def _request(self, text: bytes) -> None:
        if self.number is not None:
            if b'"ping"' not in text:
                self.server.settle()
            self.server.exchange.receive(self.number, text)

    def flush(self) -> None:
        """Write what waits: answers of the protocol, then frames of the exchange."""
        now = self.server.exchange.now
        for data in self.protocol.data_to_send():
            if data:
                self._write(data)
            elif self.transport.can_write_eof() and not self.line.busy:
                self.transport.write_eof()
        if self.number is not None:
            if self.protocol.state is not State.OPEN:
                # After a goodbye nothing is sent any more, so nothing more is counted as sent.
                self._leave()
            elif block := self.server.exchange.take(self.number):
                self._write(block)
        if self.line.busy and (data := self.line.pull(now)):
            self.transport.write(data)
        if self.deaf and now >= self.deaf and not self.line.dead:
            self.deaf = 0
            self.transport.resume_reading()
        if self.protocol.close_expected():
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _write(self, data: bytes) -> None:
        if self.line.busy:
            self.line.push(data)
        else:
            self.transport.write(data)

    def go_wrong(self, name: str, by: int) -> None:
        """Do what a fault of a connection is."""
        now = self.server.exchange.now
        if name == "cut":
            reset(self.transport)
        elif name == "close" and self.protocol.state is State.OPEN:
            self.protocol.send_close(by, "a fault of the exchange")
            self.flush()
        elif name == "stall":
            self.line.stall(now, by)
        elif name == "trickle":
            self.line.trickle(now, by)
        elif name in {"deaf", "half_open"}:
            self.deaf = now + by
            self.transport.pause_reading()
            if name == "half_open":
                self.line.die()
                self._leave()
                asyncio.get_running_loop().call_later(FORGET, self.transport.abort)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.server.drained.set()

    def eof_received(self) -> None:
        self.protocol.receive_eof()
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self.server.clients.discard(self)
        self.server.drained.set()
        self._leave()

    def _leave(self) -> None:
        """Let the exchange forget this client."""
        if self.number is not None:
            self.server.exchange.disconnect(self.number)
            self.number = None

    def close(self) -> None:
        """Say goodbye."""
        if self.protocol.state is State.OPEN and not self.line.busy:
            self.protocol.send_close(CloseCode.GOING_AWAY, "the exchange closes")
            self.flush()
        else:
            self.transport.abort()


class ExchangeServer:
    """Serves an exchange while its ``async with`` block runs.

    ``address`` is where; ``level3_address`` where level 3 is, and ``rest_address`` where the token comes from that it
    needs, signed for with ``key``.

    ``fault`` lets something go wrong from now on; ``injected`` are the faults that happened, as
    ``_core.Exchange.take_faults`` gives them.

    ``ConfigError`` if the address cannot be listened on, the log not be written, or a fault not be read.
    """

    def __init__(self, options: Options) -> None:
        """Make the exchange: its books are full from the beginning."""
        self.options = options
        self.begin = time.time_ns() if options.start is None else options.start
        self.speed = options.speed
        """Exchange seconds in a second from now on; may be changed while it runs."""
        self._made = time.monotonic_ns()
        self.exchange = _core.Exchange(
            pairs=options.pairs, rate=options.rate, seed=options.seed, start=self.begin, log=options.log is not None,
            book=options.book.whole, level3=options.level3.whole,
        )  # fmt: skip
        self.injected: deque[dict[str, Any]] = deque(maxlen=INJECTED)
        for text in options.faults:
            try:
                self.exchange.inject(text)
            except ValueError as error:
                sentence = f"--fault {text}: {error}"
                raise ConfigError(sentence) from None
        self.key = options.key or Key.made()
        rest = Rest(self.key, lambda: self.exchange.now, self.exchange.allow, self.exchange)
        self.here = options.host in LOOPBACK
        """Whether it serves this machine only."""
        self._rest = RestServer(rest, self.settle, here=self.here)
        self.clients: set[_Client] = set()
        self.asked: float | None = None
        """When the last request came, by the monotonic clock."""
        self.address = self.level3_address = self.rest_address = ""
        self.over = asyncio.Event()
        """Set when the exchange time of ``duration`` has passed."""
        self.drained = asyncio.Event()
        self._log: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        """Listen, and let time pass."""
        options = self.options
        loop = asyncio.get_running_loop()
        what = f"--log {options.log}"
        try:
            if options.log is not None:
                self._log = options.log.open("wb", buffering=0)
            what = f"--host {options.host}, --port {options.port}"
            self._server = await loop.create_server(lambda: _Client(self), options.host, options.port)
            what = f"--rest-port {options.rest_port}"
            await self._rest.start(options.host, options.rest_port)
        except OSError as error:
            if what.startswith("--rest-port"):
                self._server.close()
            sentence = f"{what}: {error.strerror or error}"
            raise ConfigError(sentence) from None
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.address, self.level3_address = (f"ws://{host}:{port}{path}" for path in ENDPOINTS)
        self.rest_address = self._rest.address
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: clients are told; those that do not answer are cut."""
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)
        self._server.close()
        await self._rest.close()
        for client in list(self.clients):
            client.close()
        until = time.monotonic() + CLOSE_TIMEOUT
        while self.clients and time.monotonic() < until:  # noqa: ASYNC110  # clients go one by one, in their own time
            await asyncio.sleep(SLICE)
        for client in list(self.clients):
            client.transport.abort()
        await asyncio.sleep(0)
        if self._log is not None:
            self._log.write(self.exchange.take_log())
            self._log.close()
        if not self._clock.cancelled() and (failure := self._clock.exception()) is not None and error is None:
            raise failure

    def settle(self) -> None:
        """A client asks: for a while time does not run as fast as it can."""
        self.asked = time.monotonic()

    def fault(self, text: str) -> None:
        """Let something go wrong from now on; ``ValueError`` for what cannot be read."""
        self.exchange.inject(text)

    def summary(self) -> dict[str, Any]:
        """What was sent: see ``_core.Exchange.summary``."""
        return dict(json.loads(self.exchange.summary()))

    async def _run(self) -> None:
        """Move the exchange's time."""
        options = self.options
        end = None if options.duration is None else self.begin + round(options.duration * 1e9)
        paced = options.book != Pace() or options.level3 != Pace()
        # The books of all pairs take a second or so to make: by then ``now`` would be late by as much.
        now, clock = self.begin, self._made if options.start is None else time.monotonic_ns()
        while end is None or now < end:
            if self.speed is None and (self.asked is None or not any(c.number is not None for c in self.clients)):
                # Nobody listens: at this speed an hour would be over before the first one does.
                await asyncio.sleep(SLICE)
                clock = time.monotonic_ns()
                continue
            fast = self.speed is None and self.asked is not None and time.monotonic() - self.asked > SETTLE
            if fast:
                while not all(client.writable for client in self.clients):
                    self.drained.clear()
                    await self.drained.wait()
                await asyncio.sleep(0)
                now = self._advance(now + 1_000_000_000, end, BLOCK)
                clock = time.monotonic_ns()
            else:
                await asyncio.sleep(FINE_SLICE if paced else SLICE)
                then, clock = clock, time.monotonic_ns()
                due = now + round((clock - then) * (self.speed or 1.0))
                now = await self._follow(due if end is None else min(due, end))
        self.over.set()

    async def _follow(self, due: int) -> int:
        """Let the time ``due`` come, block by block: an exchange that cannot keep up is late and no more than that.

        In one piece it would make ever more at once, write nothing meanwhile, and cut clients that had read all they
        were given.
        """
        while True:
            now = self._advance(due, None, BLOCK)
            self._cut_slow()
            if now >= due:
                return now
            await asyncio.sleep(0)

    def _advance(self, to: int, end: int | None, limit: int) -> int:
        now = self.exchange.advance(to if end is None else min(to, end), limit, time.time_ns())
        for client in list(self.clients):
            client.flush()
        if faults := self.exchange.take_faults():
            self._go_wrong(faults)
        if self._log is not None:
            self._log.write(self.exchange.take_log())
        return now

    def _go_wrong(self, faults: list[dict[str, Any]]) -> None:
        """Remember what went wrong; do what is to be done to connections."""
        self.injected.extend(faults)
        clients = {client.number: client for client in self.clients if client.number is not None}
        for fault in faults:
            if (client := clients.get(fault["connection"])) is not None:
                client.go_wrong(fault["name"], fault["by"])

    def _cut_slow(self) -> None:
        for client in list(self.clients):
            if client.transport.get_write_buffer_size() + client.line.size > SLOW:
                sys.stderr.write(
                    f"cut a client that had {SLOW >> 20} MiB waiting: it reads more slowly than the market moves\n"
                )
                client.transport.abort()


async def _serve(options: Options, say: Callable[[ExchangeServer], None]) -> dict[str, Any]:
    server = ExchangeServer(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.over.set)
    async with server:
        say(server)
        await server.over.wait()
    return server.summary()


def run(options: Options, say: Callable[[ExchangeServer], None]) -> dict[str, Any]:
    """Serve until the duration is over, Ctrl-C or SIGTERM; returns the summary. ``say`` is called once it listens."""
    return asyncio.run(_serve(options, say))


def differences(lake: Lake, summary: Mapping[str, Any]) -> list[str]:
    """Compare a lake with the account of the exchange that it was recorded from: connection by connection.

    Per symbol: the number of book, level-3, trade and ticker messages, and the hash over the sequence of checksums.
    Sentences about what differs; empty if nothing does. A session is the connection whose id its status message told.
    Where faults harmed messages their number must fit: without those that were not sent, with those that were sent
    twice, and with or without those that were damaged.
    """
    status = lake.scan("status").select("connection_id", "session").unique().collect()
    sessions = {int(told): str(session) for told, session in status.drop_nulls().iter_rows()}
    connections = {int(one["connection_id"]): one for one in summary["connections"]}
    found = [f"the lake lacks a session of connection {told}" for told in sorted({*connections} - {*sessions})]
    found += [
        f"session {session} had connection {told}, which the exchange does not know of its connections"
        for told, session in sorted(sessions.items())
        if told not in connections
    ]
    for told in connections.keys() & sessions.keys():
        found += _session_differences(lake, sessions[told], connections[told])
    return found


def _session_differences(lake: Lake, session: str, connection: Mapping[str, Any]) -> list[str]:
    """The same for one session."""
    counts: dict[tuple[str, str], int] = {}
    hashes: dict[tuple[str, str], int] = {}
    for channel, table in COMPARED.items():
        for part in sorted((p for p in lake.parts(table) if p.session == session), key=lambda p: (p.number, p.date)):
            _count(part.path, channel, counts, hashes)
    told = {
        (channel, symbol): facts
        for symbol, channels in connection["symbols"].items()
        for channel, facts in channels.items()
        if channel in COMPARED
    }
    found: list[str] = []
    for key in sorted({*told, *counts}):
        facts = told.get(key, {"messages": 0, "hash": "0"})
        least, most = _sent(facts)
        count = counts.get(key, 0)
        if not least <= count <= most:
            sent = str(most) if least == most else f"{least} to {most}"
            found.append(f"{key[1]}: the exchange sent {sent} {key[0]} messages, the lake has {count}")
        elif key[0] in NUMBERS and "faults" not in facts and hashes.get(key, 0) != int(facts["hash"], 16):
            found.append(f"{key[1]}: the numbers of its {key[0]} messages differ from those that the exchange sent")
    return found


def _sent(facts: Mapping[str, Any]) -> tuple[int, int]:
    """How many messages of an account can have come, at least and at most."""
    faults = Counter[str](facts.get("faults", {}))
    sent = facts["messages"] - faults["drop"] - faults["silence"] + faults["repeat"]
    return sent - faults["digit"] - faults["truncate"] - faults["garbage"] - faults["oversize"], sent


def _count(path: Path, channel: str, counts: dict[tuple[str, str], int], hashes: dict[tuple[str, str], int]) -> None:
    """Add the messages of one part."""
    number = NUMBERS.get(channel)
    columns = ["symbol", "message", "entry", *([number] if number else [])]
    rows = pl.read_parquet(path, columns=columns, hive_partitioning=False)
    # A message's number: a checksum is the same in all its rows, a trade message's is its last trade's.
    messages = rows.sort("symbol", "message", "entry").unique(["symbol", "message"], keep="last", maintain_order=True)
    for (symbol,), group in messages.partition_by("symbol", as_dict=True).items():
        key = (channel, str(symbol))
        counts[key] = counts.get(key, 0) + group.height
        value = hashes.get(key, 0)
        if number:
            for one in group[number].to_list():
                value = (value * HASH + one) & (1 << 64) - 1
        hashes[key] = value

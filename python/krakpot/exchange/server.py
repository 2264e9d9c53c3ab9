"""The built-in exchange as a server: sockets and clock around ``_core.Exchange``.

websockets' Sans-I/O server protocol does handshakes, pings and closes. The frames of the market come from Rust in
blocks and go to the socket unchanged.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.exchange.account import PERMISSIONS
from krakpot.exchange.faults import HALF_OPEN_MAX, FaultyPipe, reset
from krakpot.exchange.options import Options, Pace
from krakpot.exchange.public import Public
from krakpot.exchange.rest import Access, Key, Rest, RestServer
from krakpot.net import http as http1
from krakpot.net.http import cannot_listen
from krakpot.values import LOOPBACK

PATH, LEVEL3_PATH, PRIVATE_PATH = "/v2", "/level3/v2", "/private/v2"
ENDPOINTS = {PATH: "public", LEVEL3_PATH: "level3", PRIVATE_PATH: "private"}
"""Paths and their endpoints. Kraken has a host for each, with the path ``/v2``."""
REQUEST_MAX = 1 << 20
"""Bytes of a request; one with all pairs of an exchange has 20 kB."""
SLICE = 0.005
"""Seconds between two looks at the clock."""
FINE_SLICE = 0.001
"""The same where messages are delayed: a message leaves late by up to about this much."""
BLOCK = 1 << 18
"""Bytes that are made before they are written: the clients can read them while more are made."""
HIGH, LOW = 1 << 20, 1 << 18
"""Bytes in a socket's buffer at which ``max`` waits, and continues."""
SLOW = 256 << 20
"""Bytes waiting for a client at which it is disconnected: it reads more slowly than the market moves."""
SETTLE = 2.0
"""Seconds after the last request during which ``max`` runs at normal speed: a client is subscribing."""
CLOSE_TIMEOUT = 3.0
"""Seconds."""
PLACE = "krakpot.ExchangeServer"
"""Begins every sentence about a wrong option."""
FAULT = "a fault as text, as drop=0.01,channel=book"
INJECTED = 100_000
"""Faults that a server remembers; beyond this number the oldest are forgotten. The log has all of them."""


class _Client(asyncio.Protocol):
    """One client's socket."""

    def __init__(self, server: ExchangeServer) -> None:
        self.server = server
        self.protocol = ServerProtocol(max_size=REQUEST_MAX)
        self.number: int | None = None
        """The exchange's number of this connection, from the handshake on."""
        self.writable = True
        self.pipe = FaultyPipe()
        self.deaf = 0
        """Nothing is read until this time of the exchange, ns; 0: data is read."""
        self.transport: asyncio.Transport
        self._message = bytearray()
        """The request that is being received, perhaps in many frames."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transport of a stream, whatever its class: those of uvloop derive from none of asyncio's.
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
        if http1.foreign(headers, here=self.server.loopback_only, allowed=self.server.options.origins):
            response = self.protocol.reject(
                403,
                "Pages in a browser are served by --origin; others send no Origin, and name this machine in Host\n",
            )
            return self.protocol.send_response(response)
        endpoint = ENDPOINTS.get(request.path.partition("?")[0])
        refusal = None if endpoint is None else self.server.exchange.admit(self._address(), endpoint)
        if refusal is not None:
            endpoint = None
            status, retry_after = refusal
            if not status:
                return reset(self.transport)
            response = self.protocol.reject(503, "Refused by a fault of the exchange\n")
            response.status_code = status
            if retry_after is not None:
                response.headers["Retry-After"] = str(retry_after)
        elif endpoint is not None:
            response = self.protocol.accept(request)
        else:
            response = self.protocol.reject(
                404, f"The exchange is at {PATH}, level 3 at {LEVEL3_PATH}, orders at {PRIVATE_PATH}\n"
            )
        self.protocol.send_response(response)
        if endpoint is not None and self.protocol.state is State.OPEN:
            self.number = self.server.exchange.connect(endpoint)
        return None

    def _address(self) -> str:
        return str(self.transport.get_extra_info("peername", ("",))[0])

    def _request(self, text: bytes) -> None:
        if self.number is not None:
            if b'"ping"' not in text:
                self.server.settle()
            self.server.exchange.receive(self.number, text)
            # One that cuts the connection must come before anything else leaves.
            self.server.apply_faults()

    def flush(self) -> None:
        """Write what waits: answers of the protocol, then frames of the exchange."""
        now = self.server.exchange.now
        for data in self.protocol.data_to_send():
            if data:
                self._write(data)
            elif self.transport.can_write_eof() and not self.pipe.busy:
                self.transport.write_eof()
        if self.number is not None:
            if self.protocol.state is not State.OPEN:
                # After a close frame nothing is sent any more, so nothing more is counted as sent.
                self._leave()
            elif block := self.server.exchange.take(self.number):
                self._write(block)
        if self.pipe.busy and (data := self.pipe.pull(now)):
            self.transport.write(data)
        if self.deaf and now >= self.deaf and not self.pipe.silent:
            self.deaf = 0
            self.transport.resume_reading()
        if self.protocol.close_expected():
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _write(self, data: bytes) -> None:
        if self.pipe.busy:
            self.pipe.push(data)
        else:
            self.transport.write(data)

    def apply_fault(self, name: str, by: int) -> None:
        """Do what a fault does to a connection."""
        now = self.server.exchange.now
        if name in {"cut", "cut_answer"}:
            reset(self.transport)
        elif name == "close" and self.protocol.state is State.OPEN:
            self.protocol.send_close(by, "a fault of the exchange")
            self.flush()
        elif name == "stall":
            self.pipe.stall(now, by)
        elif name == "trickle":
            self.pipe.trickle(now, by)
        elif name in {"deaf", "half_open"}:
            self.deaf = now + by
            self.transport.pause_reading()
            if name == "half_open":
                self.pipe.silence()
                self._leave()
                asyncio.get_running_loop().call_later(HALF_OPEN_MAX, self.transport.abort)

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
        """Close the connection with a close frame, if its pipe is free."""
        if self.protocol.state is State.OPEN and not self.pipe.busy:
            self.protocol.send_close(CloseCode.GOING_AWAY, "the exchange closes")
            self.flush()
        else:
            self.transport.abort()


class ExchangeServer:
    """Serves an exchange while its ``async with`` block runs.

    Parameters
    ----------
    options
        What exchange to serve, and how.

    Attributes
    ----------
    address, level3_address, private_address, rest_address : str
        Where it listens: the public channels, level 3, orders and balances, and REST, which gives the tokens that the
        second and the third need.
    key : Key
        With this key requests for a token are signed.
    speed : float or None
        Exchange seconds per second from now on; it may be changed while the exchange runs.
    exchange : _core.Exchange
        The exchange itself, with its books.
    injected : deque of dict
        The faults that happened, as ``_core.Exchange.take_faults`` returns them.

    Raises
    ------
    ConfigError
        If it cannot listen on the address, write the log, or read a fault.

    Examples
    --------
    >>> async def main():
    ...     async with ExchangeServer(Options(pairs=20)) as server:
    ...         print(server.address)
    ...         await asyncio.sleep(10)
    ...     print(server.summary()["messages"])

    """

    def __init__(self, options: Options) -> None:
        """Make the exchange: its books are full from the beginning."""
        values.read(values.instance_of(Options, "krakpot.ExchangeOptions"), options, f"{PLACE}: options")
        self.options = options
        self.begin = time.time_ns() if options.start is None else options.start
        """Exchange time at the start, ns."""
        self.speed = options.speed
        self._made = time.monotonic_ns()
        try:
            self.exchange = _core.Exchange(
                pairs=options.pairs, rate=options.rate, seed=options.seed, start=self.begin,
                log=options.log is not None,                book=options.book.as_tuple, level3=options.level3.as_tuple,
                history=options.history, account=list(options.account),
            )  # fmt: skip
        except ValueError as error:
            sentence = f"{PLACE}: account: {error}"
            raise ConfigError(sentence) from None
        self.injected: deque[dict[str, Any]] = deque(maxlen=INJECTED)
        for text in options.faults:
            try:
                self.exchange.inject(text)
            except ValueError as error:
                sentence = f"{PLACE}: faults: {text}: {error}"
                raise ConfigError(sentence) from None
        self.key = options.key or Key.made()
        self._answers = Rest(self.key, lambda: self.exchange.now, self.exchange.allow, self.exchange)
        self.loopback_only = options.host in LOOPBACK
        """Whether it serves only this machine."""
        self._rest_public = Public(self.exchange, options.rest_rate)
        self._rest = RestServer(self._answers, self.settle, here=self.loopback_only, public=self._rest_public)
        self.clients: set[_Client] = set()
        self.last_request: float | None = None
        """When the last request came, by the monotonic clock."""
        self.address = self.level3_address = self.private_address = self.rest_address = ""
        self.finished = asyncio.Event()
        """Set when the exchange time of ``duration`` has passed, or when the exchange failed."""
        self.drained = asyncio.Event()
        self._log: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        """Listen, and let time pass."""
        options = self.options
        if options.log is not None:
            try:
                self._log = options.log.open("wb", buffering=0)
            except OSError as error:
                words = f"the file cannot be written ({error.strerror}); choose another one"
                sentence = f"{PLACE}: log: {options.log}: {words}"
                raise ConfigError(sentence) from None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Client(self), options.host, options.port
            )
        except (OSError, UnicodeError) as error:
            raise ConfigError(cannot_listen(PLACE, options.host, "port", options.port, error)) from None
        try:
            await self._rest.start(options.host, options.rest_port)
        except OSError as error:
            self._server.close()
            raise ConfigError(cannot_listen(PLACE, options.host, "rest_port", options.rest_port, error)) from None
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.address, self.level3_address, self.private_address = (f"ws://{host}:{port}{path}" for path in ENDPOINTS)
        self.rest_address = self._rest.address
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: clients get a close frame; those that do not answer are disconnected."""
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
        failure = None if self._clock.cancelled() else self._clock.exception()
        if self._log is not None:
            if failure is None:
                self._write_log(self._log)
            self._log.close()
        if failure is not None and error is None:
            raise failure

    def settle(self) -> None:
        """Note a request: for a while time does not run as fast as it can."""
        self.last_request = time.monotonic()

    def inject(self, text: str) -> None:
        """Inject a fault from now on.

        Parameters
        ----------
        text
            ``NAME[=HOW][,KEY=VALUE]…``, as ``drop=0.01,channel=book``; docs/exchange.md lists the faults.

        Raises
        ------
        ConfigError
            If the text cannot be read; the sentence says what is allowed.

        Examples
        --------
        >>> server.inject("cut=every:30s,after=5s")  # doctest: +SKIP

        """
        values.read(values.instance_of(str, FAULT), text, "krakpot.ExchangeServer.inject: text")
        try:
            self.exchange.inject(text)
        except ValueError as error:
            sentence = f"krakpot.ExchangeServer.inject: text: {error}"
            raise ConfigError(sentence) from None

    def add_key(self, *permissions: str, key: Key | None = None) -> Key:
        """Return one more key of the account, which may do only this.

        Parameters
        ----------
        permissions
            In Kraken's words; ``krakpot.exchange.account.PERMISSIONS`` has them all. Nonces of keys are independent.
        key
            The key; None: a new one.

        Raises
        ------
        ConfigError
            If a word is no permission, or the account has a key of this name.

        Examples
        --------
        >>> server.add_key("close-trades")  # doctest: +SKIP

        """
        read = values.words_of(tuple(PERMISSIONS))
        allowed = values.read(read, permissions, "krakpot.ExchangeServer.add_key: permissions")
        key = key or Key.made()
        if key.name in self._answers.access:
            raise ConfigError("krakpot.ExchangeServer.add_key: key: the account has this key already; give another one")
        self._answers.access[key.name] = Access(key, allowed)
        return key

    def summary(self) -> dict[str, Any]:
        """Return the exchange's account of what it sent: see ``_core.Exchange.summary``."""
        return dict(json.loads(self.exchange.summary()))

    async def _run(self) -> None:
        """Move the exchange's time, and say when that ends."""
        try:
            await self._pass_time()
        finally:
            self.finished.set()

    async def _pass_time(self) -> None:
        options = self.options
        end = None if options.duration is None else self.begin + round(options.duration * 1e9)
        paced = options.book != Pace() or options.level3 != Pace()
        # The books of all pairs take about a second to make: `now` would be late by as much.
        now, clock = self.begin, self._made if options.start is None else time.monotonic_ns()
        while end is None or now < end:
            if self.speed is None and (
                self.last_request is None or not any(c.number is not None for c in self.clients)
            ):
                # Without a client an hour would be over before the first one connects.
                await asyncio.sleep(SLICE)
                clock = time.monotonic_ns()
                continue
            settled = self.last_request is not None and time.monotonic() - self.last_request > SETTLE
            if self.speed is None and settled:
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

    async def _follow(self, due: int) -> int:
        """Advance to the time ``due``, block by block: an exchange that cannot keep up is late, nothing worse.

        In one piece it would make ever more at once, write nothing meanwhile, and disconnect clients that had read all
        they were given.
        """
        while True:
            now = self._advance(due, None, BLOCK)
            self._disconnect_slow()
            if now >= due:
                return now
            await asyncio.sleep(0)

    def _advance(self, to: int, end: int | None, limit: int) -> int:
        now = self.exchange.advance(to if end is None else min(to, end), limit, time.time_ns())
        for client in list(self.clients):
            client.flush()
        self.apply_faults()
        if self._log is not None:
            self._write_log(self._log)
        return now

    def _write_log(self, log: IO[bytes]) -> None:
        try:
            log.write(self.exchange.take_log())
        except OSError as error:
            words = f"writing failed ({error.strerror}); choose a disk with more room"
            sentence = f"{PLACE}: log: {self.options.log}: {words}"
            raise ConfigError(sentence) from None

    def apply_faults(self) -> None:
        """Remember the faults that happened since the last call; do what they do to connections."""
        if not (faults := self.exchange.take_faults()):
            return
        self.injected.extend(faults)
        clients = {client.number: client for client in self.clients if client.number is not None}
        for fault in faults:
            if (client := clients.get(fault["connection"])) is not None:
                client.apply_fault(fault["name"], fault["by"])

    def _disconnect_slow(self) -> None:
        for client in list(self.clients):
            if client.transport.get_write_buffer_size() + client.pipe.size > SLOW:
                sys.stderr.write(
                    f"disconnected a client with {SLOW >> 20} MiB waiting: it reads more slowly than the market moves\n"
                )
                client.transport.abort()


async def _serve(options: Options, on_ready: Callable[[ExchangeServer], None]) -> dict[str, Any]:
    server = ExchangeServer(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.finished.set)
    async with server:
        on_ready(server)
        await server.finished.wait()
    return server.summary()


def run(options: Options, on_ready: Callable[[ExchangeServer], None]) -> dict[str, Any]:
    """Serve an exchange until its duration has passed, Ctrl-C or SIGTERM.

    Parameters
    ----------
    options
        What exchange to serve, and how.
    on_ready
        Called once the exchange listens.

    Returns
    -------
    dict
        The account of what was sent: see ``ExchangeServer.summary``.

    Raises
    ------
    ConfigError
        If it cannot listen, or write the log.

    Examples
    --------
    >>> run(Options(duration=10.0), lambda server: print(server.address))  # doctest: +SKIP

    """
    return asyncio.run(_serve(options, on_ready))

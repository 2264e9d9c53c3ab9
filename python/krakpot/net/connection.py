"""One WebSocket connection: all frames of a socket read in one call, with one receive time.

It uses websockets' Sans-I/O client protocol inside an ``asyncio.Protocol``. That protocol does the handshake, control
frames, errors and all frames except one kind: whole text messages, which are nearly all there are. These are cut out of
the read here, and written here, for a fraction of the work. Continuation frames and liveness, which the protocol leaves
to its user, are handled here too.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from krakpot import _core
from krakpot.errors import FeedError, words_of
from krakpot.net.proxy import chosen, tunnel

FRAME_MAX = _core.LIMITS["FRAME_MAX"]
UNSENT_MAX = 1 << 20
"""Bytes that may wait to be sent; all requests at a start are about 100 kB.

A server that does not read, but sends pings that need a pong, would fill the memory.
"""
HANDSHAKE_TIMEOUT = 15.0
"""Seconds for TCP, TLS and the WebSocket handshake together."""
PING_AFTER = 5.0
"""Seconds of silence after which a ping is sent; Kraken sends a heartbeat every second."""
DEAD_AFTER = 15.0
"""Seconds of silence after which a connection is considered dead."""
CLOSE_TIMEOUT = 3.0
"""Seconds to wait for the other side's half of a close."""
RETRY_AFTER_MAX = 600.0
"""The longest time that ``Retry-After`` may ask for, seconds: Kraken bans an address for ten minutes."""
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Answers to a handshake, or of REST, that ask the client to slow down."""

CUT_OFF = (None, errno.ECONNRESET, errno.EPIPE)
"""Errors of a connection that was made and then cut off, by the system's number."""

LOGGER = logging.getLogger(__name__)
# Below this level websockets logs what is sent, and a subscription of level 3 carries a token.
LOGGER.setLevel(logging.INFO)

WHOLE_TEXT = 0x81
"""First byte of a frame that is a whole text message, without extension bits."""
MASK = 4
"""Random bytes with which a client's frame is masked."""
BLANK_LINE = b"\r\n\r\n"

FramesHandler = Callable[[list[bytes], int], None]
"""Takes the frames of one socket read and their receive time, ns."""


class ServerBusy(FeedError):
    """The server answered the handshake with HTTP 429 or 503."""

    def __init__(self, sentence: str, *, retry_after: float) -> None:
        """``retry_after``: how long to wait before the next attempt, as the server asks for, seconds; 0: not said."""
        super().__init__(sentence)
        self.retry_after = retry_after


class Connection(asyncio.Protocol):
    """A WebSocket client connection; see ``connect``."""

    def __init__(self, url: str, on_frames: FramesHandler, ping: Callable[[], bytes]) -> None:
        """Frames go to ``on_frames``; ``ping`` makes the text of an application ping."""
        self.url = url
        self.on_frames = on_frames
        self.ping = ping
        self.protocol = ClientProtocol(parse_uri(url), max_size=FRAME_MAX, logger=LOGGER)
        # Whatever level somebody gives the logger later.
        self.protocol.debug = False
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone, with the reason in words."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nobody waits for it when `connect` was cancelled before the transport was there.
        self.opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.too_big = False
        """Whether a message beyond the limit ended the connection."""
        self._transport: asyncio.Transport | None = None
        self._message: bytearray | None = None
        """Begin of the message in continuation frames that is under way. In one piece: many small ones, or empty ones
        without end, which no limit of bytes counts, would each take memory.
        """
        self._part = bytearray()
        """Begin of a frame whose end the next read brings."""
        self._wanted = 0
        """Size at which it is worth another look."""
        self._fed = False
        """Whether the protocol took anything of this read."""
        self._tail = b""
        """Last bytes of the handshake's answer, in which its end may begin."""
        self._mask = os.urandom(MASK)
        """Of the next frame: the system takes longer to give it than the frame takes to be made."""
        self._last_data = 0.0
        self._pinged = False
        self._reason = ""
        self._cut: asyncio.TimerHandle | None = None

    # The asyncio side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        # A stream's, whatever its class: uvloop's are none of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._last_data = time.monotonic()
        self.protocol.send_request(self.protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take one socket read."""
        ts_recv = time.time_ns()
        self._last_data = time.monotonic()
        self._pinged = False
        frames: list[bytes] = []
        if self.protocol.state is State.CONNECTING:
            data = self._handshake(data, frames)
        if self._part:
            self._part += data
            if len(self._part) < self._wanted:
                return
            data = bytes(self._part)
            self._part.clear()
        if self.protocol.state is State.OPEN:
            self._split(data, frames)
        else:
            self._feed(data, frames)
        if frames:
            self.on_frames(frames, ts_recv)
        if self._fed:
            # Of what did not go through the protocol it knows nothing, and says nothing.
            self._fed = False
            if self.protocol.parser_exc is not None:
                self._failed(self.protocol.parser_exc)
            self._flush()

    def _handshake(self, data: bytes, frames: list[bytes]) -> bytes:
        """Give the protocol the answer to the handshake and no byte of a frame; returns what follows."""
        seen = self._tail + data
        at = seen.find(BLANK_LINE)
        end = len(data) if at < 0 else at + len(BLANK_LINE) - len(self._tail)
        self._tail = seen[1 - len(BLANK_LINE) :]
        self._feed(data[:end], frames)
        return data[end:]

    def _split(self, data: bytes, frames: list[bytes]) -> None:  # noqa: C901  # the hottest loop: calls would cost half
        """Cut ``data`` into frames; the last one may wait for its end.

        What is not a whole text message goes to the protocol, one whole frame at a time, so that it never holds a part
        of one. What is broken or too big goes there at once: it knows the answer.
        """
        at, size = 0, len(data)
        while True:
            head = at + 2
            if head > size:
                break
            length = data[at + 1]
            if length == 126:  # noqa: PLR2004  # RFC 6455: two bytes of length follow
                head += 2
                if head > size:
                    break
                length = data[at + 2] << 8 | data[at + 3]
            elif length == 127:  # noqa: PLR2004  # RFC 6455: eight bytes of length follow
                head += 8
                if head > size:
                    break
                length = int.from_bytes(data[at + 2 : head], "big")
            elif length > 127:  # noqa: PLR2004  # masked, which a server must not do
                return self._feed(data[at:], frames)
            if length > FRAME_MAX:
                return self._feed(data[at:], frames)
            end = head + length
            if end > size:
                head = end
                break
            if data[at] == WHOLE_TEXT and self._message is None:
                frames.append(data[head:end])
            else:
                self._feed(data[at:end], frames)
                if self.protocol.state is not State.OPEN:
                    return self._feed(data[end:], frames)
            at = end
        self._part += data[at:]
        self._wanted = head - at
        return None

    def _feed(self, data: bytes, frames: list[bytes]) -> None:
        """Let the protocol take ``data``."""
        self._fed = True
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self._answered()
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                # The size of the whole message is the protocol's to watch: its ``max_size`` counts all pieces.
                self._message = bytearray() if self._message is None else self._message
                self._message += event.data
                if event.fin:
                    frames.append(bytes(self._message))
                    self._message = None

    def eof_received(self) -> bool:
        """Tell the protocol that no more data comes."""
        self.protocol.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the connection is gone, and why."""
        self.protocol.receive_eof()
        if self._cut is not None:
            self._cut.cancel()
        if not self._reason:
            close = self.protocol.close_rcvd
            if close is not None:
                self._reason = f"closed by the exchange with code {int(close.code)} {close.reason}".rstrip()
            elif exc is not None:
                self._reason = f"connection lost: {words_of(exc)}"
            else:
                self._reason = "connection lost without a close"
        if not self.opened.done():
            self.opened.set_exception(FeedError(f"{self.url}: {self._reason} before the handshake was done"))
        if not self.closed.done():
            self.closed.set_result(self._reason)

    # What the Sans-I/O layer leaves to its user.

    def _answered(self) -> None:
        error = self.protocol.handshake_exc
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(_refusal(self.url, error))

    def _failed(self, error: Exception) -> None:
        self._message = None
        if isinstance(error, PayloadTooBig):
            self.too_big = True
            self._reason = self._reason or f"a message of more than {FRAME_MAX} bytes"
        self._reason = self._reason or f"the exchange broke the WebSocket protocol: {words_of(error)}"

    def _flush(self) -> None:
        assert self._transport is not None, "connected"
        for data in self.protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                # By the Sans-I/O layer's convention an empty piece means half-close.
                self._transport.write_eof() if self._transport.can_write_eof() else self._transport.close()
        self._limit_unsent(self._transport)
        if self._cut is None and self.protocol.close_expected():
            self._cut = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._transport.abort)
            if self.protocol.handshake_exc is not None:
                # What is no HTTP at all comes without an event.
                self._answered()

    def _limit_unsent(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() > UNSENT_MAX:
            self._reason = self._reason or f"the exchange does not read: more than {UNSENT_MAX} bytes wait for it"
            transport.abort()

    # For the owner.

    def send(self, text: bytes) -> None:
        """Send one text message."""
        if self.protocol.state is State.OPEN:
            assert self._transport is not None, "connected"
            self._transport.write(_core.text_frame(text, self._mask))
            self._mask = os.urandom(MASK)
            self._limit_unsent(self._transport)

    def silence(self, now: float) -> float:
        """Seconds since data last came; ``now`` is monotonic time."""
        return now - self._last_data

    def check(self, now: float | None = None) -> None:
        """Ping after some silence, give the connection up after more; call it every second or so."""
        silence = self.silence(time.monotonic() if now is None else now)
        if self.closed.done() or self._transport is None:
            return
        if silence > DEAD_AFTER:
            self._reason = f"no data for {silence:.0f} s"
            self._transport.abort()
        elif silence > PING_AFTER and not self._pinged:
            self._pinged = True
            self.send(self.ping())

    def pause(self) -> None:
        """Read no more for now: the kernel's buffers fill up and the exchange waits."""
        assert self._transport is not None, "connected"
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        assert self._transport is not None, "connected"
        # Silence while nobody read is not the exchange's.
        self._last_data = time.monotonic()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut."""
        assert self._transport is not None, "connected"
        self._transport.abort()

    async def close(self, reason: str) -> None:
        """Close in order; after a few seconds without the other side's answer, cut."""
        self._reason = self._reason or reason
        if self._transport is None or self.closed.done():
            return
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        else:
            self._transport.abort()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self._transport.abort()
            await self.closed


async def connect(
    url: str, on_frames: FramesHandler, ping: Callable[[], bytes], *, tls: ssl.SSLContext | None = None
) -> Connection:
    """Open a connection; returns when the handshake is done.

    ``wss://`` is verified, certificate and host name, against the system's authorities or ``tls``; through a proxy
    where the environment names one. ``FeedError`` says why there is no connection.
    """
    parts = urlsplit(url)
    host = parts.hostname
    assert host is not None, "the configuration refuses an address without a host"
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    context = (tls or ssl.create_default_context()) if secure else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            way = await _way(url, host, port)
            _, connection = await loop.create_connection(
                lambda: Connection(url, on_frames, ping), ssl=context, server_hostname=host if secure else None, **way
            )
            try:
                await connection.opened
            except BaseException:
                # Refused, too late, or no longer wanted: nobody else would close it.
                connection.abort()
                raise
    except TimeoutError:
        sentence = f"{url}: no answer within {HANDSHAKE_TIMEOUT:.0f} s"
        raise FeedError(sentence) from None
    except ssl.SSLCertVerificationError as error:
        sentence = f"{url}: the certificate was not accepted: {error.verify_message}"
        raise FeedError(sentence) from None
    except OSError as error:
        if secure and (error.errno in CUT_OFF or isinstance(error, ssl.SSLError)):
            sentence = f"{url}: the TLS handshake failed: {_words(error)}; does the server speak TLS on port {port}?"
            raise FeedError(sentence) from None
        raise FeedError(f"{url}: cannot connect: {_words(error)}") from None
    return connection


async def _way(url: str, host: str, port: int) -> dict[str, Any]:
    """How to get there: directly, or by a socket through the proxy that the environment names."""
    try:
        proxy = chosen(host)
        if proxy is None:
            return {"host": host, "port": port}
        # In a thread, which ends by its own timeout should nobody wait for it any more.
        return {"sock": await asyncio.to_thread(tunnel, proxy, host, port, HANDSHAKE_TIMEOUT)}
    except FeedError as error:
        raise FeedError(f"{url}: {error}") from None


def _words(error: OSError) -> str:
    """The system's words, without the address that asyncio puts in their place."""
    if error.errno is None or isinstance(error, (socket.gaierror, ssl.SSLError)):
        return words_of(error)
    return os.strerror(error.errno)


def _refusal(url: str, error: Exception) -> FeedError:
    """The error of a handshake that failed."""
    sentence = f"{url}: the handshake failed: {words_of(error)}"
    if isinstance(error, InvalidStatus) and error.response.status_code in BUSY:
        wait = retry_after(error.response.headers.get("Retry-After"), time.time())
        return ServerBusy(f"{sentence}, to be tried again in {wait:.0f} s" if wait else sentence, retry_after=wait)
    return FeedError(sentence)


def retry_after(text: str | None, now: float) -> float:
    """Seconds that a ``Retry-After`` header asks for: a number of seconds, or a date of HTTP; 0 if it asks for none.

    ``now`` is the time since the epoch, seconds.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        # Not by way of `int`, which refuses thousands of digits.
        return min(float(text), RETRY_AFTER_MAX)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), RETRY_AFTER_MAX)
    except (ValueError, OverflowError):
        return 0.0

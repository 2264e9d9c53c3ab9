from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import logging
import re
import socket
import ssl
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

import frames
from krakpot._core import text_frame
from krakpot.errors import FeedError
from krakpot.net import connection as module
from krakpot.net.connection import FRAME_MAX, Connection, ServerBusy, connect, retry_after
from scripted import Exchange, until

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def wire(payload: bytes, opcode: int = TEXT, *, fin: bool = True, length: int | None = None) -> bytes:
    """A frame from a server; ``length`` to announce another one than the payload's."""
    size = len(payload) if length is None else length
    head = bytes([opcode | 0x80 * fin])
    if size < 126:
        return head + bytes([size]) + payload
    return head + (struct.pack("!BH", 126, size) if size < 1 << 16 else struct.pack("!BQ", 127, size)) + payload


def unmask(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of the short frames that a client wrote."""
    found = []
    while data:
        opcode, size, mask = data[0] & 15, data[1] & 127, data[2:6]
        assert data[1] & 128, "a client masks"
        assert size < 126, "a short frame"
        found.append((opcode, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[6 : 6 + size]))))
        data = data[6 + size :]
    return found


class _Transport(asyncio.Transport):
    """A socket that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.eof = False
        self.aborted = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class _Wired:
    """A connection without a socket, its handshake done; ``calls`` are those of its handler."""

    def __init__(self, *, handshake: bool = True) -> None:
        self.calls: list[tuple[list[bytes], int]] = []
        self.transport = _Transport()
        self.connection = Connection(
            "ws://localhost/v2", lambda *call: self.calls.append(call), lambda: b"are you there?"
        )
        self.connection.connection_made(self.transport)
        headers = dict(line.split(b": ", 1) for line in self.transport.written.split(b"\r\n")[1:] if line)
        accept = base64.b64encode(hashlib.sha1(headers[b"Sec-WebSocket-Key"] + MAGIC).digest())  # noqa: S324  # RFC 6455
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.answer = answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        self.transport.written = b""
        if handshake:
            self.feed(self.answer)
            assert self.connection.opened.done()

    def feed(self, *reads: bytes) -> None:
        for data in reads:
            self.connection.data_received(data)

    @property
    def frames(self) -> list[bytes]:
        return [frame for frames, _ in self.calls for frame in frames]

    @property
    def wrote(self) -> list[tuple[int, bytes]]:
        return unmask(self.transport.written)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop of its own."""

    async def limited() -> None:
        async with asyncio.timeout(120):
            await test()

    asyncio.run(limited())


def wired(test: Callable[[_Wired], None]) -> None:
    """Run a test of a connection without a socket; it needs a loop for its futures only."""

    async def on_loop() -> None:
        test(_Wired())

    asyncio.run(on_loop())


def never(*_: Any) -> Any:
    """For what must not be called."""
    raise AssertionError


# One read, one call.


def test_all_frames_of_a_read_arrive_in_one_call_with_one_time() -> None:
    """The session gets what one socket read brought, in order, with the time at which the read was delivered."""

    def test(peer: _Wired) -> None:
        before = time.time_ns()
        peer.feed(wire(b"one") + wire(b"two") + wire(b"x" * 70_000), wire(b"three"))
        assert [call[0] for call in peer.calls] == [[b"one", b"two", b"x" * 70_000], [b"three"]]
        assert before <= peer.calls[0][1] <= peer.calls[1][1] <= time.time_ns()

    wired(test)


def test_a_read_without_a_whole_frame_calls_nobody() -> None:
    """Half a frame waits for its other half, and its receive time is that of the end."""

    def test(peer: _Wired) -> None:
        whole = wire(b"a frame in two reads")
        peer.feed(whole[:7])
        assert peer.calls == []
        middle = time.time_ns()
        peer.feed(whole[7:])
        assert peer.frames == [b"a frame in two reads"]
        assert peer.calls[0][1] >= middle

    wired(test)


Message = tuple[list[bytes], bool]


@given(
    messages=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), min_size=1, max_size=8),
    pings=st.booleans(),
    cuts=st.lists(st.integers(1, 40), max_size=60),
)
def test_any_cut_of_the_stream_gives_the_same_frames(messages: list[list[bytes]], pings: bool, cuts: list[int]) -> None:
    """Messages in pieces, control frames between the pieces, reads of any size: the same messages in the same order,
    and every ping answered with its own payload.
    """

    def test(peer: _Wired) -> None:
        stream = b""
        for pieces in messages:
            for n, piece in enumerate(pieces):
                stream += wire(piece, TEXT if n == 0 else CONT, fin=n == len(pieces) - 1)
                stream += wire(b"%d" % n, PING) + wire(b"", PONG) if pings else b""
        at = 0
        for size in cuts:
            if at < len(stream):
                peer.feed(stream[at : at + size])
                at += size
        if at < len(stream):
            peer.feed(stream[at:])
        assert peer.frames == [b"".join(pieces) for pieces in messages]
        echoes = [(PONG, b"%d" % n) for pieces in messages for n in range(len(pieces))]
        assert peer.wrote == (echoes if pings else [])
        assert not peer.connection.closed.done()

    wired(test)


@given(cuts=st.lists(st.integers(1, 60), max_size=30))
def test_frames_may_follow_the_handshake_at_once(cuts: list[int]) -> None:
    """The answer to the handshake and the first frames in one stream, cut anywhere: every frame arrives."""

    async def on_loop() -> None:
        peer = _Wired(handshake=False)
        stream = peer.answer + wire(b"one") + wire(b"", PING) + wire(b"x" * 300) + wire(b"three")
        for size in cuts:
            if stream:
                peer.feed(stream[:size])
                stream = stream[size:]
        if stream:
            peer.feed(stream)
        assert peer.connection.opened.done()
        assert peer.frames == [b"one", b"x" * 300, b"three"]
        assert peer.wrote == [(PONG, b"")]

    asyncio.run(on_loop())


def test_a_large_frame_in_many_small_reads_is_put_together_once() -> None:
    """A frame of 16 MiB in reads of 1,400 bytes, as a network brings it: joined once at its end, not at every read."""

    def test(peer: _Wired) -> None:
        stream = wire(b"y" * FRAME_MAX) + wire(b"after")
        for at in range(0, len(stream), 1400):
            peer.feed(stream[at : at + 1400])
        assert list(map(len, peer.frames)) == [FRAME_MAX, 5]

    wired(test)


def test_bytes_that_are_no_utf8_are_handed_on() -> None:
    """The session counts such a frame as an error and quotes it; the connection does not end for it."""

    def test(peer: _Wired) -> None:
        bad = b'{"channel":"\xff\xfe"}'
        peer.feed(wire(bad) + wire(b"good"), wire(b"\x80", BINARY))
        assert peer.frames == [bad, b"good", b"\x80"]
        assert peer.wrote == []
        assert peer.connection.protocol.close_sent is None

    wired(test)


# Limits and broken protocol.


@pytest.mark.parametrize("pieces", [1, 2, 9])
def test_a_message_of_exactly_the_limit_is_taken(pieces: int) -> None:
    """The limit is the limit: a message of its size arrives whole, in one frame or in several."""

    def test(peer: _Wired) -> None:
        size = -(-FRAME_MAX // pieces)
        sizes = [min(size, FRAME_MAX - n * size) for n in range(pieces)]
        peer.feed(*(wire(b"x" * n, TEXT if i == 0 else CONT, fin=i == pieces - 1) for i, n in enumerate(sizes)))
        assert list(map(len, peer.frames)) == [FRAME_MAX]
        assert not peer.connection.too_big

    wired(test)


@pytest.mark.parametrize("pieces", [1, 2, 9])
def test_a_message_beyond_the_limit_ends_the_connection(pieces: int) -> None:
    """One byte more, over all pieces: close code 1009, what came before it in the same read is kept, what comes after
    is not read.
    """

    def test(peer: _Wired) -> None:
        size = FRAME_MAX // pieces + 1
        parts = [wire(b"x" * size, TEXT if n == 0 else CONT, fin=n == pieces - 1) for n in range(pieces)]
        peer.feed(wire(b"before") + parts[0], *parts[1:], wire(b"after"))
        assert peer.frames == [b"before"]
        assert peer.connection.too_big
        ((opcode, payload),) = peer.wrote
        assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", 1009))
        peer.connection.connection_lost(None)
        assert peer.connection.closed.result() == f"a message of more than {FRAME_MAX} bytes"

    wired(test)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"", b"xy"], ids=["empty", "two bytes"])
def test_small_pieces_take_no_more_than_their_bytes(piece: bytes) -> None:
    """A message in very many pieces, or in empty ones without end, which no limit of bytes ever counts."""
    pieces = 50_000

    def test(peer: _Wired) -> None:
        block = wire(piece, CONT, fin=False) * 500
        peer.feed(wire(b"<", fin=False), block)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            peer.feed(*[block] * (pieces // 500 - 1))
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # A bytearray has room for an eighth more; a place in a list alone is eight bytes.
        assert after - before < 2 * len(piece) * pieces + pieces
        peer.feed(wire(b">", CONT))
        assert peer.frames == [b"<" + piece * pieces + b">"]

    wired(test)


def test_an_announced_length_is_refused_before_it_is_read() -> None:
    """A header that promises exabytes costs no memory."""

    def test(peer: _Wired) -> None:
        peer.feed(wire(b"", length=1 << 62))
        assert peer.connection.too_big
        assert peer.wrote[0][1][:2] == struct.pack("!H", 1009)

    wired(test)


BROKEN = {
    "a continuation of nothing": wire(b"x", CONT),
    "a message within a message": wire(b"x", fin=False) + wire(b"y"),
    "an opcode that does not exist": wire(b"x", 3),
    "a reserved bit: compression that nobody offered": bytes([0x80 | 0x40 | TEXT, 1]) + b"x",
    "a masked frame from a server": bytes([0x80 | TEXT, 0x80 | 1]) + b"mask" + b"x",
    "a control frame in pieces": wire(b"x", PING, fin=False),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_protocol_ends_the_connection_with_1002(broken: bytes) -> None:
    """What is no WebSocket is told to the other side as such, and in words to the owner; it is not `too_big`."""

    def test(peer: _Wired) -> None:
        peer.feed(wire(b"before"), broken, wire(b"after"))
        assert peer.frames == [b"before"]
        assert peer.wrote[-1][1][:2] == struct.pack("!H", 1002)
        peer.connection.connection_lost(None)
        assert peer.connection.closed.result().startswith("the exchange broke the WebSocket protocol: ")
        assert not peer.connection.too_big

    wired(test)


def test_the_exchange_closes() -> None:
    """Its close is answered with its own code, and the owner learns code and reason."""

    def test(peer: _Wired) -> None:
        peer.feed(wire(b"last") + wire(struct.pack("!H", 1008) + b"too many requests", CLOSE) + wire(b"after"))
        assert peer.frames == [b"last"]
        assert peer.wrote == [(CLOSE, struct.pack("!H", 1008) + b"too many requests")]
        peer.connection.eof_received()
        assert peer.transport.eof
        peer.connection.connection_lost(None)
        assert peer.connection.closed.result() == "closed by the exchange with code 1008 too many requests"

    wired(test)


def test_a_connection_lost_without_a_word() -> None:
    """A reset is told with the system's word for it, an end of stream without a close as just that."""

    def test(peer: _Wired) -> None:
        peer.connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
        assert peer.connection.closed.result() == "connection lost: Connection reset by peer"
        other = _Wired()
        other.connection.eof_received()
        other.connection.connection_lost(None)
        assert other.connection.closed.result() == "connection lost without a close"

    wired(test)


# Liveness.


def test_silence_is_answered_with_a_ping_then_with_an_end() -> None:
    """After some silence one ping, after more the connection is given up; times are made up, nobody waits."""

    def test(peer: _Wired) -> None:
        now = time.monotonic()
        peer.connection.check(now + module.PING_AFTER - 1)
        assert peer.wrote == []
        for late in (0.5, 1.5, 2.5):
            peer.connection.check(now + module.PING_AFTER + late)
        assert peer.wrote == [(TEXT, b"are you there?")], "one ping, not one a second"
        assert not peer.transport.aborted
        peer.connection.check(now + module.DEAD_AFTER + 1)
        assert peer.transport.aborted
        peer.connection.connection_lost(None)
        assert peer.connection.closed.result() == "no data for 16 s"
        peer.connection.check(now + 100)

    wired(test)


def test_any_data_is_a_sign_of_life() -> None:
    """Data after a ping begins a new silence: with its own ping, and its own patience."""

    def test(peer: _Wired) -> None:
        peer.connection.check(time.monotonic() + module.PING_AFTER + 1)
        peer.feed(wire(b"", PONG))
        peer.connection.check(time.monotonic() + module.PING_AFTER + 1)
        assert [opcode for opcode, _ in peer.wrote] == [TEXT, TEXT]
        peer.feed(wire(b"x")[:1])
        peer.connection.check(time.monotonic() + module.DEAD_AFTER - 0.5)
        assert not peer.transport.aborted

    wired(test)


def test_silence_while_nobody_read_is_not_the_exchange_s() -> None:
    """After a pause for the disk the clock of silence begins anew."""

    def test(peer: _Wired) -> None:
        peer.connection._last_data -= 1000
        peer.connection.pause()
        assert peer.transport.paused
        peer.connection.resume()
        assert not peer.transport.paused
        peer.connection.check(time.monotonic() + 1)
        assert not peer.transport.aborted
        assert peer.wrote == []

    wired(test)


# Over sockets.


def test_a_request_an_answer_and_a_close_over_a_socket() -> None:
    """A whole life on loopback, against websockets' own server: its handshake sees no offer of compression, requests
    arrive as text, and a close is a close with code 1000.
    """

    async def test() -> None:
        async with Exchange() as exchange:
            got: list[bytes] = []
            one = await connect(exchange.url, lambda found, _: got.extend(found), never)
            await until(lambda: got)
            assert got[0] == frames.status()
            headers = exchange.attempts[0].headers
            assert "Sec-WebSocket-Extensions" not in headers
            assert headers["Host"] == f"127.0.0.1:{exchange.port}"
            one.send(b'{"method":"ping","req_id":7}')
            await until(lambda: len(got) > 1)
            assert got[1] == b'{"method":"pong","req_id":7}'
            await one.close("the test is over")
            assert one.closed.result() == "the test is over"
            await exchange.client.gone.wait()
            assert exchange.client.close_code == 1000
            one.send(b"too late")  # nothing happens

    run(test)


@pytest.mark.parametrize("pieces", [1, 5])
def test_too_much_is_told_to_the_exchange(pieces: int) -> None:
    """17 MiB at once or in five pieces: the server sees close code 1009."""

    async def test() -> None:
        async with Exchange() as exchange:
            one = await connect(exchange.url, lambda *_: None, never)
            await until(lambda: exchange.clients)
            text = b"x" * (17 << 20)
            if pieces == 1:
                exchange.client.send(text)
            else:
                exchange.client.send_pieces([text[n::pieces] for n in range(pieces)])
            await one.closed
            assert one.too_big
            await exchange.client.gone.wait()
            assert exchange.client.close_code == 1009

    run(test)


@pytest.mark.parametrize("code", [403, 429, 503])
def test_a_refused_handshake_is_one_sentence(code: int) -> None:
    """HTTP codes of a proxy in front of the exchange: an error with the code, and no socket left behind."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.handshakes = [code]
            with pytest.raises(FeedError, match=f"the handshake failed: .*HTTP {code}") as caught:
                await connect(exchange.url, never, never)
            assert "\n" not in str(caught.value)
            assert exchange.clients == []

    run(test)


@asynccontextmanager
async def answering(answer: bytes, *, close: bool) -> AsyncIterator[str]:
    """A server that answers one connection with some bytes; when left, the client must have closed its socket."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if close and writer.can_write_eof():
            writer.write_eof()
        # An abort may reach this side as an end or as a reset.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
        await gone.wait()


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.7\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"])
def test_no_websocket_is_one_sentence(answer: bytes, close: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else listens there: said in one sentence, whether it closes, or waits (then after the timeout)."""
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 0.5)

    async def test() -> None:
        words = {(b"", True): "lost without a close before the handshake", (b"", False): "no answer within"}
        async with answering(answer, close=close) as url:
            with pytest.raises(FeedError, match=words.get((answer, close), "the handshake failed: ")) as caught:
                await connect(url, never, never)
            assert "\n" not in str(caught.value)

    run(test)


def test_nobody_listens() -> None:
    """A closed port and an unknown host are told in the system's words."""

    async def test() -> None:
        async with Exchange() as exchange:
            url = exchange.url
        with pytest.raises(FeedError, match="cannot connect: Connection refused"):
            await connect(url, never, never)
        with pytest.raises(FeedError, match="cannot connect: "):
            await connect("wss://no-such-host.invalid/v2", never, never)

    run(test)


def test_a_connection_attempt_can_be_called_off() -> None:
    """Cancelled in the middle of the handshake: the socket is closed, nothing is left to complain."""

    async def test() -> None:
        async with answering(b"", close=False) as url:
            task = asyncio.create_task(connect(url, never, never))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test)


def test_an_attempt_that_is_called_off_at_any_moment_leaves_no_error_behind() -> None:
    """Cancelled after any number of steps of the loop: no error that nobody retrieves, and no socket."""
    unretrieved: list[dict[str, Any]] = []

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unretrieved.append(context))
        async with Exchange("BTC/USD") as exchange:
            for steps in range(12):
                attempt = asyncio.create_task(connect(exchange.url, lambda *_: None, never))
                for _ in range(steps):
                    await asyncio.sleep(0)
                attempt.cancel()
                (found,) = await asyncio.gather(attempt, return_exceptions=True)
                if isinstance(found, Connection):
                    found.abort()
                del attempt, found
                gc.collect()
            await until(lambda: all(client.gone.is_set() for client in exchange.clients))

    run(test)
    assert unretrieved == []


@given(
    st.binary(max_size=300)
    | st.sampled_from([125, 126, 65_535, 65_536, 100_000]).map(lambda length: bytes(i % 251 for i in range(length))),
    st.binary(min_size=4, max_size=4),
)
def test_frames_are_those_of_a_client(text: bytes, key: bytes) -> None:
    """A server reads them, whatever their length and their key, one behind the other."""
    reader = StreamReader()
    reader.feed_data(text_frame(text, key) + text_frame(b"the next one", key))
    for expected in (text, b"the next one"):
        with pytest.raises(StopIteration) as read:
            next(Frame.parse(reader.read_exact, mask=True))
        assert (read.value.value.opcode, read.value.value.data, read.value.value.fin) == (TEXT, expected, True)


def test_frames_are_masked() -> None:
    """Each with bytes that nobody can foresee (RFC 6455, 5.3); a key of another length is none."""
    keys = set()

    def test(one: _Wired) -> None:
        for _ in range(100):
            one.connection.send(b"text")
            keys.add(one.transport.written[2:6])
            one.transport.written = b""

    wired(test)
    assert len(keys) > 90
    for key in (b"", b"abc", b"abcde"):
        with pytest.raises(ValueError, match="four bytes"):
            text_frame(b"text", key)


def test_what_is_sent_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever turns on all logging of a program does not write tokens into a file."""
    caplog.set_level(logging.DEBUG)

    def test(one: _Wired) -> None:
        logging.getLogger("another").debug("logging is on")
        one.connection.send(b'{"token":"a secret"}')
        assert one.wrote == [(TEXT, b'{"token":"a secret"}')]

    wired(test)
    assert "logging is on" in caplog.text
    assert "secret" not in caplog.text


# TLS.


@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("127.0.0.1", True, None),
        ("127.0.0.1", False, "the certificate was not accepted: unable to get local issuer certificate"),
        ("ws.kraken.com", True, "the certificate was not accepted: .*127.0.0.1"),
    ],
    ids=["trusted", "of an unknown authority", "of another host"],
)
def test_tls_is_verified(name: str, trusted: bool, words: str | None) -> None:
    """Certificate and host name are checked, against the system's authorities or the context that is given."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server_side)
    client_side = ssl.create_default_context() if trusted else None
    if client_side is not None:
        authority.configure_trust(client_side)

    async def test() -> None:
        async with Exchange(tls=server_side) as exchange:
            assert exchange.url.startswith("wss://")
            if words is None:
                got: list[bytes] = []
                one = await connect(exchange.url, lambda found, _: got.extend(found), never, tls=client_side)
                await until(lambda: got)
                await one.close("done")
                assert got == [frames.status()]
            else:
                with pytest.raises(FeedError, match=words) as caught:
                    await connect(exchange.url, never, never, tls=client_side)
                assert "\n" not in str(caught.value)
                assert exchange.attempts == [], "nothing was said to a server that is not trusted"

    run(test)


@pytest.mark.parametrize("end", ["says something", "closes", "resets"])
def test_wss_to_a_port_without_tls(end: str) -> None:
    """Whatever the server does with the TLS handshake: one sentence that has the reason, and a hint."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if end == "says something":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif end == "resets":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def test() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(FeedError) as caught:
                await connect(f"wss://127.0.0.1:{port}/v2", never, never)
        found = re.fullmatch(
            rf"wss://127.0.0.1:{port}/v2: the TLS handshake failed: (.+); does the server speak TLS on port {port}\?",
            str(caught.value),
        )
        assert found, caught.value
        assert len(found[1]) > 5

    run(test)


# A server that is busy.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0), ("", 0), ("0", 0), ("7", 7), (" 30 ", 30), ("600", 600), ("86400", 600), ("9" * 5000, 600),
        ("-5", 0), ("1.5", 0), ("soon", 0), ("\u0663", 0),
        ("Sun, 02 Aug 2026 03:36:00 GMT", 10), ("Sun, 02 Aug 2026 03:35:00 GMT", 0),
        ("Mon, 03 Aug 2026 03:35:00 GMT", 600), ("Sun, 99 Aug 2026 03:36:00 GMT", 0),
    ],
)  # fmt: skip
def test_the_time_that_a_busy_server_asks_for(text: str | None, seconds: float) -> None:
    """``Retry-After`` as RFC 9110 has it, seconds or a date; at most ten minutes; nonsense asks for nothing."""
    assert retry_after(text, 1_785_641_750.0) == seconds


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_says_when_to_come_again(code: int) -> None:
    """The error carries the seconds, and says them."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.handshakes, exchange.retry_after = [code], "17"
            with pytest.raises(ServerBusy, match=f"HTTP {code}, to be tried again in 17 s") as caught:
                await connect(exchange.url, never, never)
            assert caught.value.retry_after == 17

    run(test)

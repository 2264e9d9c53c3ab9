"""A hostile peer: whatever it sends, memory stays bounded and the end is one clear sentence.

The client is a separate process, so that its memory can be measured: it connects as the recorder does, feeds a session,
takes the session's rows as often as the recorder would, and says how it ended and by how much its memory grew. The
server is written here, byte by byte. More of certificates and host names is in test_connection and test_rest, frames
that are damaged at random are in properties/test_robust.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from krakpot import _core

GROWTH_MAX = 100 << 20
"""Bytes by which the client's memory may grow, a few times the largest message (16 MiB); the attacks send more."""
MESSAGES = 40
"""Large messages of one attack, 160 MiB."""
SENT_MIN = 400 << 20
"""Bytes that an endless attack sends before it may stop."""
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
)

CLIENT = """
import asyncio, json, sys, time
from krakpot import _core
from krakpot.net import connection
from krakpot.errors import FeedError

connection.HANDSHAKE_TIMEOUT = 3.0
session = _core.Session("hostile", symbols=["*"])

def size():
    # The peak of this program alone: that of getrusage counts from the process that started it.
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(peak) << 10

async def main():
    one = None
    taken = time.monotonic()
    def receive(frames, ts):
        nonlocal taken
        session.receive(frames, ts)
        if time.monotonic() - taken > 0.2:
            taken = time.monotonic()
            session.drain()
            session.take_ledger()
    session.receive([b'{"channel":"heartbeat"}'] * 10, 1)
    before = size()
    try:
        one = await connection.connect(sys.argv[1], receive, session.ping)
        ended = await asyncio.wait_for(asyncio.shield(one.closed), float(sys.argv[2]))
    except FeedError as error:
        ended = str(error)
    except TimeoutError:
        ended = "still there"
        await one.close("enough")
    counts = session.counts()
    print(json.dumps({"ended": ended, "grown": size() - before, "frames": counts["frames"]}))

asyncio.run(main())
"""

Attack = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
"""What the server does after it has read the client's request; it gets the answer to the key."""


@asynccontextmanager
async def attacker(attack: Attack, *, reads: bool = True, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that attacks each client."""
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        serving.append(own)
        head = await reader.readuntil(b"\r\n\r\n")
        (key,) = (line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())  # noqa: S324  # RFC 6455

        async def drain() -> None:
            with suppress(ConnectionError):
                while reads and await reader.read(1 << 16):
                    pass

        task = asyncio.create_task(drain())
        # The client closes when a limit is exceeded.
        with suppress(ConnectionError):
            await attack(writer, ACCEPT % accept)
            await task
        task.cancel()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'ws' if tls is None else 'wss'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
        # The client is gone, which each of them sees.
        await asyncio.wait_for(asyncio.gather(*serving), 60)


def suffer(
    attack: Attack, *, seconds: float = 60.0, reads: bool = True, tls: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Run a client against the attack; returns how it ended."""

    async def meet() -> dict[str, Any]:
        async with attacker(attack, reads=reads, tls=tls) as url:
            arguments = ["-c", CLIENT, url, str(seconds)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(240):
                out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            found = json.loads(out)
            assert isinstance(found, dict)
            return found

    found = asyncio.run(meet())
    assert found["grown"] < GROWTH_MAX, found
    assert "\n" not in found["ended"]
    return found


def frame(payload: bytes, first: int = 0x81, length: int | None = None) -> bytes:
    """A frame of a server: its first byte, and perhaps a false length."""
    size = len(payload) if length is None else length
    if size < 126:
        return bytes([first, size]) + payload
    return (
        struct.pack("!BBH", first, 126, size) if size < 1 << 16 else struct.pack("!BBQ", first, 127, size)
    ) + payload


def endless(begin: bytes, piece: bytes, *, handshake: bool = True) -> Attack:
    """Send a piece again and again until the client goes or has had ``SENT_MIN`` bytes."""
    block = piece * max(1, (1 << 16) // len(piece))

    async def attack(writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(answer + b"\r\n" + begin if handshake else answer + begin)
        for _ in range(SENT_MIN // len(block)):
            writer.write(block)
            await writer.drain()

    return attack


def once(data: bytes, *, headers: bytes = b"") -> Attack:
    """Send some bytes after the handshake and wait."""

    async def attack(writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(answer + headers + b"\r\n" + data)
        await writer.drain()

    return attack


# Before the handshake.


def test_a_certificate_that_nobody_trusts() -> None:
    """A server with a false certificate gets no request, and the sentence says why."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    found = suffer(once(b""), tls=context)
    assert "the certificate was not accepted: unable to get local issuer certificate" in found["ended"]


# The handshake.


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"", b"X-Header: value\r\n"), (b"X-Header: ", b"v"), (b"X: y\r\n", b" folded\r\n")],
    ids=["headers", "one header", "a folded header"],
)
def test_headers_without_end(begin: bytes, piece: bytes) -> None:
    """Too many headers, or too long ones: refused after some kilobytes."""
    found = suffer(endless(begin, piece, handshake=False))
    assert "the handshake failed: " in found["ended"]


@pytest.mark.slow
def test_headers_that_drip() -> None:
    """Single bytes do not keep a connection waiting: the handshake has one time limit."""

    async def attack(writer: asyncio.StreamWriter, answer: bytes) -> None:
        for byte in answer * 10:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)

    assert suffer(attack)["ended"].endswith("no answer within 3 s")


@pytest.mark.parametrize("length", [b"", b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_refusal_in_words_without_end(length: bytes) -> None:
    """An endless page of HTML instead of a handshake: only as much is read as a refusal has."""

    async def attack(writer: asyncio.StreamWriter, _answer: bytes) -> None:
        await endless(b"", b"f" * 1000, handshake=False)(writer, b"HTTP/1.1 503 No\r\n" + length + b"\r\n")

    found = suffer(attack)
    assert "the handshake failed: " in found["ended"]
    assert found["grown"] < 32 << 20


@pytest.mark.parametrize("extension", [b"permessage-deflate", b"permessage-deflate; server_no_context_takeover", b"x"])
def test_an_extension_that_nobody_asked_for(extension: bytes) -> None:
    """Compression is never offered, so that no message is larger than what was sent: an answer with it is refused."""
    found = suffer(once(b"", headers=b"Sec-WebSocket-Extensions: " + extension + b"\r\n"))
    assert "the handshake failed: " in found["ended"]
    assert "extension" in found["ended"]


# Frames.


@pytest.mark.slow
@pytest.mark.parametrize("first", [0xC1, 0xA1, 0x91, 0xC2, 0x83, 0x8B])
def test_a_compressed_or_reserved_frame(first: int) -> None:
    """A frame with extension bits or a reserved opcode ends the connection; nothing of it is decompressed or read."""
    found = suffer(once(frame(b"\x00" * 100, first)))
    assert found["ended"].startswith("the exchange broke the WebSocket protocol: ")
    assert found["frames"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("length", [_core.LIMITS["FRAME_MAX"] + 1, 1 << 40, (1 << 63) - 1])
def test_a_length_that_no_memory_has(length: int) -> None:
    """Refused by its header, before a byte of the payload has come."""
    found = suffer(once(frame(b"", length=length)))
    assert found["ended"] == f"a message of more than {_core.LIMITS['FRAME_MAX']} bytes"
    assert found["grown"] < 32 << 20


@pytest.mark.slow
def test_a_message_in_pieces_without_end() -> None:
    """Continuation frames that never finish count together: the limit is that of a message."""
    found = suffer(endless(frame(b"x", 0x01), frame(b"y" * 60_000, 0x00)))
    assert found["ended"] == f"a message of more than {_core.LIMITS['FRAME_MAX']} bytes"
    assert found["grown"] > _core.LIMITS["FRAME_MAX"] // 2, "the measure is awake: so much was held"


def test_pings_without_end_from_one_who_does_not_read() -> None:
    """Each needs a pong, and nobody reads the pongs: the connection ends before they fill the memory."""
    found = suffer(endless(b"", frame(b"p" * 125, 0x89)), reads=False)
    assert found["ended"].startswith("the exchange does not read: more than 1048576 bytes wait for it")
    assert found["grown"] < 64 << 20


# Messages, as the session handles them. The connection stays, because only one message may be broken.


def nested(text: bytes, depth: int) -> bytes:
    """Brackets within brackets."""
    return text * depth


def messages() -> Iterator[Any]:
    """Messages that are larger, deeper or stranger than those of the exchange."""
    huge = b"A" * (4 << 20)
    yield pytest.param(nested(b"[", 4 << 20), id="brackets")
    yield pytest.param(nested(b'{"a":', 800_000), id="braces")
    yield pytest.param(b'{"channel":"book","data":' + nested(b"[", 4 << 20), id="brackets in a book")
    yield pytest.param(b'{"channel":"' + huge + b'","data":[]}', id="a channel's name")
    yield pytest.param(b'{"channel":"book","type":"snapshot","data":[{"symbol":"' + huge + b'"}]}', id="a symbol")
    yield pytest.param(b'{"channel":"trade","type":"update","data":[{"price":' + b"9" * (4 << 20) + b"}]}", id="digits")
    yield pytest.param(b'{"channel":"book","data":[{"price":1e' + b"9" * 1000 + b"}]}", id="an exponent")
    yield pytest.param(b'{"error":"' + huge + b'","method":"subscribe","success":false,"req_id":1}', id="a refusal")
    yield pytest.param(b"\xff" * (4 << 20), id="no text")


@pytest.mark.slow
@pytest.mark.parametrize("message", list(messages()))
def test_messages_without_measure(message: bytes) -> None:
    """Sent again and again: each is counted as a message, and nothing of it is kept."""
    piece = frame(message)

    async def attack(writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(answer + b"\r\n")
        for _ in range(MESSAGES):
            writer.write(piece)
            await writer.drain()
        # And a good one: the session still works.
        writer.write(frame(b'{"channel":"heartbeat"}') + frame(struct.pack("!H", 1000), 0x88))
        await writer.drain()

    found = suffer(attack)
    assert found["ended"] == "closed by the exchange with code 1000"
    assert found["frames"] == 10 + MESSAGES + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [b"{}", b'{"channel":"nothing"}', b'{"channel":"book","type":"update","data":[{"symbol":"NO/NE"}]}'],
    ids=["empty", "an unknown channel", "an unknown book"],
)
def test_small_messages_without_end(message: bytes) -> None:
    """As fast as they can be sent, for some seconds: what the session keeps is what the recorder takes from it."""
    found = suffer(endless(b"", frame(message)), seconds=4)
    assert found["frames"] > 10_000

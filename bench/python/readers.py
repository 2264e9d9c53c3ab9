"""Three ways from a socket to Python on the same frames; each returns its CPU seconds and what it counted."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import websockets
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from krakpot import _core
from krakpot.net.connection import FRAME_MAX, connect

TAKE = 2048
"""Frames after which the rows are taken: a recorder of the full feed takes about so many at a time."""


class Bare(asyncio.Protocol):
    """websockets' Sans-I/O layer; the bytes of the frames are kept, and nothing else is done."""

    def __init__(self, url: str) -> None:
        """Connect to ``url``."""
        self.protocol = ClientProtocol(parse_uri(url), max_size=FRAME_MAX)
        self.frames: list[bytes] = []
        self.closed = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport), "a stream connection"
        self.transport = transport
        self.protocol.send_request(self.protocol.connect())
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take one socket read."""
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if type(event) is Frame and event.opcode is Opcode.TEXT:
                self.frames.append(bytes(event.data))
        self.flush()

    def flush(self) -> None:
        """Write what the protocol has to send."""
        assert self.transport is not None, "connected"
        for data in self.protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Done."""
        self.closed.set_result(exc)


async def _bare(port: int) -> int:
    loop = asyncio.get_running_loop()
    url = f"ws://127.0.0.1:{port}/v2"
    _, protocol = await loop.create_connection(lambda: Bare(url), "127.0.0.1", port)
    await protocol.closed
    return len(protocol.frames)


async def _asyncio(port: int) -> int:
    frames = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/v2", max_size=FRAME_MAX, compression=None) as socket:
        async for message in socket:
            frames.append(message)  # noqa: PERF401  # the loop is what is measured
    return len(frames)


async def _krakpot(port: int, depth: int) -> dict[str, Any]:
    session = _core.Session("bench", passive=True, depth=depth)
    waiting = 0

    def take(frames: list[bytes], ts_recv: int) -> None:
        nonlocal waiting
        session.receive(frames, ts_recv)
        waiting += len(frames)
        if waiting >= TAKE:
            waiting = 0
            session.drain()

    connection = await connect(f"ws://127.0.0.1:{port}/v2", take, session.ping)
    await connection.closed
    return session.counts()


def timed(reader: str, port: int, depth: int) -> tuple[float, Any]:
    """CPU seconds of this process for one whole stream, and what the reader counted."""
    gc.collect()
    begun = time.process_time()
    match reader:
        case "bare":
            counted: Any = asyncio.run(_bare(port))
        case "asyncio":
            counted = asyncio.run(_asyncio(port))
        case _:
            counted = asyncio.run(_krakpot(port, depth))
    return time.process_time() - begun, counted

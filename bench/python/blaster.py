"""A WebSocket server that sends ready-made frames as fast as they are read, to one connection after the other.

It uses raw sockets after the handshake. ``measure.py`` starts it as a separate process, so that its work does not count
as the reader's.
"""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

BLOCK = 16 * 1024
"""Bytes written at once: some 80 frames, as a busy exchange's packets arrive together."""
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = b"\x88\x02\x03\xe8"
"""A close frame with code 1000."""


def framed(payload: bytes) -> bytes:
    """One text message as a frame of a server: complete, unmasked."""
    if len(payload) < 126:
        return struct.pack(">BB", 0x81, len(payload)) + payload
    if len(payload) < 1 << 16:
        return struct.pack(">BBH", 0x81, 126, len(payload)) + payload
    return struct.pack(">BBQ", 0x81, 127, len(payload)) + payload


def answered(connection: socket.socket) -> bool:
    """Answer the handshake; returns whether there was one."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(4096)
        if not data:
            return False
        request += data
    headers = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in headers.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return True


def serve(connection: socket.socket, wire: memoryview, patience: float) -> None:
    """Answer the handshake, wait at most ``patience`` seconds for a request, as some send, then send all and close."""
    if not answered(connection):
        return
    if patience and select.select([connection], [], [], patience)[0]:
        connection.recv(4096)
    for at in range(0, len(wire), BLOCK):
        connection.sendall(wire[at : at + BLOCK])
    connection.sendall(CLOSE)
    # The other side's half of the close; by the protocol the server then ends the connection.
    connection.recv(4096)


def main() -> None:
    """Serve the file of frames named on the command line, with the patience named after it; the port is printed."""
    patience = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    wire = memoryview(b"".join(framed(line) for line in Path(sys.argv[1]).read_bytes().splitlines()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            # Some clients close as soon as they have everything.
            with connection, suppress(ConnectionError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(connection, wire, patience)


if __name__ == "__main__":
    main()

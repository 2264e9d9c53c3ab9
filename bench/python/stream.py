"""The built-in exchange on a bare socket, each message sent at its time and stamped with the moment of its sending.

Started by ``live.py`` as a process of its own. The server of ``krakpot exchange`` looks at its clock every 5 ms, and
messages leave in bunches; here the clock is looked at without a pause. The timestamps in the frames, by which no
checksum goes, are written over with the time of the write, so that the reader knows how old each message is.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

from blaster import answered
from krakpot import _core

STAMP = re.compile(rb'"timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"')


def now() -> bytes:
    """The time as Kraken writes it."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z".encode()


def requests(buffer: bytearray) -> list[bytes]:
    """Cut the whole frames of a client out of ``buffer``: text, masked, short of 64 KiB."""
    found = []
    while len(buffer) >= 6:
        length, head = buffer[1] & 127, 2
        if length == 126:
            length, head = int.from_bytes(buffer[2:4], "big"), 4
        end = head + 4 + length
        if len(buffer) < end:
            break
        mask = buffer[head : head + 4]
        if buffer[0] == 0x88:
            raise ConnectionResetError
        if buffer[0] == 0x81:
            found.append(bytes(byte ^ mask[i % 4] for i, byte in enumerate(buffer[head + 4 : end])))
        del buffer[:end]
    return found


def serve(connection: socket.socket, pairs: int, rate: float) -> None:
    """Be an exchange to one client until it goes."""
    begun = time.time_ns()
    exchange = _core.Exchange(pairs=pairs, rate=rate, start=begun)
    number = exchange.connect()
    buffer = bytearray()
    connection.settimeout(0)
    while True:
        try:
            data = connection.recv(1 << 16)
            if not data:
                return
            buffer += data
            for text in requests(buffer):
                exchange.receive(number, text)
        except BlockingIOError:
            pass
        exchange.advance(time.time_ns())
        block = exchange.take(number)
        if block:
            stamp = b'"timestamp":"%b"' % now()
            view = memoryview(STAMP.sub(stamp, block))
            while view:
                try:
                    view = view[connection.send(view) :]
                except BlockingIOError:
                    time.sleep(0.0001)


def main() -> None:
    """Serve clients one after the other; ``stream.py PAIRS RATE``; the port is printed."""
    pairs, rate = int(sys.argv[1]), float(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if answered(connection):
                    with suppress(ConnectionResetError, BrokenPipeError):
                        serve(connection, pairs, rate)


if __name__ == "__main__":
    main()

"""The built-in exchange on bare sockets, each message sent at its time.

``live.py`` starts it as a separate process. The server of ``krakpot exchange`` reads its clock every 5 ms, so messages
leave in groups. Here the clock is read without a pause, or every ``NAP`` seconds if other processes need the core. A
message has the time at which it was due. So its age at the reader includes all waiting, also in this process.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress

from blaster import answered
from krakpot import _core


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


class Client:
    """One connection, after its handshake."""

    def __init__(self, exchange: _core.Exchange, connection: socket.socket) -> None:
        """Begin."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0)
        self._exchange = exchange
        self._connection = connection
        self._number = exchange.connect()
        self._read = bytearray()
        self._unsent = memoryview(b"")

    def turn(self) -> None:
        """Take requests, send what waits; ``OSError`` when the client is gone."""
        with suppress(BlockingIOError):
            data = self._connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            self._read += data
            for text in requests(self._read):
                self._exchange.receive(self._number, text)
        # A slow client does not delay the others.
        with suppress(BlockingIOError):
            if not self._unsent:
                self._unsent = memoryview(self._exchange.take(self._number))
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]

    def close(self) -> None:
        """Close it."""
        self._exchange.disconnect(self._number)
        self._connection.close()


def serve(server: socket.socket, exchange: _core.Exchange, nap: float) -> None:
    """Serve every client that connects."""
    clients: list[Client] = []
    looked = 0
    while True:
        exchange.advance(now := time.time_ns())
        if now - looked > 10**6:
            looked = now
            with suppress(BlockingIOError):
                connection, _ = server.accept()
                connection.settimeout(None)
                if answered(connection):
                    clients.append(Client(exchange, connection))
                else:
                    connection.close()
        for client in clients[:]:
            try:
                client.turn()
            except OSError:
                client.close()
                clients.remove(client)
        if nap:
            time.sleep(nap)


def main() -> None:
    """Serve; ``stream.py PAIRS RATE NAP``; the port is printed."""
    pairs, rate, nap = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    exchange = _core.Exchange(pairs=pairs, rate=rate, start=time.time_ns())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        print(server.getsockname()[1], flush=True)
        serve(server, exchange, nap)


if __name__ == "__main__":
    main()

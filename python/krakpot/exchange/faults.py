"""What faults do to a socket of the built-in exchange. Rust decides which and when: ``_core.Exchange.inject``."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

TRICKLE = 10 * 10**9
"""A socket trickles for this long, ns of the exchange's time."""
HALF_OPEN_MAX = 120.0
"""Seconds after which a half-open connection is aborted, so that a server does not collect them."""


class FaultyPipe:
    """Bytes on their way to a socket that a fault holds up. Pure: times are the exchange's, ns."""

    def __init__(self) -> None:
        """Nothing is wrong."""
        self.silent = False
        """Whether nothing leaves any more, and no end is sent."""
        self.waiting: deque[bytes] = deque()
        self.size = 0
        """Bytes that wait."""
        self._stalled_until = 0
        self._rate = 0
        """Bytes per second at most, until ``_trickles_until``."""
        self._trickles_until = 0
        self._used_until = 0
        """Up to this time the rate was used."""

    def stall(self, now: int, length: int) -> None:
        """Let nothing out for this long."""
        self._stalled_until = max(self._stalled_until, now + length)

    def trickle(self, now: int, rate: int) -> None:
        """Let at most ``rate`` bytes per second out for a while."""
        self._rate, self._used_until, self._trickles_until = rate, now, now + TRICKLE

    @property
    def busy(self) -> bool:
        """Whether new data must wait, behind other data or for a time."""
        return bool(self.silent or self.waiting or self._stalled_until or self._trickles_until)

    def push(self, data: bytes) -> None:
        """Add data behind what waits."""
        if not self.silent:
            self.waiting.append(data)
            self.size += len(data)

    def pull(self, now: int) -> bytes:
        """Take the data that may leave now."""
        if self._stalled_until and now >= self._stalled_until:
            self._stalled_until = 0
        if self._trickles_until and now >= self._trickles_until:
            self._trickles_until = 0
        if self.silent or self._stalled_until:
            return b""
        if not self._trickles_until:
            data = b"".join(self.waiting)
            self.waiting.clear()
            self.size = 0
            return data
        room = (now - self._used_until) * self._rate // 10**9
        # Room that was not used is not saved for later.
        self._used_until = now if room > self.size else self._used_until + room * 10**9 // self._rate
        data = b""
        while self.waiting and len(data) < room:
            piece = self.waiting.popleft()
            if (left := room - len(data)) < len(piece):
                self.waiting.appendleft(piece[left:])
                piece = piece[:left]
            data += piece
        self.size -= len(data)
        return data

    def silence(self) -> None:
        """Let nothing out any more, and drop what waits."""
        self.silent = True
        self.waiting.clear()
        self.size = 0


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP reset: the client loses what it has not read yet."""
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

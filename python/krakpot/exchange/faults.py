"""What faults do to a socket of the built-in exchange. Which and when is decided in Rust: ``_core.Exchange.fault``."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

TRICKLE = 10 * 10**9
"""For so long a socket trickles, ns of the exchange's time."""
FORGET = 120.0
"""Seconds after which a half-open connection is let go of, so that a server does not collect them."""


class Line:
    """What waits to leave a socket that is out of order. Pure: times are the exchange's, ns."""

    def __init__(self) -> None:
        """All is in order."""
        self.dead = False
        """Whether nothing leaves any more, without an end."""
        self.waiting: deque[bytes] = deque()
        self.size = 0
        """Bytes that wait."""
        self._stalled = 0
        """Until when nothing leaves."""
        self._rate = 0
        """Bytes a second at most, until ``_trickles``."""
        self._trickles = 0
        self._since = 0
        """Time up to which the rate was used."""

    def stall(self, now: int, length: int) -> None:
        """Let nothing out for so long."""
        self._stalled = max(self._stalled, now + length)

    def trickle(self, now: int, rate: int) -> None:
        """Let no more than so many bytes a second out for a while."""
        self._rate, self._since, self._trickles = rate, now, now + TRICKLE

    @property
    def busy(self) -> bool:
        """Whether what is to leave must wait behind something, or for something."""
        return bool(self.dead or self.waiting or self._stalled or self._trickles)

    def push(self, data: bytes) -> None:
        """Put something behind what waits."""
        if not self.dead:
            self.waiting.append(data)
            self.size += len(data)

    def pull(self, now: int) -> bytes:
        """What may leave now."""
        if self._stalled and now >= self._stalled:
            self._stalled = 0
        if self._trickles and now >= self._trickles:
            self._trickles = 0
        if self.dead or self._stalled:
            return b""
        if not self._trickles:
            data = b"".join(self.waiting)
            self.waiting.clear()
            self.size = 0
            return data
        room = (now - self._since) * self._rate // 10**9
        # What was not used is not saved up.
        self._since = now if room > self.size else self._since + room * 10**9 // self._rate
        data = b""
        while self.waiting and len(data) < room:
            piece = self.waiting.popleft()
            if (left := room - len(data)) < len(piece):
                self.waiting.appendleft(piece[left:])
                piece = piece[:left]
            data += piece
        self.size -= len(data)
        return data

    def die(self) -> None:
        """Let nothing out any more."""
        self.dead = True
        self.waiting.clear()
        self.size = 0


def reset(transport: asyncio.Transport) -> None:
    """Cut by a TCP reset: what the other side has not read yet is lost to it."""
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

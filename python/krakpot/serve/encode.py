"""The binary messages of the stream, as docs/reference/stream.md lays them out.

Levels come as the core gives them, as the floats nearest to the decimals, and are packed side by side. The core's Arrow
columns are no faster way: they hold decimals, and Arrow's cast of those is often one step beside the nearest float.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag

NAN = math.nan


class Kind(IntEnum):
    """Byte 0 of a message."""

    BOOK = 1
    TRADES = 2
    ORDERS = 3
    OVERVIEW = 4
    GAP = 5
    CLOCK = 6


class Flag(IntFlag):
    """Byte 1 of books, trades and orders."""

    NONE = 0
    IN_SYNC = 1
    NOT_CONTINUED = 2


class ClockFlag(IntFlag):
    """Byte 1 of a clock."""

    NONE = 0
    PAUSED = 1
    AT_END = 2
    LIVE = 4
    CONNECTED = 8


UNCHECKED, RIGHT, WRONG = 0, 1, 2
"""Byte 2 of books and orders: what became of the checksum of the last message."""
CHANNELS = {"book": 0, "trade": 1, "level3": 2, "ticker": 3}
"""Numbers of the channels that a gap may be of."""
UNREAD = 2
"""In an overview: nobody reads the book of this pair."""

BOOK = struct.Struct("<BBBxIqqIIII")
TRADES = struct.Struct("<BBxxIII")
OVERVIEW = struct.Struct("<BxxxIq")
GAP = struct.Struct("<BBHIqq")
CLOCK = struct.Struct("<BB6xqqd")
TRADE = struct.Struct("<qqqddBB")
"""A trade as it is kept: exchange's time, receipt, id, price, quantity, side, type."""
REASON_MAX = 1000
"""Bytes of the reason of a gap."""
U32_MAX = (1 << 32) - 1

Levels = Sequence[tuple[float, float]]
Orders = Sequence[tuple[float, float, int, int]]
"""Price, quantity, time and number of each order."""


class Head:
    """What books and orders begin with."""

    __slots__ = ("checked", "checksum", "flags", "messages", "number", "ts_event", "ts_recv")

    def __init__(
        self, number: int, flags: Flag, checked: int, ts_recv: int, ts_event: int, checksum: int, messages: int
    ) -> None:
        """``number``: of the pair; ``messages``: since the state before."""
        self.number = number
        self.flags = flags
        self.checked = checked
        self.ts_recv = ts_recv
        self.ts_event = ts_event
        self.checksum = checksum
        self.messages = min(messages, U32_MAX)

    def pack(self, kind: Kind, bids: int, asks: int) -> bytes:
        """Pack it, with the numbers of bids and asks."""
        return BOOK.pack(
            kind, self.flags, self.checked, self.number, self.ts_recv, self.ts_event, self.checksum, self.messages,
            bids, asks,
        )  # fmt: skip


def book(head: Head, bids: Levels, asks: Levels) -> bytes:
    """Kind 1."""
    found = head.pack(Kind.BOOK, len(bids), len(asks))
    for side in (bids, asks):
        if side:
            prices, qtys = zip(*side, strict=True)
            found += struct.pack(f"<{2 * len(side)}d", *prices, *qtys)
    return found


def trades(number: int, flags: Flag, kept: Sequence[bytes], left_out: int) -> bytes:
    """Kind 2; ``kept``: trades as ``TRADE`` packs them."""
    n = len(kept)
    head = TRADES.pack(Kind.TRADES, flags, number, n, min(left_out, U32_MAX))
    if not n:
        return head
    events, receipts, ids, prices, qtys, sides, types = zip(*map(TRADE.unpack, kept), strict=True)
    return head + struct.pack(f"<{3 * n}q{2 * n}d{2 * n}B", *events, *receipts, *ids, *prices, *qtys, *sides, *types)


def orders(head: Head, bids: Orders, asks: Orders) -> bytes:
    """Kind 3; the orders of a side by price, then by their place in the queue."""
    found = head.pack(Kind.ORDERS, len(bids), len(asks))
    for side in (bids, asks):
        if side:
            n = len(side)
            prices, qtys, times, numbers = zip(*side, strict=True)
            found += struct.pack(f"<{2 * n}d{n}q{n}Q", *prices, *qtys, *times, *numbers)
    return found


class Line:
    """What an overview says of one pair."""

    __slots__ = ("ask", "bid", "imbalance", "in_sync", "last", "number", "right", "volume", "wrong")

    def __init__(self, number: int) -> None:
        """Nothing is known yet."""
        self.number = number
        self.bid = self.ask = self.last = self.volume = self.imbalance = NAN
        self.right = self.wrong = 0
        self.in_sync = UNREAD


def overview(ts: int, lines: Sequence[Line]) -> bytes:
    """Kind 4."""
    n = len(lines)
    columns: Iterable[float | int] = (
        *(line.bid for line in lines),
        *(line.ask for line in lines),
        *(line.last for line in lines),
        *(line.volume for line in lines),
        *(line.imbalance for line in lines),
        *(line.number for line in lines),
        *(min(line.right, U32_MAX) for line in lines),
        *(min(line.wrong, U32_MAX) for line in lines),
        *(line.in_sync for line in lines),
    )
    return OVERVIEW.pack(Kind.OVERVIEW, n, ts) + struct.pack(f"<{5 * n}d{3 * n}I{n}B", *columns)


def gap(channel: str, number: int, since: int, until: int, reason: str) -> bytes:
    """Kind 5; ``until`` 0: it lasts."""
    text = reason.encode()[:REASON_MAX].decode(errors="ignore").encode()
    return GAP.pack(Kind.GAP, CHANNELS[channel], len(text), number, since, until) + text


def clock(flags: ClockFlag, shown: int, now: int, speed: float) -> bytes:
    """Kind 6."""
    return CLOCK.pack(Kind.CLOCK, flags, shown, now, speed)

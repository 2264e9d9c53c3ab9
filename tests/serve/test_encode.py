"""The binary messages, read back by the offsets of the documentation alone."""

from __future__ import annotations

import math
import random
import struct

import pytest

from krakpot.serve import encode
from krakpot.serve.encode import ClockFlag, Flag, Head, Line
from streams import Book, Clock, Gap, Orders, Overview, Trades, decode


def head(dice: random.Random) -> Head:
    """Any head."""
    flags = Flag(dice.randrange(4))
    return Head(dice.getrandbits(32), flags, dice.randrange(3), -1, 2**63 - 1, dice.getrandbits(32), 2**40)


@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), (0, 3), (1000, 7)])
def test_books_and_orders(sizes: tuple[int, int]) -> None:
    """All fields come back, sides may be empty or unequal, and no number is cut without being said to be the most."""
    dice = random.Random(str(sizes))
    first = head(dice)
    bids, asks = ([(dice.random(), dice.random() * 1e9) for _ in range(size)] for size in sizes)
    found = decode(encode.book(first, bids, asks))
    assert isinstance(found, Book)
    assert (found.number, found.checked, found.ts_recv, found.ts_event) == (first.number, first.checked, -1, 2**63 - 1)
    assert (found.in_sync, found.not_continued) == (bool(first.flags & 1), bool(first.flags & 2))
    assert (found.checksum, found.messages) == (first.checksum, 2**32 - 1)
    assert (found.bids, found.asks) == (bids, asks)
    queues = [[(*level, dice.getrandbits(62), dice.getrandbits(64)) for level in side] for side in (bids, asks)]
    data = encode.orders(first, *queues)
    back = decode(data)
    assert isinstance(back, Orders)
    assert [back.bids, back.asks] == queues
    assert len(data) % 8 == 0


@pytest.mark.parametrize("n", [0, 1, 5])
def test_trades(n: int) -> None:
    """Column by column, with what was left out."""
    rows = [(10 + i, 20 + i, 2**53 + i, 0.1 * i, 1e-8 * i, i % 2, 1 - i % 2) for i in range(n)]
    found = decode(encode.trades(7, Flag.NOT_CONTINUED, [encode.TRADE.pack(*row) for row in rows], 3))
    assert found == Trades(not_continued=True, number=7, left_out=3, rows=rows)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_overviews(n: int) -> None:
    """What is not known is NaN; a pair whose book nobody reads is marked."""
    lines = [Line(5 + i) for i in range(n)]
    for line in lines[1:]:
        line.bid, line.ask, line.last, line.volume, line.imbalance, line.in_sync = 1.5, 2.5, 2.0, 1e9, -1.0, 1
        line.right, line.wrong = 2**33, 4
    found = decode(encode.overview(99, lines))
    assert isinstance(found, Overview)
    assert (found.ts, len(found.rows)) == (99, n)
    for number, row in found.rows.items():
        if number == 5:
            assert all(math.isnan(row[name]) for name in ("bid", "ask", "last", "volume", "imbalance"))
            assert (row["right"], row["wrong"], row["in_sync"]) == (0, 0, 2)
        else:
            assert list(row.values()) == [1.5, 2.5, 2.0, 1e9, -1.0, number, 2**32 - 1, 4, 1]


def test_gaps_and_clocks() -> None:
    """A reason that is too long is cut between two characters."""
    assert decode(encode.gap("level3", 3, 1, 0, "Grund: ü")) == Gap(2, 3, 1, 0, "Grund: ü")
    long = decode(encode.gap("book", 0, 1, 2, "x" + "ü" * 1000))
    assert isinstance(long, Gap)
    assert long.reason == "x" + "ü" * 499
    flags = ClockFlag.PAUSED | ClockFlag.CONNECTED
    assert decode(encode.clock(flags, 5, 6, 0.5)) == Clock(True, False, False, True, 5, 6, 0.5)  # its four bits


def test_each_number_lies_on_its_size() -> None:
    """Programs may read columns in place: f64 and i64 at multiples of 8, u32 of 4."""
    data = encode.overview(1, [Line(i) for i in range(3)])
    assert struct.unpack_from("<3I", data, 16 + 5 * 8 * 3) == (0, 1, 2)
    for fields in (encode.BOOK, encode.TRADES, encode.OVERVIEW, encode.GAP, encode.CLOCK):
        assert fields.size % 8 == 0

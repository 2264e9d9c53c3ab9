"""Pieces without a gap, from recordings that were cut."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import frames
import lakes
from krakpot.exports.pieces import Gap, Piece, Recorded, rule_at
from krakpot.lake.arbitration import Span
from krakpot.lake.lake import Lake

SECOND = frames.SECOND
START = frames.START


def recorded(path: Path) -> Recorded:
    """What the ledger of a lake says."""
    return Recorded(Lake(path).look(["ledger"]))


def plain(pieces: list[Piece]) -> list[tuple[int, int, str, bool]]:
    """Times from the beginning of the recording, the reason, and whether the piece has its own snapshot."""
    return [(piece.ts_from - START, piece.ts_to - START, piece.reason, piece.opened) for piece in pieces]


def cut(path: Path) -> None:
    """Two sessions of ten seconds each, twenty seconds apart; in the first one ETH/USD has a wrong checksum."""
    book = frames.Book("BTC/USD")
    other = frames.Book("ETH/USD")
    levels = [("100.0", "1"), ("99.0", "1")], [("101.0", "1"), ("102.0", "1")]
    for number, begin in enumerate((START, START + 30 * SECOND)):
        timed = [(begin, frames.instrument(*map(frames.pair, ("BTC/USD", "ETH/USD"))))]
        timed += [(begin, frames.ack("book", one.symbol, depth=10)) for one in (book, other)]
        timed += [(begin, one.snapshot(*levels, ts=begin)) for one in (book, other)]
        for second in range(1, 10):
            ts = begin + second * SECOND
            wrong = 1 if number == 0 and second == 5 else None
            timed.append((ts, other.update([("bid", "99.0", f"{second}")], ts=ts, crc=wrong)))
            timed.append((ts, book.update([("bid", "99.0", f"{second}")], ts=ts)))
        lakes.make(path, timed, session=lakes.session_name(begin))


def test_a_piece_ends_with_its_session_and_with_a_wrong_checksum(tmp_path: Path) -> None:
    """The message with the wrong checksum is in no piece, the one before it is; the time between is a gap."""
    cut(tmp_path / "lake")
    found = recorded(tmp_path / "lake")
    whole = found.pieces("book", "BTC/USD")
    assert plain(whole) == [(0, 9 * SECOND + 1, "stopped", True), (30 * SECOND, 39 * SECOND + 1, "stopped", True)]
    wrong, _ = found.pieces("book", "ETH/USD")
    rows = Lake(tmp_path / "lake").book("ETH/USD").filter(session=wrong.session).collect()
    bad = rows.filter(pl.col("ts_recv").dt.epoch("ns") == START + 5 * SECOND)["message"][0]
    assert (wrong.until, wrong.reason) == (bad, "mismatch")
    spans = [(piece.ts_from, piece.ts_to, piece.reason) for piece in whole]
    assert found.gaps("book", "BTC/USD", spans) == [
        Gap("BTC/USD", "book", START + 9 * SECOND + 1, START + 30 * SECOND, "stopped")
    ]


def test_a_range_and_other_spans_cut_pieces(tmp_path: Path) -> None:
    """A piece that begins later has no snapshot of its own; within spans of another channel only."""
    cut(tmp_path / "lake")
    found = recorded(tmp_path / "lake")
    low, high = START + 3 * SECOND, START + 35 * SECOND
    assert plain(found.pieces("book", "BTC/USD", low, high)) == [
        (3 * SECOND, 9 * SECOND + 1, "stopped", False), (30 * SECOND, 35 * SECOND, "range", True),
    ]  # fmt: skip
    within = [Span(START + 1 * SECOND, START + 2 * SECOND, ""), Span(START + 4 * SECOND, START + 99 * SECOND, "")]
    assert plain(found.pieces("book", "BTC/USD", within=within))[:2] == [
        (1 * SECOND, 2 * SECOND, "range", False), (4 * SECOND, 9 * SECOND + 1, "stopped", False),
    ]  # fmt: skip
    assert found.pieces("book", "BTC/USD", START + 15 * SECOND, START + 20 * SECOND) == []


def test_of_two_sessions_one_is_taken_at_a_time(tmp_path: Path) -> None:
    """The one that began first, until its end; then the other one, from there on."""
    for number, begin in enumerate((START, START + 5 * SECOND)):
        timed = list(frames.market(["BTC/USD"], begin=begin, step=SECOND, count=10, seed=number))
        lakes.make(tmp_path / "lake", timed, session=lakes.session_name(begin))
    found = recorded(tmp_path / "lake").pieces("book", "BTC/USD")
    assert [piece.opened for piece in found] == [True, False]
    assert found[0].ts_to == found[1].ts_from
    assert found[0].session < found[1].session


@pytest.mark.parametrize(("message", "rule"), [(0, "a"), (4, "a"), (5, "b"), (8, "b"), (9, "c"), (100, "c")])
def test_the_rule_in_force(message: int, rule: str) -> None:
    """The last one up to the message."""
    assert rule_at([(5, "b"), (9, "c")], message, "a") == rule

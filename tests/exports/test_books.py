"""What leaves the window: a reader that only applies rows, and never truncates, has the book of Kraken's client."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frames
import lakes
from krakpot.exports.books import Levels, floats, level_rows, numbers, opening, text
from krakpot.exports.pieces import Recorded
from krakpot.lake.lake import Lake

SECOND = frames.SECOND
START = frames.START
BOOK = ("book", "checkpoints", "ledger")


def lake_of(folder: Path, timed: list[lakes.Timed], **options: Any) -> Lake:
    """A lake of these frames."""
    lakes.make(folder, timed, precision={"BTC/USD": (1, 8)}, **options)
    return Lake(folder)


def rows_of(lake: Lake, start: int | None = None, end: int | None = None) -> pl.DataFrame:
    """Rows of the pieces of BTC/USD."""
    view = lake.look(BOOK)
    pieces = Recorded(view).pieces("book", "BTC/USD", start, end)
    return pl.concat([rows for piece in pieces for rows in level_rows(view, piece)])


def applied(rows: pl.DataFrame) -> dict[int, dict[str, dict[Decimal, Decimal]]]:
    """After each message the levels of a reader that sets and removes what the rows say."""
    sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "ask": {}}
    found = {}
    for message, what, side, price, qty in rows.select("message", "what", "side", "price", "qty").iter_rows():
        if qty:
            sides[side][price] = qty
        else:
            assert sides[side].pop(price, None) is not None or what == "update", "what leaves was there"
        found[message] = {name: dict(levels) for name, levels in sides.items()}
    return found


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 3)  # each makes a lake
@given(st.data())
def test_a_reader_without_a_window_has_the_same_book(data: st.DataObject) -> None:
    """After every message, for any updates, from the first message on and from any later time on."""
    depth = 10
    model = frames.Book("BTC/USD", depth=depth)
    levels = [(f"{100 - n}.0", "1") for n in range(data.draw(st.integers(1, depth)))]
    asks = [(f"{101 + n}.0", "1") for n in range(data.draw(st.integers(1, depth)))]
    timed = [(START, frames.ack("book", "BTC/USD", depth=depth)), (START, model.snapshot(levels, asks, ts=START))]
    wanted = [{side: dict(held) for side, held in model.sides.items()}]
    entry = st.tuples(
        st.sampled_from(["bid", "ask"]), st.integers(0, 20), st.sampled_from(["0", "0.5", "1", "2", "3.00000001"])
    )
    count = data.draw(st.integers(1, 8))
    for number in range(1, count + 1):
        ts = START + number * SECOND
        drawn = data.draw(st.lists(entry, min_size=1, max_size=8))
        entries = [(side, f"{100 - n if side == 'bid' else 101 + n}.0", qty) for side, n, qty in drawn]
        timed.append((ts, model.update(entries, ts=ts)))
        wanted.append({side: dict(held) for side, held in model.sides.items()})
    with tempfile.TemporaryDirectory() as name:
        lake = lake_of(Path(name) / "lake", timed)
        rows = rows_of(lake)
        assert list(applied(rows).values()) == wanted
        since = data.draw(st.integers(1, count))
        later = applied(rows_of(lake, START + since * SECOND - 1))
        assert list(later.values()) == wanted[since:]


def test_a_snapshot_in_the_middle_is_the_book_before_the_first_message(tmp_path: Path) -> None:
    """It has the time that was asked for; the exchange's time is not later than that of the message behind it."""
    model = frames.Book("BTC/USD")
    timed = [
        (START, frames.ack("book", "BTC/USD", depth=10)),
        (START, model.snapshot([("99.0", "1")], [("101.0", "2")])),
    ]
    timed += [
        (START + n * SECOND + 7, model.update([("bid", "99.0", str(n))], ts=START + n * SECOND)) for n in range(1, 5)
    ]
    lake = lake_of(tmp_path / "lake", timed)
    rows = rows_of(lake, START + 3 * SECOND)
    facts = rows.select("what", "side", "qty", "ts_recv", "ts_event").rows()
    assert facts == [
        ("snapshot", "bid", Decimal(2), START + 3 * SECOND, START + 3 * SECOND),
        ("snapshot", "ask", Decimal(2), START + 3 * SECOND, START + 3 * SECOND),
        ("update", "bid", Decimal(3), START + 3 * SECOND + 7, START + 3 * SECOND),
        ("update", "bid", Decimal(4), START + 4 * SECOND + 7, START + 4 * SECOND),
    ]


def test_another_session_continues_with_its_own_book(tmp_path: Path) -> None:
    """Two sessions of one feed, of which the first one ends with message 6: the second piece begins with a snapshot of
    its own book as it was then, and ends with the same book as the feed. It received message 6 later than the first.
    """
    model = frames.Book("BTC/USD")
    opened = model.snapshot([("99.0", "1")], [("101.0", "1")])
    updates = [
        (START + n * SECOND, model.update([("bid", f"{80 + n}.0", str(n + 1))], ts=START + n * SECOND))
        for n in range(1, 15)
    ]
    ack = frames.ack("book", "BTC/USD", depth=10)
    for number, count in enumerate((6, 14)):
        timed = [
            (START + number, ack),
            (START + number, opened),
            *((ts + number, text) for ts, text in updates[:count]),
        ]
        lake = lake_of(tmp_path / "lake", timed, session=lakes.session_name(START + number * SECOND))
    view = lake.look(BOOK)
    first, second = Recorded(view).pieces("book", "BTC/USD")
    assert (first.opened, second.opened) == (True, False)
    rows = pl.concat(list(level_rows(view, second)))
    assert rows["ts_recv"].min() == first.ts_to
    states = list(applied(rows).values())
    assert len(states) == len(range(6, 15))
    assert states[-1] == model.sides


def test_reading_begins_at_the_last_checkpoint(tmp_path: Path) -> None:
    """Two hours of a recording: what is before the hour's checkpoint is not read, and the book is the same."""
    begin = START // (3600 * SECOND) * 3600 * SECOND
    timed = list(frames.market(["BTC/USD"], begin=begin, step=60 * SECOND, count=120))
    lake = lake_of(tmp_path / "lake", timed)
    view = lake.look(BOOK)
    at = begin + 3700 * SECOND
    (piece,) = Recorded(view).pieces("book", "BTC/USD", at)
    found = opening(view, "book", piece)
    assert found.checkpoint is not None
    assert found.message > piece.first
    whole, part = applied(rows_of(lake)), applied(rows_of(lake, at))
    assert len(part) > 30
    assert part == {message: whole[message] for message in part}


def test_numbers_keep_every_digit() -> None:
    """Whole steps to decimals and back; floats are the nearest; text has no zeros at the end."""
    steps = [0, 1, 10**10, 633_963_000_000_000, 12_345_678_901_234_567_890_123]
    frame = pl.DataFrame({"n": numbers(steps)})
    assert frame["n"].to_physical().to_list() == steps
    assert frame.select(text("n")).to_series().to_list() == [
        "0",
        "0.0000000001",
        "1",
        "63396.3",
        "1234567890123.4567890123",
    ]
    assert frame.select(floats("n")).to_series().to_list() == [float(Decimal(n).scaleb(-10)) for n in steps]


def test_levels_are_best_first() -> None:
    """Bids fall, asks rise."""
    book = Levels()
    rows = pl.DataFrame(
        {
            "side": ["bid", "bid", "ask", "ask"],
            "price": numbers([1 * 10**10, 2 * 10**10, 4 * 10**10, 3 * 10**10]),
            "qty": numbers([5, 6, 7, 8]),
        }
    )
    book.load(rows)
    assert book.top() == ([(2 * 10**10, 6), (1 * 10**10, 5)], [(3 * 10**10, 8), (4 * 10**10, 7)])
    assert book.top(1) == ([(2 * 10**10, 6)], [(3 * 10**10, 8)])

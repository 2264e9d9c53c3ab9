"""Books at many times, against a list of the states after every message: any order of times, any cut of the rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
from hypothesis import event, given
from hypothesis import strategies as st

import frames
from krakpot import _core

SYMBOL = "BTC/USD"
KINDS = ["update", "update", "update", "snapshot", "wrong"]


class Step(NamedTuple):
    """A message to send."""

    kind: str
    elapsed: int
    """Since the message before, in units of time; clocks step back."""
    late: int
    """From the exchange's time to that of receipt."""
    entries: list[tuple[str, int, int]]
    """Side, price, quantity."""


ENTRIES = st.lists(st.tuples(st.sampled_from(["bid", "ask"]), st.integers(0, 14), st.integers(0, 3)), max_size=5)
STEPS = st.lists(st.builds(Step, st.sampled_from(KINDS), st.integers(-3, 6), st.integers(0, 4), ENTRIES), max_size=30)
UNIT = 1000
"""The exchange tells microseconds."""

State = tuple[Any, ...] | None


def levels(book: frames.Book, depth: int) -> State:
    """What a row says of a book."""
    sides = [book.levels(side)[:depth] for side in ("bid", "ask")]
    return (book.checksum, *([(float(price), float(qty)) for price, qty in side] for side in sides))


def told(row: dict[str, Any], depth: int) -> State:
    """The same of a row."""
    if row["reason"] is not None:
        assert all(value is None for name, value in row.items() if name not in ("ts", "reason"))
        return None
    sides = []
    for side in ("bid", "ask"):
        numbers = [(row[f"{side}_price_{n}"], row[f"{side}_qty_{n}"]) for n in range(depth)]
        held = [(float(price), float(qty)) for price, qty in numbers if price is not None]
        assert numbers[len(held) :] == [(None, None)] * (depth - len(held)), "levels stand one after the other"
        sides.append(held)
    return (row["checksum"], *sides)


@given(
    STEPS, st.lists(st.integers(-20, 120), min_size=1, max_size=40), st.integers(1, 12),
    st.booleans(), st.booleans(), st.lists(st.integers(0, 30), max_size=4),
)  # fmt: skip
def test_books_are_those_after_the_last_message(
    steps: list[Step], asked: list[int], depth: int, by_event: bool, floats: bool, cuts: list[int]
) -> None:
    """At every time from the first that can be told: the state after the last message, in order, not later than it."""
    book = frames.Book(SYMBOL, depth=10)
    session = _core.Session("s", passive=True, precision={SYMBOL: (1, 8)}, depth=10)
    now, live = frames.START, False
    states: list[tuple[int, State]] = []
    for step in steps:
        now = max(now + step.elapsed * UNIT, frames.START)
        sent = now - step.late * UNIT
        entries = [
            (side, f"{100 - n if side == 'bid' else 101 + n}.0", f"{qty}.50000000" if qty else "0.00000000")
            for side, n, qty in step.entries
        ]
        if step.kind == "snapshot":
            text, live = book.snapshot(ts=sent), True
        else:
            text = book.update(entries, ts=sent)
            if step.kind == "wrong":
                text = frames.book("update", SYMBOL, entries, book.checksum ^ 1, ts=sent)
                live = False
        session.receive([text], now)
        states.append((sent if by_event else now, levels(book, depth) if live else None))
    rows = session.drain()
    if not states or "book" not in rows:
        return
    frame = pl.DataFrame(pa.record_batch(rows["book"]))
    times = sorted(frames.START + time * UNIT for time in asked)
    core = _core.BookSampler(
        "s", channel="book", times=pl.DataFrame({"ts": pl.Series(times).cast(pl.Datetime("ns", "UTC"))}),
        depth=depth, clock="event" if by_event else "recv", floats=floats,
    )  # fmt: skip
    # Whole messages, cut anywhere between two.
    bounds = sorted({0, *(cut for cut in cuts if cut < len(steps)), len(steps)})
    for begin, end in pairwise(bounds):
        core.messages(frame.filter(pl.col("message").is_between(begin, end, closed="left")))
    first = core.first
    assert first is not None
    found = pl.DataFrame(pa.record_batch(core.frame(len(times))))
    assert found["ts"].to_physical().to_list() == times[first:]
    assert first == sum(time < min(at for at, _ in states) for time in times)
    for time, row in zip(times[first:], found.iter_rows(named=True), strict=True):
        state = [state for at, state in states if at <= time][-1]
        assert told(row, depth) == state, time
    event(f"books: {found['reason'].is_null().any()}, none: {found['reason'].is_not_null().any()}")

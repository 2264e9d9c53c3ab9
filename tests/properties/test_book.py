"""The book against a dict: whatever is sent, level for level, digit for digit, checksum for checksum."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pyarrow as pa
from hypothesis import event, given, target
from hypothesis import strategies as st

import frames
from krakpot import _core

BASES = (1, 10**6, 2**63 - 30, 10**20)
"""Lowest price in ticks: small, usual, at the edge of 64 bits, beyond it."""


@st.composite
def lives(draw: st.DrawFn) -> tuple[frames.Book, list[list[frames.Entry]]]:
    """A book's terms, and messages: the first is its snapshot. Prices repeat; levels leave, return and overflow the
    depth.
    """
    depth = draw(st.sampled_from(frames.DEPTHS))
    price_precision, qty_precision = draw(st.integers(0, 10)), draw(st.integers(0, 10))
    # Decimal(38, 10) has 28 digits before the point.
    base = draw(st.sampled_from(BASES))
    width = draw(st.integers(2, 40)) if depth == 10 else depth + depth // 5
    book = frames.Book("BTC/USD", depth=depth, price_precision=price_precision, qty_precision=qty_precision)

    def text(ticks: int, precision: int) -> str:
        return frames.padded(Decimal(ticks).scaleb(-precision, frames.EXACT), precision)

    def price(side: str, n: int) -> str:
        return text(base + (n if side == "bid" else width + n), price_precision)

    qty = st.integers(1, 10**12) | st.integers(1, 9)
    full = draw(st.booleans())
    first = [
        (side, price(side, n), text(n + 1, qty_precision))
        for side in ("bid", "ask")
        for n in range(min(width, depth))
        if full
    ]
    entry = st.tuples(st.sampled_from(["bid", "ask"]), st.integers(0, width - 1), st.just(0) | qty)
    messages = draw(st.lists(st.lists(entry, max_size=12), min_size=1, max_size=25))
    return book, [first] + [
        [(side, price(side, n), text(q, qty_precision)) for side, n, q in message] for message in messages
    ]


@given(lives())
def test_a_book_is_the_dict_with_truncation(life: tuple[frames.Book, list[list[frames.Entry]]]) -> None:
    """After every message both sides, the checksum and the verdict are those of the dict; the rows are the entries
    sent.
    """
    model, messages = life
    terms = {model.symbol: (model.price_precision, model.qty_precision)}
    session = _core.Session("s", passive=True, depth=model.depth, precision=terms)
    snapshot = [(price, qty) for _, price, qty in messages[0]]
    bids = [level for level, (side, *_) in zip(snapshot, messages[0], strict=True) if side == "bid"]
    session.receive([model.snapshot(bids, snapshot[len(bids) :])], frames.START)
    sent = [(0, n, *entry) for n, entry in enumerate(messages[0])]
    repeats = 0
    for number, entries in enumerate(messages[1:], 1):
        ordered = sorted(entries, key=lambda entry: entry[0] == "ask")
        repeats += len(entries) - len({entry[:2] for entry in entries})
        session.receive([model.update(entries)], frames.START + number)
        sent += [(number, n, *entry) for n, entry in enumerate(ordered)] or [(number, 0, None, None, None)]  # type: ignore[list-item]  # a message without entries is one row
        book = session.book(model.symbol)
        assert book is not None, f"message {number} ended the book: {session.take_ledger()}"
        assert (book.bids(), book.asks()) == (model.levels("bid"), model.levels("ask")), (
            f"after message {number}: {ordered}"
        )
        assert book.checksum == model.checksum
        assert book.bids(3) == model.levels("bid")[:3]
    counts = session.counts()
    assert counts["checksums"]["book"] == {"ok": len(messages), "bad": 0}
    assert (counts["unchecked"], counts["errors"], counts["gaps"]) == (0, 0, 0)
    rows = pl.DataFrame(pa.record_batch(session.drain()["book"]))
    found = rows.select("message", "entry", "side", "price", "qty").rows()
    want = [
        (n, e, side, None if price is None else Decimal(price), None if qty is None else Decimal(qty))
        for n, e, side, price, qty in (sent if messages[0] else [(0, 0, None, None, None), *sent])
    ]
    assert found == want
    event(f"depth {model.depth}")
    target(float(repeats), label="prices repeated within a message")


@given(lives(), st.integers(1, 2**32 - 1))
def test_a_wrong_checksum_ends_the_book_and_a_snapshot_revives_it(
    life: tuple[frames.Book, list[list[frames.Entry]]], wrong: int
) -> None:
    """The first wrong message is bad, what follows is unchecked, and the next snapshot begins again, all of it in the
    ledger.
    """
    model, messages = life
    terms = {model.symbol: (model.price_precision, model.qty_precision)}
    session = _core.Session("s", passive=True, depth=model.depth, precision=terms)
    session.receive([model.snapshot([], [])], frames.START)
    model.apply(messages[0])
    session.receive([frames.book("update", model.symbol, messages[0], model.checksum ^ wrong)], frames.START)
    assert session.book(model.symbol) is None
    for entries in messages[1:]:
        session.receive([model.update(entries)], frames.START)
        assert session.book(model.symbol) is None
    session.receive([model.snapshot()], frames.START)
    book = session.book(model.symbol)
    assert book is not None
    assert (book.bids(), book.asks()) == (model.levels("bid"), model.levels("ask"))
    counts = session.counts()
    assert counts["checksums"]["book"] == {"ok": 2, "bad": 1}
    assert counts["unchecked"] == len(messages) - 1
    assert [row["kind"] for row in session.take_ledger()] == ["snapshot", "mismatch", "snapshot"]


@given(st.integers(1, 30), st.integers(-3, 3))
def test_a_crossed_book_is_bad_though_its_checksum_is_right(bid: int, ahead: int) -> None:
    """The best bid at or above the best ask ends the book; the checksum cannot see this alone."""
    model = frames.Book("BTC/USD", price_precision=0, qty_precision=0)
    session = _core.Session("s", passive=True, precision={"BTC/USD": (0, 0)})
    session.receive([model.snapshot([(str(bid + 10), "1")], [(str(bid + 10 + ahead), "1")])], frames.START)
    assert model.crossed == (ahead <= 0)
    assert (session.book("BTC/USD") is None) == model.crossed
    assert session.counts()["checksums"]["book"] == {"ok": int(not model.crossed), "bad": int(model.crossed)}
    assert ("crossed" in [row["kind"] for row in session.take_ledger()]) == model.crossed

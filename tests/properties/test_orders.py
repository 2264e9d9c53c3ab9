"""The level-3 book against a list that is sorted anew: whatever is sent, order for order, sum for sum, checksum for
checksum.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import frames
from frames import Orders
from krakpot import _core
from krakpot.errors import LimitExceeded

IDS = [f"OAAAAA-{'AB'[n % 2] * 5}-{n:0>6}" for n in range(30)] + ["", "oaaaaa-aaaaa-000001", "O1", "Ω" * 32, "a b"]
"""Most of Kraken's shape, the others exact as well."""
BASES = (1, 10**6, 2**63 - 9, 10**20)
"""Lowest price in ticks: small, usual, at the edge of 64 bits, beyond it."""
RULES = ("keep_place", "take_timestamp")


def compare(book: _core.Orders, model: Orders) -> None:
    """Everything that can be asked for."""
    counts = {"orders": len(model.held), "bids": len(model.prices("bid")), "asks": len(model.prices("ask"))}
    assert book.counts() == {**counts, "unknown_entries": model.absent, "replaced": model.replaced}
    assert (book.bids(), book.asks()) == (model.levels("bid"), model.levels("ask"))
    assert book.bids(2) == model.levels("bid")[:2]
    for side in ("bid", "ask"):
        for price in model.prices(side):
            queue = model.queue(side, price)
            want = [(order.order_id, model.qty(order.qty), order.place[0]) for order in queue]
            assert book.queue(side, model.price(price)) == want, f"{side} {price}"
            for place, order in enumerate(queue):
                assert book.order(order.order_id) == {
                    "side": side,
                    "price": model.price(price),
                    "qty": model.qty(order.qty),
                    "timestamp": order.place[0],
                    "orders_ahead": place,
                    "qty_ahead": model.qty(*(before.qty for before in queue[:place])),
                }
    for order_id in IDS:
        assert (book.order(order_id) is None) == (model.find(order_id) is None), order_id


@given(st.data())
def test_a_book_is_the_list_with_a_window(data: st.DataObject) -> None:
    """After every message all queues, places, sums and both checksums are those of the list, through ties of time,
    levels that leave and come back, orders added again, moved, emptied, and never known; and no other checksum passes.
    """
    model = Orders(
        data.draw(st.integers(1, 12), "depth"),
        data.draw(st.integers(0, 10), "price precision"),
        data.draw(st.integers(0, 10), "qty precision"),
        data.draw(st.sampled_from(RULES), "modify"),
    )
    terms = {"price_precision": model.price_precision, "qty_precision": model.qty_precision}
    book = _core.Orders(depth=model.depth, modify=model.rule, **terms)
    base = data.draw(st.sampled_from(BASES), "base")
    width = data.draw(st.integers(1, 15), "width")
    # Now and then the best ask may meet the best bid.
    first_ask = base + width - data.draw(st.sampled_from([0, 0, 0, 1]), "overlap")
    ids = st.sampled_from(IDS[: data.draw(st.integers(5, len(IDS)), "ids")] + IDS[-2:])
    quantities = st.integers(1, 99) | st.integers(1, 10**12) | st.sampled_from([0, 5, 5])

    def entry(kind: str, now: int) -> frames.OrderEntry:
        order_id = data.draw(ids)
        what = data.draw(st.sampled_from(["add", "add", "modify", "delete"])) if kind == "update" else None
        held = model.find(order_id)
        if held and what == "modify" and data.draw(st.booleans()):
            side, ticks = held.side, int(frames.EXACT.scaleb(held.price, model.price_precision))
        else:
            side = data.draw(st.sampled_from(["bid", "ask"]))
            ticks = (first_ask if side == "ask" else base) + data.draw(st.integers(0, width - 1))
        price, qty = (
            frames.padded(frames.EXACT.scaleb(Decimal(value), -precision), precision)
            for value, precision in (
                (ticks, model.price_precision),
                (data.draw(quantities), model.qty_precision),
            )
        )
        return side, what, order_id, price, qty, now - data.draw(st.sampled_from([0, 0, 1, 2, 9]))

    for number in range(data.draw(st.integers(1, 15), "messages")):
        kind = "snapshot" if number == 0 or data.draw(st.integers(0, 19)) == 7 else "update"
        if kind == "snapshot":
            model.held, model.replaced = [], 0
        entries = [entry(kind, 100 + number) for _ in range(data.draw(st.integers(0, 10)))]
        absent = model.absent
        before = (book.modify, [(order.order_id, order.place) for order in model.held])
        model.apply(entries)
        if kind == "snapshot":
            model.absent = absent
        sent = model.checksum() if data.draw(st.booleans()) else None
        result = (book.snapshot if kind == "snapshot" else book.update)(entries, sent)
        if model.crossed:
            assert result["outcome"] == "crossed", before
            assert not book.in_sync
            event("crossed")
            return
        assert result["outcome"] == ("unchecked" if sent is None else "ok"), (before, entries)
        assert (result["checksum"], result["checksum_level2"]) == (model.checksum(), model.checksum_level2())
        assert result["modify"] in {None, model.rule}
        event(f"told {result['modify']}")
        compare(book, model)
    computed = model.checksum()
    wrong = computed ^ data.draw(st.integers(1, 2**32 - 1), "wrong")
    assert book.update([], wrong) == {
        "outcome": "mismatch", "checksum": computed, "checksum_level2": None, "modify": None,
    }  # fmt: skip
    assert (book.in_sync, book.bids(), book.order(IDS[0]), book.counts()["orders"]) == (False, [], None, 0)
    assert book.update([], computed)["outcome"] == "unchecked", "an update does not revive it"
    assert book.snapshot([], 0)["outcome"] == "ok"


@given(st.data(), st.sampled_from(RULES), st.sampled_from(RULES))
def test_the_checksum_finds_the_right_answer_to_a_modify(data: st.DataObject, right: str, told: str) -> None:
    """The exchange follows one answer, the book begins with one: it never gives up, changes its mind at most once, and
    only to the right one. All levels are under the checksum, quantities differ and adds come in order of time.
    """
    model = Orders(10, 0, 0, right)
    book = _core.Orders(depth=10, price_precision=0, qty_precision=0, modify=told)
    clock = 10_000_000
    assert book.snapshot([], 0)["outcome"] == "ok"
    for _ in range(data.draw(st.integers(1, 25), "messages")):
        entries: list[frames.OrderEntry] = []
        for _ in range(data.draw(st.integers(1, 5))):
            clock += 1
            order_id = data.draw(st.sampled_from(IDS[:8]))
            held = model.find(order_id) or next((e for e in entries if e[2] == order_id), None)
            what = data.draw(st.sampled_from(["modify", "modify", "delete"])) if held else "add"
            price = (
                str(held.price)
                if isinstance(held, frames.Order)
                else held[3]
                if held
                else data.draw(st.sampled_from("56"))
            )
            # The clock as quantity: of one length, no two alike.
            entries.append(("bid", what, order_id, price, str(clock), clock))
        model.apply(entries)
        result = book.update(entries, model.checksum())
        assert result["outcome"] == "ok", f"{entries}: {result}"
        assert result["checksum"] == model.checksum()
        assert result["modify"] in {None, right}
        assert book.modify == (right if result["modify"] else told)
        told = book.modify
        event(f"{result['modify']} of {right}")
        for price in "56":
            found = [(order_id, qty) for order_id, qty, _ in book.queue("bid", price)]
            assert found == [(order.order_id, str(order.qty)) for order in model.queue("bid", Decimal(price))]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=20, unique=True))
def test_any_id_is_kept_exactly_or_refused(ids: list[str]) -> None:
    """Text of any kind up to the limit comes back as it was; beyond it, `LimitExceeded`, and the book is as before."""
    book = _core.Orders(depth=10, price_precision=0, qty_precision=0)
    book.snapshot([])
    kept = []
    for time, order_id in enumerate(ids):
        if len(order_id.encode()) > _core.LIMITS["ORDER_ID_LENGTH_MAX"]:
            with pytest.raises(LimitExceeded, match="ORDER_ID_LENGTH_MAX"):
                book.update([("ask", "add", order_id, "1", "1", time)])
            assert book.order(order_id) is None
        else:
            book.update([("ask", "add", order_id, "1", "1", time)])
            kept.append((order_id, "1", time))
        assert book.queue("ask", "1") == kept
    book.update([("ask", "delete", order_id, "1", "1", 0) for order_id, *_ in kept[1:]])
    assert book.queue("ask", "1") == kept[:1]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["bid", "ask", "buy"]) | st.text(max_size=3),
                st.sampled_from(["add", "modify", "delete", None]) | st.text(max_size=3),
                st.sampled_from(IDS),
                st.from_regex(r"-?\d{1,40}(\.\d{1,12})?([eE][+-]?\d{1,3})?", fullmatch=True) | st.text(max_size=5),
                st.from_regex(r"-?\d{1,40}(\.\d{1,12})?([eE][+-]?\d{1,3})?", fullmatch=True) | st.text(max_size=5),
                st.integers(-(2**63), 2**63 - 1),
            ),
            max_size=4,
        ),
        max_size=8,
    ),
    st.integers(1, 3),
)  # fmt: skip
def test_anything_is_taken_or_refused_with_a_sentence(messages: list[list[Any]], depth: int) -> None:
    """Whatever the words, numbers and times: taken, or a `ValueError`, and the next message is answered as well."""
    book = _core.Orders(depth=depth, price_precision=2, qty_precision=1)
    for number, entries in enumerate(messages):
        with contextlib.suppress(ValueError):
            result = (book.update if number % 2 else book.snapshot)(entries)
            assert result["outcome"] in {"unchecked", "crossed"}
        counts = book.counts()
        assert counts["bids"] <= depth >= counts["asks"]
        assert book.in_sync or counts["orders"] == 0
        assert counts["orders"] == sum(level[2] for level in [*book.bids(), *book.asks()])

"""The level-3 book as Python sees it: the exchange's own example, and what it says to wrong arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from krakpot import _core
from krakpot.errors import DecodeError

SECOND = 1_000_000_000


def nanoseconds(text: str) -> int:
    """RFC 3339 with nine decimals."""
    whole, decimals = text.removesuffix("Z").split(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * SECOND + int(decimals.ljust(9, "0"))


def test_the_documented_snapshot_verifies(data: Path) -> None:
    """The exchange's own example gives the documented checksum, whether its numbers are bare or strings; another digit
    or another place does not.
    """
    for name in ("l3_snapshot_worked_example_wire.json", "l3_snapshot_worked_example_strings.json"):
        told = json.loads((data / "examples" / name).read_text(), parse_float=str, parse_int=str)["data"][0]
        orders: list[tuple[str, str | None, str, str, str, int]] = [
            (side, None, order["order_id"], order["limit_price"], order["order_qty"], nanoseconds(order["timestamp"]))
            for side in ("bid", "ask")
            for order in told[f"{side}s"]
        ]
        assert (len(orders), int(told["checksum"])) == (35, 1063832831)
        book = _core.Orders(depth=10, price_precision=1, qty_precision=8)
        assert book.snapshot(orders[::-1], 1063832831)["outcome"] == "ok"
        assert [order_id for order_id, *_ in book.queue("bid", "44939.4")] == [
            o[2] for o in orders if o[3] == "44939.4"
        ]
        best = [Decimal(qty) for _, _, _, price, qty, _ in orders if price == "44939.4"]
        assert book.bids(1) == [("44939.4", str(sum(best)), 8)]
        side, event, order_id, price, qty, time = orders[0]
        for changed in (
            (side, event, order_id, price, "0.88968698", time),
            (side, event, order_id, price, qty, time + 10 * SECOND),
        ):
            assert book.snapshot([changed, *orders[1:]], 1063832831)["outcome"] == "mismatch"
            assert not book.in_sync


def orders(**terms: Any) -> _core.Orders:
    """A book with one bid."""
    book = _core.Orders(**{"depth": 10, "price_precision": 1, "qty_precision": 1, **terms})
    book.snapshot([("bid", None, "a", "10.5", "1.5", 7)])
    return book


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: orders(depth=0), ValueError, "depth 0 is not between 1 and 1000"),
        (lambda: orders(depth=1001), ValueError, "depth 1001 is not between 1 and 1000"),
        (lambda: orders(depth=-1), OverflowError, None),
        (lambda: orders(qty_precision=11), ValueError, "precision 1,11 is beyond 10 decimals"),
        (lambda: orders(modify="keep"), ValueError, 'no answer "keep"; answers: keep_place, take_timestamp'),
        (lambda: orders().update([("buy", "add", "b", "1", "1", 1)]), ValueError, 'no side "buy"; sides: bid, ask'),
        (lambda: orders().update([("bid", "new", "b", "1", "1", 1)]), ValueError, 'no event "new"; events: add'),
        (lambda: orders().update([("bid", "add", "b", "1.", "1", 1)]), ValueError, '"1." is no number'),
        (lambda: orders().update([("bid", "add", "b", "1.55", "1", 1)]), DecodeError, "^1.55 cannot be held with 1 "),
        (lambda: orders().update([("bid", "add", "b", "1", "-1", 1)]), DecodeError, "^-1 cannot be held with 1 "),
        (lambda: orders().update([("bid", "add", "b", "1", "1", 2**63)]), OverflowError, None),
        (lambda: orders().update([("bid", "add", "b", "1", "1")]), (TypeError, ValueError), None),  # type: ignore[list-item]  # that it is wrong is the point
        (lambda: orders().update([], -1), OverflowError, None),
        (lambda: orders().queue("sell", "1"), ValueError, 'no side "sell"'),
        (lambda: orders().queue("bid", "one"), ValueError, '"one" is no number'),
    ],
)  # fmt: skip
def test_wrong_arguments_raise(call: Callable[[], Any], error: type[Exception], sentence: str | None) -> None:
    """A sentence that names what is allowed; never a crash, never silence."""
    with pytest.raises(error, match=sentence):
        call()


def test_what_is_no_order_changes_nothing_and_what_cannot_be_held_ends_the_book() -> None:
    """A word that is none is the caller's mistake; a number that cannot be held is the exchange's, and no update after
    it can be trusted.
    """
    book = orders()
    with pytest.raises(ValueError, match="no side"):
        book.update([("bid", "delete", "a", "10.5", "1.5", 8), ("buy", "add", "b", "1", "1", 1)])
    assert book.queue("bid", "10.50") == [("a", "1.5", 7)]
    assert book.queue("bid", "10.55") == []
    with pytest.raises(DecodeError, match="cannot be held"):
        book.update([("bid", "add", "b", "1", "0.01", 1)])
    assert not book.in_sync


def test_the_other_answer_is_tried_before_the_book_is_given_up() -> None:
    """The first order is modified and its queue is told as if it went to the end: the book says which answer verified,
    and goes on with it.
    """
    want = orders(modify="take_timestamp")
    book = orders()
    for step in (
        [("bid", "add", "b", "10.5", "2.5", 8)],
        [("bid", "modify", "a", "10.5", "1.0", 9)],
        [("bid", "modify", "b", "10.5", "2.0", 10)],
    ):
        told = want.update(step)["checksum"]
        found = book.update(step, told)
        assert (found["outcome"], found["checksum"]) == ("ok", told)
        assert found["modify"] == ("take_timestamp" if step[0][1] == "modify" else None)
    assert book.modify == "take_timestamp"
    assert book.queue("bid", "10.5") == want.queue("bid", "10.5") == [("a", "1.0", 9), ("b", "2.0", 10)]

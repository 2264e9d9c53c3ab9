"""The handle to a live book: exact numbers while in sync, and an error with the reason while not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import frames
from krakpot import _core
from krakpot.errors import ChecksumMismatch, ConfigError, NoBook
from krakpot.stream.book import LiveBook

NOW = frames.START
BTC = frames.pair("BTC/USD", price_precision=1, qty_precision=8)


@dataclass
class Owner:
    """A session without a connection."""

    session: _core.Session
    down: str = ""


def subscribed() -> tuple[Owner, LiveBook, frames.Book]:
    """A session that has asked for the book of one pair, its handle, and the book as the exchange has it."""
    session = _core.Session("019e0000-0000-7000-8000-000000000000", channels=["book"], depth=10)
    session.requests(NOW)
    session.receive([frames.instrument(BTC)], NOW)
    session.requests(NOW)
    owner = Owner(session)
    return owner, LiveBook(owner, "BTC/USD"), frames.Book("BTC/USD", depth=10, price_precision=1, qty_precision=8)


def test_a_book_in_sync_has_exact_numbers() -> None:
    """As Decimal, float or steps of the precision; the middle may lie between two steps."""
    owner, live, book = subscribed()
    snapshot = book.snapshot(bids=[("45283.5", "0.10000000")], asks=[("45285.2", "0.00100000")])
    owner.session.receive([snapshot], NOW)
    assert live.in_sync
    assert live.best() == (Decimal("45283.5"), Decimal("0.1"), Decimal("45285.2"), Decimal("0.001"))
    assert live.best("int") == (452_835, 10_000_000, 452_852, 100_000)
    assert live.best("float") == (45283.5, 0.1, 45285.2, 0.001)
    assert live.mid_and_spread() == (live.mid, live.spread) == (Decimal("45284.35"), Decimal("1.7"))
    assert live.mid_and_spread("float") == (45284.35, 1.7)
    assert (live.bids(0), live.copy().bids(0)) == ([], [])
    assert live.bids(500) == live.bids(10**30) == live.bids()
    assert str(live.best_bid) == "45283.5"
    assert [str(number) for number in live.asks(1)[0]] == ["45285.2", "0.00100000"], "padded to the precision"
    assert live.bids(numbers="int") == [(452_835, 10_000_000)]
    assert live.checksum == book.checksum == live.copy().checksum
    assert pa.record_batch(live.to_arrow()).num_rows == 2
    assert repr(live) == "LiveBook(BTC/USD, 45283.5 / 45285.2)"


def test_wrong_arguments_are_named() -> None:
    """With what is allowed, whatever their type."""
    owner, live, book = subscribed()
    owner.session.receive([book.snapshot(bids=[("45283.5", "0.1")], asks=[("45285.2", "0.1")])], NOW)
    numbers = "allowed is one of decimal, float"
    wrong: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
        (live.bids, (-1,), "levels: -1 is not allowed; allowed is a whole number from 0, or None for all"),
        (live.asks, (-(10**30),), "levels: -10{30} is not allowed"), (live.bids, (1.5,), "levels: 1.5 is not allowed"),
        (live.asks, (True,), "levels: True is not allowed"), (live.bids, (math.inf,), "levels: inf is not allowed"),
        (live.bids, ("many",), "levels: 'many' is not allowed"), (live.bids, (1, "x"), "numbers: 'x' is not allowed"),
        (live.best, ("x",), f"numbers: 'x' is not allowed; {numbers}, int"),
        (live.best, (None,), f"numbers: None is not allowed; {numbers}, int"),
        (live.mid_and_spread, ("int",), f"numbers: 'int' is not allowed; {numbers}$"),
        (live.mid_and_spread, ([],), r"numbers: \[\] is not allowed"),
    ]  # fmt: skip
    for method, given, words in wrong:
        with pytest.raises(ConfigError, match=f"^LiveBook: {words}"):
            method(*given)
    for value in (-1, True, 1.5, "1"):
        with pytest.raises(ValueError, match="^levels .* is not allowed; allowed is a whole number from 0, or None"):
            live.copy().bids(value)  # type: ignore[arg-type]  # what is refused


def test_a_book_out_of_sync_has_none() -> None:
    """Before its snapshot, after a wrong checksum, without a connection: each access says why."""
    owner, live, book = subscribed()

    def refused(words: str) -> None:
        assert not live.in_sync
        for access in ("best", "mid_and_spread", "bids", "asks", "copy", "to_arrow"):
            with pytest.raises(NoBook, match=words) as caught:
                getattr(live, access)()
            assert (caught.value.symbol, caught.value.state) == ("BTC/USD", live.state)
        for access in ("best_bid", "best_ask", "mid", "spread", "checksum"):
            with pytest.raises(NoBook, match=words):
                getattr(live, access)
        assert repr(live) == f"LiveBook(BTC/USD, {live.state})"

    refused("BTC/USD has no book in sync, its subscription is ")
    owner.session.receive([frames.ack("book", "BTC/USD", req_id=2, depth=10)], NOW)
    owner.session.receive([book.snapshot(bids=[("1.0", "1.00000000")], asks=[("2.0", "1.00000000")])], NOW)
    assert live.in_sync
    update = book.update([("bid", "1.1", "1.00000000")], ts=NOW)
    right = json.loads(update)["data"][0]["checksum"]
    owner.session.receive([update.replace(b'"checksum":%d' % right, b'"checksum":7')], NOW)
    refused(rf"checksum mismatch: expected 7, computed {right}\)")
    with pytest.raises(ChecksumMismatch) as caught:
        live.best()
    assert (caught.value.expected, caught.value.computed, caught.value.reason) == (7, right, "checksum mismatch")
    assert owner.session.last_mismatch("BTC/USD") == (7, right)
    assert owner.session.last_mismatch("BTC/USD", "level3") is None
    assert owner.session.last_mismatch("XRP/USD") is None
    with pytest.raises(ValueError, match="channel ticker keeps no book; channels: book, level3"):
        owner.session.last_mismatch("BTC/USD", "ticker")
    owner.down = "the cable"
    refused(r"is disconnected \(the cable\)")
    owner.down = ""
    live.symbol = "ETH/USD"
    assert (live.state, live.reason) == ("unknown", "the pair is not described yet, or not selected any more")


def test_a_book_out_of_sync_costs_the_same_among_many() -> None:
    """Who looks at all pairs at once asks each for its own state, never for that of all."""

    class Alone:
        """A session of which only one subscription can be asked for."""

        def __init__(self, session: _core.Session) -> None:
            self.session = session

        def __getattr__(self, name: str) -> Any:  # whatever the session has
            assert name != "subscriptions", "all of them were asked for"
            return getattr(self.session, name)

    owner, _, _ = subscribed()
    told = {(channel, symbol): (state, reason) for channel, symbol, state, reason in owner.session.subscriptions()}
    assert told == {("book", "BTC/USD"): ("requested", "")}
    live = LiveBook(Owner(Alone(owner.session)), "BTC/USD")  # type: ignore[arg-type]  # it stands for a session
    assert (live.state, live.reason) == told["book", "BTC/USD"]
    with pytest.raises(NoBook, match="requested"):
        live.bids()
    assert LiveBook(Owner(Alone(owner.session)), "ETH/USD").state == "unknown"  # type: ignore[arg-type]  # as above
    assert owner.session.subscription("BTC/USD", "trade") is None

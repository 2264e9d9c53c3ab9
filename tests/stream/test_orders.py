"""The handle to a live level-3 book: queues and positions while in sync, an error with the reason while not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.errors import ConfigError, NoBook
from krakpot.stream.orders import LiveOrders, QueuedOrder

NOW = frames.START
US = 1000
"""Kraken's times have microseconds."""
ID = "OAAAAA-AAAAA-{:06}".format


@dataclass
class Owner:
    """A session without a connection."""

    session: _core.Session
    down: str = ""


def subscribed() -> tuple[Owner, LiveOrders, frames.Orders]:
    """A session that has asked for level 3 of one pair, its handle, and the book as the exchange has it."""
    public = _core.Session("public", channels=[])
    public.receive([frames.instrument(frames.pair("BTC/USD"))], NOW)
    session = _core.Session("level3", channels=["level3"], instrument=False, level3_depth=10)
    session.import_pairs(public, ["BTC/USD"], NOW)
    session.set_token("a token")
    session.requests(NOW)
    owner = Owner(session)
    return owner, LiveOrders(owner, "BTC/USD"), frames.Orders(10, 1, 8, symbol="BTC/USD")


def test_every_order_has_its_place() -> None:
    """Queues in the order in which they are filled, sums of levels, and what is ahead of an order."""
    owner, orders, model = subscribed()
    entries = [("bid", "100.0"), ("bid", "100.0"), ("bid", "99.5"), ("bid", "100.0"), ("ask", "101.0")]
    model.apply([(side, "add", ID(n), price, f"{n + 1}", NOW + n * US) for n, (side, price) in enumerate(entries)])
    owner.session.receive([frames.ack("level3", "BTC/USD", depth=10), model.snapshot()], NOW)
    assert orders.in_sync
    assert (orders.state, orders.reason) == ("active", "")
    assert orders.best() == (Decimal("100.0"), Decimal(7), Decimal("101.0"), Decimal(5))
    assert orders.best("float") == (100.0, 7.0, 101.0, 5.0)
    assert orders.levels("bid") == [(Decimal("100.0"), Decimal(7), 3), (Decimal("99.5"), Decimal(3), 1)]
    assert orders.levels("bid", 1, numbers="int") == [(1000, 700_000_000, 3)]
    queue = [(ID(0), Decimal(1), NOW), (ID(1), Decimal(2), NOW + US), (ID(3), Decimal(4), NOW + 3 * US)]
    assert orders.queue("bid", Decimal("100.0")) == orders.queue("bid", "100") == queue
    assert [qty for _, qty, _ in orders.queue("bid", "100.0", "float")] == [1.0, 2.0, 4.0]
    assert orders.queue("ask", "100.0") == []
    found = orders.order(ID(3))
    assert found == QueuedOrder("bid", Decimal("100.0"), Decimal(4), NOW + 3 * US, 2, Decimal(3))
    assert str(found.qty_ahead) == "3.00000000", "padded to the precision"
    first = orders.order(ID(0), "int")
    assert first is not None
    assert (first.price, first.qty, first.orders_ahead, first.qty_ahead) == (1000, 100_000_000, 0, 0)
    assert orders.order("unknown") is None
    assert len(orders.copy().queue("bid", "100.0")) == 3
    assert repr(orders) == "LiveOrders(BTC/USD, 100.0 / 101.0)"


def test_wrong_arguments_are_named() -> None:
    """With what is allowed."""
    owner, orders, model = subscribed()
    model.apply([("bid", "add", ID(0), "100.0", "1", NOW)])
    owner.session.receive([frames.ack("level3", "BTC/USD", depth=10), model.snapshot()], NOW)
    wrong: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
        (orders.levels, ("buy",), "side: 'buy' is not allowed; allowed is one of bid, ask"),
        (orders.levels, (7,), "side: 7 is not allowed; allowed is one of bid, ask"),
        (orders.levels, ("bid", -1), "levels: -1 is not allowed; allowed is a whole number from 0, or None for all"),
        (orders.levels, ("bid", True), "levels: True is not allowed; allowed is a whole number from 0"),
        (orders.levels, ("bid", math.nan), "levels: nan is not allowed"),
        (orders.levels, ("bid", 1, "x"), "numbers: 'x' is not allowed; allowed is one of decimal, float, int"),
        (orders.best, ([],), r"numbers: \[\] is not allowed; allowed is one of decimal, float, int"),
        (orders.queue, ("bid", "cheap"), "price: 'cheap' is not allowed; allowed is a decimal.Decimal or its text"),
        # A float may lie beside every step.
        (orders.queue, ("bid", 100.0), "price: 100.0 is not allowed; allowed is a decimal.Decimal or its text"),
        (orders.queue, ("buy", "100"), "side: 'buy' is not allowed"),
        (orders.queue, ("bid", 10**60, "int"), "price: 10{60} is not allowed"),
        (orders.order, (7,), "order_id: 7 is not allowed; allowed is the id of an order, as text"),
        (orders.order, (ID(0), "x"), "numbers: 'x' is not allowed"),
    ]
    assert orders.levels("bid", 10**30) == orders.levels("bid")
    for value in (-1, True, 1.5, "1"):
        with pytest.raises(ValueError, match="^levels .* is not allowed; allowed is a whole number from 0, or None"):
            orders.copy().bids(value)  # type: ignore[arg-type]  # what is refused
    for method, given, words in wrong:
        with pytest.raises(ConfigError, match=f"^LiveOrders: {words}"):
            method(*given)


def test_a_book_out_of_sync_has_no_orders() -> None:
    """Each access says why, and an order is not called unknown then."""
    owner, orders, model = subscribed()

    def refused(words: str) -> None:
        assert not orders.in_sync
        for access in (
            orders.best, orders.copy, lambda: orders.levels("bid"), lambda: orders.queue("bid", "100"),
            lambda: orders.order(ID(0)),
        ):  # fmt: skip
            with pytest.raises(NoBook, match=words):
                access()
        assert repr(orders) == f"LiveOrders(BTC/USD, {orders.state})"

    refused("its subscription is requested")
    model.apply([("bid", "add", ID(0), "100.0", "1", NOW)])
    owner.session.receive([frames.ack("level3", "BTC/USD", depth=10), model.snapshot()], NOW)
    assert orders.order(ID(0)) is not None
    owner.session.end(NOW, "cut")
    owner.down = "cut"
    refused(r"is disconnected \(cut\)")

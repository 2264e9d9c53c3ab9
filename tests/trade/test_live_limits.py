"""Each limit of an account with money: an order at it goes, one a step beyond is refused and not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import krakpot
from krakpot.trade import journal
from living import PAIR, Once, explained, limits, live, reached, server, started, truth

TICK = Decimal("0.1")
FAR = Decimal(50_000)
"""A price at which nothing is filled."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of each test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def bid(qty: str, price: Decimal = FAR, **options: Any) -> Callable[[krakpot.Market], Any]:
    """An order that rests."""
    return lambda m: m.buy(PAIR, qty, price, post_only=True, **options)


def run(folder: Path, *wanted: Callable[[krakpot.Market], Any], **changed: Any) -> list[Any]:
    """Ask for these orders within some limits; the orders, of which the exchange has those that were not refused."""
    strategy = Once(lambda m: [one(m) for one in wanted])

    async def test() -> None:
        async with server() as exchange:
            account = live(folder, exchange, limits=limits(**changed))
            await asyncio.wait_for(krakpot.run_async(strategy, exchange, account, until="20s"), 30)
            rows = [row for row in journal.read(folder / "journal") if row.kind == "intent"]
            sent = [row.facts["order"] for row in rows if row.facts["method"] == "add"]
            assert sent == [order.id for order in strategy.orders if order.state != "rejected"]
            assert len(truth(exchange, "closed")) == len(sent)
            assert truth(exchange) == []

    asyncio.run(test())
    explained(folder)
    return strategy.orders


def why(order: Any) -> str:
    """Why an order was refused."""
    assert order.state == "rejected", order
    return str(order.reason)


BOUNDS = [
    ({"order_value": 50}, [bid("0.001"), bid("0.001", FAR + TICK)],
     "krakpot:order_value: the order is worth 50.0001 USD; 50 USD are allowed"),
    ({"inventory": {"BTC": "0.002"}}, [bid("0.002"), bid("0.00001")],
     "krakpot:inventory: 0.00201 BTC would be bought if all open orders are filled; 0.002 BTC are allowed"),
    ({"inventory": {"ETH": 1}}, [bid("0.001")], "krakpot:inventory: BTC has no limit; name one to trade it"),
    ({"open_orders": 2}, [bid("0.001"), bid("0.001"), bid("0.001")], "krakpot:open_orders: 2 are open; 2 are allowed"),
    ({"orders_per_minute": 2}, [bid("0.001"), bid("0.001"), bid("0.001")],
     "krakpot:orders_per_minute: 2 are allowed; the next one fits at "),
    ({"ramp": 1}, [bid("0.00001001")], "krakpot:ramp: 0.00001001 as order 1 of the first 1; 0.00001 are allowed"),
    ({"fat_finger": True, "order_value": 100}, [bid("0.001"), bid("0.001", FAR + TICK)], "krakpot:fat_finger: "),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "wanted", "words"), BOUNDS, ids=[words.split(":")[1] for *_, words in BOUNDS])
def test_an_order_beyond_a_limit_is_not_sent(tmp_path: Path, changed: Any, wanted: Any, words: str) -> None:
    """Those before the last one are at the limit."""
    *within, beyond = run(tmp_path, *wanted, **changed)
    assert all(order.state == "canceled" for order in within)
    assert why(beyond).startswith(words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["open_orders", "orders_per_minute", "ramp", "fat_finger"])
def test_a_limit_that_is_off_refuses_nothing(tmp_path: Path, name: str) -> None:
    """None, or False, is the only way; the same orders as beyond the limit go."""
    known: dict[str, Any] = {"open_orders": 2, "orders_per_minute": 2, "ramp": 1, "fat_finger": True}
    wanted = [bid("0.00001"), bid("0.00001"), bid("0.001")]
    on = run(tmp_path, *wanted, **{name: known[name]}, order_value=60)
    assert (on[-1].state, name == "ramp") in {("rejected", False), ("canceled", True)}
    folder = tmp_path / "off"
    folder.mkdir()
    off = run(folder, *wanted, order_value=60, **{name: False if name == "fat_finger" else None})
    assert [order.state for order in off] == ["canceled"] * 3


@pytest.mark.slow
def test_first_orders_are_small_and_later_ones_are_not(tmp_path: Path) -> None:
    """The first of one has the least size; the second may have more; and what is meant is let through."""
    first, second = run(tmp_path, bid("0.00001"), bid("0.001"), ramp=1)
    assert (first.state, second.state) == ("canceled", "canceled")
    folder = tmp_path / "meant"
    folder.mkdir()
    (meant,) = run(folder, bid("0.0019", confirm=True), fat_finger=True, order_value=100)
    assert meant.state == "canceled"


@pytest.mark.slow
def test_a_price_within_the_collar_goes(tmp_path: Path) -> None:
    """One percent from the middle and from the last trade, and a tick more."""
    strategy: Once

    def act(m: krakpot.Market) -> list[Any]:
        below, _, above, _ = m.best(PAIR)
        high = max((below + above) / 2, strategy.last)
        at = (high * Decimal("0.99")).quantize(TICK, rounding="ROUND_CEILING")
        return [m.buy(PAIR, "0.001", price, post_only=True) for price in (at, at - TICK)]

    strategy = Once(act)

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange, limits=limits(collar="1%"))
            await asyncio.wait_for(krakpot.run_async(strategy, exchange, account, until="20s"), 30)

    asyncio.run(test())
    at, beyond = strategy.orders
    assert at.state == "canceled"
    assert why(beyond).startswith("krakpot:collar: the price is 1.00")


@pytest.mark.slow
@pytest.mark.parametrize(("share", "state"), [("0.4%", "canceled"), ("0.3999%", "rejected")])
def test_fees_of_orders_that_take(tmp_path: Path, share: str, state: str) -> None:
    """The account pays 0.40 % where it takes. The order would take, and is filled or killed: the price is not there."""
    (order,) = run(tmp_path, lambda m: m.buy(PAIR, "0.001", 40_000), fee_share=share)
    assert order.state == state
    if state == "rejected":
        assert why(order).startswith("krakpot:fee_share: ")


@pytest.mark.slow
def test_a_silent_feed_lets_nothing_but_cancels_through(tmp_path: Path) -> None:
    """The public feed stalls: orders are refused with the time; a cancel goes; afterwards orders go again."""

    class Timed(Once):
        def timer(self, m: krakpot.Market, e: Any) -> None:
            self.orders.append(m.buy(PAIR, "0.00001", FAR, post_only=True))
            m.after("200ms")

    def act(m: krakpot.Market) -> list[Any]:
        m.after("200ms")
        return []

    strategy = Timed(act, ends=False)

    async def test() -> None:
        async with server() as exchange:
            async with started(tmp_path, strategy, exchange, limits=limits(stale="1s", open_orders=None)) as (_, task):
                await reached(lambda: [order for order in strategy.orders if order.state == "open"], task)
                for number in range(2):
                    exchange.inject(f"stall,by=3s,connection={number}")
                bad = await reached(lambda: [order for order in strategy.orders if order.state == "rejected"], task)
                assert why(bad[0]).startswith("krakpot:stale: the feed said nothing for 1.")
                assert "; 1 s are allowed" in bad[0].reason
                assert truth(exchange), "orders live on"
                count = len(strategy.orders)
                await reached(lambda: [one for one in strategy.orders[count:] if one.state == "open"], task)
            assert truth(exchange) == []

    asyncio.run(test())
    explained(tmp_path)

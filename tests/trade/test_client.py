"""An account with money, from its start to its end, on the built-in exchange."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import krakpot
import living
from krakpot.trade import client, journal
from living import Quote, live, server


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of each test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def run(
    folder: Path, strategy: Any, seconds: str = "4s", **options: Any
) -> tuple[krakpot.Result, list[Any], Any]:
    """Run for some seconds; the result, the open orders of the exchange afterwards, and its balances."""
    async with server(**options.pop("exchange", {})) as exchange:
        account = live(folder, exchange, **options)
        result = await krakpot.run_async(strategy, exchange, account, until=seconds)
        assert isinstance(result, krakpot.Result)
        now = exchange.exchange.now
        truth = [json.loads(exchange.exchange.account(what, now)) for what in ("open", "balances")]
        return result, truth[0], truth[1]


def test_a_strategy_quotes_with_money(tmp_path: Path) -> None:
    """Its fills are the exchange's, its journal explains the balances, and nothing is open afterwards."""
    strategy = Quote()
    result, still_open, balances = asyncio.run(run(tmp_path, strategy))
    assert strategy.heard[0] == "start"
    assert result.fills.height > 0, "the market moves"
    assert set(result.fills["evidence"]) == {"exchange"}
    assert (still_open, result.built.left) == ([], ())
    assert result.built.model == "exchange"
    audit = journal.audit(tmp_path / "journal")
    assert audit.explained, journal.sentences(audit)
    assert (audit.orders, audit.fills, audit.open) == (result.orders.height, result.fills.height, ())
    told = {row["asset"]: row["total"] for row in balances} if isinstance(balances, list) else balances
    assert audit.balances, told


def test_an_earlier_run_is_gone_on_with(tmp_path: Path) -> None:
    """What the strategy stored is there again; numbers of orders go on; what was bought counts on."""

    class Store(Quote):
        def start(self, m: krakpot.Market) -> None:
            super().start(m)
            self.found = dict(m.stored)
            m.store({"runs": m.stored.get("runs", 0) + 1})

    async def both() -> list[Any]:
        found: list[Any] = []
        async with server() as exchange:
            for _ in range(2):
                strategy = Store()
                result = await krakpot.run_async(strategy, exchange, live(tmp_path, exchange), until="2s")
                found.append((strategy.found, result))
        return found

    (first, one), (second, two) = asyncio.run(both())
    assert (first, second) == ({}, {"runs": 1})
    assert max(one.orders["order"]) < min(two.orders["order"])
    audit = journal.audit(tmp_path / "journal")
    assert audit.explained, journal.sentences(audit)
    assert audit.orders == one.orders.height + two.orders.height
    assert living.PAIR in set(two.orders["symbol"])


def test_books_that_are_in_sync_before_the_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own orders may be known later than the books: orders go all the same."""
    compared = client.AccountClient.reconciled

    async def late(self: client.AccountClient) -> None:
        await asyncio.sleep(1.5)
        await compared(self)

    monkeypatch.setattr(client.AccountClient, "reconciled", late)
    result, still_open, _ = asyncio.run(run(tmp_path, Quote(), "2s"))
    assert result.requests.height > 0
    assert not any(text.startswith("krakpot:stale") for text in result.refusals), result.refusals
    assert still_open == []


@pytest.mark.slow
def test_a_lost_cancel_of_a_halted_account_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would: its strategy sends nothing any more."""
    monkeypatch.setattr(client, "CANCELS", 0.5)

    class Halt(Quote):
        def __init__(self, exchange: krakpot.ExchangeServer) -> None:
            super().__init__(most=1)
            self.exchange = exchange
            self.left = -1

        def book(self, m: krakpot.Market, e: Any) -> None:
            if m.trading and self.most:
                self.most -= 1
                m.buy(e.symbol, "0.001", "30000.0", post_only=True)

        def order(self, m: krakpot.Market, e: krakpot.OrderEvent) -> None:
            super().order(m, e)
            if m.trading and e.order.state == "open":
                self.exchange.exchange.inject("lost_request=once,method=cancel_order")
                m.halt("the test says so")
                # A request without an answer is looked for after its deadline and five seconds.
                m.after("14s", "look")

        def timer(self, m: krakpot.Market, e: krakpot.Timer) -> None:
            super().timer(m, e)
            self.left = len(m.orders())
            m.stop()

    async def halted() -> tuple[int, list[Any]]:
        async with server() as exchange:
            strategy = Halt(exchange)
            await krakpot.run_async(strategy, exchange, live(tmp_path, exchange), until="20s")
            return strategy.left, json.loads(exchange.exchange.account("open", exchange.exchange.now))

    assert asyncio.run(halted()) == (0, [])


def test_a_dry_run_spends_nothing(tmp_path: Path) -> None:
    """Orders that were only checked do not count as the first ones, and nothing was placed."""
    result, still_open, _ = asyncio.run(run(tmp_path, Quote(), "2s", validate=True))
    assert result.refusals.get("krakpot:validated", 0) > 0
    assert still_open == []
    with journal.Journal(tmp_path / "journal", prefix="Quote000") as found:
        assert (found.state.sent, found.state.last_order > 0) == (0, True)
        found.intent(
            "add", 1, "Quote0000000000001", symbol=living.PAIR, side="buy", qty="1", price="1", deadline=0,
        )  # fmt: skip
        assert found.state.sent == 1

"""An account with money, from its start to its end, on the built-in exchange."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import krakpot
import living
from krakpot.trade import journal
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

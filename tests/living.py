"""Accounts with money on the built-in exchange: a key file, generous limits, a strategy that quotes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from krakpot import ExchangeOptions, ExchangeServer, Limits, Live, Market, Result
from krakpot.trade import journal, key
from krakpot.trade.options import RunOptions
from krakpot.trade.run import Run
from traded import Notes

PAIR = "BTC/USD"


def server(**options: Any) -> ExchangeServer:
    """An exchange of one pair whose market moves."""
    return ExchangeServer(ExchangeOptions(**({"pairs": 1, "rate": 200.0} | options)))


def limits(**changed: Any) -> Limits:
    """Wide ones: what is tested is something else."""
    known: dict[str, Any] = {
        "order_value": 50_000, "inventory": {"BTC": 10}, "loss": 10_000, "fee_share": None, "ramp": None,
        "fat_finger": False, "collar": None, "orders_per_minute": None, "stale": None, "clock": None,
    }  # fmt: skip
    return Limits(**(known | changed))


def live(folder: Path, exchange: ExchangeServer, **options: Any) -> Live:
    """An account with the exchange's own key; its journal and its nonces are in the folder."""
    file = folder / "key.toml"
    if not file.exists():
        key.write(file, exchange.key.name, exchange.key.secret_text, mode="test", account="test")
    known: dict[str, Any] = {"limits": limits(), "account": "exclusive", "journal": folder / "journal"}
    return Live(file, **(known | options))


class Quote(Notes):
    """Keeps one order of the least quantity at each touch, and counts what it asks for."""

    def __init__(self, qty: str = "0.001", most: int = 1000) -> None:
        """Of so much each, and so many in all."""
        super().__init__()
        self.qty, self.most = qty, most

    def book(self, m: Market, e: Any) -> None:
        """Join the best prices; follow them."""
        if not m.trading:
            return
        bid, _, ask, _ = m.best(e.symbol)
        for side, price in (("buy", bid), ("sell", ask)):
            mine = m.orders(e.symbol, side)  # type: ignore[arg-type]  # one of the two
            if not mine and self.most:
                self.most -= 1
                m.send(side, e.symbol, self.qty, price, post_only=True)  # type: ignore[arg-type]  # one of the two
            elif mine and mine[0].state == "open" and mine[0].price != price:
                m.amend(mine[0], price=price)


class Once(Notes):
    """Does something once, as soon as orders are taken, and keeps the orders that came of it."""

    def __init__(self, act: Callable[[Market], Any], *, ends: bool = True) -> None:
        """``ends``: the run ends then."""
        super().__init__()
        self.act, self.ends = act, ends
        self.orders: list[Any] = []
        self.last: Any = None
        """Price of the last trade."""
        self.done = False

    def trade(self, m: Market, e: Any) -> None:  # noqa: ARG002  # a handler gets it
        """Note its price."""
        self.last = e.price

    def book(self, m: Market, e: Any) -> None:  # noqa: ARG002  # a handler gets it
        """Do it, if it is time."""
        if m.trading and not self.done and self.last is not None:
            self.done = True
            self.orders += self.act(m)
            if self.ends:
                m.stop("done")


@contextlib.asynccontextmanager
async def started(
    folder: Path, strategy: Any, exchange: ExchangeServer, *, on_error: str = "raise", **options: Any
) -> AsyncIterator[tuple[Any, asyncio.Task[list[Result]]]]:
    """A ``Run``, and its task; it is ended afterwards, whatever came of it."""
    one = Run({"": strategy}, exchange, live(folder, exchange, **options), RunOptions.read(on_error=on_error))
    task = asyncio.create_task(one.run())
    try:
        yield one, task
    finally:
        one.end("the test is over")
        await asyncio.gather(task, return_exceptions=True)


async def reached(condition: Callable[[], Any], task: asyncio.Task[Any] | None = None, seconds: float = 20.0) -> Any:
    """What a condition becomes as soon as that is true; the run must go on meanwhile."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if task is not None and task.done():
            pytest.fail(f"the run ended: {task.exception() or task.result()}")
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)
    return found


def truth(exchange: ExchangeServer, what: str = "open") -> Any:
    """What the exchange knows: its ``open`` orders, ``closed``, ``trades``, ``balances``."""
    return json.loads(exchange.exchange.account(what, exchange.exchange.now))


def explained(folder: Path) -> journal.Audit:
    """What the journal proves, which must agree to the last digit; who wrote a row cannot be seen from its text."""
    audit = journal.audit(folder / "journal")
    for line in (folder / "journal").read_text().splitlines():
        text = line.partition(" ")[2]
        assert journal.TEXT_OF(json.loads(text)) == text
    assert audit.explained, journal.sentences(audit)
    return audit

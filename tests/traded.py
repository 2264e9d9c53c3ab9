"""A small lake to trade on, and strategies that note what they hear."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import fills
from fills import SYMBOL, Event, Step
from krakpot import Lake, Latency, Market, Paper, Replay

BOOK: tuple[Event, ...] = (
    ("add", "buy", 1, 100, 5), ("add", "buy", 2, 100, 3), ("add", "buy", 3, 99, 9),
    ("add", "sell", 4, 101, 4), ("add", "sell", 5, 102, 9),
)  # fmt: skip
FEES = ("0.25%", "0.40%")


def market(turns: int = 50) -> list[Step]:
    """Every 20 ms somebody joins the best bid; 10 ms later a trade takes the newcomer, in every second turn."""
    steps = [Step(1, BOOK)]
    for turn in range(turns):
        order, qty, at = 10 + turn, 1 + turn % 3, 20 + turn * 20
        prints = (("sell", 100, qty),) if turn % 2 else ()
        steps.append(Step(at, (("add", "buy", order, 100, qty),)))
        steps.append(Step(at + 10, (("delete", "buy", order, 100, qty),), prints))
    return steps


def lake(path: Path, steps: list[Step] | None = None, **options: Any) -> Lake:
    """It, as a lake."""
    return fills.make(path, market() if steps is None else steps, **options)


def replay(lake: Lake, **options: Any) -> Replay:
    """All of it."""
    return Replay(lake, [SYMBOL], **options)


def paper(latency: str = "1ms", **options: Any) -> Paper:
    """Fifty thousand dollars."""
    known: dict[str, Any] = {"balances": {"USD": 50_000}, "fees": FEES, "latency": Latency(latency)}
    return Paper(**(known | options))


class Notes:
    """Notes what it hears, as words."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.heard: list[str] = []
        self.times: list[int] = []

    def note(self, m: Market, word: str) -> None:
        """With its time."""
        self.heard.append(word)
        self.times.append(m.now)

    def start(self, m: Market) -> None:
        self.note(m, "start")

    def book(self, m: Market, e: Any) -> None:
        self.note(m, e.channel)

    def trade(self, m: Market, e: Any) -> None:
        self.note(m, f"{e.channel} {e.trade_id}")

    def order(self, m: Market, e: Any) -> None:
        self.note(m, f"order {e.order.id} {e.change}")

    def fill(self, m: Market, e: Any) -> None:
        self.note(m, f"fill {e.order.id} {e.qty:f} {e.evidence}")

    def gap(self, m: Market, e: Any) -> None:
        self.note(m, f"gap {'healed' if e.healed else 'begins'}")

    def timer(self, m: Market, e: Any) -> None:
        self.note(m, f"timer {e.tag}")

    def stop(self, m: Market, reason: str) -> None:
        self.note(m, reason)


class JoinBest(Notes):
    """Rests one unit at the best bid, again and again."""

    qty = Decimal(1)

    def book(self, m: Market, e: Any) -> None:
        super().book(m, e)
        if m.trading and not m.orders(e.symbol, "buy"):
            m.buy(e.symbol, self.qty, m.best(e.symbol)[0], post_only=True, tag="bid")

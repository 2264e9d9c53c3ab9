"""A market of a few seconds whose fills can be worked out by hand, as level 2 and as level 3."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import frames
import lakes

SECOND = frames.SECOND
START = frames.START
SYMBOL = "BTC/USD"


class Market:
    """Both books of one market, and its trades; each step is one instant."""

    def __init__(self) -> None:
        self.orders = frames.Orders(10, 1, 8)
        self.book = frames.Book(SYMBOL, depth=10)
        self.timed = [
            (START, frames.instrument(frames.pair(SYMBOL), assets=[frames.asset("BTC")])),
            (START, frames.ack("book", SYMBOL, depth=10)),
            (START, frames.ack("trade", SYMBOL)),
        ]
        self.level3 = [(START, frames.ack("level3", SYMBOL, depth=10))]
        self.trade_id = 100

    def name(self, letter: str) -> str:
        return f"O{letter * 5}-{letter * 5}-{letter * 6}"

    def begin(self, *orders: tuple[str, str, str, str]) -> None:
        """The snapshot: letter, side, price, quantity of the orders, as they stand in their queues."""
        self.orders.apply(
            [
                (side, "add", self.name(letter), price, qty, START - 100 + n)
                for n, (letter, side, price, qty) in enumerate(orders)
            ]
        )
        self.level3.append((START, self.orders.snapshot(ts=START)))
        levels = [[level[:2] for level in self.orders.levels(side)] for side in ("bid", "ask")]
        self.timed.append((START, self.book.snapshot(*levels, ts=START)))

    def step(
        self, second: float, *changes: tuple[str, str, str, str, str], trades: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        """Event, letter, side, price, quantity of the changes; taker's side, price and quantity of the trades.

        The trade is told after the book, as on the wire.
        """
        ts = START + round(second * SECOND)
        before = {side: {level[0]: level[1] for level in self.orders.levels(side)} for side in ("bid", "ask")}
        entries = [(side, event, self.name(letter), price, qty, ts) for event, letter, side, price, qty in changes]
        self.level3.append((ts, self.orders.update(entries, ts=ts)))
        after = {side: {level[0]: level[1] for level in self.orders.levels(side)} for side in ("bid", "ask")}
        levels = [
            (side, price, after[side].get(price, "0"))
            for side in ("bid", "ask")
            for price in sorted(before[side].keys() | after[side].keys(), key=Decimal)
            if before[side].get(price) != after[side].get(price)
        ]
        self.timed.append((ts, self.book.update(levels, ts=ts)))
        for side, price, qty in trades:
            self.trade_id += 1
            self.timed.append((ts, frames.trade(SYMBOL, self.trade_id, price=price, qty=qty, side=side, ts=ts)))

    def record(self, lake: Path) -> None:
        """A lake of two sessions."""
        lakes.make(lake, self.timed, session=lakes.session_name(START))
        lakes.make(lake, self.level3, session=lakes.session_name(START + 1_000_000), precision={SYMBOL: (1, 8)})


def market() -> Market:
    """Bids of 100.0: X 2, Y 3. A strategy buys 1 at 100.0 after half a second; then

    - 1 s: W 1 stands behind it;
    - 2 s: a sale of 2 takes X;
    - 3 s: Y is cut to 1 by its owner;
    - 4 s: a sale of 1 takes Y: now the strategy is the first;
    - 5 s: a sale of 1 takes W, which stood behind the strategy: it would have been filled;
    - 6 s: V 4 is bid;
    - 7 s: a sale of 0.5 takes a part of V.
    - 8 s: a sale sweeps: V 3.5 at 100.0, Z 5 at 99.0.
    - 9 s: nothing is left of it but bids at 98.0.
    """
    made = Market()
    made.begin(
        ("X", "bid", "100.0", "2"), ("Y", "bid", "100.0", "3"), ("Z", "bid", "99.0", "5"), ("U", "bid", "98.0", "9"),
        ("A", "ask", "101.0", "2"), ("B", "ask", "101.0", "3"), ("C", "ask", "102.0", "5"),
    )  # fmt: skip
    made.step(1, ("add", "W", "bid", "100.0", "1"))
    made.step(2, ("delete", "X", "bid", "100.0", "2"), trades=(("sell", "100.0", "2"),))
    made.step(3, ("modify", "Y", "bid", "100.0", "1"))
    made.step(4, ("delete", "Y", "bid", "100.0", "1"), trades=(("sell", "100.0", "1"),))
    made.step(5, ("delete", "W", "bid", "100.0", "1"), trades=(("sell", "100.0", "1"),))
    made.step(6, ("add", "V", "bid", "100.0", "4"))
    made.step(7, ("modify", "V", "bid", "100.0", "3.5"), trades=(("sell", "100.0", "0.5"),))
    made.step(
        8, ("delete", "V", "bid", "100.0", "3.5"), ("delete", "Z", "bid", "99.0", "5"),
        trades=(("sell", "100.0", "3.5"), ("sell", "99.0", "5")),
    )  # fmt: skip
    made.step(9, ("add", "T", "bid", "98.0", "1"))
    return made

"""Random cases for the fills of paper trading: a market with icebergs, hidden quantity and gaps, and orders in it."""

from __future__ import annotations

import random
from typing import Any

MID = 100
OTHER = {"buy": "sell", "sell": "buy"}

Line = dict[str, Any]


class Script:
    """The record as it is written, and the book that follows from it."""

    def __init__(self, seed: int) -> None:
        """``seed``: the same one gives the same case."""
        self.random = random.Random(seed)
        self.lines: list[Line] = [{"case": f"seed {seed}", "entry": self.random.choice([0, 1, 3])}]
        self.book: dict[int, list[Any]] = {}
        """Side, price, quantity, time and turn of each order."""
        self.now = 1
        self.last = 0
        self.turns = 0
        self.sent: list[str] = []

    def best(self, side: str) -> int | None:
        """The best price of a side."""
        prices = [price for its, price, *_ in self.book.values() if its == side]
        return (max if side == "buy" else min)(prices, default=None)

    def add(self, side: str, price: int, number: int | None = None, time: int | None = None) -> list[Any]:
        """A new order, or a refilled one."""
        if number is None:
            self.last += 1
            number = self.last
        self.turns += 1
        qty = self.random.randint(1, 9)
        self.book[number] = [side, price, qty, self.now if time is None else time, self.turns]
        return ["add", side, number, price, qty, *([] if time is None else [time])]

    def passive(self, side: str) -> int:
        """A price that does not cross the record."""
        best = self.best(OTHER[side])
        away = self.random.choice([0, 0, 1, 2, 3])
        if side == "buy":
            return (MID if best is None else best - 1) - away
        return (MID if best is None else best + 1) + away

    def new(self) -> None:
        """A new order; sometimes an old one that is shown now."""
        side = self.random.choice(["buy", "sell"])
        time = max(self.now - self.random.randint(1, 15), 0) if self.random.random() < 0.1 else None
        self.lines.append({"t": self.now, "level3": [self.add(side, self.passive(side), time=time)]})

    def leave(self) -> None:
        """Orders that are cancelled or made smaller."""
        rows = []
        for number in self.random.sample(sorted(self.book), min(len(self.book), self.random.choice([1, 1, 2]))):
            side, price, qty, *_ = self.book[number]
            if qty > 1 and self.random.random() < 0.4:
                self.book[number][2] = self.random.randint(1, qty - 1)
                rows.append(["modify", side, number, price, self.book[number][2]])
            else:
                del self.book[number]
                rows.append(["delete", side, number, price, qty])
        if rows:
            self.lines.append({"t": self.now, "level3": rows})

    def trade(self) -> None:
        """A taker; the record may show more trades than orders lost, or fewer."""
        taker = self.random.choice(["buy", "sell"])
        side, left = OTHER[taker], self.random.randint(1, 14)
        trades, rows, refilled = [], [], []
        while left > 0 and (price := self.best(side)) is not None:
            there = sorted((told[3:], number) for number, told in self.book.items() if told[:2] == [side, price])
            done = 0
            for _, number in there:
                took = min(left, self.book[number][2])
                if took == 0:
                    break
                left, done = left - took, done + took
                self.book[number][2] -= took
                if self.book[number][2]:
                    rows.append(["modify", side, number, price, self.book[number][2]])
                    continue
                rows.append(["delete", side, number, price, took])
                del self.book[number]
                if self.random.random() < 0.25:
                    refilled.append((number, price))
            done += self.random.choice([0, 0, 0, 0, 1, 2]) - (done > 1 and self.random.random() < 0.1)
            part = self.random.randint(0, done)
            trades += [[taker, price, qty] for qty in (part, done - part) if qty]
            if self.random.random() < 0.5:
                break
        rows += [self.add(side, price, number) for number, price in refilled]
        if trades:
            self.lines.append({"t": self.now, "trade": trades, **({"level3": rows} if rows else {})})

    def gap(self) -> None:
        """A gap; other orders and fewer of the old ones afterwards, in any order."""
        self.lines.append({"t": self.now, "gap": True})
        self.now += self.random.randint(1, 3)
        if self.random.random() < 0.4:
            trade = [self.random.choice(["buy", "sell"]), MID + self.random.randint(-3, 3), self.random.randint(1, 4)]
            self.lines.append({"t": self.now, "trade": [trade]})
        self.now += self.random.randint(1, 3)
        self.book = {number: told for number, told in self.book.items() if self.random.random() < 0.7}
        for _ in range(self.random.randint(0, 3)):
            side = self.random.choice(["buy", "sell"])
            self.add(side, self.passive(side), time=max(self.now - self.random.randint(0, 8), 0))
        rows = [["add", side, number, price, qty, time] for number, (side, price, qty, time, _) in self.book.items()]
        self.random.shuffle(rows)
        for row in rows:
            self.turns += 1
            self.book[row[2]][4] = self.turns
        self.lines.append({"t": self.now, "snapshot": True, "level3": rows})

    def ask(self) -> None:
        """A request of ours."""
        roll = self.random.random
        if len(self.sent) < 4 and (not self.sent or roll() < 0.6):
            side = self.random.choice(["buy", "sell"])
            self.sent.append("abcd"[len(self.sent)])
            price = MID + (self.random.randint(-4, 2) if side == "buy" else self.random.randint(-2, 4))
            line: Line = {"own": self.sent[-1], "do": "send", "side": side, "qty": self.random.randint(1, 8)}
            line |= {"price": price}
            line |= self.random.choice([{}, {}, {}, {"tif": "ioc"}, {"tif": "fok"}, {"post_only": True}])
            line |= {"deadline_ms": self.random.choice([0, 2, 5])} if roll() < 0.1 else {}
            line |= {"entry": self.random.choice([0, 2, 7])} if roll() < 0.1 else {}
        elif roll() < 0.3:
            line = {"own": self.random.choice(self.sent), "do": "cancel"}
        else:
            line = {"own": self.random.choice(self.sent), "do": "amend"}
            new = {"qty": self.random.randint(1, 9), "price": MID + self.random.randint(-4, 4)}
            line |= self.random.choice([new, {"qty": new["qty"]}, {"price": new["price"]}])
        self.lines.append({"t": self.now, **line})


def script(seed: int) -> list[Line]:
    """A random case."""
    made = Script(seed)
    rows = []
    for _ in range(made.random.randint(4, 12)):
        side = made.random.choice(["buy", "sell"])
        rows.append(made.add(side, MID + made.random.randint(1, 4) * (-1 if side == "buy" else 1)))
    made.lines.append({"t": made.now, "level3": rows})
    for _ in range(made.random.randint(5, 40)):
        made.now += made.random.choice([1, 1, 2, 5])
        made.random.choices([made.new, made.leave, made.trade, made.gap, made.ask], [28, 15, 28, 5, 24])[0]()
    return made.lines

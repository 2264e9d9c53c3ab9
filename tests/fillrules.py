"""A simple model of the fills of paper trading: each own order remembers which orders of the record stand before it.

Cases are lines as ``rust/trade/examples/fills.rs`` describes them; ``played`` gives the events that must come out. Each
of our orders is judged as if it were alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]

UNKNOWN, POST_ONLY = "EOrder:Unknown order", "EOrder:Post only order"


@dataclass
class Told:
    """An order of the record."""

    side: str
    price: int
    qty: int
    place: tuple[int, int]
    """Its time, and how many orders were told before it."""
    taken: int = 0
    """What own orders took of it."""


@dataclass
class Own:
    """An order of ours."""

    name: str
    side: str
    price: int
    qty: int
    left: int
    placed: int
    number: int
    turn: int = 0
    before: set[int] = field(default_factory=set)
    """Orders of the record that stand before it."""
    resting: bool = False
    took: int = 0
    """What it took in this instant."""

    def reaches(self, price: int) -> bool:
        """Whether it would trade at a price of the other side."""
        return price <= self.price if self.side == "buy" else price >= self.price

    def beats(self, price: int) -> bool:
        """Whether its price is better than one of its side."""
        return self.price > price if self.side == "buy" else self.price < price


class Model:
    """The record, our orders in it, and what happens to them."""

    def __init__(self) -> None:
        """An empty book that is known."""
        self.told: dict[int, Told] = {}
        self.own: dict[str, Own] = {}
        self.events: list[Line] = []
        self.known = True
        self.count = 0
        self.now = 0

    def say(self, name: str, event: str, **more: object) -> None:
        """An event."""
        self.events.append({"t": self.now, "own": name, "event": event, **more})

    def fill(self, own: Own, qty: int, price: int, evidence: str) -> int:
        """Fill as much of an order as is left; returns how much."""
        qty = min(qty, own.left)
        if qty <= 0:
            return 0
        own.left -= qty
        liquidity = "t" if evidence == "taken" else "m"
        self.say(own.name, "fill", qty=qty, price=price, liquidity=liquidity, evidence=evidence)
        if own.left == 0:
            self.say(own.name, "filled")
            del self.own[own.name]
        return qty

    def resting(self) -> list[Own]:
        """Our orders in the market, the oldest place first."""
        return sorted((own for own in self.own.values() if own.resting), key=lambda own: (own.placed, own.number))

    # The record.

    def instant(self, trades: list[list[Any]], rows: list[list[Any]]) -> None:
        """Trades, then what orders lost, then new orders."""
        lost: Counter[int] = Counter()
        for what, _, number, _, qty, *_ in rows:
            if what != "add":
                lost[number] = self.told[number].qty - (qty if what == "modify" else 0)
        for own in self.resting():
            own.took = 0
        for own in self.resting():
            self.trade(own, [(price, qty) for taker, price, qty in trades if taker != own.side], lost)
        for what, side, number, price, qty, *time in sorted(rows, key=lambda row: row[0] == "add"):
            if what == "delete":
                self.forget(number)
            elif what == "modify":
                self.told[number].qty = qty
            else:
                self.tell(side, number, price, qty, time[0] if time else self.now)
                self.cross(number)

    def trade(self, own: Own, trades: list[tuple[int, int]], lost: Counter[int]) -> None:
        """Give an order its part of the trades of its side."""
        at = sum(qty for price, qty in trades if price == own.price)
        if at:
            beside = [n for n, told in self.told.items() if (told.side, told.price) == (own.side, own.price)]
            before = sum(lost[number] for number in beside if number in own.before)
            behind = sum(lost[number] for number in beside) - before
            mates = [mate for mate in self.resting() if (mate.side, mate.price) == (own.side, own.price)]
            reached = max(at - before, 0) - sum(mate.took for mate in mates if mate.turn < own.turn)
            own.took = self.fill(own, min(reached, behind), own.price, "queue")
            own.took += self.fill(own, reached - own.took, own.price, "beyond") if own.left else 0
        if own.left:
            own.took += self.fill(own, sum(qty for price, qty in trades if own.beats(price)), own.price, "through")

    def tell(self, side: str, number: int, price: int, qty: int, time: int) -> None:
        """An order of the record is shown; it stands before ours if it is older."""
        self.count += 1
        self.told[number] = Told(side, price, qty, (time, self.count))
        for own in self.own.values():
            if (own.side, own.price) == (side, price) and time < own.placed:
                own.before.add(number)

    def forget(self, number: int) -> None:
        """An order of the record is gone."""
        del self.told[number]
        for own in self.own.values():
            own.before.discard(number)

    def cross(self, number: int) -> None:
        """A new order of the record that would have met ours."""
        told = self.told[number]
        met = [own for own in self.resting() if own.side != told.side and own.reaches(told.price)]
        for own in sorted(met, key=lambda own: -own.price if own.side == "buy" else own.price):
            told.taken += self.fill(own, told.qty - told.taken, own.price, "crossed")

    def lose(self) -> None:
        """A gap begins."""
        self.known = False
        for number in list(self.told):
            self.forget(number)

    def snapshot(self, rows: list[list[Any]]) -> None:
        """It ends."""
        self.known = True
        for _, side, number, price, qty, time in rows:
            self.tell(side, number, price, qty, time)

    # Requests.

    def offers(self, own: Own) -> Iterator[Told]:
        """What an order could take, the best first."""
        sign = 1 if own.side == "buy" else -1
        there = [told for told in self.told.values() if told.side != own.side and own.reaches(told.price)]
        yield from (
            told for told in sorted(there, key=lambda told: (sign * told.price, *told.place)) if told.qty > told.taken
        )

    def place(self, own: Own) -> None:
        """An order takes its place behind all that is there."""
        self.count += 1
        own.placed, own.turn, own.resting = self.now, self.count, True
        beside = ((number, told) for number, told in self.told.items() if told.side == own.side)
        own.before = {number for number, told in beside if told.price == own.price}

    def send(self, line: Line, sent: int) -> None:
        """A new order arrives."""
        name = line["own"]
        deadline = line.get("deadline_ms")
        if deadline is not None and self.now > sent + deadline:
            return self.say(name, "rejected", error="EService:Deadline elapsed")
        if not self.known:
            return self.say(name, "rejected", error="krakpot:gap")
        self.count += 1
        own = Own(name, line["side"], line["price"], line["qty"], line["qty"], self.now, self.count)
        meets = [mine.price for mine in self.resting() if mine.side != own.side and own.reaches(mine.price)]
        there = list(self.offers(own))
        if line.get("post_only") and (there or meets):
            return self.say(name, "rejected", error=POST_ONLY)
        if line.get("tif") == "fok" and sum(told.qty - told.taken for told in there) < own.qty:
            return self.say(name, "canceled", reason="fok")
        self.own[name] = own
        self.say(name, "new")
        for told in there:
            # Only at the price of our own order and at worse ones.
            if not own.left or any(price != told.price and own.side == "buy" and price > told.price for price in meets):
                break
            if any(own.side == "sell" and price < told.price for price in meets):
                break
            told.taken += self.fill(own, told.qty - told.taken, told.price, "taken")
        if own.left and (meets or line.get("tif") in ("ioc", "fok")):
            del self.own[name]
            return self.say(name, "canceled", reason="stp cancel_newest" if meets else "ioc")
        if own.left:
            self.place(own)
        return None

    def amend(self, line: Line) -> None:
        """An amendment arrives."""
        own = self.own.get(line["own"])
        if own is None:
            return self.say(line["own"], "amend_rejected", error=UNKNOWN)
        qty, price = line.get("qty", own.qty), line.get("price", own.price)
        done, keeps = own.qty - own.left, price == own.price and qty <= own.qty
        own.qty, own.price, own.left = qty, price, max(qty - done, 0)
        if not keeps:
            self.place(own)
        self.say(own.name, "amended", qty=qty, price=price)
        if own.left == 0:
            del self.own[own.name]
            self.say(own.name, "canceled", reason="User requested")
        return None

    def cancel(self, line: Line) -> None:
        """A cancel arrives."""
        if self.own.pop(line["own"], None) is None:
            return self.say(line["own"], "cancel_rejected", error=UNKNOWN)
        return self.say(line["own"], "canceled", reason="User requested")


def played(lines: list[Line]) -> list[Line]:
    """The events of a case."""
    model = Model()
    entry = lines[0]["entry"]
    steps = []
    for n, line in enumerate(lines[1:]):
        own = "own" in line
        steps.append((line["t"] + (line.get("entry", entry) if own else 0), own, n, line))
    for model.now, own, _, line in sorted(steps, key=lambda step: step[:3]):
        if own and line["do"] == "send":
            model.send(line, line["t"])
        elif own:
            model.amend(line) if line["do"] == "amend" else model.cancel(line)
        elif line.get("gap"):
            model.lose()
        elif line.get("snapshot"):
            model.snapshot(line["level3"])
        else:
            model.instant(line.get("trade", []), line.get("level3", []))
    return model.events

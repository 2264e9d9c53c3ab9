"""Small lakes for fills: orders and trades by milliseconds, recorded as one session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frames
import lakes
from krakpot import Lake

SYMBOL = "BTC/USD"
MS = 1_000_000
SIDES = {"buy": "bid", "sell": "ask"}

Event = tuple[str, str, int, int, int] | tuple[str, str, int, int, int, int]
"""What (add, modify, delete), side, order, price, quantity; the time of an order that is older than its message."""
Print = tuple[str, int, int]
"""Side of the taker, price, quantity."""


@dataclass
class Step:
    """What happened at a time, ms."""

    t: int
    events: tuple[Event, ...] = ()
    prints: tuple[Print, ...] = ()
    snapshot: bool = False
    lost: bool = False
    """Its level-3 message did not arrive."""
    lost_prints: bool = False
    """Its trades did not arrive."""


def time(t: float) -> int:
    """Nanoseconds of a time in ms."""
    return frames.START + round(t * MS)


def name(order: int) -> str:
    """Id of an order."""
    return f"O{order:05}-AAAAA-AAAAAA"


def make(path: Path, steps: Iterable[Step], **options: Any) -> Lake:
    """Record the frames of them in one session."""
    lakes.make(path, timed_frames(steps, **options))
    return Lake(path)


def timed_frames(
    steps: Iterable[Step], *, depth: int = 10, trades: bool = True, book: bool = True, rule: str = "keep_place"
) -> list[lakes.Timed]:
    """Level 3, trades and book of one pair; a heartbeat a second after the last one.

    ``rule``: what a ``modify`` does to the place of an order.
    """
    orders = frames.Orders(depth, 1, 8, rule, symbol=SYMBOL)
    level2 = frames.Book(SYMBOL, depth=depth)
    timed: list[lakes.Timed] = [(time(0), frames.instrument(frames.pair(SYMBOL)))]
    timed += [(time(0), frames.ack(channel, SYMBOL, depth=depth)) for channel in ("level3", *(["book"] * book))]
    if trades:
        timed.append((time(0), frames.ack("trade", SYMBOL)))
    begun = False
    number, at = 0, 0
    for step in steps:
        at = time(step.t)
        for side, price, qty in step.prints if trades else ():
            number += 1
            text = frames.trade(SYMBOL, number, price=f"{price}.0", qty=f"{qty}.00000000", side=side, ts=at)
            if not step.lost_prints:
                timed.append((at, text))
        entries: list[frames.OrderEntry] = []
        for what, side, order, price, qty, *ts in step.events:
            old = orders.find(name(order))
            placed = time(ts[0]) if ts else old.place[0] if old is not None and what == "modify" else at
            entries.append((SIDES[side], what, name(order), f"{price}.0", f"{qty}.00000000", placed))
        before = dict(frames_of(orders))
        if not begun or step.snapshot:
            orders.held = [] if step.snapshot else orders.held
            orders.apply([(side, None, *rest) for side, _, *rest in entries])  # type: ignore[misc]  # the rest of them
            timed.append((at, orders.snapshot(ts=at)))
        elif entries:
            text = orders.update(entries, ts=at)
            if not step.lost:
                timed.append((at, text))
        after = dict(frames_of(orders))
        if book and (not begun or step.snapshot):
            level2.sides = {"bid": {}, "ask": {}}
            sides = [orders.levels(side) for side in ("bid", "ask")]
            timed.append((at, level2.snapshot(*([level[:2] for level in side] for side in sides), ts=at)))
        elif book and entries:
            gone = [(side, price, "0.00000000") for side, price in before if (side, price) not in after]
            new = [(side, price, qty) for (side, price), qty in after.items() if before.get((side, price)) != qty]
            timed.append((at, level2.update([*gone, *new], ts=at)))
        begun = True
    timed.append((at + frames.SECOND, frames.HEARTBEAT))
    return timed


def frames_of(orders: frames.Orders) -> list[tuple[tuple[str, str], str]]:
    """Levels of both sides."""
    return [((side, price), qty) for side in ("bid", "ask") for price, qty, _ in orders.levels(side)]

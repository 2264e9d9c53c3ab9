"""Would a resting limit order have filled? An order of ours among the orders that were recorded.

The order is a ghost: it takes part in the queue of its price and changes nothing. All times are the exchange's. What
the record shows in one microsecond is one instant: trades first, then what orders lost, then new orders; our order
comes after it. The rules, for an order of ours at a price:

- Of what was traded at the price, the orders before ours have what they lost in that instant; the rest reaches ours. It
  is ``queue`` as far as orders behind ours lost that much (with ours there it was ours), and ``beyond`` where more was
  traded than was shown.
- What was traded at a worse price would have met ours first: ``through``.
- An order of the other side that comes to rest at our price or better would have met ours: ``crossed``.

An order before ours that is still there after the instant shows that the trades did not reach ours, or that the two
channels do not fit together. Such quantity counts only for ``filled_max``.

Level 2 shows no orders, so there are two bounds: everything that left a level without being traded stood behind ours
(``filled``), or before it (``filled_max``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal
from itertools import chain, groupby, pairwise
from typing import Any, Literal, NamedTuple, get_args

import polars as pl

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.lake.format import BOOK_KINDS, moment, polars_schema
from krakpot.lake.queue import dicts, taken, why
from krakpot.lake.recorded import check_recorded
from krakpot.lake.sample import SKEW, SymbolBooks, one_of, plain, symbol_books
from krakpot.lake.times import TIME
from krakpot.values import OrderSide, shown

Outcome = Literal["filled", "partly filled", "not filled", "would have taken", "unknown"]
BOUNDS, UNMATCHED, TRADES = "bounds", "unmatched", "trades"
REASONS = {
    BOUNDS: "level 2 does not show whether what was canceled stood before the order or behind it",
    UNMATCHED: "trades at the price do not fit the orders of level 3 at their time",
    TRADES: "trades were not recorded, or are missing",
}
"""Why it is not known, beside those of ``sample`` and the kinds of the ledger."""
BOOK_SIDES: dict[str, str] = {"buy": "bid", "sell": "ask"}
OTHER = {"buy": "sell", "sell": "buy"}
DIGITS = 10
"""Decimals of the columns."""
EXACT = Context(prec=60)
QTY_MAX = 10**28
US = 1000
EARLY = 1_000
"""How much earlier than a trade the book channel may show what it left of a level, µs."""
LATE = 1_000_000
"""How much later, µs: what left a level within it counts as traded as far as it was."""
NEAR = 60 * 10**9
"""Trades that are read around the period, ns: their ids say whether some are missing at its ends."""
LATE_TRADES = 3600 * 10**9
"""How much later than it was made a trade may come, by a snapshot after a reconnect, ns."""
FILLS = {
    "ts": TIME,
    "evidence": pl.String(),
    "price": pl.Decimal(38, DIGITS),
    "qty": pl.Decimal(38, DIGITS),
    "qty_max": pl.Decimal(38, DIGITS),
}
QUANTITIES = ("price", "before", "qty")
ORDER_COLUMNS = ("ts_event", "what", "side", "price", "order_id", "ts_order", "before", "qty")
TRADE_COLUMNS = ("ts_event", "trade_id", "side", "price", "qty")
EVIDENCE: dict[tuple[str, ...], dict[str, pl.DataType]] = {
    TRADE_COLUMNS: {name: polars_schema("trades")[name] for name in TRADE_COLUMNS},
    ORDER_COLUMNS: {
        name: TIME if name.startswith("ts_") else pl.Decimal(38, DIGITS) if name in QUANTITIES else pl.String()
        for name in ORDER_COLUMNS
    },
}
"""Columns of the evidence, with their types."""


@dataclass(frozen=True)
class WouldFill:
    """Whether a resting limit order would have filled, and what proves it."""

    symbol: str
    side: OrderSide
    price: Decimal
    qty: Decimal
    at: int
    """When the order was placed, by the exchange's time, nanoseconds since the epoch."""
    until: int
    """The last time that was looked at; the exchange's, ns."""
    channel: str
    """``level3`` or ``book``."""
    outcome: Outcome
    """``filled``, ``partly filled``, ``not filled``; ``would have taken``: it would have met orders at once;
    ``unknown``: see ``reason``."""
    reason: str | None
    """Why it is unknown, or, where no end was given, why the book ended; else None."""
    filled: Decimal
    """Quantity that would certainly have filled up to ``until``."""
    filled_max: Decimal
    """Quantity that may have filled; level 3: the same, unless trades and orders do not fit together."""
    first_fill: int | None
    """Time of the first certain fill, ns; None without one."""
    last_fill: int | None
    """Time of the last certain fill, ns."""
    ahead: Decimal | None
    """Quantity before the order when it was placed; None where the price was outside of the recorded window."""
    fills: pl.DataFrame
    """The fills: ts, evidence (``queue``, ``beyond``, ``through``, ``crossed``; ``taken``), price, qty, qty_max."""
    trades: pl.DataFrame
    """Trades at the price or a worse one in the period: ts_event, trade_id, side (the taker's), price, qty."""
    orders: pl.DataFrame
    """The orders at the price when it was placed (``there``), and each change: ts_event, what, side, price, order_id,
    ts_order, before and qty (quantity before and after it). On level 2 the level is one order without an id."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object: exact numbers as text without trailing zeros, times with nine decimals."""
        times = {name: getattr(self, name) for name in ("at", "until", "first_fill", "last_fill")}
        numbers = {name: getattr(self, name) for name in ("price", "qty", "filled", "filled_max", "ahead")}
        facts: dict[str, Any] = {"symbol": self.symbol, "side": self.side, "channel": self.channel}
        facts |= {"outcome": self.outcome, "reason": self.reason}
        facts |= {name: None if time is None else moment(time) for name, time in times.items()}
        facts |= {name: None if number is None else plain(number) for name, number in numbers.items()}
        return facts | {name: dicts(getattr(self, name)) for name in ("fills", "trades", "orders")}

    def lines(self) -> list[str]:
        """As text for a terminal."""
        amount = plain(self.filled)
        if self.filled != self.filled_max:
            amount = f"{amount} to {plain(self.filled_max)}"
        told = f": {REASONS.get(self.reason) or why(self.reason)}" if self.reason is not None else ""
        order = f"{self.side} {plain(self.qty)} {self.symbol} at {plain(self.price)}"
        found = [
            f"{order}, placed {moment(self.at)}, on {self.channel}",
            f"{self.outcome}{told}",
            f"{amount} of {plain(self.qty)} up to {moment(self.until)}",
        ]
        if self.ahead is not None:
            found.append(f"{plain(self.ahead)} was before it in the queue when it was placed")
        if self.fills.height:
            found.append(f"{'time (UTC)':<32}{'qty':>18}{'at most':>18}  evidence")
        for row in self.fills.with_columns(pl.col("ts").to_physical()).iter_rows(named=True):
            numbers = f"{plain(row['qty']):>18}{plain(row['qty_max']):>18}"
            found.append(f"{moment(row['ts']):<32}{numbers}  {row['evidence']}")
        return found


class _Print(NamedTuple):
    """A trade that hit orders of our side."""

    instant: int
    """Its time in µs."""
    price: int
    qty: int


class _Change(NamedTuple):
    """A row of ``_core.QueueReader.level``; numbers in steps of 10^-``DIGITS``."""

    ts: int
    what: str
    side: str | None
    price: int | None
    order_id: str | None
    ts_order: int | None
    before: int | None
    qty: int | None
    reason: str | None


@dataclass
class _Ghost:
    """What our order has filled: for certain, and at most."""

    qty: int
    certain: int = 0
    most: int = 0
    fills: list[tuple[int, str, int, int]] = field(default_factory=list)
    """Time (ns), evidence, certain quantity, largest quantity."""

    def fill(self, ts: int, evidence: str, certain: int, most: int) -> int:
        """Fill as much of it as is left; returns how much, at most."""
        certain, most = min(certain, self.qty - self.certain), min(most, self.qty - self.most)
        if most > 0 or certain > 0:
            self.certain += certain
            self.most += most
            self.fills.append((ts, evidence, certain, most))
        return max(most, 0)


class _Level3:
    """The queue of level 3 with our order in it."""

    def __init__(self, ghost: _Ghost, side: str, price: int, seq: int) -> None:
        """``seq``: the time of our order's place, ns; orders that are as old stand before it."""
        self.ghost, self.side, self.price, self.seq = ghost, side, price, seq
        self.held: dict[tuple[str | None, int | None], int] = {}
        self.eaten: dict[str | None, int] = {}
        self.visible = True
        self.unseen: int | None = 0
        """What may stand before ours while the price is outside of the window; None: it is not known."""

    def first(self, there: list[_Change], *, visible: bool) -> int | None:
        """The orders at its price when our order came; returns the quantity before it."""
        self.held = {(one.order_id, one.ts_order): one.qty or 0 for one in there if one.side == self.side}
        self.visible, self.unseen = visible, 0 if visible else None
        return self.ahead() if visible else None

    def ahead(self) -> int:
        """Quantity before our order."""
        return sum(qty for (_, order), qty in self.held.items() if self.before(order))

    def before(self, order: int | None) -> bool:
        """Whether an order of this time stands before ours."""
        return order is not None and order <= self.seq

    def instant(self, instant: int, prints: list[_Print], changes: list[_Change]) -> None:
        """What happened in one microsecond."""
        gone = behind = 0
        for one in changes:
            if one.side == self.side and one.what in {"delete", "modify"}:
                lost = max((one.before or 0) - (one.qty or 0), 0)
                # A modified order may have another place now; what it lost, it lost where it was.
                orders = [order for order_id, order in self.held if order_id == one.order_id]
                if self.before(orders[0] if orders and one.what == "modify" else one.ts_order):
                    gone += lost
                else:
                    behind += lost
        visible, unseen = self.visible, self.unseen
        for one in changes:
            self._apply(one)
        ts = instant * US
        at = sum(one.qty for one in prints if one.price == self.price)
        worse = sum(one.qty for one in prints) - at
        mine = at - min(at, gone)
        queued = min(mine, behind)
        if visible:
            certain = mine if self.ahead() + (self.unseen or 0) == 0 else 0
        else:
            # Orders that were not shown may have had it.
            certain = 0 if unseen is None else max(mine - unseen, 0)
            self.unseen = self.unseen and max(self.unseen - at, 0)
        self.ghost.fill(ts, "queue", min(queued, certain), queued)
        self.ghost.fill(ts, "beyond", certain - min(queued, certain), mine - queued)
        self.ghost.fill(ts, "through", worse if self.ahead() == 0 else 0, worse)
        for one in sorted(changes, key=lambda one: one.what != "delete"):
            if one.side not in {None, self.side}:
                self._cross(one)

    def _apply(self, one: _Change) -> None:
        if one.side is None:
            # All orders of the price are told when it comes into the window.
            self.visible = one.what == "shown"
            self.unseen = 0 if self.visible else self.unseen
        if one.side != self.side:
            return
        key = (one.order_id, one.ts_order)
        if one.what == "left" and self.before(one.ts_order):
            self.unseen = (self.unseen or 0) + (one.before or 0)
        if one.qty:
            if one.what == "modify":
                self.held = {held: qty for held, qty in self.held.items() if held[0] != one.order_id}
            self.held[key] = one.qty
        else:
            self.held.pop(key, None)

    def _cross(self, one: _Change) -> None:
        """An order of the other side that could not rest beside ours."""
        if one.what == "delete":
            self.eaten.pop(one.order_id, None)
        elif one.what == "add":
            free = (one.qty or 0) - self.eaten.get(one.order_id, 0)
            took = self.ghost.fill(one.ts, "crossed", free, free)
            self.eaten[one.order_id] = self.eaten.get(one.order_id, 0) + took


class _Level2:
    """The level of level 2 with our order in it: two bounds of what stands before it."""

    def __init__(self, ghost: _Ghost, side: str, price: int) -> None:
        self.ghost, self.side, self.price = ghost, side, price
        self.most: int | None = None
        """The largest quantity that may stand before ours; None: it is not known."""
        self.least = 0
        self.caps: deque[tuple[int, int]] = deque()
        """Instant and quantity of the level: no more stands before ours."""
        self.away: dict[int, int] = {}
        """Quantity of levels of the other side that met ours and then left the window."""
        self.printed: deque[tuple[int, int]] = deque()
        """Instant and quantity that was traded and that the level has not shown yet."""

    def first(self, there: list[_Change], *, visible: bool) -> int | None:
        """The level when our order came; returns the quantity before it."""
        if visible:
            self.most = self.least = sum(one.qty or 0 for one in there if one.side == self.side)
        return self.most

    def instant(self, instant: int, prints: list[_Print], changes: list[_Change]) -> None:
        """What happened in one microsecond."""
        self._cap(instant - EARLY)
        ts = instant * US
        at = sum(one.qty for one in prints if one.price == self.price)
        worse = sum(one.qty for one in prints) - at
        if at:
            certain = 0 if self.most is None else max(at - self.most, 0)
            self.ghost.fill(ts, "queue", certain, max(at - self.least, 0))
            self.most = None if self.most is None else max(self.most - at, 0)
            self.least = max(self.least - at, 0)
            self.printed.append((instant, at))
        if worse:
            self.ghost.fill(ts, "through", worse, worse)
            self.most = self.least = 0
        for one in changes:
            if one.what in {"shown", "hidden"}:
                self._window(instant, shown=one.what == "shown")
            elif one.side == self.side:
                self._level(instant, one)
            else:
                self._cross(one)

    def _cap(self, instant: int) -> None:
        while self.caps and self.caps[0][0] <= instant:
            _, qty = self.caps.popleft()
            self.most = qty if self.most is None else min(self.most, qty)

    def _window(self, instant: int, *, shown: bool) -> None:
        """The price came into the window, or left it."""
        if not shown:
            # All that stood before ours may be canceled unseen.
            self.least = 0
        elif not self.caps or self.caps[-1][0] != instant:
            # Nothing rests there, or its quantity would have been told.
            self.caps.append((instant, 0))

    def _level(self, instant: int, one: _Change) -> None:
        """The level of ours changed."""
        if one.what == "left":
            return
        before, qty = one.before or 0, one.qty or 0
        self.caps.append((instant, qty))
        canceled = max(before - qty, 0)
        while self.printed and canceled:
            then, traded = self.printed.popleft()
            if then >= instant - LATE:
                known = min(traded, canceled)
                canceled -= known
                if traded > known:
                    self.printed.appendleft((then, traded - known))
        self.least = max(self.least - canceled, 0)

    def _cross(self, one: _Change) -> None:
        """A level of the other side that could not rest beside ours."""
        before, qty, price = one.before or 0, one.qty or 0, one.price or 0
        if one.what == "left":
            self.away[price] = before
        elif qty > before:
            # A level that comes into the window again may have the orders that met ours before.
            met = 0 if before else self.away.pop(price, 0)
            self.ghost.fill(one.ts, "crossed", max(qty - before - met, 0), qty - before)


def amount(value: object, name: str) -> Decimal:
    """A price or a quantity; ``ConfigError`` for what is none."""
    try:
        number = Decimal(value if isinstance(value, (int, Decimal)) else str(value))
        fits = not isinstance(value, bool) and 0 < number < QTY_MAX and number == round(number, DIGITS)
    except ArithmeticError:
        fits = False
    if not fits:
        raise ConfigError(f"{name}={shown(value)} is not allowed; give a number above 0 of at most {DIGITS} decimals")
    return number


def would_fill(
    folder: Folder,
    trades: Callable[[int, int], pl.LazyFrame],
    coverage: Callable[[], pl.DataFrame],
    *,
    symbol: str,
    side: OrderSide,
    price: object,
    qty: object,
    at: int,
    until: int | None,
    channel: str | None,
) -> WouldFill:
    """See ``Lake.would_fill``. ``trades``: those of the symbol that were received in a range, ns."""
    one_of("side", side, get_args(OrderSide))
    limit, size = amount(price, "price"), amount(qty, "qty")
    if channel is not None:
        one_of("channel", channel, tuple(kind.channel for kind in BOOK_KINDS))
    if until is not None and until < at:
        raise ConfigError("until is earlier than at; exchange the two")
    sampler, session, reason = _sampler(folder, symbol, at, channel)
    asked = _Asked(symbol, side, limit, size, at, until, sampler.kind.channel)
    if session is None:
        return asked.result(_Ghost(steps(size)), at, reason=reason, known=False)
    covers = (pl.col("session") == session) & (pl.col("ts_from") <= at) & (pl.col("ts_to") > at)
    span = sampler.spans.filter(covers).row(0, named=True)
    last = span["ts_to"] - 1 if until is None else min(span["ts_to"] - 1, until // US * US + US - 1)
    begin, end = at + span["low"] - SKEW - NEAR, last + span["high"] + SKEW + LATE_TRADES
    near = trades(max(begin, -(1 << 63)), min(end, (1 << 63) - 1)).select(TRADE_COLUMNS)
    made = pl.col("ts_event").dt.epoch("ns")
    near = near.filter(made >= at - NEAR, made <= last + NEAR).sort("ts_event", "trade_id")
    found = near.collect()
    spans = coverage().filter(channel="trade", symbol=symbol).select(pl.col("ts_from", "ts_to").dt.epoch("ns"))
    # Coverage is of receive times. What was on its way at an end is missing by its id, if anything was traded since.
    known = [(begin - span["low"], end - span["low"] - 1) for begin, end in spans.iter_rows()]
    told = trades_known(found, known, at, last)
    reason = TRADES if told < last else span["reason"]
    core = _core.QueueReader.level(
        session, at // US * US + US - 1, channel=asked.channel, side=BOOK_SIDES[side], price=f"{limit:f}"
    )
    walk = _walked(core, sampler, session, at, min(told, last), asked)
    return asked.run(walk, found, told, reason)


def _sampler(folder: Folder, symbol: str, at: int, channel: str | None) -> tuple[SymbolBooks, str | None, str | None]:
    """The channel to read, level 3 if it is known at that time, with its session, or the reason why there is none."""
    wanted = [channel] if channel is not None else ["level3", "book"]
    for one in wanted:
        sampler = symbol_books(folder, symbol, channel=one, by="event")
        session, reason = sampler.session_at(at)
        if session is not None or one == wanted[-1]:
            break
    # Of two that may be read, one that was recorded but is not known at that time would do.
    if not sampler.recorded and not any(symbol_books(folder, symbol, channel=one).recorded for one in wanted[:-1]):
        check_recorded(folder, [symbol], wanted[-1:])
    return sampler, session, reason


def trades_known(found: pl.DataFrame, known: list[tuple[int, int]], at: int, last: int) -> int:
    """Last time up to which all trades from ``at`` on are known, at most ``last``; before ``at`` if not even there.

    ``known``: first and last times in which they were recorded. Trades whose ids follow each other are known between,
    those whose ids do not were missed, whatever else is known.
    """
    rows = found.select(pl.col("ts_event").dt.epoch("ns"), "trade_id").rows()
    pairs = list(pairwise(rows))
    between = [(one[0], other[0]) for one, other in pairs if other[1] == one[1] + 1]
    missed = [(one[0], other[0]) for one, other in pairs if other[1] > one[1] + 1]
    until = at - 1
    for begin, end in sorted(known + between):
        if begin <= until + 1:
            until = max(until, end)
    for begin, end in missed:
        if end > at and begin <= until:
            until = max(begin, at) - 1
    return min(until, last)


def steps(number: Decimal) -> int:
    """A number in steps of 10^-``DIGITS``."""
    return int(number.scaleb(DIGITS, EXACT))


def _number(count: int) -> Decimal:
    return Decimal(count).scaleb(-DIGITS, EXACT).normalize(EXACT) + 0


def _walked(
    core: _core.QueueReader, sampler: SymbolBooks, session: str, at: int, last: int, asked: _Asked
) -> Iterator[pl.DataFrame]:
    """Rows of the core, frame by frame; ``ConfigError`` for numbers that the pair does not have."""
    for _ in sampler.walk(core, session, at, max(last, at)):
        asked.check(core.precision)
        yield taken(core)
    asked.check(core.precision)
    yield taken(core, last=True)


def _changes(frames: Iterator[pl.DataFrame], kept: list[pl.DataFrame]) -> Iterator[_Change]:
    columns = [
        pl.coalesce("ts_event", "ts_recv").dt.epoch("ns"), "what", "side", pl.col("price").to_physical(), "order_id",
        pl.col("ts_order").dt.epoch("ns"), pl.col("before", "qty").to_physical(), "reason",
    ]  # fmt: skip
    for frame in frames:
        kept.append(frame)
        yield from map(_Change._make, frame.select(columns).iter_rows())


@dataclass(frozen=True)
class _Asked:
    """What was asked for."""

    symbol: str
    side: OrderSide
    price: Decimal
    qty: Decimal
    at: int
    until: int | None
    channel: str

    def check(self, precision: tuple[int, int] | None) -> None:
        """Raise ``ConfigError`` for a price or a quantity of more decimals than the pair has."""
        for name, number, decimals in zip(("price", "qty"), (self.price, self.qty), precision or (), strict=False):
            if number != round(number, decimals):
                raise ConfigError(f"{name}={plain(number)} has more decimals than {self.symbol} has there: {decimals}")

    def run(self, frames: Iterator[pl.DataFrame], found: pl.DataFrame, told: int, reason: str) -> WouldFill:
        """Follow the order through the record, as far as that is known."""
        ghost = _Ghost(steps(self.qty))
        price, side = steps(self.price), BOOK_SIDES[self.side]
        queue = (
            _Level3(ghost, side, price, self.at // US * US + US - 1)
            if self.channel == "level3"
            else _Level2(ghost, side, price)
        )
        kept: list[pl.DataFrame] = []
        changes = _changes(frames, kept)
        head = next(changes)
        if head.what == "end":
            return self.result(ghost, self.at, reason=head.reason, known=False)
        there: list[_Change] = []
        after = None
        for one in changes:
            if one.what != "there":
                after = one
                break
            there.append(one)
        met = [one for one in there if one.side != side]
        if met:
            return self._taken(met, pl.concat(kept))
        ahead = queue.first(there, visible=head.what == "shown")
        worse = pl.col("price") <= self.price if self.side == "buy" else pl.col("price") >= self.price
        hits = found.filter(pl.col("side") == OTHER[self.side], worse)
        hits = hits.filter(pl.col("ts_event").dt.epoch("us") > self.at // US)
        instants = hits.select(pl.col("ts_event").dt.epoch("us"), pl.col("price", "qty").to_physical()).iter_rows()
        prints = deque(map(_Print._make, instants))
        rest = changes if after is None else chain([after], changes)
        last = told
        for instant, group in groupby(rest, key=lambda one: one.ts // US):
            mine = list(group)
            end = next((one for one in mine if one.what == "end"), None)
            if end is not None and instant * US <= told:
                told, reason = instant * US - 1, end.reason or reason
            if instant * US > told or ghost.certain == ghost.qty:
                break
            _prints(queue, prints, instant - 1)
            queue.instant(instant, _take(prints, instant), mine)
        _prints(queue, prints, told // US)
        known = told >= (self.until // US * US if self.until is not None else self.at)
        last = min(told, ghost.fills[-1][0] // US * US + US - 1) if ghost.certain == ghost.qty else told
        ended = self.until if known and self.until is not None else max(told, self.at)
        return self.result(
            ghost, ended, reason=reason, known=known, ahead=ahead, trades=hits, orders=pl.concat(kept), last=last
        )

    def _taken(self, met: list[_Change], orders: pl.DataFrame) -> WouldFill:
        """It would not have rested."""
        ghost = _Ghost(steps(self.qty))
        rows = []
        for one in met:
            took = min(ghost.qty, one.qty or 0)
            ghost.qty -= took
            if took:
                rows.append((self.at, "taken", _number(one.price or 0), _number(took), _number(took)))
        fills = pl.DataFrame(rows, schema=FILLS, orient="row")
        return self.result(_Ghost(0), self.at, outcome="would have taken", fills=fills, orders=orders, last=self.at)

    def result(
        self,
        ghost: _Ghost,
        ended: int,
        *,
        reason: str | None = None,
        known: bool = True,
        outcome: Outcome | None = None,
        ahead: int | None = None,
        fills: pl.DataFrame | None = None,
        trades: pl.DataFrame | None = None,
        orders: pl.DataFrame | None = None,
        last: int = 0,
    ) -> WouldFill:
        """What came of it; ``known``: up to the end that was asked for; ``last``: the evidence ends there, ns."""
        if outcome is None:
            outcome, reason = self._outcome(ghost, reason, known=known)
        rows = [
            (ts, evidence, self.price, _number(certain), _number(most)) for ts, evidence, certain, most in ghost.fills
        ]
        if fills is None:
            fills = pl.DataFrame(rows, schema=FILLS, orient="row")
        certain = [ts for ts, _, qty, _ in ghost.fills if qty]
        seen = pl.col("ts_event").is_null() | (pl.col("ts_event").dt.epoch("ns") <= last)
        evidence = [
            pl.DataFrame(schema=EVIDENCE[columns]) if frame is None else frame.select(columns).filter(seen)
            for frame, columns in ((trades, TRADE_COLUMNS), (orders, ORDER_COLUMNS))
        ]
        return WouldFill(
            self.symbol, self.side, self.price, self.qty, self.at, ended, self.channel, outcome, reason,
            _number(ghost.certain), _number(ghost.most), certain[0] if certain else None,
            certain[-1] if certain else None, None if ahead is None else _number(ahead), fills, *evidence,
        )  # fmt: skip

    def _outcome(self, ghost: _Ghost, reason: str | None, *, known: bool) -> tuple[Outcome, str | None]:
        if ghost.certain == ghost.qty:
            return "filled", None
        if not known:
            return "unknown", reason
        if ghost.certain != ghost.most:
            return "unknown", UNMATCHED if self.channel == "level3" else BOUNDS
        return "partly filled" if ghost.certain else "not filled", reason if self.until is None else None


def _take(prints: deque[_Print], instant: int) -> list[_Print]:
    """Take the trades of one instant, the next one."""
    found = []
    while prints and prints[0].instant == instant:
        found.append(prints.popleft())
    return found


def _prints(queue: _Level3 | _Level2, prints: deque[_Print], until: int) -> None:
    """Trades up to an instant in which nothing else happened at the price."""
    while prints and prints[0].instant <= until:
        queue.instant(prints[0].instant, _take(prints, prints[0].instant), [])

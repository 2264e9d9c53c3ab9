"""Would a limit order have filled? One order, with its fills, the trades that reached its price, the orders there.

The verdict is that of paper trading (the room ``trade``, which answers any number of orders in one pass); here is what
is shown with it. All times are the exchange's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

import polars as pl

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.lake.format import BOOK_KINDS, moment, polars_schema
from krakpot.lake.queue import dicts, taken, why
from krakpot.lake.recorded import check_recorded
from krakpot.lake.sample import SymbolBooks, one_of, plain, symbol_books
from krakpot.lake.times import TIME
from krakpot.values import OrderSide, shown

Outcome = Literal["filled", "partly filled", "not filled", "unknown", "not recorded"]
GAP, ENDED = "gap", "ended"
REASONS = {
    "bounds": "level 2 does not show whether what was canceled stood before the order or behind it",
    "unmatched": "more was traded at the price than the orders of level 3 showed",
    "trades": "trades were not recorded, or are missing",
    GAP: "the book was not known for a time while the order rested",
    ENDED: "the recording ended before",
}
"""Why it is not known, beside those of ``sample`` and the kinds of the ledger."""
BOOK_SIDES: dict[str, str] = {"buy": "bid", "sell": "ask"}
OTHER = {"buy": "sell", "sell": "buy"}
DIGITS = 10
"""Decimals of the columns."""
QTY_MAX = 10**28
US = 1000
NEAR = 60 * 10**9
"""How much earlier than it was made a trade may have been received, by a clock that is behind, ns."""
LATE_TRADES = 3600 * 10**9
"""How much later it may come, by a snapshot after a reconnect, ns."""
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
    """Up to this time the answer holds; the exchange's, ns."""
    channel: str
    """``level3`` or ``book``."""
    outcome: Outcome
    """``filled``, ``partly filled``, ``not filled``; ``unknown``: see ``reason``; ``not recorded``: the book is not
    known at ``at``."""
    reason: str | None
    """Why it is unknown, or, where no end was given, why the book ended; else None."""
    filled: Decimal
    """Quantity that would certainly have filled up to ``until``."""
    filled_max: Decimal
    """Quantity that may have filled; level 3: the same, unless some of it is in doubt."""
    first_fill: int | None
    """Time of the first fill, ns; None without one."""
    last_fill: int | None
    """Time of the last fill, ns."""
    ahead: Decimal | None
    """Quantity before the order when it came to rest; None if it did not, or if its price was outside of the window."""
    gaps: int
    """How often the book was not known while it rested."""
    fills: pl.DataFrame
    """The fills: ts, evidence (``queue``, ``beyond``, ``through``, ``crossed``, ``taken``), price, qty, trade_id,
    doubt. Level 2: those of the upper bound."""
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
        facts |= {"outcome": self.outcome, "reason": self.reason, "gaps": self.gaps}
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
            found.append(f"{'time (UTC)':<32}{'price':>18}{'qty':>18}  evidence")
        for row in self.fills.with_columns(pl.col("ts").to_physical()).iter_rows(named=True):
            numbers = f"{plain(row['price']):>18}{plain(row['qty']):>18}"
            doubt = ", in doubt" if row["doubt"] else ""
            found.append(f"{moment(row['ts']):<32}{numbers}  {row['evidence']}{doubt}")
        return found


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


Ask = Callable[[pl.DataFrame, str], tuple[pl.DataFrame, pl.DataFrame]]
"""Answers a frame of orders by a channel: a row for each, and the fills of all."""


def would_fill(
    folder: Folder,
    trades: Callable[[int, int], pl.LazyFrame],
    ask: Ask,
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
    one = {"symbol": symbol, "side": side, "price": plain(limit), "qty": plain(size), "at": at, "until": until}
    kind = sampler.kind.channel
    try:
        frame, fills = ask(pl.DataFrame([one], schema_overrides={"until": pl.Int64()}), kind)
    except ConfigError as error:
        # It is one order: there is no row to be named.
        raise ConfigError(str(error).replace(": row 0: ", ": ")) from None
    times = pl.col("first_fill", "last_fill", "known_until").to_physical()
    found = frame.with_columns(times).row(0, named=True)
    end = found["known_until"] if found["known_until"] is not None else at
    if session is None or found["outcome"] == "not recorded":
        reason = reason or GAP
    else:
        covers = (pl.col("session") == session) & (pl.col("ts_from") <= at) & (pl.col("ts_to") > at)
        span = sampler.spans.filter(covers).row(0, named=True)
        reason = found["reason"]
        ended = reason is None and until is None and found["outcome"] != "filled"
        if ended or (reason in {GAP, ENDED} and span["ts_to"] <= end + NEAR):
            # The ledger says it better.
            reason = span["reason"]
    seen = min(end, found["last_fill"]) if found["outcome"] == "filled" else end
    reached, orders = _evidence(sampler, session, trades, one | {"price": limit}, seen // US * US + US - 1)
    names = ("outcome", "filled", "filled_max", "first_fill", "last_fill", "ahead", "gaps")
    numbers = {name: found[name] for name in names}
    for name in ("filled", "filled_max", "ahead"):
        numbers[name] = None if numbers[name] is None else numbers[name].normalize() + 0
    known = until if until is not None and found["outcome"] not in {"unknown", "not recorded"} else end
    return WouldFill(
        symbol=symbol, side=side, price=limit, qty=size, at=at, until=known, channel=kind, reason=reason,
        fills=fills.drop("row"), trades=reached, orders=orders, **numbers,
    )  # fmt: skip


def _evidence(
    sampler: SymbolBooks,
    session: str | None,
    trades: Callable[[int, int], pl.LazyFrame],
    one: dict[str, Any],
    last: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trades at the price or a worse one, and the orders at the price, up to a time."""
    if session is None:
        empty = [pl.DataFrame(schema=EVIDENCE[columns]) for columns in (TRADE_COLUMNS, ORDER_COLUMNS)]
        return empty[0], empty[1]
    side, price, at = one["side"], one["price"], one["at"]
    near = trades(max(at - NEAR, -(1 << 63)), min(last + LATE_TRADES, (1 << 63) - 1)).select(TRADE_COLUMNS)
    worse = pl.col("price") <= price if side == "buy" else pl.col("price") >= price
    made = pl.col("ts_event").dt.epoch("ns")
    hits = near.filter(pl.col("side") == OTHER[side], worse, made // US > at // US, made <= last)
    core = _core.QueueReader.level(
        session, at // US * US + US - 1, channel=sampler.kind.channel, side=BOOK_SIDES[side], price=f"{price:f}"
    )
    orders = pl.concat(_walked(core, sampler, session, at, last)).select(ORDER_COLUMNS)
    seen = pl.col("ts_event").is_null() | (pl.col("ts_event").dt.epoch("ns") <= last)
    return hits.sort("ts_event", "trade_id").collect(), orders.filter(seen)


def _sampler(folder: Folder, symbol: str, at: int, channel: str | None) -> tuple[SymbolBooks, str | None, str | None]:
    """The channel to read, level 3 if it is known at that time, with its session, or the reason why there is none."""
    wanted = [channel] if channel is not None else ["level3", "book"]
    samplers = [symbol_books(folder, symbol, channel=one, by="event") for one in wanted]
    found = [(sampler, *sampler.session_at(at)) for sampler in samplers]
    for sampler, session, reason in found:
        if session is not None:
            return sampler, session, reason
    recorded = [one for one in found if one[0].recorded]
    if not recorded:
        check_recorded(folder, [symbol], wanted[-1:])
    return recorded[-1] if recorded else found[-1]


def _walked(core: _core.QueueReader, sampler: SymbolBooks, session: str, at: int, last: int) -> Iterator[pl.DataFrame]:
    """Rows of the core, frame by frame."""
    for _ in sampler.walk(core, session, at, max(last, at)):
        yield taken(core)
    yield taken(core, last=True)

"""Level-3 queues: every order of a book at a time, and the life of one order.

The core rebuilds the book from the last whole one before the time asked for, and checks every checksum on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.errors import counted
from krakpot.lake.folder import Folder
from krakpot.lake.format import moment
from krakpot.lake.recorded import check_depth_recorded, check_recorded
from krakpot.lake.sample import ABSENT, NUMBERS, REASONS, By, check_depth, one_of, plain, symbol_books
from krakpot.lake.times import TIME
from krakpot.values import Numbers

CHANNEL = "level3"
DELETED, LEFT = "deleted", "left the window"
"""Why an order is no longer in the book, beside the kinds of the ledger and ``REASONS``."""
TAKERS = {"bid": "sell", "ask": "buy"}
"""Side of the taker that trades with an order of a side."""
DECIMAL = pl.Decimal(38, 10)
ORDERS = ("side", "price", "place", "order_id", "qty", "ahead", "level", "ts_order", "age")
"""Columns of ``OrdersAt.orders``."""
ZERO = Decimal(0)


@dataclass(frozen=True)
class OrdersAt:
    """Every order of the level-3 book of a symbol at a time."""

    symbol: str
    at: int
    """The time, nanoseconds since the epoch."""
    reason: str | None
    """Why there is no book; None if there is one."""
    checksum: int | None
    """Kraken's checksum of the orders of the best ten levels; None if there is no book."""
    orders: pl.DataFrame
    """A row for each order: bids, then asks, best level first, in the order in which they are filled. Columns side,
    price, place (0: the front of its level), order_id, qty, ahead (quantity in front of it in its level), level (0: the
    best one), ts_order, age (``at`` minus ts_order)."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object: exact numbers as text without trailing zeros, ages in seconds."""
        sides: dict[str, Any] = {"bids": [], "asks": []}
        for row in self.orders.with_columns(age=pl.col("age").dt.total_nanoseconds()).iter_rows(named=True):
            sides[f"{row['side']}s"].append(
                {
                    "order_id": row["order_id"],
                    "price": plain(row["price"]),
                    "qty": plain(row["qty"]),
                    "level": row["level"],
                    "place": row["place"],
                    "ahead": plain(row["ahead"]),
                    "age": row["age"] / 1e9,
                }
            )
        return {"symbol": self.symbol, "at": moment(self.at), "reason": self.reason, "checksum": self.checksum} | sides

    def lines(self) -> list[str]:
        """As a table for a terminal."""
        if self.reason is not None:
            return [f"{self.symbol} at {moment(self.at)}: there is no level-3 book: {why(self.reason)}"]
        found = [
            f"{self.symbol} at {moment(self.at)}, checksum {self.checksum}, {counted(self.orders.height, 'order')}",
            f"{'side':<5}{'price':>16}{'place':>7}{'qty':>20}{'ahead':>20}{'age':>12}  order",
        ]
        for row in self.orders.iter_rows(named=True):
            numbers = f"{plain(row['price']):>16}{row['place']:>7}{plain(row['qty']):>20}{plain(row['ahead']):>20}"
            found.append(f"{row['side']:<5}{numbers}{age(row['age']):>12}  {row['order_id']}")
        return found


@dataclass(frozen=True)
class OrderLife:
    """One order of level 3 as the recording saw it."""

    order_id: str
    symbol: str
    side: str
    """``bid`` or ``ask``."""
    ended: str
    """Why it is no longer in the book: ``deleted``, ``left the window`` (with its level), a kind of the ledger (the
    book went out of sync), ``stopped``, ``unfinished`` (the recording ended), or ``recording`` (it is still there)."""
    traded: Decimal
    """Quantity that it lost to trades: one of the same time, price and quantity, or some that follow each other."""
    unattributed: Decimal
    """Quantity that it lost without such a trade: canceled, or traded while trades were not recorded."""
    rows: pl.DataFrame
    """Its rows in order: ts_recv, ts_event, event (``snapshot`` where a snapshot told it), price, qty, lost (quantity
    that the row took away), traded (the part of it for which there is a trade; null where nothing was lost)."""
    path: pl.DataFrame
    """Its place after each message that changed it or its level: ts_recv, ts_event, price, qty, place (0: the front),
    ahead and behind (quantity in its level), reason (null while it is in the book, else why it is not)."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object: exact numbers as text without trailing zeros."""
        facts = {"order_id": self.order_id, "symbol": self.symbol, "side": self.side, "ended": self.ended}
        facts |= {"traded": plain(self.traded), "unattributed": plain(self.unattributed)}
        return facts | {"rows": dicts(self.rows), "path": dicts(self.path)}

    def lines(self) -> list[str]:
        """As a table for a terminal."""
        lost = f"{plain(self.traded)} traded, {plain(self.unattributed)} unattributed"
        found = [
            f"{self.order_id}, {self.side} of {self.symbol}: {why(self.ended)}; {lost}",
            f"{'received (UTC)':<27}{'price':>16}{'qty':>20}{'place':>7}{'ahead':>20}  ",
        ]
        for row in self.path.iter_rows(named=True):
            when = f"{row['ts_recv']:%Y-%m-%d %H:%M:%S.%f}"
            if row["reason"] is not None:
                found.append(f"{when:<27}{why(row['reason'])}")
                continue
            numbers = f"{plain(row['price']):>16}{plain(row['qty']):>20}{row['place']:>7}{plain(row['ahead']):>20}"
            found.append(f"{when:<27}{numbers}")
        return [line.rstrip() for line in found]


def age(passed: timedelta) -> str:
    """A duration for people: seconds, or hours, minutes and seconds."""
    seconds = passed.total_seconds()
    return f"{seconds:.3f}s" if abs(seconds) < 60 else str(timedelta(seconds=round(seconds)))  # noqa: PLR2004  # a minute


def why(reason: str) -> str:
    """A reason as words."""
    return reason if reason in {DELETED, LEFT} else REASONS.get(reason, f"the ledger says {reason}")


def dicts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: exact numbers as text without trailing zeros, times with nine decimals."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    rows = frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")).iter_rows(named=True)
    return [{name: plain(one) if isinstance(one, Decimal) else one for name, one in row.items()} for row in rows]


def taken(core: _core.QueueReader, *, last: bool = False) -> pl.DataFrame:
    """The rows that the core has, as a frame."""
    frame = pl.from_arrow(pa.record_batch(core.take(last=last)))
    assert isinstance(frame, pl.DataFrame), "a batch gives a frame"
    return frame


def orders_at(folder: Folder, symbol: str, at: int, *, by: By, depth: int | None, numbers: Numbers) -> OrdersAt:
    """Every order at a time; see ``Lake.orders_at``."""
    most = _core.LIMITS["DEPTH_MAX"]
    if depth is not None:
        check_depth(depth)
    one_of("numbers", numbers, NUMBERS)
    sampler = symbol_books(folder, symbol, channel=CHANNEL, by=by)
    if not sampler.recorded:
        check_recorded(folder, [symbol], [CHANNEL])
    if depth is not None:
        check_depth_recorded(folder, [symbol], CHANNEL, depth)
    session, reason = sampler.session_at(at)
    core = _core.QueueReader.orders(session or "", at, depth=depth or most, event=by == "event")
    if session is not None:
        for _ in sampler.walk(core, session, at, at):
            pass
        reason = core.reason
    found = taken(core).with_columns(age=pl.lit(at).cast(TIME) - pl.col("ts_order")).select(ORDERS)
    if numbers == "float":
        found = found.with_columns(pl.col(pl.Decimal).cast(pl.Float64))
    return OrdersAt(symbol, at, reason, core.checksum, found)


def order_life(folder: Folder, rows: pl.DataFrame, trades: pl.LazyFrame) -> OrderLife:
    """The life of one order from its rows (table ``orders``, at least one) and the trades of its symbol."""
    order_id, symbol, side = rows.select("order_id", "symbol", "side").row(0)
    begun = rows.group_by("session").agg(begun=pl.col("ts_recv").min())
    rows = rows.join(begun, on="session").sort("begun", "session", "message", "entry")
    path, ended = _path(folder, symbol, order_id, rows)
    told = _lost(rows, trades, side)
    columns = ("ts_recv", "ts_event", "event", "price", "qty", "lost", "traded")
    traded, unattributed = _sum(told["traded"]), _sum(told["lost"] - told["traded"])
    return OrderLife(order_id, symbol, side, ended, traded, unattributed, told.select(columns), path)


def _sum(quantities: pl.Series) -> Decimal:
    found = quantities.sum()
    return found if isinstance(found, Decimal) else ZERO


def _path(folder: Folder, symbol: str, order_id: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Place of the order over time, session after session, and why it ended."""
    sampler = symbol_books(folder, symbol, channel=CHANNEL)
    frames: list[pl.DataFrame] = []
    ended = ABSENT
    groups = rows.partition_by("session", maintain_order=True)
    received = [mine["ts_recv"].to_physical().to_list() for mine in groups]
    for n, mine in enumerate(groups):
        session = str(mine["session"][0])
        first, last = min(received[n]), max(received[n])
        covers = (pl.col("session") == session) & (pl.col("ts_from") <= last) & (pl.col("ts_to") > last)
        spans = sampler.spans.filter(covers)
        reason = str(spans["reason"][0]) if spans.height else ABSENT
        if mine["event"][-1] != "delete" and spans.height:
            last = int(spans["ts_to"][0]) - 1
        if n + 1 < len(groups):
            # From there on the next session is read.
            last = min(last, min(received[n + 1]) - 1)
        core = _core.QueueReader.order(session, order_id)
        found = [taken(core), *(taken(core) for _ in sampler.walk(core, session, first, last))]
        known = pl.concat(found).filter(pl.col("ts_recv") <= pl.lit(last).cast(TIME))
        frames.append(known)
        ended = reason if known.is_empty() or known["what"][-1] == "there" else str(_reason(known)["reason"][-1])
    columns = ("ts_recv", "ts_event", "price", "qty", "place", "ahead", "behind", "reason")
    return _reason(pl.concat(frames)).select(columns), ended


def _reason(known: pl.DataFrame) -> pl.DataFrame:
    """Why the order is not in the book, where it is not."""
    words = pl.col("what").replace_strict({"delete": DELETED, "left": LEFT}, default=None, return_dtype=pl.String)
    return known.with_columns(reason=pl.coalesce("reason", words))


def _lost(rows: pl.DataFrame, trades: pl.LazyFrame, side: str) -> pl.DataFrame:
    """The rows with the quantity that each took away, and how much of it was traded."""
    before = pl.col("qty").shift(1).over("session")
    lost = (
        pl.when(pl.col("event") == "delete")
        .then(before.fill_null(pl.col("qty")))
        .when((pl.col("event") == "modify") & (pl.col("qty") < before))
        .then(before - pl.col("qty"))
    )
    instant = pl.col("ts_event").dt.epoch("us").alias("instant")
    told = rows.with_columns(pl.col("event").fill_null("snapshot"), instant, lost=lost)
    reduced = told.filter(pl.col("lost") > 0)
    if reduced.is_empty():
        return told.with_columns(traded=pl.lit(None, DECIMAL))
    # In whole microseconds, which is what trades have.
    within = pl.col("ts_event").dt.epoch("us").is_between(reduced["instant"].min(), reduced["instant"].max())
    hits = trades.filter(within, pl.col("side") == TAKERS[side]).select(instant, "price", "qty", "trade_id").collect()
    hits = hits.sort("trade_id").group_by("instant", "price").agg(hits=pl.col("qty").to_physical())
    met = told.join(hits, on=["instant", "price"], how="left", maintain_order="left")
    fits = [
        lost is not None and _fits(lost, one or [])
        for lost, one in met.select(pl.col("lost").to_physical(), "hits").iter_rows()
    ]
    traded = pl.when(pl.Series(fits)).then("lost").otherwise(pl.lit(ZERO, DECIMAL))
    return told.with_columns(traded=pl.when(pl.col("lost").is_not_null()).then(traded))


def _fits(lost: int, hits: list[int]) -> bool:
    """Whether one trade, or some that follow each other, are of this quantity: an order may meet several takers."""
    return any(lost in accumulate(hits[n:]) for n in range(len(hits)))

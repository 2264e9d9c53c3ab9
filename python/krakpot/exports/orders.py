"""Changes of the level-3 book of a piece, and which of them were fills.

Kraken does not say why an order shrinks or goes. A fill is found by the trade that it made: of the same price and
quantity, against the other side, at the same time of the exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from krakpot.exports.books import Order, Queues, frames, numbers, opening, plain
from krakpot.exports.pieces import Piece, Recorded
from krakpot.lake.folder import View

INSTANT = 1_000
"""Trades have microseconds: an instant of the exchange is one of them, ns."""
WITHIN = 100_000_000
"""Largest difference of the times of a trade and of the change of the order that it filled, ns, where none is equal."""
SCHEMA = pl.Schema(
    {
        "message": pl.UInt64(),
        "ts_recv": pl.Int64(),
        "ts_event": pl.Int64(),
        "what": pl.String(),
        "order_id": pl.String(),
        "side": pl.String(),
        "price": pl.Decimal(38, 10),
        "qty": pl.Decimal(38, 10),
        "less": pl.Decimal(38, 10),
        "added": pl.Int64(),
    }
)
"""Columns of ``order_rows``. ``ts_event`` is in whole microseconds. ``what`` is snapshot, add, modify, cancel, or left
(the window). ``less`` is by how much the order shrank, null where it did not; ``added`` the time of the exchange at
which it was added."""


@dataclass
class Counts:
    """What other tools cannot show as it was."""

    unknown: int = 0
    """Changes of orders that are not in the book."""
    grew_in_place: int = 0
    """Orders that grew and kept their place: other tools put them behind."""
    placed_ahead: int = 0
    """Orders that were added ahead of others at their price: other tools put them behind."""
    left: int = 0
    """Orders that left the window."""


@dataclass
class _Rows:
    """Rows as columns."""

    columns: list[list[Any]] = field(default_factory=lambda: [[] for _ in SCHEMA])

    def add(self, at: tuple[int, int, int], what: str, order: Order, qty: int, less: int | None, added: int) -> None:
        side = "ask" if order.ask else "bid"
        values = (*at, what, order.order_id, side, order.price, qty, less, added)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)

    def take(self) -> pl.DataFrame:
        named = dict(zip(SCHEMA, self.columns, strict=True))
        decimals = {
            name: numbers([0 if value is None else value for value in named[name]]) for name in ("price", "qty", "less")
        }
        frame = pl.DataFrame(
            named | decimals,
            schema_overrides={name: SCHEMA[name] for name in ("message", "ts_recv", "ts_event", "added")},
        )
        self.columns = [[] for _ in SCHEMA]
        return (
            frame.with_columns(pl.when(pl.col("less") > 0).then("less").alias("less"))
            .select(SCHEMA.names())
            .cast(pl.Schema(SCHEMA))
        )


def order_rows(view: View, recorded: Recorded, piece: Piece, counts: Counts) -> Iterator[pl.DataFrame]:
    """Changes of the orders of a piece, in the order in which they apply (``SCHEMA``); the snapshot comes first.

    A change of price, or one that moves the order to another place in its queue, is a ``cancel`` and an ``add``.
    """
    book = Queues(recorded.rules(piece.session, piece.symbol))
    opened = opening(view, "level3", piece)
    if opened.checkpoint is not None:
        book.load(opened.checkpoint)
    changes = _Changes(book, counts)
    begun = False
    for early, rows in frames(view, "level3", piece, opened):
        _build(book, early)
        late = rows
        if late.height and not begun:
            begun = True
            first = late.row(0, named=True)
            at = (first["message"], piece.ts_from, min(piece.ts_from, first["ts_event"]))
            if first["kind"] == "snapshot":
                at = (first["message"], first["ts_recv"], first["ts_event"])
                _build(book, late.filter(pl.col("message") == first["message"]))
                late = late.filter(pl.col("message") > first["message"])
            changes.begin(at)
        changes.apply(late)
        if begun:
            yield changes.rows.take()


def _build(book: Queues, rows: pl.DataFrame) -> None:
    """Apply rows that only build the book."""
    _Changes(book, Counts()).apply(rows)


class _Changes:
    """Applies messages to a book, and makes the rows of what they change."""

    def __init__(self, book: Queues, counts: Counts) -> None:
        self.book = book
        self.counts = counts
        self.rows = _Rows()
        self._added: dict[str, int] = {}
        """When the orders of the book were added, by the time of the exchange."""
        self._waiting: list[Order] = []
        """Orders that the message adds: those of a level that returns come in no order."""
        self._at = (0, 0, 0)
        """Message, receive time, time of the exchange."""

    def begin(self, at: tuple[int, int, int]) -> None:
        """Add the rows of the snapshot."""
        self._at = (*at[:2], at[2] - at[2] % INSTANT)
        for order in self.book.snapshot():
            self._added[order.order_id] = self._at[2]
            self.rows.add(self._at, "snapshot", order, order.qty, None, self._at[2])

    def apply(self, frame: pl.DataFrame) -> None:
        """Apply the messages of a frame."""
        columns = (
            "message", "ts_recv", "ts_event", "kind", "depth", "event", "order_id", "ask", "price", "qty",
            pl.col("ts_order").dt.epoch("ns"),
        )  # fmt: skip
        last = -1
        depth = 0
        keeps = True
        for message, ts_recv, ts_event, kind, window, event, order_id, ask, price, qty, ts in (
            plain(frame).select(columns).iter_rows()
        ):
            if message != last:
                if last >= 0:
                    self._end(depth)
                last, depth = message, window
                self._at = (message, ts_recv, ts_event - ts_event % INSTANT)
                keeps = self.book.keeps_place(message)
            if order_id is None:
                continue
            order = Order(order_id, ask, price, qty, self.book.place(ts))
            if kind == "snapshot" or event == "add":
                self._add(order)
            else:
                self._change(order, gone=event == "delete" or not qty, keeps=keeps)
        if last >= 0:
            self._end(depth)

    def _add(self, order: Order) -> None:
        if any(order.order_id == one.order_id for one in self._waiting):
            self._settle()
        old = self.book.take(order.order_id)
        if old is not None:
            self._cancel(old)
        if order.qty:
            self._waiting.append(order)

    def _change(self, order: Order, *, gone: bool, keeps: bool) -> None:
        """``gone``: the order is no more; ``keeps``: the rule in force keeps the place of one whose price stays."""
        if self._waiting and order.order_id not in self.book.orders:
            self._settle()
        old = self.book.take(order.order_id)
        if old is None:
            self.counts.unknown += 1
        elif gone:
            self._cancel(old, less=old.qty)
        elif (order.ask, order.price) != (old.ask, old.price):
            self._cancel(old)
            self._waiting.append(order)
        elif not keeps and order.place[0] != old.place[0]:
            self._cancel(old, less=max(old.qty - order.qty, 0))
            self._waiting.append(order)
        else:
            self.counts.grew_in_place += order.qty > old.qty and not self.book.behind(old)
            self.book.put(old._replace(qty=order.qty))
            added = self._added.get(order.order_id, self._at[2])
            self.rows.add(self._at, "modify", order, order.qty, max(old.qty - order.qty, 0), added)

    def _cancel(self, order: Order, what: str = "cancel", less: int | None = None) -> None:
        self.rows.add(self._at, what, order, 0, less, self._added.pop(order.order_id, self._at[2]))

    def _settle(self) -> None:
        """Put the orders that wait, each behind those before it in its queue."""
        for order in sorted(self._waiting, key=lambda order: order.place):
            self.counts.placed_ahead += not self.book.behind(order)
            self.book.put(order)
            self._added[order.order_id] = self._at[2]
            self.rows.add(self._at, "add", order, order.qty, None, self._at[2])
        self._waiting.clear()

    def _end(self, depth: int) -> None:
        """End a message: what is outside the window leaves."""
        self._settle()
        for order in self.book.truncate(depth):
            self.counts.left += 1
            self._cancel(order, "left")


def fills(rows: pl.DataFrame, trades: pl.DataFrame) -> pl.DataFrame:
    """Which changes were fills, and by which trades.

    Parameters
    ----------
    rows
        Of ``order_rows``.
    trades
        ts_event (ns), side of the taker, price, qty, in the order of their ids.

    Returns
    -------
    DataFrame
        Columns row and trade (places in ``rows`` and ``trades``), ``hidden``. A trade is of the first kind that fits.
        It took what an order lost in the same instant, as the nth of those that are alike. It took a part of that, with
        all others of its instant and price. It took hidden quantity, which trades only after what is shown at its price
        (an iceberg); ``row`` is then a fill of the same instant and price. It took what an order lost within
        ``WITHIN``.

    """
    key = ["maker", "price", "less"]
    level = ["ts_event", "maker", "price"]
    shrank = rows.with_row_index("row").filter(pl.col("less").is_not_null()).rename({"side": "maker"})
    shrank = shrank.select("row", *level, "less")
    maker = pl.when(pl.col("side") == "buy").then(pl.lit("ask")).otherwise(pl.lit("bid"))
    made = trades.with_row_index("trade").select("trade", "ts_event", maker.alias("maker"), "price", less="qty")
    # What a sweep did to many orders can have times of two microseconds.
    at = shrank.select("ts_event", at="ts_event").unique().sort("ts_event")
    made = made.sort("ts_event").join_asof(at, on="ts_event", strategy="nearest", tolerance=INSTANT)
    made = made.with_columns(pl.coalesce("at", "ts_event").alias("ts_event")).drop("at")
    nth = pl.int_range(pl.len()).over("ts_event", *key).alias("nth")
    equal = shrank.with_columns(nth).join(made.with_columns(nth), on=["ts_event", *key, "nth"])
    equal = equal.select("row", "trade", *level)
    free, loose = shrank.join(equal, on="row", how="anti"), made.join(equal, on="trade", how="anti")
    one = free.filter(pl.len().over(level) == 1)
    sums = loose.with_columns(pl.col("less").sum().over(level)).join(one, on=[*level, "less"])
    shown = pl.concat([equal, sums.select("row", "trade", *level)])
    free, loose = free.join(shown, on="row", how="anti"), loose.join(shown, on="trade", how="anti")
    hidden = loose.join(shown.unique(level, keep="first").select("row", *level), on=level).select("row", "trade")
    loose = loose.join(hidden, on="trade", how="anti")
    near = free.sort("ts_event").join_asof(
        loose.sort("ts_event").with_columns(at="ts_event"),
        on="ts_event",
        by=key,
        strategy="nearest",
        tolerance=WITHIN,
        check_sortedness=False,
    )
    apart = (pl.col("ts_event") - pl.col("at")).abs()
    near = near.drop_nulls("trade").sort(apart, "row").unique("trade", keep="first", maintain_order=True)
    found = [(shown, False), (hidden, True), (near, False)]
    return pl.concat(frame.select("row", "trade", pl.lit(value).alias("hidden")) for frame, value in found).sort(
        "row", "trade"
    )

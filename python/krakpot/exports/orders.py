"""Changes of the level-3 book of a piece, and which of them were fills.

Kraken does not say why an order shrinks or goes. A fill is found by the trade that it made: of the same price and
quantity, against the other side, at the same time of the exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from krakpot.exports.books import Order, Queues, _plain, frames, numbers, opening
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
"""Columns of ``order_rows``. ``ts_event`` is in whole microseconds. ``what`` is snapshot, add, modify, cancel or left (it left the window); ``less`` is by how
much the order shrank, null where it did not; ``added`` the time of the exchange at which it was added."""


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

    columns: list[list[object]] = field(default_factory=lambda: [[] for _ in SCHEMA])

    def add(self, at: tuple[int, int, int], what: str, order: Order, qty: int, less: int | None, added: int) -> None:
        side = "ask" if order.ask else "bid"
        values = (*at, what, order.order_id, side, order.price, qty, less, added)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)

    def take(self) -> pl.DataFrame:
        named = dict(zip(SCHEMA, self.columns, strict=True))
        decimals = {
            name: numbers([0 if value is None else value for value in named[name]])  # type: ignore[misc]  # whole numbers
            for name in ("price", "qty", "less")
        }
        frame = pl.DataFrame(
            named | decimals,
            schema_overrides={name: SCHEMA[name] for name in ("message", "ts_recv", "ts_event", "added")},
        )
        self.columns = [[] for _ in SCHEMA]
        return (
            frame.with_columns(pl.when(pl.col("less") > 0).then("less").alias("less"))
            .select(SCHEMA.names())
            .cast(
                SCHEMA  # type: ignore[arg-type]  # names to types
            )
        )


def order_rows(view: View, recorded: Recorded, piece: Piece, counts: Counts) -> Iterator[pl.DataFrame]:
    """Changes of the orders of a piece, in the order in which they apply (``SCHEMA``); the snapshot comes first.

    A change of price, or one that moves the order to another place in its queue, is a ``cancel`` and an ``add``.
    """
    book = Queues(recorded.rules(piece.session, piece.symbol))
    added: dict[str, int] = {}
    rows = _Rows()
    opened = opening(view, "level3", piece)
    if opened.checkpoint is not None:
        book.load(opened.checkpoint)
    begun = False
    nothing = _Rows()
    for early, late in frames(view, "level3", piece, opened):
        _take(book, early, nothing, {}, Counts())
        nothing.columns = [[] for _ in SCHEMA]
        if late.is_empty():
            continue
        if not begun:
            begun = True
            first = late.row(0, named=True)
            own = first["kind"] == "snapshot"
            received = first["ts_recv"] if own else piece.ts_from
            made = first["ts_event"] if own else min(piece.ts_from, first["ts_event"])
            at = (first["message"], received, made // INSTANT * INSTANT)
            if own:
                _take(book, late.filter(pl.col("message") == first["message"]), nothing, {}, Counts())
                late = late.filter(pl.col("message") > first["message"])  # noqa: PLW2901  # the rest
            for order in book.snapshot():
                added[order.order_id] = at[2]
                rows.add(at, "snapshot", order, order.qty, None, at[2])
        _take(book, late, rows, added, counts)
        yield rows.take()


def _take(book: Queues, frame: pl.DataFrame, rows: _Rows, added: dict[str, int], counts: Counts) -> None:
    """Apply the messages of a frame, and add the rows of what they change."""
    columns = (
        "message", "ts_recv", "ts_event", "kind", "depth", "event", "order_id", "ask", "price", "qty",
        pl.col("ts_order").dt.epoch("ns"),
    )  # fmt: skip
    last = -1
    depth = 0
    at = (0, 0, 0)
    waiting: list[Order] = []
    keeps = True

    def add(order: Order) -> None:
        counts.placed_ahead += not book.behind(order)
        book.put(order)
        added[order.order_id] = at[2]
        rows.add(at, "add", order, order.qty, None, at[2])

    def cancel(order: Order, what: str = "cancel", less: int | None = None) -> None:
        rows.add(at, what, order, 0, less, added.pop(order.order_id, at[2]))

    def settle() -> None:
        # The orders of a level that returns come in no order.
        for order in sorted(waiting, key=lambda order: order.place):
            add(order)
        waiting.clear()

    def end() -> None:
        settle()
        for order in book.truncate(depth):
            counts.left += 1
            cancel(order, "left")

    for message, ts_recv, ts_event, kind, window, event, order_id, ask, price, qty, ts in (
        _plain(frame).select(columns).iter_rows()
    ):
        if message != last:
            if last >= 0:
                end()
            last, depth = message, window
            at = (message, ts_recv, ts_event - ts_event % INSTANT)
            keeps = book.keeps_place(message)
        if order_id is None:
            continue
        if kind == "snapshot" or event == "add":
            if waiting and any(order.order_id == order_id for order in waiting):
                settle()
            if (old := book.take(order_id)) is not None:
                cancel(old)
            if qty:
                waiting.append(Order(order_id, ask, price, qty, book.place(ts)))
            continue
        if waiting and order_id not in book.orders:
            settle()
        old = book.take(order_id)
        if old is None:
            counts.unknown += 1
        elif event == "delete" or not qty:
            cancel(old, less=old.qty)
        else:
            sent = book.place(ts)
            moved = (ask, price) != (old.ask, old.price)
            if moved or (not keeps and ts != old.place[0]):
                less = old.qty - qty if not moved and qty < old.qty else None
                cancel(old, less=less)
                waiting.append(Order(order_id, ask, price, qty, sent))
            else:
                order = old._replace(qty=qty)
                counts.grew_in_place += qty > old.qty and not book.behind(order)
                book.put(order)
                rows.add(at, "modify", order, qty, max(old.qty - qty, 0), added.get(order_id, at[2]))
    if last >= 0:
        end()


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
        Columns row and trade (places in ``rows`` and ``trades``), ``hidden``. A trade is of the first kind that fits: it
        took what an order lost in the same instant, as the nth of those that are alike; it took a part of that, with
        all others of its instant and price; it took hidden quantity, which trades only after what is shown at its
        price (an iceberg), and ``row`` is a fill of the same instant and price; or it took what an order lost within
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

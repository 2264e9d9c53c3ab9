"""Features of level 3: what was added and deleted, and the queues at the best prices; of frames of ``Lake.orders``.

A ``delete`` does not say why an order went: it was filled or cancelled. A level that comes back into the window is sent
as one ``add`` for each of its orders, so at a small depth not every ``add`` is a new order.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import TIME, added, need
from krakpot.values import step

SIDES = ("bid", "ask")
EVENTS = {f"{side}_{event}s": (side, event) for side in SIDES for event in ("add", "delete")}
"""Columns of counts, and what they count."""
ROWS = (
    "session",
    "message",
    "entry",
    "ts_recv",
    "symbol",
    "kind",
    "side",
    "event",
    "order_id",
    "price",
    "qty",
    "ts_order",
)
"""Columns of ``orders`` that queues are made of."""


def counts() -> dict[str, pl.Expr]:
    """How many orders were added and deleted on each side, as aggregations."""
    return {
        name: ((pl.col("side") == side) & (pl.col("event") == event)).sum().cast(pl.UInt32)
        for name, (side, event) in EVENTS.items()
    }


def order_counts(orders: pl.DataFrame, every: str | timedelta) -> pl.DataFrame:
    """Count the orders that were added and deleted in each bar of time.

    Parameters
    ----------
    orders
        As ``Lake.orders`` gives them. Snapshots are not counted.
    every
        Length of a bar; bars begin at its multiples since 1970, by receive times.

    Returns
    -------
    DataFrame
        Columns symbol (if the orders have it), ts_from, bid_adds, bid_deletes, ask_adds, ask_deletes (UInt32), in the
        order of symbol and time; a bar in which nothing came has no row.

    Raises
    ------
    ConfigError
        For a step that is none, or a missing column.

    """
    width = step(every)
    need(orders, ("ts_recv", "kind", "side", "event"))
    keys = [*(["symbol"] if "symbol" in orders.columns else []), "ts_from"]
    moment = pl.col("ts_recv").dt.epoch("ns")
    live = orders.filter(pl.col("kind") == "update").with_columns(ts_from=(moment - moment % width).cast(TIME))
    return live.group_by(keys).agg(**counts()).sort(keys)


def queues(books: pl.DataFrame, orders: pl.DataFrame, checkpoints: pl.DataFrame | None = None) -> pl.DataFrame:
    """Add the number of orders at the best prices, and how old they are on average.

    Parameters
    ----------
    books
        Books of level 3, ``Lake.books(channel="level3")``, with exact numbers, by receive time.
    orders
        Rows of ``Lake.orders`` from a snapshot or a checkpoint on, up to the last book.
    checkpoints
        Rows of ``Lake.scan("orders_checkpoints")``: whole books, from which orders are known too.

    Returns
    -------
    DataFrame
        The books with bid_queue_orders, ask_queue_orders (UInt32) and bid_queue_age, ask_queue_age (Float64, seconds):
        the mean time since an order took its place in the queue. A ``modify`` that leaves the price keeps the place.
        Null where there is no book, and where the orders do not add up to the quantity of the level, to the last digit:
        then rows are missing, or an order was deleted unseen while its level was out of the window.

    Raises
    ------
    ConfigError
        If a column is missing, the numbers are floats, or books of one symbol are given with orders of several.

    """
    best = [f"{side}_{what}_0" for side in SIDES for what in ("price", "qty")]
    need(books, ("ts", *best))
    need(orders, ROWS)
    kinds = [*(books.schema[name] for name in best), orders.schema["qty"]]
    if not all(isinstance(kind, pl.Decimal) for kind in kinds):
        raise ConfigError("queues need exact numbers; read the books and the orders with numbers='decimal'")
    keys = ["symbol"] if "symbol" in books.columns else []
    if not keys and orders["symbol"].n_unique() > 1:
        raise ConfigError("the books have no column 'symbol', but the orders are of several; filter them by symbol")
    levels = _levels(_placed(orders, checkpoints))
    by = ["symbol", "side", "_price"] if keys else ["side", "_price"]
    rows = books.with_row_index("_row").with_columns(_at=pl.col("ts").dt.epoch("ns"))
    for side in SIDES:
        asked = rows.select(
            *keys, "_row", "_at", side=pl.lit(side), _price=pl.col(f"{side}_price_0").cast(pl.String),
            _qty=pl.col(f"{side}_qty_0").to_physical(),
        )  # fmt: skip
        known = asked.drop_nulls("_price").sort("_at").join_asof(
            levels.sort("_at"), on="_at", by=by, check_sortedness=False
        )  # fmt: skip
        count = pl.col("_orders")
        age = (pl.col("_at").cast(pl.Int128) * count - pl.col("_since")).cast(pl.Float64) / count / 1e9
        known = known.filter(pl.col("_total") == pl.col("_qty"), count > 0).select(
            "_row", count.cast(pl.UInt32).alias(f"{side}_queue_orders"), age.alias(f"{side}_queue_age")
        )
        rows = rows.join(known, on="_row", how="left", maintain_order="left")
    return added(rows, books, *(f"{side}_queue_{what}" for side in SIDES for what in ("orders", "age")))


def _placed(orders: pl.DataFrame, checkpoints: pl.DataFrame | None) -> pl.DataFrame:
    """Each order in each of its states, from when to when it was in the book.

    A snapshot or a checkpoint is the whole book: it ends what was before, and begins an epoch.
    """
    frames = [orders.select(*ROWS, _later=pl.lit(value=True))]
    if checkpoints is not None:
        whole = checkpoints.with_columns(kind=pl.lit("checkpoint"), event=pl.lit(None, pl.String))
        frames.append(whole.select(*ROWS, _later=pl.lit(value=False)))
    order = ["symbol", "ts_recv", "session", "message", "_later", "entry"]
    rows = pl.concat(frames, how="vertical_relaxed").sort(order)
    place = pl.struct("session", "message", "kind")
    begins = (pl.col("kind") != "update") & (place != place.shift(1)).fill_null(value=True)
    rows = rows.with_columns(
        _epoch=begins.cum_sum().over("symbol"),
        _at=pl.col("ts_recv").dt.epoch("ns"),
        _place=pl.col("ts_order").dt.epoch("ns"),
    )
    ends = rows.group_by("symbol", "_epoch").agg(pl.col("_at").min()).select(
        "symbol", _epoch=pl.col("_epoch").cast(pl.Int64) - 1, _until="_at"
    )  # fmt: skip
    known = rows.with_row_index("_row").filter(pl.col("_epoch") > 0, pl.col("order_id").is_not_null())
    mine = ("symbol", "_epoch", "order_id")
    event = pl.col("event").fill_null("add")
    moved = (event != "modify") | (pl.col("price") != pl.col("price").shift(1))
    before = event.shift(1).over(mine)
    known = (
        known.with_columns(_end=pl.col("_at").shift(-1).over(mine), _moves=moved.over(mine), _before=before)
        .with_columns(_turn=pl.col("_moves").cum_sum().over(mine))
        .with_columns(_since=pl.col("_place").first().over(*mine, "_turn"), _epoch=pl.col("_epoch").cast(pl.Int64))
    )
    return (
        known.filter(event != "delete")
        .sort("_row")
        .join_asof(
            _returned(known),
            on="_row",
            by=["symbol", "_epoch", "side", "price"],
            strategy="forward",
            check_sortedness=False,
        )
        .join(ends, on=["symbol", "_epoch"], how="left")
        .with_columns(_end=pl.min_horizontal(pl.coalesce("_end", "_until"), "_again"))
    )


def _returned(known: pl.DataFrame) -> pl.DataFrame:
    """Rows before which a level came back into the window, and when: what was in it before is not in it any more.

    It comes back as one ``add`` for each of its orders. So one of them has an id that was there already, or a time that
    is older than others that came before it. If neither is so, the quantities do not add up, and nothing is said.
    """
    message = pl.struct("session", "message")
    newest = pl.col("_place").cum_max().over("symbol", "_epoch")
    rows = known.with_columns(_newest=newest, _first=(message != message.shift(1)).fill_null(value=True))
    # What was the newest before this message.
    rows = rows.with_columns(_newest=pl.when("_first").then(pl.col("_newest").shift(1).over("symbol", "_epoch")))
    rows = rows.with_columns(pl.col("_newest").forward_fill().over("symbol", "_epoch"))
    again = (pl.col("_before") != "delete").fill_null(value=False) | (pl.col("_place") < pl.col("_newest"))
    keys = ["symbol", "_epoch", "side", "price"]
    back = rows.filter(pl.col("event") == "add", again)
    places = back.group_by(*keys, "session", "message").agg(pl.col("_at").first().alias("_again"))
    firsts = rows.filter(pl.col("_first")).select("session", "message", _row="_row")
    found = places.join(firsts, on=["session", "message"])
    # The row before the message: its own rows are what the level has from now on.
    return found.select(*keys, "_again", _row=(pl.col("_row").cast(pl.Int64) - 1).clip(0).cast(pl.UInt32)).sort("_row")


def _levels(placed: pl.DataFrame) -> pl.DataFrame:
    """Orders, quantity and sum of times of each price, from each moment on at which they changed."""
    amounts = {"_orders": pl.lit(1), "_total": pl.col("qty").to_physical(), "_since": pl.col("_since")}
    wide = {name: one.cast(pl.Int128) for name, one in amounts.items()}
    keys = ["symbol", "side", "_price"]
    level = [pl.col("symbol"), pl.col("side"), pl.col("price").cast(pl.String).alias("_price")]
    come = placed.select(*level, "_at", **wide)
    gone = placed.filter(pl.col("_end").is_not_null()).select(
        *level, _at="_end", **{name: one * -1 for name, one in wide.items()}
    )
    changes = pl.concat([come, gone]).group_by(*keys, "_at").agg(pl.col(*wide).sum()).sort(*keys, "_at")
    return changes.with_columns(pl.col(*wide).cum_sum().over(keys))

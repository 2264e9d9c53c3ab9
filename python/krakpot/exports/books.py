"""Books of a piece, message by message: the rows that were recorded, and those of what leaves the window.

Kraken tells nothing of a level once it is outside the subscribed depth: a client drops it, and with level 3 its orders.
Other tools keep what nobody removes. So a row is added for each level or order that leaves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from krakpot.exports.pieces import Piece, rule_at
from krakpot.lake.folder import View
from krakpot.lake.format import BOOK_KINDS, BookKind, stamp
from krakpot.lake.messages import MessageReader

KINDS: dict[str, BookKind] = {kind.channel: kind for kind in BOOK_KINDS}
SCALE = 10
"""Decimals of the columns of prices and quantities."""
NUMBER = pl.Decimal(38, SCALE)
HOUR = 3600 * 10**9
Change = tuple[int, int, int]
"""Side (0 bid, 1 ask), price and quantity, in whole 10^-``SCALE``."""
Left = tuple[int, int, int]
"""A level that left: the place of the row that pushed it out, side, and price."""


class Frames(NamedTuple):
    """Rows of a piece: ``before`` only builds the book, ``rows`` belong to the piece."""

    before: pl.DataFrame
    rows: pl.DataFrame


class Opening(NamedTuple):
    """Where reading begins: at the snapshot of the piece, or at a checkpoint, whose rows are the book before it."""

    message: int
    checkpoint: pl.DataFrame | None


def frames(view: View, channel: str, piece: Piece, opening: Opening) -> Iterator[Frames]:
    """Rows of the messages of a piece from its opening on, in their order, in bounded memory."""
    kind = KINDS[channel]
    reader = MessageReader(view, piece.session, kind, columns=("ts_recv", "ts_event"), symbols=[piece.symbol])
    before = stamp(piece.ts_to) + timedelta(seconds=1)
    begun = False
    for _, frame in reader.frames(opening.message, piece.until, before=before, checkpoints=False):
        # A message without a time of the exchange counts by its receive time.
        times = {"ts_recv": pl.col("ts_recv").dt.epoch("ns"), "ts_event": pl.col("ts_event").dt.epoch("ns")}
        rows = frame.with_columns(**times).with_columns(pl.col("ts_event").fill_null(pl.col("ts_recv")))
        early = rows.head(0)
        if not begun:
            # A clock may step back: the first message that is late enough begins the piece, whatever follows.
            first = rows.filter(pl.col("ts_recv") >= piece.ts_from)["message"].min()
            begun = first is not None
            early = rows.filter(pl.col("message") < first) if begun else rows
            rows = rows.filter(pl.col("message") >= first) if begun else rows.head(0)
        late = rows.filter(pl.col("ts_recv") >= piece.ts_to)["message"].min()
        if late is not None:
            rows = rows.filter(pl.col("message") < late)
        yield Frames(early, rows)
        if late is not None:
            return


def opening(view: View, channel: str, piece: Piece) -> Opening:
    """The last checkpoint before the piece begins, if it does not begin with its own snapshot."""
    if piece.opened:
        return Opening(piece.first, None)
    kind = KINDS[channel]
    scan = view.scan(kind.checkpoints, session=piece.session, start=piece.ts_from - 24 * HOUR, end=piece.ts_from)
    mine = scan.filter(
        pl.col("symbol") == piece.symbol,
        pl.col("session") == piece.session,
        pl.col("message").is_between(piece.first, piece.until),
        pl.col("ts_recv").dt.epoch("ns") <= piece.ts_from,
    )
    last = mine.select(pl.col("message").max()).collect().item()
    if last is None:
        return Opening(piece.first, None)
    rows = mine.filter(pl.col("message") == last).sort("entry").collect()
    return Opening(int(last), rows.filter(pl.col("side").is_not_null()))


class Levels:
    """A level-2 book, and which levels leave its window."""

    def __init__(self) -> None:
        """Begin without levels."""
        self.keys: tuple[list[int], list[int]] = ([], [])
        """Of bids the negative price, of asks the price: ascending, the best first."""
        self.qty: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def clear(self) -> None:
        """Remove all levels."""
        for keys, held in zip(self.keys, self.qty, strict=True):
            keys.clear()
            held.clear()

    def load(self, rows: pl.DataFrame) -> None:
        """Begin with the book of a checkpoint."""
        for ask, price, qty in plain(rows).select("ask", "price", "qty").iter_rows():
            self._set(ask, price, qty)

    def _set(self, ask: int, price: int, qty: int) -> None:
        key = price if ask else -price
        keys, held = self.keys[ask], self.qty[ask]
        if qty:
            if key not in held:
                insort(keys, key)
            held[key] = qty
        elif held.pop(key, None) is not None:
            del keys[bisect_left(keys, key)]

    def top(self, depth: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Price and quantity of the best levels of bids and asks, best first."""
        bids, asks = (
            [(key, held[key]) for key in keys[:depth]] for keys, held in zip(self.keys, self.qty, strict=True)
        )
        return [(-key, qty) for key, qty in bids], asks

    def messages(self, rows: pl.DataFrame) -> Iterator[tuple[int, list[Left]]]:
        """Apply the messages one by one; of each the place of its last row, and the levels that left the window."""
        if rows.is_empty():
            return
        listed = plain(rows).with_row_index("row")
        columns = ("row", "message", "kind", "depth", "ask", "price", "qty")
        last = -1
        place = 0
        left: list[Left] = []
        for row, message, kind, depth, ask, price, qty in listed.select(columns).iter_rows():
            if message != last:
                if last >= 0:
                    yield place, left
                    left = []
                if kind == "snapshot":
                    self.clear()
                last = message
            place = row
            if ask is not None:
                self._set(ask, price, qty)
                # As the exchange does, after every entry.
                if len(self.keys[ask]) > depth:
                    key = self.keys[ask].pop()
                    del self.qty[ask][key]
                    left.append((row, ask, key if ask else -key))
        yield place, left


class Order(NamedTuple):
    """An order of a level-3 book."""

    order_id: str
    ask: int
    price: int
    qty: int
    place: tuple[int, int]
    """The time that decides its place in the queue, and a running number."""


class Queues:
    """A level-3 book: its orders, and which of them leave its window."""

    def __init__(self, rules: list[tuple[int, str]], default: str = "keep_place") -> None:
        """``rules``: what a ``modify`` does, from which message on."""
        self.orders: dict[str, Order] = {}
        self._keys: tuple[list[int], list[int]] = ([], [])
        self._at: tuple[dict[int, dict[str, None]], dict[int, dict[str, None]]] = ({}, {})
        self._rules = rules
        self._default = default
        self._arrivals = 0

    def load(self, rows: pl.DataFrame) -> None:
        """Begin with the book of a checkpoint, whose rows are in the order of the queues."""
        if rows.height:
            self._default = str(rows["modify_rule"][0])
        for order_id, ask, price, qty, ts in (
            plain(rows).select("order_id", "ask", "price", "qty", pl.col("ts_order").dt.epoch("ns")).iter_rows()
        ):
            self.put(Order(order_id, ask, price, qty, self.place(ts)))

    def place(self, ts: int) -> tuple[int, int]:
        """The place of an order that arrives now."""
        self._arrivals += 1
        return ts, self._arrivals

    def keeps_place(self, message: int) -> bool:
        """Whether a ``modify`` of this message keeps the place of an order whose price stays."""
        return rule_at(self._rules, message, self._default) == "keep_place"

    def put(self, order: Order) -> None:
        """Add an order that is not in the book."""
        key = order.price if order.ask else -order.price
        at = self._at[order.ask]
        if key not in at:
            insort(self._keys[order.ask], key)
            at[key] = {}
        at[key][order.order_id] = None
        self.orders[order.order_id] = order

    def take(self, order_id: str) -> Order | None:
        """Remove an order."""
        order = self.orders.pop(order_id, None)
        if order is not None:
            key = order.price if order.ask else -order.price
            at = self._at[order.ask]
            del at[key][order_id]
            if not at[key]:
                del at[key]
                keys = self._keys[order.ask]
                del keys[bisect_left(keys, key)]
        return order

    def behind(self, order: Order) -> bool:
        """Whether an order that is about to be put goes behind all others of its price."""
        queue = self._at[order.ask].get(order.price if order.ask else -order.price)
        return not queue or order.place >= max(self.orders[other].place for other in queue)

    def truncate(self, depth: int) -> list[Order]:
        """Remove the orders of the levels beyond the window."""
        left = []
        for ask in (0, 1):
            keys, at = self._keys[ask], self._at[ask]
            while len(keys) > depth:
                left += [self.orders.pop(order_id) for order_id in at.pop(keys.pop())]
        return left

    def snapshot(self) -> list[Order]:
        """All orders: bids, then asks, the best price first, each queue in its order."""
        return [
            order
            for ask in (0, 1)
            for key in self._keys[ask]
            for order in sorted((self.orders[one] for one in self._at[ask][key]), key=lambda order: order.place)
        ]


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with ``ask`` (0, 1, null without entry), and prices and quantities in whole 10^-``SCALE``."""
    ask = pl.when(pl.col("side") == "ask").then(1).when(pl.col("side") == "bid").then(0)
    return rows.with_columns(ask.cast(pl.Int8).alias("ask"), pl.col("price", "qty").to_physical())


def level_rows(view: View, piece: Piece, book: Levels | None = None) -> Iterator[pl.DataFrame]:
    """Changes of the level-2 book of a piece, in order.

    Columns: message, entry, ts_recv, ts_event (ns; of a message without one its ts_recv), ``what`` (``snapshot``,
    ``update``, or ``left``: the level left the window, its quantity is 0), side, price, qty. The snapshot comes first,
    bids, then asks, the best level first.
    """
    book = Levels() if book is None else book
    opened = opening(view, "book", piece)
    if opened.checkpoint is not None:
        book.load(opened.checkpoint)
    begun = False
    for early, rows in frames(view, "book", piece, opened):
        for _ in book.messages(early):
            pass
        late = rows
        if late.height and not begun:
            begun = True
            first = late.row(0, named=True)
            times = (piece.ts_from, min(piece.ts_from, first["ts_event"]))
            if first["kind"] == "snapshot":
                times = (first["ts_recv"], first["ts_event"])
                for _ in book.messages(late.filter(pl.col("message") == first["message"])):
                    pass
                late = late.filter(pl.col("message") > first["message"])
            yield _snapshot(book, first["message"], *times)
        if late.height:
            yield _with_left(late, [left for _, gone in book.messages(late) for left in gone])


def _snapshot(book: Levels, message: int, ts_recv: int, ts_event: int) -> pl.DataFrame:
    rows = [(ask, price, qty) for ask, levels in enumerate(book.top()) for price, qty in levels]
    return _rows(rows).select(
        pl.lit(message, pl.UInt64).alias("message"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("entry"),
        pl.lit(ts_recv, pl.Int64).alias("ts_recv"),
        pl.lit(ts_event, pl.Int64).alias("ts_event"),
        pl.lit("snapshot").alias("what"),
        "side",
        "price",
        "qty",
    )


def _with_left(rows: pl.DataFrame, left: list[Left]) -> pl.DataFrame:
    """Rows of messages, and those of levels that left, each behind the row that pushed it out."""
    columns = ("message", "entry", "ts_recv", "ts_event", "what", "side", "price", "qty")
    told = rows.filter(pl.col("side").is_not_null()).with_columns(what=pl.lit("update")).select(columns)
    if not left:
        return told
    at = rows[[row for row, _, _ in left]].select("message", "entry", "ts_recv", "ts_event")
    gone = _rows([(ask, price, 0) for _, ask, price in left]).hstack(at)
    gone = gone.with_columns(what=pl.lit("left")).select(columns)
    return pl.concat([told, gone]).sort("message", "entry", maintain_order=True)


def _rows(changes: list[Change]) -> pl.DataFrame:
    """Columns side, price and qty."""
    asks, prices, quantities = ([one[n] for one in changes] for n in range(3))
    side = pl.when(pl.col("ask") == 1).then(pl.lit("ask")).otherwise(pl.lit("bid"))
    frame = pl.DataFrame({"ask": pl.Series(asks, dtype=pl.Int8), "price": numbers(prices), "qty": numbers(quantities)})
    return frame.select(side.alias("side"), "price", "qty")


def numbers(values: list[int]) -> pl.Series:
    """Whole 10^-``SCALE`` as a column of decimals, exactly."""
    unit = 10**SCALE
    return pl.Series([f"{one // unit}.{one % unit:0{SCALE}}" for one in values], dtype=pl.String).cast(NUMBER)


def floats(column: str) -> pl.Expr:
    """A column of decimals as the nearest floats: by their text, since a quotient would be rounded twice."""
    return pl.col(column).cast(pl.String).cast(pl.Float64)


def text(column: str) -> pl.Expr:
    """A column of decimals as text without zeros at the end."""
    return pl.col(column).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")

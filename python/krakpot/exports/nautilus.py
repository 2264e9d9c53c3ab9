"""Catalogs of nautilus_trader, by plain Parquet: instruments, order book deltas, trades.

Version 2 is that of nautilus_trader 2, version 1 that of its stable releases; neither reads the other's files. A file
of deltas is one piece without a gap, which begins with a CLEAR and a snapshot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot.exports.books import level_rows, text
from krakpot.exports.orders import Counts, order_rows
from krakpot.exports.output import Output, period
from krakpot.exports.pieces import Piece, Recorded
from krakpot.lake.folder import View
from krakpot.lake.format import moment
from krakpot.lake.lake import Lake

VENUE = "KRAKEN"
ROW_GROUP = 131_072
"""Rows of a row group: the catalog reads whole ones."""
DECIMALS = 16
"""Of prices and sizes in a catalog."""


def joined(symbol: str) -> str:
    """A symbol within the name of a folder, as NautilusTrader makes it."""
    return symbol.replace("/", "")


class _Words(NamedTuple):
    """Words of a column, and the number that the first one has in version 1."""

    names: tuple[str, ...]
    first: int


ACTIONS = _Words(("ADD", "UPDATE", "DELETE", "CLEAR"), 1)
SIDES = _Words(("NO_ORDER_SIDE", "BUY", "SELL"), 0)
AGGRESSORS = _Words(("NO_AGGRESSOR", "BUY", "SELL"), 0)
ADD, UPDATE, DELETE, CLEAR = range(4)
SNAPSHOT, LAST = 32, 128
"""Flags of a delta: of a snapshot, last one of its message."""
WHAT = {"snapshot": ADD, "add": ADD, "modify": UPDATE, "cancel": DELETE, "left": DELETE}


class _Instrument(NamedTuple):
    """What all files of a symbol say of it."""

    symbol: str
    price_precision: int
    size_precision: int

    @property
    def id(self) -> str:
        return f"{self.symbol}.{VENUE}"

    @property
    def folder(self) -> str:
        return joined(self.id)


def export_nautilus(
    lake: Lake, output: Output, symbols: list[str], channel: str, start: int | None, end: int | None, version: int,
    done: Callable[[int], None],
) -> None:  # fmt: skip
    """Write the catalog; ``done`` is called with numbers of rows, as they are written."""
    tables = ["book", "checkpoints"] if channel == "book" else ["orders", "orders_checkpoints"]
    view = lake.look([*tables, "ledger"])
    recorded = Recorded(view)
    layout: _Layout = _Version2() if version == 2 else _Version1()  # noqa: PLR2004  # its name
    for symbol in symbols:
        pieces = recorded.pieces(channel, symbol, start, end)
        spans = [(piece.ts_from, piece.ts_to, piece.reason) for piece in pieces]
        trades = recorded.covered("trade", symbol, start, end)
        output.gaps([*recorded.gaps(channel, symbol, spans), *recorded.gaps("trade", symbol, trades)])
        if not pieces and not trades:
            continue
        instrument = _write_instrument(lake, view, output, layout, symbol, tables[0])
        for piece in pieces:
            facts: dict[str, Any] = {"session": piece.session, "ended_by": piece.reason, "channel": channel}
            rows = _levels(view, piece) if channel == "book" else _orders(view, recorded, piece, facts)
            if not _write(output, layout, layout.deltas, instrument, (piece.ts_from, piece.ts_to), rows, facts, done):
                output.quiet(piece, channel)
        for begin, until, reason in trades:
            ticks = iter([_trades(lake, symbol, begin, until)])
            _write(output, layout, layout.trades, instrument, (begin, until), ticks, {"ended_by": reason}, done)


def _levels(view: View, piece: Piece) -> Iterator[pl.DataFrame]:
    action = pl.when(pl.col("what") == "snapshot").then(ADD).when(pl.col("qty") == 0).then(DELETE).otherwise(UPDATE)
    for rows in level_rows(view, piece):
        yield rows.with_columns(action=action, order_id=pl.lit(0, pl.UInt64))


def _orders(view: View, recorded: Recorded, piece: Piece, facts: dict[str, Any]) -> Iterator[pl.DataFrame]:
    """The ids of the exchange do not fit: orders are numbered as they come, anew in each piece."""
    counts = Counts()
    numbers: dict[str, int] = {}
    next_number = 1
    for rows in order_rows(view, recorded, piece, counts):
        found = []
        for what, order_id in rows.select("what", "order_id").iter_rows():
            number = numbers.get(order_id)
            if number is None:
                number = numbers[order_id] = next_number
                next_number += 1
            if what in {"cancel", "left"}:
                # It may come back; then it is another order to the book.
                del numbers[order_id]
            found.append(number)
        action = pl.col("what").replace_strict(WHAT, return_dtype=pl.Int64)
        yield rows.with_columns(action=action, order_id=pl.Series(found, dtype=pl.UInt64))
    facts |= asdict(counts)


def _trades(lake: Lake, symbol: str, begin: int, end: int) -> pl.DataFrame:
    frame = lake.scan("trades", symbol, begin, end).filter(kind="update")
    times = pl.col("ts_recv", "ts_event").dt.epoch("ns")
    return frame.select(times, "side", "price", "qty", "trade_id").sort("ts_recv", "trade_id").collect()


class _Layout(ABC):
    """How a version of the catalog writes columns."""

    deltas = "order_book_deltas"
    trades: str
    compression: str
    types: dict[str, str]

    @abstractmethod
    def number(self, column: pl.Series) -> pa.Array:
        """Prices or quantities."""

    @abstractmethod
    def time(self, column: pl.Series) -> pa.Array:
        """Times, ns."""

    @abstractmethod
    def word(self, column: pl.Series, words: _Words) -> pa.Array:
        """A column of places in ``words``."""

    @abstractmethod
    def instrument(self, facts: dict[str, Any], ts: int) -> pa.Table:
        """What the catalog says of a pair from a time on, ns."""


def _decimals(column: pl.Series) -> pa.Array:
    found = column.cast(pl.Decimal(38, DECIMALS)).to_arrow()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


TEXTS = (
    "id", "raw_symbol", "base_currency", "quote_currency", "price_increment", "size_increment", "multiplier",
    "lot_size", "max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price",
    "margin_init", "margin_maint",
)  # fmt: skip
ORDER = (
    "id", "raw_symbol", "base_currency", "quote_currency", "price_precision", "size_precision", "price_increment",
    "size_increment", "multiplier", "lot_size", "max_quantity", "min_quantity", "max_notional", "min_notional",
    "max_price", "min_price", "margin_init", "margin_maint",
)  # fmt: skip
OPTIONAL = ("lot_size", "max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price")


class _Version2(_Layout):
    trades = "trades"
    compression = "zstd"
    types = {_Layout.deltas: "OrderBookDelta", "trades": "TradeTick"}  # noqa: RUF012  # never changed

    def number(self, column: pl.Series) -> pa.Array:
        return _decimals(column)

    def time(self, column: pl.Series) -> pa.Array:
        return pa.array(column.to_arrow(), pa.int64()).cast(pa.timestamp("ns", "UTC"))

    def word(self, column: pl.Series, words: _Words) -> pa.Array:
        return pa.DictionaryArray.from_arrays(column.cast(pl.Int8).to_arrow(), pa.array(words.names))

    def instrument(self, facts: dict[str, Any], ts: int) -> pa.Table:
        time = pa.timestamp("ns", "UTC")
        fields = [
            pa.field(name, pa.string() if name in TEXTS else pa.uint8(), nullable=name in OPTIONAL) for name in ORDER
        ]
        fields += [pa.field("tick_scheme", pa.string()), pa.field("info", pa.json_(pa.utf8()))]
        fields += [pa.field("ts_event", time, nullable=False), pa.field("ts_init", time, nullable=False)]
        schema = pa.schema(fields, {"instrument_id": facts["id"], "type_name": "CurrencyPair"})
        row = {**facts, "tick_scheme": None, "info": None, "ts_event": ts, "ts_init": ts}
        return pa.table([_one(row[field.name], field.type) for field in schema], schema=schema)


class _Version1(_Layout):
    trades = "trade_tick"
    compression = "snappy"
    types: dict[str, str] = {}  # noqa: RUF012  # never changed

    def number(self, column: pl.Series) -> pa.Array:
        # Both are whole numbers of 16 bytes, the lowest one first.
        plain = _decimals(column)
        width = pa.binary(16)
        return pa.Array.from_buffers(width, len(plain), [None, plain.buffers()[1]], offset=plain.offset)

    def time(self, column: pl.Series) -> pa.Array:
        return column.cast(pl.UInt64).to_arrow()

    def word(self, column: pl.Series, words: _Words) -> pa.Array:
        return (column + words.first).cast(pl.UInt8).to_arrow()

    def instrument(self, facts: dict[str, Any], ts: int) -> pa.Table:
        fields = [pa.field(name, pa.string() if name in TEXTS else pa.uint8()) for name in ORDER]
        fields += [
            pa.field("maker_fee", pa.string()),
            pa.field("taker_fee", pa.string()),
            pa.field("info", pa.binary()),
        ]
        fields += [pa.field("ts_event", pa.uint64()), pa.field("ts_init", pa.uint64())]
        schema = pa.schema(fields, {"class": "CurrencyPair"})
        row = {**facts, "maker_fee": "0", "taker_fee": "0", "info": b"null", "ts_event": ts, "ts_init": ts}
        return pa.table([_one(row[field.name], field.type) for field in schema], schema=schema)


def _one(value: object, kind: pa.DataType) -> pa.Array:
    """A column of one row."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array([value], kind.storage_type))
    return pa.array([value], kind)


def _write_instrument(lake: Lake, view: View, output: Output, layout: _Layout, symbol: str, table: str) -> _Instrument:
    """The pair as the exchange described it last; what it did not describe follows from the precisions."""
    described = lake.pairs(symbol).sort("ts_recv").collect()
    used = view.scan(table).filter(pl.col("symbol") == symbol).select(pl.col("price_precision", "qty_precision").max())
    price, size = (
        used.collect() if described.is_empty() else described.tail(1).select(used.collect_schema().names())
    ).row(0)
    instrument = _Instrument(symbol, int(price), int(size))
    row = described.filter(origin="instrument").with_columns(
        text(name) for name in ("price_increment", "qty_increment", "qty_min", "cost_min", "margin_initial")
    )
    told: dict[str, Any] = row.row(-1, named=True) if row.height else {}
    base, _, quote = symbol.partition("/")
    quote = told.get("quote") or quote
    facts = {
        "id": instrument.id,
        "raw_symbol": symbol,
        "base_currency": told.get("base") or base,
        "quote_currency": quote,
        "price_precision": instrument.price_precision,
        "size_precision": instrument.size_precision,
        "price_increment": _padded(told.get("price_increment"), instrument.price_precision),
        "size_increment": _padded(told.get("qty_increment"), instrument.size_precision),
        "multiplier": "1",
        **dict.fromkeys(OPTIONAL),
        "min_quantity": told.get("qty_min"),
        "min_notional": f"{told['cost_min']} {quote}" if told.get("cost_min") else None,
        "margin_init": told.get("margin_initial") or "0",
        "margin_maint": "0",
    }
    ts = int(described["ts_recv"].dt.epoch("ns")[0]) if described.height else 0
    at = _stamp(ts)
    with output.file(f"data/currency_pair/{instrument.folder}/{at}_{at}.parquet") as file:
        pq.write_table(layout.instrument(facts, ts), file.unfinished, compression=layout.compression)
        file.rows = 1
        file.facts = {"type": "currency_pair", "symbol": symbol}
    return instrument


def _padded(increment: str | None, precision: int) -> str:
    """An increment with as many decimals as the precision; the smallest step where none is known."""
    whole, _, rest = (increment or "").partition(".")
    if not whole:
        return f"0.{'1'.zfill(precision)}" if precision else "1"
    return f"{whole}.{rest.ljust(precision, '0')}" if precision else whole


def _stamp(ts: int) -> str:
    """A time within the name of a file."""
    return moment(ts).replace(":", "-").replace(".", "-")


def _write(
    output: Output, layout: _Layout, kind: str, instrument: _Instrument, span: tuple[int, int],
    parts: Iterator[pl.DataFrame], facts: dict[str, Any], done: Callable[[int], None],
) -> bool:  # fmt: skip
    """Write one file, whose name has the first and the last time; returns whether it has any rows."""
    folder = f"data/{kind}/{instrument.folder}"
    first = last = 0
    with output.file(f"{folder}/{_stamp(span[0])}.parquet") as file, ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for rows in parts:
            if rows.is_empty():
                continue
            # The catalog wants the times of receipt in order.
            times = pl.col("ts_recv").cum_max().clip(lower_bound=last)
            raised = rows.with_columns(times)
            begins = file.rows == 0
            made = (
                _delta_table(layout, raised, begins=begins) if kind == layout.deltas else _trade_table(layout, raised)
            )
            if writer is None:
                first = int(raised["ts_recv"][0])
                metadata = {
                    "instrument_id": instrument.id,
                    "price_precision": str(instrument.price_precision),
                    "size_precision": str(instrument.size_precision),
                }
                if kind in layout.types:
                    metadata["type_name"] = layout.types[kind]
                schema = made.schema.with_metadata(metadata)
                writer = stack.enter_context(pq.ParquetWriter(file.unfinished, schema, compression=layout.compression))
            writer.write_table(made.cast(schema), row_group_size=ROW_GROUP)
            last = int(raised["ts_recv"][-1])
            file.rows += made.num_rows
            done(made.num_rows)
        stack.close()
        file.name = f"{folder}/{_stamp(first)}_{_stamp(last)}.parquet"
        file.facts = {"type": kind, "symbol": instrument.symbol, **period(*span), **facts}
    return file.rows > 0


def _table(columns: dict[str, pa.Array], optional: tuple[str, ...] = ()) -> pa.Table:
    fields = [pa.field(name, column.type, nullable=name in optional) for name, column in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _delta_table(layout: _Layout, rows: pl.DataFrame, *, begins: bool) -> pa.Table:
    """Deltas; ``begins``: of a new file, which begins with a CLEAR."""
    own = pl.col("what") == "snapshot"
    # A snapshot that was rebuilt stands before the message that follows it, with its number.
    last = ((pl.col("message") != pl.col("message").shift(-1)) | (own != own.shift(-1))).fill_null(value=True)
    snapshot = pl.when(own).then(SNAPSHOT).otherwise(0)
    rows = rows.select(
        "action",
        pl.when(pl.col("side") == "bid").then(1).otherwise(2).alias("side"),
        "price",
        "qty",
        "order_id",
        (snapshot + pl.when(last).then(LAST).otherwise(0)).alias("flags"),
        "message",
        "ts_event",
        "ts_recv",
    )
    if begins:
        zero = pl.lit(0)
        clear = rows.head(1).with_columns(
            action=pl.lit(CLEAR, rows.schema["action"]), side=zero.cast(rows.schema["side"]),
            price=zero.cast(rows.schema["price"]), qty=zero.cast(rows.schema["qty"]), order_id=zero.cast(pl.UInt64),
            flags=pl.lit(SNAPSHOT, rows.schema["flags"]),
        )  # fmt: skip
        rows = pl.concat([clear, rows])
    columns = {
        "action": layout.word(rows["action"], ACTIONS),
        "side": layout.word(rows["side"], SIDES),
        "price": layout.number(rows["price"]),
        "size": layout.number(rows["qty"]),
        "order_id": rows["order_id"].to_arrow(),
        "flags": rows["flags"].cast(pl.UInt8).to_arrow(),
        "sequence": rows["message"].to_arrow(),
        "ts_event": layout.time(rows["ts_event"]),
        "ts_init": layout.time(rows["ts_recv"]),
    }
    return _table(columns, ("price", "size") if isinstance(layout, _Version2) else ())


def _trade_table(layout: _Layout, rows: pl.DataFrame) -> pa.Table:
    side = rows.select(pl.when(pl.col("side") == "buy").then(1).otherwise(2)).to_series()
    columns = {
        "price": layout.number(rows["price"]),
        "size": layout.number(rows["qty"]),
        "aggressor_side": layout.word(side, AGGRESSORS),
        "trade_id": rows["trade_id"].cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()),
        "ts_event": layout.time(rows["ts_event"]),
        "ts_init": layout.time(rows["ts_recv"]),
    }
    return _table(columns)

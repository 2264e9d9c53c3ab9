"""Rows reach PyArrow and Polars without being copied: every table, every column, buffer by buffer, and with the right
values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import frames
from krakpot import _core

LONG = "LONGBASE123456/USD"
"""A symbol that does not fit into a 16-byte view, so that its text lies in a buffer of its own."""


def orders(symbol: str, price_precision: int) -> list[bytes]:
    """Level 3: a snapshot of two orders at one price, an order more, a change, a message without entries."""
    book = frames.Orders(10, price_precision, 8, symbol=symbol)
    book.apply([("bid", "add", f"OAAAAA-AAAAA-00000{n}", "100.5", "1.5", frames.START - n) for n in (1, 2)])
    return [
        book.snapshot(),
        book.update([("ask", "add", "another shape, and longer than Kraken's", "101.5", "0.00000001", frames.START)]),
        book.update([("bid", "modify", "OAAAAA-AAAAA-000001", "100.5", "0.5", frames.START - 1)]),
        book.update([]),
    ]


def filled() -> dict[str, _core.Batch]:
    """Rows of every table, several in each, with nulls where columns may be null."""
    session = _core.Session("01900000-0000-7000-8000-000000000000", passive=True, frames=True)
    books = [frames.Book("BTC/USD"), frames.Book(LONG, price_precision=4)]
    more: dict[str, Any] = {
        "note": "a text that is longer than a view",
        "null": None,
        "list": [1, frames.Number("2.50")],
    }
    sent = [
        frames.status(),
        frames.status("maintenance", emergency=[more]),
        frames.instrument(
            frames.pair("BTC/USD"),
            frames.pair(LONG, price_precision=4, has_index=None, marginable=False, margin_initial=None, **more),
            assets=[frames.asset("BTC"), frames.asset("EUR.HOLD.AND.MORE", borrowable=False, margin_rate=None, **more)],
        ),
        frames.HEARTBEAT,
    ]
    for one in books:
        sent += [
            *orders(one.symbol, one.price_precision),
            one.snapshot([("100.5", "1.0")], [("101.5", "0.00000001")]),
            one.update([("bid", "100.4", "2"), ("ask", "101.5", "0.00000000")]),
            one.update([]),
            frames.book("update", one.symbol, [], None),
            frames.trade(one.symbol, 1),
            frames.trade(one.symbol, 4, side="sell", ord_type="a longer order type"),
            frames.ticker(one.symbol, kind="snapshot"),
            frames.ticker(one.symbol, bid=None, extra_field=more),
            frames.ohlc(one.symbol),
            frames.ohlc(one.symbol, vwap=None, further="x"),
        ]
    for n, one_frame in enumerate(sent):
        session.receive([one_frame], frames.START + n * frames.SECOND // 10)
    session.tick(frames.START + 2 * frames.HOUR)
    session.end(frames.START + 2 * frames.HOUR, "over")
    return session.drain()


BATCHES = filled()
COLUMNS = [(table, name) for table in _core.TABLES for name in pa.schema(_core.schema(table)).names]


def addresses(array: pa.Array) -> set[int]:
    """Where the buffers of an array begin; empty ones have no place."""
    return {buffer.address for buffer in array.buffers() if buffer is not None and buffer.size}


def test_every_table_has_rows_to_look_at() -> None:
    """The guard of this file: all tables are there, with several rows, nulls, and texts that need a buffer."""
    assert tuple(BATCHES) == _core.TABLES
    assert len(COLUMNS) > 100
    for table, batch in BATCHES.items():
        assert batch.table == table
        assert batch.num_rows == pa.record_batch(batch).num_rows >= 2, table
    text = [
        column
        for batch in BATCHES.values()
        for column in pa.record_batch(batch).columns
        if column.type == pa.string_view()
    ]
    assert sum(len(column.buffers()) > 2 for column in text) > 10, "several texts lie in buffers of their own"
    assert any(column.null_count for column in text)


@pytest.mark.parametrize(("table", "name"), COLUMNS)
def test_no_column_is_copied_on_its_way_to_polars(table: str, name: str) -> None:
    """The recorder's way: ``pa.record_batch``, then ``pl.from_arrow``; Polars holds the very buffers that Rust
    filled.
    """
    rust = pa.record_batch(BATCHES[table])
    again = pa.record_batch(BATCHES[table])
    column = rust.column(name)
    assert addresses(column) == addresses(again.column(name)), "each export shows the same memory"
    table_frame = pl.from_arrow(rust)
    assert isinstance(table_frame, pl.DataFrame)
    series = table_frame[name]
    back = series.to_arrow(compat_level=pl.CompatLevel.newest())
    assert isinstance(back, pa.Array)
    assert back.type == column.type, "strings stay views, decimals 128-bit decimals, times nanoseconds"
    # The validity of a column without nulls is not carried on; everything that holds a value is.
    values = [buffer for buffer in column.buffers()[1:] if buffer is not None and buffer.size]
    assert values, "there is something to compare"
    assert {buffer.address for buffer in values} <= addresses(back), f"{table}.{name} was copied"
    if column.null_count:
        validity = column.buffers()[0]
        assert validity is not None
        assert validity.address in addresses(back), f"validity of {table}.{name} was copied"
    assert back.equals(column)


def test_batches_outlive_the_session_that_made_them() -> None:
    """The rows belong to whoever holds them: neither the session nor the batch is needed any more."""
    batches = filled()
    frame = pl.from_arrow(pa.record_batch(batches.pop("book")))
    del batches
    assert isinstance(frame, pl.DataFrame)
    other = filled()
    assert frame.equals(pl.DataFrame(pa.record_batch(other["book"])))


def rows(table: str) -> list[dict[str, Any]]:
    """Rows of a table as Python values."""
    frame = pl.from_arrow(pa.record_batch(BATCHES[table]))
    assert isinstance(frame, pl.DataFrame)
    return frame.to_dicts()


def test_values_of_the_book() -> None:
    """What was sent stands in the rows: numbers exactly, order and place in the message, an empty update as one row."""
    book = rows("book")
    own = [row for row in book if row["symbol"] == "BTC/USD"]
    assert [(row["message"], row["entry"], row["kind"], row["side"], row["price"], row["qty"]) for row in own] == [
        (8, 0, "snapshot", "bid", Decimal("100.5"), Decimal("1")),
        (8, 1, "snapshot", "ask", Decimal("101.5"), Decimal("0.00000001")),
        (9, 0, "update", "bid", Decimal("100.4"), Decimal("2")),
        (9, 1, "update", "ask", Decimal("101.5"), Decimal("0")),
        (10, 0, "update", None, None, None),
        (11, 0, "update", None, None, None),
    ]
    assert [row["checksum"] is None for row in own] == [False, False, False, False, False, True]
    assert {(row["depth"], row["price_precision"], row["qty_precision"]) for row in own} == {(10, 1, 8)}
    assert {(row["price_precision"], row["qty_precision"]) for row in book if row["symbol"] == LONG} == {(4, 8)}
    assert {row["session"] for row in book} == {"01900000-0000-7000-8000-000000000000"}
    assert own[0]["ts_recv"] == datetime(2026, 8, 2, 3, 35, 50, 800_000, tzinfo=UTC)
    assert own[0]["ts_event"] == datetime(2026, 8, 2, 3, 35, 50, tzinfo=UTC)


def test_values_of_the_other_channels() -> None:
    """Trades, tickers, candles, pairs, assets and status hold what was sent; what no column holds stands in
    ``extra``.
    """
    trades = rows("trades")
    assert [(row["trade_id"], row["side"], row["ord_type"]) for row in trades[:2]] == [
        (1, "buy", "market"),
        (4, "sell", "a longer order type"),
    ]
    assert (trades[0]["price"], trades[0]["qty"]) == (Decimal("45283.5"), Decimal("0.1"))
    ticker = rows("ticker")
    assert ticker[0]["change_pct"] == Decimal("-0.27")
    assert ticker[1]["bid"] is None
    assert ticker[1]["extra"].startswith('{"extra_field":{"note":')
    assert '"list":[1,2.50]' in ticker[1]["extra"]
    ohlc = rows("ohlc")
    assert ohlc[0]["interval_begin"] == datetime(2026, 8, 2, 3, 35, tzinfo=UTC)
    assert (ohlc[0]["trades"], ohlc[0]["interval"], ohlc[0]["close"]) == (12, 1, Decimal("45281.1"))
    assert (ohlc[1]["vwap"], "further" in ohlc[1]["extra"]) == (None, True)
    pairs = rows("pairs")
    assert [(row["symbol"], row["base"], row["qty_increment"], row["qty_min"]) for row in pairs] == [
        ("BTC/USD", "BTC", Decimal("1E-8"), Decimal("0.00005")),
        (LONG, "LONGBASE123456", Decimal("1E-8"), Decimal("0.00005")),
    ]
    assert pairs[0]["cost_min"] == Decimal("0.5"), "a string by the documentation, and a number all the same"
    assert [row["marginable"] for row in pairs] == [True, False]
    assert [row["has_index"] for row in pairs] == [True, None]
    assets = rows("assets")
    assert [(row["id"], row["borrowable"], row["margin_rate"]) for row in assets] == [
        ("BTC", True, Decimal("0.01")),
        ("EUR.HOLD.AND.MORE", False, None),
    ]
    status = rows("status")
    assert [row["system"] for row in status] == ["online", "maintenance"]
    assert status[0]["connection_id"] == 18125794168470749634


def test_orders_are_kept_as_they_were_sent() -> None:
    """Ids of any shape, quantities and the orders' own times; a message without entries is a row; snapshots have no
    event.
    """
    own = [row for row in rows("orders") if row["symbol"] == "BTC/USD"]
    assert [(row["kind"], row["event"], row["order_id"], row["qty"]) for row in own] == [
        ("snapshot", None, "OAAAAA-AAAAA-000002", Decimal("1.5")),
        ("snapshot", None, "OAAAAA-AAAAA-000001", Decimal("1.5")),
        ("update", "add", "another shape, and longer than Kraken's", Decimal("0.00000001")),
        ("update", "modify", "OAAAAA-AAAAA-000001", Decimal("0.5")),
        ("update", None, None, None),
    ]
    assert [row["side"] for row in own] == ["bid", "bid", "ask", "bid", None]
    assert own[-1]["ts_order"] is None
    assert own[-1]["checksum"] == own[-2]["checksum"]
    assert {(row["depth"], row["price_precision"], row["qty_precision"]) for row in own} == {(10, 1, 8)}
    # The wire has microseconds here.
    assert own[1]["ts_order"] == datetime.fromtimestamp(frames.START // 10**9 - 1, UTC).replace(microsecond=999999)


def test_frames_are_kept_byte_for_byte_and_checkpoints_hold_the_whole_book() -> None:
    """``frames`` is the recording itself; a checkpoint repeats the book as it stood when the hour turned."""
    kept = rows("frames")
    assert [row["message"] for row in kept] == list(range(32))
    assert kept[0]["frame"] == frames.status()
    assert kept[3]["frame"] == frames.HEARTBEAT
    own = [row for row in rows("checkpoints") if row["symbol"] == "BTC/USD"]
    assert [(row["side"], row["level"], row["price"], row["qty"]) for row in own] == [
        ("bid", 0, Decimal("100.5"), Decimal("1")),
        ("bid", 1, Decimal("100.4"), Decimal("2")),
    ]
    own = [row for row in rows("orders_checkpoints") if row["symbol"] == "BTC/USD"]
    assert [(row["side"], row["level"], row["queue"], row["order_id"], row["qty"]) for row in own] == [
        ("bid", 0, 0, "OAAAAA-AAAAA-000002", Decimal("1.5")),
        ("bid", 0, 1, "OAAAAA-AAAAA-000001", Decimal("0.5")),
        ("ask", 0, 0, "another shape, and longer than Kraken's", Decimal("0.00000001")),
    ]
    assert {row["modify_rule"] for row in own} == {"keep_place"}
    kinds = [row["kind"] for row in rows("ledger")]
    assert kinds.count("snapshot") == 4
    assert kinds.count("trade_gap") == 2
    assert kinds[-1] == "disconnect"


def test_the_schema_of_a_table_is_that_of_its_batches() -> None:
    """``schema`` says what ``take`` hands out, so that a journal can be read without the session."""
    for table, batch in BATCHES.items():
        assert pa.schema(_core.schema(table)) == pa.record_batch(batch).schema, table
        assert pa.schema(batch) == pa.record_batch(batch).schema

"""Catalogs of nautilus_trader: their schemas, and what the tool itself reads from them, in both versions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import channels
import frames
import hand
import lakes
from hand import SECOND, START
from krakpot import Lake, export
from krakpot.exports.nautilus import _padded
from tools import tool

VERSIONS: dict[Any, tuple[str, tuple[int, int]]] = {
    1: ("nautilus_trader==1.231.0", (3, 12)),
    2: ("nautilus_trader==2.0.0rc7", (3, 13)),
}
TRADES = {1: "trade_tick", 2: "trades"}
CHANNELS: tuple[Any, ...] = ("book", "level3")


def table(folder: Path, kind: str) -> pa.Table:
    """The only file of a kind."""
    (path,) = (folder / "data" / kind / "BTCUSD.KRAKEN").iterdir()
    return pq.read_table(path)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_catalog_has_the_schema_of_its_version(version: Any, channel: Any, tmp_path: Path) -> None:
    """Types, metadata and names of files; the first delta clears, a snapshot follows, the last one of each message is
    marked.
    """
    hand.market().record(tmp_path / "lake")
    export(tmp_path / "lake", "nautilus", tmp_path / "out", channel=channel, nautilus_version=version)
    deltas = table(tmp_path / "out", "order_book_deltas")
    word = pa.dictionary(pa.int8(), pa.string()) if version == 2 else pa.uint8()
    number = pa.decimal128(38, 16) if version == 2 else pa.binary(16)
    time = pa.timestamp("ns", "UTC") if version == 2 else pa.uint64()
    assert list(zip(deltas.schema.names, deltas.schema.types, strict=True)) == [
        ("action", word), ("side", word), ("price", number), ("size", number), ("order_id", pa.uint64()),
        ("flags", pa.uint8()), ("sequence", pa.uint64()), ("ts_event", time), ("ts_init", time),
    ]  # fmt: skip
    metadata = {b"instrument_id": b"BTC/USD.KRAKEN", b"price_precision": b"1", b"size_precision": b"8"}
    assert deltas.schema.metadata == metadata | ({b"type_name": b"OrderBookDelta"} if version == 2 else {})
    words = deltas["action"].to_pylist()
    clear, add = ("CLEAR", "ADD") if version == 2 else (4, 1)
    levels = 5 if channel == "book" else 7
    assert words[: levels + 1] == [clear] + [add] * levels
    assert clear not in words[1:]
    flags = deltas["flags"].to_pylist()
    assert flags[: levels + 1] == [32] * levels + [32 | 128]
    sequence = deltas["sequence"].to_pylist()
    last = [sequence[n] != sequence[n + 1] for n in range(len(sequence) - 1)] + [True]
    assert [bool(flag & 128) for flag in flags] == last
    trades = table(tmp_path / "out", TRADES[version])
    assert trades.num_rows == 6
    assert trades["trade_id"].to_pylist()[0] == "101"
    (path,) = (tmp_path / "out" / "data" / TRADES[version] / "BTCUSD.KRAKEN").iterdir()
    assert path.name == "2026-08-02T03-35-52-000000000Z_2026-08-02T03-35-58-000000000Z.parquet"


def test_an_increment_has_the_decimals_of_its_precision() -> None:
    """The tool takes the precision of an increment from its text."""
    assert [_padded("0.1", 1), _padded("0.1", 2), _padded("5", 0), _padded("5", 1)] == ["0.1", "0.10", "5", "5.0"]
    assert [_padded(None, 0), _padded(None, 1), _padded(None, 3)] == ["1", "0.1", "0.001"]


def test_a_catalog_of_books_that_were_cut(tmp_path: Path) -> None:
    """Each piece is a file, whose name has its first and its last time; the time between is a gap."""
    for begin in (START, START + 60 * SECOND):
        timed = frames.market(["BTC/USD"], begin=begin, step=SECOND, count=20)
        lakes.make(tmp_path / "lake", timed, session=lakes.session_name(begin))
    report = export(tmp_path / "lake", "nautilus", tmp_path / "out")
    deltas = [file for file in report.files if file["type"] == "order_book_deltas"]
    assert [file["ended_by"] for file in deltas] == ["stopped", "stopped"]
    for file in deltas:
        frame = pl.from_arrow(pq.read_table(tmp_path / "out" / file["path"]).select(["action", "ts_init"]))
        assert isinstance(frame, pl.DataFrame)
        assert (frame["action"].cast(pl.String) == "CLEAR").sum() == 1
        assert frame["ts_init"].is_sorted()
    assert len(report.gaps) == 2


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("channel", CHANNELS)
def test_the_tool_has_the_same_book(version: Any, channel: Any, tmp_path: Path) -> None:
    """A recording of the built-in exchange: instruments, every trade, and the book at the end, order by order."""
    read: Callable[..., dict[str, Any]] = tool(VERSIONS[version][0], "nautilus_reader.py", VERSIONS[version][1])
    channels.record(tmp_path / "lake", channels.run(seconds=20.0, rate=600.0, trades=True))
    export(tmp_path / "lake", "nautilus", tmp_path / "out", channel=channel, nautilus_version=version)
    found = read(version, tmp_path / "out", "MBP" if channel == "book" else "MBO")
    lake = Lake(tmp_path / "lake")
    assert sorted(found["instruments"]) == [f"{symbol}.KRAKEN" for symbol in lake.symbols()]
    described = {row["symbol"]: row for row in lake.pairs().filter(origin="instrument").collect().iter_rows(named=True)}
    for symbol in lake.symbols():
        told, book = found["instruments"][f"{symbol}.KRAKEN"], found["books"][f"{symbol}.KRAKEN"]
        pair = described[symbol]
        assert (told["raw_symbol"], told["base_currency"], told["quote_currency"]) == (
            symbol,
            pair["base"],
            pair["quote"],
        )
        assert (int(told["price_precision"]), int(told["size_precision"])) == (
            pair["price_precision"],
            pair["qty_precision"],
        )
        assert Decimal(told["price_increment"]) == pair["price_increment"]
        assert Decimal(told["size_increment"]) == pair["qty_increment"]
        assert Decimal(told["min_quantity"]) == pair["qty_min"]
        rows = lake.trades(symbol).filter(kind="update").sort("ts_recv", "trade_id").collect()
        sides = {"1": "buy", "2": "sell", "BUY": "buy", "SELL": "sell"}
        assert [(int(one[0]), Decimal(one[1]), Decimal(one[2]), sides[one[3]]) for one in book["trades"]] == [
            (row["trade_id"], row["price"], row["qty"], row["side"]) for row in rows.iter_rows(named=True)
        ]
        end = lake.coverage()["ts_to"].dt.epoch("ns").max()
        assert isinstance(end, int)
        levels = lake.book_at(symbol, end - 1, channel=channel).levels
        assert levels.height > 20
        for side, name in (("bid", "bids"), ("ask", "asks")):
            want = levels.select(f"{side}_price", f"{side}_qty").drop_nulls().rows()
            have = [(Decimal(price), sum(map(Decimal, orders))) for price, orders in book[name]]
            assert have == want
        if channel == "level3":
            assert max(len(orders) for _, orders in book["bids"] + book["asks"]) > 1

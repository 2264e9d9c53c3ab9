"""Kraken's own frames and documented examples through the session: every digit, every checksum."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import frames
from krakpot import _core

RECORDED = [
    ("book-btcusd-d25.jsonl", 2052, "BTC/USD", (1, 8), 25),
    ("book-xrpusd-d25.jsonl", 1147, "XRP/USD", (5, 8), 25),
    ("book-btcusd-d10-2023-unpadded.jsonl", 510, "BTC/USD", (1, 8), 10),
]


@pytest.mark.parametrize(("name", "ok", "symbol", "precision", "depth"), RECORDED)
def test_a_recorded_book_equals_the_dict_after_every_message(
    data: Path, name: str, ok: int, symbol: str, precision: tuple[int, int], depth: int
) -> None:
    """Book, checksum and rows against dicts and zlib, message by message; and against the checksum that Kraken sent."""
    model = frames.Book(symbol, depth=depth, price_precision=precision[0], qty_precision=precision[1])
    session = _core.Session("s", passive=True, precision={symbol: precision}, depth=depth)
    sent = []
    checked = 0
    for number, line in enumerate((data / "recorded" / name).read_bytes().splitlines()):
        session.receive([line], frames.START + number)
        frame = json.loads(line, parse_float=str, parse_int=str)
        if frame.get("channel") != "book":
            continue
        (item,) = frame["data"]
        entries = [(side, e["price"], e["qty"]) for side, key in (("bid", "bids"), ("ask", "asks")) for e in item[key]]
        if frame["type"] == "snapshot":
            model.sides = {"bid": {}, "ask": {}}
        model.apply(entries)
        sent += [(number, side, Decimal(price), Decimal(qty)) for side, price, qty in entries]
        book = session.book(symbol)
        assert book is not None, number
        assert (book.bids(), book.asks()) == (model.levels("bid"), model.levels("ask")), number
        assert book.checksum == model.checksum == int(item["checksum"]), number
        checked += 1
    assert checked == ok
    assert session.counts()["checksums"]["book"] == {"ok": ok, "bad": 0}
    rows = pl.DataFrame(pa.record_batch(session.drain()["book"]))
    assert rows.select("message", "side", "price", "qty").rows() == sent


@pytest.mark.parametrize(
    ("name", "precision", "checksums"),
    [
        ("book_snapshot_worked_example_wire.json", None, [3310070434]),
        ("book_channel_page_matic_snapshot_and_update.jsonl", (4, 8), [2439117997, 2114181697]),
        ("btc_2025_float_roundtrip.json", (1, 8), [2610022218]),
    ],
)
def test_documented_examples(data: Path, name: str, precision: tuple[int, int] | None, checksums: list[int]) -> None:
    """The exchange's own worked examples, the unpadded ones with the pair's precision."""
    found = []
    session: _core.Session | None = None
    for line in (data / "examples" / name).read_bytes().splitlines():
        symbol = json.loads(line)["data"][0]["symbol"]
        session = session or _core.Session("s", passive=True, precision={symbol: precision} if precision else None)
        session.receive([line], frames.START)
        book = session.book(symbol)
        assert book is not None
        found.append(book.checksum)
    assert found == checksums
    assert session is not None
    assert session.counts()["checksums"]["book"] == {"ok": len(checksums), "bad": 0}


def test_the_model_of_these_tests_knows_the_documented_checksum(data: Path) -> None:
    """The second opinion is itself held to the exchange's example."""
    line = (data / "examples" / "book_snapshot_worked_example_wire.json").read_text()
    (item,) = json.loads(line, parse_float=str)["data"]
    levels = [[(e["price"], e["qty"]) for e in item[key]] for key in ("bids", "asks")]
    assert frames.checksum(*levels) == 3310070434


def test_a_whole_instrument_snapshot(data: Path) -> None:
    """All pairs and assets with their numbers as ``json`` and ``Decimal`` read them, pretty-printed file or not."""
    text = (data / "reference" / "instrument_snapshot_2024-04.json").read_bytes()
    content = json.loads(text, parse_float=Decimal, parse_int=Decimal)["data"]
    session = _core.Session("s", passive=True)
    session.receive([text], frames.START)
    assert session.counts()["errors"] == 0, session.take_ledger()
    tables = {name: pl.DataFrame(pa.record_batch(batch)) for name, batch in session.drain().items()}
    assert (
        (tables["pairs"].height, tables["assets"].height)
        == (len(content["pairs"]), len(content["assets"]))
        == (683, 296)
    )
    for table, key in (("pairs", "symbol"), ("assets", "id")):
        columns = [
            name
            for name in tables[table].columns
            if name not in {"session", "message", "entry", "ts_recv", "ts_event", "origin", "extra"}
        ]
        items = {item[key]: item for item in content[table]}
        compared = 0
        for row in tables[table].to_dicts():
            for name in set(columns) & set(items[row[key]]):
                want = items[row[key]][name]
                # The documentation calls cost_min a string.
                want = Decimal(want) if name == "cost_min" else want
                assert row[name] == want, (row[key], name)
                compared += 1
        assert compared > 1500
    assert len(session.pairs()) == 683

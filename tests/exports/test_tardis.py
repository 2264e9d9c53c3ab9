"""CSV files in the layout of Tardis, and what hftbacktest's own converter makes of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import frames
import hand
import lakes
from hand import SECOND, START
from krakpot import Lake, export
from tools import tool

DAY = "2026-08-02"


def lines(folder: Path, kind: str, day: str = DAY) -> list[str]:
    """Lines of a file of BTC/USD."""
    with gzip.open(folder / f"kraken_{kind}_{day}_BTC-USD.csv.gz", "rt", newline="") as file:
        return file.read().split("\n")[:-1]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The export of the market that is worked out by hand."""
    hand.market().record(tmp_path / "lake")
    export(tmp_path / "lake", "tardis", tmp_path / "out", depth=2)
    return tmp_path / "out"


def test_the_rows_of_each_kind(out: Path) -> None:
    """Columns, times in microseconds, numbers without zeros at the end; the snapshot first; 0 removes a level."""
    us = START // 1000
    book = lines(out, "incremental_book_L2")
    assert book[0] == "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    assert book[1:4] == [
        f"kraken,BTC/USD,{us},{us},true,bid,100,5", f"kraken,BTC/USD,{us},{us},true,bid,99,5",
        f"kraken,BTC/USD,{us},{us},true,bid,98,9",
    ]  # fmt: skip
    assert f"kraken,BTC/USD,{us + 8_000_000},{us + 8_000_000},false,bid,100,0" in book
    assert f"kraken,BTC/USD,{us + 7_000_000},{us + 7_000_000},false,bid,100,3.5" in book
    assert lines(out, "trades")[:2] == [
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
        f"kraken,BTC/USD,{us + 2_000_000},{us + 2_000_000},101,sell,100,2",
    ]
    ticker = lines(out, "book_ticker")
    assert ticker[0] == "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
    assert ticker[1] == f"kraken,BTC/USD,{us},{us},5,101,100,5"
    assert ticker[-1] == f"kraken,BTC/USD,{us + 9_000_000},{us + 9_000_000},5,101,98,10"
    top = lines(out, "book_snapshot_2")
    assert top[0].split(",")[4:] == [
        f"{side}[{level}].{part}" for level in range(2) for side in ("asks", "bids") for part in ("price", "amount")
    ]
    assert top[1] == f"kraken,BTC/USD,{us},{us},101,5,100,5,102,5,99,5"
    # Of two levels of bids one is left.
    assert top[-1] == f"kraken,BTC/USD,{us + 9_000_000},{us + 9_000_000},101,5,98,10,102,5,,"


def test_a_file_is_a_day_and_begins_with_a_snapshot(tmp_path: Path) -> None:
    """A recording over midnight: two files of each kind, each of which can be read alone; the last book is equal."""
    midnight = (START // (86_400 * SECOND) + 1) * 86_400 * SECOND
    timed = list(frames.market(["BTC/USD"], begin=midnight - 30 * SECOND, step=SECOND, count=60))
    lakes.make(tmp_path / "lake", timed)
    report = export(tmp_path / "lake", "tardis", tmp_path / "out")
    assert report.gaps == []
    second = lines(tmp_path / "out", "incremental_book_L2", "2026-08-03")
    assert second[1].split(",")[3:6] == [str(midnight // 1000), "true", "bid"]
    found: dict[str, dict[str, str]] = {"bid": {}, "ask": {}}
    for line in second[1:]:
        side, price, amount = line.split(",")[5:]
        found[side] |= {price: amount}
    book = Lake(tmp_path / "lake").book_at("BTC/USD", midnight + 30 * SECOND, numbers="float").levels
    for side in ("bid", "ask"):
        want = book.select(f"{side}_price", f"{side}_qty").drop_nulls().rows()
        assert sorted((float(price), float(qty)) for price, qty in found[side].items() if qty != "0") == sorted(want)
    trades = Lake(tmp_path / "lake").trades("BTC/USD").filter(kind="update").collect().height
    assert sum(len(lines(tmp_path / "out", "trades", day)) - 1 for day in (DAY, "2026-08-03")) == trades


def test_after_a_gap_there_is_a_snapshot_again(tmp_path: Path) -> None:
    """Two sessions of one day in one file: the second one begins with a snapshot, and the report names the gap."""
    for begin in (START, START + 60 * SECOND):
        timed = frames.market(["BTC/USD"], begin=begin, step=SECOND, count=20)
        lakes.make(tmp_path / "lake", timed, session=lakes.session_name(begin))
    report = export(tmp_path / "lake", "tardis", tmp_path / "out")
    assert {(gap["channel"], gap["reason"]) for gap in report.gaps} == {("book", "stopped"), ("trade", "stopped")}
    frame = pl.read_csv("\n".join(lines(tmp_path / "out", "incremental_book_L2")).encode())
    snapshots = frame.filter("is_snapshot")["local_timestamp"].unique().sort().to_list()
    assert snapshots == [START // 1000, START // 1000 + 60_000_000]


@pytest.fixture(scope="module")
def convert() -> Callable[..., dict[str, Any]]:
    """The converter of hftbacktest."""
    return tool("hftbacktest==2.4.4", "tardis_converter.py")


@pytest.mark.slow
def test_the_converter_of_hftbacktest_reads_them(convert: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """It makes as many events as there are rows, and their book is that of the lake."""
    timed = list(frames.market(["BTC/USD"], begin=START, step=SECOND, count=300))
    lakes.make(tmp_path / "lake", timed)
    report = export(tmp_path / "lake", "tardis", tmp_path / "out")
    rows = {file["type"]: file["rows"] for file in report.files}
    files = [tmp_path / "out" / f"kraken_{kind}_{DAY}_BTC-USD.csv.gz" for kind in ("trades", "incremental_book_L2")]
    found = convert(*files)
    kinds = found["kinds"]
    assert kinds["2"] == rows["trades"]
    # A side is cleared before its snapshot.
    assert kinds["1"] + kinds["4"] == rows["incremental_book_L2"]
    assert kinds["3"] == 2
    book = Lake(tmp_path / "lake").book_at("BTC/USD", timed[-1][0], numbers="float").levels
    for side in ("bid", "ask"):
        want = [list(level) for level in book.select(f"{side}_price", f"{side}_qty").drop_nulls().rows()]
        assert found[f"{side}s"] == want

"""Exactness as others see it: Polars and DuckDB read the lake without krakpot and find the digits of the wire.

Only files, and the frames that they came from: nothing of krakpot takes part in the comparison.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

RECORDED = ["book-btcusd-d25.jsonl", "book-xrpusd-d25.jsonl", "book-btcusd-d10-2023-unpadded.jsonl"]
Row = tuple[int, int, str, str, str, str, str, int]
"""Message, entry, symbol, kind, side, price, qty, checksum; numbers as padded text."""


def padded(text: str, precision: int) -> str:
    """Digits of the wire with the zeros that the pair's precision wants behind them; never one taken away."""
    whole, _, decimals = text.partition(".")
    assert set(whole + decimals) <= set("0123456789")
    assert len(decimals.rstrip("0")) <= precision
    return (whole + "." + decimals.rstrip("0").ljust(precision, "0")).rstrip(".")


def wire(path: Path, precision: tuple[int, int]) -> list[Row]:
    """Every book entry of the recording, in wire order, by the text of its numbers."""
    rows: list[Row] = []
    for message, line in enumerate(path.read_bytes().splitlines()):
        frame = json.loads(line, parse_float=str, parse_int=str)
        if frame.get("channel") != "book":
            continue
        (item,) = frame["data"]
        # In the order in which the frame has them.
        entries = [(key[:-1], level) for key in item if key in {"bids", "asks"} for level in item[key]]
        rows += [
            (
                message, entry, item["symbol"], frame["type"], side,
                padded(level["price"], precision[0]), padded(level["qty"], precision[1]), int(item["checksum"]),
            )
            for entry, (side, level) in enumerate(entries)
        ]  # fmt: skip
    return rows


@pytest.fixture(scope="module", params=RECORDED)
def recording(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, tuple[int, int]]:
    """A recording, the lake that the command made of it, and the pair's precision."""
    path = data / "recorded" / request.param
    precision = (5, 8) if "xrpusd" in path.name else (1, 8)
    lake = tmp_path_factory.mktemp("readers") / "lake"
    command = [sys.executable, "-m", "krakpot", "ingest", str(path), "--out", str(lake), "--raw"]
    if "unpadded" in path.name:
        command += ["--precision", "BTC/USD=1,8", "--depth", "10"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path, lake, precision


def text(value: str, precision: int) -> str:
    """A number that a reader gives with the column's ten decimals, at the pair's precision: the rest must be zeros."""
    whole, _, decimals = value.partition(".")
    assert decimals[precision:].strip("0") == "", value
    return whole + ("." + decimals[:precision] if precision else "")


def test_polars_finds_the_digits_of_the_wire(recording: tuple[Path, Path, tuple[int, int]]) -> None:
    """One line of Polars, every entry, in order, as text."""
    path, lake, precision = recording
    expected = wire(path, precision)
    assert len(expected) > 600
    frame = pl.scan_parquet(lake / "book", hive_partitioning=True).sort("session", "message", "entry").collect()
    assert frame.schema["price"] == frame.schema["qty"] == pl.Decimal(38, 10)
    assert set(frame.select("price_precision", "qty_precision").rows()) == {precision}
    columns = ["message", "entry", "symbol", "kind", "side", "price", "qty", "checksum"]
    found = frame.select(pl.col(columns)).with_columns(pl.col("price", "qty").cast(pl.String))
    assert [
        (*row[:5], text(row[5], precision[0]), text(row[6], precision[1]), row[7]) for row in found.rows()
    ] == expected


def test_duckdb_finds_the_digits_of_the_wire(recording: tuple[Path, Path, tuple[int, int]]) -> None:
    """The same through DuckDB's own Parquet reader."""
    path, lake, precision = recording
    expected = wire(path, precision)
    query = """
        select message, entry, symbol, kind, side, price::varchar, qty::varchar, checksum,
               typeof(price), price_precision, qty_precision
        from read_parquet(?, hive_partitioning=true) order by session, message, entry
    """
    with duckdb.connect() as connection:
        rows = connection.execute(query, [f"{lake}/book/*/*.parquet"]).fetchall()
    assert {row[8:] for row in rows} == {("DECIMAL(38,10)", *precision)}
    assert [(*row[:5], text(row[5], precision[0]), text(row[6], precision[1]), row[7]) for row in rows] == expected


def test_both_find_the_times_and_frames_that_were_recorded(recording: tuple[Path, Path, tuple[int, int]]) -> None:
    """Receive times to the nanosecond where they were kept, exchange times to the microsecond, frames byte for byte."""
    path, lake, _ = recording
    lines = path.read_bytes().splitlines()
    beside = path.with_suffix(".recv_ns")
    polars = pl.read_parquet(lake / "frames/*/*.parquet").sort("message")
    with duckdb.connect() as connection:
        duck = connection.execute(
            "select frame, epoch_ns(ts_recv) from read_parquet(?) order by message", [f"{lake}/frames/*/*.parquet"]
        ).fetchall()
        events = connection.execute(
            "select distinct message, epoch_ns(ts_event) from read_parquet(?) where ts_event is not null order by 1",
            [f"{lake}/book/*/*.parquet"],
        ).fetchall()
    assert polars["frame"].to_list() == [bytes(frame) for frame, _ in duck] == lines
    if beside.exists():
        times = [int(line) for line in beside.read_text().split()]
        assert polars["ts_recv"].dt.epoch("ns").to_list() == [time for _, time in duck] == times
    sent = []
    for message, line in enumerate(lines):
        frame = json.loads(line)
        if frame.get("channel") == "book" and "timestamp" in frame["data"][0]:
            moment = datetime.fromisoformat(frame["data"][0]["timestamp"]).astimezone(UTC)
            whole = int(moment.replace(microsecond=0).timestamp())
            sent.append((message, whole * 10**9 + moment.microsecond * 1000))
    assert len(sent) > 400
    assert events == sent


def test_both_prune_and_filter_by_day_and_symbol(recording: tuple[Path, Path, tuple[int, int]]) -> None:
    """The folder's date is a column, and a symbol is plain text, in either reader."""
    path, lake, precision = recording
    expected = wire(path, precision)
    symbol = expected[0][2]
    day = next((lake / "book").iterdir()).name.removeprefix("date=")
    scan = pl.scan_parquet(lake / "book", hive_partitioning=True)
    chosen = scan.filter(pl.col("date") == datetime.fromisoformat(day).date(), pl.col("symbol") == symbol)
    assert chosen.select(pl.len()).collect().item() == len(expected)
    assert scan.filter(pl.col("symbol") == "NO/PAIR").select(pl.len()).collect().item() == 0
    with duckdb.connect() as connection:
        count = connection.execute(
            "select count(*) from read_parquet(?, hive_partitioning=true) where date = ? and symbol = ?",
            [f"{lake}/book/*/*.parquet", day, symbol],
        ).fetchone()
    assert count == (len(expected),)

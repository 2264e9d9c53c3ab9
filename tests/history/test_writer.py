"""Imported rows on their way into a lake: in one piece with what the ledger says of them, also if the writer dies."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

import frames
import lakes
from krakpot.history.writer import HistoryWriter, Range, history_writer
from krakpot.lake import seal
from krakpot.lake.format import open_lake, polars_schema
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify

SESSION = lakes.session_name(frames.START)


def rows(count: int, begin: int) -> pl.DataFrame:
    """Trades, one a second."""
    times = pl.Series([begin + n * frames.SECOND for n in range(count)], dtype=pl.Int64)
    moments = times.cast(polars_schema("trades")["ts_event"])
    return pl.DataFrame({"ts_recv": moments, "ts_event": moments}).with_columns(
        symbol=pl.lit("BTC/USD"), price=pl.lit("1.5").cast(pl.Decimal(38, 10)), qty=pl.lit("2").cast(pl.Decimal(38, 10))
    )


def added(count: int, begin: int) -> Range:
    """What the same rows add."""
    return Range("trades", "BTC/USD", begin, begin + count * frames.SECOND, count, {"first": 1})


def test_rows_and_what_the_ledger_says(tmp_path: Path) -> None:
    """Each day has its part; columns that were not given are null or the same for all."""
    open_lake(tmp_path)
    begin = frames.START - frames.START % (86_400 * frames.SECOND) - 5 * frames.SECOND
    with history_writer(tmp_path, SESSION, "rest", url="here") as writer:
        writer.write("trades", rows(10, begin), [added(10, begin)])
        assert Lake(tmp_path).trades(origin="rest").collect().height == 10, "before it is sealed"
        writer.write("trades", rows(0, 0), [])
        writer.write("trades", rows(3, begin + 10 * frames.SECOND), [added(3, begin + 10 * frames.SECOND)])
    assert len(lakes.parts(tmp_path, "trades")) == 2
    found = Lake(tmp_path).trades(origin="rest").collect().sort("message", "entry")
    assert found.select("message", "entry").rows() == [(0, n) for n in range(10)] + [(1, n) for n in range(3)]
    assert found["origin"].unique().to_list() == ["rest"]
    assert found["side"].null_count() == 13
    ledger = Lake(tmp_path).ledger().collect().sort("entry")
    assert ledger["kind"].to_list()[:4] == ["start", "imported", "imported", "stop"]
    assert lakes.facts(ledger["detail"][0])["url"] == "here"
    assert lakes.facts(ledger["detail"][1]) == {"origin": "rest", "first": 1}
    (span,) = Lake(tmp_path).coverage(origin="rest").select(pl.col("ts_from", "ts_to").dt.epoch("ns")).rows()
    assert span == (begin, begin + 13 * frames.SECOND), "ranges that follow each other are one"
    assert verify(tmp_path).problems == []


def test_nothing_to_write_leaves_nothing(tmp_path: Path) -> None:
    """No rows and no ranges: no session."""
    open_lake(tmp_path)
    with history_writer(tmp_path, SESSION, "rest"):
        pass
    assert Lake(tmp_path).sessions() == []


def test_an_error_keeps_what_was_written(tmp_path: Path) -> None:
    """The body fails: what was written before is sealed."""
    open_lake(tmp_path)

    def fail() -> None:
        with history_writer(tmp_path, SESSION, "rest") as writer:
            writer.write("trades", rows(4, frames.START), [added(4, frames.START)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert Lake(tmp_path).trades(origin="rest").collect().height == 4
    assert verify(tmp_path).problems == []


def test_a_writer_that_was_killed(tmp_path: Path) -> None:
    """Its journal is read at once, and sealed by whoever comes next."""
    open_lake(tmp_path)
    writer = HistoryWriter(tmp_path, SESSION, "rest", {})
    writer.write("trades", rows(4, frames.START), [added(4, frames.START)])
    os.close(writer._writer._file)  # what the kernel does when a process is killed
    assert Lake(tmp_path).coverage(origin="rest").height == 1
    seal.recover(tmp_path)
    assert Lake(tmp_path).trades(origin="rest").collect().height == 4
    report = verify(tmp_path)
    assert report.problems == []
    assert report.imported == {"rest": {"trades": 4}}

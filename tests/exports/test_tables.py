"""Tables as CSV, Arrow and Parquet with microseconds: every row and digit, or what is lost."""

from __future__ import annotations

import json
import resource
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import frames
import lakes
from hand import SECOND, START
from krakpot import Lake, export
from krakpot.errors import ConfigError, StorageError
from krakpot.history.imports import import_file
from krakpot.history.writer import Range, history_writer

ORDER = ["session", "message", "entry"]
FORMS: tuple[Any, ...] = ("csv", "arrow", "parquet-us")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A recording over midnight, with odd nanoseconds in its receive times."""
    midnight = (START // (86_400 * SECOND) + 1) * 86_400 * SECOND
    timed = frames.market(["BTC/USD", "ETH/USD"], begin=midnight - 30 * SECOND, step=SECOND, count=60, level3=True)
    lakes.make(tmp_path / "lake", [(ts + 123, frame) for ts, frame in timed])
    return Lake(tmp_path / "lake")


def read(path: Path, suffix: str, **options: Any) -> pl.DataFrame:
    """All files of a table."""
    paths = sorted(path.glob(f"*.{suffix}"))
    assert len(paths) == 2, "one for each day"
    reader: Any = {"csv": pl.read_csv, "arrow": pl.read_ipc, "parquet": pl.read_parquet}[suffix]
    frames_of_days: list[pl.DataFrame] = [reader(one, **options) for one in paths]
    return pl.concat(frames_of_days)


@pytest.mark.parametrize("table", ["book", "orders", "trades", "ledger"])
def test_arrow_files_lose_nothing(table: str, lake: Lake, tmp_path: Path) -> None:
    """The same rows, in the same order; types that every reader of Arrow knows."""
    export(lake, "arrow", tmp_path / "out", tables=[table])
    found = read(tmp_path / "out" / table, "arrow")
    assert_frame_equal(found.sort(ORDER), lake.scan(table).collect().sort(ORDER))
    with pa.OSFile(str(next((tmp_path / "out" / table).iterdir()))) as file:
        assert pa.types.is_large_string(pa.ipc.open_file(file).schema.field("session").type)


def test_csv_has_every_digit(lake: Lake, tmp_path: Path) -> None:
    """Times with nine decimals, numbers as Kraken's without zeros at the end: what is read back is equal."""
    export(lake, "csv", tmp_path / "out", ["BTC/*"], tables=["book"])
    want = lake.book("BTC/USD").collect().sort(ORDER)
    found = read(tmp_path / "out" / "book", "csv", infer_schema=False)
    plain = found.with_columns(
        pl.col("ts_recv", "ts_event").str.to_datetime("%Y-%m-%dT%H:%M:%S%.9fZ", time_unit="ns", time_zone="UTC")
    ).select(pl.col(name).cast(kind) for name, kind in want.schema.items())
    assert_frame_equal(plain.sort(ORDER), want)
    first = found.row(0, named=True)
    assert first["ts_recv"].endswith(".000000123Z")
    assert not any(text.endswith("0") and "." in text for text in found["qty"].drop_nulls())


def test_parquet_has_microseconds_and_the_nanoseconds_beside(lake: Lake, tmp_path: Path) -> None:
    """Timestamps of Spark, signed whole numbers, and a column with the nanoseconds for each time."""
    export(lake, "parquet-us", tmp_path / "out", tables=["book", "status"])
    (path, _) = sorted((tmp_path / "out" / "book").iterdir())
    schema = pq.read_schema(path)
    assert schema.field("ts_recv").type == pa.timestamp("us", "UTC")
    assert schema.field("message").type == pa.decimal128(20, 0)
    assert schema.field("entry").type == pa.int64()
    assert schema.field("price").type == pa.decimal128(38, 10)
    assert not any("uint" in str(kind) for kind in schema.types)
    found = read(tmp_path / "out" / "book", "parquet")
    want = lake.book().collect()
    assert sorted(found["ts_recv_ns"]) == sorted(want["ts_recv"].dt.epoch("ns"))
    assert found["ts_recv"].dt.epoch("us").equals(found["ts_recv_ns"] // 1000)
    query = f"SELECT count(*), max(ts_recv_ns) FROM '{tmp_path}/out/book/*.parquet'"
    rows: Any = duckdb.sql(query)
    assert rows.fetchall() == [(want.height, want["ts_recv"].dt.epoch("ns").max())]


@pytest.mark.parametrize("form", FORMS)
def test_symbols_and_a_range(form: Any, lake: Lake, tmp_path: Path) -> None:
    """Only what was asked for; tables about the whole recording are not cut by symbols; the files are listed."""
    begin = lake.book().select(pl.col("ts_recv").min()).collect().item()
    end = begin.replace(microsecond=0).timestamp() + 10
    report = export(lake, form, tmp_path / "out", "ETH/USD", end=round(end * 1e9), tables=["book", "ledger"])
    rows = {file["table"]: file["rows"] for file in report.files}
    limit = pl.lit(round(end * 1e9)).cast(pl.Datetime("ns", "UTC"))
    assert rows == {
        "book": lake.book("ETH/USD").filter(pl.col("ts_recv") < limit).collect().height,
        "ledger": lake.ledger().filter(pl.col("ts_recv") < limit).collect().height,
    }
    assert 0 < rows["book"] < lake.book("ETH/USD").collect().height


def test_what_is_not_sealed_is_exported_too(tmp_path: Path) -> None:
    """Rows of the journal of a recorder that runs."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(100))
    report = export(tmp_path / "lake", "csv", tmp_path / "out", tables=["trades"])
    assert report.rows == Lake(tmp_path / "lake").trades().collect().height > 0
    recorder.die()


def test_rows_of_other_origins(lake: Lake, tmp_path: Path) -> None:
    """They are counted in the notes, and exported where they are asked for: each trade once, over midnight too."""
    feed = lake.trades("BTC/USD").collect()
    twin = feed.filter(kind="update").head(1).row(0, named=True)
    # As if the feed's trade had been received a day after it was made.
    at = twin["ts_event"]
    rest = pl.DataFrame({"ts_event": [at, at], "trade_id": [twin["trade_id"], 10**9]}).with_columns(
        ts_recv=pl.Series([at - timedelta(days=1), at]), symbol=pl.lit("BTC/USD"), price=pl.lit(1), qty=pl.lit(1)
    )
    with history_writer(lake.path, lakes.session_name(1), "rest") as writer:
        begin, end = rest["ts_recv"].dt.epoch("ns")
        writer.write("trades", rest, [Range("trades", "BTC/USD", begin, end + 1, 2)])
    candles = tmp_path / "XBTUSD_60.csv"
    candles.write_text("1381095240,122.0,122.0,121.9,122.0,0.1,1\n")
    import_file(lake.path, candles)
    lake = Lake(lake.path)
    left = [
        'trades: 2 rows of the origin rest left out; --origin all (origin="all") exports them',
        'ohlc: 1 row of the origin kraken-csv left out; --origin all (origin="all") exports them',
    ]

    def trades(**more: Any) -> tuple[Any, pl.DataFrame]:
        report = export(lake, "arrow", tmp_path / "out", overwrite=True, **more)
        paths = sorted((tmp_path / "out" / "trades").iterdir())
        return report, pl.concat(pl.read_ipc(path) for path in paths)

    report, found = trades()
    assert report.notes == left
    assert report.options["origin"] == ["feed"]
    assert set(found["origin"]) == {"feed"}
    assert trades(symbols="ETH/USD")[0].notes == []
    assert trades(start=begin + 1, tables="trades")[0].notes == [left[0].replace("2 rows", "1 row")]
    report, found = trades(origin=("feed", "rest"))
    assert report.notes == left[1:]
    assert_frame_equal(found.sort(ORDER), lake.trades(origin=("feed", "rest")).collect().sort(ORDER))
    assert sorted(found.filter(origin="rest")["trade_id"]) == [10**9]
    report, found = trades(origin="all")
    assert report.notes == []
    assert {file["table"] for file in report.files} >= {"ohlc", "trades", "book"}
    report, found = trades(origin="rest", tables="trades")
    assert found.height == 2
    assert report.notes == [left[0].replace("2 rows", f"{lake.trades().collect().height} rows").replace("rest", "feed")]
    report = export(lake, "tardis", tmp_path / "tardis")
    assert report.notes == ["trades: 2 rows of the origin rest left out; tardis has those of the feed only"]
    assert "origin" not in report.options


def test_a_lake_of_imported_rows_only(tmp_path: Path) -> None:
    """The error says that there are some, and what exports them; gaps of the feed are not invented."""
    (tmp_path / "XBTUSD.csv").write_text("1381095255,122.0,0.1\n")
    import_file(tmp_path / "lake", tmp_path / "XBTUSD.csv")
    with pytest.raises(ConfigError, match="trades: 1 row of the origin kraken-csv left out; --origin all"):
        export(tmp_path / "lake", "csv", tmp_path / "out", tables="trades")
    report = export(tmp_path / "lake", "csv", tmp_path / "out", tables="trades", origin="kraken-csv")
    assert (report.rows, report.notes, report.gaps) == (1, [], [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "tardis", "origin": "rest"}, "origin: tardis has rows of the feed only; leave it out"),
        (
            {"to": "csv", "tables": "book", "origin": "rest"},
            "origin: book: these tables have rows of the feed only; leave it",
        ),
        ({"to": "csv", "origin": "moon"}, "origin: 'moon' is not allowed; allowed is feed, rest"),
    ],
)
def test_origins_that_a_format_does_not_have(lake: Lake, tmp_path: Path, options: Any, words: str) -> None:
    """Refused before anything is written."""
    with pytest.raises(ConfigError, match=words):
        export(lake, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", FORMS)
def test_a_full_disk_is_no_damaged_part(to: Any, lake: Lake, tmp_path: Path) -> None:
    """The sentence says which of the two it is; the manifest says that the export is not complete."""
    out = tmp_path / "out"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limit[1]))
    try:
        with pytest.raises(StorageError, match="the export could not be written: .*File too large"):
            export(lake, to, out, tables=("status", "book"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    manifest = json.loads((out / "export.json").read_text())
    assert not manifest["complete"]
    assert {file["path"] for file in manifest["files"]} == {
        str(path.relative_to(out)) for path in out.rglob("*.*") if path.name != "export.json"
    }
    part = lakes.parts(lake.path, "book")[0]
    data = part.read_bytes()
    part.write_bytes(data[:200] + bytes(len(data) - 400) + data[-200:])
    with pytest.raises(StorageError, match="a part cannot be read"):
        export(lake, to, out, tables="book", overwrite=True)

"""Origins: what readers take, trades that several origins have, and parts and journals without the column."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot.cli.main import main
from krakpot.errors import ConfigError
from krakpot.history.imports import import_file
from krakpot.lake import parquet, seal
from krakpot.lake.compact import compact
from krakpot.lake.format import ORIGINS, polars_schema, schema
from krakpot.lake.lake import Lake
from krakpot.lake.origin import SAME, distinct_of_origins, of_origins, origins_of
from krakpot.lake.verify import verify

START = frames.START


def trades(rows: list[tuple[str, int | None, int]]) -> pl.DataFrame:
    """Rows of origin, id and time (ns after the start), each in a message of its own."""
    types = polars_schema("trades")
    facts = [
        {"session": f"of {origin}", "message": n, "entry": 0, "ts_recv": START + ts, "ts_event": START + ts,
         "symbol": "BTC/USD", "kind": "update", "trade_id": number, "origin": origin}
        for n, (origin, number, ts) in enumerate(rows)
    ]  # fmt: skip
    plain = {name: pl.Int64() if isinstance(kind, pl.Datetime) else kind for name, kind in types.items()}
    return pl.DataFrame(facts, schema=plain).cast(dict(types))  # type: ignore[arg-type]  # names to types


@given(
    st.lists(
        st.tuples(st.sampled_from(ORIGINS), st.none() | st.integers(1, 8), st.integers(0, 3), st.integers(0, 400)),
        max_size=30,
    )
)
def test_each_trade_comes_once_of_the_best_known_origin(rows: list[tuple[str, int | None, int, int]]) -> None:
    """As a plain model says: rows of one id within a second are one trade; those without an id are all kept."""
    # Times of one trade differ by less than a microsecond; a numbering that began anew is many seconds later.
    whole = [(origin, number, era * 100 * SAME + (number or 0) * 1000 + ns) for origin, number, era, ns in rows]
    found = distinct_of_origins(trades(whole).lazy()).collect()
    expected: dict[tuple[int, int], str] = {}
    for (origin, number, _), (_, _, era, _) in zip(whole, rows, strict=True):
        if number is not None:
            best = min(ORIGINS.index(origin), ORIGINS.index(expected.get((number, era), ORIGINS[-1])))
            expected[number, era] = ORIGINS[best]
    numbered = found.filter(pl.col("trade_id").is_not_null())
    eras = (numbered["ts_event"].dt.epoch("ns") - START) // (100 * SAME)
    assert dict(zip(zip(numbered["trade_id"], eras, strict=True), numbered["origin"], strict=True)) == expected
    assert numbered.height == len(expected)
    assert found.height - numbered.height == sum(number is None for _, number, _ in whole)
    assert found["ts_event"].is_sorted()


def test_which_origins_are_meant() -> None:
    """One, several, all; a table of the feed has no other, and what does not exist is named."""
    assert origins_of("trades", "feed") == ("feed",)
    assert origins_of("trades", ["rest", "feed"]) == ("feed", "rest")
    assert origins_of("ohlc", "all") == ORIGINS
    assert origins_of("book", "all") == origins_of("book", "feed") == ("feed",)
    for table, origin, sentence in [
        (
            "trades",
            "rset",
            "origin: 'rset' is not allowed; allowed is feed, rest, kraken-csv, tardis, cryptohftdata or all",
        ),
        ("trades", ["feed", "x"], "origin: 'x' is not allowed"),
        ("trades", [], "origin: '' is not allowed"),
        ("book", "rest", "origin: the table 'book' has rows of the feed only"),
    ]:
        with pytest.raises(ConfigError) as caught:
            origins_of(table, origin)
        assert sentence in str(caught.value)
    frame = trades([("feed", 1, 1), ("rest", 2, 2), ("tardis", 3, 3)]).lazy()
    assert of_origins(frame, ("rest", "tardis")).collect()["trade_id"].to_list() == [2, 3]
    assert of_origins(frame, ("feed",)).collect()["trade_id"].to_list() == [1]


def old(part: Path) -> None:
    """Make a part as an earlier version wrote it."""
    lakes.rewrite(part, lambda frame: frame.drop("origin"))


def test_parts_of_an_earlier_version(tmp_path: Path) -> None:
    """Some parts have no column `origin`: their rows are of the feed, for every reader and after compaction."""
    lake = tmp_path / "lake"
    for n in range(3):
        begin = START + n * 60 * frames.SECOND
        lakes.make(lake, lakes.market(begin=begin), session=lakes.session_name(begin))
    rows = Lake(lake).trades().collect()
    assert rows.height > 10
    for part in lakes.parts(lake, "trades")[:2]:
        old(part)
    assert "origin" not in pl.read_parquet_schema(lakes.parts(lake, "trades")[0])
    assert Lake(lake).trades().collect().equals(rows)
    assert Lake(lake).trades(origin="all").collect()["origin"].unique().to_list() == ["feed"]
    assert Lake(lake).trades(origin="rest").collect().is_empty()
    assert Lake(lake).bars(every="10s")["trades"].sum() == rows.height


def test_compaction_gives_old_parts_the_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one session, some with and some without the column, become one part that has it."""
    lake = tmp_path / "lake"

    def write(frame: pl.DataFrame, path: Path, places: pl.Series | None = None) -> None:
        first = path.name.startswith(".trades-") and path.name.endswith("-0.parquet.tmp")
        parquet.write_part(frame.drop("origin") if first else frame, path, places)

    monkeypatch.setattr(seal, "write_part", write)
    recorder = lakes.Recorder(lake, rows_max=200)
    timed = lakes.market()
    for n in range(0, len(timed), 40):
        recorder.take(timed[n : n + 40])
    recorder.end()
    seal.recover(lake)
    rows = Lake(lake).trades().collect()
    assert ["origin" in pl.read_parquet_schema(part) for part in lakes.parts(lake, "trades")][:3] == [False, True, True]
    assert verify(lake).proved
    compact(lake, grace=0)
    (part,) = lakes.parts(lake, "trades")
    assert pl.read_parquet(part, hive_partitioning=False)["origin"].unique().to_list() == ["feed"]
    assert Lake(lake).trades().collect().equals(rows)


def test_a_journal_of_an_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder of an earlier version was killed: its journal is read, sealed and proved."""
    lake = tmp_path / "lake"

    def without(batch: object) -> pa.RecordBatch:
        found = real(batch)
        return found.drop_columns(["origin"]) if "trade_id" in found.schema.names else found

    real = pa.record_batch
    recorder = lakes.Recorder(lake)
    monkeypatch.setattr("krakpot.lake.journal.pa.record_batch", without)
    recorder.take(lakes.market())
    recorder.flush(recorder.session.now)
    monkeypatch.undo()
    recorder.die()
    rows = Lake(lake).trades().collect()
    assert rows.height > 10
    assert rows["origin"].unique().to_list() == ["feed"]
    seal.recover(lake)
    assert Lake(lake).trades().collect().equals(rows)
    assert pl.read_parquet_schema(lakes.parts(lake, "trades")[0])["origin"] == pl.String
    assert verify(lake).proved
    assert schema("trades").get_field_index("origin") == len(schema("trades")) - 1


def test_bars_of_what_was_only_imported_need_the_origin(tmp_path: Path) -> None:
    """Without it there would be no bars, and no reason; the command has the option too."""
    (tmp_path / "XBTUSD.csv").write_text("1381095255,122.0,0.1\n1381179030.5,123.61,0.1\n")
    import_file(tmp_path / "lake", tmp_path / "XBTUSD.csv")
    lake = Lake(tmp_path / "lake")
    for symbols in (None, "BTC/USD"):
        with pytest.raises(ConfigError, match=r"of BTC/USD was imported, not recorded; give origin='kraken-csv'"):
            lake.bars(symbols)
    assert lake.bars(origin="kraken-csv").height == 2
    with pytest.warns(UserWarning, match="nothing of this range was recorded; start and end lie outside of 2013-"):
        assert lake.bars(None, "2020-01-01", origin="kraken-csv").is_empty()
    told = CliRunner().invoke(main, ["bars", str(lake.path), "--origin", "kraken-csv", "--json"])
    assert len(json.loads(told.stdout)["bars"]) == 2

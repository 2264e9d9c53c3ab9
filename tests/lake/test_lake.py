"""The lake as a reader sees it: ranges, symbols, numbers, and what is covered from when to when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import frames
import lakes
from krakpot import Lake, Replay, _core
from krakpot.errors import StorageError
from krakpot.lake import seal
from krakpot.lake.format import open_lake, polars_schema

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two pairs, around a midnight."""
    path = tmp_path_factory.mktemp("lake") / "lake"
    lakes.make(path, lakes.market(400, begin=MIDNIGHT - 200 * frames.SECOND, step=frames.SECOND))
    return Lake(path)


def test_a_table_is_what_its_parts_hold(lake: Lake) -> None:
    """All rows of all days, with the columns and types of the schema."""
    compared = 0
    for table in _core.TABLES:
        frame = lake.scan(table).collect()
        assert dict(frame.schema) == polars_schema(table)
        assert_frame_equal(lakes.by_place(frame), lakes.rows(lake.path, table))
        compared += frame.height
    assert compared > 1000
    assert lake.scan("frames").collect().height == 0, "not kept: an empty frame of the right columns"


def test_ranges_are_half_open_and_in_utc(lake: Lake) -> None:
    """[start, end) of the receive time, to the nanosecond, whatever form the time has."""
    all_rows = lake.book().collect()
    moments = all_rows["ts_recv"].to_physical()
    some = sorted(set(moments.to_list()))[5:-5:40]
    assert some[0] < MIDNIGHT < some[-1]
    for start in some:
        assert lake.book(start=start).collect().height == (moments >= start).sum()
        assert lake.book(end=start).collect().height == (moments < start).sum()
        assert lake.book(start=start, end=start + 1).collect().height == (moments == start).sum() > 0
    assert lake.book(start=MIDNIGHT, end=MIDNIGHT).collect().height == 0
    of_day = lake.book(start=date(2026, 8, 3)).collect()
    assert of_day.height == (moments >= MIDNIGHT).sum() > 0
    for same in (
        "2026-08-03",
        "2026-08-03T00:00",
        "2026-08-03T00:00:00Z",
        "2026-08-03T02:00:00+02:00",
        datetime(2026, 8, 3, tzinfo=UTC),
    ):
        assert lake.book(start=same).collect().equals(of_day)


def test_symbols_are_chosen_by_name(lake: Lake) -> None:
    """One, several, or all; a wrong one is named with those that are near."""
    whole = lake.trades().collect()
    assert set(whole["symbol"]) == {"BTC/USD", "ETH/USD"}
    assert lake.trades("BTC/USD").collect().equals(whole.filter(pl.col("symbol") == "BTC/USD"))
    assert lake.trades(["BTC/USD", "ETH/USD"]).collect().equals(whole)
    assert lake.trades([]).collect().height == 0
    assert lake.symbols() == ["BTC/USD", "ETH/USD"]
    with pytest.raises(ValueError, match="the lake has no symbol 'BTC/USDT'; did you mean BTC/USD"):
        lake.book("BTC/USDT")
    with pytest.raises(ValueError, match=r"the lake has no symbol 'btc/usd'; did you mean BTC/USD\?"):
        lake.book("btc/usd")
    with pytest.raises(ValueError, match=r"the channel level3 of ETH/USD was not recorded; recorded: book, .*trade"):
        lake.orders("ETH/USD")
    with pytest.raises(ValueError, match="the channel level3 of BTC/USD was not recorded; recorded: book"):
        lake.orders_at("BTC/USD", "2026-08-02")
    with pytest.raises(ValueError, match="the channel level3 of BTC/USD was not recorded; recorded: book"):
        lake.would_fill("BTC/USD", "buy", 1, 1, "2026-08-02", channel="level3")
    with pytest.raises(ValueError, match="channels: the lake has no level3; it has book, trade"):
        Replay(lake, "BTC/USD", channels=["book", "level3"])
    with pytest.raises(ValueError, match="the table 'assets' has no symbols; leave symbols out"):
        lake.scan("assets", "BTC/USD")
    with pytest.raises(ValueError, match="the lake has no symbol 'Q'; it has BTC/USD, ETH/USD"):
        lake.book(["BTC/USD", "Q"])


def test_numbers_are_exact_or_floats_as_wished(lake: Lake) -> None:
    """Decimals by default; Float64 for arithmetic, of the same values."""
    exact = lake.ticker("BTC/USD").collect()
    floats = lake.ticker("BTC/USD", numbers="float").collect()
    assert exact["bid"][0] == Decimal("45283.5")
    assert floats["bid"].to_list() == [float(value) for value in exact["bid"]]
    assert not [kind for kind in floats.dtypes if isinstance(kind, pl.Decimal)]
    with pytest.raises(ValueError, match="numbers='text'; allowed: 'decimal', 'float', 'int'"):
        lake.ticker(numbers="text")  # type: ignore[arg-type]  # that it is wrong is the point


def test_whole_numbers_are_steps_of_the_precision_in_force(tmp_path: Path) -> None:
    """Int64 in the smallest step of each row, also after the pair got another precision; null stays null."""
    book = frames.Book("BTC/USD")
    opening = [
        frames.instrument(frames.pair("BTC/USD")),
        frames.ack("book", "BTC/USD", depth=10),
        book.snapshot([("999.5", "1.50000000")], [("1000.0", "0.00000001")]),
    ]
    book.price_precision = 2
    later = [
        frames.instrument(frames.pair("BTC/USD", price_precision=2), kind="update"),
        book.update([("bid", "999.75", "2.00000000")]),
    ]
    lakes.make(tmp_path, [(frames.START + n, frame) for n, frame in enumerate([*opening, *later])])
    lake = Lake(tmp_path)
    found = lake.book(numbers="int").sort("message", "entry").select("price", "qty", "price_precision").collect()
    assert found.schema == {"price": pl.Int64, "qty": pl.Int64, "price_precision": pl.UInt8}
    assert found.rows() == [(9995, 150_000_000, 1), (10_000, 1, 1), (99_975, 200_000_000, 2)]
    with pytest.raises(ValueError, match="numbers='int': the table 'ticker' has no precisions; allowed: 'decimal', 'f"):
        lake.ticker(numbers="int")


def test_a_trade_that_was_sent_twice_is_given_once(tmp_path: Path) -> None:
    """One session, the same message twice: one row. After the pair was listed anew, ids begin again: other trades."""
    again = frames.START + frames.HOUR
    ids = [(frames.START, n) for n in (95, 96, 96, 97)] + [(again, n) for n in (95, 96)]
    timed = [(ts + n, frames.trade("BTC/USD", number, ts=ts + number)) for n, (ts, number) in enumerate(ids)]
    opening = [frames.instrument(frames.pair("BTC/USD")), frames.ack("trade", "BTC/USD")]
    lakes.make(tmp_path, [*((frames.START, frame) for frame in opening), *timed])
    lake = Lake(tmp_path)
    assert lake.trades().collect()["trade_id"].to_list() == [95, 96, 97, 95, 96]
    assert lake.trades(start=frames.START + 2).collect()["trade_id"].to_list() == [97, 95, 96], "it came before"
    assert lake.trades(sources="all").collect().height == lakes.rows(tmp_path, "trades").height


@pytest.mark.slow
@pytest.mark.parametrize("rows_max", [10**6, 150])
def test_a_recording_is_read_from_its_first_flush_on(rows_max: int, tmp_path: Path) -> None:
    """While journals grow and are sealed: at each step every table has each row that was flushed, once."""
    timed = lakes.market(300, level3=True)
    recorder = lakes.Recorder(tmp_path, rows_max=rows_max)
    lake = Lake(tmp_path)
    flushed: dict[str, int] = {}
    for step, at in enumerate(range(0, len(timed), 25)):
        for received, frame in timed[at : at + 25]:
            recorder.session.receive([frame], received)
        batches = {table: pa.record_batch(batch) for table, batch in recorder.session.drain().items()}
        for table, batch in batches.items():
            flushed[table] = flushed.get(table, 0) + batch.num_rows
        recorder.writer.write(batches, recorder.session.now)
        if step % 4 == 2:
            seal.recover(tmp_path)
        assert lake.symbols() == ["BTC/USD", "ETH/USD"]
        assert lake.sessions() == [recorder.session.id]
        for table in ("book", "orders", "trades", "ticker", "pairs"):
            found = lake.scan(table).collect()
            assert found.height == flushed.get(table, 0), (table, step)
            assert dict(found.schema) == polars_schema(table)
            assert not found.select(pl.struct("session", "message", "entry", "symbol").is_duplicated().any()).item()
        now = timed[min(at + 25, len(timed)) - 1][0]
        late = pl.col("ts_recv") >= pl.lit(now).cast(pl.Datetime("ns", "UTC"))
        assert lake.book("BTC/USD", start=now).collect().equals(lake.book("BTC/USD").filter(late).collect())
        assert lake.trades(numbers="float").head(3).collect().height == min(3, flushed.get("trades", 0))
    assert flushed["book"] > 300
    whole = {table: lakes.by_place(lake.scan(table).collect()) for table in ("book", "orders", "ticker")}
    recorder.end()
    seal.recover(tmp_path)
    for table, found in whole.items():
        assert_frame_equal(found, lakes.rows(tmp_path, table))


def test_a_journal_that_is_sealed_between_the_look_and_the_reading_is_not_lost(tmp_path: Path) -> None:
    """A frame that was made while journals were open is collected after they were sealed: each row once."""
    recorder = lakes.Recorder(tmp_path)
    recorder.take(lakes.market(100))
    lazy = Lake(tmp_path).book("BTC/USD")
    before = lazy.collect()
    assert before.height > 50
    recorder.end()
    seal.recover(tmp_path)
    assert lakes.by_place(lazy.collect()).equals(lakes.by_place(before))
    assert lakes.rows(tmp_path, "book").filter(symbol="BTC/USD").equals(lakes.by_place(before))


def test_every_accessor_is_its_table(lake: Lake) -> None:
    """Names for people who do not know the tables."""
    for found, table in [
        (lake.book(), "book"), (lake.trades(), "trades"), (lake.ticker(), "ticker"), (lake.ohlc(), "ohlc"),
        (lake.pairs(), "pairs"), (lake.ledger(), "ledger"),
    ]:  # fmt: skip
        frame = found.collect()
        assert frame.height > 0
        assert frame.equals(lake.scan(table).collect())
    assert lake.pairs("ETH/USD").collect()["symbol"].to_list() == ["ETH/USD"]
    with pytest.raises(ValueError, match="no table 'order'; tables: book, orders, trades"):
        lake.scan("order")


def test_parts_by_date_session_and_number(lake: Lake) -> None:
    """What lies in the folder, by name; other files are not parts."""
    parts = lake.parts("book")
    assert [part.date for part in parts] == [date(2026, 8, 2), date(2026, 8, 3)]
    assert {part.session for part in parts} == set(lake.sessions()) == {"019e0000-0000-7000-8000-000000000000"}
    stray = lake.path / "book" / "date=2026-08-02" / "notes.parquet"
    stray.write_bytes(b"")
    assert lake.parts("book") == parts
    stray.unlink()
    assert repr(lake) == f"Lake({str(lake.path)!r})"


def test_patterns_choose_symbols(lake: Lake) -> None:
    """As ``krakpot record`` chooses; each row once, whatever matches it."""
    for chosen, found in (
        ("BTC/*", {"BTC/USD"}), ("*", {"BTC/USD", "ETH/USD"}), (["*/USD", "ETH/USD"], {"BTC/USD", "ETH/USD"}),
        ("?TH/USD", {"ETH/USD"}), (pl.Series(["ETH/*"]), {"ETH/USD"}),
    ):  # fmt: skip
        rows = lake.trades(chosen).collect()
        assert set(rows["symbol"]) == found
        assert rows.height == lake.trades(sorted(found)).collect().height


def test_an_empty_lake_gives_empty_frames(tmp_path: Path) -> None:
    """Right columns, no rows, no error."""
    open_lake(tmp_path)
    empty = Lake(tmp_path)
    for table in _core.TABLES:
        frame = empty.scan(table, "BTC/USD", "2026-01-01") if table != "assets" else empty.scan(table)
        assert dict(frame.collect().schema) == polars_schema(table)
    assert empty.coverage().height == 0
    assert (empty.symbols(), empty.sessions()) == ([], [])
    assert empty.verify().problems == ["nothing was recorded: the lake has no message of the exchange"]


def test_what_is_no_lake(tmp_path: Path) -> None:
    """Said when it is opened, not when it is read."""
    with pytest.raises(
        StorageError, match="there is no such folder; give the folder that `krakpot record --out` wrote"
    ):
        Lake(tmp_path / "none")
    with pytest.raises(StorageError, match="this folder is not a lake: it has no _lake.json"):
        Lake(tmp_path)


def test_the_lake_proves_itself(lake: Lake) -> None:
    """``Lake.verify`` is ``krakpot.verify``."""
    report = lake.verify(threads=1)
    assert report.proved
    assert report.ok == lake.book().select(pl.col("message").n_unique()).collect().item()


@pytest.mark.parametrize(
    ("table", "ask"), [("ledger", Lake.coverage), ("pairs", Lake.symbols)], ids=["coverage", "symbols"]
)
def test_a_damaged_part_is_an_error_with_a_cure(tmp_path: Path, table: str, ask: Callable[[Lake], object]) -> None:
    """Of methods that read at once; it names `krakpot verify`."""
    folder = tmp_path / "lake"
    lakes.make(folder, [(frames.START, frames.instrument(frames.pair("BTC/USD"))), *lakes.market(20)])
    part = lakes.parts(folder, table)[0]
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(StorageError, match=r"a part cannot be read .*; `krakpot verify .*/lake` names it"):
        ask(Lake(folder))

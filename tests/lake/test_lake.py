"""The lake as a reader sees it: ranges, symbols, numbers, and what is covered from when to when."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import frames
import lakes
from krakpot import Lake, _core
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
    with pytest.raises(ValueError, match="the lake has no symbol 'Q'; it has 2 others"):
        lake.book(["BTC/USD", "Q"])


def test_numbers_are_exact_or_floats_as_wished(lake: Lake) -> None:
    """Decimals by default; Float64 for arithmetic, of the same values."""
    exact = lake.ticker("BTC/USD").collect()
    floats = lake.ticker("BTC/USD", numbers="float").collect()
    assert exact["bid"][0] == Decimal("45283.5")
    assert floats["bid"].to_list() == [float(value) for value in exact["bid"]]
    assert not [kind for kind in floats.dtypes if isinstance(kind, pl.Decimal)]
    with pytest.raises(ValueError, match="numbers='text'; allowed: 'decimal', 'float'"):
        lake.ticker(numbers="text")  # type: ignore[arg-type]  # that it is wrong is the point


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


def test_coverage_of_a_whole_session(lake: Lake) -> None:
    """Books from their snapshot, other channels from their ack, all to the end of the session."""
    spans = lake.coverage()
    assert spans.select("channel", "symbol", "reason").rows() == [
        (channel, symbol, "disconnect") for channel in ("book", "ticker", "trade") for symbol in ("BTC/USD", "ETH/USD")
    ]
    begin, end = spans["ts_from"].to_physical(), spans["ts_to"].to_physical()
    assert set(begin) == {MIDNIGHT - 200 * frames.SECOND}
    assert set(end) == {MIDNIGHT + 200 * frames.SECOND}


def test_coverage_ends_with_the_last_message_not_with_the_noticing(tmp_path: Path) -> None:
    """A connection that was dead for fifteen seconds, a book that was frozen for twelve: neither time is covered."""
    book, other = frames.Book("BTC/USD"), frames.Book("ETH/USD")
    recorder = lakes.Recorder(tmp_path / "lake", precision={"BTC/USD": (1, 8), "ETH/USD": (1, 8)})
    both = [one.snapshot([("1.0", "1.0")], [("2.0", "1.0")]) for one in (book, other)]
    recorder.take([(frames.START, frame) for frame in both])
    now = frames.START + 12 * frames.SECOND
    recorder.take([(now, other.update([]))])
    recorder.session.add_ledger_row("gap", now, channel="book", symbol="BTC/USD", ts_from=frames.START, ts_to=now)
    recorder.session.tick(now + 15 * frames.SECOND)
    recorder.end()
    seal.recover(tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    ends = [pl.col("ts_to").to_physical() - frames.START, "symbol", "reason"]
    assert lake.coverage().select(ends).rows() == [
        (1, "BTC/USD", "gap"),
        (12 * frames.SECOND + 1, "ETH/USD", "disconnect"),
    ]
    gone = lake.ledger().filter(pl.col("kind") == "disconnect").collect()
    assert gone.select(pl.col("ts_from", "ts_to").to_physical()).row(0) == (now, now + 15 * frames.SECOND)
    assert lake.verify().problems == []


def test_coverage_says_why_it_ended(tmp_path: Path) -> None:
    """A wrong checksum ends one book, a new snapshot begins it again; a killed session ends a second after it was last
    alive.
    """
    book = frames.Book("BTC/USD")
    other = frames.Book("ETH/USD")
    steps = [
        frames.ack("trade", "BTC/USD"),
        book.snapshot([("1.0", "1.0")], [("2.0", "1.0")]),
        other.snapshot([("1.0", "1.0")], [("2.0", "1.0")]),
        book.update([], crc=1),
        book.snapshot(),
        frames.ack("book", "ETH/USD", method="unsubscribe"),
        frames.ack("trade", "BTC/USD", method="unsubscribe"),
        book.update([]),
        b"{}",
    ]
    recorder = lakes.Recorder(tmp_path / "lake", precision={"BTC/USD": (1, 8), "ETH/USD": (1, 8)})
    recorder.take([(frames.START + n * frames.SECOND, frame) for n, frame in enumerate(steps)])
    recorder.die()
    seal.recover(tmp_path / "lake")
    spans = Lake(tmp_path / "lake").coverage()
    seconds = [pl.col(name).to_physical().sub(frames.START).floordiv(frames.SECOND) for name in ("ts_from", "ts_to")]
    assert spans.select("channel", "symbol", *seconds, "reason").rows() == [
        ("book", "BTC/USD", 1, 3, "mismatch"),
        ("book", "BTC/USD", 4, 9, "unfinished"),
        ("book", "ETH/USD", 2, 5, "unsubscribed"),
        ("trade", "BTC/USD", 0, 6, "unsubscribed"),
    ]


def test_an_empty_lake_gives_empty_frames(tmp_path: Path) -> None:
    """Right columns, no rows, no error."""
    open_lake(tmp_path)
    empty = Lake(tmp_path)
    for table in _core.TABLES:
        frame = empty.scan(table, "BTC/USD", "2026-01-01") if table != "assets" else empty.scan(table)
        assert dict(frame.collect().schema) == polars_schema(table)
    assert empty.coverage().height == 0
    assert (empty.symbols(), empty.sessions()) == ([], [])
    assert empty.verify().proved


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

"""What a lake says of a period, against what verify finds and what was done to the recording."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frames
import lakes
from krakpot import ConfigError, Lake
from krakpot.history.imports import import_file
from krakpot.lake import seal
from krakpot.lake.folder import View
from krakpot.lake.integrity import integrity

SYMBOL = "BTC/USD"
PRECISION = {SYMBOL: (1, 8)}


def second(n: float) -> int:
    """A time in seconds after the start."""
    return frames.START + round(n * frames.SECOND)


@settings(max_examples=settings().max_examples // 3)  # each makes a lake
@given(steps=st.lists(st.sampled_from(["update"] * 4 + ["snapshot", "wrong", "bare", "crossed", "torn"]), max_size=25))
def test_counts_are_those_of_verify(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Right, wrong and unchecked messages, as all checksums computed again say; the parts of a period add up."""
    book = frames.Book(SYMBOL)
    book.snapshot([("99.0", "1.0")], [("101.0", "1.0")])
    timed = []
    for n, step in enumerate(["snapshot", *steps]):
        at = second(n)
        level = [("bid", "98.0", f"{n + 1}.0")]
        if step == "snapshot":
            frame = book.snapshot(ts=at)
        elif step == "bare":
            book.apply(level)
            frame = frames.book("update", SYMBOL, level, None, ts=at)
        elif step == "crossed":
            frame = frames.book("update", SYMBOL, [("bid", "102.0", "1.0")], 1, ts=at)
        elif step == "torn":
            frame = b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":x'
        else:
            frame = book.update(level, ts=at, crc=5 if step == "wrong" else None)
        timed.append((at, frame))
    path = tmp_path_factory.mktemp("counts") / "lake"
    lakes.make(path, timed, precision=PRECISION)
    lake = Lake(path)
    report = lake.verify()
    assert report.proved, report.problems
    expected = report.symbols["book"][SYMBOL]
    begin, end = second(0), second(len(timed))
    whole = lake.integrity(SYMBOL, begin, end).channels["book"]
    names = ("messages", "ok", "bad", "unchecked")
    assert {name: getattr(whole, name) for name in names} == {name: expected[name] for name in names}
    middle = second(len(timed) // 2)
    halves = [lake.integrity(SYMBOL, a, b).channels["book"] for a, b in ((begin, middle), (middle, end))]
    assert [sum(getattr(half, name) for half in halves) for name in names] == [expected[name] for name in names]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Ten seconds, of which a trade is missing; three seconds without a recorder; five seconds more."""
    path = tmp_path_factory.mktemp("integrity") / "lake"
    first = lakes.market(500, level3=True)
    trades = [n for n, (_, text) in enumerate(first) if b'"trade","type":"update"' in text and b"BTC/USD" in text]
    lakes.make(path, [one for n, one in enumerate(first) if n != trades[len(trades) // 2]])
    lakes.make(path, lakes.market(250, begin=second(13), level3=True), session=lakes.session_name(second(13)))
    return Lake(path)


def test_gaps_are_named_and_cut_at_the_period(lake: Lake) -> None:
    """The time between the two recordings, with the reason for which the first one ended."""
    found = lake.integrity(SYMBOL, second(5), second(15))
    assert sorted(found.channels) == ["book", "level3", "ticker", "trade"]
    for one in found.channels.values():
        (gap,) = one.gaps
        assert gap.reason == "stopped"
        assert (gap.ts_from, gap.ts_to) == (second(10) + 1, second(13))
        assert gap.seconds == pytest.approx(3)
        assert one.seconds_covered == pytest.approx(7)
        assert one.seconds_not_covered == pytest.approx(3)
    inside = lake.integrity(SYMBOL, second(11), second(12)).channels["book"]
    assert (inside.seconds_covered, inside.messages, [gap.seconds for gap in inside.gaps]) == (0, 0, [1])
    before = lake.integrity(SYMBOL, second(-2), second(1)).channels["trade"]
    assert [(gap.reason, gap.seconds) for gap in before.gaps] == [("absent", 2)]


def test_trades_are_counted_by_their_ids(lake: Lake) -> None:
    """One is missing in the first recording."""
    found = lake.integrity(SYMBOL, second(0), second(10))
    assert found.trades_missing == 1
    assert not found.whole
    made = lake.trades(SYMBOL).filter(
        pl.col("ts_event").dt.epoch("ns").is_between(second(0), second(10), closed="left")
    )
    assert found.trades == {"feed": made.collect().height}


def test_a_whole_period_is_whole(lake: Lake) -> None:
    """Nothing is missing in the second recording; without bounds the period is all that is covered."""
    found = lake.integrity(SYMBOL, second(13), second(18))
    assert found.whole
    assert str(found).startswith("BTC/USD 2026-08-02 03:36:03 to 2026-08-02 03:36:08: book: whole, checksums ")
    assert "0 bad, 0 unchecked; level3: whole, " in str(found)
    covered = lake.integrity(SYMBOL)
    assert (covered.ts_from, covered.ts_to) == (second(0), second(18) + 1)
    assert "trade: 83.3% recorded, 1 gap (stopped 3.0 s)" in str(covered)
    assert str(covered).endswith(", 1 missing")
    assert "\n" not in str(covered)


def test_channels_that_begin_some_ms_apart_have_no_gaps_at_the_ends(tmp_path: Path) -> None:
    """The book comes 40 ms after the trades and ends with the recording; level 3 comes 1.3 s later, which is a gap. Of
    a period that was asked for the 40 ms are one, and no gap is said to be of 0.0 s.
    """
    lakes.make(tmp_path / "lake", lakes.market(250, level3=True))
    lake = Lake(tmp_path / "lake")
    later = pl.col("channel").replace_strict({"book": 40, "level3": 1300}, default=0, return_dtype=pl.Int64)
    coverage = lake.coverage().with_columns(pl.col("ts_from") + pl.duration(milliseconds=later))
    found = integrity(lake, SYMBOL, None, None, coverage)
    assert {name: len(one.gaps) for name, one in found.channels.items()} == {
        "book": 0, "level3": 1, "ticker": 0, "trade": 0,
    }  # fmt: skip
    assert found.channels["book"].seconds_not_covered == pytest.approx(0.04)
    assert "book: whole, " in str(found)
    assert "% recorded, 1 gap (absent 1.3 s)" in str(found)
    asked = integrity(lake, SYMBOL, found.ts_from, found.ts_to, coverage)
    assert "book: 99.2% recorded, 1 gap (absent 40 ms), " in str(asked)
    assert " 0.0 s" not in str(asked)


def test_it_goes_with_a_frame(lake: Lake) -> None:
    """The period of bars or features is their first and last time."""
    frame = lake.features(SYMBOL, ["mid"], second(5), second(15), every="1s")
    found = lake.integrity(SYMBOL, frame["ts"].min(), frame["ts"].max())  # type: ignore[arg-type]  # times
    missing = frame.filter(pl.col("mid").is_null())["ts"].dt.epoch("ns")
    assert len(missing) > 0
    (gap,) = found.channels["book"].gaps
    assert all(gap.ts_from <= at < gap.ts_to for at in missing)


def test_as_a_dict_it_is_json(lake: Lake) -> None:
    """With shares of the origins."""
    told = json.loads(json.dumps(lake.integrity(SYMBOL).to_dict()))
    assert list(told) == [
        "symbol", "ts_from", "ts_to", "whole", "channels", "trades", "trade_shares", "trades_missing",
    ]  # fmt: skip
    assert told["trade_shares"] == {"feed": 1.0}
    assert list(told["channels"]["trade"]) == [
        "seconds_covered", "seconds_not_covered", "gaps", "messages", "ok", "bad", "unchecked",
    ]  # fmt: skip
    assert told["channels"]["book"]["gaps"][0]["reason"] == "stopped"


def test_origins_of_trades_are_told_apart(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """If trades have a column for it."""
    scan = View.scan

    def with_origins(view: View, table: str, **options: object) -> pl.LazyFrame:
        frame = scan(view, table, **options)  # type: ignore[arg-type]  # as they were given
        if table != "trades":
            return frame
        return frame.with_columns(
            origin=pl.when(pl.col("trade_id") % 4 == 0).then(pl.lit("rest")).otherwise(pl.lit("feed"))
        )

    monkeypatch.setattr(View, "scan", with_origins)
    trades = lake.integrity(SYMBOL, second(13), second(18)).trades
    assert list(trades) == ["feed", "rest"]
    assert trades["feed"] > trades["rest"] > 0


def test_a_symbol_of_which_nothing_was_recorded(tmp_path: Path) -> None:
    """It is said, not called whole."""
    recorder = lakes.Recorder(tmp_path / "lake")
    instrument = frames.frame(
        {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": [frames.pair(SYMBOL)]}}
    )
    recorder.take([(frames.START, instrument)])
    recorder.end()
    seal.recover(tmp_path / "lake")
    found = Lake(tmp_path / "lake").integrity(SYMBOL)
    assert not found.whole
    assert str(found) == f"{SYMBOL}: nothing was recorded", "and no time in 1970"
    with pytest.raises(ConfigError, match="the lake has no symbol 'XBT/USD'; did you mean BTC/USD?"):
        Lake(tmp_path / "lake").integrity("XBT/USD")


def test_several_pairs_are_a_list(lake: Lake) -> None:
    """Also patterns; text that may be several pairs is said to belong into a list."""
    found = lake.integrity(["BTC/*", "ETH/USD"])
    assert [one.symbol for one in found] == ["BTC/USD", "ETH/USD"]
    assert found[0] == lake.integrity("BTC/USD")
    for text, listed in (("BTC/*", r"\['BTC/\*'\]"), ("BTC/USD, ETH/USD", r"\['BTC/USD', 'ETH/USD'\]")):
        with pytest.raises(ConfigError, match=f"may be several pairs; give a list, {listed}, and the answer is a list"):
            lake.integrity(text)


def test_channels_of_a_running_recording_end_where_all_are_known(tmp_path: Path) -> None:
    """Two connections tell some seconds apart that they live: that is no gap."""
    lakes.make(tmp_path / "lake", lakes.market(250))
    lake = Lake(tmp_path / "lake")
    earlier = pl.col("channel").replace_strict({"book": 3000}, default=0, return_dtype=pl.Int64)
    coverage = lake.coverage().with_columns(
        pl.col("ts_to") - pl.duration(milliseconds=earlier), reason=pl.lit("recording")
    )
    assert integrity(lake, SYMBOL, None, None, coverage).whole
    stopped = coverage.with_columns(reason=pl.lit("stopped"))
    assert not integrity(lake, SYMBOL, None, None, stopped).whole


def test_a_period_of_what_was_only_imported(tmp_path: Path) -> None:
    """Its times are those of the import, not 1970."""
    (tmp_path / "XBTUSD.csv").write_text("1381095255,122.0,0.1\n1381179030.5,123.61,0.1\n")
    import_file(tmp_path / "lake", tmp_path / "XBTUSD.csv")
    found = Lake(tmp_path / "lake").integrity(SYMBOL)
    assert str(found).startswith("BTC/USD 2013-10-06 21:34:15 to 2013-10-")
    assert found.trades == {"kraken-csv": 2}
    assert not found.whole

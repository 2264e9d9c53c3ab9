"""Files of hftbacktest: their events, in their order; and back-tests on them, by the tool itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import channels
import frames
import hand
import lakes
from hand import SECOND, START
from krakpot import ExportReport, export
from krakpot.errors import ConfigError
from krakpot.exports import hftbacktest
from krakpot.exports.hftbacktest import BOOK, BUY, EXCH, FILLS, FIRST, LOCAL, SELL, TRADES, _ordered
from krakpot.lake.lake import Lake
from tools import HFTBACKTEST, tool

KINDS = {1: "depth", 2: "trade", 4: "snapshot", 10: "add", 11: "cancel", 12: "modify", 13: "fill"}


def told(path: Path) -> list[tuple[str, str, float, float, int, float]]:
    """Kind, side, price, quantity, order and seconds of the events that both sides see."""
    data = np.load(path)["data"]
    assert data.dtype.itemsize == 64
    found = []
    for ev, exch, local, price, qty, order, ival, fval in data.tolist():
        assert ev & EXCH
        assert ev & LOCAL
        assert (ival, fval) == (0, 0)
        assert exch == local
        side = "buy" if ev & BUY else "sell" if ev & SELL else ""
        found.append((KINDS[ev & 0xFF], side, price, qty, order, (exch - START) / SECOND))
    return found


def exported(tmp_path: Path, channel: Any) -> tuple[Path, dict[str, Any]]:
    """The file of the market that is worked out by hand, and its facts."""
    lake = tmp_path / "lake"
    if not lake.exists():
        hand.market().record(lake)
    report = export(lake, "hftbacktest", tmp_path / channel, channel=channel)
    (facts,) = report.files
    return tmp_path / channel / facts["path"], facts


def test_the_events_of_level_2(tmp_path: Path) -> None:
    """The snapshot first, best first; a trade before the change of the book that it made."""
    path, facts = exported(tmp_path, "book")
    assert told(path) == [
        ("snapshot", "buy", 100.0, 5.0, 0, 0), ("snapshot", "buy", 99.0, 5.0, 0, 0),
        ("snapshot", "buy", 98.0, 9.0, 0, 0), ("snapshot", "sell", 101.0, 5.0, 0, 0),
        ("snapshot", "sell", 102.0, 5.0, 0, 0),
        ("depth", "buy", 100.0, 6.0, 0, 1),
        ("trade", "sell", 100.0, 2.0, 0, 2), ("depth", "buy", 100.0, 4.0, 0, 2),
        ("depth", "buy", 100.0, 2.0, 0, 3),
        ("trade", "sell", 100.0, 1.0, 0, 4), ("depth", "buy", 100.0, 1.0, 0, 4),
        ("trade", "sell", 100.0, 1.0, 0, 5), ("depth", "buy", 100.0, 0.0, 0, 5),
        ("depth", "buy", 100.0, 4.0, 0, 6),
        ("trade", "sell", 100.0, 0.5, 0, 7), ("depth", "buy", 100.0, 3.5, 0, 7),
        ("trade", "sell", 100.0, 3.5, 0, 8), ("trade", "sell", 99.0, 5.0, 0, 8),
        ("depth", "buy", 99.0, 0.0, 0, 8), ("depth", "buy", 100.0, 0.0, 0, 8),
        ("depth", "buy", 98.0, 10.0, 0, 9),
    ]  # fmt: skip
    assert (facts["rows"], facts["trades"], facts["events_twice"], facts["ended_by"]) == (21, 6, 0, "stopped")


def test_the_events_of_level_3(tmp_path: Path) -> None:
    """Orders have numbers; what a trade took is a fill, before what it did to the book; all fills of a sweep stand
    before its cancels; the cut of an order by its owner is no fill.
    """
    path, facts = exported(tmp_path, "level3")
    events = told(path)
    letters = {}
    for (kind, _, _, _, number, _), letter in zip(events, "XYZUABC", strict=False):
        assert kind == "add"
        letters[number] = letter
    letters |= {number: "WVT"[n] for n, number in enumerate(e[4] for e in events[7:] if e[0] == "add")}
    assert len(letters) == facts["orders"] == 10
    shown = [(kind, letters.get(number, ""), price, qty, at) for kind, _, price, qty, number, at in events[7:]]
    assert shown == [
        ("add", "W", 100.0, 1.0, 1),
        ("trade", "", 100.0, 2.0, 2), ("fill", "X", 100.0, 2.0, 2), ("cancel", "X", 100.0, 0.0, 2),
        ("modify", "Y", 100.0, 1.0, 3),
        ("trade", "", 100.0, 1.0, 4), ("fill", "Y", 100.0, 1.0, 4), ("cancel", "Y", 100.0, 0.0, 4),
        ("trade", "", 100.0, 1.0, 5), ("fill", "W", 100.0, 1.0, 5), ("cancel", "W", 100.0, 0.0, 5),
        ("add", "V", 100.0, 4.0, 6),
        ("trade", "", 100.0, 0.5, 7), ("fill", "V", 100.0, 0.5, 7), ("modify", "V", 100.0, 3.5, 7),
        ("trade", "", 100.0, 3.5, 8), ("trade", "", 99.0, 5.0, 8),
        ("fill", "V", 100.0, 3.5, 8), ("fill", "Z", 99.0, 5.0, 8),
        ("cancel", "V", 100.0, 0.0, 8), ("cancel", "Z", 99.0, 0.0, 8),
        ("add", "T", 98.0, 1.0, 9),
    ]  # fmt: skip
    assert (facts["fills"], facts["trades_unattributed"], facts["share_unattributed"]) == (6, 0, 0.0)


@pytest.mark.slow
@given(st.data())
def test_both_orders_of_any_events(data: st.DataObject) -> None:
    """Whatever the two clocks say: each side sees every event once, in the order of its times; the snapshot comes
    first; the rows of the book keep their order; trades and fills of an instant come before its rows.
    """
    count = data.draw(st.integers(1, 25))
    times = st.integers(0, 12)
    rows = [{"rank": FIRST, "ev": 0, "ts_recv": 3, "ts_event": data.draw(times)}]
    rows += [
        {
            "rank": data.draw(st.sampled_from([BOOK, BOOK, TRADES])),
            "ev": n + 1,
            "ts_recv": data.draw(times),
            "ts_event": data.draw(times),
        }
        for n in range(count)
    ]
    types = {"rank": pl.Int64(), "ev": pl.UInt64(), "ts_recv": pl.Int64(), "ts_event": pl.Int64()}
    facts: dict[str, Any] = {}
    found = _ordered(pl.DataFrame(rows, schema=types), facts)
    for flag, time in ((EXCH, "ts_event"), (LOCAL, "ts_recv")):
        mine = found.filter((pl.col("ev") & flag) != 0)
        assert mine[time].is_sorted()
        numbers = (mine["ev"] & 0xFF).to_list()
        assert sorted(numbers) == list(range(count + 1))
        assert numbers[0] == 0
        kept = [number for number in numbers if rows[number]["rank"] == BOOK]
        assert kept == sorted(kept)
    at = found.filter((pl.col("ev") & EXCH) != 0)
    for rank, later, here, there in zip(at["rank"], at["rank"][1:], at["ts_event"], at["ts_event"][1:], strict=False):
        assert here < there or rank <= later
    assert (found["ts_recv"] >= found["ts_event"]).all()
    assert found.height == count + 1 + facts["events_twice"]
    assert FILLS < BOOK


def test_hidden_quantity_is_an_order_that_comes_and_goes(tmp_path: Path) -> None:
    """A sale takes more than was shown at a price: an order of that quantity comes behind, is filled, and is gone."""
    made = hand.Market()
    made.begin(("X", "bid", "100.0", "2"), ("A", "ask", "101.0", "2"))
    made.step(
        1,
        ("delete", "X", "bid", "100.0", "2"),
        trades=(("sell", "100.0", "2"), ("sell", "100.0", "2"), ("sell", "100.0", "1")),
    )
    made.record(tmp_path / "lake")
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out", channel="level3")
    events = [
        (kind, price, qty, number)
        for kind, _, price, qty, number, _ in told(tmp_path / "out" / report.files[0]["path"])
    ]
    assert events[2:] == [
        ("trade", 100.0, 2.0, 0), ("trade", 100.0, 2.0, 0), ("trade", 100.0, 1.0, 0),
        ("fill", 100.0, 2.0, events[0][3]), ("add", 100.0, 3.0, 3), ("fill", 100.0, 3.0, 3),
        ("cancel", 100.0, 0.0, 3), ("cancel", 100.0, 0.0, events[0][3]),
    ]  # fmt: skip
    assert report.files[0]["trades_hidden"] == 2
    assert report.files[0]["trades_unattributed"] == 0


def test_each_session_is_a_file_and_the_gap_is_told(tmp_path: Path) -> None:
    """A recording that was cut: two files, and the time between in the report."""
    for begin in (START, START + 60 * SECOND):
        timed = frames.market(["BTC/USD"], begin=begin, step=SECOND, count=20)
        lakes.make(tmp_path / "lake", timed, session=lakes.session_name(begin))
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out")
    assert [file["symbol"] for file in report.files] == ["BTC/USD", "BTC/USD"]
    (gap,) = report.gaps
    assert (gap["channel"], gap["symbol"], gap["reason"]) == ("book", "BTC/USD", "stopped")
    for file in report.files:
        data = np.load(tmp_path / "out" / file["path"])["data"]
        kinds = data["ev"] & 0xFF
        first = int((kinds != 4).argmax())
        assert first > 0
        assert not (kinds[first:] == 4).any()
        assert not (kinds == 3).any()


def test_a_clock_that_is_behind_is_shifted(tmp_path: Path) -> None:
    """Receive times before the exchange's: all of the file are later by as much, and the report says by how much."""
    timed = [(ts - 5_000_000, frame) for ts, frame in frames.market(["BTC/USD"], begin=START, step=SECOND, count=20)]
    lakes.make(tmp_path / "lake", timed)
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out")
    assert report.files[0]["local_shift_ns"] == 5_000_000
    data = np.load(tmp_path / "out" / report.files[0]["path"])["data"]
    assert (data["local_ts"] >= data["exch_ts"]).all()


def test_trades_that_are_missing_are_counted(tmp_path: Path) -> None:
    """By the jump of their ids."""
    made = hand.Market()
    made.begin(("X", "bid", "100.0", "9"), ("A", "ask", "101.0", "2"))
    for second, qty in ((1, "8"), (2, "7"), (3, "6")):
        made.step(second, ("modify", "X", "bid", "100.0", qty), trades=(("sell", "100.0", "1"),))
        made.trade_id += second
    made.record(tmp_path / "lake")
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out", channel="level3")
    assert [(file["trades"], file["trades_missing"]) for file in report.files] == [(3, 1 + 2)]


def test_without_trades_there_is_a_note(tmp_path: Path) -> None:
    """A lake of books alone can be used; the report says what is missing."""
    book = frames.Book("BTC/USD")
    timed = [
        (START, frames.ack("book", "BTC/USD", depth=10)),
        (START, book.snapshot([("99.0", "1")], [("101.0", "1")])),
    ]
    timed += [(START + SECOND, book.update([("bid", "99.0", "2")], ts=START + SECOND))]
    lakes.make(tmp_path / "lake", timed, precision={"BTC/USD": (1, 8)})
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out")
    assert report.rows == 3
    assert report.notes == ["BTC/USD: trades were not recorded, so orders are filled by crossing only"]


def test_a_piece_without_a_message_has_a_note(tmp_path: Path) -> None:
    """A book that did not change in the range: no file of it, and the report says so."""
    made = hand.Market()
    made.begin(("X", "bid", "100.0", "2"), ("A", "ask", "101.0", "2"))
    made.step(1, ("modify", "X", "bid", "100.0", "1"))
    made.timed.append((START + 9 * SECOND, frames.trade("BTC/USD", 101, ts=START + 9 * SECOND)))
    made.record(tmp_path / "lake")
    options: dict[str, Any] = {"start": START + 5 * SECOND, "overwrite": True}
    with pytest.raises(ConfigError, match="there is nothing to export in this range"):
        export(tmp_path / "lake", "hftbacktest", tmp_path / "out", **options)
    report = export(tmp_path / "lake", "nautilus", tmp_path / "out", **options)
    begin, end = "2026-08-02T03:35:55.000000000Z", "2026-08-02T03:35:59.000000001Z"
    assert report.notes == [f"BTC/USD: no message of book from {begin} to {end}, so there is no file of it"]
    assert {file["type"] for file in report.files} == {"currency_pair", "trades"}


def test_without_numpy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy is no dependency of krakpot."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ConfigError, match="files of hftbacktest need NumPy: pip install numpy"):
        hftbacktest.numpy()


# The tool itself.


Backtests = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def backtests() -> Backtests:
    """Run hftbacktest on files."""
    run = tool(HFTBACKTEST, "hftbacktest_runner.py")
    return lambda *runs: list(run(json.dumps(runs))["answers"])


def backtest(path: Path, *, level3: bool, tick: float = 0.1, **options: Any) -> dict[str, Any]:
    """A run."""
    return {"file": str(path), "level3": level3, "tick": tick, **options}


@pytest.mark.slow
def test_fills_are_those_worked_out_by_hand(backtests: Backtests, tmp_path: Path) -> None:
    """Five orders in the market of ``hand.market``.

    Level 3 knows the queue: 1 at 100.0, sent at 0.5 s, is behind X and Y, ahead of W, so it is filled at 5 s. Level 2
    sees only sums, and takes the cut of Y for one behind the order: after the sales of 2 and 1 it believes that 1 of
    what was ahead is left (of 2, which is all that the level has), the sale of 1 takes that, and the next one, at 7 s,
    fills it. 1 at 99.0 is behind Z, which the sweep takes exactly: it is not filled. 1 at 101.0 is for sale and nobody
    buys. What was sent at 6.5 s is filled by the sweep at 8 s: at 100.0 behind V, because the sweep went on to
    99.0, and at 99.5 because the sweep went through.
    """
    half, late = SECOND // 2, 6_500_000_000
    orders = [
        (half, 1, 100.0, 1.0),
        (half, 1, 99.0, 1.0),
        (half, -1, 101.0, 1.0),
        (late, 1, 100.0, 1.0),
        (late, 1, 99.5, 1.0),
    ]
    files = {channel: exported(tmp_path, channel)[0] for channel in ("book", "level3")}
    runs = [backtest(path, level3=channel == "level3", orders=orders) for channel, path in files.items()]
    at = {}
    for channel, found in zip(files, backtests(*runs), strict=True):
        assert (found["bid"], found["ask"]) == (98.0, 101.0)
        at[channel] = [(time - START) / SECOND if time else None for time in found["filled"]]
    assert at == {"book": [7, None, None, 8, 8], "level3": [5, None, None, 8, 8]}


@pytest.mark.slow
def test_level_3_passes_an_order_that_stands_alone_before_the_best(backtests: Backtests, tmp_path: Path) -> None:
    """Our bid at 100.5 is the only one there, the best recorded bid is 100.0. The sale at 100.0 at 2 s would have met
    it first: level 2 says so, level 3 fills it when a trade goes below the best, at 8 s. ``docs/export.md`` says it.
    """
    files = {channel: exported(tmp_path, channel)[0] for channel in ("book", "level3")}
    orders = [(SECOND // 2, 1, 100.5, 1.0)]
    answers = backtests(*(backtest(files[channel], level3=channel == "level3", orders=orders) for channel in files))
    at = {
        channel: [(time - START) / SECOND for time in found["filled"]]
        for channel, found in zip(files, answers, strict=True)
    }
    assert at == {"book": [2], "level3": [8]}
    answer = Lake(tmp_path / "lake").would_fill(hand.SYMBOL, "buy", "100.5", "1", START + SECOND // 2)
    assert answer.fills["evidence"].to_list() == ["through"]
    assert answer.first_fill == START + 2 * SECOND


def simulated(tmp_path: Path, seconds: float = 60.0) -> dict[Any, ExportReport]:
    """A recording of the built-in exchange, as both kinds of files."""
    market = channels.run(seconds=seconds, rate=600.0, pairs=3, trades=True)
    channels.record(tmp_path / "lake", market)
    kinds: tuple[Any, ...] = ("book", "level3")
    return {channel: export(tmp_path / "lake", "hftbacktest", tmp_path / channel, channel=channel) for channel in kinds}


@pytest.mark.slow
def test_level_2_and_level_3_agree_about_a_simple_strategy(backtests: Backtests, tmp_path: Path) -> None:
    """A recording of the built-in exchange. Every second one order more joins the best bid or ask, in turn. Both files
    run to their end; the bests there are the same; the fills agree about most orders; level 3 fills no fewer.
    """
    reports = simulated(tmp_path)
    ticks = {"BTC/USD": 0.1, "ETH/USD": 0.01, "XRP/USD": 0.00001}
    runs = []
    for channel, report in reports.items():
        for file in report.files:
            options = {"tick": ticks[file["symbol"]], "every": SECOND, "most": 50, "qty": 0.001}
            runs.append(backtest(tmp_path / channel / file["path"], level3=channel == "level3", **options))
    answers = backtests(*runs)
    assert list(reports) == ["book", "level3"]
    levels = (answers[: len(ticks)], answers[len(ticks) :])
    for two, three, left, right in zip(reports["book"].files, reports["level3"].files, *levels, strict=True):
        assert two["symbol"] == three["symbol"]
        assert (left["bid"], left["ask"]) == (right["bid"], right["ask"])
        assert len(left["filled"]) == len(right["filled"]) == 50
        pairs = list(zip(left["filled"], right["filled"], strict=True))
        agree = sum(bool(one) == bool(other) for one, other in pairs)
        same = sum(one == other for one, other in pairs if one and other)
        sys.stdout.write(
            f"{two['symbol']}: filled {sum(map(bool, left['filled']))} by level 2, "
            f"{sum(map(bool, right['filled']))} by level 3, of 50; agree {agree}, same instant {same}, "
            f"unattributed {three['share_unattributed']:.1%}\n"
        )
        assert agree >= 45
        assert sum(map(bool, right["filled"])) > 10

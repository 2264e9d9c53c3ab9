"""Bars against a plain model, against the exchange's own candles, and what they say about what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from datetime import timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot import ConfigError, Lake, _core
from krakpot.exchange.frames import unframe
from krakpot.lake import bars as module
from krakpot.lake import parquet
from krakpot.lake.bars import DECIMALS, NEEDED, bars, covered_share, in_windows, size_of
from krakpot.lake.format import open_lake, polars_schema, stamp
from krakpot.lake.ledger import ledger_frame
from krakpot.lake.times import TIME
from krakpot.values import BarKind

MINUTE = 60 * frames.SECOND
Trade = tuple[str, int, int, str, Decimal, Decimal]
"""Symbol, time, id, side, price, quantity."""


def frame(trades: list[Trade]) -> pl.DataFrame:
    """Trades as the lake gives them."""
    schema = {
        "symbol": pl.String(), "ts_event": pl.Int64(), "trade_id": pl.Int64(), "side": pl.String(),
        "price": pl.Decimal(38, 10), "qty": pl.Decimal(38, 10),
    }  # fmt: skip
    return pl.DataFrame(trades, schema=schema, orient="row").with_columns(pl.col("ts_event").cast(TIME))


def quotient(value: Decimal | int, volume: Decimal | int) -> Decimal | None:
    """To ten decimals, as numbers are rounded by hand."""
    return (Decimal(value) / Decimal(volume)).quantize(Decimal("1e-10"), ROUND_HALF_UP) if volume else None


def model(trades: list[Trade], by: BarKind, size: int) -> list[dict[str, Any]]:
    """Bars, made trade by trade."""
    groups: dict[tuple[str, int], list[Trade]] = defaultdict(list)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    numbers: dict[str, int] = defaultdict(int)
    for trade in sorted(trades, key=lambda one: one[:3]):
        symbol, time, _, side, price, qty = trade
        if by == "time":
            number = time // size
        elif by == "imbalance":
            number = numbers[symbol]
            sums[symbol] += qty if side == "buy" else -qty
            if abs(sums[symbol]) >= Decimal(size) / 10**10:
                numbers[symbol] += 1
                sums[symbol] = Decimal(0)
        else:
            number = int(sums[symbol] * 10 ** DECIMALS[by]) // size
            sums[symbol] += {"tick": Decimal(1), "volume": qty, "dollar": price * qty}[by]
        groups[symbol, number].append(trade)
    rows = []
    for (symbol, number), some in sorted(groups.items()):
        prices = [price for *_, price, _ in some]
        times = [time for _, time, *_ in some]
        rows.append(
            {
                "symbol": symbol,
                "ts_from": number * size if by == "time" else times[0],
                "ts_to": (number + 1) * size if by == "time" else times[-1] + 1,
                "open": prices[0],
                "high": max(prices),
                "low": min(prices),
                "close": prices[-1],
                "volume": sum(qty for *_, qty in some),
                "trades": len(some),
                "vwap": quotient(sum(price * qty for *_, price, qty in some), sum(qty for *_, qty in some)),
                "buy_volume": sum((qty for _, _, _, side, _, qty in some if side == "buy"), Decimal(0)),
            }
        )
    return rows


@st.composite
def trade_lists(draw: st.DrawFn) -> list[Trade]:
    """Trades of two pairs; several may have one time, and they come in any order."""
    number = st.builds(lambda n, digits: Decimal(n).scaleb(-digits), st.integers(1, 10**6), st.sampled_from([2, 10]))
    qty = st.just(Decimal(0)) | number
    rows = st.tuples(
        st.sampled_from(["A/USD", "B/USD"]), st.integers(0, 300), st.sampled_from(["buy", "sell"]), number, qty
    )
    listed = draw(st.lists(rows, max_size=40))
    ordered = sorted(listed, key=lambda row: row[1])
    made = [(row[0], frames.START + row[1] * frames.SECOND, at + 1, *row[2:]) for at, row in enumerate(ordered)]
    return draw(st.permutations(made))


@given(
    trades=trade_lists(),
    chosen=st.sampled_from(
        [
            ("time", "1m"),
            ("time", "7s"),
            ("tick", 1),
            ("tick", 3),
            ("volume", "12.5"),
            ("volume", 10_000),
            ("dollar", 99),
            ("imbalance", "3000.5"),
            ("imbalance", 1),
        ]
    ),
    cuts=st.lists(st.integers(0, 300), max_size=3).map(sorted),
)
def test_bars_are_the_plain_model_s(trades: list[Trade], chosen: tuple[BarKind, object], cuts: list[int]) -> None:
    """Every kind of bar, to the last digit, in however many frames the trades come."""
    by, every = chosen
    size = size_of(every, by)
    whole = frame(trades)
    seconds = (pl.col("ts_event").dt.epoch("ns") - frames.START) // frames.SECOND
    edges = [-1, *cuts, 999]
    found = bars((whole.filter(seconds >= a, seconds < b) for a, b in pairwise(edges)), by, size)
    compared = found.with_columns(pl.col("ts_from", "ts_to").to_physical()).drop("missing", "full")
    with localcontext(Context(prec=60)):
        assert compared.to_dicts() == model(trades, by, size)


def test_a_sum_just_below_the_size_is_below_it() -> None:
    """A quotient of ten decimals would be rounded up to the next bar."""
    trades = [
        ("A", frames.START + n, n, "buy", Decimal(1), qty)
        for n, qty in enumerate([Decimal("2.4999999999"), Decimal("0.0000000001"), Decimal(1)])
    ]
    found = bars([frame(trades)], "volume", size_of("2.5", "volume"))
    assert found["trades"].to_list() == [2, 1]
    assert found["full"].to_list() == [True, False], "the second has one of 2.5"


def test_the_last_bar_of_an_amount_may_not_have_come_to_its_end(recorded: Lake) -> None:
    """It is covered, and nothing is missing; it is not whole."""
    for by, every in (("tick", 7), ("volume", "0.5"), ("dollar", 1000), ("imbalance", "0.05")):
        found = recorded.bars("BTC/*", every=every, by=by)  # type: ignore[arg-type]  # one of them
        assert found["whole"].sum() > 10
        for (symbol,), some in found.group_by("symbol"):
            if by == "imbalance":
                net = some["buy_volume"] * 2 - some["volume"]
                reached = [abs(one) >= Decimal("0.05") for one in net]
                assert all(reached[:-1]), symbol
                assert not some["whole"].filter(~pl.Series(reached)).any(), symbol
            else:
                assert some.sort("ts_from")["whole"][-1] is (by == "tick" and int(some["trades"].sum()) % 7 == 0), (
                    symbol
                )


def candles(lake: Path, seconds: int) -> Lake:
    """A lake of some busy pairs of the built-in exchange, with candles and trades from the first moment on."""
    start = frames.START // MINUTE * MINUTE
    exchange = _core.Exchange(pairs=3, rate=600.0, seed=3, start=start)
    client = exchange.connect()
    for channel in ("instrument", "trade", "ohlc"):
        params: dict[str, Any] = {"channel": channel}
        if channel != "instrument":
            params |= {"symbol": exchange.symbols}
        exchange.receive(client, json.dumps({"method": "subscribe", "params": params}).encode())
    timed = []
    for step in range(1, seconds * 10 + 1):
        now = start + step * frames.SECOND // 10
        exchange.advance(now)
        timed += [(now, text) for text in unframe(exchange.take(client))]
    lakes.make(lake, timed)
    return Lake(lake)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Four minutes and a half of it."""
    return candles(tmp_path_factory.mktemp("candles") / "lake", 270)


def test_bars_equal_the_exchange_s_candles(recorded: Lake) -> None:
    """Of each minute the last candle that the exchange sent: same prices, volume and number of trades."""
    same = ("open", "high", "low", "close", "volume", "trades")
    names = {"ts_from": "interval_begin"} | {name: name for name in same}
    sent = recorded.ohlc().sort("message", "entry").unique(["symbol", "interval_begin"], keep="last").collect()
    expected = sent.select("symbol", **{mine: pl.col(theirs) for mine, theirs in names.items()})
    found = recorded.bars(every="1m").select("symbol", *names)
    assert found.height > 9
    both = found.join(expected.cast({"trades": pl.UInt32}), on=["symbol", *names])
    assert both.height == found.height == expected.height
    vwaps = recorded.bars(every="1m").join(sent, left_on=["symbol", "ts_from"], right_on=["symbol", "interval_begin"])
    decimals = (
        recorded.pairs().select("symbol", step=10.0 ** -pl.col("price_precision").cast(pl.Int32)).unique().collect()
    )
    off = (pl.col("vwap") - pl.col("vwap_right")).cast(pl.Float64).abs()
    assert vwaps.join(decimals, on="symbol").select((off <= pl.col("step")).all()).item(), (
        "theirs is rounded as a price"
    )


def test_only_whole_bars_are_whole(recorded: Lake) -> None:
    """The last minute was cut by the end of the recording; the ones between are whole."""
    found = recorded.bars(every=timedelta(minutes=1))
    (symbol, *_) = recorded.symbols()
    shares = found.filter(symbol=symbol)["covered"].to_list()
    assert shares[1:-1] == [1.0] * (len(shares) - 2)
    assert shares[0] == pytest.approx(1, abs=0.01)
    assert shares[-1] == pytest.approx(0.5, abs=0.02)
    assert found.filter(symbol=symbol)["whole"].to_list()[1:] == [True] * (len(shares) - 2) + [False]
    assert set(found["missing"]) == {0}


def test_bars_of_a_range_are_of_the_trades_in_it(recorded: Lake) -> None:
    """[start, end) of the times at which trades were made; the numbers are floats on request."""
    begin = frames.START // MINUTE * MINUTE
    whole = recorded.bars(every="1m")
    some = recorded.bars(None, begin + MINUTE, begin + 3 * MINUTE, every="1m")
    inside = whole.filter(pl.col("ts_from").is_between(begin_of(begin + MINUTE), begin_of(begin + 2 * MINUTE)))
    assert some.drop("missing").equals(inside.drop("missing"))
    floats = recorded.bars("BTC/*", every="1m", numbers="float") if "BTC/USD" in recorded.symbols() else None
    if floats is not None:
        exact = whole.filter(pl.col("symbol") == "BTC/USD")
        assert floats["volume"].to_list() == [float(one) for one in exact["volume"]]


def begin_of(ns: int) -> pl.Expr:
    """A time, as a literal."""
    return pl.lit(ns).cast(TIME)


def test_missing_trades_are_counted_where_they_are_missed() -> None:
    """In a bar, and between two bars; ids that begin anew are no hole."""
    start = frames.START // MINUTE * MINUTE
    ids = [(0, 10), (1, 11), (2, 14), (61, 17), (62, 18), (130, 1), (131, 2)]
    trades = [("A", start + s * frames.SECOND, n, "buy", Decimal(1), Decimal(1)) for s, n in ids]
    assert bars([frame(trades)], "time", MINUTE)["missing"].to_list() == [2, 2, 0]


def test_the_share_is_of_the_union_of_all_sessions() -> None:
    """Spans that overlap count once; bars before, between and after them have what they have."""
    start = frames.START // MINUTE * MINUTE
    spans = [("A", 30, 90), ("A", 60, 100), ("A", 170, 200), ("B", 0, 240)]
    coverage = pl.DataFrame(
        [("trade", symbol, start + a * frames.SECOND, start + b * frames.SECOND) for symbol, a, b in spans],
        schema={"channel": pl.String(), "symbol": pl.String(), "ts_from": pl.Int64(), "ts_to": pl.Int64()},
        orient="row",
    ).with_columns(pl.col("ts_from", "ts_to").cast(TIME))
    trades: list[Trade] = [
        (symbol, start + s * frames.SECOND, n, "buy", Decimal(1), Decimal(1))
        for n, (symbol, s) in enumerate([("A", -30), ("A", 0), ("A", 60), ("A", 120), ("A", 180), ("A", 250), ("B", 0)])
    ]
    found = covered_share(bars([frame(trades)], "time", MINUTE), coverage)
    shares = found["covered"].to_list()
    assert shares == pytest.approx([0, 30 / 60, 40 / 60, 10 / 60, 20 / 60, 0, 1])


def steady(path: Path, seconds: int, *, clock: int = 0, tenths: int = 1, end: bool = True) -> Lake:
    """A trade every so many tenths of a second from a whole minute on, followed from five seconds before.

    ``clock``: how far the recorder's clock is ahead, ns. ``end``: whether the recording ends as planned.
    """
    start = frames.START // MINUTE * MINUTE
    recorder = lakes.Recorder(path)
    opening = [frames.instrument(frames.pair("BTC/USD")), frames.ack("trade", "BTC/USD")]
    recorder.take((start - 5 * frames.SECOND + clock, text) for text in opening)
    for n in range(seconds * 10 // tenths):
        made = start + n * tenths * frames.SECOND // 10
        recorder.take([(made + clock, frames.trade("BTC/USD", n + 1, ts=made))])
    recorder.take([(start + seconds * frames.SECOND + clock, frames.HEARTBEAT)])
    if end:
        recorder.end()
    else:
        recorder.die()
    return Lake(path)


def test_bars_that_the_range_cuts_are_not_whole(tmp_path: Path) -> None:
    """Where it begins and ends within a minute; bars of an amount begin with the range."""
    lake = steady(tmp_path, 200, tenths=10)
    start = frames.START // MINUTE * MINUTE
    found = lake.bars("BTC/USD", start + 30 * frames.SECOND, start + 165 * frames.SECOND)
    assert found["trades"].to_list() == [30, 60, 45]
    assert found["covered"].to_list() == [0.5, 1, 0.75]
    assert found["whole"].to_list() == [False, True, False]
    assert lake.bars("BTC/USD", start, start + 180 * frames.SECOND)["whole"].to_list() == [True] * 3
    ticks = lake.bars("BTC/USD", start + 30 * frames.SECOND, start + 51 * frames.SECOND, every=10, by="tick")
    assert ticks.select("trades", "covered", "whole").rows() == [(10, 1, True), (10, 1, True), (1, 1, False)]


def test_a_recording_without_an_end_does_not_fill_a_bar(tmp_path: Path) -> None:
    """A killed recorder, or one at work, wrote nothing of the rest of the minute."""
    lake = steady(tmp_path, 119, end=False)
    assert lake.coverage()["ts_to"][0] == stamp(frames.START // MINUTE * MINUTE + 120 * frames.SECOND)
    found = lake.bars("BTC/USD")
    assert found["trades"].to_list() == [600, 590]
    assert found["covered"].to_list() == pytest.approx([1, 59 / 60])
    assert found["whole"].to_list() == [True, False]
    sums = lake.features("BTC/USD", "trade_count", every="500ms")
    known = sums.drop_nulls("trade_count")
    assert known["trade_count"][-1] == 5, "no sum of less than half a second"
    assert known["ts"][-1] < stamp(frames.START // MINUTE * MINUTE + 119 * frames.SECOND)


@pytest.mark.parametrize("seconds", [-7200, -10, 10, 7200])
def test_a_clock_that_is_wrong_does_not_make_a_bar_whole(seconds: int, tmp_path: Path) -> None:
    """The last bar lacks five seconds, whatever the clock says of the end; no trade of a range is lost."""
    lake = steady(tmp_path, 175, clock=seconds * frames.SECOND)
    start = frames.START // MINUTE * MINUTE
    whole = lake.bars("BTC/USD")
    assert whole["trades"].to_list() == [600, 600, 550]
    assert whole["covered"].to_list() == pytest.approx([1, 1, 55 / 60])
    assert whole["whole"].to_list() == [True, True, False]
    assert lake.bars("BTC/USD", start + MINUTE, start + 3 * MINUTE).equals(whole.tail(2))


def test_an_empty_lake_has_no_bars(tmp_path: Path) -> None:
    """The columns are there."""
    lakes.make(tmp_path / "lake", [(ts, text) for ts, text in lakes.market(40) if b'"trade"' not in text])
    found = Lake(tmp_path / "lake").bars()
    assert found.height == 0
    assert found.columns[:3] == ["symbol", "ts_from", "ts_to"]
    assert found.columns[-3:] == ["missing", "covered", "whole"]


def test_few_trades_are_in_memory_at_a_time(recorded: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of so many rows; each trade is in one of them, although two sessions have it."""
    monkeypatch.setattr(module, "HOUR", frames.SECOND)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2000)
    rows = recorded.trades(sources="all")
    twice = pl.concat([rows, rows.with_columns(session=pl.lit("other"), kind=pl.lit("snapshot"))])
    found = list(in_windows(twice))
    assert len(found) > 5
    assert max(frame.height for frame in found) <= 1000
    for frame, after in pairwise(found):
        assert frame["ts_event"].max() < after["ts_event"].min()  # type: ignore[operator]  # both have rows
    order = ["symbol", "trade_id"]
    whole = recorded.trades().select(NEEDED).sort(order).collect()
    assert pl.concat(found).sort(order).equals(whole)
    assert list(in_windows(rows.head(0))) == []


MONTH = """
import sys
from krakpot import Lake
found = Lake(sys.argv[1]).bars(every="1h", numbers="float")
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(found.height, found["trades"].sum(), found["whole"].sum(), int(peak) * 1024)
"""


@pytest.mark.slow
def test_bars_of_a_month_of_all_pairs_need_bounded_memory(tmp_path: Path) -> None:
    """Three million trades of a hundred pairs: at once they took 2.3 GB."""
    pairs, days, each = 100, 30, 1000
    month(tmp_path, pairs, days, each)
    done = subprocess.run([sys.executable, "-c", MONTH, str(tmp_path)], capture_output=True, text=True, check=True)
    height, made, whole, peak = map(int, done.stdout.split())
    assert height == whole == pairs * days * 24
    assert made == pairs * days * each
    assert peak < 1_200_000_000


def month(lake: Path, pairs: int, days: int, each: int) -> None:
    """Write a lake of compacted parts: each pair has so many trades a day, and was followed all the time."""
    open_lake(lake)
    session = lakes.session_name(frames.START)
    name = f"000000-{session}-c0000000.parquet"
    midnight = frames.START // frames.DAY * frames.DAY
    place = pl.int_range(pairs * each, eager=True)
    symbols = pl.Series([f"P{n:03}/USD" for n in range(pairs)])
    for day in range(days):
        trades = pl.DataFrame({"pair": place // each, "n": place % each}).select(
            session=pl.lit(session), message=pl.col("n") * pairs + pl.col("pair") + day * len(place),
            entry=pl.lit(0), ts_recv=midnight + day * frames.DAY + (pl.col("n") * frames.DAY) // each + 10**6,
            ts_event=midnight + day * frames.DAY + (pl.col("n") * frames.DAY) // each,
            symbol=symbols.gather(place // each), kind=pl.lit("update"),
            side=pl.when(pl.col("n") * 7919 % 13 < 6).then(pl.lit("buy")).otherwise(pl.lit("sell")),
            price=(100_000 + pl.col("n") * 31 % 1000) / 100, qty=(1 + pl.col("n") * 17 % 500) / 1000,
            ord_type=pl.lit("limit"), trade_id=pl.col("n") + day * each + 1,
            price_precision=pl.lit(2), qty_precision=pl.lit(3),
        )  # fmt: skip
        more = [name for name in polars_schema("trades") if name not in trades.columns]
        trades = trades.with_columns(pl.lit("feed").alias(name) for name in more)
        folder = lake / f"trades/date={stamp(midnight + day * frames.DAY).date()}"
        folder.mkdir(parents=True)
        parquet.write_part(
            trades.select(pl.col(name).cast(kind) for name, kind in polars_schema("trades").items()), folder / name
        )
    # A trade is received a millisecond after it was made.
    begin, end = midnight, midnight + days * frames.DAY + 10**6
    rows: list[dict[str, object]] = [
        {"ts_recv": begin, "kind": "subscribed", "channel": "trade", "symbol": symbol} for symbol in symbols
    ]
    rows += [{"ts_recv": end, "kind": "stop"}, {"ts_recv": end, "ts_from": end, "kind": "disconnect"}]
    ledger = ledger_frame([{"session": session, "message": n, "entry": n} | row for n, row in enumerate(rows)])
    folder = lake / f"ledger/date={stamp(midnight).date()}"
    folder.mkdir(parents=True)
    parquet.write_part(ledger, folder / name)


@pytest.mark.parametrize(
    ("every", "by", "sentence"),
    [
        ("1x", "time", "every='1x' is not allowed; write for example"),
        (0, "tick", "every=0 is not allowed with by='tick'; allowed is a whole number of trades, above 0"),
        (1.5, "tick", "every=1.5 is not allowed with by='tick'"),
        (True, "tick", "every=True is not allowed"),
        ("1m", "volume", "every='1m' is not allowed with by='volume'; allowed is an amount of the base currency"),
        (-1, "dollar", "every=-1 is not allowed with by='dollar'; allowed is an amount of the quote currency"),
        (float("nan"), "volume", "every=nan is not allowed"),
        (10**30, "dollar", "every=1000"),
        ("1m", "minute", "by='minute'; allowed: 'time', 'tick', 'volume', 'dollar', 'imbalance'"),
    ],
)
def test_a_size_that_is_none(every: Any, by: Any, sentence: str) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        size_of(every, by)
    assert str(caught.value).startswith(sentence)

"""Bars against a plain model, against the exchange's own candles, and what they say about what is missing."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot import ConfigError, Lake, _core
from krakpot.lake.bars import DECIMALS, bars, covered_share, size_of
from krakpot.lake.times import TIME
from krakpot.values import BarKind

MINUTE = 60 * frames.SECOND
Trade = tuple[str, int, int, str, Decimal, Decimal]
"""Symbol, time, id, side, price, quantity."""


def frame(trades: list[Trade]) -> pl.LazyFrame:
    """Trades as the lake gives them."""
    schema = {
        "symbol": pl.String(), "ts_event": pl.Int64(), "trade_id": pl.Int64(), "side": pl.String(),
        "price": pl.Decimal(38, 10), "qty": pl.Decimal(38, 10),
    }  # fmt: skip
    return pl.DataFrame(trades, schema=schema, orient="row").lazy().with_columns(pl.col("ts_event").cast(TIME))


def model(trades: list[Trade], by: BarKind, size: int) -> list[dict[str, Any]]:
    """Bars, made trade by trade."""
    groups: dict[tuple[str, int], list[Trade]] = defaultdict(list)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for trade in sorted(trades, key=lambda one: one[:3]):
        symbol, time, _, _, price, qty = trade
        if by == "time":
            number = time // size
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
                "buy_volume": sum((qty for _, _, _, side, _, qty in some if side == "buy"), Decimal(0)),
            }
        )
    return rows


@st.composite
def trade_lists(draw: st.DrawFn) -> list[Trade]:
    """Trades of two pairs; several may have one time, and they come in any order."""
    number = st.integers(1, 10**6).map(lambda n: Decimal(n) / 100)
    rows = st.tuples(
        st.sampled_from(["A/USD", "B/USD"]), st.integers(0, 300), st.sampled_from(["buy", "sell"]), number, number
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
        ]
    ),
)
def test_bars_are_the_plain_model_s(trades: list[Trade], chosen: tuple[BarKind, object]) -> None:
    """Every kind of bar, to the last digit."""
    by, every = chosen
    size = size_of(every, by)
    found = bars(frame(trades), by, size).collect(engine="streaming")
    compared = found.with_columns(pl.col("ts_from", "ts_to").to_physical()).drop("vwap", "missing", "full")
    assert compared.to_dicts() == model(trades, by, size)


def test_a_sum_just_below_the_size_is_below_it() -> None:
    """A quotient of ten decimals would be rounded up to the next bar."""
    trades = [
        ("A", frames.START + n, n, "buy", Decimal(1), qty)
        for n, qty in enumerate([Decimal("2.4999999999"), Decimal("0.0000000001"), Decimal(1)])
    ]
    found = bars(frame(trades), "volume", size_of("2.5", "volume")).collect()
    assert found["trades"].to_list() == [2, 1]
    assert found["full"].to_list() == [True, False], "the second has one of 2.5"


def test_the_last_bar_of_an_amount_may_not_have_come_to_its_end(recorded: Lake) -> None:
    """It is covered, and nothing is missing; it is not whole."""
    for by, every in (("tick", 7), ("volume", "0.5"), ("dollar", 1000)):
        found = recorded.bars("BTC/*", every=every, by=by)  # type: ignore[arg-type]  # one of them
        assert found["whole"].sum() > 10
        for (symbol,), some in found.group_by("symbol"):
            assert some.sort("ts_from")["whole"][-1] is (by == "tick" and int(some["trades"].sum()) % 7 == 0), symbol


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
        timed += [(now, text) for text in frames.unframe(exchange.take(client))]
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
    assert bars(frame(trades), "time", MINUTE).collect()["missing"].to_list() == [2, 2, 0]


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
    found = covered_share(bars(frame(trades), "time", MINUTE).collect(), coverage)
    shares = found["covered"].to_list()
    assert shares == pytest.approx([0, 30 / 60, 40 / 60, 10 / 60, 20 / 60, 0, 1])


def test_an_empty_lake_has_no_bars(tmp_path: Path) -> None:
    """The columns are there."""
    lakes.make(tmp_path / "lake", [(ts, text) for ts, text in lakes.market(40) if b'"trade"' not in text])
    found = Lake(tmp_path / "lake").bars()
    assert found.height == 0
    assert found.columns[:3] == ["symbol", "ts_from", "ts_to"]
    assert found.columns[-3:] == ["missing", "covered", "whole"]


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
        ("1m", "minute", "by='minute'; allowed: 'time', 'tick', 'volume', 'dollar'"),
    ],
)
def test_a_size_that_is_none(every: Any, by: Any, sentence: str) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        size_of(every, by)
    assert str(caught.value).startswith(sentence)

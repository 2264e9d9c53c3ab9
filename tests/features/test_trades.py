"""Features of trades against plain loops."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
from krakpot import ConfigError
from krakpot.features import trades
from krakpot.features.frames import TIME

Trade = tuple[str, int, int, str, Decimal, Decimal]
"""Symbol, second, id, side, price, quantity."""


def frame(rows: list[Trade]) -> pl.DataFrame:
    """Trades as the lake gives them."""
    schema = {
        "symbol": pl.String(), "ts_event": pl.Int64(), "trade_id": pl.Int64(), "side": pl.String(),
        "price": pl.Decimal(38, 10), "qty": pl.Decimal(38, 10),
    }  # fmt: skip
    listed = [(symbol, frames.START + second * frames.SECOND, *rest) for symbol, second, *rest in rows]
    return pl.DataFrame(listed, schema=schema, orient="row").with_columns(pl.col("ts_event").cast(TIME))


@st.composite
def trade_lists(draw: st.DrawFn) -> list[Trade]:
    """Trades of two pairs; now and then an id is missing."""
    number = st.integers(1, 10**4).map(lambda n: Decimal(n) / 100)
    found = []
    ids = dict.fromkeys(("A/USD", "B/USD"), 0)
    second = 0
    for _ in range(draw(st.integers(0, 40))):
        symbol = draw(st.sampled_from(sorted(ids)))
        ids[symbol] += 1 + (draw(st.integers(0, 9)) == 0)
        second += draw(st.integers(0, 20))
        found.append((symbol, second, ids[symbol], draw(st.sampled_from(["buy", "sell"])), draw(number), draw(number)))
    return found


@given(rows=trade_lists())
def test_runs_of_signs_are_the_plain_model_s(rows: list[Trade]) -> None:
    """A run ends where the sign changes, and where a trade is missing."""
    last: dict[str, tuple[int, int]] = {}
    expected = []
    for symbol, _, number, side, *_ in rows:
        sign = 1 if side == "buy" else -1
        before, run = last.get(symbol, (-1, 0))
        run = run + sign if number == before + 1 and run * sign > 0 else sign
        last[symbol] = number, run
        expected.append((sign, run))
    assert trades.sign_runs(frame(rows)).select("sign", "sign_run").rows() == expected


@given(rows=trade_lists(), step=st.sampled_from([None, "0.5", Decimal(7), 0.01]))
def test_footprint_and_profile_are_the_plain_model_s(rows: list[Trade], step: Decimal | str | float | None) -> None:
    """Exact, to the last digit; prices are rounded down to the step."""
    bars: dict[tuple[str, int, Decimal], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0)])
    prices: dict[tuple[str, Decimal], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0)])
    for symbol, second, _, side, price, qty in rows:
        size = None if step is None else Decimal(str(step))
        level = price if size is None else price // size * size
        minute = (frames.START // frames.SECOND + second) // 60
        for one in (bars[symbol, minute, level], prices[symbol, level]):
            one[side == "sell"] += qty
            one[2] += 1
    found = trades.footprint(frame(rows), "1m", step).with_columns(ts_from=pl.col("ts_from").dt.epoch("s") // 60)
    assert found.rows() == [(*key, buy, sell, buy - sell, int(n)) for key, (buy, sell, n) in sorted(bars.items())]
    profile = trades.volume_profile(frame(rows), step)
    assert profile.rows() == [(*key, buy, sell, buy - sell, int(n)) for key, (buy, sell, n) in sorted(prices.items())]
    floats = frame(rows).with_columns(pl.col(pl.Decimal).cast(pl.Float64))
    assert trades.volume_profile(floats, "0.25")["trades"].sum() == len(rows)


@pytest.mark.parametrize("step", [0, -1, "a", "nan", "1e-11"])
def test_steps_that_are_none(step: str) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(
        ConfigError, match=r"price_step=.* is not allowed; allowed is a number above 0, up to 10 decimals"
    ):
        trades.volume_profile(frame([]), step)
    with pytest.raises(ConfigError, match="every=0 is not allowed"):
        trades.footprint(frame([]), 0)  # type: ignore[arg-type]  # what is refused


def test_a_trade_without_a_side_is_neither_bought_nor_sold() -> None:
    """Its sign is null and ends a run; volumes by side that it is part of are not known."""
    rows = [("A/USD", n, n, side, Decimal(price), Decimal(1)) for n, (side, price) in enumerate(
        [("buy", 10), ("buy", 10), (None, 10), ("buy", 11), ("sell", 11)]
    )]  # fmt: skip
    made = frame(rows)  # type: ignore[arg-type]  # a side that is not known
    assert trades.sign_runs(made).select("sign", "sign_run").rows() == [(1, 1), (1, 2), (None, None), (1, 1), (-1, -1)]
    known = ("A/USD", Decimal(11), Decimal(1), Decimal(1), Decimal(0), 2)
    assert trades.volume_profile(made).rows() == [("A/USD", Decimal(10), None, None, None, 3), known]
    bars = trades.footprint(made, "1m")
    assert bars["buy_volume"].to_list() == [None, Decimal(1)]
    assert bars["trades"].to_list() == [3, 2]

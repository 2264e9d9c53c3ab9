"""Features by name; what a step knows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
from krakpot import ConfigError
from krakpot.features.frames import TIME
from krakpot.features.steps import FEATURES, known_steps, order_features, sources, trade_features, wanted


def times(*seconds: int) -> pl.Series:
    """Times, in seconds after the start."""
    return pl.Series([frames.START + s * frames.SECOND for s in seconds], dtype=pl.Int64).cast(TIME)


def test_every_feature_is_found_by_its_name() -> None:
    """With a number of levels where it takes one."""
    names = [name.replace("_N", "_7") for name in FEATURES]
    found = wanted(names)
    assert [one.name for one in found] == names
    assert [one.base for one in found] == list(FEATURES)
    assert {one.depth for one in found} == {1, 7}
    assert sources(found) == {"book", "event", "trade", "level3", "queue"}
    assert sources(wanted("ofi")) == {"book", "event"}
    assert sources(wanted("kyle_lambda")) == {"book", "trade"}


def test_the_page_has_every_feature_with_its_unit() -> None:
    """In the table of docs/features.md, in the same order."""
    page = (Path(__file__).resolve().parents[2] / "docs/features.md").read_text()
    table = page.split("| name | unit | meaning |\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    told: dict[str, str] = {}
    for line in table.splitlines():
        names, unit, _ = (cell.strip() for cell in line.strip("|").split("|"))
        listed = [name.strip(" `") for name in names.split(",")]
        units = [one.strip() for one in unit.split(",")]
        told |= dict(zip(listed, units * (len(listed) // len(units)), strict=True))
    assert told == {name: feature.unit for name, feature in FEATURES.items()}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("midd", "no feature 'midd'; did you mean mid? features: mid, spread, microprice, imbalance_N, "),
        ("imbalance", "no feature 'imbalance'; did you mean imbalance_N? features: mid"),
        ("mid_5", "no feature 'mid_5'"),
        ("imbalance_0", "no feature 'imbalance_0'"),
        ("imbalance_N", "no feature 'imbalance_N'"),
        (["mid", 5], "no feature 5"),
        ([], "names=[]; give one or more features, each once"),
        (["mid", "mid"], "names=['mid', 'mid']; give one or more features, each once"),
    ],
)
def test_a_name_that_is_none(names: list[str], sentence: str) -> None:
    """One sentence with those that there are."""
    with pytest.raises(ConfigError) as caught:
        wanted(names)
    assert sentence in str(caught.value)


@given(
    edges=st.lists(st.integers(0, 45), max_size=6, unique=True).map(sorted),
    holes=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=4),
)
def test_a_known_step_is_wholly_followed_and_lacks_nothing(edges: list[int], holes: list[tuple[int, int]]) -> None:
    """(ts - 3 s, ts] lies in a span [from, to), and meets no hole (from, to]."""
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    schema = {"a": pl.Int64, "b": pl.Int64}
    known = pl.DataFrame(spans, schema, orient="row").select(ts_from=times_of("a"), ts_to=times_of("b"))
    lost = pl.DataFrame(holes, schema, orient="row").select(ts_from=times_of("a"), ts_to=times_of("a", "b"))
    asked = range(0, 50, 3)
    found = known_steps(times(*asked), 3 * frames.SECOND, known, lost).to_list()
    for at, one in zip(asked, found, strict=True):
        inside = any(begin <= at - 3 and at < end for begin, end in spans)
        assert one == (inside and not any(begin < at and begin + n > at - 3 for begin, n in holes)), at


def times_of(*columns: str) -> pl.Expr:
    """A sum of columns of seconds as a time."""
    return (frames.START + pl.sum_horizontal(columns) * frames.SECOND).cast(TIME)


def test_steps_of_trades() -> None:
    """(ts - every, ts]: a trade at the time of a row belongs to that row; a step without trades has zeros."""
    rows = [
        (0, 1, "buy", 10.0, 1.0),
        (1, 2, "buy", 11.0, 3.0),
        (1, 3, "buy", 12.0, 1.0),
        (2, 4, "sell", 13.0, 2.0),
        (2, 6, "sell", 1.0, 1.0),
    ]
    trades = pl.DataFrame(rows, schema=["s", "trade_id", "side", "price", "qty"], orient="row").with_columns(
        ts_recv=times_of("s")
    )
    found = trade_features(times(1, 2, 3, 4), frames.SECOND, trades[1:], pl.Series([True, True, True, False]))
    assert found.to_dict(as_series=False) == {
        "trade_count": [2, 2, 0, None],
        "volume": [4.0, 3.0, 0.0, None],
        "signed_volume": [4.0, -3.0, 0.0, None],
        "vwap": [11.25, 9.0, None, None],
        "sign_run": [2, -1, 0, None],
    }


def test_steps_of_orders() -> None:
    """Per second, whatever the step."""
    rows = [(1, "bid", "add"), (2, "bid", "add"), (2, "ask", "delete"), (2, "ask", "modify")]
    orders = pl.DataFrame(rows, schema=["s", "side", "event"], orient="row").with_columns(ts_recv=times_of("s"))
    found = order_features(times(2, 4), 2 * frames.SECOND, orders, pl.Series([True, True]))
    assert found.rows() == [(1.0, 0.0, 0.0, 0.5), (0.0, 0.0, 0.0, 0.0)]


def test_a_step_with_a_trade_without_a_side_has_no_signed_volume() -> None:
    """A step without trades has 0, one that is not known null; volume and count are known all the same."""
    made = pl.DataFrame(
        {
            "ts_recv": [frames.START + frames.SECOND // 2, frames.START + 3 * frames.SECOND // 2],
            "trade_id": [1, 2],
            "side": ["sell", None],
            "price": [10.0, 10.0],
            "qty": [1.0, 2.0],
        }
    ).with_columns(pl.col("ts_recv").cast(TIME))
    found = trade_features(times(1, 2, 3, 4), frames.SECOND, made, pl.Series([True, True, True, False]))
    assert found["volume"].to_list() == [1, 2, 0, None]
    assert found["signed_volume"].to_list() == [-1, None, 0, None]
    assert found["sign_run"].to_list() == [-1, None, 0, None]

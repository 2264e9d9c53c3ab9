from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import krakpot
import traded
from fills import SYMBOL, time
from krakpot import Schedule
from krakpot.errors import ConfigError
from traded import paper, replay

D = Decimal
BEGIN = time(0)


def rows(*orders: dict[str, Any]) -> pl.DataFrame:
    """Orders of a table."""
    common: dict[str, Any] = {"symbol": SYMBOL, "side": "buy", "qty": "1"}
    return pl.DataFrame([common | order for order in orders])


def test_orders_are_sent_at_their_times(tmp_path: Path) -> None:
    """In their order; what is left is cancelled after its time; what was before the data is not sent."""
    lake = traded.lake(tmp_path / "lake")
    table = rows(
        {"at": time(500), "price": "98.0", "cancel_after": 0.1, "tag": "low"},
        {"at": time(300), "price": None, "cancel_after": None, "tag": "now"},
        {"at": BEGIN - 10**9, "price": None, "cancel_after": None, "tag": "early"},
    )
    result = krakpot.run(Schedule(table), replay(lake), paper())
    assert isinstance(result, krakpot.Result)
    orders = result.orders.with_columns(pl.col("sent", "ended").to_physical()).to_dicts()
    assert [(one["tag"], one["sent"], one["kind"], one["state"]) for one in orders] == [
        ("now", time(300), "market", "filled"), ("low", time(500), "limit", "canceled"),
    ]  # fmt: skip
    assert orders[1]["ended"] == time(602), "100 ms later, and the way to the exchange and back"
    assert result.fills.select("price", "qty").row(0) == (D(101), D(1))


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pl.DataFrame({"at": [BEGIN]}), "krakpot.Schedule: the column symbol is missing; needed are at, symbol"),
        (rows({"at": BEGIN, "colour": 1}), "the column colour is not known; columns are at, symbol"),
        (rows({"at": BEGIN, "side": "bid"}), "side: 'bid' is not allowed; allowed is buy or sell"),
        (rows({"at": BEGIN, "qty": None}), "qty: a value is missing"),
        (rows({"at": "soon"}), "krakpot.Schedule: at"),
        (42, "allowed is a table with a row for each order"),
    ],
)
def test_tables_that_are_refused(frame: Any, sentence: str) -> None:
    """The sentence names the column, and what is allowed."""
    with pytest.raises(ConfigError) as error:
        Schedule(frame)
    assert sentence in str(error.value)


def test_a_pair_that_the_run_lacks(tmp_path: Path) -> None:
    """Named, with those that there are."""
    table = rows({"at": time(300), "symbol": "ETH/USD"})
    with pytest.raises(
        ConfigError, match=r"krakpot.Schedule: symbol: ETH/USD is not in this run; its pairs are BTC/USD"
    ):
        krakpot.run(Schedule(table), replay(traded.lake(tmp_path / "lake")), paper())
    assert repr(Schedule(table)) == "Schedule(1 order)"


@pytest.mark.parametrize("later", [3600, 86_400 * 365 * 150])
def test_orders_may_be_far_apart_and_what_is_not_sent_is_told(tmp_path: Path, later: int) -> None:
    """An hour between two orders is no error; one before the data and one after it are in the log."""
    lake = traded.lake(tmp_path / "lake")
    table = rows({"at": BEGIN - 10**9}, {"at": time(300)}, {"at": BEGIN + later * 10**9})
    result = krakpot.run(Schedule(table), replay(lake), paper())
    assert isinstance(result, krakpot.Result)
    assert result.orders["state"].to_list() == ["filled"]
    assert [line.split(": ", 1)[1] for _, line in result.log] == [
        "1 order not sent: earlier than the data", "1 order not sent: later than the end of the run",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cancel_after", -1.0), ("cancel_after", float("nan")), ("cancel_after", float("inf")), ("cancel_after", "1s"),
        ("tif", "gtd"), ("tif", "day"), ("tif", 3), ("post_only", "yes"), ("post_only", 1),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_before_anything_runs(column: str, value: Any) -> None:
    """Not when its time comes, in the middle of a run."""
    with pytest.raises(ConfigError, match=rf"^krakpot\.Schedule: {column}: .* is not allowed; allowed "):
        Schedule(rows({"at": time(1)}, {"at": time(2), column: value}))

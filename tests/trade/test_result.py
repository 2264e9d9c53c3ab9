from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from krakpot import Bounds, Result
from krakpot.trade.result import SCHEMAS, Built, made_of

D = Decimal
T = 1_785_641_750 * 10**9


def built(**options: Any) -> Built:
    """A run of ten seconds."""
    known: dict[str, Any] = {
        "name": "lake sha256 0123", "symbols": ("BTC/USD",), "begin": T, "end": T + 10 * 10**9, "model": "orders",
        "latency": "1ms + 1ms", "seed": 0, "quote": "USD", "attribution": {"BTC/USD": ("200", "1.4")},
        "prices": {"BTC/USD": D(110)}, "messages": 5, "reason": "the recording ended",
    }  # fmt: skip
    return Built(**(known | options))


def result(*fills: dict[str, Any], gaps: list[dict[str, Any]] | None = None, **options: Any) -> Result:
    """Of these fills and gaps; the account began with 1000 and has 1013."""
    common: dict[str, Any] = {
        "order": 1, "exec_id": "E", "ts": T, "heard": T, "symbol": "BTC/USD", "side": "buy", "qty": "1", "price": "100",
        "liquidity": "maker", "fee": "0.25", "evidence": "queue", "doubt": False, "trade_id": 1, "counterparty": None,
        "orders_ahead": 0, "qty_ahead": "0",
    }  # fmt: skip
    tables: dict[str, Any] = {name: {column: [] for column in schema} for name, schema in SCHEMAS.items()}
    tables["fills"] = {name: [(common | fill)[name] for fill in fills] for name in common}
    tables["gaps"] = {name: [gap[name] for gap in gaps or []] for name in SCHEMAS["gaps"]}
    tables["delays"] = {"entry": [1, 2, 3], "response": [4, 5, 6]}
    tables |= {"equity": {"ts": [T, T + 1], "USD": ["1000", "900"], "equity": ["1000", "1013"]}, "refusals": {}}
    return made_of(tables, built(**options), [], "")


def test_profit_with_and_without_fills_in_doubt() -> None:
    """A fill in doubt is taken out at the last price: what it won, and its fee."""
    sure = result({}, {})
    assert (sure.pnl, sure.pnl_without_doubt, sure.doubts, sure.fees) == (D(13), D(13), 0, D("0.5"))
    doubtful = result({}, {"doubt": True, "qty": "2"}, {"doubt": True, "side": "sell", "price": "115"})
    assert doubtful.pnl_without_doubt == D(13) - (2 * 10 - D("0.25")) - (5 - D("0.25"))
    assert "without fills in doubt" in repr(doubtful)
    assert result({"doubt": True}, prices={}).pnl_without_doubt is None, "a price that is not known"
    assert doubtful.inventory == {"BTC/USD": D(2)}


def test_the_integrity_line_says_how_far_it_can_be_trusted() -> None:
    """The period, gaps, own orders in them, fills in doubt, what no order explains, and all that was assumed."""
    gap = {"of": "data", "symbol": "BTC/USD", "begin": T + 10**9, "end": T + 3 * 10**9, "resting": 2}
    at_the_end = gap | {"begin": T + 10 * 10**9, "end": None}
    line = result({"doubt": True}, gaps=[gap, at_the_end]).integrity
    assert line == (
        "BTC/USD 2026-08-02 03:35:50…03:36:00: in sync 80 %, 1 gap 2 s (2 own orders rested through them, 1 fill in "
        "doubt), trades unattributed 0.7 %, model orders, latency 1ms + 1ms, seed 0, lake sha256 0123"
    )
    assert "0 gaps, trades unattributed none printed" in result({}, attribution={}).integrity


def test_types_and_quantiles() -> None:
    """Exact numbers and times have their types; delays are told in quantiles."""
    found = result({})
    assert found.fills.schema["price"] == pl.Decimal(38, 10)
    assert found.fills.schema["ts"] == pl.Datetime("ns", "UTC")
    assert found.latency.rows() == [(0.5, 2, 5), (0.9, 3, 6), (0.99, 3, 6), (1.0, 3, 6)]
    assert found.summary["pnl"] == "13.0000000000"


def test_digests_differ_with_the_fills() -> None:
    """The same for the same fills; another for another price, or another seed."""
    digests = [result({}).digest, result({}).digest, result({"price": "101"}).digest, result({}, seed=1).digest]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    both = Bounds(result({}), result())
    assert both.digest != Bounds(result(), result({})).digest
    assert repr(both).count("digest") == 2


@pytest.mark.parametrize("name", ["fills", "orders", "requests", "gaps"])
def test_an_empty_table_has_its_columns(name: str) -> None:
    """So that what is done with it works on nothing, too."""
    assert list(getattr(result(), name).columns) == list(SCHEMAS[name])


def test_profit_is_not_known_where_the_last_value_is_not() -> None:
    """An earlier value does not take the place of the last one; what no price counts is named."""
    found = result()
    rows = [("1000", "0", "1000"), ("900", "2", None)]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(("USD", "EUR", "equity"))}
    frame = pl.DataFrame({"ts": [T, T + 1]} | columns).cast({name: pl.Decimal(38, 10) for name in columns})
    lost = replace(found, equity=frame)
    assert (lost.pnl, lost.unpriced) == (None, ["EUR"])
    assert "P&L not known (no price of EUR in USD)" in repr(lost)
    late = replace(found, equity=frame.with_columns(equity=pl.Series([None, "1013"]).cast(pl.Decimal(38, 10))))
    assert late.pnl is None, "what there was at the begin has no value: a fill came before the first one"
    assert found.pnl == D(13)
    assert found.unpriced == []


def test_a_result_that_ended_early_says_so() -> None:
    """One that was interrupted is not taken for that of the whole recording."""
    assert "ended early" not in repr(result())
    assert "ended early: interrupted" in repr(result(reason="interrupted"))
    assert "trades unattributed 100 %" in result(attribution={"BTC/USD": ("5", "5")}).integrity


def test_the_digest_does_not_depend_on_names_that_a_run_makes_up() -> None:
    """They count the orders of all strategies of the run."""
    assert result({"exec_id": "E"}).digest == result({"exec_id": "F"}).digest
    assert result({"price": "100"}).digest != result({"price": "101"}).digest

"""The shadow of a run with money: the same requests at a simulated exchange, order by order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

import krakpot
from krakpot._core import LiveAccount
from krakpot.errors import ConfigError
from krakpot.trade.result import SCHEMAS
from krakpot.trade.shadow import Shadow, sentences
from living import Quote, live, server
from traded import Notes

SECOND = 10**9


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of each test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def paper(latency: str = "2ms") -> krakpot.Paper:
    """A simulated exchange that is near."""
    return krakpot.Paper({"USD": 0}, fees=("0%", "0%"), latency=krakpot.Latency(latency))


def run(folder: Path, strategy: Any, seconds: str = "4s") -> krakpot.Result:
    """Run with a shadow on the built-in exchange."""

    async def work() -> krakpot.Result:
        async with server() as exchange:
            result = await krakpot.run_async(strategy, exchange, live(folder, exchange), shadow=paper(), until=seconds)
            assert isinstance(result, krakpot.Result)
            return result

    return asyncio.run(work())


def test_orders_that_rest_are_compared(tmp_path: Path) -> None:
    """Each order that was sent has a row with both sides; quotes at the best prices fill in both worlds."""
    result = run(tmp_path, Quote())
    shadow = result.shadow
    assert shadow is not None
    sent = result.requests.filter(pl.col("request") == "add")["order"]
    assert shadow["order"].to_list() == sorted(set(sent))
    assert shadow["acked_sim"].is_not_null().sum() >= 0.8 * shadow.height
    assert (shadow["filled_sim"] > 0).any(), "the market moves through the best prices"
    real = result.fills.group_by("order").agg(pl.col("qty").sum()).sort("order")
    assert shadow.filter(pl.col("filled") > 0).select("order", qty="filled").equals(real)
    result.save(tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "shadow.parquet").equals(shadow)


def test_a_twin_does_not_stand_behind_its_real_order(tmp_path: Path) -> None:
    """Where nobody else is, nothing is ahead of either; an order that takes is filled in both."""

    class Alone(Notes):
        """One order where nobody else rests, and one that takes."""

        def __init__(self) -> None:
            super().__init__()
            self.sent = 0

        def book(self, m: krakpot.Market, e: Any) -> None:
            bid, _, ask, _ = m.best(e.symbol)
            if m.trading and not self.sent:
                self.sent = 1
                m.buy(
                    e.symbol, "0.05", m.round(e.symbol, price=bid * 97 / 100, side="buy"), post_only=True, tag="rests"
                )
                m.buy(e.symbol, "0.001", m.round(e.symbol, price=ask * 101 / 100, how="up"), tag="takes")

    result = run(tmp_path, Alone(), "3s")
    shadow = result.shadow
    assert shadow is not None
    rests, takes = shadow.sort("qty", descending=True).iter_rows(named=True)
    assert (takes["state"], takes["state_sim"]) == ("filled", "filled")
    assert takes["filled"] == takes["filled_sim"]
    assert takes["first_fill_sim"] is not None
    assert rests["qty_ahead_sim"] == 0
    assert rests["state_sim"] in {"open", "canceled"}
    assert rests["filled_sim"] == rests["filled"] == 0


def test_without_a_shadow_there_is_no_table(tmp_path: Path) -> None:
    """None, and no file."""

    async def work() -> Any:
        async with server() as exchange:
            return await krakpot.run_async(Notes(), exchange, live(tmp_path, exchange), until="1s")

    result = asyncio.run(work())
    assert result.shadow is None
    result.save(tmp_path / "out")
    assert not (tmp_path / "out" / "shadow.parquet").exists()


def test_a_shadow_is_one_of_orders_beside_money(tmp_path: Path) -> None:
    """Not of bounds, and not beside a simulated account."""
    bounds = krakpot.Paper({"USD": 0}, fees=("0%", "0%"), latency=krakpot.Latency("1ms"), model="bounds")
    exchange = server()
    for trader, shadow in ((paper(), paper()), (live(tmp_path, exchange), bounds)):
        with pytest.raises(ConfigError, match="shadow: it is a krakpot"):
            krakpot.run(Notes(), exchange, trader, shadow=shadow)


class Said:
    """What an account of the extension says of its simulated exchange."""

    def __init__(self, rows: list[Any], places: dict[int, tuple[int, str]]) -> None:
        self.rows, self.places = rows, places

    def take_shadow(self) -> list[Any]:
        rows, self.rows = self.rows, []
        return rows

    def place(self, order: int) -> tuple[int, str] | None:
        return self.places.get(order)


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A table of a result with these columns; the others are empty."""
    schema = SCHEMAS[name]
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


def test_rows_say_what_was_simulated() -> None:
    """First times and places are kept, fills add up, a refusal has its words; what never left has no row."""
    rows = [
        (1 * SECOND, "answer", {"order": 1, "asked": "add", "error": None}),
        (2 * SECOND, "report", {"order": 1, "change": "new", "reason": "", "orders_ahead": 3, "qty_ahead": "1.5"}),
        (3 * SECOND, "fill", {"order": 1, "qty": "1", "price": "10"}),
        (4 * SECOND, "fill", {"order": 1, "qty": "3", "price": "14"}),
        (4 * SECOND, "report", {"order": 1, "change": "filled", "reason": ""}),
        (5 * SECOND, "answer", {"order": 1, "asked": "cancel", "error": "EOrder:Unknown order"}),
        (6 * SECOND, "answer", {"order": 2, "asked": "add", "error": "EOrder:Post only order"}),
    ]
    account = Said(rows, {1: (2, "0.5")})
    shadow = Shadow()
    shadow.look(cast("LiveAccount", account), [1, 2])
    account.places[1] = (0, "0")
    shadow.look(cast("LiveAccount", account), [1, 2])
    orders = table(
        "orders", [{"order": n, "state": state} for n, state in ((1, "filled"), (2, "open"), (3, "rejected"))]
    )
    requests = table("requests", [{"order": n, "request": "add"} for n in (1, 2)])
    first, second = shadow.frame(orders, table("fills", []), requests).iter_rows(named=True)
    assert (first["order"], first["state"], first["state_sim"]) == (1, "filled", "filled")
    assert (first["filled_sim"], first["average_sim"]) == (4, 13)
    assert (first["orders_ahead"], first["qty_ahead"]) == (2, pytest.approx(0.5)), "where it stood first"
    assert (first["orders_ahead_sim"], first["qty_ahead_sim"]) == (3, pytest.approx(1.5))
    assert first["acked_sim"].timestamp() == 1
    assert first["first_fill_sim"].timestamp() == 3
    assert (second["state_sim"], second["reason_sim"]) == ("rejected", "EOrder:Post only order")
    frame = shadow.frame(orders, table("fills", []), requests)
    assert sentences(frame)[0].startswith("shadow: 2 orders; 1 ended alike, 0 filled alike")
    assert sentences(frame.clear()) == ["shadow: no order was sent"]

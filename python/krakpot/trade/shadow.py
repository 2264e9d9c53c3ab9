"""The shadow of a run with money: what a simulated exchange did with the same requests, order by order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from krakpot._core import LiveAccount
from krakpot.errors import counted
from krakpot.lake.times import TIME

NUMBER = pl.Decimal(38, 10)
SCHEMA: dict[str, Any] = {
    "order": pl.UInt64, "symbol": pl.String, "side": pl.String, "qty": NUMBER, "price": NUMBER,
    "acked": TIME, "acked_sim": TIME, "first_fill": TIME, "first_fill_sim": TIME, "filled": NUMBER,
    "filled_sim": NUMBER, "average": NUMBER, "average_sim": NUMBER, "orders_ahead": pl.UInt64,
    "orders_ahead_sim": pl.UInt64, "qty_ahead": NUMBER, "qty_ahead_sim": NUMBER, "state": pl.String,
    "state_sim": pl.String, "reason_sim": pl.String,
}  # fmt: skip
"""Columns of the frame: what was real, and with ``_sim`` what was simulated."""
ENDS = ("filled", "canceled", "expired")


@dataclass
class _Simulated:
    """An order at the simulated exchange."""

    acked: int | None = None
    first_fill: int | None = None
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    orders_ahead: int | None = None
    qty_ahead: str | None = None
    state: str = "sent"
    reason: str = ""


class Shadow:
    """Collects what the simulated exchange says, while a run lasts. It keeps one record for each order."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._simulated: dict[int, _Simulated] = {}
        self._places: dict[int, tuple[int, str]] = {}
        """Where real orders stood when level 3 showed them first."""

    def look(self, account: LiveAccount, orders: Iterable[int]) -> None:
        """Take what was said since the last time; ``orders``: those that are open at the real exchange."""
        for heard, kind, facts in account.take_shadow():
            self._take(heard, kind, facts)
        for order in orders:
            if order not in self._places and (place := account.place(order)) is not None:
                self._places[order] = place

    def _take(self, heard: int, kind: str, facts: Mapping[str, Any]) -> None:
        found = self._simulated.setdefault(facts["order"], _Simulated())
        if kind == "answer":
            if facts["asked"] == "add":
                found.acked = found.acked or heard
                if facts["error"]:
                    found.state, found.reason = "rejected", facts["error"]
        elif kind == "fill":
            found.first_fill = found.first_fill or heard
            found.filled += Decimal(facts["qty"])
            found.cost += Decimal(facts["qty"]) * Decimal(facts["price"])
        elif facts["change"] == "new":
            found.state = "open"
            found.orders_ahead, found.qty_ahead = facts.get("orders_ahead"), facts.get("qty_ahead")
        elif facts["change"] in ENDS:
            found.state, found.reason = facts["change"], facts["reason"]

    def frame(self, orders: pl.DataFrame, fills: pl.DataFrame, requests: pl.DataFrame) -> pl.DataFrame:
        """One row for each order that was sent; the arguments are tables of the result."""
        sent = requests.filter(pl.col("request") == "add").select("order").unique()
        real = orders.join(sent, on="order", how="semi").join(
            fills.group_by("order").agg(first_fill=pl.col("heard").min()), on="order", how="left"
        )
        rows = [self._row(row) for row in real.sort("order").select(_REAL).iter_rows(named=True)]
        return pl.DataFrame(rows, schema=_RAW).cast(pl.Schema(SCHEMA))

    def _row(self, real: dict[str, Any]) -> dict[str, Any]:
        number = real["order"]
        found = self._simulated.get(number, _Simulated())
        ahead = self._places.get(number, (None, None))
        average = f"{found.cost / found.filled:.10f}" if found.filled else None
        return real | {
            "acked_sim": found.acked, "first_fill_sim": found.first_fill, "filled_sim": f"{found.filled:f}",
            "average_sim": average, "orders_ahead": ahead[0], "orders_ahead_sim": found.orders_ahead,
            "qty_ahead": ahead[1], "qty_ahead_sim": found.qty_ahead, "state_sim": found.state,
            "reason_sim": found.reason,
        }  # fmt: skip


_RAW = {name: pl.Int64 if kind == TIME else pl.String if kind == NUMBER else kind for name, kind in SCHEMA.items()}
_REAL = [
    pl.col(name).to_physical() if SCHEMA[name] == TIME else pl.col(name).cast(_RAW[name])
    for name in ("order", "symbol", "side", "qty", "price", "acked", "first_fill", "filled", "average", "state")
]


def sentences(frame: pl.DataFrame) -> list[str]:
    """Say how near the simulation came."""
    if frame.is_empty():
        return ["shadow: no order was sent"]
    same = int((frame["state"] == frame["state_sim"]).sum())
    equal = int((frame["filled"] == frame["filled_sim"]).sum())
    real, simulated = (Decimal(frame[name].sum() or 0) for name in ("filled", "filled_sim"))
    counts = (
        f"shadow: {counted(frame.height, 'order')}; {same:,} ended alike, {equal:,} filled alike; filled in all "
        f"{real.normalize():f}, simulated {simulated.normalize():f}"
    )
    lines = [counts]
    late = frame.select((pl.col("acked_sim") - pl.col("acked")).dt.total_nanoseconds().median()).item()
    if late is not None:
        lines.append(f"shadow: simulated answers came {abs(late) / 1e6:.2f} ms {'later' if late > 0 else 'earlier'}")
    return lines

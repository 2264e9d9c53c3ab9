"""Accounts with money on the built-in exchange: a key file, generous limits, a strategy that quotes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from krakpot import ExchangeOptions, ExchangeServer, Limits, Live, Market
from krakpot.trade import key
from traded import Notes

PAIR = "BTC/USD"


def server(**options: Any) -> ExchangeServer:
    """An exchange of one pair whose market moves."""
    return ExchangeServer(ExchangeOptions(**({"pairs": 1, "rate": 200.0} | options)))


def limits(**changed: Any) -> Limits:
    """Wide ones: what is tested is something else."""
    known: dict[str, Any] = {
        "order_value": 50_000, "inventory": {"BTC": 10}, "loss": 10_000, "fee_share": None, "ramp": None,
        "fat_finger": False, "collar": None, "orders_per_minute": None, "stale": None, "clock": None,
    }  # fmt: skip
    return Limits(**(known | changed))


def live(folder: Path, exchange: ExchangeServer, **options: Any) -> Live:
    """An account with the exchange's own key; its journal and its nonces are in the folder."""
    file = folder / "key.toml"
    if not file.exists():
        key.write(file, exchange.key.name, exchange.key.secret_text, mode="test", account="test")
    known: dict[str, Any] = {"limits": limits(), "account": "exclusive", "journal": folder / "journal"}
    return Live(file, **(known | options))


class Quote(Notes):
    """Keeps one order of the least quantity at each touch, and counts what it asks for."""

    def __init__(self, qty: str = "0.001", most: int = 1000) -> None:
        """Of so much each, and so many in all."""
        super().__init__()
        self.qty, self.most = qty, most

    def book(self, m: Market, e: Any) -> None:
        """Join the best prices; follow them."""
        if not m.trading:
            return
        bid, _, ask, _ = m.best(e.symbol)
        for side, price in (("buy", bid), ("sell", ask)):
            mine = m.orders(e.symbol, side)  # type: ignore[arg-type]  # one of the two
            if not mine and self.most:
                self.most -= 1
                m.send(side, e.symbol, self.qty, price, post_only=True)  # type: ignore[arg-type]  # one of the two
            elif mine and mine[0].state == "open" and mine[0].price != price:
                m.amend(mine[0], price=price)

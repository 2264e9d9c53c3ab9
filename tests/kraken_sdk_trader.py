"""python-kraken-sdk trades on the built-in exchange, run by ``exchange/test_clients`` apart from krakpot.

It has options for other addresses: nothing of it is replaced. It prints what the client got, as one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from kraken.exceptions import (  # type: ignore[import-not-found]  # only where the test installed it
    KrakenInsufficientFundsError,
    KrakenUnknownOrderError,
)
from kraken.spot import Market, SpotWSClient, Trade, User  # type: ignore[import-not-found]  # the same

SYMBOL, PAIR = "BTC/USD", "XBTUSD"
GIVE_UP = 60
"""Seconds to wait for something that must come."""


class Warnings(logging.Handler):
    """The client writes what it cannot read, and what goes wrong, to its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Client(SpotWSClient):  # type: ignore[misc]  # the same
    """Remembers all messages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[dict[str, Any]] = []
        self.asked = 0

    async def on_message(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    async def until(self, true: Callable[[], Any], what: str) -> Any:
        """Wait for something; what it is then."""
        for _ in range(GIVE_UP * 50):
            if found := true():
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"it did not come: {what}; {self.heard[-10:]}")

    async def ask(self, method: str, answers: int = 1, **params: Any) -> list[dict[str, Any]]:
        """Return the answers of a request."""
        self.asked += 1
        number = self.asked
        await self.send_message({"method": method, "params": params, "req_id": number})

        def told() -> list[dict[str, Any]]:
            found = [message for message in self.heard if message.get("req_id") == number]
            return found if len(found) >= answers else []

        return list(await self.until(told, method))

    def rows(self, channel: str) -> list[dict[str, Any]]:
        """Rows of a private channel."""
        messages = (message for message in self.heard if message.get("channel") == channel)
        return [row for message in messages for row in message["data"]]

    async def report(self, order: str, kind: str) -> None:
        """Wait for a report of an order."""

        def told() -> bool:
            return any((row["order_id"], row["exec_type"]) == (order, kind) for row in self.rows("executions"))

        await self.until(told, f"{order} {kind}")


def refused(kind: type[Exception], request: Callable[[], Any]) -> bool:
    """Whether the client raises this error."""
    try:
        request()
    except kind:
        return True
    return False


async def trade(client: Client, rest: dict[str, str]) -> dict[str, Any]:
    """The session; returns what was said at its steps."""
    trader, user, market = Trade(**rest), User(**rest), Market(url=rest["url"])
    said: dict[str, Any] = {
        "assets": market.get_assets(), "pairs": list(market.get_asset_pairs()), "system": market.get_system_status(),
        "begin": user.get_account_balance(),
    }  # fmt: skip
    await client.subscribe({"channel": "executions", "snap_orders": True, "snap_trades": True}, req_id=1001)
    await client.subscribe({"channel": "balances"}, req_id=1002)
    await client.subscribe({"channel": "book", "symbol": [SYMBOL], "depth": 10}, req_id=1003)
    await client.until(lambda: client.rows("balances") and client.rows("book"), "snapshots")
    bid = float(market.get_order_book(PAIR, count=1)["XXBTZUSD"]["bids"][0][0])
    low = round(bid / 2)

    # By WebSocket: made, amended, cancelled; a batch of two, cancelled as a batch; the switch.
    terms: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": "buy",
        "order_type": "limit",
        "order_qty": 0.01,
        "limit_price": low,
    }
    (made,) = await client.ask("add_order", **terms, cl_ord_id="sdk-1", post_only=True)
    number = made["result"]["order_id"]
    said["open"] = user.get_open_orders()["open"]
    (amended,) = await client.ask("amend_order", order_id=number, order_qty=0.02, limit_price=low - 1)
    said["after"] = user.get_orders_info(txid=number)[number]
    said["amends"] = user.get_order_amends(order_id=number)["count"]
    gone = await client.ask("cancel_order", 2, order_id=[number, "OAAAAA-AAAAA-AAAAAA"])
    await client.report(number, "canceled")
    order = {name: terms[name] for name in ("side", "order_type", "order_qty", "limit_price")}
    (batch,) = await client.ask("batch_add", symbol=SYMBOL, orders=[order, order | {"limit_price": low - 1}])
    ids = [row["order_id"] for row in batch["result"]]
    (cancelled,) = await client.ask("batch_cancel", orders=ids)
    for one in ids:
        await client.report(one, "canceled")
    switch = await client.ask("cancel_all_orders_after", timeout=60) + await client.ask(
        "cancel_all_orders_after", timeout=0
    )
    said["websocket"] = [made, amended, *gone, batch, cancelled, *switch]

    # By REST: the same, and its edit, which makes a new order of an old one.
    made = trader.create_order("limit", "sell", PAIR, 0.01, price=low * 4, userref=7)
    amended = trader.amend_order(txid=made["txid"][0], order_qty=0.02)
    batch = trader.create_order_batch(
        [{"ordertype": "limit", "type": "buy", "volume": 0.001, "price": low - n} for n in range(2)], PAIR
    )
    edited = trader.edit_order(made["txid"][0], PAIR, volume=0.03, price=low * 4 + 1)
    stop = trader.create_order("stop-loss-limit", "sell", PAIR, 0.01, price=low, price2=low - 1, trigger="last")
    numbers = [row["txid"] for row in batch["orders"]]
    ended = [
        trader.cancel_order_batch(numbers), trader.cancel_order(edited["txid"]), trader.cancel_all_orders(),
        trader.cancel_all_orders_after_x(60), trader.cancel_all_orders_after_x(0),
    ]  # fmt: skip
    said["rest"] = {"made": made, "amended": amended, "batch": batch, "edited": edited, "stop": stop, "ended": ended}

    # Fills, by both.
    (bought,) = await client.ask("add_order", symbol=SYMBOL, side="buy", order_type="market", order_qty=0.02)
    sold = trader.create_order("market", "sell", PAIR, 0.01)
    said["taken"] = [bought["result"]["order_id"], sold["txid"][0]]
    for one in said["taken"]:
        await client.report(one, "filled")
    said["refused"] = [
        refused(KrakenInsufficientFundsError, lambda: trader.create_order("limit", "buy", PAIR, 1000, price=low)),
        refused(KrakenUnknownOrderError, lambda: trader.cancel_order(number)),
    ]

    said["balances"] = user.get_balances()
    said["left"] = user.get_open_orders()
    said["closed"] = user.get_closed_orders()
    said["trades"] = user.get_trades_history()
    said["ledger"] = user.get_ledgers_info()
    said["volume"] = user.get_trade_volume(PAIR)
    entries = said["ledger"]["count"]
    await client.until(lambda: sum("ledger_id" in row for row in client.rows("balances")) >= entries, "entries")
    return said


async def run(addresses: dict[str, str], key: str, secret: str) -> None:
    """Trade, print what was said, and end."""
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    # It appends the version to the addresses.
    public, private = (addresses[name].removesuffix("/v2") for name in ("public", "private"))
    rest = {"key": key, "secret": secret, "url": addresses["rest"]}
    client = Client(key=key, secret=secret, rest_url=addresses["rest"], ws_url=public, auth_ws_url=private)
    await client.start()
    said = await trade(client, rest)
    found = {
        "version": importlib.metadata.version("python-kraken-sdk"),
        "alone": importlib.util.find_spec("krakpot") is None, "said": said, "failed": client.exception_occur,
        "warnings": warnings.texts, "reports": client.rows("executions"), "entries": client.rows("balances"),
        "sequences": {
            channel: [message["sequence"] for message in client.heard if message.get("channel") == channel]
            for channel in ("executions", "balances")
        },
        "errors": [message for message in client.heard if "error" in message],
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    # The client never stops connecting, and catches its own cancellation.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))

"""Foreign clients trade on the built-in exchange: what they say of orders, fills and balances is what its account says.

They are ccxt pro and python-kraken-sdk, from the package registry, in environments of their own: krakpot does not
depend on them. ``KRAKPOT_TEST=all`` runs them. Each is a whole session: orders are added, amended and cancelled, by
WebSocket and by REST, in batches, filled; what a client cannot read, fails.

What ccxt does that is not the exchange's:

- It files reports without a symbol, which Kraken sends after the first one of an order, under no symbol:
  ``watch_orders(symbol)`` does not give them. Without a symbol it gives them all.
- ``clientOrderId`` of a watched order is its ``order_userref``; ``cl_ord_id`` is only in its answers.
- A message that comes while nobody waits for one is in its cache, and in no answer of ``watch_balance``.
- ``cancel_orders_ws`` gives the answer for the first order alone.
- By WebSocket it knows "Insufficient funds" only with words that Kraken does not send, and "Post only order" nowhere:
  both become an ``ExchangeError``.
- ``edit_order`` gives the id of the amendment as that of the order; ``edit_order_ws`` gives that of the order.
- It computes an order's cost from the average price, because Kraken's is rounded.
"""

from __future__ import annotations

import asyncio
import json
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from tools import Run, tool

CCXT = "ccxt==4.5.90"
KRAKEN_SDK = "python-kraken-sdk==3.5.1"
DOCS = Path(__file__).parents[2] / "docs" / "exchange.md"
PAGE = 50
"""Rows of an answer of REST, the latest."""
FEE = Decimal("1.004")
"""A buy holds the fee of a taker too."""


def test_the_docs_name_the_clients() -> None:
    """Those that are tried, in these versions."""
    text = DOCS.read_text()
    for client in (CCXT, KRAKEN_SDK):
        assert client.replace("==", " ") in text


def _traded(run: Run, *faults: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a client said of its session, and what the exchange's account says of it."""

    async def session() -> tuple[dict[str, Any], dict[str, Any]]:
        options = Options(pairs=3, rate=1000.0, seed=5, rest_rate=1e6, account=("tier=pro",), faults=faults)
        async with ExchangeServer(options) as server:
            addresses = {"rest": server.rest_address, "public": server.address, "private": server.private_address}
            key = {"key": server.key.name, "secret": server.key.secret_text}
            found = await asyncio.to_thread(run, json.dumps({"addresses": addresses, **key}))
            now = server.exchange.now
            words = ("orders", "open", "trades", "balances", "entries")
            return found, {what: json.loads(server.exchange.account(what, now)) for what in words}

    found, account = asyncio.run(session())
    assert found["alone"], "it has no krakpot"
    assert account["open"] == []
    assert {order["status"] for order in account["orders"]} == {"closed", "canceled"}
    assert {trade["maker"] for trade in account["trades"]} >= {False}
    return found, account


def _same(number: float | None, text: str | None) -> bool:
    """Whether a float of ccxt is a text of the account; ccxt says None for a price of 0."""
    return Decimal(str(number or 0)) == Decimal(text or 0)


def _sequences(reports: list[dict[str, Any]]) -> list[int]:
    return [message["sequence"] for message in reports]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_session_of_ccxt() -> None:
    """All that it says equals the account, to the last digit; it hears no error but those of two refused requests."""
    found, account = _traded(tool(CCXT, "ccxt_trader.py"))
    said = found["said"]
    assert found["failed"] == []
    assert found["books"] > 10
    assert said["market"] == {
        "id": "XXBTZUSD", "wsId": "XBT/USD", "base": "BTC", "quote": "USD", "active": True, "maker": 0.0025,
        "taker": 0.004, "precision": {"amount": 1e-8, "price": 0.1}, "least": 1e-5,
    }  # fmt: skip
    assert said["currencies"] == {"BTC": 1e-10, "USD": 1e-4}
    assert said["begin"] == {"BTC": 10.0, "USD": 100_000.0}
    assert (said["fee"]["maker"], said["fee"]["taker"]) == (0.0025, 0.004)
    _ccxt_market(said)
    _ccxt_orders(found, account)
    _ccxt_steps(said, {order["id"]: order for order in account["orders"]})

    # Fills, asked for and watched.
    trades = {trade["id"]: trade for trade in account["trades"]}
    assert len(trades) >= 5
    assert set(found["watched"]) == set(trades)
    assert {fill["id"] for fill in said["fills"]} == set(list(trades)[-PAGE:])
    for fill in [*said["fills"], *found["watched"].values()]:
        trade = trades[fill["id"]]
        assert (fill["order"], fill["symbol"], fill["side"]) == (trade["order"], "BTC/USD", trade["side"])
        assert fill["takerOrMaker"] == ("maker" if trade["maker"] else "taker")
        assert fill["fee"]["currency"] == "USD"
        for number, name in ((fill["price"], "price"), (fill["amount"], "qty"), (fill["cost"], "cost")):
            assert _same(number, trade[name]), (fill, trade)
        assert _same(fill["fee"]["cost"], trade["fee"])
    assert {trade["order"] for trade in account["trades"] if trade["maker"]} == {said["maker"]}

    # Balances, asked for and watched; the entries explain them.
    for code in ("BTC", "USD"):
        total, held = account["balances"][code]
        assert _same(said["balance"][code]["total"], total)
        assert _same(said["balance"][code]["used"], held)
        assert _same(found["balance"][code], total)
    entries = {entry["id"]: entry for entry in account["entries"]}
    assert len(entries) == 2 * len(trades)
    assert {row["id"] for row in said["ledger"]} == set(list(entries)[-PAGE:])
    for row in said["ledger"]:
        entry = entries[row["id"]]
        signed = row["amount"] * (1 if row["direction"] == "in" else -1)
        assert _same(signed, entry["amount"])
        assert _same(row["fee"]["cost"], entry["fee"])
        assert row["currency"] == entry["asset"]

    # Refusals, and nothing else that is an error.
    assert said["refused"] == {
        "funds": "ExchangeError", "funds_rest": "InsufficientFunds", "post_only_rest": "ExchangeError",
        "unknown": "OrderNotFound", "unknown_rest": "OrderNotFound",
    }  # fmt: skip
    told = [(message["method"], message["error"]) for message in found["errors"]]
    late = [("amend_order", "EOrder:Unknown order")] * said.get("late", 0)
    assert told == [*late, ("add_order", "EOrder:Insufficient funds"), ("cancel_order", "EOrder:Unknown order")]
    assert _sequences(found["reports"]) == list(range(1, len(found["reports"]) + 1))


def _ccxt_market(said: dict[str, Any]) -> None:
    """What is public is the same by REST and by WebSocket."""
    assert (said["status"], said["ticker"]["symbol"]) == ("ok", "BTC/USD")
    assert said["late_by"] < 10_000
    trades = {trade[0]: trade for trade in said["trades"]}
    assert said["watched"]
    for trade in said["watched"]:
        assert trades[trade[0]] == trade
    ticker = said["ticker"]
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["bid"] < ticker["ask"]
    assert said["best"]["bid"] < said["best"]["ask"]
    for candles in said["candles"]:
        assert candles
        for _begin, opened, high, low, closed, volume in candles:
            assert low <= min(opened, closed) <= max(opened, closed) <= high
            assert volume > 0


def _ccxt_orders(found: dict[str, Any], account: dict[str, Any]) -> None:
    """Each order, closed in the end, has its terms and its fills; the watched ones ended in the same state."""
    said, orders = found["said"], {order["id"]: order for order in account["orders"]}
    assert said["left"] == []
    assert {order["id"] for order in said["closed"]} == set(orders)
    assert set(found["orders"]) == set(orders)
    for order in said["closed"]:
        own = orders[order["id"]]
        assert order["status"] == own["status"] == found["orders"][order["id"]][-1]
        assert (order["symbol"], order["side"]) == ("BTC/USD", own["side"])
        assert order["clientOrderId"] == (own["cl_ord_id"] or "0")
        # A stop's price is its limit.
        names = (("amount", "qty"), ("filled", "filled"), ("average", "average"))
        for name, of in (*names, *([("price", "limit")] if own["kind"] != "market" else [])):
            assert _same(order[name], own[of]), (name, order, own)
        assert _same(float(order["fee"]["cost"]), own["fee"])


def _ccxt_steps(said: dict[str, Any], orders: dict[str, Any]) -> None:
    """What ccxt said at each step of the session."""
    first = said["websocket"]
    number = first["made"]["id"]
    assert first["made"]["clientOrderId"] == first["open"]["clientOrderId"] == "ccxt-1"
    assert (first["open"]["id"], first["open"]["amount"], first["open"]["postOnly"]) == (number, 0.01, True)
    price = Decimal(str(first["open"]["price"]))
    held = (price * Decimal("0.01") * FEE).quantize(Decimal("0.0001"), ROUND_UP)
    assert Decimal(str(first["held"]["used"])) == held
    assert (first["amended"]["id"], first["after"]["id"]) == (number, number)
    assert (first["after"]["amount"], Decimal(str(first["after"]["price"]))) == (0.02, price - 1)
    assert first["cancelled"]["result"] == {"order_id": number}
    assert (first["closed"]["status"], first["closed"]["filled"]) == ("canceled", 0)
    second = said["rest"]
    terms = {name: second["made"][name] for name in ("symbol", "side", "type", "amount")}
    assert terms == {"symbol": "BTC/USD", "side": "sell", "type": "limit", "amount": 0.01}
    assert second["amended"]["id"] == orders[second["made"]["id"]]["amends"][1]["id"]
    assert (second["after"]["amount"], second["after"]["price"]) == (0.015, second["made"]["price"] + 1)
    assert second["cancelled"]["info"]["result"] == {"count": 1}
    assert len(said["batches"]) == 4
    for name, batch in said["batches"].items():
        answer = batch["answer"]["result"] if name.endswith("_ws") else batch["answer"][0]["info"]["result"]
        assert answer == ({"order_id": batch["ids"][0]} if name == "cancel_orders_ws" else {"count": 2}), name
        assert [orders[number]["reason"] for number in batch["ids"]] == ["User requested"] * 2
    armed, off = said["switch"]
    assert armed["triggerTime"] > armed["currentTime"]
    assert off["triggerTime"] == "0"
    stop, profit, made = (said["triggered"][name] for name in ("stop", "profit", "made"))
    assert (stop["type"], stop["stopLossPrice"]) == ("market", said["triggered"]["low"] + 1)
    assert (profit["type"], profit["takeProfitPrice"]) == ("limit", said["triggered"]["high"])
    assert profit["price"] == said["triggered"]["low"] - 1
    # From words alone: the answer of ``AddOrder`` has no members for them.
    assert (made["type"], made["takeProfitPrice"], made["price"]) == (
        "limit",
        profit["takeProfitPrice"],
        profit["price"],
    )
    assert [orders[number]["status"] for number in said["taken"]] == ["closed"] * 4


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_session_of_python_kraken_sdk() -> None:
    """It passes on what it gets: that is the account, digit by digit; it writes no warning."""
    found, account = _traded(tool(KRAKEN_SDK, "kraken_sdk_trader.py"))
    said = found["said"]
    assert (found["failed"], found["warnings"]) == (False, [])
    assert [message["error"] for message in found["errors"]] == ["EOrder:Unknown order"]
    assert said["refused"] == [True, True]
    for numbers in found["sequences"].values():
        assert numbers == list(range(1, len(numbers) + 1))
    made, amended, gone, unknown, batch, cancelled, armed, off = said["websocket"]
    number = made["result"]["order_id"]
    assert said["open"][number]["cl_ord_id"] == "sdk-1"
    assert (said["after"]["vol"], said["amends"]) == ("0.02000000", 2)
    assert amended["result"]["order_id"] == gone["result"]["order_id"] == number
    assert not unknown["success"]
    assert (len(batch["result"]), cancelled["orders_cancelled"]) == (2, 2)
    assert armed["result"]["triggerTime"] > off["result"]["currentTime"]
    assert off["result"]["triggerTime"] == "0"
    rest = said["rest"]
    assert rest["edited"]["originaltxid"] == rest["made"]["txid"][0]
    assert rest["edited"]["descr"]["order"].startswith("sell 0.03000000 XBTUSD @ limit ")
    assert "@ stop loss " in rest["stop"]["descr"]["order"]
    assert [row["count"] for row in rest["ended"][:3]] == [2, 1, 1]

    # Orders, fills and balances: the same texts.
    closed = said["closed"]["closed"]
    assert (said["left"], said["closed"]["count"], len(closed)) == ({"open": {}}, len(closed), len(account["orders"]))
    for order in account["orders"]:
        names = (("status", "status"), ("vol", "qty"), ("vol_exec", "filled"), ("cost", "cost"), ("fee", "fee"))
        for name, of in (*names, ("price", "average"), ("reason", "reason")):
            assert closed[order["id"]][name] == order[of], (name, order)
        states = [row["order_status"] for row in found["reports"] if row["order_id"] == order["id"]]
        assert states[-1] == {"closed": "filled", "canceled": "canceled"}[order["status"]]
    told = {row["exec_id"]: row for row in found["reports"] if row["exec_type"] == "trade"}
    assert set(told) == {trade["id"] for trade in account["trades"]}
    assert said["trades"]["count"] == len(account["trades"]) >= 2
    for trade in account["trades"][-PAGE:]:
        shown = said["trades"]["trades"][trade["id"]]
        names = (("ordertxid", "order"), ("price", "price"), ("vol", "qty"), ("cost", "cost"), ("fee", "fee"))
        for name, of in (*names, ("trade_id", "trade_id"), ("ledgers", "entries")):
            assert shown[name] == trade[of], (name, trade)
    for asset, (total, held) in account["balances"].items():
        name = next(key for key, facts in said["assets"].items() if facts["altname"] == asset.replace("BTC", "XBT"))
        assert said["balances"][name] == {"balance": total, "hold_trade": held}
    watched = {row["ledger_id"]: row for row in found["entries"] if "ledger_id" in row}
    assert set(watched) == {entry["id"] for entry in account["entries"]}
    for entry in account["entries"]:
        row = watched[entry["id"]]
        assert row["ref_id"] == entry["reference"]
        assert all(_same(row[name], entry[name]) for name in ("amount", "fee", "balance")), (row, entry)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_it_notices_a_gap() -> None:
    """If the exchange leaves out numbers of its messages, they are missing in what the client heard."""
    found, _ = _traded(tool(KRAKEN_SDK, "kraken_sdk_trader.py"), "sequence_gap=0.2")
    numbers = found["sequences"]["executions"]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > len(numbers) > 10

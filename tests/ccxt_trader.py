"""ccxt pro trades on the built-in exchange, run by ``exchange/test_clients`` in an environment without krakpot.

Only its addresses are replaced, and its pause between requests to REST is off: the exchange is on this machine. All
else is ccxt's own code. It prints what ccxt said of orders, fills and balances, as one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt  # type: ignore[import-not-found]  # only where the test installed it
import ccxt.pro  # type: ignore[import-not-found]  # the same

SYMBOL = "BTC/USD"
TRADE = ("id", "side", "price", "amount", "type")
GIVE_UP = 60
"""Seconds to wait for something that must come."""


class Heard(ccxt.pro.kraken):  # type: ignore[misc]  # the same
    """Remembers the messages, which ccxt handles unchanged."""

    messages: list[dict[str, Any]]

    def handle_message(self, client: Any, message: dict[str, Any]) -> None:
        self.messages.append(message)
        super().handle_message(client, message)


class Session:
    """What was said, and the loops that listen."""

    def __init__(self, addresses: dict[str, str], key: str, secret: str) -> None:
        self.exchange: Any = Heard({"apiKey": key, "secret": secret, "enableRateLimit": False})
        self.exchange.messages = []
        api = self.exchange.urls["api"]
        api["public"] = api["private"] = addresses["rest"]
        api["ws"] |= {
            "publicV2": addresses["public"],
            "private": addresses["private"],
            "privateV2": addresses["private"],
        }
        self.orders: dict[str, list[str]] = {}
        """The states of each order, by its id, as ``watch_orders`` gave them."""
        self.fills: dict[str, dict[str, Any]] = {}
        """By id, as ``watch_my_trades`` gave them."""
        self.balance: dict[str, Any] = {}
        """As ``watch_balance`` gave it last."""
        self.books = 0
        self.failed: list[str] = []

    async def listen(self, ask: Callable[[], Awaitable[Any]], take: Callable[[Any], None]) -> None:
        """Ask again and again until cancelled; a failure is remembered."""
        try:
            while True:
                take(await ask())
        except ccxt.BaseError as error:
            self.failed.append(repr(error))

    def take_orders(self, orders: list[dict[str, Any]]) -> None:
        for order in orders:
            self.orders.setdefault(order["id"], []).append(order["status"])

    def take_fills(self, fills: list[dict[str, Any]]) -> None:
        self.fills |= {fill["id"]: fill for fill in fills}

    def take_balance(self, balance: dict[str, Any]) -> None:
        self.balance = dict(balance["total"])

    def take_book(self, book: dict[str, Any]) -> None:
        assert book["bids"][0][0] < book["asks"][0][0], book
        self.books += 1

    async def until(self, true: Callable[[], Any], what: str) -> None:
        """Wait for something."""
        for _ in range(GIVE_UP * 50):
            assert not self.failed, self.failed
            if true():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"it did not come: {what}; {self.orders}")

    async def ended(self, number: str, state: str) -> None:
        """Wait until the watched order has a state."""
        await self.until(lambda: state in self.orders.get(number, []), f"{number} {state}")


async def refused(request: Awaitable[Any]) -> str:
    """Return the name of ccxt's error about a request that must be refused."""
    try:
        answer = await request
    except ccxt.BaseError as error:
        return type(error).__name__
    raise AssertionError(f"it was not refused: {answer}")


async def trade(session: Session) -> dict[str, Any]:
    """The session; returns what was said at its steps."""
    e: Any = session.exchange
    said: dict[str, Any] = {}
    await e.load_markets()
    market = e.market(SYMBOL)
    said["market"] = {name: market[name] for name in ("id", "wsId", "base", "quote", "active", "maker", "taker")}
    said["market"] |= {"precision": market["precision"], "least": market["limits"]["amount"]["min"]}
    said["currencies"] = {code: e.currencies[code]["precision"] for code in ("BTC", "USD")}
    begin = await e.fetch_balance()
    said["begin"] = {code: begin[code]["total"] for code in ("BTC", "USD")}
    loops = [
        asyncio.create_task(session.listen(e.watch_orders, session.take_orders)),
        asyncio.create_task(session.listen(e.watch_my_trades, session.take_fills)),
        asyncio.create_task(session.listen(e.watch_balance, session.take_balance)),
        asyncio.create_task(session.listen(lambda: e.watch_order_book(SYMBOL, 10), session.take_book)),
    ]
    await session.until(lambda: session.balance and session.books > 10, "balance and book")

    # The market, by REST and by WebSocket.
    said["status"] = (await e.fetch_status())["status"]
    said["late_by"] = abs(await e.fetch_time() - e.milliseconds())
    watched = await asyncio.gather(
        e.watch_trades(SYMBOL), e.watch_ticker(SYMBOL), e.watch_ohlcv(SYMBOL, "1m"), e.watch_bids_asks([SYMBOL])
    )
    said["trades"] = [[trade[name] for name in TRADE] for trade in await e.fetch_trades(SYMBOL)]
    said["watched"] = [[trade[name] for name in TRADE] for trade in watched[0]]
    said["ticker"] = {name: watched[1][name] for name in ("symbol", "bid", "ask", "last", "high", "low")}
    said["candles"] = [watched[2], await e.fetch_ohlcv(SYMBOL, "1m")]
    said["best"] = {name: watched[3][SYMBOL][name] for name in ("bid", "ask")}

    # One that rests, by WebSocket: made, amended, cancelled.
    bid = (await e.fetch_order_book(SYMBOL, 10))["bids"][0][0]
    low = float(e.price_to_precision(SYMBOL, bid / 2))
    made = await e.create_order_ws(SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": "ccxt-1", "postOnly": True})
    number = made["id"]
    (opened,) = await e.fetch_open_orders(SYMBOL)
    held = (await e.fetch_balance())["USD"]
    amended = await e.edit_order_ws(number, SYMBOL, "limit", "buy", 0.02, low - 1)
    (after,) = await e.fetch_open_orders(SYMBOL)
    cancelled = await e.cancel_order_ws(number)
    await session.ended(number, "canceled")
    said["websocket"] = {
        "made": made, "open": opened, "held": held, "amended": amended, "after": after, "cancelled": cancelled,
        "closed": await e.fetch_order(number, SYMBOL),
    }  # fmt: skip

    # The same by REST.
    made = await e.create_order(SYMBOL, "limit", "sell", 0.01, bid * 2, {"clientOrderId": "ccxt-2"})
    number = made["id"]
    amended = await e.edit_order(number, SYMBOL, "limit", "sell", 0.015, bid * 2 + 1)
    after = await e.fetch_order(number, SYMBOL)
    cancelled = await e.cancel_order(number, SYMBOL)
    await session.ended(number, "canceled")
    said["rest"] = {"made": made, "amended": amended, "after": after, "cancelled": cancelled}

    # Batches of two, cancelled in each of the ways that ccxt has.
    pair = [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.001, "price": low - n} for n in range(2)]
    said["batches"] = {}
    for name in ("cancel_orders", "cancel_orders_ws", "cancel_all_orders", "cancel_all_orders_ws"):
        ids = [order["id"] for order in await e.create_orders(pair)]
        answer = await (getattr(e, name)() if "all" in name else getattr(e, name)(ids))
        for number in ids:
            await session.ended(number, "canceled")
        said["batches"][name] = {"ids": ids, "answer": answer}

    # The dead-man switch, which REST alone has here; turned off before it acts.
    said["switch"] = [(await e.cancel_all_orders_after(ms))["result"] for ms in (60_000, 0)]

    # A stop far below the market, and its trigger moved.
    made = await e.create_order_ws(SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": low})
    await e.edit_order_ws(made["id"], SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": low + 1})
    (stop,) = await e.fetch_open_orders(SYMBOL)
    rested = await e.create_order(SYMBOL, "limit", "sell", 0.01, low - 1, {"takeProfitPrice": bid * 2})
    both = await e.fetch_open_orders(SYMBOL)
    await e.cancel_all_orders_ws()
    profit = next(order for order in both if order["id"] == rested["id"])
    said["triggered"] = {"stop": stop, "profit": profit, "made": rested, "low": low, "high": bid * 2}

    # Fills: a taker by WebSocket, by REST, for an amount of dollars, and one that does not wait.
    taken = [
        await e.create_order_ws(SYMBOL, "market", "buy", 0.02),
        await e.create_order(SYMBOL, "market", "sell", 0.01),
        await e.create_market_buy_order_with_cost(SYMBOL, 100),
        await e.create_order_ws(SYMBOL, "limit", "buy", 0.001, round(bid * 1.01), {"timeInForce": "IOC"}),
    ]
    said["taken"] = [order["id"] for order in taken]
    for order in taken:
        await session.ended(order["id"], "closed")
    # And one that rests until the market comes to it; if it goes away, the order follows.
    best = (await e.fetch_order_book(SYMBOL, 10))["bids"][0][0]
    maker = (await e.create_order_ws(SYMBOL, "limit", "buy", 0.0001, best, {"postOnly": True}))["id"]
    for _ in range(GIVE_UP):
        await asyncio.sleep(1)
        if "closed" in session.orders[maker]:
            break
        best = (await e.fetch_order_book(SYMBOL, 10))["bids"][0][0]
        try:
            await e.edit_order_ws(maker, SYMBOL, "limit", "buy", 0.0001, best)
        except ccxt.OrderNotFound:
            # It was filled in this moment, which the watched order will say.
            said["late"] = 1
    await session.ended(maker, "closed")
    said["maker"] = maker

    said["refused"] = {
        "funds": await refused(e.create_order_ws(SYMBOL, "limit", "buy", 1000, low)),
        "funds_rest": await refused(e.create_order(SYMBOL, "limit", "buy", 1000, low)),
        "post_only_rest": await refused(e.create_order(SYMBOL, "limit", "buy", 0.001, bid * 2, {"postOnly": True})),
        "unknown": await refused(e.cancel_order_ws(number)),
        "unknown_rest": await refused(e.cancel_order(number)),
    }

    # What is left, by all that it has. The watched balance must come to the asked one.
    balance = await e.fetch_balance()
    said["balance"] = {
        code: {name: balance[code][name] for name in ("free", "used", "total")} for code in ("BTC", "USD")
    }

    def agree() -> bool:
        # A message that comes while nobody waits for one is in its cache, and in no answer of ``watch_balance``.
        return all(e.balance["spot"]["total"][code] == balance["total"][code] for code in ("BTC", "USD"))

    await session.until(agree, "balance by WebSocket")
    said["left"] = await e.fetch_open_orders()
    said["closed"] = await e.fetch_closed_orders(SYMBOL)
    said["fills"] = await e.fetch_my_trades(SYMBOL)
    said["ledger"] = await e.fetch_ledger()
    said["fee"] = await e.fetch_trading_fee(SYMBOL)
    await session.until(lambda: len(session.fills) >= len(said["fills"]), "fills by WebSocket")
    assert not any(loop.done() for loop in loops), session.failed
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    return said


async def run(addresses: dict[str, str], key: str, secret: str) -> None:
    """Trade, and print what was said."""
    session = Session(addresses, key, secret)
    try:
        said = await trade(session)
    finally:
        await session.exchange.close()
    found = {
        "version": ccxt.__version__, "alone": importlib.util.find_spec("krakpot") is None, "said": said,
        "orders": session.orders, "watched": session.fills, "books": session.books,
        "balance": dict(session.exchange.balance["spot"]["total"]),
        "failed": session.failed,
        "reports": [message for message in session.exchange.messages if message.get("channel") == "executions"],
        "errors": [message for message in session.exchange.messages if "error" in message],
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))

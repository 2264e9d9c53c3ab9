"""The private endpoint over sockets: a client that trades, hears its reports, and meets its order on level 3."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from exchange.test_server import token
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from waiting import run


class Trader:
    """A client of the account."""

    def __init__(self, socket: ClientConnection, key: str) -> None:
        self.socket = socket
        self.token = key
        self.reports: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.asked = 0

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Return the answer; reports that come before it are remembered."""
        self.asked += 1
        request = {"method": method, "params": {**params, "token": self.token}, "req_id": self.asked}
        await self.socket.send(json.dumps(request))
        while True:
            message = await self.hear()
            if message.get("req_id") == self.asked:
                return message

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(await self.socket.recv(), parse_float=Decimal)
        if message.get("type") == "update" and message["channel"] in {"executions", "balances"}:
            (self.reports if message["channel"] == "executions" else self.entries).extend(message["data"])
        return message

    async def until(self, kind: str, order: str) -> dict[str, Any]:
        """Wait for a report of an order."""
        while True:
            for report in self.reports:
                if (report["exec_type"], report["order_id"]) == (kind, order):
                    return report
            await self.hear()


def test_an_order_from_its_making_to_its_end() -> None:
    """It rests, is on level 3 under its own id, is filled by the market, and the balances say so."""

    async def trade() -> None:
        async with (
            ExchangeServer(Options(pairs=3, rate=2000, seed=5, speed=4)) as server,
            connect(server.private_address) as private,
            connect(server.level3_address, max_size=None, close_timeout=0.1) as orders,
        ):
            trader = Trader(private, await token(server))
            await trader.ask("subscribe", channel="executions", ratecounter=True)
            await trader.ask("subscribe", channel="balances")
            follow = {"channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": trader.token}
            await orders.send(json.dumps({"method": "subscribe", "params": follow}))
            async with asyncio.timeout(60):
                while json.loads(await orders.recv()).get("type") != "snapshot":
                    pass
            bids, asks = server.exchange.book("BTC/USD", 1) or ([], [])
            terms = {"symbol": "BTC/USD", "side": "buy", "order_type": "limit", "order_qty": 0.0001}
            made = await trader.ask("add_order", **terms, limit_price=float(bids[0][0]) - 0.1, cl_ord_id="kp-1")
            assert made["success"], made
            number = made["result"]["order_id"]
            await trader.until("new", number)
            async with asyncio.timeout(60):
                while True:
                    message = json.loads(await orders.recv())
                    if message.get("channel") == "level3" and number in str(message["data"][0]["bids"]):
                        break
            # Whatever the market did meanwhile: at this price it is filled at once, if it was not before.
            await trader.ask("amend_order", cl_ord_id="kp-1", limit_price=round(float(asks[0][0])) + 1000)
            filled = await trader.until("filled", number)
            assert filled["cum_qty"] == Decimal("0.0001")
            fills = [row for row in trader.reports if row["exec_type"] == "trade" and row["order_id"] == number]
            assert sum(row["last_qty"] for row in fills) == Decimal("0.0001")
            while len(trader.entries) < 2 * len(fills):
                await trader.hear()
            assert {row["ref_id"] for row in trader.entries} == {row["exec_id"] for row in fills}
            last = trader.entries[-1]
            assert last["asset"] == "USD"
            spent = sum(row["cost"] + row["fees"][0]["qty"] for row in fills)
            assert last["balance"] == 100_000 - spent
            gone = await trader.ask("cancel_order", cl_ord_id=["kp-1"])
            assert gone["error"] == "EOrder:Unknown order"
            refused = await trader.ask("subscribe", channel="book", symbol=["BTC/USD"])
            assert "unavailable on this endpoint" in refused["error"]

    run(trade())


def test_nobody_trades_without_a_token() -> None:
    """An old token, none, and the public endpoint: nothing happens."""

    async def trade() -> None:
        async with (
            ExchangeServer(Options(pairs=1, account=("balance.USD=5",))) as server,
            connect(server.private_address) as private,
            connect(server.address) as public,
        ):
            assert (await Trader(private, "wrong").ask("cancel_all"))["error"] == "Token(s) not found"
            await public.send(json.dumps({"method": "add_order", "params": {"token": await token(server)}}))
            async with asyncio.timeout(30):
                while "ws-auth" not in await public.recv(decode=True):
                    pass
            assert json.loads(server.exchange.account("orders", server.exchange.now)) == []
            balances = json.loads(server.exchange.account("balances", server.exchange.now))
            assert balances["USD"] == ["5.0000", "0.0000"]

    run(trade())


def test_the_private_connection_alone_is_cut() -> None:
    """After an order was done, or at a time: its client cannot come back for a while; the public feed goes on."""

    async def trade() -> None:
        async with ExchangeServer(Options(pairs=1, rate=2000)) as server, connect(server.address) as public:
            book = {"channel": "book", "symbol": ["BTC/USD"]}
            await public.send(json.dumps({"method": "subscribe", "params": book}))
            key = await token(server)
            terms = {"symbol": "BTC/USD", "side": "buy", "order_type": "limit", "order_qty": 0.1, "limit_price": 1000}
            for fault in ("cut_answer=once", "cut,endpoint=private,after=50ms"):
                async with connect(server.private_address, ping_interval=None) as private:
                    trader = Trader(private, key)
                    await trader.ask("subscribe", channel="executions")
                    server.inject(fault)
                    server.inject("handshake,endpoint=private,for=1s")
                    with pytest.raises(ConnectionClosedError):
                        async with asyncio.timeout(30):
                            request = {"method": "add_order", "params": {**terms, "token": key}, "req_id": 99}
                            await private.send(json.dumps(request))
                            while True:
                                message = await trader.hear()
                                assert "cut," in fault or message.get("req_id") != 99
                with pytest.raises(InvalidStatus):
                    await connect(server.private_address)
                for _ in range(100):
                    await public.recv()
                server.exchange.clear_faults()
            assert len(json.loads(server.exchange.account("open", server.exchange.now))) == 2, "both were done"
            assert [one["name"] for one in server.injected if "cut" in one["name"]] == ["cut_answer", "cut"]

    run(trade())

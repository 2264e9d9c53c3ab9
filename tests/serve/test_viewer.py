"""A client of the stream: what it is sent, and when it is sent nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

import krakpot
from frames import SECOND, START
from krakpot.serve import viewer
from krakpot.serve.server import ViewServer
from streams import Book, Client, Overview, Trades
from viewing import SYMBOL, alive, levels, serving, truth
from waiting import run

HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PONG = bytes([0x8A, 0x80, 0, 0, 0, 0])


def text(data: bytes) -> bytes:
    """A frame of a client: masked, of 126 bytes to 64 KiB."""
    padded = data.ljust(126)
    return bytes([0x81, 0xFE]) + len(padded).to_bytes(2) + bytes(4) + padded


def test_overview_of_a_lake(whole_lake: Path) -> None:
    """A line for each pair: best prices, last price, imbalance, checksums."""

    async def main() -> None:
        async with ViewServer(whole_lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            at = START + 30 * SECOND
            await client.done("seek", at_us=at // 1000)
            await client.done("overview", on=True)
            found = await client.until(Overview)
            assert found.ts == at
            assert sorted(found.rows) == [0, 1]
            for symbol in (SYMBOL, "ETH/USD"):
                row, book = found.rows[client.number(symbol)], truth(whole_lake, symbol, at)
                assert (row["bid"], row["ask"]) == (book["bid_price_0"], book["ask_price_0"])
                assert row["in_sync"] == 1
                assert row["right"] > 10
                assert row["wrong"] == 0
                bids, asks = (sum(qty for _, qty in levels(book, side)[:5]) for side in ("bid", "ask"))
                assert row["imbalance"] == pytest.approx((bids - asks) / (bids + asks))
                last = krakpot.Lake(whole_lake).trades(symbol, end=at + 1, numbers="float").collect()["price"][-1]
                assert row["last"] == last
            await client.done("overview", on=False)

    run(main())


def test_a_slow_client_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it answers no ping it is sent nothing more, whatever comes; then the newest state, with what it missed."""
    monkeypatch.setattr(viewer, "TRADES_BEFORE", 0)

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=1, rate=500)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], depth=100, url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address, autoping=False) as client,
        ):
            symbol = client.hello["symbols"][0]["symbol"]
            await client.done("rate", per_second=60)
            await client.done("subscribe", symbols=[symbol])
            (one,) = server.viewers
            pair = one.sight.market.pair(symbol)
            while not one.full:
                await asyncio.sleep(0.01)
            sent, began, traded = one.sent.total(), one.subscriptions[symbol].book.count, pair.traded
            assert began is not None
            while pair.book.count < began + 300 or pair.traded < traded + 5:
                await asyncio.sleep(0.01)
            assert one.sent.total() == sent, "nothing was sent meanwhile"
            assert one.pinged - one.answered == viewer.WINDOW
            # It answers now. Behind the few states that waited for it comes the newest one.
            client.heard.clear()
            for _ in range(viewer.WINDOW):
                await client.socket.pong(b"")
            newest = await client.until(Book, lambda book: book.messages >= 300)
            before = [one for one in client.heard if isinstance(one, Book)][:-1]
            assert len(before) <= viewer.WINDOW
            assert newest.messages <= pair.book.count - began
            assert all(one.ts_recv < newest.ts_recv for one in before)
            missed = await client.until(Trades)
            assert len(missed.rows) + missed.left_out >= 5

    run(main())


def test_a_client_that_is_not_there_is_let_go(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Without an answer to any ping for a while the client is disconnected, and its place in the lake closed."""
    monkeypatch.setattr(viewer, "PATIENCE", 0.3)

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address, autoping=False) as client:
            await client.done("subscribe", symbols=[SYMBOL])
            while server.viewers:
                await asyncio.sleep(0.02)
        await alive(server)

    serving(main, lake)


def test_a_client_that_answers_but_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the buffers between the two are full nothing is added to them, and then it is disconnected."""
    monkeypatch.setattr(viewer, "PATIENCE", 1.0)

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=5, rate=500)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book"], depth=1000, url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
        ):
            await feed.wait_ready()
            url = urlsplit(server.address)
            _, writer = await asyncio.open_connection(url.hostname, url.port, limit=1000)
            wanted = {"method": "subscribe", "symbols": feed.selected_symbols, "depth": 1000}
            writer.write(HANDSHAKE.replace(b"HOST", url.netloc.encode()) + text(json.dumps(wanted).encode()))
            writer.write(text(b'{"method": "rate", "per_second": 60}'))
            while not server.viewers:
                await asyncio.sleep(0.01)
            (one,) = server.viewers
            while server.viewers:
                writer.write(PONG)
                await asyncio.sleep(0.005)
            assert one.sent["book"] > 50
            assert not one.full, "it had answered"
            writer.transport.abort()
            await alive(server)

    run(main())

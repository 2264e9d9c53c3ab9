"""The market as it is now: what is shown becomes the exchange's truth, and what is missed is said."""

from __future__ import annotations

import aiohttp

import krakpot
from krakpot.serve.server import ViewServer
from streams import Book, Client, Clock, Gap, Level, Overview, Trades
from viewing import SYMBOL
from waiting import run


async def snapshot(address: str, symbol: str) -> tuple[int, list[Level], list[Level]]:
    """The book as the exchange itself sends it: checksum, bids, asks."""
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        wanted = {"channel": "book", "symbol": [symbol], "depth": 25}
        await socket.send_json({"method": "subscribe", "params": wanted})
        while True:
            message = await socket.receive_json()
            if message.get("channel") == "book":
                (data,) = message["data"]
                sides = [[(float(one["price"]), float(one["qty"])) for one in data[side]] for side in ("bids", "asks")]
                return data["checksum"], sides[0], sides[1]


def test_live_is_the_exchange() -> None:
    """The book that is shown is the one that the exchange has, at all depths."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=3, rate=60)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade", "ticker"], depth=25, url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address) as client,
        ):
            assert client.hello["source"] == "live"
            assert [one["depth"] for one in client.hello["symbols"]] == [25, 25, 25]
            await client.done("subscribe", symbols=[SYMBOL], depth=25)
            await client.until(Book, lambda book: book.in_sync)
            trades = await client.until(Trades)
            assert trades.rows
            await client.done("overview")
            overview = await client.until(Overview)
            assert len(overview.rows) == 3
            clock = await client.until(Clock, lambda clock: clock.connected)
            assert clock.live
            await client.done("rate", per_second=60)
            # A snapshot that the exchange gives is found among the states that are shown, level by level.
            found = False
            while not found:
                checksum, *sides = await snapshot(exchange.address, SYMBOL)
                for _ in range(10):
                    await client.until(Book)
                states = [one for one in client.heard if isinstance(one, Book) and one.checksum == checksum]
                assert all(([*one.bids[:10]], [*one.asks[:10]]) == (sides[0][:10], sides[1][:10]) for one in states)
                found = any([one.bids, one.asks] == sides for one in states)
            for method, more in (("seek", {"at_us": 1}), ("pause", {}), ("resume", {}), ("speed", {"speed": 2})):
                answer = await client.ask(method, **more)
                assert not answer["success"]
                assert "live" in answer["error"]

    run(main())


def test_live_says_what_is_missed() -> None:
    """A wrong checksum and a lost connection are gaps; while it lasts there are no levels."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=2, rate=300)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address) as client,
        ):
            await client.done("subscribe", symbols=[SYMBOL], depth=10)
            await client.until(Book, lambda book: book.in_sync)
            exchange.exchange.inject(f"drop=once,channel=book,symbol={SYMBOL}")
            lost = await client.until(Book, lambda book: not book.in_sync)
            assert (lost.bids, lost.asks) == ([], [])
            begun = await client.until(Gap, lambda gap: gap.channel == 0)
            assert (begun.until, begun.reason) == (0, "checksum mismatch")
            over = await client.until(Gap, lambda gap: gap.channel == 0)
            assert over.until > over.since > 0
            again = [one for one in client.heard if isinstance(one, Book)][-1]
            assert again.in_sync
            assert again.not_continued

    run(main())


def test_a_pair_that_is_removed() -> None:
    """Its book has no levels any more; who looks at it, or subscribes it now, stays connected."""

    async def main() -> None:
        async with (
            krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=300)) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address) as client,
            Client(server.stream_address) as late,
        ):
            await client.done("subscribe", symbols=[SYMBOL])
            await client.until(Book, lambda book: book.in_sync)
            await feed.remove_symbols([SYMBOL])
            lost = await client.until(Book, lambda book: not book.in_sync)
            assert (lost.bids, lost.asks) == ([], [])
            await late.done("subscribe", symbols=[SYMBOL])
            assert not (await late.until(Book)).in_sync
            await late.done("overview")
            assert (await late.until(Overview)).rows[late.number(SYMBOL)]["in_sync"] == 0
            await feed.add_symbols([SYMBOL])
            await client.until(Book, lambda book: book.in_sync)

    run(main())

"""The market as it is now: what is shown becomes the exchange's truth, and what is missed is said."""

from __future__ import annotations

from pathlib import Path

import krakpot
from krakpot.serve.server import ViewServer
from streams import Book, Client, Clock, Gap, Overview, Trades
from viewing import SYMBOL
from waiting import run


def test_live_is_the_exchange(tmp_path: Path) -> None:
    """Against the built-in exchange the book that is shown becomes the exchange's book, once it stands still."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=3, rate=300)
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
            while True:
                state = await client.until(Book)
                book = feed.book(SYMBOL)
                if book.in_sync and book.checksum == state.checksum:
                    break
            assert state.bids == [(float(price), float(qty)) for price, qty in book.bids()]
            assert state.asks == [(float(price), float(qty)) for price, qty in book.asks()]
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

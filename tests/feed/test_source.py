"""All connections of a feed together: who has which symbol, when all is ready, what is counted."""

from __future__ import annotations

from krakpot.feed.feed import Feed
from krakpot.feed.source import FeedCounts
from scripted import Exchange
from waiting import run


def test_nothing_is_subscribed_before_the_block_begins() -> None:
    """So that whoever reads from its begin on misses nothing."""

    async def test() -> None:
        async with Exchange() as exchange:
            feed = Feed(["BTC/USD"], url=exchange.url)
            source = feed._source
            assert source.clients == []
            await source.open(feed._stream, feed._new_context(), feed._backoff())
            assert source.selection.names == ["BTC/USD", "ETH/USD", "ADA/EUR"]
            assert exchange.client.asked("subscribe", "book") == []
            assert source.ready() is False
            feed._stream.start()
            source.subscribe()
            await source.until(source.ready)
            assert [asked["symbol"] for asked in exchange.client.asked("subscribe", "book")] == [["BTC/USD"]]
            await feed.close()

    run(test())


def test_counts_are_those_of_all_connections() -> None:
    """And the states of subscriptions by name."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["*"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            counts = feed.counts
            assert counts.keys() == FeedCounts.__annotations__.keys()
            assert (counts["in_sync"], counts["pairs"], counts["selected"], counts["subscribed"]) == (3, 3, 3, 6)
            assert counts["waiting"] == counts["waits"] == 0
            assert {(s.channel, s.symbol) for s in feed.subscriptions()} == {
                (channel, symbol) for channel in ("book", "trade") for symbol in feed.selected_symbols
            }
            assert {s.state for s in feed.subscriptions()} == {"active"}

    run(test())

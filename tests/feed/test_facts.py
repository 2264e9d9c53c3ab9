"""What a feed has, for programs that show all of it."""

from __future__ import annotations

import krakpot
from krakpot.feed.facts import channels_of, depths_of, pairs_of
from waiting import run


def test_pairs_with_their_channels() -> None:
    """Each pair with its decimals and the channels that select it; none before the feed is started."""

    async def main() -> None:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=3, rate=50)) as exchange:
            feed = krakpot.Feed(channels={"book": ["*"], "trade": ["BTC/USD"]}, depth=25, url=exchange.address)
            assert pairs_of(feed) == []
            assert channels_of(feed) == ("book", "trade")
            assert depths_of(feed)[0] == 25
            async with feed:
                found = pairs_of(feed)
                assert len(found) == 3
                assert [pair.symbol for pair in found] == sorted(pair.symbol for pair in found)
                assert {pair.symbol: pair.channels for pair in found}["BTC/USD"] == ("book", "trade")
                assert [pair.channels for pair in found if pair.symbol != "BTC/USD"] == [("book",), ("book",)]
                assert all(0 <= pair.price_precision <= 10 >= pair.qty_precision > 0 for pair in found)
                await feed.remove_symbols(["BTC/USD"])
                assert "BTC/USD" not in [pair.symbol for pair in pairs_of(feed)]

    run(main())

"""The live feed as viewers see it: one feed, however many they are."""

from __future__ import annotations

from krakpot.feed.facts import channels_of, depths_of, is_over, pairs_of
from krakpot.feed.feed import Feed
from krakpot.serve.facts import SHOWN, PairFacts
from krakpot.serve.market import Market
from krakpot.stream.book import LiveBook
from krakpot.stream.orders import LiveOrders
from krakpot.values import LEVEL3


class Live:
    """A feed that runs, and what came of its pairs."""

    live = True
    speed = 1.0
    paused = False
    at_end = False
    ready = True

    def __init__(self, feed: Feed, market: Market | None = None) -> None:
        """Listen to a feed that is started; ``market``: what it fills already, because another has listened."""
        self.market = Market() if market is None else market
        self.feed = feed
        self.pairs: dict[str, PairFacts] = {}
        """Pairs that were selected at any time, in the order of their numbers."""
        self._books: dict[str, LiveBook] = {}
        self._orders: dict[str, LiveOrders] = {}
        """Handles, which a feed gives only of pairs that it selects at the time."""
        self.look()
        if market is not None:
            return
        for channel, listeners in self.market.listeners(channels_of(feed)).items():
            for callback, symbol in listeners:
                feed.on(channel, callback, symbol)

    def look(self) -> None:
        """See whether there are pairs that were not there before."""
        depth, level3_depth = depths_of(self.feed)
        new = [pair for pair in pairs_of(self.feed) if pair.symbol not in self.pairs]
        for pair in new:
            channels = tuple(name for name in SHOWN if name in pair.channels)
            deep = depth if "book" in channels else level3_depth if LEVEL3 in channels else 0
            self.pairs[pair.symbol] = PairFacts(pair.symbol, pair.price_precision, pair.qty_precision, deep, channels)
            if "book" in channels:
                self._books[pair.symbol] = self.feed.book(pair.symbol)
            if LEVEL3 in channels:
                self._orders[pair.symbol] = self.feed.orders(pair.symbol)

    @property
    def now(self) -> int:
        """Receipt of the last message, ns."""
        return self.market.ts

    @property
    def connected(self) -> bool:
        """Whether all connections are up."""
        return self.feed.connected

    @property
    def error(self) -> str:
        """Why the feed ended."""
        return "" if self.feed.error is None else str(self.feed.error)

    @property
    def over(self) -> bool:
        """Whether the feed was closed, or has failed: nothing more comes."""
        return is_over(self.feed)

    @property
    def system(self) -> str:
        """State of the exchange; empty before it said."""
        return self.feed.system or ""

    def book(self, symbol: str) -> LiveBook:
        """The level-2 book of a pair."""
        return self._books[symbol]

    def orders(self, symbol: str) -> LiveOrders:
        """The level-3 book of a pair."""
        return self._orders[symbol]

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import krakpot
import traded
from fills import SYMBOL
from krakpot import ExchangeOptions, ExchangeServer, Feed, Market
from krakpot.errors import ConfigError, FeedError
from krakpot.trade.source import ReplayData, TradedPair
from traded import Notes, paper, replay


class Cross(Notes):
    """Buys at the market as soon as it may, and stops when that is filled."""

    def book(self, m: Market, e: Any) -> None:
        super().book(m, e)
        if m.trading and not m.orders() and m.symbols:
            m.buy(e.symbol, m.pair(e.symbol).qty_min * 4)

    def fill(self, m: Market, e: Any) -> None:
        super().fill(m, e)
        m.stop("it has one")


def rich(server: ExchangeServer) -> krakpot.Paper:
    """An account that can buy anything of the exchange."""
    quotes = {pair[0].partition("/")[2] for pair in server.exchange.pairs()}
    return paper("2ms", balances=dict.fromkeys(sorted(quotes), 10**9))


def test_on_the_built_in_exchange() -> None:
    """Live: the feed of its pairs, orders that are filled by its books; it ends when the strategy says so."""
    server = ExchangeServer(ExchangeOptions(pairs=2, rate=300.0, seed=4))
    strategy = Cross()
    result = krakpot.run(strategy, server, rich(server), until="20s", wake="message")
    assert isinstance(result, krakpot.Result)
    assert strategy.heard[-1] == "it has one"
    assert result.fills["evidence"].unique().to_list() == ["taken"]
    assert "live feed" in result.integrity
    assert strategy.times == sorted(strategy.times)


def test_on_a_feed_of_ones_own() -> None:
    """A feed that is not started; it is closed at the end. An exception of a handler is raised."""

    class Fails(Cross):
        def fill(self, m: Market, e: Any) -> None:
            raise LookupError("mine")

    async def main() -> None:
        async with ExchangeServer(ExchangeOptions(pairs=2, rate=300.0, seed=4)) as server:
            for strategy in (Cross(), Fails()):
                feed = Feed(
                    ["*"], channels=["book", "trade", "level3"], url=server.address, rest_url=server.rest_address,
                    api_key=server.key.name, api_secret=server.key.secret_text,
                )  # fmt: skip
                going = krakpot.run_async(strategy, feed, rich(server), until="20s", wake="message")
                if isinstance(strategy, Fails):
                    with pytest.raises(LookupError, match="mine"):
                        await going
                else:
                    result = await going
                    assert isinstance(result, krakpot.Result)
                    assert result.fills.height
                with pytest.raises(FeedError):
                    await feed.start()

    asyncio.run(main())


def test_a_feed_needs_trades_and_books() -> None:
    """Said before anything connects."""
    feed = Feed(["*"], channels=["ticker"])
    with pytest.raises(ConfigError, match=r"the feed has the channels ticker; orders are filled by level3 or book"):
        krakpot.run(Notes(), feed, paper())
    with pytest.raises(ConfigError, match=r"model='bounds' needs two passes, so a krakpot.Replay"):
        krakpot.run(Notes(), Feed(["*"]), paper(model="bounds"))


def test_a_replay_describes_its_data(tmp_path: Path) -> None:
    """Its pairs with their steps and minima, its depth; its name changes with its content."""
    lake = traded.lake(tmp_path / "lake")
    data = ReplayData(replay(lake))
    (pair,) = data.pairs()
    assert (pair.symbol, pair.price_precision, pair.price_increment, pair.qty_min) == (SYMBOL, 1, "0.1", "0.00005")
    assert (data.depth(level3=True), data.has_level3(SYMBOL)) == (10, True)
    other = ReplayData(replay(traded.lake(tmp_path / "other", traded.market(20))))
    assert data.name != other.name == ReplayData(replay(krakpot.Lake(tmp_path / "other"))).name


def test_a_pair_with_little_known_of_it() -> None:
    """Its name says the assets; a step of the precision is its increment."""
    bare: dict[str, Any] = dict.fromkeys(("base", "quote", "qty_min", "cost_min", "status"))
    pair = TradedPair.of(bare | {"symbol": "ETH/EUR", "price_precision": 2, "qty_precision": 8})
    assert (pair.base, pair.quote, pair.price_increment, pair.cost_min) == ("ETH", "EUR", "0.01", "0")

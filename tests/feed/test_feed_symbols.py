"""Which symbols a feed has: checked against the pairs, listed, added and removed while it runs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import krakpot
from krakpot import Feed
from krakpot.errors import (
    ConfigError,
    FeedError,
    NoBook,
    SubscriptionRejected,
)
from scripted import Exchange, Market, until
from waiting import run


@pytest.mark.slow
def test_symbols_are_checked_against_the_pairs() -> None:
    """A pattern that matches none is named with what is near, also if only the case is wrong; so are handles and
    callbacks of symbols that the feed does not select.
    """

    async def test() -> None:
        async with Exchange() as exchange:
            for wrong in ("XBT/USD", "btc/usd", "BTC/USF"):
                with pytest.raises(ConfigError, match=f"krakpot.Feed: symbols: '{wrong}' .* did you mean BTC/USD"):
                    await Feed([wrong], url=exchange.url).start()
            with pytest.raises(ConfigError, match="exclude leaves none of the 3 pairs for book"):
                await Feed(["BTC/*"], exclude=["*"], url=exchange.url).start()
            async with Feed(["BTC/USD"], channels=["trade"], url=exchange.url) as feed:
                with pytest.raises(ConfigError, match="this feed has no channel book"):
                    feed.book("BTC/USD")
            async with Feed(["BTC/USD"], url=exchange.url) as feed:
                for use in (feed.book, lambda symbol: feed.on("book", print, symbol)):
                    with pytest.raises(ConfigError, match="'ETH/USD' is not selected by this feed; .* are BTC/USD"):
                        use("ETH/USD")
                    with pytest.raises(ConfigError, match="'btc/usd' is not selected .* did you mean BTC/USD"):
                        use("btc/usd")
            early = Feed(["*/USD"], url=exchange.url)
            with pytest.raises(ConfigError, match="'ADA/EUR' is not selected by this feed; its patterns are \\*/USD"):
                early.on("book", print, "ADA/EUR")
            early.on("book", print, "DOGE/USD")
            with pytest.raises(ConfigError, match="'DOGE/USD' is not selected by this feed; "):
                await early.start()
            assert early.error is None
            await asyncio.wait_for(exchange.client.gone.wait(), 10)

    run(test())


def test_a_symbol_that_is_rejected_is_an_error_if_it_was_named() -> None:
    """Who asked for exactly this one would wait for nothing; who asked for all goes on without it."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.refusals["ADA/EUR"] = "EGeneral:Not for you"
            async with Feed(["*"], channels=["trade"], url=exchange.url) as feed:
                await feed.wait_ready(30)
                assert [s.symbol for s in feed.subscriptions() if s.state == "rejected"] == ["ADA/EUR"]
            async with Feed(["BTC/USD", "ADA/EUR"], channels=["trade"], url=exchange.url) as feed:
                with pytest.raises(SubscriptionRejected, match="rejected the subscription of trade ADA/EUR: EG") as e:
                    await feed.wait_ready(30)
            assert (e.value.channel, e.value.symbol, e.value.reason) == ("trade", "ADA/EUR", "EGeneral:Not for you")

    run(test())


def test_newly_listed_pairs_join() -> None:
    """A pair that matches is followed from its listing on; its book is there."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["*"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            exchange.list_pair(Market("DOT/USD"))
            await until(lambda: "DOT/USD" in feed.selected_symbols and feed.book("DOT/USD").in_sync)

    run(test())


def test_symbols_are_added_and_removed_while_it_runs() -> None:
    """The session subscribes and unsubscribes them; a removed one has no handle until it is added again."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            old = feed.book("BTC/USD")
            assert await feed.add_symbols(["ETH/*"]) == ["ETH/USD"]
            assert await feed.add_symbols(["ETH/USD"]) == []
            await feed.wait_ready(30)
            eth = feed.book("ETH/USD")
            assert eth.in_sync
            assert await feed.add_symbols(["ADA/EUR"], channels=["trade"]) == ["ADA/EUR"]
            await feed.wait_ready(30)
            assert ("trade", "ADA/EUR") in exchange.client.subscribed
            assert ("book", "ADA/EUR") not in exchange.client.subscribed
            with pytest.raises(ConfigError, match="'ADA/EUR' is not selected"):
                feed.book("ADA/EUR")
            assert await feed.remove_symbols(["ETH/USD"]) == ["ETH/USD"]
            await until(lambda: ("book", "ETH/USD") not in exchange.client.subscribed)
            assert feed.selected_symbols == ["BTC/USD", "ADA/EUR"]
            with pytest.raises(ConfigError, match="'ETH/USD' is not selected"):
                feed.book("ETH/USD")
            with pytest.raises(NoBook):
                _ = eth.best_bid
            assert old.in_sync, "others never notice"
            # The choice survives a reconnect, and what is listed later joins only if a pattern selects it.
            exchange.cut()
            await until(lambda: len(exchange.clients) == 2)
            exchange.list_pair(Market("DOT/USD"))
            await feed.wait_ready(30)
            assert {symbol for _, symbol in exchange.client.subscribed} - {""} == {"BTC/USD", "ADA/EUR"}
            await feed.add_symbols(["*"])
            await until(lambda: "DOT/USD" in feed.selected_symbols)
            exchange.list_pair(Market("SOL/USD"))
            await until(lambda: "SOL/USD" in feed.selected_symbols and feed.book("SOL/USD").in_sync)
            await until(lambda: eth.in_sync and feed.book("ETH/USD").best_bid == eth.best_bid)

    run(test())


def test_a_removed_symbol_is_no_gap(caplog: pytest.LogCaptureFixture) -> None:
    """Its book is out of sync when the call returns, its subscription is being ended; no warning, and no event of a gap
    when it is added again.
    """
    caplog.set_level(logging.INFO, "krakpot.feed")

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD", "ETH/USD"], url=exchange.url) as feed:
            gaps: list[krakpot.GapEvent] = []
            states: list[tuple[str, str]] = []
            feed.on("gap", gaps.append)
            feed.on("subscription", lambda event: states.append((event.of, event.state)), "ETH/USD")
            await feed.wait_ready(30)
            eth = feed.book("ETH/USD")
            count = len(exchange.sent("trade", "ETH/USD"))
            await until(lambda: len(exchange.sent("trade", "ETH/USD")) > count)
            states.clear()
            await feed.remove_symbols(["ETH/USD"])
            assert (eth.in_sync, eth.state, eth.reason) == (False, "unsubscribing", "no longer selected")
            with pytest.raises(NoBook, match="its subscription is unsubscribing \\(no longer selected\\)$"):
                eth.best()
            left = {(one.channel, one.state) for one in feed.subscriptions() if one.symbol == "ETH/USD"}
            assert left == {("book", "unsubscribing"), ("trade", "unsubscribing")}
            await until(lambda: ("book", "ETH/USD") not in exchange.client.subscribed)
            await until(lambda: ("trade", "off") in states and ("book", "off") in states)
            assert sorted(states) == sorted(
                (name, state) for name in ("book", "trade") for state in ("unsubscribing", "off")
            )
            await asyncio.sleep(0.3)  # trades that nobody sees
            await feed.add_symbols(["ETH/USD"])
            await feed.wait_ready(30)
            count = len(exchange.sent("trade", "ETH/USD"))
            await until(lambda: len(exchange.sent("trade", "ETH/USD")) > count)
            await until(lambda: eth.in_sync)
            assert (gaps, feed.counts["gaps"]) == ([], 0)

    run(test())
    found = [(record.levelname, record.getMessage()) for record in caplog.records if "ETH/USD" in record.getMessage()]
    assert [level for level, _ in found] == ["INFO"] * len(found)
    assert ("INFO", 'unsubscribed book ETH/USD {"reason":"no longer selected"}') in found


def test_a_wrong_change_of_symbols_changes_nothing() -> None:
    """A pattern without a pair, a channel that the feed does not have."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], channels=["trade"], url=exchange.url) as feed:
            for change in (feed.add_symbols, feed.remove_symbols):
                place = f"^krakpot.Feed.{change.__name__}: "
                with pytest.raises(
                    ConfigError, match=f"{place}symbols: 'eth/usd' matches none of the 3 pairs; did you m"
                ):
                    await change(["ETH/USD", "eth/usd"])
                symbols: tuple[Any, ...] = (7, None, ["ETH/USD", 7], [])
                for wrong in symbols:
                    with pytest.raises(ConfigError, match=f"{place}symbols: .* is not allowed; allowed is "):
                        await change(wrong)
                channels: tuple[Any, ...] = (7, [], [7], "bo", ["book"], {"trade": ["*"]})
                for wrong in channels:
                    words = f"{place}channels: .* is not allowed; allowed is one or more of trade$"
                    with pytest.raises(ConfigError, match=words):
                        await change(["ETH/USD"], channels=wrong)
            assert feed.selected_symbols == ["BTC/USD"]
            # One word is a list of one, as in the constructor.
            assert await feed.add_symbols("ETH/USD", channels="trade") == ["ETH/USD"]
        with pytest.raises(FeedError, match="not connected yet"):
            await Feed(["*"]).add_symbols(["BTC/USD"])

    run(test())


def test_channels_have_symbols_of_their_own() -> None:
    """Books of all, trades of one: one connection, and nothing else is subscribed."""

    async def test() -> None:
        async with Exchange() as exchange:
            channels = {"book": ["*"], "trade": ["BTC/USD"]}
            async with Feed(channels=channels, exclude=["ADA/*"], url=exchange.url) as feed:
                await feed.wait_ready(30)
                assert set(exchange.client.subscribed) - {("instrument", "")} == {
                    ("book", "BTC/USD"), ("book", "ETH/USD"), ("trade", "BTC/USD"),
                }  # fmt: skip
                with pytest.raises(ConfigError, match="'ETH/USD' is not selected by this feed; selected are BTC/USD"):
                    feed.on("trade", print, "ETH/USD")

    run(test())

"""A connection of a feed: rows and events of its session go to the stream, and over a reconnect nothing is mixed up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from krakpot.errors import ConfigError
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.feed.feed import Feed
from scripted import Exchange, until
from waiting import run


def test_rows_of_a_session_that_ended_are_not_lost() -> None:
    """They wait with those of the next one, each batch of one session; what is skipped is counted with them."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], url=exchange.url) as feed:
            client = feed._source.public
            assert client is not None
            batches = feed.batches()
            await anext(batches)
            first = client.session.id
            exchange.cut()
            await until(lambda: client.session.id != first and client.session.pending_rows)
            pending = client.pending_rows
            taken = client.take_rows()
            assert len(taken) >= 2
            sessions = [set(pa.record_batch(rows["ledger"])["session"].to_pylist()) for rows in taken]
            assert sessions[0] == {first}
            assert all(len(found) == 1 for found in sessions)
            assert sum(batch.num_rows for rows in taken for batch in rows.values()) >= pending

    run(test())


def test_a_connection_says_why_it_is_down() -> None:
    """Before the first one, after a failure, after the end; and nothing while it is up."""

    async def test() -> None:
        async with Exchange() as exchange:
            async with Feed(["BTC/USD"], url=exchange.url) as feed:
                client = feed._source.public
                assert client is not None
                assert client.down == ""
                exchange.hang = True
                exchange.cut()
                await until(lambda: client.down)
                assert "connection lost" in client.down
            assert client.down == "the feed is closed"

    run(test())


@pytest.mark.slow
def test_level3_comes_over_its_own_connection() -> None:
    """Of the symbols that were chosen for it, beside the books of all; the account's token is asked for once."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=4, rate=500)) as server:
            some = server.exchange.symbols[:2]
            async with level3_feed(server, {"book": ["*"], "level3": some}) as feed:
                await feed.wait_ready(60)
                assert feed.connected
                found = {(s.channel, s.symbol) for s in feed.subscriptions()}
                assert found == {("book", symbol) for symbol in server.exchange.symbols} | {
                    ("level3", symbol) for symbol in some
                }
                (client,) = feed._source.level3
                assert sorted(client.symbols) == sorted(some)
                assert client.session.orders(some[0]) is not None
                seen: Counter[str] = Counter()
                async for tables in feed.batches():
                    seen.update({table: batch.num_rows for table, batch in tables.items()})
                    if seen["orders"] > 100 and seen["book"] > 100:
                        break
                counts = feed.counts
                assert counts["checksums"]["level3"]["ok"] > 20
                assert counts["checksums"]["book"]["ok"] > 20
                assert counts["checksums"]["level3"]["bad"] == counts["unchecked"] == 0

    run(test())


@pytest.mark.slow
def test_a_level3_connection_that_is_cut_comes_back() -> None:
    """With a new token; the public connection does not notice."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=2, rate=500)) as server:
            async with level3_feed(server, {"book": ["*"], "level3": ["*"]}) as feed:
                ups: list[tuple[str, bool]] = []
                await feed.wait_ready(60)
                feed.on("connection", lambda event: ups.append((event.endpoint, event.up)))
                (client,) = feed._source.level3
                assert client.connection is not None
                before = client.session.id
                client.connection.abort()
                await until(lambda: ups == [("level3", False), ("level3", True)])
                await feed.wait_ready(60)
                assert client.session.id != before
                assert all(client.session.orders(symbol) is not None for symbol in client.symbols)

    run(test())


def test_a_key_that_is_rejected_ends_the_start() -> None:
    """With a sentence that says what helps, and nothing is left open."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=2, rate=500)) as server:
            with pytest.raises(ConfigError, match="the API key is not known"):
                await level3_feed(server, {"level3": ["*"]}, api_key="another").start()
            async with level3_feed(server, {"level3": ["*"]}) as feed:
                await feed.wait_ready(60)
                assert [s.channel for s in feed.subscriptions()] == ["level3", "level3"]

    run(test())


def level3_feed(server: ExchangeServer, channels: Any, **options: Any) -> Feed:
    """A feed of the built-in exchange with a key that it accepts."""
    key = {"api_key": server.key.name, "api_secret": server.key.secret_text}
    return Feed(channels=channels, url=server.address, rest_url=server.rest_address, **(key | options))

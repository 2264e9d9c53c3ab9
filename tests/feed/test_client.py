"""A connection of a feed: rows and events of its session go to the stream, and over a reconnect nothing is mixed up."""

from __future__ import annotations

import pyarrow as pa

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

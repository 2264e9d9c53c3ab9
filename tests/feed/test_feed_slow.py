"""A strategy that is slower than its feed: it waits, takes the newest, or fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import krakpot
from krakpot import BookEvent, Feed
from krakpot.errors import (
    SlowReader,
)
from scripted import Exchange, until
from waiting import run


@pytest.mark.slow
def test_a_slow_strategy_lets_the_socket_wait() -> None:
    """The default: nothing is lost, the queue stays small, how often and how long it waited is told."""

    async def test() -> None:
        async with Exchange(beat=0.001) as exchange, Feed(["*"], url=exchange.url, max_queue=50) as feed:
            await feed.wait_ready(30)
            seen: list[BookEvent] = []
            largest = 0
            async for event in feed:
                if isinstance(event, BookEvent) and event.symbol == "BTC/USD":
                    seen.append(event)
                    if len(seen) % 20 == 0:
                        await asyncio.sleep(0.1)
                largest = max(largest, feed.waiting)
                if len(seen) > 300:
                    break
            sent = [int(item["checksum"]) for item in exchange.sent("book", "BTC/USD")]
            told = [event.checksum for event in seen]
            # A book may come back to what it was: the first checksum alone does not tell where they begin.
            starts = (at for at, checksum in enumerate(sent) if checksum == told[0])
            assert any(told == sent[at : at + len(told)] for at in starts), "none is missing"
            counts = feed.counts
            assert counts["waits"] > 0
            assert counts["waited_seconds"] > 0
            assert counts["skipped"] == {}
            assert largest < 5000

    run(test())


def test_a_slow_strategy_may_have_the_newest_alone() -> None:
    """Old events go, and the first thing it reads is how many of what; states and the newest of each symbol stay."""

    async def test() -> None:
        async with (
            Exchange(beat=0.001) as exchange,
            Feed(["*"], url=exchange.url, max_queue=50, slow_reader="newest") as feed,
        ):
            await feed.wait_ready(30)
            seen: Counter[str] = Counter()
            skipped: Counter[str] = Counter()
            async for event in feed:
                if isinstance(event, krakpot.SkippedEvent):
                    skipped.update(event.counts)
                seen[event.channel] += 1
                assert feed.waiting <= 51
                if seen["book"] == 5:
                    await until(lambda: feed.skipped["book"] > 100)
                if skipped["book"] > 100 and feed.waiting == 0:
                    break
            assert skipped == feed.skipped
            assert feed.counts["waits"] == 0
            assert feed.book("BTC/USD").in_sync

    run(test())


@pytest.mark.parametrize("batches", [False, True])
def test_a_slow_strategy_may_fail(batches: bool) -> None:
    """``SlowReader`` says how much waited and what helps; the feed is over."""

    async def test() -> None:
        async with Exchange(beat=0.001) as exchange:
            with pytest.raises(SlowReader, match="slower than the feed: .* rows wait, 50 may") as e:
                async with Feed(["*"], url=exchange.url, max_queue=50, slow_reader="fail") as feed:
                    async for _ in feed.batches() if batches else feed:
                        await asyncio.sleep(0.2)
            assert e.value.waiting > 50

    run(test())


@pytest.mark.slow
def test_slow_batches_wait_or_skip_and_say_so() -> None:
    """Rows that wait are bounded as well; what is skipped is counted by table, and a row of the ledger tells it."""

    async def test(slow_reader: Any) -> None:
        async with (
            Exchange(beat=0.001) as exchange,
            Feed(["*"], channels=["book"], url=exchange.url, max_queue=100, slow_reader=slow_reader) as feed,
        ):
            ledger: list[dict[str, Any]] = []
            async for batch in feed.batches():
                if "ledger" in batch:
                    rows = pl.DataFrame(pa.record_batch(batch["ledger"])).to_dicts()
                    ledger += [row for row in rows if row["kind"] == "backpressure"]
                if len(ledger) > 3:
                    break
                await asyncio.sleep(0.1)
            details = {row["detail"].replace(" ", "") for row in ledger}
            assert details == {f'{{"queue":"strategy","answer":"{slow_reader}"}}'}
            if slow_reader == "newest":
                assert feed.skipped["book"] >= 100
                assert sum(row["count"] for row in ledger) <= sum(feed.skipped.values())
            else:
                assert feed.counts["waits"] > 3
                assert not feed.skipped

    run(test("wait"))
    run(test("newest"))

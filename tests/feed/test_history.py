"""A feed that begins with a recording and goes on live, beside a feed that was live all the time."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import krakpot
import lakes
from krakpot import Feed
from krakpot.errors import ConfigError, FeedError
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.stream.events import Event
from recording import Recording
from scripted import until
from waiting import run

Sequences = dict[tuple[str, str], list[Any]]


def kept(found: Sequences, event: Event) -> None:
    """Keep what identifies a message, by channel and symbol."""
    if event.channel == "trade":
        found["trade", event.symbol].append(event.trade_id)
    elif event.channel in {"book", "level3"} and event.kind == "update":
        found[event.channel, event.symbol].append((event.ts_event, event.checksum, event.outcome))
    elif event.channel == "gap":
        found["gap", event.symbol].append((event.of, event.reason, event.first_trade_id, event.last_trade_id))


async def follow(feed: Feed, found: Sequences) -> None:
    """Keep all events of a feed."""
    async for event in feed:
        kept(found, event)


def within(whole: list[Any], part: list[Any]) -> list[Any]:
    """The piece of ``whole`` from the first to the last element of ``part``."""
    return whole[whole.index(part[0]) : whole.index(part[-1]) + 1]


async def sequences(
    server: ExchangeServer, lake: Path, *, recorded_on: bool, pause: float = 0.0
) -> tuple[Sequences, Sequences]:
    """What a feed gave that was live all the time, and what one gave that began with the recording."""
    live: Sequences = defaultdict(list)
    found: Sequences = defaultdict(list)
    async with Feed(["*"], url=server.address) as always:
        following = asyncio.create_task(follow(always, live))
        await always.wait_ready(20)
        recording = Recording(server.address, lake, channels=("book", "trade"), depth=10)
        await until(lambda: recording.counts.get("checksums", {}).get("book", {}).get("ok", 0) > 150)
        if not recorded_on:
            await recording.end()
            await asyncio.sleep(pause)
        async with Feed(["*"], url=server.address, history=lake) as feed:
            reading = asyncio.create_task(follow(feed, found))
            await until(lambda: feed._history is not None and feed._history.live_now)
            here = {key: len(events) for key, events in found.items()}
            books = [key for key in live if key[0] == "book"]
            await until(lambda: all(len(found[key]) > here.get(key, 0) + 10 for key in books) and feed.connected)
            assert all(feed.book(symbol).in_sync for symbol in feed.selected_symbols)
            feed.stop()
            await reading
        if recorded_on:
            await recording.end()
        always.stop()
        await following
    return live, found


@pytest.mark.slow
def test_a_feed_goes_on_where_the_recording_is_without_hole_or_repeat(tmp_path: Path) -> None:
    """While a recorder runs: every message and trade from the first recorded one on, once, in order; no gap."""

    async def go() -> None:
        async with ExchangeServer(Options(pairs=3, rate=600, seed=1)) as server:
            live, found = await sequences(server, tmp_path / "lake", recorded_on=True)
        books = [key for key in found if key[0] == "book"]
        assert len(books) == 3
        for key in books:
            assert found[key] == within(live[key], found[key]), key
            assert {outcome for *_, outcome in found[key]} == {"ok"}
            assert len(found[key]) > 40
        for key in [key for key in found if key[0] == "trade"]:
            assert found[key] == list(range(found[key][0], found[key][-1] + 1)), key
        assert not [key for key in found if key[0] == "gap"], found

    run(go())


@pytest.mark.slow
def test_a_hole_between_the_recording_and_the_feed_is_said(tmp_path: Path) -> None:
    """The recorder ended before: each book has a gap event; trades are complete, or said to be missing."""

    async def go() -> None:
        async with ExchangeServer(Options(pairs=2, rate=400, seed=2)) as server:
            live, found = await sequences(server, tmp_path / "lake", recorded_on=False, pause=1.5)
        for symbol in {symbol for channel, symbol in found if channel == "book"}:
            gaps = found["gap", symbol]
            assert [reason for of, reason, *_ in gaps if of == "book"] == ["not connected"]
            events = found["book", symbol]
            assert len(set(events)) == len(events)
            assert [one for one in within(live["book", symbol], events) if one in set(events)] == events
            missing = {
                number
                for of, _, first, last in gaps
                if of == "trade" and first is not None
                for number in range(first, last + 1)
            }
            trades = found["trade", symbol]
            assert sorted({*trades, *missing}) == list(range(trades[0], trades[-1] + 1))
            assert len(trades) == len(set(trades))

    run(go())


def test_what_history_refuses(tmp_path: Path) -> None:
    """One sentence each."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    with pytest.raises(ConfigError, match="since: .* has no effect without history"):
        Feed(["BTC/USD"], since="2026-08-02")
    for since, sentence in (("soon", "'soon' is"), (time.time_ns() + 3600 * 10**9, r"\d+ is in the future")):
        with pytest.raises(ConfigError, match=f"krakpot.Feed: since: {sentence}"):
            Feed(["BTC/USD"], history=tmp_path / "lake", since=since)
    with pytest.raises(ConfigError, match="the lake has none of these symbols; it has BTC/USD, ETH/USD"):
        Feed(["SOL/*"], history=tmp_path / "lake")
    with pytest.raises(krakpot.StorageError):
        Feed(["BTC/USD"], history=os.fspath(tmp_path))
    with pytest.raises(FeedError, match="no batches"):
        Feed(["BTC/USD"], history=tmp_path / "lake").batches()

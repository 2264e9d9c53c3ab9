from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import frames
import krakpot
import lakes
from frames import SECOND
from krakpot.errors import ConfigError, FeedError
from krakpot.replay import rows
from replayed import PUBLIC, Plain, of, plain, played, world_of


def by_symbol(events: Iterable[Plain]) -> list[Plain]:
    """Sorted by what keeps its order in any case: channel and symbol."""
    return sorted(events, key=lambda event: event[:2])


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("by", ["recv", "event"])
def test_a_replay_gives_what_the_feed_gave(tmp_path: Path, seed: int, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Event by event: messages with all they say, what became of their books, gaps with their times and reasons.

    Also over many reconnects, and where rows come in small windows.
    """
    monkeypatch.setattr(rows, "ROWS", 500)
    world = world_of(tmp_path / "lake", seed, 30)
    for link, channels in ((world.public, PUBLIC), (world.level3, ("level3",))):
        live = of(link.made, *channels, "gap")  # type: ignore[attr-defined]  # of a taped link
        replayed = of(asyncio.run(played(tmp_path / "lake", channels=channels, by=by)), *channels, "gap")
        kinds = {event[0] for event in live}
        assert kinds == {*channels, "gap"}, "the world is awake"
        if by == "recv":
            assert replayed == live
        else:
            assert by_symbol(replayed) == by_symbol(live)
            times = [event[4] for event in replayed if event[0] in {"book", "trade", "level3"}]
            # A message comes late only behind another one of its symbol, or after its connection.
            assert sum(later < time for time, later in pairwise(times)) < len(times) / 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_a_replay_gives_what_the_feed_gave_in_long_trouble(tmp_path: Path, seed: int) -> None:
    """The same of 150 episodes."""
    world = world_of(tmp_path / "lake", seed, 150)
    for link, channels in ((world.public, PUBLIC), (world.level3, ("level3",))):
        live = of(link.made, *channels, "gap")  # type: ignore[attr-defined]  # of a taped link
        assert of(asyncio.run(played(tmp_path / "lake", channels=channels)), *channels, "gap") == live


def test_a_part_of_it_has_the_books_of_its_time(tmp_path: Path) -> None:
    """From a time on: the events from there, and the books as if all before had been seen; also after an hour."""
    begin = frames.START // frames.HOUR * frames.HOUR + frames.HOUR
    market = lakes.market(600, begin=begin - 120 * SECOND, step=2 * SECOND)
    lakes.make(tmp_path / "lake", market)
    start = begin + 600 * SECOND + 1

    async def books(since: int | None) -> list[tuple[Any, ...]]:
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD", since) as feed:
            book = feed.book("BTC/USD")
            return [
                (plain(event), book.in_sync and book.bids(), book.in_sync and book.checksum)
                async for event in feed
                if event.channel == "book" and event.ts_recv >= start
            ]

    whole, part = asyncio.run(books(None)), asyncio.run(books(start))
    assert len(part) > 50
    assert part == whole
    end = start + 60 * SECOND
    assert asyncio.run(played(tmp_path / "lake", "BTC/USD", start, end))[-1][3] < end


def test_callbacks_see_the_book_of_their_event(tmp_path: Path) -> None:
    """The book in a callback is the one after what came with the same read of the socket, never a later one."""
    lakes.make(tmp_path / "lake", lakes.market(300))

    async def seen(read: Callable[[krakpot.Replay], Any]) -> list[Any]:
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD") as feed:
            return list(await read(feed))

    async def by_callback(feed: krakpot.Replay) -> list[Any]:
        found: list[Any] = []
        book = feed.book("BTC/USD")
        feed.on("book", lambda event: found.append((event.message, event.checksum, book.checksum)), "BTC/USD")
        feed.on("book", lambda _: found.append("another symbol"), symbol="BTC/USD")
        await feed.run()
        return found

    async def by_iteration(feed: krakpot.Replay) -> list[Any]:
        book = feed.book("BTC/USD")
        return [(event.message, event.checksum, book.checksum) async for event in feed if event.channel == "book"]

    called, iterated = asyncio.run(seen(by_callback)), asyncio.run(seen(by_iteration))
    assert [one for one in called if one != "another symbol"] == iterated
    assert len(called) == 2 * len(iterated) > 200
    assert all(sent == held for _, sent, held in iterated)


def test_batches_are_the_rows_of_the_lake(tmp_path: Path) -> None:
    """All of them, in whatever pieces."""
    lakes.make(tmp_path / "lake", lakes.market(300))

    async def batches(every: float | None) -> list[dict[str, Any]]:
        async with krakpot.Replay(tmp_path / "lake", channels=["book", "trade"]) as feed:
            return [tables async for tables in feed.batches(every)]

    for every in (None, 1.0):
        found = asyncio.run(batches(every))
        assert len(found) > (1 if every else 0)
        for table in ("book", "trades"):
            taken = sum(pa.record_batch(tables[table]).num_rows for tables in found if table in tables)
            assert taken == lakes.rows(tmp_path / "lake", table).height > 0


def test_seek_pause_and_speed(tmp_path: Path) -> None:
    """Back and forth, with the books of that time; nothing while it is paused; not faster than it should be."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    middle = frames.START + 3 * SECOND

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD", channels=["book"]) as feed:
            times: list[int] = []
            async for event in feed:
                if event.channel != "book":
                    continue
                times.append(event.ts_recv)
                if len(times) == 10:
                    feed.seek(middle)
                if len(times) == 20:
                    assert feed.book("BTC/USD").in_sync
                    feed.seek(frames.START)
                if len(times) == 30:
                    break
            assert times[10] >= middle > times[9]
            assert times[20:] == times[:10]
            feed.pause()
            called: list[int] = []
            feed.on("book", lambda event: called.append(event.ts_recv))
            running = asyncio.create_task(feed.run())
            await asyncio.sleep(0.05)
            assert called == []
            feed.speed = 20.0
            began = asyncio.get_running_loop().time()
            feed.resume()
            await running
            # Some 5 s of recording remain.
            assert asyncio.get_running_loop().time() - began > (called[-1] - called[0]) / 1e9 / 20.0 * 0.9
            assert len(called) > 50

    asyncio.run(run())


def test_a_strategy_of_a_feed_runs_unchanged(tmp_path: Path) -> None:
    """All that a feed offers to its strategy, a replay offers under the same name."""
    only_live = {"connect_timeout"}
    offered = {name for name in dir(krakpot.Feed) if not name.startswith("_")}
    assert offered - only_live <= {name for name in dir(krakpot.Replay) if not name.startswith("_")}
    for name in offered:
        live, replay = getattr(krakpot.Feed, name), getattr(krakpot.Replay, name)
        if callable(live):
            assert inspect.signature(live).parameters.keys() == inspect.signature(replay).parameters.keys(), name
    lakes.make(tmp_path / "lake", lakes.market(300, level3=True))

    async def strategy(feed: krakpot.Feed | krakpot.Replay) -> list[Any]:
        await feed.wait_ready(timeout=60)
        assert feed.connected
        assert feed.system == "online"
        assert feed.selected_symbols == ["BTC/USD", "ETH/USD"]
        assert {one.state for one in feed.subscriptions()} == {"active"}
        found: list[Any] = []
        async for event in feed:
            if event.channel == "trade":
                bid = feed.book(event.symbol).best_bid
                found.append((event.trade_id, bid, feed.orders(event.symbol).best()))
            if len(found) == 20:
                feed.stop()
        assert feed.counts["messages"]["trade"] > 0
        return found

    async def run() -> list[Any]:
        async with krakpot.Replay(tmp_path / "lake", channels=["book", "trade", "level3"]) as feed:
            return await strategy(feed)

    found = asyncio.run(run())
    assert len(found) == 20
    assert all(isinstance(bid, Decimal) for _, bid, _ in found)
    assert {len(best) for *_, best in found} == {4}


def test_wrong_use_is_told(tmp_path: Path) -> None:
    """One sentence that names it and what exists."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    for arguments, options, words in [
        ((), {"channels": ["level3"]}, "the lake has no level3; it has book, trade"),
        ((), {"channels": ["books"]}, "allowed"),
        (("BTC/EUR",), {}, "no symbol 'BTC/EUR'"),
        ((), {"exclude": ["*"]}, "exclude leaves none of 2 symbols"),
        ((), {"by": "exchange"}, "'recv', 'event'"),
        ((), {"speed": 0}, "speed"),
        ((None, "2026-08-03", "2026-08-02"), {}, "later than the end"),
    ]:
        with pytest.raises(ConfigError, match=words):
            krakpot.Replay(tmp_path / "lake", *arguments, **options)  # type: ignore[arg-type]  # wrong on purpose

    async def use() -> None:
        replay = krakpot.Replay(tmp_path / "lake", channels=["book"])
        with pytest.raises(FeedError, match="not started"):
            replay.book("BTC/USD")
        with pytest.raises(FeedError, match="not started"):
            replay.seek(0)
        async with replay:
            with pytest.raises(ConfigError, match="no channel level3; it has book"):
                replay.orders("BTC/USD")
            with pytest.raises(ConfigError, match="did you mean BTC/USD"):
                replay.book("BTC/USDT")
            with pytest.raises(ConfigError, match="selected by this replay"):
                replay.on("book", print, symbol="DOGE/EUR")
            with pytest.raises(ConfigError, match="not a time"):
                replay.seek("soon")
        with pytest.raises(FeedError, match="closed"):
            await replay.start()

    asyncio.run(use())


def test_an_error_of_a_callback_ends_it(tmp_path: Path) -> None:
    """``run`` raises it, and nothing more is called."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    calls = []

    def fails(event: krakpot.Event) -> None:
        calls.append(event)
        raise ZeroDivisionError

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake") as feed:
            feed.on("book", fails)
            await feed.run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert len(calls) == 1

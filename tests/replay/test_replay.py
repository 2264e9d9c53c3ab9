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
from krakpot.lake import seal
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


def two_recordings(lake: Path, apart: int) -> tuple[int, int]:
    """Two recordings, ``apart`` ns between them; the times of the first message of each."""
    first = lakes.market(100)
    second = lakes.market(100, begin=first[-1][0] + apart)
    for market in (first, second):
        recorder = lakes.Recorder(lake, lakes.session_name(market[0][0]))
        recorder.take(market)
        recorder.end()
    seal.recover(lake)
    return first[0][0], second[0][0]


@pytest.mark.parametrize("start", [None, -20 * SECOND, "gap"])
def test_at_a_speed_it_goes_on_over_a_time_without_recording(tmp_path: Path, start: int | str | None) -> None:
    """As without one: to the end of the last recording; silence before the first message is not waited for."""
    lake = tmp_path / "lake"
    first, second = two_recordings(lake, 20 * SECOND)
    begin = None if start is None else second - SECOND if isinstance(start, str) else first + start

    async def run(speed: float | None) -> list[int]:
        async with krakpot.Replay(lake, channels=["book"], start=begin, speed=speed) as feed:
            return [event.ts_recv async for event in feed if event.channel == "book"]

    found = asyncio.run(run(100.0))
    assert found == asyncio.run(run(None))
    assert found[-1] > second
    assert (found[0] < second) == (start != "gap")


def test_ready_is_about_what_is_selected(tmp_path: Path) -> None:
    """Other pairs and channels of the recording are neither told nor waited for."""
    lakes.make(tmp_path / "lake", lakes.market(100))

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD", channels=["book"]) as feed:
            told: list[tuple[str, str]] = []
            feed.on("subscription", lambda event: told.append((event.of, event.symbol)))
            await feed.wait_ready(timeout=5)
            await feed.run()
            assert set(told) == {("book", "BTC/USD")}

    asyncio.run(run())


def test_ready_is_at_the_start(tmp_path: Path) -> None:
    """The book is that of the start, not of the checkpoint before it."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    start = frames.START + 4 * SECOND
    (row,) = krakpot.Lake(tmp_path / "lake").books("BTC/USD", at=[start - 1], depth=1).rows(named=True)

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD", channels=["book"], start=start) as feed:
            await feed.wait_ready()
            best = feed.book("BTC/USD").best("decimal")
            assert best == tuple(row[name] for name in ("bid_price_0", "bid_qty_0", "ask_price_0", "ask_qty_0"))
            assert feed.now is not None
            assert start - SECOND < feed.now < start
            async for event in feed:
                if event.channel == "book":
                    assert event.ts_recv >= start
                    break

    asyncio.run(run())


def test_a_strategy_of_a_feed_runs_unchanged(tmp_path: Path) -> None:
    """All that a feed offers to its strategy, a replay offers under the same name."""
    # People see a recording by `Lake.view`.
    only_live = {"connect_timeout", "view"}
    offered = {name for name in dir(krakpot.Feed) if not name.startswith("_")} - only_live
    assert offered <= {name for name in dir(krakpot.Replay) if not name.startswith("_")}
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
        ((), {"speed": 0}, "recorded seconds a second"),
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
        late = krakpot.Replay(tmp_path / "lake", start=frames.START + frames.DAY)
        with pytest.raises(ConfigError, match=r"nothing was recorded from start to end; recorded is \d{4}-.* UTC"):
            await late.start()

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


def test_a_callback_that_changes_the_replay_loses_nothing_of_its_read(tmp_path: Path) -> None:
    """Many events come with one read of a socket; all are given, whatever the callback of one of them does."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    whole = asyncio.run(played(tmp_path / "lake"))
    assert len([event for event in whole if event[0] == "book"]) > 20

    def pause(feed: krakpot.Replay) -> None:
        feed.pause()
        asyncio.get_running_loop().call_soon(feed.resume)

    def listen(feed: krakpot.Replay) -> None:
        feed.on("status", lambda _: None)

    def select(feed: krakpot.Replay) -> None:
        if "ETH/USD" in feed.selected_symbols:
            with pytest.raises(StopIteration):  # it waits for nothing
                feed.remove_symbols(["ETH/USD"]).send(None)

    async def called(act: Callable[[krakpot.Replay], None]) -> list[Plain]:
        found: list[Plain] = []

        def take(event: Any) -> None:
            found.append(plain(event))
            if len(found) % 7 == 1:
                act(feed)

        async with krakpot.Replay(tmp_path / "lake") as feed:
            for channel in (*feed.channels, "gap", "connection", "status", "subscription"):
                feed.on(channel, take)
            await feed.run()
        return found

    for act in (pause, listen):
        assert asyncio.run(called(act)) == whole
    messages, changed = of(whole, *PUBLIC), of(asyncio.run(called(select)), *PUBLIC)
    first = messages[0][3]
    assert changed == [event for event in messages if event[1] == "BTC/USD" or event[3] == first]
    assert len(changed) < len(messages)


@pytest.mark.parametrize("listens", [False, True])
def test_nothing_of_before_comes_after_seek(tmp_path: Path, listens: bool) -> None:
    """Also not the rest of what came with the same read of the socket."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    middle = frames.START + 3 * SECOND

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake") as feed:
            called: list[int] = []
            read: list[int] = []

            def take(event: Any) -> None:
                called.append(event.ts_recv)
                if len(called) == 1:
                    feed.seek(middle)

            if listens:
                feed.on("book", take)
            async for event in feed:
                if event.channel not in {"book", "trade", "ticker"}:
                    continue
                read.append(event.ts_recv)
                if not listens and len(read) == 1:
                    feed.seek(middle)
            assert len(read) > 50
            assert min(read[not listens :]) >= middle
            assert not listens or min(called[1:]) >= middle

    asyncio.run(run())


def test_batches_after_hours_without_messages_are_as_long_as_any(tmp_path: Path) -> None:
    """Where nothing comes for longer than ``every``, the next batch begins with the next message."""
    market = [(ts + (ts > frames.START + 3 * SECOND) * 3 * frames.HOUR, frame) for ts, frame in lakes.market(400)]
    lakes.make(tmp_path / "lake", market)

    async def spans(start: int | None) -> list[tuple[int, int]]:
        async with krakpot.Replay(tmp_path / "lake", start=start, channels=["book"]) as feed:
            batches = [pa.record_batch(tables["book"]) async for tables in feed.batches(1.0) if "book" in tables]
        times = [batch.column("ts_recv").cast(pa.int64()).to_pylist() for batch in batches]
        return [(one[0], one[-1]) for one in times]

    for start in (None, frames.START + 2 * SECOND, frames.START + 3 * frames.HOUR):
        found = asyncio.run(spans(start))
        assert len(found) > 4
        assert found[-1][1] > frames.START + 3 * frames.HOUR
        assert all(end - begin <= SECOND for begin, end in found), start


def test_a_book_of_a_killed_recorder_is_not_trusted_for_ever(tmp_path: Path) -> None:
    """After the last row of a recorder that was killed its books are out of sync; another recorder's are not."""
    killed = lakes.Recorder(tmp_path / "lake", lakes.session_name(frames.START))
    killed.take(frames.market(["BTC/USD"], begin=frames.START, step=SECOND // 50, count=300, seed=1))
    end = killed.session.now
    killed.die()
    other = lakes.Recorder(tmp_path / "lake", lakes.session_name(frames.START)[:-1] + "1")
    other.take(frames.market(["ETH/USD"], begin=frames.START, step=SECOND // 50, count=900, seed=2))
    other.end()
    later = lakes.Recorder(tmp_path / "lake", lakes.session_name(frames.START + 100 * SECOND))
    later.take(frames.market(["BTC/USD"], begin=frames.START + 100 * SECOND, step=SECOND // 50, count=300, seed=3))
    later.end()
    seal.recover(tmp_path / "lake")

    async def run() -> None:
        async with krakpot.Replay(tmp_path / "lake") as feed:
            book = feed.book("BTC/USD")
            seen: dict[bool, int] = {True: 0, False: 0}
            gaps = []
            async for event in feed:
                if event.channel == "book" and event.symbol == "ETH/USD" and event.ts_recv < frames.START + 17 * SECOND:
                    assert feed.book("ETH/USD").in_sync
                    if event.ts_recv > end or event.ts_recv < end - SECOND:
                        assert book.in_sync is (event.ts_recv < end)
                        seen[book.in_sync] += 1
                        if not book.in_sync:
                            assert book.state == "disconnected"
                            assert book.reason == "the recorder was killed"
                elif event.channel == "gap" and event.of == "book":
                    gaps.append((event.symbol, event.ts_from))
                elif event.channel == "book" and event.ts_recv > frames.START + 101 * SECOND:
                    assert event.symbol == "BTC/USD"
                    assert book.in_sync or event.ts_recv > later.session.now - SECOND
            assert seen[True] > 50
            assert seen[False] > 50
            assert gaps == [("BTC/USD", end)]

    asyncio.run(run())

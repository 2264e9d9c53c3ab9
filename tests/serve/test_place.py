"""A place in a lake: after any move and while it plays, what is shown is what the lake says."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

import polars as pl
import pytest

import krakpot
from frames import SECOND, START
from krakpot.replay.source import ReplaySource
from krakpot.serve import place as module
from krakpot.serve.facts import facts_of
from krakpot.serve.place import Place
from krakpot.serve.server import ViewServer
from recording import Recording
from replayed import world_of
from streams import Book, Client, Clock, Gap, Orders, Trades
from viewing import DEPTH, SYMBOL, same, shown_at, truth
from waiting import run


def test_a_lake_at_random_times(whole_lake: Path) -> None:
    """After each seek, forwards and backwards, every level is that of the lake, of both pairs."""

    async def main() -> None:
        dice = random.Random(7)
        async with ViewServer(whole_lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            await client.done("subscribe", symbols=[SYMBOL, "ETH/USD"], depth=DEPTH)
            known = 0
            for _ in range(25):
                at = START + dice.randrange(60 * SECOND) // 1000 * 1000
                await client.done("seek", at_us=at // 1000)
                for symbol in (SYMBOL, "ETH/USD"):
                    state = await client.until(Book)
                    assert state.number == client.number(symbol)
                    same(state, truth(whole_lake, symbol, at))
                    assert state.not_continued
                    assert state.ts_recv <= at
                    known += state.in_sync
            assert known > 40

    run(main())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lake_with_trouble(tmp_path: Path, seed: int) -> None:
    """Also where books were wrong, lost and repaired, the stream knows what the lake knows, and says the gaps."""
    lake = tmp_path / "lake"
    world_of(lake, seed, 25)
    spans = krakpot.Lake(lake).coverage().filter(channel="book")
    assert spans.filter(pl.col("reason") != "stopped").height > 3, "there was trouble"
    symbol = spans["symbol"].value_counts(sort=True)["symbol"][0]
    begin, end = (int(spans[name].cast(pl.Int64).sort()[at]) for name, at in (("ts_from", 0), ("ts_to", -1)))

    async def main() -> None:
        dice = random.Random(seed)
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            await client.done("subscribe", symbols=[symbol], depth=DEPTH)
            out = 0
            for _ in range(40):
                at = dice.randrange(begin, end) // 1000 * 1000
                state = await shown_at(client, symbol, at)
                same(state, truth(lake, symbol, at))
                out += not state.in_sync
            assert out, "some times lie in a gap"
            await client.done("seek", at_us=begin // 1000)
            await client.done("speed", speed=1000)
            await client.done("resume")
            client.heard.clear()
            await client.until(Clock, lambda clock: clock.at_end)
            gaps = [one for one in client.heard if isinstance(one, Gap)]
            assert gaps
            assert all(gap.reason for gap in gaps)
            assert any(gap.until == 0 for gap in gaps), "it is said when it begins"
            assert any(gap.until for gap in gaps), "and when it is over"

    run(main())


def test_it_plays(whole_lake: Path) -> None:
    """States follow each other in time, none is older than the one before, and every message is counted once."""

    async def main() -> None:
        async with ViewServer(whole_lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("speed", speed=100)
            await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH)
            await client.until(Clock, lambda clock: clock.at_end)
            number = client.number(SYMBOL)
            states = [one for one in client.heard if isinstance(one, Book)]
            times = [state.ts_recv for state in states]
            assert len(times) > 5
            assert times == sorted(times)
            assert [state.not_continued for state in states] == [True] + [False] * (len(states) - 1)
            rows = krakpot.Lake(whole_lake).book(SYMBOL).collect()
            messages = rows.select(pl.struct("session", "message").n_unique()).item()
            first = rows.filter(pl.col("ts_recv").cast(pl.Int64) <= times[0])["message"].n_unique()
            assert first + sum(state.messages for state in states) == messages
            same(states[-1], truth(whole_lake, SYMBOL, times[-1]))
            trades = [row for one in client.heard if isinstance(one, Trades) for row in one.rows]
            wanted = krakpot.Lake(whole_lake).trades(SYMBOL, numbers="float").collect()
            columns = (pl.col("ts_event", "ts_recv").cast(pl.Int64), "trade_id", "price", "qty", "side", "ord_type")
            known = wanted.select(columns).iter_rows()
            words = {"buy": 0, "sell": 1, "limit": 0, "market": 1}
            assert trades == [(*row[:5], words[row[5]], words[row[6]]) for row in known]
            assert all(one.number == number for one in client.heard if isinstance(one, (Book, Trades)))

    run(main())


def test_orders_of_a_lake(whole_lake: Path) -> None:
    """The queues at a time are those of the lake, in order; the same order has the same number in all states."""

    async def main() -> None:
        async with ViewServer(whole_lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH, orders=True)
            numbers: dict[str, int] = {}
            seen = 0
            for second in (5, 20, 40, 19):
                at = START + second * SECOND
                await client.done("seek", at_us=at // 1000)
                state = await client.until(Orders)
                rows = krakpot.Lake(whole_lake).orders_at(SYMBOL, at, depth=DEPTH).orders.to_dicts()
                for side, orders in (("bid", state.bids), ("ask", state.asks)):
                    mine = [row for row in rows if row["side"] == side]
                    assert [order[:2] for order in orders] == [(float(row["price"]), float(row["qty"])) for row in mine]
                    for order, row in zip(orders, mine, strict=True):
                        assert numbers.setdefault(row["order_id"], order[3]) == order[3]
                        seen += 1
            assert seen > 10
            assert len(set(numbers.values())) == len(numbers)

    run(main())


def test_two_clients_at_two_places(whole_lake: Path) -> None:
    """Each has its own time: a seek, a pause and a speed of one are not the other's."""

    async def main() -> None:
        async with (
            ViewServer(whole_lake, port=0) as server,
            Client(server.stream_address) as one,
            Client(server.stream_address) as two,
        ):
            for client in (one, two):
                await client.done("pause")
                await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH)
            early, late = START + 10 * SECOND, START + 50 * SECOND
            same(await shown_at(one, SYMBOL, early), truth(whole_lake, SYMBOL, early))
            same(await shown_at(two, SYMBOL, late), truth(whole_lake, SYMBOL, late))
            await two.done("speed", speed=1000)
            await two.done("resume")
            end = await two.until(Clock, lambda clock: clock.at_end)
            assert not end.paused
            clock = await one.until(Clock)
            assert (clock.shown, clock.paused, clock.speed) == (early, True, 1.0)
            same(await shown_at(one, SYMBOL, late), truth(whole_lake, SYMBOL, late))

    run(main())


def test_another_pair_leaves_the_first_one_alone(whole_lake: Path) -> None:
    """A second subscription rebuilds its book, and the first pair goes on: its states continue, nothing is repeated."""

    async def main() -> None:
        async with ViewServer(whole_lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("speed", speed=20)
            await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH)
            await client.until(Clock, lambda clock: clock.shown > START + 10 * SECOND)
            client.heard.clear()
            await client.done("subscribe", symbols=["ETH/USD"], depth=DEPTH)
            await client.until(Clock, lambda clock: clock.at_end)
            mine = [
                one for one in client.heard if isinstance(one, (Book, Trades)) and one.number == client.number(SYMBOL)
            ]
            assert mine
            assert not any(one.not_continued for one in mine)
            other = [one for one in client.heard if isinstance(one, Book) and one.number == client.number("ETH/USD")]
            assert other[0].not_continued
            same(other[-1], truth(whole_lake, "ETH/USD", other[-1].ts_recv))
            ids = [row[2] for one in mine if isinstance(one, Trades) for row in one.rows]
            assert len(ids) == len(set(ids))

    run(main())


def test_a_recording_is_followed(tmp_path: Path) -> None:
    """A lake that is being recorded is shown at its end: states go on as they are recorded, and the past is there."""

    async def main() -> None:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=300)) as exchange:
            lake = tmp_path / "lake"
            recording = Recording(exchange.address, lake, symbols=("*",))
            try:
                while not (recording.live(2) and recording.counts["checksums"]["book"]["ok"] > 100):
                    await asyncio.sleep(0.05)
                async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
                    assert client.hello["source"] == "lake"
                    await client.done("subscribe", symbols=[SYMBOL], depth=10)
                    first = await client.until(Book, lambda book: book.in_sync)
                    later = await client.until(Book, lambda book: book.ts_recv > first.ts_recv + SECOND)
                    assert not later.not_continued
                    clock = await client.until(Clock)
                    assert clock.at_end
                    assert clock.now - clock.shown < 30 * SECOND
                    assert clock.connected
                    downs = [one for one in client.heard if isinstance(one, dict) and one.get("connection") == "down"]
                    assert not downs
                    await client.done("pause")
                    await client.done("seek", at_us=first.ts_recv // 1000 + 1)
                    again = await client.until(Book, lambda book: book.not_continued)
                    assert not (await client.until(Clock)).at_end
                    assert again.ts_recv == first.ts_recv
                    assert (again.bids, again.asks) == (first.bids, first.asks)
                    end = clock.now // 1000 + 10**9
                    await client.done("resume")
                    await client.done("seek", at_us=end)
                    newest = await client.until(Book, lambda book: book.not_continued and book.in_sync)
                    assert newest.ts_recv > later.ts_recv
                    await client.until(Book, lambda book: book.ts_recv > newest.ts_recv)
            finally:
                await recording.end()

    run(main())


def test_a_client_that_leaves_while_it_is_played(whole_lake: Path) -> None:
    """Its place is closed once the moment is over, and never plays again."""
    facts = facts_of(krakpot.Lake(whole_lake))
    assert facts.begin is not None
    assert facts.end is not None
    for wait in (0.0, 0.002, 0.01, 0.03):
        place = Place(krakpot.Lake(whole_lake), facts.begin, facts.end, follow=False)
        place.want({"book": frozenset({SYMBOL})})
        place.seek(facts.end)
        player = threading.Thread(target=place.advance)
        player.start()
        time.sleep(wait)
        place.close()
        player.join()
        place.advance()
        assert not place.ready
        assert not place.error


def test_an_ended_recording_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch, whole_lake: Path) -> None:
    """Also by a client that followed it."""
    looks = 0
    real = ReplaySource.go_on

    def counted(source: ReplaySource) -> bool:
        nonlocal looks
        looks += 1
        return real(source)

    monkeypatch.setattr(ReplaySource, "go_on", counted)
    monkeypatch.setattr(module, "LOOK_ENDED", 1e9)
    facts = facts_of(krakpot.Lake(whole_lake))
    assert facts.begin is not None
    assert facts.end is not None
    place = Place(krakpot.Lake(whole_lake), facts.begin, facts.end, follow=True)
    place.want({"book": frozenset({SYMBOL})})
    while not place.at_end:
        place.advance()
    for _ in range(10):
        time.sleep(2 * module.LOOK)
        place.advance()
    assert looks == 1
    place.close()

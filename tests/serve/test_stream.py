"""What the stream says is what is true: of a lake at any time, of the exchange now."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import krakpot
import lakes
from frames import SECOND, START
from krakpot.lake import seal
from krakpot.serve.server import ViewServer
from replayed import world_of
from streams import Book, Client, Clock, Gap, Level, Orders, Overview, Trades
from waiting import run

SYMBOL = "BTC/USD"
DEPTH = 10


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake without trouble, of a minute; it ends a second after its last message."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(3000, level3=True))
    recorder.session.tick(recorder.session.now + SECOND)
    recorder.end()
    seal.recover(tmp_path / "lake")
    return tmp_path / "lake"


def levels(row: dict[str, Any], side: str, depth: int = DEPTH) -> list[Level]:
    """The levels of a row of ``Lake.books``."""
    found = [(row[f"{side}_price_{i}"], row[f"{side}_qty_{i}"]) for i in range(depth)]
    return [level for level in found if level[0] is not None]


def truth(lake: Path, symbol: str, at: int, depth: int = DEPTH) -> dict[str, Any]:
    """The book at a time, as the lake has it."""
    times = pl.Series("ts", [at]).cast(pl.Datetime("ns", "UTC"))
    return krakpot.Lake(lake).books(symbol, at=times, depth=depth, numbers="float").row(0, named=True)


def same(state: Book, row: dict[str, Any], depth: int = DEPTH) -> None:
    """A state and the lake's book are the same, level by level, or neither knows one."""
    assert state.in_sync == (row["reason"] is None), row["reason"]
    assert (state.bids, state.asks) == (levels(row, "bid", depth), levels(row, "ask", depth))
    if state.in_sync:
        assert state.checksum == row["checksum"]


async def shown_at(client: Client, symbol: str, at: int) -> Book:
    """The state of a pair at a time, after going there."""
    await client.done("seek", at_us=at // 1000)
    return await client.until(Book, lambda book: book.not_continued and book.number == client.number(symbol))


def test_a_lake_at_random_times(lake: Path) -> None:
    """After each seek, forwards and backwards, every level is that of the lake, of both pairs."""

    async def main() -> None:
        dice = random.Random(7)
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            await client.done("subscribe", symbols=[SYMBOL, "ETH/USD"], depth=DEPTH)
            known = 0
            for _ in range(25):
                at = START + dice.randrange(60 * SECOND) // 1000 * 1000
                await client.done("seek", at_us=at // 1000)
                for symbol in (SYMBOL, "ETH/USD"):
                    state = await client.until(Book)
                    assert state.number == client.number(symbol)
                    same(state, truth(lake, symbol, at))
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


def test_it_plays(lake: Path) -> None:
    """States follow each other in time, none is older than the one before, and every message is counted once."""

    async def main() -> None:
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("speed", speed=100)
            await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH)
            await client.until(Clock, lambda clock: clock.at_end)
            number = client.number(SYMBOL)
            states = [one for one in client.heard if isinstance(one, Book)]
            times = [state.ts_recv for state in states]
            assert len(times) > 5
            assert times == sorted(times)
            assert [state.not_continued for state in states] == [True] + [False] * (len(states) - 1)
            rows = krakpot.Lake(lake).book(SYMBOL).collect()
            messages = rows.select(pl.struct("session", "message").n_unique()).item()
            first = rows.filter(pl.col("ts_recv").cast(pl.Int64) <= times[0])["message"].n_unique()
            assert first + sum(state.messages for state in states) == messages
            same(states[-1], truth(lake, SYMBOL, times[-1]))
            trades = [row for one in client.heard if isinstance(one, Trades) for row in one.rows]
            wanted = krakpot.Lake(lake).trades(SYMBOL, numbers="float").collect()
            columns = (pl.col("ts_event", "ts_recv").cast(pl.Int64), "trade_id", "price", "qty", "side", "ord_type")
            known = wanted.select(columns).iter_rows()
            words = {"buy": 0, "sell": 1, "limit": 0, "market": 1}
            assert trades == [(*row[:5], words[row[5]], words[row[6]]) for row in known]
            assert all(one.number == number for one in client.heard if isinstance(one, (Book, Trades)))

    run(main())


def test_orders_of_a_lake(lake: Path) -> None:
    """The queues at a time are those of the lake, in order; the same order has the same number in all states."""

    async def main() -> None:
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH, orders=True)
            numbers: dict[str, int] = {}
            seen = 0
            for second in (5, 20, 40, 19):
                at = START + second * SECOND
                await client.done("seek", at_us=at // 1000)
                state = await client.until(Orders)
                rows = krakpot.Lake(lake).orders_at(SYMBOL, at, depth=DEPTH).orders.to_dicts()
                for side, orders in (("bid", state.bids), ("ask", state.asks)):
                    mine = [row for row in rows if row["side"] == side]
                    assert [order[:2] for order in orders] == [(float(row["price"]), float(row["qty"])) for row in mine]
                    for order, row in zip(orders, mine, strict=True):
                        assert numbers.setdefault(row["order_id"], order[3]) == order[3]
                        seen += 1
            assert seen > 10
            assert len(set(numbers.values())) == len(numbers)

    run(main())


def test_two_clients_at_two_places(lake: Path) -> None:
    """Each has its own time: a seek, a pause and a speed of one are not the other's."""

    async def main() -> None:
        async with (
            ViewServer(lake, port=0) as server,
            Client(server.stream_address) as one,
            Client(server.stream_address) as two,
        ):
            for client in (one, two):
                await client.done("pause")
                await client.done("subscribe", symbols=[SYMBOL], depth=DEPTH)
            early, late = START + 10 * SECOND, START + 50 * SECOND
            same(await shown_at(one, SYMBOL, early), truth(lake, SYMBOL, early))
            same(await shown_at(two, SYMBOL, late), truth(lake, SYMBOL, late))
            await two.done("speed", speed=1000)
            await two.done("resume")
            end = await two.until(Clock, lambda clock: clock.at_end)
            assert not end.paused
            clock = await one.until(Clock)
            assert (clock.shown, clock.paused, clock.speed) == (early, True, 1.0)
            same(await shown_at(one, SYMBOL, late), truth(lake, SYMBOL, late))

    run(main())


def test_another_pair_leaves_the_first_one_alone(lake: Path) -> None:
    """A second subscription rebuilds its book, and the first pair goes on: its states continue, nothing is repeated."""

    async def main() -> None:
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
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
            same(other[-1], truth(lake, "ETH/USD", other[-1].ts_recv))
            ids = [row[2] for one in mine if isinstance(one, Trades) for row in one.rows]
            assert len(ids) == len(set(ids))

    run(main())


def test_overview_of_a_lake(lake: Path) -> None:
    """A line for each pair: best prices, last price, imbalance, checksums."""

    async def main() -> None:
        async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
            await client.done("pause")
            at = START + 30 * SECOND
            await client.done("seek", at_us=at // 1000)
            await client.done("overview", on=True)
            found = await client.until(Overview)
            assert found.ts == at
            assert sorted(found.rows) == [0, 1]
            for symbol in (SYMBOL, "ETH/USD"):
                row, book = found.rows[client.number(symbol)], truth(lake, symbol, at)
                assert (row["bid"], row["ask"]) == (book["bid_price_0"], book["ask_price_0"])
                assert row["in_sync"] == 1
                assert row["right"] > 10
                assert row["wrong"] == 0
                bids, asks = (sum(qty for _, qty in levels(book, side)[:5]) for side in ("bid", "ask"))
                assert row["imbalance"] == pytest.approx((bids - asks) / (bids + asks))
                last = krakpot.Lake(lake).trades(symbol, end=at + 1, numbers="float").collect()["price"][-1]
                assert row["last"] == last
            await client.done("overview", on=False)

    run(main())


def test_live_is_the_exchange(tmp_path: Path) -> None:
    """Against the built-in exchange the book that is shown becomes the exchange's book, once it stands still."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=3, rate=300)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade", "ticker"], depth=25, url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address) as client,
        ):
            assert client.hello["source"] == "live"
            assert [one["depth"] for one in client.hello["symbols"]] == [25, 25, 25]
            await client.done("subscribe", symbols=[SYMBOL], depth=25)
            await client.until(Book, lambda book: book.in_sync)
            trades = await client.until(Trades)
            assert trades.rows
            await client.done("overview")
            overview = await client.until(Overview)
            assert len(overview.rows) == 3
            clock = await client.until(Clock, lambda clock: clock.connected)
            assert clock.live
            while True:
                state = await client.until(Book)
                book = feed.book(SYMBOL)
                if book.in_sync and book.checksum == state.checksum:
                    break
            assert state.bids == [(float(price), float(qty)) for price, qty in book.bids()]
            assert state.asks == [(float(price), float(qty)) for price, qty in book.asks()]
            for method, more in (("seek", {"at_us": 1}), ("pause", {}), ("resume", {}), ("speed", {"speed": 2})):
                answer = await client.ask(method, **more)
                assert not answer["success"]
                assert "live" in answer["error"]

    run(main())


def test_live_says_what_is_missed() -> None:
    """A wrong checksum and a lost connection are gaps; while it lasts there are no levels."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=2, rate=300)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address) as client,
        ):
            await client.done("subscribe", symbols=[SYMBOL], depth=10)
            await client.until(Book, lambda book: book.in_sync)
            exchange.exchange.inject(f"drop=once,channel=book,symbol={SYMBOL}")
            lost = await client.until(Book, lambda book: not book.in_sync)
            assert (lost.bids, lost.asks) == ([], [])
            begun = await client.until(Gap, lambda gap: gap.channel == 0)
            assert (begun.until, begun.reason) == (0, "checksum mismatch")
            over = await client.until(Gap, lambda gap: gap.channel == 0)
            assert over.until > over.since > 0
            again = [one for one in client.heard if isinstance(one, Book)][-1]
            assert again.in_sync
            assert again.not_continued

    run(main())

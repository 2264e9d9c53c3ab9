"""The live feed against a scripted exchange and the built-in one: what a strategy sees, and what it never sees."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import krakpot
from feeds import first
from krakpot import BookEvent, Feed, SubscriptionEvent, TradeEvent
from krakpot.errors import (
    ChecksumMismatch,
    ConfigError,
    FeedError,
    NoBook,
)
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.stream.events import Event
from scripted import Exchange, until
from waiting import run


def sides(levels: list[tuple[Decimal, Decimal]]) -> list[tuple[str, str]]:
    """Levels as text."""
    return [(str(price), str(qty)) for price, qty in levels]


def test_a_strategy_sees_books_trades_and_states() -> None:
    """Iteration: every message once, in order, exact; the book that the handle shows is the exchange's."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD", "ETH/*"], url=exchange.url) as feed:
            assert sorted(feed.selected_symbols) == ["BTC/USD", "ETH/USD"]
            seen = await first(feed, 400)
            books = [event for event in seen if isinstance(event, BookEvent) and event.symbol == "BTC/USD"]
            assert books[0].kind == "snapshot"
            assert len(books) > 50
            assert [event.message for event in books] == sorted({event.message for event in books})
            assert {event.outcome for event in books} == {"ok"}
            sent = exchange.sent("book", "BTC/USD")
            assert [event.checksum for event in books] == [int(item["checksum"]) for item in sent[: len(books)]]
            entries = [entry for event in books for entry in event.entries()]
            wire = [
                (side, Decimal(level["price"]), Decimal(level["qty"]))
                for item in sent[: len(books)]
                for side in ("bid", "ask")
                for level in item[f"{side}s"]
            ]
            assert sorted(entries) == sorted(wire)
            trades = [str(event.price) for event in seen if isinstance(event, TradeEvent) and event.symbol == "ETH/USD"]
            assert trades == [item["price"] for item in exchange.sent("trade", "ETH/USD")][: len(trades)]
            states = {(s.symbol, s.of, s.state) for s in seen if isinstance(s, SubscriptionEvent)}
            assert {("BTC/USD", "book", "active"), ("ETH/USD", "trade", "active")} <= states
            exchange.quiet |= set(exchange.markets)
            market = exchange.markets["BTC/USD"]
            book = feed.book("BTC/USD")
            await until(lambda: book.checksum == market.book.checksum)
            assert sides(book.bids()) == market.book.levels("bid")
            assert sides(book.asks(2)) == market.book.levels("ask")[:2]
            assert book.best_bid is not None
            assert book.best_ask is not None
            assert book.spread == book.best_ask - book.best_bid
            assert book.mid == (book.best_ask + book.best_bid) / 2
            assert book.bids(1, numbers="int")[0][0] == int(book.best_bid * 10)
            assert book.best("float")[0] == float(book.best_bid)
            assert pa.record_batch(book.to_arrow()).num_rows == len(book.bids()) + len(book.asks())
            assert feed.book("BTC/USD") is book
            assert feed.idle_seconds < 10
            assert (feed.connected, feed.system) == (True, "online")
            assert str(book.best_bid) in repr(book)

    run(test())


def test_callbacks_run_when_the_book_is_already_there() -> None:
    """Of a channel, or of one symbol; within a callback the handle is at the event's message or beyond it."""

    async def test() -> None:
        async with Exchange() as exchange:
            feed = Feed(["*"], url=exchange.url)
            seen: list[Event] = []
            wrong: list[str] = []
            ups: list[bool] = []

            def changed(event: BookEvent) -> None:
                seen.append(event)
                book = feed.book("ADA/EUR")
                if not book.in_sync or book.checksum != event.checksum:
                    wrong.append(f"{event}: {book}")

            feed.on("book", changed, "ADA/EUR")
            feed.on("connection", lambda event: ups.append(event.up))
            async with feed:
                running = asyncio.create_task(feed.run())
                await until(lambda: len(seen) > 50)
                feed.stop()
                await running
                assert {getattr(event, "symbol", None) for event in seen} == {"ADA/EUR"}
                # More than one message of a symbol in a read puts the handle ahead of the first of them.
                assert len(wrong) < len(seen) / 10
                assert ups == [True]

    run(test())


def test_a_bad_book_gives_no_price() -> None:
    """A wrong checksum: the event says so, the handle refuses with the reason, the repair comes underneath, other
    symbols never notice.
    """

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD", "ETH/USD"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            exchange.ack_delay = 0.3
            exchange.wrong.add("BTC/USD")
            bad: list[str] = []
            refused = None
            async for event in feed:
                assert feed.book("ETH/USD").in_sync
                if isinstance(event, BookEvent) and event.outcome != "ok":
                    bad.append(event.outcome)
                    assert event.symbol == "BTC/USD"
                    if refused is None:
                        with pytest.raises(
                            ChecksumMismatch, match="BTC/USD has no book in sync.* is resyncing \\(checksum mismatch: "
                        ) as e:
                            _ = feed.book("BTC/USD").best_bid
                        refused = e.value
                        assert repr(feed.book("BTC/USD")) == "LiveBook(BTC/USD, resyncing)"
                        for ask in ("bids", "asks", "copy", "mid_and_spread", "best"):
                            with pytest.raises(NoBook):
                                getattr(feed.book("BTC/USD"), ask)()
                told = isinstance(event, SubscriptionEvent) and (event.symbol, event.of, event.state)
                if bad and told == ("BTC/USD", "book", "active"):
                    break
            assert bad[0] == "mismatch"
            assert refused is not None
            assert (refused.symbol, refused.state) == ("BTC/USD", "resyncing")
            assert feed.book("BTC/USD").best_bid is not None
            assert feed.counts["checksums"]["book"]["bad"] == 1

    run(test())


@pytest.mark.slow
def test_a_cut_connection_is_taken_up_again() -> None:
    """The strategy hears of it, has no book meanwhile, and the same handles live again; trades are not told twice."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], url=exchange.url) as feed:
            book = feed.book("BTC/USD")
            seen: list[Event] = []
            async for event in feed:
                seen.append(event)
                if len(seen) == 100:
                    exchange.cut()
                if event.channel == "connection" and len(seen) > 100:
                    assert isinstance(event, krakpot.ConnectionEvent)
                    if not event.up:
                        assert event.reason
                        with pytest.raises(NoBook, match="is disconnected"):
                            _ = book.best_bid
                if isinstance(event, BookEvent) and event.kind == "snapshot" and len(seen) > 100:
                    break
            assert [event.up for event in seen if isinstance(event, krakpot.ConnectionEvent)] == [False, True]
            assert book.in_sync
            ids = [event.trade_id for event in seen if isinstance(event, TradeEvent)]
            assert len(ids) == len(set(ids)) > 5
            assert feed.counts["gaps"] >= 1
            assert len(exchange.clients) == 2

    run(test())


@pytest.mark.slow
def test_batches_are_the_tables_of_a_lake() -> None:
    """Arrow by table, as soon as something came or every so often; over a cut nothing is lost."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], url=exchange.url) as feed:
            rows: dict[str, list[pl.DataFrame]] = {}
            taken = 0
            async for batch in feed.batches(every=0.05):
                taken += 1
                for table, part in batch.items():
                    rows.setdefault(table, []).append(pl.DataFrame(pa.record_batch(part)))
                if taken == 20:
                    exchange.cut()
                if taken > 20 and len(rows.get("book", [])) > 40:
                    break
            exchange.quiet |= set(exchange.markets)
            book = pl.concat(rows["book"])
            assert book["session"].n_unique() == 2
            sent = [int(item["checksum"]) for client in exchange.clients for item in _books(client)]
            messages = book.unique(["session", "message"], maintain_order=True)
            first_session = messages.filter(pl.col("session") == messages["session"][0])
            told = first_session["checksum"].to_list()
            assert told == sent[: len(told)]
            assert len(told) > 10
            assert "disconnect" in pl.concat(rows["ledger"])["kind"].to_list()
            assert feed.waiting == 0

    run(test())


def _books(client: Any) -> list[dict[str, Any]]:
    found = [json.loads(frame) for frame in client.sent if frame.startswith(b'{"channel":"book"')]
    return [item for message in found for item in message["data"]]


def test_one_way_of_reading_at_a_time() -> None:
    """What would take another's rows is refused; when a reader has gone the next may come."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], channels=["book"], url=exchange.url) as feed:
            await first(feed, 3)
            async for _ in feed.batches():
                with pytest.raises(FeedError, match="already read by batches"):
                    await first(feed, 1)
                with pytest.raises(FeedError, match="already read by batches"):
                    feed.on("book", print)
                break
            async for _ in feed:
                with pytest.raises(FeedError, match="already read by iteration"):
                    await anext(feed.batches())
                break
            feed.on("book", lambda event: None)
            with pytest.raises(FeedError, match="has callbacks"):
                await anext(feed.batches())
            with pytest.raises(
                ConfigError, match="on: channel: 'trade' is not allowed; allowed is one of book, status, sub"
            ):
                feed.on("trade", print)

            async def later(_event: object) -> None: ...

            with pytest.raises(ConfigError, match="on: callback: .*a plain function"):
                feed.on("book", later)

    run(test())


def test_a_feed_shows_what_it_is_for() -> None:
    """``dir`` has what the page documents, and nothing of the inside."""
    public = {name for name in dir(Feed(["*"])) if not name.startswith("_")}
    assert public == {
        "add_symbols", "batches", "book", "close", "connected", "counts", "error", "idle_seconds", "on", "orders",
        "recording", "remove_symbols", "run", "selected_symbols", "skipped", "start", "stop", "subscriptions", "view",
        "system", "wait_ready", "waiting",
    }  # fmt: skip
    page = (Path(__file__).parents[2] / "docs/live.md").read_text()
    assert sorted(name for name in public if f".{name}" not in page and f"`{name}" not in page) == []
    assert all((getattr(Feed, name).__doc__ or "").strip() for name in public)
    assert repr(Feed(["BTC/USD"], channels=["book"])) == "Feed(book: BTC/USD)"


@pytest.mark.slow
def test_orders_are_live_with_their_places() -> None:
    """Level 3 as events and as a handle: what an event adds has its place in the queue at that moment."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=2, rate=800)) as server:
            symbol = server.exchange.symbols[0]
            key: Any = {"api_key": server.key.name, "api_secret": server.key.secret_text}
            feed = Feed([symbol], channels=["level3"], url=server.address, rest_url=server.rest_address, **key)
            places: list[tuple[int, int]] = []

            def changed(event: krakpot.Level3Event) -> None:
                orders = feed.orders(symbol)
                if event.outcome != "ok" or not orders.in_sync:
                    return
                for side, kind, order_id, price, qty, _ in event.orders():
                    found = orders.order(order_id) if kind == "add" else None
                    if found is not None:
                        queue = orders.queue(found.side, found.price)
                        place = [one for one, *_ in queue].index(order_id)
                        ahead = sum((ahead for _, ahead, _ in queue[:place]), Decimal(0))
                        assert (found.side, found.price, found.qty) == (side, price, qty)
                        assert (found.orders_ahead, found.qty_ahead) == (place, ahead)
                        places.append((len(queue), place))
                if len(places) > 60:
                    feed.stop()

            feed.on("level3", changed, symbol)
            async with feed:
                with pytest.raises(ConfigError, match="this feed has no channel book"):
                    feed.book(symbol)
                with pytest.raises(ConfigError, match=f"'{server.exchange.symbols[1]}' is not selected"):
                    feed.orders(server.exchange.symbols[1])
                orders = feed.orders(symbol)
                assert feed.orders(symbol) is orders
                await feed.run()
            assert any(place for _, place in places), "some order had others ahead of it"
            async with Feed(
                [symbol], channels=["level3"], url=server.address, rest_url=server.rest_address, **key
            ) as feed:
                await feed.wait_ready(30)
                orders = feed.orders(symbol)
                assert orders.in_sync
                await feed.remove_symbols([symbol])
                assert (orders.in_sync, orders.state) == (False, "unsubscribing")
                await until(lambda: orders.state == "unknown")

    run(test())


def test_missed_trades_are_an_event() -> None:
    """The ids that are missing after a reconnect, first and last, and how long nothing was known."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["BTC/USD"], channels=["trade"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            gaps: list[krakpot.GapEvent] = []
            trades: list[int] = []
            feed.on("gap", gaps.append, "BTC/USD")
            feed.on("trade", lambda event: trades.append(event.trade_id))
            await until(lambda: trades)
            market = exchange.markets["BTC/USD"]
            exchange.quiet.add("BTC/USD")
            await asyncio.sleep(0.1)
            last = trades[-1]
            # More than a snapshot keeps happen while nobody listens.
            exchange.cut()
            for _ in range(80):
                market.trade()
            await until(lambda: gaps)
            (gap,) = gaps
            assert (gap.of, gap.symbol, gap.channel) == ("trade", "BTC/USD", "gap")
            assert gap.first_trade_id == last + 1
            assert gap.last_trade_id == trades[trades.index(last) + 1] - 1
            assert gap.ts_from is not None
            assert gap.ts_from < gap.ts_to

    run(test())

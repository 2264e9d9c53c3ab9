"""The live feed against a scripted exchange and the built-in one: what a strategy sees, and what it never sees."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import krakpot
from krakpot import BookEvent, Feed, SubscriptionEvent, TradeEvent
from krakpot.errors import (
    ChecksumMismatch,
    ConfigError,
    ConnectionLost,
    FeedError,
    NoBook,
    SlowReader,
    StorageError,
    SubscriptionRejected,
)
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.stream.events import Event
from krakpot.stream.stream import ALREADY_STARTED
from scripted import Exchange, Market, until
from waiting import run


async def first(feed: Feed, number: int) -> list[Event]:
    """So many events."""
    found = []
    async for event in feed:
        found.append(event)
        if len(found) == number:
            break
    return found


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
                            ChecksumMismatch, match="BTC/USD has no book in sync.* is resyncing \\(checksum mismatch\\)"
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


def test_an_error_of_a_callback_ends_the_feed_and_is_seen() -> None:
    """It is raised by ``run``, and by the block for who does not call it."""

    async def test() -> None:
        def broken(_event: BookEvent) -> None:
            sentence = "the strategy's own mistake"
            raise KeyError(sentence)

        async with Exchange() as exchange:
            with pytest.raises(KeyError, match="own mistake"):
                async with Feed(["*"], url=exchange.url) as feed:
                    feed.on("book", broken)
                    await feed.run()
            with pytest.raises(KeyError, match="own mistake"):
                async with Feed(["*"], url=exchange.url) as feed:
                    feed.on("book", broken)
                    await until(lambda: feed.error)
            with pytest.raises(KeyError, match="own mistake"):
                async with Feed(["*"], url=exchange.url) as feed:
                    feed.on("book", broken)
                    async for _ in feed:
                        pass

    run(test())


def test_cancelling_closes_the_connection() -> None:
    """As Ctrl-C does: the block ends in order, with a close frame, and leaves no task behind."""

    async def test() -> None:
        async with Exchange() as exchange:

            async def strategy() -> None:
                async with Feed(["*"], url=exchange.url) as feed:
                    async for _ in feed:
                        pass

            before = asyncio.all_tasks()
            task = asyncio.create_task(strategy())
            await until(lambda: exchange.clients and exchange.client.subscribed)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(exchange.client.gone.wait(), 10)
            assert exchange.client.close_code == 1000
            await until(lambda: not [t for t in asyncio.all_tasks() - before if "Feed" in repr(t)])

    run(test())


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


@pytest.mark.slow
def test_ready_means_ready_also_after_a_reconnect() -> None:
    """Before, a new session without any subscription passed for one without trouble: ready after 0.01 s."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["*"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            assert all(feed.book(symbol).in_sync for symbol in feed.selected_symbols)
            ups: list[bool] = []
            feed.on("connection", lambda event: ups.append(event.up))
            exchange.ack_delay = 0.2
            for _ in range(3):
                ups.clear()
                exchange.cut()
                await until(lambda: ups == [False, True])
                assert not any(feed.book(symbol).in_sync for symbol in ("BTC/USD", "ETH/USD"))
                await feed.wait_ready(30)
                assert all(feed.book(symbol).in_sync for symbol in feed.selected_symbols)
            exchange.silent = True
            exchange.cut()
            await until(lambda: ups[-1] is False)
            with pytest.raises(TimeoutError, match=r"^not ready within 0\.3 s: .+"):
                await feed.wait_ready(0.3)
            waiting = asyncio.ensure_future(feed.wait_ready())
            await asyncio.sleep(0.05)
            feed.stop()
            with pytest.raises(FeedError, match="^this feed is closed; make another one$"):
                await waiting

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


def test_nothing_comes_after_stop() -> None:
    """No callback, no event, no batch, though the exchange goes on."""

    async def test() -> None:
        async with Exchange(beat=0.001) as exchange, Feed(["*"], url=exchange.url) as feed:
            seen: list[Event] = []

            def listen(event: Event) -> None:
                seen.append(event)
                if len(seen) == 50:
                    feed.stop()

            for channel in ("book", "trade", "subscription"):
                feed.on(channel, listen)
            await feed.run()
            assert [event async for event in feed] == []
            book = feed.book("BTC/USD")
            assert not book.in_sync
            with pytest.raises(NoBook, match=r"is disconnected \(the feed is closed\)$"):
                book.best()
            with pytest.raises(FeedError, match="^this feed is closed; make another one$"):
                await feed.add_symbols(["ETH/USD"])
            await asyncio.wait_for(exchange.client.gone.wait(), 10)
            assert not book.in_sync
            assert len(seen) == 50

    run(test())


def test_a_notebook_starts_and_closes_by_itself() -> None:
    """``start`` and ``close`` beside the block; closing twice does nothing more."""

    async def test() -> None:
        async with Exchange() as exchange:
            feed = await Feed(["BTC/USD"], url=exchange.url).start()
            await feed.wait_ready(30)
            assert feed.book("BTC/USD").best_bid is not None
            with pytest.raises(FeedError, match="^this feed is started already; make another one$"):
                await feed.start()
            await feed.close()
            await feed.close()
            await asyncio.wait_for(exchange.client.gone.wait(), 10)
            assert exchange.client.close_code == 1000
            with pytest.raises(NoBook, match="is disconnected \\(the feed is closed\\)"):
                _ = feed.book("BTC/USD").best_bid
            assert not [task for task in asyncio.all_tasks() if "krakpot/" in repr(task)]

    run(test())


def test_a_feed_shows_what_it_is_for() -> None:
    """``dir`` has what the page documents, and nothing of the inside."""
    public = {name for name in dir(Feed(["*"])) if not name.startswith("_")}
    assert public == {
        "add_symbols", "batches", "book", "close", "connected", "counts", "error", "idle_seconds", "on", "orders",
        "recording", "remove_symbols", "run", "selected_symbols", "skipped", "start", "stop", "subscriptions",
        "system", "wait_ready", "waiting",
    }  # fmt: skip
    page = (Path(__file__).parents[2] / "docs/live.md").read_text()
    assert sorted(name for name in public if f".{name}" not in page and f"`{name}" not in page) == []
    assert all((getattr(Feed, name).__doc__ or "").strip() for name in public)
    assert repr(Feed(["BTC/USD"], channels=["book"])) == "Feed(book: BTC/USD)"


@pytest.mark.slow
def test_no_exchange_is_an_error_in_the_end() -> None:
    """``ConnectionLost`` with how often it was tried; an exchange that tells no pairs is another sentence."""

    async def test() -> None:
        async with Exchange() as exchange:
            url = exchange.url
        with pytest.raises(ConnectionLost, match="no connection after") as e:
            async with Feed(["*"], url=url, connect_timeout=1.0):
                pass
        assert e.value.attempts >= 1
        async with Exchange() as exchange:
            exchange.silent = True
            with pytest.raises(FeedError, match="the exchange did not describe its pairs within 1 s"):
                async with Feed(["*"], url=exchange.url, connect_timeout=1.0):
                    pass

    run(test())


def test_a_feed_is_used_after_its_start() -> None:
    """Before, everything that needs a connection says so, and nothing waits for ever."""

    async def test() -> None:
        feed = Feed(["*"], url="ws://127.0.0.1:9/v2")
        for use in (
            lambda: feed.book("BTC/USD"), lambda: feed.connected, lambda: feed.selected_symbols, feed.batches,
            feed.subscriptions, lambda: feed.counts, lambda: feed.system, lambda: feed.idle_seconds,
            lambda: aiter(feed),
        ):  # fmt: skip
            with pytest.raises(FeedError, match="not connected yet: use it within `async with feed:`, or after"):
                use()
        for wait in (feed.run, feed.wait_ready):
            with pytest.raises(FeedError, match="not connected yet"):
                await asyncio.wait_for(wait(), 5)

    run(test())


EARLY = "^this feed is not connected yet: use it within `async with feed:`, or after `await feed.start\\(\\)`$"
OVER = "^this feed is closed; make another one$"
# A way to use a feed; what it gives before the start; what it gives after the end. Text is the sentence of `FeedError`.
USES: list[tuple[str, Callable[[Feed], Any], Any, Any]] = [
    ("aiter", lambda feed: anext(aiter(feed), "ended"), EARLY, "ended"),
    ("batches", lambda feed: anext(feed.batches(), "ended"), EARLY, "ended"),
    ("run", lambda feed: feed.run(), EARLY, None),
    ("on", lambda feed: feed.on("trade", print), None, OVER),
    ("wait_ready", lambda feed: feed.wait_ready(5), EARLY, OVER),
    ("add_symbols", lambda feed: feed.add_symbols(["ETH/USD"]), EARLY, OVER),
    ("remove_symbols", lambda feed: feed.remove_symbols(["BTC/USD"]), EARLY, OVER),
    ("start", lambda feed: feed.start(), None, OVER),
    ("close", lambda feed: feed.close(), None, None),
    ("stop", lambda feed: feed.stop(), None, None),
    ("book", lambda feed: feed.book("BTC/USD").in_sync, EARLY, False),
    ("connected", lambda feed: feed.connected, EARLY, False),
    ("idle_seconds", lambda feed: feed.idle_seconds, EARLY, float("inf")),
    ("subscriptions", lambda feed: feed.subscriptions(), EARLY, []),
    ("counts", lambda feed: [feed.counts[key] for key in ("subscribed", "in_sync", "waiting")], EARLY, [0, 0, 0]),
    ("selected_symbols", lambda feed: feed.selected_symbols, EARLY, ["BTC/USD"]),
    ("system", lambda feed: feed.system, EARLY, "online"),
    ("waiting", lambda feed: feed.waiting, 0, 0),
    ("skipped", lambda feed: feed.skipped, {}, {}),
    ("error", lambda feed: feed.error, None, None),
    ("recording", lambda feed: feed.recording, {}, {}),
]
ENDED = ("ended", None)
"""What reading gives that has nothing to read any more."""


async def used(use: Callable[[Feed], Any], feed: Feed) -> Any:
    """What a use gives, awaited where it has to be; of ``FeedError`` the sentence."""
    try:
        found = use(feed)
        return await asyncio.wait_for(found, 10) if inspect.isawaitable(found) else found
    except FeedError as error:
        return error


def check(name: str, found: Any, expected: Any) -> None:
    """Compare what a use gave; a text with ``^`` is the sentence of an error."""
    if isinstance(expected, str) and expected.startswith("^"):
        assert isinstance(found, FeedError), (name, found)
        assert re.fullmatch(expected, str(found)), (name, found)
    else:
        assert found == expected, name


def test_a_feed_has_one_rule_before_its_start_and_after_its_end() -> None:
    """Before, what needs a connection says so. After, reading ends, what is known can be read, nothing new can be asked
    for; whether the feed was stopped, closed, or never started makes no difference.
    """
    public = {name for name in dir(Feed) if not name.startswith("_")} | {"aiter"}
    # `orders` needs an account; it is as `book`.
    assert {name for name, *_ in USES} == public - {"orders"}

    async def test() -> None:
        async with Exchange() as exchange:
            for name, use, early, _ in USES:
                if name not in {"start", "close", "stop"}:
                    check(name, await used(use, Feed(["BTC/USD"], url=exchange.url)), early)
            for end in (lambda feed: feed.stop(), lambda feed: feed.close()):
                feed = await Feed(["BTC/USD"], url=exchange.url).start()
                assert str(await used(lambda feed: feed.start(), feed)) == ALREADY_STARTED
                await feed.wait_ready(30)
                kept = feed.book("BTC/USD")
                await used(end, feed)
                assert not kept.in_sync
                for name, use, _, late in USES:
                    check(name, await used(use, feed), late)
                await feed.close()
            # Closed before it was started: nothing is known of the exchange.
            feed = Feed(["BTC/USD"], url=exchange.url)
            await feed.close()
            for name, use, early, late in USES:
                check(name, await used(use, feed), OVER if early == EARLY and late not in ENDED else late)

    run(test())


def test_a_feed_that_failed_says_why_to_all_who_ask_for_more() -> None:
    """What it failed of is raised by reading, and by what a closed feed refuses."""

    async def test() -> None:
        async with Exchange() as exchange:
            feed = await Feed(["BTC/USD"], url=exchange.url).start()

            def listen(_event: Event) -> None:
                raise KeyError("a mistake of the strategy")

            feed.on("book", listen)
            with pytest.raises(KeyError, match="a mistake of the strategy"):
                await feed.run()
            for name, use, _, _ in USES:
                if name in {"aiter", "batches", "run", "on", "wait_ready", "add_symbols", "remove_symbols"}:
                    with pytest.raises(KeyError, match="a mistake of the strategy"):
                        await asyncio.wait_for(use(feed), 10)
            await feed.close()
            check("start", await used(lambda feed: feed.start(), feed), OVER)

    run(test())


def test_newly_listed_pairs_join() -> None:
    """A pair that matches is followed from its listing on; its book is there."""

    async def test() -> None:
        async with Exchange() as exchange, Feed(["*"], url=exchange.url) as feed:
            await feed.wait_ready(30)
            exchange.list_pair(Market("DOT/USD"))
            await until(lambda: "DOT/USD" in feed.selected_symbols and feed.book("DOT/USD").in_sync)

    run(test())


def test_uvloop_is_a_loop_like_any_other() -> None:
    """The connection, the queue and the end of a feed on uvloop's transports."""
    uvloop = pytest.importorskip("uvloop", reason="an option")

    async def test() -> None:
        async with ExchangeServer(Options(pairs=3, rate=1000)) as server, Feed(["*"], url=server.address) as feed:
            seen = await first(feed, 100)
        assert {event.outcome for event in seen if isinstance(event, BookEvent)} == {"ok"}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(test(), 60))


def test_ctrl_c_ends_a_strategy_in_order() -> None:
    """A signal while events come: KeyboardInterrupt and no other trouble, the exchange gets its goodbye."""

    async def test() -> None:
        async with Exchange() as exchange:
            code = STRATEGY.format(url=exchange.url)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            assert await process.stdout.readline() == b"listening\n"
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
            assert errors.decode().strip().splitlines()[-1] == "KeyboardInterrupt"
            assert "never retrieved" not in errors.decode()
            await asyncio.wait_for(exchange.client.gone.wait(), 10)
            assert exchange.client.close_code == 1000

    run(test())


STRATEGY = """
import asyncio, krakpot

async def main():
    async with krakpot.Feed(["*"], url={url!r}) as feed:
        async for event in feed:
            if event.channel == "book":
                break
        print("listening", flush=True)
        async for event in feed:
            pass

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_recorder_runs_beside(tmp_path: Path) -> None:
    """All pairs are recorded by another process while the strategy follows one; leaving the block ends it in order,
    and the lake is proved.
    """

    async def test() -> None:
        lake = tmp_path / "lake"
        async with ExchangeServer(Options(pairs=4, rate=400)) as server:
            record = {"out": lake, "symbols": "*", "depth": 100}
            async with Feed(["BTC/USD"], url=server.address, record=record) as feed:
                count = 0
                begun = time.monotonic()
                async for event in feed:
                    count += isinstance(event, BookEvent)
                    if time.monotonic() - begun > 3 and any(lake.glob("_journal/*.journal")):
                        break
                assert count > 20
        assert feed.recording["checksums"]["book"]["ok"] > count
        assert Lake(lake).symbols() == sorted(server.exchange.symbols)
        assert Lake(lake).verify().proved

    run(test())


@pytest.mark.slow
def test_a_recorder_that_fails_ends_the_feed(tmp_path: Path) -> None:
    """In its own words; options that are wrong are refused before anything begins."""

    async def test() -> None:
        async with Exchange() as exchange:
            file = tmp_path / "file"
            file.write_text("no lake")
            with pytest.raises(StorageError, match="the recorder beside the feed ended: .*"):
                async with Feed(["BTC/USD"], url=exchange.url, record=file) as feed:
                    await feed.run()
            assert str(feed.error).count(str(file)) == 1
            with pytest.raises(ConfigError, match="record: symbols: 'XBT/USD' matches none of the 3 pairs"):
                async with Feed(
                    ["BTC/USD"], url=exchange.url, record={"out": tmp_path / "new", "symbols": "XBT/USD"}
                ) as feed:
                    await feed.run()
            with pytest.raises(ConfigError, match="record: unknown option 'dept' .*; allowed are"):
                Feed(["BTC/USD"], url=exchange.url, record={"out": "x", "dept": 10})

    run(test())


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


def test_a_time_out_of_a_callback_is_not_taken_for_that_of_the_wait() -> None:
    """The feed failed with the callback's own error; without a limit there is none that could be over."""

    async def test() -> None:
        def fails(_: Event) -> None:
            raise TimeoutError("the strategy's own")

        async with Exchange("BTC/USD") as exchange:
            with pytest.raises(TimeoutError, match="^the strategy's own$"):
                async with Feed(["BTC/USD"], channels=["book"], url=exchange.url) as feed:
                    feed.on("book", fails)
                    await feed.wait_ready()

    run(test())

"""From the start of a feed to its end: errors, Ctrl-C, and what it gives before and afterwards."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from feeds import first
from krakpot import BookEvent, Feed
from krakpot.errors import (
    ConnectionLost,
    FeedError,
    NoBook,
)
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.stream.events import Event
from krakpot.stream.stream import ALREADY_STARTED
from scripted import Exchange, until
from waiting import run


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
    # `orders` needs an account; it is as `book`. `view` is for people in a notebook, and has tests of its own.
    assert {name for name, *_ in USES} == public - {"orders", "view"}

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

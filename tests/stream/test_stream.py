"""One stream over a source made for the test: who reads what, slow readers, and that nothing comes after the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from typing import Any

import pytest

from krakpot.errors import ConfigError, FeedError, SlowReader
from krakpot.stream.events import ConnectionEvent, Event, SkippedEvent
from krakpot.stream.stream import EVENTS_MAX, EventStream, Listeners
from waiting import run


class Source:
    """A source that does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.chosen: set[str] = set()
        self.rows = False
        self.paused = False
        self.pauses = 0
        self.resumed: list[str] = []
        self.tables: list[dict[str, Any]] = []
        self.pending_rows = 0

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        self.chosen, self.rows = set(channels), rows

    def check_symbol(self, channel: str, symbol: str, place: str) -> None:
        if symbol != "BTC/USD":
            raise ConfigError(f"{place}: {symbol} is not there in {channel}")

    def pause(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume(self, answer: str) -> None:
        self.paused = False
        self.resumed.append(answer)

    def take_rows(self) -> list[dict[str, Any]]:
        self.pending_rows = 0
        found, self.tables = self.tables, []
        return found

    def skip_rows(self) -> dict[str, int]:
        skipped, self.pending_rows = self.pending_rows, 0
        return {"book": skipped}

    def produce(self, listeners: Listeners | None, steps: int = 0) -> bool:  # noqa: ARG002  # nothing waits for a call
        return False

    async def pass_time(self, seconds: float, stopped: asyncio.Event) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), seconds)

    def arrive(self, stream: EventStream, rows: int) -> None:
        """Rows arrive, as a batch that is only counted."""
        self.tables.append({"book": rows})
        self.pending_rows += rows
        stream.rows_arrived()


def begun(**options: Any) -> tuple[Source, EventStream]:
    """A source of the channel book, and its stream, started."""
    source = Source()
    stream = EventStream(source, ["book"], **options)
    stream.start()
    return source, stream


def ups(*numbers: int) -> list[Event]:
    """Events that can be told apart."""
    return [ConnectionEvent(up=True, reason="", ts_recv=number) for number in numbers]


def test_only_what_somebody_reads_is_made() -> None:
    """The source hears of each listener and of the end of each loop."""

    async def test() -> None:
        source, stream = begun()
        assert (source.chosen, source.rows) == (set(), False)
        stream.on("book", print)
        assert source.chosen == {"book"}
        events = aiter(stream)
        assert source.chosen == {"book", "status", "subscription", "gap", "connection"}
        stream.deliver(ups(1, 2))
        assert [await anext(events), await anext(events)] == ups(1, 2)
        del events
        assert source.chosen == {"book"}
        stream.deliver(ups(3))
        assert stream.waiting == 0, "nobody iterates"

    run(test())


def test_no_callback_after_stop() -> None:
    """A stop condition is often "do not trade again": not one more call, though the same read brought more events."""
    source, stream = begun()
    seen: list[Any] = []

    def listen(event: Any) -> None:
        seen.append(event)
        if len(seen) == 3:
            stream.stop()

    stream.on("connection", listen)
    stream.on("connection", seen.append)
    stream.deliver(ups(1, 2, 3, 4))
    stream.deliver(ups(5))
    assert seen == [*ups(1), *ups(1), *ups(2)], "the second listener no longer hears the event that ended it"
    assert source.chosen == {"connection"}


def test_no_event_after_stop() -> None:
    """Iteration and batches end at once, whatever waits for them."""

    async def test() -> None:
        _, stream = begun()
        events = aiter(stream)
        stream.deliver(ups(1, 2, 3))
        assert await anext(events) == ups(1)[0]
        stream.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        source, stream = begun()
        batches: AsyncIterator[Any] = stream.batches()
        source.arrive(stream, 7)
        assert await anext(batches) == {"book": 7}
        source.arrive(stream, 8)
        stream.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(batches)

    run(test())


def test_a_reader_that_waits_is_woken_by_the_end() -> None:
    """By stop, and by an error, which it raises; also while it sleeps between two batches."""

    async def test(read: Callable[[EventStream], Any], end: Callable[[EventStream], None]) -> Any:
        _, stream = begun()
        task = asyncio.ensure_future(anext(read(stream), "ended"))
        await asyncio.sleep(0)
        end(stream)
        return await task

    for read in (aiter, lambda stream: stream.batches(), lambda stream: stream.batches(every=1000)):
        assert asyncio.run(test(read, lambda stream: stream.stop())) == "ended"
        with pytest.raises(KeyError):
            asyncio.run(test(read, lambda stream: stream.fail(KeyError("x"))))


@pytest.mark.parametrize("use", [lambda stream: stream.run(), lambda stream: anext(aiter(stream))])
def test_reading_before_the_start_is_refused(use: Callable[[EventStream], Any]) -> None:
    """It would wait for ever."""

    async def test() -> None:
        stream = EventStream(Source(), ["book"])
        with pytest.raises(FeedError, match="not connected yet: use it within `async with feed:`"):
            await use(stream)
        with pytest.raises(FeedError, match="not connected yet"):
            stream.batches()

    run(test())


def test_a_listener_for_a_symbol_that_is_not_there_is_refused() -> None:
    """It would never be called. One that came before the start is looked at again, when the pairs are known."""
    _, stream = begun()
    stream.on("book", print, "BTC/USD")
    with pytest.raises(ConfigError, match="ETH/USD is not there in book"):
        stream.on("book", print, "ETH/USD")
    with pytest.raises(ConfigError, match="events of 'status' have no symbol"):
        stream.on("status", print, "BTC/USD")
    source = Source()
    early = EventStream(source, ["book"])
    early.on("book", print, "BTC/USD")
    source.check_symbol = lambda channel, symbol, place: (_ for _ in ()).throw(ConfigError(f"{place}: gone"))  # type: ignore[method-assign]  # this one source
    with pytest.raises(ConfigError, match="krakpot.Feed.on: symbol: gone"):
        early.start()


def test_waiting_for_a_slow_reader_loses_nothing() -> None:
    """The source pauses above the limit, and goes on when half of it is free."""

    async def test() -> None:
        source, stream = begun(max_queue=4)
        events = aiter(stream)
        stream.deliver(ups(1, 2, 3, 4))
        assert not source.paused
        stream.deliver(ups(5))
        assert source.paused
        got = []
        for left in (4, 3):
            got.append(await anext(events))
            assert (stream.waiting, source.paused) == (left, True)
        got.append(await anext(events))
        assert source.resumed == ["wait"]
        got += [await anext(events), await anext(events)]
        assert got == ups(1, 2, 3, 4, 5)

    run(test())


def test_a_slow_reader_may_have_the_newest_events() -> None:
    """Of each channel and symbol one stays; in front stands how many are gone, summed up over several times."""

    async def test() -> None:
        _, stream = begun(max_queue=3, slow_reader="newest")
        events = aiter(stream)
        stream.deliver(ups(1, 2, 3, 4))
        stream.deliver(ups(5, 6, 7))
        assert stream.waiting == 2
        assert await anext(events) == SkippedEvent({"connection": 6})
        assert await anext(events) == ups(7)[0]
        assert stream.skipped == {"connection": 6}

    run(test())


def test_a_slow_reader_may_fail() -> None:
    """``SlowReader`` says how much waits and how much may."""

    async def test() -> None:
        _, stream = begun(max_queue=3, slow_reader="fail")
        events = aiter(stream)
        stream.deliver(ups(1, 2, 3, 4))
        with pytest.raises(SlowReader, match="4 events or rows wait, 3 may") as caught:
            await anext(events)
        assert (caught.value.waiting, caught.value.limit) == (4, 3)
        source, stream = begun(max_queue=3, slow_reader="fail")
        batches = stream.batches()
        source.arrive(stream, 4)
        with pytest.raises(SlowReader):
            await anext(batches)

    run(test())


def test_rows_that_wait_are_bounded_too() -> None:
    """The source pauses, or drops the rows that wait and the stream counts them by table."""

    async def test() -> None:
        source, stream = begun(max_queue=10)
        batches: AsyncIterator[Any] = stream.batches()
        source.arrive(stream, 8)
        source.arrive(stream, 8)
        assert source.paused
        assert [await anext(batches), await anext(batches)] == [{"book": 8}, {"book": 8}]
        assert source.resumed == ["wait"]
        source, stream = begun(max_queue=10, slow_reader="newest")
        batches = stream.batches()
        source.arrive(stream, 16)
        assert stream.skipped == {"book": 16}
        assert not source.paused
        del batches

    run(test())


def test_a_wrong_option_is_named() -> None:
    """With what is allowed."""
    for options, words in (
        ({"slow_reader": "drop"}, "krakpot.Feed: slow_reader: 'drop' is not allowed; allowed is one of wait, newest"),
        ({"max_queue": 0}, "krakpot.Feed: max_queue: 0 is not allowed; allowed is a whole number from 1"),
        ({"max_queue": "many"}, "max_queue: 'many' is not allowed"),
    ):
        with pytest.raises(ConfigError, match=words):
            begun(**options)
    assert EVENTS_MAX > 0


class Made:
    """Makes these events of any frames."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)

    def receive(self, session: Any, frames: Any, ts_recv: int) -> list[Event]:  # noqa: ARG002  # they are always the same
        return self.events


def whole(*numbers: int) -> tuple[Any, Any, list[bytes], int]:
    """A read of a socket that brings events."""
    return Made(*ups(*numbers)), None, [], 0


def test_a_read_is_taken_whole_by_who_listens_alone() -> None:
    """Its events are not made. What comes without a read goes to the callback."""
    _, stream = begun()
    seen: list[Any] = []
    stream.on_reads({"connection": seen.append}, lambda *read: seen.append(read))
    read = whole(1, 2)
    stream.receive(*read)
    stream.deliver(ups(3))
    assert seen == [read, *ups(3)]


@pytest.mark.parametrize("first", [True, False])
def test_a_read_goes_event_by_event_where_others_listen(first: bool) -> None:
    """Whoever began: each event comes to all before the next one does."""
    _, stream = begun()
    seen: list[Any] = []

    def others() -> None:
        stream.on("connection", lambda event: seen.append(("other", event.ts_recv)))

    if first:
        others()
    stream.on_reads({"connection": lambda event: seen.append(("own", event.ts_recv))}, lambda *_: pytest.fail("whole"))
    if not first:
        others()
    stream.receive(*whole(1, 2))
    order = ("other", "own") if first else ("own", "other")
    assert seen == [(who, number) for number in (1, 2) for who in order]


def test_a_read_goes_event_by_event_while_somebody_iterates() -> None:
    """The loop is given each; afterwards reads are whole again."""

    async def test() -> None:
        _, stream = begun()
        seen: list[Any] = []
        stream.on_reads({"connection": seen.append}, lambda *read: seen.append(read))
        events = aiter(stream)
        stream.receive(*whole(1))
        assert seen == ups(1)
        assert await anext(events) == ups(1)[0]
        del events
        stream.receive(*whole(2))
        assert len(seen[-1]) == 4

    run(test())


def test_an_error_of_who_takes_reads_ends_the_stream() -> None:
    """As one of a callback."""
    _, stream = begun()

    def fails(*_: Any) -> None:
        raise LookupError("mine")

    stream.on_reads({"connection": print}, fails)
    stream.receive(*whole(1))
    assert stream.stopped.is_set()
    assert isinstance(stream.error, LookupError)

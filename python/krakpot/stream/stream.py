"""One stream of events, read by callbacks, by iteration or as Arrow batches; and what happens when the reader is slow.

The stream does not know where its events come from. A ``Source`` delivers them: the live feed, a replay, a paper
account. The stream tells its source which events somebody reads, so that no others are made.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, Self, TypeVar

from krakpot import values
from krakpot._core import Batch, Events, Session
from krakpot.errors import ConfigError, FeedError, SlowReader
from krakpot.stream.events import ALWAYS, OF_SYMBOLS, Callback, Event, SkippedEvent

EVENTS_MAX = 10_000
"""Events that may wait for iteration, unless ``max_queue`` says otherwise."""
ROWS_MAX = 200_000
"""Rows that may wait for ``batches``, about 200 bytes each, unless ``max_queue`` says otherwise."""
SlowReaderPolicy = Literal["wait", "newest", "fail"]
SLOW_READER: tuple[SlowReaderPolicy, ...] = ("wait", "newest", "fail")
Reading = Literal["", "events", "batches"]
NOT_STARTED = "this feed is not connected yet: use it within `async with feed:`, or after `await feed.start()`"
"""What a feed answers that is used too early."""
OVER = "this feed is closed; make another one"
"""What a feed answers that is asked for something new after its end."""
ALREADY_STARTED = "this feed is started already; make another one"
TURNS = 100
"""Deliveries on demand after which the event loop gets its turn."""
MAX_QUEUE = 10**12
"""Far beyond any memory."""


class Sink(Protocol):
    """What a source delivers to: a stream, or what stands before it."""

    @property
    def stopped(self) -> asyncio.Event:
        """Set when the stream is over."""

    @property
    def error(self) -> Exception | None:
        """The error that ended it."""

    @property
    def skipped(self) -> Counter[str]:
        """What was dropped."""

    def deliver(self, events: Sequence[Event]) -> None:
        """Take events."""

    def receive(self, made: Events, session: Session, frames: list[bytes], ts_recv: int) -> None:
        """Let a session take what a socket brought, and take the events that are made of it."""

    def rows_arrived(self) -> None:
        """Take note of rows."""

    def fail(self, error: Exception) -> None:
        """End because of an error."""


class Source(Protocol):
    """Where the events of a stream come from. It calls ``EventStream.deliver`` and ``rows_arrived``."""

    @property
    def paused(self) -> bool:
        """Whether it is paused."""

    @property
    def pending_rows(self) -> int:
        """Rows that wait to be taken, over all tables."""

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        """From now on, deliver the events of these channels, or keep rows; never what arrived before."""

    def check_symbol(self, channel: str, symbol: str, place: str) -> None:
        """``ConfigError``, which ``place`` begins, if this source has no events of the symbol in the channel."""

    def pause(self) -> None:
        """Deliver nothing more for now: the reader is behind."""

    def resume(self, answer: SlowReaderPolicy) -> None:
        """Go on. ``answer`` is what the stream does about slow readers, for the record."""

    def take_rows(self) -> list[dict[str, Batch]]:
        """Take the rows that wait, by table, of each session that has some."""

    def skip_rows(self) -> dict[str, int]:
        """Drop the rows that wait, leave a note of it in the ledger, and return how many there were by table."""

    def produce(self, listeners: Listeners | None, steps: int = ...) -> bool:
        """Deliver what comes next to these listeners; None: by ``EventStream.deliver`` and ``rows_arrived``.

        False: nothing comes now; ``EventStream.wake`` is called when there is something. A live feed needs no call.
        """

    async def pass_time(self, seconds: float, stopped: asyncio.Event) -> None:
        """Return when so much of the source's time has passed, or ``stopped`` is set."""


Listeners = Mapping[str, Sequence[tuple[Callback, str | None]]]
"""By channel the callbacks, and the symbol whose events each wants; None for all."""


Reads = Callable[[Events, Session, list[bytes], int], object]
"""Lets a session take what a socket brought, and does with the events that are made of it whatever there is to do."""


class _Reader:
    """A loop that reads the stream."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self


_R = TypeVar("_R", bound=_Reader)


class _EventReader(_Reader):
    async def __anext__(self) -> Event:
        return await self._stream.next_event()


class _BatchReader(_Reader):
    def __init__(self, stream: EventStream, every: float | None) -> None:
        super().__init__(stream)
        self._every = every

    async def __anext__(self) -> dict[str, Batch]:
        return await self._stream.next_batch(self._every)


class EventStream:
    """Delivers the events of a source to one strategy."""

    def __init__(
        self,
        source: Source,
        channels: Collection[str],
        *,
        max_queue: int | None = None,
        slow_reader: SlowReaderPolicy = "wait",
        name: str = "krakpot.Feed",
    ) -> None:
        """``channels`` are those that the source has; ``name`` begins the sentence about a wrong option."""
        values.read(values.word_of(SLOW_READER), slow_reader, f"{name}: slow_reader")
        if max_queue is not None:
            max_queue = values.read(values.whole_number(1, MAX_QUEUE), max_queue, f"{name}: max_queue")
        self.channels = (*channels, *ALWAYS)
        """Channels that a callback may listen to."""
        self.stopped: asyncio.Event = asyncio.Event()
        self.error: Exception | None = None
        """The error that ended the stream."""
        self.skipped: Counter[str] = Counter()
        """Events by channel (rows by table, with batches) that were dropped, since the reader was slow."""
        self._name = name
        self._source = source
        self._subscribed = channels
        self._max_queue = max_queue
        self._slow_reader = slow_reader
        self._started = False
        self._listeners: dict[str, list[tuple[Callback, str | None]]] = {}
        self._reads: Reads | None = None
        """Does what the callbacks do, for a whole read of a socket; None where others listen as well."""
        self._reading: Reading = ""
        self._reader: weakref.ref[_Reader] | None = None
        self._queue: deque[Event] = deque()
        self._batches: deque[dict[str, Batch]] = deque()
        self._forgotten = 0
        """How often what waited was forgotten."""
        self._kept = 0
        """Events that were left when older ones were dropped last."""
        self._wake = asyncio.Event()
        self._turns = 0
        """Deliveries on demand since the loop had its turn."""

    # Begin and end.

    def start(self) -> None:
        """The source delivers from now on. ``ConfigError`` if a callback waits for a symbol that it does not have."""
        for channel, listeners in self._listeners.items():
            for _, symbol in listeners:
                if symbol is not None:
                    self._source.check_symbol(channel, symbol, f"{self._name}.on: symbol")
        self._started = True
        self._choose()

    def stop(self) -> None:
        """End: iteration ends, ``run`` returns, and no event is delivered any more."""
        self.stopped.set()
        self._wake.set()

    def fail(self, error: Exception) -> None:
        """End because of an error, which iteration and ``run`` raise; the first one counts."""
        self.error = self.error or error
        self.stop()

    async def run(self) -> None:
        """Let callbacks be called until ``stop``; raises the error of a stream that failed."""
        self._check_started()
        while not self.stopped.is_set():
            if self.produce():
                await asyncio.sleep(0)
            else:
                self._wake.clear()
                await self._wake.wait()
        if self.error is not None:
            raise self.error

    def produce(self, steps: int | None = None) -> bool:
        """Let a source that waits for its reader deliver, at most so many reads of a socket; whether it did."""
        # One that is read by iteration or batches delivers to callbacks as well, event by event.
        listeners = None if self._reading else self._listeners
        try:
            return self._source.produce(listeners) if steps is None else self._source.produce(listeners, steps)
        except Exception as error:  # noqa: BLE001  # whatever a strategy's code raises, the strategy gets to see
            self.fail(error)
            return True

    def forget(self) -> None:
        """Deliver nothing more of what was taken from the source: it goes on elsewhere."""
        self._queue.clear()
        self._batches.clear()
        self._forgotten += 1

    def wake(self) -> None:
        """A source that delivers on demand has something again."""
        self._wake.set()

    def _check_started(self) -> None:
        """Reading a stream that is over ends at once; one that has not begun would wait for ever."""
        if not self._started and not self.stopped.is_set():
            raise FeedError(NOT_STARTED)

    def check_open(self) -> None:
        """Raise the error of a stream that failed, or ``FeedError`` if it is over: nothing can be requested of it."""
        if self.error is not None:
            raise self.error
        if self.stopped.is_set():
            raise FeedError(OVER)

    # Callbacks.

    def on(self, channel: str, callback: Callback, symbol: str | None = None) -> None:
        """Call ``callback`` with each event of a channel, or of one symbol in it."""
        self.check_open()
        place = f"{self._name}.on"
        values.read(values.word_of(self.channels), channel, f"{place}: channel")
        if not callable(callback):
            sentence = f"{place}: callback: {values.shown(callback)} is not allowed; allowed is a function of one event"
            raise ConfigError(sentence)
        if inspect.iscoroutinefunction(callback):
            sentence = (
                f"{place}: callback: {values.shown(callback)} is not allowed; allowed is a plain function: to await "
                "something use `async for event in feed`"
            )
            raise ConfigError(sentence)
        if symbol is not None and channel not in (*self._subscribed, *OF_SYMBOLS):
            sentence = f"{place}: symbol: events of {channel!r} have no symbol; leave it out"
            raise ConfigError(sentence)
        if symbol is not None:
            self._source.check_symbol(channel, symbol, f"{place}: symbol")
        self._check_free("batches")
        self._reads = None
        self._listeners.setdefault(channel, []).append((callback, symbol))
        self._choose()

    def on_reads(self, callbacks: Mapping[str, Callback], reads: Reads) -> None:
        """Call these callbacks, by channel; ``reads`` in their place with each read of a live feed's socket.

        That makes no object of an event. Where others listen as well, before or after, each event comes to all in turn.
        """
        alone = not self._listeners
        for channel, callback in callbacks.items():
            self.on(channel, callback)
        self._reads = reads if alone else None

    def _call(self, events: Sequence[Event]) -> None:
        forgotten = self._forgotten
        try:
            for event in events:
                for callback, symbol in self._listeners.get(event.channel, ()):
                    if symbol is None or symbol == getattr(event, "symbol", None):
                        callback(event)
                        if self.stopped.is_set() or self._forgotten > forgotten:
                            return
        except Exception as error:  # noqa: BLE001  # whatever a strategy's code raises, the strategy gets to see
            self.fail(error)

    # What the source delivers.

    def _choose(self) -> None:
        """Tell the source which events somebody reads."""
        channels = set(self._listeners)
        if self._reading == "events":
            channels.update(self.channels)
        self._source.choose(channels, rows=self._reading == "batches")

    def deliver(self, events: Sequence[Event]) -> None:
        """Deliver events to callbacks and iteration. The source calls it."""
        if self.stopped.is_set():
            return
        if self._listeners:
            forgotten = self._forgotten
            self._call(events)
            if self.stopped.is_set() or self._forgotten > forgotten:
                return
        if self._reading == "events" and events:
            self._queue.extend(events)
            self._wake.set()
            if len(self._queue) > self._limit:
                self._overfull()

    def receive(self, made: Events, session: Session, frames: list[bytes], ts_recv: int) -> None:
        """Deliver the events that are made of what a socket brought. The source calls it."""
        if self._reads is None or self._reading:
            self.deliver(made.receive(session, frames, ts_recv))
            return
        try:
            self._reads(made, session, frames, ts_recv)
        except Exception as error:  # noqa: BLE001  # whatever a strategy's code raises, the strategy gets to see
            self.fail(error)

    def rows_arrived(self) -> None:
        """Wake the reader of batches. The source calls it."""
        self._wake.set()
        if (pending := self._source.pending_rows) > self._limit:
            if self._slow_reader == "fail":
                self.fail(SlowReader(pending, self._limit))
            elif self._slow_reader == "wait":
                self._source.pause()
            else:
                self.skipped.update(self._source.skip_rows())

    @property
    def _limit(self) -> int:
        if self._max_queue is not None:
            return self._max_queue
        return ROWS_MAX if self._reading == "batches" else EVENTS_MAX

    def _overfull(self) -> None:
        if self._slow_reader == "fail":
            self.fail(SlowReader(len(self._queue), self._limit))
        elif self._slow_reader == "wait":
            self._source.pause()
        elif len(self._queue) > 2 * self._kept:
            self._keep_newest()

    def _keep_newest(self) -> None:
        """Keep the newest event of each channel, symbol and subscription; put in front how many are gone."""
        newest: dict[tuple[object, ...], Event] = {}
        counts: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for event in self._queue:
            if isinstance(event, SkippedEvent):
                counts.update(event.counts)
                continue
            key = (event.channel, getattr(event, "symbol", None), getattr(event, "of", None))
            if newest.pop(key, None) is not None:
                dropped[event.channel] += 1
            newest[key] = event
        self.skipped += dropped
        counts += dropped
        self._queue = deque([SkippedEvent(dict(counts))] if counts else [])
        self._queue.extend(newest.values())
        # With many symbols the newest events alone may exceed the limit: look again when their number has doubled.
        self._kept = len(self._queue)

    # Iteration and batches.

    @property
    def waiting(self) -> int:
        """Events, or rows, that wait for the reader."""
        return self._source.pending_rows if self._reading == "batches" else len(self._queue)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Events from now on, in order. One iteration at a time."""
        reader = _EventReader(self)
        return reader if self._ended() else self._begin(reader, "events")

    def batches(self, every: float | None = None) -> AsyncIterator[dict[str, Batch]]:
        """Rows from now on, by table; as they arrive, or every ``every`` seconds."""
        if every is not None:
            every = values.read(values.seconds, every, f"{self._name}.batches: every")
        reader = _BatchReader(self, every)
        if self._ended():
            return reader
        if self._listeners:
            sentence = "this feed has callbacks; use another Feed for batches"
            raise FeedError(sentence)
        return self._begin(reader, "batches")

    def _ended(self) -> bool:
        """Whether the stream is over, so that reading it ends at once; ``FeedError`` if it cannot be read now."""
        if self.stopped.is_set():
            return True
        self._check_started()
        self._check_free("batches")
        self._check_free("events")
        return False

    def _check_free(self, reading: Reading) -> None:
        if self._reading == reading:
            way = "batches" if reading == "batches" else "iteration"
            sentence = f"this feed is already read by {way}; use another Feed"
            raise FeedError(sentence)

    def _begin(self, reader: _R, reading: Reading) -> _R:
        """Let ``reader`` read until nobody refers to it, as after a ``break``."""
        self._reading = reading
        self._reader = weakref.ref(reader, lambda _: self._leave())
        self._choose()
        return reader

    def _leave(self) -> None:
        """The reader is gone."""
        self._reading = ""
        self._reader = None
        self._queue.clear()
        self._batches.clear()
        self._choose()
        self._resume()

    def _resume(self) -> None:
        if self._source.paused:
            self._source.resume(self._slow_reader)

    async def next_event(self) -> Event:
        """Take the next event. For iteration."""
        self._check_end()
        while not self._queue:
            await self._more()
        event = self._queue.popleft()
        if len(self._queue) <= self._limit // 2:
            self._resume()
        return event

    async def next_batch(self, every: float | None) -> dict[str, Batch]:
        """Take the rows that wait, or the next ones. For ``batches``."""
        self._check_end()
        if not self._batches:
            if every is not None:
                await self._pause(every)
            while not (rows := self._source.take_rows()):
                await self._more()
            self._batches.extend(rows)
            self._resume()
        return self._batches.popleft()

    async def _pause(self, seconds: float) -> None:
        """Sleep; the end of the stream ends it early."""
        await self._source.pass_time(seconds, self.stopped)
        self._check_end()

    async def _more(self) -> None:
        """Wait until something happens."""
        if not self.produce():
            self._wake.clear()
            await self._wake.wait()
        elif (turns := self._turns + 1) % TURNS:
            self._turns = turns
        else:
            # Others want their turn, and Ctrl-C comes by the loop.
            self._turns = 0
            await asyncio.sleep(0)
        self._check_end()

    def _check_end(self) -> None:
        """Raise what ends an iteration, if the stream has ended."""
        if self.error is not None:
            raise self.error
        if self.stopped.is_set():
            raise StopAsyncIteration

"""The time from the moment when a message is due until the strategy has its checked book.

Goals: p50, p99 and p99.9 of messages of the book channel, by the way of listening (callbacks, iteration, batches), by
the loop (asyncio's, uvloop where it is installed), at several rates; since ``ts_event``, the time at which the sending
process should send it over loopback, and since ``ts_recv``, taken when the loop hands over what it has read. The same
for a few symbols, alone and while a recorder records the full feed. The growth of memory, and the pauses of the
garbage collector, as it is and after ``gc.freeze()``. Every answer is asserted: all books right, nothing waited. Not
goals: networks, TLS, throughput.

``python bench/python/live.py`` prints tables, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from burst import CHANNELS, ready
from krakpot import BookEvent, Feed, _core
from krakpot.cli.top import Snapshot
from krakpot.errors import FeedError

PAIRS = 20
DEPTH = 10
SHARE = 0.1
"""Share of the messages of a full subscription (book of depth 1000, trade, ticker), which the exchange's rate counts,
that the book channel has at ``DEPTH`` for ``PAIRS`` busy pairs: most orders are deeper in the book."""
RATES = {200: 6.0, 10_000: 3.0, 30_000: 3.0}
"""Messages per second that the strategy receives, about (a few symbols, the full feed, three times it); seconds."""
WARM = 0.5
"""Seconds that are not counted."""
WAYS = ("callbacks", "iteration", "batches")
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
THOUSANDTH = 5_000
"""Messages below which p99.9 is left out: it would be the worst one or two."""
KEPT = 0.05
"""Blocks of memory per message by which Python may grow, at most: far below one."""
LOAD = 200_000
"""Objects of the strategy that the collector has to visit."""
FULL = 10_000
"""Messages a second of the full feed."""
FEW = ["BTC/USD", "ETH/USD"]
FEW_DEPTH = 100
"""Symbols of the strategy while all symbols are recorded, and the depth of their books."""
NAP = 0.0002
"""Seconds between two readings of the sender's clock while three processes share the cores."""
START = 30.0
"""Seconds for a recorder to start."""


@dataclass(frozen=True)
class Load:
    """What is recorded while the strategy runs: book, trade and ticker of the full feed."""

    pairs: int = 1450
    rate: float = FULL
    depth: int = 1000
    seconds: float = 12.0


class Ages:
    """The ages of messages, ns, and what the interpreter did, while the window is open."""

    def __init__(self) -> None:
        """Begin, closed."""
        # No Python object is kept for a message, so that only the feed can keep some.
        self.event, self.recv = array("q"), array("q")
        self._begin = self._end = sys.maxsize
        self.blocks = 0
        self.collections: list[int] = []

    def open(self) -> None:
        """Count from now on."""
        self.collections = [generation["collections"] for generation in gc.get_stats()]
        self.blocks = sys.getallocatedblocks()
        self._begin = time.time_ns()

    def close(self) -> None:
        """Count no more."""
        self._end = time.time_ns()
        self.blocks = sys.getallocatedblocks() - self.blocks
        now = (generation["collections"] for generation in gc.get_stats())
        self.collections = [after - before for before, after in zip(self.collections, now, strict=True)]

    def add(self, now: int, ts_event: int | None, ts_recv: int) -> None:
        """One message that the strategy has ``now``."""
        assert ts_event is not None, "updates carry their time"
        if self._begin <= ts_recv < self._end:
            self.event.append(now - ts_event)
            self.recv.append(now - ts_recv)

    def facts(self) -> dict[str, Any]:
        """Percentiles, µs, and the rest."""
        seconds = (self._end - self._begin) / 1e9
        return {
            "messages": len(self.event),
            "rate": len(self.event) / seconds,
            "event": percentiles(self.event),
            "recv": percentiles(self.recv),
            "blocks": self.blocks,
            "collections": self.collections,
        }


def percentiles(ages: array[int]) -> dict[str, float]:
    """µs by share; p99.9 only where there are messages enough."""
    found = sorted(ages)
    shares = SHARES if len(found) >= THOUSANDTH else {name: SHARES[name] for name in ("p50", "p99")}
    return {name: found[min(len(found) - 1, int(share * len(found)))] / 1000 for name, share in shares.items()}


def callbacks(feed: Feed, ages: Ages) -> asyncio.Future[None]:
    """Receive each message within the call that read it; read the best prices, as a strategy does."""

    def changed(event: BookEvent) -> None:
        feed.book(event.symbol).best("float")
        ages.add(time.time_ns(), event.ts_event, event.ts_recv)

    feed.on("book", changed)
    return asyncio.ensure_future(feed.run())


def iteration(feed: Feed, ages: Ages) -> asyncio.Future[None]:
    """Take each event out of the queue."""

    async def strategy() -> None:
        async for event in feed:
            if isinstance(event, BookEvent):
                feed.book(event.symbol).best("float")
                ages.add(time.time_ns(), event.ts_event, event.ts_recv)

    return asyncio.ensure_future(strategy())


def batches(feed: Feed, ages: Ages) -> asyncio.Future[None]:
    """Take Arrow tables; the age of each message is computed from them at the end."""

    async def strategy() -> None:
        taken = [(pa.record_batch(batch["book"]), time.time_ns()) async for batch in feed.batches() if "book" in batch]
        for rows, now in taken:
            columns = (rows[name].cast(pa.int64()).to_pylist() for name in ("entry", "ts_event", "ts_recv"))
            for entry, ts_event, ts_recv in zip(*columns, strict=True):
                if entry == 0:
                    ages.add(now, ts_event, ts_recv)

    return asyncio.ensure_future(strategy())


async def window(feed: Feed, ages: Ages, listening: asyncio.Future[None], seconds: float) -> None:
    """Count for a time, then end."""
    await asyncio.sleep(WARM)
    ages.open()
    await asyncio.sleep(seconds)
    ages.close()
    feed.stop()
    await listening


def checked(feed: Feed, ages: Ages) -> dict[str, Any]:
    """The result, if everything was right."""
    found, book = ages.facts(), feed.counts["checksums"]["book"]
    assert (book["bad"], feed.counts["unchecked"], feed.counts["waits"]) == (0, 0, 0), book
    assert 0 < found["messages"] <= book["ok"], found
    return found


async def listen(way: str, port: int, seconds: float) -> dict[str, Any]:
    """Run one way of listening."""
    async with Feed(["*"], channels=["book"], depth=DEPTH, url=f"ws://127.0.0.1:{port}/v2") as feed:
        ages = Ages()
        await window(feed, ages, globals()[way](feed, ages), seconds)
    found = checked(feed, ages)
    if way == "batches":
        # This program keeps them to the end.
        del found["blocks"]
    else:
        assert found["blocks"] < KEPT * found["messages"] + 1000, found
    return found


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """The loops that are installed."""
    found: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
    if find_spec("uvloop"):
        import uvloop  # noqa: PLC0415  # optional

        found["uvloop"] = uvloop.new_event_loop
    return found


@contextmanager
def exchange(pairs: int, rate: float, nap: float = 0.0) -> Iterator[int]:
    """Start a sending process with this rate of a full subscription; gives its port."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stream.py")), str(pairs), str(rate), str(nap)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None, "asked for"
        yield int(server.stdout.readline())
    finally:
        server.kill()
        server.wait()


def measure(rate: float, seconds: float) -> dict[str, dict[str, Any]]:
    """Facts by ``way/loop`` at one rate."""
    found = {}
    with exchange(PAIRS, rate / SHARE) as port:
        for loop, factory in loops().items():
            for way in WAYS:
                gc.collect()
                with asyncio.Runner(loop_factory=factory) as runner:
                    found[f"{way}/{loop}"] = runner.run(listen(way, port, seconds))
    return found


class Pauses:
    """The collector's pauses while its ``with`` block runs: generation and ns."""

    def __init__(self) -> None:
        """Begin."""
        self.all: list[tuple[int, int]] = []
        self._begun = 0

    def _look(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter_ns()
        else:
            self.all.append((info["generation"], time.perf_counter_ns() - self._begun))

    def __enter__(self) -> Self:
        """Watch the collector from now on."""
        gc.callbacks.append(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch."""
        gc.callbacks.remove(self._look)

    @property
    def longest_us(self) -> float:
        """Of all of them, µs."""
        return max((ns for _, ns in self.all), default=0) / 1000

    @property
    def collections(self) -> list[int]:
        """How many there were, by generation."""
        return [sum(of == generation for of, _ in self.all) for generation in range(len(gc.get_stats()))]


def collector(rate: float, seconds: float) -> dict[str, Any]:
    """Pauses while a strategy holds many objects, as Python does it and after ``gc.freeze()``."""
    found: dict[str, Any] = {}
    # The state of a strategy: containers, which the collector visits.
    own = [{"number": n} for n in range(LOAD)]
    for name in ("as it is", "gc.freeze()"):
        with exchange(PAIRS, rate / SHARE) as port:
            gc.collect()
            if name == "gc.freeze()":
                gc.freeze()
            with Pauses() as pauses:
                facts = asyncio.run(listen("iteration", port, seconds))
            # A full collection is rare; this measures what it costs.
            with Pauses() as full:
                gc.collect()
            gc.unfreeze()
        found[name] = {
            "messages": facts["messages"], "collections": pauses.collections,
            "longest_us": pauses.longest_us, "full_us": full.longest_us,
        }  # fmt: skip
    assert len(own) == LOAD
    return found


def free_port() -> int:
    """A free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def messages(metrics: str) -> float:
    """Messages that a recorder has received so far."""
    return (await asyncio.to_thread(Snapshot.take, metrics, "")).total("messages_total")


async def beside(port: int, load: Load, out: Path | None) -> dict[str, Any]:
    """Listen to a few symbols by callbacks, the full feed recorded to ``out`` or not."""
    metrics, record = f"127.0.0.1:{free_port()}", None
    if out is not None:
        record = {"out": str(out), "symbols": "*", "channels": CHANNELS, "depth": load.depth, "metrics": metrics}
    feed = Feed(FEW, channels=["book"], depth=FEW_DEPTH, url=f"ws://127.0.0.1:{port}/v2", record=record)
    async with feed:
        ages = Ages()
        listening = callbacks(feed, ages)
        if out is None:
            await window(feed, ages, listening, load.seconds)
            return checked(feed, ages)
        base = f"http://{metrics}"
        async with asyncio.timeout(START):
            # It answers as soon as it has started.
            while True:
                with suppress(FeedError):
                    await messages(base)
                    break
                await asyncio.sleep(0.2)
        await ready(base, out, load.pairs * len(CHANNELS))
        before, begun = await messages(base), time.monotonic()
        await window(feed, ages, listening, load.seconds)
        recorded = (await messages(base) - before) / (time.monotonic() - begun)
    summary = feed.recording
    assert [summary[what] for what in ("unchecked", "errors", "gaps")] == [0, 0, 0], summary
    assert sum(found["bad"] for found in summary["checksums"].values()) == 0, summary
    return checked(feed, ages) | {"recorded": recorded, "waits": summary["backpressure"]["waits"]}


def recording(load: Load) -> dict[str, Any]:
    """The same few symbols of one exchange, alone and while all symbols are recorded."""
    with exchange(load.pairs, load.rate, NAP) as port, tempfile.TemporaryDirectory() as folder:
        alone, recorded = (asyncio.run(beside(port, load, out)) for out in (None, Path(folder) / "lake"))
    facts = {"pairs": load.pairs, "depth": load.depth, "symbols": FEW, "symbols_depth": FEW_DEPTH, "nap_us": NAP * 1e6}
    return facts | {"alone": alone, "recording": recorded}


def told(name: str, facts: dict[str, Any]) -> str:
    """One line for people."""
    cells = " ".join(f"{facts[what].get(share, float('nan')):8.0f}" for what in ("event", "recv") for share in SHARES)
    blocks = f", {facts['blocks']:+} blocks" if "blocks" in facts else ""
    return (
        f"{name:20} {facts['messages']:7,} {facts['rate']:7.0f}/s {cells}  collections {facts['collections']}{blocks}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="little work, for the tests")
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    rates = {10_000: 0.6} if options.small else RATES
    load = Load(pairs=30, rate=500.0, depth=100, seconds=0.5) if options.small else Load()
    found = {
        "pairs": PAIRS, "depth": DEPTH, "objects": LOAD, "few": THOUSANDTH,
        "rates": {str(rate): measure(rate, seconds) for rate, seconds in rates.items()},
        "gc": collector(*max((rate, seconds) for rate, seconds in rates.items() if rate <= FULL)),
        "record": recording(load),
    }  # fmt: skip
    if options.json:
        print(json.dumps(found))
        return
    print("age in µs since ts_event and since ts_recv: p50, p99, p99.9 of each")
    for ways in found["rates"].values():
        for name, facts in ways.items():
            print(told(name, facts))
    print(f"{', '.join(FEW)} of {load.pairs:,} pairs, callbacks/asyncio")
    for name in ("alone", "recording"):
        print(told(name, found["record"][name]))
    for name, facts in found["gc"].items():
        print(
            f"{name:12} {facts['messages']:,} messages, collections by generation {facts['collections']}, the longest "
            f"{facts['longest_us']:.0f} µs; a full one {facts['full_us']:.0f} µs"
        )


if __name__ == "__main__":
    main()

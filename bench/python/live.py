"""How long it takes from a message's sending to the strategy that has its book, checked.

Goals: p50, p99 and p99.9 of messages of the book channel, by the way of listening (callbacks, iteration, batches), by
the loop (asyncio's, uvloop where it is installed), at several rates; from the write call of the sending process, over
loopback, and from the moment the loop has read the socket. The pauses of the garbage collector, as it is and after
``gc.freeze()``. Every answer is asserted: all books right, nothing waited. Not goals: networks, TLS, throughput.

``python bench/python/live.py`` prints tables, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from krakpot import BookEvent, _core
from krakpot.feed import Feed

PAIRS = 20
WARM = 0.5
"""Seconds that are not counted."""
WAYS = ("callbacks", "iteration", "batches")
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
LOAD = 200_000
"""Objects of the strategy's own that the collector has to walk over."""


class Ages:
    """How old messages were, ns: since their sending, and since the socket was read."""

    def __init__(self) -> None:
        """Begin."""
        self.sent: list[int] = []
        self.read: list[int] = []
        self.begin = time.time_ns() + int(WARM * 1e9)

    def add(self, now: int, ts_event: int | None, ts_recv: int) -> None:
        """One message that the strategy has ``now``."""
        assert ts_event is not None, "updates carry their time"
        if ts_recv >= self.begin:
            self.sent.append(now - ts_event)
            self.read.append(now - ts_recv)

    def facts(self) -> dict[str, Any]:
        """Percentiles, µs."""
        return {
            "messages": len(self.sent),
            "sent": percentiles(self.sent),
            "read": percentiles(self.read),
        }


def percentiles(ages: list[int]) -> dict[str, float]:
    """µs by share."""
    ages = sorted(ages)
    return {name: ages[min(len(ages) - 1, int(share * len(ages)))] / 1000 for name, share in SHARES.items()}


async def callbacks(feed: Feed, ages: Ages, seconds: float) -> None:
    """Hear of each message within the call that read it; look at the best prices, as a strategy does."""

    def changed(event: BookEvent) -> None:
        feed.book(event.symbol).best("float")
        ages.add(time.time_ns(), event.ts_event, event.ts_recv)

    feed.on("book", changed)
    asyncio.get_running_loop().call_later(seconds, feed.stop)
    await feed.run()


async def iteration(feed: Feed, ages: Ages, seconds: float) -> None:
    """Take each event out of the queue."""
    asyncio.get_running_loop().call_later(seconds, feed.stop)
    async for event in feed:
        if isinstance(event, BookEvent):
            feed.book(event.symbol).best("float")
            ages.add(time.time_ns(), event.ts_event, event.ts_recv)


async def batches(feed: Feed, ages: Ages, seconds: float) -> None:
    """Take Arrow tables; how old each message was is read from them when all is over."""
    asyncio.get_running_loop().call_later(seconds, feed.stop)
    taken = [(pa.record_batch(batch["book"]), time.time_ns()) async for batch in feed.batches() if "book" in batch]
    for rows, now in taken:
        columns = (rows[name].cast(pa.int64()).to_pylist() for name in ("entry", "ts_event", "ts_recv"))
        for entry, ts_event, ts_recv in zip(*columns, strict=True):
            if entry == 0:
                ages.add(now, ts_event, ts_recv)


async def listen(way: str, port: int, seconds: float) -> dict[str, Any]:
    """Let one way of listening run."""
    async with Feed(["*"], channels=["book"], url=f"ws://127.0.0.1:{port}/v2") as feed:
        ages = Ages()
        await globals()[way](feed, ages, seconds + WARM)
        found = ages.facts()
        book = feed.counts["checksums"]["book"]
    assert (book["bad"], feed.counts["unchecked"], feed.counts["waits"]) == (0, 0, 0), book
    assert 0 < found["messages"] <= book["ok"], found
    return found | {"rate": found["messages"] / seconds}


def loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """The loops that there are."""
    found: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
    if find_spec("uvloop"):
        import uvloop  # noqa: PLC0415  # optional

        found["uvloop"] = uvloop.new_event_loop
    return found


def measure(rate: float, seconds: float) -> dict[str, dict[str, Any]]:
    """Facts by ``way/loop`` at one rate."""
    found = {}
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stream.py")), str(PAIRS), str(rate)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None, "asked for"
        port = int(server.stdout.readline())
        for loop, factory in loops().items():
            for way in WAYS:
                gc.collect()
                with asyncio.Runner(loop_factory=factory) as runner:
                    found[f"{way}/{loop}"] = runner.run(listen(way, port, seconds))
    finally:
        server.kill()
        server.wait()
    return found


class Pauses:
    """The collector's pauses while its ``with`` block runs, ns."""

    def __init__(self) -> None:
        """Begin."""
        self.all: list[int] = []
        self._begun = 0

    def _look(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter_ns()
        else:
            self.all.append(time.perf_counter_ns() - self._begun)

    def __enter__(self) -> Self:
        """Look on."""
        gc.callbacks.append(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        gc.callbacks.remove(self._look)


def collector(rate: float, seconds: float) -> dict[str, Any]:
    """Pauses beside a strategy with many objects of its own, as Python does it and after ``gc.freeze()``."""
    found: dict[str, Any] = {}
    # A strategy's own state: containers, which the collector walks over.
    own = [{"number": n} for n in range(LOAD)]
    for name in ("as it is", "gc.freeze()"):
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("stream.py")), str(PAIRS), str(rate)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None, "asked for"
            port = int(server.stdout.readline())
            gc.collect()
            if name == "gc.freeze()":
                gc.freeze()
            with Pauses() as pauses:
                asyncio.run(listen("iteration", port, seconds))
                # A full collection comes seldom; what it costs when it comes.
                gc.collect()
            gc.unfreeze()
        finally:
            server.kill()
            server.wait()
        found[name] = {"collections": len(pauses.all), "longest_us": max(pauses.all) / 1000}
    assert len(own) == LOAD
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="little work, for the tests")
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    seconds, rates = (0.5, (2_000,)) if options.small else (4.0, (2_000, 20_000, 60_000))
    found = {
        "pairs": PAIRS, "seconds": seconds, "objects": LOAD,
        "rates": {str(rate): measure(rate, seconds) for rate in rates}, "gc": collector(rates[0], seconds),
    }  # fmt: skip
    if options.json:
        print(json.dumps(found))
        return
    for ways in found["rates"].values():
        for name, facts in ways.items():
            cells = [f"{facts[what][share]:8.0f}" for what in ("sent", "read") for share in SHARES]
            print(f"{name:20} {facts['rate']:7.0f}/s {' '.join(cells)}")
    for name, facts in found["gc"].items():
        print(f"{name:12} {facts['collections']} collections, the longest {facts['longest_us']:.0f} µs")


if __name__ == "__main__":
    main()

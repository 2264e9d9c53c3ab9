"""A burst: for one second ten times the full feed, 100,000 messages, and how long the recorder takes to have read them.

Goals: nothing is lost; the time from the begin of the burst until its last message was read, whose budget is two
seconds. The full feed runs before and after, from the built-in exchange in this process to ``krakpot record`` in a
separate one, so both cores are in use. Every answer is asserted: the lake has each message that
the exchange's account has, no checksum is wrong. Not goals: the highest sustained rate (``krakpot capacity``), TLS.

``python bench/python/burst.py`` prints a table, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from krakpot import Lake, _core
from krakpot.cli.capacity_run import wrong
from krakpot.cli.top import Snapshot
from krakpot.compare.exchange import COMPARED, differences
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake import journal
from program import krakpot

TIMES = 10
"""Seconds of the exchange in the second of a burst."""
PAUSE = 4.0
"""Seconds between bursts, and before the first."""
START = 120.0
"""Seconds until everything is subscribed and the first books are sealed."""
SECOND = 10**9
CHANNELS = ("book", "trade", "ticker")


@dataclass(frozen=True)
class Burst:
    """A burst as it was sent, ns."""

    begun: int
    """By this machine's clock."""
    ended: int
    first: int
    """The same in the time of the exchange: the messages have times after ``first``, up to ``last``."""
    last: int

    @classmethod
    async def send(cls, server: ExchangeServer) -> Burst:
        """Run the time of the exchange faster until ``TIMES`` seconds have passed."""
        begun, first = time.time_ns(), server.exchange.now
        server.speed = float(TIMES)
        while server.exchange.now < first + TIMES * SECOND:  # noqa: ASYNC110  # its time passes without an event
            await asyncio.sleep(0.001)
        server.speed = 1.0
        return cls(begun, time.time_ns(), first, server.exchange.now)

    def read(self, lake: Lake) -> dict[str, Any]:
        """Facts of the burst from the lake, in seconds since its begin."""
        messages, last = 0, 0
        for channel in CHANNELS:
            # The times of a burst run ahead of the clock: only they separate it from later messages.
            within = pl.col("ts_event").dt.epoch("ns").is_between(self.first, self.last, closed="right")
            rows = lake.scan(COMPARED[channel], sources="all").filter(within, pl.col("kind") == "update")
            found = rows.select(pl.struct("session", "message").n_unique(), pl.col("ts_recv").dt.epoch("ns").max())
            count, recv = found.collect().row(0)
            messages, last = messages + count, max(last, recv or 0)
        return {
            "messages": messages,
            "sent": (self.ended - self.begun) / SECOND,
            "read": (last - self.begun) / SECOND,
        }


async def ready(base: str, lake: Path, subscriptions: int) -> None:
    """Wait until everything is subscribed, and no closed journal waits for the sealer."""
    async with asyncio.timeout(START):
        while True:
            states = (await asyncio.to_thread(Snapshot.take, base, "")).values.get("subscriptions", {})
            there = sum(n for (_, state), n in states.items() if state in {"active", "idle"})
            if there >= subscriptions and len(journal.journals(lake)) < 2:
                return
            await asyncio.sleep(0.2)


async def record(folder: Path, pairs: int, rate: float, depth: int, count: int) -> list[dict[str, Any]]:
    """Record the exchange with its bursts; returns each burst."""
    lake = folder / "burst"
    async with ExchangeServer(Options(pairs=pairs, rate=rate)) as server:
        options = ("--url", server.address, "--depth", str(depth), "--out", str(lake), "--metrics", "0")
        async with krakpot("record", *options) as recorder:
            await ready(await recorder.until(rb"metrics at (\S+)/metrics"), lake, pairs * len(CHANNELS))
            bursts = []
            for _ in range(count):
                await asyncio.sleep(PAUSE)
                bursts.append(await Burst.send(server))
            await asyncio.sleep(PAUSE)
            summary = await recorder.end()
        account = server.summary()
    opened = Lake(lake)
    assert not (lost := wrong(summary, differences(opened, account))), lost
    return [burst.read(opened) | {"waits": summary["backpressure"]["waits"]} for burst in bursts]


def measure(folder: Path, *, pairs: int, rate: float, depth: int, count: int) -> dict[str, Any]:
    """Facts of all bursts, the worst of them first."""
    bursts = asyncio.run(record(folder, pairs, rate, depth, count))
    for burst in bursts:
        # The exchange keeps its rate on average only.
        assert 0.8 < burst["messages"] / (rate * TIMES) < 1.3, burst
    worst = max(bursts, key=lambda burst: float(burst["read"]))
    return {"pairs": pairs, "rate": rate, "depth": depth, **worst, "bursts": bursts}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="a small feed and one burst, for the tests")
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    with tempfile.TemporaryDirectory() as name:
        if options.small:
            found = measure(Path(name), pairs=30, rate=500.0, depth=1000, count=1)
        else:
            found = measure(Path(name), pairs=1450, rate=10_000.0, depth=1000, count=5)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{found['pairs']:,} pairs, depth {found['depth']}, {found['rate']:,.0f} messages/s; nothing lost")
    for burst in found["bursts"]:
        print(
            f"burst: {burst['messages']:,} messages, all sent after {burst['sent']:.2f} s, "
            f"all read after {burst['read']:.2f} s"
        )


if __name__ == "__main__":
    main()

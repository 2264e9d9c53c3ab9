"""``krakpot view`` beside a recorder of the full feed: what it costs, and what a viewer sees.

Goals: the CPU of the recorder alone and while a client follows the end of its lake through ``krakpot view``; the CPU
and the memory of the server; how many states a second the client gets, and how old they are. The same of ``krakpot
view live``, which has the feed to itself. Every answer is asserted: the recorder lost nothing and never waited for
long, the books of the client are in sync and their checksums right. Not goals: drawing, networks.

``python bench/python/viewing.py`` prints tables, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from burst import CHANNELS, ready
from krakpot import _core
from krakpot.cli.top import Snapshot
from live import NAP, START, Load, exchange, percentiles
from program import Program, krakpot

BOOK, CLOCK = 1, 6
"""Kinds of messages of the stream."""
IN_SYNC, RIGHT = 1, 1
SETTLE = 3.0
"""Seconds until what was just begun runs evenly."""


@dataclass(frozen=True)
class Shown(Load):
    """What of that is looked at."""

    shown: int = 20
    levels: int = 100


def used(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process, by the kernel's account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


class Eyes:
    """A client that follows some pairs, and what it saw."""

    def __init__(self, load: Shown) -> None:
        """Nothing yet."""
        self._load = load
        self.states = self.bytes = self.behind = 0
        self.ages = array("q")
        """Between the receipt of the last message and its sight, ns."""
        self.sees = False
        """Whether a book is there."""
        self.counts = False

    def take(self, data: bytes) -> None:
        """Look at a message."""
        if data[0] == BOOK and data[1] & IN_SYNC:
            self.sees = True
        if not self.counts:
            return
        self.bytes += len(data)
        if data[0] == CLOCK:
            (shown,) = struct.unpack_from("<q", data, 8)
            self.ages.append(time.time_ns() - shown)
        elif data[0] == BOOK:
            assert data[1] & IN_SYNC, "the book is out of sync"
            assert data[2] == RIGHT, "a checksum is wrong, or was not computed"
            (messages,) = struct.unpack_from("<I", data, 28)
            self.states += 1
            self.behind += messages

    async def watch(self, address: str) -> None:
        """Follow what is served at an address."""
        stream = address.replace("http", "ws", 1).rstrip("/") + "/stream"
        async with aiohttp.ClientSession() as client, client.ws_connect(stream, max_msg_size=0) as socket:
            hello = json.loads(await socket.receive_str())
            names = [pair["symbol"] for pair in hello["symbols"] if "book" in pair["channels"]][: self._load.shown]
            assert len(names) == self._load.shown, "all pairs are there"
            await socket.send_json({"method": "subscribe", "symbols": names, "depth": self._load.levels})
            await socket.send_json({"method": "overview", "on": True})
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.take(message.data)
                else:
                    found = json.loads(message.data)
                    assert found.get("success", True), found
        raise AssertionError("the server closed")


async def window(load: Shown, pids: dict[str, int], eyes: Eyes | None = None) -> dict[str, Any]:
    """Facts of some seconds: the share of a core of each process, and what a client sees."""
    async with asyncio.timeout(START):
        while eyes is not None and not eyes.sees:  # noqa: ASYNC110  # it is looked at seldom
            await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE)
    before, begun = {name: used(pid)[0] for name, pid in pids.items()}, time.monotonic()
    if eyes is not None:
        eyes.counts = True
    await asyncio.sleep(load.seconds)
    if eyes is not None:
        eyes.counts = False
    seconds = time.monotonic() - begun
    found: dict[str, Any] = {}
    for name, pid in pids.items():
        cpu, memory = used(pid)
        found |= {f"{name}_core": (cpu - before[name]) / seconds, f"{name}_bytes": memory}
    if eyes is not None:
        assert eyes.states, "no state came"
        found |= {
            "states": eyes.states / seconds, "messages": eyes.behind / seconds, "bytes": eyes.bytes / seconds,
            "age_us": percentiles(eyes.ages),
        }  # fmt: skip
    return found


async def recorded(port: int, load: Shown, lake: Path) -> dict[str, Any]:
    """A recorder alone; and while its lake is shown."""
    url = f"ws://127.0.0.1:{port}/v2"
    options = ("--url", url, "--depth", str(load.depth), "--channels", ",".join(CHANNELS), "--out", str(lake))
    async with krakpot("record", *options, "--metrics", "0") as recorder:
        base = await recorder.until(rb"metrics at (\S+)/metrics")
        await ready(base, lake, load.pairs * len(CHANNELS))
        pids = {"recorder": recorder.process.pid}
        alone = await window(load, pids)
        async with krakpot("view", str(lake), "--port", "0", "--no-open") as server:
            beside = await seen(load, server, pids)
            await server.end()
        messages = (await asyncio.to_thread(Snapshot.take, base, "")).total("messages_total")
        summary = await recorder.end()
    assert [summary[what] for what in ("unchecked", "errors", "gaps")] == [0, 0, 0], summary
    assert sum(found["bad"] for found in summary["checksums"].values()) == 0, summary
    return {"alone": alone, "beside": beside, "received": messages, "waits": summary["backpressure"]["waits"]}


async def seen(load: Shown, server: Program, pids: dict[str, int]) -> dict[str, Any]:
    """What a client of the server sees."""
    address = await server.until(rb"listening on (\S+)")
    eyes = Eyes(load)
    async with asyncio.TaskGroup() as tasks:
        # If it fails, the window ends with its error.
        watching = tasks.create_task(eyes.watch(address))
        found = await window(load, pids | {"server": server.process.pid}, eyes)
        watching.cancel()
    return found


async def live(port: int, load: Shown) -> dict[str, Any]:
    """The feed, shown without a recording."""
    options = ("--url", f"ws://127.0.0.1:{port}/v2", "--depth", str(load.levels), "--port", "0", "--no-open")
    async with krakpot("view", "live", *options) as server:
        found = await seen(load, server, {})
        await server.end()
    return found


def measure(load: Shown) -> dict[str, Any]:
    """Facts of both."""
    with exchange(load.pairs, load.rate, NAP) as port, tempfile.TemporaryDirectory() as folder:
        lake = asyncio.run(recorded(port, load, Path(folder) / "lake"))
        feed = asyncio.run(live(port, load))
    return {
        "pairs": load.pairs,
        "rate": load.rate,
        "shown": load.shown,
        "levels": load.levels,
        "lake": lake,
        "live": feed,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="little work, for the tests")
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    found = measure(Shown(pairs=30, rate=500.0, depth=100, seconds=4.0, shown=5) if options.small else Shown())
    if options.json:
        print(json.dumps(found))
        return
    lake = found["lake"]
    ratio = lake["beside"]["recorder_core"] / lake["alone"]["recorder_core"]
    print(
        f"{found['pairs']:,} pairs, {found['rate']:,.0f} messages/s; {found['shown']} shown, {found['levels']} levels"
    )
    print(f"recorder: {lake['alone']['recorder_core']:.1%} of a core alone; × {ratio:.2f} while its lake is shown")
    for name, facts in (("lake", lake["beside"]), ("live", found["live"])):
        age = facts["age_us"]
        print(
            f"{name}: server {facts['server_core']:.1%} of a core, {facts['server_bytes'] / 1e6:.0f} MB; "
            f"{facts['states']:.0f} states/s of {facts['messages']:.0f} messages/s, {facts['bytes'] / 1e6:.2f} MB/s; "
            f"age p50 {age['p50'] / 1000:.0f} ms, p99 {age['p99'] / 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()

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
import re
import signal
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from burst import CHANNELS, ready
from krakpot import _core
from krakpot.cli.top import Snapshot
from live import FULL, NAP, START, exchange

BOOK, CLOCK = 1, 6
"""Kinds of messages of the stream."""
IN_SYNC, RIGHT = 1, 1
SHARES = {"p50": 0.5, "p99": 0.99}
SETTLE = 3.0
"""Seconds until what was just begun runs evenly."""


@dataclass(frozen=True)
class Load:
    """What is recorded, and what of it is looked at."""

    pairs: int = 1450
    rate: float = FULL
    depth: int = 1000
    seconds: float = 20.0
    shown: int = 20
    levels: int = 100


class Program:
    """``krakpot`` with some arguments; what it uses is known after its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Of a process that runs."""
        self.process = process
        self.out = b""
        self._said = b""

    async def until(self, pattern: bytes) -> str:
        """The group of the first line on stderr that the pattern finds."""
        assert self.process.stderr is not None, "asked for"
        while not (found := re.search(pattern, self._said)):
            line = await self.process.stderr.readline()
            assert line, f"it ended: {self._said.decode()}"
            self._said += line
        return found[1].decode()

    async def end(self) -> dict[str, Any]:
        """Ctrl-C; what it printed."""
        self.process.send_signal(signal.SIGINT)
        out, _ = await self.process.communicate()
        found: dict[str, Any] = json.loads(out)
        return found


@asynccontextmanager
async def krakpot(*arguments: str) -> AsyncIterator[Program]:
    """Run a command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "krakpot", *arguments, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def used(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process, by the kernel's account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


class Eyes:
    """A client that follows some pairs, and what it saw."""

    def __init__(self, load: Load) -> None:
        """Nothing yet."""
        self._load = load
        self.states = self.bytes = self.behind = 0
        self.ages: list[int] = []
        """µs between the receipt of the last message of a state and its sight."""
        self.counts = False
        self.sees = asyncio.Event()
        """Set as soon as a book is there."""

    def take(self, data: bytes) -> None:
        """Look at a message."""
        if data[0] == BOOK and data[1] & IN_SYNC:
            self.sees.set()
        if not self.counts:
            return
        self.bytes += len(data)
        if data[0] == CLOCK:
            (shown,) = struct.unpack_from("<q", data, 8)
            self.ages.append((time.time_ns() - shown) // 1000)
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


async def window(load: Load, pids: dict[str, int], watching: asyncio.Task[None] | None, eyes: Eyes) -> dict[str, Any]:
    """Facts of some seconds: the share of a core of each process, and what the client sees."""
    if watching is not None:
        seeing = asyncio.create_task(eyes.sees.wait())
        await asyncio.wait({watching, seeing}, timeout=START, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(SETTLE)
    eyes.counts = True
    before, begun = {name: used(pid)[0] for name, pid in pids.items()}, time.monotonic()
    while (passed := time.monotonic() - begun) < load.seconds or (watching and not eyes.states and passed < START):
        if watching is None:
            await asyncio.sleep(load.seconds)
        else:
            await asyncio.wait({watching}, timeout=load.seconds)
            if watching.done():
                break
    seconds = time.monotonic() - begun
    eyes.counts = False
    found: dict[str, Any] = {}
    for name, pid in pids.items():
        cpu, memory = used(pid)
        found |= {f"{name}_core": (cpu - before[name]) / seconds, f"{name}_bytes": memory}
    if watching is not None:
        if watching.done():
            watching.result()
        assert eyes.states, "no state came"
        found |= {
            "states": eyes.states / seconds, "messages": eyes.behind / seconds, "bytes": eyes.bytes / seconds,
            "age_us": shares_of(eyes.ages),
        }  # fmt: skip
    return found


def shares_of(ages: list[int]) -> dict[str, float]:
    """By share."""
    ordered = sorted(ages)
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in SHARES.items()}


async def recorded(port: int, load: Load, lake: Path) -> dict[str, Any]:
    """A recorder alone; and while its lake is shown."""
    url = f"ws://127.0.0.1:{port}/v2"
    options = ("--url", url, "--depth", str(load.depth), "--channels", ",".join(CHANNELS), "--out", str(lake))
    async with krakpot("record", *options, "--metrics", "0") as recorder:
        base = await recorder.until(rb"metrics at (\S+)/metrics")
        await ready(base, lake, load.pairs * len(CHANNELS))
        pids = {"recorder": recorder.process.pid}
        alone = await window(load, pids, None, Eyes(load))
        async with krakpot("view", str(lake), "--port", "0", "--no-open") as server:
            beside = await seen(load, server, pids)
            await server.end()
        messages = (await asyncio.to_thread(Snapshot.take, base, "")).total("messages_total")
        summary = await recorder.end()
    assert [summary[what] for what in ("unchecked", "errors", "gaps")] == [0, 0, 0], summary
    assert sum(found["bad"] for found in summary["checksums"].values()) == 0, summary
    return {"alone": alone, "beside": beside, "received": messages, "waits": summary["backpressure"]["waits"]}


async def seen(load: Load, server: Program, pids: dict[str, int]) -> dict[str, Any]:
    """What a client of the server sees."""
    address = await server.until(rb"listening on (\S+)")
    eyes = Eyes(load)
    watching = asyncio.create_task(eyes.watch(address))
    try:
        return await window(load, pids | {"server": server.process.pid}, watching, eyes)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def live(port: int, load: Load) -> dict[str, Any]:
    """The feed, shown without a recording."""
    options = ("--url", f"ws://127.0.0.1:{port}/v2", "--depth", str(load.levels), "--port", "0", "--no-open")
    async with krakpot("view", "live", *options) as server:
        found = await seen(load, server, {})
        await server.end()
    return found


def measure(load: Load) -> dict[str, Any]:
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
    found = measure(Load(pairs=30, rate=500.0, depth=100, seconds=4.0, shown=5) if options.small else Load())
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

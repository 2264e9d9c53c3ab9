"""The cost of the Python side: from a socket to a checked book, and the proof of a lake.

Goals: CPU per frame relative to a bare read loop of the same library, in one run; book messages verified per second
and core, and with two threads; bytes per row, as sealed and as compacted; the books of a day every 100 ms; events of a
replay per second; states of two channels paired per second; what a thousand idle subscriptions cost a busy one; the
time of the import. Every answer is asserted.
Not goals: latency, TLS, the network, many symbols at once.

``python bench/python/measure.py`` prints a table, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa

import krakpot
import made
import readers
import storage
from krakpot import _core

RUST = Path(__file__).parents[1] / "rust"
DEPTH = 25
SEED = 20_260_802
READERS = ("bare", "krakpot", "asyncio")
IDLE = 1000
"""Subscriptions that bring nothing."""
START = 1_785_641_750_000_000_000
"""Receive time of the first frame, ns."""


def generate(path: Path, symbols: int, updates: int) -> int:
    """Write a generated stream of book frames to ``path``; returns how many are book messages."""
    command = ["cargo", "run", "--release", "--quiet", "--manifest-path", str(RUST / "frames/Cargo.toml"), "--"]
    with path.open("wb") as out:
        subprocess.run([*command, str(symbols), str(DEPTH), str(updates), str(SEED)], stdout=out, check=True)
    return symbols + updates


def socket_to_book(folder: Path, updates: int, rounds: int) -> dict[str, Any]:
    """CPU µs per frame of each reader: medians over interleaved rounds."""
    path = folder / "socket.jsonl"
    books = generate(path, 1, updates)
    frames = len(path.read_bytes().splitlines())
    blaster = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("blaster.py")), str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert blaster.stdout is not None, "asked for"
        port = int(blaster.stdout.readline())
        seconds: dict[str, list[float]] = {reader: [] for reader in READERS}
        # The first round warms up and is not counted.
        for turn in range(rounds + 1):
            for reader in READERS:
                taken, counted = readers.timed(reader, port, DEPTH)
                if reader == "krakpot":
                    assert counted["checksums"]["book"] == {"ok": books, "bad": 0}, counted
                    assert (counted["frames"], counted["errors"]) == (frames, 0), counted
                else:
                    assert counted == frames, f"{reader} saw {counted} of {frames} frames"
                if turn:
                    seconds[reader].append(taken)
    finally:
        blaster.kill()
        blaster.wait()
    median = {reader: statistics.median(values) / frames * 1e6 for reader, values in seconds.items()}
    ratios = [k / b for k, b in zip(seconds["krakpot"], seconds["bare"], strict=True)]
    return {
        "frames": frames,
        "rounds": rounds,
        "us": median,
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }


def beside_idle(folder: Path, updates: int, rounds: int) -> dict[str, Any]:
    """CPU µs per message of one busy symbol, alone and next to ``IDLE`` other subscriptions that bring nothing.

    A thousand messages per second, and what a recorder does in that time: ten ticks of the session, rows taken five
    times, counters once.
    """
    busy, idle = folder / "busy.jsonl", folder / "idle.jsonl"
    generate(busy, 1, updates)
    generate(idle, 1 + IDLE, 0)
    status, *frames = busy.read_bytes().splitlines()
    # Its first symbol has the name of the busy one, whose ack and snapshot come from the busy stream.
    others = idle.read_bytes().splitlines()[3:]
    assert len(others) == 2 * IDLE
    seconds: dict[int, list[float]] = {0: [], IDLE: []}
    for turn in range(rounds + 1):
        for beside, taken in seconds.items():
            session = _core.Session("bench", passive=True, depth=DEPTH)
            session.receive([status, *others[: 2 * beside]], START)
            session.drain()
            session.take_ledger()
            gc.collect()
            begun = time.thread_time()
            for at in range(0, len(frames), 20):
                now = START + at * 1_000_000
                session.receive(frames[at : at + 20], now)
                if at % 100 == 0:
                    session.tick(now)
                    session.requests(now)
                    session.take_ledger()
                if at % 200 == 0:
                    session.drain()
                if at % 1000 == 0:
                    session.counts()
            if turn:
                taken.append(time.thread_time() - begun)
            counts = session.counts()
            assert counts["checksums"]["book"] == {"ok": beside + 1 + updates, "bad": 0}, counts
            assert counts["in_sync"] == beside + 1, counts
    ratios = [many / alone for alone, many in zip(*seconds.values(), strict=True)]
    return {
        "messages": updates,
        "idle": IDLE,
        "us": statistics.median(seconds[0]) / updates * 1e6,
        "us_beside": statistics.median(seconds[IDLE]) / updates * 1e6,
        "ratio": statistics.median(ratios),
    }


def verify(folder: Path, symbols: int, updates: int, rounds: int) -> dict[str, Any]:
    """Book messages verified per second: of CPU with one thread, and by the clock with one and with two threads.

    The lake is made by ``krakpot.ingest``.
    """
    path = folder / "lake.jsonl"
    books = generate(path, symbols, updates)
    lake = folder / "lake"
    begun = time.process_time()
    result = krakpot.ingest(path, lake)
    ingest = time.process_time() - begun
    assert result.counts["checksums"]["book"] == {"ok": books, "bad": 0}, result.counts
    cpu: dict[int, list[float]] = {1: [], 2: []}
    wall: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in (1, 2):
            started = time.process_time(), time.perf_counter()
            report = krakpot.verify(lake, threads=threads)
            cpu[threads].append(time.process_time() - started[0])
            wall[threads].append(time.perf_counter() - started[1])
            assert report.proved, report.problems
            assert (report.ok, report.bad, report.unchecked) == (books, 0, 0)
    parts = list(lake.glob("book/*/*.parquet"))
    rows = sum(pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts)
    return {
        "symbols": symbols,
        "messages": books,
        "rows": rows,
        "ingest_per_second": books / ingest,
        "per_second": books / statistics.median(cpu[1]),
        "by_clock": {f"threads_{threads}": books / statistics.median(taken) for threads, taken in wall.items()},
        "bytes_per_row": sum(part.stat().st_size for part in parts) / rows,
    }


IMPORT = """
import time
begun = time.perf_counter()
import krakpot
bare = time.perf_counter() - begun
krakpot.Lake
print(krakpot.__version__, bare, time.perf_counter() - begun)
"""
"""For a separate process, which has nothing loaded."""


def imported(rounds: int) -> dict[str, Any]:
    """Milliseconds of ``import krakpot``, and up to the first use of ``krakpot.Lake``, which loads Polars and PyArrow.

    The first round reads the files into the cache and is not counted.
    """
    found = []
    for _ in range(rounds + 1):
        done = subprocess.run([sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True)
        version, *seconds = done.stdout.split()
        assert version == krakpot.__version__, done.stdout
        found.append([float(value) * 1000 for value in seconds])
    bare, lake = map(statistics.median, zip(*found[1:], strict=True))
    return {"rounds": rounds, "ms": bare, "lake_ms": lake}


COMPACT = """
import json, resource, sys, time
from datetime import UTC, datetime
from krakpot.lake import compact
begun = time.process_time()
report = compact.compact(sys.argv[1], grace=0, now=datetime.fromtimestamp(int(sys.argv[2]) / 1e9, UTC))
mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({"rows": report.rows, "seconds": time.process_time() - begun, "mb": mb}))
"""
"""For a separate process, whose memory is measured; it runs two days after the recording."""


def compacted(folder: Path, seconds: float) -> dict[str, Any]:
    """Bytes per row of the book as sealed and as compacted, also by column.

    10,000 messages per second of 200 pairs at depth 1000 for ``seconds`` of exchange time. As in a real recording only
    a few messages, those of one read, share a receive time (``made.FRAMES``). If they were read faster than real time,
    many more would share one, and ``ts_recv`` would cost less.
    """
    lake = folder / "recorded"
    counts = made.make(lake, pairs=200, rate=10_000, seconds=seconds, depth=1000)
    rows = counts["rows"]["book"]

    def book() -> list[Path]:
        return list(lake.glob("book/*/*.parquet"))

    def bytes_per_row() -> float:
        return sum(part.stat().st_size for part in book()) / rows

    parts, sealed = len(book()), bytes_per_row()
    now = made.MIDNIGHT + 2 * 86_400 * made.SECOND
    done = subprocess.run([sys.executable, "-c", COMPACT, str(lake), str(now)], stdout=subprocess.PIPE, check=True)
    report = krakpot.verify(lake)
    assert report.proved, report.problems
    assert report.checksums["book"] == counts["checksums"]["book"], report.checksums
    found, columns = storage.columns(book())
    assert (parts > 1, len(book()), found) == (True, 1, rows)
    return {
        "rows": rows,
        "parts": parts,
        "frames": made.FRAMES,
        "bytes_per_row_sealed": sealed,
        "bytes_per_row": bytes_per_row(),
        "columns": {name: size / rows for name, size in sorted(columns.items(), key=lambda item: -item[1])},
        "compact": json.loads(done.stdout),
    }


def books(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Books every 100 ms, depth 10, of one busy symbol, and the proof of the same lake: with one thread and with two.

    Recorded at depth 100 for ``seconds`` of exchange time; a day has about 7 million messages.
    """
    lake = folder / "day"
    counts = made.make(lake, pairs=1, rate=330, seconds=seconds, depth=100, channels=("book",))
    opened = krakpot.Lake(lake)
    (symbol,) = opened.symbols()
    begin, end = made.MIDNIGHT, made.MIDNIGHT + round(seconds * made.SECOND)
    sent = opened.book(symbol).select("ts_recv", "message", sent="checksum").unique("message").sort("message").collect()
    found: dict[str, Any] = {"messages": counts["messages"]["book"], "rows": counts["rows"]["book"]}
    for threads in (1, 2):
        cpu, wall, proof = [], [], []
        for _ in range(rounds):
            begun = time.process_time(), time.perf_counter()
            frame = opened.books(symbol, begin, end, threads=threads, numbers="float")
            cpu.append(time.process_time() - begun[0])
            wall.append(time.perf_counter() - begun[1])
            live = frame.filter(pl.col("reason").is_null()).select("ts", "checksum")
            # The snapshot comes within the first second, the last message with the end.
            assert (frame.height, live.height > frame.height - 20) == (-(-(end - begin) // 100_000_000), True)
            last = live.join_asof(sent, left_on="ts", right_on="ts_recv")
            assert last["checksum"].equals(last["sent"]), "each is the book after the last message"
            begun = time.process_time(), time.perf_counter()
            report = krakpot.verify(lake, threads=threads)
            proof.append(time.perf_counter() - begun[1])
            assert (report.proved, report.ok) == (True, found["messages"]), report.problems
        found[f"threads_{threads}"] = {
            "cpu": statistics.median(cpu),
            "seconds": statistics.median(wall),
            "verified_per_second": found["messages"] / statistics.median(proof),
        }
    return found | {"times": frame.height}


def replayed(folder: Path, rounds: int) -> dict[str, Any]:
    """The events of the lake of ``books``, handed to a callback; also where that looks at the book."""
    lake = krakpot.Lake(folder / "day")
    (symbol,) = lake.symbols()

    async def play(*, look: bool) -> int:
        count = 0
        async with krakpot.Replay(lake, symbol, channels=["book"]) as feed:
            book = feed.book(symbol)

            def counted(_: krakpot.BookEvent) -> None:
                nonlocal count
                count += 1

            def looked(_: krakpot.BookEvent) -> None:
                nonlocal count
                count += book.in_sync and book.best("float")[0] is not None

            feed.on("book", looked if look else counted)
            await feed.run()
        return count

    found: dict[str, Any] = {}
    for name, look in (("seconds", False), ("seconds_with_book", True)):
        taken = []
        for _ in range(rounds):
            begun = time.perf_counter()
            events = asyncio.run(play(look=look))
            taken.append(time.perf_counter() - begun)
        found["events"] = max(events, found.get("events", 0))
        assert events > found["events"] * 0.99, "all messages come, and the book is in sync"
        found[name] = statistics.median(taken)
    return found | {"per_second": found["events"] / found["seconds"]}


def align(states: int, rounds: int) -> dict[str, Any]:
    """States of one symbol paired per second of CPU: one side has all of them, the other three of four, 20 ms later.

    Every fourth state is one of eight that recur, so that it has many candidates within the window.
    """
    random = Random(SEED)
    time_ns, right, left = 0, [], []
    for n in range(states):
        time_ns += random.randrange(2_000_000)
        key = random.randrange(8) if n % 4 == 0 else 8 + n
        right.append((0, key, time_ns, False))
        if n % 16 < 12:
            left.append((0, key, time_ns + 20_000_000, False))
    schema = {"group": pl.UInt32, "key": pl.UInt64, "time": pl.Int64, "first": pl.Boolean}
    sides = [pl.DataFrame(side, schema=schema, orient="row") for side in (left, right)]
    expected = [n for n in range(states) if n % 16 < 12]
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        pairs = pa.record_batch(_core.align(*sides, window=5_000_000_000))
        seconds.append(time.process_time() - begun)
        assert pairs.column("left").to_pylist() == list(range(len(expected)))
        assert pairs.column("right").to_pylist() == expected, "each one is paired with itself"
    return {"states": states, "pairs": len(expected), "per_second": states / statistics.median(seconds)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--small", action="store_true", help="little work, for the tests: the answers are asserted all the same"
    )
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.small:
            found = {"socket": socket_to_book(folder, 2_000, 1), "verify": verify(folder, 5, 5_000, 1)}
            found["compact"] = compacted(folder, 60)
            found["books"] = books(folder, 60, 1)
            found["replay"] = replayed(folder, 1)
            found["align"] = align(10_000, 1)
            found["idle"] = beside_idle(folder, 1_000, 1)
            found["import"] = imported(1)
        else:
            found = {"socket": socket_to_book(folder, 50_000, 9), "verify": verify(folder, 50, 500_000, 3)}
            found["compact"] = compacted(folder, 700)
            found["books"] = books(folder, 86_400, 3)
            found["replay"] = replayed(folder, 3)
            found["align"] = align(1_000_000, 3)
            found["idle"] = beside_idle(folder, 50_000, 9)
            found["import"] = imported(9)
    if options.json:
        print(json.dumps(found))
        return
    socket, lake, merged = found["socket"], found["verify"], found["compact"]
    for reader, us in socket["us"].items():
        print(f"{reader:10} {us:6.2f} µs CPU per frame")
    print(f"krakpot / bare: {socket['ratio']:.2f} ({socket['ratio_least']:.2f} to {socket['ratio_most']:.2f})")
    print(
        f"verify: {lake['per_second']:,.0f} messages/s of one core, {lake['by_clock']['threads_2']:,.0f} by the clock "
        f"with two threads, {lake['bytes_per_row']:.1f} bytes per row as sealed"
    )
    print(
        f"compact: {merged['rows']:,} rows of books in {merged['parts']} parts, "
        f"{merged['bytes_per_row_sealed']:.2f} bytes each as sealed, {merged['bytes_per_row']:.2f} as compacted, "
        f"{merged['compact']['mb']:.0f} MB at most; of these "
        + ", ".join(f"{name} {size:.2f}" for name, size in merged["columns"].items())
    )
    day = found["books"]
    for threads in (1, 2):
        one = day[f"threads_{threads}"]
        print(
            f"books: {day['times']:,} of {day['messages']:,} messages, {threads} threads: {one['seconds']:.2f} s, "
            f"{one['cpu']:.2f} s CPU; verify {one['verified_per_second']:,.0f} messages/s"
        )
    replay = found["replay"]
    print(
        f"replay: {replay['per_second']:,.0f} events/s into a callback, "
        f"{replay['events'] / replay['seconds_with_book']:,.0f} where it looks at the book"
    )
    paired = found["align"]
    print(f"align: {paired['per_second']:,.0f} states/s, of {paired['states']:,} states of one symbol")
    quiet = found["idle"]
    print(
        f"idle: {quiet['us']:.2f} µs CPU per message alone, {quiet['us_beside']:.2f} beside {quiet['idle']:,} idle "
        f"subscriptions: {quiet['ratio']:.2f} ×"
    )
    loaded = found["import"]
    print(f"import: {loaded['ms']:.0f} ms, {loaded['lake_ms']:.0f} ms with krakpot.Lake")


if __name__ == "__main__":
    main()

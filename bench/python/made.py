"""Lakes of any size, fast: the built-in exchange, a session, journals, the sealer; no sockets, stepped time.

``python bench/python/made.py LAKE --pairs 200 --rate 10000 --seconds 6600`` makes one of about 100 million rows.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from krakpot import _core
from krakpot.exchange.frames import unframe
from krakpot.lake import journal, seal
from krakpot.lake.format import open_lake

MIDNIGHT = 1_785_628_800_000_000_000
"""2026-08-02, UTC, ns."""
SECOND = 1_000_000_000
FRAMES = 4
"""Frames per read of a socket, about; they share their receive time."""
STEP_MAX = 20_000_000
"""Time between two reads, at most, ns."""


def make(
    lake: Path,
    *,
    pairs: int,
    rate: float,
    seconds: float,
    depth: int = 1000,
    channels: tuple[str, ...] = ("book", "trade", "ticker"),
    start: int = MIDNIGHT,
    seed: int = 1,
) -> dict[str, Any]:
    """Record ``seconds`` of exchange time into a new lake; returns the session's counts. Parts are sealed beside it."""
    random = Random(seed)
    exchange = _core.Exchange(pairs=pairs, rate=rate, seed=seed, start=start)
    open_lake(lake)
    name = f"{start // 1_000_000:012x}"
    name = f"{name[:8]}-{name[8:]}-7000-8000-{seed:012x}"
    session = _core.Session(name, channels=channels, depth=depth)
    client = exchange.connect()
    writer = journal.Writer(lake, name)
    now, end, flushed, asked = start, start + round(seconds * SECOND), start, 0
    step = min(round(2 * SECOND * FRAMES / rate), STEP_MAX)
    session.add_ledger_row("start", now)
    session.add_ledger_row("connect", now)
    # Spawned: a forked process would inherit the open journal, and its lock.
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as sealer:
        done: list[Future[seal.Report]] = []
        while now < end:
            # Requests are due when time has passed; the first ones at once.
            if now >= asked:
                for request in session.requests(now):
                    exchange.receive(client, request)
                session.tick(now)
                asked = now + SECOND // 10
            now += random.randrange(1, step)
            exchange.advance(now)
            session.receive(unframe(exchange.take(client)), now)
            if now - flushed >= SECOND or session.pending_rows > 100_000:
                flushed = now
                if writer.write(session.drain(), now) is not None:
                    done.append(sealer.submit(seal.recover, lake))
        session.end(now, "the recording is over")
        session.add_ledger_row("stop", now)
        writer.write(session.drain(), now)
        writer.close()
        done.append(sealer.submit(seal.recover, lake))
        for future in done:
            future.result()
    counts: dict[str, Any] = session.counts()
    assert (counts["errors"], counts["unchecked"], counts["checksums"]["book"]["bad"]) == (0, 0, 0), counts
    return counts


def main() -> None:
    """Make a lake and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--channels", default="book,trade,ticker")
    options = vars(parser.parse_args())
    begun = time.monotonic()
    counts = make(options.pop("lake"), channels=tuple(options.pop("channels").split(",")), **options)
    print(json.dumps(counts["rows"] | {"messages": counts["messages"], "seconds": time.monotonic() - begun}))


if __name__ == "__main__":
    main()

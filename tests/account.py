"""Record the built-in exchange as fast as the recorder reads, and compare the lake with the exchange's own account.

``python tests/account.py --seconds 3600 --rate 10000 --out DIR`` runs it at any size; the tests run it small.

With ``--faults SEED`` a fault happens every few seconds, in real time. Then every message is compared (``losses``): it
is in the lake, or the ledger names it. At the end the live books equal those of the exchange, or say why they are out
of sync; memory has not grown; requests and connection attempts stayed within limits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import linear_regression, median
from typing import Any

import polars as pl

from krakpot.compare.exchange import differences
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from losses import FRAME_FAULTS, losses
from simulated import Trouble
from standings import wrong

SAMPLE = 5.0
"""Seconds between two looks at the recorder's memory."""
SAMPLES_MIN = 12
"""With fewer samples nothing is checked: in the first minute memory still grows."""
GROWTH_MAX = 1.15, 20.0
"""Factor and MB by which memory may grow from the second quarter of a run to the last."""
CALM = 60.0
"""Seconds without faults at the end of a run; in a short run its last third."""
REQUESTS_MAX = 600 + 10
"""Requests per minute of one connection: ten per second after a burst of ten."""
ATTEMPTS_MAX = 120
"""Connection attempts in ten minutes: krakpot's limit, below the 150 at which Kraken bans an address."""
MINUTE = 60 * 10**9
TOLD = 20
"""Sentences of each kind that are printed, at most."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong in a run."""

    seed: int
    every: float
    """Seconds."""


class Server(ExchangeServer):
    """The exchange, which remembers when it received requests."""

    asks: deque[int]
    """Times of requests, ns; no pings."""

    def __init__(self, options: Options) -> None:
        self.asks = deque()
        super().__init__(options)

    def settle(self) -> None:
        """Remember the time of a request."""
        self.asks.append(self.exchange.now)
        super().settle()


@dataclass(frozen=True)
class _Number:
    number: int | None


class _Stage:
    """The part of the simulated world that ``Trouble`` needs."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.seed = seed

    @property
    def symbols(self) -> list[str]:
        return self.server.exchange.symbols

    @property
    def links(self) -> list[_Number]:
        return [_Number(client.number) for client in self.server.clients] or [_Number(None)]

    @property
    def delisted(self) -> set[str]:
        gone: set[str] = set()
        for fault in self.server.injected:
            if fault["name"] == "delist":
                gone.add(fault["symbol"])
            elif fault["name"] == "list":
                gone.discard(fault["symbol"])
        return gone


async def _trouble(server: Server, faults: Faults, seconds: float) -> None:
    """Inject a fault every few seconds, and end all faults before the end of the run."""
    trouble = Trouble(_Stage(server, faults.seed))  # type: ignore[arg-type]  # as much of a world as it needs
    random = Random(faults.seed)
    until = server.begin + round((seconds - min(CALM, seconds / 3)) * 1e9)
    server.inject(f"budget,by={ATTEMPTS_MAX}")
    while server.exchange.now < until:
        await asyncio.sleep(random.uniform(0.5, 1.5) * faults.every)
        for text in trouble.some():
            server.inject(text)
    server.exchange.clear_faults()


async def _watch(pid: int, memory: list[tuple[float, float]]) -> None:
    """Sample the memory of the recorder: seconds, MB."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2]
        if status:
            memory.append((time.monotonic(), int(status.split()[0]) / 1e3))
        await asyncio.sleep(SAMPLE)


def _memory(samples: list[tuple[float, float]]) -> dict[str, Any]:
    """Memory after the first quarter of a run, which is the time of subscribing."""
    later = samples[len(samples) // 4 :]
    if len(later) < SAMPLES_MIN:
        return {"grown": False}
    third = len(later) // 3
    first, last = median(mb for _, mb in later[:third]), median(mb for _, mb in later[-third:])
    slope = linear_regression([at for at, _ in later], [mb for _, mb in later]).slope
    factor, least = GROWTH_MAX
    return {
        "first_mb": round(first, 1),
        "last_mb": round(last, 1),
        "mb_per_hour": round(slope * 3600, 1),
        "grown": last > max(first * factor, first + least),
    }


def _most(times: list[int], span: int) -> int:
    """The largest number of these times within one span."""
    times = sorted(times)
    end = most = 0
    for begin, at in enumerate(times):
        while end < len(times) and times[end] < at + span:
            end += 1
        most = max(most, end - begin)
    return most


async def _standings(recorder: asyncio.subprocess.Process, file: Path) -> list[Any]:
    """The state of the recorder's live books."""
    recorder.send_signal(signal.SIGUSR1)
    async with asyncio.timeout(300):
        while not file.exists():
            await asyncio.sleep(0.1)
    return list(json.loads(file.read_text()))


def _judge(
    lake: Lake, log: Path, server: Server, account: dict[str, Any], books: list[Any], connections: int
) -> dict[str, Any]:
    """Facts of a run with faults; ``wrong`` has what must not happen."""
    lost = losses(lake, log, account)
    harmed = {
        (channel, symbol)
        for connection in account["connections"]
        for symbol, channels in connection["symbols"].items()
        for channel, facts in channels.items()
        if set(facts.get("faults", {})) & set(FRAME_FAULTS)
    }
    depths = {"book": books[0], "level3": books[1]}
    seen, sentences = wrong([tuple(one) for one in books[2]], server.exchange, depths, harmed)
    ledger = lake.ledger().select("session", "kind", "channel", pl.col("ts_recv").to_physical()).collect()
    refused = ledger.filter(pl.col("kind") == "refused", pl.col("channel") == "connection")
    attempts = [*ledger.filter(pl.col("kind") == "connect")["ts_recv"], *refused["ts_recv"]]
    requests = _most(list(server.asks), MINUTE)
    within_ten = _most(attempts, 10 * MINUTE)
    if requests > REQUESTS_MAX * connections:
        sentences.append(f"{requests} requests within a minute")
    if within_ten > ATTEMPTS_MAX or account["faults"].get("budget"):
        sentences.append(f"{within_ten} attempts to connect within ten minutes")
    return {
        "faults": account["faults"],
        "sent": lost.sent,
        "recorded": lost.sent - lost.lost,
        "lost": dict(sorted(lost.why.items())),
        "books": dict(sorted(seen.items())),
        "ledger": dict(sorted(Counter(ledger["kind"]).items())),
        "requests": {"all": len(server.asks), "most_a_minute": requests},
        "attempts": {"all": len(attempts), "most_a_minute": _most(attempts, MINUTE), "most_in_ten": within_ten},
        "wrong": [*lost.unexplained[:TOLD], *sentences[:TOLD]],
    }


async def _child(program: tuple[str, ...], *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *program, *arguments, stdout=asyncio.subprocess.PIPE, env=os.environ | variables
    )


def _process(pid: int) -> dict[str, float]:
    """CPU seconds of a process alone, without its sealers, and the most memory it had, MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"cpu_seconds": ticks / os.sysconf("SC_CLK_TCK"), "memory_mb": int(status["VmHWM"].split()[0]) / 1e3}


async def _run(
    out: Path,
    *,
    seconds: float,
    rate: float,
    pairs: int,
    depth: int,
    level3: int | None,
    speed: float | None,
    share: int | None,
    redundant: str | None,
    faults: Faults | None,
) -> dict[str, Any]:
    log, file = out.with_suffix(".log.csv"), out.with_suffix(".books.json")
    options = Options(
        pairs=pairs, rate=rate, seed=1, speed=1.0 if faults else speed, duration=seconds, log=log if faults else None
    )
    program = ("-m", "krakpot") if faults is None else (str(Path(__file__).with_name("standings.py")), str(file))
    memory: list[tuple[float, float]] = []
    found: dict[str, Any] = {}
    async with Server(options) as server:
        record: tuple[str, ...] = (
            "record",
            "--url",
            server.address,
            "--depth",
            str(depth),
            "--out",
            str(out),
            "--seal-interval",
            "60s",
        )
        if level3 is not None:
            record += ("--channels", "book,trade,ticker,level3", "--level3-depth", str(level3))
            record += ("--rest-url", server.rest_address)
        if share is not None:
            record += ("--symbols-per-connection", str(share))
        if redundant is not None:
            record += ("--redundant", redundant)
        begin = time.monotonic()
        key = {"KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text}
        recorder = await _child(program, *record, "--json", **key)
        beside = [asyncio.create_task(_watch(recorder.pid, memory))]
        if faults is not None:
            beside.append(asyncio.create_task(_trouble(server, faults, seconds)))
        over = asyncio.create_task(server.finished.wait())
        gone = asyncio.create_task(recorder.wait())
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        assert recorder.returncode is None, f"the recorder ended with {recorder.returncode} before the exchange did"
        while any(client.transport.get_write_buffer_size() + client.pipe.size for client in server.clients):
            await asyncio.sleep(0.1)
        # Data in the kernel's buffers is read soon.
        await asyncio.sleep(2)
        took = time.monotonic() - begin
        for task in beside:
            task.cancel()
        failures = await asyncio.gather(*beside, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError | None) for one in failures), failures
        process = _process(recorder.pid)
        connections = len(server.clients)
        books = [depth, level3 or 10, await _standings(recorder, file) if faults else []]
        recorder.send_signal(signal.SIGINT)
        text, _ = await recorder.communicate()
        usage = os.times()
        account = server.summary()
    assert recorder.returncode == 0, f"the recorder's exit code is {recorder.returncode}"
    begin = time.monotonic()
    verify = await _child(("-m", "krakpot"), "verify", "--json", str(out))
    proof, _ = await verify.communicate()
    if faults is not None:
        found = {"memory": _memory(memory)} | _judge(Lake(out), log, server, account, books, connections)
        found["wrong"] += ["memory has grown"] if found["memory"]["grown"] else []
    return found | {
        "seconds": took,
        "exchange_cpu_seconds": usage.user + usage.system,
        "children_cpu_seconds": usage.children_user + usage.children_system,
        "recorder": process | {"load": os.getloadavg()[0]},
        "messages": account["messages"],
        "record": json.loads(text),
        "verify": json.loads(proof),
        "verify_seconds": time.monotonic() - begin,
        "differences": differences(Lake(out), account) if faults is None else [],
    }


def run(
    out: Path,
    *,
    seconds: float,
    rate: float,
    pairs: int = 200,
    depth: int = 1000,
    level3: int | None = None,
    speed: float | None = None,
    share: int | None = None,
    redundant: str | None = None,
    faults: Faults | None = None,
) -> dict[str, Any]:
    """Record ``seconds`` of exchange time into ``out``; the facts of recorder, verification and comparison.

    ``level3``: its depth, if it is recorded too. ``share``: symbols per connection; None: all on one. ``redundant``:
    patterns of symbols that have a second source. ``faults``: seed of the faults, which happen in real time.
    """
    work = _run(
        out, seconds=seconds, rate=rate, pairs=pairs, depth=depth, level3=level3, speed=speed, share=share,
        redundant=redundant, faults=faults,
    )  # fmt: skip
    return asyncio.run(work)


def main() -> int:
    """Run it from the command line, print the facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the lake; must not exist")
    parser.add_argument("--seconds", type=float, default=60, help="exchange time")
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--level3", type=int, help="depth of level 3, to record it too")
    parser.add_argument("--symbols-per-connection", type=int, help="to spread them over several public connections")
    parser.add_argument("--redundant", help="patterns of symbols that are to have a second source")
    parser.add_argument("--faults", type=int, metavar="SEED", help="let something go wrong every few seconds")
    parser.add_argument("--faults-every", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--real-time", action="store_true", help="not faster than time")
    given = parser.parse_args()
    speed = 1.0 if given.real_time else None
    facts = run(
        given.out,
        seconds=given.seconds,
        rate=given.rate,
        pairs=given.pairs,
        depth=given.depth,
        level3=given.level3,
        speed=speed,
        share=given.symbols_per_connection,
        redundant=given.redundant,
        faults=None if given.faults is None else Faults(given.faults, given.faults_every),
    )
    facts["verify"].pop("symbols")
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    return 1 if facts["differences"] or facts.get("wrong") or not facts["verify"]["proved"] else 0


if __name__ == "__main__":
    sys.exit(main())

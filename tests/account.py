"""Record the built-in exchange as fast as the recorder reads, and compare the lake with the exchange's own account.

``python tests/account.py --seconds 3600 --rate 10000 --out DIR`` runs it at any size; the tests run it small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from krakpot.exchange import ExchangeServer, Options, differences
from krakpot.lake import Lake


async def _child(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "krakpot", *arguments, stdout=asyncio.subprocess.PIPE, env=os.environ | variables
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
) -> dict[str, Any]:
    options = Options(pairs=pairs, rate=rate, seed=1, speed=speed, duration=seconds)
    async with ExchangeServer(options) as server:
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
        begin = time.monotonic()
        key = {"KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text}
        recorder = await _child(*record, "--json", **key)
        over = asyncio.create_task(server.over.wait())
        gone = asyncio.create_task(recorder.wait())
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        assert recorder.returncode is None, f"the recorder ended with {recorder.returncode} before the exchange did"
        while any(client.transport.get_write_buffer_size() for client in server.clients):
            await asyncio.sleep(0.1)
        # What is in the kernel's buffers is read in a moment.
        await asyncio.sleep(2)
        took = time.monotonic() - begin
        process = _process(recorder.pid)
        recorder.send_signal(signal.SIGINT)
        text, _ = await recorder.communicate()
        usage = os.times()
        account = server.summary()
    assert recorder.returncode == 0, f"the recorder's exit code is {recorder.returncode}"
    begin = time.monotonic()
    verify = await _child("verify", "--json", str(out))
    proof, _ = await verify.communicate()
    return {
        "seconds": took,
        "exchange_cpu_seconds": usage.user + usage.system,
        "children_cpu_seconds": usage.children_user + usage.children_system,
        "recorder": process | {"load": os.getloadavg()[0]},
        "messages": account["messages"],
        "record": json.loads(text),
        "verify": json.loads(proof),
        "verify_seconds": time.monotonic() - begin,
        "differences": differences(Lake(out), account),
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
) -> dict[str, Any]:
    """Record ``seconds`` of exchange time into ``out``; the facts of recorder, verification and comparison.

    ``level3``: its depth, where it is to be recorded too. ``share``: symbols of a connection; None: all on one.
    """
    work = _run(out, seconds=seconds, rate=rate, pairs=pairs, depth=depth, level3=level3, speed=speed, share=share)
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
    parser.add_argument("--share", type=int, help="symbols of a public connection, to spread them over several")
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
        share=given.share,
    )
    facts["verify"].pop("symbols")
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    return 1 if facts["differences"] or not facts["verify"]["proved"] else 0


if __name__ == "__main__":
    sys.exit(main())

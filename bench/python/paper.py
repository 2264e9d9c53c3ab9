"""``krakpot paper`` beside a recorder of the full feed: what it costs, and that the recorder loses nothing.

Goals: the CPU of the recorder alone, and while a strategy trades some pairs on paper in a process and over connections
of its own; the CPU of that process, which decodes, checks and simulates level 3 of its pairs. Every answer is asserted:
the recorder lost nothing and no checksum is wrong, the strategy had orders, and its run has no gap. Not goals:
networks, TLS, what a strategy computes.

``python bench/python/paper.py`` prints a line each, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import krakpot as kp
from burst import CHANNELS, ready
from krakpot import _core
from krakpot.errors import counted
from program import krakpot
from viewing import window

BEGIN = 8.0
"""Seconds until the strategy has its books."""


@dataclass(frozen=True)
class Work:
    """The full feed, and how many of its pairs are traded."""

    pairs: int = 1450
    rate: float = 10_000.0
    depth: int = 1000
    traded: int = 1
    seconds: float = 20.0


class Join:
    """Rests at the best price of each side, and goes along with it."""

    def book(self, m: kp.Market, e: kp.Level3Event) -> None:
        """Quote."""
        bid, _, ask, _ = m.best(e.symbol)
        for side, price in (("buy", bid), ("sell", ask)):
            orders = m.orders(e.symbol, side)  # type: ignore[arg-type]  # one of the two
            if not orders and m.trading and price is not None:
                m.send(side, e.symbol, m.pair(e.symbol).qty_min, price, post_only=True)  # type: ignore[arg-type]  # as well
            for order in orders:
                if order.state == "open" and order.price != price and m.rate(e.symbol).free > 20:
                    m.amend(order, price=price)


@contextmanager
def exchange(folder: Path, work: Work) -> Iterator[dict[str, Any]]:
    """An exchange in a process of its own: its addresses. Its key is in the environment meanwhile."""
    file = folder / "key.toml"
    command = [sys.executable, str(Path(__file__).with_name("serving.py")), str(file), str(work.pairs), str(work.rate)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None, "asked for"
        facts: dict[str, Any] = json.loads(server.stdout.readline())
        key = tomllib.loads(file.read_text())
        os.environ |= {"KRAKPOT_API_KEY": key["key"], "KRAKPOT_API_SECRET": key["secret"]}
        yield facts
    finally:
        server.kill()
        server.wait()


async def run(folder: Path, work: Work, facts: dict[str, Any]) -> dict[str, Any]:
    """A recorder alone; and while a strategy trades on paper."""
    lake = folder / "lake"
    where = ("--url", facts["url"])
    channels = ("--channels", ",".join(CHANNELS), "--depth", str(work.depth))
    symbols = facts["symbols"][: work.traded]
    assets = {"USD": None} | dict.fromkeys(asset for symbol in symbols for asset in symbol.split("/"))
    balances = [option for asset in assets for option in ("--balance", f"{asset}=1000000")]
    async with krakpot("record", *where, *channels, "--out", str(lake), "--metrics", "0") as recorder:
        await ready(await recorder.until(rb"metrics at (\S+)/metrics"), lake, work.pairs * len(CHANNELS))
        alone = await window(work, {"recorder": recorder.process.pid})
        strategy = f"{Path(__file__)}:{Join.__name__}"
        rules = ("--symbols", ",".join(symbols), "--fees", "0.25%,0.40%", *balances)
        async with krakpot("paper", strategy, *where, "--rest-url", facts["rest_url"], *rules) as paper:
            await asyncio.sleep(BEGIN)
            if paper.process.returncode is not None:
                await paper.until(rb"[^\s\S]")
            beside = await window(work, {"recorder": recorder.process.pid, "paper": paper.process.pid})
            result = await paper.end()
        summary = await recorder.end()
    assert [summary[what] for what in ("unchecked", "errors", "gaps")] == [0, 0, 0], summary
    assert sum(found["bad"] for found in summary["checksums"].values()) == 0, summary
    assert result["requests"], "it traded"
    assert result["gaps"] == 0, result["integrity"]
    return {"alone": alone, "beside": beside, "messages": result["messages"], "requests": result["requests"]}


def measure(work: Work) -> dict[str, Any]:
    """Facts of both."""
    with tempfile.TemporaryDirectory() as name, exchange(Path(name), work) as facts:
        found = asyncio.run(run(Path(name), work, facts))
    added = found["beside"]["recorder_core"] - found["alone"]["recorder_core"] + found["beside"]["paper_core"]
    return {"pairs": work.pairs, "rate": work.rate, "traded": work.traded, "added_core": added} | found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="little work, for the tests")
    parser.add_argument("--traded", type=int, default=1, help="pairs that are traded; the first ones are the busiest")
    options = parser.parse_args()
    if _core.DEBUG and not options.small:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    little = {"pairs": 30, "rate": 500.0, "depth": 100, "seconds": 4.0} if options.small else {}
    found = measure(Work(traded=options.traded, **little))
    if options.json:
        print(json.dumps(found))
        return
    alone, beside = found["alone"], found["beside"]
    print(f"{found['pairs']:,} pairs, {found['rate']:,.0f} messages/s; {counted(found['traded'], 'pair')} on paper")
    print(f"recorder: {alone['recorder_core']:.1%} of a core alone, {beside['recorder_core']:.1%} beside it")
    print(
        f"paper: {beside['paper_core']:.1%} of a core, {beside['paper_bytes'] / 1e6:.0f} MB; {found['messages']:,} "
        f"messages, {found['requests']:,} requests"
    )
    print(f"added: {found['added_core']:.1%} of a core")


if __name__ == "__main__":
    main()

"""``krakpot compare`` on what ``krakpot record`` recorded over sockets, while it does and afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from krakpot.exchange.options import Options, Pace
from krakpot.exchange.server import ExchangeServer

LATE = 60_000_000
"""Delay of the book channel, ns: far beyond what a busy machine adds to either."""
PAIRS = 4


async def child(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Start a command."""
    command = [sys.executable, "-m", "krakpot", *arguments]
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | variables
    )


async def told(process: asyncio.subprocess.Process) -> tuple[int | None, dict[str, Any]]:
    """Exit code and the JSON object of a command that ends by itself."""
    out, errors = await process.communicate()
    assert out, errors.decode()
    return process.returncode, json.loads(out)


def begun(lake: Path) -> bool:
    """Whether somebody records into the lake."""
    return any(lake.glob("_journal/*.journal"))


async def record_and_follow(lake: Path) -> tuple[Any, Any, Any]:
    """Record for some seconds, follow the lake meanwhile, compare it at the end: three exit codes and answers."""
    options = Options(pairs=PAIRS, rate=800, seed=5, book=Pace(LATE, 0, 0))
    async with ExchangeServer(options) as server:
        key = {"KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text}
        record = ["record", "--url", server.address, "--rest-url", server.rest_address, "--out", str(lake), "--json"]
        recorder = await child(*record, "--channels", "book,level3", "--for", "12s", "--seal-interval", "4s", **key)
        while not begun(lake):
            await asyncio.sleep(0.1)
        follower = await child("compare", str(lake), "--live", "--for", "9s", "--json")
        live, recorded = await asyncio.gather(told(follower), told(recorder))
        return recorded, live, await told(await child("compare", str(lake), "--json"))


@pytest.mark.slow
def test_a_recording_is_followed_and_compared(tmp_path: Path) -> None:
    """Both answers: every book state follows from the orders, and the book channel is as late as it was delayed; live
    and from the parts, with the lag of the recorder's loop beside it.
    """
    recorded, live, whole = asyncio.run(record_and_follow(tmp_path / "lake"))
    assert recorded[0] == 0
    assert recorded[1]["checksums"]["level3"]["ok"] > 500
    for code, answer in (live, whole):
        assert code == 0, answer["total"]
        total = answer["total"]
        assert total["share"] == total["full"]["share"] == 1
        assert total["symbols"] == PAIRS
        assert total["book_states"] > 100
        assert total["only_level3"] == 0, "nothing is conflated"
        latency = total["latency"]["recv"]
        assert abs(latency["median"] - LATE) < LATE / 4
        assert latency["level3_first"] > 0.9 * latency["pairs"]
        assert total["latency"]["event"]["together"] == total["latency"]["event"]["pairs"]
        assert answer["loop_lag"]["seconds"] >= 3
    assert whole[1]["total"]["book_states"] >= live[1]["total"]["book_states"]

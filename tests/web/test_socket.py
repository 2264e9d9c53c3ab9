"""A feed in node over real sockets, against the built-in exchange's server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import krakpot

pytestmark = [pytest.mark.slow]

PROGRAM = Path(__file__).with_name("socket.js")


def test_a_cut_connection_is_made_again() -> None:
    """All books are right, and right again after the cut; the gap between is told."""

    async def said() -> tuple[list[str], int]:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=3, rate=300)) as server:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec("node", str(PROGRAM), server.address, stdout=pipe)
            assert process.stdout is not None
            found: list[str] = []
            async for line in process.stdout:
                found.append(line.decode().strip())
                if found == ["books"]:
                    server.exchange.inject("cut=once")
            return found, await process.wait()

    assert asyncio.run(asyncio.wait_for(said(), 100)) == (["books", "gap", "books again, 0 wrong"], 0)

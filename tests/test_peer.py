"""Independent clients keep their books on the built-in exchange and on a served replay, and check them with their code.

They are python-kraken-sdk and ccxt, from the package registry, in separate environments that these tests make: krakpot
does not depend on them. ``KRAKPOT_TEST=all`` runs them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import lakes
from exchange.test_clients import CCXT, KRAKEN_SDK
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.replay.server import ReplayServer
from tools import Run, tool

pytestmark = pytest.mark.timeout(400)
PAIRS = 8
UPDATES = 400


@pytest.fixture(scope="module")
def sdk() -> Run:
    """What runs the program of python-kraken-sdk."""
    return tool(KRAKEN_SDK, "peer_client.py")


async def _client(run: Run, address: str, pairs: dict[str, Any], updates: int) -> dict[str, Any]:
    """What a client prints, run isolated from the packages and variables of this environment."""
    options = json.dumps({"address": address, "pairs": pairs, "updates": updates})
    return await asyncio.to_thread(run, options)


async def _run(run: Run, updates: int, *faults: str) -> dict[str, Any]:
    async with ExchangeServer(Options(pairs=PAIRS, rate=400.0, seed=3)) as server:
        pairs = {
            pair["symbol"]: (pair["price_precision"], pair["qty_precision"]) for pair in await _pairs(server.address)
        }
        assert len(pairs) == PAIRS
        for fault in faults:
            server.inject(fault)
        return await _client(run, server.address, pairs, updates)


async def _pairs(address: str) -> list[dict[str, Any]]:
    from websockets.asyncio.client import connect

    async with connect(address) as client:
        await client.send(json.dumps({"method": "subscribe", "params": {"channel": "instrument"}}))
        while True:
            message = json.loads(await client.recv())
            if message.get("channel") == "instrument":
                return list(message["data"]["pairs"])


@pytest.mark.slow
def test_its_books_are_valid_by_its_own_checksums(sdk: Run) -> None:
    """Every update of every pair, checked by its code: no mismatch; and its books have ten levels a side."""
    found = asyncio.run(_run(sdk, UPDATES))
    assert found["alone"]
    assert found["bad"] == 0
    assert found["checked"] >= UPDATES
    assert found["errors"] == []
    assert len(found["pairs"]) == PAIRS
    assert found["levels"] == [10, 10]


def test_it_notices_a_wrong_digit(sdk: Run) -> None:
    """If the exchange changes digits of books, its code finds mismatches, so the other test could fail."""
    found = asyncio.run(_run(sdk, UPDATES, "digit=0.2,channel=book"))
    assert found["bad"] > 0
    assert any("Checksum mismatch" in error for error in found["errors"])


def _recorded(lake: Path) -> dict[str, Any]:
    """Record two pairs at depth 25; the decimals of their prices and quantities."""
    market = lakes.market(1500)
    lakes.make(lake, market)
    rows = Lake(lake).pairs().collect()
    return {row["symbol"]: (row["price_precision"], row["qty_precision"]) for row in rows.iter_rows(named=True)}


@pytest.mark.slow
def test_python_kraken_sdk_follows_a_served_replay(sdk: Run, tmp_path: Path) -> None:
    """A recording is as good as the exchange to it: every checksum is right by its own code."""
    pairs = _recorded(tmp_path / "lake")

    async def run() -> dict[str, Any]:
        async with ReplayServer(tmp_path / "lake", channels=["book"], speed=5.0) as server:
            return await _client(sdk, server.address, pairs, UPDATES)

    found = asyncio.run(run())
    assert found["alone"]
    assert found["bad"] == 0
    assert found["checked"] >= UPDATES
    assert found["errors"] == []
    assert found["pairs"] == sorted(pairs)


@pytest.mark.slow
def test_ccxt_follows_a_served_replay(tmp_path: Path) -> None:
    """The same of ccxt, to the end of the recording: its last books are the recorded ones."""
    ccxt = tool(CCXT, "ccxt_client.py")
    pairs = _recorded(tmp_path / "lake")

    async def run() -> dict[str, Any]:
        async with ReplayServer(tmp_path / "lake", channels=["book"], speed=5.0) as server:
            return await _client(ccxt, server.address, pairs, UPDATES)

    found = asyncio.run(run())
    assert found["alone"]
    assert found["enough"], found["counts"]
    lake = Lake(tmp_path / "lake")
    for symbol in pairs:
        last = lake.book(symbol).select("ts_recv").max().collect().item()
        levels = lake.book_at(symbol, last, depth=10, numbers="float").levels
        for side in ("bid", "ask"):
            ours = levels.select(f"{side}_price", f"{side}_qty").drop_nulls().rows()
            # It keeps levels that left the window.
            assert [tuple(level) for level in found["books"][symbol][f"{side}s"]][: len(ours)] == ours

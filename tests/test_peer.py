"""Independent clients keep their books on the built-in exchange and on a served replay, and check them with their code.

They are python-kraken-sdk and ccxt, from the package registry, in separate environments that these tests make: krakpot
does not depend on them. ``KRAKPOT_TEST=all`` runs them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

import lakes
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.replay.server import ReplayServer

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("KRAKPOT_TEST") != "all", reason="fetches a package from the registry: KRAKPOT_TEST=all"
    ),
    pytest.mark.timeout(400),
]
CLIENT = Path(__file__).with_name("peer_client.py")
PACKAGE = "python-kraken-sdk==3.5.1"
CCXT = Path(__file__).with_name("ccxt_client.py")
CCXT_PACKAGE = "ccxt==4.5.90"
PAIRS = 8
UPDATES = 400


def _environment(folder: Path, package: str) -> Path:
    """An interpreter with a client and without krakpot."""
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the registry did not give {package}: {done.stderr}"
    return interpreter


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of python-kraken-sdk."""
    return _environment(tmp_path_factory.mktemp("peer"), PACKAGE)


async def _client(python: Path, program: Path, address: str, pairs: dict[str, Any], updates: int) -> dict[str, Any]:
    """What a client prints, run isolated from the packages and variables of this environment."""
    options = json.dumps({"address": address, "pairs": pairs, "updates": updates})
    child = await asyncio.create_subprocess_exec(
        python, "-I", program, options, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode == 0, err.decode()
    return dict(json.loads(out.splitlines()[-1]))


async def _run(python: Path, updates: int, *faults: str) -> dict[str, Any]:
    async with ExchangeServer(Options(pairs=PAIRS, rate=400.0, seed=3)) as server:
        pairs = {
            pair["symbol"]: (pair["price_precision"], pair["qty_precision"]) for pair in await _pairs(server.address)
        }
        assert len(pairs) == PAIRS
        for fault in faults:
            server.inject(fault)
        return await _client(python, CLIENT, server.address, pairs, updates)


async def _pairs(address: str) -> list[dict[str, Any]]:
    from websockets.asyncio.client import connect

    async with connect(address) as client:
        await client.send(json.dumps({"method": "subscribe", "params": {"channel": "instrument"}}))
        while True:
            message = json.loads(await client.recv())
            if message.get("channel") == "instrument":
                return list(message["data"]["pairs"])


@pytest.mark.slow
def test_its_books_are_valid_by_its_own_checksums(python: Path) -> None:
    """Every update of every pair, checked by its code: no mismatch; and its books have ten levels a side."""
    found = asyncio.run(_run(python, UPDATES))
    assert found["version"] == PACKAGE.partition("==")[2]
    assert found["alone"]
    assert found["bad"] == 0
    assert found["checked"] >= UPDATES
    assert found["errors"] == []
    assert len(found["pairs"]) == PAIRS
    assert found["levels"] == [10, 10]


def test_it_notices_a_wrong_digit(python: Path) -> None:
    """If the exchange changes digits of books, its code finds mismatches, so the other test could fail."""
    found = asyncio.run(_run(python, UPDATES, "digit=0.2,channel=book"))
    assert found["bad"] > 0
    assert any("Checksum mismatch" in error for error in found["errors"])


def _recorded(lake: Path) -> dict[str, Any]:
    """Record two pairs at depth 25; the decimals of their prices and quantities."""
    market = lakes.market(1500)
    lakes.make(lake, market)
    rows = Lake(lake).pairs().collect()
    return {row["symbol"]: (row["price_precision"], row["qty_precision"]) for row in rows.iter_rows(named=True)}


@pytest.mark.slow
def test_python_kraken_sdk_follows_a_served_replay(python: Path, tmp_path: Path) -> None:
    """A recording is as good as the exchange to it: every checksum is right by its own code."""
    pairs = _recorded(tmp_path / "lake")

    async def run() -> dict[str, Any]:
        async with ReplayServer(tmp_path / "lake", channels=["book"], speed=5.0) as server:
            return await _client(python, CLIENT, server.address, pairs, UPDATES)

    found = asyncio.run(run())
    assert found["alone"]
    assert found["bad"] == 0
    assert found["checked"] >= UPDATES
    assert found["errors"] == []
    assert found["pairs"] == sorted(pairs)


@pytest.mark.slow
def test_ccxt_follows_a_served_replay(tmp_path: Path) -> None:
    """The same of ccxt, to the end of the recording: its last books are the recorded ones."""
    interpreter = _environment(tmp_path / "peer", CCXT_PACKAGE)
    pairs = _recorded(tmp_path / "lake")

    async def run() -> dict[str, Any]:
        async with ReplayServer(tmp_path / "lake", channels=["book"], speed=5.0) as server:
            return await _client(interpreter, CCXT, server.address, pairs, UPDATES)

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

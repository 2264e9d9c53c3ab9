"""An independent client keeps its books on the built-in exchange, and checks them with its own code.

It is python-kraken-sdk, from the package registry, in a separate environment that this test makes: krakpot does not
depend on it. ``KRAKPOT_TEST=all`` runs it.
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

from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("KRAKPOT_TEST") != "all", reason="fetches a package from the registry: KRAKPOT_TEST=all"
    ),
    pytest.mark.timeout(400),
]
CLIENT = Path(__file__).with_name("peer_client.py")
PACKAGE = "python-kraken-sdk==3.5.1"
PAIRS = 8
UPDATES = 400


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the client and without krakpot."""
    folder = tmp_path_factory.mktemp("peer")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the registry did not give {PACKAGE}: {done.stderr}"
    return interpreter


async def _run(python: Path, updates: int, *faults: str) -> dict[str, Any]:
    async with ExchangeServer(Options(pairs=PAIRS, rate=400.0, seed=3)) as server:
        pairs = {
            pair["symbol"]: (pair["price_precision"], pair["qty_precision"]) for pair in await _pairs(server.address)
        }
        assert len(pairs) == PAIRS
        for fault in faults:
            server.inject(fault)
        options = json.dumps({"address": server.address, "pairs": pairs, "updates": updates})
        # Isolated from the packages and variables of this environment.
        child = await asyncio.create_subprocess_exec(
            python, "-I", CLIENT, options, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(child.communicate(), 120)
        assert child.returncode == 0, err.decode()
        return dict(json.loads(out.splitlines()[-1]))


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

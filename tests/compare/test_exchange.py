"""Lakes against the account of the exchange that they were recorded from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from account import run as record_and_compare
from krakpot.compare.exchange import differences
from krakpot.config import Config
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.record.recorder import Recorder

TIMEOUT = 60


@pytest.mark.slow
def test_recorded_at_full_speed_the_lake_equals_the_account(tmp_path: Path) -> None:
    """20 s of exchange time, as fast as the recorder reads: count and sequence of checksums are the same, symbol by
    symbol.
    """
    facts = record_and_compare(tmp_path / "lake", seconds=20, rate=5000, pairs=60)
    assert facts["differences"] == []
    assert facts["verify"]["proved"], facts["verify"]["problems"]
    assert facts["record"]["frames"] == facts["messages"] == facts["verify"]["frames"] > 50_000
    assert facts["verify"]["unchecked"] == facts["verify"]["checksums"]["book"]["bad"] == 0


@pytest.mark.slow
def test_differences_are_found(tmp_path: Path) -> None:
    """Another count, another checksum and another connection: each has its sentence."""
    facts = record_and_compare(tmp_path / "lake", seconds=8, rate=500, pairs=5)
    assert facts["differences"] == []
    lake = Lake(tmp_path / "lake")
    told = lake.scan("status").collect()["connection_id"][0]
    account = {
        "connections": [{"connection_id": told, "symbols": {"BTC/USD": {"book": {"messages": 1, "hash": "00"}}}}]
    }
    found = differences(lake, account)
    assert any("BTC/USD: the exchange sent 1 book message" in sentence for sentence in found)
    count = lake.book("BTC/USD").select("message").unique().collect().height
    account["connections"][0]["symbols"]["BTC/USD"]["book"]["messages"] = count
    assert any(
        "BTC/USD: the checksums of the book messages are not those" in sentence
        for sentence in differences(lake, account)
    )
    (sentence,) = differences(lake, {"connections": []})
    assert f"was recorded from connection {told}, which is not in the account" in sentence
    account["connections"][0]["connection_id"] += 1
    assert f"the lake has no session of connection {told + 1}" in differences(lake, account)


@pytest.mark.slow
def test_a_recording_with_faults_fits_the_account(tmp_path: Path) -> None:
    """Dropped, repeated and damaged messages of one symbol: the lake fits the account, the other symbol equals it, and
    an account of another number of faults does not fit.
    """

    async def record() -> dict[str, Any]:
        async with ExchangeServer(Options(pairs=2, rate=400)) as server:
            for fault in ("drop=0.1", "repeat=0.1", "truncate=0.1", "null=0.1,by=price"):
                server.inject(f"{fault},channel=trade,symbol=BTC/USD")
            config = Config(url=server.address, out=tmp_path / "lake", channels=("book", "trade"), duration=4)
            await Recorder(config).run()
            async with asyncio.timeout(TIMEOUT):
                while server.clients:
                    await asyncio.sleep(0.01)
            return server.summary()

    account = asyncio.run(record())
    trades = account["connections"][0]["symbols"]["BTC/USD"]["trade"]
    assert min(trades["faults"][name] for name in ("drop", "repeat", "truncate", "null")) > 0, trades
    lake = Lake(tmp_path / "lake")
    assert differences(lake, account) == []
    trades["faults"]["drop"] += 50
    (sentence,) = differences(lake, account)
    assert sentence.startswith("BTC/USD: the exchange sent ")

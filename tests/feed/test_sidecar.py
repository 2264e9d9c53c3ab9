"""A recorder in a process of its own: it ends with the strategy, however that ends."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from krakpot.errors import ConfigError, StorageError
from krakpot.feed.sidecar import Sidecar
from krakpot.lake import journal
from krakpot.lake.lake import Lake
from scripted import Exchange, until

PARENT = """
import asyncio, os, sys, json
from krakpot.feed.sidecar import Sidecar

async def main():
    sidecar = Sidecar(json.loads(sys.argv[1]), print)
    await sidecar.start()
    print(sidecar._process.pid, flush=True)
    await sidecar.run()

asyncio.run(main())
"""


@pytest.mark.slow
def test_it_records_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Its lines are heard, its summary is there, the lake is sealed and proved."""

    async def test() -> None:
        async with Exchange() as exchange:
            said: list[dict[str, Any]] = []
            values = {"out": str(tmp_path / "lake"), "url": exchange.url, "symbols": ("BTC/USD",), "depth": 10}
            sidecar = Sidecar(values, said.append)
            await sidecar.start()
            running = asyncio.create_task(sidecar.run())
            await until(lambda: exchange.clients and len(exchange.sent("book", "BTC/USD")) > 50)
            sidecar.stop()
            await asyncio.wait_for(running, 60)
            assert sidecar.summary["checksums"]["book"]["ok"] > 40
            assert any("1 of 3 pairs" in line["message"] for line in said)
        assert journal.journals(tmp_path / "lake") == []
        assert Lake(tmp_path / "lake").verify().proved

    asyncio.run(test())


@pytest.mark.slow
def test_it_ends_when_the_strategy_was_killed(tmp_path: Path) -> None:
    """Nobody can tell it any more: the end of its standard input does, and it seals what it has."""
    lake = tmp_path / "lake"

    async def test() -> None:
        async with Exchange() as exchange:
            values = json.dumps({"out": str(lake), "url": exchange.url, "symbols": "BTC/USD", "depth": 10})
            parent = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PARENT, values, stdout=asyncio.subprocess.PIPE
            )
            assert parent.stdout is not None
            child = Path("/proc") / (await parent.stdout.readline()).decode().strip()
            await until(lambda: exchange.clients and len(exchange.sent("book", "BTC/USD")) > 50)
            await until(lambda: any(lake.glob("_journal/*.journal")))
            parent.kill()
            await parent.communicate()
            await until(lambda: not child.exists() or "Z" in (child / "stat").read_text().rsplit(")", 1)[1][:3])
            assert exchange.client.close_code == 1000
        assert journal.journals(lake) == []
        assert Lake(lake).verify().proved

    asyncio.run(test())


def test_its_failure_is_told_in_its_words(tmp_path: Path) -> None:
    """``StorageError`` with the sentence that it ended with."""
    (tmp_path / "file").write_text("no lake")

    async def test() -> None:
        sidecar = Sidecar({"out": str(tmp_path / "file"), "url": "ws://127.0.0.1:1/v2"}, lambda line: None)
        await sidecar.start()
        with pytest.raises(
            StorageError, match="^the recorder beside the feed ended: a lake cannot be made here"
        ) as caught:
            await sidecar.run()
        assert caught.value.path == tmp_path / "file"
        assert str(caught.value).count(str(tmp_path)) == 1, "the path once, at the end"

    asyncio.run(test())


def test_a_wrong_symbol_is_a_wrong_option(tmp_path: Path) -> None:
    """The exchange's pairs are known only when it runs; the error is that of any other wrong option."""

    async def test() -> None:
        async with Exchange() as exchange:
            values = {"out": str(tmp_path / "lake"), "url": exchange.url, "symbols": "XBT/USD"}
            sidecar = Sidecar(values, lambda line: None)
            await sidecar.start()
            words = "^krakpot.Feed: record: symbols: 'XBT/USD' matches none of the 3 pairs; did you mean BTC/USD"
            with pytest.raises(ConfigError, match=words):
                await sidecar.run()

    asyncio.run(test())


def test_a_crash_is_told_by_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process cannot even say what failed: the last line of its standard error."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.exit('no interpreter today')")

    async def test() -> None:
        sidecar = Sidecar({"out": str(tmp_path / "lake")}, lambda line: None)
        with suppress(BrokenPipeError, ConnectionResetError):
            await sidecar.start()
        with pytest.raises(StorageError, match="the recorder beside the feed ended: .*no interpreter today: "):
            await sidecar.run()

    asyncio.run(test())

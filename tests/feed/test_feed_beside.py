"""A recorder beside a feed, in its own process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from krakpot import BookEvent, Feed
from krakpot.errors import (
    ConfigError,
    StorageError,
)
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from scripted import Exchange
from waiting import run


@pytest.mark.slow
def test_a_recorder_runs_beside(tmp_path: Path) -> None:
    """All pairs are recorded by another process while the strategy follows one; leaving the block ends it in order,
    and the lake is proved.
    """

    async def test() -> None:
        lake = tmp_path / "lake"
        async with ExchangeServer(Options(pairs=4, rate=400)) as server:
            record = {"out": lake, "symbols": "*", "depth": 100}
            async with Feed(["BTC/USD"], url=server.address, record=record) as feed:
                count = 0
                begun = time.monotonic()
                async for event in feed:
                    count += isinstance(event, BookEvent)
                    if time.monotonic() - begun > 3 and any(lake.glob("_journal/*.journal")):
                        break
                assert count > 20
        assert feed.recording["checksums"]["book"]["ok"] > 0
        assert Lake(lake).symbols() == sorted(server.exchange.symbols)
        assert Lake(lake).verify().proved

    run(test())


@pytest.mark.slow
def test_a_recorder_that_fails_ends_the_feed(tmp_path: Path) -> None:
    """In its own words; options that are wrong are refused before anything begins."""

    async def test() -> None:
        async with Exchange() as exchange:
            file = tmp_path / "file"
            file.write_text("no lake")
            with pytest.raises(StorageError, match="the recorder beside the feed ended: .*"):
                async with Feed(["BTC/USD"], url=exchange.url, record=file) as feed:
                    await feed.run()
            assert str(feed.error).count(str(file)) == 1
            with pytest.raises(ConfigError, match="record: symbols: 'XBT/USD' matches none of the 3 pairs"):
                async with Feed(
                    ["BTC/USD"], url=exchange.url, record={"out": tmp_path / "new", "symbols": "XBT/USD"}
                ) as feed:
                    await feed.run()
            with pytest.raises(ConfigError, match="record: unknown option 'dept' .*; allowed are"):
                Feed(["BTC/USD"], url=exchange.url, record={"out": "x", "dept": 10})

    run(test())

"""What a lake has: pairs, times, what is recorded and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import polars as pl

import krakpot
from frames import START
from krakpot.lake.format import open_lake
from krakpot.serve.facts import SHOWN, LakeFacts, facts_of, spans_of
from krakpot.serve.server import ViewServer
from replayed import world_of
from streams import Client
from viewing import SYMBOL, serving


def test_coverage_over_the_stream(lake: Path) -> None:
    """Coverage says what was recorded, by pair and channel, and the times of the lake."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            await client.send("coverage", symbols=[SYMBOL], req_id=4)
            found = await client.text("coverage")
            assert found["req_id"] == 4
            spans = krakpot.Lake(lake).coverage().filter(symbol=SYMBOL)
            assert {one["channel"] for one in found["spans"]} == set(spans["channel"]) >= {"book", "trade"}
            assert {one["symbol"] for one in found["spans"]} == {SYMBOL}
            assert found["begin_us"] == client.hello["begin_us"] == START // 1000
            assert found["end_us"] == client.hello["end_us"]
            assert json.dumps(found)

    serving(main, lake)


def test_a_lake_with_gaps(tmp_path: Path) -> None:
    """Spans are those of ``Lake.coverage``, one for each, with the reason why each ended."""
    world_of(tmp_path / "lake", 1, 25)
    lake = krakpot.Lake(tmp_path / "lake")
    facts = facts_of(lake)
    assert [pair.symbol for pair in facts.pairs] == sorted(pair.symbol for pair in facts.pairs)
    symbols = [pair.symbol for pair in facts.pairs]
    known = lake.coverage().filter(pl.col("symbol").is_in(symbols) & pl.col("channel").is_in(SHOWN))
    spans = spans_of(lake, symbols)
    assert len(spans) == known.height > len(symbols)
    times = known.select("symbol", "channel", pl.col("ts_from", "ts_to").dt.epoch("us"), "reason").rows()
    assert sorted(tuple(span.values()) for span in spans) == sorted(times)
    assert facts.begin == known["ts_from"].cast(pl.Int64).min()
    assert facts.end == known["ts_to"].cast(pl.Int64).max()
    assert not facts.recorded
    assert not spans_of(lake, ["NO/NE"])


def test_an_empty_lake(tmp_path: Path) -> None:
    """Nothing was recorded yet: no pair and no time."""
    open_lake(tmp_path / "lake")
    assert facts_of(krakpot.Lake(tmp_path / "lake")) == LakeFacts((), None, None, recorded=False)

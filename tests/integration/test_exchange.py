"""A recorder and a feed beside an exchange that is restarted, has another clock, or has a pair that cannot be read."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest

from commands import facts, krakpot
from krakpot import Feed
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from recording import Recording, proved
from scripted import until

ODD = "XRP/USD"
"""The pair that the fault hits, with this seed."""
SNAPSHOTS, LIVE = 2 * 50, 10
"""Trades that the snapshots of two pairs have at most, and so many more."""


@pytest.mark.slow
def test_an_exchange_that_is_restarted_costs_no_trade_that_came(tmp_path: Path) -> None:
    """One recorder, two exchanges one after the other at one address, the second with a later clock: every trade that
    was sent and received is a row, each once, and the lake is proved.
    """

    async def run() -> int:
        async with ExchangeServer(Options(pairs=2, rate=400, seed=1)) as first:
            port = urlsplit(first.address).port
            assert port is not None
            recording = Recording(first.address, tmp_path, channels=("book", "trade"))

            def trades() -> int:
                return int(recording.counts.get("rows", {}).get("trades", 0))

            await until(lambda: trades() > SNAPSHOTS + LIVE)
            received, session = trades(), recording.recorder.public.session.id
        async with ExchangeServer(Options(pairs=2, rate=400, seed=1, port=port)):
            await until(lambda: recording.recorder.public.session.id != session)
            await until(lambda: trades() > received + SNAPSHOTS + LIVE)
            summary = await recording.end()
        return int(summary["rows"]["trades"])

    rows = asyncio.run(run())
    proved(tmp_path)
    lake = Lake(tmp_path)
    every, once = (lake.trades(sources=sources).collect() for sources in ("all", "one"))
    assert every.height == rows, "what was received is there"
    assert once.height == every.unique(["symbol", "trade_id"]).height
    assert every["session"].n_unique() == 2
    live = once.filter(kind="update").group_by("session").len()["len"].to_list()
    assert len(live) == 2, "trades of both are given"
    assert all(number >= LIVE for number in live)
    for (symbol,), trades in once.sort("ts_event", "trade_id").group_by("symbol"):
        assert trades["trade_id"].is_sorted(), symbol


def odd(server: ExchangeServer) -> None:
    """From now on the instrument snapshot has a pair without its precision."""
    server.inject("null,channel=instrument,by=price_precision")


@pytest.mark.slow
def test_a_pair_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """A recorder of all pairs, and one of a pair by name, have their books; the ledger names the odd one."""

    async def run(path: Path, symbols: tuple[str, ...]) -> None:
        async with ExchangeServer(Options(pairs=3, rate=600, seed=1)) as server:
            odd(server)
            recording = Recording(server.address, path, symbols=symbols, channels=("book", "trade"))
            await until(lambda: recording.counts.get("in_sync", 0) >= (1 if symbols != ("*",) else 2))
            await until(lambda: recording.counts["checksums"]["book"]["ok"] > 50)
            await recording.end()

    for name, symbols in (("all", ("*",)), ("one", ("BTC/USD",))):
        asyncio.run(run(tmp_path / name, symbols))
        proved(tmp_path / name)
        ledger = Lake(tmp_path / name).ledger().filter(kind="decode_error", channel="instrument").collect()
        assert set(ledger["symbol"]) == {ODD}
        books = set(Lake(tmp_path / name).book().select("symbol").unique().collect()["symbol"])
        assert "BTC/USD" in books
        assert ODD not in books


@pytest.mark.slow
def test_a_feed_does_not_fail_for_another_pair_that_cannot_be_read() -> None:
    """Its own pair is live."""

    async def run() -> None:
        async with ExchangeServer(Options(pairs=3, rate=600, seed=1)) as server:
            odd(server)
            async with Feed(["BTC/USD"], channels=["book"], url=server.address) as feed:
                await feed.wait_ready(20)
                assert feed.book("BTC/USD").best_bid

    asyncio.run(run())


@pytest.mark.slow
def test_books_by_the_exchange_s_time_where_its_clock_is_twenty_minutes_behind(tmp_path: Path) -> None:
    """``krakpot book --by event`` finds the book after each message by that message's own time; by the recorder's clock
    there was none then.
    """
    start = time.time_ns() - 1200 * 10**9

    async def run() -> None:
        async with ExchangeServer(Options(pairs=2, rate=400, seed=1, start=start)) as server:
            recording = Recording(server.address, tmp_path / "lake", channels=("book",))
            await until(lambda: recording.counts.get("checksums", {}).get("book", {}).get("ok", 0) > 200)
            await recording.end()

    asyncio.run(run())
    messages = Lake(tmp_path / "lake").book("BTC/USD").filter(kind="update").unique("message").sort("message").collect()
    for place in (0, messages.height // 2, messages.height - 3):
        row = messages.row(place, named=True)
        at = messages.select(pl.col("ts_event").dt.strftime("%Y-%m-%dT%H:%M:%S%.9f"))["ts_event"][place]
        told = krakpot("book", tmp_path / "lake", "--symbols", "BTC/USD", "--at", at, "--by", "event", "--json")
        assert told.exit_code == 0, told.output
        assert facts(told)["checksum"] == row["checksum"]
        assert krakpot("book", tmp_path / "lake", "--symbols", "BTC/USD", "--at", at).exit_code == 1

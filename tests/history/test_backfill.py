"""Trades from REST: holes by id, time ranges, and a recorder that was killed; against the exchange's own account."""

from __future__ import annotations

import asyncio
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.history.backfill import (
    EDGE,
    BackfillResult,
    Hole,
    Run,
    backfill,
    holes_of,
    runs_of,
    sentences,
    uncovered,
)
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from krakpot.net.market import Rest
from krakpot.net.rest import RestError
from processes import running, wait_for
from waiting import run

SECOND = 10**9
BOTH = ("feed", "rest")


def frame(rows: list[tuple[int, int]]) -> pl.DataFrame:
    """Ids and times of trades."""
    return pl.DataFrame(rows, schema={"trade_id": pl.Int64, "ts_event": pl.Int64}, orient="row")


@given(st.sets(st.integers(0, 60)), st.permutations(range(61)))
def test_runs_and_holes_are_those_of_the_ids(ids: set[int], order: list[int]) -> None:
    """Whatever ids a lake has, in whatever order: runs hold them all, holes all between them, and no id is in both."""
    runs = runs_of(frame([(number, number * 10) for number in order if number in ids]))
    held = [number for one in runs for number in range(one.first, one.last + 1)]
    assert held == sorted(ids)
    assert all((one.begin, one.end) == (one.first * 10, one.last * 10) for one in runs)
    missing = [number for hole in holes_of(runs) for number in range(hole.first, hole.last + 1)]
    assert missing == [number for number in range(min(ids, default=0), max(ids, default=0)) if number not in ids]


def test_a_pair_that_numbers_its_trades_anew_has_no_hole_there() -> None:
    """The ids before and after are two sequences; each has its own holes."""
    rows = [(1, 10), (2, 20), (4, 40), (1, 100), (3, 120)]
    runs = runs_of(frame(rows), [50])
    assert [one[:4] for one in runs] == [(1, 2, 10, 20), (4, 4, 40, 40), (1, 1, 100, 100), (3, 3, 120, 120)]
    assert holes_of(runs) == [Hole(3, 3, 20, 40), Hole(2, 2, 100, 120)]
    assert holes_of([Run(1, 2, 10, 20), Run(500, 501, 30, 40, numbering=1)]) == []


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 100)), max_size=6),
    st.integers(0, 200),
    st.integers(1, 300),
)
def test_what_is_not_covered_is_asked_for(spans: list[tuple[int, int]], begin: int, length: int) -> None:
    """Every moment of the range is covered or asked for; nothing further than an edge into what is covered."""
    end = begin + length
    covered = [(low * SECOND, (low + width) * SECOND) for low, width in spans]
    asked = uncovered(begin * SECOND, end * SECOND, covered)

    def within(at: int, ranges: list[tuple[int, int]]) -> bool:
        return any(low <= at < high for low, high in ranges)

    for second in range(begin, end):
        at = second * SECOND
        assert within(at, covered) or within(at, asked), second
        if within(at, asked) and within(at, covered):
            near = range(at - EDGE, at + EDGE + SECOND, SECOND)
            assert not all(within(one, covered) for one in near), second
    assert all(begin * SECOND <= low < high <= end * SECOND for low, high in asked)


def options(**more: Any) -> Options:
    """A busy exchange of few pairs whose REST does not limit."""
    return Options(**({"pairs": 4, "rate": 400.0, "rest_rate": 1e6} | more))


def account(server: ExchangeServer, symbol: str, first: int, last: int) -> list[tuple[int, int, str, Decimal, Decimal]]:
    """Trades that the exchange made, by its own account: id, time, side, price, quantity."""
    trades = server.exchange.trades(symbol, 0, 10**6) or []
    sides = {"b": "buy", "s": "sell"}
    return [
        (number, ts, sides[side], Decimal(price), Decimal(qty))
        for price, qty, ts, side, _, number, _ in trades
        if first <= number <= last
    ]


def in_lake(lake: Path, symbol: str, origin: str | tuple[str, ...]) -> list[tuple[int, int, str, Decimal, Decimal]]:
    """The same of a lake."""
    rows = Lake(lake).trades(symbol, origin=origin).sort("trade_id")
    return rows.select("trade_id", pl.col("ts_event").dt.epoch("ns"), "side", "price", "qty").collect().rows()


def heal(server: ExchangeServer, lake: Path, *symbols: str, **more: Any) -> Any:
    """``backfill`` in a thread: the exchange is on this loop."""
    return asyncio.to_thread(backfill, lake, symbols or None, url=server.rest_address, pace=0, **more)


@pytest.mark.slow
def test_a_recorder_that_was_killed_is_made_whole_by_id(tmp_path: Path) -> None:
    """Killed for some seconds, started again: afterwards every trade is in the lake once, as the exchange made it."""
    lake = tmp_path / "lake"

    async def test() -> None:
        async with ExchangeServer(options()) as server:
            command = ["record", "--url", server.address, "--out", str(lake), "--symbols", "*"]
            command += ["--channels", "trade,book", "--seal-interval", "1s"]

            async def record(seconds: float, name: str, number: int) -> None:
                with running(*command, err=tmp_path / name) as process:
                    await asyncio.to_thread(wait_for, " pairs, ", tmp_path / name, process)
                    await asyncio.sleep(seconds)
                    process.send_signal(number)
                    await asyncio.to_thread(process.wait, 30)

            await record(2.0, "first.log", signal.SIGKILL)
            # More than the fifty trades that a snapshot has.
            await asyncio.sleep(4.0)
            await record(2.0, "second.log", signal.SIGINT)
            symbols = server.exchange.symbols
            holes = {s: holes_of(runs_of(frame([row[:2] for row in in_lake(lake, s, "feed")]))) for s in symbols}
            lost = sum(hole.last - hole.first + 1 for some in holes.values() for hole in some)
            assert lost > 50, holes
            before = verify(lake)
            result = await heal(server, lake)
            assert isinstance(result, BackfillResult)
            assert result.whole, result
            assert sum(result.trades.values()) == lost
            for symbol in symbols:
                rows = in_lake(lake, symbol, BOTH)
                assert rows == account(server, symbol, rows[0][0], rows[-1][0]), symbol
                assert len(in_lake(lake, symbol, "rest")) == sum(hole.last - hole.first + 1 for hole in holes[symbol])
                assert len({row[0] for row in rows}) == len(rows)
            bars = Lake(lake).bars(every="1s", origin=BOTH)
            assert bars["missing"].sum() == 0
            assert Lake(lake).bars(every="1s")["missing"].sum() == lost
            again = await heal(server, lake)
            assert (again.trades, again.requests, again.session) == ({}, 0, "")
            after = verify(lake)
            assert after.problems == before.problems == []
            assert after.imported == {"rest": {"trades": lost}}
            assert after.rows == before.rows
            plain = pl.scan_parquet(lake / "trades", hive_partitioning=True).group_by("origin").len().collect()
            assert dict(plain.iter_rows())["rest"] == lost

    run(test())


def test_history_of_a_time_in_pages(tmp_path: Path) -> None:
    """A new lake, from `since` on: all trades, over many pages; a second run asks only for what came since."""

    async def test() -> None:
        lake = tmp_path / "lake"
        start = time.time_ns() - 600 * SECOND
        async with ExchangeServer(options(rate=4000.0, start=start, speed=1000.0, duration=400.0)) as server:
            await server.finished.wait()
            middle = start + 200 * SECOND
            result = await heal(server, lake, "BTC/*", since=start, until=middle)
            assert set(result.trades) == {"BTC/USD"}
            wanted = [row for row in account(server, "BTC/USD", 0, 1 << 62) if row[1] < middle]
            assert len(wanted) > 3000, "several pages"
            assert in_lake(lake, "BTC/USD", "rest") == wanted
            with pytest.raises(ConfigError, match="trade of BTC/USD was imported, not recorded; give origin='rest'"):
                in_lake(lake, "BTC/USD", "feed")
            (span,) = Lake(lake).coverage(origin="rest").rows(named=True)
            assert (span["reason"], span["origin"], span["symbol"]) == ("imported", "rest", "BTC/USD")
            times = Lake(lake).coverage(origin="all").select(pl.col("ts_from", "ts_to").dt.epoch("ns")).row(0)
            assert times == (start, middle)
            assert Lake(lake).coverage().is_empty()
            again = await heal(server, lake, "BTC/USD", since=start, until=middle)
            assert (again.trades, again.requests) == ({}, 1), "the names of the pairs, and nothing else"
            rest = await heal(server, lake, "BTC/USD", since=start, until=start + 400 * SECOND)
            every = account(server, "BTC/USD", 0, 1 << 62)
            assert rest.trades == {"BTC/USD": len(every) - len(wanted)}
            assert in_lake(lake, "BTC/USD", "all") == every
            # Pairs that the lake does not know yet; of one nothing was traded.
            none = await heal(server, lake, "SOL/USD", since=start - 20 * SECOND, until=start - 10 * SECOND)
            assert (none.trades, none.whole) == ({"SOL/USD": 0}, True)
            other = await heal(server, lake, "ETH/USD", "SOL/USD", since=start - 20 * SECOND, until=start + 20 * SECOND)
            assert in_lake(lake, "ETH/USD", "rest") == account(server, "ETH/USD", 0, 1 << 62)[: other.trades["ETH/USD"]]
            assert min(other.trades.values()) > 0
            report = verify(lake)
            assert (report.outcome, report.problems) == ("nothing yet", [])
            assert report.imported == {"rest": {"trades": len(every) + sum(other.trades.values())}}

    run(test())


def test_bars_are_made_whole_by_a_time_range(tmp_path: Path) -> None:
    """Before the first recorded id, and after the last one, no hole is known; `since` and `until` cover all of it."""

    async def test() -> None:
        lake = tmp_path / "lake"
        minute = 60 * SECOND
        start = (time.time_ns() // minute - 10) * minute
        async with ExchangeServer(options(rate=4000.0, start=start, speed=1000.0, duration=240.0)) as server:
            await server.finished.wait()
            every = account(server, "BTC/USD", 0, 1 << 62)
            begin, end = start + 90 * SECOND, start + 150 * SECOND
            seen = [row for row in every if begin <= row[1] < end]
            timed = [(begin, frames.ack("trade", "BTC/USD"))]
            timed += [(ts, frames.trade("BTC/USD", number, ts=ts)) for number, ts, *_ in seen]
            lakes.make(lake, timed)

            def whole() -> list[bool]:
                bars = Lake(lake).bars("BTC/USD", every="1m", start=start, end=start + 4 * minute, origin=BOTH)
                return bars["whole"].to_list()

            assert whole() == [False, False]
            healed = await heal(server, lake)
            assert (healed.whole, healed.requests) == (True, 0), "nothing is missing between the ids"
            assert whole() == [False, False]
            await heal(server, lake, "BTC/USD", since=start, until=start + 4 * minute)
            assert whole() == [True] * 4

    run(test())


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    """REST fails in the middle: what was fetched is in the lake, and the next run fetches the rest of it."""

    async def test() -> None:
        lake = tmp_path / "lake"
        start = time.time_ns() - 600 * SECOND
        async with ExchangeServer(options(rate=4000.0, start=start, speed=1000.0, duration=200.0)) as server:
            await server.finished.wait()
            asked = 0
            real = server.exchange

            class Failing:
                """REST that works for three requests, then refuses for good."""

                def refuse_rest(self) -> tuple[int, str] | None:
                    nonlocal asked
                    asked += 1
                    return (200, "EGeneral:Internal error") if asked > 3 else None

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            server._rest_public.exchange = Failing()  # type: ignore[assignment]  # a fault at an exact request
            with pytest.raises(RestError, match="Kraken refuses: EGeneral:Internal error"):
                await heal(server, lake, "BTC/USD", since=start)
            server._rest_public.exchange = real
            every = account(server, "BTC/USD", 0, 1 << 62)
            kept = in_lake(lake, "BTC/USD", "rest")
            assert 0 < len(kept) < len(every)
            assert kept == every[: len(kept)]
            result = await heal(server, lake, "BTC/USD", since=start)
            assert result.trades == {"BTC/USD": len(every) - len(kept)}
            assert in_lake(lake, "BTC/USD", "rest") == every
            assert verify(lake).problems == []

    run(test())


def test_limits_of_rest_are_waited_for(tmp_path: Path) -> None:
    """Too many requests, a busy server: asked again after a pause, and said."""

    async def test() -> None:
        async with ExchangeServer(options()) as server:
            server.inject("rest_limit=once")
            server.inject("rest=once,by=429")
            server.inject("rest=once,by=520")
            told: list[str] = []
            rest = Rest(server.rest_address, pace=0.01, log=told.append)
            assert "BTC/USD" in await rest.pairs()
            assert rest.requests == 4
            assert "EGeneral:Too many requests" in told[0]
            assert [number for one in told[1:] for number in ("429", "520") if f"HTTP {number}" in one] in (
                ["429", "520"],
                ["520", "429"],
            )
            server.inject("rest_limit,by=EGeneral:Permission denied")
            with pytest.raises(RestError, match="Permission denied") as caught:
                await rest.pairs()
            assert caught.value.lasting

    run(test())


def test_a_hole_that_rest_cannot_fill_is_said(tmp_path: Path) -> None:
    """REST has forgotten the trades: the hole stays, is named, and its time is not covered."""

    async def test() -> None:
        lake = tmp_path / "lake"
        async with ExchangeServer(options(history=0)) as server:
            at = frames.START
            timed = [(at, frames.ack("trade", "BTC/USD"))] + [
                (at + n * SECOND, frames.trade("BTC/USD", number, ts=at + n * SECOND))
                for n, number in ((1, 5), (2, 6), (9, 12))
            ]
            lakes.make(lake, timed)
            result = await heal(server, lake)
            assert result.missing == {"BTC/USD": [(7, 11)]}
            assert not result.whole
            assert sentences(result)[-1] == ("BTC/USD: 5 trades missing, REST does not have them either: 7 to 11")
            assert (
                Lake(lake)
                .coverage(origin="rest")
                .filter(pl.col("ts_to") - pl.col("ts_from") > pl.duration(seconds=2))
                .is_empty()
            )

    run(test())


def test_wrong_arguments(tmp_path: Path) -> None:
    """One sentence each."""
    for arguments, sentence in [
        ({"until": "2026-01-01"}, "until needs since"),
        ({"since": "2026-01-02", "until": "2026-01-01", "symbols": "BTC/USD"}, "since must be before until"),
        ({"since": "2200-01-02", "symbols": "BTC/USD"}, "since must be before now"),
        ({"since": "2026-01-02"}, "since needs symbols"),
        ({"since": "2026-01-02", "symbols": "BTC/USD", "url": "http://example.com"}, "url: "),
        ({"since": "2026-01-02", "symbols": "BTC/USD", "pace": -1}, "pace: "),
        ({"since": "2026-01-02", "symbols": "BTC/USD", "pace": "2h"}, "pace: "),
        (
            {"since": "2026-01-02", "symbols": "BTC/USD", "pace": "fast"},
            "pace: 'fast' is not allowed; allowed is a dur",
        ),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            backfill(tmp_path / "lake", **arguments)  # type: ignore[arg-type]  # wrong ones
    assert not (tmp_path / "lake").exists()
    assert _core.LEDGER_KINDS["imported"]["is_error"] is False

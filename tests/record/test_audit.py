"""The audit of live books: equal to REST at some moment, or said loudly; a moment's race is no difference."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.config import Config, load
from krakpot.errors import ConfigError
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.record import audit
from krakpot.record.audit import Watch, difference, numbers, same
from recording import Recording, events, proved
from waiting import run

BOOK = [("bid", "100.0", "1.0"), ("bid", "99.0", "2.0"), ("ask", "101.0", "3.0")]


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits that begin at once and wait only a moment."""
    for name, value in (("SLACK", 0.3), ("FIRST", 0.2), ("PACE", 0.05)):
        monkeypatch.setattr(audit, name, value)


async def until(condition: Any, recording: Recording) -> None:
    """Wait until something holds; fails if the recorder ends."""
    async with asyncio.timeout(40):
        while not condition():
            assert not recording.task.done(), recording.task
            await asyncio.sleep(0.05)


def counts(recording: Recording) -> dict[str, int]:
    """Audits so far."""
    found = recording.recorder.auditor
    return {} if found is None else found.counts


def options(server: ExchangeServer) -> dict[str, Any]:
    """Options of a recorder that audits."""
    return {"rest_url": server.rest_address, "depth": 100, "audit": 0.5, "channels": ("book", "trade")}


@pytest.mark.slow
@pytest.mark.usefixtures("_fast")
def test_live_books_equal_rest(tmp_path: Path) -> None:
    """On a busy exchange, over several rounds: every audit finds the state that REST answered, and says so."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=3, rate=1500.0, rest_rate=1e6)) as server:
            recording = Recording(server.address, tmp_path / "lake", **options(server))
            await until(lambda: counts(recording).get("equal", 0) >= 6, recording)
            done = dict(counts(recording))
            await recording.end()
            assert done["differs"] == 0, recording.logged
        rows = events(tmp_path / "lake", "audit")
        assert len(rows) >= 6
        assert {row["symbol"] for row in rows} == set(server.exchange.symbols)
        assert all(row["channel"] == "book" and row["count"] == 200 for row in rows)
        assert all(row["ts_from"] < row["ts_to"] and row["facts"]["rest_ns"] > 0 for row in rows)
        assert events(tmp_path / "lake", "audit_failed") == []
        assert proved(tmp_path / "lake").proved

    run(test())


@pytest.mark.slow
@pytest.mark.usefixtures("_fast")
def test_a_book_that_differs_is_said_loudly(tmp_path: Path) -> None:
    """REST has another quantity at level 40, below what the checksum covers: a row, an error in the log, a counter."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=1, rate=50.0, rest_rate=1e6)) as server:
            real = server.exchange

            class Other:
                """The exchange, with one quantity changed in what REST answers."""

                def book(self, symbol: str, depth: int) -> Any:
                    bids, asks = real.book(symbol, depth) or ([], [])
                    asks[40] = asks[40][0], "77.00000000"
                    return bids, asks

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            server._rest_public.exchange = Other()  # type: ignore[assignment]  # REST that lies
            recording = Recording(server.address, tmp_path / "lake", **options(server))
            await until(lambda: counts(recording).get("differs", 0) >= 1, recording)
            await recording.end()
        row = events(tmp_path / "lake", "audit_failed")[0]
        assert row["symbol"] == "BTC/USD"
        assert (row["facts"]["side"], row["facts"]["level"], row["facts"]["rest"][1]) == ("ask", 40, "77.00000000")
        assert any(
            "AUDIT FAILED: the live book of BTC/USD differs from REST at ask level 40" in line
            for line in recording.logged
        )
        assert proved(tmp_path / "lake").proved, "its own checksums are right"

    run(test())


@pytest.mark.slow
@pytest.mark.usefixtures("_fast")
def test_rest_that_does_not_answer(tmp_path: Path) -> None:
    """The recording goes on; it is said, and nothing is claimed."""

    async def test() -> None:
        async with ExchangeServer(Options(pairs=1, rest_rate=1e6)) as server:
            server.inject("rest_limit,by=EGeneral:Permission denied")
            recording = Recording(server.address, tmp_path / "lake", **options(server))
            await until(
                lambda: any("no audit of books: REST AssetPairs" in line for line in recording.logged), recording
            )
            await recording.end()
        assert events(tmp_path / "lake", "audit", "audit_failed") == []

    run(test())


def session() -> _core.Session:
    """A passive session with a book of BTC/USD."""
    made = _core.Session("019e0000-0000-7000-8000-000000000000", passive=True, precision={"BTC/USD": (1, 1)}, depth=10)
    made.receive([frames.book("snapshot", "BTC/USD", BOOK, None)], frames.START)
    return made


def test_every_state_of_a_window_counts() -> None:
    """The book between two messages of one read is a state too; another quantity is none."""
    made = session()
    watch = Watch("BTC/USD", made)
    states = [([("100.0", "1.0"), ("99.0", "2.0")], [("101.0", "3.0")])]
    for n, entry in enumerate([("bid", "100.0", "0.0"), ("ask", "101.0", "4.0"), ("bid", "100.0", "5.0")], 1):
        frame = frames.book("update", "BTC/USD", [entry], None)
        made.receive([frame], frames.START + n)
        assert watch.concerns(frame)
        watch.look(frames.START + n)
    states += [
        ([("99.0", "2.0")], [("101.0", "3.0")]),
        ([("99.0", "2.0")], [("101.0", "4.0")]),
        ([("100.0", "5.0"), ("99.0", "2.0")], [("101.0", "4.0")]),
    ]
    assert not watch.broken
    for bids, asks in states:
        assert same((numbers(bids, 10), numbers(asks, 10)), watch.states, 10)
    other = numbers([("100.0", "5.0"), ("99.0", "2.1")], 10), numbers([("101.0", "4.0")], 10)
    assert not same(other, watch.states, 10)
    assert difference(other, watch.states, 10) == {
        "side": "bid", "level": 1, "rest": ["99.0", "2.1"], "live": ["99.0", "2.0"],
    }  # fmt: skip
    short = numbers([("100.0", "5.0")], 10), numbers([("101.0", "4.0")], 10)
    assert difference(short, watch.states, 10)["rest"] is None
    assert not watch.concerns(frames.trade("BTC/USD", 1))
    assert not watch.concerns(frames.book("update", "ETH/USD", BOOK, None))


def test_a_book_out_of_sync_proves_nothing() -> None:
    """A watch of a book that is not there, or that had too many states, is broken."""
    made = session()
    assert Watch("ETH/USD", made).broken
    watch = Watch("BTC/USD", made)
    made.end(frames.START + 1, "cut")
    watch.look(frames.START + 1)
    assert watch.broken


def test_numbers_of_rest() -> None:
    """Text with any zeros; what is no number is refused."""
    assert numbers([["1.50", "2", 7]], 5) == [(Decimal("1.5"), Decimal(2))]
    for wrong in ([["x", "1"]], [[None, "1"]], [["1"]], [7]):
        with pytest.raises(ValueError):
            numbers(wrong, 5)


def test_what_an_audit_needs() -> None:
    """Books, and REST of the same exchange."""
    with pytest.raises(ConfigError, match="audit: the channel book is not recorded; add it to channels"):
        Config(audit=60.0, channels=("trade",))
    with pytest.raises(ConfigError, match="audit: the books of ws://127.0.0.1:1/v2 are compared with REST of the same"):
        Config(audit=60.0, url="ws://127.0.0.1:1/v2")
    assert load({"audit": "10m", "rest_url": "https://api.kraken.com"}, environment={}).audit == 600.0

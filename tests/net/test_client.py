"""A client without a journal: it reconnects, follows its sessions, reports what the ledger says, and can be paused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest

import frames
from krakpot.config import Config
from krakpot.log import LogLine
from krakpot.net import client as module
from krakpot.net.backoff import Backoff
from krakpot.net.client import Client, ClientContext, add_counts, supervise, uuid7
from scripted import Exchange, until
from waiting import run


class Running:
    """A client that runs as a task, with the ticks that its owner would give it."""

    def __init__(self, url: str, **options: Any) -> None:
        """Start it; its back-off takes hundredths of a second."""
        self.logged: list[str] = []
        self.errors: list[Exception] = []
        self.stop = asyncio.Event()
        defaults: dict[str, Any] = {"url": url, "depth": 10}
        config = Config(**(defaults | options))
        context = ClientContext(config, uuid7(), self.stop, self.logged.append, self._task)
        self.client = Client(context, url, Backoff(longest=0.02, fast=100))
        self.context = context
        self.tasks = [self._task(self.client.run()), self._task(self._tick())]

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return supervise(work, self.errors.append)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self.client.tick(time.monotonic())

    def in_sync(self, number: int) -> bool:
        """Whether this number of books is in sync."""
        assert self.errors == []
        return bool(self.client.session.counts()["in_sync"] == number)

    async def end(self) -> None:
        """Stop it."""
        self.stop.set()
        await self.tasks[0]
        self.tasks[1].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[1]
        assert self.errors == []


def test_it_subscribes_and_follows_its_sessions() -> None:
    """After a cut the next session names the one before, keeps the last trade ids, and the counters go on; the end
    closes the connection in order.
    """

    async def test() -> None:
        async with Exchange("BTC/USD", "ETH/USD") as exchange:
            running = Running(exchange.url)
            client = running.client
            assert client.state == "starting"
            await until(lambda: running.in_sync(2) and client.subscribed)
            assert (client.state, client.connected) == ("connected", True)
            assert client.opened_at > 0
            await until(lambda: client.session.counts()["messages"].get("trade", 0) > 20)
            first = client.session
            exchange.cut()
            await until(lambda: client.session is not first and running.in_sync(2))
            assert running.context.sessions == [first.id, client.session.id]
            await until(lambda: exchange.client.asked("subscribe", "trade"))
            assert [r["snapshot"] for r in exchange.client.asked("subscribe", "trade")] == [True], "it goes on"
            client.take_counts()
            assert client.counts["frames"] > client.session.counts()["frames"] > 0
            assert client.counts["in_sync"] == 2
            await running.end()
            assert exchange.client.close_code == 1000
            assert client.connection is None
        assert any(line.startswith("disconnected: ") for line in running.logged)

    run(test())


def test_a_failed_attempt_is_counted_logged_and_a_row() -> None:
    """Nobody listens: each attempt is counted, with its error; it goes on, and is stopped at once."""

    async def test() -> None:
        async with Exchange() as exchange:
            url = exchange.url
        running = Running(url)
        client = running.client
        await until(lambda: client.attempts >= 3)
        await running.end()
        ledger = pa.record_batch(client.session.drain()["ledger"]).select(["kind", "channel", "detail"]).to_pylist()
        rows = [row for row in ledger if row["kind"] == "refused"]
        assert not client.connected
        assert client.last_error == f"{url}: cannot connect: Connection refused"
        lines = [line for line in running.logged if isinstance(line, LogLine) and line.event == "connect_failure"]
        assert len(lines) >= 3
        assert lines[0] == f"{client.last_error}; trying again"
        assert lines[0].facts == {"url": url, "error": client.last_error}
        assert len(rows) == client.attempts == len(lines)
        assert {row["channel"] for row in rows} == {"connection"}
        assert json.loads(rows[0]["detail"]) == {"error": client.last_error}
        assert running.context.refused == {}, "no subscription was refused"

    run(test())


@pytest.mark.parametrize("moment", ["handshake", "wait"])
def test_it_stops_at_once_where_it_waits(moment: str) -> None:
    """In the middle of a handshake, and between two attempts."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.hang = moment == "handshake"
            exchange.handshakes = [500] * (moment == "wait")
            running = Running(exchange.url)
            waits = iter([0.0, 3600.0])
            running.client.backoff.delay = lambda *_, **__: next(waits)  # type: ignore[method-assign]  # then an hour
            await until(lambda: exchange.attempts)
            if moment == "wait":
                await until(lambda: running.client.state == "connecting in 3600 s")
            async with asyncio.timeout(10):
                await running.end()
            assert running.client.connection is None

    run(test())


def test_a_pause_is_a_row_and_loses_nothing() -> None:
    """While it is paused nothing is read, also over a liveness check; afterwards everything is there."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            running = Running(exchange.url)
            client = running.client
            await until(lambda: running.in_sync(1))
            client.pause()
            since = client.paused
            client.pause()
            assert client.paused == since > 0, "since the first time"
            await asyncio.sleep(0.1)
            held = client.session.counts()["frames"]
            sent = len(exchange.client.sent)
            await until(lambda: len(exchange.client.sent) > sent + 20)
            client.check(time.monotonic() + 1000)
            assert client.session.counts()["frames"] == held, "the socket is not read"
            rows: list[dict[str, Any]] = []
            take = client.report_ledger
            client.report_ledger = lambda: rows.extend(client.session.take_ledger())  # type: ignore[method-assign]  # to see the rows
            client.resume("strategy", "wait")
            await until(lambda: client.session.counts()["frames"] > held + 20)
            await until(lambda: any(row["kind"] == "backpressure" for row in rows))
            client.report_ledger = take  # type: ignore[method-assign]  # as it was
            (row,) = [row for row in rows if row["kind"] == "backpressure"]
            assert json.loads(row["detail"]) == {"queue": "strategy", "answer": "wait"}
            assert (row["ts_from"], row["ts_to"] - row["ts_from"]) == (since, client.waited)
            assert (client.waits, client.paused) == (1, 0)
            assert running.in_sync(1)
            assert client.session.counts()["checksums"]["book"]["bad"] == 0
            await running.end()

    run(test())


def test_what_the_ledger_says_is_logged_with_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds that matter, with their facts; refusals are remembered, but not without end."""
    monkeypatch.setattr(module, "REFUSED_MAX", 3)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            running = Running(exchange.url)
            running.client.label = "level 3, connection 2: "
            await until(lambda: running.in_sync(1))
            for n in range(5):
                exchange.client.send(frames.refusal("no such pair", symbol=f"X{n}/USD"))
            exchange.wrong.add("BTC/USD")
            await until(lambda: any("mismatch book BTC/USD" in line for line in running.logged))
            await until(lambda: sum("refused" in line for line in running.logged) == 5)
            await running.end()
            assert len(running.context.refused) == 3
            assert set(running.context.refused.values()) == {"no such pair"}
            lines = [line for line in running.logged if isinstance(line, LogLine)]
            assert all(line.startswith("level 3, connection 2: ") for line in lines)
            (mismatch,) = [line for line in lines if line.event == "mismatch"]
            assert mismatch.level == "warning"
            assert mismatch.facts.items() >= {"channel": "book", "symbol": "BTC/USD"}.items()
            assert not [line for line in lines if line.event in {"subscribed", "snapshot", "alive"}]

    run(test())


def test_a_task_that_fails_tells_its_owner() -> None:
    """Its error, once; a task that is cancelled has none."""

    async def fails() -> None:
        raise ZeroDivisionError

    async def test() -> None:
        errors: list[Exception] = []
        await asyncio.gather(supervise(fails(), errors.append), return_exceptions=True)
        cancelled = supervise(asyncio.sleep(60), errors.append)
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, supervise(asyncio.sleep(0), errors.append), return_exceptions=True)
        assert [type(error) for error in errors] == [ZeroDivisionError]

    run(test())


def test_names_of_sessions_sort_by_time() -> None:
    """UUIDv7: version and variant as RFC 9562 wants them, the time in front."""
    before = time.time_ns() // 1_000_000
    names = []
    for _ in range(5):
        names.append(uuid7())
        time.sleep(0.002)
    assert names == sorted(names)
    assert len(set(names)) == 5
    for name in names:
        assert (name[14], name[19] in "89ab") == ("7", True)
        assert before <= int(name.replace("-", "")[:12], 16) <= time.time_ns() // 1_000_000


def test_counters_add_up() -> None:
    """Counters add over sessions; states are the later session's."""
    one = {
        "frames": 2, "unchecked": 1, "errors": 0, "gaps": 1, "unknown_entries": 0, "replaced": 0, "unknown_fields": 3,
        "in_sync": 5,
        "messages": {"book": 2}, "rows": {"book": 7, "ledger": 0}, "checksums": {"book": {"ok": 2, "bad": 0}},
    }  # fmt: skip
    two = one | {"in_sync": 1, "messages": {"trade": 1}, "checksums": {"book": {"ok": 0, "bad": 3}}}
    total = add_counts(add_counts({}, one), two)
    assert (total["frames"], total["unknown_fields"], total["in_sync"]) == (4, 6, 1)
    assert total["messages"] == {"book": 2, "trade": 1}
    assert total["rows"]["book"] == 14
    assert total["checksums"] == {"book": {"ok": 2, "bad": 3}}
    three = one | {"checksums": {"level3": {"ok": 7, "bad": 1}, "book": {"ok": 1, "bad": 0}}}
    assert add_counts(total, three)["checksums"] == {"book": {"ok": 3, "bad": 3}, "level3": {"ok": 7, "bad": 1}}
    assert total["checksums"] == {"book": {"ok": 2, "bad": 3}}, "what was added to stays as it was"
    assert json.loads(json.dumps(total)) == total

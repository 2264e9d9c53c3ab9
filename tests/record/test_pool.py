"""Public channels over several connections, and a second source: against a scripted exchange, and in account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from krakpot import values
from krakpot.errors import ConfigError, StorageError
from krakpot.lake.lake import Lake
from krakpot.net import connection
from krakpot.record.pool import ConnectionPool
from recording import Recording, book_in, book_of, events, hold_writer, proved
from scripted import Client, Exchange, Market, until
from waiting import run

SYMBOLS = ("BTC/USD", "ETH/USD", "ADA/EUR", "SOL/USD", "XRP/USD")


@pytest.fixture(autouse=True)
def small_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections may be as small as these tests need."""
    monkeypatch.setattr(values, "CONNECTION_SYMBOLS_MIN", 1)


def shards(recording: Recording) -> ConnectionPool:
    """The connections of its public channels."""
    assert not recording.task.done(), f"the recorder ended: {recording.task}"
    found: ConnectionPool | None = getattr(recording.recorder, "shards", None)
    assert found is not None, "spread over connections"
    return found


def live(found: ConnectionPool | None, number: int) -> bool:
    """Whether so many of its books live."""
    return found is not None and sum(one.session.counts()["in_sync"] for one in found.shards) == number


async def spread_out(exchange: Exchange, lake: Path, **options: Any) -> Recording:
    """Two symbols a connection, all of them live."""
    recording = Recording(exchange.url, lake, **({"symbols_per_connection": 2} | options))
    await until(lambda: hasattr(recording.recorder, "_context") and live(shards(recording), len(exchange.markets)))
    return recording


def books_of(client: Client) -> set[str]:
    """Symbols whose books it subscribed."""
    return {symbol for asked in client.asked("subscribe", "book") for symbol in asked["symbol"]}


@pytest.mark.slow
def test_symbols_are_spread_over_connections(tmp_path: Path) -> None:
    """The first connection has the pairs alone, every symbol is on one other with all its channels, and the lake holds
    all that was sent; a listing goes to the connection with room, the next one to a new connection.
    """

    async def test() -> None:
        async with Exchange(*SYMBOLS) as exchange:
            exchange.refusals["LTC/USD"] = "Currency pair not supported LTC/USD"
            recording = await spread_out(exchange, tmp_path)
            first, *others = exchange.clients
            assert {request["params"]["channel"] for request in first.requests} == {"instrument"}
            assert sorted(len(books_of(client)) for client in others) == [1, 2, 2]
            assert sorted(symbol for client in others for symbol in books_of(client)) == sorted(SYMBOLS)
            for client in others:
                assert not client.asked("subscribe", "instrument")
                for channel in ("trade", "ticker"):
                    asked = {symbol for one in client.asked("subscribe", channel) for symbol in one["symbol"]}
                    assert asked == books_of(client)
            for number, symbol in ((6, "DOT/USD"), (7, "TRX/USD")):
                exchange.list_pair(Market(symbol))
                await until(lambda number=number: live(shards(recording), number))  # type: ignore[misc]  # its default
            assert [len(one.symbols) for one in shards(recording).shards] == [2, 2, 2, 1]
            await until(lambda: recording.recorder.counts.get("in_sync") == 7)
            assert recording.recorder.counts["connections"] == 4
            exchange.list_pair(Market("LTC/USD"))
            await until(lambda: recording.recorder.counts["rejected"] == 3)
            exchange.markets.pop("LTC/USD")
            summary = await recording.end()
            for symbol in exchange.markets:
                found, sent = book_in(tmp_path, symbol), book_of(exchange, symbol)
                assert found == sent[: len(found)]
                assert len(found) > 5
        assert summary["selected"] == 8
        assert summary["refused"].keys() == {f"{channel} LTC/USD" for channel in ("book", "trade", "ticker")}
        assert len(summary["sessions"]) == 5
        assert summary["checksums"]["book"]["bad"] == summary["gaps"] == 0
        report = proved(tmp_path)
        assert report.frames == summary["frames"]
        assert report.notes == [], "no symbol has two sources"
        covered = Lake(tmp_path).coverage().filter(channel="trade")
        assert sorted(covered["symbol"]) == sorted(exchange.markets)
        assert covered["session"].n_unique() == 4
        (start,) = events(tmp_path, "start")
        assert start["facts"]["options"]["symbols_per_connection"] == 2

    run(test())


@pytest.mark.slow
def test_a_socket_that_stalls_does_not_delay_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection falls silent: the others go on in their sessions, it alone is given up and comes back."""
    monkeypatch.setattr(connection, "PING_AFTER", 0.5)
    monkeypatch.setattr(connection, "DEAD_AFTER", 3.0)

    async def test() -> None:
        async with Exchange(*SYMBOLS) as exchange:
            recording = await spread_out(exchange, tmp_path)
            before = [one.session for one in shards(recording).shards]
            stalled = next(client for client in exchange.clients[1:] if "ETH/USD" in books_of(client))
            at = next(n for n, one in enumerate(shards(recording).shards) if "ETH/USD" in one.symbols)
            stalled.muted = True
            taken = [session.counts()["frames"] for session in before]
            others = [n for n in range(3) if n != at]
            # While the silence lasts, the others take messages as they come.
            await until(lambda: all(before[n].counts()["frames"] > taken[n] + 50 for n in others))
            assert shards(recording).shards[at].session is before[at]
            await until(lambda: shards(recording).shards[at].session is not before[at])
            await until(lambda: live(shards(recording), 5))
            assert [shards(recording).shards[n].session is before[n] for n in range(3)] == [n != at for n in range(3)]
            summary = await recording.end()
            for symbol in set(exchange.markets) - books_of(stalled):
                found = book_in(tmp_path, symbol)
                assert found == book_of(exchange, symbol)[: len(found)]
        assert len(summary["sessions"]) == 5
        gaps = events(tmp_path, "gap")
        # One for each channel.
        assert {row["facts"]["previous"] for row in gaps} == {before[at].id}
        assert any(f"public, connection {at + 1}: disconnected: no data for" in line for line in recording.logged)
        assert proved(tmp_path).bad == 0

    run(test())


@pytest.mark.slow
def test_all_connections_share_the_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are refused use up their part of the attempts and no more; what is left is the first one's."""
    monkeypatch.setattr(ConnectionPool, "attempts", 10)

    async def test() -> None:
        async with Exchange(*SYMBOLS) as exchange:
            recording = await spread_out(exchange, tmp_path)
            recorder = recording.recorder
            assert {id(one.backoff.attempts) for one in recorder.clients} == {id(recorder.backoff.attempts)}
            assert len(exchange.attempts) == 4
            recorder.backoff.budget = 12
            exchange.handshakes = [503] * 100
            for client in exchange.clients[1:]:
                client.socket.transport.abort()
            await until(lambda: len(exchange.attempts) == 10)
            await until(lambda: all(one.state.startswith("connecting in") for one in shards(recording).shards))
            assert len(exchange.attempts) == 10
            exchange.clients[0].socket.transport.abort()
            await until(lambda: len(exchange.attempts) == 12)
            await until(lambda: recorder.public.state.startswith("connecting in"))
            await recording.end()
        assert len(exchange.attempts) == 12

    run(test())


@pytest.mark.slow
def test_a_second_source_leaves_no_hole(tmp_path: Path) -> None:
    """Chosen symbols are recorded twice; one source is cut, then the other: a reader is given every message once, while
    the first source lacks some; verify compares the two.
    """

    async def test() -> None:
        async with Exchange(*SYMBOLS) as exchange:
            recording = Recording(exchange.url, tmp_path, redundant=("BTC/*", "ETH/USD"))
            await until(lambda: recording.live(5) and live(recording.recorder.redundant, 2))
            first, second = exchange.clients
            assert books_of(first) == set(SYMBOLS)
            assert books_of(second) == {"BTC/USD", "ETH/USD"}
            assert second.asked("subscribe", "trade")
            assert not second.asked("subscribe", "instrument")
            for cut in (first, second):
                before = len(exchange.clients)
                then = len(exchange.sent("trade", "BTC/USD"))
                await until(lambda then=then: len(exchange.sent("trade", "BTC/USD")) > then + 10)  # type: ignore[misc]  # its default
                cut.socket.transport.abort()
                await until(lambda before=before: len(exchange.clients) > before)  # type: ignore[misc]  # its default
                await until(lambda: recording.live(5) and live(recording.recorder.redundant, 2))
            recorder = recording.recorder
            await until(
                lambda: (recorder.counts.get("redundant", {}).get("in_sync"), recorder.counts.get("in_sync")) == (2, 5)
            )
            assert recorder.counts["redundant"]["connections"] == 1
            summary = await recording.end()
        assert summary["selected"] == 5
        assert len(summary["sessions"]) == 4
        lake = Lake(tmp_path)
        for symbol in ("BTC/USD", "ETH/USD"):
            sent = {
                (m["timestamp"], int(m["checksum"])) for m in exchange.sent("book", symbol) if m["type"] == "update"
            }
            frame = lake.book(symbol).filter(kind="update").unique(["session", "message"]).sort("ts_event").collect()
            found = [
                (f"{ts:%Y-%m-%dT%H:%M:%S.%fZ}", checksum)
                for ts, checksum in frame.select("ts_event", "checksum").iter_rows()
            ]
            begun = [pair for pair in sorted(sent) if found[0] <= pair <= found[-1]]
            assert found == begun
            assert len(found) > 20
            ids = [int(m["trade_id"]) for m in exchange.sent("trade", symbol) if m["type"] == "update"]
            trades = lake.trades(symbol).collect()["trade_id"].to_list()
            assert sorted(trades) == list(range(min(ids), max(trades) + 1))
            assert lake.trades(symbol, sources="all").collect().height > len(trades)
        report = proved(tmp_path)
        assert {note.partition(":")[0] for note in report.notes} == {"book", "trades"}
        assert all(" 0 in the first only, 0 in the second only" in note for note in report.notes), report.notes

    run(test())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"redundant": ("BTC/EUR",)}, r"redundant: 'BTC/EUR' matches none of the 3 pairs; did you mean"),
        ({"symbols": ("BTC/USD",), "redundant": ("ETH/USD",)}, "redundant: 'ETH/USD' matches none of the 1 pair"),
    ],
)
def test_a_second_source_of_nothing(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """Known before anything is written."""

    async def test() -> None:
        async with Exchange() as exchange:
            with pytest.raises(ConfigError, match=words):
                await Recording(exchange.url, tmp_path / "lake", **options).task
        assert not (tmp_path / "lake").exists()

    run(test())


@pytest.mark.slow
def test_a_slow_disk_can_end_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``when_slow="fail"`` a full queue is an error; the ledger tells it, and all that was read is there."""
    gate = hold_writer(monkeypatch)

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path, when_slow="fail")
            await until(lambda: recording.live(3))
            gate.clear()
            await until(lambda: recording.recorder.error)
            gate.set()
            with pytest.raises(StorageError, match=r"the disk is slower than the feed, 2 flushes wait \(--when-slow"):
                await recording.task
            (told,) = events(tmp_path, "backpressure")
            assert told["facts"] == {"queue": "journal", "answer": "fail"}
            assert recording.recorder.summary()["backpressure"]["waits"] == 1
            for symbol in exchange.markets:
                found = book_in(tmp_path, symbol)
                assert found == book_of(exchange, symbol)[: len(found)]
        assert proved(tmp_path).unchecked == 0

    run(test())

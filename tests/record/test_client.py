"""The client of a recording: the order in which its sessions are written, and what a slow disk does to its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from krakpot.lake import journal
from krakpot.record.writer import WriterThread
from recording import Recording, book_in, book_of, events, hold_writer, proved
from scripted import Exchange, until
from waiting import run


@pytest.mark.slow
def test_a_session_has_its_follower_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows of the new session are written before the last ones of the old: a recorder that dies in between
    leaves no session that ended and has no follower.
    """
    written: list[tuple[str, bool]] = []
    put = WriterThread.put

    def watched(self: WriterThread, writer: journal.Writer, batches: dict[str, Any] | None) -> None:
        written.append((writer.session, batches is not None))
        put(self, writer, batches)

    monkeypatch.setattr(WriterThread, "put", watched)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            exchange.cut()
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            first, second = (await recording.end())["sessions"]
            at = written.index((second, True))
            assert written[at : at + 3] == [(second, True), (first, True), (first, False)]
            proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_a_cut_before_the_pairs_are_known_leaves_no_trace(tmp_path: Path) -> None:
    """A connection that dies before its instrument snapshot: nothing of it is written, and the session that follows is
    the first, so that nothing refers to what is not there. In a lake that has an older session.
    """

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            old = Recording(exchange.url, tmp_path)
            await until(lambda: old.live(1))
            await old.end()
            exchange.ack_delay = 0.0
            exchange.silent = True
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: len(exchange.clients) == 2 and exchange.client.requests)
            exchange.cut()
            exchange.silent = False
            await until(lambda: recording.live(1))
            summary = await recording.end()
            assert len(exchange.clients) == 3
            assert len(summary["sessions"]) == 1
            proved(tmp_path)
            assert [event["facts"].get("previous") for event in events(tmp_path, "connect")] == [None, None]
            assert len(events(tmp_path, "start")) == 2

    run(test())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["write", "sync"])
def test_a_slow_disk_makes_the_socket_wait_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The writer's thread stands still, in a write or an fsync: the queue fills up, the socket is not read, the ledger
    tells from when to when; then everything that was sent is there.
    """
    gate = hold_writer(monkeypatch, what)

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(3))
            gate.clear()
            await until(lambda: recording.recorder.public.paused)
            frames_then = recording.counts["frames"]
            await asyncio.sleep(0.5)
            assert recording.counts["frames"] == frames_then, "the socket is not read"
            assert len(exchange.client.sent) > frames_then
            gate.set()
            await until(lambda: not recording.recorder.public.paused)
            exchange.silent = True
            sent = len(exchange.client.sent)
            await until(lambda: recording.counts["frames"] == sent)
            await recording.end()
            waits = events(tmp_path, "backpressure")
            assert len(waits) == 1
            assert (waits[0]["ts_to"] - waits[0]["ts_from"]).total_seconds() >= 0.4
            assert proved(tmp_path).unchecked == 0
            for symbol in exchange.markets:
                assert book_in(tmp_path, symbol) == book_of(exchange, symbol)
            assert "the disk is slower than the feed: the socket waits" in recording.logged

    run(test())


@pytest.mark.slow
def test_a_cut_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes while the socket waits for the disk: the next session's rows stand behind the old one's, the
    new socket waits as well, and no message that was read is lost.
    """
    gate = hold_writer(monkeypatch)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            gate.clear()
            await until(lambda: recording.recorder.public.paused)
            assert recording.recorder.public.connection is not None
            recording.recorder.public.connection.abort()
            await until(lambda: len(recording.recorder.sessions) == 2)
            await asyncio.sleep(0.5)
            gate.set()
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            summary = await recording.end()
            assert len(summary["sessions"]) == 2
            report = proved(tmp_path)
            assert report.unchecked == 0
            assert summary["checksums"]["book"]["ok"] == report.ok

    run(test())

"""A recording as a process of its own: ``record`` runs a loop, and signals end it in order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from krakpot.config import Config
from krakpot.errors import StorageError
from krakpot.lake import journal
from krakpot.record.run import record
from recording import proved
from scripted import Exchange, until


class Served:
    """A scripted exchange on a loop in a thread of its own, since ``record`` runs its own loop in this one."""

    def __init__(self) -> None:
        """Start it, and wait for its address."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with Exchange("BTC/USD") as exchange:
            self.exchange, self.url = exchange, exchange.url
            self._ready.set()
            await self._over.wait()

    def when_recorded(self, then: object, messages: int = 50) -> None:
        """Call ``then`` in the exchange's thread as soon as that many messages of a book were sent."""

        async def wait() -> None:
            await until(lambda: len(self.exchange.sent("book", "BTC/USD")) > messages)
            then()  # type: ignore[operator]  # a function

        asyncio.run_coroutine_threadsafe(wait(), self._loop)

    def end(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["INT", "TERM", "HUP"])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """The summary is returned, all journals are sealed, and the signal's former handler is back."""
    before = signal.getsignal(number)
    served = Served()
    served.when_recorded(lambda: os.kill(os.getpid(), number))
    logged: list[str] = []
    try:
        summary = record(Config(out=tmp_path, url=served.url, depth=10), log=logged.append)
    finally:
        served.end()
    assert summary["checksums"]["book"]["ok"] > 40
    assert any(line.startswith("ending: closing the journal and sealing it") for line in logged)
    assert journal.journals(tmp_path) == []
    assert proved(tmp_path).ok == summary["checksums"]["book"]["ok"]
    assert signal.getsignal(number) == before


@pytest.mark.slow
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As ``nohup`` starts a process: the terminal goes, and the recording does not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    served = Served()
    served.when_recorded(lambda: os.kill(os.getpid(), signal.SIGHUP))
    try:
        summary = record(Config(out=tmp_path, url=served.url, depth=10, duration=3.0))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        served.end()
        signal.signal(signal.SIGHUP, before)
    assert len(served.exchange.sent("book", "BTC/USD")) > 50, "the signal was sent"
    assert summary["seconds"] >= 3.0


@pytest.mark.slow
def test_sigterm_ends_it_in_order_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As a script's shell starts a process in the background: SIGINT changes nothing, SIGTERM seals everything."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    served = Served()
    logged: list[str] = []
    served.when_recorded(lambda: os.kill(os.getpid(), signal.SIGINT))
    served.when_recorded(lambda: os.kill(os.getpid(), signal.SIGTERM), messages=100)
    try:
        summary = record(Config(out=tmp_path, url=served.url, depth=10), log=logged.append)
    finally:
        served.end()
        signal.signal(signal.SIGINT, before)
    assert len(served.exchange.sent("book", "BTC/USD")) > 100, "SIGINT did not end it"
    assert sum(line.startswith("ending: ") for line in logged) == 1
    assert journal.journals(tmp_path) == []
    assert proved(tmp_path).ok == summary["checksums"]["book"]["ok"]


@pytest.mark.slow
def test_it_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """``duration`` ends it without a signal; the state is reported meanwhile."""
    served = Served()
    states: list[str] = []
    try:
        config = Config(out=tmp_path, url=served.url, depth=10, duration=2.5)
        summary = record(config, on_status=lambda progress: states.append(progress.state))
    finally:
        served.end()
    assert summary["seconds"] >= 2.5
    assert states[-1] == "sealing"
    assert "recording" in states


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """A recording does not move in with strangers."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StorageError, match="this folder has other files in it"):
        record(Config(out=tmp_path))


def test_a_disk_with_too_little_room_is_refused(tmp_path: Path) -> None:
    """Below --min-free nothing is begun: one sentence, and not a row."""
    with pytest.raises(StorageError, match="the disk has .* left, less than the 1000000.0 TB of --min-free; make room"):
        record(Config(out=tmp_path / "lake", min_free=10**18))
    assert not (tmp_path / "lake").exists()

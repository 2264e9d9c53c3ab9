"""Sealing while the recording goes on, and a sealer that fails."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import frames
from krakpot import _core
from krakpot.lake import journal, seal
from krakpot.lake.format import JOURNALS, open_lake
from krakpot.lake.lake import Lake
from krakpot.net.client import uuid7
from krakpot.record import sealer
from recording import Recording, proved
from scripted import Exchange, until
from waiting import run

NAME = "20260802T033550-019e0000-0000-7000-8000-000000000000"
"""Begin of a journal's name."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("exit 3", "the sealer ended with exit code 3"),
        ("kill -9 $$", "the sealer was killed; does the machine have enough memory?"),
        ("kill -11 $$", "the sealer was ended by signal 11"),
        ("echo first >&2; echo 'krakpot: no room' >&2; exit 1", "no room"),
    ],
)
def test_a_sealer_that_fails_leaves_the_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, words: str
) -> None:
    """Sealing fails: said aloud with the reason, the recording goes on, the journals stay for recovery."""
    real = sys.executable
    program = tmp_path / "sealer"
    program.write_text(f"#!/bin/sh\n{end}\n")
    program.chmod(0o755)
    tmp_path = tmp_path / "lake"
    monkeypatch.setattr("sys.executable", str(program))

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            await until(lambda: any(line.startswith("sealing failed") for line in recording.logged))
            assert recording.recorder.sealer.failures > 0
            summary = await recording.end()
            assert summary["unsealed"] == words
            assert f"sealing failed, the journals stay: {words}" in recording.logged
            monkeypatch.setattr("sys.executable", real)
            waiting = journal.journals(tmp_path)
            assert waiting
            assert len(seal.recover(tmp_path).sealed) == len(waiting)
            proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_journals_are_sealed_on_the_way(tmp_path: Path) -> None:
    """With a short interval parts appear while the recording goes on, and a dead recorder's journal is sealed at the
    start of the next one.
    """

    async def test() -> None:
        open_lake(tmp_path)
        dead = journal.Writer(tmp_path, uuid7())
        session = _core.Session(dead.session, passive=True)
        now = time.time_ns()
        session.receive([frames.status()], now)
        dead.write(session.drain(), now)
        os.close(dead._file)
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            await until(lambda: len({part.number for part in Lake(tmp_path).parts("book")}) >= 2)
            assert not recording.task.done()
            await recording.end()
            assert any(line.startswith("recovered 1 journal of a recorder that died") for line in recording.logged)
            assert dead.session in Lake(tmp_path).sessions()
            proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_a_sealer_that_hangs_is_ended_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does nothing for too long: its process is killed, the log says so, and the recording ends in its time with
    the journals safe.
    """
    lazy = tmp_path / "lazy"
    lazy.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 3600\n")
    lazy.chmod(0o755)
    lake = tmp_path / "lake"
    real = sys.executable
    monkeypatch.setattr("sys.executable", str(lazy))
    monkeypatch.setattr(sealer, "HANG", 0.3)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, lake)
            await until(lambda: recording.recorder.sealer.failures >= 1)
            assert recording.live(1)
            summary = await recording.end()
        assert summary["unsealed"] == "the sealer made no progress for 0 s and was ended"
        assert (
            "sealing failed, the journals stay: the sealer made no progress for 0 s and was ended" in recording.logged
        )
        assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists(), "no process is left"
        monkeypatch.setattr("sys.executable", real)
        assert seal.recover(lake).sealed
        proved(lake)

    run(test())


@pytest.mark.slow
def test_a_sealer_that_makes_progress_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog takes as long as it takes: what counts is the time since the last journal."""
    folder = tmp_path / JOURNALS
    folder.mkdir()
    for n in range(4):
        (folder / f"{NAME}-{n}{journal.SUFFIX}").touch()
    slow = tmp_path / "slow"
    slow.write_text(
        f"#!/bin/sh\nfor n in 0 1 2 3; do sleep 0.4; rm {folder}/{NAME}-$n{journal.SUFFIX}; done\n"
        'echo \'{"recovered": [], "torn": []}\'\n'
    )
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    monkeypatch.setattr(sealer, "HANG", 0.8)
    logged: list[str] = []

    async def test() -> None:
        one = sealer.Sealer(tmp_path, logged.append)
        await one.seal()
        assert (one.failures, one.last_error, logged) == (0, "", [])

    run(test())

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
from krakpot.lake.format import open_lake
from krakpot.lake.lake import Lake
from krakpot.net.client import uuid7
from recording import Recording, proved, run
from scripted import Exchange, until


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("exit 3", "the sealer ended with exit code 3"),
        ("kill -9 $$", "the sealer was killed; has the machine enough memory?"),
        ("kill -11 $$", "the sealer was ended by signal 11"),
        ("echo first >&2; echo 'krakpot: no room' >&2; exit 1", "no room"),
    ],
)
def test_a_sealer_that_fails_leaves_the_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, words: str
) -> None:
    """Sealing fails: said aloud with the reason, the recording goes on, the journals stay for recovery."""
    real = sys.executable
    sealer = tmp_path / "sealer"
    sealer.write_text(f"#!/bin/sh\n{end}\n")
    sealer.chmod(0o755)
    tmp_path = tmp_path / "lake"
    monkeypatch.setattr("sys.executable", str(sealer))

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

    run(test)


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
            assert any(line.startswith("recovered 1 journals of a recorder that died") for line in recording.logged)
            assert dead.session in Lake(tmp_path).sessions()
            proved(tmp_path)

    run(test)

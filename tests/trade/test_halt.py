"""How another process halts the one that writes a journal; a whole halt is in ``tests/cli/test_live.py``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from krakpot.errors import ConfigError, KrakpotError, StorageError
from krakpot.trade import halt, journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal"


def test_a_process_that_hears_no_signals_is_not_told(path: Path) -> None:
    """The signal would end it, with its orders open."""
    with journal.Journal(path, prefix="prefix00"), pytest.raises(KrakpotError, match=f"{os.getpid()} hears no signals"):
        halt.halt(path)


def test_without_a_writer_nobody_is_told(path: Path) -> None:
    """Its process ended, or died."""
    journal.Journal(path, prefix="prefix00", halts=True).close()
    with pytest.raises(KrakpotError, match="no process writes this journal"):
        halt.halt(path)


def test_a_process_that_has_another_file_is_not_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of a process of another container may be that of somebody else here."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: other.pid)
            own = journal.Journal(path, prefix="prefix00", halts=True)
        with own, pytest.raises(KrakpotError, match=f"process {other.pid} does not have this journal open"):
            halt.halt(path)
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0


def test_it_waits_until_the_journal_says_so(path: Path) -> None:
    """Orders that are open are named; one that is halted already is told again, which changes nothing."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:  # what a signal handler is given
        heard.append(number)

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with journal.Journal(path, prefix="prefix00", halts=True) as own:
            own.intent("add", 7, "prefix00name", qty="1", symbol="BTC/USD", side="buy")
            own.commit()
            quiet = halt.halt(path, patience=0.3)
            assert (quiet.why, quiet.open) == ("", ("prefix00name",))
            own.add("note", text=journal.HALTED, why="a signal")
            own.add("report", order=7, change="canceled", ended="canceled")
            own.commit()
            assert halt.halt(path).to_dict() == {"pid": os.getpid(), "halted": True, "why": "a signal", "open": []}
        with journal.Journal(path, prefix="prefix00", halts=True):
            assert halt.halt(path, patience=0.3).why == "", "that was another process"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert set(heard) == {signal.SIGUSR1}


def test_a_system_without_the_signal_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what helps."""
    monkeypatch.setattr(halt, "HALT", None)
    with pytest.raises(ConfigError, match="no signal that halts a process"):
        halt.halt(path)


def test_what_is_no_journal_is_refused(path: Path) -> None:
    """Nobody is told."""
    path.write_text("hello\n")
    with pytest.raises(StorageError, match="row 0 of the journal"):
        halt.halt(path)

"""The thread that writes the journals of a recording."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal
from krakpot.lake.format import open_lake
from krakpot.record import writer
from krakpot.record.writer import WriterThread

SESSIONS = [f"019e0000-0000-7000-8000-00000000000{n}" for n in range(3)]


def flush() -> dict[str, _core.Batch]:
    """Rows of a market."""
    session = _core.Session(SESSIONS[0], passive=True)
    for ts, frame in lakes.market(40):
        session.receive([frame], ts)
    return session.drain()


class Watched(journal.Writer):
    """A writer that counts its syncs, and can fail."""

    syncs = 0
    broken = False

    def sync(self) -> None:
        self.syncs += 1
        super().sync()

    def write(self, batches: Any, now: int) -> Path | None:
        if self.broken:
            raise StorageError("the disk is full", self.folder)
        return super().write(batches, now)


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WriterThread, list[Path], list[Exception]]]:
    """A thread that syncs twenty times a second; the journals that it closed, and its errors."""
    monkeypatch.setattr(writer, "SYNC", 0.05)
    closed: list[Path] = []
    errors: list[Exception] = []
    made = WriterThread(closed.append, errors.append)
    made.start()
    yield made, closed, errors
    made.end()
    made.join(10)
    assert not made.is_alive()


def soon(condition: Callable[[], object]) -> None:
    """Wait until it is so."""
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_every_journal_is_synced_also_one_without_news(
    tmp_path: Path, thread: tuple[WriterThread, list[Path], list[Exception]]
) -> None:
    """Two sessions write; one of them falls silent, and what it wrote is forced to the disk all the same. A journal
    that was closed is told, and let alone.
    """
    lake = tmp_path / "lake"
    open_lake(lake)
    writing, closed, errors = thread
    first, second = (Watched(lake, SESSIONS[n]) for n in (1, 2))
    writing.put(first, flush())
    writing.put(second, flush())
    soon(lambda: min(first.syncs, second.syncs) > 2)
    path = first.path
    writing.put(first, None)
    soon(lambda: closed)
    assert closed == [path]
    before = first.syncs, second.syncs
    soon(lambda: second.syncs > before[1] + 2)
    assert first.syncs == before[0]
    assert writing.bytes == first.bytes + second.bytes > 0
    assert errors == []
    writing.put(second, None)
    soon(lambda: len(closed) == 2)


def test_an_error_ends_all_writing_and_is_told_once(
    tmp_path: Path, thread: tuple[WriterThread, list[Path], list[Exception]]
) -> None:
    """What was written stays as it is; nothing more comes, of any session."""
    lake = tmp_path / "lake"
    open_lake(lake)
    writing, closed, errors = thread
    first, second = (Watched(lake, SESSIONS[n]) for n in (1, 2))
    writing.put(first, flush())
    soon(lambda: first.path)
    second.broken = True
    writing.put(second, flush())
    writing.put(second, flush())
    soon(lambda: errors)
    size = first.bytes
    writing.put(first, flush())
    writing.put(first, None)
    writing.end()
    writing.join(10)
    assert (len(errors), closed, first.bytes) == (1, [], size)
    assert first.path is not None
    assert journal.read(first.path).torn is None


def test_the_queue_has_room_for_each_that_writes(tmp_path: Path) -> None:
    """As many flushes as there is room for may wait."""
    waiting = WriterThread(lambda _: None, lambda _: None)
    waiting.room += 2
    one = journal.Writer(tmp_path, SESSIONS[0])
    waiting.put(one, {})
    assert not waiting.full
    waiting.put(one, {})
    assert waiting.full
    waiting.room += 2
    assert not waiting.full

"""Disks that are full, read-only or shared: what was promised is kept, and it is said what helps.

Every call that may need room fails once with ENOSPC; then real small file systems, where mounting is allowed.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import frames
import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import compact, journal, lock, seal
from krakpot.lake import format as lake_format
from krakpot.lake.format import MARKER, open_lake
from krakpot.lake.verify import verify

CALLS = ("open", "write", "fsync", "rename", "link", "mkdir", "ftruncate")
"""Calls of the journal and the sealer that a full disk may refuse."""


class Disk:
    """``os`` with a disk that is full at the ``nth`` of the calls, and from then on or only then."""

    def __init__(self, nth: int, *, stays: bool) -> None:
        self.nth = nth
        self.stays = stays
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Refuse some calls, pass all others on."""
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            # What only reads needs no room, and to cut a file frees some.
            if name == "ftruncate" or (name == "open" and not arguments[1] & os.O_CREAT):
                return real(*arguments, **options)
            self.calls.append(name)
            count = len(self.calls)
            if count == self.nth or (self.stays and count > self.nth):
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        return call


def record(lake: Path, promised: list[dict[str, _core.Batch]]) -> None:
    """Record some journals, sealing after each; what was synced is promised."""
    recorder = lakes.Recorder(lake, interval=1.0)
    timed = lakes.market(200)
    try:
        for n in range(0, len(timed), 20):
            for ts, frame in timed[n : n + 20]:
                recorder.session.receive([frame], ts)
            batches = recorder.session.drain()
            closed = recorder.writer.write(batches, recorder.session.now)
            promised.append(batches)
            recorder.writer.sync()
            if closed is not None:
                seal.recover(lake)
        recorder.end()
    finally:
        # A recorder that cannot write ends, and its lock goes with it.
        if recorder.writer._file != -1:
            os.close(recorder.writer._file)
    seal.recover(lake)


def check(lake: Path, promised: list[dict[str, _core.Batch]]) -> None:
    """Once there is room again recovery brings every promised row into the lake, once, and has then nothing to do."""
    seal.recover(lake)
    for table in ("book", "trades", "ticker"):
        want = lakes.expected(promised, table)
        found = lakes.rows(lake, table)
        assert found.unique(["symbol", "message", "entry"]).height == found.height, f"{table} has rows twice"
        assert want.join(found, on=["symbol", "message", "entry"], how="anti").height == 0, f"{table} lacks rows"
    assert list((lake / "_journal").iterdir()) == []
    assert seal.recover(lake).sealed == []
    # A disk that is full from the first call leaves a lake without a message: no success, and nothing else is wrong.
    empty = all(lakes.rows(lake, table).height == 0 for table in ("book", "trades", "ticker"))
    problems = verify(lake, threads=1).problems
    assert problems == [] or (empty and [problem.partition(":")[0] for problem in problems] == ["nothing was recorded"])


@pytest.mark.slow
@pytest.mark.parametrize("stays", [True, False], ids=["stays full", "full once"])
def test_a_full_disk_at_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None], stays: bool
) -> None:
    """Fail at each call of a recording with sealing in turn: one sentence with the cure, and nothing promised is lost.

    A journal that cannot be removed or begun, a block half written, a part half written, a link that is refused: all.
    """
    plain = Disk(0, stays=False)
    with monkeypatch.context() as patch:
        for module in (journal, seal, lake_format, lock):
            patch.setattr(module, "os", plain)
        record(tmp_path / "plain", [])
    total = len(plain.calls)
    assert {"open", "write", "fsync", "rename", "link"} <= set(plain.calls)
    assert total > 100
    # Some calls are alike: a quick run takes every third.
    every = 1 if os.environ.get("KRAKPOT_TEST") == "all" else 3
    refused = 0
    said: set[str] = set()
    for nth in range(1 + stays, total + 1, every):
        lake = tmp_path / f"lake{nth}"
        disk = Disk(nth, stays=stays)
        promised: list[dict[str, _core.Batch]] = []
        with monkeypatch.context() as patch:
            for module in (journal, seal, lake_format, lock):
                patch.setattr(module, "os", disk)
            try:
                record(lake, promised)
            except StorageError as error:
                said.add(str(error).partition(": ")[2].rpartition(": ")[0])
                refused += 1
        assert len(disk.calls) >= nth
        if (lake / MARKER).exists():
            check(lake, promised)
    record_property("times", refused)
    assert refused >= total // every - 2
    assert said == {"the disk is full; make room, then run `krakpot recover`"}


@contextmanager
def small_file_system(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs of its own; skipped where it may not be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs may not be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


FILL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import lakes
from krakpot.lake import seal
from krakpot.errors import StorageError
recorder = lakes.Recorder(Path(sys.argv[1]), interval=2.0)
timed = lakes.market(20_000)
for n in range(0, len(timed), 20):
    try:
        recorder.take(timed[n:n + 20])
        recorder.writer.sync()
        if recorder.closed:
            recorder.closed.clear()
            seal.recover(recorder.lake)
    except StorageError as error:
        print(rows)
        sys.exit(str(error))
    rows = recorder.session.counts()["rows"]["book"]
"""


@pytest.mark.slow
def test_a_small_file_system_runs_full(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A real one, of half a megabyte, filled by a real process: nothing that was synced is missing afterwards."""
    record_property("times", 1)
    with small_file_system(tmp_path / "disk", "size=512k") as disk:
        lake = disk / "lake"
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(100_000))
        done = subprocess.run(
            [sys.executable, "-c", FILL, str(lake), str(Path(__file__).parent.parent)],
            check=False, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert "the disk is full; make room, then run `krakpot recover`" in done.stderr, done.stderr
        synced = int(done.stdout)
        assert synced > 1000
        ballast.unlink()
        seal.recover(lake)
        found = lakes.rows(lake, "book")
        assert found.height >= synced
        assert found.unique(["message", "entry"]).height == found.height
        assert verify(lake, threads=1).problems == []


def test_a_read_only_file_system(tmp_path: Path) -> None:
    """Said when recording is to begin and when something is to be sealed; reading and proving go on."""
    with small_file_system(tmp_path / "disk", "size=8m") as disk:
        lake = disk / "lake"
        lakes.make(lake, lakes.market(100))
        recorder = lakes.Recorder(lake, lakes.session_name(frames.START))
        recorder.take(lakes.market(20))
        path = recorder.die()
        before = path.read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StorageError, match="the file system is read-only; choose another folder"):
            open_lake(disk / "other")
        with pytest.raises(StorageError, match="the file system is read-only"):
            seal.recover(lake)
        with pytest.raises(StorageError, match="the file system is read-only"):
            compact.compact(lake)
        with pytest.raises(StorageError, match="cannot begin a journal: the file system is read-only"):
            lakes.Recorder(lake).take(lakes.market(20))
        assert path.read_bytes() == before
        report = verify(lake, threads=1)
        assert report.ok > 0
        assert [path.name in sentence for sentence in report.problems] == [True]
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        seal.recover(lake)
        assert verify(lake, threads=1).problems == []


def test_two_recorders_in_one_lake(tmp_path: Path) -> None:
    """Both record at once and both seal: each touches only what nobody owns, and the lake proves both."""
    lake = tmp_path / "lake"
    recorders = [
        lakes.Recorder(lake, lakes.session_name(frames.START + n * frames.SECOND), interval=1.0) for n in range(2)
    ]
    timed = lakes.market(400)
    for n in range(0, len(timed), 20):
        for recorder in recorders:
            recorder.take(timed[n : n + 20])
            seal.recover(lake)
    for recorder in recorders:
        recorder.end()
        seal.recover(lake)
    report = verify(lake, threads=1)
    assert report.problems == []
    assert report.sessions == 2
    want = [recorder.session.counts()["checksums"]["book"]["ok"] for recorder in recorders]
    assert report.ok == sum(want)
    assert want[0] == want[1] > 100
    assert len(lakes.parts(lake, "book")) > 6

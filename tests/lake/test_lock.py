"""Locks end with the file that has them, and one module knows how a platform locks."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import krakpot.lake
import lakes
from krakpot.errors import StorageError
from krakpot.lake import compact, lock
from krakpot.lake.format import open_lake
from krakpot.lake.verify import verify


@pytest.mark.parametrize("what", ["file", "folder"])
def test_one_or_many(tmp_path: Path, what: str) -> None:
    """Many share a lock, or one has it alone; it ends with the file."""
    path = tmp_path if what == "folder" else tmp_path / "file"
    if what == "file":
        path.touch()
    with lock.locked(path, exclusive=False) as first, lock.locked(path, exclusive=False) as second:
        assert (first, second) == (True, True)
        with lock.locked(path, exclusive=True) as third:
            assert not third
    with lock.locked(path, exclusive=True) as first:
        assert first
        for exclusive in (True, False):
            with lock.locked(path, exclusive=exclusive) as second:
                assert not second
    with lock.locked(path, exclusive=True) as first:
        assert first


def test_a_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    """However a process ends, nobody has to clean up after it."""
    path = tmp_path / "file"
    path.touch()
    program = (
        "import os, sys; from pathlib import Path; from krakpot.lake import lock; path = Path(sys.argv[1]); "
        "print(lock.take(os.open(path, os.O_RDONLY), path, exclusive=True), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with lock.locked(path, exclusive=False) as obtained:
            assert not obtained
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with lock.locked(path, exclusive=True) as obtained:
            assert obtained


def test_nobody_else_knows_how_to_lock() -> None:
    """No other module of the lake imports what only some platforms have."""
    found = {}
    for path in Path(krakpot.lake.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        found[path.stem] = names & {"fcntl", "msvcrt", "resource"}
    assert len(found) > 10
    assert {name: modules for name, modules in found.items() if modules} == {"lock": {"fcntl", "msvcrt"}}


def test_names_in_a_folder_are_forced_to_the_disk(tmp_path: Path) -> None:
    """A folder that is there can be synced; one that is not is an error."""
    lock.sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        lock.sync_folder(tmp_path / "none")


ELSEWHERE = """
import ctypes, json, sys, types
from pathlib import Path

for name in ("fcntl", "resource", "termios", "grp", "pwd"):
    sys.modules[name] = None  # as where the platform has none: importing it fails

import krakpot
from krakpot import Feed, Lake
from krakpot.lake import lock
from krakpot.lake.verify import verify

assert not lock.FOLDERS
calls = []

class Kernel:
    def LockFileEx(self, handle, flags, reserved, low, high, place):
        calls.append(flags)
        return 1

# The system's own calls, as Windows has them.
sys.platform = "win32"
ctypes.WinDLL = lambda name, use_last_error: Kernel()
sys.modules["msvcrt"] = types.SimpleNamespace(get_osfhandle=lambda handle: handle)

lake = Lake(Path(sys.argv[1]))
symbol = lake.symbols()[0]
report = verify(lake.path, threads=1)
books = lake.books(symbol, every="1s", depth=5)
print(json.dumps({
    "trades": lake.trades(symbol).collect().height,
    "books": books.drop_nulls("checksum").height,
    "coverage": lake.coverage().height,
    "problems": report.problems,
    "ok": report.ok,
    "locks": calls,
    "feed": Feed.__name__,
}))
"""
"""Reads a lake on a platform that has none of the modules that only POSIX has."""


def test_a_lake_is_read_where_the_platform_has_no_flock(tmp_path: Path) -> None:
    """Reading, the proof, books at a time and coverage need nothing of POSIX; locks are the platform's own."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(200))
    want = verify(lake)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(lake)], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["problems"], found["ok"], found["feed"]) == ([], want.ok, "Feed")
    assert min(found["trades"], found["books"], found["coverage"]) > 0
    assert found["locks"], "to read is to share the lock of the marker"
    assert set(found["locks"]) == {0}


def test_a_platform_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, not a traceback."""
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(sys, "platform", "plan9")
    with (
        pytest.raises(StorageError, match="krakpot cannot lock files on the platform 'plan9'"),
        lock.locked(tmp_path, exclusive=False),
    ):
        pass


def test_without_locks_on_folders_compaction_says_where_it_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lake that was copied to Windows is read there, and compacted elsewhere."""
    open_lake(tmp_path)
    monkeypatch.setattr(compact, "FOLDERS", False)
    with pytest.raises(StorageError, match="cannot lock a folder on this platform; compact the lake on Linux or macOS"):
        compact.compact(tmp_path)

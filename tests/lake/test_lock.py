"""Locks end with the file that has them, and one module knows how a platform locks."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import krakpot.lake
from krakpot.lake import lock


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
        "import os, sys; from krakpot.lake import lock; handle = os.open(sys.argv[1], os.O_RDONLY); "
        "print(lock.take(handle, exclusive=True), flush=True); sys.stdin.read()"
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

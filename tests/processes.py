"""Runs krakpot's commands as processes, and waits for what they log."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 60.0
"""Seconds after which a line of the log is given up, however slow the machine is."""


@contextmanager
def running(*arguments: str | Path, err: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A krakpot command that logs to ``err``; killed at the end, if it still runs."""
    with err.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "krakpot", *map(str, arguments)], stdout=subprocess.PIPE, stderr=file
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(words: str, file: Path, process: subprocess.Popen[bytes]) -> str:
    """The first line of ``file`` with ``words``, as soon as ``process`` has written it."""
    give_up = time.monotonic() + TIMEOUT
    while True:
        lines = [line for line in file.read_text().splitlines(keepends=True) if words in line and line.endswith("\n")]
        if lines:
            return lines[0]
        assert process.poll() is None, f"it ended: {file.read_text()}"
        assert time.monotonic() < give_up, f"{words!r} did not come: {file.read_text()}"
        time.sleep(0.02)

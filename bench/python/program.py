"""``krakpot`` as a process of its own, as benchmarks run it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Program:
    """``krakpot`` with some arguments, while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Of a process that runs."""
        self.process = process
        self._said = b""

    async def until(self, pattern: bytes) -> str:
        """The group of the first line on stderr that the pattern finds."""
        assert self.process.stderr is not None, "asked for"
        while not (found := re.search(pattern, self._said)):
            line = await self.process.stderr.readline()
            assert line, f"it ended: {self._said.decode()}"
            self._said += line
        return found[1].decode()

    async def end(self) -> dict[str, Any]:
        """Ctrl-C; what it printed."""
        self.process.send_signal(signal.SIGINT)
        out, _ = await self.process.communicate()
        found: dict[str, Any] = json.loads(out)
        return found


@asynccontextmanager
async def krakpot(*arguments: str) -> AsyncIterator[Program]:
    """Run a command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "krakpot", *arguments, "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

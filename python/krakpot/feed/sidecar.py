"""A recorder in a process of its own, beside a live strategy, and ended with it.

``record.sidecar`` is what runs there. It records until its standard input ends, so it ends in order when the strategy
is done, and also when the strategy's process dies. The recorder uses neither the strategy's interpreter nor its loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from krakpot.config import from_mapping
from krakpot.errors import StorageError

LINE_MAX = 1 << 22
"""Bytes of a line that the recorder says; the summary names all that was refused."""


class Beside:
    """The recorder as the strategy sees it."""

    def __init__(self, values: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
        """Check the options; lines that the recorder says go to ``tell``."""
        self.out = from_mapping(values).out
        self.values = dict(values) | {"out": str(self.out.absolute())}
        self.summary: dict[str, Any] = {}
        """What was recorded, when it is over."""
        self._tell = tell
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Begin."""
        self._process = await asyncio.create_subprocess_exec(
            # -P: no module of the folder that the strategy was started in.
            sys.executable, "-P", "-m", "krakpot.record.sidecar",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LINE_MAX,
            # Ctrl-C in the terminal is for the strategy, which ends the recorder in order.
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None, "asked for"
        self._process.stdin.write(json.dumps(self.values, default=str).encode() + b"\n")
        await self._process.stdin.drain()

    async def run(self) -> None:
        """Listen to it until it is over; ``StorageError`` with its words if it failed."""
        process = self._process
        assert process.stdout is not None, "asked for"
        assert process.stderr is not None, "asked for"
        words = asyncio.create_task(process.stderr.read())
        try:
            async for text in process.stdout:
                line = json.loads(text)
                if line["event"] == "summary":
                    self.summary = line["summary"]
                else:
                    self._tell(line)
            code = await process.wait()
            said = (await words).decode(errors="replace").strip().splitlines()
        finally:
            words.cancel()
        if code:
            sentence = f"the recorder beside the feed ended: {said[-1] if said else f'exit code {code}'}"
            raise StorageError(sentence, self.out)

    def stop(self) -> None:
        """Let it end in order; ``run`` returns when all is sealed."""
        assert self._process.stdin is not None, "asked for"
        self._process.stdin.close()

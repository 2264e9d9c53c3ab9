"""A recorder in a separate process, beside a live strategy, and ended with it.

``record.sidecar`` is what runs there. It records until its standard input ends, so it ends in order when the strategy
is done, and also when the strategy's process dies. The recorder uses neither the strategy's interpreter nor its loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from krakpot.config import BESIDE, from_mapping
from krakpot.errors import ConfigError, StorageError

LINE_MAX = 1 << 22
"""Bytes of one line of the recorder's output; the summary names everything that was refused."""


class Sidecar:
    """The recorder, as seen from the strategy's process."""

    def __init__(self, options: Mapping[str, Any], log: Callable[[dict[str, Any]], None]) -> None:
        """Check the options; ``log`` gets the recorder's log lines, as objects."""
        self.out = from_mapping(options).out.absolute()
        self.options = dict(options) | {"out": str(self.out)}
        self.summary: dict[str, Any] = {}
        """Summary of the recording; empty until it has ended."""
        self._log = log
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            # -P: import no module from the folder that the strategy was started in.
            sys.executable, "-P", "-m", "krakpot.record.sidecar",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LINE_MAX,
            # Ctrl-C in the terminal is for the strategy, which ends the recorder in order.
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None, "a pipe, as requested"
        self._process.stdin.write(json.dumps(self.options, default=str).encode() + b"\n")
        await self._process.stdin.drain()

    async def run(self) -> None:
        """Read its output until it ends.

        ``ConfigError`` if one of its options is wrong; ``StorageError`` with its sentence if it failed otherwise.
        """
        process = self._process
        assert process.stdout is not None, "a pipe, as requested"
        assert process.stderr is not None, "a pipe, as requested"
        errors = asyncio.create_task(process.stderr.read())
        failure: dict[str, Any] = {}
        try:
            async for text in process.stdout:
                line = json.loads(text)
                if line["event"] == "summary":
                    self.summary = line["summary"]
                elif line["event"] == "failure":
                    failure = line
                else:
                    self._log(line)
            code = await process.wait()
            sentences = (await errors).decode(errors="replace").strip().splitlines()
        finally:
            errors.cancel()
        if failure.get("kind") == "ConfigError":
            sentence = failure["message"]
            raise ConfigError(sentence if sentence.startswith(BESIDE) else f"{BESIDE}: {sentence}")
        if failure:
            sentence = f"the recorder beside the feed ended: {failure['message']}"
            raise StorageError(sentence, Path(failure["path"] or self.out))
        if code:
            sentence = f"the recorder beside the feed ended: {sentences[-1] if sentences else f'exit code {code}'}"
            raise StorageError(sentence, self.out)

    def stop(self) -> None:
        """Let it end in order; ``run`` returns when everything is sealed."""
        assert self._process.stdin is not None, "a pipe, as requested"
        self._process.stdin.close()

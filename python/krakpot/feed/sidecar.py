"""A recorder in a process of its own, beside a live strategy, and ended with it.

``python -m krakpot.beside`` reads options as one line of JSON, then records until its standard input ends: when the
strategy is done, and when it died. Lines that it says are lines of JSON on standard output; the last one is the
summary. So the recorder takes neither the strategy's interpreter nor its loop, whatever it has to write.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from krakpot.config import from_mapping
from krakpot.errors import KrakpotError, StorageError
from krakpot.log import as_json

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
            sys.executable, "-P", "-m", "krakpot.feed.sidecar",
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


async def _until_end(recorder: Any) -> None:  # noqa: ANN401  # its module is slow to import, and only the child needs it
    """Record until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    recording = asyncio.create_task(recorder.run())
    ended = asyncio.create_task(reader.read())
    await asyncio.wait({recording, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not recording.done():
        recorder.stop()
    ended.cancel()
    _say(json.dumps({"event": "summary", "summary": await recording}))


def _say(line: str) -> None:
    """Write a line, if anybody is still there to read it."""
    try:
        print(line, flush=True)  # noqa: T201  # the strategy reads it
    except BrokenPipeError:
        # Standard output is of no use any more; the interpreter must not try to flush it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """Record as the first line of standard input says."""
    from krakpot.record.recorder import Recorder  # noqa: PLC0415  # slow to import, and the strategy does not need it

    try:
        # Not through the buffer of `sys.stdin`, which would keep what follows from the loop.
        values = json.loads(_first_line(0))
        asyncio.run(_until_end(Recorder(from_mapping(values), lambda line: _say(as_json(line)), signals=False)))
    except KrakpotError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the strategy reads it
        return 1
    return 0


def _first_line(handle: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(handle, 1) or b"\n"
    return line


if __name__ == "__main__":
    sys.exit(main())

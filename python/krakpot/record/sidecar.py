"""The process that records beside a live feed; ``feed.sidecar`` starts it.

``python -m krakpot.record.sidecar`` reads options as one line of JSON, then records until its standard input ends. So
it ends in order when the strategy is done, and also when the strategy's process dies. Its log lines are lines of JSON
on standard output; the last one is the summary, or says why it failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from krakpot.config import from_mapping
from krakpot.errors import FeedError, KrakpotError
from krakpot.log import LogLine, as_json
from krakpot.record.recorder import Recorder


async def _until_end(recorder: Recorder) -> None:
    """Record until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    recording = asyncio.create_task(recorder.run())
    ended = asyncio.create_task(reader.read())
    await asyncio.wait({recording, ended}, return_when=asyncio.FIRST_COMPLETED)
    stopped = not recording.done()
    if stopped:
        recorder.stop()
    ended.cancel()
    try:
        summary = await recording
    except FeedError as error:
        if not stopped:
            raise
        # The feed ended before the recorder had a subscription. That is not the feed's failure.
        _write(as_json(LogLine(str(error), "failed", "warning")))
        summary = recorder.summary()
    _write(json.dumps({"event": "summary", "summary": summary}))


def _write(line: str) -> None:
    """Write a line, if anybody is still there to read it."""
    try:
        print(line, flush=True)  # noqa: T201  # the feed reads it
    except BrokenPipeError:
        # Nobody reads standard output any more; the interpreter must not try to flush it when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """Record as the first line of standard input says."""
    try:
        # Not through the buffer of `sys.stdin`, which would hold back what follows from the loop.
        values = json.loads(_first_line(0))
        asyncio.run(_record(values))
    except KrakpotError as error:
        path = getattr(error, "path", None)
        sentence = str(error).removesuffix(f": {path}")
        kind = type(error).__name__
        _write(json.dumps({"event": "failure", "kind": kind, "message": sentence, "path": path and str(path)}))
        return 1
    return 0


async def _record(values: dict[str, object]) -> None:
    await _until_end(Recorder(from_mapping(values), log=lambda line: _write(as_json(line))))


def _first_line(handle: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(handle, 1) or b"\n"
    return line


if __name__ == "__main__":
    sys.exit(main())

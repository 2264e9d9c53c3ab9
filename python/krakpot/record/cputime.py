"""Where the CPU time of a recording goes, stage by stage, measured without slowing it."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from krakpot import _core

EVERY = 31
"""Of so many reads of a socket one is timed, for to ask for the time costs about as much as a message. A prime: where
connections are read in turn, each of them comes to be timed.
"""
STAGES = {
    "read": "sockets, WebSocket framing and the loop",
    "decode": "messages decoded, books kept, checksums computed, rows collected",
    "hand_over": "rows made Arrow batches and handed to the journal's thread",
    "write": "journals compressed, written and synced",
    "duties": "clocks, requests, counters",
    "seal": "sealers that ended: journals made Parquet, in processes of their own",
}


class Stages:
    """CPU time by stage. Made on the recorder's loop, in its thread; only ``write`` comes from another one."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.write = 0
        """CPU time of the journal's thread, ns, as it last told."""
        self._began = time.thread_time_ns()
        self._reads = self._frames = 0
        self._timed_frames = self._timed = 0
        self._spent = {"hand_over": 0, "duties": 0}

    def receive(self, session: _core.Session, frames: list[bytes], ts_recv: int) -> None:
        """Let a session have the frames of one read."""
        self._reads += 1
        self._frames += len(frames)
        if self._reads % EVERY:
            session.receive(frames, ts_recv)
            return
        begun = time.thread_time_ns()
        session.receive(frames, ts_recv)
        self._timed += time.thread_time_ns() - begun
        self._timed_frames += len(frames)

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """What is done meanwhile belongs to ``stage``."""
        begun = time.thread_time_ns()
        try:
            yield
        finally:
            self._spent[stage] += time.thread_time_ns() - begun

    def seconds(self) -> dict[str, float]:
        """CPU seconds by stage until now."""
        loop = time.thread_time_ns() - self._began
        decode = self._timed * self._frames // self._timed_frames if self._timed_frames else 0
        # What was not timed is estimated, and an estimate may be more than all there is.
        read = max(0, loop - decode - sum(self._spent.values()))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = {"read": read, "decode": decode, **self._spent, "write": self.write}
        seconds = {stage: ns / 1e9 for stage, ns in found.items()} | {"seal": children.ru_utime + children.ru_stime}
        return {stage: seconds[stage] for stage in STAGES}

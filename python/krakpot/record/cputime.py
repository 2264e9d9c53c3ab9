"""Where the CPU time of a recording goes, by stage, measured without slowing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from krakpot import _core

try:
    import resource
except ImportError:
    # Windows does not have it.
    resource = None  # type: ignore[assignment]  # asked for before it is used

EVERY = 31
"""One socket read in this many is timed, because reading the clock costs about as much as a message.

A prime: where connections are read in turn, each of them is timed now and then.
"""
STAGES = {
    "read": "sockets, WebSocket framing and the loop",
    "decode": "messages decoded, books kept, checksums computed, rows collected",
    "hand_over": "rows made Arrow batches and handed to the journal's thread",
    "write": "journals compressed, written and synced",
    "duties": "clocks, requests, counters",
    "seal": "sealers that ended: journals made Parquet, in processes of their own",
}
NOT_MEASURED = "" if resource else "the CPU time of sealers is not measured: this system does not tell it"
"""What cannot be measured on this system, as a sentence; empty where everything can."""


class Stages:
    """CPU time by stage. Create it in the thread of the recorder's loop; only ``write`` comes from another thread."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.write = 0
        """CPU time of the journal's thread so far, ns."""
        self._began = time.thread_time_ns()
        self._reads = self._frames = 0
        self._timed_frames = self._timed = 0
        self._spent = {"hand_over": 0, "duties": 0}

    def receive(self, session: _core.Session, frames: list[bytes], ts_recv: int) -> None:
        """Pass the frames of one socket read to a session."""
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
        """Count the CPU time of the block for ``stage``."""
        begun = time.thread_time_ns()
        try:
            yield
        finally:
            self._spent[stage] += time.thread_time_ns() - begun

    def seconds(self) -> dict[str, float]:
        """CPU seconds by stage so far; without the stages that cannot be measured on this system."""
        loop = time.thread_time_ns() - self._began
        decode = self._timed * self._frames // self._timed_frames if self._timed_frames else 0
        # The time of reads that were not timed is an estimate, and may be more than there was.
        read = max(0, loop - decode - sum(self._spent.values()))
        found = {"read": read, "decode": decode, **self._spent, "write": self.write}
        seconds = {stage: ns / 1e9 for stage, ns in found.items()}
        if resource is not None:
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds["seal"] = children.ru_utime + children.ru_stime
        return {stage: seconds[stage] for stage in STAGES if stage in seconds}

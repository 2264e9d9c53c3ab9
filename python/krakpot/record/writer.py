"""The thread that writes the journals of a recording, so that the disk never blocks the event loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krakpot.lake.journal import Writer

SYNC = 1.0
"""Seconds between two fsyncs of each journal."""


class WriterThread(threading.Thread):
    """Writes flushes in order and syncs once a second. The first error ends the writing; ``on_error`` is called."""

    def __init__(self, on_closed: Callable[[Path], object], on_error: Callable[[Exception], object]) -> None:
        """``on_closed`` is called with each journal that can be sealed; both functions are called in this thread."""
        super().__init__(name="krakpot-journal", daemon=True)
        self.room = 0
        """Flushes that may wait. Flushes that end a journal do not count, so a reconnect never waits for room."""
        self.bytes = 0
        """Bytes written."""
        self.cpu = 0
        """CPU time of this thread, ns."""
        self.failed = False
        self._jobs: queue.SimpleQueue[tuple[Writer, dict[str, Any] | None, int] | None] = queue.SimpleQueue()
        self._on_closed = on_closed
        self._on_error = on_error

    @property
    def full(self) -> bool:
        """Whether there is no room for another flush."""
        return self.waiting >= self.room

    @property
    def waiting(self) -> int:
        """Flushes that wait to be written."""
        return self._jobs.qsize()

    def put(self, writer: Writer, batches: dict[str, Any] | None) -> None:
        """Queue ``batches`` for ``writer``. None closes its journal: it has no more rows."""
        self._jobs.put((writer, batches, time.time_ns()))

    def end(self) -> None:
        """Write what waits, then end; ``join`` waits for that."""
        self._jobs.put(None)

    def run(self) -> None:
        """Write until the end."""
        writers: set[Writer] = set()
        synced = time.monotonic()
        while True:
            try:
                job = self._jobs.get(timeout=SYNC)
            except queue.Empty:
                job = ()  # type: ignore[assignment]  # nothing to write, but time to sync
            if job is None:
                return
            if self.failed:
                continue
            try:
                if job:
                    self._write(*job, writers)
                if time.monotonic() - synced >= SYNC:
                    for writer in writers:
                        writer.sync()
                    synced = time.monotonic()
                self.cpu = time.thread_time_ns()
            except Exception as error:  # noqa: BLE001  # this thread has nobody else to raise to
                # Nothing more is written. The blocks in the journals are whole; recovery seals them.
                self.failed = True
                self._on_error(error)

    def _write(self, writer: Writer, batches: dict[str, Any] | None, now: int, writers: set[Writer]) -> None:
        before = writer.bytes
        if batches is None:
            writers.discard(writer)
            closed = writer.close()
        else:
            writers.add(writer)
            closed = writer.write(batches, now)
        self.bytes += writer.bytes - before
        if closed is not None:
            self._on_closed(closed)

"""A recording as a process: signals end it in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from krakpot.config import Config
from krakpot.record.progress import Progress, RecordingSummary
from krakpot.record.recorder import Recorder

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a recording in order; the last one is sent when its terminal is closed."""


def record(
    config: Config,
    *,
    log: Callable[[str], None] = lambda line: None,
    on_status: Callable[[Progress], None] = lambda progress: None,
) -> RecordingSummary:
    """Record in this process until the configured duration is over, or Ctrl-C, SIGTERM or SIGHUP; returns the summary.

    A signal that the process was started to ignore (``nohup``) stays ignored.

    It raises the errors of ``Recorder.run``.
    """

    async def run() -> RecordingSummary:
        recorder = Recorder(config, log=log, on_status=on_status)
        with _signals(recorder, log):
            return await recorder.run()

    return asyncio.run(run())


@contextmanager
def _signals(recorder: Recorder, log: Callable[[str], None]) -> Iterator[None]:
    """Let signals stop ``recorder`` meanwhile; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if recorder.stopping:
            log(
                "stopped at once: everything that was written is safe in the journal; "
                "the next start, or `krakpot recover`, seals it"
            )
            os._exit(130)
        log("ending: closing the journal and sealing it (Ctrl-C again leaves that to the next start)")
        recorder.stop()

    known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    # Windows has no such handlers: there Ctrl-C cancels the recording, which also ends it in order.
    with suppress(NotImplementedError):
        for number in numbers:
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

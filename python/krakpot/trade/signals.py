"""What signals do to a run with money; it hears them where it runs in the main thread.

SIGINT and SIGTERM end it: own orders are cancelled, and their reports are waited for. A second one leaves at once.
SIGUSR1 halts it: own orders are cancelled, no new ones are sent, and the run goes on watching.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn, Protocol, Self

ENDS = (signal.SIGINT, signal.SIGTERM)
HALT: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""None where the system has no such signal."""
FAILED = 128
"""A process that a signal ended has this exit code and the number of the signal."""


class Heard(Protocol):
    """What is told of signals."""

    def interrupt(self) -> bool:
        """End it in order; false if there is nothing to end in order, so that the process is to be left at once."""

    def abandon(self) -> None:
        """It is left at once."""

    def halt(self) -> None:
        """Halt it soon."""


class Signals:
    """Hears signals in a ``with`` block."""

    def __init__(self, run: Heard) -> None:
        """Nothing is heard yet."""
        self._run = run
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def halts(self) -> bool:
        """Whether SIGUSR1 is heard."""
        return HALT in self._before

    def __enter__(self) -> Self:
        """Hear them from now on; but not in another thread, which Python does not allow."""
        if threading.current_thread() is threading.main_thread():
            handlers: list[tuple[signal.Signals | None, Callable[[int, FrameType | None], None]]] = [
                *((number, self._end) for number in ENDS), (HALT, self._halt)
            ]  # fmt: skip
            for number, handler in handlers:
                # A signal that the process was started to ignore stays ignored.
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hear them no more."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: a handler that Python did not install cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _halt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # what a signal handler is given
        self._run.halt()

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # what a signal handler is given
        self._count += 1
        if self._count == 1 and self._run.interrupt():
            return
        if self._count > 1:
            self._run.abandon()
        for other in ENDS:
            # A third one must not find anything that waits.
            signal.signal(other, signal.SIG_DFL)
        _leave(number)


def _leave(number: int) -> NoReturn:
    """Raise through whatever runs now, a handler of the strategy too."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(FAILED + number)

"""Halts the process that writes a journal, from another one: it cancels its orders, sends no new ones, and watches."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krakpot.errors import ConfigError, KrakpotError, StorageError, words_of
from krakpot.lake import lock
from krakpot.trade import journal
from krakpot.trade.signals import HALT

PATIENCE = 10.0
"""Seconds in which the process must say that it halted, and in which its orders must end."""
LOOKS = 0.2
"""Seconds between two looks at the journal."""
PROCESSES = Path("/proc")
KILL = "`krakpot trade kill` with a second key cancels all orders of the account"


@dataclass(frozen=True)
class Halted:
    """What the journal says of a halted process."""

    pid: int
    why: str
    """Why it is halted; empty if it did not say so in time."""
    open: tuple[str, ...]
    """Orders that may be open, by the exchange's ids or by their own names."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"pid": self.pid, "halted": bool(self.why), "why": self.why, "open": list(self.open)}


def halt(path: str | os.PathLike[str], *, patience: float = PATIENCE) -> Halted:
    """Halt the process that writes a journal, and wait until its orders are over.

    Raises
    ------
    ConfigError
        This system has no signal for it.
    KrakpotError
        No process writes the journal, or it cannot be told.
    StorageError
        The journal cannot be read.

    """
    if HALT is None:
        raise ConfigError(f"this system has no signal that halts a process; end it, or: {KILL}")
    where = Path(path)
    begin = _writer(where)
    pid = begin.facts["pid"]
    try:
        os.kill(pid, HALT)
    except OSError as error:
        raise KrakpotError(f"process {pid} cannot be told to halt ({words_of(error)}); {KILL}") from None
    end = time.monotonic() + patience
    while True:
        found = _look(where, begin)
        if time.monotonic() > end or (found.why and not found.open):
            return found
        time.sleep(LOOKS)


def _writer(path: Path) -> journal.Row:
    """The row with which the process that writes a journal began; ``KrakpotError`` if it is not known."""
    last = None
    for row in journal.rows(path):
        if row.kind in {"begin", "end"}:
            last = row
    try:
        with lock.locked(path, exclusive=False) as free:
            pass
    except OSError as error:
        raise StorageError(f"the journal cannot be read ({words_of(error)})", path) from error
    if free:
        raise KrakpotError(f"no process writes this journal, so nothing was told to halt: {path}; {KILL}")
    if last is None or last.kind == "end" or "pid" not in last.facts:
        raise KrakpotError(f"the process that writes this journal has not said yet who it is; try again: {path}")
    pid = last.facts["pid"]
    if not last.facts.get("halts"):
        sentence = (
            f"process {pid} hears no signals, as krakpot.run does not run in its main thread; m.halt(…) halts it from "
            f"within; {KILL}"
        )
        raise KrakpotError(sentence)
    if not _has_open(pid, path):
        sentence = (
            f"process {pid} does not have this journal open: the one that writes it is in another container, or on "
            f"another machine; run this command there; {KILL}"
        )
        raise KrakpotError(sentence)
    return last


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open, where the system says it: a signal must not reach another process."""
    folder = PROCESSES / str(pid) / "fd"
    if not PROCESSES.joinpath("self", "fd").is_dir():
        return True
    wanted = path.stat()
    try:
        for name in folder.iterdir():
            try:
                found = name.stat()
            except OSError:
                # Closed meanwhile.
                continue
            if os.path.samestat(found, wanted):
                return True
    except PermissionError:
        # That of another user, who can be told nothing either.
        return True
    except FileNotFoundError:
        return False
    return False


def _look(path: Path, begin: journal.Row) -> Halted:
    """What the journal says now."""
    state, why = journal.State(forgets=True), ""
    for row in journal.rows(path):
        state.apply(row)
        if row.number > begin.number and row.kind == "note" and row.facts.get("text") == journal.HALTED:
            why = str(row.facts.get("why") or "it was asked to")
    names = tuple(intent.order_id or intent.name for intent in state.open)
    return Halted(begin.facts["pid"], why, names)

"""Alerts: trouble of a recording is posted to an address, or given to a command (``--alert``).

Trouble comes as log lines; ``KINDS`` says which of them. Each hook has an outbox and a task of its own, and runs in
another process, so a hook that hangs or fails disturbs neither the recording nor another hook. Of each kind an alert
is sent at once, and then at most one in five minutes, with the number of events since the one before. What could not be
delivered is tried again: when the network is gone, so is the way to whoever should know.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from krakpot import __version__
from krakpot.config import PREFIX
from krakpot.errors import counted
from krakpot.log import LogLine, timestamp
from krakpot.record.post import ADDRESS
from krakpot.values import hook_name, is_hook_address

AlertKind = Literal["started", "gap", "stale", "disk", "sealing", "checksums", "failed"]
KINDS: dict[str, AlertKind] = {
    "gap": "gap",
    "trade_gap": "gap",
    "unwell": "stale",
    "disk_low": "disk",
    "backpressure": "disk",
    "removal_failed": "disk",
    "seal_failed": "sealing",
    "mismatch": "checksums",
}
"""Kinds of alerts by the event of the log line."""
SETTLE = 1.0
"""Seconds to wait for more events of the same kind: a cut is a gap in every channel."""
QUIET = 300.0
"""Least seconds between two alerts of a kind."""
RETRY = 30.0
RETRY_MAX = 3600.0
"""Seconds until an alert is tried again, which double up to the second number."""
MISMATCHES_MAX, MISMATCHES_WITHIN = 10, 3600.0
"""So many wrong checksums within these seconds are repaired without an alert; one now and then is usual."""
TIMEOUT = 15.0
"""Seconds that a hook may take."""
SYMBOLS_MAX = 100
"""Symbols that an alert names."""
SENTENCE_MAX = 4096
"""Characters of a sentence that a variable gets; the JSON has all of it."""
GRACE = 2.0
"""Seconds that the end of a killed hook may take."""
WORDS_MAX = 4096
"""Last bytes of what a hook writes to standard error that are kept."""
LOOK = 0.1
"""Seconds between two looks into an outbox."""


@dataclass
class Alert:
    """Events of one kind, told together."""

    kind: AlertKind
    sentence: str
    """The first event."""
    ts: int
    """When the first one happened, ns."""
    since: float
    """The same, monotonic seconds."""
    count: int = 1
    """Number of events."""
    symbols: dict[str, None] = field(default_factory=dict)
    """Their symbols, in order of appearance."""

    def add(self, other: Alert) -> None:
        """Add later events of the same kind."""
        self.count += other.count
        for symbol in other.symbols:
            if len(self.symbols) < SYMBOLS_MAX:
                self.symbols[symbol] = None

    def facts(self, lake: Path) -> dict[str, Any]:
        """As the object that a hook gets."""
        more = f" (and {self.count - 1:,} more)" if self.count > 1 else ""
        return {
            "kind": self.kind,
            "sentence": self.sentence + more,
            "count": self.count,
            "symbols": list(self.symbols),
            "ts": timestamp(self.ts),
            "lake": str(lake.absolute()),
            "host": socket.gethostname(),
            "version": __version__,
        }


class Outbox:
    """Alerts that wait for one hook. Pure: ``now`` is monotonic time, seconds."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[AlertKind, Alert] = {}
        self._not_before: dict[AlertKind, float] = {}
        self._retry = RETRY

    def put(self, alert: Alert) -> None:
        """Add an event to those of its kind that wait."""
        if alert.kind in self._waiting:
            self._waiting[alert.kind].add(alert)
        else:
            self._waiting[alert.kind] = alert

    def take(self, now: float, *, last: bool = False) -> Alert | None:
        """Take the alert that is due, if any; ``last``: the latest that waits, because the recording ends."""
        if last:
            return self._waiting.popitem()[1] if self._waiting else None
        for kind, alert in self._waiting.items():
            if now >= alert.since + SETTLE and now >= self._not_before.get(kind, now):
                self._not_before[kind] = now + QUIET
                return self._waiting.pop(kind)
        return None

    def delivered(self) -> None:
        """Note that the hook works."""
        self._retry = RETRY

    def put_back(self, alert: Alert, now: float) -> float:
        """Keep an alert that the hook could not take; returns the seconds until it is tried again."""
        later = self._waiting.pop(alert.kind, None)
        self._waiting[alert.kind] = alert
        if later is not None:
            alert.add(later)
        wait, self._retry = self._retry, min(2 * self._retry, RETRY_MAX)
        self._not_before = dict.fromkeys(get_args(AlertKind), now + wait)
        return wait


class Alerts:
    """Sends the trouble of a recording to its hooks."""

    def __init__(self, hooks: Sequence[str], lake: Path, log: Callable[[str], None]) -> None:
        """``hooks`` are addresses and commands, ``log`` takes log lines."""
        self.lake = lake
        self._log = log
        self._outboxes = {hook: Outbox() for hook in hooks}
        self._mismatches: deque[float] = deque(maxlen=MISMATCHES_MAX + 1)
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send, first that the recording began: so everybody sees that the hooks work."""
        self.put("started", f"the recording into {self.lake} began")
        self._tasks = [asyncio.create_task(self._run(hook, box)) for hook, box in self._outboxes.items()]

    async def end(self, error: Exception | None) -> None:
        """Send what waits, and the error that ended the recording, then no more."""
        if error is not None:
            self.put("failed", f"the recording ended: {error}")
        self._ended.set()
        await asyncio.gather(*self._tasks)

    def take(self, line: str) -> None:
        """Take a log line: if it is trouble, there will be an alert."""
        kind = KINDS.get(line.event) if isinstance(line, LogLine) else None
        if kind is None or not self._outboxes:
            return
        if kind == "checksums":
            now = time.monotonic()
            self._mismatches.append(now)
            if len(self._mismatches) <= MISMATCHES_MAX or now - self._mismatches[0] > MISMATCHES_WITHIN:
                return
        assert isinstance(line, LogLine), "only such lines have a kind"
        self.put(kind, sentence_of(line), line.facts.get("symbol"))

    def put(self, kind: AlertKind, sentence: str, symbol: str | None = None) -> None:
        """Alert every hook."""
        for box in self._outboxes.values():
            symbols = {} if symbol is None else {symbol: None}
            box.put(Alert(kind, sentence, time.time_ns(), time.monotonic(), symbols=symbols))

    async def _run(self, hook: str, box: Outbox) -> None:
        """Give a hook what is due, until the recording ends; then what is left, until that fails."""
        while True:
            ended = self._ended.is_set()
            alert = box.take(time.monotonic(), last=ended)
            if alert is not None:
                problem = await give(hook, alert.facts(self.lake))
                if problem:
                    again = "" if ended else f"; again in {box.put_back(alert, time.monotonic()):.0f} s"
                    sentence = f"an alert ({alert.kind}) could not be delivered to {hook_name(hook)}: {problem}{again}"
                    self._log(LogLine(sentence, "alert_failed", "warning", kind=alert.kind))
                    if ended:
                        return
                else:
                    box.delivered()
            elif ended:
                return
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), LOOK)


def sentence_of(line: LogLine) -> str:
    """The sentence for people, where the line is a row of the ledger."""
    facts = line.facts
    what = " ".join(filter(None, (facts.get("channel"), facts.get("symbol"))))
    if line.event == "gap":
        seconds = facts.get("seconds")
        return f"nothing of {what or 'the feed'} was received" + (f" for {seconds:.1f} s" if seconds else "")
    if line.event == "trade_gap":
        return f"{counted(facts.get('count') or 1, 'trade')} of {facts.get('symbol')} were missed"
    if line.event == "mismatch":
        return f"more than {MISMATCHES_MAX} checksums within an hour were wrong, the last one of {what}"
    return str(line)


def _environment(facts: Mapping[str, Any]) -> dict[str, str]:
    """Variables of a hook: none of krakpot's, some of which are secrets, but the kind and the sentence."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return found | {f"{PREFIX}ALERT_{name.upper()}": _variable(facts[name]) for name in ("kind", "sentence")}


def _variable(value: object) -> str:
    """A text that a variable can hold: whatever the exchange sends is in some sentences."""
    return str(value).encode(errors="replace").decode().replace("\0", "?")[:SENTENCE_MAX]


async def give(hook: str, facts: Mapping[str, Any]) -> str:
    """Give an alert to a hook, as JSON on its standard input; returns why that failed, empty if it did not."""
    words: dict[str, Any] = {
        "stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.PIPE,
        # A group of its own, which ends with it; and Ctrl-C in the terminal is for the recorder.
        "start_new_session": True, "env": _environment(facts),
    }  # fmt: skip
    try:
        if is_hook_address(hook):
            # Not as an argument, which every user of the machine could read.
            words["env"][ADDRESS] = hook
            process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "krakpot.record.post", **words)
        else:
            process = await asyncio.create_subprocess_shell(hook, **words)
    except OSError as error:
        return f"it cannot be started: {error.strerror or error}"
    errors = bytearray()
    talk = asyncio.create_task(_talk(process, json.dumps(facts).encode() + b"\n", errors))
    try:
        await asyncio.wait({talk}, timeout=TIMEOUT)
        in_time = talk.done()
    finally:
        # Also what it left behind.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        await asyncio.wait({talk}, timeout=GRACE)
        talk.cancel()
    if not in_time:
        return f"it took more than {TIMEOUT:.0f} s and was ended"
    if not process.returncode:
        return ""
    said = bytes(errors).decode(errors="replace").strip().splitlines()
    ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
    return said[-1] if said else f"it ended with {ended}"


async def _talk(process: asyncio.subprocess.Process, data: bytes, errors: bytearray) -> None:
    """Write to its standard input, keep the end of its standard error, and wait for its end."""
    assert process.stdin is not None, "a pipe"
    assert process.stderr is not None, "a pipe"
    # It need not read. The data fits into a pipe, so it is not waited for.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        process.stdin.close()
    while read := await process.stderr.read(1 << 16):
        errors += read
        del errors[:-WORDS_MAX]
    await process.wait()

"""Log lines of a recording: one sentence for people, with facts that a program can read.

A ``LogLine`` is a ``str``, so code that only wants sentences need not know it. A plain ``str`` is a line of level
``info`` without facts. Log lines never contain a key, a secret or a token.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Self

LEVELS = {"info": 0, "warning": 1, "error": 2}
LINES_MAX = 1000
"""Lines logged in an hour."""


class LogLine(str):
    """A sentence with the event it reports, its level and its facts."""

    __slots__ = ("event", "facts", "level")

    event: str
    level: str
    facts: dict[str, Any]

    def __new__(cls, sentence: str, event: str, level: str = "info", **facts: object) -> Self:
        """Make a line; ``facts`` without a value are left out."""
        assert level in LEVELS, level
        line = super().__new__(cls, sentence)
        line.event, line.level = event, level
        line.facts = {name: value for name, value in facts.items() if value is not None}
        return line

    def labelled(self, label: str) -> Self:
        """The same line with ``label`` in front."""
        return type(self)(label + self, self.event, self.level, **self.facts) if label else self


def passes_level(line: str, level: str) -> bool:
    """Whether a line is logged where ``level`` is the lowest level to be logged."""
    return LEVELS[line.level if isinstance(line, LogLine) else "info"] >= LEVELS[level]


class LogRateLimit:
    """Rate limit for log lines: at most ``most`` lines per ``window``; errors are never dropped.

    A storm of lines thus fills neither a terminal nor a disk. Dropped lines are counted, and their number is logged
    when the next window begins. Pure: ``now`` is monotonic time, seconds.
    """

    def __init__(self, most: int = LINES_MAX, window: float = 3600.0) -> None:
        """``window`` is in seconds, and begins with its first line."""
        self.most = most
        self.window = window
        self._begun = -window
        self._logged = 0
        self._dropped = 0

    def take(self, line: str, now: float) -> list[str]:
        """Return the lines to log now, in place of ``line``."""
        out: list[str] = []
        if now >= self._begun + self.window:
            out = self.rest()
            self._begun, self._logged = now, 0
        if isinstance(line, LogLine) and line.level == "error":
            return [*out, line]
        self._logged += 1
        if self._logged <= self.most:
            return [*out, line]
        self._dropped += 1
        if self._dropped == 1:
            sentence = "too many log lines: only errors are logged for a while; the ledger has everything"
            out.append(LogLine(sentence, "left_out", "warning"))
        return out

    def rest(self) -> list[str]:
        """Return a line with the number of dropped lines, if any were dropped."""
        dropped, self._dropped = self._dropped, 0
        lines = "1 log line was" if dropped == 1 else f"{dropped:,} log lines were"
        sentence = f"{lines} left out; the ledger has what they reported"
        return [LogLine(sentence, "left_out", "warning", count=dropped)] if dropped else []


def as_json(line: str, now_ns: int | None = None) -> str:
    """One JSON object: ts, level, event, message, and the facts."""
    known = line if isinstance(line, LogLine) else LogLine(line, "note")
    ts = timestamp(time.time_ns() if now_ns is None else now_ns)
    head = {"ts": ts, "level": known.level, "event": known.event, "message": str(known)}
    return json.dumps(head | {name: value for name, value in known.facts.items() if name not in head}, default=str)


def timestamp(ns: int) -> str:
    """A time, ns since 1970, in RFC 3339 with microseconds."""
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"


def size(number: float) -> str:
    """A number of bytes for people: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004  # the step between units
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"

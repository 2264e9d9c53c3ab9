"""Lines that a recording says: one sentence for people, with facts that a program can read.

A ``Line`` is a ``str``, so that who only wants sentences need not know of it; a plain ``str`` is a line of level info
without facts. What goes into a line is said aloud: no key, secret or token does.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Self

LEVELS = {"info": 0, "warning": 1, "error": 2}
LINES_MAX = 1000
"""Lines said in an hour."""


class Line(str):
    """A sentence, what kind of thing it tells, how grave that is, and its facts."""

    __slots__ = ("event", "facts", "level")

    event: str
    level: str
    facts: dict[str, Any]

    def __new__(cls, sentence: str, event: str, level: str = "info", **facts: object) -> Self:
        """``facts`` without a value are left out."""
        assert level in LEVELS, level
        line = super().__new__(cls, sentence)
        line.event, line.level = event, level
        line.facts = {name: value for name, value in facts.items() if value is not None}
        return line

    def after(self, label: str) -> Self:
        """The same with words in front: who says it."""
        return type(self)(label + self, self.event, self.level, **self.facts) if label else self


def told(line: str, level: str) -> bool:
    """Whether a line is grave enough to be told from ``level`` on."""
    return LEVELS[line.level if isinstance(line, Line) else "info"] >= LEVELS[level]


class Measure:
    """Lets so many lines through in a while, so that a storm fills neither a terminal nor a disk; errors always.

    Pure: ``now`` is monotonic time, seconds. What is left out is counted, and said when lines are let through again: a
    recorder that runs for months must not fall silent for ever because of one bad hour.
    """

    def __init__(self, most: int = LINES_MAX, window: float = 3600.0) -> None:
        """``most`` lines in ``window`` seconds from the first of them."""
        self.most = most
        self.window = window
        self._begun = -window
        self._said = 0
        self._left = 0

    def take(self, line: str, now: float) -> list[str]:
        """What is to be said where ``line`` would be."""
        out: list[str] = []
        if now >= self._begun + self.window:
            out = self.rest()
            self._begun, self._said = now, 0
        if isinstance(line, Line) and line.level == "error":
            return [*out, line]
        self._said += 1
        if self._said <= self.most:
            return [*out, line]
        self._left += 1
        if self._left == 1:
            out.append(
                Line(
                    "too much to say it all here: for a while only errors are; the ledger has it", "left_out", "warning"
                )
            )
        return out

    def rest(self) -> list[str]:
        """Say how much was left out, if anything was."""
        left, self._left = self._left, 0
        words = f"lines left out here: {left:,}; the ledger has what they told"
        return [Line(words, "left_out", "warning", count=left)] if left else []


def as_json(line: str, now_ns: int | None = None) -> str:
    """One JSON object: ts, level, event, message, and the facts."""
    known = line if isinstance(line, Line) else Line(line, "note")
    seconds, rest = divmod(time.time_ns() if now_ns is None else now_ns, 10**9)
    ts = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"
    head = {"ts": ts, "level": known.level, "event": known.event, "message": str(known)}
    return json.dumps(head | {name: value for name, value in known.facts.items() if name not in head}, default=str)

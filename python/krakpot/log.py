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


def as_json(line: str, now_ns: int | None = None) -> str:
    """One JSON object: ts, level, event, message, and the facts."""
    known = line if isinstance(line, Line) else Line(line, "note")
    seconds, rest = divmod(time.time_ns() if now_ns is None else now_ns, 10**9)
    ts = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"
    head = {"ts": ts, "level": known.level, "event": known.event, "message": str(known)}
    return json.dumps(head | {name: value for name, value in known.facts.items() if name not in head}, default=str)

"""Why a recording is not well, and when that is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from krakpot.record.client import RecordingClient
from krakpot.record.health import REASONS_MAX, SILENCE_MAX, UNWELL_AFTER, HealthWatch, unwell


@dataclass
class _Line:
    """As much of a connection as health looks at."""

    quiet: float = 0.0
    url: str = "wss://x"

    def silence(self, now: float) -> float:
        return now - self.quiet


@dataclass
class _Link:
    connection: _Line | None = field(default_factory=_Line)
    paused: int = 0
    url: str = "wss://x"
    state: str = "recording"
    last_error: str = ""


def test_why_a_recording_is_not_well() -> None:
    """Each kind of trouble is a reason that names its connection; none is none."""

    def reasons(*links: _Link, now: float = 1.0) -> list[str]:
        return unwell(cast("list[RecordingClient]", links), now)

    assert reasons(_Link(), _Link()) == []
    assert reasons(_Link(), now=SILENCE_MAX) == []
    assert reasons(_Link(), now=SILENCE_MAX + 1) == ["connection 1 (wss://x) brought nothing for 11 s"]
    assert reasons(_Link(), _Link(paused=1)) == ["connection 2 (wss://x) waits: the disk is slower than the feed"]
    assert reasons(_Link(connection=None, state="starting")) == ["connection 1 (wss://x) is down, starting"]


def test_a_recording_that_stays_unwell_is_told_once() -> None:
    """Not a short cut; again only after it was well."""
    watch = HealthWatch()
    assert watch.look(["down"], 0) is None
    assert watch.look(["down"], UNWELL_AFTER - 1) is None
    assert watch.look([], UNWELL_AFTER) is None
    assert watch.look(["down"], 100) is None
    line = watch.look(["down"] * (REASONS_MAX + 2), 100 + UNWELL_AFTER)
    assert line == "the recording has not been well for 30 s: down; down; down; and 2 more"
    assert watch.look(["down"], 1000) is None
    assert watch.look([], 1001) is None
    assert watch.look(["down"], 1002) is None
    assert watch.look(["down"], 1002 + UNWELL_AFTER) is not None

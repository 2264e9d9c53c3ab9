from __future__ import annotations

import subprocess
import sys
import time
from typing import cast

import pytest

from krakpot import _core
from krakpot.record.cputime import EVERY, NOT_MEASURED, STAGES, Stages


class Slow:
    """A session that takes 1 ms of CPU for a frame, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0
        self.frames = 0

    def receive(self, frames: list[bytes], _ts_recv: int) -> None:
        self.frames += len(frames)
        self.now += len(frames) * 1_000_000


def test_the_time_of_all_frames_follows_from_those_that_were_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read in `EVERY` is timed; of a session with a steady cost the sum is right, whatever the sizes of reads."""
    slow = Slow()
    session = cast("_core.Session", slow)
    monkeypatch.setattr(time, "thread_time_ns", lambda: slow.now)
    stages = Stages()
    assert set(stages.seconds().values()) <= {0.0, stages.seconds()["seal"]}, "nothing was done yet"
    for n in range(10 * EVERY):
        stages.receive(session, [b"frame"] * (n % 7), 0)
    assert slow.frames > 100
    found = stages.seconds()
    assert found["decode"] == pytest.approx(slow.frames / 1000)
    assert found["read"] == pytest.approx(0)


def test_what_is_no_other_stage_is_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's time is dealt out: to a stage that was named, also when it ends with an error, and else to reading."""
    now = 5_000_000_000
    monkeypatch.setattr(time, "thread_time_ns", lambda: now)
    stages = Stages()
    now += 1_000_000_000
    with stages.spent("hand_over"):
        now += 2_000_000_000
    with pytest.raises(OSError, match="full"), stages.spent("duties"):
        now += 3_000_000_000
        raise OSError("the disk is full")
    stages.write = 4_000_000_000
    found = stages.seconds()
    assert list(found) == list(STAGES)
    assert (found["read"], found["hand_over"], found["duties"], found["write"]) == (1, 2, 3, 4)


def test_a_system_without_the_time_of_children() -> None:
    """As on Windows, which has no module ``resource``: everything else is measured, and a sentence says what is not."""
    program = """
import sys
sys.modules["resource"] = None
from krakpot.record.cputime import NOT_MEASURED, STAGES, Stages
assert NOT_MEASURED.startswith("the CPU time of sealers is not measured")
assert list(Stages().seconds()) == [stage for stage in STAGES if stage != "seal"]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert NOT_MEASURED == ""
    assert list(Stages().seconds()) == list(STAGES)

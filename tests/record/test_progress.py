"""The state of a recording while it runs, and its summary."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from krakpot.record.progress import Backpressure, RecordingSummary
from recording import Recording
from scripted import Exchange
from waiting import run

STATES = ("starting", "connecting", "recording", "waiting for the disk", "sealing")
"""What a state may be, where no attempt has to wait."""


@pytest.mark.slow
def test_progress_is_shown(tmp_path: Path) -> None:
    """Once a second the state of things, with what is left of the time; it ends by itself when that is over."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path, duration=3.0)
            summary = await recording.task
            states = [progress.state for progress in recording.statuses]
            assert "recording" in states
            assert states[-1] == "sealing"
            assert recording.statuses[-1].remaining == 0
            assert recording.statuses[-1].counts["frames"] == summary["frames"] > 0
            assert recording.statuses[-1].bytes == summary["journal_bytes"] > 0
            assert summary.keys() == typing.get_type_hints(RecordingSummary).keys()
            assert summary["backpressure"].keys() == typing.get_type_hints(Backpressure).keys()
            assert {progress.state for progress in recording.statuses} <= set(STATES)
            assert summary["seconds"] >= 3
            assert any("1 of 1 pair, book, trade, ticker, depth 10: about" in line for line in recording.logged)

    run(test())

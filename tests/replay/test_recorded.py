"""What a lake says of its pairs and books, for a served replay."""

from __future__ import annotations

import json
from pathlib import Path

import frames
import lakes
from krakpot.lake import seal
from krakpot.lake.folder import Folder
from krakpot.replay.recorded import Instruments, first_time, intervals


def test_what_was_recorded(tmp_path: Path) -> None:
    """Intervals of candles, and when it began."""
    lakes.make(tmp_path / "lake", lakes.market(60, level3=True))
    folder = Folder(tmp_path / "lake")
    assert intervals(folder) == {1}
    assert frames.START <= first_time(folder) <= frames.START + frames.SECOND


def test_a_pair_is_described_as_at_the_time(tmp_path: Path) -> None:
    """Of two descriptions, the one in force; only selected pairs; the change is told once."""
    recorder = lakes.Recorder(tmp_path / "lake")
    later = frames.START + 10 * frames.SECOND
    recorder.take([(frames.START, frames.instrument(frames.pair("BTC/USD"), frames.pair("ETH/USD")))])
    recorder.take([(later, frames.instrument(frames.pair("BTC/USD", status="maintenance"), kind="update"))])
    recorder.end()
    seal.recover(tmp_path / "lake")
    found = Instruments(Folder(tmp_path / "lake"), ["BTC/USD"])

    def states(now: int) -> list[tuple[str, str]]:
        return [(pair["symbol"], pair["status"]) for pair in map(json.loads, found.snapshot(now)[1])]

    assert states(0) == states(later - 1) == [("BTC/USD", "online")]
    assert states(later) == [("BTC/USD", "maintenance")]
    assert len(found.changes(later - 1, later)[1]) == 1
    assert found.changes(later, later + 1) == ([], [])

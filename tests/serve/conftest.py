"""Lakes that are viewed."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakes
from frames import SECOND
from krakpot.lake import seal


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A small lake."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    return tmp_path / "lake"


@pytest.fixture
def whole_lake(tmp_path: Path) -> Path:
    """A lake without trouble, of a minute; it ends a second after its last message."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(3000, level3=True))
    recorder.session.tick(recorder.session.now + SECOND)
    recorder.end()
    seal.recover(tmp_path / "lake")
    return tmp_path / "lake"

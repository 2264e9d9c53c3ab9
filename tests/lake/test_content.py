"""Sessions that are one file: their names, and what an interrupted attempt leaves."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

import lakes
from krakpot.errors import ConfigError
from krakpot.lake import journal
from krakpot.lake.content import forget, refuse_known, session_of
from krakpot.lake.lake import Lake


def test_a_name_is_a_uuid_of_time_and_hash() -> None:
    """The first time in front, then the hash; another hash is another name."""
    name = session_of(bytes(range(32)), 1_714_521_600_000)
    assert uuid.UUID(name).version == 7
    assert uuid.UUID(name).int >> 80 == 1_714_521_600_000
    assert session_of(bytes(range(1, 33)), 1_714_521_600_000) != name
    assert session_of(bytes(range(32)), 1_714_521_600_001)[14:] == name[14:]


def test_half_a_session_is_forgotten_and_a_whole_one_is_not(tmp_path: Path) -> None:
    """A journal that nobody owns, and parts without a stop, go; a session with its end stays, and is refused."""
    whole, half = "019e0000-0000-7000-8000-000000000000", "019e0000-0000-7000-8000-000000000001"
    lakes.make(tmp_path, lakes.market(), session=whole)
    recorder = lakes.Recorder(tmp_path, session=half)
    recorder.take(lakes.market())
    with pytest.raises(ConfigError, match="is being put into the lake .* by another process"):
        forget(tmp_path, half, Path("file"))
    recorder.die()
    forget(tmp_path, half, Path("file"))
    assert journal.journals(tmp_path) == []
    forget(tmp_path, whole, Path("file"))
    assert Lake(tmp_path).sessions() == [whole]
    refuse_known(tmp_path, half, Path("file"))
    with pytest.raises(ConfigError, match=f"file: is in the lake .* already, as session {whole}; nothing was added"):
        refuse_known(tmp_path, whole, Path("file"))

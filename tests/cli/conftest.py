"""A folder to give commands in, and a file to give them."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder in which commands are given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    """A file of good frames."""
    return lakes.write_frames(folder / "good.jsonl", lakes.market(200))

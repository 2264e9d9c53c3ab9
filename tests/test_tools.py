"""An environment of the tests is made once, however many of them want it at the same time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tools


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of the tests run side by side; one must not remove what another one installs."""
    made: list[Path] = []

    def create(_python: str, folder: Path) -> None:
        made.append(folder)
        (folder / "lib" / "python3" / "site-packages").mkdir(parents=True)
        time.sleep(0.2)

    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    monkeypatch.setattr(tools, "_create", create)
    monkeypatch.setattr(tools, "_install", lambda *_words: None)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _number: tools.environment("some==1"), range(2))
    assert first == second == tmp_path / "some-1-kernel"
    assert made == [first]

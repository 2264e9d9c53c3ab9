"""One copy of the project for all tests, opened in the editor once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Godot, imported


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, imported."""
    return imported(tmp_path_factory.mktemp("godot"))


@pytest.fixture(scope="module")
def running(project: Path) -> Iterator[Godot]:
    """Godot without a window, for all tests of a module that provoke no error of Godot itself."""
    with Godot(project) as found:
        yield found

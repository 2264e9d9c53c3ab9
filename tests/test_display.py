"""Who shows lakes and feeds in a notebook."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import krakpot
import lakes
from krakpot import display


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names what to install; nothing else of a lake needs it."""
    monkeypatch.setattr(display, "LIBRARY", "a_library_that_nobody_has")
    lakes.make(tmp_path / "lake", lakes.market(60))
    lake = krakpot.Lake(tmp_path / "lake")
    with pytest.raises(krakpot.ConfigError, match=r"pip install 'krakpot\[notebook\]'"):
        lake.view("BTC/USD")
    assert lake.symbols() == ["BTC/USD", "ETH/USD"]


def test_it_is_loaded_when_the_first_widget_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when krakpot is imported: most programs show nothing."""
    monkeypatch.setattr(display, "LIBRARY", "json")
    monkeypatch.setattr(display, "_provided", [])
    loaded = []
    widgets = SimpleNamespace()

    def load() -> SimpleNamespace:
        loaded.append(1)
        return widgets

    display.provide(load)
    assert not loaded
    assert display.widgets() is widgets
    assert loaded

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from krakpot import asked


def test_whoever_is_provided_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is loaded at the first question, not before; the package provides its own."""
    known = asked.oracle()
    assert known is import_module("krakpot.trade.questions")
    monkeypatch.setattr(asked, "_provided", list(asked._provided))
    loaded: list[Any] = []

    class Oracle:
        def answer(self, lake: Any, frame: Any, *, channel: str | None, fills: bool) -> tuple[Any, Any]:
            return (lake, frame, channel), fills

    def load() -> Oracle:
        loaded.append(1)
        return Oracle()

    asked.provide(load)
    assert not loaded
    assert asked.oracle().answer(1, 2, channel="book", fills=True) == ((1, 2, "book"), True)
    assert loaded

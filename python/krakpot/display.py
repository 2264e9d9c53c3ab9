"""What a lake or a feed is shown by in a notebook, although their rooms may not know the room of widgets.

The package says at its start who makes widgets; ``Lake.view`` and ``Feed.view`` find them here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from krakpot.errors import ConfigError

Theme = Literal["auto", "dark", "light"]
DEPTH = 100
"""Levels a side that are shown at first."""
HEIGHT = 520
"""Pixels."""
LIBRARY = "anywidget"


class Shown(Protocol):
    """A widget. What is assigned to it is shown by all its views."""

    symbol: str
    depth: int
    theme: str
    height: int

    def close(self) -> None:
        """Remove it from the notebook, and stop what it shows."""


class Widgets(Protocol):
    """Who makes widgets."""

    def of_lake(self, lake: object, symbol: str, *, at: object, depth: int, theme: Theme, height: int) -> Shown:
        """Show a lake."""

    def of_feed(self, feed: object, symbol: str, *, depth: int, theme: Theme, height: int) -> Shown:
        """Show a feed."""


_provided: list[Callable[[], Any]] = []


def provide(load: Callable[[], Any]) -> None:
    """Say who makes widgets; ``load`` is called when the first one is made."""
    _provided[:] = [load]


def widgets() -> Widgets:
    """Who makes widgets; ``ConfigError`` if the library that they need is not installed."""
    if find_spec(LIBRARY) is None:
        raise ConfigError(f"a view in a notebook needs {LIBRARY}: pip install 'krakpot[notebook]'")
    found: Widgets = _provided[0]()
    return found

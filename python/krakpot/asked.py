"""Who answers what a lake is asked about orders, although its room may not know the room of simulated orders.

The package says at its start who answers; ``Lake.would_fill`` finds it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Oracle(Protocol):
    """Who says what would have become of orders."""

    def answer(self, lake: Any, frame: Any, *, channel: str | None, fills: bool) -> tuple[Any, Any]:  # noqa: ANN401  # a lake and frames
        """A row for each order, and the fills of all, if they are wanted."""


_provided: list[Callable[[], Any]] = []


def provide(load: Callable[[], Any]) -> None:
    """Say who answers; ``load`` is called at the first question."""
    _provided[:] = [load]


def oracle() -> Oracle:
    """Who answers."""
    found: Oracle = _provided[0]()
    return found

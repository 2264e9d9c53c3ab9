"""Turns of a live run: what is done again and again, when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Turns:
    """Calls a function again and again, from the loop itself: to wake a task takes the loop a turn more, each time."""

    def __init__(self, turn: Callable[[], str | float]) -> None:
        """``turn`` says after how many seconds it is called again, or why it is not. Here it is called at first."""
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[str | BaseException] = self._loop.create_future()
        """Done when it is called no more."""
        self._call()

    def _call(self) -> None:
        try:
            found = self._turn()
        except BaseException as error:  # noqa: BLE001  # whatever a strategy's code raises: `result` raises it
            self.over.set_result(error)
            return
        if isinstance(found, str):
            self.over.set_result(found)
        else:
            self._timer = self._loop.call_later(found, self._call)

    def result(self) -> str:
        """Why it is called no more; raises what it raised."""
        found = self.over.result()
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self, *_: object) -> None:
        """Call it no more."""
        if self._timer is not None:
            self._timer.cancel()

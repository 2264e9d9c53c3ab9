"""One client of the stream, however it is connected: what it asks for, and what that does to its place in a lake."""

from __future__ import annotations

from typing import Any

from krakpot.errors import KrakpotError
from krakpot.serve import request as requests
from krakpot.serve.request import Request
from krakpot.serve.source import Source
from krakpot.serve.viewer import OVERVIEW_BOOKS, Viewer


def refused(error: str, method: str | None = None, req_id: int | None = None) -> dict[str, Any]:
    """The answer to a request that is not done."""
    return _answer(method, req_id) | {"success": False, "error": error}


def _answer(method: str | None, req_id: int | None) -> dict[str, Any]:
    answer = {"type": "answer", "method": method, "success": True}
    return answer if req_id is None else answer | {"req_id": req_id}


class Client:
    """A client of a source."""

    def __init__(self, source: Source) -> None:
        """It begins at a place of its own."""
        self._source = source
        self.place = source.place()
        self.viewer = Viewer(source.live or self.place, source.pairs)  # type: ignore[arg-type]  # one of them is there

    async def answer(self, text: str) -> dict[str, Any]:
        """Do what a text requests; what it is answered."""
        method = req_id = None
        try:
            message, method, req_id = requests.read(text)
            asked = requests.understood(message, self._source.pairs, live=self.place is None)
            if asked.method == "coverage":
                return await self._coverage(asked, req_id)
            self.viewer.do(asked)
            self._move(asked)
        except (requests.RefusedError, KrakpotError) as error:
            return refused(str(error), method, req_id)
        return _answer(method, req_id)

    async def _coverage(self, asked: Request, req_id: int | None) -> dict[str, Any]:
        if self.place is None:
            raise requests.RefusedError("coverage: this is live; only a recording has it")
        found = await self._source.coverage(asked.symbols)
        return found if req_id is None else found | {"req_id": req_id}

    def _move(self, asked: Request) -> None:
        """What a request means for the place in the lake."""
        place = self.place
        if place is None:
            return
        if asked.method == "seek":
            place.seek(asked.at)
        elif asked.method == "pause":
            place.pause()
        elif asked.method == "resume":
            place.resume()
        elif asked.method == "speed":
            place.speed = asked.number
        elif asked.method in {"subscribe", "unsubscribe", "overview"}:
            place.want(self.viewer.wanted(all_books=len(self._source.pairs) <= OVERVIEW_BOOKS))

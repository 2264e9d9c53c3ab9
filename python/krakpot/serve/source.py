"""What clients are shown, a lake or a feed: its pairs, the texts that say what it is, and places in it."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

from krakpot import __version__
from krakpot.feed.feed import Feed
from krakpot.lake.folder import Folder
from krakpot.lake.lake import Lake
from krakpot.serve.facts import LakeFacts, PairFacts, facts_of, spans_of
from krakpot.serve.live import Live
from krakpot.serve.market import Market
from krakpot.serve.place import Place
from krakpot.serve.viewer import RATE

STREAM = 1
"""Version of the stream: docs/reference/stream.md."""
STALE_AFTER = 3.0
"""Seconds without a clock after which a client calls what it shows stale."""

T = TypeVar("T")


class Threads(Protocol):
    """Does work that reads a lake in a thread."""

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what the work returns."""


class Source:
    """A lake or a feed, and what is known of it."""

    def __init__(
        self, shown: Folder | Feed | str | PathLike[str], asked: Threads, *, market: Market | None = None
    ) -> None:
        """``market``: what the feed fills already, for the source of another client."""
        self.feed = shown if isinstance(shown, Feed) else None
        self.lake = None if isinstance(shown, Feed) else Lake(shown.path if isinstance(shown, Folder) else Path(shown))
        self.live: Live | None = None
        self.pairs: dict[str, PairFacts] = {}
        """All pairs, in the order of their numbers."""
        self._facts: LakeFacts | None = None
        self._asked = asked
        self._market = market

    async def begin(self) -> None:
        """Listen to the feed, or see what the lake has."""
        if self.feed is not None:
            self.live = Live(self.feed, self._market)
            self.pairs = self.live.pairs
        else:
            await self.look()

    async def look(self) -> None:
        """See what there is now; pairs that are new come behind the others, whose numbers stay."""
        if self.live is not None:
            self.live.look()
            return
        facts: LakeFacts = await self._asked(facts_of, self.lake)
        self._facts = facts
        for pair in facts.pairs:
            self.pairs[pair.symbol] = pair

    @property
    def idle(self) -> bool:
        """Whether it is a lake that nobody records."""
        return self.live is None and (self._facts is None or not self._facts.recorded)

    def place(self) -> Place | None:
        """A new place in the lake."""
        if self.lake is None:
            return None
        assert self._facts is not None, "begun"
        return Place(self.lake, self._facts.begin or 0, self._facts.end or 0, follow=self._facts.recorded)

    def hello(self) -> dict[str, Any]:
        """The first message that a client gets."""
        begin, end = (None, None) if self._facts is None else (self._facts.begin, self._facts.end)
        if self.live is not None:
            begin = end = self.live.market.ts or None
        return {
            "type": "hello",
            "stream": STREAM,
            "krakpot": __version__,
            "source": "lake" if self.live is None else "live",
            "name": "Kraken" if self.lake is None else self.lake.path.resolve().name,
            "stale_after_s": STALE_AFTER,
            "begin_us": None if begin is None else begin // 1000,
            "end_us": None if end is None else end // 1000,
            "rate": int(RATE),
            "symbols": self.symbols(),
        }

    def symbols(self) -> list[dict[str, Any]]:
        """All pairs, as the messages ``hello`` and ``symbols`` have them."""
        return [pair.to_dict() for pair in self.pairs.values()]

    async def coverage(self, symbols: tuple[str, ...]) -> dict[str, Any]:
        """The message ``coverage``, of a lake."""
        spans = await self._asked(spans_of, self.lake, symbols)
        await self.look()
        assert self._facts is not None, "it has looked"
        begin, end = self._facts.begin, self._facts.end
        return {
            "type": "coverage",
            "spans": spans,
            "begin_us": None if begin is None else begin // 1000,
            "end_us": None if end is None else end // 1000,
        }

"""Symbols dealt out to several connections: shards of the public channels, a redundant source, level 3.

One connection, the first, has the instrument channel. The others learn the pairs from it, and know nothing of each
other: each has its symbols, its session and its journal, and comes back on its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from krakpot import _core
from krakpot.net.client import Recorded, Recording
from krakpot.net.connection import Backoff

ATTEMPTS = 100
"""Attempts to connect in ten minutes, of the 120 of all, that connections of a spread may use up: the rest is for the
one that brings the pairs.
"""


class Share(Recorded):
    """A connection that follows the symbols it was dealt."""

    def __init__(self, shared: Recording, spread: Spread, number: int, symbols: list[str], backoff: Backoff) -> None:
        """``symbols`` are what it follows."""
        self.spread = spread
        self.symbols = symbols
        self.label = f"{spread.name}, connection {number}: "
        super().__init__(shared, spread.url, backoff)

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.shared.config
        session = _core.Session(
            name,
            instrument=False,
            precision=dict(config.precision),
            frames=config.raw,
            after=before,
            **self.spread.options(),
        )
        # What was delisted meanwhile makes room.
        self.symbols = [symbol for symbol in self.symbols if symbol in self.spread.chosen]
        session.import_pairs(self.spread.source, self.symbols, time.time_ns())
        return session

    def _options(self) -> dict[str, Any]:
        return {}


class Spread:
    """All connections of one kind, over which the chosen symbols are spread: by itself, those of public channels."""

    attempts = ATTEMPTS
    """Attempts to connect in ten minutes that its connections may use up."""

    def __init__(self, shared: Recording, backoff: Backoff, *, name: str, patterns: Sequence[str] = ("*",)) -> None:
        """``backoff`` is the first connection's, whose count of attempts is the address's and thus shared.

        ``patterns`` choose among the symbols of the recording.
        """
        self.shared = shared
        self.name = name
        self.url = shared.config.url
        self.links: list[Share] = []
        self.source: _core.Session
        """The session that knows the pairs."""
        self.chosen: set[str] = set()
        """Symbols to follow."""
        self._patterns = patterns
        self._backoff = backoff
        self._seen = ("", 0)
        """The session whose pairs were last looked at, and how many messages of the instrument channel it had."""

    @property
    def room(self) -> int:
        """Symbols of one connection."""
        return self.shared.config.symbols_per_connection or _core.LIMITS["SYMBOLS_MAX"]

    def options(self) -> dict[str, Any]:
        """What its sessions are to follow."""
        config = self.shared.config
        return {"channels": config.public, "depth": config.depth, "interval": config.interval}

    def share(self, number: int, symbols: list[str], backoff: Backoff) -> Share:
        """Make a connection."""
        return Share(self.shared, self, number, symbols, backoff)

    def look(self, source: _core.Session, start: Callable[[Share], None]) -> None:
        """Follow what ``source``, the first session, knows of the pairs, if it may have learnt something."""
        counts = source.counts()
        seen = (source.id, counts["messages"].get("instrument", 0))
        if seen != self._seen and counts["pairs"]:
            self._seen = seen
            self._follow(source, start)

    def _follow(self, source: _core.Session, start: Callable[[Share], None]) -> None:
        """Give every chosen pair that ``source`` knows to a connection with room, and tell all what it knows.

        ``start`` is called with each new connection. Symbols are dealt out one by one, which spreads the busy ones.
        """
        self.source = source
        chosen = [
            pair["symbol"]
            for pair in source.pairs()
            if pair["selected"]
            and pair["status"] != "delisted"
            and any(_core.matches(pattern, pair["symbol"]) for pattern in self._patterns)
        ]
        self.chosen = set(chosen)
        taken = {symbol for link in self.links for symbol in link.symbols}
        new = [symbol for symbol in chosen if symbol not in taken]
        shares = [link.symbols for link in self.links]
        lacking = len(new) - sum(self.room - len(share) for share in shares)
        fresh: list[list[str]] = [[] for _ in range(max(0, ceil(lacking / self.room)))]
        shares += fresh
        for symbol in new:
            min(shares, key=len).append(symbol)
        for link in self.links:
            link.session.import_pairs(source, link.symbols, time.time_ns())
        for symbols in fresh:
            # Its failures are its own; the attempts are one list, that of all connections of this process.
            backoff = replace(self._backoff, budget=min(self.attempts, self._backoff.budget), failures=0)
            link = self.share(len(self.links) + 1, symbols, backoff)
            self.links.append(link)
            start(link)

    def states(self) -> dict[str, int]:
        """How its books and connections stand."""
        states = {
            key: sum(link.counts.get(key, 0) for link in self.links) for key in ("selected", "in_sync", "waiting")
        }
        down = sum(link.connection is None for link in self.links)
        return states | {"connections": len(self.links), "down": down}

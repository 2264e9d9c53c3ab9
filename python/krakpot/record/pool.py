"""Symbols distributed over several connections: shards of the public channels, a redundant source, level 3.

The first connection of a recording has the instrument channel; the pools learn the pairs from it. The connections of a
pool know nothing of each other: each has its own symbols, session and journal, and reconnects by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from krakpot import _core
from krakpot.net.backoff import Backoff
from krakpot.net.client import own_symbols
from krakpot.record.client import RecordingClient, RecordingContext

ATTEMPTS = 100
"""Connection attempts in ten minutes, of 120 in all, that the connections of a pool may use up.

The rest is left to the first connection, which brings the pairs.
"""


class Shard(RecordingClient):
    """One connection of a pool, with its share of the symbols."""

    def __init__(
        self, context: RecordingContext, pool: ConnectionPool, number: int, symbols: list[str], backoff: Backoff
    ) -> None:
        """``symbols`` are those that it records."""
        self.pool = pool
        self.symbols = symbols
        self.label = f"{pool.name}, connection {number}: "
        super().__init__(context, pool.url, backoff)

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.context.config
        session = _core.Session(
            name,
            instrument=False,
            precision=dict(config.precision),
            frames=config.raw,
            after=before,
            **self.pool.session_options(),
        )
        # Symbols that were delisted meanwhile make room for others.
        self.symbols = [symbol for symbol in self.symbols if symbol in self.pool.selected]
        session.import_pairs(self.pool.source, self.symbols, time.time_ns())
        return session

    def _start_options(self) -> dict[str, Any]:
        return {}


class ConnectionPool:
    """All connections of one kind, over which the symbols are distributed. By itself: those of public channels."""

    attempts = ATTEMPTS
    """Connection attempts in ten minutes that its connections may use up."""

    def __init__(
        self, context: RecordingContext, backoff: Backoff, *, name: str, patterns: Sequence[str] = ("*",)
    ) -> None:
        """Create the pool; ``update`` opens connections.

        ``backoff`` is the first connection's: all connections to an address share its count of attempts. ``patterns``
        choose among the symbols of the recording.
        """
        self.context = context
        self.name = name
        self.url = context.config.url
        self.shards: list[Shard] = []
        self.source: _core.Session
        """The session that knows the pairs."""
        self.selected: set[str] = set()
        """Symbols to record."""
        self._patterns = patterns
        self._backoff = backoff
        self._seen = ("", 0)
        """The session whose pairs were used last, and how many messages of the instrument channel it had then."""

    @property
    def capacity(self) -> int:
        """Symbols of one connection."""
        return self.context.config.symbols_per_connection or _core.LIMITS["SYMBOLS_MAX"]

    def session_options(self) -> dict[str, Any]:
        """Options of its sessions: channels and depth."""
        config = self.context.config
        options = {"channels": config.public, "depth": config.depth, "interval": config.interval}
        return options | own_symbols(config, config.public)

    def new_shard(self, number: int, symbols: list[str], backoff: Backoff) -> Shard:
        """Make a connection for ``symbols``."""
        return Shard(self.context, self, number, symbols, backoff)

    def update(self, source: _core.Session, start: Callable[[Shard], None]) -> None:
        """Take the pairs of ``source``, the first session, if they may have changed. ``start`` gets new shards."""
        counts = source.counts()
        seen = (source.id, counts["messages"].get("instrument", 0))
        if seen != self._seen and counts["pairs"]:
            self._seen = seen
            self._distribute(source, start)

    def _distribute(self, source: _core.Session, start: Callable[[Shard], None]) -> None:
        """Give every selected pair to a shard with room, and tell all shards what ``source`` knows of their pairs.

        Symbols are dealt out one by one to the shard that has the fewest, which distributes the busy ones.
        """
        self.source = source
        selected = [
            pair["symbol"]
            for pair in source.pairs()
            if pair["selected"]
            and pair["status"] != "delisted"
            and any(_core.matches(pattern, pair["symbol"]) for pattern in self._patterns)
        ]
        self.selected = set(selected)
        taken = {symbol for shard in self.shards for symbol in shard.symbols}
        new = [symbol for symbol in selected if symbol not in taken]
        lists = [shard.symbols for shard in self.shards]
        lacking = len(new) - sum(self.capacity - len(symbols) for symbols in lists)
        fresh: list[list[str]] = [[] for _ in range(max(0, ceil(lacking / self.capacity)))]
        lists += fresh
        for symbol in new:
            min(lists, key=len).append(symbol)
        for shard in self.shards:
            shard.session.import_pairs(source, shard.symbols, time.time_ns())
        for symbols in fresh:
            # Each shard counts its own failures; the attempts are one list for all connections of this process.
            backoff = replace(self._backoff, budget=min(self.attempts, self._backoff.budget), failures=0)
            shard = self.new_shard(len(self.shards) + 1, symbols, backoff)
            self.shards.append(shard)
            start(shard)

    def states(self) -> dict[str, int]:
        """Count its books by state, and its connections."""
        states = {
            key: sum(shard.counts.get(key, 0) for shard in self.shards) for key in ("selected", "in_sync", "waiting")
        }
        down = sum(shard.connection is None for shard in self.shards)
        return states | {"connections": len(self.shards), "down": down}

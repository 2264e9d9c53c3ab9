"""Level 3 on connections of its own: which symbols on which, with what token, at what pace.

Kraken serves level 3 on another host, to holders of a token, at most 200 symbols a connection, and no faster than the
account's rate of subscriptions allows. That host knows nothing of pairs: these come from the public connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

from krakpot import _core
from krakpot.config import LEVEL3
from krakpot.connection import Backoff
from krakpot.errors import ConfigError, TokenError
from krakpot.link import Link, Shared
from krakpot.log import Line
from krakpot.rest import Tokens

SYMBOLS_MAX = 200
"""Symbols of one connection, by Kraken's limit."""
COSTS = {10: 5, 100: 25, 1000: 100}
"""Cost of a subscription by its depth, of which an account has `level3_rate` a second."""
RESYNC_SHARE = 0.1
"""Share of the rate that repairs may take: a storm of wrong checksums leaves room for what is not yet subscribed."""
ATTEMPTS = 80
"""Attempts to connect in ten minutes, of the 120 of all, that these connections may use up: the rest is the public
one's, which must not wait because level 3 is out of service.
"""
TOKEN_PAUSE_MAX = 300.0
"""The longest pause between two requests for a token, seconds."""


class Level3Link(Link):
    """One connection of level 3."""

    def __init__(self, shared: Shared, level3: Level3, number: int, symbols: list[str], backoff: Backoff) -> None:
        """``symbols`` are what it follows."""
        self.level3 = level3
        self.symbols = symbols
        self.label = f"level 3, connection {number}: "
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0
        """Tokens asked for since the last one that was of use."""
        self._ask_at = 0.0
        super().__init__(shared, shared.config.level3_url, backoff)

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.shared.config
        session = _core.Session(
            name,
            channels=[LEVEL3],
            level3_depth=config.level3_depth,
            instrument=False,
            precision=dict(config.precision),
            frames=config.raw,
            after=before,
        )
        # What was delisted meanwhile makes room.
        self.symbols = [symbol for symbol in self.symbols if symbol in self.level3.chosen]
        session.learn(self.level3.source, self.symbols, time.time_ns())
        return session

    def _options(self) -> dict[str, Any]:
        return {}

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns(), self.level3.budget)

    def tick(self, now: float) -> None:
        """See that the session has its token, besides what every link does."""
        session = self.session
        if self.connection is not None and session.token_wanted and self._asking is None and now >= self._ask_at:
            self._ask_at = now + (min(TOKEN_PAUSE_MAX, 2.0**self._asked) if self._asked else 1.0)
            self._asked = min(self._asked + 1, 16)
            self._asking = self.shared.task(self._authorise(session))
        super().tick(now)

    async def _authorise(self, session: _core.Session) -> None:
        """Give the session a new token."""
        try:
            token = await self.level3.tokens.new()
        except TokenError as error:
            session.note("refused", time.time_ns(), channel=LEVEL3, detail=json.dumps({"error": str(error)}))
        else:
            session.authorise(token)
        finally:
            self._asking = None

    def take_counts(self, *, final: bool = False) -> None:
        """See whether the token was of use, besides what every link does."""
        super().take_counts(final=final)
        if self.counts["live"]:
            self._asked = 0

    def finish(self, reason: str) -> None:
        """Wait for no token."""
        if self._asking is not None:
            self._asking.cancel()
        super().finish(reason)


class Level3:
    """All connections of level 3."""

    def __init__(self, shared: Shared, backoff: Backoff) -> None:
        """``backoff`` is the public connection's, whose count of attempts is the address's and thus shared."""
        config = shared.config
        self.shared = shared
        self.links: list[Level3Link] = []
        self.tokens = Tokens(config.rest_url, config.api_key, config.api_secret, tls=shared.tls)
        self.budget = _core.Budget(rate=config.level3_rate, resync_share=RESYNC_SHARE)
        self.checked = False
        """Whether REST was asked once, so that a key that is refused is known before anything is written."""
        self.source: _core.Session
        """The session that knows the pairs."""
        self.chosen: set[str] = set()
        """Symbols to follow."""
        self._backoff = backoff
        self._seen = ("", 0)
        """The session whose pairs were last looked at, and how many messages of the instrument channel it had."""

    async def check(self) -> None:
        """Try the key. ``ConfigError`` if the exchange does not take it; other trouble passes."""
        try:
            await self.tokens.new()
        except TokenError as error:
            if error.lasting:
                raise ConfigError(str(error)) from None
            sentence = f"{error}; trying again when it is needed"
            self.shared.tell(Line(sentence, "token_failure", "warning", error=str(error)))
        self.checked = True

    def look(self, source: _core.Session, start: Callable[[Level3Link], None]) -> None:
        """Follow what ``source``, the public session, knows of the pairs, if it may have learnt something."""
        counts = source.counts()
        seen = (source.session, counts["messages"].get("instrument", 0))
        if seen != self._seen and counts["pairs"]:
            self._seen = seen
            self._follow(source, start)

    def _follow(self, source: _core.Session, start: Callable[[Level3Link], None]) -> None:
        """Give every chosen pair that ``source`` knows to a connection with room, and tell all what it knows.

        ``start`` is called with each new connection. Symbols are dealt out one by one, which spreads the busy ones.
        """
        self.source = source
        chosen = [p["symbol"] for p in source.pairs() if p["selected"] and p["status"] != "delisted"]
        self.chosen = set(chosen)
        taken = {symbol for link in self.links for symbol in link.symbols}
        new = [symbol for symbol in chosen if symbol not in taken]
        shares = [link.symbols for link in self.links]
        lacking = len(new) - sum(SYMBOLS_MAX - len(share) for share in shares)
        fresh: list[list[str]] = [[] for _ in range(max(0, ceil(lacking / SYMBOLS_MAX)))]
        shares += fresh
        for symbol in new:
            min(shares, key=len).append(symbol)
        for link in self.links:
            link.session.learn(source, link.symbols, time.time_ns())
        for symbols in fresh:
            backoff = replace(self._backoff, budget=min(ATTEMPTS, self._backoff.budget), failures=0)
            link = Level3Link(self.shared, self, len(self.links) + 1, symbols, backoff)
            self.links.append(link)
            start(link)

    def states(self) -> dict[str, int]:
        """How its books and connections stand."""
        states = {key: sum(link.counts.get(key, 0) for link in self.links) for key in ("selected", "live", "waiting")}
        down = sum(link.connection is None for link in self.links)
        return states | {"connections": len(self.links), "down": down}


def subscribe_seconds(pairs: int, depth: int, rate: int) -> float:
    """How long it takes until all are subscribed, at least."""
    return pairs * COSTS[depth] / rate

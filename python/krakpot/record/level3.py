"""Level 3 on connections of its own: with what token, at what pace.

Kraken serves level 3 on another host, to holders of a token, at most 200 symbols a connection, and no faster than the
account's rate of subscriptions allows. That host knows nothing of pairs: these come from the public connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from krakpot import _core
from krakpot.errors import ConfigError, TokenError
from krakpot.log import Line
from krakpot.net.client import Recording
from krakpot.net.connection import Backoff
from krakpot.net.tokens import Tokens
from krakpot.record.pool import Share, Spread
from krakpot.values import LEVEL3

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


class Level3Link(Share):
    """One connection of level 3."""

    def __init__(self, shared: Recording, level3: Level3, number: int, symbols: list[str], backoff: Backoff) -> None:
        """``symbols`` are what it follows."""
        self.level3 = level3
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0
        """Tokens asked for since the last one that was of use."""
        self._ask_at = 0.0
        super().__init__(shared, level3, number, symbols, backoff)

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns(), self.level3.budget)

    def tick(self, now: float) -> None:
        """See that the session has its token, besides what every link does."""
        session = self.session
        if self.connection is not None and session.token_needed and self._asking is None and now >= self._ask_at:
            self._ask_at = now + (min(TOKEN_PAUSE_MAX, 2.0**self._asked) if self._asked else 1.0)
            self._asked = min(self._asked + 1, 16)
            self._asking = self.shared.task(self._authorise(session))
        super().tick(now)

    async def _authorise(self, session: _core.Session) -> None:
        """Give the session a new token."""
        try:
            token = await self.level3.tokens.new()
        except TokenError as error:
            session.add_ledger_row("refused", time.time_ns(), channel=LEVEL3, detail=json.dumps({"error": str(error)}))
        else:
            session.set_token(token)
        finally:
            self._asking = None

    def check(self, now: float) -> None:
        """Let the public channels bear witness, besides what every link does."""
        super().check(now)
        if self.connection is not None and not self.paused:
            for witness in self.level3.witnesses():
                self.session.cross_check(witness, time.time_ns())

    def take_counts(self, *, final: bool = False) -> None:
        """See whether the token was of use, besides what every link does."""
        super().take_counts(final=final)
        if self.counts["in_sync"]:
            self._asked = 0

    def finish(self, reason: str) -> None:
        """Wait for no token."""
        if self._asking is not None:
            self._asking.cancel()
        super().finish(reason)


class Level3(Spread):
    """All connections of level 3."""

    attempts = ATTEMPTS

    def __init__(self, shared: Recording, backoff: Backoff, witnesses: Callable[[], Sequence[_core.Session]]) -> None:
        """``backoff`` is the first connection's; ``witnesses`` are the sessions of the public channels."""
        super().__init__(shared, backoff, name="level 3")
        config = shared.config
        self.url = config.level3_url
        self.witnesses = witnesses
        self.tokens = Tokens(config.rest_url, config.api_key, config.api_secret, tls=shared.tls)
        self.budget = _core.Budget(rate=config.level3_rate, resync_share=RESYNC_SHARE)
        self.checked = False
        """Whether REST was asked once, so that a key that is refused is known before anything is written."""

    @property
    def room(self) -> int:
        """Symbols of one connection."""
        return SYMBOLS_MAX

    def options(self) -> dict[str, Any]:
        """What its sessions are to follow."""
        return {"channels": [LEVEL3], "level3_depth": self.shared.config.level3_depth}

    def share(self, number: int, symbols: list[str], backoff: Backoff) -> Level3Link:
        """Make a connection."""
        return Level3Link(self.shared, self, number, symbols, backoff)

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


def subscribe_seconds(pairs: int, depth: int, rate: int) -> float:
    """How long it takes until all are subscribed, at least."""
    return pairs * COSTS[depth] / rate

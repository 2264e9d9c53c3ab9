"""The connections of level 3: their token, and the pace of their subscriptions.

Kraken serves level 3 on another host, to holders of a token, at most 200 symbols a connection, and only as fast as the
account's rate of subscriptions allows. That host does not serve the instrument channel, so the pairs come from the
public connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from krakpot import _core
from krakpot.errors import ConfigError, TokenError
from krakpot.log import LogLine
from krakpot.net.backoff import Backoff
from krakpot.net.tokens import Tokens
from krakpot.record.client import RecordingContext
from krakpot.record.pool import ConnectionPool, Shard
from krakpot.values import LEVEL3

SYMBOLS_MAX = 200
"""Symbols of one connection, by Kraken's limit."""
COSTS = {10: 5, 100: 25, 1000: 100}
"""Cost of a subscription by its depth. An account may spend ``level3_rate`` a second."""
RESYNC_SHARE = 0.1
"""Share of the rate that resyncs may use, so that a storm of wrong checksums leaves room for first subscriptions."""
ATTEMPTS = 80
"""Connection attempts in ten minutes, of 120 in all, that these connections may use up.

The rest is left to the public connections, which must not wait because level 3 is out of service.
"""
TOKEN_PAUSE_MAX = 300.0
"""The longest pause between two requests for a token, seconds."""


class Level3Shard(Shard):
    """One connection of level 3."""

    def __init__(
        self, context: RecordingContext, pool: Level3Pool, number: int, symbols: list[str], backoff: Backoff
    ) -> None:
        """``symbols`` are those that it records."""
        self.level3 = pool
        self._token_request: asyncio.Task[None] | None = None
        self._tokens_requested = 0
        """Tokens requested since the last one that was of use."""
        self._next_request = 0.0
        """When the next token may be requested, monotonic seconds."""
        super().__init__(context, pool, number, symbols, backoff)

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns(), self.level3.budget)

    def tick(self, now: float) -> None:
        """Also request a token if the session needs one."""
        session = self.session
        needed = self.connection is not None and session.token_needed
        if needed and self._token_request is None and now >= self._next_request:
            pause = min(TOKEN_PAUSE_MAX, 2.0**self._tokens_requested) if self._tokens_requested else 1.0
            self._next_request = now + pause
            self._tokens_requested = min(self._tokens_requested + 1, 16)
            self._token_request = self.context.run_task(self._set_token(session))
        super().tick(now)

    async def _set_token(self, session: _core.Session) -> None:
        """Give the session a new token."""
        try:
            token = await self.level3.tokens.new()
        except TokenError as error:
            session.add_ledger_row("refused", time.time_ns(), channel=LEVEL3, detail=json.dumps({"error": str(error)}))
        else:
            session.set_token(token)
        finally:
            self._token_request = None

    def check(self, now: float) -> None:
        """Also compare the best prices with those of the public channels."""
        super().check(now)
        if self.connection is not None and not self.paused:
            for public in self.level3.public_sessions():
                self.session.cross_check(public, time.time_ns())

    def take_counts(self, *, final: bool = False) -> None:
        """Also notice that the token was of use."""
        super().take_counts(final=final)
        if self.counts["in_sync"]:
            self._tokens_requested = 0

    def finish(self, reason: str) -> None:
        """Also stop waiting for a token."""
        if self._token_request is not None:
            self._token_request.cancel()
        super().finish(reason)


class Level3Pool(ConnectionPool):
    """All connections of level 3."""

    attempts = ATTEMPTS

    def __init__(
        self, context: RecordingContext, backoff: Backoff, public_sessions: Callable[[], Sequence[_core.Session]]
    ) -> None:
        """``backoff`` is the first connection's. ``public_sessions`` returns the sessions of the public channels."""
        super().__init__(context, backoff, name="level 3")
        config = context.config
        self.url = config.level3_url
        self.public_sessions = public_sessions
        self.tokens = Tokens(config.rest_url, config.api_key, config.api_secret, tls=context.tls)
        self.budget = _core.Budget(rate=config.level3_rate, resync_share=RESYNC_SHARE)
        self.checked = False
        """Whether the key was tried once. Nothing is written before, in case the exchange refuses it."""

    @property
    def capacity(self) -> int:
        """Symbols of one connection."""
        return SYMBOLS_MAX

    def session_options(self) -> dict[str, Any]:
        """Options of its sessions: channel and depth."""
        return {"channels": [LEVEL3], "level3_depth": self.context.config.level3_depth}

    def new_shard(self, number: int, symbols: list[str], backoff: Backoff) -> Level3Shard:
        """Make a connection for ``symbols``."""
        return Level3Shard(self.context, self, number, symbols, backoff)

    async def check_key(self) -> None:
        """Try the key.

        Raises
        ------
        ConfigError
            The exchange refuses the key for good. A temporary failure is only logged.

        """
        try:
            await self.tokens.new()
        except TokenError as error:
            if error.lasting:
                raise ConfigError(str(error)) from None
            sentence = f"{error}; trying again when it is needed"
            self.context.log(LogLine(sentence, "token_failure", "warning", error=str(error)))
        self.checked = True


def subscribe_seconds(pairs: int, depth: int, rate: int) -> float:
    """Seconds until ``pairs`` books of ``depth`` are subscribed, at least, at ``rate`` a second."""
    return pairs * COSTS[depth] / rate

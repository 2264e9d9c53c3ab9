"""What every level-3 connection needs: tokens, and the account's rate of subscriptions.

Kraken serves level 3 on a separate server, to clients with a token. It limits the rate of subscriptions of an account,
over all its connections, and the symbols of one connection to 200.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import ConfigError, TokenError
from krakpot.net.tokens import Tokens
from krakpot.values import LEVEL3

SYMBOLS_MAX = 200
"""Symbols of one connection, by Kraken's limit."""
RESYNC_SHARE = 0.1
"""Share of the rate that repairs may take: many wrong checksums at once must leave room for new subscriptions."""
ATTEMPTS = 80
"""Attempts to connect in ten minutes that level-3 connections may use, of the 120 of a whole process: the rest is for
the public connection, which must not wait because the level-3 server is down.
"""
TOKEN_PAUSE_MAX = 300.0
"""Longest pause between two requests for a token, in seconds."""


class TokenSource(Protocol):
    """Who requests tokens: two that sign with one key would spoil each other's nonces."""

    async def new(self) -> str:
        """Return a new token; ``TokenError`` says why there is none."""


class Level3Account:
    """The Kraken account that level 3 is subscribed with; all its connections share this."""

    def __init__(self, config: Config, tls: ssl.SSLContext | None) -> None:
        """Take key, secret, REST address and rate from ``config``."""
        self.tokens: TokenSource = Tokens(config.rest_url, config.api_key, config.api_secret, tls=tls)
        self.budget = _core.Budget(rate=config.level3_rate, resync_share=RESYNC_SHARE)
        self._wait = 0.0
        """Seconds that REST asked to wait, counted from the next ``may_ask`` on."""
        self._ask_at = 0.0
        """Monotonic time before which REST asked not to be asked, in seconds."""

    async def new_token(self) -> str:
        """Request a token, as ``Tokens.new``; a time that REST asks to wait holds for all connections."""
        try:
            return await self.tokens.new()
        except TokenError as error:
            self._wait = max(self._wait, error.retry_after)
            raise

    def may_ask(self, now: float) -> bool:
        """Whether REST may be asked now; ``now`` is monotonic time in seconds."""
        if self._wait:
            self._ask_at, self._wait = max(self._ask_at, now + self._wait), 0.0
        return now >= self._ask_at

    async def check(self) -> TokenError | None:
        """Ask for one token, to know early whether the key is accepted.

        ``ConfigError`` if the exchange rejects the key. Trouble that may pass is returned.
        """
        try:
            await self.new_token()
        except TokenError as error:
            if error.lasting:
                raise ConfigError(str(error)) from None
            return error
        return None


class TokenKeeper:
    """Sees that the sessions of one connection have a token; asks again more and more slowly if there is none."""

    def __init__(
        self,
        account: Level3Account,
        supervise: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """``supervise`` runs the request, and gets its unexpected errors."""
        self._account = account
        self._supervise = supervise
        self._asking: asyncio.Task[None] | None = None
        self.requested = 0
        """Tokens asked for since the last one that was of use."""
        self._ask_at = 0.0
        """Monotonic time before which it does not ask again, in seconds."""

    def tick(self, session: _core.Session, now: float) -> None:
        """Ask for a token if ``session`` needs one; ``now`` is monotonic time in seconds."""
        if session.token_needed and self._asking is None and now >= self._ask_at and self._account.may_ask(now):
            self._ask_at = now + (min(TOKEN_PAUSE_MAX, 2.0**self.requested) if self.requested else 1.0)
            self.requested = min(self.requested + 1, 16)
            self._asking = self._supervise(self._authorise(session))

    async def _authorise(self, session: _core.Session) -> None:
        """Give the session a new token; a refusal becomes a row of its ledger."""
        try:
            token = await self._account.new_token()
        except TokenError as error:
            session.add_ledger_row("refused", time.time_ns(), channel=LEVEL3, detail=json.dumps({"error": str(error)}))
        else:
            session.set_token(token)
        finally:
            self._asking = None

    def worked(self) -> None:
        """The last token was accepted: the next one is asked for without a pause."""
        self.requested = 0

    def close(self) -> None:
        """Wait for no token any more."""
        if self._asking is not None:
            self._asking.cancel()

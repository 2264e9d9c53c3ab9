"""The connections of level 3: their token, and the pace of their subscriptions.

Kraken serves level 3 on another host, to holders of a token, at most 200 symbols a connection, and only as fast as the
account's rate of subscriptions allows. That host does not serve the instrument channel, so the pairs come from the
public connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from krakpot import _core
from krakpot.log import LogLine
from krakpot.net import level3
from krakpot.net.backoff import Backoff
from krakpot.net.level3 import Level3Account, TokenKeeper
from krakpot.record.client import RecordingContext
from krakpot.record.pool import ConnectionPool, Shard
from krakpot.values import LEVEL3


class Level3Shard(Shard):
    """One connection of level 3."""

    def __init__(
        self, context: RecordingContext, pool: Level3Pool, number: int, symbols: list[str], backoff: Backoff
    ) -> None:
        """``symbols`` are those that it records."""
        self.level3 = pool
        self._keeper = TokenKeeper(pool.account, context.run_task)
        super().__init__(context, pool, number, symbols, backoff)

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns(), self.level3.account.budget)

    def tick(self, now: float) -> None:
        """Also request a token if the session needs one."""
        if self.connection is not None:
            self._keeper.tick(self.session, now)
        super().tick(now)

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
            self._keeper.worked()

    def finish(self, reason: str) -> None:
        """Also stop waiting for a token."""
        self._keeper.close()
        super().finish(reason)


class Level3Pool(ConnectionPool):
    """All connections of level 3."""

    attempts = level3.ATTEMPTS

    def __init__(
        self, context: RecordingContext, backoff: Backoff, public_sessions: Callable[[], Sequence[_core.Session]]
    ) -> None:
        """``backoff`` is the first connection's. ``public_sessions`` returns the sessions of the public channels."""
        config = context.config
        super().__init__(context, backoff, name="level 3", patterns=config.channel_symbols.get(LEVEL3, ("*",)))
        self.url = config.level3_url
        self.public_sessions = public_sessions
        self.account = Level3Account(config, context.tls)
        self.checked = False
        """Whether the key was tried once. Nothing is written before, in case the exchange refuses it."""

    @property
    def capacity(self) -> int:
        """Symbols of one connection."""
        return level3.SYMBOLS_MAX

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
        if (error := await self.account.check()) is not None:
            sentence = f"{error}; trying again when it is needed"
            self.context.log(LogLine(sentence, "token_failure", "warning", error=str(error)))
        self.checked = True


def subscribe_seconds(pairs: int, depth: int, rate: int) -> float:
    """Seconds until ``pairs`` books of ``depth`` are subscribed, at least, at ``rate`` a second."""
    return pairs * _core.LEVEL3_COSTS[depth] / rate

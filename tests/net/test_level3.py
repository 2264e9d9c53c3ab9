"""Tokens for level 3: asked for when needed, again more slowly after a refusal, and known early to be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.config import Config
from krakpot.errors import ConfigError, TokenError
from krakpot.net.level3 import TOKEN_PAUSE_MAX, Level3Account, TokenKeeper
from waiting import run

NOW = frames.START
KEYS: dict[str, Any] = {"api_key": "key", "api_secret": "c2VjcmV0"}
CONFIG = Config(channels=("level3",), rest_url="http://127.0.0.1:9", **KEYS)


class Tokens:
    """Gives tokens, or the errors that wait."""

    def __init__(self, *errors: TokenError) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def new(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return f"token {self.asked}"


def account(*errors: TokenError) -> tuple[Level3Account, Tokens]:
    """An account whose REST answers as given."""
    found, tokens = Level3Account(CONFIG, None), Tokens(*errors)
    found.tokens = tokens
    return found, tokens


def needing() -> _core.Session:
    """A session of level 3 with a symbol to subscribe."""
    pair = frames.pair("BTC/USD", price_precision=1, qty_precision=8)
    public = _core.Session("019e0000-0000-7000-8000-000000000000", channels=[])
    public.receive([frames.instrument(pair)], NOW)
    session = _core.Session("019e0000-0000-7000-8000-000000000001", channels=["level3"], instrument=False)
    session.import_pairs(public, ["BTC/USD"], NOW)
    assert session.token_needed
    return session


def test_a_session_gets_a_token_once() -> None:
    """And is asked for no other while it has one."""

    async def test() -> None:
        found, tokens = account()
        keeper, session = TokenKeeper(found, asyncio.create_task), needing()
        for tick in range(5):
            keeper.tick(session, tick / 10)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert tokens.asked == 1
        assert not session.token_needed
        (request,) = session.requests(NOW, found.budget)
        assert b'"token":"token 1"' in request

    run(test())


def test_a_refusal_is_told_and_asked_again_more_slowly() -> None:
    """In the ledger, with the sentence; the pauses double, up to five minutes."""

    async def test() -> None:
        found, tokens = account(*(TokenError(f"no {n}", lasting=False) for n in range(12)))
        keeper, session = TokenKeeper(found, asyncio.create_task), needing()
        asked = []
        for second in range(2000):
            before = tokens.asked
            keeper.tick(session, float(second))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if tokens.asked > before:
                asked.append(second)
        pauses = [after - before for before, after in pairwise(asked)]
        assert pauses[:4] == [1, 2, 4, 8]
        assert max(pauses) == TOKEN_PAUSE_MAX
        rows = [row for row in session.take_ledger() if row["kind"] == "refused"]
        assert rows[0]["channel"] == "level3"
        assert "no 0" in rows[0]["detail"]

    run(test())


def test_the_time_that_rest_asks_to_wait_holds_for_all_connections() -> None:
    """Nobody asks before it is over, also those who were not refused; also if the first check was refused."""

    async def test() -> None:
        found, tokens = account(*(TokenError("busy", lasting=False, retry_after=wait) for wait in (30.0, 60.0)))
        assert await found.check() is not None
        keepers = [(TokenKeeper(found, asyncio.create_task), needing()) for _ in range(2)]
        asked = []
        for second in range(100, 300):
            before = tokens.asked
            for keeper, session in keepers:
                keeper.tick(session, float(second))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            asked += [second] * (tokens.asked - before)
        assert asked == [130, 190, 190]

    run(test())


def test_a_key_that_is_rejected_is_known_early() -> None:
    """As ``ConfigError``; trouble that may pass is returned and tried again."""

    async def test() -> None:
        found, _ = account(TokenError("the API key is not known", lasting=True))
        with pytest.raises(ConfigError, match="the API key is not known"):
            await found.check()
        passing = TokenError("out of service", lasting=False)
        found, _ = account(passing)
        assert await found.check() is passing
        assert await found.check() is None

    run(test())


def test_nobody_waits_for_a_token_at_the_end() -> None:
    """A request under way is cancelled."""

    async def test() -> None:
        found, _ = account()
        tasks: list[asyncio.Task[None]] = []

        async def never() -> str:
            await asyncio.Event().wait()
            return ""

        found.tokens.new = never  # type: ignore[method-assign]  # a REST that never answers

        def supervise(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            tasks.append(asyncio.create_task(work))
            return tasks[-1]

        keeper = TokenKeeper(found, supervise)
        keeper.tick(needing(), 0.0)
        await asyncio.sleep(0)
        keeper.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[0].cancelled()

    run(test())

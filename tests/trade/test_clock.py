"""A clock that is set is noticed, and what follows from that for an account with money."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from krakpot.trade import client
from krakpot.trade.clock import EXACT, STEP, ClockWatch
from living import PAIR, Once, limits, reached, server, started
from waiting import run

SECOND = 10**9


def test_a_step_is_noticed_once() -> None:
    """Small ones add up; a process that was stopped between two looks is none."""
    now = {"clock": 1_785_641_751 * SECOND, "steady": 5 * SECOND, "pause": 0}

    def steady() -> int:
        now["steady"] += now["pause"]
        return now["steady"]

    watch = ClockWatch(lambda: now["clock"], steady)

    def passes(ns: int, step: int = 0) -> int:
        now["steady"] += ns
        now["clock"] += ns + step
        return watch.step()

    assert [passes(0), passes(SECOND), passes(SECOND, STEP)] == [0, 0, 0]
    assert [passes(SECOND, STEP), passes(SECOND)] == [2 * STEP, 0]
    assert [passes(SECOND, -3600 * SECOND), passes(SECOND)] == [-3600 * SECOND, 0]
    now["pause"] = 2 * EXACT
    assert passes(SECOND, SECOND) == 0
    now["pause"] = 0
    # The pauses passed for one clock only.
    assert passes(SECOND) == SECOND - 4 * EXACT


def test_the_clocks_of_this_machine_agree() -> None:
    """Nobody sets it while the tests run, and time passes alike."""
    watch = ClockWatch()
    assert watch.step() == 0
    time.sleep(0.05)
    assert watch.step() == 0


def test_no_new_risk_after_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks are compared at once, not at the next ping; until then an order is refused and says why."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    strategy = Once(lambda m: [m.buy(PAIR, "0.001", "50000", post_only=True)], ends=False)

    async def test() -> None:
        async with (
            server() as exchange,
            started(tmp_path, strategy, exchange, account="shared", limits=limits(clock="250ms")) as (one, task),
        ):
            await reached(lambda: bool(strategy.orders) and strategy.orders[0].state == "open", task)
            account, clock = one.client, one.client._account
            steps, sent = [2 * SECOND], list[int | None]()
            monkeypatch.setattr(account._watch, "step", lambda: steps.pop() if steps else 0)
            ping = account._ping

            def noted() -> bytes:
                sent.append(clock.offset)
                return bytes(ping())

            monkeypatch.setattr(account, "_ping", noted)
            account.tick()
            assert sent == [None], "it is asked at once"
            (market,) = one.markets
            order: Any = market.buy(PAIR, "0.001", "49000", post_only=True)
            assert order.state == "rejected"
            assert order.reason.startswith("krakpot:clock: this machine's clock was set")
            assert account.state == ("paused", order.reason.removeprefix("krakpot:"))
            await reached(lambda: clock.offset is not None, task)
            assert market.buy(PAIR, "0.001", "49000", post_only=True).state == "sent"
            assert client.PINGS > 10, "the next one in order is far"

    run(test())

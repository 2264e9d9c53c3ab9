"""How late the loop is, measured on a loop that a test makes late."""

from __future__ import annotations

import asyncio
import time

from krakpot.record.lag import EVERY, Lag


def test_a_loop_that_stops_is_late_for_all_that_waits() -> None:
    """A stop of half a second is the largest lag, and shows in the percentiles by the messages that it would have made
    wait: half of all moments of a second.
    """

    async def test() -> None:
        lag = Lag()
        await asyncio.sleep(0.05)
        time.sleep(0.5)  # noqa: ASYNC251  # to stop the loop is the test
        await asyncio.sleep(0.05)
        late = lag.take()
        lag.stop()
        assert late is not None
        assert 0.45e9 < late.largest < 0.6e9 + EVERY * 1e9
        assert late.p50 <= late.p99 <= late.largest
        assert 0.1e9 < late.p50 < 0.45e9, "most of the moments fell into the stop"

    asyncio.run(test())


def test_a_loop_that_rests_is_hardly_late() -> None:
    """Some hundred moments, of which half are less than the timer's period late; each is told once."""

    async def test() -> None:
        lag = Lag()
        assert lag.take() is None, "no moment was due"
        await asyncio.sleep(1.0)
        late = lag.take()
        assert late is not None
        assert 0 <= late.p50 < EVERY * 1e9
        assert lag.take() is None, "told"
        lag.stop()
        await asyncio.sleep(5 * EVERY)
        assert lag.take() is None, "stopped"

    asyncio.run(test())

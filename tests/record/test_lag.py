"""How late a loop is, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from krakpot.record.lag import EVERY, Lag, Lateness


class Loop:
    """A loop with one timer; ``run`` lets time pass, and is late where the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> Loop:
        self.timer = (when, callback)
        return self

    def cancel(self) -> None:
        self.timer = None

    def run(self, seconds: float, late: float = 0.0) -> None:
        """Let time pass; each timer is called ``late`` seconds after it is due."""
        until = self.now + seconds
        while self.timer is not None and self.timer[0] + late <= until:
            due, callback = self.timer
            self.now = max(self.now, due + late)
            callback()
        self.now = until

    def block(self, seconds: float) -> None:
        """Do nothing for a while, then what was due."""
        self.now += seconds
        self.run(0.0)


def nanoseconds(seconds: float) -> object:
    """Within a microsecond."""
    return pytest.approx(seconds * 1e9, abs=1000)


def test_a_loop_in_time_is_not_late() -> None:
    """A hundred moments a second, none late; each is reported once."""
    loop = Loop()
    lag = Lag(cast("asyncio.AbstractEventLoop", loop))
    assert lag.take() is None, "no moment was due"
    loop.run(1.005)
    assert lag.take() == Lateness(0, 0, 0)
    assert lag.take() is None, "reported"


def test_a_loop_that_is_always_late() -> None:
    """Three milliseconds each time."""
    loop = Loop()
    lag = Lag(cast("asyncio.AbstractEventLoop", loop))
    loop.run(1.0, late=0.003)
    late = lag.take()
    assert late is not None
    assert (late.largest, late.p50, late.p99) == (nanoseconds(0.003),) * 3


def test_a_stop_counts_for_every_moment_within_it() -> None:
    """A stop of half a second in a second: the largest is the stop, and half of all moments fall into it, evenly."""
    loop = Loop()
    lag = Lag(cast("asyncio.AbstractEventLoop", loop))
    loop.run(0.255)
    loop.block(0.5)
    loop.run(0.25)
    late = lag.take()
    assert late is not None
    # The first moment within the stop was due 5 ms after its begin.
    assert late.largest == nanoseconds(0.5 - 0.005)
    assert late.p99 == nanoseconds(0.5 - 0.005 - EVERY)
    assert 0 <= late.p50 <= EVERY * 1e9, "half of the moments were in time"
    loop.run(1.0)
    assert lag.take() == Lateness(0, 0, 0), "it is over"


def test_what_is_stopped_measures_no_more() -> None:
    """The timer is called off."""
    loop = Loop()
    lag = Lag(cast("asyncio.AbstractEventLoop", loop))
    lag.stop()
    loop.run(1.0)
    assert lag.take() is None


def test_the_running_loop_is_measured() -> None:
    """Without a loop it is the one that runs: its moments come by themselves."""

    async def test() -> None:
        lag = Lag()
        late = None
        while late is None:
            await asyncio.sleep(0)
            late = lag.take()
        lag.stop()
        assert 0 <= late.p50 <= late.p99 <= late.largest

    asyncio.run(test())

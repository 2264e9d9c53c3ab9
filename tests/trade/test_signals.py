"""Signals that end or halt a run with money."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from krakpot.trade.signals import ENDS, HALT, Signals


class Told:
    """A run that only notes what it is told."""

    def __init__(self, *, begun: bool = True) -> None:
        self.begun = begun
        self.heard: list[str] = []

    def interrupt(self) -> bool:
        self.heard.append("interrupt")
        return self.begun

    def abandon(self) -> None:
        self.heard.append("abandon")

    def halt(self) -> None:
        self.heard.append("halt")


def send(number: int) -> None:
    """To this process."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_the_second_signal_leaves(number: int, error: type[BaseException]) -> None:
    """The first one asks for an end in order. Afterwards all handlers are as they were."""
    before = [signal.getsignal(one) for one in (*ENDS, HALT or signal.SIGINT)]
    told = Told()
    with pytest.raises(error) as raised, Signals(told):
        send(number)
        assert told.heard == ["interrupt"]
        send(number)
    assert told.heard == ["interrupt", "abandon"]
    if error is SystemExit:
        assert raised.value.args == (143,)
    assert [signal.getsignal(one) for one in (*ENDS, HALT or signal.SIGINT)] == before


def test_one_is_enough_before_the_begin() -> None:
    """Nothing was sent yet, so nothing is to be put in order."""
    told = Told(begun=False)
    with pytest.raises(KeyboardInterrupt), Signals(told):
        send(signal.SIGINT)
    assert told.heard == ["interrupt"]


@pytest.mark.skipif(HALT is None, reason="this system has no such signal")
def test_a_halt_can_come_often() -> None:
    """It ends nothing."""
    told = Told()
    with Signals(told) as signals:
        assert signals.halts
        assert HALT is not None
        send(HALT)
        send(HALT)
    assert told.heard == ["halt", "halt"]


def test_another_thread_hears_none() -> None:
    """Python lets only the main thread hear them; the run says so in its journal."""
    found: list[bool] = []

    def work() -> None:
        with Signals(Told()) as signals:
            found.append(signals.halts)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_what_is_ignored_stays_ignored() -> None:
    """As under ``nohup``."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told = Told()
    try:
        with Signals(told):
            send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told.heard == []

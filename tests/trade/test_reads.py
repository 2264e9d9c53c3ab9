"""What the sockets of a live feed bring, read by read: handlers hear of it as if the events came one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

import fills
import frames
import traded
from fills import SYMBOL, Step
from krakpot import Market, _core
from krakpot.trade.market import handlers_of
from traded import Notes

CHANNELS = ["book", "trade", "level3", "status", "gap", "subscription"]
Read = tuple[int, list[bytes]]
"""A time, and the frames that came then."""


class Quote(Notes):
    """Joins the best bid, cancels at every tenth message, and waits now and then."""

    def book(self, m: Market, e: Any) -> None:
        super().book(m, e)
        if len(self.heard) % 10 == 0:
            m.cancel()
            m.after("3ms", "later")
        elif e.channel == "level3" and e.outcome == "ok" and not m.orders():
            m.buy(SYMBOL, "2", m.best(SYMBOL)[0])


class Books:
    """Handles are not asked for."""

    def book(self, symbol: str) -> Any:
        pytest.fail(f"a handle of {symbol} is asked for")

    level3 = book


def reads(steps: Iterable[Step]) -> list[Read]:
    """The frames of a market, three times in one read."""
    timed = fills.timed_frames(steps)
    groups = [timed[at : at + 3] for at in range(0, len(timed), 3)]
    return [(group[-1][0], [frame for _, frame in group]) for group in groups]


class Running:
    """A run of a strategy on a session, without sockets."""

    def __init__(self, strategy: Any, *, wake: str = "message") -> None:
        """It has begun."""
        self.session = _core.Session("019e0000-0000-7000-8000-000000000000", passive=True, rows=False)
        self.made = _core.Events(CHANNELS)
        self.core = core = _core.Trading("USD", wake=wake, latency=(fills.MS, fills.MS, 0), depth=10)
        core.add_pair(
            SYMBOL, "BTC", "USD", price_precision=1, qty_precision=8, cost_precision=5, price_increment="0.1",
            qty_min="0.0001", cost_min="0.5", maker=2500, taker=4000,
        )  # fmt: skip
        core.add_account([("USD", "50000")], book=True, trade=True)
        handlers: Mapping[str, Callable[..., object]] = handlers_of(strategy, "test")
        core.set_handlers([(Market(core, 0, Books(), (SYMBOL,)), handlers)])
        core.start(fills.time(0))

    def whole(self, all_reads: Iterable[Read], after: Callable[[], object] | None = None) -> None:
        """Take each read at once."""
        for ts, some in all_reads:
            self.core.receive(self.made, self.session, some, ts, after)

    def one_by_one(self, all_reads: Iterable[Read]) -> None:
        """Take each event by itself, as a callback of a feed is given it."""
        for ts, some in all_reads:
            for event in self.made.receive(self.session, some, ts):
                self.core.take([event], self.session)


def with_gaps() -> list[Step]:
    """A market whose orders, later some trades, are lost for a while."""
    steps = traded.market(60)
    steps[20].lost = True
    steps[31].snapshot = True
    steps[50].lost_prints = True
    return steps


@pytest.mark.parametrize("wake", ["message", "touch"])
def test_a_whole_read_is_heard_as_its_events(wake: str) -> None:
    """The same calls at the same times, the same tables: orders, fills, gaps."""
    both = [Quote(), Quote()]
    runs = [Running(strategy, wake=wake) for strategy in both]
    runs[0].one_by_one(reads(with_gaps()))
    runs[1].whole(reads(with_gaps()))
    for one in runs:
        one.core.stop("over")
    assert both[0].heard == both[1].heard
    assert both[0].times == both[1].times
    assert runs[0].core.tables(0) == runs[1].core.tables(0)
    assert runs[0].core.messages == runs[1].core.messages
    assert {word.split()[0] for word in both[1].heard} >= {"start", "level3", "trade", "order", "fill", "timer", "gap"}


def test_a_gap_of_level_3_is_over_with_its_snapshot() -> None:
    """The event of it comes after the snapshot, in the same read: it does not begin again."""
    strategy = Notes()
    steps = [step for step in with_gaps() if not step.lost_prints]
    Running(strategy).whole(reads(steps))
    assert [word for word in strategy.heard if word.startswith("gap")] == ["gap begins", "gap healed"]


def test_a_stop_within_a_read_is_the_last_thing() -> None:
    """Whatever came with it: no handler is called any more but `stop`."""

    class Stops(Notes):
        def book(self, m: Market, e: Any) -> None:
            super().book(m, e)
            if self.heard.count("level3") == 2:
                running.core.end()

    for way in (Running.whole, Running.one_by_one):
        strategy = Stops()
        running = Running(strategy)
        way(running, reads(traded.market(60)))
        before = list(strategy.heard)
        assert before.count("level3") == 2
        assert before[-1] == "level3"
        running.core.stop("enough")
        assert strategy.heard == [*before, "enough"]


def test_an_error_within_a_read_is_raised() -> None:
    """Nothing more of the read is heard; the session has taken all of it."""

    class Fails(Notes):
        def trade(self, m: Market, e: Any) -> None:
            super().trade(m, e)
            raise LookupError("mine")

    strategy = Fails()
    running = Running(strategy)
    market = reads(traded.market(20))
    frames_of_all = [(market[-1][0], [frame for _, some in market for frame in some])]
    with pytest.raises(LookupError, match="mine"):
        running.whole(frames_of_all)
    assert running.core.failed == (0, "trade")
    assert strategy.heard[-1] == "trade 1"
    assert running.session.counts()["frames"] == len(frames_of_all[0][1])


def test_what_was_asked_for_is_sent_after_each_event() -> None:
    """Not after the whole read: an order would wait for what came with it."""
    strategy = Notes()
    running = Running(strategy)
    heard: list[int] = []
    running.whole(reads(traded.market(20)), lambda: heard.append(len(strategy.heard)))
    assert heard == sorted(heard)
    assert set(range(2, len(strategy.heard) + 1)) <= set(heard), "after each handler that was called"


def test_a_read_without_events_calls_nobody() -> None:
    """As a heartbeat."""
    strategy = Notes()
    Running(strategy).whole([(fills.time(1), [frames.HEARTBEAT])], lambda: pytest.fail("nothing was heard"))
    assert strategy.heard == ["start"]


def test_a_connection_says_nothing_of_books_that_others_have() -> None:
    """A feed of many pairs has several. The session that follows one has its books no more."""
    strategy = Notes()
    run = Running(strategy)
    run.whole(reads([Step(1, traded.BOOK)]))
    other = _core.Session("019e0000-0000-7000-8000-000000000001", passive=True, rows=False)
    run.core.advance(fills.time(2000), other, level3=True)
    assert "gap begins" not in strategy.heard
    after = _core.Session("019e0000-0000-7000-8000-000000000002", passive=True, rows=False, after=run.session)
    run.core.advance(fills.time(2001), after, level3=True)
    assert strategy.heard[-1] == "gap begins"


def test_facts_of_a_pair_follow_its_status() -> None:
    """They are made once, and again when the exchange says another status."""
    core = Running(Notes()).core
    market = Market(core, 0, Books(), (SYMBOL,))
    facts = market.pair(SYMBOL)
    assert market.pair(SYMBOL) is facts
    core.set_pair_status(fills.time(1), SYMBOL, "cancel_only")
    assert market.pair(SYMBOL) == facts._replace(status="cancel_only")
    with pytest.raises(ValueError, match="is not traded in this run"):
        market.pair("ETH/USD")

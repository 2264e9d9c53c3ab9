"""When to connect again, and how fast requests go out: policies without a clock or a socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from krakpot.net.backoff import Backoff, Pacer

Step = tuple[float, bool, bool]
STEPS = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 700)), st.booleans(), st.booleans()), max_size=400
)


@given(steps=STEPS, seed=st.integers(0, 99))
def test_attempts_never_exceed_their_budget(steps: Sequence[Step], seed: int) -> None:
    """Whatever happens (drops at once, long lives, maintenance, oversized frames): at most 120 attempts in any 600
    seconds, at least 5 seconds after maintenance, at least 30 after an oversized frame.
    """
    backoff = Backoff(random=Random(seed))
    now = 0.0
    attempts = []
    for lived, maintenance, too_big in steps:
        wait = backoff.delay(now, maintenance=maintenance, too_big=too_big)
        assert wait >= (30 if too_big else 5 if maintenance else 0)
        now += wait
        attempts.append(now)
        backoff.opened(now, now + lived)
        now += lived
    for n in range(120, len(attempts)):
        assert attempts[n] - attempts[n - 120] >= 600 - 1e-6


def test_a_storm_of_drops_spends_the_budget_and_no_more() -> None:
    """The worst case in full: every connection lives just long enough to count as stable and is cut, for two hours."""
    backoff = Backoff(random=Random(1), stable=0.0)
    now, attempts = 0.0, []
    while now < 7200:
        now += backoff.delay(now)
        attempts.append(now)
        backoff.opened(now, now)
    assert attempts[119] == 0, "the first 120 at once"
    assert len(attempts) <= 120 * 13
    assert all(b - a >= 600 - 1e-6 for a, b in zip(attempts, attempts[120:], strict=False))


def test_connections_share_the_budget_and_leave_some_to_each_other() -> None:
    """Eight connections with a budget of 80 that all fail at once and for an hour: never more than that in ten minutes,
    and another one with 120 attempts still connects at once; all together never more than 120.
    """
    one = Backoff(random=Random(1))
    others = [replace(one, budget=80, longest=0.0, failures=0) for _ in range(8)]
    due = [0.0] * len(others)
    attempts: list[float] = []
    for other in others:
        assert other.attempts is one.attempts
    while min(due) < 3600:
        n = due.index(min(due))
        due[n] += others[n].delay(due[n])
        attempts.append(due[n])
    assert sum(at < 600 for at in attempts) == 80
    assert len(attempts) > 400
    assert all(b - a >= 600 - 1e-6 for a, b in zip(sorted(attempts), sorted(attempts)[80:], strict=False))
    now = 3600.0
    mine = []
    for _ in range(30):
        wait = one.delay(now)
        mine.append(now + wait)
        now += wait
        one.opened(now, now + 30)
    assert mine[:20] == [3600.0] * 20, "there is room for it"
    everything = sorted(attempts + mine)
    assert all(b - a >= 600 - 1e-6 for a, b in zip(everything, everything[120:], strict=False))


def test_those_who_wait_take_no_attempts_away() -> None:
    """Thirty connections have used up their 100 attempts and wait for the next window: the first one still connects at
    once, twenty times, and no window of ten minutes has more than 120.
    """
    one = Backoff(random=Random(1), fast=1000)
    others = [replace(one, budget=100) for _ in range(30)]
    waits = [other.delay(0.0) for _ in range(5) for other in others]
    assert (waits.count(0.0), waits.count(600.0)) == (100, 50)
    mine = [one.delay(1.0) for _ in range(20)]
    assert mine == [0.0] * 20
    assert one.delay(2.0) > 500
    times = list(one.attempts)
    assert times == sorted(times)
    assert all(b - a >= 600 - 1e-6 for a, b in zip(times, times[120:], strict=False))


def test_shared_attempts_are_counted_in_order_of_time() -> None:
    """One waits for its attempt, another makes its own before: the earlier one is the first to be forgotten."""
    one = Backoff(random=Random(1))
    other = replace(one)
    later = one.delay(0.0, too_big=True)
    assert other.delay(0.0) == 0.0
    assert list(one.attempts) == [0.0, later]
    other.delay(601.0)
    assert list(one.attempts) == [later, 601.0]


def test_the_waits_grow_and_a_stable_life_clears_them() -> None:
    """At once, three times more; 1, 2, 4 … 30 s with up to 0.75 s of jitter; after 30 s of life from the beginning. A
    night without network is no error.
    """
    backoff = Backoff(random=Random(1))
    waits = [backoff.delay(n * 1000.0) for n in range(10)]
    assert waits[:4] == [0, 0, 0, 0]
    for wait, least in zip(waits[4:], [1, 2, 4, 8, 16, 30], strict=True):
        assert least <= wait <= least + 0.75
    assert all(30 <= backoff.delay(n * 1000.0) <= 30.75 for n in range(10, 2000))
    backoff.opened(3e6, 3e6 + 29)
    assert backoff.delay(3e6 + 29) >= 30, "too short to be stable"
    backoff.opened(4e6, 4e6 + 30)
    assert backoff.delay(4e6 + 30) == 0


def test_a_busy_server_is_never_tried_again_at_once() -> None:
    """HTTP 429 and 503: no fast attempts; without a time 1, 2, 4 … 30 s as after many failures, and never less than the
    server asked for.
    """
    backoff, now = Backoff(random=Random(1)), 0.0
    assert backoff.delay(now) == 0
    for least in (1, 2, 4, 8, 16, 30, 30):
        wait = backoff.delay(now, busy=0.0)
        assert least <= wait < least + 0.75
        now += wait
    for asked in (0.5, 20.0, 600.0):
        wait = Backoff(random=Random(2)).delay(0.0, busy=asked)
        assert max(1.0, asked) <= wait < max(1.0, asked) + 0.75
    patient = Backoff(random=Random(3), failures=20)
    assert patient.delay(0.0, busy=2.0) >= 30, "the server's time does not shorten the back-off"


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), min_size=1, max_size=80),
    rate=st.sampled_from([1.0, 10.0, 20.0]),
)
def test_requests_keep_their_order_and_their_pace(arrivals: list[tuple[float, int]], rate: float) -> None:
    """In any span of time at most the burst and the rate's share go out; none is lost, none overtakes."""
    pacer = Pacer(rate=rate, burst=10.0)
    now, number, sent = 1000.0, 0, []
    for later, count in arrivals:
        now += later
        pacer.add([b"%d" % n for n in range(number, number + count)])
        number += count
        sent += [(now, request) for request in pacer.due(now)]
    while pacer.waiting:
        now += 1 / rate + 1e-9
        sent += [(now, request) for request in pacer.due(now)]
    assert [request for _, request in sent] == [b"%d" % n for n in range(number)]
    for n in range(len(sent)):
        for m in range(n, min(n + 60, len(sent))):
            span = sent[m][0] - sent[n][0]
            assert m - n + 1 <= 10 + rate * span + 1e-6

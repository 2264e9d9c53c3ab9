"""Pairing two sequences of states, against the textbook's longest common subsequence: every cell of the table."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from hypothesis import event, example, given
from hypothesis import strategies as st

from krakpot import _core

NEAREST = 1000
"""More candidates than a generated sequence has."""


class State(NamedTuple):
    """As ``align`` takes it."""

    group: int
    key: int
    time: int
    first: bool


def frame(states: list[State]) -> pl.DataFrame:
    """A sequence as columns."""
    schema = {"group": pl.UInt32, "key": pl.UInt64, "time": pl.Int64, "first": pl.Boolean}
    return pl.DataFrame(states, schema=schema, orient="row")


def align(left: list[State], right: list[State], window: int, nearest: int = NEAREST) -> list[tuple[int, int]]:
    """Pairs of the core."""
    pairs = pl.from_arrow(pa.record_batch(_core.align(frame(left), frame(right), window=window, nearest=nearest)))
    assert isinstance(pairs, pl.DataFrame)
    return pairs.rows()


def ascending(states: list[State]) -> list[State]:
    """Where a clock stepped back the latest time so far stands in."""
    times = itertools.accumulate((state.time for state in states), max)
    return [state._replace(time=time) for state, time in zip(states, times, strict=True)]


def allowed(left: list[State], right: list[State], window: int) -> set[tuple[int, int]]:
    """Every pair that the page of `align` allows; times ascend."""
    pairs = set()
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            near = abs(one.time - other.time) <= window
            # The state that the other sequence was in when the window of a life's first state began.
            was_right = one.first and [s.time < one.time - window for s in right[j : j + 2]] in ([True], [True, False])
            was_left = other.first and [s.time < other.time - window for s in left[i : i + 2]] in (
                [True],
                [True, False],
            )
            if one.key == other.key and (near or was_right or was_left):
                pairs.add((i, j))
    return pairs


def longest(left: int, right: int, pairs: set[tuple[int, int]]) -> int:
    """Length of the longest chain: the textbook's table."""
    table = [[0] * (right + 1) for _ in range(left + 1)]
    for i in range(left):
        for j in range(right):
            table[i + 1][j + 1] = max(table[i][j + 1], table[i + 1][j], table[i][j] + ((i, j) in pairs))
    return table[left][right]


keys = st.one_of(st.integers(0, 3), st.integers(0, 40))
steps = st.one_of(st.integers(0, 4), st.integers(-10, 60))


@st.composite
def sequences(draw: st.DrawFn) -> list[State]:
    """States of one group; few keys, so that they recur."""
    told = draw(st.lists(st.tuples(keys, steps, st.sampled_from([False] * 9 + [True])), max_size=40))
    times = itertools.accumulate(step for _, step, _ in told)
    return [State(0, key, time, first) for (key, _, first), time in zip(told, times, strict=True)]


@given(sequences(), sequences(), st.integers(0, 80))
@example([State(0, 1, 100, True)], [State(0, 1, 0, False), State(0, 2, 99, False)], 10)
@example([State(0, 1, 0, False)], [State(0, 1, 100, True)], 10)
def test_a_chain_is_as_long_as_the_textbook_s(left: list[State], right: list[State], window: int) -> None:
    """The chain grows in both sequences, has only pairs that may be, and no chain is longer."""
    pairs = align(left, right, window)
    left, right = ascending(left), ascending(right)
    may_be = allowed(left, right, window)
    event(f"{min(len(pairs), 10)} pairs or more")
    assert set(pairs) <= may_be
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
    assert len(pairs) == longest(len(left), len(right), may_be)


@given(sequences(), sequences(), st.integers(0, 80), st.integers(1, 3))
def test_fewer_candidates_never_break_a_rule(left: list[State], right: list[State], window: int, nearest: int) -> None:
    """With a bound on candidates the chain may be shorter, but it is a chain."""
    pairs = align(left, right, window, nearest)
    may_be = allowed(ascending(left), ascending(right), window)
    assert set(pairs) <= may_be
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
    assert bool(pairs) == bool(may_be)


@given(st.lists(sequences(), max_size=4), st.lists(sequences(), max_size=4))
def test_groups_do_not_meet(lefts: list[list[State]], rights: list[list[State]]) -> None:
    """Several groups in one call give what each gives alone."""
    left = [state._replace(group=group) for group, states in enumerate(lefts) for state in states]
    right = [state._replace(group=group) for group, states in enumerate(rights) for state in states]
    expected = []
    for group in range(min(len(lefts), len(rights))):
        i, j = (sum(map(len, all_[:group])) for all_ in (lefts, rights))
        expected += [(i + a, j + b) for a, b in align(lefts[group], rights[group], 20)]
    assert align(left, right, 20) == expected

"""Times of which nothing is known, and lines that stop there."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from krakpot.view.gaps import between, broken, unknown
from spans import spans, times


def test_gaps_have_the_reason_for_which_the_span_before_ended() -> None:
    """Before the first span it is ``absent``."""
    found = between(spans((10, 20, "mismatch"), (30, 40, "stopped")), 0, 50)
    assert found.equals(spans((0, 10, "absent"), (20, 30, "mismatch"), (40, 50, "stopped")))


def test_a_span_before_the_range_gives_the_reason() -> None:
    """It is not ``absent``: something was known once."""
    assert between(spans((0, 5, "gap"), (20, 30, "stopped")), 10, 25).equals(spans((10, 20, "gap")))


SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from("abc")), max_size=8)


@given(SPANS, st.integers(0, 30), st.integers(1, 30))
def test_each_moment_is_in_a_span_or_in_a_gap(rows: list[tuple[int, int, str]], begin: int, length: int) -> None:
    """Never in both, and every reason is that of the span that ended last before."""
    known = [(first, first + width, why) for first, width, why in rows]
    found = between(spans(*known), begin, begin + length).cast({"ts_from": pl.Int64, "ts_to": pl.Int64}).rows()
    for moment in range(begin, begin + length):
        inside = [why for first, until, why in found if first <= moment < until]
        covered = any(first <= moment < until for first, until, _ in known)
        assert len(inside) == (not covered)
        if inside:
            before = [(until, why) for _, until, why in known if until <= moment]
            allowed = {why for until, why in before if until == max(before)[0]} or {"absent"}
            assert inside[0] in allowed


def test_times_without_a_book_are_gaps_too() -> None:
    """Those that coverage does not explain, each run with its reason."""
    books = pl.DataFrame({"ts": times(0, 10, 20, 30, 40), "reason": [None, "unchecked", "unchecked", "gap", None]})
    found = unknown(books, spans((25, 38, "gap")), 50)
    assert found.equals(spans((10, 30, "unchecked"), (25, 38, "gap")))


def test_a_line_ends_where_a_gap_begins() -> None:
    """The last value holds until there, then comes a hole; also for a gap between two neighbouring times."""
    lines = pl.DataFrame({"ts": times(0, 10, 20, 30), "bid": [1.0, 2.0, 3.0, 4.0]})
    found = broken(lines, spans((12, 18, "gap")), 40)
    assert found["ts"].cast(pl.Int64).to_list() == [0, 10, 12, 12, 20, 30, 40, 40]
    assert found["bid"].to_list() == [1.0, 2.0, 2.0, None, 3.0, 4.0, 4.0, None]


def test_what_lies_inside_of_a_gap_is_not_drawn() -> None:
    """Even if the frame has a value there."""
    lines = pl.DataFrame({"ts": times(0, 10, 20), "bid": [1.0, 2.0, 3.0]})
    assert broken(lines, spans((5, 15, "gap")), 30)["bid"].to_list() == [1.0, 1.0, None, None, 3.0, 3.0, None]

"""Findings of a comparison: disagreements, classes of messages, what makes two channels equal."""

from __future__ import annotations

import polars as pl
import pytest

import sequences
from krakpot.compare.align import WINDOW, align
from krakpot.compare.report import BURSTS, burst, compare_channels, disagreements
from krakpot.compare.states import TIME

NO_LAG = pl.DataFrame(schema={"ts_recv": TIME, "count": pl.UInt64})


@pytest.mark.parametrize(("last", "left_out"), [(9_978, True), (9_970, False)])
def test_a_state_near_the_end_may_have_its_counterpart_beyond(last: int, left_out: bool) -> None:
    """Level 3 is later by 5 to 10 ms: what only the book channel has is left out where, at these latencies and as much
    more as they spread, level 3 would have said it after its end; before, it is missing.
    """
    common = [(100 * n, n) for n in range(1, 30)]
    derived = sequences.channel([(time + 5 + n % 6, n) for time, n in common], end=9_990)
    book = sequences.channel([*common, (last, 99)])
    compared = align(book, derived, "checksum", WINDOW)
    runs = disagreements(compared, book)
    assert compared.book["partner"].null_count() == 1
    assert bool(compared.book["compared"].to_list()[-1]) is not left_out
    assert runs["message"].to_list() == ([] if left_out else [29])
    if not left_out:
        assert (runs["ts_to"] - runs["ts_from"]).dt.total_milliseconds().to_list() == [10_000 - last]


def test_messages_are_classed_by_their_number_of_entries() -> None:
    """Each class begins at its smallest number."""
    entries = [0, 1, 2, 3, 4, 7, 8, 15, 16, 1000]
    found = pl.DataFrame({"book_entries": entries}).select(burst())["entries"].to_list()
    assert found == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16]
    assert set(found) == set(BURSTS)


def test_channels_are_equal_only_if_something_was_compared() -> None:
    """Equal sequences are equal; a missing state makes them unequal; so does a comparison of nothing."""
    common = [(100 * n, n) for n in range(1, 30)]
    book = sequences.channel(common)

    def equal(derived: list[tuple[int, int]], **span: int) -> bool:
        report = compare_channels(
            book, sequences.channel(derived, **span), lake="a", window=WINDOW, depths={"BTC/USD": 10}, loop=NO_LAG
        )
        return report.equal

    later = [(time + 5, n) for time, n in common]
    assert equal(later)
    assert not equal([one for one in later if one[1] != 15])
    assert not equal([(20_000 + time, n) for time, n in common], begin=20_000, end=30_000)


def test_caveats_tell_the_lag_of_the_recorder() -> None:
    """Median and maximum of the ledger's `lag` rows; without such rows the sentence says that it is not known."""
    book, derived = (sequences.channel([(0, 1), (1000 + n, 2)]) for n in range(2))
    lag = pl.DataFrame({"ts_recv": [0, 1, 2], "count": [1_000_000, 2_000_000, 9_000_000]}).cast(NO_LAG.schema)
    told, unknown = (
        compare_channels(book, derived, lake="a", window=WINDOW, depths={"BTC/USD": 10}, loop=loop).caveats()
        for loop in (lag, NO_LAG)
    )
    assert "lagged by at most 9.000 ms, by a median of 2.000 ms per second" in told[1]
    assert "not known" in unknown[1]

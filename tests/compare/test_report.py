"""Findings of a comparison: disagreements, classes of messages, what makes two channels equal."""

from __future__ import annotations

import polars as pl
import pytest

import sequences
from krakpot.compare.align import WINDOW, align
from krakpot.compare.report import BURSTS, burst, compare_channels, disagreements
from krakpot.compare.states import TIME

NO_LAG = pl.DataFrame(schema={"ts_recv": TIME, "count": pl.UInt64})


@pytest.mark.parametrize(("last", "left_out"), [(8_990, True), (8_970, False)])
def test_a_state_near_the_end_may_have_its_counterpart_beyond(last: int, left_out: bool) -> None:
    """Level 3 is later by 5 to 10 ms, and may once be later by a second more: what only the book channel has is left
    out where level 3 would then have said it after its end; before, it is missing.
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


def test_a_missing_state_near_the_end_is_missing_if_a_later_one_came() -> None:
    """Messages keep their order: what should have come before a state that came will not come any more. The same holds
    at the begin, and for both channels.
    """
    book = sequences.channel([(100 * n, n) for n in range(1, 100)])
    for absent in (2, 98):
        derived = sequences.channel([(100 * n + 5, n) for n in range(1, 100) if n != absent])
        for sides in ((book, derived), (derived, book)):
            compared = align(*sides, "checksum", WINDOW)
            whole = compared.book if sides[0] is book else compared.derived
            found = whole.filter(pl.col("checksum") == absent).select("compared", "partner").row(0)
            assert found == (True, None)


def test_a_wrong_checksum_leaves_the_state_before_it_missing() -> None:
    """A message that never came is what made the book wrong: this end is no reason to wait for a counterpart."""
    book = sequences.channel([(100 * n, n) for n in range(1, 100)])
    derived = sequences.channel([(100 * n + 5, n) for n in range(1, 98)], end=9_890, reason="mismatch")
    compared = align(book, derived, "checksum", WINDOW)
    missing = compared.book.filter(pl.col("compared") & pl.col("partner").is_null())
    assert missing["checksum"].to_list() == [98]


def test_states_after_the_last_pair_and_before_the_first_are_left_out_for_a_second() -> None:
    """Nothing tells whether the counterpart was only later than usual: neither channel disagrees."""
    book = sequences.channel([(100 * n, n) for n in range(1, 100)])
    derived = sequences.channel([(100 * n + 5, n) for n in range(3, 97)], begin=150)
    for sides in ((book, derived), (derived, book)):
        compared = align(*sides, "checksum", WINDOW)
        whole = compared.book if sides[0] is book else compared.derived
        assert whole.filter(~pl.col("compared"))["checksum"].to_list() == [1, 2, 97, 98, 99]


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

    def equal(derived: list[tuple[int, int]], begin: int = 0, end: int = 10_000) -> bool:
        report = compare_channels(
            book,
            sequences.channel(derived, begin, end),
            lake="a",
            window=WINDOW,
            depths={"BTC/USD": 10},
            loop=NO_LAG,
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

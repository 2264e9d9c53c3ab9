"""Units, texts and ticks."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakpot.values import nanoseconds
from krakpot.view import look

SECOND = 10**9
YEAR = 366 * look.DAY


def test_units_come_from_the_pair() -> None:
    """Quantities are in the base currency, prices in the quote currency."""
    assert look.units("ETH/EUR") == ("ETH", "EUR")


@pytest.mark.parametrize(
    ("value", "text"), [(0.1, "0.1"), (63381.5, "63,381.5"), (1e-12, "1e-12"), (0.0, "0"), (1e18, "1e+18"), (2.0, "2")]
)
def test_numbers_have_no_row_of_zeros(value: float, text: str) -> None:
    """They are short, and none that is not zero becomes it."""
    assert look.number(value) == text


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    """As prices of an exchange do."""
    assert look.numbers(pl.Series([100.0, 100.25, 1000.5])) == ["100.00", "100.25", "1,000.50"]


def test_what_is_not_whole_is_not_rounded_to_it() -> None:
    """A second that is missing in a month stays visible."""
    assert look.percent(1.0) == "100 %"
    assert look.percent(0.999999) == "99.99 %"


def test_times_keep_their_digits() -> None:
    """To the nanosecond, and without zeros."""
    ns = nanoseconds("2026-11-22T10:00:21.367893601Z")
    assert look.time(ns) == "2026-11-22 10:00:21.367893601 UTC"
    assert look.time(nanoseconds("2026-11-22")) == "2026-11-22 00:00:00 UTC"
    assert look.duration(2_440_000) == "2.44 ms"
    assert look.duration(7) == "7 ns"


@pytest.mark.parametrize(
    ("begin", "end", "first", "last", "title"),
    [
        ("2026-11-22T10:00:03", "2026-11-22T10:00:13", "10:00:04", "10:00:12", "2026-11-22"),
        ("2026-11-22T10:00:00", "2026-11-22T10:00:01", "10:00:00.0", "10:00:01.0", "2026-11-22"),
        ("2026-11-22T10:03", "2026-11-22T14:00", "10:30", "14:00", "2026-11-22"),
        ("2026-11-22T00:00", "2026-11-23T00:00", "00:00", "24:00", "2026-11-22"),
        ("2026-11-22T23:59:59", "2026-11-23T00:00", "23:59:59.0", "24:00:00.0", "2026-11-22"),
        ("2026-11-22T10:03", "2026-11-23T10:00", "11-22\n12:00", "11-23\n09:00", "2026"),
        ("2026-11-22T10:03", "2026-12-30T10:00", "11-23", "12-28", "2026"),
    ],
)
def test_ticks_of_time_are_short(begin: str, end: str, first: str, last: str, title: str) -> None:
    """What all ticks share is in the title of the axis; the midnight that ends its day is not the one before it."""
    _, texts, shared = look.ticks(nanoseconds(begin), nanoseconds(end))
    assert (texts[0], texts[-1]) == (first, last)
    assert shared == f"received, UTC, {title}"


@given(st.integers(0, 60 * YEAR), st.integers(1, 10 * YEAR))
def test_ticks_are_few_and_inside(begin: int, length: int) -> None:
    """For any time: up to ten, at equal distances, and their texts differ."""
    places, texts, _ = look.ticks(begin, begin + length)
    assert len(places) == len(texts) <= 10
    assert all(begin <= place <= begin + length for place in places)
    assert len({b - a for a, b in pairwise(places)}) <= 1
    if length < 300 * look.DAY:
        assert len(set(texts)) == len(texts)


def test_reasons_are_words() -> None:
    """Those that need it; a kind of the ledger else is its own name."""
    assert look.reason("mismatch") == "wrong checksum"
    assert look.reason("trade_gap") == "trade gap"


def test_reasons_of_gaps_can_be_told_apart() -> None:
    """By colour and hatch together, up to twenty; the same reasons always look the same."""
    kinds = [f"kind{i}" for i in range(20)]
    found = look.marks(kinds)
    assert len(set(found.values())) == len(found) == 21
    assert look.marks(reversed(kinds)) == found
    assert found["absent"][0] == look.GAP_EDGE

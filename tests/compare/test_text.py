"""Lines for people: numbers, shares, durations, and the report as a whole."""

from __future__ import annotations

import polars as pl
import pytest

import sequences
from krakpot.compare.align import WINDOW
from krakpot.compare.report import Report, compare_channels
from krakpot.compare.text import duration, lines, milliseconds, share


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (None, "-"), (0, "0 %"), (1, "100 %"), (0.5, "50.000 %"), (0.9999999, "99.999 %"), (1e-9, "0.001 %"),
    ],
)  # fmt: skip
def test_a_share_is_whole_only_if_nothing_is_missing(part: float | None, text: str) -> None:
    """One of a million missing states must not read as 100 %."""
    assert share(part) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    """Seconds, minutes, hours and minutes."""
    assert duration(seconds) == text


def test_nanoseconds_are_shown_as_milliseconds() -> None:
    """Three digits after the point are microseconds."""
    assert [milliseconds(ns) for ns in (None, 0, -1_500_000, 12_345_678_901)] == ["-", "0.000", "-1.500", "12,345.679"]


def report(derived: list[tuple[int, int]], begin: int = 0, end: int = 10_000) -> Report:
    """A comparison of thirty book states with these level-3 states."""
    book = sequences.channel([(100 * n, n) for n in range(1, 31)])
    loop = pl.DataFrame(schema={"ts_recv": pl.Datetime("ns", "UTC"), "count": pl.UInt64})
    channel = sequences.channel(derived, begin, end)
    return compare_channels(book, channel, lake="a", window=WINDOW, depths={"BTC/USD": 10}, loop=loop)


def test_the_last_line_is_the_answer() -> None:
    """The same; not the same, with the place of the difference; nothing to compare."""
    later = [(100 * n + 5, n) for n in range(1, 31)]
    assert lines(report(later))[-1] == "the same"
    different = lines(report([one for one in later if one[1] != 15]))
    assert different[-1] == "not the same"
    assert any(line.startswith("differ: top ten levels, 1 time; longest: BTC/USD from ") for line in different)
    apart = report([(20_000 + time, n) for time, n in later], begin=20_000, end=30_000)
    assert lines(apart)[-1].startswith("nothing could be compared")

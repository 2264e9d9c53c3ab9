"""Times as notebooks hold them: each form gives the same nanoseconds, and what is no time is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
import pytest

from krakpot.errors import ConfigError
from krakpot.lake.times import TIME, times_of
from krakpot.values import nanoseconds

TEXTS = ["2026-08-02T03:35:50.123456789", "2026-01-01", "2026-08-02T03:35:50.123456789"]
EXACT = [nanoseconds(text) for text in TEXTS]
WHOLE = [nanoseconds(text) for text in ("2026-08-02", "2026-01-01")]


def test_the_same_times_in_any_form() -> None:
    """Not a digit is lost, the order is kept, and zones count."""
    forms: list[Any] = [
        TEXTS,
        tuple(EXACT),
        (text for text in TEXTS),
        pl.Series(TEXTS),
        pl.Series(EXACT),
        pl.Series(EXACT).cast(pl.Datetime("ns")),
        pl.Series(EXACT).cast(TIME).dt.convert_time_zone("Europe/Berlin"),
        np.array(TEXTS, dtype="datetime64[ns]"),
        np.array(TEXTS),
        np.array(EXACT),
        list(np.array(TEXTS, dtype="datetime64[ns]")),
    ]
    for form in forms:
        found = times_of(form, "at")
        assert (found.dtype, found.to_physical().to_list()) == (TIME, EXACT), form
    whole: list[Any] = [
        [date(2026, 8, 2), datetime(2026, 1, 1, tzinfo=UTC)],
        [datetime(2026, 8, 2, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T00:00Z"],
        pl.Series([date(2026, 8, 2), date(2026, 1, 1)]),
        np.array(["2026-08-02", "2026-01-01"], dtype="datetime64[D]"),
        np.array(["2026-08-02", "2026-01-01"], dtype="datetime64[s]"),
        np.array(["2026-08-02", "2026-01-01"], dtype="datetime64[ms]"),
    ]
    for form in whole:
        assert times_of(form, "at").to_physical().to_list() == WHOLE, form
    alone: list[Any] = ["2026-08-02", date(2026, 8, 2), np.datetime64("2026-08-02"), WHOLE[0]]
    for one in alone:
        assert times_of(one, "at").to_physical().to_list() == WHOLE[:1]
    empty: list[Any] = [[], pl.Series([]), np.array([]), pl.Series(dtype=pl.Date)]
    for none in empty:
        found = times_of(none, "at")
        assert (found.dtype, len(found)) == (TIME, 0)


def test_columns_and_indexes_of_pandas() -> None:
    """With and without a zone, as texts, and with an index of any kind."""
    pd = pytest.importorskip("pandas")
    index = pd.DatetimeIndex(TEXTS)
    berlin = index.tz_localize("UTC").tz_convert("Europe/Berlin")
    for form in (index, berlin, pd.Series(index), pd.Series(berlin, index=[7, 7, 8]), pd.Series(TEXTS), list(index)):
        assert times_of(form, "at").to_physical().to_list() == EXACT, form
    with pytest.raises(ConfigError, match="at: 1 of 2 times are missing"):
        times_of(pd.Series([pd.NaT, index[0]]), "at")
    with pytest.raises(ConfigError, match="at: 1.5 is a float"):
        times_of(pd.Series([1.5]), "at")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "None is not a time"),
        (1.5, "1.5 is a float, which cannot hold nanoseconds"),
        ([1.5], "1.5 is a float"),
        (np.array([1.5]), "1.5 is a float"),
        (pl.Series([1.5]), "1.5 is a float"),
        ([True], "True is not a time"),
        (np.array([True]), "values of type Boolean are not times"),
        (b"2026", "b'2026' is not a time"),
        ([[1]], r"\[1\] is not a time"),
        (["soon"], "'soon' is not a time"),
        (np.array(["NaT", "2026-01-01"], dtype="datetime64[ns]"), "1 of 2 times are missing; drop them first"),
        (np.array(["9999-01-01"], dtype="datetime64[D]"), "out of range; times from 1678 to 2261"),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), "out of range; times from 1678 to 2261"),
        (["9999-01-01"], "out of range"),
        (np.array([[1, 2]]), "is not a time"),
    ],
)
def test_what_is_no_time(wrong: Any, words: str) -> None:
    """A sentence with the name of the argument."""
    with pytest.raises(ConfigError, match=f"^at: .*{words}"):
        times_of(wrong, "at")

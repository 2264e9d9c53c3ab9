"""Returns, volatility and impact against plain loops."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import polars as pl
import pytest

import bookframes
import frames
from krakpot import ConfigError
from krakpot.features import books, prices

RANDOM = random.Random(5)


@pytest.fixture
def frame() -> pl.DataFrame:
    """Sixty seconds of two pairs; one has gaps, and a stretch in which nobody traded."""
    rows: list[bookframes.Row] = []
    for n in range(60):
        for symbol in ("A", "B"):
            price = 100 + RANDOM.random()
            gap = symbol == "A" and n in (20, 21, 40)
            sides = ((), ()) if gap else (((price - 1, 1.0),), ((price + 1, 1.0),))
            rows.append((symbol, frames.START + n * frames.SECOND, "gap" if gap else None, *sides))
    made = books.mid(bookframes.books(rows, 1))
    flow = [0.0 if 90 <= n < 110 else RANDOM.uniform(-2, 2) for n in range(120)]
    return made.with_columns(signed_volume=pl.Series(flow))


def windows(frame: pl.DataFrame, column: str, at: int, window: int) -> list[dict[str, float]] | None:
    """The last rows of the same symbol, one more than the window; None across a gap."""
    rows = [row for row in frame[: at + 1].iter_rows(named=True) if row["symbol"] == frame["symbol"][at]]
    some = rows[-window - 1 :]
    return some if len(some) == window + 1 and all(row[column] is not None for row in some) else None


def test_volatility_and_impact_are_those_of_plain_loops(frame: pl.DataFrame) -> None:
    """Of the last five rows, of one run."""
    found = prices.kyle_lambda(prices.realised_volatility(prices.log_return(frame), 5), 5)
    known = 0
    for at, row in enumerate(found.iter_rows(named=True)):
        some = windows(frame, "mid", at, 1)
        assert row["log_return"] == (some and pytest.approx(math.log(some[1]["mid"] / some[0]["mid"])))
        some = windows(frame, "mid", at, 5)
        if some is None:
            assert row["realised_volatility"] is row["kyle_lambda"] is None
            continue
        known += 1
        changes = [b["mid"] - a["mid"] for a, b in itertools.pairwise(some)]
        returns = [math.log(b["mid"] / a["mid"]) for a, b in itertools.pairwise(some)]
        flow = [one["signed_volume"] for one in some[1:]]
        assert row["realised_volatility"] == pytest.approx(math.sqrt(sum(one**2 for one in returns)))
        if len(set(flow)) == 1:
            assert row["kyle_lambda"] is None, "nobody traded: nothing is known of the impact"
        else:
            assert row["kyle_lambda"] == pytest.approx(statistics.linear_regression(flow, changes).slope)
    assert known > 70
    assert found.columns == [*frame.columns, "log_return", "realised_volatility", "kyle_lambda"]


def test_windows_that_are_none(frame: pl.DataFrame) -> None:
    """One sentence."""
    with pytest.raises(ConfigError, match="window=0 is not allowed; allowed is a whole number from 1 on"):
        prices.realised_volatility(frame, 0)
    with pytest.raises(ConfigError, match="window=1 is not allowed; allowed is a whole number from 2 on"):
        prices.kyle_lambda(frame, 1)
    with pytest.raises(ConfigError, match="the frame has no column 'close'"):
        prices.log_return(frame, "close")

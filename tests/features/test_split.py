"""Parts of a frame: no label of one reaches into the next."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bookframes
import frames
from krakpot import ConfigError
from krakpot.features.frames import TIME
from krakpot.features.split import split


@given(
    rows=bookframes.rows(most=60),
    purge=st.integers(0, 20),
    embargo=st.integers(0, 20),
    parts=st.sampled_from([(0.5, 0.5), (0.6, 0.2, 0.2), (0.1, 0.2, 0.3, 0.4)]),
)
def test_label_windows_of_parts_are_disjoint(
    rows: list[bookframes.Row], purge: int, embargo: int, parts: tuple[float, ...]
) -> None:
    """[ts, ts + purge] of any row of a part ends before the next part begins, embargo and all."""
    frame = bookframes.books(rows)
    width = frames.SECOND
    try:
        found = split(frame, parts, purge=f"{purge * width}ns", embargo=f"{embargo * width}ns")
    except ConfigError:
        # Too short a frame for these parts: no part is given.
        borders = frame.filter(pl.col("reason").is_null())["ts"].n_unique()
        assert borders < len(parts) or borders * min(parts) <= purge + embargo + len(parts) + 1
        return
    assert len(found) == len(parts)
    for part, after in itertools.pairwise(found):
        last = part["ts"].dt.epoch("ns").max()
        first = after["ts"].dt.epoch("ns").min()
        assert last + (purge + embargo) * frames.SECOND < first  # type: ignore[operator]  # both have rows
    taken = pl.concat(found)
    assert taken.equals(
        frame.join(taken.select("symbol", "ts"), on=["symbol", "ts"], how="semi", maintain_order="left")
    )
    if purge == embargo == 0:
        assert taken.equals(frame), "nothing is left out, and the order is kept"


def steps(count: int, gap: range = range(0)) -> pl.DataFrame:
    """A row each second; in the gap without data."""
    rows = [(frames.START + n * frames.SECOND, "gap" if n in gap else None) for n in range(count)]
    schema = {"ts": pl.Int64, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("ts").cast(TIME))


def test_a_gap_does_not_use_up_a_part() -> None:
    """Half of what is known: 40 seconds before the gap, 40 after it."""
    train, test = split(steps(140, range(40, 100)), (0.5, 0.5), purge=0)
    assert (train["reason"].is_null().sum(), test["reason"].is_null().sum()) == (40, 40)
    assert train["ts"].max() < test["ts"].min()  # type: ignore[operator]  # both have rows


def test_parts_by_time() -> None:
    """At given times; the purge takes the rows before, the embargo those after."""
    first, second, third = split(
        steps(100), at=[frames.START + 50 * frames.SECOND, "2026-08-02T03:37:00"], purge="5s", embargo="2s"
    )
    assert [part.height for part in (first, second, third)] == [45, 20 - 5 - 2, 30 - 2]
    assert [part.height for part in split(steps(100), at="2026-08-02T03:37:00", purge=0)] == [70, 30], "one time"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parts": (0.5, 0.4)}, "parts=(0.5, 0.4) is not allowed; allowed are two or more shares that add up to 1"),
        ({"parts": (1,)}, "parts=1 is not allowed"),
        ({"parts": 0.7}, "parts=0.7 is not allowed; allowed are two or more shares that add up to 1"),
        ({"parts": (0.5, 0.5), "at": [frames.START]}, "give either parts, the shares, or at, the times"),
        ({"at": "noon"}, "at: 'noon' is not a time"),
        ({"parts": (1.5, -0.5)}, "parts=(1.5, -0.5) is not allowed"),
        ({"at": []}, "at=[] is not allowed; allowed are one or more times"),
        ({"at": [frames.START + 1, frames.START]}, "at=[17"),
        ({"at": [5, 4]}, "at: 5 is taken as nanoseconds since 1970"),
        ({"purge": 2}, "purge=2 has no unit; write '2s'"),
        ({"at": ["noon"]}, "at: 'noon' is not a time"),
        ({"purge": "1x"}, "purge='1x' is not allowed; write for example"),
        ({"embargo": -1}, "embargo=-1 is not allowed"),
        ({"purge": "1h"}, "part 1 of 3 has no rows; give a longer frame, other parts or a shorter purge"),
    ],
)
def test_parts_that_are_none(options: dict[str, object], sentence: str) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        split(steps(100), **{"purge": 0, **options})  # type: ignore[arg-type]  # wrong on purpose
    assert sentence in str(caught.value)
    with pytest.raises(ConfigError, match="data at 1 times, which cannot be divided into 3 parts"):
        split(steps(1), purge=0)

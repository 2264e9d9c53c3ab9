"""Labels against a plain model, by time, and null where the future is not known."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bookframes
import frames
from krakpot import ConfigError
from krakpot.features import books, labels


def future(rows: list[bookframes.Row], at: int, horizon: int) -> list[bookframes.Row] | None:
    """The row and those after it up to the horizon, of its symbol; None if that is not known."""
    symbol, ts, reason, *_ = rows[at]
    if reason:
        return None
    found = [rows[at]]
    for row in rows[at + 1 :]:
        if row[0] != symbol:
            continue
        if row[2]:
            return None
        if row[1] >= ts + horizon:
            return [*found, row] if row[1] == ts + horizon else found
        found.append(row)
    return None


def mid(row: bookframes.Row) -> float | None:
    """The mid, if both sides have a level."""
    return (row[3][0][0] + row[4][0][0]) / 2 if row[3] and row[4] else None


@given(rows=bookframes.rows(), seconds=st.integers(1, 8))
def test_the_future_mid_is_the_plain_model_s(rows: list[bookframes.Row], seconds: int) -> None:
    """The last mid at or before the horizon."""
    frame = bookframes.books(rows)
    found = labels.future_mid(frame, [f"{seconds}s", timedelta(seconds=2)])
    assert found.columns == [*frame.columns, f"future_mid_{seconds}s", f"future_mid_{2 * frames.SECOND}ns"]
    for name, width in ((f"{seconds}s", seconds), (f"{2 * frames.SECOND}ns", 2)):
        expected = [future(rows, at, width * frames.SECOND) for at in range(len(rows))]
        assert found[f"future_mid_{name}"].to_list() == [some and mid(some[-1]) for some in expected]


@given(
    rows=bookframes.rows(most=40),
    seconds=st.integers(1, 40),
    up=st.sampled_from([0.001, 0.02, 0.05]),
    down=st.sampled_from([0.001, 0.02, 0.05]),
)
def test_the_barrier_touched_first_is_the_plain_model_s(
    rows: list[bookframes.Row], seconds: int, up: float, down: float
) -> None:
    """Row by row until one is touched, or the horizon ends."""
    frame = bookframes.books(rows)
    found = labels.triple_barrier(frame, up, down, f"{seconds}s")
    expected: list[tuple[int | None, int | None]] = []
    for at, row in enumerate(rows):
        some, begin = future(rows, at, seconds * frames.SECOND), mid(row)
        if some is None or begin is None:
            expected.append((None, None))
            continue
        touched = (0, row[1] + seconds * frames.SECOND)
        for later in some[1:]:
            price = mid(later)
            if price is not None and (price >= begin * (1 + up) or price <= begin * (1 - down)):
                touched = (1 if price > begin else -1, later[1])
                break
        expected.append(touched)
    assert found.select("barrier", pl.col("barrier_at").dt.epoch("ns")).rows() == expected
    assert found.columns == [*frame.columns, "barrier", "barrier_at"]


def test_a_long_horizon_needs_few_steps_and_is_right() -> None:
    """Thousands of rows in a horizon: the first of them at the barrier is found."""
    rows: list[bookframes.Row] = [
        ("A", frames.START + n * frames.SECOND, None, ((100.0 + n / 1000, 1.0),), ((100.0 + n / 1000, 1.0),))
        for n in range(5000)
    ]
    found = labels.triple_barrier(bookframes.books(rows, 1), 0.02, 0.02, "4000s")
    assert found["barrier"].to_list() == [1] * 1000 + [None] * 4000
    assert (found["barrier_at"].dt.epoch("s")[0] - frames.START // frames.SECOND) == 2000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 0.1, "1s"), "up=0 is not allowed; allowed is a share of the price, as 0.001"),
        ((0.1, 1, "1s"), "down=1 is not allowed"),
        ((0.1, 0.1, "soon"), "horizon='soon' is not allowed; write for example '100ms', '1s' or '5m'"),
    ],
)
def test_barriers_that_are_none(arguments: tuple[float, float, str], sentence: str) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        labels.triple_barrier(bookframes.books([]), *arguments)
    assert str(caught.value).startswith(sentence)


def test_labels_of_an_empty_frame() -> None:
    """The columns are there; a frame with its own mid needs no book."""
    frame = books.mid(bookframes.books([])).select("symbol", "ts", "mid")
    assert labels.future_mid(frame, ["1s"]).columns == ["symbol", "ts", "mid", "future_mid_1s"]
    assert labels.future_mid(frame, "1s").columns[3:] == ["future_mid_1s"], "one horizon is no list of letters"
    assert labels.triple_barrier(frame, 0.1, 0.1, "1s").height == 0
    with pytest.raises(ConfigError, match=r"horizons=1 has no unit; write '1s'"):
        labels.future_mid(frame, [1])  # type: ignore[list-item]  # what is refused
    pandas = pytest.importorskip("pandas")
    for function in (labels.future_mid, books.mid):
        with pytest.raises(ConfigError, match=r"a pandas.DataFrame is not allowed; give polars.from_pandas\(frame\)"):
            function(pandas.DataFrame({"ts": [1]}))
    with pytest.raises(ConfigError, match="horizons='0s' is not allowed"):
        labels.future_mid(frame, ["0s"])

"""Runs: no row of a run is on the other side of a gap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bookframes
import frames
from krakpot import ConfigError
from krakpot.features.frames import TIME, runs, spans


def coverage(listed: Sequence[tuple[str, str, float, float]]) -> pl.DataFrame:
    """Coverage as a lake gives it, in seconds after the start."""
    schema = {"channel": pl.String, "symbol": pl.String, "ts_from": pl.Int64, "ts_to": pl.Int64}
    rows = [
        (channel, symbol, *(frames.START + int(at * frames.SECOND) for at in (a, b)))
        for channel, symbol, a, b in listed
    ]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("ts_from", "ts_to").cast(TIME))


def seconds(known: pl.DataFrame) -> list[tuple[object, ...]]:
    """Spans in seconds after the start."""
    return known.with_columns((pl.col("ts_from", "ts_to").dt.epoch("ns") - frames.START) // frames.SECOND).rows()


def test_spans_of_several_sessions_are_one() -> None:
    """Those that overlap or touch; an empty span and another channel count nothing."""
    mine = [(0, 10), (5, 20), (20, 30), (2, 8), (31, 40), (33, 33)]
    listed = [("book", "A", *span) for span in mine] + [("trade", "A", 0, 99), ("book", "B", 1, 2)]
    assert seconds(spans(coverage(listed), "book")) == [("A", 0, 30), ("A", 31, 40), ("B", 1, 2)]


@given(rows=bookframes.rows(), cuts=st.lists(st.integers(0, 60), max_size=6, unique=True))
def test_runs_are_the_plain_model_s(rows: list[bookframes.Row], cuts: list[int]) -> None:
    """Two rows are in one run exactly if both have data and no gap lies between them, seen or not seen by a row."""
    edges = [-0.5, *sorted(cuts), 200]
    # After each cut half a second is not known.
    known = coverage(
        [("book", symbol, a + 0.5, b) for symbol in bookframes.SYMBOLS for a, b in itertools.pairwise(edges)]
    )
    found = runs(bookframes.books(rows), spans(known, "book")).select("symbol", "ts", "reason", "run").rows()
    for symbol in bookframes.SYMBOLS:
        mine = [
            (int(ts.timestamp()) - frames.START // frames.SECOND, why, run)
            for name, ts, why, run in found
            if name == symbol
        ]
        for (at, why, run), (later, reason, after) in itertools.pairwise(mine):
            assert (run is None) == (why is not None or at in cuts)
            if run is not None and after is not None:
                assert (run == after) == (not any(at < cut < later for cut in cuts)), (at, later, reason)
        numbers = [run for *_, run in mine if run is not None]
        assert numbers == sorted(numbers)


def test_a_frame_without_symbols_needs_spans_of_one() -> None:
    """Else it is not known whose they are."""
    frame = bookframes.books([("A", frames.START + frames.SECOND, None, (), ())]).drop("symbol")
    known = spans(coverage([("book", "A", 0, 10), ("book", "B", 0, 10)]), "book")
    with pytest.raises(ConfigError, match="the spans are of several; filter them by symbol"):
        runs(frame, known)
    assert runs(frame, known.filter(symbol="A"))["run"].to_list() == [0]
    assert runs(frame.with_columns(run=pl.lit(7)), known)["run"].to_list() == [7], "what is there stays"

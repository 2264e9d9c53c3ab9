"""States and sync spans: which parts are read for a range, and how spans of several sessions follow each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import frames
import lakes
import sequences
from channels import MS
from krakpot.compare import compare
from krakpot.compare import states as states_of
from krakpot.lake import seal
from krakpot.lake.format import Part
from krakpot.lake.messages import PartReader


def test_a_late_range_reads_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six hours the last is compared: books begin with their checkpoints, so that early parts are not read, and the
    states are those of the whole.
    """
    minutes = 60 * frames.SECOND
    timed = lakes.market(720, step=minutes // 2, level3=True)
    recorder = lakes.Recorder(tmp_path / "lake", interval=1800.0)
    for i in range(0, len(timed), 20):
        recorder.take(timed[i : i + 20])
        recorder.session.tick(recorder.session.now)
    recorder.end()
    seal.recover(tmp_path / "lake")
    opened: list[int] = []
    plain = PartReader.read

    def read(self: PartReader, parts: Iterable[Part], table: str, *more: Any, **options: Any) -> pl.DataFrame:
        listed = list(parts)
        opened.extend(part.number for part in listed)
        return plain(self, listed, table, *more, **options)

    monkeypatch.setattr(PartReader, "read", read)
    late = timed[-1][0] - 60 * minutes
    states = []
    for run_up in (states_of.RUN_UP, states_of.RUN_UP * 10):
        monkeypatch.setattr(states_of, "RUN_UP", run_up)
        opened.clear()
        report = compare.compare(tmp_path / "lake", start=late)
        kept = report.book.states.filter(pl.col("ts_recv").dt.epoch("ns") >= late)
        states.append((len(set(opened)), kept.select("symbol", "message", "checksum", "full").rows()))
    assert states[0][0] < states[1][0] - 4, "early parts are left alone"
    assert states[0][1] == states[1][1]
    assert len(states[0][1]) > 50


def test_a_clipped_span_begins_with_the_state_of_that_time() -> None:
    """The range begins between two messages: the state that the book had then is kept, the one before is not."""
    whole = sequences.channel([(0, 1), (1000, 2), (2000, 3), (3000, 4)])
    spans = whole.spans.drop("place")
    begin = frames.START + 1500 * MS
    clipped = states_of.sequence(states_of.Channel(whole.states.drop("place"), spans), begin, begin + 1000 * MS)
    assert clipped.states["checksum"].to_list() == [2, 3]
    bounds = clipped.spans.select(pl.col("ts_from", "ts_to").dt.epoch("ns")).row(0)
    assert bounds == (begin, begin + 1000 * MS - 1)
    assert clipped.spans["reason"].to_list() == [None], "what ended the span came after the range"


def test_symbols_are_read_in_groups_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group ends before it exceeds the limit; a symbol that exceeds it alone has a group of its own."""
    monkeypatch.setattr(states_of, "ROWS_MAX", 10)
    assert states_of.groups({"a": 4, "b": 6, "c": 1, "d": 30, "e": 2}) == [["a", "b"], ["c"], ["d"], ["e"]]

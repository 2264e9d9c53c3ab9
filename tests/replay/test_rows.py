from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frames
import lakes
from krakpot import _core
from krakpot.lake import seal
from krakpot.lake.compact import compact
from krakpot.lake.folder import Folder
from krakpot.lake.messages import PartReader
from krakpot.replay import rows
from krakpot.replay.rows import NOT_OF_THE_FEED, SessionRows

SESSION = "019e0000-0000-7000-8000-000000000000"
SYMBOLS = {"book": ["BTC/USD", "ETH/USD"], "trades": ["ETH/USD"]}


class Windows:
    """What a window is made of, instead of the core's."""

    made: list[dict[str, pl.DataFrame]]

    def __call__(self, tables: dict[str, pl.DataFrame], **_: Any) -> Windows:
        self.made.append(tables)
        return self


def tables_of(
    lake: Path, monkeypatch: pytest.MonkeyPatch, first: int = 0, symbols: dict[str, list[str]] = SYMBOLS
) -> list[dict[str, pl.DataFrame]]:
    """The tables of all windows."""
    windows = Windows()
    windows.made = []
    monkeypatch.setattr(_core, "ReplayWindow", windows)
    view = Folder(lake).look(["book", "trades", "checkpoints", "ledger", "status"])
    list(SessionRows(view, SESSION, symbols, first=first).windows())
    return windows.made


def recorded(lake: Path, messages: int, *, unsealed: bool) -> None:
    """A lake of several parts; ``unsealed``: the last of them are still journals."""
    recorder = lakes.Recorder(lake, SESSION, interval=2.0)
    market = lakes.market(messages)
    for at in range(0, messages, 20):
        recorder.take(market[at : at + 20])
    if not unsealed:
        recorder.end()
        seal.recover(lake)
        return
    for path in recorder.closed[:-1]:
        seal.seal(lake, path)
    recorder.die()


def test_the_end_of_a_session_that_could_not_connect_at_first(tmp_path: Path) -> None:
    """A sealed part of the ledger without any message hides nothing: what is recorded later moves the end."""
    recorder = lakes.Recorder(tmp_path / "lake", SESSION, interval=0.001)
    for at in range(2):
        recorder.session.add_ledger_row("refused", frames.START + at * frames.SECOND, channel="connection")
        recorder.flush(frames.START + at * frames.SECOND)
    for path in recorder.closed:
        seal.seal(recorder.lake, path)
    assert lakes.rows(recorder.lake, "ledger")["message"].is_null().all()
    ends = []
    for part in (lakes.market(100), lakes.market(200)[100:]):
        recorder.take(part)
        view = Folder(recorder.lake).look(["book", "trades", "checkpoints", "ledger", "status"])
        ends.append(SessionRows(view, SESSION, SYMBOLS).until)
    recorder.die()
    assert 0 < ends[0] < ends[1] < 10_000


@pytest.mark.parametrize("size", [1, 37, 1000, 10**9])
@pytest.mark.parametrize("unsealed", [False, True])
def test_every_row_is_in_one_window_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, unsealed: bool
) -> None:
    """Whatever the size of the windows: all rows of the symbols, none twice, each message in one window."""
    monkeypatch.setattr(rows, "ROWS", size)
    recorded(tmp_path / "lake", 200, unsealed=unsealed)
    made = tables_of(tmp_path / "lake", monkeypatch)
    assert (len(made) > 5) == (size < 1000)
    whole = Folder(tmp_path / "lake").look(["book", "trades", "checkpoints", "ledger", "status"])
    for table in ("book", "trades", "ledger", "status"):
        found = pl.concat([tables[table] for tables in made if table in tables])
        expected = whole.scan(table).collect()
        if table in SYMBOLS:
            expected = expected.filter(pl.col("symbol").is_in(SYMBOLS[table]))
        if table == "ledger":
            expected = expected.filter(~pl.col("kind").is_in(NOT_OF_THE_FEED))
            asked = {("book", "BTC/USD"), ("book", "ETH/USD"), ("trade", "ETH/USD")}
            whose = zip(expected["channel"], expected["symbol"], strict=True)
            expected = expected.filter([channel is None or (channel, symbol) in asked for channel, symbol in whose])
        expected = expected.sort("message", "entry", nulls_last=False).select(found.columns)
        assert found.equals(expected), table
        numbers = [set(tables[table]["message"].to_list()) for tables in made if table in tables]
        assert sum(map(len, numbers)) == len(set().union(*numbers)), "no message is in two windows"


@pytest.mark.parametrize("size", [1, 37, 10**9])
@pytest.mark.parametrize("first", [0, 61])
def test_parts_of_one_symbol_are_cut_between_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, first: int
) -> None:
    """Row groups that are read whole give each row once; no message is in two chunks, even if in two row groups."""
    lake = tmp_path / "lake"
    recorded(lake, 200, unsealed=False)
    split = 0
    for path in sorted(lake.glob("book/*/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        table = table.filter(pc.equal(table["symbol"], "BTC/USD"))
        pq.write_table(table, path, row_group_size=7)
        messages = table["message"].to_pylist()
        split += sum(messages[at - 1] == messages[at] for at in range(7, len(messages), 7))
    assert split, "no message lies in two row groups"
    monkeypatch.setattr(rows, "ROWS", size)
    read = PartReader.read
    asked: list[tuple[int, int]] = []

    def reading(*arguments: Any, **options: Any) -> pl.DataFrame:
        asked.extend([options["rows"]] if options.get("rows") else [])
        return read(*arguments, **options)

    monkeypatch.setattr(PartReader, "read", reading)
    made = tables_of(lake, monkeypatch, first, {"book": ["BTC/USD"]})
    assert asked, "no row group was read whole"
    found = [tables["book"] for tables in made if "book" in tables]
    expected = lakes.rows(lake, "book").filter(pl.col("message") >= first)
    assert pl.concat(found).equals(expected.select(found[0].columns))
    numbers = [set(chunk.to_list()) for frame in found for chunk in frame["message"].get_chunks()]
    assert sum(map(len, numbers)) == len(set().union(*numbers)), "no message is in two chunks"


def test_a_compacted_day_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a compacted day hold the messages of the whole day, by symbol."""
    recorded(tmp_path / "lake", 300, unsealed=False)
    monkeypatch.setattr(rows, "ROWS", 100)
    before = tables_of(tmp_path / "lake", monkeypatch)
    compact(tmp_path / "lake", grace=0)
    after = tables_of(tmp_path / "lake", monkeypatch)
    for table in ("book", "trades"):
        one, other = (pl.concat([t[table] for t in made if table in t]) for made in (before, after))
        assert one.equals(other)


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 230))
def test_it_begins_with_any_message(tmp_path_factory: pytest.TempPathFactory, first: int) -> None:
    """Nothing before it comes, and all from it on."""
    lake = tmp_path_factory.mktemp("rows") / "lake"
    recorded(lake, 200, unsealed=False)
    with pytest.MonkeyPatch.context() as patch:
        made = tables_of(lake, patch, first)
    found = [number for tables in made if "book" in tables for number in tables["book"]["message"]]
    expected = [number for number in lakes.rows(lake, "book")["message"] if number >= first]
    assert found == expected

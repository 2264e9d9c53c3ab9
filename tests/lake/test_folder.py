"""What is in a lake at one moment: parts, and journals that are not sealed yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

import frames
import lakes
from krakpot import _core
from krakpot.lake import journal, seal
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import Part

SECOND = frames.SECOND


def recording(lake: Path, flushes: int = 6) -> lakes.Recorder:
    """A recorder that has written some flushes and goes on; a journal has two of them."""
    timed = lakes.market(60 * flushes)
    recorder = lakes.Recorder(lake, interval=2.0)
    for n in range(flushes):
        recorder.take(timed[60 * n : 60 * (n + 1)])
    return recorder


def all_rows(view: View, table: str) -> pl.DataFrame:
    """Rows of the parts and the journals of a view, in an order by which frames can be compared."""
    parts = [pl.read_parquet(part.path, hive_partitioning=False) for part in view.of(table)]
    found = pl.concat([*view.unsealed(table), *parts])
    if table == "ledger":
        found = found.filter(pl.col("entry") < 2**31)
    return lakes.by_place(found)


def test_sealed_and_unsealed_rows_are_the_recording(tmp_path: Path) -> None:
    """Before, during and after sealing: each row once, none missing, in all tables."""
    lake = tmp_path / "lake"
    recorder = recording(lake)
    tables = [table for table in _core.TABLES if list(Folder(lake).look().unsealed(table))]
    assert len(tables) > 4
    want = {table: all_rows(Folder(lake).look(), table) for table in tables}
    seen = 0

    def look(_: str) -> None:
        nonlocal seen
        seen += 1
        view = Folder(lake).look()
        for table in tables:
            assert all_rows(view, table).equals(want[table]), table

    seal.recover(lake, step=look)
    look("")
    assert seen > 20
    assert len(Folder(lake).look().journals) == 1
    recorder.end()


def test_a_journal_that_is_sealed_meanwhile_is_read_from_its_parts(tmp_path: Path) -> None:
    """Between the look and the reading, or while it is read: the rows are the same."""
    lake = tmp_path / "lake"
    recorder = recording(lake)
    recorder.end()
    view = Folder(lake).look()
    assert (len(view.journals) > 2, view.parts) == (True, [])
    want = pl.concat(view.unsealed("book"))
    reading = view.unsealed("book")
    first = next(reading)
    seal.recover(lake)
    assert not Folder(lake).look().journals
    assert lakes.by_place(pl.concat([first, *reading])).equals(lakes.by_place(want))
    assert lakes.by_place(pl.concat(view.unsealed("book"))).equals(lakes.by_place(want))


def test_the_torn_end_of_a_journal_is_left_out(tmp_path: Path) -> None:
    """A recorder is writing a block: the flushes before it are read."""
    lake = tmp_path / "lake"
    recorder = lakes.Recorder(lake)
    timed = lakes.market(200)
    recorder.take(timed[:100])
    path = recorder.writer.path
    assert path is not None
    before = path.read_bytes()
    want = pl.concat(Folder(lake).look().unsealed("book"))
    recorder.take(timed[100:])
    data = path.read_bytes()
    copy = Path(shutil.copytree(lake, tmp_path / "copy"))
    for cut in (len(before), len(before) + 1, len(before) + 9, len(before) + 500, len(data) - 1):
        (copy / path.relative_to(lake)).write_bytes(data[:cut])
        assert pl.concat(Folder(copy).look().unsealed("book")).equals(want), cut
    assert pl.concat(Folder(lake).look().unsealed("book")).height > want.height
    recorder.end()


def test_only_some_columns_symbols_and_sessions(tmp_path: Path) -> None:
    """What is not wanted is not given."""
    lake = tmp_path / "lake"
    recorder = recording(lake)
    view = Folder(lake).look()
    whole = pl.concat(view.unsealed("book"))
    some = pl.concat(view.unsealed("book", columns=["message", "symbol"], symbols=["BTC/USD"]))
    assert some.equals(whole.filter(symbol="BTC/USD").select("message", "symbol"))
    assert not list(view.unsealed("book", session="another"))
    recorder.end()


def test_symbols_are_known_from_the_first_flush(tmp_path: Path) -> None:
    """A lake that is only journalled has its symbols and its session; a wrong name is told with those that are near."""
    lake = tmp_path / "lake"
    recorder = recording(lake)
    folder = Folder(lake)
    assert folder.symbols() == ["BTC/USD", "ETH/USD"]
    assert folder.sessions() == [recorder.session.id]
    folder.check_symbols(["BTC/USD"])
    with pytest.raises(ValueError, match="the lake has no symbol 'btc/usd'; did you mean BTC/USD"):
        folder.check_symbols(["btc/usd"])
    recorder.end()


def test_foreign_files_are_left_alone_and_named(tmp_path: Path) -> None:
    """Names that are no parts are not read, wherever they are in the folder of a table."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(50))
    (part,) = lakes.parts(lake, "book")
    folder = Folder(lake)
    before = folder.parts("book")
    strays = [part.with_name(f"._{part.name}"), part.with_name("copy.parquet"), lake / "book" / part.name]
    for stray in strays:
        stray.write_bytes(b"no parquet")
    assert folder.parts("book") == before
    assert folder.foreign("book") == sorted(strays)
    assert folder.foreign("trades") == []


def test_a_look_lists_in_the_order_that_it_relies_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's parts, the other parts, the journals, the ledger's parts again."""
    lake = tmp_path / "lake"
    recorder = recording(lake)
    listed: list[str] = []
    real_parts, real_names = Folder.parts, journal.journal_names

    def parts(folder: Folder, table: str) -> list[Part]:
        listed.append(table)
        return real_parts(folder, table)

    def names(path: Path) -> list[journal.JournalName]:
        listed.append("journals")
        return real_names(path)

    monkeypatch.setattr(Folder, "parts", parts)
    monkeypatch.setattr(journal, "journal_names", names)
    Folder(lake).look(["book", "trades"])
    assert listed == ["ledger", "book", "trades", "journals", "ledger"]
    listed.clear()
    Folder(lake).look()
    assert (listed[0], listed[-2:]) == ("ledger", ["journals", "ledger"])
    assert sorted(listed) == sorted([*_core.TABLES, "journals", "ledger"])
    recorder.end()

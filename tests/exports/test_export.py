"""``krakpot.export``: what it is asked, what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import frames
import hand
import lakes
from hand import SECOND, START
from krakpot import Lake, __version__, export
from krakpot.errors import ConfigError
from krakpot.values import ExportFormat

FORMATS: tuple[ExportFormat, ...] = ("hftbacktest", "nautilus", "tardis", "csv", "arrow", "parquet-us")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """The market that is worked out by hand."""
    hand.market().record(tmp_path / "lake")
    return tmp_path / "lake"


@pytest.mark.parametrize("to", FORMATS)
def test_the_report_is_the_manifest_and_names_every_file(to: ExportFormat, lake: Path, tmp_path: Path) -> None:
    """export.json equals the report; the files that it names are those that are there; progress is told."""
    told: list[tuple[int, int, str]] = []
    report = export(lake, to, tmp_path / "out", progress=lambda *one: told.append(one))
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == report.to_dict()
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == sorted(["export.json", *(file["path"] for file in report.files)])
    assert report.complete
    assert report.version == __version__
    assert report.rows == sum(file["rows"] for file in report.files) > 0
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    # Trades, and what is in the file twice, are not counted of hftbacktest; the instrument is not of nautilus.
    assert told[-1][0] == report.rows - {"hftbacktest": 6, "nautilus": 1}.get(to, 0)
    assert {one[1:] for one in told} == {(0, "rows")}
    assert (
        repr(report)
        == f"ExportReport(to={to!r}, out={str(tmp_path / 'out')!r}, files={len(report.files)}, rows={report.rows})"
    )


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_can_be_repeated(to: ExportFormat, lake: Path, tmp_path: Path) -> None:
    """Over an export of another format, with the same result."""
    first = export(Lake(lake), to, tmp_path / "out")
    other = export(lake, FORMATS[FORMATS.index(to) - 1], tmp_path / "again")
    assert other.files != first.files
    again = export(lake, to, tmp_path / "again", overwrite=True)
    assert again.files == first.files


def test_a_part_of_it(lake: Path, tmp_path: Path) -> None:
    """A range; the options are in the report."""
    report = export(lake, "hftbacktest", tmp_path / "out", "BTC/*", START + 2 * SECOND, START + 6 * SECOND)
    (file,) = report.files
    assert (file["ts_from"], file["ts_to"]) == ("2026-08-02T03:35:52.000000000Z", "2026-08-02T03:35:56.000000000Z")
    assert (file["ended_by"], file["trades"]) == ("range", 3)
    assert report.options == {
        "symbols": ["BTC/USD"], "start": "2026-08-02T03:35:52.000000000Z", "end": "2026-08-02T03:35:56.000000000Z",
        "channel": "book",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": "zipline"}, "to='zipline': there is no such format; formats: hftbacktest, nautilus, tardis, csv"),
        ({"symbols": "XBT/USD"}, "the lake has no symbol 'XBT/USD'; did you mean BTC/USD?"),
        ({"tables": ["books"]}, "tables: there is no table 'books'; tables: book, orders"),
        ({"to": "nautilus", "channel": "books"}, "channel='books'; allowed: 'book', 'level3'"),
        ({"to": "nautilus", "nautilus_version": 3}, "nautilus_version=3; allowed: 1, 2"),
        ({"to": "tardis", "depth": 0}, "depth=0; allowed: 1 to 1000"),
        ({"start": START, "end": START - 1}, "is later than the end"),
        ({"start": START + 3600 * SECOND}, "in this range; these symbols were recorded from 2026-08-02T03:35:50"),
        ({"to": "tardis", "end": START - 1}, "there is nothing to export in this range"),
        ({"out": 7}, "out: 7 is not allowed"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(options: dict[str, Any], sentence: str, lake: Path, tmp_path: Path) -> None:
    """With what is allowed; no folder with a manifest stays."""
    with pytest.raises(ConfigError) as error:
        arguments: dict[str, Any] = {"lake": lake, "to": "csv", "out": tmp_path / "out"} | options
        export(**arguments)
    assert sentence in str(error.value)
    assert not (tmp_path / "out").exists()


def test_symbols_without_the_book_are_told(tmp_path: Path) -> None:
    """One of two pairs has no book: the export is of the other one, with a note."""
    book = frames.Book("BTC/USD")
    pairs = frames.instrument(*map(frames.pair, ("BTC/USD", "ETH/USD")))
    timed = [(START, pairs), (START, frames.ack("book", "BTC/USD", depth=10)), (START, frames.ack("trade", "ETH/USD"))]
    timed += [(START, frames.ack("trade", "BTC/USD")), (START, book.snapshot([("99.0", "1")], [("101.0", "1")]))]
    timed += [(START + SECOND, book.update([("bid", "99.0", "2")], ts=START + SECOND))]
    lakes.make(tmp_path / "lake", timed)
    report = export(tmp_path / "lake", "hftbacktest", tmp_path / "out")
    assert {file["symbol"] for file in report.files} == {"BTC/USD"}
    assert report.notes == ["book was not recorded of 1 symbol: ETH/USD"]


def test_level_3_that_was_not_recorded(tmp_path: Path) -> None:
    """The sentence says what was."""
    lakes.make(tmp_path / "lake", lakes.market(50))
    with pytest.raises(ConfigError) as error:
        export(tmp_path / "lake", "hftbacktest", tmp_path / "out", "BTC/USD", channel="level3")
    assert str(error.value) == (
        "the channel level3 of BTC/USD was not recorded, and hftbacktest needs it; recorded: book, ticker, trade"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("to", "symbols"), [("nautilus", ["AB/C", "A/BC"]), ("tardis", ["A-B/C", "A/B-C"])])
def test_two_symbols_never_share_a_file(tmp_path: Path, to: ExportFormat, symbols: list[str]) -> None:
    """Formats write names of pairs without the slash; where two become one, that is said and nothing is written."""
    lakes.make(tmp_path / "lake", frames.market(symbols, begin=START, step=SECOND, count=60, seed=1))
    with pytest.raises(ConfigError, match=f"symbols: .* have the same name in files of {to}, .*; export one of them"):
        export(tmp_path / "lake", to, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(tmp_path / "lake", to, tmp_path / "out", symbols[0]).complete
    assert export(tmp_path / "lake", "csv", tmp_path / "csv").complete

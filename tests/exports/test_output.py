"""The folder of an export: what may be replaced, what a failure leaves, what export.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from krakpot import ExportReport
from krakpot.errors import ConfigError, StorageError
from krakpot.exports.output import Output, file_symbol, period
from krakpot.exports.pieces import Gap
from krakpot.lake.format import moment


def output(path: Path, *, overwrite: bool = False) -> Output:
    """The folder of an export of CSV."""
    return Output(ExportReport("csv", "lake", str(path), {}), overwrite=overwrite)


def manifest(path: Path) -> dict[str, object]:
    """What export.json says."""
    return dict(json.loads((path / "export.json").read_text()))


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    """Until then it has another name; then export.json names it. Without rows there is no file."""
    made = output(tmp_path / "out")
    with made.file("a/b.csv") as file:
        file.unfinished.write_text("1")
        file.rows, file.facts = 1, {"table": "book"}
        assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["b.csv.unfinished"]
    assert (tmp_path / "out" / "a" / "b.csv").read_text() == "1"
    with made.file("c.csv") as file:
        file.unfinished.write_text("")
    assert not list((tmp_path / "out").glob("c.csv*"))
    assert manifest(tmp_path / "out")["files"] == [{"path": "a/b.csv", "rows": 1, "table": "book"}]
    assert manifest(tmp_path / "out")["complete"] is False
    made.gaps([Gap("BTC/USD", "book", 0, 1_500_000_001, "gap")])
    assert made.report.gaps == [
        {
            "symbol": "BTC/USD", "channel": "book", "ts_from": "1970-01-01T00:00:00.000000000Z",
            "ts_to": "1970-01-01T00:00:01.500000001Z", "reason": "gap",
        }
    ]  # fmt: skip


def test_an_interrupted_file_is_gone_and_those_before_stay(tmp_path: Path) -> None:
    """Ctrl-C in the middle: nothing half written has the name of a file."""
    made = output(tmp_path / "out")
    with made.file("a.csv") as file:
        file.unfinished.write_text("1")
        file.rows = 1
    with pytest.raises(KeyboardInterrupt), made.file("b.csv") as file:
        file.unfinished.write_text("1")
        file.rows = 1
        raise KeyboardInterrupt
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "export.json"]


def test_only_an_export_is_overwritten(tmp_path: Path) -> None:
    """Files of others are never touched; those of an export only if that is wanted, and no others in its folder."""
    made = output(tmp_path / "out")
    with made.file("a.csv") as file:
        file.unfinished.write_text("1")
        file.rows = 1
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="has an export already; choose another folder, or let it be overwritten"):
        output(tmp_path / "out")
    output(tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "mine.txt"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="has other files in it, no export"):
            output(tmp_path / "other", overwrite=overwrite)
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"


def test_a_manifest_that_was_changed_removes_nothing_elsewhere(tmp_path: Path) -> None:
    """A path that leads out of the folder is left alone."""
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text(json.dumps({"files": [{"path": "../mine.txt"}]}))
    output(tmp_path / "out", overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """One sentence; of krakpot's errors."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made .*; choose a folder that you may write to"):
        output(tmp_path / "file" / "below")
    made = output(tmp_path / "out")
    with pytest.raises(StorageError, match="the export could not be written: No space left"), made.file("a.csv"):
        raise OSError(28, "No space left on device")


def test_texts() -> None:
    """Times to the nanosecond; symbols as parts of names."""
    assert moment(1_785_641_750_000_000_001) == "2026-08-02T03:35:50.000000001Z"
    assert period(0, 10**9) == {"ts_from": "1970-01-01T00:00:00.000000000Z", "ts_to": "1970-01-01T00:00:01.000000000Z"}
    assert file_symbol("BTC/USD") == "BTC-USD"

"""The format of a lake: its marker, the names of its parts, and who is at work in it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from krakpot.errors import StorageError
from krakpot.lake import seal
from krakpot.lake.format import JOURNALS, Part, at_work, check_lake, hold, idle, lake_to_write, open_lake, part
from krakpot.lake.lock import FOLDERS

SESSION = "019e0000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("name", "number", "compacted"),
    [(f"093000-{SESSION}-7.parquet", 7, False), (f"000000-{SESSION}-c12.parquet", 12, True)],
)
def test_the_name_of_a_part(name: str, number: int, compacted: bool) -> None:
    """Time, session and number; the date is the folder's."""
    path = Path("lake/book/date=2026-08-02") / name
    found = part(path, "book")
    assert found == Part(path, "book", date(2026, 8, 2), SESSION, number, compacted)
    assert found is not None
    assert found.name == f"book/date=2026-08-02/{name}"
    assert found.begun == datetime(2026, 8, 2, int(name[:2]), int(name[2:4]), tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        f"date=2026-08-02/._093000-{SESSION}-7.parquet",
        f"date=2026-08-02/.093000-{SESSION}-7.parquet",
        f"date=2026-08-02/093000-{SESSION}-7.parquet.tmp",
        f"date=2026-08-02/093000-{SESSION}-7 (copy).parquet",
        f"date=2026-08-02/093000-{SESSION}-x7.parquet",
        f"date=2026-08-02/996199-{SESSION}-7.parquet",
        "date=2026-08-02/093000-7.parquet",
        "date=2026-08-02/notes.parquet",
        f"date=2026-13-02/093000-{SESSION}-7.parquet",
        f"elsewhere/093000-{SESSION}-7.parquet",
    ],
)
def test_other_names_are_no_parts(name: str) -> None:
    """What a file manager, a network share or a person leaves in a folder is not read."""
    assert part(Path("lake/book") / name, "book") is None


def test_a_folder_with_other_things_does_not_become_a_lake(tmp_path: Path) -> None:
    """A mistyped folder stays as it was."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match="this folder has other files in it"):
        open_lake(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        (None, "this folder is not a lake: it has no _lake.json"),
        (
            "{",
            '_lake.json cannot be read .*; if all else is whole, write into it: {"format": "krakpot lake", "ver',
        ),
        ("[]", "does not name the format"),
        ('{"format": "other", "version": 1}', "does not name the format"),
        (
            '{"format": "krakpot lake", "version": 2}',
            "the lake has version 2, this krakpot reads up to 1; install a newer one",
        ),
        ('{"format": "krakpot lake"}', "the lake has version None"),
    ],
)
def test_a_lake_that_cannot_be_read_is_named(tmp_path: Path, marker: str | None, sentence: str) -> None:
    """Format and version are checked before anything else, by every command."""
    if marker is not None:
        (tmp_path / "_lake.json").write_text(marker)
    with pytest.raises(StorageError, match=sentence) as caught:
        check_lake(tmp_path)
    assert caught.value.path == tmp_path
    with pytest.raises(StorageError, match=sentence):
        seal.recover(tmp_path)


def test_a_lake_names_its_format(tmp_path: Path) -> None:
    """The marker is there from the first moment, and opening again changes nothing."""
    open_lake(tmp_path / "a" / "lake")
    marker = tmp_path / "a" / "lake" / "_lake.json"
    before = marker.stat().st_mtime_ns
    assert json.loads(marker.read_text()) == {"format": "krakpot lake", "version": 1}
    open_lake(tmp_path / "a" / "lake")
    assert marker.stat().st_mtime_ns == before


def test_a_lake_into_which_nothing_is_written_is_not_left_behind(tmp_path: Path) -> None:
    """What was made goes away: the lake and the folders above it. What was there before, or is used, stays."""
    with lake_to_write(tmp_path / "a" / "lake"):
        check_lake(tmp_path / "a" / "lake")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with lake_to_write(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []
    open_lake(tmp_path / "old")
    with lake_to_write(tmp_path / "old"):
        pass
    check_lake(tmp_path / "old")
    with lake_to_write(tmp_path / "used"):
        (tmp_path / "used" / JOURNALS / "a.journal").touch()
    check_lake(tmp_path / "used")
    with lake_to_write(tmp_path / "shared"):
        (tmp_path / "moved").mkdir()
        (tmp_path / "shared").rename(tmp_path / "moved" / "lake")
    check_lake(tmp_path / "moved" / "lake")


@pytest.mark.skipif(not FOLDERS, reason="Windows cannot lock a folder")
def test_a_lake_in_which_another_is_at_work_is_not_removed(tmp_path: Path) -> None:
    """A second recorder, which began meanwhile, needs the folder."""
    with ExitStack() as other:
        with lake_to_write(tmp_path / "lake"):
            other.enter_context(at_work(tmp_path / "lake"))
        check_lake(tmp_path / "lake")


def test_who_is_at_work_is_seen(tmp_path: Path) -> None:
    """Any number of recorders and sealers; idle is only a lake in which there is none."""
    open_lake(tmp_path)
    with idle(tmp_path) as nobody:
        assert nobody
    with at_work(tmp_path):
        with at_work(tmp_path), idle(tmp_path) as nobody:
            assert not nobody
        with idle(tmp_path) as nobody:
            assert not nobody
    with idle(tmp_path) as nobody:
        assert nobody


def test_a_lake_without_journals_is_idle(tmp_path: Path) -> None:
    """A copy of the parts alone has no folder of journals."""
    with idle(tmp_path) as nobody:
        assert nobody


def test_readers_share_and_movers_do_not(tmp_path: Path) -> None:
    """Any number may hold the parts in place; to move them one must be alone."""
    open_lake(tmp_path)
    with hold(tmp_path) as first, hold(tmp_path) as second:
        assert (first, second) == (True, True)
        with hold(tmp_path, exclusive=True, wait=False) as mover:
            assert not mover
    with hold(tmp_path, exclusive=True) as mover:
        assert mover
        with hold(tmp_path, wait=False) as reader:
            assert not reader

"""Some faults of ``make reliability``, so that it does not rot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import reliability
from krakpot import _core


def test_every_fault_is_tried() -> None:
    """A new fault of the exchange needs its row of the page."""
    assert list(reliability.CASES) == [name for name, *_ in _core.FAULTS]


def test_some_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages that are not sent, a cut, a frozen book of level 3: all is named, the books are right, and each has a
    row of the page.
    """
    cases = reliability.CASES
    few = {
        "drop": replace(cases["drop"], times=1),
        "silence": replace(cases["silence"], channels=("level3",)),
        "cut": replace(cases["cut"], times=1),
    }
    monkeypatch.setattr(reliability, "CASES", few)
    trials = reliability.run(few, tmp_path)
    assert [trial.wrong for trial in trials] == [[], [], []]
    drop, silence, cut = trials
    assert (len(drop.mine), len(silence.mine), len(cut.mine)) == (3, 1, 2), "of a cut one a connection"
    assert drop.lost.lost == 3
    assert silence.lost.why["stale"] > 0
    assert cut.rows["disconnect"] == cut.rows["gap"] == 2
    page = reliability.page(trials, [("nothing", "1", "kept")])
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(few)
    assert all(row.endswith("| kept |") for row in rows)
    assert "WRONG" not in capsys.readouterr().err


def test_a_broken_promise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is awake: with a lake that lacks the ledger of a cut, and books that are not the exchange's."""
    monkeypatch.setattr(reliability, "CASES", {"cut": replace(reliability.CASES["cut"], times=1)})
    (trial,) = reliability.run(["cut"], tmp_path)
    assert trial.wrong == []
    for part in (trial.lake / "book").glob("date=*/*.parquet"):
        part.unlink()
    reliability._judge(trial)
    assert any("unexplained" in sentence or "session" in sentence for sentence in trial.wrong)
    assert trial.lost.why["unexplained"] > 0
    assert "**wrong**" in reliability.page([trial], [])

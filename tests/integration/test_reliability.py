"""Some faults of ``make reliability``, so that it does not rot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import account
import losses
import reliability


def test_every_fault_is_tried() -> None:
    """A new fault of the exchange needs its row of the page."""
    assert list(reliability.CASES) == losses.RECORDED


@pytest.mark.slow
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
    assert cut.rows["disconnect"] == 2
    assert cut.rows["gap"] == 4, "one a channel: book, trade and ticker, and level3"
    page = reliability.page(trials, [("nothing", "1", "kept")])
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(few)
    assert all(row.endswith("| kept |") for row in rows)
    assert "WRONG" not in capsys.readouterr().err


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_short_run_with_faults_at_random(tmp_path: Path) -> None:
    """Half a minute over several connections: all that was sent is recorded or named, the live books are right, and the
    figures of the long run are there.
    """
    facts = account.run(
        tmp_path / "lake", seconds=24, rate=400, pairs=60, depth=100, share=50, redundant="BTC/*",
        faults=account.Faults(3, 2.0),
    )  # fmt: skip
    assert facts["wrong"] == []
    assert facts["verify"]["proved"], facts["verify"]["problems"]
    assert facts["sent"] > 1000
    assert facts["sent"] == facts["recorded"] + sum(facts["lost"].values())
    assert facts["books"]["right"] > 20
    assert facts["faults"]
    assert facts["requests"]["all"] >= 3
    assert facts["attempts"]["all"] >= 4, "the first, two of the shards, the second source"


def test_growing_memory_is_told() -> None:
    """A steady climb is told with its slope, a plateau is not."""
    climbing = account._memory([(second, 100 + second) for second in range(0, 600, 5)])
    assert (climbing["grown"], climbing["mb_per_hour"]) == (True, 3600.0)
    flat = account._memory([(second, 200.0) for second in range(0, 600, 5)])
    assert (flat["grown"], flat["mb_per_hour"]) == (False, 0.0)


def test_a_trade_before_the_first_of_its_symbol_has_no_row() -> None:
    """A number is missing only after one that was read: the protocol shows no loss before the first trade."""
    ledger = pl.DataFrame(
        {"kind": ["disconnect", "alive"], "channel": None, "symbol": None, "count": 100, "message": 99, "entry": 0,
         "detail": None}
    )  # fmt: skip
    coverage = pl.DataFrame({"channel": ["trade"], "symbol": ["BTC/USD"], "ts_from": [0], "ts_to": [10**12]})
    found = pl.DataFrame({"message": [5, 9], "channel": "trade", "symbol": "BTC/USD", "number": [12, 14]})
    session = losses._Session(ledger, coverage, found, {"BTC/USD": {12, 14}})
    dropped = {"channel": "trade", "symbol": "BTC/USD", "fault": "drop", "wall_ns": 10**11}
    whys = [session.why(dropped | {"message": message, "number": number}) for message, number in ((3, 11), (7, 13))]
    assert whys == [losses.SILENT, losses.UNEXPLAINED]

"""What a machine carries: the verdict as arithmetic, and a small run of the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from krakpot.cli import capacity
from krakpot.cli.capacity import REFINEMENTS, Report, check_room, limit, needs, room, two_digits
from krakpot.cli.capacity_run import Load, Step
from krakpot.cli.main import main
from krakpot.errors import ConfigError, StorageError
from krakpot.record.cputime import STAGES

LOAD = Load(1450, 10_000)
WELL = Step(
    times=1,
    seconds=20,
    messages=200_000,
    rows=300_000,
    cpu=dict.fromkeys(STAGES, 0.5),
    exchange_cpu=1,
    busy=0.2,
    recorder_mb=240,
    sealer_mb=500,
    lag_p50=0.003,
    lag_p99=0.01,
    row_bytes=10,
    checkpoint_rows=500_000,
)
LATE = replace(WELL, lag_p99=3, lag_growth=2)


def busy(**stages: float) -> dict[str, float]:
    """CPU seconds of a step, of which some stages had more."""
    return WELL.cpu | stages


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (WELL, None),
        (replace(WELL, lag_p99=0.9, lag_growth=0.2), None),
        (replace(WELL, failed="it fell"), "failed"),
        (replace(WELL, wrong=("BTC/USD: too few", "more")), "loss"),
        (replace(WELL, waits=1), "disk"),
        (replace(WELL, unsealed=1), "sealer"),
        (replace(WELL, cpu=busy(seal=20)), "sealer"),
        (LATE, "lag"),
        (replace(WELL, lag_growth=0.3), "lag"),
        (replace(LATE, busy=0.95), "machine"),
        (replace(LATE, cpu=busy(decode=17)), "recorder"),
        (replace(WELL, stuck="it was cut"), "lag"),
        (replace(WELL, stuck="it was cut", busy=1), "machine"),
        (replace(LATE, exchange_cpu=19, cpu=busy(decode=17), busy=1), "exchange"),
        # What could not be taken in time is cut at the end of the step: that is no loss of its own.
        (replace(LATE, cpu=busy(read=18), wrong=("BTC/USD: too few",)), "recorder"),
    ],
)
def test_what_gave_is_named(step: Step, kind: str | None) -> None:
    """Each way to fail has its word, and the exchange's own end is not the recorder's."""
    found = limit(step, cores=2)
    assert (found and found.kind) == kind
    if found is not None:
        assert found.sentence
        title = Report(LOAD, 20, 2, [WELL, replace(step, times=2)]).title
        assert title.startswith("carried: 1 times the feed; at 2 times ")


def climb(gives_at: float, most: float) -> Report:
    """A machine that carries everything below ``gives_at``."""
    report = Report(LOAD, 20, cores=2)
    while (times := report.next(most)) is not None:
        step = replace(WELL if times < gives_at else LATE, times=times, messages=round(200_000 * times))
        step = replace(step, rows=round(300_000 * times), row_bytes=200 / times)
        report.steps.append(replace(step, between=report.gave() is not None))
        assert len(report.steps) < 30, "it ends"
    return report


@pytest.mark.parametrize(
    ("gives_at", "most", "tried", "carried"),
    [
        (12, 100, [1, 2, 5, 10, 20, 14, 12], 10),
        (13, 100, [1, 2, 5, 10, 20, 14, 12], 12),
        (1e9, 7, [1, 2, 5, 7], 7),
        (1e9, 0.5, [0.5], 0.5),
        (1, 100, [1], None),
        (60, 100, [1, 2, 5, 10, 20, 50, 100, 71, 60], 50),
    ],
)
def test_steps_end_near_the_limit(gives_at: float, most: float, tried: list[float], carried: float | None) -> None:
    """1, 2, 5 and ten times as much, then a few between; what is carried is below the first that gave."""
    report = climb(gives_at, most)
    assert [step.times for step in report.steps] == tried
    best = report.carried()
    assert (best and best.times) == carried
    assert sum(step.between for step in report.steps) <= REFINEMENTS


def test_a_step_that_went_well_above_one_that_gave_counts_for_nothing() -> None:
    """A machine whose mood changes is told by its worst: no claim beyond the first failure."""
    report = Report(LOAD, 20, 2, [replace(WELL, times=n) for n in (1, 2, 10)] + [replace(LATE, times=5)])
    best, gave = report.carried(), report.gave()
    assert best is not None
    assert gave is not None
    assert (best.times, gave[0].times) == (2, 5)


def test_the_answer_is_plain() -> None:
    """The sentences say how often, what gave, what one feed needs and what a day costs; and what was not found out."""
    report = climb(12, 100)
    carries, gave, needed, disk = report.answer()
    assert "carries 10 times the feed of 1,450 pairs" in carries
    assert "100,000 messages a second, none lost" in carries
    assert gave.startswith("At 12 times messages came 3,000 ms late")
    # Five of six stages, half a second of twenty each; the sixth is the sealer.
    assert "needs 12.5% of a core and 240 MB, its sealer 2.5% and 500 MB" in needed
    # (300,000 / 20 × 86,400 + 24 × 500,000) × 10 bytes, as the step with the most rows has them
    assert "Disk: 13.1 GB a day, 10.0 bytes a row" in disk
    assert report.well
    assert "at least 7 times" in climb(1e9, 7).answer()[0]
    assert climb(1e9, 7).answer()[1] == "More was not tried (--most)."
    none = climb(1, 100)
    assert none.answer()[0].startswith("This machine does not carry 1 times")
    assert not none.well
    assert climb(2, 0.5).well is False, "half the feed is not the feed"


def test_an_exchange_that_cannot_send_faster_leaves_the_limit_open() -> None:
    """Then what was carried is what was found out, not what the recorder can."""
    report = climb(10, 100)
    report.steps = [
        replace(step, exchange_cpu=step.seconds) if limit(step) is not None else step for step in report.steps
    ]
    carries, gave, *_ = report.answer()
    assert "carries at least" in carries
    assert "could not send faster" in gave


def test_other_programs_are_told() -> None:
    """What others took of the machine is part of the answer."""
    report = Report(LOAD, 20, 2, [replace(WELL, busy=0.9)])
    assert report.answer()[-1] == "Other programs used up to 1.6 of 2 cores meanwhile: without them it carries more."


def test_loss_where_nothing_was_at_its_end_is_wrong() -> None:
    """Messages that vanish on an idle machine are no question of capacity: exit code 1, however much is carried."""
    report = Report(LOAD, 20, 2, [WELL, replace(WELL, times=2, wrong=("BTC/USD: too few",))])
    assert report.lost
    assert not report.well


def test_room_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of the feed, a longer step and level 3 need more room; what the disk lacks is said with what helps."""
    assert needs(LOAD, 10, 20) > needs(LOAD, 1, 20) < needs(LOAD, 1, 60)
    assert needs(replace(LOAD, level3=100), 1, 20) > needs(LOAD, 1, 20)
    check_room(tmp_path, LOAD, 1, 1)
    monkeypatch.setattr(capacity, "SPARE", 1e18)
    with pytest.raises(ConfigError, match="another disk with --out"):
        check_room(tmp_path, LOAD, 1, 1)


def test_the_folder_goes_or_stays(tmp_path: Path) -> None:
    """Lakes go at the end, also when it was bad; those that are wanted stay and are not mixed with others."""
    with pytest.raises(RuntimeError), room(None) as folder:
        (folder / "lake-1").mkdir()
        raise RuntimeError
    assert not folder.exists()
    with room(tmp_path / "out") as folder:
        (folder / "lake-1").mkdir()
    assert folder.exists()
    with pytest.raises(ConfigError, match="choose another folder"), room(tmp_path / "out"):
        pass


def test_two_digits() -> None:
    """Multiples between are numbers that people can say."""
    assert [two_digits(n) for n in (7.07, 14.142, 0.123, 141.4)] == [7.1, 14, 0.12, 140]


@pytest.mark.slow
def test_a_small_run_of_the_command(tmp_path: Path) -> None:
    """A few pairs at a low rate: a step without level 3 and one with it, every message there, CPU and memory of each
    process, lag, bytes, a plot; the lakes are where they were wanted.
    """
    command = [sys.executable, "-m", "krakpot", "capacity", "--pairs", "20", "--rate", "300", "--seconds", "2"]
    command += ["--most", "1", "--level3", "100", "--out", str(tmp_path / "out"), "--plot", str(tmp_path / "plot.svg")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert [table["load"]["level3"] for table in found["tables"]] == [None, 100]
    for table in found["tables"]:
        for step in table["steps"]:
            assert step.get("failed") is None
            assert step["wrong"] == []
            assert step["messages"] > 300
            assert step["rows"] >= step["messages"]
            assert set(step["cpu"]) == set(STAGES)
            assert all(step["cpu"][stage] > 0 for stage in ("read", "hand_over", "write", "seal"))
            assert 0 < step["exchange_cpu"] < 2 * os.sysconf("SC_NPROCESSORS_ONLN")
            assert min(step["recorder_mb"], step["sealer_mb"]) > 30
            assert 0 < step["lag_p50"] <= step["lag_p99"]
            assert 1 < step["row_bytes"] < 500
        assert table["steps"][0]["times"] == 1
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    assert (tmp_path / "out/lake-1/lake/_lake.json").exists()
    assert (tmp_path / "out/lake-level3-1/lake/orders").exists()


def test_wrong_use_is_said(tmp_path: Path) -> None:
    """Numbers without sense are refused before anything starts."""
    runner = CliRunner()
    for options in (["--seconds", "0"], ["--most", "-1"], ["--pairs", "2000"], ["--rate", "0"]):
        done = runner.invoke(main, ["capacity", *options, "--out", str(tmp_path / "out")])
        assert done.exit_code == 2, options
        assert f"{options[0]}: {options[1]!r} is not allowed; allowed is" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_picture_of_nothing_is_drawn_too(tmp_path: Path) -> None:
    """Whatever the steps were, the picture comes: of one that failed alone as well; a folder that is gone is said."""
    two = [WELL, replace(LATE, times=2, exchange_cpu=30, busy=1)]
    for steps in ([WELL], [replace(WELL, failed="it fell")], [replace(WELL, stuck="it was cut")], two):
        path = tmp_path / "plot.svg"
        capacity.draw([Report(LOAD, 20, 2, steps)], path)
        assert path.read_text().startswith("<?xml")
        path.unlink()
    with pytest.raises(StorageError, match="write the plot"):
        capacity.draw([Report(LOAD, 20, 2, [WELL])], tmp_path / "gone" / "plot.svg")

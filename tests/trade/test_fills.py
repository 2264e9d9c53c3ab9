"""The fills of paper trading against a simple model, in Python, of the same rules."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fillrules import Line, played
from fillscripts import script

ROOT = Path(__file__).parent.parent.parent
CASES = 10_000 if os.environ.get("KRAKPOT_TEST") == "all" else 2_000
BUILD = ["--quiet", "--profile", "develop", "--package", "krakpot-trade", "--example", "fills"]


def compared(path: Path, cases: list[list[Line]]) -> subprocess.CompletedProcess[str]:
    """What the engine says of cases."""
    path.write_text("".join(f"{json.dumps(line)}\n" for case in cases for line in case))
    # Another worker's build may come first, so the time of the whole test is the only limit.
    command = [os.environ.get("CARGO", "cargo"), "run", *BUILD, "--", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def expecting(lines: list[Line]) -> list[Line]:
    """A case with the events of the model."""
    return [*lines, *({"expect": event} for event in played(lines))]


@pytest.mark.slow
def test_the_engine_agrees_with_the_model(tmp_path: Path) -> None:
    """Event by event: icebergs, hidden quantity, gaps, several own orders, every kind of request and evidence."""
    cases = [expecting(script(seed)) for seed in range(CASES)]
    kinds = Counter(
        event["event"] + event.get("evidence", event.get("error", event.get("reason", "")))
        for case in cases
        for line in case
        if (event := line.get("expect"))
    )
    evidence = [f"fill{name}" for name in ("queue", "beyond", "through", "crossed", "taken")]
    refused = ["rejectedkrakpot:gap", "rejectedEOrder:Post only order", "rejectedEService:Deadline elapsed"]
    ended = ["filled", "canceledioc", "canceledfok", "canceledstp cancel_newest", "canceledUser requested"]
    rare = [kind for kind in ("new", "amended", *evidence, *refused, *ended) if kinds[kind] < CASES // 100]
    assert not rare, f"the cases show too few of {rare}: {kinds}"
    done = compared(tmp_path / "cases.json", cases)
    verdicts = [line for line in done.stdout.splitlines() if not line.startswith(("{", " "))]
    wrong = [line for line in verdicts if not line.startswith("ok ")]
    assert not wrong, f"{len(wrong)} of {len(verdicts)} differ, first {wrong[0]}"
    assert len(verdicts) == CASES, done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_the_engine_says_what_differs(tmp_path: Path) -> None:
    """An event more or less, a wrong quantity, a line that is no case: each is BAD, and the exit code says so."""
    case = next(case for seed in range(100) if len(case := expecting(script(seed))) > len(script(seed)) + 2)
    more = [*case, {"expect": {"t": 1, "own": "a", "event": "new"}}]
    wrong = [*case[:-1], {"expect": {**case[-1]["expect"], "t": 0}}]
    no_request: list[Line] = [{"case": "x"}, {"t": 1, "own": "a", "do": "dance"}]
    no_head: list[Line] = [{"t": 1}]
    for bad in (more, case[:-1], wrong, no_request, no_head):
        done = compared(tmp_path / "case.json", [bad, case])
        assert done.returncode == 1, done.stdout
        verdicts = [line[:4] for line in done.stdout.splitlines() if not line.startswith(("{", " "))]
        assert verdicts == ["BAD ", "ok  "]
    assert compared(tmp_path / "case.json", [case]).returncode == 0

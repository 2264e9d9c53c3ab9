"""Run the benchmarks of ``bench/rust``, and compare two checkouts case by case.

Results go to a temporary folder: those of an earlier run, of cases that are not run now, must not be read again.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARED = "krakpot.*|apply_and_checksum|simd_json_tape"
"""Implementations that are compared. ``simd_json_tape`` has no code of the project, so its ratio shows the noise."""
SMALL = "frame/generated_d25"
"""The one case of a small comparison."""
ROUNDS = 3
SHORT = ("--warm-up-time", "0.5", "--measurement-time", "1")
"""Seconds a round and case: several short rounds tell more of two checkouts than one long."""

Times = dict[tuple[str, str, str], float]
"""Nanoseconds per element by group, case and implementation."""


@cache
def program(root: Path) -> str:
    """The benchmark of the checkout at ``root``, compiled. Cargo would look at all of its sources for each case."""
    manifest = root / "bench/rust/Cargo.toml"
    if not manifest.exists():
        sys.exit(f"{root} is not a checkout of krakpot: it has no bench/rust/Cargo.toml")
    build = ("cargo", "bench", "--manifest-path", manifest, "--bench", "core", "--no-run", "--message-format=json")
    done = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=False)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    built = [found for message in messages if (found := message.get("executable"))]
    if done.returncode != 0 or not built:
        sys.exit(f"the benchmark of {root} does not compile; nothing was written")
    return str(built[-1])


def estimates(results: Path) -> Times:
    """The medians in a folder of results."""
    found = {}
    for path in sorted(results.glob("*/*/*/new/benchmark.json")):
        what = json.loads(path.read_text())
        nanoseconds = json.loads(path.with_name("estimates.json").read_text())["median"]["point_estimate"]
        key = what["group_id"], what["function_id"], what["value_str"]
        found[key] = nanoseconds / what["throughput"]["Elements"]
    return found


def run(root: Path, *arguments: str, show: bool = False) -> tuple[Times, list[str]]:
    """Times of the checkout at ``root``, and the lines that the benchmark printed; ``arguments`` are criterion's."""
    with tempfile.TemporaryDirectory() as results:
        process = subprocess.Popen(
            [program(root), "--bench", *arguments],
            cwd=root / "bench/rust",
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.DEVNULL,
            text=True,
            env=os.environ | {"CRITERION_HOME": results},
        )
        assert process.stdout is not None, "a pipe was requested"
        lines = []
        for line in process.stdout:
            if show:
                print(line, end="", flush=True)
            lines.append(line)
        if process.wait() != 0:
            sys.exit(f"the benchmark failed in {root}; nothing was written")
        return estimates(Path(results)), lines


def listed(root: Path) -> list[str]:
    """Names ``group/case`` of the checkout at ``root``, in their order."""
    _, lines = run(root, "--list")
    found = (re.match(r"(\w+/\w+)/\w+: benchmark$", line) for line in lines)
    return list(dict.fromkeys(match[1] for match in found if match))


def compare(before: Path, *, small: bool = False) -> list[str]:
    """A table of the times of this checkout and of the one at ``before``, both measured now.

    The two run each case one after the other, so that a change of the machine's speed meets both. ``small``: one case,
    once and quickly, to see that the comparison works.
    """
    known = [set(listed(root)) for root in (before, ROOT)]
    cases = [SMALL] if small else listed(ROOT)
    rounds: list[tuple[Times, Times]] = []
    for _ in range(1 if small else ROUNDS):
        times: tuple[Times, Times] = {}, {}
        for case in cases:
            for root, names, found in zip((before, ROOT), known, times, strict=True):
                if case in names:
                    chosen = f"^{case}/({COMPARED})$"
                    found.update(run(root, chosen, *(("--quick",) if small else SHORT))[0])
        rounds.append(times)
    return table(rounds)


def table(rounds: list[tuple[Times, Times]]) -> list[str]:
    """Lines of the comparison, from the times before and now of each round."""
    lines = ["| case | before, ns | now, ns | now / before | of the rounds |", "| --- | ---: | ---: | ---: | ---: |"]
    first_before, first_now = rounds[0]
    for key in first_now:
        name = "/".join(key)
        now = [times[key] for _, times in rounds]
        if key not in first_before:
            lines.append(f"| {name} | not there | {statistics.median(now):,.0f} | | |")
            continue
        before = [times[key] for times, _ in rounds]
        ratios = [new / old for old, new in zip(before, now, strict=True)]
        lines.append(
            f"| {name} | {statistics.median(before):,.0f} | {statistics.median(now):,.0f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    lines += [
        f"| {'/'.join(key)} | {statistics.median(times[key] for times, _ in rounds):,.0f} | not there | | |"
        for key in first_before
        if key not in first_now
    ]
    return lines

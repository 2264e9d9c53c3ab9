"""The page of the benchmarks, from figures made up here: what is missing shows at once, not after minutes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from krakpot.cli.capacity import Report
from krakpot.cli.capacity_run import Load, Step
from krakpot.record.cputime import STAGES

ONCE = Step(
    times=1, seconds=20, messages=200_000, rows=300_000, cpu=dict.fromkeys(STAGES, 0.5), recorder_mb=240,
    sealer_mb=500, row_bytes=10,
)  # fmt: skip
TEN = Step(times=10, seconds=20, messages=2_100_000, rows=3_000_000, cpu=dict.fromkeys(STAGES, 2.0))
LOST = Step(times=11, seconds=20, messages=2_300_000, rows=3_000_000, cpu=ONCE.cpu, wrong=("one is missing",))
FELL = Step(times=1, seconds=20, failed="the recorder fell")


@pytest.fixture(scope="module")
def report(program: Callable[[str], ModuleType]) -> ModuleType:
    """The program of `make bench`."""
    return program("bench/report.py")


def rust(*, simdjson: bool = True, ratio: float = 2.0) -> dict[tuple[str, str, str], float]:
    """Nanoseconds as criterion has them, of one case of frames; kraken-book was left out."""
    case = "generated_d25"
    found = {("frame", case, "krakpot"): 100.0 * ratio, ("frame", case, "sonic_rs_typed"): 400.0}
    if simdjson:
        found["frame", case, "simdjson_on_demand_text"] = 100.0
    found |= {("book", case, "apply_and_checksum"): 90.0, ("verify", case, "krakpot"): 120.0}
    found |= {("level3", f"d{depth}", "krakpot"): 600.0 for depth in (10, 100, 1000)}
    for name in ("krakpot", "krakpot_both_checksums", "sorted_anew"):
        found |= {("orders", f"d{depth}", name): 400.0 + depth / 10 for depth in (10, 100, 1000)}
    return found


def measured(*steps: Step, row_bytes: float = 11.0) -> dict[str, Any]:
    """What the programs of bench/python find, and ``krakpot capacity``."""
    threads = {"seconds": 1.5, "cpu": 2.0, "verified_per_second": 1e6}
    ages = dict.fromkeys(("p50", "p99", "p99.9"), 10.0)
    cell = {"messages": 9000, "rate": 156.0, "event": ages, "recv": ages, "blocks": 7, "collections": [1, 0, 0]}
    return {
        "socket": {
            "frames": 1000, "rounds": 9, "us": {"bare": 3.0, "krakpot": 0.9, "asyncio": 4.0}, "ratio": 0.3,
            "ratio_least": 0.2, "ratio_most": 0.4,
        },
        "verify": {
            "symbols": 50, "messages": 1000, "rows": 2000, "ingest_per_second": 2e5, "per_second": 2e6,
            "by_clock": {"threads_1": 2e6, "threads_2": 3e6},
        },
        "compact": {
            "rows": 1000, "parts": 11, "frames": 4, "bytes_per_row_sealed": 13.0, "bytes_per_row": row_bytes,
            "columns": {"qty": 4.25, "price": 2.0, "kind": 0.001},
            "compact": {"rows": 1000, "seconds": 0.1, "mb": 600},
        },
        "books": {"messages": 1000, "times": 500, "threads_1": threads, "threads_2": threads},
        "align": {"states": 1000, "pairs": 750, "per_second": 1e6},
        "idle": {"idle": 1000, "us": 0.5, "us_beside": 0.6, "ratio": 1.2},
        "import": {"rounds": 9, "ms": 60.0, "lake_ms": 400.0},
        "burst": {"messages": 100_000, "sent": 1.0, "read": 1.1, "bursts": [{}]},
        "live": {
            "pairs": 20, "depth": 10, "objects": 1000, "few": 5000, "rates": {"200": {"callbacks/asyncio": cell}},
            "gc": {"as it is": {"messages": 1000, "collections": [1, 0, 0], "longest_us": 9.0, "full_us": 9000.0}},
            "record": {
                "pairs": 1450, "depth": 1000, "symbols": ["BTC/USD"], "symbols_depth": 100, "nap_us": 200.0,
                "alone": cell, "recording": cell | {"recorded": 9921.2, "waits": 0},
            },
        },
        "capacity": Report(Load(1450, 10_000), 20, 2, list(steps)).to_dict(),
    }  # fmt: skip


def peers(*, floor: float | None, rest: float | None) -> dict[str, Any]:
    """Other clients; one that has no ratio is missing."""
    found: list[dict[str, Any]] = [{"name": "floor", "words": "only parsed"}, {"name": "sdk", "words": "Kraken's SDK"}]
    for peer, ratio in zip(found, (floor, rest), strict=True):
        peer["missing"] = None if ratio else "no Python 3.13 here"
        if ratio:
            peer.update(us=ratio, ratio=ratio, python="3.13.0", packages={"orjson": "3.13"})
    return {"frames": 1000, "rounds": 3, "krakpot_us": 1.0, "peers": found}


def row_of(page: str, words: str) -> list[str]:
    """Budget, figure and verdict of a target."""
    (found,) = [line for line in page.splitlines() if line.startswith("| ") and words in line.split(" | ")[0]]
    return [cell for cell in found.strip("| ").split(" | ")[1:] if cell]


def test_every_target_has_its_verdict(report: ModuleType) -> None:
    """Where all was measured: the figure beside the budget, kept or missed, and where to read why it is missed."""
    others = peers(floor=4.9, rest=50.0)
    page = report.page(rust(), "simdjson 3", [], measured(ONCE, TEN, LOST, row_bytes=12.8), others)
    why = "**missed**, [why](decisions/hot-path.md)"
    assert row_of(page, "frame → checked book") == ["0.8 × simdjson on-demand reading", "2.00 ×", why]
    assert row_of(page, "the same, depth 1000") == ["1.5 × depth 10", "1.25 ×", "kept"]
    assert row_of(page, "every other client") == ["at least 5 × krakpot", "4.9 × (only parsed)", "**missed**"]
    assert row_of(page, "bytes per level row")[1:] == [
        "12.80 (13.00 as sealed)",
        "**missed**, [why](decisions/storage.md)",
    ]
    assert row_of(page, "the recorder's CPU") == ["15 % of a core", "12.5 % of a core", "kept"]
    assert row_of(page, "the recorder's memory") == ["300 MB", "240 MB", "kept"]
    assert row_of(page, "its sealer's memory") == ["600 MB", "500 MB", "kept"]
    assert row_of(page, "goes on without loss") == ["100,000", "105,000", "kept"]
    assert "idle subscriptions beside a busy one, CPU of a session fed directly, no socket | 1.05 ×" in page
    assert row_of(page, "idle subscriptions")[-1] == "**missed**, [why](decisions/hot-path.md#idle-subscriptions)"
    assert "| `qty` | 4.25 |" in page
    assert "| the other 1 together | 0.00 |" in page
    feed = page.partition("## The full feed")[2].partition("\n## ")[0]
    assert "| 11 | 115,000 |" in feed
    assert "one is missing" in feed
    assert "| 10 | 0.95 | 0.95 | 0.95 | 0.95 | 0.95 | 0.95 |" in feed


def test_what_is_kept_is_told_as_kept(report: ModuleType) -> None:
    """Better figures turn the verdicts; that more of the feed was not tried is said."""
    page = report.page(rust(ratio=0.8), "simdjson 3", [], measured(ONCE, TEN), peers(floor=5.0, rest=50.0))
    assert row_of(page, "frame → checked book")[1:] == ["0.80 ×", "kept"]
    assert row_of(page, "every other client")[2] == "kept"
    assert row_of(page, "bytes per level row")[2] == "kept"
    assert row_of(page, "goes on without loss")[1] == "105,000, more was not tried"


def test_what_was_not_measured_is_named(report: ModuleType) -> None:
    """No simdjson, a peer that is missing, one whose answers are wrong, a recorder that fell: each is said."""
    left_out = ["generated_d25: kraken-book finds 1 of 2 checksums right: it is left out"]
    said = "simdjson is not installed: the C++ peer is left out"
    page = report.page(rust(simdjson=False), said, left_out, measured(FELL), peers(floor=7.0, rest=None))
    assert row_of(page, "frame → checked book")[1:] == ["not measured"]
    assert said in page
    assert "| the crate kraken-book: checked book, no rows | not measured |" in page
    assert f"{left_out[0]}." in page
    assert row_of(page, "every other client")[1:] == ["7.0 × (only parsed); not measured: sdk", "kept"]
    assert row_of(page, "the recorder's memory")[1:] == ["the recorder fell", "**missed**"]
    assert row_of(page, "goes on without loss")[1:] == ["0", "**missed**"]
    none = report.page(rust(), "simdjson 3", [], measured(ONCE), peers(floor=None, rest=None))
    assert row_of(none, "every other client")[1] == "not measured: floor, sdk"

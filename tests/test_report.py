"""The page of the benchmarks, from made-up figures: a mistake shows at once, not after half an hour."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import criterion
from krakpot.cli.capacity import Report
from krakpot.cli.capacity_run import Load, Step
from krakpot.record.cputime import STAGES

ONCE = Step(
    times=1, seconds=20, messages=200_000, rows=300_000, cpu=dict.fromkeys(STAGES, 0.2), recorder_mb=240,
    sealer_mb=500, row_bytes=10,
)  # fmt: skip
SIXTEEN = Step(times=16, seconds=20, messages=3_100_000, rows=4_500_000, cpu=dict.fromkeys(STAGES, 2.0))
LOST = Step(times=17, seconds=20, messages=3_300_000, rows=3_000_000, cpu=ONCE.cpu, wrong=("one is missing",))
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


HEARD = 'in memory: run, empty handler, wake="message"'


def measured(
    *steps: Step,
    row_bytes: float = 11.0,
    wasm: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the programs of bench/python find, and ``krakpot capacity``."""
    threads = {"seconds": 1.5, "cpu": 2.0, "verified_per_second": 1e6}
    ages = dict.fromkeys(("p50", "p99", "p99.9"), 10.0)
    cell = {"messages": 9000, "rate": 156.0, "event": ages, "recv": ages, "blocks": 7, "collections": [1, 0, 0]}
    seen = {
        "server_core": 0.25, "server_bytes": 2e8, "states": 90.0, "messages": 400.0, "bytes": 3e6,
        "age_us": {"p50": 300_000, "p99": 600_000},
    }  # fmt: skip
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
        "replay": {"events": 1000, "seconds": 0.001, "seconds_with_book": 0.002, "per_second": 1.1e6},
        "align": {"states": 1000, "pairs": 750, "per_second": 1e6},
        "idle": {"idle": 1000, "us": 0.5, "us_beside": 0.6, "ratio": 1.2},
        "import": {"rounds": 9, "ms": 60.0, "lake_ms": 400.0},
        "viewing": {
            "pairs": 1450, "rate": 10_000, "shown": 20, "levels": 100, "live": seen,
            "lake": {"alone": {"recorder_core": 0.05}, "beside": seen | {"recorder_core": 0.06}},
        },
        "orders": {
            name: {"p50": 100.0, "p99": 300.0, "n": 2000}
            for name in ("off", "later", "before", "write", "sync", "send")
        },
        "paper": {
            "pairs": 1450, "rate": 10_000, "traded": 3, "added_core": 0.04,
            "beside": {"paper_core": 0.05, "paper_bytes": 190_000_000},
        },
        "wasm": wasm or {"missing": "", "ratio": 2.6, "gzipped": 186_000, "node": "v20.0.0"},
        "page": {
            "missing": "",
            "depth 1000": {"pairs": 50, "messages": 1234.0, "core": 0.25, "frames": 20.4},
        },
        "proving": {
            "missing": "", "messages": 1_000_000, "million_s": 3.5, "workers": 2, "ratio": 2.4,
        },
        "trading": {
            "lake": {"messages": 1000}, "rate": {HEARD: 6e5}, "ratio": {HEARD: 0.9}, "start": {HEARD: 0.07},
            "beside": beside or {
                "rows": 1600, "runs": {"a maker": 4e5, "in memory: a maker": 3e6}, "rust": {"events": {"a maker": 3e6}},
                "hftbacktest": {"a maker": 1.5e6, "events": 2000.0},
            },
        },
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


def peers(*, plain: float | None, sdk: float | None) -> dict[str, Any]:
    """Other clients, the first without checksums; one that has no ratio is missing."""
    found: list[dict[str, Any]] = [
        {"name": "floor", "words": "only parsed", "checks": False},
        {"name": "plain", "words": "checked book", "checks": True},
        {"name": "sdk", "words": "Kraken's SDK", "checks": True},
    ]
    for peer, ratio in zip(found, (4.0, plain, sdk), strict=True):
        peer["missing"] = None if ratio else "no Python 3.13 here"
        if ratio:
            peer.update(us=ratio, ratio=ratio, python="3.13.0", packages={"orjson": "3.13"})
    return {"frames": 1000, "rounds": 3, "krakpot_us": 1.0, "peers": found}


def row_of(page: str, words: str) -> list[str]:
    """Budget, figure and verdict of a target."""
    (found,) = [line for line in page.splitlines() if line.startswith("| ") and words in line.split(" | ")[0]]
    return [cell for cell in found.strip("| ").split(" | ")[1:] if cell]


def test_every_budget_has_its_verdict(report: ModuleType) -> None:
    """If everything was measured: the figure beside the budget, kept or missed, and where to read why it is missed."""
    others = peers(plain=9.9, sdk=50.0)
    page = report.page(rust(), "simdjson 3", [], measured(ONCE, SIXTEEN, LOST, row_bytes=12.8), others)
    why = "**missed**, [why](decisions/hot-path.md)"
    assert row_of(page, "frame → checked book with rows") == ["1.2 × C++ simdjson, which only reads", "2.00 ×", why]
    assert row_of(page, "level-3 update with checksum, depth 1000") == ["1 µs", "0.50 µs", "kept"]
    assert row_of(page, "socket → checked book") == [
        "1/10 of every client that checks",
        "1/9.9 (checked book)",
        "**missed**",
    ]
    assert row_of(page, "bytes per level row")[1:] == [
        "12.80 (13.00 as sealed)",
        "**missed**, [why](decisions/storage.md)",
    ]
    assert row_of(page, "verify from Parquet") == ["2,500,000", "2,000,000", "**missed**"]
    assert row_of(page, "books every 100 ms") == ["1 s", "1.5 s", "**missed**"]
    assert row_of(page, "the recorder's CPU") == ["6 % of a core", "5.0 % of a core", "kept"]
    assert row_of(page, "the recorder's memory") == ["250 MB", "240 MB", "kept"]
    assert row_of(page, "its sealer's CPU per message") == ["2.5 µs", "1.0 µs", "kept"]
    assert row_of(page, "its sealer's memory") == ["450 MB", "500 MB", "**missed**"]
    assert row_of(page, "highest rate without loss") == ["150,000", "155,000", "kept"]
    assert row_of(page, "wasm, frame") == ["2.5 × native", "2.60 × (node v20.0.0)", "**missed**"]
    assert row_of(page, "wasm, size") == ["200 kB", "186 kB", "kept"]
    assert row_of(page, "proof of a recording in a browser") == ["5 s", "3.50 s", "kept"]
    assert "| depth 1000 | 50 | 1,234 | 25% | 20 |" in page.splitlines()
    assert row_of(page, "a lake that is recorded") == ["25.0%", "200", "90", "400", "3.0", "300", "600"]
    assert "1.20 × as much" in page
    assert row_of(page, "idle subscriptions next to a busy one")[::2] == [
        "1.05 × without them",
        "**missed**, [why](decisions/hot-path.md#idle-subscriptions)",
    ]
    assert "| `qty` | 4.25 |" in page
    assert "| the other 1 together | 0.00 |" in page
    feed = page.partition("## The full feed")[2].partition("\n## ")[0]
    assert "| 17 | 165,000 |" in feed
    assert "one is missing" in feed
    assert "| 16 | 0.65 | 0.65 | 0.65 | 0.65 | 0.65 | 0.65 |" in feed


def test_what_is_kept_is_told_as_kept(report: ModuleType) -> None:
    """Better figures change the verdicts; the page says if a higher rate was not tried."""
    page = report.page(rust(ratio=1.2), "simdjson 3", [], measured(ONCE, SIXTEEN), peers(plain=10.0, sdk=50.0))
    assert row_of(page, "frame → checked book with rows")[1:] == ["1.20 ×", "kept"]
    assert row_of(page, "socket → checked book")[2] == "kept"
    assert row_of(page, "bytes per level row")[2] == "kept"
    assert row_of(page, "highest rate without loss")[1] == "155,000, more was not tried"


def test_what_was_not_measured_is_named(report: ModuleType) -> None:
    """No simdjson, a missing peer, one with wrong answers, a recorder that fell, a budget without a benchmark."""
    left_out = ["generated_d25: kraken-book finds 1 of 2 checksums right: it is left out"]
    said = "simdjson is not installed: the C++ peer is left out"
    page = report.page(rust(simdjson=False), said, left_out, measured(FELL), peers(plain=12.0, sdk=None))
    assert row_of(page, "frame → checked book with rows")[1:] == ["not measured"]
    assert said in page
    assert "| the crate kraken-book: checked book, no rows | not measured |" in page
    assert f"{left_out[0]}." in page
    assert row_of(page, "socket → checked book")[1:] == ["1/12.0 (checked book); not measured: sdk", "kept"]
    assert row_of(page, "the recorder's memory")[1:] == ["the recorder fell", "**missed**"]
    assert row_of(page, "highest rate without loss")[1:] == ["0", "**missed**"]
    for what in ("--read-every", "every 0.5 ms"):
        (line,) = [line for line in page.splitlines() if what in line and line.startswith("| ")]
        assert line.endswith("| not measured |  |")
    lacks = {"missing": "node is not installed"}
    none = report.page(rust(), "simdjson 3", [], measured(ONCE, wasm=lacks), peers(plain=None, sdk=None))
    for what in ("wasm, frame", "wasm, size"):
        assert row_of(none, what)[1:] == ["not measured: node is not installed"]
    assert row_of(none, "socket → checked book")[1] == "not measured: plain, sdk"


def test_strategies_are_told_beside_another_backtester(report: ModuleType) -> None:
    """Rows a second and their ratio; or what is missing, in the place of its figures."""
    page = report.page(rust(), "simdjson 3", [], measured(ONCE), peers(plain=10.0, sdk=50.0))
    assert "| in Rust, from events | 3.00 |" in page
    assert "| in Rust, from events, × hftbacktest | 2.00 |" in page
    assert row_of(page, "strategy in Rust")[1:] == ["2.00 ×", "kept"]
    assert row_of(page, "strategy in Python")[1:] == ["600,000", "kept"]
    lacks = {
        "rows": 1600,
        "runs": {"a maker": 4e5, "in memory: a maker": 3e6},
        "rust": "no example",
        "hftbacktest": "no environment",
    }
    page = report.page(rust(), "simdjson 3", [], measured(ONCE, beside=lacks), peers(plain=10.0, sdk=50.0))
    assert "not measured: no example" in page
    assert "not measured: no environment" in page
    assert "from events, × hftbacktest" not in page


def test_two_checkouts_are_compared_case_by_case() -> None:
    """The ratio is the median of the rounds' ratios; a case that only one of the two has is named."""
    case, old, new = ("frame", "d25", "krakpot"), ("verify", "d25", "krakpot"), ("level3", "d10", "krakpot")
    rounds = [({case: 200.0, old: 5.0}, {case: 100.0 * n, new: 7.0}) for n in (1, 2, 4)]
    assert criterion.table(rounds)[2:] == [
        "| frame/d25/krakpot | 200 | 200 | 1.00 | 0.50 to 2.00 |",
        "| level3/d10/krakpot | not there | 7 | | |",
        "| verify/d25/krakpot | 5 | not there | | |",
    ]


def test_two_checkouts_run_each_case_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A change of the machine's speed meets both; a case that the other checkout lacks is run here alone."""
    names = {tmp_path: ["frame/a"], criterion.ROOT: ["frame/a", "book/b"]}
    ran: list[tuple[Path, str]] = []

    def run(root: Path, *arguments: str) -> tuple[criterion.Times, list[str]]:
        if arguments == ("--list",):
            return {}, [f"{name}/{which}: benchmark\n" for name in names[root] for which in ("krakpot", "other")]
        group, name = arguments[0].split("/")[:2]
        ran.append((root, f"{group[1:]}/{name}"))
        return {(group[1:], name, "krakpot"): 10.0 if root == tmp_path else 5.0}, []

    monkeypatch.setattr(criterion, "run", run)
    lines = criterion.compare(tmp_path)
    here = criterion.ROOT
    assert ran == [(tmp_path, "frame/a"), (here, "frame/a"), (here, "book/b")] * criterion.ROUNDS
    assert lines[2:] == ["| frame/a/krakpot | 10 | 5 | 0.50 | 0.50 to 0.50 |", "| book/b/krakpot | not there | 5 | | |"]


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    """One sentence with the cause, before anything is compiled."""
    with pytest.raises(SystemExit, match=r"is not a checkout of krakpot: it has no bench/rust/Cargo\.toml"):
        criterion.compare(tmp_path)


def test_times_are_read_from_criterions_files(tmp_path: Path) -> None:
    """Medians, divided by the elements of an iteration."""
    folder = tmp_path / "frame/d25/krakpot/new"
    folder.mkdir(parents=True)
    names = {"group_id": "frame", "function_id": "d25", "value_str": "krakpot", "throughput": {"Elements": 4}}
    (folder / "benchmark.json").write_text(json.dumps(names))
    (folder / "estimates.json").write_text(json.dumps({"median": {"point_estimate": 100.0}}))
    assert criterion.estimates(tmp_path) == {("frame", "d25", "krakpot"): 25.0}

"""Run every benchmark and write ``docs/benchmarks.md``: the only way that page changes.

The page has a row for every budget of the project, kept, missed or not measured. It names the CPU, the compilers, the
versions and the commit, but not the machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import criterion
from krakpot.record.cputime import STAGES

BENCH = Path(__file__).parent
ROOT = BENCH.parent
PAGE = ROOT / "docs/benchmarks.md"
PICTURE = ROOT / "docs/benchmarks.svg"

READERS = {
    "krakpot": "**krakpot: checked book with rows**",
    "krakpot_batches": "the same, as Arrow record batches",
    "simdjson_on_demand_text": "C++ simdjson on-demand, numbers as text, only read",
    "simdjson_on_demand_double": "C++ simdjson on-demand, numbers as `double`, only read",
    "simd_json_tape": "simd-json, tape alone",
    "simd_json_typed": "simd-json into structs",
    "sonic_rs_typed": "sonic-rs into structs",
    "serde_json_typed": "serde_json into structs",
    "serde_json_value": "serde_json into `Value`",
    "kraken_book": "the crate kraken-book: checked book, no rows",
}
PYTHON_READERS = {
    "bare": "websockets' Sans-I/O layer in an `asyncio.Protocol`, frames only kept",
    "krakpot": "**krakpot: checked book with rows**",
    "asyncio": "websockets' asyncio API, frames only kept",
}
CASES = {
    "generated_d25": "generated, depth 25",
    "generated_d100": "generated, depth 100",
    "generated_d1000": "generated, depth 1000",
    "recorded_btcusd_d25": "recorded BTC/USD",
    "recorded_xrpusd_d25": "recorded XRP/USD",
}

LEFT_OUT = "it is left out"
"""Last words of the benchmark's line about a peer whose answers are wrong."""

DEPTHS = {"d10": "depth 10", "d100": "depth 100", "d1000": "depth 1000"}
LEVEL3_READERS = {
    "krakpot": "**krakpot: checked order book with rows**",
    "krakpot_any_layout": "the same of frames with a blank, which Kraken does not send",
    "simdjson_on_demand_text": "C++ simdjson on-demand, numbers as text, only read",
    "simd_json_tape": "simd-json, tape alone",
}
ORDERS = {
    "krakpot": "**krakpot: order book and level-3 checksum**",
    "krakpot_both_checksums": "the same, with the level-2 checksum",
    "sorted_anew": "a map of orders, sorted anew after every message",
}

# The budgets, in the order of the page.
SHARE, MEMORY_MB = 0.06, 250
"""Of a core, and memory: the recorder in the full feed."""
SEALER_US, SEALER_MB = 2.5, 450
"""CPU per message, and memory: its sealer."""
RATE = 150_000
"""Messages per second without loss, the exchange on the same two cores."""
READING = 1.2
"""Multiple of C++ simdjson's on-demand reading: a frame → checked book with rows."""
PEERS = 10
"""Multiple of krakpot's CPU time: that of every client in Python that compares checksums."""
LEVEL3_US = 1
"""Per update at depth 1000."""
VERIFIED = 2_500_000
"""Book messages per second and core."""
BOOKS_S = 1
REPLAYED = 1_000_000
ROW_BYTES = 12
BURST_S = 2
BESIDE_IDLE = 1.05
IMPORT_MS = 150
STRATEGY_RATIO, STRATEGY_RATE = 2.0, 500_000
"""Rows of level 3 of a strategy in Rust, as a multiple of hftbacktest; messages a second heard in Python."""
IN_MEMORY = "in memory: "
"""What the names of cases on a loaded recording begin with."""
HEARD = f'{IN_MEMORY}run, empty handler, wake="message"'
PROVING_S = 5
"""Seconds for the proof of a million messages in a browser."""
WASM_TIMES, WASM_KB = 2.5, 200
"""Multiple of native code: a frame → checked book as WebAssembly; and its compressed size without the exchange."""

NOT_MEASURED = (
    ("full feed with `--read-every 25ms`: CPU of the recorder", "4.5 % of a core"),
    ("full feed from an exchange that writes every 0.5 ms: CPU of the recorder", "8 % of a core"),
)
"""Budgets without a benchmark yet."""

MISSED = "**missed**"
TIMES = 16
"""Multiples of the full feed that are tried: 15 are the budget, and the exchange keeps a rate on average only."""
COLUMN_BYTES = 0.01
"""Columns with less than this per row are summed up in one line."""


def output(*command: str) -> str:
    """First line that a command prints; empty where it is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip().split("\n")[0]


def rust() -> tuple[criterion.Times, str, list[str]]:
    """Times of ``bench/rust``, what it printed about simdjson, and which peers were left out and why."""
    found, lines = criterion.run(ROOT, show=True)
    assert found, "criterion wrote no estimates"
    simdjson = next((line.strip() for line in lines if line.startswith("simdjson ")), "")
    return found, simdjson, [line.strip() for line in lines if line.strip().endswith(LEFT_OUT)]


def python(program: str) -> dict[str, Any]:
    """Results of a program of ``bench/python``."""
    command = [sys.executable, str(BENCH / "python" / program), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def capacity() -> dict[str, Any]:
    """What ``krakpot capacity`` found of the full feed. It takes some minutes, one for each step."""
    command = [sys.executable, "-P", "-m", "krakpot", "capacity", "--seconds", "20", "--most", str(TIMES), "--json"]
    # Exit code 1: this machine does not carry it, which is a result.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in {0, 1}:
        sys.exit("krakpot capacity failed; the page was left as it was")
    (found,) = json.loads(done.stdout)["tables"]
    return dict(found)


def peer_lines(found: dict[str, Any]) -> list[str]:
    """Their section of the page."""
    lines = [
        "## Other clients in Python",
        "",
        f"The same kind of stream, {found['frames']:,} frames of depth 25 over loopback: CPU of the whole reading",
        f"process, µs per frame, medians of {found['rounds']} interleaved rounds. Each has a separate environment",
        "and the newest interpreter that it supports. The book of each was compared with the stream's at the end.",
        "A client that only parses, or that compares no checksum, does less than krakpot; the budget leaves it out.",
        "",
        row("", "µs per frame", "× krakpot", "with"),
        row("---", "---:", "---:", "---"),
        row("**krakpot: checked book with rows**", f"{found['krakpot_us']:.2f}", "1.0", "as above"),
    ]
    for peer in found["peers"]:
        if peer["missing"]:
            lines.append(row(peer["words"], "", "", peer["missing"]))
        else:
            versions = ", ".join(f"{name} {version}" for name, version in peer["packages"].items())
            cells = f"{peer['us']:.2f}", f"{peer['ratio']:.1f}", f"Python {peer['python']}; {versions}"
            lines.append(row(peer["words"], *cells))
    return [*lines, ""]


def machine(simdjson: str) -> list[str]:
    """CPU, compilers, versions, commit."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"model name\s*: (.*)", info.read_text())
        cpu = f"{names[0]}, {len(names)} cores" if names else cpu
    changed = " with local changes" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    commit = output("git", "rev-parse", "--short", "HEAD") or "unknown"
    packages = ", ".join(f"{name} {version(name)}" for name in ("krakpot", "websockets", "polars", "pyarrow"))
    return [
        f"- {dt.datetime.now(tz=dt.UTC).date()}, commit {commit}{changed}",
        f"- {cpu}, {platform.system()} {platform.machine()}; the load of other programs was not controlled",
        "- " + "; ".join(filter(None, (output("rustc", "--version"), output("c++", "--version"), simdjson))),
        f"- {platform.python_implementation()} {platform.python_version()}; {packages}",
    ]


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def verdict(value: float, budget: float, *, least: bool = False, why: str = "") -> str:
    """Whether a budget is kept, in a word; ``why``: the page that explains why it is missed."""
    if value >= budget if least else value <= budget:
        return "kept"
    return f"{MISSED}, [why]({why})" if why else MISSED


def budget_lines(found: criterion.Times, measured: dict[str, Any], others: dict[str, Any]) -> list[str]:
    """The section of the budgets: a row for each."""
    lake, merged, day, idle, burst, loaded = (
        measured[what] for what in ("verify", "compact", "books", "idle", "burst", "import")
    )
    replay = measured["replay"]
    level3_us = found["orders", "d1000", "krakpot"] / 1000
    return [
        "## Budgets",
        "",
        row("what", "budget", "measured", ""),
        row("---", "---", "---", "---"),
        *feed_budgets(measured["capacity"]),
        *reading_budgets(found),
        peer_budget(others),
        row(
            "level-3 update with checksum, depth 1000",
            f"{LEVEL3_US} µs",
            f"{level3_us:.2f} µs",
            verdict(level3_us, LEVEL3_US),
        ),
        row(
            "verify from Parquet, book messages per second and core",
            f"{VERIFIED:,}",
            f"{lake['per_second']:,.0f}",
            verdict(lake["per_second"], VERIFIED, least=True),
        ),
        row(
            "books every 100 ms, depth 10, a day of one busy symbol, two threads",
            f"{BOOKS_S} s",
            f"{day['threads_2']['seconds']:.1f} s",
            verdict(day["threads_2"]["seconds"], BOOKS_S),
        ),
        row(
            "replay, events per second handed to a Python callback",
            f"{REPLAYED:,}",
            f"{replay['per_second']:,.0f}",
            verdict(replay["per_second"], REPLAYED, least=True),
        ),
        row(
            "lake, bytes per level row",
            f"{ROW_BYTES} after compact",
            f"{merged['bytes_per_row']:.2f} ({merged['bytes_per_row_sealed']:.2f} as sealed)",
            verdict(merged["bytes_per_row"], ROW_BYTES, why="decisions/storage.md"),
        ),
        row(
            "one-second burst of 100,000 messages in the full feed, nothing lost, all read",
            f"{BURST_S} s",
            f"{burst['read']:.2f} s",
            verdict(burst["read"], BURST_S),
        ),
        row(
            f"{idle['idle']:,} idle subscriptions next to a busy one, CPU of a session without a socket",
            f"{BESIDE_IDLE} × without them",
            f"{idle['ratio']:.2f} ×",
            verdict(idle["ratio"], BESIDE_IDLE, why="decisions/hot-path.md#idle-subscriptions"),
        ),
        row("`import krakpot`", f"{IMPORT_MS} ms", f"{loaded['ms']:.0f} ms", verdict(loaded["ms"], IMPORT_MS)),
        *wasm_budgets(measured["wasm"]),
        *proving_budget(measured["proving"]),
        *trading_budgets(measured["trading"]),
        *(row(what, budget, "not measured", "") for what, budget in NOT_MEASURED),
        "",
        f"It is the slowest burst of {len(burst['bursts'])} of the full feed, {burst['messages']:,} messages. Its time",
        "is from its begin until the recorder, a separate process, had read the last message. The exchange had sent",
        f"that message after {burst['sent']:.2f} s.",
    ]


def trading_budgets(found: dict[str, Any]) -> list[str]:
    """Strategies on a recording: in Rust beside hftbacktest, and in Python."""
    beside, heard = found["beside"], found["rate"][HEARD]
    words = "back-test with queue positions, strategy in Rust"
    budget = f"{STRATEGY_RATIO:g} × hftbacktest on the same data in one run"
    rust, other = beside["rust"], beside["hftbacktest"]
    if isinstance(rust, str) or isinstance(other, str):
        first = row(words, budget, "not measured", "")
    else:
        ratio = min(rust["events"][name] / rate for name, rate in other.items() if name in rust["events"])
        first = row(words, budget, f"{ratio:.2f} ×", verdict(ratio, STRATEGY_RATIO, least=True))
    words = "back-test with queue positions, strategy in Python, recording in memory, messages per second and core"
    return [first, row(words, f"{STRATEGY_RATE:,}", f"{heard:,.0f}", verdict(heard, STRATEGY_RATE, least=True))]


def proving_budget(found: dict[str, Any]) -> list[str]:
    """The row of the proof in a browser."""
    what, budget = "proof of a recording in a browser, a million messages", f"{PROVING_S} s"
    if found["missing"]:
        return [row(what, budget, f"not measured: {found['missing']}", "")]
    return [row(what, budget, f"{found['million_s']:.2f} s", verdict(found["million_s"], PROVING_S))]


def wasm_budgets(found: dict[str, Any]) -> list[str]:
    """The rows of WebAssembly."""
    cells = (
        ("wasm, frame → checked book", f"{WASM_TIMES} × native"),
        ("wasm, size without the exchange, gzipped", f"{WASM_KB} kB"),
    )
    if found["missing"]:
        return [row(*cell, f"not measured: {found['missing']}", "") for cell in cells]
    ratio, size = found["ratio"], found["gzipped"] / 1000
    return [
        row(*cells[0], f"{ratio:.2f} × (node {found['node']})", verdict(ratio, WASM_TIMES)),
        row(*cells[1], f"{size:.0f} kB", verdict(size, WASM_KB)),
    ]


def reading_budgets(found: criterion.Times) -> list[str]:
    """The rows of frame → checked book: one for each case that was run."""
    lines = []
    for case, words in CASES.items():
        own, peer = (found.get(("frame", case, name)) for name in ("krakpot", "simdjson_on_demand_text"))
        if own is None:
            continue
        cells = f"frame → checked book with rows, {words}", f"{READING} × C++ simdjson, which only reads"
        if peer is None:
            lines.append(row(*cells, "not measured", ""))
        else:
            ratio = own / peer
            lines.append(row(*cells, f"{ratio:.2f} ×", verdict(ratio, READING, why="decisions/hot-path.md")))
    return lines


def peer_budget(found: dict[str, Any]) -> str:
    """The row of the other clients in Python: the fastest of those that check and ran decides."""
    what, budget = "socket → checked book in Python, CPU", f"1/{PEERS} of every client that checks"
    checking = [peer for peer in found["peers"] if peer["checks"]]
    ran = [peer for peer in checking if not peer["missing"]]
    missing = ", ".join(peer["name"] for peer in checking if peer["missing"])
    if not ran:
        return row(what, budget, f"not measured: {missing}", "")
    fastest = min(ran, key=lambda peer: float(peer["ratio"]))
    measured = f"1/{fastest['ratio']:.1f} ({fastest['words']})" + (f"; not measured: {missing}" if missing else "")
    return row(what, budget, measured, verdict(fastest["ratio"], PEERS, least=True))


def recorder(step: dict[str, Any]) -> float:
    """Cores that the recorder used in a step, without its sealer."""
    return float((sum(step["cpu"].values()) - step["cpu"]["seal"]) / step["seconds"])


def percent(share: float) -> str:
    """A share for people."""
    return f"{share * 100:.1f} %"


def feed_budgets(found: dict[str, Any]) -> list[str]:
    """The rows of the full feed: what it costs, and the highest rate without loss."""
    once = min(found["steps"], key=lambda step: float(step["times"]))
    names = [
        ("full feed: the recorder's CPU", f"{SHARE * 100:.0f} % of a core"),
        ("full feed: the recorder's memory", f"{MEMORY_MB} MB"),
        ("full feed: its sealer's CPU per message", f"{SEALER_US} µs"),
        ("full feed: its sealer's memory", f"{SEALER_MB} MB"),
    ]
    if once["limit"] is None:
        sealer_us = once["us_per_message"]["seal"]
        values = [
            (f"{percent(recorder(once))} of a core", recorder(once), SHARE),
            (f"{once['recorder_mb']:.0f} MB", once["recorder_mb"], MEMORY_MB),
            (f"{sealer_us:.1f} µs", sealer_us, SEALER_US),
            (f"{once['sealer_mb']:.0f} MB", once["sealer_mb"], SEALER_MB),
        ]
        cells = [(words, verdict(value, budget)) for words, value, budget in values]
    else:
        cells = [(once["limit"]["sentence"], MISSED)] * len(names)
    # Below the first step in which something gave.
    below = [step for step in found["steps"] if step["times"] <= (found["carries"] or 0)]
    carried = max((step["messages_per_second"] for step in below), default=0.0)
    return [
        *(row(*name, *cell) for name, cell in zip(names, cells, strict=True)),
        row(
            f"highest rate without loss, exchange included, {found['cores']} cores, messages per second",
            f"{RATE:,}",
            f"{carried:,.0f}" + ("" if any(step["limit"] for step in found["steps"]) else ", more was not tried"),
            verdict(carried, RATE, least=True),
        ),
    ]


def feed_lines(found: dict[str, Any]) -> list[str]:
    """The section of the full feed."""
    load, steps = found["load"], sorted(found["steps"], key=lambda step: float(step["times"]))
    told = [step for step in steps if not step.get("failed") and not step.get("stuck")]
    stages = [name.replace("_", " ") for name in STAGES]
    # Bytes per row are taken from the step with most rows: small parts have more bytes per row.
    row_bytes = max(told, key=lambda step: float(step["rows"]))["row_bytes"] if told else 0.0
    lines = [
        "## The full feed",
        "",
        f"`krakpot capacity --seconds {found['seconds']:.0f} --most {TIMES}`: {load['pairs']:,} pairs, their books at",
        f"depth {load['depth']}, trades and tickers, {load['rate']:,.0f} messages a second, and multiples of that. The",
        "built-in exchange and `krakpot record` are processes on this same machine. Budgets are judged by the first",
        "step, the rate by the highest that was carried. [capacity.md](capacity.md) explains each column and has the",
        "rest: where the limit is, an hour of the full feed, level 3.",
        "",
        row(
            "times", "messages/s", "lag 50 %, 99 %", "recorder, of a core", "MB", "sealer, of a core", "MB",
            "exchange, of a core", "disk, GB a day", "",
        ),
        row(*("---:" for _ in range(9)), "---"),
    ]  # fmt: skip
    for step in steps:
        gave = step["limit"]["sentence"] if step["limit"] else "carried"
        if step not in told:
            lines.append(row(f"{step['times']:g}", *("" for _ in range(8)), gave))
            continue
        lines.append(
            row(
                f"{step['times']:g}",
                f"{step['messages_per_second']:,.0f}",
                f"{step['lag_p50'] * 1000:.0f}, {step['lag_p99'] * 1000:.0f} ms",
                percent(recorder(step)),
                f"{step['recorder_mb']:.0f}",
                percent(step["cpu"]["seal"] / step["seconds"]),
                f"{step['sealer_mb']:.0f}",
                percent(step["exchange_cpu"] / step["seconds"]),
                f"{step['day_rows'] * row_bytes / 1e9:,.0f}",
                gave,
            )
        )
    lines += [
        "",
        "µs of CPU a message, by stage:",
        "",
        row("times", *stages),
        row("---:", *("---:" for _ in stages)),
        *(row(f"{step['times']:g}", *(f"{step['us_per_message'][stage]:.2f}" for stage in STAGES)) for step in told),
        "",
        *found["answer"],
        "",
    ]
    return lines


def compact_lines(merged: dict[str, Any]) -> list[str]:
    """The section of compacted books."""
    compact = merged["compact"]
    columns = {name: size for name, size in merged["columns"].items() if size >= COLUMN_BYTES}
    rest = sum(merged["columns"].values()) - sum(columns.values())
    return [
        "## Compacting",
        "",
        "The built-in exchange, 200 pairs at depth 1000 and 10,000 messages a second, recorded in stepped time as",
        f"`bench/python/made.py` does it: {merged['rows']:,} rows of books in {merged['parts']} parts became one,",
        f"{merged['bytes_per_row_sealed']:.2f} bytes per row became {merged['bytes_per_row']:.2f}. All tables:",
        f"{compact['rows'] / compact['seconds']:,.0f} rows per second of CPU, at most {compact['mb']:.0f} MB.",
        "",
        row("column of the compacted books", "bytes per row"),
        row("---", "---:"),
        *(row(f"`{name}`", f"{size:.2f}") for name, size in columns.items()),
        row(f"the other {len(merged['columns']) - len(columns)} together", f"{rest:.2f}"),
        "",
        "The figure depends on the feed. `ts_recv`: messages of one read of a socket share their receive time,",
        f"about {merged['frames']} here; with more messages per read it costs less. `qty`: sizes of orders are nearly",
        "random, so their digits take the space. `price`: less for a symbol with many rows, whose prices recur.",
        "[decisions/storage.md](decisions/storage.md) says what was tried.",
        "",
    ]


def live(found: dict[str, Any]) -> list[str]:
    """The section of live strategies."""
    columns = [(what, share) for what in ("event", "recv") for share in ("p50", "p99", "p99.9")]
    names = (f"{what} {share}" for what, share in columns)
    head = [row("", "messages", "messages/s", *names), row("---", *("---:" for _ in range(8)))]

    def cells(words: str, facts: dict[str, Any]) -> str:
        ages = (f"{facts[what][share]:,.0f}" if share in facts[what] else "" for what, share in columns)
        return row(words, f"{facts['messages']:,}", f"{facts['rate']:,.0f}", *ages)

    every = [(name, facts) for ways in found["rates"].values() for name, facts in ways.items()]
    lines = [
        "## Live strategies",
        "",
        "Age of a message of the book channel when `krakpot.Feed` has handed it to the strategy, its book applied and",
        f"its checksum checked, µs; {found['pairs']} simulated pairs at depth {found['depth']}.",
        "*Event*: since `ts_event`, the time at which the message was due in the sending process, which reads its",
        "clock without a pause. This includes making and sending the message, waking the loop, and whatever else the",
        "machine does. *Recv*: since `ts_recv`, taken when the loop has read the socket and hands over the bytes: the",
        "feed's part, in which a message waits for the earlier ones of the same read. The rate counts messages that",
        f"the strategy received. With fewer than {found['few']:,} messages, p99.9 is left out.",
        "",
        *head,
        *(cells(name.replace("/", ", "), facts) for name, facts in every),
    ]
    if not any(name.endswith("/uvloop") for name, _ in every):
        lines += ["", "uvloop is not installed."]
    beside = found["record"]
    lines += [
        "",
        f"The same of {' and '.join(beside['symbols'])} at depth {beside['symbols_depth']}, callbacks, asyncio: alone,",
        f"and while `record=` records all {beside['pairs']:,} pairs (book of depth {beside['depth']:,}, trade, ticker;",
        f"{beside['recording']['recorded']:,.0f} messages/s). To leave room on the cores, the sending process reads",
        f"its clock only every {beside['nap_us']:,.0f} µs; *event* includes this.",
        "",
        *head,
        cells("alone", beside["alone"]),
        cells("while all is recorded", beside["recording"]),
    ]
    kept = [facts for _, facts in every if "blocks" in facts]
    least, most = (f"{of(facts['messages'] for facts in kept):,}" for of in (min, max))
    blocks = max(facts["blocks"] for facts in kept)
    lines += [
        "",
        f"After a row with callbacks or iteration ({least} to {most} messages), Python held at most {blocks:,} more",
        "blocks of memory (`sys.getallocatedblocks`) than before it. The garbage collector, by iteration, while the",
        f"strategy holds {found['objects']:,} objects; collections of the youngest + middle + oldest generation,",
        "pauses in µs:",
        "",
        row("", "messages", "collections", "longest pause", "a full collection, forced"),
        row("---", *("---:" for _ in range(4))),
    ]
    for name, facts in found["gc"].items():
        times = " + ".join(str(n) for n in facts["collections"])
        pause = f"{facts['longest_us']:,.0f}" if any(facts["collections"]) else "none"
        lines.append(row(name, f"{facts['messages']:,}", times, pause, f"{facts['full_us']:,.0f}"))
    return lines


def browser(shown: dict[str, Any], proving: dict[str, Any]) -> list[str]:
    """The section of what runs in a browser."""
    lines = ["", "## In a browser", ""]
    if shown["missing"]:
        lines.append(f"The page: not measured: {shown['missing']}.")
    else:
        lines += [
            "The page receives `krakpot exchange` itself, in Chromium without a graphics card: ten levels of all",
            "pairs, and one pair at a depth, which it draws.",
            "",
            row("", "pairs", "checked books/s", "page, of a core", "frames/s"),
            row("---", *("---:" for _ in range(4))),
        ]
        for words, facts in shown.items():
            if words != "missing":
                cells = (f"{facts['messages']:,.0f}", f"{facts['core']:.0%}", f"{facts['frames']:.0f}")
                lines.append(row(words, facts["pairs"], *cells))
    lines.append("")
    if proving["missing"]:
        lines.append(f"The proof of a recording in the page: not measured: {proving['missing']}.")
    else:
        lines += [
            f"The proof of a recording in the page, {proving['messages']:,} messages: {proving['million_s']:.2f} s a",
            f"million with {proving['workers']} workers, {proving['ratio']:.1f} × the time of `krakpot verify` on the",
            "same files.",
        ]
    return lines


def viewing(found: dict[str, Any]) -> list[str]:
    """The section of ``krakpot view``."""
    lake = found["lake"]
    alone, beside = (lake[what]["recorder_core"] for what in ("alone", "beside"))
    lines = [
        "",
        "## krakpot view beside the full feed",
        "",
        f"The recorder of {found['pairs']:,} pairs at {found['rate']:,.0f} messages/s takes {alone:.1%} of a core",
        f"alone, and {beside / alone:.2f} × as much while `krakpot view` shows the end of its lake. A client follows",
        f"{found['shown']} pairs with {found['levels']} levels a side, and the overview of all pairs. `krakpot view",
        "live` has the feed to itself. Age: since the receipt of the last message that is shown.",
        "",
        row("", "server, of a core", "memory, MB", "states/s", "of messages/s", "MB/s", "age p50, ms", "age p99, ms"),
        row("---", *("---:" for _ in range(7))),
    ]
    for words, facts in (("a lake that is recorded", lake["beside"]), ("live", found["live"])):
        ages = (f"{facts['age_us'][share] / 1000:,.0f}" for share in ("p50", "p99"))
        cells = (f"{facts['server_core']:.1%}", f"{facts['server_bytes'] / 1e6:,.0f}", f"{facts['states']:,.0f}")
        lines.append(row(words, *cells, f"{facts['messages']:,.0f}", f"{facts['bytes'] / 1e6:.1f}", *ages))
    return lines


def accounts(orders: dict[str, Any], paper: dict[str, Any]) -> list[str]:
    """The section about accounts: the way of an order, and an account on paper."""
    words = {
        "off": "without a journal, which only the benchmark can do",
        "later": "journal written before the frame, synced later",
        "before": "journal synced before the frame",
        "write": "the system alone: a row's write",
        "sync": "a row's write and sync",
        "send": "a frame's send",
    }
    lines = [
        "",
        "## Accounts",
        "",
        "From the handler that asks for an order to its frame at the private socket, over loopback, µs:",
        "",
        row("", "p50", "p99", "orders"),
        row("---", *("---:" for _ in range(3))),
    ]
    for name, text in words.items():
        facts = orders[name]
        lines.append(row(text, f"{facts['p50']:,.0f}", f"{facts['p99']:,.0f}", f"{facts['n']:,}"))
    beside = paper["beside"]
    return [
        *lines,
        "",
        f"`krakpot paper` trades {paper['traded']} pairs beside a recorder of {paper['pairs']:,} pairs at",
        f"{paper['rate']:,.0f} messages/s: it takes {beside['paper_core']:.1%} of a core and",
        f"{beside['paper_bytes'] / 1e6:,.0f} MB; both together take {paper['added_core']:.1%} of a core more than the",
        "recorder alone, which loses nothing.",
    ]


def trading(found: dict[str, Any]) -> list[str]:
    """The section about strategies on a recording."""
    beside, made = found["beside"], found["lake"]
    rust, other = beside["rust"], beside["hftbacktest"]
    names = [name for name in beside["runs"] if not name.startswith(IN_MEMORY)]
    lines = [
        "## Strategies on a recording",
        "",
        "One pair of the built-in exchange, level 3 (depth 1000) and trades:",
        f"{made['messages']:,} messages, {beside['rows']:,} rows. Messages a second of CPU of all threads",
        "(`bench/python/trading.py`). Reading Parquet and every checksum are included, except in memory, where",
        "`krakpot.load` did both before.",
        "",
        row("", "million messages/s", "× plain replay", "start, ms"),
        row("---", "---:", "---:", "---:"),
        *(
            row(name, f"{rate / 1e6:.2f}", f"{found['ratio'][name]:.2f}", f"{found['start'][name] * 1e3:.0f}")
            for name, rate in found["rate"].items()
        ),
        "",
        "Rows a second, beside hftbacktest 2.4.4 (HashMap depth, queues of level 3), which has the same recording",
        "in memory as its own events. The maker looks once in a millisecond. In Rust, 100 s of the same flow: from",
        "events in memory; from frames, with every checksum.",
        "",
        row("million rows/s", *names),
        row("---", *("---:" for _ in names)),
        row("from Python, reading and checking a lake", *(f"{beside['runs'][name] / 1e6:.2f}" for name in names)),
        row("from Python, in memory", *(f"{beside['runs'][IN_MEMORY + name] / 1e6:.2f}" for name in names)),
    ]
    if isinstance(rust, str):
        lines.append(row(f"in Rust: not measured: {rust}", *("" for _ in names)))
    else:
        lines += [
            row(f"in Rust, from {of}", *(f"{rate / 1e6:.2f}" for rate in rates.values())) for of, rates in rust.items()
        ]
    if isinstance(other, str):
        lines.append(row(f"hftbacktest: not measured: {other}", *("" for _ in names)))
    else:
        lines.append(row("hftbacktest", *(f"{other[name] / 1e6:.2f}" for name in names)))
        if not isinstance(rust, str):
            ratios = [f"{rust['events'][name] / other[name]:.2f}" for name in names]
            lines.append(row("in Rust, from events, × hftbacktest", *ratios))
        lines += ["", f"Rows are those of the lake; hftbacktest's file has {other['events']:,.0f} events of them."]
    return [*lines, ""]


def page(
    found: criterion.Times,
    simdjson: str,
    left_out: list[str],
    measured: dict[str, Any],
    others: dict[str, Any],
) -> str:
    """The page."""
    cases = [case for case in CASES if ("frame", case, "krakpot") in found]
    socket, lake, day, paired, idle, loaded = (
        measured[what] for what in ("socket", "verify", "books", "align", "idle", "import")
    )
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`bench/report.py`), never by hand. [bench/README.md](../bench/README.md) says what",
        "is measured and what is not.",
        "",
        *machine(simdjson),
        "",
        *budget_lines(found, measured, others),
        "",
        "## Frame → checked book with rows",
        "",
        "Nanoseconds of CPU per frame, medians; in brackets the multiple of krakpot's. The others only read the",
        "frame: no book, checksum or rows, and numbers as binary floating point unless the row says otherwise.",
        "simdjson is compiled for this machine and its frames are padded in memory; all Rust is built for the",
        "baseline, like the wheels.",
        "",
        row("", *(CASES[case] for case in cases)),
        row("---", *("---:" for _ in cases)),
    ]
    for name, words in READERS.items():
        values = [found.get(("frame", case, name)) for case in cases]
        cells = [
            f"{value:,.0f} ({value / found['frame', case, 'krakpot']:.2f})" if value else "not measured"
            for case, value in zip(cases, values, strict=True)
        ]
        lines.append(row(words, *cells))
    lines += [
        "",
        *(f"{sentence}." for sentence in left_out),
        *([""] if left_out else []),
        "Of krakpot's time, and beside it, ns of CPU per message:",
        "",
        row("", *(CASES[case] for case in cases)),
        row("---", *("---:" for _ in cases)),
        row(
            "book and checksum alone, numbers decoded before",
            *(f"{found['book', case, 'apply_and_checksum']:,.0f}" for case in cases),
        ),
        row("verify, from rows in memory", *(f"{found['verify', case, 'krakpot']:,.0f}" for case in cases)),
        "",
        "![Nanoseconds per frame](benchmarks.svg)",
        "",
        "## Level 3",
        "",
        "Frame → checked order book with rows: nanoseconds of CPU per frame, medians; in brackets the multiple of",
        "krakpot's. Four in five events fall on the best ten levels at every depth.",
        "",
        row("", *DEPTHS.values()),
        row("---", *("---:" for _ in DEPTHS)),
    ]
    for name, words in LEVEL3_READERS.items():
        of_depths = [(found.get(("level3", case, name)), found["level3", case, "krakpot"]) for case in DEPTHS]
        cells = [f"{value:,.0f} ({value / ours:.2f})" if value else "not installed" for value, ours in of_depths]
        lines.append(row(words, *cells))
    lines += [
        "",
        "Of that the book alone, nanoseconds of CPU per message, numbers decoded before, ids packed on the way:",
        "",
        row("", *DEPTHS.values()),
        row("---", *("---:" for _ in DEPTHS)),
    ]
    lines += [row(words, *(f"{found['orders', case, name]:,.0f}" for case in DEPTHS)) for name, words in ORDERS.items()]
    lines += [
        "",
        "## Socket → checked book in Python",
        "",
        f"CPU of the reading process, µs per frame; medians of {socket['rounds']} interleaved rounds of",
        f"{socket['frames']:,} generated frames of depth 25, sent over loopback by another process as fast as they are",
        "read.",
        "",
        row("", "µs per frame", "× bare"),
        row("---", "---:", "---:"),
    ]
    for reader, words in PYTHON_READERS.items():
        us = socket["us"][reader]
        lines.append(row(words, f"{us:.2f}", f"{us / socket['us']['bare']:.2f}"))
    least, most = socket["ratio_least"], socket["ratio_most"]
    clock = lake["by_clock"]
    what = f"{lake['messages']:,} book messages ({lake['rows']:,} rows, {lake['symbols']} symbols)"
    lines += [
        "",
        f"krakpot / bare, round by round: {socket['ratio']:.2f} in the median, {least:.2f} to {most:.2f}.",
        "krakpot takes whole text messages out of a socket read itself and leaves everything else to the library's",
        "parser. The other two use that parser for every frame, so krakpot can cost less although it keeps the books.",
        "",
        *peer_lines(others),
        *feed_lines(measured["capacity"]),
        "## Idle subscriptions",
        "",
        f"A session without a socket, with one busy symbol: {idle['us']:.2f} µs of CPU per message, and",
        f"{idle['us_beside']:.2f} with {idle['idle']:,} more subscriptions that bring nothing; the median ratio is",
        f"{idle['ratio']:.2f} ×. The symbol sends a thousand messages per second.",
        "",
        "## Verify from Parquet",
        "",
        f"A lake of {what}, made by `krakpot ingest`:",
        f"{lake['per_second']:,.0f} messages per second of CPU, one thread proving. By the clock, reading included:",
        f"{clock['threads_1']:,.0f} per second with one thread, {clock['threads_2']:,.0f} with two.",
        f"Ingest, with journal and sealing: {lake['ingest_per_second']:,.0f} messages per second of CPU.",
        "",
        *compact_lines(measured["compact"]),
        "## Books at many times",
        "",
        f"A day of one symbol at depth 100, {day['messages']:,} messages: {day['times']:,} books of ten levels a side.",
        "",
        row("threads", "seconds", "seconds of CPU", "the same day verified, messages a second"),
        row("---", "---:", "---:", "---:"),
        *(
            row(threads, f"{one['seconds']:.2f}", f"{one['cpu']:.2f}", f"{one['verified_per_second']:,.0f}")
            for threads, one in ((threads, day[f"threads_{threads}"]) for threads in (1, 2))
        ),
        "",
        "Each symbol is proved by one thread, so a second thread does not make the proof of one symbol faster.",
        "",
        *trading(measured["trading"]),
        "## Import",
        "",
        f"{loaded['ms']:.0f} ms, median of {loaded['rounds']} processes. The first use of `krakpot.Lake` loads Polars",
        f"and PyArrow: {loaded['lake_ms']:.0f} ms up to there.",
        "",
        "## Compare",
        "",
        f"The states of two channels, {paired['states']:,} and {paired['pairs']:,} of one symbol, are paired at",
        f"{paired['per_second']:,.0f} states a second of CPU.",
        "",
        *live(measured["live"]),
        *accounts(measured["orders"], measured["paper"]),
        *viewing(measured["viewing"]),
        *browser(measured["page"], measured["proving"]),
    ]
    return "\n".join(lines) + "\n"


def picture(found: criterion.Times) -> None:
    """Draw bars of the first generated case."""
    import matplotlib as mpl  # noqa: PLC0415  # only this picture needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice of a backend

    case = "generated_d25"
    names = [name for name in READERS if ("frame", case, name) in found]
    with mpl.rc_context({"svg.hashsalt": "krakpot", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
        colours = ["#5741d9" if name.startswith("krakpot") else "#b8b4c8" for name in names]
        bars = axes.barh(
            [READERS[name].strip("*").replace("`", "") for name in names],
            [found["frame", case, name] for name in names],
            color=colours,
        )
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(f"ns of CPU per frame, {CASES[case]}")
        figure.savefig(PICTURE, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Measure, then write the page; or measure a part and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    one_of = parser.add_mutually_exclusive_group()
    one_of.add_argument("--live", action="store_true", help="live strategies alone: print their section")
    one_of.add_argument("--view", action="store_true", help="krakpot view and the page alone: print their sections")
    one_of.add_argument("--trading", action="store_true", help="strategies on a recording alone: print their section")
    one_of.add_argument(
        "--before",
        type=Path,
        metavar="DIR",
        help="print the times of the core here and in DIR, a checkout of another version, measured in turn",
    )
    parser.add_argument("--small", action="store_true", help="with --before: one case, once")
    options = parser.parse_args()
    if options.small and not options.before:
        parser.error("--small goes with --before")
    if options.live:
        print("\n".join([*machine(""), "", *live(python("live.py"))]))
        return
    if options.view:
        seen, drawn, proved = (python(f"{name}.py") for name in ("viewing", "page", "proving"))
        print("\n".join([*machine(""), "", *viewing(seen), *browser(drawn, proved)]))
        return
    if options.trading:
        print("\n".join([*machine(""), "", *trading(python("trading.py"))]))
        return
    if options.before:
        print("\n".join([*machine(""), "", *criterion.compare(options.before, small=options.small)]))
        return
    found, simdjson, left_out = rust()
    measured = python("measure.py") | {"live": python("live.py"), "burst": python("burst.py")}
    names = ("viewing", "wasm", "page", "proving", "trading", "orders", "paper")
    measured |= {name: python(f"{name}.py") for name in names}
    measured["capacity"] = capacity()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(found, simdjson, left_out, measured, python("peers.py")))
    picture(found)
    print(f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

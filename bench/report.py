"""Run every benchmark and write ``docs/benchmarks.md``: the only way that page changes.

Every target of the project stands beside what was measured, kept or missed. CPU, compilers, versions and the commit are
named; the machine is not.
"""

from __future__ import annotations

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
"""The last words of the benchmark on one whose answers are wrong."""

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

# The targets, in the order of the page.
READING = 0.8
"""Of C++ simdjson's on-demand reading: a frame → checked book with rows."""
ORDERS_US = 3
ORDERS_DEEP = 1.5
"""Of a level-3 update at depth 10: one at depth 1000."""
BARE = 1.3
"""Of a bare read loop in Python: from the socket to a checked book."""
PEERS = 5
"""Of krakpot's time: that of every other client in Python."""
VERIFIED = 1e6
"""Book messages a second and core."""
SHARE, MEMORY_MB, SEALER_MB = 0.15, 300, 600
"""Of a core; of the recorder and of its sealer in the full feed."""
RATE = 1e5
"""Messages a second that go on, without loss."""
BESIDE_IDLE = 1.05
ROW_BYTES = 12
DAY_S = 2
IMPORT_MS = 150
BURST_S = 2

MISSED = "**missed**"
TIMES = 11
"""Multiples of the full feed that are tried: ten times are the goal, and the exchange keeps a rate on average only."""
COLUMN_BYTES = 0.01
"""Columns that have less of a row are told together."""


def output(*command: str) -> str:
    """First line that a command prints; empty where it is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip().split("\n")[0]


def rust() -> tuple[dict[tuple[str, str, str], float], str, list[str]]:
    """Nanoseconds per element by (group, case, implementation), what was said of simdjson, and who was left out why."""
    results = BENCH / "rust/target/criterion"
    # Estimates of an earlier run, of cases that are not run now, must not reach the page.
    shutil.rmtree(results, ignore_errors=True)
    process = subprocess.Popen(
        ["cargo", "bench", "--bench", "core"], cwd=BENCH / "rust", stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None, "asked for"
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait() != 0:
        sys.exit("cargo bench failed; the page was left as it was")
    found = {}
    for path in results.glob("*/*/*/new/benchmark.json"):
        what = json.loads(path.read_text())
        case, implementation = what["function_id"], what["value_str"]
        elements = what["throughput"]["Elements"]
        nanoseconds = json.loads(path.with_name("estimates.json").read_text())["median"]["point_estimate"]
        found[what["group_id"], case, implementation] = nanoseconds / elements
    assert found, "criterion left no estimates"
    simdjson = next((line.strip() for line in lines if line.startswith("simdjson ")), "")
    return found, simdjson, [line.strip() for line in lines if line.strip().endswith(LEFT_OUT)]


def python(program: str) -> dict[str, Any]:
    """What a program of ``bench/python`` found."""
    command = [sys.executable, str(BENCH / "python" / program), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def peers() -> dict[str, Any]:
    """What ``bench/python/peers.py`` found."""
    command = [sys.executable, str(BENCH / "python/peers.py"), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def capacity() -> dict[str, Any]:
    """What ``krakpot capacity`` found of the full feed: some minutes, for each step takes one."""
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
        f"process, µs per frame, medians of {found['rounds']} interleaved rounds. Each has an environment of its own",
        "and the newest interpreter that it supports. The book of each was compared with the stream's at the end.",
        "Who only parses, or compares no checksum, does less than krakpot does.",
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
        f"- {output('rustc', '--version')}; {output('c++', '--version')}; {simdjson}",
        f"- {platform.python_implementation()} {platform.python_version()}; {packages}",
    ]


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def verdict(value: float, budget: float, *, least: bool = False, why: str = "") -> str:
    """Whether a budget is kept, in a word; ``why``: the page that says why it is not."""
    if value >= budget if least else value <= budget:
        return "kept"
    return f"{MISSED}, [why]({why})" if why else MISSED


def budget_lines(
    found: dict[tuple[str, str, str], float], measured: dict[str, Any], others: dict[str, Any]
) -> list[str]:
    """The section of the budgets: a row for every target."""
    socket, lake, merged, day, idle, burst, loaded = (
        measured[what] for what in ("socket", "verify", "compact", "books", "idle", "burst", "import")
    )
    lines = ["## Budgets", "", row("what", "budget", "measured", ""), row("---", "---", "---", "---")]
    for case, words in CASES.items():
        own, peer = (found.get(("frame", case, name)) for name in ("krakpot", "simdjson_on_demand_text"))
        if own is None:
            continue
        cells = f"frame → checked book with rows, {words}", f"{READING} × simdjson on-demand reading"
        if peer is None:
            lines.append(row(*cells, "not measured", ""))
        else:
            told = verdict(own / peer, READING, why="decisions/hot-path.md")
            lines.append(row(*cells, f"{own / peer:.2f} ×", told))
    for case, words in DEPTHS.items():
        us = found["orders", case, "krakpot"] / 1000
        cells = f"level-3 update with checksum, {words}", f"{ORDERS_US} µs", f"{us:.2f} µs"
        lines.append(row(*cells, verdict(us, ORDERS_US)))
    deep = found["orders", "d1000", "krakpot"] / found["orders", "d10", "krakpot"]
    cells = "the same, depth 1000", f"{ORDERS_DEEP} × depth 10", f"{deep:.2f} ×"
    lines.append(row(*cells, verdict(deep, ORDERS_DEEP)))
    beside = f"{idle['idle']:,} idle subscriptions beside a busy one, CPU of a session fed directly, no socket"
    rows_mb = f"{merged['bytes_per_row']:.2f} ({merged['bytes_per_row_sealed']:.2f} as sealed)"
    return [
        *lines,
        row(
            "socket → checked book in Python, CPU",
            f"{BARE} × a bare read loop",
            f"{socket['ratio']:.2f} ×",
            verdict(socket["ratio"], BARE),
        ),
        peer_budget(others),
        row(
            "verify from Parquet, book messages a second and core",
            f"{VERIFIED:,.0f}",
            f"{lake['per_second']:,.0f}",
            verdict(lake["per_second"], VERIFIED, least=True),
        ),
        *feed_budgets(measured["capacity"]),
        row(
            "one-second burst of 100,000 messages in the full feed, nothing lost, all read",
            f"{BURST_S} s",
            f"{burst['read']:.2f} s",
            verdict(burst["read"], BURST_S),
        ),
        row(
            beside,
            f"{BESIDE_IDLE} × without them",
            f"{idle['ratio']:.2f} ×",
            verdict(idle["ratio"], BESIDE_IDLE, why="decisions/hot-path.md#idle-subscriptions"),
        ),
        row(
            "lake, bytes per level row",
            f"{ROW_BYTES} after compact",
            rows_mb,
            verdict(merged["bytes_per_row"], ROW_BYTES, why="decisions/storage.md"),
        ),
        row(
            "books every 100 ms, depth 10, a day of one busy symbol, two threads",
            f"{DAY_S} s",
            f"{day['threads_2']['seconds']:.1f} s",
            verdict(day["threads_2"]["seconds"], DAY_S),
        ),
        row("`import krakpot`", f"{IMPORT_MS} ms", f"{loaded['ms']:.0f} ms", verdict(loaded["ms"], IMPORT_MS)),
        "",
        f"Of {len(burst['bursts'])} bursts in the full feed the slowest is told, of {burst['messages']:,} messages:",
        "the time from its begin until the recorder, a process of its own, had read its last message. The exchange had",
        f"sent that after {burst['sent']:.2f} s.",
    ]


def peer_budget(found: dict[str, Any]) -> str:
    """The row of the other clients in Python: the fastest of those that ran decides."""
    what, budget = "CPU per frame of every other client in Python", f"at least {PEERS} × krakpot"
    ran = [peer for peer in found["peers"] if not peer["missing"]]
    missing = ", ".join(peer["name"] for peer in found["peers"] if peer["missing"])
    if not ran:
        return row(what, budget, f"not measured: {missing}", "")
    fastest = min(ran, key=lambda peer: float(peer["ratio"]))
    measured = f"{fastest['ratio']:.1f} × ({fastest['words']})" + (f"; not measured: {missing}" if missing else "")
    return row(what, budget, measured, verdict(fastest["ratio"], PEERS, least=True))


def recorder(step: dict[str, Any]) -> float:
    """Cores that the recorder used in a step, without its sealer."""
    return float((sum(step["cpu"].values()) - step["cpu"]["seal"]) / step["seconds"])


def percent(share: float) -> str:
    """A share for people."""
    return f"{share * 100:.1f} %"


def feed_budgets(found: dict[str, Any]) -> list[str]:
    """The rows of the full feed: what it needs at once, and how much of it goes on without loss."""
    once = min(found["steps"], key=lambda step: float(step["times"]))
    if once["limit"] is None:
        values = [
            (f"{percent(recorder(once))} of a core", recorder(once), SHARE),
            (f"{once['recorder_mb']:.0f} MB", once["recorder_mb"], MEMORY_MB),
            (f"{once['sealer_mb']:.0f} MB", once["sealer_mb"], SEALER_MB),
        ]
        needed = [(words, verdict(value, budget)) for words, value, budget in values]
    else:
        needed = [(once["limit"]["sentence"], MISSED)] * 3
    # Below the first step in which something gave.
    below = [step for step in found["steps"] if step["times"] <= (found["carries"] or 0)]
    carried = max((step["messages_per_second"] for step in below), default=0.0)
    full = "full feed recorded to Parquet"
    names = [
        (f"{full}: the recorder's CPU", f"{SHARE * 100:.0f} % of a core"),
        (f"{full}: the recorder's memory", f"{MEMORY_MB} MB"),
        (f"{full}: its sealer's memory", f"{SEALER_MB} MB"),
    ]
    return [
        *(row(*name, *cells) for name, cells in zip(names, needed, strict=True)),
        row(
            "highest rate that goes on without loss, messages a second",
            f"{RATE:,.0f}",
            f"{carried:,.0f}" + ("" if any(step["limit"] for step in found["steps"]) else ", more was not tried"),
            verdict(carried, RATE, least=True),
        ),
    ]


def feed_lines(found: dict[str, Any]) -> list[str]:
    """The section of the full feed."""
    load, steps = found["load"], sorted(found["steps"], key=lambda step: float(step["times"]))
    told = [step for step in steps if not step.get("failed") and not step.get("stuck")]
    stages = [name.replace("_", " ") for name in STAGES]
    # Bytes of a row by the step of the most rows, for a part of few has more bytes a row.
    row_bytes = max(told, key=lambda step: float(step["rows"]))["row_bytes"] if told else 0.0
    lines = [
        "## The full feed",
        "",
        f"`krakpot capacity --seconds {found['seconds']:.0f} --most {TIMES}`: {load['pairs']:,} pairs, their books at",
        f"depth {load['depth']}, trades and tickers, {load['rate']:,.0f} messages a second, and multiples of that. The",
        "built-in exchange and `krakpot record` are processes on this same machine. Budgets are judged by the first",
        "step, the rate by the highest that was carried. [capacity.md](capacity.md) says what each column is, and has",
        "the rest: where the end is, an hour of it, level 3.",
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
        f"{merged['bytes_per_row_sealed']:.2f} bytes a row {merged['bytes_per_row']:.2f}. All tables:",
        f"{compact['rows'] / compact['seconds']:,.0f} rows a second of CPU, {compact['mb']:.0f} MB of memory at most.",
        "",
        row("column of the compacted books", "bytes per row"),
        row("---", "---:"),
        *(row(f"`{name}`", f"{size:.2f}") for name, size in columns.items()),
        row(f"the other {len(merged['columns']) - len(columns)} together", f"{rest:.2f}"),
        "",
        "The figure depends on the feed. `ts_recv`: messages of one read of a socket share their time of receipt,",
        f"about {merged['frames']} here; where a read brings more, it costs less. `qty`: sizes of orders are near to",
        "random, so their digits are the bytes. `price`: less for a symbol of many rows, whose prices come again.",
        "What was tried is in [decisions/storage.md](decisions/storage.md).",
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
        "*Event*: since its `ts_event`, the time at which it was due in the sending process, which looks at its clock",
        "without a pause: so with its making, the loopback, the waking of the loop, and whatever the machine does",
        "between. *Recv*: since `ts_recv`, taken when the loop has woken, has read the socket and hands over the",
        "bytes: the feed's own part, in which messages of one read wait for those before. The rate is of messages the",
        f"strategy received. Where those were fewer than {found['few']:,}, p99.9 is left out.",
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
        f"{beside['recording']['recorded']:,.0f} messages/s). The sending process leaves room on the cores: it looks",
        f"at its clock every {beside['nap_us']:,.0f} µs, which is in *event*.",
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
        f"Python held at most {blocks:,} blocks of memory (`sys.getallocatedblocks`) more after a row of",
        f"callbacks or iteration than before, of {least} to {most} messages. The garbage collector beside",
        f"{found['objects']:,} objects of the strategy's own, by iteration; collections of the youngest + middle +",
        "oldest generation, pauses in µs:",
        "",
        row("", "messages", "collections", "longest pause", "a full collection, forced"),
        row("---", *("---:" for _ in range(4))),
    ]
    for name, facts in found["gc"].items():
        times = " + ".join(str(n) for n in facts["collections"])
        pause = f"{facts['longest_us']:,.0f}" if any(facts["collections"]) else "none"
        lines.append(row(name, f"{facts['messages']:,}", times, pause, f"{facts['full_us']:,.0f}"))
    return lines


def page(
    found: dict[tuple[str, str, str], float],
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
        "Written by `make bench` (`bench/report.py`), never by hand. What is measured, and what is not, is said in",
        "[bench/README.md](../bench/README.md).",
        "",
        *machine(simdjson),
        "",
        *budget_lines(found, measured, others),
        "",
        "## Frame → checked book with rows",
        "",
        "Nanoseconds of CPU per frame, medians; in brackets the multiple of krakpot's. The others only read the",
        "frame: no book, checksum or rows, and numbers as binary floating point where not said otherwise. simdjson is",
        "compiled for this very machine and its frames lie padded in memory; all Rust is built for the baseline, as",
        "the wheels are.",
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
        "krakpot cuts whole text messages out of a socket read by itself and leaves all else to the library's parser,",
        "which the other two use for every frame: so it can stay below them with the books included.",
        "",
        *peer_lines(others),
        *feed_lines(measured["capacity"]),
        "## Idle subscriptions",
        "",
        "A session fed directly, with no socket: one busy symbol, a thousand messages a second:",
        f"{idle['us']:.2f} µs of CPU a message,",
        f"{idle['us_beside']:.2f} where {idle['idle']:,} further subscriptions bring nothing;",
        f"{idle['ratio']:.2f} × in the median.",
        "",
        "## Verify from Parquet",
        "",
        f"A lake of {what}, made by `krakpot ingest`:",
        f"{lake['per_second']:,.0f} messages a second of CPU, one thread proving. By the clock, reading included:",
        f"{clock['threads_1']:,.0f} a second with one thread, {clock['threads_2']:,.0f} with two.",
        f"Ingest, with journal and sealing: {lake['ingest_per_second']:,.0f} messages a second of CPU.",
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
        "Threads share the symbols of a proof: one symbol is proved by one of them, whatever their number.",
        "",
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
    ]
    return "\n".join(lines) + "\n"


def picture(found: dict[tuple[str, str, str], float]) -> None:
    """Bars of the first generated case."""
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
    """Measure, then write; with ``--live`` measure live strategies alone, and print their section."""
    if sys.argv[1:] == ["--live"]:
        print("\n".join([*machine(""), "", *live(python("live.py"))]))
        return
    found, simdjson, left_out = rust()
    measured = python("measure.py") | {"live": python("live.py"), "burst": python("burst.py")}
    measured["capacity"] = capacity()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(found, simdjson, left_out, measured, peers()))
    picture(found)
    print(f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

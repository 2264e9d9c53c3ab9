"""Let everything go wrong that the built-in exchange can do wrong, and judge what the recorder makes of it.

``make reliability`` runs all of it in some minutes and writes docs/reliability.md; the suite runs some faults. The real
recorder, over real sockets; each fault has an exchange, a recorder and a lake of its own, some of them at one time.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

import losses
import standings
from krakpot.config import Config
from krakpot.exchange import ExchangeServer, Options
from krakpot.lake import Lake
from krakpot.recorder import Recorder
from krakpot.verify import verify

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
PAIRS, RATE, DEPTH = 6, 600.0, 10
"""At depth 10 every level is covered by the checksum."""
DEPTHS = {"book": DEPTH, "level3": DEPTH}
AT_ONCE = 12
"""Recordings."""
PATIENCE = 120.0
"""Seconds for all to be well again."""
CALM = 1.5
"""Seconds for which all must be well."""
WELL = {"live", "quiet", "refused"}
ROUTINE = {
    "start", "stop", "connect", "subscribed", "snapshot", "alive", "sealed", "lag", "clock", "modify_rule",
    "unsubscribed",
}  # fmt: skip
"""Rows of the ledger that tell of no trouble."""
DATA = ("book", "level3", "trade", "ticker")
EARLY = 20_000_000
"""A row may seem to be so much older than its fault, ns: the exchange looks at the clock every 5 ms."""


@dataclass(frozen=True)
class Case:
    """How a fault is tried."""

    ask: tuple[str, ...]
    """What is asked for each time; ``{channel}`` and ``{symbol}`` are another one each time."""
    channels: tuple[str, ...] = ("",)
    times: int = 3
    """How often, for each channel."""
    first: bool = False
    """Whether it waits for the recorder: it happens to its first requests."""
    hold: float = 3.0
    """Seconds that it takes at least."""


def _frames(name: str, channels: tuple[str, ...] = DATA, *, times: int = 2, hold: float = 3.0, more: str = "") -> Case:
    return Case((f"{name}=once,channel={{channel}},symbol={{symbol}}{more}",), channels, times, hold=hold)


def _answers(name: str, channels: tuple[str, ...] = DATA, *, hold: float = 3.0) -> Case:
    return Case((f"{name}=once,channel={{channel}},symbol={{symbol}}",), channels, 2, first=True, hold=hold)


CASES = {
    # A ticker that was not sent is noticed by nobody: tickers have no numbers.
    "drop": _frames("drop", DATA[:3]),
    "repeat": _frames("repeat"),
    "reorder": _frames("reorder"),
    "delay": _frames("delay"),
    # Nor is a wrong digit of a trade or a ticker: they have no checksum.
    "digit": _frames("digit", DATA[:2]),
    "truncate": _frames("truncate"),
    "garbage": _frames("garbage"),
    "oversize": _frames("oversize", DATA[:2], times=1),
    "silence": _frames("silence", times=1, hold=25),
    "refuse": _answers("refuse"),
    "already": _answers("already"),
    "ratelimit": _answers("ratelimit"),
    "ignore": _answers("ignore", hold=25),
    "hollow": _answers("hollow", hold=70),
    "cut": Case(("cut",), times=4),
    "close": Case(("close,by=1012",), times=4),
    "half_open": Case(("half_open",), times=2, hold=17),
    "stall": Case(("stall,by=8s",), times=2, hold=10),
    "deaf": Case(("deaf,by=8s",), times=2, hold=10),
    "trickle": Case(("trickle",), times=2, hold=12),
    "handshake": Case(("handshake=once", "cut")),
    "budget": Case(("budget,by=0,for=4s", "cut"), times=1, hold=6),
    "maintenance": Case(("maintenance,by=3s",), hold=4),
    "cancel_only": Case(("cancel_only,by=3s",), hold=4),
    "post_only": Case(("post_only,by=3s",), hold=4),
    "status": Case(("status",)),
    "instrument": Case(("instrument,by=3s,symbol={symbol}",), hold=4),
    "precision": Case(("precision,symbol={symbol}",)),
    "delist": Case(("delist,symbol={symbol}",), times=2),
    "list": Case(("list",), times=2),
    "skew": Case(("skew,by=5s,for=3s",), hold=4),
}
MACHINE = {
    "`kill -9` of the recorder, half of the time of its sealer too": "tests/integration/test_kill.py",
    "the disk is full, at each call that may need room": "tests/integration/test_full_disk.py::test_a_full_disk_at_every_call",
    "a small file system runs full": "tests/integration/test_full_disk.py::test_a_small_file_system_runs_full",
    "a journal torn at random offsets": "tests/test_journal.py::test_a_tear_at_500_offsets",
    "a bit flipped in a part": "tests/test_verify.py::test_any_flipped_bit_is_told",
}
"""What happens to the machine, and the test that does it and judges."""


@dataclass
class Trial:
    """A recording while one fault happened, and what is found of it."""

    name: str
    lake: Path
    log: Path
    begins: list[int] = field(default_factory=list)
    """Times at which it was asked for, ns."""
    late: int = 1 << 62
    """How much the exchange's time is behind the clock, ns."""
    injected: list[dict[str, Any]] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    books: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Sentences about what must not be."""
    lost: losses.Losses = losses.Losses(0, Counter(), [])
    rows: Counter[str] = field(default_factory=Counter)
    """Rows of the ledger by kind."""
    after: list[float] = field(default_factory=list)
    """Of each injection that was noticed, after how long, ms."""

    @property
    def mine(self) -> list[dict[str, Any]]:
        """The fault itself, without those that made the occasion."""
        return [one for one in self.injected if one["name"] == self.name]


def _well(recorder: Recorder, server: ExchangeServer) -> bool:
    """Whether everything is recorded that can be."""
    symbols = set(server.exchange.symbols)
    for link in recorder.links:
        if link.connection is None:
            return False
        for _, symbol, state, _ in link.session.subscriptions():
            if state not in WELL and (symbol in symbols or state != "gone"):
                return False
    return len(recorder.links) > 1 and bool(recorder.links[1].session.subscriptions())


async def _calm(recorder: Recorder, server: ExchangeServer, hold: float) -> bool:
    """Wait until all is well for a while; whether it came to that."""
    begin = since = time.monotonic()
    while time.monotonic() - begin < PATIENCE + hold:
        await asyncio.sleep(0.1)
        now = time.monotonic()
        if not _well(recorder, server):
            since = now
        elif now - since > CALM and now - begin > hold:
            return True
    return False


async def _record(name: str, case: Case, folder: Path) -> Trial:
    """Record while a fault happens."""
    trial = Trial(name, folder / "lake", folder / "log.csv")
    folder.mkdir()
    rounds = [(channel, n) for n in range(case.times) for channel in case.channels]
    async with ExchangeServer(Options(pairs=PAIRS, rate=RATE, seed=3, log=trial.log)) as server:
        symbols = server.exchange.symbols
        asks = [
            [text.format(channel=channel, symbol=symbols[(n + 1) % PAIRS]) for text in case.ask]
            for channel, n in rounds
        ]
        config = Config(
            url=server.address, level3_url=server.level3_address, rest_url=server.rest_address, out=trial.lake,
            channels=("book", "trade", "ticker", "level3"), depth=DEPTH, level3_depth=DEPTH,
            api_key=server.key.name, api_secret=server.key.secret_text,
        )  # fmt: skip
        if case.first:
            trial.begins.append(server.exchange.now)
            for text in (text for texts in asks for text in texts):
                server.fault(text)
        recorder = Recorder(config, signals=False)
        recording = asyncio.create_task(recorder.run())
        calm = await _calm(recorder, server, case.hold if case.first else 0)
        for _ in range(20):
            # The least is exact: its time stands still between two looks at the clock.
            trial.late = min(trial.late, time.time_ns() - server.exchange.now)
            await asyncio.sleep(0.003)
        for texts in [] if case.first else asks:
            trial.begins.append(server.exchange.now)
            for text in texts:
                server.fault(text)
            calm = await _calm(recorder, server, case.hold) and calm
        # The exchange stands still, and what it sent arrives.
        server._clock.cancel()
        await asyncio.sleep(0.5)
        held = [one for link in recorder.links for one in standings.standings(link.session, DEPTHS)]
        trial.books, trial.wrong = standings.wrong(held, server.exchange, DEPTHS, set())
        if not calm:
            states = sorted({one[:4] for one in held if one[2] not in WELL})
            trial.wrong.append(f"not all was well again: {states}")
        recorder.stop()
        await recording
        trial.account = server.summary()
        trial.injected = list(server.injected)
    return trial


def _judge(trial: Trial) -> None:
    """Compare what was sent, what is in the lake and what its ledger says."""
    lake = Lake(trial.lake)
    report = verify(trial.lake, threads=1)
    trial.wrong += report.problems
    trial.lost = losses.losses(lake, trial.log, trial.account)
    trial.wrong += trial.lost.unexplained
    if unknown := trial.lost.why[losses.SILENT]:
        trial.wrong.append(f"{unknown} messages are lost and nobody knows")
    if not trial.mine:
        trial.wrong.append("it did not happen")
    told = _told(lake)
    told = told.with_columns(pl.col("ts_recv") - trial.late)
    trial.rows = Counter(told.filter(pl.col("ts_recv") >= trial.begins[0] - EARLY)["kind"])
    for fault in trial.mine:
        until = min((at for at in trial.begins if at > fault["ts"]), default=1 << 62)
        about = told.filter(pl.col("ts_recv").is_between(fault["ts"] - EARLY, until, closed="left"))
        if fault["symbol"]:
            about = about.filter(pl.col("symbol").is_null() | (pl.col("symbol") == fault["symbol"]))
        if fault["channel"] in DATA:
            about = about.filter(pl.col("channel").is_null() | (pl.col("channel") == fault["channel"]))
        first = about["ts_recv"].min()
        if isinstance(first, int):
            trial.after.append(max(0.0, (first - fault["ts"]) / 1e6))


def _told(lake: Lake) -> pl.DataFrame:
    """What the lake says of trouble: kind, channel, symbol, ts_recv; of the exchange's own words the tables' names."""
    ended = pl.col("detail").str.contains("stopped").fill_null(value=False)
    trouble = ~pl.col("kind").is_in(ROUTINE) & ~((pl.col("kind") == "disconnect") & ended)
    found = [lake.ledger().filter(trouble).select("kind", "channel", "symbol", "ts_recv")]
    for table in ("status", "pairs"):
        # The first message of a session says how things are, not that they changed.
        rows = lake.scan(table, sources="all")
        symbol = pl.col("symbol") if table == "pairs" else pl.lit(None, pl.String)
        found.append(
            rows.filter(pl.col("message") > pl.col("message").min().over("session")).select(
                pl.lit(f"a row of {table}").alias("kind"), pl.lit(None, pl.String).alias("channel"),
                symbol.alias("symbol"), "ts_recv",
            )
        )  # fmt: skip
    return pl.concat([frame.collect() for frame in found]).with_columns(pl.col("ts_recv").to_physical())


async def _all(names: Iterable[str], folder: Path) -> list[Trial]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Trial:
        async with room:
            begin = time.monotonic()
            trial = await _record(name, CASES[name], folder / name)
            took = time.monotonic() - begin
            sys.stderr.write(f"{name}: happened {len(trial.mine)} times, recorded in {took:.0f} s\n")
            return trial

    # The longest first.
    ordered = sorted(names, key=lambda name: -CASES[name].hold)
    trials = {trial.name: trial for trial in await asyncio.gather(*(one(name) for name in ordered))}
    return [trials[name] for name in names]


def run(names: Iterable[str], folder: Path) -> list[Trial]:
    """Let these faults happen, each to a recording of its own below ``folder``; judged."""
    trials = asyncio.run(_all(list(names), folder))
    for trial in trials:
        _judge(trial)
        for sentence in trial.wrong:
            sys.stderr.write(f"{trial.name}: WRONG: {sentence}\n")
    return trials


def machine() -> list[tuple[str, str, str]]:
    """What happens to the machine, how often it was tried, and whether the promise held."""
    found = []
    for what, test in MACHINE.items():
        sys.stderr.write(f"{what}\n")
        with tempfile.TemporaryDirectory(prefix="krakpot-") as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(ROOT / test)]
            done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
            cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # ours
            times = skipped = 0
            for case in cases:
                times += sum(int(one.attrib["value"]) for one in case.iter("property") if one.attrib["name"] == "times")
                skipped += case.find("skipped") is not None
        if done.returncode:
            sys.stderr.write(done.stdout)
        verdict = "**wrong**" if done.returncode else "cannot be tried on this machine" if skipped else "kept"
        found.append((what, f"{times:,}" if times else "", verdict))
    return found


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {n:,}" for kind, n in sorted(counts.items())) or "—"


def _line(trial: Trial) -> str:
    """A trial's row of the table."""
    after = f"{median(trial.after):,.0f} ({max(trial.after):,.0f})" if trial.after else "—"
    asked = "; ".join(f"`{text}`" for text in CASES[trial.name].ask).replace("{channel}", "…").replace("{symbol}", "…")
    lost = f"{trial.lost.lost:,} of {trial.lost.sent:,}"
    lost += f": {_counts(trial.lost.why)}" if trial.lost.lost else ""
    verdict = "**wrong**" if trial.wrong else "kept"
    noticed = f"{len(trial.after)} of {len(trial.mine)}"
    return _row(f"`{trial.name}`", asked, noticed, after, _counts(trial.rows), lost, _counts(trial.books), verdict)


def page(trials: list[Trial], machines: list[tuple[str, str, str]]) -> str:
    """The page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    lines = [
        "# Reliability",
        "",
        "Written by `make reliability` (`tests/reliability.py`), never by hand: every fault of the",
        "[built-in exchange](exchange.md#faults) happens to a recorder, and a program judges the lake.",
        "",
        f"- {datetime.now(tz=UTC).date()}, commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}",
        f"- {PAIRS} pairs, {RATE:.0f} messages a second, books and level 3 at depth {DEPTH}, trades, tickers; two sockets on",
        "  loopback; the load of other programs was not controlled",
        "",
        "**Kept** means: no message is lost without a row of the ledger (but for *held*, see below), every book at the end is",
        "the exchange's to the last digit or is marked with its reason, all is well again afterwards, and `krakpot verify`",
        "proves the lake.",
        "",
        "| column | meaning |",
        "| --- | --- |",
        "| noticed | how many of the times it happened have a row in the lake that says so |",
        "| after | from when the exchange did it, by its own account, to the time of the first such row: median (longest) |",
        "| the lake says | rows from the first fault on, routine left out; of a cut the rows of both sockets |",
        "| lost | messages that the exchange sent, or held back by the fault, and the lake has not; by what names them |",
        "| books | how those of `book` and level 3 stood at the end, compared with the exchange's |",
        "",
        "Among what names a loss, *disconnect* is what was on its way when a connection ended: the ledger has the number of",
        "messages that came, and the next session the gap; *not covered* is what came while the book was known to be wrong;",
        "*held* is a book message that was not sent, with no row: the next checksum was right without it, since what it",
        "changed had changed again.",
        "",
        _row("fault", "asked for", "noticed", "after, ms", "the lake says", "lost", "books", "verdict"),
        _row("---", "---", "---:", "---:", "---", "---", "---", "---"),
        *map(_line, trials),
        "",
        "What nothing in Kraken's protocol can tell is not tried: a ticker that was not sent, or a wrong digit in a trade's",
        "price, in a ticker or in a time. At depths beyond 10 a change below the tenth level is proved when that level rises.",
    ]
    if machines:
        lines += [
            "",
            "## The machine",
            "",
            "What was promised is that everything handed to the journal is in the lake afterwards, once, and that damage is told.",
            "",
            _row("what happens", "times", "verdict"),
            _row("---", "---:", "---"),
            *(_row(*row) for row in machines),
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all, write the page; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these, and the page is printed")
    given = parser.parse_args()
    if unknown := set(given.faults) - CASES.keys():
        parser.error(f"no fault {', '.join(sorted(unknown))}; faults: {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="krakpot-") as folder:
        trials = run(given.faults or CASES, Path(folder))
    machines = [] if given.faults else machine()
    text = page(trials, machines)
    if given.faults:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text)
        sys.stderr.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    kept = all(not trial.wrong for trial in trials) and all("wrong" not in verdict for *_, verdict in machines)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

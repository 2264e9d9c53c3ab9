"""Inject every fault of the built-in exchange, and check how the recorder handles it.

``make reliability`` runs all of them in some minutes and writes docs/reliability.md; the test suite runs a few. The
real recorder runs over real sockets. Each fault has a separate exchange, recorder and lake; some run at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
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
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from krakpot.record.recorder import Recorder

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
PAIRS, RATE, DEPTH = 6, 600.0, 10
"""At depth 10 every level is covered by the checksum."""
DEPTHS = {"book": DEPTH, "level3": DEPTH}
AT_ONCE = 12
"""Recordings."""
PATIENCE = 120.0
"""Seconds until everything must work again."""
CALM = 1.5
"""Seconds for which everything must work without interruption."""
WELL = {"active", "idle", "rejected"}
ROUTINE = {
    "start", "stop", "connect", "subscribed", "snapshot", "alive", "sealed", "lag", "clock", "modify_rule",
    "unsubscribed",
}  # fmt: skip
"""Kinds of ledger rows that are routine."""
DATA = ("book", "level3", "trade", "ticker")
EARLY = 20_000_000
"""A row may seem this much older than its fault, ns: the exchange reads the clock every 5 ms."""


LATE = 5_000_000_000
"""All share a loop: on a busy machine a message may wait this long until it is read, ns."""


@dataclass(frozen=True)
class Case:
    """How a fault is tested."""

    ask: tuple[str, ...]
    """The faults to inject each time; ``{channel}`` and ``{symbol}`` differ each time."""
    channels: tuple[str, ...] = ("",)
    times: int = 3
    """Number of injections for each channel."""
    first: bool = False
    """Whether it is injected before the recorder starts, because it concerns the first requests."""
    hold: float = 3.0
    """Seconds that it lasts at least."""
    noticed: bool = False
    """Whether it must be noticed each time: the account of the exchange does not have what was never made."""


def _frames(
    name: str,
    channels: tuple[str, ...] = DATA,
    *,
    by: str = "",
    times: int = 3,
    hold: float = 3.0,
    noticed: bool = False,
) -> Case:
    ask = f"{name}=once,channel={{channel}},symbol={{symbol}}" + (f",by={by}" if by else "")
    return Case((ask,), channels, times, hold=hold, noticed=noticed)


def _answers(name: str, *, hold: float = 3.0) -> Case:
    ask = f"{name}=once,channel={{channel}},symbol={{symbol}}"
    return Case((ask,), DATA, 2, first=True, hold=hold, noticed=True)


CASES = {
    # Nobody can notice a ticker that was not sent: tickers have no numbers.
    "drop": _frames("drop", DATA[:3]),
    "repeat": _frames("repeat"),
    "reorder": _frames("reorder"),
    "delay": _frames("delay"),
    # Nor is a wrong digit of a trade or a ticker: they have no checksum.
    "digit": _frames("digit", DATA[:2], times=6),
    "truncate": _frames("truncate", noticed=True),
    "garbage": _frames("garbage", noticed=True),
    "oversize": _frames("oversize", DATA[:2], times=1, hold=15, noticed=True),
    "absent": _frames("absent", DATA[:3], by="timestamp"),
    "null": _frames("null", DATA[:3], by="timestamp"),
    "huge": _frames("huge", DATA[:3], by="timestamp", noticed=True),
    "stray": _frames("stray", DATA[:3]),
    "silence": _frames("silence", times=1, hold=25, noticed=True),
    "refuse": _answers("refuse"),
    "already": _answers("already"),
    "ratelimit": _answers("ratelimit"),
    "ignore": _answers("ignore", hold=25),
    "hollow": _answers("hollow", hold=70),
    "cut": Case(("cut",), times=4, noticed=True),
    "close": Case(("close,by=1012",), times=4, noticed=True),
    "half_open": Case(("half_open",), times=2, hold=17, noticed=True),
    "stall": Case(("stall,by=8s",), times=2, hold=10),
    "deaf": Case(("deaf,by=8s",), times=2, hold=10),
    "trickle": Case(("trickle",), times=2, hold=12),
    "handshake": Case(("handshake=once", "cut")),
    "retry_after": Case(("retry_after=once,by=2s", "cut")),
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
    "the disk is full, at each call that may need room": (
        "tests/integration/test_full_disk.py::test_a_full_disk_at_every_call"
    ),
    "a small file system runs full": "tests/integration/test_full_disk.py::test_a_small_file_system_runs_full",
    "a journal torn at random offsets": "tests/lake/test_journal.py::test_a_tear_at_500_offsets",
    "a bit flipped in a part": "tests/lake/test_verify.py::test_any_flipped_bit_is_told",
}
"""Trouble of the machine, and the test that causes and checks it."""
KILLS = "10"
"""How often the recorder is killed, unless KRAKPOT_KILLS says otherwise."""


@dataclass
class Trial:
    """A recording during which one fault happened, and what was found."""

    name: str
    lake: Path
    log: Path
    begins: list[int] = field(default_factory=list)
    """Times of the injections, ns."""
    late: int = 1 << 62
    """How far the time of the exchange is behind the clock, ns."""
    injected: list[dict[str, Any]] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    books: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Sentences about what must not happen."""
    lost: losses.Losses = field(default_factory=lambda: losses.Losses(0, Counter(), []))
    rows: Counter[str] = field(default_factory=Counter)
    """Rows of the ledger by kind."""
    after: list[float] = field(default_factory=list)
    """For each injection that was noticed, the time until then, ms."""

    @property
    def mine(self) -> list[dict[str, Any]]:
        """The fault itself, without those that prepare it."""
        return [one for one in self.injected if one["name"] == self.name]


def _well(recorder: Recorder, server: ExchangeServer) -> bool:
    """Whether everything that can be recorded is recorded."""
    delisted = {fault["symbol"] for fault in server.injected if fault["name"] == "delist"}
    for link in recorder.clients:
        if link.connection is None:
            return False
        for channel, symbol, state, _ in link.session.subscriptions():
            # A book in doubt stays in sync until it is unsubscribed.
            lives = channel in DEPTHS and (link.session.book(symbol) or link.session.orders(symbol)) is not None
            if state not in WELL and not lives and (state != "removed" or symbol not in delisted):
                return False
    return len(recorder.clients) > 1 and bool(recorder.clients[1].session.subscriptions())


async def _calm(recorder: Recorder, server: ExchangeServer, hold: float) -> bool:
    """Wait until everything works for a while; returns whether it did."""
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
    rounds = [channel for _ in range(case.times) for channel in case.channels]
    async with ExchangeServer(Options(pairs=PAIRS, rate=RATE, seed=3, log=trial.log)) as server:
        symbols = server.exchange.symbols
        asks = [
            [text.format(channel=channel, symbol=symbols[(n + 1) % PAIRS]) for text in case.ask]
            for n, channel in enumerate(rounds)
        ]
        config = Config(
            url=server.address, level3_url=server.level3_address, rest_url=server.rest_address, out=trial.lake,
            channels=("book", "trade", "ticker", "level3"), depth=DEPTH, level3_depth=DEPTH,
            api_key=server.key.name, api_secret=server.key.secret_text,
        )  # fmt: skip
        if case.first:
            trial.begins.append(server.exchange.now)
            for text in (text for texts in asks for text in texts):
                server.inject(text)
        recorder = Recorder(config)
        recording = asyncio.create_task(recorder.run())
        calm = await _calm(recorder, server, case.hold if case.first else 0)
        for _ in range(20):
            # The least is exact: its time stands still between two looks at the clock.
            trial.late = min(trial.late, time.time_ns() - server.exchange.now)
            await asyncio.sleep(0.003)
        for texts in [] if case.first else asks:
            trial.begins.append(server.exchange.now)
            before = list(server.injected)[-1:]
            for text in texts:
                server.inject(text)
            give_up = time.monotonic() + PATIENCE
            # A quiet symbol has no message for a while.
            while list(server.injected)[-1:] == before and time.monotonic() < give_up:
                await asyncio.sleep(0.05)
            calm = await _calm(recorder, server, case.hold) and calm
        # The time of the exchange stops, and what it sent arrives.
        server._clock.cancel()
        await asyncio.sleep(0.5)
        held = [one for link in recorder.clients for one in standings.standings(link.session, DEPTHS)]
        trial.books, trial.wrong = standings.wrong(held, server.exchange, DEPTHS, set())
        if not calm:
            states = [
                (link.label, link.state, *one) for link in recorder.clients for one in link.session.subscriptions()
            ]
            states = sorted(one for one in states if one[4] not in WELL)
            trial.wrong.append(f"not all was well again: {states}")
        recorder.stop()
        await recording
        trial.account = server.summary()
        trial.injected = list(server.injected)
    return trial


def _judge(trial: Trial) -> None:
    """Compare what was sent with the lake and its ledger."""
    lake = Lake(trial.lake)
    report = verify(trial.lake, threads=1)
    trial.wrong += report.problems
    trial.lost = losses.losses(lake, trial.log, trial.account)
    trial.wrong += trial.lost.unexplained
    if unknown := trial.lost.why[losses.SILENT]:
        trial.wrong.append(f"{unknown} messages are lost and nobody knows")
    case = CASES[trial.name]
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
        elif case.noticed:
            trial.wrong.append(f"it was not noticed: {fault}")
        if fault["name"] in {"cut", "close", "half_open"}:
            trial.wrong += _covered(lake, trial, fault)


def _covered(lake: Lake, trial: Trial, fault: dict[str, Any]) -> list[str]:
    """Sentences if the coverage goes beyond the end of a connection."""
    (told,) = [one["connection_id"] for one in trial.account["connections"] if one["connection"] == fault["connection"]]
    session = lake.scan("status", sources="all").filter(connection_id=told).collect()["session"][0]
    until = lake.coverage().filter(session=session)["ts_to"].to_physical().max()
    # Messages sent before may be read some time later.
    end = fault["ts"] + trial.late + LATE
    return [f"covered after the end of connection {told}"] if isinstance(until, int) and until > end else []


def _told(lake: Lake) -> pl.DataFrame:
    """Rows that report trouble: kind, channel, symbol, ts_recv; for messages of the exchange the table's name."""
    ended = pl.col("detail").str.contains("stopped").fill_null(value=False)
    trouble = ~pl.col("kind").is_in(ROUTINE) & ~((pl.col("kind") == "disconnect") & ended)
    found = [lake.ledger().filter(trouble).select("kind", "channel", "symbol", "ts_recv")]
    for table in ("status", "pairs"):
        # The first message of a session describes the current state, not a change.
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
    """Inject these faults, each into a separate recording below ``folder``, and check the recordings."""
    trials = asyncio.run(_all(list(names), folder))
    for trial in trials:
        _judge(trial)
        for sentence in trial.wrong:
            sys.stderr.write(f"{trial.name}: WRONG: {sentence}\n")
    return trials


def machine() -> list[tuple[str, str, str]]:
    """Trouble of the machine, how often it was tested, and whether the promise was kept."""
    found = []
    for what, test in MACHINE.items():
        sys.stderr.write(f"{what}\n")
        with tempfile.TemporaryDirectory(prefix="krakpot-") as folder:
            report = Path(folder) / "report.xml"
            # pytest's xunit1 family lets a test report how often it tried.
            command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={report}", test]
            variables = {"KRAKPOT_KILLS": KILLS} | os.environ
            done = subprocess.run(command, cwd=ROOT, env=variables, check=False, capture_output=True, text=True)
            cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # ours
            times = skipped = 0
            for case in cases:
                times += sum(int(one.attrib["value"]) for one in case.iter("property") if one.attrib["name"] == "times")
                skipped += case.find("skipped") is not None
        if done.returncode:
            sys.stderr.write(done.stdout)
        sys.stderr.write(f"  {times} times\n")
        verdict = "**wrong**" if done.returncode else "cannot be tried on this machine" if skipped else "kept"
        found.append((what, f"{times:,}" if times else "", verdict))
    return found


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {n:,}" for kind, n in sorted(counts.items())) or "—"


def _line(trial: Trial) -> str:
    """The row of a trial in the table."""
    after = f"{median(trial.after):,.0f} ({max(trial.after):,.0f})" if trial.after else "—"
    asked = "; ".join(f"`{text}`" for text in CASES[trial.name].ask).replace("{channel}", "…").replace("{symbol}", "…")
    lost = f"{trial.lost.lost:,} of {trial.lost.sent:,}"
    lost += f": {_counts(trial.lost.why)}" if trial.lost.lost else ""
    verdict = "**wrong**" if trial.wrong else "kept"
    noticed = f"{len(trial.after)} of {len(trial.mine)}"
    return _row(f"`{trial.name}`", asked, noticed, after, _counts(trial.rows), lost, _counts(trial.books), verdict)


HEAD = """# Reliability

Written by `make reliability` (`tests/reliability.py`), never by hand: every fault of the
[built-in exchange](exchange.md#faults) is injected into a recording, and a program checks the lake.

- {date}, commit {commit}, Python {python}
- {pairs} pairs, {rate:.0f} messages a second, books and level 3 at depth {depth}, trades, tickers; two sockets on
  loopback; the load of other programs was not controlled

**Kept** means: no message is lost without a row in the ledger (except *held*, see below), every book at the end
equals the exchange's to the last digit or is marked with a reason, everything works again afterwards, and
`krakpot verify` proves the lake. Messages that the exchange never made, because a connection was dead or a confirmed
subscription was silent, cannot be counted. Then each case must be noticed, and the lake must not call that time
covered.

| column | meaning |
| --- | --- |
| noticed | how many of the injected faults have a row in the lake that reports them |
| after | time from the fault, by the exchange's own account, to the first such row: median (longest) |
| the lake says | rows since the first fault, without routine rows; for a cut the rows of both sockets |
| lost | messages that were sent, or held back by the fault, and are not in the lake; by the row that names them |
| books | state of the books of `book` and level 3 at the end, compared with the exchange's |

In the column *lost*, *disconnect* means messages that were on their way when a connection ended: the ledger has the
number of messages that arrived, and the next session has the gap. *Not covered* means messages that arrived while the
book was known to be wrong. *Held* means a book message that was not sent, or whose digits were changed, without a row:
the next checksum was right without it, because the levels that it changed had changed again.

"""
FOOT = """
Faults that Kraken's protocol cannot show are not injected: a ticker that was not sent, a wrong digit in a trade or a
ticker. A wrong digit in the time of a book is not noticed either, nor, until that order changes, in the id of an
order: checksums cover prices and quantities. At depths beyond 10, a change below the tenth level is proved when that
level rises into the best ten.
"""
MACHINES = """
## The machine

The promise: everything that was handed to the journal is in the lake afterwards, exactly once, and damage is reported.

"""


def _table(heads: str, rows: Iterable[str]) -> str:
    ruled = "| " + " | ".join("---" for _ in heads.split("|")[1:-1]) + " |"
    return "\n".join([heads, ruled, *rows]) + "\n"


def page(trials: list[Trial], machines: list[tuple[str, str, str]]) -> str:
    """The page."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()
    text = HEAD.format(
        date=datetime.now(tz=UTC).date(), commit=commit or "unknown", python=platform.python_version(),
        pairs=PAIRS, rate=RATE, depth=DEPTH,
    )  # fmt: skip
    heads = _row("fault", "asked for", "noticed", "after, ms", "the lake says", "lost", "books", "verdict")
    text += _table(heads, map(_line, trials)) + FOOT
    if machines:
        text += MACHINES + _table(_row("what happens", "times", "verdict"), (_row(*row) for row in machines))
    return text


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

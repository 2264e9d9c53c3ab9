"""One step of ``krakpot capacity``: runs the built-in exchange and a recorder as processes, and measures them.

CPU time and memory come from the recorder's metrics and from the kernel; messages, rows, lag and bytes from the
recorded lake; losses from the exchange's own account. So the measurement adds nothing to the recorder's work.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from krakpot import _core
from krakpot.cli.top import Snapshot
from krakpot.compare.exchange import COMPARED, differences
from krakpot.errors import KrakpotError, counted
from krakpot.exchange.rest import Key
from krakpot.lake import journal, parquet
from krakpot.lake.format import JOURNALS, order
from krakpot.lake.lake import Lake
from krakpot.record.level3 import subscribe_seconds

CORES = len(os.sched_getaffinity(0))
LOOK = 0.05
"""Seconds between two looks at the processes; a sealer lives for a second or more."""
SETTLE = 2.0
"""Seconds from when everything is subscribed and sealed to the beginning of the window."""
START = 30.0
"""Seconds that the processes may take to start, without subscribing."""
END = 120.0
"""Seconds that the recorder may take to seal the rest."""
SUBSCRIBE = 20.0
"""Subscriptions per second that are expected at least."""
PARTS = 5
"""Parts of the window; the lags of the first and of the last one are compared."""
TICK = os.sysconf("SC_CLK_TCK")
THERE = ("active", "idle")
"""States of a subscription that exists."""


@dataclass(frozen=True)
class Load:
    """The feed of which multiples are recorded."""

    pairs: int
    rate: float
    """Messages per second of the public channels that the exchange is asked to send."""
    level3: int | None = None
    """Depth of level 3; None: it is not recorded."""
    depth: int = 1000

    @property
    def words(self) -> str:
        """For people."""
        more = f", level3 (depth {self.level3})" if self.level3 else ""
        return f"{counted(self.pairs, 'pair')}, book (depth {self.depth}), trade, ticker{more}"


@dataclass(frozen=True)
class Step:
    """Measurements at one multiple, within the window unless said otherwise."""

    times: float
    seconds: float
    messages: int = 0
    """Recorded messages of book, trade, ticker and level3."""
    rows: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by stage; that of sealing is the window's share of the rows of the whole step."""
    exchange_cpu: float = 0.0
    busy: float = 0.0
    """Share of all cores that all programs used."""
    recorder_mb: float = 0.0
    """Peak memory since its start."""
    sealer_mb: float = 0.0
    lag_p50: float = 0.0
    """Seconds from a book message's own time to its receive time."""
    lag_p99: float = 0.0
    lag_growth: float = 0.0
    """Seconds by which the median lag of the last fifth exceeds that of the first."""
    row_bytes: float = 0.0
    """Bytes per row, measured by writing rows of the window as the sealer does, as many as one part has at most."""
    checkpoint_rows: int = 0
    """Rows of the checkpoints that are written every hour."""
    unsealed: int = 0
    """Closed journals that waited for the sealer at the end of the window, without one per connection."""
    waits: int = 0
    """How often a socket waited for the disk in the whole step."""
    wrong: tuple[str, ...] = ()
    """Losses and faults of the whole step."""
    stuck: str = ""
    """Why there was no window although all processes ran; the times are then those of the step until it was aborted."""
    failed: str = ""
    """Why nothing could be measured."""
    between: bool = False
    """Whether it was run to find the limit more exactly."""

    @property
    def loop(self) -> float:
        """CPU seconds of the recorder's loop, which is one thread."""
        return sum(self.cpu[stage] for stage in ("read", "decode", "hand_over", "duties"))

    @property
    def recorder(self) -> float:
        """CPU seconds of the recorder without its sealer."""
        return self.loop + self.cpu["write"]

    def others(self, cores: int) -> float:
        """Cores that other programs used, including this one."""
        return self.busy * cores - (self.exchange_cpu + sum(self.cpu.values())) / self.seconds

    @property
    def day_rows(self) -> float:
        """Rows per day at this rate, with the checkpoints."""
        return self.rows / self.seconds * 86_400 + 24 * self.checkpoint_rows

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        if self.failed:
            return {"times": self.times, "failed": self.failed}
        found = asdict(self) | {
            "messages_per_second": self.messages / self.seconds,
            "us_per_message": {stage: taken / max(self.messages, 1) * 1e6 for stage, taken in self.cpu.items()},
            "day_rows": self.day_rows,
        }
        del found["failed"]
        return found


class _Failed(Exception):
    """A step failed, with the reason; the measurement goes on."""


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_of(pid: int) -> float:
    """Peak memory of a process, MB; 0 if the process is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) * 1024 / 1e6 if found else 0.0
    return 0.0


def children_of(pid: int) -> list[int]:
    """Child processes of a process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = [path.read_text(encoding="utf-8").split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(text) for words in found for text in words]
    return []


def machine_cpu() -> tuple[float, float]:
    """CPU seconds of all cores since the machine started: used, and available."""
    ticks = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / TICK, sum(ticks) / TICK


class _Process:
    """A krakpot command in the background; its output goes into files, so that it never waits for a reader."""

    def __init__(self, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        """Start it in ``folder``, without configuration from a file or from the environment."""
        self.name = arguments[0]
        self._said = folder / f"{self.name}.log"
        self._answer = folder / f"{self.name}.json"
        environment = {name: text for name, text in os.environ.items() if not name.startswith("KRAKPOT_")}
        with self._said.open("wb") as err, self._answer.open("wb") as out:
            self._popen = subprocess.Popen(  # noqa: S603  # this very Python, and numbers
                [sys.executable, "-P", "-m", "krakpot", *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                env=environment | dict(variables or {}),
                # Ctrl-C in the terminal is for this process, which then ends the command.
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._popen.pid

    @property
    def words(self) -> str:
        """Its output so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, seconds: float = START) -> re.Match[str]:
        """Wait until its output matches; returns the match."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := re.search(pattern, self.words):
                return found
            self.check()
            time.sleep(LOOK)
        sentence = f"krakpot {self.name} did not start within {seconds:.0f} s"
        raise _Failed(sentence)

    def check(self) -> None:
        """Raise an error if it has ended."""
        if self._popen.poll() is not None:
            lines = self.words.strip().splitlines()
            sentence = f"krakpot {self.name} ended by itself: {lines[-1] if lines else 'without an error message'}"
            raise _Failed(sentence)

    def wait(self, seconds: float) -> None:
        """Wait for its end."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            sentence = f"krakpot {self.name} did not end within {seconds:.0f} s"
            raise _Failed(sentence) from None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._popen.poll() is not None

    def answer(self) -> dict[str, Any]:
        """Return the JSON object that it printed at its end."""
        if self._popen.returncode:
            self.check()
        return dict(json.loads(self._answer.read_text(encoding="utf-8")))

    def interrupt(self) -> None:
        """Ask it to end in order."""
        self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and its child processes at once, if it still runs."""
        if self._popen.poll() is None:
            started = children_of(self.pid)
            self._popen.kill()
            for pid in started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._popen.wait()


@contextmanager
def _running(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[_Process]:
    process = _Process(folder, *arguments, variables=variables)
    try:
        yield process
    finally:
        process.kill()


def run(load: Load, times: float, seconds: float, folder: Path, *, between: bool = False) -> Step:
    """Record ``times`` the load into a new folder, for ``seconds`` after everything is subscribed.

    The step reports failures of the recording too. The processes end with this function, however it ends.
    """
    folder.mkdir()
    key = Key.made()
    command = ("exchange", "--port", "0", "--pairs", str(load.pairs), "--rate", str(load.rate * times), "--json")
    try:
        with _running(
            folder, *command, "--api-key", key.name, variables={"KRAKPOT_API_SECRET": key.secret_text}
        ) as exchange:
            public = exchange.wait_for(r"listening on (\S+)\n")[1]
            level3, rest = exchange.wait_for(r"level 3 at (\S+), its tokens at (\S+)\n").groups()
            record = [
                "record",
                "--url",
                public,
                "--depth",
                str(load.depth),
                "--out",
                "lake",
                "--metrics",
                "0",
                "--json",
            ]
            if load.level3:
                record += ["--channels", "book,trade,ticker,level3", "--level3-url", level3, "--rest-url", rest]
                record += ["--level3-depth", str(load.level3)]
            secrets = {"KRAKPOT_API_KEY": key.name, "KRAKPOT_API_SECRET": key.secret_text}
            with _running(folder, *record, variables=secrets if load.level3 else None) as recorder:
                return _Measurement(load, times, seconds, folder / "lake", exchange, recorder, between).step()
    except (_Failed, KrakpotError) as error:
        return Step(times, seconds, failed=str(error), between=between)


@dataclass
class _Measurement:
    """A running step."""

    load: Load
    times: float
    seconds: float
    lake: Path
    exchange: _Process
    recorder: _Process
    between: bool
    sealer_mb: float = 0.0

    def step(self) -> Step:
        """Wait until all is subscribed, measure the window, end the recorder, then the exchange; compare."""
        base = self.recorder.wait_for(r"metrics at (\S+)/metrics")[1]
        begun = self._look(base)
        stuck = self._subscribed(base)
        if not stuck:
            self._watch(SETTLE)
            first = self._look(base)
            self._watch(self.seconds)
            stuck = self._cut()
        last = self._look(base)
        if stuck:
            return self._stuck(begun, last, stuck)
        unsealed = self._unsealed(last.connections)
        memory = memory_of(self.recorder.pid)
        self._end()
        record, account = self.recorder.answer(), self.exchange.answer()
        lake = Lake(self.lake)
        window = Window.read(lake, first.at, last.at)
        cpu = {stage: last.cpu[stage] - first.cpu[stage] for stage in last.cpu}
        cpu["seal"] = record["cpu_seconds"]["seal"] / max(1, sum(record["rows"].values())) * window.rows
        return Step(
            self.times,
            seconds=(last.at - first.at) / 1e9,
            messages=window.messages,
            rows=window.rows,
            cpu=cpu,
            exchange_cpu=last.exchange - first.exchange,
            busy=first.busy(last),
            recorder_mb=memory,
            sealer_mb=self.sealer_mb,
            lag_p50=window.lag_p50,
            lag_p99=window.lag_p99,
            lag_growth=window.lag_growth,
            row_bytes=window.row_bytes,
            checkpoint_rows=_snapshot_rows(lake),
            unsealed=unsealed,
            waits=record["backpressure"]["waits"],
            wrong=tuple(wrong(record, differences(lake, account))),
            between=self.between,
        )

    def _stuck(self, first: _Look, last: _Look, why: str) -> Step:
        """Make the result of a step that had no window."""
        return Step(
            self.times,
            seconds=(last.at - first.at) / 1e9,
            cpu={stage: last.cpu[stage] - first.cpu[stage] for stage in last.cpu},
            exchange_cpu=last.exchange - first.exchange,
            busy=first.busy(last),
            recorder_mb=memory_of(self.recorder.pid),
            sealer_mb=self.sealer_mb,
            stuck=why,
            between=self.between,
        )

    def _cut(self) -> str:
        """Why the exchange cut the recorder; empty if it did not."""
        found = re.search(r"^cut a client that had (.*) waiting", self.exchange.words, re.MULTILINE)
        return f"the exchange had {found[1]} for the recorder that it could not send, and cut it" if found else ""

    def _subscribed(self, base: str) -> str:
        """Wait until all is subscribed and closed journals are sealed; returns why that failed, or an empty text."""
        channels = 4 if self.load.level3 else 3
        seconds = START + self.load.pairs * channels / SUBSCRIBE
        if self.load.level3:
            seconds += 2 * subscribe_seconds(self.load.pairs, self.load.level3, _core.LEVEL3_RATES["standard"])
        until = time.monotonic() + seconds
        while True:
            snapshot = Snapshot.take(base, "")
            states = snapshot.values.get("subscriptions", {})
            there = sum(n for (_, state), n in states.items() if state in THERE)
            connections = len(snapshot.values.get("connection_up", {}))
            if there >= self.load.pairs * channels and not self._unsealed(connections):
                return ""
            if cut := self._cut():
                return cut
            if time.monotonic() > until:
                return f"after {seconds:.0f} s {there:.0f} of {self.load.pairs * channels} subscriptions existed"
            self._watch(0.5)

    def _look(self, base: str) -> _Look:
        snapshot = Snapshot.take(base, "")
        return _Look(
            time.time_ns(),
            {stage: seconds for (stage,), seconds in snapshot.values["cpu_seconds_total"].items()},
            len(snapshot.values["connection_up"]),
            cpu_of(self.exchange.pid),
            machine_cpu(),
        )

    def _unsealed(self, connections: int) -> int:
        """Closed journals that wait, without the one that each connection may just have closed."""
        return max(0, len(journal.journals(self.lake)) - 2 * connections)

    def _watch(self, seconds: float) -> None:
        """Wait; meanwhile measure the memory of sealers and check that the processes still run."""
        until = time.monotonic() + seconds
        while True:
            self.exchange.check()
            self.recorder.check()
            self._see_sealers()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, LOOK))

    def _see_sealers(self) -> None:
        self.sealer_mb = max([self.sealer_mb, *map(memory_of, children_of(self.recorder.pid))])

    def _end(self) -> None:
        """End the recorder, which seals everything; then the exchange, whose account is final now."""
        self.recorder.interrupt()
        until = time.monotonic() + END
        while not self.recorder.ended:
            if time.monotonic() > until:
                sentence = f"the recorder had not sealed everything after {END:.0f} s"
                raise _Failed(sentence)
            self._see_sealers()
            time.sleep(LOOK)
        self.exchange.interrupt()
        self.exchange.wait(END)


@dataclass(frozen=True)
class _Look:
    """State of the processes at one moment."""

    at: int
    """ns."""
    cpu: dict[str, float]
    connections: int
    exchange: float
    machine: tuple[float, float]

    def busy(self, later: _Look) -> float:
        """Share of all cores that all programs used until ``later``."""
        used, had = (b - a for a, b in zip(self.machine, later.machine, strict=True))
        return used / max(had, 1 / TICK)


@dataclass(frozen=True)
class Window:
    """Figures of a lake for a range of time."""

    messages: int
    rows: int
    lag_p50: float
    lag_p99: float
    lag_growth: float
    row_bytes: float

    @classmethod
    def read(cls, lake: Lake, begin: int, end: int) -> Window:
        """Read what was received in [begin, end), ns."""
        messages = rows = size = sample = 0
        for name in COMPARED.values():
            frame = lake.scan(name, start=begin, end=end, sources="all").head(journal.ROWS_MAX)
            found = lake.scan(name, start=begin, end=end, sources="all").select(
                rows=pl.len(), messages=pl.struct("session", "message").n_unique()
            )
            totals = found.collect()
            rows += totals["rows"][0]
            messages += totals["messages"][0]
            if totals["rows"][0]:
                written = frame.collect().sort(order(name), nulls_last=False)
                path = lake.path / JOURNALS / ".capacity.parquet.tmp"
                parquet.write_part(written, path)
                # Of a table with more rows than one part, only as many as one part has were written.
                size += path.stat().st_size * totals["rows"][0] // written.height
                sample += totals["rows"][0]
                path.unlink()
        lags = _lags(lake, begin, end)
        return cls(messages, rows, *lags, row_bytes=size / max(1, sample))


def _lags(lake: Lake, begin: int, end: int) -> tuple[float, float, float]:
    """Lag of book messages, seconds: median, 99th percentile, growth of the median from the first to the last part."""
    late = (
        lake.scan("book", start=begin, end=end, sources="all")
        .filter(pl.col("kind") == "update")
        .group_by("session", "message")
        .agg(
            lag=(pl.col("ts_recv") - pl.col("ts_event")).max().dt.total_nanoseconds() / 1e9,
            at=pl.col("ts_recv").max().dt.epoch("ns"),
        )
        .drop_nulls()
        .with_columns(part=(pl.col("at") - begin) * PARTS // (end - begin))
        .collect()
    )
    if late.is_empty():
        return 0.0, 0.0, 0.0
    middle, most = (float(late["lag"].quantile(share) or 0.0) for share in (0.5, 0.99))
    medians = dict(late.group_by("part").agg(pl.col("lag").median()).iter_rows())
    parts = sorted(medians)
    return middle, most, medians[parts[-1]] - medians[parts[0]]


def _snapshot_rows(lake: Lake) -> int:
    """Rows of the first books: as many as a checkpoint of all books has."""
    return sum(
        int(lake.scan(name, sources="all").filter(pl.col("kind") == "snapshot").select(pl.len()).collect().item())
        for name in ("book", "orders")
    )


def wrong(record: Mapping[str, Any], differing: list[str]) -> list[str]:
    """Losses and faults of a recording in sentences: from its summary, and from the account of the exchange."""
    bad = {channel: found["bad"] for channel, found in record["checksums"].items() if found["bad"]}
    found = [f"{counted(n, f'{channel} checksum')} {'was' if n == 1 else 'were'} wrong" for channel, n in bad.items()]
    found += [counted(record[f"{what}s"], what) for what in ("gap", "error") if record[f"{what}s"]]
    return found + differing

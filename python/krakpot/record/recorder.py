"""The recorder: connections → sessions → journals → sealed parts.

One asyncio loop reads the sockets and feeds the sessions; one thread writes and syncs the journals; a process of its
own seals. Nothing is dropped when the disk is slow: the queue to the thread is bounded, and when it is full the sockets
are not read until there is room, which the ledger tells.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import ConfigError, ConnectionLost, FeedError
from krakpot.lake import journal
from krakpot.lake.format import open_lake
from krakpot.log import Line, Measure
from krakpot.net.client import Recorded, Recording, add_counts, uuid7, watched
from krakpot.net.connection import Backoff
from krakpot.net.proxy import chosen
from krakpot.record import disk
from krakpot.record.cputime import Stages
from krakpot.record.lag import Lag, Lateness
from krakpot.record.level3 import Level3, subscribe_seconds
from krakpot.record.pool import Spread
from krakpot.values import LEVEL3, unmatched

TICK = 0.1
"""Seconds between two looks at the clock's duties."""
FLUSH = 0.2
"""Seconds between two flushes to the journal; at most 0.25 by the lake's contract."""
PATIENCE = 10.0
"""Seconds to wait for the instrument snapshot before anything is written without having checked the symbols."""
CLOCK_STEP = 50_000_000
"""A step of the host's clock against its monotonic one that the ledger tells, ns."""
DAY_BYTES = 24e9
"""Bytes a day of all pairs at depth 1000 as sealed, 24 times an hour of 10,000 messages/s of the built-in exchange."""
PAIRS_ALL = 1450
DEPTH_SHARE = {10: 0.19, 25: 0.37, 100: 0.59, 500: 0.85, 1000: 1.0}
"""Updates at a depth as a share of those at depth 1000, measured on BTC/USD."""
LEVEL3_SHARE = {10: 0.38, 100: 0.79, 1000: 1.95}
"""Bytes of level 3 at a depth as a share of those of books at depth 1000, as sealed, without the first snapshots.

Measured over a minute of the built-in exchange (60 pairs, 3,000 messages/s); what Kraken's share is, nobody tells.
"""


@dataclass
class Progress:
    """What a recording looks like now."""

    counts: dict[str, Any]
    seconds: float
    remaining: float | None
    bytes: int
    """Bytes of journals written."""
    state: str


@dataclass
class Recorder:
    """Records until stopped; ``run`` returns the summary."""

    config: Config
    say: Callable[[str], None] = lambda line: None  # no caller who listens
    show: Callable[[Progress], None] = lambda progress: None
    tls: ssl.SSLContext | None = None
    signals: bool = True
    """Whether Ctrl-C and SIGTERM end the recording in order."""
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        """Make what is the recorder's own."""
        self.counts: dict[str, Any] = {}
        self.sessions: list[str] = []
        self.refused: dict[str, str] = {}
        self.error: Exception | None = None
        self.public: Recorded
        self.shards: Spread | None = None
        """The public channels, where they are spread over connections."""
        self.redundant: Spread | None = None
        """The second source of some symbols."""
        self.level3: Level3 | None = None
        self.late: Lateness | None = None
        """How late the loop was within the last second, where that is looked at."""
        self._stages = Stages()
        self._lag: Lag | None = None
        self.seal_failures = 0
        """How often sealing failed."""
        self.unsealed = ""
        """Why the last sealing failed; empty if it did not."""
        self._measure = Measure()
        self._seal_wanted = False
        self._ended = False
        self._sealing = False

    async def run(self) -> dict[str, Any]:
        """Record; the summary.

        ``StorageError`` if the lake cannot be written, ``ConfigError`` for symbols that match no pair or a proxy that
        cannot be meant,
        ``ConnectionLost`` if no connection came about until the end.
        """
        config = self.config
        try:
            chosen(urlsplit(config.url).hostname or "")
        except FeedError as error:
            # A connection would be tried for ever, and the environment does not change meanwhile.
            raise ConfigError(str(error)) from None
        open_lake(config.out)
        disk.check_room(config.out, config.min_free)
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._thread = journal.Thread(
            lambda path: loop.call_soon_threadsafe(self._closed, path),
            lambda error: loop.call_soon_threadsafe(self.fail, error),
        )
        if self.signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._signal)
        self._thread.start()
        self._begun = time.monotonic()
        self._offset = time.time_ns() - time.monotonic_ns()
        # Journals that dead recorders left.
        self._seal_wanted = bool(journal.journals(config.out))
        shared = self._shared = Recording(
            config, uuid7(), self._stop, self._tell, self._task, self.tls, self.sessions, self.refused,
            self._stages, thread=self._thread,
        )  # fmt: skip
        self.public = Recorded(shared, config.url, self.backoff)
        connecting = [self._task(self.public.run())]
        beside = [
            self._task(self._duties(connecting)),
            self._task(disk.Keeper(config, lambda: self.public.session, self._tell).run()),
        ]
        self._spread(shared)
        if LEVEL3 in config.channels:
            self.level3 = Level3(shared, self.backoff, self._public_sessions)
            beside.append(self._task(self.level3.check()))
        if self.level3 is not None or config.metrics is not None:
            self._lag = Lag()
        sealer = self._task(self._sealer())
        if config.duration is not None:
            loop.call_later(config.duration, self.stop)
        try:
            async with self._metrics():
                await self._stop.wait()
        finally:
            self._stop.set()
            await asyncio.gather(*connecting, return_exceptions=True)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._finish(sealer)
            if self.signals:
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
        self._raise()
        return self.summary()

    @asynccontextmanager
    async def _metrics(self) -> AsyncIterator[None]:
        """Serve metrics meanwhile, where they are wanted."""
        if self.config.metrics is None:
            yield
            return
        from krakpot.record.metrics import Metrics  # noqa: PLC0415  # slow to import, and seldom wanted

        metrics = Metrics(self)
        await metrics.start()
        self.say(f"metrics at {metrics.address}/metrics, health at {metrics.address}/health")
        try:
            yield
        finally:
            await metrics.close()

    @property
    def journal_bytes(self) -> int:
        """Bytes of journals written."""
        return self._thread.bytes

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """CPU time by stage; see ``stages``. Asked in the loop's thread."""
        self._stages.write = self._thread.cpu
        return self._stages.seconds()

    @property
    def queue(self) -> tuple[int, int]:
        """Flushes that wait for the disk, and how many may."""
        return self._thread.waiting, self._thread.room

    def _spread(self, shared: Recording) -> None:
        """Prepare the further connections of the public channels that are asked for."""
        config = self.config
        if config.public and config.symbols_per_connection is not None:
            self.shards = Spread(shared, self.backoff, name="public")
        if config.redundant:
            self.redundant = Spread(shared, self.backoff, name="redundant", patterns=config.redundant)

    def _raise(self) -> None:
        """Raise what ended the recording, or kept a part of it from coming about."""
        if self.error is not None:
            raise self.error
        for link in self.links:
            if link.attempts and not link.connected:
                raise ConnectionLost(link.attempts, link.last_error)

    @property
    def links(self) -> list[Recorded]:
        """All connections: the first one first."""
        return [self.public, *(link for spread in self.spreads for link in spread.links)]

    def _public_sessions(self) -> list[_core.Session]:
        shards = [] if self.shards is None else self.shards.links
        return [link.session for link in (self.public, *shards)]

    @property
    def spreads(self) -> list[Spread]:
        """What is spread over connections that learn the pairs from the first one."""
        return [spread for spread in (self.shards, self.redundant, self.level3) if spread is not None]

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the connections; if it fails, the recording ends with its error."""
        return watched(work, self.fail)

    def stop(self) -> None:
        """End in order."""
        self._stop.set()

    def fail(self, error: Exception) -> None:
        """End because of an error; the first one is the one to tell."""
        self.error = self.error or error
        self._stop.set()

    def _signal(self) -> None:
        if self._stop.is_set():
            self.say(
                "stopped at once: all that was written is safe in the journal; "
                "the next start, or `krakpot recover`, seals it"
            )
            os._exit(130)
        self.say("ending: closing the journal and sealing it (Ctrl-C again leaves that to the next start)")
        self.stop()

    def summary(self) -> dict[str, Any]:
        """Counters over all sessions."""
        keys = ("frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps")
        counts = self.counts
        return {key: counts.get(key, 0) for key in keys} | {
            "lake": str(self.config.out),
            "seconds": round(time.monotonic() - self._begun, 3),
            "sessions": self.sessions,
            "journal_bytes": self.journal_bytes,
            "selected": counts.get("selected", 0),
            "refused": self.refused,
            "unsealed": self.unsealed,
            "backpressure": {
                "waits": sum(link.waits for link in self.links),
                "seconds": round(sum(link.waited for link in self.links) / 1e9, 3),
            },
            "cpu_seconds": {stage: round(seconds, 3) for stage, seconds in self.cpu_seconds.items()},
        }

    # Duties of the clock.

    async def _duties(self, connecting: list[asyncio.Task[None]]) -> None:
        """Do what is due; connections that begin on the way join ``connecting``."""
        flushed = looked = time.monotonic()
        frozen = False
        stages = self._stages
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            with stages.spent("duties"):
                for link in self.links:
                    link.tick(now)
                if not self._shared.checked:
                    self._check_symbols(now)
                else:
                    for spread in self.spreads:
                        spread.look(self.public.session, lambda link: connecting.append(self._task(link.run())))
            if now - flushed >= FLUSH - TICK / 2 and self._shared.checked:
                flushed = now
                with stages.spent("hand_over"):
                    for link in self.links:
                        link.flush()
            if now - looked >= 1:
                looked = now
                with stages.spent("duties"):
                    self._clock()
                    self._tell_lag()
                    for link in self.links:
                        link.check(now)
                    self._take_counts()
                    self._show()
            if not frozen and any(link.counts.get("in_sync") for link in self.links):
                # What lives now lives on; the collector need not look at it again.
                frozen = True
                gc.collect()
                gc.freeze()

    def _tell_lag(self) -> None:
        """Tell how late the loop was: the receive times of level 3 are compared with those of the book channel."""
        self.late = late = self._lag.take() if self._lag is not None else None
        if late is not None and self.level3 is not None:
            detail = json.dumps({"p50_ns": late.p50, "p99_ns": late.p99})
            self.public.session.add_ledger_row("lag", time.time_ns(), count=late.largest, detail=detail)

    def _clock(self) -> None:
        offset = time.time_ns() - time.monotonic_ns()
        step = offset - self._offset
        if abs(step) > CLOCK_STEP:
            self.public.session.add_ledger_row("clock", time.time_ns(), detail=json.dumps({"step_ns": step}))
            words = f"the clock of this machine stepped by {step / 1e9:+.3f} s"
            self._tell(Line(words, "clock", "warning", step_ns=step))
        self._offset = offset

    def _check_symbols(self, now: float) -> None:
        """Once the pairs are known: every pattern must match one, or nothing is recorded."""
        if self.level3 is not None and not self.level3.checked:
            return
        names = [pair["symbol"] for pair in self.public.session.pairs()]
        if not names:
            self._shared.checked = now - self._begun > PATIENCE
            return
        for pattern in self.config.symbols:
            if not any(_core.matches(pattern, name) for name in names):
                self.fail(ConfigError(unmatched(pattern, names)))
                return
        chosen = [pair["symbol"] for pair in self.public.session.pairs() if pair["selected"]]
        for pattern in self.config.redundant:
            if chosen and not any(_core.matches(pattern, name) for name in chosen):
                self.fail(ConfigError(unmatched(pattern, chosen, "--redundant")))
                return
        selected = len(chosen)
        if not selected:
            self.fail(ConfigError(f"--exclude leaves none of the {len(names)} pairs"))
            return
        self._shared.checked = True
        for line in costs(self.config, selected, len(names)):
            self.say(line)

    def _tell(self, line: str) -> None:
        for said in self._measure.take(line, time.monotonic()):
            self.say(said)

    def _take_counts(self) -> None:
        total: dict[str, Any] = {}
        for link in reversed(self.links):
            link.take_counts()
            # The first link comes last: what is a state is its.
            total = add_counts(total, link.counts)
        if self.shards is not None:
            states = self.shards.states()
            total |= {key: states[key] for key in ("in_sync", "waiting", "connections", "down")}
            total["refused"] = sum(link.counts.get("rejected", 0) for link in self.shards.links)
        if self.redundant is not None:
            total["redundant"] = self.redundant.states()
        if self.level3 is not None:
            total["level3"] = self.level3.states()
        self.counts = total

    def _show(self) -> None:
        seconds = time.monotonic() - self._begun
        left = None if self.config.duration is None else max(0.0, self.config.duration - seconds)
        state = self.public.state
        if self._sealing:
            state = "sealing"
        elif any(link.paused for link in self.links):
            state = "waiting for the disk"
        self.show(Progress(self.counts, seconds, left, self.journal_bytes, state))

    # Sealing and the end.

    def _closed(self, _path: Path) -> None:
        self._seal_wanted = True

    async def _sealer(self) -> None:
        """Seal what was closed, in a process of its own, one at a time."""
        while not self._ended:
            if self._seal_wanted:
                self._seal_wanted = False
                await self._seal()
            await asyncio.sleep(TICK)

    async def _seal(self) -> None:
        process = await asyncio.create_subprocess_exec(
            # -P: no module of the folder that the recorder was started in.
            sys.executable, "-P", "-m", "krakpot.lake.seal", str(self.config.out),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal is for the recorder.
            start_new_session=True,
        )  # fmt: skip
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        out, err = await process.communicate()
        if process.returncode:
            last = (err.decode(errors="replace").strip().splitlines() or [_ended(process.returncode)])[-1]
            last = last.removeprefix("krakpot: ")
            self.seal_failures, self.unsealed = self.seal_failures + 1, last
            self._tell(Line(f"sealing failed, the journals stay: {last}", "seal_failed", "error", error=last))
            return
        self.unsealed = ""
        report = json.loads(out)
        if report["recovered"]:
            words = f"recovered {len(report['recovered'])} journals of a recorder that died ({report['rows']} rows)"
            self._tell(Line(words, "recovered", journals=len(report["recovered"]), rows=report["rows"]))
        for torn in report["torn"]:
            words = f"{torn['journal']}: {torn['bytes']} bytes at {torn['offset']} were torn and are lost"
            self._tell(
                Line(words, "torn", "warning", journal=torn["journal"], bytes=torn["bytes"], offset=torn["offset"])
            )

    async def _finish(self, sealer: asyncio.Task[None]) -> None:
        if self.error is None:
            # Stopped before the symbols could be checked: that, too, is a recording.
            self._shared.checked = True
        if self._lag is not None:
            self._lag.stop()
        for link in self.links:
            link.finish("stopped" if self.error is None else str(self.error))
        self._take_counts()
        self._thread.end()
        await asyncio.to_thread(self._thread.join)
        self._sealing = True
        self._show()
        # A sealing that is under way is waited for: a second one would pass its journal by.
        self._ended = True
        await asyncio.gather(sealer, return_exceptions=True)
        if not self._thread.failed and journal.journals(self.config.out):
            await self._seal()
        self._show()
        for line in self._measure.rest():
            self.say(line)


def _ended(code: int) -> str:
    """Why a sealer ended that said nothing."""
    if code == -signal.SIGKILL:
        return "the sealer was killed; has the machine enough memory?"
    return f"the sealer ended with exit code {code}" if code > 0 else f"the sealer was ended by signal {-code}"


def costs(config: Config, selected: int, known: int) -> list[str]:
    """Say what a day of ``selected`` of the ``known`` pairs will cost on disk, and how long level 3 takes to begin."""
    lines = []
    if config.public:
        share = selected / PAIRS_ALL * DEPTH_SHARE[config.depth] if "book" in config.public else 0.05
        lines.append(
            f"{selected} of {known} pairs, {', '.join(config.public)}, depth {config.depth}: "
            f"about {share * DAY_BYTES / 1e9:.1f} GB a day on disk (busy pairs cost more)"
        )
    if LEVEL3 in config.channels:
        share = selected / PAIRS_ALL * LEVEL3_SHARE[config.level3_depth]
        seconds = subscribe_seconds(selected, config.level3_depth, config.level3_rate)
        lines.append(
            f"{selected} of {known} pairs, level3, depth {config.level3_depth}: about "
            f"{share * DAY_BYTES / 1e9:.1f} GB a day on disk; all subscribed in {seconds:.0f} s at the earliest"
        )
    return lines


def record(
    config: Config,
    *,
    say: Callable[[str], None] = lambda line: None,
    show: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Record as ``config`` says, until its time is over, Ctrl-C or SIGTERM; returns the summary."""
    return asyncio.run(Recorder(config, say, show).run())

"""The recorder: connections → sessions → journals → sealed parts.

One asyncio loop reads the sockets and feeds the sessions. One thread writes and syncs the journals. A separate process
seals them. Nothing is dropped when the disk is slow: the queue to the thread is bounded, and while it is full the
sockets are not read, which the ledger reports.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from krakpot import _core, values
from krakpot.config import Config
from krakpot.errors import ConfigError, ConnectionLost, FeedError, counted
from krakpot.lake import journal
from krakpot.lake.format import at_work, lake_to_write
from krakpot.log import LogLine, LogRateLimit
from krakpot.net.backoff import Backoff
from krakpot.net.client import Client, add_counts, supervise, uuid7
from krakpot.net.market import Rest
from krakpot.net.proxy import chosen
from krakpot.net.rest import Public
from krakpot.record import disk
from krakpot.record.alert import Alerts
from krakpot.record.audit import Auditor
from krakpot.record.client import RecordingClient, RecordingContext
from krakpot.record.cputime import NOT_MEASURED, Stages
from krakpot.record.estimate import estimate
from krakpot.record.health import HealthWatch, unwell
from krakpot.record.lag import Lag, Lateness
from krakpot.record.level3 import Level3Pool
from krakpot.record.pool import ConnectionPool
from krakpot.record.progress import Progress, RecordingSummary
from krakpot.record.sealer import Sealer
from krakpot.record.writer import WriterThread
from krakpot.values import LEVEL3, unmatched

PLACE = "krakpot.Recorder"
"""Begins every sentence about a wrong argument."""
TICK = 0.1
"""Seconds between two rounds of periodic duties."""
FLUSH = 0.2
"""Seconds between two flushes to the journal; at most 0.25 by the lake's contract."""
PATIENCE = 10.0
"""Seconds to wait for the instrument snapshot. After that rows are written although the symbols were not checked."""
CLOCK_STEP = 50_000_000
"""A step of the host's clock against its monotonic clock that is reported, ns."""


class Recorder:
    """Records until it is stopped.

    Examples
    --------
    >>> config = krakpot.Config(out=Path("lake"), symbols=("BTC/USD",), duration=60)  # doctest: +SKIP
    >>> summary = await krakpot.Recorder(config, log=print).run()  # doctest: +SKIP

    """

    def __init__(
        self,
        config: Config,
        *,
        log: Callable[[str], None] | None = None,
        on_status: Callable[[Progress], None] | None = None,
        tls: ssl.SSLContext | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare a recording; ``run`` begins it.

        Parameters
        ----------
        config
            What to record, and where to.
        log
            Takes log lines; see ``krakpot.log``.
        on_status
            Takes the state of the recording once a second.
        tls
            Authorities to verify the exchange's certificate with; by default the system's.
        backoff
            When to connect again; by default as Kraken's limits require.

        Raises
        ------
        ConfigError
            An argument is of a wrong type.

        """
        values.read(values.instance_of(Config, "a krakpot.Config"), config, f"{PLACE}: config")
        for name, function in (("log", log), ("on_status", on_status)):
            if function is not None:
                values.read(values.function, function, f"{PLACE}: {name}")
        if tls is not None:
            values.read(values.instance_of(ssl.SSLContext, "an ssl.SSLContext"), tls, f"{PLACE}: tls")
        if backoff is not None:
            words = "a krakpot.net.backoff.Backoff"
            values.read(values.instance_of(Backoff, words), backoff, f"{PLACE}: backoff")
        self.config = config
        self.tls = tls
        self.backoff = Backoff() if backoff is None else backoff
        self.counts: dict[str, Any] = {}
        """Counters over all sessions, as of the last second."""
        self.sessions: list[str] = []
        self.refused: dict[str, str] = {}
        self.error: Exception | None = None
        """Why the recording ended early."""
        self.public: RecordingClient
        """The first connection: the instrument channel, and the public channels unless they are distributed."""
        self.shards: ConnectionPool | None = None
        """The public channels, where they are distributed over several connections."""
        self.redundant: ConnectionPool | None = None
        """The second source of some symbols."""
        self.level3: Level3Pool | None = None
        self.sealer = Sealer(config.out, self._log_limited)
        self.auditor: Auditor | None = None
        """Compares live books with REST, if the configuration asks for it."""
        self.late: Lateness | None = None
        """How late the loop was within the last second, where that is measured."""
        self._log = log or _ignore
        self._on_status = on_status or _ignore
        self._limit = LogRateLimit()
        self._alerts = Alerts(config.alert, config.out, self._log_limited)
        self._health = HealthWatch()
        self._lag: Lag | None = None
        self._stages = Stages()
        self._writer = WriterThread(self._on_closed, self._on_error)
        self._stop = asyncio.Event()
        self._used = False
        """Whether it runs, or ran."""
        self._begun = 0.0
        """When it began, monotonic seconds; 0 before."""
        self._symbols_checked = False
        self._silent_session = ""
        """The session for which a missing instrument snapshot was logged."""
        self._sealing = False

    async def run(self) -> RecordingSummary:
        """Record until ``stop`` is called, the configured duration is over, or recording is not possible any more.

        Returns
        -------
        RecordingSummary
            Counters over all sessions.

        Raises
        ------
        StorageError
            The lake cannot be written.
        ConfigError
            A pattern matches no pair, the exchange refuses the API key, or an option cannot be used here.
        ConnectionLost
            A connection could never be established.
        FeedError
            Nothing was recorded, or nothing of level 3 or of the second source; the sentence says why. Or the recorder
            ran before.

        """
        if self._used:
            raise FeedError("a recorder runs once, and this one ran before; make another one")
        self._used = True
        try:
            chosen(urlsplit(self.config.url).hostname or "")
        except FeedError as error:
            # The environment does not change while this runs, so trying again would never help.
            raise ConfigError(str(error)) from None
        self._alerts.start()
        failure: Exception | None = None
        try:
            await self._record()
            self._check_recorded()
        except Exception as error:
            failure = error
            raise
        finally:
            await self._alerts.end(failure)
        return self.summary()

    async def _record(self) -> None:
        """Record until it is to end, then write and seal everything; raises the error that ended it."""
        config = self.config
        # To the end of the last sealing, also while no journal is open.
        with ExitStack() as work:
            try:
                # First, because a port that is taken must be known before anything is written.
                async with self._metrics():
                    work.enter_context(lake_to_write(config.out))
                    disk.check_room(config.out, config.min_free)
                    work.enter_context(at_work(config.out))
                    self._start()
                    await self._stop.wait()
            finally:
                if self._begun:
                    await self._end()
        if self.error is not None:
            raise self.error

    def _start(self) -> None:
        """Start the connections and the periodic duties."""
        config = self.config
        self._loop = asyncio.get_running_loop()
        self._writer.start()
        self._offset = time.time_ns() - time.monotonic_ns()
        context = self._context = RecordingContext(
            config, uuid7(), self._stop, self._log_limited, self._run_task, self.tls, self.sessions, self.refused,
            writer=self._writer, stages=self._stages,
        )  # fmt: skip
        self.public = RecordingClient(context, config.url, self.backoff)
        self._make_pools(context)
        self._connecting = [self._run_task(self.public.run())]
        self._working = [
            self._run_task(self._duties()),
            self._run_task(disk.Keeper(config, lambda: self.public.session, self._log_limited).run()),
        ]
        if self.level3 is not None:
            self._working.append(self._run_task(self.level3.check_key()))
        if config.audit is not None:
            public = Public(config.rest_url, tls=self.tls)
            rest = Rest(config.rest_url, log=self._log_limited, public=public, patient=True)
            self.auditor = Auditor(config, lambda: self.clients, self._log_limited, rest)
            self._working.append(self._run_task(self.auditor.run()))
        if self.level3 is not None or config.metrics is not None:
            self._lag = Lag()
        self._sealing_task = self._run_task(self.sealer.run())
        if config.duration is not None:
            self._loop.call_later(config.duration, self.stop)
        if NOT_MEASURED:
            self._log(NOT_MEASURED)
        self._begun = time.monotonic()

    async def _end(self) -> None:
        """Close the connections, then write and seal everything."""
        self._stop.set()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await self._finish()

    @asynccontextmanager
    async def _metrics(self) -> AsyncIterator[None]:
        """Serve metrics meanwhile, if the configuration asks for them."""
        if self.config.metrics is None:
            yield
            return
        from krakpot.record.metrics import Metrics  # noqa: PLC0415  # prometheus_client takes a third of a second

        metrics = Metrics(self)
        await metrics.start()
        self._log(f"metrics at {metrics.address}/metrics, health at {metrics.address}/health")
        try:
            yield
        finally:
            await metrics.close()

    def _on_closed(self, _journal: Path) -> None:
        """Called in the writer thread: a journal can be sealed."""
        self._loop.call_soon_threadsafe(self.sealer.request)

    def _on_error(self, error: Exception) -> None:
        """Called in the writer thread: nothing more can be written."""
        self._loop.call_soon_threadsafe(self.fail, error)

    @property
    def journal_bytes(self) -> int:
        """Bytes of journals written."""
        return self._writer.bytes

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """CPU time by stage; see ``cputime``. Call it in the loop's thread."""
        self._stages.write = self._writer.cpu
        return self._stages.seconds()

    @property
    def queue(self) -> tuple[int, int]:
        """Flushes that wait for the disk, and how many may wait."""
        return self._writer.waiting, self._writer.room

    def _make_pools(self, context: RecordingContext) -> None:
        """Create the additional connections that the configuration requests."""
        config = self.config
        if config.public and config.symbols_per_connection is not None:
            self.shards = ConnectionPool(context, self.backoff, name="public")
        if config.redundant:
            self.redundant = ConnectionPool(context, self.backoff, name="redundant", patterns=config.redundant)
        if LEVEL3 in config.channels:
            self.level3 = Level3Pool(context, self.backoff, self._public_sessions)

    def _check_recorded(self) -> None:
        """Raise an error if nothing was recorded, or nothing of what one kind of connection was to record."""
        for client in self.clients:
            if client.attempts and not client.connected:
                raise ConnectionLost(client.attempts, client.last_error)
        groups: list[tuple[str, Sequence[Client]]] = []
        if self.config.public:
            groups.append(("", self.shards.shards if self.shards is not None else [self.public]))
        groups += [(f" of {pool.name}", pool.shards) for pool in (self.redundant, self.level3) if pool is not None]
        for name, clients in groups:
            if not any(client.subscribed for client in clients):
                raise FeedError(f"nothing{name} was recorded: {self._why_nothing()}")

    def _why_nothing(self) -> str:
        """Why there was no subscription."""
        if not self.public.connected:
            return f"it was stopped before {self.config.url} had answered"
        if not self.public.session.pairs():
            if time.monotonic() - self._begun <= PATIENCE:
                return "it was stopped before the exchange had sent its pairs"
            return (
                f"{self.config.url} sent no instrument snapshot, so no pair is known; is it Kraken's feed, version 2?"
            )
        if self.refused:
            what, reason = next(iter(self.refused.items()))
            more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
            return f"the exchange refused {what}{more}: {reason}"
        return "it was stopped before the exchange had answered the first subscription"

    @property
    def clients(self) -> list[RecordingClient]:
        """All connections: the first one first. Empty before the recording has begun."""
        public = [self.public] if self._begun else []
        return [*public, *(shard for pool in self.pools for shard in pool.shards)]

    def _public_sessions(self) -> list[_core.Session]:
        shards = [] if self.shards is None else self.shards.shards
        return [client.session for client in (self.public, *shards)]

    @property
    def pools(self) -> list[ConnectionPool]:
        """Pools of further connections, which learn the pairs from the first one."""
        return [pool for pool in (self.shards, self.redundant, self.level3) if pool is not None]

    def _run_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task; if it fails, the recording ends with its error."""
        return supervise(work, self.fail)

    def stop(self) -> None:
        """End in order: close the connections, write and seal everything."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was stopped."""
        return self._stop.is_set()

    def fail(self, error: Exception) -> None:
        """End in order because of ``error``. The first error is the one that ``run`` raises."""
        self.error = self.error or error
        self._stop.set()

    def summary(self) -> RecordingSummary:
        """Counters over all sessions."""
        counts = self.counts
        return {
            "frames": counts.get("frames", 0),
            "messages": counts.get("messages", {}),
            "rows": counts.get("rows", {}),
            "checksums": counts.get("checksums", {}),
            "unchecked": counts.get("unchecked", 0),
            "errors": counts.get("errors", 0),
            "gaps": counts.get("gaps", 0),
            "lake": str(self.config.out),
            "seconds": round(time.monotonic() - self._begun, 3),
            "sessions": self.sessions,
            "journal_bytes": self.journal_bytes,
            "selected": counts.get("selected", 0),
            "refused": self.refused,
            "unsealed": self.sealer.last_error,
            "backpressure": {
                "waits": sum(client.waits for client in self.clients),
                "seconds": round(sum(client.waited for client in self.clients) / 1e9, 3),
            },
            "cpu_seconds": {stage: round(seconds, 3) for stage, seconds in self.cpu_seconds.items()},
        }

    # Periodic duties.

    async def _duties(self) -> None:
        """Do what is due."""
        flushed = looked = time.monotonic()
        frozen = False
        stages = self._stages
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            with stages.spent("duties"):
                for client in self.clients:
                    client.tick(now)
                if not self._symbols_checked:
                    self._check_symbols(now)
                else:
                    for pool in self.pools:
                        pool.update(self.public.session, self._connect)
            if now - flushed >= FLUSH - TICK / 2 and self._context.checked:
                flushed = now
                with stages.spent("hand_over"):
                    for client in self.clients:
                        client.flush()
            if now - looked >= 1:
                looked = now
                with stages.spent("duties"):
                    self._check_clock()
                    self._measure_lag()
                    self._check_health(now)
                    for client in self.clients:
                        client.check(now)
                    self._take_counts()
                    self._report_status()
            if not frozen and any(client.counts.get("in_sync") for client in self.clients):
                # What exists now stays until the end; the garbage collector need not look at it again.
                frozen = True
                gc.collect()
                gc.freeze()

    def _connect(self, client: Client) -> None:
        """Start another connection."""
        self._connecting.append(self._run_task(client.run()))

    def _measure_lag(self) -> None:
        """Record how late the loop was: comparing the times of level 3 and of the book channel needs it."""
        self.late = late = self._lag.take() if self._lag is not None else None
        if late is not None and self.level3 is not None:
            detail = json.dumps({"p50_ns": late.p50, "p99_ns": late.p99})
            self.public.session.add_ledger_row("lag", time.time_ns(), count=late.largest, detail=detail)

    def _check_clock(self) -> None:
        offset = time.time_ns() - time.monotonic_ns()
        step = offset - self._offset
        if abs(step) > CLOCK_STEP:
            self.public.session.add_ledger_row("clock", time.time_ns(), detail=json.dumps({"step_ns": step}))
            sentence = f"the clock of this machine stepped by {step / 1e9:+.3f} s"
            self._log_limited(LogLine(sentence, "clock", "warning", step_ns=step))
        self._offset = offset

    def _check_health(self, now: float) -> None:
        line = self._health.look(unwell(self.clients, now), now)
        if line is not None:
            self._log_limited(line)

    def _check_symbols(self, now: float) -> None:
        """As soon as the pairs are known: every pattern must match one, or the recording ends with an error.

        Nothing is written before, unless that takes too long.
        """
        if self.level3 is not None and not self.level3.checked:
            return
        pairs = self.public.session.pairs()
        names = [pair["symbol"] for pair in pairs]
        if not names:
            self._wait_for_pairs(now)
            return
        selected = [pair["symbol"] for pair in pairs if pair["selected"]]
        try:
            self._check_patterns(names, selected)
        except ConfigError as error:
            self.fail(error)
            return
        self._context.checked = self._symbols_checked = True
        for line in estimate(self.config, selected, len(names)):
            self._log(line)

    def _wait_for_pairs(self, now: float) -> None:
        """Log that the instrument snapshot is missing, and record what comes all the same."""
        client = self.public
        if now - self._begun > PATIENCE:
            self._context.checked = True
        if client.opened_at and now - client.opened_at > PATIENCE and client.session.id != self._silent_session:
            self._silent_session = client.session.id
            sentence = (
                f"no instrument snapshot for {PATIENCE:.0f} s: without it no pair is known and nothing is subscribed; "
                "waiting for it"
            )
            self._log_limited(LogLine(sentence, "no_pairs", "warning", url=client.url))

    def _check_patterns(self, names: list[str], selected: list[str]) -> None:
        """Raise ``ConfigError`` for a pattern that matches nothing."""
        for pattern in self.config.symbols:
            if not any(_core.matches(pattern, name) for name in names):
                raise ConfigError(unmatched(pattern, names, "symbols"))
        if not selected:
            raise ConfigError(f"exclude leaves none of the {counted(len(names), 'pair')}")
        for pattern in self.config.redundant:
            if not any(_core.matches(pattern, name) for name in selected):
                raise ConfigError(unmatched(pattern, selected, "redundant"))
        for channel, patterns in self.config.channel_symbols.items():
            for pattern in patterns:
                if not any(_core.matches(pattern, name) for name in selected):
                    raise ConfigError(unmatched(pattern, selected, f"channel_symbols: {channel}"))

    def _log_limited(self, line: str) -> None:
        self._alerts.take(line)
        for one in self._limit.take(line, time.monotonic()):
            self._log(one)

    def _take_counts(self) -> None:
        total: dict[str, Any] = {}
        for client in reversed(self.clients):
            client.take_counts()
            # The first client comes last, because values that describe a state are taken from the last one.
            total = add_counts(total, client.counts)
        if self.shards is not None:
            states = self.shards.states()
            total |= {key: states[key] for key in ("in_sync", "waiting", "connections", "down")}
            total["rejected"] = sum(shard.counts.get("rejected", 0) for shard in self.shards.shards)
        if self.redundant is not None:
            total["redundant"] = self.redundant.states()
        if self.level3 is not None:
            total["level3"] = self.level3.states()
        self.counts = total

    def _report_status(self) -> None:
        seconds = time.monotonic() - self._begun
        left = None if self.config.duration is None else max(0.0, self.config.duration - seconds)
        state = "recording" if self.public.connection is not None else self.public.state
        if self._sealing:
            state = "sealing"
        elif any(client.paused for client in self.clients):
            state = "waiting for the disk"
        self._on_status(Progress(self.counts, seconds, left, self.journal_bytes, state))

    async def _finish(self) -> None:
        if self.error is None:
            # Stopped before the symbols could be checked: what was received is recorded all the same.
            self._context.checked = True
        if self._lag is not None:
            self._lag.stop()
        for client in self.clients:
            client.finish("stopped" if self.error is None else str(self.error))
        self._take_counts()
        self._writer.end()
        await asyncio.to_thread(self._writer.join)
        self._sealing = True
        self._report_status()
        # A sealing that has begun is finished first: a second one would skip its journal.
        self.sealer.end()
        await asyncio.gather(self._sealing_task, return_exceptions=True)
        if not self._writer.failed and journal.journals(self.config.out):
            await self.sealer.seal()
        self._report_status()
        for line in self._limit.rest():
            self._log(line)


def _ignore(_: object) -> None:
    """Nobody listens."""

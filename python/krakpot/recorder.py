"""The recorder: connection → session → journal → sealed parts.

One asyncio loop reads the socket and feeds the session; one thread writes and syncs the journal; a process of its own
seals. Nothing is dropped when the disk is slow: the queue to the thread is bounded, and when it is full the socket is
not read until there is room, which the ledger tells.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import signal
import ssl
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from krakpot import __version__, _core, journal, seal
from krakpot.config import Config
from krakpot.connection import Backoff, Connection, Pacer, connect
from krakpot.errors import ConfigError, ConnectionLost, FeedError

TICK = 0.1
"""Seconds between two looks at the clock's duties."""
FLUSH = 0.2
"""Seconds between two flushes to the journal; at most 0.25 by the lake's contract."""
SYNC = 1.0
"""Seconds between two fsyncs."""
QUEUE = 32
"""Flushes that may wait for the writer's thread."""
PATIENCE = 10.0
"""Seconds to wait for the instrument snapshot before anything is written without having checked the symbols."""
CLOCK_STEP = 50_000_000
"""A step of the host's clock against its monotonic one that the ledger tells, ns."""
DAY_BYTES = 18e9
"""Bytes a day of all pairs at depth 1000: 10,000 messages/s, 1.5 rows each, 14 bytes a row as sealed."""
PAIRS_ALL = 1450
DEPTH_SHARE = {10: 0.19, 25: 0.37, 100: 0.59, 500: 0.85, 1000: 1.0}
"""Updates at a depth as a share of those at depth 1000, measured on BTC/USD."""
SAID = (
    "refused",
    "mismatch",
    "crossed",
    "gap",
    "trade_gap",
    "gone",
    "listed",
    "delisted",
    "precision",
    "decode_error",
    "limit",
)
"""Ledger rows that are also said aloud."""
LIVE = 4096
"""Lines said aloud over a recording, so that a storm does not fill the terminal; the ledger has all."""

CONNECTION = "connection"
"""In the ledger's column of channels: what was refused is the whole connection."""
COUNTERS = ("frames", "unchecked", "errors", "gaps", "absent", "replaced", "unknown_fields")


def uuid7() -> str:
    """Make a session's name: a UUIDv7, which begins with its time (RFC 9562)."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def add_counts(total: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """Add the counters of two sessions; what is a state (books alive) is the later one's."""
    result = dict(counts)
    for key in COUNTERS:
        result[key] = total.get(key, 0) + counts[key]
    for key in ("messages", "rows"):
        result[key] = dict(Counter(total.get(key, {})) + Counter(counts[key]))
    result["checksums"] = {}
    for channel, checked in counts["checksums"].items():
        both = Counter(total.get("checksums", {}).get(channel, {}))
        both.update(checked)
        result["checksums"][channel] = dict(both)
    return result


class JournalThread(threading.Thread):
    """Writes flushes in order, syncs once a second; the first error ends it and is told to ``on_error``."""

    def __init__(self, on_closed: Callable[[Path], object], on_error: Callable[[Exception], object]) -> None:
        """``on_closed`` is called with each journal that is ready to be sealed; both are called in this thread."""
        super().__init__(name="krakpot-journal", daemon=True)
        self.jobs: queue.Queue[tuple[journal.Writer, dict[str, Any] | None, int] | None] = queue.Queue(QUEUE)
        self.on_closed = on_closed
        self.on_error = on_error
        self.bytes = 0
        self.failed = False

    def run(self) -> None:
        """Write until the ``None`` that ends the queue."""
        current: journal.Writer | None = None
        synced = time.monotonic()
        while True:
            try:
                job = self.jobs.get(timeout=SYNC)
            except queue.Empty:
                job = ()  # type: ignore[assignment]  # nothing to write, but time to sync
            if job is None:
                return
            try:
                if job and not self.failed:
                    writer, batches, now = job
                    current = writer
                    before = writer.bytes
                    closed = writer.close() if batches is None else writer.write(batches, now)
                    self.bytes += writer.bytes - before
                    if closed is not None:
                        self.on_closed(closed)
                if current is not None and not self.failed and time.monotonic() - synced >= SYNC:
                    current.sync()
                    synced = time.monotonic()
            except Exception as error:  # noqa: BLE001  # this thread has nobody else to raise to
                # From here on nothing is written: what stands in the journal is whole, and recovery seals it.
                self.failed = True
                self.on_error(error)


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
        self.session: _core.Session | None = None
        self.counts: dict[str, Any] = {}
        self.sessions: list[str] = []
        self.refused: dict[str, str] = {}
        self.error: Exception | None = None
        self._past: dict[str, Any] = {}
        self._writer: journal.Writer | None = None
        self._connection: Connection | None = None
        self._checked = False
        self._paused = 0
        self._said = 0
        self._state = "starting"
        self._seal_wanted = False
        self._ended = False
        self._connected = False
        """Whether there ever was a connection."""
        self._attempts = 0
        """Attempts that failed."""
        self._last_error = ""

    async def run(self) -> dict[str, Any]:
        """Record; the summary.

        ``StorageError`` if the lake cannot be written, ``ConfigError`` for symbols that match no pair,
        ``ConnectionLost`` if no connection came about until the end.
        """
        config = self.config
        seal.open_lake(config.out)
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._thread = JournalThread(
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
        sealer = self._task(self._sealer())
        duties = self._task(self._duties())
        if config.duration is not None:
            loop.call_later(config.duration, self.stop)
        try:
            await self._connections()
        except Exception as error:  # noqa: BLE001  # raised below, when what was recorded is safe
            self.fail(error)
        finally:
            duties.cancel()
            await asyncio.gather(duties, return_exceptions=True)
            await self._finish(sealer)
            if self.signals:
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
        if self.error is not None:
            raise self.error
        if self._attempts and not self._connected:
            raise ConnectionLost(self._attempts, self._last_error)
        return self.summary()

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the connections; if it fails, the recording ends with its error."""

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                self.fail(error)

        task = asyncio.create_task(work)
        task.add_done_callback(done)
        return task

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
            "journal_bytes": self._thread.bytes,
            "selected": counts.get("selected", 0),
            "refused": self.refused,
        }

    # Sessions and connections.

    def _begin(self, recorder: str) -> _core.Session:
        """Begin a session: for the first connection, or to go on after the last one."""
        config = self.config
        before = self.session
        session = _core.Session(
            uuid7(),
            channels=config.channels,
            symbols=config.symbols,
            exclude=config.exclude,
            depth=config.depth,
            interval=config.interval,
            precision=dict(config.precision),
            frames=config.raw,
            tokenised=config.tokenised,
            after=before,
        )
        now = time.time_ns()
        facts: dict[str, Any] = {"recorder": recorder}
        if before is None:
            options = {
                "symbols": config.symbols, "exclude": config.exclude, "channels": config.channels,
                "depth": config.depth, "interval": config.interval, "tokenised": config.tokenised,
                "raw": config.raw, "url": config.url,
            }  # fmt: skip
            facts |= {"version": __version__, "options": options}
            session.note("start", now, detail=json.dumps(facts))
        else:
            facts["previous"] = before.session
        session.note("connect", now, detail=json.dumps(facts))
        if before is not None:
            session.note(
                "gap", now, ts_from=before.now or None, ts_to=now, detail=json.dumps({"previous": before.session})
            )
        self.sessions.append(session.session)
        return session

    async def _switch(self, session: _core.Session) -> None:
        """Let ``session`` be the one that is written from now on.

        Its first rows go to its journal before the end of the one before goes to its own, so that there is no moment at
        which a recorder that dies leaves an ended session without a follower.
        """
        old, old_writer = self.session, self._writer
        writer = journal.Writer(self.config.out, session.session, interval=self.config.seal_interval)
        self.session = session
        # Nothing is flushed while these wait for room in the queue, on a slow disk: their order matters.
        self._writer = None
        if old is not None and old_writer is not None and self._checked:
            now = time.time_ns()
            await self._queue(writer, session.take(), now)
            await self._queue(old_writer, old.take(), now)
            await self._queue(old_writer, None, now)
        self._writer = writer

    async def _queue(self, writer: journal.Writer, batches: dict[str, Any] | None, now: int) -> None:
        await asyncio.to_thread(self._thread.jobs.put, (writer, batches, now))

    async def _connections(self) -> None:
        recorder = uuid7()
        session = self._begin(recorder)
        await self._switch(session)
        maintenance = too_big = False
        while not self._stop.is_set():
            wait = self.backoff.delay(time.monotonic(), maintenance=maintenance, too_big=too_big)
            self._state = f"connecting in {wait:.0f} s" if wait >= 1 else "connecting"
            if wait:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), wait)
                if self._stop.is_set():
                    break
            try:
                connection = await self._connect(session)
            except FeedError as error:
                self._attempts, self._last_error = self._attempts + 1, str(error)
                session.note("refused", time.time_ns(), channel=CONNECTION, detail=json.dumps({"error": str(error)}))
                self._tell(f"{error}; trying again")
                continue
            if connection is None:
                break
            opened = time.monotonic()
            self._connected = True
            self._connection = connection
            self._state = "recording"
            stop = asyncio.create_task(self._stop.wait())
            await asyncio.wait((stop, connection.closed), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            self._connection = None
            if self._stop.is_set():
                await connection.close("stopped")
                break
            reason = connection.closed.result()
            self.backoff.opened(opened, time.monotonic())
            maintenance = session.system in ("maintenance", "cancel_only")
            too_big = connection.too_big
            self._tell(f"disconnected: {reason}")
            now = time.time_ns()
            if too_big:
                session.note("limit", now, count=1, detail=json.dumps({"error": reason, "limit": "FRAME_MAX"}))
            session.end(now, reason)
            self._events(session)
            if self._checked:
                self._take_counts(final=True)
            else:
                # Nothing of it was written: the next one is the first.
                self.session = None
                self.sessions.clear()
            session = self._begin(recorder)
            await self._switch(session)

    async def _connect(self, session: _core.Session) -> Connection | None:
        """Connect; None when the recording is to end before that is done."""
        self._pacer = Pacer()
        task = asyncio.create_task(connect(self.config.url, self._frames, session.ping, tls=self.tls))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    def _frames(self, frames: list[bytes], ts_recv: int) -> None:
        assert self.session is not None, "a connection has its session"
        self.session.receive(frames, ts_recv)

    # Duties of the clock.

    async def _duties(self) -> None:  # noqa: C901  # a list of duties, each with its own interval
        flushed = shown = checked = time.monotonic()
        frozen = False
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            session = self.session
            if session is None:
                continue
            session.tick(time.time_ns())
            self._events(session)
            if self._connection is not None:
                self._pacer.add(session.requests(time.time_ns()))
                for request in self._pacer.due(now):
                    self._connection.send(request)
            if not self._checked:
                self._check_symbols(session, now)
            if now - flushed >= FLUSH - TICK / 2 and self._checked:
                flushed = now
                self._flush(session)
            if now - checked >= 1:
                checked = now
                self._clock(session)
                if self._connection is not None and not self._paused:
                    self._connection.check(now)
            if now - shown >= 1:
                shown = now
                self._take_counts()
                self._show()
            if not frozen and self.counts.get("live"):
                # What lives now lives on; the collector need not look at it again.
                frozen = True
                gc.collect()
                gc.freeze()

    def _flush(self, session: _core.Session) -> None:
        """Hand the rows to the writer's thread; with a full queue the socket waits."""
        jobs = self._thread.jobs
        if self._writer is None:
            return
        if jobs.full():
            if self._connection is not None:
                # Said each time: it may be a new connection.
                self._connection.pause()
                if not self._paused:
                    self._paused = time.time_ns()
                    self._tell("the disk is slower than the feed: the socket waits")
            return
        if self._paused:
            self._resume(session)
        if session.rows:
            jobs.put_nowait((self._writer, session.take(), time.time_ns()))

    def _resume(self, session: _core.Session) -> None:
        """Read the socket again; the ledger tells since when it waited."""
        now = time.time_ns()
        session.note("backpressure", now, ts_from=self._paused, ts_to=now, detail='{"queue":"journal","answer":"wait"}')
        self._paused = 0
        if self._connection is not None:
            self._connection.resume()

    def _clock(self, session: _core.Session) -> None:
        offset = time.time_ns() - time.monotonic_ns()
        step = offset - self._offset
        if abs(step) > CLOCK_STEP:
            session.note("clock", time.time_ns(), detail=json.dumps({"step_ns": step}))
            self._tell(f"the clock of this machine stepped by {step / 1e9:+.3f} s")
        self._offset = offset

    def _check_symbols(self, session: _core.Session, now: float) -> None:
        """Once the pairs are known: every pattern must match one, or nothing is recorded."""
        names = [pair["symbol"] for pair in session.pairs()]
        if not names:
            self._checked = now - self._begun > PATIENCE
            return
        self._checked = True
        for pattern in self.config.symbols:
            if not any(_core.matches(pattern, name) for name in names):
                self.fail(ConfigError(unmatched(pattern, names)))
                self._checked = False
                return
        selected = session.counts()["selected"]
        if not selected:
            self.fail(ConfigError(f"--exclude leaves none of the {len(names)} pairs"))
            self._checked = False
            return
        share = selected / PAIRS_ALL * DEPTH_SHARE[self.config.depth] if "book" in self.config.channels else 0.05
        self.say(
            f"{selected} of {len(names)} pairs, {', '.join(self.config.channels)}, depth {self.config.depth}: "
            f"about {share * DAY_BYTES / 1e9:.1f} GB a day on disk (busy pairs cost more)"
        )

    def _events(self, session: _core.Session) -> None:
        for event in session.events():
            kind, symbol = event["kind"], event["symbol"]
            if event["channel"] == CONNECTION:
                # Said where it happened.
                continue
            if kind == "refused":
                reason = json.loads(event["detail"] or "{}").get("error", "")
                self.refused[f"{event['channel'] or ''} {symbol or ''}".strip() or "request"] = reason
            if kind in SAID:
                self._tell(" ".join(filter(None, (kind.replace("_", " "), event["channel"], symbol, event["detail"]))))

    def _tell(self, line: str) -> None:
        self._said += 1
        if self._said < LIVE:
            self.say(line)
        elif self._said == LIVE:
            self.say("too much to say it all here; the ledger has it")

    def _take_counts(self, *, final: bool = False) -> None:
        if self.session is not None:
            self.counts = add_counts(self._past, self.session.counts())
            if final:
                self._past = self.counts

    def _show(self) -> None:
        seconds = time.monotonic() - self._begun
        left = None if self.config.duration is None else max(0.0, self.config.duration - seconds)
        self.show(Progress(self.counts, seconds, left, self._thread.bytes, self._state))

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
            sys.executable, "-P", "-m", "krakpot.seal", str(self.config.out),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal is for the recorder.
            start_new_session=True,
        )  # fmt: skip
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        out, err = await process.communicate()
        if process.returncode:
            last = (err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            self._tell(f"sealing failed, the journals stay: {last}")
            return
        report = json.loads(out)
        if report["recovered"]:
            self._tell(f"recovered {len(report['recovered'])} journals of a recorder that died ({report['rows']} rows)")
        for torn in report["torn"]:
            self._tell(f"{torn['journal']}: {torn['bytes']} bytes at {torn['offset']} were torn and are lost")

    async def _finish(self, sealer: asyncio.Task[None]) -> None:
        session = self.session
        if session is not None and self._writer is not None:
            now = time.time_ns()
            if self._paused:
                self._resume(session)
            session.end(now, "stopped" if self.error is None else str(self.error))
            session.note("stop", now)
            self._events(session)
            self._take_counts(final=True)
            if self._checked or self.error is None:
                await self._queue(self._writer, session.take(), now)
                await self._queue(self._writer, None, now)
        await asyncio.to_thread(self._thread.jobs.put, None)
        await asyncio.to_thread(self._thread.join)
        self._state = "sealing"
        self._show()
        # A sealing that is under way is waited for: a second one would pass its journal by.
        self._ended = True
        await asyncio.gather(sealer, return_exceptions=True)
        if not self._thread.failed and journal.journals(self.config.out):
            await self._seal()
        self._show()


def unmatched(pattern: str, names: list[str]) -> str:
    """Say that a pattern matches no pair, with names that are near."""
    near = get_close_matches(pattern, names, 3, 0.6)
    renamed = pattern.replace("XBT", "BTC").replace("XDG", "DOGE")
    if renamed != pattern and any(_core.matches(renamed, name) for name in names):
        near = [renamed]
    hint = f"did you mean {' or '.join(near)}?" if near else "`krakpot pairs` lists them all"
    return f"--symbols: {pattern!r} matches none of the {len(names)} pairs; {hint}"


def record(
    config: Config,
    *,
    say: Callable[[str], None] = lambda line: None,
    show: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Record as ``config`` says, until its time is over, Ctrl-C or SIGTERM; returns the summary."""
    return asyncio.run(Recorder(config, say, show).run())

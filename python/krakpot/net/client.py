"""One line to the exchange, held over all cuts: connection → session, and for a recording → journal.

A recording has one for the instrument channel and, unless they are spread over others, the public ones; see ``spread``.
Links know nothing of each other: one that is cut, slow or refused leaves the others alone. What they share is the
thread that writes, and how often an address may try to connect. A live strategy has one of its own; see ``feed``.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from krakpot import __version__, _core
from krakpot.config import Config
from krakpot.errors import FeedError, StorageError
from krakpot.log import Line
from krakpot.net.connection import Backoff, Connection, Pacer, connect
from krakpot.record.cputime import Stages
from krakpot.values import LEVEL3

if TYPE_CHECKING:
    from krakpot.lake import journal

QUEUE = 32
"""Flushes of each link that may wait for the writer's thread."""
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
    "doubt",
)
"""Ledger rows that are also said aloud."""
REFUSED_MAX = 10_000
"""Refusals that a summary names; the ledger has all."""
CONNECTION = "connection"
"""In the ledger's column of channels: what was refused is the whole connection."""
COUNTERS = ("frames", "unchecked", "errors", "gaps", "unknown_entries", "replaced", "unknown_fields")


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
    result["checksums"] = {channel: dict(found) for channel, found in total.get("checksums", {}).items()}
    for channel, found in counts["checksums"].items():
        before = result["checksums"].get(channel, {})
        result["checksums"][channel] = {key: before.get(key, 0) + n for key, n in found.items()}
    return result


def watched(work: Coroutine[Any, Any, None], fail: Callable[[Exception], None]) -> asyncio.Task[None]:
    """Run work beside the rest; ``fail`` gets its error, if it fails."""

    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            fail(error)

    task = asyncio.create_task(work)
    task.add_done_callback(done)
    return task


@dataclass
class Shared:
    """What the links of a recording, or of a feed, have in common."""

    config: Config
    recorder: str
    """Name of this recording, in the ledger."""
    stop: asyncio.Event
    tell: Callable[[str], None]
    task: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Runs work whose failure is the recording's."""
    tls: ssl.SSLContext | None = None
    sessions: list[str] = field(default_factory=list)
    """Names, in the order in which they began."""
    refused: dict[str, str] = field(default_factory=dict)
    """What the exchange refused, and its words."""
    stages: Stages = field(default_factory=Stages)
    """Where its CPU time goes."""
    checked: bool = False
    """Whether it is known that the recording makes sense; nothing is written before."""


@dataclass
class Recording(Shared):
    """What the links of a recording have in common."""

    thread: journal.Thread = field(kw_only=True)


class Link:
    """A line of the instrument channel and the public ones; nothing is written."""

    label = ""
    """What stands before its lines that are said aloud."""

    def __init__(self, shared: Shared, url: str, backoff: Backoff) -> None:
        """``run`` connects."""
        self.shared = shared
        self.url = url
        self.backoff = backoff
        self.connection: Connection | None = None
        self.state = "starting"
        self.counts: dict[str, Any] = {}
        """Counters over all its sessions, as last looked at."""
        self.paused = 0
        """Since when the socket is not read, ns; 0 if it is."""
        self.waits = 0
        """How often it was not read for a while."""
        self.waited = 0
        """How long that was, ns."""
        self.connected = False
        """Whether there ever was a connection."""
        self.attempts = 0
        """Attempts that failed."""
        self.last_error = ""
        self._past: dict[str, Any] = {}
        self._pacer = Pacer()
        self.session = self._begin(None)

    async def run(self) -> None:
        """Be connected until the recording ends."""
        stop = self.shared.stop
        maintenance = too_big = False
        while not stop.is_set():
            wait = self.backoff.delay(time.monotonic(), maintenance=maintenance, too_big=too_big)
            self.state = f"connecting in {wait:.0f} s" if wait >= 1 else "connecting"
            if wait:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
                if stop.is_set():
                    break
            session = self.session
            try:
                connection = await self._connect(session)
            except FeedError as error:
                self.attempts, self.last_error = self.attempts + 1, str(error)
                session.add_ledger_row(
                    "refused", time.time_ns(), channel=CONNECTION, detail=json.dumps({"error": str(error)})
                )
                self.tell(Line(f"{error}; trying again", "connect_failure", "warning", url=self.url, error=str(error)))
                continue
            if connection is None:
                break
            opened = time.monotonic()
            self.connected = True
            self.connection = connection
            self.state = "recording"
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((stopped, connection.closed), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            self.connection = None
            if stop.is_set():
                await connection.close("stopped")
                break
            reason = connection.closed.result()
            self.backoff.opened(opened, time.monotonic())
            maintenance = session.system in ("maintenance", "cancel_only")
            too_big = connection.too_big
            self.tell(Line(f"disconnected: {reason}", "disconnect", "warning", url=self.url, reason=reason))
            now = time.time_ns()
            if too_big:
                session.add_ledger_row(
                    "limit", now, count=1, detail=json.dumps({"error": reason, "limit": "FRAME_MAX"})
                )
            session.end(now, reason)
            self.events()
            self._follow(session)

    async def _connect(self, session: _core.Session) -> Connection | None:
        """Connect; None when the recording is to end before that is done."""
        self._pacer = Pacer()
        task = asyncio.create_task(connect(self.url, self._frames, session.ping, tls=self.shared.tls))
        stop = asyncio.create_task(self.shared.stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    def _frames(self, frames: list[bytes], ts_recv: int) -> None:
        self.shared.stages.receive(self.session, frames, ts_recv)

    # Sessions.

    def _begin(self, before: _core.Session | None) -> _core.Session:
        """Begin a session: for the first connection, or to go on after the last one."""
        session = self._new_session(uuid7(), before)
        now = time.time_ns()
        facts: dict[str, Any] = {"recorder": self.shared.recorder}
        if before is None:
            options = self._options()
            if options:
                facts |= {"version": __version__, "options": options}
                session.add_ledger_row("start", now, detail=json.dumps(facts))
        else:
            facts["previous"] = before.id
        session.add_ledger_row("connect", now, detail=json.dumps(facts))
        if before is not None:
            session.add_ledger_row(
                "gap", now, ts_from=before.last_received or None, ts_to=now, detail=json.dumps({"previous": before.id})
            )
        self.shared.sessions.append(session.id)
        return session

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.shared.config
        return _core.Session(
            name,
            channels=config.public if config.symbols_per_connection is None else [],
            symbols=config.symbols,
            exclude=config.exclude,
            depth=config.depth,
            interval=config.interval,
            precision=dict(config.precision),
            frames=config.raw,
            tokenised=config.tokenised,
            after=before,
        )

    def _options(self) -> dict[str, Any]:
        """What the recording's first row says of it; nothing but the first link begins a recording."""
        config = self.shared.config
        names = ["symbols", "exclude", "channels", "depth", "interval", "tokenised", "raw", "url"]
        names += ["symbols_per_connection", "redundant", "when_slow"]
        if LEVEL3 in config.channels:
            names += ["level3_depth", "level3_url", "level3_rate"]
        return {name: getattr(config, name) for name in names}

    def _follow(self, ended: _core.Session) -> None:
        """Let a new session follow the one that ended."""
        self.take_counts(final=True)
        self.session = self._begin(ended)

    # Duties of the clock.

    def tick(self, now: float) -> None:
        """What is due every tenth of a second; ``now`` is monotonic time, seconds."""
        self.session.tick(time.time_ns())
        self.events()
        if self.connection is not None:
            self._pacer.add(self._requests())
            for request in self._pacer.due(now):
                self.connection.send(request)

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns())

    def pause(self) -> None:
        """Read the socket no more for now: whoever takes what it brings is slower."""
        self.paused = self.paused or time.time_ns()
        if self.connection is not None:
            self.connection.pause()

    def resume(self, queue: str, answer: str) -> None:
        """Read the socket again; the ledger tells since when it waited, for which queue."""
        now = time.time_ns()
        detail = json.dumps({"queue": queue, "answer": answer})
        self.session.add_ledger_row("backpressure", now, ts_from=self.paused, ts_to=now, detail=detail)
        self.waits += 1
        self.waited += now - self.paused
        self.paused = 0
        if self.connection is not None:
            self.connection.resume()

    def check(self, now: float) -> None:
        """Look whether the connection is alive; every second."""
        if self.connection is not None and not self.paused:
            self.connection.check(now)

    def events(self) -> None:
        """Say aloud what happened."""
        for event in self.session.take_ledger():
            kind, channel, symbol = event["kind"], event["channel"], event["symbol"]
            if channel == CONNECTION:
                # Said where it happened.
                continue
            if kind == "refused":
                reason = json.loads(event["detail"] or "{}").get("error", "")
                what = f"{channel or ''} {symbol or ''}".strip() or "request"
                refused = self.shared.refused
                # A symbol may be one that the exchange made up: there is no end of these.
                if what in refused or len(refused) < REFUSED_MAX:
                    refused[what] = reason
            if kind in SAID:
                detail = event["detail"]
                line = " ".join(filter(None, (kind.replace("_", " "), channel, symbol, detail)))
                level = "info" if kind in {"listed", "delisted", "precision"} else "warning"
                facts = {"channel": channel, "symbol": symbol, "count": event["count"]}
                self.tell(Line(line, kind, level, session=self.session.id, detail=detail, **facts))

    def tell(self, line: Line) -> None:
        """Say a line."""
        self.shared.tell(line.after(self.label))

    def take_counts(self, *, final: bool = False) -> None:
        """Look at the counters; ``final``: for the last time of this session."""
        self.counts = add_counts(self._past, self.session.counts())
        if final:
            self._past = self.counts


class Recorded(Link):
    """A line whose rows go to a journal: the first one of a recording."""

    shared: Recording

    def __init__(self, shared: Recording, url: str, backoff: Backoff) -> None:
        """``run`` connects."""
        super().__init__(shared, url, backoff)
        shared.thread.room += QUEUE
        self._writer = self._journal(self.session)

    # Sessions and their journals.

    def _journal(self, session: _core.Session) -> journal.Writer:
        from krakpot.lake import journal  # noqa: PLC0415  # brings PyArrow, and a feed writes nothing

        config = self.shared.config
        return journal.Writer(config.out, session.id, interval=config.seal_interval)

    def _follow(self, ended: _core.Session) -> None:
        """Let a new session follow the one that ended.

        Its first rows go to its journal before the end of the one before goes to its own, so that there is no moment at
        which a recorder that dies leaves an ended session without a follower.
        """
        if not self.shared.checked:
            # Nothing of it was written: the next one is the first.
            self.shared.sessions.remove(ended.id)
            self.session = self._begin(None)
            self._writer = self._journal(self.session)
            return
        self.take_counts(final=True)
        old = self._writer
        self.session = self._begin(ended)
        self._writer = self._journal(self.session)
        self._put(self._writer, self.session)
        self._put(old, ended)
        self.shared.thread.put(old, None)

    def _put(self, writer: journal.Writer, session: _core.Session) -> None:
        if session.pending_rows:
            self.shared.thread.put(writer, session.drain())

    def flush(self) -> None:
        """Hand the rows to the writer's thread; with a full queue the socket waits.

        ``StorageError`` if the recording shall fail instead.
        """
        thread = self.shared.thread
        if thread.full:
            first = not self.paused
            # Said each time: it may be a new connection.
            self.pause()
            if first:
                if self.shared.config.when_slow == "fail":
                    sentence = f"the disk is slower than the feed, {thread.room} flushes wait (--when-slow fail)"
                    raise StorageError(sentence, self.shared.config.out)
                self.tell(Line("the disk is slower than the feed: the socket waits", "backpressure", "warning"))
            return
        if self.paused:
            self.resume("journal", self.shared.config.when_slow)
        self._put(self._writer, self.session)

    # The end.

    def finish(self, reason: str) -> None:
        """End the session, and close its journal if anything is to be written at all."""
        session = self.session
        now = time.time_ns()
        if self.paused:
            self.resume("journal", self.shared.config.when_slow)
        session.end(now, reason)
        session.add_ledger_row("stop", now)
        self.events()
        if self.shared.checked:
            self._put(self._writer, session)
            self.shared.thread.put(self._writer, None)

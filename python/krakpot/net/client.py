"""A WebSocket client that reconnects; it owns the session of the current connection.

Clients know nothing of each other: one that is cut, slow or refused leaves the others alone. All clients of a process
share the stop event and the count of connection attempts. A recording adds a journal (``record.client``), a live feed
delivers events (``feed.client``).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from krakpot import __version__, _core
from krakpot.config import Config
from krakpot.errors import FeedError
from krakpot.log import LogLine
from krakpot.net.backoff import Backoff, Pacer
from krakpot.net.connection import Connection, ServerBusy, connect

REPORTED = (
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
"""Kinds of ledger rows that are also logged."""
REFUSED_MAX = 10_000
"""Refusals that a summary names; the ledger has all."""
CONNECTION = "connection"
"""In the ledger's column ``channel``: the row is about the whole connection."""
COUNTERS = ("frames", "unchecked", "errors", "gaps", "unknown_entries", "replaced", "unknown_fields")


def uuid7() -> str:
    """Make the id of a session: a UUIDv7, which begins with the current time (RFC 9562)."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def add_counts(total: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """Add the counters of two sessions. Values that describe a state (books in sync) are taken from ``counts``."""
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


def own_symbols(config: Config, channels: Sequence[str]) -> dict[str, Any]:
    """The session's argument for those of ``channels`` that have symbols of their own; empty if none has."""
    found = {channel: config.channel_symbols[channel] for channel in channels if channel in config.channel_symbols}
    return {"channel_symbols": found} if found else {}


def supervise(work: Coroutine[Any, Any, None], fail: Callable[[Exception], None]) -> asyncio.Task[None]:
    """Run ``work`` as a task. If it fails, ``fail`` is called with its error."""

    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            fail(error)

    task = asyncio.create_task(work)
    task.add_done_callback(done)
    return task


@dataclass
class ClientContext:
    """What all clients of a recording, or of a feed, share."""

    config: Config
    recorder: str
    """Id of this recording, in the ledger."""
    stop: asyncio.Event
    log: Callable[[str], None]
    run_task: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Runs a task; its failure ends the whole recording or feed."""
    tls: ssl.SSLContext | None = None
    sessions: list[str] = field(default_factory=list)
    """Ids of all sessions, in the order in which they began."""
    refused: dict[str, str] = field(default_factory=dict)
    """What the exchange refused, with its reason."""
    checked: bool = False
    """Whether the symbols were checked against the exchange's pairs. A recording writes nothing before."""


class Client:
    """A reconnecting client for the instrument channel and the public channels. It writes nothing to disk."""

    label = ""
    """Prefix of its log lines."""

    def __init__(self, context: ClientContext, url: str, backoff: Backoff) -> None:
        """Create the client; ``run`` connects."""
        self.context = context
        self.url = url
        self.backoff = backoff
        self.connection: Connection | None = None
        self.state = "starting"
        self.counts: dict[str, Any] = {}
        """Counters over all its sessions, as of the last ``take_counts``."""
        self.paused = 0
        """When reading from the socket was paused, ns; 0 while it is read."""
        self.waits = 0
        """How often reading was paused."""
        self.waited = 0
        """How long reading was paused in total, ns."""
        self.connected = False
        """Whether there ever was a connection."""
        self.opened_at = 0.0
        """When the current connection was opened, monotonic seconds; 0 without one."""
        self.subscribed = False
        """Whether the exchange ever confirmed a subscription."""
        self.attempts = 0
        """Attempts that failed."""
        self.last_error = ""
        self._past: dict[str, Any] = {}
        self._pacer = Pacer()
        self.session = self._begin(None)

    async def run(self) -> None:
        """Stay connected until the recording or feed ends."""
        stop = self.context.stop
        maintenance = too_big = False
        busy: float | None = None
        while not stop.is_set():
            wait = self.backoff.delay(time.monotonic(), maintenance=maintenance, too_big=too_big, busy=busy)
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
                busy = error.retry_after if isinstance(error, ServerBusy) else None
                self.attempts, self.last_error = self.attempts + 1, str(error)
                session.add_ledger_row(
                    "refused", time.time_ns(), channel=CONNECTION, detail=json.dumps({"error": str(error)})
                )
                self.log(
                    LogLine(f"{error}; trying again", "connect_failure", "warning", url=self.url, error=str(error))
                )
                continue
            if connection is None:
                break
            busy = None
            opened = self.opened_at = time.monotonic()
            self.connected = True
            self.connection = connection
            self.state = "connected"
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((stopped, connection.closed), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            self.connection, self.opened_at = None, 0.0
            if stop.is_set():
                await connection.close("stopped")
                break
            reason = connection.closed.result()
            self.backoff.opened(opened, time.monotonic())
            maintenance = session.system in ("maintenance", "cancel_only")
            too_big = connection.too_big
            self.log(LogLine(f"disconnected: {reason}", "disconnect", "warning", url=self.url, reason=reason))
            now = time.time_ns()
            if too_big:
                session.add_ledger_row(
                    "limit", now, count=1, detail=json.dumps({"error": reason, "limit": "FRAME_MAX"})
                )
            session.end(now, reason)
            self.report_ledger()
            self._follow(session)

    async def _connect(self, session: _core.Session) -> Connection | None:
        """Connect. Returns None if the recording or feed ends first."""
        self._pacer = Pacer()
        task = asyncio.create_task(connect(self.url, self._receive, session.ping, tls=self.context.tls))
        stop = asyncio.create_task(self.context.stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    def _receive(self, frames: list[bytes], ts_recv: int) -> None:
        """Take the frames of one socket read."""
        self.session.receive(frames, ts_recv)

    # Sessions.

    def _begin(self, before: _core.Session | None) -> _core.Session:
        """Begin a session: the first one, or the one that follows ``before``."""
        session = self._new_session(uuid7(), before)
        now = time.time_ns()
        facts: dict[str, Any] = {"recorder": self.context.recorder}
        if before is None:
            options = self._start_options()
            if options:
                facts |= {"version": __version__, "options": options}
                session.add_ledger_row("start", now, detail=json.dumps(facts))
        else:
            facts["previous"] = before.id
        session.add_ledger_row("connect", now, detail=json.dumps(facts))
        self.context.sessions.append(session.id)
        return session

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.context.config
        channels = self._channels()
        return _core.Session(
            name,
            channels=channels,
            symbols=config.symbols,
            exclude=config.exclude,
            depth=config.depth,
            interval=config.interval,
            precision=dict(config.precision),
            frames=config.raw,
            tokenised=config.tokenised,
            after=before,
            **own_symbols(config, channels),
        )

    def _channels(self) -> list[str]:
        """Public channels that its sessions subscribe."""
        return self.context.config.public

    def _start_options(self) -> dict[str, Any]:
        """Options for the ledger's ``start`` row; empty: no such row. Only the first client of a recording has them."""
        return {}

    def _follow(self, ended: _core.Session) -> None:
        """Begin the session that follows ``ended``."""
        self.take_counts(final=True)
        self.session = self._begin(ended)

    # Periodic duties.

    def tick(self, now: float) -> None:
        """Do what is due; call it every 0.1 s. ``now`` is monotonic time, seconds."""
        self.session.tick(time.time_ns())
        self.report_ledger()
        if self.connection is not None:
            self._pacer.add(self._requests())
            for request in self._pacer.due(now):
                self.connection.send(request)

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns())

    def pause(self) -> None:
        """Stop reading from the socket: the consumer of the data is slower."""
        self.paused = self.paused or time.time_ns()
        if self.connection is not None:
            self.connection.pause()

    def resume(self, queue: str, answer: str) -> None:
        """Read from the socket again, and add a ``backpressure`` row: how long it waited, and for which queue."""
        now = time.time_ns()
        detail = json.dumps({"queue": queue, "answer": answer})
        self.session.add_ledger_row("backpressure", now, ts_from=self.paused, ts_to=now, detail=detail)
        self.waits += 1
        self.waited += now - self.paused
        self.paused = 0
        if self.connection is not None:
            self.connection.resume()

    def check(self, now: float) -> None:
        """Check that the connection is alive; call it every second. ``now`` is monotonic time, seconds."""
        if self.connection is not None and not self.paused:
            self.connection.check(now)

    def report_ledger(self) -> None:
        """Log the new rows of the ledger, and remember refusals."""
        for event in self.session.take_ledger():
            kind, channel, symbol = event["kind"], event["channel"], event["symbol"]
            if channel == CONNECTION:
                # `run` has logged it already.
                continue
            if kind == "refused":
                reason = json.loads(event["detail"] or "{}").get("error", "")
                what = f"{channel or ''} {symbol or ''}".strip() or "request"
                refused = self.context.refused
                # The exchange can make up symbols without end, so the number is limited.
                if what in refused or len(refused) < REFUSED_MAX:
                    refused[what] = reason
            if kind == "subscribed" and channel != "instrument":
                self.subscribed = True
            # What was deselected ends with a reason; a subscription that is repaired ends without one.
            detail = event["detail"]
            if kind in REPORTED or (kind == "unsubscribed" and detail):
                line = " ".join(filter(None, (kind.replace("_", " "), channel, symbol, detail)))
                level = "info" if kind in {"listed", "delisted", "precision", "unsubscribed"} else "warning"
                facts = {"channel": channel, "symbol": symbol, "count": event["count"]}
                if event["ts_from"] is not None and event["ts_to"] is not None:
                    facts["seconds"] = (event["ts_to"] - event["ts_from"]) / 1e9
                self.log(LogLine(line, kind, level, session=self.session.id, detail=detail, **facts))

    def log(self, line: LogLine) -> None:
        """Log a line with this client's label."""
        self.context.log(line.labelled(self.label))

    def take_counts(self, *, final: bool = False) -> None:
        """Update ``counts``. ``final``: the current session has ended."""
        self.counts = add_counts(self._past, self.session.counts())
        if final:
            self._past = self.counts

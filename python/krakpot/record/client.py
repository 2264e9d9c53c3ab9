"""The client of a recording: its sessions' rows go to journals, and its socket waits when the disk is slow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal
from krakpot.log import LogLine
from krakpot.net.backoff import Backoff
from krakpot.net.client import Client, ClientContext
from krakpot.record.cputime import Stages
from krakpot.record.writer import WriterThread
from krakpot.values import LEVEL3

QUEUE = 32
"""Flushes of each client that may wait for the writer thread."""


class Watcher(Protocol):
    """Somebody who wants to see the states of a book."""

    def concerns(self, frame: bytes) -> bool:
        """Whether a frame may have changed it."""

    def look(self, now: int) -> None:
        """Called after each such frame."""


@dataclass
class RecordingContext(ClientContext):
    """What all clients of a recording share."""

    writer: WriterThread = field(kw_only=True)
    stages: Stages = field(kw_only=True)
    """CPU time by stage."""


class RecordingClient(Client):
    """A client whose rows go to a journal. By itself it is the first one of a recording."""

    context: RecordingContext

    def __init__(self, context: RecordingContext, url: str, backoff: Backoff) -> None:
        """Create the client; ``run`` connects."""
        super().__init__(context, url, backoff)
        context.writer.room += QUEUE
        self._journal = self._new_journal(self.session)
        self.watches: list[Watcher] = []
        """Who wants to see the states of books of this session."""

    def _receive(self, frames: list[bytes], ts_recv: int) -> None:
        receive = self.context.stages.receive
        if not self.watches:
            return receive(self.session, frames, ts_recv)
        # A frame alone, so that the states between the frames of one read are seen too.
        for frame in frames:
            receive(self.session, [frame], ts_recv)
            for watch in self.watches:
                if watch.concerns(frame):
                    watch.look(ts_recv)
        return None

    def _channels(self) -> list[str]:
        """None if the symbols are distributed over further connections: then this one has the pairs alone."""
        config = self.context.config
        return config.public if config.symbols_per_connection is None else []

    def _start_options(self) -> dict[str, Any]:
        config = self.context.config
        names = ["symbols", "exclude", "channels", "depth", "interval", "tokenised", "raw", "url"]
        names += ["symbols_per_connection", "redundant", "when_slow"]
        if LEVEL3 in config.channels:
            names += ["level3_depth", "level3_url", "level3_rate"]
        return {name: getattr(config, name) for name in names}

    # Sessions and their journals.

    def _new_journal(self, session: _core.Session) -> journal.Writer:
        config = self.context.config
        return journal.Writer(config.out, session.id, interval=config.seal_interval)

    def _follow(self, ended: _core.Session) -> None:
        """Begin the session that follows ``ended``.

        Its first rows are written before the last rows of ``ended``. So a recorder that is killed in between never
        leaves a session that ended without the one that follows it.
        """
        if not self.context.checked:
            # Nothing of `ended` was written, so the next session is the first one.
            self.context.sessions.remove(ended.id)
            self.session = self._begin(None)
            self._journal = self._new_journal(self.session)
            return
        self.take_counts(final=True)
        old = self._journal
        self.session = self._begin(ended)
        self._journal = self._new_journal(self.session)
        self._put(self._journal, self.session)
        self._put(old, ended)
        self.context.writer.put(old, None)

    def _put(self, writer: journal.Writer, session: _core.Session) -> None:
        if session.pending_rows:
            self.context.writer.put(writer, session.drain())

    def flush(self) -> None:
        """Hand the rows to the writer thread. While its queue is full, the socket is not read.

        Raises
        ------
        StorageError
            The queue is full and the option ``when_slow`` is ``fail``.

        """
        writer = self.context.writer
        if writer.full:
            first = not self.paused
            # Each time, because the connection may be a new one.
            self.pause()
            if first:
                if self.context.config.when_slow == "fail":
                    sentence = f"the disk is slower than the feed, {writer.room} flushes wait (--when-slow fail)"
                    raise StorageError(sentence, self.context.config.out)
                self.log(LogLine("the disk is slower than the feed: the socket waits", "backpressure", "warning"))
            return
        if self.paused:
            self.resume("journal", self.context.config.when_slow)
        self._put(self._journal, self.session)

    # The end.

    def finish(self, reason: str) -> None:
        """End the session, and close its journal if anything is to be written at all."""
        session = self.session
        now = time.time_ns()
        if self.paused:
            self.resume("journal", self.context.config.when_slow)
        session.end(now, reason)
        session.add_ledger_row("stop", now)
        self.report_ledger()
        if self.context.checked:
            self._put(self._journal, session)
            self.context.writer.put(self._journal, None)

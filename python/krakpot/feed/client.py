"""A connection of a live feed: what it receives goes to a stream of events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection

from krakpot import _core
from krakpot._core import Batch, Events
from krakpot.errors import CLOSED, FeedError
from krakpot.feed.selection import Selection
from krakpot.net.backoff import Backoff
from krakpot.net.client import Client, ClientContext
from krakpot.net.connection import Connection
from krakpot.net.level3 import Level3Account, TokenKeeper
from krakpot.stream.events import ConnectionEvent, Endpoint
from krakpot.stream.stream import Sink
from krakpot.values import LEVEL3

STREAM_CHANNELS = ("connection", "skipped")
"""Channels whose events are not made from messages."""


class FeedClient(Client):
    """The feed's connection to the public server."""

    endpoint: Endpoint = "public"

    def __init__(self, context: ClientContext, url: str, backoff: Backoff, stream: Sink, selection: Selection) -> None:
        """``run`` connects."""
        self._stream = stream
        self._selection = selection
        self._patterns = selection.patterns()
        """The patterns that its session has."""
        self._made: list[str] = []
        self._events: Events | None = None
        """Makes the events that are read; None where none are."""
        self._rows = False
        """Whether rows are read."""
        self._latest: Connection | None = None
        self._ended: list[dict[str, Batch]] = []
        """Rows of sessions that ended."""
        self._reason = "not connected yet"
        super().__init__(context, url, backoff)

    @property
    def down(self) -> str:
        """Why there is no connection now; empty while there is one."""
        return self._reason if self.connection is None or self._stream.stopped.is_set() else ""

    def close(self) -> None:
        """End the session, and with it its books."""
        self._reason = CLOSED
        self.session.end(time.time_ns(), "stopped")

    # What is read.

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        """Make the events of these channels from now on, or keep rows."""
        made = sorted(channel for channel in channels if channel not in STREAM_CHANNELS)
        if rows != self._rows:
            # Rows are made while somebody reads them; what was made before is not delivered.
            self.session.collect(rows=rows)
            self.session.drain()
            self._ended.clear()
        self._made = made
        self._events = Events(made) if made else None
        self._rows = rows

    def take(self, frames: list[bytes], ts_recv: int) -> None:
        """Let the session take the frames of a socket read; without frames: see what else happened."""
        # What arrives after the end would bring books into sync again that nobody repairs.
        if self._stream.stopped.is_set():
            return
        session = self.session
        if self._events is not None:
            self._stream.receive(self._events, session, frames, ts_recv)
        else:
            session.receive(frames, ts_recv)
            if self._rows and session.pending_rows:
                self._stream.rows_arrived()

    @property
    def pending_rows(self) -> int:
        """Rows that wait to be taken."""
        ended = sum(batch.num_rows for rows in self._ended for batch in rows.values())
        return ended + self.session.pending_rows

    def take_rows(self) -> list[dict[str, Batch]]:
        """Take the rows that wait, of each session."""
        found, self._ended = self._ended, []
        if self.session.pending_rows:
            found.append(self.session.drain())
        return found

    def skip_rows(self) -> dict[str, int]:
        """Drop the rows that wait, and say so in the ledger; their number by table."""
        skipped: Counter[str] = Counter()
        for rows in self.take_rows():
            skipped.update({table: batch.num_rows for table, batch in rows.items()})
        if skipped:
            detail = '{"queue":"strategy","answer":"newest"}'
            now = time.time_ns()
            self.session.add_ledger_row("backpressure", now, count=skipped.total(), detail=detail)
        return dict(skipped)

    # What the connection does.

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        config = self.context.config
        patterns = self._patterns = self._selection.patterns()
        return _core.Session(
            name,
            channels=config.public,
            symbols=patterns.symbols,
            exclude=patterns.exclude,
            channel_symbols={channel: patterns.channels[channel] for channel in config.public},
            depth=config.depth,
            interval=config.interval,
            tokenised=config.tokenised,
            after=before,
            rows=self._rows,
        )

    def select(self) -> None:
        """Subscribe what the selection has now, and unsubscribe the rest."""
        patterns = self._selection.patterns()
        if patterns != self._patterns:
            self._patterns = patterns
            channels = {channel: patterns.channels[channel] for channel in self.context.config.public}
            self.session.select(patterns.symbols, time.time_ns(), exclude=patterns.exclude, channel_symbols=channels)

    async def _connect(self, session: _core.Session) -> Connection | None:
        """Tell the strategy, besides what every client does."""
        try:
            connection = await super()._connect(session)
        except FeedError as error:
            self._reason = str(error)
            raise
        if connection is not None:
            self._latest = connection
            if self.paused:
                connection.pause()
            self._stream.deliver([self._event(up=True)])
        return connection

    def _event(self, *, up: bool) -> ConnectionEvent:
        return ConnectionEvent(up, "" if up else self._reason, time.time_ns(), self.endpoint)

    def _receive(self, frames: list[bytes], ts_recv: int) -> None:
        self.take(frames, ts_recv)

    def _follow(self, ended: _core.Session) -> None:
        """Tell the strategy, besides what every client does."""
        assert self._latest is not None, "only a connection that was established can end"
        self._reason = self._latest.closed.result()
        if self._rows:
            if ended.pending_rows:
                self._ended.append(ended.drain())
        else:
            self.take([], time.time_ns())
        if self._events is not None:
            # A new maker of events delivers the states of all subscriptions again.
            self._events = Events(self._made)
        super()._follow(ended)
        self._stream.deliver([self._event(up=False)])


class Level3FeedClient(FeedClient):
    """One of the feed's connections to the level-3 server."""

    endpoint = "level3"

    def __init__(
        self,
        context: ClientContext,
        url: str,
        backoff: Backoff,
        stream: Sink,
        selection: Selection,
        account: Level3Account,
    ) -> None:
        """``run`` connects."""
        self.symbols: list[str] = []
        """The symbols on this connection."""
        self._account = account
        self._keeper = TokenKeeper(account, context.run_task)
        self._pairs: _core.Session | None = None
        """The session that knows the pairs."""
        super().__init__(context, url, backoff, stream, selection)

    def import_pairs(self, source: _core.Session) -> None:
        """Learn what the public session ``source`` knows of the pairs, and follow those of ``symbols``."""
        self._pairs = source
        now = time.time_ns()
        self.session.select(self.symbols, now)
        self.session.import_pairs(source, self.symbols, now)

    def _new_session(self, name: str, before: _core.Session | None) -> _core.Session:
        session = _core.Session(
            name,
            channels=[LEVEL3],
            symbols=self.symbols,
            level3_depth=self.context.config.level3_depth,
            instrument=False,
            after=before,
            rows=self._rows,
        )
        if self._pairs is not None:
            session.import_pairs(self._pairs, self.symbols, time.time_ns())
        return session

    def _requests(self) -> list[bytes]:
        return self.session.requests(time.time_ns(), self._account.budget)

    def tick(self, now: float) -> None:
        """See that the session has its token, besides what every client does."""
        if self.connection is not None:
            self._keeper.tick(self.session, now)
        super().tick(now)

    def close(self) -> None:
        """Wait for no token, besides what every client does."""
        self._keeper.close()
        super().close()

    def take_counts(self, *, final: bool = False) -> None:
        """See whether the token was of use, besides what every client does."""
        super().take_counts(final=final)
        if self.counts["in_sync"]:
            self._keeper.worked()

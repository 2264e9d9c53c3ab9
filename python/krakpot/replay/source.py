"""The source of a replay's events: recorded sessions, merged by time in the core; rows are read ahead by threads."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from krakpot import _core, values
from krakpot._core import Batch
from krakpot.errors import ConfigError
from krakpot.lake.arbitration import Span, arbitrate
from krakpot.lake.coverage import covered, recorded_sessions
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import BOOK_KINDS, UNREADABLE, unreadable
from krakpot.lake.journal import journal_names
from krakpot.lake.ledger import IMPORTED, MARKS
from krakpot.lake.sample import By
from krakpot.net.client import add_counts
from krakpot.replay.rows import SessionRows
from krakpot.stream.events import ConnectionEvent, Endpoint, Subscription
from krakpot.stream.stream import EventStream, Listeners, SlowReaderPolicy
from krakpot.values import LEVEL3, near

TIME_MAX = (1 << 63) - 1
"""After all times, ns."""
HOUR = 3600 * 10**9
MARGIN = 120 * 10**9
"""How long after the hour its checkpoints may be, ns."""
BOOKS = {kind.channel: kind for kind in BOOK_KINDS}
NAMES_MAX = 20
"""Symbols that a sentence names."""
STEPS = 4096
"""Reads of sockets that are played before the event loop gets its turn."""
PAUSE = 0.001
"""Seconds to wait where nothing is due yet."""
AHEAD = 2
"""Windows of a session that are read before they are played."""
UNREADY_SHOWN = 5
"""Subscriptions that an error names."""
KILLED = "the recorder was killed"
"""Why a book is out of sync after the last row of a session whose end nobody recorded."""
UNREADY = ("pending", "requested", "acked", "resyncing", "unsubscribing")
"""States of subscriptions that do not deliver yet and will, or will again."""


@dataclass
class _Recorded:
    """A session of the lake."""

    name: str
    begin: int
    """Receive time of its first row, ns."""
    first: int
    """The message to begin with."""
    channels: list[str]
    previous: str | None
    """The session that it follows: whose connection was lost before, or of the recording before."""


@dataclass
class _Player:
    """A session that is played."""

    number: int
    session: _core.Session
    rows: SessionRows
    windows: Iterator[_core.ReplayWindow]
    ahead: deque[Future[_core.ReplayWindow | None]] = field(default_factory=deque)
    over: bool = False
    killed: bool = False
    """Whether it is over, and its recorder too: if the ledger did not tell the end, it was killed."""


class Owner:
    """Whoever has the session of one symbol in one channel at the moment."""

    __slots__ = ("_channel", "_source", "_symbol")

    def __init__(self, source: ReplaySource, channel: str, symbol: str) -> None:
        """For a handle to the symbol's book."""
        self._source = source
        self._channel = channel
        self._symbol = symbol

    @property
    def session(self) -> _core.Session:
        """The session that has the symbol now; before there is one, a session that knows nothing."""
        return self._source.session_of(self._channel, self._symbol)

    @property
    def down(self) -> str:
        """Why its connection is down; empty if it is up."""
        return self._source.down(self._channel, self._symbol)


def connection_event(up: bool, detail: str, ts_recv: int, endpoint: Endpoint) -> ConnectionEvent:  # noqa: FBT001  # the core calls it
    """Make the event of a connection; ``detail``: facts of the ledger about its end."""
    reason = "" if up else str(json.loads(detail or "{}").get("reason", ""))
    return ConnectionEvent(up, reason, ts_recv, endpoint)


class ReplaySource:
    """Plays what a lake has of some symbols and channels."""

    def __init__(
        self,
        folder: Folder,
        symbols: Mapping[str, Collection[str]],
        *,
        start: int | None,
        end: int | None,
        by: By,
        speed: float | None,
    ) -> None:
        """``symbols``: of each channel. ``speed``: recorded seconds a second; None: as fast as possible."""
        self.symbols = {channel: sorted(names) for channel, names in symbols.items()}
        self.by = by
        self.speed = speed
        self.start = start
        self.end = TIME_MAX if end is None else end
        self.paused_by_user = False
        self._folder = folder
        self._stream: EventStream
        self._channels: Collection[str] = ()
        self._rows = False
        self._pool: ThreadPoolExecutor | None = None
        self._nothing = _core.replaying("", [], None)
        self._early = HOUR if by == "event" else 0
        """How long before its first message a session is opened: the recorder's clock may be ahead."""
        self._clock: tuple[float, int] | None = None
        """A moment of the clock, and the recorded time that was played then."""
        self._timer: asyncio.TimerHandle | None = None
        self._begin()

    def again(self) -> ReplaySource:
        """Another source of the same, from its begin on."""
        end = None if self.end == TIME_MAX else self.end
        return ReplaySource(self._folder, self.symbols, start=self.start, end=end, by=self.by, speed=self.speed)

    @property
    def is_cut(self) -> bool:
        """Whether something was recorded after what was played: `end` cut it off."""
        return bool(self._waiting) or any(not player.over for player in self._players)

    def _begin(self) -> None:
        """Forget what was played."""
        self.replayer = _core.Replayer(connection_event, by=self.by, since=self.start)
        self._players: list[_Player] = []
        self._waiting: deque[_Recorded] = deque()
        self._sessions: dict[str, _Player] = {}
        self._spans: dict[str, list[tuple[str, str, int, bool]]] = {}
        self._clock = None
        self._ended = False
        self.recorded_range: tuple[int, int] | None = None
        """Times of the first and of the last ledger row of all sessions that have something to play, ns."""
        self._played = 0
        """The time up to which everything was played, ns."""
        self._goal = TIME_MAX
        """The time up to which it plays for now."""
        self._reached = False

    # Begin and end.

    def open(self, stream: EventStream) -> None:
        """See what there is to play. ``StorageError`` if the ledger cannot be read."""
        self._stream = stream
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="krakpot-replay")
        self._look()
        self.replayer.want(sorted(self._channels), self._rows)

    def go_on(self) -> bool:
        """See what was recorded since the last look; whether there is anything."""
        opened, waiting = set(self._sessions), {one.name for one in self._waiting}
        known = {(session, *span[:3]) for session, spans in self._spans.items() for span in spans}
        before = list(self._waiting)
        self._spans = {}
        self._look()
        found = [one for one in self._waiting if one.name not in opened | waiting]
        self._waiting = deque([*before, *found])
        for session, spans in self._spans.items():
            for channel, symbol, since, joined in spans:
                if session in opened and (session, channel, symbol, since) not in known:
                    self.replayer.switch(since, channel, symbol, self._sessions[session].number, joined)
        more = bool(found)
        for player in self._sessions.values():
            # What was read of a session is played before more of it is read.
            if player.killed or not player.over:
                continue
            rows = self._rows_behind(player, self._view)
            if rows.until > player.rows.until or rows.has_ledger_rows:
                more = True
                self._play_on(player, rows)
            else:
                # Its recorder may have been killed since the last look.
                self._over(player)
        return more

    def follow(self) -> bool | None:
        """See what was written since the last look of the sessions that are played: far less work than ``go_on``.

        None if only ``go_on`` can tell: a session began or ended, or the ledger has news.
        """
        running = [player for player in self._players if player.session.id in self._recorded_then]
        if not running or self._waiting:
            return None
        journals = journal_names(self._folder.path)
        found = []
        for player in running:
            if not player.over:
                continue
            known = player.rows.behind.journal
            mine = [name for name in journals if name.session == player.session.id and name.number >= known]
            if not mine or mine[0].number != known:
                # The journal that was read last is sealed.
                return None
            rows = self._rows_behind(player, View(self._folder, [], mine, {}))
            if rows.has_ledger_rows:
                return None
            if rows.until > player.rows.until:
                found.append((player, rows))
            else:
                # Rows of other symbols are not read again.
                player.rows.behind = rows.behind
        for player, rows in found:
            self._play_on(player, rows)
        return bool(found)

    def _rows_behind(self, player: _Player, view: View) -> SessionRows:
        """What was written of a session since its rows were read."""
        known = player.rows
        return SessionRows(
            view, player.session.id, self._of_tables(),
            first=known.until, entry=known.last_entry, behind=known.behind, by=self.by,
        )  # fmt: skip

    def _play_on(self, player: _Player, rows: SessionRows) -> None:
        """Play more rows of a session that is over."""
        player.rows, player.windows, player.over = rows, rows.windows(), False
        # The end of the rows before, which was read ahead, is not the end of these.
        player.ahead.clear()
        self.replayer.reopen(player.number)

    @property
    def sessions(self) -> list[_core.Session]:
        """The sessions that were played, in the order of their begin."""
        return [player.session for player in self._players]

    @property
    def has_sessions(self) -> bool:
        """Whether there is something to play."""
        return bool(self._waiting or self._players)

    @property
    def recorded_now(self) -> bool:
        """Whether somebody records into the lake now."""
        return bool(recorded_sessions(self._view))

    def _look(self) -> None:
        tables = [_core.CHANNELS[channel] for channel in self.symbols]
        checkpoints = [BOOKS[channel].checkpoints for channel in self.symbols if channel in BOOKS]
        self._view = self._folder.look([*tables, *checkpoints, "ledger", "status"])
        try:
            ledger = self._view.scan("ledger").select("session", "message", "detail", *MARKS).collect()
        except UNREADABLE as error:
            unreadable(self._folder.path, error)
        self._recorded_then = recorded_sessions(self._view)
        coverage = covered(ledger, self._recorded_then)
        self._waiting = deque(self._recorded(ledger, coverage))
        self._switch(coverage)

    def _recorded(self, ledger: pl.DataFrame, coverage: pl.DataFrame) -> list[_Recorded]:
        """The sessions that have something to play, by time."""
        subscribed = {
            str(session): set(mine.select("channel", "symbol").iter_rows())
            for (session,), mine in coverage.partition_by("session", as_dict=True).items()
        }
        tables = {table for channel in self.symbols for table in [_core.CHANNELS[channel]]}
        having = set().union(*(self._view.sessions(table) for table in tables)) if tables else set()
        connects = ledger.filter(kind="connect").drop_nulls("detail").select("session", "detail")
        before = {name: json.loads(detail).get("previous") for name, detail in connects.iter_rows()}
        ordered = ledger.sort("session", "entry").with_columns(pl.col("ts_recv").to_physical())
        self.recorded_range = None
        found: list[tuple[_Recorded, int]] = []
        for (name,), mine in ordered.partition_by("session", as_dict=True, maintain_order=True).items():
            session = str(name)
            if session not in having or (mine["kind"] == IMPORTED).any():  # imported history is no part of the feed
                continue
            begin, end = int(mine["ts_recv"][0]), int(mine["ts_recv"].max())  # type: ignore[arg-type]  # they are numbers
            least, most = self.recorded_range or (begin, end)
            self.recorded_range = min(least, begin), max(most, end)
            if begin >= self.end or (self.start is not None and end < self.start):
                continue
            previous = before.get(session)
            while previous is not None and previous not in having:
                # That one has nothing to play.
                previous = before.get(previous)
            channels = [name for name in self.symbols if any(name == of for of, _ in subscribed.get(session, ()))]
            found.append((_Recorded(session, begin, self._first(mine), channels, previous), end))
        for one, _ in found:
            if one.previous is None:
                # Another recording: it follows the last one that had most of its subscriptions and was over.
                mine_too = [
                    (len(subscribed.get(one.name, set()) & subscribed.get(other.name, set())), end, other.name)
                    for other, end in found
                    if end < one.begin
                ]
                shared, _, name = max(mine_too, default=(0, 0, ""))
                one.previous = name if shared else None
        return sorted((one for one, _ in found), key=lambda one: (one.begin, one.name))

    def _first(self, ledger: pl.DataFrame) -> int:
        """The message with which a session is to begin: at the checkpoints before ``start``."""
        if self.start is None:
            return 0
        hour = (self.start - MARGIN) // HOUR * HOUR
        before = ledger.filter(pl.col("ts_recv").cum_max() < hour)["message"].drop_nulls()
        return 0 if before.is_empty() else int(before[-1]) + 1

    def _switch(self, coverage: pl.DataFrame) -> None:
        """Say which session has a symbol from when on."""
        rows = coverage.with_columns(pl.col("ts_from", "ts_to").to_physical())
        rows = rows.filter(pl.col("channel").is_in(list(self.symbols)))
        for (channel, symbol), mine in rows.partition_by(["channel", "symbol"], as_dict=True).items():
            if symbol not in self.symbols[str(channel)]:
                continue
            spans = [Span(*row) for row in mine.select("ts_from", "ts_to", "session").iter_rows()]
            for segment in arbitrate(spans):
                self._spans.setdefault(segment.session, []).append(
                    (str(channel), str(symbol), segment.begin, segment.joined)
                )

    def stop(self) -> None:
        """Deliver nothing more."""
        self.replayer.interrupt(drop=True)
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """End the sessions, so that no book is in sync any more, and the threads."""
        self.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        for player in self._players:
            player.session.end(player.session.now, "stopped")

    # Sessions and their rows.

    def _open_session(self, recorded: _Recorded) -> None:
        before = self._sessions.get(recorded.previous or "")
        session = _core.replaying(recorded.name, recorded.channels, before.session if before else None)
        endpoint = LEVEL3 if LEVEL3 in recorded.channels else "public"
        number = self.replayer.open(session, endpoint)
        if recorded.first:
            begin = self.start if self.start is not None else recorded.begin
            for channel, symbol, since, _ in self._spans.get(recorded.name, []):
                if since < begin and channel not in BOOKS:
                    self.replayer.subscribed(number, channel, symbol, since)
        for channel, symbol, since, joined in self._spans.get(recorded.name, []):
            self.replayer.switch(since, channel, symbol, number, joined)
        rows = SessionRows(self._view, recorded.name, self._of_tables(), first=recorded.first, by=self.by)
        # By the exchange's time nothing of a session comes before the end of the one that it follows.
        floor = self.now if self.by == "event" and before is not None else None
        player = _Player(number, session, rows, rows.windows(floor))
        self._players.append(player)
        self._sessions[recorded.name] = player
        self._read_ahead(player)

    def _of_tables(self) -> dict[str, list[str]]:
        return {_core.CHANNELS[channel]: names for channel, names in self.symbols.items()}

    def _read_ahead(self, player: _Player) -> None:
        assert self._pool is not None, "opened"
        while len(player.ahead) < AHEAD:
            # Windows follow each other: the next one is made when the one before it is there.
            before = player.ahead[-1] if player.ahead else None
            player.ahead.append(self._pool.submit(_next, player.windows, before))
            if before is None:
                break

    def _more_rows(self, number: int) -> None:
        """Give the core the next rows of a session."""
        player = self._players[number]
        self._read_ahead(player)
        try:
            window = player.ahead.popleft().result()
        except UNREADABLE as error:
            unreadable(self._folder.path, error)
        if window is None:
            self.replayer.finish(number)
            return
        self.replayer.add(number, window)
        self._read_ahead(player)

    def _over(self, player: _Player) -> None:
        """A session has no more rows. If its recorder was killed, its books are not to be trusted from here on."""
        player.over = True
        if player.session.id not in self._recorded_then:
            player.killed = True
            # Nothing, if the ledger told its end.
            player.session.end(player.session.now, KILLED)

    # Playing.

    def play(
        self,
        until: int,
        listeners: Listeners | None,
        steps: int,
        through: Callable[[_core.Replayer, int, int], tuple[str, int | None]] | None = None,
    ) -> tuple[str, list[Any]]:
        """Play on, and say why it came to a halt: until, end, events, steps, interrupted.

        ``through`` plays instead: up to a time, so many reads of sockets, and says why it came to a halt.
        """
        while True:
            self._open_due(until)
            opens = min((one.begin - self._early for one in self._waiting if not self._follows(one)), default=TIME_MAX)
            bound = min(until, self.end, opens + 1)
            why: str
            if through is None:
                why, number, events = self.replayer.play(bound, listeners, steps)
            else:
                (why, number), events = through(self.replayer, bound, steps), []
            self._played = max(self._played, bound - 1 if why == "until" else self.now or 0)
            if why == "rows":
                assert number is not None, "it says which session"
                self._more_rows(number)
            elif why == "over":
                assert number is not None, "it says which session"
                self._over(self._players[number])
            elif not (why in {"until", "end"} and opens < min(until, self.end)):
                if why == "end" and self._waiting:
                    # Nothing is recorded now; later something is.
                    why = "until"
                return ("end" if why == "until" and bound >= self.end else why), events

    def _follows(self, recorded: _Recorded) -> bool:
        """Whether a session follows one that is not over, so that it cannot begin."""
        if any(one.name == recorded.previous for one in self._waiting):
            return True
        before = self._sessions.get(recorded.previous or "")
        return before is not None and not before.over

    def _open_due(self, until: int) -> None:
        """Open the sessions that begin now: at their time, or when the one that they follow is over."""
        for one in list(self._waiting):
            due = one.begin - self._early <= self._played or not self._alive()
            if one.begin >= min(until, self.end) or not due:
                return
            if not self._follows(one):
                self._waiting.remove(one)
                self._open_session(one)

    def _alive(self) -> bool:
        return any(not player.over for player in self._players)

    def produce(self, listeners: Listeners | None, steps: int = STEPS) -> bool:
        """Deliver what comes next, if its time has come."""
        if self.paused_by_user:
            return False
        until = self.due()
        why, events = self.play(min(until, self._goal), listeners, steps)
        self._ended = why == "end" or (why == "until" and self.end <= min(until, self._goal))
        self._reached = why == "until" and self._goal <= until
        if events:
            self._stream.deliver(events)
        if self._rows and self.pending_rows:
            self._stream.rows_arrived()
            return True
        if self._ended:
            self._stream.stop()
            return True
        if why == "until":
            self._wake_later()
            return False
        return True

    def due(self) -> int:
        """The recorded time up to which may be played now."""
        if self.speed is None:
            return TIME_MAX
        now = time.monotonic()
        if self._clock is None:
            at = max(self.replayer.now or 0, self.start or 0)
            if self._waiting and not self._alive():
                # The silence before the first message is not waited for.
                at = max(at, self._waiting[0].begin)
            self._clock = now, at
        began, at = self._clock
        return min(TIME_MAX, at + int((now - began) * self.speed * 1e9) + 1)

    def _wake_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PAUSE, self._stream.wake)

    def set_speed(self, speed: float | None) -> None:
        """Play at another speed from now on."""
        self.speed = speed
        self._clock = None
        self._stream.wake()

    def pause_by_user(self) -> None:
        """Play nothing until ``resume_by_user``."""
        self.paused_by_user = True
        self.replayer.interrupt()

    def resume_by_user(self) -> None:
        """Play on."""
        self.paused_by_user = False
        self._clock = None
        self._stream.wake()

    def seek(self, at: int | None, *, drop: bool = True) -> None:
        """Go on at another time, earlier or later; ``drop``: nothing more comes of what is played now."""
        self.replayer.interrupt(drop=drop)
        for player in self._players:
            player.session.end(player.session.now, "stopped")
            for future in player.ahead:
                future.cancel()
        self.start = at
        self._begin()
        self._look()
        self.replayer.want(sorted(self._channels), self._rows)
        self._stream.wake()

    async def reach_start(self, stopped: asyncio.Event) -> None:
        """Play what is before the start: books are then as they were at the start."""
        if self.start is None:
            return
        self._goal = self.start
        try:
            while not (stopped.is_set() or self._ended or self._reached):
                played = self.produce(None)
                await asyncio.sleep(0 if played else PAUSE)
        finally:
            self._goal, self._reached = TIME_MAX, False

    async def pass_time(self, seconds: float, stopped: asyncio.Event) -> None:
        """Play so many recorded seconds; where nothing comes in them, they begin with the next message."""
        try:
            self._goal = self._after(seconds)
            while not stopped.is_set() and not self._ended:
                # Where there is no time to count from, it is that of the next message.
                played = self.produce(None, 1 if self._goal == TIME_MAX else STEPS)
                if self._reached and self.pending_rows:
                    break
                if self._reached:
                    self._goal = TIME_MAX
                elif self._goal == TIME_MAX and self.pending_rows:
                    self._goal = self._after(seconds)
                await asyncio.sleep(0 if played else PAUSE)
        finally:
            self._goal, self._reached = TIME_MAX, False

    def _after(self, seconds: float) -> int:
        """So many seconds after what was played last, or after the start; ``TIME_MAX`` if neither is known."""
        at = max((time for time in (self.now, self.start) if time is not None), default=None)
        return TIME_MAX if at is None else min(TIME_MAX, at + int(seconds * 1e9))

    @property
    def now(self) -> int | None:
        """The recorded time that is played now, ns."""
        return self.replayer.now

    # What is known.

    def session_of(self, channel: str, symbol: str) -> _core.Session:
        """The session that has a symbol in a channel now."""
        found = self.replayer.session(channel, symbol)
        return self._nothing if found is None else found

    def down(self, channel: str, symbol: str) -> str:
        """Why its connection is down; empty if it is up."""
        if self._stream.stopped.is_set():
            return "the replay is over"
        detail = self.replayer.down(channel, symbol)
        if detail is None:
            found = self.replayer.session(channel, symbol)
            killed = {player.session.id for player in self._players if player.killed}
            return KILLED if found is not None and found.id in killed else ""
        return str(json.loads(detail or "{}").get("reason", "lost"))

    def subscriptions(self) -> list[Subscription]:
        """Every subscription that the recording has now."""
        return [
            Subscription(channel, symbol, state, reason)
            for player in self._players
            if not player.over
            for channel, symbol, state, reason in player.session.subscriptions()
        ]

    def change(self, names: Collection[str], channels: Collection[str], *, selects: bool) -> list[str]:
        """Select, or leave out, symbols of channels; those of which that changed something."""
        changed: set[str] = set()
        for channel in channels:
            before = set(self.symbols[channel])
            after = before | set(names) if selects else before - set(names)
            changed |= before ^ after
            self.symbols[channel] = sorted(after)
        if changed:
            at = self.now
            self.seek(self.start if at is None else at + 1, drop=False)
        return sorted(changed)

    @property
    def connected(self) -> bool:
        """Whether no connection is down now."""
        return self.replayer.connected

    @property
    def idle_seconds(self) -> float:
        """Recorded seconds since the last message."""
        now = self.now
        received = max((player.session.last_received for player in self._players), default=0)
        return (now - received) / 1e9 if now is not None and received else float("inf")

    @property
    def system(self) -> str | None:
        """State of the exchange as it said last."""
        said = (player.session.system for player in reversed(self._players))
        return next((system for system in said if system is not None), None)

    def counts(self) -> dict[str, Any]:
        """Counters over all sessions."""
        total: dict[str, Any] = {}
        for player in self._players:
            total = add_counts(total, player.session.counts())
        return total

    def unready(self) -> str:
        """What is waited for, in words."""
        waiting = [f"{one.channel} {one.symbol} is {one.state}" for one in self.subscriptions() if one.state in UNREADY]
        more = f", and {len(waiting) - UNREADY_SHOWN:,} more" if len(waiting) > UNREADY_SHOWN else ""
        return (", ".join(waiting[:UNREADY_SHOWN]) or "nothing was subscribed") + more

    def ready(self) -> bool:
        """Whether books are in sync and every subscription delivers, of the sessions that are connected."""
        subscriptions = self.subscriptions()
        return bool(subscriptions) and all(one.state not in UNREADY for one in subscriptions)

    def check_symbol(self, channel: str, symbol: str, place: str) -> None:
        """``ConfigError``, with what is near or selected, if it does not replay the symbol in this channel."""
        if not isinstance(symbol, str):
            sentence = f"{place}: {values.shown(symbol)} is not allowed; allowed is the name of a pair, as BTC/USD"
            raise ConfigError(sentence)
        channels = [channel] if channel in self.symbols else list(self.symbols)
        selected = sorted({name for one in channels for name in self.symbols[one]})
        if symbol in selected:
            return
        more = ", …" if len(selected) > NAMES_MAX else ""
        hint = f"selected are {', '.join(selected[:NAMES_MAX])}{more}"
        if close := near(symbol, selected):
            hint = f"did you mean {' or '.join(close)}?"
        raise ConfigError(f"{place}: {values.shown(symbol)} is not selected by this replay; {hint}")

    # What the stream asks for.

    @property
    def paused(self) -> bool:
        """A replay waits for its reader, so it never has to pause."""
        return False

    @property
    def pending_rows(self) -> int:
        """Rows that wait to be taken."""
        return sum(player.session.pending_rows for player in self._players)

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        """Make the events of these channels from now on, or keep rows."""
        self._channels = [channel for channel in channels if channel != "skipped"]
        self._rows = rows
        self.replayer.want(sorted(self._channels), rows)

    def pause(self) -> None:
        """Nothing: a replay waits for its reader."""

    def resume(self, answer: SlowReaderPolicy) -> None:
        """Nothing: a replay waits for its reader."""

    def take_rows(self) -> list[dict[str, Batch]]:
        """Take the rows that wait, of each session."""
        return [player.session.drain() for player in self._players if player.session.pending_rows]

    def skip_rows(self) -> dict[str, int]:
        """Nothing: a replay waits for its reader."""
        return {}


def _next(
    windows: Iterator[_core.ReplayWindow], before: Future[_core.ReplayWindow | None] | None
) -> _core.ReplayWindow | None:
    """The window after the one that ``before`` gives."""
    if before is not None:
        before.result()
    return next(windows, None)

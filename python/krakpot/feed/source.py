"""The source of a live feed's events: its connections, the symbols on them, and the duties of the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil
from typing import Any, TypedDict, cast

from krakpot import _core, values
from krakpot._core import Batch
from krakpot.errors import ConfigError, ConnectionLost, FeedError, SubscriptionRejected
from krakpot.feed.client import FeedClient, Level3FeedClient
from krakpot.feed.options import PLACE, FeedOptions
from krakpot.net import level3
from krakpot.net.backoff import Backoff
from krakpot.net.client import ClientContext, add_counts
from krakpot.net.level3 import Level3Account, TokenSource
from krakpot.stream.events import Subscription
from krakpot.stream.stream import OVER, Listeners, Sink, SlowReaderPolicy
from krakpot.values import LEVEL3, near, unmatched

TICK = 0.1
"""Seconds between two looks at what is due."""
NAMES_MAX = 20
"""Symbols that a sentence names."""
STATES = ("subscribed", "rejected", "in_sync", "waiting")
"""Numbers of the session's counts that say how things are now, and not how much there was."""
UNREADY_SHOWN = 5
"""Subscriptions that an error names."""
UNREADY = ("pending", "requested", "acked", "resyncing", "unsubscribing")
"""States of subscriptions that do not deliver yet and will, or will again."""


class FeedCounts(TypedDict):
    """Counters of a feed, over all its connections and sessions."""

    frames: int
    """WebSocket messages received."""
    messages: dict[str, int]
    """Messages by channel."""
    rows: dict[str, int]
    """Rows by table."""
    checksums: dict[str, dict[str, int]]
    """By channel (book, level3): how many were ``ok`` and ``bad``."""
    unchecked: int
    """Book messages without a book in sync, or without a checksum."""
    errors: int
    """Messages, or items of them, that could not be read."""
    gaps: int
    unknown_entries: int
    """Changes and removals of levels and orders that the book did not hold."""
    replaced: int
    """Orders that were added although the book held them."""
    unknown_fields: int
    """Fields that no column keeps."""
    pairs: int
    """Pairs that the exchange has described."""
    selected: int
    subscribed: int
    """Subscriptions that deliver now."""
    rejected: int
    in_sync: int
    """Books in sync now."""
    waiting: int
    """Subscriptions that wait for an acknowledgement or a snapshot now."""
    waits: int
    """How often a socket waited for the strategy."""
    waited_seconds: float
    """How long, in sum."""
    skipped: dict[str, int]
    """Events by channel, or rows by table, that the strategy did not see."""


class Owner:
    """Whoever has the session of one symbol in one channel at the moment."""

    __slots__ = ("_channel", "_source", "_symbol")

    def __init__(self, source: FeedSource, channel: str, symbol: str) -> None:
        """For a handle to the symbol's book."""
        self._source = source
        self._channel = channel
        self._symbol = symbol

    @property
    def session(self) -> _core.Session:
        """The session of its connection."""
        return self._source.client_of(self._channel, self._symbol).session

    @property
    def down(self) -> str:
        """Why its connection is down; empty if it is up."""
        return self._source.client_of(self._channel, self._symbol).down


class FeedSource:
    """The connections of one feed: a public one, and one of level 3 for each 200 symbols."""

    def __init__(self, options: FeedOptions) -> None:
        """``open`` connects."""
        self.selection = options.selection()
        self.public: FeedClient | None = None
        """The public connection, which also knows the pairs; None before ``open``."""
        self.level3: list[Level3FeedClient] = []
        self._options = options
        self._stream: Sink
        self._context: ClientContext
        self.tokens: TokenSource | None = None
        """Who requests tokens in place of the feed, because it uses the same key."""
        self._account: Level3Account | None = None
        self._channels: Collection[str] = ()
        self._rows = False
        self._subscribing = False
        """Whether anything may be subscribed yet."""
        self._seen: tuple[_core.Session, int] | None = None
        """The public session whose pairs were last looked at, and its count of instrument messages."""
        self._backoff = Backoff()
        self._homes: dict[str, Level3FeedClient] = {}
        """The connection of each level-3 symbol."""
        self._runs: list[asyncio.Task[None]] = []
        """The connections' work, which ends by itself when the stream was stopped."""

    # Begin and end.

    async def open(self, stream: Sink, context: ClientContext, backoff: Backoff) -> None:
        """Connect, and wait until the pairs are known.

        ``ConfigError`` if a pattern matches no pair or the API key is rejected; ``ConnectionLost`` if there is no
        connection in time; ``FeedError`` if the exchange does not describe its pairs in time.
        """
        options = self._options
        self._stream, self._context, self._backoff = stream, context, backoff
        if LEVEL3 in self.selection.channels:
            self._account = Level3Account(options.config, context.tls)
            self._account.tokens = self.tokens or self._account.tokens
            if (error := await self._account.check()) is not None:
                context.log(str(error))
        self.public = FeedClient(context, options.config.url, backoff, stream, self.selection)
        self.public.choose(self._channels, rows=self._rows)
        self._runs = [context.run_task(self.public.run())]
        context.run_task(self._duties())
        try:
            async with asyncio.timeout(options.connect_timeout):
                await self.until(lambda: context.checked)
        except TimeoutError:
            raise self._lost(self.public) from None

    def subscribe(self) -> None:
        """Allow subscriptions. Before, there are none, so a strategy that reads from here on misses nothing."""
        self._subscribing = True

    def stop(self) -> None:
        """End the sessions, so that no book is in sync any more: a strategy must not read old prices."""
        for client in self.clients:
            client.close()

    async def closed(self) -> None:
        """Wait until all connections are closed, which they are when the stream was stopped.

        Then no book is in sync: a handle that is kept must not show old prices for ever.
        """
        await asyncio.gather(*self._runs, return_exceptions=True)
        for client in self.clients:
            client.close()

    def _lost(self, public: FeedClient) -> Exception:
        if not public.connected:
            # The one that is under way is an attempt as well.
            return ConnectionLost(public.attempts or 1, public.last_error or f"{public.url}: no answer yet")
        seconds = self._options.connect_timeout
        return FeedError(f"{public.url}: connected, but the exchange did not describe its pairs within {seconds:.0f} s")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; raises the error of a feed that failed, or ``FeedError`` once it is stopped."""
        while not condition():
            if self._stream.error is not None:
                raise self._stream.error
            if self._stream.stopped.is_set():
                raise FeedError(OVER)
            # What happens in Rust wakes nobody.
            await asyncio.sleep(TICK / 10)

    # Duties of the clock.

    async def _duties(self) -> None:
        public = self.public
        assert public is not None, "opened"
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            if not self._context.checked:
                self._check_symbols()
            if not self._context.checked or self._subscribing:
                self._tick(now)
            if now - looked >= 1:
                looked = now
                self._check(now)
            await asyncio.sleep(TICK)

    def _tick(self, now: float) -> None:
        self._follow_pairs()
        for client in self.clients:
            client.tick(now)
            # Rows and states that no frame brought.
            client.take([], time.time_ns())

    def _check(self, now: float) -> None:
        """What is due every second."""
        for client in self.clients:
            client.check(now)
            client.take_counts()
        for client in self.level3:
            if client.connection is not None and not client.paused and self.public is not None:
                client.session.cross_check(self.public.session, time.time_ns())

    def _check_symbols(self) -> None:
        """Once the pairs are known: every pattern must match one."""
        self._follow_pairs()
        names = self.selection.names
        if not names:
            return
        pattern = self.selection.unmatched(names)
        if pattern is not None:
            raise ConfigError(unmatched(pattern, names, f"{PLACE}: symbols"))
        for channel in self.selection.channels:
            if not self.selection.symbols(names, [channel]):
                sentence = f"{PLACE}: exclude leaves none of the {len(names)} pairs for {channel}"
                raise ConfigError(sentence)
        self._context.checked = True

    # Symbols.

    @property
    def clients(self) -> list[FeedClient]:
        """All connections."""
        return [*([] if self.public is None else [self.public]), *self.level3]

    @property
    def selected(self) -> list[str]:
        """Symbols of listed pairs that some channel has."""
        return self.selection.symbols(self.selection.names)

    def check_symbol(self, channel: str, symbol: str, place: str) -> None:
        """``ConfigError``, with what is near or selected, if the feed does not have the symbol in this channel."""
        if not isinstance(symbol, str):
            sentence = f"{place}: {values.shown(symbol)} is not allowed; allowed is the name of a pair, as BTC/USD"
            raise ConfigError(sentence)
        channels = [channel] if channel in self.selection.channels else self.selection.channels
        names = self.selection.names
        if not names:
            # The pairs are not known yet: `start` looks again.
            if self.selection.symbols([symbol], channels):
                return
            known = f"its patterns are {', '.join(self._options.config.symbols)}"
            raise ConfigError(f"{place}: {values.shown(symbol)} is not selected by this feed; {known}")
        selected = self.selection.symbols(names, channels)
        if symbol in selected:
            return
        more = ", …" if len(selected) > NAMES_MAX else ""
        hint = f"selected are {', '.join(selected[:NAMES_MAX])}{more}"
        if symbol not in names and (close := near(symbol, selected)):
            hint = f"did you mean {' or '.join(close)}?"
        raise ConfigError(f"{place}: {values.shown(symbol)} is not selected by this feed; {hint}")

    def change(self, patterns: Sequence[str], channels: Collection[str], place: str, *, selects: bool) -> list[str]:
        """Select, or leave out, what ``patterns`` match; the symbols of which that changed a channel.

        ``ConfigError``, which ``place`` begins, if a pattern matches no pair; then nothing has changed.
        """
        names = self.selection.names
        for pattern in patterns:
            if not any(_core.matches(pattern, name) for name in names):
                raise ConfigError(unmatched(pattern, names, f"{place}: symbols"))
        before = {channel: set(self.selection.symbols(names, [channel])) for channel in channels}
        self.selection.change(patterns, channels, selects=selects)
        self._apply()
        after = {channel: set(self.selection.symbols(names, [channel])) for channel in channels}
        changed = set().union(*(before[channel] ^ after[channel] for channel in channels))
        return [name for name in names if name in changed]

    def _follow_pairs(self) -> None:
        """See whether pairs were listed or delisted."""
        if self.public is None:
            return
        session = self.public.session
        seen = (session, session.instrument_messages)
        if seen != self._seen and (pairs := session.pairs()):
            self._seen = seen
            self.selection.names = [pair["symbol"] for pair in pairs if pair["status"] != "delisted"]
            self._apply()

    def _apply(self) -> None:
        """Let every connection have the symbols that are selected now."""
        assert self.public is not None, "only an opened source knows pairs"
        self.public.select()
        if self._account is not None:
            self._deal(self._account, self.public.session)

    def _deal(self, account: Level3Account, source: _core.Session) -> None:
        """Give every selected level-3 symbol to a connection with room."""
        chosen = self.selection.symbols(self.selection.names, [LEVEL3])
        still = set(chosen)
        for client in self.level3:
            client.symbols = [symbol for symbol in client.symbols if symbol in still]
        dealt = {symbol for client in self.level3 for symbol in client.symbols}
        new = [symbol for symbol in chosen if symbol not in dealt]
        room = sum(level3.SYMBOLS_MAX - len(client.symbols) for client in self.level3)
        for _ in range(ceil((len(new) - room) / level3.SYMBOLS_MAX)):
            self.level3.append(self._level3_client(account))
        for symbol in new:
            min(self.level3, key=lambda client: len(client.symbols)).symbols.append(symbol)
        for client in self.level3:
            client.import_pairs(source)
        # A symbol that was removed keeps its home: there it is unsubscribed.
        self._homes |= {symbol: client for client in self.level3 for symbol in client.symbols}

    def _level3_client(self, account: Level3Account) -> Level3FeedClient:
        """Open one more level-3 connection."""
        # Its failures are its own; all connections count their attempts in one list.
        budget = min(level3.ATTEMPTS, self._backoff.budget)
        backoff = replace(self._backoff, budget=budget, failures=0)
        client = Level3FeedClient(
            self._context, self._options.config.level3_url, backoff, self._stream, self.selection, account
        )
        client.choose(self._channels, rows=self._rows)
        self._runs.append(self._context.run_task(client.run()))
        return client

    def client_of(self, channel: str, symbol: str) -> FeedClient:
        """The connection that has a symbol in a channel."""
        assert self.public is not None, "only a started feed gives handles"
        return self._homes.get(symbol, self.public) if channel == LEVEL3 else self.public

    # What is known of the whole.

    def subscriptions(self) -> list[Subscription]:
        """Every subscription of all connections; none after the end."""
        if self._stream.stopped.is_set():
            return []
        return [
            Subscription(channel, symbol, state, reason)
            for client in self.clients
            for channel, symbol, state, reason in client.session.subscriptions()
        ]

    def ready(self) -> bool:
        """Whether all connections are up and every subscription delivers, or never will.

        ``SubscriptionRejected`` if one never will that was selected by name, not by a pattern.
        """
        return self.public is not None and all(self._ready(client) for client in self.clients)

    def _ready(self, client: FeedClient) -> bool:
        if client.connection is None or not client.session.counts()["pairs"]:
            # A new session knows no pairs yet, and thus has no subscription that could be waited for.
            return False
        subscriptions = client.session.subscriptions()
        for channel, symbol, state, reason in subscriptions:
            if state == "rejected" and (symbol, True) in self.selection.rules(channel):
                # The ledger has the exchange's own words.
                client.report_ledger()
                raise SubscriptionRejected(channel, symbol, self._context.refused.get(f"{channel} {symbol}", reason))
        return all(state not in UNREADY for _, _, state, _ in subscriptions)

    def unready(self) -> str:
        """What is waited for, in words: the first subscriptions that do not deliver, or the connection."""
        waiting = []
        for client in self.clients:
            if client.connection is None:
                waiting.append(f"no connection to {client.url} ({client.last_error or 'no answer yet'})")
            elif not client.session.counts()["pairs"]:
                waiting.append(f"{client.url} has not described its pairs")
            else:
                subscriptions = client.session.subscriptions()
                waiting += [
                    f"{name} {symbol} is {state}" for name, symbol, state, _ in subscriptions if state in UNREADY
                ]
        more = f", and {len(waiting) - UNREADY_SHOWN:,} more" if len(waiting) > UNREADY_SHOWN else ""
        return ", ".join(waiting[:UNREADY_SHOWN]) + more

    def counts(self) -> FeedCounts:
        """Counters over all connections and sessions."""
        total: dict[str, Any] = {}
        for client in self.clients:
            client.take_counts()
            before, total = total, add_counts(total, client.counts)
            total |= {key: before.get(key, 0) + client.counts[key] for key in STATES}
        if self._stream.stopped.is_set():
            total |= dict.fromkeys(("subscribed", "in_sync", "waiting"), 0)
        total["pairs"] = self.clients[0].counts["pairs"]
        total["waits"] = sum(client.waits for client in self.clients)
        total["waited_seconds"] = sum(client.waited for client in self.clients) / 1e9
        total["skipped"] = dict(self._stream.skipped)
        return cast("FeedCounts", total)

    # What the stream asks for.

    @property
    def paused(self) -> bool:
        """Whether the sockets are not read for now."""
        return any(client.paused for client in self.clients)

    @property
    def pending_rows(self) -> int:
        """Rows that wait to be taken."""
        return sum(client.pending_rows for client in self.clients)

    def choose(self, channels: Collection[str], *, rows: bool) -> None:
        """Make the events of these channels from now on, or keep rows."""
        self._channels, self._rows = channels, rows
        for client in self.clients:
            client.choose(channels, rows=rows)

    def pause(self) -> None:
        """Read no socket for now."""
        for client in self.clients:
            client.pause()

    def resume(self, answer: SlowReaderPolicy) -> None:
        """Read the sockets again."""
        for client in self.clients:
            if client.paused:
                client.resume("strategy", answer)

    def produce(self, listeners: Listeners | None, steps: int = 0) -> bool:  # noqa: ARG002  # a live feed delivers by itself
        """Deliver nothing: what the sockets bring is delivered as it comes."""
        return False

    async def pass_time(self, seconds: float, stopped: asyncio.Event) -> None:  # it is the clock's
        """Sleep; the end of the stream ends it early."""
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), seconds)

    def take_rows(self) -> list[dict[str, Batch]]:
        """Take the rows that wait, of each session."""
        return [rows for client in self.clients for rows in client.take_rows()]

    def skip_rows(self) -> dict[str, int]:
        """Drop the rows that wait; the ledger says how many."""
        skipped: dict[str, int] = {}
        for client in self.clients:
            for table, count in client.skip_rows().items():
                skipped[table] = skipped.get(table, 0) + count
        return skipped

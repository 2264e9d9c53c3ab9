"""An independent audit of live books: REST's ``Depth`` against the states that a live book had around that moment.

A checksum covers the best ten levels of a book and comes by the same connection as the book. ``Depth`` comes another
way and has up to 500 levels. The two are never of exactly one moment, so every state that the live book had from some
time before the request to some time after the answer is kept: one of them must be what REST answered.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import FeedError
from krakpot.log import LogLine
from krakpot.net.market import PACE, Pair, Rest
from krakpot.record.client import RecordingClient

SLACK = 2.0
"""Seconds before a request and after its answer whose states count: either of REST and the feed may be behind."""
TRIES = 2
"""Audits of a book, one after the other, that must differ before it is said: one may meet a message that is late."""
LEVELS = 500
"""Levels of a side that REST gives."""
STATES_MAX = 5000
"""States that are kept of one book, some hundred MB at depth 1000; a busy book has some hundreds."""
AT_ONCE = 8
"""Books that are audited at the same time."""
FIRST = 10.0
"""Seconds after the start of a recording before the first audit; until then books begin."""

Outcome = Literal["equal", "differs", "unknown"]
"""``unknown``: the live book was out of sync in the meantime, or REST did not answer."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Level = tuple[Decimal, Decimal]
Sides = tuple[list[Level], list[Level]]


@dataclass
class Watch:
    """The states that a live book has while somebody watches; ``RecordingClient`` reports its frames."""

    symbol: str
    session: _core.Session
    states: list[tuple[int, _core.Book]] = field(default_factory=list)
    """Time from which on the book was so, ns; and a copy of it."""
    broken: bool = False
    """Whether it was out of sync at any time, or had too many states."""

    def __post_init__(self) -> None:
        """Take the state at the beginning."""
        self._name = self.symbol.encode()
        self.look(time.time_ns())

    def concerns(self, frame: bytes) -> bool:
        """Whether a frame may have changed the book."""
        return self._name in frame and b'"book"' in frame

    def look(self, now: int) -> None:
        """Take the state as it is now."""
        book = self.session.book(self.symbol)
        if book is None or len(self.states) >= STATES_MAX:
            self.broken = True
        else:
            self.states.append((now, book))


@contextmanager
def watched(client: RecordingClient, symbol: str) -> Iterator[Watch]:
    """Watch a book of a client while the body runs."""
    watch = Watch(symbol, client.session)
    client.watches.append(watch)
    try:
        yield watch
    finally:
        client.watches.remove(watch)
        # A connection that was cut meanwhile has another session.
        watch.broken |= client.session is not watch.session


def numbers(levels: list[Any], most: int) -> list[Level]:
    """Levels of REST or of a book as numbers; ``ValueError`` if they are none."""
    try:
        return [(Decimal(price), Decimal(qty)) for price, qty, *_ in levels[:most]]
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(str(error)) from None


def same(sides: Sides, states: list[tuple[int, _core.Book]], most: int) -> bool:
    """Whether any state is what REST answered, in the best ``most`` levels of each side."""
    tops = tuple(side[:1] for side in sides)
    for _, book in states:
        # Most states differ in a best level: then the others need not be read.
        if tops == (numbers(book.bids(1), 1), numbers(book.asks(1), 1)) and sides == _sides(book, most):
            return True
    return False


def _sides(book: _core.Book, most: int) -> Sides:
    return numbers(book.bids(most), most), numbers(book.asks(most), most)


def difference(sides: Sides, states: list[tuple[int, _core.Book]], most: int) -> dict[str, Any]:
    """The first level that differs between REST and the state that is nearest to it, as facts for the ledger."""
    best: tuple[int, dict[str, Any]] = (-1, {})
    for _, book in states:
        equal = 0
        first: dict[str, Any] = {}
        for name, rest, live in zip(("bid", "ask"), sides, _sides(book, most), strict=True):
            for level in range(max(len(rest), len(live))):
                ours, theirs = (list(side[level : level + 1]) for side in (live, rest))
                equal += ours == theirs
                if ours != theirs and not first:
                    texts = ([f"{n:f}" for n in side[0]] if side else None for side in (theirs, ours))
                    first = {"side": name, "level": level, **dict(zip(("rest", "live"), texts, strict=True))}
        if first and equal > best[0]:
            best = equal, first
    return best[1]


class Auditor:
    """Audits the books of a recording, one after the other, again and again."""

    def __init__(
        self, config: Config, clients: Callable[[], list[RecordingClient]], log: Callable[[str], None], rest: Rest
    ) -> None:
        """``clients`` returns the connections of the recording, ``log`` takes log lines."""
        assert config.audit is not None, "wanted"
        self.every = config.audit
        self.most = min(config.depth, LEVELS)
        self.slack = SLACK
        self.counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        """Audits so far, by outcome."""
        self._clients = clients
        self._log = log
        self._rest = rest

    async def run(self) -> None:
        """Run until cancelled."""
        await asyncio.sleep(min(FIRST, self.every))
        pairs: dict[str, Pair] = {}
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                begun = time.monotonic()
                books = self._books()
                if not books.keys() <= pairs.keys():
                    pairs = await self._pairs(pairs)
                for symbol in [symbol for symbol in books if symbol in pairs]:
                    while len(running) >= AT_ONCE:
                        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    running.add(asyncio.create_task(self._audit(pairs[symbol])))
                    await asyncio.sleep(max(PACE, self.every / max(1, len(books))))
                await asyncio.sleep(max(1.0, begun + self.every - time.monotonic()))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _books(self) -> dict[str, RecordingClient]:
        """Books in sync, and the connection of each."""
        found: dict[str, RecordingClient] = {}
        for client in self._clients():
            for channel, symbol, _, _ in client.session.subscriptions():
                if channel == "book" and client.session.in_sync(symbol):
                    found.setdefault(symbol, client)
        return found

    async def _pairs(self, known: dict[str, Pair]) -> dict[str, Pair]:
        try:
            return await self._rest.pairs()
        except FeedError as error:
            self._log(LogLine(f"no audit of books: {error}", "audit", "warning", error=str(error)))
            return known

    async def _audit(self, pair: Pair) -> None:
        """Audit one book; that it differs is said if it does again."""
        for attempt in range(1, TRIES + 1):
            client = self._books().get(pair.symbol)
            outcome: Outcome = "unknown"
            if client is not None:
                try:
                    outcome = await self._compare(pair, client, last=attempt == TRIES)
                except (FeedError, ValueError) as error:
                    sentence = f"{pair.symbol} was not audited: {error}"
                    self._log(LogLine(sentence, "audit", "warning", symbol=pair.symbol, error=str(error)))
            if outcome != "differs":
                break
        self.counts[outcome] += 1

    async def _compare(self, pair: Pair, client: RecordingClient, *, last: bool) -> Outcome:
        """Ask REST once, and compare its answer with the states that the live book had around that time."""
        with watched(client, pair.symbol) as watch:
            await asyncio.sleep(self.slack)
            begun = time.monotonic_ns()
            bids, asks = await self._rest.depth(pair, self.most)
            took = time.monotonic_ns() - begun
            await asyncio.sleep(self.slack)
        if watch.broken:
            return "unknown"
        sides = numbers(bids, self.most), numbers(asks, self.most)
        equal = await asyncio.to_thread(same, sides, watch.states, self.most)
        if not equal and not last:
            return "differs"
        facts: dict[str, Any] = {"rest_ns": took}
        if not equal:
            facts = await asyncio.to_thread(difference, sides, watch.states, self.most)
        watch.session.add_ledger_row(
            "audit" if equal else "audit_failed",
            now := time.time_ns(),
            channel="book",
            symbol=pair.symbol,
            ts_from=watch.states[0][0],
            ts_to=now,
            count=len(sides[0]) + len(sides[1]),
            detail=json.dumps(facts, separators=(",", ":")),
        )
        if equal:
            return "equal"
        sentence = (
            f"AUDIT FAILED: the live book of {pair.symbol} differs from REST at {facts.get('side')} level "
            f"{facts.get('level')}: REST has {facts.get('rest')}, the live book {facts.get('live')}"
        )
        self._log(LogLine(sentence, "audit_failed", "error", symbol=pair.symbol, detail=json.dumps(facts)))
        return "differs"

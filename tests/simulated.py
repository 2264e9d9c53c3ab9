"""Sessions of the core on the built-in exchange, in simulated time, with faults.

No sockets, no clock, one thread: the seed decides what happens. The sessions, ``Backoff``, ``Pacer`` and ``FaultyPipe``
are the real ones; this module has the parts of the recorder that connect them. ``World`` checks at every step:

- a book in sync equals the exchange's at the levels of its last message, and at all levels if no fault touched it;
- the ledger says when each book is in sync and why not; only symbols that a fault touched have trouble;
- the rows of trades, and the ledger's rows about trade ids, are exactly those that follow from the frames;
- each trade is a row, or missing by the ledger;
- requests, connects and costs of level 3 keep to their limits, and no symbol is requested again and again;
- after the last fault everything recovers, and no book in sync is frozen.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from frames import SECOND, START
from krakpot import _core
from krakpot.exchange.faults import FaultyPipe
from krakpot.net.backoff import Backoff, Pacer
from krakpot.net.connection import DEAD_AFTER, FRAME_MAX, PING_AFTER

STEP = 20_000_000
"""Between two looks at the exchange, ns; as the real one, requests go out every fifth of them."""
TICK = 5
TOKEN = "a token"  # noqa: S105  # the simulated exchange's
SETTLE = 1300
"""Seconds until everything must work again: two of the longest pauses, and the time before them."""
AGAIN = 40
"""Requests that may name a symbol and channel in ten minutes of a session: pauses double from one second to five
minutes, and each attempt is an unsubscribe and a subscribe.
"""
HEAD = re.compile(rb'\{"channel":"(book|level3)","type":"(snapshot|update)".*?"symbol":"([^"]+)"', re.DOTALL)
SUM = re.compile(rb'"checksum":(\d+)')
ENDS = {"mismatch", "crossed", "unsubscribed", "gap", "gone", "decode_error", "limit", "delisted"}
"""Rows of the ledger that end a book, with its symbol."""
TROUBLE = {"mismatch", "crossed", "resync", "doubt", "gone", "gap"}
"""Those of them that need a fault of the same symbol."""

TRADES_KEPT = 200
"""Trades of a symbol that the model remembers: the 50 of a snapshot, and those that may come while one is late."""
NUMBER_END = Decimal(10) ** 28
"""Numbers from here on do not fit into the tables: 38 digits, 10 of them behind the point."""

Levels = list[tuple[str, str]]


def checksum(sides: tuple[Levels, Levels]) -> int:
    """Kraken's, by zlib, from levels as text."""
    bids, asks = sides
    text = "".join(number.replace(".", "").lstrip("0") for level in (*asks[:10], *bids[:10]) for number in level)
    return zlib.crc32(text.encode())


WELL = ("active", "idle")
"""States of a subscription that delivers."""


@dataclass
class Numbers:
    """The trade ids of a symbol, over all sessions: what must happen to a trade, derived from the frames alone."""

    era: int = 0
    """How often the numbering started again."""
    last: int = 0
    """The greatest id."""
    time: str = ""
    """Its time, as text."""
    first: int = 0
    """The least id that was a row."""
    rows: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    """Trades that are rows, by id."""

    def take(self, kind: str, number: int, what: tuple[Any, ...]) -> tuple[bool, tuple[str, int, int] | None]:
        """Whether this trade must be a row, and the ledger row that it needs: a kind, and two ids."""
        time, told = what[0], None
        if not self.rows:
            self.last, self.time, self.first = number, time, number
        elif number > self.last:
            if kind == "snapshot" and self.era and time < self.time:
                # From before the numbering started again.
                return False, None
            if number > self.last + 1:
                told = ("trade_gap", self.last + 1, number - 1)
            self.last, self.time = number, time
        elif (known := self.rows.get(number)) == what:
            # What an update repeats is a row again, as it was sent.
            return kind == "update", None
        elif known is not None or time > self.time:
            told = ("trade_restart", self.last, number)
            self.era += 1
            self.rows.clear()
            self.last, self.time, self.first = number, time, number
        elif kind == "snapshot" and number < self.first:
            return False, None
        self.first = min(self.first, number)
        self.rows[number] = what
        if len(self.rows) > TRADES_KEPT:
            del self.rows[min(self.rows)]
        return True, told


@dataclass(eq=False)
class Link:
    """One connection of a recorder, and its sessions one after another."""

    world: World
    endpoint: str
    options: dict[str, Any]
    backoff: Backoff
    number: int | None = None
    """Number of the connection at the exchange, while connected."""
    connect_at: int = START
    sessions: int = 0
    frames: int = 0
    """Taken by all sessions."""
    opened: int = 0
    touched: dict[tuple[str | None, str], int] = field(default_factory=dict)
    """Channel and symbol that a fault harmed since the last snapshot, and until when it may go on harming."""
    illegible: int = 0
    """Until when a frame that cannot be read may come: it throws doubt on any book."""
    unnamed: deque[int] = field(default_factory=lambda: deque(maxlen=100))
    """When a message of books came whose symbol cannot be read: it throws doubt on any book."""
    doubted: set[tuple[str, str]] = field(default_factory=set)
    """Books on which such a message threw doubt, until their next snapshot."""
    trades_due: deque[tuple[str, int, int, tuple[Any, ...]]] = field(default_factory=deque)
    """Trades that must be the next rows: symbol, era, id, and what they are."""
    trades_told: deque[tuple[str, int, tuple[str, int, int]]] = field(default_factory=deque)
    """What the ledger must say next of trades: symbol, era, and what."""
    loose: int = 0
    """Until when any symbol may have trouble: answers were harmed."""
    told_live: set[tuple[str, str]] = field(default_factory=set)
    """Books that live, by the ledger."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Refused by a fault, in this session."""
    last_sum: dict[tuple[str, str], int] = field(default_factory=dict)
    attempts: deque[int] = field(default_factory=deque)
    asked: dict[tuple[str, str], deque[int]] = field(default_factory=lambda: defaultdict(deque))

    def __post_init__(self) -> None:
        """Begin the first session."""
        self.session: _core.Session = self._session(None)
        self._fresh()

    def _session(self, before: _core.Session | None) -> _core.Session:
        now = self.world.now
        session = _core.Session(f"{self.endpoint}-{self.sessions}", after=before, **self.options)
        self.sessions += 1
        session.add_ledger_row("connect", now)
        return session

    def _fresh(self) -> None:
        self.pacer = Pacer()
        self.pipe = FaultyPipe()
        self.deaf = 0
        self.part = b""
        self.unread: list[bytes] = []
        self.sent: deque[int] = deque()
        """When requests of the last ten seconds were sent."""
        self.count = 0
        """Number of frames of this connection."""
        self.damaged: dict[int, tuple[str, str]] = {}
        """Its frames that are not what they were, by number, with channel and symbol."""
        self.last_data = self.world.now
        self.pinged = False

    def connect(self) -> None:
        """Try to connect, if it is time."""
        now = self.world.now
        if self.number is not None or now < self.connect_at:
            return
        self.attempts.append(now)
        while self.attempts[0] <= now - 600 * SECOND:
            self.attempts.popleft()
        assert len(self.attempts) <= 120, self.world.where("more than 120 attempts to connect within ten minutes")
        refusal = self.world.exchange.admit(self.endpoint, self.endpoint)
        if refusal is not None:
            assert refusal != (429, None), self.world.where("the budget of the address was overdrawn")
            self.session.add_ledger_row("refused", now, channel="connection")
            self._again()
            return
        self.number = self.world.exchange.connect(self.endpoint)
        self.opened = now
        self._fresh()

    def _again(self, *, too_big: bool = False) -> None:
        maintenance = self.session.system in {"maintenance", "cancel_only"}
        wait = self.backoff.delay(self.world.now / SECOND, maintenance=maintenance, too_big=too_big)
        self.connect_at = self.world.now + round(wait * SECOND)

    def down(self, reason: str, *, too_big: bool = False) -> None:
        """Handle the end of the connection."""
        now = self.world.now
        assert self.number is not None
        self.world.exchange.disconnect(self.number)
        self.number = None
        self.backoff.opened(self.opened / SECOND, now / SECOND)
        self._again(too_big=too_big)
        if too_big:
            self.session.add_ledger_row("limit", now, count=1)
        self.session.end(now, reason)
        self.events()
        self.world.take(self)
        assert not self.session.requests(now), "a session that ended asks for nothing"
        for waiting in (self.touched, self.last_sum, self.doubted, self.told_live, self.refused, self.asked):
            waiting.clear()
        self.session = self._session(self.session)
        self.world.seen[f"down: {reason}"] += 1

    def receive(self) -> None:
        """Take the frames that came since the last step."""
        world = self.world
        if self.number is None:
            return
        data = world.exchange.take(self.number)
        if self.pipe.busy:
            self.pipe.push(data)
            data = self.pipe.pull(world.now)
        if not data:
            return
        self.last_data, self.pinged = world.now, False
        frames = self._split(data)
        if any(len(frame) > FRAME_MAX for frame in frames):
            self.down("too big", too_big=True)
            return
        self.session.receive(frames, world.now)
        self.frames += len(frames)
        for frame in frames:
            damaged = self.damaged.pop(self.count, None)
            self.count += 1
            if frame.startswith(b'{"channel":"trade"'):
                self._trades(frame)
            if damaged is not None:
                if damaged[0] in {"book", "level3"} and self._unnamed(frame):
                    self.unnamed.append(world.now)
                # Even if a part of it can be read: its content may be lost.
                self.last_sum.pop(damaged, None)
            elif (head := HEAD.match(frame)) and (found := SUM.search(frame)):
                key = (head[1].decode(), head[3].decode())
                self.last_sum[key] = int(found[1])
                if head[2] == b"snapshot" and self.touched.get(key, world.now) < world.now:
                    del self.touched[key]
                world.arrived[self, *key] = None

    def _trades(self, frame: bytes) -> None:
        """Note what must happen to the trades of a frame."""
        world = self.world
        try:
            read = json.loads(frame, parse_float=Decimal)
        except ValueError:
            return
        for trade in read["data"]:
            symbol, number, time = trade.get("symbol"), trade.get("trade_id"), trade.get("timestamp")
            numbers = [trade.get("price"), trade.get("qty")]
            if symbol not in world.listed or any(value is None or value >= NUMBER_END for value in numbers):
                continue
            if time is None or not time.startswith("20") or number is None or number >= 2**63:
                continue
            of = world.numbers[symbol]
            what = (time, trade["side"], *map(Decimal, numbers))
            row, told = of.take(read["type"], number, what)
            if told:
                self.trades_told.append((symbol, of.era, told))
                world.seen[f"trades: {told[0]}"] += 1
            if row:
                self.trades_due.append((symbol, of.era, number, what))

    def _unnamed(self, frame: bytes) -> bool:
        """Whether a frame is a message that does not say which symbol it is of."""
        try:
            read = json.loads(frame)
        except ValueError:
            return False
        return any(one.get("symbol") not in self.world.listed for one in read.get("data", ()))

    def _split(self, data: bytes) -> list[bytes]:
        data = self.part + data
        frames, at = [], 0
        while at + 2 <= len(data):
            length, head = data[at + 1], 2
            if length >= 126:
                head = 4 if length == 126 else 10
                length = int.from_bytes(data[at + 2 : at + head], "big")
            if at + head + length > len(data) or at + head > len(data):
                break
            frames.append(data[at + head : at + head + length])
            at += head + length
        self.part = data[at:]
        return frames

    def duties(self) -> None:
        """What the recorder does ten times a second."""
        world, now = self.world, self.world.now
        self.session.tick(now)
        self.events()
        if self.number is None:
            return
        if self.endpoint == "level3":
            self.session.import_pairs(world.public.session, world.symbols, now)
            self.session.cross_check(world.public.session, now)
            if self.session.token_needed:
                self.session.set_token(TOKEN)
        self.pacer.add(self.session.requests(now, world.budget))
        assert len(self.pacer.waiting) < 100, world.where("requests pile up")
        for request in self.pacer.due(now / SECOND):
            self._send(request)
        silence = (now - self.last_data) / SECOND
        if silence > DEAD_AFTER:
            self.down("no data")
        elif silence > PING_AFTER and not self.pinged:
            self.pinged = True
            self._send(self.session.ping())
        if self.deaf and now >= self.deaf:
            self.deaf = 0
            for request in self.unread:
                world.exchange.receive(self.number or 0, request)
            self.unread.clear()

    def _send(self, request: bytes) -> None:
        world = self.world
        read = json.loads(request)
        self.sent.append(world.now)
        while self.sent[0] <= world.now - 10 * SECOND:
            self.sent.popleft()
        assert len(self.sent) <= 10 + 10 * 10 + 1, world.where("more requests than a burst, ten a second and a ping")
        world.seen[f"request: {read['method']}"] += 1
        if read["method"] == "subscribe" and read["params"]["channel"] == "level3":
            world.spend(len(read["params"]["symbol"]))
        for symbol in read.get("params", {}).get("symbol", ()):
            times = self.asked[read["params"]["channel"], symbol]
            times.append(world.now)
            while times[0] <= world.now - 600 * SECOND:
                times.popleft()
            assert len(times) <= AGAIN, world.where(f"{symbol} asked for {len(times)} times in ten minutes")
        if self.pipe.silent or self.number is None:
            return
        if self.deaf:
            self.unread.append(request)
        else:
            world.exchange.receive(self.number, request)

    def events(self) -> None:
        """Read the new rows of the ledger."""
        world = self.world
        for event in self.session.take_ledger():
            kind, channel, symbol = event["kind"], event["channel"], event["symbol"]
            world.seen[f"ledger: {kind}"] += 1
            key = (channel, symbol)
            if kind == "gap":
                assert json.loads(event["detail"] or "{}").get("reason"), world.where(
                    f"a gap without a reason: {event}"
                )
            if kind == "snapshot":
                self.told_live.add(key)
                self.doubted.discard(key)
            elif kind == "disconnect":
                self.told_live.clear()
            elif kind in ENDS and symbol:
                channels = (channel,) if channel else ("book", "level3")
                self.told_live -= {(one, symbol) for one in channels}
            if kind in {"trade_gap", "trade_restart"}:
                facts = json.loads(event["detail"])
                ids = ("first", "last") if kind == "trade_gap" else ("last", "first")
                told = (kind, *(facts[one] for one in ids))
                due, era, what = self.trades_told.popleft() if self.trades_told else (None, 0, None)
                assert (symbol, told) == (due, what), world.where(f"{symbol}: {told} where {due}: {what} was due")
                if kind == "trade_gap":
                    world.missing[symbol, era].append((facts["first"], facts["last"]))
            if kind == "refused" and channel != "connection" and self.loose < world.now:
                error = json.loads(event["detail"])["error"]
                words = {"Exceeded msg rate", "EGeneral:Rate limit exceeded", "EGeneral:Subscription limit exceeded"}
                assert error not in words or key in self.touched, world.where(f"{symbol}: {error} without a fault")
            if "a frame that could not be read" in (event["detail"] or "") and kind in {"doubt", "resync", "gap"}:
                world.seen[f"unread: {kind}"] += 1
                assert key in self.touched or max(self.illegible, self.loose) >= world.now, world.where(f"{event}")
            elif "a message that could not be read" in (event["detail"] or "") and kind in {"doubt", "resync", "gap"}:
                world.seen[f"unread item: {kind}"] += 1
                if event["ts_recv"] in self.unnamed:
                    self.doubted.add(key)
                # The book ends when it is unsubscribed, some time after the doubt.
                assert key in self.touched or key in self.doubted, world.where(f"{event} without a fault")
            elif kind in TROUBLE and symbol and self.loose < world.now:
                assert key in self.touched or (None, symbol) in self.touched, world.where(f"{event} without a fault")
        assert not self.trades_told, world.where(f"the ledger does not say {self.trades_told[0]}")


class World:
    """An exchange, a public link and one of level 3."""

    def __init__(
        self, seed: int, *, pairs: int = 6, rate: float = 120.0, depth: int = 10, level3_depth: int = 10
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = START
        self.exchange = _core.Exchange(pairs=pairs, rate=rate, seed=seed, start=START)
        self.exchange.allow(TOKEN, 2**62)
        self.exchange.inject("budget,by=120")
        self.depths = {"book": depth, "level3": level3_depth}
        self.budget = _core.Budget()
        self.seen: Counter[str] = Counter()
        self.arrived: dict[tuple[Link, str, str], None] = {}
        self.listed: set[str] = set(self.exchange.symbols)
        """All symbols that there ever were."""
        self.numbers: dict[str, Numbers] = defaultdict(Numbers)
        self.trades: dict[tuple[str, int], set[int]] = defaultdict(set)
        """Ids of a symbol since its numbering began anew for the n-th time."""
        self.proved: dict[tuple[str, int], int] = {}
        """Each trade before this one is accounted for."""
        self.missing: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self.delisted: set[str] = set()
        self.faults: deque[str] = deque(maxlen=4)
        self.spent: deque[tuple[int, int]] = deque()
        """When symbols of level 3 were requested in the last second, and how many."""
        self.memory: list[int] = []
        """Memory of this process at each moment without trouble, bytes."""
        self.steps = 0
        self.public = Link(
            self, "public", {"channels": ["book", "trade", "ticker"], "depth": depth}, Backoff(Random(seed))
        )
        level3 = {"channels": ["level3"], "level3_depth": level3_depth, "instrument": False}
        self.level3 = Link(self, "level3", level3, Backoff(Random(seed + 1)))
        self.links = (self.public, self.level3)

    @property
    def symbols(self) -> list[str]:
        """Of the exchange."""
        return self.exchange.symbols

    def where(self, what: str) -> str:
        """A sentence that says how to repeat this run."""
        seconds = (self.now - START) / SECOND
        frames = ", ".join(f"frame {link.frames} of {link.endpoint}" for link in self.links)
        latest = "; ".join(self.faults)
        return f"seed {self.seed}, {seconds:.2f} s, {frames}: {what}. The latest faults: {latest}"

    def fault(self, text: str) -> None:
        """Inject a fault."""
        self.faults.append(text)
        self.exchange.inject(text)

    def spend(self, symbols: int) -> None:
        """The account's budget: 200 units a second."""
        self.spent.append((self.now, symbols * {10: 5, 100: 25, 1000: 100}[self.depths["level3"]]))
        while self.spent[0][0] <= self.now - SECOND:
            self.spent.popleft()
        assert sum(cost for _, cost in self.spent) <= 200, self.where("more of level 3 than the account may ask for")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds * SECOND / STEP)):
            self.step()

    def step(self) -> None:
        """The smallest step of time."""
        self.steps += 1
        self.now += STEP
        for link in self.links:
            link.connect()
        self.exchange.advance(self.now)
        happened = self.exchange.take_faults()
        for fault in happened:
            self._happened(fault)
        for link in self.links:
            link.receive()
        for fault in happened:
            self._go_wrong(fault)
        for link, channel, symbol in self.arrived:
            self._compare(link, channel, symbol)
        self.arrived.clear()
        if self.steps % TICK == 0:
            for link in self.links:
                link.duties()
            symbol = self.random.choice(self.symbols)
            self._compare(self.public, "book", symbol)
            self._compare(self.level3, "level3", symbol)
        if self.steps % 500 == 0:
            for link in self.links:
                self.take(link)

    def _link(self, number: int | None) -> Link | None:
        return next((link for link in self.links if number is not None and link.number == number), None)

    def _happened(self, fault: dict[str, Any]) -> None:
        """Note which symbols a fault touches."""
        name, channel, symbol = fault["name"], fault["channel"], fault["symbol"]
        self.seen[f"fault: {name}"] += 1
        until = self.now + max(2 * SECOND, fault["by"] if name == "delay" else 0)
        if name in {"delist", "list", "precision", "instrument"}:
            for either in self.links:
                for one in (None, "book", "level3", "trade", "ticker"):
                    # None: rows without a channel.
                    either.touched[one, symbol] = until
            self.listed.add(symbol)
            if name == "delist":
                self.delisted.add(symbol)
            elif name == "list":
                self.delisted.discard(symbol)
            return
        if (link := self._link(fault["connection"])) is None:
            return
        if name in {"digit", "truncate", "garbage", "stray"}:
            # Another digit may make a number that JSON forbids.
            link.illegible = self.now + 2 * SECOND
        if symbol:
            if name in {"digit", "truncate", "garbage", "oversize", "absent", "null", "huge"}:
                link.damaged[fault["frame"]] = (channel, symbol)
            link.touched[channel, symbol] = max(until, link.touched.get((channel, symbol), 0))
            if name == "refuse":
                link.refused.add((channel, symbol))
        elif channel in {"ack", "refusal", "instrument", "status"}:
            link.loose = self.now + 400 * SECOND
        if name in {"ratelimit", "ignore", "hollow", "already", "refuse"}:
            # One answer may be about all symbols of its request.
            link.loose = self.now + 400 * SECOND

    def _go_wrong(self, fault: dict[str, Any]) -> None:
        """Apply the faults of connections."""
        if (link := self._link(fault["connection"])) is None:
            return
        name, by = fault["name"], fault["by"]
        if name in {"cut", "close"}:
            link.down(name)
        elif name == "half_open":
            link.pipe.silence()
        elif name == "stall":
            link.pipe.stall(self.now, by)
        elif name == "trickle":
            link.pipe.trickle(self.now, by)
        elif name == "deaf":
            link.deaf = self.now + by
        if name in {"stall", "trickle", "deaf"}:
            # A late message may come after the session has given up waiting.
            link.loose = self.now + by + 400 * SECOND

    def held(self, link: Link, channel: str, symbol: str, depth: int) -> tuple[Levels, Levels] | None:
        """The levels of a book in sync."""
        if channel == "book":
            book = link.session.book(symbol)
            return book and (book.bids(depth), book.asks(depth))
        orders = link.session.orders(symbol)
        return orders and (
            [level[:2] for level in orders.bids(depth)],
            [level[:2] for level in orders.asks(depth)],
        )

    def _compare(self, link: Link, channel: str, symbol: str) -> bool:
        """Whether a book is in sync; if so it must equal the exchange's, as far as the protocol can show."""
        key = (channel, symbol)
        # Below the tenth level nothing is proved, but without a fault it must be right. Deep books take long to
        # compare, so they are compared only sometimes.
        depth = self.depths[channel] if key not in link.touched else 10
        if depth > 10 and self.random.random() < 1 - 20 / depth:
            depth = 10
        held = self.held(link, channel, symbol, depth)
        link.events()
        assert (held is not None) == (key in link.told_live), self.where(f"{key}: the ledger says otherwise")
        if held is None or link.number is None or link.pipe.busy:
            return False
        if key in link.touched and channel != "book":
            # Its latest change may not have been sent.
            return False
        truth = self.exchange.book(symbol, depth)
        assert truth is not None
        if key in link.touched and link.last_sum.get(key) != checksum(truth):
            # The same.
            return False
        if (None, symbol) in link.touched and held != truth:
            return False
        self.seen[f"compared: {channel}"] += 1
        assert held == truth, self.where(f"{key} is not the exchange's: {held} against {truth}")
        return True

    def take(self, link: Link) -> None:
        """Take the rows: the trades must be those that follow from the frames, in their order."""
        link.events()
        batches = link.session.drain()
        assert link.session.pending_rows == 0
        if "trades" in batches:
            rows = pa.record_batch(batches["trades"])
            columns = [rows[name].to_pylist() for name in ("symbol", "trade_id", "side", "price", "qty")]
            for symbol, number, *what in zip(*columns, strict=True):
                due, era, expected, (_, *facts) = (
                    link.trades_due.popleft() if link.trades_due else (None, 0, None, (None,))
                )
                found = (symbol, number, *what)
                assert found == (due, expected, *facts), self.where(
                    f"{symbol}: a row of trade {number} {what} where {due}: {expected} {facts} was due"
                )
                self.trades[symbol, era].add(number)
        assert not link.trades_due, self.where(f"no row of a trade: {link.trades_due[0]}")

    def settle(self) -> None:
        """End all faults; then everything must recover and be right."""
        self.exchange.clear_faults()
        self.exchange.inject("budget,by=120")
        begin = self.now
        while self.now - begin < SETTLE * SECOND:
            self.run(2)
            if self.well() and self.right():
                break
        else:
            states = [
                (link.endpoint, *one)
                for link in self.links
                for one in link.session.subscriptions()
                if one[2] not in WELL
            ]
            raise AssertionError(self.where(f"not well again: {states}"))
        self.seen["settled"] += 1
        self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        for symbol in self.symbols:
            self._compare(self.public, "book", symbol)
            self._compare(self.level3, "level3", symbol)
        for link in self.links:
            self.take(link)
        self._trades()

    def well(self) -> bool:
        """Whether all selected books are in sync, except those that a fault refused or delisted."""
        for link in self.links:
            if link.number is None or link.pipe.busy:
                return False
            states = link.session.subscriptions()
            count = 3 if link is self.public else 1
            if len(states) < count * (len(self.symbols) - len(self.delisted)):
                return False
            for channel, symbol, state, _ in states:
                excused = (state == "rejected" and (channel, symbol) in link.refused) or (
                    state in {"removed", "rejected"} and symbol in self.delisted
                )
                if state not in WELL and not excused:
                    return False
        return True

    def right(self) -> bool:
        """Whether the best levels of every book in sync equal the exchange's now: no such book is frozen."""
        return all(
            held is None or held == self.exchange.book(symbol, 10)
            for link, channel in ((self.public, "book"), (self.level3, "level3"))
            for symbol in self.symbols
            for held in [self.held(link, channel, symbol, 10)]
        )

    def _trades(self) -> None:
        """Each trade from the first to the last is a row, or missing by the ledger."""
        for (symbol, era), numbers in self.trades.items():
            # A trade that a gap already accounts for may still come, in the snapshot of a new subscription.
            first = self.proved.get((symbol, era), min(numbers))
            ids = {number for number in numbers if number >= first}
            known = set(ids)
            for begin, end in self.missing[symbol, era]:
                known.update(range(begin, end + 1))
            lost = set(range(first, max(ids))) - known
            assert not lost, self.where(f"{symbol}: trades {sorted(lost)[:5]} are neither rows nor in the ledger")
            self.seen["trades"] += len(ids)
            # Trades that were checked need not be kept.
            self.trades[symbol, era] = {max(ids)}
            self.proved[symbol, era] = max(ids)
            self.missing[symbol, era].clear()


class Trouble:
    """Faults at random, from a seed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = Random(world.seed ^ 0x5EED)
        self.decks: dict[tuple[str, ...], list[str]] = defaultdict(list)
        """Of each set of kinds, those that must come before any is repeated."""

    def _deal(self, *names: str) -> str:
        """One of these, all of them equally often."""
        deck = self.decks[names]
        if not deck:
            deck.extend(self.random.sample(names, len(names)))
        return deck.pop()

    def some(self) -> list[str]:
        """The faults of one episode."""
        make = self.random.choices(
            (self._frame, self._silence, self._answer, self._socket, self._handshake, self._exchange, self._pair),
            (10, 2, 5, 3, 1, 3, 3),
        )[0]
        return make()

    def _symbol(self) -> str:
        return self.random.choice(self.world.symbols)

    def _for(self, least: float, most: float) -> str:
        return f",for={self.random.uniform(least, most):.2f}s"

    def _frame(self) -> list[str]:
        random = self.random
        names = ("drop", "repeat", "reorder", "delay", "digit", "truncate", "garbage", "oversize")
        name = self._deal(*names, "absent", "null", "huge", "stray")
        how = random.choice(["=1", "=0.5", "=0.1", "=0.02", "=once", "=every:1s"])
        channels = ["book", "book", "level3", "level3", "trade", "ticker", "heartbeat", "ack"]
        if name in {"digit", "garbage"}:
            # Nothing proves a digit of a trade.
            channels = channels[:4]
        channel = random.choice(channels)
        text = f"{name}{how},channel={channel}"
        if channel not in {"heartbeat", "ack"} and random.random() < 0.7:
            text += f",symbol={self._symbol()}"
        if name == "delay":
            text += f",by={random.choice(['50ms', '300ms', '2s', '5s'])}"
        if name in {"absent", "null", "huge"}:
            fields = {"trade": ["price", "trade_id"], "ticker": ["bid", "last"]}.get(channel, ["checksum", "bids"])
            text += f",by={random.choice(['symbol', 'timestamp', 'qty', *fields])}"
        if name == "oversize":
            big = random.random() < 0.1
            text = text.replace(how, "=once") + f",by={FRAME_MAX + 1 if big else 100_000}"
        return [text + self._for(0.1, 5)]

    def _silence(self) -> list[str]:
        return [f"silence,channel={self.random.choice(['book', 'level3'])},symbol={self._symbol()}{self._for(1, 5)}"]

    def _answer(self) -> list[str]:
        random = self.random
        name = self._deal("refuse", "refuse", "already", "ratelimit", "ignore", "hollow")
        channel, symbol = random.choice(["book", "level3"]), self._symbol()
        text = f"{name}={random.choice(['1', '0.5', 'once'])},channel={channel},symbol={symbol}{self._for(2, 40)}"
        if name == "refuse" and random.random() < 0.5:
            text += ",by=EGeneral:Rate limit exceeded"
        # So that it is requested at all.
        return [text, f"drop=once,channel={channel},symbol={symbol}{self._for(1, 5)}"]

    def _socket(self) -> list[str]:
        random = self.random
        number = random.choice(self.world.links).number
        name = self._deal("cut", "cut", "close", "half_open", "stall", "deaf", "trickle")
        how = random.choice(["", "", "=every:3s"])
        by = {"close": random.choice([1000, 1001, 1008, 1011, 1012, 1013])}
        by |= {"stall": f"{random.choice([1, 5, 20])}s", "deaf": "8s", "trickle": random.choice([200, 2000, 50_000])}  # type: ignore[dict-item]  # text or number
        text = f"{name}{how}" + (f",by={by[name]}" if name in by else "")
        return [text + (f",connection={number}" if number is not None else "") + self._for(1, 10)]

    def _handshake(self) -> list[str]:
        status = self.random.choice([0, 403, 503, 520])
        how = f"{self.random.choice(['1', '0.5'])}"
        if self.random.random() < 0.5:
            return [f"retry_after={how},by=5s{self._for(1, 60)}", "cut"]
        return [f"handshake={how},by={status}{self._for(1, 60)}", "cut"]

    def _exchange(self) -> list[str]:
        name = self._deal("maintenance", "cancel_only", "post_only", "status", "skew")
        by = "" if name == "status" else f",by={self.random.choice(['1s', '8s'])}"
        return [f"{name}{by}{self._for(1, 10)}", *(["cut"] if name == "maintenance" else [])]

    def _pair(self) -> list[str]:
        random = self.random
        name = self._deal("instrument", "precision", "delist", "list", "list")
        if name == "delist" and len(self.world.delisted) > 1:
            name = "list"
        if name == "list" and not self.world.delisted and len(self.world.symbols) >= 9:
            name = "instrument"
        if name == "list" and self.world.delisted and random.random() < 0.5:
            # The numbering of its trades starts again.
            name += f",by={random.randrange(1, 1000)}"
        return [name + self._for(1, 2)]


def simulate(seed: int, episodes: int, **options: int) -> Counter[str]:
    """Run this many episodes of trouble; returns what was seen. ``grown``: MiB from the first to the last quarter."""
    world = World(seed, **options)
    trouble = Trouble(world)
    world.settle()
    for episode in range(1, episodes + 1):
        for text in trouble.some():
            world.fault(text)
        world.run(world.random.uniform(0.5, 5))
        if episode % 20 == 0:
            world.settle()
    world.settle()
    world.seen["seconds"] = (world.now - START) // SECOND
    world.seen["frames"] = sum(link.frames for link in world.links)
    world.seen["episodes"] = episodes
    quarter = max(1, len(world.memory) // 4)
    world.seen["grown"] = max(0, min(world.memory[-quarter:]) - min(world.memory[quarter:][:quarter])) >> 20
    return world.seen

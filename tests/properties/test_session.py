"""The protocol as a state machine: a faithful exchange, a network that loses and spoils, and a session that repairs
itself.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pyarrow as pa
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import frames
from krakpot import _core

SYMBOLS = ("BTC/USD", "ETH/EUR", "LONGBASE123456/USD")


class Feed(RuleBasedStateMachine):
    """The exchange's books are dicts; what the session asks for reaches it, what it answers reaches the session."""

    channel, table = "book", "book"

    def __init__(self) -> None:
        super().__init__()
        self.now = frames.START
        self.session = _core.Session("s", symbols=["*"], channels=[self.channel], depth=10, level3_depth=10)
        self.session.set_token("token")
        self.books = self.models()
        self.subscribed: set[str] = set()
        self.damaged: set[str] = set()
        """Symbols whose update was lost or spoiled since their last snapshot."""
        self.wire: list[bytes] = []
        """Answers on their way."""
        self.batches: list[dict[str, _core.Batch]] = []

    def models(self) -> dict[str, Any]:
        """The exchange's books."""
        return {symbol: frames.Book(symbol) for symbol in SYMBOLS}

    def change(self, symbol: str, side: str, price: str, qty: str) -> bytes:
        """A quantity at a price becomes another."""
        frame: bytes = self.books[symbol].update([(side, price, qty)], ts=self.now)
        return frame

    def held(self, symbol: str) -> Any:
        """The session's book."""
        return self.session.book(symbol)

    def send(self, frame: bytes) -> None:
        self.session.receive([frame], self.now)

    @initialize()
    def open(self) -> None:
        self.send(frames.status())
        self.exchange()
        while self.wire:
            self.deliver()

    def exchange(self) -> None:
        """Take the session's requests as Kraken does, and queue the answers."""
        for request in map(json.loads, self.session.requests(self.now)):
            parameters: dict[str, Any] = request["params"]
            if parameters["channel"] == "instrument":
                self.wire += [frames.instrument(*map(frames.pair, SYMBOLS))]
                continue
            assert parameters["depth"] == 10
            for symbol in parameters["symbol"]:
                subscribe = request["method"] == "subscribe"
                if subscribe == (symbol in self.subscribed):
                    error = "Already subscribed" if subscribe else "Subscription Not Found"
                    self.wire.append(
                        frames.refusal(error, symbol=symbol, method=request["method"], req_id=request["req_id"])
                    )
                    continue
                self.wire.append(
                    frames.ack(self.channel, symbol, method=request["method"], req_id=request["req_id"], depth=10)
                )
                if subscribe:
                    self.subscribed.add(symbol)
                    self.wire.append(b"snapshot " + symbol.encode())
                else:
                    self.subscribed.remove(symbol)

    @rule()
    def deliver(self) -> None:
        """One answer arrives; a snapshot shows the book as it is when it is sent."""
        if not self.wire:
            return
        frame = self.wire.pop(0)
        if frame.startswith(b"snapshot "):
            symbol = frame.removeprefix(b"snapshot ").decode()
            if symbol in self.subscribed:
                self.send(self.books[symbol].snapshot(ts=self.now))
                self.damaged.discard(symbol)
        else:
            self.send(frame)
        self.exchange()

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["bid", "ask"]),
        ticks=st.integers(0, 12),
        qty=st.integers(0, 5),
        fate=st.sampled_from(["arrives"] * 6 + ["lost", "spoiled", "mangled"]),
    )
    def update(self, symbol: str, side: str, ticks: int, qty: int, fate: str) -> None:
        """A book changes; the message arrives, is lost, has a wrong digit, or is no JSON any more."""
        pending = b"snapshot " + symbol.encode() in self.wire
        price = f"{(100 - ticks) if side == 'bid' else (101 + ticks)}.0"
        before = self.books[symbol].levels(side)
        frame = self.change(symbol, side, price, f"{qty}.00000000")
        changed = self.books[symbol].levels(side) != before
        if symbol not in self.subscribed or pending:
            return
        if fate in {"lost", "mangled"} and changed:
            self.damaged.add(symbol)
        if fate == "spoiled":
            self.damaged.add(symbol)
            self.send(frame.replace(b'"checksum":', b'"checksum":1'))
        elif fate == "mangled":
            self.send(frame[:-3])
        elif fate == "arrives":
            self.send(frame)
        self.exchange()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 25.0, 90.0, 400.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: overdue answers, retries, alive rows."""
        self.now += int(seconds * frames.SECOND)
        self.session.tick(self.now)
        self.exchange()

    @rule()
    def take(self) -> None:
        """The recorder fetches the rows."""
        self.batches.append(self.session.drain())

    @invariant()
    def undamaged_books_are_the_exchange_s(self) -> None:
        """A book that lives and was not harmed equals the dict; a harmed one is repaired, or will be.

        Not so from the moment the exchange leaves a symbol until its ack, or its next snapshot, has arrived.
        """
        for symbol in SYMBOLS:
            book = self.held(symbol)
            between = symbol not in self.subscribed or b"snapshot " + symbol.encode() in self.wire
            if book is not None and not between and symbol not in self.damaged:
                bids, asks = self.books[symbol].levels("bid"), self.books[symbol].levels("ask")
                assert (book.bids(), book.asks()) == (bids, asks)

    def teardown(self) -> None:
        """Left alone, every book comes back; and the rows prove themselves, each verdict with its reason."""
        for symbol in SYMBOLS:
            if symbol in self.subscribed and b"snapshot " + symbol.encode() not in self.wire:
                self.send(self.books[symbol].update([], ts=self.now))
        for _ in range(60):
            self.now += 30 * frames.SECOND
            self.session.tick(self.now)
            self.exchange()
            while self.wire:
                self.deliver()
        standing = {symbol: state for _, symbol, state, _ in self.session.subscriptions()}
        if standing:
            assert set(standing) == set(SYMBOLS)
            assert set(standing.values()) <= {"active", "idle"}
            for symbol, model in self.books.items():
                book = self.held(symbol)
                assert book is not None, f"{symbol} did not come back"
                assert (book.bids(), book.asks()) == (model.levels("bid"), model.levels("ask"))
        self.session.end(self.now, "over")
        self.take()
        counts = self.session.counts()
        found = [
            (name, pl.DataFrame(pa.record_batch(batch))) for flush in self.batches for name, batch in flush.items()
        ]
        ledger = pl.concat([frame for name, frame in found if name == "ledger"])
        kinds = ["mismatch", "crossed", "unsubscribed", "gap", "gone", "disconnect"]
        verifier = _core.Verifier("s", channel=self.channel)
        verifier.ends(ledger.filter(pl.col("kind").is_in(kinds)).select("symbol", "message", "kind"))
        books = [frame for name, frame in found if name == self.table]
        if books:
            verifier.messages(pl.concat(books).sort("symbol", "message", "entry"))
        verdicts = verifier.finish()
        assert [sentence for one in verdicts for sentence in one["problems"]] == []
        total = {key: sum(one[key] for one in verdicts) for key in ("ok", "bad", "unchecked")}
        assert total == {**counts["checksums"][self.channel], "unchecked": counts["unchecked"]}


class OrdersFeed(Feed):
    """The same with level 3, where a level is a queue: an order more, the first one smaller, or all of them gone."""

    channel, table = "level3", "orders"

    def __init__(self) -> None:
        super().__init__()
        self.orders = 0

    def models(self) -> dict[str, Any]:
        return {symbol: frames.Orders(10, 1, 8, symbol=symbol) for symbol in SYMBOLS}

    def change(self, symbol: str, side: str, price: str, qty: str) -> bytes:
        book: frames.Orders = self.books[symbol]
        queue = book.queue(side, Decimal(price))
        events: list[frames.OrderEntry]
        if Decimal(qty) == 0:
            events = [(side, "delete", one.order_id, price, book.qty(one.qty), self.now) for one in queue]
        elif queue and queue[0].qty > Decimal(qty):
            events = [(side, "modify", queue[0].order_id, price, qty, queue[0].place[0])]
        else:
            self.orders += 1
            events = [(side, "add", f"OAAAAA-{self.orders:05}-AAAAAA", price, qty, self.now - self.now % 1000)]
        return book.update(events, ts=self.now)

    def held(self, symbol: str) -> Any:
        return self.session.orders(symbol)


TestFeed = Feed.TestCase
TestOrdersFeed = OrdersFeed.TestCase

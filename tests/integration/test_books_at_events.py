"""Books at events against the built-in exchange's own books, on many symbols, with losses and cuts, by both clocks."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

import frames
import lakes
from krakpot import Lake, _core
from krakpot.exchange.frames import unframe
from krakpot.lake import seal
from krakpot.lake.sample import By

pytestmark = pytest.mark.slow

PAIRS, SECONDS, RATE = 50, 60, 1500.0
STEP = 20_000_000
"""What came in this time is received at once, so that many messages have one receive time, ns."""
DEPTH = 10
Levels = tuple[list[tuple[str, str]], list[tuple[str, str]]]


@dataclass
class Truth:
    """What one session received of a symbol: the exchange's books after its messages, in order."""

    messages: list[int] = field(default_factory=list)
    recv: list[int] = field(default_factory=list)
    event: list[int] = field(default_factory=list)
    books: list[Levels | None] = field(default_factory=list)
    """None from a wrong checksum to the next snapshot."""
    snapshots: list[bool] = field(default_factory=list)


@dataclass
class World:
    """A lake and the truth of it."""

    path: Path
    sessions: list[tuple[dict[str, Truth], int, int]]
    """By symbol; the receive times of the first and of the last message of the session."""
    trades: dict[str, list[tuple[int, int, str, Levels | None]]]
    """By symbol: session, id, kind, and the book before the trade."""
    symbols: list[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:  # noqa: PLR0912  # one branch for each kind of frame
    """Two sessions with a gap between them; each loses messages of books; those are subscribed again."""
    path = tmp_path_factory.mktemp("events") / "lake"
    random = Random(1)
    exchange = _core.Exchange(pairs=PAIRS, rate=RATE, seed=7, start=frames.START)
    symbols = exchange.symbols
    found = World(path, [], defaultdict(list), symbols)
    now = frames.START
    for number in range(2):
        truths: dict[str, Truth] = defaultdict(Truth)
        held: dict[str, frames.Book] = {}
        broken: dict[str, int] = {}
        ended: set[str] = set()
        precision: dict[str, tuple[int, int]] = {}
        client = exchange.connect()
        exchange.receive(client, b'{"method":"subscribe","params":{"channel":"instrument"}}')
        for channel in ("trade", "book"):
            params = {"channel": channel, "symbol": symbols, **({"depth": DEPTH} if channel == "book" else {})}
            exchange.receive(client, json.dumps({"method": "subscribe", "params": params}).encode())
        recorder = lakes.Recorder(path, lakes.session_name(now), interval=30)
        message, first = 0, None
        taken: list[lakes.Timed] = []
        for step in range(SECONDS * frames.SECOND // STEP):
            now += STEP
            exchange.advance(now)
            for symbol, until in list(broken.items()):
                if step == until:
                    del broken[symbol]
                    for method in ("unsubscribe", "subscribe"):
                        params = {"channel": "book", "symbol": [symbol], "depth": DEPTH}
                        exchange.receive(client, json.dumps({"method": method, "params": params}).encode())
            for text in unframe(exchange.take(client)):
                told = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
                channel = told.get("channel")
                if channel == "instrument":
                    pairs = told["data"]["pairs"]
                    precision |= {
                        one["symbol"]: (int(one["price_precision"]), int(one["qty_precision"])) for one in pairs
                    }
                elif told.get("method") == "unsubscribe":
                    ended.add(told["result"]["symbol"])
                    held.pop(told["result"]["symbol"], None)
                elif channel == "book":
                    (data,) = told["data"]
                    symbol = data["symbol"]
                    update = told["type"] == "update"
                    # A message that is lost shows by the checksum of the next one.
                    if update and symbol not in broken and random.random() < 0.002:
                        broken[symbol] = step + random.randint(20, 400)
                        continue
                    _apply(held, data, precision[symbol], update=update)
                    truth = truths[symbol]
                    truth.messages.append(message)
                    truth.snapshots.append(not update)
                    ended.discard(symbol)
                    truth.recv.append(now)
                    truth.event.append(round(datetime.fromisoformat(data["timestamp"]).timestamp() * 1e6) * 1000)
                    book = held.get(symbol)
                    truth.books.append(None if book is None else (book.levels("bid"), book.levels("ask")))
                    first = first or now
                elif channel == "trade":
                    for data in told["data"]:
                        truth = truths[data["symbol"]]
                        before = truth.books[-1] if truth.books and data["symbol"] not in ended else None
                        found.trades[data["symbol"]].append((number, int(data["trade_id"]), told["type"], before))
                taken.append((now, text))
                message += 1
            if step % 50 == 49:  # a flush a second
                recorder.take(taken)
                taken = []
        # What the plain replay has at the end is what the exchange itself has.
        for symbol in symbols[:10]:
            if symbol in held and symbol not in broken:
                assert (held[symbol].levels("bid"), held[symbol].levels("ask")) == exchange.book(symbol, DEPTH)
        found.sessions.append((dict(truths), first or now, now))
        recorder.end()
        exchange.disconnect(client)
        now += 20 * frames.SECOND
        exchange.advance(now)
    seal.recover(path)
    return found


def _apply(held: dict[str, frames.Book], data: dict[str, Any], precision: tuple[int, int], *, update: bool) -> None:
    """Apply a message to the plain book of its symbol, if there is one; a wrong checksum ends it."""
    symbol = str(data["symbol"])
    if not update:
        held[symbol] = frames.Book(symbol, depth=DEPTH, price_precision=precision[0], qty_precision=precision[1])
    book = held.get(symbol)
    if book is not None:
        book.apply([(side, one["price"], one["qty"]) for side in ("bid", "ask") for one in data[f"{side}s"]])
        if book.checksum != int(data["checksum"]):
            del held[symbol]


def levels_of(row: dict[str, object]) -> list[list[tuple[object, object]]]:
    """Both sides of a row, as numbers."""
    sides = []
    for side in ("bid", "ask"):
        levels = [(row[f"{side}_price_{n}"], row[f"{side}_qty_{n}"]) for n in range(DEPTH)]
        sides.append([level for level in levels if level[0] is not None])
    return sides


def numbers(book: Levels) -> list[list[tuple[Decimal, Decimal]]]:
    """Both sides of the exchange's book, as numbers."""
    return [[(Decimal(price), Decimal(qty)) for price, qty in side] for side in book]


@pytest.mark.parametrize("by", ["recv", "event"])
def test_books_at_random_messages_are_those_of_the_exchange(world: World, by: By) -> None:
    """After 10,000 messages of 50 symbols, over lost messages and a gap; between sessions there is no book."""
    random = Random(2)
    opened = Lake(world.path)
    checked = unknown = 0
    for symbol in world.symbols:
        asked: list[tuple[int, Levels | None]] = []
        for truths, *_ in world.sessions:
            truth = truths[symbol]
            times = getattr(truth, by)
            ascending = sorted(range(len(times)), key=lambda n: (times[n], n))
            in_order = [times[n] for n in ascending]
            for place in random.choices(range(len(times)), k=100):
                time = times[place]
                # All messages up to that time are in the book: the last one in order of application counts.
                last = max(ascending[: bisect_right(in_order, time)])
                asked.append((time, truth.books[last]))
        end = world.sessions[0][2]
        asked += [(end + n * frames.SECOND, None) for n in (5, 10, 15)]
        random.shuffle(asked)
        found = opened.books(symbol, at=[time for time, _ in asked], depth=DEPTH, by=by)
        for row, (time, book) in zip(found.iter_rows(named=True), asked, strict=True):
            if row["reason"] is not None:
                assert levels_of(row) == [[], []]
                unknown += 1
                # Unsubscribed: at the time of the last message, after it. The exchange's clock also knows the time
                # between the last message and the end of the coverage.
                assert book is None or row["reason"] in {"unsubscribed", "unconfirmed"}, (symbol, time, row["reason"])
            else:
                assert book is not None, (symbol, time)
                assert levels_of(row) == numbers(book)
                checked += 1
    assert checked > 9_000
    assert unknown > 3 * PAIRS + 20


def test_changes_and_trades_are_those_of_the_exchange(world: World) -> None:
    """Every change of all symbols, and every trade with the book before it, message by message."""
    opened = Lake(world.path)
    changes = opened.books("*", every="change", depth=1).filter(pl.col("message").is_not_null())
    by_symbol = changes.partition_by("symbol", as_dict=True)
    names = opened.sessions()
    for symbol in world.symbols:
        wanted = []
        for name, (truths, *_) in zip(names, world.sessions, strict=True):
            last: object = "nothing"
            truth = truths[symbol]
            for message, snapshot, book in zip(truth.messages, truth.snapshots, truth.books, strict=True):
                best = None if book is None else [side[:1] for side in book]
                # A snapshot follows on an unsubscription, after which there was no book.
                if best != last or snapshot:
                    wanted.append((name, message, best is None))
                    last = best
        rows = by_symbol[symbol,].select("session", "message", pl.col("reason").is_not_null()).rows()
        assert rows == wanted
    trades = opened.trades(book=DEPTH).collect()
    counted = 0
    for (symbol,), mine in trades.partition_by("symbol", as_dict=True).items():
        known = {
            (names[number], trade_id): (kind, before) for number, trade_id, kind, before in world.trades[str(symbol)]
        }
        for row in mine.iter_rows(named=True):
            kind, book = known[row["session"], row["trade_id"]]
            assert kind == row["kind"]
            if row["book_reason"] is None:
                assert kind == "update"
                assert book is not None
                assert levels_of(row) == numbers(book)
                counted += 1
            else:
                assert kind == "snapshot" or book is None
                assert row["book_reason"] in {"snapshot", "mismatch", "unsubscribed", "absent"}
    assert counted > 1000

"""Events for a strategy, as the extension makes them of frames; the books are those of ``frames``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import frames
from krakpot import ConfigError, _core

SESSION = "019e0000-0000-7000-8000-000000000000"
ALL = ("book", "trade", "ticker", "ohlc", "status", "subscription")
NOW = frames.START
BTC = frames.pair("BTC/USD", price_precision=1, qty_precision=8)
ETH = frames.pair("ETH/USD", price_precision=2, qty_precision=8)


def begun(channels: Sequence[str] = ("book", "trade")) -> _core.Session:
    """A session of two pairs that has asked for all."""
    session = _core.Session(SESSION, channels=channels, depth=10)
    session.requests(NOW)
    session.receive([frames.instrument(BTC, ETH)], NOW)
    session.requests(NOW)
    session.drain()
    return session


def small() -> frames.Book:
    """A book of one level a side."""
    return frames.Book("BTC/USD", depth=10, price_precision=1, qty_precision=8)


def snapshot(book: frames.Book) -> bytes:
    """Its snapshot."""
    return book.snapshot(bids=[("45283.5", "0.10000000")], asks=[("45285.2", "0.00100000")])


def of(events: Sequence[Any], channel: str) -> list[Any]:
    """Those of a channel."""
    return [event for event in events if event.channel == channel]


def test_a_message_of_a_book_is_one_event() -> None:
    """With its number, times, checksum, verdict and exact entries; the book is already there."""
    session, events, book = begun(), _core.Events(["book"]), small()
    first = events.receive(session, [snapshot(book)], NOW + 5)
    assert session.best("BTC/USD", "int") == (452_835, 10_000_000, 452_852, 100_000)
    update = book.update([("bid", "45283.6", "0.20000000"), ("ask", "45285.2", "0.00000000")], ts=NOW + 1000)
    second = events.receive(session, [update], NOW + 6)
    assert [event.kind for event in first + second] == ["snapshot", "update"]
    (event,) = second
    assert isinstance(event, _core.BookEvent)
    assert (event.symbol, event.message, event.ts_recv, event.ts_event) == ("BTC/USD", 2, NOW + 6, NOW + 1000)
    assert (event.checksum, event.outcome, event.channel) == (book.checksum, "ok", "book")
    assert event.entries() == [
        ("bid", Decimal("45283.6"), Decimal("0.20000000")), ("ask", Decimal("45285.2"), Decimal(0)),
    ]  # fmt: skip
    assert [str(number) for _, *numbers in event.entries() for number in numbers][:2] == ["45283.6", "0.20000000"]
    assert event.entries("int")[0] == ("bid", 452_836, 20_000_000)
    for wrong, sentence in (("x", 'no numbers "x"; numbers: decimal, float, int'), (3, "numbers 3 is not allowed")):
        with pytest.raises(ConfigError, match=sentence):
            event.entries(wrong)  # type: ignore[arg-type]  # what is refused
    assert event.entries("float")[0] == ("bid", 45283.6, 0.2)
    assert repr(event) == "BookEvent(BTC/USD, message 2, update, ok)"


def test_a_wrong_checksum_is_told_before_the_strategy_can_use_the_book() -> None:
    """The event of the message says so, the subscription is bad, and there is no book; what comes until the repair is
    unchecked. Events of the same read before it are as they were.
    """
    session, events, book = begun(), _core.Events(ALL), small()
    events.receive(session, [snapshot(book)], NOW)
    good = book.update([("bid", "45283.4", "1.00000000")])
    bad = book.update([("bid", "45283.3", "1.00000000")])
    bad = bad.replace(b'"checksum":%d' % book.checksum, b'"checksum":%d' % (book.checksum ^ 1))
    later = book.update([("bid", "45283.2", "1.00000000")])
    found = events.receive(session, [good, bad, later], NOW + 1)
    assert [(event.message, event.outcome) for event in of(found, "book")] == [
        (2, "ok"), (3, "mismatch"), (4, "unchecked"),
    ]  # fmt: skip
    (state,) = of(found, "subscription")
    assert (state.symbol, state.of, state.state, state.reason) == ("BTC/USD", "book", "resyncing", "checksum mismatch")
    assert session.best("BTC/USD") is None
    assert session.mid_and_spread("BTC/USD") is None
    assert session.levels("BTC/USD", "bid") is None


def test_a_crossed_book_is_told() -> None:
    """Its checksum may be right: it is no book to trade on."""
    session, events, book = begun(), _core.Events(["book"]), small()
    events.receive(session, [snapshot(book)], NOW)
    (event,) = events.receive(session, [book.update([("bid", "45290.0", "1.00000000")])], NOW)
    assert event.outcome == "crossed"
    assert session.best("BTC/USD") is None


def test_events_of_all_channels_come_in_the_order_of_messages() -> None:
    """A read with several channels: each message where it stood, with exact numbers."""
    session, events, book = begun(["book", "trade", "ticker", "ohlc"]), _core.Events(ALL), small()
    trade = frames.trade("BTC/USD", price="45285.2", qty="0.00100000", trade_id=7)
    reads = [
        frames.status("online"), trade, snapshot(book), frames.ticker("BTC/USD"), frames.ohlc("BTC/USD"),
        frames.trade("BTC/USD", price="45285.3", qty="0.50000000", trade_id=8),
    ]  # fmt: skip
    found = [event for event in events.receive(session, reads, NOW) if event.channel != "subscription"]
    assert [event.channel for event in found] == ["status", "trade", "book", "ticker", "ohlc", "trade"]
    assert [event.message for event in found] == [1, 2, 3, 4, 5, 6]
    assert found[0].system == "online"
    assert (str(found[1].price), str(found[1].qty), found[1].trade_id) == ("45285.2", "0.00100000", 7)
    ticker, candle = found[3], found[4]
    best = [ticker.bid, ticker.bid_qty, ticker.ask, ticker.ask_qty, ticker.last]
    assert best == [Decimal(text) for text in ("45283.5", "0.1", "45285.2", "0.001", "45283.5")]
    assert {name: str(value) for name, value in ticker.statistics().items()} == {
        "volume": "2391.07131524", "vwap": "45100.1", "low": "44000", "high": "46000", "change": "-120.5",
        "change_pct": "-0.27",
    }  # fmt: skip
    assert (candle.interval, candle.trades, candle.interval_begin) == (1, 12, NOW - NOW % (60 * frames.SECOND))
    assert {name: str(value) for name, value in candle.candle().items()} == {
        "open": "45283.5", "high": "45285.2", "low": "45280", "close": "45281.1", "vwap": "45282.2", "volume": "1.5",
    }  # fmt: skip
    assert all(repr(event).startswith(type(event).__name__) for event in found)


def test_nothing_is_made_of_what_nobody_wants() -> None:
    """A channel that was not chosen becomes no event, and its rows do not pile up."""
    session, events, book = begun(), _core.Events(["trade"]), small()
    session.collect(rows=False)
    assert events.receive(session, [snapshot(book)], NOW) == []
    assert session.pending_rows == 0
    with pytest.raises(ValueError, match='no events of "books"; there are book, trade'):
        _core.Events(["books"])


def test_subscriptions_are_told_when_they_change() -> None:
    """All of them once, then what changed; time alone may change them."""
    session, events, book = begun(["book"]), _core.Events(ALL), small()
    first = events.receive(session, [], NOW)
    assert sorted((event.symbol, event.state) for event in first) == [
        ("BTC/USD", "requested"),
        ("ETH/USD", "requested"),
    ]
    assert events.receive(session, [], NOW) == []
    ack = frames.ack("book", "BTC/USD", req_id=2, depth=10)
    found = of(events.receive(session, [ack, snapshot(book)], NOW), "subscription")
    assert [(event.symbol, event.state) for event in found] == [("BTC/USD", "active")]
    session.tick(NOW + 61 * frames.SECOND)
    states = {(event.symbol, event.state) for event in events.receive(session, [], NOW + 61 * frames.SECOND)}
    assert ("BTC/USD", "idle") in states


def test_best_middle_and_levels_are_exact() -> None:
    """Halves have one decimal more; an empty side has no numbers; floats are the nearest."""
    session, events, book = begun(), _core.Events([]), small()
    events.receive(session, [snapshot(book)], NOW)
    assert session.mid_and_spread("BTC/USD") == (Decimal("1.7"), Decimal("45284.35"))
    assert session.mid_and_spread("BTC/USD", "float") == (1.7, 45284.35)
    assert session.levels("BTC/USD", "ask", 5) == [(Decimal("45285.2"), Decimal("0.00100000"))]
    assert session.levels("BTC/USD", "bid", 0) == []
    table = pa.record_batch(_copy(session).to_arrow()).to_pydict()
    assert table == {
        "side": ["bid", "ask"], "level": [0, 0], "price": [Decimal("45283.5"), Decimal("45285.2")],
        "qty": [Decimal("0.1"), Decimal("0.001")],
    }  # fmt: skip
    events.receive(session, [book.update([("ask", "45285.2", "0.00000000")])], NOW)
    assert session.best("BTC/USD") == (Decimal("45283.5"), Decimal("0.1"), None, None)
    assert session.mid_and_spread("BTC/USD") == (None, None)
    for call in (
        lambda: session.best("BTC/USD", "text"),
        lambda: session.mid_and_spread("BTC/USD", "int"),
        lambda: session.levels("BTC/USD", "buy"),
    ):
        with pytest.raises(ValueError, match="numbers: decimal, float|sides: bid, ask"):
            call()


def test_floats_beyond_their_digits_are_the_nearest() -> None:
    """More than 53 bits of mantissa: as Python reads the digits."""
    session = _core.Session(SESSION, passive=True, depth=10, precision={"BTC/USD": (2, 10)})
    book = frames.Book("BTC/USD", depth=10, price_precision=2, qty_precision=10)
    price, qty = "886110000000.07", "1234567890123.0123456789"
    session.receive([book.snapshot(bids=[(price, qty)], asks=[("886110000000.09", qty)])], NOW)
    best = session.best("BTC/USD", "float")
    assert best is not None
    assert best[:2] == (float(price), float(qty))
    assert session.best("BTC/USD") == (Decimal(price), Decimal(qty), Decimal("886110000000.09"), Decimal(qty))


def _copy(session: _core.Session) -> _core.Book:
    book = session.book("BTC/USD")
    assert book is not None
    return book


def test_a_book_that_comes_back_is_told_as_a_gap() -> None:
    """From the wrong checksum to the next snapshot; a first snapshot is no gap."""
    session, events, book = begun(), _core.Events(["gap"]), small()
    assert events.receive(session, [snapshot(book)], NOW) == []
    bad = book.update([("bid", "45283.3", "1.00000000")])
    bad = bad.replace(b'"checksum":%d' % book.checksum, b'"checksum":%d' % (book.checksum ^ 1))
    assert events.receive(session, [bad], NOW + 5) == []
    (gap,) = events.receive(session, [snapshot(small())], NOW + 9)
    assert isinstance(gap, _core.GapEvent)
    assert (gap.channel, gap.of, gap.symbol, gap.reason) == ("gap", "book", "BTC/USD", "checksum mismatch")
    assert (gap.ts_from, gap.ts_to, gap.first_trade_id) == (NOW + 5, NOW + 9, None)
    trades = [frames.trade("BTC/USD", price="45285.2", qty="0.00100000", trade_id=n) for n in (7, 11)]
    (gap,) = events.receive(session, trades, NOW + 12)
    assert (gap.of, gap.first_trade_id, gap.last_trade_id) == ("trade", 8, 10)


def test_a_session_without_rows_makes_events() -> None:
    """Nothing but events; the names of all kinds are known."""
    assert set(ALL) | {"level3", "gap"} == set(_core.EVENT_CHANNELS)
    session, events, book = begun(), _core.Events(["book"]), small()
    session.collect(rows=False, ledger=False)
    (event,) = events.receive(session, [snapshot(book)], NOW)
    assert (event.outcome, session.pending_rows, session.take_ledger()) == ("ok", 0, [])
    assert session.in_sync("BTC/USD")
    assert not session.in_sync("BTC/USD", "level3")


def test_messages_about_pairs_are_counted() -> None:
    """As `counts` counts them: a program that follows pairs asks ten times a second."""
    session = _core.Session(SESSION, channels=["book"], depth=10)
    assert session.instrument_messages == 0
    session.requests(NOW)
    session.receive([frames.instrument(BTC, ETH), frames.HEARTBEAT], NOW)
    session.receive([frames.instrument(BTC, kind="update")], NOW)
    assert session.instrument_messages == session.counts()["messages"]["instrument"] == 2

"""The session's doors to Python: requests, events, counts, hand-over. The protocol's life itself is in the
properties.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import polars as pl
import pyarrow as pa

import frames
from krakpot import _core

SESSION = "019e0000-0000-7000-8000-000000000000"


def begun(**options: object) -> _core.Session:
    """A session that knows two pairs."""
    session = _core.Session(SESSION, **options)  # type: ignore[arg-type]  # whatever the test chooses
    session.requests(frames.START)
    session.receive(
        [frames.instrument(frames.pair("BTC/USD"), frames.pair("ETH/USD", price_precision=2))], frames.START
    )
    return session


def test_requests_are_json_and_each_is_handed_out_once() -> None:
    """Instrument first, then channel by channel, with the parameters that Kraken wants and numbers of their own."""
    session = _core.Session(
        SESSION, symbols=["BTC/*"], channels=["book", "trade", "ticker", "ohlc"], depth=500, interval=5
    )
    (first,) = map(json.loads, session.requests(frames.START))
    assert first == {"method": "subscribe", "params": {"channel": "instrument", "snapshot": True}, "req_id": 1}
    assert session.requests(frames.START) == []
    session.receive([frames.instrument(frames.pair("BTC/USD"), frames.pair("ETH/USD"))], frames.START)
    sent = [json.loads(request) for request in session.requests(frames.START)]
    assert {request["params"]["channel"]: request["params"] for request in sent} == {
        "book": {"channel": "book", "symbol": ["BTC/USD"], "depth": 500, "snapshot": True},
        "trade": {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": False},
        "ticker": {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo", "snapshot": True},
        "ohlc": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 5, "snapshot": True},
    }
    assert len({request["req_id"] for request in sent}) == 4
    assert session.requests(frames.START) == []
    ping = json.loads(session.ping())
    assert ping["method"] == "ping"
    assert ping["req_id"] not in {request["req_id"] for request in sent}


def test_an_observing_session_asks_for_nothing() -> None:
    """Recorded frames need no requests, whatever time it is."""
    session = begun(passive=True)
    session.tick(frames.START + frames.HOUR)
    assert session.requests(frames.START + frames.HOUR) == []


def test_pairs_and_subscriptions_as_python_sees_them() -> None:
    """Keys as the stub promises; texts for exact numbers."""
    session = begun(symbols=["ETH/USD"], channels=["book"])
    session.requests(frames.START)
    assert session.pairs()[0] == {
        "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online", "price_precision": 1,
        "qty_precision": 8, "cost_precision": 5, "price_increment": "0.1",
        "qty_min": "0.00005", "cost_min": "0.5", "marginable": True, "selected": False,
    }  # fmt: skip
    assert session.subscriptions() == [("book", "ETH/USD", "requested", "")]
    session.receive([frames.refusal("Currency pair not supported ETH/USD", symbol="ETH/USD", req_id=2)], frames.START)
    assert session.subscriptions() == [("book", "ETH/USD", "rejected", "refused by the exchange")]
    counts = session.counts()
    assert (counts["pairs"], counts["selected"], counts["rejected"], counts["in_sync"]) == (2, 1, 1, 0)


def test_events_are_the_ledger_without_alive_rows() -> None:
    """Each once, with all its columns; the ledger keeps them too."""
    session = begun(passive=True)
    session.add_ledger_row(
        "clock", frames.START + 1, channel="book", symbol="A/B", ts_from=1, ts_to=2, count=3, detail='{"step":4}'
    )
    session.tick(frames.START + 5 * frames.SECOND)
    (event,) = session.take_ledger()
    assert event == {
        "kind": "clock", "channel": "book", "symbol": "A/B", "ts_recv": frames.START + 1, "ts_from": 1, "ts_to": 2,
        "count": 3,
        "detail": '{"step":4}',
    }  # fmt: skip
    assert session.take_ledger() == []
    ledger = pl.DataFrame(pa.record_batch(session.drain()["ledger"]))
    assert ledger["kind"].to_list() == ["clock", "alive"]
    assert ledger["detail"][0] == '{"step":4}'


def test_take_hands_out_each_row_once() -> None:
    """``rows`` says how many wait; afterwards none."""
    session = begun(passive=True)
    waiting = session.pending_rows
    first = session.drain()
    assert sum(batch.num_rows for batch in first.values()) == waiting == 2
    assert (session.drain(), session.pending_rows) == ({}, 0)


def test_trades_go_on_over_a_reconnect() -> None:
    """The next session asks for the snapshot, drops what was seen, and names what is missing."""
    first = begun(symbols=["BTC/USD"], channels=["trade"])
    first.requests(frames.START)
    first.receive([frames.ack("trade", "BTC/USD", req_id=2), frames.trade("BTC/USD", 7)], frames.START)
    first.end(frames.START, "cut")
    second = _core.Session("second", symbols=["BTC/USD"], channels=["trade"], after=first)
    second.requests(frames.START)
    second.receive([frames.instrument(frames.pair("BTC/USD"))], frames.START)
    (request,) = map(json.loads, second.requests(frames.START))
    assert request["params"]["snapshot"] is True
    second.receive(
        [frames.trade("BTC/USD", 6, kind="snapshot"), frames.trade("BTC/USD", 10, kind="snapshot")], frames.START
    )
    trades = pl.DataFrame(pa.record_batch(second.drain()["trades"]))
    assert trades["trade_id"].to_list() == [10]
    (gap,) = [row for row in second.take_ledger() if row["kind"] == "trade_gap"]
    assert (gap["count"], json.loads(gap["detail"])) == (2, {"first": 8, "last": 9})


def test_an_ended_session_takes_nothing_more() -> None:
    """Frames that come after the end are not of this connection; ending twice changes nothing."""
    session = begun(passive=True)
    session.end(frames.START, "over")
    before = session.counts()
    session.receive([frames.trade("BTC/USD", 1)], frames.START)
    session.tick(frames.START + frames.HOUR)
    session.end(frames.START, "again")
    assert session.counts() == before
    assert [row["kind"] for row in session.take_ledger()] == ["disconnect"]


def test_a_delisting_and_a_listing_are_followed() -> None:
    """A pair that comes is subscribed, one that goes ends with a row of the ledger, one lost over a reconnect too."""
    session = begun(channels=["book"])
    session.requests(frames.START)
    session.receive(
        [
            frames.instrument(
                frames.pair("NEW/USD"), frames.pair("ETH/USD", status="delisted", price_precision=2), kind="update"
            )
        ],
        frames.START,
    )
    assert [(row["kind"], row["symbol"]) for row in session.take_ledger()] == [
        ("listed", "NEW/USD"),
        ("delisted", "ETH/USD"),
    ]
    (request,) = map(json.loads, session.requests(frames.START))
    assert request["params"]["symbol"] == ["NEW/USD"]
    after = _core.Session("after", channels=["book"], after=session)
    after.requests(frames.START)
    after.receive([frames.instrument(frames.pair("BTC/USD"))], frames.START)
    assert ("delisted", "NEW/USD") in [(row["kind"], row["symbol"]) for row in after.take_ledger()]


def test_quiet_books_get_a_checkpoint_every_hour() -> None:
    """A few at a step of the clock, each once an hour; also one whose snapshot the clock, set back, put earlier."""
    session = _core.Session("test", passive=True, depth=10)
    count = 3 * _core.LIMITS["CHECKPOINTS_MAX"]
    for n in range(count):
        session.receive([frames.Book(f"A{n}/USD").snapshot(bids=[("1.0", "1.00000000")])], frames.START)
    session.drain()

    def written(begin: int) -> list[int]:
        found = []
        for step in range(6):
            session.tick(begin + step * frames.SECOND)
            batch = session.drain().get("checkpoints")
            found.append(0 if batch is None else pl.DataFrame(batch)["symbol"].n_unique())
        return found

    first, second, third = (frames.START // frames.HOUR * frames.HOUR + n * frames.HOUR for n in (1, 2, 3))
    assert written(first - 10 * frames.SECOND) == [0] * 6
    assert written(first) == [count // 3] * 3 + [0] * 3
    assert written(second) == [count // 3] * 3 + [0] * 3
    session.receive([frames.Book("LATE/USD").snapshot(bids=[("1.0", "1.00000000")])], first)
    assert written(second + frames.HOUR // 2) == [1] + [0] * 5
    assert sum(written(third)) == count + 1


def test_a_book_is_a_copy() -> None:
    """What was asked for stays as it was, while the session goes on."""
    session = _core.Session(SESSION, passive=True)
    model = frames.Book("BTC/USD")
    session.receive([model.snapshot([("100.1", "1.00000000")], [("100.2", "2.00000000")])], frames.START)
    book = session.book("BTC/USD")
    assert book is not None
    session.receive([model.update([("bid", "100.1", "5.00000000")])], frames.START)
    assert book.bids() == [("100.1", "1.00000000")]
    assert (book.symbol, book.depth, book.price_precision, book.qty_precision) == ("BTC/USD", 10, 1, 8)
    assert session.book("ETH/USD") is None


def test_threads_may_share_a_session() -> None:
    """Frames from one thread while others take rows and read counts: nothing is lost and nothing repeated."""
    session = _core.Session(SESSION, passive=True)
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            batch = session.drain().get("trades")
            taken.append(0 if batch is None else batch.num_rows)
            session.counts()

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(3000):
        session.receive([frames.trade("BTC/USD", n)], frames.START)
    done.set()
    for thread in threads:
        thread.join()
    rest = session.drain().get("trades")
    assert sum(taken) + (0 if rest is None else rest.num_rows) == 3000


def agreeing() -> tuple[_core.Session, frames.Book]:
    """Book, trades and ticker of one symbol, live and of one mind: 100.0 and 101.0, last trade at 100.5."""
    session = begun(symbols=["BTC/USD"], depth=10)
    session.requests(frames.START)
    book = frames.Book("BTC/USD")
    session.receive([frames.ack(channel, "BTC/USD") for channel in ("book", "trade", "ticker")], frames.START)
    session.receive(
        [book.snapshot([("100.0", "1")], [("101.0", "1")]), quote("100.0"), trade(1, "100.5")], frames.START
    )
    assert {one[2] for one in session.subscriptions()} == {"active"}
    session.take_ledger()
    return session, book


def quote(bid: str, last: str = "100.5") -> bytes:
    """A ticker with this bid."""
    return frames.ticker("BTC/USD", bid=frames.Number(bid), ask=frames.Number("101.0"), last=frames.Number(last))


def trade(trade_id: int, price: str) -> bytes:
    """A trade at this price."""
    return frames.trade("BTC/USD", trade_id, price=price)


def told(session: _core.Session, frame: Callable[[int], bytes], seconds: int = 30) -> list[tuple[str, str | None]]:
    """Kinds and channels of the events while a frame comes every second, and what is asked then."""
    for n in range(1, seconds + 1):
        now = frames.START + n * frames.SECOND
        session.receive([frame(n)], now)
        session.tick(now)
    return [(event["kind"], event["channel"]) for event in session.take_ledger() if event["kind"] != "trade_gap"]


def test_a_frozen_book_is_found_by_the_ticker() -> None:
    """The ticker moves on, the book is silent: told as stale and as a gap, and asked for again; the others go on."""
    session, _ = agreeing()
    assert told(session, lambda n: quote(f"{100 - n}.0")) == [("stale", "book"), ("gap", "book"), ("resync", "book")]
    assert session.book("BTC/USD") is None
    (leave,) = map(json.loads, session.requests(session.now))
    assert (leave["method"], leave["params"]["channel"]) == ("unsubscribe", "book")
    states = {channel: (state, reason) for channel, _, state, reason in session.subscriptions()}
    assert states["book"] == ("unsubscribing", "silent, and another channel of the symbol says that it should not be")
    assert states["ticker"] == ("active", "")


def test_a_dead_ticker_is_found_by_the_book() -> None:
    """The best bid moves, the ticker is silent."""
    session, book = agreeing()
    events = told(session, lambda n: book.update([("bid", f"99.{n % 10}", "1"), ("bid", "100.0", "0")]))
    assert events == [("stale", "ticker"), ("gap", "ticker"), ("resync", "ticker")]
    assert session.book("BTC/USD") is not None


def test_a_subscription_that_was_granted_and_never_spoke_is_found() -> None:
    """Trades that never came while the ticker's last price moves; a ticker that never came while the book moves."""
    session = begun(symbols=["BTC/USD"], depth=10)
    session.requests(frames.START)
    book = frames.Book("BTC/USD")
    session.receive([frames.ack(channel, "BTC/USD") for channel in ("book", "trade", "ticker")], frames.START)
    session.receive([book.snapshot([("100.0", "1")], [("101.0", "1")])], frames.START)
    session.take_ledger()
    entries = [[("bid", "100.5", "1")], [("bid", "100.5", "0")]]
    assert told(session, lambda n: book.update(entries[n % 2] if n < 20 else entries[0]), 19) == []
    events = told(session, lambda n: book.update([("bid", "100.6", str(n))]))
    assert events[:3] == [("stale", "ticker"), ("gap", "ticker"), ("resync", "ticker")]
    session.requests(session.now)
    assert told(session, lambda n: quote("100.6", "99.0"), 12) == [], "the last price does not move"
    events = told(session, lambda n: quote("100.6", "99.5"), 12)
    assert events == [("stale", "trade"), ("gap", "trade"), ("resync", "trade")]


def test_dead_trades_are_found_by_the_ticker_and_taken_up_without_a_gap() -> None:
    """The last price moves, the trades are silent; the new subscription asks for the latest trades."""
    session, _ = agreeing()
    events = told(session, lambda n: quote("100.0", f"{100 + n}.0"))
    assert events == [("stale", "trade"), ("gap", "trade"), ("resync", "trade")]
    (leave,) = map(json.loads, session.requests(session.now))
    assert leave["method"] == "unsubscribe"
    session.receive([frames.ack("trade", "BTC/USD", method="unsubscribe")], session.now)
    (again,) = map(json.loads, session.requests(session.now))
    assert again["params"] == {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True}


def test_a_quiet_symbol_is_not_dead() -> None:
    """Nothing moves, or a trade moves neither best price: no channel bears witness against another."""
    session, book = agreeing()
    session.receive([trade(2, "100.7")], frames.START + 1)
    assert told(session, lambda _: frames.HEARTBEAT, 300) == []
    assert {one[2] for one in session.subscriptions()} == {"idle"}
    session.receive([book.update([("bid", "99.0", "1")])], session.now)
    assert {one[0]: one[2] for one in session.subscriptions()} == {"book": "active", "trade": "idle", "ticker": "idle"}
    assert session.counts()["subscribed"] == 3


def test_channels_that_are_late_are_not_dead() -> None:
    """Each follows the other by nine seconds: a disagreement, and no death."""
    session, book = agreeing()
    for n in range(1, 30):
        now = frames.START + n * 20 * frames.SECOND
        bid = f"{99 - n}.0"
        session.receive([quote(bid)], now)
        for second in range(10):
            session.tick(now + second * frames.SECOND)
        old = book.levels("bid")[0][0]
        session.receive([book.update([("bid", bid, "1"), ("bid", old, "0")])], now + 9 * frames.SECOND)
        session.tick(now + 10 * frames.SECOND)
    assert session.take_ledger() == []


TOKEN = "WW91J3JlIG5vdCBzdXBwb3NlZCB0byByZWFk/dGhpcw=="  # noqa: S105  # no secret


def everything(session: _core.Session) -> str:
    """All that a session hands out but for its requests: events, rows, states, itself."""
    tables = {table: pa.record_batch(batch).to_pylist() for table, batch in session.drain().items()}
    return f"{session!r} {session.take_ledger()} {session.subscriptions()} {session.counts()} {session.system} {tables}"


def test_a_token_that_the_exchange_repeats_is_seen_nowhere() -> None:
    """In refusals of any kind, frames that cannot be read, the raw frames, other fields, and what the caller notes;
    however JSON spells it.
    """
    session = _core.Session(SESSION, channels=["level3"], instrument=False, frames=True)
    session.import_pairs(begun(), ["BTC/USD"], frames.START)
    session.set_token(TOKEN)
    (request,) = session.requests(frames.START)
    assert TOKEN.encode() in request
    spellings = (TOKEN, TOKEN.replace("/", "\\/"), "".join(f"\\u{ord(c):04x}" for c in TOKEN))
    for spelling in spellings:
        for frame in (
            frames.refusal(f"no {TOKEN}", symbol="BTC/USD", req_id=1),
            frames.refusal(f"no {TOKEN}", method="add_order"),
            frames.refusal("no", symbol=TOKEN),
            frames.frame({"channel": "status", "type": "update", "data": [{"system": TOKEN, "more": TOKEN}]}),
            frames.frame({"channel": TOKEN, "type": "update"}),
            frames.frame({"channel": "level3", "type": "update", "data": [{"symbol": TOKEN}]}),
            b'{"not json": "' + TOKEN.encode(),
        ):
            session.receive([frame.replace(TOKEN.encode(), spelling.encode())], frames.START)
    session.add_ledger_row("refused", frames.START, detail=json.dumps({"error": TOKEN}))
    session.end(frames.START + 2 * frames.SECOND, f"closed: {TOKEN}")
    told = everything(session)
    assert "*" * len(TOKEN) in told
    assert "WW91" not in told
    assert all(spelling not in told for spelling in spellings)


def test_a_token_of_the_session_before_is_hidden_too() -> None:
    """It is still valid where the exchange quotes it to the next connection."""
    first = _core.Session(SESSION, channels=["level3"], instrument=False)
    first.set_token(TOKEN)
    session = _core.Session(SESSION, channels=["level3"], instrument=False, after=first)
    session.receive([frames.refusal(f"no {TOKEN}", method="add_order")], frames.START)
    assert "WW91" not in everything(session)
    stranger = _core.Session(SESSION, passive=True)
    stranger.receive([frames.refusal(f"no {TOKEN}", method="add_order")], frames.START)
    assert "WW91" in everything(stranger), "the test looks where it would be seen"


def living(*symbols: str, depth: int = 25) -> tuple[_core.Session, dict[str, frames.Book]]:
    """A session whose books live: twelve levels a side."""
    session = begun(channels=["book", "ticker"], depth=depth)
    session.requests(frames.START)
    books = {symbol: frames.Book(symbol, depth=depth, price_precision=1 + (symbol == "ETH/USD")) for symbol in symbols}
    for symbol, book in books.items():
        book.apply(
            [("bid", f"{100 - n}.0", "1") for n in range(12)] + [("ask", f"{101 + n}.0", "1") for n in range(12)]
        )
        session.receive([frames.ack("book", symbol, depth=depth), book.snapshot()], frames.START)
        assert session.book(symbol) is not None
    session.take_ledger()
    return session, books


def doubts(session: _core.Session) -> list[tuple[str, str | None]]:
    """Kind and symbol of the rows of the ledger about doubt, and of what is asked for again."""
    return [(event["kind"], event["symbol"]) for event in session.take_ledger() if event["kind"] in {"doubt", "resync"}]


def test_a_frame_that_cannot_be_read_throws_doubt_on_the_book_that_it_names() -> None:
    """What it changed below the tenth level no checksum finds: the ledger says doubt, the book is asked for again and
    is right after its next snapshot; other books never notice.
    """
    session, books = living("BTC/USD")
    book = books["BTC/USD"]
    spoiled = book.update([("bid", "89.0", "7")])
    session.receive([spoiled[: len(spoiled) // 2 + 10]], frames.START)
    session.receive([book.update([("bid", "100.0", "3")])], frames.START)
    assert session.counts()["checksums"]["book"] == {"ok": 2, "bad": 0}, "the checksum says nothing of it"
    held = session.book("BTC/USD")
    assert held is not None
    assert ("89.0", "7.00000000") not in held.bids(25)
    assert doubts(session) == [("doubt", "BTC/USD"), ("resync", "BTC/USD")]
    session.receive([spoiled[:80]], frames.START)
    assert doubts(session) == [], "said once"
    (leave,) = map(json.loads, session.requests(frames.START))
    assert (leave["method"], leave["params"]["symbol"]) == ("unsubscribe", ["BTC/USD"])
    session.receive([frames.ack("book", "BTC/USD", method="unsubscribe", depth=25)], frames.START)
    session.requests(frames.START)
    session.receive([frames.ack("book", "BTC/USD", depth=25), book.snapshot()], frames.START)
    held = session.book("BTC/USD")
    assert held is not None
    assert held.bids(25) == book.levels("bid")
    session.receive([spoiled[:80]], frames.START + 1)
    assert doubts(session) == [("doubt", "BTC/USD"), ("resync", "BTC/USD")], "a new life, a new doubt"


def test_a_frame_of_which_nothing_can_be_told_throws_doubt_on_all_books() -> None:
    """One row without a symbol speaks for all; a book that does not live is not doubted."""
    session, _ = living("BTC/USD", "ETH/USD")
    session.receive([b"\xff\x00 nothing"], frames.START)
    rows = [event for event in session.take_ledger() if event["kind"] == "doubt"]
    assert [(row["channel"], row["symbol"], row["count"]) for row in rows] == [(None, None, 2)]
    asked = [symbol for text in session.requests(frames.START) for symbol in json.loads(text)["params"]["symbol"]]
    assert sorted(asked) == ["BTC/USD", "ETH/USD"]
    session.receive([b"again", b'{"channel":"book","type":"update","data":[{"symbol":"NO/NE","bids'], frames.START)
    assert doubts(session) == []
    observer = begun(passive=True)
    observer.receive([b"nothing lives here"], frames.START)
    assert doubts(observer) == []


def test_a_frame_that_was_of_no_book_throws_no_doubt() -> None:
    """Its beginning says so: a channel without books, a heartbeat, an answer."""
    session, _ = living("BTC/USD")
    spoiled = [
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1e', b'{"channel":"heartbeat"',
        b'{"channel":"trade","type":', b'{"method":"subscribe","result":{', b'{"error":"no","met',
    ]  # fmt: skip
    session.receive(spoiled, frames.START)
    assert session.counts()["errors"] == len(spoiled)
    assert doubts(session) == []


def test_maintenance_with_a_null_connection_id_is_recorded() -> None:
    """Null is as if the field were not there: the state of the exchange is a row, and what the session says of it."""
    session = _core.Session("019e0000-0000-7000-8000-000000000000", passive=True)
    data = {"system": "maintenance", "api_version": "v2", "version": "2.0.10", "connection_id": None}
    session.receive([frames.frame({"channel": "status", "type": "update", "data": [data]})], frames.START)
    assert session.system == "maintenance"
    (row,) = pl.DataFrame(pa.record_batch(session.drain()["status"])).to_dicts()
    assert (row["system"], row["connection_id"]) == ("maintenance", None)
    assert session.counts()["errors"] == 0

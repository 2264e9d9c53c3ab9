"""Level 3 in the session: what it asks for and with what token, when its book lives, what the ledger says of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import frames
from krakpot import _core

TOKEN = "a token of the test"  # noqa: S105  # no secret
PAIRS = ("BTC/USD", "ETH/USD", "ADA/EUR")
ID = "OAAAAA-AAAAA-{:06}".format


def public() -> _core.Session:
    """The session that knows the pairs."""
    session = _core.Session("public", channels=["book"])
    session.requests(frames.START)
    session.receive([frames.instrument(*map(frames.pair, PAIRS))], frames.START)
    return session


def learnt(*symbols: str, depth: int = 10, **options: Any) -> _core.Session:
    """A session of level 3 that has learnt pairs, and has no token yet."""
    session = _core.Session("level3", channels=["level3"], instrument=False, level3_depth=depth, **options)
    session.import_pairs(public(), symbols or PAIRS, frames.START)
    return session


def asked(session: _core.Session, now: int, budget: _core.Budget | None = None) -> list[tuple[str, list[str]]]:
    """Method and symbols of the requests of that moment."""
    requests = [json.loads(text) for text in session.requests(now, budget)]
    return [(request["method"], request["params"]["symbol"]) for request in requests]


def live(symbol: str = "BTC/USD", depth: int = 10, **options: Any) -> tuple[_core.Session, frames.Orders]:
    """A session whose one book lives, and its model: two orders a side."""
    session = learnt(symbol, depth=depth, **options)
    session.set_token(TOKEN)
    session.requests(frames.START)
    model = frames.Orders(depth, 1, 8, symbol=symbol)
    model.apply(
        [
            (side, "add", ID(n), f"{price + sign * (n // 2)}.0", f"{n + 1}", frames.START - n * 1000)
            for n, (side, price, sign) in enumerate([("bid", 100, -1)] * 2 + [("ask", 101, 1)] * 2)
        ]
    )
    session.receive([frames.ack("level3", symbol, depth=depth), model.snapshot()], frames.START)
    assert session.orders(symbol) is not None
    return session, model


def kinds(session: _core.Session) -> list[str]:
    """Kinds of the events since the last call."""
    return [event["kind"] for event in session.take_ledger()]


def test_nothing_is_asked_without_a_token_and_then_with_it() -> None:
    """No instrument channel, no level 3 before the token; the request has depth, snapshot and token."""
    session = learnt("BTC/USD", "ADA/EUR", depth=1000)
    assert session.token_needed
    assert session.requests(frames.START) == []
    session.set_token(TOKEN)
    assert not session.token_needed
    (request,) = map(json.loads, session.requests(frames.START))
    parameters = {"channel": "level3", "symbol": ["BTC/USD", "ADA/EUR"], "depth": 1000, "snapshot": True}
    assert request["method"] == "subscribe"
    assert request["params"] == parameters | {"token": TOKEN}
    assert session.subscriptions() == [("level3", "BTC/USD", "requested", ""), ("level3", "ADA/EUR", "requested", "")]


def test_pairs_are_learnt_as_they_change() -> None:
    """Precision, listing and delisting of the public session are as if said here; what is not chosen is not taken; no
    rows of pairs are written twice.
    """
    source = public()
    session = _core.Session("l", channels=["level3"], instrument=False, symbols=["*/USD"])
    session.import_pairs(source, PAIRS, frames.START)
    assert [pair["symbol"] for pair in session.pairs() if pair["selected"]] == ["BTC/USD", "ETH/USD"]
    source.receive([frames.instrument(frames.pair("NEW/USD", price_precision=5), kind="update")], frames.START + 1)
    source.receive([frames.instrument(frames.pair("ETH/USD", status="delisted"), kind="update")], frames.START + 2)
    session.import_pairs(source, ["NEW/USD", "ETH/USD", "NOT/KNOWN"], frames.START + 3)
    assert {(symbol, state) for _, symbol, state, _ in session.subscriptions()} == {
        ("BTC/USD", "pending"),
        ("NEW/USD", "pending"),
        ("ETH/USD", "removed"),
    }
    assert "pairs" not in session.drain()


def test_subscriptions_keep_to_the_budget_of_the_account() -> None:
    """200 units a second over all sessions: two symbols of depth 1000; never more in any second."""
    budget = _core.Budget()
    sessions = [learnt(*PAIRS, depth=1000), learnt(*PAIRS, depth=1000)]
    for session in sessions:
        session.set_token(TOKEN)
    spent: list[tuple[int, int]] = []
    for step in range(60):
        now = frames.START + step * frames.SECOND // 10
        spent += [(now, 100 * len(symbols)) for one in sessions for _, symbols in asked(one, now, budget)]
    assert sum(cost for _, cost in spent) == 600
    assert spent[-1][0] <= frames.START + 3 * frames.SECOND
    for now, _ in spent:
        assert sum(cost for at, cost in spent if now <= at < now + frames.SECOND) <= 200


def test_resyncs_get_a_tenth_and_keep_no_other_from_being_subscribed() -> None:
    """Books that are asked for again take at most a tenth of what is granted over ten seconds; a new one is
    subscribed at once.
    """
    session, model = live(depth=1000)
    budget = _core.Budget()
    now, again = frames.START, 0
    for _ in range(30):
        now += frames.SECOND
        session.receive([model.update([], crc=1)], now)
        for method, _ in asked(session, now, budget):
            again += method == "subscribe"
            if method == "unsubscribe":
                session.receive([frames.ack("level3", "BTC/USD", method=method)], now)
            else:
                session.receive([frames.ack("level3", "BTC/USD", depth=1000), model.snapshot()], now)
    assert 1 <= again <= 6, "200 units a second for 30 s, a tenth of it, 100 each"
    other = learnt("ETH/USD", depth=1000)
    other.set_token(TOKEN)
    assert asked(other, now, budget) == [("subscribe", ["ETH/USD"])]


@pytest.mark.parametrize("error", ["ESession:Invalid session", "Token(s) not found"])
def test_a_refused_token_is_wanted_anew(error: str) -> None:
    """The refusal is told, a new token is wanted, and the symbol asked for again with it, a moment later."""
    session = learnt("BTC/USD", "ETH/USD")
    session.set_token(TOKEN)
    (first,) = map(json.loads, session.requests(frames.START))
    for symbol in ("BTC/USD", "ETH/USD"):
        session.receive([frames.refusal(error, symbol=symbol, req_id=first["req_id"])], frames.START)
    assert session.token_needed
    assert kinds(session) == ["refused", "refused"]
    assert asked(session, frames.START + 10 * frames.SECOND) == []
    session.set_token("new")
    assert not session.token_needed
    again = [json.loads(text)["params"] for text in session.requests(frames.START + 10 * frames.SECOND)]
    assert [(one["symbol"], one["token"]) for one in again] == [(["BTC/USD", "ETH/USD"], "new")]


def test_a_late_refusal_of_an_old_token_does_not_take_the_new_one() -> None:
    """Answers to requests that were sent with the token before say nothing of the one in force."""
    session = learnt("BTC/USD")
    session.set_token(TOKEN)
    (first,) = map(json.loads, session.requests(frames.START))
    session.set_token("new")
    session.receive(
        [frames.refusal("ESession:Invalid session", symbol="BTC/USD", req_id=first["req_id"])], frames.START
    )
    assert not session.token_needed


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("EGeneral:Permission denied", "rejected"),
        ("EGeneral:Rate limit exceeded", "pending"),
        ("Exceeded msg rate", "pending"),
        ("EService:Unavailable", "pending"),
        ("EGeneral:Internal error", "pending"),
    ],
)
def test_other_refusals(error: str, state: str) -> None:
    """A permission that lacks is final; too many requests, or an exchange in trouble, are asked again. None is the
    token's fault.
    """
    session = learnt("BTC/USD")
    session.set_token(TOKEN)
    (first,) = map(json.loads, session.requests(frames.START))
    session.receive([frames.refusal(error, symbol="BTC/USD", req_id=first["req_id"])], frames.START)
    assert [one[:3] for one in session.subscriptions()] == [("level3", "BTC/USD", state)]
    assert not session.token_needed


def test_the_token_stands_in_no_row_and_no_event() -> None:
    """Whatever the session hands out but requests: rows of every table, events, counts, its text."""
    session, _ = live(frames=True)
    session.receive([frames.refusal("ESession:Invalid session", symbol="BTC/USD", req_id=1)], frames.START)
    session.end(frames.START, "over")
    told = [repr(session), str(session.counts()), str(session.take_ledger()), str(session.subscriptions())]
    told += [str(pa.record_batch(batch).to_pylist()) for batch in session.drain().values()]
    assert not [text for text in told if TOKEN in text]


def test_a_wrong_checksum_ends_one_book_and_it_is_asked_for_again() -> None:
    """Mismatch, resync, unsubscribe with the token; the ack; subscribe; the snapshot lives."""
    session, model = live()
    session.receive([model.update([], crc=1)], frames.START + 1)
    assert session.orders("BTC/USD") is None
    wrong = session.last_mismatch("BTC/USD", "level3")
    assert wrong is not None
    assert (wrong[0], session.last_mismatch("BTC/USD")) == (1, None)
    assert kinds(session)[-2:] == ["mismatch", "resync"]
    (leave,) = map(json.loads, session.requests(frames.START + 2))
    assert leave["params"] == {"channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": TOKEN}
    session.receive([frames.ack("level3", "BTC/USD", method="unsubscribe")], frames.START + 3)
    assert asked(session, frames.START + 4) == [("subscribe", ["BTC/USD"])]
    session.receive([model.snapshot()], frames.START + 5)
    assert session.counts()["checksums"]["level3"] == {"ok": 2, "bad": 1}
    assert session.subscriptions() == [("level3", "BTC/USD", "active", "")]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (("bid", "modify", ID(99), "90.0", "1", 1), "unknown order"),
        (("bid", "delete", ID(99), "90.0", "1", 1), "unknown order"),
        (("bid", "add", ID(0), "90.0", "1", 1), "order added twice"),
    ],
)
def test_what_hints_at_a_lost_message_is_told_and_repaired_once(event: Any, reason: str) -> None:
    """An order that is not held, or held already, with a right checksum: counted, one row, one resync; the book, which
    the checksum proves, lives on until it is left.
    """
    session, model = live()
    session.take_ledger()
    for n in range(3):
        session.receive([model.update([event], ts=frames.START + n)], frames.START + n)
    told = session.take_ledger()
    assert [one["kind"] for one in told] == ["doubt", "resync"]
    assert {json.loads(one["detail"])["reason"] for one in told} == {reason}
    counts = session.counts()
    assert (counts["unknown_entries"], counts["replaced"]) == ((0, 3) if "twice" in reason else (3, 0))
    assert counts["checksums"]["level3"] == {"ok": 4, "bad": 0}
    assert session.orders("BTC/USD") is not None
    assert asked(session, frames.START + 4) == [("unsubscribe", ["BTC/USD"])]


def test_the_rule_that_a_checksum_verifies_is_told_once() -> None:
    """A `modify` with a new time: which rule is right shows in the checksum; the ledger says so, once and when it
    changes.
    """
    session = learnt("BTC/USD")
    session.set_token(TOKEN)
    session.requests(frames.START)
    model = frames.Orders(10, 1, 8, rule="take_timestamp")
    model.apply([("bid", "add", ID(n), "100.0", f"{n + 1}", frames.START + n * 1000) for n in range(3)])
    session.receive([model.snapshot()], frames.START)
    session.take_ledger()
    for n in range(3):
        event = ("bid", "modify", ID(n), "100.0", f"{n + 5}", frames.START + (n + 10) * 1000)
        session.receive([model.update([event])], frames.START + n)
    (told,) = session.take_ledger()
    assert (told["kind"], told["channel"], told["symbol"]) == ("modify_rule", "level3", "BTC/USD")
    assert json.loads(told["detail"]) == {"verified": "take_timestamp"}
    assert session.counts()["checksums"]["level3"] == {"ok": 4, "bad": 0}
    book = session.orders("BTC/USD")
    assert book is not None
    assert book.modify == "take_timestamp"
    assert [order_id for order_id, _, _ in book.queue("bid", "100.0")] == [ID(0), ID(1), ID(2)]


def test_a_checkpoint_begins_the_book_that_verify_goes_on_with() -> None:
    """The rows behind an hour's checkpoint prove themselves with it alone: the queues and the rule stand in it."""
    session, model = live()
    hour = (frames.START // frames.HOUR + 1) * frames.HOUR
    session.drain()
    session.tick(hour)
    for n in range(4):
        event = ("bid", "modify", ID(n % 2), "100.0", f"0.{n + 1}", frames.START)
        session.receive([model.update([event], ts=hour + n)], hour + n)
    tables = {name: pl.DataFrame(pa.record_batch(batch)) for name, batch in session.drain().items()}
    assert tables["orders_checkpoints"].height == 4
    verifier = _core.Verifier("level3", channel="level3")
    verifier.checkpoints(tables["orders_checkpoints"])
    verifier.messages(tables["orders"])
    (found,) = verifier.finish()
    assert (found["ok"], found["bad"], found["unchecked"], found["checkpoints_ok"]) == (4, 0, 0, 1)
    wrong = tables["orders_checkpoints"].with_columns(ts_order=pl.col("ts_order").reverse())
    verifier = _core.Verifier("level3", channel="level3")
    verifier.messages(tables["orders"].head(0))
    verifier.checkpoints(wrong)
    verifier.checkpoints(tables["orders_checkpoints"])
    (found,) = verifier.finish()
    assert found["checkpoints_bad"] == 1


def test_level3_of_a_symbol_that_was_not_asked_for_is_an_error() -> None:
    """Counted, told, and without rows."""
    session = learnt("BTC/USD")
    model = frames.Orders(10, 1, 8, symbol="ETH/USD")
    session.receive([model.snapshot()], frames.START)
    assert (session.counts()["errors"], kinds(session)) == (1, ["decode_error"])
    assert "orders" not in session.drain()


def test_ids_of_another_shape_are_kept_and_too_long_ones_refused() -> None:
    """Up to 64 bytes exactly; beyond, the message is refused and the others go on."""
    session, model = live()
    long = "x" * _core.LIMITS["ORDER_ID_LENGTH_MAX"]
    session.receive([model.update([("bid", "add", long, "99.5", "1", 5_000)])], frames.START)
    session.receive([frames.level3("update", "BTC/USD", [("bid", "add", long + "x", "99.5", "1", 5_000)], 1)], 1)
    counts = session.counts()
    assert (counts["checksums"]["level3"], counts["errors"]) == ({"ok": 2, "bad": 0}, 1)
    assert pl.DataFrame(pa.record_batch(session.drain()["orders"]))["order_id"].to_list()[-1] == long


@pytest.mark.parametrize("form", ["wire", "strings"])
def test_the_documented_snapshot_is_proved(form: str) -> None:
    """Kraken's own example, with numbers and with strings: 1063832831; precision and depth by its digits."""
    if "KRAKPOT_DATA" not in os.environ:
        pytest.skip("KRAKPOT_DATA does not name a folder of recorded frames")
    path = Path(os.environ["KRAKPOT_DATA"]) / "examples" / f"l3_snapshot_worked_example_{form}.json"
    frame = json.loads(path.read_text(), parse_float=frames.Number, parse_int=frames.Number)
    session = _core.Session("s", passive=True)
    session.receive([frames.frame(frame)], frames.START)
    assert session.counts()["checksums"]["level3"] == {"ok": 1, "bad": 0}
    orders = pl.DataFrame(pa.record_batch(session.drain()["orders"]))
    assert orders["checksum"].unique().to_list() == [1063832831]
    assert orders.group_by("side").len().sort("side").rows() == [("ask", 14), ("bid", 21)]


def test_a_frozen_level_3_is_found_by_the_book() -> None:
    """The book's best bid is another one for ten seconds, level 3 is silent: told, asked for again. Not so while it
    speaks, while its whole connection is silent, or while both agree.
    """

    def pair() -> tuple[_core.Session, frames.Orders, _core.Session, frames.Book]:
        session, model = live()
        witness = public()
        witness.requests(frames.START)
        book = frames.Book("BTC/USD")
        witness.receive([frames.ack("book", "BTC/USD")], frames.START)
        witness.receive([book.snapshot([("100.0", "1")], [("101.0", "1")])], frames.START)
        session.take_ledger()
        return session, model, witness, book

    def run(*, beats: bool, speaks: bool, moves: bool) -> list[str]:
        session, model, witness, book = pair()
        for n in range(1, 20):
            now = frames.START + n * frames.SECOND
            witness.receive([book.update([("bid", "100.5", str(n))])] if moves else [frames.HEARTBEAT], now)
            session.receive([*([frames.HEARTBEAT] if beats else []), *([model.update([])] if speaks else [])], now)
            session.tick(now)
            session.cross_check(witness, now)
        return [event["kind"] for event in session.take_ledger()]

    assert run(beats=True, speaks=False, moves=True) == ["stale", "gap", "resync"]
    assert run(beats=True, speaks=True, moves=True) == []
    assert run(beats=False, speaks=False, moves=True) == []
    assert run(beats=True, speaks=False, moves=False) == []
    session, _, _, _ = pair()
    with pytest.raises(ValueError, match="a session is no witness of itself"):
        session.cross_check(session, frames.START)


def test_events_and_reads_of_level3_need_no_copy() -> None:
    """Each order of a message with its event; the queue of a price and the place of an order, as the copy has them."""
    session, model = live()
    events = _core.Events(["level3"])
    change = ("bid", "add", ID(50), "100.0", "9", frames.START)
    (event,) = events.receive(session, [model.update([change])], frames.START + 1)
    assert isinstance(event, _core.Level3Event)
    assert (event.channel, event.symbol, event.kind, event.outcome) == ("level3", "BTC/USD", "update", "ok")
    assert event.orders("int") == [("bid", "add", ID(50), 1000, 900_000_000, frames.START)]
    copy = session.orders("BTC/USD")
    assert copy is not None
    assert session.in_sync("BTC/USD", "level3")
    queue = session.order_queue("BTC/USD", "bid", "100.0")
    assert queue is not None
    assert [(one, str(qty), ts) for one, qty, ts in queue] == copy.queue("bid", "100.0")
    levels = session.order_levels("BTC/USD", "bid", 1)
    assert levels is not None
    assert [(str(price), str(qty), orders) for price, qty, orders in levels] == copy.bids(1)
    best = session.order_best("BTC/USD")
    assert best is not None
    assert best[:2] == levels[0][:2]
    found, held = session.order("BTC/USD", ID(50)), copy.order(ID(50))
    assert found is not None
    assert held is not None
    assert (found["orders_ahead"], str(found["qty_ahead"])) == (held["orders_ahead"], held["qty_ahead"])
    assert session.order("BTC/USD", ID(99)) is None
    with pytest.raises(ValueError, match="a price is a Decimal or text"):
        session.order_queue("BTC/USD", "bid", 100.0)  # type: ignore[arg-type]  # a float is the mistake


@pytest.mark.parametrize("odd", [{"price_precision": "many"}, {"symbol": 5}], ids=["named", "unnamed"])
def test_a_pair_that_cannot_be_read_is_not_delisted(odd: dict[str, Any]) -> None:
    """After a reconnect of the public session one item of the instrument snapshot is odd: its pair is known to exist,
    or may be the odd one. Level 3 goes on, the ledger names the item, and a pair that is really missing is delisted
    later.
    """
    session, _ = live()
    before = public()
    before.end(frames.START, "cut")
    source = _core.Session("again", channels=["book"], after=before)
    source.requests(frames.START)
    source.receive([frames.instrument(frames.pair("ETH/USD"), frames.pair("BTC/USD") | odd)], frames.START)
    told = [(row["kind"], row["symbol"]) for row in source.take_ledger()]
    assert any(kind == "decode_error" for kind, _ in told)
    assert ("delisted", "BTC/USD") not in told
    session.import_pairs(source, ["BTC/USD"], frames.START)
    assert session.subscriptions() == [("level3", "BTC/USD", "active", "")]
    assert session.orders("BTC/USD") is not None
    source.receive([frames.instrument(frames.pair("ETH/USD"))], frames.START)
    session.import_pairs(source, ["BTC/USD"], frames.START)
    assert [state for _, _, state, _ in session.subscriptions()] == ["removed"]
    assert ("delisted", "BTC/USD") in [(row["kind"], row["symbol"]) for row in source.take_ledger()]

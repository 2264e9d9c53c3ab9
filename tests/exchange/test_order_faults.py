"""Faults of orders: a client that adds, amends and cancels under each of them, and what REST tells it afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import frames
from exchange.test_account import Client
from krakpot.exchange.frames import unframe

SECOND = 10**9
TERMS = {"symbol": "BTC/USD", "side": "buy", "order_type": "limit", "order_qty": 0.5, "limit_price": 1000}
METHODS = ("add_order", "amend_order", "cancel_order")
DONE = {"add_order": ("open", "0.50000000"), "amend_order": ("open", "0.25000000"), "cancel_order": ("canceled", "0.5")}
"""State and quantity of the order when a request was done."""


class Trader(Client):
    """A client of the private endpoint too: it hears what became of its orders."""

    def __init__(self, *account: str, rate: float = 1e-6) -> None:
        super().__init__(*account, rate=rate)
        self.exchange.allow("token", 1 << 62)
        self.asked = 0
        self.connect()

    def connect(self) -> list[dict[str, Any]]:
        """Follow the account on a new connection; returns the snapshot of its orders and fills."""
        self.socket = self.exchange.connect("private")
        heard = self.send("subscribe", channel="executions", snap_trades=True)
        return next(message["data"] for message in heard if message.get("channel") == "executions")

    def send(self, method: str, **params: object) -> list[dict[str, Any]]:
        """Ask for something; returns what comes at once."""
        self.asked += 1
        request = {"method": method, "params": {**params, "token": "token"}, "req_id": self.asked}
        self.exchange.receive(self.socket, json.dumps(request).encode())
        return self.hear()

    def hear(self) -> list[dict[str, Any]]:
        """Answers and messages of the account, in order."""
        heard = map(json.loads, unframe(self.exchange.take(self.socket)))
        return [one for one in heard if "method" in one or one["channel"] == "executions"]

    def change(self, method: str) -> list[dict[str, Any]]:
        """Add the order of this name, halve it, or cancel it."""
        params: dict[str, dict[str, object]] = {
            "add_order": {**TERMS, "cl_ord_id": "kp-1"},
            "amend_order": {"cl_ord_id": "kp-1", "order_qty": 0.25},
            "cancel_order": {"cl_ord_id": ["kp-1"]},
        }
        return self.send(method, **params[method])

    def is_done(self, method: str) -> bool:
        """Whether the order is what a request wants it to be."""
        orders = json.loads(self.exchange.account("orders", self.exchange.now))
        states = [(order["status"], Decimal(order["qty"])) for order in orders]
        state, qty = DONE[method]
        return states == [(state, Decimal(qty))]


def prepared(method: str) -> Trader:
    """A trader whose next request is this one."""
    trader = Trader()
    if method != "add_order":
        trader.change("add_order")
    return trader


def split(heard: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Answers, and messages of the account."""
    return [one for one in heard if "method" in one], [one for one in heard if "method" not in one]


KIND = {"add_order": ["pending_new", "new"], "amend_order": ["amended"], "cancel_order": ["canceled"]}


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """Kinds of the reports in messages."""
    return [row["exec_type"] for message in messages for row in message["data"]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", ["late_ack,by=2s", "lost_ack"])
def test_an_answer_that_is_late_or_lost(method: str, fault: str) -> None:
    """The request is done and reported at once; the answer comes after its time, and once, or never."""
    trader = prepared(method)
    trader.exchange.inject(f"{fault},method={method}")
    answers, messages = split(trader.change(method))
    assert answers == []
    assert kinds(messages) == KIND[method]
    assert trader.is_done(method)
    trader.wait(1.9)
    assert trader.hear() == []
    trader.wait(0.2)
    late = trader.hear()
    assert [(one["req_id"], one["success"]) for one in late] == ([(trader.asked, True)] if "late" in fault else [])
    trader.wait(60)
    assert trader.hear() == []


@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_is_lost(method: str) -> None:
    """Nothing is done and nothing is heard; the same request works later."""
    trader = prepared(method)
    trader.exchange.inject("lost_request=once")
    assert trader.change(method) == []
    trader.wait(60)
    assert trader.hear() == []
    assert not trader.is_done(method)
    assert split(trader.change(method))[0][0]["success"]
    assert trader.is_done(method)


@pytest.mark.parametrize("method", METHODS)
def test_reports_before_the_answer(method: str) -> None:
    """All reports of the request, then its answer; without the fault the answer is first."""
    for fault, first in (("report_before_ack=once", False), ("drop,channel=heartbeat", True)):
        trader = prepared(method)
        trader.exchange.inject(fault)
        heard = trader.change(method)
        assert ["method" in one for one in heard].index(True) == (0 if first else len(heard) - 1)
        assert kinds(split(heard)[1]) == KIND[method]


@pytest.mark.parametrize("method", METHODS)
def test_reports_that_come_twice(method: str) -> None:
    """The same row under the next number, without a gap; nothing is done twice."""
    trader = prepared(method)
    trader.exchange.inject("duplicate_report,channel=executions")
    answers, messages = split(trader.change(method))
    assert len(answers) == 1
    assert kinds(messages) == [kind for kind in KIND[method] for _ in range(2)]
    numbers = [message["sequence"] for message in messages]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [message["data"] for message in messages[::2]] == [message["data"] for message in messages[1::2]]
    assert trader.is_done(method)


@pytest.mark.parametrize("method", METHODS)
def test_a_gap_in_the_sequence(method: str) -> None:
    """A number is left out before a message; the next connection begins at 1 again, without a gap."""
    trader = prepared(method)
    before = {"add_order": 1, "amend_order": 3, "cancel_order": 3}[method]
    trader.exchange.inject("sequence_gap=once,channel=executions")
    numbers = [message["sequence"] for message in split(trader.change(method))[1]]
    assert numbers == [before + 2 + at for at in range(len(KIND[method]))]
    assert trader.is_done(method)
    snapshot = trader.connect()
    assert [row["cl_ord_id"] for row in snapshot] == ([] if method == "cancel_order" else ["kp-1"])


@pytest.mark.parametrize("method", METHODS)
def test_a_token_that_is_refused(method: str) -> None:
    """The request is refused in Kraken's words, and nothing is done; a subscription has other words."""
    trader = prepared(method)
    trader.exchange.inject(f"token_refused=once,method={method}")
    (answer,) = trader.change(method)
    assert (answer["success"], answer["error"]) == (False, "Token(s) not found")
    assert not trader.is_done(method)
    trader.exchange.inject("token_refused=once,method=subscribe")
    (refused,) = trader.send("subscribe", channel="balances")
    assert refused["error"] == "ESession:Invalid session"


@pytest.mark.parametrize("method", METHODS)
def test_a_cut_after_a_request_was_done(method: str) -> None:
    """Neither answer nor report leaves; the caller is told to cut; the next connection's snapshot has the truth."""
    trader = prepared(method)
    trader.exchange.inject("cut_answer=once")
    assert trader.change(method) == []
    told = [(one["name"], one["connection"]) for one in trader.exchange.take_faults()]
    assert told == [("cut_answer", trader.socket)]
    assert trader.is_done(method)
    trader.wait(5)
    assert trader.hear() == [], "not even a heartbeat"
    assert len(trader.connect()) == (0 if method == "cancel_order" else 1)


@pytest.mark.parametrize("method", METHODS)
def test_rest_is_late_by_as_much_as_is_wanted(method: str) -> None:
    """It shows the state of two seconds ago, by each way of asking; what is done by REST is done at once."""
    trader = prepared(method)
    trader.exchange.inject("rest_lag,by=2s")
    trader.wait(10)
    before = trader.result("OpenOrders")["open"]
    assert len(before) == (0 if method == "add_order" else 1)
    trader.change(method)
    trader.wait(1.9)
    assert trader.result("OpenOrders")["open"] == before
    assert trader.result("ClosedOrders", cl_ord_id="kp-1")["closed"] == {}
    trader.wait(0.2)
    open_now = trader.result("OpenOrders", cl_ord_id="kp-1")["open"]
    closed = trader.result("ClosedOrders", cl_ord_id="kp-1")["closed"]
    ((txid, order),) = {**open_now, **closed}.items()
    state, qty = DONE[method]
    assert (order["status"], Decimal(order["vol"])) == (state, Decimal(qty))
    assert trader.result("QueryOrders", txid=txid) == {txid: order}
    assert trader.ask("QueryOrders", cl_ord_id="kp-1")["error"] == ["EGeneral:Invalid arguments"], "it needs ids"
    assert trader.result("CancelAll") == {"count": len(open_now)}


def test_signed_requests_that_fail_leave_the_private_endpoint_alone() -> None:
    """A nonce, a lockout, a busy exchange: orders still go by WebSocket."""
    trader = Trader()
    for fault, error in (
        ("nonce=once,method=OpenOrders", "EAPI:Invalid nonce"),
        ("rest_busy=once", "EService:Busy"),
        ("rest_busy=once,by=EService:Unavailable", "EService:Unavailable"),
        ("lockout=once,by=5s", "EGeneral:Temporary lockout"),
    ):
        trader.exchange.inject(fault)
        assert trader.ask("OpenOrders") == {"error": [error]}
    assert trader.change("add_order")[0]["success"]
    assert trader.ask("OpenOrders") == {"error": ["EGeneral:Temporary lockout"]}
    trader.wait(5.1)
    assert len(trader.result("OpenOrders")["open"]) == 1


def test_a_fault_of_one_symbol_finds_amendments_and_cancels() -> None:
    """They name an order, and the order has a pair."""
    trader = prepared("amend_order")
    trader.exchange.inject("lost_ack,symbol=ETH/*")
    assert len(split(trader.change("amend_order"))[0]) == 1
    trader.exchange.clear_faults()
    trader.exchange.inject("lost_ack,symbol=BTC/USD")
    assert split(trader.change("cancel_order"))[0] == []
    assert json.loads(trader.exchange.account("open", trader.exchange.now)) == []


@pytest.mark.parametrize("skew", [0, 10, -10])
@pytest.mark.parametrize("lag", [0, 2])
def test_rest_tells_all_that_a_reconciliation_needs(skew: int, lag: int) -> None:
    """Fills by order and by time, entries that explain balances: also where the clock is off, and REST is late."""
    trader = Trader("balance.USD=5000")
    for fault in ([f"skew,by={skew}s"] if skew else []) + ([f"rest_lag,by={lag}s"] if lag else []):
        trader.exchange.inject(fault)
    trader.wait(5)
    heard = trader.send("add_order", **{**TERMS, "order_type": "market", "order_qty": 0.02, "cl_ord_id": "kp-2"})
    assert split(heard)[0][0]["error"] == "EGeneral:Invalid arguments:price", "a market order has none"
    terms = {name: value for name, value in TERMS.items() if name != "limit_price"}
    heard = trader.send("add_order", **{**terms, "order_type": "market", "order_qty": 0.02, "cl_ord_id": "kp-2"})
    fills = [row for one in split(heard)[1] for row in one["data"] if row["exec_type"] == "trade"]
    assert fills
    if lag:
        assert trader.result("TradesHistory")["trades"] == {}
        assert trader.result("Balance")["ZUSD"] == "5000.0000"
        trader.wait(lag)
    ((txid, order),) = trader.result("ClosedOrders", cl_ord_id="kp-2", trades="true")["closed"].items()
    clock = frames.START / 1e9 + 5 + skew
    assert order["opentm"] == order["closetm"] == clock
    assert order["trades"] == [fill["exec_id"] for fill in fills]
    history = trader.result("TradesHistory", start=f"{clock - 1:.4f}", without_count="true")
    assert "count" not in history
    assert sorted(history["trades"]) == sorted(order["trades"])
    assert {row["ordertxid"] for row in history["trades"].values()} == {txid}
    assert {(row["trade_id"], Decimal(row["vol"])) for row in history["trades"].values()} == {
        (fill["trade_id"], Decimal(str(fill["last_qty"]))) for fill in fills
    }
    ledger = trader.result("Ledgers", asset="ZUSD", type="trade")["ledger"]
    assert {row["refid"] for row in ledger.values()} == set(order["trades"])
    assert trader.result("Ledgers", type="deposit") == {"ledger": {}, "count": 0}
    one = next(iter(ledger))
    assert trader.result("QueryLedgers", id=one) == {one: ledger[one]}
    spent = sum((Decimal(row["amount"]) - Decimal(row["fee"]) for row in ledger.values()), Decimal(0))
    assert Decimal(trader.result("Balance")["ZUSD"]) == 5000 + spent


def test_a_clock_that_is_off_judges_deadlines() -> None:
    """Acks, pongs and REST tell the time of that clock; what is sent with the true time is over before it comes."""
    trader = Trader()

    def deadline(ms: int) -> str:
        now = datetime.fromtimestamp(trader.exchange.now / 1e9, UTC)
        return (now + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def answer(ms: int) -> str | None:
        (made,) = split(trader.send("add_order", **TERMS, deadline=deadline(ms)))[0]
        return made.get("error")

    assert [answer(ms) for ms in (-1, 499, 500, 60_000, 60_001)] == [
        "EService:Deadline elapsed",
        "EGeneral:Invalid arguments:deadline",
        None,
        None,
        "EGeneral:Invalid arguments:deadline",
    ]
    assert trader.buy("0.1", "1000.0", deadline=deadline(1999))["error"] == ["EGeneral:Invalid arguments:deadline"]
    assert trader.buy("0.1", "1000.0", deadline=deadline(2000))["error"] == []
    trader.exchange.inject("skew,by=6s")
    trader.wait(1)
    assert answer(5000) == "EService:Deadline elapsed"
    assert answer(11_000) is None
    true = datetime.fromtimestamp(trader.exchange.now / 1e9, UTC)
    ack = trader.send("cancel_all")[0]
    assert datetime.fromisoformat(ack["time_in"]) - true == timedelta(seconds=6)
    told = trader.rest.answer("GET", "/0/public/Time", {}, b"")["result"]["unixtime"]
    assert told == int(true.timestamp()) + 6


def test_a_maintenance_is_announced_phase_by_phase() -> None:
    """On the status channel, to new connections and by REST; then it begins."""
    trader = Trader()
    client = trader.exchange.connect("private")
    trader.exchange.take(client)
    for fault in ("status,by=31m", "maintenance,after=31m,by=1m"):
        trader.exchange.inject(fault)
    phases: list[tuple[str, int]] = []
    systems = []
    for _ in range(34 * 60):
        trader.wait(1)
        for text in map(json.loads, unframe(trader.exchange.take(client))):
            if text.get("channel") == "status":
                systems.append(text["data"][0]["system"])
                phases += [(one["phase"], one["time_to_start_s"]) for one in text["data"][0]["upcoming_maintenance"]]
        state = trader.rest.answer("GET", "/0/public/SystemStatus", {}, b"")["result"]
        listed = state.get("upcoming_maintenance", [])
        assert [one["phase"] for one in listed] == ([phases[-1][0]] if systems == ["online"] * len(systems) else [])
    assert phases == [
        ("reminder_24h", 31 * 60),
        ("approaching_30m", 30 * 60),
        ("imminent_5m", 5 * 60),
        ("final_warning_30s", 30),
    ]
    assert systems == ["online"] * 4 + ["maintenance", "online"]


def test_the_times_of_an_announcement() -> None:
    """Orders should be cancelled five minutes before the begin; it lasts an hour."""
    trader = Trader()
    trader.exchange.inject("status=once,by=20m")
    trader.wait(1)
    (told,) = json.loads(trader.exchange.upcoming_maintenance)
    begin = datetime.fromisoformat(told["expected_start_utc"])
    assert begin == datetime.fromtimestamp(frames.START / 1e9, UTC) + timedelta(minutes=20)
    assert begin - datetime.fromisoformat(told["cancel_before_utc"]) == timedelta(minutes=5)
    assert datetime.fromisoformat(told["expected_end_utc"]) - begin == timedelta(hours=1)
    assert (told["order_submission"], told["phase"]) == ("allowed", "approaching_30m")

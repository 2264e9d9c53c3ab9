"""REST about the account: what was signed for, against what the exchange says elsewhere; without sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
from decimal import ROUND_UP, Decimal
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.exchange.rest import Key, Rest

SECRET = base64.b64encode(b"secret").decode()


class Client:
    """Signs requests to an exchange that stands still between them."""

    def __init__(self, *account: str, rate: float = 1e-6) -> None:
        self.exchange = _core.Exchange(pairs=2, rate=rate, start=frames.START, account=list(account))
        self.rest = Rest(Key.read("name", SECRET), lambda: self.exchange.now, self.exchange.allow, self.exchange)
        self.nonce = 0

    def ask(self, method: str, **facts: object) -> dict[str, Any]:
        """Return an answer."""
        self.nonce += 1
        body = urllib.parse.urlencode({"nonce": self.nonce, **facts}).encode()
        path = f"/0/private/{method}"
        inner = hashlib.sha256(f"{self.nonce}{body.decode()}".encode()).digest()
        sign = base64.b64encode(hmac.new(b"secret", path.encode() + inner, hashlib.sha512).digest()).decode()
        return self.rest.answer("POST", path, {"api-key": "name", "api-sign": sign}, body)

    def result(self, method: str, **facts: object) -> Any:
        """Return the result of a request that is not refused."""
        answer = self.ask(method, **facts)
        assert answer["error"] == [], answer
        return answer["result"]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.exchange.advance(self.exchange.now + round(seconds * 1e9))

    def buy(self, volume: str, price: str, **facts: object) -> dict[str, Any]:
        """Make an order."""
        return self.ask("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume=volume, price=price, **facts)


def test_the_life_of_an_order() -> None:
    """It is open with its terms, holds its value, is amended, cancelled, and closed with its reason."""
    client = Client()
    made = client.buy("0.5", "1000.0", cl_ord_id="kp-1", oflags="post")
    assert made["result"]["descr"] == {"order": "buy 0.50000000 XBTUSD @ limit 1000.0"}
    (txid,) = made["result"]["txid"]
    (order,) = client.result("OpenOrders")["open"].values()
    assert (order["status"], order["vol"], order["vol_exec"], order["cl_ord_id"]) == (
        "open",
        "0.50000000",
        "0.00000000",
        "kp-1",
    )
    assert order["descr"]["order"] == "buy 0.50000000 XBTUSD @ limit 1000.0"
    assert order["oflags"] == "fciq,post"
    assert order["opentm"] == frames.START / 1e9
    assert client.result("BalanceEx")["ZUSD"] == {"balance": "100000.0000", "hold_trade": "502.0000"}
    amended = client.result("AmendOrder", cl_ord_id="kp-1", order_qty="0.25", limit_price="1001.0")
    amends = client.result("OrderAmends", order_id=txid)
    assert [(row["amend_type"], row["order_qty"], row["limit_price"]) for row in amends["amends"]] == [
        ("original", "0.50000000", "1000.0"),
        ("user", "0.25000000", "1001.0"),
    ]
    assert amends["amends"][1]["amend_id"] == amended["amend_id"]
    client.wait(1)
    assert client.result("CancelOrder", txid=txid) == {"count": 1}
    assert client.ask("CancelOrder", txid=txid) == {"error": ["EOrder:Unknown order"]}
    closed = client.result("ClosedOrders")
    assert closed["count"] == 1
    assert (closed["closed"][txid]["status"], closed["closed"][txid]["reason"]) == ("canceled", "User requested")
    assert closed["closed"][txid]["closetm"] == frames.START / 1e9 + 1
    assert client.result("QueryOrders", txid=txid) == {txid: closed["closed"][txid]}
    assert client.result("OpenOrders") == {"open": {}}
    assert client.result("Balance")["XXBT"] == "10.0000000000"


def test_fills_explain_the_balance() -> None:
    """A market order's trades add up to its cost and fee, and the entries lead to the balance, to the last digit."""
    client = Client("balance.USD=5000", "taker=0.26")
    made = client.result("AddOrder", pair="XXBTZUSD", type="buy", ordertype="market", volume="0.02")
    txid = made["txid"][0]
    order = client.result("QueryOrders", txid=txid, trades="true")[txid]
    assert (order["status"], order["vol_exec"], order["reason"]) == ("closed", "0.02000000", None)
    history = client.result("TradesHistory")
    assert list(history["trades"]) == order["trades"][::-1]
    trades = history["trades"].values()
    assert history["count"] == len(trades) > 0
    assert all(trade["ordertxid"] == txid and not trade["maker"] for trade in trades)
    for name, of in (("vol", "vol_exec"), ("cost", "cost"), ("fee", "fee")):
        assert sum(Decimal(trade[name]) for trade in trades) == Decimal(order[of]), name
    for trade in trades:
        exact = Decimal(trade["price"]) * Decimal(trade["vol"]) * Decimal("0.0026")
        assert 0 <= Decimal(trade["fee"]) - exact < Decimal("0.0001"), "rounded up"
    client.wait(60)
    entries = client.result("Ledgers")["ledger"].values()
    spent = sum((Decimal(row["amount"]) - Decimal(row["fee"]) for row in entries if row["asset"] == "ZUSD"), Decimal(0))
    assert Decimal(client.result("Balance")["ZUSD"]) == 5000 + spent
    one = order["trades"][0]
    assert client.result("QueryTrades", txid=one) == {one: history["trades"][one]}
    assert client.result("TradeVolume", pair="XBTUSD")["fees"]["XXBTZUSD"]["fee"] == "0.2600"
    public = client.exchange.trades("BTC/USD", None, 1000) or []
    assert {trade["trade_id"] for trade in trades} <= {row[5] for row in public}, "they are public trades"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"ordertype": "market", "volume": "0.02"}, "0.02000000 XBTUSD @ market"),
        ({"ordertype": "limit", "volume": "1", "price": "99000"}, "1.00000000 XBTUSD @ limit 99000.0"),
        ({"ordertype": "stop-loss", "volume": "1.5", "price": "400.50"}, "1.50000000 XBTUSD @ stop loss 400.5"),
        (
            {"ordertype": "take-profit-limit", "volume": "1", "price": "99000.0", "price2": "98000"},
            "1.00000000 XBTUSD @ take profit 99000.0 -> limit 98000.0",
        ),
    ],
)
def test_orders_in_words(facts: dict[str, str], words: str) -> None:
    """The answer has all decimals, and no dashes: clients read type and prices out of it. The order has them too."""
    client = Client()
    made = client.result("AddOrder", pair="XBTUSD", type="sell", **facts)
    assert made["descr"]["order"] == f"sell {words}"
    looked = client.result("AddOrder", pair="XBTUSD", type="sell", validate="true", **facts)
    assert looked == {"descr": made["descr"]}
    (order,) = client.result("QueryOrders", txid=made["txid"][0]).values()
    assert order["descr"]["order"] == f"sell {words}"
    assert order["descr"]["ordertype"] == facts["ordertype"]
    none = "0.00000"
    assert (order["stopprice"], order["limitprice"]) == (
        order["descr"]["price"] if "-" in facts["ordertype"] else none,
        none,
    )


def test_the_average_price_is_that_of_the_trades() -> None:
    """Costs are rounded, so they give none: a buy would show one that is worse than its limit."""
    client = Client()
    bids, asks = client.exchange.book("BTC/USD", 1) or ([], [])
    assert bids
    made = client.buy("0.0001", asks[0][0])
    (order,) = client.result("QueryOrders", txid=made["result"]["txid"][0]).values()
    assert order["status"] == "closed"
    assert order["price"] == asks[0][0]
    assert Decimal(order["cost"]) != Decimal(order["price"]) * Decimal(order["vol"]), "it is rounded"


def test_batches() -> None:
    """Orders are made together; what is only now in the way refuses one of them; they are cancelled together."""
    client = Client("balance.USD=1000")
    orders: dict[str, object] = {}
    for at, volume in enumerate(("0.5", "0.6", "0.3")):
        order = {"ordertype": "limit", "type": "buy", "volume": volume, "price": "1000"}
        orders |= {f"orders[{at}][{name}]": value for name, value in order.items()}
    made = client.result("AddOrderBatch", pair="XBTUSD", **orders)["orders"]
    assert made[1] == {"error": "EOrder:Insufficient funds"}
    ids = {f"orders[{at}]": made[2 * at]["txid"] for at in range(2)}
    assert client.result("CancelOrderBatch", **ids) == {"count": 2}
    first = client.buy("0.1", "1000.0")["result"]["txid"][0]
    edited = client.result("EditOrder", txid=first, pair="XBTUSD", volume="0.2")
    assert (edited["originaltxid"], edited["descr"]["order"]) == (first, "buy 0.20000000 XBTUSD @ limit 1000.0")
    assert client.result("CancelAll") == {"count": 1}
    assert "txid" not in client.buy("0.1", "1000.0", validate="true")["result"]
    assert client.result("CancelAllOrdersAfter", timeout=60)["triggerTime"] == "2026-08-02T03:36:50Z"


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"pair": "FISHUSD"}, "EQuery:Unknown asset pair"),
        ({"volume": "x"}, "EGeneral:Invalid arguments:volume"),
        ({"price": "1000.05"}, "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals."),
        ({"volume": "0.00000001"}, "EOrder:Order minimum not met"),
        ({"volume": "1000"}, "EOrder:Insufficient funds"),
        ({"ordertype": "fish"}, "EGeneral:Invalid arguments:ordertype"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
        ({"leverage": "2"}, "EOrder:Insufficient margin"),
    ],
)
def test_refusals(facts: dict[str, str], error: str) -> None:
    """In Kraken's words, and nothing changes."""
    client = Client()
    right = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "1", "price": "1000"}
    assert client.ask("AddOrder", **right | facts) == {"error": [error]}
    assert client.result("OpenOrders") == {"open": {}}
    assert client.result("BalanceEx")["ZUSD"]["hold_trade"] == "0.0000"


def test_pages_and_bounds() -> None:
    """Fifty rows at most, the latest first; later than start, up to end, by time or by id."""
    client = Client("tier=pro")
    ids = []
    for _ in range(60):
        ids += client.buy("0.001", "1000.0")["result"]["txid"]
        client.ask("CancelOrder", txid=ids[-1])
        client.wait(10)
    page = client.result("ClosedOrders")
    assert (page["count"], list(page["closed"])) == (60, ids[:9:-1])
    assert list(client.result("ClosedOrders", ofs=50)["closed"]) == ids[9::-1]
    begin = frames.START / 1e9
    some = client.result("ClosedOrders", start=f"{begin + 20:.4f}", end=f"{begin + 40:.4f}")
    assert list(some["closed"]) == [ids[4], ids[3]]
    assert list(client.result("ClosedOrders", start=ids[57])["closed"]) == [ids[59], ids[58]]


def test_the_counter_of_requests() -> None:
    """Twenty fit, and one every two seconds; orders are not counted there."""
    client = Client()
    answers = [client.ask("Balance")["error"] for _ in range(21)]
    assert answers == [[]] * 20 + [["EAPI:Rate limit exceeded"]]
    assert client.buy("0.001", "1000.0")["error"] == []
    client.wait(2)
    assert [client.ask("Balance")["error"] for _ in range(2)] == [[], ["EAPI:Rate limit exceeded"]]


def test_rest_lags_behind() -> None:
    """What is asked shows the state of a minute ago, also of an order that has ended meanwhile."""
    client = Client()
    client.exchange.inject("rest_lag,method=*Orders")
    client.exchange.inject("rest_lag,method=Balance*,by=30s")
    (txid,) = client.buy("0.5", "1000.0")["result"]["txid"]
    assert client.result("OpenOrders") == {"open": {}}
    client.wait(40)
    client.result("CancelOrder", txid=txid)
    assert client.result("OpenOrders") == {"open": {}}
    assert client.result("BalanceEx")["ZUSD"]["hold_trade"] == "502.0000", "as it was"
    client.wait(25)
    assert list(client.result("OpenOrders")["open"]) == [txid], "it is shown as it was, a minute ago"
    assert client.result("ClosedOrders") == {"closed": {}, "count": 0}
    client.wait(60)
    assert list(client.result("ClosedOrders")["closed"]) == [txid]


def test_faults_of_signed_requests() -> None:
    """A nonce is refused; a lockout lasts, and each request starts it anew."""
    client = Client()
    client.exchange.inject("nonce=once")
    assert client.ask("Balance") == {"error": ["EAPI:Invalid nonce"]}
    client.exchange.inject("lockout=once,by=1m")
    locked = {"error": ["EGeneral:Temporary lockout"]}
    assert client.ask("GetWebSocketsToken") == locked
    client.wait(50)
    assert client.ask("Balance") == locked
    client.wait(50)
    assert client.ask("Balance") == locked, "the second request started it anew"
    client.wait(61)
    assert client.ask("Balance")["error"] == []
    assert client.result("GetApiKeyInfo")["nonce"] == str(client.nonce)
    assert "withdraw-funds" not in client.result("GetApiKeyInfo")["permissions"]


def test_what_an_account_is_worth() -> None:
    """All assets at the middle of their books, in dollars or another asset; without margin all of it is free."""
    client = Client("balance.EUR=0", "balance.FISH=7")
    worth = {}
    for symbol in ("BTC/USD", "ETH/USD"):
        bids, asks = client.exchange.book(symbol, 1) or ([], [])
        worth[symbol] = (Decimal(bids[0][0]) + Decimal(asks[0][0])) / 2
    told = client.result("TradeBalance")
    whole = 100_000 + 10 * worth["BTC/USD"] + 100 * worth["ETH/USD"]
    assert {Decimal(told[name]) for name in ("eb", "tb", "e", "mf")} == {round(whole, 4)}
    assert {told[name] for name in ("m", "n", "c", "v")} == {"0.0000"}
    bitcoins = Decimal(client.result("TradeBalance", asset="XBT")["eb"])
    assert abs(bitcoins - (10 + 100_000 / worth["BTC/USD"])) < Decimal("0.0001"), "no pair of ether and bitcoin here"
    assert client.ask("TradeBalance", asset="ROE") == {"error": ["EQuery:Unknown asset"]}


def test_fees_fall_with_the_volume() -> None:
    """By Kraken's schedule, from the next fill on; REST tells it, and what comes next. The balance is explained."""
    client = Client("volume=9999.99")
    told = client.result("TradeVolume", pair="XBTUSD")
    assert (told["volume"], told["fees"]["XXBTZUSD"]["fee"]) == ("9999.9900", "0.4000")
    assert told["fees_maker"]["XXBTZUSD"] | {"fee": ""} == {
        "fee": "", "minfee": "0.0000", "maxfee": "0.2500", "nextfee": "0.2000", "nextvolume": "10000.0000",
        "tiervolume": "0.0000",
    }  # fmt: skip
    for _ in range(2):
        client.result("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.001")
    volume, rates = Decimal("9999.99"), []
    for trade in reversed(client.result("TradesHistory")["trades"].values()):
        rates.append(Decimal("0.0040") if volume < 10_000 else Decimal("0.0035"))
        exact = Decimal(trade["price"]) * Decimal(trade["vol"]) * rates[-1]
        assert Decimal(trade["fee"]) == exact.quantize(Decimal("0.0001"), ROUND_UP)
        volume += Decimal(trade["cost"])
    assert set(rates) == {Decimal("0.0040"), Decimal("0.0035")}
    assert client.result("TradeVolume", pair="XBTUSD")["fees"]["XXBTZUSD"]["nextvolume"] == "50000.0000"
    assert client.result("TradeVolume")["fees"] == {}
    entries = client.result("Ledgers")["ledger"].values()
    spent = sum((Decimal(row["amount"]) - Decimal(row["fee"]) for row in entries if row["asset"] == "ZUSD"), Decimal(0))
    assert Decimal(client.result("Balance")["ZUSD"]) == 100_000 + spent
    most = Client("volume=20000000").result("TradeVolume", pair="XBTUSD")["fees"]["XXBTZUSD"]
    assert (most["fee"], most["nextfee"], most["tiervolume"]) == ("0.1000", None, "10000000.0000")

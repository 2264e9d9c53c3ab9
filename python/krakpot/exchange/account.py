"""REST of the built-in exchange for its account: orders, trades, balances, as Kraken's REST gives them.

``Account.answer`` gets what was signed for. Rust decides what becomes of it, as for the private endpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from krakpot import _core
from krakpot.exchange.forms import (
    INVALID,
    NUMBER,
    Facts,
    Refused,
    as_json,
    fields,
    is_true,
    number,
    options,
    terms,
    texts,
)  # fmt: skip
from krakpot.exchange.public import Names, asset_names, pair_names

UNKNOWN_ASSET = "EQuery:Unknown asset"
UNKNOWN_PAIR, LIMITED, UNKNOWN_ORDER = "EQuery:Unknown asset pair", "EAPI:Rate limit exceeded", "EOrder:Unknown order"
TIME_DIGITS = 25
"""Digits of a time."""
PAGE = 50
"""Rows of an answer."""
NO_PRICE = "0.00000"
"""Of an order that has none."""
QUERIED = 50
"""Orders or trades that one request may ask for."""
ENTRIES_QUERIED = 20
"""The same of ledger entries."""
COUNTER = {"starter": (15.0, 0.33), "intermediate": (20.0, 0.5), "pro": (20.0, 1.0)}
"""The counter of requests by tier: how high it may be, and how much it falls in a second."""
COSTS = {"TradesHistory": 2.0, "Ledgers": 2.0, "QueryLedgers": 2.0, "ClosedOrders": 1.0}
"""What a request adds to the counter; those about orders that are made or cancelled add nothing."""
FREE = {
    "AddOrder", "AmendOrder", "EditOrder", "CancelOrder", "CancelAll", "CancelAllOrdersAfter", "AddOrderBatch",
    "CancelOrderBatch",
}  # fmt: skip
PERMISSIONS = [
    "query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades", "query-ledger",
    "create-ws-token",
]  # fmt: skip

_QUERY = ("query-open-trades", "query-closed-trades")
_CANCEL = ("modify-trades", "close-trades")
NEEDED: dict[str, tuple[str, ...]] = {
    "OpenOrders": _QUERY[:1], "ClosedOrders": _QUERY[1:], "QueryOrders": _QUERY, "OrderAmends": _QUERY,
    "TradesHistory": _QUERY[1:], "QueryTrades": _QUERY[1:], "Ledgers": ("query-ledger",),
    "QueryLedgers": ("query-ledger",), "Balance": ("query-funds",), "BalanceEx": ("query-funds",),
    "TradeVolume": ("query-funds",), "TradeBalance": _QUERY[:1],
    "AddOrder": _CANCEL[:1], "AmendOrder": _CANCEL[:1], "EditOrder": _CANCEL[:1], "AddOrderBatch": _CANCEL[:1],
    "CancelOrder": _CANCEL, "CancelAll": _CANCEL, "CancelAllOrdersAfter": _CANCEL, "CancelOrderBatch": _CANCEL,
    "GetWebSocketsToken": ("create-ws-token",),
}  # fmt: skip
"""Permissions of which a method needs one; what is not listed needs none."""

Row = dict[str, Any]


def _time(ns: int | None) -> float:
    return 0 if ns is None else round(ns / 1e9, 4)


class Account:
    """The answers about the account, and what it asks for."""

    def __init__(self, exchange: _core.Exchange, key_name: str) -> None:
        """``key_name``: name of the key that requests are signed with, unless another one is set."""
        self.exchange = exchange
        self.key_name = key_name
        self.last_nonce = "0"
        self.permissions: Sequence[str] | None = None
        """What the key that signed may do; None: everything."""
        self._counter, self._counted = 0.0, exchange.now
        self._names: dict[str, Names] = {}
        """Names of the pairs, in an answer."""
        self.methods: dict[str, Callable[[Facts], Any]] = {
            "GetApiKeyInfo": self._key_info, "OpenOrders": self._open, "ClosedOrders": self._closed,
            "QueryOrders": self._query_orders, "TradesHistory": self._trades, "QueryTrades": self._query_trades,
            "Ledgers": self._ledgers, "QueryLedgers": self._query_ledgers, "Balance": self._balance,
            "BalanceEx": self._balance_ex, "TradeBalance": self._trade_balance, "TradeVolume": self._volume,
            "OrderAmends": self._amends, "AddOrder": self._add, "AmendOrder": self._amend, "EditOrder": self._edit,
            "CancelOrder": self._cancel, "CancelAll": self._cancel_all, "CancelAllOrdersAfter": self._cancel_after,
            "AddOrderBatch": self._add_batch, "CancelOrderBatch": self._cancel_batch,
        }  # fmt: skip

    def answer(self, method: str, kind: str, body: bytes) -> Row:
        """Return the JSON of an answer; ``kind`` is the content type of the body."""
        if method not in FREE and self._exceeded(COSTS.get(method, 1.0)):
            return {"error": [LIMITED]}
        self._names = pair_names(self.exchange)
        try:
            return {"error": [], "result": self.methods[method](fields(kind, body))}
        except Refused as refused:
            return {"error": [str(refused)]}

    def _exceeded(self, cost: float) -> bool:
        limit, decay = COUNTER[self.exchange.tier]
        now = self.exchange.now
        self._counter = max(0.0, self._counter - (now - self._counted) / 1e9 * decay)
        self._counted = now
        if self._counter + cost > limit:
            return True
        self._counter += cost
        return False

    # What is asked.

    def _state(self, what: str, method: str) -> list[Row]:
        found: list[Row] = json.loads(self.exchange.account(what, self.exchange.shown_at(method)))
        return found

    def _key_info(self, _facts: Facts) -> Row:
        return {
            "api_key_name": "krakpot exchange", "api_key": self.key_name, "nonce": self.last_nonce, "nonce_window": "0",
            "permissions": list(self.permissions or PERMISSIONS), "iban": "", "valid_until": "0", "query_from": "0",
            "query_to": "0", "created_time": "0", "modified_time": "0", "ip_allowlist": [],
            "last_used": str(self.exchange.now // 10**9),
        }  # fmt: skip

    def _chosen(self, orders: list[Row], facts: Facts) -> list[Row]:
        userref, name = facts.get("userref"), facts.get("cl_ord_id")
        return [
            order for order in orders
            if (userref is None or str(order["userref"]) == str(userref))
            and (name is None or order["cl_ord_id"] == name)
        ]  # fmt: skip

    def _open(self, facts: Facts) -> Row:
        orders = self._chosen(self._state("open", "OpenOrders"), facts)
        return {"open": {order["id"]: self._order(order, facts) for order in orders}}

    def _closed(self, facts: Facts) -> Row:
        orders = self._chosen(self._state("closed", "ClosedOrders"), facts)
        by_open = facts.get("closetime", "both") == "open"
        begin = {order["id"]: order["created"] for order in orders}

        def at(order: Row) -> int:
            return int(order["created"] if by_open else order["closed"])

        orders.sort(key=at, reverse=True)
        rows = _between(orders, facts, at, begin)
        return {"closed": {row["id"]: self._order(row, facts) for row in _page(rows, facts)}} | _count(rows, facts)

    def _query_orders(self, facts: Facts) -> Row:
        wanted = texts(facts, "txid")
        orders = {order["id"]: order for order in self._chosen(self._state("orders", "QueryOrders"), facts)}
        if not 1 <= len(wanted) <= QUERIED:
            raise Refused(INVALID)
        return {number: self._order(orders[number], facts) for number in wanted if number in orders}

    def _trades(self, facts: Facts) -> Row:
        trades = self._state("trades", "TradesHistory")[::-1]
        begin = {trade["id"]: trade["ts"] for trade in trades}
        rows = _between(trades, facts, lambda trade: int(trade["ts"]), begin)
        return {"trades": {row["id"]: self._trade(row) for row in _page(rows, facts)}} | _count(rows, facts)

    def _query_trades(self, facts: Facts) -> Row:
        wanted = texts(facts, "txid")
        if not 1 <= len(wanted) <= QUERIED:
            raise Refused(INVALID)
        trades = {trade["id"]: trade for trade in self._state("trades", "QueryTrades")}
        return {number: self._trade(trades[number]) for number in wanted if number in trades}

    def _ledgers(self, facts: Facts) -> Row:
        entries = self._state("entries", "Ledgers")[::-1]
        begin = {entry["id"]: entry["ts"] for entry in entries}
        rows = _between(entries, facts, lambda entry: int(entry["ts"]), begin)
        assets = {asset for name in texts(facts, "asset") if name != "all" for asset in asset_names(name)}
        # All that happens here are trades.
        other = facts.get("type", "all") not in {"all", "trade"}
        rows = [row for row in rows if not other and (not assets or asset_names(row["asset"])[1] in assets)]
        return {"ledger": {row["id"]: _entry(row) for row in _page(rows, facts)}} | _count(rows, facts)

    def _query_ledgers(self, facts: Facts) -> Row:
        wanted = texts(facts, "id")
        if not 1 <= len(wanted) <= ENTRIES_QUERIED:
            raise Refused(INVALID)
        entries = {entry["id"]: entry for entry in self._state("entries", "QueryLedgers")}
        return {number: _entry(entries[number]) for number in wanted if number in entries}

    def _trade_balance(self, facts: Facts) -> dict[str, str]:
        """Of an account without margin: what all assets are worth, all of it free."""
        wanted = str(facts.get("asset") or "ZUSD")
        held = json.loads(self.exchange.account("balances", self.exchange.shown_at("TradeBalance")))
        unit = next((asset for asset in (*held, "USD") if wanted in (asset, *asset_names(asset))), None)
        if unit is None:
            raise Refused(UNKNOWN_ASSET)
        worth = sum((Decimal(total) * self._price(asset, unit) for asset, (total, _) in held.items()), Decimal(0))
        whole, none = f"{worth:.4f}", "0.0000"
        return dict.fromkeys(("eb", "tb", "e", "mf"), whole) | dict.fromkeys(("m", "n", "c", "v"), none)

    def _price(self, asset: str, unit: str) -> Decimal:
        """What one of an asset is worth in another: the middle of its book; 0 if they have no pair."""
        if asset == unit:
            return Decimal(1)
        for symbol, turned in ((f"{asset}/{unit}", False), (f"{unit}/{asset}", True)):
            bids, asks = self.exchange.book(symbol, 1) or ([], [])
            if bids and asks:
                mid = (Decimal(bids[0][0]) + Decimal(asks[0][0])) / 2
                return 1 / mid if turned else mid
        return Decimal(0)

    def _balances(self, method: str) -> dict[str, tuple[str, str]]:
        """Of each asset all that there is, and what is held."""
        balances = json.loads(self.exchange.account("balances", self.exchange.shown_at(method)))
        return {asset_names(asset)[1]: (total, held) for asset, (total, held) in balances.items()}

    def _balance(self, _facts: Facts) -> dict[str, str]:
        return {name: total for name, (total, _) in self._balances("Balance").items()}

    def _balance_ex(self, _facts: Facts) -> dict[str, dict[str, str]]:
        return {
            name: {"balance": total, "hold_trade": held} for name, (total, held) in self._balances("BalanceEx").items()
        }

    def _volume(self, facts: Facts) -> Row:
        volume, schedule = Decimal(self.exchange.volume), self.exchange.fee_schedule
        reached = sum(1 for row in schedule if row[0] <= volume)
        now, later = schedule[reached - 1], schedule[reached] if reached < len(schedule) else None
        keys = [self._pair(name)[0] for name in str(facts["pair"]).split(",")] if facts.get("pair") else []

        def row(at: int) -> dict[str, str | None]:
            return {
                "fee": str(now[at]), "minfee": str(schedule[-1][at]), "maxfee": str(schedule[0][at]),
                "nextfee": None if later is None else str(later[at]),
                "nextvolume": None if later is None else f"{later[0]}.0000", "tiervolume": f"{now[0]}.0000",
            }  # fmt: skip

        return {
            "currency": "ZUSD", "volume": f"{volume:.4f}", "fees": {key: row(2) for key in keys},
            "fees_maker": {key: row(1) for key in keys},
        }  # fmt: skip

    def _amends(self, facts: Facts) -> Row:
        orders = {order["id"]: order for order in self._state("orders", "OrderAmends")}
        order = orders.get(facts.get("order_id"))
        if order is None:
            raise Refused(UNKNOWN_ORDER)
        rows = []
        for at, amend in enumerate(order["amends"]):
            row: Row = {
                "amend_id": amend["id"], "amend_type": "user" if at else "original", "order_qty": amend["qty"],
                "remaining_qty": amend["left"], "limit_price": amend["limit"], "display_qty": amend["display"],
                "reason": "User requested" if at else None, "post_only": order["post_only"],
                "timestamp": amend["ts"] // 10**6,
            }  # fmt: skip
            rows.append({name: value for name, value in row.items() if value is not None})
        return {"amends": rows, "count": len(rows)}

    # What is shown.

    def _names_of(self, symbol: str) -> tuple[str, str]:
        """Key and altname of a pair; a pair that is no longer listed has its symbol."""
        names = self._names.get(symbol)
        return (symbol, symbol) if names is None else names[:2]

    def _order(self, order: Row, facts: Facts) -> Row:
        name = self._names_of(order["symbol"])[1]
        price, price2 = _prices(order)
        flags = ["fcib" if order["base_fee"] else "fciq", *(["post"] if order["post_only"] else [])]
        row: Row = {
            "refid": None, "userref": order["userref"], "cl_ord_id": order["cl_ord_id"], "status": order["status"],
            "opentm": _time(order["created"]), "starttm": _time(order["begins"]), "expiretm": _time(order["expires"]),
            "descr": {
                "pair": name, "type": order["side"], "ordertype": order["kind"], "price": price, "price2": price2,
                "leverage": "none", "order": _text(order["side"], order["qty"], name, order["kind"], (price, price2)),
                "close": "",
            },
            "vol": order["qty"], "vol_exec": order["filled"], "cost": order["cost"], "fee": order["fee"],
            "price": order["average"], "stopprice": order["trigger"] or NO_PRICE, "limitprice": NO_PRICE, "misc": "",
            "oflags": ",".join(flags),
        }  # fmt: skip
        if order["display"] is not None:
            row["displayvol"] = order["display"]
        if order["closed"] is not None:
            row |= {"reason": order["reason"], "closetm": _time(order["closed"])}
        if order["cl_ord_id"] is None:
            del row["cl_ord_id"]
        if is_true(facts, "trades"):
            row["trades"] = order["trades"]
        return row

    def _trade(self, trade: Row) -> Row:
        return {
            "ordertxid": trade["order"], "postxid": "", "pair": self._names_of(trade["symbol"])[0],
            "time": _time(trade["ts"]), "type": trade["side"], "ordertype": trade["kind"], "price": trade["price"],
            "cost": trade["cost"], "fee": trade["fee"], "vol": trade["qty"], "margin": "0.00000", "misc": "",
            "trade_id": trade["trade_id"], "maker": trade["maker"], "ledgers": trade["entries"],
        }  # fmt: skip

    # What is done.

    def _pair(self, wanted: object) -> Names:
        for symbol, names in self._names.items():
            if wanted in names[:3] or wanted == symbol:
                return names
        raise Refused(UNKNOWN_PAIR)

    def _do(self, method: str, params: dict[str, str]) -> Row:
        """Do what a method of the private endpoint does; members of ``params`` are JSON."""
        answer: Row = json.loads(self.exchange.order(method, as_json(params)))[0]
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    def _add(self, facts: Facts) -> Row:
        names = self._pair(facts.get("pair"))
        params = {"symbol": json.dumps(names[3][0])} | terms(facts, self.exchange.clock) | options(facts)
        result = self._do("add_order", params)["result"]
        return _made(facts, names, result)

    def _add_batch(self, facts: Facts) -> Row:
        names, orders = self._pair(facts.get("pair")), facts.get("orders")
        if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
            raise Refused(INVALID)
        made = ",".join(as_json(terms(order, self.exchange.clock)) for order in orders)
        params = {"symbol": json.dumps(names[3][0]), "orders": f"[{made}]"} | options(facts)
        results = self._do("batch_add", params)["result"]
        rows = []
        for order, result in zip(orders, results, strict=True):
            row = result if "error" in result else _made(order, names, result)
            rows.append({name: value[0] if name == "txid" else value for name, value in row.items()})
        return {"orders": rows}

    def _amend(self, facts: Facts) -> dict[str, str]:
        params = options(facts)
        if facts.get("cl_ord_id"):
            params["cl_ord_id"] = json.dumps(str(facts["cl_ord_id"]))
        if txid := facts.get("txid"):
            params["order_id"] = json.dumps(str(txid))
        for name in ("order_qty", "limit_price", "display_qty", "trigger_price"):
            if facts.get(name):
                params[name] = number(facts, name)
        if is_true(facts, "post_only"):
            params["post_only"] = "true"
        return {"amend_id": str(self._do("amend_order", params)["result"]["amend_id"])}

    def _edit(self, facts: Facts) -> Row:
        names = self._pair(facts.get("pair"))
        orders = {order["id"]: order for order in json.loads(self.exchange.account("open", self.exchange.now))}
        old = str(facts.get("txid"))
        params = {"symbol": json.dumps(names[3][0]), "order_id": json.dumps(old)} | options(facts)
        for name, of in (("volume", "order_qty"), ("price", "limit_price"), ("displayvol", "display_qty")):
            if facts.get(name):
                params[of] = number(facts, name)
        if facts.get("userref"):
            params["order_userref"] = number(facts, "userref")
        if "post" in texts(facts, "oflags"):
            params["post_only"] = "true"
        result = self._do("edit_order", params)["result"]
        kept = {"volume": orders[old]["qty"], "price": orders[old]["limit"]} | facts
        kept |= {"type": orders[old]["side"], "ordertype": orders[old]["kind"]}
        made = _made(kept, names, result)
        return made | {"status": "ok", "originaltxid": old, "orders_cancelled": 1} | {"txid": result.get("order_id")}

    def _cancel(self, facts: Facts) -> dict[str, int]:
        params = {}
        text = str(facts.get("txid", ""))
        if facts.get("cl_ord_id"):
            params["cl_ord_id"] = json.dumps([str(facts["cl_ord_id"])])
        elif re.fullmatch(r"-?[0-9]{1,10}", text):
            params["order_userref"] = f"[{text}]"
        elif text:
            params["order_id"] = json.dumps([text])
        before = len(json.loads(self.exchange.account("open", self.exchange.now)))
        self._do("cancel_order", params)
        return {"count": before - len(json.loads(self.exchange.account("open", self.exchange.now)))}

    def _cancel_all(self, _facts: Facts) -> dict[str, int]:
        return {"count": int(self._do("cancel_all", {})["result"]["count"])}

    def _cancel_after(self, facts: Facts) -> dict[str, str]:
        return dict(self._do("cancel_all_orders_after", {"timeout": number(facts, "timeout")})["result"])

    def _cancel_batch(self, facts: Facts) -> dict[str, int]:
        orders, names = facts.get("orders", []), facts.get("cl_ord_ids", [])
        if not isinstance(orders, list) or not isinstance(names, list):
            raise Refused(INVALID)
        ids = [str(row.get("txid")) if isinstance(row, dict) else str(row) for row in orders]
        names = [str(row.get("cl_ord_id")) if isinstance(row, dict) else str(row) for row in names]
        params = {"orders": json.dumps(ids), "cl_ord_id": json.dumps(names)}
        return {"count": int(self._do("batch_cancel", params)["orders_cancelled"])}


def _prices(order: Row) -> tuple[str, str]:
    """``price`` and ``price2`` of an order's description: a trigger comes first."""
    limit, trigger = order["limit"], order["trigger"]
    if trigger is not None:
        return trigger, limit or "0"
    return limit or "0", "0"


def _text(side: str, qty: str, pair: str, kind: str, prices: tuple[str, str]) -> str:
    """Return an order in words, as Kraken has it: ``sell 1.00000000 XBTUSD @ stop loss 20000.0 -> limit 19900.0``."""
    price, price2 = prices
    words = kind.removesuffix("-limit").replace("-", " ")
    at = words + (f" {price}" if price != "0" else "") + (f" -> limit {price2}" if price2 != "0" else "")
    return f"{side} {qty} {pair} @ {at}"


def _padded(facts: Facts, name: str, decimals: int) -> str:
    """Return a number of a request that was not refused, with all decimals; 0 if it is not given."""
    if not facts.get(name):
        return "0"
    whole, _, part = number(facts, name).partition(".")
    return whole + ("." if decimals else "") + part[:decimals].ljust(decimals, "0")


def _made(facts: Facts, names: Names, result: Row) -> Row:
    """The answer of an order that was made, or only looked at: then it has no ``txid``."""
    kind, (price_decimals, qty_decimals) = str(facts["ordertype"]), names[3][4:]
    first = "0" if kind == "market" else _padded(facts, "price", price_decimals)
    prices = (first, _padded(facts, "price2", price_decimals) if kind.endswith("-limit") else "0")
    text = _text(str(facts["type"]), _padded(facts, "volume", qty_decimals), names[1], kind, prices)
    made: Row = {"descr": {"order": text}}
    return made | {"txid": [result["order_id"]]} if "order_id" in result else made


def _between(rows: list[Row], facts: Facts, at: Callable[[Row], int], begin: Mapping[str, int]) -> list[Row]:
    """Return the rows later than ``start`` and up to ``end``: unix seconds, or an id."""

    def bound(name: str) -> int | None:
        text = str(facts.get(name, ""))
        if not text:
            return None
        if text in begin:
            return begin[text]
        if not NUMBER.fullmatch(text) or len(text) > TIME_DIGITS:
            raise Refused(INVALID)
        return round(float(text) * 1e9)

    start, end = bound("start"), bound("end")
    return [row for row in rows if (start is None or at(row) > start) and (end is None or at(row) <= end)]


def _count(rows: list[Row], facts: Facts) -> dict[str, int]:
    """How many rows there are on all pages, unless that is not wanted."""
    return {} if is_true(facts, "without_count") else {"count": len(rows)}


def _entry(row: Row) -> Row:
    """A ledger entry, as it is shown."""
    return {
        "aclass": "currency", "amount": row["amount"], "asset": asset_names(row["asset"])[1],
        "balance": row["balance"], "fee": row["fee"], "refid": row["reference"], "subtype": "",
        "time": _time(row["ts"]), "type": "trade",
    }  # fmt: skip


def _page(rows: list[Row], facts: Facts) -> list[Row]:
    offset = int(number(facts, "ofs")) if facts.get("ofs") else 0
    return rows[max(0, offset) :][:PAGE]

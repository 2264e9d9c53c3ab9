"""Looks at an account by REST: what became of orders, and which fills there were.

Kraken counts requests and locks a key that does not stop. So one question is asked at a time, none beyond the counter,
and after a failure none before a pause that grows with each one; a time that Kraken names is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from krakpot.net.backoff import Backoff
from krakpot.net.rest import RestError
from krakpot.trade.signed import Signed

METHODS = {"orders": "QueryOrders", "closed": "ClosedOrders", "trades": "TradesHistory"}
"""What is asked, by the extension's word."""
PAGE = 50
"""Rows of an answer of ``ClosedOrders`` and ``TradesHistory``."""
PAGES_MAX = 200
"""Pages of ``TradesHistory`` that are read: more than can be filled in a reconciliation's time."""
UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
"""What an answer raises that is not what Kraken documents."""

Row = TypeVar("Row")
OrderRow = tuple[str | None, str, str, str, str | None, str, int, str]
"""Name, id, status, quantity, price, filled, time (ns), reason."""
FillRow = tuple[str, str, int | None, str, str, str, str, bool]
"""Id of the order, of the fill, number of the trade, quantity, price, cost, fee, whether the order rested."""


class Looks:
    """Asks REST about own orders and fills."""

    def __init__(
        self,
        signed: Signed,
        say: Callable[[str], None],
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``say`` hears why something is asked again; ``sleep`` and ``clock`` are for tests without time."""
        self._signed = signed
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._turn = asyncio.Lock()
        self._failed: dict[str, tuple[Backoff, float]] = {}
        """By method, after failures: how long to wait, and until when nothing is asked."""

    async def orders(self, ids: Sequence[str]) -> tuple[int, list[OrderRow]]:
        """Orders of these ids, at most fifty; first when that was asked, ns."""
        return await self._page("QueryOrders", _orders, txid=",".join(ids))

    async def closed(self, names: Sequence[str], begin: int, end: int) -> tuple[int, list[OrderRow]]:
        """Ended orders of these names, made later than ``begin`` and up to ``end``, ns; first when that was asked.

        One name is asked for. Several are looked for among all orders of that time, as long as that does not take more
        questions than their names would.
        """
        asked: int | None = None
        found: dict[str, OrderRow] = {}
        missing, pages = set(names), 0 if len(names) == 1 else len(names)
        span = {"start": f"{max(begin, 0) / 1e9:.4f}", "end": f"{max(end, 0) / 1e9:.4f}", "closetime": "open"}
        for page in range(pages):
            # Newer rows only shift older ones to later pages: one may come twice, none is missed.
            at, rows = await self._page("ClosedOrders", _closed, ofs=page * PAGE, **span)
            asked = at if asked is None else asked
            found |= {row[1]: row for row in rows}
            missing -= {row[0] for row in rows if row[0] is not None}
            if len(rows) < PAGE or not missing:
                # The others are in none of the pages.
                missing.clear()
                break
        for name in sorted(missing):
            at, rows = await self._page("ClosedOrders", _closed, cl_ord_id=name)
            asked = at if asked is None else asked
            found |= {row[1]: row for row in rows}
        return asked or 0, list(found.values())

    async def trades(self, since: int) -> list[FillRow]:
        """All fills later than a time, ns."""
        found: dict[str, FillRow] = {}
        for page in range(PAGES_MAX):
            _, rows = await self._page(
                "TradesHistory", _fills, start=f"{max(since, 0) / 1e9:.4f}", ofs=page * PAGE, consolidate_taker="false"
            )
            found |= {row[1]: row for row in rows}
            if len(rows) < PAGE:
                break
        return list(found.values())

    def succeeded(self, method: str) -> None:
        """Begin anew with short pauses: an answer was of use."""
        self._failed.pop(method, None)

    def failed(self, method: str, wait: float = 0.0) -> None:
        """Wait before the next question of this kind, and longer after each failure; at least ``wait`` seconds."""
        now = self._clock()
        backoff, _ = self._failed.get(method, (Backoff(fast=0), now))
        self._failed[method] = backoff, now + backoff.delay(now, busy=wait)

    async def _page(
        self, method: str, read: Callable[[Mapping[str, Any]], list[Row]], **fields: object
    ) -> tuple[int, list[Row]]:
        """One answer, and when it was asked for, ns. What may go away is waited for: so earlier pages are kept."""
        while True:
            try:
                return await self._ask(method, read, **fields)
            except RestError as error:
                if error.lasting:
                    raise
                self._say(f"REST: {error}; asking again")

    async def _ask(
        self, method: str, read: Callable[[Mapping[str, Any]], list[Row]], **fields: object
    ) -> tuple[int, list[Row]]:
        while True:
            async with self._turn:
                now = self._clock()
                until = self._failed[method][1] if method in self._failed else now
                wait = max(until - now, self._signed.counter.wait(method, now))
                if wait <= 0:
                    asked = time.time_ns()
                    try:
                        rows = read(await self._signed.ask(method, **fields))
                    except UNREADABLE:
                        error = self._signed.unreadable(method)
                    except RestError as refused:
                        error = refused
                    else:
                        return asked, rows
                    self.failed(method, error.wait)
                    raise error
            # So short a wait would not move a clock.
            await self._sleep(max(wait, 0.001))


def _plain(number: object) -> str:
    """A number with its digits; ``ValueError`` or ``ArithmeticError`` if it is none."""
    found = Decimal(str(number))
    if not found.is_finite():
        raise ValueError
    text = f"{found:f}"
    # REST shows more decimals than a pair has.
    return text.rstrip("0").rstrip(".") if "." in text else text


def _orders(result: Mapping[str, Any]) -> list[OrderRow]:
    """The orders of an answer as the extension takes them; an error of Python if it has not what Kraken documents."""
    return [_order(name, facts) for name, facts in result.items()]


def _closed(result: Mapping[str, Any]) -> list[OrderRow]:
    return _orders(result["closed"])


def _order(name: str, facts: Mapping[str, Any]) -> OrderRow:
    terms = facts["descr"]
    price = _plain(terms["price2"] if Decimal(str(terms.get("price2") or 0)) else terms["price"])
    when = facts.get("closetm") or facts["opentm"]
    return (
        None if facts.get("cl_ord_id") is None else str(facts["cl_ord_id"]), name, str(facts["status"]),
        _plain(facts["vol"]), price if Decimal(price) else None, _plain(facts["vol_exec"]),
        int(Decimal(str(when)) * 10**9), str(facts.get("reason") or ""),
    )  # fmt: skip


def _fills(result: Mapping[str, Any]) -> list[FillRow]:
    """The fills of an answer as the extension takes them."""
    return [
        (
            str(facts["ordertxid"]), name, facts.get("trade_id"), _plain(facts["vol"]), _plain(facts["price"]),
            _plain(facts["cost"]), _plain(facts["fee"]), bool(facts.get("maker")),
        )
        for name, facts in result["trades"].items()
    ]  # fmt: skip

"""Trades of Kraken's REST, page by page, at the pace that Kraken allows; and the names that its REST has for pairs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from krakpot.errors import FeedError
from krakpot.net.rest import Public, RestError

FEED_NAMES = {"XBT": "BTC", "XDG": "DOGE"}
"""Assets that have another name in the feed, by their name in ``wsname``."""


def symbol_of(wsname: str) -> str:
    """The feed's name of a pair, by its ``wsname`` in REST: ``BTC/USD`` for ``XBT/USD``."""
    return "/".join(FEED_NAMES.get(asset, asset) for asset in wsname.split("/"))


PAGE = 1000
"""Trades of an answer, at most."""
PACE = 1.0
"""Seconds from one request to the next: what Kraken's documentation allows."""
TRIES = 8
"""Requests for one page, with a pause between them that doubles, before backfilling gives up."""
PAUSE, PAUSE_MAX = 2.0, 60.0
"""Seconds."""
SIDES = {"b": "buy", "s": "sell"}
TYPES = {"m": "market", "l": "limit"}
FIELDS = 7
"""Fields of a trade."""


class Pair(NamedTuple):
    """A pair as REST knows it."""

    symbol: str
    """As the feed names it: ``BTC/USD``."""
    key: str
    """As REST names it: ``XXBTZUSD``."""
    price_precision: int | None
    qty_precision: int | None


class RestTrade(NamedTuple):
    """A trade as REST gives it."""

    id: int
    ts: int
    """ns."""
    price: Decimal
    qty: Decimal
    side: str
    ord_type: str
    misc: str


class Rest:
    """Trades and pairs of REST; each request waits for its turn, and is tried again where that may help."""

    def __init__(
        self,
        url: str,
        *,
        pace: float = PACE,
        log: Callable[[str], None] = lambda _: None,
        public: Public | None = None,
        patient: bool = False,
    ) -> None:
        """``pace``: seconds between two requests. ``log`` is told of trouble that is waited for.

        A name that has no address, before anything was answered, is most likely wrong: it ends the work at once, unless
        this is ``patient``.
        """
        self.url = url
        self.pace = pace
        self.requests = 0
        self._public = public or Public(url)
        self._log = log
        self._next = 0.0
        self._patient = patient
        """Whether a name without an address is asked for again."""

    async def pairs(self) -> dict[str, Pair]:
        """Return all pairs, by their symbol in the feed."""
        found = {}
        for key, facts in (await self._get("AssetPairs")).items():
            name = facts.get("wsname") if isinstance(facts, dict) else None
            if isinstance(name, str) and "/" in name:
                symbol = symbol_of(name)
                decimals = (facts.get("pair_decimals"), facts.get("lot_decimals"))
                price, qty = (n if isinstance(n, int) and 0 <= n <= 10 else None for n in decimals)  # noqa: PLR2004  # decimals of the columns
                found[symbol] = Pair(symbol, key, price, qty)
        return found

    async def trades(self, pair: Pair, since: int) -> tuple[list[RestTrade], int]:
        """Return the trades after ``since``, ns, the oldest first, and the ``since`` of the next page.

        Fewer than ``PAGE``: there are no later ones yet.
        """
        answer = await self._get("Trades", pair=pair.key, since=since, count=PAGE)
        rows = next((rows for name, rows in answer.items() if name != "last"), None)
        try:
            if not isinstance(rows, list):
                raise TypeError
            return [_trade(row) for row in rows], int(answer["last"])
        except (ArithmeticError, LookupError, TypeError, ValueError):
            sentence = f"REST Trades: the answer about {pair.symbol} has no trades as Kraken documents them"
            raise FeedError(sentence) from None

    async def depth(self, pair: Pair, count: int) -> tuple[list[Any], list[Any]]:
        """Return bids and asks as they are, best first: price, quantity, time."""
        answer = await self._get("Depth", pair=pair.key, count=count)
        book = next(iter(answer.values()), None)
        if not isinstance(book, dict):
            sentence = f"REST Depth: the answer about {pair.symbol} has no book as Kraken documents it"
            raise FeedError(sentence)
        return book.get("bids", []), book.get("asks", [])

    async def _get(self, name: str, **parameters: object) -> dict[str, Any]:
        for attempt in range(1, TRIES + 1):
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self.pace
            self.requests += 1
            try:
                answer = await self._public.get(name, **parameters)
            except RestError as error:
                if error.lasting or attempt == TRIES or (error.unresolved and not self._patient):
                    raise
                wait = max(error.wait, min(PAUSE_MAX, self.pace * PAUSE**attempt))
                self._log(f"{error}; asked again in {wait:.0f} s (attempt {attempt + 1} of {TRIES})")
                self._next = time.monotonic() + wait
            else:
                # It was there, so it will be there again.
                self._patient = True
                return answer
        raise AssertionError("the last attempt returns or raises")


def _trade(row: list[Any]) -> RestTrade:
    """Read ``[price, volume, time, b|s, m|l, misc, trade_id]``."""
    price, qty, seconds, side, kind, misc, number = row[:FIELDS]
    ts = int(Decimal(seconds) * 10**9)
    return RestTrade(int(number), ts, Decimal(price), Decimal(qty), SIDES[side], TYPES[kind], str(misc))

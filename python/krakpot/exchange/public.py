"""Public market data by REST: assets, pairs, trades, candles, books, as Kraken's REST gives them, with its rate limit.

Kraken's REST has other names than its WebSocket feed: ``XXBTZUSD`` (the key of every answer), ``XBTUSD`` (``altname``)
and ``XBT/USD`` (``wsname``) are ``BTC/USD`` there. Any of the first three is understood.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from krakpot import _core

RENAMED = {"BTC": "XBT", "DOGE": "XDG"}
"""Assets that have another name in REST."""
CRYPTO = {"XBT", "ETH", "LTC", "XRP", "XMR", "XLM", "ETC", "ZEC", "REP", "MLN"}
"""Assets that have an X before their name in the keys of pairs; currencies have a Z."""
CURRENCIES = {"USD", "EUR", "GBP", "JPY", "CAD", "AUD"}
COARSE, DECIMALS, DECIMALS_SHOWN = {"USD", "EUR", "GBP", "JPY"}, (4, 10), (2, 5)
"""Assets whose amounts have fewer decimals; decimals of those and of all others, and how many of them are shown."""
TRADES_MAX, CANDLES_MAX, DEPTH_MAX = 1000, 720, 500
"""Rows of an answer."""
DEPTH = 100
"""Levels per side, unless another number is asked for."""
BURST = 10.0
"""Requests of one address about one pair that are answered at once, after a pause."""
CLIENTS_MAX = 10_000
"""Addresses and pairs whose requests are counted."""
SECONDS_MAX = 10**12
"""A ``since`` below this is in seconds, others are nanoseconds."""
DAY = 86_400 * 10**9
"""ns."""
UNKNOWN, INVALID, LIMITED = "EQuery:Unknown asset pair", "EGeneral:Invalid arguments", "EGeneral:Too many requests"
UNKNOWN_ASSET = "EQuery:Unknown asset"

Answer = dict[str, Any]


class Limit:
    """A request of an address about a pair is one too many beyond ``rate`` a second, after a first burst."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns seconds."""
        self.rate = rate
        self._clock = clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def exceeded(self, client: str, pair: str) -> bool:
        """Count a request; whether it is one too many."""
        now = self._clock()
        left, at = self._left.pop((client, pair), (BURST, now))
        left = min(BURST, left + (now - at) * self.rate)
        if len(self._left) >= CLIENTS_MAX:
            # Those that asked longest ago are first.
            del self._left[next(iter(self._left))]
        self._left[client, pair] = (left - 1 if left >= 1 else left), now
        return left < 1


def asset_names(name: str) -> tuple[str, str]:
    """Return the name of an asset in REST, and in the keys of pairs."""
    name = RENAMED.get(name, name)
    return name, f"X{name}" if name in CRYPTO else f"Z{name}" if name in CURRENCIES else name


Names = tuple[str, str, str, tuple[str, str, str, str, int, int]]
"""Of a pair: key, altname, wsname and facts."""


def pair_names(exchange: _core.Exchange) -> dict[str, Names]:
    """Return the names of each pair by its symbol in the feed."""
    names = {}
    for facts in exchange.pairs():
        (base, base_key), (quote, quote_key) = asset_names(facts[1]), asset_names(facts[2])
        alternative = base + quote
        both = base_key != base and quote_key != quote
        names[facts[0]] = (base_key + quote_key if both else alternative, alternative, f"{base}/{quote}", facts)
    return names


class Public:
    """The answers; ``Public.paths`` are the paths that it knows."""

    def __init__(self, exchange: _core.Exchange, rate: float) -> None:
        """``rate``: requests per second of one address about one pair."""
        self.exchange = exchange
        self.limit = Limit(rate)
        self.paths: dict[str, Callable[[dict[str, str]], Answer | str]] = {
            "/0/public/Assets": self._assets,
            "/0/public/AssetPairs": self._pairs,
            "/0/public/Trades": self._trades,
            "/0/public/OHLC": self._candles,
            "/0/public/Depth": self._depth,
            "/0/public/Ticker": self._ticker,
        }

    def answer(self, path: str, query: str, client: str) -> Answer | int:
        """Return the JSON of an answer; a status in its place is a fault."""
        if (fault := self.exchange.refuse_rest()) is not None:
            status, text = fault
            return status if status != HTTPStatus.OK else {"error": [text]}
        facts = {name: values[-1] for name, values in parse_qs(query, max_num_fields=20).items()}
        if self.limit.exceeded(client, facts.get("pair", "")):
            return {"error": [LIMITED]}
        found = self.paths[path](facts)
        return {"error": [found]} if isinstance(found, str) else {"error": [], "result": found}

    def _pair(self, facts: dict[str, str]) -> tuple[str, str] | str:
        """Symbol and key of the pair that is asked for, or the error."""
        wanted = facts.get("pair")
        if not wanted:
            return INVALID
        found = ((symbol, names[0]) for symbol, names in pair_names(self.exchange).items() if wanted in names[:3])
        return next(found, UNKNOWN)

    def _assets(self, facts: dict[str, str]) -> Answer | str:
        owned = json.loads(self.exchange.account("balances", self.exchange.now))
        names = dict.fromkeys([name for pair in self.exchange.pairs() for name in pair[1:3]] + list(owned))
        described = {asset_names(name)[1]: (asset_names(name)[0], name not in COARSE) for name in names}
        by_name = {name: key for key, (alternative, _) in described.items() for name in (key, alternative)}
        wanted = facts["asset"].split(",") if "asset" in facts else list(described)
        if not all(name in by_name for name in wanted):
            return UNKNOWN_ASSET
        return {
            by_name[name]: {
                "aclass": "currency", "altname": described[by_name[name]][0],
                "decimals": DECIMALS[described[by_name[name]][1]],
                "display_decimals": DECIMALS_SHOWN[described[by_name[name]][1]], "status": "enabled",
            }
            for name in wanted
        }  # fmt: skip

    def _pairs(self, facts: dict[str, str]) -> Answer | str:
        named = pair_names(self.exchange)
        wanted = facts["pair"].split(",") if "pair" in facts else [names[0] for names in named.values()]
        by_name = {name: names for names in named.values() for name in names[:3]}
        if not all(name in by_name for name in wanted):
            return UNKNOWN
        chosen = (by_name[name] for name in wanted)
        fees = self.exchange.fee_schedule
        return {key: _description(alternative, name, facts, fees) for key, alternative, name, facts in chosen}

    def _ticker(self, facts: dict[str, str]) -> Answer | str:
        named = {name: (symbol, names) for symbol, names in pair_names(self.exchange).items() for name in names[:3]}
        wanted = facts["pair"].split(",") if "pair" in facts else [names[0] for _, names in named.values()]
        if not all(name in named for name in wanted):
            return UNKNOWN
        return {named[name][1][0]: self._day(*named[name]) for name in wanted}

    def _day(self, symbol: str, names: Names) -> Answer:
        """Best prices, and the trades of today (UTC) and of the last 24 hours."""
        price_decimals, qty_decimals = names[3][4:]
        now = self.exchange.now
        hours = [row for row in self.exchange.candles(symbol, 60, 25) or [] if row[0] > now - DAY]
        periods = [_sums([row for row in hours if row[0] >= now - now % DAY]), _sums(hours)]
        trades = self.exchange.trades(symbol, None, 1)
        last = list(trades[-1][:2]) if trades else [f"{0:.{price_decimals}f}", f"{0:.{qty_decimals}f}"]
        best = [side[0] if side else ("0", "0") for side in self.exchange.book(symbol, 1) or ([], [])]
        sides = {
            side: [price, str(int(Decimal(qty))), f"{Decimal(qty):.3f}"]
            for side, (price, qty) in zip(("b", "a"), best, strict=True)
        }
        prices = {
            name: [f"{one[at]:.{price_decimals}f}" for one in periods] for name, at in (("p", 1), ("l", 3), ("h", 4))
        }
        return sides | prices | {
            "c": last, "v": [f"{one[0]:.{qty_decimals}f}" for one in periods],
            "t": [one[2] for one in periods], "o": f"{periods[0][5]:.{price_decimals}f}",
        }  # fmt: skip

    def _trades(self, facts: dict[str, str]) -> Answer | str:
        pair = self._pair(facts)
        if isinstance(pair, str):
            return pair
        since, count = _since(facts), _count(facts, TRADES_MAX, TRADES_MAX)
        if count is None or since == INVALID:
            return INVALID
        after = since if isinstance(since, int) else None
        trades = self.exchange.trades(pair[0], after, count) or []
        # Trades are made at whole microseconds, and a float can hold those.
        rows = [
            [price, qty, ts // 1000 / 1e6, side, kind, "", number] for price, qty, ts, side, kind, number, _ in trades
        ]
        last = trades[-1][6] if trades else after or self.exchange.now
        return {pair[1]: rows, "last": str(last)}

    def _candles(self, facts: dict[str, str]) -> Answer | str:
        pair = self._pair(facts)
        if isinstance(pair, str):
            return pair
        since, interval = _since(facts), facts.get("interval", "1")
        if since == INVALID or interval not in map(str, _core.INTERVALS):
            return INVALID
        candles = self.exchange.candles(pair[0], int(interval), CANDLES_MAX) or []
        rows = [
            [begin // 10**9, *prices, vwap, volume, trades]
            for begin, prices, vwap, volume, trades in candles
            if not isinstance(since, int) or begin > since
        ]
        # The last candle still runs.
        last = candles[-2][0] if len(candles) > 1 else since if isinstance(since, int) else 0
        return {pair[1]: rows, "last": last // 10**9}

    def _depth(self, facts: dict[str, str]) -> Answer | str:
        pair = self._pair(facts)
        if isinstance(pair, str):
            return pair
        count = _count(facts, DEPTH, DEPTH_MAX)
        if count is None:
            return INVALID
        sides = self.exchange.book(pair[0], count) or ([], [])
        now = self.exchange.now // 10**9
        bids, asks = ([[price, qty, now] for price, qty in side] for side in sides)
        return {pair[1]: {"asks": asks, "bids": bids}}


def _sums(
    candles: list[tuple[int, list[str], str, str, int]],
) -> tuple[Decimal, Decimal, int, Decimal, Decimal, Decimal]:
    """Volume, average price, number of trades, lowest, highest and first price; zeros without a trade."""
    zero = Decimal(0)
    if not candles:
        return zero, zero, 0, zero, zero, zero
    volume = sum((Decimal(row[3]) for row in candles), zero)
    worth = sum((Decimal(row[2]) * Decimal(row[3]) for row in candles), zero)
    highest, lowest = (choose(Decimal(row[1][at]) for row in candles) for choose, at in ((max, 1), (min, 2)))
    return volume, worth / volume, sum(row[4] for row in candles), lowest, highest, Decimal(candles[0][1][0])


def _description(
    alternative: str, name: str, facts: tuple[str, str, str, str, int, int], fees: list[tuple[int, str, str]]
) -> Answer:
    """A pair as ``AssetPairs`` describes it; ``fees`` by volume, of one that rests and of one that takes."""
    _, base, quote, status, price_decimals, qty_decimals = facts
    return {
        "altname": alternative,
        "wsname": name,
        "aclass_base": "currency",
        "base": asset_names(base)[1],
        "aclass_quote": "currency",
        "quote": asset_names(quote)[1],
        "lot": "unit",
        "cost_decimals": price_decimals,
        "pair_decimals": price_decimals,
        "lot_decimals": qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[volume, float(taker)] for volume, _, taker in fees],
        "fees_maker": [[volume, float(maker)] for volume, maker, _ in fees],
        "fee_volume_currency": "ZUSD",
        "ordermin": f"{1000 / 10**qty_decimals:.{qty_decimals}f}",
        "costmin": "0.5",
        "tick_size": f"{1 / 10**price_decimals:.{price_decimals}f}",
        "status": status,
    }


def _since(facts: dict[str, str]) -> int | str | None:
    """``since`` in ns; ``INVALID`` if it is no time, None if it is not given."""
    text = facts.get("since", "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 19:  # noqa: PLR2004  # digits of 64 bits
        return INVALID
    value = int(text)
    return min(value * 10**9 if value < SECONDS_MAX else value, (1 << 63) - 1)


def _count(facts: dict[str, str], default: int, most: int) -> int | None:
    """``count``; None if it is not allowed."""
    text = facts.get("count", str(default))
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0  # noqa: PLR2004  # digits
    return count if 1 <= count <= most else None

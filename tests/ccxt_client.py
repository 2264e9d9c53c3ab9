"""ccxt on a loopback address, run by ``test_peer`` in an environment without krakpot.

Only the address is replaced, and what REST would answer about the pairs. Subscriptions and books are ccxt's code,
unchanged. Its option that compares checksums is off: with floats, as here, it fails on its own numbers.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from typing import Any

import ccxt  # type: ignore[import-not-found]  # only where the test installed it
import ccxt.pro  # type: ignore[import-not-found]  # the same


async def run(address: str, pairs: dict[str, tuple[int, int]], updates: int) -> None:
    """Follow the pairs until the exchange closes; print what was found as one line of JSON."""
    exchange: Any = ccxt.pro.kraken({"options": {"watchOrderBook": {"checksum": False}}})
    exchange.urls["api"]["ws"]["publicV2"] = address
    markets = []
    for symbol, (price, qty) in pairs.items():
        base, quote = symbol.split("/")
        precision = {"price": 10**-price, "amount": 10**-qty}
        info = {"wsname": symbol, "pair_decimals": price, "lot_decimals": qty}
        kind = {"spot": True, "active": True, "type": "spot", "precision": precision, "info": info}
        markets.append(
            {"id": symbol, "symbol": symbol, "base": base, "quote": quote, "baseId": base, "quoteId": quote, **kind}
        )
    exchange.set_markets(markets)
    counts = dict.fromkeys(pairs, 0)

    async def watch(symbol: str) -> None:
        try:
            while True:
                await exchange.watch_order_book(symbol, 10)
                counts[symbol] += 1
        except (ccxt.NetworkError, OSError):
            # The replay is over.
            return

    await asyncio.gather(*map(watch, pairs))
    books = {
        symbol: {side: [level[:2] for level in exchange.orderbooks[symbol][side]] for side in ("bids", "asks")}
        for symbol in pairs
        if symbol in exchange.orderbooks
    }
    await exchange.close()
    found = {
        "version": ccxt.__version__, "alone": importlib.util.find_spec("krakpot") is None, "counts": counts,
        "enough": sum(counts.values()) >= updates, "books": books,
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))

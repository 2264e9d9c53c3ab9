"""The built-in exchange in a process of its own, for measurements of orders: prints its addresses as JSON.

``python bench/python/serving.py KEY_FILE [PAIRS RATE]`` writes the key of its account to that file, and serves until it
is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys

import krakpot
from krakpot.trade import key


async def serve(file: str, pairs: int, rate: float) -> None:
    """Serve pairs whose markets move."""
    options = krakpot.ExchangeOptions(pairs=pairs, rate=rate, account=("tier=pro",))
    async with krakpot.ExchangeServer(options) as server:
        key.write(file, server.key.name, server.key.secret_text, mode="test", account="bench")
        facts = {
            "url": server.address,
            "private_url": server.private_address,
            "rest_url": server.rest_address,
            "symbols": list(server.exchange.symbols),
            "assets": sorted({symbol.partition("/")[0] for symbol in server.exchange.symbols}),
        }
        print(json.dumps(facts), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    file, pairs, rate = (*sys.argv[1:], "40", "400")[:3]
    asyncio.run(serve(file, int(pairs), float(rate)))

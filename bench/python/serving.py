"""The built-in exchange in a process of its own, for measurements of orders: prints its addresses as JSON.

``python bench/python/serving.py KEY_FILE`` writes the key of its account to that file, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys

import krakpot
from krakpot.trade import key


async def serve(file: str) -> None:
    """Serve pairs whose markets move."""
    async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=40, rate=400.0, account=("tier=pro",))) as server:
        key.write(file, server.key.name, server.key.secret_text, mode="test", account="bench")
        facts = {
            "url": server.address,
            "private_url": server.private_address,
            "rest_url": server.rest_address,
            "assets": sorted({symbol.partition("/")[0] for symbol in server.exchange.symbols}),
        }
        print(json.dumps(facts), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

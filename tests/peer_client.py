"""python-kraken-sdk on a loopback address, run by ``test_peer`` in an environment without krakpot.

Two things of the client are replaced, because it has no option for them: it uses the given address unchanged, and it
does not ask REST for the decimals of a pair. Subscriptions, books and checksums are the client's code, unchanged.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections import Counter
from typing import Any

from kraken.spot import SpotOrderBookClient  # type: ignore[import-not-found]  # only where the test installed it

GIVE_UP = 60
"""Seconds."""


class Decimals:
    """Replaces its REST client: what REST would answer about a pair."""

    def __init__(self, pairs: dict[str, tuple[int, int]]) -> None:
        self.pairs = pairs

    def get_asset_pairs(self, pair: str) -> dict[str, dict[str, int]]:
        price, qty = self.pairs[pair]
        return {pair: {"pair_decimals": price, "lot_decimals": qty}}


class Books(SpotOrderBookClient):  # type: ignore[misc]  # the same
    """Counts what it checked."""

    def __init__(self, address: str, pairs: dict[str, tuple[int, int]]) -> None:
        # The client makes the address of its connection from this, and appends the version.
        type(self).WS_URL = address.removesuffix("/v2")
        super().__init__(depth=10)
        self._SpotOrderBookClient__market = Decimals(pairs)
        self.seen: Counter[str] = Counter()
        self.symbols: set[str] = set()
        self.errors: list[str] = []
        self.levels = [10**9, 10**9]

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        if "error" in message:
            self.errors.append(message["error"])
        elif message["type"] == "update":
            book = self.get(pair)
            assert book is not None, "it has a book of what it tells"
            self.symbols.add(pair)
            self.seen["checked" if book["valid"] else "bad"] += 1
            self.levels = [min(n, len(book[side])) for n, side in zip(self.levels, ("bid", "ask"), strict=True)]


async def run(address: str, pairs: dict[str, tuple[int, int]], updates: int) -> None:
    """Follow the pairs for so many updates, print what was found as one line of JSON, and end."""
    books = Books(address, pairs)
    await books.start()
    await books.add_book(list(pairs))
    async with asyncio.timeout(GIVE_UP):
        while not books.errors and (books.seen.total() < updates or len(books.symbols) < len(pairs)):
            assert not books.exception_occur, "its connection failed"
            await asyncio.sleep(0.05)
    found = {
        "version": importlib.metadata.version("python-kraken-sdk"),
        "alone": importlib.util.find_spec("krakpot") is None,
        "checked": books.seen["checked"], "bad": books.seen["bad"], "pairs": sorted(books.symbols),
        "errors": books.errors, "levels": books.levels,
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    # The client never stops connecting, and catches its own cancellation.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))

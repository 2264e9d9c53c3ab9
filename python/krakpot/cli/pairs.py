"""The pairs: from the exchange's instrument channel, or from a lake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from krakpot import _core, config
from krakpot.errors import ConfigError, FeedError, counted
from krakpot.lake.lake import Lake
from krakpot.lake.sample import plain
from krakpot.net.connection import connect
from krakpot.values import unmatched

EXACT = ("qty_min", "cost_min")
"""Keys of exact numbers."""
PATIENCE = 20.0
"""Seconds to wait for the instrument snapshot."""


async def _ask(url: str) -> list[dict[str, Any]]:
    """The instrument channel's pairs, without subscribing to any."""
    session = _core.Session("pairs", symbols=["*"], channels=[])
    known = asyncio.Event()

    def take(frames: list[bytes], ts_recv: int) -> None:
        session.receive(frames, ts_recv)
        if session.counts()["pairs"]:
            known.set()

    connection = await connect(url, take, session.ping)
    try:
        for request in session.requests(time.time_ns()):
            connection.send(request)
        async with asyncio.timeout(PATIENCE):
            await known.wait()
    except TimeoutError:
        sentence = f"{url}: no instrument snapshot within {PATIENCE:.0f} s"
        raise FeedError(sentence) from None
    finally:
        await connection.close("done")
    return session.pairs()


def _recorded(lake: Path) -> list[dict[str, Any]]:
    columns = [
        "symbol",
        "base",
        "quote",
        "status",
        "price_precision",
        "qty_precision",
        "qty_min",
        "cost_min",
        "marginable",
    ]
    frame = Lake(lake).pairs().sort("ts_recv", "session", "message").unique("symbol", keep="last").select(columns)
    return frame.collect().to_dicts()


def _plain(value: str | Decimal | None) -> str | None:
    """An exact number without trailing zeros: a lake fills its columns with them, the exchange writes some of them."""
    return None if value is None else plain(Decimal(value))


def pairs(
    symbols: Sequence[str], exclude: Sequence[str], *, lake: Path | None = None, url: str | None = None
) -> list[dict[str, Any]]:
    """Pairs whose symbol matches one of the patterns ``symbols`` and none of ``exclude``, sorted.

    ``ConfigError`` for a wrong address; ``FeedError`` if the exchange does not answer; ``StorageError`` for no lake.
    """
    # What is to be recorded there, and whether that needs a key, is another matter.
    address = config.load({"url": url, "channels": "book"}).url if lake is None else ""
    found = asyncio.run(_ask(address)) if lake is None else _recorded(lake)
    names = [str(pair["symbol"]) for pair in found]
    lister = f"`krakpot pairs --lake {lake}`" if lake is not None else f"`krakpot pairs --url {address}`"
    for pattern in symbols:
        if names and not any(_core.matches(pattern, name) for name in names):
            raise ConfigError(unmatched(pattern, names, lister=lister))
    rows = [
        {key: _plain(value) if key in EXACT else value for key, value in pair.items() if key != "selected"}
        for pair in found
        if any(_core.matches(p, pair["symbol"]) for p in symbols)
        and not any(_core.matches(p, pair["symbol"]) for p in exclude)
    ]
    if names and not rows:
        raise ConfigError(f"--exclude: {', '.join(exclude)} leaves none of the {counted(len(names), 'pair')}")
    return sorted(rows, key=lambda pair: str(pair["symbol"]))

"""The pairs: from the exchange's instrument channel, or from a lake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from itertools import starmap
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from krakpot import _core, config
from krakpot.errors import ConfigError, FeedError, counted
from krakpot.lake.lake import Lake
from krakpot.lake.sample import plain
from krakpot.net.connection import connect
from krakpot.values import is_loopback, unmatched

EXACT = ("price_increment", "qty_increment", "qty_min", "cost_min")
"""Columns of exact numbers."""
COLUMNS = ("symbol", "base", "quote", "status", "price_precision", "qty_precision", *EXACT, "marginable")
HEADS = {
    "symbol": "pair",
    "status": "status",
    "price_precision": "price dec.",
    "price_increment": "price step",
    "qty_precision": "qty dec.",
    "qty_increment": "qty step",
    "qty_min": "min. qty",
    "cost_min": "min. cost",
    "marginable": "margin",
}
"""Columns of the table, in this order."""
SPARED = ("marginable", "cost_min", "qty_increment", "price_increment")
"""Columns that a narrow terminal does not show, in the order in which they are left out."""
TEXTS = ("symbol", "status")
"""Columns that begin at the left."""
PATIENCE = 20.0
"""Seconds to wait for the instrument snapshot."""


async def _ask(url: str) -> pl.DataFrame:
    """Rows of the instrument channel's pairs, without subscribing to any."""
    session = _core.Session("pairs", symbols=["*"], channels=[])
    known = asyncio.Event()

    def take(frames: list[bytes], ts_recv: int) -> None:
        session.receive(frames, ts_recv)
        if session.counts()["pairs"]:
            known.set()

    try:
        connection = await connect(url, take, session.ping)
    except FeedError as error:
        cure = "does `krakpot exchange` run there?" if is_loopback(url) else "check --url and this machine's network"
        raise FeedError(f"{error}; {cure}") from None
    try:
        for request in session.requests(time.time_ns()):
            connection.send(request)
        async with asyncio.timeout(PATIENCE):
            await known.wait()
    except TimeoutError:
        sentence = f"{url}: no instrument snapshot within {PATIENCE:.0f} s; is it Kraken's feed, version 2?"
        raise FeedError(sentence) from None
    finally:
        await connection.close("done")
    return pl.DataFrame(pa.record_batch(session.drain()["pairs"]))


def _latest(rows: pl.LazyFrame) -> list[dict[str, Any]]:
    """Each pair as it was described last."""
    described = rows.sort("ts_recv", "session", "message", "entry").unique("symbol", keep="last")
    return described.select(COLUMNS).collect().to_dicts()


def _plain(value: Decimal | None) -> str | None:
    """An exact number without the zeros that its column appends."""
    return None if value is None else plain(value)


def pairs(
    symbols: Sequence[str], exclude: Sequence[str], *, lake: Path | None = None, url: str | None = None
) -> list[dict[str, Any]]:
    """Pairs whose symbol matches one of the patterns ``symbols`` and none of ``exclude``, sorted.

    ``ConfigError`` for a wrong address; ``FeedError`` if the exchange does not answer; ``StorageError`` for no lake.
    """
    # What is to be recorded there, and whether that needs a key, is another matter.
    address = config.load({"url": url, "channels": "book"}).url if lake is None else ""
    found = _latest(asyncio.run(_ask(address)).lazy() if lake is None else Lake(lake).pairs())
    names = [str(pair["symbol"]) for pair in found]
    lister = f"`krakpot pairs --lake {lake}`" if lake is not None else f"`krakpot pairs --url {address}`"
    for pattern in symbols:
        if names and not any(_core.matches(pattern, name) for name in names):
            raise ConfigError(unmatched(pattern, names, lister=lister))
    rows = [
        {key: _plain(value) if key in EXACT else value for key, value in pair.items()}
        for pair in found
        if any(_core.matches(p, pair["symbol"]) for p in symbols)
        and not any(_core.matches(p, pair["symbol"]) for p in exclude)
    ]
    if names and not rows:
        raise ConfigError(f"--exclude: {', '.join(exclude)} leaves none of the {counted(len(names), 'pair')}")
    return sorted(rows, key=lambda pair: str(pair["symbol"]))


def brief(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the list for people."""
    lines = [f"{'pair':<16}{'status':<18}{'price decimals':>15}{'qty decimals':>14}{'smallest order':>20}"]
    for row in rows:
        name, status, price, qty, least = (
            _cell(row[key]) for key in ("symbol", "status", "price_precision", "qty_precision", "qty_min")
        )
        lines.append(f"{name:<16}{status:<18}{price:>15}{qty:>14}{least:>20}")
    return lines


def table(rows: Sequence[dict[str, Any]], width: int) -> list[str]:
    """Make a table that fits into ``width`` characters: what is of least use is left out of a narrow one."""
    shown = list(HEADS)
    for name in ("", *SPARED):
        shown = [column for column in shown if column != name]
        cells = [[HEADS[column] for column in shown], *([_cell(row[column]) for column in shown] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    layout = [f"<{size}" if column in TEXTS else f">{size}" for column, size in zip(shown, widths, strict=True)]
    return ["  ".join(starmap(format, zip(line, layout, strict=True))).rstrip() for line in cells]


def _cell(value: object) -> str:
    """A value in the table: nothing where it is not known."""
    return "" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

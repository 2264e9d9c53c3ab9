"""What a lake has: its pairs with decimals, depth and channels, its times, and whether it is recorded now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import polars as pl

from krakpot.lake.coverage import covered, recorded_sessions
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE, unreadable
from krakpot.lake.ledger import MARKS
from krakpot.lake.recorded import recorded_depths
from krakpot.values import LEVEL3

SHOWN = ("book", "trade", "ticker", LEVEL3)
"""Channels that the stream is made of."""


@dataclass(frozen=True)
class PairFacts:
    """A pair, as ``hello`` describes it."""

    symbol: str
    price_precision: int
    qty_precision: int
    depth: int
    channels: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "symbol": self.symbol,
            "price_precision": self.price_precision,
            "qty_precision": self.qty_precision,
            "depth": self.depth,
            "channels": list(self.channels),
        }


@dataclass(frozen=True)
class LakeFacts:
    """What a lake has."""

    pairs: tuple[PairFacts, ...]
    begin: int | None
    """The first and the last time of which something is known, ns; None: nothing was recorded."""
    end: int | None
    recorded: bool
    """Whether somebody records into it now."""


def facts_of(folder: Folder) -> LakeFacts:
    """See what a lake has. ``StorageError`` if its ledger cannot be read."""
    view = folder.look(["ledger", "pairs"])
    try:
        ledger = view.scan("ledger").select("session", *MARKS).collect()
        columns = ("symbol", "price_precision", "qty_precision")
        pairs = view.scan("pairs").select(*columns, "ts_recv", "session", "message", "entry").collect()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    recorded = recorded_sessions(view)
    spans = covered(ledger, recorded)
    spans = spans.filter(pl.col("channel").is_in(SHOWN))
    there: dict[str, set[str]] = {}
    for channel, symbol in spans.select("channel", "symbol").unique().iter_rows():
        there.setdefault(symbol, set()).add(channel)
    latest = pairs.sort("ts_recv", "session", "message", "entry").unique("symbol", keep="last")
    decimals = {symbol: (price, qty) for symbol, price, qty in latest.select(columns).iter_rows()}
    depths = recorded_depths(folder)
    found = []
    for symbol in sorted(there):
        price, qty = decimals.get(symbol, (None, None))
        known = [depths[key][0] for key in (("book", symbol), (LEVEL3, symbol)) if key in depths]
        channels = tuple(name for name in SHOWN if name in there[symbol])
        found.append(
            PairFacts(
                symbol, 10 if price is None else price, 10 if qty is None else qty, max(known, default=0), channels
            )
        )
    times = spans.select(pl.col("ts_from").min().to_physical(), pl.col("ts_to").max().to_physical()).row(0)
    return LakeFacts(tuple(found), times[0], times[1], bool(recorded))


def spans_of(folder: Folder, symbols: Collection[str]) -> list[dict[str, Any]]:
    """What is recorded of some pairs, as the message ``coverage`` says it."""
    view = folder.look(["ledger"])
    try:
        ledger = view.scan("ledger").select("session", *MARKS).collect()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    spans = covered(ledger, recorded_sessions(view))
    chosen = spans.filter(pl.col("symbol").is_in(list(symbols)) & pl.col("channel").is_in(SHOWN))
    times = pl.col("ts_from", "ts_to").to_physical() // 1000
    rows = chosen.select("symbol", "channel", times, "reason").iter_rows()
    return [
        {"symbol": symbol, "channel": channel, "from_us": since, "to_us": until, "reason": reason}
        for symbol, channel, since, until, reason in rows
    ]

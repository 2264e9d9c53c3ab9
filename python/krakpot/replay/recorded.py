"""What a lake says of its pairs at a time, which intervals of candles were recorded, and when the recording began."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE, unreadable
from krakpot.replay import wire


class _Described:
    """Descriptions of one pair or asset, by the time when they came."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.texts: list[str] = []

    def add(self, ts_recv: int, text: str) -> None:
        """``text`` came then; the same again says nothing new."""
        if not self.texts or self.texts[-1] != text:
            self.times.append(ts_recv)
            self.texts.append(text)

    def at(self, now: int) -> str:
        """The description in force; before the first one came, that one."""
        return self.texts[max(0, bisect_right(self.times, now) - 1)]


class Instruments:
    """Pairs and assets as the exchange described them in the course of a recording."""

    def __init__(self, folder: Folder, symbols: Collection[str]) -> None:
        """Of these pairs. ``StorageError`` if the lake cannot be read."""
        view = folder.look(["pairs", "assets"])
        try:
            pairs = view.scan("pairs").filter(pl.col("symbol").is_in(list(symbols))).collect()
            assets = view.scan("assets").collect()
        except UNREADABLE as error:
            unreadable(folder.path, error)
        self._pairs: dict[str, _Described] = {}
        self._assets: dict[str, _Described] = {}
        for frame, key, found in ((pairs, "symbol", self._pairs), (assets, "id", self._assets)):
            rows = frame.with_columns(pl.col("ts_recv").to_physical()).sort("ts_recv", "session", "message", "entry")
            for row in rows.iter_rows(named=True):
                text = wire.described(whole(row) if key == "symbol" else row)
                found.setdefault(row[key], _Described()).add(row["ts_recv"], text)

    def snapshot(self, now: int) -> tuple[list[str], list[str]]:
        """Assets and pairs as they were described at a time."""
        assets, pairs = ([one.at(now) for _, one in sorted(of.items())] for of in (self._assets, self._pairs))
        return assets, pairs

    def changes(self, since: int, until: int) -> tuple[list[str], list[str]]:
        """Assets and pairs that were described anew after ``since``, up to ``until``."""
        assets, pairs = (
            [one.at(until) for _, one in sorted(of.items()) if one.at(since) != one.at(until)]
            for of in (self._assets, self._pairs)
        )
        return assets, pairs


def whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``pairs`` with what a client needs of it.

    Where the instrument channel was not recorded, a pair has decimals only. Its currencies are in its name, its steps
    follow from the decimals, and it was online, since it has data.
    """
    base, _, quote = row["symbol"].partition("/")
    found = dict(row)
    known = {"base": base, "quote": quote, "status": "online"}
    found |= {name: value for name, value in known.items() if row[name] is None}
    for what in ("price", "qty"):
        decimals = row[f"{what}_precision"]
        if row[f"{what}_increment"] is None and decimals is not None:
            found[f"{what}_increment"] = Decimal(1).scaleb(-decimals)
    return found


def intervals(folder: Folder) -> set[int]:
    """Intervals of the candles that were recorded, minutes."""
    view = folder.look(["ohlc"])
    try:
        return set(view.scan("ohlc").select("interval").unique().collect()["interval"])
    except UNREADABLE as error:
        unreadable(folder.path, error)


def first_time(folder: Folder) -> int:
    """When the recording began, ns; 0 if there is none."""
    view = folder.look(["ledger"])
    try:
        first = view.scan("ledger").select(pl.col("ts_recv").min().to_physical()).collect().item()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    return first or 0

"""What was never recorded is an error that says what was: an empty frame would look like a quiet market."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import polars as pl

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake.coverage import covered, imported
from krakpot.lake.folder import Folder
from krakpot.lake.format import FEED, ORIGIN_TABLES, UNREADABLE, unreadable
from krakpot.lake.ledger import MARKS, RANGES, detail
from krakpot.values import utc

DEPTH_LEAST = 10
"""Levels with which every book is recorded at least."""


def check_recorded(folder: Folder, symbols: Sequence[str], channels: Iterable[str]) -> None:
    """Raise ``ConfigError`` for a channel that was recorded of none of the symbols, and say what was recorded."""
    ledger = _ledger(folder, symbols)
    held = set(covered(ledger).filter(pl.col("symbol").is_in(list(symbols)))["channel"])
    for channel in channels:
        if symbols and channel not in held and not has_rows(folder, symbols, channel):
            origins = imported(ledger).filter(pl.col("symbol").is_in(list(symbols)), channel=channel)["origin"]
            raise ConfigError(_absent(symbols, channel, sorted(held), sorted(set(origins))))


def has_rows(folder: Folder, symbols: Sequence[str], channel: str) -> bool:
    """Whether the feed left a row of a channel: the part of the ledger that told its begin may be gone."""
    table = _core.CHANNELS[channel]
    rows = folder.look([table]).scan(table).filter(pl.col("symbol").is_in(list(symbols)))
    if table in ORIGIN_TABLES:
        rows = rows.filter(pl.col("origin") == FEED)
    return rows.select("symbol").head(1).collect().height > 0


def check_depth_recorded(folder: Folder, symbols: Sequence[str], channel: str, depth: int, name: str = "depth") -> None:
    """Raise ``ConfigError`` for more levels than were recorded of any of the symbols."""
    if depth <= DEPTH_LEAST:
        return
    most = depth_of(folder, symbols, channel)
    if most is not None and depth > most:
        sentence = f"{name}={depth}: the channel {channel} of {_whose(symbols)} was recorded with a depth of {most}"
        raise ConfigError(f"{sentence}; give {name}={most} or less")


def depth_of(folder: Folder, symbols: Iterable[str], channel: str) -> int | None:
    """The largest depth with which a book of one of the symbols was recorded; None if no book was."""
    found = recorded_depths(folder)
    return max((found[channel, symbol][1] for symbol in symbols if (channel, symbol) in found), default=None)


def recorded_depths(folder: Folder) -> dict[tuple[str, str], tuple[int, int]]:
    """By channel and symbol, the smallest and the largest depth with which a book was recorded."""
    view = folder.look(["ledger"])
    try:
        rows = view.scan("ledger").filter(kind="snapshot").select("channel", "symbol", "detail").unique().collect()
    except UNREADABLE as error:
        unreadable(folder.path, error)
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for channel, symbol, text in rows.drop_nulls().iter_rows():
        depth = detail(text).get("depth")
        if isinstance(depth, int):
            least, most = found.get((channel, symbol), (depth, depth))
            found[channel, symbol] = min(least, depth), max(most, depth)
    return found


def warn_outside(begin: int | None, end: int | None, known: tuple[int, int] | None) -> None:
    """Warn that nothing of a range lies in what is known, all in ns; None: no bound."""
    if known is None or (begin is not None and begin == end):
        return
    if (end is not None and end <= known[0]) or (begin is not None and begin >= known[1]):
        first, last = (utc(time)[:19] + "Z" for time in known)
        sentence = f"nothing of this range was recorded; start and end lie outside of {first} to {last}"
        # The caller of the lake's method.
        warnings.warn(sentence, UserWarning, stacklevel=4)


def _ledger(folder: Folder, symbols: Sequence[str]) -> pl.DataFrame:
    mine = pl.col("symbol").is_null() | pl.col("symbol").is_in(list(symbols))
    rows = folder.look(["ledger"]).scan("ledger").filter(mine, pl.col("kind") != "alive")
    return rows.select("session", *MARKS, *RANGES).collect()


def _whose(symbols: Sequence[str]) -> str:
    return symbols[0] if len(symbols) == 1 else "these symbols"


def _absent(symbols: Sequence[str], channel: str, held: list[str], origins: list[str]) -> str:
    if origins:
        names = " or ".join(f"origin={origin!r}" for origin in origins if origin != FEED)
        return f"the channel {channel} of {_whose(symbols)} was imported, not recorded; give {names}"
    has = f"; recorded: {', '.join(held)}" if held else "; nothing of it was recorded"
    return f"the channel {channel} of {_whose(symbols)} was not recorded{has}"

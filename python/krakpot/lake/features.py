"""Features of a lake at regular times: reads what the features need, and hands it to ``krakpot.features``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import runs, spans, whole
from krakpot.features.orders import ROWS, queues
from krakpot.features.steps import (
    FEATURES,
    LAGGED,
    Wanted,
    book_features,
    flow_features,
    known_steps,
    order_features,
    sources,
    trade_features,
)
from krakpot.lake.coverage import settled
from krakpot.lake.recorded import warn_outside
from krakpot.lake.sample import grid, warn_no_step
from krakpot.lake.times import TIME
from krakpot.values import Instant, Numbers, step_text

HOUR = 3600 * 10**9
PIECE_HOURS = 4
"""Hours of orders that are in memory at a time, beside the two hours before them."""
TRADES = ("ts_recv", "trade_id", "side", "price", "qty")
ORDERS = ("ts_recv", "side", "event")
CHANNELS = {"book": "book", "event": "book", "trade": "trade", "level3": "level3", "queue": "level3"}
"""The channel that a source of features comes from."""


class Books(Protocol):
    """Reads books."""

    def __call__(
        self,
        symbol: str,
        start: int,
        end: int,
        *,
        every: str,
        depth: int,
        channel: str = "book",
        numbers: Numbers = "decimal",
    ) -> pl.DataFrame:
        """Books at regular times, without any where there are none."""


class Reader(Protocol):
    """What is read of a lake."""

    def scan(self, table: str, symbol: str, start: int, end: int) -> pl.LazyFrame:
        """Rows of a table."""

    def coverage(self) -> pl.DataFrame:
        """What was recorded."""


def features(
    lake: Reader,
    books: Books,
    books_at: Callable[[str, pl.Series], pl.DataFrame],
    symbols: list[str],
    chosen: list[Wanted],
    start: int | None,
    end: int | None,
    *,
    every: int,
    window: int,
) -> pl.DataFrame:
    """Features of some symbols; see ``Lake.features``. ``books_at`` gives the best levels of a symbol at some times."""
    whole(window, "window", 2)
    needed = sources(chosen)
    channels = {CHANNELS[source] for source in needed}
    coverage = settled(lake.coverage()).filter(
        pl.col("symbol").is_in(symbols), pl.col("channel").is_in(sorted(channels))
    )
    bounds = coverage.select(pl.col("ts_from").dt.epoch("ns").min(), pl.col("ts_to").dt.epoch("ns").max()).row(0)
    if None not in bounds:
        warn_outside(start, end, bounds)
    begin = -(-(bounds[0] or 0) // every) * every if start is None else start
    until = (bounds[1] or 0) if end is None else end
    # What features look back at is computed too, so that a value does not depend on where the range begins.
    known = (bounds[0] or 0, bounds[1] or 0)
    if start is None and known[0] < known[1] and known[0] < until <= begin:
        warn_no_step(every, *known)
    lead = (1 + window * any(one.base in LAGGED for one in chosen)) * every
    times = grid(begin - lead, until, every)
    found = []
    for symbol in symbols:
        mine = coverage.filter(symbol=symbol)
        one = _of(lake, books, books_at, symbol, chosen, times, every=every, window=window, coverage=mine)
        found.append(one.filter(pl.col("ts").dt.epoch("ns") >= begin))
    if not found:
        raise ConfigError("the lake has no symbols yet; record something first")
    return pl.concat(found)


def _of(
    lake: Reader,
    books: Books,
    books_at: Callable[[str, pl.Series], pl.DataFrame],
    symbol: str,
    chosen: list[Wanted],
    times: pl.Series,
    *,
    every: int,
    window: int,
    coverage: pl.DataFrame,
) -> pl.DataFrame:
    """Features of one symbol at all times."""
    needed = sources(chosen)
    first, last = (int(times.dt.epoch("ns")[place]) for place in (0, -1)) if len(times) else (0, 0)
    until = last + every if len(times) else 0
    if "book" in needed:
        depth = max(one.depth for one in chosen)
        frame = books(symbol, Instant(first), Instant(until), every=step_text(every), depth=depth, numbers="float")
    else:
        frame = times.alias("ts").to_frame().with_columns(reason=pl.lit(None, pl.String))
    frame = frame.with_columns(symbol=pl.lit(symbol))
    main = next(channel for source, channel in CHANNELS.items() if source in needed)
    frame = runs(frame, spans(coverage, main))
    received = symbol, Instant(first - every + 1), Instant(last + 1)
    if "trade" in needed:
        trades = lake.scan("trades", *received).filter(pl.col("kind") == "update").select(TRADES).collect()
        known = known_steps(times, every, spans(coverage, "trade"), _missing(lake, symbol, until))
        frame = pl.concat([frame, trade_features(times, every, trades, known)], how="horizontal")
    if "book" in needed:
        frame = book_features(frame, chosen, window)
    if "event" in needed and len(times):
        before = pl.Series([first - every], dtype=pl.Int64).cast(TIME)
        changed = lake.scan("book", *received).select(pl.col("ts_recv").unique()).collect()["ts_recv"]
        stretches = spans(coverage, "book")
        events = books_at(symbol, pl.concat([before, changed.sort()])).with_columns(symbol=pl.lit(symbol))
        flow = flow_features(times, every, runs(events, stretches), known_steps(times, every, stretches))
        frame = pl.concat([frame, flow], how="horizontal")
    elif "event" in needed:
        frame = frame.with_columns(ofi=pl.lit(None, pl.Float64))
    if "level3" in needed:
        orders = lake.scan("orders", *received).filter(pl.col("kind") == "update").select(ORDERS).collect()
        known = known_steps(times, every, spans(coverage, "level3"))
        frame = pl.concat([frame, order_features(times, every, orders, known)], how="horizontal")
    if "queue" in needed:
        best = books(symbol, Instant(first), Instant(until), every=step_text(every), depth=1, channel="level3")
        best = best.with_columns(symbol=pl.lit(symbol))
        names = [one.name for one in chosen if FEATURES[one.base].source == "queue"]
        aged = [_queues(lake, symbol, piece).select(names) for piece in _pieces(best)]
        frame = pl.concat([frame, pl.concat(aged)], how="horizontal")
    return frame.select("symbol", pl.col("ts").cast(TIME), "reason", "run", *(one.name for one in chosen))


def _pieces(books: pl.DataFrame) -> list[pl.DataFrame]:
    """The books in pieces of a few hours, since all orders of a day may be more than memory holds."""
    hours = pl.col("ts").dt.epoch("ns") // int(PIECE_HOURS * HOUR)
    placed = books.with_columns(_piece=hours)
    return placed.partition_by("_piece", maintain_order=True, include_key=False) or [books]


def _queues(lake: Reader, symbol: str, books: pl.DataFrame) -> pl.DataFrame:
    """Add the queues to books of level 3."""
    times = books["ts"].dt.epoch("ns")
    first, last = (int(times[0]), int(times[-1])) if books.height else (0, 0)
    # Every hour has a checkpoint at its first message, so the orders at the first time are known from two hours before.
    begin, end = Instant(first - 2 * HOUR), Instant(last + 1)
    orders = lake.scan("orders", symbol, begin, end).select(ROWS).collect()
    made = [name for name in ROWS if name not in {"kind", "event"}]
    checkpoints = lake.scan("orders_checkpoints", symbol, begin, end).select(made).collect()
    return queues(books, orders, checkpoints)


def _missing(lake: Reader, symbol: str, until: int) -> pl.DataFrame:
    """Times in which trades are missing, by their ids, although they were followed."""
    rows = (
        lake.scan("ledger", symbol, Instant(-(1 << 62)), Instant(until)).filter(pl.col("kind") == "trade_gap").collect()
    )
    return rows.select(pl.coalesce("ts_from", "ts_recv"), ts_to="ts_recv")

"""Features by name at regular times, of the frames that a lake has read; ``Lake.features`` calls this.

A row at a time has what was known then: the book after the last message up to it, and the trades and orders that were
received in the step that ends with it, (ts - every, ts]. Nothing later is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features import books, prices
from krakpot.features.frames import TIME, need
from krakpot.features.orders import EVENTS, counts
from krakpot.features.trades import sign_runs
from krakpot.values import near, shown

Source = Literal["book", "event", "trade", "level3", "queue"]


class Feature(NamedTuple):
    """What ``Lake.features`` can be asked for."""

    source: Source
    """What it is made of: books, each event of a book, trades, orders of level 3, or the queues of level 3."""
    unit: str
    meaning: str


FEATURES: Mapping[str, Feature] = {
    "mid": Feature("book", "quote", "mean of the best bid and ask"),
    "spread": Feature("book", "quote", "best ask minus best bid"),
    "microprice": Feature("book", "quote", "best prices, each weighted by the other side's quantity"),
    "imbalance_N": Feature("book", "none", "(bids - asks) / (bids + asks), quantities of the best N levels"),
    "bid_depth_N": Feature("book", "base", "quantity of the best N bids"),
    "ask_depth_N": Feature("book", "base", "quantity of the best N asks"),
    "bid_slope_N": Feature("book", "base per quote", "growth of quantity with the distance from the mid, N bids"),
    "ask_slope_N": Feature("book", "base per quote", "the same of N asks"),
    "log_return": Feature("book", "none", "logarithm of the mid, less that of the step before"),
    "realised_volatility": Feature("book", "none", "root of the sum of the squared returns of the last `window` steps"),
    "ofi": Feature("event", "base", "order-flow imbalance of the step, added up event by event"),
    "trade_count": Feature("trade", "trades", "trades of the step"),
    "volume": Feature("trade", "base", "volume of the step"),
    "signed_volume": Feature("trade", "base", "volume that takers bought, less what they sold"),
    "vwap": Feature("trade", "quote", "mean price of the step by quantity; null without trades"),
    "sign_run": Feature(
        "trade", "trades", "trades in a row with the last one's side, times its sign; 0 without trades"
    ),
    "kyle_lambda": Feature(
        "trade", "quote per base", "change of the mid for each unit of signed volume, `window` steps"
    ),
    "bid_adds": Feature("level3", "per second", "orders added to the bids"),
    "bid_deletes": Feature("level3", "per second", "bids that were filled or cancelled"),
    "ask_adds": Feature("level3", "per second", "orders added to the asks"),
    "ask_deletes": Feature("level3", "per second", "asks that were filled or cancelled"),
    "bid_queue_orders": Feature("queue", "orders", "orders at the best bid"),
    "ask_queue_orders": Feature("queue", "orders", "orders at the best ask"),
    "bid_queue_age": Feature("queue", "s", "their mean age"),
    "ask_queue_age": Feature("queue", "s", "their mean age"),
}
"""Every feature by name; N stands for a number of levels: ``imbalance_5``."""
Maker = Callable[[pl.DataFrame, int, int], pl.DataFrame]
MAKERS: Mapping[str, Maker] = {
    "spread": lambda frame, depth, window: books.spread(frame),
    "microprice": lambda frame, depth, window: books.microprice(frame),
    "imbalance_N": lambda frame, depth, window: books.imbalance(frame, depth),
    "bid_depth_N": lambda frame, depth, window: books.depth_of(frame, depth),
    "ask_depth_N": lambda frame, depth, window: books.depth_of(frame, depth),
    "bid_slope_N": lambda frame, depth, window: books.slope(frame, depth),
    "ask_slope_N": lambda frame, depth, window: books.slope(frame, depth),
    "log_return": lambda frame, depth, window: prices.log_return(frame),
    "realised_volatility": lambda frame, depth, window: prices.realised_volatility(frame, window),
    "kyle_lambda": lambda frame, depth, window: prices.kyle_lambda(frame, window),
}
"""How features of books are added to rows that have the mid: with levels and the window."""
LAGGED = ("realised_volatility", "kyle_lambda")
"""Features that look back over the window."""


class Wanted(NamedTuple):
    """A feature that was asked for."""

    name: str
    base: str
    """Its key in ``FEATURES``."""
    depth: int
    """Levels that it needs; 1 where it has no number."""


def wanted(names: str | Iterable[str]) -> list[Wanted]:
    """Read names of features; ``ConfigError`` with those that there are for one that is none."""
    found = []
    for name in [names] if isinstance(names, str) else list(names):
        parts = re.fullmatch(r"(\w+?)(?:_([1-9]\d{0,3}))?", str(name), re.ASCII)
        base = "" if parts is None else f"{parts[1]}_N" if parts[2] else parts[1]
        if base not in FEATURES or base.endswith("_N") != bool(parts and parts[2]):
            close = near(str(name), FEATURES)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            listed = ", ".join(FEATURES)
            raise ConfigError(
                f"no feature {shown(name)}; {hint}features: {listed}; N is a number of levels, as imbalance_5"
            )
        found.append(Wanted(str(name), base, int(parts[2]) if parts and parts[2] else 1))
    if not found or len(found) != len(set(found)):
        raise ConfigError(f"names={shown([one.name for one in found])}; give one or more features, each once")
    return found


def sources(chosen: Iterable[Wanted]) -> set[Source]:
    """What must be read for these features."""
    chosen = list(chosen)
    found = {FEATURES[one.base].source for one in chosen}
    if "event" in found or any(one.base == "kyle_lambda" for one in chosen):
        found.add("book")
    return found


def book_features(frame: pl.DataFrame, chosen: Iterable[Wanted], window: int) -> pl.DataFrame:
    """Add the features of books to rows of books with ``run``; ``signed_volume`` is there if kyle_lambda needs it."""
    found = books.mid(frame)
    for one in chosen:
        if one.base in MAKERS:
            found = MAKERS[one.base](found, one.depth, window)
    return found


def trade_features(times: pl.Series, every: int, trades: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """Features of the trades of each step; null where ``known`` is not true, and those of sides where one has none.

    ``times`` are regular, and the rows of ``trades`` are in the order in which they came.
    """
    need(trades, ("ts_recv", "trade_id", "side", "price", "qty"))
    placed = trades.with_columns(pl.col("price", "qty").cast(pl.Float64), symbol=_step(times, every))
    signs = sign_runs(placed)
    sided = pl.col("sign").is_not_null().all()
    sums = signs.group_by("symbol", maintain_order=True).agg(
        there=pl.lit(value=True),
        trade_count=pl.len().cast(pl.UInt32),
        volume=pl.col("qty").sum(),
        signed_volume=pl.when(sided).then((pl.col("qty") * pl.col("sign")).sum()),
        vwap=(pl.col("price") * pl.col("qty")).sum() / pl.col("qty").sum(),
        sign_run=pl.col("sign_run").last(),
    )
    found = _filled(sums, known, keep=("there", "vwap", "signed_volume", "sign_run"))
    # Nothing was signed in a step without trades; in one with a trade without a side it is not known.
    empty = pl.Series(known) & pl.col("there").is_null()
    signed = pl.col("signed_volume", "sign_run")
    return found.with_columns(pl.when(empty).then(signed.fill_null(0)).otherwise(signed)).drop("there")


def flow_features(times: pl.Series, every: int, events: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """Order-flow imbalance of each step; null where ``known`` is not true.

    ``events`` are books after each event, with ``run``; the first one is the book before the first step.
    """
    flow = books.order_flow_imbalance(events).select(pl.col("ts").alias("ts_recv"), "ofi")
    sums = flow.with_columns(symbol=_step(times, every)).group_by("symbol").agg(pl.col("ofi").sum())
    return _filled(sums, known)


def order_features(times: pl.Series, every: int, orders: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """Orders added and deleted in each step, per second; null where ``known`` is not true."""
    need(orders, ("ts_recv", "side", "event"))
    sums = orders.with_columns(symbol=_step(times, every)).group_by("symbol").agg(**counts())
    return _filled(sums, known).with_columns(pl.col(*EVENTS) / (every / 1e9))


def _step(times: pl.Series, every: int) -> pl.Expr:
    """The place of the step in which a row was received: (ts - every, ts]."""
    begin = int(times.dt.epoch("ns")[0]) if len(times) else 0
    return -((begin - pl.col("ts_recv").dt.epoch("ns")) // every)


def _filled(sums: pl.DataFrame, known: pl.Series, keep: tuple[str, ...] = ()) -> pl.DataFrame:
    """A row for each step: what was summed, 0 for a step without rows, null for one that is not known."""
    steps = pl.DataFrame({"known": known}).with_columns(symbol=pl.int_range(pl.len(), dtype=pl.Int64))
    joined = steps.join(sums, on="symbol", how="left", maintain_order="left")
    names = [name for name in sums.columns if name != "symbol"]
    filled = (pl.col(name) if name in keep else pl.col(name).fill_null(0) for name in names)
    return joined.select(pl.when("known").then(one) for one in filled)


def known_steps(times: pl.Series, every: int, spans: pl.DataFrame, holes: pl.DataFrame | None = None) -> pl.Series:
    """Whether all of (ts - every, ts] is known: in one of the spans, and in none of the holes.

    Parameters
    ----------
    times
        Ascending times.
    every
        Length of a step, ns.
    spans
        As ``features.frames.spans`` gives them, of one symbol.
    holes
        Columns ts_from (exclusive) and ts_to (inclusive): times in which something is missing although it was followed.

    """
    at = times.dt.epoch("ns")
    rows = pl.DataFrame({"at": at, "begin": at - every + 1})
    bounds = spans.select(begin=pl.col("ts_from").dt.epoch("ns"), until=pl.col("ts_to").dt.epoch("ns")).sort("begin")
    inside = rows.join_asof(bounds, on="begin").select((pl.col("at") < pl.col("until")).fill_null(value=False))["at"]
    if holes is None or holes.is_empty():
        return inside
    begins, ends = (holes[name].cast(TIME).dt.epoch("ns").sort() for name in ("ts_from", "ts_to"))
    # Holes that began before the end of the step, and did not end before it began.
    begun = begins.search_sorted(rows["at"], side="left")
    over = ends.search_sorted(rows["begin"], side="left")
    return inside & (begun == over)

"""Features of books: each takes a frame as ``Lake.books`` gives it, and adds its columns.

Rows are in the order of time. Where there is no book (``reason``), or a side has no level, features are null. Prices
and quantities may be decimals or floats; features are Float64.
"""

from __future__ import annotations

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import added, need, numbers, over, runs, whole
from krakpot.values import shown

BEST = ("bid_price_0", "bid_qty_0", "ask_price_0", "ask_qty_0")


def levels(books: pl.DataFrame) -> int:
    """How many levels a side the frame has."""
    return sum(name.startswith("bid_price_") for name in books.columns)


def _deep(books: pl.DataFrame, depth: int) -> int:
    """The depth, if the frame has so many levels."""
    need(books, BEST)
    if whole(depth, "depth") > levels(books):
        sentence = f"depth={shown(depth)}: the frame has {levels(books)} levels a side; ask for books of that depth"
        raise ConfigError(sentence)
    return depth


def mid(books: pl.DataFrame) -> pl.DataFrame:
    """Add ``mid``, the mean of the best bid and the best ask, in the quote currency."""
    need(books, BEST)
    bid, ask = numbers("bid_price_0", "ask_price_0")
    return books.with_columns(mid=(bid + ask) / 2)


def spread(books: pl.DataFrame) -> pl.DataFrame:
    """Add ``spread``, the best ask minus the best bid, in the quote currency."""
    need(books, BEST)
    bid, ask = numbers("bid_price_0", "ask_price_0")
    return books.with_columns(spread=ask - bid)


def microprice(books: pl.DataFrame) -> pl.DataFrame:
    """Add ``microprice``, the mean of the best prices, each weighted by the other side's quantity; quote currency.

    (bid · ask_qty + ask · bid_qty) / (bid_qty + ask_qty): much quantity on the bid moves it towards the ask.
    """
    need(books, BEST)
    bid, bid_qty, ask, ask_qty = numbers(*BEST)
    return books.with_columns(microprice=(bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty))


def depth_of(books: pl.DataFrame, depth: int = 10) -> pl.DataFrame:
    """Add ``bid_depth_N`` and ``ask_depth_N``, the quantity of the best N levels of a side, in the base currency.

    A side that has fewer levels counts with those that it has; an empty one is null.
    """
    _deep(books, depth)
    return books.with_columns(_quantity(side, depth).alias(f"{side}_depth_{depth}") for side in ("bid", "ask"))


def _quantity(side: str, depth: int) -> pl.Expr:
    total = pl.sum_horizontal(numbers(*(f"{side}_qty_{level}" for level in range(depth))))
    return pl.when(pl.col(f"{side}_price_0").is_not_null()).then(total)


def imbalance(books: pl.DataFrame, depth: int = 1) -> pl.DataFrame:
    """Add ``imbalance_N``: (bids - asks) / (bids + asks), the quantities of the best N levels of each side.

    Without a unit, from -1 (all on the ask) to 1 (all on the bid). Null if a side is empty.
    """
    _deep(books, depth)
    bid, ask = _quantity("bid", depth), _quantity("ask", depth)
    return books.with_columns(((bid - ask) / (bid + ask)).alias(f"imbalance_{depth}"))


def slope(books: pl.DataFrame, depth: int = 10) -> pl.DataFrame:
    """Add ``bid_slope_N`` and ``ask_slope_N``: how fast quantity grows with the distance from the mid.

    The slope of the line through the mid that fits best (least squares): Σ dᵢVᵢ / Σ dᵢ², where dᵢ is the distance of
    level i from the mid and Vᵢ the quantity up to it; base currency for each unit of the quote currency. A large slope:
    a large order moves the price little. Levels that a side does not have are left out.
    """
    _deep(books, depth)
    best = numbers("bid_price_0", "ask_price_0")
    middle = (best[0] + best[1]) / 2
    found = []
    for side in ("bid", "ask"):
        up, down = [], []
        for level in range(depth):
            distance = (numbers(f"{side}_price_{level}")[0] - middle).abs()
            quantity = pl.sum_horizontal(numbers(*(f"{side}_qty_{n}" for n in range(level + 1))))
            # The product is null for a level that is not there, and a sum leaves nulls out.
            up.append(distance * quantity)
            down.append(distance * distance)
        line = pl.sum_horizontal(up) / pl.sum_horizontal(down)
        there = middle.is_not_null()
        found.append(pl.when(there).then(line).alias(f"{side}_slope_{depth}"))
    return books.with_columns(found)


def order_flow_imbalance(books: pl.DataFrame) -> pl.DataFrame:
    """Add ``ofi``, the order-flow imbalance of each row against the row before it, in the base currency.

    e = [b ≥ b'] q - [b ≤ b'] q' - [a ≤ a'] r + [a ≥ a'] r', where b, q are price and quantity of the best bid, a, r of
    the best ask, and a prime is the row before. What is added to the bid, or taken from the ask, is positive. Source:
    Cont, Kukanov, Stoikov, The Price Impact of Order Book Events, Journal of Financial Econometrics 12 (2014), 47-88.

    It is exact if each row is one event (``Lake.books(every="change")``), and its sum over a time is then theirs. On
    books at regular times it compares the books at those times. Null in the first row after a gap (see
    ``features.frames.runs``).
    """
    need(books, BEST)
    framed = runs(books)
    before = [f"_{name}" for name in BEST]
    shifted = framed.with_columns(
        over(framed, pl.col(name).cast(pl.Float64).shift(1), "run").alias(mine)
        for name, mine in zip(BEST, before, strict=True)
    )
    bid, bid_qty, ask, ask_qty = numbers(*BEST)
    bid_before, bid_qty_before, ask_before, ask_qty_before = (pl.col(name) for name in before)
    flow = (
        (bid >= bid_before) * bid_qty
        - (bid <= bid_before) * bid_qty_before
        - (ask <= ask_before) * ask_qty
        + (ask >= ask_before) * ask_qty_before
    )
    return added(shifted.with_columns(ofi=flow), books, "ofi")

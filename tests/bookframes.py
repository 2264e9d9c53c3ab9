"""Frames for the tests of features, and hypothesis' strategies for them."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import strategies as st

import frames
from krakpot.features.frames import TIME

Row = tuple[str, int, str | None, tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
"""Symbol, time, reason, bids and asks (price and quantity, best first)."""
DEPTH = 3
SYMBOLS = ("A/USD", "B/USD")


def books(rows: list[Row], depth: int = DEPTH) -> pl.DataFrame:
    """Books as ``Lake.books`` gives them."""
    schema: dict[str, Any] = {"symbol": pl.String, "ts": pl.Int64, "reason": pl.String}
    names = [(side, what, level) for level in range(depth) for side in ("bid", "ask") for what in (0, 1)]
    schema |= {f"{side}_{('price', 'qty')[what]}_{level}": pl.Float64 for side, what, level in names}
    listed = []
    for symbol, ts, reason, bids, asks in rows:
        sides = {"bid": bids, "ask": asks}
        cells = [sides[side][level][what] if level < len(sides[side]) else None for side, what, level in names]
        listed.append((symbol, ts, reason, *cells))
    return pl.DataFrame(listed, schema=schema, orient="row").with_columns(pl.col("ts").cast(TIME))


@st.composite
def rows(draw: st.DrawFn, symbols: tuple[str, ...] = SYMBOLS, most: int = 25) -> list[Row]:
    """Books of a few pairs, mixed and in the order of time; some rows are gaps, some sides are short or empty."""
    quantity = st.integers(1, 50).map(lambda n: n / 4)
    found: list[Row] = []
    for symbol in symbols:
        now = frames.START
        for _ in range(draw(st.integers(0, most))):
            now += draw(st.integers(1, 4)) * frames.SECOND
            if draw(st.integers(0, 6)) == 0:
                found.append((symbol, now, "gap", (), ()))
                continue
            mid = draw(st.integers(90, 110))
            sides: list[tuple[tuple[float, float], ...]] = []
            for sign in (-1, 1):
                steps = draw(st.lists(st.integers(1, 3), max_size=DEPTH))
                prices = [mid + sign * sum(steps[: n + 1]) / 2 for n in range(len(steps))]
                sides.append(tuple((price, draw(quantity)) for price in prices))
            found.append((symbol, now, None, sides[0], sides[1]))
    return sorted(found, key=lambda row: (row[1], row[0]))

"""Pair the states of the book channel with the states of the book derived from level 3.

The core finds the pairs (``_core.align``): the longest chain of equal states that grows in both sequences. Here the
pairs get their latency, and each state is marked as compared or left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.compare.states import CHANNELS_COMPARED, WRONG, Channel, distinct

WINDOW = 5_000_000_000
"""Largest difference between the receive times of a pair, ns."""
NEAREST = 16
"""Candidates that are tried for a state: the ones nearest to the usual latency."""
SETTLE = 1_000_000_000
"""Time before the end of a sync span, and after its begin, in which a state without a counterpart may be late, ns."""
CLEAR_MIN = 100
"""From this number of pairs on, the range of expected latencies is taken from the symbol's own pairs."""
MATCHES = (
    "symbol", "checksum", "book_session", "book_message", "level3_session", "level3_message",
    "book_ts_recv", "level3_ts_recv", "book_ts_event", "level3_ts_event", "latency_recv", "latency_event",
    "book_entries", "level3_entries", "recurs", "begins",
)  # fmt: skip
"""Columns of the matches. ``recurs``: the state returns within a second. ``begins``: the state begins a sync span, so
it was seen later than it arose. Both are left out of latency. Latencies in ns."""


def match_states(book: pl.DataFrame, derived: pl.DataFrame, window: int) -> pl.DataFrame:
    """Pair two sequences of distinct states; returns the row numbers (``book``, ``level3``) of each pair."""
    symbols = pl.concat([book["symbol"], derived["symbol"]]).unique().sort().to_list()
    group = pl.col("symbol").replace_strict(symbols, range(len(symbols)), return_dtype=pl.UInt32)
    sides = [
        states.select(group.alias("group"), "key", pl.col("ts_recv").dt.epoch("ns").alias("time"), "first")
        for states in (book, derived)
    ]
    pairs = pl.DataFrame(pa.record_batch(_core.align(*sides, window=window, nearest=NEAREST)))
    return pairs.rename({"left": "book", "right": "level3"})


def _edges(matches: pl.DataFrame, symbols: Iterable[str], window: int) -> pl.DataFrame:
    """Range of latencies to expect of each symbol: the range seen, extended by its own width at either end.

    If a state's counterpart would lie outside the other book's sync span, the state does not count as missing.
    """
    latency = pl.col("latency_recv")
    width = latency.max() - latency.min()
    bounds = [(latency.min() - width).alias("low"), (latency.max() + width).alias("high")]
    clear = matches.filter("clear")
    total = clear.select(bounds)
    own = clear.group_by("symbol").agg(*bounds, pairs=pl.len()).filter(pl.col("pairs") >= CLEAR_MIN)
    frame = pl.DataFrame({"symbol": list(symbols)}, schema={"symbol": pl.String}).join(
        own.drop("pairs"), on="symbol", how="left"
    )
    return frame.with_columns(
        pl.col(name).fill_null(total[name][0] or 0).clip(-window, window) for name in ("low", "high")
    )


def _compared(states: pl.DataFrame, other: pl.DataFrame, edges: pl.DataFrame, *, book: bool) -> pl.DataFrame:
    """Add ``compared``: whether the other book was in sync at every time at which the counterpart may have come.

    A counterpart may be later than any before it. Only the order of the states tells that it did not come: a later
    state has its counterpart. So a state within ``SETTLE`` of either end of the other book's span, with no pair of that
    span beyond it, is left out; not so before an end that an error brought, which the missing message may have caused.
    """
    latencies = ("high", "low") if book else ("low", "high")
    sign = -1 if book else 1
    recv = pl.col("ts_recv").dt.epoch("ns")
    states = states.join(edges, on="symbol", how="left", maintain_order="left").with_columns(
        earliest=recv + sign * pl.col(latencies[0]), latest=recv + sign * pl.col(latencies[1])
    )
    columns = [pl.col("ts_from", "ts_to").dt.epoch("ns"), pl.col("place").alias("other")]
    broke = pl.col("reason").is_in(WRONG).fill_null(value=False).alias("broke")
    spans = other.select("symbol", *columns, broke).sort("ts_from")
    at = states.with_row_index("row").sort("earliest")
    found = at.join_asof(spans, left_on="earliest", right_on="ts_from", by="symbol", check_sortedness=False).sort("row")
    paired = pl.when(pl.col("partner").is_not_null()).then(recv)
    beyond = [paired.min().over("other").alias("begun"), paired.max().over("other").alias("done")]
    begins = (recv < pl.col("begun")) & (pl.col("earliest") - pl.col("ts_from") < SETTLE)
    ends = (recv > pl.col("done")) & ~pl.col("broke") & (pl.col("ts_to") - pl.col("latest") < SETTLE)
    compared = (pl.col("latest") <= pl.col("ts_to")) & ~(begins | ends).fill_null(value=False)
    column = found.with_columns(beyond).select(compared.fill_null(value=False).alias("compared"))
    return states.with_columns(column["compared"]).drop("earliest", "latest", "low", "high")


@dataclass
class Compared:
    """Two sequences of states, paired."""

    book: pl.DataFrame
    """Distinct states, with ``compared`` and ``partner`` (row number in ``derived``, null if there is none)."""
    derived: pl.DataFrame
    """The same of the derived book; ``partner`` is a row number in ``book``."""
    matches: pl.DataFrame
    """A row per pair: the columns ``MATCHES``, and ``clear``: whether it counts for latency."""


def align(book: Channel, derived: Channel, key: str, window: int) -> Compared:
    """Pair the distinct states of two channels whose spans follow each other (``states.sequence``)."""
    sides = [distinct(channel.states, key) for channel in (book, derived)]
    pairs = match_states(sides[0], sides[1], window)
    columns = ["session", "message", "ts_recv", "ts_event", "entries", "first", "recurs"]
    halves = [
        side[pairs[name]].select(pl.col("symbol", "checksum", *columns).name.prefix(f"{name}_"))
        for side, name in zip(sides, CHANNELS_COMPARED, strict=True)
    ]
    matches = pl.concat(halves, how="horizontal").rename({"book_symbol": "symbol", "book_checksum": "checksum"})
    # The book channel sends microseconds, level 3 nanoseconds.
    event = [pl.col(f"{name}_ts_event").dt.truncate("1us") for name in CHANNELS_COMPARED]
    matches = matches.with_columns(
        latency_recv=(pl.col("book_ts_recv") - pl.col("level3_ts_recv")).dt.total_nanoseconds(),
        latency_event=(event[0] - event[1]).dt.total_nanoseconds(),
        recurs=pl.col("book_recurs") | pl.col("level3_recurs"),
        begins=pl.col("book_first") | pl.col("level3_first"),
    ).with_columns(clear=~pl.col("recurs") & ~pl.col("begins"))
    edges = _edges(matches, pl.concat([side["symbol"] for side in sides]).unique().sort(), window)
    for at, other in enumerate((derived, book)):
        mine, partner = pairs[CHANNELS_COMPARED[at]], pairs[CHANNELS_COMPARED[1 - at]]
        partners = pl.DataFrame({"row": mine, "partner": partner})
        side = sides[at].with_row_index("row").join(partners, on="row", how="left", maintain_order="left").drop("row")
        sides[at] = _compared(side, other.spans, edges, book=at == 0)
    return Compared(sides[0], sides[1], matches.select(*MATCHES, "clear"))

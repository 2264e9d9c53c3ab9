"""Two sources of one symbol: which of them a reader takes, and what one had that the other lacks.

A redundant connection, two recorders of one lake, or a reconnect that overlaps. A reader takes one session at a time,
the earliest begun that covers, and changes only at its end. Where another one covers that end, it goes on with the
first message that is later than the last one taken, by the exchange's time and not by the time of receipt: two
sockets deliver one message at two times. Trades have numbers, and need no turns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

    from krakpot.lake import Lake

CHANNELS = {"book": "book", "orders": "level3", "trades": "trade", "ticker": "ticker", "ohlc": "ohlc"}
"""Tables that can have several sources, and the channels that fill them."""
COMPARED = {"book": ("ts_event", "checksum"), "orders": ("ts_event", "checksum"), "trades": ("trade_id", "trade_id")}
"""Tables of which two sources are compared: what orders their messages, and what tells one from another."""
NAMED = 5
"""Symbols named in a sentence."""
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
TIMES = pl.Datetime("ns", "UTC")
TURNS = {
    "symbol": pl.String, "session": pl.String, "turn": pl.Int64, "begin": pl.Int64, "end": pl.Int64,
    "joined": pl.Boolean, "handed": pl.Boolean,
}  # fmt: skip
"""A turn, where it ends, and whether the one after it is joined to it."""


class Span(NamedTuple):
    """A session covers a symbol from ``begin`` to before ``end``, ns."""

    begin: int
    end: int
    session: str


class Turn(NamedTuple):
    """A session is the one to take, from ``begin`` on, ns."""

    session: str
    begin: int
    joined: bool
    """Whether it covered when the one before ended; otherwise it begins anew, with a snapshot."""


def overlap(spans: Iterable[Span]) -> bool:
    """Whether two sessions cover at one time."""
    until = LOWEST
    for span in sorted(spans):
        if span.begin < until:
            return True
        until = span.end
    return False


def turns(spans: Iterable[Span]) -> list[Turn]:
    """Sessions to take one after the other: the earliest begun that covers, up to its end."""
    found: list[Turn] = []
    left = sorted(spans)
    at = LOWEST
    while left:
        # Sorted by their begin: the first is the one that covers ``at``, or the next one.
        span = left.pop(0)
        joined = span.begin <= at
        found.append(Turn(span.session, at if joined else span.begin, joined))
        at = span.end
        left = [one for one in left if one.end > at]
    return found


def _by_symbol(coverage: pl.DataFrame, channel: str) -> dict[str, list[Span]]:
    """Spans of the symbols that have several sources at one time."""
    rows = coverage.filter(channel=channel).select("symbol", pl.col("ts_from", "ts_to").to_physical(), "session")
    found: dict[str, list[Span]] = defaultdict(list)
    for symbol, begin, end, session in rows.iter_rows():
        if end > begin:
            found[symbol].append(Span(begin, end, session))
    return {symbol: spans for symbol, spans in found.items() if overlap(spans)}


def one(frame: pl.LazyFrame, table: str, coverage: pl.DataFrame) -> pl.LazyFrame:
    """Rows of one source at a time, for a table with turns. ``frame`` is the whole table, of some symbols or all."""
    rows = []
    for symbol, spans in _by_symbol(coverage, CHANNELS[table]).items():
        found = turns(spans)
        following = [*found[1:], Turn("", HIGHEST, joined=False)]
        for number, (turn, after) in enumerate(zip(found, following, strict=True)):
            # What nobody covers goes to the one before, or to the first: it is no reason to drop it.
            begin = LOWEST if number == 0 else turn.begin
            rows.append((symbol, turn.session, number, begin, after.begin, turn.joined, after.joined))
    if not rows:
        return frame
    schema = {"symbol": pl.String, "session": pl.String, "turn": pl.Int64, "begin": pl.Int64, "end": pl.Int64}
    chosen = pl.DataFrame(
        rows, schema=schema | {"joined": pl.Boolean, "handed": pl.Boolean}, orient="row"
    ).with_columns(pl.col("begin", "end").cast(TIMES))
    several = pl.col("symbol").is_in(chosen["symbol"].unique().to_list())
    received = pl.col("ts_recv").is_between("begin", "end", closed="left")
    last = (
        frame.select("symbol", "session", "ts_recv", "ts_event")
        .join(chosen.lazy().filter("handed"), on=["symbol", "session"])
        .filter(received)
        .group_by("symbol", "turn")
        .agg(pl.col("ts_event").max().alias("after"))
        .collect()
    )
    chosen = (
        chosen.join(last, on=["symbol", "turn"], how="left")
        .sort("symbol", "turn")
        # A turn may have no message at all: what counts is the last one of all turns before.
        .with_columns(pl.col("after").fill_null(strategy="forward").cum_max().shift(1).over("symbol"))
        .with_columns(pl.when("joined").then("after"))
    )
    later = pl.when(pl.col("after").is_null() | pl.col("ts_event").is_null())
    taken = later.then(received).otherwise((pl.col("ts_event") > pl.col("after")) & (pl.col("ts_recv") < pl.col("end")))
    return (
        frame.join(chosen.lazy(), on=["symbol", "session"], how="left", maintain_order="left")
        .filter(~several | taken.fill_null(value=False))
        .select(frame.collect_schema().names())
    )


def distinct_trades(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Each trade once, whoever had it: as it came, if it came live, and the first time; ordered across sessions."""
    order = ["ts_recv", "session", "message", "entry"]
    return (
        frame.sort(pl.col("kind") != "update", *order)
        .unique(["symbol", "trade_id"], keep="first", maintain_order=True)
        .sort(order)
    )


def differences(lake: Lake, coverage: pl.DataFrame) -> list[str]:
    """Say of any two sessions that followed a symbol at one time what each had that the other lacks.

    Compared is what both covered, from the later first message to the earlier last one, in the exchange's order.
    """
    sentences = []
    for table, (order, number) in COMPARED.items():
        files: dict[str, list[Path]] = defaultdict(list)
        for part in lake.parts(table):
            files[part.session].append(part.path)
        totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        symbols: dict[tuple[str, str], set[str]] = defaultdict(set)
        differ: dict[tuple[str, str], set[str]] = defaultdict(set)
        unread: dict[tuple[str, str], int] = defaultdict(int)
        for symbol, spans in _by_symbol(coverage, CHANNELS[table]).items():
            for first, second in _pairs(spans):
                pair = (first.session, second.session)
                try:
                    counted = _compare([_messages(files[s.session], symbol, s, order, number) for s in (first, second)])
                except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
                    # A part that cannot be read, which is a problem of its own, by its SHA-256 or by its rows.
                    unread[pair] += 1
                    continue
                totals[pair] = [a + b for a, b in zip(totals[pair], counted, strict=True)]
                symbols[pair].add(symbol)
                if counted[1] or counted[2]:
                    differ[pair].add(symbol)
        for pair, (both, only_first, only_second) in sorted(totals.items()):
            named = ", ".join(sorted(differ[pair])[:NAMED])
            what = f"; they differ in {len(differ[pair])} symbols, as {named}" if named else ""
            sentences.append(
                f"{table}: sessions {pair[0]} and {pair[1]} both followed {len(symbols[pair])} symbols: "
                f"{both} messages in both, {only_first} in the first only, {only_second} in the second only{what}"
            )
        sentences += [
            f"{table}: sessions {first} and {second} could not be compared {times} times: a part cannot be read"
            for (first, second), times in sorted(unread.items())
        ]
    return sentences


def _pairs(spans: list[Span]) -> Iterator[tuple[Span, Span]]:
    """Any two spans that overlap, the session begun first in front."""
    ordered = sorted(spans)
    for i, span in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.begin >= span.end:
                break
            first, second = sorted((span, other), key=lambda one: one.session)
            yield first, second


def _messages(files: list[Path], symbol: str, span: Span, order: str, number: str) -> pl.DataFrame:
    """What a session had of a symbol within a span: kind, and two numbers for each message."""
    schema = {"kind": pl.String, "order": pl.Int64, "number": pl.Int64}
    if not files:
        return pl.DataFrame(schema=schema)
    # A trade of a snapshot is a trade; a snapshot of a book is the sender's own.
    kind = pl.lit("update") if number == "trade_id" else pl.col("kind")
    columns = [kind.alias("kind"), pl.col(order).to_physical().alias("order"), pl.col(number).alias("number")]
    begin, end = (pl.lit(at).cast(TIMES) for at in (span.begin, span.end))
    return (
        pl.scan_parquet(files, hive_partitioning=False)
        .filter(pl.col("symbol") == symbol, pl.col("ts_recv").is_between(begin, end, closed="left"))
        .select(column.cast(type_) for column, type_ in zip(columns, schema.values(), strict=True))
        .drop_nulls()
        .unique()
        .collect()
    )


def _compare(messages: list[pl.DataFrame]) -> tuple[int, int, int]:
    """How many updates are in both, in the first only, in the second only."""
    if any(frame.is_empty() for frame in messages):
        return 0, 0, 0
    begin = max(frame["order"].min() for frame in messages)  # type: ignore[type-var]  # of whole numbers
    end = min(frame["order"].max() for frame in messages)  # type: ignore[type-var]  # of whole numbers
    first, second = (
        frame.filter(pl.col("kind") == "update", pl.col("order") > begin, pl.col("order") <= end).drop("kind")
        for frame in messages
    )
    both = first.join(second, on=["order", "number"], how="semi").height
    return both, first.height - both, second.height - both

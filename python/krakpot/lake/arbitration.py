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

    from krakpot.lake.folder import View

CHANNELS = {"book": "book", "orders": "level3", "trades": "trade", "ticker": "ticker", "ohlc": "ohlc"}
"""Tables that can have several sources, and the channels that fill them."""
COMPARED = {"book": ("ts_event", "checksum"), "orders": ("ts_event", "checksum"), "trades": ("trade_id", "trade_id")}
"""Tables of which two sources are compared: what orders their messages, and what tells one from another."""
NAMED = 5
"""Symbols named in a sentence."""
BYTES_AT_ONCE = 32 << 20
"""Bytes of parts from which symbols are compared a few at a time: memory is some ten times as much."""
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


class Both(NamedTuple):
    """Two sessions followed a symbol at one time; each with its span."""

    symbol: str
    spans: tuple[Span, Span]


def differences(view: View, coverage: pl.DataFrame) -> list[str]:
    """Say of any two sessions that followed a symbol at one time what each had that the other lacks.

    Compared is what both covered, from the later first message to the earlier last one, in the exchange's order.
    """
    sentences = []
    for table, numbers in COMPARED.items():
        pairs: dict[tuple[str, str], list[Both]] = defaultdict(list)
        for symbol, spans in _by_symbol(coverage, CHANNELS[table]).items():
            for first, second in _pairs(spans):
                pairs[first.session, second.session].append(Both(symbol, (first, second)))
        files: dict[str, list[Path]] = defaultdict(list)
        for part in view.of(table):
            files[part.session].append(part.path)
        unread = []
        for pair, what in sorted(pairs.items()):
            told, failed = _compare_all(what, [files[session] for session in pair], numbers)
            if told:
                sentences.append(_sentence(table, pair, told))
            if failed:
                both = f"{table}: sessions {pair[0]} and {pair[1]}"
                unread.append(f"{both} could not be compared {failed} times: a part cannot be read")
        sentences += unread
    return sentences


def _sentence(table: str, pair: tuple[str, str], told: list[tuple[str, int, int, int]]) -> str:
    both, only_first, only_second = (sum(counts) for counts in list(zip(*told, strict=True))[1:])
    differ = sorted({symbol for symbol, _, first, second in told if first or second})
    named = f"; they differ in {len(differ)} symbols, as {', '.join(differ[:NAMED])}" if differ else ""
    return (
        f"{table}: sessions {pair[0]} and {pair[1]} both followed {len({symbol for symbol, *_ in told})} symbols: "
        f"{both} messages in both, {only_first} in the first only, {only_second} in the second only{named}"
    )


def _compare_all(
    what: list[Both], files: list[list[Path]], numbers: tuple[str, str]
) -> tuple[list[tuple[str, int, int, int]], int]:
    """Symbol and counts of each, many at once where their parts are small; and how many could not be compared."""
    size = sum(path.stat().st_size for half in files for path in half)
    # Parts are sorted by symbol: a few symbols are read without the rest.
    step = max(1, len(what) * BYTES_AT_ONCE // max(size, BYTES_AT_ONCE))
    waiting = [what[at : at + step] for at in range(0, len(what), step)]
    found, failed = [], 0
    while waiting:
        some = waiting.pop()
        try:
            first, second = (_messages(half, some, side, numbers) for side, half in enumerate(files))
            found += _compare(some, first, second)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            # A part that cannot be read, which is a problem of its own, by its SHA-256 or by its rows.
            if len(some) == 1:
                failed += 1
            else:
                waiting += [[one] for one in some]
    return found, failed


def _pairs(spans: list[Span]) -> Iterator[tuple[Span, Span]]:
    """Any two spans that overlap, the session begun first in front."""
    ordered = sorted(spans)
    for i, span in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.begin >= span.end:
                break
            first, second = sorted((span, other), key=lambda one: one.session)
            yield first, second


def _messages(files: list[Path], what: list[Both], side: int, numbers: tuple[str, str]) -> pl.DataFrame:
    """What a session had of symbols within spans: the place in ``what``, kind, and two numbers for each message."""
    schema = {"place": pl.UInt32, "kind": pl.String, "order": pl.Int64, "number": pl.Int64}
    if not files:
        return pl.DataFrame(schema=schema)
    order, number = numbers
    # A trade of a snapshot is a trade; a snapshot of a book is the sender's own.
    kind = pl.lit("update") if number == "trade_id" else pl.col("kind")
    columns = {"place": pl.col("place"), "kind": kind, "order": pl.col(order).to_physical(), "number": pl.col(number)}
    spans = pl.DataFrame(
        [(place, one.symbol, one.spans[side].begin, one.spans[side].end) for place, one in enumerate(what)],
        schema={"place": pl.UInt32, "symbol": pl.String, "begin": pl.Int64, "end": pl.Int64},
        orient="row",
    ).with_columns(pl.col("begin", "end").cast(TIMES))
    symbols = spans["symbol"].unique().to_list()
    wanted = pl.col("symbol") == symbols[0] if len(symbols) == 1 else pl.col("symbol").is_in(symbols)
    return (
        pl.scan_parquet(files, hive_partitioning=False)
        .filter(wanted, pl.col("ts_recv").is_between(spans["begin"].min(), spans["end"].max(), closed="left"))
        .join(spans.lazy(), on="symbol")
        .filter(pl.col("ts_recv").is_between("begin", "end", closed="left"))
        .select(column.cast(schema[name]).alias(name) for name, column in columns.items())
        .drop_nulls()
        .unique()
        .collect()
    )


def _compare(what: list[Both], first: pl.DataFrame, second: pl.DataFrame) -> list[tuple[str, int, int, int]]:
    """How many updates are in both, in the first only, in the second only; of each of ``what``."""
    ranges = [
        frame.group_by("place").agg(pl.col("order").min().alias("begin"), pl.col("order").max().alias("end"))
        for frame in (first, second)
    ]
    common = pl.concat(ranges).group_by("place").agg(pl.col("begin").max(), pl.col("end").min(), pl.len().alias("two"))
    within = (pl.col("kind") == "update") & (pl.col("order") > pl.col("begin")) & (pl.col("order") <= pl.col("end"))
    one, other = (
        frame.join(common.filter(two=2), on="place").filter(within).select("place", "order", "number")
        for frame in (first, second)
    )
    both = one.join(other, on=["place", "order", "number"], how="semi")
    counts = [dict(frame.group_by("place").len().iter_rows()) for frame in (both, one, other)]
    found = []
    for place, (symbol, *_) in enumerate(what):
        shared, had, others = (count.get(place, 0) for count in counts)
        found.append((symbol, shared, had - shared, others - shared))
    return found

"""Arbitration between redundant sessions (A/B arbitration): which session a reader takes, and how two differ.

Several sessions may follow a symbol at the same time: a redundant connection, two recorders of one lake, a reconnect
that overlaps. A reader takes one session at a time: the one whose coverage began first, until that coverage ends. If
another session covers that moment, the reader continues with its first message that is later than the last one taken.
Later is decided by the exchange's time, because two sockets deliver the same message at different times. Trades carry
unique ids, so they are deduplicated by id instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from krakpot.errors import counted

if TYPE_CHECKING:
    from pathlib import Path

    from krakpot.lake.folder import View

CHANNELS = {"book": "book", "orders": "level3", "trades": "trade", "ticker": "ticker", "ohlc": "ohlc"}
"""Tables that several sessions can have, and the channels that fill them."""
COMPARED = {"book": ("ts_event", "checksum"), "orders": ("ts_event", "checksum"), "trades": ("trade_id", "trade_id")}
"""Tables in which two sessions are compared: the column that orders messages, and the one that identifies them."""
NAMED = 5
"""Symbols named in a sentence."""
BYTES_AT_ONCE = 32 << 20
"""From this size of parts on, symbols are compared a few at a time; memory use is about ten times the size."""
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
TIMES = pl.Datetime("ns", "UTC")


class Span(NamedTuple):
    """A session covers a symbol from ``begin`` to before ``end``, ns."""

    begin: int
    end: int
    session: str


class Segment(NamedTuple):
    """The session to take from ``begin`` on, ns, until the next segment begins."""

    session: str
    begin: int
    joined: bool
    """Whether the session covered the end of the segment before; if not, it begins with a snapshot."""


def overlap(spans: Iterable[Span]) -> bool:
    """Whether two spans overlap."""
    until = LOWEST
    for span in sorted(spans):
        if span.begin < until:
            return True
        until = span.end
    return False


def arbitrate(spans: Iterable[Span]) -> list[Segment]:
    """Sessions to take one after the other: of those that cover, the one that began first, until its span ends."""
    found: list[Segment] = []
    left = sorted(spans)
    at = LOWEST
    while left:
        # Sorted by begin, so the first one covers ``at``, or is the next to begin.
        span = left.pop(0)
        joined = span.begin <= at
        found.append(Segment(span.session, at if joined else span.begin, joined))
        at = span.end
        left = [one for one in left if one.end > at]
    return found


def _by_symbol(coverage: pl.DataFrame, channel: str) -> dict[str, list[Span]]:
    """Spans of the symbols that several sessions cover at the same time."""
    rows = coverage.filter(channel=channel).select("symbol", pl.col("ts_from", "ts_to").to_physical(), "session")
    found: dict[str, list[Span]] = defaultdict(list)
    for symbol, begin, end, session in rows.iter_rows():
        if end > begin:
            found[symbol].append(Span(begin, end, session))
    return {symbol: spans for symbol, spans in found.items() if overlap(spans)}


def single_source(frame: pl.LazyFrame, table: str, coverage: pl.DataFrame) -> pl.LazyFrame:
    """Rows of one session at a time.

    Parameters
    ----------
    frame
        Rows of a table whose messages have no ids, of all times, of some symbols or all.
    table
        Its name, a key of ``CHANNELS``.
    coverage
        As ``Lake.coverage`` gives it.

    Returns
    -------
    LazyFrame
        The rows that arbitration takes, in the same columns.

    """
    rows = []
    for symbol, spans in _by_symbol(coverage, CHANNELS[table]).items():
        found = arbitrate(spans)
        following = [*found[1:], Segment("", HIGHEST, joined=False)]
        for number, (segment, after) in enumerate(zip(found, following, strict=True)):
            # Rows that no session covers belong to the segment before, or to the first one: they are not dropped.
            begin = LOWEST if number == 0 else segment.begin
            rows.append((symbol, segment.session, number, begin, after.begin, segment.joined, after.joined))
    if not rows:
        return frame
    schema = {"symbol": pl.String, "session": pl.String, "segment": pl.Int64, "begin": pl.Int64, "end": pl.Int64}
    chosen = pl.DataFrame(
        rows, schema=schema | {"joined": pl.Boolean, "continued": pl.Boolean}, orient="row"
    ).with_columns(pl.col("begin", "end").cast(TIMES))
    several = pl.col("symbol").is_in(chosen["symbol"].unique().to_list())
    received = pl.col("ts_recv").is_between("begin", "end", closed="left")
    last = (
        frame.select("symbol", "session", "ts_recv", "ts_event")
        .join(chosen.lazy().filter("continued"), on=["symbol", "session"])
        .filter(received)
        .group_by("symbol", "segment")
        .agg(pl.col("ts_event").max().alias("after"))
        .collect()
    )
    chosen = (
        chosen.join(last, on=["symbol", "segment"], how="left")
        .sort("symbol", "segment")
        # A segment may have no message; then the last message of the segments before it counts.
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
    """Each trade once: the first row that came live, else the first one; ordered across sessions.

    A pair that is listed again may number its trades anew, so a trade is identified by its id and the exchange's time.
    """
    order = ["ts_recv", "session", "message", "entry"]
    return (
        frame.sort(pl.col("kind") != "update", *order)
        .unique(["symbol", "trade_id", "ts_event"], keep="first", maintain_order=True)
        .sort(order)
    )


class Both(NamedTuple):
    """Two sessions that covered a symbol at the same time, each with its span."""

    symbol: str
    spans: tuple[Span, Span]


def differences(view: View, coverage: pl.DataFrame) -> list[str]:
    """Sentences that say, for any two sessions that covered a symbol at the same time, which messages only one has.

    Messages are compared in the exchange's order, from the later first one to the earlier last one.
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
                unread.append(f"{both} could not be compared {counted(failed, 'time')}: a part cannot be read")
        sentences += unread
    return sentences


def _sentence(table: str, pair: tuple[str, str], told: list[tuple[str, int, int, int]]) -> str:
    both, only_first, only_second = (sum(counts) for counts in list(zip(*told, strict=True))[1:])
    differ = sorted({symbol for symbol, _, first, second in told if first or second})
    named = f"; they differ in {counted(len(differ), 'symbol')}, as {', '.join(differ[:NAMED])}" if differ else ""
    return (
        f"{table}: sessions {pair[0]} and {pair[1]} both followed {len({symbol for symbol, *_ in told})} symbols: "
        f"{both} messages in both, {only_first} in the first only, {only_second} in the second only{named}"
    )


def _compare_all(
    what: list[Both], files: list[list[Path]], numbers: tuple[str, str]
) -> tuple[list[tuple[str, int, int, int]], int]:
    """Symbol and counts of each of ``what``, and how many could not be compared. Small parts are read together."""
    size = sum(path.stat().st_size for half in files for path in half)
    # Parts are sorted by symbol, so a few symbols can be read without the rest.
    step = max(1, len(what) * BYTES_AT_ONCE // max(size, BYTES_AT_ONCE))
    waiting = [what[at : at + step] for at in range(0, len(what), step)]
    found, failed = [], 0
    while waiting:
        some = waiting.pop()
        try:
            first, second = (_messages(half, some, side, numbers) for side, half in enumerate(files))
            found += _compare(some, first, second)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            # A part cannot be read; verify reports it as a problem by its SHA-256 or its rows.
            if len(some) == 1:
                failed += 1
            else:
                waiting += [[one] for one in some]
    return found, failed


def _pairs(spans: list[Span]) -> Iterator[tuple[Span, Span]]:
    """All pairs of spans that overlap, the session that began first in front."""
    ordered = sorted(spans)
    for i, span in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.begin >= span.end:
                break
            first, second = sorted((span, other), key=lambda one: one.session)
            yield first, second


def _messages(files: list[Path], what: list[Both], side: int, numbers: tuple[str, str]) -> pl.DataFrame:
    """Messages of a session within the spans: the place in ``what``, kind, and two numbers of each."""
    schema = {"place": pl.UInt32, "kind": pl.String, "order": pl.Int64, "number": pl.Int64}
    if not files:
        return pl.DataFrame(schema=schema)
    order, number = numbers
    # A trade in a snapshot is a trade; a book snapshot differs from sender to sender.
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
    """Numbers of updates in both, in the first only, in the second only; for each of ``what``."""
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

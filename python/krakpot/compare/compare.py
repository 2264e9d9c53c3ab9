"""Level 3 against the book channel: do the orders give the book that is published, and which of the two is earlier.

A *state* of a symbol is its top ten levels, named by their CRC32, after a message: of the book channel, and of the
book derived from orders. What is compared are the two sequences of distinct consecutive states, paired by the core
(``_core.align``): a chain that grows in both. Every state comes from a book that its own channel's checksum proved.
Only times in which both books lived are compared; what is left out is counted.

Latency is the book channel's time less level 3's: **positive is book later than level 3**. A state that comes again
within a second counts for equality, not for latency: nobody can tell which of its comings was which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake import journal
from krakpot.lake.lake import REFUSALS, Lake, Part
from krakpot.lake.seal import polars_schema
from krakpot.lake.verify import BOOKS, Books, life_ends
from krakpot.values import Time, nanoseconds

WINDOW = 5_000_000_000
"""Largest difference of receive times of a pair, ns."""
RECURS = 1_000_000_000
"""A state that comes again within this time is left out of latency, ns."""
NEAREST = 16
"""Candidates of a state: those nearest to the usual latency."""
CLEAR_MIN = 100
"""Pairs from which on a symbol's own latencies say how far its edges reach."""
ROWS_MAX = 20_000_000
"""Rows of a table read for one group of symbols: bounds memory."""
RUN_UP = timedelta(hours=2)
"""Read before the beginning of a range: every book that lived has a checkpoint in it."""
TIME = pl.Datetime("ns", "UTC")
STATES = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.String(),
        "life": pl.UInt32(),
        "message": pl.UInt64(),
        "ts_recv": TIME,
        "ts_event": TIME,
        "checksum": pl.UInt32(),
        "full": pl.UInt64(),
        "entries": pl.UInt32(),
    }
)
"""A row for every message that changed the book: ``checksum`` of the top ten, ``full`` a hash of all common levels."""
LIVES = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.String(),
        "life": pl.UInt32(),
        "message_from": pl.UInt64(),
        "ts_from": TIME,
        "message_to": pl.UInt64(),
        "ts_to": TIME,
        "reason": pl.String(),
    }
)
"""A row for every life of a book; ``reason`` is the ledger's kind that ended it, null where nothing did."""
WRONG = ("mismatch", "crossed", *REFUSALS)
"""Ends of a life that say that a book was wrong."""
BURSTS = (1, 2, 4, 8, 16)
"""Least entries of each class of book messages."""
SIDES = ("book", "level3")
MATCHES = (
    "symbol", "checksum", "book_session", "book_message", "level3_session", "level3_message",
    "book_ts_recv", "level3_ts_recv", "book_ts_event", "level3_ts_event", "latency_recv", "latency_event",
    "book_entries", "level3_entries", "recurs", "begins",
)  # fmt: skip
"""Columns of the matches. ``recurs``: the state comes again within a second; ``begins``: it begins a life, so that it
was seen later than it came about. Both are left out of latency. Latencies in ns."""
CONVENTION = "positive: the book channel is later than level 3"

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """Without a caller who wants to know."""


@dataclass
class Channel:
    """States and lives of one channel."""

    states: pl.DataFrame
    lives: pl.DataFrame


def sequence(channel: Channel, start: int | None = None, end: int | None = None) -> Channel:
    """Put one channel's lives after each other and clip them to [start, end).

    Where two sessions held a symbol at the same time, the one that began first is taken until it ends.
    """
    times = [pl.col(name).dt.epoch("ns") for name in ("ts_from", "ts_to")]
    lives = channel.lives.sort("symbol", "ts_from", "session", "life").with_columns(times)
    if start is not None:
        lives = lives.with_columns(pl.col("ts_from").clip(lower_bound=start))
    if end is not None:
        # A message at the end itself is not in the range, and what ended a life later is none of its business.
        ended = pl.when(pl.col("ts_to") < end).then(pl.col("message_to", "reason"))
        lives = lives.with_columns(ended, pl.col("ts_to").clip(upper_bound=end - 1))
    until = pl.col("ts_to").cum_max().shift(1).over("symbol")
    lives = lives.with_columns(pl.max_horizontal("ts_from", until + 1)).filter(pl.col("ts_from") <= pl.col("ts_to"))
    lives = lives.with_columns(pl.col("ts_from", "ts_to").cast(TIME), place=pl.int_range(pl.len(), dtype=pl.UInt32))
    bounds = lives.select("session", "symbol", "life", "ts_from", "ts_to", "place")
    states = channel.states.join(bounds, on=["session", "symbol", "life"], maintain_order="left")
    states = states.filter(pl.col("ts_recv") <= pl.col("ts_to")).sort("symbol", "place", "message")
    # The state in which a clipped life begins is the one that was in force then.
    following = pl.col("ts_recv").shift(-1).over("symbol", "place")
    states = states.filter(
        (pl.col("ts_recv") >= pl.col("ts_from")) | (following > pl.col("ts_from")).fill_null(value=True)
    )
    return Channel(states.drop("ts_from", "ts_to"), lives)


def distinct(states: pl.DataFrame, key: str) -> pl.DataFrame:
    """Distinct consecutive states, with ``first`` (of a life) and ``recurs`` (again within a second)."""
    states = states.with_columns(
        key=pl.col(key).cast(pl.UInt64),
        first=(pl.col("place") != pl.col("place").shift(1)).fill_null(value=True),
        group=pl.col("symbol").rle_id(),
    )
    # A message may leave the state as it is; a life may begin with the state in which the one before ended.
    changed = (pl.col("key") != pl.col("key").shift(1)) | (pl.col("group") != pl.col("group").shift(1))
    states = states.filter(changed.fill_null(value=True)).with_row_index("row")
    # The same state's comings one after the other; within one, in their order.
    times = states.select("group", "key", "row", ts=pl.col("ts_recv").dt.epoch("ns")).sort("group", "key", "row")
    same = (pl.col("group") == pl.col("group").shift(1)) & (pl.col("key") == pl.col("key").shift(1))
    soon = (same & (pl.col("ts").diff() <= RECURS)).fill_null(value=False)
    recurs = times.select("row", recurs=soon | soon.shift(-1, fill_value=False)).sort("row")["recurs"]
    return states.with_columns(recurs).drop("row", "group")


def pair(book: pl.DataFrame, derived: pl.DataFrame, window: int) -> pl.DataFrame:
    """Pair two sequences of distinct states: places (``book``, ``level3``) in the two."""
    symbols = pl.concat([book["symbol"], derived["symbol"]]).unique().sort().to_list()
    group = pl.col("symbol").replace_strict(symbols, range(len(symbols)), return_dtype=pl.UInt32)
    sides = [
        states.select(group.alias("group"), "key", pl.col("ts_recv").dt.epoch("ns").alias("time"), "first")
        for states in (book, derived)
    ]
    pairs = pl.from_arrow(pa.record_batch(_core.align(*sides, window=window, nearest=NEAREST)))
    assert isinstance(pairs, pl.DataFrame), "a record batch gives a frame"
    return pairs.rename({"left": "book", "right": "level3"})


def _edges(matches: pl.DataFrame, symbols: Iterable[str], window: int) -> pl.DataFrame:
    """Latencies that may be expected of each symbol: the range that was seen, and as much more at either end.

    A state whose counterpart would fall out of the other book's life is not missing there.
    """
    latency = pl.col("latency_recv")
    spread = latency.max() - latency.min()
    bounds = [(latency.min() - spread).alias("low"), (latency.max() + spread).alias("high")]
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
    """Add ``compared``: whether the other book lived at every time at which the state's counterpart may have come."""
    latencies = ("high", "low") if book else ("low", "high")
    sign = -1 if book else 1
    recv = pl.col("ts_recv").dt.epoch("ns")
    states = states.join(edges, on="symbol", how="left", maintain_order="left").with_columns(
        earliest=recv + sign * pl.col(latencies[0]), latest=recv + sign * pl.col(latencies[1])
    )
    lives = other.select("symbol", pl.col("ts_from", "ts_to").dt.epoch("ns")).sort("ts_from")
    at = states.with_row_index("row").sort("earliest")
    found = at.join_asof(lives, left_on="earliest", right_on="ts_from", by="symbol", check_sortedness=False)
    compared = found.sort("row")["latest"] <= found.sort("row")["ts_to"]
    return states.with_columns(compared=compared.fill_null(value=False)).drop("earliest", "latest", "low", "high")


@dataclass
class Compared:
    """Two sequences of states, paired."""

    book: pl.DataFrame
    """Distinct states, with ``compared`` and ``partner`` (its place in ``derived``, null where there is none)."""
    derived: pl.DataFrame
    """The same of the derived book; ``partner`` is a place in ``book``."""
    matches: pl.DataFrame
    """A row a pair: the columns of ``MATCHES``, and ``clear``: it counts for latency."""


def align(book: Channel, derived: Channel, key: str, window: int) -> Compared:
    """Pair the distinct states of two channels, whose lives follow each other (``sequence``)."""
    sides = [distinct(channel.states, key) for channel in (book, derived)]
    pairs = pair(sides[0], sides[1], window)
    columns = ["session", "message", "ts_recv", "ts_event", "entries", "first", "recurs"]
    halves = [
        side[pairs[name]].select(pl.col("symbol", "checksum", *columns).name.prefix(f"{name}_"))
        for side, name in zip(sides, SIDES, strict=True)
    ]
    matches = pl.concat(halves, how="horizontal").rename({"book_symbol": "symbol", "book_checksum": "checksum"})
    # The book channel tells microseconds, level 3 nanoseconds.
    event = [pl.col(f"{name}_ts_event").dt.truncate("1us") for name in SIDES]
    matches = matches.with_columns(
        latency_recv=(pl.col("book_ts_recv") - pl.col("level3_ts_recv")).dt.total_nanoseconds(),
        latency_event=(event[0] - event[1]).dt.total_nanoseconds(),
        recurs=pl.col("book_recurs") | pl.col("level3_recurs"),
        begins=pl.col("book_first") | pl.col("level3_first"),
    ).with_columns(clear=~pl.col("recurs") & ~pl.col("begins"))
    edges = _edges(matches, pl.concat([side["symbol"] for side in sides]).unique().sort(), window)
    for at, other in enumerate((derived, book)):
        mine, partner = pairs[SIDES[at]], pairs[SIDES[1 - at]]
        partners = pl.DataFrame({"row": mine, "partner": partner})
        sides[at] = (
            _compared(sides[at], other.lives, edges, book=at == 0)
            .with_row_index("row")
            .join(partners, on="row", how="left", maintain_order="left")
            .drop("row")
        )
    return Compared(sides[0], sides[1], matches.select(*MATCHES, "clear"))


def counts(compared: Compared) -> pl.DataFrame:
    """States of each symbol: compared, found, only in one, left out."""
    found = pl.col("compared") & pl.col("partner").is_not_null()
    frames = []
    for name, side in zip(SIDES, (compared.book, compared.derived), strict=True):
        columns = {
            f"{name}_states": pl.col("compared").sum(),
            f"{name}_found": found.sum(),
            f"{name}_left_out": (~pl.col("compared")).sum(),
        }
        frames.append(side.group_by("symbol").agg(**columns))
    frame = frames[0].join(frames[1], on="symbol", how="full", coalesce=True)
    return frame.fill_null(0).sort("symbol")


def disagreements(compared: Compared, book: Channel) -> pl.DataFrame:
    """Runs of book states that the derived book never had, one after the other, with their place.

    They begin with the first such state and end with the next state that both had, or with the book's life.
    """
    states = compared.book.join(book.lives.select("place", "ts_to"), on="place", how="left", maintain_order="left")
    missing = pl.col("compared") & pl.col("partner").is_null()
    following = pl.col("ts_recv").shift(-1).over("symbol")
    derived = compared.derived.select(level3_session="session", level3_message="message").with_row_index("partner")
    states = (
        states.with_columns(missing=missing, until=pl.min_horizontal(following, "ts_to"), run=missing.rle_id())
        .with_columns(pl.col("partner").forward_fill().over("symbol"))
        .join(derived, on="partner", how="left", maintain_order="left")
    )
    runs = states.filter("missing").group_by("symbol", "run", maintain_order=True)
    place = ["session", "message", "level3_session", "level3_message"]
    return runs.agg(
        pl.col("ts_recv").first().alias("ts_from"),
        pl.col("until").last().alias("ts_to"),
        pl.len().alias("states"),
        *(pl.col(name).first() for name in place),
    ).drop("run")


def _latency(column: str) -> list[pl.Expr]:
    value = pl.col(column)

    def quantile(at: float) -> pl.Expr:
        return value.quantile(at, "nearest").cast(pl.Int64)

    return [
        value.count().alias("pairs"),
        quantile(0.5).alias("median"),
        quantile(0.95).alias("p95"),
        quantile(0.99).alias("p99"),
        value.min().alias("min"),
        value.max().alias("max"),
        (value < 0).sum().alias("book_first"),
        (value > 0).sum().alias("level3_first"),
        (value == 0).sum().alias("together"),
    ]


def latency(matches: pl.DataFrame, by: str | pl.Expr | None = None, column: str = "latency_recv") -> pl.DataFrame:
    """Latency in numbers, ns, of all pairs that count for it, or by ``by`` (sorted)."""
    clear = matches.filter("clear")
    return clear.select(_latency(column)) if by is None else clear.group_by(by).agg(_latency(column)).sort(pl.first())


def burst(entries: str = "book_entries") -> pl.Expr:
    """Class of a message by its entries: the least of ``BURSTS``."""
    classes = pl.lit(BURSTS[0])
    for least in BURSTS[1:]:
        classes = pl.when(pl.col(entries) >= least).then(pl.lit(least)).otherwise(classes)
    return classes.alias("entries")


def together(book: pl.DataFrame, derived: pl.DataFrame) -> pl.DataFrame:
    """Spans (symbol, ts_from, ts_to) in which both books lived; their lives follow each other (``sequence``)."""
    times = ["ts_from", "ts_to"]
    spans = book.select("symbol", *times).join(derived.select("symbol", *times), on="symbol", suffix="_derived")
    spans = spans.select(
        "symbol",
        ts_from=pl.max_horizontal("ts_from", "ts_from_derived"),
        ts_to=pl.min_horizontal("ts_to", "ts_to_derived"),
    )
    return spans.filter(pl.col("ts_from") < pl.col("ts_to")).sort("symbol", "ts_from")


@dataclass
class Report:
    """What a comparison found. Times are ns; of latencies, positive is the book channel later than level 3."""

    lake: str
    window: int
    top: Compared
    """By the top ten levels."""
    full: Compared
    """By all levels that both books have."""
    book: Channel
    derived: Channel
    depths: dict[str, int]
    """Levels a side that both books have, by symbol."""
    loop: pl.DataFrame
    """``lag`` rows of the ledger: ts_recv, count (largest lag of the recorder's loop in that second, ns)."""
    unsealed: int = 0
    """Journals of the lake that were not read."""
    runs: pl.DataFrame = field(init=False)
    """Disagreements of the top ten levels (``disagreements``)."""
    runs_full: pl.DataFrame = field(init=False)
    """Disagreements of all common levels."""
    broken: pl.DataFrame = field(init=False)
    """Lives that ended because a book was wrong, while the other one lived."""
    spans: pl.DataFrame = field(init=False)
    """Times in which both books lived."""

    def __post_init__(self) -> None:
        """Work out what the sequences of states say."""
        self.runs = disagreements(self.top, self.book)
        self.runs_full = disagreements(self.full, self.book)
        self.spans = together(self.book.lives, self.derived.lives)
        self.broken = pl.concat(
            [
                _broken("book", self.book.lives, self.derived.lives),
                _broken("level3", self.derived.lives, self.book.lives),
            ]
        ).sort("symbol", "ts")

    @property
    def equal(self) -> bool:
        """Whether every book state that could be compared was found, some could, and no book was wrong meanwhile."""
        return (
            bool(self.top.book["compared"].any())
            and self.runs.is_empty()
            and self.runs_full.is_empty()
            and self.broken.is_empty()
        )

    def symbols(self) -> dict[str, dict[str, Any]]:
        """What was found, by symbol; the keys are those of ``total``."""
        matches = self.top.matches
        clear = [_rows(latency(matches, "symbol", column)) for column in ("latency_recv", "latency_event")]
        top, full = _rows(counts(self.top)), _rows(counts(self.full))
        flags = _rows(matches.group_by("symbol").agg(_FLAGS))
        runs, runs_full = (_rows(longest(runs)) for runs in (self.runs, self.runs_full))
        seconds = [_seconds(lives) for lives in (self.spans, self.book.lives, self.derived.lives)]
        return {
            symbol: {
                "depth": depth,
                **_counts(top.get(symbol, {})),
                "full": _counts(full.get(symbol, {})) | _runs(runs_full.get(symbol)),
                **_runs(runs.get(symbol)),
                **(flags.get(symbol) or {"recurs": 0, "begins": 0}),
                "latency": {"recv": clear[0].get(symbol), "event": clear[1].get(symbol)},
                "seconds": _apart(*(one.get(symbol, 0.0) for one in seconds)),
            }
            for symbol, depth in sorted(self.depths.items())
        }

    def total(self) -> dict[str, Any]:
        """What was found of all symbols together."""
        matches = self.top.matches
        seconds = [sum(_seconds(lives).values()) for lives in (self.spans, self.book.lives, self.derived.lives)]
        runs, runs_full = (
            next(iter(longest(runs, None).iter_rows(named=True))) for runs in (self.runs, self.runs_full)
        )
        clear = [latency(matches, None, column).row(0, named=True) for column in ("latency_recv", "latency_event")]
        return {
            "symbols": len(self.depths),
            **_counts(_sums(counts(self.top))),
            "full": _counts(_sums(counts(self.full))) | _runs(runs_full),
            **_runs(runs),
            **matches.select(_FLAGS).row(0, named=True),
            "latency": dict(zip(("recv", "event"), clear, strict=True)),
            "seconds": _apart(*seconds),
        }

    def by_burst(self) -> pl.DataFrame:
        """Latency by receive time, by the least number of entries of the book's message."""
        return latency(self.top.matches, burst())

    def by_hour(self) -> pl.DataFrame:
        """Latency by receive time, by the hour of the day, UTC."""
        return latency(self.top.matches, pl.col("book_ts_recv").dt.hour().alias("hour"))

    def caveats(self) -> list[str]:
        """What to keep in mind when reading the latencies, in sentences."""
        lags = self.loop["count"]
        told = (
            "how late that process was is not recorded (no `lag` rows in the ledger)"
            if lags.is_empty()
            else f"that process was late by at most {milliseconds(_number(lags.max()))} ms, in half of all seconds by "
            f"no more than {milliseconds(_number(lags.median()))} ms (`lag` rows of the ledger)"
        )
        return [
            f"Sign: {CONVENTION}.",
            f"Receive times of both channels are read from one clock, when the recorder's sockets deliver: {told}.",
            (
                "Receive times hold the way through the network: the two come over different connections, perhaps from "
                "different servers. Their difference is what a client at this place sees, not what the exchange does."
            ),
            (
                "Exchange times are the `timestamp`s of the messages, to the microsecond. That the exchange means the "
                "same by them in both channels is not documented."
            ),
            "A state that comes again within a second, and one that begins a life, count for equality only.",
            "States that only level 3 shows are no disagreement: the book channel may send several changes as one.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "lake": self.lake,
            "equal": self.equal,
            "window": self.window,
            "latency_sign": CONVENTION,
            "total": self.total(),
            "symbols": self.symbols(),
            "by_burst": self.by_burst().to_dicts(),
            "by_hour": self.by_hour().to_dicts(),
            "wrong": self.broken.to_dicts(),
            "unsealed": self.unsealed,
            "loop_lag": {
                "seconds": self.loop.height,
                "median": self.loop["count"].median(),
                "max": self.loop["count"].max(),
            },
            "caveats": self.caveats(),
        }


_FLAGS = [pl.col("recurs").sum(), (pl.col("begins") & ~pl.col("recurs")).sum().alias("begins")]


def _rows(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows by their symbol."""
    return {row.pop("symbol"): row for row in frame.to_dicts()}


def _sums(frame: pl.DataFrame) -> dict[str, int]:
    return frame.drop("symbol").sum().row(0, named=True)


def _counts(row: dict[str, int]) -> dict[str, Any]:
    book, level3, found = (row.get(name, 0) for name in ("book_states", "level3_states", "book_found"))
    return {
        "book_states": book,
        "level3_states": level3,
        "found": found,
        "share": found / book if book else None,
        "only_book": book - found,
        "only_level3": level3 - row.get("level3_found", 0),
        "left_out": {"book": row.get("book_left_out", 0), "level3": row.get("level3_left_out", 0)},
    }


def _runs(row: dict[str, Any] | None) -> dict[str, Any]:
    """Number of disagreements, and the longest."""
    row = dict(row or {"disagreements": 0})
    number = row.pop("disagreements")
    return {"disagreements": number, "longest": row if number else None}


def _apart(both: float, book: float, level3: float) -> dict[str, float]:
    return {"together": both, "only_book": book - both, "only_level3": level3 - both}


def _seconds(lives: pl.DataFrame) -> dict[str, float]:
    sums = lives.group_by("symbol").agg((pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds().sum().alias("ns"))
    return {symbol: ns / 1e9 for symbol, ns in sums.iter_rows()}


def longest(runs: pl.DataFrame, by: str | None = "symbol") -> pl.DataFrame:
    """The longest of the disagreements, with their number; of each symbol, or of all."""
    ordered = runs.sort(pl.col("ts_to") - pl.col("ts_from"), descending=True, maintain_order=True)
    facts = [pl.len().alias("disagreements"), *(pl.col(name).first() for name in runs.columns if name != by)]
    return ordered.select(facts) if by is None else ordered.group_by(by).agg(facts)


def _broken(channel: str, mine: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Lives of ``mine`` that ended by an error while the symbol's other book lived."""
    wrong = mine.filter(pl.col("reason").is_in(WRONG)).select(
        "symbol", "session", "reason", channel=pl.lit(channel), message="message_to", ts="ts_to"
    )
    lives = wrong.join(other.select("symbol", "ts_from", "ts_to"), on="symbol")
    lives = lives.filter(pl.col("ts").is_between("ts_from", "ts_to"))
    return lives.select("symbol", "channel", "reason", "ts", "session", "message").unique(maintain_order=True)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def milliseconds(ns: float | None) -> str:
    """Nanoseconds as milliseconds, for people."""
    return "-" if ns is None else f"{ns / 1e6:,.3f}"


def span(seconds: float) -> str:
    """A time for people: ``3 h 20 min``, ``12.5 s``."""
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"  # noqa: PLR2004  # an hour


def share(part: float | None) -> str:
    """A share for people: 100 % only where nothing is missing, 0 % only where nothing is."""
    if part is None:
        return "-"
    return f"{part:.0%}".replace("%", " %") if part in {0, 1} else f"{min(max(part * 100, 0.001), 99.999):.3f} %"


def lines(report: Report, *, most: int = 30) -> list[str]:
    """The report for a terminal: a line a symbol (the ``most`` busiest), the whole, and what is wrong."""
    columns = f"{'found':>10}{'only book':>11}{'only level 3':>14}{'in full':>10}{'median':>10}{'95 %':>10}{'99 %':>10}"
    found = [f"{'':<16}{'book states':>12}{columns}   ms; + is the book channel later"]
    symbols = report.symbols()
    busiest = sorted(symbols, key=lambda symbol: -symbols[symbol]["book_states"])[:most]
    total = report.total()
    for name, facts in [*((symbol, symbols[symbol]) for symbol in sorted(busiest)), ("all", total)]:
        recv = facts["latency"]["recv"] or {}
        latencies = "".join(f"{milliseconds(recv.get(key)):>10}" for key in ("median", "p95", "p99"))
        counted = f"{share(facts['share']):>10}{facts['only_book']:>11,}{facts['only_level3']:>14,}"
        found.append(f"{name:<16}{facts['book_states']:>12,}{counted}{share(facts['full']['share']):>10}{latencies}")
    recv, seconds, left_out = total["latency"]["recv"], total["seconds"], total["left_out"]
    found += [
        (
            f"who is first: level 3 {recv['level3_first']:,} times, the book channel {recv['book_first']:,}, "
            f"together {recv['together']:,}; left out of latency: {total['recurs']:,} states that come again within "
            f"a second, {total['begins']:,} that begin a life"
        ),
        (
            f"compared: {span(seconds['together'])}, all symbols together; only the book known "
            f"{span(seconds['only_book'])}, only level 3 {span(seconds['only_level3'])}; states left out: "
            f"book {left_out['book']:,}, level 3 {left_out['level3']:,}"
        ),
    ]
    for facts, what in ((total, "top tens"), (total["full"], "all common levels")):
        if (worst := facts["longest"]) is not None:
            found.append(
                f"differ: {what}, {facts['disagreements']:,} times; longest {worst['symbol']} from "
                f"{worst['ts_from']:%Y-%m-%dT%H:%M:%S.%f} to {worst['ts_to']:%H:%M:%S.%f}, {worst['states']:,} states, "
                f"book message {worst['message']:,} of {worst['session']}, after level-3 message "
                f"{worst['level3_message']} of {worst['level3_session']}"
            )
    found += [
        f"wrong: {row['symbol']}: the book of {row['channel']} ended by {row['reason']} at "
        f"{row['ts']:%Y-%m-%dT%H:%M:%S.%f}, message {row['message']:,} of {row['session']}"
        for row in report.broken.head(10).iter_rows(named=True)
    ]
    if report.unsealed:
        found.append(f"note: {report.unsealed} journals are being recorded or not sealed; they were not compared")
    if not total["book_states"]:
        return [*found, "nothing could be compared: at no time were both books known for long enough"]
    return [*found, "the same" if report.equal else "not the same"]


def compare_channels(
    book: Channel, derived: Channel, *, lake: str, window: int, depths: dict[str, int], loop: pl.DataFrame
) -> Report:
    """Compare two channels whose lives follow each other (``sequence``)."""
    top, full = (align(book, derived, key, window) for key in ("checksum", "full"))
    return Report(lake, window, top, full, book, derived, depths, loop)


def compare(
    lake: Lake | str | Path,
    symbols: str = "*",
    start: Time | None = None,
    end: Time | None = None,
    *,
    window: int = WINDOW,
    progress: Progress = _silent,
) -> Report:
    """Compare the two channels of a lake, of the symbols that the patterns choose, received in [start, end).

    ``ConfigError`` if the lake lacks one of the channels, or no symbol of both is chosen. Only sealed parts are read.
    """
    lake = lake if isinstance(lake, Lake) else Lake(lake)
    begin, until = (None if time is None else nanoseconds(time) for time in (start, end))
    depths, rows = _found(lake, symbols, begin, until)
    told_by = ["session", "symbol", "message", "entry", "ts_recv", "kind", "channel", "count"]
    ledger = lake.ledger().select(told_by).sort("session", "entry").collect()
    told: list[list[Channel]] = [[], []]
    for group in _groups(rows):
        progress(f"{len(group)} of {len(depths)} symbols: reading and proving their books")
        with ThreadPoolExecutor(max_workers=len(BOOKS)) as pool:
            walks = [
                pool.submit(_walk, lake, books, {name: depths[name] for name in group}, ledger, (begin, until))
                for books in BOOKS
            ]
            for channels, walk in zip(told, walks, strict=True):
                channels.append(walk.result())
    book, derived = (
        sequence(
            Channel(pl.concat([one.states for one in channels]), pl.concat([one.lives for one in channels])),
            begin,
            until,
        )
        for channels in told
    )
    progress("pairing states")
    recv = pl.col("ts_recv").dt.epoch("ns")
    loop = ledger.filter(
        pl.col("kind") == "lag", recv >= (begin or 0), pl.lit(value=True) if until is None else recv < until
    ).select("ts_recv", "count")
    report = compare_channels(book, derived, lake=str(lake.path), window=window, depths=depths, loop=loop)
    report.unsealed = len(journal.journals(lake.path))
    return report


def _found(lake: Lake, patterns: str, begin: int | None, until: int | None) -> tuple[dict[str, int], dict[str, int]]:
    """Common depth, and rows, of every chosen symbol that has both."""
    frames = []
    for books in BOOKS:
        rows = lake.scan(books.messages, None, begin, until).group_by("symbol")
        frames.append(rows.agg(pl.len().alias("rows"), pl.col("depth").min()).collect())
        if frames[-1].is_empty():
            raise ConfigError(lacking(lake.path, books.channel))
    both = frames[0].join(frames[1], on="symbol", suffix="_level3").sort("symbol")
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    chosen = [name for name in both["symbol"] if any(_core.matches(pattern, name) for pattern in wanted)]
    if not chosen:
        sentence = (
            f"--symbols {patterns}: no symbol with both channels matches; there are {', '.join(both['symbol'][:10])}"
        )
        raise ConfigError(sentence if both.height else f"{lake.path}: no symbol was recorded by both channels")
    both = both.filter(pl.col("symbol").is_in(chosen))
    depth = both.select(pl.min_horizontal("depth", "depth_level3")).to_series()
    most = both.select(pl.max_horizontal("rows", "rows_level3")).to_series()
    return dict(zip(chosen, depth, strict=True)), dict(zip(chosen, most, strict=True))


def lacking(path: Path, what: str) -> str:
    """Say what a lake lacks, and how both channels are recorded."""
    return (
        f"{path}: has no {what} in it; record both, with a key in KRAKPOT_API_KEY and KRAKPOT_API_SECRET: "
        "krakpot record --channels book,level3 --symbols 'BTC/USD,ETH/USD' --for 1h"
    )


def _groups(rows: dict[str, int]) -> list[list[str]]:
    """Symbols in groups whose rows fit into memory."""
    groups: list[list[str]] = [[]]
    held = 0
    for symbol, number in rows.items():
        if groups[-1] and held + number > ROWS_MAX:
            groups.append([])
            held = 0
        groups[-1].append(symbol)
        held += number
    return groups


def _walk(
    lake: Lake, books: Books, depths: dict[str, int], ledger: pl.DataFrame, span: tuple[int | None, int | None]
) -> Channel:
    """States and lives of one channel in all its sessions."""
    found = [Channel(pl.DataFrame(schema=STATES), pl.DataFrame(schema=LIVES))]
    parts = [lake.parts(table) for table in (books.checkpoints, books.messages)]
    for session in sorted({part.session for part in parts[1]}):
        mine = [[part for part in table if part.session == session] for table in parts]
        units = _units(mine[1], span)
        if not units:
            continue
        rows = ledger.filter(pl.col("session") == session)
        walk = Walk(session, books, depths)
        walk.ends(rows)
        for unit in units:
            walk.take(*(
                read([part for part in table if part.unit == unit], name, columns, list(depths))
                for table, name, columns in zip(mine, *tables_of(books), strict=True)
            ))  # fmt: skip
        found.append(walk.channel())
    return Channel(pl.concat([one.states for one in found]), pl.concat([one.lives for one in found]))


def tables_of(books: Books) -> tuple[list[str], list[list[str]]]:
    """Tables of checkpoints and messages, and the columns to read."""
    return [books.checkpoints, books.messages], [
        books.checkpoint_columns,
        [*books.message_columns, "ts_recv", "ts_event"],
    ]


def begun(part: Part) -> datetime:
    """When the first row of a part was received, from its name."""
    clock = datetime.strptime(part.path.name[:6], "%H%M%S").time()  # noqa: DTZ007  # joined with its date and zone
    return datetime.combine(part.date, clock, tzinfo=UTC)


def _units(parts: Sequence[Part], span: tuple[int | None, int | None]) -> list[tuple[str, int]]:
    """Units of parts that hold the range, and what books must be built from."""
    begins: dict[tuple[str, int], datetime] = {}
    for part in parts:
        begins[part.unit] = min(begun(part), begins.get(part.unit, begun(part)))
    units = sorted(begins)
    begin, until = span
    if begin is not None:
        early = [unit for unit in units if begins[unit] <= journal.stamp(begin) - RUN_UP]
        units = [unit for unit in units if not early or unit >= early[-1]]
    if until is not None:
        units = [unit for unit in units if begins[unit] < journal.stamp(until)]
    return units


def read(parts: Sequence[Part], table: str, columns: list[str], symbols: list[str] | None) -> pl.DataFrame:
    """Rows of parts of a table, of these symbols (None: all), sorted."""
    schema = {name: kind for name, kind in polars_schema(table).items() if name in columns}
    frames = [pl.LazyFrame(schema=schema)]
    for part in parts:
        frame = pl.scan_parquet(part.path, hive_partitioning=False)
        if symbols is not None:
            frame = frame.filter(pl.col("symbol").is_in(symbols))
        frames.append(frame.select(pl.col(name).cast(kind) for name, kind in schema.items()))
    # A journal that crossed midnight has two parts: one run of rows a symbol is needed.
    return pl.concat(frames).sort("symbol", "message", "entry").collect()


class Walk:
    """States and lives of one channel in one session, from rows as they come."""

    def __init__(self, session: str, books: Books, depths: dict[str, int]) -> None:
        """``depths``: levels that both channels have, by symbol."""
        self.session = session
        self.books = books
        self.core = _core.States(session, channel=books.channel, depths=depths)
        self.last: int | None = None
        """The latest time of the session that is known, ns."""
        self._ends: list[pl.DataFrame] = []

    def ends(self, ledger: pl.DataFrame) -> None:
        """Take rows of the session's ledger, before the rows of the messages that they stand behind."""
        self._seen(ledger)
        ends = life_ends(ledger, self.books.channel).select("symbol", "message", "kind", "ts_recv")
        self._ends.append(ends)
        self.core.ends(ends)

    def take(self, checkpoints: pl.DataFrame, messages: pl.DataFrame) -> None:
        """Take the rows of one journal, or of some flushes of it; sorted."""
        self._seen(messages)
        self.core.checkpoints(checkpoints)
        self.core.messages(messages)

    def _seen(self, rows: pl.DataFrame) -> None:
        last = rows["ts_recv"].dt.epoch("ns").max()
        if isinstance(last, int):
            self.last = last if self.last is None else max(self.last, last)

    def channel(self) -> Channel:
        """The states since the last call, and all lives."""
        states, lives = (pl.from_arrow(pa.record_batch(frame)) for frame in (self.core.states(), self.core.lives()))
        assert isinstance(states, pl.DataFrame), "a record batch gives a frame"
        assert isinstance(lives, pl.DataFrame), "a record batch gives a frame"
        session = pl.lit(self.session).alias("session")
        if self._ends:
            # The ledger's row of an end has its time; it names the symbol, or none for all.
            ends = pl.concat(self._ends).unique(["symbol", "message", "kind"], keep="first", maintain_order=True)
            by = {"message": "message_to", "kind": "reason"}
            ends = ends.rename(by | {"ts_recv": "ts_end"})
            own = lives.join(ends, on=["symbol", *by.values()], how="left", maintain_order="left")["ts_end"]
            every = ends.filter(pl.col("symbol").is_null()).drop("symbol")
            every_ts = lives.join(every, on=[*by.values()], how="left", maintain_order="left")["ts_end"]
            lives = lives.with_columns(pl.coalesce("ts_to", own, every_ts).alias("ts_to"))
        last = pl.lit(self.last, dtype=pl.Int64).cast(TIME)
        lives = lives.with_columns(session, pl.col("ts_to").fill_null(last)).select(list(LIVES))
        return Channel(states.with_columns(session).select(list(STATES)).cast(STATES), lives.cast(LIVES))

"""The findings of a comparison: counts, disagreements, latencies.

Latency is the book channel's time minus level 3's time: **positive means that the book channel is later**.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from krakpot.compare.align import Compared, align
from krakpot.compare.states import CHANNELS_COMPARED, WRONG, Channel

BURSTS = (1, 2, 4, 8, 16)
"""Smallest number of entries of each class of book messages."""
CONVENTION = "positive: the book channel is later than level 3"


def counts(compared: Compared) -> pl.DataFrame:
    """States of each symbol: compared, found, only in one, left out."""
    found = pl.col("compared") & pl.col("partner").is_not_null()
    frames = []
    for name, side in zip(CHANNELS_COMPARED, (compared.book, compared.derived), strict=True):
        columns = {
            f"{name}_states": pl.col("compared").sum(),
            f"{name}_found": found.sum(),
            f"{name}_left_out": (~pl.col("compared")).sum(),
        }
        frames.append(side.group_by("symbol").agg(**columns))
    frame = frames[0].join(frames[1], on="symbol", how="full", coalesce=True)
    return frame.fill_null(0).sort("symbol")


def disagreements(compared: Compared, book: Channel) -> pl.DataFrame:
    """Runs of consecutive book states that the derived book never had, with their place.

    A run begins with the first such state. It ends with the next state that both books had, or with the book's span.
    """
    states = compared.book.join(book.spans.select("place", "ts_to"), on="place", how="left", maintain_order="left")
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
    """Statistics of latency, ns, of all pairs that count for it; in total, or grouped and sorted by ``by``."""
    clear = matches.filter("clear")
    return clear.select(_latency(column)) if by is None else clear.group_by(by).agg(_latency(column)).sort(pl.first())


def burst(entries: str = "book_entries") -> pl.Expr:
    """Class of a message by its number of entries: the smallest number in its class of ``BURSTS``."""
    classes = pl.lit(BURSTS[0])
    for least in BURSTS[1:]:
        classes = pl.when(pl.col(entries) >= least).then(pl.lit(least)).otherwise(classes)
    return classes.alias("entries")


def together(book: pl.DataFrame, derived: pl.DataFrame) -> pl.DataFrame:
    """Times (symbol, ts_from, ts_to) at which both books were in sync; spans follow each other (``sequence``)."""
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
    """Findings of a comparison. Latencies are in ns; positive means that the book channel is later than level 3."""

    lake: str
    window: int
    top: Compared
    """Compared by the top ten levels."""
    full: Compared
    """Compared by all levels that both books have."""
    book: Channel
    derived: Channel
    depths: dict[str, int]
    """Levels per side that both books have, by symbol."""
    loop: pl.DataFrame
    """``lag`` rows of the ledger: ts_recv, count (largest lag of the recorder's event loop in that second, ns)."""
    runs: pl.DataFrame = field(init=False)
    """Disagreements of the top ten levels (``disagreements``)."""
    runs_full: pl.DataFrame = field(init=False)
    """Disagreements of all common levels."""
    broken: pl.DataFrame = field(init=False)
    """Sync spans that ended because a book was wrong while the other book was in sync."""
    spans: pl.DataFrame = field(init=False)
    """Times at which both books were in sync (``together``)."""

    def __post_init__(self) -> None:
        """Derive disagreements, common times and wrong books from the sequences of states."""
        self.runs = disagreements(self.top, self.book)
        self.runs_full = disagreements(self.full, self.book)
        self.spans = together(self.book.spans, self.derived.spans)
        broken = [
            _broken("book", self.book.spans, self.derived.spans),
            _broken("level3", self.derived.spans, self.book.spans),
        ]
        self.broken = pl.concat(broken).sort("symbol", "ts")

    @property
    def equal(self) -> bool:
        """Whether states could be compared, every book state among them was found, and no book was wrong meanwhile."""
        return (
            bool(self.top.book["compared"].any())
            and self.runs.is_empty()
            and self.runs_full.is_empty()
            and self.broken.is_empty()
        )

    def symbols(self) -> dict[str, dict[str, Any]]:
        """Findings by symbol; the keys are the same as in ``total``."""
        matches = self.top.matches
        clear = [_rows(latency(matches, "symbol", column)) for column in ("latency_recv", "latency_event")]
        top, full = _rows(counts(self.top)), _rows(counts(self.full))
        flags = _rows(matches.group_by("symbol").agg(_FLAGS))
        runs, runs_full = (_rows(longest(runs)) for runs in (self.runs, self.runs_full))
        seconds = [_seconds(spans) for spans in (self.spans, self.book.spans, self.derived.spans)]
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
        """Findings of all symbols together."""
        matches = self.top.matches
        seconds = [sum(_seconds(spans).values()) for spans in (self.spans, self.book.spans, self.derived.spans)]
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
        """Latency by receive time, grouped by the number of entries of the book message (``burst``)."""
        return latency(self.top.matches, burst())

    def by_hour(self) -> pl.DataFrame:
        """Latency by receive time, grouped by hour of the day, UTC."""
        return latency(self.top.matches, pl.col("book_ts_recv").dt.hour().alias("hour"))

    def caveats(self) -> list[str]:
        """What to know before reading the latencies, in sentences."""
        lags = self.loop["count"].drop_nulls()
        lag = (
            "the ledger has no `lag` rows, so the lag of its event loop is not known"
            if lags.is_empty()
            else f"its event loop lagged by at most {_ms(lags.max())}, by a median of {_ms(lags.median())} per second "
            "(`lag` rows of the ledger)"
        )
        return [
            f"Sign of latencies: {CONVENTION}.",
            f"Receive times of both channels come from one clock, read when the recorder's sockets deliver; {lag}.",
            (
                "Receive times include the network path. The two channels use different connections, perhaps to "
                "different servers. The difference is what a client at this place sees, not what the exchange does."
            ),
            (
                "Exchange times are the `timestamp` fields of the messages, to the microsecond. Kraken does not "
                "document whether they have the same meaning in both channels."
            ),
            "A state that returns within a second, and a state that begins a sync span, count for equality only.",
            "A state that only level 3 has is no disagreement: the book channel may send several changes as one.",
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
            "loop_lag": {
                "seconds": self.loop.height,
                "median": self.loop["count"].median(),
                "max": self.loop["count"].max(),
            },
            "caveats": self.caveats(),
        }


_FLAGS = [pl.col("recurs").sum(), (pl.col("begins") & ~pl.col("recurs")).sum().alias("begins")]


def _rows(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows by symbol."""
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
    """Number of disagreements, and the longest one."""
    row = dict(row or {"disagreements": 0})
    number = row.pop("disagreements")
    return {"disagreements": number, "longest": row if number else None}


def _apart(both: float, book: float, level3: float) -> dict[str, float]:
    return {"together": both, "only_book": book - both, "only_level3": level3 - both}


def _seconds(spans: pl.DataFrame) -> dict[str, float]:
    sums = spans.group_by("symbol").agg((pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds().sum().alias("ns"))
    return {symbol: ns / 1e9 for symbol, ns in sums.iter_rows()}


def longest(runs: pl.DataFrame, by: str | None = "symbol") -> pl.DataFrame:
    """The longest disagreement and the number of disagreements; per symbol, or in total."""
    ordered = runs.sort(pl.col("ts_to") - pl.col("ts_from"), descending=True, maintain_order=True)
    facts = [pl.len().alias("disagreements"), *(pl.col(name).first() for name in runs.columns if name != by)]
    return ordered.select(facts) if by is None else ordered.group_by(by).agg(facts)


def _broken(channel: str, mine: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Spans of ``mine`` that an error ended while the other book of the symbol was in sync."""
    wrong = mine.filter(pl.col("reason").is_in(WRONG)).select(
        "symbol", "session", "reason", channel=pl.lit(channel), message="message_to", ts="ts_to"
    )
    during = wrong.join(other.select("symbol", "ts_from", "ts_to"), on="symbol")
    during = during.filter(pl.col("ts").is_between("ts_from", "ts_to"))
    return during.select("symbol", "channel", "reason", "ts", "session", "message").unique(maintain_order=True)


def _ms(ns: object) -> str:
    assert isinstance(ns, (int, float)), "a lag is a number"
    return f"{ns / 1e6:,.3f} ms"


def compare_channels(
    book: Channel, derived: Channel, *, lake: str, window: int, depths: dict[str, int], loop: pl.DataFrame
) -> Report:
    """Compare two channels whose spans follow each other (``states.sequence``)."""
    top, full = (align(book, derived, key, window) for key in ("checksum", "full"))
    return Report(lake, window, top, full, book, derived, depths, loop)

"""Rows of the ledger: which kinds begin or end coverage, which end a book, and their facts."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from krakpot import _core
from krakpot.lake.format import BOOK_KINDS, polars_schema


def _kinds(fact: str) -> tuple[str, ...]:
    """Kinds of ledger rows of which the core says this."""
    return tuple(kind for kind, facts in _core.LEDGER_KINDS.items() if facts[fact])


BOOK_ENDS = _kinds("ends_book")
"""Kinds after which a book is out of sync."""
ENDS = tuple(dict.fromkeys((*BOOK_ENDS, *_kinds("ends_feed"))))
"""Kinds that end coverage of a book, or of another channel."""
SINCE = _kinds("tells_since")
"""Kinds that are written when an end is noticed; ``ts_from`` is the last message before it."""
REFUSALS = _kinds("needs_symbol")
"""Kinds that end only a book, and only where they name its symbol."""
BEGINS = {
    channel: kind
    for channel in _core.CHANNELS
    for kind in _kinds("begins_book" if channel in {books.channel for books in BOOK_KINDS} else "begins_feed")
}
"""The kind with which a channel's coverage of a symbol begins."""
MARKS = ["entry", "ts_recv", "ts_from", "kind", "channel", "symbol"]
"""Columns of the ledger from which coverage is computed."""
RANGES = ["ts_to", "count", "detail"]
"""Further columns, of what was imported."""
IMPORTED = "imported"
"""The kind of a row that says what was added to a time range: count rows of ``origin``, a fact of its detail."""
ALIVE_MARGIN = 1_000_000_000
"""A session without an end covers until one second after its last ``alive`` row, ns."""


def detail(text: str | None) -> dict[str, object]:
    """Facts of a ledger row; empty where there are none."""
    return dict(json.loads(text)) if text else {}


def book_ends(ledger: pl.DataFrame, channel: str) -> pl.DataFrame:
    """Ledger rows after which a book of the channel is out of sync; a row without a symbol ends all books."""
    ends = ledger.filter(pl.col("kind").is_in(BOOK_ENDS)).filter(
        # Only a refused message whose book it was ends that book.
        ~pl.col("kind").is_in(REFUSALS) | pl.col("symbol").is_not_null()
    )
    return ends.filter(pl.col("channel").is_null() | (pl.col("channel") == channel))


def ledger_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Make a frame of rows of the ledger; times are nanoseconds since the epoch."""
    schema = polars_schema("ledger")
    plain = {name: pl.Int64() if isinstance(kind, pl.Datetime) else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]  # names to types

"""Rows of the ledger: which kinds begin or end coverage, which end a book, and their facts."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from krakpot.lake.format import polars_schema

BEGINS = {"book": "snapshot", "level3": "snapshot", "trade": "subscribed", "ticker": "subscribed", "ohlc": "subscribed"}
"""The kind with which a channel's coverage of a symbol begins."""
ENDS = ("unsubscribed", "mismatch", "crossed", "gap", "gone", "decode_error", "limit", "delisted", "disconnect")
"""Kinds that end coverage."""
SINCE = ("gap", "disconnect")
"""Of these, the kinds that are written when the end is noticed; ``ts_from`` is the last message before it."""
REFUSALS = ("decode_error", "limit")
"""Of these, the kinds that end only a book, and only where they name its symbol."""
BOOK_ENDS = ("mismatch", "crossed", "unsubscribed", "gap", "gone", "delisted", *REFUSALS, "disconnect")
"""Kinds after which a book is out of sync."""
MARKS = ["entry", "ts_recv", "ts_from", "kind", "channel", "symbol"]
"""Columns of the ledger from which coverage is computed."""
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

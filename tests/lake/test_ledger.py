"""Rows of the ledger: which end a book, and their form."""

from __future__ import annotations

import polars as pl
import pytest

import frames
from krakpot.lake import ledger
from krakpot.lake.format import polars_schema


def rows(*told: tuple[str, str | None, str | None]) -> pl.DataFrame:
    """Ledger rows of these kinds, channels and symbols."""
    return ledger.ledger_frame(
        [
            {"session": "s", "message": n, "entry": n, "ts_recv": frames.START + n, "kind": kind, "channel": channel}
            | {"symbol": symbol}
            for n, (kind, channel, symbol) in enumerate(told)
        ]
    )


def test_rows_have_the_columns_of_the_table() -> None:
    """What is not given is null; times are nanoseconds."""
    frame = rows(("start", None, None))
    assert dict(frame.schema) == polars_schema("ledger")
    assert frame["ts_recv"].to_physical().to_list() == [frames.START]
    assert frame["detail"].to_list() == [None]


@pytest.mark.parametrize(
    ("kind", "channel", "symbol", "ends"),
    [
        ("mismatch", "book", "BTC/USD", True),
        ("mismatch", "level3", "BTC/USD", False),
        ("gap", None, None, True),
        ("gap", "trade", "BTC/USD", False),
        ("disconnect", None, None, True),
        ("decode_error", "book", "BTC/USD", True),
        ("decode_error", "book", None, False),
        ("limit", None, None, False),
        ("alive", None, None, False),
        ("trade_gap", "trade", "BTC/USD", False),
    ],
)
def test_what_ends_a_book(kind: str, channel: str | None, symbol: str | None, ends: bool) -> None:
    """Rows of its channel, or of all; a refused message only if it names the symbol."""
    assert (ledger.book_ends(rows((kind, channel, symbol)), "book").height == 1) is ends


def test_facts() -> None:
    """A JSON object, or nothing."""
    assert ledger.detail(None) == {}
    assert ledger.detail('{"rows":{"book":1}}') == {"rows": {"book": 1}}

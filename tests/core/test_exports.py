"""Facts that the extension exports: one home for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from krakpot import _core

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "tables.md"


def test_the_documentation_names_every_kind_of_ledger_row() -> None:
    """And no other."""
    section = REFERENCE.read_text().split("\n## ledger\n")[1].split("\n## ")[0].split("| kind | what happened")[1]
    named = [name for row in re.findall(r"^\| ([a-z_0-9, ]+) \|", section, re.MULTILINE) for name in row.split(", ")]
    assert sorted(named) == sorted(_core.LEDGER_KINDS)


def test_what_a_kind_means_for_coverage() -> None:
    """Each has all properties; what ends a book ends nothing else, unless the channel as a whole is meant."""
    properties = {"begins_book", "begins_feed", "ends_book", "ends_feed", "needs_symbol", "tells_since", "is_error"}
    assert all(set(of) == properties for of in _core.LEDGER_KINDS.values())
    assert {kind for kind, of in _core.LEDGER_KINDS.items() if of["ends_book"] and not of["ends_feed"]} == {
        "mismatch", "crossed", "decode_error", "limit",
    }  # fmt: skip
    assert not any(of["ends_feed"] and not of["ends_book"] for of in _core.LEDGER_KINDS.values())


def test_channels_fill_tables() -> None:
    """The table of each channel is one of the lake's."""
    assert _core.CHANNELS == {
        "book": "book", "trade": "trades", "ticker": "ticker", "ohlc": "ohlc", "level3": "orders",
    }  # fmt: skip
    assert set(_core.CHANNELS.values()) < set(_core.TABLES)


def test_what_kraken_offers() -> None:
    """A session takes the values of each list and refuses others."""
    for depth in _core.DEPTHS:
        _core.Session("s", depth=depth)
    for depth in _core.LEVEL3_DEPTHS:
        _core.Session("s", level3_depth=depth)
        _core.Budget(rate=_core.LEVEL3_COSTS[depth])
    for interval in _core.INTERVALS:
        _core.Session("s", interval=interval)
    assert _core.LEVEL3_RATES == {"standard": 200, "pro": 500}
    with pytest.raises(ValueError, match=re.escape(f"depths: {list(_core.DEPTHS)}")):
        _core.Session("s", depth=sum(_core.DEPTHS))


def test_an_unknown_kind_of_ledger_row_is_refused() -> None:
    """The sentence names the kinds."""
    with pytest.raises(ValueError, match='no kind of ledger row "misread"; kinds: start, stop, .*torn'):
        _core.Session("s").add_ledger_row("misread", 1)

"""Which symbols each channel has: the last pattern that matches decides."""

from __future__ import annotations

from krakpot.feed.selection import Selection

NAMES = ["BTC/USD", "ETH/USD", "ETH/EUR", "SOL/USD"]


def test_patterns_choose_and_exclude() -> None:
    """Each channel has its own patterns; what is excluded is out of all."""
    selection = Selection({"book": ["*"], "level3": ["BTC/*", "ETH/USD"]}, exclude=["*/EUR"])
    assert selection.symbols(NAMES, ["book"]) == ["BTC/USD", "ETH/USD", "SOL/USD"]
    assert selection.symbols(NAMES, ["level3"]) == ["BTC/USD", "ETH/USD"]
    assert selection.symbols(NAMES) == ["BTC/USD", "ETH/USD", "SOL/USD"]
    assert not selection.selects("trade", "BTC/USD"), "a channel that it does not have"
    assert selection.channels == ("book", "level3")


def test_a_pattern_without_a_pair_is_found() -> None:
    """An exclusion may match nothing; a selection may not."""
    assert Selection({"book": ["BTC/*"]}, exclude=["XYZ/*"]).unmatched(NAMES) is None
    assert Selection({"book": ["BTC/*"], "trade": ["XYZ/USD"]}).unmatched(NAMES) == "XYZ/USD"


def test_what_was_said_last_counts() -> None:
    """Removed, added again, removed in part: as if one went through the requests in order."""
    selection = Selection({"book": ["*"], "trade": ["*"]})
    selection.change(["ETH/*"], ["book"], selects=False)
    assert selection.symbols(NAMES, ["book"]) == ["BTC/USD", "SOL/USD"]
    assert selection.symbols(NAMES, ["trade"]) == NAMES
    selection.change(["ETH/EUR"], ["book"], selects=True)
    assert selection.symbols(NAMES, ["book"]) == ["BTC/USD", "ETH/EUR", "SOL/USD"]
    selection.change(["ETH/*"], ["book"], selects=True)
    selection.change(["*"], ["book"], selects=False)
    assert selection.symbols(NAMES, ["book"]) == []


def test_the_rules_do_not_grow() -> None:
    """A pattern that comes again replaces the one before, however often it comes."""
    selection = Selection({"book": ["BTC/USD"]})
    for _ in range(100):
        selection.change(["SOL/USD"], ["book"], selects=True)
        selection.change(["SOL/USD"], ["book"], selects=False)
    assert selection.rules("book") == [("BTC/USD", True), ("SOL/USD", False)]

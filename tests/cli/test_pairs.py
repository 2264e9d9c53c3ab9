"""The pairs of a recorded lake; from an exchange they are tested with the exchange."""

from __future__ import annotations

from pathlib import Path

import pytest

import frames
import lakes
from krakpot.cli import pairs as module
from krakpot.cli.pairs import pairs
from krakpot.errors import ConfigError, NoLake
from krakpot.values import patterns, words


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, one of which changed its precision while it was recorded."""
    path = tmp_path_factory.mktemp("pairs") / "lake"
    pair = frames.pair
    timed = [
        (frames.START, frames.instrument(pair("ETH/USD", price_precision=2), pair("BTC/USD"), pair("BTC/EUR"))),
        (
            frames.START + frames.SECOND,
            frames.instrument(pair("ETH/USD", price_precision=3, status="cancel_only"), kind="update"),
        ),
    ]
    lakes.make(path, timed)
    return path


@pytest.mark.parametrize(
    ("symbols", "exclude", "found"),
    [
        ("*", "", ["BTC/EUR", "BTC/USD", "ETH/USD"]),
        ("BTC/*", "", ["BTC/EUR", "BTC/USD"]),
        ("BTC/USD, ETH/*", "", ["BTC/USD", "ETH/USD"]),
        ("*", "*/USD", ["BTC/EUR"]),
    ],
)
def test_pairs_are_chosen_by_patterns(lake: Path, symbols: str, exclude: str, found: list[str]) -> None:
    """Sorted by name, chosen as ``record`` chooses."""
    assert [row["symbol"] for row in pairs(patterns(symbols), words(exclude), lake=lake)] == found


def test_a_pair_is_told_as_it_was_last(lake: Path) -> None:
    """The keys that the exchange's pairs have too, exact numbers as text, the latest description."""
    (row,) = pairs(["ETH/USD"], [], lake=lake)
    assert row | {"qty_min": "", "cost_min": ""} == {
        "symbol": "ETH/USD", "base": "ETH", "quote": "USD", "status": "cancel_only", "price_precision": 3,
        "qty_precision": 8,
        "qty_min": "", "cost_min": "", "marginable": True,
    }  # fmt: skip
    assert (row["qty_min"], row["cost_min"]) == ("0.00005", "0.5")


def test_exact_numbers_are_the_same_text_from_everywhere(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange may write zeros at the end, and a lake's columns have them: neither is shown."""

    async def ask(_url: str) -> list[dict[str, object]]:
        return [{"symbol": "ETH/USD", "selected": False, "qty_min": "0.00005000", "cost_min": "10"}]

    monkeypatch.setattr(module, "_ask", ask)
    (live,), (recorded,) = pairs(["*"], []), pairs(["ETH/USD"], [], lake=lake)
    assert live == {"symbol": "ETH/USD", "qty_min": "0.00005", "cost_min": "10"}
    assert recorded["qty_min"] == live["qty_min"]


def test_a_pattern_that_matches_nothing(lake: Path) -> None:
    """It is named, with the pair that was probably meant."""
    with pytest.raises(ConfigError, match="--symbols: 'eth/usd' matches none of the 3 pairs; did you mean ETH/USD?"):
        pairs(["BTC/*", "eth/usd"], [], lake=lake)


def test_no_lake_no_pairs(tmp_path: Path) -> None:
    """A wrong folder is said."""
    with pytest.raises(NoLake, match="there is no such folder"):
        pairs(["*"], [], lake=tmp_path / "none")

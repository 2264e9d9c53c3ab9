"""What a recording will cost, said before it begins."""

from __future__ import annotations

import pytest

from krakpot.config import Config
from krakpot.record.estimate import DAY_BYTES, DEPTH_SHARE, PAIRS_ALL, estimate


def pairs(count: int) -> list[str]:
    """Symbols."""
    return [f"P{n}/USD" for n in range(count)]


def test_all_pairs_at_the_deepest_cost_what_was_measured() -> None:
    """All of Kraken's pairs at depth 1000 are the measured day."""
    (line,) = estimate(Config(depth=1000), pairs(PAIRS_ALL), PAIRS_ALL)
    assert f"about {DAY_BYTES / 1e9:.1f} GB a day on disk" in line
    assert line.startswith(f"{PAIRS_ALL:,} of {PAIRS_ALL:,} pairs, book, trade, ticker, depth 1000: ")


@pytest.mark.parametrize("depth", DEPTH_SHARE)
def test_less_depth_and_fewer_pairs_cost_less(depth: int) -> None:
    """In proportion to the updates at that depth, and to the pairs."""
    (line,) = estimate(Config(depth=depth), pairs(145), PAIRS_ALL)
    assert f"about {2.4 * DEPTH_SHARE[depth]:.1f} GB" in line


def test_without_books_it_is_little() -> None:
    """Trades and tickers alone: a twentieth, whatever the depth."""
    (line,) = estimate(Config(channels=("trade", "ticker"), depth=1000), pairs(PAIRS_ALL), PAIRS_ALL)
    assert "about 1.2 GB" in line


def test_a_small_recording_is_told_in_megabytes() -> None:
    """Nothing is "0.0 GB"."""
    (line,) = estimate(Config(depth=10), pairs(3), PAIRS_ALL)
    assert f"about {3 / PAIRS_ALL * DEPTH_SHARE[10] * DAY_BYTES / 1e6:.0f} MB a day on disk" in line


def test_level3_has_a_line_with_the_time_that_subscribing_takes() -> None:
    """25 of cost for each pair at depth 100, and a standard account has 200 a second."""
    config = Config(channels=("book", "level3"), api_key="key", api_secret="c2VjcmV0")  # noqa: S106  # nobody's
    public, level3 = estimate(config, pairs(400), PAIRS_ALL)
    assert "book, depth 100" in public
    assert "400 of 1,450 pairs, level3, depth 100: about 5.2 GB a day on disk" in level3
    assert level3.endswith("all subscribed in 50 s at the earliest")
    (alone,) = estimate(Config(channels=("level3",), api_key="key", api_secret="c2VjcmV0"), pairs(400), PAIRS_ALL)  # noqa: S106  # nobody's
    assert alone == level3


def test_a_channel_with_symbols_of_its_own_costs_what_they_cost() -> None:
    """Level 3 of five pairs, books of all."""
    config = Config(
        channels=("book", "level3"), channel_symbols={"level3": ("P?/USD",)}, api_key="key", api_secret="c2VjcmV0"  # noqa: S106  # nobody's
    )  # fmt: skip
    public, level3 = estimate(config, pairs(400), PAIRS_ALL)
    assert public.startswith("400 of 1,450 pairs, book, depth 100: ")
    assert level3.startswith("10 of 1,450 pairs, level3, depth 100: ")
    assert level3.endswith("all subscribed in 1 s at the earliest")

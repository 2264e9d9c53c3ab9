"""Commands around a recording; ``record`` itself is tested where there is an exchange."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import facts, krakpot, wrong
from krakpot.config import OPTIONS

pytestmark = pytest.mark.usefixtures("folder")


def test_pairs_of_a_lake(file: Path) -> None:
    """A table for people, a list for programs."""
    krakpot("ingest", file, "--out", "lake")
    text = krakpot("pairs", "--lake", "lake")
    assert text.stdout.splitlines()[-1] == "2 pairs"
    assert [
        pair["symbol"] for pair in facts(krakpot("pairs", "--lake", "lake", "--symbols", "ETH/*", "--json"))["pairs"]
    ] == ["ETH/USD"]


def test_a_pattern_that_matches_nothing_is_wrong_use(file: Path) -> None:
    """The pair that was meant is named."""
    krakpot("ingest", file, "--out", "lake")
    wrong(krakpot("pairs", "--lake", "lake", "--symbols", "btc/usd"), "did you mean BTC/USD?")
    wrong(krakpot("pairs", "--lake", "lake", "--symbols", "BTC/*,XRP/*"), "'XRP/*' matches none of the 2 pairs")


def test_every_option_of_a_recording_is_in_its_help() -> None:
    """With its default; secrets have no option."""
    shown = " ".join(krakpot("record", "--help").stdout.split())
    for option in OPTIONS.values():
        assert (f" {option.flag} " in shown) == (not option.secret), option.flag
        if not option.secret:
            assert f"Default: {option.default}." in shown

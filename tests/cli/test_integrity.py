"""``krakpot integrity``: a line for each pair, and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

import frames
import lakes
from commands import facts, krakpot

pytestmark = pytest.mark.usefixtures("folder")


def test_a_line_for_each_pair() -> None:
    """Exit 0 if nothing is missing, 1 if something is."""
    lakes.make(Path("lake"), lakes.market(200))
    whole = krakpot("integrity", "lake")
    assert whole.exit_code == 0
    assert [line.split()[0] for line in whole.stdout.splitlines()] == ["BTC/USD", "ETH/USD"]
    assert "0 bad" in whole.stdout
    assert "feed" in whole.stdout
    before = krakpot("integrity", "lake", "--symbols", "ETH/*", "--start", frames.rfc3339(frames.START - frames.SECOND))
    assert before.exit_code == 1
    assert before.stdout.count("1 gap (absent 1.0 s)") == 3


def test_as_json() -> None:
    """One object with an entry for each pair."""
    lakes.make(Path("lake"), lakes.market(200))
    (found,) = facts(krakpot("integrity", "lake", "--symbols", "BTC/USD", "--json"))["integrity"]
    assert (found["symbol"], found["whole"], found["channels"]["book"]["bad"]) == ("BTC/USD", True, 0)

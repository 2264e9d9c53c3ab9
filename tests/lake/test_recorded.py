"""What was never recorded: the sentences, and what counts as recorded."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import frames
import lakes
from krakpot import ConfigError, Lake
from krakpot.lake.folder import Folder
from krakpot.lake.recorded import (
    check_depth_recorded,
    check_recorded,
    depth_of,
    has_rows,
    recorded_depths,
    warn_outside,
)

BOTH = ["BTC/USD", "ETH/USD"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Books of depth 10, trades and tickers of two pairs."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    lakes.make(path, lakes.market(100))
    return Lake(path)


def test_a_channel_of_none_of_the_symbols(lake: Lake) -> None:
    """One that has it is enough; the others are named."""
    check_recorded(lake, BOTH, ["book", "trade"])
    check_recorded(lake, ["BTC/USD", "SOL/USD"], ["book"])
    with pytest.raises(
        ConfigError, match="^the channel level3 of these symbols was not recorded; recorded: book, tick"
    ):
        check_recorded(lake, BOTH, ["book", "level3"])
    with pytest.raises(ConfigError, match="^the channel book of SOL/USD was not recorded; nothing of it was recorded$"):
        check_recorded(lake, ["SOL/USD"], ["book"])


def test_the_ledger_may_have_lost_the_begin(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are a recording, whatever the ledger still says."""
    assert has_rows(lake, ["BTC/USD"], "book")
    assert not has_rows(lake, ["BTC/USD"], "level3")
    monkeypatch.setattr("krakpot.lake.recorded.covered", lambda ledger: lake.coverage().head(0))
    check_recorded(lake, BOTH, ["book"])
    with pytest.raises(ConfigError, match="level3"):
        check_recorded(lake, BOTH, ["level3"])


def test_depths(lake: Lake) -> None:
    """The largest one of the symbols."""
    assert depth_of(lake, BOTH, "book") == 10
    assert depth_of(lake, BOTH, "level3") is None
    check_depth_recorded(lake, BOTH, "book", 10)
    with pytest.raises(
        ConfigError, match="^depth=11: the channel book of BTC/USD was recorded with a depth of 10; give"
    ):
        check_depth_recorded(lake, ["BTC/USD"], "book", 11)


def test_only_a_range_wholly_outside_is_warned_of() -> None:
    """Also one without a bound; an empty range was asked for."""
    known = (frames.START, frames.START + frames.SECOND)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for begin, end in ((None, None), (known[0] - 1, known[0] + 1), (known[1] - 1, None), (0, 0)):
            warn_outside(begin, end, known)
        warn_outside(known[1], None, None)
    for begin, end in ((known[1], None), (None, known[0]), (known[1] + 1, known[1] + 2)):
        with pytest.warns(UserWarning, match="lie outside of 2026-08-02T03:35:50Z to 2026-08-02T03:35:51Z"):
            warn_outside(begin, end, known)


def test_depths_that_changed(tmp_path: Path) -> None:
    """Of all recordings of a pair, the smallest and the largest; both kinds of books."""
    lakes.make(tmp_path / "lake", lakes.market(60, level3=True))
    later = frames.START + frames.HOUR
    deeper = [(ts, frame.replace(b'"depth":10', b'"depth":25')) for ts, frame in lakes.market(60, begin=later)]
    lakes.make(tmp_path / "lake", deeper, session=lakes.session_name(later))
    assert recorded_depths(Folder(tmp_path / "lake")) == {
        (channel, symbol): (10, 25 if channel == "book" else 10)
        for channel in ("book", "level3")
        for symbol in ("BTC/USD", "ETH/USD")
    }

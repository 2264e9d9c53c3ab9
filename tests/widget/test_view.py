"""The widget: its options, what is assigned to it, and that it stops what it shows."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import krakpot
import lakes
from krakpot.widget.watcher import THREAD
from waiting import run

pytest.importorskip("anywidget", reason="anywidget is not installed: pip install 'krakpot[notebook]'")
traitlets = pytest.importorskip("traitlets")


@pytest.fixture
def lake(tmp_path: Path) -> krakpot.Lake:
    """A small lake."""
    lakes.make(tmp_path / "lake", lakes.market(200))
    return krakpot.Lake(tmp_path / "lake")


def test_a_view_of_a_lake(lake: krakpot.Lake) -> None:
    """It carries its options, and no thread runs before somebody sees it."""
    view = lake.view("ETH/USD", at="2026-11-22T10:00:00.25", depth=25, theme="dark", height=400)
    state: dict[str, Any] = view.get_state()  # type: ignore[attr-defined]  # of the widget
    assert {name: state[name] for name in ("symbol", "depth", "theme", "height")} == {
        "symbol": "ETH/USD", "depth": 25, "theme": "dark", "height": 400,
    }  # fmt: skip
    assert state["at_us"] == 1795341600250000
    assert "export default" in state["_esm"]
    assert not [one for one in threading.enumerate() if one.name == THREAD]
    view.symbol = "BTC/USD"
    view.depth = 500
    view.theme = "light"
    view.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbol": "BTC/EUR"}, "BTC/EUR"),
        ({"symbol": 7}, "symbol"),
        ({"depth": 11}, "depth"),
        ({"theme": "blue"}, "theme"),
        ({"height": 10}, "height"),
        ({"at": "yesterday"}, "at"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else None,
)
def test_a_wrong_option(lake: krakpot.Lake, options: dict[str, Any], words: str) -> None:
    """It is refused with its name, before anything is shown."""
    with pytest.raises(krakpot.ConfigError, match=words):
        lake.view(**({"symbol": "BTC/USD"} | options))


def test_a_wrong_value_that_is_assigned(lake: krakpot.Lake) -> None:
    """It is refused, and the widget keeps what it had."""
    view: Any = lake.view("BTC/USD")
    for name, value in (("symbol", "BTC/EUR"), ("depth", 11), ("theme", "blue"), ("height", 10), ("at_us", 1)):
        before = getattr(view, name)
        with pytest.raises(traitlets.TraitError):
            setattr(view, name, value)
        assert getattr(view, name) == before
    view.close()


def test_a_view_of_a_feed() -> None:
    """Of a pair that it selects, in its loop; two views of a feed share what they listen to."""

    async def main() -> None:
        async with (
            krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=100)) as exchange,
            krakpot.Feed(["*"], channels=["book"], depth=10, url=exchange.address) as feed,
        ):
            views: list[Any] = [feed.view(feed.selected_symbols[0]) for _ in range(2)]
            assert views[0].at_us is None
            assert views[0]._watcher._market is views[1]._watcher._market
            with pytest.raises(krakpot.ConfigError, match="does not select"):
                feed.view("NOT/THERE")
            for view in views:
                view.close()

    run(main())


def test_a_feed_that_is_not_started() -> None:
    """There is nothing to show."""
    with pytest.raises(krakpot.FeedError):
        krakpot.Feed(["BTC/USD"]).view("BTC/USD")

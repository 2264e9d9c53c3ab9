"""The widget: a lake or a feed in the output of a cell, in every notebook that shows anywidgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import anywidget
from traitlets import Enum, Int, TraitError, Unicode, validate

from krakpot import display, values
from krakpot.errors import ConfigError, FeedError
from krakpot.feed.feed import Feed
from krakpot.lake.lake import Lake
from krakpot.serve.live import Live
from krakpot.serve.market import Market
from krakpot.values import Time
from krakpot.widget import front
from krakpot.widget.watcher import Watcher

DEPTHS = (10, 25, 100, 500, 1000)
"""Levels a side that the page offers."""
HEIGHTS = (240, 4000)
"""Pixels, from and to."""
THEMES = ("auto", "dark", "light")
NO_LOOP = (
    "krakpot.Feed.view: no loop runs here; call it in a cell of a notebook, as the feed was started: "
    "feed = await krakpot.Feed(…).start()"
)

_markets: WeakKeyDictionary[Feed, Market] = WeakKeyDictionary()
"""What each feed fills: it is listened to once, however many widgets show it."""


class View(anywidget.AnyWidget):
    """A page on a lake or a feed. What is assigned to its attributes, all its views show."""

    _esm = front.module()
    symbol = Unicode(help="The pair.").tag(sync=True)
    depth = Int(display.DEPTH, help="Levels a side.").tag(sync=True)
    theme = Enum(THEMES, "auto", help="Colours; auto: those of the notebook.").tag(sync=True)
    height = Int(display.HEIGHT, help="Pixels.").tag(sync=True)
    at_us = Int(None, allow_none=True, read_only=True, help="Where a view begins, and stands still.").tag(sync=True)

    def __init__(self, check: Callable[[str], None], at: int | None, **traits: Any) -> None:  # noqa: ANN401  # of any type
        """``check`` refuses a symbol that is not there; ``at``: ns."""
        self._check = check
        self._watcher: Watcher | None = None
        self.set_trait("at_us", None if at is None else at // 1000)
        super().__init__(**traits)
        self.on_msg(self._received)

    def watch(self, watcher: Watcher) -> None:
        """Show this."""
        self._watcher = watcher

    def tell(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Send a message to the front ends."""
        self.send(content, buffers=buffers)

    def _received(self, _: object, content: object, __: object) -> None:
        if self._watcher is not None:
            self._watcher.receive(content)

    def close(self) -> None:
        """Remove it from the notebook, and stop what it shows."""
        if self._watcher is not None:
            self._watcher.close()
        super().close()

    @validate("symbol")
    def _symbol_is_there(self, proposal: dict[str, Any]) -> str:
        symbol: str = proposal["value"]
        with _as_traits_say():
            self._check(symbol)
        return symbol

    @validate("depth")
    def _depth_is_offered(self, proposal: dict[str, Any]) -> int:
        with _as_traits_say():
            return _depth(proposal["value"])

    @validate("height")
    def _height_is_allowed(self, proposal: dict[str, Any]) -> int:
        with _as_traits_say():
            return _height(proposal["value"])


@contextmanager
def _as_traits_say() -> Iterator[None]:
    """What is wrong with a value is an error of the trait, as that of a wrong type is."""
    try:
        yield
    except ConfigError as error:
        raise TraitError(str(error)) from None


def _depth(value: object) -> int:
    return values.read(values.number_of(DEPTHS), value, "depth")


def _height(value: object) -> int:
    return values.read(values.whole_number(*HEIGHTS), value, "height")


def _view(check: Callable[[str], None], at: int | None, symbol: str, depth: int, theme: str, height: int) -> View:
    """A widget with options that are checked."""
    check(values.read(values.symbol, symbol, "symbol"))
    values.read(values.word_of(THEMES), theme, "theme")
    return View(check, at, symbol=symbol, depth=_depth(depth), theme=theme, height=_height(height))


def of_lake(lake: object, symbol: str, *, at: Time | None, depth: int, theme: str, height: int) -> View:
    """Show a lake."""
    assert isinstance(lake, Lake), "called by Lake.view"
    begin = None if at is None else values.time_of(at, "at")
    view = _view(lambda name: lake.check_symbols([name]), begin, symbol, depth, theme, height)
    view.watch(Watcher(lake, view.tell))
    return view


def of_feed(feed: object, symbol: str, *, depth: int, theme: str, height: int) -> View:
    """Show a feed, in the loop in which it runs."""
    assert isinstance(feed, Feed), "called by Feed.view"
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise FeedError(NO_LOOP) from None

    def check(name: str) -> None:
        if name not in feed.selected_symbols:
            close = values.near(name, feed.selected_symbols)
            hint = f"did you mean {' or '.join(close)}?" if close else "`selected_symbols` lists those that it has"
            raise ConfigError(f"krakpot.Feed.view: symbol: the feed does not select {values.shown(name)}; {hint}")

    view = _view(check, None, symbol, depth, theme, height)
    market = _markets.get(feed)
    if market is None:
        market = _markets[feed] = Live(feed).market
    view.watch(Watcher(feed, view.tell, loop=loop, market=market))
    return view

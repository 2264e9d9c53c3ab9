"""krakpot records Kraken's spot market data feed exactly, proves the record right, and gives it back.

>>> import krakpot
>>> lake = krakpot.Lake("data")  # doctest: +SKIP
>>> lake.trades("BTC/USD").collect()  # doctest: +SKIP
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krakpot import _core
from krakpot._core import __version__

if TYPE_CHECKING:
    from krakpot._core import BookEvent, OhlcEvent, StatusEvent, SubscriptionEvent, TickerEvent, TradeEvent
    from krakpot.errors import (
        ConfigError,
        ConnectionLost,
        FeedError,
        KrakpotError,
        NoBook,
        SlowReader,
        StorageError,
    )
    from krakpot.feed.feed import ConnectionEvent, Feed, LiveBook, SkippedEvent
    from krakpot.lake.lake import Lake

__all__ = [
    "BookEvent", "ConfigError", "ConnectionEvent", "ConnectionLost", "Feed", "FeedError", "KrakpotError", "Lake",
    "LiveBook", "NoBook", "OhlcEvent", "SkippedEvent", "SlowReader", "StatusEvent", "StorageError",
    "SubscriptionEvent", "TickerEvent", "TradeEvent", "__version__",
]  # fmt: skip

_HOMES = dict.fromkeys(("ConnectionEvent", "Feed", "LiveBook", "SkippedEvent"), "krakpot.feed.feed")
_HOMES |= {"Lake": "krakpot.lake.lake"}

if _core.DEBUG:
    warnings.warn("krakpot's extension was built without optimisation: it is slow; build with --release", stacklevel=2)


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    """Import on first use: Polars and PyArrow take longer to load than all the rest."""
    if name in __all__:
        if hasattr(_core, name):
            return getattr(_core, name)
        return getattr(import_module(_HOMES.get(name, "krakpot.errors")), name)
    sentence = f"module 'krakpot' has no attribute {name!r}"
    raise AttributeError(sentence)

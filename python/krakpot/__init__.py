"""krakpot records Kraken's spot market data feed exactly, proves the recording, and gives it back.

>>> import krakpot
>>> lake = krakpot.Lake("data")  # doctest: +SKIP
>>> lake.trades("BTC/USD").collect()  # doctest: +SKIP

Everything public is importable from here: ``Lake`` and ``verify`` read recordings, ``Recorder`` and ``ingest`` write
them, ``export`` makes files of other tools, ``Feed`` gives live books and events to a strategy, ``Replay`` those of a
recording, ``ExchangeServer`` is the built-in exchange for tests.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krakpot import _core, asked, display
from krakpot._core import __version__ as __version__

if TYPE_CHECKING:
    from krakpot._core import Batch as Batch
    from krakpot._core import Book as Book
    from krakpot._core import BookEvent as BookEvent
    from krakpot._core import Fill as Fill
    from krakpot._core import Gap as Gap
    from krakpot._core import GapEvent as GapEvent
    from krakpot._core import Level3Event as Level3Event
    from krakpot._core import OhlcEvent as OhlcEvent
    from krakpot._core import Order as Order
    from krakpot._core import OrderEvent as OrderEvent
    from krakpot._core import Orders as Orders
    from krakpot._core import Queue as Queue
    from krakpot._core import StatusEvent as StatusEvent
    from krakpot._core import SubscriptionEvent as SubscriptionEvent
    from krakpot._core import TickerEvent as TickerEvent
    from krakpot._core import Timer as Timer
    from krakpot._core import TradeEvent as TradeEvent
    from krakpot.config import Config as Config
    from krakpot.display import Shown as Shown
    from krakpot.errors import ChecksumMismatch as ChecksumMismatch
    from krakpot.errors import ConfigError as ConfigError
    from krakpot.errors import ConnectionLost as ConnectionLost
    from krakpot.errors import DecodeError as DecodeError
    from krakpot.errors import FeedError as FeedError
    from krakpot.errors import KeyInUse as KeyInUse
    from krakpot.errors import KrakpotError as KrakpotError
    from krakpot.errors import LimitBreached as LimitBreached
    from krakpot.errors import LimitExceeded as LimitExceeded
    from krakpot.errors import NoBook as NoBook
    from krakpot.errors import NoLake as NoLake
    from krakpot.errors import SlowReader as SlowReader
    from krakpot.errors import StorageError as StorageError
    from krakpot.errors import SubscriptionRejected as SubscriptionRejected
    from krakpot.errors import TokenError as TokenError
    from krakpot.errors import Unreconciled as Unreconciled
    from krakpot.exchange.options import Options as _ExchangeOptions
    from krakpot.exchange.server import ExchangeServer as ExchangeServer
    from krakpot.exports.export import export as export
    from krakpot.exports.output import ExportReport as ExportReport
    from krakpot.features.labels import future_mid as future_mid
    from krakpot.features.labels import triple_barrier as triple_barrier
    from krakpot.features.matrix import arrays as arrays
    from krakpot.features.matrix import matrix as matrix
    from krakpot.features.split import split as split
    from krakpot.features.steps import FEATURES as FEATURES
    from krakpot.features.steps import Feature as Feature
    from krakpot.feed.feed import Feed as Feed
    from krakpot.feed.source import FeedCounts as FeedCounts
    from krakpot.history.backfill import BackfillResult as BackfillResult
    from krakpot.history.backfill import backfill as backfill
    from krakpot.history.imports import ImportResult as ImportResult
    from krakpot.history.imports import import_file as import_file
    from krakpot.lake.fills import WouldFill as WouldFill
    from krakpot.lake.format import Part as Part
    from krakpot.lake.integrity import Integrity as Integrity
    from krakpot.lake.lake import Lake as Lake
    from krakpot.lake.plot import Plot as Plot
    from krakpot.lake.queue import OrderLife as OrderLife
    from krakpot.lake.queue import OrdersAt as OrdersAt
    from krakpot.lake.sample import BookAt as BookAt
    from krakpot.lake.verify import Report as Report
    from krakpot.lake.verify import verify as verify
    from krakpot.record.ingest import IngestResult as IngestResult
    from krakpot.record.ingest import ingest as ingest
    from krakpot.record.progress import Progress as Progress
    from krakpot.record.progress import RecordingSummary as RecordingSummary
    from krakpot.record.recorder import Recorder as Recorder
    from krakpot.replay.replay import Replay as Replay
    from krakpot.stream.book import LiveBook as LiveBook
    from krakpot.stream.events import ConnectionEvent as ConnectionEvent
    from krakpot.stream.events import Event as Event
    from krakpot.stream.events import SkippedEvent as SkippedEvent
    from krakpot.stream.events import Subscription as Subscription
    from krakpot.stream.events import SubscriptionState as SubscriptionState
    from krakpot.stream.orders import LiveOrders as LiveOrders
    from krakpot.stream.orders import QueuedOrder as QueuedOrder
    from krakpot.trade.compiled import CompiledStrategy as CompiledStrategy
    from krakpot.trade.compiled import compiled as compiled
    from krakpot.trade.live import Limits as Limits
    from krakpot.trade.live import Live as Live
    from krakpot.trade.loaded import LoadedReplay as LoadedReplay
    from krakpot.trade.loaded import load as load
    from krakpot.trade.market import Balance as Balance
    from krakpot.trade.market import Inventory as Inventory
    from krakpot.trade.market import Market as Market
    from krakpot.trade.market import Rate as Rate
    from krakpot.trade.market import Strategy as Strategy
    from krakpot.trade.options import Latency as Latency
    from krakpot.trade.options import Paper as Paper
    from krakpot.trade.result import Bounds as Bounds
    from krakpot.trade.result import Result as Result
    from krakpot.trade.run import events as events
    from krakpot.trade.run import run as run
    from krakpot.trade.run import run_async as run_async
    from krakpot.trade.run import run_many as run_many
    from krakpot.trade.schedule import Schedule as Schedule
    from krakpot.values import Numbers as Numbers

    ExchangeOptions = _ExchangeOptions

_HOMES = {
    "krakpot._core": (
        "Batch", "Book", "BookEvent", "Fill", "Gap", "GapEvent", "Level3Event", "OhlcEvent", "Order", "OrderEvent",
        "Orders", "Queue", "StatusEvent", "SubscriptionEvent", "TickerEvent", "Timer", "TradeEvent", "__version__",
    ),
    "krakpot.config": ("Config",),
    "krakpot.display": ("Shown",),
    "krakpot.errors": (
        "ChecksumMismatch", "ConfigError", "ConnectionLost", "DecodeError", "FeedError", "KeyInUse", "KrakpotError",
        "LimitBreached", "LimitExceeded", "NoBook", "NoLake", "SlowReader", "StorageError", "SubscriptionRejected",
        "TokenError", "Unreconciled",
    ),
    "krakpot.exchange.options": ("ExchangeOptions",),
    "krakpot.exchange.server": ("ExchangeServer",),
    "krakpot.features.labels": ("future_mid", "triple_barrier"),
    "krakpot.features.matrix": ("arrays", "matrix"),
    "krakpot.features.split": ("split",),
    "krakpot.features.steps": ("FEATURES", "Feature"),
    "krakpot.exports.export": ("export",),
    "krakpot.exports.output": ("ExportReport",),
    "krakpot.feed.feed": ("Feed",),
    "krakpot.feed.source": ("FeedCounts",),
    "krakpot.lake.fills": ("WouldFill",),
    "krakpot.history.backfill": ("BackfillResult", "backfill"),
    "krakpot.history.imports": ("ImportResult", "import_file"),
    "krakpot.lake.format": ("Part",),
    "krakpot.lake.integrity": ("Integrity",),
    "krakpot.lake.lake": ("Lake",),
    "krakpot.lake.queue": ("OrderLife", "OrdersAt"),
    "krakpot.lake.plot": ("Plot",),
    "krakpot.lake.sample": ("BookAt",),
    "krakpot.lake.verify": ("Report", "verify"),
    "krakpot.record.ingest": ("IngestResult", "ingest"),
    "krakpot.record.progress": ("Progress", "RecordingSummary"),
    "krakpot.record.recorder": ("Recorder",),
    "krakpot.replay.replay": ("Replay",),
    "krakpot.stream.book": ("LiveBook",),
    "krakpot.stream.events": ("ConnectionEvent", "Event", "SkippedEvent", "Subscription", "SubscriptionState"),
    "krakpot.stream.orders": ("LiveOrders", "QueuedOrder"),
    "krakpot.trade.compiled": ("CompiledStrategy", "compiled"),
    "krakpot.trade.live": ("Limits", "Live"),
    "krakpot.trade.loaded": ("LoadedReplay", "load"),
    "krakpot.trade.market": ("Balance", "Inventory", "Market", "Rate", "Strategy"),
    "krakpot.trade.options": ("Latency", "Paper"),
    "krakpot.trade.result": ("Bounds", "Result"),
    "krakpot.trade.run": ("events", "run", "run_async", "run_many"),
    "krakpot.trade.schedule": ("Schedule",),
    "krakpot.values": ("Numbers",),
}  # fmt: skip
"""The module of each public name. A name is imported when it is first used: Polars and PyArrow take long to load."""
_INNER = {"ExchangeOptions": "Options"}
"""Names that are shorter in their module, whose own name says the rest."""
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  # from the table, so that each name is written once

# The rooms of lakes and feeds may not know that of widgets, which shows them; the package knows all.
display.provide(lambda: import_module("krakpot.widget.view"))
asked.provide(lambda: import_module("krakpot.trade.questions"))

if _core.DEBUG:
    warnings.warn("krakpot's extension was built without optimisation: it is slow; build with --release", stacklevel=2)


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever has this name
    """Import a public name on its first use."""
    if name not in _HOME:
        sentence = f"module 'krakpot' has no attribute {name!r}"
        raise AttributeError(sentence)
    found = globals()[name] = getattr(import_module(_HOME[name]), _INNER.get(name, name))
    return found


def __dir__() -> list[str]:
    """All public names, imported or not, and none of the imports of this module."""
    return sorted({*_HOME, *(name for name in globals() if name.startswith("_"))})

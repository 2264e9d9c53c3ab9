"""The events of a stream.

The extension makes the events of messages (``BookEvent``, ``TradeEvent``, …). The events about the stream itself are
here: a connection that was established or lost, and events that were skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from krakpot._core import (
    BookEvent,
    GapEvent,
    Level3Event,
    OhlcEvent,
    StatusEvent,
    SubscriptionEvent,
    TickerEvent,
    TradeEvent,
)

__all__ = [
    "ALWAYS", "BookEvent", "Callback", "ConnectionEvent", "Endpoint", "Event", "GapEvent", "Level3Event",
    "OhlcEvent", "SkippedEvent",
    "StatusEvent", "Subscription", "SubscriptionEvent", "SubscriptionState", "TickerEvent", "TradeEvent",
]  # fmt: skip

ALWAYS = ("status", "subscription", "gap", "connection")
"""Channels whose events every stream has, besides those of the subscribed channels."""
OF_SYMBOLS = ("subscription", "gap")
"""Those of them whose events are about a symbol."""

Endpoint = Literal["public", "level3"]
"""Which of Kraken's two servers a connection leads to: level 3 has its own server."""


SubscriptionState = Literal[
    "pending", "requested", "acked", "active", "idle", "resyncing", "unsubscribing", "rejected", "removed"
]
"""State of a subscription: to be requested; requested; acknowledged, its snapshot is to come; delivering; delivering,
without data for a minute; to be subscribed again; to be ended; rejected by the exchange; the pair is delisted.
"""


class Subscription(NamedTuple):
    """One subscription of a feed, as returned by ``Feed.subscriptions``."""

    channel: str
    symbol: str
    state: SubscriptionState
    reason: str
    """Why the state is not ``active``; empty where all is well."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A connection of the feed was established or lost; while it is down its books are out of sync."""

    channel: ClassVar[Literal["connection"]] = "connection"
    up: bool
    """True: established. False: lost."""
    reason: str
    """Why it was lost; empty if ``up``."""
    ts_recv: int
    """When, in ns since the Unix epoch."""
    endpoint: Endpoint = "public"
    """The server that the connection leads to."""


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """The strategy fell behind with ``slow_reader="newest"``, and these events were dropped."""

    channel: ClassVar[Literal["skipped"]] = "skipped"
    counts: Mapping[str, int]
    """Number of dropped events by channel."""


Event = (
    BookEvent
    | Level3Event
    | TradeEvent
    | TickerEvent
    | OhlcEvent
    | StatusEvent
    | SubscriptionEvent
    | GapEvent
    | ConnectionEvent
    | SkippedEvent
)
"""Whatever ``async for event in feed`` can give."""
Callback = Callable[[Any], object]
"""A function that takes one event; its result is ignored."""

"""What a feed has: its pairs with their decimals, and which channels have them. For programs that show all of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from krakpot._core import Session
from krakpot.feed.feed import Feed
from krakpot.net.level3 import TokenSource
from krakpot.stream.events import Callback
from krakpot.stream.stream import Reads


class FedPair(NamedTuple):
    """A pair that a feed has."""

    symbol: str
    price_precision: int
    qty_precision: int
    channels: tuple[str, ...]


def depths_of(feed: Feed) -> tuple[int, int]:
    """Price levels a side of its books, and of its level 3."""
    options = feed._options.config  # noqa: SLF001  # of the same room
    return options.depth, options.level3_depth


def channels_of(feed: Feed) -> tuple[str, ...]:
    """Channels that it has."""
    return feed._source.selection.channels  # noqa: SLF001  # of the same room


def silence_of(feed: Feed) -> float:
    """Seconds since the one of its connections that is silent for longest sent anything; infinite if one is down."""
    now, connections = time.monotonic(), [client.connection for client in feed._source.clients]  # noqa: SLF001  # of the same room
    if is_over(feed):
        return float("inf")
    return max((float("inf") if one is None else one.silence(now) for one in connections), default=float("inf"))


def share_tokens(feed: Feed, key: str, tokens: TokenSource) -> None:
    """Let another one request the tokens of a feed that has the same API key, before it is started."""
    if feed._options.config.api_key == key:  # noqa: SLF001  # of the same room
        feed._source.tokens = tokens  # noqa: SLF001  # of the same room


def sessions_of(feed: Feed, endpoint: str) -> list[Session]:
    """The sessions of all connections to an endpoint."""
    clients = feed._source.clients  # noqa: SLF001  # of the same room
    return [client.session for client in clients if client.endpoint == endpoint]


def take_reads(feed: Feed, callbacks: Mapping[str, Callback], reads: Reads) -> None:
    """Listen as by ``Feed.on``, and take each read of a socket whole while nobody else listens."""
    feed._stream.on_reads(callbacks, reads)  # noqa: SLF001  # of the same room


def is_over(feed: Feed) -> bool:
    """Whether it was stopped or closed, or has failed."""
    return feed._stream.stopped.is_set()  # noqa: SLF001  # of the same room


def pairs_of(feed: Feed) -> list[FedPair]:
    """Pairs that its patterns select now, sorted; none before it is started."""
    source = feed._source  # noqa: SLF001  # of the same room
    if source.public is None:
        return []
    chosen = {
        channel: set(source.selection.symbols(source.selection.names, [channel])) for channel in channels_of(feed)
    }
    found = []
    for pair in source.public.session.pairs():
        channels = tuple(channel for channel, symbols in chosen.items() if pair["symbol"] in symbols)
        if channels:
            found.append(FedPair(pair["symbol"], pair["price_precision"], pair["qty_precision"], channels))
    return sorted(found)


def described_pairs(feed: Feed) -> list[dict[str, Any]]:
    """All pairs as the exchange described them, as ``_core.Session.pairs`` gives them; none before it is started."""
    public = feed._source.public  # noqa: SLF001  # of the same room
    return [] if public is None else public.session.pairs()


def status_of(feed: Feed, symbol: str) -> str | None:
    """The status of a pair as the exchange said it last; None while the connection has not said it."""
    public = feed._source.public  # noqa: SLF001  # of the same room
    return None if public is None else public.session.pair_status(symbol)


def session_of(feed: Feed, channel: str, symbol: str) -> Session:
    """The session that has a symbol in a channel now."""
    return feed._source.client_of(channel, symbol).session  # noqa: SLF001  # of the same room

"""What a feed has: its pairs with their decimals, and which channels have them. For programs that show all of it."""

from __future__ import annotations

from typing import NamedTuple

from krakpot.feed.feed import Feed


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

"""Helpers of the tests of feeds."""

from __future__ import annotations

from krakpot import Feed
from krakpot.stream.events import Event


async def first(feed: Feed, number: int) -> list[Event]:
    """So many events."""
    found = []
    async for event in feed:
        found.append(event)
        if len(found) == number:
            break
    return found

"""Events of the stream itself; those of messages are tested in tests/core/test_events.py."""

from __future__ import annotations

import typing
from dataclasses import FrozenInstanceError

import pytest

from krakpot.stream import events


def test_every_event_has_its_channel() -> None:
    """``event.channel`` is what callbacks listen to, and no two kinds of event share it."""
    kinds = typing.get_args(events.Event)
    channels = [kind.channel for kind in kinds]
    assert len(channels) == len(set(channels)) >= 8
    assert set(events.ALWAYS) <= set(channels)


def test_events_cannot_be_changed() -> None:
    """Several listeners get the same object."""
    event = events.ConnectionEvent(up=False, reason="cut", ts_recv=1)
    assert event.endpoint == "public"
    with pytest.raises(FrozenInstanceError):
        event.up = True  # type: ignore[misc]  # the assignment is the test


def test_a_subscription_is_read_by_name() -> None:
    """And still a tuple."""
    found = events.Subscription("book", "BTC/USD", "rejected", "unknown pair")
    assert found.state == found[2] == "rejected"

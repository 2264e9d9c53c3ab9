"""Events of the stream itself; those of messages are tested in tests/core/test_events.py."""

from __future__ import annotations

import re
import typing
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from krakpot import _core
from krakpot.stream import events


def test_every_event_has_its_channel() -> None:
    """``event.channel`` is what callbacks listen to, and no two kinds of event share it."""
    kinds = typing.get_args(events.Event)
    channels = [kind.channel for kind in kinds]
    assert len(channels) == len(set(channels)) >= 8
    assert set(events.ALWAYS) <= set(channels)


def test_the_stub_names_every_word() -> None:
    """States and outcomes are closed sets: the types of the stub are the words of the core."""
    root = Path(__file__).parents[2]
    stub = (root / "python/krakpot/_core.pyi").read_text()

    def typed(name: str) -> list[str]:
        (found,) = re.findall(rf"^{name}: TypeAlias = Literal\[([^\]]*)\]", stub, re.MULTILINE)
        return re.findall(r'"(\w+)"', found)

    symbols = (root / "rust/src/session/symbols.rs").read_text()
    (words,) = re.findall(r"const WORDS: .*? =\s*\[([^\]]*)\]", symbols, re.DOTALL)
    states = typing.get_args(events.SubscriptionState)
    assert re.findall(r'"(\w+)"', words) == ["off", *states] == ["off", *typed("_SubscriptionState")]
    outcomes = (root / "rust/src/session/events.rs").read_text().partition("impl BookOutcome")[2].partition("\n}")[0]
    assert re.findall(r'=> "(\w+)"', outcomes) == typed("_Outcome")
    assert set(typed("_Channel")) == set(_core.CHANNELS)


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

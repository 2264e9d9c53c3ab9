"""Requests of clients, read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakpot.replay.request import RefusedError, Request, Topic, read, understood


def asked(*, level3: bool = False, method: str = "subscribe", **params: Any) -> Request:
    """The request of a client."""
    name, req_id, message = read(json.dumps({"method": method, "params": params, "req_id": 1}))
    assert req_id == 1
    return understood(name, message, level3=level3)


def test_what_is_not_given_is_as_kraken_has_it() -> None:
    """Depth 10, one minute, a snapshot of all but trades."""
    symbol = ["BTC/USD"]
    assert asked(channel="book", symbol=symbol) == Request("subscribe", Topic("book", 10), ("BTC/USD",), snapshot=True)
    assert asked(channel="trade", symbol=symbol).snapshot is False
    assert asked(channel="trade", symbol=symbol, snapshot=True).snapshot is True
    assert asked(channel="ohlc", symbol=symbol).topic == Topic("ohlc", 1)
    assert asked(channel="ticker", symbol=symbol, event_trigger="bbo").topic.trigger == "bbo"
    assert asked(level3=True, channel="level3", symbol=symbol, depth=100).topic == Topic("level3", 100)


@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.sampled_from(["subscribe", "book", "BTC/USD"]),
        lambda some: (
            st.lists(some, max_size=3)
            | st.dictionaries(st.sampled_from(["method", "params", "channel", "symbol", "depth", "req_id"]), some)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_text_is_read_or_refused(text: bytes) -> None:
    """Never another error."""
    method, _, message = read(text)
    with suppress(RefusedError):
        assert understood(method, message, level3=False).method == method


@pytest.mark.parametrize("depth", [0, 11, True, "10", 10.5, None])
def test_depths_that_kraken_has_not(depth: object) -> None:
    """Refused, also what equals a depth and is none."""
    with pytest.raises(RefusedError, match="depth not supported"):
        asked(channel="book", symbol=["BTC/USD"], depth=depth)

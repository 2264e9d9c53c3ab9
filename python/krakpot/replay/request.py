"""Requests of a client of a served replay, read; and what the answers say, in Kraken's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from krakpot import _core
from krakpot.values import LEVEL3

MALFORMED = "Malformed request"
NO_DEPTH = "Subscription depth not supported"
NO_INTERVAL = "Subscription ohlc interval not supported"
ALREADY = "Already subscribed"
NOT_SUBSCRIBED = "Subscription not found"
PRIVATE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
PUBLIC = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
DEPTH = 10
"""The depth of a subscription that names none."""
WARNINGS = {
    "ohlc": ["timestamp is deprecated, use interval_begin"],
    "instrument": ["tick_size is deprecated, use price_increment"],
}


class RefusedError(Exception):
    """A request is refused; the text is the exchange's."""


@dataclass(frozen=True)
class Topic:
    """What is subscribed of a pair: a channel, with its depth or interval; 0 if the channel has none."""

    channel: str
    size: int = 0
    trigger: str = ""
    """Of a ticker: ``trades`` or ``bbo``."""

    def result(self, symbol: str, *, subscribe: bool, snapshot: bool) -> dict[str, object]:
        """What an acknowledgement says. That of a ticker has no trigger when it is subscribed."""
        found: dict[str, object] = {"channel": self.channel, "symbol": symbol}
        if self.channel in {"book", LEVEL3}:
            found["depth"] = self.size
        if self.channel == "ohlc":
            found["interval"] = self.size
        if self.channel == "ticker" and not subscribe:
            found["event_trigger"] = self.trigger
        if subscribe:
            found["snapshot"] = snapshot
            if self.channel in WARNINGS:
                found["warnings"] = WARNINGS[self.channel]
        return found


@dataclass(frozen=True)
class Request:
    """A request that could be read."""

    method: str
    """``ping``, ``subscribe`` or ``unsubscribe``."""
    topic: Topic = Topic("")
    symbols: tuple[str, ...] = ()
    snapshot: bool = True


def read(text: str | bytes) -> tuple[str, int | None, Mapping[str, Any]]:
    """The method for the answer, the id, and the message; ``error`` is the method of what cannot be read."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return "error", None, {}
    if not isinstance(message, dict):
        return "error", None, {}
    # Anything may stand there, also what no set can hold.
    req_id = message.get("req_id")
    known = isinstance(req_id, int) and not isinstance(req_id, bool)
    method = message.get("method")
    return method if method in ("ping", "subscribe", "unsubscribe") else "error", req_id if known else None, message


def understood(method: str, message: Mapping[str, Any], *, level3: bool) -> Request:
    """The request of a message; ``RefusedError`` says why there is none. ``level3``: it came to that endpoint."""
    params = message.get("params")
    if method == "error":
        raise RefusedError(MALFORMED)
    if method == "ping":
        if params is not None:
            raise RefusedError("Unsupported field: 'params' for the given msg type: ping")
        return Request("ping")
    if not isinstance(params, dict):
        raise RefusedError("Unsupported event")
    channel = params.get("channel")
    if channel in ("executions", "balances") or (channel == LEVEL3 and not level3):
        raise RefusedError(PRIVATE)
    if channel in ("instrument", "book", "trade", "ticker", "ohlc") and level3:
        raise RefusedError(PUBLIC)
    snapshot = params.get("snapshot")
    snapshot = snapshot if isinstance(snapshot, bool) else channel != "trade"
    if channel == "instrument":
        return Request(method, Topic(channel), (), snapshot)
    topic = _topic(channel, params)
    symbols = params.get("symbol")
    if not isinstance(symbols, list):
        raise RefusedError("Pair field must be an array")
    if not 1 <= len(symbols) <= _core.PAIRS_MAX:
        raise RefusedError("EGeneral:Invalid arguments")
    names = tuple(name if isinstance(name, str) else "" for name in symbols)
    return Request(method, topic, names, snapshot)


def _topic(channel: object, params: Mapping[str, Any]) -> Topic:
    if channel == "book":
        return Topic("book", _one_of(params.get("depth", DEPTH), _core.DEPTHS, NO_DEPTH))
    if channel == LEVEL3:
        return Topic(LEVEL3, _one_of(params.get("depth", DEPTH), _core.LEVEL3_DEPTHS, NO_DEPTH))
    if channel == "trade":
        return Topic("trade")
    if channel == "ticker":
        return Topic("ticker", trigger="bbo" if params.get("event_trigger") == "bbo" else "trades")
    if channel == "ohlc":
        return Topic("ohlc", _one_of(params.get("interval", 1), _core.INTERVALS, NO_INTERVAL))
    raise RefusedError("Subscription name invalid")


def _one_of(value: object, allowed: tuple[int, ...], refusal: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise RefusedError(refusal)
    return value

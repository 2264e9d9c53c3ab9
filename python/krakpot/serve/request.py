"""The requests of a client of the stream: JSON, read without trust."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from krakpot.values import near, shown

DEPTHS = (1, 1000)
"""Levels a side, from and to."""
DEPTH = 100
"""If a client names none."""
RATES = (1, 60)
"""States of a pair a second, from and to."""
SPEEDS = (0.1, 1000.0)
"""Recorded seconds a second, from and to."""
SYMBOLS_MAX = 100
"""Pairs that a client may subscribe: each is a whole book, so many times a second."""
REQ_ID_MAX = 1 << 53
"""Whole numbers that JavaScript holds exactly."""
TIME_MAX = ((1 << 63) - 1) // 1000
"""The last time, µs."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    "subscribe": ("symbols", "depth", "orders"),
    "unsubscribe": ("symbols",),
    "overview": ("on",),
    "rate": ("per_second",),
    "coverage": ("symbols",),
    "seek": ("at_us",),
    "pause": (),
    "resume": (),
    "speed": ("speed",),
}
"""Methods, and what each takes."""
OF_LAKES = ("seek", "pause", "resume", "speed")
"""Methods that only a recording has."""


class RefusedError(Exception):
    """A request that is refused; the sentence goes to the client."""


@dataclass(frozen=True)
class Request:
    """A request that can be done."""

    method: str
    symbols: tuple[str, ...] = ()
    depth: int = DEPTH
    orders: bool = False
    on: bool = True
    """Of an overview."""
    number: float = 0.0
    """Of a rate or a speed."""
    at: int = 0
    """Of a seek, ns."""


def read(text: str) -> tuple[dict[str, Any], str | None, int | None]:
    """Read a text as JSON: the message, its method and its ``req_id``, as far as they can be told.

    ``RefusedError`` if it is not a JSON object.
    """
    try:
        message = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise RefusedError("this is not JSON") from None
    if not isinstance(message, dict):
        raise RefusedError('a request is a JSON object, as {"method": "subscribe", "symbols": ["BTC/USD"]}')
    method, req_id = message.get("method"), message.get("req_id")
    return message, method if isinstance(method, str) else None, req_id if _whole(req_id, 0, REQ_ID_MAX) else None


def understood(message: Mapping[str, Any], pairs: Collection[str], *, live: bool) -> Request:
    """Check a message; ``pairs``: the pairs that there are. ``RefusedError`` says what is wrong with it."""
    method = message.get("method")
    if not isinstance(method, str) or method not in FIELDS:
        raise RefusedError(f"method: {shown(method)} is not allowed; allowed is one of {', '.join(FIELDS)}")
    if "req_id" in message and not _whole(message["req_id"], 0, REQ_ID_MAX):
        _refuse(message, "req_id", "a whole number from 0 to 2**53")
    for name in message:
        if name not in {"method", "req_id", *FIELDS[method]}:
            allowed = ", ".join(FIELDS[method]) or "nothing"
            raise RefusedError(f"{shown(name)} is not allowed; {method} takes {allowed}")
    if live and method in OF_LAKES:
        raise RefusedError(f"{method}: this is live; only a recording can do that")
    return _READERS[method](message, pairs)


def _subscribe(message: Mapping[str, Any], pairs: Collection[str]) -> Request:
    depth, orders = message.get("depth", DEPTH), message.get("orders", False)
    if not _whole(depth, *DEPTHS):
        _refuse(message, "depth", f"a whole number from {DEPTHS[0]} to {DEPTHS[1]}")
    if not isinstance(orders, bool):
        _refuse(message, "orders", "true or false")
    return Request("subscribe", _symbols(message, pairs), depth=depth, orders=orders)


def _unsubscribe(message: Mapping[str, Any], pairs: Collection[str]) -> Request:
    return Request("unsubscribe", _symbols(message, pairs))


def _coverage(message: Mapping[str, Any], pairs: Collection[str]) -> Request:
    return Request("coverage", _symbols(message, pairs))


def _overview(message: Mapping[str, Any], _: Collection[str]) -> Request:
    on = message.get("on", True)
    if not isinstance(on, bool):
        _refuse(message, "on", "true or false")
    return Request("overview", on=on)


def _rate(message: Mapping[str, Any], _: Collection[str]) -> Request:
    return Request("rate", number=_number(message, "per_second", *RATES))


def _speed(message: Mapping[str, Any], _: Collection[str]) -> Request:
    return Request("speed", number=_number(message, "speed", *SPEEDS))


def _seek(message: Mapping[str, Any], _: Collection[str]) -> Request:
    at: Any = message.get("at_us")
    if not _whole(at, 0, TIME_MAX):
        _refuse(message, "at_us", "microseconds since 1970 UTC, a whole number")
    return Request("seek", at=at * 1000)


_READERS = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "overview": _overview,
    "rate": _rate,
    "coverage": _coverage,
    "seek": _seek,
    "pause": lambda message, pairs: Request("pause"),
    "resume": lambda message, pairs: Request("resume"),
    "speed": _speed,
}


def _symbols(message: Mapping[str, Any], pairs: Collection[str]) -> tuple[str, ...]:
    names = message.get("symbols")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        _refuse(message, "symbols", 'a list of pairs, as ["BTC/USD"]')
    if len(names) > SYMBOLS_MAX:
        raise RefusedError(f"symbols: {len(names):,} pairs are too many; allowed are {SYMBOLS_MAX}")
    for name in names:
        if name not in pairs:
            close = near(name, pairs)
            hint = f"did you mean {' or '.join(close)}?" if close else "`hello` lists the pairs"
            raise RefusedError(f"symbols: there is no pair {shown(name)} here; {hint}")
    return tuple(dict.fromkeys(names))


def _number(message: Mapping[str, Any], name: str, least: float, most: float) -> float:
    value: Any = message.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        _refuse(message, name, f"a number from {least:g} to {most:g}")
    return float(value)


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _refuse(message: Mapping[str, Any], name: str, allowed: str) -> NoReturn:
    given = f"{shown(message[name])} is not allowed" if name in message else "it is missing"
    raise RefusedError(f"{name}: {given}; allowed is {allowed}")


def _constant(name: str) -> NoReturn:
    raise ValueError(name)

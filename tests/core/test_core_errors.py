"""The extension raises krakpot's own errors: each kind of error of the core, with its facts as attributes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from krakpot import _core
from krakpot.errors import DecodeError, LimitExceeded

CORE = Path(__file__).parents[2] / "rust" / "src" / "error.rs"
TRADE = '{"symbol":"A/USD","side":"buy","price":%s,"qty":1.0,"ord_type":"limit","trade_id":1,"timestamp":"%s"}'
TIME = "2026-08-02T03:35:51.660084Z"


def trade(price: str, time: str = TIME) -> bytes:
    """A frame of one trade."""
    return ('{"channel":"trade","type":"update","data":[' + TRADE % (price, time) + "]}").encode()


def orders(price: str, order_id: str = "a") -> Callable[[], Any]:
    """A call that gives an order to a level-3 book without decimals."""
    book = _core.Orders(depth=10, price_precision=0, qty_precision=0)
    return lambda: book.snapshot([("bid", None, order_id, price, "1", 0)])


def check(frame: bytes) -> Callable[[], Any]:
    """A call that checks a frame."""
    return lambda: _core.check_frame(frame)


LONG = "X" * 65
RAISED: list[tuple[str, Callable[[], Any], type[Exception], dict[str, Any], str]] = [
    ("Json", check(b'{"channel":'), DecodeError, {"channel": "", "field": "", "offset": 10}, "not JSON at byte 10"),
    ("NoMessage", check(b"[1,2,3]"), DecodeError, {"channel": "", "field": "", "offset": None}, "not a message"),
    (
        "Shape", check(b'{"channel":"book","type":5,"data":[]}'), DecodeError,
        {"channel": "book", "field": "type", "offset": 25}, "book: field type is missing, repeated or of another type",
    ),
    (
        "Shape", check(trade("true")), DecodeError, {"channel": "trade", "field": "price", "offset": 75},
        "trade: field price is missing",
    ),
    ("Shape", check(trade("1.5", "noon")), DecodeError, {"field": "timestamp", "offset": 141}, "field timestamp"),
    (
        "Decimal", check(trade("9" * 39)), DecodeError, {"channel": "trade", "field": "price", "offset": None},
        "9{39} cannot be held with 10 decimals",
    ),
    ("Decimal", orders("1.5"), DecodeError, {"channel": "", "field": "", "offset": None}, "^1.5 cannot be held"),
    (
        "Limit", check(b'{"channel":"level3","type":"snapshot","data":[{"bids":[{"order_id":"%s"}]}]}' % LONG.encode()),
        LimitExceeded, {"what": "ORDER_ID_LENGTH_MAX", "limit": 64, "found": 65}, "65 is more than the limit",
    ),
    ("Limit", orders("1", LONG), LimitExceeded, {"what": "ORDER_ID_LENGTH_MAX", "limit": 64, "found": 65}, "65 is"),
    ("Limit", check(b" " * (2**24 + 1)), LimitExceeded, {"what": "FRAME_MAX", "found": 2**24 + 1}, "FRAME_MAX"),
]  # fmt: skip
NEVER_RAISED = {"Symbol"}
"""Only a session knows which symbols it subscribed, and it writes a ledger row instead of raising."""


def test_every_variant_has_a_row_here() -> None:
    """The table below cannot fall behind the core."""
    enum = re.search(r"pub enum Error \{(.*?)\n\}", CORE.read_text(), re.DOTALL)
    assert enum is not None
    variants = set(re.findall(r"^    (\w+)[ ,{]", enum[1], re.MULTILINE))
    assert len(variants) > 4
    assert variants == {variant for variant, *_ in RAISED} | NEVER_RAISED


@pytest.mark.parametrize(("variant", "call", "error", "facts", "sentence"), RAISED)
def test_errors_of_the_core(
    variant: str, call: Callable[[], Any], error: type[Exception], facts: dict[str, Any], sentence: str
) -> None:
    """The class, the sentence and the facts."""
    with pytest.raises(error, match=sentence) as raised:
        call()
    assert type(raised.value) is error, variant
    assert {name: getattr(raised.value, name) for name in facts} == facts


def test_good_frames_raise_nothing() -> None:
    """A frame that a session takes as a whole, of a known channel or another."""
    for frame in (trade("1.5"), b'{"channel":"heartbeat"}', b'{"channel":"new","data":7}', b'{"method":"pong"}'):
        _core.check_frame(frame)


def test_wrong_arguments_are_value_errors() -> None:
    """A word or a value that is not allowed is the caller's mistake; the sentence says what is allowed."""
    book = _core.Orders(depth=10, price_precision=0, qty_precision=0)
    with pytest.raises(ValueError, match="no side 'up'|no side \"up\""):
        book.snapshot([("up", None, "a", "1", "1", 0)])
    with pytest.raises(ValueError, match="tables: book, "):
        _core.schema("nothing")

"""What the members of a signed request mean: forms and JSON, numbers as they were written."""

from __future__ import annotations

import json

import pytest

from krakpot.exchange import forms
from krakpot.exchange.forms import Refused

SECOND = 10**9


def test_forms_and_json_say_the_same() -> None:
    """A list of orders may come in either way; digits are not touched."""
    form = b"nonce=1&orders%5B0%5D%5Bvolume%5D=0.10&orders%5B1%5D%5Bvolume%5D=2e1&ids[1]=b&ids[0]=a"
    given = {"nonce": 1, "orders": [{"volume": "0.10"}, {"volume": "2e1"}], "ids": ["a", "b"]}
    assert forms.fields("", form) == forms.fields("application/json", json.dumps(given).encode())
    assert forms.fields("application/json", b'{"price":9007199254740993.10}') == {"price": "9007199254740993.10"}


@pytest.mark.parametrize("body", [b"[]", b"{", b"1", b"[" * 60_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """A list or a piece is no request."""
    with pytest.raises(Refused):
        forms.fields("application/json", body)


@pytest.mark.parametrize(
    ("text", "number"), [("37500", "37500"), ("037500.10", "37500.10"), ("+5", "5"), ("-1", "-1"), ("0", "0")]
)
def test_numbers(text: str, number: str) -> None:
    """A number of a form is one of JSON, with all its digits."""
    assert forms.number({"price": text}, "price") == number
    json.loads(number)


@pytest.mark.parametrize("text", ["", "1e5", "NaN", "1,5", "0x1", "1" * 40, "٣", "1\n"])  # a digit
def test_no_numbers(text: str) -> None:
    """All else is refused, with the member's name."""
    with pytest.raises(Refused, match=r"^EGeneral:Invalid arguments:price$"):
        forms.number({"price": text}, "price")


def test_an_order() -> None:
    """REST's words become those of the private endpoint."""
    facts = {
        "ordertype": "stop-loss-limit", "type": "sell", "volume": "1.25", "price": "100.0", "price2": "99.5",
        "oflags": "fcib", "timeinforce": "GTD", "expiretm": "+90", "stptype": "cancel-both", "userref": "7",
        "trigger": "index",
    }  # fmt: skip
    assert json.loads(forms.as_json(forms.terms(facts, 10 * SECOND))) == {
        "side": "sell", "order_type": "stop-loss-limit", "order_qty": 1.25, "limit_price": 99.5,
        "triggers": {"price": 100.0, "reference": "index"}, "fee_preference": "base", "time_in_force": "GTD",
        "expire_time": "1970-01-01T00:01:40.000000000Z", "stp_type": "cancel_both", "order_userref": 7,
    }  # fmt: skip
    plain = forms.terms({"ordertype": "limit", "type": "buy", "volume": "1", "price": "2", "oflags": "post"}, 0)
    assert (plain["limit_price"], plain["post_only"]) == ("2", "true")
    with pytest.raises(Refused):
        forms.terms({"ordertype": "limit", "type": "buy", "volume": "1", "price": "2", "expiretm": "9" * 16}, 0)

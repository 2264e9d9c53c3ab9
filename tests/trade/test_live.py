"""The options of an account with money: each wrong value is named, and no limit is off unless somebody says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from krakpot import Limits, Live
from krakpot.errors import ConfigError

AMOUNTS: dict[str, Any] = {"order_value": 500, "inventory": {"BTC": "0.02"}, "loss": 50}
OTHERS = ("open_orders", "collar", "orders_per_minute", "stale", "clock", "fee_share", "fat_finger", "ramp")


@pytest.mark.parametrize("missing", AMOUNTS)
def test_the_three_amounts_have_no_default(missing: str) -> None:
    """Whoever forgets one cannot trade."""
    with pytest.raises(TypeError, match=missing):
        Limits(**{name: value for name, value in AMOUNTS.items() if name != missing})


def test_every_other_limit_acts_unless_it_is_switched_off() -> None:
    """Its default is a value; off is None, or False, and the repr says so."""
    found = Limits(**AMOUNTS)
    assert all(getattr(found, name) not in (None, False) for name in OTHERS)
    assert repr(found) == "Limits(order_value 500, inventory BTC 0.02, loss 50)"
    off: dict[str, Any] = {name: False if name == "fat_finger" else None for name in OTHERS}
    assert f"without {', '.join(OTHERS)}" in repr(Limits(**AMOUNTS, **off))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"order_value": -1}, "order_value: -1"), ({"order_value": 1.5}, "order_value"), ({"loss": "many"}, "loss"),
        ({"inventory": {}}, "inventory"), ({"inventory": {"BTC": "x"}}, "inventory: BTC"),
        ({"collar": "200%"}, "collar"), ({"collar": 0.02}, "a float cannot hold it"),
        ({"open_orders": -1}, "open_orders"), ({"stale": "soon"}, "stale"), ({"clock": "250"}, "clock"),
        ({"fee_share": "x"}, "fee_share"),
        ({"fat_finger": 1}, "fat_finger"),
        ({"ramp": "1.5"}, "ramp"), ({"orders_per_minute": "x"}, "orders_per_minute"),
    ],
)  # fmt: skip
def test_wrong_limits_are_named(wrong: dict[str, Any], words: str) -> None:
    """The sentence names the place and what is allowed."""
    with pytest.raises(ConfigError, match=words):
        Limits(**(AMOUNTS | wrong))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"account": "mine"}, "account"), ({"prefix": "short"}, "eight letters or digits"),
        ({"limits": None}, "limits"),
        ({"validate": 1}, "validate"), ({"strangers": "kill"}, "strangers"), ({"self_trade": "both"}, "self_trade"),
        ({"dead_man": "1s"}, "dead_man"), ({"dead_man": "2d"}, "dead_man"), ({"dead_man": "15.5s"}, "dead_man"),
        ({"url": "http://x"}, "url"), ({"rest_url": "x"}, "rest_url"), ({"key_file": 1}, "key_file"),
        ({"durable": "no"}, "durable"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(wrong: dict[str, Any], words: str) -> None:
    """The sentence names the place and what is allowed."""
    options: dict[str, Any] = {"key_file": "k.toml", "limits": Limits(**AMOUNTS), "account": "shared"} | wrong
    with pytest.raises(ConfigError, match=words):
        Live(**options)


def test_whose_account_it_is_must_be_said() -> None:
    """The dead-man timer cancels all orders of the account, so nobody else may have some there."""
    with pytest.raises(TypeError, match="account"):
        Live("k.toml", Limits(**AMOUNTS))  # type: ignore[call-arg]  # that is the point


def test_the_prefix_is_that_of_the_class() -> None:
    """Eight letters and digits, whatever the class is called."""

    class Join_Best_2:  # noqa: N801  # a name with other characters
        pass

    class A:
        pass

    account = Live(Path("k.toml"), Limits(**AMOUNTS), account="shared")
    assert [account.prefix_of(one) for one in (Join_Best_2(), A())] == ["JoinBest", "A0000000"]
    assert Live("k", Limits(**AMOUNTS), account="shared", prefix="makerBTC").prefix_of(A()) == "makerBTC"

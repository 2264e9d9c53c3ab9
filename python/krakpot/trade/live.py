"""An account with money: which key, within which limits. ``krakpot.run`` sends its orders to the exchange."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

from krakpot import values
from krakpot.errors import ConfigError
from krakpot.trade.options import Amount, Duration, amount, nanoseconds_of, share
from krakpot.values import shown

Account = Literal["exclusive", "shared"]
Strangers = Literal["report", "adopt"]
SelfTrade = Literal["cancel_newest", "cancel_oldest", "cancel_both"]
PREFIX = re.compile(r"[0-9A-Za-z]{8}", re.ASCII)
PREFIX_SIZE = 8
COUNT_MAX = 1 << 32
DEAD_MAN = (15, 86_399)
"""Seconds of the dead-man timer: Kraken's is shorter than a day; it is set again every quarter of its time."""
FLAG = values.instance_of(bool, "True or False")
PRIVATE_URL = "wss://ws-auth.kraken.com/v2"


class Limits:
    """Bounds of an account with money, which are asked before an order is sent.

    An order beyond one of them is in state ``rejected``, with ``krakpot:<limit>`` and the number that was hit. The
    three amounts have no default. Every other limit acts unless it is given as None (``fat_finger``: False).

    Parameters
    ----------
    order_value
        Most that one order may be worth, in the pair's quote asset.
    inventory
        Most of each base asset that may be bought or sold in all, open orders included: ``{"BTC": "0.1"}``. An asset
        that is not named is not traded.
    loss
        Most that may be lost since the journal began, fees included, in the quote asset. More cancels all own orders
        and ends the run with ``LimitBreached``.
    open_orders
        Own open orders.
    collar
        Most distance of a price from the middle of the best prices and from the last trade.
    orders_per_minute
        New orders in a minute.
    stale
        The feed may be silent for so long.
    clock
        The exchange's clock may be so far from this machine's.
    fee_share
        The fee of an order that takes, as a share of its value.
    fat_finger
        Whether orders are refused that are more than five times the median of the last ones, or worth more than half
        of ``order_value`` as one of the first three of a day; ``confirm=True`` at the order says that it is meant.
    ramp
        So many first orders of a journal must have the smallest size that the pair allows.

    Raises
    ------
    ConfigError
        A value is missing or not allowed; the sentence names it.

    Examples
    --------
    >>> Limits(order_value=500, inventory={"BTC": "0.02"}, loss=50)
    Limits(order_value 500, inventory BTC 0.02, loss 50)

    """

    __slots__ = (
        "clock", "collar", "fat_finger", "fee_share", "inventory", "loss", "open_orders", "order_value",
        "orders_per_minute", "ramp", "stale",
    )  # fmt: skip

    def __init__(
        self,
        order_value: Amount,
        inventory: Mapping[str, Amount],
        loss: Amount,
        *,
        open_orders: int | None = 10,
        collar: str | Decimal | None = "2%",
        orders_per_minute: int | None = 60,
        stale: Duration | None = "2s",
        clock: Duration | None = "250ms",
        fee_share: str | Decimal | None = "1%",
        fat_finger: bool = True,
        ramp: int | None = 20,
    ) -> None:
        """Check all values."""
        place = "krakpot.Limits"

        def count(value: object, name: str) -> int | None:
            return None if value is None else values.read(values.whole_number(0, COUNT_MAX), value, f"{place}: {name}")

        def duration(value: Any, name: str) -> int | None:  # noqa: ANN401  # whatever a caller gave
            return None if value is None else nanoseconds_of(value, f"{place}: {name}")

        def part(value: object, name: str) -> int | None:
            return None if value is None else share(value, f"{place}: {name}")

        self.order_value = amount(order_value, f"{place}: order_value")
        if not isinstance(inventory, Mapping) or not inventory:
            sentence = (
                f'{place}: inventory: {shown(inventory)} is not allowed; allowed are amounts by asset, {{"BTC": "0.1"}}'
            )
            raise ConfigError(sentence)
        self.inventory = {str(asset): amount(one, f"{place}: inventory: {asset}") for asset, one in inventory.items()}
        self.loss = amount(loss, f"{place}: loss")
        self.open_orders = count(open_orders, "open_orders")
        self.collar = part(collar, "collar")
        self.orders_per_minute = count(orders_per_minute, "orders_per_minute")
        self.stale = duration(stale, "stale")
        self.clock = duration(clock, "clock")
        self.fee_share = part(fee_share, "fee_share")
        self.fat_finger = values.read(FLAG, fat_finger, f"{place}: fat_finger")
        self.ramp = count(ramp, "ramp")

    def __repr__(self) -> str:
        """The three amounts, and what is off."""
        held = ", ".join(f"{asset} {one:f}" for asset, one in self.inventory.items())
        named = ("open_orders", "collar", "orders_per_minute", "stale", "clock", "fee_share", "fat_finger", "ramp")
        off = [name for name in named if getattr(self, name) in (None, False)]
        without = f", without {', '.join(off)}" if off else ""
        return f"Limits(order_value {self.order_value:f}, inventory {held}, loss {self.loss:f}{without})"


class Live:
    """An account at the exchange. Orders of a strategy that runs with it are real.

    Only a key file with ``mode = "live"`` reaches Kraken, and the first start with a journal asks for the name of the
    account (or takes it from ``KRAKPOT_CONFIRM``). docs/live_trading.md has all controls, and what happens when things
    break.

    Parameters
    ----------
    key_file
        The key: ``krakpot key new`` writes one. A key that may withdraw, that others can read or that another process
        uses is refused.
    limits
        A ``krakpot.Limits``.
    account
        ``"exclusive"``: nobody else places orders in this account, so the exchange's dead-man timer is used, which
        cancels all of it if this process dies or hangs. ``"shared"``: others do; then nothing cancels for you.
    prefix
        Eight letters or digits with which the names of the strategy's orders begin; by them its orders are found again.
        None: made of the name of the strategy's class.
    journal
        The file in which everything is written before it is sent; None: one by account and prefix in
        ``~/.local/state/krakpot``.
    validate
        The exchange checks new orders and places none: a dry run with a real key.
    strangers
        Open orders with this prefix that the journal does not have: ``"report"``: the start fails with their list;
        ``"adopt"``: they are taken over.
    self_trade
        What the exchange does where own orders meet.
    dead_man
        After so long without a sign of progress the exchange cancels all orders; None: never.
    durable
        Whether the journal is on disk before a request leaves. Without it a power failure may lose orders that were
        sent; a killed process does not.
    url, rest_url
        Addresses of the private WebSocket and of REST; None: Kraken's, or those of the built-in exchange of the run.

    Raises
    ------
    ConfigError
        A value is not allowed; the sentence names it.

    Examples
    --------
    >>> limits = Limits(order_value=500, inventory={"BTC": "0.02"}, loss=50)
    >>> Live("maker.toml", limits, account="exclusive")
    Live(maker.toml, exclusive, Limits(order_value 500, inventory BTC 0.02, loss 50))

    """

    __slots__ = (
        "account", "dead_man", "durable", "journal", "key_file", "limits", "prefix", "rest_url", "self_trade",
        "strangers", "url", "validate",
    )  # fmt: skip

    def __init__(
        self,
        key_file: str | os.PathLike[str],
        limits: Limits,
        *,
        account: Account,
        prefix: str | None = None,
        journal: str | os.PathLike[str] | None = None,
        validate: bool = False,
        strangers: Strangers = "report",
        self_trade: SelfTrade = "cancel_newest",
        dead_man: Duration | None = "60s",
        durable: bool = True,
        url: str | None = None,
        rest_url: str | None = None,
    ) -> None:
        """Check all values; nothing is read or connected yet."""
        place = "krakpot.Live"
        if not isinstance(key_file, (str, os.PathLike)):
            raise ConfigError(f"{place}: key_file: {shown(key_file)} is not allowed; allowed is the path of a key file")
        if not isinstance(limits, Limits):
            raise ConfigError(f"{place}: limits: {shown(limits)} is not allowed; allowed is a krakpot.Limits")
        self.key_file = Path(key_file)
        self.limits = limits
        self.account: str = values.read(values.word_of(get_args(Account)), account, f"{place}: account")
        if prefix is not None and (not isinstance(prefix, str) or not PREFIX.fullmatch(prefix)):
            sentence = f"{place}: prefix: {shown(prefix)} is not allowed; allowed are eight letters or digits"
            raise ConfigError(sentence)
        self.prefix = prefix
        self.journal = None if journal is None else Path(journal)
        self.validate = values.read(FLAG, validate, f"{place}: validate")
        self.strangers: str = values.read(values.word_of(get_args(Strangers)), strangers, f"{place}: strangers")
        self.self_trade: str = values.read(values.word_of(get_args(SelfTrade)), self_trade, f"{place}: self_trade")
        self.dead_man = None if dead_man is None else _dead_man(dead_man, f"{place}: dead_man")
        self.durable = values.read(FLAG, durable, f"{place}: durable")
        self.url = None if url is None else values.read(values.level3_url, url, f"{place}: url")
        self.rest_url = None if rest_url is None else values.read(values.rest_url, rest_url, f"{place}: rest_url")

    def prefix_of(self, strategy: object) -> str:
        """The prefix of a strategy's orders: the one that was given, or one of the name of its class."""
        if self.prefix is not None:
            return self.prefix
        letters = [letter for letter in type(strategy).__name__ if letter.isascii() and letter.isalnum()]
        return "".join(letters)[:PREFIX_SIZE].ljust(PREFIX_SIZE, "0")

    def __repr__(self) -> str:
        """Key file, account and limits."""
        return f"Live({self.key_file}, {self.account}, {self.limits!r}{', validate' if self.validate else ''})"


def _dead_man(value: Duration, place: str) -> int:
    seconds, rest = divmod(nanoseconds_of(value, place), 10**9)
    if rest or not DEAD_MAN[0] <= seconds <= DEAD_MAN[1]:
        sentence = f"{place}: {shown(value)} is not allowed; allowed are whole seconds, 15s to 86399s, or None"
        raise ConfigError(sentence)
    return seconds

"""An account by signed REST, without a strategy: its open orders, its balances, and the end of all its orders.

Nothing here needs the process that placed the orders: that one may hang, be stopped, or run on another machine.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from krakpot.errors import counted
from krakpot.net.market import FEED_NAMES, symbol_of
from krakpot.net.rest import Public, RestError
from krakpot.trade.signed import DENIED, LOCKED, NONCE, Signed

LAG = 60.0
"""Seconds for which REST may show an order that is gone; fills were seen that much earlier on the WebSocket."""
PATIENCE = LAG + 15.0
"""Seconds after which no further look is taken."""
PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Seconds between the first looks."""
PACE = 5.0
"""Seconds between later looks: no more than the slowest tier of Kraken allows."""
NONCES_MAX = 4
"""Refused nonces after which a kill ends: Kraken locks a key after many. Fewer may pass by themselves: if another
machine with a faster clock used the key, the numbers of this one are soon higher."""
NAMED = re.compile(r"([0-9A-Za-z]{8})[0-9a-hjkmnp-tv-z]{10}", re.ASCII)
"""The ``cl_ord_id`` that a strategy gives: its prefix, and a number to the base 32 (``rust/trade/src/names.rs``)."""
LEGACY = {
    **{f"X{name}": name for name in ("ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC")},
    **{f"Z{name}": name for name in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")},
}
"""Assets that REST still calls by an old name."""
SYSTEM = {
    "online": "all orders are taken",
    "maintenance": "nothing is taken, not even cancels",
    "cancel_only": "only cancels are taken",
    "post_only": "only post-only orders and cancels are taken",
}
"""What the states of the exchange mean."""


@dataclass(frozen=True)
class OpenOrder:
    """An open order as REST shows it; numbers are texts with all digits, as Kraken gives them."""

    id: str
    """Kraken's."""
    symbol: str
    """As the feed names the pair, ``BTC/USD``; where that is not known, REST's name."""
    side: str
    kind: str
    """``limit``, ``stop-loss`` and so on."""
    qty: str
    filled: str
    price: str | None
    """The limit; of an order with a trigger that of the trigger. None: a market order."""
    price2: str | None
    """The limit of an order with a trigger."""
    opened: float
    """Unix time, s."""
    age: float
    """Seconds, by the exchange's clock."""
    cl_ord_id: str | None
    prefix: str | None
    """The strategy that named it; None: the name is not one of krakpot's strategies, the order is a stranger."""

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        return asdict(self)


async def open_orders(signed: Signed, public: Public, log: Callable[[str], None] = lambda _: None) -> list[OpenOrder]:
    """Return the account's open orders, the oldest first.

    Parameters
    ----------
    signed
        Needs the permission ``query-open-trades``.
    public
        Gives the exchange's time and the names of pairs.
    log
        Hears in a sentence if pairs have no other name than REST's.

    Raises
    ------
    RestError
        If REST does not answer.

    Examples
    --------
    >>> orders = await open_orders(signed, Public(signed.url))  # doctest: +SKIP

    """
    found = _open(await signed.ask("OpenOrders"), signed)
    if not found:
        return []
    now = (await public.get("Time")).get("unixtime")
    if not isinstance(now, int):
        raise signed.unreadable("Time")
    described = [facts["descr"] for facts in found.values() if isinstance(facts.get("descr"), dict)]
    names = sorted({signed.shown(str(facts.get("pair"))) for facts in described})
    symbols: dict[str, str] = {}
    try:
        symbols = _symbols(await public.get("AssetPairs", pair=",".join(names)))
    except RestError as error:
        log(f"the names of pairs are those of REST: {error}")
    try:
        orders = [_order(signed, name, facts, symbols, now) for name, facts in found.items()]
    except (ArithmeticError, KeyError, TypeError, ValueError):
        raise signed.unreadable("OpenOrders") from None
    return sorted(orders, key=lambda order: order.opened)


def _open(result: Mapping[str, Any], signed: Signed) -> dict[str, dict[str, Any]]:
    """The open orders of an answer by their ids."""
    found = result.get("open")
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise signed.unreadable("OpenOrders")
    return {signed.shown(name): facts for name, facts in found.items()}


def _symbols(pairs: Mapping[str, Any]) -> dict[str, str]:
    """The feed's name of each pair, by REST's short name."""
    found = {}
    for facts in pairs.values():
        if isinstance(facts, dict) and isinstance(name := facts.get("wsname"), str):
            found[str(facts.get("altname"))] = symbol_of(name)
    return found


def _order(signed: Signed, name: str, facts: Mapping[str, Any], symbols: Mapping[str, str], now: int) -> OpenOrder:
    """Read an order; an error of Python if it has not what Kraken documents."""
    terms = facts["descr"]
    given = facts.get("cl_ord_id")
    own = None if given is None else signed.shown(str(given))
    match = NAMED.fullmatch(own or "")
    pair = signed.shown(str(terms["pair"]))
    opened = float(facts["opentm"])
    return OpenOrder(
        name, signed.shown(symbols.get(pair, pair)), signed.shown(str(terms["type"])),
        signed.shown(str(terms["ordertype"])), _number(facts["vol"]), _number(facts["vol_exec"]),
        _price(terms["price"]), _price(terms["price2"]), opened, max(0.0, round(now - opened, 1)), own,
        None if match is None else match[1],
    )  # fmt: skip


def _number(value: object) -> str:
    """A number with its digits; ``ArithmeticError`` or ``ValueError`` if it is none."""
    found = Decimal(str(value))
    if not found.is_finite():
        raise ValueError
    return f"{found:f}"


def _price(value: object) -> str | None:
    """A price; 0 stands for none."""
    text = _number(value)
    return text if Decimal(text) else None


@dataclass(frozen=True)
class Killed:
    """What became of an account's orders."""

    cancelled: int
    """Orders that the exchange says were cancelled."""
    left: tuple[str, ...]
    """Ids of the orders that are still shown as open."""
    gone: bool
    """Whether no order is open any more."""
    looked: bool
    """Whether the key may look at open orders. If not, ``gone`` is known from a further cancel that found none."""
    why: str = ""
    """Why it is not known that all are gone, where that is not because some are shown."""

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        return asdict(self) | {"left": list(self.left)}


async def kill(
    signed: Signed,
    log: Callable[[str], None] = lambda _: None,
    *,
    patience: float = PATIENCE,
    sleep: Callable[[float], Any] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Killed:
    """Cancel every open order of the account, whoever placed it, and look until none is open.

    The first request is the cancel. It may be sent again at any time: it can only end orders. So a lost answer and
    a busy exchange are tried again. All are gone when a cancel found none and REST shows none. A key that may not look
    (``close-trades`` alone) is enough: then it is the cancel that found none.

    Parameters
    ----------
    signed
        Needs the permission ``close-trades``.
    log
        Hears in sentences what is waited for.
    patience
        Seconds after which no further try is made.
    sleep, clock
        For tests without time.

    Raises
    ------
    RestError
        If no cancel was answered, and trying again did not or would not help.

    Examples
    --------
    >>> (await kill(signed)).gone  # doctest: +SKIP
    True

    """
    work = _Kill(signed, log)
    end = clock() + patience
    at = 0
    while True:
        trouble = await work.round()
        if work.done:
            return Killed(work.cancelled, (), gone=True, looked=work.may_look)
        pause = max(0.0 if trouble is None else trouble.wait, PAUSES[at] if at < len(PAUSES) else PACE)
        at += 1
        if (trouble is not None and work.is_final(trouble)) or clock() + pause > end:
            if trouble is not None and not work.heard:
                raise trouble
            why = "new orders were placed all the while" if trouble is None and not work.left else str(trouble or "")
            return Killed(work.cancelled, tuple(work.left), gone=False, looked=work.may_look, why=why)
        work.explain(trouble, end - clock())
        await sleep(pause)


class _Kill:
    """The state of a kill between its rounds."""

    def __init__(self, signed: Signed, log: Callable[[str], None]) -> None:
        self.cancelled = 0
        self.left: list[str] = []
        self.may_look = True
        self.heard = False
        """Whether any cancel was answered."""
        self.done = False
        self._signed = signed
        self._log = log
        self._said = ""
        self._nonces = 0

    async def round(self) -> RestError | None:
        """Cancel all and look. Returns what was wrong, if anything."""
        try:
            count = (await self._signed.ask("CancelAll")).get("count")
            if not isinstance(count, int):
                return self._signed.unreadable("CancelAll")
            self.heard = True
            self.cancelled += count
            if self.may_look:
                self.left = await self._look()
            self.done = not count and not self.left
        except RestError as error:
            return error
        return None

    async def _look(self) -> list[str]:
        try:
            return list(_open(await self._signed.ask("OpenOrders"), self._signed))
        except RestError as error:
            if not error.words.startswith(DENIED):
                raise
            self.may_look = False
            return []

    def is_final(self, trouble: RestError) -> bool:
        """Whether trying again does not help, or harms."""
        if trouble.words.startswith(NONCE):
            self._nonces += 1
            return self._nonces >= NONCES_MAX
        # A locked key is locked anew by each try.
        return trouble.lasting or trouble.words.startswith(LOCKED)

    def explain(self, trouble: RestError | None, rest: float) -> None:
        """Say what is waited for, once for each reason."""
        if trouble is not None:
            sentence = f"{trouble}; trying again"
        elif self.left:
            shown = f"{counted(len(self.left), 'order is', 'orders are')} still shown as open"
            sentence = f"{shown}; REST may show orders for up to {LAG:.0f} s after their end"
        else:
            # A second cancel proves that the first one left nothing.
            return
        if sentence != self._said:
            self._said = sentence
            self._log(f"{sentence}, for {rest:.0f} s at most")


@dataclass(frozen=True)
class Balance:
    """What there is of an asset; texts with all digits."""

    total: str
    held: str
    """By open orders."""

    @property
    def free(self) -> str:
        """What new orders may use."""
        return f"{Decimal(self.total) - Decimal(self.held):f}"

    def to_dict(self) -> dict[str, str]:
        """The facts as JSON has them."""
        return {"total": self.total, "held": self.held, "free": self.free}


def asset_name(name: str) -> str:
    """Return the feed's name of an asset of REST: ``BTC`` for ``XXBT``, ``USD.F`` for ``ZUSD.F``."""
    asset, dot, kind = name.partition(".")
    asset = LEGACY.get(asset, asset)
    return FEED_NAMES.get(asset, asset) + dot + kind


async def balances(signed: Signed) -> dict[str, Balance]:
    """Return what there is of each asset, by the feed's names; needs the permission ``query-funds``.

    ``RestError`` if REST does not answer.
    """
    result = await signed.ask("BalanceEx")
    try:
        found = {
            asset_name(signed.shown(name)): Balance(_number(facts["balance"]), _number(facts.get("hold_trade", "0")))
            for name, facts in result.items()
        }
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        raise signed.unreadable("BalanceEx") from None
    return dict(sorted(found.items()))


async def count_open(signed: Signed) -> int:
    """Return the number of open orders; needs the permission ``query-open-trades``."""
    return len(_open(await signed.ask("OpenOrders"), signed))


async def system(signed: Signed, public: Public) -> tuple[str, str]:
    """Return the state of the exchange in Kraken's word, and what it means."""
    state = (await public.get("SystemStatus")).get("status")
    if not isinstance(state, str):
        raise signed.unreadable("SystemStatus")
    word = signed.shown(state)
    return word, SYSTEM.get(word, "a state that krakpot does not know")

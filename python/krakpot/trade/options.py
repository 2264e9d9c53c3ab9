"""The options of a run, and of the simulated exchange that answers its orders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from numbers import Real
from typing import Any, Literal, get_args

from krakpot import values
from krakpot.errors import ConfigError
from krakpot.values import Numbers, Time, shown

Model = Literal["orders", "bounds"]
"""``orders``: own orders stand in the queue of level 3. ``bounds``: level 2 shows none, so there are two results."""
AmendUp = Literal["lose", "keep"]
"""Whether an order that asks for more, at the same price, loses its place or keeps it. Kraken does not say."""
Gaps = Literal["time", "worst", "cancel"]
"""What becomes of own orders in a gap: after it their place follows from the times of the others; or they are behind
all; or they are cancelled."""
OnError = Literal["raise", "halt"]
Amount = Decimal | int | str
Fees = tuple[Amount, Amount]
"""Fee of an order that rested, and of one that took, as a fraction: ``Decimal("0.0025")`` or ``"0.25%"``."""
Duration = str | int | float | timedelta

LAKE: Literal["lake"] = "lake"
RECORDED: Literal["recorded"] = "recorded"
PLAYED = "the recording ended"
TIMED = "its time was over"
"""Reasons of a run that ended as it was asked to."""
WORDS = ("message", "touch")
WAKES = '"touch", "message", an interval as "100ms", or None'
RATE_DIGITS = 6
"""Decimals of a fee, and of a coupling."""
FEE_MAX = Decimal("0.05")
"""A fee above it was meant as percent."""
AMOUNT_MAX = Decimal(10) ** 15
AMOUNT_DIGITS = 10
SEED_MAX = (1 << 64) - 1


COUPLING_MAX = 100
DURATION_MAX = 1 << 62
"""Longest duration, ns: added to a time of this century it is still a time."""


def nanoseconds_of(value: Duration, place: str) -> int:
    """Nanoseconds of a duration: ``5s``, ``100ms``, seconds, a timedelta, or 0; ``ConfigError`` names the place."""
    try:
        return _of_text(value) if isinstance(value, str) else _nanoseconds(value)
    except ValueError:
        allowed = "allowed is a duration as 100ms, 5s, 10m, a timedelta, or 0"
        sentence = f"{place}: {shown(value)} is not allowed; {allowed}"
        raise ConfigError(sentence) from None


def _nanoseconds(value: Duration) -> int:
    """Nanoseconds of a duration; ``ValueError`` if it is none."""
    if isinstance(value, Real) and not isinstance(value, bool) and value == 0:
        return 0
    text = str(value).strip()
    if isinstance(value, timedelta):
        ns = value // timedelta(microseconds=1) * 1000
    elif found := re.fullmatch(r"(\d{1,19})(ns|us)", text, re.ASCII):
        ns = int(found[1]) * values.STEP_UNITS[found[2]]
    elif text == "0":
        ns = 0
    else:
        ns = round(values.duration(value) * 1e9)
    if not 0 <= ns <= DURATION_MAX:
        raise ValueError
    return ns


_of_text = lru_cache(maxsize=64)(_nanoseconds)
"""Those of texts: each order has a deadline, and a strategy writes few different ones."""


@dataclass(frozen=True)
class Latency:
    """How long requests and answers take in a simulation.

    Parameters
    ----------
    entry
        From a handler's request to the exchange: ``"5ms"``.
    response
        From the exchange to the strategy; None: as long as ``entry``.
    coupling
        How far orders wait when the feed does: both times grow by so much of what the newest message of the pair was
        received later than usual, from 0 (not at all) to 100. Usual is the shortest time that a message took so far.

    Raises
    ------
    ConfigError
        A time is no duration; the coupling is no number from 0 to 100.

    Examples
    --------
    >>> Latency("5ms").response_ns
    5000000
    >>> print(Latency("5ms", coupling="0.5"))
    5ms + 5ms, coupling 0.5

    """

    entry: Duration
    response: Duration | None = None
    coupling: Amount | float = 0
    entry_ns: int = field(init=False)
    response_ns: int = field(init=False)
    millionths: int = field(init=False)
    """The coupling."""

    def __post_init__(self) -> None:
        """Read the times."""
        entry = nanoseconds_of(self.entry, "krakpot.Latency: entry")
        response = entry if self.response is None else nanoseconds_of(self.response, "krakpot.Latency: response")
        object.__setattr__(self, "entry_ns", entry)
        object.__setattr__(self, "response_ns", response)
        object.__setattr__(self, "millionths", _coupling(self.coupling))

    def __str__(self) -> str:
        """Both times and the coupling, as the integrity line has them."""
        times = " + ".join(values.step_text(ns) if ns else "0" for ns in (self.entry_ns, self.response_ns))
        coupling = Decimal(self.millionths).scaleb(-RATE_DIGITS).normalize()
        return f"{times}, coupling {coupling:f}" if self.millionths else times


def _coupling(given: object) -> int:
    """A coupling in millionths."""
    sentence = f"krakpot.Latency: coupling: {shown(given)} is not allowed; allowed is a number from 0 to {COUPLING_MAX}"
    if isinstance(given, bool) or not isinstance(given, (Decimal, int, float, str)):
        raise ConfigError(sentence)
    try:
        found = Decimal(str(given))
    except (InvalidOperation, ValueError):
        raise ConfigError(sentence) from None
    if not found.is_finite() or not 0 <= found <= COUPLING_MAX:
        raise ConfigError(sentence)
    millionths = found.scaleb(RATE_DIGITS)
    if millionths != int(millionths):
        raise ConfigError(f"{sentence} with at most {RATE_DIGITS} decimals")
    return int(millionths)


class Paper:
    """A simulated account: what would have become of orders on recorded or live data. No order leaves this machine.

    Own orders are ghosts: they take part in the queue of their price and change nothing. docs/trading.md has the rules,
    and what they cannot know.

    Parameters
    ----------
    balances
        What the account has at the start, by asset: ``{"USD": 50_000}``. The first one is the asset of all values.
    fees
        Maker and taker fee of your account: ``("0.25%", "0.40%")``; or these by pair. The default ``"lake"`` means the
        fees that the data holds. Kraken's feed has none, so it is refused today: give them.
    latency
        ``"recorded"``: as long as the messages of the recording took. Or a ``krakpot.Latency``.
    model
        ``"orders"`` (level 3) or ``"bounds"`` (level 2: two results, all cancels before the order, and all behind it).
    amend_up
        Whether an order that is amended to more loses its place (``"lose"``) or keeps it (``"keep"``).
    gaps
        ``"time"``: after a gap the place of an order follows from the times of the others; ``"worst"``: it is behind
        all; ``"cancel"``: it is cancelled.
    seed
        For whatever is drawn by chance. Today nothing is; it is part of the result's digest.

    Raises
    ------
    ConfigError
        A value is not allowed; the sentence names it.

    Examples
    --------
    >>> Paper({"USD": 50_000}, fees=("0.25%", "0.40%"), latency=Latency("5ms"))
    Paper(USD 50000, fees 0.0025 / 0.004, latency 5ms + 5ms, model orders)

    """

    __slots__ = ("_fees", "amend_up", "balances", "gaps", "latency", "model", "seed")

    def __init__(
        self,
        balances: Mapping[str, Amount],
        *,
        fees: Literal["lake"] | Fees | Mapping[str, Fees] = LAKE,
        latency: Literal["recorded"] | Latency = RECORDED,
        model: Model = "orders",
        amend_up: AmendUp = "lose",
        gaps: Gaps = "time",
        seed: int = 0,
    ) -> None:
        """Check all values; nothing runs yet."""
        place = "krakpot.Paper"
        self.balances = _balances(balances, f"{place}: balances")
        self._fees = _fees(fees, f"{place}: fees")
        if not isinstance(latency, Latency) and not (isinstance(latency, str) and latency == RECORDED):
            sentence = f'{place}: latency: {shown(latency)} is not allowed; allowed is "recorded" or a krakpot.Latency'
            raise ConfigError(sentence)
        self.latency: Literal["recorded"] | Latency = latency
        self.model: str = values.read(values.word_of(get_args(Model)), model, f"{place}: model")
        self.amend_up: str = values.read(values.word_of(get_args(AmendUp)), amend_up, f"{place}: amend_up")
        self.gaps: str = values.read(values.word_of(get_args(Gaps)), gaps, f"{place}: gaps")
        self.seed = values.read(values.whole_number(0, SEED_MAX), seed, f"{place}: seed")

    @property
    def quote(self) -> str:
        """The asset in which values are given."""
        return next(iter(self.balances))

    def fees_of(self, symbol: str) -> tuple[int, int]:
        """Maker and taker fee of a pair, in millionths."""
        if self._fees is None:
            sentence = (
                "krakpot.Paper: fees: neither the lake nor the feed tells the fees of your account; "
                'give them: fees=("0.25%", "0.40%"), maker and taker'
            )
            raise ConfigError(sentence)
        found = self._fees.get(symbol) or self._fees.get("")
        if found is None:
            sentence = f"krakpot.Paper: fees: there are none for {symbol}; give them, or one pair of fees for all"
            raise ConfigError(sentence)
        return found

    def __repr__(self) -> str:
        """Balances, fees, latency and model."""
        balances = ", ".join(f"{asset} {amount:f}" for asset, amount in self.balances.items())
        if self._fees is None:
            fees: str = LAKE
        elif set(self._fees) == {""}:
            fees = " / ".join(f"{Decimal(rate) / 10**RATE_DIGITS:f}" for rate in self._fees[""])
        else:
            fees = f"of {len(self._fees)} pairs"
        return f"Paper({balances}, fees {fees}, latency {self.latency}, model {self.model})"


def amount(value: object, place: str) -> Decimal:
    """An amount from 0; ``ConfigError`` names the place."""
    sentence = f"{place}: {shown(value)} is not allowed; allowed is an amount from 0, with at most 10 decimals"
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise ConfigError(f"{sentence}, as a Decimal, an int or text")
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError):
        raise ConfigError(sentence) from None
    if not found.is_finite() or not 0 <= found <= AMOUNT_MAX or round(found, AMOUNT_DIGITS) != found:
        raise ConfigError(sentence)
    return found


def _balances(given: object, place: str) -> dict[str, Decimal]:
    if not isinstance(given, Mapping) or not given or not all(isinstance(asset, str) and asset for asset in given):
        sentence = f'{place}: {shown(given)} is not allowed; allowed are amounts by asset, as {{"USD": 50_000}}'
        raise ConfigError(sentence)
    return {asset: amount(value, f"{place}: {asset}") for asset, value in given.items()}


def share(given: object, place: str, most: Decimal = Decimal(1)) -> int:
    """A fraction in millionths; ``ConfigError`` names the place."""
    sentence = f'{place}: {shown(given)} is not allowed; allowed is a fraction up to {most}, as "0.25%" or "0.0025"'
    if isinstance(given, (bool, float)):
        raise ConfigError(f"{sentence}; a float cannot hold it")
    text = str(given).strip()
    try:
        found = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        raise ConfigError(sentence) from None
    millionths = found * 10**RATE_DIGITS
    if not found.is_finite() or not 0 <= found <= most or millionths != int(millionths):
        raise ConfigError(sentence)
    return int(millionths)


def _fees(given: object, place: str) -> dict[str, tuple[int, int]] | None:
    """Fees in millionths by pair; those of all pairs have the empty name. None: the lake's."""
    if isinstance(given, str) and given == LAKE:
        return None
    if isinstance(given, Mapping) and given:
        return {str(symbol): _both(both, f"{place}: {symbol}") for symbol, both in given.items()}
    return {"": _both(given, place)}


def _both(given: object, place: str) -> tuple[int, int]:
    if not isinstance(given, (tuple, list)) or len(given) != 2:  # noqa: PLR2004  # maker and taker
        sentence = f'{place}: {shown(given)} is not allowed; allowed are two fees, as ("0.25%", "0.40%"), or "lake"'
        raise ConfigError(sentence)
    return share(given[0], place, FEE_MAX), share(given[1], place, FEE_MAX)


@dataclass(frozen=True)
class RunOptions:
    """What ``krakpot.run`` was asked for, read and checked."""

    wake: str
    every: int
    numbers: Numbers
    until: Time | None
    warmup: int
    on_error: OnError

    @classmethod
    def read(
        cls,
        *,
        wake: object = "touch",
        numbers: object = "decimal",
        until: Any = None,  # noqa: ANN401  # a time or a duration, which is read when the run has begun
        warmup: Any = 0,  # noqa: ANN401  # a duration
        on_error: object = "raise",
        place: str = "krakpot.run",
    ) -> RunOptions:
        """Check them; ``ConfigError`` begins with the place."""
        word, every = _wake(wake, f"{place}: wake")
        checked: Any = values.read(values.word_of(get_args(Numbers)), numbers, f"{place}: numbers")
        end: Any = values.read(values.word_of(get_args(OnError)), on_error, f"{place}: on_error")
        return cls(word, every, checked, until, nanoseconds_of(warmup, f"{place}: warmup"), end)

    def end(self, begin: int, place: str = "krakpot.run") -> int | None:
        """The time at which a run ends that begins at ``begin``: ``until`` is a time, or a duration."""
        if self.until is None:
            return None
        try:
            end = begin + nanoseconds_of(self.until, "")  # type: ignore[arg-type]  # it refuses what is none
        except ConfigError:
            try:
                end = values.nanoseconds(self.until)
            except ValueError as error:
                raise ConfigError(f"{place}: until: {error}; or a duration, as 1h") from None
        if end <= begin:
            sentence = (
                f"{place}: until: {shown(self.until)} is not later than the first message, "
                f"{values.utc(begin)}; give a later time, or a duration, as 1h"
            )
            raise ConfigError(sentence)
        return end


def _wake(given: object, place: str) -> tuple[str, int]:
    if given is None:
        return "never", 0
    if given in WORDS:
        return str(given), 0
    try:
        every = nanoseconds_of(given, place)  # type: ignore[arg-type]  # it refuses what is none
    except ConfigError:
        every = 0
    if every <= 0:
        sentence = f"{place}: {shown(given)} is not allowed; allowed is {WAKES}"
        raise ConfigError(sentence)
    return "every", every

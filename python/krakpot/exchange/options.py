"""What exchange to serve, and how; and the readers of its options."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.exchange.rest import Key
from krakpot.values import DURATION_MAX, EXCHANGE_RATES, PORTS

PLACE = "krakpot.ExchangeOptions"
"""Begins every sentence about a wrong option."""
PAUSE_MAX = 3600 * 10**9
"""ns."""
UNITS = {"us": 10**3, "ms": 10**6, "s": 10**9}
"""ns."""
SPEED_MAX = 1e6
"""Beyond this no client could follow."""
HISTORY_MAX = 10**9
SEED_MAX = (1 << 64) - 1
START_MAX = 7_258_118_400 * 10**9
"""The year 2200, ns: times that follow still fit into 64 bits."""


def _whole(value: object, least: int, most: int) -> bool:
    """Whether it is a whole number in [least, most]."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def _number(value: object, most: float) -> bool:
    """Whether it is a number above 0, up to ``most``; NaN is none."""
    found: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    return bool(0 < found <= most)


def _require(right: bool, option: str, value: object, allowed: str) -> None:  # noqa: FBT001  # the condition
    if not right:
        sentence = f"{option}: {values.shown(value)} is not allowed; allowed is {allowed}"
        raise ConfigError(sentence)


@dataclass(frozen=True)
class Pace:
    """How messages of a channel leave, ns of the exchange's time."""

    delay: int = 0
    """From the making of a message to its sending."""
    jitter: int = 0
    """A random addition of up to this much; messages of one connection stay in their order."""
    conflate: int = 0
    """Changes of one symbol are collected for this long into one message."""

    def __post_init__(self) -> None:
        """Check the times; ``ConfigError`` says what is allowed."""
        for name, value in vars(self).items():
            allowed = f"a whole number of ns from 0 to {PAUSE_MAX}"
            _require(_whole(value, 0, PAUSE_MAX), f"krakpot.exchange.options.Pace: {name}", value, allowed)

    @property
    def as_tuple(self) -> tuple[int, int, int]:
        """As ``_core.Exchange`` takes it."""
        return self.delay, self.jitter, self.conflate


@dataclass(frozen=True)
class Options:
    """What exchange to serve, and how.

    Raises
    ------
    ConfigError
        If a value is not allowed.

    Examples
    --------
    >>> Options(pairs=20, rate=500.0, faults=("drop=0.01,channel=book",)).port
    0

    """

    host: str = "127.0.0.1"
    port: int = 0
    """0: a free one."""
    pairs: int = 200
    rate: float = 1000.0
    """Messages per second of a full subscription."""
    seed: int = 1
    speed: float | None = 1.0
    """Exchange seconds per second; None: as fast as the clients read, and not at all without a client."""
    duration: float | None = None
    """Exchange seconds after which it closes."""
    start: int | None = None
    """Exchange time at the start, ns; None: now."""
    log: Path | None = None
    """CSV file with a line for each frame: wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault."""
    book: Pace = Pace()
    level3: Pace = Pace()
    rest_port: int = 0
    """Port of REST; 0: a free one."""
    rest_rate: float = 1.0
    """Requests to REST for public data per second, of one address about one pair."""
    history: int = 1_000_000
    """Trades, of all pairs together, that REST gives back; the oldest are forgotten first."""
    key: Key | None = None
    """Key for tokens; None: a new one."""
    account: tuple[str, ...] = ()
    """What the account has and how it behaves: ``balance.USD=5000``, ``tier=pro``; see ``_core.Exchange``."""
    faults: tuple[str, ...] = ()
    """Faults from the beginning: see ``_core.Exchange.inject``."""
    origins: tuple[str, ...] = ()
    """Pages in a browser that may connect to its sockets, by their origin: ``http://127.0.0.1:8765``."""

    def __post_init__(self) -> None:
        """Check the values: the core would refuse some of them in its own words, and some not at all."""

        def check(name: str, right: bool, allowed: str) -> None:  # noqa: FBT001  # the condition
            _require(right, f"{PLACE}: {name}", getattr(self, name), allowed)

        host = isinstance(self.host, str) and bool(self.host.strip())
        check("host", host, "an address of this machine, as 127.0.0.1")
        for name in ("port", "rest_port"):
            allowed = f"a whole number from 0 (any free port) to {PORTS - 1}"
            check(name, _whole(getattr(self, name), 0, PORTS - 1), allowed)
        check("pairs", _whole(self.pairs, 1, _core.PAIRS_MAX), f"a whole number from 1 to {_core.PAIRS_MAX}")
        least, most = EXCHANGE_RATES
        check("rate", _number(self.rate, most) and self.rate >= least, f"a number from {least} to {most:,.0f}")
        check("rest_rate", _number(self.rest_rate, most), f"a number above 0, up to {most:,.0f}")
        check("history", _whole(self.history, 0, HISTORY_MAX), f"a whole number from 0 to {HISTORY_MAX}")
        check("seed", _whole(self.seed, 0, SEED_MAX), f"a whole number from 0 to {SEED_MAX}")
        speed = self.speed is None or (_number(self.speed, SPEED_MAX) and self.speed < SPEED_MAX)
        check("speed", speed, "a number above 0 and below 1000000 (2 is twice as fast), or None: as fast as possible")
        duration = self.duration is None or _number(self.duration, DURATION_MAX)
        check("duration", duration, f"a number of seconds above zero, up to {DURATION_MAX}, or None: no end")
        start = self.start is None or _whole(self.start, 0, START_MAX)
        check("start", start, "a time from 1970 to 2200 as a whole number of ns, or None: now")
        if self.log is not None:
            object.__setattr__(self, "log", values.read(values.file, self.log, f"{PLACE}: log"))
        for name in ("book", "level3"):
            check(name, isinstance(getattr(self, name), Pace), "a krakpot.exchange.options.Pace")
        check("key", self.key is None or isinstance(self.key, Key), "a krakpot.exchange.rest.Key, or None: a new one")
        for name, form, allowed in (
            ("account", ".*", "a list of settings, as balance.USD=5000"),
            ("faults", ".*", "a list of faults, as drop=0.01,channel=book"),
            ("origins", r"https?://[^/\s]+", "a list of origins of pages, as http://127.0.0.1:8765, without a path"),
        ):
            # One text is one of them, not a list of its letters.
            value = getattr(self, name)
            given: object = (value,) if isinstance(value, str) else value
            right = isinstance(given, (list, tuple)) and all(
                isinstance(text, str) and re.fullmatch(form, text, re.DOTALL) for text in given
            )
            check(name, right, allowed)
            object.__setattr__(self, name, tuple(given) if isinstance(given, (list, tuple)) else ())


SPEEDS = "a number above 0 and below 1000000 (2 is twice as fast), or max"


def pause(text: str) -> int:
    """Read ``--book-delay`` and the like: ``5ms``, ``250us``, ``1.5s`` or 0, to ns."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s)", "0s" if text == "0" else text, re.ASCII)
    value = PAUSE_MAX + 1 if found is None else round(float(found[1]) * UNITS[found[2]])
    if value > PAUSE_MAX:
        sentence = "a time as 5ms, 250us or 1.5s, up to an hour, or 0"
        raise ValueError(sentence)
    return value


FLAGS = ("--api-key", "--api-secret")
"""The command line's options of a key."""


def key(name: str | None, secret: str | None) -> Key | None:
    """Read ``--api-key`` and ``--api-secret``, or their variables: both or neither."""
    if name is None and secret is None:
        return None
    for value, option in zip((name, secret), FLAGS, strict=True):
        if value == "":
            raise ConfigError(f"{option} is empty; give key and secret, or neither: then the exchange makes a new key")
    if not name or not secret:
        given, missing = FLAGS if name else FLAGS[::-1]
        variable = f"KRAKPOT_{missing.removeprefix('--').replace('-', '_').upper()}"
        sentence = (
            f"{given} is given without {missing}; give both, by option or variable ({variable}), or neither: "
            "then the exchange makes a new key"
        )
        raise ConfigError(sentence)
    return Key.read(name, secret, places=FLAGS)


def speed(text: str) -> float | None:
    """Read ``--speed``: a number above zero, or ``max`` (None)."""
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < SPEED_MAX:
        raise ValueError(SPEEDS)
    return value

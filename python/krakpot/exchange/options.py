"""What exchange to serve, and how; and the readers of its options."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange.rest import Key
from krakpot.values import PORTS

PAUSE_MAX = 3600 * 10**9
"""ns."""
UNITS = {"us": 10**3, "ms": 10**6, "s": 10**9}
"""ns."""
SPEED_MAX = 1e6
"""Beyond this no client could follow."""
RATE_MAX = 1e9
SEED_MAX = (1 << 64) - 1
START_MAX = 7_258_118_400 * 10**9
"""The year 2200, ns: times that follow still fit into 64 bits."""


@dataclass(frozen=True)
class Pace:
    """How messages of a channel leave, ns of the exchange's time."""

    delay: int = 0
    """From the making of a message to its sending."""
    jitter: int = 0
    """A random addition of up to this much; messages of one connection stay in their order."""
    conflate: int = 0
    """Changes of one symbol are collected for this long into one message."""

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
    key: Key | None = None
    """Key for tokens; None: a new one."""
    faults: tuple[str, ...] = ()
    """Faults from the beginning: see ``_core.Exchange.inject``."""

    def __post_init__(self) -> None:
        """Check the values: the core would refuse some of them in its own words, and some not at all."""
        _require(bool(self.host.strip()), "--host", repr(self.host), "an address of this machine, as 127.0.0.1")
        for name, port in (("--port", self.port), ("--rest-port", self.rest_port)):
            allowed = f"a whole number from 0 (any free port) to {PORTS - 1}"
            _require(0 <= port < PORTS, name, port, allowed)
        most = _core.PAIRS_MAX
        _require(1 <= self.pairs <= most, "--pairs", self.pairs, f"a whole number from 1 to {most}")
        _require(0 < self.rate <= RATE_MAX, "--rate", self.rate, f"a number above 0, up to {RATE_MAX:.0f}")
        _require(0 <= self.seed <= SEED_MAX, "--seed", self.seed, f"a whole number from 0 to {SEED_MAX}")
        if self.speed is not None:
            _require(0 < self.speed < SPEED_MAX, "--speed", self.speed, SPEEDS)
        if self.duration is not None:
            _require(0 < self.duration < math.inf, "--for", self.duration, "a duration above zero")
        if self.start is not None:
            _require(0 <= self.start <= START_MAX, "--start", self.start, STARTS)


def _require(right: bool, option: str, value: object, allowed: str) -> None:  # noqa: FBT001  # the condition
    if not right:
        sentence = f"{option}: {value} is not allowed; allowed is {allowed}"
        raise ConfigError(sentence)


SPEEDS = "a number above 0 and below 1000000 (2 is twice as fast), or max"
STARTS = "a time from 1970 to 2200, as 2026-11-22 or 2026-11-22T10:00:00Z"


def pause(text: str) -> int:
    """Read ``--book-delay`` and the like: ``5ms``, ``250us``, ``1.5s`` or 0, to ns."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s)", "0s" if text == "0" else text, re.ASCII)
    value = PAUSE_MAX + 1 if found is None else round(float(found[1]) * UNITS[found[2]])
    if value > PAUSE_MAX:
        sentence = "a time as 5ms, 250us or 1.5s, up to an hour, or 0"
        raise ValueError(sentence)
    return value


def key(name: str | None, secret: str | None) -> Key | None:
    """Read ``--api-key`` and ``--api-secret``, or their variables: both or neither."""
    if name is None and secret is None:
        return None
    if not name or not secret:
        given, missing = ("--api-key", "--api-secret") if name else ("--api-secret", "--api-key")
        variable = f"KRAKPOT_{missing.removeprefix('--').replace('-', '_').upper()}"
        sentence = (
            f"{given} is given without {missing}; give both, by option or variable ({variable}), or neither: "
            "then the exchange makes a new key"
        )
        raise ConfigError(sentence)
    return Key.read(name, secret)


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

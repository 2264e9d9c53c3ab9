"""Values as people write them: durations, sizes, times, addresses, patterns, keys.

Each reader takes text (from the command line, a variable, a file) or the value itself, and returns the value. What it
cannot take raises ``ValueError``, whose text says what is allowed: "a duration as 30s, 10m, 1h, 2d or 1h30m".
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from krakpot import _core
from krakpot.errors import ConfigError, counted

T = TypeVar("T")
V = TypeVar("V")
Numbers = Literal["decimal", "float", "int"]
"""How prices and quantities are given: exact decimals, the nearest floats, or whole steps of the pair's precision."""
OrderSide = Literal["buy", "sell"]
"""Side of an order."""
BarKind = Literal["time", "tick", "volume", "dollar", "imbalance"]
"""What ends a bar: a time, a number of trades, an amount of the base or the quote currency, or of net volume bought."""


ExportFormat = Literal["hftbacktest", "nautilus", "tardis", "csv", "arrow", "parquet-us"]
"""What ``krakpot.export`` writes."""


class Datetime64(Protocol):
    """``numpy.datetime64``, without importing NumPy."""

    def astype(self, dtype: str, /) -> object:
        """Convert to another unit."""


Time = str | datetime | date | int | Datetime64
"""ISO 8601 text, datetime, date, nanoseconds since the epoch, or numpy.datetime64; see ``nanoseconds``."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = 631_152_000 * 10**9
"""1990, ns: a smaller number of nanoseconds was meant as seconds, milliseconds or microseconds."""
MEANT = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3}
LATEST = 4_102_444_800 * 10**9
"""2100, ns."""

EXCHANGE_RATES = (0.001, 1e9)
"""Least and most messages per second of the built-in exchange."""
LEVEL3 = "level3"
CHANNELS = tuple(_core.CHANNELS)
LEVEL3_RATE_RANGE = (max(_core.LEVEL3_COSTS.values()), 100_000)
"""The least is the cost of one subscription at the largest depth: below it, that would never be requested."""
SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SIZE_MAX = 10**18
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION_MAX = 36_500 * UNITS["d"]
"""Seconds. A century from now still fits into 64 bits of nanoseconds."""
STEP_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
ROUND_STEPS = ("1d", "1h", "10m", "1m", "10s", "1s", "100ms", "10ms", "1ms")
"""Steps that are proposed instead of one that is too long, the longest first."""
STEP_MAX = 366 * STEP_UNITS["d"]
"""Longest step of time in a frame, ns."""
CONNECTION_SYMBOLS_MIN = 50
"""Fewest symbols per connection: all pairs of Kraken then take 29 connections, and each costs connection attempts."""
PRECISION_MAX = 10
TOKEN_MIN = 16
"""Characters of a token that cannot be guessed."""
PORTS = 1 << 16
THREADS_MAX = 256
SHOWN_MAX = 80
"""Characters of a refused value that an error repeats."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that are this machine."""


class Instant(int):
    """Nanoseconds since 1970 that were read from a time, and so are no number of anything else; shown as UTC."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the time: ``2026-11-22T10:00:00.000000000Z``."""
        return utc(self)

    __str__ = int.__repr__


def utc(ns: int) -> str:
    """A time of nanoseconds since 1970 as text, with nine decimals."""
    seconds, rest = divmod(ns, 10**9)
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def nanoseconds(time: Time) -> Instant:
    """Nanoseconds since 1970-01-01T00:00:00Z, exactly; no digit passes through a float.

    Parameters
    ----------
    time
        ISO 8601 text with up to nine decimals of a second, a ``datetime``, a ``date`` (its midnight), nanoseconds as an
        ``int``, a ``numpy.datetime64`` or a ``pandas.Timestamp``. A time without a zone is UTC.

    Returns
    -------
    int
        Nanoseconds; negative before 1970.

    Raises
    ------
    ValueError
        For anything else, for times that 64 bits of nanoseconds cannot hold (before 1678, after 2261), and for an
        ``int`` before 1990, which was hardly meant as nanoseconds.

    Examples
    --------
    >>> nanoseconds("2026-11-22T10:00:21.367893600Z")
    1795341621367893600

    """
    ns = _nanoseconds(time)
    if not -(1 << 63) <= ns < 1 << 63:
        sentence = f"{shown(time)} is out of range; times from 1678 to 2261 fit into 64 bits of nanoseconds"
        raise ValueError(sentence)
    if ns < EARLIEST and isinstance(time, Integral) and not isinstance(time, Instant):
        raise ValueError(too_early(ns))
    return Instant(ns)


def too_early(ns: int) -> str:
    """Say of a number before ``EARLIEST`` that it is not taken as nanoseconds, and what to write instead."""
    unit = next((unit for unit, size in MEANT.items() if EARLIEST <= ns * size < LATEST), None)
    cure = (
        f"if {unit} were meant, multiply by {MEANT[unit]:_}"
        if unit is not None
        else "write the time as text, '2026-11-22T10:00:00Z', or as a datetime"
    )
    return f"{ns} is taken as nanoseconds since 1970, which is {utc(ns)}; {cure}"


def time_of(value: Time, name: str) -> Instant:
    """Nanoseconds of a time that is the argument ``name``; ``ConfigError`` says what is wrong with it."""
    try:
        return nanoseconds(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def time_range(start: Time | None, end: Time | None) -> tuple[Instant | None, Instant | None]:
    """Nanoseconds of the arguments ``start`` and ``end``, None where there is no bound; see ``time_of``."""
    begin, until = (None if time is None else time_of(time, name) for time, name in ((start, "start"), (end, "end")))
    if begin is not None and until is not None and begin > until:
        first, last = (
            repr(ns) if isinstance(time, Integral) else shown(time) for time, ns in ((start, begin), (end, until))
        )
        raise ConfigError(f"start: {first} is later than the end, {last}; exchange the two")
    return begin, until


def _nanoseconds(time: object) -> int:
    if isinstance(time, Integral) and not isinstance(time, bool):
        return int(time)
    if isinstance(time, str):
        return _read_time(time)
    # pandas.Timestamp is a datetime with nanoseconds; pandas.NaT is one too, and equals nothing.
    if isinstance(time, datetime) and time == time:  # noqa: PLR0124  # NaT is the only one that does not equal itself
        utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
        seconds, rest = divmod(utc - EPOCH, timedelta(seconds=1))
        return seconds * 1_000_000_000 + rest.microseconds * 1000 + int(getattr(time, "nanosecond", 0))
    if isinstance(time, date) and not isinstance(time, datetime):
        return (time - EPOCH.date()).days * 86_400 * 1_000_000_000
    if type(time).__module__ == "numpy" and type(time).__name__ == "datetime64":
        # NumPy wraps around where nanoseconds do not fit, so its own unit decides the range.
        exact = time.astype("datetime64[us]").item()  # type: ignore[attr-defined]  # of NumPy, which need not be installed
        if isinstance(exact, datetime):
            whole = _nanoseconds(exact)
            return whole + int((time - time.astype("datetime64[us]")).astype("timedelta64[ns]").astype(int))  # type: ignore[attr-defined]  # as above
    example = "'2026-11-22T10:00:00Z', a datetime, or nanoseconds as an int"
    wrong = "a float, which cannot hold nanoseconds" if isinstance(time, float) else "not a time"
    sentence = f"{shown(time)} is {wrong}; give for example {example}"
    raise ValueError(sentence)


def _read_time(text: str) -> int:
    """Nanoseconds of ISO 8601 text. Python alone would cut the seconds to microseconds without a word."""
    found = re.fullmatch(r"(.+[Tt _]\d\d:?\d\d:?\d\d)[.,](\d{1,9})([^.,]*)", text.strip(), re.ASCII)
    whole, fraction = (found[1] + found[3], found[2]) if found else (text.strip(), "")
    try:
        if not found and re.search(r"[.,]", whole):
            raise ValueError
        time = datetime.fromisoformat(re.sub("z$", "Z", whole))
    except ValueError:
        sentence = f"{shown(text)} is not a time; write for example 2026-11-22 or 2026-11-22T10:00:00.123456789Z"
        raise ValueError(sentence) from None
    return _nanoseconds(time) + int(fraction.ljust(9, "0"))


def words(value: object) -> tuple[str, ...]:
    """Words of ``a,b`` or of a list; none is allowed."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        sentence = "a list of words, or words separated by commas"
        raise ValueError(sentence)
    return tuple(item.strip() for item in items if item.strip())


def patterns(value: object) -> tuple[str, ...]:
    """Patterns of symbols: ``BTC/USD,ETH/*``; at least one."""
    found = words(value)
    if not found:
        sentence = "one or more patterns, as BTC/USD, ETH/* or *"
        raise ValueError(sentence)
    return found


def symbol(value: object) -> str:
    """One pair: ``BTC/USD``."""
    if not isinstance(value, str) or is_pattern(value) or "," in value:
        sentence = "one pair, as BTC/USD"
        raise ValueError(sentence)
    return value


def symbols(value: object) -> tuple[str, ...]:
    """Pairs or patterns of pairs: one, several separated by commas, or any iterable of them."""
    items: tuple[Any, ...] = (
        _split(value) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    )
    if not all(isinstance(item, str) for item in items):
        sentence = "a pair as BTC/USD, a pattern as BTC/*, or several of them"
        raise ValueError(sentence)
    return items


def _split(text: str) -> tuple[str, ...]:
    """The words of ``a,b``; a text without any is left as it is, so that an error can show it."""
    return tuple(item.strip() for item in text.split(",") if item.strip()) or (text,)


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern of symbols, not the name of one."""
    return "*" in text or "?" in text


def words_of(allowed: tuple[str, ...]) -> Callable[[object], tuple[str, ...]]:
    """Make a reader of one or more of these words, each once."""

    def read(value: object) -> tuple[str, ...]:
        try:
            found = words(value)
        except ValueError:
            found = ()
        if not found or not set(found) <= set(allowed):
            sentence = f"one or more of {', '.join(allowed)}"
            raise ValueError(sentence)
        return tuple(dict.fromkeys(found))

    return read


channels = words_of(CHANNELS)
"""Names of channels, each once."""


def channel_symbols(value: object) -> dict[str, tuple[str, ...]]:
    """Patterns by channel: ``level3=BTC/USD,ETH/*`` (several separated by blanks, or a list of them, or a table)."""
    found: dict[str, tuple[str, ...]] = {}
    for channel, listed in _pairs(value):
        try:
            ((name,), some) = channels(channel), patterns(listed)
        except ValueError:
            sentence = f"CHANNEL=PATTERNS, as level3=BTC/USD,ETH/*, with a channel of {', '.join(CHANNELS)}"
            raise ValueError(sentence) from None
        found[name] = tuple(dict.fromkeys(found.get(name, ()) + some))
    return found


def _pairs(value: object) -> list[tuple[str, object]]:
    """Names and what belongs to them: of a table, of ``a=1 b=2``, or of a list of such texts."""
    if isinstance(value, Mapping):
        return [(str(name), one) for name, one in value.items()]
    texts = value.split() if isinstance(value, str) else value
    listed = list(texts) if isinstance(texts, (list, tuple)) else [""]
    return [(name, rest) for name, _, rest in (str(text).partition("=") for text in listed)]


def number_of(allowed: tuple[int, ...]) -> Callable[[object], int]:
    """Make a reader of one of these numbers."""

    def read(value: object) -> int:
        text = str(value)
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) not in allowed:
            sentence = f"one of {', '.join(map(str, allowed))}"
            raise ValueError(sentence)
        return int(text)

    return read


def word_of(allowed: tuple[str, ...]) -> Callable[[object], str]:
    """Make a reader of one of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            sentence = f"one of {', '.join(allowed)}"
            raise ValueError(sentence)
        return value

    return read


def instance_of(kind: type[T], words: str) -> Callable[[object], T]:
    """Make a reader of an object of this type; ``words`` say what is allowed."""

    def read(value: object) -> T:
        if not isinstance(value, kind):
            raise ValueError(words)  # noqa: TRY004  # as all readers
        return value

    return read


def function(value: object) -> Callable[..., object]:
    """A function, or whatever else can be called."""
    if not callable(value):
        sentence = "a function"
        raise ValueError(sentence)  # noqa: TRY004  # as all readers
    return value


def whole_number(least: int, most: int, hint: str = "") -> Callable[[object], int]:
    """Make a reader of a whole number in [least, most]."""

    def read(value: object) -> int:
        text = str(value)
        if not re.fullmatch(r"\d{1,15}", text, re.ASCII) or not least <= int(text) <= most:
            sentence = f"a whole number from {least} to {most}{hint}"
            raise ValueError(sentence)
        return int(text)

    return read


def threads_of(value: object) -> int:
    """Number of threads to use; None: one per core."""
    return read(whole_number(1, THREADS_MAX), (os.cpu_count() or 1) if value is None else value, "threads")


def number(least: float, most: float) -> Callable[[object], float]:
    """Make a reader of a number in [least, most]."""

    def read(value: object) -> float:
        text = str(value).strip()
        found = float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,15})?", text, re.ASCII) else math.nan
        if not least <= found <= most:
            sentence = f"a number from {least:,} to {most:,.0f}"
            raise ValueError(sentence)
        return found

    return read


def symbols_per_connection(value: object) -> int:
    """Most symbols of one connection."""
    return whole_number(CONNECTION_SYMBOLS_MIN, 1_000_000)(value)


def duration(value: object) -> float:
    """Seconds of ``100ms``, ``30s``, ``10m``, ``1h``, ``2d``, ``1h30m``; of a value that is a number: these seconds.

    Text without a unit is refused, because it may be meant as minutes.
    """
    text = str(value).strip()
    unit = True
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text, re.ASCII)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(min(value, DURATION_MAX + 1))
    elif parts and "".join(n + unit for n, unit in parts) == text:
        seconds = sum(float(n) * UNITS[unit] if unit in UNITS else float(n) / 1000 for n, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds, unit = float(text), False
    else:
        sentence = "a duration as 30s, 10m, 1h, 2d or 1h30m"
        raise ValueError(sentence)
    if not 0 < seconds <= DURATION_MAX:
        sentence = f"a duration above zero, up to {DURATION_MAX // UNITS['d']}d"
        raise ValueError(sentence)
    if not unit:
        sentence = f"a duration with its unit, as {text}s or {text}m"
        raise ValueError(sentence)
    return seconds


def step(value: object, name: str = "every", least: int = 1, more: str = "") -> int:
    """Nanoseconds of ``100ms``, ``1s``, ``1m``, or of a timedelta; else ``ConfigError``.

    A number without a unit is refused, except for 0 where ``least`` allows it. ``more``: what else is allowed, for the
    error.
    """
    number = str(value).strip() if isinstance(value, (str, Real)) and not isinstance(value, bool) else ""
    if isinstance(value, timedelta):
        ns = value // timedelta(microseconds=1) * 1000
    elif number == "0":
        ns = 0
    elif re.fullmatch(r"\d+(\.\d+)?", number, re.ASCII):
        raise ConfigError(f"{name}={shown(value)} has no unit; {_with_unit(number)}{more}")
    else:
        found = re.fullmatch(r"(\d{1,18})(ns|us|ms|s|m|h|d)", str(value).strip(), re.ASCII)
        ns = int(found[1]) * STEP_UNITS[found[2]] if found else -1
    if not least <= ns <= STEP_MAX:
        sentence = f"{name}={shown(value)} is not allowed; write for example '100ms', '1s' or '5m', up to 366d{more}"
        raise ConfigError(sentence)
    return ns


def _with_unit(number: str) -> str:
    """How to write a number with its unit."""
    whole, _, decimals = number.rstrip("0").partition(".") if "." in number else (number, "", "")
    if not decimals:
        return f"write '{whole}s' for seconds, '{whole}ms' for milliseconds, or a timedelta"
    return "write whole numbers with a unit, as '100ms', or a timedelta"


def step_text(ns: int) -> str:
    """A step in the largest unit that has it whole, as ``step`` reads it: ``1h``, ``90s``."""
    unit = max((unit for unit, size in STEP_UNITS.items() if ns % size == 0), key=STEP_UNITS.__getitem__)
    return f"{ns // STEP_UNITS[unit]}{unit}"


def smaller_step(length: int) -> str:
    """A round step that lies some ten times or more in a length of time, ns."""
    return next((text for text in ROUND_STEPS if step(text) * 10 <= length), ROUND_STEPS[-1])


def seconds_from(least: float) -> Callable[[object], float]:
    """Make a reader of a number of seconds: above zero, or from 0 with ``least=0``."""
    bound = "above zero" if least else "from 0"

    def read(value: object) -> float:
        # Text is no number of seconds, and neither is True; NaN is smaller and greater than nothing.
        found: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        if not least <= found <= DURATION_MAX:
            sentence = f"a number of seconds {bound}, up to {DURATION_MAX}"
            raise ValueError(sentence)
        return float(found)

    return read


seconds = seconds_from(math.ulp(0.0))
timeout = seconds_from(0)


SPEED_MAX = 1e9


def speed(value: object) -> float:
    """Recorded seconds a second."""
    found: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < found <= SPEED_MAX:
        sentence = f"a number above zero, up to {SPEED_MAX:.0f}: recorded seconds a second; None: as fast as possible"
        raise ValueError(sentence)
    return float(found)


def keep(value: object) -> float:
    """Seconds of a duration of at least a day."""
    try:
        seconds = duration(value)
    except ValueError:
        seconds = 0.0
    if seconds < UNITS["d"]:
        sentence = "a duration of at least a day, as 30d"
        raise ValueError(sentence)
    return seconds


def byte_size(value: object) -> int:
    """Bytes of ``5GB``, ``500MB``, ``1.5TB`` or a plain number of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", str(value).strip(), re.ASCII)
    count = None if found is None else float(found[1]) * SIZES[found[2]]
    if count is None or count > SIZE_MAX:
        sentence = "a size as 500MB, 5GB or 1.5TB; 0 for no limit"
        raise ValueError(sentence)
    return round(count)


def flag(value: object) -> bool:
    """Yes or no."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in known:
        sentence = "true or false"
        raise ValueError(sentence)
    return known[str(value).lower()]


def folder(value: object) -> Path:
    """Path of a folder, which need not exist yet."""
    return _path(value, "folder")


def file(value: object) -> Path:
    """Path of a file, which need not exist yet."""
    return _path(value, "file")


def _path(value: object, what: str) -> Path:
    text = str(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else ""
    sentence = f"the name of a {what}"
    if not text.strip() or "\0" in text:
        raise ValueError(sentence)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # There is no such user.
        raise ValueError(sentence) from None


def precision(value: object) -> dict[str, tuple[int, int]]:
    """Precisions by symbol: ``BTC/USD=1,8`` (several separated by blanks, or a list of them, or a table of pairs)."""
    result = {}
    for symbol, pair in _pairs(value):
        text = ",".join(map(str, pair)) if isinstance(pair, (list, tuple)) else str(pair)
        found = re.fullmatch(r"(\d{1,2}),(\d{1,2})", text, re.ASCII)
        if "/" not in symbol or found is None or max(map(int, found.groups())) > PRECISION_MAX:
            sentence = f"SYMBOL=PRICE,QTY with decimals from 0 to {PRECISION_MAX}, as BTC/USD=1,8"
            raise ValueError(sentence)
        result[symbol] = (int(found[1]), int(found[2]))
    return result


def is_loopback(address: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(address).hostname in LOOPBACK


def _address(secure: str, plain: str, *, elsewhere: str = "") -> Callable[[object], str]:
    """Make a reader of an address with the scheme ``secure``; ``plain`` is allowed on this machine.

    ``elsewhere`` names the option that allows ``plain`` to other machines too; ``Config`` checks it.
    """
    option = f", or with {elsewhere}" if elsewhere else ""
    sentence = (
        f"a {secure}:// address ({plain}:// only on this machine: localhost, 127.0.0.1 or ::1{option}), "
        "without a name or password"
    )

    def read(value: object) -> str:
        text = str(value)
        try:
            parts = urlsplit(text)
            port = parts.port
            # An empty or overlong label is no name that a name server can be asked for.
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise ValueError(sentence) from error
        # A blank would end the path in the request.
        whole = text.isprintable() and " " not in text and "#" not in text
        here = parts.scheme == plain and (elsewhere or parts.hostname in LOOPBACK)
        # Addresses are logged and written to the ledger: they must not hold a password.
        without_password = "@" not in parts.netloc
        if not (whole and parts.hostname and without_password and (parts.scheme == secure or here)) or port == 0:
            raise ValueError(sentence)
        return text

    return read


url = _address("wss", "ws", elsewhere="--plaintext")
level3_url = _address("wss", "ws")
"""A token is sent there, so never in plain text to another machine."""
rest_url = _address("https", "http")


def is_hook_address(hook: str) -> bool:
    """Whether a hook is an address, not a command."""
    return "://" in hook.split(maxsplit=1)[0]


def hook_name(hook: str) -> str:
    """A hook as it may be shown: the path of an address is often a secret."""
    parts = urlsplit(hook)
    return f"{parts.scheme}://{parts.netloc}/…" if is_hook_address(hook) else shown(hook)


def hooks(value: object) -> tuple[str, ...]:
    """Addresses and commands: one, or a list of them."""
    found = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        text = one.strip() if isinstance(one, str) else ""
        if not text or "\0" in text:
            sentence = "a https:// address or a command"
            raise ValueError(sentence)
        try:
            found.append(rest_url(text) if is_hook_address(text) else text)
        except ValueError as error:
            sentence = f"a command, or {error}"
            raise ValueError(sentence) from None
    return tuple(dict.fromkeys(found))


def host(value: object) -> str:
    """An address of this machine to listen on: ``127.0.0.1``, ``::1``, ``localhost``."""
    text = str(value).strip("[]")
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", text, re.ASCII):
        sentence = "an address of this machine, as 127.0.0.1, ::1 or localhost"
        raise ValueError(sentence)
    return text


def host_and_port(value: object) -> tuple[str, int]:
    """Host and port of ``9100``, ``0.0.0.0:9100``, ``[::1]:9100``; port 0 is any free one."""
    text = "{}:{}".format(*value) if isinstance(value, tuple) and len(value) == 2 else str(value)  # noqa: PLR2004  # a pair
    if text.startswith("::1:"):
        text = f"[::1]:{text.removeprefix('::1:')}"
    found = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})", text, re.ASCII)
    if found is None or int(found[2]) >= PORTS:
        sentence = "PORT or HOST:PORT, as 9100, 0.0.0.0:9100 or [::1]:9100"
        raise ValueError(sentence)
    return (found[1] or "127.0.0.1").strip("[]"), int(found[2])


def api_key(value: object) -> str:
    """An API key of Kraken; it goes into a header."""
    text = str(value).strip()
    if not re.fullmatch(r"[!-~]+", text):
        sentence = "an API key as Kraken shows it: letters, digits and signs without blanks"
        raise ValueError(sentence)
    return text


def api_secret(value: object) -> str:
    """The secret of an API key, base64."""
    text = str(value).strip()
    sentence = "an API secret as Kraken shows it, in base64"
    try:
        if not base64.b64decode(text, validate=True):
            raise ValueError(sentence)
    except (binascii.Error, ValueError):
        raise ValueError(sentence) from None
    return text


def token(value: object) -> str:
    """A token that cannot be guessed; it goes into a header."""
    text = str(value).strip()
    if not re.fullmatch(rf"[!-~]{{{TOKEN_MIN},}}", text):
        sentence = f"{TOKEN_MIN} or more letters, digits and signs without blanks"
        raise ValueError(sentence)
    return text


def alternatives(allowed: Iterable[object]) -> str:
    """``10, 25 or 100`` of these."""
    *some, last = map(str, allowed)
    return f"{', '.join(some)} or {last}" if some else last


def shown(value: object) -> str:
    """A value that was refused, for an error: on one line, short, and without the password of an address."""
    # An option that can be repeated comes as a tuple.
    one = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    try:
        words = repr(one)
    except ValueError:  # A whole number of thousands of digits has no text.
        words = f"a {type(one).__name__} that cannot be shown"
    text = " ".join(re.sub(r"//[^/@]*@", "//…@", words).split())
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def read(reader: Callable[[V], T], value: V, place: str) -> T:
    """What a reader makes of a value; ``ConfigError`` names its place and what is allowed."""
    try:
        return reader(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {shown(value)} is not allowed; allowed is {error}") from None


def near(name: object, names: Iterable[str]) -> list[str]:
    """Up to three of ``names`` that were probably meant by ``name``: other case, an older name, a typing error."""
    known, name = list(names), str(name)
    renamed = name.upper().replace("XBT", "BTC").replace("XDG", "DOGE")
    if renamed != name and any(_core.matches(renamed, one) for one in known):
        return [renamed]
    folded = {one.upper(): one for one in known}
    return [folded[one] for one in get_close_matches(name.upper(), folded, 3, 0.6)]


def unmatched(pattern: str, names: Sequence[str], option: str = "--symbols", lister: str = "`krakpot pairs`") -> str:
    """Say that a pattern matches no pair, with names that are near; ``lister`` lists all names."""
    close = near(pattern, names)
    hint = f"did you mean {' or '.join(close)}?" if close else f"{lister} lists them all"
    return f"{option}: {pattern!r} matches none of the {counted(len(names), 'pair')}; {hint}"

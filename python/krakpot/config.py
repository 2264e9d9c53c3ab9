"""What a recording is to do.

Options come from the command line, ``KRAKPOT_*`` variables, ``krakpot.toml`` and defaults, in this order.

A wrong key or value raises ``ConfigError`` with its place and the allowed values.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from krakpot.errors import ConfigError

CHANNELS = ("book", "trade", "ticker", "ohlc")
DEPTHS = (10, 25, 100, 500, 1000)
INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
URL = "wss://ws.kraken.com/v2"
FILE = "krakpot.toml"
PREFIX = "KRAKPOT_"
SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PRECISION_MAX = 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")

OTHER_VARIABLES = {"KRAKPOT_DATA", "KRAKPOT_TEST", "KRAKPOT_DEBUG"}
"""Variables with the prefix that are no options of a recording."""


def _words(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        sentence = "a list of words, or words with commas between"
        raise ValueError(sentence)
    return tuple(item.strip() for item in items if item.strip())


def _patterns(value: Any) -> tuple[str, ...]:
    words = _words(value)
    if not words:
        sentence = "one or more patterns, as BTC/USD, ETH/* or *"
        raise ValueError(sentence)
    return words


def _channels(value: Any) -> tuple[str, ...]:
    words = _words(value)
    if not words or not set(words) <= set(CHANNELS):
        sentence = f"one or more of {', '.join(CHANNELS)}"
        raise ValueError(sentence)
    return tuple(dict.fromkeys(words))


def _among(allowed: tuple[int, ...]) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = str(value)
        if not text.isascii() or not text.isdigit() or int(text) not in allowed:
            sentence = f"one of {', '.join(map(str, allowed))}"
            raise ValueError(sentence)
        return int(text)

    return read


def duration(value: Any) -> float:
    """Seconds of ``30s``, ``10m``, ``1h``, ``2d``, ``1h30m`` or a plain number of seconds."""
    text = str(value).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if parts and "".join(n + unit for n, unit in parts) == text:
        seconds = sum(float(n) * UNITS[unit] for n, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    else:
        sentence = "a duration as 30s, 10m, 1h, 2d or 1h30m"
        raise ValueError(sentence)
    if seconds <= 0:
        sentence = "a duration above zero"
        raise ValueError(sentence)
    return seconds


def _flag(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in words:
        sentence = "true or false"
        raise ValueError(sentence)
    return words[str(value).lower()]


def precision(value: Any) -> dict[str, tuple[int, int]]:
    """Precisions by symbol: ``BTC/USD=1,8`` (several with blanks between, or a table of pairs)."""
    if isinstance(value, Mapping):
        items = [(str(symbol), pair) for symbol, pair in value.items()]
    else:
        texts = value.split() if isinstance(value, str) else value
        items = [text.partition("=")[::2] for text in texts] if isinstance(texts, (list, tuple)) else [("", None)]
    result = {}
    for symbol, pair in items:
        found = re.fullmatch(
            r"(\d{1,2}),(\d{1,2})", pair if isinstance(pair, str) else ",".join(map(str, _listed(pair))), re.ASCII
        )
        if "/" not in symbol or found is None or max(map(int, found.groups())) > PRECISION_MAX:
            sentence = f"SYMBOL=PRICE,QTY with decimals from 0 to {PRECISION_MAX}, as BTC/USD=1,8"
            raise ValueError(sentence)
        result[symbol] = (int(found[1]), int(found[2]))
    return result


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def url(value: Any) -> str:
    """A WebSocket address: ``wss://``, or ``ws://`` on this machine."""
    text = str(value)
    sentence = "a wss:// address (ws:// only on this machine: localhost, 127.0.0.1 or ::1)"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(sentence) from error
    plain = parts.scheme == "ws" and parts.hostname in LOOPBACK
    if not parts.hostname or port == 0 or "#" in text or not (parts.scheme == "wss" or plain):
        raise ValueError(sentence)
    return text


def bytes_(value: Any) -> int:
    """Bytes of ``5GB``, ``500MB``, ``1.5TB`` or a plain number of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", str(value).strip(), re.ASCII)
    if found is None:
        sentence = "a size as 500MB, 5GB or 1.5TB; 0 for no limit"
        raise ValueError(sentence)
    return round(float(found[1]) * SIZES[found[2]])


def keep(value: Any) -> float:
    """Seconds of a duration of at least a day."""
    try:
        seconds = duration(value)
    except ValueError:
        seconds = 0.0
    if seconds < UNITS["d"]:
        sentence = "a duration of at least a day, as 30d"
        raise ValueError(sentence)
    return seconds


@dataclass(frozen=True)
class Config:
    """Options of a recording."""

    out: Path = Path("data")
    symbols: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("book", "trade", "ticker")
    depth: int = 100
    interval: int = 1
    tokenised: bool = False
    raw: bool = False
    duration: float | None = None
    """Seconds to record; None: until stopped."""
    url: str = URL
    seal_interval: float = 300.0
    """Seconds after which a journal is sealed."""
    keep: float | None = None
    """Seconds after whose end a whole date is removed; None: never."""
    min_free: int = 200_000_000
    """Bytes of the disk that are left free: enough to seal what is in the journals."""
    precision: Mapping[str, tuple[int, int]] = field(default_factory=dict)


READERS: dict[str, Callable[[Any], Any]] = {
    "out": lambda value: Path(str(value)).expanduser(),
    "symbols": _patterns,
    "exclude": _words,
    "channels": _channels,
    "depth": _among(DEPTHS),
    "interval": _among(INTERVALS),
    "tokenised": _flag,
    "raw": _flag,
    "duration": duration,
    "url": url,
    "seal_interval": duration,
    "keep": keep,
    "min_free": bytes_,
    "precision": precision,
}
NAMES = {"duration": "for"}
"""Names outside Python where they differ."""


def _keys() -> dict[str, str]:
    return {NAMES.get(f.name, f.name): f.name for f in fields(Config)}


def read(key: str, value: Any, place: str) -> Any:
    """One option from text; ``ConfigError`` names its place and what is allowed."""
    try:
        return READERS[key](value)
    except (ValueError, TypeError, KeyError) as error:
        sentence = f"{place}: {value!r} is not allowed; allowed is {error}"
        raise ConfigError(sentence) from None


def load(
    options: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Config:
    """Put the sources together.

    ``options`` are the command line's (None where not given). ``file`` defaults to ``krakpot.toml`` here, if it exists.
    """
    values: dict[str, Any] = {}
    keys = _keys()
    path = file if file is not None else Path(FILE)
    if file is not None or path.exists():
        for key, value in _file(path).items():
            if key not in keys:
                sentence = f"{path}: unknown key {key!r}; allowed are {', '.join(sorted(keys))}"
                raise ConfigError(sentence)
            values[keys[key]] = read(keys[key], value, f"{path}: {key}")
    for name, text in environment.items():
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            key = name.removeprefix(PREFIX).lower()
            if key not in keys:
                allowed = ", ".join(PREFIX + key.upper() for key in sorted(keys))
                sentence = f"environment: unknown variable {name}; allowed are {allowed}"
                raise ConfigError(sentence)
            values[keys[key]] = read(keys[key], text, f"environment: {name}")
    for key, value in options.items():
        if value is not None and value != ():
            values[key] = read(key, value, f"--{NAMES.get(key, key).replace('_', '-')}")
    return Config(**values)


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        sentence = f"{path}: there is no such file; --config names a TOML file"
        raise ConfigError(sentence) from None
    except (OSError, ValueError) as error:
        sentence = f"{path}: cannot be read as TOML: {error}"
        raise ConfigError(sentence) from None

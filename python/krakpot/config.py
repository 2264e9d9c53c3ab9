"""What a recording is to do.

Options come from the command line, ``KRAKPOT_*`` variables, ``krakpot.toml`` and defaults, in this order. An API key
and its secret never come from the command line, which every user of a machine can read, and are never shown.

A wrong key or value raises ``ConfigError`` with its place and the allowed values.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from krakpot import _core
from krakpot.errors import ConfigError

LEVEL3 = "level3"
LEVEL3_PATH = "/level3/v2"
"""Where the built-in exchange has it."""
PERMISSION = 'the permission "WebSocket interface - On"'
CHANNELS = ("book", "trade", "ticker", "ohlc", LEVEL3)
DEPTHS = (10, 25, 100, 500, 1000)
LEVEL3_DEPTHS = (10, 100, 1000)
INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
URL = "wss://ws.kraken.com/v2"
LEVEL3_URL = "wss://ws-l3.kraken.com/v2"
REST_URL = "https://api.kraken.com"
LEVEL3_RATE = 200
"""Cost of level-3 subscriptions a second that Kraken allows a standard account; a pro one has 500."""
LEVEL3_RATES = (100, 100_000)
"""From the cost of one subscription at depth 1000, without which it would never be asked for."""
FILE = "krakpot.toml"
PREFIX = "KRAKPOT_"
SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHARE_MIN = 50
"""Symbols that a connection has at least: all of Kraken's pairs take 29 then, and each costs attempts to connect."""
WHEN_SLOW = ("wait", "fail")
PRECISION_MAX = 10
KEY_PAIR = ("api_key", "api_secret")
SECRETS = (*KEY_PAIR, "metrics_token")
"""Options that never come from the command line, and are never shown."""
TOKEN_MIN = 16
"""Characters of a token that cannot be guessed."""
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("info", "warning", "error")
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


def _address(secure: str, plain: str, *, elsewhere: str = "") -> Callable[[Any], str]:
    """Read an address of the scheme ``secure``; ``plain`` is allowed on this machine.

    ``elsewhere``: also to other ones, with this option, which is looked at when all are known.
    """
    asked = f", or with {elsewhere}" if elsewhere else ""
    sentence = (
        f"a {secure}:// address ({plain}:// only on this machine: localhost, 127.0.0.1 or ::1{asked}), "
        "without a name or password"
    )

    def read(value: Any) -> str:
        text = str(value)
        try:
            parts = urlsplit(text)
            port = parts.port
            # What no name server can be asked for: a label that is empty or too long.
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise ValueError(sentence) from error
        # A blank would end the path in the request.
        whole = text.isprintable() and " " not in text
        here = parts.scheme == plain and (elsewhere or parts.hostname in LOOPBACK)
        # Addresses are said and written to the ledger: no password may stand in one.
        open_ = "@" not in parts.netloc
        if not (whole and parts.hostname and open_ and (parts.scheme == secure or here)) or port == 0 or "#" in text:
            raise ValueError(sentence)
        return text

    return read


url = _address("wss", "ws", elsewhere="--plaintext")
level3_url = _address("wss", "ws")
"""A token goes there."""
rest_url = _address("https", "http")


def _rate(value: Any) -> int:
    text = str(value)
    low, high = LEVEL3_RATES
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        sentence = f"a whole number from {low} to {high}: 200 for a standard account, 500 for a pro one"
        raise ValueError(sentence)
    return int(text)


def _share(value: Any) -> int:
    text = str(value)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < SHARE_MIN:
        sentence = f"a whole number from {SHARE_MIN}"
        raise ValueError(sentence)
    return int(text)


def _when_slow(value: Any) -> str:
    if value not in WHEN_SLOW:
        sentence = f"one of {', '.join(WHEN_SLOW)}"
        raise ValueError(sentence)
    return str(value)


def _key(value: Any) -> str:
    text = str(value).strip()
    # It goes into a header.
    if not re.fullmatch(r"[!-~]+", text):
        sentence = "an API key as Kraken shows it, letters, digits and signs without blanks"
        raise ValueError(sentence)
    return text


def _secret(value: Any) -> str:
    text = str(value).strip()
    sentence = "an API secret as Kraken shows it, in base64"
    try:
        if not base64.b64decode(text, validate=True):
            raise ValueError(sentence)
    except (binascii.Error, ValueError):
        raise ValueError(sentence) from None
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


def _metrics(value: Any) -> tuple[str, int]:
    """Where metrics are served: ``9100``, ``0.0.0.0:9100``, ``[::1]:9100``; port 0 is any free one."""
    found = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})", str(value), re.ASCII)
    if found is None or int(found[2]) >= 1 << 16:
        sentence = "PORT or HOST:PORT, as 9100, 0.0.0.0:9100 or [::1]:9100"
        raise ValueError(sentence)
    return (found[1] or "127.0.0.1").strip("[]"), int(found[2])


def _metrics_token(value: Any) -> str:
    text = str(value).strip()
    # It goes into a header.
    if not re.fullmatch(rf"[!-~]{{{TOKEN_MIN},}}", text):
        sentence = f"{TOKEN_MIN} or more letters, digits and signs without blanks"
        raise ValueError(sentence)
    return text


def _word(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            sentence = f"one of {', '.join(allowed)}"
            raise ValueError(sentence)
        return str(value)

    return read


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
    plaintext: bool = False
    """Whether ``url`` may be ``ws://`` on another machine, where nobody proves who answers."""
    seal_interval: float = 300.0
    """Seconds after which a journal is sealed."""
    keep: float | None = None
    """Seconds after whose end a whole date is removed; None: never."""
    min_free: int = 200_000_000
    """Bytes of the disk that are left free: enough to seal what is in the journals."""
    precision: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    symbols_per_connection: int | None = None
    """Symbols of one public connection at most; None: all on one."""
    redundant: tuple[str, ...] = ()
    """Patterns of symbols to be recorded a second time, over connections of their own."""
    when_slow: str = "wait"
    """What happens when the disk is slower than the feed: the sockets wait, or the recording fails."""
    level3_depth: int = 100
    level3_url: str = LEVEL3_URL
    level3_rate: int = LEVEL3_RATE
    """Cost of level-3 subscriptions a second."""
    rest_url: str = REST_URL
    """Where tokens for level 3 come from."""
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    metrics: tuple[str, int] | None = None
    """Host and port where metrics are served; None: nowhere."""
    metrics_token: str = field(default="", repr=False)
    """What must be shown to read them; may be empty on the loopback address."""
    log_format: str = "text"
    log_level: str = "info"

    def __post_init__(self) -> None:
        """``ConfigError`` if options do not go together."""
        if self._plain and not self.plaintext:
            sentence = (
                f"url: {self.url!r} is not allowed: in plain text to another machine nobody proves who answers; "
                "allowed is a wss:// address, ws:// on this machine (localhost, 127.0.0.1 or ::1), or --plaintext "
                "(plaintext = true)"
            )
            raise ConfigError(sentence)
        if self.metrics is not None and self.metrics[0] not in LOOPBACK and not self.metrics_token:
            sentence = (
                f"--metrics: {self.metrics[0]} can be reached from other machines and needs a token: "
                f"set KRAKPOT_METRICS_TOKEN (or metrics_token in {FILE}, readable by you alone)"
            )
            raise ConfigError(sentence)
        if self.redundant and not self.public:
            sentence = "redundant: a second source is of the public channels, and none is recorded"
            raise ConfigError(sentence)
        if LEVEL3 in self.channels:
            self._check_level3()

    def _check_level3(self) -> None:
        """``ConfigError`` if the key pair, or a place that fits the others, is missing."""
        if not self.api_key or not self.api_secret:
            lacking = " and ".join(PREFIX + name.upper() for name in KEY_PAIR if not getattr(self, name))
            sentence = (
                f"level3 needs an API key of a Kraken account, with {PERMISSION} and no other: set {lacking} "
                f"(or api_key and api_secret in {FILE}, readable by you alone)"
            )
            raise ConfigError(sentence)
        if (_here(self.url) or self._plain) and self.rest_url == REST_URL:
            # A key of Kraken's is for Kraken: what is recorded here is not.
            sentence = (
                f"level3 of {self.url} needs a token from there: give --rest-url "
                "(the built-in exchange says its address when it starts)"
            )
            raise ConfigError(sentence)

    @property
    def _plain(self) -> bool:
        """Whether the public channels come in plain text from another machine."""
        return urlsplit(self.url).scheme == "ws" and not _here(self.url)

    @property
    def public(self) -> list[str]:
        """Channels that need no key."""
        return [channel for channel in self.channels if channel != LEVEL3]


def _here(address: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(address).hostname in LOOPBACK


def level3_url_of(address: str) -> str:
    """Where level 3 is, if nobody says so: Kraken's, or that of the built-in exchange at ``address``."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc, LEVEL3_PATH, "", "")) if _here(address) else LEVEL3_URL


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
    "plaintext": _flag,
    "seal_interval": duration,
    "keep": keep,
    "min_free": bytes_,
    "precision": precision,
    "symbols_per_connection": _share,
    "redundant": _words,
    "when_slow": _when_slow,
    "level3_depth": _among(LEVEL3_DEPTHS),
    "level3_url": level3_url,
    "level3_rate": _rate,
    "rest_url": rest_url,
    "api_key": _key,
    "api_secret": _secret,
    "metrics": _metrics,
    "metrics_token": _metrics_token,
    "log_format": _word(LOG_FORMATS),
    "log_level": _word(LOG_LEVELS),
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
        # An address may hold a password, which is why it is refused.
        what = "what stands there" if key in SECRETS else re.sub(r"//[^/@]*@", "//…@", repr(value))
        sentence = f"{place}: {what} is not allowed; allowed is {error}"
        raise ConfigError(sentence) from None


def load(
    options: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Config:
    """Put the sources together.

    ``options`` are the command line's (None where not given). ``file`` defaults to ``krakpot.toml`` here, if it exists.
    Without a ``level3_url``, an exchange on this machine is taken for the built-in one, whose level 3 has a path of its
    own at the same address.
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
            assert key not in SECRETS, "never from the command line"
            values[key] = read(key, value, f"--{NAMES.get(key, key).replace('_', '-')}")
    values.setdefault("level3_url", level3_url_of(values.get("url", URL)))
    return Config(**values)


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            values = tomllib.load(file)
    except FileNotFoundError:
        sentence = f"{path}: there is no such file; --config names a TOML file"
        raise ConfigError(sentence) from None
    except (OSError, ValueError) as error:
        sentence = f"{path}: cannot be read as TOML: {error}"
        raise ConfigError(sentence) from None
    secrets = [key for key in SECRETS if key in values]
    if secrets and mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{path}: {secrets[-1]} is for you alone, and others can read this file: chmod 600 {path}"
        raise ConfigError(sentence)
    return values


def near_symbols(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that somebody who wrote ``pattern`` may have meant, the nearest first; often none."""
    renamed = pattern.upper().replace("XBT", "BTC").replace("XDG", "DOGE")
    by_upper = {name.upper(): name for name in names}
    if renamed in by_upper:
        return [by_upper[renamed]]
    if any(_core.matches(renamed, name) for name in names):
        return [renamed]
    return [by_upper[name] for name in get_close_matches(renamed, by_upper, 3, 0.6)]


def unmatched(pattern: str, names: Sequence[str], option: str = "--symbols") -> str:
    """Say that a pattern matches no pair, with names that are near."""
    near = near_symbols(pattern, names)
    hint = f"did you mean {' or '.join(near)}?" if near else "`krakpot pairs` lists them all"
    return f"{option}: {pattern!r} matches none of the {len(names)} pairs; {hint}"

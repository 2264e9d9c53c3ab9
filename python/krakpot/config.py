"""What a recording is to do.

Options come from the command line, ``KRAKPOT_*`` variables, ``krakpot.toml`` and defaults, in this order. An API key
and its secret never come from the command line, which every user of a machine can read, and are never shown.

A wrong key or value raises ``ConfigError`` with its place and the allowed values.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from krakpot import values
from krakpot.errors import ConfigError
from krakpot.values import LEVEL3, LEVEL3_RATE, LOOPBACK, is_loopback

LEVEL3_PATH = "/level3/v2"
"""Path of level 3 on the built-in exchange."""
PERMISSION = 'the permission "WebSocket interface - On"'
URL = "wss://ws.kraken.com/v2"
LEVEL3_URL = "wss://ws-l3.kraken.com/v2"
REST_URL = "https://api.kraken.com"
FILE = "krakpot.toml"
PREFIX = "KRAKPOT_"
KEY_PAIR = ("api_key", "api_secret")
SECRETS = (*KEY_PAIR, "metrics_token")
"""Options that never come from the command line, and are never shown."""
SLOW_DISK = ("wait", "fail")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("info", "warning", "error")

OTHER_VARIABLES = {"KRAKPOT_DATA", "KRAKPOT_TEST", "KRAKPOT_DEBUG"}
"""Variables with the prefix that are no options of a recording."""


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
        if (is_loopback(self.url) or self._plain) and self.rest_url == REST_URL:
            # A key of Kraken's is for Kraken: what is recorded here is not.
            sentence = (
                f"level3 of {self.url} needs a token from there: give --rest-url "
                "(the built-in exchange says its address when it starts)"
            )
            raise ConfigError(sentence)

    @property
    def _plain(self) -> bool:
        """Whether the public channels come in plain text from another machine."""
        return urlsplit(self.url).scheme == "ws" and not is_loopback(self.url)

    @property
    def public(self) -> list[str]:
        """Channels that need no key."""
        return [channel for channel in self.channels if channel != LEVEL3]


def _level3_url(address: str) -> str:
    """Where level 3 is, if nobody says so: Kraken's, or that of the built-in exchange at ``address``."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc, LEVEL3_PATH, "", "")) if is_loopback(address) else LEVEL3_URL


READERS: dict[str, Callable[[Any], Any]] = {
    "out": values.folder,
    "symbols": values.patterns,
    "exclude": values.words,
    "channels": values.channels,
    "depth": values.number_of(values.DEPTHS),
    "interval": values.number_of(values.INTERVALS),
    "tokenised": values.flag,
    "raw": values.flag,
    "duration": values.duration,
    "url": values.url,
    "plaintext": values.flag,
    "seal_interval": values.duration,
    "keep": values.keep,
    "min_free": values.byte_size,
    "precision": values.precision,
    "symbols_per_connection": values.whole_number(values.CONNECTION_SYMBOLS_MIN, 1_000_000),
    "redundant": values.words,
    "when_slow": values.word_of(SLOW_DISK),
    "level3_depth": values.number_of(values.LEVEL3_DEPTHS),
    "level3_url": values.level3_url,
    "level3_rate": values.whole_number(*values.LEVEL3_RATES, ": 200 for a standard account, 500 for a pro one"),
    "rest_url": values.rest_url,
    "api_key": values.api_key,
    "api_secret": values.api_secret,
    "metrics": values.host_and_port,
    "metrics_token": values.token,
    "log_format": values.word_of(LOG_FORMATS),
    "log_level": values.word_of(LOG_LEVELS),
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
    found: dict[str, Any] = {}
    keys = _keys()
    path = file if file is not None else Path(FILE)
    if file is not None or path.exists():
        for key, value in _file(path).items():
            if key not in keys:
                sentence = f"{path}: unknown key {key!r}; allowed are {', '.join(sorted(keys))}"
                raise ConfigError(sentence)
            found[keys[key]] = read(keys[key], value, f"{path}: {key}")
    for name, text in environment.items():
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            key = name.removeprefix(PREFIX).lower()
            if key not in keys:
                allowed = ", ".join(PREFIX + key.upper() for key in sorted(keys))
                sentence = f"environment: unknown variable {name}; allowed are {allowed}"
                raise ConfigError(sentence)
            found[keys[key]] = read(keys[key], text, f"environment: {name}")
    for key, value in options.items():
        if value is not None and value != ():
            assert key not in SECRETS, "never from the command line"
            found[key] = read(key, value, f"--{NAMES.get(key, key).replace('_', '-')}")
    found.setdefault("level3_url", _level3_url(found.get("url", URL)))
    return Config(**found)


def from_mapping(values: Mapping[str, Any]) -> Config:
    """Options of a recorder that a program starts: from the environment come only secrets, and no file is read.

    Raises
    ------
    ConfigError
        An option is unknown, or its value is not allowed.

    """
    for name in values:
        if name not in READERS or name in SECRETS:
            allowed = ", ".join(sorted(READERS.keys() - set(SECRETS)))
            raise ConfigError(f"record: unknown option {name!r}; allowed are {allowed}")
    keys = tuple(PREFIX + name.upper() for name in SECRETS)
    known = {name: os.environ[name] for name in keys if name in os.environ}
    return load(values, file=Path(os.devnull), environment=known)


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            found = tomllib.load(file)
    except FileNotFoundError:
        sentence = f"{path}: there is no such file; --config names a TOML file"
        raise ConfigError(sentence) from None
    except (OSError, ValueError) as error:
        sentence = f"{path}: cannot be read as TOML: {error}"
        raise ConfigError(sentence) from None
    secrets = [key for key in SECRETS if key in found]
    if secrets and mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{path}: {secrets[-1]} is for you alone, and others can read this file: chmod 600 {path}"
        raise ConfigError(sentence)
    return found

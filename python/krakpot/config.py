"""Options of a recording.

``Config`` is the only list of them: the options of ``krakpot record``, the ``KRAKPOT_*`` variables, the keys of
``krakpot.toml`` and the table in ``docs/recording.md`` are derived from its fields. The command line comes first, then
variables, then the file, then defaults. An API key and its secret never come from the command line, which every user of
a machine can read, and are never shown.

A wrong name or value raises ``ConfigError`` with its place and what is allowed.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.values import LEVEL3, LOOPBACK, is_loopback

LEVEL3_PATH = "/level3/v2"
"""Path of level 3 on the built-in exchange."""
PERMISSION = 'the permission "WebSocket interface - On"'
URL = "wss://ws.kraken.com/v2"
LEVEL3_URL = "wss://ws-l3.kraken.com/v2"
REST_URL = "https://api.kraken.com"
FILE = "krakpot.toml"
PREFIX = "KRAKPOT_"
BESIDE = "krakpot.Feed: record"
"""Begins every sentence about the options of a recorder beside a feed."""
KEY_PAIR = ("api_key", "api_secret")
OTHER_VARIABLES = {
    "KRAKPOT_DATA",
    "KRAKPOT_TEST",
    "KRAKPOT_DEBUG",
    "KRAKPOT_ALERT_KIND",
    "KRAKPOT_ALERT_SENTENCE",
    "KRAKPOT_VIEW_TOKEN",
}
"""Variables with the prefix that are no options of a recording."""

_RATES = ", ".join(
    f"{rate} for a {account} account" for account, rate in sorted(_core.LEVEL3_RATES.items(), reverse=True)
)

SlowDisk = Literal["wait", "fail"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["info", "warning", "error"]
Source = Literal["command line", "variable", "file", "default"]


@dataclass(frozen=True)
class Option:
    """One option of a recording, as every source of options needs it."""

    field: str
    """Its field of ``Config``."""
    key: str
    """Its name in ``krakpot.toml``."""
    read: Callable[[object], Any]
    """Makes the value of text, or of a value; ``ValueError`` says what is allowed."""
    form: str
    """What is to be given, in help: ``PATTERNS``, ``FOLDER``, …; empty for a switch."""
    default: str
    """Its default for people."""
    help: str
    secret: bool = False
    """Whether it never comes from the command line, and is never shown."""
    many: bool = False
    """Whether it can be repeated on the command line."""
    example: Any = None
    """A value to begin with, where the default is none."""

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its variable."""
        return PREFIX + self.key.upper()


def _option(
    default: Any,
    read: Callable[[object], Any],
    form: str,
    help_: str,
    *,
    shown: str = "",
    key: str = "",
    secret: bool = False,
    many: bool = False,
    example: Any = None,
) -> Any:
    """Make a field of ``Config``; ``shown`` is its default for people, ``key`` its name where that differs."""
    facts = {
        "read": read,
        "form": form,
        "default": shown or str(default),
        "help": help_,
        "secret": secret,
        "many": many,
        "key": key,
        "example": example,
    }
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=facts)
    return field(default=default, repr=not secret, metadata=facts)


def _switch(help_: str) -> Any:
    """Make a field of ``Config`` that is on or off; off is the default."""
    return _option(default=False, read=values.flag, form="", help_=help_, shown="no")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of a recording, checked: ``krakpot.Config(symbols=("BTC/USD",), duration=60)``."""

    symbols: tuple[str, ...] = _option(
        ("*",), values.patterns, "PATTERNS", "Patterns of pairs, separated by commas: BTC/*,ETH/USD.", shown="all"
    )
    exclude: tuple[str, ...] = _option(
        (), values.words, "PATTERNS", "Patterns of pairs to leave out.", shown="none", example=["*/JPY"]
    )
    channels: tuple[str, ...] = _option(
        ("book", "trade", "ticker"),
        values.channels,
        "CHANNELS",
        f"Of {', '.join(values.CHANNELS)}; instrument and status are always recorded.",
        shown="book,trade,ticker",
    )
    channel_symbols: Mapping[str, tuple[str, ...]] = _option(
        {},
        values.channel_symbols,
        "CHANNEL=PATTERNS",
        "Patterns of pairs for one channel, instead of --symbols: level3=BTC/USD,ETH/*. Can be repeated.",
        shown="none",
        many=True,
        example={"ticker": ["BTC/USD"]},
    )
    depth: int = _option(
        100, values.number_of(_core.DEPTHS), "LEVELS", f"Price levels of a book: {values.alternatives(_core.DEPTHS)}."
    )
    interval: int = _option(
        1,
        values.number_of(_core.INTERVALS),
        "MINUTES",
        f"Minutes of a candle: {values.alternatives(_core.INTERVALS)}.",
    )
    tokenised: bool = _switch("Record tokenised assets too (AAPLx/USD).")
    out: Path = _option(Path("data"), values.folder, "FOLDER", "Folder of the lake.")
    duration: float | None = _option(
        None,
        values.duration,
        "DURATION",
        "How long to record: 30s, 10m, 1h, 2d or 1h30m.",
        shown="until Ctrl-C",
        key="for",
        example=3600.0,
    )
    raw: bool = _switch("Keep every frame as well, byte for byte.")
    seal_interval: float = _option(
        300.0, values.duration, "DURATION", "How often journals become Parquet files.", shown="5m"
    )
    keep: float | None = _option(
        None,
        values.keep,
        "DURATION",
        "Remove whole days that ended longer ago than this: 30d.",
        shown="keep all",
        example=2_592_000.0,
    )
    # 200 MB are enough to seal what is in the journals.
    min_free: int = _option(
        200_000_000,
        values.byte_size,
        "SIZE",
        "Stop in order when the disk has less free space than this: 5GB.",
        shown="200MB",
    )
    when_slow: SlowDisk = _option(
        "wait",
        values.word_of(get_args(SlowDisk)),
        "WORD",
        "What to do when the disk is slower than the feed: wait or fail.",
    )
    url: str = _option(
        URL, values.url, "ADDRESS", "Address of the exchange; ws:// only on this machine, or with --plaintext."
    )
    plaintext: bool = _switch("Allow ws:// to another machine, where nothing proves who answers. Never for level3.")
    precision: Mapping[str, tuple[int, int]] = _option(
        {},
        values.precision,
        "SYMBOL=PRICE,QTY",
        "Decimals of price and quantity where the exchange sends none: BTC/USD=1,8. Can be repeated.",
        shown="none",
        many=True,
        example={"BTC/USD": (1, 8)},
    )
    symbols_per_connection: int | None = _option(
        None,
        values.symbols_per_connection,
        "NUMBER",
        f"Spread the pairs over connections of at most this many, from {values.CONNECTION_SYMBOLS_MIN}.",
        shown="all on one",
        example=400,
    )
    redundant: tuple[str, ...] = _option(
        (),
        values.words,
        "PATTERNS",
        "Patterns of pairs to record a second time, on separate connections.",
        shown="none",
        example=["BTC/USD"],
    )
    level3_depth: int = _option(
        100,
        values.number_of(_core.LEVEL3_DEPTHS),
        "LEVELS",
        f"Price levels of level3: {values.alternatives(_core.LEVEL3_DEPTHS)}.",
    )
    level3_rate: int = _option(
        _core.LEVEL3_RATES["standard"],
        values.whole_number(*values.LEVEL3_RATE_RANGE, f": {_RATES}"),
        "COST",
        f"Subscription cost per second that the account is allowed: {_RATES}.",
    )
    level3_url: str = _option(
        LEVEL3_URL,
        values.level3_url,
        "ADDRESS",
        f"Address of level3; for an exchange on this machine it is {LEVEL3_PATH} at --url.",
    )
    rest_url: str = _option(
        REST_URL,
        values.rest_url,
        "ADDRESS",
        "Where the tokens for level3, and the books of --audit, come from; http:// only on this machine.",
    )
    audit: float | None = _option(
        None,
        values.duration,
        "DURATION",
        "Compare each live book with REST this often: 10m.",
        shown="never",
        example=600.0,
    )
    api_key: str = _option("", values.api_key, "KEY", "API key for level3.", shown="none", secret=True)
    api_secret: str = _option(
        "", values.api_secret, "SECRET", "Its secret, as Kraken shows it.", shown="none", secret=True
    )
    metrics: tuple[str, int] | None = _option(
        None,
        values.host_and_port,
        "[HOST:]PORT",
        "Serve metrics and health at PORT or HOST:PORT.",
        shown="nowhere",
        example=("127.0.0.1", 9100),
    )
    metrics_token: str = _option(
        "",
        values.token,
        "TOKEN",
        "Token for reading the metrics; needed where other machines can reach them.",
        shown="none",
        secret=True,
    )
    alert: tuple[str, ...] = _option(
        (),
        values.hooks,
        "URL_OR_COMMAND",
        "Post alerts to an address, or run a command with each: gaps, stale data, disk, sealing. Can be repeated.",
        shown="none",
        many=True,
        example=['notify-send "$KRAKPOT_ALERT_SENTENCE"'],
    )
    log_format: LogFormat = _option(
        "text", values.word_of(get_args(LogFormat)), "WORD", "Log lines as text, or as json: one object per line."
    )
    log_level: LogLevel = _option(
        "info", values.word_of(get_args(LogLevel)), "WORD", "Least level of log lines: info, warning or error."
    )

    def __post_init__(self) -> None:
        """Check each option and what goes together; ``ConfigError`` says what is wrong."""
        for option in OPTIONS.values():
            value, default = getattr(self, option.field), self.__dataclass_fields__[option.field].default
            if type(value) is not type(default) or value != default:
                object.__setattr__(self, option.field, read(option.field, value, option.field))
        if self.level3_url == LEVEL3_URL and is_loopback(self.url):
            # An exchange on this machine is the built-in one, which serves level 3 at another path.
            parts = urlsplit(self.url)
            address = urlunsplit((parts.scheme, parts.netloc, LEVEL3_PATH, "", ""))
            object.__setattr__(self, "level3_url", address)
        if self._plain and not self.plaintext:
            sentence = (
                f"url: {self.url!r} is not allowed: in plain text to another machine nothing proves who answers; "
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
            raise ConfigError("redundant: only public channels can be recorded twice, and none is recorded")
        if self.audit is not None:
            self._check_audit()
        extra = [channel for channel in self.channel_symbols if channel not in self.channels]
        if extra:
            sentence = (
                f"channel_symbols: {extra[0]} is not recorded; add it to channels, which are {', '.join(self.channels)}"
            )
            raise ConfigError(sentence)
        if LEVEL3 in self.channels:
            self._check_level3()

    def _check_audit(self) -> None:
        """``ConfigError`` if there are no books to audit, or nothing to audit them with."""
        if "book" not in self.channels:
            raise ConfigError(
                f"audit: the channel book is not recorded; add it to channels ({','.join(self.channels)})"
            )
        if (is_loopback(self.url) or self._plain) and self.rest_url == REST_URL:
            # Books of Kraken are not those of another exchange.
            sentence = (
                f"audit: the books of {self.url} are compared with REST of the same exchange: give --rest-url "
                "(the built-in exchange prints its address when it starts)"
            )
            raise ConfigError(sentence)

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
            # A key of Kraken is for Kraken, and this exchange is another one.
            sentence = (
                f"level3 of {self.url} needs a token from there: give --rest-url "
                "(the built-in exchange prints its address when it starts)"
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

    def symbols_of(self, channel: str) -> tuple[str, ...]:
        """Patterns of the pairs of a channel."""
        return self.channel_symbols.get(channel, self.symbols)


OPTIONS = {
    one.name: Option(one.name, **(dict(one.metadata) | {"key": one.metadata["key"] or one.name}))
    for one in fields(Config)
}
"""Every option, by its field of ``Config``."""
SECRETS = tuple(name for name, option in OPTIONS.items() if option.secret)

Config.__doc__ = f"""{Config.__doc__}

Parameters
----------
{chr(10).join(f"{name} : {option.help} Default: {option.default}." for name, option in OPTIONS.items())}

Raises
------
ConfigError
    If an option is wrong; the sentence names it and says what is allowed.
"""


def read(name: str, value: object, place: str) -> Any:
    """Read one option; ``ConfigError`` names its place and what is allowed."""
    if not OPTIONS[name].secret:
        return values.read(OPTIONS[name].read, value, place)
    try:
        return OPTIONS[name].read(value)
    except ValueError as error:
        raise ConfigError(f"{place}: the value is not allowed; allowed is {error}") from None


_ARGUMENTS = {
    option.flag: f"{name}=True" if option.read is values.flag and not option.secret else name
    for name, option in OPTIONS.items()
}


def as_arguments(sentence: str) -> str:
    """A sentence about options with the arguments of a call, in place of flags and keys of a file."""
    found = re.sub(r" \([a-z_]+ = true\)", "", sentence)
    return re.sub(r"--[a-z][a-z0-9-]*", lambda match: _ARGUMENTS.get(match[0], match[0]), found)


def read_argument(name: str, value: object, place: str) -> Any:
    """Read one option that is an argument of a call; ``ConfigError`` names its place and what is allowed."""
    try:
        return read(name, value, place)
    except ConfigError as error:
        raise ConfigError(as_arguments(str(error))) from None


NEEDS = {
    "depth": ("book",),
    "interval": ("ohlc",),
    "level3_depth": (LEVEL3,),
    "level3_rate": (LEVEL3,),
    "level3_url": (LEVEL3,),
    "rest_url": (LEVEL3,),
    "symbols_per_connection": tuple(channel for channel in values.CHANNELS if channel != LEVEL3),
}
"""Options that have an effect only if one of these channels is recorded."""


@dataclass(frozen=True)
class Setting:
    """The value of an option, and where it comes from."""

    value: Any
    source: Source
    place: str = ""
    """The option, the variable, or the file and the line; empty for a default."""


def load(
    options: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Config:
    """Put the sources together.

    ``options`` are the command line's, by their fields (None or empty where not given). ``file`` defaults to
    ``krakpot.toml`` in the current folder, if it exists. ``ConfigError`` names the place of what is wrong.
    """
    return _checked(options, _given(options, file, environment))


def settings(
    options: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, Setting]:
    """Every option with its value and its source, by its field; arguments and errors as of ``load``."""
    found = _given(options, file, environment)
    config = _checked(options, found)
    result = {}
    for name in OPTIONS:
        value = getattr(config, name)
        # The address of level 3 follows from the other one, where that is on this machine.
        follows = "follows from url" if value != getattr(Config, name, value) else ""
        result[name] = replace(found.get(name, Setting(value, "default", follows)), value=value)
    return result


def _given(options: Mapping[str, Any], file: Path | None, environment: Mapping[str, str]) -> dict[str, Setting]:
    """Read the options that the sources give."""
    found: dict[str, Setting] = {}
    path = file if file is not None else Path(FILE)
    if file is not None or path.exists():
        keys = {option.key: name for name, option in OPTIONS.items()}
        given, lines = _file(path)
        for key, value in given.items():
            name = _known(key, keys, f"{path}: unknown key")
            place = f"{path}:{lines[key]}" if key in lines else str(path)
            found[name] = Setting(read(name, value, f"{path}: {key}"), "file", place)
    variables = {option.variable: name for name, option in OPTIONS.items()}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            name = _known(variable, variables, "environment: unknown variable", PREFIX)
            found[name] = Setting(read(name, text, f"environment: {variable}"), "variable", variable)
    return found | typed(options)


def typed(options: Mapping[str, Any]) -> dict[str, Setting]:
    """Read the options of the command line, by their fields; None or empty where not given."""
    assert not set(options) & set(SECRETS), "never from the command line"
    return {
        name: Setting(read(name, value, OPTIONS[name].flag), "command line", OPTIONS[name].flag)
        for name, value in options.items()
        if value is not None and value != ()
    }


def _checked(options: Mapping[str, Any], found: Mapping[str, Setting]) -> Config:
    """Make the configuration; ``ConfigError`` if its options do not go together."""
    config = Config(**{name: one.value for name, one in found.items()})
    for name, channels in NEEDS.items():
        if name == "rest_url" and config.audit is not None:
            continue
        # Variables and the file may serve several recordings; who types an option expects something of it.
        if options.get(name) is not None and not set(channels) & set(config.channels):
            flag = OPTIONS[name].flag
            sentence = (
                f"{flag} has no effect: {values.alternatives(channels)} is not recorded; add it to --channels or leave "
                f"{flag} out"
            )
            raise ConfigError(sentence)
    return config


def from_mapping(options: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> Config:
    """Options by their keys in ``krakpot.toml``, as a strategy gives them to the recorder beside it.

    Secrets come from the environment. ``ConfigError`` says what is wrong. No file is read, and no other variable.
    """
    allowed = {option.key: name for name, option in OPTIONS.items() if name not in SECRETS}
    found = {}
    for key, value in options.items():
        found[_known(key, allowed, f"{BESIDE}: unknown option")] = value
    found = {name: read_argument(name, value, f"{BESIDE}: {OPTIONS[name].key}") for name, value in found.items()}
    for name in SECRETS:
        variable = OPTIONS[name].variable
        if variable in environment:
            found[name] = read(name, environment[variable], f"environment: {variable}")
    try:
        return Config(**found)
    except ConfigError as error:
        raise ConfigError(f"{BESIDE}: {as_arguments(str(error))}") from None


def _known(name: object, known: Mapping[str, str], sentence: str, prefix: str = "") -> str:
    """Field of a name; ``ConfigError`` if there is none. All names begin with ``prefix``."""
    if not isinstance(name, str) or name not in known:
        rests = [one.removeprefix(prefix) for one in known]
        # The field of an option is not always its key: `duration` is `for`.
        close = [key for key, field in known.items() if field == name]
        close = close or [prefix + one for one in values.near(str(name).removeprefix(prefix), rests)]
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ConfigError(f"{sentence} {name!r}{hint}; allowed are {', '.join(sorted(known))}")
    return known[name]


def _file(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Keys and values of a TOML file, which others must not read if it has a secret; and the lines of its keys."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read().decode()
        found = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; --config names a TOML file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    secrets = [key for key in SECRETS if key in found]
    if secrets and mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{path}: {secrets[-1]} is for you alone, and others can read this file: chmod 600 {path}"
        raise ConfigError(sentence)
    return found, _lines(text, found)


def _lines(text: str, keys: Mapping[str, object]) -> dict[str, int]:
    """The lines, from 1, in which the top-level keys of a TOML text begin.

    The parser does not tell them. A key begins in a line if the text before is complete without it, and has it with
    the beginning of that line.
    """
    found: dict[str, int] = {}
    lines = text.splitlines()
    for n, line in enumerate(lines):
        start = line.lstrip()
        if not start.startswith("#") and any(key in line for key in keys if key not in found):
            begin = line if start.startswith("[") else f"{line.partition('=')[0]}= 0"
            with suppress(tomllib.TOMLDecodeError):
                for key in tomllib.loads("\n".join([*lines[:n], begin])):
                    found.setdefault(key, n + 1)
    return found

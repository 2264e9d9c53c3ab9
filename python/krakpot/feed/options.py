"""The options of a feed, checked: every wrong one is named with what is allowed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from krakpot import config, values
from krakpot.config import NEEDS, OPTIONS, PERMISSION, PREFIX, REST_URL, Config, from_mapping
from krakpot.errors import ConfigError
from krakpot.feed.selection import Selection
from krakpot.values import LEVEL3, is_loopback

PLACE = "krakpot.Feed"
"""Begins every sentence about a wrong option."""
DEPTH = 10
"""Price levels of a book, if nothing else is asked for: the depth that Kraken sends if nothing is asked of it."""
OPTIONAL = ("api_key", "api_secret", "level3_url")
"""Options that may be None."""
RECORDED = ("symbols", "exclude", "channels", "depth", "url", "plaintext")
"""Options that the recorder beside a feed takes over, unless ``record`` says otherwise."""

Channels = Sequence[str] | Mapping[str, Sequence[str]]
Record = str | PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class FeedOptions:
    """What a feed is to do."""

    config: Config
    """What its connections need to know."""
    channels: Mapping[str, tuple[str, ...]]
    """Patterns of symbols by channel."""
    connect_timeout: float
    """Seconds to wait for the first connection and the pairs."""
    record: Mapping[str, Any] | None
    """Options of the recorder beside the feed, by their keys in ``krakpot.toml``; None: no recorder."""

    def selection(self) -> Selection:
        """The symbols of each channel, as they are at the begin."""
        return Selection(self.channels, self.config.exclude)


def read(
    symbols: Sequence[str] | None, channels: Channels, record: Record | None, connect_timeout: float, **others: object
) -> FeedOptions:
    """Check the options of ``Feed``; ``others`` go by the names of ``krakpot.Config``.

    ``ConfigError`` says which one is wrong, and what is allowed.
    """
    by_channel = _channels(symbols, channels)
    found = {name: _read(name, value) for name, value in others.items() if value is not None or name not in OPTIONAL}
    found["channels"] = tuple(by_channel)
    found["symbols"] = tuple(dict.fromkeys(pattern for patterns in by_channel.values() for pattern in patterns))
    for name, default in {"depth": DEPTH, "interval": Config.interval, "level3_depth": Config.level3_depth}.items():
        if found.get(name, default) != default and not set(NEEDS[name]) & set(by_channel):
            sentence = (
                f"{PLACE}: {name} has no effect: {values.alternatives(NEEDS[name])} is not subscribed; add it to "
                f"channels or leave {name} out"
            )
            raise ConfigError(sentence)
    seconds = values.read(values.seconds, connect_timeout, f"{PLACE}: connect_timeout")
    if LEVEL3 in by_channel:
        _level3(found)
    try:
        checked = Config(**found)
    except ConfigError as error:
        raise ConfigError(f"{PLACE}: {config.as_arguments(str(error))}") from None
    return FeedOptions(checked, by_channel, seconds, None if record is None else _record(record, checked))


def _record(record: Record, checked: Config) -> dict[str, Any]:
    """Options of the recorder beside the feed; those that ``record`` does not have are the feed's."""
    if not isinstance(record, (str, PathLike, Mapping)):
        sentence = (
            f"{PLACE}: record: {values.shown(record)} is not allowed; allowed is the folder of a lake, or options by "
            "their names in krakpot.toml"
        )
        raise ConfigError(sentence)
    given = dict(record) if isinstance(record, Mapping) else {"out": fspath(record)}
    taken = {OPTIONS[name].key: getattr(checked, name) for name in RECORDED}
    from_mapping(taken | given)
    return taken | given


def _read(name: str, value: object) -> Any:  # noqa: ANN401  # what an option is read to depends on its name
    return config.read_argument(name, value, f"{PLACE}: {name}")


def _channels(symbols: Sequence[str] | None, channels: Channels) -> dict[str, tuple[str, ...]]:
    """Patterns by channel."""
    if isinstance(channels, Mapping):
        if symbols is not None:
            sentence = f"{PLACE}: symbols and a mapping of channels were given; put the symbols into the mapping"
            raise ConfigError(sentence)
        _read("channels", list(channels))
        return {name: config.read("symbols", value, f"{PLACE}: channels: {name}") for name, value in channels.items()}
    names = _read("channels", channels)
    if symbols is None:
        sentence = f"{PLACE}: symbols: none were given; allowed are one or more patterns, as BTC/USD, ETH/* or *"
        raise ConfigError(sentence)
    patterns = _read("symbols", symbols)
    return dict.fromkeys(names, patterns)


def _level3(found: dict[str, Any]) -> None:
    """Complete what level 3 needs: key, secret and addresses. ``ConfigError`` if something is missing."""
    for name in ("api_key", "api_secret"):
        variable = PREFIX + name.upper()
        if name not in found and variable in os.environ:
            found[name] = config.read(name, os.environ[variable], f"environment: {variable}")
    missing = [name for name in ("api_key", "api_secret") if not found.get(name)]
    if missing:
        variables = " and ".join(PREFIX + name.upper() for name in missing)
        sentence = (
            f"{PLACE}: level3 needs an API key of a Kraken account, with {PERMISSION} and no other: give "
            f"{' and '.join(missing)}, or set {variables}"
        )
        raise ConfigError(sentence)
    if is_loopback(found["url"]) and found.get("rest_url", REST_URL) == REST_URL:
        # A key of Kraken's is for Kraken; this is another exchange.
        sentence = f"{PLACE}: level3 of {found['url']} needs a token from there: give rest_url"
        raise ConfigError(sentence)

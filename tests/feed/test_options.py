"""Options of a feed: each wrong one is named, with what is allowed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from krakpot.errors import ConfigError
from krakpot.feed import options
from krakpot.feed.options import FeedOptions

URL = "wss://ws.kraken.com/v2"
KEYS = {"api_key": "key", "api_secret": "c2VjcmV0"}


def read(symbols: Any = ("BTC/USD",), channels: Any = ("book",), record: Any = None, **others: Any) -> FeedOptions:
    """Options as ``Feed`` hands them over."""
    timeout = others.pop("connect_timeout", 30.0)
    return options.read(symbols, channels, record, timeout, **({"url": URL} | others))


def test_channels_share_symbols_or_have_their_own() -> None:
    """A list of channels, or a mapping from channel to patterns."""
    assert read(["BTC/USD", "ETH/*"], ["book", "trade"]).channels == {
        "book": ("BTC/USD", "ETH/*"), "trade": ("BTC/USD", "ETH/*")
    }  # fmt: skip
    found = read(None, {"book": ["*"], "level3": "BTC/USD"}, **KEYS)
    assert found.channels == {"book": ("*",), "level3": ("BTC/USD",)}
    assert found.config.channels == ("book", "level3")
    assert found.config.symbols == ("*", "BTC/USD")
    assert found.selection().symbols(["BTC/USD", "ETH/USD"], ["level3"]) == ["BTC/USD"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"depth": 11}, "krakpot.Feed: depth: 11 is not allowed; allowed is one of 10, 25"),
        ({"channels": ["books"]}, "krakpot.Feed: channels: .* allowed is one or more of book"),
        ({"symbols": None, "channels": {"books": ["*"]}}, "krakpot.Feed: channels: .* allowed is one or more of book"),
        ({"symbols": None, "channels": {"book": []}}, "krakpot.Feed: channels: book: .* one or more patterns"),
        ({"channels": {"book": ["*"]}}, "symbols and a mapping of channels were given; put the symbols into the map"),
        ({"symbols": None}, "krakpot.Feed: symbols: none were given; allowed are one or more patterns, as BTC/USD"),
        ({"symbols": [1]}, "krakpot.Feed: symbols: .* is not allowed"),
        ({"url": "ws://ws.kraken.com/v2"}, "krakpot.Feed: url: .* a wss:// address"),
        ({"url": "ws://ws.kraken.com/v2"}, "krakpot.Feed: url: .* or plaintext=True$"),
        ({"url": "ftp://ws.kraken.com/v2"}, "krakpot.Feed: url: .* or with plaintext=True"),
        ({"record": {"out": "x", "metrics": "0.0.0.0:9100"}}, "krakpot.Feed: record: metrics: .* needs a token"),
        ({"connect_timeout": 0}, "krakpot.Feed: connect_timeout: 0 is not allowed; allowed is a number of seconds ab"),
        ({"connect_timeout": "1s"}, "krakpot.Feed: connect_timeout: '1s' is not allowed"),
        ({"connect_timeout": math.nan}, "connect_timeout: nan is not allowed"),
        ({"connect_timeout": math.inf}, "connect_timeout: inf is not allowed"),
        ({"connect_timeout": True}, "connect_timeout: True is not allowed"),
        ({"connect_timeout": 10**400}, "connect_timeout: 1000"),
        ({"url": None}, "krakpot.Feed: url: None is not allowed"),
        ({"depth": None}, "krakpot.Feed: depth: None is not allowed"),
        ({"exclude": None}, "krakpot.Feed: exclude: None is not allowed"),
        ({"record": 3}, "krakpot.Feed: record: 3 is not allowed; allowed is the folder of a lake, or options by their"),
        ({"record": b"lake"}, "krakpot.Feed: record: b'lake' is not allowed"),
        ({"record": ""}, "krakpot.Feed: record: out: '' is not allowed; allowed is the name of a folder"),
        ({"record": {"out": "x", "dept": 10}}, "krakpot.Feed: record: unknown option 'dept' .did you mean depth"),
        ({"record": {"duration": 60}}, "krakpot.Feed: record: unknown option 'duration' .did you mean for"),
        ({"record": {"for": "soon"}}, "krakpot.Feed: record: for: 'soon' is not allowed; allowed is a duration as"),
        ({"record": {7: 8}}, "krakpot.Feed: record: unknown option 7; allowed are"),
        ({"record": {"channels": ["level3"]}}, "krakpot.Feed: record: level3 needs an API key"),
        ({"channels": ["level3"]}, "level3 needs an API key .* give api_key and api_secret, or set KRAKPOT_API_KEY"),
        ({"channels": ["level3"], "api_key": "key"}, "give api_secret, or set KRAKPOT_API_SECRET"),
        ({"channels": ["level3"], "api_secret": "§"}, "krakpot.Feed: api_secret: .* in base64"),
        ({"channels": ["level3"], "level3_depth": 25} | KEYS, "krakpot.Feed: level3_depth: 25 .* one of 10, 100, 1000"),
        ({"channels": ["level3"], "url": "ws://127.0.0.1:9/v2"} | KEYS, "needs a token from there: give rest_url"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(given: dict[str, Any], words: str) -> None:
    """With their place and what is allowed, as arguments, not as flags of a command; a secret is never shown."""
    with pytest.raises(ConfigError, match=words) as caught:
        read(**given)
    assert "§" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is given; and only where level 3 needs it."""
    monkeypatch.setenv("KRAKPOT_API_KEY", "of the environment")
    with pytest.raises(ConfigError, match="environment: KRAKPOT_API_KEY"):
        read(channels=["level3"], api_secret=KEYS["api_secret"])
    assert read(channels=["book"]).config.api_key == ""
    monkeypatch.setenv("KRAKPOT_API_KEY", "environment")
    assert read(channels=["level3"], api_secret=KEYS["api_secret"]).config.api_key == "environment"
    assert read(channels=["level3"], **KEYS).config.api_key == "key"


def test_level3_of_the_built_in_exchange_is_found() -> None:
    """Its address follows from the public one."""
    found = read(channels=["level3"], url="ws://127.0.0.1:9/v2", rest_url="http://127.0.0.1:8", **KEYS)
    assert found.config.level3_url == "ws://127.0.0.1:9/level3/v2"
    assert read(channels=["level3"], **KEYS).config.level3_url == "wss://ws-l3.kraken.com/v2"


def test_the_recorder_beside_takes_the_feed_s_options(tmp_path: Path) -> None:
    """Unless ``record`` has its own; a folder alone is enough."""
    assert read(depth=25).record is None
    alone = read(depth=25, record=tmp_path).record
    assert alone is not None
    assert (alone["out"], alone["depth"], alone["symbols"]) == (str(tmp_path), 25, ("BTC/USD",))
    assert "for" not in alone
    assert read(record={"for": "10m"}).record is not None
    own = read(depth=25, record={"out": "lake", "depth": 1000}).record
    assert own is not None
    assert (own["out"], own["depth"], own["channels"]) == ("lake", 1000, ("book",))

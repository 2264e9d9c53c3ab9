"""Options: command line over environment over file over defaults; what is wrong is named with its place and what is
allowed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from krakpot import config
from krakpot.config import Config, duration, load
from krakpot.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without krakpot.toml to start in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults() -> None:
    """Without any source."""
    assert load({}, environment={}) == Config()
    assert Config().channels == ("book", "trade", "ticker")
    assert (Config().depth, Config().symbols, Config().url) == (100, ("*",), "wss://ws.kraken.com/v2")


def test_the_order_of_the_sources(folder: Path) -> None:
    """Each source wins over the ones below it, option by option."""
    (folder / "krakpot.toml").write_text('depth = 10\nfor = "1h"\nsymbols = ["A/B"]\nraw = true\nout = "from-file"\n')
    environment = {
        "KRAKPOT_DEPTH": "25",
        "KRAKPOT_FOR": "2h",
        "KRAKPOT_SYMBOLS": "C/D,E/*",
        "PATH": "/bin",
        "KRAKPOT_DEBUG": "1",
    }
    options = {"depth": "500", "duration": None, "symbols": None, "precision": ()}
    found = load(options, environment=environment)
    assert (found.depth, found.duration, found.symbols) == (500, 7200.0, ("C/D", "E/*"))
    assert (found.raw, found.out) == (True, Path("from-file"))
    assert load({}, environment={}).depth == 10
    other = folder / "other.toml"
    other.write_text("depth = 1000\n")
    assert load({}, file=other, environment={}) == Config(depth=1000), "a named file stands instead of krakpot.toml"


def test_every_option_has_a_reader_and_can_come_from_everywhere(folder: Path) -> None:
    """The guard: no field of ``Config`` is forgotten in any source."""
    texts: dict[str, tuple[str, str, Any]] = {
        "out": ('"x"', "x", Path("x")), "symbols": ('["A/B"]', "A/B", ("A/B",)),
        "exclude": ('"A/B, C/D"', "A/B,C/D", ("A/B", "C/D")),
        "channels": ('["book", "ohlc"]', "book,ohlc", ("book", "ohlc")), "depth": ("25", "25", 25),
        "interval": ("60", "60", 60),
        "tokenised": ("true", "yes", True), "raw": ("true", "1", True), "duration": ('"90s"', "1m30s", 90.0),
        "url": ('"ws://127.0.0.1:1/v2"', "ws://127.0.0.1:1/v2", "ws://127.0.0.1:1/v2"),
        "seal_interval": ("30", "30s", 30.0), "keep": ('"30d"', "30d", 2_592_000.0),
        "min_free": ("5000000000", "5GB", 5_000_000_000),
        "precision": ('{"A/B" = [1, 8]}', "A/B=1,8", {"A/B": (1, 8)}),
    }  # fmt: skip
    assert set(texts) == set(config.READERS) == set(Config.__dataclass_fields__)
    for field, (toml, text, value) in texts.items():
        key = config.NAMES.get(field, field)
        (folder / "krakpot.toml").write_text(f"{key} = {toml}\n")
        assert getattr(load({}, environment={}), field) == value
        (folder / "krakpot.toml").unlink()
        assert getattr(load({}, environment={f"KRAKPOT_{key.upper()}": text}), field) == value
        assert getattr(load({field: text}, environment={}), field) == value


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("depht = 10", "krakpot.toml: unknown key 'depht'; allowed are channels, depth, exclude, for, interval, keep"),
        ("depth = 11", "krakpot.toml: depth: 11 is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
        ("depth = true", "krakpot.toml: depth: True is not allowed; allowed is one of 10"),
        ("depth = 10.0", "krakpot.toml: depth: 10.0 is not allowed"),
        (
            'channels = ["book", "books"]',
            "krakpot.toml: channels: .* is not allowed; allowed is one or more of book, trade, ticker, ohlc",
        ),
        ("channels = []", "krakpot.toml: channels: .* allowed is one or more of"),
        ("symbols = 7", "krakpot.toml: symbols: 7 is not allowed"),
        ("symbols = [7]", r"krakpot.toml: symbols: \[7\] is not allowed; allowed is a list of words"),
        ("symbols = []", "krakpot.toml: symbols: .* is not allowed"),
        (
            'for = "soon"',
            "krakpot.toml: for: 'soon' is not allowed; allowed is a duration as 30s, 10m, 1h, 2d or 1h30m",
        ),
        ('for = "0s"', "allowed is a duration above zero"),
        ('keep = "1h"', "krakpot.toml: keep: '1h' is not allowed; allowed is a duration of at least a day, as 30d"),
        ('keep = "for ever"', "allowed is a duration of at least a day"),
        ('min_free = "5 GiB"', "krakpot.toml: min_free: '5 GiB' is not allowed; allowed is a size as 500MB, 5GB"),
        ('raw = "perhaps"', "krakpot.toml: raw: 'perhaps' is not allowed; allowed is true or false"),
        ('url = "ws://ws.kraken.com/v2"', "allowed is a wss:// address"),
        ('url = "https://kraken.com"', "allowed is a wss:// address"),
        ('url = "wss://host:port"', "krakpot.toml: url: .* is not allowed"),
        ('url = "wss://[::1"', "krakpot.toml: url: .* is not allowed"),
        ('precision = "BTCUSD=1,8"', "allowed is SYMBOL=PRICE,QTY with decimals from 0 to 10"),
        ('precision = {"A/B" = 5}', "krakpot.toml: precision: .* is not allowed; allowed is SYMBOL=PRICE,QTY"),
        ('precision = {"A/B" = [1, 11]}', "krakpot.toml: precision: .* is not allowed"),
        ("precision = 5", "krakpot.toml: precision: 5 is not allowed; allowed is SYMBOL=PRICE,QTY"),
        ("depth = ", "krakpot.toml: cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_named(folder: Path, toml: str, sentence: str) -> None:
    """Place, value, and what is allowed, in one line."""
    (folder / "krakpot.toml").write_text(toml + "\n")
    with pytest.raises(ConfigError, match=sentence) as caught:
        load({}, environment={})
    assert "\n" not in str(caught.value).rstrip()
    assert "object" not in str(caught.value), "people read this"


@pytest.mark.parametrize(
    ("environment", "options", "sentence"),
    [
        ({"KRAKPOT_DEPHT": "10"}, {}, "environment: unknown variable KRAKPOT_DEPHT; allowed are .*KRAKPOT_DEPTH"),
        ({"KRAKPOT_DEPTH": "deep"}, {}, "environment: KRAKPOT_DEPTH: 'deep' is not allowed; allowed is one of 10"),
        ({}, {"depth": "11"}, "--depth: '11' is not allowed; allowed is one of 10"),
        ({}, {"duration": "-5s"}, "--for: '-5s' is not allowed; allowed is a duration"),
        ({}, {"seal_interval": "x"}, "--seal-interval: 'x' is not allowed"),
        ({}, {"precision": ("BTC/USD=1",)}, "--precision: .* is not allowed; allowed is SYMBOL=PRICE,QTY"),
        ({}, {"precision": ("BTC/USD=²,8",)}, "--precision: .* is not allowed; allowed is SYMBOL=PRICE,QTY"),
    ],
)
def test_a_wrong_variable_or_option_is_named(
    environment: dict[str, str], options: dict[str, Any], sentence: str
) -> None:
    """The place is what the person wrote."""
    with pytest.raises(ConfigError, match=sentence):
        load(options, environment=environment)


def test_files_that_cannot_be_read(folder: Path) -> None:
    """Missing, a folder, or not UTF-8: a sentence that begins with the path."""
    with pytest.raises(ConfigError, match="there is no such file; --config names a TOML file"):
        load({}, file=folder / "none.toml", environment={})
    with pytest.raises(ConfigError, match=re.escape(f"{folder}: cannot be read as TOML")):
        load({}, file=folder, environment={})
    (folder / "latin.toml").write_bytes(b'out = "\xe4"')
    with pytest.raises(ConfigError, match="latin.toml: cannot be read as TOML"):
        load({}, file=folder / "latin.toml", environment={})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h", 3600),
        ("2d", 172800),
        ("1h30m", 5400),
        ("1.5m", 90),
        ("90", 90),
        (90, 90),
        (" 5s ", 5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """As people write them."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1w", "1h 30m", "1e3", "inf", "nan", "-1s", "0", "0s", "1,5m", "1h-1m"])
def test_what_is_no_duration(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="duration"):
        duration(text)

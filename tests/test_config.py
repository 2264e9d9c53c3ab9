"""Options: command line over environment over file over defaults; an error names the place of a wrong value and what is
allowed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from krakpot import config, values
from krakpot.config import OPTIONS, Config, from_mapping, load
from krakpot.errors import ConfigError

KEY = "aKeyThatNobodyHas+/0123456789"
SECRET = base64.b64encode(b"a secret that nobody has").decode()
LEVEL3 = {"KRAKPOT_CHANNELS": "book,level3", "KRAKPOT_API_KEY": KEY, "KRAKPOT_API_SECRET": SECRET}


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
        "channels": ('["book", "ohlc"]', "book,ohlc", ("book", "ohlc")),
        "channel_symbols":
            ('{trade = ["A/B", "C/*"]}', "trade=A/B,C/*", {"trade": ("A/B", "C/*")}),
        "depth": ("25", "25", 25),
        "interval": ("60", "60", 60),
        "tokenised": ("true", "yes", True), "raw": ("true", "1", True), "duration": ('"90s"', "1m30s", 90.0),
        "plaintext": ("true", "yes", True), "url": ('"ws://127.0.0.1:1/v2"', "ws://127.0.0.1:1/v2", "ws://127.0.0.1:1/v2"),
        "seal_interval": ("30", "30s", 30.0), "keep": ('"30d"', "30d", 2_592_000.0),
        "min_free": ("5000000000", "5GB", 5_000_000_000),
        "precision": ('{"A/B" = [1, 8]}', "A/B=1,8", {"A/B": (1, 8)}),
        "symbols_per_connection": ("50", "50", 50), "redundant": ('"A/B"', "A/B", ("A/B",)),
        "when_slow": ('"fail"', "fail", "fail"),
        "level3_depth": ("1000", "1000", 1000), "level3_rate": ("500", "500", 500),
        "level3_url": ('"ws://[::1]:1/x"', "ws://[::1]:1/x", "ws://[::1]:1/x"),
        "rest_url": ('"http://localhost:1"', "http://localhost:1", "http://localhost:1"),
        "audit": ('"10m"', "10m", 600.0),
        "api_key": (f'"{KEY}"', KEY, KEY), "api_secret": (f'"{SECRET}"', SECRET, SECRET),
        "metrics": ('"[::1]:9100"', "[::1]:9100", ("::1", 9100)), "metrics_token": (f'"{KEY}"', KEY, KEY),
        "alert": ('["mail -s x me"]', "mail -s x me", ("mail -s x me",)),
        "log_format": ('"json"', "json", "json"), "log_level": ('"warning"', "warning", "warning"),
    }  # fmt: skip
    assert set(texts) == set(config.OPTIONS) == set(Config.__dataclass_fields__)
    for field, (toml, text, value) in texts.items():
        key = config.OPTIONS[field].key
        (folder / "krakpot.toml").touch(0o600)
        (folder / "krakpot.toml").write_text(f"{key} = {toml}\n")
        assert getattr(load({}, environment={}), field) == value
        (folder / "krakpot.toml").unlink()
        assert getattr(load({}, environment={f"KRAKPOT_{key.upper()}": text}), field) == value
        if field not in config.SECRETS:
            # On the command line an option that has no effect is refused.
            needed = {
                "KRAKPOT_CHANNELS": config.NEEDS.get(field, ("book",))[0],
                "KRAKPOT_API_KEY": KEY,
                "KRAKPOT_API_SECRET": SECRET,
            }
            environment = needed if field in config.NEEDS else {}
            assert getattr(load({field: text}, environment=environment), field) == value


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (
            "depht = 10",
            r"krakpot.toml: unknown key 'depht' \(did you mean depth\?\); allowed are alert, api_key, api_secret, au",
        ),
        ("depth = 11", "krakpot.toml: depth: 11 is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
        ("depth = true", "krakpot.toml: depth: True is not allowed; allowed is one of 10"),
        ("depth = 10.0", "krakpot.toml: depth: 10.0 is not allowed"),
        (
            'channels = ["book", "books"]',
            "krakpot.toml: channels: .* is not allowed; allowed is one or more of book, trade, ticker, ohlc, level3",
        ),
        ("symbols_per_connection = 49", "symbols_per_connection: 49 is not allowed; allowed is a whole number from 50"),
        ('when_slow = "drop"', "when_slow: 'drop' is not allowed; allowed is one of wait, fail"),
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
        ('url = "ws://ws.kraken.com/v2"', "url: 'ws://ws.kraken.com/v2' is not allowed: in plain text .* --plaintext"),
        (
            'level3_url = "ws://ws.kraken.com/v2"\nplaintext = true',
            r"level3_url: .* a wss:// address \(ws:// only on this",
        ),
        ('url = "https://kraken.com"', "allowed is a wss:// address"),
        ('url = "wss://host:port"', "krakpot.toml: url: .* is not allowed"),
        ('url = "wss://a..b/v2"', "krakpot.toml: url: .* is not allowed"),
        (f'url = "wss://{"a" * 64}.com/v2"', "krakpot.toml: url: .* is not allowed"),
        ('url = "wss://ex ample/v2"', "krakpot.toml: url: .* is not allowed"),
        ('url = "wss://example/v2 HTTP/1.1"', "krakpot.toml: url: .* is not allowed"),
        ('rest_url = "https://example/a\\u0000"', "krakpot.toml: rest_url: .* is not allowed"),
        ('url = "wss://[::1"', "krakpot.toml: url: .* is not allowed"),
        ('precision = "BTCUSD=1,8"', "allowed is SYMBOL=PRICE,QTY with decimals from 0 to 10"),
        ('precision = {"A/B" = 5}', "krakpot.toml: precision: .* is not allowed; allowed is SYMBOL=PRICE,QTY"),
        ('precision = {"A/B" = [1, 11]}', "krakpot.toml: precision: .* is not allowed"),
        ("precision = 5", "krakpot.toml: precision: 5 is not allowed; allowed is SYMBOL=PRICE,QTY"),
        ("level3_depth = 25", "krakpot.toml: level3_depth: 25 is not allowed; allowed is one of 10, 100, 1000"),
        ("level3_rate = 99", "allowed is a whole number from 100 to 100000: 200 for a standard account, 500 for a pro"),
        ("level3_rate = 200.0", "krakpot.toml: level3_rate: 200.0 is not allowed"),
        ('level3_url = "https://kraken.com"', "krakpot.toml: level3_url: .* allowed is a wss:// address"),
        ('rest_url = "http://api.kraken.com"', r"allowed is a https:// address \(http:// only on this machine"),
        ('rest_url = "wss://api.kraken.com"', "krakpot.toml: rest_url: .* is not allowed"),
        ('metrics = "host"', "allowed is PORT or HOST:PORT, as 9100, 0.0.0.0:9100 or"),
        ("metrics = 65536", "krakpot.toml: metrics: 65536 is not allowed"),
        ('log_format = "xml"', "krakpot.toml: log_format: 'xml' is not allowed; allowed is one of text, json"),
        ("log_level = 1", "allowed is one of info, warning, error"),
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


def test_a_second_source_needs_public_channels() -> None:
    """Level 3 is not recorded twice."""
    with pytest.raises(ConfigError, match="only public channels can be recorded twice, and none is recorded"):
        Config(channels=("level3",), redundant=("BTC/USD",), api_key=KEY, api_secret=SECRET)


@pytest.mark.parametrize(
    ("environment", "options", "sentence"),
    [
        ({"KRAKPOT_DEPHT": "10"}, {}, "environment: unknown variable 'KRAKPOT_DEPHT' .*; allowed are .*KRAKPOT_DEPTH"),
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


def test_no_password_stands_in_an_address() -> None:
    """Addresses are shown and stored in the ledger: one with a password is refused, without showing the password."""
    for key, value in (("url", "wss://me:pass@ws.kraken.com/v2"), ("rest_url", "https://me:pass@api.kraken.com")):
        with pytest.raises(ConfigError, match="without a name or password") as caught:
            load({key: value}, environment={})
        assert "pass@" not in str(caught.value)
        assert "//…@" in str(caught.value)


def test_plain_text_elsewhere_is_for_who_asks(folder: Path) -> None:
    """``ws://`` to another machine needs ``plaintext``, from any source; a key is never sent there."""
    url = "ws://10.0.0.1:8080/v2"
    with pytest.raises(ConfigError, match="in plain text to another machine"):
        Config(url=url)
    assert load({"url": url, "plaintext": True}, environment={}).url == url
    (folder / "krakpot.toml").write_text("plaintext = true\n")
    assert load({"url": url}, environment={}).url == url
    keys = {"KRAKPOT_API_KEY": KEY, "KRAKPOT_API_SECRET": SECRET}
    with pytest.raises(ConfigError, match="needs a token from there: give --rest-url"):
        load({"url": url, "channels": "level3"}, environment=keys)
    for name, address in (("rest_url", "http://10.0.0.1"), ("level3_url", url)):
        with pytest.raises(ConfigError, match="only on this machine"):
            load({"url": url, "channels": "level3", name: address}, environment=keys)


def test_level3_wants_a_key_pair() -> None:
    """What is missing is named, with the permission that the key needs; where it is there, Kraken's places are used."""
    with pytest.raises(ConfigError, match="set KRAKPOT_API_KEY and KRAKPOT_API_SECRET") as caught:
        load({"channels": "level3"}, environment={})
    assert 'with the permission "WebSocket interface - On" and no other' in str(caught.value)
    with pytest.raises(ConfigError, match="set KRAKPOT_API_SECRET ") as caught:
        load({"channels": "level3"}, environment={"KRAKPOT_API_KEY": KEY})
    assert KEY not in str(caught.value)
    found = load({}, environment=LEVEL3)
    assert (found.channels, found.level3_depth, found.level3_rate) == (("book", "level3"), 100, 200)
    assert (found.level3_url, found.rest_url) == ("wss://ws-l3.kraken.com/v2", "https://api.kraken.com")


def test_level3_of_an_exchange_on_this_machine() -> None:
    """The address is that of the built-in exchange, unless it is given; the key of Kraken is never sent to Kraken for
    an exchange here, so the place of the tokens must be given.
    """
    here = {"url": "ws://127.0.0.1:8080/v2"}
    with pytest.raises(ConfigError, match="level3 of ws://127.0.0.1:8080/v2 needs a token from there: give --rest-url"):
        load(here, environment=LEVEL3)
    here["rest_url"] = "http://127.0.0.1:8081"
    assert load(here, environment=LEVEL3).level3_url == "ws://127.0.0.1:8080/level3/v2"
    assert load({"url": "ws://[::1]:9/v2"}, environment={}).level3_url == "ws://[::1]:9/level3/v2"
    assert load(here | {"level3_url": "ws://localhost:1/v2"}, environment=LEVEL3).level3_url == "ws://localhost:1/v2"


def test_secrets_are_shown_to_nobody(folder: Path) -> None:
    """Neither key nor secret is in a ``repr`` or an error; they cannot come from the command line."""
    found = load({}, environment=LEVEL3)
    assert (found.api_key, found.api_secret) == (KEY, SECRET)
    assert KEY not in repr(found)
    assert SECRET not in repr(found)
    for name, text, words in (
        ("KRAKPOT_API_SECRET", SECRET[:-1], "an API secret as Kraken shows it, in base64"),
        ("KRAKPOT_API_SECRET", "", "an API secret"),
        ("KRAKPOT_API_KEY", KEY + " x", "an API key as Kraken shows it"),
        ("KRAKPOT_API_KEY", KEY + "\r\nX: y", "an API key"),
    ):
        with pytest.raises(ConfigError, match=f"environment: {name}: the value is not allowed; .*{words}") as e:
            load({}, environment=LEVEL3 | {name: text})
        assert KEY not in str(e.value)
        assert SECRET[:-1] not in str(e.value)
    for name in config.SECRETS:
        with pytest.raises(AssertionError, match="never from the command line"):
            load({name: SECRET}, environment={})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o601])
def test_a_file_with_a_secret_is_for_its_owner_alone(folder: Path, mode: int) -> None:
    """A file that others may read or change is refused, with the cure; without a secret anybody may read it."""
    file = folder / "krakpot.toml"
    file.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    file.chmod(mode)
    with pytest.raises(ConfigError, match="krakpot.toml: api_secret is for you alone, .*: chmod 600 krakpot.toml") as e:
        load({}, environment={})
    assert SECRET not in str(e.value)
    file.chmod(0o600)
    assert load({}, environment={}).api_secret == SECRET
    file.write_text("depth = 10\n")
    file.chmod(mode | 0o044)
    assert load({}, environment={}).depth == 10


ROOT = Path(__file__).resolve().parent.parent


def test_the_page_lists_the_options() -> None:
    """The table in docs/recording.md is that of ``Config``: names, defaults and meanings, in the same order."""
    page = (ROOT / "docs/recording.md").read_text()
    head = "| option | variable | key in `krakpot.toml` | default | meaning |\n| --- | --- | --- | --- | --- |\n"
    rows = [
        f"| {'none' if one.secret else f'`{one.flag}`'} | `{one.variable}` | `{one.key}` | {one.default} | {one.help} |"
        for one in OPTIONS.values()
    ]
    shown = page.partition(head)[2].partition("\n\n")[0].splitlines()
    assert len(rows) > 25
    assert shown == rows


def test_a_config_says_its_options() -> None:
    """``help(krakpot.Config)`` names every option with its meaning, and so does ``krakpot record --help``."""
    assert Config.__doc__ is not None
    for name, option in OPTIONS.items():
        assert f"{name} : {option.help} Default: {option.default}." in Config.__doc__
        assert option.help.endswith(".")
        assert not option.default.endswith(".")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth": 11}, "depth: 11 is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
        ({"depth": None}, "depth: None is not allowed"), ({"depth": [10]}, "depth: .* is not allowed"),
        ({"symbols": 7}, "symbols: 7 is not allowed"), ({"symbols": ()}, "symbols: .* allowed is one or more patterns"),
        ({"channels": ["books"]}, "channels: .* is not allowed"), ({"duration": -1}, "duration: -1 is not allowed"),
        ({"duration": 0}, "duration: 0 is not allowed"), ({"duration": float("nan")}, "duration: nan is not allowed"),
        ({"seal_interval": None}, "seal_interval: None is not allowed"), ({"out": ""}, "out: '' is not allowed"),
        ({"out": "a\0b"}, "out: .* is not allowed; allowed is the name of a folder"),
        ({"url": "http://x"}, "url: 'http://x' is not allowed"),
        ({"metrics": 9100.5}, "metrics: 9100.5 is not allowed"),
        ({"min_free": -1}, "min_free: -1 is not allowed"),
        ({"keep": 60}, "keep: 60 is not allowed; allowed is a duration"),
        ({"precision": {"A/B": (1, 99)}}, "precision: .* is not allowed"), ({"raw": "maybe"}, "raw: 'maybe' is not"),
        ({"api_key": "a b"}, "api_key: the value is not allowed"),
        ({"log_level": "debug"}, "log_level: 'debug' is not"),
        ({"symbols_per_connection": 1}, "symbols_per_connection: 1 is not allowed"),
        ({"symbols": "x" * 1000 + "\n"}, None), ({"depth": "x" * 1000}, "depth: 'x{79}… is not allowed"),
        ({"channel_symbols": {"books": ["*"]}}, "channel_symbols: .* allowed is CHANNEL=PATTERNS"),
        ({"channel_symbols": {"book": []}}, "channel_symbols: .* allowed is CHANNEL=PATTERNS"),
        ({"channel_symbols": ["book"]}, "channel_symbols: .* allowed is CHANNEL=PATTERNS"),
        ({"channel_symbols": {"ohlc": ["*"]}},
         "channel_symbols: ohlc is not recorded; add it to channels, which are book, trade, ticker"),
    ],
)  # fmt: skip
def test_a_config_checks_itself(options: dict[str, Any], sentence: str | None) -> None:
    """Arguments from Python are read like those of the command line: what is wrong is named, whatever its type."""
    if sentence is None:
        assert Config(**options)
    else:
        with pytest.raises(ConfigError, match=f"^{sentence}") as caught:
            Config(**options)
        assert "\n" not in str(caught.value)


def test_a_config_reads_what_it_is_given() -> None:
    """Text is as good as the value, and a config made of another one is the same."""
    text: dict[str, Any] = {"depth": "10", "symbols": "BTC/USD,ETH/*", "duration": "1m", "metrics": "9100", "out": "x"}
    found = Config(**text)
    assert (found.depth, found.symbols, found.duration) == (10, ("BTC/USD", "ETH/*"), 60.0)
    assert (found.metrics, found.out) == (("127.0.0.1", 9100), Path("x"))
    assert replace(found) == found


def test_symbols_of_one_channel(folder: Path) -> None:
    """A channel may have other pairs than the rest, whichever source says so."""
    five = ("BTC/USD", "ETH/*")
    from_line = load({"channel_symbols": ("ticker=BTC/USD", "ticker=ETH/*")}, environment={})
    from_variable = load({}, environment={"KRAKPOT_CHANNEL_SYMBOLS": "ticker=BTC/USD,ETH/* trade=*/EUR"})
    (folder / "krakpot.toml").write_text('[channel_symbols]\nticker = ["BTC/USD", "ETH/*"]\n')
    for found in (from_line, from_variable, load({}, environment={})):
        assert (found.symbols_of("ticker"), found.symbols_of("book")) == (five, ("*",))
    assert from_variable.symbols_of("trade") == ("*/EUR",)


def test_options_of_a_sidecar_come_from_nowhere_else(folder: Path) -> None:
    """Neither the folder's krakpot.toml nor the variables change what a strategy gave; only secrets are variables."""
    (folder / "krakpot.toml").write_text("depth = 1000\n")
    environment = LEVEL3 | {"KRAKPOT_DEPTH": "500"}
    found = from_mapping({"out": "lake", "channels": ["book", "level3"]}, environment=environment)
    assert (found.depth, found.api_key, found.api_secret) == (100, KEY, SECRET)
    for wrong in ({"dept": 10}, {"api_key": "key"}):
        with pytest.raises(
            ConfigError, match=f"krakpot.Feed: record: unknown option '{next(iter(wrong))}'.*; allowed are alert, audit"
        ):
            from_mapping(wrong, environment={})
    with pytest.raises(ConfigError, match="krakpot.Feed: record: depth: 11 is not allowed"):
        from_mapping({"depth": 11}, environment={})
    # The names are those of krakpot.toml.
    assert from_mapping({"for": "10m"}, environment={}).duration == 600.0
    with pytest.raises(ConfigError, match=r"unknown option 'duration' \(did you mean for\?\)"):
        from_mapping({"duration": 600}, environment={})
    with pytest.raises(ConfigError, match="unknown option 7; allowed are"):
        from_mapping({7: 600}, environment={})  # type: ignore[dict-item]  # what is refused
    # What does not go together has the same beginning.
    with pytest.raises(ConfigError, match="^krakpot.Feed: record: channel_symbols: ohlc is not recorded"):
        from_mapping({"channel_symbols": {"ohlc": "*"}}, environment={})


def test_names_that_are_nearly_right() -> None:
    """A key or variable with a typing error gets the right one suggested."""
    with pytest.raises(
        ConfigError, match=r"KRAKPOT_DEPHT' \(did you mean KRAKPOT_DEPTH.*\?\); allowed are KRAKPOT_ALERT, KRAKPOT_API"
    ):
        load({}, environment={"KRAKPOT_DEPHT": "10"})


def test_every_reader_is_one_of_values() -> None:
    """Readers have one home."""
    assert {option.read.__module__ for option in OPTIONS.values()} == {values.__name__}

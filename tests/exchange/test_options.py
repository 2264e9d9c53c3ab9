"""Options of the built-in exchange: what is read, and one plain sentence for everything that is not allowed."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange import options
from krakpot.exchange.options import Options, Pace

TIMEOUT = 60


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.5", 0.5), ("max", None)])
def test_speed(text: str, value: float | None) -> None:
    """A number, or max."""
    assert options.speed(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1e9", "nan"])
def test_speed_refused(text: str) -> None:
    """The sentence names what is allowed."""
    with pytest.raises(ValueError, match="above 0"):
        options.speed(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5ms", 5_000_000), ("250us", 250_000), ("1.5s", 1_500_000_000), ("0", 0), ("3600s", 3600 * 10**9)],
)
def test_pause(text: str, value: int) -> None:
    """A time with its unit, or nothing, in ns."""
    assert options.pause(text) == value


@pytest.mark.parametrize("text", ["5", "-1ms", "ms", "3601s", "1m", "1e3ms", "nan"])
def test_pause_refused(text: str) -> None:
    """The sentence names what is allowed."""
    with pytest.raises(ValueError, match="5ms"):
        options.pause(text)


def test_key() -> None:
    """Both of key and secret, or neither; what is missing is named, and the secret never shown."""
    assert options.key(None, None) is None
    key = options.key("name", "c2VjcmV0")
    assert key is not None
    assert key.secret == b"secret"
    for name, secret, missing in (
        ("name", None, "KRAKPOT_API_SECRET"),
        (None, "c2VjcmV0", "KRAKPOT_API_KEY"),
    ):
        with pytest.raises(ConfigError, match=f"give both, by option or variable \\({missing}\\), or neither"):
            options.key(name, secret)
    with pytest.raises(ConfigError, match="--api-key is empty; give key and secret, or neither"):
        options.key("", "c2VjcmV0")
    with pytest.raises(ConfigError, match="--api-secret: this is not base64") as error:
        options.key("name", "no?base64")
    assert "no?base64" not in str(error.value)
    with pytest.raises(ConfigError, match="--api-key: 'a name' is not allowed; allowed is an API key"):
        options.key("a name", "c2VjcmV0")


def test_a_pace_as_the_core_takes_it() -> None:
    """Delay, jitter, conflation."""
    assert Pace(1, 2, 3).as_tuple == (1, 2, 3)
    _core.Exchange(pairs=1, book=Pace(1, 2, 3).as_tuple)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"port": 80808}, "port: 80808 is not allowed; allowed is a whole number from 0 (any free port) to 65535"),
        ({"port": -1}, "port: -1 is not allowed; allowed is a whole number from 0"),
        ({"rest_port": 65536}, "rest_port: 65536 is not allowed; allowed is a whole number from 0"),
        ({"host": ""}, "host: '' is not allowed; allowed is an address of this machine"),
        ({"pairs": 0}, "pairs: 0 is not allowed; allowed is a whole number from 1 to 1500"),
        ({"pairs": -5}, "pairs: -5 is not allowed; allowed is a whole number from 1 to 1500"),
        ({"pairs": 1501}, "pairs: 1501 is not allowed; allowed is a whole number from 1 to 1500"),
        ({"rate": 0.0}, "rate: 0.0 is not allowed; allowed is a number from 0.001 to 1,000,000,000"),
        ({"rate": 1.1e9}, "rate: 1100000000.0 is not allowed"),
        ({"rate": 0.0005}, "rate: 0.0005 is not allowed"),
        ({"rate": math.nan}, "rate: nan is not allowed; allowed is a number from 0.001"),
        ({"rate": math.inf}, "rate: inf is not allowed; allowed is a number from 0.001"),
        ({"seed": -1}, "seed: -1 is not allowed; allowed is a whole number from 0 to 18446744073709551615"),
        ({"seed": 1 << 64}, "seed: 18446744073709551616 is not allowed; allowed is a whole number from 0"),
        ({"speed": 0.0}, "speed: 0.0 is not allowed; allowed is a number above 0"),
        ({"duration": 0.0}, "duration: 0.0 is not allowed; allowed is a number of seconds above zero"),
        ({"duration": math.inf}, "duration: inf is not allowed; allowed is a number of seconds above zero"),
        ({"start": -1}, "start: -1 is not allowed; allowed is a time from 1970 to 2200"),
        ({"start": 1 << 63}, "start: 9223372036854775808 is not allowed; allowed is a time from 1970 to 2200"),
        ({"pairs": "x"}, "pairs: 'x' is not allowed; allowed is a whole number from 1 to 1500"),
        ({"pairs": 2.5}, "pairs: 2.5 is not allowed"),
        ({"pairs": True}, "pairs: True is not allowed"),
        ({"pairs": None}, "pairs: None is not allowed"),
        ({"host": 7}, "host: 7 is not allowed"),
        ({"port": "x"}, "port: 'x' is not allowed"),
        ({"rate": "x"}, "rate: 'x' is not allowed"),
        ({"rate": True}, "rate: True is not allowed"),
        ({"seed": 1.0}, "seed: 1.0 is not allowed"),
        ({"speed": "max"}, "speed: 'max' is not allowed; allowed is a number above 0 and below 1000000 (2 is twice as"),
        ({"speed": math.nan}, "speed: nan is not allowed"),
        ({"duration": "1m"}, "duration: '1m' is not allowed; allowed is a number of seconds above zero, up to"),
        ({"duration": 10**400}, "duration: 1000"),
        ({"start": "2026-11-22"}, "start: '2026-11-22' is not allowed; allowed is a time from 1970 to 2200 as a whole"),
        ({"log": 7}, "log: 7 is not allowed; allowed is the name of a file"),
        ({"book": (1, 2, 3)}, "book: (1, 2, 3) is not allowed; allowed is a krakpot.exchange.options.Pace"),
        ({"key": "key"}, "key: 'key' is not allowed"),
        ({"faults": 7}, "faults: 7 is not allowed; allowed is a list of faults, as drop=0.01,channel=book"),
        ({"faults": [7]}, "faults: [7] is not allowed"),
        ({"account": 7}, "account: 7 is not allowed; allowed is a list of settings, as balance.USD=5000"),
        ({"account": [7]}, "account: [7] is not allowed; allowed is a list of settings"),
    ],
)
def test_wrong_options(wrong: dict[str, Any], sentence: str) -> None:
    """Each is refused when the options are made."""
    with pytest.raises(ConfigError) as error:
        Options(**wrong)
    assert str(error.value).startswith(f"krakpot.ExchangeOptions: {sentence}")


def test_one_fault_is_a_list_of_one() -> None:
    """Its letters are no faults; a name of a file is a path."""
    options = Options(faults="drop=0.01,channel=book", log="log.csv")  # type: ignore[arg-type]  # as people write it
    assert (options.faults, options.log) == (("drop=0.01,channel=book",), Path("log.csv"))


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"jitter": "5ms"}, {"conflate": True}, {"delay": 1 << 62}])
def test_a_wrong_pace(wrong: dict[str, Any]) -> None:
    """Times are whole nanoseconds, up to an hour."""
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"Pace: {name}: .* is not allowed; allowed is a whole number of ns from 0"):
        Pace(**wrong)


COMMANDS = [
    ["--port", "80808"], ["--port", "-1"], ["--rest-port", "70000"], ["--pairs", "0"], ["--pairs", "-3"],
    ["--rate", "nan"], ["--rate", "0"], ["--seed", "-1"], ["--seed", "18446744073709551616"],
    ["--start", "yesterday"], ["--start", "2500-01-01"], ["--start", "1969-12-31"], ["--speed", "fast"],
    ["--for", "0s"], ["--for", "soon"], ["--book-delay", "5"], ["--level3-conflate", "2h"], ["--host", ""],
    ["--host", "no.such.name.invalid"], ["--host", "203.0.113.1"], ["--host", "a" * 100], ["--log", "."],
    ["--log", "no/such/folder/log"], ["--fault", "dorp"], ["--fault", "drop=2"], ["--fault", "cut,symbol=X"],
    ["--account", "fish"], ["--account", "fish=1"], ["--account", "tier=gold"], ["--account", "balance.USD=-1"],
    ["--api-key", "name"], ["--api-secret", "c2VjcmV0"], ["--api-secret", "?", "--api-key", "name"],
]  # fmt: skip
"""The first argument is the option that is wrong."""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS, ids=[" ".join(arguments)[:40] for arguments in COMMANDS])
def test_wrong_commands(arguments: list[str], tmp_path: Path) -> None:
    """One sentence that names the option and says what is allowed or helps, exit code 2, no traceback."""
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--pairs", "2", "--for", "1s", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"krakpot: {arguments[0]}")
    assert re.search("allowed|choose|give|write|the faults are|it has|times from", sentence), sentence
    assert done.stdout == ""


@pytest.mark.slow
def test_the_variables_of_a_recording_are_the_exchange_s_key(tmp_path: Path) -> None:
    """Whoever exported key and secret for `krakpot record` need not repeat them; they are not printed."""
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--pairs", "2", "--for", "1s"]
    variables = {"KRAKPOT_API_KEY": "aKeyThatNobodyHas", "KRAKPOT_API_SECRET": "c2VjcmV0"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=TIMEOUT, cwd=tmp_path, env=os.environ | variables
    )
    assert "API key" not in run.stdout
    assert "c2VjcmV0" not in run.stdout + run.stderr

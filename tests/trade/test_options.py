from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from krakpot import Latency, Paper
from krakpot.errors import ConfigError
from krakpot.trade.options import RunOptions, nanoseconds_of

MS = 1_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5ms", 5 * MS), ("250us", 250_000), ("7ns", 7), ("1h30m", 5400 * 10**9), (2, 2 * 10**9), (0.5, 500 * MS),
        (timedelta(milliseconds=3), 3 * MS), (0, 0), ("0", 0),
    ],
)  # fmt: skip
def test_durations(given: Any, expected: int) -> None:
    """As people write them, to the nanosecond."""
    assert nanoseconds_of(given, "here") == expected
    assert nanoseconds_of("3600000000007ns", "here") == 3600 * 10**9 + 7, "an hour and more"


@pytest.mark.parametrize(
    "given", ["5", "soon", -1, True, None, timedelta(seconds=-1), "", timedelta.max, "9999999999999999999us"]
)
def test_what_is_no_duration(given: Any) -> None:
    """Text without a unit, words, negative times: the place and what is allowed."""
    with pytest.raises(ConfigError, match=r"^here: .* is not allowed; allowed is a duration as 100ms"):
        nanoseconds_of(given, "here")


def test_latency() -> None:
    """One time for both ways, or two."""
    assert (Latency("5ms").entry_ns, Latency("5ms").response_ns) == (5 * MS, 5 * MS)
    assert (Latency("5ms", "8ms").response_ns, str(Latency("5ms", "8ms"))) == (8 * MS, "5ms + 8ms")
    assert str(Latency(0)) == "0 + 0"
    with pytest.raises(ConfigError, match=r"krakpot.Latency: response: 'x' is not allowed"):
        Latency("5ms", "x")


def test_coupling() -> None:
    """Text, a float, a Decimal, to the millionth; shown where it is not 0."""
    for given in ("0.5", 0.5, Decimal("0.5")):
        assert Latency("5ms", coupling=given).millionths == 500_000
    assert str(Latency("5ms", "8ms", coupling="0.25")) == "5ms + 8ms, coupling 0.25"
    assert Latency("5ms", coupling=0) == Latency("5ms")
    assert str(Latency("5ms", coupling=100)) == "5ms + 5ms, coupling 100"
    for wrong in (-1, 101, "much", True, None, float("nan"), "0.0000001"):
        with pytest.raises(
            ConfigError, match=r"krakpot.Latency: coupling: .* is not allowed; allowed is a number from 0"
        ):
            Latency("5ms", coupling=wrong)  # type: ignore[arg-type]  # what is refused


def test_fees_are_exact() -> None:
    """As percent or as a fraction, for all pairs or by pair; millionths."""
    assert Paper({"USD": 1}, fees=("0.25%", "0.40%")).fees_of("BTC/USD") == (2500, 4000)
    assert Paper({"USD": 1}, fees=(Decimal("0.0014"), "0.0024")).fees_of("BTC/USD") == (1400, 2400)
    by_pair = Paper({"USD": 1}, fees={"BTC/USD": ("0", "0.01%")})
    assert by_pair.fees_of("BTC/USD") == (0, 100)
    with pytest.raises(ConfigError, match=r"fees: there are none for ETH/USD"):
        by_pair.fees_of("ETH/USD")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"balances": {}}, "krakpot.Paper: balances: {} is not allowed"),
        ({"balances": {"USD": -1}}, "krakpot.Paper: balances: USD: -1 is not allowed"),
        ({"balances": {"USD": 0.1}}, "as a Decimal, an int or text"),
        ({"balances": {"USD": "1e-11"}}, "at most 10 decimals"),
        ({"fees": ("25", "40")}, "krakpot.Paper: fees: '25' is not allowed; allowed is a fraction up to 0.05"),
        ({"fees": ("0.25%",)}, "allowed are two fees"),
        ({"fees": (0.0025, 0.004)}, "a float cannot hold it"),
        ({"fees": ("0.00000012", "0")}, "is not allowed; allowed is a fraction"),
        ({"latency": pl.DataFrame({"a": [1, 2]})}, "krakpot.Paper: latency: "),
        ({"balances": {"USD": 10**5000}}, "krakpot.Paper: balances: USD: "),
        ({"latency": "5ms"}, "krakpot.Paper: latency: '5ms' is not allowed; allowed is \"recorded\""),
        ({"model": "magic"}, "krakpot.Paper: model: 'magic' is not allowed; allowed is one of orders, bounds"),
        ({"amend_up": "up"}, "allowed is one of lose, keep"),
        ({"gaps": "none"}, "allowed is one of time, worst, cancel"),
        ({"seed": -1}, "krakpot.Paper: seed: -1 is not allowed"),
    ],
)
def test_what_an_account_may_not_be(options: dict[str, Any], sentence: str) -> None:
    """The sentence names the option."""
    arguments: dict[str, Any] = {"balances": {"USD": 1}, "fees": ("0", "0")} | options
    with pytest.raises(ConfigError) as error:
        Paper(**arguments)
    assert sentence in str(error.value)


def test_an_account_without_fees_says_so() -> None:
    """No silent zero: nobody tells them."""
    with pytest.raises(ConfigError, match=r"fees: neither the lake nor the feed tells the fees of your account"):
        Paper({"USD": 1}).fees_of("BTC/USD")
    assert repr(Paper({"USD": 5})) == "Paper(USD 5, fees lake, latency recorded, model orders)"


def test_the_end_of_a_run() -> None:
    """A duration counts from the begin; a time is one; anything else is named."""
    begin = 1_785_641_750 * 10**9
    assert RunOptions.read(until="1h").end(begin) == begin + 3600 * 10**9
    assert RunOptions.read(until="2026-08-02T04:00:00Z").end(begin) == 1_785_643_200 * 10**9
    assert RunOptions.read(until=begin + 5).end(begin) == begin + 5
    assert RunOptions.read().end(begin) is None
    for until in (0, "2026-08-02T03:00:00Z", begin):
        with pytest.raises(ConfigError, match=r"krakpot.run: until: .* not later than the first message"):
            RunOptions.read(until=until).end(begin)
    with pytest.raises(ConfigError, match=r"krakpot.run: until: .* or a duration, as 1h"):
        RunOptions.read(until="tomorrow").end(begin)


def test_wake() -> None:
    """Words, an interval, or nothing."""
    assert [(RunOptions.read(wake=wake).wake, RunOptions.read(wake=wake).every) for wake in ("touch", "1s", None)] == [
        ("touch", 0), ("every", 10**9), ("never", 0),
    ]  # fmt: skip

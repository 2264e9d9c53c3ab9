"""Values as people write them are read; what cannot be read is refused with what is allowed."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import frames
from krakpot import values
from krakpot.values import duration, nanoseconds, unmatched


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


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (7, 7), ("1970-01-01", 0), ("1970-01-01T00:00:01", 10**9), ("1970-01-01T01:00:00+01:00", 0),
        (date(1970, 1, 2), frames.DAY),
        (datetime(1970, 1, 1, 0, 0, 0, 1), 1000),
        (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-1))), frames.HOUR),
        ("2026-08-02T03:35:50.123456Z", frames.START + 123_456_000), ("1969-12-31T23:59:59.999999Z", -1000),
    ],
)  # fmt: skip
def test_times(time: str | int | date | datetime, ns: int) -> None:
    """To whole nanoseconds, without passing through floats."""
    assert nanoseconds(time) == ns


def test_what_is_no_time() -> None:
    """A sentence with examples."""
    with pytest.raises(
        ValueError, match="'yesterday' is no time; write for example 2026-11-22 or 2026-11-22T10:00:00Z"
    ):
        nanoseconds("yesterday")


def test_near_names() -> None:
    """Kraken's older names lead to the newer ones, misspelt ones to those that look alike."""
    names = ["BTC/USD", "BTC/EUR", "DOGE/USD", "ETH/USD"]
    assert unmatched("XBT/*", names).endswith("did you mean BTC/*?")
    assert unmatched("XDG/USD", names).endswith("did you mean DOGE/USD?")
    assert "did you mean ETH/USD" in unmatched("ETHUSD", names)
    assert unmatched("zzz", names).endswith("`krakpot pairs` lists them all")


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("btc/usd", "BTC/USD"),
        ("Eth/Usd", "ETH/USD"),
        ("xbt/eur", "BTC/EUR"),
        ("btc/*", "BTC/*"),
        ("aaplX/USD", "AAPLx/USD"),
    ],
)
def test_symbols_in_the_wrong_case(pattern: str, meant: str) -> None:
    """The case of a symbol matters, so the right one is suggested."""
    names = ["BTC/USD", "BTC/EUR", "DOGE/USD", "ETH/USD", "AAPLx/USD"]
    assert unmatched(pattern, names).endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (values.patterns, ("BTC/USD", "ETH/*")), (values.words, ()), (values.channels, ("book", "level3")),
        (values.number_of(values.DEPTHS), 1000), (values.word_of(("a", "b")), "a"), (values.whole_number(1, 9), 9),
        (values.duration, 0.05), (values.duration, 1e-7), (values.keep, 86400.0), (values.byte_size, 0),
        (values.flag, False), (values.folder, Path("x")), (values.precision, {"A/B": (1, 8)}), (values.precision, {}),
        (values.url, "ws://10.0.0.1:1/v2"), (values.host_and_port, ("::1", 9100)),
        (values.host_and_port, ("192.0.2.1", 0)), (values.token, "0123456789abcdef"),
    ],
)  # fmt: skip
def test_what_was_read_can_be_read_again(reader: Any, value: object) -> None:
    """A value passes through its reader unchanged, so that the same reader checks arguments of functions."""
    assert reader(value) == value


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (values.duration, "9" * 400), (values.duration, float("nan")), (values.duration, float("inf")),
        (values.duration, -1), (values.duration, True), (values.duration, None), (values.duration, "٣s"),
        (values.duration, 10**400),
        (values.byte_size, "9" * 400), (values.byte_size, "-1"), (values.byte_size, None),
        (values.number_of((10,)), "9" * 5000), (values.number_of((10,)), 10.0), (values.number_of((10,)), "١٠"),
        (values.whole_number(1, 9), "9" * 5000), (values.whole_number(1, 9), True), (values.whole_number(1, 9), "10"),
        (values.folder, ""), (values.folder, "a\0b"), (values.folder, "  "),
        (values.precision, [7]), (values.precision, "BTC"), (values.precision, {"A/B": None}),
        (values.host_and_port, ("::1", 65536)), (values.host_and_port, None), (values.host_and_port, ()),
        (values.patterns, 7), (values.patterns, ","), (values.channels, "books"), (values.channels, None),
        (values.flag, None), (values.word_of(("a",)), []), (values.url, None), (values.url, b"wss://x"),
        (values.token, "short"), (values.api_key, ""), (values.api_secret, "not base64"), (values.keep, "1h"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_value_error_of_one_line(reader: Any, value: object) -> None:
    """Whatever its type and however long it is; the text says what is allowed."""
    with pytest.raises(ValueError, match=".") as caught:
        reader(value)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)

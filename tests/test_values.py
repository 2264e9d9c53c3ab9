"""Values as people write them are read; others are refused, and the error says what is allowed."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import frames
from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.values import duration, nanoseconds, step, unmatched


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h", 3600),
        ("2d", 172800),
        ("1h30m", 5400),
        ("1.5m", 90),
        ("100ms", 0.1),
        ("1m250ms", 60.25),
        (90, 90),
        (90.5, 90.5),
        (" 5s ", 5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """As people write them."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "ns"),
    [("250ms", 250_000_000), (" 1s ", 10**9), ("5m", 300 * 10**9), ("366d", 366 * 86_400 * 10**9), ("3ns", 3),
     (timedelta(microseconds=2), 2_000)],
)  # fmt: skip
def test_steps(value: object, ns: int) -> None:
    """Exact nanoseconds."""
    assert step(value) == ns


def test_a_step_as_text_is_read_as_the_same() -> None:
    """In the largest unit that has it whole; a proposed one lies ten times in a length, where there is one."""
    for text in ("1ns", "90s", "1m", "1h", "25h", "1d", "100ms"):
        assert values.step_text(step(text)) == text
    assert values.step_text(step("60m")) == "1h"
    proposed = [values.smaller_step(length * 10**6) for length in (10**9, 60_000, 12_000, 100, 1)]
    assert proposed == ["1d", "1s", "1s", "10ms", "1ms"]


@pytest.mark.parametrize("value", ["", "1x", "-1s", "1.5s", "367d", 0, -1, True, None, "1s1s", timedelta(0)])
def test_what_is_no_step(value: object) -> None:
    """One sentence with examples; 0 only where it is allowed."""
    with pytest.raises(
        ConfigError, match=r"purge=.* is not allowed; write for example '100ms', '1s' or '5m', up to 366d"
    ):
        step(value, "purge")
    assert step(0, "purge", 0) == 0


@pytest.mark.parametrize(
    ("value", "cure"), [(5, "write '5s'"), ("5", "write '5s'"), (1.5, "as '100ms'"), (2.0, "write '2s'")]
)
def test_a_step_has_a_unit(value: object, cure: str) -> None:
    """A number could be seconds, milliseconds or nanoseconds: none is guessed. 0 is the same in all."""
    with pytest.raises(ConfigError, match=f"has no unit; .*{cure}"):
        step(value, "purge", 0)
    assert step("0", "purge", 0) == 0


@pytest.mark.parametrize(
    ("time", "cure"),
    [(1785628800, "if seconds were meant, multiply by 1_000_000_000"), (1785628800123, "if milliseconds were meant"),
     (1785628800123456, "if microseconds were meant"), (0, "write the time as text"), (-5, "write the time as text")],
)  # fmt: skip
def test_a_number_that_is_hardly_nanoseconds_is_no_time(time: int, cure: str) -> None:
    """Seconds, milliseconds and microseconds of today would be a time in 1970."""
    with pytest.raises(ValueError, match=rf"^{time} is taken as nanoseconds since 1970, which is 19.*Z; {cure}"):
        nanoseconds(time)
    # A time that was read once can be read again, however early it is.
    early = nanoseconds("1970-01-01T00:00:05")
    assert nanoseconds(early) == early == 5 * 10**9
    assert (repr(early), str(early)) == ("1970-01-01T00:00:05.000000000Z", "5000000000")


def test_text_without_a_unit_is_no_duration() -> None:
    """Seconds or minutes? Numbers of a program are seconds."""
    with pytest.raises(ValueError, match="^a duration with its unit, as 90s or 90m$"):
        duration("90")


@pytest.mark.parametrize("text", ["", "s", "1w", "1h 30m", "1e3", "inf", "nan", "-1s", "0", "0s", "1,5m", "1h-1m"])
def test_what_is_no_duration(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize("value", [1, 0.5, 5e-324, values.DURATION_MAX])
def test_seconds(value: float) -> None:
    """A number, as arguments of functions are."""
    assert values.seconds(value) == values.timeout(value) == value
    assert values.timeout(0) == 0


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, True, "5", None, [], 10**400, 1j])
def test_what_is_no_number_of_seconds(value: object) -> None:
    """Neither text nor True, and nothing that a clock could not count."""
    for reader, bound in ((values.seconds, "above zero"), (values.timeout, "from 0")):
        with pytest.raises(ValueError, match=f"^a number of seconds {bound}, up to 3153600000$"):
            reader(value)
    with pytest.raises(ValueError, match="above zero"):
        values.seconds(0)


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (frames.START, frames.START), ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 10**9), ("1970-01-01T01:00:00+01:00", 0),
        (date(1970, 1, 2), frames.DAY),
        (datetime(1970, 1, 1, 0, 0, 0, 1), 1000),
        (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-1))), frames.HOUR),
        ("2026-08-02T03:35:50.123456Z", frames.START + 123_456_000), ("1969-12-31T23:59:59.999999Z", -1000),
        ("2026-08-02T03:35:50.367893600Z", frames.START + 367_893_600),
        ("2026-08-02t03:35:50.000000001z", frames.START + 1),
        ("2026-08-02 05:35:50,1234567+02:00", frames.START + 123_456_700),
        ("20260802T033550.123456789", frames.START + 123_456_789), ("1969-12-31T23:59:59.999999999Z", -1),
        ("1677-09-21T00:12:43.145224192Z", -(1 << 63)), ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
    ],
)  # fmt: skip
def test_times(time: str | int | date | datetime, ns: int) -> None:
    """To whole nanoseconds, without passing through floats."""
    assert nanoseconds(time) == ns


class Timestamp(datetime):
    """What pandas.Timestamp is: a datetime with the nanoseconds that a datetime cannot hold."""

    nanosecond = 0


def test_times_of_pandas_and_numpy() -> None:
    """Any unit, to the nanosecond; a value that is not a time there is refused here."""
    stamp = Timestamp(2026, 8, 2, 3, 35, 50, 123_456)
    stamp.nanosecond = 789
    assert nanoseconds(stamp) == frames.START + 123_456_789
    numpy = pytest.importorskip("numpy")
    for text, ns in [
        ("2026-08-02T03:35:50.123456789", frames.START + 123_456_789), ("2026-08-02T03:35:50", frames.START),
        ("1969-12-31T23:59:59.999999999", -1), ("1970", 0), ("1970-02", 31 * frames.DAY),
    ]:  # fmt: skip
        assert nanoseconds(numpy.datetime64(text)) == ns, text
    assert nanoseconds(numpy.int64(frames.START)) == frames.START
    for wrong in (numpy.datetime64("NaT"), numpy.datetime64("3000"), numpy.datetime64("30000"), numpy.float64(1.5)):
        with pytest.raises(ValueError, match="not a time|out of range|cannot hold nanoseconds"):
            nanoseconds(wrong)


@pytest.mark.parametrize(
    ("time", "sentence"),
    [
        ("yesterday", "'yesterday' is not a time; write for example 2026-11-22 or 2026-11-22T10:00:00.123456789Z"),
        ("", "'' is not a time"),
        ("2026-02-30", "is not a time"),
        ("2026-08-02T03:35:50.1234567891", "is not a time"),
        ("20260802.5", "is not a time"),
        ("2026-08-02T03:35.5", "is not a time"),
        ("2026-08-02T03:35:50+00:00:00.5", "is not a time"),
        ("2026-08-02T03:35:50.½", "is not a time"),
        ("1500-01-01", "is out of range; times from 1678 to 2261"),
        (1 << 63, "is out of range"),
        (1.5, "1.5 is a float, which cannot hold nanoseconds; give for example '2026-11-22T10:00:00Z'"),
        (True, "True is not a time; give for example '2026-11-22T10:00:00Z', a datetime, or nanoseconds as an int"),
        (None, "None is not a time"),
        (timedelta(1), "is not a time"),
    ],
)
def test_what_is_no_time(time: Any, sentence: str) -> None:
    """One sentence, with an example; nothing is cut or guessed."""
    with pytest.raises(ValueError, match=re.escape(sentence)):
        nanoseconds(time)


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
        (values.number_of(_core.DEPTHS), 1000), (values.word_of(("a", "b")), "a"), (values.whole_number(1, 9), 9),
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


def test_read_names_the_place_of_a_wrong_value() -> None:
    """One sentence for every function that takes such a value."""
    assert values.read(values.duration, "1m", "--x") == 60
    with pytest.raises(ConfigError, match="--x: 'y' is not allowed; allowed is a duration"):
        values.read(values.duration, "y", "--x")

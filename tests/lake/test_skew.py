"""The recorder's clock against the exchange's: quantiles against a plain model, and when the clock was wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import frames
import lakes
from krakpot import ConfigError, Lake, StorageError
from krakpot.cli.main import main
from krakpot.lake.skew import AHEAD, BEHIND, PERCENT, WINDOW, lines, quantiles, sentences, to_dicts, wrong_times
from krakpot.lake.times import TIME

MS = 1_000_000
SECOND = frames.SECOND
Row = tuple[int, int, int, str]
"""Receive time, difference, entry, kind."""


def table(rows: list[Row]) -> pl.LazyFrame:
    """Rows as the lake gives them."""
    data = [(recv, recv - skew, entry, kind) for recv, skew, entry, kind in rows]
    schema = {"ts_recv": pl.Int64(), "ts_event": pl.Int64(), "entry": pl.UInt32(), "kind": pl.String()}
    return pl.LazyFrame(data, schema=schema, orient="row").with_columns(pl.col("ts_recv", "ts_event").cast(TIME))


def updates(skews: list[int], begin: int = 0, step: int = SECOND) -> pl.LazyFrame:
    """Messages with these differences, one each step."""
    return table([(begin + n * step, skew, 0, "update") for n, skew in enumerate(skews)])


def ns(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows with their differences in ns."""
    return frame.with_columns(pl.col(pl.Duration).dt.total_nanoseconds()).to_dicts()


SKEWS = st.one_of(st.integers(-2000, 2000), st.integers(-(10**13), 10**13), st.sampled_from([0, BEHIND, AHEAD]))


@given(
    st.lists(
        st.tuples(st.integers(0, 10 * SECOND), SKEWS, st.integers(0, 2), st.sampled_from(["update", "snapshot"])),
        max_size=60,
    ),
    st.sampled_from(["book", "level3", "trade", "ticker"]),
    st.sampled_from([None, 1, SECOND, 3 * SECOND]),
)
def test_quantiles_are_those_of_a_sorted_list(rows: list[Row], channel: str, every: int | None) -> None:
    """Nearest rank; the ends exactly, the others to three digits; one message of a book is counted once."""
    groups: dict[int, list[int]] = {}
    for recv, skew, entry, kind in rows:
        if kind == "update" and (entry == 0 or channel not in {"book", "level3"}):
            groups.setdefault(0 if every is None else recv // every * every, []).append(skew)
    found = quantiles({channel: table(rows)}, every)
    assert found.height == len(groups)
    for row, (begin, values) in zip(ns(found), sorted(groups.items()), strict=True):
        values.sort()
        assert (row["channel"], row["messages"], row["early"]) == (channel, len(values), sum(v < 0 for v in values))
        if every is not None:
            assert found.schema["ts_from"] == TIME
            assert row["ts_from"] == datetime.fromtimestamp(begin // 10**9, UTC) + timedelta(
                microseconds=begin % 10**9 // 1000
            )
        assert (row["p0"], row["p100"]) == (values[0], values[-1])
        for percent in PERCENT[1:-1]:
            exact = values[max(0, -(-len(values) * percent // 100) - 1)]
            assert abs(row[f"p{percent}"] - exact) <= abs(exact) * 0.005 + 1, percent
        assert [row[f"p{p}"] for p in PERCENT] == sorted(row[f"p{p}"] for p in PERCENT)
        clock = "behind" if values[0] < BEHIND else "ahead" if values[0] >= AHEAD else None
        assert row["clock"] == clock


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([-5 * MS, 5 * MS, 700 * MS])), max_size=30))
def test_the_minutes_of_a_wrong_clock(events: list[tuple[int, int]]) -> None:
    """Minutes in a row with the same judgement are one span; a minute without messages is none."""
    least: dict[int, int] = {}
    for minute, skew in events:
        least[minute] = min(skew, least.get(minute, skew))
    expected: list[list[Any]] = []
    for minute, skew in sorted(least.items()):
        clock = "behind" if skew < BEHIND else "ahead" if skew >= AHEAD else None
        if clock is None:
            continue
        if expected and expected[-1][1:3] == [minute, clock]:
            expected[-1] = [expected[-1][0], minute + 1, clock, min(skew, expected[-1][3])]
        else:
            expected.append([minute, minute + 1, clock, skew])
    rows = table([(minute * WINDOW + 7, skew, 0, "update") for minute, skew in events])
    found = wrong_times({"book": rows, "ticker": table([])})
    minutes = pl.col("ts_from", "ts_to").dt.epoch("ns") // WINDOW
    shown = found.with_columns(minutes, pl.col("least").dt.total_nanoseconds())
    assert [list(row) for row in shown.iter_rows()] == expected


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market whose recorder's clock was 20 ms ahead, then 3 s behind, then right again."""
    path = tmp_path_factory.mktemp("skew") / "lake"
    timed = lakes.market(300, step=SECOND, level3=True)
    begin = timed[0][0]
    off = [20 * MS, -3 * SECOND, 20 * MS]
    lakes.make(path, [(ts + off[(ts - begin) // (100 * SECOND) % 3], frame) for ts, frame in timed])
    return path


def test_a_lake_says_how_its_clock_was(lake: Path) -> None:
    """Each channel that has times, each message once."""
    found = {row["channel"]: row for row in ns(Lake(lake).clock_skew())}
    assert set(found) == {"book", "level3", "trade"}
    for channel, name in (("book", "book"), ("level3", "orders")):
        rows = lakes.rows(lake, name).filter(kind="update")
        assert found[channel]["messages"] == rows.unique(["session", "message"]).height > 50
    assert {row["clock"] for row in found.values()} == {"behind"}
    assert all(row["p0"] <= -2900 * MS and row["p100"] >= 20 * MS for row in found.values())
    stepped = Lake(lake).clock_skew("BTC/USD", every="10s")
    assert set(stepped["clock"].to_list()) == {None, "behind"}
    assert stepped["messages"].sum() < sum(row["messages"] for row in found.values())


def test_the_command(lake: Path) -> None:
    """Exit code 1 with the minutes; without them 0."""
    result = CliRunner().invoke(main, ["skew", str(lake)], catch_exceptions=False)
    assert result.exit_code == 1
    *shown, wrong = result.stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["channel", "book", "level3", "trade"]
    assert max(map(len, shown)) <= 100
    assert wrong.endswith("behind by 3,000.0 ms or more: messages came before the exchange had sent them"), wrong
    facts = json.loads(CliRunner().invoke(main, ["skew", str(lake), "--json"], catch_exceptions=False).stdout)
    assert facts["channels"][0]["p0_ns"] < -2900 * MS
    assert [one["clock"] for one in facts["wrong"]] == ["behind"]
    end = frames.rfc3339(frames.START + 50 * SECOND)
    right = CliRunner().invoke(main, ["skew", str(lake), "--end", end, "--every", "10s"], catch_exceptions=False)
    assert right.exit_code == 0
    assert right.stdout.splitlines()[-1] == "the clocks agree"
    assert len(right.stdout.splitlines()) > 10
    none = CliRunner().invoke(main, ["skew", str(lake), "--start", "2030-01-01"], catch_exceptions=False)
    assert (none.exit_code, none.stdout.splitlines()[-1]) == (0, "no messages with a time of the exchange")


def test_words_and_json() -> None:
    """Signs, units and the amount of what is wrong."""
    found = quantiles({"book": updates([-1_500_000, 2_000_000])})
    assert lines(found)[1].split()[:5] == ["book", "2", "1", "-1.5", "ms"]
    assert to_dicts(found)[0] == {
        "channel": "book", "messages": 2, "early": 1, "clock": "behind", "p0_ns": -1_500_000, "p1_ns": -1_500_000,
        "p10_ns": -1_500_000, "p50_ns": -1_500_000, "p90_ns": 2_000_000, "p99_ns": 2_000_000, "p100_ns": 2_000_000,
    }  # fmt: skip
    big = quantiles({"trade": updates([-(10**15), 250 * SECOND])})
    assert lines(big)[1].split()[3:5] == ["-11.6", "d"]
    assert lines(big)[1].split()[-2:] == ["+250.0", "s"]
    late = wrong_times({"book": updates([AHEAD + MS])})
    (sentence,) = sentences(late)
    words = "ahead, or the line was slow: every message came 501.0 ms late or later"
    assert sentence == f"1970-01-01 00:00 to 1970-01-01 00:01: the clock of the recorder was {words}"
    assert to_dicts(late)[0]["ts_to"] == "1970-01-01T00:01:00.000000000Z"


def test_a_damaged_part(tmp_path: Path) -> None:
    """One sentence that names the cure."""
    lakes.make(tmp_path, lakes.market(60))
    (part, *_) = lakes.parts(tmp_path, "book")
    part.write_bytes(b"no parquet")
    with pytest.raises(StorageError, match="a part cannot be read .*krakpot verify"):
        Lake(tmp_path).clock_skew()
    with pytest.raises(ConfigError, match="every='0' is not allowed"):
        Lake(tmp_path).clock_skew(every="0")

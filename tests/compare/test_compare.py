"""The comparison, against the built-in exchange: its log and its engine say what is right."""

from __future__ import annotations

import itertools
import statistics
from bisect import bisect_right
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import channels
import frames
import lakes
from channels import MS, SESSIONS, Channels, Message
from krakpot.compare import compare
from krakpot.compare.report import Report
from krakpot.errors import ConfigError
from krakpot.lake import compact, seal
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify

SECONDS = 20.0
SKEWS = (-20, -5, 0, 5, 20)


@cache
def run(book: channels.Pace, level3: channels.Pace, *, depth3: int = 100) -> Channels:
    """A market; the same with the same paces."""
    return channels.run(book=book, level3=level3, seconds=SECONDS, rate=600.0, depth3=depth3)


@cache
def plain() -> dict[str, list[Message]]:
    """What the engine did, step by step: its book channel without delay and conflation."""
    return run((0, 0, 0), (0, 0, 0)).of("book")


def at(messages: list[Message], timestamp: str) -> Message:
    """The message in force at a time of the exchange: the last one up to it."""
    return messages[bisect_right(messages, timestamp, key=lambda message: message.timestamp) - 1]


def name(message: Message) -> int:
    """The top ten as the engine names it, whichever channel tells it."""
    return at(plain()[message.symbol], message.timestamp).checksum


def states(messages: list[Message]) -> list[tuple[int, Message]]:
    """Distinct consecutive top tens, by the engine's own names, each with its first message."""
    named = [(name(message), message) for message in messages]
    return [next(group) for _, group in itertools.groupby(named, key=lambda one: one[0])]


def made(path: Path, market: Channels, **options: int) -> Report:
    """A lake of this market, proved, and compared."""
    channels.record(path, market)
    assert verify(path).proved
    return compare.compare(path, **options)  # type: ignore[arg-type]  # only the window


def longest(left: list[int], right: list[int]) -> int:
    """Length of the longest common subsequence: the textbook's table, row by row."""
    row = [0] * (len(right) + 1)
    for one in left:
        before = row
        row = [0]
        for j, other in enumerate(right):
            row.append(before[j] + 1 if one == other else max(row[j], before[j + 1]))
    return row[-1]


def skewed(skew: int, conflation: int) -> tuple[channels.Pace, channels.Pace]:
    """Paces of book and level3: positive skew is the book channel later."""
    return (max(skew, 0) * MS, 0, conflation * MS), (max(-skew, 0) * MS, 0, 0)


def test_progress_is_told(tmp_path: Path) -> None:
    """Rows of both channels, of the symbols that were chosen, and up to their number."""
    channels.record(tmp_path / "lake", run((0, 0, 0), (0, 0, 0)))
    told: list[tuple[int, int, str]] = []
    compare.compare(tmp_path / "lake", ["BTC/USD", "ETH/*"], progress=lambda *one: told.append(one))
    lake = Lake(tmp_path / "lake")
    total = sum(
        frame.collect().height
        for frame in (lake.book(["BTC/USD", "ETH/USD"]), lake.orders("ETH/*"), lake.orders("BTC/USD"))
    )
    assert {(of, unit) for _, of, unit in told} == {(total, "rows")}
    done = [one for one, _, _ in told]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == total


@pytest.mark.slow
@pytest.mark.parametrize("skew", SKEWS)
def test_a_skew_is_recovered_and_every_published_state_is_found(skew: int, tmp_path: Path) -> None:
    """The book channel is conflated: which states it published, and by how much each was later than level 3, the log
    says without any pairing, since equal times name equal books.
    """
    market = run(*skewed(skew, 30))
    report = made(tmp_path / "lake", market)
    # Of every book state: the level-3 message with which its top ten came about, by the times of both.
    latencies: list[int] = []
    for symbol, messages in market.of("level3").items():
        begun = [one for _, one in states(messages)]
        told = [one for _, one in states(market.of("book")[symbol])][1:]
        latencies += [one.sent - at(begun, one.timestamp).sent for one in told]
    total = report.total()
    assert total["share"] == 1
    assert total["full"]["share"] == 1
    assert report.equal
    assert total["book_states"] > 100
    assert total["only_level3"] > 20, "conflation left states out"
    assert abs(total["latency"]["recv"]["median"] - statistics.median(latencies)) < MS
    assert abs(total["latency"]["recv"]["pairs"] - len(latencies)) <= len(latencies) // 20
    # Few states are left out: those whose counterpart would lie beyond the recording.
    assert total["left_out"]["book"] < total["book_states"] // 20


@pytest.mark.slow
def test_skews_differ_as_they_were_set(tmp_path: Path) -> None:
    """Without conflation each pair's latency is the skew itself."""
    for skew in SKEWS:
        report = made(tmp_path / f"lake{skew}", run(*skewed(skew, 0)))
        recv, event = (report.total()["latency"][kind] for kind in ("recv", "event"))
        assert abs(recv["median"] - skew * MS) < MS, skew
        assert recv["p95"] - recv["min"] < MS
        first = {-1: "book_first", 0: "together", 1: "level3_first"}[(skew > 0) - (skew < 0)]
        assert recv[first] == recv["pairs"] > 100
        assert event["together"] == event["pairs"], "by their own times they are the same"


def test_without_delay_and_conflation_the_two_are_the_same(tmp_path: Path) -> None:
    """Every state of the book channel is found, in order, and none is only in level 3; by all levels as well."""
    market = run((0, 0, 0), (0, 0, 0))
    report = made(tmp_path / "lake", market)
    told = sum(len(states(messages)) for messages in market.of("book").values())
    matches = report.top.matches
    assert matches.height == told, "the exchange's own account of its states"
    for facts in (report.total(), report.total()["full"]):
        assert facts["share"] == 1
        assert (facts["only_book"], facts["only_level3"], facts["disagreements"]) == (0, 0, 0)
    for _, rows in matches.group_by("symbol"):
        for side in ("book", "level3"):
            assert rows[f"{side}_message"].is_sorted()
            assert rows[f"{side}_message"].is_unique().all()
    assert report.equal


def test_a_share_below_one_is_the_log_s(tmp_path: Path) -> None:
    """Both channels conflated, out of step: the pairs are as many as the longest common subsequence of what, by
    the log, each published, as the engine names it.
    """
    market = run((0, 0, 50 * MS), (7 * MS, 0, 35 * MS))
    report = made(tmp_path / "lake", market)
    expected = {
        symbol: longest(*([named for named, _ in states(market.of(one)[symbol])] for one in ("book", "level3")))
        for symbol in market.symbols
    }
    found = dict(report.top.matches.group_by("symbol").len().iter_rows())
    assert found == expected
    total = report.total()
    told = sum(len(states(messages)) for messages in market.of("book").values())
    assert sum(expected.values()) < told - 10, "some states are only in one"
    assert total["only_book"] >= told - sum(expected.values()) - total["left_out"]["book"]
    assert not report.equal


def test_depths_may_differ(tmp_path: Path) -> None:
    """Books of depth 100 and orders of depth 10 are compared by what both have."""
    report = made(tmp_path / "lake", run((0, 0, 0), (0, 0, 0), depth3=10))
    assert set(report.depths.values()) == {10}
    assert report.total()["full"]["share"] == 1
    assert report.equal


def dropped(market: Channels, *, deep: bool) -> tuple[int, Message]:
    """Place (of the frame) of a level-3 message, in the middle, whose loss changes the top ten, or only the rest."""
    messages = market.messages["level3"]
    offset = len(market.level3) - len(messages)
    previous: dict[str, Message] = {}
    for place, message in enumerate(messages):
        before = previous.get(message.symbol)
        previous[message.symbol] = message
        if before is None or place < len(messages) // 2:
            continue
        same = name(message) == name(before)
        adds = all(one["event"] == "add" for side in ("bids", "asks") for one in message.data[side])
        # Heartbeats stand between: the frame is found by its time.
        if same == deep and adds:
            index = next(i for i, (sent, text) in enumerate(market.level3) if sent == message.sent and i >= offset // 2
                         and message.timestamp.encode() in text)  # fmt: skip
            return index, message
    pytest.fail("no such message")


@pytest.mark.parametrize("deep", [False, True])
def test_a_lost_event_is_reported_at_its_place(deep: bool, tmp_path: Path) -> None:
    """One level-3 frame never came. In the top ten its loss is a state that only the book channel has, and the next
    message's checksum ends the life; below, the checksum is blind and only the full comparison sees it.
    """
    market = run((0, 0, 0), (0, 0, 0))
    place, lost = dropped(market, deep=deep)
    channels.record(tmp_path / "lake", market, drop=[place])
    report = compare.compare(tmp_path / "lake")
    assert not report.equal
    runs = report.runs_full if deep else report.runs
    first = runs.sort("ts_from").row(0, named=True)
    assert first["symbol"] == lost.symbol
    book = next(
        m for m in market.of("book")[lost.symbol] if m.timestamp == lost.timestamp
    )  # what the book channel sent for that step
    assert first["ts_from"].timestamp() == pytest.approx(book.sent / 1e9, abs=1e-5)
    assert first["session"] == SESSIONS[0]
    assert first["level3_session"] == SESSIONS[1]
    rows = lakes.rows(tmp_path / "lake", "book").filter(pl.col("message") == first["message"])
    assert rows["ts_event"].dt.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_list()[0] == lost.timestamp
    assert set(runs["symbol"]) == {lost.symbol}, "others never notice"
    others = [facts for symbol, facts in report.symbols().items() if symbol != lost.symbol]
    assert all(facts["share"] == facts["full"]["share"] == 1 for facts in others)
    if deep:
        assert report.runs.filter(pl.col("ts_from") <= first["ts_from"]).is_empty()
    else:
        before = compare.compare(tmp_path / "lake", end=book.sent - MS)
        assert before.equal, "what came later is not of this range"
        assert before.book.spans["reason"].null_count() == len(market.symbols)
        ended = report.broken.row(0, named=True)
        assert (ended["symbol"], ended["channel"], ended["reason"]) == (lost.symbol, "level3", "mismatch")
        facts = report.symbols()[lost.symbol]
        assert facts["seconds"]["only_book"] > 1, "nothing is compared with a book that is not known"
        assert facts["left_out"]["book"] > 10


def test_a_lake_without_one_of_the_channels_says_how_to_record_both(tmp_path: Path) -> None:
    """Whoever has only books is told the command; a pattern that matches nothing is told what there is."""
    lakes.make(tmp_path / "books", lakes.market())
    with pytest.raises(
        ConfigError, match="the lake has no level3; record both channels, .* krakpot record --channels book,level3"
    ):
        compare.compare(tmp_path / "books")
    channels.record(tmp_path / "both", run((0, 0, 0), (0, 0, 0)))
    with pytest.raises(
        ConfigError, match="--symbols QQQ/\\*: no symbol with both channels matches; there are BTC/USD, "
    ):
        compare.compare(tmp_path / "both", "QQQ/*")
    one = compare.compare(tmp_path / "both", "BTC/*")
    assert list(one.symbols()) == ["BTC/USD"]


def test_a_range_compares_what_it_holds(tmp_path: Path) -> None:
    """[start, end) of the receive time: the halves make the whole, but for the edge between them."""
    market = run(*skewed(5, 0))
    channels.record(tmp_path / "lake", market)
    middle = (market.book[0][0] + market.book[-1][0]) // 2
    whole, early, late = (
        compare.compare(tmp_path / "lake", start=start, end=end).total()
        for start, end in ((None, None), (None, middle), (middle, None))
    )
    assert early["share"] == late["share"] == whole["share"] == 1
    halves = early["book_states"] + late["book_states"]
    assert 0.9 * whole["book_states"] < halves <= whole["book_states"]
    assert early["seconds"]["together"] + late["seconds"]["together"] == pytest.approx(
        whole["seconds"]["together"], abs=0.1
    )


def test_lives_follow_each_other(tmp_path: Path) -> None:
    """Where the book channel was away for a while, nothing is compared; before and after, everything is found."""
    market = run(*skewed(5, 0))
    away = [frames.START + time * MS for time in (6000, 11000)]
    first = [one for one in market.book if one[0] < away[0]]
    # The same market again, seen by a client that came later: its snapshots are of that time.
    later = channels.run(book=(5 * MS, 0, 0), seconds=SECONDS, rate=600.0, later=11_000 * MS)
    assert later.messages["level3"] == market.messages["level3"], "the market does not mind who looks"
    again = [one for one in later.book if one[0] >= away[1]]
    parts = {SESSIONS[0]: first, lakes.session_name(away[1]): again, SESSIONS[1]: market.level3}
    for session, timed in parts.items():
        recorder = lakes.Recorder(tmp_path / "lake", session, precision=market.precision)
        recorder.take(timed)
        recorder.end()
    seal.recover(tmp_path / "lake")
    report = compare.compare(tmp_path / "lake")
    total = report.total()
    assert report.equal
    assert total["share"] == 1
    assert total["seconds"]["only_level3"] == pytest.approx(3 * 5, abs=1)
    assert report.book.spans.height == 6
    assert total["left_out"]["level3"] > 20


def test_two_recorders_of_one_channel_are_one_sequence(tmp_path: Path) -> None:
    """Where two sessions held the book at the same time, the one begun first is taken until it ends: nothing is counted
    twice, and where the one goes over into the other nothing is missed.
    """
    market = run(*skewed(5, 0))
    cut = [frames.START + time * MS for time in (8000, 12000)]
    first = [one for one in market.book if one[0] < cut[1]]
    later = channels.run(book=(5 * MS, 0, 0), seconds=SECONDS, rate=600.0, later=8_000 * MS)
    second = [one for one in later.book if one[0] >= cut[0]]
    parts = {SESSIONS[0]: first, lakes.session_name(cut[0]): second, SESSIONS[1]: market.level3}
    for session, timed in parts.items():
        recorder = lakes.Recorder(tmp_path / "lake", session, precision=market.precision)
        recorder.take(timed)
        recorder.end()
    seal.recover(tmp_path / "lake")
    report = compare.compare(tmp_path / "lake")
    whole = made(tmp_path / "whole", market).total()
    total = report.total()
    assert report.equal
    assert total["seconds"]["together"] == pytest.approx(whole["seconds"]["together"], abs=0.5)
    assert total["book_states"] == pytest.approx(whole["book_states"], abs=10)
    assert report.book.spans.height == 6
    taken = report.top.matches.group_by("symbol", "book_session").agg(pl.col("book_ts_recv").dt.epoch("ns").max())
    ends = [last for _, session, last in taken.iter_rows() if session == SESSIONS[0]]
    assert all(abs(end - cut[1]) < 2 * frames.SECOND for end in ends), "the first one is taken to its end"


@pytest.mark.slow
def test_a_compacted_lake_gives_the_same(tmp_path: Path) -> None:
    """Two days of many parts, then of one a day: the whole, a range before midnight and one after it."""
    midnight = frames.START // frames.DAY * frames.DAY + frames.DAY
    timed = lakes.market(720, begin=midnight - 3 * frames.HOUR, step=30 * frames.SECOND, level3=True)
    recorder = lakes.Recorder(tmp_path / "lake", lakes.session_name(timed[0][0]), interval=1800.0)
    for i in range(0, len(timed), 20):
        recorder.take(timed[i : i + 20])
        recorder.session.tick(recorder.session.now)
    recorder.end()
    seal.recover(tmp_path / "lake")
    ranges: tuple[dict[str, Any], ...] = ({}, {"end": midnight - frames.HOUR}, {"start": midnight + frames.HOUR})
    before = [compare.compare(tmp_path / "lake", **one).to_dict() for one in ranges]
    parts = len(lakes.parts(tmp_path / "lake", "book"))
    done = compact.compact(tmp_path / "lake", grace=0.0, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert (parts > 10, len(done.compacted), len(lakes.parts(tmp_path / "lake", "book"))) == (True, 2, 2)
    for one, want in zip(ranges, before, strict=True):
        assert want["total"]["book_states"] > 50
        assert compare.compare(tmp_path / "lake", **one).to_dict() == want

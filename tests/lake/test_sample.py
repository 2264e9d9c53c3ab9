"""Books as they were: several sessions, gaps, wrong messages, other precisions, compacted parts, against a model."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import channels
import frames
import lakes
from krakpot import Lake, Replay
from krakpot.cli.main import main
from krakpot.errors import ConfigError
from krakpot.lake import compact, messages, sample, seal
from krakpot.record.ingest import ingest

SYMBOL = "BTC/USD"
MINUTE = 60 * frames.SECOND
START = frames.START // frames.DAY * frames.DAY + 22 * frames.HOUR
SPAN = 4 * frames.HOUR
"""Over midnight, and over five hours' checkpoints."""
SESSIONS = [lakes.session_name(START + n * MINUTE) for n in range(3)]
DEPTH = 10
OPENING = 14
"""Frames of ``lakes.market`` before the first update."""

State = tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]] | None


def states(timed: list[lakes.Timed], *, event: bool = False) -> list[tuple[int, State]]:
    """The book of ``SYMBOL`` after each of its messages, by dicts; none from a wrong checksum to the next snapshot."""
    found: list[tuple[int, State]] = []
    book: frames.Book | None = None
    precision = (1, 8)
    for received, text in timed:
        message = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
        if message.get("channel") == "instrument":
            pairs = {pair["symbol"]: pair for pair in message["data"]["pairs"]}
            if SYMBOL in pairs:
                precision = tuple(int(pairs[SYMBOL][name]) for name in ("price_precision", "qty_precision"))  # type: ignore[assignment]  # two
        if message.get("channel") != "book" or message["data"][0]["symbol"] != SYMBOL:
            continue
        data = message["data"][0]
        if message["type"] == "snapshot":
            book = frames.Book(SYMBOL, depth=DEPTH)
        if book is not None:
            book.price_precision, book.qty_precision = precision
            book.apply([(side, one["price"], one["qty"]) for side in ("bid", "ask") for one in data[f"{side}s"]])
            if book.checksum != int(data["checksum"]):
                book = None
        at = round(datetime.fromisoformat(data["timestamp"]).timestamp() * 1e6) * 1000 if event else received
        found.append((at, None if book is None else (book.checksum, *(side_of(book, side) for side in ("bid", "ask")))))  # type: ignore[arg-type]  # two sides
    return found


def side_of(book: frames.Book, side: str) -> list[tuple[Decimal, Decimal]]:
    """Levels as numbers."""
    return [(Decimal(price), Decimal(qty)) for price, qty in book.levels(side)]


def told(row: dict[str, Any], depth: int = DEPTH) -> State:
    """State that a row tells."""
    if row["reason"] is not None:
        assert all(value is None for name, value in row.items() if name not in ("symbol", "ts", "reason"))
        return None
    sides = [
        [
            (row[f"{side}_price_{n}"], row[f"{side}_qty_{n}"])
            for n in range(depth)
            if row[f"{side}_price_{n}"] is not None
        ]
        for side in ("bid", "ask")
    ]
    return row["checksum"], sides[0], sides[1]


def again(begin: int, end: int, seed: int) -> list[lakes.Timed]:
    """A small market, one change a second, between two times."""
    return lakes.market((end - begin) // frames.SECOND, begin=begin, step=frames.SECOND, seed=seed)


def precise(book: frames.Book, ts: int) -> list[lakes.Timed]:
    """The pair gets another decimal."""
    book.price_precision = 2
    pair = frames.pair(SYMBOL, price_precision=2)
    return [
        (ts, frames.instrument(pair, kind="update")),
        (ts + 1, book.update([("bid", "990.25", "1.50000000")], ts=ts)),
    ]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]:
    """Three sessions: one that loses a message and gets a snapshot later, one that overlaps, one after a gap."""
    path = tmp_path_factory.mktemp("books") / "lake"
    first = again(START, START + 90 * MINUTE, 1)
    mine = [n for n, (_, text) in enumerate(first) if SYMBOL.encode() in text and b'"bids":[{"price":1000.0,' in text]
    lost = mine[len(mine) // 2]
    # The exchange's own book then, by which it is repaired ten minutes later.
    book = frames.Book(SYMBOL)
    later = first[lost][0] + 10 * MINUTE
    for _, text in first[: next(n for n, (ts, _) in enumerate(first) if ts >= later)]:
        message = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
        if message.get("channel") == "book" and message["data"][0]["symbol"] == SYMBOL:
            data = message["data"][0]
            book.apply([(side, one["price"], one["qty"]) for side in ("bid", "ask") for one in data[f"{side}s"]])
    repaired = [(later, book.snapshot(ts=later))]
    first = [one for n, one in enumerate(first) if n != lost and one[0] < later] + repaired + [
        one for one in first if one[0] >= later
    ]  # fmt: skip
    second = again(START + 60 * MINUTE, START + 130 * MINUTE, 2)
    third = again(START + 150 * MINUTE, START + SPAN, 3)
    sessions = [(name, timed, timed[-1][0] + 1) for name, timed in zip(SESSIONS, (first, second, third), strict=True)]
    for name, timed, _ in sessions:
        recorder = lakes.Recorder(path, name, interval=20 * 60)
        for n in range(0, len(timed), 50):
            recorder.take(timed[n : n + 50])
        recorder.end()
    seal.recover(path)
    return Lake(path), sessions


Known = dict[str, list[tuple[int, State]]]


def known_states(sessions: list[tuple[str, list[lakes.Timed], int]], *, event: bool = False) -> Known:
    """The states of each session."""
    return {name: states(timed, event=event) for name, timed, _ in sessions}


@pytest.fixture(scope="module")
def by_clock(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> dict[str, Known]:
    """The states of the sessions by either clock, computed once."""
    return {by: known_states(lake[1], event=by == "event") for by in ("recv", "event")}


def expected(
    sessions: list[tuple[str, list[lakes.Timed], int]],
    times: list[int],
    *,
    event: bool = False,
    by_clock: dict[str, Known] | None = None,
) -> Iterator[State]:
    """Time by time: one session as long as it covers, then, of those that do, the one begun first."""
    known = by_clock["recv"] if by_clock else known_states(sessions)
    asked = by_clock["event" if event else "recv"] if by_clock else known_states(sessions, event=event)
    spans: list[tuple[int, int, str]] = []
    for name, _, end in sessions:
        begin = None
        for at, state in known[name]:
            if state is not None and begin is None:
                begin = at
            elif state is None and begin is not None:
                spans.append((begin, at, name))
                begin = None
        if begin is not None:
            spans.append((begin, end, name))
    if event:
        spans = [
            (begin, max(at for (received, _), (at, _) in zip(known[name], asked[name], strict=True)
                        if begin <= received < end) + 1, name)
            for begin, end, name in spans
        ]  # fmt: skip
    current: tuple[int, int, str] | None = None
    for time in times:
        if current is None or not current[0] <= time < current[1]:
            current = min((span for span in spans if span[0] <= time < span[1]), default=None)
        if current is None:
            yield None
        else:
            yield [state for at, state in asked[current[2]] if at <= time][-1]


@pytest.mark.slow
@pytest.mark.parametrize(("by", "at_once"), [("recv", messages.ROWS), ("event", messages.ROWS), ("recv", 1)])
def test_books_are_those_of_the_session_in_turn(
    lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]],
    by: sample.By,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over cuts, a lost message, an overlap, a midnight and the hourly checkpoints; none where none was known.

    However many rows are read at once.
    """
    monkeypatch.setattr(messages, "ROWS", at_once)
    opened, sessions = lake
    begin, end, every = START - 10 * MINUTE, START + SPAN + 10 * MINUTE, 17 * frames.SECOND + 3
    found = opened.books(SYMBOL, begin, end, every=f"{every}ns", by=by, threads=2)
    times = list(range(begin, end, every))
    assert found["ts"].to_physical().to_list() == times
    wanted = list(expected(sessions, times, event=by == "event"))
    for time, row, state in zip(times, found.iter_rows(named=True), wanted, strict=True):
        assert told(row) == state, f"{(time - START) / MINUTE:.2f} minutes"
    assert 100 < sum(state is None for state in wanted) < len(wanted) - 300
    reasons = set(found["reason"].drop_nulls())
    assert reasons - ({"unconfirmed"} if by == "event" else set()) == {"absent", "mismatch", "stopped"}


@pytest.mark.slow
def test_any_range_gives_the_same_books(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> None:
    """Wherever it begins, with whatever depth and numbers: rows and columns of the whole."""
    opened, _ = lake
    every = 30 * frames.SECOND
    whole = opened.books(SYMBOL, START, START + SPAN, every=f"{every}ns")
    assert whole.width == 4 + 4 * DEPTH
    for begin, end in ((0, 1), (7, 130), (150, 151), (199, 333), (479, 480)):
        part = opened.books(SYMBOL, START + begin * every, START + end * every, every=f"{every}ns", threads=1)
        assert_frame_equal(part, whole[begin:end])
    floats = opened.books(SYMBOL, START, START + SPAN, every="30s", depth=2, numbers="float")
    assert_frame_equal(floats, whole[:, : 4 + 4 * 2].with_columns(pl.col(pl.Decimal).cast(pl.Float64)))
    assert opened.books(SYMBOL, START, START).is_empty()
    assert opened.books(SYMBOL, START, START).schema == whole.schema
    of_all = opened.books(SYMBOL, every="1h")
    assert of_all["ts"].to_physical()[0] == START, "a whole hour"
    assert of_all.height == 5
    assert of_all["reason"].null_count() == 5, "the last hour is that of the last message"


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.integers(START - 10 * MINUTE, START + SPAN + 10 * MINUTE), max_size=40),
    on_messages=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4000), st.integers(-1, 1)), max_size=40),
    by=st.sampled_from(["recv", "event"]),
    data=st.data(),
)
def test_books_at_any_times(
    lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]],
    by_clock: dict[str, Known],
    asked: list[int],
    on_messages: list[tuple[int, int, int]],
    by: sample.By,
    data: st.DataObject,
) -> None:
    """Times in any order, repeated, at and beside the times of messages: row for row those of the model."""
    opened, sessions = lake
    event = by == "event"
    exact = list(by_clock[by].values())
    asked = asked + [exact[n][place % len(exact[n])][0] + beside for n, place, beside in on_messages]
    times = data.draw(st.permutations(asked + asked[:5]))
    found = opened.books(SYMBOL, at=times, by=by, threads=2)
    assert found["ts"].to_physical().to_list() == times
    ascending = sorted(set(times))
    wanted = dict(zip(ascending, expected(sessions, ascending, event=event, by_clock=by_clock), strict=True))
    for time, row in zip(times, found.iter_rows(named=True), strict=True):
        assert row["symbol"] == SYMBOL
        assert told(row) == wanted[time], f"{(time - START) / MINUTE:.2f} minutes"


def test_several_symbols_are_those_of_each(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> None:
    """Lists and patterns: the rows of each symbol, sorted by symbol; times of each in the order asked for."""
    opened, _ = lake
    both = ["BTC/USD", "ETH/USD"]
    span = (START, START + 10 * MINUTE)
    alone = [opened.books(symbol, *span, every="7s", depth=3) for symbol in both]
    assert [frame["symbol"].unique().to_list() for frame in alone] == [["BTC/USD"], ["ETH/USD"]]
    assert not alone[0].drop("symbol").equals(alone[1].drop("symbol"))
    for wanted in (both, both[::-1], "*/USD", ["ETH/*", "BTC/USD", "*"]):
        assert_frame_equal(opened.books(wanted, *span, every="7s", depth=3), pl.concat(alone))
    times = [START + n * MINUTE for n in (3, 1, 2, 3)]
    found = opened.books("*", at=times, depth=3)
    assert found["ts"].to_physical().to_list() == times * 2
    for symbol in both:
        mine = found.filter(symbol=symbol)
        assert_frame_equal(mine.head(1), mine.tail(1))
        assert_frame_equal(opened.books(symbol, at=times, depth=3), mine)
    # The grid of several symbols is one grid.
    whole = opened.books("*", every="1h", depth=1)
    assert whole.height == 2 * 5
    assert whole.group_by("ts").len()["len"].to_list() == [2] * 5
    with pytest.raises(ConfigError, match="symbols: the list is empty"):
        opened.books([], *span)
    with pytest.raises(
        ConfigError, match="depth=100: the channel book of these symbols was recorded with a depth of 10"
    ):
        opened.books("*", *span, depth=100)
    with pytest.warns(
        UserWarning, match="nothing of this range was recorded; start and end lie outside of 2026-08-02T"
    ):
        assert opened.books("*", START - 2 * frames.DAY, START - frames.DAY, every="1h")["checksum"].null_count() == 48


def test_a_row_for_each_level(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> None:
    """The long layout has the same levels as the wide one, and one row where there is no book."""
    opened, _ = lake
    options: dict[str, Any] = {"every": "30s", "depth": 10}
    wide = opened.books("*", START - MINUTE, START + 2 * MINUTE, **options)
    expected_rows = []
    for row in wide.iter_rows(named=True):
        facts = [row[name] for name in ("symbol", "ts", "reason", "checksum")]
        held = [[row[f"{name}_{n}"] for name in sample.LEVEL_COLUMNS] for n in range(10)]
        some = [[*facts, n, *numbers] for n, numbers in enumerate(held) if numbers != [None] * 4]
        expected_rows += some or [[*facts, None, None, None, None, None]]
    long = opened.books("*", START - MINUTE, START + 2 * MINUTE, layout="long", **options)
    assert long.columns == ["symbol", "ts", "reason", "checksum", "level", *sample.LEVEL_COLUMNS]
    assert list(map(list, long.iter_rows())) == expected_rows
    assert long["level"].null_count() == wide["checksum"].null_count() > 0
    assert long.schema["level"] == pl.UInt32
    empty = opened.books("*", START, START, layout="long", **options)
    assert (empty.height, empty.schema) == (0, long.schema)


def test_a_request_that_is_large_says_so(
    lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of all symbols and levels count; a step that is too long is no silent emptiness."""
    opened, _ = lake
    monkeypatch.setattr(sample, "ROWS_MANY", 150)
    with pytest.warns(UserWarning, match="200 rows take 0 GB; ask for fewer at once"):
        assert opened.books("*", at=[START] * 100, depth=1).height == 200
    with pytest.warns(UserWarning, match="200 rows take"):
        opened.books(SYMBOL, at=[START] * 20, depth=10, layout="long")
    monkeypatch.setattr(sample, "ROWS_MAX", 199)
    with pytest.raises(ValueError, match="200 rows are more than 199; ask for fewer at once"):
        opened.books("*", at=[START] * 100, depth=1)
    with pytest.warns(
        UserWarning, match=r"every='100d': no whole step lies in what is known, 2026-.*; give a smaller"
    ) as told:
        assert opened.books(SYMBOL, every="100d").is_empty()
    # The step that it proposes gives rows, and the warning is of the line that asked.
    proposed = re.search(r"as every='(\w+)', or a start", str(told[0].message))
    assert proposed is not None
    assert opened.books(SYMBOL, every=proposed[1]).height >= 9
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened.books(SYMBOL, START, START, every="1h").is_empty()
        assert opened.books(SYMBOL, START, every="100d").height == 1


def test_compacted_parts_give_the_same_books(
    lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]], tmp_path: Path
) -> None:
    """Both days merged."""
    opened, sessions = lake
    copy = tmp_path / "lake"
    for name, timed, _ in sessions:
        recorder = lakes.Recorder(copy, name, interval=20 * 60)
        for n in range(0, len(timed), 50):
            recorder.take(timed[n : n + 50])
        recorder.end()
    seal.recover(copy)
    before = len(lakes.parts(copy, "book"))
    report = compact.compact(copy, grace=0, now=datetime(2026, 8, 10, tzinfo=UTC))
    assert len(report.compacted) == 2, report
    assert len(lakes.parts(copy, "book")) < before
    every = 11 * frames.SECOND
    one, other = (one.books(SYMBOL, START, START + SPAN, every=f"{every}ns") for one in (opened, Lake(copy)))
    assert_frame_equal(one, other)


def test_another_precision_keeps_the_book(tmp_path: Path) -> None:
    """More decimals while the book lives: numbers and checksum of the model before and after."""
    book = frames.Book(SYMBOL)
    levels = [[(f"{1000 + sign * n}.0", "1.50000000") for n in range(1, 6)] for sign in (-1, 1)]
    at = [frames.START + n * frames.SECOND for n in range(4)]
    timed = [(at[0], frames.instrument(frames.pair(SYMBOL))), (at[0], frames.ack("book", SYMBOL, depth=10)),
             (at[0], book.snapshot(*levels, ts=at[0]))]  # fmt: skip
    timed += precise(book, at[1])
    timed.append((at[2], book.update([("ask", "1000.75", "2.00000000")], ts=at[2])))
    lakes.make(tmp_path / "lake", [*timed, (at[3], frames.HEARTBEAT)])
    found = Lake(tmp_path / "lake").books(SYMBOL, at[0], at[3], every="500ms")
    known = states(timed)
    assert [told(row) for row in found.iter_rows(named=True)] == [
        [state for ts, state in known if ts <= time][-1] for time in range(at[0], at[3], frames.SECOND // 2)
    ]
    assert found["bid_price_5"].to_list()[-1] == Decimal("990.25")


def test_every_recorded_message_gives_its_own_checksum(data: Path, tmp_path: Path) -> None:
    """Kraken's own frames: the book at the time of each message has the checksum that was sent with it."""
    for name, symbol in (("book-btcusd-d25", "BTC/USD"), ("book-xrpusd-d25", "XRP/USD")):
        path = tmp_path / name
        ingest(data / "recorded" / f"{name}.jsonl", path)
        opened = Lake(path)
        sent = opened.book(symbol).unique("message", keep="first").sort("message").collect()
        sent = sent.group_by("ts_recv", maintain_order=True).last()
        assert sent.height > 1000
        found = sample.BookSampler(opened, [symbol]).at(sent["ts_recv"], depth=25)
        assert found["reason"].null_count() == found.height, "the last message too"
        assert found["checksum"].to_list() == sent["checksum"].to_list()


def test_level3_gives_the_book_of_its_orders(tmp_path: Path) -> None:
    """What follows from the orders is the book that the exchange published, once both have settled."""
    run = channels.run(seconds=6)
    counts = channels.record(tmp_path / "lake", run)
    assert counts["level3"]["checksums"]["level3"]["bad"] == 0
    opened = Lake(tmp_path / "lake")
    symbol = run.symbols[0]
    begin, end = frames.START + frames.SECOND, frames.START + 5 * frames.SECOND
    pair = [opened.books(symbol, begin, end, every="7ms", channel=channel) for channel in ("book", "level3")]
    same = (pair[0]["checksum"] == pair[1]["checksum"]).sum()
    assert same > 0.5 * pair[0].height
    agreeing = [frame.filter(pair[0]["checksum"] == pair[1]["checksum"]) for frame in pair]
    assert_frame_equal(*agreeing)


def test_a_recording_without_an_end_is_not_believed_for_ever(tmp_path: Path) -> None:
    """A killed recorder: one second after its last word there is no book."""
    recorder = lakes.Recorder(tmp_path / "lake")
    recorder.take(lakes.market(100, step=frames.SECOND // 4))
    recorder.die()
    seal.recover(tmp_path / "lake")
    opened = Lake(tmp_path / "lake")
    last = opened.coverage().filter(channel="book", symbol=SYMBOL)["ts_to"].to_physical()[0]
    assert opened.book_at(SYMBOL, last - 1).reason is None
    late = opened.book_at(SYMBOL, last + frames.HOUR)
    assert (late.reason, late.checksum, late.levels.height) == ("unfinished", None, 0)


def test_a_missing_part_leaves_no_stale_book(tmp_path: Path) -> None:
    """Rows that are gone: from the first message that does not fit there is none."""
    timed = lakes.market(3000, step=frames.SECOND)
    recorder = lakes.Recorder(tmp_path / "lake", interval=600)
    for n in range(0, len(timed), 20):
        recorder.take(timed[n : n + 20])
    recorder.end()
    seal.recover(tmp_path / "lake")
    parts = lakes.parts(tmp_path / "lake", "book")
    gone = pl.read_parquet(parts[1], columns=["ts_recv"])["ts_recv"].to_physical()
    parts[1].unlink()
    opened = Lake(tmp_path / "lake")
    known = dict(states(timed))
    found = opened.books(SYMBOL, int(gone.max()) + 60 * frames.SECOND, timed[-1][0], every="10s")  # type: ignore[arg-type]  # whole numbers
    assert set(found["reason"].drop_nulls()) == {"mismatch"}
    for row, ts in zip(found.iter_rows(named=True), found["ts"].to_physical(), strict=True):
        if row["reason"] is None:
            assert told(row) == known[max(at for at in known if at <= ts)]


def test_book_at_and_the_command(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> None:
    """People's table, programs' object, and the frame say the same; exit 1 where there is no book."""
    opened, sessions = lake
    at = START + 20 * MINUTE
    state = [state for ts, state in states(sessions[0][1]) if ts <= at][-1]
    assert state is not None
    found = opened.book_at(SYMBOL, at)
    bids = found.levels.select("bid_price", "bid_qty").drop_nulls().rows()
    assert (found.checksum, bids) == (state[0], state[1])
    when = datetime.fromtimestamp(at / 1e9, tz=UTC).isoformat()
    command = ["book", str(opened.path), "--symbols", SYMBOL, "--depth", "3", "--at"]
    said = CliRunner().invoke(main, [*command, when, "--json"])
    assert said.exit_code == 0, said.output
    facts = json.loads(said.stdout)
    assert facts["checksum"] == state[0]
    assert [tuple(map(Decimal, one)) for one in facts["bids"]] == state[1][:3]
    assert [tuple(map(Decimal, one)) for one in facts["asks"]] == state[2][:3]
    table = CliRunner().invoke(main, [*command, when])
    assert table.exit_code == 0
    lines = table.stdout.splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].split() == [facts["bids"][0][1], facts["bids"][0][0], *facts["asks"][0]]
    none = CliRunner().invoke(main, [*command, "2020-01-01"])
    assert (none.exit_code, none.stdout.split(": ", 1)[1]) == (1, "there is no book: no book was known yet\n")
    assert json.loads(CliRunner().invoke(main, [*command, "2020-01-01", "--json"]).stdout)["reason"] == "absent"
    # Several of them: one after the other, by symbol.
    command[command.index(SYMBOL)] = "ETH/USD,BTC/*"
    said = CliRunner().invoke(main, [*command, when, "--json"])
    assert [one["symbol"] for one in json.loads(said.stdout)["books"]] == ["BTC/USD", "ETH/USD"]
    assert json.loads(said.stdout)["books"][0] == facts
    table = CliRunner().invoke(main, [*command, when])
    assert table.stdout.splitlines()[:5] == lines
    assert len(table.stdout.splitlines()) == 10


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-90 * 86_400, -1200, -60, -5, 5, 60, 1200, 86_400])
def test_books_by_the_exchange_s_time_do_not_depend_on_the_recorder_s_clock(seconds: int, tmp_path: Path) -> None:
    """A clock that is off by seconds, minutes or days: at each of the exchange's times the same books as with a right
    clock, over gaps and sealed parts, and the reasons between them.
    """
    begin = frames.START
    found = []
    for shift in (0, seconds):
        path = tmp_path / str(shift)
        for number in range(2):
            at = begin + number * frames.HOUR
            timed = [(ts + shift * frames.SECOND, frame) for ts, frame in again(at, at + 40 * MINUTE, number + 1)]
            recorder = lakes.Recorder(path, lakes.session_name(at + shift * frames.SECOND), interval=300)
            for n in range(0, len(timed), 200):
                recorder.take(timed[n : n + 200])
            recorder.end()
        seal.recover(path)
        assert len(lakes.parts(path, "book")) > 10
        found.append(Lake(path).books(SYMBOL, begin - MINUTE, begin + 2 * frames.HOUR, every="7s", by="event"))
    assert_frame_equal(*found)
    known = found[0].filter(pl.col("reason").is_null())
    assert known.height > 600
    assert set(found[0]["reason"].drop_nulls()) == {"absent", "stopped"}
    known_states = dict(states(again(begin, begin + 40 * MINUTE, 1), event=True))
    shifted = Lake(tmp_path / str(seconds))
    for at in list(known_states)[:: len(known_states) // 10]:
        state = known_states[at]
        assert state is not None
        assert shifted.book_at(SYMBOL, at, by="event").checksum == state[0]


def test_a_clock_that_is_an_hour_ahead_for_ten_minutes(tmp_path: Path) -> None:
    """The recorder's clock is wrong for ten minutes in the middle: by the exchange's time nobody notices."""
    timed = again(frames.START, frames.START + 50 * MINUTE, 1)
    for name in ("right", "wrong"):
        recorder = lakes.Recorder(tmp_path / name, interval=300)
        for n in range(0, len(timed), 100):
            some = timed[n : n + 100]
            if name == "wrong" and frames.START + 20 * MINUTE < some[0][0] < frames.START + 30 * MINUTE:
                some = [(ts + frames.HOUR, frame) for ts, frame in some]
            recorder.take([*some, (timed[-1][0] + frames.SECOND, frames.HEARTBEAT)])
        recorder.end()
        seal.recover(tmp_path / name)
    end = frames.START + 50 * MINUTE
    right, wrong = (
        Lake(tmp_path / name).books(SYMBOL, frames.START, end, every="3s", by="event") for name in ("right", "wrong")
    )
    assert_frame_equal(right, wrong)


@pytest.mark.parametrize("by", ["recv", "event"])
def test_the_last_message_of_an_ingested_file_has_its_book(by: sample.By, tmp_path: Path) -> None:
    """With receive times and without: coverage reaches to the last message, inclusive; a nanosecond later it ends."""
    timed = lakes.market(100)
    expected = [state for _, state in states(timed)][-1]
    last = max(ts for ts, frame in timed if b'"channel":"book"' in frame and SYMBOL.encode() in frame)
    until = next(n for n, (ts, _) in enumerate(timed) if ts == last) + 1
    for times in (True, False):
        path = tmp_path / str(times)
        ingest(lakes.write_frames(tmp_path / f"{times}.jsonl", timed[:until], times=times), path)
        found = Lake(path).book_at(SYMBOL, last, by=by)
        assert expected is not None
        assert (found.reason, found.checksum) == (None, expected[0])
        after = Lake(path).book_at(SYMBOL, last + 1, by=by)
        assert (after.reason, after.levels.height) == ("stopped", 0)


def test_nanoseconds_of_a_time_count(tmp_path: Path) -> None:
    """Two messages in one microsecond: each has its own book, in Python and on the command line."""
    book = frames.Book(SYMBOL)
    at = [frames.START, frames.START + 367_893_100, frames.START + 367_893_600]
    levels = [[(f"{1000 + sign * n}.0", "1.50000000") for n in range(1, 6)] for sign in (-1, 1)]
    opening = [frames.instrument(frames.pair(SYMBOL)), frames.ack("book", SYMBOL, depth=10), book.snapshot(*levels)]
    timed = [(at[0], frame) for frame in opening]
    checksums = [book.checksum]
    for n, ts in enumerate(at[1:]):
        timed.append((ts, book.update([("bid", "999.0", f"{n + 2}.00000000")])))
        checksums.append(book.checksum)
    lakes.make(tmp_path, [*timed, (at[2] + frames.SECOND, frames.HEARTBEAT)])
    for ts, checksum in zip(at, checksums, strict=True):
        for time in (ts, ts + 1):
            text = f"2026-08-02T03:35:50.{time - frames.START:09}Z"
            assert Lake(tmp_path).book_at(SYMBOL, text).checksum == checksum
            command = ["book", str(tmp_path), "--symbols", SYMBOL, "--at", text, "--json"]
            said = json.loads(CliRunner().invoke(main, command).stdout)
            assert (said["checksum"], said["at"]) == (checksum, text)
    before = f"2026-08-02T03:35:50.{at[2] - 1 - frames.START:09}"
    assert Lake(tmp_path).book_at(SYMBOL, before).checksum == checksums[1]


@pytest.mark.slow
def test_books_of_a_recording_that_runs(tmp_path: Path) -> None:
    """From the first flush on, while journals grow and are sealed, the books are those of the sealed lake."""
    timed = again(frames.START, frames.START + 20 * MINUTE, 1)
    recorder = lakes.Recorder(tmp_path, interval=240)
    opened = Lake(tmp_path)
    seen: list[pl.DataFrame] = []
    known = states(timed)
    for n in range(0, len(timed), 100):
        recorder.take(timed[n : n + 100])
        now = timed[min(n + 100, len(timed)) - 1][0]
        at, state = [(ts, state) for ts, state in known if ts <= now][-1]
        assert told_at(opened.book_at(SYMBOL, now, depth=DEPTH)) == state
        assert told_at(opened.book_at(SYMBOL, at, depth=DEPTH, by="event")) == state
        late = opened.book_at(SYMBOL, now + frames.HOUR)
        assert late.reason == "recording"
        assert "has not come that far" in late.lines()[0]
        seen.append(opened.books(SYMBOL, frames.START, now + 1, every="5s"))
        if n % 400 == 300:
            seal.recover(tmp_path)
    assert lakes.parts(tmp_path, "book"), "some of it was sealed"
    recorder.end()
    seal.recover(tmp_path)
    for frame in seen:
        assert_frame_equal(
            frame, opened.books(SYMBOL, frames.START, int(frame["ts"].to_physical()[-1]) + 1, every="5s")
        )


def told_at(found: sample.BookAt) -> State:
    """State that a book at a time tells."""
    if found.checksum is None:
        return None
    sides = (found.levels.select(f"{side}_price", f"{side}_qty").drop_nulls().rows() for side in ("bid", "ask"))
    return found.checksum, *sides  # type: ignore[return-value]  # two sides


def test_what_cannot_be_asked_for(lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]]) -> None:
    """Each with a sentence that says what is allowed."""
    opened, _ = lake
    for options, words in (
        ({"depth": 0}, "1 to 1000"),
        ({"every": "often"}, "'100ms'"),
        ({"every": 0}, "'100ms'"),
        ({"by": "luck"}, "'recv', 'event'"),
        ({"channel": "trade"}, "'book', 'level3'"),
        ({"numbers": "int"}, "'decimal', 'float'"),
        ({"depth": 2.5}, "depth=2.5; allowed: 1 to 1000"),
        ({"every": True}, "every=True"),
        ({"end": "tomorrow"}, "'tomorrow' is not a time"),
        ({"every": "1ns"}, "ask for fewer"),
    ):
        with pytest.raises(ValueError, match=words):
            opened.books(SYMBOL, START, **{"end": START + SPAN} | options)
    with pytest.raises(ValueError, match="no symbol 'BTC/EUR'"):
        opened.book_at("BTC/EUR", START)
    with pytest.raises(ValueError, match="no symbol 'btc/usd'; did you mean BTC/USD?"):
        opened.book_at("btc/usd", START)


def of_book(text: bytes) -> bool:
    """Whether a frame is a message of the book of ``SYMBOL``, and not the acknowledgement of its subscription."""
    return SYMBOL.encode() in text and text.startswith(b'{"channel":"book"')


class Recorded(NamedTuple):
    """A recording with faults, and what a plain replay of its frames says."""

    timed: list[lakes.Timed]
    books: list[tuple[int, int, State]]
    """Number, receive time and state of the book after each of its messages."""
    trades: list[tuple[int, str, State]]
    """Id and kind of each trade, and the book before it."""


def with_faults(seed: int, count: int, lost: list[int], *, coarse: bool) -> Recorded:
    """A small market that loses messages of a book and gets a snapshot some time later; trades before and after.

    ``coarse``: many messages have the same receive time.
    """
    whole = again(START, START + count * frames.SECOND, seed)
    mine = [n for n, (_, text) in enumerate(whole) if of_book(text)]
    gone = {mine[1 + n % (len(mine) - 1)] for n in lost}
    timed = []
    exchange = frames.Book(SYMBOL)
    for n, (ts, text) in enumerate(whole):
        message = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
        if of_book(text):
            data = message["data"][0]
            exchange.apply([(side, one["price"], one["qty"]) for side in ("bid", "ask") for one in data[f"{side}s"]])
        if n not in gone:
            timed.append((ts, text))
        if any(n == one + 30 for one in gone):
            timed.append((ts, exchange.snapshot(ts=ts)))
        if n == OPENING - 1:
            timed.append((ts, frames.trade(SYMBOL, 100, ts=ts, kind="snapshot")))
    if coarse:
        timed = [(ts // (7 * frames.SECOND) * (7 * frames.SECOND), text) for ts, text in timed]
    places = [n for n, (_, text) in enumerate(timed) if of_book(text)]
    books = [(n, ts, state) for n, (ts, state) in zip(places, states(timed), strict=True)]
    trades = []
    for n, (_, text) in enumerate(timed):
        if text.startswith(b'{"channel":"trade"') and SYMBOL.encode() in text:
            message = json.loads(text)
            before = [state for place, _, state in books if place < n]
            trades.append((message["data"][0]["trade_id"], message["type"], before[-1] if before else None))
    return Recorded(timed, books, trades)


def best(state: State, depth: int) -> tuple[Any, Any] | None:
    """The best levels of a state."""
    return None if state is None else (state[1][:depth], state[2][:depth])


def levels_of(row: dict[str, Any], depth: int) -> tuple[Any, Any]:
    """The best levels that a row tells."""
    return tuple(  # type: ignore[return-value]  # two sides
        [
            (row[f"{side}_price_{n}"], row[f"{side}_qty_{n}"])
            for n in range(depth)
            if row[f"{side}_price_{n}"] is not None
        ]
        for side in ("bid", "ask")
    )


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(1, 4),
    count=st.integers(40, 300),
    lost=st.lists(st.integers(0, 100), max_size=3),
    coarse=st.booleans(),
    depth=st.sampled_from([1, 3, 10]),
    interval=st.sampled_from([60, 3600]),
    sealed=st.booleans(),
)
@example(seed=1, count=95, lost=[0, 5], coarse=False, depth=1, interval=60, sealed=False)  # begins with a snapshot
def test_changes_and_trades_are_those_of_a_plain_replay(
    seed: int, count: int, lost: list[int], depth: int, interval: int, *, coarse: bool, sealed: bool
) -> None:
    """Each message that changes the best levels, and no other; each trade with the book before it, by message order."""
    recorded = with_faults(seed, count, lost, coarse=coarse)
    with TemporaryDirectory() as name:
        recorder = lakes.Recorder(Path(name) / "lake", interval=interval)
        for n in range(0, len(recorded.timed), 40):
            recorder.take(recorded.timed[n : n + 40])
        recorder.end()
        if sealed:
            seal.recover(recorder.lake)
        opened = Lake(recorder.lake)
        changes = opened.books(SYMBOL, every="change", depth=depth, threads=2)
        trades = opened.trades(SYMBOL, book=depth).collect()
        part = opened.books(SYMBOL, recorded.timed[len(recorded.timed) // 2][0], every="change", depth=depth)
        plain = opened.trades(SYMBOL).collect()
    wanted: list[tuple[int, int, Any]] = []
    held: Any = "nothing"
    for number, ts, state in recorded.books:
        now = best(state, depth)
        if now != held:
            wanted.append((number, ts, now))
            held = now
    found = changes.filter(pl.col("message").is_not_null())
    rows = list(found.iter_rows(named=True))
    assert [(row["message"], row["ts"]) for row in rows] == [
        (number, datetime.fromtimestamp(ts // 10**9, tz=UTC)) for number, ts, _ in wanted
    ]
    known = {number: state for number, _, state in recorded.books}
    for row, (number, _, now) in zip(rows, wanted, strict=True):
        state = known[number]
        assert row["reason"] == (None if now is not None else "mismatch")
        assert row["checksum"] == (None if state is None else state[0])
        assert levels_of(row, depth) == (now or ([], []))
    # The last row says that the recording ended, unless the book was unknown then.
    assert changes["reason"][-1] == ("mismatch" if held is None else "stopped")
    assert changes.height == found.height + (held is not None)
    assert_frame_equal(part, changes.tail(part.height))
    assert trades.drop("book_reason", "^(bid|ask)_(price|qty)_.*$").equals(plain)
    assert trades.height == len(recorded.trades) > 0
    for row, (trade_id, kind, state) in zip(trades.sort("message").iter_rows(named=True), recorded.trades, strict=True):
        assert row["trade_id"] == trade_id
        expected_state = None if kind == "snapshot" else best(state, depth)
        reason = "snapshot" if kind == "snapshot" else "mismatch" if state is None else None
        assert row["book_reason"] == reason
        assert levels_of(row, depth) == (expected_state or ([], []))


@pytest.mark.filterwarnings("ignore:nothing of this range was recorded")
@pytest.mark.slow
@pytest.mark.parametrize("by", ["recv", "event"])
def test_the_last_change_up_to_a_time_is_the_book_at_that_time(
    lake: tuple[Lake, list[tuple[str, list[lakes.Timed], int]]], by: sample.By
) -> None:
    """Over three sessions with gaps, a lost message and an overlap: changes and books at times say the same."""
    opened, _ = lake
    begin, end = START - MINUTE, START + SPAN + MINUTE
    changes = opened.books(SYMBOL, every="change", depth=3, by=by)
    assert changes["ts"].is_sorted()
    assert changes.columns[:6] == ["symbol", "ts", "session", "message", "reason", "checksum"]
    assert changes["session"].unique().sort().to_list() == SESSIONS
    grid = opened.books(SYMBOL, begin, end, every=f"{frames.SECOND // 2 + 1}ns", depth=3, by=by)
    last = grid.select("ts").join_asof(changes.drop("session", "message", "symbol"), on="ts")
    # Where nothing was recorded yet there is no change either; what lies below the third level changes no row.
    known = last.with_columns(
        pl.col("reason").fill_null(pl.when(pl.col("bid_price_0").is_null()).then(pl.lit("absent")))
    )
    assert_frame_equal(known.drop("checksum"), grid.drop("symbol", "checksum"))
    assert grid["reason"].drop_nulls().n_unique() >= 3
    part = opened.books(SYMBOL, START + 55 * MINUTE, START + 95 * MINUTE, every="change", depth=3, by=by)
    within = pl.col("ts").dt.epoch("ns").is_between(START + 55 * MINUTE, START + 95 * MINUTE, closed="left")
    assert_frame_equal(part, changes.filter(within))
    long = opened.books("*", every="change", depth=2, layout="long")
    assert long.columns == ["symbol", "ts", "session", "message", "reason", "checksum", "level", *sample.LEVEL_COLUMNS]
    assert opened.books(SYMBOL, START - 2 * MINUTE, begin, every="change", depth=3).is_empty()


def test_changes_of_a_pair_that_has_no_such_book(tmp_path: Path) -> None:
    """No rows; the other pairs of a pattern have theirs."""
    trade = (START + frames.SECOND, frames.trade("SOL/USD", 1))
    pairs = frames.instrument(*map(frames.pair, (SYMBOL, "SOL/USD")))
    ack = frames.ack("trade", "SOL/USD")
    lakes.make(tmp_path, [(START, pairs), (START, ack), trade, *again(START + 2 * frames.SECOND, START + MINUTE, 1)])
    opened = Lake(tmp_path)
    assert set(opened.symbols()) == {SYMBOL, "ETH/USD", "SOL/USD"}
    mine = opened.books(SYMBOL, every="change", depth=1)
    assert mine.height > 5
    for layout, by in (("wide", "recv"), ("long", "event")):
        options: dict[str, Any] = {"every": "change", "depth": 1, "layout": layout, "by": by}
        with pytest.raises(ConfigError, match="the channel book of SOL/USD was not recorded; recorded: trade"):
            opened.books("SOL/USD", **options)
        with pytest.raises(
            ConfigError, match="the channel level3 of these symbols was not recorded; recorded: book, tick"
        ):
            opened.books("*", channel="level3", **options)
        with pytest.raises(ConfigError, match="the channel book of SOL/USD was not recorded; recorded: trade"):
            Replay(opened, "SOL/USD", channels=["book"])
        both = opened.books("*/USD", **options)
        assert "SOL/USD" not in set(both["symbol"])
    assert_frame_equal(opened.books("*/USD", every="change", depth=1).filter(symbol=SYMBOL), mine)


def test_trades_of_another_connection_are_ordered_by_their_receive_times(tmp_path: Path) -> None:
    """Books on one connection, trades on another: the book of the last message received before the trade."""
    timed = again(START, START + 5 * MINUTE, 1)
    books = [one for one in timed if b'"channel":"trade"' not in one[1]]
    trades = [one for one in timed if b'"channel":"book"' not in one[1] and b'"method":"subscribe"' not in one[1]]
    for n, some in enumerate((books, trades)):
        recorder = lakes.Recorder(tmp_path, SESSIONS[n])
        recorder.take([*some, (timed[-1][0] + frames.SECOND, frames.HEARTBEAT)])
        recorder.end()
    seal.recover(tmp_path)
    found = Lake(tmp_path).trades(SYMBOL, book=DEPTH).collect()
    known = states(timed)
    assert found.height > 10
    for row, ts in zip(found.iter_rows(named=True), found["ts_recv"].to_physical(), strict=True):
        before = [state for at, state in known if at < ts][-1]
        assert row["book_reason"] is None
        assert levels_of(row, DEPTH) == best(before, DEPTH)
    every = Lake(tmp_path).trades(book=1)
    assert every.filter(pl.col("bid_price_0") > 0).select("bid_price_0").collect().height == every.collect().height
    none = Lake(tmp_path).trades(SYMBOL, "2020-01-01", "2020-01-02", book=1).collect()
    assert (none.is_empty(), none.schema) == (True, every.collect_schema())


class Instant(NamedTuple):
    """What happened at one time of the exchange."""

    after: int
    """Microseconds since the one before."""
    messages: str
    """In the order in which they were sent; b: the book changes, l: that is lost, s: its snapshot, t: a trade."""
    late: int
    """Receive time less exchange time, ms."""


INSTANTS = st.lists(
    st.builds(Instant, st.integers(1, 3), st.text("bbtttls", min_size=1, max_size=4), st.integers(0, 3)),
    min_size=3,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(instants=INSTANTS, apart=st.booleans(), sealed=st.booleans())
@example(instants=[Instant(1, "s", 0), Instant(1, "bt", 0), Instant(1, "b", 0)], apart=False, sealed=True)
@example(instants=[Instant(1, "s", 0), Instant(1, "lt", 0), Instant(1, "bt", 0)], apart=False, sealed=True)
def test_trades_have_the_book_of_an_earlier_time_of_the_exchange(
    instants: list[Instant], *, apart: bool, sealed: bool
) -> None:
    """Messages of an instant in any order, lost ones, trades in snapshots; on one connection or on two (``apart``)."""
    book = frames.Book(SYMBOL)
    book.apply(
        [("bid", f"{900 - n}.0", "1.0") for n in range(10)] + [("ask", f"{1000 + n}.0", "1.0") for n in range(10)]
    )
    opening = (START, frames.instrument(frames.pair(SYMBOL)))
    sockets: list[list[lakes.Timed]] = [
        [opening, (START, frames.ack(channel, SYMBOL, depth=DEPTH))] for channel in ("book", "trade")
    ]
    # Of each time in which the book was in sync: exchange times, and the best levels after each message.
    spans: list[list[tuple[int, Any]]] = []
    made: dict[int, int] = {}
    now, synced, lost, in_order = START, False, False, [*sockets[0], sockets[1][1]]
    for number, instant in enumerate([*instants, Instant(1, "b", 0)]):
        now += instant.after * 1000
        for place, what in enumerate(instant.messages):
            if what == "t":
                made[len(made) + 1] = now
                kind = "snapshot" if number % 4 == 3 else "update"
                text = frames.trade(SYMBOL, len(made), price="950.0", qty="0.1", ts=now, kind=kind)
            else:
                quantity = f"{number + 1}.{place + 1}0000000"
                # No later change makes up for a lost one.
                price = ("1001.0", "899.0") if what == "l" else ("1000.0", "900.0")
                change = [("bid" if number % 2 else "ask", price[number % 2], quantity)]
                text = book.snapshot(ts=now) if what == "s" else book.update(change, ts=now)
                if what == "l":
                    lost = True
                    continue
                if what == "s":
                    lost = False
                    spans += [] if synced else [[]]
                # A lost message is noticed by the next change.
                synced = what == "s" or (synced and not lost)
                if synced:
                    levels = [[(Decimal(p), Decimal(q)) for p, q in book.levels(side)[:3]] for side in ("bid", "ask")]
                    spans[-1].append((now, (levels[0], levels[1])))
            # No two at once: what comes at the time of a mismatch is not believed.
            timed = (START + 10**9 + (now - START) * 4000 + instant.late * 10**6 + place, text)
            sockets[what == "t"].append(timed)
            in_order.append(timed)
    with TemporaryDirectory() as name:
        for n, some in enumerate(sockets if apart else [in_order]):
            recorder = lakes.Recorder(Path(name), SESSIONS[n])
            recorder.take([*sorted(some, key=lambda one: one[0])] if apart else some)
            recorder.end()
        if sealed:
            seal.recover(Path(name))
        found = Lake(name).trades(SYMBOL, book=3, by="event").collect()
    assert found["trade_id"].sort().to_list() == sorted(made)
    for row in found.iter_rows(named=True):
        at = made[row["trade_id"]]
        known = [span for span in spans if span and span[0][0] < at <= span[-1][0]]
        wanted = [state for event, state in known[-1] if event < at][-1] if known else ([], [])
        assert levels_of(row, 3) == wanted, (row["trade_id"], row["book_reason"])
        assert (row["book_reason"] is None) == bool(known)


def test_what_comes_before_a_trade_needs_a_book(tmp_path: Path) -> None:
    """Two ways are offered, and neither means anything without a book."""
    lakes.make(tmp_path, lakes.market(20))
    opened = Lake(tmp_path)
    with pytest.raises(ConfigError, match="by='recv'; allowed: 'message', 'event'"):
        opened.trades(SYMBOL, book=1, by="recv")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ConfigError, match="by='event' says which book comes before a trade; give book too"):
        opened.trades(SYMBOL, by="event")
    assert opened.trades(SYMBOL, by="message").collect().height > 0

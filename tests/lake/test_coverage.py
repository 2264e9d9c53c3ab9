"""Coverage: what is known from when to when, and why it ended; of recordings that run, too."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import frames
import lakes
from krakpot import Lake, StorageError
from krakpot.lake import seal
from krakpot.lake.coverage import recorded_sessions
from krakpot.lake.folder import Folder

MIDNIGHT = frames.START // frames.DAY * frames.DAY + frames.DAY


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two pairs, around a midnight."""
    path = tmp_path_factory.mktemp("lake") / "lake"
    lakes.make(path, lakes.market(400, begin=MIDNIGHT - 200 * frames.SECOND, step=frames.SECOND))
    return Lake(path)


def test_coverage_of_a_whole_session(lake: Lake) -> None:
    """Books from their snapshot, other channels from their ack, all to the end of the session."""
    spans = lake.coverage()
    assert spans.select("channel", "symbol", "reason").rows() == [
        (channel, symbol, "stopped") for channel in ("book", "ticker", "trade") for symbol in ("BTC/USD", "ETH/USD")
    ]
    begin, end = spans["ts_from"].to_physical(), spans["ts_to"].to_physical()
    assert set(begin) == {MIDNIGHT - 200 * frames.SECOND}
    assert set(end) == {MIDNIGHT + 200 * frames.SECOND + 1}, "the last message is covered"


def test_a_lake_whose_ledger_is_gone_is_not_empty(tmp_path: Path) -> None:
    """Without the ledger nobody knows what was recorded; that is told, and not that nothing was."""
    lakes.make(tmp_path / "lake", lakes.market(40))
    for part in lakes.parts(tmp_path / "lake", "ledger"):
        part.unlink()
    with pytest.raises(StorageError, match="the parts of its ledger are gone"):
        Lake(tmp_path / "lake").coverage()


def test_coverage_ends_with_the_last_message_not_with_the_noticing(tmp_path: Path) -> None:
    """A connection that was dead for fifteen seconds, a book that was frozen for twelve: neither time is covered."""
    book, other = frames.Book("BTC/USD"), frames.Book("ETH/USD")
    recorder = lakes.Recorder(tmp_path / "lake", precision={"BTC/USD": (1, 8), "ETH/USD": (1, 8)})
    both = [one.snapshot([("1.0", "1.0")], [("2.0", "1.0")]) for one in (book, other)]
    recorder.take([(frames.START, frame) for frame in both])
    now = frames.START + 12 * frames.SECOND
    recorder.take([(now, other.update([]))])
    recorder.session.add_ledger_row("gap", now, channel="book", symbol="BTC/USD", ts_from=frames.START, ts_to=now)
    recorder.session.tick(now + 15 * frames.SECOND)
    recorder.end()
    seal.recover(tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    ends = [pl.col("ts_to").to_physical() - frames.START, "symbol", "reason"]
    assert lake.coverage().select(ends).rows() == [
        (1, "BTC/USD", "gap"),
        (12 * frames.SECOND + 1, "ETH/USD", "stopped"),
    ]
    gone = lake.ledger().filter(pl.col("kind") == "disconnect").collect()
    assert gone.select(pl.col("ts_from", "ts_to").to_physical()).row(0) == (now, now + 15 * frames.SECOND)
    assert lake.verify().problems == []


def test_a_recording_that_begins_its_next_journal_meanwhile_goes_on(tmp_path: Path) -> None:
    """Of the journals that were listed all are ended, or sealed and gone; the session is recorded all the same."""
    timed = lakes.market(60, step=frames.SECOND)
    recorder = lakes.Recorder(tmp_path / "lake", interval=10.0)
    lake = Folder(tmp_path / "lake")
    recorder.take(timed[:5])
    for at in range(5, 60, 20):
        view = lake.look()
        assert len(view.journals) == 1
        recorder.take(timed[at : at + 10])
        recorder.take(timed[at + 10 : at + 20])
        assert recorder.closed
        assert recorded_sessions(view) == {recorder.session.id}
        seal.recover(tmp_path / "lake")
        assert not view.journals[0].path.exists()
        assert recorded_sessions(view) == {recorder.session.id}
        recorder.closed.clear()
    view = lake.look()
    recorder.end()
    assert recorded_sessions(view) == set()


def test_coverage_says_why_it_ended(tmp_path: Path) -> None:
    """A wrong checksum ends one book, a new snapshot begins it again; a killed session ends a second after it was last
    alive.
    """
    book = frames.Book("BTC/USD")
    other = frames.Book("ETH/USD")
    steps = [
        frames.ack("trade", "BTC/USD"),
        book.snapshot([("1.0", "1.0")], [("2.0", "1.0")]),
        other.snapshot([("1.0", "1.0")], [("2.0", "1.0")]),
        book.update([], crc=1),
        book.snapshot(),
        frames.ack("book", "ETH/USD", method="unsubscribe"),
        frames.ack("trade", "BTC/USD", method="unsubscribe"),
        book.update([]),
        b"{}",
    ]
    recorder = lakes.Recorder(tmp_path / "lake", precision={"BTC/USD": (1, 8), "ETH/USD": (1, 8)})
    recorder.take([(frames.START + n * frames.SECOND, frame) for n, frame in enumerate(steps)])
    recorder.die()
    seal.recover(tmp_path / "lake")
    spans = Lake(tmp_path / "lake").coverage()
    seconds = [pl.col(name).to_physical().sub(frames.START).floordiv(frames.SECOND) for name in ("ts_from", "ts_to")]
    assert spans.select("channel", "symbol", *seconds, "reason").rows() == [
        ("book", "BTC/USD", 1, 3, "mismatch"),
        ("book", "BTC/USD", 4, 9, "unfinished"),
        ("book", "ETH/USD", 2, 5, "unsubscribed"),
        ("trade", "BTC/USD", 0, 6, "unsubscribed"),
    ]


def test_a_recording_that_runs_is_covered_up_to_now(tmp_path: Path) -> None:
    """From the first flush on, before anything is sealed; then over sealed parts; at the end it says how it ended."""
    timed = lakes.market(200, step=frames.SECOND)
    recorder = lakes.Recorder(tmp_path / "lake", interval=60.0)
    lake = Lake(tmp_path / "lake")
    reasons, ends = [], []
    for at in range(0, len(timed), 40):
        recorder.take(timed[at : at + 40])
        spans = lake.coverage().filter(channel="book", symbol="BTC/USD")
        reasons += spans["reason"].to_list()
        ends += spans["ts_to"].to_physical().to_list()
        assert ends[-1] - timed[min(at + 40, len(timed)) - 1][0] <= frames.SECOND, "nothing is claimed far ahead"
        seal.recover(tmp_path / "lake")
    assert lakes.parts(tmp_path / "lake", "ledger"), "some of it is sealed"
    assert set(reasons) == {"recording"}
    assert ends == sorted(ends)
    assert ends[-1] > timed[-1][0], "up to the last message"
    recorder.end()
    assert set(lake.coverage()["reason"]) == {"stopped"}
    seal.recover(tmp_path / "lake")
    assert set(lake.coverage()["reason"]) == {"stopped"}


def test_a_connection_that_was_cut_is_not_stopped(tmp_path: Path) -> None:
    """The session of a connection that broke ended by a disconnect; the one that followed it was stopped."""
    for number, cut in enumerate((True, False)):
        begin = frames.START + number * frames.HOUR
        recorder = lakes.Recorder(tmp_path / "lake", lakes.session_name(begin))
        recorder.take(lakes.market(20, begin=begin))
        if cut:
            now = recorder.session.now
            recorder.session.end(now, "the peer is gone")
            recorder.flush(now)
            recorder.writer.close()
        else:
            recorder.end()
    seal.recover(tmp_path / "lake")
    books = Lake(tmp_path / "lake").coverage().filter(channel="book", symbol="BTC/USD")
    assert books["reason"].to_list() == ["disconnect", "stopped"]

"""Following a lake while it is written: journals that grow, are sealed and follow each other."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import pytest

import channels
import frames
import lakes
from channels import MS, SESSIONS
from krakpot.compare import compare
from krakpot.compare import live as compare_live
from krakpot.compare.live import Follower, follow
from krakpot.compare.text import lines
from krakpot.errors import ConfigError
from krakpot.lake import seal
from krakpot.lake.lake import Lake


@cache
def market() -> channels.Channels:
    """Twenty seconds of three symbols, the book channel 20 ms late."""
    return channels.run(book=(20 * MS, 0, 0), seconds=20, rate=600.0)


class Recorders:
    """Two recorders of one lake, moved on by hand."""

    def __init__(self, lake: Path, **options: float) -> None:
        """Nothing is written yet."""
        told = market()
        self.sources = [told.book, told.level3]
        self.recorders = [lakes.Recorder(lake, name, precision=told.precision, **options) for name in SESSIONS]
        self.at = [0, 0]

    def until(self, ts: int, which: tuple[int, ...] = (0, 1)) -> None:
        """Receive and flush all up to a time."""
        for i in which:
            timed = list(itertools.takewhile(lambda one: one[0] < ts, self.sources[i][self.at[i] :]))
            self.at[i] += len(timed)
            self.recorders[i].take(timed)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [1e9, 3.0])
def test_every_state_is_seen_once_whether_journals_grow_or_are_sealed(interval: float, tmp_path: Path) -> None:
    """Looks at odd moments, some between sealing and the next journal, give in the end what the sealed lake gives: the
    same states, the same pairs.
    """
    lake = tmp_path / "lake"
    recorders = Recorders(lake, interval=interval)
    follower = Follower(Lake(lake), span=1e6)
    reports = []
    for step in range(1, 21):
        recorders.until(frames.START + step * frames.SECOND)
        if step % 3:
            reports.append(follower.look())
        if step % 4 == 0:
            seal.recover(lake)
        if step == 10:
            reports.append(follower.look())
    last = follower.look()
    assert last is not None
    assert follower.look().top.matches.equals(last.top.matches), "nothing new, nothing changed"  # type: ignore[union-attr]  # a report, as before
    for recorder in recorders.recorders:
        recorder.end()
    seal.recover(lake)
    whole = compare.compare(lake)
    columns = ["symbol", "book_message", "level3_message", "latency_recv"]
    assert last.top.matches.select(columns).equals(whole.top.matches.select(columns))
    assert last.full.matches.select(columns).equals(whole.full.matches.select(columns))
    assert whole.top.matches.height > 300
    assert last.equal
    assert abs(last.total()["latency"]["recv"]["median"] - 20 * MS) < MS
    grown = [0 if one is None else one.top.matches.height for one in reports]
    assert grown == sorted(grown)
    assert grown[0] < grown[-1] / 5


def test_only_the_span_is_shown_and_held(tmp_path: Path) -> None:
    """Five seconds of twenty: what lies before is forgotten, and what a book has been in since then is not missed."""
    lake = tmp_path / "lake"
    recorders = Recorders(lake)
    follower = Follower(Lake(lake), span=5.0, window=1_000 * MS)
    held = []
    for step in range(2, 21, 2):
        recorders.until(frames.START + step * frames.SECOND)
        report = follower.look()
        assert report is not None
        assert report.equal, step
        assert report.total()["seconds"]["together"] <= 3 * 5.01
        held.append(sum(states.height for states in follower._states.values()))
    assert max(held[4:]) < 1.5 * min(held[4:])
    assert len(set(held)) > 2


def test_it_waits_for_both_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that has only begun is waited for; one that never brings level 3 ends with the command for both."""
    lake = tmp_path / "lake"
    recorders = Recorders(lake)
    recorders.until(frames.START + frames.SECOND, (0,))
    follower = Follower(Lake(lake))
    assert follower.look() is None
    recorders.until(frames.START + 3 * frames.SECOND)
    report = follower.look()
    assert report is not None
    assert report.total()["book_states"] > 20, "what came while it waited is compared as well"
    alone = tmp_path / "alone"
    Recorders(alone).until(frames.START + 3 * frames.SECOND, (0,))
    monkeypatch.setattr(compare_live, "START_TIMEOUT", 0.0)
    with pytest.raises(ConfigError, match="the lake has no level3; record both channels"):
        follow(Lake(alone), "*", seconds=0, show=lambda lines: None)


def test_patterns_that_match_nothing_are_not_waited_for(tmp_path: Path) -> None:
    """As soon as the pairs are known it is said, with one that was probably meant."""
    recorders = Recorders(tmp_path / "lake")
    recorders.until(frames.START + frames.SECOND)
    with pytest.raises(ConfigError, match="'btc/usd' matches none of the 3 pairs; did you mean BTC/USD?"):
        follow(Lake(tmp_path / "lake"), "btc/usd", show=lambda lines: None)


def test_a_lake_that_nobody_records_into(tmp_path: Path) -> None:
    """Whoever follows what has ended is told how to compare it."""
    channels.record(tmp_path / "lake", market())
    with pytest.raises(ConfigError, match="no recorder writes into this lake; leave out --live to compare its parts"):
        Follower(Lake(tmp_path / "lake")).look()


def test_it_ends_in_time_and_shows_lines(tmp_path: Path) -> None:
    """The last report is returned; each look shows the lines of its own."""
    recorders = Recorders(tmp_path / "lake")
    recorders.until(frames.START + 5 * frames.SECOND)
    shown: list[list[str]] = []
    report = follow(Lake(tmp_path / "lake"), "BTC/*", seconds=0.2, show=shown.append)
    assert report is not None
    assert list(report.symbols()) == ["BTC/USD"]
    assert shown[-1] == lines(report, most=15)
    assert any(line.startswith("BTC/USD") for line in shown[-1])

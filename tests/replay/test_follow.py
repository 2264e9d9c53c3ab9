"""A recording that is played while it is written: each message once, in order, however the journals end meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

import lakes
from frames import SECOND, Book
from krakpot.lake import journal, seal
from krakpot.lake.folder import Folder
from krakpot.replay import rows
from krakpot.replay.source import TIME_MAX, ReplaySource
from krakpot.stream.stream import EventStream, Listeners

SYMBOLS = ["BTC/USD", "ETH/USD"]
CHANNELS = {"book": SYMBOLS, "trade": SYMBOLS, "ticker": ["ETH/USD"]}


class Heard:
    """What a source plays, by listeners that note it."""

    def __init__(self, lake: Path) -> None:
        """Open the lake at ``lake``."""
        self.events: list[tuple[Any, ...]] = []
        self.stopped = asyncio.Event()
        self.source = ReplaySource(Folder(lake), CHANNELS, start=None, end=None, by="recv", speed=None)
        self.source.choose([*CHANNELS, "gap", "connection"], rows=False)
        self.source.open(cast("EventStream", self))

    def wake(self) -> None:
        """Nobody sleeps."""

    def play(self, until: int = TIME_MAX) -> None:
        """Play all that is there, up to a time."""
        listeners: Listeners = {name: [(self._take, None)] for name in [*CHANNELS, "gap", "connection"]}
        while self.source.play(until, listeners, 1000)[0] not in {"end", "until"}:
            pass

    def _take(self, event: Any) -> None:
        names = ("channel", "symbol", "kind", "checksum", "outcome", "trade_id", "price", "qty", "up", "ts_recv")
        self.events.append((type(event).__name__, *(getattr(event, name, None) for name in names)))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_followed_is_what_is_there(tmp_path: Path, seed: int) -> None:
    """Small looks find what is new, whole looks the rest; the sequence is that of a replay of the whole."""
    dice = random.Random(seed)
    timed = lakes.market(600, step=SECOND // 10, seed=seed)
    recorder = lakes.Recorder(tmp_path / "lake", interval=float(dice.choice([3, 7, 1000])))
    recorder.take(timed[:30])
    heard = Heard(tmp_path / "lake")
    heard.play()
    found: Counter[bool | None] = Counter()
    at = 30
    while at < len(timed):
        step = dice.choice([0, 1, 5, 20, 60])
        recorder.take(timed[at : at + step])
        at += step
        if dice.random() < 0.3:
            seal.recover(tmp_path / "lake")
        more = heard.source.follow()
        found[more] += 1
        if more is None:
            heard.source.go_on()
        heard.play()
    recorder.end()
    heard.source.go_on()
    heard.play()
    seal.recover(tmp_path / "lake")
    whole = Heard(tmp_path / "lake")
    whole.play()
    assert heard.events == whole.events
    assert found[True] > 5, "small looks are of use"
    heard.source.close()
    whole.source.close()


def test_a_small_look_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the journal is."""
    timed = lakes.market(400, step=SECOND // 10)
    recorder = lakes.Recorder(tmp_path / "lake", interval=1000.0)
    for at in range(0, 300, 10):
        recorder.take(timed[at : at + 10])
    heard = Heard(tmp_path / "lake")
    heard.play()
    read: list[int] = []
    real = journal.stream

    def counted(*arguments: Any) -> Any:
        for batches, end in real(*arguments):
            read.append(end)
            yield batches, end

    monkeypatch.setattr(journal, "stream", counted)
    before = len(heard.events)
    for at in range(300, 400, 10):
        recorder.take(timed[at : at + 10])
        assert heard.source.follow()
        heard.play()
    assert len(read) == 10, "each block once"
    other = Book("SOL/USD")
    for n in range(3):
        recorder.take([(timed[-1][0] + n, other.snapshot([("1.0", "1.0")], [("2.0", "1.0")]))])
        assert heard.source.follow() is not None
        heard.play()
    assert len(read) == 13, "blocks of other symbols too"
    assert len(heard.events) > before
    assert heard.source.follow() is False
    recorder.end()
    heard.source.close()


@pytest.mark.parametrize("ends", ["ends", "dies"])
def test_the_end_of_a_recording_is_heard_although_no_message_comes_with_it(tmp_path: Path, ends: str) -> None:
    """The ledger's last rows, written after the last message was played; or the recorder is gone."""
    recorder = lakes.Recorder(tmp_path / "lake", interval=1000.0)
    recorder.take(lakes.market(100))
    heard = Heard(tmp_path / "lake")
    heard.play()
    assert heard.source.session_of("book", "BTC/USD").in_sync("BTC/USD")
    if ends == "ends":
        recorder.end()
    else:
        recorder.die()
    assert heard.source.follow() is None or ends == "dies"
    heard.source.go_on()
    heard.play()
    assert not heard.source.session_of("book", "BTC/USD").in_sync("BTC/USD")
    assert heard.source.down("book", "BTC/USD")
    heard.source.close()


@pytest.mark.parametrize("look", ["follow", "go_on"])
def test_a_look_before_all_is_played_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    """What was read and is not played yet comes first."""
    monkeypatch.setattr(rows, "ROWS", 20)
    timed = lakes.market(300, step=SECOND // 10)
    recorder = lakes.Recorder(tmp_path / "lake", interval=1000.0)
    recorder.take(timed[:200])
    heard = Heard(tmp_path / "lake")
    heard.play(timed[60][0])
    for at in (200, 250):
        recorder.take(timed[at : at + 50])
        getattr(heard.source, look)()
        heard.play(timed[at - 100][0])
    heard.play()
    getattr(heard.source, look)()
    heard.play()
    recorder.end()
    heard.source.go_on()
    heard.play()
    whole = Heard(tmp_path / "lake")
    whole.play()
    assert heard.events == whole.events
    heard.source.close()
    whole.source.close()

"""Alerts: what is told, how often, and that a hook disturbs nothing, whatever it does."""

from __future__ import annotations

import asyncio
import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbox import inbox
from krakpot.config import Config
from krakpot.errors import StorageError
from krakpot.log import LogLine
from krakpot.record import alert, disk, health
from krakpot.record.alert import QUIET, RETRY, RETRY_MAX, SETTLE, Alert, Alerts, Outbox, give, sentence_of
from krakpot.record.disk import NEAR, Keeper
from recording import Recording, proved
from scripted import Exchange, until
from waiting import run

FACTS = {"kind": "gap", "sentence": 'it\'s "gone" $HOME'}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts are soon due, and soon again."""
    for name, value in (("SETTLE", 0.2), ("QUIET", 0.3), ("RETRY", 0.1)):
        monkeypatch.setattr(alert, name, value)


# What is due, without a hook.


def event(now: float, kind: alert.AlertKind = "gap", symbol: str = "A/B") -> Alert:
    """An event at a time."""
    return Alert(kind, f"at {now}", round(now * 1e9), now, symbols={symbol: None})


def test_events_of_one_moment_are_one_alert() -> None:
    """It waits for the others, and says the first one, how many there are, and their symbols."""
    box = Outbox()
    for n in range(150):
        box.put(event(100.0 + n / 1000, symbol=f"P{n % 120}"))
    assert box.take(100.5) is None
    due = box.take(100 + SETTLE)
    assert due is not None
    assert (due.sentence, due.count, len(due.symbols)) == ("at 100.0", 150, 100)
    assert due.facts(Path("lake"))["sentence"] == "at 100.0 (and 149 more)"
    assert box.take(100 + SETTLE) is None


@given(
    st.lists(st.tuples(st.floats(0, 3 * QUIET), st.sampled_from(["gap", "disk"])), max_size=40),
    st.lists(st.floats(0, 3 * QUIET), max_size=40),
)
def test_no_kind_is_told_too_often_and_nothing_is_forgotten(
    events: list[tuple[float, Any]], looks: list[float]
) -> None:
    """Whenever events come and somebody looks: the counts of the alerts are those of the events, and two alerts of a
    kind are apart.
    """
    box, told = Outbox(), []
    for now, kind in sorted([*events, *((look, None) for look in looks)], key=lambda one: one[0]):
        if kind is not None:
            box.put(event(now, kind))
        else:
            while (due := box.take(now)) is not None:
                told.append((due.kind, now, due.count))
    for kind in ("gap", "disk"):
        times = [now for name, now, _ in told if name == kind]
        assert all(later - before >= QUIET for before, later in pairwise(times))
    while (due := box.take(0, last=True)) is not None:
        told.append((due.kind, 0, due.count))
    for kind in ("gap", "disk"):
        assert sum(n for name, _, n in told if name == kind) == sum(name == kind for _, name in events)


def test_what_was_not_delivered_is_tried_again_ever_later() -> None:
    """With what happened meanwhile, the first event first."""
    waits: list[float] = []
    box, now = Outbox(), 0.0
    box.put(event(now))
    for n in range(12):
        now += SETTLE if not waits else waits[-1]
        assert box.take(now - 0.1) is None
        due = box.take(now)
        assert due is not None
        assert (due.sentence, due.count) == ("at 0.0", n + 1)
        box.put(event(now))
        waits.append(box.put_back(due, now))
    assert waits[:3] == [RETRY, 2 * RETRY, 4 * RETRY]
    assert waits[-1] == RETRY_MAX
    assert box.take(now + RETRY_MAX) is not None
    box.delivered()
    box.put(event(now))
    due = box.take(now, last=True)
    assert due is not None
    assert box.put_back(due, now) == RETRY


def test_which_lines_are_trouble() -> None:
    """Wrong checksums only when there are many; other lines never."""
    alerts = Alerts(["true"], Path("lake"), print)
    told: list[tuple[str, str]] = []
    alerts.put = lambda kind, sentence, symbol=None: told.append((kind, sentence))  # type: ignore[method-assign]  # only what is told counts
    for line in ("a note", LogLine("x", "listed"), LogLine("x", "alert_failed", "warning")):
        alerts.take(line)
    assert told == []
    alerts.take(LogLine("sealing failed: no room", "seal_failed", "error"))
    for _ in range(alert.MISMATCHES_MAX):
        alerts.take(LogLine("mismatch", "mismatch", "warning", channel="book", symbol="A/B"))
    assert told == [("sealing", "sealing failed: no room")]
    alerts.take(LogLine("mismatch", "mismatch", "warning", channel="book", symbol="A/B"))
    assert told[1:] == [("checksums", "more than 10 checksums within an hour were wrong, the last one of book A/B")]


def test_sentences_for_people() -> None:
    """Of the ledger's rows, which have JSON in their lines."""
    assert sentence_of(LogLine("gap book {}", "gap", channel="book", seconds=12.34)) == (
        "nothing of book was received for 12.3 s"
    )
    assert sentence_of(LogLine("trade gap", "trade_gap", channel="trade", symbol="A/B", count=1200)) == (
        "1,200 trades of A/B were missed"
    )


# Hooks.


def test_a_command_gets_the_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its standard input and in variables; none of the recorder's secrets."""
    monkeypatch.setenv("KRAKPOT_API_SECRET", "c2VjcmV0")
    monkeypatch.chdir(tmp_path)
    command = 'cat >body; printf %s "$KRAKPOT_ALERT_SENTENCE" >sentence; env >all'
    assert asyncio.run(give(command, FACTS)) == ""
    assert json.loads(Path("body").read_text()) == FACTS
    assert Path("sentence").read_text() == FACTS["sentence"]
    assert "KRAKPOT_ALERT_KIND=gap" in Path("all").read_text()
    assert "KRAKPOT_API" not in Path("all").read_text()


@pytest.mark.parametrize("sentence", ["a\0b", "\ud800", "x" * 300_000, "'; touch pwned; $(touch pwned) `touch pwned`"])
def test_a_sentence_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentence: str) -> None:
    """What no variable can hold is replaced there, and no shell reads it; the JSON has all of it."""
    monkeypatch.chdir(tmp_path)
    facts = FACTS | {"sentence": sentence}
    assert asyncio.run(give('cat >body; printf %s "$KRAKPOT_ALERT_SENTENCE" >sentence', facts)) == ""
    assert json.loads(Path("body").read_text()) == facts
    plain = sentence.replace("\0", "?").replace("\ud800", "?")
    assert Path("sentence").read_text() == plain[: alert.SENTENCE_MAX]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["body", "sentence"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("true", ""), ("exit 3", "it ended with exit code 3"), ("kill -9 $$", "it ended with signal 9"),
        ("echo first >&2; echo 'no such user' >&2; exit 1", "no such user"),
        ("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo; echo end >&2; exit 1", "x"),
        ("exec 0<&-; exit 0", ""),
    ],
)  # fmt: skip
def test_how_a_command_ends(command: str, problem: str) -> None:
    """The last line that it wrote, or its exit code; it need not read, and it may write without end."""
    found = asyncio.run(give(command, FACTS))
    assert found.startswith(problem)
    assert len(found) <= alert.WORDS_MAX
    assert bool(found) == bool(problem)


@pytest.mark.parametrize("command", ["sleep 60", "sleep 60 & exit 0"])
def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """With everything that it started."""
    monkeypatch.setattr(alert, "TIMEOUT", 0.5)
    marked = f"exec 3>{tmp_path}/open; {command}"
    assert asyncio.run(give(marked, FACTS)) == "it took more than 0 s and was ended"
    holders = [path for path in Path("/proc").glob("[0-9]*/fd/3") if _target(path) == str(tmp_path / "open")]
    assert holders == []


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_an_address_gets_the_alert() -> None:
    """By POST, from another process; that it could not be is said without the address, which may be a secret."""
    with inbox() as served:
        assert asyncio.run(give(served.url, FACTS)) == ""
        assert served.alerts == [FACTS]
        served.status = 403
        assert asyncio.run(give(served.url, FACTS)) == "it answered HTTP 403 Forbidden"


# A recorder and its hooks.


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_recording_tells_its_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it began, a gap with its symbol, a sealing that failed, and the error that ended it."""
    monkeypatch.setattr(health, "UNWELL_AFTER", 0.5)
    kept = tmp_path / "kept"
    command = f"cat >>{kept}"

    async def test() -> None:
        with inbox() as served:
            async with Exchange("BTC/USD", "ETH/USD") as exchange:
                recording = Recording(exchange.url, tmp_path / "lake", alert=(served.url, command))
                await until(lambda: recording.live(2))
                await until(lambda: served.kinds() == ["started"])
                exchange.cut()
                for _ in range(80):
                    exchange.markets["ETH/USD"].trade()
                await until(lambda: "gap" in served.kinds())
                # Nobody answers for a while.
                exchange.handshakes = [503] * 1000
                exchange.cut()
                await until(lambda: "stale" in served.kinds())
                recording.recorder.fail(StorageError("the disk is gone", tmp_path))
                with pytest.raises(StorageError):
                    await recording.task
            assert served.kinds()[-1] == "failed"
            assert served.alerts[-1]["sentence"] == f"the recording ended: the disk is gone: {tmp_path}"
            (began,) = (one for one in served.alerts if one["kind"] == "started")
            assert began["lake"] == str(tmp_path / "lake")
            assert set(began) == {"kind", "sentence", "count", "symbols", "ts", "lake", "host", "version"}
            gap = next(one for one in served.alerts if one["kind"] == "gap")
            assert gap["sentence"].startswith("nothing of ")
            assert (gap["count"], gap["symbols"]) == (4, ["ETH/USD"]), "three channels, and the trades of one pair"
            stale = next(one for one in served.alerts if one["kind"] == "stale")
            assert "connection 1" in stale["sentence"]
            both = [json.loads(line)["kind"] for line in kept.read_text().splitlines()]
            assert sorted(both) == sorted(served.kinds())

    run(test())


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_hooks_that_fail_do_not_disturb_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hangs, one fails and is tried again: the recording goes on and ends in order; lines name no secret."""
    monkeypatch.setattr(alert, "TIMEOUT", 1.5)

    async def test() -> None:
        with inbox() as hanging, inbox() as failing:
            hanging.hang.clear()
            failing.status = 500
            async with Exchange("BTC/USD") as exchange:
                hooks = (hanging.url, failing.url, "exit 7")
                recording = Recording(exchange.url, tmp_path, alert=hooks)
                await until(lambda: recording.live(1))
                await until(lambda: sum("HTTP 500" in line for line in recording.logged) >= 2)
                await until(lambda: any("took more than" in line for line in recording.logged))
                failing.status = 200
                await until(lambda: failing.kinds() == ["started"])
                ok = recording.counts["checksums"]["book"]["ok"]
                await until(lambda: recording.counts["checksums"]["book"]["ok"] > ok)
                await recording.end()
            proved(tmp_path)
            lines = [line for line in recording.logged if line.startswith("an alert (started) could not be delivered")]
            assert any("'exit 7': it ended with exit code 7; again in 0 s" in line for line in lines)
            assert not any("secret" in line for line in recording.logged)
            assert all(isinstance(line, LogLine) and line.event == "alert_failed" for line in lines)

    run(test())


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_sealing_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    program = tmp_path / "sealer"
    program.write_text("#!/bin/sh\necho 'krakpot: no room' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    kept = tmp_path / "kept"

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path / "lake", alert=f"cat >>{kept}")
            await until(lambda: kept.exists() and "sealing failed, the journals stay: no room" in kept.read_text())
            await recording.end()

    run(test())


# What is noticed.


def test_a_disk_that_fills_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a bound above --min-free; again only after there was room."""
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    monkeypatch.setattr(disk, "LOOK", 0)
    lines: list[str] = []
    least = 5_000_000_000
    keeper = Keeper(Config(out=tmp_path, min_free=least), lambda: pytest.fail("no ledger"), lines.append)
    monkeypatch.setattr(keeper, "clock", dict)

    async def test() -> None:
        task = asyncio.create_task(keeper.run())
        above = [(NEAR, 0), (NEAR - 1, 1), (NEAR // 2, 1), (NEAR + 1, 1), (NEAR - 1, 1), (2 * NEAR, 1), (NEAR - 1, 2)]
        for bytes_, told in above:
            free[0] = least + bytes_
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(lines) == told, bytes_
        free[0] = least - 1
        with pytest.raises(StorageError, match="less than the 5.0 GB of --min-free"):
            await task

    free[0] = least + NEAR
    asyncio.run(test())
    assert lines[0] == "the disk has 7.0 GB left; the recording ends in order at 5.0 GB (--min-free)"
    assert {line.event for line in lines if isinstance(line, LogLine)} == {"disk_low"}

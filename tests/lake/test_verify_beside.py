"""A proof beside recorders and sealers is right at every moment.

Two recorders write into one lake: journals are begun and ended, sessions are cut and followed, sealers run, one
recorder is killed and started again. Nothing here waits or sleeps: every step of the real code is one step of the test,
and the lake is verified after each of them. A look at the lake takes four listings, so it is also put together from
listings of any four moments, in every combination that the steps allow.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import frames
import lakes
from krakpot import _core
from krakpot.lake import journal, seal
from krakpot.lake.folder import Folder, View, _sealed_between, _view
from krakpot.lake.format import Part, at_work, open_lake
from krakpot.lake.journal import JournalName
from krakpot.lake.verify import Report, _verify, verify
from krakpot.work import no_progress

INTERVAL = 2
"""Seconds after which a journal is closed."""
FLUSH = 12
"""Messages of a flush."""
STEP = frames.SECOND // 12
PROVED = 40
"""After a kill so many steps are proved one by one: until the recorder that is started again has its journals."""
LEFT = ("is not sealed and nobody owns it", "nothing was recorded")
"""What may be said while nobody is at work."""


class Killed(BaseException):
    """The recorder was killed at this step."""


class Process:
    """A recorder as a process: it is at work until it ends or is killed; ``actions`` are what it does, in order."""

    def __init__(self, lake: Path, seed: int, begin: int) -> None:
        self.lake = lake
        self.alive = False
        self._stack = ExitStack()
        self._begin = begin
        self._seed = seed
        self._sessions = 0
        self._names: list[str] = []

    def actions(self) -> Iterator[Callable[[], None]]:
        """Two sessions with two journals and more each."""
        first: list[lakes.Recorder] = []
        yield self._start
        yield lambda: first.append(self._session(None))
        for _ in range(4):
            yield lambda: self._take(first[0])
        yield lambda: first.append(self._reconnect(first[0]))
        for _ in range(3):
            yield lambda: self._take(first[1])
        yield lambda: self._no_rows(first[1])
        yield lambda: self._take(first[1])
        yield lambda: self._end(first[1])

    def _start(self) -> None:
        open_lake(self.lake)
        self._stack.enter_context(at_work(self.lake))
        self.alive = True

    def _session(self, before: lakes.Recorder | None) -> lakes.Recorder:
        """A session, as the recorder's client begins one; its first rows are written."""
        name = lakes.session_name(self._begin + self._sessions * frames.SECOND + self._seed)
        # Names of two recorders differ in their last digits.
        name = f"{name[:-2]}{self._seed:02d}"
        self._sessions += 1
        recorder = lakes.Recorder(self.lake, name, interval=INTERVAL)
        self._names.append(name)
        facts: dict[str, Any] = {"recorder": f"recorder {self._seed}"}
        if before is None:
            recorder.session.add_ledger_row("start", self._begin, detail=json.dumps(facts))
        else:
            facts["previous"] = before.session.id
        recorder.session.add_ledger_row("connect", self._begin, detail=json.dumps(facts))
        if before is not None:
            recorder.session.add_ledger_row("gap", self._begin, ts_from=self._begin, ts_to=self._begin)
        recorder.flush(self._begin)
        self._market = iter(lakes.market(200, begin=self._begin, step=STEP, seed=self._seed))
        return recorder

    def _take(self, recorder: lakes.Recorder) -> None:
        recorder.take(next(self._market) for _ in range(FLUSH))
        self._begin = recorder.session.now

    def _reconnect(self, ended: lakes.Recorder) -> lakes.Recorder:
        """The session is cut; the next one's first rows are written before its last ones."""
        ended.session.end(self._begin, "cut")
        recorder = self._session(ended)
        ended.flush(self._begin)
        ended.writer.close()
        return recorder

    def _no_rows(self, recorder: lakes.Recorder) -> None:
        """The time of a journal is over, but it is not closed before the next one can be begun."""
        self._begin += 3 * INTERVAL * frames.SECOND
        assert recorder.writer.write({}, self._begin) is None
        self._market = iter([(ts + 3 * INTERVAL * frames.SECOND, frame) for ts, frame in self._market])

    def _end(self, recorder: lakes.Recorder) -> None:
        recorder.end()

    def leave(self) -> None:
        """End after the last sealing."""
        self.alive = False
        self._stack.close()

    def kill(self) -> None:
        """Close all files, as the system does; the block that was being written is torn."""
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                path = Path(f"/proc/self/fd/{name}").readlink()
                # A sealer, which is a process of its own, has a journal open to read.
                written = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
                if written and path.suffix == ".journal" and any(session in path.name for session in self._names):
                    os.close(int(name))
                    if not journal.read(path).ended:
                        with path.open("ab") as file:
                            file.write(journal.BLOCK.pack(1, 1000, 0) + b"a flush that never got whole")
        self.leave()


class Stage:
    """Runs the actions of recorders and sealers against each other, step by step."""

    def __init__(
        self, lake: Path, monkeypatch: pytest.MonkeyPatch, *, every: int, kill_at: int | None, two: bool, prove: bool
    ) -> None:
        """Within a sealing, the recorders go on after every ``every`` steps of it; ``two``: recorders, not one."""
        self.two = two
        self.prove = prove
        self.killed_at = 0 if kill_at is None else None
        """Of all steps, the one of the kill; 0 if there is none."""
        self.lake = lake
        self.every = every
        self.kill_at = kill_at
        self.steps = 0
        self.own_steps = 0
        """Steps of the first recorder."""
        self.reports: list[Report] = []
        self.listings: list[tuple[list[Part], list[Part], list[JournalName]]] = []
        self._sealing = 0
        self._acting: Process | None = None
        self._processes: list[Process] = []
        self._queue: list[tuple[Process, Callable[[], None]]] = []
        for name in ("_open", "_append"):
            monkeypatch.setattr(journal.Writer, name, self._watched(getattr(journal.Writer, name)))

    def _watched(self, real: Callable[..., None]) -> Callable[..., None]:
        def watched(*arguments: Any) -> None:
            real(*arguments)
            self.step()

        return watched

    def play(self) -> None:
        """Two recorders from their start to their end; with ``kill_at`` the first one is killed and starts again."""
        # At different times, so that the proof need not compare the two.
        first, second = (Process(self.lake, seed, frames.START - seed * frames.HOUR) for seed in (1, 2))
        self._processes = [first, second]
        mine, other = (list(process.actions()) for process in self._processes)
        for one, another in zip(mine, other, strict=True):
            self._queue += [(first, one), (second, another)] if self.two else [(first, one)]
        while self._queue:
            self._act()
            self._seal()
        for process in self._processes:
            if process.alive:
                self._seal()
                process.leave()
                self.step()

    def _act(self) -> None:
        """The next action of a recorder; it may be the one in which it is killed."""
        process, action = self._queue.pop(0)
        self._acting, before = process, self._acting
        try:
            action()
            self.step()
        except Killed:
            process.kill()
            self.killed_at = self.steps
            self._queue = [(other, action) for other, action in self._queue if other is not process]
            self.kill_at = None
            self.step()
            again = Process(self.lake, 3, frames.START + frames.HOUR)
            self._processes.append(again)
            self._queue += [(again, action) for action in again.actions()]
        finally:
            self._acting = before

    def _seal(self) -> None:
        """A sealer runs; while it does, recorders go on, and once another sealer passes by."""
        count = 0

        def step(_: str) -> None:
            nonlocal count
            count += 1
            self.step()
            if count % self.every == 0 and self._queue:
                self._act()
            if count == 2 * self.every and self._sealing == 1:
                self._seal()

        if journal.journals(self.lake) and self._sealing < 2:
            self._sealing += 1
            acting, self._acting = self._acting, None
            try:
                seal.recover(self.lake, step=step)
            finally:
                self._sealing -= 1
                self._acting = acting

    def step(self) -> None:
        """List what there is, and prove it; then go on, or be killed."""
        if not (self.lake / "_lake.json").exists():
            return
        self.steps += 1
        folder = Folder(self.lake)
        parts = [part for table in _core.TABLES for part in folder.parts(table)]
        self.listings.append((folder.parts("ledger"), parts, journal.journal_names(self.lake)))
        if self._due():
            report = verify(self.lake, threads=1)
            self.reports.append(report)
            if any(process.alive for process in self._processes):
                assert report.problems == [], f"step {self.steps}"
            else:
                assert all(any(one in sentence for one in LEFT) for sentence in report.problems)
        if self._acting is self._processes[0]:
            self.own_steps += 1
            if self.own_steps == self.kill_at:
                raise Killed

    def _due(self) -> bool:
        """Whether this step is proved.

        Without a kill each is. Until a kill all is as without it; after a kill come the same steps again, in a greater
        lake: of these each third one is proved, another one at each kill.
        """
        if not self.prove or self.killed_at is None:
            return False
        since = self.steps - self.killed_at
        at_work = any(process.alive for process in self._processes)
        return not self.killed_at or since <= PROVED or since % 3 == self.killed_at % 3 or not at_work

    def views(self) -> Iterator[View]:
        """What a look would have seen whose four listings were taken at any four steps, one after the other."""
        folder = Folder(self.lake)
        ledgers, tables, journals = (changes(list(which)) for which in zip(*self.listings, strict=True))
        last = self.listings[-1][1]
        for n, (ledger, begin, _) in enumerate(ledgers):
            for parts, begin_parts, end_parts in tables:
                for names, begin_names, end_names in journals:
                    for again, _, end_again in ledgers[n:]:
                        at_parts = max(begin, begin_parts)
                        at_names = max(at_parts, begin_names)
                        if at_parts < end_parts and at_names < end_names and at_names < end_again:
                            found = [*(part for part in parts if part.table != "ledger"), *ledger]
                            sealed = _sealed_between(ledger, again)
                            fresh = [part for part in last if (part.session, part.number) in sealed]
                            yield _view(folder, found, names, sealed, fresh)


def changes(listings: list[Any]) -> list[tuple[Any, int, int]]:
    """Each listing with the first step at which it was so, and the step at which it was not any more."""
    starts = [0, *(n for n, (one, other) in enumerate(pairwise(listings), 1) if one != other), len(listings)]
    return [(listings[begin], begin, end) for begin, end in pairwise(starts)]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Makes stages in a lake of their own."""
    monkeypatch.setattr("krakpot.lake.format.PROBE_PAUSE", 0)
    return lambda kill_at=None, *, every=2, two=False, prove=True: Stage(
        tmp_path / "lake", monkeypatch, every=every, kill_at=kill_at, two=two, prove=prove
    )


@pytest.mark.parametrize(
    ("every", "two"), [(2, False), *(pytest.param(n, True, marks=pytest.mark.slow) for n in (1, 2, 3))]
)
def test_a_proof_is_right_after_every_step(stage: Callable[..., Stage], every: int, two: bool) -> None:
    """Of one recorder or two and their sealers, that overlap in different ways."""
    played = stage(every=every, two=two)
    played.play()
    assert (played.steps > 50, played.own_steps > 20) == (True, True)
    assert len({report.ok for report in played.reports}) > 3, "the proof grew meanwhile"
    last = played.reports[-1]
    assert (last.proved, last.sessions, waiting(last)) == (True, 4 if two else 2, [])
    # What the last proof has no earlier one exceeds, and none goes back.
    assert [report.ok for report in played.reports] == sorted(report.ok for report in played.reports)


def waiting(report: Report) -> list[str]:
    """Notes about what was not verified."""
    return [note for note in report.notes if "not verified" in note]


STEPS = range(1, 30, 2) if os.environ.get("KRAKPOT_TEST") == "all" else range(2, 30, 7)
"""After which of a recorder's 29 steps it is killed. Each takes a quarter of a minute, so not all are tried."""


def killed_at(stage: Callable[..., Stage], step: int) -> Stage:
    """The first recorder is killed after its step, and starts again; afterwards everything is proved."""
    played = stage(step, every=1 + step % 3, two=True)
    played.play()
    assert played.kill_at is None, "it was killed"
    last = played.reports[-1]
    assert (last.proved, waiting(last)) == (True, [])
    assert last.sessions >= 4
    return played


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_proof_is_right_wherever_a_recorder_is_killed(stage: Callable[..., Stage], step: int) -> None:
    """Between any two of its steps, also between the two halves of a write."""
    killed_at(stage, step)


@pytest.mark.parametrize(
    ("kill_at", "two"), [(9, False), *(pytest.param(n, True, marks=pytest.mark.slow) for n in (None, 9, 16))]
)
def test_a_look_is_right_whatever_happens_between_its_listings(
    stage: Callable[..., Stage], kill_at: int | None, two: bool, record_property: Callable[[str, object], None]
) -> None:
    """What is settled can always be proved; the rows of each journal are there once."""
    # The tests above prove the steps themselves.
    played = stage(kill_at, two=two, prove=False)
    played.play()
    everything = {part for _, parts, _ in played.listings for part in parts}
    seen: dict[tuple[frozenset[Part], frozenset[str]], View] = {}
    looks = 0
    for view in played.views():
        looks += 1
        settled = view.settled()
        seen.setdefault((frozenset(settled.parts), frozenset(view.unsettled)), settled)
        waiting = {(name.session, name.number) for name in view.journals}
        there = {(part.session, part.number) for part in view.parts}
        assert not there & waiting, "rows would be there twice"
        for session, number in there:
            mine = {part for part in view.parts if (part.session, part.number) == (session, number)}
            assert mine == {part for part in everything if (part.session, part.number) == (session, number)}
    for settled in seen.values():
        report = Report(settled.folder.path)
        _verify(settled, report, 1, no_progress)
        assert report.problems == []
    record_property("looks", looks)
    record_property("different", len(seen))
    assert (looks > 500, len(seen) > 5) == (True, True)

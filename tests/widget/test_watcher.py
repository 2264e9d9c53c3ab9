"""The views of a widget in its kernel, with a front end that is a list: what it is sent, when nothing, how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import krakpot
import lakes
from frames import SECOND, START
from krakpot.lake.format import MARKER
from krakpot.serve import viewer
from krakpot.widget import watcher
from krakpot.widget.watcher import THREAD, VIEWS_MAX, Send, Watcher
from streams import Book, Clock, Message, decode
from viewing import SYMBOL, same, truth
from waiting import run

PATIENCE = 60.0
"""Seconds after which what is waited for has failed, however slow the machine is."""


class Front:
    """The front end of one view. It answers batches by itself while ``reads``."""

    def __init__(self, make: Callable[[Send], Watcher], name: str = "one") -> None:
        """``make``: the watcher that sends to it."""
        self.name = name
        self.reads = True
        self.heard: list[Message] = []
        self.batches: list[int] = []
        self.end = ""
        self.again = False
        self.watcher = make(self.take)
        self.watcher.receive({"view": name, "type": "open"})

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Get a message, as over a comm."""
        if content["view"] != self.name:
            return
        self.end = content.get("end", self.end)
        self.again |= content.get("again", False)
        left = list(buffers)
        for text in content.get("messages", ()):
            self.heard.append(decode(left.pop(0)) if text is None else json.loads(text))
        assert not left, "as many buffers as places for them"
        if "batch" in content:
            self.batches.append(content["batch"])
            if self.reads:
                self.send("read", batch=content["batch"])

    def send(self, kind: str, **more: Any) -> None:
        """Send a message to the kernel."""
        self.watcher.receive({"view": self.name, "type": kind, **more})

    def ask(self, method: str, **more: Any) -> dict[str, Any]:
        """Send a request, and wait for its answer."""
        before = len(self.heard)
        self.send("request", text=json.dumps({"method": method, **more}))
        found: dict[str, Any] = self.until(lambda one: isinstance(one, dict) and one.get("method") == method, before)
        return found

    def until(self, condition: Callable[[Any], bool], since: int = 0) -> Any:
        """The first message of which something is true, from a place on."""
        return wait(lambda: next(filter(condition, self.heard[since:]), None))

    def shown_at(self, at: int) -> Book:
        """The state at a time, after going there."""
        answer = self.ask("seek", at_us=at // 1000)
        assert answer["success"]
        since = next(i for i, one in enumerate(self.heard) if one is answer)
        found: Book = self.until(lambda one: isinstance(one, Book) and one.not_continued, since)
        return found


def wait(condition: Callable[[], Any]) -> Any:
    """Wait until something is true, while threads work; it."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
    return found


def threads() -> list[threading.Thread]:
    """Those of widgets."""
    return [one for one in threading.enumerate() if one.name == THREAD]


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No test leaves a thread behind."""
    yield
    wait(lambda: not threads())


@pytest.fixture
def lake(tmp_path: Path) -> krakpot.Lake:
    """Half a minute of two pairs."""
    lakes.make(tmp_path / "lake", lakes.market(1500))
    return krakpot.Lake(tmp_path / "lake")


@pytest.fixture
def front(lake: krakpot.Lake) -> Iterator[Front]:
    """A view of the lake."""
    found = Front(lambda send: Watcher(lake, send))
    yield found
    found.watcher.close()


def test_a_lake_is_shown_exactly(front: Front, lake: krakpot.Lake) -> None:
    """Going to and fro, each state is the lake's book at that time, level by level."""
    hello = front.until(lambda one: isinstance(one, dict))
    assert (hello["type"], hello["source"]) == ("hello", "lake")
    assert front.ask("pause")["success"]
    assert front.ask("subscribe", symbols=[SYMBOL], depth=10)["success"]
    for seconds in (20.25, 5.5, 27.75):
        at = START + int(seconds * SECOND)
        state = front.shown_at(at)
        assert state.in_sync
        same(state, truth(lake.path, SYMBOL, at))
    refused = front.ask("subscribe", symbols=["BTC/EUR"])
    assert not refused["success"]
    assert "BTC/EUR" in refused["error"]
    before = len(front.heard)
    front.send("request", text="x" * (watcher.REQUEST_MAX + 1))
    answer = front.until(lambda one: isinstance(one, dict), before)
    assert "at most" in answer["error"]


def test_it_plays_while_the_kernel_is_busy(front: Front) -> None:
    """Nobody of the kernel's own thread takes part: it is played although that does other work."""
    front.ask("subscribe", symbols=[SYMBOL], depth=10)
    first = front.until(lambda one: isinstance(one, Book))
    end = time.monotonic() + PATIENCE
    while not any(isinstance(one, Book) and one.ts_recv > first.ts_recv + SECOND for one in front.heard):
        # As a cell that computes and never waits.
        sum(range(1000))
        assert time.monotonic() < end


def test_a_front_end_that_reads_nothing_is_sent_nothing_more(front: Front) -> None:
    """At most the batches of the window are on their way; what comes after them is the newest."""
    front.ask("subscribe", symbols=[SYMBOL], depth=10)
    front.ask("speed", speed=5.0)
    front.until(lambda one: isinstance(one, Book))
    front.reads = False
    view = front.watcher.views[front.name]
    assert view.viewer is not None
    wait(lambda: view.viewer is not None and view.viewer.full)
    sent, batches = len(front.heard), list(front.batches)
    assert view.viewer.pinged - view.viewer.answered == viewer.WINDOW
    # Ten times as long as it would take to send one more.
    time.sleep(10 / viewer.RATE)
    assert (len(front.heard), front.batches) == (sent, batches)
    front.reads = True
    front.send("read", batch=batches[-1])
    newer = front.until(lambda one: isinstance(one, Book), sent)
    older = [one for one in front.heard[:sent] if isinstance(one, Book)][-1]
    assert newer.ts_recv > older.ts_recv


def test_a_batch_that_is_lost_is_not_waited_for(front: Front) -> None:
    """A front end that hears nothing says so, and gets the next state."""
    front.ask("subscribe", symbols=[SYMBOL], depth=10)
    front.until(lambda one: isinstance(one, Book))
    front.reads = False
    view = front.watcher.views[front.name]
    wait(lambda: view.viewer is not None and view.viewer.full)
    sent = len(front.heard)
    front.send("read", batch=0)
    time.sleep(0.2)
    assert len(front.heard) == sent, "an old number answers nothing"
    front.reads = True
    front.send("read", batch=0, idle=True)
    front.until(lambda one: isinstance(one, Clock), sent)


def test_a_front_end_that_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch, front: Front) -> None:
    """Its thread ends; if it comes back it is told to open a new view."""
    monkeypatch.setattr(viewer, "PATIENCE", 0.2)
    front.reads = False
    front.ask("subscribe", symbols=[SYMBOL], depth=10)
    wait(lambda: not threads())
    assert not front.watcher.views
    assert front.end == ""
    front.send("read", batch=1)
    assert front.again
    front.send("close")
    front.watcher.receive("not of a front end")


def test_many_views(front: Front) -> None:
    """Each has a place of its own; one more than allowed is told so. Closing one leaves the others."""
    others = [Front(lambda send: front.watcher, str(i)) for i in range(VIEWS_MAX - 1)]
    wait(lambda: len(threads()) >= VIEWS_MAX)
    told: list[dict[str, Any]] = []
    front.watcher._send = lambda content, buffers: told.append(content)  # as the last of all front ends
    front.watcher.receive({"view": "more", "type": "open"})
    assert any(f"{VIEWS_MAX} views" in one.get("end", "") for one in told if one["view"] == "more")
    others[0].send("close")
    wait(lambda: others[0].name not in front.watcher.views)
    assert len(front.watcher.views) == VIEWS_MAX - 1


def test_closing_ends_the_threads(front: Front) -> None:
    """At once, and nothing can be opened any more."""
    front.until(lambda one: isinstance(one, dict))
    front.watcher.close()
    wait(lambda: not threads())
    front.send("open")
    assert not front.watcher.views


def test_a_lake_that_cannot_be_read(tmp_path: Path) -> None:
    """The front end gets the reason instead of a picture."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    lake = krakpot.Lake(tmp_path / "lake")
    (tmp_path / "lake" / MARKER).unlink()
    front = Front(lambda send: Watcher(lake, send))
    assert "not a lake" in wait(lambda: front.end)


def test_the_end_of_the_kernel_ends_it(tmp_path: Path) -> None:
    """Its threads do not keep the process."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    program = f"""
import time, krakpot
from krakpot.widget.watcher import Watcher
got = []
watcher = Watcher(krakpot.Lake({str(tmp_path / "lake")!r}), lambda content, buffers: got.append(content))
watcher.receive({{"view": "one", "type": "open"}})
while not got:
    time.sleep(0.01)
print(len(watcher.views))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_feed() -> None:
    """It is shown in its own loop, without a thread; when it is closed the front end is told."""

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=2, rate=200)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], depth=10, url=exchange.address) as feed,
        ):
            loop = asyncio.get_running_loop()
            front = Front(lambda send: Watcher(feed, send, loop=loop))
            while not front.heard:
                await asyncio.sleep(0.01)
            hello = front.heard[0]
            assert isinstance(hello, dict)
            assert hello["source"] == "live"
            text = json.dumps({"method": "subscribe", "symbols": [SYMBOL], "depth": 10})
            front.send("request", text=text)
            while not any(isinstance(one, Book) and one.in_sync for one in front.heard):
                await asyncio.sleep(0.01)
            assert not threads()
            await feed.close()
            while not front.end:
                await asyncio.sleep(0.01)
            assert "over" in front.end
            while front.watcher.views:
                await asyncio.sleep(0.01)

    run(main())

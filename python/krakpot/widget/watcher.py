"""The views of one widget in its kernel: each is a client of the stream, over the comm of the widget.

What ``krakpot view`` sends over a socket goes in batches: ``{"view", "messages", "batch"}``, where a message is a JSON
text, or null for the next of the buffers, which are the binary messages of docs/reference/stream.md. The front end
answers each batch that has a number. After ``viewer.WINDOW`` batches without an answer nothing more is sent until it
answers, and then the newest state: a front end that is slow, hidden or gone costs nothing.

A front end sends ``{"view", "type"}``: ``open``, ``read`` (with ``batch``), ``request`` (with ``text``), ``close``. It
gets ``{"view", "end"}``, a sentence, when nothing more comes, and ``{"view", "again": true}`` if it is to open again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from krakpot.errors import CLOSED, KrakpotError
from krakpot.feed.feed import Feed
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE
from krakpot.serve.client import Client, refused
from krakpot.serve.market import Market
from krakpot.serve.source import Source
from krakpot.serve.viewer import Viewer

VIEWS_MAX = 8
"""Views of one widget at a time: each plays a lake."""
REQUEST_MAX = 64 << 10
"""Characters of a request."""
PAIRS_EVERY, PAIRS_SELDOM = 5.0, 20.0
"""Seconds between two looks at whether there are new pairs; where nobody records, more."""
END_EVERY = 0.25
"""Seconds between two looks at whether the kernel has ended."""
THREAD = "krakpot-widget"

Send = Callable[[dict[str, Any], list[bytes]], None]
"""Sends a message and its buffers to the front ends of a widget."""
T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Do some work in a thread of its own. Threads of a pool could not be had while the kernel ends."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def do() -> None:
        try:
            done.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001  # who waits for the result gets it
            done.set_exception(error)

    threading.Thread(target=do, name=THREAD).start()
    return await asyncio.wrap_future(done)


class Watcher:
    """The views of a lake or of a feed in one widget."""

    def __init__(
        self,
        shown: Folder | Feed,
        send: Send,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        market: Market | None = None,
    ) -> None:
        """``loop`` and ``market``: of a feed, that in which it runs, and what it fills."""
        self.views: dict[str, View] = {}
        self._shown = shown
        self._send = send
        self._loop = loop
        self._market = market
        self._closed = False

    def receive(self, content: object) -> None:
        """Take a message of a front end. In any thread."""
        if not isinstance(content, Mapping) or not isinstance(name := content.get("view"), str):
            # Not of our front end.
            return
        view = self.views.get(name)
        if content.get("type") == "open":
            self._open(name)
        elif view is not None:
            view.receive(content)
        elif content.get("type") != "close":
            self._send({"view": name, "again": True}, [])

    def _open(self, name: str) -> None:
        if self._closed or name in self.views:
            return
        if len(self.views) >= VIEWS_MAX:
            sentence = f"{VIEWS_MAX} views of this widget are shown; close one of them, or run its cell again."
            self._send({"view": name, "end": sentence}, [])
            return
        view = self.views[name] = View(name, self._shown, self._send, self._market)
        if self._loop is not None:
            # The future keeps the task alive.
            view.task = asyncio.run_coroutine_threadsafe(self._run(view), self._loop)
        else:
            threading.Thread(target=lambda: asyncio.run(self._run(view)), name=THREAD).start()

    async def _run(self, view: View) -> None:
        try:
            await view.run()
        finally:
            self.views.pop(view.name, None)

    def close(self) -> None:
        """End all views."""
        self._closed = True
        for view in list(self.views.values()):
            view.receive({"type": "close"})


class View:
    """One view, from when it is opened until it is closed, or its front end is gone."""

    def __init__(self, name: str, shown: Folder | Feed, send: Send, market: Market | None) -> None:
        """Begin with ``run``."""
        self.name = name
        self.task: Future[None] | None = None
        self.viewer: Viewer | None = None
        self._shown = shown
        self._market = market
        self._send = send
        self._inbox: deque[Mapping[str, Any]] = deque()
        self._requests: asyncio.Queue[str] = asyncio.Queue()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = asyncio.Event()
        self._woken = asyncio.Event()

    def receive(self, content: Mapping[str, Any]) -> None:
        """Take a message of the front end. In any thread."""
        with self._lock:
            self._inbox.append(content)
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Serve the front end."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
        self._woken.set()
        try:
            await self._serve()
        except TimeoutError:
            # Its front end is gone, or hidden for long; if it comes back it opens again.
            return
        except (KrakpotError, *UNREADABLE) as error:
            self._end(str(error) or type(error).__name__)
        except Exception as error:
            self._end(f"krakpot failed, which is an error in it: {error!r}")
            raise
        finally:
            with self._lock:
                self._loop = None

    async def _serve(self) -> None:
        source = Source(self._shown, in_thread, market=self._market)
        await source.begin()
        client = Client(source)
        self.viewer = client.viewer
        comm = _Comm(self.name, self._send, client.viewer)
        comm.text(source.hello())
        work = (self._read(client.viewer), self._answer(client, comm), self._play(client, comm))
        tasks = [asyncio.create_task(one) for one in (*work, self._look(source, comm), self._over(source))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if client.place is not None:
                client.place.close()

    def _end(self, sentence: str) -> None:
        self._send({"view": self.name, "end": sentence}, [])

    async def _read(self, viewer: Viewer) -> None:
        """Take what the front end sends, as soon as it comes."""
        while not self._closed.is_set():
            await self._woken.wait()
            self._woken.clear()
            while self._inbox:
                self._take(self._inbox.popleft(), viewer)

    def _take(self, content: Mapping[str, Any], viewer: Viewer) -> None:
        kind, batch, text = content.get("type"), content.get("batch"), content.get("text")
        if kind == "close":
            self._closed.set()
        elif kind == "request" and isinstance(text, str):
            self._requests.put_nowait(text)
        elif kind == "read" and isinstance(batch, int):
            # One that hears nothing says so: what it has not read is lost, and was read in a way.
            last = viewer.pinged if content.get("idle") is True else min(batch, viewer.pinged)
            while viewer.answered < last:
                viewer.pong()

    async def _answer(self, client: Client, comm: _Comm) -> None:
        while True:
            text = await self._requests.get()
            if len(text) > REQUEST_MAX:
                comm.text(refused(f"a request is a text of at most {REQUEST_MAX:,} characters"))
            else:
                comm.text(await client.answer(text))

    async def _play(self, client: Client, comm: _Comm) -> None:
        while True:
            await client.viewer.wait()
            if client.place is not None:
                # This thread has nothing else to do.
                client.place.advance()
            await client.viewer.send(comm)

    async def _look(self, source: Source, comm: _Comm) -> None:
        """Tell of pairs that join the feed, or the lake that is recorded."""
        told = len(source.pairs)
        while True:
            await asyncio.sleep(PAIRS_SELDOM if source.idle else PAIRS_EVERY)
            # Of what cannot be read the front end is told when it is played.
            with suppress(KrakpotError, *UNREADABLE):
                await source.look()
            if told < len(source.pairs):
                told = len(source.pairs)
                comm.text({"type": "symbols", "symbols": source.symbols()})

    async def _over(self, source: Source) -> None:
        """Wait until the kernel ends, or the feed."""
        live = source.live
        while threading.main_thread().is_alive():
            if live is not None and live.over:
                self._end(f"This view is over: {live.error or CLOSED}.")
                return
            await asyncio.sleep(END_EVERY)


class _Comm:
    """The way to one front end, as the socket of a client is."""

    def __init__(self, view: str, send: Send, viewer: Viewer) -> None:
        self._view = view
        self._send = send
        self._viewer = viewer
        self._messages: list[str | None] = []
        self._buffers: list[bytes] = []

    def text(self, message: dict[str, Any]) -> None:
        """Send a text message at once."""
        self._send({"view": self._view, "messages": [json.dumps(message)]}, [])

    async def send_bytes(self, data: bytes) -> None:
        """Put a binary message into the batch."""
        self._messages.append(None)
        self._buffers.append(data)

    async def send_json(self, data: Any) -> None:  # noqa: ANN401  # as aiohttp has it
        """Put a text message into the batch."""
        self._messages.append(json.dumps(data))

    async def ping(self, message: bytes) -> None:  # noqa: ARG002  # as aiohttp has it
        """Send the batch; the front end answers its number."""
        content = {"view": self._view, "messages": self._messages, "batch": self._viewer.pinged}
        buffers = self._buffers
        self._messages, self._buffers = [], []
        self._send(content, buffers)

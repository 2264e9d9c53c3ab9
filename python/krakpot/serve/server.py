"""``krakpot view``: a page on a lake or a feed, the stream that it draws, and the files of the lake.

>>> async def main():
...     async with ViewServer("data") as server:
...         print(server.address)
...         await asyncio.Event().wait()
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from html import escape
from http import HTTPStatus
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler, Middleware

from krakpot import __version__, values
from krakpot.errors import ConfigError, KrakpotError
from krakpot.feed.feed import Feed
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE
from krakpot.lake.lake import Lake
from krakpot.log import LogLine, LogRateLimit
from krakpot.net.http import cannot_listen
from krakpot.serve import parts, trades
from krakpot.serve import request as requests
from krakpot.serve.facts import LakeFacts, PairFacts, facts_of, spans_of
from krakpot.serve.guard import EVERY, Guard
from krakpot.serve.live import Live
from krakpot.serve.place import Place
from krakpot.serve.viewer import OVERVIEW_BOOKS, RATE, Viewer
from krakpot.values import LOOPBACK

PLACE = "krakpot.serve.server.ViewServer"
STREAM = 1
"""Version of the stream: docs/reference/stream.md."""
STALE_AFTER = 3.0
"""Seconds without a clock after which a client calls what it shows stale."""
REQUEST_MAX = 64 << 10
"""Bytes of a request of the stream."""
CLIENTS_MAX = 64
"""Clients of the stream at a time."""
THREADS = 8
"""Threads that read lakes, for all clients."""
QUESTIONS = 2
"""Questions about a lake that are answered at a time: each may read much, and the threads left over play it."""
CLOSE_TIMEOUT = 2.0
"""Seconds."""
PAIRS_EVERY = 1.0
"""Seconds between two looks at whether there are new pairs, at least."""
PAIRS_SHARE = 50
"""A look that takes long, as at a large lake, is followed by so many times as long without one …"""
PAIRS_SELDOM = 20.0
"""… and by no more seconds than these; so long where nobody records, too: somebody may begin again."""
COOKIE = "krakpot_view"
PAGE = Path(__file__).parent.parent / "page"
"""The page: static files."""
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".pck": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
}
"""Content types of static files; no other file is served."""
HEADERS = {
    # The page may use shared memory and exact clocks; other pages get nothing of it.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # The address may hold the token.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
NO_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>krakpot view</title>
<body style="font: 16px/1.5 system-ui; max-width: 42rem; margin: 3rem auto; padding: 0 1rem">
<h1>krakpot view</h1>
<p>This build has no page. Its files are in <code>python/krakpot/page/</code> of krakpot's repository, and belong in
<code>PAGE</code>.</p>
<p>The stream is at <code>/stream</code>, a WebSocket, and any program can draw it:</p>
<pre>
const socket = new WebSocket(`ws://${location.host}/stream`)
socket.binaryType = "arraybuffer"
const wanted = {method: "subscribe", symbols: ["BTC/USD"], depth: 100}
socket.onopen = () =&gt; socket.send(JSON.stringify(wanted))
</pre>
<p><code>docs/reference/stream.md</code> describes its messages.
<a href="/lake">/lake</a> lists the files of a lake.</p>
</body>
</html>
"""

LOGGER = logging.getLogger(__name__)
# What aiohttp logs are faults of clients, with tracebacks.
LOGGER.setLevel(logging.CRITICAL)

T = TypeVar("T")


class ViewServer:
    """Serves a lake or a feed to programs that draw, while its ``async with`` block runs.

    Parameters
    ----------
    source
        A ``krakpot.Lake`` or its folder, which may be recorded meanwhile; or a ``krakpot.Feed`` that is started.
    host, port
        Where it listens; port 0 chooses a free one.
    token
        What every request must carry; None: nothing on this machine only, else a new one is made.
    page
        The folder of the page.
    log
        Is called with lines about clients and faults.

    Attributes
    ----------
    address : str
        What a browser opens, with the token.
    token : str | None
        As given, or as made.
    viewers : set
        The clients that are there.

    Raises
    ------
    ConfigError
        An option is wrong, or it cannot listen there.
    StorageError
        The folder is not a lake, or its ledger cannot be read.

    Examples
    --------
    >>> async def main():
    ...     async with krakpot.Feed(["BTC/USD"]) as feed, ViewServer(feed, port=0) as server:
    ...         print(server.address)

    """

    def __init__(
        self,
        source: Folder | Feed | str | PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        page: Path = PAGE,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Check the options; it listens from ``async with`` on."""
        if token is not None:
            try:
                token = values.token(token)
            except ValueError as error:
                raise ConfigError(f"{PLACE}: token: the value is not allowed; allowed is {error}") from None
        self.token = secrets.token_urlsafe(24) if token is None and host not in LOOPBACK else token
        self.everywhere = host in EVERY
        """Whether it listens on all addresses of this machine."""
        self.address = self.stream_address = ""
        self.viewers: set[Viewer] = set()
        self.served = 0
        """Clients of the stream that came."""
        self._feed = source if isinstance(source, Feed) else None
        self._lake = (
            None if isinstance(source, Feed) else Lake(source.path if isinstance(source, Folder) else Path(source))
        )
        self._live: Live | None = None
        self._facts: LakeFacts | None = None
        self._pairs: dict[str, PairFacts] = {}
        self._host, self._port = host, port
        self._page = page
        self._guard = Guard(host, self.token)
        self._log = log
        self._limit = LogRateLimit()
        self._pool: ThreadPoolExecutor
        self._runner: web.AppRunner
        self.closing = asyncio.Event()
        self._told: dict[web.WebSocketResponse, int] = {}
        """How many pairs each client knows."""
        self._seats = CLIENTS_MAX
        self._questions = asyncio.Semaphore(QUESTIONS)
        self._look: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._pool = ThreadPoolExecutor(THREADS, "krakpot-view")
        try:
            if self._feed is not None:
                self._live = Live(self._feed)
                self._pairs = self._live.pairs
            else:
                await self._lake_facts()
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        app = web.Application(middlewares=[self._middleware()], client_max_size=REQUEST_MAX)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/trades.arrow", self._trades)
        app.router.add_get("/lake", self._list)
        app.router.add_get("/lake/{path:.*}", self._part)
        app.router.add_get("/{path:.*}", self._static)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, logger=LOGGER, shutdown_timeout=CLOSE_TIMEOUT
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except (OSError, UnicodeError) as error:
            await self._runner.cleanup()
            self._pool.shutdown(wait=False)
            raise ConfigError(cannot_listen(PLACE, self._host, "port", self._port, error)) from None
        port = self._runner.addresses[0][1]
        host = EVERY.get(self._host, self._host)
        host = f"[{host}]" if ":" in host else host
        query = "" if self.token is None else f"?token={quote(self.token, safe='')}"
        self.address, self.stream_address = f"http://{host}:{port}/{query}", f"ws://{host}:{port}/stream{query}"
        self._cookie = f"{COOKIE}_{port}"
        self._look = asyncio.create_task(self._look_for_pairs())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; clients that are there are told so."""
        if self._look is not None:
            self._look.cancel()
        self.closing.set()
        await self._runner.cleanup()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for line in self._limit.rest():
            self._log(line)

    def _say(self, sentence: str, event: str, level: str = "info", **facts: object) -> None:
        for line in self._limit.take(LogLine(sentence, event, level, **facts), time.monotonic()):
            self._log(line)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *arguments))

    async def _asked(self, work: Callable[..., T], *arguments: object) -> T:
        """Answer a question about the lake, when others are answered."""
        async with self._questions:
            return await self._in_thread(work, *arguments)

    async def _lake_facts(self) -> LakeFacts:
        """See what the lake has now; pairs that are new come behind the others, whose numbers stay."""
        assert self._lake is not None, "asked only of a lake"
        facts = await self._asked(facts_of, self._lake)
        self._facts = facts
        for pair in facts.pairs:
            self._pairs[pair.symbol] = pair
        return facts

    # HTTP.

    def _middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        return guarded

    async def _guarded(self, asked: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who may not connect; an error is an answer, and ends nothing."""
        given = asked.query.get("token") or asked.cookies.get(self._cookie)
        refusal = self._guard.refusal(asked.headers, given)
        try:
            answer = _error(*refusal) if refusal is not None else await handler(asked)
        except web.HTTPException as error:
            answer = _error(HTTPStatus(error.status), error.reason)
        except KrakpotError as error:
            answer = _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except (OSError, ValueError, ConnectionError) as error:
            self._say(f"{asked.path}: {error}", "fault", "error")
            answer = _error(HTTPStatus.INTERNAL_SERVER_ERROR, "this cannot be answered; the server's log says why")
        if answer.prepared:
            return answer
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        if refusal is None and self.token is not None and asked.query.get("token"):
            # What the page loads from here carries it then, without an address that holds it.
            answer.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", path="/")
        return answer

    async def _static(self, asked: web.Request) -> web.StreamResponse:
        name = asked.match_info["path"] or "index.html"
        path = await self._in_thread(_file_below, self._page, name)
        if path is None:
            if name == "index.html":
                return web.Response(text=NO_PAGE.replace("PAGE", escape(str(self._page))), content_type="text/html")
            return _error(HTTPStatus.NOT_FOUND, "there is no such file")
        return web.FileResponse(path, headers={"Content-Type": KINDS[path.suffix]})

    async def _list(self, _: web.Request) -> web.StreamResponse:
        if self._lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has files")
        # In this order: parts that are sealed meanwhile are of journals that were seen.
        unsealed = await self._asked(parts.unsealed, self._lake)
        return web.json_response({"parts": await self._asked(parts.listed, self._lake), "unsealed": unsealed})

    async def _part(self, asked: web.Request) -> web.StreamResponse:
        if self._lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has files")
        path = await self._in_thread(parts.file_of, self._lake, asked.match_info["path"])
        if path is None:
            return _error(HTTPStatus.NOT_FOUND, "the lake has no such part; /lake lists them")
        return web.FileResponse(path, headers={"Content-Type": KINDS[".parquet"]})

    async def _trades(self, asked: web.Request) -> web.StreamResponse:
        if self._lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has trades of the past")
        try:
            data = await self._asked(trades.answer, self._lake, dict(asked.query))
        except trades.RefusedError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        return web.Response(body=data, headers={"Content-Type": trades.CONTENT_TYPE})

    # The stream.

    async def _stream(self, asked: web.Request) -> web.StreamResponse:
        if not self._seats:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"{CLIENTS_MAX} clients are connected; close one")
        self._seats -= 1
        try:
            return await self._seated(asked)
        finally:
            self._seats += 1

    async def _seated(self, asked: web.Request) -> web.StreamResponse:
        """Serve one client of the stream."""
        socket = web.WebSocketResponse(autoping=False, max_msg_size=REQUEST_MAX, compress=False, timeout=CLOSE_TIMEOUT)
        if not socket.can_prepare(asked).ok:
            return _error(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket; docs/reference/stream.md describes it")
        facts = self._facts if self._lake is None else await self._lake_facts()
        await socket.prepare(asked)
        place = None if self._live is not None else self._new_place(facts)
        viewer = Viewer(self._live or place, self._pairs)  # type: ignore[arg-type]  # one of them is there
        client = _Client(self, socket, viewer, place)
        self.served += 1
        self.viewers.add(viewer)
        self._told[socket] = len(self._pairs)
        self._say(f"client {self.served} connected", "client", client=self.served)
        try:
            await socket.send_json(self._hello(facts))
            await client.run()
        except (ConnectionError, TimeoutError):
            # It is gone, or does not read.
            if asked.transport is not None:
                asked.transport.abort()
        finally:
            self.viewers.discard(viewer)
            self._told.pop(socket, None)
            if place is not None:
                await self._in_thread(place.close)
        return socket

    def _new_place(self, facts: LakeFacts | None) -> Place:
        assert self._lake is not None, "asked only of a lake"
        assert facts is not None, "read before"
        return Place(self._lake, facts.begin or 0, facts.end or 0, follow=facts.recorded)

    def _hello(self, facts: LakeFacts | None) -> dict[str, Any]:
        begin, end = (None, None) if facts is None else (facts.begin, facts.end)
        if self._live is not None:
            begin = end = self._live.market.ts or None
        return {
            "type": "hello",
            "stream": STREAM,
            "krakpot": __version__,
            "source": "lake" if self._live is None else "live",
            "name": "Kraken" if self._lake is None else self._lake.path.resolve().name,
            "stale_after_s": STALE_AFTER,
            "begin_us": None if begin is None else begin // 1000,
            "end_us": None if end is None else end // 1000,
            "rate": int(RATE),
            "symbols": self._symbols(),
        }

    def _symbols(self) -> list[dict[str, Any]]:
        return [pair.to_dict() for pair in self._pairs.values()]

    async def _look_for_pairs(self) -> None:
        """Tell the clients of pairs that join the feed, or the lake that is recorded."""
        took = 0.0
        while True:
            idle = self._live is None and (self._facts is None or not self._facts.recorded)
            pause = PAIRS_SELDOM if idle else min(PAIRS_SHARE * took, PAIRS_SELDOM)
            await asyncio.sleep(max(PAIRS_EVERY, pause))
            begun = time.monotonic()
            try:
                if self._live is not None:
                    self._live.look()
                elif self._told:
                    await self._lake_facts()
            except (KrakpotError, *UNREADABLE) as error:
                # Its clients are told when they play it.
                self._say(str(error), "fault", "error")
            took = time.monotonic() - begun
            symbols = self._symbols()
            for socket, told in list(self._told.items()):
                if told < len(symbols):
                    with suppress(ConnectionError, TimeoutError):
                        async with asyncio.timeout(PAIRS_EVERY):
                            await socket.send_json({"type": "symbols", "symbols": symbols})
                        if socket in self._told:
                            self._told[socket] = len(symbols)

    async def coverage(self, symbols: tuple[str, ...]) -> dict[str, Any]:
        """The message ``coverage``, of a lake."""
        assert self._lake is not None, "asked only of a lake"
        spans = await self._asked(spans_of, self._lake, symbols)
        facts = await self._lake_facts()
        return {
            "type": "coverage",
            "spans": spans,
            "begin_us": None if facts.begin is None else facts.begin // 1000,
            "end_us": None if facts.end is None else facts.end // 1000,
        }

    async def advance(self, place: Place) -> None:
        """Let a place in the lake play on."""
        await self._in_thread(place.advance)

    @property
    def pairs(self) -> Mapping[str, PairFacts]:
        """All pairs, in the order of their numbers."""
        return self._pairs


class _Client:
    """Reads the requests of one client of the stream, and lets it be sent what is due."""

    def __init__(self, server: ViewServer, socket: web.WebSocketResponse, viewer: Viewer, place: Place | None) -> None:
        self._server = server
        self._socket = socket
        self._viewer = viewer
        self._place = place

    async def run(self) -> None:
        """Serve it until it is gone, or the server closes."""
        tasks = [asyncio.create_task(work) for work in (self._send(), self._read(), self._closing())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._server.closing.is_set():
            await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server closes")

    async def _closing(self) -> None:
        await self._server.closing.wait()

    async def _send(self) -> None:
        viewer = self._viewer
        while not self._socket.closed:
            await viewer.wait()
            if self._place is not None:
                await self._server.advance(self._place)
            await viewer.send(self._socket)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._request(message.data)
            elif message.type is WSMsgType.PONG:
                self._viewer.pong()
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                await self._answer(None, None, "a request is a text message")

    async def _answer(self, method: str | None, req_id: int | None, error: str = "") -> None:
        answer: dict[str, Any] = {"type": "answer", "method": method, "success": not error}
        if req_id is not None:
            answer["req_id"] = req_id
        if error:
            answer["error"] = error
        await self._socket.send_json(answer)

    async def _request(self, text: str) -> None:
        method = req_id = None
        try:
            message, method, req_id = requests.read(text)
            asked = requests.understood(message, self._server.pairs, live=self._place is None)
            if asked.method == "coverage":
                await self._coverage(asked, req_id)
                return
            self._viewer.do(asked)
            if self._place is not None:
                self._move(self._place, asked)
        except (requests.RefusedError, KrakpotError) as error:
            await self._answer(method, req_id, str(error))
        else:
            await self._answer(method, req_id)

    async def _coverage(self, asked: requests.Request, req_id: int | None) -> None:
        if self._place is None:
            raise requests.RefusedError("coverage: this is live; only a recording has it")
        found = await self._server.coverage(asked.symbols)
        await self._socket.send_json(found if req_id is None else found | {"req_id": req_id})

    def _move(self, place: Place, asked: requests.Request) -> None:
        """What a request means for the place in the lake."""
        if asked.method == "seek":
            place.seek(asked.at)
        elif asked.method == "pause":
            place.pause()
        elif asked.method == "resume":
            place.resume()
        elif asked.method == "speed":
            place.speed = asked.number
        elif asked.method in {"subscribe", "unsubscribe", "overview"}:
            place.want(self._viewer.wanted(all_books=len(self._server.pairs) <= OVERVIEW_BOOKS))


def _error(status: HTTPStatus, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _file_below(folder: Path, name: str) -> Path | None:
    """A file of a folder that may be served; None for anything else, wherever it is."""
    if "\0" in name or "\\" in name or any(one.startswith(".") for one in name.split("/")):
        return None
    path = (folder / name).resolve()
    below = path.is_relative_to(folder.resolve()) and path.is_file()
    return path if below and path.suffix in KINDS else None

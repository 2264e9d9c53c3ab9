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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from html import escape
from http import HTTPStatus
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler, Middleware

from krakpot import values
from krakpot.errors import ConfigError, KrakpotError
from krakpot.feed.feed import Feed
from krakpot.lake.folder import Folder
from krakpot.lake.format import UNREADABLE
from krakpot.log import LogLine, LogRateLimit
from krakpot.net.http import cannot_listen
from krakpot.serve import parts, trades
from krakpot.serve.client import Client, refused
from krakpot.serve.guard import EVERY, Guard
from krakpot.serve.place import Place
from krakpot.serve.source import Source
from krakpot.serve.viewer import Viewer
from krakpot.values import LOOPBACK

PLACE = "krakpot.serve.server.ViewServer"
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
        self._source = Source(source, self._asked)
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
            await self._source.begin()
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
        if self._source.lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has files")
        # In this order: parts that are sealed meanwhile are of journals that were seen.
        unsealed = await self._asked(parts.unsealed, self._source.lake)
        return web.json_response({"parts": await self._asked(parts.listed, self._source.lake), "unsealed": unsealed})

    async def _part(self, asked: web.Request) -> web.StreamResponse:
        if self._source.lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has files")
        path = await self._in_thread(parts.file_of, self._source.lake, asked.match_info["path"])
        if path is None:
            return _error(HTTPStatus.NOT_FOUND, "the lake has no such part; /lake lists them")
        return web.FileResponse(path, headers={"Content-Type": KINDS[".parquet"]})

    async def _trades(self, asked: web.Request) -> web.StreamResponse:
        if self._source.lake is None:
            return _error(HTTPStatus.NOT_FOUND, "this is live; only a lake has trades of the past")
        try:
            data = await self._asked(trades.answer, self._source.lake, dict(asked.query))
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
        if self._source.live is None:
            await self._source.look()
        await socket.prepare(asked)
        client = Client(self._source)
        self.served += 1
        self.viewers.add(client.viewer)
        self._told[socket] = len(self._source.pairs)
        self._say(f"client {self.served} connected", "client", client=self.served)
        try:
            await socket.send_json(self._source.hello())
            await _Connection(self, socket, client).run()
        except (ConnectionError, TimeoutError):
            # It is gone, or does not read.
            if asked.transport is not None:
                asked.transport.abort()
        finally:
            self.viewers.discard(client.viewer)
            self._told.pop(socket, None)
            if client.place is not None:
                await self._in_thread(client.place.close)
        return socket

    async def _look_for_pairs(self) -> None:
        """Tell the clients of pairs that join the feed, or the lake that is recorded."""
        took = 0.0
        while True:
            pause = PAIRS_SELDOM if self._source.idle else min(PAIRS_SHARE * took, PAIRS_SELDOM)
            await asyncio.sleep(max(PAIRS_EVERY, pause))
            begun = time.monotonic()
            try:
                if self._source.live is not None or self._told:
                    await self._source.look()
            except (KrakpotError, *UNREADABLE) as error:
                # Its clients are told when they play it.
                self._say(str(error), "fault", "error")
            took = time.monotonic() - begun
            symbols = self._source.symbols()
            for socket, told in list(self._told.items()):
                if told < len(symbols):
                    with suppress(ConnectionError, TimeoutError):
                        async with asyncio.timeout(PAIRS_EVERY):
                            await socket.send_json({"type": "symbols", "symbols": symbols})
                        if socket in self._told:
                            self._told[socket] = len(symbols)

    async def advance(self, place: Place) -> None:
        """Let a place in the lake play on."""
        await self._in_thread(place.advance)


class _Connection:
    """Reads the requests of one client of the stream, and lets it be sent what is due."""

    def __init__(self, server: ViewServer, socket: web.WebSocketResponse, client: Client) -> None:
        self._server = server
        self._socket = socket
        self._client = client

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
        viewer = self._client.viewer
        while not self._socket.closed:
            await viewer.wait()
            if self._client.place is not None:
                await self._server.advance(self._client.place)
            await viewer.send(self._socket)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._socket.send_json(await self._client.answer(message.data))
            elif message.type is WSMsgType.PONG:
                self._client.viewer.pong()
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                await self._socket.send_json(refused("a request is a text message"))


def _error(status: HTTPStatus, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _file_below(folder: Path, name: str) -> Path | None:
    """A file of a folder that may be served; None for anything else, wherever it is."""
    if "\0" in name or "\\" in name or any(one.startswith(".") for one in name.split("/")):
        return None
    path = (folder / name).resolve()
    below = path.is_relative_to(folder.resolve()) and path.is_file()
    return path if below and path.suffix in KINDS else None

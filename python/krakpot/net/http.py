"""A small local HTTP server: one request per connection, with a length, within limits.

``Server`` gets a function from ``Request`` to ``Answer``, so the answers are decided elsewhere, without sockets.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses
from urllib.parse import urlsplit

from krakpot.values import LOOPBACK

HEAD_MAX, BODY_MAX = 16 << 10, 64 << 10
"""Bytes of a request's head and body."""
CONNECTIONS_MAX = 100
PATIENCE = 10.0
"""Seconds within which a whole request must arrive."""
LINGER = 1.0
"""Seconds for which bytes are read after the answer: closing a socket with unread bytes would discard the answer."""


@dataclass(frozen=True)
class Request:
    """A complete request."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """By lower-case name; a repeated header is refused."""
    body: bytes
    query: str = ""
    """What followed the path after ``?``, as it was sent."""
    client: str = ""
    """Address of the client."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    body: bytes
    kind: str
    """Its content type."""
    status: int = HTTPStatus.OK
    """Any of HTTP's, also those of proxies, which Python does not know: 520."""


def foreign(headers: Mapping[str, str], *, here: bool, allowed: Collection[str] = ()) -> bool:
    """Whether a request comes from a page in a browser; ``headers`` by lower-case name.

    Browsers send the header ``Origin`` when a page requests something from another server. ``here``: the server is for
    this machine only, so ``Host`` must name this machine; otherwise a page could reach it by a DNS name of its own that
    is changed to 127.0.0.1 (DNS rebinding). ``allowed``: origins of pages that may connect all the same.
    """
    return headers.get("origin") not in {None, *allowed} or (here and not _names_loopback(headers.get("host", "")))


def _names_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


def cannot_listen(place: str, host: str, option: str, port: int, error: OSError | UnicodeError) -> str:
    """Say why an address cannot be listened on, and what helps; ``place`` begins the sentence."""
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"{place}: {option}: {port}: another program listens there; choose another port, or 0 for a free one"
    if number in {errno.EACCES, errno.EPERM}:
        sentence = "this user may not listen there; choose a port from 1024 on, or 0 for a free one"
        return f"{place}: {option}: {port}: {sentence}"
    if isinstance(error, (socket.gaierror, UnicodeError)) or number == errno.EADDRNOTAVAIL:
        allowed = "allowed are 127.0.0.1, 0.0.0.0 (all), or another address of it"
        return f"{place}: host: {host}: this is not an address of this machine; {allowed}"
    return f"{place}: {option}: {port} of {host}: cannot listen there ({error.strerror or error}); choose another one"


class _BadRequestError(Exception):
    """A request that is refused, with the status of the answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Read the head of a request: method, path with its query, and headers by lower-case name."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = re.fullmatch(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]", first)
    if match is None:
        raise _BadRequestError(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        # A repeated length or signature would be ambiguous.
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name) or name in headers:
            raise _BadRequestError(HTTPStatus.BAD_REQUEST)
        headers[name] = value.strip(" \t")
    return match[1], match[2], headers


def _length(headers: Mapping[str, str]) -> int:
    """Number of bytes in the body."""
    if "transfer-encoding" in headers:
        raise _BadRequestError(HTTPStatus.NOT_IMPLEMENTED)
    text = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _BadRequestError(HTTPStatus.BAD_REQUEST)
    if int(text) > BODY_MAX:
        raise _BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(text)


class Server:
    """Serves on one port; ``address`` is set when it has started."""

    def __init__(self, answer: Callable[[Request], Answer], refuse: Callable[[HTTPStatus], Answer]) -> None:
        """``answer`` is called for each complete request; ``refuse`` makes the answer to HTTP that is refused."""
        self.address = ""
        self._answer = answer
        self._refuse = refuse
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen; ``OSError`` if that is not possible."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_MAX)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening and cut the open connections."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine of the loop runs in a task"
        self._connections.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                client = str((writer.get_extra_info("peername") or ("",))[0])
                writer.write(await self._response(reader, client))
                await writer.drain()
            writer.write_eof()
            async with asyncio.timeout(LINGER):
                while await reader.read(HEAD_MAX):
                    pass
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            # The client is gone or too slow, or the server closes: nobody waits for an answer.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _response(self, reader: asyncio.StreamReader, client: str) -> bytes:
        try:
            if len(self._connections) > CONNECTIONS_MAX:
                raise _BadRequestError(HTTPStatus.SERVICE_UNAVAILABLE)
            method, target, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(_length(headers))
            path, _, query = target.partition("?")
            answer = self._answer(Request(method, path, headers, body, query, client))
        except asyncio.LimitOverrunError:
            answer = self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except _BadRequestError as error:
            answer = self._refuse(error.status)
        head = f"HTTP/1.1 {answer.status:d} {responses.get(answer.status, '')}\r\nContent-Type: {answer.kind}\r\n"
        return f"{head}Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode() + answer.body

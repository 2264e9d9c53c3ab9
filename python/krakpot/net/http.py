"""As much HTTP as a small local server takes: one request a connection, with a length, within bounds.

What is answered is decided elsewhere, without sockets: ``Server`` is given a function from ``Request`` to ``Answer``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from krakpot.values import LOOPBACK

HEAD_MAX, BODY_MAX = 16 << 10, 64 << 10
"""Bytes of a request's head and body."""
CONNECTIONS_MAX = 100
PATIENCE = 10.0
"""Seconds for a request to arrive whole."""
LINGER = 1.0
"""Seconds for which what still comes is read after an answer: a socket closed over unread bytes takes the answer
back.
"""


@dataclass(frozen=True)
class Request:
    """A request that arrived whole."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """By lower-case name; none comes twice."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is said to a request."""

    body: bytes
    kind: str
    """Its content type."""
    status: HTTPStatus = HTTPStatus.OK


def foreign(headers: Mapping[str, str], *, here: bool) -> bool:
    """Whether a request comes from a page in a browser; ``headers`` by lower-case name.

    Browsers name the origin of a page that asks another place. ``here``: served to this machine only, by whose name it
    must then be called: a page may have a name that was made to lead here after the browser had looked it up.
    """
    return "origin" in headers or (here and not _names_loopback(headers.get("host", "")))


def _names_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


class _BadRequestError(Exception):
    """HTTP that is not served; says by which status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers, by lower-case name, of a request's head."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = re.fullmatch(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]", first)
    if match is None:
        raise _BadRequestError(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        # A repeated length or signature has two readings: neither is taken.
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name) or name in headers:
            raise _BadRequestError(HTTPStatus.BAD_REQUEST)
        headers[name] = value.strip(" \t")
    return match[1], match[2].partition("?")[0], headers


def _length(headers: Mapping[str, str]) -> int:
    """Bytes of the body."""
    if "transfer-encoding" in headers:
        raise _BadRequestError(HTTPStatus.NOT_IMPLEMENTED)
    text = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _BadRequestError(HTTPStatus.BAD_REQUEST)
    if int(text) > BODY_MAX:
        raise _BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(text)


class Server:
    """Serves on one port; ``address`` is where, once it has started."""

    def __init__(self, answer: Callable[[Request], Answer], refuse: Callable[[HTTPStatus], Answer]) -> None:
        """``answer`` is called for each request that arrived whole; ``refuse`` words what is no good HTTP."""
        self.address = ""
        self._answer = answer
        self._refuse = refuse
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen. ``OSError`` if that cannot be."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_MAX)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Listen no more, and cut what is open."""
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
                writer.write(await self._response(reader))
                await writer.drain()
            writer.write_eof()
            async with asyncio.timeout(LINGER):
                while await reader.read(HEAD_MAX):
                    pass
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            # The client went, was too slow, or the server closes: there is nobody to answer.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _response(self, reader: asyncio.StreamReader) -> bytes:
        try:
            if len(self._connections) > CONNECTIONS_MAX:
                raise _BadRequestError(HTTPStatus.SERVICE_UNAVAILABLE)
            method, path, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(_length(headers))
            answer = self._answer(Request(method, path, headers, body))
        except asyncio.LimitOverrunError:
            answer = self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except _BadRequestError as error:
            answer = self._refuse(error.status)
        head = f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.kind}\r\n"
        return f"{head}Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode() + answer.body

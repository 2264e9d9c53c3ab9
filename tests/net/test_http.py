"""The little HTTP of local servers: what is whole is answered, the rest is refused within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.parse
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from krakpot.net import http as http1
from krakpot.net.http import Answer, Request, Server
from waiting import talk


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, list[Request]]]:
    """A server that answers ``well``, and what it was asked."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return Answer(b"well", "text/plain")

    server = Server(answer, lambda status: Answer(b"no", "text/plain", status))
    await server.start("127.0.0.1", 0)
    try:
        yield server, asked
    finally:
        async with asyncio.timeout(5):
            await server.close()


def test_a_request_arrives_as_it_was_sent() -> None:
    """Method, path without its query, headers by lower-case name, body; the answer has a length and ends the line."""

    async def run() -> None:
        async with served() as (server, asked):
            answer = await talk(server.address, b"POST /a?b=c HTTP/1.1\r\nX-Y: z \r\nContent-Length: 3\r\n\r\nabc")
            assert asked == [Request("POST", "/a", {"x-y": "z", "content-length": "3"}, b"abc", "b=c", "127.0.0.1")]
            assert answer == (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell"
            )

    asyncio.run(run())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/2\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\na: 1\r\nA: 2\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\n folded: 1\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HTTPStatus.NOT_IMPLEMENTED),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_bad_http_is_refused(data: bytes, status: HTTPStatus) -> None:
    """Within bounds, by its status, and the server goes on."""

    async def run() -> None:
        async with served() as (server, asked):
            assert (await talk(server.address, data)).startswith(f"HTTP/1.1 {status.value} ".encode())
            assert asked == []
            assert (await talk(server.address, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"well")

    asyncio.run(run())


def test_who_is_slow_is_cut_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request holds its connection only for a while; of many open ones the last are refused at once."""
    monkeypatch.setattr(http1, "CONNECTIONS_MAX", 3)

    async def run() -> None:
        async with served() as (server, _):
            url = urllib.parse.urlsplit(server.address)
            open_ones = [socket.create_connection((url.hostname, url.port)) for _ in range(3)]
            for one in open_ones:
                one.sendall(b"GET / HT")
            answer = b""
            async with asyncio.timeout(20):
                while not answer.startswith(b"HTTP/1.1 503 "):
                    answer = await talk(server.address, b"GET / HTTP/1.1\r\n\r\n")
            for one in open_ones:
                one.close()
            monkeypatch.setattr(http1, "PATIENCE", 0.05)
            assert await talk(server.address, b"GET / HT") == b""
            assert (await talk(server.address, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"well")

    asyncio.run(run())

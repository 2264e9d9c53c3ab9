"""Public requests to REST: results exact, each failure in one sentence that says whether to ask again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from krakpot.net.rest import Public, RestError, facts_of
from waiting import run


@contextlib.asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with these bytes; its address, and the requests."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", got


def http(body: str, status: str = "200 OK", header: str = "") -> bytes:
    """An answer."""
    return f"HTTP/1.1 {status}\r\n{header}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_a_result_is_exact() -> None:
    """Numbers keep their digits; parameters go into the query."""

    async def test() -> None:
        async with server(http('{"error":[],"result":{"a":[1688669597.8277369, 3]}}')) as (address, got):
            result = await Public(address).get("Trades", pair="XBT/USD", since=5)
        assert result == {"a": [Decimal("1688669597.8277369"), 3]}
        assert got[0].startswith(b"GET /0/public/Trades?pair=XBT%2FUSD&since=5 HTTP/1.1\r\n")

    run(test())


@pytest.mark.parametrize(
    ("answer", "sentence", "lasting", "wait"),
    [
        (http('{"error":["EQuery:Unknown asset pair"]}'), "Kraken refuses: EQuery:Unknown asset pair", True, 0),
        (http('{"error":["EGeneral:Too many requests"]}'), "Kraken refuses: EGeneral:Too many requests", False, 0),
        (http('{"error":["EAPI:Rate limit exceeded"]}'), "EAPI:Rate limit exceeded", False, 0),
        (http('{"error":["EService:Unavailable"]}'), "EService:Unavailable", False, 0),
        (http("", "429 Too Many Requests", "Retry-After: 7\r\n"), "REST is busy (HTTP 429)", False, 7),
        (http("<html>", "503 Service Unavailable"), "REST is busy (HTTP 503)", False, 0),
        (http("", "520 Unknown"), "REST is busy (HTTP 520)", False, 0),
        (http("<html>", "404 Not Found"), "the answer is no JSON (HTTP 404); is this the address", True, 0),
        (http("[1]"), "the answer is no JSON (HTTP 200)", True, 0),
        (http('{"a":1}'), "the answer is JSON without a result (HTTP 200)", True, 0),
        (b"nonsense\r\n\r\n", "the answer is not HTTP (BadStatusLine)", False, 0),
        (b"", "the connection failed: Remote end closed connection", False, 0),
    ],
)
def test_what_goes_wrong(answer: bytes, sentence: str, lasting: bool, wait: float) -> None:
    """The sentence names the request and the address."""

    async def test() -> None:
        async with server(answer) as (address, _):
            with pytest.raises(RestError) as caught:
                await Public(address).get("Depth")
        assert sentence in str(caught.value)
        assert str(caught.value).startswith("REST Depth: ")
        assert str(caught.value).endswith(address)
        assert (caught.value.lasting, caught.value.wait) == (lasting, wait)

    run(test())


def test_nobody_answers() -> None:
    """A port where nothing listens."""

    async def test() -> None:
        with pytest.raises(RestError, match="the connection failed: Connection refused") as caught:
            await Public("http://127.0.0.1:1").get("Depth")
        assert not caught.value.lasting

    run(test())


@pytest.mark.parametrize("proxy", ["", "http://proxy.invalid:8080"])
def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """That of REST, or of the proxy; and one that no resolver is asked for."""

    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("HTTPS_PROXY", proxy)

    async def test() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", nothing)
            with pytest.raises(RestError) as caught:
                await Public("https://rest.invalid").get("AssetPairs")
        words = (
            "the proxy http://proxy.invalid:8080 cannot be used: Name or service not known"
            if proxy
            else "the name rest.invalid cannot be resolved (Name or service not known); check it, and the network"
        )
        assert str(caught.value) == f"REST AssetPairs: {words}: https://rest.invalid"
        assert (caught.value.lasting, caught.value.unresolved) == (False, True)
        monkeypatch.setenv("HTTPS_PROXY", "")
        with pytest.raises(
            RestError, match=r"the name a\.\.b cannot be resolved \(it is no name of a host\)"
        ) as caught:
            await Public("https://a..b").get("AssetPairs")
        assert caught.value.unresolved

    run(test())


def test_bodies() -> None:
    """What is no object is none."""
    assert facts_of(b'{"a":0.1}') == {"a": Decimal("0.1")}
    assert facts_of(b"[" * 100_000) == facts_of(b"\xff") == facts_of(b"7") == {}

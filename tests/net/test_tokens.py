"""Tokens of the built-in exchange's REST, which checks the signature by its own means, and of servers that do wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import trustme

from krakpot.errors import TokenError
from krakpot.exchange.rest import Key, Rest, RestServer
from krakpot.net import rest
from krakpot.net.connection import RETRY_AFTER_MAX
from krakpot.net.tokens import Tokens, signature

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="  # noqa: S105  # from the documentation
"""The secret of the example in Kraken's documentation; no key of anybody."""
NAME = "nameOfAKey"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop of its own."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


@contextlib.asynccontextmanager
async def exchange() -> AsyncIterator[tuple[str, list[str]]]:
    """REST of the built-in exchange: its address, and the tokens that it gave."""
    allowed: list[str] = []
    answers = Rest(Key.read(NAME, SECRET), time.time_ns, lambda token, _: allowed.append(token))
    server = RestServer(answers, lambda: None, here=True)
    await server.start("127.0.0.1", 0)
    try:
        yield server.address, allowed
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def server(answer: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with these bytes, or with nothing at all; its address, and what it got."""
    got: list[bytes] = []
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        got.append(await reader.readuntil(b"\r\n\r\n"))
        # A socket that is closed over unread bytes takes the answer back.
        await reader.readexactly(int(got[-1].partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}", got
    # Also on a busy machine no socket is left to complain.
    await asyncio.gather(*filter(None, serving))


def http(body: bytes | str, status: str = "200 OK") -> bytes:
    """An answer."""
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def refusal(address: str, key: str = NAME, secret: str = SECRET) -> TokenError:
    """The error of asking there, in which nothing secret stands."""
    tokens = Tokens(address, key, secret)
    with pytest.raises(TokenError) as caught:
        await tokens.new()
    error = caught.value
    assert str(error).startswith("no token for level 3: ")
    assert str(error).endswith(address)
    shown = str(error) + repr(error) + repr(tokens)
    assert key not in shown
    assert secret not in shown
    # What a traceback would print.
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return error


def test_kraken_s_own_example_of_a_signature() -> None:
    """The signature of the documentation's request is the documentation's."""
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert signature(base64.b64decode(SECRET), "/0/private/AddOrder", 1616492376594, body) == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


def test_tokens_of_the_exchange() -> None:
    """Each time a new one, also when many ask at once, or the clock steps back: nonces grow and arrive in order."""

    async def test() -> None:
        async with exchange() as (address, allowed):
            tokens = Tokens(address, NAME, SECRET)
            got = [await tokens.new() for _ in range(3)]
            got += await asyncio.gather(*(tokens.new() for _ in range(10)))
            tokens._nonce += 3_600_000
            got.append(await tokens.new())
            assert got == allowed
            assert len(set(got)) == 14
            last = tokens._nonce
            assert abs(last - 3_600_000 - time.time() * 1000) < 60_000, "milliseconds"

    run(test)


def test_a_wrong_key_or_secret() -> None:
    """Which of the two, where to look, and that asking again does not help."""

    async def test() -> None:
        async with exchange() as (address, allowed):
            error = await refusal(address, key="another")
            assert (error.lasting, "compare KRAKPOT_API_KEY" in str(error)) == (True, True)
            error = await refusal(address, secret="c2VjcmV0")  # noqa: S106  # nobody's
            assert (error.lasting, "compare KRAKPOT_API_SECRET" in str(error)) == (True, True)
            tokens = Tokens(address, NAME, SECRET)
            tokens._nonce = 1 << 60
            await tokens.new()
            error = await refusal(address)
            assert (error.lasting, "another program uses this API key" in str(error)) == (False, True)
            assert len(allowed) == 1

    run(test)


@pytest.mark.parametrize(
    ("answer", "words", "lasting"),
    [
        (http('{"error":["EGeneral:Permission denied"]}'), 'lacks the permission "WebSocket interface - On"', True),
        (http('{"error":["EAPI:Rate limit exceeded"]}'), "too many requests to REST", False),
        (http('{"error":["EService:Unavailable"]}', "503 Service Unavailable"), "out of service", False),
        (http('{"error":["EGeneral:Temporary lockout"]}'), "locked the API key for a while", False),
        (http(f'{{"error":["ESomething:New {NAME}"]}}'), "Kraken refuses: ESomething:New …: ", False),
        (http('{"error":["E\\u001b[2J' + "x" * 5000 + '"]}'), "Kraken refuses: E[2J" + "x" * 196 + ": ", False),
        (http("<html>502</html>", "502 Bad Gateway"), r"the answer is no JSON (HTTP 502); is rest_url right?", False),
        (http("busy", "429 Too Many Requests"), "REST is busy (HTTP 429): ", False),
        (http("[" * 60_000), "the answer is no JSON (HTTP 200)", False),
        (http("[]"), "the answer is no JSON (HTTP 200)", False),
        (http(b"\xff"), "the answer is no JSON (HTTP 200)", False),
        (http('{"error":[],"result":{}}'), "JSON without a token (HTTP 200)", False),
        (http('{"error":[],"result":{"token":7,"expires":900}}'), "JSON without a token", False),
        (http('{"error":[],"result":{"token":"t","expires":0}}'), "the token in the answer has already expired", False),
        (http('{"error":[],"result":{"token":"t","expires":900}}', "302 Found"), "(HTTP 302)", False),
        (b"SSH-2.0-server\r\n", "the answer is not HTTP (BadStatusLine)", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "the answer is no JSON (HTTP 200)", False),
        (b"", "the connection failed: Remote end closed connection without response", False),
    ],
)  # fmt: skip
def test_answers_without_a_token(answer: bytes, words: str, lasting: bool) -> None:
    """Cause and cure in one line of printable characters, whatever came."""

    async def test() -> None:
        async with server(answer) as (address, _):
            error = await refusal(address)
            assert words in str(error)
            assert str(error).isprintable()
            assert error.lasting == lasting

    run(test)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (http("busy", "429 Too Many Requests\r\nRetry-After: 90"), 90),
        (http("busy", "503 Service Unavailable\r\nRetry-After: 99999"), RETRY_AFTER_MAX),
        (http('{"error":["EAPI:Rate limit exceeded"]}', "200 OK\r\nRetry-After: 7"), 7),
        (http('{"error":["EService:Unavailable"]}', "503 Service Unavailable\r\nRetry-After: soon"), 0),
        (http("busy", "429 Too Many Requests"), 0),
    ],
)
def test_the_time_that_rest_asks_to_wait(answer: bytes, seconds: float) -> None:
    """It is in the error, bounded, for the program and for people."""

    async def test() -> None:
        async with server(answer) as (address, _):
            error = await refusal(address)
        assert (error.retry_after, error.lasting) == (seconds, False)
        assert (f"; to be tried again in {seconds:.0f} s: " in str(error)) == bool(seconds)

    run(test)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there; somebody who says nothing, and somebody who never stops: within the time, then the next one may."""
    monkeypatch.setattr(rest, "TIMEOUT", 0.5)

    async def test() -> None:
        async with server(b"") as (address, _):
            pass
        assert "the connection failed: Connection refused" in str(await refusal(address))
        assert "the connection failed: " in str(await refusal("http://host.invalid"))
        begin = time.monotonic()
        async with server(None) as (address, _):
            assert "no answer within" in str(await refusal(address))
        assert time.monotonic() - begin < 10

    run(test)


def test_who_no_longer_waits_leaves_no_thread_behind() -> None:
    """A request that is given up ends its socket, so that the program can end."""

    async def test() -> None:
        async with server(None) as (address, got):
            tokens = Tokens(address, NAME, SECRET)
            task = asyncio.create_task(tokens.new())
            while not got:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            begin = time.monotonic()
            await asyncio.get_running_loop().shutdown_default_executor()
            assert time.monotonic() - begin < rest.TIMEOUT / 2

    run(test)


def test_certificates_are_verified() -> None:
    """Who is not who the address says gets neither key nor signature; who is gets a request that is whole."""

    async def test() -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        answer = http(json.dumps({"error": [], "result": {"token": "t", "expires": 900}}))
        async with server(answer, context) as (address, got):
            assert "the certificate was not accepted: " in str(await refusal(address))
            assert got == []
            trusting = ssl.create_default_context()
            authority.configure_trust(trusting)
            assert await Tokens(address, NAME, SECRET, tls=trusting).new() == "t"
            assert got[0].startswith(b"POST /0/private/GetWebSocketsToken HTTP/1.1\r\n")

    run(test)

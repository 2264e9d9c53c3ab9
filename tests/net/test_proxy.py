"""Tunnels through a proxy of this test's own, to an exchange whose name only the proxy knows."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

import frames
from krakpot.cli.main import main
from krakpot.errors import FeedError, TokenError
from krakpot.net import proxy as module
from krakpot.net.connection import connect
from krakpot.net.proxy import Proxy, chosen, tunnel
from krakpot.net.tokens import Tokens
from net.test_connection import never, run
from scripted import Exchange, until

HOST = "exchange.test"
PASSWORD = "p%40ss"  # noqa: S105  # a test's


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Proxy:
    """Leads every host to one port of this machine; ``asked`` is what it was asked for."""

    def __init__(self, port: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n") -> None:
        self.to = port
        self.answer = answer
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"\x05":
            await self._socks(reader, writer)
        else:
            self.asked.append(b"C" + await reader.readuntil(b"\r\n\r\n"))
            # In two pieces: the blank line may come by itself.
            writer.write(self.answer[:-3])
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(self.answer[-3:])
        if b" 200 " not in self.answer:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928, and 1929 for name and password."""
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if 2 in methods else 0
        writer.write(bytes([5, wanted]))
        if wanted:
            await reader.readexactly(1)
            for _ in range(2):
                self.asked.append(await reader.readexactly((await reader.readexactly(1))[0]))
            writer.write(b"\x01\x00")
        assert await reader.readexactly(4) == b"\x05\x01\x00\x03", "a connection to a name"
        self.asked.append(await reader.readexactly((await reader.readexactly(1))[0]))
        await reader.readexactly(2)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")


@asynccontextmanager
async def proxied(there: _Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str) -> AsyncIterator[None]:
    """The environment names this proxy."""
    async with await asyncio.start_server(there.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:{PASSWORD}@127.0.0.1:{port}")
        yield


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of this machine decide no test."""
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def contexts(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server that has a certificate for ``name``, and of a client that trusts its authority."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_the_feed_goes_through_the_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for the exchange's name, with name and password; TLS is spoken with the exchange."""
    server, client = contexts(HOST)

    async def test() -> None:
        async with Exchange(tls=server) as exchange:
            there = _Proxy(exchange.port)
            async with proxied(there, monkeypatch, scheme):
                got: list[bytes] = []
                one = await connect(f"wss://{HOST}/v2", lambda found, _: got.extend(found), never, tls=client)
                await until(lambda: got)
                await one.close("done")
            assert got == [frames.status()]
            assert exchange.attempts[0].headers["Host"] == HOST
            if scheme == "http":
                # "me:p@ss", in base64.
                head = "CONNECT exchange.test:443 HTTP/1.1\r\nHost: exchange.test:443\r\n"
                assert there.asked == [f"{head}Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n".encode()]
            else:
                assert there.asked == [b"me", b"p@ss", HOST.encode()]

    run(test)


def test_the_proxy_cannot_be_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leads elsewhere, to a server with a certificate of another name: refused, and nothing was said to it."""
    server, client = contexts("elsewhere.test")

    async def test() -> None:
        async with Exchange(tls=server) as exchange:
            async with proxied(_Proxy(exchange.port), monkeypatch, "http"):
                with pytest.raises(FeedError, match="the certificate was not accepted: .*exchange.test"):
                    await connect(f"wss://{HOST}/v2", never, never, tls=client)
            assert exchange.attempts == []

    run(test)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_tokens_come_through_the_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """REST takes the same way; a refusal of the proxy is a reason in words, without key or password."""
    server, client = contexts(HOST)
    body = b'{"error":[],"result":{"token":"a-token","expires":900}}'

    async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def test() -> None:
        tokens = Tokens(f"https://{HOST}", "the-key", "c2VjcmV0", tls=client)
        async with await asyncio.start_server(rest, "127.0.0.1", 0, ssl=server) as there:
            way = _Proxy(there.sockets[0].getsockname()[1])
            async with proxied(way, monkeypatch, scheme):
                assert await tokens.new() == "a-token"
                assert any(HOST.encode() in asked for asked in way.asked)
        refusing = _Proxy(0, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        async with proxied(refusing, monkeypatch, "http"):
            with pytest.raises(TokenError, match="refuses a tunnel to exchange.test:443: 407 Proxy Auth") as caught:
                await tokens.new()
        for secret in ("the-key", "c2VjcmV0", "p@ss", PASSWORD):
            assert secret not in str(caught.value)

    run(test)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses a tunnel to exchange.test:443: 403 Forbidden"),
        (b"SSH-2.0-OpenSSH_9.7\r\n\r\n", "gave an answer that is not HTTP"),
        (b"HTTP/1.1 500 \r\nX: " + b"y" * 40_000 + b"\r\n\r\n", "gave an answer that is not HTTP"),
        (b"HTTP/1.1 500 Ser", "gave an answer that is not HTTP"),
    ],
    ids=["forbidden", "no HTTP", "without measure", "half"],
)
def test_a_proxy_that_does_not_serve(answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in one sentence with the proxy's address, within bounds, without its password."""

    async def test() -> None:
        async with proxied(_Proxy(0, answer), monkeypatch, "http"):
            with pytest.raises(FeedError, match=words) as caught:
                await connect(f"wss://{HOST}/v2", never, never)
        assert "the proxy http://127.0.0.1:" in str(caught.value)
        assert "p@ss" not in str(caught.value)
        assert PASSWORD not in str(caught.value)

    run(test)


def test_a_proxy_that_is_not_there_or_says_nothing() -> None:
    """A closed port in the system's words; silence, or an answer that drips, after its time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("http", "socks5"):
            with pytest.raises(FeedError, match="gave no answer within 0 s"):
                tunnel(Proxy(scheme, "127.0.0.1", port), HOST, 443, 0.2)
    for scheme in ("http", "socks5"):
        with pytest.raises(FeedError, match="cannot be used: .*[Rr]efused"):
            tunnel(Proxy(scheme, "127.0.0.1", port), HOST, 443, 5)


def test_socks_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(FeedError, match="the proxy socks5://x:1080 needs an extra: pip install 'krakpot.socks.'"):
        tunnel(Proxy("socks5", "x", 1080), HOST, 443, 1)


@pytest.mark.parametrize(
    ("environment", "host", "address"),
    [
        ({}, HOST, None),
        ({"HTTPS_PROXY": "http://p:3128"}, HOST, "http://p:3128"),
        ({"https_proxy": "p:3128"}, HOST, "http://p:3128"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, HOST, "http://b:2"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}, HOST, None),
        ({"ALL_PROXY": "socks5h://p"}, HOST, "socks5h://p:1080"),
        ({"ALL_PROXY": "socks5://a", "HTTPS_PROXY": "http://b"}, HOST, "http://b:80"),
        ({"HTTP_PROXY": "http://p:3128"}, HOST, None),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, HOST, "http://[::1]:3128"),
        ({"HTTPS_PROXY": "http://p:1"}, "localhost", None),
        ({"HTTPS_PROXY": "http://p:1"}, "127.0.0.1", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, HOST, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.b, exchange.test"}, HOST, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".test"}, HOST, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "TEST"}, HOST, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "change.test"}, HOST, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ","}, HOST, "http://p:1"),
    ],
)
def test_which_proxy(environment: dict[str, str], host: str, address: str | None) -> None:
    """As other programs read these variables; this machine needs none."""
    found = chosen(host, environment)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    "text", ["https://p:1", "socks4://p:1", "http://", "http://p:port", "http://me:p@ss:x@[", "x y://", "http://a..b:1"]
)
def test_a_proxy_that_cannot_be_used(text: str) -> None:
    """The sentence says what is allowed, and does not repeat what may hold a password."""
    with pytest.raises(FeedError, match=f"a proxy must be {module.ALLOWED} with a host") as caught:
        chosen(HOST, {"HTTPS_PROXY": text})
    assert "p@ss" not in str(caught.value)


def test_a_recording_does_not_begin_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be tried for ever: wrong use, before anything is written, and without the password."""
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:geheim@box:1")
    done = CliRunner().invoke(main, ["record", "--for", "5s", "--out", str(tmp_path / "lake")])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("krakpot: HTTPS_PROXY or ALL_PROXY: a proxy must be http://")
    assert "geheim" not in done.output
    assert not (tmp_path / "lake").exists()


def test_a_password_is_shown_nowhere() -> None:
    """Neither by ``str`` nor by ``repr``."""
    found = chosen(HOST, {"HTTPS_PROXY": "http://me:p%40ss@p:1"})
    assert found is not None
    assert (found.user, found.password) == ("me", "p@ss")
    assert "p@ss" not in f"{found} {found!r}"

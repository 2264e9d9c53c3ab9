"""Who may connect."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from krakpot.errors import ConfigError
from krakpot.serve.guard import EVERY, Guard
from krakpot.serve.server import ViewServer
from streams import Client
from viewing import serving
from waiting import run

ALL = next(iter(EVERY))
TOKEN = "a-token-of-a-test"  # noqa: S105  # it opens nothing


def test_pages_of_other_servers_get_no_stream(lake: Path) -> None:
    """``Host`` and ``Origin`` are checked of the WebSocket too; the page's own origin is served."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        netloc = urlsplit(server.address).netloc
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "file://"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with Client(server.stream_address, headers=headers):
                    pass
            assert caught.value.status == 403
        async with Client(server.stream_address, headers={"Origin": f"http://{netloc}"}) as client:
            assert client.hello["stream"] == 1

    serving(main, lake)


def test_a_token_is_needed_elsewhere(lake: Path) -> None:
    """On all addresses a token is made; without it nothing is served, by any of three ways everything is."""

    async def main() -> None:
        async with ViewServer(lake, host=ALL, port=0) as server:
            assert server.token
            port = urlsplit(server.address).port
            here = f"http://127.0.0.1:{port}"
            assert server.address == f"{here}/?token={server.token}", "a browser of this machine can open it"
            async with aiohttp.ClientSession(here) as client:
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"krakpot_view_{port}=wrong"}):
                    for path in ("/", "/lake", "/stream", "/trades.arrow?symbol=BTC/USD", "/?token=wrong", "/x.js"):
                        async with client.get(path, headers=headers) as answer:
                            assert answer.status == 401, path
                            assert server.token not in await answer.text()
                async with client.get("/lake", headers={"Authorization": f"Bearer {server.token}"}) as answer:
                    assert answer.status == 200
                async with client.get("/", params={"token": server.token}) as answer:
                    assert answer.status == 200
                    cookie = answer.headers["Set-Cookie"]
                    assert "HttpOnly" in cookie
                    assert "SameSite=Strict" in cookie
                pair = cookie.split(";")[0]
                async with client.get("/lake", headers={"Cookie": pair}) as answer:
                    assert answer.status == 200
            async with Client(f"ws://127.0.0.1:{port}/stream?token={server.token}") as one:
                assert one.hello["source"] == "lake"

    run(main())


def test_a_token_of_ones_own(lake: Path) -> None:
    """Also on this machine; a token that can be guessed is refused."""

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        assert server.address.endswith(f"?token={TOKEN}")
        async with client.get("/lake", params={"token": TOKEN}) as answer:
            assert answer.status == 200
        async with client.get("/lake", params={"token": TOKEN[:-1]}) as answer:
            assert answer.status == 401

    serving(main, lake, token=TOKEN)
    with pytest.raises(ConfigError, match="token"):
        ViewServer(lake, token=TOKEN[:5])


OURS, THEIRS = "http://127.0.0.1:8765", "http://evil.example"


@pytest.mark.parametrize(
    ("host", "headers", "served"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8765"}, True),
        ("127.0.0.1", {"Host": "localhost"}, True),
        ("127.0.0.1", {"Host": "[::1]:8765"}, True),
        ("LOCALHOST", {"Host": "localhost"}, True),
        ("127.0.0.1", {"Host": "127.0.0.1:8765", "Origin": OURS}, True),
        ("127.0.0.1", {"Host": "127.0.0.1:8765", "Origin": "https://127.0.0.1:8765"}, True),
        ("127.0.0.1", {"Host": "127.0.0.1:8765", "Origin": THEIRS}, False),
        ("127.0.0.1", {"Host": "evil.example", "Origin": THEIRS}, False),
        ("127.0.0.1", {"Host": "127.0.0.1:8765", "Origin": ""}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"Host": ""}, False),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.example"}, False),
        ("127.0.0.1", {"Host": "evil.example@127.0.0.1@evil.example"}, False),
        ("127.0.0.1", {"Host": "[::1"}, False),
        ("127.0.0.1", {"Host": "\udcff"}, False),
        ("192.0.2.7", {"Host": "192.0.2.7:8765"}, True),
        ("192.0.2.7", {"Host": "localhost:8765"}, False),
        (ALL, {"Host": "any.example"}, True),
        (ALL, {"Host": "any.example", "Origin": THEIRS}, False),
    ],
)
def test_hosts_and_origins(host: str, headers: dict[str, str], served: bool) -> None:  # of a table
    """Served are requests that name this server, and pages of its own."""
    assert (Guard(host, None).refusal(headers, None) is None) is served


@pytest.mark.parametrize("given", [None, "", TOKEN[:-1], TOKEN + "x", "\udcff", "ü"])
def test_tokens_that_are_none(given: str | None) -> None:
    """By whatever way they come, also as bytes that are no text."""
    guard = Guard("127.0.0.1", TOKEN)
    for way in (
        {},
        {"Authorization": f"Bearer {given}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ):
        refused = guard.refusal({"Host": "localhost"} | way, given)
        assert refused is not None
        assert refused[0] == HTTPStatus.UNAUTHORIZED
    assert guard.refusal({"Host": "localhost"}, TOKEN) is None
    assert guard.refusal({"Host": "localhost", "Authorization": f"bearer {TOKEN}"}, given) is None

"""REST of the built-in exchange: signatures by Kraken's own example and by the test's own hand, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from typing import Any

import pytest

import frames
from krakpot.errors import ConfigError
from krakpot.exchange.rest import Key, Rest, RestServer, signature
from waiting import talk

PATH = "/0/private/GetWebSocketsToken"
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="  # noqa: S105  # from the documentation
"""The secret of the example in Kraken's documentation; no key of anybody."""


def sign(secret: str, path: str, nonce: str, body: bytes) -> str:
    """API-Sign, written down a second time from the documentation."""
    inner = hashlib.sha256((nonce + body.decode()).encode()).digest()
    mac = hmac.new(base64.b64decode(secret), path.encode() + inner, hashlib.sha512)
    return base64.b64encode(mac.digest()).decode()


class Account:
    """A ``Rest`` with a clock by hand, and what it allowed."""

    def __init__(self) -> None:
        self.allowed: list[tuple[str, int]] = []
        self.now = frames.START
        self.rest = Rest(Key.read("name", SECRET), lambda: self.now, lambda *token: self.allowed.append(token))

    def ask(self, nonce: str, *, body: bytes | None = None, kind: str = "", **headers: str) -> dict[str, Any]:
        """Ask for a token; headers (with _ for -) replace the right ones."""
        body = f"nonce={nonce}".encode() if body is None else body
        right = {"api-key": "name", "api-sign": sign(SECRET, PATH, nonce, body), "content-type": kind}
        right |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.rest.answer("POST", PATH, right, body)


def test_kraken_s_own_example_of_a_signature() -> None:
    """The signature of the documentation's request is the documentation's."""
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    known = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert signature(base64.b64decode(SECRET), "/0/private/AddOrder", "1616492376594", body) == known
    assert sign(SECRET, "/0/private/AddOrder", "1616492376594", body) == known, "the test's own as well"


def test_a_token_is_new_and_lives_for_900_seconds() -> None:
    """Each request has a token of its own, allowed until 900 s of the exchange's time later."""
    account = Account()
    first, second = account.ask("1"), account.ask("2")
    assert first == {"error": [], "result": {"token": account.allowed[0][0], "expires": 900}}
    assert [until for _, until in account.allowed] == [frames.START + 900 * frames.SECOND] * 2
    assert first["result"]["token"] != second["result"]["token"]


def test_json_bodies_are_signed_too() -> None:
    """The nonce of a JSON body may be a number or a text."""
    account = Account()
    for body in (b'{"nonce": 7}', b'{"nonce": "8"}'):
        nonce = str(json.loads(body)["nonce"])
        assert account.ask(nonce, body=body, kind="application/json; charset=utf-8")["error"] == []
    assert len(account.allowed) == 2


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"api_key": "other"}, "EAPI:Invalid key"),
        ({"api_key": "näme"}, "EAPI:Invalid key"),
        ({"api_key": ""}, "EAPI:Invalid key"),
        ({"api_sign": ""}, "EAPI:Invalid signature"),
        ({"api_sign": "x"}, "EAPI:Invalid signature"),
        ({"api_sign": sign(SECRET, PATH, "6", b"nonce=6")}, "EAPI:Invalid signature"),
        ({"api_sign": sign(SECRET, "/0/private/AddOrder", "5", b"nonce=5")}, "EAPI:Invalid signature"),
    ],
)
def test_a_wrong_signature_gets_nothing_and_uses_no_nonce(headers: dict[str, Any], error: str) -> None:
    """Who does not have the secret gets no token, and cannot spoil the nonces of who has it."""
    account = Account()
    assert account.ask("5", **headers) == {"error": [error]}
    assert account.allowed == []
    assert account.ask("5")["error"] == []


@pytest.mark.parametrize("nonce", ["9", "10", "0"])
def test_an_old_nonce_is_refused(nonce: str) -> None:
    """A nonce must be above all before: whoever recorded a request cannot send it again."""
    account = Account()
    assert account.ask("10")["error"] == []
    assert account.ask(nonce) == {"error": ["EAPI:Invalid nonce"]}
    assert account.ask("18446744073709551615")["error"] == [], "the largest"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ""),
        (b"nonce=", ""),
        (b"nonce=-1", ""),
        (b"nonce=1.5", ""),
        (b"nonce=18446744073709551616", ""),
        (b"nonce=1&nonce=2", ""),
        (b"\xff", ""),
        (b"[]", "application/json"),
        (b"{", "application/json"),
        (b'{"nonce": 1.5}', "application/json"),
        (b"[" * 60_000, "application/json"),
    ],
)
def test_a_body_without_a_nonce_is_refused(body: bytes, kind: str) -> None:
    """Whatever else a body may be."""
    account = Account()
    assert account.ask("1", body=b"", api_sign="x")["error"] == ["EAPI:Invalid nonce"]
    headers = {"api-key": "name", "api-sign": "x", "content-type": kind}
    assert account.rest.answer("POST", PATH, headers, body) == {"error": ["EAPI:Invalid nonce"]}


def test_clock_and_state() -> None:
    """Time and SystemStatus tell the exchange's own time; other paths are unknown."""
    rest = Account().rest
    assert rest.answer("GET", "/0/public/Time", {}, b"") == {
        "error": [],
        "result": {"unixtime": 1785641750, "rfc1123": "Sun, 02 Aug 2026 03:35:50 GMT"},
    }
    assert rest.answer("GET", "/0/public/SystemStatus", {}, b"")["result"] == {
        "status": "online",
        "timestamp": "2026-08-02T03:35:50Z",
    }
    for method, path in (("GET", PATH), ("GET", "/"), ("POST", "/0/private/Balance")):
        assert rest.answer(method, path, {}, b"") == {"error": ["EGeneral:Unknown method"]}


def test_a_key_keeps_its_secret() -> None:
    """A key that is printed or logged does not show it; what is made has Kraken's lengths, and is never the same."""
    key = Key.read("name", SECRET)
    assert key.secret_text == SECRET
    assert SECRET not in repr(key)
    assert repr(key.secret) not in repr(key)
    made = Key.made()
    assert (len(made.name), len(made.secret_text)) == (56, 88)
    assert made.secret != Key.made().secret
    with pytest.raises(ConfigError, match=r"krakpot\.exchange\.rest\.Key\.read: secret: this is not base64"):
        Key.read("name", "no base64")


@contextlib.asynccontextmanager
async def served() -> Any:
    """A server, and how often it was asked."""
    account, asked = Account(), list[None]()
    server = RestServer(account.rest, lambda: asked.append(None), here=True)
    await server.start("127.0.0.1", 0)
    try:
        yield server, asked
    finally:
        async with asyncio.timeout(5):
            await server.close()


def test_over_http() -> None:
    """A request in several pieces gets one answer with a length, then the connection ends."""

    async def run() -> None:
        async with served() as (server, asked):
            body = b"nonce=1"
            head = (
                f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n"
                f"API-Key: name\r\nAPI-Sign: {sign(SECRET, PATH, '1', body)}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            answer = await talk(server.address, head + body)
            top, _, rest = answer.partition(b"\r\n\r\n")
            assert top.startswith(b"HTTP/1.1 200 OK\r\n")
            assert f"Content-Length: {len(rest)}".encode() in top
            assert json.loads(rest)["result"]["expires"] == 900
            assert json.loads((await talk(server.address, head + body)).rpartition(b"\r\n")[2]) == {
                "error": ["EAPI:Invalid nonce"]
            }
            assert (await talk(server.address, b"GET /0/public/Time?x=1 HTTP/1.1\r\nHost: [::1]:9\r\n\r\n")).startswith(
                b"HTTP/1.1 200"
            )
            assert len(asked) == 3

    asyncio.run(run())


def test_no_page_in_a_browser_is_answered() -> None:
    """One that names its origin, or whose own name was made to lead to this machine, is refused before it is heard."""

    async def run() -> None:
        async with served() as (server, asked):
            for lines in ("Host: evil.example", "Y: z", "Host: localhost\r\nOrigin: http://localhost"):
                answer = await talk(
                    server.address, f"GET /0/public/Time HTTP/1.1\r\nX: y\r\n{lines}".encode() + b"\r\n\r\n"
                )
                assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            assert not asked

    asyncio.run(run())

"""The token for level 3, asked of Kraken's REST with an API key, signed as its documentation says.

The key and its secret go into the signed request and nowhere else: no error, log or ``repr`` shows them, or a token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from krakpot.config import PERMISSION
from krakpot.errors import FeedError, TokenError, words_of
from krakpot.net.proxy import chosen, tunnel

PATH = "/0/private/GetWebSocketsToken"
TIMEOUT = 10.0
"""Seconds for a whole request."""
ANSWER_MAX = 64 << 10
"""Bytes of an answer; a token's are some 100."""
WORDS_MAX = 200
"""Characters of a refusal that are told."""

REFUSALS = {
    "EAPI:Invalid key": (
        "the API key is not known; compare KRAKPOT_API_KEY with the key's page at Kraken, where it may have expired",
        True,
    ),
    "EAPI:Invalid signature": ("the API secret does not belong to the key; compare KRAKPOT_API_SECRET", True),
    "EAPI:Invalid nonce": (
        "a nonce was below an earlier one: another program uses this API key; make one for krakpot alone",
        False,
    ),
    "EGeneral:Permission denied": (f"the API key lacks {PERMISSION}; give it that on the key's page at Kraken", True),
    "EAPI:Rate limit exceeded": ("too many requests to REST with this account; it is tried again more slowly", False),
    "EGeneral:Temporary lockout": ("Kraken locked the API key for a while after too many wrong requests", False),
    "EService:": ("Kraken's REST is out of service for the moment", False),
}
"""What a refusal means and what helps, by the beginning of Kraken's words; and whether it lasts."""


def signature(secret: bytes, path: str, nonce: int, body: str) -> str:
    """``API-Sign`` of a request: HMAC-SHA512 by the secret over the path and the SHA-256 of nonce and body, base64."""
    inner = hashlib.sha256(f"{nonce}{body}".encode()).digest()
    return base64.b64encode(hmac.new(secret, path.encode() + inner, hashlib.sha512).digest()).decode()


class Tokens:
    """Asks for tokens, one request at a time: nonces must arrive in their order."""

    def __init__(self, url: str, key: str, secret: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Remember where to ask and with what; ``secret`` is base64, which the configuration has checked."""
        self.url = url
        self._key = key
        self._secret = secret
        self._tls = tls
        self._nonce = 0
        self._lock = asyncio.Lock()

    async def new(self) -> str:
        """A new token; ``TokenError`` says why there is none, and whether asking again may help."""
        async with self._lock:
            # The clock may step back, nonces must not.
            self._nonce = max(self._nonce + 1, time.time_ns() // 1_000_000)
            body = urlencode({"nonce": self._nonce})
            headers = {
                "API-Key": self._key,
                "API-Sign": signature(base64.b64decode(self._secret), PATH, self._nonce, body),
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": "krakpot",
            }
            try:
                async with asyncio.timeout(TIMEOUT):
                    status, answer = await _Request(self.url, self._tls).run(headers, body)
            except TimeoutError:
                raise self._error(f"no answer within {TIMEOUT:.0f} s") from None
            except ssl.SSLCertVerificationError as error:
                raise self._error(f"the certificate was not accepted: {error.verify_message}") from None
            except FeedError as error:
                raise self._error(str(error)) from None
            except OSError as error:
                raise self._error(f"the connection failed: {words_of(error)}") from None
            except http.client.HTTPException as error:
                raise self._error(f"the answer is no HTTP ({type(error).__name__})") from None
            return self._read(status, answer)

    def _read(self, status: int, body: bytes) -> str:
        """The token in an answer."""
        answer = _json(body)
        errors, result = answer.get("error"), answer.get("result")
        if isinstance(errors, list) and errors:
            raise self._refused(str(errors[0]))
        token = result.get("token") if isinstance(result, dict) else None
        expires = result.get("expires") if isinstance(result, dict) else None
        if status != http.client.OK or not isinstance(token, str) or not token:
            kind = "JSON without a token" if answer else "no JSON"
            raise self._error(f"the answer is {kind} (HTTP {status}); is --rest-url right?")
        if not isinstance(expires, (int, float)) or expires <= 0:
            raise self._error("the token had expired when it came")
        return token

    def _refused(self, words: str) -> TokenError:
        """The error for Kraken's words, in which nothing of ours may stand."""
        for own in (self._key, self._secret):
            words = words.replace(own, "…")
        words = "".join(filter(str.isprintable, words))[:WORDS_MAX]
        for begin, (sentence, lasting) in REFUSALS.items():
            if words.startswith(begin):
                return self._error(f"{sentence} ({words})", lasting=lasting)
        return self._error(f"Kraken refuses: {words}")

    def _error(self, sentence: str, *, lasting: bool = False) -> TokenError:
        return TokenError(f"no token for level 3: {sentence}: {self.url}", lasting=lasting)


class _Request:
    """One request in a thread, on a connection of its own that ends with it."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, "the configuration refuses an address without a host"
        # What is signed is the path below this one, as Kraken has it.
        self.path = parts.path.rstrip("/") + PATH
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        self.tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self.tls = tls or ssl.create_default_context()
            self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=self.tls)
        self.socket: socket.socket | None = None

    async def run(self, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        try:
            return await asyncio.to_thread(self._talk, headers, body)
        finally:
            # A thread cannot be cancelled: where nobody waits any more it ends with its socket.
            if self.socket is not None:
                with suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> None:
        """Directly, or through the proxy that the environment names; TLS is the exchange's either way."""
        connection = self.connection
        proxy = chosen(connection.host)
        if proxy is None:
            connection.connect()
            return
        sock = tunnel(proxy, connection.host, connection.port, TIMEOUT)
        connection.sock = sock
        if self.tls is not None:
            connection.sock = self.tls.wrap_socket(sock, server_hostname=connection.host)

    def _talk(self, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        with closing(self.connection):
            self._connect()
            self.socket = self.connection.sock
            self.connection.request("POST", self.path, body, headers)
            with self.connection.getresponse() as response:
                return response.status, response.read(ANSWER_MAX)


def _json(body: bytes) -> dict[str, Any]:
    """The object in a body; empty where there is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}

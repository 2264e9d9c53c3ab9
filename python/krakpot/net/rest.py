"""Requests to Kraken's REST: one connection each, directly or through a proxy; and its public market data.

Kraken's REST answers HTTP 200 with ``{"error": […], "result": {…}}``. Numbers of an answer are read exactly.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing, suppress
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from krakpot.errors import FeedError, words_of
from krakpot.net.connection import BUSY, retry_after
from krakpot.net.proxy import chosen, tunnel

PUBLIC = "/0/public/"
TIMEOUT = 10.0
"""Seconds for a whole request."""
ANSWER_MAX = 16 << 20
"""Bytes of an answer that are read; ``AssetPairs`` has about 1.5 MB."""
WORDS_MAX = 200
"""Characters of a refusal that an error repeats."""
LIMITED = ("EGeneral:Too many requests", "EAPI:Rate limit exceeded", "EService:")
"""How refusals begin that are over after a while."""


class Answer(NamedTuple):
    """What REST answered."""

    status: int
    body: bytes
    retry_after: str | None
    """The header ``Retry-After``."""


class RestError(FeedError):
    """REST did not answer what was asked for; the sentence says why."""

    def __init__(
        self, sentence: str, *, lasting: bool, wait: float = 0.0, unresolved: bool = False, words: str = ""
    ) -> None:
        """``lasting``: asking again does not help. ``wait``: seconds that REST asked to wait; 0 if it named none.

        ``unresolved``: the name of the host, or of the proxy, has no address; it may be wrong, or the network be down.
        ``words``: Kraken's, if it refused a signed request.
        """
        super().__init__(sentence)
        self.lasting = lasting
        self.wait = wait
        self.unresolved = unresolved
        self.words = words


class Request:
    """One request, made in a thread, on a separate connection."""

    def __init__(self, url: str, path: str, tls: ssl.SSLContext | None, *, most: int = ANSWER_MAX) -> None:
        """``path`` is appended to that of ``url``; at most ``most`` bytes of the answer are read."""
        parts = urlsplit(url)
        assert parts.hostname is not None, "the configuration refuses an address without a host"
        self.path = parts.path.rstrip("/") + path
        self.most = most
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        self.tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self.tls = tls or ssl.create_default_context()
            self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=self.tls)
        self.socket: socket.socket | None = None

    async def run(self, method: str, headers: dict[str, str], body: str | None = None) -> Answer:
        """Send the request; returns the answer."""
        try:
            return await asyncio.to_thread(self._talk, method, headers, body)
        finally:
            # A thread cannot be cancelled, so its socket is shut down when nobody waits for it any more.
            if self.socket is not None:
                with suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> None:
        """Connect directly, or through the proxy that the environment names; TLS is with the exchange in both cases."""
        connection = self.connection
        proxy = chosen(connection.host)
        if proxy is None:
            connection.connect()
            return
        sock = tunnel(proxy, connection.host, connection.port, TIMEOUT)
        connection.sock = sock
        if self.tls is not None:
            connection.sock = self.tls.wrap_socket(sock, server_hostname=connection.host)

    def _talk(self, method: str, headers: dict[str, str], body: str | None) -> Answer:
        with closing(self.connection):
            self._connect()
            self.socket = self.connection.sock
            self.connection.request(method, self.path, body, headers)
            with self.connection.getresponse() as response:
                return Answer(response.status, response.read(self.most), response.getheader("Retry-After"))


def trouble(error: BaseException) -> str:
    """Why a request has no answer, in words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, OSError):
        return f"the connection failed: {words_of(error)}"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__})"
    return str(error)


UNRESOLVED = (socket.gaierror, UnicodeError)
"""What is raised for a name without an address; Python cannot even ask for a name with two dots in a row."""
TROUBLE = (TimeoutError, OSError, UnicodeError, FeedError, http.client.HTTPException)
"""What a request without an answer raises."""


def facts_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, numbers exact; empty if there is none."""
    try:
        answer = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def result_of(answer: Answer, facts: dict[str, Any], error: Callable[..., RestError]) -> dict[str, Any]:
    """Return the result of an answer in which Kraken names no error; raises what ``error`` makes of a sentence."""
    result = facts.get("result")
    if answer.status in BUSY or answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise error(f"REST is busy (HTTP {answer.status})", wait=retry_after(answer.retry_after, time.time()))
    if answer.status != http.client.OK or not isinstance(result, dict):
        kind = "JSON without a result" if facts else "no JSON"
        sentence = f"the answer is {kind} (HTTP {answer.status}); is this the address of Kraken's REST?"
        raise error(sentence, lasting=True)
    return result


class Public:
    """Public market data of the REST at ``url``."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """``url`` is checked: ``values.rest_url``."""
        self.url = url
        self._tls = tls

    async def get(self, name: str, **parameters: object) -> dict[str, Any]:
        """Return the result of ``/0/public/<name>``; ``RestError`` says why there is none, and whether to ask again."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            async with asyncio.timeout(TIMEOUT):
                request = Request(self.url, f"{PUBLIC}{name}{query}", self._tls)
                answer = await request.run("GET", {"User-Agent": "krakpot"})
        except UNRESOLVED as error:
            words = words_of(error) if isinstance(error, OSError) else "it is no name of a host"
            sentence = f"the name {urlsplit(self.url).hostname} cannot be resolved ({words}); check it, and the network"
            raise self._error(name, sentence, unresolved=True) from None
        except TROUBLE as error:
            # That of a proxy.
            unresolved = isinstance(error.__context__, UNRESOLVED)
            raise self._error(name, trouble(error), unresolved=unresolved) from None
        facts = facts_of(answer.body)
        errors = facts.get("error")
        wait = retry_after(answer.retry_after, time.time())
        if isinstance(errors, list) and errors and answer.status == http.client.OK:
            words = "".join(filter(str.isprintable, str(errors[0])))[:WORDS_MAX]
            raise self._error(name, f"Kraken refuses: {words}", wait=wait, lasting=not words.startswith(LIMITED))
        return result_of(answer, facts, lambda sentence, **more: self._error(name, sentence, **more))

    def _error(
        self, name: str, sentence: str, *, lasting: bool = False, wait: float = 0.0, unresolved: bool = False
    ) -> RestError:
        return RestError(f"REST {name}: {sentence}: {self.url}", lasting=lasting, wait=wait, unresolved=unresolved)

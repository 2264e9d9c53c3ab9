"""The token for level 3: requested from Kraken's REST with an API key, signed as Kraken's documentation says.

The key and its secret are used for the signed request only. No error, log or ``repr`` shows them, or a token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import ssl
import time
from decimal import Decimal
from urllib.parse import urlencode

from krakpot.config import PERMISSION
from krakpot.errors import TokenError
from krakpot.net.connection import BUSY, retry_after
from krakpot.net.rest import TIMEOUT, TROUBLE, WORDS_MAX, Answer, Request, facts_of, trouble

PATH = "/0/private/GetWebSocketsToken"
ANSWER_MAX = 64 << 10
"""Bytes of an answer that are read; one with a token has about 100."""

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
    "EAPI:Rate limit exceeded": ("too many requests to REST with this account; krakpot asks again more slowly", False),
    "EGeneral:Temporary lockout": ("Kraken locked the API key for a while after too many wrong requests", False),
    "EService:": ("Kraken's REST is out of service for the moment", False),
}
"""By the beginning of Kraken's words: what a refusal means, what helps, and whether it is lasting."""


def signature(secret: bytes, path: str, nonce: int, body: str) -> str:
    """``API-Sign`` of a request: base64 of the HMAC-SHA512 by the secret over the path and SHA-256(nonce, body)."""
    inner = hashlib.sha256(f"{nonce}{body}".encode()).digest()
    return base64.b64encode(hmac.new(secret, path.encode() + inner, hashlib.sha512).digest()).decode()


class Tokens:
    """Requests tokens, one at a time, because nonces must arrive in ascending order."""

    def __init__(self, url: str, key: str, secret: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Remember the address and the key pair; ``secret`` is base64, which the configuration has checked."""
        self.url = url
        self._key = key
        self._secret = secret
        self._tls = tls
        self._nonce = 0
        self._lock = asyncio.Lock()

    async def new(self) -> str:
        """Return a new token; ``TokenError`` says why there is none, and whether and when to ask again."""
        async with self._lock:
            # The clock may step back; nonces must not.
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
                    # The signature covers Kraken's path only, without the path of the address.
                    request = Request(self.url, PATH, self._tls, most=ANSWER_MAX)
                    answer = await request.run("POST", headers, body)
            except TROUBLE as error:
                raise self._error(trouble(error)) from None
            return self._read(answer)

    def _read(self, answer: Answer) -> str:
        """Return the token in an answer."""
        facts = facts_of(answer.body)
        errors, result = facts.get("error"), facts.get("result")
        wait = retry_after(answer.retry_after, time.time())
        if isinstance(errors, list) and errors:
            raise self._refused(str(errors[0]), wait)
        token = result.get("token") if isinstance(result, dict) else None
        expires = result.get("expires") if isinstance(result, dict) else None
        if answer.status in BUSY:
            raise self._error(f"REST is busy (HTTP {answer.status})", wait=wait)
        if answer.status != http.client.OK or not isinstance(token, str) or not token:
            kind = "JSON without a token" if facts else "no JSON"
            raise self._error(f"the answer is {kind} (HTTP {answer.status}); is rest_url right?", wait=wait)
        if not isinstance(expires, (int, Decimal)) or expires <= 0:
            raise self._error("the token in the answer has already expired")
        return token

    def _refused(self, words: str, wait: float) -> TokenError:
        """Make the error for Kraken's words; key and secret are removed from them."""
        for own in (self._key, self._secret):
            words = words.replace(own, "…")
        words = "".join(filter(str.isprintable, words))[:WORDS_MAX]
        for begin, (sentence, lasting) in REFUSALS.items():
            if words.startswith(begin):
                return self._error(f"{sentence} ({words})", lasting=lasting, wait=wait)
        return self._error(f"Kraken refuses: {words}", wait=wait)

    def _error(self, sentence: str, *, lasting: bool = False, wait: float = 0.0) -> TokenError:
        if wait:
            sentence += f"; to be tried again in {wait:.0f} s"
        return TokenError(f"no token for level 3: {sentence}: {self.url}", lasting=lasting, retry_after=wait)

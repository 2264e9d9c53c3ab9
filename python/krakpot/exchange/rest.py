"""REST of the built-in exchange: tokens and the account, signed for as at Kraken; its clock, its state, its faults.

``Rest.answer`` decides the answers without sockets; ``RestServer`` serves them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.exchange.account import NEEDED, Account
from krakpot.exchange.public import Public
from krakpot.net import http as http1

PRIVATE = "/0/private/"
TOKEN_PATH = "/0/private/GetWebSocketsToken"  # noqa: S105  # a path, no secret
FAULTS_PATH = "/faults"
EXPIRES = 900
"""Seconds for which a token may be used, by the exchange's clock."""
NONCE_MAX = (1 << 64) - 1
DENIED = "EGeneral:Permission denied"
ARGUMENTS = ("krakpot.exchange.rest.Key.read: name", "krakpot.exchange.rest.Key.read: secret")
"""Where name and secret of a key come from, unless a command read them."""


@dataclass(frozen=True)
class Key:
    """A key of the exchange's only account. Its ``repr`` does not show the secret."""

    name: str
    secret: bytes = field(repr=False)

    @classmethod
    def made(cls) -> Self:
        """Return a new key, at random."""
        return cls(base64.b64encode(secrets.token_bytes(42)).decode(), secrets.token_bytes(64))

    @classmethod
    def read(cls, name: str, secret: str, *, places: tuple[str, str] = ARGUMENTS) -> Self:
        """Return the key of this name, with its secret in base64.

        ``places`` say in an error where name and secret come from.

        Raises
        ------
        ConfigError
            If the name cannot go into a header, or the secret is not base64. The sentence does not show the secret.

        """
        try:
            name = values.api_key(name)
        except ValueError as error:
            sentence = f"{places[0]}: {name!r} is not allowed; allowed is {error}"
            raise ConfigError(sentence) from None
        try:
            return cls(name, base64.b64decode(values.api_secret(secret)))
        except ValueError:
            sentence = f"{places[1]}: this is not base64; give for example c2VjcmV0, or leave key and secret out"
            raise ConfigError(sentence) from None

    @property
    def secret_text(self) -> str:
        """The secret, in base64."""
        return base64.b64encode(self.secret).decode()


def signature(secret: bytes, path: str, nonce: str, body: bytes) -> str:
    """Return what ``API-Sign`` must be: HMAC-SHA512 over the path and the SHA-256 of nonce and body, in base64."""
    digest = hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(hmac.digest(secret, path.encode() + digest, "sha512")).decode()


def _nonce(kind: str, body: bytes) -> str | None:
    """Return the nonce of a body, a form or JSON; None if there is none."""
    try:
        if kind.partition(";")[0].strip().lower() == "application/json":
            value = json.loads(body)["nonce"]
            text = str(value) if isinstance(value, (int, str)) else ""
        else:
            (text,) = parse_qs(body.decode(), strict_parsing=True)["nonce"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if re.fullmatch(r"[0-9]{1,20}", text) and int(text) <= NONCE_MAX else None


@dataclass
class Access:
    """A key, what it may do (None: everything that the exchange serves), and its highest nonce."""

    key: Key
    permissions: tuple[str, ...] | None = None
    last_nonce: int = -1


@dataclass
class Rest:
    """The answers.

    ``now`` returns the exchange's time, ns. ``allow`` gets each new token, and the time until which it is valid, ns.
    ``exchange`` is the one into which faults are injected; without it ``/faults`` is unknown.
    """

    key: Key
    now: Callable[[], int]
    allow: Callable[[str, int], None]
    exchange: _core.Exchange | None = None
    account: Account | None = field(init=False, default=None)
    access: dict[str, Access] = field(init=False)
    """The account's keys, by name."""

    def __post_init__(self) -> None:
        """Make the answers about the account."""
        self.access = {self.key.name: Access(self.key)}
        if self.exchange is not None:
            self.account = Account(self.exchange, self.key.name)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Return the JSON of an answer; ``headers`` by lower-case name."""
        clock = self.now() if self.exchange is None else self.exchange.clock
        now = datetime.fromtimestamp(clock // 10**9, UTC)
        if (method, path) == ("GET", "/0/public/Time"):
            return _result({"unixtime": int(now.timestamp()), "rfc1123": format_datetime(now, usegmt=True)})
        if (method, path) == ("GET", "/0/public/SystemStatus"):
            system = "online" if self.exchange is None else self.exchange.system
            state = {"status": system, "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
            announced = json.loads("[]" if self.exchange is None else self.exchange.upcoming_maintenance)
            return _result(state | ({"upcoming_maintenance": announced} if announced else {}))
        if path == FAULTS_PATH and self.exchange is not None:
            return self._faults(self.exchange, method, headers, body)
        return self._signed(method, path, headers, body)

    def _signed(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Answer what must be signed for."""
        name = path.removeprefix(PRIVATE)
        account = self.account if path == PRIVATE + name else None
        if method != "POST" or not (path == TOKEN_PATH or (account is not None and name in account.methods)):
            return _error("EGeneral:Unknown method")
        access = self._check(path, headers, body)
        if isinstance(access, str):
            return _error(access)
        error = None if self.exchange is None else self.exchange.refuse_signed(name)
        if error is not None:
            return _error(error)
        needed = NEEDED.get(name, ())
        if access.permissions is not None and needed and not set(needed) & set(access.permissions):
            return _error(DENIED)
        if account is not None and path != TOKEN_PATH:
            account.key_name, account.last_nonce = access.key.name, str(access.last_nonce)
            account.permissions = access.permissions
            return account.answer(name, headers.get("content-type", ""), body)
        token = secrets.token_urlsafe(32)
        self.allow(token, self.now() + EXPIRES * 10**9)
        return _result({"token": token, "expires": EXPIRES})

    def _faults(self, exchange: _core.Exchange, method: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Inject faults (POST, one per line), end all of them (DELETE), or list those in force (GET).

        The header ``API-Key`` must have the name of the key: a page in a browser cannot send that header unasked.
        """
        if not hmac.compare_digest(headers.get("api-key", "").encode(), self.key.name.encode()):
            return _error("EAPI:Invalid key")
        if method == "DELETE":
            exchange.clear_faults()
        elif method == "POST":
            try:
                for line in body.decode().splitlines():
                    exchange.inject(line)
            except ValueError as error:
                return _error(str(error))
        return _result({"faults": exchange.faults})

    def _check(self, path: str, headers: Mapping[str, str], body: bytes) -> Access | str:
        """Return the key that signed a request; or what is wrong with the signature, in Kraken's words."""
        given = headers.get("api-key", "").encode()
        found = [one for one in self.access.values() if hmac.compare_digest(given, one.key.name.encode())]
        if not found:
            return "EAPI:Invalid key"
        access = found[0]
        nonce = _nonce(headers.get("content-type", ""), body)
        if nonce is None:
            return "EAPI:Invalid nonce"
        wanted = signature(access.key.secret, path, nonce, body)
        if not hmac.compare_digest(headers.get("api-sign", "").encode(), wanted.encode()):
            return "EAPI:Invalid signature"
        if int(nonce) <= access.last_nonce:
            return "EAPI:Invalid nonce"
        access.last_nonce = int(nonce)
        return access


def _result(result: dict[str, Any]) -> dict[str, Any]:
    return {"error": [], "result": result}


def _error(text: str) -> dict[str, Any]:
    return {"error": [text]}


class RestServer(http1.Server):
    """Serves a ``Rest``."""

    def __init__(self, rest: Rest, on_request: Callable[[], None], *, here: bool, public: Public | None = None) -> None:
        """``on_request`` is called for each request that is answered; ``here``: only this machine is served.

        ``public`` answers what is asked about the market; without it those paths are unknown.
        """
        self.rest = rest

        def answer(request: http1.Request) -> http1.Answer:
            if http1.foreign(request.headers, here=here):
                return _json(_error(DENIED), HTTPStatus.FORBIDDEN)
            if public is not None and request.method == "GET" and request.path in public.paths:
                # Market data: nobody is about to subscribe, so this does not hold the clock.
                found = public.answer(request.path, request.query, request.client)
                return _json(_error(f"HTTP {found}"), found) if isinstance(found, int) else _json(found)
            on_request()
            return _json(rest.answer(request.method, request.path, request.headers, request.body))

        super().__init__(answer, lambda status: _json(_error("EGeneral:Invalid arguments"), status))


def _json(answer: dict[str, Any], status: int = HTTPStatus.OK) -> http1.Answer:
    return http1.Answer(json.dumps(answer, separators=(",", ":")).encode(), "application/json", status)

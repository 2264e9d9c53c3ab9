"""Requests to Kraken's REST that are signed with an API key, and what the key may do."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from krakpot import values
from krakpot.net.connection import retry_after
from krakpot.net.rest import TIMEOUT, TROUBLE, WORDS_MAX, Request, RestError, facts_of, result_of, trouble
from krakpot.trade.key import Key
from krakpot.trade.nonces import Nonces

PRIVATE = "/0/private/"
NEEDED = (
    "query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades", "create-ws-token",
)  # fmt: skip
"""Permissions without which a strategy cannot trade, in Kraken's words."""
FORBIDDEN = "withdraw"
"""In the name of a permission: the key may send money away."""
LOCKOUT = 900.0
"""Seconds for which nothing is asked after a lockout: each request would begin Kraken's quarter of an hour anew."""
THROTTLED = re.compile(r"EService: ?Throttled: ?(\d{1,12})")
"""Too many requests at once, and the time until which none is served, unix seconds."""
EXCEEDED = "EAPI:Rate limit exceeded"
COUNTERS = {60: (15.0, 0.33), 125: (20.0, 0.5), 180: (20.0, 1.0)}
"""Kraken's counter of requests by the tier, which the most of the counter of orders tells: how high it may be, and how
much it falls in a second. Where the tier is not known it is the lowest."""
COSTS = {"TradesHistory": 4.0, "QueryTrades": 4.0, "Ledgers": 4.0, "QueryLedgers": 4.0}
"""What a request adds to it, if that is not 1. Kraken's pages say 2 or 4."""
FREE = {"CancelAll", "CancelOrder"}
"""Requests that it does not count."""
DENIED, LOCKED, NONCE = "EGeneral:Permission denied", "EGeneral:Temporary lockout", "EAPI:Invalid nonce"
PERMISSIONS = {
    "BalanceEx": "query-funds", "OpenOrders": "query-open-trades", "CancelAll": "close-trades",
    "GetWebSocketsToken": "create-ws-token",
}  # fmt: skip
"""What a method needs, for the sentence about its refusal."""
REFUSALS = {
    "EAPI:Invalid key": (
        "the API key is not known; compare it with the key's page at Kraken, where it may have expired", True,
    ),
    "EAPI:Invalid signature": ("the secret does not belong to the API key", True),
    NONCE: (
        "a nonce was below an earlier one: another program uses this API key; make one for krakpot alone", True,
    ),
    DENIED: ("the API key lacks a permission; `krakpot key check` names it", True),
    LOCKED: ("Kraken locked the API key for a while; each try begins the while anew", False),
    EXCEEDED: ("too many requests with the keys of this account; try again in a minute", False),
    "EGeneral:Too many requests": ("too many requests from this address; try again in a minute", False),
    "EService:": ("the exchange does not serve this now; `krakpot trade status` shows its state; try again", False),
}  # fmt: skip
"""By the beginning of Kraken's words: what a refusal means, and whether it is lasting."""


class Counter:
    """Kraken's counter of the requests of a key, as far as they are sent from here. Pure: times are arguments, s."""

    def __init__(self) -> None:
        """Of an account whose tier is not known."""
        self._used, self._at = 0.0, 0.0
        self.set_tier(None)

    def set_tier(self, rate: int | None) -> None:
        """``rate``: how high the counter of orders may be, as the private socket says; None: not known."""
        self.most, self.decay = COUNTERS.get(rate or 0, COUNTERS[60])

    def _now(self, now: float) -> float:
        self._used, self._at = max(0.0, self._used - max(0.0, now - self._at) * self.decay), now
        return self._used

    def wait(self, method: str, now: float) -> float:
        """Seconds until a request would not be refused."""
        over = self._now(now) + self._cost(method) - self.most
        return max(0.0, over) / self.decay

    def add(self, method: str, now: float) -> None:
        """A request is sent."""
        self._used = self._now(now) + self._cost(method)

    def fill(self, now: float) -> None:
        """Kraken says that it is full: others use the key or the account too."""
        self._used, self._at = max(self._now(now), self.most), now

    @staticmethod
    def _cost(method: str) -> float:
        return 0.0 if method in FREE else COSTS.get(method, 1.0)


class Signed:
    """Signed requests, one at a time, because nonces must arrive in ascending order."""

    def __init__(self, url: str, key: Key, nonces: Nonces, *, tls: ssl.SSLContext | None = None) -> None:
        """``url`` is checked by ``values.rest_url``.

        Raises
        ------
        ConfigError
            If the key must not be used there.

        """
        key.check_host(url)
        self.url = url
        self.key = key
        self._nonces = nonces
        self._tls = tls
        self.counter = Counter()
        """Of the requests that were sent; ``ask`` does not wait for it."""
        self._lock = asyncio.Lock()
        self._locked: tuple[str, float] | None = None
        """Kraken's words of a lockout, and until when nothing is asked."""

    async def ask(self, method: str, **fields: object) -> dict[str, Any]:
        """Return the result of ``/0/private/<method>``; ``RestError`` says why there is none, and if to ask again."""
        path = PRIVATE + method
        async with self._lock:
            if self._locked is not None:
                words, until = self._locked
                if (rest := until - time.monotonic()) > 0:
                    raise self._refused(method, words, rest)
                self._locked = None
            nonce = self._nonces.next()
            body = urlencode({"nonce": nonce, **fields})
            headers = {
                "API-Key": self.key.key,
                "API-Sign": self.key.secret.sign(path, nonce, body),
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": "krakpot",
            }
            self.counter.add(method, time.monotonic())
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await Request(self.url, path, self._tls).run("POST", headers, body)
            except TROUBLE as error:
                raise self._error(method, trouble(error)) from None
        facts = facts_of(answer.body)
        errors = facts.get("error")
        if isinstance(errors, list) and errors:
            words, wait = str(errors[0]), retry_after(answer.retry_after, time.time())
            if words.startswith(LOCKED):
                wait = max(wait, LOCKOUT)
                self._locked = (words, time.monotonic() + wait)
            if words.startswith(EXCEEDED):
                self.counter.fill(time.monotonic())
            if throttled := THROTTLED.match(words):
                wait = max(wait, min(int(throttled[1]) - time.time(), LOCKOUT))
            raise self._refused(method, words, wait)
        return result_of(answer, facts, lambda sentence, **more: self._error(method, sentence, **more))

    def _refused(self, method: str, words: str, wait: float) -> RestError:
        words = self.shown(words)
        for begin, (sentence, lasting) in REFUSALS.items():
            if words.startswith(begin):
                if begin == DENIED and method in PERMISSIONS:
                    need = f"the API key lacks the permission {PERMISSIONS[method]}"
                    return self._error(
                        method, f"{need}; give it that on the key's page ({words})", lasting=True, words=words
                    )
                return self._error(method, f"{sentence} ({words})", lasting=lasting, wait=wait, words=words)
        return self._error(method, f"Kraken refuses: {words}", lasting=True, wait=wait, words=words)

    def shown(self, text: str) -> str:
        """Return a text of the exchange as it may be shown: on one line, not too long, without key and secret."""
        return "".join(filter(str.isprintable, self.key.without(text)))[:WORDS_MAX]

    def unreadable(self, method: str) -> RestError:
        """Return the error about an answer that is not what Kraken documents."""
        return self._error(method, "the answer is not what Kraken documents", lasting=True)

    def _error(
        self, method: str, sentence: str, *, lasting: bool = False, wait: float = 0.0, words: str = ""
    ) -> RestError:
        return RestError(f"REST {method}: {sentence}: {self.url}", lasting=lasting, wait=wait, words=words)


@dataclass(frozen=True)
class Checked:
    """What a key may do, what is wrong with it, and what should be better."""

    name: str
    """Its name at Kraken."""
    permissions: tuple[str, ...]
    problems: tuple[str, ...]
    """With one of these nothing is traded."""
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        lists = {"permissions": self.permissions, "problems": self.problems, "warnings": self.warnings}
        return {"name": self.name, "allowed": not self.problems} | {name: list(one) for name, one in lists.items()}


def judge(info: Mapping[str, Any], key: Key, now: int) -> Checked:
    """Judge the answer to ``GetApiKeyInfo``; ``now`` in ns."""
    listed = info.get("permissions")
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        # What is not said is not allowed.
        return Checked("", (), ("the exchange does not say what the key may do",), ())
    may = tuple(sorted({one.strip().lower() for one in listed}))
    problems = [
        f"the key may send money away ({one}); a key that trades must not: take that permission from it"
        for one in may
        if FORBIDDEN in one
    ]
    needed = dict.fromkeys((*NEEDED, *(key.permissions or ())))
    problems += [
        f"the key lacks the permission {one}; give it that on the key's page" for one in needed if one not in may
    ]
    warnings = []
    if key.permissions is not None:
        more = [one for one in may if one not in needed and FORBIDDEN not in one]
        warnings += [f"the key has the permission {one}, which its file does not expect" for one in more]
    addresses = info.get("ip_allowlist")
    if not isinstance(addresses, list) or not any(addresses):
        warnings.append("the key works from every address; give it an allowlist of this machine's")
    until = str(info.get("valid_until") or "0")
    if until.isdecimal() and int(until):
        end = int(until) * 10**9
        if end <= now:
            problems.append(f"the key expired at {values.utc(end)}; make a new one")
        else:
            warnings.append(f"the key expires at {values.utc(end)}; orders cannot be cancelled with it afterwards")
    elif until != "0":
        warnings.append("the exchange says in unknown words until when the key is valid")
    name = "".join(filter(str.isprintable, key.without(str(info.get("api_key_name", "")))))[:WORDS_MAX]
    return Checked(name, may, tuple(problems), tuple(warnings))


async def check(signed: Signed) -> Checked:
    """Ask the exchange what the key may do, and judge it; ``RestError`` if it does not say."""
    return judge(await signed.ask("GetApiKeyInfo"), signed.key, time.time_ns())

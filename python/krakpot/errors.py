"""Errors that krakpot raises.

::

    KrakpotError                      base of all
    ├── ConfigError                   an option or an argument is wrong; also a ValueError
    ├── FeedError                     the exchange sent, or refused, something without which the work cannot go on; or
    │   │                             a feed or recorder cannot do this now: not started, closed, or read already
    │   ├── DecodeError               a message is not what the protocol promises; .channel .field .offset
    │   ├── NoBook                    a live book is out of sync, or not subscribed; .symbol .state .reason
    │   │   └── ChecksumMismatch      … because its checksum was wrong
    │   ├── SubscriptionRejected      the exchange rejected a subscription; .channel .symbol .reason
    │   ├── TokenError                no token for level 3; .lasting .retry_after
    │   └── SlowReader                the strategy fell behind the feed; .waiting .limit
    ├── ConnectionLost                no connection could be established; .attempts .last_error
    ├── KeyInUse                      another process signs with the API key; .path
    ├── Unreconciled                  own orders do not agree with the exchange; .troubles
    ├── LimitBreached                 more was lost than a limit allows; .reason .result
    ├── LimitExceeded                 a named bound was exceeded; .what .limit .found
    └── StorageError                  a lake could not be read or written; .path
        └── NoLake                    the folder is not a lake, and cannot become one

A ``TypeError`` is left to Python: an argument that a function does not have, or one that is missing. Expected trouble
of a recording (a wrong checksum, a gap, a rejected subscription) is not an exception: it is a row of the ledger.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class KrakpotError(Exception):
    """Base of krakpot's errors; its text is one plain sentence with the cause and, where there is one, the cure."""


class ConfigError(KrakpotError, ValueError):
    """An option or an argument is wrong; the sentence names it, and what is allowed."""


class FeedError(KrakpotError):
    """The exchange sent, or refused, something without which the work cannot go on; or this cannot be done now."""


class DecodeError(FeedError):
    """A message is not what the protocol promises."""

    def __init__(self, sentence: str, *, channel: str = "", field: str = "", offset: int | None = None) -> None:
        """Remember the place: channel and field (empty if not known), and the byte in the frame."""
        super().__init__(sentence)
        self.channel = channel
        self.field = field
        self.offset = offset


CLOSED = "the feed is closed"
"""Why a feed that was stopped or closed has no books."""


class NoBook(FeedError):
    """A live book is out of sync, or not subscribed, so it has no prices now."""

    def __init__(self, symbol: str, state: str, reason: str) -> None:
        """Remember the state of its subscription, and the reason."""
        why = f" ({reason})" if reason else ""
        sentence = f"{symbol} has no book in sync, its subscription is {state}{why}"
        # Of what the user or the exchange ended there is nothing to wait for.
        if state not in {"unknown", "rejected", "removed", "unsubscribing"} and reason != CLOSED:
            sentence += "; the feed repairs it by itself: wait until `in_sync` is true"
        super().__init__(sentence)
        self.symbol = symbol
        self.state = state
        self.reason = reason


class ChecksumMismatch(NoBook):
    """A live book has no prices now because its checksum was wrong."""

    def __init__(self, symbol: str, state: str, reason: str, expected: int, computed: int) -> None:
        """Remember the checksum that the exchange sent, and that of the book."""
        super().__init__(symbol, state, f"{reason}: expected {expected}, computed {computed}")
        self.reason = reason
        self.expected = expected
        self.computed = computed


class SubscriptionRejected(FeedError):
    """The exchange rejected a subscription."""

    def __init__(self, channel: str, symbol: str, reason: str) -> None:
        """``reason`` is in the words of the exchange."""
        super().__init__(f"the exchange rejected the subscription of {channel} {symbol}: {reason}")
        self.channel = channel
        self.symbol = symbol
        self.reason = reason


class TokenError(FeedError):
    """There is no token for level 3; the sentence says why and what helps."""

    def __init__(self, sentence: str, *, lasting: bool, retry_after: float = 0.0) -> None:
        """Remember when to ask again.

        ``lasting``: asking again does not help, only another key or other permissions. ``retry_after``: the server
        asked to wait this many seconds; 0 if it named no time.
        """
        super().__init__(sentence)
        self.lasting = lasting
        self.retry_after = retry_after


class SlowReader(FeedError):
    """The strategy fell behind the feed and chose ``slow_reader="fail"``."""

    def __init__(self, waiting: int, limit: int) -> None:
        """``waiting`` events or rows waited, ``limit`` may."""
        super().__init__(
            f"the strategy is slower than the feed: {waiting} events or rows wait, {limit} may (max_queue); do less "
            'for each, select fewer symbols, or use slow_reader="wait" or "newest"'
        )
        self.waiting = waiting
        self.limit = limit


class ConnectionLost(KrakpotError):
    """No connection could be established; all attempts failed."""

    def __init__(self, attempts: int, last_error: str) -> None:
        """Remember the number of attempts, and why the last one failed."""
        cure = "check the address (url), the network and the proxy, or try again later"
        super().__init__(f"no connection after {counted(attempts, 'attempt')}: {last_error}; {cure}")
        self.attempts = attempts
        self.last_error = last_error


class KeyInUse(KrakpotError):
    """Another process signs with the API key; two of them spoil each other's nonces."""

    def __init__(self, path: Path) -> None:
        """``path`` is the file that the other process has locked."""
        super().__init__(
            f"another process uses this API key; end it first, or make a key for each program: {path} is locked"
        )
        self.path = path


class Unreconciled(KrakpotError):
    """Own orders do not agree with those of the exchange, so nothing is traded."""

    def __init__(self, troubles: Sequence[str]) -> None:
        """``troubles``: what does not agree, in sentences."""
        cure = "look at the account on Kraken's page; `krakpot trade kill` cancels all its orders"
        super().__init__(f"own orders do not agree with the exchange: {'; '.join(troubles)}; {cure}")
        self.troubles = tuple(troubles)


class LimitBreached(KrakpotError):
    """More was lost than a limit allows: own orders were cancelled and the run ended; ``result`` has what came."""

    def __init__(self, reason: str, result: Any = None) -> None:  # noqa: ANN401  # a krakpot.Result
        """``reason``: the limit and the number that was hit."""
        super().__init__(reason)
        self.reason = reason
        self.result = result


class LimitExceeded(KrakpotError):
    """A named bound was exceeded; ``krakpot._core.LIMITS`` has them all."""

    def __init__(self, what: str, limit: int, found: int) -> None:
        """``what`` is the name of the bound."""
        super().__init__(f"{found} is more than the limit {what} of {limit}")
        self.what = what
        self.limit = limit
        self.found = found


class StorageError(KrakpotError):
    """A lake could not be read or written."""

    def __init__(self, sentence: str, path: Path) -> None:
        """Remember the path; the sentence comes first, the path last."""
        super().__init__(f"{sentence}: {path}")
        self.path = path


class NoLake(StorageError):
    """The folder is not a lake that this krakpot can read, and cannot become one."""


def counted(number: int, one: str, many: str = "") -> str:
    """``1 session``, ``1,234 sessions``; ``many`` is the plural where it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


_NUMBERS: dict[type[BaseException], int] = {
    BrokenPipeError: errno.EPIPE,
    ConnectionAbortedError: errno.ECONNABORTED,
    ConnectionRefusedError: errno.ECONNREFUSED,
    ConnectionResetError: errno.ECONNRESET,
    TimeoutError: errno.ETIMEDOUT,
}
"""Numbers of errors that libraries raise without a text."""


def words_of(error: BaseException) -> str:
    """The text of another library's error, in one line; never empty: an error without a text is named by its type."""
    text = getattr(error, "strerror", None) or str(error)
    if text.strip():
        return " ".join(text.split())
    number = _NUMBERS.get(type(error))
    return type(error).__name__ if number is None else os.strerror(number)

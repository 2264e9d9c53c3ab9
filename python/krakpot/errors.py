"""Errors that krakpot raises.

::

    KrakpotError
    ├── ConfigError        an option is wrong; says where and what is allowed
    ├── FeedError          the exchange sent, or refused, something we cannot go on with
    │   ├── TokenError     no token for level 3; .lasting
    │   ├── NoBook         a live book may not be trusted now; .symbol .state .reason
    │   └── SlowReader     a strategy was slower than its feed, and wanted to know; .waiting
    ├── ConnectionLost     no connection came about; .attempts .last_error
    └── StorageError       reading or writing a lake failed; .path
        └── NoLake         the folder is no lake, and cannot become one

Wrong arguments of functions raise ``ValueError`` or ``TypeError``. Expected trouble of a recording (a wrong checksum, a
gap, a refused subscription) is no exception: it is a row of the ledger.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


class KrakpotError(Exception):
    """Base of krakpot's errors; its text is one plain sentence for people."""


class ConfigError(KrakpotError):
    """An option is wrong; the sentence names its place and the allowed values."""


class FeedError(KrakpotError):
    """The exchange sent, or refused, something without which the work cannot go on."""


class TokenError(FeedError):
    """There is no token for level 3; the sentence says why and what helps."""

    def __init__(self, sentence: str, *, lasting: bool) -> None:
        """``lasting``: asking again does not help, only another key or other rights of it."""
        super().__init__(sentence)
        self.lasting = lasting


class NoBook(FeedError):
    """A live book may not be trusted now."""

    def __init__(self, symbol: str, state: str, reason: str) -> None:
        """Remember where its subscription stands, and why."""
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{symbol} has no book that may be trusted, its subscription is {state}{why}; "
            "it is repaired underneath: ask again when `feed.book(...).live` is true"
        )
        self.symbol = symbol
        self.state = state
        self.reason = reason


class SlowReader(FeedError):
    """A strategy was slower than its feed, and wanted to know."""

    def __init__(self, waiting: int, room: int) -> None:
        """Remember how much waited."""
        super().__init__(
            f"the strategy is slower than the feed: {waiting} wait for it, {room} may; do less for each, follow fewer "
            'symbols, or say when_slow="wait" or "newest"'
        )
        self.waiting = waiting


class ConnectionLost(KrakpotError):
    """No connection came about, however often it was tried."""

    def __init__(self, attempts: int, last_error: str) -> None:
        """Remember how often it was tried and why the last attempt failed."""
        super().__init__(f"no connection after {attempts} attempts: {last_error}")
        self.attempts = attempts
        self.last_error = last_error


class StorageError(KrakpotError):
    """Reading or writing a lake failed."""

    def __init__(self, sentence: str, path: Path) -> None:
        """Remember the path; the sentence comes first, the path last."""
        super().__init__(f"{sentence}: {path}")
        self.path = path


class NoLake(StorageError):
    """The folder that was named is no lake that this krakpot can read, and cannot become one."""


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

"""Errors that krakpot raises.

::

    KrakpotError
    ├── ConfigError        an option is wrong; says where and what is allowed
    ├── FeedError          the exchange sent, or refused, something we cannot go on with
    │   └── TokenError     no token for level 3; .lasting
    ├── ConnectionLost     no connection came about; .attempts .last_error
    └── StorageError       reading or writing a lake failed; .path
        └── NoLake         the folder is no lake, and cannot become one

Wrong arguments of functions raise ``ValueError`` or ``TypeError``. Expected trouble of a recording (a wrong checksum, a
gap, a refused subscription) is no exception: it is a row of the ledger.
"""

from __future__ import annotations

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

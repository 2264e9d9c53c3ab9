"""The numbers that sign requests of a key: each is higher than all before it, also after a crash; one process a key.

Kraken refuses a number that is not higher than the last one, and locks a key after many of them. So the highest number
is on disk before it is used, in a file that the process locks as long as it uses the key.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from krakpot.errors import KeyInUse, StorageError, words_of
from krakpot.lake import lock

SLOT = 32
"""Bytes of a record: number, CRC-32, end of line. Two are written by turns, so that a torn one loses nothing."""
RECORD = re.compile(rb"(\d{20}) ([0-9a-f]{8})..\n")
NONCE_MAX = (1 << 64) - 1
STATE = "XDG_STATE_HOME"


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what must outlive a run: ``$XDG_STATE_HOME/krakpot`` or ``~/.local/state/krakpot``."""
    given = environment.get(STATE, "")
    home = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return home / "krakpot"


def _record(nonce: int) -> bytes:
    digits = b"%020d" % nonce
    return digits + b" %08x" % zlib.crc32(digits) + b"  \n"


def _high(data: bytes) -> tuple[int, int] | None:
    """The highest number of the whole records, and the place of its record; None if there is none."""
    found = [RECORD.fullmatch(data[at : at + SLOT]) for at in range(0, len(data), SLOT)]
    whole = [
        (int(one[1]), place)
        for place, one in enumerate(found)
        if one is not None and zlib.crc32(one[1]) == int(one[2], 16)
    ]
    return max(whole, default=None)


class Nonces:
    """Ascending numbers of a key, microseconds of the clock where that is higher. Close it to free the key."""

    def __init__(self, key_id: str, folder: Path | None = None, *, clock: Callable[[], int] = time.time_ns) -> None:
        """``key_id`` is ``Key.id``; the file is in ``folder``, or in ``state_folder()``.

        Raises
        ------
        KeyInUse
            If another process uses the key.
        StorageError
            If the file cannot be read or made.

        """
        self.path = (state_folder() if folder is None else folder) / f"{key_id}.nonce"
        self._clock = clock
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"the file of the key's nonces cannot be opened ({words_of(error)})", self.path
            ) from error
        try:
            if not lock.take(self._file, self.path, exclusive=True):
                raise KeyInUse(self.path)
            data = os.pread(self._file, 2 * SLOT + 1, 0)
            high = _high(data)
            if high is None and data:
                sentence = (
                    "the file of the key's nonces is damaged; if no other program uses the key, remove the file: "
                    "numbers then follow the clock"
                )
                raise StorageError(sentence, self.path)
            self.last, newest = (-1, 1) if high is None else high
            # Never over the record that has the highest number.
            self._place = 1 - newest
            lock.sync_folder(self.path.parent)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    def next(self) -> int:
        """Return a number that is higher than all before it; it is on disk already.

        ``StorageError`` if the disk does not take it: no request may be signed then.
        """
        if self._file == -1:
            raise StorageError("the nonces of the key are closed", self.path)
        nonce = max(self._clock() // 1000, self.last + 1)
        if nonce > NONCE_MAX:
            raise StorageError("the key has used up its numbers; make a new key", self.path)
        try:
            os.pwrite(self._file, _record(nonce), self._place * SLOT)
            os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"the key's next nonce cannot be written ({words_of(error)})", self.path) from error
        self._place = 1 - self._place
        self.last = nonce
        return nonce

    def close(self) -> None:
        """Free the key for other processes."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        """Use it in a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the key."""
        self.close()

"""Locks on files and folders: the only module that knows how a platform locks.

A lock belongs to an open file and ends with it: when the file is closed, or when the process ends, however it ends. So
a lock never outlives the recorder, sealer or reader that took it.

POSIX has ``flock``. Windows has ``LockFileEx``, which locks a range of bytes and keeps others from reading them; so the
locked byte lies far behind the end of any file, and Windows cannot lock a folder at all.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from krakpot.errors import StorageError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]  # the platform has none

FOLDERS = fcntl is not None
"""Whether this platform can lock a folder, and force the names in it to the disk."""
FAR = 1 << 62
"""Offset of the byte that is locked on Windows."""
FAIL_IMMEDIATELY, EXCLUSIVE = 1, 2
"""Flags of ``LockFileEx``."""
LOCK_VIOLATION = 33
"""Its error when somebody else has the lock."""


class _Overlapped(ctypes.Structure):
    """``OVERLAPPED`` of the Windows API: where the range begins."""

    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", ctypes.c_uint32),
        ("offset_high", ctypes.c_uint32),
        ("event", ctypes.c_void_p),
    )


def take(handle: int, path: Path, *, exclusive: bool, wait: bool = False) -> bool:
    """Lock the open file of ``path``; False if somebody else has it and not ``wait``. Closing the file ends the lock.

    ``StorageError`` where the platform has no locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
    if sys.platform == "win32":
        return _lock_file(handle, exclusive=exclusive, wait=wait)
    raise StorageError(f"krakpot cannot lock files on the platform {sys.platform!r}", path)


def _lock_file(handle: int, *, exclusive: bool, wait: bool) -> bool:
    """Lock by ``LockFileEx``."""
    windows: Any = ctypes
    import msvcrt  # noqa: PLC0415  # only Windows has it

    library = windows.WinDLL("kernel32", use_last_error=True)
    place = _Overlapped(offset=FAR & 0xFFFF_FFFF, offset_high=FAR >> 32)
    flags = (EXCLUSIVE if exclusive else 0) | (0 if wait else FAIL_IMMEDIATELY)
    file = ctypes.c_void_p(msvcrt.get_osfhandle(handle))  # type: ignore[attr-defined,unused-ignore]  # of Windows
    if library.LockFileEx(file, flags, 0, 1, 0, ctypes.byref(place)):
        return True
    code = windows.get_last_error()
    if code == LOCK_VIOLATION:
        return False
    raise windows.WinError(code)


@contextmanager
def locked(path: Path, *, exclusive: bool, wait: bool = False) -> Iterator[bool]:
    """Lock a file, or a folder where ``FOLDERS``, while the body runs; gives whether that was possible."""
    handle = os.open(path, os.O_RDONLY)
    try:
        yield take(handle, path, exclusive=exclusive, wait=wait)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power failure; Windows does that without being asked."""
    if not FOLDERS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

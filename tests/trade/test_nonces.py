"""Numbers that sign: always higher, on disk before they are used, and of one process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from krakpot.errors import KeyInUse, StorageError
from krakpot.trade import nonces as module
from krakpot.trade.nonces import Nonces, state_folder

KEY = "0123456789abcdef"


def test_numbers_ascend(tmp_path: Path) -> None:
    """They follow the clock, and go on where it stands or steps back, also after a restart."""
    now = [5_000_000]
    with Nonces(KEY, tmp_path, clock=lambda: now[0]) as nonces:
        assert [nonces.next(), nonces.next()] == [5000, 5001]
        now[0] = 9_000_000
        assert nonces.next() == 9000
        now[0] = 0
        assert nonces.next() == 9001
    with Nonces(KEY, tmp_path, clock=lambda: now[0]) as nonces:
        assert nonces.next() == 9002
        now[0] = 20_000_000
        assert nonces.next() == 20_000
    with pytest.raises(StorageError, match="are closed"):
        nonces.next()


def test_a_torn_record_loses_nothing(tmp_path: Path) -> None:
    """Whichever bytes of the newest record did not arrive, the number before it is known; its own was never used."""
    with Nonces(KEY, tmp_path, clock=lambda: 0) as nonces:
        used = [nonces.next() for _ in range(5)]
    data = nonces.path.read_bytes()
    assert len(data) == 2 * module.SLOT
    newest = max(range(2), key=lambda place: data[place * module.SLOT : (place + 1) * module.SLOT])
    looked = 0
    for length in range(module.SLOT):
        old = bytes(module.SLOT)
        begin = newest * module.SLOT
        torn = data[:begin] + data[begin : begin + length] + old[length:] + data[begin + module.SLOT :]
        nonces.path.write_bytes(torn)
        with Nonces(KEY, tmp_path, clock=lambda: 0) as again:
            assert again.next() > used[-2]
            looked += 1
    assert looked == module.SLOT
    nonces.path.write_bytes(b"x" * 64)
    with pytest.raises(StorageError, match="damaged"):
        Nonces(KEY, tmp_path)


def test_a_number_is_on_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes nothing gives no number."""
    with Nonces(KEY, tmp_path, clock=lambda: 0) as nonces:
        seen: list[bytes] = []
        real = os.fsync

        def sync(handle: int) -> None:
            real(handle)
            seen.append(nonces.path.read_bytes())

        monkeypatch.setattr("krakpot.trade.nonces.os.fsync", sync)
        number = nonces.next()
        assert b"%020d" % number in seen[-1]

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("krakpot.trade.nonces.os.fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            nonces.next()
        monkeypatch.setattr("krakpot.trade.nonces.os.fsync", real)
        assert nonces.next() > number


def test_one_process_a_key(tmp_path: Path) -> None:
    """A second one is told, in this process and in another; a killed one frees the key."""
    with Nonces(KEY, tmp_path):
        with pytest.raises(KeyInUse, match="another process uses this API key"):
            Nonces(KEY, tmp_path)
        with Nonces("f" * 16, tmp_path) as other:
            assert other.next() > 0
    code = "from krakpot.trade.nonces import Nonces; from pathlib import Path; "
    code += f"n = Nonces({KEY!r}, Path({str(tmp_path)!r})); print(n.next(), flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        used = int(child.stdout.readline())
        try:
            with pytest.raises(KeyInUse):
                Nonces(KEY, tmp_path)
        finally:
            child.kill()
    with Nonces(KEY, tmp_path) as nonces:
        assert nonces.next() > used


def test_where_the_file_is(tmp_path: Path) -> None:
    """In the folder of states, which is made for its owner alone; or it is said why not."""
    assert state_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/krakpot")
    assert state_folder({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/krakpot"
    with Nonces(KEY, tmp_path / "new") as nonces:
        assert nonces.path == tmp_path / "new" / f"{KEY}.nonce"
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be opened"):
        Nonces(KEY, tmp_path / "file")

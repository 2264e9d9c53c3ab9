"""Sessions that are one file: named by its content, so that it is in a lake once, as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake import journal
from krakpot.lake.lake import Lake


def session_of(digest: bytes, first: int) -> str:
    """Make a session's id in the form of a UUIDv7: milliseconds of the first time, then ten bytes of a hash."""
    rest = int.from_bytes(digest[:10], "big")
    value = (first & (1 << 48) - 1) << 80 | 7 << 76 | (rest >> 68 & 0xFFF) << 64 | 2 << 62 | rest & (1 << 62) - 1
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def forget(out: Path, session: str, path: Path) -> None:
    """Remove what an interrupted attempt (killed, disk full) left of a file's session."""
    for found, name, _ in journal.journal_names(out):
        if name == session:
            handle = journal.lock(found)
            if handle is None:
                sentence = f"{path}: is being put into the lake {out} by another process"
                raise ConfigError(sentence)
            found.unlink()
            os.close(handle)
    lake = Lake(out)
    parts = [part for table in _core.TABLES for part in lake.parts(table) if part.session == session]
    ledger = [part.path for part in parts if part.table == "ledger"]
    if any("stop" in pl.read_parquet(one, columns=["kind"], hive_partitioning=False)["kind"] for one in ledger):
        return
    for part in parts:
        part.path.unlink()


def refuse_known(out: Path, session: str, path: Path) -> None:
    """Raise ``ConfigError`` if the session of a file is in the lake already."""
    if session in Lake(out).sessions():
        sentence = f"{path}: is in the lake {out} already, as session {session}; nothing was added"
        raise ConfigError(sentence)

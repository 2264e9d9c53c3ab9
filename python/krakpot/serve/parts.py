"""The Parquet parts of a lake, as the page reads them: their list, and the file of a name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from krakpot import _core
from krakpot.lake.folder import Folder
from krakpot.lake.format import part

DEPTH = 3
"""Names in the path of a part: table, day, file."""


def listed(folder: Folder) -> list[dict[str, Any]]:
    """Every part: path in the lake, table, day, session, bytes."""
    found = []
    for table in _core.TABLES:
        for one in folder.parts(table):
            try:
                size = one.path.stat().st_size
            except OSError:
                # Compacted meanwhile.
                continue
            found.append(
                {
                    "path": one.path.relative_to(folder.path).as_posix(),
                    "table": table,
                    "date": one.date.isoformat(),
                    "session": one.session,
                    "bytes": size,
                }
            )
    return found


def unsealed(folder: Folder) -> list[dict[str, Any]]:
    """The first journal of each session that is not sealed yet: what a proof has to leave out."""
    return [{"session": session, "number": number} for session, number in folder.look(["ledger"]).unsettled.items()]


def file_of(folder: Folder, name: str) -> Path | None:
    """The file of a part by its path in the lake; None for anything that is no part."""
    names = PurePosixPath(name).parts
    if len(names) != DEPTH or names[0] not in _core.TABLES or "\0" in name or "\\" in name:
        return None
    path = folder.path.joinpath(*names)
    if part(path, names[0]) is None or not names[1].startswith("date="):
        return None
    # A link out of the lake is no part of it.
    resolved = path.resolve()
    return resolved if resolved.is_file() and resolved.is_relative_to(folder.path.resolve()) else None

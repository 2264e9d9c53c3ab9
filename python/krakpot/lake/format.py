"""The format of a lake: its marker, its tables, the names of its parts, its locks.

::

    <lake>/_lake.json                                                    {"format": "krakpot lake", "version": 1}
    <lake>/_journal/…                                                    what is being written
    <lake>/<table>/date=YYYY-MM-DD/<HHMMSS>-<session>-<n>.parquet        parts
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, NoReturn, get_args

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.errors import NoLake, StorageError
from krakpot.lake import lock

FORMAT = "krakpot lake"
VERSION = 1
MARKER = "_lake.json"
JOURNALS = "_journal"
"""Folder of the journals."""
ROW_GROUP = 131_072
"""Rows of a Parquet row group."""
COMPACTED = "c"
"""In the name of a part, before its number: many parts were merged into it."""
SEALER_ENTRY = 2**31
"""Ledger entries from here on are the sealer's."""
COMPACT_ENTRY = 3 * 2**30
"""Ledger entries from here on are those of ``krakpot compact``; a sealer reaches this after 16 million journals."""
UNCOUNTED = ("ledger", "checkpoints", "orders_checkpoints")
"""Tables whose rows the ``alive`` rows do not count."""
LEVELS = ["symbol", "message", "entry", "side", "price", "qty", "depth", "price_precision", "qty_precision"]
"""Columns that messages and checkpoints of both kinds of books have."""
PROBES, PROBE_PAUSE = 5, 0.01
"""How often ``idle`` tries, and seconds between two tries: another reader that tries has the lock for much less."""

Origin = Literal["feed", "rest", "kraken-csv", "tardis", "cryptohftdata"]
"""Where a row comes from: Kraken's WebSocket feed, its REST, its downloadable files, or files of others."""
FEED: Origin = "feed"
ORIGINS: tuple[Origin, ...] = get_args(Origin)
"""The best known first: of two rows of one trade, readers take the one whose origin is named here first."""
ORIGIN_TABLES = ("trades", "ohlc")
"""Tables with rows of several origins, in their column ``origin``. Parts and journals of earlier versions lack that
column: their rows are of the feed."""
Sources = Literal["one", "all"]
SOURCES: tuple[Sources, ...] = ("one", "all")


class BookKind(NamedTuple):
    """A kind of book: its channel, the tables of its messages and checkpoints, and the columns to read."""

    channel: str
    messages: str
    message_columns: list[str]
    checkpoints: str
    checkpoint_columns: list[str]


BOOK_KINDS = (
    BookKind("book", _core.CHANNELS["book"], [*LEVELS, "kind", "checksum"], "checkpoints", LEVELS),
    BookKind(
        "level3", _core.CHANNELS["level3"], [*LEVELS, "kind", "checksum", "event", "order_id", "ts_order"],
        "orders_checkpoints", [*LEVELS, "order_id", "ts_order", "modify_rule"],
    ),
)  # fmt: skip
"""The kinds of books that have checksums."""
CHANNELS = {
    table: channel
    for channel, table in (*_core.CHANNELS.items(), ("status", "status"), ("instrument", "pairs"))
    if table not in {kind.messages for kind in BOOK_KINDS}
}
"""Tables without books, and the channel whose messages fill each of them."""

_PART = re.compile(r"([01]\d|2[0-3])[0-5]\d[0-5]\d-(?P<session>.+)-(?P<compacted>c?)(?P<number>\d+)\.parquet", re.ASCII)


class Part(NamedTuple):
    """A part, by its name."""

    path: Path
    table: str
    date: date
    session: str
    number: int
    """Number of its journal; of a compacted part its number among those of its day."""
    compacted: bool = False

    @property
    def name(self) -> str:
        """Path within the lake, as the ledger writes it on every platform."""
        return f"{self.table}/date={self.date}/{self.path.name}"

    @property
    def unit(self) -> tuple[str, int]:
        """Parts with the same unit are read together: those of a journal and day, or the compacted ones of a day."""
        return str(self.date), -1 if self.compacted else self.number

    @property
    def begun(self) -> datetime:
        """When its first row was received, to the second."""
        hour, minute, second = (int(self.path.name[at : at + 2]) for at in (0, 2, 4))
        return datetime(self.date.year, self.date.month, self.date.day, hour, minute, second, tzinfo=UTC)


def part(path: Path, table: str) -> Part | None:
    """Read the name of a file in a date's folder; None for a file that is not a part."""
    name = _PART.fullmatch(path.name)
    if name is None:
        return None
    try:
        day = date.fromisoformat(path.parent.name.removeprefix("date="))
    except ValueError:
        return None
    return Part(path, table, day, name["session"], int(name["number"]), name["compacted"] == COMPACTED)


@cache
def schema(table: str) -> pa.Schema:
    """Arrow schema of a table, as PyArrow's."""
    return pa.schema(_core.schema(table))


@cache
def polars_schema(table: str) -> Mapping[str, pl.DataType]:
    """Column types of a table in Polars."""
    frame = pl.from_arrow(schema(table).empty_table())
    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
    return MappingProxyType(dict(frame.schema))


def sealed_rows(paths: list[Path], table: str) -> pl.LazyFrame:
    """Rows of parts of a table, in its columns; parts without the column ``origin`` get it."""
    types = polars_schema(table)
    if table not in ORIGIN_TABLES:
        sealed = pl.scan_parquet(paths, hive_partitioning=False)
        return sealed.select(pl.col(name).cast(kind) for name, kind in types.items())
    sealed = pl.scan_parquet(paths, hive_partitioning=False, schema=dict(types), missing_columns="insert")
    return sealed.with_columns(pl.col("origin").fill_null(FEED))


def order(table: str) -> list[str]:
    """Columns by which the rows of a part are sorted."""
    return (["symbol"] if table != "assets" else []) + ["session", "message", "entry"]


def stamp(ts: int) -> datetime:
    """UTC time of nanoseconds since the epoch, to the microsecond."""
    return datetime.fromtimestamp(ts // 1000 / 1_000_000, tz=UTC)


def moment(ts: int) -> str:
    """A time of nanoseconds since the epoch as text, with nine decimals, UTC."""
    return f"{stamp(ts):%Y-%m-%dT%H:%M:%S}.{ts % 10**9:09}Z"


UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)
"""What a damaged part raises. Polars panics on some damaged pages."""


def unreadable(path: Path, error: BaseException) -> NoReturn:
    """Raise ``StorageError`` for a part that cannot be read; ``path`` is that part, or the lake if it is not known."""
    reason = str(error).partition("\n")[0]
    hint = "`krakpot verify` says more" if path.suffix == ".parquet" else f"`krakpot verify {path}` names it"
    raise StorageError(f"a part cannot be read ({reason}); {hint}", path) from error


def storage_error(error: OSError, what: str, path: Path, command: str = "krakpot recover") -> StorageError:
    """Say what failed and what helps: ``command``, when there is room again."""
    cures = {
        errno.ENOSPC: f"the disk is full; make room, then run `{command}`",
        errno.EDQUOT: f"the disk quota is used up; make room, then run `{command}`",
        errno.EACCES: "permission denied; choose a folder that you may write to",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.ENOENT: "it is gone; was the lake moved or removed?",
    }
    cure = cures.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot {what}: {cure}", path)


def sync_file(path: Path) -> None:
    """Force a file to the disk."""
    # Windows syncs only files that were opened for writing.
    handle = os.open(path, os.O_RDONLY if lock.FOLDERS else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# The marker.


def mark() -> str:
    """Content of the file that makes a folder a lake."""
    return json.dumps({"format": FORMAT, "version": VERSION})


NO_FOLDER = "a lake cannot be made here; choose a folder that you may write to"


def open_lake(path: Path) -> None:
    """Make ``path`` a lake if it is none yet; refuse a format or version that this krakpot does not know."""
    marker = path / MARKER
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            # Some file systems have no folders but their own, as /proc.
            raise NoLake(NO_FOLDER, path) from error
        if marker.exists():
            check_lake(path)
        else:
            if any(child for child in path.iterdir() if not child.name.startswith((".", "_"))):
                raise NoLake("this folder has other files in it; choose an empty or a new one for the lake", path)
            hidden = path / f".{MARKER}.{os.getpid()}"
            hidden.write_text(f"{mark()}\n")
            os.replace(hidden, marker)
        (path / JOURNALS).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise NoLake(NO_FOLDER, path) from error
    except OSError as error:
        raise storage_error(error, "write the lake", path) from error
    check_lake(path)


@contextmanager
def lake_to_write(path: Path) -> Iterator[None]:
    """Open a lake as ``open_lake`` does; what that made is removed at the end if nothing was written into it.

    So the folder is known to be writable before anything else happens, and work that fails early leaves nothing behind.
    """
    made = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]  # noqa: PTH110  # Path's raises
    is_new = not os.path.exists(path / MARKER)  # noqa: PTH110  # as above
    open_lake(path)
    try:
        yield
    finally:
        if is_new:
            _remove_unused(path, made)


def _remove_unused(path: Path, made: list[Path]) -> None:
    """Remove a lake into which nothing was written and in which nobody is at work, and the folders ``made`` for it."""
    # The lake may be gone, or not be empty: then it stays as it is.
    with suppress(OSError), idle(path) as nobody:
        if nobody and {child.name for child in path.iterdir()} <= {MARKER, JOURNALS}:
            (path / JOURNALS).rmdir()
            (path / MARKER).unlink()
            for folder in made:
                folder.rmdir()


def filling(path: Path) -> str:
    """Say which command records into a lake that has no data."""
    return f"to record into it, run `krakpot record --out {path}`"


def check_lake(path: Path) -> None:
    """Raise ``NoLake`` unless ``path`` is a lake that this krakpot can read."""
    if path.is_file():
        raise NoLake("this is a file; give the folder that `krakpot record --out` wrote", path)
    if not path.is_dir():
        raise NoLake("there is no such folder; give the folder that `krakpot record --out` wrote", path)
    try:
        marker = json.loads((path / MARKER).read_text())
    except FileNotFoundError:
        sentence = f"this folder is not a lake: it has no {MARKER}; give the folder that `krakpot record --out` wrote"
        raise NoLake(sentence, path) from None
    except (OSError, ValueError) as error:
        sentence = f"{MARKER} cannot be read ({error}); if all else is whole, write into it: {mark()}"
        raise NoLake(sentence, path) from error
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        raise NoLake(f"{MARKER} does not name the format {FORMAT!r}", path)
    if not isinstance(marker.get("version"), int) or marker["version"] > VERSION:
        raise NoLake(
            f"the lake has version {marker.get('version')}, this krakpot reads up to {VERSION}; install a newer one",
            path,
        )


# Locks.


@contextmanager
def hold(lake: Path, *, exclusive: bool = False, wait: bool = True) -> Iterator[bool]:
    """Keep the parts of a lake in place while the body reads or adds some; ``exclusive``: to move or remove them.

    Gives whether the lock was obtained; with ``wait`` it always is.
    """
    with lock.locked(lake / MARKER, exclusive=exclusive, wait=wait) as obtained:
        yield obtained


@contextmanager
def at_work(lake: Path) -> Iterator[None]:
    """Say that a recorder or sealer is at work in a lake: its journals will be sealed without anybody's help.

    A recorder is at work from its start to the end of its last sealing, also while it has no journal open. A process
    that is killed stops being at work. Any number may be at work. Windows cannot lock a folder; there nothing is said.
    """
    if not lock.FOLDERS:
        yield
        return
    with lock.locked(lake / JOURNALS, exclusive=False, wait=True):
        yield


@contextmanager
def idle(lake: Path) -> Iterator[bool]:
    """Give whether nobody is at work in a lake; while the body runs, nobody begins to be."""
    folder = lake / JOURNALS
    if not lock.FOLDERS or not folder.exists():
        yield True
        return
    for probe in range(PROBES):
        with lock.locked(folder, exclusive=True) as obtained:
            if obtained:
                yield True
                return
        if probe < PROBES - 1:
            time.sleep(PROBE_PAUSE)
    yield False

"""The journal: rows that a recorder has written and the sealer has not made into Parquet yet.

All tables of a session share one file, so that one ``fsync`` a second is enough. An Arrow IPC stream has one schema and
no place for a checksum. So the file is a sequence of blocks; each is one flush of the recorder::

    file   = "KPJ1" block*
    block  = kind:u8 length:u32 crc32:u32 payload          (little-endian; crc32 of kind and payload)
    kind   = 1 batches | 2 end
    batches payload = raw length:u32 zstd(batch*)
    batch  = name length:u8 table name, length:u32, encapsulated Arrow IPC record batch

A flush is there as a whole or not at all: a tear never splits the rows of one flush. A file without an ``end`` block
was left by a recorder that died. The recorder locks the file exclusively before it gives it its final name.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from krakpot.errors import StorageError
from krakpot.lake import lock as locks
from krakpot.lake.format import FEED, JOURNALS, ORIGIN_TABLES, schema, stamp, storage_error

MAGIC = b"KPJ1"
BLOCK = struct.Struct("<BII")
BATCHES, END = 1, 2
KINDS = re.compile(rb"[\x01\x02]")
DAMAGED = ".damaged"
"""Suffix of a journal that was sealed as far as it could be read."""
SUFFIX = ".journal"
BLOCK_MAX = 1 << 30
"""Bytes of a block that a reader accepts; a flush is a few MB."""
ROWS_MAX = 1_000_000
"""Rows after which a journal is closed and sealed."""
SEARCH_MAX = 1 << 24
"""Largest block that is searched for behind a damaged one, bytes."""
RAW_MAX = BLOCK_MAX
"""Bytes that a block may unpack to: ten million rows, and a flush is what comes in a fifth of a second."""
UNREADABLE = (struct.error, pa.ArrowException, OSError, EOFError, ValueError, IndexError)
"""What is raised for the content of a block that a recorder of another version wrote."""
STATE = ("path", "rows", "begun", "_file", "_size", "_dirty")
"""Attributes of a writer that are those of its open journal."""
NAME = re.compile(r"\d{8}T\d{6}-(?P<session>.+)-(?P<number>\d+)\.journal", re.ASCII)
DAY = 86_400_000_000_000


class JournalName(NamedTuple):
    """A journal, by its name."""

    path: Path
    session: str
    """Session that wrote it."""
    number: int
    """Its number within the session."""

    @property
    def begun(self) -> datetime:
        """When it was begun, to the second."""
        return datetime.strptime(self.path.name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def journal_name(path: Path) -> JournalName | None:
    """Read the name of a journal; None for a file that is not named like one."""
    name = NAME.fullmatch(path.name)
    return None if name is None else JournalName(path, name["session"], int(name["number"]))


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class Writer:
    """Writes the journals of one session, one after the other; ``write`` and ``sync`` may block, so not on the loop."""

    def __init__(self, lake: Path, session: str, *, interval: float = 300.0, rows_max: int = ROWS_MAX) -> None:
        """Journals of ``session`` in ``lake``; each is closed after ``interval`` seconds or ``rows_max`` rows."""
        self.folder = lake / JOURNALS
        self.session = session
        self.interval = round(interval * 1e9)
        self.rows_max = rows_max
        self.number = 0
        self.path: Path | None = None
        self.rows = 0
        self.bytes = 0
        """Bytes written over all journals of this writer."""
        self.begun = 0
        self._file = -1
        self._size = 0
        self._dirty = False

    def _open(self, ts: int) -> None:
        self.path, self._file, self._dirty = None, -1, False
        name = f"{stamp(ts):%Y%m%dT%H%M%S}-{self.session}-{self.number}"
        hidden = self.folder / f".{name}.tmp"
        path = self.folder / (name + SUFFIX)
        try:
            # Not the lake itself: one that was removed while recording must not come back as half a lake.
            self.folder.mkdir(exist_ok=True)
            # Locked before it has its name: so a journal that is being written is never seen unlocked.
            self._file = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            locks.take(self._file, path, exclusive=True)
            _write_all(self._file, MAGIC)
            os.rename(hidden, path)
            locks.sync_folder(self.folder)
        except OSError as error:
            if self._file != -1:
                os.close(self._file)
                self._file = -1
                for left in (hidden, path):
                    left.unlink(missing_ok=True)
            raise storage_error(error, "begin a journal", path) from error
        self.path = path
        self.begun = ts
        self.rows = 0
        self._size = len(MAGIC)

    def _append(self, kind: int, payload: bytes) -> None:
        assert self.path is not None, "a journal is open"
        crc = zlib.crc32(payload, zlib.crc32(bytes([kind])))
        data = BLOCK.pack(kind, len(payload), crc) + payload
        try:
            _write_all(self._file, data)
        except OSError as error:
            # The blocks before this one stay whole.
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise storage_error(error, "write the journal", self.path) from error
        self._size += len(data)
        self.bytes += len(data)
        self._dirty = True

    def write(self, batches: Mapping[str, Any], now: int) -> Path | None:
        """Append one flush: batches by table (anything with the Arrow PyCapsule interface).

        ``now`` is the receive time of the flush, ns. Returns the path of a journal that this call closed, to be sealed:
        when the UTC day changes, when it has its rows, or when its time is over. Without rows nothing happens: a
        journal is closed only when the next one is there, or its session has ended. So a recorder that dies always
        leaves a journal, and recovery gives its session an end.
        """
        parts = []
        rows = 0
        for table, batch in batches.items():
            arrow = pa.record_batch(batch)
            rows += arrow.num_rows
            body = arrow.serialize()
            name = table.encode()
            parts += [bytes([len(name)]), name, struct.pack("<I", body.size), body]
        if not parts:
            return None
        raw = b"".join(parts)
        payload = struct.pack("<I", len(raw)) + pa.compress(raw, codec="zstd", asbytes=True)
        old = {name: getattr(self, name) for name in STATE} if self.path is not None and self.due(now) else None
        if old is not None:
            self.number += 1
        try:
            if old is not None or self.path is None:
                self._open(now)
            self._append(BATCHES, payload)
        except StorageError:
            if old is not None:
                # Take back the journal that could not be begun: the one before is the last one, and has no end.
                self.discard()
                self.number -= 1
                vars(self).update(old)
            raise
        self.rows += rows
        return None if old is None else self._end(old)

    def _end(self, old: dict[str, Any]) -> Path:
        """End the journal before this one.

        Only now: so a recorder that dies at any moment leaves a journal without an end, and recovery sees that it died.
        """
        new = {name: getattr(self, name) for name in STATE}
        vars(self).update(old)
        try:
            self._append(END, b"")
            self.sync()
            assert self.path is not None, "it was open"
            return self.path
        finally:
            os.close(self._file)
            vars(self).update(new)

    def due(self, now: int) -> bool:
        """Whether the open journal is to be closed before the next flush."""
        other_day = now // DAY != self.begun // DAY
        return other_day or self.rows >= self.rows_max or now - self.begun >= self.interval

    def sync(self) -> None:
        """Force what was written to the disk."""
        if self._dirty and self.path is not None:
            try:
                os.fsync(self._file)
                if not os.fstat(self._file).st_nlink:
                    # The file was removed; the system would still accept rows that nobody could read.
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            except OSError as error:
                raise storage_error(error, "sync the journal", self.path) from error
            self._dirty = False

    def close(self) -> Path | None:
        """End the open journal and release its lock; returns its path, to be sealed."""
        if self.path is None:
            return None
        self._append(END, b"")
        self.sync()
        os.close(self._file)
        path, self.path, self._file = self.path, None, -1
        self.number += 1
        return path

    def discard(self) -> None:
        """Remove the open journal, if any, for a writer whose rows can be had again from where they came."""
        if self.path is not None:
            os.close(self._file)
            self.path.unlink(missing_ok=True)
            self.path, self._file = None, -1


@dataclass
class Content:
    """Content of a journal, as far as it can be read."""

    path: Path
    session: str
    """Session that wrote it, from its name."""
    number: int
    """Its number within the session, from its name."""
    tables: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)
    ended: bool = False
    """Whether its recorder closed it."""
    torn: int | None = None
    """Offset of the first byte of an end that could not be read."""
    holes: list[tuple[int, int]] = field(default_factory=list)
    """Begin and end of what could not be read between blocks that could: the file was damaged."""
    damaged: bool = False
    """Whether more than its end, as a recorder that died leaves it, could not be read."""
    size: int = 0
    """Bytes of the file."""

    def keep(self, table: str, batch: pa.RecordBatch) -> None:
        """Add a batch of a table."""
        self.tables.setdefault(table, []).append(batch)

    @property
    def lost(self) -> list[tuple[int, int]]:
        """Offset and number of all bytes that could not be read."""
        tail = [] if self.torn is None else [(self.torn, self.size - self.torn)]
        return [(begin, end - begin) for begin, end in self.holes] + tail


def _blocks(data: memoryview, at: int) -> Iterator[tuple[int, int, int, memoryview]]:
    """Kind, offset, end offset and payload of each whole block.

    A tear is at the end; what is damaged before it was damaged on the disk, and the blocks behind it are found again by
    their checksums.
    """
    length_max = BLOCK_MAX
    while at + BLOCK.size <= len(data):
        kind, length, crc = BLOCK.unpack_from(data, at)
        end = at + BLOCK.size + length
        payload = data[at + BLOCK.size : end]
        if length <= length_max and end <= len(data) and zlib.crc32(payload, zlib.crc32(bytes([kind]))) == crc:
            yield kind, at, end, payload
            at = end
            length_max = BLOCK_MAX
        else:
            found = KINDS.search(data, at + 1)
            if found is None:
                return
            at = found.start()
            length_max = SEARCH_MAX


def read(path: Path, take: Callable[[str, pa.RecordBatch], object] | None = None) -> Content:
    """Read all whole blocks of a journal.

    ``take`` is given each batch, with the name of its table; without it the content has them all. A batch keeps its
    whole block in memory.
    """
    name = journal_name(path)
    if name is None:
        raise StorageError("the file is not named like a journal; remove it from the folder of the journals", path)
    content = Content(*name)
    keep = content.keep if take is None else take
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise storage_error(error, "read the journal", path) from error
    content.size = len(data)
    good = len(MAGIC) if bytes(data[: len(MAGIC)]) == MAGIC else 0
    content.damaged = not good and len(data) >= len(MAGIC)
    for kind, begin, end, payload in _blocks(data, len(MAGIC)):
        if kind == BATCHES:
            try:
                batches = _batches(payload)
            except UNREADABLE:
                # The checksum was right, so a recorder of another version wrote this: leave it, and say where.
                content.damaged = True
                break
            for table, batch in batches:
                keep(table, batch)
        if begin > good:
            content.damaged = True
            content.holes.append((good, begin))
        good = end
        if kind == END:
            content.ended = True
            break
    if good < len(data):
        content.torn = good
        content.ended = False
    return content


def follow(path: Path, after: int) -> tuple[dict[str, list[pa.RecordBatch]], int]:
    """Rows of the whole blocks behind byte ``after`` of a journal that is being written (0: all), and where they end.

    ``StorageError`` if it cannot be read: a journal that was sealed meanwhile is gone, another version's is not known.
    """
    tables: dict[str, list[pa.RecordBatch]] = {}
    end = max(after, len(MAGIC))
    try:
        with path.open("rb") as file:
            for batches, until in stream(file, path, after):
                end = until
                for table, batch in batches:
                    tables.setdefault(table, []).append(batch)
    except OSError as error:
        raise storage_error(error, "read the journal", path) from error
    return tables, end


def stream(file: IO[bytes], path: Path, after: int = 0) -> Iterator[tuple[list[tuple[str, pa.RecordBatch]], int]]:
    """Read an open journal block by block, from byte ``after`` on: the batches of each flush, and where it ends.

    The recorder may be writing: reading ends at the first block that is not whole. No lock is needed, and the file may
    be removed meanwhile. ``StorageError`` if a block is of another version.
    """
    at = max(after, len(MAGIC))
    file.seek(at)
    while len(head := file.read(BLOCK.size)) == BLOCK.size:
        kind, length, crc = BLOCK.unpack(head)
        # A length that was torn may be any number: read no more than the file has.
        if kind not in (BATCHES, END) or length > min(BLOCK_MAX, os.fstat(file.fileno()).st_size - at - BLOCK.size):
            return
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(bytes([kind]))) != crc:
            return
        begin, at = at, at + BLOCK.size + length
        try:
            batches = _batches(memoryview(payload)) if kind == BATCHES else []
        except UNREADABLE:
            raise StorageError(f"the block at byte {begin} of the journal is of another version", path) from None
        yield batches, at
        if kind == END:
            return


def _batches(payload: memoryview) -> list[tuple[str, pa.RecordBatch]]:
    (length,) = struct.unpack_from("<I", payload)
    if length > RAW_MAX:
        sentence = f"a block of {length} bytes is beyond the limit of {RAW_MAX}"
        raise ValueError(sentence)
    raw = pa.decompress(pa.py_buffer(payload[4:]), decompressed_size=length, codec="zstd")
    view = memoryview(raw)
    batches = []
    at = 0
    while at < length:
        named = at + 1 + view[at]
        table = bytes(view[at + 1 : named]).decode()
        (size,) = struct.unpack_from("<I", view, named)
        at = named + 4 + size
        batches.append((table, _batch(raw.slice(named + 4, size), table)))
    return batches


def _batch(raw: pa.Buffer, table: str) -> pa.RecordBatch:
    """Read one batch; a journal of an earlier version lacks the column ``origin``: its rows are of the feed."""
    whole = schema(table)
    try:
        return pa.ipc.read_record_batch(raw, whole)
    except pa.ArrowInvalid:
        if table not in ORIGIN_TABLES:
            raise
    place = whole.get_field_index("origin")
    batch = pa.ipc.read_record_batch(raw, whole.remove(place))
    feed = pa.array([FEED] * batch.num_rows, whole.field(place).type)
    return batch.add_column(place, whole.field(place), feed)


def lock(path: Path) -> int | None:
    """Lock a journal that nobody owns; returns the handle to close, or None if it is owned or gone."""
    try:
        # To read is enough, so that a lake on a read-only disk can be verified.
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "lock the journal", path) from error
    try:
        # Another sealer may have finished and removed it between the two calls.
        if locks.take(handle, path, exclusive=True) and path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except FileNotFoundError:
        pass
    os.close(handle)
    return None


def has_end(path: Path) -> bool:
    """Whether a journal was closed by its recorder: its last block is the end. False if it cannot be read."""
    end = BLOCK.pack(END, 0, zlib.crc32(bytes([END])))
    try:
        with path.open("rb") as file:
            file.seek(-len(end), os.SEEK_END)
            return file.read() == end
    except OSError:
        # It is shorter than a block, or gone.
        return False


def journals(lake: Path) -> list[Path]:
    """All journals of a lake, by time."""
    return [name.path for name in journal_names(lake)]


def journal_names(lake: Path) -> list[JournalName]:
    """All journals of a lake, by time, with session and number. Files with other names are left out."""
    names = map(journal_name, (lake / JOURNALS).glob("*" + SUFFIX))
    return sorted((name for name in names if name is not None), key=lambda name: name.path)

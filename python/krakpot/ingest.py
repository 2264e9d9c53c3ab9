"""Recorded frames into a lake, through the same session as live.

A file has one frame a line (``.jsonl``, or ``.jsonl.zst``). Receive times, if known, stand beside it in ``.recv_ns``:
one line a frame, nanoseconds since the epoch. Without them the largest exchange time so far stands in.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from krakpot import __version__, _core, journal, seal
from krakpot.errors import ConfigError
from krakpot.lake import Lake

FRAME_MAX = _core.LIMITS["FRAME_MAX"]
CHUNK = 4096
"""Frames handed to the session at once."""
CHUNK_BYTES = 32 << 20
"""Bytes of frames handed to the session at once."""
TIME = re.compile(rb'"time(?:stamp|_out)":"(\d{4}-\d\d-\d\dT[\d:.]+Z)"')

Progress = Callable[[int, int], None]


def _silent(_bytes: int, _frames: int) -> None:
    """Without a caller who wants to know."""


@dataclass
class Result:
    """What one file gave."""

    file: Path
    session: str
    counts: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    """Lines beyond the limit."""
    remarks: list[str] = field(default_factory=list)
    """Precision and depth in force, and where they come from."""


def _open(path: Path) -> IO[bytes]:
    try:
        if path.suffix == ".zst":
            return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
        return path.open("rb")
    except FileNotFoundError:
        sentence = f"{path}: there is no such file; give files with one frame a line (.jsonl or .jsonl.zst)"
        raise ConfigError(sentence) from None
    except OSError as error:
        sentence = f"{path}: cannot be read: {error.strerror or error}"
        raise ConfigError(sentence) from None


def _lines(stream: IO[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Lines without their ends and their length; None for one that is beyond the limit, of which little is held."""
    while line := stream.readline(FRAME_MAX + 2):
        length = len(line)
        if not line.endswith(b"\n") and length > FRAME_MAX:
            while rest := stream.readline(1 << 20):
                length += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield None, length
        elif line := line.rstrip(b"\r\n"):
            yield (line, length) if len(line) <= FRAME_MAX else (None, length)


def times_beside(path: Path) -> list[int] | None:
    """Receive times of the ``.recv_ns`` file beside ``path``, if there is one."""
    stem = path.with_suffix("") if path.suffix == ".zst" else path
    beside = stem.with_suffix(".recv_ns")
    if not beside.exists():
        return None
    try:
        return [int(text) for text in beside.read_text().split()]
    except (OSError, ValueError) as error:
        sentence = f"{beside}: must hold one whole number a line, nanoseconds since the epoch ({error})"
        raise ConfigError(sentence) from None


def name_session(path: Path, times: list[int] | None) -> str:
    """Name a file's session by its content, in the form of a UUIDv7: the first time, then a hash."""
    digest = hashlib.sha256()
    first = times[0] // 1_000_000 if times else None
    with closing(_open(path)) as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
            if first is None and (found := TIME.search(data)):
                first = journal_time(found[1].decode()) // 1_000_000
    digest.update(json.dumps(times).encode())
    rest = int.from_bytes(digest.digest()[:10], "big")
    value = ((first or 0) & (1 << 48) - 1) << 80 | 7 << 76 | (rest >> 68 & 0xFFF) << 64 | 2 << 62 | rest & (1 << 62) - 1
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def journal_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 time, to the microsecond."""
    from krakpot.lake import nanoseconds  # noqa: PLC0415  # loaded

    whole, _, rest = text.rstrip("Z").partition(".")
    return nanoseconds(f"{whole}.{(rest + '000000')[:6]}+00:00")


def ingest(  # noqa: C901, PLR0915  # one file from its first line to its seal, in the order in which it happens
    path: Path,
    out: Path,
    *,
    precision: Mapping[str, tuple[int, int]] | None = None,
    depth: int | None = None,
    raw: bool = False,
    progress: Progress = _silent,
) -> Result:
    """Put the frames of one file into the lake ``out`` as one session, sealed at the end.

    ``ConfigError`` if the file cannot be read, its times do not fit, or it is in the lake already; ``StorageError`` if
    the lake cannot be written. A line beyond 16 MiB is skipped, counted and written to the ledger.
    """
    times = times_beside(path)
    session_id = name_session(path, times)
    seal.open_lake(out)
    seal.recover(out)
    if session_id in Lake(out).sessions():
        sentence = f"{path}: is in the lake {out} already, as session {session_id}; nothing was added"
        raise ConfigError(sentence)
    session = _core.Session(session_id, observe=True, precision=dict(precision or {}), depth=depth, frames=raw)
    writer = journal.Writer(out, session_id, interval=1e9)
    result = Result(path, session_id)
    at = 0
    begun = False

    def flush(now: int) -> None:
        closed = writer.write(session.take(), now)
        if closed is not None:
            _seal(out, closed)

    def feed(frames: list[bytes], until: int) -> int:
        nonlocal begun
        chunk = None if times is None else times[at:until]
        if chunk is not None and len(chunk) != len(frames):
            sentence = f"{path}: has more frames than the {len(times or [])} receive times beside it"
            raise ConfigError(sentence)
        session.ingest(frames, chunk)
        now = session.now
        if not begun:
            begun = True
            facts = {"version": __version__, "file": path.name, "frames_from": "file"}
            session.note("start", now, detail=json.dumps(facts))
        _remark(session, result)
        return now

    frames: list[bytes] = []
    size = total = 0
    now = times[0] if times else 0
    try:
        with closing(_open(path)) as stream:
            for line, length in _lines(stream):
                total += length
                if line is None:
                    result.skipped += 1
                    facts = {
                        "error": f"a line of {length} bytes is beyond the limit of {FRAME_MAX}",
                        "line": at + len(frames) + 1,
                    }
                    session.note("limit", now, count=1, detail=json.dumps(facts))
                    if times is not None:
                        del times[at + len(frames)]
                    continue
                frames.append(line)
                size += len(line)
                if len(frames) >= CHUNK or size >= CHUNK_BYTES:
                    now = feed(frames, at + len(frames))
                    at += len(frames)
                    frames, size = [], 0
                    flush(now)
                    progress(total, at)
        if frames:
            now = feed(frames, at + len(frames))
            at += len(frames)
        if times is not None and at != len(times):
            sentence = f"{path}: has {at} frames and {len(times)} receive times beside it"
            raise ConfigError(sentence)
        if at == 0:
            sentence = f"{path}: has no frames; give a file with one frame a line"
            raise ConfigError(sentence)
    except OSError as error:
        sentence = f"{path}: cannot be read: {error}"
        raise ConfigError(sentence) from None
    except ConfigError:
        _discard(writer)
        raise
    session.end(now, "end of file")
    session.note("stop", now)
    _remark(session, result)
    flush(now)
    result.counts = session.counts()
    closed = writer.close()
    if closed is not None:
        _seal(out, closed)
    progress(total, at)
    return result


def _discard(writer: journal.Writer) -> None:
    """Remove the journal of a file that was refused; its earlier journals, if any, are sealed and stay."""
    path = writer.close()
    if path is not None:
        path.unlink()


def _seal(out: Path, path: Path) -> None:
    handle = journal.lock(path)
    if handle is not None:
        try:
            seal.seal(out, path)
        finally:
            os.close(handle)


def _remark(session: _core.Session, result: Result) -> None:
    """Say which precision and depth are in force, and where they come from."""
    for event in session.events():
        if event["kind"] != "snapshot" or not event["detail"]:
            continue
        facts = json.loads(event["detail"])
        names = {
            "inferred": "inferred from the snapshot",
            "option": "as told",
            "instrument": "from the instrument channel",
        }
        names |= {"ack": "from the ack"}
        remark = (
            f"{event['symbol']}: precision {facts['price_precision']},{facts['qty_precision']} "
            f"({names[facts['precision_origin']]}), depth {facts['depth']} ({names[facts['depth_origin']]})"
        )
        if remark not in result.remarks and len(result.remarks) < 1000:  # noqa: PLR2004  # a bound for a screen
            result.remarks.append(remark)

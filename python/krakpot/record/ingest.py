"""Recorded frames into a lake, through the same session as live.

A file has one frame per line: ``.jsonl``, or packed as ``.jsonl.zst`` or ``.jsonl.gz``. Receive times, if they are
known, are in a file beside it that ends in ``.recv_ns``: one line per frame, nanoseconds since the epoch. Without them
the largest exchange time so far is used.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from krakpot import __version__, _core, values
from krakpot.errors import ConfigError, FeedError, words_of
from krakpot.lake import journal, seal
from krakpot.lake.content import forget, refuse_known, session_of
from krakpot.lake.format import at_work, lake_to_write
from krakpot.values import nanoseconds
from krakpot.work import OnProgress, no_progress

FRAME_MAX = _core.LIMITS["FRAME_MAX"]
CHUNK = 4096
"""Frames handed to the session at once. If no frame of the first chunk can be decoded, the file is refused."""
CHUNK_BYTES = 32 << 20
"""Bytes of frames handed to the session at once."""
EARLIEST, LATEST = 1_356_998_400 * 10**9, 4_102_444_800 * 10**9
"""2013, before which Kraken traded nothing, and 2100: bounds of a receive time, ns."""
PACKED = (".zst", ".gz")
"""Endings of packed files."""
FORM = 'a file must have one message per line, as Kraken sent it: {"channel":"book","type":"update","data":[…]}'
TIME = re.compile(rb'"time(?:stamp|_out)":"(\d{4}-\d\d-\d\dT[\d:.]+Z)"')


@dataclass
class IngestResult:
    """What was read from one file."""

    file: Path
    session: str
    """Id of its session in the lake."""
    counts: dict[str, Any] = field(default_factory=dict)
    """Counters of the session; see ``_core.Session.counts``."""
    skipped: int = 0
    """Lines beyond the limit of 16 MiB, which were left out."""
    undecodable: int = 0
    """Lines that are not messages of Kraken's feed."""
    remarks: list[str] = field(default_factory=list)
    """Precision and depth of each symbol, and where they come from."""


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(path))
    if path.suffix == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """Open the file, unpacked; errors name its path."""
    try:
        with closing(_open(path)) as stream:
            yield stream
    except FileNotFoundError:
        sentence = f"{path}: there is no such file; give files with one frame per line (.jsonl, also .zst or .gz)"
        raise ConfigError(sentence) from None
    except (OSError, EOFError, zlib.error) as error:
        # gzip tells of a file that was cut off by the latter two.
        sentence = f"{path}: cannot be read: {words_of(error)}"
        raise ConfigError(sentence) from None


def _lines(path: Path) -> Iterator[tuple[int, bytes | None, int]]:
    """Number, text without its end (None for one beyond the limit, of which little is held) and length of each line.

    Empty lines are left out.
    """
    with _reading(path) as stream:
        number = 0
        while line := stream.readline(FRAME_MAX + 2):
            number += 1
            length = len(line)
            if not line.endswith(b"\n") and length > FRAME_MAX:
                while rest := stream.readline(1 << 20):
                    length += len(rest)
                    if rest.endswith(b"\n"):
                        break
                yield number, None, length
            elif line := line.rstrip(b"\r\n"):
                yield number, line if len(line) <= FRAME_MAX else None, length


def times_beside(path: Path) -> list[int] | None:
    """Receive times of the ``.recv_ns`` file beside ``path``; None if there is none.

    ``ConfigError`` if they are not nanoseconds since the epoch: seconds, milliseconds, or those of a monotonic clock.
    """
    stem = path.with_suffix("") if path.suffix in PACKED else path
    beside = stem.with_suffix(".recv_ns")
    if not beside.exists():
        return None
    try:
        times = [int(text) for text in beside.read_text().split()]
    except (OSError, ValueError) as error:
        sentence = f"{beside}: must have one whole number per line, nanoseconds since the epoch ({words_of(error)})"
        raise ConfigError(sentence) from None
    for number, time in enumerate(times, 1):
        if not EARLIEST <= time < LATEST:
            sentence = (
                f"{beside}: line {number}: {time} is {_moment(time)}, not a receive time of Kraken's feed; times must "
                "be nanoseconds since the epoch, UTC (not seconds, and not those of a monotonic clock)"
            )
            raise ConfigError(sentence)
    return times


def _moment(time: int) -> str:
    """A time in words, for an error."""
    try:
        return f"{datetime.fromtimestamp(time // 10**9, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "beyond all dates"


def name_session(path: Path, times: list[int] | None) -> str:
    """Make the id of a file's session from its content, in the form of a UUIDv7: the first time, then a hash."""
    digest = hashlib.sha256()
    first = times[0] // 1_000_000 if times else None
    with _reading(path) as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
            if first is None and (found := TIME.search(data)):
                first = journal_time(found[1].decode()) // 1_000_000
    digest.update(json.dumps(times).encode())
    return session_of(digest.digest(), first or 0)


def journal_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 time, to the microsecond."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return nanoseconds(f"{whole}.{(rest + '000000')[:6]}+00:00")


def ingest(
    path: str | Path,
    out: str | Path,
    *,
    precision: Mapping[str, tuple[int, int]] | None = None,
    depth: int | None = None,
    raw: bool = False,
    progress: OnProgress = no_progress,
) -> IngestResult:
    """Put the frames of one file into a lake as one session, sealed at the end.

    Parameters
    ----------
    path
        One frame per line: ``.jsonl``, ``.jsonl.zst`` or ``.jsonl.gz``. Receive times are read from a file beside it
        that ends in ``.recv_ns``, if there is one.
    out
        Folder of the lake; it is made if it does not exist.
    precision
        Decimals of price and quantity by symbol, where the frames do not have them.
    depth
        Depth of the books, where the frames do not have it.
    raw
        Keep every frame byte for byte as well.
    progress
        Called with the bytes that are read, and those of the file (0: it is packed, so they are not known).

    Returns
    -------
    IngestResult
        Lines beyond 16 MiB and lines that cannot be decoded are counted, and rows of the ledger.

    Raises
    ------
    ConfigError
        The file cannot be read, its receive times do not fit, or it is in the lake already.
    FeedError
        The file does not have one message of Kraken's feed per line. Nothing of it is kept.
    StorageError
        The lake cannot be written.

    Examples
    --------
    >>> result = krakpot.ingest(Path("frames.jsonl"), Path("lake"), precision={"BTC/USD": (1, 8)})  # doctest: +SKIP
    >>> result.counts["checksums"]["book"]  # doctest: +SKIP
    {'ok': 12345, 'bad': 0}

    """
    path, out = values.read(values.file, path, "path"), values.read(values.folder, out, "out")
    precision = values.read(values.precision, precision or {}, "precision")
    depth = depth if depth is None else values.read(values.number_of(_core.DEPTHS), depth, "depth")
    times = times_beside(path)
    if times is not None and (count := sum(1 for _ in _lines(path))) != len(times):
        sentence = f"{path}: has {count} frames and {len(times)} receive times beside it"
        raise ConfigError(sentence)
    if all(line is None for _, line, _ in _lines(path)):
        raise ConfigError(f"{path}: has no frames; give a file with one frame per line")
    session_id = name_session(path, times)
    session = _core.Session(session_id, passive=True, precision=precision, depth=depth, frames=raw)
    result = IngestResult(path, session_id)
    with lake_to_write(out):
        forget(out, session_id, path)
        seal.recover(out)
        refuse_known(out, session_id, path)
        writer = journal.Writer(out, session_id, interval=1e9)
        try:
            with at_work(out):
                _feed(path, out, times, session, writer, result, progress)
        except BaseException:
            # Half a session is of no use, and the file is still there.
            writer.discard()
            forget(out, session_id, path)
            raise
    return result


def _feed(  # one file from its first line to its last, in the order in which it happens
    path: Path,
    out: Path,
    times: list[int] | None,
    session: _core.Session,
    writer: journal.Writer,
    result: IngestResult,
    progress: OnProgress,
) -> None:
    """Hand the frames to the session, chunk by chunk, and its rows to the journal."""
    frames: list[bytes] = []
    # Receive times of `frames`, and of all lines by place: one for every line that is not empty.
    received: list[int] = []
    size = total = place = 0
    # How many bytes a packed file holds is not known before it is read.
    whole = path.stat().st_size if path.suffix == ".jsonl" else 0
    now = times[0] if times else 0
    begun = False

    def flush() -> None:
        nonlocal begun, now, size
        if frames:
            session.ingest(frames, None if times is None else received)
            now = session.now
            _check_form(session, result, frames[0])
        if frames and not begun:
            begun = True
            facts = {"version": __version__, "file": path.name, "frames_from": "file"}
            session.add_ledger_row("start", now, detail=json.dumps(facts))
        _remark(session, result)
        closed = writer.write(session.drain(), now)
        if closed is not None:
            _seal(out, closed)
        frames.clear()
        received.clear()
        size = 0
        progress(total, whole, "bytes")

    for number, line, length in _lines(path):
        total += length
        time = None if times is None else times[place]
        place += 1
        if line is None:
            result.skipped += 1
            facts = {"error": f"a line of {length} bytes is beyond the limit of {FRAME_MAX}", "line": number}
            session.add_ledger_row("limit", now if time is None else time, count=1, detail=json.dumps(facts))
            continue
        frames.append(line)
        size += len(line)
        if time is not None:
            received.append(time)
        if len(frames) >= CHUNK or size >= CHUNK_BYTES:
            flush()
    flush()
    session.end(now, "end of file")
    session.add_ledger_row("stop", now)
    flush()
    result.counts = session.counts()
    closed = writer.close()
    if closed is not None:
        _seal(out, closed)


def _check_form(session: _core.Session, result: IngestResult, line: bytes) -> None:
    """Count the lines that cannot be decoded; ``FeedError`` if no line could be. ``line`` is one of them then."""
    counts = session.counts()
    result.undecodable = counts["messages"].get("undecoded", 0)
    if result.undecodable == counts["frames"]:
        raise FeedError(f"{result.file}: {_wrong_form(line, result.undecodable)}; {FORM}")


def _wrong_form(line: bytes, count: int) -> str:
    """Say what a file has in place of messages, by one of its lines."""
    if line.startswith(b"["):
        return "is a JSON array"
    if line.startswith(b'"'):
        return "has JSON strings, with messages quoted inside"
    if line.startswith(b"{"):
        return "has JSON objects that are not messages: they have neither a channel nor a method"
    if re.match(rb"[^{]{1,100}\{.*\}$", line, re.DOTALL):
        return "has something before the message in each line; receive times belong in a .recv_ns file beside it"
    lines = "its only line is no JSON object" if count == 1 else f"none of the first {count:,} lines is a JSON object"
    return f"has no message: {lines}"


def _seal(out: Path, path: Path) -> None:
    handle = journal.lock(path)
    if handle is not None:
        try:
            seal.seal(out, path)
        finally:
            os.close(handle)


def _remark(session: _core.Session, result: IngestResult) -> None:
    """Remember precision and depth of each symbol, and where they come from."""
    for event in session.take_ledger():
        if event["kind"] != "snapshot" or not event["detail"]:
            continue
        facts = json.loads(event["detail"])
        names = {
            "inferred": "inferred from the snapshot",
            "option": "as given",
            "instrument": "from the instrument channel",
        }
        names |= {"ack": "from the ack"}
        which = ", level 3" if event["channel"] == "level3" else ""
        remark = (
            f"{event['symbol']}{which}: precision {facts['price_precision']},{facts['qty_precision']} "
            f"({names[facts['precision_origin']]}), depth {facts['depth']} ({names[facts['depth_origin']]})"
        )
        if remark not in result.remarks and len(result.remarks) < 1000:  # noqa: PLR2004  # a bound for a screen
            result.remarks.append(remark)

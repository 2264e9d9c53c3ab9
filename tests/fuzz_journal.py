"""Recovery of damaged journals, at random and from a seed: ``python tests/fuzz_journal.py --seconds 60 --seed 1``.

A journal is taken apart into its blocks; some of them, or of their bytes, are cut, flipped, repeated, moved or
replaced. In every case reading and recovery must

- raise no exception, but report which bytes could not be read;
- return every complete flush, before and behind the damage, up to the block that ends the journal;
- keep the damaged file, seal the rest once, and have nothing to do the second time;
- need no more memory than a few times the file.

A block with a right checksum counts as intended: if krakpot cannot read it, the journal ends there. A failure names
seed and run, and ``--first RUN --runs 1`` shows it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa

import lakes
from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal, seal
from krakpot.lake.format import JOURNALS, SEALER_ENTRY, open_lake, schema

KEPT = Path(__file__).parents[1] / "rust" / "fuzz" / "seeds" / "journal"
"""Damaged journals that come with the code."""
SESSION = "019e0000-0000-7000-8000-000000000000"
NAME = f"20260802T033550-{SESSION}-0.journal"
RECOVER_EVERY = 8
"""Reading takes a millisecond, recovery a hundred."""
RUNS_OF_A_CHILD = 400
"""Runs per process: if a signal ends a process, only a few runs can be the cause."""
MEMORY_MAX = 512 << 20
"""Bytes by which a process may grow; its journals have less than a megabyte."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of a journal."""

    data: bytes
    kind: int = 0
    """Kind of a complete block; 0: it is none."""
    meant: bool = True
    """Whether krakpot wrote this payload. If not, reading may end here."""

    @property
    def whole(self) -> bool:
        """Whether it is a block, judged by its checksum."""
        return self.kind != 0


def block(kind: int, payload: bytes, *, meant: bool = True) -> Piece:
    """A block with the right checksum."""
    crc = zlib.crc32(payload, zlib.crc32(bytes([kind])))
    return Piece(journal.BLOCK.pack(kind, len(payload), crc) + payload, kind, meant)


@cache
def originals() -> tuple[tuple[Piece, ...], ...]:
    """Journals as a recorder writes them: a market, a few rows, a single flush."""
    return tuple(_original(count, size) for count, size in ((240, 40), (30, 3), (12, 12)))


def _original(count: int, size: int) -> tuple[Piece, ...]:
    timed = lakes.market(count)
    with tempfile.TemporaryDirectory() as folder:
        recorder = lakes.Recorder(Path(folder) / "lake")
        for n in range(0, len(timed), size):
            recorder.take(timed[n : n + size])
        recorder.end()
        (path,) = recorder.closed
        data = path.read_bytes()
    pieces = []
    at = len(journal.MAGIC)
    while at < len(data):
        kind, length, _ = journal.BLOCK.unpack_from(data, at)
        end = at + journal.BLOCK.size + length
        pieces.append(Piece(data[at:end], kind))
        at = end
    assert pieces[-1].kind == journal.END
    return tuple(pieces)


def damage(pieces: list[Piece], random: Random) -> None:  # noqa: PLR0912  # one branch for each kind of damage
    """One damage to one piece, or between two."""
    at = random.randrange(len(pieces))
    piece = pieces[at]
    size = len(piece.data)
    place = random.randrange(size) if size else 0
    noises: list[Callable[[int], bytes]] = [
        random.randbytes,
        bytes,
        lambda n: b"\x01" * n,
        lambda n: b"\x02\0\0\0\0" * (n // 5),
    ]
    noise = random.choice(noises)
    match random.randrange(12):
        case 0 if size:
            spoiled = bytearray(piece.data)
            spoiled[place] ^= 1 << random.randrange(8)
            pieces[at] = Piece(bytes(spoiled))
        case 1 if size:
            # The head of a block: its kind, length and checksum.
            spoiled = bytearray(piece.data)
            spoiled[min(random.randrange(9), size - 1)] = random.choice([0, 1, 2, 127, 255])
            pieces[at] = piece if spoiled == piece.data else Piece(bytes(spoiled))
        case 2 if size:
            # The length alone: nothing, all, more than there is, the most.
            length = random.choice([0, 1, size, size - 9, len(b"".join(p.data for p in pieces)), 1 << 30, 2**32 - 1])
            data = piece.data[:1] + struct.pack("<I", max(length, 0)) + piece.data[5:]
            pieces[at] = piece if data == piece.data else Piece(data)
        case 3 if size > 1:
            cut = 1 + random.randrange(size - 1)
            pieces[at] = Piece(random.choice([piece.data[:cut], piece.data[cut:]]))
        case 4:
            # The file ends here, between two blocks or inside one.
            del pieces[at + 1 :]
            pieces[at] = random.choice([piece, Piece(piece.data[:place])])
        case 5:
            pieces.insert(at, Piece(noise(random.choice([1, 3, 9, 100, 5000]))))
        case 6:
            pieces[at] = Piece(noise(size))
        case 7:
            pieces.insert(random.randrange(len(pieces) + 1), piece)
        case 8:
            del pieces[at]
        case 9:
            other = random.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], piece
        case 10:
            pieces.insert(at, random.choice(random.choice(originals())))
        case _:
            pieces.insert(at, strange(piece, random))
    if not pieces:
        pieces.append(Piece(b""))


def strange(piece: Piece, random: Random) -> Piece:
    """A block with the right checksum that no recorder wrote."""
    payload = piece.data[journal.BLOCK.size :]
    raw = b""
    if piece.kind == journal.BATCHES and piece.meant:
        (length,) = struct.unpack_from("<I", payload)
        raw = pa.decompress(payload[4:], decompressed_size=length, codec="zstd", asbytes=True)
    match random.randrange(6):
        case 0:
            payload = random.randbytes(random.choice([0, 1, 3, 4, 5, 100]))
        case 1:
            # Its length after decompression, as it claims.
            payload = struct.pack("<I", random.choice([0, 1, 1 << 20, 2**32 - 1])) + payload[4:]
        case 2:
            raw = bytes([random.choice([0, 1, 4, 255])]) + raw[1:]
            payload = packed(raw)
        case 3:
            payload = packed(b"\x07futures" + struct.pack("<I", 3) + b"abc")
        case 4:
            payload = packed(raw[: random.randrange(len(raw) + 1)])
        case _:
            # Another table's rows, or a length beyond the end.
            name = random.choice(_core.TABLES).encode()
            payload = packed(bytes([len(name)]) + name + struct.pack("<I", random.choice([0, 8, 2**31])) + raw[-64:])
    return block(random.choice([journal.BATCHES, journal.BATCHES, journal.END]), payload, meant=False)


def packed(raw: bytes) -> bytes:
    """The payload of a block."""
    return struct.pack("<I", len(raw)) + bytes(pa.compress(raw, codec="zstd", asbytes=True))


def case(seed: int, run: int) -> list[Piece]:
    """The pieces of a run's journal; the first one replaces the magic."""
    random = Random(f"{seed} {run}")
    pieces = list(random.choice(originals()))
    if random.randrange(4) == 0:
        # Its recorder died.
        pieces.pop()
    made: dict[bytes, Piece] = {}
    for _ in range(random.choice([0, 1, 1, 1, 2, 2, 3, 5])):
        made |= {piece.data: piece for piece in pieces if piece.whole}
        damage(pieces, random)
    # One damage may undo another.
    pieces = [made.get(piece.data, piece) for piece in pieces]
    magic = journal.MAGIC
    if random.randrange(12) == 0:
        magic = random.choice([b"", b"KPJ2", b"KPJ", b"\0\0\0\0", b"KPJ1KPJ1"])
    return [Piece(magic), *pieces]


def _expected(pieces: list[Piece]) -> tuple[list[Piece], bool]:
    """Blocks that must be read, in order; and whether others may come after them."""
    blocks: list[Piece] = []
    at = 0
    for piece in pieces:
        # Blocks are looked for behind the magic.
        if piece.whole and at >= len(journal.MAGIC):
            if not piece.meant and piece.kind == journal.BATCHES:
                return blocks, True
            blocks.append(piece)
            if piece.kind == journal.END:
                break
        at += len(piece.data)
    return blocks, False


def _batches(piece: Piece) -> list[tuple[str, pa.RecordBatch]]:
    return journal._batches(memoryview(piece.data)[journal.BLOCK.size :]) if piece.kind == journal.BATCHES else []


def look(path: Path, pieces: list[Piece] | None = None) -> journal.Content:
    """Read a journal and check the result; ``pieces`` is what it was made of, if that is known."""
    data = path.read_bytes()
    content = journal.read(path)
    told = content.lost
    assert content.size == len(data)
    assert all(at >= 0 and size > 0 for at, size in told), told
    assert all(a[0] + a[1] <= b[0] for a, b in pairwise(told)), told
    assert not told or told[-1][0] + told[-1][1] <= len(data), told
    for table, batches in content.tables.items():
        for batch in batches:
            assert batch.schema == schema(table)
    if pieces is not None:
        blocks, more = _expected(pieces)
        wanted = [found for piece in blocks for found in _batches(piece)]
        for table in {table for table, _ in wanted} | (set() if more else set(content.tables)):
            there = content.tables.get(table, [])
            mine = [batch for name, batch in wanted if name == table]
            assert there[: len(mine)] == mine, f"every whole flush of {table} is read"
            assert more or len(there) == len(mine), f"nothing else of {table} is read"
        if not more:
            known = sum(len(piece.data) for piece in blocks) + (4 if data.startswith(journal.MAGIC) else 0)
            assert sum(size for _, size in told) == len(data) - known, "every byte is read or told"
            whole = bool(blocks) and blocks[-1].kind == journal.END
            assert content.ended == (whole and (not told or sum(told[-1]) < len(data)))
    with suppress(StorageError):
        journal.follow(path, 0)
    return content


def mend(path: Path, content: journal.Content) -> None:
    """Recover the lake of a journal, and check the result."""
    lake = path.parent.parent
    data = path.read_bytes()
    report = seal.recover(lake)
    assert report.sealed == [path.name]
    assert [(torn["offset"], torn["bytes"]) for torn in report.torn] == content.lost
    assert report.recovered == ([] if content.ended else [path.name])
    left = [file.name for file in path.parent.iterdir()]
    assert left == ([path.stem + journal.DAMAGED] if content.damaged else []), left
    assert not content.damaged or path.with_suffix(journal.DAMAGED).read_bytes() == data
    for table, batches in content.tables.items():
        rows = lakes.rows(lake, table)
        if table == "ledger":
            rows = rows.filter(rows["entry"] < SEALER_ENTRY)
        assert rows.height == sum(batch.num_rows for batch in batches), table
    again = seal.recover(lake)
    assert (again.sealed, again.torn, again.alive) == ([], [], [])


def play(data: bytes, folder: Path, pieces: list[Piece] | None = None, *, recover: bool) -> None:
    """Put a journal into a new lake and read it; then recover it."""
    lake = folder / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    open_lake(lake)
    path = lake / JOURNALS / NAME
    path.write_bytes(data)
    content = look(path, pieces)
    if recover:
        mend(path, content)


def kept(folder: Path) -> int:
    """Run the stored journals; returns how many there are."""
    files = sorted(KEPT.iterdir())
    assert files, f"{KEPT} has journals"
    for file in files:
        try:
            play(file.read_bytes(), folder, recover=True)
        except BaseException as error:
            error.add_note(f"the journal is {file}")
            raise
    return len(files)


def run(seed: int, first: int, runs: int, folder: Path) -> None:
    """Do these runs; the error of a failing run names it."""
    for number in range(first, first + runs):
        (folder / "run").write_text(str(number))
        try:
            pieces = case(seed, number)
            play(b"".join(piece.data for piece in pieces), folder, pieces, recover=number % RECOVER_EVERY == 0)
        except BaseException as error:
            error.add_note(f"seed {seed}, run {number}")
            raise


def _child(seed: int, first: int, runs: int, folder: Path) -> None:
    faulthandler.enable()
    run(seed, first, 1, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(seed, first, runs, folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MEMORY_MAX, f"grown by {grown} bytes between seed {seed}, runs {first} and {first + runs}"


def main() -> int:
    """Run for a while; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="seed of the runs")
    parser.add_argument("--first", type=int, help="number of the first run; it happens in this process")
    parser.add_argument("--runs", type=int, default=1, help="with --first: number of runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.first is not None:
            _child(options.seed, options.first, options.runs, folder)
            return 0
        begun = time.monotonic()
        seeds = kept(folder)
        first = 0
        while time.monotonic() - begun < options.seconds:
            command = [sys.executable, __file__, "--seed", str(options.seed), "--first", str(first)]
            done = subprocess.run([*command, "--runs", str(RUNS_OF_A_CHILD)], env={"TMPDIR": name}, check=False)
            if done.returncode:
                last = max(folder.glob("*/run"), key=lambda file: file.stat().st_mtime, default=None)
                number = f", run {last.read_text()}" if last else ""
                sys.stderr.write(f"journal failed with {done.returncode}: seed {options.seed}{number}\n")
                return 1
            first += RUNS_OF_A_CHILD
        seconds = time.monotonic() - begun
        sys.stdout.write(f"seed {options.seed}: {seeds} seeds, {first} journals, no finding, {seconds:.1f}s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

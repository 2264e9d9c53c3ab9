"""Sealing: journals become Parquet parts, and recovery, which is the same for journals that dead recorders left.

The order of steps is what makes a crash harmless: every part is written under a temporary name, forced to the disk and
published by a hard link, which never replaces; the ledger's part comes last and names the others; then the journal is
removed. A part that is there already is complete and is left. So whatever happens between two steps, sealing the same
journal again gives every row exactly once.

``python -m krakpot.lake.seal LAKE`` seals all that nobody owns, and prints a report as JSON. The recorder runs it as a
process of its own, so that sorting and compression cost it neither memory nor pauses.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot import _core
from krakpot.errors import NoLake, StorageError
from krakpot.lake import journal

FORMAT = "krakpot lake"
VERSION = 1
MARKER = "_lake.json"
ROW_GROUP = 131_072
"""Rows of a Parquet row group."""
SEALER_ENTRY = 2**31
"""Ledger entries from here on are the sealer's."""
COMPACT_ENTRY = 3 * 2**30
"""Of these, the ones from here on are of ``krakpot compact``; a sealer's come here after 16 million journals."""
UNCOUNTED = ("ledger", "checkpoints", "orders_checkpoints")
"""Tables whose rows the ``alive`` rows do not count."""

DELTA = ("message", "entry", "ts_recv", "ts_event", "ts_order", "trade_id", "ts_from", "ts_to")
"""Columns that grow by small steps: delta encoding."""
PLAIN = ("qty", "checksum")
"""Columns whose values seldom come again: as they are, for zstd alone. All others: dictionary."""
LONG = ("order_id", "extra", "detail", "frame")
"""Columns of text or bytes whose values seldom come again and are too long to stand in their views. The text of all
others is held once, as a category."""

Step = Callable[[str], None]


def _no_step(_: str) -> None:
    """Tests put a crash here."""


@dataclass
class Part:
    """A published Parquet file."""

    table: str
    part: str
    """Path within the lake."""
    rows: int
    first: int | None
    """First and last message number."""
    last: int | None
    ts_from: int
    ts_to: int
    sha256: str
    """Of the file, hexadecimal."""


@dataclass
class Report:
    """What a run of recovery did."""

    sealed: list[str] = field(default_factory=list)
    """Journals that were made into parts."""
    recovered: list[str] = field(default_factory=list)
    """Of these, the ones that a dead recorder left."""
    torn: list[dict[str, Any]] = field(default_factory=list)
    """Torn ends, and what was spoiled on the disk: journal, offset, bytes."""
    alive: list[str] = field(default_factory=list)
    """Journals that a recorder owns; left alone."""
    parts: int = 0
    rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def _mark() -> str:
    """What stands in the file that makes a folder a lake."""
    return json.dumps({"format": FORMAT, "version": VERSION})


def open_lake(path: Path) -> None:
    """Make ``path`` a lake if it is none yet; refuse a format or version that this krakpot does not know."""
    marker = path / MARKER
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            if any(child for child in path.iterdir() if not child.name.startswith((".", "_"))):
                raise NoLake("this folder has other files in it; choose an empty or a new one for the lake", path)
            hidden = path / f".{MARKER}.{os.getpid()}"
            hidden.write_text(f"{_mark()}\n")
            os.replace(hidden, marker)
        (path / journal.FOLDER).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise NoLake("a lake cannot be made here; choose a folder that you may write to", path) from error
    except OSError as error:
        raise journal.storage_error(error, "write the lake", path) from error
    check_lake(path)


def check_lake(path: Path) -> None:
    """Raise ``NoLake`` unless ``path`` is a lake that this krakpot can read."""
    if not path.is_dir():
        raise NoLake("there is no such folder; give the folder that `krakpot record --out` wrote", path)
    try:
        marker = json.loads((path / MARKER).read_text())
    except FileNotFoundError:
        raise NoLake(f"this folder is not a lake: it has no {MARKER}", path) from None
    except (OSError, ValueError) as error:
        sentence = f"{MARKER} cannot be read ({error}); if all else is whole, write into it: {_mark()}"
        raise NoLake(sentence, path) from error
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        raise NoLake(f"{MARKER} does not name the format {FORMAT!r}", path)
    if not isinstance(marker.get("version"), int) or marker["version"] > VERSION:
        raise NoLake(
            f"the lake has version {marker.get('version')}, this krakpot reads up to {VERSION}; install a newer one",
            path,
        )


@contextmanager
def hold(lake: Path, *, exclusive: bool = False, wait: bool = True) -> Iterator[bool]:
    """Keep the parts of a lake where they are while somebody reads or adds some; exclusive: to move or remove them.

    Gives whether it could be had, which without ``wait`` is not sure.
    """
    handle = os.open(lake / MARKER, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def order(table: str) -> list[str]:
    """Columns by which the rows of a part are sorted."""
    return (["symbol"] if table != "assets" else []) + ["session", "message", "entry"]


def write_part(frame: pl.DataFrame, path: Path, places: pl.Series | None = None) -> None:
    """Write one Parquet file, its row groups of ``ROW_GROUP`` rows; then fsync.

    ``places`` are the rows in the order in which they are to stand; so no more than a row group is there twice.
    """
    with part_writer(_text(frame.head(0)), path) as writer:
        for at in range(0, frame.height, ROW_GROUP):
            group = frame[at : at + ROW_GROUP] if places is None else frame[places[at : at + ROW_GROUP]]
            writer.write_table(_text(group).to_arrow(), row_group_size=ROW_GROUP)
    sync_file(path)


def _text(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as the text that they stand for."""
    return frame.cast({pl.Categorical: pl.String})


def part_writer(like: pl.DataFrame, path: Path) -> pq.ParquetWriter:
    """Begin a Parquet file with the columns of ``like``: zstd, statistics, an encoding by column.

    docs/decisions/storage.md says what was measured.
    """
    return pq.ParquetWriter(
        path,
        like.head(0).to_arrow().schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in like.columns if name not in (*DELTA, *PLAIN)],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in like.columns if name in DELTA},
        data_page_version="2.0",
        write_statistics=True,
        store_schema=False,
    )


def sync_file(path: Path) -> None:
    """Force a file to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _places(rows: pl.DataFrame, table: str) -> pl.Series:
    """The rows in the order of a part."""
    keys = rows.select(order(table)).with_row_index("_place")
    message, entry = pl.col("message"), pl.col("entry")
    later = (message > message.shift()) | ((message == message.shift()) & (entry >= entry.shift()))
    in_order = pl.col("session").n_unique() == 1, later.slice(1).all(ignore_nulls=False).fill_null(value=False)
    if not keys.select(pl.all_horizontal(in_order)).item():
        keys = _text(keys).sort("session", "message", "entry", nulls_last=False, maintain_order=True)
    if "symbol" not in keys.columns:
        return keys["_place"]
    # A journal has the rows of its session in their order: most often they need only be dealt out to the symbols.
    return _text(keys.group_by("symbol").agg("_place")).sort("symbol")["_place"].explode()


def _publish(frame: pl.DataFrame, table: str, lake: Path, content: journal.Content, step: Step) -> list[Part]:
    """Write and publish the parts of one table: one a UTC day."""
    parts = []
    # Journals close at midnight: almost always there is one day, and then no copy of it.
    dates = frame["ts_recv"].dt.date().rename("_day")
    days = [frame]
    if dates.n_unique() > 1:
        days = frame.with_columns(dates).partition_by("_day", include_key=False, maintain_order=True)
    for rows in days:
        places = _places(rows, table)
        times = rows["ts_recv"].to_physical()
        first, last = int(times.min()), int(times.max())  # type: ignore[arg-type]  # a part has rows
        begin = journal.stamp(first)
        name = f"{begin:%H%M%S}-{content.session}-{content.number}.parquet"
        final = lake / table / f"date={begin:%Y-%m-%d}" / name
        if not final.exists():
            hidden = lake / journal.FOLDER / f".{table}-{begin:%Y%m%d}-{name}.tmp"
            try:
                write_part(rows, hidden, places)
                step(f"written {table}")
                final.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    os.link(hidden, final)
                step(f"linked {table}")
                journal.sync_folder(final.parent)
                hidden.unlink(missing_ok=True)
            except OSError as error:
                raise journal.storage_error(error, "write a part", final) from error
            step(f"published {table}")
        numbers = rows["message"].drop_nulls()
        parts.append(
            Part(
                table,
                f"{table}/date={begin:%Y-%m-%d}/{name}",
                rows.height,
                int(numbers.min()) if len(numbers) else None,  # type: ignore[arg-type]  # whole numbers
                int(numbers.max()) if len(numbers) else None,  # type: ignore[arg-type]  # whole numbers
                first,
                last,
                digest(final),
            )
        )
    return parts


def _after(tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Rows of each table that no ``alive`` row counts; those come after the last one."""
    ledger = tables.get("ledger")
    last = None if ledger is None else ledger.filter(pl.col("kind") == "alive")["message"].max()
    counted = {name: rows for name, rows in tables.items() if name not in UNCOUNTED}
    after = {
        name: rows.height if last is None else int((rows["message"] > last).sum()) for name, rows in counted.items()
    }
    return {name: n for name, n in after.items() if n}


def _ledger_rows(content: journal.Content, parts: list[Part], after: dict[str, int], now: int) -> pl.DataFrame:
    """Rows of the sealer: what was recovered, with the rows that no ``alive`` counts; torn; and every part by name."""
    message = max((part.last for part in parts if part.last is not None), default=None)
    rows: list[dict[str, Any]] = []

    def add(
        kind: str, count: int, detail: dict[str, Any], ts_from: int | None = None, ts_to: int | None = None
    ) -> None:
        entry = SEALER_ENTRY + (content.number * 64 + len(rows)) % SEALER_ENTRY
        rows.append(
            {
                "session": content.session,
                "message": message,
                "entry": entry,
                "ts_recv": now,
                "kind": kind,
                "count": count,
            }
            | {"detail": json.dumps(detail, separators=(",", ":")), "ts_from": ts_from, "ts_to": ts_to}
        )

    name = content.path.name
    if not content.ended:
        detail = {"journal": name, "rows": after, "last": message}
        add("recovered", sum(part.rows for part in parts), detail)
    for offset, size in content.lost:
        add("torn", size, {"journal": name, "offset": offset, "bytes": size})
    for part in parts:
        detail = {"table": part.table, "part": part.part, "first": part.first, "last": part.last, "sha256": part.sha256}
        add("sealed", part.rows, detail, part.ts_from, part.ts_to)
    return ledger_frame(rows)


def ledger_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of the ledger; times are nanoseconds since the epoch."""
    schema = polars_schema("ledger")
    plain = {name: pl.Int64() if isinstance(kind, pl.Datetime) else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]  # names to types


def polars_schema(table: str) -> dict[str, pl.DataType]:
    """Column types of a table in Polars."""
    frame = pl.from_arrow(journal.schema(table).empty_table())
    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
    return dict(frame.schema)


def _read(path: Path) -> tuple[journal.Content, dict[str, pl.DataFrame]]:
    """A journal, and its rows by table.

    A block holds the rows of all tables, and the batches views of it: the rows are copied, so that those of a table can
    go as soon as they are written.
    """
    held: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    copies: dict[str, list[pl.DataFrame]] = defaultdict(list)

    def copy() -> None:
        for table, batches in held.items():
            copies[table].append(_copy(table, batches))
        held.clear()

    def take(table: str, batch: pa.RecordBatch) -> None:
        held[table].append(batch)
        if sum(batch.num_rows for batches in held.values() for batch in batches) >= ROW_GROUP:
            copy()

    content = journal.read(path, take)
    copy()
    # PyArrow keeps what it freed, and Polars allocates for itself.
    pa.default_memory_pool().release_unused()
    return content, {table: _joined(copies.pop(table)) for table in list(copies)}


def _copy(table: str, batches: list[pa.RecordBatch]) -> pl.DataFrame:
    """Rows that hold on to no block."""
    rows = pa.Table.from_batches(batches, journal.schema(table))
    for n, column in enumerate(rows.schema):
        if column.name in LONG:
            kind = pa.large_binary() if pa.types.is_binary_view(column.type) else pa.large_string()
            # A cast shares with the block what says which are null.
            rows = rows.set_column(n, column.name, pa.concat_arrays(rows.column(n).cast(kind).chunks))
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame), "a table gives a frame"
    frame = frame.with_columns(cs.string().exclude(LONG).cast(pl.Categorical))
    # One chunk alone would be taken as it is.
    return frame.rechunk() if len(batches) > 1 else frame.select(pl.all().gather(pl.int_range(pl.len())))


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One piece of memory a column; never two of more than one column."""
    frame = pl.concat(frames)
    frames.clear()
    return pl.DataFrame([frame.drop_in_place(name).rechunk() for name in frame.columns])


def seal(lake: Path, path: Path, *, step: Step = _no_step, report: Report | None = None) -> list[Part]:
    """Make one journal, which the caller has locked, into parts and remove it (a damaged one: put it aside).

    ``step`` is called with the name of each step once it is done.
    """
    content, tables = _read(path)
    step("read")
    after = _after(tables)
    parts: list[Part] = []
    for table in _core.TABLES:
        if table in tables and table != "ledger":
            # What is written is not held any longer.
            parts += _publish(tables.pop(table), table, lake, content, step)
    empty = pl.DataFrame(schema=polars_schema("ledger"))
    ledger = _text(tables.get("ledger", empty))
    # The time of the last row, not of this run: sealing again after a crash must give the same part.
    times = [part.ts_to for part in parts]
    if ledger.height:
        times.append(int(ledger["ts_recv"].to_physical().max()))  # type: ignore[arg-type]  # it has rows
    if times:
        rows = _ledger_rows(content, parts, after, max(times))
        parts += _publish(pl.concat([ledger, rows]), "ledger", lake, content, step)
    step("all published")
    try:
        if content.damaged:
            # Somebody may find more in it.
            path.rename(path.with_suffix(journal.DAMAGED))
        else:
            path.unlink()
        journal.sync_folder(path.parent)
    except OSError as error:
        raise journal.storage_error(error, "remove the journal", path) from error
    step("removed")
    if report is not None:
        report.sealed.append(path.name)
        report.parts += len(parts)
        report.rows += sum(part.rows for part in parts)
        if not content.ended:
            report.recovered.append(path.name)
        report.torn += [{"journal": path.name, "offset": at, "bytes": size} for at, size in content.lost]
    return parts


def recover(lake: Path, *, step: Step = _no_step, progress: Callable[[str], None] = _no_step) -> Report:
    """Seal every journal of a lake that no recorder owns; safe to run at any time, any number of times.

    One that cannot be sealed holds up no other: ``StorageError`` tells of the first of them at the end.
    """
    check_lake(lake)
    report = Report()
    failed: list[StorageError] = []
    for path in journal.journals(lake):
        try:
            _recover(lake, path, report, step, progress)
        except StorageError as error:
            failed.append(error)
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            failed.append(StorageError(f"the journal cannot be sealed and stays as it is ({reason})", path))
    _sweep(lake)
    if failed:
        raise failed[0]
    return report


def _recover(lake: Path, path: Path, report: Report, step: Step, progress: Callable[[str], None]) -> None:
    """Seal one journal, unless a recorder owns it."""
    handle = journal.lock(path)
    if handle is None:
        if path.exists():
            report.alive.append(path.name)
        return
    try:
        progress(path.name)
        with hold(lake):
            seal(lake, path, step=step, report=report)
    finally:
        os.close(handle)


def _sweep(lake: Path) -> None:
    """Remove temporary files of sealers that died; those of the living are younger or locked by their journal."""
    owned = {path.name.removesuffix(journal.SUFFIX).partition("-")[2] for path in journal.journals(lake)}
    for path in (lake / journal.FOLDER).glob(".*.parquet.tmp"):
        if not any(path.name.endswith(f"-{name}.parquet.tmp") for name in owned):
            path.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Run ``python -m krakpot.lake.seal LAKE``: the recorder's sealer."""
    try:
        report = recover(Path(arguments[0]))
    except StorageError as error:
        sys.stderr.write(f"krakpot: {error}\n")
        return 1
    sys.stdout.write(json.dumps(report.to_dict()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

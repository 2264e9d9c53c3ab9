"""Sealing: journals become Parquet parts, and recovery, which is the same for journals that dead recorders left.

The order of steps is what makes a crash harmless: every part is written under a temporary name, forced to the disk and
published by a hard link, which never replaces; the ledger's part comes last and names the others; then the journal is
removed. A part that is there already is complete and is left. So whatever happens between two steps, sealing the same
journal again gives every row exactly once.

``python -m krakpot.lake.seal LAKE`` seals all that nobody owns, and prints a report as JSON. The recorder runs it as a
process of its own, so that sorting and compression cost it neither memory nor pauses.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from krakpot import _core
from krakpot.errors import StorageError
from krakpot.lake import journal
from krakpot.lake.format import (
    JOURNALS,
    ROW_GROUP,
    SEALER_ENTRY,
    UNCOUNTED,
    at_work,
    check_lake,
    digest,
    hold,
    order,
    polars_schema,
    schema,
    stamp,
    storage_error,
)
from krakpot.lake.ledger import ledger_frame
from krakpot.lake.lock import sync_folder
from krakpot.lake.parquet import text, write_part

LONG = ("order_id", "extra", "detail", "frame")
"""Columns of text or bytes whose values seldom come again and are too long for their views. The text of all other
columns is held once, as a category."""

Step = Callable[[str], None]


def _no_step(_: str) -> None:
    """Tests put a crash here."""


@dataclass
class SealedPart:
    """A published Parquet file, and what the ledger says of it."""

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


def _places(rows: pl.DataFrame, table: str) -> pl.Series:
    """The rows in the order of a part."""
    keys = rows.select(order(table)).with_row_index("_place")
    message, entry = pl.col("message"), pl.col("entry")
    later = (message > message.shift()) | ((message == message.shift()) & (entry >= entry.shift()))
    in_order = pl.col("session").n_unique() == 1, later.slice(1).all(ignore_nulls=False).fill_null(value=False)
    if not keys.select(pl.all_horizontal(in_order)).item():
        keys = text(keys).sort("session", "message", "entry", nulls_last=False, maintain_order=True)
    if "symbol" not in keys.columns:
        return keys["_place"]
    # A journal has the rows of its session in their order: most often they need only be dealt out to the symbols.
    return text(keys.group_by("symbol").agg("_place")).sort("symbol")["_place"].explode()


def _publish(frame: pl.DataFrame, table: str, lake: Path, content: journal.Content, step: Step) -> list[SealedPart]:
    """Write and publish the parts of one table: one a UTC day."""
    parts = []
    # Journals close at midnight: almost always there is one day, and then no copy of it.
    dates = frame["ts_recv"].dt.date().rename("_day")
    days = [frame]
    if dates.n_unique() > 1:
        days = frame.with_columns(dates).partition_by("_day", include_key=False, maintain_order=True)
    for rows in days:
        places = _places(rows, table)
        height = rows.height
        times, numbers = rows["ts_recv"].to_physical(), rows["message"].drop_nulls()
        first, last = int(times.min()), int(times.max())  # type: ignore[arg-type]  # a part has rows
        least, most = (int(numbers.min()), int(numbers.max())) if len(numbers) else (None, None)  # type: ignore[arg-type]  # whole numbers
        # What is written takes the rows apart, column by column.
        del times, numbers
        begin = stamp(first)
        name = f"{begin:%H%M%S}-{content.session}-{content.number}.parquet"
        final = lake / table / f"date={begin:%Y-%m-%d}" / name
        if not final.exists():
            hidden = lake / JOURNALS / f".{table}-{begin:%Y%m%d}-{name}.tmp"
            try:
                write_part(rows, hidden, places)
                step(f"written {table}")
                final.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    os.link(hidden, final)
                step(f"linked {table}")
                sync_folder(final.parent)
                hidden.unlink(missing_ok=True)
            except OSError as error:
                raise storage_error(error, "write a part", final) from error
            step(f"published {table}")
        part = f"{table}/date={begin:%Y-%m-%d}/{name}"
        parts.append(SealedPart(table, part, height, least, most, first, last, digest(final)))
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


def _ledger_rows(content: journal.Content, parts: list[SealedPart], after: dict[str, int], now: int) -> pl.DataFrame:
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
    rows = pa.Table.from_batches(batches, schema(table))
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


def seal(lake: Path, path: Path, *, step: Step = _no_step, report: Report | None = None) -> list[SealedPart]:
    """Make one journal, which the caller has locked, into parts and remove it (a damaged one: put it aside).

    ``step`` is called with the name of each step once it is done.
    """
    content, tables = _read(path)
    step("read")
    after = _after(tables)
    parts: list[SealedPart] = []
    for table in _core.TABLES:
        if table in tables and table != "ledger":
            # What is written is not held any longer.
            parts += _publish(tables.pop(table), table, lake, content, step)
    empty = pl.DataFrame(schema=polars_schema("ledger"))
    ledger = text(tables.get("ledger", empty))
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
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, "remove the journal", path) from error
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
    with at_work(lake):
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
    for path in (lake / JOURNALS).glob(".*.parquet.tmp"):
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

"""Lakes made by the recorder's own steps: a session, a journal, the sealer; and files for ``krakpot ingest``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

import frames
from krakpot import _core
from krakpot.lake import journal, parquet, seal
from krakpot.lake.format import open_lake, polars_schema, schema

Timed = tuple[int, bytes]


def write_frames(path: Path, timed: Iterable[Timed], *, times: bool = True) -> Path:
    """Write a file of frames, one per line, and a file with their receive times."""
    listed = list(timed)
    path.write_bytes(b"".join(frame + b"\n" for _, frame in listed))
    if times:
        path.with_suffix(".recv_ns").write_text("".join(f"{ts}\n" for ts, _ in listed))
    return path


def session_name(ts: int) -> str:
    """A UUIDv7 of this time."""
    text = f"{ts // 1_000_000:012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


class Recorder:
    """A recorder without sockets and threads: one flush per call."""

    def __init__(self, lake: Path, session: str = "019e0000-0000-7000-8000-000000000000", **options: Any) -> None:
        """Begin a passive session, and a journal in ``lake``."""
        open_lake(lake)
        self.lake = lake
        writer = {name: options.pop(name) for name in ("interval", "rows_max") if name in options}
        self.session = _core.Session(session, passive=True, **options)
        self.writer = journal.Writer(lake, session, **writer)
        self.closed: list[Path] = []

    def take(self, timed: Iterable[Timed]) -> None:
        """Receive, then flush once."""
        now = self.session.now
        for now, frame in timed:
            self.session.receive([frame], now)
        self.flush(now)

    def flush(self, now: int) -> None:
        """Append what the session has to the journal; a closed journal waits to be sealed."""
        closed = self.writer.write(self.session.drain(), now)
        self.closed += [] if closed is None else [closed]

    def end(self) -> None:
        """End the session and its last journal."""
        now = self.session.now
        self.session.end(now, "the test is over")
        self.session.add_ledger_row("stop", now)
        self.flush(now)
        closed = self.writer.close()
        self.closed += [] if closed is None else [closed]

    def die(self) -> Path:
        """Leave the open journal as a killed process would; returns its path."""
        assert self.writer.path is not None, "a journal is open"
        os.close(self.writer._file)  # what the kernel does when a process is killed
        path, self.writer.path = self.writer.path, None
        return path


def make(lake: Path, timed: Iterable[Timed], **options: Any) -> dict[str, Any]:
    """Record, end and seal; returns the session's counts."""
    recorder = Recorder(lake, **options)
    recorder.take(timed)
    recorder.end()
    seal.recover(lake)
    return recorder.session.counts()


def market(
    count: int = 400,
    *,
    begin: int = frames.START,
    step: int = frames.SECOND // 50,
    seed: int = 1,
    level3: bool = False,
) -> list[Timed]:
    """A small market of two pairs."""
    return list(_market(count, begin, step, seed, level3))


@cache
def _market(count: int, begin: int, step: int, seed: int, level3: bool) -> tuple[Timed, ...]:  # cached
    symbols = ["BTC/USD", "ETH/USD"]
    return tuple(frames.market(symbols, begin=begin, step=step, count=count, seed=seed, level3=level3))


def rows(lake: Path, table: str) -> pl.DataFrame:
    """All rows of a table in the parts, sorted; read without ``krakpot.lake``."""
    parts = sorted((lake / table).glob("date=*/*.parquet"))
    if not parts:
        return pl.DataFrame(schema=polars_schema(table))
    return by_place(pl.concat([pl.read_parquet(part, hive_partitioning=False) for part in parts]))


def by_place(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort the rows, so that two frames can be compared (checkpoints are numbered within a symbol)."""
    symbol = ["symbol"] if "symbol" in frame.columns else []
    return frame.sort("session", "message", *symbol, "entry", nulls_last=False)


def expected(batches: list[dict[str, _core.Batch]], table: str) -> pl.DataFrame:
    """All rows of a table as the session handed them out, sorted like ``rows``."""
    found = [pa.record_batch(flush[table]) for flush in batches if table in flush]
    frame = pl.from_arrow(pa.Table.from_batches(found, schema(table)))
    assert isinstance(frame, pl.DataFrame)
    return by_place(frame)


def rewrite(part: Path, change: Any) -> None:
    """Replace a part by ``change(frame)``, in the form in which the sealer writes."""
    frame = change(pl.read_parquet(part, hive_partitioning=False))
    part.unlink()
    parquet.write_part(frame, part)


def parts(lake: Path, table: str) -> list[Path]:
    """Parts of a table, by date and name; a guard for tests that change one."""
    found = sorted((lake / table).glob("date=*/*.parquet"))
    assert found, f"the lake has parts of {table}"
    return found


def facts(detail: str | None) -> dict[str, Any]:
    """Facts of a ledger row."""
    return dict(json.loads(detail)) if detail else {}

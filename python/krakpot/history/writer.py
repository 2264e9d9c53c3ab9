"""Imported rows on their way into a lake: a session of their own, whose ledger says what was added, and from where.

Rows go through a journal, as those of a recorder do. A flush has its rows and the ledger's row about them in one block:
so whatever happens, the lake has both or neither.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from krakpot import __version__, _core
from krakpot.lake import journal, seal
from krakpot.lake.format import Origin, at_work, polars_schema, schema
from krakpot.lake.ledger import IMPORTED, ledger_frame

CHANNELS = {table: channel for channel, table in _core.CHANNELS.items()}
"""The channel of each table."""
INTERVAL = 3600.0
"""Seconds after which a journal is sealed: rows that wait in it are read more slowly."""


@dataclass
class Range:
    """What was added to the time of a symbol, [begin, end) in ns of the exchange's time."""

    table: str
    symbol: str
    begin: int
    end: int
    count: int
    facts: dict[str, Any] = field(default_factory=dict)
    """For the ledger's detail."""


class HistoryWriter:
    """Writes the rows of one import; see ``history_writer``."""

    def __init__(self, lake: Path, session: str, origin: Origin, facts: dict[str, Any]) -> None:
        """``facts`` go into the ledger's row ``start``."""
        self.lake = lake
        self.session = session
        self.origin = origin
        self.rows = 0
        """Rows that were written."""
        self._writer = journal.Writer(lake, session, interval=INTERVAL)
        self._entry = 0
        self._start: dict[str, Any] | None = facts
        self._message = 0

    def write(self, table: str, frame: pl.DataFrame, ranges: list[Range]) -> None:
        """Write rows, and what they add; in one piece.

        ``frame`` has the columns of the table; those that every imported row has alike, or that may be null, may be
        left out. Its rows are one message, in their order.
        """
        now = time.time_ns()
        if not ranges and not frame.height:
            return
        ledger = [] if self._start is None else [self._row("start", now, detail=self._start)]
        self._start = None
        for one in ranges:
            detail = {"origin": self.origin, **one.facts}
            row = self._row(IMPORTED, now, detail=detail)
            row |= {"channel": CHANNELS[one.table], "symbol": one.symbol, "count": one.count}
            ledger.append(row | {"ts_from": one.begin, "ts_to": one.end})
        batches = {"ledger": _batch(ledger_frame(ledger), "ledger")} if ledger else {}
        if frame.height:
            batches[table] = _batch(self._whole(frame, table), table)
            self.rows += frame.height
        self._seal(self._writer.write(batches, now))
        self._writer.sync()

    def _row(self, kind: str, now: int, *, detail: dict[str, Any]) -> dict[str, Any]:
        row = {"session": self.session, "entry": self._entry, "ts_recv": now, "kind": kind}
        self._entry += 1
        return row | {"detail": json.dumps(detail, separators=(",", ":"))}

    def _whole(self, frame: pl.DataFrame, table: str) -> pl.DataFrame:
        """All columns of the table."""
        message, self._message = self._message, self._message + 1
        facts = {
            "session": pl.lit(self.session),
            "message": pl.lit(message),
            "entry": pl.int_range(pl.len()),
            "kind": pl.lit("snapshot"),
            "origin": pl.lit(self.origin),
        }
        given = set(frame.columns)
        return frame.select(
            (pl.col(name) if name in given else facts.get(name, pl.lit(None))).cast(kind).alias(name)
            for name, kind in polars_schema(table).items()
        )

    def close(self) -> None:
        """End the session, and seal its last journal."""
        if self._writer.path is not None:
            now = time.time_ns()
            stop = ledger_frame([self._row("stop", now, detail={"rows": self.rows})])
            self._seal(self._writer.write({"ledger": _batch(stop, "ledger")}, now))
            self._seal(self._writer.close())

    def discard(self) -> None:
        """Remove the open journal; what is sealed already is left to ``content.forget``."""
        self._writer.discard()

    def _seal(self, closed: Path | None) -> None:
        handle = None if closed is None else journal.lock(closed)
        if closed is not None and handle is not None:
            try:
                seal.seal(self.lake, closed)
            finally:
                os.close(handle)


@contextmanager
def history_writer(lake: Path, session: str, origin: Origin, **facts: str) -> Iterator[HistoryWriter]:
    """Write imported rows while the body runs; however it ends, what was written is sealed, unless it was discarded."""
    writer = HistoryWriter(lake, session, origin, {"version": __version__, "rows_from": origin, **facts})
    with at_work(lake):
        try:
            yield writer
        finally:
            writer.close()


def _batch(frame: pl.DataFrame, table: str) -> pa.RecordBatch:
    """The rows as one batch in the types of the table."""
    rows = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.newest()).cast(schema(table))
    (batch,) = rows.combine_chunks().to_batches()
    return batch

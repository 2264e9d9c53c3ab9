"""CSV files in the layout of Tardis: one per kind, symbol and day (UTC of the receive time), compressed with gzip.

A day begins with a snapshot, and so does the book after a gap, as in Tardis' own files.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import polars as pl

from krakpot.exports.books import SCALE, Levels, frames, level_rows, opening, text
from krakpot.exports.output import File, Output, file_symbol
from krakpot.exports.pieces import Piece, Recorded
from krakpot.exports.tables import DAY
from krakpot.lake.folder import View
from krakpot.lake.format import stamp
from krakpot.lake.lake import Lake

EXCHANGE = "kraken"
LEVEL = 6
"""Of gzip: higher ones take much longer and save little."""
STATES = 20_000
"""States of a book that are held at a time."""
FIRST = ("exchange", "symbol", "timestamp", "local_timestamp")


class _Csv:
    """A compressed CSV file of one day."""

    def __init__(self, file: File, stack: ExitStack) -> None:
        self.file = file
        self._text = stack.enter_context(gzip.GzipFile(file.unfinished, "wb", LEVEL))

    def write(self, rows: pl.DataFrame) -> None:
        held = io.BytesIO()
        rows.write_csv(held, include_header=self.file.rows == 0, line_terminator="\n")
        self._text.write(held.getvalue())
        self.file.rows += rows.height


def export_tardis(
    lake: Lake, output: Output, symbols: list[str], start: int | None, end: int | None, depth: int | None,
    done: Callable[[int], None],
) -> None:  # fmt: skip
    """Write the files; ``done`` is called with numbers of rows. ``depth``: levels of ``book_snapshot_N``."""
    view = lake.look(["book", "checkpoints", "ledger"])
    recorded = Recorded(view)
    for symbol in symbols:
        pieces = recorded.pieces("book", symbol, start, end)
        spans = [(piece.ts_from, piece.ts_to, piece.reason) for piece in pieces]
        output.gaps(recorded.gaps("book", symbol, spans))
        trades = [
            (span.begin, span.end, recorded.reason("trade", symbol, span.end))
            for span in recorded.spans("trade", symbol, start, end)
        ]
        output.gaps(recorded.gaps("trade", symbol, trades))
        for day in sorted({day for begin, until, _ in spans for day in _days(begin, until)}):
            mine = [_within(piece, day) for piece in pieces if piece.ts_from < day + DAY and piece.ts_to > day]
            _write(output, "incremental_book_L2", symbol, day, done, (_levels(view, piece) for piece in mine))
            _write(output, "book_ticker", symbol, day, done, (_tops(view, piece, None) for piece in mine))
            if depth is not None:
                kind = f"book_snapshot_{depth}"
                _write(output, kind, symbol, day, done, (_tops(view, piece, depth) for piece in mine))
        for day in sorted({day for begin, until, _ in trades for day in _days(begin, until)}):
            rows = (
                iter([_trades(lake, symbol, max(begin, day), min(until, day + DAY))])
                for begin, until, _ in trades
                if begin < day + DAY and until > day
            )
            _write(output, "trades", symbol, day, done, rows)


def _days(begin: int, end: int) -> range:
    """Begins of the days that a time touches."""
    return range(begin - begin % DAY, end, DAY)


def _within(piece: Piece, day: int) -> Piece:
    """The part of a piece on one day."""
    low, high = max(piece.ts_from, day), min(piece.ts_to, day + DAY)
    return piece._replace(ts_from=low, ts_to=high, opened=piece.opened and low == piece.ts_from)


def _write(
    output: Output, kind: str, symbol: str, day: int, done: Callable[[int], None],
    pieces: Iterable[Iterator[pl.DataFrame]],
) -> None:  # fmt: skip
    """Write one file, from frames with the columns of its kind behind ``FIRST``, whose times are ns."""
    date = f"{stamp(day):%Y-%m-%d}"
    head = (pl.lit(EXCHANGE).alias("exchange"), pl.lit(symbol).alias("symbol"))
    with output.file(f"{EXCHANGE}_{kind}_{date}_{file_symbol(symbol)}.csv.gz") as file:
        file.facts = {"type": kind, "symbol": symbol, "date": date}
        with ExitStack() as stack:
            csv = _Csv(file, stack)
            for piece in pieces:
                for rows in piece:
                    if rows.height:
                        micros = (pl.col("timestamp", "local_timestamp") // 1000).cast(pl.Int64)
                        csv.write(rows.with_columns(micros).select(*head, *FIRST[2:], pl.exclude(*FIRST)))
                        done(rows.height)


def _levels(view: View, piece: Piece) -> Iterator[pl.DataFrame]:
    for rows in level_rows(view, piece):
        yield rows.select(
            pl.col("ts_event").alias("timestamp"),
            pl.col("ts_recv").alias("local_timestamp"),
            (pl.col("what") == "snapshot").alias("is_snapshot"),
            "side",
            text("price"),
            text("qty").alias("amount"),
        )


def _trades(lake: Lake, symbol: str, begin: int, end: int) -> pl.DataFrame:
    return (
        lake.scan("trades", symbol, begin, end)
        .filter(kind="update")
        .select(
            pl.col("ts_event").dt.epoch("ns").alias("timestamp"),
            pl.col("ts_recv").dt.epoch("ns").alias("local_timestamp"),
            pl.col("trade_id").alias("id"),
            "side",
            text("price"),
            text("qty").alias("amount"),
        )
        .sort("local_timestamp", "id")
        .collect()
    )


def _tops(view: View, piece: Piece, depth: int | None) -> Iterator[pl.DataFrame]:
    """The best levels after each message that changed them; ``depth`` None: of one level, as ``book_ticker``."""
    levels = 1 if depth is None else depth
    book = Levels()
    opened = opening(view, "book", piece)
    if opened.checkpoint is not None:
        book.load(opened.checkpoint)
    last: Any = None
    begun = False
    for early, rows in frames(view, "book", piece, opened):
        for _ in book.messages(early):
            pass
        found: list[tuple[int, int, Any]] = []
        times = rows.select("ts_event", "ts_recv").rows()
        if times and not begun:
            begun = True
            if book.qty[0] or book.qty[1]:
                # The book as it was when the piece began.
                last = book.top(levels)
                found.append((min(piece.ts_from, times[0][0]), piece.ts_from, last))
        for row, _ in book.messages(rows):
            top = book.top(levels)
            if top != last:
                last = top
                found.append((*times[row], top))
                if len(found) == STATES:
                    yield _wide(found, depth)
                    found = []
        yield _wide(found, depth)


@lru_cache(maxsize=1 << 16)
def _shown(steps: int) -> str:
    """Whole 10^-``SCALE`` as text; most numbers of a book are those of the state before."""
    whole, rest = divmod(steps, 10**SCALE)
    return f"{whole}.{rest:0{SCALE}}".rstrip("0").rstrip(".")


def _wide(found: list[tuple[int, int, Any]], depth: int | None) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {
        "timestamp": pl.Series([one[0] for one in found], dtype=pl.Int64),
        "local_timestamp": pl.Series([one[1] for one in found], dtype=pl.Int64),
    }

    def column(side: int, level: int, part: int) -> pl.Series:
        held = (one[2][side] for one in found)
        shown = [_shown(levels[level][part]) if len(levels) > level else None for levels in held]
        return pl.Series(shown, dtype=pl.String)

    if depth is None:
        order = (("ask_amount", 1, 1), ("ask_price", 1, 0), ("bid_price", 0, 0), ("bid_amount", 0, 1))
        columns |= {name: column(side, 0, part) for name, side, part in order}
    for level in range(depth or 0):
        for name, side in (("asks", 1), ("bids", 0)):
            columns[f"{name}[{level}].price"] = column(side, level, 0)
            columns[f"{name}[{level}].amount"] = column(side, level, 1)
    return pl.DataFrame(columns)

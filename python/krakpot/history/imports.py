"""Files of history into a lake: each file is one session, named by its content, so that it is imported once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from krakpot import values
from krakpot.errors import ConfigError, counted
from krakpot.history.formats import FORMATS, Format, Found, Piece, WrongFile, check, reading, recognise, symbol_of
from krakpot.history.writer import CHANNELS, HistoryWriter, Range, history_writer
from krakpot.lake import seal
from krakpot.lake.content import forget, refuse_known, session_of
from krakpot.lake.format import lake_to_write
from krakpot.lake.lake import Lake
from krakpot.work import OnProgress, no_progress


@dataclass
class ImportResult:
    """What was imported from one file."""

    file: Path
    session: str
    """Its session in the lake."""
    format: Format
    origin: str
    """As the rows say it."""
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per table and symbol, rows that were added."""
    skipped: list[str] = field(default_factory=list)
    """Files in a zip that were left out, in sentences that say why."""

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {**vars(self), "file": str(self.file)}

    @property
    def total(self) -> int:
        """Rows that were added."""
        return sum(count for symbols in self.rows.values() for count in symbols.values())


def import_file(
    path: str | Path,
    out: str | Path,
    *,
    format: Format | None = None,  # noqa: A002  # as the option is called
    symbol: str | None = None,
    progress: OnProgress = no_progress,
) -> ImportResult:
    """Put the trades or candles of one file into a lake.

    Parameters
    ----------
    path
        Kraken's downloadable trades or OHLCVT (a CSV, or a zip of many), Tardis' trades (CSV, also .gz), or trades of
        CryptoHFTData (Parquet, also .zst).
    out
        Folder of the lake; it is made if it does not exist.
    format
        What the file must be: ``"kraken-trades"``, ``"kraken-ohlcvt"``, ``"tardis"``, ``"cryptohftdata"``. None:
        whatever it is.
    symbol
        The pair of the file, where its name does not tell: ``"BTC/USD"``.
    progress
        Called with the bytes that are read, and 0: how many there are is not known.

    Returns
    -------
    ImportResult
        Rows that were added, by table and symbol, with the origin that they have.

    Raises
    ------
    ConfigError
        The file is of another format, cannot be read, or is in the lake already. Nothing of it is kept.
    StorageError
        The lake cannot be written.

    Examples
    --------
    >>> krakpot.import_file("XBTUSD.csv", "lake").rows    # doctest: +SKIP
    {'trades': {'BTC/USD': 812345}}

    """
    file, lake = values.read(values.file, path, "path"), values.read(values.folder, out, "out")
    wanted: Any = None if format is None else values.read(values.word_of(FORMATS), format, "format")
    named = None if symbol is None else symbol_of(_pair(symbol), [])
    parts = recognise(file)
    good = [found for _, found in parts if isinstance(found, Found)]
    skipped = [str(found) for _, found in parts if isinstance(found, WrongFile)]
    if not good:
        raise WrongFile(skipped[0])
    for place, found in parts:
        if isinstance(found, Found):
            check(place, found, wanted)
    if named is not None and len(good) > 1:
        raise ConfigError(f"{file}: has {len(good)} files, so symbol cannot name the pair of all; leave it out")
    first = good[0]
    with reading(file):
        session = _session(file, named)
    result = ImportResult(file, session, first.format, first.origin, skipped=skipped)
    with lake_to_write(lake):
        forget(lake, session, file)
        seal.recover(lake)
        refuse_known(lake, session, file)
        with _whole(lake, session, file, first) as writer, reading(file):
            _import(good, lake, named, writer, result, progress)
        if not result.total:
            raise WrongFile(result.skipped[0] if result.skipped else f"{file}: has no rows")
    return result


def _pair(symbol: str) -> str:
    """Read the argument ``symbol``."""
    name = values.read(values.symbol, symbol, "symbol")
    if not re.fullmatch(r"[^/]+/[^/]+", name):
        raise ConfigError(f"symbol: {values.shown(symbol)} is not allowed; allowed is a base and a quote, as BTC/USD")
    return name


@contextmanager
def _whole(lake: Path, session: str, file: Path, found: Found) -> Iterator[HistoryWriter]:
    """Write a file's session: as a whole, or not at all."""
    try:
        with history_writer(lake, session, found.origin, file=file.name, format=found.format) as writer:
            try:
                yield writer
            except BaseException:
                # Half a file is of no use, and the file is still there.
                writer.discard()
                raise
            if not writer.rows:
                writer.discard()
    except BaseException:
        forget(lake, session, file)
        raise


def _import(
    good: list[Found],
    lake: Path,
    named: str | None,
    writer: HistoryWriter,
    result: ImportResult,
    progress: OnProgress,
) -> None:
    known = Lake(lake).symbols()

    def symbol(name: str) -> str:
        return named or symbol_of(name, known)

    done = 0
    for found in good:
        ends: dict[tuple[str, str], int] = {}
        try:
            for piece in found.pieces(symbol):
                done += piece.size
                _write(piece, writer, ends)
                counts = result.rows.setdefault(piece.table, {})
                counts[piece.symbol] = counts.get(piece.symbol, 0) + piece.rows.height
                progress(done, 0, "bytes")
        except WrongFile as error:
            # Of a file in a zip that turns bad in its middle a part would stay, so all of the zip is given up.
            if ends or len(good) == 1:
                raise
            result.skipped.append(str(error))


def _write(piece: Piece, writer: HistoryWriter, ends: dict[tuple[str, str], int]) -> None:
    """Write a piece; it reaches from the end of the one before to its last row."""
    if not piece.rows.height:
        return
    clock = "interval_begin" if piece.table == "ohlc" else "ts_event"
    times = piece.rows.select(
        begin=pl.col(clock).dt.epoch("ns").min(), end=pl.col("ts_event").dt.epoch("ns").max()
    ).row(0)
    key = piece.table, piece.symbol
    begin, end = min(times[0], ends.get(key, times[0])), times[1] + (piece.table == "trades")
    ends[key] = end
    added = Range(piece.table, piece.symbol, begin, end, piece.rows.height)
    writer.write(piece.table, piece.rows, [added])


def _session(file: Path, symbol: str | None) -> str:
    """Name the session of a file by its content, and by the pair that it was said to be of."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update((symbol or "").encode())
    # Its time tells nothing, so it is the same for all: readers order imported rows by the exchange's times.
    return session_of(digest.digest(), 0)


def sentence(result: ImportResult) -> str:
    """What was imported, for people."""
    parts = [
        f"{counted(sum(symbols.values()), CHANNELS[table] if table == 'trades' else 'candle')} of "
        f"{counted(len(symbols), 'pair')}"
        for table, symbols in result.rows.items()
    ]
    return f"{result.file}: {result.format}, {', '.join(parts)}, origin {result.origin}"

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
from krakpot.history.formats import (
    FORMATS,
    Format,
    Found,
    Piece,
    WrongFile,
    check,
    reading,
    recognise,
    symbol_of,
    symbol_of_file,
)
from krakpot.history.writer import CHANNELS, HistoryWriter, Range, history_writer
from krakpot.lake import seal
from krakpot.lake.content import forget, session_of
from krakpot.lake.folder import NAMED_MAX
from krakpot.lake.format import lake_to_write
from krakpot.lake.lake import Lake
from krakpot.lake.ledger import IMPORTED
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
    lake: str | Path,
    file: str | Path,
    *,
    format: Format | None = None,  # noqa: A002  # as the option is called
    symbol: str | None = None,
    progress: OnProgress = no_progress,
) -> ImportResult:
    """Put the trades or candles of one file into a lake.

    Parameters
    ----------
    lake
        Folder of the lake; it is made if it does not exist.
    file
        Kraken's downloadable trades or OHLCVT (a CSV, or a zip of many), Tardis' trades (CSV, also .gz), or trades of
        CryptoHFTData (Parquet, also .zst).
    format
        What the file must be: ``"kraken-trades"``, ``"kraken-ohlcvt"``, ``"tardis"``, ``"cryptohftdata"``. None:
        whatever it is.
    symbol
        The pair of the file, where its name does not tell for certain: ``"BTC/USD"``.
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
    >>> krakpot.import_file("lake", "XBTUSD.csv").rows    # doctest: +SKIP
    {'trades': {'BTC/USD': 812345}}

    """
    out, path = values.read(values.folder, lake, "lake"), values.read(values.file, file, "file")
    if out.is_file():
        sentence = (
            f"lake: {out} is a file, no folder; the lake comes first: import_file(lake, file), krakpot import LAKE"
        )
        raise ConfigError(f"{sentence} FILES")
    wanted: Any = None if format is None else values.read(values.word_of(FORMATS), format, "format")
    named = None if symbol is None else symbol_of(_pair(symbol), [])
    parts = recognise(path)
    good = [(place, found) for place, found in parts if isinstance(found, Found)]
    skipped = [str(found) for _, found in parts if isinstance(found, WrongFile)]
    if not good:
        raise WrongFile(skipped[0])
    for place, found in good:
        check(place, found, wanted)
    if named is not None and len(good) > 1:
        raise ConfigError(f"{path}: has {len(good)} files, so symbol cannot name the pair of all; leave it out")
    first = good[0][1]
    with reading(path):
        session = _session(path)
    result = ImportResult(path, session, first.format, first.origin, skipped=skipped)
    with lake_to_write(out):
        forget(out, session, path)
        seal.recover(out)
        _refuse_known(out, session, path)
        with _whole(out, session, path, first) as writer, reading(path):
            _import(good, out, named, writer, result, progress)
        if not result.total:
            raise WrongFile(result.skipped[0] if result.skipped else f"{path}: has no rows")
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


class _Pairs:
    """The pairs of a file: by the names that are in it, or as they were said to be."""

    def __init__(self, place: str, found: Found, known: list[str], named: str | None, *, alone: bool) -> None:
        """``known`` are symbols of the lake; ``named`` is the argument ``symbol``; ``alone``: it could be given."""
        self.place = place
        self.found = found
        self.known = known
        self.named = named
        self.cure = "name it with --symbol, as BTC/USD" if alone else "unpack it, and name the pair with --symbol"
        self._names: set[str] = set()

    def __call__(self, name: str) -> str:
        """The symbol of the feed of a name in the file; ``WrongFile`` if that is not certain."""
        if self.named is not None and not self.found.by_column:
            return self.named
        self._names.add(name)
        try:
            found = (symbol_of if self.found.by_column else symbol_of_file)(name, self.known)
        except WrongFile as error:
            if self.named is None:
                raise WrongFile(f"{self.place}: {error}; {self.cure}") from None
            found = self.named
        if self.named is not None and (found != self.named or len(self._names) > 1):
            sentence = (
                f"its column symbol says {', '.join(sorted(self._names))}, so --symbol cannot call it {self.named}"
            )
            raise WrongFile(f"{self.place}: {sentence}; leave it out")
        return found


def _refuse_known(out: Path, session: str, file: Path) -> None:
    """``ConfigError`` if the file is in the lake, which it may be as another pair."""
    lake = Lake(out)
    if session in lake.sessions():
        added = lake.ledger().filter(pl.col("session") == session, pl.col("kind") == IMPORTED)
        pairs = _named(added.select("symbol").unique().collect()["symbol"].sort().to_list())
        sentence = f"{file}: is in the lake {out} already, as {pairs} (session {session})"
        raise ConfigError(f"{sentence}; nothing was added; to have it as another pair, import it into another lake")


def _named(symbols: list[str]) -> str:
    """``BTC/USD``, ``2 pairs (BTC/USD, ETH/USD)``."""
    if len(symbols) == 1:
        return symbols[0]
    more = ", …" if len(symbols) > NAMED_MAX else ""
    return f"{counted(len(symbols), 'pair')} ({', '.join(symbols[:NAMED_MAX])}{more})"


def _import(
    good: list[tuple[str, Found]],
    lake: Path,
    named: str | None,
    writer: HistoryWriter,
    result: ImportResult,
    progress: OnProgress,
) -> None:
    known = Lake(lake).symbols()

    done = 0
    for place, found in good:
        symbol = _Pairs(place, found, known, named, alone=len(good) == 1)
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


def _session(file: Path) -> str:
    """Name the session of a file by its content: whatever its name and the pair that it is said to be of."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    # Its time tells nothing, so it is the same for all: readers order imported rows by the exchange's times.
    return session_of(digest.digest(), 0)


def sentence(result: ImportResult) -> str:
    """What was imported, for people."""
    parts = [
        f"{counted(sum(symbols.values()), CHANNELS[table] if table == 'trades' else 'candle')} of "
        f"{_named(list(symbols))}"
        for table, symbols in result.rows.items()
    ]
    return f"{result.file}: {result.format}, {', '.join(parts)}, origin {result.origin}"

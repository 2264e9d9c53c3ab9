"""``krakpot.export``: a lake, or a part of it, as files that another tool loads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from krakpot import _core, values
from krakpot.errors import ConfigError, counted
from krakpot.exports.hftbacktest import export_hftbacktest
from krakpot.exports.nautilus import export_nautilus, joined
from krakpot.exports.output import ExportReport, Output, file_symbol
from krakpot.exports.pieces import Gap, Recorded
from krakpot.exports.tables import FORMS, Range, export_tables
from krakpot.exports.tardis import export_tardis
from krakpot.lake.folder import NAMED_MAX
from krakpot.lake.format import FEED, ORIGIN_TABLES, ORIGINS, UNREADABLE, Origin, moment, unreadable
from krakpot.lake.lake import Lake
from krakpot.lake.origin import Origins, origins_of
from krakpot.lake.sample import one_of
from krakpot.values import ExportFormat, Time, shown, time_range
from krakpot.work import OnProgress, no_progress

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
BookChannel = Literal["book", "level3"]
NautilusVersion = Literal[1, 2]
TABLES = tuple(table for table in _core.TABLES if table != "frames")
"""Tables that are exported unless others are named."""


def export(
    lake: Lake | str | Path,
    to: ExportFormat,
    out: str | Path,
    symbols: str | Iterable[str] | None = None,
    start: Time | None = None,
    end: Time | None = None,
    *,
    channel: BookChannel = "book",
    tables: str | Iterable[str] | None = None,
    depth: int | None = None,
    origin: Origins = FEED,
    nautilus_version: NautilusVersion = 2,
    overwrite: bool = False,
    progress: OnProgress = no_progress,
) -> ExportReport:
    """Write a lake, or a part of it, as files that another tool loads.

    No file crosses a gap of the recording as if nothing were missing; ``export.json`` in the folder says what was
    written and what was left out.

    Parameters
    ----------
    lake
        A lake, or its folder.
    to
        The format: ``"hftbacktest"``, ``"nautilus"``, ``"tardis"``, ``"csv"``, ``"arrow"`` or ``"parquet-us"``.
    out
        The folder for the files: empty or new.
    symbols
        One symbol or pattern (``"BTC/*"``), several of them, or None for all.
    start, end
        Range of receive times, [start, end); None: no bound.
    channel
        Which book: ``"book"``, or ``"level3"`` for every order (hftbacktest, nautilus).
    tables
        Which tables (csv, arrow, parquet-us); None: all except ``frames``.
    depth
        Levels of ``book_snapshot_N`` (tardis); None: no such files.
    origin
        Where trades and candles come from, as for readers (csv, arrow, parquet-us): ``"feed"``, ``("feed", "rest")``,
        ``"all"``. The notes count the rows that are left out.
    nautilus_version
        Version of the catalog (nautilus): 2, or 1 for the stable releases.
    overwrite
        Whether to replace the files of an export that is in the folder.
    progress
        Called with the number of rows that were taken so far.

    Returns
    -------
    ExportReport
        ``files``, ``gaps`` and ``notes``: what is in ``export.json``.

    Raises
    ------
    ConfigError
        For a format, symbol, time or option that does not exist, a folder with other files, and if there is nothing in
        the range.
    StorageError
        If a part cannot be read, or a file cannot be written.

    Examples
    --------
    >>> krakpot.export("data", "hftbacktest", "npz", "BTC/USD", channel="level3")    # doctest: +SKIP

    """
    if to not in FORMATS:
        raise ConfigError(f"to={shown(to)}: there is no such format; formats: {', '.join(FORMATS)}")
    one_of("channel", channel, get_args(BookChannel))
    one_of("nautilus_version", nautilus_version, get_args(NautilusVersion))
    if depth is not None and depth not in range(1, _core.LIMITS["DEPTH_MAX"] + 1):
        raise ConfigError(f"depth={shown(depth)}; allowed: 1 to {_core.LIMITS['DEPTH_MAX']}")
    names = _tables(tables)
    origins = _origins(to, names, origin)
    begin, until = time_range(start, end)
    opened = lake if isinstance(lake, Lake) else Lake(lake)
    folder = values.read(values.folder, out, "out")
    chosen = Range(None if symbols is None else opened.matching(symbols), begin, until)
    wanted = chosen.symbols or opened.symbols()
    coverage = opened.coverage().filter(pl.col("symbol").is_in(wanted))
    book = "book" if to == "tardis" else channel
    absent = [] if to in FORMS else _without(coverage, to, book, wanted)
    if to not in FORMS:
        _distinct(to, wanted)
    options = _options(to, chosen, names, channel, depth, nautilus_version, origins)
    left = _left_out(opened, to, names, chosen, wanted, origins)
    output = Output(ExportReport(to, str(opened.path), str(folder), options), overwrite=overwrite)
    if absent:
        some = ", ".join(absent[:NAMED_MAX]) + (", …" if len(absent) > NAMED_MAX else "")
        output.report.notes.append(f"{book} was not recorded of {counted(len(absent), 'symbol')}: {some}")
    output.report.notes += left
    total = 0

    def done(rows: int) -> None:
        nonlocal total
        total += rows
        progress(total, 0, "rows")

    if to == "hftbacktest":
        export_hftbacktest(opened, output, wanted, channel, begin, until, done)
    elif to == "nautilus":
        export_nautilus(opened, output, wanted, channel, begin, until, nautilus_version, done)
    elif to == "tardis":
        export_tardis(opened, output, wanted, begin, until, depth, done)
    else:
        output.gaps(_gaps(opened, coverage, names, chosen))
        export_tables(opened, output, names, chosen, origins, to, done)
    if not output.report.files:
        output.discard()
        raise ConfigError("; ".join([_nothing(coverage), *left]))
    output.report.complete = True
    output.save()
    return output.report


def _tables(tables: str | Iterable[str] | None) -> tuple[str, ...]:
    """Names of tables that were given; ``ConfigError`` for one that does not exist."""
    if tables is None:
        return TABLES
    if not isinstance(tables, Iterable):
        raise ConfigError(f"tables: {shown(tables)} is not allowed; allowed is the name of a table, or several")
    names = (tables,) if isinstance(tables, str) else tuple(tables)
    for name in names:
        if name not in _core.TABLES:
            raise ConfigError(f"tables: there is no table {shown(name)}; tables: {', '.join(_core.TABLES)}")
    return names


def _origins(to: str, tables: tuple[str, ...], origin: Origins) -> tuple[Origin, ...]:
    """Read the argument ``origin``; ``ConfigError`` where it has no effect."""
    origins = origins_of("trades", origin)
    if origins != (FEED,) and (to not in FORMS or not set(tables) & set(ORIGIN_TABLES)):
        what = f"{to} has" if to not in FORMS else f"{', '.join(tables)}: these tables have"
        raise ConfigError(f"origin: {what} rows of the feed only; leave it out")
    return origins


def _options(
    to: str,
    chosen: Range,
    tables: tuple[str, ...],
    channel: str,
    depth: int | None,
    version: int,
    origins: tuple[Origin, ...],
) -> dict[str, object]:
    """What decides the files of a format, for the manifest."""
    times = {name: None if ts is None else moment(ts) for name, ts in (("start", chosen.start), ("end", chosen.end))}
    own: dict[str, dict[str, object]] = {
        "hftbacktest": {"channel": channel},
        "nautilus": {"channel": channel, "nautilus_version": version},
        "tardis": {"depth": depth},
    }
    return {"symbols": chosen.symbols, **times, **own.get(to, {"tables": list(tables), "origin": list(origins)})}


def _without(coverage: pl.DataFrame, to: str, channel: str, symbols: list[str]) -> list[str]:
    """Symbols without the book that a format needs; ``ConfigError`` if none has it."""
    held = sorted(set(coverage["channel"]))
    if channel not in held:
        whose = symbols[0] if len(symbols) == 1 else "these symbols"
        has = f"; recorded: {', '.join(held)}" if held else ""
        raise ConfigError(f"the channel {channel} of {whose} was not recorded, and {to} needs it{has}")
    there = set(coverage.filter(channel=channel)["symbol"])
    return [symbol for symbol in symbols if symbol not in there]


def _left_out(
    lake: Lake, to: str, tables: tuple[str, ...], chosen: Range, symbols: list[str], origins: tuple[Origin, ...]
) -> list[str]:
    """Sentences about rows of origins that are not exported."""
    held = lake.coverage(origin="all").filter(pl.col("symbol").is_in(symbols))
    cure = '--origin all (origin="all") exports them' if to in FORMS else f"{to} has those of the feed only"
    notes = []
    for channel, table in _core.CHANNELS.items():
        # Other formats have the trades.
        if table not in (set(tables) & set(ORIGIN_TABLES) if to in FORMS else {"trades"}):
            continue
        of_channel = set(held.filter(channel=channel)["origin"])
        for one in ORIGINS:
            if one in origins or one not in of_channel:
                continue
            frame = lake.scan(table, chosen.symbols, chosen.start, chosen.end, sources="all", origin=one)
            try:
                count = int(frame.select(pl.len()).collect().item())
            except UNREADABLE as error:
                unreadable(lake.path, error)
            if count:
                notes.append(f"{table}: {counted(count, 'row')} of the origin {one} left out; {cure}")
    return notes


def _distinct(to: str, symbols: list[str]) -> None:
    """``ConfigError`` if two symbols would have the same name in the files of a format."""
    known: dict[str, str] = {}
    for symbol in symbols:
        name = joined(symbol) if to == "nautilus" else file_symbol(symbol)
        if (other := known.setdefault(name, symbol)) != symbol:
            sentence = f"symbols: {other} and {symbol} have the same name in files of {to}, {name}; export one of them"
            raise ConfigError(sentence)


def _gaps(lake: Lake, coverage: pl.DataFrame, tables: tuple[str, ...], chosen: Range) -> list[Gap]:
    """Times in which a channel that fills one of the tables was not covered."""
    recorded = Recorded(lake.look(["ledger"]))
    filled = {channel for channel, table in _core.CHANNELS.items() if table in tables}
    return [
        gap
        for channel, symbol in coverage.select("channel", "symbol").unique().sort("channel", "symbol").iter_rows()
        if channel in filled
        for gap in recorded.gaps(channel, symbol, recorded.covered(channel, symbol, chosen.start, chosen.end))
    ]


def _nothing(coverage: pl.DataFrame) -> str:
    """Why no file was written, and what there is."""
    if coverage.is_empty():
        return "there is nothing to export: nothing of these symbols is recorded yet"
    begin, end = coverage.select(pl.col("ts_from").dt.epoch("ns").min(), pl.col("ts_to").dt.epoch("ns").max()).row(0)
    known = f"these symbols were recorded from {moment(begin)} to {moment(end)}"
    return f"there is nothing to export in this range; {known}"

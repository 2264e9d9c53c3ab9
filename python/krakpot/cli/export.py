"""The command export: a lake as files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from krakpot import _core, values
from krakpot.cli.command import (
    FOLDER,
    PATTERNS,
    TIME,
    Command,
    Value,
    json_option,
    lake_argument,
    print_json,
    refuse,
)
from krakpot.errors import counted

FORMATS = get_args(values.ExportFormat)
ORIGINS = ("feed", "rest", "kraken-csv", "tardis", "cryptohftdata", "all")
OPTIONS = {
    "--channel": ("hftbacktest", "nautilus"),
    "--tables": ("csv", "arrow", "parquet-us"),
    "--origin": ("csv", "arrow", "parquet-us"),
    "--depth": ("tardis",),
    "--nautilus-version": ("nautilus",),
}
"""Options that only some formats have."""


@click.command(cls=Command, interrupted="files that are complete are in export.json; run it again with --overwrite")
@lake_argument
@click.option(
    "--to", required=True, type=Value(values.word_of(FORMATS), "FORMAT"), help=f"One of {', '.join(FORMATS)}."
)
@click.option("--out", required=True, type=FOLDER, help="Folder for the files: empty or new.")
@click.option("--symbols", default="*", type=PATTERNS, show_default=True, help="Patterns of pairs: BTC/*,ETH/USD.")
@click.option("--start", type=TIME, help="Only what was received from this time on; without a zone it is UTC.")
@click.option("--end", type=TIME, help="Only what was received before this time.")
@click.option(
    "--channel",
    default="book",
    type=Value(values.word_of(("book", "level3")), "WORD"),
    show_default=True,
    help="hftbacktest, nautilus: the book, or level3 for every order.",
)
@click.option(
    "--tables",
    type=Value(values.words_of(_core.TABLES), "TABLES"),
    help="csv, arrow, parquet-us: book,trades. Default: all but frames.",
)
@click.option(
    "--depth",
    type=Value(values.whole_number(1, 1000), "LEVELS"),
    help="tardis: also book_snapshot files with so many levels a side.",
)
@click.option(
    "--origin",
    default="feed",
    type=Value(values.words_of(ORIGINS), "ORIGINS"),
    show_default=True,
    help="csv, arrow, parquet-us: where trades and candles come from: feed,rest, or all.",
)
@click.option(
    "--nautilus-version",
    default=2,
    type=Value(values.number_of((1, 2)), "NUMBER"),
    show_default=True,
    help="nautilus: version of the catalog; 1 for the stable releases of nautilus_trader.",
)
@click.option("--overwrite", is_flag=True, help="Replace the files of an export that is in the folder.")
@json_option
def export(
    lake: Path, to: Any, out: Path, symbols: tuple[str, ...], start: int | None, end: int | None, channel: Any,
    tables: tuple[str, ...] | None, depth: int | None, origin: tuple[str, ...], nautilus_version: Any,
    *, overwrite: bool, json_: bool,
) -> int:  # fmt: skip
    """Write a lake as files of another tool.

    Formats: hftbacktest, nautilus, tardis, csv, arrow, parquet-us. No file crosses a gap of the recording as if
    nothing were missing; export.json beside the files says what is in them and what was left out.

    \b
    krakpot export data --to hftbacktest --channel level3 --symbols BTC/USD --out npz
    krakpot export data --to tardis --depth 25 --start 2026-11-22 --end 2026-11-23 --out tardis
    krakpot export data --to parquet-us --tables book,trades --out spark
    """
    from krakpot.cli.bar import Bar
    from krakpot.exports import export as module

    for flag, formats in OPTIONS.items():
        if to not in formats:
            refuse({flag}, f"with --to {to}")
    with Bar(f"export to {to}", quiet=json_) as bar:
        report = module.export(
            lake, to, out, symbols, start, end, channel=channel, tables=tables, depth=depth,
            origin="all" if "all" in origin else origin, nautilus_version=nautilus_version, overwrite=overwrite,
            progress=bar,
        )  # fmt: skip
    if json_:
        print_json(report.to_dict())
        return 0
    click.echo(f"{counted(len(report.files), 'file')}, {counted(report.rows, 'row')} in {out}")
    for note in report.notes:
        click.echo(f"note: {note}")
    if report.gaps:
        click.echo(f"{counted(len(report.gaps), 'gap')} of the recording left out; export.json names them")
    return 0

"""The command ``plot``: pictures of a lake as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from krakpot import values
from krakpot.cli.command import (
    FILE,
    TIME,
    Command,
    Value,
    json_option,
    lake_argument,
    print_json,
    refuse,
)
from krakpot.errors import ConfigError

RANGE = {"--start", "--end"}
OPTIONS = {
    "book": {"--symbols", "--depth", "--channel", *RANGE},
    "spread": {"--symbols", "--channel", *RANGE},
    "coverage": {"--symbols", "--channel", *RANGE},
    "ladder": {"--symbols", "--depth", "--channel", "--at"},
    "queue": {"--symbols", "--depth", "--at"},
}
"""Each picture, and the options that it takes."""
PICTURE = Value(values.word_of(tuple(OPTIONS)), "PICTURE")
DEPTH = Value(values.whole_number(1, 1000), "LEVELS")


@click.command(cls=Command, interrupted="the picture was not written")
@click.argument("picture", type=PICTURE)
@lake_argument
@click.option("--symbols", help="The pair: BTC/USD. Of coverage also patterns; default there: all.")
@click.option("--at", type=TIME, help="Of a ladder and a queue: the time; without a zone it is UTC.")
@click.option("--start", type=TIME, help="Only what was received from this time on. Default: all.")
@click.option("--end", type=TIME, help="Only what was received before this time.")
@click.option(
    "--depth",
    type=DEPTH,
    help="Levels per side: how far the prices reach. Default: 50 of a book, 20 of a ladder, 10 of a queue.",
)
@click.option("--channel", help="book or level3; of coverage any one. Default: book; of coverage all.")
@click.option("--out", required=True, type=FILE, help="The file: .png, .svg or .pdf; .html or .json is interactive.")
@json_option
def plot(picture: str, lake: Path, symbols: str | None, out: Path, *, json_: bool, **options: Any) -> int:
    """Draw a picture of a lake.

    PICTURE is `book` (quantities at each price over time, best prices, trades), `spread` (and the mid price, over
    time), `ladder` (the levels at one time), `queue` (the orders of level 3 at one time), or `coverage` (what was
    recorded, and why it ended). What was not recorded is drawn as a gap. An .html file is a page that can be zoomed and
    needs no network.

    \b
    krakpot plot book data --symbols BTC/USD --out book.png
    krakpot plot ladder data --symbols BTC/USD --at 2026-08-02T03:36:00.250 --out ladder.svg
    krakpot plot queue data --symbols BTC/USD --at 2026-08-02T03:36:00.250 --out queue.html
    krakpot plot coverage data --out coverage.html
    """
    from krakpot.lake.lake import Lake
    from krakpot.lake.plot import FILES, picture_file

    others = {flag for flags in OPTIONS.values() for flag in flags} - OPTIONS[picture]
    refuse(others, f"on a picture of {picture}")
    needed = {"--symbols": symbols, "--at": options["at"]} if picture != "coverage" else {}
    for flag, value in needed.items():
        if flag in OPTIONS[picture] and value is None:
            raise click.UsageError(f"a picture of {picture} needs {flag}")
    endings = [*FILES[False], *FILES[True]]
    if out.suffix not in endings:
        allowed = values.alternatives(endings)
        raise ConfigError(f"--out: {values.shown(str(out))} is not allowed; allowed is a name that ends in {allowed}")
    given = {name: value for name, value in options.items() if value is not None}
    if symbols is not None:
        given["symbols" if picture == "coverage" else "symbol"] = symbols
    interactive = out.suffix in FILES[True]
    picture_file(out, "--out", interactive=interactive)
    getattr(Lake(lake).plot, picture)(**given, interactive=interactive, save=out)
    if json_:
        print_json({"picture": picture, "out": str(out)})
    else:
        click.echo(f"picture: {out}")
    return 0

"""Commands that bring history into a lake: ``backfill``, ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from krakpot import values
from krakpot.cli.command import (
    DURATION,
    FILE,
    FOUND_WRONG,
    PATTERNS,
    TIME,
    Command,
    Value,
    json_option,
    lake_argument,
    print_json,
)
from krakpot.config import REST_URL
from krakpot.errors import ConfigError

ADDRESS = Value(values.rest_url, "ADDRESS")


@click.command(cls=Command, interrupted="what was fetched is in the lake; the same command continues")
@lake_argument
@click.option(
    "--symbols", type=PATTERNS, help="Patterns of pairs: BTC/*,ETH/USD. Default: all of the lake; needed with --since."
)
@click.option("--since", type=TIME, help="Fetch the history from this time on; without a zone it is UTC.")
@click.option("--until", type=TIME, help="Up to this time. Default: now.")
@click.option("--url", default=REST_URL, type=ADDRESS, show_default=True, help="Address of Kraken's REST.")
@click.option(
    "--pace", default="1s", type=DURATION, show_default=True, help="From one request to the next; Kraken allows 1s."
)
@json_option
def backfill(
    lake: Path, symbols: tuple[str, ...] | None, since: int | None, until: int | None, url: str, pace: float,
    *, json_: bool,
) -> int:  # fmt: skip
    """Fetch trades that the lake lacks from Kraken's REST.

    Without --since it heals holes: it fetches the trades between the first and the last recorded one that are missing
    by their ids. With --since it fetches the history of a time; this makes the bars of that time whole. What is added
    has the origin `rest`; readers give it when they are asked: krakpot.Lake("data").trades(origin=("feed", "rest")).
    Exit 1: trades are missing that REST does not have either.

    \b
    krakpot backfill data                                      heal the holes of a recording
    krakpot backfill data --symbols BTC/USD --since 2026-11-01
    """
    from krakpot.cli.bar import Bar
    from krakpot.history import backfill as module

    with Bar("backfill", quiet=json_) as bar:
        result = module.backfill(
            lake,
            symbols,
            since=since,
            until=until,
            url=url,
            pace=pace,
            progress=bar,
            log=bar.trouble,
        )
    if json_:
        print_json(result.to_dict())
    else:
        for sentence in module.sentences(result):
            click.echo(sentence)
        if not result.session:
            click.echo("no trades are missing by their ids" if since is None else "the lake has all of this time")
    return 0 if result.whole else FOUND_WRONG


FORMATS = ("kraken-trades", "kraken-ohlcvt", "tardis", "cryptohftdata")


@click.command(
    "import",
    cls=Command,
    interrupted="the file that was being read is not in the lake, those before it are; run it again",
)
@lake_argument
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--format",
    "form",
    type=Value(values.word_of(FORMATS), "FORMAT"),
    help=f"{', '.join(FORMATS)}. Default: what it is.",
)
@click.option("--symbol", help="The pair of the file, where its name does not tell for certain: BTC/USD.")
@json_option
def import_(lake: Path, files: tuple[Path, ...], form: Any, symbol: str | None, *, json_: bool) -> int:
    """Put files with the history of Kraken into a lake.

    FILES are Kraken's downloadable trades or OHLCVT (.csv, or .zip with many), Tardis' trades (.csv, .csv.gz), or
    trades of CryptoHFTData (.parquet). Rows get an origin (kraken-csv, tardis, cryptohftdata) and are never mixed with
    what was recorded: krakpot.Lake("data").trades(origin="kraken-csv"). A file is in a lake once. Exit 1: a file was
    left out.

    \b
    krakpot import data XBTUSD.csv
    krakpot import data Kraken_OHLCVT.zip --format kraken-ohlcvt
    """
    from krakpot.cli.bar import Bar
    from krakpot.history import imports as module

    if symbol is not None and len(files) > 1:
        raise ConfigError("--symbol names the pair of one file; give one file, or leave it out")
    results, failed = [], []
    for path in files:
        try:
            with Bar(f"import {path}", quiet=json_) as bar:
                result = module.import_file(lake, path, format=form, symbol=symbol, progress=bar)
        except ConfigError as error:
            if len(files) == 1:
                raise
            # One bad file does not hide the others.
            failed.append({"file": str(path), "error": str(error)})
            click.echo(f"krakpot: {error}", err=True)
            continue
        results.append(result)
        if not json_:
            click.echo(module.sentence(result))
        for reason in result.skipped:
            click.echo(f"left out: {reason}", err=True)
    if json_:
        print_json({"lake": str(lake), "files": [result.to_dict() for result in results], "failed": failed})
    return FOUND_WRONG if failed or any(result.skipped for result in results) else 0

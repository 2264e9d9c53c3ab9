"""Commands that bring history into a lake: ``backfill``."""

from __future__ import annotations

from pathlib import Path

import click

from krakpot import values
from krakpot.cli.command import (
    DURATION,
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

    Without --since it heals holes: it fetches the trades that were made while nothing was recorded, by their ids. With
    --since it fetches the history of a time. What is added has the origin `rest`; readers give it when they are asked:
    krakpot.Lake("data").trades(origin=("feed", "rest")). Exit 1: trades are missing that REST does not have either.

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
            log=(lambda _: None) if json_ else lambda line: click.echo(line, err=True),
        )
    if json_:
        print_json(result.to_dict())
    else:
        for sentence in module.sentences(result):
            click.echo(sentence)
        if not result.session:
            click.echo("no trades are missing by their ids" if since is None else "the lake has all of this time")
    return 0 if result.whole else FOUND_WRONG

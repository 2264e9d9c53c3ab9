"""``krakpot integrity``: what is known of some pairs in a period, one line for each."""

from __future__ import annotations

from pathlib import Path

import click

from krakpot.cli.command import FOUND_WRONG, PATTERNS, TIME, Command, json_option, lake_argument, print_json


@click.command(cls=Command)
@lake_argument
@click.option("--symbols", type=PATTERNS, default="*", help="Patterns of pairs: BTC/*,ETH/USD. Default: all.")
@click.option("--start", type=TIME, help="Begin of the period, by receive times; without a zone it is UTC.")
@click.option("--end", type=TIME, help="End of the period. Default: all that is covered.")
@json_option
def integrity(lake: Path, symbols: tuple[str, ...], start: int | None, end: int | None, *, json_: bool) -> int:
    """Say what was recorded of a period: gaps and checksums.

    Of each pair one line: its channels with the share of the period that was recorded, the longest gaps and why they
    began, the checksums as the recorder compared them (`krakpot verify` computes them again), and the trades by their
    origin. Exit 1: something is missing or was wrong.

    \b
    krakpot integrity data --symbols BTC/USD --start 2026-08-02 --end 2026-08-03
    krakpot integrity data --symbols 'BTC/*' --json
    """
    from krakpot.lake.lake import Lake

    opened: Lake = Lake(lake)
    found = opened.integrity(list(symbols), start, end)
    if json_:
        print_json({"integrity": [one.to_dict() for one in found]})
    else:
        for one in found:
            click.echo(str(one))
    return 0 if all(one.whole for one in found) else FOUND_WRONG

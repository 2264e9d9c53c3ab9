"""Commands on level-3 queues: order, would-fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from krakpot import values
from krakpot.cli.command import FOUND_WRONG, PATTERNS, TIME, Command, Value, json_option, lake_argument, print_json
from krakpot.values import OrderSide


@click.command(cls=Command)
@lake_argument
@click.argument("order_id")
@click.option("--symbols", type=PATTERNS, help="Its pair: BTC/USD. Without it all pairs are searched.")
@click.option("--start", type=TIME, help="Only what was received from this time on; a narrow range is faster.")
@click.option("--end", type=TIME, help="Only what was received before this time.")
@json_option
def order(
    lake: Path, order_id: str, symbols: tuple[str, ...] | None, start: int | None, end: int | None, *, json_: bool
) -> int:
    """Show one order of level 3, from the first place to its end.

    Its place in the queue over time, why it ended, how much of it traded.

    \b
    krakpot order data OTCFZG-YOE2Q-LQKNM3
    krakpot order data OTCFZG-YOE2Q-LQKNM3 --symbols BTC/USD --start 2026-11-22 --json
    """
    from krakpot.lake.lake import Lake

    found = Lake(lake).order(order_id, symbols, start, end)
    if json_:
        print_json(found.to_dict())
        return 0
    for line in found.lines():
        click.echo(line)
    return 0


@click.command("would-fill", cls=Command)
@lake_argument
@click.argument("symbol")
@click.argument("side", type=Value(values.word_of(get_args(OrderSide)), "SIDE"))
@click.argument("price")
@click.argument("qty")
@click.argument("at", type=TIME)
@click.option("--until", type=TIME, help="The last time that counts. Default: as long as the book is known.")
@click.option(
    "--channel",
    type=Value(values.word_of(("level3", "book")), "WORD"),
    help="level3: the exact queue; book: two bounds. Default: level3 where it was recorded.",
)
@json_option
def would_fill(
    lake: Path,
    symbol: str,
    side: Any,
    price: str,
    qty: str,
    at: int,
    until: int | None,
    channel: Any,
    *,
    json_: bool,
) -> int:
    """Say whether a resting order would have filled, with proof.

    SIDE is buy or sell; AT is when the order reached the exchange, by the exchange's time, UTC. Needs trades of the
    pair and its level 3 or its book. Exit 1: it is not known; it says why.

    \b
    krakpot would-fill data BTC/USD buy 63380.8 0.1 2026-08-02T03:36:00 --until 2026-08-02T03:41:00
    krakpot would-fill data BTC/USD sell 63390 0.5 2026-08-02T03:36:00 --channel book --json
    """
    from krakpot.lake.lake import Lake

    found = Lake(lake).would_fill(symbol, side, price, qty, at, until, channel=channel)
    if json_:
        print_json(found.to_dict())
    else:
        for line in found.lines():
            click.echo(line)
    return FOUND_WRONG if found.outcome in {"unknown", "not recorded"} else 0

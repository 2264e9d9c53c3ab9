"""The command line ``krakpot``."""

from __future__ import annotations

import click

from krakpot import __version__
from krakpot.cli.account import trade
from krakpot.cli.command import Commands
from krakpot.cli.export import export
from krakpot.cli.history import backfill, import_
from krakpot.cli.integrity import integrity
from krakpot.cli.key import key
from krakpot.cli.lake import bars, book, compact, compare, coverage, ingest, recover, skew, verify
from krakpot.cli.live import halt, run
from krakpot.cli.plot import plot
from krakpot.cli.queues import order, would_fill
from krakpot.cli.recording import pairs, record, top
from krakpot.cli.replay import replay
from krakpot.cli.settings import completion, config
from krakpot.cli.simulated import capacity, demo, exchange
from krakpot.cli.trading import backtest, paper
from krakpot.cli.view import view


@click.group(
    "krakpot",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="krakpot")
@click.pass_context
def main(context: click.Context) -> None:
    """Record Kraken's spot market data feed exactly, prove the record, read it back.

    \b
    krakpot demo                                  everything at once, on the built-in exchange
    krakpot record --symbols 'BTC/*,ETH/USD'      record Kraken into ./data until Ctrl-C
    krakpot verify data                           prove what was recorded, from the files alone

    `krakpot COMMAND --help` has examples. Exit codes: 0 all is well, 1 something was found wrong, 2 wrong use, 130
    interrupted. With --json a command prints one JSON object; of an error {"error": {"kind", "message", "retryable"}}.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    demo, record, top, pairs, exchange, capacity, ingest, backfill, import_, verify, compare, recover, coverage,
    integrity, book, order, would_fill, bars, skew, plot, view, replay, backtest, paper, export, compact, key, trade,
    config, completion,
):  # fmt: skip
    main.add_command(_command)
for _command in (run, halt):
    trade.add_command(_command)

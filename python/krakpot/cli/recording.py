"""Commands around a running recording: ``record``, ``top``, ``pairs``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, TypeVar

import click

from krakpot import __version__, values
from krakpot.cli.command import (
    DURATION,
    FILE,
    FOLDER,
    FOUND_WRONG,
    PATTERNS,
    Command,
    Failure,
    checksums,
    json_option,
    print_json,
    refuse,
)
from krakpot.config import OPTIONS
from krakpot.errors import KrakpotError, counted

T = TypeVar("T")


def recording_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option of a recording that may come from the command line."""
    for option in reversed(OPTIONS.values()):
        if not option.secret:
            switch = option.read is values.flag
            add = click.option(
                option.flag,
                option.field,
                help=f"{option.help} Default: {option.default}.",
                is_flag=switch,
                default=() if option.many else None,
                multiple=option.many,
                metavar=None if switch else option.form,
                shell_complete=FOLDER.shell_complete if option.read is values.folder else None,
            )
            command = add(command)
    return command


class Once:
    """Does something before whichever of several functions is called first: what ended before did not begin."""

    def __init__(self, first: Callable[[], None]) -> None:
        """``first`` is called at most once."""
        self._first: Callable[[], None] | None = first

    def before(self, function: Callable[[T], None]) -> Callable[[T], None]:
        """``function``, with the first call in front."""

        def call(argument: T) -> None:
            if self._first is not None:
                first, self._first = self._first, None
                first()
            function(argument)

        return call


@click.command(cls=Command)
@recording_options
@click.option("--config", "file", type=FILE, help="TOML file with these options. Default: krakpot.toml.")
@json_option
def record(file: Path | None, *, json_: bool, **options: Any) -> int:
    """Record until Ctrl-C, or for a time.

    Options come from the command line, KRAKPOT_* variables (KRAKPOT_DEPTH=1000), krakpot.toml and defaults, in this
    order. Ctrl-C closes the recording in order; nothing is lost.

    \b
    krakpot record                                        all pairs, books of depth 100, trades, tickers
    krakpot record --symbols 'BTC/USD,ETH/*' --for 1h     some pairs, one hour
    krakpot record --depth 1000 --channels book,trade     deeper books, no tickers
    krakpot record --channels book,level3                 every single order as well
    krakpot record --channels book,level3 --channel-symbols level3=BTC/USD     level 3 of one pair, books of all

    Level 3 needs an API key of a Kraken account, with the permission "WebSocket interface - On" and no other, in
    KRAKPOT_API_KEY and KRAKPOT_API_SECRET or in a krakpot.toml that only you can read: never on the command line.
    """
    from krakpot import config as module

    config = module.load(options, file=file)
    from krakpot.cli.screen import Screen, span
    from krakpot.log import LogLine, size
    from krakpot.record import run

    with Screen(
        quiet=json_, json=config.log_format == "json", level=config.log_level, channels=config.channels
    ) as screen:
        words = f"recording {config.url} into {config.out}" + ("" if config.duration else " until Ctrl-C")
        start = LogLine(words, "start", url=config.url, out=str(config.out), version=__version__)
        begun = Once(lambda: screen.log(start))
        try:
            summary = run.record(config, log=begun.before(screen.log), on_status=begun.before(screen.show))
        except KrakpotError as error:
            failure = Failure.of(error)
            if not screen.json or failure is None:
                raise
            screen.log(LogLine(failure.message, "failed", "error", kind=type(error).__name__))
            if json_:
                raise
            return failure.exit_code
    if json_:
        print_json(summary)
        return FOUND_WRONG if summary["unsealed"] else 0
    click.echo(
        f"{counted(summary['frames'], 'message')} and {counted(sum(summary['rows'].values()), 'row')} in "
        f"{span(summary['seconds'])}; "
        f"{checksums(summary['checksums'])}; {summary['unchecked']:,} unchecked; "
        f"{counted(summary['gaps'], 'gap')}; {counted(summary['errors'], 'error')}; "
        f"{size(summary['journal_bytes'])} journalled"
    )
    if summary["backpressure"]["waits"]:
        slow = summary["backpressure"]
        click.echo(
            f"the disk was slower than the feed: {counted(slow['waits'], 'wait')}, {slow['seconds']:,.1f} s in total"
        )
    for what, reason in list(summary["refused"].items())[:20]:
        click.echo(f"refused: {what}: {reason}")
    if summary["unsealed"]:
        click.echo(f"not sealed: {summary['unsealed']}")
        click.echo(f"krakpot recover {config.out}    seals what is safe in the journals")
        return FOUND_WRONG
    click.echo(f"krakpot verify {config.out}    proves it from the files alone")
    return 0


@click.command(cls=Command)
@click.argument("where", default="9100")
@click.option("--every", default="2s", type=DURATION, show_default=True, help="Time between two looks.")
@click.option("--once", is_flag=True, help="One look; exit code 1 if the recorder is not well.")
@json_option
def top(where: str, every: float, *, once: bool, json_: bool) -> int:
    """Show a running recorder, until Ctrl-C.

    WHERE is the port of `krakpot record --metrics` on this machine, or an address. A token comes from
    KRAKPOT_METRICS_TOKEN.

    \b
    krakpot record --metrics 9100 &
    krakpot top                                   the recorder at port 9100 of this machine
    krakpot top https://recorder.example --once   one look at another machine, as a health check
    """
    from krakpot.cli import top as module

    if once or json_:
        refuse({"--every"}, "with --once or --json: there is one look")
    base = values.read(module.address, where, "WHERE")
    token = os.environ.get("KRAKPOT_METRICS_TOKEN", "")
    if not once and not json_:
        module.watch(base, token, every)
    snapshot = module.Snapshot.take(base, token)
    if json_:
        print_json(snapshot.facts())
    else:
        from rich.console import Console

        Console().print(module.panel(snapshot, None, base))
    return 0 if snapshot.healthy else FOUND_WRONG


@click.command(cls=Command)
@click.option("--symbols", default="*", type=PATTERNS, show_default=True, help="Patterns of pairs, with commas.")
@click.option("--exclude", default="", help="Patterns of pairs to leave out.")
@click.option("--lake", type=FOLDER, help="List the pairs of a recorded lake instead.")
@click.option("--url", help=f"Address of the exchange. Default: {OPTIONS['url'].default}.")
@click.option("--table", is_flag=True, help="Show steps and minimums too, as many columns as the terminal is wide.")
@json_option
def pairs(
    symbols: tuple[str, ...], exclude: str, lake: Path | None, url: str | None, *, table: bool, json_: bool
) -> int:
    """List the pairs with their precisions and status.

    \b
    krakpot pairs --symbols 'BTC/*'               what a pattern chooses at Kraken
    krakpot pairs --table | less -S               with steps of prices and quantities, and minimums of an order
    krakpot pairs --lake data                     the pairs that a lake knows
    """
    from krakpot.cli import pairs as module
    from krakpot.lake.format import filling
    from krakpot.lake.lake import Lake

    if lake is not None:
        refuse({"--url"}, "with --lake: the pairs come from the lake")
    if json_:
        refuse({"--table"}, "with --json, which has every column")
    rows = module.pairs(symbols, values.read(values.words, exclude, "--exclude"), lake=lake, url=url)
    if json_:
        print_json({"pairs": rows})
        return 0
    # Whatever reads a pipe can take every column.
    width = get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else sys.maxsize
    for line in module.table(rows, width) if table else module.brief(rows):
        click.echo(line)
    click.echo(counted(len(rows), "pair"))
    if lake is not None and not rows and not Lake(lake).symbols():
        click.echo(f"nothing is recorded in this lake yet; {filling(lake)}")
    return 0

"""Commands around the built-in exchange: ``demo``, ``exchange``, ``capacity``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from krakpot import _core, values
from krakpot.cli.command import (
    DURATION,
    FILE,
    FOLDER,
    FOUND_WRONG,
    PAIRS,
    PORT,
    RATE,
    SEED,
    Command,
    Value,
    json_option,
    print_json,
    refuse,
    with_flag,
)
from krakpot.errors import ConfigError, counted

if TYPE_CHECKING:
    from krakpot.exchange.rest import Key

HISTORY = Value(values.whole_number(0, 10**9), "NUMBER")
STEP_SECONDS = Value(values.number(1, 86_400), "SECONDS")
MULTIPLE = Value(values.number(0.001, 1_000_000), "NUMBER")
LEVEL3_DEPTH = Value(values.number_of(_core.LEVEL3_DEPTHS), "LEVELS")
HOST = Value(values.host, "HOST")
CANCEL, LEDGER = "close-trades", "query-ledger"
"""Permissions: of the second key, and what the first key may beyond what trading needs."""
START_TIMES = "a time from 1970 to 2200, as 2026-11-22 or 2026-11-22T10:00:00Z"


def _start(value: object) -> int:
    """A time at which the built-in exchange can start, in ns."""
    from krakpot.exchange.options import START_MAX

    try:
        ns = values.nanoseconds(str(value))
    except ValueError:
        raise ValueError(START_TIMES) from None
    if not 0 <= ns <= START_MAX:
        raise ValueError(START_TIMES)
    return ns


START = Value(_start, "TIME")


@click.command(cls=Command, interrupted="the demo's folder is incomplete; the next demo replaces it")
@click.option("--for", "duration", default="10s", type=DURATION, show_default=True, help="How long to record.")
@click.option("--pairs", default=200, type=PAIRS, show_default=True, help="Pairs on the built-in exchange.")
@click.option("--rate", default=5000, type=RATE, show_default=True, help="Messages per second that it sends.")
@click.option("--seed", default=1, type=SEED, show_default=True, help="The same seed gives the same market.")
@click.option("--out", type=FOLDER, default="demo", show_default=True, help="Folder of the demo; the lake is in it.")
@json_option
def demo(duration: float, pairs: int, rate: float, seed: int, out: Path, *, json_: bool) -> int:
    """Record the built-in exchange, prove the record, draw it.

    Needs no network. The lake stays in the folder, for you to look at.

    \b
    krakpot demo                                  ten seconds of 200 pairs
    krakpot demo --for 1m --pairs 1450 --rate 10000 --out full     the size of Kraken's full feed
    """
    from krakpot.cli import demo as module

    facts = module.demo(out, seconds=duration, pairs=pairs, rate=rate, seed=seed, quiet=json_)
    if json_:
        print_json(facts)
    return 0 if facts["verify"]["proved"] else FOUND_WRONG


@click.command(cls=Command, interrupted="the exchange is closed")
@click.option("--host", default="127.0.0.1", type=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, type=PORT, show_default=True, help="Port; 0 chooses a free one.")
@click.option("--pairs", default=200, type=PAIRS, show_default=True, help=f"Pairs, up to {_core.PAIRS_MAX}.")
@click.option("--rate", default=1000, type=RATE, show_default=True, help="Messages per second of a full subscription.")
@click.option("--seed", default=1, type=SEED, show_default=True, help="The same seed gives the same market.")
@click.option(
    "--speed", default="1", show_default=True, help="Exchange seconds per second, or 'max': as fast as clients read."
)
@click.option("--for", "duration", type=DURATION, help="Exchange time after which it closes. Default: until Ctrl-C.")
@click.option("--start", type=START, help="Exchange time at the start, RFC 3339. Default: now.")
@click.option("--log", type=FILE, help="Write a line for every frame sent.")
@click.option("--book-delay", default="0", help="Time between making and sending a book message: 5ms.")
@click.option("--book-jitter", default="0", help="Random extra delay, up to this.")
@click.option("--book-conflate", default="0", help="Collect a symbol's changes for this long into one message.")
@click.option("--level3-delay", default="0", help="The same for level3.")
@click.option("--level3-jitter", default="0", help="The same for level3.")
@click.option("--level3-conflate", default="0", help="The same for level3.")
@click.option("--rest-port", default=0, type=PORT, help="Port of REST, for tokens. Default: a free one.")
@click.option("--rest-rate", default=1, type=RATE, show_default=True, help="REST requests per second about one pair.")
@click.option(
    "--history", default=1_000_000, type=HISTORY, show_default=True, help="Trades that REST gives back, of all pairs."
)
@click.option(
    "--api-key", envvar="KRAKPOT_API_KEY", help="Key for tokens, or KRAKPOT_API_KEY. Default: a new one is printed."
)
@click.option("--api-secret", envvar="KRAKPOT_API_SECRET", help="Its secret, base64; better in KRAKPOT_API_SECRET.")
@click.option(
    "--key-file", type=FILE, help="File of the key: read if it is there, else written, for `krakpot trade` and --key."
)
@click.option("--second-key-file", type=FILE, help="The same of a second key of the account.")
@click.option(
    "--second-key-may", help="What the second key may do, with commas between.  [default: close-trades: only cancel]"
)
@click.option("--balance", multiple=True, help="What the account has: USD=50000. Can be repeated.")
@click.option(
    "--account",
    multiple=True,
    help="How the account behaves: 'tier=pro', 'maker=0.1', 'amend_up=keep'. Can be repeated.",
)
@click.option("--fault", multiple=True, help="Inject a fault: 'drop=0.01,channel=book'. Can be repeated.")
@click.option(
    "--origin", multiple=True, help="Let a page of this origin connect: http://127.0.0.1:8765. Can be repeated."
)
@click.option("--faults", is_flag=True, help="List the faults.")
@json_option
def exchange(
    host: str, port: int, pairs: int, rate: float, seed: int, speed: str, duration: float | None, start: int | None,
    log: Path | None, rest_port: int, rest_rate: float, history: int, api_key: str | None, api_secret: str | None,
    key_file: Path | None, second_key_file: Path | None, second_key_may: str | None, balance: tuple[str, ...],
    account: tuple[str, ...], fault: tuple[str, ...], origin: tuple[str, ...], *, faults: bool, json_: bool,
    **pauses: str,
) -> int:  # fmt: skip
    """Serve a simulated exchange that speaks Kraken's v2 protocol.

    A real matching engine with seeded order flow, for demos, tests and load figures.

    \b
    krakpot exchange --port 8080 &
    krakpot record --url ws://127.0.0.1:8080/v2 --for 30s --out lake

    \b
    export KRAKPOT_API_KEY=key KRAKPOT_API_SECRET=c2VjcmV0
    krakpot exchange --port 8080 --rest-port 8081 &
    krakpot record --channels book,level3 --url ws://127.0.0.1:8080/v2 --rest-url http://127.0.0.1:8081 --out lake

    Orders need a key. It writes key files that the commands about accounts accept as they are; the second key below may
    only cancel, for `krakpot trade kill`. Keep them outside of git work trees.

    \b
    krakpot exchange --rest-port 8081 --balance USD=50000 --key-file maker.toml --second-key-file kill.toml &
    krakpot key check maker.toml --url http://127.0.0.1:8081
    krakpot trade kill kill.toml --url http://127.0.0.1:8081 --yes
    """
    from krakpot.exchange import options as module
    from krakpot.exchange.server import PLACE, ExchangeServer, run

    if faults:
        others = {max(param.opts, key=len) for param in click.get_current_context().command.params}
        refuse(others - {"--faults", "--json"}, "with --faults, which only lists them")
        _list_faults(json_=json_)
        return 0
    found = {name: values.read(module.pause, text, "--" + name.replace("_", "-")) for name, text in pauses.items()}
    book, level3 = (
        module.Pace(*(found[f"{channel}_{what}"] for what in ("delay", "jitter", "conflate")))
        for channel in ("book", "level3")
    )
    files = (key_file, second_key_file)
    key, second, may = _keys(module.key(api_key, api_secret), *files, second_key_may)
    options = module.Options(
        host=host,
        port=port,
        pairs=pairs,
        rate=rate,
        seed=seed,
        speed=values.read(module.speed, speed, "--speed"),
        duration=duration,
        start=start,
        log=log,
        book=book,
        level3=level3,
        rest_port=rest_port,
        rest_rate=rest_rate,
        history=history,
        key=key,
        account=(*(f"balance.{text}" for text in balance), *account),
        faults=fault,
        origins=origin,
    )

    def started(server: ExchangeServer) -> None:
        click.echo(f"listening on {server.address}", err=json_)
        click.echo(f"level 3 at {server.level3_address}, its tokens at {server.rest_address}", err=json_)
        if options.key is None:
            click.echo(f"API key {server.key.name} secret {server.key.secret_text}", err=json_)
        if second is not None:
            server.add_key(*may, key=second)
        for file in filter(None, files):
            click.echo(f"key file {file}: krakpot trade status {file} --url {server.rest_address}", err=json_)

    try:
        summary = run(options, started)
    except ConfigError as error:
        raise ConfigError(with_flag(str(error), f"{PLACE}: ")) from None
    if json_:
        print_json(summary)
    else:
        click.echo(f"{counted(summary['messages'], 'message')} to {counted(len(summary['connections']), 'connection')}")
        if summary["faults"]:
            click.echo("faults: " + ", ".join(f"{name} {count:,}" for name, count in summary["faults"].items()))
    return 0


def _keys(
    key: Key | None, file: Path | None, second_file: Path | None, words: str | None
) -> tuple[Key | None, Key | None, tuple[str, ...]]:
    """Return the account's key, its second key, and what that may do; ``key`` is that of the options."""
    from krakpot.exchange.account import PERMISSIONS

    if words is not None and second_file is None:
        raise ConfigError("--second-key-may is given without --second-key-file; give the file of that key too")
    may = values.read(values.words_of(tuple(PERMISSIONS)), words or CANCEL, "--second-key-may")
    if file is not None:
        if key is not None:
            raise ConfigError("--key-file and --api-key (or KRAKPOT_API_KEY) both give the key; leave one of them out")
        if second_file is not None and file.absolute() == second_file.absolute():
            raise ConfigError("--second-key-file: it names the file of --key-file; name another one")
        key = _from_file(file, [LEDGER])
    return key, None if second_file is None else _from_file(second_file), may


def _from_file(file: Path, expected: list[str] | None = None) -> Key:
    """Return the key of a key file, which is written with a new key unless it is there."""
    from krakpot.exchange.rest import Key
    from krakpot.trade import key as module

    if not os.path.lexists(file):
        made = Key.made()
        module.write(file, made.name, made.secret_text, mode="test", account=file.stem, permissions=expected)
    if module.load(file).mode != "test":
        sentence = (
            f'{file}: the key is one of Kraken (mode = "live"), which no other exchange may see; name another file'
        )
        raise ConfigError(sentence)
    # Its form was checked just now; a key that was read to sign does not give its secret away.
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    return Key.read(given["key"], given["secret"])


def _list_faults(*, json_: bool) -> None:
    """Print the faults of the built-in exchange."""
    if json_:
        keys = ("name", "of", "by", "help")
        print_json({"faults": [dict(zip(keys, row, strict=True)) for row in _core.FAULTS]})
        return
    for name, of, by, text in _core.FAULTS:
        click.echo(f"{name:<18}{of:<16}{text}" + (f" (by={by})" if by else ""))


@click.command(cls=Command, interrupted="the steps that were measured are not kept")
@click.option("--seconds", default=20, type=STEP_SECONDS, show_default=True, help="How long each multiple is measured.")
@click.option(
    "--most", default=100, type=MULTIPLE, show_default=True, help="Highest multiple of the full feed that is tried."
)
@click.option("--level3", type=LEVEL3_DEPTH, help="Measure with level 3 too, at this depth: 10, 100 or 1000.")
@click.option("--pairs", default=1450, type=PAIRS, show_default=True, help="Pairs; fewer is not the full feed.")
@click.option("--rate", default=10_000, type=RATE, show_default=True, help="Messages per second of one full feed.")
@click.option("--plot", type=FILE, help="Draw CPU and lag over the rate, an SVG file.")
@click.option("--out", type=FOLDER, help="Folder for the lakes, which are kept. Default: they are removed.")
@json_option
def capacity(
    seconds: float, most: float, level3: int | None, pairs: int, rate: float, plot: Path | None, out: Path | None,
    *, json_: bool,
) -> int:  # fmt: skip
    """Measure how much of the full feed this machine can record.

    The built-in exchange sends 1, 2, 5, 10 … times the full feed to a recorder on this machine until a limit is
    reached, then two multiples between the last two. Needs no network. A step takes --seconds and about 40 s more; with
    level 3 also the time to subscribe (36 s at depth 10, three minutes at 100, twelve at 1000). The lakes need some GB
    in the folder for temporary files (TMPDIR) or in --out: choose the disk that you will record to.
    Exit 0: the machine can record the full feed; 1: it cannot, or messages were lost without a visible limit.

    \b
    krakpot capacity --plot capacity.svg                  the answer, and a plot of it
    krakpot capacity --seconds 60 --most 10 --level3 100  longer steps, up to ten times, with level 3
    """
    from importlib.util import find_spec

    from krakpot.cli import capacity as module
    from krakpot.cli.capacity_run import Load

    if plot is not None and not find_spec("matplotlib"):
        raise ConfigError("--plot needs matplotlib: pip install 'krakpot[plot]'")
    if plot is not None and (plot.is_dir() or not plot.absolute().parent.is_dir()):
        raise ConfigError(f"--plot {plot} cannot be written; name a file in a folder that exists")
    log: Callable[[str], None] = (lambda line: None) if json_ else lambda line: click.echo(line, err=True)
    loads = [Load(pairs, rate), *([Load(pairs, rate, level3)] if level3 else [])]
    reports = module.measure(loads, seconds=seconds, most=most, out=out, say=log)
    if plot is not None:
        module.draw(reports, plot)
    if json_:
        facts = {"machine": module.machine(), "plot": None if plot is None else str(plot)}
        print_json(facts | {"tables": [report.to_dict() for report in reports]})
    else:
        for report in reports:
            click.echo("\n".join(["", *module.table(report), "", *report.answer()]))
        if plot is not None:
            click.echo(f"plot: {plot}")
    return 0 if all(report.well for report in reports) else FOUND_WRONG

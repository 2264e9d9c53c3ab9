"""``krakpot backtest`` and ``krakpot paper``: a strategy in a file, on a recording or on the live feed."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from krakpot import values
from krakpot.cli.command import (
    FOLDER,
    PATTERNS,
    TIME,
    Command,
    Value,
    json_option,
    lake_argument,
    print_json,
    results_folder,
)
from krakpot.config import REST_URL, URL
from krakpot.errors import ConfigError, words_of

if TYPE_CHECKING:
    from krakpot.cli.bar import Bar
    from krakpot.trade.options import Paper
    from krakpot.trade.run import Run

MODELS = ("orders", "bounds")
INTERRUPTED = "interrupted"
LATENCY = "a duration as 5ms, two as 5ms,8ms (to the exchange and back), or recorded"
BALANCE = "ASSET=AMOUNT, as USD=50000"
FEES = "maker and taker fee, as 0.25%,0.40%"


def strategy_file(value: object) -> tuple[Path, str]:
    """A file, and after a colon the name of a class in it."""
    text = str(value)
    path, colon, name = text.rpartition(":")
    file, kind = (Path(path), name) if colon and name.isidentifier() else (Path(text), "")
    if file.suffix != ".py":
        sentence = "a Python file, as rules.py or rules.py:JoinBest"
        raise ValueError(sentence)
    return file, kind


def balance(value: object) -> tuple[str, str]:
    """An asset and its amount."""
    asset, _, amount = str(value).partition("=")
    if not asset or not amount:
        raise ValueError(BALANCE)
    return asset.strip(), amount.strip()


def _fees(value: object) -> tuple[str, str]:
    maker, _, taker = str(value).partition(",")
    if not maker or not taker:
        raise ValueError(FEES)
    return maker.strip(), taker.strip()


FLAGS = {
    "krakpot.Latency: entry": "--latency",
    "krakpot.Latency: response": "--latency",
    "krakpot.Paper: balances": "--balance",
    "krakpot.Paper: fees": "--fees",
    "krakpot.run: until": "--for",
    "krakpot.run: wake": "--wake",
    "krakpot.run: warmup": "--warmup",
    "krakpot.run: strategy": "STRATEGY",
    "krakpot.Replay: symbols": "--symbols",
    "symbols": "--symbols",
    "start": "--start",
    "end": "--end",
}
"""What the functions of the package call the options of these commands."""


@contextmanager
def flagged(flags: Mapping[str, str] = FLAGS) -> Iterator[None]:
    """Let errors name the options of the command."""
    try:
        yield
    except ConfigError as error:
        sentence = str(error)
        for place, flag in flags.items():
            if sentence.startswith(f"{place}: "):
                raise ConfigError(flag + sentence[len(place) :]) from None
        raise


def load(file: Path, name: str) -> Any:  # whatever the file defines
    """Make the strategy that a file defines; ``ConfigError`` says what is wrong with it."""
    if not file.is_file():
        sentence = f"STRATEGY: {file} is not there; give the path of a Python file"
        raise ConfigError(sentence)
    # A file json.py must not stand for the module json.
    own = f"{file.stem} (strategy)"
    spec = importlib.util.spec_from_file_location(own, file)
    assert spec is not None, "it ends in .py"
    assert spec.loader is not None, "the same"
    module = importlib.util.module_from_spec(spec)
    # Classes of the file can be pickled, and dataclasses find their module.
    sys.modules[own] = module
    # It finds modules beside it, as a script does; those that are installed come first.
    sys.path.append(str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the file's code raises
        sentence = f"STRATEGY: {file} cannot be imported: {type(error).__name__}: {words_of(error)}"
        raise ConfigError(sentence) from error
    kind = _class(module, file, name)
    if not isinstance(kind, type):
        return kind
    try:
        return kind()
    except (Exception, SystemExit) as error:  # whatever the class's code raises
        cure = "; give its arguments defaults" if isinstance(error, TypeError) else ""
        sentence = f"STRATEGY: {kind.__name__}() cannot be made: {type(error).__name__}: {words_of(error)}{cure}"
        raise ConfigError(sentence) from error


def _class(module: ModuleType, file: Path, name: str) -> Any:
    """A class with handlers, or a strategy that is to be compiled."""
    from krakpot.trade.compiled import CompiledStrategy
    from krakpot.trade.market import HANDLERS

    found = [
        one
        for one in vars(module).values()
        if isinstance(one, (type, CompiledStrategy))
        and one.__module__ == module.__name__
        and (isinstance(one, CompiledStrategy) or any(hasattr(one, h) for h in HANDLERS))
    ]
    if name:
        chosen = [one for one in found if one.__name__ == name]
        if not chosen:
            names = ", ".join(one.__name__ for one in found) or "none"
            sentence = f"STRATEGY: {file} has no strategy {name}; it has {names}"
            raise ConfigError(sentence)
        return chosen[0]
    if len(found) != 1:
        names = ", ".join(one.__name__ for one in found) or "none"
        cure = f"name one, as {file}:{found[0].__name__}" if found else f"a strategy has one of {', '.join(HANDLERS)}"
        sentence = f"STRATEGY: {file} has {len(found)} strategies ({names}); {cure}"
        raise ConfigError(sentence)
    return found[0]


def _paper(options: dict[str, Any]) -> Paper:
    """The simulated account of the options."""
    from krakpot.trade.options import Latency, Paper

    latency = options["latency"]
    chosen: Any = latency
    if latency != "recorded":
        entry, comma, response = latency.partition(",")
        chosen = Latency(entry, response if comma else None)
    assets = [asset for asset, _ in options["balances"]]
    if twice := sorted({asset for asset in assets if assets.count(asset) > 1}):
        raise ConfigError(f"--balance: {twice[0]} is there twice; give each asset once")
    fees: Any = options["fees"]
    return Paper(dict(options["balances"]), fees=fees or "lake", latency=chosen, model=options["model"])


def trading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands can be given."""
    for option in (
        json_option,
        click.option("--out", type=FOLDER, help="A folder for the result: tables, summary, the picture equity.png."),
        click.option("--warmup", default="0", show_default=True, help="So long no order is accepted at the begin."),
        click.option("--wake", default="touch", show_default=True, help="touch, message, never, or a time as 100ms."),
        click.option("--model", type=Value(values.word_of(MODELS), "WORD"), default="orders", show_default=True,
                     help="orders: level 3; bounds: level 2, two results."),
        click.option("--latency", default="recorded", show_default=True, help=f"{LATENCY}."),
        click.option("--fees", type=Value(_fees, "MAKER,TAKER"), help=f"{FEES}."),
        click.option("--balance", "balances", multiple=True, required=True, type=Value(balance, "ASSET=AMOUNT"),
                     help="What the account has, as USD=50000; can be repeated; the first one counts values."),
        click.option("--symbols", "symbols", required=True, type=PATTERNS, help="Pairs: BTC/USD,ETH/*."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(cls=Command, interrupted="no result was written")
@lake_argument
@click.argument("strategy", type=Value(strategy_file, "STRATEGY.py[:CLASS]"))
@click.option("--start", "start", type=TIME, help="Only what was received from this time on; without a zone it is UTC.")
@click.option("--end", "end", type=TIME, help="Only what was received before this time.")
@trading_options
def backtest(
    lake: Path, strategy: tuple[Path, str], start: int | None, end: int | None, *, json_: bool, **options: Any
) -> int:
    """Run a strategy on a recording, with simulated orders.

    STRATEGY is a Python file with one class that has handlers, as `book` and `fill`; docs/trading.md has examples.
    The first line of the result says how far it can be trusted. Ctrl-C ends the run with the result so far.

    \b
    krakpot backtest data rules.py --symbols BTC/USD --balance USD=50000 --fees 0.25%,0.40% --latency 5ms
    krakpot backtest data rules.py:JoinBest --symbols BTC/USD --balance USD=50000 --fees 0.25%,0.40% --out result
    """
    from krakpot.replay.replay import Replay
    from krakpot.trade.result import Bounds

    with flagged():
        paper = _paper(options)
        channels = ["trade", "level3" if paper.model == "orders" else "book"]
        replay = Replay(lake, options["symbols"], start, end, channels=channels)
        with results(options["out"]):
            result = _one(load(*strategy), replay, paper, options, json_=json_)
            if paper.model == "bounds":
                # If the first one was ended early, the second one ends there too: else they could not be compared.
                until = None if result.whole else result.built.end
                other = _one(load(*strategy), replay, paper, options, json_=json_, until=until, cancels="behind")
                result = Bounds(result, other)
            return finish(result, options, json_=json_)


@click.command(cls=Command, interrupted="no result was written")
@click.argument("strategy", type=Value(strategy_file, "STRATEGY.py[:CLASS]"))
@click.option("--url", default=URL, type=Value(values.url, "URL"), show_default=True, help="The exchange's socket.")
@click.option("--level3-url", type=Value(values.level3_url, "URL"), help="The exchange's socket of level 3.")
@click.option(
    "--rest-url",
    default=REST_URL,
    type=Value(values.rest_url, "URL"),
    show_default=True,
    help="The exchange's REST, which gives the token for level 3.",
)
@click.option("--for", "duration", help="How long, as 1h. Default: until Ctrl-C.")
@trading_options
def paper(
    strategy: tuple[Path, str], url: str, level3_url: str | None, rest_url: str, duration: str | None, *, json_: bool,
    **options: Any,
) -> int:  # fmt: skip
    """Run a strategy on the live feed, with simulated orders. No order is sent.

    Orders are filled by level 3, so it needs an API key for the feed (KRAKPOT_API_KEY and KRAKPOT_API_SECRET) with the
    permission "WebSocket interface - On" and no other. Ctrl-C ends the run with the result so far.

    \b
    krakpot paper rules.py --symbols BTC/USD --balance USD=50000 --fees 0.25%,0.40% --for 1h
    krakpot paper rules.py:JoinBest --symbols 'BTC/*' --balance USD=50000 --fees 0.25%,0.40% --wake 100ms --out result
    """
    from krakpot.feed.feed import Feed

    if options["model"] != "orders":
        raise ConfigError("--model: bounds needs a recording, which is read twice; use krakpot backtest")
    with flagged():
        account = _paper(options)
        feed = Feed(
            options["symbols"], channels=["book", "trade", "level3"], url=url, level3_url=level3_url, rest_url=rest_url
        )
        with results(options["out"]):
            result = _one(load(*strategy), feed, account, options, json_=json_, until=duration)
            return finish(result, options, json_=json_)


def _one(
    strategy: Any, feed: Any, account: Paper, options: dict[str, Any], *, json_: bool, until: str | int | None = None,
    cancels: str = "ahead",
) -> Any:  # fmt: skip
    """Run one strategy, and show how far it is."""
    from krakpot.cli.bar import Bar
    from krakpot.trade.options import RunOptions
    from krakpot.trade.run import Run

    wake = None if options["wake"] == "never" else options["wake"]
    chosen = RunOptions.read(wake=wake, warmup=options["warmup"], until=until, place="krakpot.run")
    one = Run({"": strategy}, feed, account, chosen, cancels=cancels)
    with Bar("trading", quiet=json_) as bar:
        (result,) = asyncio.run(_watched(one, bar))
    return result


async def _watched(one: Run, bar: Bar) -> list[Any]:
    """Run it; Ctrl-C and SIGTERM end it with the result so far."""
    # A handler of the loop would wait until the loop has its turn, which a slow strategy does not give it for long.
    before = {number: signal.signal(number, _ends(one)) for number in (signal.SIGINT, signal.SIGTERM)}
    shown = None if bar.look_every is None else asyncio.create_task(_show(one, bar, bar.look_every))
    try:
        return await one.run()
    finally:
        if shown is not None:
            shown.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _ends(one: Run) -> Callable[[int, object], None]:
    """The first signal ends a run after the handler that is called now; the second one ends that handler too."""

    def end(number: int, frame: object) -> None:  # noqa: ARG001  # what a signal handler is given
        if one.reason:
            raise KeyboardInterrupt
        one.end(INTERRUPTED)

    return end


async def _show(one: Run, bar: Bar, every: float) -> None:
    from krakpot.lake.format import stamp

    while True:
        await asyncio.sleep(every)
        core = one.core
        if core is not None and core.begin_ns is not None:
            orders = sum(len(market.orders()) for market in one.markets)
            bar.note(f"{stamp(core.now):%Y-%m-%d %H:%M:%S} · {core.messages:,} messages · {orders} open orders")


@contextmanager
def results(out: Path | None) -> Iterator[None]:
    """The folder of ``--out``, if it is given: made before the run, so that a long one is not lost."""
    if out is None:
        yield
        return
    with results_folder(out):
        yield


def finish(result: Any, options: dict[str, Any], *, json_: bool) -> int:
    """Print the result, and write it."""
    if options["out"] is not None:
        result.save(options["out"])
        drawn = result.draw(options["out"] / "equity.png")
    if json_:
        print_json(result.summary)
        return 0
    click.echo(repr(result))
    if options["out"] is not None:
        click.echo(f"result: {options['out']}{' with equity.png' if drawn else ''}")
    return 0

"""``krakpot trade run`` and ``krakpot trade halt``: a strategy with money, and how another terminal halts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from krakpot import values
from krakpot.cli.command import (
    FILE,
    FOLDER,
    FOUND_WRONG,
    PATTERNS,
    TIME,
    Command,
    Value,
    json_option,
    print_json,
)
from krakpot.cli.trading import FLAGS, balance, finish, flagged, load, results, strategy_file
from krakpot.config import REST_URL, URL
from krakpot.errors import ConfigError, LimitBreached, counted

if TYPE_CHECKING:
    from krakpot.cli.bar import Bar
    from krakpot.trade.live import Limits, Live
    from krakpot.trade.options import Paper
    from krakpot.trade.run import Run

OFF = "off"
"""Switches a limit off."""
SHOW_EVERY = 0.2
"""Seconds between two looks at the run."""
NAMES = ("open_orders", "collar", "orders_per_minute", "stale", "clock", "fee_share", "ramp")
"""Limits that have a default, and that ``off`` switches off."""
LIVE_FLAGS = {
    **{
        f"krakpot.Limits: {name}": f"--{name.replace('_', '-')}"
        for name in (*NAMES, "order_value", "inventory", "loss")
    },
    **{
        f"krakpot.Live: {name}": f"--{name.replace('_', '-')}"
        for name in ("prefix", "account", "strangers", "dead_man", "self_trade")
    },
    "krakpot.Live: url": "--private-url",
    "krakpot.Live: rest_url": "--rest-url",
    "krakpot.Latency: entry": "--shadow",
    "krakpot.Latency: response": "--shadow",
}
# A feed takes an API key with level 3. The client of the account requests its tokens: this one signs nothing.
NO_SECRET = "AAAA"  # noqa: S105  # it is none


def _limit(name: str, default: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{name}", default=default, show_default=True, help=f"{text}; {OFF}: no limit.")


def _limits(options: dict[str, Any]) -> Limits:
    from krakpot.trade.live import Limits

    assets = [asset for asset, _ in options["inventory"]]
    if twice := sorted({asset for asset in assets if assets.count(asset) > 1}):
        raise ConfigError(f"--inventory: {twice[0]} is there twice; give each asset once")
    chosen = {name: None if options[name] == OFF else options[name] for name in NAMES}
    return Limits(
        options["order_value"], dict(options["inventory"]), options["loss"], fat_finger=options["fat_finger"], **chosen
    )


def _live(options: dict[str, Any]) -> Live:
    from krakpot.trade.live import Live

    dead_man = None if options["dead_man"] == OFF else options["dead_man"]
    given = {name: options[name] for name in ("account", "prefix", "journal", "validate", "strangers", "self_trade")}
    return Live(
        options["key"], _limits(options), dead_man=dead_man, url=options["private_url"],
        rest_url=None if options["rest_url"] == REST_URL else options["rest_url"], **given,
    )  # fmt: skip


def _shadow(latency: str | None) -> Paper | None:
    """A simulated account beside the real one; the balances and the fees are those of the real one."""
    from krakpot.trade.options import Latency, Paper

    if latency is None:
        return None
    entry, comma, response = latency.partition(",")
    chosen: Any = latency if latency == "recorded" else Latency(entry, response if comma else None)
    return Paper({"USD": 0}, fees=("0%", "0%"), latency=chosen)


@click.command(cls=Command, interrupted="`krakpot trade orders` shows which orders are open")
@click.argument("strategy", type=Value(strategy_file, "STRATEGY.py[:CLASS]"))
@click.option("--symbols", required=True, type=PATTERNS, help="Pairs: BTC/USD,ETH/*.")
@click.option("--key", required=True, type=FILE, help="The key file; krakpot key new writes one.")
@click.option(
    "--account",
    required=True,
    type=click.Choice(("exclusive", "shared")),
    help="exclusive: nobody else trades in this account, so the exchange's dead-man timer is used.",
)
@click.option("--order-value", required=True, help="Most that one order may be worth, in the pair's quote asset.")
@click.option(
    "--inventory",
    multiple=True,
    required=True,
    type=Value(balance, "ASSET=AMOUNT"),
    help="Most that may be bought or sold of an asset, as BTC=0.02; can be repeated. Others are not traded.",
)
@click.option("--loss", required=True, help="Most that may be lost since the journal began, in the quote asset.")
@_limit("open-orders", "10", "Own open orders")
@_limit("collar", "2%", "Most distance of a price from the middle and from the last trade")
@_limit("orders-per-minute", "60", "New orders in a minute")
@_limit("stale", "2s", "The feed may be silent for so long")
@_limit("clock", "250ms", "The clocks may be so far apart")
@_limit("fee-share", "1%", "Fee of an order that takes, as a share of its value")
@_limit("ramp", "20", "So many first orders of a journal must have the smallest size")
@click.option("--fat-finger/--no-fat-finger", default=True, show_default=True, help="Refuse orders of an unusual size.")
@click.option("--prefix", help="Eight letters or digits that begin the names of orders. Default: the class's name.")
@click.option("--journal", type=FILE, help="The journal. Default: one by account and prefix in ~/.local/state/krakpot.")
@click.option("--validate", is_flag=True, help="The exchange checks new orders and places none.")
@click.option(
    "--strangers",
    type=click.Choice(("report", "adopt")),
    default="report",
    show_default=True,
    help="What to do with open orders of this prefix that the journal does not have.",
)
@click.option(
    "--self-trade",
    type=click.Choice(("cancel_newest", "cancel_oldest", "cancel_both")),
    default="cancel_newest",
    show_default=True,
    help="What the exchange does where own orders meet.",
)
@click.option(
    "--dead-man",
    default="60s",
    show_default=True,
    help=f"After so long without progress the exchange cancels all orders; {OFF}: never.",
)
@click.option("--shadow", help="Simulate the same orders with this latency, as 5ms, and compare.")
@click.option("--for", "duration", help="How long, as 1h. Default: until Ctrl-C.")
@click.option("--until", "until", type=TIME, help="When it ends; without a zone it is UTC.")
@click.option("--wake", default="touch", show_default=True, help="touch, message, never, or a time as 100ms.")
@click.option("--url", default=URL, type=Value(values.url, "URL"), show_default=True, help="The exchange's socket.")
@click.option("--level3-url", type=Value(values.level3_url, "URL"), help="The exchange's socket of level 3.")
@click.option("--private-url", type=Value(values.level3_url, "URL"), help="The exchange's private socket.")
@click.option(
    "--rest-url", default=REST_URL, type=Value(values.rest_url, "URL"), show_default=True, help="The exchange's REST."
)
@click.option("--out", type=FOLDER, help="A folder for the result: tables, summary, the picture equity.png.")
@json_option
def run(strategy: tuple[Path, str], *, json_: bool, **options: Any) -> int:
    """Run a strategy with money, within limits.

    STRATEGY is a Python file with one class that has handlers, as `book` and `fill`. docs/live_trading.md has all
    controls, and what happens when things break: read it first. Begin with --validate.

    Ctrl-C or SIGTERM cancels own orders and waits 5 s for their reports: exit 0 if all are known, else 1 with their
    ids. A second one leaves at once (exit 130 or 143); then only the dead-man timer ends orders. SIGUSR1, or `krakpot
    trade halt`, cancels own orders and goes on watching.

    \b
    krakpot trade run rules.py --symbols BTC/USD --key ~/.config/krakpot/maker.toml --account exclusive \\
      --order-value 100 --inventory BTC=0.002 --loss 20 --validate
    """
    from krakpot.feed.feed import Feed
    from krakpot.trade.key import load as load_key
    from krakpot.trade.options import RunOptions, nanoseconds_of
    from krakpot.trade.run import Run

    with flagged(FLAGS | LIVE_FLAGS):
        live, shadow = _live(options), _shadow(options["shadow"])
        if options["duration"] is not None and options["until"] is not None:
            raise ConfigError("--until: --for is given too; give one of them")
        if options["duration"] is not None:
            nanoseconds_of(options["duration"], "--for")
        key = load_key(live.key_file)
        wake = None if options["wake"] == "never" else options["wake"]
        chosen = RunOptions.read(wake=wake, until=options["duration"] or options["until"])
        feed = Feed(
            options["symbols"], channels=["book", "trade", "level3"], url=options["url"],
            level3_url=options["level3_url"], rest_url=options["rest_url"], api_key=key.key, api_secret=NO_SECRET,
        )  # fmt: skip
        made = load(*strategy)
        with results(options["out"]):
            try:
                result = _watched(lambda log: Run({"": made}, feed, live, chosen, shadow=shadow, log=log), quiet=json_)
            except LimitBreached as breach:
                finish(breach.result, options, json_=json_)
                click.echo(f"krakpot: {breach}; own orders were cancelled", err=True)
                return FOUND_WRONG
            finish(result, options, json_=json_)
            if result.shadow is not None and not json_:
                from krakpot.trade.shadow import sentences

                for sentence in sentences(result.shadow):
                    click.echo(sentence)
            return FOUND_WRONG if result.built.left else 0


def _watched(make: Callable[[Callable[[str], None]], Run], *, quiet: bool) -> Any:
    """Run it, and show what happens; the run itself hears signals."""
    from krakpot.cli.bar import Bar

    async def work(bar: Bar) -> Any:
        one = make(bar.say)
        shown = asyncio.create_task(_show(one, bar))
        try:
            (result,) = await one.run()
        finally:
            shown.cancel()
        return result

    with Bar("trading", quiet=quiet) as bar:
        return asyncio.run(work(bar))


async def _show(one: Run, bar: Bar) -> None:
    """One line with state, P&L, open orders, fills and rate; and a sentence where the state is another."""
    before = ""
    while True:
        await asyncio.sleep(SHOW_EVERY)
        client, core = one.client, one.core
        if client is None:
            continue
        state, why = client.state
        if core is None or not client.started:
            bar.note(state)
            continue
        if state != before:
            # Of the others the client says more.
            if state == "paused":
                bar.say(f"paused: {why}; no new risk is taken")
            elif state == "trading":
                bar.say("trading")
            before = state
        bar.note(f"{state} · {status(one)}")


def status(one: Run) -> str:
    """P&L, open orders, fills and the rate counter of a run with money."""
    core, client = one.core, one.client
    assert core is not None, "it has begun"
    assert client is not None, "it is one with money"
    orders = core.orders(0)
    gained, known, quote = Decimal(0), True, one.quote
    for symbol in one.data.symbols:
        if symbol.partition("/")[2] != quote:
            continue
        qty, _, realised, unrealised = core.inventory(0, symbol)
        known = known and (unrealised is not None or not qty)
        gained += realised + (unrealised or 0)
    pnl = f"{gained:+.2f} {quote}" if known else f"not known {quote}"
    rates = [core.rate(0, symbol) for symbol in {order.symbol for order in orders} or one.data.symbols[:1]]
    used, limit = max(rates, default=(0.0, 0))
    return (
        f"P&L {pnl} · {counted(len(orders), 'open order')} · {counted(client.fills, 'fill')} · "
        f"rate {used:.0f} of {limit}"
    )


@click.command(cls=Command)
@click.argument("journal", type=FILE)
@json_option
def halt(journal: Path, *, json_: bool) -> int:
    """Halt the process that writes a journal.

    It cancels its own orders, sends no new ones, and goes on watching; end it with SIGTERM. Waits up to 10 s until the
    journal says so. Exit 1: it did not say so, or orders may be open; their ids are printed.

    Needs no key. If the process hangs, it does not hear: then `krakpot trade kill` with a second key.

    \b
    krakpot trade halt ~/.local/state/krakpot/main-JoinBest.journal
    """
    from krakpot.trade import halt as module

    found = module.halt(journal)
    if json_:
        print_json(found.to_dict())
    elif not found.why:
        click.echo(f"process {found.pid} was told to halt and has not answered; {module.KILL}")
    else:
        click.echo(f"process {found.pid} is halted: {found.why}")
    if not json_:
        click.echo(f"may be open: {', '.join(found.open)}" if found.open else "no own order is open")
    return 0 if found.why and not found.open else FOUND_WRONG

"""Commands about an account that start no strategy: ``krakpot trade orders``, ``status``, ``kill``, ``audit``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from krakpot.cli.command import FILE, FOUND_WRONG, Command, Commands, json_option, print_json
from krakpot.cli.key import address_for, url_option
from krakpot.cli.screen import span
from krakpot.errors import ConfigError, KeyInUse, KrakpotError, counted

if TYPE_CHECKING:
    from krakpot.net.rest import Public
    from krakpot.trade.account import Killed, OpenOrder
    from krakpot.trade.key import Key
    from krakpot.trade.signed import Signed

T = TypeVar("T")

key_argument = click.argument("key", type=FILE)


def _with_key(found: Key, address: str, work: Callable[[Signed, Public], Awaitable[T]]) -> T:
    """Do some work with a key that no other process uses meanwhile."""
    from krakpot.net.rest import Public
    from krakpot.trade.nonces import Nonces
    from krakpot.trade.signed import Signed

    async def run() -> T:
        return await work(Signed(address, found, nonces), Public(address))

    with Nonces(found.id) as nonces:
        return asyncio.run(run())


def _note(sentence: str) -> None:
    click.echo(sentence, err=True)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    """Print rows in columns; those named in ``numbers`` end on one line."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = zip(head, row, widths, strict=True)
        line = "  ".join(f"{text:>{width}}" if name in numbers else f"{text:<{width}}" for name, text, width in cells)
        click.echo(line.rstrip())


@click.group(cls=Commands)
def trade() -> None:
    """Trade with money; see and cancel an account's orders.

    KEY is a key file: `krakpot key new` writes one. Only run starts a strategy; the others need no program that trades.

    \b
    krakpot trade run rules.py --help
    krakpot trade orders ~/.config/krakpot/maker.toml --json
    krakpot trade kill ~/.config/krakpot/kill.toml
    krakpot trade audit maker.journal
    """


@trade.command(cls=Command)
@key_argument
@url_option
@json_option
def orders(key: Path, url: str | None, *, json_: bool) -> int:
    """Show the account's open orders, and which strategy placed them.

    The strategy is the prefix of the order's cl_ord_id. An order that no strategy of krakpot named is a stranger.
    REST may be up to 60 s late.

    \b
    krakpot trade orders ~/.config/krakpot/maker.toml
    krakpot trade orders test.toml --url http://127.0.0.1:8081 --json
    """
    from krakpot.trade import account
    from krakpot.trade.key import load

    found = load(key)
    address = address_for(found, url)
    rows = _with_key(found, address, lambda signed, public: account.open_orders(signed, public, _note))
    if json_:
        print_json({"account": found.account, "mode": found.mode, "orders": [row.to_dict() for row in rows]})
        return 0
    if rows:
        head = ("id", "pair", "side", "kind", "qty", "filled", "price", "age", "cl_ord_id", "strategy")
        _table(head, [_cells(row) for row in rows], ("qty", "filled", "price", "age"))
    click.echo(counted(len(rows), "open order"))
    return 0


def _cells(row: OpenOrder) -> tuple[str, ...]:
    price = row.price or "-"
    if row.price2 is not None:
        price += f" -> {row.price2}"
    name = row.cl_ord_id or "-"
    strategy = row.prefix or "stranger"
    return (row.id, row.symbol, row.side, row.kind, row.qty, row.filled, price, span(row.age), name, strategy)


@trade.command(cls=Command, interrupted="orders may still be open; run it again")
@key_argument
@url_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def kill(key: Path, url: str | None, *, yes: bool, json_: bool) -> int:
    """Cancel all open orders, and look until none is open.

    All of the account, whoever placed them. Needs a key with the permission "Cancel & close orders", and no other. Keep
    such a second key: it works from another machine, and while the program that trades hangs with its own key. That
    program may place new orders: end it too.

    Asks for the account's name (`account` in the key file, or else the file's name), unless KRAKPOT_CONFIRM has that
    name, or --yes is given. Waits for up to 75 s, because REST may show cancelled orders for 60 s. Exit 1: orders are
    still shown as open, and their ids are printed.

    \b
    krakpot trade kill ~/.config/krakpot/kill.toml
    KRAKPOT_CONFIRM=main krakpot trade kill ~/.config/krakpot/kill.toml --json
    """
    from krakpot.trade import account
    from krakpot.trade.key import load

    found = load(key)
    address = address_for(found, url)
    if not yes:
        _confirm(found.account or key.stem, address)
    with _own_key():
        killed = _with_key(found, address, lambda signed, _: account.kill(signed, _note, patience=account.PATIENCE))
    if json_:
        print_json({"account": found.account, "mode": found.mode} | killed.to_dict())
    else:
        _say(killed)
    return 0 if killed.gone else FOUND_WRONG


def _confirm(name: str, address: str) -> None:
    """``ConfigError`` unless a person or a variable names the account."""
    from krakpot.trade.key import CONFIRM

    given = os.environ.get(CONFIRM)
    if given is None:
        try:
            question = f"All open orders at {address} will be cancelled. Type the name of the account, {name}"
            given = click.prompt(question, err=True)
        except click.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):
                # Ctrl-C, which click reports as it does the end of the input.
                raise
            cure = f"set {CONFIRM}={name}, or give --yes"
            sentence = f"nobody typed the name of the account; nothing was cancelled. In a script {cure}"
            raise ConfigError(sentence) from None
    if given.strip() != name:
        raise ConfigError(f"this is not the name of the account, which is {name!r}; nothing was cancelled")


@contextmanager
def _own_key() -> Iterator[None]:
    """Say what helps if the program that trades has the key."""
    try:
        yield
    except KeyInUse as error:
        sentence = (
            "nothing was cancelled: another process uses this API key. Kill with a second key, whose only permission "
            f'is "Cancel & close orders"; or end that process, and try again: {error.path} is locked'
        )
        raise KrakpotError(sentence) from None


def _say(killed: Killed) -> None:
    click.echo(f"cancelled: {counted(killed.cancelled, 'order')}")
    if killed.gone:
        how = "REST shows none" if killed.looked else "a further cancel found none; this key may not look"
        click.echo(f"no order is open: {how}. The program that placed them may place more: end it")
        return
    if killed.left:
        click.echo(f"still shown as open: {', '.join(killed.left)}")
    if killed.why:
        click.echo(f"not known to be gone: {killed.why}")
    click.echo("end the program that places orders, and run this again; or cancel them on Kraken's page")


@trade.command(cls=Command)
@key_argument
@url_option
@json_option
def status(key: Path, url: str | None, *, json_: bool) -> int:
    """Show balances, open orders, the exchange's state, the key.

    Of open orders the number; of the key what it may do. What it may not ask for is left out, and that is said.
    Exit 1: the exchange is not online, or the key may withdraw.

    \b
    krakpot trade status ~/.config/krakpot/maker.toml
    """
    from krakpot.trade.key import load
    from krakpot.trade.signed import FORBIDDEN

    found = load(key)
    address = address_for(found, url)
    facts = _with_key(found, address, _status)
    withdraws = any(FORBIDDEN in one for one in facts["key"]["permissions"])
    code = FOUND_WRONG if withdraws or facts["exchange"]["status"] != "online" else 0
    if json_:
        print_json({"account": found.account, "mode": found.mode} | facts)
        return code
    exchange, may = facts["exchange"], facts["key"]
    click.echo(f"exchange: {exchange['status']}: {exchange['meaning']} ({address})")
    click.echo(f"{found.mode} key {may['name']!r} may: {', '.join(may['permissions']) or 'nothing'}")
    for sentence in may["warnings"]:
        click.echo(f"warning: {sentence}")
    for sentence in may["problems"]:
        click.echo(f"not for trading: {sentence}")
    if facts["balances"] is None:
        click.echo("balances: not shown, the key lacks query-funds")
    else:
        rows = [(asset, *one.values()) for asset, one in facts["balances"].items()]
        _table(("asset", "total", "held", "free"), rows, ("total", "held", "free"))
    number = facts["open_orders"]
    click.echo(
        counted(number, "open order")
        if number is not None
        else "open orders: not shown, the key lacks query-open-trades"
    )
    return code


async def _status(signed: Signed, public: Public) -> dict[str, Any]:
    """The facts of ``status``; None for what the key may not ask."""
    from krakpot.trade import account
    from krakpot.trade.signed import check

    state, meaning = await account.system(signed, public)
    checked = await check(signed)
    may = checked.permissions
    held = await account.balances(signed) if "query-funds" in may else None
    return {
        "exchange": {"status": state, "meaning": meaning},
        "key": checked.to_dict(),
        "balances": None if held is None else {asset: one.to_dict() for asset, one in held.items()},
        "open_orders": await account.count_open(signed) if "query-open-trades" in may else None,
    }


@trade.command(cls=Command)
@click.argument("journal", type=FILE)
@json_option
def audit(journal: Path, *, json_: bool) -> int:
    """Compute a journal's balances again, and say what does not agree.

    Needs neither key nor network. Exit 1: something is not explained. What a crash left of the last row is explained:
    it was not synced, so nothing that it asked for was sent.

    \b
    krakpot trade audit maker.journal
    krakpot trade audit maker.journal --json
    """
    from krakpot.trade import journal as module

    found = module.audit(journal)
    if json_:
        print_json(found.to_dict())
    else:
        for sentence in module.sentences(found):
            click.echo(sentence)
    return 0 if found.explained else FOUND_WRONG

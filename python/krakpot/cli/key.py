"""Commands about API keys: ``key new`` writes a key file, ``key check`` asks what the key may do."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from krakpot import values
from krakpot.cli.command import FILE, FOUND_WRONG, Command, Commands, Value, json_option, print_json
from krakpot.config import REST_URL
from krakpot.errors import ConfigError

if TYPE_CHECKING:
    from krakpot.trade.key import Key

ADDRESS = Value(values.rest_url, "ADDRESS")
MODE = click.Choice(("test", "live"))
url_option = click.option(
    "--url", type=ADDRESS, help="Address of REST. Default: Kraken's for a live key; a test key needs one."
)


def address_for(key: Key, url: str | None) -> str:
    """Return the address at which a key is used; ``ConfigError`` if there is none, or it must not be used there."""
    if url is None and key.mode != "live":
        sentence = "--url: a test key needs the address of the exchange's REST, which it prints at its start"
        raise ConfigError(sentence)
    address = url or REST_URL
    key.check_host(address)
    return address


@click.group(cls=Commands)
def key() -> None:
    """Write the file of an API key, and see what the key may do.

    \b
    krakpot key new ~/.config/krakpot/maker.toml --mode live
    krakpot key check ~/.config/krakpot/maker.toml --json
    """


@key.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--mode", type=MODE, required=True, help="live: a key of Kraken; test: one of the built-in exchange.")
@click.option("--account", default="", help="A name of the account, for you.")
def new(file: Path, mode: str, account: str) -> None:
    """Write a key file that only you can read.

    Asks for the key and its secret, or takes KRAKPOT_API_KEY and KRAKPOT_API_SECRET. Neither is shown. Neither is taken
    from the command line, which every user of a machine can read.

    \b
    krakpot key new ~/.config/krakpot/maker.toml --mode live --account main
    """
    from krakpot.trade import key as module

    texts = []
    for name, prompt in zip(module.VARIABLES, ("API key", "Secret"), strict=True):
        texts.append(os.environ.get(name) or click.prompt(prompt, hide_input=True, err=True))
    module.write(file, *texts, mode="live" if mode == "live" else "test", account=account)
    click.echo(f"{file} is written; only you can read it. See what the key may do: krakpot key check {file}")


@key.command(cls=Command)
@click.argument("file", type=FILE)
@url_option
@json_option
def check(file: Path, url: str | None, *, json_: bool) -> int:
    """Ask the exchange what a key may do, and refuse a key that should not trade.

    Refused are keys that may withdraw money, and keys that lack a permission which trading needs. Exit 1: the key is
    refused.

    \b
    krakpot key check ~/.config/krakpot/maker.toml
    krakpot key check test.toml --url http://127.0.0.1:8081
    """
    from krakpot.trade import key as module
    from krakpot.trade.nonces import Nonces
    from krakpot.trade.signed import Signed
    from krakpot.trade.signed import check as ask

    found = module.load(file)
    address = address_for(found, url)
    with Nonces(found.id) as nonces:
        checked = asyncio.run(ask(Signed(address, found, nonces)))
    if json_:
        print_json(checked.to_dict() | {"mode": found.mode, "account": found.account})
    else:
        click.echo(f"{found.mode} key {checked.name!r} may: {', '.join(checked.permissions) or 'nothing'}")
        for sentence in checked.warnings:
            click.echo(f"warning: {sentence}")
        for sentence in checked.problems:
            click.echo(f"refused: {sentence}")
    return FOUND_WRONG if checked.problems else 0

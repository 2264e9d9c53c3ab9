"""``krakpot view``: a page on a recording, or on the market as it is now."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from krakpot import values
from krakpot.cli.command import (
    PATTERNS,
    PORT,
    Command,
    Value,
    json_option,
    print_json,
    refuse,
    with_flag,
)
from krakpot.config import OPTIONS
from krakpot.errors import ConfigError, counted
from krakpot.values import LEVEL3

if TYPE_CHECKING:
    from krakpot.feed.feed import Feed
    from krakpot.serve.server import ViewServer

LIVE = "live"
OF_FEEDS = (
    "symbols", "exclude", "depth", "tokenised", "level3_depth", "level3_rate", "url", "plaintext", "level3_url",
    "rest_url",
)  # fmt: skip
"""Options of a recording that a live view has too."""
HELP = {
    "tokenised": "Show tokenised assets too (AAPLx/USD).",
    "rest_url": "Where the tokens for level3 come from; http:// only on this machine.",
}
"""Help of options that do less here than in a recording."""
CHANNELS = ("book", "trade", "ticker")
VARIABLE = "KRAKPOT_VIEW_TOKEN"
"""Variable of the token: other users of this machine see command lines."""
HOST = Value(values.host, "HOST")


def _feed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a live view."""
    for name in reversed(OF_FEEDS):
        option = OPTIONS[name]
        switch = option.read is values.flag
        text = HELP.get(name, option.help)
        help_ = f"Live: {text[0].lower()}{text[1:]}" + ("" if switch else f" Default: {option.default}.")
        kind = {} if switch else {"type": Value(option.read, option.form)}
        add = click.option(option.flag, option.field, help=help_, is_flag=switch, default=None, **kind)  # type: ignore[arg-type]  # a type or none
        command = add(command)
    return command


@click.command(cls=Command, interrupted="the view is closed")
@click.argument("source", default="data", metavar="[LAKE|live]")
@_feed_options
@click.option("--level3", type=PATTERNS, help="Live: show every order of these pairs, too. Needs an API key.")
@click.option("--host", default="127.0.0.1", type=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, type=PORT, show_default=True, help="Port; 0 chooses a free one.")
@click.option(
    "--open/--no-open", "open_", default=None, help="Open a browser, or do not. Default: if this is a terminal."
)
@json_option
def view(
    source: str, host: str, port: int, level3: tuple[str, ...] | None, *, open_: bool | None,
    json_: bool, **feed: Any,
) -> int:  # fmt: skip
    """Show a recording, or the live market, in the browser.

    A lake is shown from its beginning: play it, pause it, go to any time of it. One that is being recorded is followed
    at its end. `live` needs no lake: it connects to Kraken, as a strategy's feed does. Ctrl-C ends it.

    \b
    krakpot view data                                  a lake; without a name it is ./data
    krakpot view live --symbols 'BTC/*,ETH/USD'        the market now
    krakpot view live --symbols BTC/USD --depth 1000 --level3 BTC/USD
    krakpot view data --host 0.0.0.0                   for other machines, too

    Only programs on this machine can connect, unless --host says otherwise. Then every request needs the token that is
    in the printed address: a new one each time, or that of KRAKPOT_VIEW_TOKEN. On a network that others use, they can
    read what is sent.

    Other programs can draw as well: docs/reference/stream.md describes the stream. flowsurface reads the trades of a
    lake from the same address. docs/view.md shows all of it.

    The orders of level 3 need an API key of a Kraken account, with the permission "WebSocket interface - On" and no
    other, in KRAKPOT_API_KEY and KRAKPOT_API_SECRET.
    """
    if find_spec("aiohttp") is None:
        raise ConfigError("krakpot view needs aiohttp: pip install 'krakpot[view]'")
    from krakpot.serve.server import PLACE, ViewServer

    live = source == LIVE
    if not live:
        flags = {"--level3", *(f"--{name.replace('_', '-')}" for name in OF_FEEDS)}
        refuse(flags, "on a lake, which has what was recorded")
    say: Callable[[str], None] = lambda line: click.echo(line, err=True)  # noqa: E731  # it has a type here
    opens = not json_ and sys.stdout.isatty() if open_ is None else open_
    try:
        fed = _feed(feed, level3) if live else None
        server = ViewServer(fed or _lake(source), host=host, port=port, token=_token(), log=say)
        asyncio.run(_serve(server, fed, opens=opens, json_=json_))
    except ConfigError as error:
        sentence = with_flag(with_flag(str(error), f"{PLACE}: "), "krakpot.Feed: ")
        raise ConfigError(sentence) from None
    if json_:
        print_json({"source": source, "address": server.address, "clients": server.served})
    else:
        click.echo(f"served {counted(server.served, 'client')}")
    return 0


def _token() -> str | None:
    """The token of the environment, if there is one."""
    text = os.environ.get(VARIABLE)
    try:
        return None if text is None else values.token(text)
    except ValueError as error:
        raise ConfigError(f"environment: {VARIABLE}: the value is not allowed; allowed is {error}") from None


def _lake(source: str) -> Path:
    try:
        return Path(values.folder(source))
    except ValueError as error:
        raise ConfigError(f"LAKE: {values.shown(source)} is not allowed; allowed is {error}") from None


def _feed(options: dict[str, Any], level3: tuple[str, ...] | None) -> Feed:
    """A feed of what is to be shown."""
    from krakpot.feed.feed import Feed

    given = {name: value for name, value in options.items() if value is not None}
    symbols = given.pop("symbols", ("*",))
    channels = dict.fromkeys(CHANNELS, symbols)
    if level3 is not None:
        channels[LEVEL3] = level3
    given.setdefault("depth", OPTIONS["depth"].read("100"))
    return Feed(channels=channels, **given)


async def _serve(server: ViewServer, feed: Feed | None, *, opens: bool, json_: bool) -> None:
    """Serve until Ctrl-C or SIGTERM, or until the feed fails."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    async with contextlib.AsyncExitStack() as stack:
        if feed is not None:
            connecting = asyncio.create_task(stack.enter_async_context(feed))
            await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
                raise KeyboardInterrupt
            connecting.result()
        await stack.enter_async_context(server)
        click.echo(f"listening on {server.address}", err=json_)
        if server.everywhere:
            click.echo("from another machine: the same address with the name of this machine in it", err=json_)
        if opens:
            # A browser that is not there takes its time to say so.
            loop.run_in_executor(None, webbrowser.open, server.address)
        waits: set[asyncio.Task[Any]] = {stopped}
        if feed is not None:
            waits.add(asyncio.create_task(feed.run()))
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

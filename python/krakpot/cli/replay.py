"""``krakpot replay``: plays a recording in a terminal, or serves it to clients of Kraken."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from krakpot import _core, values
from krakpot.cli.command import (
    PATTERNS,
    PORT,
    TIME,
    Command,
    Value,
    checksums,
    json_option,
    lake_argument,
    print_json,
    refuse,
    with_flag,
)
from krakpot.errors import ConfigError, counted
from krakpot.values import LEVEL3

if TYPE_CHECKING:
    from krakpot.cli.bar import Bar
    from krakpot.lake.sample import By
    from krakpot.replay.replay import Replay
    from krakpot.replay.server import ReplayServer
    from krakpot.stream.events import (
        BookEvent,
        GapEvent,
        Level3Event,
        OhlcEvent,
        StatusEvent,
        TickerEvent,
        TradeEvent,
    )

    Counted = BookEvent | Level3Event | TradeEvent | TickerEvent | OhlcEvent | StatusEvent

ORDERS = ("recv", "event")
SPEEDS = "a number above 0, as 1 or 60, or max: as fast as possible"
SHOW_EVERY = 0.1
"""Seconds between two looks at the replay."""


def _speed(value: object) -> float | None:
    """Read ``--speed``: a number above zero, or ``max`` (None)."""
    if value == "max":
        return None
    try:
        return values.speed(float(str(value)))
    except ValueError:
        raise ValueError(SPEEDS) from None


@click.command(cls=Command, interrupted="the replay ended there")
@lake_argument
@click.option("--symbols", type=PATTERNS, default="*", help="Patterns of pairs: BTC/*,ETH/USD. Default: all.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    type=Value(values.word_of(tuple(_core.CHANNELS)), "NAME"),
    help=f"{', '.join(_core.CHANNELS)}; can be repeated. Default: all that were recorded.",
)
@click.option("--start", type=TIME, help="Only what was received from this time on; without a zone it is UTC.")
@click.option("--end", type=TIME, help="Only what was received before this time.")
@click.option(
    "--by",
    default="recv",
    type=Value(values.word_of(ORDERS), "WORD"),
    show_default=True,
    help="Order: recv, as the messages came; event, by the exchange's time.",
)
@click.option(
    "--speed",
    type=Value(_speed, "NUMBER"),
    help="Recorded seconds a second: 1, 60; or max. Default: max, with --serve 1.",
)
@click.option("--serve", is_flag=True, help="Serve it as Kraken's WebSocket v2.")
@click.option("--host", default="127.0.0.1", type=Value(values.host, "HOST"), show_default=True, help="For --serve.")
@click.option("--port", default=8080, type=PORT, show_default=True, help="For --serve; 0 chooses a free one.")
@json_option
@click.pass_context
def replay(
    context: click.Context,
    lake: Path,
    symbols: tuple[str, ...],
    channels: tuple[str, ...],
    start: int | None,
    end: int | None,
    by: By,
    speed: float | None,
    host: str,
    port: int,
    *,
    serve: bool,
    json_: bool,
) -> int:
    """Play a recording, or serve it as Kraken's WebSocket.

    The events of the lake come in the order and at the pace in which they came. With --serve any client of Kraken's
    WebSocket v2 runs on the market of another day. The replay begins a second after the first client has
    subscribed, and at its end the clients are disconnected with code 1000.

    \b
    krakpot replay data                                              how many events there are, and which gaps
    krakpot replay data --symbols BTC/USD --start 2026-11-22T10:00 --speed 60
    krakpot replay data --serve --port 8080                          then connect to ws://127.0.0.1:8080/v2
    """
    from krakpot.cli.bar import Bar
    from krakpot.replay.replay import Replay
    from krakpot.replay.server import PLACE, ReplayServer

    if not serve:
        refuse({"--host", "--port"}, "without --serve")
    given = context.get_parameter_source("speed") is click.core.ParameterSource.COMMANDLINE
    chosen: dict[str, Any] = {"channels": list(channels) or None, "by": by}
    say: Callable[[str], None] = lambda line: click.echo(line, err=True)  # noqa: E731  # it has a type here
    with Bar("replay", quiet=json_) as bar:
        if serve:
            pace = speed if given else 1.0
            server = ReplayServer(lake, symbols, start, end, **chosen, speed=pace, host=host, port=port, log=say)
            tally = _Tally(server.replay, bar)
            try:
                asyncio.run(_serve(server, tally, json_=json_))
            except ConfigError as error:
                raise ConfigError(with_flag(str(error), f"{PLACE}: ")) from None
        else:
            tally = _Tally(Replay(lake, symbols, start, end, **chosen, speed=speed), bar)
            asyncio.run(_play(tally))
    facts: dict[str, Any] = {"lake": str(lake)} | tally.facts()
    if serve:
        facts["clients"] = server.served
    if json_:
        print_json(facts)
        return 0
    for line in tally.lines():
        click.echo(line)
    if serve:
        click.echo(f"served {counted(server.served, 'client')}")
    return 0


class _Tally:
    """Counts what is played, and shows it."""

    def __init__(self, replay: Replay, bar: Bar) -> None:
        self.replay = replay
        self.events: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        """By channel and reason."""
        self.checksums: dict[str, dict[str, int]] = defaultdict(lambda: {"ok": 0, "bad": 0})
        """By channel."""
        self.first: int | None = None
        self.last: int | None = None
        self._bar = bar
        for channel in (*replay.channels, "status"):
            replay.on(channel, self._count)
            if channel in ("book", LEVEL3):
                replay.on(channel, self._checked)
        replay.on("gap", self._gap)

    def _count(self, event: Counted) -> None:
        self.events[event.channel] += 1
        self.last = event.ts_recv
        if self.first is None:
            self.first = event.ts_recv

    def _checked(self, event: BookEvent | Level3Event) -> None:
        if event.outcome in {"ok", "mismatch"}:
            self.checksums[event.channel]["ok" if event.outcome == "ok" else "bad"] += 1

    def _gap(self, event: GapEvent) -> None:
        self.gaps[f"{event.of}: {event.reason}"] += 1

    async def show(self) -> None:
        """Show how far it is, until it is cancelled."""
        while True:
            await asyncio.sleep(SHOW_EVERY)
            if (now := self.replay.now) is not None:
                self._bar.note(f"{_moment(now)} · {' · '.join(self._counts())}")

    def _counts(self) -> list[str]:
        counts = [f"{count:,} {channel}" for channel, count in self.events.items()]
        return [*counts, counted(self.gaps.total(), "gap")]

    def facts(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "ts_from": self.first,
            "ts_to": self.last,
            "symbols": len(self.replay.selected_symbols),
            "channels": self.replay.channels,
            "events": dict(self.events),
            "checksums": dict(self.checksums),
            "gaps": dict(self.gaps),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.first is None or self.last is None:
            yield "nothing was played"
            return
        yield f"{_moment(self.first)} to {_moment(self.last)} UTC"
        yield f"{', '.join(self._counts())}; {checksums(self.checksums)}"
        for what, count in sorted(self.gaps.items()):
            yield f"  {counted(count, 'gap')} of {what}"


def _moment(ts: int) -> str:
    """A time, to the second."""
    from krakpot.lake.format import stamp

    return f"{stamp(ts):%Y-%m-%d %H:%M:%S}"


async def _play(tally: _Tally) -> None:
    async with tally.replay:
        shown = asyncio.create_task(tally.show())
        try:
            await tally.replay.run()
        finally:
            shown.cancel()


async def _serve(server: ReplayServer, tally: _Tally, *, json_: bool) -> None:
    """Serve until the end of the recording, Ctrl-C or SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        click.echo(f"listening on {server.address}", err=json_)
        if LEVEL3 in tally.replay.channels:
            click.echo(f"level 3 at {server.level3_address}", err=json_)
        waits = [asyncio.create_task(event.wait()) for event in (stop, server.finished)]
        shown = asyncio.create_task(tally.show())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*waits, shown):
                task.cancel()

"""The command line. Exit codes: 0 well, 1 something was found wrong, 2 wrong use."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from krakpot import __version__
from krakpot.errors import ConfigError, KrakpotError, NoLake, StorageError

if TYPE_CHECKING:
    from krakpot.lake.lake import Lake

WRONG, USE = 1, 2


def _fail(error: Exception, code: int) -> NoReturn:
    if os.environ.get("KRAKPOT_DEBUG"):
        raise error
    click.echo(f"krakpot: {error}", err=True)
    sys.exit(code)


def _damage(error: Exception) -> bool:
    """Whether Polars or PyArrow could not read a file; neither is imported to ask."""
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(names & {"polars.ComputeError", "pyarrow.ArrowException"})


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn krakpot's errors into one sentence and an exit code; ``KRAKPOT_DEBUG=1`` shows where they come from."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            click.echo("krakpot: interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            # Click's: whoever read the output has enough of it.
            raise
        except Exception as error:
            lake = kwargs.get("lake")
            if lake is not None and (_damage(error) or isinstance(error, OSError)):
                reason = str(error).partition("\n")[0]
                _fail(StorageError(f"a part cannot be read ({reason}); `krakpot verify {lake}` names it", lake), WRONG)
            if isinstance(error, (ConfigError, NoLake, ValueError)):
                _fail(error, USE)
            if isinstance(error, KrakpotError):
                _fail(error, WRONG)
            raise

    return run


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--json``."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON object on standard output.")(command)


def _checksums(checksums: Mapping[str, Mapping[str, int]]) -> str:
    """Say how many were right: of books, and of level 3 where there is any."""
    parts = [
        f"{channel} checksums {checked['ok']:,} ok, {checked['bad']:,} bad"
        for channel, checked in checksums.items()
        if channel == "book" or checked["ok"] + checked["bad"]
    ]
    return ", ".join(parts)


def _print_json(facts: object) -> None:
    click.echo(json.dumps(facts, default=str))


class Commands(click.Group):
    """Commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click hands it over
        """Keep the order of definition."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="krakpot")
def main() -> None:
    """Record Kraken's spot market data feed exactly, prove the record, read it back.

    \b
    krakpot demo                                  everything at once, on the built-in exchange
    krakpot record --symbols 'BTC/*,ETH/USD'      record Kraken into ./data until Ctrl-C
    krakpot verify data                           prove what was recorded, from the files alone
    """


LAKE = click.argument("lake", type=click.Path(path_type=Path))


@main.command()
@click.option("--for", "duration", default="10s", show_default=True, help="How long to record.")
@click.option("--pairs", default=200, show_default=True, help="Pairs on the built-in exchange.")
@click.option("--rate", default=5000.0, show_default=True, help="Messages a second that it sends.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder of the lake."
)
@as_json
@plainly
def demo(duration: str, pairs: int, rate: float, seed: int, out: Path, *, json_: bool) -> None:
    """Record the built-in exchange for some seconds, prove the record, draw a picture.

    Needs no network. The lake stays in the folder, for you to look at.
    """
    from krakpot.cli import demo as module
    from krakpot.values import duration as seconds

    facts = module.demo(out, seconds=_read(seconds, duration, "--for"), pairs=pairs, rate=rate, seed=seed, quiet=json_)
    if json_:
        _print_json(facts)
    sys.exit(0 if facts["verify"]["proved"] else WRONG)


def _read(reader: Callable[[Any], Any], value: str, place: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        sentence = f"{place}: {value!r} is not allowed; allowed is {error}"
        raise ConfigError(sentence) from None


@main.command()
@click.option("--symbols", help="Patterns of pairs, with commas: 'BTC/*,ETH/USD'. Default: all.")
@click.option("--exclude", help="Patterns of pairs to leave out.")
@click.option("--channels", help="Of book, trade, ticker, ohlc, level3. Default: book,trade,ticker.")
@click.option("--depth", help="Book depth: 10, 25, 100, 500 or 1000. Default: 100.")
@click.option("--interval", help="Minutes of a candle, for ohlc. Default: 1.")
@click.option("--out", help="Folder of the lake. Default: data.")
@click.option("--for", "duration", help="How long: 30s, 10m, 1h, 2d. Default: until Ctrl-C.")
@click.option("--raw", is_flag=True, default=None, help="Keep every frame byte for byte as well.")
@click.option("--tokenised", is_flag=True, default=None, help="Tokenised assets too (AAPLx/USD).")
@click.option("--precision", multiple=True, help="Precision where the exchange tells none: BTC/USD=1,8.")
@click.option("--seal-interval", help="How often journals become Parquet. Default: 5m.")
@click.option("--keep", help="Remove whole days that are older: 30d. Default: never.")
@click.option("--min-free", help="End in order before the disk has less room: 5GB. Default: 200MB.")
@click.option("--url", help="Address of the exchange. Default: wss://ws.kraken.com/v2.")
@click.option(
    "--plaintext", is_flag=True, default=None, help="Allow ws:// to another machine: nobody proves who answers."
)
@click.option("--symbols-per-connection", help="Spread the pairs over connections of so many. Default: all on one.")
@click.option("--redundant", help="Patterns of pairs to record a second time, over connections of their own.")
@click.option("--when-slow", help="When the disk is slower than the feed: wait or fail. Default: wait.")
@click.option("--level3-depth", help="Price levels of level 3: 10, 100 or 1000. Default: 100.")
@click.option("--level3-rate", help="What the account may subscribe a second: 200 standard, 500 pro. Default: 200.")
@click.option("--level3-url", help="Address of level 3. Default: wss://ws-l3.kraken.com/v2.")
@click.option("--rest-url", help="Where level 3's tokens come from. Default: https://api.kraken.com.")
@click.option("--metrics", metavar="[HOST:]PORT", help="Serve metrics and health there. Default: nowhere.")
@click.option("--log-format", help="Lines as text, or as json, one object a line. Default: text.")
@click.option("--log-level", help="From info, warning or error on. Default: info.")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="TOML file with these options. Default: krakpot.toml."
)
@as_json
@plainly
def record(file: Path | None, *, json_: bool, **options: Any) -> None:
    """Record until Ctrl-C, or for a time.

    Options come from the command line, KRAKPOT_* variables (KRAKPOT_DEPTH=1000), krakpot.toml and defaults, in this
    order.

    \b
    krakpot record                                        all pairs, books of depth 100, trades, tickers
    krakpot record --symbols 'BTC/USD,ETH/*' --for 1h     some pairs, one hour
    krakpot record --depth 1000 --channels book,trade     deeper, without tickers
    krakpot record --channels book,level3                 every single order as well

    Level 3 needs an API key of a Kraken account, with the permission "WebSocket interface - On" and no other, in
    KRAKPOT_API_KEY and KRAKPOT_API_SECRET or in a krakpot.toml that only you can read: never on the command line.
    """
    from krakpot import config as module

    config = module.load(options, file=file)
    from krakpot.cli.screen import Screen, size, span
    from krakpot.log import LogLine
    from krakpot.record import run

    with Screen(quiet=json_, json=config.log_format == "json", level=config.log_level) as screen:
        words = f"recording {config.url} into {config.out}" + ("" if config.duration else " until Ctrl-C")
        screen.say(LogLine(words, "start", url=config.url, out=str(config.out), version=__version__))
        try:
            summary = run.record(config, log=screen.say, on_status=screen.show)
        except KrakpotError as error:
            if not screen.json:
                raise
            screen.say(LogLine(str(error), "failed", "error", kind=type(error).__name__))
            sys.exit(USE if isinstance(error, (ConfigError, NoLake)) else WRONG)
    if json_:
        _print_json(summary)
        sys.exit(WRONG if summary["unsealed"] else 0)
    click.echo(
        f"{summary['frames']:,} messages and {sum(summary['rows'].values()):,} rows in {span(summary['seconds'])}; "
        f"{_checksums(summary['checksums'])}; {summary['unchecked']:,} unchecked; "
        f"{summary['gaps']:,} gaps; "
        f"{summary['errors']:,} errors; {size(summary['journal_bytes'])} journalled"
    )
    if summary["backpressure"]["waits"]:
        slow = summary["backpressure"]
        click.echo(f"the disk was slower than the feed: {slow['waits']:,} waits, {slow['seconds']:,.1f} s together")
    for what, reason in list(summary["refused"].items())[:20]:
        click.echo(f"refused: {what}: {reason}")
    if summary["unsealed"]:
        click.echo(f"not sealed: {summary['unsealed']}")
        click.echo(f"krakpot recover {config.out}    seals what is safe in the journals")
        sys.exit(WRONG)
    click.echo(f"krakpot verify {config.out}    proves it from the files alone")


@main.command()
@click.argument("where", default="9100")
@click.option("--every", default="2s", show_default=True, help="Time between two looks.")
@click.option("--once", is_flag=True, help="One look; exit code 1 if the recorder is not well.")
@as_json
@plainly
def top(where: str, every: str, *, once: bool, json_: bool) -> None:
    """Show a running recorder, until Ctrl-C.

    WHERE is the port of `krakpot record --metrics` on this machine, or an address. A token comes from
    KRAKPOT_METRICS_TOKEN.
    """
    from rich.console import Console

    from krakpot.cli import top as module
    from krakpot.values import duration

    base = _read(module.address, where, "WHERE")
    seconds = _read(duration, every, "--every")
    token = os.environ.get("KRAKPOT_METRICS_TOKEN", "")
    if not once and not json_:
        module.watch(base, token, seconds)
    glance = module.Glance.take(base, token)
    if json_:
        _print_json(glance.facts())
    else:
        Console().print(module.panel(glance, None, base))
    sys.exit(0 if glance.healthy else WRONG)


@main.command()
@click.option("--symbols", default="*", show_default=True, help="Patterns of pairs, with commas.")
@click.option("--exclude", default="", help="Patterns of pairs to leave out.")
@click.option("--lake", type=click.Path(path_type=Path), help="List the pairs of a recorded lake instead.")
@click.option("--url", help="Address of the exchange. Default: wss://ws.kraken.com/v2.")
@as_json
@plainly
def pairs(symbols: str, exclude: str, lake: Path | None, url: str | None, *, json_: bool) -> None:
    """List the pairs with their precisions and status."""
    from krakpot.cli import pairs as module

    rows = module.pairs(symbols, exclude, lake=lake, url=url)
    if json_:
        _print_json({"pairs": rows})
        return
    click.echo(f"{'pair':<16}{'status':<18}{'price decimals':>15}{'qty decimals':>14}{'smallest order':>20}")
    for row in rows:
        click.echo(
            f"{row['symbol']:<16}{row['status'] or '':<18}{row['price_precision']:>15}{row['qty_precision']:>14}"
            f"{row['qty_min'] or '':>20}"
        )
    click.echo(f"{len(rows)} pairs")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port; 0 chooses a free one.")
@click.option("--pairs", default=200, show_default=True, help="Pairs, up to 1500.")
@click.option("--rate", default=1000.0, show_default=True, help="Messages a second of a full subscription.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
@click.option(
    "--speed", default="1", show_default=True, help="Exchange seconds in a second, or 'max': as fast as clients read."
)
@click.option("--for", "duration", help="Exchange time after which it closes. Default: until Ctrl-C.")
@click.option("--start", help="Exchange time at the start, RFC 3339. Default: now.")
@click.option("--log", type=click.Path(path_type=Path), help="Write a line for every frame sent.")
@click.option("--book-delay", default="0", help="From the making of a book message to its sending: 5ms.")
@click.option("--book-jitter", default="0", help="Up to as much more, at random.")
@click.option("--book-conflate", default="0", help="Collect a symbol's changes for so long into one message.")
@click.option("--level3-delay", default="0", help="The same for level3.")
@click.option("--level3-jitter", default="0", help="The same for level3.")
@click.option("--level3-conflate", default="0", help="The same for level3.")
@click.option("--rest-port", default=0, help="Port of REST, for tokens. Default: a free one.")
@click.option(
    "--api-key", help="Key for tokens; or KRAKPOT_API_KEY. Default: a new one, said at the start.",
    envvar="KRAKPOT_API_KEY",
)  # fmt: skip
@click.option("--api-secret", help="Its secret, base64; better in KRAKPOT_API_SECRET.", envvar="KRAKPOT_API_SECRET")
@click.option("--fault", multiple=True, help="What goes wrong: 'drop=0.01,channel=book'. Can be repeated.")
@click.option("--faults", is_flag=True, help="List what can go wrong.")
@as_json
@plainly
def exchange(
    host: str, port: int, pairs: int, rate: float, seed: int, speed: str, duration: str | None, start: str | None,
    log: Path | None, rest_port: int, api_key: str | None, api_secret: str | None, fault: tuple[str, ...],
    *, faults: bool, json_: bool, **pauses: str,
) -> None:  # fmt: skip
    """Serve a simulated exchange that speaks Kraken's v2 protocol.

    A real matching engine with seeded order flow, for demos, tests and load figures.

    \b
    krakpot exchange --port 8080 &
    krakpot record --url ws://127.0.0.1:8080/v2 --for 30s --out lake

    \b
    export KRAKPOT_API_KEY=key KRAKPOT_API_SECRET=c2VjcmV0
    krakpot exchange --port 8080 --rest-port 8081 &
    krakpot record --channels book,level3 --url ws://127.0.0.1:8080/v2 --rest-url http://127.0.0.1:8081 --out lake
    """
    from krakpot.exchange import options as module
    from krakpot.exchange.server import ExchangeServer, run
    from krakpot.values import duration as seconds

    if faults:
        _list_faults(json_=json_)
        return
    read = {name: _read(module.pause, text, "--" + name.replace("_", "-")) for name, text in pauses.items()}
    book, level3 = (
        module.Pace(*(read[f"{channel}_{what}"] for what in ("delay", "jitter", "conflate")))
        for channel in ("book", "level3")
    )
    options = module.Options(
        host=host,
        port=port,
        pairs=pairs,
        rate=rate,
        seed=seed,
        speed=_read(module.speed, speed, "--speed"),
        duration=None if duration is None else _read(seconds, duration, "--for"),
        start=None if start is None else _read(module.start, start, "--start"),
        log=log,
        book=book,
        level3=level3,
        rest_port=rest_port,
        key=module.key(api_key, api_secret),
        faults=fault,
    )

    def say(server: ExchangeServer) -> None:
        click.echo(f"listening on {server.address}", err=json_)
        click.echo(f"level 3 at {server.level3_address}, its tokens at {server.rest_address}", err=json_)
        if options.key is None:
            click.echo(f"API key {server.key.name} secret {server.key.secret_text}", err=json_)

    summary = run(options, say)
    if json_:
        _print_json(summary)
    else:
        click.echo(f"{summary['messages']:,} messages to {len(summary['connections'])} connections")
        if summary["faults"]:
            click.echo("faults: " + ", ".join(f"{name} {count:,}" for name, count in summary["faults"].items()))


def _list_faults(*, json_: bool) -> None:
    from krakpot import _core

    if json_:
        keys = ("name", "of", "by", "help")
        _print_json({"faults": [dict(zip(keys, row, strict=True)) for row in _core.FAULTS]})
        return
    for name, of, by, text in _core.FAULTS:
        click.echo(f"{name:<13}{of:<12}{text}" + (f" (by={by})" if by else ""))


@main.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long each multiple is measured.")
@click.option("--most", default=100.0, show_default=True, help="Highest multiple of the full feed that is tried.")
@click.option("--level3", type=click.Choice(["10", "100", "1000"]), help="A second table: level 3 too, this deep.")
@click.option("--pairs", default=1450, show_default=True, help="Pairs; fewer is not the full feed.")
@click.option("--rate", default=10_000.0, show_default=True, help="Messages a second that count as once.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw CPU and lag over the rate, an SVG file.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the lakes, which stay. Default: none stays.")
@as_json
@plainly
def capacity(
    seconds: float, most: float, level3: str | None, pairs: int, rate: float, plot: Path | None, out: Path | None,
    *, json_: bool,
) -> None:  # fmt: skip
    """Measure how much of the full feed this machine carries.

    The built-in exchange sends 1, 2, 5, 10 … times the full feed to a recorder on this machine until something gives,
    then two steps between. Needs no network. A step takes its seconds and about 40 more, with level 3 as long as its
    subscriptions take (36 s at depth 10, three minutes at 100, twelve at 1000); some GB of room for the lakes,
    which are written to the folder for temporary files (TMPDIR), or to --out: let it be on the disk that you will use.
    Exit 0: the machine carries the full feed; 1: it does not, or messages were lost where nothing was at its end.

    \b
    krakpot capacity --plot capacity.svg                  the answer, and a picture of it
    krakpot capacity --seconds 60 --most 10 --level3 100  longer steps, not beyond ten times, level 3 too
    """
    from importlib.util import find_spec

    from krakpot.cli import capacity as module
    from krakpot.cli.capacity_run import Load

    if not 0 < most < 1e6 or not 1 <= seconds <= 86_400 or not 1 <= pairs <= 1500 or not 1 <= rate < 1e7:  # noqa: PLR2004  # said below
        raise ConfigError("allowed are --seconds 1 to 86400, --most above 0, --pairs 1 to 1500, --rate 1 to 10000000")
    if plot is not None and not find_spec("matplotlib"):
        raise ConfigError("--plot needs matplotlib: pip install 'krakpot[plot]'")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise ConfigError(f"--plot {plot}: there is no such folder")
    say: Callable[[str], None] = (lambda line: None) if json_ else lambda line: click.echo(line, err=True)
    loads = [Load(pairs, rate), *([Load(pairs, rate, int(level3))] if level3 else [])]
    say(module.machine())
    reports = module.measure(loads, seconds=seconds, most=most, out=out, say=say)
    if plot is not None:
        module.draw(reports, plot)
    if json_:
        facts = {"machine": module.machine(), "plot": None if plot is None else str(plot)}
        _print_json(facts | {"tables": [report.to_dict() for report in reports]})
    else:
        for report in reports:
            click.echo("\n".join(["", *module.table(report), "", *report.answer()]))
        if plot is not None:
            click.echo(f"plot: {plot}")
    sys.exit(0 if all(report.well for report in reports) else WRONG)


@main.command()
@click.argument("frames", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Folder of the lake."
)
@click.option("--precision", multiple=True, help="Where the frames have no instrument message: BTC/USD=1,8.")
@click.option("--depth", help="Book depth, where the frames have no ack: 10, 25, 100, 500 or 1000.")
@click.option("--raw", is_flag=True, help="Keep every frame byte for byte as well.")
@as_json
@plainly
def ingest(
    frames: tuple[Path, ...], out: Path, precision: tuple[str, ...], depth: str | None, *, raw: bool, json_: bool
) -> None:
    """Put recorded frames into a lake, through the same session as live.

    FRAMES are files with one frame a line (.jsonl or .jsonl.zst); receive times may stand beside them in .recv_ns, one
    line a frame, nanoseconds since the epoch.
    """
    from krakpot import config
    from krakpot.net.client import add_counts
    from krakpot.record import ingest as module

    told = config.read("precision", precision, "--precision")
    levels = None if depth is None else config.read("depth", depth, "--depth")
    total: dict[str, Any] = {}
    skipped = 0
    files = []
    for path in frames:
        result = module.ingest(path, out, precision=told, depth=levels, raw=raw)
        total = add_counts(total, result.counts)
        skipped += result.skipped
        files.append(
            {"file": str(path), "session": result.session, "skipped": result.skipped, "remarks": result.remarks}
        )
        if not json_:
            click.echo(
                f"{path}: {result.counts['frames']:,} frames, {_checksums(result.counts['checksums'])}, "
                f"{result.counts['unchecked']:,} unchecked, {result.counts['errors']:,} errors, "
                f"{result.skipped} lines skipped"
            )
            for remark in result.remarks[:20]:
                click.echo(f"  {remark}")
    if json_:
        keys = ("frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps")
        _print_json({key: total[key] for key in keys} | {"skipped": skipped, "files": files, "lake": str(out)})
    sys.exit(WRONG if any(checked["bad"] for checked in total["checksums"].values()) or skipped else 0)


@main.command()
@LAKE
@click.option("--strict", is_flag=True, help="Any bad checksum fails, even one that the ledger tells.")
@click.option("--threads", type=click.IntRange(1, 256), help="Default: one a core.")
@as_json
@plainly
def verify(lake: Path, threads: int | None, *, strict: bool, json_: bool) -> None:
    """Prove a lake from its parts alone.

    Rebuilds every book, computes every checksum again, and compares the ledger's account with the rows that are there.
    Exit 0: every message is right, or the ledger says why not; 1: something is wrong or missing.
    """
    from krakpot.cli.screen import Screen
    from krakpot.lake import verify as module

    with Screen(quiet=True) as screen:
        say = screen.say if sys.stderr.isatty() and not json_ else lambda line: None
        report = module.verify(lake, strict=strict, threads=threads, progress=say)
    if json_:
        _print_json(report.to_dict())
        sys.exit(0 if report.proved else WRONG)
    rows = ", ".join(f"{n:,} {table}" for table, n in report.rows.items())
    click.echo(f"{report.sessions} sessions, {report.frames:,} messages; rows: {rows or 'none'}")
    click.echo(
        f"{_checksums(report.checksums)}, {report.unchecked:,} unchecked; "
        f"{report.checkpoints:,} checkpoints; {report.gaps:,} gaps; {report.errors:,} errors"
    )
    for note in report.notes:
        click.echo(f"note: {note}")
    for problem in report.problems:
        click.echo(f"wrong: {problem}")
    if report.more_problems:
        click.echo(f"wrong: and {report.more_problems} more")
    click.echo("proved" if report.proved else "not proved")
    sys.exit(0 if report.proved else WRONG)


@main.command()
@LAKE
@click.option("--symbols", default="*", show_default=True, help="Patterns of pairs, with commas: 'BTC/*,ETH/USD'.")
@click.option("--from", "start", help="Only what was received from this time on, RFC 3339, UTC.")
@click.option("--to", "end", help="Only what was received before this time.")
@click.option("--window", default="5s", show_default=True, help="Most that the two may be apart.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for report.html and matches.parquet.")
@click.option("--live", is_flag=True, help="Follow a lake that is being recorded, until Ctrl-C.")
@click.option("--for", "duration", help="With --live: how long.")
@click.option("--span", default="1m", show_default=True, help="With --live: the latest time that is compared.")
@as_json
@plainly
def compare(
    lake: Path, symbols: str, start: str | None, end: str | None, window: str, out: Path | None, duration: str | None,
    span: str, *, live: bool, json_: bool,
) -> None:  # fmt: skip
    """Compare level 3 with the book channel: do the orders give the book that is published, and which is earlier.

    Latencies are the book channel's time less level 3's: positive is the book channel later. Exit 0: every book state
    that could be compared is there; 1: one is not, or a book was wrong; 2: the lake has not both.

    \b
    krakpot compare data --out report                     a page with pictures, and every pair as Parquet
    krakpot compare data --symbols BTC/USD --from 2026-11-22T10:00Z --to 2026-11-22T11:00Z
    krakpot compare data --live                           while it is being recorded
    """
    from krakpot.cli.screen import Screen
    from krakpot.compare import compare as module
    from krakpot.compare import html as compare_page
    from krakpot.compare import live as compare_live
    from krakpot.compare.text import lines
    from krakpot.lake.lake import Lake
    from krakpot.values import duration as seconds

    width = round(_read(seconds, window, "--window") * 1e9)
    opened = Lake(lake)
    with Screen(quiet=json_ or not live) as screen:
        if live:
            if start or end:
                raise ConfigError("--live compares the latest time; leave --from and --to out")
            report = compare_live.follow(
                opened,
                symbols,
                span=_read(seconds, span, "--span"),
                window=width,
                seconds=None if duration is None else _read(seconds, duration, "--for"),
                show=screen.text if not json_ else lambda lines: None,
            )
            if report is None:
                raise ConfigError(module.lacking(lake, "rows of one of the channels"))
        else:
            say = screen.say if sys.stderr.isatty() and not json_ else lambda line: None
            report = module.compare(opened, symbols, start, end, window=width, progress=say)
    written = [] if out is None else compare_page.write(report, out)
    if json_:
        _print_json(report.to_dict() | {"files": [str(path) for path in written]})
    else:
        for line in [*lines(report), *(f"written: {path}" for path in written)]:
            click.echo(line)
    sys.exit(0 if report.equal else WRONG)


@main.command()
@LAKE
@as_json
@plainly
def recover(lake: Path, *, json_: bool) -> None:
    """Seal the journals that a recorder left behind when it died.

    Safe at any time, any number of times; journals of living recorders are left alone. `krakpot record` does it at its
    start as well.
    """
    from krakpot.lake import seal

    report = seal.recover(
        lake, progress=(lambda name: None) if json_ else lambda name: click.echo(f"sealing {name}", err=True)
    )
    if json_:
        _print_json(report.to_dict())
        return
    click.echo(
        f"{len(report.sealed)} journals sealed ({len(report.recovered)} left by a recorder that died), "
        f"{report.rows:,} rows"
    )
    for torn in report.torn:
        click.echo(f"{torn['journal']}: torn at byte {torn['offset']:,}; {torn['bytes']:,} bytes are lost")
    if report.alive:
        click.echo(f"{len(report.alive)} journals belong to living recorders and were left alone")


@main.command()
@LAKE
@click.option("--symbol", help="Only this pair.")
@as_json
@plainly
def coverage(lake: Path, symbol: str | None, *, json_: bool) -> None:
    """Say what is known from when to when, and why it ended."""
    import polars as pl

    from krakpot.lake.lake import Lake

    opened: Lake = Lake(lake)
    frame = opened.coverage()
    if symbol is not None:
        opened.check_symbols([symbol])
        frame = frame.filter(pl.col("symbol") == symbol)
    if json_:
        text = frame.with_columns(pl.col("ts_from", "ts_to").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"))
        _print_json({"coverage": text.to_dicts()})
        return
    click.echo(f"{'channel':<9}{'symbol':<16}{'from (UTC)':<25}{'to (UTC)':<25}ended by")
    for row in frame.iter_rows(named=True):
        begin, end = (f"{row[name]:%Y-%m-%d %H:%M:%S.%f}"[:-3] for name in ("ts_from", "ts_to"))
        click.echo(f"{row['channel']:<9}{row['symbol']:<16}{begin:<25}{end:<25}{row['reason']}")
    click.echo(f"{frame.height} spans")


@main.command()
@LAKE
@click.option("--symbol", required=True, help="The pair: BTC/USD.")
@click.option("--at", required=True, help="The time, RFC 3339; without a zone UTC: 2026-08-02T03:36:00.250.")
@click.option("--depth", default=10, show_default=True, help="Levels a side.")
@click.option(
    "--by", default="recv", show_default=True, help="Whose time: recv, of receipt here, or event, the exchange's."
)
@click.option("--channel", default="book", show_default=True, help="Or level3: the book that follows from its orders.")
@as_json
@plainly
def book(lake: Path, symbol: str, at: str, depth: int, by: Any, channel: str, *, json_: bool) -> None:
    """Show the book of a pair as it was: after the last message up to the time, each checksum on the way proved.

    Exit 1: there is no book at that time, and it says why.
    """
    from krakpot.lake.lake import Lake

    found = Lake(lake).book_at(symbol, at, depth=depth, by=by, channel=channel)
    if json_:
        _print_json(found.to_dict())
    else:
        for line in found.lines():
            click.echo(line)
    sys.exit(0 if found.reason is None else WRONG)


@main.command()
@LAKE
@click.option("--dates", help="2026-08-01, 2026-08-01..2026-08-31, or several with commas. Default: all that are past.")
@click.option("--grace", default="10m", show_default=True, help="How long the old parts stay beside; 0: not at all.")
@as_json
@plainly
def compact(lake: Path, dates: str | None, grace: str, *, json_: bool) -> None:
    """Merge the many parts of past days into few.

    Safe at any time, any number of times, beside a living recorder; what was interrupted is finished by the next run.
    Needs as much room as the largest day again. Exit 1: a day had to be left as it is.
    """
    from krakpot.cli.screen import size
    from krakpot.lake import compact as module
    from krakpot.values import duration as seconds

    wait = 0.0 if grace in ("0", "0s") else _read(seconds, grace, "--grace")
    chosen = None if dates is None else _read(module.days, dates, "--dates")
    say: Callable[[str], None] = (lambda line: None) if json_ else lambda line: click.echo(line, err=True)
    report = module.compact(lake, dates=chosen, grace=wait, progress=say)
    if json_:
        _print_json(report.to_dict())
    else:
        done = [*report.finished, *report.compacted]
        click.echo(
            f"{len(done)} days compacted: {report.parts_before:,} parts became {report.parts_after:,}, "
            f"{size(report.bytes_before)} became {size(report.bytes_after)}"
        )
        for day, reason in report.skipped.items():
            click.echo(f"{day} was left as it is: {reason}")
    sys.exit(WRONG if report.wrong else 0)

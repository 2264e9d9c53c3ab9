"""Commands on a lake: ingest, verify, compare, recover, coverage, book, bars, compact."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import click

from krakpot import _core, values
from krakpot.cli.command import (
    DURATION,
    FILE,
    FOLDER,
    FOUND_WRONG,
    PATTERNS,
    TIME,
    Command,
    Value,
    checksums,
    json_option,
    lake_argument,
    print_json,
    refuse,
    results_folder,
)
from krakpot.errors import ConfigError, StorageError, counted, words_of


@click.command(
    cls=Command, interrupted="the file that was being read is not in the lake, those before it are; run it again"
)
@click.argument("frames", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FOLDER, default="data", show_default=True, help="Folder of the lake.")
@click.option("--precision", multiple=True, help="Decimals, where the frames have no instrument message: BTC/USD=1,8.")
@click.option(
    "--depth",
    type=Value(values.number_of(_core.DEPTHS), "LEVELS"),
    help=f"Book depth, where the frames have no ack: {values.alternatives(_core.DEPTHS)}.",
)
@click.option("--raw", is_flag=True, help="Keep every frame as well, byte for byte.")
@json_option
def ingest(
    frames: tuple[Path, ...], out: Path, precision: tuple[str, ...], depth: int | None, *, raw: bool, json_: bool
) -> int:
    """Put recorded frames into a lake, by the code that runs live.

    FRAMES are files with one frame per line (.jsonl, .jsonl.zst or .jsonl.gz). Receive times may lie beside them in
    .recv_ns, one per line, nanoseconds since the epoch.

    \b
    krakpot ingest frames.jsonl --out lake
    krakpot ingest *.jsonl.zst --precision BTC/USD=1,8 --depth 10
    """
    from krakpot.cli.bar import Bar
    from krakpot.net.client import add_counts
    from krakpot.record import ingest as module

    decimals = values.read(values.precision, precision, "--precision")
    total: dict[str, Any] = {}
    skipped = undecodable = 0
    files = []
    for path in frames:
        with Bar(f"ingest {path}", quiet=json_) as bar:
            result = module.ingest(path, out, precision=decimals, depth=depth, raw=raw, progress=bar)
        total = add_counts(total, result.counts)
        skipped += result.skipped
        undecodable += result.undecodable
        files.append(
            {
                "file": str(path),
                "session": result.session,
                "skipped": result.skipped,
                "undecodable": result.undecodable,
                "remarks": result.remarks,
            }
        )
        if not json_:
            click.echo(
                f"{path}: {counted(result.counts['frames'], 'frame')}, {checksums(result.counts['checksums'])}, "
                f"{result.counts['unchecked']:,} unchecked, {counted(result.counts['errors'], 'error')}, "
                f"{counted(result.skipped, 'line')} skipped, {counted(result.undecodable, 'line')} not decodable"
            )
            for remark in result.remarks[:20]:
                click.echo(f"  {remark}")
    if json_:
        keys = ("frames", "messages", "rows", "checksums", "unchecked", "errors", "gaps")
        print_json(
            {key: total[key] for key in keys}
            | {"skipped": skipped, "undecodable": undecodable, "files": files, "lake": str(out)}
        )
    bad = sum(checked["bad"] for checked in total["checksums"].values())
    if bad and not json_:
        click.echo(
            f"{counted(bad, 'checksum')} did not fit the books: frames are missing, or --depth or --precision is "
            f"another; the ledger names each place: krakpot.Lake({str(out)!r}).ledger()"
        )
    return FOUND_WRONG if bad or skipped or undecodable else 0


@click.command(cls=Command)
@lake_argument
@click.option("--strict", is_flag=True, help="Any bad checksum fails, even one that the ledger records.")
@click.option(
    "--threads", type=Value(values.whole_number(1, values.THREADS_MAX), "NUMBER"), help="Default: one per core."
)
@json_option
def verify(lake: Path, threads: int | None, *, strict: bool, json_: bool) -> int:
    """Prove a lake from its parts alone.

    Rebuilds every book, computes every checksum again, and compares the ledger's counts with the rows that are there.
    Exit 0: every message is right, or the ledger says why not, or a recorder runs and has sealed nothing yet; 1:
    something is wrong or missing.

    \b
    krakpot verify data                           also while a recorder is writing into it
    krakpot verify data --strict --json           for a job that must see every bad checksum
    """
    from krakpot.cli.bar import Bar
    from krakpot.lake import verify as module

    with Bar("verify", quiet=json_) as bar:
        report = module.verify(lake, strict=strict, threads=threads, progress=bar)
    # Beside a recorder that has sealed nothing yet there is nothing to prove, and nothing is wrong.
    code = FOUND_WRONG if report.outcome == "not proved" else 0
    if json_:
        print_json(report.to_dict())
        return code
    rows = ", ".join(f"{n:,} {table}" for table, n in report.rows.items())
    click.echo(f"{counted(report.sessions, 'session')}, {counted(report.frames, 'message')}; rows: {rows or 'none'}")
    click.echo(
        f"{checksums(report.checksums)}, {report.unchecked:,} unchecked; "
        f"{counted(report.checkpoints, 'checkpoint')}; {counted(report.gaps, 'gap')}; {counted(report.errors, 'error')}"
    )
    for origin, tables in report.imported.items():
        what = ", ".join(f"{n:,} {table}" for table, n in tables.items())
        click.echo(f"imported from {origin}, not proved: {what}")
    for note in report.notes:
        click.echo(f"note: {note}")
    for problem in report.problems:
        click.echo(f"wrong: {problem}")
    if report.more_problems:
        click.echo(f"wrong: and {report.more_problems} more")
    click.echo("nothing to prove yet" if report.outcome == "nothing yet" else report.outcome)
    return code


@click.command(cls=Command)
@lake_argument
@click.option(
    "--symbols",
    default="*",
    type=PATTERNS,
    show_default=True,
    help="Patterns of pairs, separated by commas: BTC/*,ETH/USD.",
)
@click.option("--start", type=TIME, help="Only what was received from this time on, RFC 3339, UTC.")
@click.option("--end", type=TIME, help="Only what was received before this time.")
@click.option("--window", default="5s", type=DURATION, show_default=True, help="Largest difference of two times.")
@click.option("--out", type=FOLDER, help="Folder for report.html and matches.parquet.")
@click.option("--live", is_flag=True, help="Follow a lake that is being recorded, until Ctrl-C.")
@click.option("--for", "duration", type=DURATION, help="With --live: how long.")
@click.option("--span", default="1m", type=DURATION, show_default=True, help="With --live: the time that is compared.")
@json_option
def compare(
    lake: Path, symbols: tuple[str, ...], start: int | None, end: int | None, window: float, out: Path | None,
    duration: float | None, span: float, *, live: bool, json_: bool,
) -> int:  # fmt: skip
    """Compare level 3 with the book channel.

    Do the orders give the published book, and which channel is earlier? Latency is the book channel's time minus
    level 3's: positive means that the book channel is later. Exit 0: every book state that could be compared is
    there; 1: one is not, or a book was wrong; 2: the lake does not have both.

    \b
    krakpot compare data --out report                     a page with pictures, and every pair as Parquet
    krakpot compare data --symbols BTC/USD --start 2026-11-22T10:00Z --end 2026-11-22T11:00Z
    krakpot compare data --live                           while it is being recorded
    """
    from krakpot.cli.bar import Bar
    from krakpot.cli.screen import Screen
    from krakpot.compare import compare as module
    from krakpot.compare import html as compare_page
    from krakpot.compare import live as compare_live
    from krakpot.compare.text import lines
    from krakpot.lake.lake import Lake

    if start is not None and end is not None and start >= end:
        raise ConfigError("--start must be before --end")
    if live and (start is not None or end is not None):
        raise ConfigError("--live compares the latest time; leave --start and --end out")
    if not live:
        refuse({"--for", "--span"}, "without --live")
    width = round(window * 1e9)
    opened = Lake(lake)
    with nullcontext() if out is None else results_folder(out):
        if live:
            with Screen(quiet=json_) as screen:
                report = compare_live.follow(
                    opened,
                    symbols,
                    span=span,
                    window=width,
                    seconds=duration,
                    show=screen.text if not json_ else lambda lines: None,
                )
            if report is None:
                raise ConfigError(module.lacking(lake, "rows of one of the channels"))
        else:
            with Bar("compare", quiet=json_) as bar:
                report = module.compare(opened, symbols, start, end, window=width, progress=bar)
        written = [] if out is None else compare_page.write(report, out)
    if json_:
        print_json(report.to_dict() | {"files": [str(path) for path in written]})
    else:
        for line in [*lines(report), *(f"written: {path}" for path in written)]:
            click.echo(line)
    return 0 if report.equal else FOUND_WRONG


@click.command(
    cls=Command, interrupted="journals that are sealed stay sealed, the others are as they were; run it again"
)
@lake_argument
@json_option
def recover(lake: Path, *, json_: bool) -> int:
    """Seal the journals that a recorder left behind when it died.

    Safe at any time, any number of times; the journals of running recorders are left alone. `krakpot record` also does
    it when it starts.

    \b
    krakpot recover data
    krakpot recover data --json                   which journals, how many rows, what was torn
    """
    from krakpot.lake import seal

    report = seal.recover(
        lake, progress=(lambda name: None) if json_ else lambda name: click.echo(f"sealing {name}", err=True)
    )
    if json_:
        print_json(report.to_dict())
        return 0
    click.echo(
        f"{counted(len(report.sealed), 'journal')} sealed ({len(report.recovered)} left by a recorder that died), "
        f"{counted(report.rows, 'row')}"
    )
    for torn in report.torn:
        click.echo(f"{torn['journal']}: torn at byte {torn['offset']:,}; lost: {counted(torn['bytes'], 'byte')}")
    if report.alive:
        click.echo(f"{counted(len(report.alive), 'journal')} of running recorders left alone")
    return 0


@click.command(cls=Command)
@lake_argument
@click.option("--symbols", type=PATTERNS, default="*", help="Patterns of pairs: BTC/*,ETH/USD. Default: all.")
@json_option
def coverage(lake: Path, symbols: tuple[str, ...], *, json_: bool) -> int:
    """Show which times the lake has, and why each span ended.

    \b
    krakpot coverage data
    krakpot coverage data --symbols BTC/USD --json
    """
    import polars as pl

    from krakpot.lake.format import filling
    from krakpot.lake.lake import Lake

    opened: Lake = Lake(lake)
    frame = opened.coverage(symbols, origin="all")
    if json_:
        text = frame.with_columns(pl.col("ts_from", "ts_to").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"))
        print_json({"coverage": text.to_dicts()})
        return 0
    click.echo(f"{'channel':<9}{'symbol':<16}{'from (UTC)':<25}{'to (UTC)':<25}{'origin':<15}ended by")
    for row in frame.iter_rows(named=True):
        begin, end = (f"{row[name]:%Y-%m-%d %H:%M:%S.%f}"[:-3] for name in ("ts_from", "ts_to"))
        click.echo(f"{row['channel']:<9}{row['symbol']:<16}{begin:<25}{end:<25}{row['origin']:<15}{row['reason']}")
    click.echo(counted(frame.height, "span"))
    if not frame.height and symbols == ("*",):
        click.echo(f"nothing is recorded in this lake yet; {filling(lake)}")
    return 0


@click.command(cls=Command)
@lake_argument
@click.option(
    "--symbols",
    required=True,
    type=PATTERNS,
    help="The pair: BTC/USD; or several, or patterns: BTC/*,ETH/USD.",
)
@click.option(
    "--at",
    required=True,
    type=TIME,
    help="The time, up to nine decimals; without a zone it is UTC: 2026-08-02T03:36:00.250.",
)
@click.option(
    "--depth",
    default=10,
    type=Value(values.whole_number(1, 1000), "LEVELS"),
    show_default=True,
    help="Levels per side.",
)
@click.option(
    "--by",
    default="recv",
    type=Value(values.word_of(("recv", "event")), "WORD"),
    show_default=True,
    help="Whose clock: recv, when this machine received it; event, the exchange's time.",
)
@click.option(
    "--channel",
    default="book",
    type=Value(values.word_of(("book", "level3")), "WORD"),
    show_default=True,
    help="book, or level3: the book that follows from its orders.",
)
@click.option("--orders", is_flag=True, help="Every order of level 3, with its place in the queue and its age.")
@json_option
def book(
    lake: Path, symbols: tuple[str, ...], at: int, depth: int, by: Any, channel: str, *, orders: bool, json_: bool
) -> int:
    """Show the book of a pair as it was at a time.

    It is the book after the last message up to the time, with every checksum proved. Of several pairs, or of a
    pattern, --json gives {"books": [...]}. Exit 1: a book is not there at that time; it says why.

    \b
    krakpot book data --symbols BTC/USD --at 2026-08-02T03:36:00.250
    krakpot book data --symbols BTC/USD --at 2026-08-02T03:36:21.367893600 --depth 5 --by event --json
    krakpot book data --symbols 'BTC/*,ETH/USD' --at 2026-08-02T03:36:00 --depth 1
    krakpot book data --symbols BTC/USD --at 2026-08-02T03:36:00.250 --orders --depth 2
    """
    from krakpot.lake.lake import Lake
    from krakpot.lake.queue import OrdersAt
    from krakpot.lake.sample import BookAt, books_at

    if orders:
        refuse({"--channel"}, "with --orders, which is of level 3")
    opened = Lake(lake)
    chosen = sorted(set(opened.matching(symbols)))
    found: list[BookAt | OrdersAt] = (
        [opened.orders_at(symbol, at, depth=depth, by=by) for symbol in chosen]
        if orders
        else [*books_at(opened, chosen, at, depth=depth, by=by, channel=channel)]
    )
    if json_:
        one = len(symbols) == 1 and not values.is_pattern(symbols[0])
        print_json(found[0].to_dict() if one else {"books": [book.to_dict() for book in found]})
    else:
        for line in (line for book in found for line in book.lines()):
            click.echo(line)
    return 0 if all(book.reason is None for book in found) else FOUND_WRONG


@click.command(cls=Command)
@lake_argument
@click.option("--symbols", type=PATTERNS, default="*", help="Patterns of pairs: BTC/*,ETH/USD. Default: all.")
@click.option("--every", default="1m", show_default=True, help="Size of a bar: 1m, 5s; with --by a number.")
@click.option(
    "--by",
    default="time",
    type=Value(values.word_of(get_args(values.BarKind)), "WORD"),
    show_default=True,
    help="time; tick: --every trades; volume, dollar: so much of the base or the quote currency; imbalance: so much of "
    "the base currency bought by takers more than sold, or sold more than bought.",
)
@click.option("--start", type=TIME, help="Only trades made from this time on; without a zone it is UTC.")
@click.option("--end", type=TIME, help="Only trades made before this time.")
@click.option(
    "--origin",
    type=Value(values.words, "ORIGINS"),
    default="feed",
    show_default=True,
    help="Where the trades come from: feed, rest, kraken-csv, tardis, cryptohftdata, several with commas, or all.",
)
@click.option("--out", type=FILE, help="Write them to this file, .csv or .parquet, instead of showing them.")
@json_option
def bars(
    lake: Path,
    symbols: tuple[str, ...],
    every: str,
    by: Any,
    origin: tuple[str, ...],
    start: int | None,
    end: int | None,
    out: Path | None,
    *,
    json_: bool,
) -> int:
    """Make bars of trades: open, high, low, close, volume.

    The last column says of each bar that it is whole, or what it lacks: the share of its time that was recorded, trades
    that are missing, or its end.

    \b
    krakpot bars data --symbols BTC/USD --every 5m
    krakpot bars data --symbols 'BTC/*' --every 100 --by tick --out bars.csv
    """
    from krakpot.lake.bars import lines, to_dicts
    from krakpot.lake.lake import Lake

    if out is not None and out.suffix not in {".csv", ".parquet"}:
        sentence = f"--out: {values.shown(str(out))} is not allowed; allowed is a name that ends in .csv or .parquet"
        raise ConfigError(sentence)
    if out is not None and not out.parent.is_dir():
        sentence = f"--out: there is no folder {out.parent}; make it first"
        raise ConfigError(sentence)
    found = Lake(lake).bars(symbols, start, end, every=every, by=by, origin=origin)
    whole = int(found["whole"].sum())
    if out is not None:
        write = found.write_csv if out.suffix == ".csv" else found.write_parquet
        try:
            write(out)
        except OSError as error:
            raise StorageError(f"the bars could not be written: {words_of(error)}", out) from error
    if json_:
        print_json({"bars": found.height, "whole": whole, "out": str(out)} if out else {"bars": to_dicts(found)})
        return 0
    for line in lines(found) if out is None else []:
        click.echo(line)
    click.echo(f"{counted(found.height, 'bar')}{f' in {out}' if out else ''}, {whole:,} whole")
    return 0


@click.command(cls=Command)
@lake_argument
@click.option("--symbols", type=PATTERNS, default="*", help="Patterns of pairs: BTC/*,ETH/USD. Default: all.")
@click.option("--start", type=TIME, help="Only messages received from this time on; without a zone it is UTC.")
@click.option("--end", type=TIME, help="Only messages received before this time.")
@click.option("--every", help="A row for each step of time too: 1m, 1h.")
@json_option
def skew(
    lake: Path, symbols: tuple[str, ...], start: int | None, end: int | None, every: str | None, *, json_: bool
) -> int:
    """Compare the recorder's clock with the exchange's.

    Shows receive time minus exchange time of the messages. Differences have their sign. A message cannot be
    received before it was sent: differences below zero mean that the recorder's clock was behind. If every message
    of a minute came half a second late, it was ahead, or the line slow. Exit 1: there are such times; they are
    listed.

    \b
    krakpot skew data
    krakpot skew data --symbols BTC/USD --every 1h --json
    """
    from functools import partial

    from krakpot.cli.bar import Bar
    from krakpot.lake import skew as module
    from krakpot.lake.lake import Lake

    width = None if every is None else values.step(every)
    rows = module.channels_of(partial(Lake(lake).scan, symbols=symbols, start=start, end=end, sources="all"))
    with Bar("skew", quiet=json_) as bar:
        found = module.quantiles(rows, width, bar.note)
        wrong = module.wrong_times(rows, bar.note)
    if json_:
        print_json({"channels": module.to_dicts(found), "wrong": module.to_dicts(wrong)})
        return FOUND_WRONG if wrong.height else 0
    for line in [*module.lines(found), *module.sentences(wrong)]:
        click.echo(line)
    if not wrong.height:
        click.echo("the clocks agree" if found.height else "no messages with a time of the exchange")
    return FOUND_WRONG if wrong.height else 0


@click.command(cls=Command, interrupted="days that are done stay done, the day in work is as it was; run it again")
@lake_argument
@click.option("--dates", help="2026-08-01, 2026-08-01..2026-08-31, or several with commas. Default: all past days.")
@click.option("--grace", default="10m", show_default=True, help="How long the old parts are kept; 0: not at all.")
@json_option
def compact(lake: Path, dates: str | None, grace: str, *, json_: bool) -> int:
    """Merge the many parts of past days into few.

    Safe at any time, any number of times, beside a running recorder; the next run finishes what was interrupted. Needs
    free space for a copy of the largest day. Exit 1: a day had to be left as it is.

    \b
    krakpot compact data                                  all past days
    krakpot compact data --dates 2026-08-01..2026-08-31 --grace 0
    """
    from krakpot.cli.bar import Bar
    from krakpot.lake import compact as module
    from krakpot.log import size

    wait = 0.0 if grace in ("0", "0s") else values.read(values.duration, grace, "--grace")
    chosen = None if dates is None else values.read(module.days, dates, "--dates")
    with Bar("compact", quiet=json_) as bar:
        report = module.compact(lake, dates=chosen, grace=wait, progress=bar, note=bar.note)
    if json_:
        print_json(report.to_dict())
    else:
        done = [*report.finished, *report.compacted]
        click.echo(
            f"{counted(len(done), 'day')} compacted: {counted(report.parts_before, 'part')} became "
            f"{report.parts_after:,}, "
            f"{size(report.bytes_before)} became {size(report.bytes_after)}"
        )
        for day, reason in report.skipped.items():
            click.echo(f"{day} was left as it is: {reason}")
    return FOUND_WRONG if report.wrong else 0

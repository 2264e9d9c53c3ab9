"""The demo: records the built-in exchange, proves the recording, compares it with the exchange's account, draws it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from krakpot.cli.command import make_folder
from krakpot.cli.screen import Screen
from krakpot.compare.exchange import differences
from krakpot.config import Config
from krakpot.errors import ConfigError, FeedError, counted
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from krakpot.record import run

SYMBOL = "BTC/USD"
"""The pair that is shown."""


def _clear(out: Path) -> None:
    """Remove an earlier demo; ``ConfigError`` if the folder has something else in it."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "_demo.json").exists()):
        sentence = f"--out {out}: already exists and is not the folder of an earlier demo; choose another one"
        raise ConfigError(sentence)
    shutil.rmtree(out)


def demo(out: Path, *, seconds: float, pairs: int, rate: float, seed: int, quiet: bool = False) -> dict[str, Any]:
    """Run the demo into the folder ``out``; returns its facts.

    Keys: lake, pictures (files; none without matplotlib), exchange (messages that it sent), record (the recorder's
    summary), verify (the report), differences (sentences; empty where the lake equals the exchange's own account).
    """
    _clear(out)
    lake = out / "lake"
    make_folder(out)
    lake.mkdir()
    (out / "_demo.json").write_text(json.dumps({"seconds": seconds, "pairs": pairs, "rate": rate, "seed": seed}) + "\n")
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--json"]
    command += ["--pairs", str(pairs), "--rate", str(rate), "--seed", str(seed)]
    # The demo records public channels only, and a key in the environment is for another exchange.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KRAKPOT_API_")}
    # In a separate process group: Ctrl-C is for the recorder.
    with subprocess.Popen(  # noqa: S603  # this Python, and numbers
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as server:
        try:
            assert server.stderr is not None, "piped"
            words = server.stderr.readline().split()
            if not words or not words[-1].startswith("ws://"):
                sentence = f"the built-in exchange did not start: {' '.join(words)} {server.stderr.read()}".strip()
                raise FeedError(sentence)
            config = Config(out=lake, url=words[-1], depth=1000, duration=seconds)
            with Screen(quiet=quiet) as screen:
                screen.log(
                    f"the built-in exchange: {counted(pairs, 'pair')} at {words[-1]}, about {rate:,.0f} messages/s"
                )
                summary = run.record(config, log=screen.log, on_status=screen.show)
        finally:
            server.send_signal(signal.SIGTERM)
            account, _ = server.communicate(timeout=30)
    exchange = json.loads(account)
    report = verify(lake)
    facts: dict[str, Any] = {
        "lake": str(lake),
        "pictures": [],
        "exchange": {"messages": exchange["messages"]},
        "record": summary,
        "verify": report.to_dict(),
        "differences": differences(Lake(lake), exchange),
    }
    facts["pictures"] = [str(path) for path in draw(Lake(lake), out)]
    if not quiet:
        _print(facts)
    return facts


def _print(facts: dict[str, Any]) -> None:
    record, proof = facts["record"], facts["verify"]
    book = proof["checksums"]["book"]
    lake = Lake(facts["lake"])
    size = sum(path.stat().st_size for path in lake.path.rglob("*.parquet"))
    rows = sum(proof["rows"].values())
    messages, chosen = counted(record["frames"], "message"), counted(record["selected"], "pair")
    click.echo(f"recorded   {messages} in {record['seconds']:.0f} s, {chosen}")
    click.echo(f"on disk    {counted(rows, 'row')} in {size / 1e6:.1f} MB of Parquet: {', '.join(proof['rows'])}")
    click.echo(
        f"proof      {counted(book['ok'], 'checksum')} recomputed from the files: "
        f"{book['bad']} bad, {proof['unchecked']} unchecked"
    )
    for sentence in [*proof["problems"], *facts["differences"][:10]]:
        click.echo(f"wrong      {sentence}")
    if not facts["differences"]:
        click.echo(
            "the same   every symbol's count and sequence of checksums, in the exchange's own account and in the lake"
        )
    click.echo(f"\n>>> krakpot.Lake({facts['lake']!r}).trades({SYMBOL!r}).collect()")
    columns = ["ts_event", "symbol", "side", "price", "qty", "ord_type", "trade_id"]
    click.echo(lake.trades(SYMBOL).select(columns).collect())
    for picture in facts["pictures"]:
        click.echo(f"picture    {picture}")
    if not facts["pictures"]:
        click.echo("picture    none: `pip install 'krakpot[plot]'` and run it again")


def draw(lake: Lake, out: Path) -> list[Path]:
    """Draw what was recorded, as far as the libraries for it are there; returns the files."""
    found: list[Path] = []
    plot = lake.plot
    books = lake.coverage().filter(channel="book", symbol=SYMBOL)
    if books.is_empty():
        return found
    if find_spec("matplotlib"):
        found = [out / f"{name}.png" for name in ("book", "spread", "ladder", "coverage")]
        book, spread, ladder, coverage = found
        plot.book(SYMBOL, save=book)
        plot.spread(SYMBOL, save=spread)
        plot.ladder(SYMBOL, books["ts_to"].dt.epoch("ns")[-1] - 1, save=ladder)
        plot.coverage(f"{SYMBOL.partition('/')[0]}/*", save=coverage)
    if find_spec("altair") and find_spec("vl_convert"):
        plot.book(SYMBOL, interactive=True, save=out / "book.html")
        found.append(out / "book.html")
    return found

"""The demo: records the built-in exchange, proves the recording, compares it with the exchange's account, draws it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

import click
import polars as pl

from krakpot.cli.command import make_folder
from krakpot.cli.screen import Screen
from krakpot.compare.exchange import differences
from krakpot.config import Config
from krakpot.errors import ConfigError, FeedError, counted
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from krakpot.record import run

PICTURE = "picture.png"
SYMBOL = "BTC/USD"
STEPS, BINS = 400, 160
"""Number of columns of the picture, and largest number of rows."""


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

    Keys: lake, picture (None without matplotlib), exchange (messages that it sent), record (the recorder's summary),
    verify (the report), differences (sentences; empty where the lake equals the exchange's own account).
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
        "picture": None,
        "exchange": {"messages": exchange["messages"]},
        "record": summary,
        "verify": report.to_dict(),
        "differences": differences(Lake(lake), exchange),
    }
    if find_spec("matplotlib"):
        draw(Lake(lake), SYMBOL, out / PICTURE)
        facts["picture"] = str(out / PICTURE)
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
    click.echo(f"picture    {facts['picture'] or 'none: `pip install krakpot[plot]` and run it again'}")


def draw(lake: Lake, symbol: str, path: Path) -> None:
    """Draw a symbol's book through time, its trades, and the traffic of the whole recording, as a PNG file."""
    import matplotlib as mpl  # noqa: PLC0415  # optional, and slow to load

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice above

    rows = lake.book(symbol, numbers="float").sort("message", "entry").collect()
    trades = lake.trades(symbol, numbers="float").filter(pl.col("kind") == "update").collect()
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(12, 8), height_ratios=[3, 1], constrained_layout=True)
    times, prices, grid = _heat(rows)
    if times:
        top.set_facecolor("black")
        heat = top.pcolormesh(times, prices, grid, cmap="magma", norm=mpl.colors.LogNorm(), shading="nearest")
        figure.colorbar(heat, ax=top, label="quantity at the price")
        for side, colour in (("buy", "#5ad1a5"), ("sell", "#ff6b6b")):
            some = trades.filter(pl.col("side") == side)
            sizes = (some["qty"] / max(trades["qty"].max() or 1, 1e-12) * 150 + 8).to_list()
            label = f"taker {'bought' if side == 'buy' else 'sold'}"
            top.scatter(
                some["ts_recv"].to_list(),
                some["price"].to_list(),
                s=sizes,
                c=colour,
                edgecolors="black",
                linewidths=0.4,
                label=label,
            )
        top.set_ylim(prices[0], prices[-1])
        # Without this, a trade after the last column would add a black margin, as if there were no book.
        top.margins(x=0)
        top.legend(loc="upper left")
    top.set_title(f"{symbol}: the book, level by level, rebuilt from the lake")
    top.set_ylabel("price")
    bins = "250ms"
    for table in ("book", "trades", "ticker"):
        frame = (
            lake.scan(table).select("session", "message", "ts_recv").unique()
            .group_by(pl.col("ts_recv").dt.truncate(bins)).len().sort("ts_recv").collect()
        )  # fmt: skip
        bottom.step(frame["ts_recv"].to_list(), (frame["len"] * 4).to_list(), where="post", label=table)
    bottom.set_yscale("symlog")
    bottom.set_ylabel("messages a second")
    bottom.legend(loc="upper left", ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _heat(rows: pl.DataFrame) -> tuple[list[datetime], list[float], list[list[float]]]:  # noqa: C901  # one walk
    """Quantity by price and time near the best prices: times, prices, grid [price][time]; NaN where there is none."""
    if rows.is_empty():
        return [], [], []
    first, last = rows["ts_recv"][0], rows["ts_recv"][-1]
    step = max((last - first) / STEPS, timedelta(microseconds=1))
    book: dict[float, float] = {}
    sides: dict[float, str] = {}
    frames: list[tuple[datetime, dict[float, float]]] = []
    mids: list[float] = []
    due = first + step
    for time, side, price, qty in rows.select("ts_recv", "side", "price", "qty").iter_rows():
        if time >= due:
            bids = [p for p, s in sides.items() if s == "bid"]
            asks = [p for p, s in sides.items() if s == "ask"]
            if bids and asks:
                mids.append((max(bids) + min(asks)) / 2)
                frames.append((time, dict(book)))
            due = time + step
        if price is None:
            continue
        if qty == 0:
            book.pop(price, None)
            sides.pop(price, None)
        else:
            book[price] = qty
            sides[price] = side
    if not frames:
        return [], [], []
    middle = sorted(mids)[len(mids) // 2]
    near = sorted(abs(price - middle) for price in frames[-1][1])
    reach = max(near[min(len(near) - 1, 120)], max(abs(mid - middle) for mid in mids) * 1.1)
    # A bin is a whole number of price steps; otherwise no price would fall into some of them.
    tick = 10.0 ** -int(rows["price_precision"][0])
    width = tick * max(1, round(2 * reach / BINS / tick))
    lowest = round((middle - reach) / width)
    prices = [(lowest + i) * width for i in range(round(2 * reach / width) + 1)]
    grid = [[float("nan")] * len(frames) for _ in prices]
    for column, (_, levels) in enumerate(frames):
        for price, qty in levels.items():
            place = round(price / width) - lowest
            if 0 <= place < len(prices):
                before = grid[place][column]
                grid[place][column] = qty if isnan(before) else before + qty
    return [time for time, _ in frames], prices, grid

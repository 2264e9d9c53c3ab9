"""Compare level 3 with the book channel: do the orders give the published book, and which of the two is earlier.

The sequences of distinct consecutive states (``states``) of both channels are paired (``align``), and the pairs are
counted and timed (``report``). Only times at which both books were in sync are compared; what is left out is counted.

Latency is the book channel's time minus level 3's time: **positive means that the book channel is later**. A state that
returns within a second counts for equality, not for latency, because its occurrences cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from krakpot import _core, values
from krakpot.compare.align import WINDOW
from krakpot.compare.report import Report, compare_channels
from krakpot.compare.states import Channel, collect, groups, joined, sequence
from krakpot.errors import ConfigError
from krakpot.lake.folder import View
from krakpot.lake.format import BOOK_KINDS
from krakpot.lake.lake import Lake
from krakpot.values import Time, time_range
from krakpot.work import OnProgress, Work, no_progress


def compare(
    lake: Lake | str | Path,
    symbols: str | Sequence[str] = "*",
    start: Time | None = None,
    end: Time | None = None,
    *,
    window: int = WINDOW,
    progress: OnProgress = no_progress,
) -> Report:
    """Compare level 3 with the book channel of a lake; also what is recorded and not sealed yet.

    Parameters
    ----------
    lake
        A lake, or its folder.
    symbols
        Patterns, separated by commas or as a list: ``"BTC/USD,ETH/*"``.
    start, end
        Range of receive times, [start, end); None: no bound.
    window
        Largest difference between the receive times of two states that are paired, ns.
    progress
        Called with the rows that are read, and those of both channels.

    Returns
    -------
    Report
        Findings in total and by symbol, the matches, the disagreements.

    Raises
    ------
    ConfigError
        If the lake lacks one of the channels, or no symbol that has both matches ``symbols``.

    Examples
    --------
    >>> report = compare("data", "BTC/USD")                 # doctest: +SKIP
    >>> report.equal, report.total()["latency"]["recv"]     # doctest: +SKIP

    """
    lake = lake if isinstance(lake, Lake) else Lake(lake)
    begin, until = time_range(start, end)
    wanted = values.read(values.patterns, symbols, "symbols")
    if not isinstance(window, int) or window <= 0:
        raise ConfigError(f"window: {values.shown(window)} is not allowed; allowed is a whole number of nanoseconds")
    view = lake.look(["ledger", *(table for kind in BOOK_KINDS for table in (kind.messages, kind.checkpoints))])
    depths, rows, total = _chosen(view, wanted, begin, until)
    work = Work(total, "rows", progress)
    columns = ["session", "symbol", "message", "entry", "ts_recv", "kind", "channel", "count"]
    ledger = view.scan("ledger").select(columns).sort("session", "entry").collect()
    found: list[list[Channel]] = [[], []]
    for group in groups(rows):
        with ThreadPoolExecutor(max_workers=len(BOOK_KINDS)) as pool:
            jobs = [
                pool.submit(
                    collect, view, kind, {name: depths[name] for name in group}, ledger, (begin, until), work.add
                )
                for kind in BOOK_KINDS
            ]
            for channels, job in zip(found, jobs, strict=True):
                channels.append(job.result())
    book, derived = (sequence(joined(channels), begin, until) for channels in found)
    recv = pl.col("ts_recv").dt.epoch("ns")
    loop = ledger.filter(
        pl.col("kind") == "lag", recv >= (begin or 0), pl.lit(value=True) if until is None else recv < until
    ).select("ts_recv", "count")
    return compare_channels(book, derived, lake=str(lake.path), window=window, depths=depths, loop=loop)


def _chosen(
    view: View, wanted: tuple[str, ...], begin: int | None, until: int | None
) -> tuple[dict[str, int], dict[str, int], int]:
    """Common depth, and number of rows, of every symbol that has both channels and matches a pattern; rows of all."""
    frames = []
    recv = pl.col("ts_recv").dt.epoch("ns")
    within = [*([] if begin is None else [recv >= begin]), *([] if until is None else [recv < until])]
    for kind in BOOK_KINDS:
        rows = view.scan(kind.messages, start=begin, end=until).filter(*within).group_by("symbol")
        frames.append(rows.agg(pl.len().alias("rows"), pl.col("depth").min()).collect())
        if frames[-1].is_empty():
            raise ConfigError(lacking(view.folder.path, kind.channel))
    both = frames[0].join(frames[1], on="symbol", suffix="_level3").sort("symbol")
    chosen = [name for name in both["symbol"] if any(_core.matches(pattern, name) for pattern in wanted)]
    if not chosen:
        there = ", ".join(both["symbol"][:10])
        sentence = f"--symbols {','.join(wanted)}: no symbol with both channels matches; there are {there}"
        raise ConfigError(sentence if both.height else f"{view.folder.path}: no symbol was recorded by both channels")
    both = both.filter(pl.col("symbol").is_in(chosen))
    depth = both.select(pl.min_horizontal("depth", "depth_level3")).to_series()
    most = both.select(pl.max_horizontal("rows", "rows_level3")).to_series()
    total = int(both.select(pl.sum_horizontal("rows", "rows_level3").sum()).item())
    return dict(zip(chosen, depth, strict=True)), dict(zip(chosen, most, strict=True)), total


def lacking(path: Path, what: str) -> str:
    """Sentence that says what a lake lacks, and how to record both channels."""
    return (
        f"{path}: the lake has no {what}; record both channels, with a key in KRAKPOT_API_KEY and KRAKPOT_API_SECRET: "
        "krakpot record --channels book,level3 --symbols 'BTC/USD,ETH/USD' --for 1h"
    )

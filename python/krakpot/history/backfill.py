"""Trades from Kraken's REST: the history before a recording, and the holes in it.

What is there is known by the ids of the trades, and by the ranges that the ledger says were added. A time range is
walked page by page, and only trades that the lake lacks are written. Each page is in the lake before the next one is
asked for, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from krakpot import _core, values
from krakpot.config import REST_URL
from krakpot.errors import ConfigError, counted
from krakpot.history.writer import HistoryWriter, Range, history_writer
from krakpot.lake import seal
from krakpot.lake.format import UNREADABLE, lake_to_write, polars_schema, unreadable
from krakpot.lake.lake import Lake
from krakpot.net.client import uuid7
from krakpot.net.market import PACE, PAGE, Pair, Rest, RestTrade
from krakpot.values import Time, shown, time_of, unmatched
from krakpot.work import OnProgress, no_progress

ORIGINS = ("feed", "rest")
"""Origins whose trades have the exchange's ids."""
SLACK = 1_000_000_000
"""ns. The feed has the times of trades in microseconds, and REST more digits; receive times are later than both."""
EDGE = 5 * SLACK
"""How far a range reaches into what was recorded: when a trade was made is not when it was received."""
PACE_MAX = 3600
"""Seconds."""
UNIT = "market seconds"
HOLES_TOLD = 20
"""Holes of a symbol that a sentence names."""


class Run(NamedTuple):
    """Trades of a symbol with consecutive ids, all of which the lake has."""

    first: int
    last: int
    begin: int
    """Time of the first and of the last one, ns."""
    end: int
    numbering: int = 0
    """How often the exchange had begun to number anew."""


class Hole(NamedTuple):
    """Trades of a symbol that the lake lacks, by their ids."""

    first: int
    last: int
    begin: int
    """Times of the trades before and after it, ns."""
    end: int


@dataclass
class BackfillResult:
    """What was fetched, and what is still missing."""

    lake: Path
    session: str
    """Its session in the lake; empty if there was nothing to write."""
    requests: int = 0
    """Requests to REST."""
    trades: dict[str, int] = field(default_factory=dict)
    """Per symbol, trades that were written."""
    missing: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Per symbol, first and last id of the holes that REST did not fill."""
    unknown: list[str] = field(default_factory=list)
    """Symbols that REST does not know, so that nothing could be asked."""

    @property
    def whole(self) -> bool:
        """Whether nothing that was to be fetched is missing."""
        return not self.missing and not self.unknown

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "lake": str(self.lake),
            "session": self.session,
            "requests": self.requests,
            "trades": self.trades,
            "missing": {symbol: [list(hole) for hole in holes] for symbol, holes in self.missing.items()},
            "unknown": self.unknown,
            "whole": self.whole,
        }


def runs_of(trades: pl.DataFrame, restarts: Iterable[int] = ()) -> list[Run]:
    """Runs of consecutive ids, by time.

    Parameters
    ----------
    trades
        Columns ``trade_id`` and ``ts_event`` (ns, Int64) of one symbol, in any order.
    restarts
        Times at which the exchange began to number anew, ns.

    """
    if trades.is_empty():
        return []
    times = pl.Series(sorted(restarts), dtype=pl.Int64)
    found = (
        trades.with_columns(numbering=pl.lit(times).search_sorted(pl.col("ts_event"), side="left"))
        .sort("numbering", "trade_id", "ts_event")
        .with_columns(
            begins=(
                (pl.col("trade_id") - pl.col("trade_id").shift(1) > 1)
                | (pl.col("numbering") != pl.col("numbering").shift(1))
            ).fill_null(value=True)
        )
        .with_columns(run=pl.col("begins").cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            first=pl.col("trade_id").first(),
            last=pl.col("trade_id").last(),
            begin=pl.col("ts_event").min(),
            end=pl.col("ts_event").max(),
            numbering=pl.col("numbering").first(),
        )
    )
    return [Run(*row) for row in found.select("first", "last", "begin", "end", "numbering").iter_rows()]


def holes_of(runs: list[Run]) -> list[Hole]:
    """Ids between runs that follow each other; where the numbering began anew there is no hole."""
    return [
        Hole(one.last + 1, other.first - 1, one.end, other.begin)
        for one, other in pairwise(runs)
        if other.first > one.last + 1 and other.numbering == one.numbering
    ]


def uncovered(begin: int, end: int, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of [begin, end) no span covers, with an edge on both sides of what is covered."""
    found = []
    at = begin
    for low, high in [*_merged(spans), (end, end)]:
        if min(low, end) > at:
            found.append((max(begin, at - EDGE), min(end, low + EDGE)))
        at = max(at, high)
    return _merged(found)


class _Known:
    """The trades of a symbol that the lake has."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = sorted(runs)
        self._firsts = [run.first for run in self.runs]

    def has_id(self, number: int) -> bool:
        """Whether a trade of this id is among them."""
        place = bisect_right(self._firsts, number)
        return any(number <= run.last for run in self.runs[:place])

    def has(self, trade: RestTrade) -> bool:
        """Whether a trade is among them."""
        place = bisect_right(self._firsts, trade.id)
        # Ids that the exchange gave twice differ in their times.
        return any(
            trade.id <= run.last and run.begin - SLACK <= trade.ts <= run.end + SLACK for run in self.runs[:place]
        )

    def lacks_after(self, number: int | None, begin: int, end: int) -> bool:
        """Whether a run that begins in [begin, end) does not follow a trade: trades between them are in neither."""
        first = max((run.first for run in self.runs if begin <= run.begin < end), default=None)
        return first is not None and (number is None or (number + 1 < first and not self.has_id(number + 1)))

    def before(self, ts: int) -> int | None:
        """Id of the last trade that was made before a time, if a run reaches to it."""
        return max((run.last for run in self.runs if run.end <= ts), default=None)


class _Stretch(NamedTuple):
    """A time range that is asked for, [begin, end) in ns."""

    begin: int
    end: int
    holes: tuple[Hole, ...] = ()
    """The holes whose trades are wanted; none: all trades."""

    @property
    def told(self) -> tuple[int, int]:
        """The time for which the lake is complete afterwards; a hole is asked for with some slack on both sides."""
        if not self.holes:
            return self.begin, self.end
        return min(hole.begin for hole in self.holes), max(hole.end for hole in self.holes) + 1

    def wants(self, trade: RestTrade) -> bool:
        """Whether a trade is wanted."""
        return not self.holes or any(hole.first <= trade.id <= hole.last for hole in self.holes)


class _Walk:
    """One time range of a pair, page by page."""

    def __init__(self, pair: Pair, stretch: _Stretch, known: _Known, writer: HistoryWriter) -> None:
        self.pair = pair
        self.stretch = stretch
        self.begin = stretch.begin
        self.end = stretch.end
        self.known = known
        self.writer = writer
        self.written = 0
        self._last = known.before(stretch.begin)
        """Id of the trade before the next one, if it is known."""

    async def run(self, rest: Rest, reached: Callable[[int], None]) -> None:
        """Fetch it; ``reached`` is called with how far it is, ns."""
        since = self.begin - 1
        told = self.begin
        seen: set[tuple[int, int]] = set()
        while True:
            page, last = await rest.trades(self.pair, since)
            fresh = [trade for trade in page if (trade.id, trade.ts) not in seen and trade.ts < self.end]
            fresh.sort(key=lambda trade: trade.ts)
            ended = len(page) < PAGE or page[-1].ts >= self.end
            until = self.end if ended else page[-1].ts
            self._write(fresh, told, until, ended=ended)
            reached(until)
            if ended:
                return
            seen = {(trade.id, trade.ts) for trade in page}
            told = until
            # Trades of one moment may be cut by the end of a page, so that moment is asked for again; unless it is all
            # that the page has.
            since = last - 1 if page[0].ts < page[-1].ts else max(last, since + 1)

    def _write(self, page: list[RestTrade], begin: int, end: int, *, ended: bool) -> None:
        """Write the trades of a page that the lake lacks, and for which times it is complete with them."""
        lacking: list[RestTrade] = []
        ranges: list[Range] = []
        first, last = self.stretch.told
        begin = max(begin, first)

        def tell(until: int) -> None:
            """The lake is complete from ``begin`` to ``until``, with the trades that no range has yet."""
            some = lacking[sum(one.count for one in ranges) :]
            until = min(until, last)
            if some or until > begin:
                ids = {"first": some[0].id, "last": some[-1].id} if some else {}
                misc = Counter(trade.misc for trade in some if trade.misc)
                facts = ids | ({"misc": dict(misc)} if misc else {})
                ranges.append(Range("trades", self.pair.symbol, begin, max(begin, until), len(some), facts))

        for trade in page:
            before, self._last = self._last, trade.id
            if before is not None and trade.id > before + 1 and not self.known.has_id(before + 1):
                # REST does not have what is between them, so the lake is not complete there.
                tell(begin if not lacking else lacking[-1].ts)
                begin = trade.ts
            if self.stretch.wants(trade) and not self.known.has(trade):
                lacking.append(trade)
        torn = ended and self.known.lacks_after(self._last, self.begin, self.end)
        tell(end if not torn else lacking[-1].ts if lacking else begin)
        self.writer.write("trades", _frame(lacking, self.pair), ranges)
        self.written += len(lacking)


def _frame(trades: list[RestTrade], pair: Pair) -> pl.DataFrame:
    """Trades as rows of the table; when they were received is not known, so it is when they were made."""
    types = polars_schema("trades")
    names = {"trade_id": "id", "price": "price", "qty": "qty", "side": "side", "ord_type": "ord_type"}
    columns: dict[str, Any] = {column: [getattr(trade, name) for trade in trades] for column, name in names.items()}
    times = pl.Series([trade.ts for trade in trades], dtype=pl.Int64).cast(types["ts_event"])
    frame = pl.DataFrame(columns, schema={column: types[column] for column in names})
    return frame.with_columns(
        ts_recv=times,
        ts_event=times,
        symbol=pl.lit(pair.symbol),
        price_precision=pl.lit(pair.price_precision, dtype=types["price_precision"]),
        qty_precision=pl.lit(pair.qty_precision, dtype=types["qty_precision"]),
    )


class _Task(NamedTuple):
    """What is to be fetched of a pair."""

    pair: Pair
    stretches: list[_Stretch]
    known: _Known


def _known(lake: Lake, symbol: str) -> list[Run]:
    """Runs of the trades of a symbol that the lake has; none of a symbol that it does not know yet."""
    if symbol not in lake.symbols():
        return []
    frame = lake.scan("trades", symbol, origin=ORIGINS, sources="all")
    restarts = lake.ledger().filter(pl.col("kind") == "trade_restart", pl.col("symbol") == symbol)
    try:
        trades = frame.select("trade_id", pl.col("ts_event").dt.epoch("ns")).collect(engine="streaming")
        times = restarts.select(pl.col("ts_from").dt.epoch("ns")).collect()["ts_from"].drop_nulls()
    except UNREADABLE as error:
        unreadable(lake.path, error)
    return runs_of(trades, times)


def backfill(
    path: str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    since: Time | None = None,
    until: Time | None = None,
    url: str = REST_URL,
    pace: float | str = PACE,
    progress: OnProgress = no_progress,
    log: Callable[[str], None] = lambda _: None,
) -> BackfillResult:
    """Fetch trades that a lake lacks from Kraken's REST.

    Parameters
    ----------
    path
        The lake; it is made if it does not exist and ``since`` is given. A recorder may be at work in it.
    symbols
        One symbol or pattern (``"BTC/*"``), or several. None: all that the lake has; with ``since`` they must be named.
    since, until
        The history of this time range, [since, until), where the lake has none; ``until`` is now if it is left out.
        Without ``since`` only holes are fetched: trades between recorded ones that their ids say were made. Bars before
        the first one, or after the last one, become whole only with ``since``.
    url
        Address of the REST.
    pace
        Seconds from one request to the next, or a duration as ``"100ms"``. Kraken allows about one a second.
    progress
        Called with the market seconds that are done, and those of all ranges.
    log
        Called with a sentence about trouble that is waited for.

    Returns
    -------
    BackfillResult
        Trades that were written, and holes that REST did not fill. What was written has the origin ``"rest"``.

    Raises
    ------
    ConfigError
        For a symbol or time that does not exist.
    FeedError
        REST does not answer, or refuses; what was fetched is in the lake, and the next run continues.
    StorageError
        The lake cannot be read or written.

    Examples
    --------
    >>> krakpot.backfill("data").whole    # doctest: +SKIP
    True
    >>> krakpot.backfill("data", "BTC/USD", since="2026-11-01").trades    # doctest: +SKIP
    {'BTC/USD': 812345}

    """
    out = values.read(values.folder, path, "path")
    address = values.read(values.rest_url, url, "url")
    seconds = values.read(values.duration, pace, "pace") if isinstance(pace, str) else pace
    wait = values.read(values.number(0, PACE_MAX), seconds, "pace")
    begin = None if since is None else time_of(since, "since")
    end = time.time_ns() if until is None else time_of(until, "until")
    if begin is None and until is not None:
        raise ConfigError("until needs since: without since only holes are fetched; give both, or neither")
    if begin is not None and begin >= end:
        raise ConfigError(f"since must be before {'until' if until is not None else 'now'}")
    if begin is not None and symbols is None:
        raise ConfigError("since needs symbols: name the pairs, as BTC/USD or BTC/*")
    wanted = None if symbols is None else values.read(values.symbols, symbols, "symbols")
    if begin is None:
        return _run(Lake(out).path, wanted, None, end, Rest(address, pace=wait, log=log), progress)
    with lake_to_write(out):
        return _run(out, wanted, begin, end, Rest(address, pace=wait, log=log), progress)


def _run(
    out: Path, wanted: tuple[str, ...] | None, begin: int | None, end: int, rest: Rest, progress: OnProgress
) -> BackfillResult:
    seal.recover(out)
    lake = Lake(out)
    result = BackfillResult(out, "")
    try:
        return asyncio.run(_fetch(lake, wanted, (begin, end), rest, result, progress))
    finally:
        result.requests = rest.requests


async def _fetch(
    lake: Lake,
    wanted: tuple[str, ...] | None,
    times: tuple[int | None, int],
    rest: Rest,
    result: BackfillResult,
    progress: OnProgress,
) -> BackfillResult:
    begin, end = times
    holes = {symbol: _holes(lake, symbol, times) for symbol in _in_lake(lake, wanted)} if begin is None else {}
    if begin is None and not any(holes.values()):
        return result
    pairs = await rest.pairs()
    tasks = []
    for symbol in holes if begin is None else _matching(wanted or (), pairs):
        if symbol not in pairs:
            if holes[symbol]:
                result.unknown.append(symbol)
            continue
        inside = holes[symbol] if begin is None else _holes(lake, symbol, times)
        stretches = [_Stretch(hole.begin - SLACK, hole.end + SLACK, (hole,)) for hole in inside]
        if begin is not None:
            spans = lake.coverage(origin=ORIGINS).filter(channel="trade", symbol=symbol)
            rows = spans.select(pl.col("ts_from", "ts_to").dt.epoch("ns")).rows()
            stretches += [_Stretch(*one) for one in uncovered(begin, end, rows)]
        if stretches:
            tasks.append(_Task(pairs[symbol], _joined(stretches), _Known(_known(lake, symbol))))
    if tasks:
        await _walk(lake.path, tasks, rest, result, progress)
    for symbol in [task.pair.symbol for task in tasks]:
        if left := _holes(lake, symbol, times):
            result.missing[symbol] = [(hole.first, hole.last) for hole in left]
    return result


async def _walk(path: Path, tasks: list[_Task], rest: Rest, result: BackfillResult, progress: OnProgress) -> None:
    """Fetch the ranges of all pairs, one after the other."""
    total = sum(one.end - one.begin for task in tasks for one in task.stretches)
    done = 0
    result.session = uuid7()
    with history_writer(path, result.session, "rest", url=rest.url) as writer:
        for task in tasks:
            for stretch in task.stretches:
                walk = _Walk(task.pair, stretch, task.known, writer)

                def reached(ts: int, before: int = done - stretch.begin) -> None:
                    progress((before + ts) // SLACK, max(1, total // SLACK), UNIT)

                await walk.run(rest, reached)
                done += stretch.end - stretch.begin
                result.trades[task.pair.symbol] = result.trades.get(task.pair.symbol, 0) + walk.written


def _in_lake(lake: Lake, wanted: tuple[str, ...] | None) -> list[str]:
    """Symbols of the lake that are wanted."""
    return lake.symbols() if wanted is None else lake.matching(wanted)


def _matching(wanted: tuple[str, ...], pairs: dict[str, Pair]) -> list[str]:
    """Symbols of REST that are wanted; ``ConfigError`` for a name or pattern that none has."""
    found: list[str] = []
    for name in wanted:
        matched = [symbol for symbol in sorted(pairs) if _core.matches(name, symbol)]
        if not matched:
            raise ConfigError(unmatched(name, sorted(pairs), "symbols", "REST's AssetPairs"))
        found += matched
    return list(dict.fromkeys(found))


def _holes(lake: Lake, symbol: str, times: tuple[int | None, int]) -> list[Hole]:
    """Holes of a symbol, of the time range or all."""
    begin, end = times
    holes = holes_of(_known(lake, symbol))
    return holes if begin is None else [hole for hole in holes if hole.end > begin and hole.begin < end]


def _joined(stretches: list[_Stretch]) -> list[_Stretch]:
    """Stretches in order; those that overlap are one. All trades of one that wants all are wanted."""
    found: list[_Stretch] = []
    for one in sorted(stretches):
        before = found[-1] if found else None
        if before is not None and one.begin <= before.end:
            holes = (*before.holes, *one.holes) if before.holes and one.holes else ()
            found[-1] = _Stretch(before.begin, max(before.end, one.end), holes)
        else:
            found.append(one)
    return found


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order; those that overlap are one."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def sentences(result: BackfillResult) -> list[str]:
    """What a run did, and what is still missing, for people."""
    lines = [f"{symbol}: {counted(count, 'trade')} added" for symbol, count in result.trades.items()]
    for symbol, holes in result.missing.items():
        named = ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in holes[:HOLES_TOLD])
        more = f" and {counted(len(holes) - HOLES_TOLD, 'more hole')}" if len(holes) > HOLES_TOLD else ""
        count = sum(last - first + 1 for first, last in holes)
        lines.append(f"{symbol}: {counted(count, 'trade')} missing, REST does not have them either: {named}{more}")
    lines += [f"{shown(symbol)}: trades are missing, and REST does not know the pair" for symbol in result.unknown]
    return lines

"""What a result is built on: how much of a period was recorded, which gaps lie in it, and which checksums were right.

It follows from the ledger and from the rows' own numbers, and reads only the period. The recorder compared every
checksum when the message came, and the ledger names those that were wrong. ``krakpot verify`` computes them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from krakpot.errors import counted
from krakpot.features.frames import spans
from krakpot.lake.coverage import RECORDING
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import BOOK_KINDS, BookKind, stamp
from krakpot.lake.ledger import BEGINS, book_ends
from krakpot.lake.sample import ABSENT
from krakpot.lake.times import TIME

DAY = 86_400 * 10**9
FEED = "feed"
"""Origin of a trade that the feed delivered."""
WRONG = ("mismatch", "crossed", "decode_error", "limit")
"""Kinds of ledger rows that say that a message of a book was wrong."""
GAPS_SHOWN = 3
MS = 1_000_000
SHORT = 100_000_000
"""From this length on a gap is told in seconds, ns."""
EDGE = 1_000_000_000
"""The channels of a recording begin and end some tenths of a second apart. Where the period is what is covered, a time
at its ends in which one of them is not there yet, or no more, is a gap only from this length on, ns."""


@dataclass(frozen=True)
class RecordingGap:
    """A time in which a channel of a symbol was not recorded."""

    ts_from: int
    """Receive time, ns since the epoch."""
    ts_to: int
    """Exclusive."""
    reason: str
    """What ended the recording before it, as in ``Lake.coverage``; ``absent``: nothing was recorded before."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.ts_to - self.ts_from) / 1e9


@dataclass(frozen=True)
class ChannelIntegrity:
    """What is known of one channel of a symbol in a period."""

    seconds_covered: float
    seconds_not_covered: float
    gaps: tuple[RecordingGap, ...]
    """By time; a gap is cut at the ends of the period. Without a begin or end asked for, the channels of a recording
    begin and end a little apart: what is less than 1 s there is not covered, but no gap."""
    messages: int | None = None
    """Messages of books in the period; None for other channels, as the next three."""
    ok: int | None = None
    """Their checksum was right."""
    bad: int | None = None
    """It was wrong, or the book was crossed or could not be held."""
    unchecked: int | None = None
    """They came while the book was out of sync, or without a checksum."""


@dataclass(frozen=True)
class Integrity:
    """What is known of a symbol in a period; ``str`` says it in one line."""

    symbol: str
    ts_from: int
    """Begin of the period, ns since the epoch."""
    ts_to: int
    """Its end, exclusive."""
    channels: Mapping[str, ChannelIntegrity]
    """By channel: those that were ever recorded of the symbol."""
    trades: Mapping[str, int]
    """Trades made in the period, by where they come from: ``feed``, or what they were imported from."""
    trades_missing: int
    """Trades that the ids of those say were made between them."""

    @property
    def whole(self) -> bool:
        """Whether something was recorded, without a gap, a wrong checksum or a missing trade in the period."""
        channels = self.channels.values()
        return bool(channels) and not self.trades_missing and not any(one.gaps or one.bad for one in channels)

    def __str__(self) -> str:
        """One line: the period, then each channel, then the trades."""
        if self.ts_from == self.ts_to and not self.channels:
            return f"{self.symbol}: nothing was recorded"
        begin, end = (f"{stamp(at):%Y-%m-%d %H:%M:%S}" for at in (self.ts_from, self.ts_to))
        said = [f"{name}: {_line(one, (self.ts_to - self.ts_from) / 1e9)}" for name, one in self.channels.items()]
        if self.trades:
            origins = ", ".join(f"{n:,} {origin}" for origin, n in self.trades.items())
            said.append(f"trades: {origins}{f', {self.trades_missing:,} missing' if self.trades_missing else ''}")
        return f"{self.symbol} {begin} to {end}: {'; '.join(said) or 'nothing was recorded'}"

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object; times are nanoseconds since the epoch."""
        total = sum(self.trades.values())
        shares = {origin: n / total for origin, n in self.trades.items()}
        return {
            "symbol": self.symbol,
            "ts_from": self.ts_from,
            "ts_to": self.ts_to,
            "whole": self.whole,
            "channels": {name: asdict(one) for name, one in self.channels.items()},
            "trades": dict(self.trades),
            "trade_shares": shares,
            "trades_missing": self.trades_missing,
        }


def _line(one: ChannelIntegrity, seconds: float) -> str:
    share = one.seconds_covered / seconds if seconds else 0.0
    said = ["whole" if not one.gaps else f"{int(share * 1000) / 10}% recorded"]
    if one.gaps:
        longest = sorted(one.gaps, key=lambda gap: -gap.seconds)[:GAPS_SHOWN]
        named = ", ".join(f"{gap.reason} {_length(gap)}" for gap in longest)
        more = ", …" if len(one.gaps) > GAPS_SHOWN else ""
        said.append(f"{counted(len(one.gaps), 'gap')} ({named}{more})")
    if one.messages is not None:
        said.append(f"checksums {one.ok:,} ok, {one.bad:,} bad, {one.unchecked:,} unchecked")
    return ", ".join(said)


def integrity(folder: Folder, symbol: str, start: int | None, end: int | None, coverage: pl.DataFrame) -> Integrity:
    """See ``Lake.integrity``; ``coverage`` is the lake's, with what was imported."""
    whole = coverage.filter(symbol=symbol)
    mine = whole.filter(origin=FEED)
    bounds = (
        (whole if mine.is_empty() else mine)
        .select(pl.col("ts_from").dt.epoch("ns").min(), pl.col("ts_to").dt.epoch("ns").max())
        .row(0)
    )
    begin = (bounds[0] or 0) if start is None else start
    until = max(begin, (_latest(mine) or bounds[1] or 0) if end is None else end)
    view = folder.look(
        ["ledger", "trades", *(name for kind in BOOK_KINDS for name in (kind.messages, kind.checkpoints))]
    )
    kinds = {kind.channel: kind for kind in BOOK_KINDS}
    # Ends that nobody asked for.
    free = (begin if start is None else None, until if end is None else None)
    channels = {}
    for channel in sorted(mine["channel"].unique()):
        of_channel = mine.filter(channel=channel)
        found = _gaps(of_channel, channel, begin, until)
        missing = sum((gap.seconds for gap in found), start=0.0)
        gaps = tuple(gap for gap in found if not _edge(gap, *free))
        checked = _checksums(view, kinds[channel], symbol, begin, until) if channel in kinds else {}
        channels[channel] = ChannelIntegrity((until - begin) / 1e9 - missing, missing, gaps, **checked)
    return Integrity(symbol, begin, until, channels, *_trades(view, symbol, begin, until))


def _latest(coverage: pl.DataFrame) -> int | None:
    """The end of what is covered of a symbol whose recording runs, ns: where all of its channels are known."""
    ends = coverage.group_by("channel").agg(pl.col("ts_to", "reason").sort_by("ts_to").last())
    return ends.filter(reason=RECORDING).select(pl.col("ts_to").dt.epoch("ns").min()).item()  # type: ignore[no-any-return]  # a number


def _gaps(coverage: pl.DataFrame, channel: str, begin: int, until: int) -> list[RecordingGap]:
    """Times between begin and end in which no session covered the channel."""
    ended = coverage.select(pl.col("ts_to").dt.epoch("ns"), "reason").sort("ts_to")
    found = []
    at = begin
    known = spans(coverage, channel).select(pl.col("ts_from", "ts_to").dt.epoch("ns"))
    for ts_from, ts_to in [*known.iter_rows(), (until, until)]:
        if min(ts_from, until) > at:
            before = ended.filter(pl.col("ts_to") <= at)
            reason = ABSENT if before.is_empty() else before["reason"][-1]
            found.append(RecordingGap(at, min(ts_from, until), reason))
        at = max(at, ts_to)
    return found


def _edge(gap: RecordingGap, begin: int | None, until: int | None) -> bool:
    """Whether it only says that the channel began or ended a little before or after another one."""
    return (gap.ts_from == begin or gap.ts_to == until) and gap.ts_to - gap.ts_from < EDGE


def _length(gap: RecordingGap) -> str:
    """Its length for people: never 0.0 s."""
    ns = gap.ts_to - gap.ts_from
    if ns >= SHORT:
        return f"{gap.seconds:.1f} s"
    return f"{ns / 1e6:.0f} ms" if ns >= MS else "less than 1 ms"


def _checksums(view: View, kind: BookKind, symbol: str, begin: int, until: int) -> dict[str, int]:
    """Messages of a book in the period, by what the recorder found; by the rule of ``rust/lake/src/rebuild.rs``."""
    times = _within("ts_recv", begin, until)
    place = ["session", "message"]
    messages = (
        view.scan(kind.messages, start=begin, end=until)
        .filter(pl.col("symbol") == symbol, times)
        .group_by(place)
        .agg(snapshot=(pl.col("kind") == "snapshot").any(), given=pl.col("checksum").is_not_null().any())
        .collect(engine="streaming")
        .sort("message")
    )
    mine = view.scan("ledger", end=until).filter(pl.col("symbol").is_null() | (pl.col("symbol") == symbol))
    ledger = mine.select(*place, "symbol", "channel", "kind").collect()
    made = view.scan(kind.checkpoints, start=begin - DAY, end=until).filter(pl.col("symbol") == symbol).select(place)
    begun = ledger.filter(kind=BEGINS[kind.channel], channel=kind.channel).select(place)
    begins = pl.concat([begun, made.unique().collect(), messages.filter("snapshot").select(place)]).drop_nulls()
    begins = begins.unique().with_columns(begun="message").sort("message")
    ends = book_ends(ledger, kind.channel).with_columns(pl.col("message").fill_null(0))
    last = ends.select(*place, ended="message").unique().sort("message")
    wrong = ends.filter(pl.col("kind").is_in(WRONG), pl.col("symbol") == symbol).select(place).unique()
    found = messages.join_asof(begins, on="message", by="session", check_sortedness=False).join_asof(
        last, on="message", by="session", allow_exact_matches=False, check_sortedness=False
    )
    # An end is of the messages after it.
    synced = pl.col("begun").is_not_null() & (pl.col("ended").is_null() | (pl.col("ended") < pl.col("begun")))
    found = found.join(wrong.with_columns(wrong=pl.lit(value=True)), on=place, how="left")
    bad = synced & pl.col("wrong").fill_null(value=False)
    bad_count, ok_count = found.select(bad=bad.sum(), ok=(synced & ~bad & pl.col("given")).sum()).row(0)
    rest = found.height - bad_count - ok_count
    return {"messages": found.height, "ok": ok_count, "bad": bad_count, "unchecked": rest}


def _within(column: str, begin: int, until: int) -> pl.Expr:
    """Whether a time lies in the period."""
    return pl.col(column).is_between(pl.lit(begin).cast(TIME), pl.lit(until).cast(TIME), closed="left")


def _trades(view: View, symbol: str, begin: int, until: int) -> tuple[dict[str, int], int]:
    """Trades that were made in the period, by origin, and how many are missing between them by their ids."""
    frame = view.scan("trades")
    if "origin" not in frame.collect_schema():
        frame = frame.with_columns(origin=pl.lit(FEED))
    times = _within("ts_event", begin, until)
    frame = frame.filter(pl.col("symbol") == symbol, times)
    rows = frame.select("trade_id", "ts_event", "origin").unique().collect(engine="streaming")
    counts = rows.group_by("origin").len().sort("origin")
    ids = rows.select("ts_event", "trade_id").drop_nulls().unique().sort("ts_event", "trade_id")["trade_id"]
    # Ids that begin anew (a relisted pair) are smaller than those before: nothing is missing there.
    missing = (ids.diff() - 1).clip(0).sum()
    return {str(origin): n for origin, n in counts.iter_rows()}, int(missing or 0)

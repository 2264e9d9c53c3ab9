"""The states that a channel's books went through, read from a lake and proved.

A *state* of a symbol is its top ten levels after a message, named by their CRC32. The core rebuilds every book from its
rows and checks every checksum; a state comes only from a message whose checksum was right.

A book is *in sync* from its snapshot to the first wrong checksum, crossing, unsubscription or gap. Such a period is a
*sync span*; spans of a session are numbered, and every state belongs to one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import pyarrow as pa

from krakpot import _core
from krakpot.lake.folder import View
from krakpot.lake.format import BookKind, stamp
from krakpot.lake.ledger import REFUSALS, book_ends
from krakpot.lake.messages import MessageReader

RECURS = 1_000_000_000
"""A state that returns within this time is left out of latency, ns."""
ROWS_MAX = 20_000_000
"""Rows of a table that are read for one group of symbols: bounds memory."""
RUN_UP = timedelta(hours=2)
"""How far before a range reading begins: every book in sync has a checkpoint in this time."""
TIME = pl.Datetime("ns", "UTC")
CHANNELS_COMPARED = ("book", "level3")
WRONG = ("mismatch", "crossed", *REFUSALS)
"""Ends of a sync span that say that a book was wrong."""
STATES = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.String(),
        "span": pl.UInt32(),
        "message": pl.UInt64(),
        "ts_recv": TIME,
        "ts_event": TIME,
        "checksum": pl.UInt32(),
        "full": pl.UInt64(),
        "entries": pl.UInt32(),
    }
)
"""A row for every message that changed the book: ``checksum`` of the top ten, ``full`` a hash of all common levels."""
SYNC_SPANS = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.String(),
        "span": pl.UInt32(),
        "message_from": pl.UInt64(),
        "ts_from": TIME,
        "message_to": pl.UInt64(),
        "ts_to": TIME,
        "reason": pl.String(),
    }
)
"""A row for every sync span; ``reason`` is the ledger kind that ended it, null if nothing did."""


@dataclass
class Channel:
    """States and sync spans of one channel."""

    states: pl.DataFrame
    """Columns ``STATES``; after ``sequence`` also ``place``, the number of the span in the sequence."""
    spans: pl.DataFrame
    """Columns ``SYNC_SPANS``; after ``sequence`` also ``place``."""


def joined(channels: Sequence[Channel]) -> Channel:
    """Concatenate channels; none gives empty frames."""
    return Channel(
        pl.concat([pl.DataFrame(schema=STATES), *(one.states for one in channels)]),
        pl.concat([pl.DataFrame(schema=SYNC_SPANS), *(one.spans for one in channels)]),
    )


def sequence(channel: Channel, start: int | None = None, end: int | None = None) -> Channel:
    """Order a channel's sync spans one after the other and clip them to [start, end).

    Where two sessions had a symbol in sync at the same time, the one that began first is taken until it ends.
    """
    times = [pl.col(name).dt.epoch("ns") for name in ("ts_from", "ts_to")]
    spans = channel.spans.sort("symbol", "ts_from", "session", "span").with_columns(times)
    if start is not None:
        spans = spans.with_columns(pl.col("ts_from").clip(lower_bound=start))
    if end is not None:
        # A message at the end itself is outside the range, and so is whatever ended a span later.
        ended = pl.when(pl.col("ts_to") < end).then(pl.col("message_to", "reason"))
        spans = spans.with_columns(ended, pl.col("ts_to").clip(upper_bound=end - 1))
    until = pl.col("ts_to").cum_max().shift(1).over("symbol")
    spans = spans.with_columns(pl.max_horizontal("ts_from", until + 1)).filter(pl.col("ts_from") <= pl.col("ts_to"))
    spans = spans.with_columns(pl.col("ts_from", "ts_to").cast(TIME), place=pl.int_range(pl.len(), dtype=pl.UInt32))
    bounds = spans.select("session", "symbol", "span", "ts_from", "ts_to", "place")
    states = channel.states.join(bounds, on=["session", "symbol", "span"], maintain_order="left")
    states = states.filter(pl.col("ts_recv") <= pl.col("ts_to")).sort("symbol", "place", "message")
    # A clipped span begins with the state that the book had at that time.
    following = pl.col("ts_recv").shift(-1).over("symbol", "place")
    states = states.filter(
        (pl.col("ts_recv") >= pl.col("ts_from")) | (following > pl.col("ts_from")).fill_null(value=True)
    )
    return Channel(states.drop("ts_from", "ts_to"), spans)


def distinct(states: pl.DataFrame, key: str) -> pl.DataFrame:
    """Distinct consecutive states, with ``first`` (of a span) and ``recurs`` (returns within ``RECURS``)."""
    states = states.with_columns(
        key=pl.col(key).cast(pl.UInt64),
        first=(pl.col("place") != pl.col("place").shift(1)).fill_null(value=True),
        group=pl.col("symbol").rle_id(),
    )
    # A message may leave the state unchanged; a span may begin with the state in which the previous one ended.
    changed = (pl.col("key") != pl.col("key").shift(1)) | (pl.col("group") != pl.col("group").shift(1))
    states = states.filter(changed.fill_null(value=True)).with_row_index("row")
    # All occurrences of one state next to each other, in their order.
    times = states.select("group", "key", "row", ts=pl.col("ts_recv").dt.epoch("ns")).sort("group", "key", "row")
    same = (pl.col("group") == pl.col("group").shift(1)) & (pl.col("key") == pl.col("key").shift(1))
    soon = (same & (pl.col("ts").diff() <= RECURS)).fill_null(value=False)
    recurs = times.select("row", recurs=soon | soon.shift(-1, fill_value=False)).sort("row")["recurs"]
    return states.with_columns(recurs).drop("row", "group")


def groups(rows: dict[str, int]) -> list[list[str]]:
    """Symbols in groups of at most ``ROWS_MAX`` rows, so that each group fits into memory."""
    found: list[list[str]] = [[]]
    held = 0
    for symbol, number in rows.items():
        if found[-1] and held + number > ROWS_MAX:
            found.append([])
            held = 0
        found[-1].append(symbol)
        held += number
    return found


def collect(
    view: View,
    kind: BookKind,
    depths: dict[str, int],
    ledger: pl.DataFrame,
    span: tuple[int | None, int | None],
    taken: Callable[[int], None],
) -> Channel:
    """States and sync spans of one channel, from all sessions that have rows of it in the range ``span``, ns.

    ``taken`` is called with the number of rows of messages, as they are taken.
    """
    begin, until = (None if time is None else stamp(time) for time in span)
    since = None if begin is None else begin - RUN_UP
    found = []
    for session in sorted(view.sessions(kind.messages)):
        reader = MessageReader(view, session, kind, columns=("ts_recv", "ts_event"), symbols=depths)
        collector = StateCollector(session, kind, depths)
        collector.ends(ledger.filter(pl.col("session") == session))
        for table, rows in reader.frames(since=since, before=until):
            if table == kind.messages:
                collector.messages(rows)
                taken(rows.height)
            else:
                collector.checkpoints(rows)
        found.append(collector.channel())
    return joined(found)


class StateCollector:
    """Collects states and sync spans of one channel in one session, from rows in their order."""

    def __init__(self, session: str, kind: BookKind, depths: dict[str, int]) -> None:
        """Begin with no rows; ``depths`` has the levels that both channels have, by symbol."""
        self.session = session
        self.kind = kind
        self.core = _core.StateCollector(session, channel=kind.channel, depths=depths)
        self.last: int | None = None
        """Latest receive time of any row taken, ns."""
        self._ends: list[pl.DataFrame] = []

    def ends(self, ledger: pl.DataFrame) -> None:
        """Take ledger rows of the session; they must come before the rows of the messages that follow them."""
        self._received(ledger)
        ends = book_ends(ledger, self.kind.channel).select("symbol", "message", "kind", "ts_recv")
        self._ends.append(ends)
        self.core.ends(ends)

    def checkpoints(self, rows: pl.DataFrame) -> None:
        """Take sorted rows of checkpoints, before the messages that follow them."""
        self.core.checkpoints(rows)

    def messages(self, rows: pl.DataFrame) -> None:
        """Take sorted rows of messages: whole messages, each symbol in one run."""
        self._received(rows)
        self.core.messages(rows)

    def _received(self, rows: pl.DataFrame) -> None:
        last = rows["ts_recv"].dt.epoch("ns").max()
        if isinstance(last, int):
            self.last = last if self.last is None else max(self.last, last)

    def channel(self) -> Channel:
        """Return the states since the last call, and all sync spans so far."""
        states, spans = (pl.DataFrame(pa.record_batch(frame)) for frame in (self.core.states(), self.core.spans()))
        session = pl.lit(self.session).alias("session")
        if self._ends:
            # The ledger row of an end has its time; it names the symbol, or none if it ends all books.
            ends = pl.concat(self._ends).unique(["symbol", "message", "kind"], keep="first", maintain_order=True)
            by = {"message": "message_to", "kind": "reason"}
            ends = ends.rename(by | {"ts_recv": "ts_end"})
            own = spans.join(ends, on=["symbol", *by.values()], how="left", maintain_order="left")["ts_end"]
            every = ends.filter(pl.col("symbol").is_null()).drop("symbol")
            every_ts = spans.join(every, on=[*by.values()], how="left", maintain_order="left")["ts_end"]
            spans = spans.with_columns(pl.coalesce("ts_to", own, every_ts).alias("ts_to"))
        last = pl.lit(self.last, dtype=pl.Int64).cast(TIME)
        spans = spans.with_columns(session, pl.col("ts_to").fill_null(last)).select(list(SYNC_SPANS))
        return Channel(states.with_columns(session).select(list(STATES)).cast(STATES), spans.cast(SYNC_SPANS))

"""Pieces of a recording without a gap: of one symbol, one session, one book in sync. A file never crosses their ends.

A piece begins with a snapshot of the book. If it begins later (``--start``, or where another session took over), the
book is rebuilt up to there, and the piece begins with that book.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from krakpot.lake.arbitration import LOWEST, Span, arbitrate
from krakpot.lake.coverage import RECORDING, STOPPED, UNFINISHED, covered, recorded_sessions
from krakpot.lake.folder import View
from krakpot.lake.ledger import ALIVE_MARGIN, BEGINS, MARKS, REFUSALS, SINCE, book_ends
from krakpot.lake.messages import MESSAGE_MAX

WRONG = ("mismatch", "crossed", *REFUSALS)
"""Ends whose own message does not belong to the book any more."""
RANGE = "range"
"""The reason of a piece that ends with the range that was asked for."""


class Piece(NamedTuple):
    """Messages of a book in sync, [first, until), received in [ts_from, ts_to), ns."""

    symbol: str
    session: str
    first: int
    """The message of its snapshot; what is before ``ts_from`` only builds the book."""
    until: int
    ts_from: int
    ts_to: int
    reason: str
    """Why it ends: a kind of the ledger, ``stopped``, ``recording``, ``unfinished``, or ``range``."""
    opened: bool
    """Whether it begins with the exchange's own snapshot."""


class Gap(NamedTuple):
    """A time in which a channel of a symbol is not known, ns."""

    symbol: str
    channel: str
    ts_from: int
    ts_to: int
    reason: str


class Recorded:
    """What the ledger says of a lake: pieces of books, coverage of the other channels."""

    def __init__(self, view: View) -> None:
        """Read the ledger of a view that has it."""
        self._ledger = view.scan("ledger").select("session", "message", *MARKS, "detail").collect()
        self._recorded = recorded_sessions(view)
        self.coverage = covered(self._ledger, self._recorded)

    def channels(self, symbol: str) -> set[str]:
        """Channels of which the symbol has any coverage."""
        return set(self.coverage.filter(symbol=symbol)["channel"])

    def spans(self, channel: str, symbol: str, start: int | None = None, end: int | None = None) -> list[Span]:
        """Times in which a channel is covered by any session, joined, within [start, end)."""
        rows = self.coverage.filter(channel=channel, symbol=symbol)
        found: list[Span] = []
        for begin, until, session in sorted(
            rows.select(pl.col("ts_from", "ts_to").dt.epoch("ns"), "session").iter_rows()
        ):
            low, high = _clip(begin, until, start, end)
            if low >= high:
                continue
            if found and low <= found[-1].end:
                found[-1] = found[-1]._replace(end=max(high, found[-1].end))
            else:
                found.append(Span(low, high, session))
        return found

    def covered(
        self, channel: str, symbol: str, start: int | None = None, end: int | None = None
    ) -> list[tuple[int, int, str]]:
        """The same times with why each of them ended."""
        spans = self.spans(channel, symbol, start, end)
        return [(span.begin, span.end, self.reason(channel, symbol, span.end)) for span in spans]

    def gaps(self, channel: str, symbol: str, spans: Iterable[tuple[int, int, str]]) -> list[Gap]:
        """Times between spans (begin, end, reason) that follow each other."""
        ordered = sorted(spans)
        return [
            Gap(symbol, channel, end, begin, reason)
            for (_, end, reason), (begin, _, _) in pairwise(ordered)
            if begin > end
        ]

    def reason(self, channel: str, symbol: str, end: int) -> str:
        """Why the coverage that ends at this time ended; ``range`` if none does."""
        rows = self.coverage.filter(channel=channel, symbol=symbol).filter(pl.col("ts_to").dt.epoch("ns") == end)
        return str(rows["reason"][0]) if rows.height else RANGE

    def pieces(
        self,
        channel: str,
        symbol: str,
        start: int | None = None,
        end: int | None = None,
        *,
        within: Iterable[Span] = (),
    ) -> list[Piece]:
        """Pieces of a book in [start, end), one after the other; ``within``: only in these times, if there are any.

        Where several sessions followed the symbol, one is taken at a time, as ``Lake`` does.
        """
        own = [piece for session in self._ledger["session"].unique() for piece in self._of(session, channel, symbol)]
        by_span = {(piece.session, piece.ts_to): piece for piece in own}
        found = []
        for segment in arbitrate(Span(piece.ts_from, piece.ts_to, piece.session) for piece in own):
            piece = next(
                one
                for one in by_span.values()
                if one.session == segment.session and one.ts_from <= segment.begin < one.ts_to
            )
            limits = list(within) or [Span(LOWEST, MESSAGE_MAX, "")]
            for limit in limits:
                low, high = _clip(segment.begin, piece.ts_to, start, end)
                low, high = max(low, limit.begin), min(high, limit.end)
                if low < high:
                    cut = high < piece.ts_to
                    reason = self.reason("trade", symbol, high) if cut and high == limit.end else RANGE
                    found.append(
                        piece._replace(
                            ts_from=low,
                            ts_to=high,
                            opened=low == piece.ts_from,
                            reason=reason if cut else piece.reason,
                        )
                    )
        return sorted(found, key=lambda piece: piece.ts_from)

    def _of(self, session: str, channel: str, symbol: str) -> list[Piece]:
        """Pieces of a book in one session, from its ledger rows in their order."""
        ledger = self._ledger.filter(pl.col("session") == session).sort("entry")
        begins = ledger.filter(kind=BEGINS[channel], channel=channel, symbol=symbol)
        if begins.is_empty():
            return []
        ends = book_ends(ledger, channel).filter(pl.col("symbol").is_null() | (pl.col("symbol") == symbol))
        marks = pl.concat([begins.with_columns(begin=pl.lit(value=True)), ends.with_columns(begin=pl.lit(value=False))])
        planned = bool((ledger["kind"] == "stop").any())
        found: list[Piece] = []
        opened: tuple[int, int] | None = None

        def close(until: int, end: int, reason: str) -> None:
            assert opened is not None, "a piece is open"
            first, begin = opened
            if until > first:
                found.append(Piece(symbol, session, first, until, begin, max(end, begin + 1), reason, opened=True))

        times = marks.with_columns(pl.col("ts_recv", "ts_from").dt.epoch("ns")).sort("entry")
        for message, ts, since, kind, begin in times.select(
            "message", "ts_recv", "ts_from", "kind", "begin"
        ).iter_rows():
            if begin:
                if opened is not None:
                    # Another snapshot replaces the book: to other tools that is a new recording.
                    close(message, ts, "snapshot")
                opened = (message, ts)
            elif opened is not None:
                until = 0 if message is None else message if kind in WRONG else message + 1
                reason = STOPPED if kind == "disconnect" and planned else kind
                close(until, ts if since is None or kind not in SINCE else since + 1, reason)
                opened = None
        if opened is not None:
            alive = ledger.filter(kind="alive")["ts_recv"].dt.epoch("ns").max()
            last = int(alive) + ALIVE_MARGIN if isinstance(alive, int) else 0
            close(MESSAGE_MAX, last, RECORDING if session in self._recorded else UNFINISHED)
        return found

    def rules(self, session: str, symbol: str) -> list[tuple[int, str]]:
        """What a ``modify`` does to an order's place, from which message on, as checksums of the session showed it."""
        rows = self._ledger.filter(session=session, kind="modify_rule", symbol=symbol).sort("entry")
        return [
            (message, str(verified))
            for message, verified in rows.select(
                "message", pl.col("detail").str.json_path_match("$.verified")
            ).iter_rows()
        ]


def rule_at(rules: list[tuple[int, str]], message: int, default: str) -> str:
    """The rule in force at a message."""
    place = bisect_left(rules, (message + 1, ""))
    return rules[place - 1][1] if place else default


def _clip(begin: int, end: int, low: int | None, high: int | None) -> tuple[int, int]:
    return begin if low is None else max(begin, low), end if high is None else min(end, high)

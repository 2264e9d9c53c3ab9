"""Coverage: from when to when a channel of a symbol is known, and why it ended.

It follows from the ledger. A book is covered from its snapshot, other channels from their acknowledgement, to the first
row that ends them: unsubscribed, a wrong checksum, a gap, the end of the session. Where a connection was dead before
that was noticed, coverage ends with the last message that came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from krakpot.lake import lock
from krakpot.lake.folder import View
from krakpot.lake.format import BOOK_KINDS, FEED
from krakpot.lake.journal import JournalName, journal_names
from krakpot.lake.ledger import ALIVE_MARGIN, BEGINS, ENDS, IMPORTED, REFUSALS, SINCE, detail

BOOKS = tuple(kind.channel for kind in BOOK_KINDS)
STOPPED, RECORDING, UNFINISHED = "stopped", "recording", "unfinished"
"""Reasons that are not ledger kinds: the session ended as planned, is being recorded, or ended without a word."""
TIMES = pl.Datetime("ns", "UTC")
SCHEMA = pl.Schema(
    {
        "channel": pl.String(),
        "symbol": pl.String(),
        "ts_from": TIMES,
        "ts_to": TIMES,
        "reason": pl.String(),
        "session": pl.String(),
        "origin": pl.String(),
    }
)


def recorded_sessions(view: View) -> set[str]:
    """Sessions that are being recorded now: a recorder holds the lock of one of their journals."""
    found: set[str] = set()
    seen: set[JournalName] = set()
    sessions = {name.session for name in view.journals}
    names = view.journals
    while names:
        found.update(name.session for name in names if _is_written(name))
        seen.update(names)
        # A journal that is free may have been ended since it was listed. The next one was there before that.
        later = journal_names(view.folder.path)
        names = [name for name in later if name.session in sessions - found and name not in seen]
    return found


def _is_written(name: JournalName) -> bool:
    """Whether a recorder holds the lock of a journal."""
    try:
        with lock.locked(name.path, exclusive=False) as obtained:
            return not obtained
    except FileNotFoundError:
        # Sealed since it was listed.
        return False


def covered(ledger: pl.DataFrame, recorded: Collection[str] = ()) -> pl.DataFrame:
    """Coverage that follows from rows of the ledger.

    Parameters
    ----------
    ledger
        Columns ``session`` and those of ``ledger.MARKS``, of whole sessions.
    recorded
        Sessions that are being recorded (``recorded_sessions``).

    Returns
    -------
    DataFrame
        Columns of ``Lake.coverage``, by channel, symbol and time: what was recorded.

    """
    rows: list[dict[str, object]] = []
    # Nearly all rows are ``alive``, and only the last one counts.
    is_alive = pl.col("kind") == "alive"
    times = ledger.filter(is_alive).group_by("session").agg(pl.col("ts_recv").cast(pl.Int64).max()).iter_rows()
    alive = {str(session): int(ts) for session, ts in times}
    ordered = ledger.filter(~is_alive).sort("session", "entry")
    for (session,), group in ordered.partition_by("session", as_dict=True, maintain_order=True).items():
        spans = _spans(group, alive.get(str(session)), recorded=session in recorded)
        rows += [row | {"session": session, "origin": FEED} for row in spans]
    plain = {name: pl.Int64() if kind == TIMES else kind for name, kind in SCHEMA.items()}
    return pl.DataFrame(rows, schema=plain).cast(SCHEMA).sort("channel", "symbol", "ts_from")


def imported(ledger: pl.DataFrame) -> pl.DataFrame:
    """Ranges that were imported, in the columns of ``Lake.coverage``; those that follow each other are one.

    ``ledger`` has the columns ``session``, ``ledger.MARKS`` and ``ledger.RANGES``.
    """
    rows = ledger.filter(pl.col("kind") == IMPORTED).sort("session", "entry")
    spans: dict[tuple[str, str, str, str], list[list[int]]] = {}
    columns = pl.col("ts_from", "ts_to").to_physical()
    for session, channel, symbol, text, begin, end in rows.select(
        "session", "channel", "symbol", "detail", columns
    ).iter_rows():
        found = spans.setdefault((session, channel, symbol, str(detail(text).get("origin"))), [])
        if found and found[-1][0] <= begin <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([begin, end])
    facts = [
        {"channel": channel, "symbol": symbol, "ts_from": begin, "ts_to": end, "reason": IMPORTED, "session": session,
         "origin": origin}
        for (session, channel, symbol, origin), ranges in spans.items() for begin, end in ranges
    ]  # fmt: skip
    plain = {name: pl.Int64() if kind == TIMES else kind for name, kind in SCHEMA.items()}
    return pl.DataFrame(facts, schema=plain).cast(SCHEMA)


def settled(coverage: pl.DataFrame) -> pl.DataFrame:
    """The coverage of what can no longer change: a span without an end goes to the last ``alive`` row, not beyond.

    Of the second after it rows may be there, but others may still come, or were lost with a killed recorder. So what is
    added up over a time is not whole there.
    """
    open_ended = pl.col("reason").is_in([RECORDING, UNFINISHED])
    until = pl.max_horizontal("ts_from", pl.col("ts_to") - pl.duration(nanoseconds=ALIVE_MARGIN))
    return coverage.with_columns(ts_to=pl.when(open_ended).then(until).otherwise("ts_to").cast(TIMES))


def _spans(ledger: pl.DataFrame, alive: int | None, *, recorded: bool) -> Iterator[dict[str, object]]:
    """Spans of coverage of one session, from its ledger rows in order, and the time of its last ``alive`` row, ns."""
    open_spans: dict[tuple[str, str], int] = {}
    rows = ledger.with_columns(pl.col("ts_recv", "ts_from").to_physical())
    planned = bool((rows["kind"] == "stop").any())
    marks = rows.filter(pl.col("kind").is_in([*BEGINS.values(), *ENDS]))
    columns = ("kind", "channel", "symbol", "ts_recv", "ts_from")
    for kind, channel, symbol, ts, since in marks.select(columns).iter_rows():
        if channel in BEGINS and kind == BEGINS[channel]:
            open_spans.setdefault((channel, symbol), ts)
        elif kind in ENDS:
            for key in list(open_spans):
                if (symbol is None or key[1] == symbol) and (channel is None or key[0] == channel):
                    if kind in REFUSALS and (symbol is None or key[0] not in BOOKS):
                        continue
                    begin = open_spans.pop(key)
                    # ``since`` is the receive time of the last message, which is covered; the end is exclusive.
                    end = ts if since is None or kind not in SINCE else max(begin, since + 1)
                    reason = STOPPED if kind == "disconnect" and planned else kind
                    yield {"channel": key[0], "symbol": key[1], "ts_from": begin, "ts_to": end, "reason": reason}
    reason = RECORDING if recorded else UNFINISHED
    for (channel, symbol), begin in open_spans.items():
        # What a message brought is known at its own time at least.
        until = max(begin + 1, 0 if alive is None else alive + ALIVE_MARGIN)
        yield {"channel": channel, "symbol": symbol, "ts_from": begin, "ts_to": until, "reason": reason}

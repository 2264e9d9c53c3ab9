"""The account of a session: what its ledger counts and names, against the rows and parts that are there.

The ledger counts the rows of each table once a second (``alive``), names each part with its rows and SHA-256
(``sealed``, ``compacted``), says where trades are missing and how the session ended. All of this must add up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from krakpot import _core
from krakpot.errors import counted
from krakpot.lake.format import BOOK_KINDS, SEALER_ENTRY, UNCOUNTED, Part, digest
from krakpot.lake.journal import journal_name
from krakpot.lake.ledger import detail
from krakpot.lake.merge import expand_ranges
from krakpot.lake.messages import PartReader

ACCOUNT = ("sealed", "compacted", "alive", "recovered", "connect")
"""Kinds of the ledger whose facts the account uses."""
JOURNALS_MAX = 16_000_000
"""Journals of a session whose rows one part may hold."""
COLUMNS = ["symbol", "message", "entry", "ts_recv", "kind", "channel", "ts_from", "count", "detail"]
"""Columns of the ledger that are read."""
TOLD_MAX = 10
"""Sentences about one kind of trouble of a session."""

Tell = Callable[[str], None]


@dataclass
class _Merge:
    """What the ledger says of one compaction of a folder."""

    journals: frozenset[int]
    """Numbers of the journals whose rows the compacted parts hold."""
    rows: int = 0
    here: bool = False
    """Whether any of the compacted parts is here."""
    replaced: set[int] = field(default_factory=set)
    """Of these journals, those whose parts the ledger still names."""
    replaced_rows: int = 0
    replaced_here: bool = False


class _Wrong(NamedTuple):
    """Messages of which a table has another number of rows than the ledger counted."""

    begin: int
    upto: int | None
    """None: to the end."""
    want: int
    found: int

    def touches(self, hole: int) -> bool:
        """Whether the messages reach to a hole in the account that ends with message ``hole``."""
        return self.begin <= hole + 1 and (self.upto is None or hole <= self.upto)


class TradeIds(NamedTuple):
    """Last trade ids that a recorder knew of when a session began; it goes on with those of the session before."""

    last: dict[str, int]
    """By symbol."""
    complete: bool
    """Whether the recorder knew of no other symbol: not if sessions before are not in this lake."""


class Account:
    """The account of one session."""

    def __init__(
        self,
        session: str,
        parts: list[Part],
        reader: PartReader,
        *,
        first_day: date,
        goes_on: bool,
        problem: Tell,
        note: Tell,
    ) -> None:
        """Read the session's ledger.

        Parameters
        ----------
        session, parts
            The session, and all of its parts whose rows count.
        reader
            Reads them.
        first_day
            The lake's first day: what a session had before it is not in this lake.
        goes_on
            Whether rows of the session wait in journals: then these have its end, and count its last rows.
        problem, note
            Are told what is wrong, and what is worth knowing.

        """
        self.session = session
        self.parts = parts
        self.reader = reader
        self.first_day = first_day
        self.goes_on = goes_on
        self.problem = problem
        self.note = note
        born = _born(session)
        self.begun_before = born is not None and bool(parts) and min(part.date for part in parts) > born.date()
        """Whether its first days are not in this lake."""
        self.frames = 0
        """Messages that the ledger counts."""
        self.rows: dict[str, int] = defaultdict(int)
        """Rows of the parts that the ledger names, by table."""
        self.spans: dict[Path, tuple[int, int]] = {}
        """First and last message of parts, as the ledger says."""
        self.missing: dict[str, list[int]] = {kind.messages: [] for kind in BOOK_KINDS}
        """Per table of books, the messages after which rows are missing: all books end there."""
        self.ledger = self._understood(reader.read(self.of("ledger"), "ledger", COLUMNS).sort("entry"))

    def of(self, table: str) -> list[Part]:
        """Parts of a table, in order."""
        return sorted((part for part in self.parts if part.table == table), key=lambda part: (part.number, part.date))

    @property
    def previous(self) -> str | None:
        """The session that the recorder had before this one."""
        connects = self.ledger.filter(pl.col("kind") == "connect")["detail"]
        found = (detail(text).get("previous") for text in connects)
        return next((session for session in found if isinstance(session, str)), None)

    def check(self, known: TradeIds) -> TradeIds:
        """Check everything; each thing that does not add up is a problem.

        Parameters
        ----------
        known
            The trade ids that the recorder knew of before.

        Returns
        -------
        TradeIds
            The trade ids that it knew of after the session.

        """
        self.check_parts()
        self._numbers()
        self._accounts()
        self._end()
        return self._trades(known)

    def _understood(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """Leave out malformed rows that the account would use; each is a problem."""
        malformed = [
            (entry, kind)
            for entry, kind, count, text in ledger.filter(pl.col("kind").is_in(ACCOUNT))
            .select("entry", "kind", "count", "detail")
            .iter_rows()
            if not _sound(kind, count, text)
        ]
        for entry, kind in malformed:
            self.problem(
                f"session {self.session}: row {entry} of the ledger (kind `{kind}`) is malformed; the part is damaged"
            )
        return ledger.filter(~pl.col("entry").is_in([entry for entry, _ in malformed])) if malformed else ledger

    def check_parts(self) -> None:
        """Every part that the ledger names is here with all its rows, and every part that is here is named."""
        here = {part.name: part for part in self.parts}
        rows = self.ledger.filter(pl.col("kind").is_in(["sealed", "compacted"])).select("kind", "count", "detail")
        told: list[tuple[str, int, dict[str, Any]]] = [
            (kind, int(count), detail(text)) for kind, count, text in rows.iter_rows()
        ]
        merges = self._merges(told, here)
        named: set[str] = set()
        for kind, count, facts in told:
            name = str(facts["part"])
            merge = merges.get(_folder(name))
            # What was merged is not here any more; nor is what was merged again, or not swapped in yet.
            replaced = (
                merge is not None and _number(name) in merge.journals
                if kind == "sealed"
                else (merge is None or expand_ranges(facts["journals"]) != merge.journals)
            )
            if not replaced:
                named.add(name)
                self._part(here.get(name), name, count, facts)
        for name, part in here.items():
            if part.table == "ledger" or name in named:
                self.rows[part.table] += self.reader.read([part], part.table, ["entry"]).height
            elif (
                (merge := merges.get(_folder(name))) is not None
                and not part.compacted
                and part.number in merge.journals
            ):
                self.problem(f"the part {name} is beside the compacted parts that hold its rows")
            else:
                self.problem(f"the part {name} is not named in the ledger: a part of the ledger is missing")

    def _merges(self, told: list[tuple[str, int, dict[str, Any]]], here: dict[str, Part]) -> dict[str, _Merge]:
        """The compaction that is in force in each folder where there is one.

        It is the one whose parts are here; if there are none, the last one, unless what it replaced is still here.
        """
        found: dict[str, dict[frozenset[int], _Merge]] = defaultdict(dict)
        for kind, count, facts in told:
            if kind == "compacted":
                journals = frozenset(expand_ranges(facts["journals"]))
                merge = found[_folder(str(facts["part"]))].setdefault(journals, _Merge(journals))
                merge.rows += count
                merge.here |= str(facts["part"]) in here
        for kind, count, facts in told:
            name = str(facts["part"])
            for merge in found.get(_folder(name), {}).values() if kind == "sealed" else ():
                if _number(name) in merge.journals:
                    merge.replaced.add(_number(name))
                    merge.replaced_rows += count
                    merge.replaced_here |= name in here
        merges = {}
        for folder, candidates in found.items():
            last = max(candidates.values(), key=lambda merge: (merge.here, len(merge.journals)))
            if last.here or not last.replaced_here:
                merges[folder] = last
        for folder, merge in merges.items():
            # A row `sealed` may be in a ledger that is not in this lake any more.
            if merge.replaced == merge.journals and merge.replaced_rows != merge.rows:
                self.problem(
                    f"the compacted parts of {folder} have {counted(merge.rows, 'row')}, "
                    f"the parts that they replaced had {merge.replaced_rows}"
                )
        return merges

    def _part(self, part: Part | None, name: str, count: int, facts: dict[str, Any]) -> None:
        """Compare a part that the ledger names with what it says."""
        first = facts.get("first")
        if part is None:
            if name.partition("date=")[2][:10] < str(self.first_day):
                return
            span = f" (messages {first} to {facts.get('last')})" if first is not None else ""
            self.problem(f"the part {name} with {counted(count, 'row')}{span} is missing")
            if isinstance(first, int) and facts.get("table") in self.missing:
                self.missing[str(facts["table"])].append(max(first - 1, 0))
            return
        rows = self.reader.read([part], part.table, ["entry"]).height
        if part.path in self.reader.unreadable:
            return
        if isinstance(first, int):
            self.spans[part.path] = first, int(facts["last"])
        if rows != count:
            self.problem(f"the part {name} has {counted(rows, 'row')}, the ledger says {count:,}")
        elif facts.get("sha256") not in (None, digest(part.path)):
            self.problem(f"the part {name} is not the file that was sealed: its SHA-256 differs")

    def _numbers(self) -> None:
        """A session numbers its ledger rows from 0: a missing number is a missing row."""
        entries = self.ledger["entry"]
        numbers = entries.filter(entries < SEALER_ENTRY).cast(pl.Int64)
        before = numbers.shift(1, fill_value=-1)
        holes = pl.DataFrame({"begin": before + 1, "end": numbers - 1}).filter(pl.col("begin") <= pl.col("end"))
        if self.begun_before:
            holes = holes.filter(pl.col("begin") > 0)
        for begin, end in holes.head(TOLD_MAX).iter_rows():
            self.problem(f"session {self.session}: rows {begin} to {end} of its ledger are missing")

    def _accounts(self) -> None:
        """The ``alive`` rows follow each other without a hole, and each table has the rows that they count."""
        at = -1
        bounds: list[int] = []
        expected: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        holes: list[int] = []
        alive = self.ledger.filter(pl.col("kind") == "alive").select("message", "count", "ts_recv", "detail")
        for message, count, ts, text in alive.iter_rows():
            last = -1 if message is None else int(message)
            if last - at != count:
                self._hole(at, last - int(count), ts, first=not bounds)
                holes.append(last - int(count))
            at = last
            if not bounds or bounds[-1] != last:
                bounds.append(last)
            rows = detail(text).get("rows")
            for table, n in (rows if isinstance(rows, dict) else {}).items():
                expected[last][table] += int(n)
            self.frames += int(count)
        tail, tail_begin = self._tail(at)
        for table in _core.TABLES:
            if table in UNCOUNTED:
                continue
            counts = self._counts(table, bounds, at, tail_begin)
            spans = zip([0, *(bound + 1 for bound in bounds)], [*bounds, None], strict=True)
            wrong = []
            for place, (begin, upto) in enumerate(spans):
                want = tail.get(table, 0) if upto is None else expected[upto].get(table, 0)
                # If the session goes on, the `alive` row that counts its last rows waits in a journal.
                if counts.get(place, 0) != want and not (upto is None and self.goes_on):
                    wrong.append(_Wrong(begin, upto, want, counts.get(place, 0)))
            # The rows of a hole are reported already; here the ledger's row exists and rows of the table are missing.
            self._miscounted(table, [one for one in wrong if not any(one.touches(hole) for hole in holes)])

    def _miscounted(self, table: str, wrong: list[_Wrong]) -> None:
        if wrong:
            begin, upto, want, found = wrong[0]
            until = "the end" if upto is None else str(upto)
            more = f", and {len(wrong) - 1} other spans differ" if len(wrong) > 1 else ""
            self.problem(
                f"session {self.session}: {table} has {counted(found, 'row')} of messages {begin} to {until}, "
                f"the ledger counted {want}{more}"
            )
            if table in self.missing:
                self.missing[table] += [max(one.begin - 1, 0) for one in wrong]

    def _tail(self, at: int) -> tuple[dict[str, int], int]:
        """Rows of each table after the last ``alive`` row, ``at``, and the message from which on they are counted.

        Only the sealer counts them, and only of a session whose recorder died.
        """
        tail: dict[str, int] = {}
        begin = 0
        recovered = at
        for message, text in self.ledger.filter(pl.col("kind") == "recovered").select("message", "detail").iter_rows():
            facts = detail(text)
            rows = facts.get("rows")
            # Of two journals that a recorder left, the earlier one was about to be closed.
            tail = rows if isinstance(rows, dict) else {}
            name = journal_name(Path(str(facts.get("journal"))))
            begin = 0 if name is None else self._begin(name.number)
            recovered = max(recovered, at if message is None else int(message))
        self.frames += recovered - at
        return tail, begin

    def _begin(self, number: int) -> int:
        """First message of a journal, by the parts that were made of it."""
        parts = map(detail, self.ledger.filter(pl.col("kind") == "sealed")["detail"])
        firsts = [facts["first"] for facts in parts if _number(str(facts["part"])) == number]
        return min((first for first in firsts if isinstance(first, int)), default=0)

    def _counts(self, table: str, bounds: list[int], at: int, tail_begin: int) -> dict[int, int]:
        """Rows of a table up to each of the ``bounds``, by its place, and after the last one."""
        counts: dict[int, int] = defaultdict(int)
        for part in self.of(table):
            numbers = self.reader.read([part], table, ["message"])["message"]
            numbers = numbers.cast(pl.Int64, strict=False).drop_nulls()
            # The rows of a journal that was closed after the last `alive` row are counted by `sealed` alone.
            numbers = numbers.filter((numbers <= at) | (numbers >= tail_begin))
            places = pl.Series(bounds, dtype=pl.Int64).search_sorted(numbers, side="left")
            for place, n in places.value_counts().iter_rows() if isinstance(places, pl.Series) else ():
                counts[int(place)] += int(n)
        return counts

    def _hole(self, at: int, until: int, ts: datetime, *, first: bool) -> None:
        """Messages ``at + 1`` to ``until`` that no ``alive`` row counts."""
        for missing in self.missing.values():
            missing.append(max(at, 0))
        if first and self.begun_before:
            self.note(
                f"session {self.session} begins here with message {until + 1}, at {ts:%Y-%m-%d %H:%M:%S}: "
                "earlier days are not in this lake; its books begin with their checkpoints"
            )
            return
        self.problem(
            f"session {self.session}: messages {at + 1} to {until} (before {ts:%Y-%m-%d %H:%M:%S} UTC) "
            "are not accounted for: a part of the ledger, or a whole day, is missing"
        )

    def _end(self) -> None:
        """A session says how it ended, unless it goes on."""
        if not set(self.ledger["kind"].unique()) & {"disconnect", "stop", "recovered"} and not self.goes_on:
            last = self.ledger["ts_recv"].max()
            when = f" after {last:%Y-%m-%d %H:%M:%S} UTC" if isinstance(last, datetime) else ""
            self.problem(f"session {self.session} has no end in the ledger: what was recorded{when} is missing")

    def _trades(self, known: TradeIds) -> TradeIds:
        """Every jump of a symbol's trade ids is a ``trade_gap`` of the ledger.

        A snapshot may bring a trade that was missed before the reconnect. What follows it was recorded in the session
        before, so the greatest id counts, not the one before.
        """
        parts = self.of("trades")
        if not parts:
            return known
        told, restarts = (
            self.ledger.filter(pl.col("kind") == kind).select("symbol", "message", restart=pl.lit(value=True)).unique()
            for kind in ("trade_gap", "trade_restart")
        )
        columns = ["symbol", "message", "entry", "trade_id", "kind"]
        trades = self.reader.read(parts, "trades", columns).with_columns(pl.col("symbol").cast(pl.String))
        schema = {"symbol": pl.String, "known": pl.Int64}
        last = pl.DataFrame(list(known.last.items()), schema=schema, orient="row")
        trades = trades.join(last, on="symbol", how="left").sort("symbol", "message", "entry")
        # Where the ledger says that the exchange began to number anew, the ids before do not count any more.
        prior = pl.col("trade_id").shift(1).over("symbol").fill_null(pl.col("known"))
        anew = (pl.col("restart") & (pl.col("trade_id") <= prior)).fill_null(value=False)
        trades = trades.join(restarts, on=["symbol", "message"], how="left", maintain_order="left")
        trades = trades.with_columns(numbering=anew.cum_sum().over("symbol"))
        trades = trades.with_columns(known=pl.when(pl.col("numbering") == 0).then("known"))
        greatest = pl.max_horizontal(pl.col("trade_id").cum_max().over("symbol", "numbering"), "known")
        updates = (pl.col("kind") == "update").cum_sum().over("symbol")
        trades = trades.with_columns(greatest=greatest, updates=updates)
        before = pl.col("greatest").shift(1).over("symbol", "numbering").fill_null(pl.col("known"))
        # The largest id has no successor that an integer could hold.
        jumps = trades.with_columns(before=before, updates=pl.col("updates").shift(1).over("symbol")).filter(
            pl.col("trade_id") > pl.col("before"), pl.col("trade_id") - 1 > pl.col("before")
        )
        if not known.complete:
            jumps = jumps.filter(pl.col("known").is_not_null() | (pl.col("numbering") > 0) | (pl.col("updates") > 0))
        ends = trades.group_by("symbol", maintain_order=True).agg(pl.col("greatest", "known", "updates").last())
        if not known.complete:
            ends = ends.filter(pl.col("known").is_not_null() | (pl.col("updates") > 0))
        after = TradeIds(known.last | dict(ends.select("symbol", "greatest").iter_rows()), known.complete)
        lost = jumps.join(told, on=["symbol", "message"], how="anti").sort("symbol", "message")
        if any(self.missing.values()):
            return after
        for symbol, message, trade_id, greatest_id in (
            lost.select("symbol", "message", "trade_id", "before").head(TOLD_MAX).iter_rows()
        ):
            self.problem(
                f"{symbol}: message {message}: trades {greatest_id + 1} to {trade_id - 1} are missing, "
                "and the ledger does not say so"
            )
        return after


def _sound(kind: str, count: int | None, text: str | None) -> bool:
    """Whether a ledger row has the facts that the account needs of its kind; in a damaged part it may lack them."""
    try:
        facts: dict[str, Any] = detail(text)
        if kind == "sealed":
            _number(facts["part"])
            ends = facts["first"], facts["last"]
            return count is not None and (ends == (None, None) or all(isinstance(end, int) for end in ends))
        if kind == "compacted":
            spans = [end - begin for begin, end in facts["journals"]]
            few = min(spans, default=0) >= 0 and sum(spans) < JOURNALS_MAX
            return isinstance(facts["part"], str) and count is not None and few
        rows = facts.get("rows") or {}
        return (count is not None or kind == "connect") and all(isinstance(n, int) for n in rows.values())
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _folder(part: str) -> str:
    """Folder of a part: its table and date."""
    return part.rpartition("/")[0]


def _number(part: str) -> int:
    """Number of the journal of a sealed part, by its name."""
    return int(part.removesuffix(".parquet").rpartition("-")[2])


def _born(session: str) -> datetime | None:
    """Time in the name of a session (UUIDv7)."""
    try:
        return datetime.fromtimestamp(int(session.replace("-", "")[:12], 16) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None

"""Proof of a lake from its parts alone.

For every session: the books are rebuilt from the rows and every checksum is computed again, by the rule that served
live; the ledger's account (``alive`` rows, ``sealed`` rows, gaps) is compared with the rows that are there. What is
missing is named. Nothing is taken on trust from the recorder but the ledger's own rows, and these must add up.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from krakpot import _core
from krakpot.lake import arbitration as sources
from krakpot.lake import journal, seal
from krakpot.lake.lake import MARKS, REFUSALS, Lake, Part, covered, detail
from krakpot.lake.merge import merged, spread, whole
from krakpot.lake.seal import SEALER_ENTRY, UNCOUNTED, digest, polars_schema

ACCOUNT = ("sealed", "compacted", "alive", "recovered", "connect")
"""Rows of the ledger whose facts are reckoned with."""
JOURNALS_MAX = 16_000_000
"""Journals of a session that one part may stand for."""
LIFE_ENDS = ("mismatch", "crossed", "unsubscribed", "gap", "gone", "delisted", *REFUSALS, "disconnect")
"""Ledger rows after which a book is not alive."""
ROWS = 1_000_000
"""Rows that the verifiers are given at a time where parts are compacted; otherwise a part."""
PROBLEMS_MAX = 200
"""Sentences kept; further ones are counted."""
CHANNELS = {"trades": "trade", "ticker": "ticker", "ohlc": "ohlc", "status": "status", "pairs": "instrument"}
"""Channel whose messages fill a table (books are counted by the verifier)."""
LEVELS = ["symbol", "message", "entry", "side", "price", "qty", "depth", "price_precision", "qty_precision"]
"""Columns that messages and checkpoints of both kinds of books have."""


class Books(NamedTuple):
    """A kind of books: its channel, the tables of its messages and checkpoints, and the columns to read."""

    channel: str
    messages: str
    message_columns: list[str]
    checkpoints: str
    checkpoint_columns: list[str]


BOOKS = (
    Books("book", "book", [*LEVELS, "kind", "checksum"], "checkpoints", LEVELS),
    Books(
        "level3", "orders", [*LEVELS, "kind", "checksum", "event", "order_id", "ts_order"],
        "orders_checkpoints", [*LEVELS, "order_id", "ts_order", "modify_rule"],
    ),
)  # fmt: skip
"""The books that are proved."""

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """Without a caller who wants to know."""


@dataclass
class Report:
    """What a verification found."""

    path: Path
    strict: bool = False
    frames: int = 0
    messages: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    checksums: dict[str, dict[str, int]] = field(
        default_factory=lambda: {books.channel: {"ok": 0, "bad": 0} for books in BOOKS}
    )
    """Per channel of books: messages whose checksum is right, and wrong."""
    unchecked: int = 0
    errors: int = 0
    gaps: int = 0
    checkpoints: int = 0
    """Checkpoints that equal the rebuilt book."""
    sessions: int = 0
    symbols: dict[str, dict[str, dict[str, int]]] = field(
        default_factory=lambda: {books.channel: {} for books in BOOKS}
    )
    """Per channel of books and symbol: messages, ok, bad, unchecked."""
    problems: list[str] = field(default_factory=list)
    """What is wrong, in sentences; any makes the exit code 1."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and not wrong."""
    more_problems: int = 0

    def problem(self, sentence: str) -> None:
        """Add a sentence about something wrong."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(sentence)
        else:
            self.more_problems += 1

    @property
    def ok(self) -> int:
        """Messages of all kinds of books whose checksum is right."""
        return sum(checked["ok"] for checked in self.checksums.values())

    @property
    def bad(self) -> int:
        """Messages of all kinds of books whose checksum is wrong."""
        return sum(checked["bad"] for checked in self.checksums.values())

    @property
    def proved(self) -> bool:
        """Whether every message is ok, or unchecked or bad with its reason in the ledger; with strict, none bad."""
        return not self.problems and not (self.strict and self.bad)

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "lake": str(self.path),
            "proved": self.proved,
            "frames": self.frames,
            "messages": dict(self.messages),
            "rows": dict(self.rows),
            "checksums": self.checksums,
            "unchecked": self.unchecked,
            "errors": self.errors,
            "gaps": self.gaps,
            "checkpoints": self.checkpoints,
            "sessions": self.sessions,
            "symbols": self.symbols,
            "problems": self.problems,
            "more_problems": self.more_problems,
            "notes": self.notes,
        }


def verify(
    path: str | Path, *, strict: bool = False, threads: int | None = None, progress: Progress = _silent
) -> Report:
    """Prove the lake at ``path``; ``StorageError`` if it is none.

    ``threads`` verifiers share the symbols of each part (default: one a core). Memory is bounded by a few parts.
    Nothing is moved or removed meanwhile: ``krakpot compact`` waits.
    """
    lake = Lake(path)
    with seal.hold(lake.path):
        return _verify(lake, strict=strict, threads=threads or os.cpu_count() or 1, progress=progress)


def _verify(lake: Lake, *, strict: bool, threads: int, progress: Progress) -> Report:
    report = Report(lake.path, strict)
    parts: dict[str, list[Part]] = defaultdict(list)
    for table in _core.TABLES:
        for part in lake.parts(table):
            parts[part.session].append(part)
    sessions = sorted(parts)
    first_day = min((part.date for found in parts.values() for part in found), default=date.max)
    waiting = _journals(lake, report)
    # A session's connect row names the one before it, and its gap tells the date on which that one ended.
    before: dict[str, tuple[str, date | None]] = {}
    ended: dict[str, set[str]] = {}
    told: list[pl.DataFrame] = []
    with ThreadPoolExecutor(max_workers=1) as reader:
        for session in sessions:
            progress(f"session {session}")
            one = _Session(lake, session, parts[session], report, waiting.get(session), first_day)
            ledger = one.verify(reader, threads, progress)
            told.append(ledger.select(pl.lit(session).alias("session"), *MARKS))
            ended[session] = set(ledger["kind"].unique())
            for text in ledger.filter(pl.col("kind") == "connect")["detail"]:
                previous = detail(text).get("previous")
                if isinstance(previous, str):
                    gap = ledger.filter(pl.col("kind") == "gap")["ts_from"].drop_nulls()
                    before[session] = previous, gap[0].date() if len(gap) else None
    _chain(sessions, before, ended, waiting, first_day, report)
    report.sessions = len(sessions)
    # What one source had and another lacks proves neither wrong: each has its own account.
    if told:
        report.notes += sources.differences(lake, covered(pl.concat(told)))
    if not sessions and not waiting:
        report.notes.append("the lake is empty")
    return report


def _journals(lake: Lake, report: Report) -> dict[str, str]:
    """Journals that are not sealed yet, by session: ``alive`` (a recorder owns it) or ``dead``."""
    found: dict[str, str] = {}
    for path in journal.journals(lake.path):
        session = journal.Content(path).session
        handle = journal.lock(path)
        if handle is None:
            found[session] = "alive"
            report.notes.append(f"{path.name} is being recorded or sealed and was not verified")
        else:
            os.close(handle)
            found.setdefault(session, "dead")
            report.problem(f"{path.name} is not sealed and nobody owns it: run `krakpot recover {lake.path}`")
    return found


def _chain(
    sessions: list[str],
    before: dict[str, tuple[str, date | None]],
    ended: dict[str, set[str]],
    waiting: dict[str, str],
    first_day: date,
    report: Report,
) -> None:
    """Compare what the sessions of a recorder say of each other."""
    followed = {previous for previous, _ in before.values()}
    for session in sessions:
        kinds = ended[session]
        if (
            "disconnect" in kinds
            and not kinds & {"stop", "recovered"}
            and session not in followed
            and session not in waiting
        ):
            report.problem(
                f"session {session} was cut and the recorder went on, but the next session is not in this lake"
            )
        if session not in before:
            continue
        previous, last_day = before[session]
        if previous not in ended:
            # Other sessions may have begun earlier and gone on beyond the days that were removed.
            if any(other < previous for other in sessions) and (last_day is None or last_day >= first_day):
                report.problem(f"session {session} follows {previous}, which is not in this lake")
            else:
                report.notes.append(f"the lake begins with session {session}; the one before it is not here")
        if "gap" not in kinds:
            report.problem(f"session {session} follows another, and its ledger lacks the gap between them")


def _born(session: str) -> datetime | None:
    """Time in the name of a session (UUIDv7)."""
    try:
        return datetime.fromtimestamp(int(session.replace("-", "")[:12], 16) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


@dataclass
class _Merge:
    """What the ledger says of one compaction of a folder."""

    journals: frozenset[int]
    """Numbers of the journals whose rows they hold."""
    rows: int = 0
    here: bool = False
    """Whether any of them is."""
    replaced: set[int] = field(default_factory=set)
    """Of these journals, those whose parts the ledger still names."""
    replaced_rows: int = 0
    replaced_here: bool = False


def _sound(kind: str, count: int | None, text: str | None) -> bool:
    """Whether a ledger row that the account goes by has the facts that such rows have; a spoiled part may lack them."""
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


def _give(verifier: _core.Verifier, messages: bool, frame: pl.DataFrame) -> None:  # noqa: FBT001  # for a pool
    if messages:
        verifier.messages(frame)
    else:
        verifier.checkpoints(frame)


def life_ends(ledger: pl.DataFrame, channel: str) -> pl.DataFrame:
    """Ledger rows after which a book of the channel, or every one (no symbol), is not alive."""
    ends = ledger.filter(pl.col("kind").is_in(LIFE_ENDS)).filter(
        # Only a refused message whose book it was ends that book.
        ~pl.col("kind").is_in(REFUSALS) | pl.col("symbol").is_not_null()
    )
    return ends.filter(pl.col("channel").is_null() | (pl.col("channel") == channel))


class _Session:
    """Verification of one session."""

    def __init__(
        self, lake: Lake, session: str, parts: list[Part], report: Report, waiting: str | None, first_day: date
    ) -> None:
        self.lake = lake
        self.session = session
        self.parts = parts
        self.report = report
        self.waiting = waiting
        self.first_day = first_day
        """The lake's first day: what a session had before it is not in this lake."""
        born = _born(session)
        self.begun_before = born is not None and bool(parts) and min(part.date for part in parts) > born.date()
        self.unreadable: set[Path] = set()
        self.spans: dict[Path, tuple[int, int]] = {}
        """First and last message of parts, as the ledger tells them."""
        self.missing: dict[str, list[int]] = {books.messages: [] for books in BOOKS}
        """Per table of books, the messages after which rows are missing: every book of it ends there."""

    def of(self, table: str) -> list[Part]:
        return sorted((part for part in self.parts if part.table == table), key=lambda part: (part.number, part.date))

    def read(self, parts: list[Part], columns: list[str], at: int | None = None) -> pl.DataFrame:
        """Columns of parts; with ``at`` the next ``ROWS`` rows from there on."""
        table = parts[0].table if parts else "ledger"
        schema = {name: kind for name, kind in polars_schema(table).items() if name in columns}
        frames = [pl.DataFrame(schema=schema)]
        for part in parts:
            if part.path in self.unreadable:
                continue
            try:
                lazy = pl.scan_parquet(part.path, hive_partitioning=False).select(list(schema))
                frame = (lazy if at is None else lazy.slice(at, ROWS)).collect()
                frames.append(frame.select(pl.col(name).cast(kind) for name, kind in schema.items()))
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                self._unreadable(part.path, error)
        return pl.concat(frames)

    def verify(self, reader: ThreadPoolExecutor, threads: int, progress: Progress) -> pl.DataFrame:
        columns = ["symbol", "message", "entry", "ts_recv", "kind", "channel", "ts_from", "count", "detail"]
        ledger = self._understood(self.read(self.of("ledger"), columns).sort("entry"))
        self._sealed(ledger)
        self._numbers(ledger)
        self._accounts(ledger)
        self._end(ledger)
        self._trades(ledger)
        for books in BOOKS:
            self._books(books, ledger, reader, threads, progress)
        errors = ledger.filter(pl.col("kind").is_in(REFUSALS))["count"].sum()
        self.report.errors += int(errors or 0)
        self.report.gaps += ledger.filter(pl.col("kind").is_in(["gap", "trade_gap"])).height
        for part in self.parts:
            if part.table in CHANNELS:
                self.report.messages[CHANNELS[part.table]] += self.read([part], ["message"])["message"].n_unique()
        return ledger

    def _understood(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """Leave out the rows that the account would go by and that make no sense; each is a problem."""
        spoiled = [
            (entry, kind)
            for entry, kind, count, text in ledger.filter(pl.col("kind").is_in(ACCOUNT))
            .select("entry", "kind", "count", "detail")
            .iter_rows()
            if not _sound(kind, count, text)
        ]
        for entry, kind in spoiled:
            self.report.problem(f"session {self.session}: row {entry} of the ledger, {kind}, makes no sense: spoiled")
        return ledger.filter(~pl.col("entry").is_in([entry for entry, _ in spoiled])) if spoiled else ledger

    def _sealed(self, ledger: pl.DataFrame) -> None:
        """Every part that the ledger names is here with all its rows, and every part that is here is named."""
        here = {str(part.path.relative_to(self.lake.path)): part for part in self.parts}
        rows = ledger.filter(pl.col("kind").is_in(["sealed", "compacted"])).select("kind", "count", "detail")
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
                else (merge is None or spread(facts["journals"]) != merge.journals)
            )
            if not replaced:
                named.add(name)
                self._part(here.get(name), name, count, facts)
        for name, part in here.items():
            if part.table == "ledger" or name in named:
                self.report.rows[part.table] += self.read([part], ["entry"]).height
            elif (
                (merge := merges.get(_folder(name))) is not None
                and not part.compacted
                and part.number in merge.journals
            ):
                self.report.problem(f"the part {name} stands beside the compacted parts that hold its rows")
            else:
                self.report.problem(f"the part {name} is not named in the ledger: a part of the ledger is missing")

    def _merges(self, told: list[tuple[str, int, dict[str, Any]]], here: dict[str, Part]) -> dict[str, _Merge]:
        """The compaction that is in force in each folder where one is.

        It is the one whose parts are here; if there are none, the last one, unless what it replaced is still here.
        """
        found: dict[str, dict[frozenset[int], _Merge]] = defaultdict(dict)
        for kind, count, facts in told:
            if kind == "compacted":
                journals = frozenset(spread(facts["journals"]))
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
                self.report.problem(
                    f"the compacted parts of {folder} have {merge.rows} rows, "
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
            self.report.problem(f"the part {name} with {count} rows{span} is missing")
            if isinstance(first, int) and facts.get("table") in self.missing:
                self.missing[str(facts["table"])].append(max(first - 1, 0))
            return
        rows = self.read([part], ["entry"]).height
        if part.path in self.unreadable:
            return
        if isinstance(first, int):
            self.spans[part.path] = first, int(facts["last"])
        if rows != count:
            self.report.problem(f"the part {name} has {rows} rows, the ledger says {count}")
        elif facts.get("sha256") not in (None, digest(part.path)):
            self.report.problem(f"the part {name} is not the file that was sealed: its SHA-256 is another one")

    def _numbers(self, ledger: pl.DataFrame) -> None:
        """A session numbers its ledger rows from 0: a number that is not there is a row that is not there."""
        numbers = ledger["entry"].filter(ledger["entry"] < SEALER_ENTRY).cast(pl.Int64)
        before = numbers.shift(1, fill_value=-1)
        holes = pl.DataFrame({"begin": before + 1, "end": numbers - 1}).filter(pl.col("begin") <= pl.col("end"))
        if self.begun_before:
            holes = holes.filter(pl.col("begin") > 0)
        for begin, end in holes.head(10).iter_rows():
            self.report.problem(f"session {self.session}: rows {begin} to {end} of its ledger are missing")

    def _accounts(self, ledger: pl.DataFrame) -> None:  # noqa: C901, PLR0912  # one account, column by column
        """The ``alive`` rows follow each other without a hole, and each table has the rows that they count."""
        alive = ledger.filter(pl.col("kind") == "alive")
        at = -1
        bounds: list[int] = []
        expected: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        holes: list[int] = []
        for message, count, ts, text in alive.select("message", "count", "ts_recv", "detail").iter_rows():
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
            self.report.frames += int(count)
        tail: dict[str, int] = {}
        tail_begin = 0
        recovered = at
        for message, text in ledger.filter(pl.col("kind") == "recovered").select("message", "detail").iter_rows():
            facts = detail(text)
            rows = facts.get("rows")
            # Of two that a recorder left, the earlier one was about to be closed.
            tail = rows if isinstance(rows, dict) else {}
            tail_begin = self._begin(ledger, journal.Content(Path(str(facts.get("journal")))).number)
            recovered = max(recovered, at if message is None else int(message))
        self.report.frames += recovered - at
        for table in _core.TABLES:
            parts = self.of(table)
            if table in UNCOUNTED:
                continue
            counts: dict[int, int] = defaultdict(int)
            for part in parts:
                numbers = self.read([part], ["message"])["message"].cast(pl.Int64, strict=False).drop_nulls()
                # A journal that was closed after the last `alive` row: its rows are counted by `sealed` alone.
                numbers = numbers.filter((numbers <= at) | (numbers >= tail_begin))
                places = pl.Series(bounds, dtype=pl.Int64).search_sorted(numbers, side="left")
                for place, n in places.value_counts().iter_rows() if isinstance(places, pl.Series) else ():
                    counts[int(place)] += int(n)
            wrong: list[tuple[int, int | None, int, int]] = []
            for place, upto in enumerate([*bounds, None]):
                want = tail.get(table, 0) if upto is None else expected[upto].get(table, 0)
                if counts.get(place, 0) != want:
                    begin = bounds[place - 1] + 1 if place else 0
                    wrong.append((begin, upto, want, counts.get(place, 0)))
            # Rows of a hole are already told; what stands here lacks rows though the ledger's row is there.
            wrong = [w for w in wrong if not any(w[0] <= hole + 1 and (w[1] is None or hole <= w[1]) for hole in holes)]
            if wrong:
                begin, upto, want, found = wrong[0]
                until = "the end" if upto is None else str(upto)
                more = f", and {len(wrong) - 1} other spans differ" if len(wrong) > 1 else ""
                self.report.problem(
                    f"session {self.session}: {table} has {found} rows of messages {begin} to {until}, "
                    f"the ledger counted {want}{more}"
                )
                if table in self.missing:
                    self.missing[table] += [max(w[0] - 1, 0) for w in wrong]

    def _begin(self, ledger: pl.DataFrame, number: int) -> int:
        """First message of a journal, by the parts that were made of it."""
        parts = map(detail, ledger.filter(pl.col("kind") == "sealed")["detail"])
        firsts = [facts["first"] for facts in parts if _number(str(facts["part"])) == number]
        return min((first for first in firsts if isinstance(first, int)), default=0)

    def _hole(self, at: int, until: int, ts: datetime, *, first: bool) -> None:
        """Messages ``at + 1`` to ``until`` that no ``alive`` row accounts for."""
        for missing in self.missing.values():
            missing.append(max(at, 0))
        if first and self.begun_before:
            self.report.notes.append(
                f"session {self.session} begins here with message {until + 1}, at {ts:%Y-%m-%d %H:%M:%S}: "
                "earlier days are not in this lake; its books begin with their checkpoints"
            )
            return
        self.report.problem(
            f"session {self.session}: messages {at + 1} to {until} (before {ts:%Y-%m-%d %H:%M:%S} UTC) "
            "are not accounted for: a part of the ledger, or a whole day, is missing"
        )

    def _end(self, ledger: pl.DataFrame) -> None:
        """A session says how it ended, unless it is still being recorded."""
        kinds = set(ledger["kind"].unique())
        if not kinds & {"disconnect", "stop", "recovered"} and self.waiting is None:
            last = ledger["ts_recv"].max()
            when = f" after {last:%Y-%m-%d %H:%M:%S} UTC" if isinstance(last, datetime) else ""
            self.report.problem(f"session {self.session} has no end in the ledger: what was recorded{when} is missing")

    def _trades(self, ledger: pl.DataFrame) -> None:
        """Every jump of a symbol's trade ids is a ``trade_gap`` of the ledger."""
        parts = self.of("trades")
        if not parts:
            return
        told = (
            ledger.filter(pl.col("kind") == "trade_gap").select("symbol", "message", told=pl.lit(value=True)).unique()
        )
        trades = self.read(parts, ["symbol", "message", "entry", "kind", "trade_id"]).sort("symbol", "message", "entry")
        jumps = trades.with_columns(before=pl.col("trade_id").cum_max().over("symbol").shift(1).over("symbol")).filter(
            pl.col("trade_id") > pl.col("before") + 1
        )
        lost = jumps.join(told, on=["symbol", "message"], how="left").filter(pl.col("told").is_null())
        if any(self.missing.values()):
            return
        for symbol, message, trade_id, prior in (
            lost.select("symbol", "message", "trade_id", "before").head(10).iter_rows()
        ):
            self.report.problem(
                f"{symbol}: message {message}: trades {prior + 1} to {trade_id - 1} are missing, "
                "and the ledger does not say so"
            )

    def _books(
        self, books: Books, ledger: pl.DataFrame, reader: ThreadPoolExecutor, threads: int, progress: Progress
    ) -> None:
        """Rebuild the books, part after part, the next part being read meanwhile."""
        ends = life_ends(ledger, books.channel).select("symbol", "message", "kind")
        missing = self.missing[books.messages]
        rows = {"symbol": [None] * len(missing), "message": missing, "kind": ["missing"] * len(missing)}
        ends = pl.concat([ends, pl.DataFrame(rows, schema=ends.schema)])
        verifiers = [
            _core.Verifier(self.session, channel=books.channel, shard=i, shards=threads) for i in range(threads)
        ]
        for verifier in verifiers:
            verifier.ends(ends)
        frames = self._frames(books)
        with ThreadPoolExecutor(max_workers=threads) as pool:
            coming = reader.submit(next, frames, None)
            while (taken := coming.result()) is not None:
                coming = reader.submit(next, frames, None)
                table, frame = taken
                progress(f"session {self.session}: {frame.height:,} rows of {table}")
                for done in [pool.submit(_give, verifier, table == books.messages, frame) for verifier in verifiers]:
                    done.result()
        for found in (found for verifier in verifiers for found in verifier.finish()):
            self._found(books.channel, found)

    def _frames(self, books: Books) -> Iterator[tuple[str, pl.DataFrame]]:
        """Rows of messages and checkpoints, table by table, in an order in which the verifiers can take them."""
        for messages, checkpoints in self._units(books):
            before = self._read_unit(books.checkpoints, books.checkpoint_columns, checkpoints)
            given: str | None = ""
            for frame in self._read_unit(books.messages, books.message_columns, messages):
                # All checkpoints of a symbol go before its messages, those of later symbols may wait.
                last = str(frame["symbol"][-1])
                while given is not None and given <= last:
                    marks = next(before, None)
                    given = None if marks is None else str(marks["symbol"][-1])
                    if marks is not None:
                        yield books.checkpoints, marks
                yield books.messages, frame
            for marks in before:
                yield books.checkpoints, marks

    def _units(self, books: Books) -> list[tuple[list[Part], list[Part]]]:
        """Parts of messages whose numbers overlap belong together; checkpoints go with the first that they concern.

        A unit is a journal, a compacted day, or both sides of a midnight at which the clock was set back.
        """
        units: list[tuple[list[Part], list[Part]]] = []
        begins: list[int] = []
        end = -1
        for first, last, part in sorted((*self._span(part), part) for part in self.of(books.messages)):
            if first > end or not units:
                units.append(([], []))
                begins.append(first)
            units[-1][0].append(part)
            end = max(end, last)
        for first, _, part in sorted((*self._span(part), part) for part in self.of(books.checkpoints)):
            if not units:
                units.append(([], []))
                begins.append(first)
            units[max(bisect_right(begins, first) - 1, 0)][1].append(part)
        return units

    def _span(self, part: Part) -> tuple[int, int]:
        """First and last message of a part; one that cannot be read has none."""
        if part.path in self.spans:
            return self.spans[part.path]
        numbers = self.read([part], ["message"])["message"].drop_nulls()
        return (int(numbers.min()), int(numbers.max())) if len(numbers) else (-1, -1)  # type: ignore[arg-type]  # whole numbers

    def _read_unit(self, table: str, columns: list[str], parts: list[Part]) -> Iterator[pl.DataFrame]:
        """Rows of parts that belong together, in order, no message in two frames."""
        parts = [part for part in parts if part.path not in self.unreadable]
        if len(parts) == 1 and not parts[0].compacted:
            frame = self.read(parts, columns)
            if frame.height:
                yield frame
        elif all(part.compacted for part in parts) and len({part.date for part in parts}) == 1:
            # One after the other they are in order.
            in_order = sorted(parts, key=lambda part: part.number)
            yield from whole((rows for part in in_order for rows in self._slices(part, columns)), ROWS)
        else:
            paths = [part.path for part in parts]
            yield from whole(merged(paths, table, columns=columns, failed=self._unreadable), ROWS)

    def _slices(self, part: Part, columns: list[str]) -> Iterator[pl.DataFrame]:
        at = 0
        while (frame := self.read([part], columns, at)).height:
            yield frame
            at += ROWS

    def _unreadable(self, path: Path, error: BaseException) -> None:
        self.unreadable.add(path)
        # Polars panics on some spoiled pages; its sentences are long.
        reason = str(error).partition("\n")[0]
        self.report.problem(f"the part {path.relative_to(self.lake.path)} cannot be read: {reason}")

    def _found(self, channel: str, found: dict[str, Any]) -> None:
        report = self.report
        report.checksums[channel]["ok"] += found["ok"]
        report.checksums[channel]["bad"] += found["bad"]
        report.unchecked += found["unchecked"]
        report.checkpoints += found["checkpoints_ok"]
        report.messages[channel] += found["messages"]
        total = report.symbols[channel].setdefault(found["symbol"], {"messages": 0, "ok": 0, "bad": 0, "unchecked": 0})
        for key in total:
            total[key] += found[key]
        for sentence in found["problems"]:
            report.problem(sentence)
        for key, what in (("bad_unexplained", "bad"), ("unchecked_unexplained", "unchecked")):
            if found[key] and not found["problems"]:
                report.problem(f"{found['symbol']}: {found[key]} messages are {what} without a reason in the ledger")

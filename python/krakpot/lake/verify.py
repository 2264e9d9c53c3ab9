"""Proof of a lake from its parts alone.

For every session the books are rebuilt from the rows, and every checksum is computed again, by the same rule as in
the live session. The ledger's account (``alive`` rows, ``sealed`` rows, gaps) is compared with the rows that are there.
What is missing is named. Nothing is taken on trust from the recorder except the ledger's own rows, and these must add
up.

Recorders and sealers may be at work meanwhile. ``Folder.look`` gives the parts that belong together; what is not sealed
yet is not verified, and a note says so.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import polars as pl

from krakpot import _core
from krakpot.errors import counted
from krakpot.lake import arbitration as sources
from krakpot.lake import journal
from krakpot.lake.account import Account, TradeIds
from krakpot.lake.coverage import covered
from krakpot.lake.folder import Folder, View
from krakpot.lake.format import BOOK_KINDS, CHANNELS, BookKind, Part, filling, hold, idle
from krakpot.lake.ledger import IMPORTED, MARKS, REFUSALS, book_ends, detail
from krakpot.lake.messages import MessageReader, PartReader
from krakpot.values import flag, read, threads_of
from krakpot.work import OnProgress, Work, no_progress

Outcome = Literal["proved", "not proved", "nothing yet"]
"""``nothing yet``: no message is sealed, so there is nothing to prove, and nothing is wrong."""
PROBLEMS_MAX = 200
"""Sentences kept; further ones are counted."""
NAMED_MAX = 20
"""Symbols named in one sentence."""


@dataclass
class Report:
    """What a verification found."""

    path: Path
    strict: bool = False
    frames: int = 0
    messages: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    checksums: dict[str, dict[str, int]] = field(
        default_factory=lambda: {kind.channel: {"ok": 0, "bad": 0} for kind in BOOK_KINDS}
    )
    """Per channel of books: messages whose checksum is right, and wrong."""
    unchecked: int = 0
    errors: int = 0
    gaps: int = 0
    checkpoints: int = 0
    """Checkpoints that equal the rebuilt book."""
    sessions: int = 0
    """Sessions that were recorded."""
    imported: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per origin and table: rows that were imported. They are compared with the ledger, and never proved."""
    symbols: dict[str, dict[str, dict[str, int]]] = field(
        default_factory=lambda: {kind.channel: {} for kind in BOOK_KINDS}
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
    def empty(self) -> bool:
        """Whether no message of the exchange is in the parts."""
        return not self.frames and not any(rows for table, rows in self.rows.items() if table != "ledger")

    @property
    def outcome(self) -> Outcome:
        """The verdict.

        ``proved``: every message is ok, or unchecked or bad with its reason in the ledger; with strict, none is bad.
        """
        if self.problems:
            return "not proved"
        return "nothing yet" if self.empty else "proved"

    @property
    def proved(self) -> bool:
        """Whether something was proved, and nothing is wrong."""
        return self.outcome == "proved"

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "lake": str(self.path),
            "outcome": self.outcome,
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
            "imported": self.imported,
            "symbols": self.symbols,
            "problems": self.problems,
            "more_problems": self.more_problems,
            "notes": self.notes,
        }


def verify(
    path: str | Path, *, strict: bool = False, threads: int | None = None, progress: OnProgress = no_progress
) -> Report:
    """Prove the lake at ``path``.

    Parameters
    ----------
    path
        The lake; recorders and sealers may be at work in it.
    strict
        Whether a wrong checksum is a failure even if the ledger tells it.
    threads
        Verifiers that share the symbols of each part (default: one per core). Memory is bounded by a few parts.
    progress
        Called with the bytes of parts that are verified, and those of all parts.

    Returns
    -------
    Report
        What was found; ``outcome`` is the verdict, ``proved`` whether it is ``"proved"``.

    Raises
    ------
    StorageError
        If the folder is not a lake. A damaged part is no error but a problem in the report.

    Example
    -------
    >>> verify("data").proved  # doctest: +SKIP
    True

    """
    count = threads_of(threads)
    folder = Folder(path)
    report = Report(folder.path, read(flag, strict, "strict"))
    # No part is moved or removed meanwhile: `krakpot compact` waits.
    with hold(folder.path):
        view = folder.look()
        at_work = _unsealed(view, report)
        _foreign(folder, report)
        _verify(view, report, count, progress)
    if report.strict and report.bad:
        wrong = (
            f"{symbol} {total['bad']}"
            for symbols in report.symbols.values()
            for symbol, total in symbols.items()
            if total["bad"]
        )
        named = ", ".join(islice(wrong, NAMED_MAX))
        report.problem(f"{counted(report.bad, 'checksum is', 'checksums are')} wrong, and strict allows none: {named}")
    if report.empty:
        if view.unsettled or at_work:
            report.notes.append("nothing is sealed yet, so nothing was verified")
        elif report.imported:
            report.notes.append("all rows were imported, so there is nothing to prove")
        else:
            report.problem("nothing was recorded: the lake has no message of the exchange")
            report.notes.append(filling(folder.path))
    return report


def _verify(view: View, report: Report, threads: int, progress: OnProgress) -> None:
    settled = view.settled()
    work = Work(_bytes(settled.parts), "bytes", progress)
    parts: dict[str, list[Part]] = defaultdict(list)
    for part in settled.parts:
        parts[part.session].append(part)
    imports, removed = _imports(settled)
    # Imported rows may be older than all that was recorded.
    first_day = min((part.date for part in settled.parts if part.session not in imports), default=date.max)
    # The `connect` row of a session names the session before it; the `gap` row has the date on which that one ended.
    before: dict[str, tuple[str, date | None]] = {}
    ended: dict[str, set[str]] = {}
    told: list[pl.DataFrame] = []
    known: dict[str, TradeIds] = {}
    unknown = TradeIds({}, complete=False)
    with ThreadPoolExecutor(max_workers=1) as reader:
        for session in sorted(parts):
            begun = work.done
            if session in imports:
                _imported(settled, session, parts[session], report, removed)
                work.reach(begun + _bytes(parts[session]))
                continue
            one = _Session(settled, session, parts[session], report, first_day)
            previous = one.account.previous
            begin = known.get(previous, unknown) if previous else TradeIds({}, complete=True)
            after = one.account.check(unknown if one.account.begun_before else begin)
            known[session] = unknown if session in view.unsettled else after
            ledger = one.verify(reader, threads, work)
            work.reach(begun + _bytes(parts[session]))
            told.append(ledger.select(pl.lit(session).alias("session"), *MARKS))
            ended[session] = set(ledger["kind"].unique())
            if previous is not None:
                gap = ledger.filter(pl.col("kind") == "gap")["ts_from"].drop_nulls()
                before[session] = previous, gap[0].date() if len(gap) else None
    _chain(before, ended, view.unsettled, first_day, report)
    report.sessions = len(parts.keys() - imports)
    # What one source had and another lacks proves neither wrong: each has its own account.
    if told:
        report.notes += sources.differences(settled, covered(pl.concat(told)))


def _imports(view: View) -> tuple[set[str], date]:
    """Sessions whose rows were imported; and the first day of which nothing was removed on purpose.

    A part of the ledger that cannot be read is told with its session.
    """
    reader = PartReader(lambda _path, _error: None)
    columns = ["session", "kind", "ts_to"]
    rows = reader.read(view.of("ledger"), "ledger", columns, pl.col("kind").is_in([IMPORTED, "removed"]))
    until = rows.filter(pl.col("kind") == "removed")["ts_to"].dt.date().max()
    return set(rows.filter(pl.col("kind") == IMPORTED)["session"]), until if isinstance(until, date) else date.min


def _imported(view: View, session: str, parts: list[Part], report: Report, removed: date) -> None:
    """Count the rows of an imported session; its parts must be those that were sealed, with the rows added."""
    one = _Session(view, session, parts, report, removed)
    one.account.check_parts()
    told: dict[str, int] = defaultdict(int)
    rows = one.account.ledger.filter(pl.col("kind") == IMPORTED).select("channel", "count", "detail")
    for channel, count, text in rows.iter_rows():
        told[_core.CHANNELS[channel]] += count
        counts = report.imported.setdefault(str(detail(text).get("origin")), defaultdict(int))
        counts[_core.CHANNELS[channel]] += count
    for table, count in told.items():
        if removed == date.min and (found := one.account.rows[table]) != count and session not in view.unsettled:
            report.problem(
                f"session {session}: {table} has {counted(found, 'row')}, the ledger says that {count:,} were imported"
            )


def _bytes(parts: Iterable[Part]) -> int:
    """Size of parts on the disk; that one is gone is told where it is read."""
    total = 0
    for part in parts:
        with suppress(FileNotFoundError):
            total += part.path.stat().st_size
    return total


def _unsealed(view: View, report: Report) -> bool:
    """Say which journals are not sealed, and whether anybody is at work; without anybody they are a problem.

    A journal that nobody has locked may wait for a sealer, which is started once a journal was closed. So the question
    is not who has the journal, but whether a recorder or sealer is at work in the lake: it seals what killed ones left.
    """
    lake = view.folder.path
    with idle(lake) as nobody:
        for name in view.journals:
            # Nobody can begin to be at work here, so this keeps no sealer from its journal.
            handle = journal.lock(name.path) if nobody else None
            if handle is not None:
                os.close(handle)
                report.problem(f"{name.path.name} is not sealed and nobody owns it: run `krakpot recover {lake}`")
            else:
                report.notes.append(f"{name.path.name} was being recorded or sealed and was not verified")
    return not nobody


def _foreign(folder: Folder, report: Report) -> None:
    """Name Parquet files that are not parts, and would be read as if they were."""
    for path in (path for table in _core.TABLES for path in folder.foreign(table)):
        name = path.relative_to(folder.path).as_posix()
        if path.name.startswith((".", "_")):
            report.notes.append(f"{name} is not a part of the lake and was left out; other readers may read it")
        else:
            report.problem(f"{name} is not a part of the lake, and other readers would read it: move it away")


def _chain(
    before: dict[str, tuple[str, date | None]],
    ended: dict[str, set[str]],
    unsettled: dict[str, int],
    first_day: date,
    report: Report,
) -> None:
    """Compare what the sessions of a recorder say of each other."""
    followed = {previous for previous, _ in before.values()}
    for session, kinds in ended.items():
        if "disconnect" in kinds and not kinds & {"stop", "recovered"} and session not in {*followed, *unsettled}:
            # The first rows of the next session were journalled before this one ended.
            if any(other > session and other not in ended for other in unsettled):
                continue
            report.problem(
                f"session {session} was cut and the recorder went on, but the next session is not in this lake"
            )
    for session, (previous, last_day) in before.items():
        kinds = ended[session]
        if previous not in ended and previous not in unsettled:
            # Other sessions may have begun earlier and gone on beyond the days that were removed.
            if any(other < previous for other in ended) and (last_day is None or last_day >= first_day):
                report.problem(f"session {session} follows {previous}, which is not in this lake")
            else:
                report.notes.append(f"the lake begins with session {session}; the one before it is not here")
        # Sessions write their gap when data comes, and at the latest when they end.
        if "gap" not in kinds and "disconnect" in kinds:
            report.problem(f"session {session} follows another, and its ledger lacks the gap between them")


def _give(verifier: _core.Verifier, messages: bool, frame: pl.DataFrame) -> None:  # noqa: FBT001  # for a pool
    if messages:
        verifier.messages(frame)
    else:
        verifier.checkpoints(frame)


class _Session:
    """Verification of one session."""

    def __init__(self, view: View, session: str, parts: list[Part], report: Report, first_day: date) -> None:
        self.view = view
        self.session = session
        self.parts = parts
        self.report = report
        self.reader = PartReader(self._unreadable)
        self.account = Account(
            session,
            parts,
            self.reader,
            first_day=first_day,
            goes_on=session in view.unsettled,
            problem=report.problem,
            note=report.notes.append,
        )

    def verify(self, reader: ThreadPoolExecutor, threads: int, work: Work) -> pl.DataFrame:
        """Verify everything, and count in ``work`` the parts of books; returns the session's ledger."""
        account, report = self.account, self.report
        ledger = account.ledger
        report.frames += account.frames
        for table, rows in account.rows.items():
            report.rows[table] += rows
        for kind in BOOK_KINDS:
            self._books(kind, reader, threads, work)
        errors = ledger.filter(pl.col("kind").is_in(REFUSALS))["count"].sum()
        report.errors += int(errors or 0)
        report.gaps += ledger.filter(pl.col("kind").is_in(["gap", "trade_gap"])).height
        for part in self.parts:
            if part.table in CHANNELS:
                messages = self.reader.read([part], part.table, ["message"])["message"]
                report.messages[CHANNELS[part.table]] += messages.n_unique()
        return ledger

    def _books(self, kind: BookKind, reader: ThreadPoolExecutor, threads: int, work: Work) -> None:
        """Rebuild the books, part after part; the next part is read meanwhile."""
        ends = book_ends(self.account.ledger, kind.channel).select("symbol", "message", "kind")
        missing = self.account.missing[kind.messages]
        rows = {"symbol": [None] * len(missing), "message": missing, "kind": ["missing"] * len(missing)}
        ends = pl.concat([ends, pl.DataFrame(rows, schema=ends.schema)])
        verifiers = [
            _core.Verifier(self.session, channel=kind.channel, shard=i, shards=threads) for i in range(threads)
        ]
        for verifier in verifiers:
            verifier.ends(ends)
        messages = MessageReader(self.view, self.session, kind, reader=self.reader, spans=self.account.spans)
        frames = messages.frames()
        # Other tables are done with the whole session, because to rebuild the books takes nearly all of the time.
        size = _bytes(self.account.of(kind.messages)) / max(1, self.account.rows[kind.messages])
        with ThreadPoolExecutor(max_workers=threads) as pool:
            coming = reader.submit(next, frames, None)
            while (taken := coming.result()) is not None:
                coming = reader.submit(next, frames, None)
                table, frame = taken
                for done in [pool.submit(_give, verifier, table == kind.messages, frame) for verifier in verifiers]:
                    done.result()
                if table == kind.messages:
                    work.add(size * frame.height)
        for found in (found for verifier in verifiers for found in verifier.finish()):
            self._found(kind.channel, found)

    def _unreadable(self, path: Path, error: BaseException) -> None:
        # Polars' sentences are long.
        reason = str(error).partition("\n")[0]
        self.report.problem(f"the part {path.relative_to(self.view.folder.path).as_posix()} cannot be read: {reason}")

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
                messages = f"{counted(found[key], 'message')} {'is' if found[key] == 1 else 'are'}"
                report.problem(f"{found['symbol']}: {messages} {what} without a reason in the ledger")

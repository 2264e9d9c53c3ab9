"""The journal of an account: what a strategy asked for, before it was sent, and what it heard, chained and provable.

A row is a line ``<hash> <JSON>``. The hash is the first half of the SHA-256 over the hash of the row before and the
JSON, so no row can be changed, left out or moved without a trace. Rows are collected, and written and synced together
by ``commit``, which a strategy's client calls before the frames of its requests leave: an order that may be at the
exchange is in the journal. The extension writes their text (``_core.JournalRows``). It adds the rows of the account
itself; ``Journal.state`` hears of them later, so that no request waits for it.

A process that dies, or a machine that loses power, may leave a part of the last row. It was not synced, so what it
asked for was not sent: the next start cuts it off and says so in a row ``torn``. Anything else that is wrong with a
journal is refused, with the place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self, get_args

from krakpot._core import JournalRows
from krakpot.errors import ConfigError, StorageError, counted, words_of
from krakpot.lake import lock

VERSION = 1
Kind = Literal[
    "begin", "intent", "answer", "report", "fill", "balances", "entry", "store", "reconciled", "note", "torn", "end",
]  # fmt: skip
"""``begin`` ``end``: of a process. ``intent``: a request, before it is sent. ``answer``, ``report``, ``fill``: what
came of it. ``balances``: all balances at a time. ``entry``: a change of one that no fill made. ``store``: the state of
the strategy. ``reconciled``: the account was compared with the exchange. ``note``: words. ``torn``: what a crash left
was cut off."""
KINDS: tuple[Kind, ...] = get_args(Kind)
HALTED = "halted"
"""Text of the row ``note`` of a halted account."""
OTHERS = "others"
"""Fact ``what`` of the row ``entry`` about a change that only other programs of the account can have made."""
HASH = 32
"""Hexadecimal digits of a hash."""
FIRST = "0" * HASH
"""The hash before the first row."""
STORE_MAX = 64 << 10
"""Bytes of a strategy's state as JSON."""
ROW_MAX = 256 << 10
"""Bytes of the facts of a row as JSON."""
HEARD = ("report", "answer", "fill")
"""Rows that say whether an order is over."""
OVER_MAX = 1000
"""Orders that ended and that a process that trades still knows."""
KNOWN_MAX = 100_000
"""Ids of fills by which a process that trades knows one again; the exchange repeats only what is minutes old."""
UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
"""What a fact raises that is not what its row needs."""
TEXT_OF = json.JSONEncoder(separators=(",", ":")).encode
"""Writes facts as JSON."""
OWN = ("n", "ts", "kind")
"""Members that every row has."""
NEEDED: dict[Kind, tuple[str, ...]] = {
    "begin": ("version", "prefix"),
    "intent": ("method", "order", "name"),
    "answer": ("order", "asked"),
    "report": ("order", "change"),
    "fill": ("order", "exec_id", "symbol", "side", "qty", "price", "cost", "fees", "at"),
    "balances": ("totals",),
    "entry": ("asset", "amount", "fee"),
    "store": ("state",),
}
"""Facts that a row of a kind has at least."""


class _Damaged(Exception):
    """A row is not what it must be."""


@dataclass
class Row:
    """A row: its number, when it was written (ns), its kind, and its facts."""

    number: int
    ts: int
    kind: Kind
    facts: dict[str, Any]


def _plain(value: object, name: str) -> object:
    """A fact as JSON has it; numbers with decimals as texts, so that no digit is lost."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ConfigError(f"journal: {name} is {value}; only finite numbers can be kept")
        return f"{value:f}"
    if isinstance(value, Mapping):
        return {str(key): _plain(one, f"{name}.{key}") for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, name) for one in value]
    sentence = f"journal: {name} is a {type(value).__name__}; allowed are text, whole numbers, Decimal, true and false"
    raise ConfigError(sentence)


def _hash(before: str, text: str) -> str:
    return hashlib.sha256(f"{before} {text}".encode()).hexdigest()[:HASH]


def _row(line: bytes, before: str, number: int) -> tuple[Row, str]:
    """Read a line without its end; ``_Damaged`` says what is wrong. Gives the row and its hash."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise _Damaged("it is not text") from None
    own, _, rest = text.partition(" ")
    if own != _hash(before, rest):
        raise _Damaged("its hash is not that of its text and the row before: it was changed, or rows are missing")
    try:
        row = _parsed(rest)
    except (ValueError, KeyError, AttributeError, RecursionError):
        raise _Damaged("it is not a row of this version") from None
    if row.number != number or row.kind not in KINDS or _lacking(row):
        raise _Damaged(f"it says that it is row {row.number} of kind {row.kind!r}, and has not what that needs")
    return row, own


def _parsed(text: str) -> Row:
    """A row of its JSON; an error of Python if it is none."""
    facts = json.loads(text)
    return Row(facts.pop("n"), facts.pop("ts"), facts.pop("kind"), facts)


def _lacking(row: Row) -> list[str]:
    """Facts that a row of its kind needs and does not have."""
    needed = NEEDED.get(row.kind, ())
    if row.kind == "intent" and row.facts.get("method") == "add":
        needed = (*needed, "qty")
    return [name for name in needed if name not in row.facts]


class _Rows:
    """The rows of a file with their hashes and where they end, one by one: a journal may be larger than the memory.

    ``StorageError`` names the first row that is wrong, or says that the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rest = b""
        """What follows the last end of line, once all rows were read."""

    def __iter__(self) -> Iterator[tuple[Row, str, int]]:
        before, at = FIRST, 0
        for number, line in enumerate(_lines(self.path)):
            if not line.endswith(b"\n"):
                self.rest = line
                return
            try:
                row, before = _row(line[:-1], before, number)
            except _Damaged as error:
                sentence = (
                    f"row {number} of the journal, at byte {at}, is damaged: {error}; nothing was changed. Orders may "
                    "be open: look at the exchange, then begin a new journal with another file"
                )
                raise StorageError(sentence, self.path) from None
            at += len(line)
            yield row, before, at


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        while True:
            try:
                line = file.readline()
            except OSError as error:
                raise _unreadable(path, error) from error
            if not line:
                return
            yield line


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"the journal cannot be read ({words_of(error)})", path)


def rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """Give the rows of a journal one by one, also of one that is being written; ``StorageError`` as ``read``."""
    for row, _, _ in _Rows(Path(path)):
        yield row


def read(path: str | os.PathLike[str]) -> list[Row]:
    """Return the rows of a journal, also of one that is being written.

    Raises
    ------
    StorageError
        If a row is damaged, with its place; or if the file cannot be read.

    """
    return list(rows(path))


@dataclass
class Intent:
    """An order that was asked for, as far as the journal knows it."""

    order: int
    name: str
    """Its ``cl_ord_id``."""
    facts: dict[str, Any]
    """Symbol, side, qty, price, deadline and the other terms."""
    total: Decimal
    """Quantity in all, as amended."""
    answered: bool = False
    refused: str = ""
    """Kraken's words, if it was refused."""
    order_id: str = ""
    filled: Decimal = Decimal(0)
    fills: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts of its fills, by their ids."""
    ended: str = ""
    """``filled``, ``canceled``, ``expired``, ``rejected`` or ``dead``; empty while it may be open."""


@dataclass
class State:
    """What a journal says at its end: what a new process goes on from."""

    forgets: bool = False
    """Whether orders that ended are left out, so that a journal of any length needs little memory."""
    orders: dict[int, Intent] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    """The strategy's own state, as it stored it last."""
    last_order: int = -1
    sent: int = 0
    """Orders that were sent to be placed, and not only to be checked."""
    validates: bool = False
    """Whether the process that wrote last had its orders only checked."""
    last_fill: int | None = None
    """Time of the last fill, ns."""
    fills: int = 0
    """Fills, each counted once."""
    fill_ids: OrderedDict[str, tuple[int, int | None]] = field(default_factory=OrderedDict)
    """Ids of fills, with their order and public trade: all of them; or, where orders are forgotten, the last ones."""
    trades: set[tuple[int, int | None]] = field(default_factory=set)
    """Orders and public trades of these fills: a trade fills an order once."""
    over: deque[int] = field(default_factory=deque)
    """Orders that ended, oldest first, where they are forgotten."""
    revived: set[int] = field(default_factory=set)
    """Orders that were forgotten, and were not over after all."""
    balances: dict[str, Decimal] | None = None
    """What there is of each asset by the last balances, and all fills and entries after them."""
    torn: int = 0
    """Bytes that a crash left behind and that were cut off at this start."""

    @property
    def open(self) -> list[Intent]:
        """Orders that may be open at the exchange."""
        return [intent for intent in self.orders.values() if not intent.ended]

    def apply(self, row: Row) -> None:
        """Take one row."""
        facts = row.facts
        is_new = self.is_new_fill(row)
        self._add_up(row, is_new=is_new)
        if row.kind == "begin":
            self.validates = bool(facts.get("validate"))
        elif row.kind == "store":
            self.stored = facts["state"]
        elif row.kind == "intent" and facts["method"] == "add":
            order = facts["order"]
            self.orders[order] = Intent(order, facts["name"], facts, Decimal(facts["qty"]))
            self.last_order = max(self.last_order, order)
            self.sent += not self.validates
        elif "order" in facts and facts["order"] in self.orders:
            self._hear(self.orders[facts["order"]], row, is_new=is_new)
        elif self.forgets and row.kind in HEARD and "ended" in facts and not facts["ended"]:
            self.revived.add(facts["order"])

    def is_new_fill(self, row: Row) -> bool:
        """Whether a row is a fill that no row before it told: by its id, and by its order and trade."""
        facts = row.facts
        return (
            row.kind == "fill"
            and facts["exec_id"] not in self.fill_ids
            and (facts["order"], facts.get("trade_id")) not in self.trades
        )

    def _know(self, facts: Mapping[str, Any]) -> None:
        """Know a fill again."""
        trade = (facts["order"], facts.get("trade_id"))
        self.fill_ids[facts["exec_id"]] = trade
        if trade[1] is not None:
            self.trades.add(trade)
        self.fills += 1
        if self.forgets and len(self.fill_ids) > KNOWN_MAX:
            self.trades.discard(self.fill_ids.popitem(last=False)[1])

    def _add_up(self, row: Row, *, is_new: bool) -> None:
        """Balances and fills. The cost of a fill is the exchange's, which rounds it."""
        facts = row.facts
        if row.kind == "balances":
            self.balances = {asset: Decimal(total) for asset, total in facts["totals"].items()}
        elif row.kind == "entry":
            self._change(facts["asset"], Decimal(facts["amount"]) - Decimal(facts["fee"]))
        elif is_new:
            self._know(facts)
            base, _, quote = facts["symbol"].partition("/")
            sign = 1 if facts["side"] == "buy" else -1
            self._change(base, sign * Decimal(facts["qty"]))
            self._change(quote, -sign * Decimal(facts["cost"]))
            for asset, fee in facts["fees"].items():
                self._change(asset, -Decimal(fee))

    def _change(self, asset: str, change: Decimal) -> None:
        if self.balances is not None:
            self.balances[asset] = self.balances.get(asset, Decimal(0)) + change

    def _hear(self, intent: Intent, row: Row, *, is_new: bool) -> None:
        facts = row.facts
        intent.order_id = facts.get("order_id") or intent.order_id
        if row.kind == "answer" and facts.get("asked") == "add":
            intent.answered = True
            intent.refused = facts.get("error") or ""
        if is_new:
            intent.fills[facts["exec_id"]] = facts
            intent.filled += Decimal(facts["qty"])
            self.last_fill = max(self.last_fill or 0, facts["at"])
        if row.kind == "report" and facts.get("qty") is not None:
            intent.total = Decimal(facts["qty"])
        if row.kind in HEARD:
            # An order that was believed to be rejected may be there after all.
            was, intent.ended = intent.ended, facts.get("ended") or ""
            if self.forgets and intent.ended and not was:
                self._forget(intent.order)

    def _forget(self, order: int) -> None:
        """Forget an order that is over, once so many others are: rows that follow change the balances at most."""
        self.over.append(order)
        if len(self.over) > OVER_MAX:
            oldest = self.over.popleft()
            if oldest in self.orders and self.orders[oldest].ended:
                del self.orders[oldest]


class Journal:
    """The journal that a process writes. Only one does: it is locked."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        prefix: str,
        key_id: str = "",
        durable: bool = True,
        halts: bool = False,
        validate: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Open a journal, or make it; ``state`` says what it says.

        ``prefix`` begins the names of the strategy's orders: a journal belongs to one strategy. ``key_id`` is
        ``Key.id`` of the key that is used. ``durable``: rows are synced before ``commit`` returns; without it a power
        failure may lose orders that were sent. ``halts``: the process hears the signal that halts it. ``validate``: its
        orders are only checked by the exchange. ``clock`` returns the time, ns.

        Raises
        ------
        StorageError
            If the file cannot be read or written, another process has it, or a row is damaged.
        ConfigError
            If it is the journal of another strategy.

        """
        self.path = Path(path)
        self.durable = durable
        self._state = State(forgets=True)
        self.clean = True
        """Whether the process before this one ended the journal in order."""
        self.failed: StorageError | None = None
        """Why rows could not be written. No order is taken from then on; cancels still are."""
        self._clock = clock
        self._size = 0
        self._rest = True
        """Whether something may follow the last whole row."""
        self._prefix = prefix
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(f"the journal cannot be opened ({words_of(error)})", self.path) from error
        try:
            if not lock.take(self._file, self.path, exclusive=True):
                raise StorageError("another process writes this journal; end it first, or use another file", self.path)
            self._load()
            facts = {"durable": durable, "pid": os.getpid(), "halts": halts, "validate": validate}
            self.add("begin", version=VERSION, prefix=prefix, key=key_id, **facts)
            self.commit()
            lock.sync_folder(self.path.parent)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    @property
    def state(self) -> State:
        """What the journal says, with the rows that are collected."""
        self.learn()
        return self._state

    def learn(self) -> None:
        """Take the rows of the account into the state. It is always done before somebody reads the state."""
        for facts in self.rows.take_noted():
            self._state.apply(Row(*facts))

    def _load(self) -> None:
        """Read what is there, and cut off what a crash left."""
        before, number = FIRST, 0
        found = _Rows(self.path)
        for row, hashed, end in found:
            if row.kind == "begin" and row.facts.get("prefix") != self._prefix:
                sentence = (
                    f"{self.path}: the journal belongs to the strategy {row.facts.get('prefix')!r}, not to "
                    f"{self._prefix!r}; give each strategy a journal"
                )
                raise ConfigError(sentence)
            if row.kind == "begin" and row.facts.get("version") != VERSION:
                raise StorageError("another version of krakpot wrote the journal; go on with that one", self.path)
            _apply(self._state.apply, row, self.path)
            self.clean = row.kind == "end"
            before, number, self._size = hashed, row.number + 1, end
        self.rows = JournalRows(before, number)
        """Where the account adds its rows."""
        self._revive()
        torn = found.rest
        if torn:
            self._state.torn = len(torn)
            # Read again by hand, if anybody asks: what the crash left, as far as it is text.
            self.add("torn", at=self._size, bytes=len(torn), left=torn[:200].decode(errors="replace"))

    def _revive(self) -> None:
        """Read again what was forgotten of orders that were not over after all: it is rare."""
        if not self.state.revived:
            return
        again = State()
        for row in rows(self.path):
            if row.facts.get("order") in self.state.revived:
                again.apply(row)
        self.state.orders |= {number: intent for number, intent in again.orders.items() if not intent.ended}

    def add(self, kind: Kind, **facts: object) -> int:
        """Collect a row; it is on disk after the next ``commit``. Returns its number.

        Raises
        ------
        StorageError
            For an order, if the journal cannot be written any more.
        ConfigError
            If a fact cannot be kept exactly.

        """
        if kind == "intent" and facts.get("method") != "cancel" and self.failed is not None:
            raise self.failed
        if any(name in OWN for name in facts):
            raise ConfigError(f"journal: {', '.join(OWN)} are the journal's own names")
        row = Row(self.rows.number, self._clock(), kind, {name: _plain(value, name) for name, value in facts.items()})
        lacking = _lacking(row)
        if kind not in KINDS or lacking:
            raise ConfigError(f"journal: a row {kind!r} is not known, or lacks {', '.join(lacking)}")
        text = TEXT_OF(row.facts)
        if len(text) > ROW_MAX:
            raise ConfigError(f"journal: a row of {len(text)} bytes is too large; {ROW_MAX} are allowed")
        try:
            self.state.apply(row)
        except UNREADABLE as error:
            raise ConfigError(f"journal: a row {kind!r} has a fact that cannot be read") from error
        self.rows.add(row.ts, kind, text)
        return row.number

    def intent(self, method: Literal["add", "amend", "cancel"], order: int, name: str, **terms: object) -> int:
        """Collect a request about an order, before it is sent; see ``add``."""
        return self.add("intent", method=method, order=order, name=name, **terms)

    def store(self, state: Mapping[str, Any]) -> int:
        """Collect the strategy's own state: up to 64 KiB as JSON, which the next process finds in ``state.stored``."""
        if not isinstance(state, Mapping):
            raise ConfigError(f"store: a {type(state).__name__} is not allowed; allowed is a dict")
        plain = _plain(state, "store")
        size = len(TEXT_OF(plain))
        if size > STORE_MAX:
            raise ConfigError(f"store: {size} bytes are too many; at most {STORE_MAX} bytes as JSON are allowed")
        return self.add("store", state=plain)

    def fills(self) -> Iterator[dict[str, Any]]:
        """Give the facts of all fills that are on disk, each once, oldest first.

        ``StorageError`` if the file cannot be read.
        """
        state = State(forgets=True)
        for line in _lines(self.path):
            # The rows were checked when the journal was opened; the others are not looked at.
            if b'"kind":"fill"' in line and line.endswith(b"\n"):
                row = _parsed(line[:-1].decode().partition(" ")[2])
                if row.kind == "fill" and state.is_new_fill(row):
                    state.apply(row)
                    yield row.facts

    def commit(self) -> None:
        """Write the collected rows together, and sync them. What they ask for may be sent only after this.

        Raises
        ------
        StorageError
            If the disk does not take them. They stay collected, and the next ``commit`` tries again.

        """
        data = self.rows.unwritten()
        if not data:
            return
        if self._file == -1:
            raise StorageError("the journal is closed", self.path)
        try:
            if self._rest:
                # Behind the last whole row, whatever a failed attempt or a crash left there.
                os.ftruncate(self._file, self._size)
                self._rest = False
            view = memoryview(data)
            at = self._size
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            if self.durable:
                os.fsync(self._file)
            if not os.fstat(self._file).st_nlink:
                # The file was removed; the system would still accept rows that nobody could read.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except OSError as error:
            self._rest = True
            cause = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else words_of(error)
            self.failed = StorageError(f"the journal cannot be written ({cause}); no order is sent any more", self.path)
            self.rows.refuse_orders()
            raise self.failed from error
        self._size += len(data)
        self.rows.written(len(data))

    def close(self) -> None:
        """End the journal in order; the next process then knows that nothing is missing."""
        if self._file == -1:
            return
        try:
            self.add("end", open=len(self.state.open))
            self.commit()
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        """Use it in a ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()


@dataclass(frozen=True)
class Audit:
    """What a journal proves."""

    rows: int
    orders: int
    fills: int
    open: tuple[int, ...]
    """Orders that may be open."""
    balances: dict[str, Decimal]
    """What there is of each asset by the last balances, and all fills and entries after them."""
    unexplained: dict[str, Decimal]
    """What balances of the exchange differed from that, summed."""
    problems: tuple[str, ...]
    torn: int = 0
    """Bytes of a row without its end, behind the last whole one."""
    notes: tuple[str, ...] = ()
    """What is unusual and explained."""

    @property
    def explained(self) -> bool:
        """Whether everything agrees to the last digit."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON has them, amounts as texts with all digits."""
        amounts = {"balances": self.balances, "unexplained": self.unexplained}
        lists = {"open": self.open, "problems": self.problems, "notes": self.notes}
        return (
            {"explained": self.explained, "rows": self.rows, "orders": self.orders, "fills": self.fills}
            | {name: {asset: f"{one:f}" for asset, one in amount.items()} for name, amount in amounts.items()}
            | {name: list(one) for name, one in lists.items()}
            | {"torn": self.torn}
        )


def audit(path: str | os.PathLike[str]) -> Audit:
    """Compute the balances of a journal again, from its fills and entries, and compare each row ``balances`` with that.

    Raises
    ------
    StorageError
        If a row is damaged, with its place; or if the file cannot be read.

    Examples
    --------
    ::

        >>> audit("maker.journal").explained
        True

    """
    where = Path(path)
    account, found, count, notes = _Account(), _Rows(where), 0, []
    for row, _, _ in found:
        _apply(account.apply, row, where)
        count += 1
        if row.kind == "torn":
            notes.append(f"row {row.number}: {_torn(row.facts.get('bytes'))}, and was cut off")
    state, torn = account.state, len(found.rest)
    still = tuple(intent.order for intent in state.open)
    if torn:
        notes.append(f"behind the last row: {_torn(torn)}, or it is being written now; the next start cuts it off")
    notes += [
        f"other programs of the account changed {asset} by {change:+f} in all"
        for asset, change in account.others.items()
    ]
    facts = (account.known or {}, account.unexplained, tuple(account.problems))
    return Audit(count, len(state.orders), state.fills, still, *facts, torn, tuple(notes))


def _apply(apply: Callable[[Row], None], row: Row, path: Path) -> None:
    """Take a row; ``StorageError`` if it has a fact that cannot be read."""
    try:
        apply(row)
    except UNREADABLE as error:
        sentence = f"row {row.number} of the journal, {row.kind!r}, has a fact that cannot be read"
        raise StorageError(sentence, path) from error


def _torn(size: object) -> str:
    return f"a crash left {size} bytes of a row, which was not synced: nothing that it asked for was sent"


class _Account:
    """The balances of a journal, computed row by row."""

    def __init__(self) -> None:
        self.state = State()
        self.unexplained: dict[str, Decimal] = {}
        self.others: dict[str, Decimal] = {}
        """What own fills and entries did not explain in an account in which other programs trade, summed."""
        self.problems: list[str] = []

    @property
    def known(self) -> dict[str, Decimal] | None:
        """What there is of each asset; None before the first row ``balances``."""
        return self.state.balances

    def apply(self, row: Row) -> None:
        """Take one row."""
        known = self.known
        is_new = self.state.is_new_fill(row)
        self.state.apply(row)
        if is_new:
            self._check_fill(row)
        elif row.kind == "entry" and row.facts.get("what") == OTHERS:
            asset = row.facts["asset"]
            self.others[asset] = self.others.get(asset, Decimal(0)) + Decimal(row.facts["amount"])
        elif row.kind == "balances" and known is not None:
            self._compare(row, known, self.state.balances or {})

    def _check_fill(self, row: Row) -> None:
        order = row.facts["order"]
        intent = self.state.orders.get(order)
        if intent is None:
            self.problems.append(f"row {row.number}: a fill of order {order}, which no row asked for")
        elif intent.filled > intent.total:
            words = f"order {intent.order} is filled with {intent.filled}, more than its {intent.total}"
            self.problems.append(f"row {row.number}: {words}")

    def _compare(self, row: Row, known: dict[str, Decimal], told: dict[str, Decimal]) -> None:
        for asset in sorted(told.keys() | known.keys()):
            expected, found = known.get(asset, Decimal(0)), told.get(asset, Decimal(0))
            if expected != found:
                self.unexplained[asset] = self.unexplained.get(asset, Decimal(0)) + found - expected
                off = found - expected
                words = (
                    f"the exchange says {found:f} {asset}, fills and entries say {expected:f}; "
                    f"{abs(off):f} {asset} {'more' if off > 0 else 'less'} than explained"
                )
                self.problems.append(f"row {row.number}: {words}")


def sentences(found: Audit) -> list[str]:
    """Say in words what an audit found."""
    lines = [f"{counted(found.rows, 'row')}, {counted(found.orders, 'order')}, {counted(found.fills, 'fill')}"]
    lines += [f"{asset}: {total:f}" for asset, total in sorted(found.balances.items())]
    if found.open:
        lines.append(f"may be open: {', '.join(map(str, found.open))}")
    if not found.balances:
        lines.append("no row has the balances of the exchange, so there is nothing to compare")
    return [
        *lines,
        *found.notes,
        *found.problems,
        "everything is explained" if found.explained else "not everything is explained",
    ]

"""Messages that the exchange sent and that a lake does not have, and what the ledger says about each.

The log of the built-in exchange has a line for every frame, and the numbers of its frames are the numbers of messages
in the lake. A message that is in the log of a connection and not in its session is lost, and the ledger must name it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from krakpot import _core
from krakpot.compare.exchange import COMPARED, NUMBERS
from krakpot.lake.lake import Lake
from krakpot.lake.ledger import ENDS

FRAME_FAULTS = [name for name, of, *_ in _core.FAULTS if of == "frame"]
OF_TRADING = ("request", "signed request", "order request", "report", "token")
"""What faults happen to that no recorder meets: requests to REST, and the account."""
RECORDED = [name for name, of, *_ in _core.FAULTS if of not in OF_TRADING]
"""Faults that a recorder meets."""
UNSENT = ("drop", "silence")
"""Faults whose frames are in the log and were not sent: their number is that of the next frame that was sent."""
SLACK = 100_000_000
"""Exchange and recorder have the same clock, but a message may be read this much later, ns."""
NAMES = {*ENDS, "resync", "stale", "doubt"} - {"disconnect"}
"""Ledger rows that name a loss of their channel and symbol."""
HELD = "held"
"""No row: the next checksum of the book was right without the message, because its levels changed again."""
SILENT = "no number"
"""No row: nothing in the protocol shows that there was a message. Tickers have neither number nor checksum. In other
channels this is so if no message came after it, and for trades also if none of the symbol came before it."""
NOBODY = "no connection"
"""The exchange had a connection from which nothing arrived; the gap between the recorder's sessions names it."""
UNEXPLAINED = "unexplained"


def sent(log: Path) -> pl.DataFrame:
    """Read the exchange's log of messages: wall_ns, connection, message, channel, symbol, number, sent_ns, fault."""
    # The last line may be half written.
    whole = log.read_bytes().rpartition(b"\n")[0]
    rows = pl.read_csv(whole, schema_overrides={"checksum": pl.Int64, "fault": pl.String, "symbol": pl.String})
    # A snapshot of trades may hold none: it has no number, and makes no row.
    empty = (pl.col("channel") == "trade") & (pl.col("checksum") == 0)
    return rows.filter(
        pl.col("channel").is_in(list(COMPARED)), pl.col("fault").is_null() | pl.col("fault").is_in(FRAME_FAULTS), ~empty
    ).select(
        "wall_ns", "connection", pl.col("frame").alias("message"), "channel", "symbol",
        pl.col("checksum").alias("number"), "sent_ns", "fault",
    )  # fmt: skip


def recorded(lake: Lake, session: str) -> pl.DataFrame:
    """Read the lake's messages of one session in the form of the log: message, channel, symbol, number."""
    found = []
    for channel, table in COMPARED.items():
        column = NUMBERS.get(channel)
        columns = ["symbol", "message", "entry", *([column] if column else [])]
        files = [part.path for part in lake.parts(table) if part.session == session]
        if not files:
            continue
        rows = pl.scan_parquet(files, hive_partitioning=False).select(columns).collect()
        assert rows.select("symbol", "message", "entry").is_duplicated().sum() == 0, f"rows of {table} are there twice"
        # All rows of a book message have the same checksum; the number of a trade message is the id of its last trade.
        messages = rows.sort("message", "entry").unique("message", keep="last", maintain_order=True)
        number = pl.lit(0) if column is None else pl.col(column)
        found.append(
            messages.select(
                pl.col("message").cast(pl.Int64),
                pl.lit(channel).alias("channel"),
                pl.col("symbol").cast(pl.String),
                number.cast(pl.Int64).alias("number"),
            )
        )
    if not found:
        return pl.DataFrame(schema={"message": pl.Int64, "channel": pl.String, "symbol": pl.String, "number": pl.Int64})
    return pl.concat(found).sort("message")


class Losses(NamedTuple):
    """How much was sent, and why some of it is not in the lake."""

    sent: int
    """Messages of books, level 3, trades and tickers."""
    why: Counter[str]
    """How many messages were lost, by the kind of the ledger row that names them, or one of the words above."""
    unexplained: list[str]
    """Sentences about lost messages that no row names."""

    @property
    def lost(self) -> int:
        """Number of messages that are not in the lake."""
        return sum(self.why.values())


def losses(lake: Lake, log: Path, account: Mapping[str, Any]) -> Losses:
    """Compare the log of an exchange with the lake that was recorded from it."""
    told = sent(log)
    status = lake.scan("status", sources="all").select("connection_id", "session").unique().collect()
    sessions = {int(number): str(session) for number, session in status.drop_nulls().iter_rows()}
    ledger = lake.ledger().collect().with_columns(pl.col("ts_recv", "ts_from", "ts_to").to_physical())
    coverage = lake.coverage().with_columns(pl.col("ts_from", "ts_to").to_physical())
    trades: dict[str, set[int]] = defaultdict(set)
    for symbol, number in lake.trades(sources="all").select("symbol", "trade_id").unique().collect().iter_rows():
        trades[symbol].add(number)
    gaps = ledger.filter(pl.col("kind") == "gap", pl.col("symbol").is_null()).select("ts_from", "ts_to").rows()
    why: Counter[str] = Counter()
    unexplained = []
    for connection in account["connections"]:
        number = connection["connection"]
        lines = told.filter(pl.col("connection") == number)
        session = sessions.get(int(connection["connection_id"]))
        if session is None:
            inside = all(any(begin - SLACK <= at <= end for begin, end in gaps if begin) for at in lines["wall_ns"])
            why[NOBODY if inside else UNEXPLAINED] += lines.height
            unexplained += [] if inside else [f"connection {number} has no session, and no gap is around it"]
            continue
        found = recorded(lake, session)
        missing = pl.concat(
            [
                lines.filter(pl.col("fault").is_in(UNSENT)),
                lines.filter(~pl.col("fault").is_in(UNSENT).fill_null(value=False)).join(
                    found, on=["message", "channel", "symbol"], how="anti"
                ),
            ]
        )
        one = _Session(ledger.filter(session=session), coverage.filter(session=session), found, trades)
        for row in missing.iter_rows(named=True):
            kind = one.why(row)
            if kind is None:
                continue
            why[kind] += 1
            if kind == UNEXPLAINED:
                unexplained.append(f"connection {number}, session {session}: {row}")
    return Losses(told.height, why, unexplained)


class _Session:
    """The ledger of a session, and the losses that it names."""

    def __init__(
        self, ledger: pl.DataFrame, coverage: pl.DataFrame, found: pl.DataFrame, trades: Mapping[str, set[int]]
    ) -> None:
        self.trades = trades
        ends = ledger.filter(pl.col("kind") == "disconnect")["count"]
        self.end = int(ends[0]) if len(ends) else None
        """How many messages the session had; None if it ended without a row."""
        last = ledger.filter(pl.col("kind") == "alive")["message"].max()
        self.last = int(last) if isinstance(last, int) else -1
        self.rows: dict[tuple[str | None, str | None], list[dict[str, Any]]] = defaultdict(list)
        for row in ledger.sort("entry").iter_rows(named=True):
            self.rows[row["channel"], row["symbol"]].append(row)
        self.damaged: dict[int, str] = {}
        self.unsaid: list[int] = []
        """Messages up to which more could not be read than have rows."""
        for row in ledger.filter(pl.col("kind").is_in(["decode_error", "limit"])).iter_rows(named=True):
            if row["message"] is not None:
                self.damaged.setdefault(row["message"], row["kind"])
                self.unsaid += [row["message"]] if row["detail"] is None else []
        self.spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for row in coverage.iter_rows(named=True):
            self.spans[row["channel"], row["symbol"]].append((row["ts_from"], row["ts_to"]))
        self.messages = found.partition_by("channel", "symbol", as_dict=True, maintain_order=True)

    def why(self, line: Mapping[str, Any]) -> str | None:  # noqa: PLR0911, PLR0912  # one answer a line
        """Return the kind of the row that names a lost message; None if it was not lost: the trade came twice."""
        message, channel, symbol = line["message"], line["channel"], line["symbol"]
        if channel == "trade":
            if line["number"] in self.trades.get(symbol, ()):
                return None
            for row in self._of(channel, symbol, {"trade_gap"}):
                facts = json.loads(row["detail"])
                if facts["first"] <= line["number"] <= facts["last"]:
                    return "trade_gap"
        if self.end is None:
            return "unfinished" if message > self.last else UNEXPLAINED
        if message >= self.end:
            return "disconnect"
        if line["fault"] not in UNSENT and message in self.damaged:
            return self.damaged[message]
        at = line["wall_ns"]
        for row in self._of(channel, symbol, {"stale", "gap"}):
            if row["ts_from"] is not None and row["ts_from"] - SLACK <= at <= row["ts_recv"]:
                return str(row["kind"])
        if not any(begin - SLACK <= at < end + SLACK for begin, end in self.spans[channel, symbol]):
            return "not covered"
        after = self._next(channel, symbol, message)
        if channel in {"book", "level3"}:
            for row in self._of(channel, symbol, NAMES):
                if row["message"] is not None and message - 1 <= row["message"] <= (after or row["message"]):
                    return str(row["kind"])
            # A wrong digit in the channel name makes a channel that was not subscribed.
            if after is not None and line["fault"] in {*UNSENT, "digit"}:
                return HELD
        if line["fault"] not in UNSENT and any(message <= until for until in self.unsaid):
            return "decode_error"
        first = channel == "trade" and line["number"] < min(self.trades.get(symbol, ()), default=0)
        unnumbered = channel == "ticker" or after is None or first
        return SILENT if line["fault"] in UNSENT and unnumbered else UNEXPLAINED

    def _next(self, channel: str, symbol: str, message: int) -> int | None:
        """Return the next message of the same channel and symbol that arrived."""
        if (found := self.messages.get((channel, symbol))) is None:
            return None
        place = int(found["message"].search_sorted(message))
        return int(found["message"][place]) if place < found.height else None

    def _of(self, channel: str, symbol: str, kinds: Iterable[str]) -> list[dict[str, Any]]:
        keys = ((channel, symbol), (None, symbol), (channel, None))
        return [row for key in keys for row in self.rows.get(key, ()) if row["kind"] in kinds]

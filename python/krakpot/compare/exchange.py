"""A lake against the account of the built-in exchange that it was recorded from: what was lost, what was changed.

The exchange keeps its own account of what it sent. It shares no code with the recorder, so the two check each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from krakpot import _core
from krakpot.errors import counted
from krakpot.lake.lake import Lake

COMPARED = {"book": "book", "level3": "orders", "trade": "trades", "ticker": "ticker"}
"""Channels of the account, and the tables of their messages."""
NUMBERS = {"book": "checksum", "level3": "checksum", "trade": "trade_id"}
"""Columns over which the account has a hash."""
DAMAGING = ("digit", "truncate", "garbage", "oversize", "absent", "null", "huge")
"""Faults after which a client may or may not be able to read a message."""


def differences(lake: Lake, summary: Mapping[str, Any]) -> list[str]:
    """Compare a lake with the account of the exchange that it was recorded from, connection by connection.

    A session of the lake belongs to the connection whose ``connection_id`` its status message has. For each symbol and
    channel the number of messages must be the same, and the hash over the sequence of checksums or trade ids. Where
    faults happened to messages, only their number is compared: without those that were not sent, with those that were
    sent twice, and with or without those that were damaged.

    Parameters
    ----------
    lake
        The recording.
    summary
        The account: ``ExchangeServer.summary()``, or what ``krakpot exchange --json`` printed.

    Returns
    -------
    list of str
        A sentence for each difference; empty if there is none.

    Examples
    --------
    >>> differences(Lake("lake"), server.summary())  # doctest: +SKIP
    ['BTC/USD: the exchange sent 512 book messages, the lake has 511']

    """
    status = lake.scan("status").select("connection_id", "session").unique().collect()
    sessions = {int(number): str(session) for number, session in status.drop_nulls().iter_rows()}
    connections = {int(one["connection_id"]): one for one in summary["connections"]}
    found = [f"the lake has no session of connection {number}" for number in sorted({*connections} - {*sessions})]
    found += [
        f"session {session} was recorded from connection {number}, which is not in the account of the exchange"
        for number, session in sorted(sessions.items())
        if number not in connections
    ]
    for number in connections.keys() & sessions.keys():
        found += _session_differences(lake, sessions[number], connections[number])
    return found


def _session_differences(lake: Lake, session: str, connection: Mapping[str, Any]) -> list[str]:
    """Compare one session."""
    counts: dict[tuple[str, str], int] = {}
    hashes: dict[tuple[str, str], int] = {}
    for channel, table in COMPARED.items():
        for part in sorted((p for p in lake.parts(table) if p.session == session), key=lambda p: (p.number, p.date)):
            _count(part.path, channel, counts, hashes)
    account = {
        (channel, symbol): facts
        for symbol, channels in connection["symbols"].items()
        for channel, facts in channels.items()
        if channel in COMPARED
    }
    found: list[str] = []
    for channel, symbol in sorted({*account, *counts}):
        facts = account.get((channel, symbol), {"messages": 0, "hash": "0"})
        least, most = _sent(facts)
        count = counts.get((channel, symbol), 0)
        recorded = hashes.get((channel, symbol), 0)
        if not least <= count <= most:
            messages = f"{channel} message"
            sent = counted(most, messages) if least == most else f"{least} to {counted(most, messages)}"
            found.append(f"{symbol}: the exchange sent {sent}, the lake has {count:,}")
        elif channel in NUMBERS and "faults" not in facts and recorded != int(facts["hash"], 16):
            what = "trade ids" if channel == "trade" else "checksums"
            found.append(f"{symbol}: the {what} of the {channel} messages are not those that the exchange sent")
    return found


def _sent(facts: Mapping[str, Any]) -> tuple[int, int]:
    """How many messages of an account a client can have read, at least and at most."""
    faults = Counter[str](facts.get("faults", {}))
    sent = facts["messages"] - faults["drop"] - faults["silence"] + faults["repeat"]
    return sent - sum(faults[name] for name in DAMAGING), sent


def _count(path: Path, channel: str, counts: dict[tuple[str, str], int], hashes: dict[tuple[str, str], int]) -> None:
    """Add the messages of one part."""
    number = NUMBERS.get(channel)
    columns = ["symbol", "message", "entry", *([number] if number else [])]
    rows = pl.read_parquet(path, columns=columns, hive_partitioning=False)
    # All rows of a book message have the same checksum; the number of a trade message is the id of its last trade.
    messages = rows.sort("symbol", "message", "entry").unique(["symbol", "message"], keep="last", maintain_order=True)
    for (symbol,), group in messages.partition_by("symbol", as_dict=True).items():
        key = (channel, str(symbol))
        counts[key] = counts.get(key, 0) + group.height
        value = hashes.get(key, 0)
        if number:
            for one in group[number].to_list():
                value = (value * _core.ACCOUNT_HASH + one) & (1 << 64) - 1
        hashes[key] = value

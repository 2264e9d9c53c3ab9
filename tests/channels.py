"""The built-in exchange as seen by two sockets, book and level3; its log gives the true answers of a comparison."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import frames
import lakes
from krakpot import _core
from krakpot.exchange.frames import unframe
from krakpot.lake import seal

Pace = tuple[int, int, int]
"""Delay, jitter, conflation, ns."""
MS = 1_000_000
SESSIONS = [lakes.session_name(frames.START + n * MS) for n in range(2)]
"""The sessions of the book channel and of level3 in a recorded lake."""


@dataclass
class Message:
    """A message of book or level3."""

    symbol: str
    kind: str
    sent: int
    """When it left, by the exchange's log, ns."""
    timestamp: str
    """Time of the message, microseconds: equal times mean equal books."""
    checksum: int
    data: dict[str, Any]


@dataclass
class Channels:
    """What two clients of one exchange received, each frame with the time at which it was sent."""

    symbols: list[str]
    book: list[tuple[int, bytes]] = field(default_factory=list)
    level3: list[tuple[int, bytes]] = field(default_factory=list)
    messages: dict[str, list[Message]] = field(default_factory=dict)
    """By channel, in order."""
    precision: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, channel: str) -> dict[str, list[Message]]:
        """Messages of a channel, by symbol."""
        found: dict[str, list[Message]] = defaultdict(list)
        for message in self.messages[channel]:
            found[message.symbol].append(message)
        return found


def run(
    *,
    book: Pace = (0, 0, 0),
    level3: Pace = (0, 0, 0),
    pairs: int = 3,
    rate: float = 400.0,
    seed: int = 1,
    seconds: float = 10.0,
    depth: int = 100,
    depth3: int = 100,
    later: int = 0,
    later3: int = 0,
    trades: bool = False,
) -> Channels:
    """Run the exchange; everything is subscribed at the beginning, or ``later`` ns after it (whole 100 ms).

    ``trades``: the connection of the book follows trades and tickers too.
    """
    exchange = _core.Exchange(pairs=pairs, rate=rate, seed=seed, start=frames.START, log=True, book=book, level3=level3)
    exchange.allow("a token", frames.START + round(seconds * frames.SECOND))
    clients = {"book": exchange.connect(), "level3": exchange.connect("level3")}
    symbols = exchange.symbols
    exchange.receive(clients["book"], b'{"method":"subscribe","params":{"channel":"instrument"}}')

    if trades:
        params = {"channel": "trade", "symbol": symbols, "snapshot": False}
        exchange.receive(clients["book"], json.dumps({"method": "subscribe", "params": params}).encode())

    def subscribe(channel: str) -> None:
        params: dict[str, Any] = {"channel": channel, "symbol": symbols, "token": "a token"}
        params["depth"] = depth if channel == "book" else depth3
        exchange.receive(clients[channel], json.dumps({"method": "subscribe", "params": params}).encode())
        if trades and channel == "book":
            request = {"method": "subscribe", "params": {"channel": "ticker", "symbol": symbols}}
            exchange.receive(clients[channel], json.dumps(request).encode())

    # In small steps, because the exchange keeps only a limited amount for a client.
    blocks: dict[str, list[bytes]] = {channel: [] for channel in clients}
    for step in range(1, int(seconds * 10) + 1):
        for channel, when in (("book", later), ("level3", later3)):
            if (step - 1) * 100 * MS == when:
                subscribe(channel)
        exchange.advance(frames.START + step * 100 * MS)
        for channel, client in clients.items():
            blocks[channel].append(exchange.take(client))
    found = Channels(symbols)
    log = list(csv.DictReader(io.StringIO(exchange.take_log().decode())))
    for channel, client in clients.items():
        texts = unframe(b"".join(blocks[channel]))
        lines = [line for line in log if line["connection"] == str(client)]
        assert len(texts) == len(lines), "the log has a line for every frame"
        sent = [int(line["sent_ns"]) for line in lines]
        (found.book if channel == "book" else found.level3).extend(zip(sent, texts, strict=True))
        found.messages[channel] = list(_messages(channel, sent, texts))
        for text in texts:
            if b'"channel":"instrument"' in text[:40]:
                pairs_told = json.loads(text)["data"]["pairs"]
                found.precision |= {p["symbol"]: (p["price_precision"], p["qty_precision"]) for p in pairs_told}
    return found


def _messages(channel: str, sent: list[int], texts: list[bytes]) -> Iterable[Message]:
    for time, text in zip(sent, texts, strict=True):
        told = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
        if told.get("channel") == channel:
            (data,) = told["data"]
            yield Message(data["symbol"], told["type"], time, data["timestamp"][:26], int(data["checksum"]), data)


def record(lake: Path, run: Channels, *, drop: Iterable[int] = ()) -> dict[str, dict[str, Any]]:
    """Write a lake of both channels, one session each, without the level-3 frames in ``drop``; returns the counts."""
    counts = {}
    gone = set(drop)
    for number, (channel, timed) in enumerate((("book", run.book), ("level3", run.level3))):
        recorder = lakes.Recorder(lake, SESSIONS[number], precision=run.precision)
        recorder.take(one for i, one in enumerate(timed) if channel == "book" or i not in gone)
        recorder.end()
        counts[channel] = recorder.session.counts()
    seal.recover(lake)
    return counts

"""Events in JavaScript are those of Python: the same fields, the same values, in the same order."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.exchange.frames import unframe

pytestmark = [pytest.mark.slow]

PROGRAM = Path(__file__).with_name("events.js")
CHANNELS = ("book", "trade", "ticker", "ohlc", "level3")
DEPTH = 10
STEP = 5_000_000
"""Nanoseconds between two looks at what the exchange has sent."""


class Recorder:
    """A session of Python on the built-in exchange: what it is given, and what it makes of it."""

    def __init__(self) -> None:
        """Begin."""
        self.now = frames.START
        self.exchange = _core.Exchange(pairs=3, rate=300, seed=16, start=self.now)
        self.exchange.allow("token", self.now + frames.HOUR)
        self.given: list[bytes] = []
        self.made: list[Any] = []
        self.events = _core.Events(_core.EVENT_CHANNELS)
        self.session = self.begun("0", None)

    def begun(self, name: str, after: _core.Session | None) -> _core.Session:
        """A session of new connections."""
        self.clients = {end: self.exchange.connect(end) for end in ("public", "level3")}
        session = _core.Session(name, channels=CHANNELS, depth=DEPTH, level3_depth=DEPTH, after=after)
        session.set_token("token")
        return session

    def run(self, steps: int) -> None:
        """Let time pass."""
        for _ in range(steps):
            self.now += STEP
            self.given.append(b"%d\trequests" % self.now)
            for request in self.session.requests(self.now):
                self.made.append(request.decode())
                self.exchange.receive(self.clients["level3" if b'"level3"' in request else "public"], request)
            self.exchange.advance(self.now)
            for client in self.clients.values():
                for text in unframe(self.exchange.take(client)):
                    self.given.append(b"%d\t%s" % (self.now, text))
                    self.made += map(fields, self.events.receive(self.session, [text], self.now))

    def cut(self) -> None:
        """End the session; the next one goes on from it."""
        self.given.append(b"%d\tend" % self.now)
        self.session.end(self.now, "cut")
        self.made += map(fields, self.events.receive(self.session, [], self.now))
        for client in self.clients.values():
            self.exchange.disconnect(client)
        self.session = self.begun("1", self.session)


def digits(value: int | None) -> str | None:
    """A whole number of 64 bits."""
    return None if value is None else str(value)


def number(value: object) -> str | None:
    """An exact number, never with an exponent."""
    return None if value is None else f"{value:f}"


def fields(event: Any) -> dict[str, Any]:
    """All that an event has, as JavaScript writes it."""
    names = {
        "book": ("symbol", "message", "kind", "outcome", "checksum"),
        "level3": ("symbol", "message", "kind", "outcome", "checksum"),
        "trade": ("symbol", "message", "kind", "side", "ord_type"),
        "ticker": ("symbol", "message"),
        "ohlc": ("symbol", "message", "interval", "trades"),
        "status": ("message", "system"),
        "subscription": ("symbol", "of", "state", "reason"),
        "gap": ("symbol", "message", "of", "reason"),
    }[event.channel]
    wide = {
        "trade": ("ts_event", "trade_id"),
        "ohlc": ("ts_event", "interval_begin"),
        "status": (),
        "subscription": (),
        "gap": ("first_trade_id", "last_trade_id", "ts_from", "ts_to"),
    }.get(event.channel, ("ts_event",))
    found = {"channel": event.channel} | {name: getattr(event, name) for name in names}
    found |= {name: digits(getattr(event, name)) for name in ("ts_recv", *wide)}
    if isinstance(event, _core.BookEvent):
        found["entries"] = [[side, number(price), number(qty)] for side, price, qty in event.entries()]
    elif isinstance(event, _core.Level3Event):
        found["orders"] = [
            [side, what, order, number(price), number(qty), digits(at)]
            for side, what, order, price, qty, at in event.orders()
        ]
    elif isinstance(event, _core.TradeEvent):
        found |= {"price": number(event.price), "qty": number(event.qty)}
    elif isinstance(event, _core.TickerEvent):
        found |= {name: number(getattr(event, name)) for name in ("bid", "bid_qty", "ask", "ask_qty", "last")}
        found |= {name: number(value) for name, value in event.statistics().items()}
    elif isinstance(event, _core.OhlcEvent):
        found |= {name: number(value) for name, value in event.candle().items()}
    return found


def test_events_and_requests_are_those_of_python(tmp_path: Path) -> None:
    """Of all channels; of a wrong digit, which is repaired; of a cut, after which the next session goes on."""
    recorder = Recorder()
    recorder.run(600)
    recorder.exchange.inject("digit,channel=book")
    while not any(isinstance(one, dict) and one.get("outcome") == "mismatch" for one in recorder.made):
        recorder.run(10)
    recorder.exchange.clear_faults()
    recorder.run(800)
    recorder.cut()
    recorder.run(800)
    path = tmp_path / "given"
    path.write_bytes(b"\n".join(recorder.given))
    options = {"channels": CHANNELS, "depth": DEPTH, "level3Depth": DEPTH}
    command = ["node", str(PROGRAM), str(path), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for n, (theirs, ours) in enumerate(zip(found, recorder.made, strict=False)):
        assert theirs == ours, n
    assert len(found) == len(recorder.made)
    events = [one for one in recorder.made if isinstance(one, dict)]
    assert {one["channel"] for one in events} == set(_core.EVENT_CHANNELS)
    assert {one["outcome"] for one in events if "outcome" in one} >= {"ok", "mismatch", "unchecked"}
    assert {one["of"] for one in events if one["channel"] == "gap"} >= {"book", "level3"}
    assert len(recorder.made) - len(events) > 10, "requests"

"""The live path of an order: from the handler that asks for it to the frame that is written to the socket.

Goals: p50 and p99 of that time, without a journal (which only this program can do), with the journal synced later
(``durable=False``) and with each request synced to disk before it is sent; on the built-in exchange over loopback, in a
process of its own. Beside them what the machine takes at the same pace for the calls of the system alone: a row's
write, a row's write and sync, a frame's send over loopback. The clock starts when the handler asks, so the check of the
limits, the writing of the frame and WebSocket are in it. Every order is answered, and the journal explains the
balances.
Not goals: networks, TLS, the exchange's own time, what a strategy computes.

``python bench/python/orders.py`` prints a table, ``--json`` one JSON object; ``--small`` is for the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import krakpot
from krakpot.net import connection
from krakpot.trade import journal

ORDERS = 2000
SMALL = 40
PAUSE = "5ms"
"""Between two orders: each is made alone, as a strategy does."""
CALLS = 500
"""Calls of the system that are measured by themselves."""
ROW, FRAME = b"x" * 400, b"x" * 250
"""As long as a row of the journal and a frame are."""
PAIRS = "*/USD"
WARM = 20
"""Orders that are not counted."""


class Times:
    """When a handler asked for an order, and when its frame was written."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.asked = 0
        self.took: list[int] = []

    def written(self) -> None:
        """The frame of what was asked for last is at the socket."""
        if self.asked:
            self.took.append(time.perf_counter_ns() - self.asked)
            self.asked = 0


class Ask:
    """Asks at each pair in turn for an order that cannot be filled and ends at once: the rate counter takes many."""

    def __init__(self, times: Times, most: int) -> None:
        """So many orders."""
        self.times, self.most = times, most
        self.turn = self.refused = 0

    def start(self, m: krakpot.Market) -> None:
        """Begin."""
        m.after(PAUSE)

    def timer(self, m: krakpot.Market, e: krakpot.Timer) -> None:  # noqa: ARG002  # a handler is given it
        """Ask for the next order, if the last one has ended."""
        symbol = m.symbols[self.turn % len(m.symbols)]
        self.turn += 1
        # Pairs of the exchange are in post_only for a while, one after the other.
        if m.trading and not m.orders() and m.pair(symbol).status == "online" and self.is_known(m, symbol):
            if not self.most:
                m.stop("all orders were placed")
                return
            self.most -= 1
            pair = m.pair(symbol)
            price = m.round(symbol, price=m.best(symbol)[0] / 2, side="buy")
            qty = m.round(symbol, qty=max(pair.qty_min, 2 * pair.cost_min / price), how="up")
            self.times.asked = time.perf_counter_ns()
            order = m.buy(symbol, qty, price, tif="ioc")
            if order.state == "rejected":
                self.times.asked = 0
                self.refused += 1
        m.after(PAUSE)

    @staticmethod
    def is_known(m: krakpot.Market, symbol: str) -> bool:
        """Whether its book is in sync."""
        try:
            return m.best(symbol)[0] is not None
        except krakpot.NoBook:
            return False


class Timed(connection.Connection):
    """A connection that says when a frame is written."""

    times: Times

    def send(self, text: bytes) -> None:
        """Send it, and note the time if it is an order."""
        super().send(text)
        if b'"add_order"' in text:
            self.times.written()


def quantiles(took: list[int]) -> dict[str, float]:
    """In µs."""
    found = statistics.quantiles(took, n=1000, method="inclusive")
    return {"p50": found[499] / 1000, "p99": found[989] / 1000, "n": len(took)}


Kept = Literal["off", "later", "before"]


async def run(folder: Path, facts: dict[str, Any], orders: int, kept: Kept) -> dict[str, float]:
    """Place so many orders, with a journal that is kept so; how long each took."""
    times = Times()
    Timed.times = times
    connection.Connection, usual = Timed, connection.Connection  # type: ignore[misc]  # for this run
    commit = journal.Journal.commit
    if kept == "off":
        journal.Journal.commit = forget  # type: ignore[method-assign]  # for this run
    limits = krakpot.Limits(
        order_value=10**9, inventory=dict.fromkeys(facts["assets"], 10**9), loss=10**6, collar=None,
        orders_per_minute=None, ramp=None, fee_share=None, fat_finger=False,
    )  # fmt: skip
    feed = krakpot.Feed(
        PAIRS, channels=["book", "trade"], depth=10, url=facts["url"], rest_url=facts["rest_url"],
    )  # fmt: skip
    account = krakpot.Live(
        folder / "key.toml", limits, account="exclusive", journal=folder / f"journal-{kept}", durable=kept == "before",
        url=facts["private_url"], rest_url=facts["rest_url"], prefix=f"bench{kept[:3].upper()}".ljust(8, "X"),
    )  # fmt: skip
    strategy = Ask(times, orders + WARM)
    try:
        result = await krakpot.run_async(strategy, feed, account, wake=None)
    finally:
        connection.Connection = usual  # type: ignore[misc]  # what it was
        journal.Journal.commit = commit  # type: ignore[method-assign]  # what it was
    if kept != "off":
        audit = journal.audit(folder / f"journal-{kept}")
        assert audit.explained, journal.sentences(audit)
    assert not strategy.refused, result.refusals
    assert len(times.took) == orders + WARM, (len(times.took), result.refusals)
    return quantiles(times.took[WARM:])


def forget(self: journal.Journal) -> None:
    """Take the rows for written."""
    self.rows.written(len(self.rows.unwritten()))


def alone(call: Callable[[], object]) -> dict[str, float]:
    """How long a call takes, once in 5 ms."""
    took = []
    for _ in range(CALLS):
        time.sleep(0.005)
        begin = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - begin)
    return quantiles(took)


def read(reader: socket.socket) -> None:
    """Read until the other end is done."""
    while reader.recv(1 << 16):
        pass


def calls(folder: Path) -> dict[str, dict[str, float]]:
    """What the system takes for a row and for a frame."""
    with (
        (folder / "rows").open("ab", buffering=0) as file,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sender,
        server.accept()[0] as reader,
    ):
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=read, args=[reader])
        thread.start()
        found = {
            "write": alone(lambda: file.write(ROW)),
            "sync": alone(lambda: (file.write(ROW), os.fsync(file.fileno()))),
            "send": alone(lambda: sender.send(FRAME)),
        }
        sender.shutdown(socket.SHUT_WR)
        thread.join()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="few orders, for the tests")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    orders = SMALL if options.small else ORDERS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name
        program = Path(__file__).with_name("serving.py")
        server = subprocess.Popen(
            [sys.executable, str(program), str(folder / "key.toml")], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            facts = json.loads(server.stdout.readline())
            ways: tuple[Kept, ...] = ("off", "later", "before")
            found = {kept: asyncio.run(run(folder, facts, orders, kept)) for kept in ways} | calls(folder)
        finally:
            server.kill()
            server.wait()
    if options.json:
        print(json.dumps(found))
        return
    words = {
        "off": "without a journal",
        "later": "journal synced later",
        "before": "journal synced before",
        "write": "write of a row alone",
        "sync": "write and sync of a row alone",
        "send": "send of a frame alone",
    }
    print(f"{'handler to frame, µs':32}{'p50':>10}{'p99':>10}{'n':>8}")
    for name, row in found.items():
        print(f"{words[name]:32}{row['p50']:>10.0f}{row['p99']:>10.0f}{row['n']:>8}")


if __name__ == "__main__":
    main()

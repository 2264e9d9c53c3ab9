"""A process with money, which other tests kill. It kills itself at a point of the client's work, or does not end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from typing import Any

import krakpot
from krakpot.net import connection
from krakpot.trade import client
from krakpot.trade import run as runs
from living import PAIR, Quote, limits
from traded import Notes


def die() -> None:
    """As the kernel does it where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(client.AccountClient):
    """The client, which kills its process at a point."""

    point = ""
    took: float | None = None
    """Seconds until own orders were known."""

    def _save(self, now: int) -> bool:
        """Kill it when an order is in the journal, and not sent."""
        saved = super()._save(now)
        if self.point == "journal" and self.journal.state.open:
            die()
        return saved

    def _frames(self, frames: list[bytes], ts: int) -> None:
        """Kill it after a message of a kind."""
        super()._frames(frames, ts)
        words = {"answer": [b'"add_order"'], "report": [b'"exec_type":"new"'], "last": [b'"filled"', b'"canceled"']}
        if any(word in data for word in words.get(self.point, []) for data in frames):
            die()

    async def reconciled(self) -> None:
        """Take the time."""
        begin = time.monotonic()
        await super().reconciled()
        Dying.took = time.monotonic() - begin


class Sending(connection.Connection):
    """Kills its process behind the frame of an order."""

    def send(self, text: bytes) -> None:
        """Send it, and die."""
        super().send(text)
        if Dying.point == "send" and b'"add_order"' in text:
            die()


class Ends(Notes):
    """Ends badly as soon as two orders are open, which nobody fills."""

    how = ""

    def start(self, m: krakpot.Market) -> None:
        """Begin, whatever the market does."""
        m.after("50ms")

    def timer(self, m: krakpot.Market, e: Any) -> None:  # noqa: ARG002  # a handler gets it
        """Hang, raise or die."""
        m.after("50ms")
        mine = m.orders()
        if m.trading and not mine:
            for price in (50_000, 40_000):
                m.buy(PAIR, "0.001", price, post_only=True)
        if [order.state for order in mine] != ["open", "open"]:
            return
        print(self.how, flush=True)  # noqa: T201  # whoever started it reads that
        if self.how == "raise":
            raise KeyError("the strategy is broken")
        if self.how == "die":
            die()
        while True:
            pass


def main(facts: dict[str, Any]) -> None:
    """Run as the facts say, and print what came of it."""
    client.LAG, client.LIMIT, client.REPORTS_WAIT = facts["lag"], facts["limit"], 3.0
    if facts.get("debug"):
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        for name in [*logging.root.manager.loggerDict, "websockets", "websockets.client", "asyncio"]:
            logging.getLogger(name).setLevel(logging.DEBUG)
    Dying.point, Ends.how = facts.get("point", ""), facts.get("ends", "")
    setattr(runs, "AccountClient", Dying)  # noqa: B010  # as the run finds it
    setattr(connection, "Connection", Sending)  # noqa: B010  # as the client finds it
    feed = krakpot.Feed([PAIR], channels=["book", "trade"], url=facts["url"], rest_url=facts["rest_url"])
    account = krakpot.Live(
        facts["key"], limits(), account="exclusive", journal=facts["journal"], prefix="CrashMat", url=facts["private"],
        rest_url=facts["rest_url"], dead_man=facts["dead_man"],
    )  # fmt: skip
    strategy: Notes = Ends() if Ends.how else Quote(most=facts.get("most", 1000))
    work = krakpot.run_async(strategy, feed, account, until=facts["until"], out=facts.get("out"))
    result = asyncio.run(work, debug=bool(facts.get("debug")))
    assert isinstance(result, krakpot.Result)
    found = {"took": Dying.took, "left": result.built.left, "orders": result.orders.height}
    print(json.dumps(found), flush=True)  # noqa: T201  # whoever started it reads that
    if result.built.left:
        # As the command does it: somebody has to look again.
        sys.exit(1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

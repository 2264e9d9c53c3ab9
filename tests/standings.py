"""The states of a recorder's books at one moment, and whether the books equal those of the exchange.

``python tests/standings.py FILE record …`` is the unchanged ``krakpot record …``; at SIGUSR1
it writes the states to FILE.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from krakpot import _core
from krakpot.cli import main as cli
from krakpot.record import recorder, run
from krakpot.record.progress import RecordingSummary

Standing = tuple[str, str, str, str, int | None, int | None]
"""Channel, symbol, state and its reason; for a book in sync also sums over all levels, and over the best ten."""
BEST = 10
"""Levels per side that a checksum covers."""


def _sums(sides: tuple[Any, Any]) -> tuple[int, int]:
    levels = [[(level[0], level[1]) for level in side] for side in sides]
    whole = zlib.crc32(repr(levels).encode())
    return whole, zlib.crc32(repr([side[:BEST] for side in levels]).encode())


def standings(session: _core.Session, depths: Mapping[str, int]) -> list[Standing]:
    """The states of the books of a live session."""
    rows: list[Standing] = []
    for channel, symbol, state, reason in session.subscriptions():
        if channel in depths:
            held = session.book(symbol) if channel == "book" else session.orders(symbol)
            sums = (None, None) if held is None else _sums((held.bids(depths[channel]), held.asks(depths[channel])))
            rows.append((channel, symbol, state, reason, *sums))
    return rows


def wrong(
    rows: Iterable[Standing], exchange: _core.Exchange, depths: Mapping[str, int], harmed: set[tuple[str, str]]
) -> tuple[Counter[str], list[str]]:
    """Compare books with those of the exchange: the number of books in each state, and sentences about wrong books.

    If a fault ``harmed`` a channel and symbol, only the best levels must be right, because a checksum proves no more. A
    book that is out of sync must have a reason.
    """
    seen: Counter[str] = Counter()
    sentences = []
    for channel, symbol, state, reason, whole, best in rows:
        truth = exchange.book(symbol, depths[channel])
        if whole is None or best is None:
            seen[state] += 1
            if state in {"active", "idle"}:
                sentences.append(f"{channel} {symbol} is said to be {state}, and has no book")
            elif state not in {"rejected", "removed", "pending", "requested", "acked"} and not reason:
                sentences.append(f"{channel} {symbol} is {state}, and does not say why")
            continue
        if truth is None:
            sentences.append(f"{channel} {symbol} lives, and the exchange has no such market")
            continue
        sums = _sums(truth)
        right = best == sums[1] and (whole == sums[0] or (channel, symbol) in harmed)
        seen["right" if whole == sums[0] else "right at the best levels" if right else "wrong"] += 1
        if not right:
            sentences.append(f"{channel} {symbol} is {state}, and its book is not the exchange's")
    return seen, sentences


def main() -> None:
    """Run a command that records."""
    file = Path(sys.argv.pop(1))

    class Watched(recorder.Recorder):
        async def run(self) -> RecordingSummary:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._write)
            return await super().run()

        def _write(self) -> None:
            depths = {"book": self.config.depth, "level3": self.config.level3_depth}
            whole = file.with_suffix(".part")
            whole.write_text(json.dumps([one for client in self.clients for one in standings(client.session, depths)]))
            whole.rename(file)

    vars(run)["Recorder"] = Watched
    cli.main()


if __name__ == "__main__":
    main()

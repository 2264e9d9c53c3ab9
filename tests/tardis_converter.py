"""hftbacktest's own converter reads files in the layout of Tardis, in an environment without krakpot.

Called with the files of trades and of the book; prints one line of JSON: how many events of each kind it made, and the
book at the end, of a reader that clears a side where the events say so.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import hftbacktest  # type: ignore[import-not-found]  # only where the test installed it
from hftbacktest.data.utils import tardis  # type: ignore[import-not-found]  # the same


def main(files: list[str]) -> None:
    """Convert, and apply what came of it."""
    data = tardis.convert(files, buffer_size=1_000_000, ss_buffer_size=10_000)
    kinds: Counter[int] = Counter()
    sides: dict[bool, dict[float, float]] = {True: {}, False: {}}
    for event in data[(data["ev"] & (1 << 31)) != 0].tolist():
        ev, _, _, price, qty = event[:5]
        kind, buy = ev & 0xFF, bool(ev & (1 << 29))
        kinds[kind] += 1
        if kind == 3:
            sides[buy] = {at: held for at, held in sides[buy].items() if (at < price if buy else at > price)}
        elif kind in {1, 4} and qty:
            sides[buy][price] = qty
        elif kind == 1:
            sides[buy].pop(price, None)
    found = {
        "version": hftbacktest.__version__, "kinds": kinds,
        "bids": sorted(sides[True].items(), reverse=True), "asks": sorted(sides[False].items()),
    }  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

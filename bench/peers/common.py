"""The common part of the peers' programs: their arguments and their report.

Each runs with the interpreter of a separate environment, which has that peer and nothing of krakpot:
``python PEER.py PORT DEPTH MESSAGES``. It reads the stream of ``blaster.py`` once and prints one JSON object.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

SYMBOL = "M000/USD"
PRICE_DECIMALS, QTY_DECIMALS = 1, 8


def asked() -> tuple[str, int, int]:
    """Address, depth, and how many book messages will come."""
    port, depth, messages = map(int, sys.argv[1:4])
    return f"ws://127.0.0.1:{port}/v2", depth, messages


def now() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def tell(
    begun: float,
    ended: float,
    messages: int,
    bids: Iterable[tuple[Any, Any]] | None,
    asks: Iterable[tuple[Any, Any]] | None,
    *packages: str,
) -> None:
    """Print what was found: CPU seconds, messages seen, and the ten best levels at the end, where a book was kept."""
    sides = [None if side is None else [[str(p), str(q)] for p, q in list(side)[:10]] for side in (bids, asks)]
    found = {
        "seconds": ended - begun,
        "messages": messages,
        "book": sides,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }
    print(json.dumps(found), flush=True)

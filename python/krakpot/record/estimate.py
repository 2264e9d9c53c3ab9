"""What a recording will cost: bytes a day on disk, and the time until level 3 is subscribed."""

from __future__ import annotations

from collections.abc import Sequence

from krakpot import _core
from krakpot.config import Config
from krakpot.errors import counted
from krakpot.record.level3 import subscribe_seconds
from krakpot.values import LEVEL3

DAY_BYTES = 24e9
"""Bytes a day of all pairs at depth 1000 as sealed: 24 times one hour of the built-in exchange at 10,000 messages/s."""
PAIRS_ALL = 1450
DEPTH_SHARE = {10: 0.19, 25: 0.37, 100: 0.59, 500: 0.85, 1000: 1.0}
"""Updates at a depth as a share of those at depth 1000, measured on BTC/USD."""
WITHOUT_BOOKS = 0.05
"""Bytes without books as a share of those of all pairs at depth 1000."""
LEVEL3_SHARE = {10: 0.38, 100: 0.79, 1000: 1.95}
"""Bytes of level 3 at a depth as a share of those of books at depth 1000, as sealed, without the first snapshots.

Measured over one minute of the built-in exchange (60 pairs, 3,000 messages/s). Kraken's share is not known.
"""


def estimate(config: Config, selected: Sequence[str], known: int) -> list[str]:
    """Sentences on what the ``selected`` symbols, of ``known`` pairs, will cost."""
    lines = []
    if config.public:
        count = len(selected)
        books = _count(config, "book", selected)
        depth = f", depth {config.depth}" if "book" in config.public else ""
        share = books / PAIRS_ALL * DEPTH_SHARE[config.depth] if "book" in config.public else WITHOUT_BOOKS
        lines.append(
            f"{count:,} of {counted(known, 'pair')}, {', '.join(config.public)}{depth}: "
            f"about {_size(share * DAY_BYTES)} a day on disk (busy pairs cost more)"
        )
    if LEVEL3 in config.channels:
        count = _count(config, LEVEL3, selected)
        share = count / PAIRS_ALL * LEVEL3_SHARE[config.level3_depth]
        seconds = subscribe_seconds(count, config.level3_depth, config.level3_rate)
        lines.append(
            f"{count:,} of {counted(known, 'pair')}, level3, depth {config.level3_depth}: about "
            f"{_size(share * DAY_BYTES)} a day on disk; all subscribed in {seconds:.0f} s at the earliest"
        )
    return lines


def _size(count: float) -> str:
    """Bytes in words: ``5.2 GB``, or ``40 MB`` where that would be 0.0 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count / 1e6, 1):.0f} MB"  # noqa: PLR2004  # 0.1 GB


def _count(config: Config, channel: str, selected: Sequence[str]) -> int:
    """How many of the selected symbols a channel has."""
    patterns = config.channel_symbols.get(channel, ("*",))
    return sum(any(_core.matches(pattern, symbol) for pattern in patterns) for symbol in selected)

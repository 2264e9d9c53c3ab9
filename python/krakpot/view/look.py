"""How pictures look: colours that colour-blind people can tell apart, units, how much detail there is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

BID, ASK = "#0072B2", "#D55E00"
"""Sides of the book. All colours are of the palette of Okabe and Ito."""
COVERED = "#56B4E9"
REASONS = ("#D55E00", "#CC79A7", "#E69F00", "#009E73", "#000000")
HATCHES = ("//////", "\\\\\\\\\\\\", "xxxxx", "......")
"""Colours and hatches of the reasons of gaps in a picture of coverage."""
GAP, GAP_EDGE = "#e3e3e3", "#8c8c8c"
BEYOND = "#f3f4f6"
"""Where the levels of a book end."""
NOTHING = "there is nothing in this range"
"""In a picture that has nothing to draw."""
TEXT, GRID = "#1f2933", "#e6e8eb"
COLUMNS, ROWS = 400, 220
"""Columns and rows of the heat map of a book."""
CHART_COLUMNS, CHART_ROWS = 160, 70
"""The same where each cell is an object of a page."""
TRADES_MAX = 3000
"""Marks of trades in a picture; more trades are put together."""
LANES_MAX = 40
"""Lanes of a picture of coverage."""
BLOCKS_MAX = 60
"""Orders of one price that a picture of queues shows one by one; those behind them are one block."""
DAY = 86_400 * 10**9
STEPS = (
    *(place * 10**power for power in range(9) for place in (1, 2, 5)),
    *(
        seconds * 10**9
        for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
    ),
    DAY,
)
"""Distances of ticks of time, ns."""
UNITS = {"d": DAY, "h": 3600 * 10**9, "min": 60 * 10**9, "s": 10**9, "ms": 10**6, "µs": 1000}
"""Units of lengths of time, in ns."""
TIMES = pl.Datetime("ns", "UTC")


def units(symbol: str) -> tuple[str, str]:
    """Base and quote currency of a pair: units of quantities and of prices."""
    base, _, quote = symbol.partition("/")
    return base, quote or "quote currency"


def number(value: float) -> str:
    """A number for people, without a row of zeros."""
    text = f"{value:,.10f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:.6g}"  # noqa: PLR2004  # digits
    return text if text not in {"0", "-0"} or not value else f"{value:.3g}"


WORDS = {
    "absent": "not begun yet",
    "stopped": "recording ended",
    "recording": "not recorded yet",
    "unfinished": "recorder was killed",
    "unconfirmed": "end not confirmed",
    "disconnect": "no connection",
    "mismatch": "wrong checksum",
    "crossed": "book was crossed",
}


def reason(kind: str) -> str:
    """Why something is not known, in a few words; a kind of the ledger that has none is its own name."""
    return WORDS.get(kind, kind.replace("_", " "))


def marks(kinds: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and hatch of each reason of gaps; that nothing had begun yet is no trouble, so it is grey."""
    found = {
        kind: (REASONS[n % len(REASONS)], HATCHES[n % len(HATCHES)])
        for n, kind in enumerate(sorted({*kinds} - {"absent"}))
    }
    return {"absent": (GAP_EDGE, HATCHES[0])} | found


def ticks(begin: int, end: int, *, most: int = 9) -> tuple[list[int], list[str], str]:
    """Ticks of an axis of time: their places in ns, their texts, and the title of the axis, with what they share.

    They are whole steps of UTC, and the texts are as short as can be: ``10:05:30``, ``10:05``, ``11-22 10:00``.
    """
    step = next((one for one in STEPS if (end - begin) / one <= most), DAY * -(-(end - begin) // (DAY * most)))
    places = list(range(-(-begin // step) * step, end + 1, step))
    days = {place // DAY for place in (begin, end - 1)}
    form = "%H:%M:%S" if step % (60 * 10**9) else "%H:%M"
    if len(days) > 1:
        form = "%m-%d" if step % DAY == 0 else f"%m-%d\n{form}"
    digits = next((n for n in range(10) if step % 10 ** (9 - n) == 0), 9)
    texts = [
        f"{_datetime(place):{form}}" + (f".{place % 10**9:09}"[: digits + 1] if digits else "") for place in places
    ]
    if len(days) == 1 and places[-1:] == [end] and end % DAY == 0:
        # The midnight that ends the day of the title; 00:00 would be the one that begins it.
        texts[-1] = texts[-1].replace("00", "24", 1)
    shared = f"{_datetime(begin):%Y-%m-%d}" if len(days) == 1 else f"{_datetime(begin):%Y}"
    return places, texts, f"received, UTC, {shared}"


def _datetime(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // 10**9, UTC)


def numbers(found: pl.Series) -> list[str]:
    """Numbers of one column, all with the same number of decimals."""
    texts = [number(value) for value in found]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{value:,.{decimals}f}" for value in found]


def percent(share: float) -> str:
    """A share; what is not whole is never rounded to 100 %."""
    return "100 %" if share == 1 else f"{math.floor(share * 10_000) / 100:.2f} %"


def time(ns: int) -> str:
    """A time for people: UTC, no more decimals than it has."""
    seconds, rest = divmod(ns, 10**9)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}{fraction} UTC"


def duration(ns: int) -> str:
    """A length of time for people, in the largest unit in which it is at least one."""
    for unit, size in UNITS.items():
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"

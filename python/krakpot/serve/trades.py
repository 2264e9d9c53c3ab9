"""Trades of a lake as ``GET /trades.arrow``, in the form that flowsurface asks a data server for.

The answer is an Arrow stream with the columns ts (exchange's time, ms), price, qty, is_sell. Its client goes on after
the last time that it got, so a page never ends between two trades of one millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO

import polars as pl

from krakpot.lake.format import UNREADABLE, unreadable
from krakpot.lake.lake import Lake
from krakpot.values import Instant, shown

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
LIMIT, LIMIT_MAX = 50_000, 500_000
"""Trades of one answer: unless it is named, and at most."""
MS = 1_000_000
TIME_MAX = ((1 << 63) - 1) // MS
DIGITS_MAX = 20
"""Digits of a number of 64 bits."""
MARGIN = 24 * 3600 * 10**9
"""How much later than it was made a trade may be received, ns: in the snapshot after a reconnect."""
EARLY = 3600 * 10**9
"""How far the recorder's clock may be behind, ns."""


class RefusedError(Exception):
    """A question that cannot be answered; the sentence goes to the client."""


def symbol_of(name: str, symbols: Iterable[str]) -> str:
    """Find the pair that is meant: ``BTC/USD``, ``btcusd``, ``btc-usd``. ``RefusedError`` if there is none."""
    wanted = _plain(name)
    for symbol in symbols:
        if _plain(symbol) == wanted:
            return symbol
    raise RefusedError(f"symbol: the lake has no pair {shown(name)}")


def _plain(name: str) -> str:
    return "".join(one for one in name.upper() if one.isalnum()).replace("XBT", "BTC")


def answer(lake: Lake, query: Mapping[str, str]) -> bytes:
    """The trades that a question asks for. ``RefusedError`` says what is wrong with it."""
    since, until = (
        min(_number(query, name, 0, default), TIME_MAX) for name, default in (("from", 0), ("to", TIME_MAX))
    )
    limit = min(_number(query, "limit", 1, LIMIT), LIMIT_MAX)
    if not query.get("symbol"):
        raise RefusedError("symbol: it is missing; allowed is a pair, as BTC/USD")
    symbol = symbol_of(query["symbol"], lake.symbols())
    begin, end = Instant(max(0, since * MS - EARLY)), Instant(min((1 << 63) - 1, until * MS + MARGIN))
    moment = pl.col("ts_event").dt.epoch("ns") // MS
    rows = (
        lake.trades(symbol, begin, end, numbers="float", origin="all")
        .select(moment.alias("ts"), "price", "qty", is_sell=pl.col("side") == "sell", id="trade_id")
        .filter(pl.col("ts").is_between(since, until))
    )
    try:
        found = rows.sort("ts", "id").head(limit + 1).collect()
        if found.height > limit:
            # All trades of the last millisecond, or the client would miss the others.
            last = found["ts"][limit - 1]
            found = rows.filter(pl.col("ts") <= last).sort("ts", "id").collect()
    except UNREADABLE as error:
        unreadable(lake.path, error)
    file = BytesIO()
    found.drop("id").cast({"ts": pl.Int64, "price": pl.Float64, "qty": pl.Float64}).write_ipc_stream(file)
    return file.getvalue()


def _number(query: Mapping[str, str], name: str, least: int, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX and int(text) >= least):
        unit = "how many trades at most" if name == "limit" else "milliseconds since 1970 UTC"
        raise RefusedError(f"{name}: {shown(text)} is not allowed; allowed is {unit}, a whole number")
    return int(text)

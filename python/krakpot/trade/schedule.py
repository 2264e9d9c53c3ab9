"""A table of timed orders as a strategy."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from krakpot._core import Order, Timer
from krakpot.errors import ConfigError, counted
from krakpot.lake.times import TIME, times_of
from krakpot.trade.market import Market
from krakpot.trade.options import DURATION_MAX
from krakpot.values import shown

NEEDED = ("at", "symbol", "side", "qty")
OPTIONAL = ("price", "tif", "post_only", "display", "cancel_after", "tag")
PLACE = "krakpot.Schedule"
SECONDS = "seconds from 0"


class Schedule:
    """Orders at times, from a table: signals of a notebook as a strategy.

    Parameters
    ----------
    frame
        One row for each order, in any library's frame that Polars reads. Columns ``at`` (time), ``symbol``, ``side``
        (``buy``, ``sell``), ``qty``; where wanted ``price`` (null: a market order), ``tif``, ``post_only``,
        ``display``, ``tag``, and ``cancel_after``: seconds after which what is left is cancelled.

    Raises
    ------
    ConfigError
        A column is missing or unknown, or a value is not allowed.

    Examples
    --------
    >>> signals = pl.DataFrame(
    ...     [["2026-11-22T10:00:01", "BTC/USD", "buy", "0.01"]], ["at", "symbol", "side", "qty"], orient="row"
    ... )
    >>> Schedule(signals)
    Schedule(1 order)

    """

    def __init__(self, frame: Any) -> None:  # noqa: ANN401  # a frame of any library
        """Check the table."""
        self.frame = _read(frame)
        self._rows = self.frame.with_columns(pl.col("at").to_physical()).to_dicts()
        self._placed: dict[str, Order] = {}

    def start(self, m: Market) -> None:
        """Wait for the first order."""
        self._next = 0
        self._placed.clear()
        if unknown := sorted({str(row["symbol"]) for row in self._rows} - set(m.symbols)):
            sentence = f"{PLACE}: symbol: {unknown[0]} is not in this run; its pairs are {', '.join(m.symbols)}"
            raise ConfigError(sentence)
        while self._next < len(self._rows) and self._rows[self._next]["at"] < m.now:
            # What was to be sent before the data begins cannot be.
            self._next += 1
        if self._next:
            m.log(f"{PLACE}: {counted(self._next, 'order')} not sent: earlier than the data")
        self._wait(m)

    def stop(self, m: Market, reason: str) -> None:  # noqa: ARG002  # a handler is given it
        """Say what could not be sent."""
        if left := len(self._rows) - self._next:
            m.log(f"{PLACE}: {counted(left, 'order')} not sent: later than the end of the run")

    def _wait(self, m: Market) -> None:
        if self._next < len(self._rows):
            m.after(f"{min(max(self._rows[self._next]['at'] - m.now, 0), DURATION_MAX)}ns")

    def timer(self, m: Market, e: Timer) -> None:
        """Send what is due, or cancel what was left."""
        if e.tag:
            order = self._placed.pop(e.tag)
            if order.live:
                m.cancel(order)
            return
        while self._next < len(self._rows) and self._rows[self._next]["at"] <= m.now:
            self._send(m, self._rows[self._next])
            self._next += 1
        self._wait(m)

    def _send(self, m: Market, row: dict[str, Any]) -> None:
        options = {name: row[name] for name in ("tif", "post_only", "display", "tag") if row.get(name) is not None}
        order = m.send(row["side"], row["symbol"], row["qty"], row.get("price"), **options)
        if (seconds := row.get("cancel_after")) is not None and order.live:
            self._placed[str(order.id)] = order
            m.after(f"{min(round(seconds * 1e9), DURATION_MAX)}ns", tag=str(order.id))

    def __repr__(self) -> str:
        """How many orders."""
        return f"Schedule({self.frame.height:,} order{'' if self.frame.height == 1 else 's'})"


def _words(frame: pl.DataFrame, name: str, allowed: list[Any]) -> None:
    """``ConfigError`` if a column has another word, before anything runs."""
    if name in frame.columns:
        for value in frame[name].drop_nulls().unique():
            if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
                words = " or ".join(map(str, allowed))
                raise ConfigError(f"{PLACE}: {name}: {shown(value)} is not allowed; allowed is {words}")


def _read(given: Any) -> pl.DataFrame:  # noqa: ANN401  # a frame of any library
    try:
        frame = given if isinstance(given, pl.DataFrame) else pl.DataFrame(given)
    except Exception as error:  # whatever another library's object raises
        sentence = f"{PLACE}: {shown(given)} is not allowed; allowed is a table with a row for each order"
        raise ConfigError(sentence) from error
    missing = [name for name in NEEDED if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in (*NEEDED, *OPTIONAL)]
    if missing:
        sentence = f"{PLACE}: the column {missing[0]} is missing; needed are {', '.join(NEEDED)}"
        raise ConfigError(sentence)
    if unknown:
        sentence = f"{PLACE}: the column {unknown[0]} is not known; columns are {', '.join((*NEEDED, *OPTIONAL))}"
        raise ConfigError(sentence)
    empty = [name for name in NEEDED if frame[name].null_count()]
    if empty:
        sentence = f"{PLACE}: {empty[0]}: a value is missing; every order needs {', '.join(NEEDED)}"
        raise ConfigError(sentence)
    wrong = frame.filter(~pl.col("side").cast(pl.String).is_in(["buy", "sell"]))
    if wrong.height:
        sentence = f"{PLACE}: side: {shown(wrong['side'][0])} is not allowed; allowed is buy or sell"
        raise ConfigError(sentence)
    if "cancel_after" in frame.columns:
        after = frame["cancel_after"]
        if not after.dtype.is_numeric() and after.dtype != pl.Null:
            sentence = (
                f"{PLACE}: cancel_after: {shown(after.drop_nulls().first())} is not allowed; allowed are {SECONDS}"
            )
            raise ConfigError(sentence)
        for seconds in after.drop_nulls():
            if not (math.isfinite(seconds) and seconds >= 0):
                sentence = f"{PLACE}: cancel_after: {shown(seconds)} is not allowed; allowed are {SECONDS}"
                raise ConfigError(sentence)
    _words(frame, "tif", ["gtc", "ioc", "fok"])
    _words(frame, "post_only", [True, False])
    at = times_of(frame["at"], f"{PLACE}: at")
    return frame.with_columns(at.cast(TIME).alias("at")).sort("at", maintain_order=True)

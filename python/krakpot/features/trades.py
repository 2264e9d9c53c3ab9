"""Features of trades: signs and their runs, footprint, volume profile; of frames as ``Lake.trades`` gives them.

Trades carry numbers, so a gap is seen in the trades themselves: where a number is missing, a run of signs ends.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import TIME, need, over
from krakpot.values import shown, step

SCALE = 10
"""Decimals of a price."""
SIGN = pl.when(pl.col("side") == "buy").then(1).when(pl.col("side") == "sell").then(-1).cast(pl.Int8)
"""1: the taker bought; -1: the taker sold; null: the side is not known."""


def sign_runs(trades: pl.DataFrame) -> pl.DataFrame:
    """Add ``sign`` and ``sign_run``; trades of a symbol are taken in the order of the rows.

    ``sign`` (Int8) is 1 if the taker bought, -1 if it sold. ``sign_run`` (Int64) is how many trades in a row had this
    sign, this one included, times the sign: 3 is the third buy in a row. Where the next number is not the next trade's,
    a trade is missing and a run begins anew. A trade without a side (origin ``kraken-csv``) has neither, and ends a
    run.
    """
    need(trades, ("side", "trade_id"))
    found = trades.with_columns(sign=SIGN)
    follows = (pl.col("trade_id").diff() == 1) & (pl.col("sign") == pl.col("sign").shift(1))
    found = found.with_columns(_begins=over(found, ~follows.fill_null(value=False)))
    found = found.with_columns(_group=over(found, pl.col("_begins").cum_sum()))
    count = over(found, pl.int_range(1, pl.len() + 1, dtype=pl.Int64), "_group")
    return found.with_columns(sign_run=count * pl.col("sign")).drop("_begins", "_group")


def footprint(
    trades: pl.DataFrame, every: str | timedelta, price_step: Decimal | float | str | None = None
) -> pl.DataFrame:
    """Volume by price and side of each bar of time.

    Parameters
    ----------
    trades
        As ``Lake.trades`` gives them.
    every
        Length of a bar; bars begin at its multiples since 1970, by the times of the exchange.
    price_step
        Prices are put together in steps of this size, each named by its lower end; None: each price alone.

    Returns
    -------
    DataFrame
        Columns symbol (if the trades have it), ts_from (of the bar), price (quote currency), buy_volume and sell_volume
        (the taker bought, sold; base currency), delta (their difference), trades (UInt32); by time and price. The three
        volumes are null where one of the trades has no side.

    Raises
    ------
    ConfigError
        For a step that is none, or a missing column.

    """
    width = step(every)
    need(trades, ("ts_event", "side", "price", "qty"))
    moment = pl.col("ts_event").dt.epoch("ns")
    keyed = trades.with_columns(ts_from=(moment - moment % width).cast(TIME))
    return _by_price(keyed, ["ts_from"], price_step)


def volume_profile(trades: pl.DataFrame, price_step: Decimal | float | str | None = None) -> pl.DataFrame:
    """Volume by price and side of all the trades given.

    Parameters and columns are those of ``footprint``, without the time.
    """
    need(trades, ("side", "price", "qty"))
    return _by_price(trades, [], price_step)


def _by_price(trades: pl.DataFrame, by: list[str], price_step: Decimal | float | str | None) -> pl.DataFrame:
    keys = [*(["symbol"] if "symbol" in trades.columns else []), *by, "price"]
    if price_step is not None:
        trades = trades.with_columns(price=_stepped(trades.schema["price"], price_step))
    known = pl.col("side").is_not_null().all()
    buy, sell = (pl.when(known).then(pl.col("qty").filter(pl.col("side") == side).sum()) for side in ("buy", "sell"))
    found = trades.group_by(keys).agg(buy_volume=buy, sell_volume=sell, trades=pl.len())
    return found.sort(keys).select(
        *keys, "buy_volume", "sell_volume", delta=pl.col("buy_volume") - pl.col("sell_volume"), trades="trades"
    )


def _stepped(kind: pl.DataType, price_step: Decimal | float | str) -> pl.Expr:
    """The price rounded down to a multiple of the step; exact if prices are decimals."""
    try:
        size = Decimal(str(price_step))
        fits = size > 0 and size == round(size, SCALE)
    except ArithmeticError:
        fits = False
    if not fits:
        sentence = f"price_step={shown(price_step)} is not allowed; allowed is a number above 0, up to {SCALE} decimals"
        raise ConfigError(sentence)
    price = pl.col("price")
    if isinstance(kind, pl.Decimal):
        return price - price % pl.lit(size, dtype=pl.Decimal(38, SCALE))
    return (price / float(size)).floor() * float(size)

"""Labels: what happened after a row. They are made by time, and are null where the time crosses a gap or the end.

Labels look ahead, features never do: keep the two apart, and split with ``features.split``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features import books
from krakpot.features.frames import added, need, runs
from krakpot.values import shown, step

Duration = str | timedelta
"""``"250ms"``, ``"1s"``, ``"5m"``, or a timedelta."""


def future_mid(frame: pl.DataFrame, horizons: Duration | Iterable[Duration] = ("1s", "10s", "1m")) -> pl.DataFrame:
    """Add ``future_mid_<horizon>``: the mid at the time of the row plus the horizon, in the quote currency.

    Parameters
    ----------
    frame
        Books in the order of time, of one symbol or several; or a frame that has ``ts``, ``mid`` and ``run``.
    horizons
        How far ahead, one or several: ``"1s"``, ``"5m"``, or a timedelta.

    Returns
    -------
    DataFrame
        The frame with a Float64 column for each horizon: the mid of the last row at or before that time. Null if the
        run of rows (``features.frames.runs``) ends before it: at a gap, or at the end of the frame.

    Raises
    ------
    ConfigError
        For a horizon that is none, or a missing column.

    """
    marked = _marked(frame)
    listed = horizons if isinstance(horizons, Iterable) and not isinstance(horizons, str) else (horizons,)
    wanted = {f"future_mid_{_text(one)}": step(one, "horizons") for one in listed}
    for name, horizon in wanted.items():
        ahead = _ahead(marked, horizon)
        found = pl.when(pl.col("_known")).then(pl.col("_mid").gather(pl.col("_last").fill_null(0)))
        marked = marked.with_columns(ahead).with_columns(found.alias(name))
    return added(marked.sort("_row"), frame, *wanted)


def triple_barrier(frame: pl.DataFrame, up: float, down: float, horizon: Duration) -> pl.DataFrame:
    """Add ``barrier``: which of three barriers the mid touches first, and ``barrier_at``, when.

    López de Prado, Advances in Financial Machine Learning (2018), chapter 3: an upper barrier at mid · (1 + up), a
    lower one at mid · (1 - down), and the end of the horizon.

    Parameters
    ----------
    frame
        As for ``future_mid``.
    up, down
        Distances of the barriers, as shares of the mid: 0.001 is a tenth of a percent.
    horizon
        How long a barrier can be touched.

    Returns
    -------
    DataFrame
        The frame with ``barrier`` (Int8; 1: the upper one was touched first, -1: the lower one, 0: neither) and
        ``barrier_at`` (Datetime, ns, UTC; the end of the horizon if neither was). Both are null if the run of rows ends
        before the horizon does, even if a barrier was touched: else the rows before a gap would be chosen by their
        label.

    Raises
    ------
    ConfigError
        For a barrier or a horizon that is none, or a missing column.

    """
    for name, share in (("up", up), ("down", down)):
        if (
            isinstance(share, bool)
            or not isinstance(share, (int, float))
            or not 0 < share < (1 if name == "down" else 1e6)
        ):
            raise ConfigError(f"{name}={shown(share)} is not allowed; allowed is a share of the price, as 0.001")
    width = step(horizon, "horizon")
    marked = _marked(frame)
    marked = marked.with_columns(_ahead(marked, width)).with_row_index("_place")
    first = {
        1: _first(marked, pl.col("_mid") * (1 + up), upwards=True),
        -1: _first(marked, pl.col("_mid") * (1 - down), upwards=False),
    }
    marked = marked.with_columns(_up=first[1], _down=first[-1])
    # A place beyond the last one of the horizon: not touched.
    high, low = (pl.col(name) <= pl.col("_last") for name in ("_up", "_down"))
    label = pl.when(high & (pl.col("_up") < pl.col("_down"))).then(1).when(low).then(-1).otherwise(0).cast(pl.Int8)
    touched = pl.min_horizontal("_up", "_down")
    at = pl.when(high | low).then(pl.col("_at").gather(touched.clip(0, pl.len() - 1))).otherwise(pl.col("_at") + width)
    known = pl.col("_known") & pl.col("_mid").is_not_null()
    marked = marked.with_columns(
        barrier=pl.when(known).then(label), barrier_at=pl.when(known).then(at).cast(pl.Datetime("ns", "UTC"))
    )
    return added(marked.sort("_row"), frame, "barrier", "barrier_at")


def _text(horizon: Duration) -> str:
    """The horizon in the name of a column."""
    return horizon.strip() if isinstance(horizon, str) else f"{step(horizon, 'horizons')}ns"


def _marked(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows by symbol and time, with ``_row`` (their place before), ``_at`` (ns), ``_mid``, ``run`` and ``_end``."""
    need(frame, ["ts"])
    full = frame if "mid" in frame.columns else books.mid(frame)
    keys = [name for name in ("symbol",) if name in frame.columns]
    marked = runs(full).with_row_index("_row").with_columns(
        _at=pl.col("ts").dt.epoch("ns"), _mid=pl.col("mid").cast(pl.Float64)
    )  # fmt: skip
    return marked.sort(*keys, "_at", maintain_order=True).with_columns(
        _end=pl.when(pl.col("run").is_not_null()).then(pl.col("_at").max().over(*keys, "run"))
    )


def _ahead(marked: pl.DataFrame, horizon: int) -> list[pl.Series]:
    """``_known``: the run goes on to the horizon; ``_last``: place of the last row at or before it."""
    keys = [name for name in ("symbol",) if name in marked.columns]
    places = marked.select(*keys, _time="_at", _last=pl.int_range(pl.len(), dtype=pl.Int64))
    asked = marked.select(*keys, "_end", _time=pl.col("_at") + horizon)
    found = asked.join_asof(places, on="_time", by=keys or None, check_sortedness=False)
    known = found.select((pl.col("_time") <= pl.col("_end")).fill_null(value=False))["_time"]
    return [known.alias("_known"), found["_last"]]


def _first(marked: pl.DataFrame, barrier: pl.Expr, *, upwards: bool) -> pl.Series:
    """Place of the first later row that is at the barrier or beyond it; after ``_last`` if there is none.

    The maxima of 1, 2, 4, … rows are looked up from the longest to the shortest, so each row needs few steps however
    many rows its horizon has.
    """
    sign = 1 if upwards else -1
    # A row without a mid touches nothing.
    best = [marked["_mid"].fill_null(-sign * float("inf")) * sign]
    limit = marked.select(barrier * sign).to_series()
    last, place = marked["_last"].fill_null(0), marked["_place"].cast(pl.Int64)
    longest = marked.select((pl.col("_last") - pl.col("_place")).max()).item() or 0
    count = marked.height
    while 2 ** len(best) <= longest:
        half = 2 ** (len(best) - 1)
        other = pl.concat([best[-1].slice(half), pl.Series([float("-inf")] * min(half, count), dtype=pl.Float64)])
        best.append(pl.select(pl.max_horizontal(best[-1], other)).to_series())
    at = place + 1
    for power in reversed(range(len(best))):
        inside = at + (2**power - 1) <= last
        highest = best[power].gather(at.clip(0, max(count - 1, 0)))
        at += (inside & (highest < limit)).fill_null(value=False).cast(pl.Int64) * 2**power
    return at

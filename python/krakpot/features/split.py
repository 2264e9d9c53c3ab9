"""Train, validation and test parts of a frame, by time, that never share a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import TIME, need
from krakpot.features.labels import Duration
from krakpot.values import Time, shown, step, time_of

SHARES = (0.6, 0.2, 0.2)
SUM_OFF = 1e-9
"""How much the sum of parts may differ from 1, because shares are floats."""


def split(
    frame: pl.DataFrame,
    parts: Sequence[float] | None = None,
    *,
    at: Time | Sequence[Time] | None = None,
    purge: Duration | Literal[0],
    embargo: Duration | Literal[0] = 0,
) -> tuple[pl.DataFrame, ...]:
    """Divide a frame by time into parts for training, validation and test.

    All symbols are divided at the same times. Rows are taken away at the borders, so that no label of a part reaches
    into the next one.

    Parameters
    ----------
    frame
        Features and labels with a column ``ts``.
    parts
        Share of each part, in the order of time; None: 0.6, 0.2 and 0.2, unless ``at`` is given. Shares are of the
        times at which the frame has data: rows that have a ``reason`` do not count, so a gap does not use up a part.
    at
        Instead of shares, the time or times at which a part ends and the next one begins.
    purge
        The longest horizon of a label: of each part the rows are left out whose label would end at or after the
        beginning of the next one.
    embargo
        Rows so soon after the beginning of a part are left out, except of the first: give the longest look-back of a
        feature, and no feature of a part sees a time of the part before.

    Returns
    -------
    tuple of DataFrame
        One frame for each part, with the columns and the order of ``frame``.

    Raises
    ------
    ConfigError
        For shares that do not add up to 1, times that are not in order, or if a part would have no rows.

    Examples
    --------
    >>> train, test = split(frame, (0.8, 0.2), purge="1m")    # doctest: +SKIP

    """
    need(frame, ["ts"])
    if at is not None and parts is not None:
        raise ConfigError("split: give either parts, the shares, or at, the times")
    ahead, behind = step(purge, "purge", 0), step(embargo, "embargo", 0)
    borders = _times(at) if at is not None else _borders(frame, SHARES if parts is None else parts)
    moment = pl.col("ts").dt.epoch("ns")
    found = []
    for number, (begin, end) in enumerate(zip([None, *borders], [*borders, None], strict=True)):
        kept = pl.lit(value=True)
        if begin is not None:
            kept &= moment >= begin + behind
        if end is not None:
            kept &= moment + ahead < end
        part = frame.filter(kept)
        if part.is_empty():
            which = f"part {number + 1} of {len(borders) + 1}"
            sentence = f"{which} has no rows; give a longer frame, other parts or a shorter purge"
            raise ConfigError(sentence)
        found.append(part)
    return tuple(found)


def _times(at: Time | Sequence[Time]) -> list[int]:
    at = at if isinstance(at, Iterable) and not isinstance(at, str) else (at,)
    times: list[int] = [time_of(one, "at") for one in at]
    if not times or times != sorted(set(times)):
        raise ConfigError(
            f"at={shown(list(at))} is not allowed; allowed are one or more times, each later than the one before"
        )
    return times


def _borders(frame: pl.DataFrame, parts: Sequence[float]) -> list[int]:
    """Times that divide the times with data into these shares, ns."""
    given: Sequence[float] = tuple(parts) if isinstance(parts, Iterable) else ()
    fits = len(given) > 1 and all(isinstance(part, (int, float)) and part > 0 for part in given)
    if not fits or abs(sum(given) - 1) > SUM_OFF:
        raise ConfigError(
            f"parts={shown(given or parts)} is not allowed; allowed are two or more shares that add up to 1"
        )
    there = frame.filter(pl.col("reason").is_null()) if "reason" in frame.columns else frame
    times = there["ts"].cast(TIME).dt.epoch("ns").unique().sort()
    if len(times) < len(parts):
        raise ConfigError(f"the frame has data at {len(times)} times, which cannot be divided into {len(parts)} parts")
    shares = [sum(parts[:n]) for n in range(1, len(parts))]
    return [int(times[min(round(share * len(times)), len(times) - 1)]) for share in shares]

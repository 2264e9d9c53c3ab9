"""How much later messages were received than the exchange stamped them: the recorder's clock against the exchange's.

The difference is the way of a message plus what the two clocks differ. It cannot be negative if the clocks agree, so
its least value says when the recorder's clock was behind, and, more than half a second above zero, that it was ahead or
the line slow. Snapshots are left out: they tell of times long past. All sessions count.

Differences are counted in classes of three digits, so memory does not grow with the number of messages; the least and
the greatest are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import polars as pl

from krakpot.lake.arbitration import CHANNELS
from krakpot.lake.times import TIME

PERCENT = (0, 1, 10, 50, 90, 99, 100)
DIGITS = 3
BEHIND = -1_000_000
"""A difference below this, ns, says that the clock was behind; within a millisecond clocks cannot be compared."""
AHEAD = 500_000_000
"""If no difference of a time is below this, ns, the clock was ahead, or the line slow."""
WINDOW = 60 * 10**9
"""Length of the times that are judged one by one, ns."""
SHOWN = ("p0", "p1", "p50", "p99", "p100")
"""Quantiles in a table for a terminal."""
UNITS = (
    ("ms", timedelta(milliseconds=1), timedelta(seconds=100)),
    ("s", timedelta(seconds=1), timedelta(days=1)),
    ("d", timedelta(days=1), timedelta.max),
)
"""Units of a difference for people, and up to which one they are used."""
PER_MESSAGE = ("book", "level3")
"""Channels whose messages are many rows with the same times."""


def channels_of(scan: Callable[[str], pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """Rows by channel; ``scan`` gives those of a table."""
    return {channel: scan(table) for table, channel in CHANNELS.items()}


def differences(rows: pl.LazyFrame, channel: str) -> pl.LazyFrame:
    """Receive time ``at`` and difference ``skew`` of each message of a channel, ns."""
    once = pl.col("entry") == 0 if channel in PER_MESSAGE else pl.lit(value=True)
    live = rows.filter(once & (pl.col("kind") == "update") & pl.col("ts_event").is_not_null())
    received, sent = (pl.col(name).dt.epoch("ns") for name in ("ts_recv", "ts_event"))
    return live.select(at=received, skew=received - sent)


def judged() -> pl.Expr:
    """What the least difference ``p0``, ns, says about the recorder's clock."""
    return (
        pl.when(pl.col("p0") < BEHIND)
        .then(pl.lit("behind"))
        .when(pl.col("p0") >= AHEAD)
        .then(pl.lit("ahead"))
        .otherwise(None)
    )


def quantiles(
    channels: Mapping[str, pl.LazyFrame], every: int | None = None, note: Callable[[str], None] = lambda _: None
) -> pl.DataFrame:
    """Quantiles of the differences by channel; see ``Lake.clock_skew``. ``note`` is told what is being read."""
    begin = pl.lit(0, pl.Int64) if every is None else pl.col("at") - pl.col("at") % every
    found = []
    for channel, rows in channels.items():
        note(channel)
        classes = pl.col("skew").cast(pl.Float64).round_sig_figs(DIGITS).round().cast(pl.Int64)
        counted = (
            differences(rows, channel)
            .group_by(begin=begin, value=classes)
            .agg(n=pl.len(), least=pl.col("skew").min(), most=pl.col("skew").max(), early=(pl.col("skew") < 0).sum())
            .collect(engine="streaming")
        )
        found.append(_ranked(counted).with_columns(channel=pl.lit(channel)))
    steps = [] if every is None else [pl.col("begin").cast(TIME).alias("ts_from")]
    values = [pl.col(f"p{percent}").cast(pl.Duration("ns")) for percent in PERCENT]
    return pl.concat(found).select(pl.col("channel"), *steps, "messages", "early", *values, clock=judged())


def _ranked(counted: pl.DataFrame) -> pl.DataFrame:
    """Quantiles of each begin by nearest rank, from its classes."""
    n, up_to = pl.col("n"), pl.col("n").cum_sum()
    ranks = {
        # A class may be rounded beyond the values in it.
        f"p{percent}": pl.col("value").filter(up_to * 100 >= n.sum() * percent).first().clip(
            pl.col("least").min(), pl.col("most").max()
        )
        for percent in PERCENT[1:-1]
    }  # fmt: skip
    return (
        counted.sort("begin", "value")
        .group_by("begin", maintain_order=True)
        .agg(
            messages=n.sum().cast(pl.Int64),
            early=pl.col("early").sum().cast(pl.Int64),
            p0=pl.col("least").min(),
            p100=pl.col("most").max(),
            **ranks,
        )
    )


def wrong_times(channels: Mapping[str, pl.LazyFrame], note: Callable[[str], None] = lambda _: None) -> pl.DataFrame:
    """Times in which the recorder's clock was apparently wrong, minute by minute, over all channels.

    Returns
    -------
    DataFrame
        A row for each span of minutes, in order: ``ts_from``, ``ts_to`` (exclusive), ``clock`` (``"behind"`` or
        ``"ahead"``), ``least`` (the least difference in it).

    """
    minutes = [pl.DataFrame(schema={"begin": pl.Int64, "p0": pl.Int64})]
    for channel, rows in channels.items():
        note(channel)
        begin = pl.col("at") - pl.col("at") % WINDOW
        least = differences(rows, channel).group_by(begin=begin).agg(p0=pl.col("skew").min())
        minutes.append(least.collect(engine="streaming"))
    judgement = pl.concat(minutes).group_by("begin").agg(pl.col("p0").min()).sort("begin").with_columns(clock=judged())
    follows = (pl.col("begin").diff() == WINDOW) & pl.col("clock").eq_missing(pl.col("clock").shift())
    spans = judgement.with_columns(span=(~follows).fill_null(value=True).cum_sum()).filter(
        pl.col("clock").is_not_null()
    )
    return (
        spans.group_by("span", maintain_order=True)
        .agg(
            ts_from=pl.col("begin").min().cast(TIME),
            ts_to=(pl.col("begin").max() + WINDOW).cast(TIME),
            clock=pl.col("clock").first(),
            least=pl.col("p0").min().cast(pl.Duration("ns")),
        )
        .drop("span")
    )


def to_dicts(found: pl.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON has them: times with nine decimals, differences in nanoseconds."""
    times = pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
    amounts = pl.col(pl.Duration).dt.total_nanoseconds().name.suffix("_ns")
    return found.select(pl.exclude(pl.Datetime, pl.Duration), times, amounts).to_dicts()


def amount(value: timedelta) -> str:
    """A difference for people: ``+12.3 ms``, ``-250.0 s``, ``+73.0 d``."""
    unit, length = next((unit, length) for unit, length, most in UNITS if abs(value) < most)
    return f"{value / length:+,.1f} {unit}"


def lines(found: pl.DataFrame) -> list[str]:
    """Quantiles as a table for a terminal."""
    stepped = "ts_from" in found.columns
    head = f"{'channel':<9}{'from (UTC)' if stepped else '':<{21 * stepped}}{'messages':>12}{'early':>9}"
    table = [head + "".join(f"{name:>14}" for name in SHOWN)]
    for row in found.iter_rows(named=True):
        begin = f"{row['ts_from']:%Y-%m-%d %H:%M:%S}" if stepped else ""
        values = "".join(f"{amount(row[name]):>14}" for name in SHOWN)
        table.append(
            f"{row['channel']:<9}{begin:<{21 * stepped}}{row['messages']:>12,}{row['early']:>9,}{values}".rstrip()
        )
    return table


SENTENCES = {
    "behind": "behind by {} or more: messages came before the exchange had sent them",
    "ahead": "ahead, or the line was slow: every message came {} late or later",
}
"""What a wrong clock means, with the amount."""


def sentences(wrong: pl.DataFrame) -> list[str]:
    """The times in which the clock was wrong, for people."""
    return [
        f"{row['ts_from']:%Y-%m-%d %H:%M} to {row['ts_to']:%Y-%m-%d %H:%M}: the clock of the recorder was "
        + SENTENCES[row["clock"]].format(amount(abs(row["least"])).lstrip("+"))
        for row in wrong.iter_rows(named=True)
    ]

"""Sequences of states made by hand, for the comparison."""

from __future__ import annotations

import polars as pl

from channels import MS
from frames import START
from krakpot.compare.states import STATES, SYNC_SPANS, TIME, Channel, sequence


def channel(states: list[tuple[int, int]], begin: int = 0, end: int = 10_000, reason: str = "disconnect") -> Channel:
    """A channel of one symbol from (time in ms, checksum), in sync from ``begin`` to ``end``, in ms, which ``reason``
    ended.
    """
    rows = [
        ("BTC/USD", "a", 0, n, START + time * MS, START + time * MS, checksum, checksum, 1)
        for n, (time, checksum) in enumerate(states)
    ]
    span = ("BTC/USD", "a", 0, 0, START + begin * MS, len(rows), START + end * MS, reason)
    made_of = [
        pl.DataFrame(told, schema={k: pl.Int64() if v == TIME else v for k, v in schema.items()}, orient="row")
        for told, schema in ((rows, STATES), ([span], SYNC_SPANS))
    ]
    return sequence(Channel(made_of[0].cast(STATES), made_of[1].cast(SYNC_SPANS)))

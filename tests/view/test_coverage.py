"""Coverage as lanes."""

from __future__ import annotations

import polars as pl
import pytest

from krakpot.view.coverage import lanes
from spans import spans


def coverage(*rows: tuple[str, str, int, int, str]) -> pl.DataFrame:
    """Rows of ``Lake.coverage``: symbol, channel, from, to, reason."""
    names = pl.DataFrame([row[:2] for row in rows], schema={"symbol": pl.String, "channel": pl.String}, orient="row")
    return pl.concat([names, spans(*(row[2:] for row in rows))], how="horizontal")


def test_a_lane_for_each_symbol_and_channel() -> None:
    """In order, with the share that is covered, clipped to the range."""
    frame = coverage(
        ("ETH/USD", "book", 0, 100, "stopped"), ("BTC/USD", "trade", 0, 200, "stopped"),
        ("BTC/USD", "book", 0, 40, "mismatch"), ("BTC/USD", "book", 60, 100, "stopped"),
    )  # fmt: skip
    found = lanes(frame, 0, 100)
    assert found.names.rows() == [
        (0, "BTC/USD", "book", pytest.approx(0.8)), (1, "BTC/USD", "trade", 1.0), (2, "ETH/USD", "book", 1.0),
    ]  # fmt: skip
    assert found.gaps.drop("lane").equals(spans((40, 60, "mismatch")))
    assert found.spans["ts_to"].cast(pl.Int64).max() == 100
    assert found.left_out == ""


def test_of_many_lanes_those_with_the_least_are_shown() -> None:
    """And the title says that there are more."""
    frame = coverage(*((f"S{i:02}/USD", "book", 0, 100 - i, "stopped") for i in range(30)))
    found = lanes(frame, 0, 100, most=2)
    assert found.names["symbol"].to_list() == ["S28/USD", "S29/USD"]
    assert found.left_out == " (2 of 30: those with the least)"

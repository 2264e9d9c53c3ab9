"""Interactive pictures: what their description for Vega-Lite says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from krakpot.view import look
from krakpot.view.coverage import lanes
from krakpot.view.heat import heat
from krakpot.view.ladder import blocks, rungs
from krakpot.view.look import CHART_COLUMNS, CHART_ROWS
from krakpot.view.spread import bins
from pictures import BEGIN, BOOKS, COVERAGE, END, GAPS, LEVELS, ORDERS, TRADES
from spans import spans, times

charts = pytest.importorskip("krakpot.view.charts")


def rows(described: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Data of a layer."""
    data = layer.get("data", described.get("data"))
    assert data is not None
    return list(described["datasets"][data["name"]] if "name" in data else data["values"])


def marks(described: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Layers with marks of a kind."""
    return [layer for layer in described["layer"] if layer["mark"]["type"] == kind]


def book() -> dict[str, Any]:
    """The description of the picture of a book."""
    found = heat(BOOKS, GAPS, END, rows=50, near=2)
    return dict(charts.book(found, TRADES, GAPS, symbol="BTC/USD").to_dict())


def test_a_gap_is_a_band_with_its_reason_and_a_hole_in_the_lines() -> None:
    """Null in the data of a line is what breaks it."""
    described = book()
    band = rows(described, marks(described, "rect")[-1])
    assert [row["why"] for row in band] == ["wrong checksum"]
    assert (band[0]["ts_from"], band[0]["ts_to"]) == ((BEGIN + 3 * 10**9) / 1e6, (BEGIN + 5 * 10**9) / 1e6)
    line = [row for row in rows(described, marks(described, "line")[0]) if row["side"] == "bid"]
    holes = [row["ts"] for row in line if row["price"] is None]
    assert (BEGIN + 3 * 10**9) / 1e6 in holes
    assert all(
        row["price"] is not None for row in line if row["ts"] >= (BEGIN + 5 * 10**9) / 1e6 and row is not line[-1]
    )


def test_reasons_of_gaps_have_their_colours() -> None:
    """Those of the static pictures, and the legend names them."""
    gaps = pl.concat([GAPS, GAPS.with_columns(reason=pl.lit("disconnect"))])
    found = heat(BOOKS, gaps, END, rows=50, near=2)
    band = marks(charts.book(found, TRADES, gaps, symbol="BTC/USD").to_dict(), "rect")[-1]
    scale = band["encoding"]["fill"]["scale"]
    assert scale["domain"] == ["no connection", "wrong checksum"]
    assert scale["range"] == [look.marks(gaps["reason"])[kind][0] for kind in ("disconnect", "mismatch")]
    assert len(set(scale["range"])) == 2


def test_a_range_without_anything_says_so() -> None:
    """Axes alone would look like a quiet market."""
    nothing = BOOKS.with_columns(pl.lit(None, pl.Float64).alias(name) for name in BOOKS.columns if "price" in name)
    frame = bins(nothing, GAPS, BEGIN, END, columns=10)
    described = charts.spread(frame, GAPS, symbol="BTC/USD", begin=BEGIN, end=END, every="1 s").to_dict()
    for panel in described["vconcat"]:
        assert [row["text"] for row in rows(described, marks(panel, "text")[0])] == ["there is nothing in this range"]
    assert not marks(book(), "text")
    empty = heat(nothing, GAPS, END, rows=50, near=2)
    assert marks(charts.book(empty, TRADES.clear(), GAPS, symbol="BTC/USD").to_dict(), "text")


def test_a_quantity_that_lasts_is_one_mark() -> None:
    """Up to the gap, over which it does not reach."""
    flat = BOOKS.with_columns(
        pl.when(pl.col("reason").is_null()).then(value).alias(f"{side}_price_{level}")
        for side, level, value in (("bid", 0, 99.5), ("bid", 1, 99.0), ("ask", 0, 100.5), ("ask", 1, 101.0))
    )
    described = charts.book(heat(flat, GAPS, END, rows=50, near=2), TRADES, GAPS, symbol="BTC/USD").to_dict()
    bids = rows(described, marks(described, "rect")[1])
    assert [(row["ts_from"], row["ts_to"]) for row in bids if row["qty"] == 1.0] == [
        (BEGIN / 1e6, (BEGIN + 3 * 10**9) / 1e6),
        ((BEGIN + 5 * 10**9) / 1e6, END / 1e6),
    ]


def test_axes_are_utc_and_have_units() -> None:
    """Also the pointer tells times in UTC, to the nanosecond."""
    described = book()
    for layer in described["layer"]:
        assert layer["encoding"]["x"]["scale"]["type"] == "utc"
        assert layer["encoding"]["x"]["title"] == "received, UTC, 2026-11-22"
    line = marks(described, "line")[0]
    assert line["encoding"]["y"]["title"] == "price, USD"
    assert rows(described, line)[0]["ts_text"] == "2026-11-22 10:00:00.000000000 UTC"


def test_the_size_of_a_chart_is_bounded() -> None:
    """A book that changes everywhere at each time gives no more cells than the chart has."""
    count, depth = CHART_COLUMNS, 40
    frame = pl.DataFrame(
        {"ts": times(*(BEGIN + i for i in range(count))), "reason": pl.Series([None] * count, dtype=pl.String)}
    ).with_columns(
        value.alias(f"{side}_{what}_{level}")
        for side, sign in (("bid", -1), ("ask", 1))
        for level in range(depth)
        for what, value in (
            ("price", pl.lit(100 + sign * (level + 0.5))),
            ("qty", pl.int_range(pl.len()).cast(pl.Float64) + level + 1),
        )
    )
    found = heat(frame, spans(), BEGIN + count, rows=CHART_ROWS, near=depth)
    described = charts.book(found, TRADES, spans(), symbol="BTC/USD").to_dict()
    cells = sum(len(rows(described, layer)) for layer in marks(described, "rect"))
    assert 0 < cells <= CHART_COLUMNS * CHART_ROWS
    assert len(json.dumps(described)) < 4_000_000


def test_the_spread_is_two_panels_that_are_zoomed_together() -> None:
    """One selection in both."""
    frame = bins(BOOKS, GAPS, BEGIN, END, columns=10)
    described = charts.spread(frame, GAPS, symbol="BTC/USD", begin=BEGIN, end=END, every="1 s").to_dict()
    assert len(described["vconcat"]) == 2
    assert described["resolve"]["scale"]["x"] == "shared"
    (zoom,) = described["params"]
    assert len({view.rpartition("_")[0] for view in zoom["views"]}) == 2
    titles = [panel["layer"][1]["encoding"]["y"]["title"] for panel in described["vconcat"]]
    assert titles == ["spread, USD", "mid price, USD"]


def test_a_ladder_has_a_bar_for_each_level() -> None:
    """Asks above, as on paper; a note says why there is none."""
    described = charts.ladder(rungs(LEVELS), symbol="BTC/USD", title="BTC/USD at noon", note=None).to_dict()
    left, right = described["hconcat"]
    assert left["encoding"]["y"]["sort"] == ["101.0", "100.5", "99.5", "99.0"]
    assert [row["qty"] for row in rows(described, left)] == [2.0, 1.0, 3.0, 4.0]
    assert right["encoding"]["x"]["title"] == "sum from the best price on, BTC"
    empty = charts.ladder(rungs(LEVELS.clear()), symbol="BTC/USD", title="BTC/USD", note="it had ended").to_dict()
    assert empty["title"] == "BTC/USD: it had ended"


def test_coverage_has_its_lanes_and_reasons() -> None:
    """Each with the share that is covered."""
    described = charts.coverage(lanes(COVERAGE, 0, 100), begin=0, end=100).to_dict()
    layer = described["layer"][0]
    assert layer["encoding"]["color"]["scale"]["domain"] == ["recorded", "not begun yet", "wrong checksum"]
    assert layer["encoding"]["y"]["sort"] == ["BTC/USD  book  80.00 %", "BTC/USD  trade  90.00 %"]
    assert [row["what"] for row in rows(described, layer)].count("recorded") == 3


def test_a_queue_tells_each_order() -> None:
    """Its id, what is ahead of it, its age."""
    described = charts.queue(blocks(ORDERS, 10), symbol="BTC/USD", title="BTC/USD", note=None).to_dict()
    bids = rows(described, described["layer"][1])
    assert [(row["order_id"], row["ahead"], row["until"]) for row in bids] == [("OLD", 0.0, 1.0), ("NEW", 1.0, 3.0)]
    told = [tip["field"] for tip in described["layer"][1]["encoding"]["tooltip"]]
    assert {"order_id", "ahead", "age", "qty"} <= set(told)


@pytest.mark.slow
def test_a_page_needs_no_network(tmp_path: Path) -> None:
    """Everything that draws is in it; the other form is the description alone."""
    chart = charts.ladder(rungs(LEVELS), symbol="BTC/USD", title="BTC/USD", note=None)
    charts.write(chart, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert 'src="http' not in page
    assert "import(" not in page.partition("<body>")[2]
    assert "quantity at the price, BTC" in page
    charts.write(chart, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["hconcat"]

"""Static pictures: what is on them, not which pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from krakpot.view import look
from krakpot.view.coverage import lanes
from krakpot.view.heat import Heat, heat
from krakpot.view.ladder import BLOCKS, blocks, rungs
from krakpot.view.spread import bins
from pictures import BOOKS, COVERAGE, END, GAPS, LEVELS, ORDERS, TRADES, WHOLE
from spans import spans

figures = pytest.importorskip("krakpot.view.figures")
colors = pytest.importorskip("matplotlib.colors")


def heat_map(books: pl.DataFrame = BOOKS, gaps: pl.DataFrame = GAPS) -> Heat:
    """The heat map of the books."""
    return heat(books, gaps, END, rows=50, near=2)


def labels(picture: Any) -> list[str]:
    """Texts of the legend."""
    return [text.get_text() for legend in picture.legends for text in legend.get_texts()]


def segments(line: Any) -> int:
    """How many pieces a line has."""
    known = np.isfinite(line.get_ydata())
    return int(np.count_nonzero(known & ~np.roll(known, 1))) if not known.all() else 1


def texts(axes: Any) -> list[str]:
    """Texts of the vertical axis."""
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_gap_breaks_the_lines_of_the_best_prices() -> None:
    """Into one piece before and one after it, and a band with its reason covers it."""
    picture = figures.book(heat_map(), TRADES, GAPS, symbol="BTC/USD")
    axes = picture.axes[0]
    best = {line.get_label(): line for line in axes.get_lines()}
    assert {name: segments(line) for name, line in best.items()} == {"best bid": 2, "best ask": 2}
    whole = figures.book(heat_map(WHOLE, spans()), TRADES, spans(), symbol="BTC/USD").axes[0].get_lines()
    assert [segments(line) for line in whole] == [1, 1]
    bands = [one for one in axes.collections if one.get_label() == "wrong checksum"]
    assert len(bands) == 1
    begin, end = bands[0].get_paths()[0].vertices[:, 0].min(), bands[0].get_paths()[0].vertices[:, 0].max()
    first, last = axes.get_xlim()
    assert ((begin - first) / (last - first), (end - first) / (last - first)) == pytest.approx((0.3, 0.5), abs=1e-3)
    assert bands[0].get_hatch()


def test_the_picture_of_a_book_names_units_sides_and_day() -> None:
    """Everything that a reader needs is on it, and nothing that is not there."""
    picture = figures.book(heat_map(), TRADES, GAPS, symbol="BTC/USD")
    axes, scale = picture.axes[:2]
    assert axes.get_ylabel() == "price, USD"
    assert axes.get_xlabel() == "received, UTC, 2026-11-22"
    assert scale.get_ylabel() == "quantity at the price, BTC: bids blue, asks orange"
    assert labels(picture) == [
        "beyond the levels", "best bid", "best ask", "taker bought", "taker sold", "wrong checksum",
    ]  # fmt: skip


def test_where_the_levels_end_is_not_drawn_as_empty() -> None:
    """Prices that the levels do not reach at some times are grey, below and above; else there is no grey."""
    steady = WHOLE.with_columns(pl.all().exclude("ts").first())
    picture = figures.book(heat_map(steady, spans()), TRADES, spans(), symbol="BTC/USD")
    assert "beyond the levels" not in labels(picture)
    axes = figures.book(heat_map(WHOLE, spans()), TRADES, spans(), symbol="BTC/USD").axes[0]
    grey = [one for one in axes.collections if one.get_facecolor().tolist() == [list(colors.to_rgba(look.BEYOND))]]
    assert len(grey) == 2


def test_the_size_of_a_trade_is_the_area_of_its_mark() -> None:
    """Up and down for the two sides, so that the shape says it as well as the colour."""
    axes = figures.book(heat_map(), TRADES, GAPS, symbol="BTC/USD").axes[0]
    marks = {one.get_label(): one for one in axes.collections if str(one.get_label()).startswith("taker")}
    bought, sold = marks["taker bought"].get_sizes(), marks["taker sold"].get_sizes()
    assert len(bought) == 2
    assert bought[1] > bought[0]
    assert len(sold) == 1
    paths = [mark.get_paths()[0].vertices for mark in marks.values()]
    assert not np.allclose(paths[0], paths[1])


def test_a_book_that_is_not_known_at_all_is_a_picture_of_a_gap() -> None:
    """No error, no line."""
    gone = BOOKS.with_columns(pl.lit(None, pl.Float64).alias(name) for name in BOOKS.columns if "price" in name)
    everything = spans((int(BOOKS["ts"].cast(pl.Int64)[0]), END, "disconnect"))
    picture = figures.book(heat(gone, everything, END, rows=50, near=2), TRADES.clear(), everything, symbol="BTC/USD")
    assert "no connection" in labels(picture)
    assert all(not np.isfinite(np.asarray(line.get_ydata(), float)).any() for line in picture.axes[0].get_lines())


def test_the_spread_has_its_median_and_its_area_broken_at_gaps() -> None:
    """Two panels, one axis of time, the units of each."""
    begin = int(BOOKS["ts"].cast(pl.Int64)[0])
    frame = bins(BOOKS, GAPS, begin, END, columns=10)
    picture = figures.spread(frame, GAPS, symbol="BTC/USD", begin=begin, end=END, every="1 s")
    upper, lower = picture.axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("spread, USD", "mid price, USD")
    assert [segments(axes.get_lines()[0]) for axes in (upper, lower)] == [2, 2]
    assert upper.get_ylim()[0] == 0
    assert upper.get_title(loc="left").endswith("a book every 1 s")
    assert labels(picture) == ["smallest to largest", "median", "wrong checksum"]


def test_a_ladder_has_a_bar_for_each_level_and_its_exact_price() -> None:
    """Asks above bids; the sums grow from the middle."""
    picture = figures.ladder(rungs(LEVELS), symbol="BTC/USD", title="BTC/USD", note=None)
    left, right = picture.axes
    assert texts(left) == ["99.0", "99.5", "100.5", "101.0"]
    assert [bar.get_width() for bar in left.patches] == [3.0, 4.0, 2.0, 1.0]
    assert [bar.get_width() for bar in right.patches] == [3.0, 7.0, 3.0, 1.0]
    assert "spread 1 USD" in [text.get_text() for text in left.texts]
    assert (left.get_xlabel(), left.get_ylabel()) == ("quantity at the price, BTC", "price, USD")


def test_without_a_book_the_picture_says_why() -> None:
    """A sentence in place of bars."""
    picture = figures.ladder(rungs(LEVELS.clear()), symbol="BTC/USD", title="BTC/USD", note="it had ended")
    assert [text.get_text() for text in picture.axes[0].texts] == ["it had ended"]
    empty = pl.DataFrame(schema=BLOCKS)
    picture = figures.queue(empty, symbol="BTC/USD", title="BTC/USD", note="it had ended")
    assert [text.get_text() for text in picture.axes[0].texts] == ["it had ended"]


def test_coverage_has_a_lane_for_each_channel_and_a_colour_for_each_reason() -> None:
    """At the right its share."""
    begin, end = 0, 100
    picture = figures.coverage(lanes(COVERAGE, begin, end), begin=begin, end=end)
    axes = picture.axes[0]
    assert texts(axes) == ["BTC/USD  book", "BTC/USD  trade"]
    assert labels(picture) == ["recorded", "not begun yet", "wrong checksum"]
    assert [text.get_text() for text in axes.texts] == ["recorded", "80.00 %", "90.00 %"]
    edges = {str(one.get_edgecolor()) for one in axes.collections if one.get_hatch()}
    assert len(edges) == 2


def test_a_queue_has_a_block_for_each_order() -> None:
    """From the left in the order in which they are filled."""
    found = blocks(ORDERS, 10)
    picture = figures.queue(found, symbol="BTC/USD", title="BTC/USD", note=None)
    axes = picture.axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0.0, 5.0), (0.0, 1.0), (1.0, 2.0)]
    assert texts(axes) == ["99", "100"]
    assert [text.get_text() for text in axes.texts] == ["2 orders", "1 order"]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert sum(colours[1][:3]) < sum(colours[2][:3]), "the older one is darker"
    assert axes.get_xlabel() == "quantity in the queue, BTC; the order at the left is filled first"


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_pictures_are_written_without_a_display(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each form; the same picture gives the same SVG."""
    monkeypatch.delenv("DISPLAY", raising=False)
    files = [tmp_path / f"{name}{ending}" for name in "ab"]
    for file in files:
        figures.write(figures.book(heat_map(), TRADES, GAPS, symbol="BTC/USD"), file)
    assert files[0].stat().st_size > 5000
    if ending == ".svg":
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_notebook_shows_a_picture_once_and_settings_are_untouched() -> None:
    """It is no figure of pyplot, which would show it a second time."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    before = dict(mpl.rcParams)
    picture = figures.book(heat_map(), TRADES, GAPS, symbol="BTC/USD")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_the_value_of_an_account_over_time(tmp_path: Path) -> None:
    """Two lines, one that ends where a price is not known, and the gaps."""
    values = pl.DataFrame({
        "ts": [0, 10**9, 2 * 10**9], "equity": ["100", "101.5", "99"], "equity_exit": ["99", None, "98"],
    }).with_columns(
        pl.col("ts").cast(pl.Datetime("ns", "UTC")), pl.col("equity", "equity_exit").cast(pl.Decimal(38, 10))
    )  # fmt: skip
    picture = figures.equity(values, GAPS, title="BTC/USD: value of the account", quote="USD")
    upper, lower = picture.axes[0].lines
    assert upper.get_ydata().tolist() == [100.0, 101.5, 99.0]
    assert np.isnan(lower.get_ydata()[1])
    assert labels(picture)[:2] == ["at the middle", "if all is sold at the best bids"]
    figures.write(picture, tmp_path / "equity.png")
    assert (tmp_path / "equity.png").stat().st_size > 1000

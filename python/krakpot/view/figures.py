"""Static pictures, by matplotlib. They need no display, and touch neither pyplot nor its settings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from krakpot.errors import counted
from krakpot.view import look
from krakpot.view.coverage import Lanes
from krakpot.view.heat import Heat

LABELS_MAX = 60
"""Bars whose quantities are written beside them; more would overlap."""
SHADES = (0.18, 0.9)
"""The part of a scale of colours whose palest one can still be told from the page."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": look.TEXT,
    "axes.labelcolor": look.TEXT,
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": look.TEXT,
    "svg.fonttype": "none",
    "svg.hashsalt": "krakpot",
}


class Picture(Figure):
    """A figure that a notebook shows by itself, and once."""

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png")
        return image.getvalue()


def write(picture: Figure, path: Path) -> None:
    """Write a picture; the ending of the name says in which form. The same picture gives the same bytes."""
    with mpl.rc_context(STYLE):
        picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


@contextmanager
def _drawing(width: float, height: float) -> Iterator[Picture]:
    """An empty picture in krakpot's look."""
    with mpl.rc_context(STYLE):
        yield Picture(figsize=(width, height), layout="constrained")


def _times(axes: Axes, begin: int, end: int) -> None:
    """The horizontal axis is the time of reception, UTC."""
    axes.xaxis_date("UTC")
    places, texts, title = look.ticks(begin, end)
    axes.set_xticks(_days(places), texts)
    axes.set_xlim(*_days([begin, end]))
    axes.set_xlabel(title)


def _days(ns: Sequence[int] | pl.Series) -> Any:  # noqa: ANN401  # an array of NumPy, which matplotlib's stubs do not name
    """Times as matplotlib counts them."""
    return dates.date2num(np.asarray(ns, dtype="int64").astype("datetime64[ns]"))  # type: ignore[no-untyped-call]  # so the stubs have it


def _bands(axes: Axes, gaps: pl.DataFrame) -> None:
    """Hatched bands over the height of the picture: a colour and a hatch for each reason, which the legend names."""
    marks = look.marks(gaps["reason"])
    pixel = (axes.get_xlim()[1] - axes.get_xlim()[0]) / 1000
    for (reason,), mine in gaps.sort("ts_from").partition_by("reason", as_dict=True, maintain_order=True).items():
        begins, ends = (_days(mine[name].cast(pl.Int64)) for name in ("ts_from", "ts_to"))
        # The shortest gap can be seen as well.
        spans = [(float(begin), max(float(end - begin), pixel)) for begin, end in zip(begins, ends, strict=True)]
        number = f" ({mine.height:,})" if mine.height > 1 else ""
        colour, hatch = marks[str(reason)]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), facecolor=look.GAP, edgecolor=colour,
            hatch=hatch, linewidth=0.4, zorder=3, label=f"{look.reason(str(reason))}{number}",
        )  # fmt: skip


def _nothing(axes: Axes) -> None:
    """Say that there is nothing to draw, where an axis would have numbers that mean nothing."""
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, look.NOTHING, transform=axes.transAxes, ha="center", va="center", zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none"},
    )  # fmt: skip


def _legend(picture: Figure, axes: Axes) -> None:
    """Below the picture, where it covers nothing however much it says."""
    handles, labels = axes.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=6, columnspacing=1.4, handletextpad=0.5)


def _steps(axes: Axes, lines: pl.DataFrame, name: str, **options: Any) -> None:  # noqa: ANN401  # matplotlib's options
    """A line of steps, with holes where values are null."""
    axes.step(_days(lines["ts"].cast(pl.Int64)), lines[name].to_numpy(), where="post", **options)


def book(heat: Heat, trades: pl.DataFrame, gaps: pl.DataFrame, *, symbol: str) -> Picture:
    """The book over time: quantities as colours, best prices as lines, trades as triangles."""
    base, quote = look.units(symbol)
    with _drawing(11.5, 6.2) as picture:
        axes = picture.subplots()
        axes.set_title(f"{symbol}: the book over time", pad=10)
        _times(axes, heat.edges[0], heat.edges[-1])
        axes.set_ylabel(f"price, {quote}")
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")
        if heat.cells.height:
            _cells(picture, axes, heat, base)
        _beyond(axes, heat)
        for side, colour, words in (("bid", look.BID, "best bid"), ("ask", look.ASK, "best ask")):
            _steps(axes, heat.lines, side, color=colour, linewidth=1.3, label=words, zorder=4)
        _marks(axes, trades)
        if heat.cells.height:
            axes.set_ylim(heat.low, heat.high)
        else:
            _nothing(axes)
        _bands(axes, gaps)
        _legend(picture, axes)
    return picture


def _cells(picture: Figure, axes: Axes, heat: Heat, base: str) -> None:
    """The quantities; one scale for both sides."""
    quantities = heat.cells["qty"]
    low, high = (float(quantities.quantile(at) or 1) for at in (0.02, 0.998))
    norm = LogNorm(low, max(high, low * 10))
    prices = heat.low + heat.height * np.arange(heat.rows + 1)
    # The scale that is added first is the outer one, and has the numbers.
    for side, colours in (("ask", "Oranges"), ("bid", "Blues")):
        mine = heat.cells.filter(pl.col("side") == side)
        grid = np.full((heat.rows, len(heat.edges) - 1), np.nan)
        grid[mine["row"].to_numpy(), mine["column"].to_numpy()] = mine["qty"].to_numpy()
        mesh = axes.pcolormesh(
            _days(heat.edges), prices, np.ma.masked_invalid(grid), cmap=colours, norm=norm, rasterized=True
        )
        bar = _scale(picture, axes, mesh, numbers=side == "ask")
        if side == "ask":
            bar.set_label(f"quantity at the price, {base}: bids blue, asks orange")


def _scale(picture: Figure, axes: Axes, mapped: ScalarMappable, *, numbers: bool) -> Colorbar:
    """The scale of colours at the right."""
    bar = picture.colorbar(mapped, ax=axes, pad=0.008, fraction=0.02, aspect=42)
    bar.outline.set_visible(False)
    if numbers:
        bar.ax.yaxis.set_major_formatter(lambda value, _: look.number(value))
    else:
        bar.set_ticks([])
        bar.minorticks_off()
    return bar


def _beyond(axes: Axes, heat: Heat) -> None:
    """Pale grey where the levels end: what lies beyond them is not known."""
    days = _days(heat.lines["ts"].cast(pl.Int64))
    lowest, highest = heat.lines["lowest"].to_numpy(), heat.lines["highest"].to_numpy()
    label = "beyond the levels"
    for inner, edge in ((lowest, np.fmin(lowest, heat.low)), (highest, np.fmax(highest, heat.high))):
        shown = (inner > heat.low + heat.height) & (inner < heat.high - heat.height)
        if shown.any():
            axes.fill_between(days, inner, edge, step="post", color=look.BEYOND, linewidth=0, zorder=0.5, label=label)
            label = "_"


def _marks(axes: Axes, trades: pl.DataFrame) -> None:
    """Trades: a triangle up if the taker bought; the larger, the more."""
    most = trades["qty"].max()
    for side, colour, marker, words in (
        ("buy", look.BID, "^", "taker bought"), ("sell", look.ASK, "v", "taker sold"),
    ):  # fmt: skip
        mine = trades.filter(pl.col("side") == side)
        if mine.is_empty() or not isinstance(most, float):
            continue
        axes.scatter(
            _days(mine["ts"].cast(pl.Int64)), mine["price"].to_numpy(), s=10 + 110 * mine["qty"].to_numpy() / most,
            c=colour, marker=marker, edgecolors="black", linewidths=0.35, label=words, zorder=5,
        )  # fmt: skip


def ladder(rungs: pl.DataFrame, *, symbol: str, title: str, note: str | None) -> Picture:
    """The book at one time: a bar for each level, and steps for all that lies up to it."""
    base, quote = look.units(symbol)
    with _drawing(10, 1.5 + 0.19 * max(rungs.height, 8)) as picture:
        if rungs.is_empty():
            _note(picture, title, note or "")
            return picture
        left, right = picture.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        left.set_title(title, pad=10)
        for side, colour, words in (("ask", look.ASK, "asks"), ("bid", look.BID, "bids")):
            mine = rungs.filter(pl.col("side") == side)
            places = mine["place"].to_numpy()
            bars = left.barh(places, mine["qty"].to_numpy(), height=0.78, color=colour, label=words)
            right.barh(places, mine["total"].to_numpy(), height=1, color=colour, alpha=0.35)
            if rungs.height <= LABELS_MAX:
                left.bar_label(bars, [look.number(qty) for qty in mine["qty"]], padding=3, fontsize=7.5)
        left.set_yticks(rungs["place"].to_list(), rungs["label"].to_list(), fontsize=8)
        left.set_ylim(-0.7, rungs.height - 0.3)
        left.margins(x=0.2)
        left.set_ylabel(f"price, {quote}")
        left.set_xlabel(f"quantity at the price, {base}")
        right.set_xlabel(f"sum from the best price on, {base}")
        right.tick_params(axis="y", length=0)
        _middle((left, right), rungs, quote)
        for axes in (left, right):
            axes.grid(axis="x", color=look.GRID)
        _legend(picture, left)
    return picture


def _middle(panels: Sequence[Axes], rungs: pl.DataFrame, quote: str) -> None:
    """A line between the two sides, and the spread."""
    bid, ask = (rungs.filter(pl.col("side") == side)["price"] for side in ("bid", "ask"))
    if bid.is_empty() or ask.is_empty():
        return
    for axes in panels:
        axes.axhline(len(bid) - 0.5, color=look.GAP_EDGE, linewidth=0.8, linestyle="--")
    words = f"spread {look.number(round(ask[0] - bid[-1], 10))} {quote}"
    panels[0].annotate(
        words, (1, len(bid) - 0.5), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points",
        ha="right", fontsize=8,
    )  # fmt: skip


def spread(bins: pl.DataFrame, gaps: pl.DataFrame, *, symbol: str, begin: int, end: int, every: str) -> Picture:
    """The spread over time: median as a line, smallest to largest as an area; below it the mid price."""
    _, quote = look.units(symbol)
    with _drawing(11, 5.4) as picture:
        upper, lower = picture.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        upper.set_title(f"{symbol}: best ask minus best bid, a book every {every}", pad=10)
        days = _days(bins["ts"].cast(pl.Int64))
        for axes, name, colour, unit in (
            (upper, "spread", look.ASK, f"spread, {quote}"), (lower, "mid", look.BID, f"mid price, {quote}"),
        ):  # fmt: skip
            least, most = (bins[f"{name}_{end}"].to_numpy() for end in ("min", "max"))
            axes.fill_between(days, least, most, step="post", color=colour, alpha=0.25, linewidth=0,
                              label="smallest to largest")  # fmt: skip
            _steps(axes, bins, name, color=colour, linewidth=1.2, label="median")
            axes.set_ylabel(unit)
            axes.ticklabel_format(axis="y", useOffset=False, style="plain")
            axes.grid(color=look.GRID)
            _times(axes, begin, end)
            _bands(axes, gaps)
            if bins[name].is_null().all():
                _nothing(axes)
        upper.set_xlabel("")
        upper.set_ylim(bottom=0)
        _legend(picture, upper)
    return picture


def equity(values: pl.DataFrame, gaps: pl.DataFrame, *, title: str, quote: str) -> Picture:
    """What an account had over time: at the middle of the best prices, and if all had been sold."""
    with _drawing(11, 4.4) as picture:
        axes = picture.subplots()
        axes.set_title(title, pad=10)
        begin, end = (int(values["ts"].cast(pl.Int64)[at]) for at in (0, -1))
        _times(axes, begin, max(end, begin + 1))
        for name, colour, label in (
            ("equity", look.BID, "at the middle"), ("equity_exit", look.ASK, "if all is sold at the best bids"),
        ):  # fmt: skip
            _steps(
                axes, values.with_columns(pl.col(name).cast(pl.Float64)), name, color=colour, linewidth=1.2, label=label
            )
        axes.set_ylabel(f"value, {quote}")
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")
        axes.grid(color=look.GRID)
        _bands(axes, gaps)
        if values["equity"].is_null().all():
            _nothing(axes)
        _legend(picture, axes)
    return picture


def coverage(lanes: Lanes, *, begin: int, end: int) -> Picture:
    """A lane for each symbol and channel: what is known, and why each gap began."""
    number = lanes.names.height
    with _drawing(11.5, 1.5 + 0.26 * max(number, 3)) as picture:
        axes = picture.subplots()
        axes.set_title("What was recorded, and why it ended" + lanes.left_out, pad=10)
        _times(axes, begin, end)
        least = (_days([end])[0] - _days([begin])[0]) / 800
        _lanes(axes, lanes.spans, 0.0, label="recorded", facecolor=look.COVERED)
        marks = look.marks(lanes.gaps["reason"])
        for kind, (colour, hatch) in marks.items():
            mine = lanes.gaps.filter(reason=kind)
            _lanes(
                axes, mine, least, label=look.reason(kind), facecolor="white", edgecolor=colour, hatch=hatch,
                linewidth=0.5,
            )  # fmt: skip
        axes.set_yticks(
            range(number),
            [f"{symbol}  {channel}" for symbol, channel in lanes.names.select("symbol", "channel").rows()],
        )
        axes.set_ylim(number - 0.4, -1.1)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.annotate("recorded", (1.005, -0.8), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        for lane, share in lanes.names.select("lane", "share").rows():
            axes.annotate(
                look.percent(share), (1.005, lane), xycoords=("axes fraction", "data"), va="center", fontsize=8.5
            )
        _legend(picture, axes)
    return picture


def _lanes(axes: Axes, spans: pl.DataFrame, least: float, *, label: str, **options: Any) -> None:  # noqa: ANN401  # matplotlib's options
    """Bars of spans, each in its lane; ``least``: how long a bar is drawn that would be too short to see."""
    for (lane,), mine in spans.partition_by("lane", as_dict=True).items():
        begins, ends = (_days(mine[name].cast(pl.Int64)) for name in ("ts_from", "ts_to"))
        bars = [(float(begin), max(float(end - begin), least)) for begin, end in zip(begins, ends, strict=True)]
        axes.broken_barh(bars, (float(lane) - 0.36, 0.72), label=label, **options)
        label = "_"


def queue(blocks: pl.DataFrame, *, symbol: str, title: str, note: str | None) -> Picture:
    """Orders at each price, the first to be filled at the left; the darker, the longer an order waits."""
    base, quote = look.units(symbol)
    prices = blocks.select("place", "label").unique().sort("place")
    with _drawing(11, 1.6 + 0.3 * max(prices.height, 6)) as picture:
        if blocks.is_empty():
            _note(picture, title, note or "")
            return picture
        axes = picture.subplots()
        axes.set_title(title, pad=10)
        ages = blocks["age"].to_numpy()
        low, high = max(float(ages.min()), 1e-3), max(float(ages.max()), 1e-2)
        norm = LogNorm(low, max(high, low * 10))
        for side, colours in (("ask", "Oranges"), ("bid", "Blues")):
            mine = blocks.filter(pl.col("side") == side)
            # The palest colours could not be told from the page.
            shades = mpl.colormaps[colours](np.interp(norm(np.clip(mine["age"].to_numpy(), low, high)), (0, 1), SHADES))
            axes.barh(
                mine["place"].to_numpy(), mine["qty"].to_numpy(), left=mine["ahead"].to_numpy(), height=0.78,
                color=shades, edgecolor="white", linewidth=0.7,
            )  # fmt: skip
            map_ = LinearSegmentedColormap.from_list("ages", mpl.colormaps[colours](np.linspace(*SHADES, 64)))
            bar = _scale(picture, axes, ScalarMappable(norm, map_), numbers=side == "ask")
            if side == "ask":
                bar.set_label("age of the order, seconds: bids blue, asks orange")
        # An order that is too small to be seen is counted at least.
        end = (pl.col("ahead") + pl.col("qty")).max().alias("end")
        ends = blocks.group_by("place").agg(end, pl.col("orders").sum())
        for place, quantity, orders in ends.sort("place").rows():
            axes.annotate(counted(orders, "order"), (quantity, place), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=7.5)  # fmt: skip
        axes.margins(x=0.08)
        axes.set_yticks(prices["place"].to_list(), prices["label"].to_list(), fontsize=8.5)
        axes.set_ylim(-0.7, prices.height - 0.3)
        axes.set_xlim(left=0)
        axes.set_ylabel(f"price, {quote}")
        axes.set_xlabel(f"quantity in the queue, {base}; the order at the left is filled first")
        axes.grid(axis="x", color=look.GRID)
    return picture


def _note(picture: Figure, title: str, text: str) -> None:
    """A sentence in place of a picture."""
    axes = picture.subplots()
    axes.set_title(title, pad=10)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", wrap=True)

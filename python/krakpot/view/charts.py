"""Interactive pictures, by altair: pages that can be zoomed and that tell the numbers under the pointer.

A chart carries its data, so everything is put together to a bounded number of marks before it gets here.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from krakpot.view import look
from krakpot.view.coverage import Lanes
from krakpot.view.heat import Heat

WIDTH = 860
SECONDS_SHORT, SECONDS_LONG = 10, 43_200
"""Up to the one, the axis of time has milliseconds; from the other on it has dates."""
SIDES = alt.Scale(domain=["bid", "ask"], range=[look.BID, look.ASK])


def write(chart: alt.TopLevelMixin, path: Path) -> None:
    """Write a chart: a page that needs no network, or its description for Vega-Lite."""
    if path.suffix == ".html":
        chart.save(str(path), format="html", inline=True)
    else:
        chart.save(str(path), format="json")


def _data(frame: pl.DataFrame) -> alt.InlineData:
    """Rows in the chart itself: times as milliseconds for the axis; the name with ``_text`` is for people."""
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    told = [pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.9f UTC").alias(f"{name}_text") for name in times]
    millis = [(pl.col(name).cast(pl.Int64) / 1e6).alias(name) for name in times]
    return alt.InlineData(values=frame.with_columns(*told).with_columns(*millis).to_dicts())


def _time(name: str, begin: int, end: int) -> alt.X:
    """The horizontal axis is the time of reception, UTC."""
    scale = alt.Scale(type="utc", domain=[begin / 1e6, end / 1e6], nice=False)
    length = (end - begin) / 1e9
    form = "%H:%M:%S.%L" if length < SECONDS_SHORT else "%H:%M:%S" if length < SECONDS_LONG else "%m-%d %H:%M"
    axis = alt.Axis(grid=False, labelOverlap=True, format=form)
    return alt.X(f"{name}:T", scale=scale, title=look.ticks(begin, end)[2], axis=axis)


def _price(name: str, low: float, high: float, title: str) -> alt.Y:
    return alt.Y(f"{name}:Q", scale=alt.Scale(domain=[low, high], nice=False, zero=False), title=title)


def _bands(gaps: pl.DataFrame, begin: int, end: int) -> Any:  # noqa: ANN401  # altair's methods return Any
    """Bands over the height of the picture, each reason in its own colour; the pointer tells it too."""
    frame = gaps.with_columns(why=pl.col("reason").map_elements(look.reason, return_dtype=pl.String))
    found = look.marks(gaps["reason"])
    kinds = sorted(set(gaps["reason"]))
    scale = alt.Scale(domain=[look.reason(kind) for kind in kinds], range=[found[kind][0] for kind in kinds])
    return (
        alt.Chart(_data(frame))
        .mark_rect(clip=True, fillOpacity=0.35, strokeDash=[3, 2], strokeWidth=0.8)
        .encode(
            _time("ts_from", begin, end),
            alt.X2("ts_to:T"),
            alt.Fill("why:N", scale=scale, title="not known"),
            alt.Stroke("why:N", scale=scale, title="not known"),
            tooltip=_tooltip(why="not known", ts_from_text="from", ts_to_text="to"),
        )
    )


def _nothing() -> Any:  # noqa: ANN401  # altair's methods return Any
    """Say that there is nothing to draw."""
    words = alt.InlineData(values=[{"text": look.NOTHING}])
    x, y = alt.ExprRef("width / 2"), alt.ExprRef("height / 2")
    return alt.Chart(words).mark_text(x=x, y=y, fontSize=14, color=look.TEXT).encode(text="text:N")


def _tooltip(**titles: str) -> list[alt.Tooltip]:
    """What the pointer tells."""
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]


def _finished(chart: Any) -> Any:  # noqa: ANN401  # layers and concatenations, whose methods are the same
    """The look of all charts."""
    return (
        chart.configure(background="white", font="sans-serif")
        .configure_title(anchor="start", color=look.TEXT, fontSize=14)
        .configure_axis(labelColor=look.TEXT, titleColor=look.TEXT, gridColor=look.GRID, titleFontWeight="normal")
        .configure_legend(orient="bottom", labelColor=look.TEXT, titleColor=look.TEXT, titleFontWeight="normal")
        .configure_view(stroke=None)
    )


def book(heat: Heat, trades: pl.DataFrame, gaps: pl.DataFrame, *, symbol: str) -> alt.LayerChart:
    """The book over time: quantities as colours, best prices as lines, trades as triangles."""
    base, quote = look.units(symbol)
    begin, end = heat.edges[0], heat.edges[-1]
    price = f"price, {quote}"
    layers: list[alt.Chart] = []
    if heat.cells.height:
        layers += [_cells(heat, side, base, price) for side in ("ask", "bid")]
    best = heat.lines.unpivot(["bid", "ask"], index="ts", variable_name="side", value_name="price")
    layers.append(
        alt.Chart(_data(best))
        .mark_line(clip=True, interpolate="step-after", strokeWidth=1.4)
        .encode(
            _time("ts", begin, end),
            _price("price", heat.low, heat.high, price),
            alt.Color("side:N", scale=SIDES, title="best"),
            tooltip=_tooltip(side="best", price=price, ts_text="from"),
        )
    )
    marks = trades.with_columns(
        taker=pl.col("side").replace_strict({"buy": "bought", "sell": "sold"}, return_dtype=pl.String)
    )
    layers.append(
        alt.Chart(_data(marks))
        .mark_point(clip=True, filled=True, opacity=1, stroke="black", strokeWidth=0.4)
        .encode(
            _time("ts", begin, end),
            _price("price", heat.low, heat.high, price),
            alt.Shape(
                "taker:N",
                scale=alt.Scale(domain=["bought", "sold"], range=["triangle-up", "triangle-down"]),
                title="taker",
            ),
            alt.Color("taker:N", scale=alt.Scale(domain=["bought", "sold"], range=[look.BID, look.ASK]), title="taker"),
            alt.Size("qty:Q", scale=alt.Scale(range=[14, 200]), legend=None),
            tooltip=_tooltip(taker="taker", price=price, qty=f"quantity, {base}", trades="trades", ts_text="at"),
        )
    )
    if gaps.height:
        layers.append(_bands(gaps, begin, end))
    if heat.cells.is_empty():
        layers.append(_nothing())
    chart = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    chart = chart.properties(width=WIDTH, height=460, title=f"{symbol}: the book over time")
    return _finished(chart.add_params(alt.selection_interval(bind="scales")))  # type: ignore[no-any-return]  # as ``_finished`` says


def _cells(heat: Heat, side: str, base: str, price: str) -> Any:  # noqa: ANN401  # altair's methods return Any
    """Cells of one side; a quantity that lasts is one mark."""
    times = pl.Series("edge", heat.edges, dtype=pl.Int64).cast(look.TIMES)
    mine = heat.cells.filter(side=side).sort("row", "column")
    changed = (
        (pl.col("row") != pl.col("row").shift())
        | (pl.col("column") != pl.col("column").shift() + 1)
        | (pl.col("qty") != pl.col("qty").shift())
    )
    runs = (
        mine.with_columns(run=changed.fill_null(value=True).cum_sum())
        .group_by("run", maintain_order=True)
        .agg(pl.col("row", "qty").first(), first=pl.col("column").min(), last=pl.col("column").max() + 1)
    )
    frame = runs.select(
        ts_from=times.gather(runs["first"]),
        ts_to=times.gather(runs["last"]),
        low=heat.low + pl.col("row") * heat.height,
        high=heat.low + (pl.col("row") + 1) * heat.height,
        qty="qty",
    )
    least, most = (float(heat.cells["qty"].quantile(at) or 1) for at in (0.02, 0.998))
    scale = alt.Scale(
        type="log", scheme="blues" if side == "bid" else "oranges", domain=[least, max(most, least * 10)], clamp=True
    )
    return (
        alt.Chart(_data(frame))
        # Cells overlap a little: otherwise pale seams are between them.
        .mark_rect(clip=True, x2Offset=0.5, y2Offset=-0.5)
        .encode(
            _time("ts_from", heat.edges[0], heat.edges[-1]),
            alt.X2("ts_to:T"),
            _price("low", heat.low, heat.high, price),
            alt.Y2("high:Q"),
            alt.Color("qty:Q", scale=scale, title=f"{side}s, {base}"),
            tooltip=_tooltip(
                qty=f"quantity, {base}", low="price from", high="price to", ts_from_text="from", ts_to_text="to"
            ),
        )
    )


def spread(
    bins: pl.DataFrame, gaps: pl.DataFrame, *, symbol: str, begin: int, end: int, every: str
) -> alt.VConcatChart:
    """The spread over time: median as a line, smallest to largest as an area; below it the mid price."""
    _, quote = look.units(symbol)
    panels = []
    for name, colour, title, height in (
        ("spread", look.ASK, f"spread, {quote}", 220), ("mid", look.BID, f"mid price, {quote}", 150),
    ):  # fmt: skip
        facts = alt.Chart(_data(bins.select("ts", name, f"{name}_min", f"{name}_max"))).encode(_time("ts", begin, end))
        scale = alt.Scale(zero=name == "spread")
        area = facts.mark_area(clip=True, interpolate="step-after", color=colour, opacity=0.25).encode(
            alt.Y(f"{name}_min:Q", scale=scale, title=title), alt.Y2(f"{name}_max:Q")
        )
        told = {name: f"median {title}", f"{name}_min": "smallest", f"{name}_max": "largest", "ts_text": "from"}
        line = facts.mark_line(clip=True, interpolate="step-after", color=colour, strokeWidth=1.3).encode(
            alt.Y(f"{name}:Q", scale=scale, title=title), tooltip=_tooltip(**told)
        )
        layers = [area, line, *([_bands(gaps, begin, end)] if gaps.height else [])]
        if bins[name].is_null().all():
            layers.append(_nothing())
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=height))
    title = f"{symbol}: best ask minus best bid, a book every {every}"
    zoom = alt.selection_interval(name="zoom", bind="scales", encodings=["x"])
    with warnings.catch_warnings():
        # It says that both panels get one parameter, which is what is wanted: they are zoomed together.
        warnings.simplefilter("ignore", UserWarning)
        both = alt.vconcat(*panels, title=title).add_params(zoom)
    return _finished(both.resolve_scale(x="shared"))  # type: ignore[no-any-return]  # as ``_finished`` says


def ladder(rungs: pl.DataFrame, *, symbol: str, title: str, note: str | None) -> alt.HConcatChart:
    """The book at one time: a bar for each level, and a bar for all that lies up to it."""
    base, quote = look.units(symbol)
    order = rungs.sort("place", descending=True)["label"].to_list()
    panels = []
    for name, words, width, opacity in (
        ("qty", f"quantity at the price, {base}", WIDTH * 0.6, 1),
        ("total", f"sum from the best price on, {base}", WIDTH * 0.4, 0.4),
    ):  # fmt: skip
        # An axis of names shows each price, not a scale between them.
        axis = alt.Axis(title=f"price, {quote}") if name == "qty" else None
        panels.append(
            alt.Chart(_data(rungs))
            .mark_bar(opacity=opacity)
            .encode(
                alt.X(f"{name}:Q", title=words),
                alt.Y("label:N", sort=order, axis=axis),
                alt.Color("side:N", scale=SIDES, title="side"),
                tooltip=_tooltip(side="side", label=f"price, {quote}", qty=f"quantity, {base}", total=f"sum, {base}"),
            )
            .properties(width=width, height=max(120, 15 * rungs.height))
        )
    shown = title if note is None else f"{title}: {note}"
    return _finished(alt.hconcat(*panels, title=shown))  # type: ignore[no-any-return]  # as ``_finished`` says


def coverage(lanes: Lanes, *, begin: int, end: int) -> alt.LayerChart:
    """A lane for each symbol and channel: what is known, and why each gap began."""
    names = lanes.names.with_columns(
        name=pl.concat_str(
            "symbol", "channel", pl.col("share").map_elements(look.percent, return_dtype=pl.String), separator="  "
        )
    ).select("lane", "name")
    known = lanes.spans.with_columns(what=pl.lit("recorded"))
    gaps = lanes.gaps.with_columns(what=pl.col("reason").map_elements(look.reason, return_dtype=pl.String)).drop(
        "reason"
    )
    frame = pl.concat([known, gaps.select(known.columns)]).join(names, on="lane", maintain_order="left")
    marks = {look.reason(kind): colour for kind, (colour, _) in look.marks(lanes.gaps["reason"]).items()}
    kinds = [kind for kind in marks if kind in set(gaps["what"])]
    colours = [look.COVERED, *(marks[kind] for kind in kinds)]
    scale = alt.Scale(domain=["recorded", *kinds], range=colours)
    chart = (
        alt.Chart(_data(frame))
        .mark_bar(clip=True, height=12, strokeWidth=0.8)
        .encode(
            _time("ts_from", begin, end),
            alt.X2("ts_to:T"),
            alt.Y(
                "name:N",
                sort=names["name"].to_list(),
                title=None,
                axis=alt.Axis(ticks=False, domain=False, labelLimit=260),
            ),
            alt.Color("what:N", scale=scale, title=None),
            # The shortest gap can be seen as well.
            alt.Stroke("what:N", scale=scale, title=None),
            tooltip=_tooltip(name="of", what="state", ts_from_text="from", ts_to_text="to"),
        )
    )
    layered = alt.layer(chart).properties(
        width=WIDTH, height=18 * max(names.height, 3), title="What was recorded, and why it ended" + lanes.left_out
    )
    return _finished(layered.add_params(alt.selection_interval(bind="scales", encodings=["x"])))  # type: ignore[no-any-return]  # as ``_finished`` says


def queue(blocks: pl.DataFrame, *, symbol: str, title: str, note: str | None) -> alt.LayerChart:
    """Orders at each price, the first to be filled at the left; the darker, the longer an order waits."""
    base, quote = look.units(symbol)
    order = blocks.sort("place", descending=True)["label"].unique(maintain_order=True).to_list()
    frame = blocks.with_columns(until=pl.col("ahead") + pl.col("qty"), waits=pl.col("age").clip(0.001))
    least, most = (float(frame["waits"].min() or 0.001), float(frame["waits"].max() or 1))  # type: ignore[arg-type]  # a column of floats
    layers = []
    for side in ("ask", "bid"):
        scale = alt.Scale(
            type="log", scheme="blues" if side == "bid" else "oranges", domain=[least / 4, max(most, least * 10)]
        )
        layers.append(
            alt.Chart(_data(frame.filter(side=side)))
            .mark_bar(stroke="white", strokeWidth=0.7)
            .encode(
                alt.X("ahead:Q", title=f"quantity in the queue, {base}; the order at the left is filled first"),
                alt.X2("until:Q"),
                alt.Y("label:N", sort=order, title=f"price, {quote}"),
                alt.Color("waits:Q", scale=scale, title=f"age of {side}s, s"),
                tooltip=_tooltip(order_id="order", orders="orders", label=f"price, {quote}", qty=f"quantity, {base}",
                                 ahead=f"ahead, {base}", age="age, s"),
            )
        )  # fmt: skip
    shown = title if note is None else f"{title}: {note}"
    chart = alt.layer(*layers).resolve_scale(color="independent")
    chart = chart.properties(width=WIDTH, height=max(120, 22 * len(order)), title=shown)
    return _finished(chart)  # type: ignore[no-any-return]  # as ``_finished`` says

"""The report of a comparison as one HTML page, and its matches as a Parquet file.

matplotlib (``pip install krakpot[plot]``) draws the charts, which the page contains as SVG. Without matplotlib the page
has only tables, and says so. The page loads nothing from elsewhere.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from krakpot.compare.align import MATCHES
from krakpot.compare.report import Report
from krakpot.compare.text import duration, milliseconds, share
from krakpot.lake.format import storage_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MATCHES_FILE, PAGE_FILE = "matches.parquet", "report.html"
BINS = 120
"""Bars of a histogram, points of a line over time."""
RUNS_MAX = 2000
"""Disagreements drawn, the longest first."""
LANES_MAX = 30
"""Symbols in the chart of disagreements; each has one lane."""
LISTED_MAX = 50
"""Disagreements listed."""
BOOK, LEVEL3, MISSING, DEEP, WRONG = "#2f6f9f", "#d98032", "#c0392b", "#e0b034", "#1c2733"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 1100px; margin: 2em auto;
  padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: .2em } h2 { font-size: 1.15em; margin: 2em 0 .4em }
.facts { display: flex; flex-wrap: wrap; gap: 1em; margin: 1.2em 0 }
.fact { flex: 1 1 28%; border: 1px solid #d5dde5; border-radius: 6px; padding: .7em 1em }
.fact b { display: block; font-size: 1.5em; font-variant-numeric: tabular-nums }
.good b { color: #1e7d4f } .bad b { color: #c0392b }
table { border-collapse: collapse; width: 100%; font-size: .88em; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25em .6em; border-bottom: 1px solid #e6ebf0; white-space: nowrap }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #b9c4cf; font-weight: 600 }
.text { text-align: left }
.wide { overflow-x: auto } svg { width: 100%; height: auto } p.note, li { color: #4a5763 }
"""


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``matches.parquet`` and ``report.html`` into ``folder``; returns their paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        matches, page = folder / MATCHES_FILE, folder / PAGE_FILE
        report.top.matches.select(MATCHES).write_parquet(matches)
        page.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, "write the report", folder, "krakpot compare") from error
    return [matches, page]


def render(report: Report) -> str:
    """The HTML text of the page."""
    total = report.total()
    pictures = (
        _pictures(report) if find_spec("matplotlib") else ["<p>No charts: <code>pip install krakpot[plot]</code></p>"]
    )
    listed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in report.caveats())
    parts = [
        f"<h1>Level 3 and the book channel: {html.escape(Path(report.lake).name)}</h1>",
        f"<p class=note>{_span(report)}</p>",
        _facts(total),
        *pictures,
        "<h2>Symbols</h2>",
        (
            "<p class=note>A state is a distinct top ten. Latency by receive time in ms; positive means that the book "
            "channel is later than level 3.</p>"
        ),
        _symbols(report),
        "<h2>Latency by entries of the book message, and by hour (UTC)</h2>",
        _table(report.by_burst(), {"entries": "entries from", **_LATENCY}),
        _table(report.by_hour(), {"hour": "hour", **_LATENCY}),
        "<h2>Disagreements</h2>",
        _disagreements(report),
        "<h2>How to read this</h2>",
        f"<ul>{listed}</ul>",
    ]
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>Level 3 and the book channel</title>\n"
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


_LATENCY = {
    "pairs": "pairs", "median": "median ms", "p95": "95 % ms", "p99": "99 % ms", "min": "min ms", "max": "max ms",
    "level3_first": "level 3 first", "book_first": "book first",
}  # fmt: skip
_NS = {"median", "p95", "p99", "min", "max"}


def _span(report: Report) -> str:
    spans = report.spans
    if spans.is_empty():
        return "At no time were both books in sync."
    begin, end = (_cell("", time)[:19] for time in (spans["ts_from"].min(), spans["ts_to"].max()))
    return f"Both books in sync from {begin} to {end} UTC."


def _facts(total: dict[str, Any]) -> str:
    latency, seconds, full = total["latency"]["recv"], total["seconds"], total["full"]
    pairs = max(latency["pairs"], 1)
    first = "level3_first" if latency["level3_first"] >= latency["book_first"] else "book_first"
    who = "level 3" if first == "level3_first" else "the book channel"
    alone = duration(seconds["only_book"] + seconds["only_level3"])
    facts = [
        (share(total["share"]), f"of {total['book_states']:,} book states follow from orders", total["share"] == 1),
        (share(full["share"]), f"of {full['book_states']:,} by all common levels", full["share"] == 1),
        (f"{milliseconds(latency['median'])} ms", "median latency; positive: the book channel is later", None),
        (share(latency[first] / pairs), f"of {latency['pairs']:,} pairs: {who} is first", None),
        (duration(seconds["together"]), f"compared, summed over symbols; {alone} with only one book in sync", None),
        (f"{total['recurs'] + total['begins']:,}", "pairs left out of latency (see below)", None),
    ]  # fmt: skip
    classes = {True: "fact good", False: "fact bad", None: "fact"}
    return "<div class=facts>" + "".join(
        f'<div class="{classes[mark]}"><b>{value}</b>{html.escape(text)}</div>' for value, text, mark in facts
    ) + "</div>"  # fmt: skip


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name in _NS:
        return milliseconds(value if isinstance(value, (int, float)) else None)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]], *, text: int = 1) -> str:
    """An HTML table; its first ``text`` columns are words."""

    def line(cells: Iterable[str], tag: str) -> str:
        return "".join(f"<{tag}{' class=text' if i < text else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))

    body = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in rows)
    return f"<div class=wide><table><tr>{line(head, 'th')}</tr>\n{body}</table></div>"


def _table(frame: pl.DataFrame, names: dict[str, str]) -> str:
    rows = ([_cell(name, row[name]) for name in names] for row in frame.iter_rows(named=True))
    return _rows(names.values(), rows)


def _symbols(report: Report) -> str:
    head = ["symbol", "book states", "found", "only book", "only level 3", "in full", "median", "95 %", "99 %",
            "level 3 first", "median, exchange time", "disagree: top ten / all"]  # fmt: skip
    rows = []
    for symbol, facts in report.symbols().items():
        recv, event = (
            facts["latency"][kind] or dict.fromkeys([*_NS, "pairs", "level3_first"]) for kind in ("recv", "event")
        )
        first = recv["level3_first"] / recv["pairs"] if recv["pairs"] else None
        rows.append(
            [html.escape(symbol), f"{facts['book_states']:,}", share(facts["share"]), f"{facts['only_book']:,}"]
            + [f"{facts['only_level3']:,}", share(facts["full"]["share"])]
            + [milliseconds(recv[name]) for name in ("median", "p95", "p99")]
            + [share(first), milliseconds(event["median"])]
            + [f"{facts['disagreements']:,} / {facts['full']['disagreements']:,}"]
        )
    return _rows(head, rows)


def _disagreements(report: Report) -> str:
    """The longest runs, and books that were wrong, with their places."""
    parts = []
    if report.broken.height:
        names = {"symbol": "symbol", "channel": "channel", "reason": "ended by", "ts": "received (UTC)"}
        names |= {"session": "session", "message": "message"}
        parts += ["<p class=note>Books with a wrong checksum while the other book was in sync:</p>"]
        parts += [_table(report.broken.head(LISTED_MAX), names)]
    for runs, what in ((report.runs, "The top ten levels"), (report.runs_full, "All common levels")):
        if runs.is_empty():
            parts.append(f"<p class=note>{what}: none.</p>")
            continue
        worst = _worst(runs, LISTED_MAX).with_columns(
            lasted=(pl.col("ts_to") - pl.col("ts_from")).dt.total_nanoseconds() / 1e6
        )
        names = {"symbol": "symbol", "ts_from": "from (UTC)", "lasted": "ms", "states": "states"}
        names |= {"session": "book session", "message": "message", "level3_message": "after level 3 message"}
        shown = worst.with_columns(pl.col("lasted").round(3).cast(pl.String))
        parts.append(f"<p class=note>{what}: {runs.height:,}; the longest:</p>{_table(shown, names)}")
    return "".join(parts)


def _worst(runs: pl.DataFrame, number: int) -> pl.DataFrame:
    return runs.sort(pl.col("ts_to") - pl.col("ts_from"), descending=True, maintain_order=True).head(number)


def _pictures(report: Report) -> list[str]:
    matches = report.top.matches.filter("clear")
    parts = []
    if matches.height:
        parts += ["<h2>Latency</h2>", _figure(lambda figure: _histograms(figure, matches), height=3.4)]
        parts += ["<h2>Lead over time</h2>", _figure(lambda figure: _lead(figure, matches), height=3.2)]
    lanes = _lanes(report)
    note = (
        ""
        if len(lanes) == len(report.depths)
        else f" {len(lanes)} of {len(report.depths)} symbols: those that disagree most."
    )
    parts += [
        "<h2>Disagreements over time</h2>",
        f"<p class=note>Grey: only one book is in sync, nothing is compared.{note}</p>",
        _figure(lambda figure: _timeline(figure, report, lanes), height=0.9 + 0.22 * len(lanes)),
    ]
    return parts


def _figure(draw: Callable[[Figure], None], *, height: float) -> str:
    """A drawing as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  # optional, and slow to load

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice above

    style: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9.5,
        "svg.fonttype": "none",
    }
    style |= {"font.family": "sans-serif", "axes.grid": True, "grid.color": "#e6ebf0", "axes.axisbelow": True}
    with mpl.rc_context(style):
        figure = plt.figure(figsize=(10.5, height), constrained_layout=True)
        draw(figure)
        image = io.StringIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
        plt.close(figure)
    return image.getvalue().partition("<svg")[1] + image.getvalue().partition("<svg")[2]


def _histograms(figure: Figure, matches: pl.DataFrame) -> None:
    """Latency by receive time and by exchange time, without the outer half percent at either end."""
    axes = figure.subplots(1, 2)
    for axis, column, title in (
        (axes[0], "latency_recv", "by receive time"), (axes[1], "latency_event", "by exchange time"),
    ):  # fmt: skip
        values = (matches[column].drop_nulls() / 1e6).sort()
        axis.set_title(title, loc="left")
        axis.set_xlabel("ms; right of 0 the book channel is later")
        axis.set_ylabel("pairs")
        if values.is_empty():
            continue
        low, high = (float(values.quantile(at) or 0) for at in (0.005, 0.995))
        margin = max((high - low) * 0.05, 0.05)
        shown = values.filter(values.is_between(low - margin, high + margin))
        axis.hist(shown.to_list(), bins=BINS, color=BOOK, linewidth=0)
        axis.axvline(0, color="#1c2733", linewidth=0.8)
        median, p95 = (float(values.quantile(at) or 0) for at in (0.5, 0.95))
        axis.axvline(median, color=LEVEL3, linewidth=1.4, label=f"median {median:,.3f}")
        axis.axvline(p95, color=LEVEL3, linewidth=1.2, linestyle=":", label=f"95 % {p95:,.3f}")
        axis.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _lead(figure: Figure, matches: pl.DataFrame) -> None:
    """Median, 5 % and 95 % quantile of each time step."""
    axis = figure.subplots()
    times = matches["book_ts_recv"]
    first, last = times.min(), times.max()
    assert isinstance(first, datetime), "there are pairs"
    assert isinstance(last, datetime), "there are pairs"
    step = max((last - first) / BINS, timedelta(milliseconds=1))
    lag = pl.col("latency_recv") / 1e6
    lines = (
        matches.group_by(pl.col("book_ts_recv").dt.truncate(step).alias("time"))
        .agg(lag.quantile(0.05).alias("low"), lag.median().alias("median"), lag.quantile(0.95).alias("high"))
        .sort("time")
    )
    when = lines["time"].to_list()
    axis.fill_between(
        when, lines["low"].to_list(), lines["high"].to_list(), color=BOOK, alpha=0.2, linewidth=0, label="5 to 95 %"
    )
    axis.plot(when, lines["median"].to_list(), color=BOOK, linewidth=1.4, label="median")
    axis.axhline(0, color="#1c2733", linewidth=0.8)
    axis.set_ylabel("ms; above 0 the book channel is later")
    axis.set_xlabel("received, UTC")
    axis.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _lanes(report: Report) -> list[str]:
    """Symbols to draw: those with the most disagreements, then the busiest."""
    symbols = report.symbols()
    order = sorted(
        symbols,
        key=lambda s: (
            -symbols[s]["disagreements"] - symbols[s]["full"]["disagreements"],
            -symbols[s]["book_states"],
            s,
        ),
    )
    return order[:LANES_MAX]


def _timeline(figure: Figure, report: Report, lanes: list[str]) -> None:
    """One lane per symbol: compared, not compared, and where the two disagree."""
    axis = figure.subplots()
    known = pl.concat([channel.spans.select("symbol", "ts_from", "ts_to") for channel in (report.book, report.derived)])
    first, last = known["ts_from"].min(), known["ts_to"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return
    # A mark must be wide enough to be visible.
    least = (last - first) / 400
    for frame, colour, label, thin in (
        (known, "#d5dde5", "only one in sync", True),
        (report.spans, "#9fc5b1", "compared, the same", True),
        (_worst(report.runs_full, RUNS_MAX), DEEP, "differ below the top ten", False),
        (_worst(report.runs, RUNS_MAX), MISSING, "top ten levels differ", False),
        (report.broken.select("symbol", ts_from="ts", ts_to="ts").head(RUNS_MAX), WRONG, "a checksum was wrong", False),
    ):
        told = label
        for lane, symbol in enumerate(reversed(lanes)):
            rows = frame.filter(pl.col("symbol") == symbol).select("ts_from", "ts_to").rows()
            bars = [(begin, end - begin if thin else max(end - begin, least)) for begin, end in rows]
            if bars:
                axis.broken_barh(bars, (lane - 0.35, 0.7), facecolors=colour, linewidth=0, label=told)
                told = ""
    axis.set_yticks(range(len(lanes)), list(reversed(lanes)))
    axis.set_xlim(first, last)  # type: ignore[arg-type]  # matplotlib accepts datetimes
    axis.set_xlabel("received, UTC")
    axis.grid(visible=False)
    axis.legend(frameon=False, ncols=5, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1))

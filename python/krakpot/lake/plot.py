"""Pictures of a lake: ``Lake.plot``. It reads the frames, ``krakpot.view`` draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import polars as pl

from krakpot import _core, values
from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.lake.format import BOOK_KINDS, UNREADABLE, storage_error, unreadable
from krakpot.lake.queue import OrdersAt
from krakpot.lake.recorded import depth_of
from krakpot.lake.sample import BookAt, By, check_depth, one_of
from krakpot.values import Instant, Time, shown, step_text, time_range
from krakpot.view import coverage as coverage_view
from krakpot.view import gaps, look
from krakpot.view import heat as heat_view
from krakpot.view import ladder as ladder_view
from krakpot.view import spread as spread_view

T = TypeVar("T")
FILES = {False: (".png", ".svg", ".pdf"), True: (".html", ".json")}
"""Endings of files: of static pictures, and of interactive ones."""
FURTHER = 5
"""How many times as many levels are read as decide how far the prices reach: the others lie there at some times."""
BOOKS_PER_COLUMN = 10
"""Books of which a column of the picture of spreads is made."""
EXTRAS = {False: ("matplotlib", "plot"), True: ("altair", "interactive")}
"""What draws static and interactive pictures, and the extra of krakpot that installs it."""
PAGES = "vl_convert"
"""What puts into an .html page all that it needs."""
SHORTEST = 1_000_000
"""The shortest time of a picture, ns: matplotlib cannot tell times of much less apart."""


class Source(Protocol):
    """What a picture needs of a lake: some of its methods, and what it hands them."""

    @property
    def path(self) -> Path:
        """The folder."""

    def matching(self, wanted: str | Iterable[str], /) -> list[str]:
        """See ``Folder``."""

    def coverage(self, symbols: str | Iterable[str] | None = None, /) -> pl.DataFrame:
        """See ``Lake``."""

    def scan(self, table: str, symbol: str, start: Time, end: Time, /, *, numbers: Literal["float"]) -> pl.LazyFrame:
        """See ``Lake``."""

    def book_at(
        self, symbol: str, at: Time, /, *, depth: int, by: By, channel: str, numbers: Literal["float"]
    ) -> BookAt:
        """See ``Lake``."""

    def orders_at(self, symbol: str, at: Time, /, *, depth: int, by: By, numbers: Literal["float"]) -> OrdersAt:
        """See ``Lake``."""

    def books(
        self, symbol: str, start: Time, end: Time, /, *, every: str, depth: int, channel: str, numbers: Literal["float"]
    ) -> pl.DataFrame:
        """See ``Lake``."""


class Plot:
    """Pictures of a lake.

    Each method returns a figure of matplotlib, which needs ``pip install 'krakpot[plot]'``, or with
    ``interactive=True`` a chart of altair, which needs ``pip install 'krakpot[interactive]'``. ``save`` is the name of
    a file to write as well: ``.png``, ``.svg`` or ``.pdf``; interactive ``.html`` (a page that works without a network)
    or ``.json`` (Vega-Lite). Times are receive times, UTC. What was not recorded is a hatched band with the reason, and
    no line goes across it.

    Examples
    --------
    >>> lake.plot.book("BTC/USD", "2026-11-22T10:00", "2026-11-22T10:05", save="book.png")    # doctest: +SKIP

    """

    def __init__(self, lake: Source) -> None:
        """Draw this lake."""
        self._lake = lake

    def book(
        self,
        symbol: str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        depth: int = 50,
        channel: str = "book",
        interactive: bool = False,
        save: str | Path | None = None,
    ) -> Any:
        """The book over time: quantities as colours, best bid and ask as lines, trades as triangles.

        Parameters
        ----------
        symbol
            The pair.
        start, end
            Range of receive times, [start, end); None: all that is known.
        depth
            How far the prices reach from the best ones: as far as so many levels of a side do at most times.
        channel
            ``"book"``, or ``"level3"`` for the book that follows from the orders.
        interactive, save
            As for all pictures: see the class.

        Returns
        -------
        matplotlib.figure.Figure or altair.LayerChart
            A column is the book at its begin. Of very many trades those of a short time are one triangle.

        Raises
        ------
        ConfigError
            For a symbol, time or option that does not exist, and if the library that draws is not installed.
        StorageError
            If a part cannot be read, or the file cannot be written.

        Examples
        --------
        >>> lake.plot.book("BTC/USD", "2026-11-22T10:00", "2026-11-22T10:05", interactive=True)    # doctest: +SKIP

        """
        file = picture_file(save, interactive=interactive)
        values.read(values.whole_number(1, _core.LIMITS["DEPTH_MAX"]), depth, "depth")
        begin, until, holes = self._range(symbol, channel, start, end)
        every = _step(begin, until, look.CHART_COLUMNS if interactive else look.COLUMNS)
        read = self._deepest(symbol, channel, min(depth * FURTHER, _core.LIMITS["DEPTH_MAX"]))
        books = self._lake.books(
            symbol, begin, until, every=step_text(every), depth=read, channel=channel, numbers="float"
        )
        holes = gaps.unknown(books, holes, until)
        rows = look.CHART_ROWS if interactive else look.ROWS
        heat = heat_view.heat(books, holes, until, rows=rows, near=depth)
        trades = self._lake.scan("trades", symbol, begin, until, numbers="float").filter(kind="update")
        try:
            marks = heat_view.trade_marks(trades, begin, until)
        except UNREADABLE as error:
            unreadable(self._lake.path, error)
        if interactive:
            from krakpot.view import charts

            return _saved(charts.book(heat, marks, holes, symbol=symbol), charts.write, file)
        from krakpot.view import figures

        return _saved(figures.book(heat, marks, holes, symbol=symbol), figures.write, file)

    def spread(
        self,
        symbol: str,
        start: Time | None = None,
        end: Time | None = None,
        *,
        channel: str = "book",
        interactive: bool = False,
        save: str | Path | None = None,
    ) -> Any:
        """Best ask minus best bid over time, and the mid price.

        Parameters
        ----------
        symbol, start, end, channel
            As for ``book``.
        interactive, save
            As for all pictures: see the class.

        Returns
        -------
        matplotlib.figure.Figure or altair.VConcatChart
            The line is the median of the books in a column, the area reaches from the smallest to the largest. The
            title says how often a book was taken.

        Raises
        ------
        ConfigError
            As ``book``.
        StorageError
            As ``book``.

        Examples
        --------
        >>> lake.plot.spread("BTC/USD", "2026-11-22", "2026-11-23", save="spread.svg")    # doctest: +SKIP

        """
        file = picture_file(save, interactive=interactive)
        begin, until, holes = self._range(symbol, channel, start, end)
        columns = look.COLUMNS
        every = _step(begin, until, columns * BOOKS_PER_COLUMN)
        books = self._lake.books(
            symbol, begin, until, every=step_text(every), depth=1, channel=channel, numbers="float"
        )
        holes = gaps.unknown(books, holes, until)
        bins = spread_view.bins(books, holes, begin, until, columns=columns)
        facts: dict[str, Any] = {"symbol": symbol, "begin": begin, "end": until, "every": look.duration(every)}
        if interactive:
            from krakpot.view import charts

            return _saved(charts.spread(bins, holes, **facts), charts.write, file)
        from krakpot.view import figures

        return _saved(figures.spread(bins, holes, **facts), figures.write, file)

    def ladder(
        self,
        symbol: str,
        at: Time,
        *,
        depth: int = 20,
        by: By = "recv",
        channel: str = "book",
        interactive: bool = False,
        save: str | Path | None = None,
    ) -> Any:
        """The book at one time: a bar for each level, and a line for the sum from the best price on.

        Parameters
        ----------
        symbol, at, depth, by, channel
            As for ``Lake.book_at``.
        interactive, save
            As for all pictures: see the class.

        Returns
        -------
        matplotlib.figure.Figure or altair.HConcatChart
            Asks above, bids below. If there is no book, the picture says why.

        Raises
        ------
        ConfigError
            As ``book``.
        StorageError
            As ``book``.

        Examples
        --------
        >>> lake.plot.ladder("BTC/USD", "2026-11-22T10:00:00.250", depth=10)    # doctest: +SKIP

        """
        file = picture_file(save, interactive=interactive)
        found = self._lake.book_at(
            symbol, at, depth=self._deepest(symbol, channel, depth), by=by, channel=channel, numbers="float"
        )
        note = None if found.reason is None else found.lines()[0].partition(": ")[2]
        facts: dict[str, Any] = {"symbol": symbol, "title": f"{symbol} at {look.time(found.at)}", "note": note}
        rungs = ladder_view.rungs(found.levels)
        if interactive:
            from krakpot.view import charts

            return _saved(charts.ladder(rungs, **facts), charts.write, file)
        from krakpot.view import figures

        return _saved(figures.ladder(rungs, **facts), figures.write, file)

    def queue(
        self,
        symbol: str,
        at: Time,
        *,
        depth: int = 10,
        by: By = "recv",
        interactive: bool = False,
        save: str | Path | None = None,
    ) -> Any:
        """The orders of level 3 at one time: a block for each, in the order in which they are filled.

        Parameters
        ----------
        symbol, at, depth, by
            As for ``Lake.orders_at``.
        interactive, save
            As for all pictures: see the class.

        Returns
        -------
        matplotlib.figure.Figure or altair.LayerChart
            Asks above, bids below; the order at the left is filled first; the darker, the older. Behind the sixtieth
            order of a price, all others are one block. If there is no book, the picture says why.

        Raises
        ------
        ConfigError
            As ``book``.
        StorageError
            As ``book``.

        Examples
        --------
        >>> lake.plot.queue("BTC/USD", "2026-11-22T10:00:00.250", depth=5)    # doctest: +SKIP

        """
        file = picture_file(save, interactive=interactive)
        found = self._lake.orders_at(symbol, at, depth=self._deepest(symbol, "level3", depth), by=by, numbers="float")
        note = None if found.reason is None else found.lines()[0].partition(": ")[2]
        title = f"{symbol} at {look.time(found.at)}: every order"
        blocks = ladder_view.blocks(found.orders, depth)
        if interactive:
            from krakpot.view import charts

            return _saved(charts.queue(blocks, symbol=symbol, title=title, note=note), charts.write, file)
        from krakpot.view import figures

        return _saved(figures.queue(blocks, symbol=symbol, title=title, note=note), figures.write, file)

    def coverage(
        self,
        symbols: str | Iterable[str] | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        channel: str | None = None,
        interactive: bool = False,
        save: str | Path | None = None,
    ) -> Any:
        """What was recorded, a lane for each symbol and channel, and why each gap began.

        Parameters
        ----------
        symbols
            One symbol or pattern (``"BTC/*"``), several of them, or None for all.
        start, end
            Range of receive times, [start, end); None: all that is known.
        channel
            Only this one.
        interactive, save
            As for all pictures: see the class.

        Returns
        -------
        matplotlib.figure.Figure or altair.LayerChart
            At the right the share of the time that is covered. Of more than 40 lanes those with the least coverage.

        Raises
        ------
        ConfigError
            As ``book``.
        StorageError
            As ``book``.

        Examples
        --------
        >>> lake.plot.coverage("BTC/*", channel="book", save="coverage.png")    # doctest: +SKIP

        """
        file = picture_file(save, interactive=interactive)
        frame = self._lake.coverage(symbols)
        if channel is not None:
            one_of("channel", channel, tuple(_core.CHANNELS))
            frame = frame.filter(channel=channel)
        begin, until = _bounds(frame, start, end, self._lake.path)
        found = coverage_view.lanes(frame, begin, until)
        if interactive:
            from krakpot.view import charts

            return _saved(charts.coverage(found, begin=begin, end=until), charts.write, file)
        from krakpot.view import figures

        return _saved(figures.coverage(found, begin=begin, end=until), figures.write, file)

    def _deepest(self, symbol: str, channel: str, depth: int) -> int:
        """So many levels, or as many as were recorded."""
        check_depth(depth)
        recorded = depth_of(Folder(self._lake.path), [symbol], channel)
        return depth if recorded is None else min(depth, recorded)

    def _range(self, symbol: str, channel: str, start: Time | None, end: Time | None) -> tuple[int, int, pl.DataFrame]:
        """Begin and end of a picture of one symbol, ns, and its gaps."""
        self._lake.matching(values.read(values.symbol, symbol, "symbol"))
        one_of("channel", channel, tuple(kind.channel for kind in BOOK_KINDS))
        spans = self._lake.coverage().filter(channel=channel, symbol=symbol)
        if spans.is_empty():
            raise ConfigError(f"the lake has no {channel} of {symbol}, so there is nothing to draw: {self._lake.path}")
        begin, until = _bounds(spans, start, end, self._lake.path)
        return begin, until, gaps.between(spans, begin, until)


def _bounds(spans: pl.DataFrame, start: Time | None, end: Time | None, path: Path) -> tuple[int, int]:
    """Begin and end of a picture, ns."""
    begin, until = time_range(start, end)
    if spans.is_empty():
        raise ConfigError(f"nothing of that is recorded in this lake, so there is nothing to draw: {path}")
    known = spans.select(pl.col("ts_from").min().cast(pl.Int64), pl.col("ts_to").max().cast(pl.Int64)).row(0)
    begin, until = (known[0] if begin is None else begin), (known[1] if until is None else until)
    if until - begin < SHORTEST:
        times = f"{look.time(known[0])} to {look.time(known[1])}"
        raise ConfigError(f"start and end leave less than a millisecond to draw; known is {times}")
    return Instant(begin), Instant(until)


def _step(begin: int, end: int, columns: int) -> int:
    """Width of a column, ns."""
    return -(-(end - begin) // columns)


def picture_file(save: str | Path | None, option: str = "save", *, interactive: bool) -> Path | None:
    """The file to write; ``ConfigError`` before any work if it cannot be, or if the library that draws is missing."""
    library, extra = EXTRAS[interactive]
    if not find_spec(library):
        raise ConfigError(f"this picture needs {library}: pip install 'krakpot[{extra}]'")
    if save is None:
        return None
    file = values.read(values.file, save, option)
    if file.suffix == ".html" and not find_spec(PAGES):
        raise ConfigError("a page needs vl-convert-python: pip install 'krakpot[interactive]'")
    if file.suffix not in FILES[interactive]:
        ends = values.alternatives(FILES[interactive])
        kind = "an interactive picture" if interactive else "a picture"
        other = f"; or give interactive={not interactive}" if file.suffix in FILES[not interactive] else ""
        raise ConfigError(
            f"{option}: {shown(str(save))} is not allowed; allowed for {kind} is a name that ends in {ends}{other}"
        )
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise ConfigError(f"{option}: {file} cannot be written; name a file in a folder that exists")
    return file


def _saved(drawn: T, write: Callable[[T, Path], None], file: Path | None) -> T:
    """The picture, written to the file if there is one."""
    if file is not None:
        try:
            write(drawn, file)
        except OSError as error:
            raise storage_error(error, "write the picture", file) from error
    return drawn

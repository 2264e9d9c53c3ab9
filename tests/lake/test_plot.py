"""Pictures of a lake: what is read for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import frames
import lakes
from krakpot.errors import ConfigError, StorageError
from krakpot.lake import plot as module
from krakpot.lake.lake import Lake

pytest.importorskip("matplotlib")
pytest.importorskip("altair")

SECOND = frames.SECOND


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two sessions of eight seconds, five seconds apart."""
    path = tmp_path_factory.mktemp("plot") / "lake"
    for number in range(2):
        begin = frames.START + number * 13 * SECOND
        lakes.make(path, lakes.market(400, begin=begin, seed=number), session=lakes.session_name(begin))
    return Lake(path)


def pieces(line: Any) -> int:
    """How many pieces a line has."""
    known = np.isfinite(line.get_ydata().astype(float))
    return int(np.count_nonzero(known & ~np.concatenate([[False], known[:-1]])))


@pytest.mark.parametrize("channel", ["book", "spread"])
def test_no_line_goes_over_the_time_between_two_recordings(lake: Lake, channel: str) -> None:
    """There is a hatched band in which the legend says why."""
    picture = getattr(lake.plot, channel)("BTC/USD")
    assert {pieces(line) for line in picture.axes[0].get_lines()} == {2}
    words = [text.get_text() for text in picture.legends[0].get_texts()]
    assert "recording ended" in words


def test_a_gap_that_is_shorter_than_a_column_breaks_the_lines(lake: Lake) -> None:
    """Books are taken once a column: coverage is what knows of the gap."""
    # A column is six seconds; one begins half a second before the gap, the next half a second behind it.
    start = frames.START + 7 * SECOND + SECOND // 2 - 300 * 6 * SECOND
    picture = lake.plot.book("BTC/USD", start, start + 400 * 6 * SECOND)
    assert [pieces(line) for line in picture.axes[0].get_lines()] == [2, 2]
    hatched = [one for one in picture.axes[0].collections if one.get_hatch()]
    assert {one.get_label() for one in hatched} == {"not begun yet", "recording ended (2)"}
    assert len({(str(one.get_edgecolor()), one.get_hatch()) for one in hatched}) == 2, "each reason looks its own way"


@pytest.mark.filterwarnings("ignore:nothing of this range was recorded")
def test_a_range_without_anything_says_so(lake: Lake) -> None:
    """In place of an axis whose numbers mean nothing."""
    for draw in (lake.plot.book, lake.plot.spread):
        picture = draw("BTC/USD", "2027-01-01", "2027-01-02")
        for axes in picture.axes:
            assert [one.get_text() for one in axes.texts] == ["there is nothing in this range"]
            assert len(axes.get_yticks()) == 0


def test_a_book_without_trades_is_a_picture_too(tmp_path: Path) -> None:
    """Trades are marks on it, and need not have been recorded; asked for by themselves they are an error."""
    path = tmp_path / "lake"
    others = (timed for timed in lakes.market(200) if b'"trade"' not in timed[1] and b'"ohlc"' not in timed[1])
    lakes.make(path, others)
    books = Lake(path)
    with pytest.raises(ConfigError, match="the channel trade of BTC/USD was not recorded; recorded: book"):
        books.trades("BTC/USD")
    with pytest.raises(ConfigError, match="the channel ohlc of BTC/USD was not recorded; recorded: book"):
        books.ohlc("BTC/USD")
    assert books.plot.book("BTC/USD")


def test_a_page_is_interactive(lake: Lake) -> None:
    """The other kind of picture is named."""
    for name, interactive in (("a.html", False), ("a.png", True)):
        with pytest.raises(ConfigError, match=f"or give interactive={not interactive}$"):
            lake.plot.book("BTC/USD", save=name, interactive=interactive)


def test_the_cells_are_the_book_at_the_begin_of_their_column(lake: Lake) -> None:
    """Level by level, as ``Lake.books`` has them."""
    begin, end = frames.START + SECOND, frames.START + 5 * SECOND
    picture = lake.plot.book("BTC/USD", begin, end, depth=10)
    step = (end - begin) // 400
    books = lake.books("BTC/USD", begin, end, every=f"{step}ns", numbers="float")
    meshes = [one.get_array() for one in picture.axes[0].collections if type(one).__name__ == "QuadMesh"]
    drawn = sum(float(np.nansum(np.ma.filled(mesh, np.nan))) for mesh in meshes)
    low, high = picture.axes[0].get_ylim()
    shown = 0.0
    for side in ("bid", "ask"):
        for level in range(10):
            price, qty = pl.col(f"{side}_price_{level}"), pl.col(f"{side}_qty_{level}")
            shown += books.select(qty.filter(price.is_between(low, high)).sum()).item()
    assert shown > 0
    assert drawn == pytest.approx(shown)


def test_a_ladder_is_the_book_at_its_time(lake: Lake) -> None:
    """And where there is none the picture says why, as ``Lake.book_at`` does."""
    at = frames.START + 3 * SECOND
    found = lake.book_at("BTC/USD", at, depth=5, numbers="float").levels
    bars = lake.plot.ladder("BTC/USD", at, depth=5).axes[0].patches
    assert [bar.get_width() for bar in bars] == [*found["ask_qty"], *found["bid_qty"].reverse()]
    nothing = lake.plot.ladder("BTC/USD", frames.START + 11 * SECOND)
    assert [text.get_text() for text in nothing.axes[0].texts] == ["there is no book: the recording had ended"]


def test_a_queue_has_the_orders_of_its_time(tmp_path: Path) -> None:
    """As ``Lake.orders_at`` has them; before the first snapshot the picture says that there is none."""
    lakes.make(tmp_path / "lake", lakes.market(200, level3=True))
    opened = Lake(tmp_path / "lake")
    at = frames.START + 3 * SECOND
    orders = opened.orders_at("BTC/USD", at, depth=4, numbers="float").orders
    assert orders.height > 4
    bars = opened.plot.queue("BTC/USD", at, depth=4).axes[0].patches
    assert sorted(bar.get_width() for bar in bars) == pytest.approx(sorted(orders["qty"]))
    described = opened.plot.queue("BTC/USD", at, depth=4, interactive=True).to_dict()
    assert len(described["layer"]) == 2
    nothing = opened.plot.queue("BTC/USD", frames.START - SECOND)
    assert "no book was known yet" in nothing.axes[0].texts[0].get_text()


def test_coverage_takes_patterns_and_one_channel(lake: Lake) -> None:
    """As all methods of a lake do."""
    everything = lake.plot.coverage()
    assert len(everything.axes[0].get_yticks()) == lake.coverage().select("symbol", "channel").n_unique()
    some = lake.plot.coverage(["BTC/*"], channel="trade")
    assert [text.get_text() for text in some.axes[0].get_yticklabels()] == ["BTC/USD  trade"]


@pytest.mark.parametrize("picture", ["book", "spread", "coverage"])
def test_interactive_pictures_show_the_same_gap(lake: Lake, picture: str, tmp_path: Path) -> None:
    """With its reason for the pointer."""
    chart = getattr(lake.plot, picture)("BTC/USD", interactive=True, save=tmp_path / "chart.json")
    text = (tmp_path / "chart.json").read_text()
    assert "recording ended" in text
    assert chart.to_dict()


def test_the_ladder_is_interactive_too(lake: Lake) -> None:
    """Each level once, in both panels."""
    described = lake.plot.ladder("BTC/USD", frames.START + 3 * SECOND, depth=3, interactive=True).to_dict()
    assert len(described["hconcat"][0]["encoding"]["y"]["sort"]) == 6


@pytest.mark.parametrize("interactive", [False, True])
def test_a_time_without_any_book_is_a_picture_of_its_gap(lake: Lake, interactive: bool) -> None:
    """From one recording to the next nothing is known: no error, and no line."""
    start, end = frames.START + 9 * SECOND, frames.START + 12 * SECOND
    # The shortest time is a picture too.
    lake.plot.book("BTC/USD", start, start + 1_000_000, interactive=interactive)
    for picture in (lake.plot.book, lake.plot.spread):
        drawn = picture("BTC/USD", start, end, interactive=interactive)
        if interactive:
            assert "recording ended" in drawn.to_json()
        else:
            assert not any(pieces(line) for line in drawn.axes[0].get_lines())
            assert "recording ended" in [text.get_text() for text in drawn.legends[0].get_texts()]


def test_a_missing_library_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it, before anything is read."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs matplotlib: pip install 'krakpot\[plot\]'"):
        lake.plot.book("BTC/USD")
    with pytest.raises(ConfigError, match=r"needs altair: pip install 'krakpot\[interactive\]'"):
        lake.plot.coverage(interactive=True)
    monkeypatch.setattr(module, "find_spec", lambda name: name != "vl_convert")
    with pytest.raises(ConfigError, match="a page needs vl-convert-python: pip install"):
        lake.plot.coverage(interactive=True, save="page.html")


def test_what_cannot_be_drawn_is_one_sentence(lake: Lake, tmp_path: Path) -> None:
    """It names what is wrong, and what exists."""
    plot = lake.plot
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: plot.book("BTC/USX"), "did you mean BTC/USD"),
        (lambda: plot.book("BTC/*"), "allowed is one pair"),
        (lambda: plot.book("BTC/USD", depth=0), "depth: 0 is not allowed; allowed is a whole number from 1 to 1000"),
        (lambda: plot.book("BTC/USD", channel="trade"), "channel='trade'; allowed: 'book', 'level3'"),
        (lambda: plot.book("BTC/USD", channel="level3"), "the lake has no level3 of BTC/USD, so there is nothing"),
        (
            lambda: plot.spread("BTC/USD", "2030-01-01"),
            "start and end leave less than a millisecond to draw; known is 2026-08-02",
        ),
        (lambda: plot.coverage(channel="x"), "channel='x'; allowed: 'book', 'trade'"),
        (lambda: plot.coverage(channel="level3"), "nothing of that is recorded in this lake"),
        (lambda: plot.coverage(save="a.jpg"), "save: 'a.jpg' is not allowed; allowed for a picture is a name that"),
        (lambda: plot.coverage(interactive=True, save="a.png"), "allowed for an interactive picture is a name that"),
        (lambda: plot.coverage(save=tmp_path / "none" / "a.png"), "name a file in a folder that exists"),
    ]
    for call, sentence in calls:
        with pytest.raises(ConfigError) as caught:
            call()
        assert sentence in str(caught.value)


def test_a_file_that_cannot_be_written_is_said(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture was drawn, the disk is full."""
    from krakpot.view import figures

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "write", full)
    with pytest.raises(StorageError, match="cannot write the picture: the disk is full"):
        lake.plot.coverage(save=tmp_path / "a.png")

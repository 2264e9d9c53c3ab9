"""The page of a comparison: whole, readable without a network, and the same numbers as the report."""

from __future__ import annotations

import html.parser
from functools import cache
from pathlib import Path

import polars as pl
import pytest

import channels
from channels import MS
from krakpot.compare import compare
from krakpot.compare import html as compare_page
from krakpot.compare.align import MATCHES
from krakpot.compare.report import Report
from krakpot.compare.text import lines, milliseconds
from krakpot.errors import StorageError


@cache
def market() -> channels.Channels:
    """Some seconds of three symbols, the book channel conflated and late."""
    return channels.run(book=(5 * MS, 0, 20 * MS), seconds=10, rate=600.0)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """A comparison that found something wrong: one level-3 message in the middle is missing."""
    last = len(market().level3) // 2
    channels.record(tmp_path / "lake", market(), drop=[last, last + 1])
    return compare.compare(tmp_path / "lake")


class Page(html.parser.HTMLParser):
    """What stands in a page: tags that are open, words, addresses that it would fetch."""

    VOID = ("meta", "br", "path", "use", "rect", "image")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.fetched += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "use")]
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone_and_tells_the_numbers(report: Report, tmp_path: Path) -> None:
    """Every symbol with its counts, the disagreement with its place, pictures, nothing to be fetched."""
    matches, page = compare_page.write(report, tmp_path / "out")
    text = page.read_text()
    told = Page(text)
    words = "".join(told.words)
    assert told.seen.count("svg") == 3
    assert told.open == []
    assert told.fetched == []
    for symbol, facts in report.symbols().items():
        assert symbol in words
        assert f"{facts['book_states']:,}" in words
    assert milliseconds(report.total()["latency"]["recv"]["median"]) in words
    assert report.broken.height + report.runs.height + report.runs_full.height > 0
    for frame in (report.broken, report.runs_full):
        for message in frame["message"].head(5):
            assert f"{message:,}" in words
    assert "a checksum was wrong" in words or report.broken.is_empty()
    for sentence in report.caveats():
        assert sentence in words
    frame = pl.read_parquet(matches)
    assert frame.columns == list(MATCHES)
    assert frame.height == report.top.matches.height > 100
    late = (frame["book_ts_recv"] - frame["level3_ts_recv"]).dt.total_nanoseconds()
    assert frame["latency_recv"].equals(late), "positive is the book channel later"


def test_a_page_of_nothing(tmp_path: Path) -> None:
    """Where the two were never known together the page says so, and has no picture of nothing."""
    lake = tmp_path / "lake"
    whole = market()
    half = whole.book[0][0] + 5_000 * MS
    early = channels.Channels(
        whole.symbols,
        [one for one in whole.book if one[0] < half],
        [one for one in channels.run(seconds=10, rate=600.0, later3=6_000 * MS).level3 if one[0] > half],
        precision=whole.precision,
    )
    channels.record(lake, early)
    report = compare.compare(lake)
    assert not report.equal
    assert report.total()["share"] is None
    assert lines(report)[-1].startswith("nothing could be compared")
    _, page = compare_page.write(report, tmp_path / "out")
    assert "At no time were both books in sync." in page.read_text()


def test_names_are_written_as_text(report: Report) -> None:
    """A name that looks like a tag stays a name."""
    report.lake = "a/<b>&"
    assert "&lt;b&gt;&amp;" in compare_page.render(report)


def test_a_folder_that_cannot_be_made_is_named(report: Report, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="out"):
        compare_page.write(report, tmp_path / "out")


def test_without_matplotlib_the_tables_are_there(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are optional; the page says what to install."""
    monkeypatch.setattr(compare_page, "find_spec", lambda name: None)
    told = Page(compare_page.render(report))
    assert "svg" not in told.seen
    assert "pip install krakpot[plot]" in "".join(told.words)
    assert "BTC/USD" in "".join(told.words)

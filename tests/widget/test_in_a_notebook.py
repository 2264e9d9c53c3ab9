"""The widget where people use it: in a page of JupyterLab and of marimo, driven as a person does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lakes
import notebooks
from browser import Browser, Page
from frames import SECOND, START
from notebooks import ROOT, WIDGET, output, run_cell
from screens import BOOK, ladder
from simulated import checksum
from tools import only_in_all
from viewing import levels, truth

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

AT = START + 20 * SECOND + SECOND // 4
LIVE = """import krakpot
exchange = krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=3, rate=100))
await exchange.__aenter__()
feed = await krakpot.Feed(['*'], url=exchange.address, depth=25).start()
feed.view('BTC/USD', depth=25)"""
CLOSE = """import threading
view.close()
for one in threading.enumerate():
    if one.name == 'krakpot-widget':
        one.join(30)
print([one.name for one in threading.enumerate() if one.name == 'krakpot-widget'])"""
SHOWN = "krakpot.jump.to === null && krakpot.market.book.last?.inSync"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    only_in_all()
    with Browser() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a notebook runs in, with a lake of half a minute."""
    lakes.make(tmp_path / "lake", lakes.market(1500))
    return tmp_path


def is_the_book(page: Page, lake: Path, symbol: str, at: int) -> None:
    """The ladder is the lake's book at a time, level by level."""
    found = ladder(page, ROOT)
    rows = page.run("krakpot.ladder.rows")
    assert rows >= 3
    row = truth(lake, symbol, at)
    assert found == {f"{side}s": levels(row, side)[:rows] for side in ("bid", "ask")}
    assert found["bids"]


def remembered(page: Page) -> int:
    """When the state that is shown came, ns: of a time that was played quickly the page has not every state."""
    return round(page.run("krakpot.market.book.at(krakpot.chart.now).t")) * 1000


def slide(page: Page, share: float) -> None:
    """Move the slider of time to a share of the recording, with the mouse."""
    x, y, width = page.run(f"""(() => {{
        const {{x, y, width, height}} = {ROOT}.querySelector('#timeline input').getBoundingClientRect()
        return [x, y + Math.min(height / 2, 8), width] }})()""")
    # The middle of the thumb goes from half a thumb to the width less that.
    x += 8 + share * (width - 16)
    page.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)


def jumped(page: Page) -> int:
    """Slide to a time that the page has not seen; that time, ns, at which it stands still."""
    slide(page, 0.9)
    page.until(f"krakpot.chart.now > {AT // 1000} + 2e6 && krakpot.market.time.paused && {SHOWN}", 60)
    return int(page.run("krakpot.chart.now")) * 1000


def test_a_lake_in_jupyterlab(browser: Browser, folder: Path) -> None:
    """A cell shows the book of the lake; going to other times and pairs shows theirs; closing ends it."""
    lake = folder / "lake"
    cell = f"import krakpot\nview = krakpot.Lake('lake').view('BTC/USD', at={AT}, depth=10)\nview"
    cells = (cell, "view.symbol = 'ETH/USD'", CLOSE)
    with notebooks.jupyterlab(browser, folder, *cells) as page:
        run_cell(page, 0)
        page.until(WIDGET, 60)
        page.until(f"krakpot.market.time?.paused && {SHOWN} && Math.abs(krakpot.chart.now - {AT // 1000}) < 1", 60)
        is_the_book(page, lake, "BTC/USD", AT)
        later = jumped(page)
        is_the_book(page, lake, "BTC/USD", later)
        # Back in what is remembered.
        slide(page, 0.5)
        page.until("krakpot.chart.end !== null")
        assert remembered(page) < later - 5 * SECOND
        is_the_book(page, lake, "BTC/USD", remembered(page))
        # By the keys of the page, of which JupyterLab takes none.
        before = remembered(page)
        page.run(f"{ROOT}.querySelector('#chart').focus()")
        page.key("<")
        page.until(f"krakpot.market.book.at(krakpot.chart.now).t < {before // 1000}")
        is_the_book(page, lake, "BTC/USD", remembered(page))
        assert page.run("document.querySelectorAll('.jp-Notebook .jp-Cell').length") == len(cells)
        run_cell(page, 1)
        page.until(f"krakpot.market.pair.symbol === 'ETH/USD' && {SHOWN}", 60)
        run_cell(page, 2)
        assert output(page, 2).strip() == "[]"
        page.until("document.querySelectorAll('.jp-OutputArea-output [data-lm-suppress-shortcuts]').length === 0")
        assert page.errors == []
        assert [
            url for url in page.requests if not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:"))
        ] == []


def test_a_kernel_that_is_busy_and_one_that_is_gone(browser: Browser, folder: Path) -> None:
    """While it plays, cells run; after a long one it goes on. Without a kernel the picture is marked as stale."""
    cells = (
        "import krakpot\nview = krakpot.Lake('lake').view('BTC/USD', depth=10)\nview",
        "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end:\n    pass\nprint('done')",
        "import os\nos._exit(1)",
    )
    with notebooks.jupyterlab(browser, folder, *cells) as page:
        run_cell(page, 0)
        page.until(WIDGET, 60)
        page.until("krakpot.market.book.states > 3", 60)
        run_cell(page, 1)
        assert output(page, 1).strip() == "done"
        states = page.run("krakpot.market.book.states")
        page.until(f"krakpot.market.book.states > {states} && krakpot.market.stale() === 0", 60)
        assert not page.run(f"{ROOT}.querySelector('.page').classList.contains('stale')")
        run_cell(page, 2)
        page.until(f"{ROOT}.querySelector('.page').classList.contains('stale')", 60)
        page.until(f"{ROOT}.querySelector('#stale').textContent.startsWith('Stale')")
        page.until(f"{ROOT}.querySelector('#notices').textContent.toLowerCase().includes('run this cell again')", 60)


def test_a_feed_in_jupyterlab(browser: Browser, folder: Path) -> None:
    """What is on the screen gives the checksum that the exchange sent with it; a feed that is closed says so."""
    with notebooks.jupyterlab(browser, folder, LIVE, "await feed.close()") as page:
        run_cell(page, 0)
        page.until(WIDGET, 60)
        page.until("krakpot.market.book.states > 10", 60)
        digits, qty_digits = page.run("[krakpot.market.pair.pricePrecision, krakpot.market.pair.qtyPrecision]")
        seen = set()
        for _ in range(4):
            page.browser.listen(0.5)
            book: dict[str, Any] = page.run(BOOK)
            bids, asks = (
                [(f"{price:.{digits}f}", f"{qty:.{qty_digits}f}") for price, qty in book[side]]
                for side in ("bids", "asks")
            )
            assert checksum((bids, asks)) == book["checksum"]
            seen.add(book["checksum"])
        assert len(seen) > 1
        run_cell(page, 1)
        page.until(f"{ROOT}.querySelector('#notices').textContent.includes('is over')", 60)
        page.until(f"{ROOT}.querySelector('.page').classList.contains('stale')", 60)
        assert page.errors == []


def test_a_lake_in_marimo(browser: Browser, folder: Path) -> None:
    """The same component, over marimo's own comm."""
    cells = (f"import krakpot\nview = krakpot.Lake('lake').view('BTC/USD', at={AT}, depth=10, height=700)\nview",)
    with notebooks.marimo(browser, folder, *cells) as page:
        page.until(WIDGET, 90)
        page.until(f"krakpot.market.time?.paused && {SHOWN} && Math.abs(krakpot.chart.now - {AT // 1000}) < 1", 60)
        is_the_book(page, folder / "lake", "BTC/USD", AT)
        is_the_book(page, folder / "lake", "BTC/USD", jumped(page))
        assert page.errors == []

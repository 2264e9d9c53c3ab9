"""Components of the npm package: what they draw is the book and the trades of the exchange in the page."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, Page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of the project, without a line for each request."""

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def page() -> Iterator[Page]:
    """The components, with a book; nothing may go wrong in the page."""
    asked = subprocess.run(["make", "--question", "target/.components"], cwd=ROOT, capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("the components are not built from these sources: make components")
    serving = functools.partial(Files, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving) as server, Browser() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = browser.page()
        found.go(f"http://127.0.0.1:{server.server_port}/tests/web/components.html")
        found.until("window.shown?.map.market.book.states > 20 && shown.trades.market.trades.n > 5")
        yield found
        server.shutdown()
    assert found.errors == []


def standing(page: Page) -> dict[str, list[list[str]]]:
    """Stop the exchange, let everything be drawn; the book as the exchange has it."""
    page.run("shown.exchange.stop()")
    page.browser.listen(0.5)
    found: dict[str, list[list[str]]] = page.run("shown.exchange.book('BTC/USD', 100)")
    assert len(found["bids"]) > 20
    return found


def test_ladder_and_picture_are_the_book_of_the_exchange(page: Page) -> None:
    """Every row of the ladder, and every cell of the newest column."""
    book = standing(page)
    rows = page.run("""Object.fromEntries(['bids', 'asks'].map(side => [side,
        [...shown.ladder.host.shadowRoot.querySelectorAll(`.${side} tr`)].map(row =>
            [...row.cells].slice(0, 2).map(cell => Number(cell.textContent.replaceAll(',', ''))))
            .filter(row => row[0])]))""")
    shown = {"bids": rows["bids"], "asks": rows["asks"][::-1]}
    for side, levels in shown.items():
        assert len(levels) > 8
        assert levels == [[float(price), float(qty)] for price, qty in book[side][: len(levels)]]
    drawn = page.run("""(() => { const {chart, market} = shown.map, {columns} = chart
        const row = [...chart.renderer.read(columns.ring(columns.index(market.book.end)))]
        return {row, base: columns.base, ticks: columns.binTicks, scale: market.book.scale} })()""")
    cells: dict[int, float] = {}
    for side, sign in (("bids", 1), ("asks", -1)):
        for price, qty in book[side]:
            cell = (round(float(price) * drawn["scale"]) - drawn["base"]) // drawn["ticks"]
            cells[cell] = cells.get(cell, 0.0) + sign * float(qty)
    found = {cell: value for cell, value in enumerate(drawn["row"]) if value and abs(value) < 1e38}
    assert len(found) > 20
    assert found == pytest.approx({cell: cells[cell] for cell in found}, rel=1e-6)


def test_trades_are_those_of_the_feed(page: Page) -> None:
    """Time and sales: price and quantity of each, the newest first."""
    page.run(
        "(() => { window.came = []; shown.feed.on('trade', 'BTC/USD', one => came.push([one.price, one.qty])) })()"
    )
    page.until("came.length > 3")
    standing(page)
    came = [[float(one) for one in trade] for trade in page.run("came")]
    rows = page.run("""[...shown.trades.host.shadowRoot.querySelectorAll('.tape tbody tr')].map(row =>
        [...row.cells].slice(1).map(cell => Number(cell.textContent.replaceAll(',', ''))))""")
    count = min(len(came), len(rows))
    assert rows[:count] == came[::-1][:count]


def test_what_is_old_or_not_there_is_said(page: Page) -> None:
    """A silent exchange, a pair that does not exist, a wrong checksum; and a component that is closed is empty."""
    # Some digits are of no number that is proved.
    page.run("shown.exchange.inject('digit,channel=book,symbol=BTC/USD')")
    page.until("shown.map.market.gaps.list.some(gap => gap.reason.includes('checksum'))")
    page.run("shown.exchange.clearFaults()")
    page.until("shown.map.market.gaps.list.every(gap => gap.to < Infinity)")
    page.until("shown.ladder.market.book.last.inSync")
    standing(page)
    assert page.run("['map', 'ladder', 'trades'].map(name => shown[name].host.clientHeight)") == [600, 600, 600]
    page.until("shown.map.host.shadowRoot.querySelector('.page').classList.contains('stale')")
    assert page.run("shown.map.host.shadowRoot.querySelector('.words').textContent") == "Stale: nothing new comes."
    page.run("""(() => { shown.ladder.close()
        shown.none = new shown.Ladder(shown.ladder.host, shown.feed, 'NO/PAIR') })()""")
    page.until("shown.none.host.shadowRoot.textContent.includes('The exchange has no pair NO/PAIR.')")
    page.run("shown.none.close()")
    assert page.run("shown.none.host.shadowRoot.childElementCount") == 0

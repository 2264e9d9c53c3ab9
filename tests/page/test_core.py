"""The page that receives the market itself: from the exchange in the page, and from an exchange that speaks v2."""

from __future__ import annotations

import asyncio
import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browser import Page
from krakpot import ExchangeOptions, ExchangeServer
from screens import BOOK, Levels, ladder
from simulated import checksum

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "python" / "krakpot" / "page"
READY = "window.krakpot && krakpot.market.book.states > 10 && krakpot.market.book.last.inSync"


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The core of these very sources is beside the page. `KRAKPOT_TEST=all make test` builds it before."""
    if shutil.which("node") is None:
        pytest.skip("the core in the page needs node 20 or later: https://nodejs.org")
    asked = subprocess.run(["make", "--question", "target/.page"], cwd=ROOT, capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("the page is not built with the core from these sources: make page")


class Files(http.server.SimpleHTTPRequestHandler):
    """Any static host."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}  # noqa: RUF012  # as the class has it

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def hosted(folder: Path = PAGE) -> Iterator[str]:
    """The address of a static host of a folder."""
    handler = functools.partial(Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A static host of the page."""
    with hosted() as address:
        yield address


def exchange_book(page: Page, symbol: str, depth: int) -> dict[str, Levels]:
    """The book as the exchange in the page has it."""
    found = page.run(f"krakpot.source.exchange.book('{symbol}', {depth})")
    return {side: [(float(price), float(qty)) for price, qty in found[side]] for side in ("bids", "asks")}


def shown_book(page: Page) -> dict[str, Levels]:
    """The book that the page shows."""
    found: dict[str, Any] = page.run(BOOK)
    return {side: [(price, qty) for price, qty in found[side]] for side in ("bids", "asks")}


def halted(page: Page) -> None:
    """The exchange stands still, and all that it sent is shown."""
    page.run("krakpot.source.exchange.stop()")
    page.until("!krakpot.source.follow.since.messages && !krakpot.source.queued")
    page.browser.listen(0.3)


def test_the_exchange_in_the_page_from_any_static_host(page: Page) -> None:
    """It needs no server: every level is that of the exchange; what stands still is said to be stale."""
    with hosted(ROOT / "dist" / "page") as address:
        page.go(address)
        page.until(READY)
        assert page.run("document.querySelector('#source').value") == "exchange"
        page.until("document.querySelectorAll('.pair .ok').length > 10")
        assert page.run("krakpot.market.pairs.length") == 40
        for depth in (100, 1000):
            page.run("krakpot.source.exchange.run()")
            page.run(f"""(() => {{ const select = document.querySelector('#depth')
                select.value = '{depth}'; select.dispatchEvent(new Event('change')) }})()""")
            page.until(f"krakpot.market.book.at(krakpot.chart.now)?.bids.ticks.length > {depth // 2}")
            halted(page)
            expected = exchange_book(page, "BTC/USD", depth)
            assert len(expected["bids"]) > depth // 2
            assert shown_book(page) == expected
            rows = ladder(page)
            assert rows == {side: expected[side][: len(rows[side])] for side in ("bids", "asks")}
            assert len(rows["bids"]) > 5
        # Another depth of the same book is no gap.
        assert page.run("krakpot.market.gaps.list") == []
        page.until("document.body.classList.contains('stale')", 10)
        assert "Stale" in page.text("#stale")
        page.run("krakpot.source.exchange.run()")
        page.until("!document.body.classList.contains('stale')", 10)


def test_a_wrong_digit_and_a_cut_are_seen_and_repaired(page: Page, host: str) -> None:
    """The faults that the page offers: each is a gap with its reason, then the book is right again."""
    page.go(f"{host}#source=exchange&symbol=ETH/USD&count=12")
    page.until(READY)
    page.until("document.querySelectorAll('.pair .ok').length === 12")
    assert page.run("krakpot.market.pair.symbol") == "ETH/USD"
    for fault, reason in (("digit=once,channel=book", "checksum"), ("cut,for=1s", "not connected")):
        page.run(f"""(() => {{ const select = document.querySelector('#fault')
            select.value = '{fault}'; select.dispatchEvent(new Event('change')) }})()""")
        if reason == "checksum":
            # A digit of a time changes no checksum: such a fault is injected again.
            page.run("krakpot.source.exchange.inject('digit=0.5,channel=book,symbol=ETH/USD,for=3s')")
        page.until(f"krakpot.market.gaps.list.some(gap => gap.reason.includes('{reason}'))", 40)
        page.run("krakpot.source.exchange.clearFaults()")
        page.until("krakpot.market.book.last.inSync && krakpot.market.gaps.list.every(gap => gap.to)", 40)
        page.until("document.querySelector('#link span').textContent === 'live'", 40)
    page.until("krakpot.market.lines.every(line => line.inSync === 1)", 40)
    halted(page)
    assert shown_book(page) == exchange_book(page, "ETH/USD", 100)


def test_the_queues_of_level_3(page: Page, host: str) -> None:
    """The sum of each queue is the quantity of its level at the exchange."""
    page.go(f"{host}#source=exchange&symbol=BTC/USD&count=5")
    page.until(READY)
    page.key("o")
    page.until("krakpot.market.queues.frames.length > 3", 40)
    halted(page)
    page.browser.listen(0.5)
    expected = exchange_book(page, "BTC/USD", 100)
    orders = page.run("""(() => {
        const {bids, asks} = krakpot.market.queues.frames.at(-1)
        const side = ({price, qty, time}) => [...price].map((one, i) => [one, qty[i], Number(time[i])])
        return {bids: side(bids), asks: side(asks)} })()""")
    for side in ("bids", "asks"):
        sums: dict[float, float] = {}
        for price, qty, time in orders[side]:
            sums[price] = sums.get(price, 0.0) + qty
            assert time > 1.7e18
        assert len(orders[side]) > len(sums) > 50
        assert {price: pytest.approx(qty) for price, qty in expected[side]} == sums


def test_an_exchange_that_allows_the_page(page: Page, host: str) -> None:
    """Books with the checksums that the exchange sent; a restarted exchange is found again."""
    page.go("about:blank")
    started, ended = threading.Event(), threading.Event()
    found: list[ExchangeServer] = []

    async def serve(port: int) -> None:
        options = ExchangeOptions(pairs=6, rate=600, port=port, origins=(host.rstrip("/"),))
        async with ExchangeServer(options) as server:
            found.append(server)
            started.set()
            while not ended.is_set():
                await asyncio.sleep(0.05)

    def begin(port: int) -> threading.Thread:
        started.clear()
        ended.clear()
        thread = threading.Thread(target=lambda: asyncio.run(serve(port)))
        thread.start()
        assert started.wait(30)
        return thread

    thread = begin(0)
    try:
        address = found[0].address
        port = int(address.rsplit(":", 1)[1].split("/")[0])
        page.go(f"{host}#source={address}&symbol=BTC/USD&depth=100")
        page.until(READY)
        page.until("document.querySelectorAll('.pair .ok').length === 6")
        digits, qty_digits = page.run("[krakpot.market.pair.pricePrecision, krakpot.market.pair.qtyPrecision]")
        seen = set()
        for _ in range(4):
            page.browser.listen(0.5)
            book = page.run(BOOK)
            sides = tuple(
                [(f"{price:.{digits}f}", f"{qty:.{qty_digits}f}") for price, qty in book[side]]
                for side in ("bids", "asks")
            )
            assert book["checked"] == 1
            assert checksum((sides[0], sides[1])) == book["checksum"]
            seen.add(book["checksum"])
        assert len(seen) > 1
    finally:
        ended.set()
        thread.join()
    page.until("document.querySelector('#link span').textContent.includes('lost')", 30)
    page.until("document.body.classList.contains('stale')", 30)
    states = page.run("krakpot.market.book.states")
    thread = begin(port)
    try:
        page.until("document.querySelector('#link span').textContent === 'live'", 60)
        page.until(f"krakpot.market.book.states > {states} + 5 && krakpot.market.book.last.inSync", 60)
        assert page.run("krakpot.market.gaps.list.length") > 0
    finally:
        ended.set()
        thread.join()
    # The browser itself writes a line for each attempt that failed.
    page.errors = [words for words in page.errors if "WebSocket connection to" not in words]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("#source=elsewhere", "is no source"),
        ("#source=ws://127.0.0.1:1/v2", "krakpot exchange --origin"),
    ],
)
def test_a_source_that_is_none(page: Page, host: str, address: str, words: str) -> None:
    """It is said in a sentence, with what to do, and other sources are offered."""
    page.go(host + address)
    page.until(f"document.querySelector('#notices').textContent.includes({words!r})", 40)
    assert "Show the exchange in the page" in page.text("#notices")
    page.errors = [text for text in page.errors if "WebSocket connection to" not in text]


def test_a_page_without_the_core(page: Page, tmp_path: Path) -> None:
    """It says so, and what to do."""
    shutil.copytree(PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("core"))
    with hosted(tmp_path / "page") as address:
        page.go(f"{address}#source=exchange")
        page.until("document.querySelector('#notices').textContent.includes('built without the core')")
        assert "make page" in page.text("#notices")
    # The browser's own words about the file that is not there.
    assert page.errors
    page.errors = [words for words in page.errors if "404" not in words]


def test_a_browser_without_vectors(page: Page, host: str) -> None:
    """WebAssembly without 128-bit vectors refuses the module."""
    page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""
        WebAssembly.instantiateStreaming = async () => { throw new WebAssembly.CompileError('invalid type 0x7b') }""",
    )
    page.go(f"{host}#source=exchange")
    page.until("document.querySelector('#notices').textContent.includes('128-bit vectors')")


def test_the_page_is_typed() -> None:
    """The types that its comments give are right."""
    tsc = ROOT / "web/node_modules/typescript/bin/tsc"
    project = Path(__file__).with_name("tsconfig.json")
    done = subprocess.run(
        ["node", str(tsc), "--project", str(project)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # What wasm-bindgen writes is typed beside it, and `web/` has its own check.
    wrong = [line for line in done.stdout.splitlines() if not line.startswith(("python/krakpot/page/core/", " "))]
    assert wrong == []
    # It would also say nothing if it found no file.
    assert "core/wasm" in done.stdout

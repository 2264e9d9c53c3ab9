"""The page in a browser, on a market that is a formula: the test can say each number that is on the screen."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from browser import Page
from streamer import BEGIN, SECOND, STATE, Levels, Pair, Streamer, book, served

pytestmark = pytest.mark.slow

READY = "window.krakpot && krakpot.market.book.states > 3 && krakpot.jump.to === null"
SHOWN = "krakpot.market.book.at(krakpot.chart.now)"
HOLE = (BEGIN + 20 * SECOND, BEGIN + 26 * SECOND, "disconnect")


def opened(page: Page, server: Streamer, rest: str = "") -> Page:
    """The page, with its first books."""
    page.go(server.page + rest)
    page.until(READY)
    return page


def number(text: str) -> float:
    """What a person reads."""
    return float(text.replace(",", "").replace("−", "-"))


def ladder(page: Page) -> tuple[Levels, Levels]:
    """Bids and asks as the ladder has them, best first."""
    page.until(f"(krakpot.ladder.drawn?.t ?? 0) === ({SHOWN}?.t ?? 0)")
    found = page.run("""Object.fromEntries(['bids', 'asks'].map(side => [side,
        [...document.querySelectorAll(`.ladder .${side} tr`)].map(row =>
            [...row.cells].map(cell => cell.textContent))]))""")
    sides = [[(number(cells[0]), number(cells[1])) for cells in found[name] if cells[0]] for name in ("bids", "asks")]
    return sides[0], sides[1][::-1]


def truth(server: Streamer, symbol: str, us: float, rows: int) -> tuple[Levels, Levels]:
    """The book that the formula says was last at a time."""
    bids, asks = server.pairs[symbol].book(round(us) * 1000 // STATE * STATE, server.depth)
    return bids[:rows], asks[:rows]


def halted(page: Page, server: Streamer, symbol: str = "BTC/USD") -> float:
    """Pause, and check that ladder and figures are of the instant that is shown; returns it."""
    page.until("document.querySelector('#pause').getAttribute('aria-pressed') === 'true'")
    page.browser.listen(0.4)
    at = float(page.run(f"{SHOWN}.t"))
    bids, asks = ladder(page)
    assert (bids, asks) == truth(server, symbol, at, len(bids))
    assert len(bids) == len(asks) > 5
    assert (number(page.text("#bid")), number(page.text("#ask"))) == (bids[0][0], asks[0][0])
    return at


def test_ladder_and_picture_are_the_books_that_were_sent(page: Page) -> None:
    """Every level of the ladder, and every cell of a column as the graphics card holds it."""
    with served() as server:
        opened(page, server)
        page.browser.listen(2)
        page.key(" ")
        at = halted(page, server)
        held = page.run(f"""(() => {{
            const {{columns, renderer}} = krakpot.chart, ring = columns.ring(columns.index({at}))
            const row = [...renderer.read(ring)]
            return {{base: columns.base, ticks: columns.binTicks, row, name: renderer.name}} }})()""")
        assert held["name"] == "WebGL2"
        bids, asks = truth(server, "BTC/USD", at, server.depth)
        expected: dict[int, float] = {}
        for side, sign in ((bids, 1), (asks, -1)):
            for price, qty in side:
                cell = (round(price * 10) - held["base"]) // held["ticks"]
                expected[cell] = expected.get(cell, 0.0) + sign * qty
        drawn = {cell: value for cell, value in enumerate(held["row"]) if value and abs(value) < 1e38}
        assert len(drawn) > 50
        assert drawn == pytest.approx({cell: expected[cell] for cell in drawn}, rel=1e-6)
        colours = page.run("""(() => {
            const {canvas} = krakpot.chart, copy = document.createElement('canvas')
            copy.width = canvas.width, copy.height = canvas.height
            krakpot.chart.changed = true, krakpot.chart.draw(performance.now(), null)
            const c = copy.getContext('2d'); c.drawImage(canvas, 0, 0)
            return new Set(new Uint32Array(c.getImageData(0, 0, copy.width, copy.height).data.buffer)).size })()""")
        assert colours > 20
        tape = page.run(
            "[...document.querySelectorAll('.tape tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
        )
        traded = {
            (one[2], one[3]) for one in server.pairs["BTC/USD"].trades(BEGIN - 6 * SECOND, round(at) * 1000 + SECOND)
        }
        shown = {(number(price), number(qty)) for _, price, qty in tape if price}
        assert shown
        assert shown <= traded


@pytest.mark.parametrize("query", ["", "?plain"])
def test_pause_step_scrub_and_zoom(page: Page, query: str) -> None:
    """With keys, mouse and slider: whatever instant is shown, the book is that of the instant."""
    with served() as server:
        opened(page, server, query)
        page.browser.listen(5)
        page.key(" ")
        newest = halted(page, server)
        page.key("<", shift=True)
        step = halted(page, server)
        assert step < newest
        for _ in range(3):
            page.key("ArrowLeft")
        back = halted(page, server)
        assert step - back == pytest.approx(0.3 * page.run("krakpot.chart.span"), abs=3e5)
        page.key(">", shift=True)
        assert 0 < halted(page, server) - back < 1e6
        page.drag(500, 300, 540, 300)
        assert halted(page, server) < back
        page.key("Home")
        assert halted(page, server) == page.run("krakpot.market.book.begin")
        page.key("End")
        assert page.run("krakpot.chart.end") is None
        span, height = page.run("[krakpot.chart.span, krakpot.chart.height]")
        page.key("+")
        page.key("[")
        assert page.run("krakpot.chart.span") == pytest.approx(span / 1.5)
        assert page.run("krakpot.chart.height") == pytest.approx(height * 1.3)
        page.mouse("mouseWheel", 500, 300, deltaX=0, deltaY=100)
        assert page.run("krakpot.chart.span") > span / 1.5
        page.key("0")
        page.until(f"krakpot.chart.height === {height} || krakpot.chart.span === {span}")
        x, y, wide = page.run(
            "(() => { const box = document.querySelector('#timeline input').getBoundingClientRect(); "
            "return [box.x, box.y + 8, box.width] })()"
        )
        page.run("krakpot.chart.goTo(null)")
        page.mouse("mousePressed", x + wide * 0.4, y, button="left", buttons=1, clickCount=1)
        page.mouse("mouseReleased", x + wide * 0.4, y, button="left", clickCount=1)
        page.until(f"krakpot.chart.now > {(BEGIN + 200 * SECOND) / 1000} && {READY}")
        assert halted(page, server) == pytest.approx((BEGIN + 240 * SECOND) / 1000, abs=8e6)


def test_a_link_to_an_instant_opens_at_it(page: Page) -> None:
    """The address names pair, depth and time; what is shown is of that time, and its address is the link."""
    at = BEGIN // 1000 + 123_456_789
    link = "#symbol=ETH/USD&depth=25&t=2026-11-29T06:21:03.456789Z"
    with served() as server:
        opened(page, server, link)
        page.until("krakpot.market.time?.paused")
        page.until(f"krakpot.chart.now === {at}")
        assert halted(page, server, "ETH/USD") == at // 50_000 * 50_000
        assert page.text("#symbol") == "ETH/USD"
        assert page.run("document.querySelector('#depth').value") == "25"
        assert "06:21:03.456 UTC" in page.text("#instant")
        page.until(f"location.hash === '{link}'")
        # What is before it was watched on the way.
        assert page.run("krakpot.market.gaps.list.length") == 0
        assert at - page.run("krakpot.market.book.begin") > 20e6
        page.run("location.hash = '#symbol=SOL/EUR&t=2026-11-29T06:22:00Z'")
        page.until("krakpot.market.pair.symbol === 'SOL/EUR' && krakpot.jump.to === null && krakpot.market.time.paused")
        page.until(f"krakpot.chart.now === {(BEGIN + 180 * SECOND) // 1000}")
        halted(page, server, "SOL/EUR")
        page.run("location.hash = '#symbol=SOL/EUR&t=2025-01-01'")
        page.until("document.querySelector('#notices').textContent.includes('is not in this recording')")


def test_a_gap_is_drawn_as_a_gap(page: Page) -> None:
    """No column, no line and no ladder in it: hatched, with its reason; and the book is right behind it."""
    with served(holes=[HOLE]) as server:
        opened(page, server, "#symbol=BTC/USD&t=2026-11-29T06:19:32Z")
        page.until(f"krakpot.chart.now === {(BEGIN + 32 * SECOND) // 1000}")
        halted(page, server)
        cells, words, pixels, far = page.run(f"""(() => {{
            const {{chart}} = krakpot, {{columns}} = chart, middle = {(HOLE[0] + 3 * SECOND) / 1000}
            const x = Math.round(chart.x(middle)), c = chart.context
            const bytes = new Uint32Array(c.getImageData(x - 20, 40, 40, 40).data.buffer)
            const row = [...chart.renderer.read(columns.ring(columns.index(middle)))]
            return [row, chart.readout(x, 100), new Set(bytes).size,
                [middle, {(HOLE[1] + 2 * SECOND) / 1000}].map(t =>
                    Number.isNaN(columns.bid[columns.ring(columns.index(t))]))] }})()""")
        assert min(cells) > 2.5e38
        assert words[1] == "disconnect"
        assert pixels > 3
        assert far == [True, False]
        page.run(f"krakpot.chart.goTo({(HOLE[0] + 3 * SECOND) / 1000})")
        page.until("document.querySelector('.ladder .middle').textContent.includes('nobody knows')")
        assert ladder(page) == ([], [])
        assert page.text("#bid") == "–"
        assert page.text("#proof span") == "out of sync"


def test_the_state_of_every_checksum_is_seen(page: Page) -> None:
    """Right, wrong, out of sync: a sign and words at each pair, and of the chosen pair at the top."""
    with served() as server:
        opened(page, server)
        page.until("document.querySelectorAll('.pair').length === 8 && document.querySelectorAll('.pair .ok').length")
        page.browser.listen(1.5)
        signs = page.run(
            "[...document.querySelectorAll('.pair')].map(row => "
            "[row.children[1].textContent, row.children[0].textContent, row.title])"
        )
        said = {symbol: (sign, title) for symbol, sign, title in signs}
        assert said["BTC/USD"][0] == "✓"
        assert re.search(r"BTC/USD: \d+ checksums right, 0 wrong", said["BTC/USD"][1])
        assert said["DOGE/USD"][0] == "×"
        assert "1 wrong" in said["DOGE/USD"][1]
        assert said["DOT/EUR"][0] == "!"
        assert "out of sync" in said["DOT/EUR"][1]
        assert page.text(".pairs .words") == "6 of 8 proved right, 2 wrong or out of sync"
        page.key(" ")
        page.until("krakpot.market.time.paused")
        page.browser.listen(0.5)
        at = page.run("krakpot.market.book.end")
        assert page.text("#proof span") == f"checksum {round(at) * 1000 // STATE & 0xFFFFFFFF:08x}"
        for checked, in_sync, words in ((2, 0, "out of sync"), (0, 1, "not checked"), (2, 1, "wrong checksum")):
            levels = server.pairs["BTC/USD"].book(BEGIN, 10) if in_sync else ([], [])
            at += 1000
            server.send(book(0, round(at) * 1000, *levels, flags=in_sync, checked=checked))
            page.until(f"document.querySelector('#proof span').textContent === '{words}'")
            assert page.run("document.querySelector('#proof').className") == ("bad" if checked == 2 else "")


def test_old_data_is_called_stale(page: Page) -> None:
    """A silent server is not a market where nothing happens; a cut connection is made again, its time is a gap."""
    with served(live=True, stale_after=1.0) as server:
        opened(page, server)
        assert not page.run("document.body.classList.contains('stale')")
        server.silent = True
        page.until("document.body.classList.contains('stale')")
        assert page.text("#stale").startswith("Stale: nothing new for")
        server.silent = False
        page.until("!document.body.classList.contains('stale')")
        server.shut()
        page.until("document.querySelector('#link span').textContent === 'no connection'")
        assert "krakpot view" in page.text("#notices")
        server.open()
        page.until("document.querySelector('#link span').textContent === 'live'")
        page.until(
            "krakpot.market.gaps.list.some(one => one.reason === 'the page had no connection' && one.to < Infinity)"
        )
        assert page.text("#notices") == ""
        page.errors[:] = [error for error in page.errors if "ERR_CONNECTION_REFUSED" not in error]


def test_bad_input_becomes_a_plain_sentence(page: Page) -> None:
    """Another version of the stream, damaged messages, a refused request, an unknown pair: it says so, and goes on."""
    with served(refuse={"coverage": "not today"}) as server:
        opened(page, server, "#symbol=NO/SUCH")
        assert "no pair “NO/SUCH”" in page.text("#notices")
        assert "refused “coverage”: not today." in page.text("#notices")
        whole = book(0, BEGIN + 500 * SECOND, *server.pairs["BTC/USD"].book(BEGIN, 10))
        server.send(whole[:-3], "{", b"\x01", whole[:40] + b"\xff" * (len(whole) - 40))
        page.until("document.querySelector('#notices').textContent.includes('damaged')")
        page.until("document.querySelector('#notices').textContent.includes('That makes 4.')")
        states = page.run("krakpot.market.book.states")
        page.until(f"krakpot.market.book.states > {states} + 5")
    with served(version=2) as server:
        page.go(server.page)
        page.until("document.querySelector('#notices').textContent.includes('version 2')")
    page.errors[:] = [error for error in page.errors if "ERR_CONNECTION_REFUSED" not in error]


def test_the_queue_of_each_price_is_drawn(page: Page) -> None:
    """Orders in their order: the words under the pointer are those of the order that the server put there."""
    with served() as server:
        opened(page, server)
        page.key("o")
        page.until("krakpot.queues.places.length > 20")
        page.key(" ")
        page.until("krakpot.market.time.paused")
        page.browser.listen(0.5)
        t = round(page.run("krakpot.market.queues.at(krakpot.chart.now).t")) * 1000
        bids, _ = server.queues(server.pairs["BTC/USD"], t)
        texts = [text for text in page.run("krakpot.queues.places.map(one => one.text)") if text.startswith("Bid")]
        best = [one for one in bids if one[0] == bids[0][0]]
        assert len(texts) > 10
        for i, (price, qty, _, _) in enumerate(best[:3]):
            assert texts[i].startswith(f"Bid {price:,.1f}: order {i + 1} of {len(best)}, {qty:,.8f}, ")
        assert "bid" in page.run("document.querySelector('.queues canvas').getAttribute('aria-label')")
        page.key("o")
        assert page.run("document.querySelector('#panel-orders').hidden")


def test_keyboard_alone_is_enough(page: Page) -> None:
    """Search and choose a pair, change depth and speed, go to an instant, ask for help, turn the light on."""
    with served() as server:
        opened(page, server)
        page.key("/")
        page.write("xrp")
        page.key("Enter")
        page.until("krakpot.market.pair.symbol === 'XRP/USD' && krakpot.market.book.states > 3")
        assert page.run("document.title") == "XRP/USD – krakpot"
        page.key("n")
        assert page.run("krakpot.market.pair.symbol") == "ADA/EUR"
        page.key("D", shift=True)
        page.key(".")
        page.until("krakpot.market.time?.speed === 2")
        assert {"method": "subscribe", "symbols": ["ADA/EUR"], "depth": 25, "orders": False} in [
            {key: value for key, value in one.items() if key != "req_id"} for one in server.requests
        ]
        page.key("g")
        assert page.run("document.querySelector('#jump').open")
        page.write("yesterday")
        page.key("Enter")
        assert "is no time" in page.text("#jump-words")
        page.run("document.querySelector('#jump-time').select()")
        page.write("2026-11-29T06:25")
        page.key("Enter")
        page.until(f"krakpot.chart.now === {(BEGIN + 360 * SECOND) // 1000} && krakpot.market.time.paused")
        page.key("?", shift=True)
        assert page.run("document.querySelector('#keys').open")
        page.key("Escape")
        assert not page.run("document.querySelector('#keys').open")
        dark = page.run("getComputedStyle(document.body).backgroundColor")
        page.key("s")
        assert page.run("getComputedStyle(document.body).backgroundColor") != dark
        page.key("i")
        assert page.text("#live").startswith("ADA/EUR at 06:25:00 UTC: bid ")


def test_everything_has_a_name_and_fits_a_phone(page: Page) -> None:
    """A screen reader finds a name at everything that can be used; on a phone nothing is wider than the screen."""
    with served() as server:
        opened(page, server)
        page.until("document.querySelector('#chart').getAttribute('aria-label').startsWith('Depth of BTC/USD over')")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        used = {"button", "combobox", "searchbox", "slider", "tab", "image", "region", "listbox", "textbox"}
        named = [
            (node["role"]["value"], node["name"]["value"])
            for node in nodes
            if node.get("role", {}).get("value") in used
        ]
        assert len(named) > 12
        assert [role for role, name in named if not name] == []
        page.size(360, 740, phone=True)
        page.browser.listen(0.5)
        for tab in ("book", "orders", "tape", "pairs"):
            page.run(f"document.querySelector('#tab-{tab}').click()")
            page.browser.listen(0.3)
            wide, tall, panel = (
                page.run(f"""[document.documentElement.scrollWidth, document.documentElement.scrollHeight,
                document.querySelector('#panel-{tab}').getBoundingClientRect().height]""")
            )
            assert (wide, tall) == (360, 740)
            assert panel > 150


def test_memory_of_the_page_is_bounded(page: Page) -> None:
    """When it is full the oldest states go, and what remains is still exact."""
    with served(depth=100) as server:
        opened(page, server)
        page.run("krakpot.market.book.bytesMax = 400_000")
        page.key(".")
        page.until("krakpot.market.book.evicted > 200", 60)
        assert page.run("krakpot.market.book.bytes") < 500_000
        page.key(" ")
        halted(page, server)
        page.key("Home")
        halted(page, server)


def test_frames_at_a_thousand_levels(page: Page, record_property: Any) -> None:
    """Without a graphics card, while others use the machine too: it moves. The figure is in docs/view.md."""
    with served(live=True, depth=1000) as server:
        opened(page, server, "#symbol=BTC/USD&depth=1000")
        page.until(f"{SHOWN}.bids.ticks.length === 1000")
        page.run(
            "(() => { window.drawn = 0; const {draw} = krakpot.chart; "
            "krakpot.chart.draw = function (...of) { const did = draw.apply(this, of); drawn += did; return did } })()"
        )
        begin = time.monotonic()
        page.browser.listen(5)
        rate = page.run("drawn") / (time.monotonic() - begin)
        record_property("frames_per_second", rate)
        assert rate > 5


def test_the_formula_has_a_book() -> None:
    """The market of these tests is one: sorted, not crossed, with other levels at other times."""
    pair = Pair(0, "BTC/USD")
    bids, asks = pair.book(BEGIN, 50)
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0][0] < asks[0][0]
    assert pair.book(BEGIN + 10 * SECOND, 50) != (bids, asks)

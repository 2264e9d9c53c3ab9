"""The page on `krakpot view`: a lake, and the built-in exchange while it trades."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import lakes
from browser import Page
from frames import SECOND, START
from krakpot import ExchangeOptions, ExchangeServer, Feed, Lake
from krakpot.serve.server import ViewServer
from screens import BOOK, Levels, ladder
from simulated import checksum
from viewing import running

pytestmark = pytest.mark.slow

WEB = Path(__file__).resolve().parents[2] / "python" / "krakpot" / "page"


def of_lake(lake: Path, symbol: str, at: int, depth: int) -> dict[str, Levels]:
    """The same from the lake."""
    row = Lake(lake).books(symbol, at=[at], depth=depth, numbers="float").row(0, named=True)
    return {
        f"{side}s": [
            (row[f"{side}_price_{i}"], row[f"{side}_qty_{i}"])
            for i in range(depth)
            if row[f"{side}_price_{i}"] is not None
        ]
        for side in ("bid", "ask")
    }


def test_ladder_is_the_book_of_the_lake(page: Page, tmp_path: Path) -> None:
    """At instants that a link, the slider and a date name: level by level what `Lake.books` says of that time."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(1500))
    with running(lambda: ViewServer(lake, port=0, page=WEB)) as server:
        for seconds, symbol in ((20.25, "BTC/USD"), (12.5, "ETH/USD"), (28, "BTC/USD")):
            at = START + int(seconds * SECOND)
            us = at // 1000
            page.go(f"{server.address}?{us}#symbol={symbol}&t={page.run(f'new Date({us / 1000}).toISOString()')}")
            page.until(
                "window.krakpot?.market.time?.paused && krakpot.jump.to === null && krakpot.market.book.last?.inSync"
            )
            page.until(f"Math.abs(krakpot.chart.now - {us}) < 1")
            found = ladder(page)
            rows = page.run("krakpot.ladder.rows")
            assert rows >= 10
            assert found == {name: levels[:rows] for name, levels in of_lake(lake, symbol, at, 10).items()}
            reasons = page.run(
                "krakpot.market.gaps.within(krakpot.market.book.begin, krakpot.chart.now).map(one => one.reason)"
            )
            # On a machine that is busy the time before is not watched to its end; the lake itself has no gap.
            assert set(reasons) <= {"not watched"}


def test_a_gap_of_a_lake_is_hatched(page: Page, tmp_path: Path) -> None:
    """Two recordings with time between them: the page shows neither the book before nor the one after it there."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(400), session=lakes.session_name(START))
    later = START + 20 * SECOND
    lakes.make(lake, lakes.market(400, begin=later, seed=2), session=lakes.session_name(later))
    with running(lambda: ViewServer(lake, port=0, page=WEB)) as server:
        page.go(
            f"{server.address}#symbol=BTC/USD&t={page.run(f'new Date({(later + 5 * SECOND) / 1e6}).toISOString()')}"
        )
        page.until(
            "window.krakpot?.market.time?.paused && krakpot.jump.to === null && krakpot.market.book.last?.inSync"
        )
        page.browser.listen(1)
        gaps = page.run("krakpot.market.gaps.list.map(one => [one.from, one.to, one.reason])")
        middle = (later - 5 * SECOND) / 1000
        assert [reason for since, until, reason in gaps if since < middle < until]
        known = page.run(f"""[{middle}, {later / 1000 + 4e6}].map(t => {{
            const {{columns, renderer}} = krakpot.chart
            return Math.max(...renderer.read(columns.ring(columns.index(t)))
                .filter(one => one < 1e38 || one > 2.5e38)) }})""")
        assert known[0] > 2.5e38
        after = {reason for since, until, reason in gaps if since <= later / 1000 + 4e6 < until}
        # On a machine that is busy the time before the instant is not watched to its end.
        assert 0 < known[1] < 1e38 or after == {"not watched"}
        assert page.run(f"krakpot.chart.readout(krakpot.chart.x({middle}), 50).length") == 2


@asynccontextmanager
async def trading() -> AsyncIterator[ViewServer]:
    """A view of the built-in exchange."""
    options = ExchangeOptions(pairs=6, rate=600)
    async with ExchangeServer(options) as exchange:
        feed = Feed(["*"], url=exchange.address, depth=100, channels=["book", "trade", "ticker"])
        async with feed:
            running = asyncio.create_task(feed.run())
            async with ViewServer(feed, port=0, page=WEB) as server:
                yield server
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_live_books_have_the_checksum_of_the_exchange(page: Page) -> None:
    """What is on the screen, written with the digits of its pair, gives the checksum that the exchange sent with it."""
    with running(trading) as server:
        page.go(f"{server.address}#symbol=BTC/USD&depth=100")
        page.until("window.krakpot?.market.book.states > 10")
        page.until("document.querySelectorAll('.pair .ok').length === 6")
        digits, qty_digits = page.run("[krakpot.market.pair.pricePrecision, krakpot.market.pair.qtyPrecision]")
        seen = set()
        for _ in range(5):
            page.browser.listen(0.5)
            book: dict[str, Any] = page.run(BOOK)
            sides = tuple(
                [(f"{price:.{digits}f}", f"{qty:.{qty_digits}f}") for price, qty in book[side]]
                for side in ("bids", "asks")
            )
            assert book["checked"] == 1
            assert checksum((sides[0], sides[1])) == book["checksum"]
            seen.add(book["checksum"])
        assert len(seen) > 1
        page.key(" ")
        page.until("krakpot.chart.end !== null")
        page.browser.listen(0.5)
        held = page.run(BOOK)
        assert re.fullmatch(f"checksum {held['checksum']:08x}", page.text("#proof span"))
        shown = ladder(page)
        rows = len(shown["bids"])
        assert shown == {side: [tuple(level) for level in held[side][:rows]] for side in ("bids", "asks")}
        page.browser.listen(1)
        assert page.run(BOOK) == held
        assert page.run("krakpot.market.book.end") > held["t"]

"""What the page shows, as a test reads it."""

from __future__ import annotations

from browser import Page

Levels = list[tuple[float, float]]
BOOK = """(() => {
    const {market, chart} = krakpot, book = market.book.at(chart.now)
    const side = one => [...one.ticks].map((tick, i) => [tick / market.book.scale, one.qty[i]])
    const {t, checksum, checked} = book
    return {t, checksum, checked, bids: side(book.bids), asks: side(book.asks)} })()"""


def ladder(page: Page, root: str = "document") -> dict[str, Levels]:
    """What the ladder has on each side, best first; ``root``: what the page is in, in JavaScript."""
    page.until("krakpot.ladder.drawn?.t === krakpot.market.book.at(krakpot.chart.now)?.t")
    rows = page.run(f"""Object.fromEntries(['bids', 'asks'].map(side => [side,
        [...{root}.querySelectorAll(`.ladder .${{side}} tr`)].map(row =>
            [...row.cells].map(cell => cell.textContent))]))""")
    found = {
        name: [tuple(float(text.replace(",", "")) for text in cells[:2]) for cells in rows[name] if cells[0]]
        for name in rows
    }
    return {"bids": found["bids"], "asks": found["asks"][::-1]}  # type: ignore[dict-item]  # two columns

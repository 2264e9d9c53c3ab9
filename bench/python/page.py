"""The page in Chromium, which receives a market itself: what it costs, and whether its memory stays as it is.

Goals: the CPU of the page at the full rate of 50 pairs, the frames a second that it draws at 1,000 levels without a
graphics card, and, with ``--minutes``, its memory while 20 pairs send 200 messages a second each. The exchange is a
process of its own. Every answer is asserted: all books are in sync, no checksum is wrong. Not goals: networks, a
graphics card.

``python bench/python/page.py`` prints a table, ``--json`` one JSON object; ``--small`` is for the tests. It needs
Chromium, and the page with its core: ``make page``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import http.server
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Behind the folder of this program, which has names that the tests have too.
sys.path.append(str(ROOT / "tests"))

from browser import NAMES, Browser, Page  # noqa: E402  # it is beside the tests, whose folder is on the path now
from krakpot import _core  # noqa: E402  # behind the path that the line above needs
from program import krakpot  # noqa: E402  # behind the path that the line above needs
from viewing import used  # noqa: E402  # behind the path that the line above needs

PAGE = ROOT / "python" / "krakpot" / "page"
SETTLE = 5.0
"""Seconds until what was just begun runs evenly."""
STEP = 30.0
"""Seconds between two looks at the memory."""
RATE_MEMORY = 40_000
"""Messages a second of 20 pairs at depth 1000 of which the best ten levels take 200 a second of each pair."""
COUNTS = "krakpot.source.all?.counts()"
"""Of the connection that has the books of all pairs."""


class Files(http.server.SimpleHTTPRequestHandler):
    """A static host."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}  # noqa: RUF012  # as the class has it

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hosted() -> Iterator[str]:
    """The origin of a static host of the page."""
    handler = functools.partial(Files, directory=str(PAGE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def missing() -> str:
    """Sentence that says what is not there; empty if all is."""
    if not any(map(shutil.which, NAMES)):
        return "Chromium is not installed"
    return "" if (PAGE / "core" / "wasm" / "session_bg.wasm").exists() else "the page has no core: make page"


def renderer(browser: Browser) -> int:
    """The process that runs the page: the busiest renderer of this browser."""
    found = browser.call("SystemInfo.getProcessInfo")["processInfo"]
    pids = [int(one["id"]) for one in found if one["type"] == "renderer"]
    assert pids, "a page has a renderer"
    # By the kernel's account: the browser's own is late on a busy machine.
    return max(pids, key=lambda pid: used(pid)[0])


def resident(pid: int) -> int:
    """Bytes of a process that are in memory, without what it shares with files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def checked(page: Page, pairs: int) -> int:
    """Checksums that were right; none may be wrong, and every book is in sync."""
    counts: dict[str, Any] = page.run(COUNTS)
    assert counts["checksums"]["book"]["bad"] == 0, counts
    assert counts["in_sync"] == pairs, counts
    return int(counts["checksums"]["book"]["ok"])


def watched(page: Page, pid: int, seconds: float) -> dict[str, float]:
    """CPU of the page, and frames that it drew, over some seconds."""
    page.run("""(() => { window.drawn = 0; const {draw} = krakpot.chart
        krakpot.chart.draw = function (...of) { const did = draw.apply(this, of); drawn += did; return did } })()""")
    before, begun, drawn = used(pid)[0], time.monotonic(), page.run("drawn")
    page.browser.listen(seconds)
    cpu, passed = used(pid)[0] - before, time.monotonic() - begun
    return {"core": cpu / passed, "frames": (page.run("drawn") - drawn) / passed}


def memory(page: Page, pid: int, minutes: float) -> list[dict[str, float]]:
    """Heap after a collection, and the process, now and then."""
    page.call("HeapProfiler.enable")
    found, begun = [], time.monotonic()
    while True:
        page.call("HeapProfiler.collectGarbage")
        heap = page.call("Runtime.getHeapUsage")
        found.append({
            "minutes": (time.monotonic() - begun) / 60, "heap": heap["usedSize"],
            "buffers": heap.get("backingStorageSize", 0), "remembered": page.run("krakpot.market.bytes"),
            "resident": resident(pid),
        })  # fmt: skip
        if time.monotonic() - begun >= minutes * 60:
            return found
        page.browser.listen(min(STEP, minutes * 60 / 4))


async def measure(pairs: int, rate: float, depth: int, seconds: float, minutes: float = 0) -> dict[str, Any]:
    """Facts of one load."""
    with hosted() as origin:
        arguments = ("--port", "0", "--pairs", str(pairs), "--rate", str(rate), "--origin", origin)
        async with krakpot("exchange", *arguments) as exchange:
            address = await exchange.until(rb"(ws://\S+/v2)")
            return await asyncio.to_thread(shown, f"{origin}/#source={address}&depth={depth}", pairs, seconds, minutes)


def shown(url: str, pairs: int, seconds: float, minutes: float) -> dict[str, Any]:
    """Facts of the page at an address."""
    with Browser() as browser:
        page = browser.page()
        # It would be told of each frame of each socket.
        page.call("Network.disable")
        page.go(url)
        page.until("window.krakpot?.market.book.states > 10", 60)
        page.until(f"{COUNTS}?.in_sync === {pairs}", 120)
        browser.listen(SETTLE)
        pid = renderer(browser)
        before, begun = checked(page, pairs), time.monotonic()
        found: dict[str, Any] = watched(page, pid, seconds)
        found |= {"pairs": pairs, "messages": (checked(page, pairs) - before) / (time.monotonic() - begun)}
        if minutes:
            found["memory"] = memory(page, pid, minutes)
            checked(page, pairs)
        assert page.errors == [], page.errors
    assert found["frames"] > 0, "nothing was drawn"
    assert found["messages"] > 0, "nothing came"
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="little work, for the tests")
    parser.add_argument("--minutes", type=float, default=0, help="watch the memory for so long")
    options = parser.parse_args()
    if lacks := missing():
        print(json.dumps({"missing": lacks}) if options.json else f"the page is left out: {lacks}")
        return
    if _core.DEBUG and not options.small:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    if options.small:
        found = {"small": asyncio.run(measure(5, 300, 100, 2))}
    elif options.minutes:
        found = {"memory": asyncio.run(measure(20, RATE_MEMORY, 100, 10, options.minutes))}
    else:
        found = {f"depth {depth}": asyncio.run(measure(50, 10_000, depth, 20)) for depth in (100, 1000)}
    if options.json:
        print(json.dumps({"missing": "", **found}))
        return
    print(f"{os.cpu_count()} cores; the browser draws without a graphics card")
    for name, facts in found.items():
        print(
            f"{name}: {facts['pairs']} pairs, {facts['messages']:,.0f} checked books/s; "
            f"page {facts['core']:.0%} of a core, {facts['frames']:.0f} frames/s"
        )
        for one in facts.get("memory", ()):
            print(
                f"  {one['minutes']:5.1f} min: heap {one['heap'] / 1e6:.1f} MB, buffers {one['buffers'] / 1e6:.1f} MB "
                f"(of which remembered {one['remembered'] / 1e6:.1f} MB), process {one['resident'] / 1e6:.0f} MB"
            )


if __name__ == "__main__":
    main()

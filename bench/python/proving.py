"""The proof in a browser beside ``krakpot verify``: a million messages of books, on the same lake, in turn.

Goal: seconds in Chromium from the first byte to the verdict, with the workers that a page has, and the ratio to native
code in one run. Both must find the same.
Not goals: the disk and the network: the files come from this machine, and all are in the cache.

``python bench/python/proving.py`` prints the figures, ``--json`` one JSON object; ``--small`` is for the tests. It
needs Chromium and what ``make wasm`` builds; without them it says so.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402  # after the path of the tests
from krakpot import verify  # noqa: E402  # after the path of the tests
from made import make  # noqa: E402  # after the path of the tests

BUDGET = 5.0
"""Seconds for a million messages."""
SECONDS, RATE, PAIRS = 112, 10_000, 20
REPEATS = 3
PROGRAM = """(async () => {
    const { prove, fetched } = await import('/web/prove.js')
    const parts = %s
    const files = parts.map(({ path, bytes }) => ({ path, bytes, blob: () => fetched('/lake/' + path) }))
    const begun = performance.now()
    const { outcome, checksums, problems } = await prove(files)
    const seconds = (performance.now() - begun) / 1000
    return { outcome, checksums, problems, seconds, workers: Math.min(navigator.hardwareConcurrency, 4) }
})()"""


def missing() -> str:
    """Sentence that says what is not there; empty if all is."""
    if not any(map(shutil.which, browser.NAMES)):
        return "Chromium is not installed"
    built = all((ROOT / "web" / name).exists() for name in ("wasm/proof_bg.wasm", "vendor/parquet_wasm_bg.wasm"))
    return "" if built else "the modules are not built: make wasm"


class Files(http.server.SimpleHTTPRequestHandler):
    """The package, and a lake."""

    lake = Path()

    def translate_path(self, path: str) -> str:
        """A file of the lake, or of the project."""
        if path.startswith("/lake/"):
            return str(self.lake / path.removeprefix("/lake/"))
        return super().translate_path(path)

    def log_message(self, *_: object) -> None:
        """Say nothing of a request."""


def in_browser(lake: Path, page: browser.Page) -> dict[str, Any]:
    """What the page finds, and how long it took."""
    parts = [
        {"path": path.relative_to(lake).as_posix(), "bytes": path.stat().st_size} for path in lake.rglob("*.parquet")
    ]
    return dict(page.run(PROGRAM % json.dumps(parts)))


def measure(seconds: float, repeats: int) -> dict[str, Any]:
    """Both sides in turn, so that a change of the machine's speed meets both."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder, "lake")
        make(lake, pairs=PAIRS, rate=RATE, seconds=seconds)
        Files.lake = lake
        serving = functools.partial(Files, directory=str(ROOT))
        pairs = []
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving) as server, browser.Browser() as chromium:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page = chromium.page()
            page.go(f"http://127.0.0.1:{server.server_port}/web/package.json")
            for _ in range(repeats):
                begun = time.perf_counter()
                expected = verify(lake)
                native = time.perf_counter() - begun
                found = in_browser(lake, page)
                assert found["outcome"] == expected.outcome == "proved", found["problems"]
                assert found["checksums"] == expected.checksums, "both find the same"
                pairs.append((native, found["seconds"]))
            server.shutdown()
    native, wasm = (min(times) for times in zip(*pairs, strict=True))
    messages = expected.ok
    return {
        "missing": "",
        "messages": messages,
        "native_s": native,
        "browser_s": wasm,
        "ratio": wasm / native,
        "million_s": wasm * 1e6 / messages,
        "budget_s": BUDGET,
        "workers": found["workers"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few messages, for the tests")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    lacks = missing()
    found = {"missing": lacks} if lacks else measure(*((3.0, 1) if options.small else (SECONDS, REPEATS)))
    if options.json:
        print(json.dumps(found))
    elif lacks:
        print(f"the proof in a browser is left out: {lacks}")
    else:
        print(
            f"{found['messages']:,} messages: {found['native_s']:.2f} s natively, {found['browser_s']:.2f} s in "
            f"Chromium with {found['workers']} workers, {found['ratio']:.1f} times as long; "
            f"{found['million_s']:.2f} s a million, budget {found['budget_s']:.0f} s"
        )


if __name__ == "__main__":
    main()

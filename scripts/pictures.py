"""Make the pictures of README and docs that show the page, the widget and the scenes of Godot.

The market is that of the built-in exchange, recorded for a hundred seconds with level 3. Look at what it made before
you commit it. ``make pictures`` calls it, with the helpers of the tests; it needs Chromium and Godot. That of the
widget needs JupyterLab, which is fetched once into ``target/tools``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from PIL import Image

import krakpot
import notebooks
from browser import Browser, Page
from processes import running, wait_for

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 100
KEY = {"KRAKPOT_API_KEY": "key", "KRAKPOT_API_SECRET": "c2VjcmV0"}
"""What the exchange lets in to level 3. It is the built-in one's alone."""
PAIR = "BTC/USD"


def recorded(folder: Path) -> Path:
    """A lake of the built-in exchange: books of many pairs at depth 1000, every order of one."""
    os.environ |= KEY
    lake, log = folder / "lake", folder / "exchange.log"
    log.touch()
    exchange = ("exchange", "--port", "0", "--pairs", "40", "--rate", "900", "--seed", "11", "--json")
    with running(*exchange, err=log) as process:
        line = wait_for("ws://", log, process)
        rest = wait_for("http://", log, process)
        url = re.search(r"ws://\S+?/v2", line)
        rest_url = re.search(r"http://[\w.:]+", rest)
        assert url is not None, line
        assert rest_url is not None, rest
        subprocess.run(
            [
                sys.executable, "-m", "krakpot", "record", "--url", url[0], "--rest-url", rest_url[0],
                "--depth", "1000",
                "--channels", "book,trade,ticker,level3", "--channel-symbols", f"level3={PAIR}",
                "--for", f"{SECONDS}s", "--out", str(lake),
            ],
            check=True,
        )  # fmt: skip
    return lake


@contextmanager
def viewed(lake: Path, folder: Path) -> Iterator[str]:
    """The address of a server of the lake."""
    log = folder / "view.log"
    log.touch()
    with running("view", lake, "--port", "0", "--no-open", "--json", err=log) as process:
        found = re.search(r"http://\S+", wait_for("http://", log, process))
        assert found is not None
        yield found[0].rstrip(".")


def shot(page: Page, path: Path) -> None:
    """Take a picture, in 256 colours: a third of the bytes."""
    page.picture(path)
    with Image.open(path) as whole:
        small = whole.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def shown(page: Page, address: str, query: str, at_us: int, depth: int) -> None:
    """Go to an instant, and wait until the half minute before it is drawn."""
    at = dt.datetime.fromtimestamp(at_us / 10**6, dt.UTC).isoformat(timespec="milliseconds")
    page.go(f"{address}{query}#symbol={PAIR}&depth={depth}&t={at.replace('+00:00', 'Z')}")
    page.until("window.krakpot && krakpot.market.book.states > 20 && krakpot.jump.to === null", 90)
    page.browser.listen(1.5)


def page_pictures(browser: Browser, address: str, out: Path) -> None:
    """The page: wide and dark, light, on a phone, and the queues of level 3."""
    first = browser.page(1440, 860)
    first.go(address)
    begin = int(first.until("window.krakpot && krakpot.market.hello?.begin"))
    first.close()
    at = begin + 80 * 10**6
    for name, size, look, depth in (
        ("page", (1440, 860), "dark", 100),
        ("page-light", (1440, 860), "light", 100),
        ("page-phone", (390, 844), "dark", 25),
    ):
        page = browser.page(*size, dark=look == "dark", phone=name.endswith("phone"))
        shown(page, address, f"?theme={look}", at, depth)
        shot(page, out / f"{name}.png")
        page.close()
    page = browser.page(1440, 860)
    page.go(f"{address}?theme=dark#symbol={PAIR}&depth=100")
    page.until("window.krakpot && krakpot.market.book.states > 3")
    page.key("o")
    page.until("krakpot.market.queues.frames.length > 0", 60)
    page.run(f"krakpot.goTo({at}, true)")
    page.until("krakpot.jump.to === null && krakpot.market.time.paused", 90)
    page.until(f"Boolean(krakpot.market.queues.at({at}))", 30)
    page.browser.listen(1.5)
    shot(page, out / "page-orders.png")
    page.close()


def widget_picture(browser: Browser, lake: Path, out: Path) -> None:
    """A cell of JupyterLab that shows the same instant."""
    (begin,) = krakpot.Lake(lake).coverage(PAIR).select(pl.col("ts_from").min()).row(0)
    at = (begin + dt.timedelta(seconds=80)).replace(microsecond=0, tzinfo=None).isoformat()
    cell = f'import krakpot\n\nlake = krakpot.Lake("{lake.name}")\nlake.view("{PAIR}", at="{at}", height=620)'
    with notebooks.jupyterlab(browser, lake.parent, cell, dark=True) as page:
        page.run("jupyterapp.commands.execute('application:toggle-left-area').then(() => true)")
        page.size(1440, 860)
        notebooks.run_cell(page, 0)
        page.until(notebooks.WIDGET, 60)
        page.until("krakpot.market.book.states > 20 && krakpot.jump.to === null && krakpot.market.time.paused", 90)
        page.browser.listen(1.5)
        shot(page, out / "widget.png")


def main() -> None:
    """Make all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="krakpot-pictures-") as name:
        folder = Path(name)
        lake = recorded(folder)
        with Browser() as browser:
            with viewed(lake, folder) as address:
                page_pictures(browser, address, out)
            widget_picture(browser, lake, out)
    subprocess.run([ROOT / "scripts" / "pictures-godot", out], check=True)


if __name__ == "__main__":
    main()

"""The panel that proves a recording, in a browser: the served lake, dropped files, the address, no recording at all."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import lakes
from browser import Page
from krakpot.lake.verify import verify
from krakpot.serve.server import ViewServer
from viewing import running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DONE = "window.krakpot?.prove.report !== null && krakpot.prove.bar.hidden"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the core beside it, as a build has it."""
    if not (ROOT / "web/vendor/parquet_wasm_bg.wasm").exists() or not (ROOT / "web/wasm/proof_bg.wasm").exists():
        pytest.skip("krakpot for browsers is not built: make wasm")
    folder = tmp_path_factory.mktemp("page") / "page"
    shutil.copytree(ROOT / "python/krakpot/page", folder, ignore=shutil.ignore_patterns("core"))
    (folder / "core").mkdir()
    for path in (ROOT / "web").glob("*.js"):
        shutil.copy(path, folder / "core")
    for name in ("wasm", "vendor"):
        shutil.copytree(ROOT / "web" / name, folder / "core" / name)
    return folder


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake of two pairs."""
    lakes.make(tmp_path / "lake", lakes.market(600), depth=10)
    return tmp_path / "lake"


@pytest.fixture
def server(lake: Path, web: Path) -> Iterator[ViewServer]:
    """A view of it."""
    with running(lambda: ViewServer(lake, port=0, page=web)) as found:
        yield found


def altered(part: Path) -> None:
    """One digit of one quantity is another one."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        row = frame.with_row_index("n").filter(kind="snapshot", side="bid").sort("price")["n"][-1]
        more = pl.when(pl.int_range(pl.len()) == row).then(pl.lit("0.00000001").str.to_decimal(scale=10)).otherwise(0)
        return frame.with_columns((pl.col("qty") + more).cast(frame.schema["qty"]))

    lakes.rewrite(part, change)


def drop(page: Page, files: dict[str, bytes]) -> None:
    """Drop files on the page, as a person does with the mouse."""
    given = {name: base64.b64encode(content).decode() for name, content in files.items()}
    page.run(f"""(() => {{
        const given = new DataTransfer()
        for (const [name, text] of Object.entries({json.dumps(given)})) {{
            given.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name))
        }}
        krakpot.prove.report = null
        document.body.dispatchEvent(new DragEvent('dragover', {{dataTransfer: given, bubbles: true, cancelable: true}}))
        document.body.dispatchEvent(new DragEvent('drop', {{dataTransfer: given, bubbles: true, cancelable: true}}))
    }})()""")


def said(page: Page) -> tuple[dict[str, Any], str]:
    """The counts of the report that is shown, and the words of the panel."""
    page.until(DONE)
    found = page.run("""(() => { const {outcome, ok, bad, checksums, unchecked, problems} = krakpot.prove.report
        return {outcome, ok, bad, checksums, unchecked, problems} })()""")
    return found, page.text("#prove")


def test_the_served_lake_is_proved(page: Page, server: ViewServer, lake: Path) -> None:
    """By a key and a button, in workers: with the counts of `krakpot verify`."""
    page.go(server.address)
    page.until("window.krakpot?.market.hello")
    page.key("v")
    page.until("document.querySelector('#prove').open && !krakpot.prove.lake.hidden")
    page.run("krakpot.prove.lake.click()")
    found, words = said(page)
    expected = verify(lake)
    assert (found["outcome"], found["problems"]) == ("proved", [])
    assert found["checksums"] == expected.checksums
    assert found["ok"] > 300
    assert "Proved: " in words
    assert page.run("document.querySelectorAll('#prove tbody tr').length") == 2


def test_dropped_parts_and_one_altered_digit(page: Page, server: ViewServer, lake: Path) -> None:
    """A part alone is proved; with one digit changed it names pair, session, message, time and both checksums."""
    page.go(server.address)
    page.until("window.krakpot?.market.hello")
    part = lakes.parts(lake, "book")[0]
    drop(page, {part.name: part.read_bytes()})
    found, words = said(page)
    assert (found["outcome"], found["bad"]) == ("proved", 0)
    assert "the ledger is not among these files" in words
    altered(part)
    drop(page, {part.name: part.read_bytes()})
    found, words = said(page)
    assert (found["outcome"], found["bad"]) == ("not proved", 1)
    (sentence,) = [problem for problem in verify(lake).problems if "expected" in problem]
    numbers = re.search(r"message (\d+): checksum (\d+) expected, (\d+) computed", sentence)
    assert numbers is not None
    row = page.run("[...document.querySelector('#prove tbody tr').cells].map(cell => cell.textContent)")
    time = pl.read_parquet(part, hive_partitioning=False).filter(message=int(numbers[1]))["ts_recv"][0]
    assert [row[0], row[2].replace(",", ""), *row[4:]] == [sentence.split(":")[0], *numbers.groups()]
    assert row[3].startswith(f"{time:%Y-%m-%d %H:%M:%S.}")
    assert row[1] in part.name


def test_an_address_is_proved_and_what_is_no_recording_is_said(page: Page, server: ViewServer, lake: Path) -> None:
    """`#prove=URL`; Parquet of something else, damaged, cut, no Parquet, an address that cannot be read."""
    part = lakes.parts(lake, "book")[0]
    base = server.address.split("?")[0]
    page.go(f"{server.address}#prove={base}lake/{part.relative_to(lake).as_posix()}")
    found, _ = said(page)
    assert found["outcome"] == "proved"
    assert found["ok"] > 300
    content = part.read_bytes()
    hurt = bytearray(content)
    hurt[len(hurt) // 3 : len(hurt) // 3 + 200] = bytes(200)
    other = lake.parent / "else.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(other)
    for given, expected in (
        (b"hello, world", "it is no Parquet file"),
        (content[: len(content) // 2], "its end is missing"),
        (bytes(hurt), "cannot be read: "),
        (other.read_bytes(), "a Parquet file of something else"),
    ):
        drop(page, {"given.parquet": given})
        found, words = said(page)
        assert found["outcome"] == "not proved"
        assert expected in words
    # After a damaged file the next one is read as before.
    drop(page, {part.name: content})
    assert said(page)[0]["outcome"] == "proved"
    page.run("krakpot.prove.report = null; void krakpot.prove.address('lake/nothing.parquet')")
    page.until(DONE)
    assert "its server answered 404" in page.text("#prove")
    # The console tells of the 404, which was asked for.
    page.errors[:] = [error for error in page.errors if "404" not in error]


def test_a_proof_can_be_stopped(page: Page, server: ViewServer) -> None:
    """The button ends it, and says that nothing was proved."""
    page.go(server.address)
    page.until("window.krakpot?.market.hello")
    page.run("""void krakpot.prove.prove([{path: 'book.parquet', bytes: 1, blob: () => new Promise(() => {})}])""")
    page.until("!krakpot.prove.stop.hidden")
    page.run("krakpot.prove.stop.click()")
    page.until("document.querySelector('#prove .verdict').textContent.includes('Stopped')")

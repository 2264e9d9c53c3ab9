"""krakpot for browsers: the modules that `make wasm` builds, and the package around them, in node."""

from __future__ import annotations

import asyncio
import functools
import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import polars as pl
import pyarrow as pa
import pytest

import frames
import krakpot
from browser import Browser
from krakpot import _core
from krakpot.exchange.frames import unframe

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
GZIPPED_MAX = 200_000
"""Bytes that a page loads for sessions, books and events."""
RECORDED = {
    "book-btcusd-d25.jsonl": (25, "BTC/USD", (1, 8)),
    "book-xrpusd-d25.jsonl": (25, "XRP/USD", (5, 8)),
    "book-btcusd-d10-2023-unpadded.jsonl": (10, "BTC/USD", (1, 8)),
}
Precision = dict[str, tuple[int, int]]


def node(*arguments: str | Path) -> str:
    """Output of node or of a tool that it runs."""
    command = ["node", *map(str, arguments)]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_package_does_what_it_says() -> None:
    """The tests in JavaScript: sessions, feeds on the exchange in the page, back-off."""
    # Later versions of node take no folder, and print another form.
    said = node("--test", "--test-reporter=tap", *sorted(WEB.glob("test/*.test.js")))
    (passed,) = [int(line.split()[-1]) for line in said.splitlines() if line.startswith("# pass ")]
    assert passed > 15, said


def test_the_types_are_right() -> None:
    """Of its own JavaScript; and of a program that uses the package by name, with the types that are shipped."""
    tsc = WEB / "node_modules/typescript/bin/tsc"
    node(tsc, "--project", ".", "--noEmit")
    node(tsc, "--project", "test")


def test_the_package_holds_what_its_users_need() -> None:
    """Modules, types, licences; no tests."""
    npm = shutil.which("npm")
    assert npm is not None, "node comes with npm"
    listed = subprocess.run(
        [npm, "pack", "--dry-run", "--json"], cwd=WEB, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    needed = ["index.js", "feed.js", "types/index.d.ts", "types/wasm/session.d.ts"]
    needed += [f"wasm/{name}{end}" for name in ("session", "proof", "exchange") for end in (".js", "_bg.wasm")]
    assert [name for name in needed if f'"path": "{name}"' not in listed] == []
    assert "test/" not in listed


def test_a_page_loads_little() -> None:
    """The module of sessions, books and events has no exchange and no Arrow in it."""
    size = len(gzip.compress((WEB / "wasm/session_bg.wasm").read_bytes(), 9))
    assert 50_000 < size <= GZIPPED_MAX


def native(path: Path, depth: int, precision: Precision) -> str:
    """The digest that the core computes without Python."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "run", "--quiet", "--package", "krakpot-core", "--example", "digest", "--", str(path), str(depth)]
    command += [f"{symbol}={price},{qty}" for symbol, (price, qty) in precision.items()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=280, check=True)
    return done.stdout.strip()


def python(lines: list[tuple[int, bytes]], depth: int, precision: Precision) -> tuple[str, _core.Session]:
    """The digest through the extension."""
    session, digest = _core.Session("digest", passive=True, depth=depth, precision=precision), _core.Digest()
    for number, (at, frame) in enumerate(lines):
        session.receive([frame], at)
        if number % 1000 == 0:
            digest.take(session)
    digest.take(session)
    return f"{digest.value(session):016x}", session


def digests(
    lines: list[tuple[int, bytes]], depth: int, precision: Precision, folder: Path
) -> tuple[set[str], _core.Session]:
    """Of Rust, Python and WebAssembly; and Python's session."""
    path = folder / "frames"
    path.write_bytes(b"".join(b"%d\t%s\n" % line for line in lines))
    decimals = [f"{symbol}={price},{qty}" for symbol, (price, qty) in precision.items()]
    wasm = node(ROOT / "bench/javascript/digest.js", path, str(depth), *decimals).strip()
    found, session = python(lines, depth, precision)
    return {wasm, found, native(path, depth, precision)}, session


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_frames_have_one_hash_everywhere(data: Path, tmp_path: Path, name: str) -> None:
    """Rows, books and counts of Kraken's own frames are the same in Rust, Python and WebAssembly."""
    depth, symbol, precision = RECORDED[name]
    recorded = (data / "recorded" / name).read_bytes().splitlines()
    lines = [(frames.START + number, line) for number, line in enumerate(recorded)]
    found, session = digests(lines, depth, {symbol: precision}, tmp_path)
    assert len(found) == 1, found
    assert session.counts()["checksums"]["book"]["ok"] > 500
    other, _ = python([(at + (at == lines[-1][0]), line) for at, line in lines], depth, {symbol: precision})
    assert other not in found, "a nanosecond is a difference"


def generated(count: int) -> list[tuple[int, bytes]]:
    """Frames of all public channels and of level 3, from the built-in exchange; some are damaged."""
    random = Random(16)
    start = frames.START
    exchange = _core.Exchange(pairs=12, rate=4000, seed=16, start=start)
    exchange.allow("token", start + frames.HOUR)
    channels = ("book", "trade", "ticker", "ohlc", "level3")
    session = _core.Session("asks", channels=channels, depth=25, tokenised=True)
    session.set_token("token")
    clients = {"public": exchange.connect(), "level3": exchange.connect("level3")}
    found: list[tuple[int, bytes]] = []
    now = start
    while len(found) < count:
        now += 5_000_000
        for request in session.requests(now):
            exchange.receive(clients["level3" if b'"level3"' in request else "public"], request)
        exchange.advance(now)
        for client in clients.values():
            for text in unframe(exchange.take(client)):
                session.receive([text], now)
                found.append((now, text))
                if random.random() < 0.002:
                    found.append((now, text[: random.randrange(len(text))]))
    # One pair's books end with a wrong digit; the others stay right to the end.
    symbol = f'"{exchange.symbols[0]}"'.encode()
    at = next(
        n for n, (_, text) in enumerate(found) if n > count * 9 // 10 and symbol in text and b'"checksum"' in text
    )
    time, text = found[at]
    head, digits = text.split(b'"checksum":')
    found[at] = time, head + b'"checksum":' + (b"1" if digits[:1] != b"1" else b"2") + digits[1:]
    return [(at, text) for at, text in found[:count] if b"\n" not in text]


def test_a_hundred_thousand_frames_have_one_hash_everywhere(tmp_path: Path) -> None:
    """The same for all channels, of books that are right and of one that is wrong, and of frames that are refused."""
    lines = generated(100_000)
    found, session = digests(lines, 25, {}, tmp_path)
    assert len(found) == 1, found
    counts = session.counts()
    assert counts["frames"] == len(lines) == 100_000
    assert all(counts["messages"].get(channel, 0) > 50 for channel in ("book", "trade", "ticker", "ohlc", "level3"))
    assert counts["checksums"]["book"]["ok"] > 10_000
    assert counts["checksums"]["level3"]["ok"] > 1000
    assert counts["checksums"]["book"]["bad"] + counts["checksums"]["level3"]["bad"] > 0
    assert counts["errors"] > 50


def columns(rows: pl.DataFrame) -> dict[str, dict[str, object]]:
    """Columns with their type and values as text, for `prove.js`."""
    types = {pl.UInt8: "u8", pl.UInt16: "u16", pl.UInt32: "u32", pl.UInt64: "u64", pl.Int64: "time", pl.String: "text"}
    found: dict[str, dict[str, object]] = {}
    for name in rows.columns:
        if name in {"session", "extra", "origin"}:
            continue
        column = rows[name]
        if column.dtype == pl.Decimal:
            values = [None if value is None else str(int(value.scaleb(10))) for value in column]
            found[name] = {"type": "decimal", "values": values}
            continue
        if column.dtype == pl.Datetime:
            column = column.cast(pl.Int64)
        values = [None if value is None else str(value) for value in column]
        found[name] = {"type": types[type(column.dtype)], "values": values}
    return found


@pytest.mark.parametrize(("channel", "table"), [("book", "book"), ("level3", "orders")])
def test_recorded_rows_are_proved_and_a_changed_digit_is_found(tmp_path: Path, channel: str, table: str) -> None:
    """The verdict of every symbol is the extension's; a quantity that differs by one step is a wrong checksum."""
    session = _core.Session("digest", passive=True, depth=25)
    for at, frame in generated(4000):
        session.receive([frame], at)
    rows = pl.DataFrame(pa.record_batch(session.drain()[table])).sort("symbol", "message", "entry")
    # The first pair was damaged on its way, and what that means is in the ledger.
    symbols = rows["symbol"].unique().sort()
    rows = rows.filter(pl.col("symbol").is_in(symbols.filter(symbols != "BTC/USD").head(3).implode()))
    best = rows.with_row_index("n").filter(pl.col("side") == "bid", kind="snapshot").sort("price")["n"][-1]
    step = pl.when(pl.int_range(pl.len()) == best).then(pl.lit(1).cast(rows.schema["qty"])).otherwise(0)
    changed = rows.with_columns((pl.col("qty") + step).cast(rows.schema["qty"]))
    bad = 0
    for content in (rows, changed):
        verifier = _core.Verifier("digest", channel=channel)
        verifier.messages(content)
        expected = verifier.finish()
        path = tmp_path / "rows"
        path.write_text(json.dumps({"session": "digest", "channel": channel, "messages": columns(content)}))
        found = json.loads(node(ROOT / "tests/web/prove.js", path))
        assert len(found) == len(expected) == 3
        assert [{key: one[key] for key in two} for one, two in zip(found, expected, strict=True)] == expected
        assert sum(one["ok"] for one in found) > 50
        bad = sum(one["bad"] for one in found)
        assert (bad > 0) == (content is changed)
    assert bad


def test_a_feed_in_node_follows_an_exchange_over_sockets() -> None:
    """Books of `krakpot exchange`, subscribed and proved in another process; the socket is one of npm's `ws`."""

    async def follow() -> bytes:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=5, rate=500)) as exchange:
            command = ["node", str(ROOT / "tests/web/follow.js"), exchange.address, "200"]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            said, _ = await asyncio.wait_for(process.communicate(), 120)
            return said

    counts = json.loads(asyncio.run(follow()))
    assert counts["connected"] is True
    assert counts["selected"] == counts["in_sync"] == 5
    assert counts["checksums"]["book"]["ok"] >= 200
    assert (counts["checksums"]["book"]["bad"], counts["errors"]) == (0, 0)
    assert counts["messages"]["trade"] > 0


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of the project, without a line for each request."""

    def log_message(self, *_: object) -> None: ...


def test_a_real_browser_has_books_without_a_server() -> None:
    """Chromium runs the exchange and a feed in one page from plain files, with no other connection."""
    serving = functools.partial(Files, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving) as server, Browser() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.page()
        address = f"http://127.0.0.1:{server.server_port}/"
        page.go(f"{address}tests/web/page.html")
        said = page.until("found.textContent !== 'nothing yet' && found.textContent")
        server.shutdown()
    assert said == "books: 3, wrong: 0, levels: 20"
    assert len(page.requests) > 5
    assert [url for url in page.requests if not url.startswith(address)] == []


def test_the_benchmark_runs() -> None:
    """Once and quickly: both sides have one answer, and the ratio is one of times."""
    command = [sys.executable, str(ROOT / "bench/python/wasm.py"), "--small", "--json"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=280, check=True).stdout)
    assert found["missing"] == ""
    assert found["frames"] > 1000
    assert found["wasm_ns"] / found["native_ns"] == found["ratio"]
    assert found["gzipped"] <= GZIPPED_MAX

"""Other clients of Kraken's feed on the same frames, in the same run: from a socket to a book, CPU per frame.

Each peer has a separate environment below ``target/peers``, made here with an interpreter that it supports; krakpot
does not depend on any of them. If an interpreter or a package is missing, its row says so. A time counts only if the
answer is right: the ten best levels at the end are those of the stream.

``make bench-peers``, or ``python bench/python/peers.py [--small] [--json]``.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import measure
import readers
from krakpot import _core

PEERS = Path(__file__).parents[1] / "peers"
ENVIRONMENTS = Path(__file__).parents[2] / "target/peers"
PYENV = Path.home() / ".pyenv/versions"
TIMEOUT = 300
LEVELS = 10
PATIENCE = 1.0
"""Seconds to wait for a subscription: nautilus drops what comes before it has subscribed."""


@dataclass(frozen=True)
class Peer:
    """A client and what it needs."""

    name: str
    """Name of its program, without ``.py``, and of its environment."""
    words: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...] = ("3.13", "3.12", "3.11")
    """Versions that it supports, the best first."""
    books: bool = True
    """Whether it keeps a book."""
    checks: bool = True
    """Whether it compares checksums."""
    counts: bool = True
    """Whether it reports how many messages it received."""


ALL = (
    Peer(
        "floor", "websockets and orjson: parsed, nothing kept", ("websockets>=16", "orjson"), books=False, checks=False
    ),
    Peer(
        "order_book_msgspec",
        "websockets, msgspec, order_book: checked book",
        ("websockets>=16", "msgspec", "order_book"),
    ),
    Peer("cryptofeed_3", "cryptofeed 3: checked book", ("cryptofeed>=3,<4",), ("3.13",)),
    Peer("ccxt_pro", "ccxt pro: book, no checksum", ("ccxt>=4.5",), checks=False, counts=False),
    Peer("kraken_sdk", "python-kraken-sdk: checked book", ("python-kraken-sdk>=3.5",)),
    Peer(
        "nautilus", "nautilus_trader: book, no checksum", ("nautilus_trader==1.231.0",), ("3.13", "3.12"), checks=False
    ),
)


class Missing(Exception):
    """A peer has no time that counts; the text says why."""


def interpreter(versions: tuple[str, ...]) -> str:
    """An interpreter of one of these versions, on the PATH or of pyenv."""
    for wanted in versions:
        found = [shutil.which(f"python{wanted}"), *sorted(map(str, PYENV.glob(f"{wanted}.*/bin/python")), reverse=True)]
        for path in filter(None, found):
            # A shim of pyenv is on the PATH even if its version is not selected.
            asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            if asked.returncode == 0 and asked.stdout.startswith(f"Python {wanted}."):
                return path
    raise Missing(f"no Python {' or '.join(versions)} here")


def environment(peer: Peer) -> Path:
    """Python of the peer's environment, which is made if it does not exist."""
    folder = ENVIRONMENTS / peer.name
    python, done = folder / "bin/python", folder / "requirements.txt"
    wanted = "\n".join(peer.requirements)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter(peer.pythons), "-m", "venv", folder], check=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
        installed = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if installed.returncode:
            last = (installed.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Missing(f"not installed: {last}")
        done.write_text(wanted)
    return python


def run(peer: Peer, python: Path, port: int, books: int) -> dict[str, Any]:
    """Let the peer read the stream once; returns its report."""
    command = [python, PEERS / f"{peer.name}.py", str(port), str(measure.DEPTH), str(books)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Missing(f"not done after {TIMEOUT} s") from None
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Missing(f"failed: {last}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def book_at_the_end(frames: list[bytes]) -> list[list[tuple[Decimal, Decimal]]]:
    """The ten best levels of each side after the last frame, by a simple model."""
    sides: list[dict[Decimal, Decimal]] = [{}, {}]
    for frame in frames:
        message = json.loads(frame, parse_float=Decimal, parse_int=Decimal)
        if message.get("channel") != "book":
            continue
        (data,) = message["data"]
        for n, name in enumerate(("bids", "asks")):
            for level in data[name]:
                sides[n][level["price"]] = level["qty"]
            kept = sorted((p for p, qty in sides[n].items() if qty), reverse=n == 0)[: measure.DEPTH]
            sides[n] = {price: sides[n][price] for price in kept}
    return [list(side.items())[:LEVELS] for side in sides]


def check(peer: Peer, told: dict[str, Any], expected: list[list[tuple[Decimal, Decimal]]], books: int) -> None:
    """Check that the peer saw everything and its book is right; otherwise its time does not count."""
    if peer.counts and told["messages"] != books:
        raise Missing(f"it saw {told['messages']:,} of {books:,} messages")
    if peer.books:
        found = [[(Decimal(price), Decimal(qty)) for price, qty in side] for side in told["book"]]
        if found != expected:
            raise Missing(
                f"its book at the end is another one: best bid {found[0][0][0]}, which is {expected[0][0][0]}"
            )


def compare(folder: Path, updates: int, rounds: int) -> dict[str, Any]:
    """CPU µs per frame of krakpot and of each peer, medians over interleaved rounds."""
    path = folder / "peers.jsonl"
    books = measure.generate(path, 1, updates)
    frames = path.read_bytes().splitlines()
    expected = book_at_the_end(frames)
    missing: dict[str, str] = {}
    pythons: dict[str, Path] = {}
    for peer in ALL:
        try:
            pythons[peer.name] = environment(peer)
        except Missing as reason:
            missing[peer.name] = str(reason)
    seconds: dict[str, list[float]] = {"krakpot": [], **{name: [] for name in pythons}}
    facts: dict[str, dict[str, Any]] = {}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("blaster.py")), str(path), str(PATIENCE)],
        stdout=subprocess.PIPE,
        text=True,
    ) as blaster:
        try:
            assert blaster.stdout is not None, "asked for"
            port = int(blaster.stdout.readline())
            for turn in range(rounds + 1):
                gc.collect()
                taken, counted = readers.timed("krakpot", port, measure.DEPTH)
                assert counted["checksums"]["book"] == {"ok": books, "bad": 0}, counted
                if turn:
                    seconds["krakpot"].append(taken)
                for peer in ALL:
                    if peer.name in missing:
                        continue
                    try:
                        told = run(peer, pythons[peer.name], port, books)
                        check(peer, told, expected, books)
                    except Missing as reason:
                        missing[peer.name] = str(reason)
                        continue
                    facts[peer.name] = {"python": told["python"], "packages": told["packages"]}
                    if turn:
                        seconds[peer.name].append(told["seconds"])
        finally:
            blaster.kill()
    us = {name: statistics.median(taken) / len(frames) * 1e6 for name, taken in seconds.items() if taken}
    rows = [
        {"name": peer.name, "words": peer.words, "checks": peer.checks, "missing": missing.get(peer.name)}
        | ({} if peer.name in missing else {"us": us[peer.name], "ratio": us[peer.name] / us["krakpot"]})
        | facts.get(peer.name, {})
        for peer in ALL
    ]
    return {"frames": len(frames), "rounds": rounds, "krakpot_us": us["krakpot"], "peers": rows}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="one short round: the answers are asserted all the same")
    options = parser.parse_args()
    if _core.DEBUG:
        sys.exit("the extension is a debug build and says nothing about speed: maturin develop --release")
    with tempfile.TemporaryDirectory() as name:
        found = compare(Path(name), *((2_000, 1) if options.small else (50_000, 3)))
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'krakpot: checked book with rows':52} {found['krakpot_us']:7.2f} µs CPU per frame")
    for row in found["peers"]:
        if row["missing"]:
            print(f"{row['words']:52} {row['missing']}")
        else:
            versions = ", ".join(f"{name} {version}" for name, version in row["packages"].items())
            print(f"{row['words']:52} {row['us']:7.2f} {row['ratio']:6.1f} ×   Python {row['python']}, {versions}")


if __name__ == "__main__":
    main()

"""WebAssembly beside native code: frame → checked book of the same session on the same frames, and what a page loads.

Goal: the ratio of both times in one run, and the compressed size of the module. Both digests are compared, so
that both did the same work. The JavaScript side takes texts, as a WebSocket gives them. No rows are made: a page
makes none.
Not goals: pictures, the network, other engines than node's.

``python bench/python/wasm.py`` prints the figures, ``--json`` one JSON object; ``--small`` is for the tests. It
needs node and the modules that ``make wasm`` builds; without them it says so.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from measure import DEPTH, START, generate

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "web/wasm/session_bg.wasm"
PROGRAM = ROOT / "bench/javascript/digest.js"
PRECISION = "M000/USD=1,8"
"""Of the generated symbol, as the instrument channel would say it."""
UPDATES = 4_000
ROUNDS, REPEATS = 200, 8
"""Rounds of each process, and processes of each side, in turn. The fastest round counts, since other programs only make
rounds slower; a round is shorter than the time that the kernel gives to one of several programs."""


def missing() -> str:
    """Sentence that says what is not there; empty if all is."""
    if shutil.which("node") is None:
        return "node is not installed"
    return "" if MODULE.exists() else "the modules are not built: make wasm"


def timed_frames(lines: list[bytes]) -> bytes:
    """Frames with a receive time before each, as both programs read them."""
    return b"".join(b"%d\t%s\n" % (START + 1000 * n, line) for n, line in enumerate(lines))


def native_program() -> list[str]:
    """Build the program of the native side, as a release."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--release", "--quiet", "--package", "krakpot-core", "--example", "digest"]
    subprocess.run(command, cwd=ROOT, check=True)
    return [str(ROOT / "target/release/examples/digest")]


def run(command: list[str], path: Path, rounds: int) -> tuple[str, float]:
    """Digest and nanoseconds of a frame."""
    done = subprocess.run(
        [*command, str(path), str(DEPTH), PRECISION, "--rounds", str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    digest, ns = done.stdout.split()
    return digest, float(ns)


def measure(updates: int, rounds: int, repeats: int) -> dict[str, Any]:
    """Both sides in turn, so that a change of the machine's speed meets both."""
    native, wasm = native_program(), ["node", str(PROGRAM)]
    with tempfile.TemporaryDirectory() as folder:
        raw, path = Path(folder, "raw"), Path(folder, "frames")
        generate(raw, 1, updates)
        lines = raw.read_bytes().splitlines()
        path.write_bytes(timed_frames(lines))
        pairs = []
        for _ in range(repeats):
            (first, native_ns), (second, wasm_ns) = run(native, path, rounds), run(wasm, path, rounds)
            assert first == second, f"different results: {first} natively, {second} as WebAssembly"
            pairs.append((native_ns, wasm_ns))
    ratios = [wasm_ns / native_ns for native_ns, wasm_ns in pairs]
    native_ns, wasm_ns = (min(times) for times in zip(*pairs, strict=True))
    return {
        "missing": "",
        "frames": len(lines),
        "native_ns": native_ns,
        "wasm_ns": wasm_ns,
        "ratio": wasm_ns / native_ns,
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "gzipped": len(gzip.compress(MODULE.read_bytes(), 9)),
        "node": subprocess.check_output(["node", "--version"], text=True).strip(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few rounds, for the tests")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    lacks = missing()
    found = {"missing": lacks} if lacks else measure(UPDATES, *((3, 1) if options.small else (ROUNDS, REPEATS)))
    if options.json:
        print(json.dumps(found))
    elif lacks:
        print(f"WebAssembly is left out: {lacks}")
    else:
        least, most = found["ratio_least"], found["ratio_most"]
        print(f"frame → checked book: {found['native_ns']:.0f} ns natively, {found['wasm_ns']:.0f} ns as WebAssembly")
        print(f"ratio {found['ratio']:.2f} ({least:.2f} to {most:.2f}); node {found['node']}")
        print(f"session module: {found['gzipped']:,} bytes compressed")


if __name__ == "__main__":
    main()

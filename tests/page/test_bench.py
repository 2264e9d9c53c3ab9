"""The benchmark of the page runs: once and quickly, with its answers asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from browser import chromium

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_runs() -> None:
    """The page follows all books of an exchange in a process of its own, and draws them."""
    chromium()
    if not (ROOT / "python/krakpot/page/core/wasm/session_bg.wasm").exists():
        pytest.skip("the page is not built with the core: make page")
    command = [sys.executable, str(ROOT / "bench/python/page.py"), "--small", "--json"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=280, check=True).stdout)
    small = found["small"]
    assert small["pairs"] == 5
    assert min(small["messages"], small["core"], small["frames"]) > 0

"""The strategy in Rust that docs/trading.md names runs, and is filled."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RUN = ["run", "--quiet", "--profile", "develop", "--package", "krakpot-trade", "--example", "maker", "--", "5"]


@pytest.mark.slow
def test_the_maker_is_filled_and_each_run_is_the_same() -> None:
    """On five seconds of the built-in exchange: a line for each fill with its evidence, then how many there were."""
    command = [os.environ.get("CARGO", "cargo"), *RUN]
    first, again = (subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    *fills, last = first.stdout.splitlines()
    counted = re.fullmatch(r"(\d+) fills, (\d+) messages", last)
    assert counted is not None, last
    assert (len(fills) == int(counted[1]) > 0, int(counted[2]) > 100) == (True, True)
    evidence = "queue|beyond|through|crossed"
    assert all(re.fullmatch(rf"\d+ ms (buy |sell) \d+ at \d+ steps, by ({evidence})", fill) for fill in fills), fills

"""What all tests of krakpot for browsers need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package", autouse=True)
def built() -> None:
    """Modules of these very sources. `KRAKPOT_TEST=all make test` builds them before."""
    if shutil.which("node") is None:
        pytest.skip("krakpot for browsers needs node 20 or later: https://nodejs.org")
    # `make --question` builds nothing.
    asked = subprocess.run(["make", "--question", "target/.wasm"], cwd=ROOT, capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("krakpot for browsers is not built from these sources: make wasm")

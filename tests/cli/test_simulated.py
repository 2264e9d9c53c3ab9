"""Commands around the built-in exchange; what they do is tested where it is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from commands import facts, krakpot
from krakpot import _core

KEYS = {"KRAKPOT_API_KEY": "key", "KRAKPOT_API_SECRET": "c2VjcmV0"}


def test_faults_are_listed() -> None:
    """For people a line each, for programs a list."""
    assert len(krakpot("exchange", "--faults").stdout.splitlines()) == len(_core.FAULTS)
    assert [one["name"] for one in facts(krakpot("exchange", "--faults", "--json"))["faults"]] == [
        row[0] for row in _core.FAULTS
    ]


@pytest.mark.slow
@pytest.mark.parametrize("names", [tuple(KEYS), ()])
def test_the_key_pair_of_the_environment_is_the_exchange_s(names: tuple[str, ...], tmp_path: Path) -> None:
    """Both variables are read: no new key is made where they are set."""
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--for", "1s", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env=os.environ | {name: KEYS[name] for name in names},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 0
    assert ("API key" in done.stderr) == (not names)


def test_most_pairs_are_as_many_as_the_exchange_has() -> None:
    """The bound of ``--pairs`` is that of the extension."""
    assert f"whole number from 1 to {_core.PAIRS_MAX}" in krakpot("exchange", "--pairs", "9999").stderr
    with pytest.raises(ValueError, match=f"pairs must be from 1 to {_core.PAIRS_MAX}, not"):
        _core.Exchange(pairs=_core.PAIRS_MAX + 1, rate=1.0, seed=1, start=0)

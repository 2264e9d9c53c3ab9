"""``krakpot verify`` in a loop beside two recorders, one of which is killed and started again: proved each time.

``tests/lake/test_verify_beside.py`` has every order of the steps; this test has real processes, sealers and sockets.
KRAKPOT_BESIDE gives the seconds, else it takes twenty.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from krakpot.lake.verify import verify
from processes import running, wait_for

SECONDS = float(os.environ.get("KRAKPOT_BESIDE") or 20)
LIFE = 5.0
"""Seconds after which the second recorder is killed."""


@pytest.mark.slow
@pytest.mark.timeout(round(120 + 2 * SECONDS))
def test_it_is_proved_each_time(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """From the first moment to the end of the last sealing; the other recorder seals what the killed one left."""
    lake, log = tmp_path / "lake", tmp_path / "exchange.err"
    runs = kills = largest = 0

    def prove() -> None:
        nonlocal runs, largest
        report = verify(lake, threads=1)
        assert report.problems == [], f"run {runs}, after {kills} kills"
        runs += 1
        largest = max(largest, report.ok)

    with running("exchange", "--port", "0", "--json", "--pairs", "20", "--rate", "500", err=log) as server:
        url = wait_for("listening on", log, server).split()[-1]
        record = ("record", "--url", url, "--out", lake, "--depth", "10", "--json", "--seal-interval", "1s")
        end = time.monotonic() + SECONDS
        with running(*record, err=tmp_path / "first.err") as first:
            wait_for("of 20 pairs", tmp_path / "first.err", first)
            while time.monotonic() < end:
                with running(*record, err=tmp_path / f"{kills}.err"):
                    killed = time.monotonic() + LIFE
                    while time.monotonic() < killed:
                        prove()
                kills += 1
                # Nobody has recovered yet what it left.
                prove()
            first.send_signal(signal.SIGINT)
            while first.poll() is None:
                prove()
            assert first.returncode == 0, (tmp_path / "first.err").read_text()
    prove()
    record_property("times", runs)
    assert (runs > 10, kills > 1, largest > 500) == (True, True, True)

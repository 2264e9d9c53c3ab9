"""``kill -9`` of the recorder at random moments, against the built-in exchange and its own log of what it sent.

The numbers of frames in the log are the numbers of messages in the lake, so that the two are compared line by line.
KRAKPOT_TEST=all kills twelve times instead of three, KRAKPOT_KILLS=200 so often (five seconds each); KRAKPOT_SEED
repeats a run's moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from krakpot.compare.exchange import COMPARED
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from losses import recorded, sent
from processes import TIMEOUT, running, wait_for

KILLS = int(os.environ.get("KRAKPOT_KILLS") or (12 if os.environ.get("KRAKPOT_TEST") == "all" else 3))
SEED = int(os.environ.get("KRAKPOT_SEED") or random.SystemRandom().randrange(10**6))
LATE = 1_500_000_000
"""What was sent so long before the kill must be in the lake, ns: the journal is written every 0.2 s, the rest is for a
busy machine."""


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes that it started: its sealer, if one runs."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * KILLS)
def test_nothing_is_lost_to_kill_9(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Recorders are killed at random moments, half of them together with their sealer; each next one recovers what the
    one before left. Every message that the exchange sent some time before a kill is in the lake, once, and the same;
    the proof holds; a second recorder that lives in the same lake is not touched.
    """
    record_property("times", KILLS)
    print(f"KRAKPOT_SEED={SEED}")  # noqa: T201  # pytest shows it when the test fails
    rng = random.Random(SEED)
    lake, log = tmp_path / "lake", tmp_path / "log.csv"
    exchange_err = tmp_path / "exchange.err"
    exchange = ("exchange", "--port", "0", "--json", "--pairs", "20", "--rate", "2000", "--log", log)
    kills: list[int] = []
    with running(*exchange, err=exchange_err) as server:
        url = wait_for("listening on", exchange_err, server).split()[-1]
        options = ("--url", url, "--out", lake, "--depth", "100", "--json", "--seal-interval")
        with running("record", *options, "3s", err=tmp_path / "survivor.err") as survivor:
            wait_for("of 20 pairs", tmp_path / "survivor.err", survivor)
            for n in range(KILLS):
                err = tmp_path / f"{n}.err"
                with running("record", *options, "1s", err=err) as recorder:
                    # From here on it has a connection, and writes.
                    wait_for("of 20 pairs", err, recorder)
                    time.sleep(rng.uniform(0.3, 4.0))
                    victims = [recorder.pid, *(children(recorder) if n % 2 else [])]
                    kills.append(time.time_ns())
                    for pid in victims:
                        # A sealer may have ended by itself since it was listed.
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    assert recorder.wait(TIMEOUT) == -signal.SIGKILL
            with running("record", *options, "1s", "--for", "3s", err=tmp_path / "last.err") as last:
                out, _ = last.communicate(timeout=TIMEOUT)
                assert last.returncode == 0, (tmp_path / "last.err").read_text()
                last_session = json.loads(out)["sessions"][0]
            survivor.send_signal(signal.SIGINT)
            out, _ = survivor.communicate(timeout=TIMEOUT)
            assert survivor.returncode == 0, (tmp_path / "survivor.err").read_text()
            summary = json.loads(out)

    opened = Lake(lake)
    sessions = opened.sessions()
    assert len(sessions) == KILLS + 2, "one each, and none began a second one"
    assert (sessions[0], sessions[-1]) == (summary["sessions"][0], last_session)
    report = verify(lake)
    assert report.problems == []
    assert report.bad == report.unchecked == 0

    recovered = opened.ledger().filter(pl.col("kind") == "recovered").collect()["session"].to_list()
    assert set(recovered) <= set(sessions[1:-1]), "the living are left alone"
    assert recovered, "at least one was killed with a journal open"
    log_of_all = sent(log)
    for connection, session in enumerate(sessions):
        told, found = log_of_all.filter(pl.col("connection") == connection), recorded(opened, session)
        assert found.height > 100, f"{session}: the lake has its messages"
        # Everything in the lake was sent, as it stands there.
        unknown = found.join(told, on=["message", "channel", "symbol", "number"], how="anti")
        assert unknown.rows() == [], f"{session}: the lake has what was not sent"
        killed = kills[connection - 1] if 1 <= connection <= KILLS else None
        due = (
            told.filter(pl.col("wall_ns") < killed - LATE)
            if killed
            else told.filter(pl.col("message") <= found["message"].max())
        )
        lost = due.join(found, on="message", how="anti")
        assert lost.rows() == [], f"{session}: sent {LATE / 1e9} s before the kill, or earlier, and not in the lake"
    assert sum(summary["messages"].get(channel, 0) for channel in COMPARED) == recorded(opened, sessions[0]).height

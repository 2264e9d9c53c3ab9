"""One step: its processes, and what is read of them and of the lake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from krakpot.cli.capacity_run import Load, Window, children_of, cpu_of, machine_cpu, memory_of, run, wrong
from krakpot.lake import parquet
from krakpot.lake.format import open_lake, polars_schema
from krakpot.lake.lake import Lake

SECOND = 10**9
BEGIN = 1_790_000_000 * SECOND


def lake_of(folder: Path, late: list[float]) -> Lake:
    """A lake with one book message a second, each of two rows and late by so many seconds; and a snapshot before."""
    open_lake(folder)
    rows = []
    for number, seconds in enumerate([0.0, *late]):
        at = BEGIN + (number - 1) * SECOND
        kind = "update" if number else "snapshot"
        event = None if kind == "snapshot" else at - round(seconds * SECOND)
        rows += [
            {"session": "s", "message": number, "entry": entry, "symbol": "BTC/USD", "kind": kind, "ts_recv": at}
            | {"ts_event": event}
            for entry in range(2)
        ]
    schema = polars_schema("book")
    plain = {name: pl.Int64() if isinstance(type_, pl.Datetime) else type_ for name, type_ in schema.items()}
    frame = pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]  # names to types
    path = folder / "book/date=2026-09-21/142640-s-0.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_part(frame, path)
    return Lake(folder)


def test_what_a_window_holds(tmp_path: Path) -> None:
    """Messages and rows of the window, no snapshot before it; lags of its messages; and that nothing is left behind."""
    lake = lake_of(tmp_path, [0.001] * 50 + [0.002] * 50)
    window = Window.read(lake, BEGIN, BEGIN + 100 * SECOND)
    assert (window.messages, window.rows) == (100, 200)
    assert window.lag_p50 == pytest.approx(0.0015, abs=0.0006)
    assert window.lag_p99 == pytest.approx(0.002)
    assert window.lag_growth == pytest.approx(0.001)
    assert window.row_bytes > 0
    assert not list(tmp_path.rglob("*.tmp"))
    half = Window.read(lake, BEGIN, BEGIN + 50 * SECOND)
    assert (half.messages, half.lag_growth) == (50, 0)


def test_an_empty_window_is_no_error(tmp_path: Path) -> None:
    """A recorder that received nothing gives zeros, not a failure of the measurement."""
    window = Window.read(lake_of(tmp_path, [0.001]), BEGIN + 10 * SECOND, BEGIN + 20 * SECOND)
    assert (window.messages, window.rows, window.lag_p99, window.row_bytes) == (0, 0, 0, 0)


def test_what_is_wrong_is_said() -> None:
    """Bad checksums, gaps, errors, and what the exchange's account says otherwise; nothing where all is well."""
    checked = {"book": {"ok": 9, "bad": 0}, "level3": {"ok": 0, "bad": 0}}
    assert wrong({"checksums": checked, "gaps": 0, "errors": 0}, []) == []
    found = wrong({"checksums": checked | {"book": {"ok": 9, "bad": 2}}, "gaps": 1, "errors": 0}, ["BTC/USD: too few"])
    assert found == ["2 book checksums were wrong", "1 gap", "BTC/USD: too few"]


def test_the_kernel_s_account() -> None:
    """A process that works has CPU time, memory, and its child is found; one that is gone has none."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sum(range(10**8))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert children_of(process.pid) == [child]
            assert memory_of(process.pid) > 5
            until = time.monotonic() + 60
            while cpu_of(process.pid) < 0.05:
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)
    assert (memory_of(process.pid), children_of(process.pid)) == (0, [])
    used, had = machine_cpu()
    assert 0 < used < had


def test_a_recorder_that_does_not_start_fails_the_step(tmp_path: Path) -> None:
    """What it said last is the step's reason, and no process is left: here a depth that no book has."""
    step = run(Load(5, 100, depth=7), 1, 1, tmp_path / "step")
    assert "krakpot record ended by itself" in step.failed
    assert "7" in step.failed
    assert step.to_dict() == {"times": 1, "failed": step.failed}
    assert children_of(os.getpid()) == []


@pytest.mark.slow
def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM in the middle of a step: exit 130, no exchange, no recorder, no sealer, no lake."""
    for number in (signal.SIGINT, signal.SIGTERM):
        command = [sys.executable, "-m", "krakpot", "capacity", "--pairs", "5", "--rate", "100", "--seconds", "300"]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            until = time.monotonic() + 60
            while len(children := children_of(process.pid)) < 2 or not list(tmp_path.glob("*/*/lake/_journal/*")):
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert list(tmp_path.iterdir()) == []
        for pid in children:
            assert not Path(f"/proc/{pid}").exists()

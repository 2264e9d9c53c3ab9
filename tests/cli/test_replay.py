"""``krakpot replay`` in a terminal and as a server."""

from __future__ import annotations

import signal
from pathlib import Path

import lakes
from commands import facts, krakpot
from processes import running, wait_for


def test_what_is_played_is_counted(tmp_path: Path) -> None:
    """Events by channel, checksums and gaps; with --json as one object."""
    counts = lakes.make(tmp_path / "lake", lakes.market(60))
    found = facts(krakpot("replay", tmp_path / "lake", "--json"))
    assert found["events"]["book"] == counts["checksums"]["book"]["ok"] == found["checksums"]["book"]["ok"]
    assert (found["symbols"], found["gaps"]) == (2, {})
    one = facts(krakpot("replay", tmp_path / "lake", "--symbols", "BTC/USD", "--channel", "trade", "--json"))
    assert (one["symbols"], one["channels"], set(one["events"])) == (1, ["trade"], {"trade", "status"})
    shown = krakpot("replay", tmp_path / "lake")
    assert shown.exit_code == 0
    assert f"{found['events']['book']} book" in shown.output
    assert "0 gaps" in shown.output


def test_it_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """The address is said, and Ctrl-C ends it in order."""
    lakes.make(tmp_path / "lake", lakes.market(60))
    err = tmp_path / "err"
    with running("replay", tmp_path / "lake", "--serve", "--port", "0", "--json", err=err) as process:
        wait_for("listening on ws://127.0.0.1:", err, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

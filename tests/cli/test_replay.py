"""``krakpot replay`` in a terminal and as a server."""

from __future__ import annotations

import signal
from pathlib import Path

import frames
import lakes
from commands import facts, krakpot
from krakpot.lake.format import moment
from processes import running, wait_for


def test_what_is_played_is_counted(tmp_path: Path) -> None:
    """Events by channel, checksums and gaps; with --json as one object."""
    counts = lakes.make(tmp_path / "lake", lakes.market(60))
    found = facts(krakpot("replay", tmp_path / "lake", "--json"))
    assert found["events"]["book"] == counts["checksums"]["book"]["ok"] == found["checksums"]["book"]["ok"]
    assert (found["symbols"], found["gaps"]) == (2, {})
    one = facts(krakpot("replay", tmp_path / "lake", "--symbols", "BTC/USD", "--channel", "trade", "--json"))
    assert (one["symbols"], one["channels"], set(one["events"])) == (1, ["trade"], {"trade", "status"})
    late = frames.START + frames.SECOND
    some = facts(krakpot("replay", tmp_path / "lake", "--start", moment(late), "--json"))
    assert 0 < some["events"]["book"] == some["checksums"]["book"]["ok"] < found["events"]["book"]
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

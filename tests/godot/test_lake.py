"""The addon on a real lake, through `krakpot view`: what Godot has is what the lake gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import frames
import krakpot
import lakes
from engine import Godot
from processes import running as started
from processes import wait_for

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USD", "ETH/USD")


@contextmanager
def viewed(lake: Path, err: Path, port: int = 0) -> Iterator[str]:
    """The address of a server of the lake."""
    err.touch()
    with started("view", lake, "--port", str(port), "--no-open", "--json", err=err) as process:
        found = re.search(r"http://\S+", wait_for("listening on ", err, process))
        assert found is not None
        yield found[0]


def compared(godot: Godot, lake: krakpot.Lake, at: int) -> int:
    """Go to a time and compare all levels of both pairs; how many there were."""
    godot.run(f"feed.clock.seek({at // 1000})")
    godot.until(f"feed.clock.shown_ns == {at}")
    count = 0
    for symbol in SYMBOLS:
        levels = lake.book_at(symbol, at, depth=10, numbers="float").levels
        truth = {side: levels.select(f"{side}_price", f"{side}_qty").drop_nulls().rows() for side in ("bid", "ask")}
        handle = f"feed.book({json.dumps(symbol)})"
        prices = [price for price, _ in truth["bid"]]
        godot.until(f"{handle}.in_sync and {handle}.bid_prices == PackedFloat64Array({prices})")
        found = godot.run(f"of({handle})")
        for side, expected in truth.items():
            assert list(zip(found[f"{side}_prices"], found[f"{side}_qtys"], strict=True)) == expected
            count += len(expected)
        assert found["checked"] == 1
    return count


def test_books_of_a_lake(running: Godot, tmp_path: Path) -> None:
    """At several times, forwards and back; and after the server was ended and started again."""
    lakes.make(tmp_path / "lake", lakes.market(600))
    lake = krakpot.Lake(tmp_path / "lake")
    times = [frames.START + int(seconds * frames.SECOND) for seconds in (9.5, 3.25, 11, 5)]
    with viewed(tmp_path / "lake", tmp_path / "one") as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        wanted = {"symbols": SYMBOLS, "depth": 10}
        running.run(f"connect_feed({json.dumps(address)}, {json.dumps(wanted)})")
        running.until("feed.state == 2")
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        assert sum(compared(running, lake, at) for at in times) > 100
    running.until("feed.stale and feed.state != 2")
    assert "It is tried again" in running.run("feed.problem")
    with viewed(tmp_path / "lake", tmp_path / "two", port):
        running.until(f"feed.state == 2 and feed.clock.shown_ns == {times[-1]} and not feed.stale")
        assert running.run("feed.clock.paused")
        compared(running, lake, times[-1])
    assert running.run("feed.damaged_count") == 0
    running.run("feed.close()")

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import frames
import krakpot
import lakes
from frames import SECOND
from krakpot.history.imports import import_file
from krakpot.lake import seal
from replayed import PUBLIC, of, played, world_of


def test_subscriptions_and_connections_are_as_they_were(tmp_path: Path) -> None:
    """Connections that were cut, by their times; subscriptions are active again when they were."""
    world = world_of(tmp_path / "lake", 5, 4, "cut")
    events = asyncio.run(played(tmp_path / "lake", channels=PUBLIC))
    active = [event for event in world.public.made if event[0] == "subscription" and event[3] == "active"]  # type: ignore[attr-defined]  # of a taped link
    assert [event for event in events if event[0] == "subscription" and event[3] == "active"] == active
    ups = [event[1] for event in events if event[0] == "connection"]
    assert ups == [True, False] * (len(ups) // 2)
    assert len(ups) == 2 * len(world.public.tapes)  # type: ignore[attr-defined]  # of a taped link


def test_both_endpoints_in_one_replay(tmp_path: Path) -> None:
    """Merged by their receive times; each keeps its order."""
    world = world_of(tmp_path / "lake", 6, 5)
    events = asyncio.run(played(tmp_path / "lake"))
    both = of(events, *PUBLIC, "level3")
    times = [event[3] for event in both]
    assert times == sorted(times)
    for link, channels in ((world.public, PUBLIC), (world.level3, ("level3",))):
        assert of(events, *channels) == of(link.made, *channels)  # type: ignore[attr-defined]  # of a taped link


def test_two_recorders_give_each_message_once(tmp_path: Path) -> None:
    """Where two sessions followed a symbol, the one that began first counts until it ends, then the other."""
    market = lakes.market(400)
    first = lakes.Recorder(tmp_path / "lake", lakes.session_name(market[0][0]))
    second = lakes.Recorder(tmp_path / "lake", lakes.session_name(market[0][0] + 10**7))
    first.take(market[:250])
    # The second one hears the same a little later.
    second.take([(ts + 3_000_000, frame) for ts, frame in market])
    first.end()
    second.end()
    seal.recover(tmp_path / "lake")
    alone = lakes.Recorder(tmp_path / "alone")
    alone.take(market)
    alone.end()
    seal.recover(tmp_path / "alone")

    def messages(lake: Path) -> list[tuple[Any, ...]]:
        events = asyncio.run(played(lake, channels=["book", "trade"]))
        # Without the number of the message and its receive time, which are the session's.
        return [(event[0], event[1], *event[4:]) for event in of(events, "book", "trade")]

    assert sorted(map(str, messages(tmp_path / "lake"))) == sorted(map(str, messages(tmp_path / "alone")))


def test_the_first_rows_of_a_lake_may_be_gone(tmp_path: Path) -> None:
    """Books are in sync from their next checkpoint on, and no event comes of what is not there."""
    begin = frames.START // frames.HOUR * frames.HOUR + frames.HOUR
    recorder = lakes.Recorder(tmp_path / "lake", interval=300.0)
    market = lakes.market(600, begin=begin - 600 * SECOND, step=2 * SECOND)
    for at in range(0, len(market), 20):
        recorder.take(market[at : at + 20])
    recorder.end()
    seal.recover(tmp_path / "lake")
    for table in ("book", "ledger"):
        lakes.parts(tmp_path / "lake", table)[0].unlink()
    events = asyncio.run(played(tmp_path / "lake", channels=["book"]))
    outcomes = [event[7] for event in of(events, "book")]
    assert outcomes[0] == "unchecked"
    assert set(outcomes[-100:]) == {"ok"}


def test_a_recorder_that_was_killed_and_came_back(tmp_path: Path) -> None:
    """The next recording says which books and trades have a hole, and from when to when, by both clocks."""
    lake = tmp_path / "lake"
    market = lakes.market(400)
    killed = lakes.Recorder(lake, lakes.session_name(market[0][0]))
    killed.take(market[:150])
    killed.die()
    back = lakes.Recorder(lake, lakes.session_name(market[250][0]))
    # As a new connection does, it begins with snapshots.
    back.take(lakes.market(150, begin=market[250][0]))
    back.end()
    seal.recover(lake)
    for by in ("recv", "event"):
        gaps = of(asyncio.run(played(lake, channels=["book"], by=by)), "gap")
        assert [gap[4] for gap in gaps] == ["book", "book"], by
        assert sorted(str(gap[1]) for gap in gaps) == ["BTC/USD", "ETH/USD"]
        for gap in gaps:
            assert market[140][0] <= gap[7] <= market[149][0]
            assert market[250][0] <= gap[8] <= market[260][0]


def test_a_recording_whose_first_session_is_long_and_quiet(tmp_path: Path) -> None:
    """A second session that begins between two messages of the first is opened in its turn."""
    market = lakes.market(200)
    quiet = lakes.Recorder(tmp_path / "lake", lakes.session_name(market[0][0]))
    quiet.take([*market[:100], (market[-1][0] + 60 * SECOND, market[100][1])])
    quiet.end()
    second = lakes.Recorder(tmp_path / "lake", lakes.session_name(market[110][0]))
    second.take(lakes.market(20, begin=market[110][0]))
    second.end()
    seal.recover(tmp_path / "lake")
    events = of(asyncio.run(played(tmp_path / "lake", channels=["trade"])), "trade")
    assert [event[3] for event in events] == sorted(event[3] for event in events)


def test_imported_trades_are_not_played(tmp_path: Path) -> None:
    """They are no part of the feed."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(100))
    before = asyncio.run(played(lake))
    history = tmp_path / "XBTUSD.csv"
    history.write_text("".join(f"{frames.START // SECOND + at},45285.2,0.5\n" for at in range(-5, 5)))
    assert import_file(lake, history).rows == {"trades": {"BTC/USD": 10}}
    assert asyncio.run(played(lake)) == before


def test_symbols_that_are_added_and_removed(tmp_path: Path) -> None:
    """From the moment on, with the books of that moment."""
    lakes.make(tmp_path / "lake", lakes.market(400))

    async def run() -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        async with krakpot.Replay(tmp_path / "lake", "BTC/USD", channels=["book"]) as feed:
            async for event in feed:
                if event.channel != "book":
                    continue
                seen.append((event.symbol, event.ts_recv))
                if len(seen) == 30:
                    assert await feed.add_symbols(["ETH/*"]) == ["ETH/USD"]
                if len(seen) == 90:
                    assert feed.book("ETH/USD").in_sync
                    assert await feed.remove_symbols(["BTC/USD"]) == ["BTC/USD"]
        return seen

    seen = asyncio.run(run())
    assert {symbol for symbol, _ in seen[:30]} == {"BTC/USD"}
    assert {symbol for symbol, _ in seen[30:90]} == {"BTC/USD", "ETH/USD"}
    assert {symbol for symbol, _ in seen[90:]} == {"ETH/USD"}
    assert [time for _, time in seen] == sorted(time for _, time in seen)


def test_a_damaged_part_is_an_error(tmp_path: Path) -> None:
    """It names the part, and the replay does not go on as if nothing were missing."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    part = lakes.parts(tmp_path / "lake", "book")[0]
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(krakpot.StorageError, match="cannot be read"):
        asyncio.run(played(tmp_path / "lake"))

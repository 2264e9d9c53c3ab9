"""The addon without a window, on a market that is a formula: every level, signal and sentence is compared."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from engine import Godot
from streamer import BEGIN, SECOND, STATE, Levels, Streamer, book, clock, gap, overview, served, trades

pytestmark = pytest.mark.slow

PAIR = 'feed.book("BTC/USD")'
HOLE = (BEGIN + 2 * SECOND, BEGIN + 4 * SECOND, "disconnect")


def connected(godot: Godot, server: Streamer, **properties: Any) -> None:
    """A new feed of the probe, with its first books."""
    wanted = {"symbols": ["BTC/USD"]} | properties
    url = wanted.pop("url", f"ws://127.0.0.1:{server.port}/stream")
    godot.run(f"connect_feed({json.dumps(url)}, {json.dumps(wanted)})")


def opened(godot: Godot, server: Streamer, **properties: Any) -> None:
    """The same, and wait for some books."""
    connected(godot, server, **properties)
    godot.until(f"{PAIR}.states > 3")


def sides(found: dict[str, Any]) -> tuple[Levels, Levels]:
    """Bids and asks of a book that the probe told."""
    one, two = (list(zip(found[f"{side}_prices"], found[f"{side}_qtys"], strict=True)) for side in ("bid", "ask"))
    return one, two


def truth(server: Streamer, symbol: str, ns: int, depth: int) -> tuple[Levels, Levels]:
    """What the formula says."""
    return server.pairs[symbol].book(ns // STATE * STATE, min(depth, server.depth))


def test_every_level_of_every_state_is_what_was_sent(running: Godot) -> None:
    """Two pairs, 40 states: prices, quantities, times, checksum, exactly; and the figures of a book."""
    with served() as server:
        opened(running, server, symbols=["BTC/USD", "DOGE/USD"], depth=60, rate=60)
        running.until('said("book").size() >= 40')
        found = running.run('said("book")')
        assert {one[1] for one in found} == {"BTC/USD", "DOGE/USD"}
        for _, symbol, ns, state in found:
            assert sides(state) == truth(server, symbol, ns, 60)
            assert (state["checksum"], state["checked"], state["in_sync"]) == (ns // STATE & 0xFFFFFFFF, 1, True)
            assert state["received_ns"] - state["exchange_ns"] == 2_000_000
        assert sum(one[3]["not_continued"] for one in found) == 2, "the first state of each pair"
        asked = [one for one in server.requests if one["method"] == "subscribe"]
        assert asked[0] | {"req_id": 0} == {
            "method": "subscribe", "symbols": ["BTC/USD"], "depth": 60, "orders": False, "req_id": 0,
        }  # fmt: skip
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        bids, asks = sides(running.run(f"of({PAIR})"))
        figures = running.run(
            f"[{PAIR}.best_bid(), {PAIR}.best_ask(), {PAIR}.mid(), {PAIR}.spread(), {PAIR}.imbalance(5)]"
        )
        bought, sold = (sum(qty for _, qty in side[:5]) for side in (bids, asks))
        assert figures == pytest.approx(
            [bids[0][0], asks[0][0], (bids[0][0] + asks[0][0]) / 2, asks[0][0] - bids[0][0],
             (bought - sold) / (bought + sold)]
        )  # fmt: skip
        assert running.run(f"{PAIR}.qty_at({asks[7][0]!r})") == asks[7][1]
        assert running.run(f"{PAIR}.qty_at(1.0)") == 0


def test_trades_are_those_that_were_sent(running: Godot) -> None:
    """Each field of each trade, and none twice."""
    with served() as server:
        opened(running, server)
        running.until('said("trades").size() > 4')
        found = [one[1] for one in running.run('said("trades")')]
        assert found[0]["not_continued"]
        names = ("exchange_ns", "ids", "prices", "qtys", "sides", "types")
        rows = [row for one in found for row in zip(*(one[name] for name in names), strict=True)]
        expected = server.pairs["BTC/USD"].trades(rows[0][0] - 1, rows[-1][0])
        assert rows == expected
        assert len({row[1] for row in rows}) == len(rows) > 5
        assert all(one["received_ns"] == one["exchange_ns"] for one in found)
        server.send(trades(0, [(5, 6, 7.5, 8.25, 1, 0)], flags=2, left_out=40))
        running.until('newest("trades")[1]["left_out"] == 40')
        assert running.run('newest("trades")[1]') == {
            "symbol": "BTC/USD", "not_continued": True, "left_out": 40, "exchange_ns": [5], "received_ns": [5],
            "ids": [6], "prices": [7.5], "qtys": [8.25], "sides": [1], "types": [0],
        }  # fmt: skip


def test_orders_are_those_that_were_sent(running: Godot) -> None:
    """Level 3: each order of each level, in its place of the queue; without it nothing comes."""
    with served() as server:
        opened(running, server)
        assert running.run('said("orders")') == []
        running.run('put(feed, "orders", true)')
        running.until('feed.queues("BTC/USD").states > 2')
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        state = running.run('of(feed.queues("BTC/USD"))')
        expected = server.queues(server.pairs["BTC/USD"], state["received_ns"])
        for name, side in zip(("bid", "ask"), expected, strict=True):
            names = (f"{name}_prices", f"{name}_qtys", f"{name}_times_ns", f"{name}_ids")
            assert list(zip(*(state[one] for one in names), strict=True)) == side
            assert len(side) > 50


def test_overview_has_every_pair(running: Godot) -> None:
    """Each column; what is not known is not a number."""
    with served() as server:
        opened(running, server, overview=True)
        running.until('said("overview")')
        found = running.run('newest("overview")[1]')
        assert found["symbols"] == list(server.names)
        expected = server.lines(found["time_ns"])
        names = ("bids", "asks", "lasts", "volumes", "imbalances")
        assert list(zip(*(found[name] for name in names), strict=True)) == [one[:5] for one in expected]
        assert list(zip(found["right"], found["wrong"], found["sync"], strict=True)) == [one[6:] for one in expected]
        server.send(overview(7, [(float("nan"), 2.0, 3.0, 4.0, 0.5, 3, 4_000_000_000, 1, 2)]))
        running.until('newest("overview")[1]["time_ns"] == 7')
        assert running.run('is_nan(newest("overview")[1]["bids"][0])')
        assert running.run('newest("overview")[1]["symbols"]') == ["XRP/USD"]
        assert running.run('newest("overview")[1]["right"]') == [4_000_000_000]


def test_seek_pause_and_speed(running: Godot) -> None:
    """The book at the time that was asked for, while it stands still; then ten times as fast; coverage."""
    with served(holes=[(BEGIN + 300 * SECOND, BEGIN + 310 * SECOND, "disconnect")]) as server:
        opened(running, server)
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        for seconds in (123.45, 500, 7):
            at = BEGIN + int(seconds * SECOND)
            running.run(f"feed.clock.seek({at // 1000})")
            running.until(f"feed.clock.shown_ns == {at} && {PAIR}.received_ns == {at // STATE * STATE}")
            state = running.run(f"of({PAIR})")
            assert sides(state) == truth(server, "BTC/USD", at, 100)
            assert state["not_continued"]
            assert running.run("feed.clock.now_ns()") == at, "time stands still"
        running.run("feed.clock.skip(30.0)")
        running.until(f"feed.clock.shown_ns == {BEGIN + 37 * SECOND}")
        running.run("feed.clock.skip(-100.0)")
        running.until(f"feed.clock.shown_ns == {BEGIN}")
        assert running.run("feed.clock.text()") == "2026-11-29 06:19:00.000"
        running.run("feed.clock.play_at(10.0)")
        running.run("feed.clock.resume()")
        running.until(f"feed.clock.speed == 10.0 && feed.clock.shown_ns > {BEGIN + 5 * SECOND}")
        running.run("feed.clock.pause()")
        running.run('feed.clock.ask_coverage(PackedStringArray(["BTC/USD"]))')
        running.until('said("coverage")')
        spans = running.run("feed.clock.spans")
        assert [(one["from_us"], one["to_us"]) for one in spans] == [(a // 1000, b // 1000) for a, b in server.spans]
        assert {(one["symbol"], one["channel"], one["reason"]) for one in spans} == {("BTC/USD", "book", "disconnect")}
        running.run(f"feed.clock.seek({server.end // 1000})")
        running.until("feed.clock.at_end")


def test_a_cut_and_a_server_that_returns(running: Godot) -> None:
    """It says so, marks what it has as stale, and goes on at the same time of the lake, as fast as before."""
    with served() as server:
        opened(running, server)
        at = BEGIN + 200 * SECOND
        running.run("feed.clock.play_at(2.0)")
        running.run(f"feed.clock.seek({at // 1000})")
        running.until(f"feed.clock.shown_ns > {at + SECOND}")
        server.cut()
        running.until("said('disconnected')")
        assert running.run("feed.stale")
        assert "was lost" in running.run("feed.problem")
        assert running.run("feed.retry_in") < 1
        running.until("said('connected').size() == 2 && not feed.stale")
        running.until(f"feed.clock.shown_ns > {at + 2 * SECOND} && {PAIR}.received_ns > {at + 2 * SECOND}")
        assert running.run("feed.clock.shown_ns") < at + 60 * SECOND
        assert running.run("feed.clock.speed") == 2
        assert running.run("feed.problem") == ""
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        held = running.run("feed.clock.shown_ns")
        server.shut()
        running.until("feed.state == 3 && 'No server' in feed.problem")
        problem = running.run("feed.problem")
        assert f"ws://127.0.0.1:{server.port}/stream" in problem
        assert "krakpot view" in problem
        server.open()
        running.until("feed.state == 2 && feed.clock.paused && not feed.stale")
        running.until(f"{PAIR}.received_ns == {held // STATE * STATE}")
        assert running.run("feed.clock.shown_ns") // 1000 == held // 1000


def test_a_server_that_falls_silent_is_stale(running: Godot) -> None:
    """After its own limit, and not before; and it is well when it speaks again."""
    with served(stale_after=0.6) as server:
        opened(running, server)
        assert running.run("said('stale')") == []
        server.silent = True
        running.until("feed.stale", 5)
        assert running.run("feed.state") == 2, "the connection is there"
        server.silent = False
        running.until("not feed.stale", 5)
        assert running.run("said('stale')") == [["stale", True], ["stale", False]]


def test_a_gap_has_no_levels(running: Godot) -> None:
    """In a gap the book is out of sync and empty; the gap is told, open and then closed."""
    with served(holes=[HOLE]) as server:
        opened(running, server)
        running.until("said('gap').size() == 1")
        assert not running.run(f"{PAIR}.in_sync")
        assert running.run(f"{PAIR}.bid_prices.size() + {PAIR}.ask_prices.size()") == 0
        assert running.run(f"is_nan({PAIR}.best_bid()) and is_nan({PAIR}.mid()) and is_nan({PAIR}.imbalance())")
        running.until("said('gap').size() == 2")
        assert running.run("said('gap')") == [
            ["gap", "BTC/USD", "book", HOLE[0], 0, "disconnect"],
            ["gap", "BTC/USD", "book", HOLE[0], HOLE[1], "disconnect"],
        ]
        running.until(f"{PAIR}.in_sync")
        first = next(one for one in running.run("said('book')") if one[2] >= HOLE[1])
        assert first[3]["not_continued"]
        server.send(gap(1, 0, 5, 9, "zu viel – 多"))
        running.until("said('gap').size() == 3")
        assert running.run("newest('gap')") == ["gap", "BTC/USD", "trade", 5, 9, "zu viel – 多"]


GOOD = book(0, BEGIN, [(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0)])
DAMAGED: dict[str, tuple[bytes | str, str]] = {
    "empty": (b"", "an empty message"),
    "cut head": (GOOD[:20], "kind 1 of 20 bytes that should have at least 40"),
    "cut levels": (GOOD[:-1], f"a book of {len(GOOD) - 1} bytes that should have {len(GOOD)}"),
    "too long": (GOOD + b"\0", f"a book of {len(GOOD) + 1} bytes"),
    "huge number of levels": (GOOD[:32] + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF) + GOOD[40:], "should have"),
    "unknown pair": (book(8, BEGIN, [], []), "pair 8, which does not exist"),
    "unsorted bids": (book(0, BEGIN, [(9.0, 1.0), (10.0, 1.0)], []), "not sorted"),
    "unsorted asks": (book(0, BEGIN, [], [(9.0, 1.0), (8.0, 1.0)]), "not sorted"),
    "no number": (book(0, BEGIN, [(float("nan"), 1.0)], []), "not sorted"),
    "quantity": (book(0, BEGIN, [(9.0, float("nan"))], []), "a quantity that is no number"),
    "negative quantity": (book(0, BEGIN, [(9.0, -1.0)], []), "a quantity that is no number"),
    "crossed": (book(0, BEGIN, [(9.0, 1.0)], [(8.0, 1.0)]), "best bid is not below"),
    "levels out of sync": (book(0, BEGIN, [(9.0, 1.0)], [], flags=0), "out of sync and has levels"),
    "checksum state": (book(0, BEGIN, [], [], checked=3), "checksum state 3"),
    "trades": (trades(0, [(1, 2, 3.0, 4.0, 0, 0)])[:-1], "trades of 57 bytes that should have 58"),
    "side": (trades(0, [(1, 2, 3.0, 4.0, 7, 0)]), "a side or type that does not exist"),
    "orders": (b"\3" + GOOD[1:], "a level-3 book of"),
    "overview": (overview(1, [(1, 2, 3, 4, 0, 0, 0, 0, 1)]) + b"\0", "an overview of 70 bytes that should have 69"),
    "pair of an overview": (overview(1, [(1, 2, 3, 4, 0, 99, 0, 0, 1)]), "an overview of pair 99"),
    "gap": (gap(0, 0, 1, 2, "why")[:-1], "a gap of 26 bytes that should have 27"),
    "channel of a gap": (gap(9, 0, 1, 2, "why"), "a gap of channel 9"),
    "clock": (clock(0, BEGIN) + b"\0", "a clock of 33 bytes that should have 32"),
    "speed": (clock(0, BEGIN, float("inf")), "speed is not a number"),
    "no JSON": ("{", "not a JSON object"),
    "no object": ("[1]", "not a JSON object"),
    "coverage": ('{"type": "coverage", "spans": [{"from_us": 5}]}', "a span without times"),
    "symbols": ('{"type": "symbols", "symbols": [{"symbol": 1}]}', "pair 0 is damaged"),
    "fewer symbols": ('{"type": "symbols", "symbols": []}', "pairs that were there"),
}


def test_damaged_messages(running: Godot) -> None:
    """Each kind of damage is told in a sentence, changes nothing, and the connection goes on."""
    with served() as server:
        opened(running, server)
        running.run("feed.clock.pause()")
        running.until("feed.clock.paused")
        before = running.run(f"of({PAIR})")
        for name, (message, sentence) in DAMAGED.items():
            running.run("said('damaged').size() == 0 or signals.clear()")
            server.send(message)
            running.until("said('damaged')", 5)
            (said,) = running.run("said('damaged')")
            assert sentence in said[1], name
            assert said[1].startswith("The server sent "), name
            assert running.run(f"of({PAIR})") == before, name
        assert running.run("feed.damaged_count") == len(DAMAGED)
        server.send(b"\x63later kinds are ignored", '{"type": "something new"}')
        running.run("feed.clock.resume()")
        running.until(f"{PAIR}.states > {before['states'] + 3}")
        assert running.run("feed.state == 2 and feed.problem == ''")
        assert running.run("feed.damaged_count") == len(DAMAGED)


@pytest.mark.parametrize("version", [2, "1", None])
def test_another_version_is_not_read(running: Godot, version: Any) -> None:
    """It says which, and does nothing else: no request, no other attempt."""
    with served(version=version) as server:
        connected(running, server)
        running.until("feed.problem")
        assert f"version {json.dumps(version)} of the stream; this addon reads version 1" in running.run("feed.problem")
        assert running.run("feed.state") == 0
        assert running.run("newest('disconnected')[1]") == running.run("feed.problem")
        assert server.requests == []


def test_refused_requests(running: Godot) -> None:
    """In the server's words; the other pairs are not refused with it, and the refused one may come later."""
    with served() as server:
        server.refuse["seek"] = "seek: this is live; only a recording can do that"
        opened(running, server)
        running.run("feed.clock.seek(5)")
        running.until("said('refused')")
        assert running.run("newest('refused')[1]") == server.refuse["seek"]
        assert running.run("feed.problem") == ""
        server.refuse["subscribe"] = "symbols: there is no pair NO/NO here; `hello` lists the pairs"
        running.run('put(feed, "symbols", ["BTC/USD", "NO/NO"])')
        running.until("feed.problem")
        assert running.run("feed.problem") == f"The server refused NO/NO. {server.refuse['subscribe']}"
        count = running.run(f"{PAIR}.states")
        running.until(f"{PAIR}.states > {count}")
        del server.refuse["subscribe"]
        server.names = (*server.names, "NO/NO")
        server.send({"type": "symbols", "symbols": server.hello()["symbols"]})
        running.until("feed.problem == '' and feed.book('NO/NO').in_sync")
        running.run('put(feed, "symbols", ["NO/NO"])')
        assert not running.run(f"{PAIR}.in_sync"), "what is no longer received is not shown as if it were"
        running.until("feed.pair('NO/NO').price_precision == 1")


def test_addresses(running: Godot) -> None:
    """That of the page means its stream, and a token stays; what is no address is said at once."""
    running.run('connect_feed("localhost:8765", {})')
    assert "is not an address of a stream" in running.run("feed.problem")
    assert running.run("feed.state") == 0
    for given, meant in {
        "http://127.0.0.1:8765/": "ws://127.0.0.1:8765/stream",
        "http://127.0.0.1:8765/?token=a-b_c": "ws://127.0.0.1:8765/stream?token=a-b_c",
        "https://krakpot.example": "wss://krakpot.example/stream",
        " ws://[::1]:9/stream?token=x#symbol=BTC/USD": "ws://[::1]:9/stream?token=x",
        "localhost:8765": "", "": "", "ftp://x/": "", "ws://": "",
    }.items():  # fmt: skip
        assert running.run(f"feed.stream_url({json.dumps(given)})") == meant


def test_no_server(running: Godot) -> None:
    """It says how to start one, and never shows the token; it waits longer from attempt to attempt."""
    running.run('connect_feed("ws://127.0.0.1:9/stream?token=secret", {"symbols": ["BTC/USD"]})')
    running.until("said('disconnected').size() > 2")
    problem = running.run("feed.problem")
    assert problem.startswith("No server of krakpot answers at ws://127.0.0.1:9/stream")
    assert "krakpot view LAKE" in problem
    assert "secret" not in problem
    assert running.run("feed.retry_in") > 1
    running.run("feed.close()")
    assert running.run("feed.state == 0 and not feed.stale")

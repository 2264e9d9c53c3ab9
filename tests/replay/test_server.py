"""A served replay: clients get what was recorded, with books that are right at every message."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import frames
import krakpot
import lakes
from krakpot.errors import ConfigError
from krakpot.lake import seal
from krakpot.replay import server as module
from krakpot.replay.server import OVER, ReplayServer
from replayed import Plain, TapedWorld, of, plain, played
from simulated import Trouble
from waiting import run

CHANNELS = ["book", "trade", "ticker", "ohlc"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of tests subscribe everything at once."""
    monkeypatch.setattr(module, "SETTLE", 0.5)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake without trouble."""
    lakes.make(tmp_path / "lake", lakes.market(300, level3=True))
    return tmp_path / "lake"


def request(channel: str, symbols: Sequence[str] = ("BTC/USD",), method: str = "subscribe", **more: Any) -> str:
    """A request as a client sends it."""
    return json.dumps({"method": method, "params": {"channel": channel, "symbol": [*symbols], **more}, "req_id": 7})


async def heard(client: ClientConnection) -> tuple[list[dict[str, Any]], tuple[int, str]]:
    """All messages of a client until it is disconnected, numbers as they are written; and why it was."""
    found = []
    try:
        while True:
            found.append(json.loads(await client.recv(), parse_float=frames.Number, parse_int=frames.Number))
    except ConnectionClosed:
        return found, (client.close_code or 0, client.close_reason or "")


async def answers(client: ClientConnection, *requests: str) -> list[dict[str, Any]]:
    """The answers to requests, one each."""
    found = []
    for text in requests:
        await client.send(text)
        while "method" not in (message := json.loads(await client.recv())):
            pass
        found.append(message)
    return found


Side = tuple[tuple[str, str], ...]
Sides = tuple[Side, Side]


def plain_levels(levels: list[tuple[Decimal, Decimal]]) -> Side:
    """Levels as text."""
    return tuple((format(price, "f"), format(qty, "f")) for price, qty in levels)


def add(states: list[Sides], state: Sides) -> None:
    """Add a state that is another than the last one."""
    if states[-1:] != [state]:
        states.append(state)


class Books:
    """Books of a client that follows what it gets; each message has its checksum."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.books: dict[str, frames.Book] = {}
        self.checked: Counter[str] = Counter()
        self.snapshots: Counter[str] = Counter()
        self.states: dict[str, list[Sides]] = defaultdict(list)
        """The best ten levels, each time that they changed."""

    def take(self, message: dict[str, Any]) -> None:
        """Apply a message of a book."""
        (item,) = message["data"]
        symbol = item["symbol"]
        if message["type"] == "snapshot":
            # A snapshot is padded to the decimals of the pair, which may have changed.
            price, qty = (len(str(item["bids"][0][name]).partition(".")[2]) for name in ("price", "qty"))
            self.snapshots[symbol] += 1
            self.books[symbol] = frames.Book(symbol, depth=self.depth, price_precision=price, qty_precision=qty)
        book = self.books[symbol]
        book.apply((side, str(one["price"]), str(one["qty"])) for side in ("bid", "ask") for one in item[f"{side}s"])
        assert book.checksum == int(item["checksum"]), f"{symbol}: {message}"
        self.checked[symbol] += 1
        add(self.states[symbol], (tuple(book.levels("bid")[:10]), tuple(book.levels("ask")[:10])))


def test_a_feed_gets_the_events_of_the_replay(lake: Path) -> None:
    """Every message once, with all that it says, in the order of its channel; and its checksums fit."""

    async def test() -> None:
        wanted = await played(lake, channels=CHANNELS)
        got: list[Plain] = []
        async with (
            ReplayServer(lake, channels=CHANNELS, speed=20.0) as server,
            krakpot.Feed(["*"], url=server.address, channels=CHANNELS, depth=10) as feed,
        ):
            assert feed.selected_symbols == ["BTC/USD", "ETH/USD"]
            async for event in feed:
                got.append(plain(event))
                if event.channel == "connection" and not event.up:
                    break
            counts = feed.counts
            await server.finished.wait()

        def said(events: list[Plain], channel: str) -> list[Plain]:
            # Without the number of the message and its receive time, which are the session's.
            return [(*event[:2], *event[4:]) for event in of(events, channel)]

        for channel in CHANNELS:
            assert said(got, channel) == said(wanted, channel)
            assert said(got, channel)
        assert counts["checksums"]["book"] == {"ok": len(said(wanted, "book")), "bad": 0}
        assert (counts["errors"], counts["gaps"]) == (0, 0)

    run(test())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_books_of_any_depth_are_right_at_every_message(tmp_path: Path, seed: int) -> None:
    """A recording of depth 25 with random trouble: clients of depth 10 and 25 have books whose checksums always fit.

    Their last books are the replay's, and after each loss of a book there is a snapshot.
    """
    world = TapedWorld(seed, tmp_path / "lake", depth=25)
    world.settle()
    trouble = Trouble(world)
    for _ in range(8):
        for text in trouble.some():
            world.fault(text)
        world.run(world.random.uniform(0.5, 3))
    world.settle()
    world.seal()

    async def test() -> None:
        shown: dict[str, list[Sides]] = defaultdict(list)
        async with (
            # Not to the end of the session, with which books end.
            ReplayServer(tmp_path / "lake", end=world.now - frames.SECOND, channels=["book"], speed=None) as server,
            connect(server.address) as small,
            connect(server.address) as large,
        ):
            symbols = server.replay.selected_symbols

            def keep(event: krakpot.BookEvent) -> None:
                book = server.replay.book(event.symbol)
                if book.in_sync:
                    add(shown[event.symbol], (plain_levels(book.bids(10)), plain_levels(book.asks(10))))

            server.replay.on("book", keep)
            books = {10: Books(10), 25: Books(25)}
            for client, depth in ((small, 10), (large, 25)):
                await client.send(request("book", symbols, depth=depth))
            both = await asyncio.gather(heard(small), heard(large))
        for (messages, (code, reason)), depth in zip(both, books, strict=True):
            assert (code, reason) == (1000, OVER)
            for message in messages:
                if message.get("channel") == "book":
                    books[depth].take(message)
        # Every state that the small window had, once.
        assert books[10].states == shown
        assert books[10].checked.total() > 100
        for symbol, states in shown.items():
            assert books[25].states[symbol][-1] == states[-1]
        # A small book changes less often; both lose their books at the same times.
        assert books[10].checked.total() < books[25].checked.total()
        assert books[10].snapshots == books[25].snapshots

    run(test())


def test_a_client_that_comes_later_gets_snapshots(lake: Path) -> None:
    """Of books, level 3, tickers, candles and the last trades; two clients are independent."""

    async def test() -> None:
        async with ReplayServer(lake, speed=3.0) as server, connect(server.address, max_queue=None) as first:
            await first.send(request("trade"))
            while '"channel":"trade"' not in str(await first.recv()):
                pass
            async with connect(server.address) as late, connect(server.level3_address) as orders:
                for channel in ("book", "ticker", "ohlc"):
                    await late.send(request(channel))
                await late.send(request("trade", snapshot=True))
                await orders.send(request("level3", depth=10))
                await asyncio.sleep(0.5)
                await first.send(request("trade", method="unsubscribe"))
                server.replay.speed = None
                (messages, _), (of_orders, _) = await asyncio.gather(heard(late), heard(orders))
        begins: dict[str, list[str]] = defaultdict(list)
        for message in messages + of_orders:
            if "type" in message:
                begins[message["channel"]].append(message["type"])
        for channel in ("book", "ticker", "ohlc", "trade", "level3"):
            assert begins[channel][0] == "snapshot", channel
        books = Books(10)
        for message in messages:
            if message.get("channel") == "book":
                books.take(message)
        assert books.checked["BTC/USD"] > 1

    run(test())


def test_answers_are_krakens(lake: Path) -> None:
    """Status first, instruments, ping; wrong requests are refused in Kraken's words, and the socket stays open."""

    async def test() -> None:
        async with (
            ReplayServer(lake) as server,
            connect(server.address) as client,
            connect(server.level3_address) as orders,
        ):
            status = json.loads(await client.recv())
            assert (status["channel"], status["data"][0]["system"]) == ("status", "online")
            (pong,) = await answers(client, '{"method":"ping","req_id":3}')
            assert (pong["method"], pong["req_id"]) == ("pong", 3)
            assert pong["time_in"].endswith("Z")
            found = await answers(
                client,
                "{",
                "[]",
                '{"method":"subscribe","req_id":7}',
                request("nonsense"),
                request("book", ["XBT/USD"]),
                request("book", depth=11),
                request("book", depth=100),
                request("ohlc", interval=5),
                request("level3"),
                request("trade", method="unsubscribe"),
                request("trade", []),
                '{"method":"subscribe","params":{"channel":"trade","symbol":"BTC/USD"}}',
            )
            assert [answer["error"] for answer in found] == [
                "Malformed request",
                "Malformed request",
                "Unsupported event",
                "Subscription name invalid",
                "Currency pair not supported XBT/USD",
                "Subscription depth not supported",
                "Subscription depth not supported",
                "Subscription ohlc interval not supported",
                "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
                "Subscription not found",
                "EGeneral:Invalid arguments",
                "Pair field must be an array",
            ]
            assert not any(answer["success"] for answer in found)
            assert found[4]["symbol"] == "XBT/USD"
            assert [answer.get("req_id") for answer in found[2:]] == [7] * 9 + [None]
            good = await answers(
                client, request("ticker"), request("ticker"), request("ticker", method="unsubscribe"), request("ticker")
            )
            assert [answer.get("error") for answer in good] == [None, "Already subscribed", None, None]
            assert good[2]["result"] == {"channel": "ticker", "symbol": "BTC/USD", "event_trigger": "trades"}
            (refused,) = await answers(orders, request("book"))
            assert "Try ws.kraken.com" in refused["error"]
            await client.send('{"method":"subscribe","params":{"channel":"instrument"}}')
            while (message := json.loads(await client.recv())).get("channel") != "instrument":
                pass
            wanted = json.loads(
                frames.instrument(*map(frames.pair, ["BTC/USD", "ETH/USD"]), assets=[frames.asset("USD")])
            )
            for pair in wanted["data"]["pairs"]:
                pair["cost_min"] = float(pair["cost_min"])
            assert message["data"] == wanted["data"]

    run(test())


def test_pages_and_other_paths_are_refused(lake: Path) -> None:
    """A page in a browser cannot read a recording; the answer to a wrong path names the right ones."""

    async def test() -> None:
        async with ReplayServer(lake) as server:
            with pytest.raises(InvalidStatus, match="404"):
                await connect(server.address + "x")
            with pytest.raises(InvalidStatus, match="403"):
                await connect(server.address, origin="https://example.org")  # type: ignore[arg-type]  # any text
            port = int(server.address.rpartition(":")[2].partition("/")[0])
            with pytest.raises(ConfigError, match="another program listens there"):
                async with ReplayServer(lake, port=port):
                    pass

    run(test())


def test_a_client_that_does_not_read_is_disconnected(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in the log, and the others go on."""
    monkeypatch.setattr(module, "SLOW", -1)

    async def test() -> None:
        lines: list[str] = []
        async with ReplayServer(lake, log=lines.append) as server:
            client = await connect(server.address)
            await heard(client)
            assert not server.finished.is_set()
        assert any("it reads too slowly" in line for line in lines)

    run(test())


def test_a_lost_connection_is_silence_and_then_a_snapshot(tmp_path: Path) -> None:
    """The recording has a hole between two sessions: clients stay connected, and the log says it."""
    timed = lakes.market(200)
    first = lakes.Recorder(tmp_path / "lake", lakes.session_name(timed[0][0]))
    first.take(timed[:100])
    first.end()
    later = [(ts + 10 * frames.SECOND, frame) for ts, frame in timed]
    second = lakes.Recorder(tmp_path / "lake", lakes.session_name(later[0][0]))
    second.take(later)
    second.end()
    seal.recover(tmp_path / "lake")

    async def test() -> None:
        lines: list[str] = []
        async with (
            ReplayServer(tmp_path / "lake", speed=None, log=lines.append) as server,
            connect(server.address) as client,
        ):
            await client.send(request("book"))
            messages, why = await heard(client)
        assert why == (1000, OVER)
        books = Books(10)
        for message in messages:
            if message.get("channel") == "book":
                books.take(message)
        assert books.snapshots["BTC/USD"] == 2
        assert any("the recording lost its connection" in line for line in lines)

    run(test())


@pytest.mark.parametrize("reads", [True, False])
def test_a_slow_client_gets_all_to_the_end(lake: Path, monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    """What waits for it at the end of the recording is sent before it is disconnected, as long as it takes something.

    And nobody is asked to answer pings: they would wait behind the messages.
    """
    monkeypatch.setattr(module, "TICK", 0.01)
    monkeypatch.setattr(module, "STALLED", 60.0 if reads else 0.1)
    sizes: list[int] = []
    left = [True]
    over: Callable[[], bool] = lambda: False  # the server's, when there is one

    def waiting(_: object) -> int:
        # At the end a reader takes something at each look until all is taken; another one nothing.
        if not over():
            return 0
        sizes.append(100 - len(sizes) if reads else 100)
        return max(0, sizes[-1])

    monkeypatch.setattr(module._Client, "waiting", property(waiting))

    async def test() -> None:
        nonlocal over
        async with ReplayServer(lake, channels=["book"], speed=20.0) as server, connect(server.address) as client:
            (served,) = server._clients
            assert served.connection.ping_interval is None
            over = server.replay._stream.stopped.is_set
            closing = server._close

            async def closes(*why: Any) -> None:
                left[0] = sizes[-1] > 0
                await closing(*why)

            monkeypatch.setattr(server, "_close", closes)
            reading = asyncio.create_task(heard(client))
            await client.send(request("book", ["BTC/USD", "ETH/USD"]))
            assert (await reading)[1] == (1000, OVER)

    run(test())
    assert left == [not reads]
    assert len(sizes) > 5

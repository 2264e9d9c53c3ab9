"""Faults of the built-in exchange over real sockets, seen by websockets' own client; and ``FaultyPipe`` by itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from frames import SECOND
from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange.faults import TRICKLE, FaultyPipe
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer

TIMEOUT = 60
BOOK = {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]}


def test_a_pipe_without_a_fault_is_free() -> None:
    """Data may then be written past it."""
    assert not FaultyPipe().busy


def test_a_stalled_pipe_lets_everything_out_at_once_and_in_order() -> None:
    """Of two stalls the one that ends later counts."""
    pipe = FaultyPipe()
    pipe.stall(0, 5 * SECOND)
    pipe.stall(SECOND, SECOND)
    for data in (b"a", b"b", b"c"):
        pipe.push(data)
    assert (pipe.busy, pipe.size, pipe.pull(5 * SECOND - 1)) == (True, 3, b"")
    assert (pipe.pull(5 * SECOND), pipe.size, pipe.busy) == (b"abc", 0, False)


def test_a_trickling_pipe_keeps_its_rate_and_loses_nothing() -> None:
    """1,000 bytes per second however often it is asked; afterwards the rest at once."""
    pipe = FaultyPipe()
    pipe.trickle(0, 1000)
    for i in range(50):
        pipe.push(bytes([i]) * 1000)
    out = b"".join(pipe.pull(now) for now in range(0, TRICKLE, SECOND // 300))
    assert 9_900 <= len(out) <= 10_000
    out += pipe.pull(TRICKLE)
    assert out == b"".join(bytes([i]) * 1000 for i in range(50))
    assert not pipe.busy
    pipe.trickle(0, 1000)
    pipe.pull(9 * SECOND)
    pipe.push(bytes(5000))
    assert len(pipe.pull(9 * SECOND + SECOND // 2)) <= 500, "room that was not used is not saved"


def test_a_silent_pipe_keeps_nothing() -> None:
    """Its memory is bounded."""
    pipe = FaultyPipe()
    pipe.stall(0, SECOND)
    pipe.push(b"a")
    pipe.silence()
    pipe.push(b"b")
    assert (pipe.busy, pipe.size, pipe.pull(10**18)) == (True, 0, b"")


async def begun(server: ExchangeServer) -> ClientConnection:
    """A client of two books, whose snapshots have come."""
    client = await connect(server.address, max_size=None, ping_interval=None, close_timeout=0.1)
    await client.send(json.dumps({"method": "subscribe", "params": BOOK}))
    snapshots = 0
    async with asyncio.timeout(TIMEOUT):
        while snapshots < 2:
            snapshots += '"type":"snapshot"' in str(await client.recv())
    return client


@pytest.mark.parametrize(
    ("fault", "code"), [("cut", None), ("close,by=1012", 1012), ("close,by=4001", 4001), ("close", 1001)]
)
def test_connections_end_as_asked(fault: str, code: int | None) -> None:
    """A reset has no close frame, a close has its code; the exchange goes on, and remembers what it did."""

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=2, rate=500)) as server:
            client = await begun(server)
            server.inject(fault)
            with pytest.raises(ConnectionClosed) as error:
                async with asyncio.timeout(TIMEOUT):
                    while True:
                        await client.recv()
            assert (None if error.value.rcvd is None else error.value.rcvd.code) == code
            if code is None:
                assert isinstance(error.value.__cause__, ConnectionResetError)
            (injected,) = server.injected
            assert (injected["name"], injected["connection"]) == (fault.partition(",")[0], 0)
            assert injected["frame"] > 0
            async with await begun(server):
                assert server.summary()["faults"] == {injected["name"]: 1}

    asyncio.run(talk())


@pytest.mark.slow
def test_half_open_stalled_and_deaf_connections_stay_open() -> None:
    """Nothing comes, and no end: of a stall all comes later, a deaf exchange answers late, a half-open one never.
    Others go on.
    """

    async def silent(client: ClientConnection, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await client.recv()
        except TimeoutError:
            return True
        return False

    async def happened(server: ExchangeServer, faults: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while len(server.injected) < faults:
                await asyncio.sleep(0.01)

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=2, rate=500)) as server:
            stalled, other = await begun(server), await begun(server)
            server.inject("stall,by=3s,connection=0")
            await happened(server, 1)
            while not await silent(stalled, 0.3):
                pass
            assert not await silent(other, 0.3)
            async with asyncio.timeout(TIMEOUT):
                await stalled.recv()
            server.inject("deaf,by=2s,connection=0")
            await happened(server, 2)
            begin = server.exchange.now
            await stalled.send('{"method":"ping","req_id":77}')
            async with asyncio.timeout(TIMEOUT):
                while '"req_id":77' not in str(await stalled.recv()):
                    pass
            assert server.exchange.now - begin > SECOND // 2
            server.inject("half_open,connection=0")
            await happened(server, 3)
            while not await silent(stalled, 0.3):
                pass
            assert stalled.close_code is None
            assert not await silent(other, 0.3)
            account = server.summary()["connections"]
            assert [one["connection"] for one in account] == [0, 1], "a half-open one is over for the exchange"
            for client in (stalled, other):
                client.transport.abort()

    asyncio.run(talk())


def test_handshakes_are_refused() -> None:
    """With the status that was asked for, or without a word; by a budget once it is used up."""

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=2, rate=10)) as server:
            for fault, status in (("handshake=once", 503), ("handshake=once,by=520", 520), ("budget,by=2", 429)):
                server.inject(fault)
                with pytest.raises(InvalidStatus) as error:
                    for _ in range(3):
                        await (await connect(server.address)).close()
                assert error.value.response.status_code == status, fault
                server.exchange.clear_faults()
            server.inject("retry_after=once,by=7s")
            with pytest.raises(InvalidStatus) as error:
                await connect(server.address)
            response = error.value.response
            assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
            server.inject("handshake=once,by=0")
            with pytest.raises((InvalidMessage, ConnectionResetError)):
                await connect(server.address)
            await (await connect(server.address)).close()

    asyncio.run(talk())


def call(address: str, method: str, body: str = "", key: str = "") -> dict[str, Any]:
    """A control call, and its answer."""
    request = urllib.request.Request(  # noqa: S310  # http, ours
        f"{address}/faults", method=method, data=body.encode() or None, headers={"API-Key": key} if key else {}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  # the same
        return dict(json.loads(answer.read()))


def test_the_control_call() -> None:
    """POST asks for faults, a line each, GET lists them, DELETE ends them; what is wrong is said with what is allowed;
    without the name of the key nothing is done.
    """

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=2, rate=10)) as server:
            key, address = server.key.name, server.rest_address

            async def ask(*arguments: str) -> dict[str, Any]:
                return await asyncio.to_thread(call, address, *arguments)

            drop, cut = "drop=0.5,channel=book", "cut=every:30s,after=10s"
            assert await ask("POST", f"{drop}\n{cut}\n", key) == {"error": [], "result": {"faults": [drop, cut]}}
            assert (await ask("GET", "", key))["result"]["faults"] == [drop, cut]
            wrong = await ask("POST", "drop=5", key)
            assert wrong["error"][0].startswith("drop=5: allowed is a chance from 0 to 1")
            for name in ("", "another"):
                assert await ask("DELETE", "", name) == {"error": ["EAPI:Invalid key"]}
            assert server.exchange.faults == [drop, cut]
            assert (await ask("DELETE", "", key))["result"]["faults"] == []
            server.inject("maintenance,by=60s")
            async with asyncio.timeout(TIMEOUT):
                while server.exchange.system == "online":
                    await asyncio.sleep(0.01)
            state = await asyncio.to_thread(
                lambda: urllib.request.urlopen(f"{address}/0/public/SystemStatus", timeout=TIMEOUT).read()  # noqa: S310  # the same
            )
            assert json.loads(state)["result"]["status"] == "maintenance"

    asyncio.run(talk())


def test_wrong_faults_are_plain_errors() -> None:
    """By option, in process and on the command line, with what is allowed; exit code 2."""
    with pytest.raises(
        ConfigError, match="^krakpot.ExchangeServer: faults: dorp: no fault 'dorp'; the faults are: drop, repeat"
    ):
        ExchangeServer(Options(pairs=1, faults=("dorp",)))
    with pytest.raises(ValueError, match="symbol=X/Y: no pair of this exchange"):
        _core.Exchange(pairs=1).inject("drop,symbol=X/Y")
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0"]
    done = subprocess.run([*command, "--fault", "cut=often"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--fault cut=often: cut=often: allowed is a chance" in done.stderr


@pytest.mark.slow
def test_the_command_lists_faults_and_counts_them(tmp_path: Path) -> None:
    """`--faults` has a line for each, in the words of the page; at the end it is said how many there were, and the log
    has each.
    """
    command = [sys.executable, "-m", "krakpot", "exchange"]
    listing = subprocess.run([*command, "--faults"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in listing] == [name for name, *_ in _core.FAULTS]
    as_json = subprocess.run([*command, "--faults", "--json"], capture_output=True, text=True, check=True).stdout
    facts = json.loads(as_json)["faults"]
    page = (Path(__file__).parents[2] / "docs/exchange.md").read_text()
    assert len(facts) > 25
    for fact in facts:
        row = f"| `{fact['name']}` | {fact['of']} | {fact['by']} | {fact['help']} |".replace("|  |", "| |")
        assert row in page, row
    log = tmp_path / "log.csv"
    done = subprocess.run(
        [*command, "--port", "0", "--pairs", "2", "--for", "3s", "--log", str(log), "--fault", "status=every:2s"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "faults: status 1" in done.stdout
    assert Counter(line.rpartition(",")[2] for line in log.read_text().splitlines()) == {"fault": 1, "status": 1}


async def messages(server: ExchangeServer, channel: str, symbols: list[str] | None, count: int) -> list[dict[str, Any]]:
    """Subscribe a channel; its first messages that are JSON objects with that channel."""
    found: list[dict[str, Any]] = []
    async with connect(server.address, max_size=None, close_timeout=0.1) as client:
        params = {"channel": channel, "snapshot": True} | ({} if symbols is None else {"symbol": symbols})
        await client.send(json.dumps({"method": "subscribe", "params": params}))
        async with asyncio.timeout(TIMEOUT):
            while len(found) < count:
                message = json.loads(await client.recv())
                if isinstance(message, dict) and message.get("channel") == channel:
                    found.append(message)
    return found


@pytest.mark.slow
def test_odd_items_and_messages_over_the_socket() -> None:
    """What a server may send that no client expects: a pair without its precision, a trade without its order type, a
    null connection id, JSON that is no message; and no instrument snapshot at all.
    """

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=3, rate=2000)) as server:
            server.inject("null,channel=instrument,by=price_precision")
            (snapshot,) = await messages(server, "instrument", None, 1)
            assert [pair["price_precision"] is None for pair in snapshot["data"]["pairs"]].count(True) == 1
            server.exchange.clear_faults()

            server.inject("absent,channel=trade,by=ord_type")
            trades = [trade for m in await messages(server, "trade", ["BTC/USD"], 3) for trade in m["data"]]
            assert any("ord_type" not in trade for trade in trades)
            server.exchange.clear_faults()

            server.inject("null,channel=status,by=connection_id")
            (status,) = await messages(server, "status", ["BTC/USD"], 1)
            assert status["data"][0]["connection_id"] is None
            server.exchange.clear_faults()

            server.inject("drop,channel=instrument")
            server.inject("stray=every:100ms,by=[1]")
            async with connect(server.address, max_size=None, close_timeout=0.1) as client:
                await client.send(json.dumps({"method": "subscribe", "params": {"channel": "instrument"}}))
                await client.send(json.dumps({"method": "subscribe", "params": BOOK}))
                seen: Counter[str] = Counter()
                async with asyncio.timeout(TIMEOUT):
                    while seen["book"] < 200 or seen["stray"] < 2:
                        message = json.loads(await client.recv())
                        seen["stray" if message == [1] else message.get("channel", "answer")] += 1
                assert seen["instrument"] == 0

    asyncio.run(talk())


def test_trade_ids_begin_again_and_never_repeat_after_a_restart() -> None:
    """A pair that is listed again begins where the fault says. A server that is started later begins behind all ids of
    the earlier one, although both have the same seed.
    """

    async def last(server: ExchangeServer) -> tuple[int, int]:
        trades = [trade for m in await messages(server, "trade", ["BTC/USD"], 5) for trade in m["data"]]
        return trades[0]["trade_id"], trades[-1]["trade_id"]

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=2, rate=2000)) as server:
            _, before = await last(server)
        async with ExchangeServer(Options(pairs=2, rate=2000)) as server:
            first, _ = await last(server)
            assert first > before
            server.inject("delist,symbol=BTC/USD")
            server.inject("list,by=1,symbol=BTC/USD,after=100ms")
            async with asyncio.timeout(TIMEOUT):
                while len(server.injected) < 2:
                    await asyncio.sleep(0.01)
            first, _ = await last(server)
            assert 1 <= first < 10_000

    asyncio.run(talk())

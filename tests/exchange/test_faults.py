"""Faults of the built-in exchange over real sockets, seen by websockets' own client; and ``Line`` by itself."""

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
from krakpot.config import Config
from krakpot.errors import ConfigError
from krakpot.exchange import server as exchange
from krakpot.exchange.faults import TRICKLE, Line
from krakpot.exchange.server import ExchangeServer, Options
from krakpot.lake.lake import Lake
from krakpot.record.recorder import Recorder

TIMEOUT = 60
BOOK = {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]}


def test_a_line_in_order_holds_nothing() -> None:
    """Whoever uses it may write past it."""
    assert not Line().busy


def test_a_stalled_line_lets_all_out_at_once_and_in_order() -> None:
    """Two stalls: the one that ends later counts."""
    line = Line()
    line.stall(0, 5 * SECOND)
    line.stall(SECOND, SECOND)
    for data in (b"a", b"b", b"c"):
        line.push(data)
    assert (line.busy, line.size, line.pull(5 * SECOND - 1)) == (True, 3, b"")
    assert (line.pull(5 * SECOND), line.size, line.busy) == (b"abc", 0, False)


def test_a_trickling_line_keeps_its_rate_and_loses_nothing() -> None:
    """1,000 bytes a second however often it is asked; afterwards the rest at once."""
    line = Line()
    line.trickle(0, 1000)
    for i in range(50):
        line.push(bytes([i]) * 1000)
    out = b"".join(line.pull(now) for now in range(0, TRICKLE, SECOND // 300))
    assert 9_900 <= len(out) <= 10_000
    out += line.pull(TRICKLE)
    assert out == b"".join(bytes([i]) * 1000 for i in range(50))
    assert not line.busy
    line.trickle(0, 1000)
    line.pull(9 * SECOND)
    line.push(bytes(5000))
    assert len(line.pull(9 * SECOND + SECOND // 2)) <= 500, "what was not used is not saved up"


def test_a_dead_line_keeps_nothing() -> None:
    """Its memory is bounded."""
    line = Line()
    line.stall(0, SECOND)
    line.push(b"a")
    line.die()
    line.push(b"b")
    assert (line.busy, line.size, line.pull(10**18)) == (True, 0, b"")


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
            server.fault(fault)
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
            server.fault("stall,by=3s,connection=0")
            await happened(server, 1)
            while not await silent(stalled, 0.3):
                pass
            assert not await silent(other, 0.3)
            async with asyncio.timeout(TIMEOUT):
                await stalled.recv()
            server.fault("deaf,by=2s,connection=0")
            await happened(server, 2)
            begin = server.exchange.now
            await stalled.send('{"method":"ping","req_id":77}')
            async with asyncio.timeout(TIMEOUT):
                while '"req_id":77' not in str(await stalled.recv()):
                    pass
            assert server.exchange.now - begin > SECOND // 2
            server.fault("half_open,connection=0")
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
                server.fault(fault)
                with pytest.raises(InvalidStatus) as error:
                    for _ in range(3):
                        await (await connect(server.address)).close()
                assert error.value.response.status_code == status, fault
                server.exchange.clear_faults()
            server.fault("handshake=once,by=0")
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
            server.fault("maintenance,by=60s")
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
    with pytest.raises(ConfigError, match="--fault dorp: no fault 'dorp'; the faults are: drop, repeat"):
        ExchangeServer(Options(pairs=1, faults=("dorp",)))
    with pytest.raises(ValueError, match="symbol=X/Y: no pair of this exchange"):
        _core.Exchange(pairs=1).inject("drop,symbol=X/Y")
    command = [sys.executable, "-m", "krakpot", "exchange", "--port", "0"]
    done = subprocess.run([*command, "--fault", "cut=often"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--fault cut=often: cut=often: allowed is a chance" in done.stderr


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


def test_the_account_of_a_harmed_recording_can_be_judged(tmp_path: Path) -> None:
    """Dropped, repeated and damaged messages of one symbol: the lake fits the account, the other symbol equals it, and
    an account of another number of faults does not fit.
    """

    async def record() -> dict[str, Any]:
        async with ExchangeServer(Options(pairs=2, rate=400)) as server:
            for fault in ("drop=0.1", "repeat=0.1", "truncate=0.1"):
                server.fault(f"{fault},channel=trade,symbol=BTC/USD")
            config = Config(url=server.address, out=tmp_path / "lake", channels=("book", "trade"), duration=4)
            await Recorder(config).run()
            async with asyncio.timeout(TIMEOUT):
                while server.clients:
                    await asyncio.sleep(0.01)
            return server.summary()

    account = asyncio.run(record())
    trades = account["connections"][0]["symbols"]["BTC/USD"]["trade"]
    assert min(trades["faults"][name] for name in ("drop", "repeat", "truncate")) > 0, trades
    lake = Lake(tmp_path / "lake")
    assert exchange.differences(lake, account) == []
    trades["faults"]["drop"] += 50
    (sentence,) = exchange.differences(lake, account)
    assert sentence.startswith("BTC/USD: the exchange sent ")

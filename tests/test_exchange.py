"""The built-in exchange, seen by a client that shares no code with it: websockets' own client and the model of
``frames``.
"""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import frames
from account import run as record_and_compare
from krakpot import _core, exchange
from krakpot.errors import ConfigError
from krakpot.exchange import ExchangeServer, Options

TIMEOUT = 60


def loads(text: str | bytes) -> dict[str, Any]:
    """JSON whose numbers keep their digits."""
    return dict(json.loads(text, parse_float=frames.Number, parse_int=frames.Number))


async def ask(client: ClientConnection, **request: Any) -> None:
    """Send a request."""
    await client.send(json.dumps(request))


async def until(client: ClientConnection, done: Any) -> list[dict[str, Any]]:
    """Messages up to the first one that is ``done``."""
    found = []
    async with asyncio.timeout(TIMEOUT):
        while True:
            found.append(loads(await client.recv()))
            if done(found[-1]):
                return found


def unframe(block: bytes) -> list[bytes]:
    """Texts of the WebSocket frames in a block of the exchange."""
    texts = []
    at = 0
    while at < len(block):
        assert block[at] == 0x81, "a whole text frame, from the server unmasked"
        length, head = block[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(block[at + 2 : at + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(block[at + 2 : at + 10], "big"), 10
        texts.append(block[at + head : at + head + length])
        assert len(texts[-1]) == length, "a block holds whole frames"
        at += head + length
    return texts


@pytest.mark.parametrize("depth", frames.DEPTHS)
def test_books_equal_a_plain_model(depth: int) -> None:
    """A dict that truncates after each entry has, after each message, the checksum that the exchange computed by
    itself.
    """

    async def follow() -> Counter[str]:
        seen: Counter[str] = Counter()
        async with (
            ExchangeServer(Options(pairs=40, rate=3000, seed=3)) as server,
            connect(server.address, max_size=None) as client,
        ):
            symbols = server.exchange.symbols
            books: dict[str, frames.Book] = {}
            await ask(client, method="subscribe", params={"channel": "instrument"})
            await ask(client, method="subscribe", params={"channel": "book", "symbol": symbols, "depth": depth})
            pairs: dict[str, Any] = {}
            async with asyncio.timeout(TIMEOUT):
                while seen["update"] < (1200 if depth < 500 else 300):
                    message = loads(await client.recv())
                    if message.get("channel") == "instrument" and message["type"] == "snapshot":
                        pairs = {pair["symbol"]: pair for pair in message["data"]["pairs"]}
                    if message.get("channel") != "book":
                        continue
                    (data,) = message["data"]
                    symbol = data["symbol"]
                    if message["type"] == "snapshot":
                        pair = pairs[symbol]
                        precision = (int(pair["price_precision"]), int(pair["qty_precision"]))
                        books[symbol] = frames.Book(
                            symbol, depth=depth, price_precision=precision[0], qty_precision=precision[1]
                        )
                        assert max(len(data["bids"]), len(data["asks"])) <= depth
                    book = books[symbol]
                    entries = [(s, e["price"], e["qty"]) for s in ("bid", "ask") for e in data[f"{s}s"]]
                    for side, price, qty in entries:
                        for text, decimals in ((price, book.price_precision), (qty, book.qty_precision)):
                            assert text == frames.padded(Decimal(text), decimals), "numbers are padded to the precision"
                        if Decimal(qty) == 0:
                            assert Decimal(price) in book.sides[side], "only what is held is deleted"
                            seen["delete"] += 1
                        book.apply([(side, price, qty)])
                    seen["long"] += len(entries) > 3
                    assert int(data["checksum"]) == book.checksum, f"{symbol}: message {seen}"
                    assert not book.crossed
                    seen[message["type"]] += 1
        return seen

    seen = asyncio.run(follow())
    assert seen["snapshot"] == 40, seen
    assert seen["delete"] > 10, seen
    assert seen["long"] > 5, seen


def test_every_channel_is_what_the_session_expects() -> None:
    """The core decodes all that the exchange says, without an error or an unknown field, at every depth and
    interval.
    """
    for number, depth in enumerate(frames.DEPTHS):
        server = _core.Exchange(pairs=60, rate=3000, seed=number, start=frames.START)
        interval = (1, 5, 60, 1440, 21600)[number]
        channels = ("book", "trade", "ticker", "ohlc")
        session = _core.Session(f"s{number}", channels=channels, depth=depth, interval=interval)
        client = server.connect()
        now = frames.START
        while now < frames.START + 8 * frames.SECOND:
            for request in session.requests(now):
                server.receive(client, request)
            now = server.advance(now + 50_000_000)
            session.receive(unframe(server.take(client)), now)
            session.tick(now)
        counts = session.counts()
        assert counts["errors"] == counts["unchecked"] == counts["gaps"] == counts["unknown_fields"] == 0, counts
        assert counts["checksums"]["book"]["bad"] == 0
        assert counts["checksums"]["book"]["ok"] == counts["messages"]["book"] > 2000
        assert counts["live"] == counts["selected"] == 60
        assert all(
            counts["rows"].get(table, 0) > 0 for table in ("trades", "ticker", "ohlc", "pairs", "assets", "status")
        )
        states = {state for _, _, state in session.subscriptions()}
        assert states == {"live"}, states


def test_refusals_and_answers_over_the_socket() -> None:
    """The exact texts, with ``req_id``, and a socket that stays open; other paths and plain HTTP are refused."""

    async def talk() -> None:
        async with ExchangeServer(Options(pairs=5, rate=10)) as server:
            async with connect(server.address) as client:
                first = loads(await client.recv())
                assert (first["channel"], first["data"][0]["system"]) == ("status", "online")
                book = {"channel": "book", "symbol": ["XBT/USD"]}
                for request, error in (
                    ({"method": "subscribe", "params": book, "req_id": 5}, "Currency pair not supported XBT/USD"),
                    ({"method": "subscribe", "params": book | {"depth": 42}}, "Subscription depth not supported"),
                    ({"method": "subscribe", "params": {"channel": "boo"}}, "Subscription name invalid"),
                    ({"method": "ping", "params": {}}, "Unsupported field: 'params' for the given msg type: ping"),
                ):
                    await ask(client, **request)
                    answer = loads(await client.recv())
                    assert answer["error"] == error
                    assert answer["success"] is False
                    assert answer.get("req_id") == (
                        None if "req_id" not in request else frames.Number(request["req_id"])
                    )
                await client.send("{" * 100_000)
                assert loads(await client.recv())["error"] == "Malformed request"
                await ask(client, method="ping", req_id=9)
                assert loads(await client.recv())["method"] == "pong"
            with pytest.raises(InvalidStatus, match="404"):
                await connect(server.address.replace("/v2", "/v3"))

    asyncio.run(talk())


def test_log_names_every_frame(tmp_path: Path) -> None:
    """Each frame that a client gets stands in the log, in order, with channel, symbol and checksum; the account adds
    up.
    """
    log = tmp_path / "log.csv"

    async def follow() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        async with ExchangeServer(Options(pairs=10, rate=2000, log=log)) as server:
            async with connect(server.address, max_size=None) as client:
                await ask(client, method="subscribe", params={"channel": "book", "symbol": server.exchange.symbols})
                await ask(client, method="subscribe", params={"channel": "trade", "symbol": server.exchange.symbols})
                count = Counter[str]()
                got = await until(client, lambda m: count.update([m.get("channel", "")]) or count["trade"] > 20)
            async with asyncio.timeout(TIMEOUT):
                while server.clients:
                    await asyncio.sleep(0.01)
            return got, server.summary()

    got, account = asyncio.run(follow())
    with log.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    for message, row in zip(got, rows, strict=False):
        if message.get("channel") == "book":
            assert (row["channel"], row["symbol"]) == ("book", message["data"][0]["symbol"])
            assert row["checksum"] == message["data"][0]["checksum"]
        if message.get("channel") == "trade":
            assert row["checksum"] == message["data"][-1]["trade_id"]
    (connection,) = account["connections"]
    assert int(connection["frames"]) == len(rows) >= len(got)
    counted = Counter((row["symbol"], row["channel"]) for row in rows if row["symbol"])
    told = {(s, c): facts["messages"] for s, channels in connection["symbols"].items() for c, facts in channels.items()}
    assert told == counted


def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: who reads more slowly than the market moves is cut, others are not."""
    monkeypatch.setattr(exchange, "SLOW", 1 << 20)

    async def wait() -> None:
        async with ExchangeServer(Options(pairs=100, rate=50_000)) as server:
            async with connect(server.address, max_size=None) as other:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", int(server.address.rpartition(":")[2].removesuffix("/v2"))
                )
                # A window that fills quickly.
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                async with connect(server.address, max_size=None, max_queue=1) as slow:
                    await ask(
                        slow,
                        method="subscribe",
                        params={"channel": "book", "symbol": server.exchange.symbols, "depth": 1000},
                    )
                    async with asyncio.timeout(TIMEOUT):
                        while sum(client.number is not None for client in server.clients) > 1:
                            await asyncio.sleep(0.05)
                    with pytest.raises(ConnectionClosed):
                        while True:
                            await slow.recv()
                await ask(other, method="ping")
                await until(other, lambda message: message.get("method") == "pong")
                writer.close()
                assert not reader.at_eof()

    asyncio.run(wait())


def test_recorded_at_full_speed_the_lake_equals_the_account(tmp_path: Path) -> None:
    """20 s of exchange time, as fast as the recorder reads: count and sequence of checksums are the same, symbol by
    symbol.
    """
    facts = record_and_compare(tmp_path / "lake", seconds=20, rate=5000, pairs=60)
    assert facts["differences"] == []
    assert facts["verify"]["proved"], facts["verify"]["problems"]
    assert facts["record"]["frames"] == facts["messages"] == facts["verify"]["frames"] > 50_000
    assert facts["verify"]["unchecked"] == facts["verify"]["checksums"]["book"]["bad"] == 0


def test_differences_are_found(tmp_path: Path) -> None:
    """The comparison is awake: another count, another checksum and another connection are each told."""
    facts = record_and_compare(tmp_path / "lake", seconds=8, rate=500, pairs=5)
    assert facts["differences"] == []
    from krakpot.lake import Lake  # only here

    lake = Lake(tmp_path / "lake")
    account = {"connections": [{"symbols": {"BTC/USD": {"book": {"messages": 1, "hash": "00"}}}}]}
    found = exchange.differences(lake, account)
    assert any("BTC/USD: the exchange sent 1 book messages" in sentence for sentence in found)
    count = lake.book("BTC/USD").select("message").unique().collect().height
    account["connections"][0]["symbols"]["BTC/USD"]["book"]["messages"] = count
    assert any(
        "BTC/USD: the numbers of its book messages differ" in sentence
        for sentence in exchange.differences(lake, account)
    )
    assert "connections" in exchange.differences(lake, {"connections": []})[0]


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.5", 0.5), ("max", None)])
def test_speed(text: str, value: float | None) -> None:
    """A number, or max."""
    assert exchange.speed(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1e9", "nan"])
def test_speed_refused(text: str) -> None:
    """The sentence names what is allowed."""
    with pytest.raises(ValueError, match="above 0"):
        exchange.speed(text)


def test_wrong_places_are_plain_errors(tmp_path: Path) -> None:
    """A port in use and a log that cannot be written are named; wrong numbers are refused by the core."""

    async def twice() -> None:
        async with ExchangeServer(Options(pairs=1)) as server:
            port = int(server.address.rpartition(":")[2].removesuffix("/v2"))
            with pytest.raises(ConfigError, match=f"--port {port}"):
                async with ExchangeServer(Options(pairs=1, port=port)):
                    pass

    asyncio.run(twice())
    (tmp_path / "file").touch()

    async def log() -> None:
        async with ExchangeServer(Options(pairs=1, log=tmp_path / "file" / "log")):
            pass

    with pytest.raises(ConfigError, match="--log"):
        asyncio.run(log())
    with pytest.raises(ValueError, match="pairs must be from 1 to 1500"):
        _core.Exchange(pairs=0)
    with pytest.raises(ValueError, match="rate must be above zero"):
        _core.Exchange(rate=0)


def test_command_serves_and_lists_its_pairs(tmp_path: Path) -> None:
    """`krakpot exchange` says where it listens on its first line, serves `krakpot pairs`, and ends in order on
    SIGTERM.
    """
    krakpot = [sys.executable, "-m", "krakpot"]
    command = [*krakpot, "exchange", "--port", "0", "--pairs", "300", "--start", "2026-08-02T00:00:00Z"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        assert address.startswith("ws://127.0.0.1:")
        listing = [*krakpot, "pairs", "--url", address, "--symbols", "BTC/*,*/EUR", "--exclude", "ETH/*", "--json"]
        done = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        pairs = json.loads(done.stdout)["pairs"]
        symbols = [pair["symbol"] for pair in pairs]
        assert {"BTC/USD", "BTC/EUR", "SOL/EUR"} <= set(symbols)
        assert "ETH/EUR" not in symbols
        assert symbols == sorted(symbols)
        assert next(p for p in pairs if p["symbol"] == "BTC/USD")["price_precision"] == 1
        plain = subprocess.run(listing[:-1], capture_output=True, text=True, check=True, timeout=TIMEOUT)
        assert f"{len(symbols)} pairs" in plain.stdout
        server.send_signal(signal.SIGTERM)
        assert "2 connections" in server.stdout.read()
        assert server.wait(TIMEOUT) == 0

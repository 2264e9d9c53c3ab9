"""The built-in exchange, seen by a client that shares no code with it: websockets' own client and the model of
``frames``.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import hmac
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

import frames
from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.exchange import server as exchange
from krakpot.exchange.frames import unframe
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer

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


@pytest.mark.slow
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


def sign(name: str, secret: str, nonce: int) -> dict[str, Any]:
    """Method, headers and body of a request for a token, made by hand."""
    body = f"nonce={nonce}".encode()
    message = b"/0/private/GetWebSocketsToken" + hashlib.sha256(str(nonce).encode() + body).digest()
    mac = hmac.new(base64.b64decode(secret), message, hashlib.sha512)
    return {"data": body, "headers": {"API-Key": name, "API-Sign": base64.b64encode(mac.digest()).decode()}}


def post(address: str, **request: Any) -> dict[str, Any]:
    """The answer of REST to a request for a token."""
    whole = urllib.request.Request(f"{address}/0/private/GetWebSocketsToken", **request)  # noqa: S310  # http, ours
    with urllib.request.urlopen(whole, timeout=TIMEOUT) as answer:  # noqa: S310  # the same
        return dict(json.loads(answer.read()))


async def token(server: ExchangeServer, nonce: int = 1) -> str:
    """A token that REST gives for a signed request."""
    request = sign(server.key.name, server.key.secret_text, nonce)
    answer = await asyncio.to_thread(post, server.rest_address, **request)
    return str(answer["result"]["token"])


class Orders:
    """A level-3 book as a list: what is held is sorted anew for each question."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.held: list[tuple[str, Decimal, str, str, str, str]] = []
        """Side, price to sort by, time, id, price and quantity as on the wire."""

    def queue(self, side: str) -> list[tuple[str, Decimal, str, str, str, str]]:
        """Orders of a side, the first to be filled first: times of nine digits sort as texts do."""
        return sorted((o for o in self.held if o[0] == side), key=lambda o: (o[1], o[2]))

    def top(self, side: str, levels: int) -> list[Decimal]:
        """Keys of the best prices."""
        return sorted({o[1] for o in self.held if o[0] == side})[:levels]

    def apply(self, data: dict[str, Any]) -> None:
        """All entries of a message, then the window."""
        for side in ("bids", "asks"):
            for entry in data[side]:
                price, qty, when, order = (entry[k] for k in ("limit_price", "order_qty", "timestamp", "order_id"))
                assert re.fullmatch(r"O[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{6}", order), order
                event = entry.get("event", "add")
                known = [o for o in self.held if o[3] == order] if "event" in entry else []
                assert known or event == "add", f"{event} of what is not held: {order}"
                for one in known:
                    self.held.remove(one)
                if event == "modify":
                    assert known[0][2] == when, "an order that is filled in part keeps its place"
                if event == "delete":
                    assert known[0][5] == qty, "the last quantity"
                    assert data["timestamp"] == when, "the message's time"
                else:
                    key = Decimal(price) * (-1 if side == "bids" else 1)
                    self.held.append((side, key, when, order, price, qty))
        for side in ("bids", "asks"):
            window = set(self.top(side, self.depth))
            self.held = [o for o in self.held if o[0] != side or o[1] in window]

    @property
    def checksum(self) -> int:
        """Kraken's level-3 CRC32, by zlib."""
        text = ""
        for side in ("asks", "bids"):
            top = set(self.top(side, 10))
            for _, key, _, _, price, qty in self.queue(side):
                if key in top:
                    text += price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")
        return zlib.crc32(text.encode())

    def levels(self) -> dict[str, dict[Decimal, Decimal]]:
        """Sums of the quantities at each price."""
        sums: dict[str, dict[Decimal, Decimal]] = {"bids": defaultdict(Decimal), "asks": defaultdict(Decimal)}
        for side, _, _, _, price, qty in self.held:
            sums[side][Decimal(price)] += Decimal(qty)
        return sums


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "symbols", "updates"), [(10, 8, 600), (100, 4, 250), (1000, 1, 60)])
def test_orders_equal_a_plain_model_and_the_book(depth: int, symbols: int, updates: int) -> None:
    """With a token of REST: a list of orders has, after each message, the checksum that the exchange computed by
    itself, and its sums are what the book channel, on another connection, says of the same moment.
    """

    async def follow() -> Counter[str]:
        seen: Counter[str] = Counter()
        async with (
            ExchangeServer(Options(pairs=symbols, rate=4000, seed=3, speed=4)) as server,
            # What is not read any more would hold up a goodbye.
            connect(server.level3_address, max_size=None, close_timeout=0.1) as orders,
            connect(server.address, max_size=None, close_timeout=0.1) as books,
        ):
            names = server.exchange.symbols
            params = {"channel": "level3", "symbol": names, "depth": depth, "token": await token(server)}
            await ask(orders, method="subscribe", params=params)
            await ask(books, method="subscribe", params={"channel": "book", "symbol": names, "depth": depth})
            held: dict[str, Orders] = {}
            # The latest state of each microsecond, of both channels.
            states: dict[str, dict[tuple[str, str], Any]] = {"level3": {}, "book": {}}
            async with asyncio.timeout(TIMEOUT):
                while seen["update"] < updates:
                    message = loads(await orders.recv())
                    if message.get("channel") != "level3":
                        assert message.get("success") is not False, message
                        continue
                    assert list(message) == ["channel", "type", "data"]
                    (data,) = message["data"]
                    assert list(data) == ["checksum", "symbol", "timestamp", "bids", "asks"]
                    book = held.setdefault(data["symbol"], Orders(depth))
                    if message["type"] == "snapshot":
                        book.held = []
                    book.apply(data)
                    assert book.checksum == int(data["checksum"]), f"{data['symbol']}: message {seen}"
                    seen[message["type"]] += 1
                    seen.update(e.get("event", "shown") for side in ("bids", "asks") for e in data[side])
                    states["level3"][data["symbol"], data["timestamp"][:26]] = book.levels()
                    for side in ("bids", "asks"):
                        times = [e["timestamp"] for e in data[side] if e.get("event") == "add"]
                        seen["unsorted"] += times != sorted(times)
                last = max(when for _, when in states["level3"])
                level2: dict[str, frames.Book] = {}
                while True:
                    message = loads(await books.recv())
                    if message.get("channel") != "book":
                        continue
                    (data,) = message["data"]
                    if data["timestamp"] > f"{last}Z":
                        break
                    symbol = data["symbol"]
                    if message["type"] == "snapshot":
                        level2[symbol] = frames.Book(symbol, depth=depth)
                    for side in ("bid", "ask"):
                        for e in data[f"{side}s"]:
                            level2[symbol].apply([(side, e["price"], e["qty"])])
                    states["book"][symbol, data["timestamp"][:26]] = {
                        f"{side}s": dict(levels) for side, levels in level2[symbol].sides.items()
                    }
            for moment in states["level3"].keys() & states["book"].keys():
                assert states["level3"][moment] == states["book"][moment], moment
                seen["compared"] += 1
        return seen

    seen = asyncio.run(follow())
    assert seen["snapshot"] == symbols, seen
    assert seen["compared"] > updates // 2, seen
    assert min(seen["add"], seen["delete"], seen["modify"]) > 0, seen
    # Few messages may have none by chance.
    assert seen["unsorted"] > 0 or updates < 100, seen


def test_tokens_are_needed_and_expire() -> None:
    """Without a token, with a made-up one and with one that is too old there is no level 3; a wrong signature and an
    old nonce get no token. The other endpoint's channels are refused.
    """

    async def talk() -> None:
        # A minute of the exchange passes in 30 ms.
        async with ExchangeServer(Options(pairs=3, rate=0.01, speed=2000)) as server:
            name, secret = server.key.name, server.key.secret_text
            wrong = base64.b64encode(b"another").decode()
            for request, error in (
                (sign(name, wrong, 5), "EAPI:Invalid signature"),
                (sign("another", secret, 5), "EAPI:Invalid key"),
                (sign(name, secret, 5), None),
                (sign(name, secret, 5), "EAPI:Invalid nonce"),
                (sign(name, secret, 4), "EAPI:Invalid nonce"),
            ):
                answer = await asyncio.to_thread(post, server.rest_address, **request)
                assert answer["error"] == ([error] if error else []), request
            async with connect(server.level3_address) as client:
                level3 = {"channel": "level3", "symbol": ["BTC/USD"]}

                async def refused(**params: Any) -> str:
                    await ask(client, method="subscribe", params=params, req_id=9)
                    answers = await until(client, lambda message: message.get("method") == "subscribe")
                    return str(answers[-1].get("error"))

                assert await refused(**level3) == "ESession:Invalid session"
                assert await refused(**level3 | {"token": "made up"}) == "ESession:Invalid session"
                assert (
                    await refused(channel="book", symbol=["BTC/USD"])
                    == "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
                )
                fresh = await token(server, 6)
                expired = server.exchange.now + 900 * frames.SECOND
                while server.exchange.now <= expired:
                    await asyncio.sleep(0.01)
                assert await refused(**level3, token=fresh) == "ESession:Invalid session"
            async with connect(server.address) as client:
                await ask(client, method="subscribe", params=level3)
                answers = await until(client, lambda message: message.get("method") == "subscribe")
                assert str(answers[-1]["error"]).startswith("Private data and trading are unavailable")

    asyncio.run(talk())


def test_the_account_and_the_log_count_level3(tmp_path: Path) -> None:
    """Each level3 message is in the log with its checksum, and the account has their number and hash; a delay shows in
    the log as the time between a message's own and its sending.
    """
    log = tmp_path / "log.csv"
    server = _core.Exchange(
        pairs=3, rate=2000, start=frames.START, log=True, book=(20_000_000, 0, 0), level3=(0, 1_000_000, 50_000_000)
    )
    server.allow("a token", frames.START + frames.SECOND)
    orders, books = server.connect("level3"), server.connect()
    params: dict[str, Any] = {"symbol": server.symbols, "token": "a token"}
    for client, channel in ((orders, "level3"), (books, "book")):
        request = {"method": "subscribe", "params": params | {"channel": channel}}
        server.receive(client, json.dumps(request).encode())
    server.advance(frames.START + 3 * frames.SECOND)
    messages = {client: [loads(text) for text in unframe(server.take(client))] for client in (orders, books)}
    log.write_bytes(server.take_log())
    with log.open() as lines:
        rows = list(csv.DictReader(lines))
    account = {one["connection"]: one for one in json.loads(server.summary())["connections"]}
    for client, channel, least in ((orders, "level3", 0), (books, "book", 20_000)):
        told = [m["data"][0] for m in messages[client] if m.get("channel") == channel]
        logged = [row for row in rows if (row["connection"], row["channel"]) == (str(client), channel)]
        assert [(d["symbol"], d["checksum"]) for d in told] == [(r["symbol"], r["checksum"]) for r in logged]
        assert len(told) > 50
        for symbol in server.symbols:
            sums = [int(d["checksum"]) for d in told if d["symbol"] == symbol]
            value = 0
            for one in sums:
                value = (value * _core.ACCOUNT_HASH + one) % 2**64
            assert account[client]["symbols"][symbol][channel] == {"messages": len(sums), "hash": f"{value:016x}"}
        lags = [
            int(r["sent_ns"]) // 1000 - frames.START // 1000 - (int(d["timestamp"][17:19]) - 50) * 10**6
            - int(d["timestamp"][20:26]) for d, r in zip(told, logged, strict=True)
        ]  # fmt: skip
        assert min(lags) >= least, channel
        assert max(lags) <= (51_000 if channel == "level3" else 20_000), channel
        assert max(lags) > 1000, "awake"


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
        assert counts["in_sync"] == counts["selected"] == 60
        assert all(
            counts["rows"].get(table, 0) > 0 for table in ("trades", "ticker", "ohlc", "pairs", "assets", "status")
        )
        states = {state for _, _, state, _ in session.subscriptions()}
        assert states == {"active"}, states


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
            # No page in a browser: not by its origin, nor by a name that was made to lead here.
            with pytest.raises(InvalidStatus, match="403"):
                await connect(server.address, origin=Origin("http://127.0.0.1"))
            port = urlsplit(server.address).port
            with pytest.raises(InvalidStatus, match="403"):
                await connect(f"ws://evil.example:{port}/v2", host="127.0.0.1", port=port)
        async with ExchangeServer(Options(host="0.0.0.0", pairs=2, rate=10)) as server:  # noqa: S104  # asked for
            port = urlsplit(server.address).port
            async with connect(f"ws://box.example:{port}/v2", host="127.0.0.1", port=port) as client:
                assert loads(await client.recv())["channel"] == "status"

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


@pytest.mark.slow
def test_an_exchange_that_cannot_keep_up_cuts_nobody_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more is asked for than can be made: the exchange is late, and writes block by block what it made."""
    monkeypatch.setattr(exchange, "SLOW", 32 << 20)
    wanted = 96 << 20

    def read(address: str, symbols: list[str]) -> int:
        """Read as fast as bytes come, in a thread; returns how many there were."""
        parts = urlsplit(address)
        assert parts.hostname is not None
        with socket.create_connection((parts.hostname, parts.port or 0), timeout=TIMEOUT) as peer:
            peer.sendall(
                b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            params = {"channel": "book", "symbol": symbols, "depth": 1000}
            text = json.dumps({"method": "subscribe", "params": params}).encode()
            # Masked with zeros, which is a mask.
            peer.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
            had = 0
            while had < wanted and (data := peer.recv(1 << 20)):
                had += len(data)
            return had

    async def wait() -> tuple[int, float]:
        async with ExchangeServer(Options(pairs=200, rate=20_000_000)) as server:
            had = await asyncio.to_thread(read, server.address, server.exchange.symbols)
            return had, (time.time_ns() - server.exchange.now) / 1e9

    had, late = asyncio.run(wait())
    # One that keeps up is late by a slice of 5 ms at most.
    assert late > 0.01, "the test is awake: it could not keep up"
    assert had >= wanted, f"cut after {had} bytes"


def test_its_speed_may_change_while_it_runs() -> None:
    """Time passes as fast as ``speed`` says, from the next look at the clock on."""

    async def wait() -> tuple[int, int]:
        async with ExchangeServer(Options(pairs=2, rate=10.0, speed=0.001)) as server:
            await asyncio.sleep(0.05)
            slow = server.exchange.now - server.begin
            server.speed = 10_000.0
            async with asyncio.timeout(TIMEOUT):
                while server.exchange.now < server.begin + 100 * 10**9:
                    await asyncio.sleep(0.01)
            return slow, server.exchange.now - server.begin

    slow, fast = asyncio.run(wait())
    assert 0 <= slow < 10**9 < fast


def test_wrong_places_are_plain_errors(tmp_path: Path) -> None:
    """A port in use and a log that cannot be written are named; wrong numbers are refused by the core."""

    async def twice() -> None:
        async with ExchangeServer(Options(pairs=1)) as server:
            port = int(server.address.rpartition(":")[2].removesuffix("/v2"))
            with pytest.raises(ConfigError, match=f"^krakpot.ExchangeServer: port: {port}: another program"):
                async with ExchangeServer(Options(pairs=1, port=port)):
                    pass
            rest = int(server.rest_address.rpartition(":")[2])
            with pytest.raises(ConfigError, match=f"^krakpot.ExchangeServer: rest_port: {rest}: another"):
                async with ExchangeServer(Options(pairs=1, rest_port=rest)):
                    pass

    asyncio.run(twice())
    (tmp_path / "file").touch()

    async def log() -> None:
        async with ExchangeServer(Options(pairs=1, log=tmp_path / "file" / "log")):
            pass

    with pytest.raises(ConfigError, match="^krakpot.ExchangeServer: log: "):
        asyncio.run(log())
    with pytest.raises(ValueError, match="pairs must be from 1 to 1500"):
        _core.Exchange(pairs=0)
    with pytest.raises(ValueError, match="rate must be above zero"):
        _core.Exchange(rate=0)
    with pytest.raises(ValueError, match="delay, jitter and conflation"):
        _core.Exchange(book=(-1, 0, 0))
    with pytest.raises(ValueError, match="endpoint must be public, level3 or private"):
        _core.Exchange(pairs=1).connect("fish")


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
        level3 = server.stdout.readline().split()
        assert level3[3].startswith(address.removesuffix("/v2") + "/level3/v2")
        _, _, name, _, secret = server.stdout.readline().split()
        assert post(level3[-1], **sign(name, secret, 1))["result"]["expires"] == 900
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


@pytest.mark.slow
def test_command_takes_a_key_and_paces(tmp_path: Path) -> None:
    """A key that is given is not said again; delays are read, and refused with the option's name."""
    krakpot = [sys.executable, "-m", "krakpot", "exchange", "--port", "0", "--pairs", "2"]
    given = [
        "--api-key",
        "name",
        "--api-secret",
        "c2VjcmV0",
        "--book-delay",
        "5ms",
        "--level3-conflate",
        "1s",
        "--json",
    ]
    command = [*krakpot, *given, "--for", "1s", "--log", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert len(done.stderr.splitlines()) == 2
    assert "c2VjcmV0" not in done.stderr + done.stdout + (tmp_path / "log").read_text()
    assert json.loads(done.stdout)["connections"] == []
    wrong = subprocess.run(
        [*krakpot, "--book-jitter", "5"], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert wrong.returncode == 2
    assert "--book-jitter: '5' is not allowed; allowed is a time as 5ms" in wrong.stderr

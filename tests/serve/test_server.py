"""The server of ``krakpot view``: what it refuses, what it answers, and that nothing ends it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pyarrow as pa
import pytest

import krakpot
import lakes
from frames import SECOND, START
from krakpot.errors import ConfigError
from krakpot.serve import server as module
from krakpot.serve import viewer
from krakpot.serve.guard import EVERY
from krakpot.serve.server import ViewServer
from recording import Recording
from streams import Book, Client, Clock, Trades
from waiting import run, talk

SYMBOL = "BTC/USD"
TOKEN = "-".join(["a", "token", "of", "a", "test"])


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A small lake."""
    lakes.make(tmp_path / "lake", lakes.market(300))
    return tmp_path / "lake"


def serving(
    work: Callable[[ViewServer, aiohttp.ClientSession], Coroutine[Any, Any, None]], *arguments: Any, **options: Any
) -> None:
    """Run a test with a server and an HTTP client of it."""

    async def main() -> None:
        async with ViewServer(*arguments, port=0, **options) as server, aiohttp.ClientSession(server.address) as client:
            await work(server, client)

    run(main())


async def alive(server: ViewServer) -> None:
    """A new client is served."""
    async with Client(server.stream_address) as client:
        await client.done("subscribe", symbols=[SYMBOL])
        await client.until(Book, lambda book: book.in_sync)


HOSTILE = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[" * 50_000, "not JSON"),
    ('{"method": NaN}', "not JSON"),
    ("[]", "a JSON object"),
    ("7", "a JSON object"),
    ("null", "a JSON object"),
    ("{}", "method: None is not allowed"),
    ('{"method": 5}', "method: 5"),
    ('{"method": "explode"}', "allowed is one of subscribe"),
    ('{"method": ["subscribe"]}', "method: "),
    ('{"method": "subscribe"}', "symbols: it is missing"),
    ('{"method": "subscribe", "symbols": []}', "symbols: "),
    ('{"method": "subscribe", "symbols": "BTC/USD"}', "symbols: "),
    ('{"method": "subscribe", "symbols": [1]}', "symbols: "),
    ('{"method": "subscribe", "symbols": ["BTC/US"]}', "did you mean BTC/USD"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 0}', "depth: 0 is not allowed"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 1001}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 1e1}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": true}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "orders": 1}', "orders: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "orders": true}', "no level 3"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "dept": 10}', "subscribe takes symbols, depth, orders"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "req_id": -1}', "req_id: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "req_id": "x"}', "req_id: "),
    ('{"method": "unsubscribe", "symbols": ["NO/NE"]}', "no pair"),
    ('{"method": "overview", "on": "yes"}', "on: "),
    ('{"method": "rate", "per_second": 0}', "per_second: "),
    ('{"method": "rate", "per_second": 61}', "per_second: "),
    ('{"method": "rate", "per_second": null}', "per_second: "),
    ('{"method": "speed", "speed": 0}', "speed: "),
    ('{"method": "speed", "speed": 1e999}', "speed: "),
    ('{"method": "speed", "speed": -1}', "speed: "),
    ('{"method": "seek"}', "at_us: it is missing"),
    ('{"method": "seek", "at_us": -1}', "at_us: "),
    ('{"method": "seek", "at_us": 1.5}', "at_us: "),
    ('{"method": "seek", "at_us": "2026"}', "at_us: "),
    ('{"method": "seek", "at_us": ' + "9" * 30 + "}", "at_us: "),
    ('{"method": "seek", "at_us": ' + "9" * 5000 + "}", "not JSON"),
    ('{"method": "coverage", "symbols": ["x"]}', "no pair"),
    ('{"method": "pause", "symbols": ["BTC/USD"]}', "pause takes nothing"),
]


def test_hostile_requests_get_an_answer(lake: Path) -> None:
    """Each with a sentence; the client stays connected, and its next request is served."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            for text, sentence in HOSTILE:
                await client.socket.send_str(text)
                answer = await client.text("answer")
                assert answer["success"] is False
                assert sentence in answer["error"], text
                assert len(answer["error"]) < 400
            await client.socket.send_bytes(b"\x00\xff")
            assert "text message" in (await client.text("answer"))["error"]
            many = [f"X{i}/USD" for i in range(101)]
            assert "too many" in (await client.ask("subscribe", symbols=many))["error"]
            answer = await client.ask("subscribe", symbols=[SYMBOL], req_id=7)
            assert answer == {"type": "answer", "method": "subscribe", "req_id": 7, "success": True}
            await client.until(Book, lambda book: book.in_sync)

    serving(main, lake)


def test_what_cannot_be_read_ends_only_its_client(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Messages beyond the limit, text that is no UTF-8, and frames that are none or never end."""
    monkeypatch.setattr(viewer, "PATIENCE", 0.5)

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            await client.socket.send_str("x" * (module.REQUEST_MAX + 1))
            with pytest.raises(EOFError, match="1009"):
                await client.text("never")
        handshake = (
            f"GET /stream HTTP/1.1\r\nHost: {urlsplit(server.address).netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        for frame in (
            b"\xff" * 50,
            b"\x81\x05hello",
            b"\x81\x82\0\0\0\0\xff\xfe",
            b"\x88\x00",
            b"\x81\xff" + b"\xff" * 8,
        ):
            answer = await talk(server.address, handshake + frame)
            assert b"101 Switching Protocols" in answer
        await alive(server)

    serving(main, lake)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n", 405),
        (b"DELETE /lake HTTP/1.1\r\nHost: HOST\r\n\r\n", 405),
        (b"GET /stream HTTP/1.1\r\nHost: HOST\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 403),
        (b"GET /lake HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example\r\n\r\n", 403),
        (b"GET /lake HTTP/1.1\r\nHost: HOST\r\nOrigin: null\r\n\r\n", 403),
        (b"GET /lake HTTP/1.1\r\nHost: HOST\r\nOrigin: http://127.0.0.1:1\r\n\r\n", 403),
        (b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /..%5c..%5cserver.py HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /%00 HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET //etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /lake/../_lake.json HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /lake/_lake.json HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /lake/book/../_lake.json HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /lake/book/..%2f..%2f_lake.json HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /lake//etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (b"GET /trades.arrow HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        (b"GET /trades.arrow?symbol=NO/NE HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        (b"GET /trades.arrow?symbol=BTC/USD&from=x HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        (b"GET /trades.arrow?symbol=BTC/USD&limit=0 HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 400),
    ],
)
def test_hostile_http(lake: Path, request_: bytes, status: int) -> None:
    """A 4xx with a sentence, and the server goes on."""

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        host = urlsplit(server.address).netloc.encode()
        text = request_.replace(b"Host: HOST", b"Host: " + host).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = await talk(server.address, text)
        assert answer.startswith(b"HTTP/1."), answer
        assert int(answer.split()[1]) == status, answer
        assert b"root:" not in answer
        async with client.get("/") as found:
            assert found.status == 200

    serving(main, lake)


def test_pages_of_other_servers_get_no_stream(lake: Path) -> None:
    """``Host`` and ``Origin`` are checked of the WebSocket too; the page's own origin is served."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        netloc = urlsplit(server.address).netloc
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "file://"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with Client(server.stream_address, headers=headers):
                    pass
            assert caught.value.status == 403
        async with Client(server.stream_address, headers={"Origin": f"http://{netloc}"}) as client:
            assert client.hello["stream"] == 1

    serving(main, lake)


def test_a_token_is_needed_elsewhere(lake: Path) -> None:
    """On all addresses a token is made; without it nothing is served, by any of three ways everything is."""

    async def main() -> None:
        async with ViewServer(lake, host=EVERY[0], port=0) as server:
            assert server.token
            port = urlsplit(server.address).port
            here = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(here) as client:
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"krakpot_view_{port}=wrong"}):
                    for path in ("/", "/lake", "/stream", "/trades.arrow?symbol=BTC/USD", "/?token=wrong", "/x.js"):
                        async with client.get(path, headers=headers) as answer:
                            assert answer.status == 401, path
                            assert server.token not in await answer.text()
                async with client.get("/lake", headers={"Authorization": f"Bearer {server.token}"}) as answer:
                    assert answer.status == 200
                async with client.get("/", params={"token": server.token}) as answer:
                    assert answer.status == 200
                    cookie = answer.headers["Set-Cookie"]
                    assert "HttpOnly" in cookie
                    assert "SameSite=Strict" in cookie
                pair = cookie.split(";")[0]
                async with client.get("/lake", headers={"Cookie": pair}) as answer:
                    assert answer.status == 200
            async with Client(f"ws://127.0.0.1:{port}/stream?token={server.token}") as one:
                assert one.hello["source"] == "lake"

    run(main())


def test_a_token_of_ones_own(lake: Path) -> None:
    """Also on this machine; a token that can be guessed is refused."""

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        assert server.address.endswith(f"?token={TOKEN}")
        async with client.get("/lake", params={"token": TOKEN}) as answer:
            assert answer.status == 200
        async with client.get("/lake", params={"token": TOKEN[:-1]}) as answer:
            assert answer.status == 401

    serving(main, lake, token=TOKEN)
    with pytest.raises(ConfigError, match="token"):
        ViewServer(lake, token=TOKEN[:5])


def test_the_page(lake: Path, tmp_path: Path) -> None:
    """Static files with their types, for a page that is cross-origin isolated; hidden and unknown files are not there."""
    page = tmp_path / "page"
    (page / "core").mkdir(parents=True)
    kinds = {
        "index.html": "text/html; charset=utf-8", "app.js": "text/javascript; charset=utf-8",
        "core/core.wasm": "application/wasm", "look.css": "text/css; charset=utf-8",
    }  # fmt: skip
    for name in kinds:
        (page / name).write_text(name)
    (page / ".secret.js").write_text("secret")
    (page / "tool.py").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (page / "link.js").symlink_to(tmp_path / "outside.js")

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        for name, kind in {"": kinds["index.html"], **kinds}.items():
            async with client.get(f"/{name}") as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, kind), name
                assert await answer.text() == (name or "index.html")
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for name in (".secret.js", "tool.py", "link.js", "core", "core/", "../outside.js", "nothing.js"):
            async with client.get(f"/{name}") as answer:
                assert answer.status == 404, name
                assert "secret" not in await answer.text()

    serving(main, lake, page=page)


def test_without_a_page_it_says_how_to_connect(lake: Path, tmp_path: Path) -> None:
    """The address is of use before there is a page."""

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        async with client.get("/") as answer:
            assert answer.status == 200
            assert "/stream" in await answer.text()

    serving(main, lake, page=tmp_path / "none")


def test_the_parts_of_a_lake(lake: Path) -> None:
    """Listed with their sizes, and read by range as they are on disk."""

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        async with client.get("/lake") as answer:
            listed = (await answer.json())["parts"]
        on_disk = sorted(path.relative_to(lake).as_posix() for path in lake.rglob("*.parquet"))
        assert sorted(one["path"] for one in listed) == on_disk
        assert len(on_disk) > 5
        for one in listed:
            data = (lake / one["path"]).read_bytes()
            assert one["bytes"] == len(data)
            async with client.get(f"/lake/{one['path']}") as answer:
                assert await answer.read() == data
                assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
            async with client.get(f"/lake/{one['path']}", headers={"Range": "bytes=-8"}) as answer:
                assert (answer.status, await answer.read()) == (206, data[-8:])
            async with client.get(f"/lake/{one['path']}", headers={"Range": "bytes=9999999-"}) as answer:
                assert answer.status == 416

    serving(main, lake)


def test_trades_as_arrow(lake: Path) -> None:
    """The trades of a range, with the types that its reader demands."""

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        query = {
            "venue": "kraken",
            "market": "spot",
            "symbol": "btcusd",
            "from": str(START // 10**6),
            "to": str(10**13),
        }
        async with client.get("/trades.arrow", params=query) as answer:
            assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
            table = pa.ipc.open_stream(await answer.read()).read_all()
        assert table.num_rows == krakpot.Lake(lake).trades(SYMBOL).collect().height > 3

    serving(main, lake)


def test_a_damaged_part_is_a_plain_message(lake: Path) -> None:
    """Who plays or asks for it is told which lake cannot be read; the server and its other clients go on."""
    for path in lakes.parts(lake, "book") + lakes.parts(lake, "trades"):
        data = bytearray(path.read_bytes())
        data[4:-8] = bytes(len(data) - 12)
        path.write_bytes(data)

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as viewer:
            await viewer.done("subscribe", symbols=[SYMBOL])
            while not (status := await viewer.text("status"))["reason"]:
                pass
            assert status["connection"] == "down"
            assert "a part cannot be read" in status["reason"]
            assert "krakpot verify" in status["reason"]
            await viewer.until(Clock)
            assert (await viewer.ask("pause"))["success"]
        async with client.get("/trades.arrow", params={"symbol": SYMBOL}) as answer:
            assert answer.status == 500
            assert "a part cannot be read" in (await answer.json())["error"]
        async with client.get("/lake") as answer:
            assert answer.status == 200

    serving(main, lake)


def test_a_slow_client_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it answers no ping it is sent nothing more, whatever comes; then the newest state, with what it missed."""
    monkeypatch.setattr(viewer, "TRADES_BEFORE", 0)

    async def main() -> None:
        options = krakpot.ExchangeOptions(pairs=1, rate=500)
        async with (
            krakpot.ExchangeServer(options) as exchange,
            krakpot.Feed(["*"], channels=["book", "trade"], depth=100, url=exchange.address) as feed,
            ViewServer(feed, port=0) as server,
            Client(server.stream_address, autoping=False) as client,
        ):
            symbol = client.hello["symbols"][0]["symbol"]
            await client.done("rate", per_second=60)
            await client.done("subscribe", symbols=[symbol])
            (one,) = server.viewers
            pair = one.sight.market.pair(symbol)
            while not one.full:
                await asyncio.sleep(0.01)
            sent, began, traded = one.sent.total(), pair.book.count, pair.traded
            while pair.book.count < began + 300 or pair.traded < traded + 5:
                await asyncio.sleep(0.01)
            assert one.sent.total() == sent, "nothing was sent meanwhile"
            assert one.pinged - one.answered == viewer.WINDOW
            # It answers now. Behind the few states that waited for it comes the newest one.
            client.heard.clear()
            for _ in range(viewer.WINDOW):
                await client.socket.pong(b"")
            newest = await client.until(Book, lambda book: book.messages >= 300)
            before = [one for one in client.heard if isinstance(one, Book)][:-1]
            assert len(before) <= viewer.WINDOW
            assert newest.messages <= pair.book.count - began
            assert all(one.ts_recv < newest.ts_recv for one in before)
            missed = await client.until(Trades)
            assert len(missed.rows) + missed.left_out >= 5

    run(main())


def test_trades_that_are_left_out_are_counted(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Of more trades than are kept the newest come, and the number of the others."""
    from krakpot.serve import market

    monkeypatch.setattr(market, "TRADES_KEPT", 3)
    wanted = krakpot.Lake(lake).trades(SYMBOL).collect()["trade_id"].to_list()
    assert len(wanted) > 10

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            await client.done("rate", per_second=1)
            await client.done("speed", speed=1000)
            await client.done("subscribe", symbols=[SYMBOL])
            await client.until(Clock, lambda clock: clock.at_end)
            found = [one for one in client.heard if isinstance(one, Trades)]
            ids = [row[2] for one in found for row in one.rows]
            assert all(len(one.rows) <= 3 for one in found)
            assert ids == sorted(ids)
            last = found[-1]
            assert last.left_out > 0
            assert [row[2] for row in last.rows] == wanted[-3:]
            begun = wanted.index(found[-1].rows[0][2]) - last.left_out
            assert begun == (0 if len(found) == 1 else 1 + wanted.index(found[-2].rows[-1][2]))

    serving(main, lake)


def test_a_client_that_is_not_there_is_let_go(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Without an answer to any ping for a while the client is disconnected, and its place in the lake closed."""
    monkeypatch.setattr(viewer, "PATIENCE", 0.3)

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address, autoping=False) as client:
            await client.done("subscribe", symbols=[SYMBOL])
            while server.viewers:
                await asyncio.sleep(0.02)
        await alive(server)

    serving(main, lake)


def test_a_recording_is_followed(tmp_path: Path) -> None:
    """A lake that is being recorded is shown at its end: states go on as they are recorded, and the past is there."""

    async def main() -> None:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=300)) as exchange:
            lake = tmp_path / "lake"
            recording = Recording(exchange.address, lake, symbols=("*",))
            try:
                while not (recording.live(2) and recording.counts["checksums"]["book"]["ok"] > 100):
                    await asyncio.sleep(0.05)
                async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
                    assert client.hello["source"] == "lake"
                    await client.done("subscribe", symbols=[SYMBOL], depth=10)
                    first = await client.until(Book, lambda book: book.in_sync)
                    later = await client.until(Book, lambda book: book.ts_recv > first.ts_recv + SECOND)
                    assert not later.not_continued
                    clock = await client.until(Clock)
                    assert clock.at_end
                    assert clock.now - clock.shown < 30 * SECOND
                    assert clock.connected
                    downs = [one for one in client.heard if isinstance(one, dict) and one.get("connection") == "down"]
                    assert not downs
                    await client.done("pause")
                    await client.done("seek", at_us=first.ts_recv // 1000 + 1)
                    again = await client.until(Book, lambda book: book.not_continued)
                    assert not (await client.until(Clock)).at_end
                    assert again.ts_recv == first.ts_recv
                    assert (again.bids, again.asks) == (first.bids, first.asks)
                    end = clock.now // 1000 + 10**9
                    await client.done("resume")
                    await client.done("seek", at_us=end)
                    newest = await client.until(Book, lambda book: book.not_continued and book.in_sync)
                    assert newest.ts_recv > later.ts_recv
                    await client.until(Book, lambda book: book.ts_recv > newest.ts_recv)
            finally:
                await recording.end()

    run(main())


def test_an_address_in_use(lake: Path) -> None:
    """A sentence that names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        async def main() -> None:
            async with ViewServer(lake, port=taken.getsockname()[1]):
                pass

        with pytest.raises(ConfigError, match="another program listens there"):
            run(main())


def test_it_closes_with_clients(lake: Path) -> None:
    """Clients are told that the server goes."""

    async def main() -> None:
        async def told(client: Client) -> None:
            with pytest.raises(EOFError, match="1001"):
                await client.text("never")

        server = ViewServer(lake, port=0)
        await server.__aenter__()
        async with Client(server.stream_address) as client:
            await client.done("subscribe", symbols=[SYMBOL])
            await asyncio.gather(told(client), server.__aexit__(None, None, None))
        assert not server.viewers

    run(main())


def test_a_request_as_json_of_any_size(lake: Path) -> None:
    """Coverage says what was recorded, by pair and channel, and the times of the lake."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            await client.send("coverage", symbols=[SYMBOL], req_id=4)
            found = await client.text("coverage")
            assert found["req_id"] == 4
            spans = krakpot.Lake(lake).coverage().filter(symbol=SYMBOL)
            assert {one["channel"] for one in found["spans"]} == set(spans["channel"]) >= {"book", "trade"}
            assert {one["symbol"] for one in found["spans"]} == {SYMBOL}
            assert found["begin_us"] == client.hello["begin_us"] == START // 1000
            assert found["end_us"] == client.hello["end_us"]
            assert json.dumps(found)

    serving(main, lake)

"""The server of ``krakpot view``: what it refuses, what it answers, and that nothing ends it."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

import frames
import krakpot
import lakes
from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.serve import server as module
from krakpot.serve import source, trades, viewer
from krakpot.serve.facts import LakeFacts, facts_of
from krakpot.serve.server import ViewServer
from recording import Recording
from streams import Book, Client, Clock
from viewing import SYMBOL, alive, serving
from waiting import run, talk


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


def test_the_page(lake: Path, tmp_path: Path) -> None:
    """Static files with their types, for a cross-origin isolated page; hidden and unknown files are not there."""
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
            text = await answer.text()
            assert "/stream" in text
            assert str(tmp_path / "none") in text

    serving(main, lake, page=tmp_path / "none")


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


def test_many_clients(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Of clients that come at once no more are served than there are seats; a seat that is left is free again."""
    monkeypatch.setattr(module, "CLIENTS_MAX", 3)

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        found = await asyncio.gather(*(client.ws_connect("/stream") for _ in range(20)), return_exceptions=True)
        served = [one for one in found if isinstance(one, aiohttp.ClientWebSocketResponse)]
        refused = [one for one in found if isinstance(one, aiohttp.WSServerHandshakeError)]
        assert (len(served), len(refused)) == (3, 17)
        assert {one.status for one in refused} == {503}
        async with client.get("/stream") as answer:
            assert "3 clients are connected" in (await answer.json())["error"]
        for one in served:
            await one.close()
        while server.viewers:
            await asyncio.sleep(0.01)
        await alive(server)

    serving(main, lake)


def test_pairs_that_join_a_recording(tmp_path: Path) -> None:
    """A client that was there before is told of them; their numbers follow."""
    lake = tmp_path / "lake"

    async def main() -> None:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=100)) as exchange:
            first = Recording(exchange.address, lake, symbols=(SYMBOL,))
            try:
                while not first.live(1):
                    await asyncio.sleep(0.02)
                async with ViewServer(lake, port=0) as server, Client(server.stream_address) as client:
                    # Its first client may come before its first pair.
                    names = [one["symbol"] for one in client.hello["symbols"]]
                    while names != [SYMBOL]:
                        names = [one["symbol"] for one in (await client.text("symbols"))["symbols"]]
                    second = Recording(exchange.address, lake, symbols=("*",), exclude=(SYMBOL,))
                    try:
                        names = [one["symbol"] for one in (await client.text("symbols"))["symbols"]]
                        assert names[0] == SYMBOL
                        assert len(names) == 2
                        await client.done("subscribe", symbols=names)
                        later = await client.until(Book, lambda book: book.in_sync and book.number == 1)
                        assert later.bids
                    finally:
                        await second.end()
            finally:
                await first.end()

    run(main())


def test_pairs_are_looked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After a look that fails, after one that takes long, and where nobody recorded when the server began."""
    monkeypatch.setattr(module, "PAIRS_EVERY", 0.01)
    monkeypatch.setattr(module, "PAIRS_SHARE", 1e9)
    monkeypatch.setattr(module, "PAIRS_SELDOM", 0.05)
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market(40))
    looks = 0

    def look(folder: Folder) -> LakeFacts:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise OSError("the disk is away")
        return facts_of(folder)

    monkeypatch.setattr(source, "facts_of", look)

    async def main() -> None:
        said: list[str] = []
        async with ViewServer(lake, port=0, log=said.append) as server, Client(server.stream_address) as client:
            assert len(client.hello["symbols"]) == 2
            while looks < 4:
                await asyncio.sleep(0.01)
            assert said.count("the disk is away") == 1
            begin = frames.START + frames.DAY
            timed = frames.market(["SOL/USD"], begin=begin, step=frames.SECOND, count=40, seed=2)
            lakes.make(lake, timed, session="019e0000-0000-7000-8000-000000000001")
            names = ["BTC/USD", "ETH/USD", "SOL/USD"]
            assert [one["symbol"] for one in (await client.text("symbols"))["symbols"]] == names
            async with Client(server.stream_address) as later:
                assert [one["symbol"] for one in later.hello["symbols"]] == names
                before = looks
                while looks < before + 3:
                    await asyncio.sleep(0.01)
                await later.done("overview", on=True)
                again = [one for one in later.heard if isinstance(one, dict) and one["type"] == "symbols"]
                assert not again, "it knows them"

    run(main())


def test_questions_leave_threads_to_the_players(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """While questions that take long are answered, and others wait, a client is shown the lake."""
    release = threading.Event()
    monkeypatch.setattr(trades, "answer", lambda lake, query: release.wait(60) and b"")

    async def main(server: ViewServer, client: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as viewer:
            asked = [asyncio.create_task(client.get("/trades.arrow")) for _ in range(3 * module.THREADS)]
            try:
                await asyncio.sleep(0.2)
                await viewer.done("subscribe", symbols=[SYMBOL])
                await viewer.until(Book, lambda book: book.in_sync)
                assert not any(one.done() for one in asked)
            finally:
                release.set()
            assert {(await one).status for one in asked} == {200}

    serving(main, lake)


def test_the_program_of_the_manual(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The few lines of docs/view.md show the best prices of the lake."""
    page = (Path(__file__).parents[2] / "docs/view.md").read_text()
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)  # noqa: S102  # the page is our own

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        watching = asyncio.create_task(names["watch"](server.stream_address))
        shown = ""
        while shown.count("\n") < 3:
            await asyncio.sleep(0.05)
            assert not watching.done(), watching
            shown += capsys.readouterr().out
        watching.cancel()
        bid, ask = map(float, shown.splitlines()[0].split())
        assert 0 < bid < ask

    serving(main, lake)

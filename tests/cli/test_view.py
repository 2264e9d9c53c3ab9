"""``krakpot view`` as a process: a lake, the live market, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest

import krakpot
import lakes
from krakpot.cli import view as module
from processes import running, wait_for
from streams import Book, Client, Clock
from waiting import run

SYMBOL = "BTC/USD"


async def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Its exit code, and what it printed."""
    out, _ = await asyncio.to_thread(process.communicate, timeout=30)
    return process.returncode, out.decode()


def viewed(
    err: Path, *arguments: str | Path, look: Callable[[str], AbstractAsyncContextManager[None]]
) -> dict[str, Any]:
    """Run the command, and interrupt it while a test looks at its address; what it printed then."""
    found: list[dict[str, Any]] = []

    async def main() -> None:
        with running("view", *arguments, "--port", "0", "--json", err=err) as process:
            line = await asyncio.to_thread(wait_for, "listening on ", err, process)
            async with look(line.split()[-1]):
                process.send_signal(signal.SIGINT)
                code, out = await ended(process)
            assert code == 0, err.read_text()
            found.append(json.loads(out))

    run(main())
    assert "Traceback" not in err.read_text()
    return found[0]


def stream(address: str) -> str:
    """The address of the stream of a page."""
    parts = urlsplit(address)
    return urlunsplit(("ws", parts.netloc, "/stream", parts.query, ""))


@pytest.mark.slow
def test_a_lake_until_ctrl_c(tmp_path: Path) -> None:
    """It serves page and stream; a client that is there at Ctrl-C is told, and the exit code is 0."""
    lakes.make(tmp_path / "lake", lakes.market(60))

    @asynccontextmanager
    async def look(address: str) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
        async with Client(stream(address)) as client:
            await client.done("subscribe", symbols=[SYMBOL])
            await client.until(Book, lambda book: book.in_sync)
            told = asyncio.create_task(client.text("never"))
            yield
            with pytest.raises(EOFError, match="1001"):
                await told

    found = viewed(tmp_path / "err", tmp_path / "lake", look=look)
    assert found["clients"] == 1
    assert found["source"] == str(tmp_path / "lake")
    assert found["address"].startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_all_addresses_need_the_token(tmp_path: Path) -> None:
    """The printed address holds it."""
    lakes.make(tmp_path / "lake", lakes.market(60))

    @asynccontextmanager
    async def look(address: str) -> AsyncIterator[None]:
        plain, _, query = address.partition("?")
        assert query.startswith("token=")
        async with aiohttp.ClientSession() as session:
            for given, status in ((plain, 401), (address, 200)):
                async with session.get(given) as answer:
                    assert answer.status == status
        async with Client(stream(address)) as client:
            assert client.hello["source"] == "lake"
        yield

    viewed(tmp_path / "err", tmp_path / "lake", "--host", "0.0.0.0", look=look)  # noqa: S104  # that is tested
    assert "from another machine" in (tmp_path / "err").read_text()


@pytest.mark.slow
def test_live_until_ctrl_c(tmp_path: Path) -> None:
    """The built-in exchange, as Kraken would be."""

    @asynccontextmanager
    async def look(address: str) -> AsyncIterator[None]:
        async with Client(stream(address)) as client:
            assert client.hello["source"] == "live"
            await client.done("subscribe", symbols=[SYMBOL])
            await client.until(Book, lambda book: book.in_sync)
            assert (await client.until(Clock, lambda clock: clock.connected)).live
            yield

    async def main() -> None:
        async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=2, rate=100)) as exchange:
            given = ("live", "--url", exchange.address)
            await asyncio.to_thread(viewed, tmp_path / "err", *given, look=look)

    run(main())


@pytest.mark.slow
def test_ctrl_c_while_it_connects(tmp_path: Path) -> None:
    """Nobody answers there: it says so, tries again, and ends when it is told to."""
    err = tmp_path / "err"
    with running("view", "live", "--url", "ws://127.0.0.1:1/v2", "--port", "0", err=err) as process:
        wait_for("cannot connect", err, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "interrupted: the view is closed" in err.read_text()
    assert "Traceback" not in err.read_text()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence names what to install."""
    from commands import krakpot as command
    from commands import wrong

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    wrong(command("view", "lake"), "pip install 'krakpot[view]'")

"""Tests of the server of ``krakpot view``: a server in its block, and what a lake says of a book."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import polars as pl

import krakpot
from krakpot.serve.server import ViewServer
from streams import Book, Client, Level
from waiting import run

SYMBOL = "BTC/USD"
DEPTH = 10
T = TypeVar("T")


def serving(
    work: Callable[[ViewServer, aiohttp.ClientSession], Coroutine[Any, Any, None]], *arguments: Any, **options: Any
) -> None:
    """Run a test with a server and an HTTP client of it."""

    async def main() -> None:
        async with ViewServer(*arguments, port=0, **options) as server, aiohttp.ClientSession(server.address) as client:
            await work(server, client)

    run(main())


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Read a lake in a thread, as a source has it done."""
    return await asyncio.to_thread(work, *arguments)


async def alive(server: ViewServer) -> None:
    """A new client is served."""
    async with Client(server.stream_address) as client:
        await client.done("subscribe", symbols=[SYMBOL])
        await client.until(Book, lambda book: book.in_sync)


def levels(row: dict[str, Any], side: str, depth: int = DEPTH) -> list[Level]:
    """The levels of a row of ``Lake.books``."""
    found = [(row[f"{side}_price_{i}"], row[f"{side}_qty_{i}"]) for i in range(depth)]
    return [level for level in found if level[0] is not None]


def truth(lake: Path, symbol: str, at: int, depth: int = DEPTH) -> dict[str, Any]:
    """The book at a time, as the lake has it."""
    times = pl.Series("ts", [at]).cast(pl.Datetime("ns", "UTC"))
    return krakpot.Lake(lake).books(symbol, at=times, depth=depth, numbers="float").row(0, named=True)


def same(state: Book, row: dict[str, Any], depth: int = DEPTH) -> None:
    """A state and the lake's book are the same, level by level, or neither knows one."""
    assert state.in_sync == (row["reason"] is None), row["reason"]
    assert (state.bids, state.asks) == (levels(row, "bid", depth), levels(row, "ask", depth))
    if state.in_sync:
        assert state.checksum == row["checksum"]


async def shown_at(client: Client, symbol: str, at: int) -> Book:
    """The state of a pair at a time, after going there."""
    await client.done("seek", at_us=at // 1000)
    return await client.until(Book, lambda book: book.not_continued and book.number == client.number(symbol))


@contextmanager
def running(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What runs in an event loop, a server for example, in a thread of its own."""
    started: Future[tuple[T, Callable[[], object]]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            async with make() as found:
                started.set_result((found, lambda: loop.call_soon_threadsafe(stop.set)))
                await stop.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        found, stop = started.result(60)
        try:
            yield found
        finally:
            stop()
    finally:
        thread.join()

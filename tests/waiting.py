"""Tests that wait for sockets: run them, and talk to a server."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from collections.abc import Coroutine
from typing import Any

SECONDS = 240
"""Seconds after which a test has failed, however slow the machine is."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous test."""
    asyncio.run(asyncio.wait_for(work, SECONDS))


async def talk(address: str, data: bytes) -> bytes:
    """Send bytes to the server at an address; returns everything that it answers."""
    url = urllib.parse.urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""
    finally:
        writer.close()

"""Tests that wait for sockets: run them, and wait for what must come."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

SECONDS = 120
"""Seconds after which a test has failed, however slow the machine is."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous test."""
    asyncio.run(asyncio.wait_for(work, SECONDS))

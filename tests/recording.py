"""A recorder that runs as a task of the test, and what its lake holds."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from krakpot.config import Config
from krakpot.lake import journal
from krakpot.lake.lake import Lake
from krakpot.lake.ledger import detail
from krakpot.lake.verify import Report, verify
from krakpot.net.backoff import Backoff
from krakpot.record import client
from krakpot.record.client import RecordingClient
from krakpot.record.progress import Progress, RecordingSummary
from krakpot.record.recorder import Recorder
from scripted import Exchange


class Recording:
    """A recorder that runs as a task; ``logged`` are its log lines, ``statuses`` what ``on_status`` was called with."""

    def __init__(self, url: str, lake: Path, **options: Any) -> None:
        """Start it. Its back-off waits only hundredths of a second."""
        self.logged: list[str] = []
        self.statuses: list[Progress] = []
        self.backoff = Backoff(longest=0.02, fast=100)
        defaults: dict[str, Any] = {"out": lake, "depth": 10, "seal_interval": 1.0, "url": url}
        self.config = Config(**(defaults | options))
        self.recorder = Recorder(
            self.config, log=self.logged.append, on_status=self.statuses.append, backoff=self.backoff
        )
        self.task = asyncio.create_task(self.recorder.run())

    @property
    def counts(self) -> dict[str, Any]:
        """The counters of the first connection's session."""
        # The recorder is a task, which may not have begun.
        public: RecordingClient | None = getattr(self.recorder, "public", None)
        return {} if public is None else public.session.counts()

    def live(self, number: int) -> bool:
        """Whether this number of books is in sync; fails if the recorder has ended."""
        assert not self.task.done(), f"the recorder ended: {self.task}"
        return bool(self.counts.get("in_sync") == number)

    async def end(self) -> RecordingSummary:
        """Stop it; returns its summary."""
        self.recorder.stop()
        return await self.task


def hold_writer(monkeypatch: pytest.MonkeyPatch, method: str = "write") -> threading.Event:
    """Make the writer thread wait in ``method`` while the event that is returned is clear; two flushes may wait."""
    monkeypatch.setattr(client, "QUEUE", 2)
    gate = threading.Event()
    gate.set()
    real = getattr(journal.Writer, method)

    def slow(self: journal.Writer, *arguments: Any) -> Path | None:
        gate.wait()
        return cast("Path | None", real(self, *arguments))

    monkeypatch.setattr(journal.Writer, method, slow)
    return gate


def proved(lake: Path) -> Report:
    """The report of a lake that must be proved."""
    report = verify(lake)
    assert report.problems == []
    return report


def events(lake: Path, *kinds: str, symbol: str | None = None) -> list[dict[str, Any]]:
    """Ledger rows in order, with their detail as ``facts``; of all kinds if none is given."""
    rows = Lake(lake).ledger().sort("session", "entry").collect().to_dicts()
    chosen = [
        row for row in rows if (not kinds or row["kind"] in kinds) and (symbol is None or row["symbol"] == symbol)
    ]
    return [row | {"facts": detail(row["detail"])} for row in chosen]


def book_of(exchange: Exchange, symbol: str) -> list[tuple[str, int]]:
    """Kind and checksum of every book message sent."""
    return [(item["type"], int(item["checksum"])) for item in exchange.sent("book", symbol)]


def book_in(lake: Path, symbol: str) -> list[tuple[str, int]]:
    """Kind and checksum of every book message recorded, in the order of application."""
    rows = Lake(lake).book(symbol).sort("session", "message", "entry")
    messages = rows.unique(["session", "message"], maintain_order=True)
    return cast("list[tuple[str, int]]", messages.select(pl.col("kind"), pl.col("checksum")).collect().rows())

"""The state of a recording, as a screen shows it, and its summary at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict


@dataclass(frozen=True)
class Progress:
    """The state of a recording at one moment."""

    counts: dict[str, Any]
    """Counters over all sessions."""
    seconds: float
    """Since the recording began."""
    remaining: float | None
    """Seconds until it ends; None: it has no end."""
    bytes: int
    """Bytes of journals written."""
    state: str
    """``starting``, ``connecting``, ``connecting in 8 s``, ``recording``, ``waiting for the disk`` or ``sealing``."""


class RecordingSummary(TypedDict):
    """What a recording was, over all its sessions."""

    frames: int
    """Frames received."""
    messages: dict[str, int]
    """Messages by channel."""
    rows: dict[str, int]
    """Rows by table."""
    checksums: dict[str, dict[str, int]]
    """By channel (``book``, ``level3``): how many were ``ok`` and how many ``bad``."""
    unchecked: int
    """Messages with a checksum that could not be compared, because no book was in sync."""
    errors: int
    """Messages that could not be decoded."""
    gaps: int
    """Times in which nothing was received, and trades that were missed."""
    lake: str
    seconds: float
    sessions: list[str]
    """Ids of the sessions, in the order in which they began."""
    journal_bytes: int
    selected: int
    """Pairs that were chosen."""
    refused: dict[str, str]
    """What the exchange refused, with its reason."""
    unsealed: str
    """Why the last sealing failed; empty if it succeeded."""
    backpressure: Backpressure
    cpu_seconds: dict[str, float]
    """CPU seconds by stage."""


class Backpressure(TypedDict):
    """How often and how long sockets were not read because the disk was slow."""

    waits: int
    seconds: float

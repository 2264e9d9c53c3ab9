"""Whether a recording is well: its connections are up, are read, and bring data."""

from __future__ import annotations

from collections.abc import Sequence

from krakpot.log import LogLine
from krakpot.record.client import RecordingClient

SILENCE_MAX = 10.0
"""Seconds without data after which a connection is no longer well; Kraken sends something every second."""
REASONS_MAX = 3
"""Reasons that a line names."""
UNWELL_AFTER = 30.0
"""Seconds after which a recording that is not well is reported: a reconnect takes a few."""


def unwell(clients: Sequence[RecordingClient], now: float) -> list[str]:
    """Why a recording is not well: connections that are down, silent or not read. ``now`` is monotonic, seconds."""
    reasons = []
    for n, client in enumerate(clients, 1):
        what = f"connection {n} ({client.url})"
        if client.connection is None:
            last = f": {client.last_error}" if client.last_error else ""
            reasons.append(f"{what} is down, {client.state}{last}")
        elif client.paused:
            reasons.append(f"{what} waits: the disk is slower than the feed")
        elif (silence := client.connection.silence(now)) > SILENCE_MAX:
            reasons.append(f"{what} brought nothing for {silence:.0f} s")
    return reasons


def in_one_line(reasons: Sequence[str]) -> str:
    """The first reasons, and how many more there are."""
    more = f"; and {len(reasons) - REASONS_MAX} more" if len(reasons) > REASONS_MAX else ""
    return " ".join(("; ".join(reasons[:REASONS_MAX]) + more).split())


class HealthWatch:
    """Notices that a recording has not been well for a while; reports it once, until it was well again."""

    def __init__(self) -> None:
        """Nothing is wrong yet."""
        self._since: float | None = None
        self._reported = False

    def look(self, reasons: Sequence[str], now: float) -> LogLine | None:
        """Return the line to log. ``reasons`` are those of ``unwell``; ``now`` is monotonic time, seconds."""
        if not reasons:
            self._since, self._reported = None, False
            return None
        self._since = now if self._since is None else self._since
        if self._reported or now - self._since < UNWELL_AFTER:
            return None
        self._reported = True
        sentence = f"the recording has not been well for {now - self._since:.0f} s: {in_one_line(reasons)}"
        return LogLine(sentence, "unwell", "warning")

"""``krakpot top``: shows a running recorder from its metrics, also one on another machine."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from krakpot.cli.screen import span
from krakpot.errors import FeedError, counted
from krakpot.log import size
from krakpot.values import rest_url

TIMEOUT = 10.0
"""Seconds for an answer."""
ANSWER_MAX = 16 << 20
"""Bytes of an answer that are read; a recorder sends about 20 kB."""
HERE = "http://127.0.0.1:{}"


def address(text: str) -> str:
    """Read an address: a port of this machine, or a URL. ``ValueError`` says what is allowed."""
    if re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) and int(text) < 1 << 16:
        return HERE.format(text)
    try:
        return rest_url(text).rstrip("/")
    except ValueError as error:
        sentence = f"a port of this machine from 1 to 65535, or {error}"
        raise ValueError(sentence) from None


def ask(base: str, path: str, token: str, tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Request a page; returns status and text. ``FeedError`` says why there is no answer."""
    parts = urlsplit(base)
    assert parts.hostname is not None, "an address without a host was refused"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    if parts.scheme == "https":
        context = tls or ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(connection):
        try:
            connection.request("GET", parts.path + path, headers=headers)
            with connection.getresponse() as response:
                status, text = response.status, response.read(ANSWER_MAX).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            sentence = f"{base}: no metrics: {words}; does `krakpot record --metrics` run there?"
            raise FeedError(sentence) from None
    if status == HTTPStatus.UNAUTHORIZED:
        sentence = f"{base}: the recorder needs a token: set KRAKPOT_METRICS_TOKEN"
        raise FeedError(sentence)
    return status, text


@dataclass(frozen=True)
class Snapshot:
    """State of a recorder at one moment."""

    healthy: bool
    health: str
    """Why it is not healthy, or ``ok``."""
    values: dict[str, dict[tuple[str, ...], float]]
    """Values by name of the metric, without ``krakpot_``, and by values of its labels."""
    at: float = field(default_factory=time.monotonic)

    @classmethod
    def take(cls, base: str, token: str) -> Snapshot:
        """Request the metrics and the health; ``FeedError`` if no recorder answers."""
        status, text = ask(base, "/metrics", token)
        values: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    values[sample.name.removeprefix("krakpot_")][tuple(sample.labels.values())] = sample.value
        except (ValueError, IndexError, KeyError):
            # The parser of Prometheus' client raises various errors for malformed lines.
            values.clear()
        if status != HTTPStatus.OK or "info" not in values:
            sentence = f"{base}: the server there is not a recorder (HTTP {status})"
            raise FeedError(sentence)
        status, line = ask(base, "/health", token)
        return cls(status == HTTPStatus.OK, line.strip(), dict(values))

    def total(self, name: str, *labels: str) -> float:
        """Sum of a metric over all label values that begin with ``labels``."""
        return sum(value for key, value in self.values.get(name, {}).items() if key[: len(labels)] == labels)

    def facts(self) -> dict[str, Any]:
        """As one JSON object: values by name, as ``name/label/…`` where a metric has labels."""
        flat = {"/".join((name, *key)): value for name, found in self.values.items() for key, value in found.items()}
        return {"healthy": self.healthy, "health": self.health, "figures": flat}


def panel(now: Snapshot, before: Snapshot | None, base: str) -> Table:
    """Make the table that is shown; rates are since the snapshot ``before``."""
    table = Table(title=f"krakpot · {base}", title_justify="left", show_header=False, box=None, padding=(0, 2))

    def rate(name: str) -> str:
        if before is None or now.at <= before.at:
            return ""
        # A restarted recorder counts from zero.
        return f" · {max(0.0, now.total(name) - before.total(name)) / (now.at - before.at):,.0f}/s"

    table.add_row("health", Text(now.health, "green" if now.healthy else "red"))
    table.add_row("running", span(time.time() - now.total("process_start_time_seconds")))
    table.add_row("messages", f"{now.total('messages_total'):,.0f}{rate('messages_total')}")
    table.add_row("rows", f"{now.total('rows_total'):,.0f}{rate('rows_total')}")
    for channel in sorted({key[0] for key in now.values.get("books", {})}):
        in_sync, waiting = (now.total("books", channel, state) for state in ("in_sync", "waiting"))
        table.add_row(f"{channel} books", f"{in_sync:,.0f} in sync · {waiting:,.0f} waiting")
        ok, bad = (now.total("checksums_total", channel, result) for result in ("ok", "bad"))
        table.add_row("  checksums", Text(f"{ok:,.0f} ok · {bad:,.0f} bad", "red" if bad else "green"))
    states: dict[str, float] = defaultdict(float)
    for (_, state), n in now.values.get("subscriptions", {}).items():
        states[state] += n
    table.add_row("subscriptions", " · ".join(f"{n:,.0f} {state}" for state, n in sorted(states.items())) or "none")
    up, wanted = now.total("connection_up"), len(now.values.get("connection_up", {}))
    again, gaps = now.total("reconnects_total"), now.total("gaps_total")
    connections = f"{up:.0f} of {wanted} up · {counted(int(again), 'reconnect')} · {counted(int(gaps), 'gap')}"
    table.add_row("connections", Text(connections, "" if up == wanted else "red"))
    table.add_row("errors", f"{now.total('errors_total'):,.0f} · {now.total('unchecked_total'):,.0f} unchecked")
    lag = " · ".join(f"{name} {now.total('lag_seconds', name) * 1e3:.1f} ms" for name in ("p50", "p99", "max"))
    table.add_row("lag", lag)
    queue = f"{now.total('queue'):.0f} of {now.total('queue_room'):.0f} in the queue"
    table.add_row("journal", f"{size(now.total('journal_bytes_total'))} · {queue}")
    table.add_row("disk", f"{size(now.total('disk_free_bytes'))} free")
    memory, cpu = now.total("process_resident_memory_bytes"), now.total("process_cpu_seconds_total")
    share = ""
    if before is not None and now.at > before.at:
        spent = max(0.0, cpu - before.total("process_cpu_seconds_total")) / (now.at - before.at)
        share = f" · {spent:.0%} of a core"
    table.add_row("process", f"{size(memory)}{share}")
    return table


def watch(base: str, token: str, every: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the recorder until Ctrl-C. A failed request is shown and repeated, but the first one must succeed."""
    before = None
    now = Snapshot.take(base, token)
    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            live.update(panel(now, before, base), refresh=True)
            sleep(every)
            try:
                before, now = now, Snapshot.take(base, token)
            except FeedError as error:
                now = replace(now, healthy=False, health=str(error))

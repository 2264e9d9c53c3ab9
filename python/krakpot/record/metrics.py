"""Metrics of a recording for Prometheus at ``/metrics``, and its health at ``/health``.

Metrics are collected when they are requested. On the loopback address any program of this machine may read them, but
no page in a browser: requests must name this machine as their host and have no origin. On other addresses they need a
token. This module is imported only where it is needed, because importing prometheus_client takes a third of a second.
"""

from __future__ import annotations

import hmac
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from krakpot import __version__
from krakpot.config import Config
from krakpot.errors import ConfigError, words_of
from krakpot.net import http as http1
from krakpot.record.audit import OUTCOMES, Auditor
from krakpot.record.client import RecordingClient
from krakpot.record.health import in_one_line, unwell
from krakpot.record.lag import Lateness
from krakpot.record.sealer import Sealer
from krakpot.values import LOOPBACK

TEXT = "text/plain; charset=utf-8"

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the figure."""


def _counter(name: str, help_: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"krakpot_{name}", help_, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, help_: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"krakpot_{name}", help_, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _by_name(found: Mapping[str, float]) -> Samples:
    return [((name,), value) for name, value in found.items()]


class Observed(Protocol):
    """The parts of a recorder that are served."""

    config: Config
    counts: dict[str, Any]
    sessions: list[str]
    late: Lateness | None
    sealer: Sealer
    auditor: Auditor | None

    @property
    def clients(self) -> list[RecordingClient]:
        """All connections."""

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds by stage."""

    @property
    def journal_bytes(self) -> int:
        """Bytes of journals written."""

    @property
    def queue(self) -> tuple[int, int]:
        """Flushes that wait for the disk, and how many may wait."""


class RecorderCollector(Collector):
    """Collects the metrics of a recorder."""

    def __init__(self, recorder: Observed) -> None:
        """``recorder`` is asked at each request."""
        self.recorder = recorder

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering does not ask a recorder that has not begun."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield InfoMetricFamily("krakpot", "What records.", value={"version": __version__})
        yield from self._counters()
        yield from self._connections()
        yield from self._states()
        yield from self._machine()

    def _counters(self) -> Iterator[Metric]:
        counts = self.recorder.counts
        yield _counter("messages", "Messages received.", ("channel",), _by_name(counts.get("messages", {})))
        yield _counter("rows", "Rows recorded.", ("table",), _by_name(counts.get("rows", {})))
        checked = [
            ((channel, result), n)
            for channel, found in counts.get("checksums", {}).items()
            for result, n in found.items()
        ]
        yield _counter("checksums", "Checksums compared: ok or bad.", ("channel", "result"), checked)
        for name, words in (
            ("unchecked", "Messages with a checksum that no live book could be held against."),
            ("errors", "Messages that could not be read."),
            ("gaps", "Times from when to when nothing was received."),
        ):
            yield _counter(name, words, (), [((), counts.get(name, 0))])

        auditor = self.recorder.auditor
        audits: dict[str, int] = dict.fromkeys(OUTCOMES, 0) if auditor is None else auditor.counts
        words = "Live books compared with REST: equal, differs, or unknown."
        yield _counter("audits", words, ("outcome",), _by_name(audits))

    def _connections(self) -> Iterator[Metric]:
        clients = self.recorder.clients
        # Each connection has a session, and each client began with its first one.
        again = max(0, len(self.recorder.sessions) - len(clients))
        yield _counter("reconnects", "Connections that followed one that was cut.", (), [((), again)])
        failed = sum(client.attempts for client in clients)
        yield _counter("connect_failures", "Attempts to connect that failed.", (), [((), failed)])
        numbered = [((str(n), client.url), client) for n, client in enumerate(clients, 1)]
        labels = ("connection", "url")
        up = [(values, float(client.connection is not None)) for values, client in numbered]
        yield _gauge("connection_up", "Whether a wanted connection is up.", labels, up)
        now = time.monotonic()
        silent = [
            (values, client.connection.silence(now)) for values, client in numbered if client.connection is not None
        ]
        yield _gauge("silence_seconds", "Time since a connection that is up last brought data.", labels, silent)
        waiting = [(values, float(bool(client.paused))) for values, client in numbered]
        yield _gauge("connection_paused", "Whether a connection is not read: the disk is too slow.", labels, waiting)

    def _states(self) -> Iterator[Metric]:
        counts = self.recorder.counts
        books = [(("book", state), counts.get(state, 0)) for state in ("in_sync", "waiting")]
        if "level3" in counts:
            books += [(("level3", state), counts["level3"][state]) for state in ("in_sync", "waiting")]
        yield _gauge("books", "Books in sync, and books that are waited for.", ("channel", "state"), books)
        selected = [((), counts.get("selected", 0))]
        yield _gauge("pairs_selected", "Pairs that the recording is to hold.", (), selected)
        states = Counter(
            (channel, state)
            for client in self.recorder.clients
            for channel, _, state, _ in client.session.subscriptions()
        )
        words = "Subscriptions by state; the states are those of `Session.subscriptions`."
        yield _gauge("subscriptions", words, ("channel", "state"), states.items())

    def _machine(self) -> Iterator[Metric]:
        recorder = self.recorder
        late = recorder.late
        if late is not None:
            found = {"p50": late.p50, "p99": late.p99, "max": late.largest}
            lag = [((name,), ns / 1e9) for name, ns in found.items()]
            yield _gauge("lag_seconds", "How late the loop was within the last second.", ("statistic",), lag)
        yield _counter("cpu_seconds", "CPU time by stage.", ("stage",), _by_name(recorder.cpu_seconds))
        yield _counter("journal_bytes", "Bytes written to journals.", (), [((), recorder.journal_bytes)])
        yield _counter("seal_failures", "Times that sealing failed.", (), [((), recorder.sealer.failures)])
        waiting, room = recorder.queue
        yield _gauge("queue", "Flushes that wait for the disk.", (), [((), waiting)])
        yield _gauge("queue_room", "Flushes that may wait before sockets do.", (), [((), room)])
        with suppress(OSError):
            # The lake may be gone; the recording notices it by itself.
            free = shutil.disk_usage(recorder.config.out).free
            yield _gauge("disk_free_bytes", "Free space where the lake is.", (), [((), free)])


def admit(headers: Mapping[str, str], *, here: bool, token: str) -> HTTPStatus:
    """Whether a request may be answered: OK, or the status that refuses it. ``here``: bound to this machine only."""
    if http1.foreign(headers, here=here):
        return HTTPStatus.FORBIDDEN
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    right = scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())
    return HTTPStatus.OK if right or not token else HTTPStatus.UNAUTHORIZED


class Metrics:
    """Serves the figures and the health of a recorder."""

    def __init__(self, recorder: Observed) -> None:
        """``start`` serves them, where the recorder's configuration says."""
        assert recorder.config.metrics is not None, "wanted"
        self.recorder = recorder
        self.host, self.port = recorder.config.metrics
        self._token = recorder.config.metrics_token
        self._registry = CollectorRegistry()
        self._registry.register(RecorderCollector(recorder))
        ProcessCollector(registry=self._registry)
        self._server = http1.Server(self.answer, _refusal)
        self._paths: dict[str, Callable[[], http1.Answer]] = {"/metrics": self._metrics, "/health": self._health}

    @property
    def address(self) -> str:
        """Where it serves."""
        return self._server.address

    async def start(self) -> None:
        """Listen. ``ConfigError`` if that cannot be."""
        try:
            await self._server.start(self.host, self.port)
        except OSError as error:
            words = words_of(error)
            sentence = f"--metrics: cannot listen on {self.host}, port {self.port}: {words}"
            raise ConfigError(sentence) from None

    async def close(self) -> None:
        """Serve no more."""
        await self._server.close()

    def answer(self, request: http1.Request) -> http1.Answer:
        """Say what is asked, to who may ask it."""
        status = admit(request.headers, here=self.host in LOOPBACK, token=self._token)
        if status is not HTTPStatus.OK:
            return _refusal(status)
        if request.path not in self._paths:
            return _refusal(HTTPStatus.NOT_FOUND)
        if request.method != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        return self._paths[request.path]()

    def _metrics(self) -> http1.Answer:
        return http1.Answer(generate_latest(self._registry), CONTENT_TYPE_LATEST)

    def _health(self) -> http1.Answer:
        reasons = unwell(self.recorder.clients, time.monotonic())
        if self.recorder.sealer.last_error:
            reasons.insert(0, f"sealing failed, the journals stay: {self.recorder.sealer.last_error}")
        if not reasons:
            return http1.Answer(b"ok\n", TEXT)
        return http1.Answer(f"{in_one_line(reasons)}\n".encode(), TEXT, HTTPStatus.SERVICE_UNAVAILABLE)


def _refusal(status: HTTPStatus) -> http1.Answer:
    return http1.Answer(f"{status.phrase}\n".encode(), TEXT, status)

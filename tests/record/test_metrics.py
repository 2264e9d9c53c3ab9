"""What a recording tells from outside, and to whom."""

from __future__ import annotations

import asyncio
import gc
import http.client
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from krakpot.config import Config
from krakpot.errors import ConfigError
from krakpot.record.health import SILENCE_MAX
from krakpot.record.metrics import Metrics, admit
from krakpot.record.recorder import Recorder
from recording import Recording
from scripted import Exchange, until
from waiting import run

TOKEN = "a-token-that-nobody-has"  # noqa: S105  # nobody has it
PAGE = Path(__file__).resolve().parents[2] / "docs/running.md"


async def get(address: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and body of an answer; the loop goes on meanwhile."""

    def talk() -> tuple[int, str]:
        url = urlsplit(address)
        assert url.hostname is not None
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            found = response.status, response.read().decode()
        connection.close()
        return found

    return await asyncio.to_thread(talk)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Figures by name and values of labels, read by Prometheus' own client."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def address_of(recording: Recording) -> str:
    """Where a recording serves its metrics, as it says."""
    (line,) = [line for line in recording.logged if line.startswith("metrics at ")]
    return re.sub(r"metrics at (\S+)/metrics, .*", r"\1", line)


@pytest.mark.slow
def test_the_figures_are_the_recording_s(tmp_path: Path) -> None:
    """Of a recording with a cut, a wrong checksum and a refused pair: what is served equals what the recorder counts;
    every name stands in docs/running.md, and every name there is served.
    """

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.refusals["ADA/EUR"] = "Currency pair not supported ADA/EUR"
            recording = Recording(exchange.url, tmp_path, metrics=("127.0.0.1", 0))
            await until(lambda: recording.live(2))
            exchange.wrong.add("BTC/USD")
            await until(lambda: recording.counts["checksums"]["book"]["bad"] == 1)
            exchange.client.do(lambda socket: socket.close(1001))
            await until(lambda: len(exchange.clients) == 2 and recording.live(2))
            exchange.silent = True
            await until(lambda: recording.recorder.counts.get("frames", 0) > 10 and recording.recorder.late)
            # The recorder counts every second; the exchange is silent, so that two looks see the same.
            await asyncio.sleep(2.2)
            status, text = await get(address_of(recording), "/metrics")
            counts = recording.recorder.counts
            assert status == HTTPStatus.OK
            found = samples(text)
            for channel, n in counts["messages"].items():
                assert found["krakpot_messages_total", channel] == n > 0
            assert found["krakpot_rows_total", "book"] == counts["rows"]["book"] > 0
            assert found["krakpot_checksums_total", "book", "bad"] == 1
            assert found["krakpot_checksums_total", "book", "ok"] == counts["checksums"]["book"]["ok"] > 0
            assert (found["krakpot_reconnects_total",], found["krakpot_gaps_total",]) == (1, 3), "one a channel"
            assert found["krakpot_books", "book", "in_sync"] == 2
            assert found["krakpot_subscriptions", "book", "rejected"] == 1
            assert found["krakpot_subscriptions", "book", "active"] == 2
            assert found["krakpot_connection_up", "1", exchange.url] == 1
            assert 1 < found["krakpot_silence_seconds", "1", exchange.url] < SILENCE_MAX
            assert found["krakpot_queue_room",] > found["krakpot_queue",] >= 0
            assert found["krakpot_disk_free_bytes",] > 0
            # The ledger has its row of every second, so that journals grow even now.
            assert 0 < found["krakpot_journal_bytes_total",] <= recording.recorder.journal_bytes
            assert found["krakpot_lag_seconds", "max"] >= found["krakpot_lag_seconds", "p50"] >= 0
            served = {name for name, *_ in found if name.startswith("krakpot_")}
            told = set(re.findall(r"^\| `(krakpot_\w+)", PAGE.read_text(), re.MULTILINE))
            assert served == told
            await recording.end()

    run(test())


@pytest.mark.slow
def test_health_follows_the_connection(tmp_path: Path) -> None:
    """Well while it records; not while the exchange is away, with the reason in one line; well again after. The
    server goes with the recording.
    """

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path, metrics=("127.0.0.1", 0))
            await until(lambda: recording.live(1))
            address = address_of(recording)
            assert await get(address, "/health") == (200, "ok\n")
            exchange.handshakes = [503] * 1000
            exchange.client.do(lambda socket: socket.close(1001))
            await until(lambda: recording.recorder.public.attempts > 2)
            status, line = await get(address, "/health")
            assert status == HTTPStatus.SERVICE_UNAVAILABLE
            assert re.fullmatch(r"connection 1 \(ws://\S+\) is down, connecting.*: .*HTTP 503.*\n", line)
            exchange.handshakes = []
            await until(lambda: recording.live(1))
            assert await get(address, "/health") == (200, "ok\n")
            recording.recorder.sealer.last_error = "no room"
            status, line = await get(address, "/health")
            assert (status, line) == (503, "sealing failed, the journals stay: no room\n")
            recording.recorder.sealer.last_error = ""
            await recording.end()
            with pytest.raises(ConnectionRefusedError):
                await get(address, "/health")

    run(test())


@pytest.mark.parametrize(
    ("headers", "here", "token", "status"),
    [
        ({"host": "127.0.0.1:9100"}, True, "", 200),
        ({"host": "localhost"}, True, "", 200),
        ({"host": "[::1]:9100"}, True, "", 200),
        ({}, True, "", 403),
        ({"host": "evil.example:9100"}, True, "", 403),
        ({"host": "127.0.0.1.evil.example"}, True, "", 403),
        ({"host": "[::1"}, True, "", 403),
        ({"host": "127.0.0.1:9100", "origin": "https://evil.example"}, True, "", 403),
        ({"host": "127.0.0.1:9100", "origin": "null"}, True, "", 403),
        ({"host": "localhost"}, True, TOKEN, 401),
        ({"host": "localhost", "authorization": f"Bearer {TOKEN}"}, True, TOKEN, 200),
        ({"host": "evil.example", "authorization": f"Bearer {TOKEN}"}, True, TOKEN, 403),
        ({"host": "box:9100"}, False, TOKEN, 401),
        ({"host": "box:9100", "authorization": f"Bearer {TOKEN}x"}, False, TOKEN, 401),
        ({"host": "box:9100", "authorization": f"Bearer {TOKEN[:-1]}"}, False, TOKEN, 401),
        ({"host": "box:9100", "authorization": f"Basic {TOKEN}"}, False, TOKEN, 401),
        ({"host": "box:9100", "authorization": "Bearer \u00e9"}, False, TOKEN, 401),
        ({"host": "box:9100", "authorization": f"bearer {TOKEN}"}, False, TOKEN, 200),
        ({"host": "box", "authorization": f"Bearer {TOKEN}", "origin": "http://box"}, False, TOKEN, 403),
    ],
)
def test_who_may_ask(headers: dict[str, str], here: bool, token: str, status: int) -> None:
    """On the loopback address: this machine by its own name, no page of a browser. Elsewhere: who has the token."""
    assert admit(headers, here=here, token=token) == status


def test_elsewhere_a_token_is_needed(tmp_path: Path) -> None:
    """Without one the configuration is refused; with one, what is served wants it. No sentence shows it."""
    with pytest.raises(
        ConfigError, match="0.0.0.0 can be reached from other machines and needs a token: set KRAKPOT_M"
    ):
        Config(metrics=("0.0.0.0", 9100))  # noqa: S104  # what is refused

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path, metrics=("0.0.0.0", 0), metrics_token=TOKEN)  # noqa: S104  # with a token
            await until(lambda: recording.live(1))
            address = address_of(recording).replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # where it listens
            for path in ("/metrics", "/health"):
                assert (await get(address, path))[0] == HTTPStatus.UNAUTHORIZED
                status, text = await get(address, path, Authorization=f"Bearer {TOKEN}")
                assert status == HTTPStatus.OK
                assert TOKEN not in text
            await recording.end()
            assert TOKEN not in repr(recording.recorder.config)
            assert not [line for line in recording.logged if TOKEN in line]

    run(test())


def test_what_is_asked_must_be_there(tmp_path: Path) -> None:
    """Other paths and methods get their status; a port that is taken is wrong use, in one sentence."""

    async def test() -> None:
        recorder = Recorder(Config(out=tmp_path, metrics=("127.0.0.1", 0)))
        metrics = Metrics(recorder)
        await metrics.start()
        try:
            assert await get(metrics.address, "/") == (404, "Not Found\n")
            connection: Any = http.client.HTTPConnection(urlsplit(metrics.address).netloc)

            def post() -> int:
                connection.request("POST", "/metrics")
                return int(connection.getresponse().status)

            assert await asyncio.to_thread(post) == HTTPStatus.METHOD_NOT_ALLOWED
            connection.close()
            port = urlsplit(metrics.address).port
            assert port is not None
            other = Metrics(Recorder(Config(out=tmp_path, metrics=("127.0.0.1", port))))
            with pytest.raises(ConfigError, match=f"--metrics: cannot listen on 127.0.0.1, port {port}: "):
                await other.start()
        finally:
            await metrics.close()

    run(test())


def test_a_port_that_is_taken_is_known_before_anything_is_written(tmp_path: Path) -> None:
    """The recording does not begin: one sentence, no folder, no connection, no error that nobody retrieves."""
    unretrieved: list[dict[str, Any]] = []

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unretrieved.append(context))
        async with Exchange("BTC/USD") as exchange:
            async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as other:
                port = other.sockets[0].getsockname()[1]
                recording = Recording(exchange.url, tmp_path / "lake", metrics=("127.0.0.1", port))
                with pytest.raises(ConfigError, match=f"--metrics: cannot listen on 127.0.0.1, port {port}: "):
                    await recording.task
            assert exchange.attempts == []
        assert not (tmp_path / "lake").exists()
        gc.collect()

    run(test())
    assert unretrieved == []

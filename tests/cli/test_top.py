"""A running recorder on the terminal, and what is no recorder."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from krakpot.cli import top
from krakpot.cli.main import main
from krakpot.cli.top import Snapshot, address, panel
from krakpot.errors import FeedError
from krakpot.net.http import Answer, Server
from record.test_metrics import TOKEN, address_of
from recording import Recording
from scripted import Exchange, until
from waiting import run


def text_of(now: Snapshot, before: Snapshot | None) -> str:
    """The panel as plain text."""
    console = Console(file=io.StringIO(), width=120)
    console.print(panel(now, before, "http://x"))
    found = console.file
    assert isinstance(found, io.StringIO)
    return found.getvalue()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("9100", "http://127.0.0.1:9100"),
        ("http://localhost:1/", "http://localhost:1"),
        ("https://box.example/krakpot", "https://box.example/krakpot"),
    ],
)
def test_where_it_looks(text: str, url: str) -> None:
    """A port of this machine, or an address."""
    assert address(text) == url


@pytest.mark.parametrize("text", ["http://box.example:9100", "lake", "0", "65536", "ftp://x"])
def test_where_it_does_not_look(text: str) -> None:
    """A token does not cross a network in plain text; what is no address is wrong use."""
    done = CliRunner().invoke(main, ["top", text])
    assert done.exit_code == 2
    assert f"krakpot: WHERE: {text!r} is not allowed; allowed is" in done.stderr


@pytest.mark.slow
def test_a_recorder_at_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its token: the figures of the recorder for people and programs; exit code 1 once it is not well."""

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path, metrics=("127.0.0.1", 0), metrics_token=TOKEN)
            await until(lambda: recording.live(3))
            base = address_of(recording)
            with pytest.raises(FeedError, match="the recorder needs a token: set KRAKPOT_METRICS_TOKEN"):
                await asyncio.to_thread(Snapshot.take, base, "")
            before = await asyncio.to_thread(Snapshot.take, base, TOKEN)
            frames = recording.recorder.counts.get("frames", 0)
            await until(lambda: recording.recorder.counts.get("frames", 0) > frames + 50)
            now = await asyncio.to_thread(Snapshot.take, base, TOKEN)
            assert now.healthy
            shown = text_of(now, before)
            assert f"{now.total('messages_total'):,.0f} · " in shown
            for words in ("ok", "3 in sync", "0 bad", "1 of 1 up", "9 active", "of a core", "free"):
                assert words in shown, words
            assert "/s" not in text_of(now, None), "no rate without a snapshot before"

            monkeypatch.setenv("KRAKPOT_METRICS_TOKEN", TOKEN)
            done = await asyncio.to_thread(CliRunner().invoke, main, ["top", base, "--json"])
            facts = json.loads(done.stdout)
            assert (done.exit_code, facts["healthy"]) == (0, True)
            assert facts["figures"]["books/book/in_sync"] == 3
            exchange.handshakes = [503] * 1000
            exchange.client.do(lambda socket: socket.close(1001))
            await until(lambda: recording.recorder.public.attempts > 1)
            done = await asyncio.to_thread(CliRunner().invoke, main, ["top", base, "--once"])
            assert done.exit_code == 1
            assert "is down" in done.stdout
            exchange.handshakes = []
            await recording.end()

    run(test())


def test_a_recorder_that_ends_is_said_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel stays, with the reason; the figures are the last ones."""
    good = Snapshot(healthy=True, health="ok", values={"messages_total": {("book",): 7.0}})
    answers: list[Snapshot | FeedError] = [
        good,
        FeedError("gone"),
        replace(good, values={"messages_total": {("book",): 8.0}}, at=good.at + 1),
    ]

    def take(base: str, token: str) -> Snapshot:
        answer = answers.pop(0)
        if isinstance(answer, FeedError):
            raise answer
        return answer

    shown: list[Snapshot] = []

    def show(now: Snapshot, before: Snapshot | None, base: str) -> str:
        shown.append(now)
        return ""

    def sleep(seconds: float) -> None:
        assert seconds == 2.0
        if not answers:
            raise KeyboardInterrupt

    monkeypatch.setattr(Snapshot, "take", take)
    monkeypatch.setattr(top, "panel", show)
    with pytest.raises(KeyboardInterrupt):
        top.watch("http://x", "", 2.0, sleep)
    assert [(snapshot.healthy, snapshot.health) for snapshot in shown] == [(True, "ok"), (False, "gone"), (True, "ok")]
    assert [snapshot.total("messages_total") for snapshot in shown] == [7, 7, 8]


@pytest.mark.parametrize("body", [b"hello", b"krakpot_messages_total{", b"\xff", b"a_total 1\n"])
def test_what_is_no_recorder(body: bytes) -> None:
    """Something else answers, or nothing: one sentence."""

    async def test() -> None:
        server = Server(lambda _: Answer(body, "text/plain"), lambda status: Answer(b"", "text/plain", status))
        await server.start("127.0.0.1", 0)
        with pytest.raises(FeedError, match=f"the server there is not a recorder .HTTP {HTTPStatus.OK.value}"):
            await asyncio.to_thread(Snapshot.take, server.address, "")
        await server.close()
        with pytest.raises(FeedError, match="no metrics: Connection refused; does `krakpot record --metrics` run"):
            await asyncio.to_thread(Snapshot.take, server.address, "")

    run(test())

"""The process that records beside a feed: it ends with its standard input."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from krakpot.lake import journal
from recording import proved
from scripted import Exchange, until
from waiting import run


async def start(values: dict[str, Any], folder: Path) -> asyncio.subprocess.Process:
    """Start it with these options."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "krakpot.record.sidecar", cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None, "piped"
    process.stdin.write(json.dumps(values).encode() + b"\n")
    await process.stdin.drain()
    return process


@pytest.mark.slow
def test_the_end_of_its_input_ends_it_in_order(tmp_path: Path) -> None:
    """Its lines are JSON, the last one is the summary; everything is sealed and proved; exit 0."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            process = await start({"out": "lake", "url": exchange.url, "depth": 10}, tmp_path)
            await until(lambda: exchange.clients and len(exchange.sent("book", "BTC/USD")) > 50)
            assert process.stdin is not None, "piped"
            process.stdin.close()
            out, err = await process.communicate()
            assert (process.returncode, err) == (0, b"")
            assert exchange.client.close_code == 1000
        *lines, last = map(json.loads, out.splitlines())
        assert all(line.keys() >= {"ts", "level", "event", "message"} for line in lines)
        assert any("1 of 1 pair, book, trade, ticker, depth 10" in line["message"] for line in lines)
        assert last["event"] == "summary"
        assert journal.journals(tmp_path / "lake") == []
        assert last["summary"]["checksums"]["book"]["ok"] == proved(tmp_path / "lake").ok > 40

    run(test())


@pytest.mark.slow
def test_an_end_before_anything_was_subscribed_is_no_failure(tmp_path: Path) -> None:
    """The strategy was done at once: a warning has the reason, the summary is there, exit 0."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.instrument = False
            process = await start({"out": "lake", "url": exchange.url}, tmp_path)
            await until(lambda: exchange.clients)
            assert process.stdin is not None, "piped"
            process.stdin.close()
            out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        *lines, last = map(json.loads, out.splitlines())
        assert lines[-1]["level"] == "warning"
        assert lines[-1]["message"] == "nothing was recorded: it was stopped before the exchange had sent its pairs"
        assert last["summary"]["frames"] >= 1

    run(test())


def test_a_failure_is_one_sentence(tmp_path: Path) -> None:
    """A folder that is no lake: exit 1, and a line with the sentence and the path; nothing on standard error."""
    (tmp_path / "thesis.tex").touch()

    async def test() -> None:
        process = await start({"out": str(tmp_path), "url": "ws://127.0.0.1:1/v2"}, tmp_path)
        out, err = await process.communicate()
        assert (process.returncode, err) == (1, b"")
        *_, failure = map(json.loads, out.splitlines())
        assert (failure["event"], failure["kind"], failure["path"]) == ("failure", "NoLake", str(tmp_path))
        assert failure["message"].startswith("this folder has other files in it")
        assert str(tmp_path) not in failure["message"]

    run(test())


def test_a_wrong_option_is_one_sentence(tmp_path: Path) -> None:
    """Before anything is written."""

    async def test() -> None:
        process = await start({"out": "lake", "dept": 10}, tmp_path)
        out, _ = await process.communicate()
        assert process.returncode == 1
        failure = json.loads(out)
        assert (failure["kind"], failure["path"]) == ("ConfigError", None)
        assert "record: unknown option 'dept' (did you mean depth?); allowed are" in failure["message"]
        assert not (tmp_path / "lake").exists()

    run(test())

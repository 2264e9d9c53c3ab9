"""Processes with money that are killed, that hang or that break: own orders are known afterwards, and nothing is told.

``KRAKPOT_TEST=all`` has more seeds, the times of Kraken and a run with all faults; ``KRAKPOT_SEED`` is the first seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import live_child
from krakpot import ExchangeServer
from krakpot.exchange.rest import Rest
from krakpot.trade import key
from living import Quote, explained, reached, server, started, truth

ALL = os.environ.get("KRAKPOT_TEST") == "all"
SEED = int(os.environ.get("KRAKPOT_SEED") or 1)
SEEDS = range(SEED, SEED + (2 if ALL else 1))
POINTS = ("journal", "send", "answer", "report", "last")
FAULTS = (
    "", "late_ack=0.5,by=300ms", "lost_ack=0.5", "lost_request=0.3", "report_before_ack=0.5", "duplicate_report=0.1",
    "sequence_gap=0.05", "rest_lag,by=1s", "token_refused=0.3", "nonce=0.1",
)  # fmt: skip
SHORT = {"lag": 1.5, "limit": 12.0}
"""Seconds by which REST may be late, and after which a comparison has failed."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of each test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def child(folder: Path, exchange: ExchangeServer, **facts: Any) -> asyncio.subprocess.Process:
    """A process with money on the exchange."""
    file = folder / "key.toml"
    if not file.exists():
        key.write(file, exchange.key.name, exchange.key.secret_text, mode="test", account="test")
    known = SHORT | {
        "key": str(file), "journal": str(folder / "journal"), "url": exchange.address, "until": "3s",
        "private": exchange.private_address, "rest_url": exchange.rest_address, "dead_man": "15s",
    }  # fmt: skip
    path = os.pathsep.join([str(Path(live_child.__file__).parent), os.environ.get("PYTHONPATH", "")])
    return await asyncio.create_subprocess_exec(
        sys.executable, live_child.__file__, json.dumps(known | facts), env=os.environ | {"PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=folder,
    )  # fmt: skip


async def gone(exchange: ExchangeServer, process: asyncio.subprocess.Process, seconds: float) -> float:
    """After how many seconds no order is open."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert len(truth(exchange)) == 2
    await reached(lambda: not truth(exchange), None, seconds)
    assert process.returncode is None, "nobody ended it"
    return loop.time() - begin


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("timeout", [15, *([60] if ALL else [])])
def test_a_handler_that_hangs(tmp_path: Path, timeout: int) -> None:
    """``while True: pass``: the exchange cancels all own orders when the dead-man timer runs out."""

    async def test() -> None:
        async with server() as exchange:
            process = await child(tmp_path, exchange, ends="hang", dead_man=f"{timeout}s", until="1h")
            assert process.stdout is not None
            try:
                assert await asyncio.wait_for(process.stdout.readline(), 90) == b"hang\n"
                took = await gone(exchange, process, timeout * 1.25)
                assert took > timeout * 0.6, "nothing else cancelled them"
                reasons = {row["reason"] for row in truth(exchange, "closed")}
                assert reasons == {"Cancel all orders after timeout"}
            finally:
                process.send_signal(signal.SIGKILL)
                await process.communicate()

    asyncio.run(asyncio.wait_for(test(), 280))


async def crash(folder: Path, point: str, fault: str, seed: int) -> dict[str, Any]:
    """Kill a process at a point, and start another one; what the second one says, with the exchange's truth."""
    faults = [fault] if fault else []
    options: dict[str, Any] = {"seed": seed, "faults": faults}
    async with server(**options) as exchange:
        most = 1 + random.Random(f"{seed} {point} {fault}").randrange(3)
        first = await child(folder, exchange, point=point, most=most, until="6s")
        _, said = await asyncio.wait_for(first.communicate(), 120)
        # Where nothing is sent, or nothing comes, there may be nothing to die of; or the start is refused.
        assert first.returncode in {0, 1, -signal.SIGKILL}, said.decode()
        sent = {row["id"] for row in [*truth(exchange), *truth(exchange, "closed")]}
        # A start that the faults refuse, or an end that leaves orders, is repeated by hand.
        for _ in range(8):
            second = await child(folder, exchange, most=1, until="1s")
            out, said = await asyncio.wait_for(second.communicate(), 120)
            if second.returncode == 0:
                break
        assert second.returncode == 0, said.decode()
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        every = truth(exchange, "closed")
        names = Counter(row["cl_ord_id"] for row in every)
        assert max(names.values(), default=1) == 1, "none is doubled"
        assert sent <= {row["id"] for row in every}, "none is open"
        assert truth(exchange) == []
        audit = explained(folder)
        assert audit.open == ()
        traded = sum(len(row["trades"]) for row in every)
        assert audit.fills == traded, "no fill is lost, none is doubled"
        return found | {"killed": first.returncode == -signal.SIGKILL}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.partition("=")[0].partition(",")[0] or "none" for fault in FAULTS])
def test_killed_at_each_point(tmp_path: Path, fault: str, record_property: Any) -> None:
    """After the restart no order is doubled or lost, and the balances are explained to the last digit."""
    longest, killed = 0.0, 0
    # Two for each fault are enough for a change; together they are all, and without a fault each of them is tried.
    first = FAULTS.index(fault)
    points = POINTS if ALL or not fault else [POINTS[(2 * first + n) % len(POINTS)] for n in range(2)]

    async def one(point: str, seed: int) -> None:
        nonlocal longest, killed
        folder = tmp_path / f"{point}{seed}"
        folder.mkdir()
        try:
            found = await crash(folder, point, fault, seed)
        except AssertionError as error:
            error.add_note(f"point {point}, fault {fault}, KRAKPOT_SEED={seed}")
            raise
        longest, killed = max(longest, found["took"]), killed + found["killed"]

    async def test() -> None:
        for seed in SEEDS:
            await asyncio.gather(*(one(point, seed) for point in points))

    asyncio.run(test())
    record_property("reconciled", longest)
    record_property("killed", killed)
    assert killed >= len(SEEDS), "it was tested"
    assert longest < SHORT["limit"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["raise", "die"])
def test_secrets_are_nowhere(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all debug logs, a recorder of raw frames and a crash: no file and no log has key, secret or token."""
    tokens: list[str] = []
    plain = Rest.answer

    def answer(self: Rest, *arguments: Any) -> Any:
        found = plain(self, *arguments)
        if isinstance(found.get("result"), dict) and "token" in found["result"]:
            tokens.append(found["result"]["token"])
        return found

    monkeypatch.setattr(Rest, "answer", answer)
    lake = tmp_path / "lake"

    async def test() -> None:
        async with server() as exchange:
            # Two programs with one key would use each other's nonces.
            other = exchange.add_key("create-ws-token")
            environment = os.environ | {
                "KRAKPOT_API_KEY": other.name, "KRAKPOT_API_SECRET": other.secret_text
            }  # fmt: skip
            recorder = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "krakpot", "record", "--url", exchange.address, "--rest-url",
                exchange.rest_address, "--channels", "book,trade,level3", "--raw", "--out", str(lake), "--for", "6s",
                env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            process = await child(tmp_path, exchange, ends=how, until="1h", debug=True, out=str(tmp_path / "result"))
            out, said = await asyncio.wait_for(process.communicate(), 150)
            assert process.returncode == (1 if how == "raise" else -signal.SIGKILL), said.decode()
            assert (b"the strategy is broken" in said) == (how == "raise")
            assert b"DEBUG" in said
            logs = [out, said, *await asyncio.wait_for(recorder.communicate(), 150)]
            assert recorder.returncode == 0, logs[-1].decode()
            assert len(tokens) >= 2, "the recorder's, and the account's"
            secrets = [other.name.encode(), other.secret_text.encode(), other.secret]
            secrets += [exchange.key.name.encode(), exchange.key.secret_text.encode(), exchange.key.secret]
            secrets += [repr(exchange.key.secret)[2:-1].encode(), exchange.key.secret.hex().encode()]
            secrets += [token.encode() for token in tokens]
            files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "key.toml"]
            assert {"journal"} < {file.name for file in files}
            texts = {str(file): file.read_bytes() for file in files} | {f"log {n}": log for n, log in enumerate(logs)}
            # Rows of Parquet are packed: what they say is looked at, too.
            packed = [file for file in files if file.suffix == ".parquet"]
            assert packed
            texts |= {f"rows of {file}": repr(pl.read_parquet(file).rows()).encode() for file in packed}
            hits = [
                (name, place) for place, secret in enumerate(secrets) for name, text in texts.items() if secret in text
            ]
            assert not hits, hits

    asyncio.run(asyncio.wait_for(test(), 280))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not ALL, reason="two minutes; KRAKPOT_TEST=all runs it")
def test_two_minutes_with_all_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy quotes while everything goes wrong at random: nothing is open afterwards, balances are explained."""
    monkeypatch.setattr("krakpot.trade.client.LAG", 3.0)
    faults = [
        "late_ack=0.05,by=500ms", "lost_ack=0.02", "lost_request=0.02", "report_before_ack=0.1",
        "duplicate_report=0.01", "sequence_gap=0.01", "rest_lag,by=2s", "cut=every:17s", "token_refused=0.1",
        "stall=every:31s,by=2s",
    ]  # fmt: skip

    async def test() -> None:
        async with server(faults=faults, seed=SEED) as exchange:
            strategy = Quote(most=100_000)
            async with started(tmp_path, strategy, exchange) as (one, task):
                await asyncio.wait([task], timeout=120)
                assert not task.done(), task
                exchange.exchange.clear_faults()
                await reached(lambda: one.client._account.phase == "ready" and not one.client.left, task, 60)
                # It did not come to a halt.
                state = one.client.journal.state
                before = state.last_order
                await reached(lambda: state.last_order >= before + 3, task, 60)
                one.end("enough")
                (result,) = await task
                # Connections that are cut, and REST that fails, are tried again more and more seldom: how much is
                # traded between depends on the faults.
                assert (result.orders.height >= 8, result.requests.height >= 16) == (True, True)
                assert result.built.left == ()
            assert truth(exchange) == []
            names = Counter(row["cl_ord_id"] for row in truth(exchange, "closed"))
            assert max(names.values()) == 1
            audit = explained(tmp_path)
            assert audit.open == ()
            assert audit.fills == sum(len(row["trades"]) for row in truth(exchange, "closed"))

    asyncio.run(test())

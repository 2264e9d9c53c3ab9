"""``krakpot trade run`` and ``krakpot trade halt``, as processes, on the built-in exchange."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from krakpot import ExchangeServer
from krakpot.cli.main import main
from krakpot.trade import journal, key
from living import PAIR, server

RULES = '''
import time


class Quote:
    """Rests one order far from the best bid."""

    def book(self, m, e):
        if m.trading and not m.orders():
            bid = m.best(e.symbol)[0]
            m.buy(e.symbol, "0.001", m.round(e.symbol, price=bid * 9 / 10, side="buy"), post_only=True)


class Hang(Quote):
    """The same; then its handler never returns."""

    def order(self, m, e):
        if e.change == "new":
            print("hangs", flush=True)
            while True:
                time.sleep(0.01)


class Lose:
    """Buys at the market."""

    def book(self, m, e):
        if m.trading and not m.orders():
            m.buy(e.symbol, "0.01")
'''
LIMITS = [
    "--account", "exclusive", "--order-value", "50000", "--inventory", "BTC=10", "--loss", "10000", "--ramp", "off",
    "--fee-share", "off", "--no-fat-finger", "--collar", "off", "--stale", "off", "--clock", "off",
    "--orders-per-minute", "off",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the rules; nonces of each test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "rules.py").write_text(RULES)
    return tmp_path


def krakpot(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a command."""
    found = CliRunner().invoke(main, [str(one) for one in arguments])
    return found.exit_code, found.output


def open_orders(exchange: ExchangeServer) -> list[dict[str, Any]]:
    """What is open, as the exchange knows it."""
    found: list[dict[str, Any]] = json.loads(exchange.exchange.account("open", exchange.exchange.now))
    return found


async def until(true: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Wait for something."""
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not in time: {what}")


class Process:
    """A ``krakpot trade run``."""

    def __init__(self, folder: Path, exchange: ExchangeServer, strategy: str, *options: str | Path) -> None:
        """Start it; what it says goes to files."""
        file = folder / "key.toml"
        if not file.exists():
            key.write(file, exchange.key.name, exchange.key.secret_text, mode="test", account="test")
        self.journal = folder / "journal"
        self.err, self.out = folder / "err", folder / "out"
        arguments: list[str | Path] = [
            f"{folder / 'rules.py'}:{strategy}", "--symbols", PAIR, "--key", file, *LIMITS, "--journal", self.journal,
            "--url", exchange.address, "--level3-url", exchange.level3_address,
            "--private-url", exchange.private_address, "--rest-url", exchange.rest_address, *options,
        ]  # fmt: skip
        with self.err.open("w") as err, self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "krakpot", "trade", "run", *map(str, arguments)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdout=out, stderr=err,
            )  # fmt: skip

    async def ends(self, number: int | None = None) -> int:
        """Send a signal; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        await until(lambda: self.process.poll() is not None, f"its end: {self.err.read_text()}")
        assert self.process.returncode is not None
        return self.process.returncode

    def close(self) -> None:
        """No process outlives its test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


Work = Callable[[ExchangeServer, Callable[..., Process]], Awaitable[None]]


@pytest.fixture
def with_exchange(folder: Path) -> Iterator[Callable[[Work], None]]:
    """Do some work beside an exchange, and with processes that are ended afterwards."""
    begun: list[Process] = []

    async def work_(work: Work) -> None:
        async with server() as exchange:

            def start(strategy: str, *options: str | Path) -> Process:
                begun.append(Process(folder, exchange, strategy, *options))
                return begun[-1]

            await work(exchange, start)

    yield lambda work: asyncio.run(work_(work))
    for process in begun:
        process.close()


def test_a_signal_ends_it_in_order(folder: Path, with_exchange: Callable[[Work], None]) -> None:
    """Own orders are cancelled, the result is kept, exit 0; it says what happened."""

    async def work(exchange: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Quote", "--json", "--out", folder / "result")
        await until(lambda: len(open_orders(exchange)) == 1, "an order")
        assert await process.ends(signal.SIGTERM) == 0, process.err.read_text()
        assert open_orders(exchange) == []
        summary = json.loads(process.out.read_text())
        assert (summary["ended"], summary["left"]) == ("interrupted", [])
        assert summary["orders"] == {"canceled": 1}
        assert json.loads((folder / "result" / "summary.json").read_text()) == summary
        assert journal.audit(process.journal).open == ()

    with_exchange(work)


def test_it_says_what_happens(folder: Path, with_exchange: Callable[[Work], None]) -> None:
    """The journal, that own orders agree, that it trades; and the result as text."""

    async def work(exchange: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Quote")
        await until(lambda: len(open_orders(exchange)) == 1, "an order")
        await asyncio.sleep(0.5)
        assert await process.ends(signal.SIGINT) == 0, process.err.read_text()
        said = process.err.read_text()
        for words in (f"journal: {folder}", "own orders agree with the exchange", " trading\n"):
            assert words in said
        assert "ended early: interrupted" in process.out.read_text()

    with_exchange(work)


def test_another_terminal_halts_it(with_exchange: Callable[[Work], None]) -> None:
    """Its orders are gone, it goes on and sends no more; without a process there is nobody to tell."""

    async def work(exchange: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Quote")
        await until(lambda: len(open_orders(exchange)) == 1, "an order")
        code, said = await asyncio.to_thread(krakpot, "trade", "halt", process.journal)
        assert (code, said) == (0, f"process {process.process.pid} is halted: a signal\nno own order is open\n")
        await asyncio.sleep(1.0)
        assert open_orders(exchange) == []
        assert process.process.poll() is None
        assert "halted: a signal; own orders are cancelled" in process.err.read_text()
        # Again, which changes nothing.
        code, said = await asyncio.to_thread(krakpot, "trade", "halt", process.journal, "--json")
        facts = {"pid": process.process.pid, "halted": True, "why": "a signal", "open": []}
        assert (code, json.loads(said)) == (0, facts)
        assert await process.ends(signal.SIGTERM) == 0
        code, said = await asyncio.to_thread(krakpot, "trade", "halt", process.journal)
        assert (code, "no process writes this journal" in said) == (1, True), said

    with_exchange(work)


def test_a_second_signal_leaves_at_once(with_exchange: Callable[[Work], None]) -> None:
    """Also a handler that hangs; it says which order is left, and what ends it. Nobody waits for a hung process."""

    async def work(exchange: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Hang")
        await until(lambda: "hangs" in process.out.read_text(), "a handler that hangs")
        (order,) = open_orders(exchange)
        process.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert process.process.poll() is None
        assert await process.ends(signal.SIGTERM) == 128 + signal.SIGTERM
        said = process.err.read_text()
        assert f"1 own order may be open: {order['id']}; the exchange's dead-man timer" in said, said
        assert open_orders(exchange), "nothing cancelled it"
        assert journal.audit(process.journal).open

    with_exchange(work)


def test_a_loss_beyond_the_limit_ends_it(folder: Path, with_exchange: Callable[[Work], None]) -> None:
    """Exit 1; the result is kept."""

    async def work(_: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Lose", "--loss", "0.01", "--out", folder / "result", "--json")
        assert await process.ends() == 1
        assert "krakpot:loss" in process.err.read_text()
        assert json.loads(process.out.read_text())["fills"] > 0
        assert pl.read_parquet(folder / "result" / "fills.parquet").height > 0

    with_exchange(work)


def test_strangers_end_the_start(folder: Path, with_exchange: Callable[[Work], None]) -> None:
    """An order with its prefix that the journal does not have: exit 1, and its id. With the journal it is its own."""

    async def work(exchange: ExchangeServer, start: Callable[..., Process]) -> None:
        process = start("Quote")
        await until(lambda: len(open_orders(exchange)) == 1, "an order")
        await process.ends(signal.SIGKILL)
        (order,) = open_orders(exchange)
        process = start("Quote", "--journal", folder / "other", "--json")
        assert await process.ends() == 1
        error = json.loads(process.out.read_text())["error"]
        assert order["id"] in error["message"]
        assert error["message"].startswith("own orders do not agree with the exchange")
        process = start("Quote", "--for", "2s", "--json")
        assert await process.ends() == 0, process.err.read_text()
        assert open_orders(exchange) == []

    with_exchange(work)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--loss", "much"], "--loss: 'much' is not allowed"),
        (["--inventory", "BTC"], "allowed is ASSET=AMOUNT"),
        (["--inventory", "BTC=1"], "--inventory: BTC is there twice"),
        (["--collar", "none"], "--collar: "),
        (["--open-orders", "many"], "--open-orders: "),
        (["--dead-man", "1s"], "--dead-man: '1s' is not allowed; allowed are whole seconds, 15s to 86399s"),
        (["--prefix", "short"], "--prefix: 'short' is not allowed"),
        (["--account", "mine"], "--account: "),
        (["--for", "1h", "--until", "2100-01-01"], "--until: --for is given too"),
        (["--for", "long"], "--for: 'long' is not allowed"),
        (["--shadow", "soon"], "--shadow: 'soon' is not allowed"),
        (["--wake", "often"], "--wake: 'often' is not allowed"),
        (["--key", "{folder}/none.toml"], "none.toml: there is no such key file"),
    ],
)
def test_wrong_use_is_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    """With exit code 2, before anything connects."""
    file = folder / "key.toml"
    key.write(file, "a-key", "c2VjcmV0LXNlY3JldA==", mode="test")
    given = ["--symbols", PAIR, "--key", str(file), *LIMITS, *(one.format(folder=folder) for one in arguments)]
    code, said = krakpot("trade", "run", f"{folder / 'rules.py'}:Quote", *given)
    assert code == 2, said
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("lacking", ["--loss", "--order-value", "--inventory", "--account", "--key"])
def test_what_has_no_default_must_be_given(folder: Path, lacking: str) -> None:
    """The amounts, the account and the key."""
    given = ["--symbols", PAIR, "--key", "key.toml", *LIMITS]
    at = given.index(lacking)
    code, said = krakpot("trade", "run", f"{folder / 'rules.py'}:Quote", *given[:at], *given[at + 2 :])
    assert (code, lacking in said) == (2, True), said


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    """Nothing is told."""
    file = tmp_path / "journal"
    file.write_text("hello\n")
    code, said = krakpot("trade", "halt", file)
    assert (code, "row 0 of the journal" in said) == (1, True), said
    code, said = krakpot("trade", "halt", tmp_path / "none")
    assert (code, len(said.splitlines())) == (1, 1), said

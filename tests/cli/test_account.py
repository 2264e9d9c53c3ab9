"""``trade orders``, ``kill``, ``status``, ``audit``: what they do to an account, print and exit with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from commands import facts, krakpot, wrong
from krakpot.cli.main import main
from krakpot.exchange.options import Options
from krakpot.exchange.rest import Key
from krakpot.exchange.server import ExchangeServer
from krakpot.trade.journal import Journal
from krakpot.trade.key import load, write
from krakpot.trade.nonces import Nonces
from krakpot.trade.signed import Signed
from waiting import run

pytestmark = pytest.mark.usefixtures("folder")
SOON = 3.0
"""Seconds of the exchange in which all orders are gone."""
CLIENT = """
import asyncio, sys, time
from krakpot.trade.key import load
from krakpot.trade.nonces import Nonces
from krakpot.trade.signed import Signed

async def main():
    key = load("main.toml")
    with Nonces(key.id) as nonces:
        signed = Signed(sys.argv[1], key, nonces)
        for number in range(5):
            await signed.ask("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.01", price="1000",
                             cl_ord_id=f"makerBTC000000000{number}")
        print("placed", flush=True)
        while True:
            pass

asyncio.run(main())
"""
"""Another program: it places five orders with the main key, and hangs."""


@pytest.fixture(autouse=True)
def _state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.delenv("KRAKPOT_CONFIRM", raising=False)


def written(key: Key, name: str, account: str = "") -> None:
    """Write the file of a key."""
    write(f"{name}.toml", key.name, key.secret_text, mode="test", account=account)


@contextlib.asynccontextmanager
async def exchange(*account: str, faults: tuple[str, ...] = ()) -> AsyncIterator[ExchangeServer]:
    """An exchange with a key file ``main.toml``, and one that may only cancel, ``kill.toml``."""
    options = Options(pairs=2, rate=1.0, rest_rate=100.0, account=account, faults=faults)
    async with ExchangeServer(options) as server:
        written(server.key, "main", "main account")
        written(server.add_key("close-trades"), "kill")
        yield server


async def command(server: ExchangeServer, name: str, *arguments: str, **variables: str) -> Result:
    """Run a command of the group with the address of REST; it shows no secret."""
    typed = ["trade", name, *arguments, "--url", server.rest_address]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(main, typed, env=variables))
    for file in ("main.toml", "kill.toml"):
        key, secret = re.findall(r'^(?:key|secret) = "(.*)"$', Path(file).read_text(), re.MULTILINE)
        assert min(len(key), len(secret)) > 16
        assert key not in done.output
        assert secret not in done.output
    return done


async def ask(server: ExchangeServer, method: str, **fields: object) -> dict[str, Any]:
    """Ask with the main key."""
    key = load("main.toml")
    with Nonces(key.id) as nonces:
        return await Signed(server.rest_address, key, nonces).ask(method, **fields)


async def buy(server: ExchangeServer, **terms: object) -> str:
    """Place an order that rests; returns its id."""
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "1000"} | terms
    made: str = (await ask(server, "AddOrder", **order))["txid"][0]
    return made


async def still_open(server: ExchangeServer) -> int:
    """The number of open orders."""
    return len((await ask(server, "OpenOrders"))["open"])


def test_orders() -> None:
    """Each order with its terms, its age by the exchange's clock, and the strategy that named it."""

    async def test() -> None:
        async with exchange() as server:
            assert (await command(server, "orders", "main.toml")).stdout == "0 open orders\n"
            first = await buy(server, cl_ord_id="makerBTC0000000011")
            second = await buy(server, cl_ord_id="somebody's own", volume="0.5", price="1000.5")
            third = await buy(server, type="sell", ordertype="stop-loss-limit", price="900", price2="890")
            done = await command(server, "orders", "main.toml")
            assert done.exit_code == 0, done.output
            head, *rows, last = done.stdout.splitlines()
            assert head.split() == [
                "id",
                "pair",
                "side",
                "kind",
                "qty",
                "filled",
                "price",
                "age",
                "cl_ord_id",
                "strategy",
            ]
            assert last == "3 open orders"
            terms = [re.sub(r"\d+:\d\d", "AGE", row).split() for row in rows]
            assert (
                terms[0]
                == f"{first} BTC/USD buy limit 0.01000000 0.00000000 1000.0 AGE makerBTC0000000011 makerBTC".split()
            )
            assert terms[1][:1] + terms[1][-1:] == [second, "stranger"]
            assert terms[2][6:9] == ["900.0", "->", "890.0"]
            assert terms[2][-2:] == ["-", "stranger"]
            found = facts(await command(server, "orders", "main.toml", "--json"))
            assert (found["account"], found["mode"]) == ("main account", "test")
            assert [(one["id"], one["prefix"], one["price2"]) for one in found["orders"]] == [
                (first, "makerBTC", None), (second, None, None), (third, None, "890.0"),
            ]  # fmt: skip
            assert all(0 <= one["age"] < 600 for one in found["orders"])
            wrong(await command(server, "orders", "kill.toml"), "lacks the permission query-open-trades", 1)

    run(test())


def test_kill_while_another_program_hangs() -> None:
    """A second key that may only cancel ends all orders at once, while the process with the first key is stopped."""

    async def test() -> None:
        async with exchange() as server:
            await buy(server)
            client = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLIENT, server.rest_address, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
            )
            try:
                assert client.stdout is not None
                assert await client.stdout.readline() == b"placed\n"
                client.send_signal(signal.SIGSTOP)
                wrong(await command(server, "kill", "main.toml", "--yes"), "Kill with a second key", 1)
                begin = server.exchange.now
                done = await command(server, "kill", "kill.toml", "--yes")
            finally:
                client.kill()
                await client.wait()
            assert done.exit_code == 0, done.output
            assert done.stdout.splitlines()[0] == "cancelled: 6 orders"
            assert "a further cancel found none; this key may not look" in done.stdout
            assert await still_open(server) == 0
            ends = [
                float(row["closetm"]) - begin / 1e9 for row in (await ask(server, "ClosedOrders"))["closed"].values()
            ]
            # A bound that the command promises, by the exchange's clock; it takes a hundredth of it.
            assert len(ends) == 6
            assert max(ends) < SOON

    run(test())


def test_kill_asks_for_the_name() -> None:
    """A person types it, a script gives it in a variable; anything else cancels nothing."""

    async def test() -> None:
        async with exchange() as server:
            await buy(server)
            for given in ("", "main\n"):
                typed = ["trade", "kill", "main.toml", "--url", server.rest_address]
                done = await asyncio.to_thread(CliRunner().invoke, main, typed, input=given)
                assert done.exit_code == 2, done.output
                assert "nothing was cancelled" in done.stderr
                assert "Type the name of the account, main account" in done.stderr
                assert done.stdout == ""
            wrong(await command(server, "kill", "main.toml", KRAKPOT_CONFIRM="main"), "which is 'main account'")
            assert await still_open(server) == 1
            done = await command(server, "kill", "main.toml", "--json", KRAKPOT_CONFIRM="main account")
            assert facts(done) == {
                "account": "main account", "mode": "test", "cancelled": 1, "left": [], "gone": True, "looked": True,
                "why": "",
            }  # fmt: skip
            # Without a name in its file, an account has that of the file.
            assert (await command(server, "kill", "kill.toml", KRAKPOT_CONFIRM="kill")).exit_code == 0

    run(test())


def test_ctrl_c_at_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an interrupt, not a wrong name."""

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    async def test() -> None:
        async with exchange() as server:
            await buy(server)
            with monkeypatch.context() as patch:
                patch.setattr("click.termui.visible_prompt_func", interrupt)
                typed = ["trade", "kill", "main.toml", "--url", server.rest_address]
                with pytest.raises(SystemExit) as ended:
                    await asyncio.to_thread(main.main, typed)
            assert ended.value.code == 130
            assert await still_open(server) == 1

    run(test())


def test_kill_where_rest_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that REST still shows are waited for, and it says so; after the time they are named, with exit code 1."""

    async def test() -> None:
        async with exchange() as server:
            order = await buy(server)
            server.speed = 1000.0
            await asyncio.sleep(0.2)
            server.speed = 1.0
            server.inject("rest_lag,by=60s,method=OpenOrders")
            with monkeypatch.context() as patch:
                patch.setattr("krakpot.trade.account.PATIENCE", 0.0)
                done = await command(server, "kill", "main.toml", "--yes")
                assert done.exit_code == 1, done.output
                assert done.stdout.splitlines()[:2] == ["cancelled: 1 order", f"still shown as open: {order}"]
            server.speed = 100.0
            done = await command(server, "kill", "main.toml", "--yes")
            assert done.exit_code == 0, done.output
            assert "no order is open: REST shows none" in done.stdout
            assert "1 order is still shown as open; REST may show orders for up to 60 s after their end" in done.stderr

    run(test())


def test_kill_is_refused() -> None:
    """In Kraken's words, with what helps; a key of another exchange never reaches Kraken."""

    async def test() -> None:
        async with exchange() as server:
            written(server.add_key("query-funds", "query-open-trades"), "looks")
            await buy(server)
            done = await command(server, "kill", "looks.toml", "--yes")
            wrong(done, "lacks the permission close-trades; give it that on the key's page (EGeneral:Permission", 1)
            server.inject("lockout,by=900s")
            wrong(
                await command(server, "kill", "kill.toml", "--yes"), "each try begins the while anew (EGeneral:Tem", 1
            )
            wrong(krakpot("trade", "kill", "kill.toml", "--yes"), "a test key needs the address")
            address = "https://api.kraken.com"
            for name in ("orders", "status"):
                wrong(krakpot("trade", name, "kill.toml", "--url", address), "where orders cost money")
            wrong(krakpot("trade", "kill", "kill.toml", "--yes", "--url", address), "where orders cost money")
            wrong(krakpot("trade", "orders", "none.toml", "--url", address), "there is no such key file")

    run(test())


def test_status() -> None:
    """Balances in the feed's names, what orders hold, the state of the exchange, and what each key may do."""

    async def test() -> None:
        async with exchange("balance.USD=5000", "balance.BTC=2") as server:
            await buy(server)
            done = await command(server, "status", "main.toml")
            assert done.exit_code == 0, done.output
            lines = done.stdout.splitlines()
            assert lines[0] == f"exchange: online: all orders are taken ({server.rest_address})"
            assert lines[-1] == "1 open order"
            rows = [line.split() for line in lines]
            assert ["USD", "5000.0000", "10.0400", "4989.9600"] in rows
            assert ["BTC", "2.0000000000", "0.0000000000", "2.0000000000"] in rows
            found = facts(await command(server, "status", "main.toml", "--json"))
            assert (found["open_orders"], found["key"]["allowed"], found["account"]) == (1, True, "main account")
            assert Decimal(found["balances"]["USD"]["free"]) == Decimal("4989.96")
            done = await command(server, "status", "kill.toml")
            assert done.exit_code == 0, done.output
            assert "may: close-trades\n" in done.stdout
            assert "balances: not shown, the key lacks query-funds" in done.stdout
            assert "open orders: not shown, the key lacks query-open-trades" in done.stdout
            assert "not for trading: the key lacks the permission modify-trades" in done.stdout
            server.inject("cancel_only,by=1000s")
            while server.exchange.system == "online":
                await asyncio.sleep(0.01)
            done = await command(server, "status", "main.toml")
            assert done.exit_code == 1, done.output
            assert "exchange: cancel_only: only cancels are taken" in done.stdout

    run(test())


def test_status_of_a_key_that_may_withdraw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1."""
    monkeypatch.setattr("krakpot.exchange.account.PERMISSIONS", ["withdraw-funds"])

    async def test() -> None:
        async with exchange_of_one_key() as server:
            done = await command(server, "status", "main.toml")
            assert done.exit_code == 1, done.output
            assert "not for trading: the key may send money away (withdraw-funds)" in done.stdout

    run(test())


@contextlib.asynccontextmanager
async def exchange_of_one_key() -> AsyncIterator[ExchangeServer]:
    """An exchange with the same key twice."""
    async with ExchangeServer(Options(pairs=2, rate=1.0)) as server:
        written(server.key, "main")
        written(server.key, "kill")
        yield server


def test_audit() -> None:
    """What agrees is exit code 0, also where a crash left a part of a row; a difference is said with both numbers."""
    with Journal("a.journal", prefix="makerBTC") as journal:
        journal.add("balances", totals={"USD": Decimal("100.00"), "BTC": Decimal(1)})
        journal.intent("add", 0, "makerBTC0000000000", qty=Decimal("0.5"))
        journal.add(
            "fill", order=0, exec_id="a", symbol="BTC/USD", side="buy", qty=Decimal("0.5"), price=Decimal(20),
            cost=Decimal(10), fees={"USD": Decimal("0.1")}, at=1,
        )  # fmt: skip
        journal.add("balances", totals={"USD": Decimal("89.90"), "BTC": Decimal("1.5")})
    with Path("a.journal").open("ab") as file:
        file.write(b"0123456789 {half of a r")
    done = krakpot("trade", "audit", "a.journal")
    assert done.exit_code == 0, done.output
    assert "USD: 89.90" in done.stdout.splitlines()
    assert "behind the last row: a crash left 23 bytes of a row" in done.stdout
    assert done.stdout.endswith("everything is explained\n")
    with Journal("a.journal", prefix="makerBTC") as journal:
        journal.add("balances", totals={"USD": Decimal("89.40"), "BTC": Decimal("1.5")})
    done = krakpot("trade", "audit", "a.journal")
    assert done.exit_code == 1
    sentence = "the exchange says 89.40 USD, fills and entries say 89.90; 0.50 USD less than explained"
    assert sentence in done.stdout
    assert "a crash left 23 bytes of a row, which was not synced: nothing that it asked for was sent" in done.stdout
    found = facts(krakpot("trade", "audit", "a.journal", "--json"))
    assert (found["explained"], found["unexplained"], found["torn"], found["open"]) == (False, {"USD": "-0.50"}, 0, [0])
    assert len(found["problems"]) == len(found["notes"]) == 1
    data = Path("a.journal").read_bytes()
    Path("a.journal").write_bytes(data.replace(b'"89.90"', b'"99.90"', 1))
    wrong(krakpot("trade", "audit", "a.journal"), "of the journal, at byte", 1)
    wrong(krakpot("trade", "audit", "b.journal"), "the journal cannot be read", 1)

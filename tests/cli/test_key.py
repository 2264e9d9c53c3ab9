"""``key new`` and ``key check``: what they write, print and exit with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import facts, krakpot, wrong
from krakpot.cli.main import main
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.trade.key import load
from krakpot.trade.nonces import Nonces
from waiting import run

pytestmark = pytest.mark.usefixtures("folder")
SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0"  # noqa: S105  # of no key


def test_new() -> None:
    """Key and secret are asked for, or come from variables; neither is shown."""
    runner = CliRunner()
    done = runner.invoke(
        main, ["key", "new", "key.toml", "--mode", "live", "--account", "main"], input=f"name\n{SECRET}\n"
    )
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    assert "krakpot key check key.toml" in done.stdout
    assert (load("key.toml").mode, load("key.toml").account) == ("live", "main")
    variables = {"KRAKPOT_API_KEY": "other", "KRAKPOT_API_SECRET": SECRET}
    done = runner.invoke(main, ["key", "new", "test.toml", "--mode", "test"], env=variables)
    assert (done.exit_code, load("test.toml").key) == (0, "other")
    wrong(runner.invoke(main, ["key", "new", "test.toml", "--mode", "test"], env=variables), "there is a file already")
    wrong(krakpot("key", "new", "a.toml"), "missing option '--mode'")
    Path(".git").mkdir()
    wrong(runner.invoke(main, ["key", "new", "a.toml", "--mode", "test"], env=variables), "git work tree")


def test_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in exchange's key may trade; a key in use is told; a test key never reaches Kraken."""
    monkeypatch.setenv("XDG_STATE_HOME", str(Path.cwd() / "state"))
    monkeypatch.delenv("KRAKPOT_API_KEY", raising=False)

    async def test() -> None:
        async with ExchangeServer(Options(pairs=2, rate=1.0)) as server:
            variables = {"KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text}
            done = CliRunner().invoke(main, ["key", "new", "key.toml", "--mode", "test"], env=variables)
            assert done.exit_code == 0, done.output

            def check(*arguments: str) -> object:
                return asyncio.to_thread(krakpot, "key", "check", "key.toml", *arguments)

            done = await check("--url", server.rest_address)  # type: ignore[misc]  # to_thread's awaitable
            assert done.exit_code == 0, done.output
            assert "test key 'krakpot exchange' may: close-trades, create-ws-token" in done.stdout
            assert "warning: the key works from every address" in done.stdout
            found = facts(await check("--url", server.rest_address, "--json"))  # type: ignore[misc]  # as above
            assert (found["allowed"], found["mode"], found["problems"]) == (True, "test", [])
            with Nonces(load("key.toml").id):
                wrong(await check("--url", server.rest_address), "another process uses this API key", 1)  # type: ignore[misc]  # as above
            wrong(await check("--url", "https://api.kraken.com"), "orders cost money")  # type: ignore[misc]  # as above
            wrong(await check(), "a test key needs the address")  # type: ignore[misc]  # as above

    run(test())
    Path("wrong.toml").write_text(f'key = "name"\nsecret = "{SECRET}"\nmode = "test"\n')
    Path("wrong.toml").chmod(0o644)
    wrong(krakpot("key", "check", "wrong.toml"), "run `chmod 600")


def test_a_key_that_may_withdraw(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused: exit 1, with the reason."""
    monkeypatch.setenv("XDG_STATE_HOME", str(Path.cwd() / "state"))
    monkeypatch.setattr("krakpot.exchange.account.PERMISSIONS", ["withdraw-funds"])

    async def test() -> None:
        async with ExchangeServer(Options(pairs=2, rate=1.0)) as server:
            variables = {"KRAKPOT_API_KEY": server.key.name, "KRAKPOT_API_SECRET": server.key.secret_text}
            assert CliRunner().invoke(main, ["key", "new", "key.toml", "--mode", "test"], env=variables).exit_code == 0
            done = await asyncio.to_thread(krakpot, "key", "check", "key.toml", "--url", server.rest_address)
            assert done.exit_code == 1
            assert "refused: the key may send money away (withdraw-funds)" in done.stdout
            assert "refused: the key lacks the permission query-funds" in done.stdout

    run(test())

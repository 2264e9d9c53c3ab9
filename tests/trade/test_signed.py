"""Signed requests to the built-in exchange's REST, and what is thought of keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from krakpot.errors import ConfigError
from krakpot.exchange.account import PERMISSIONS
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.net.rest import RestError
from krakpot.trade.key import Key, Secret, write
from krakpot.trade.nonces import Nonces
from krakpot.trade.signed import NEEDED, Signed, check, judge
from waiting import run

NOW = 1_785_641_751_000_000_000
INFO: dict[str, Any] = {
    "api_key_name": "maker", "permissions": list(NEEDED), "ip_allowlist": ["203.0.113.7"], "valid_until": "0",
}  # fmt: skip
KEY = Key("nameOfAKey", Secret("c2VjcmV0"), "test", "main")


@contextlib.asynccontextmanager
async def exchange(tmp_path: Path) -> AsyncIterator[tuple[ExchangeServer, Signed]]:
    """The built-in exchange, and who signs requests to it."""
    async with ExchangeServer(Options(pairs=2, rate=1.0)) as server:
        key = write(tmp_path / "key.toml", server.key.name, server.key.secret_text, mode="test")
        with Nonces(key.id, tmp_path) as nonces:
            yield server, Signed(server.rest_address, key, nonces)


def test_requests_are_signed(tmp_path: Path) -> None:
    """Many at a time arrive in the order of their nonces; the key may trade, and should have an allowlist."""

    async def test() -> None:
        async with exchange(tmp_path) as (_, signed):
            answers = await asyncio.gather(*(signed.ask("BalanceEx") for _ in range(5)))
            assert all(answer["ZUSD"]["balance"] == "100000.0000" for answer in answers)
            checked = await check(signed)
            assert (checked.problems, len(checked.warnings)) == ((), 1)
            assert set(NEEDED) <= set(checked.permissions)
            made = await signed.ask(
                "AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.01", price="1000.0"
            )
            assert len(made["txid"]) == 1

    run(test())


def test_refusals_show_nothing(tmp_path: Path) -> None:
    """A wrong secret, an unknown key, a used nonce, an unknown method: the sentence says what helps."""

    async def test() -> None:
        async with exchange(tmp_path) as (server, signed):
            with pytest.raises(RestError, match="Kraken refuses: EGeneral:Unknown method"):
                await signed.ask("Withdrawal")
            await signed.ask("Balance")
            with Nonces("0" * 16, tmp_path, clock=lambda: 0) as low:
                with pytest.raises(RestError, match="another program uses this API key") as nonce:
                    await Signed(server.rest_address, signed.key, low).ask("Balance")
                stranger = Key(signed.key.key, Secret("c2VjcmV0"), "test", "")
                with pytest.raises(RestError, match="the secret does not belong to the API key") as secret:
                    await Signed(server.rest_address, stranger, low).ask("Balance")
                unknown = Key("unknown", Secret("c2VjcmV0"), "test", "")
                with pytest.raises(RestError, match="the API key is not known"):
                    await Signed(server.rest_address, unknown, low).ask("Balance")
            for caught in (nonce, secret):
                assert caught.value.lasting
                assert server.key.name not in str(caught.value)
        with Nonces("1" * 16, tmp_path) as nonces:
            with pytest.raises(RestError, match="the connection failed") as down:
                await Signed("http://127.0.0.1:9", KEY, nonces).ask("Balance")
            assert not down.value.lasting
            with pytest.raises(ConfigError, match="orders cost money"):
                Signed("https://api.kraken.com", KEY, nonces)

    run(test())


@pytest.mark.parametrize(
    ("changes", "problem", "warning"),
    [
        ({}, None, None),
        ({"permissions": [*NEEDED, "withdraw-funds"]}, "may send money away (withdraw-funds)", None),
        ({"permissions": [*NEEDED, "Query-Withdrawals"]}, "may send money away", None),
        ({"permissions": list(NEEDED[1:])}, f"lacks the permission {NEEDED[0]}", None),
        ({"permissions": "all"}, "does not say what the key may do", None),
        ({"permissions": [*NEEDED, 7]}, "does not say what the key may do", None),
        ({"ip_allowlist": [""]}, None, "works from every address"),
        ({"ip_allowlist": None}, None, "works from every address"),
        ({"valid_until": str(NOW // 10**9 + 60)}, None, "expires at 2026-08-02"),
        ({"valid_until": str(NOW // 10**9 - 60)}, "expired at 2026-08-02", None),
        ({"valid_until": "tomorrow"}, None, "unknown words"),
    ],
)
def test_what_is_thought_of_a_key(changes: dict[str, Any], problem: str | None, warning: str | None) -> None:
    """A key that may withdraw, or not trade, is refused; what is only unwise is told."""
    checked = judge(INFO | changes, KEY, NOW)
    for expected, found in ((problem, checked.problems), (warning, checked.warnings)):
        assert len(found) == (expected is not None), found
        assert expected is None or expected in found[0]
    assert checked.to_dict()["allowed"] == (problem is None)


def test_permissions_that_a_file_expects() -> None:
    """What is expected is needed, and what is there besides is told."""
    key = Key("nameOfAKey", Secret("c2VjcmV0"), "test", "", ("query-ledger",))
    assert "lacks the permission query-ledger" in judge(INFO, key, NOW).problems[0]
    info = INFO | {"permissions": [*NEEDED, "query-ledger", "export-data"]}
    checked = judge(info, key, NOW)
    assert (checked.problems, checked.warnings) == (
        (), ("the key has the permission export-data, which its file does not expect",),
    )  # fmt: skip
    assert judge(INFO | {"api_key_name": "nameOfAKey\n"}, key, NOW).name == "…"


def test_a_key_with_few_permissions(tmp_path: Path) -> None:
    """It is told which one is missing, in Kraken's words and with the cure; its nonces are its own."""

    async def test() -> None:
        async with exchange(tmp_path) as (server, signed):
            few = server.add_key("close-trades")
            key = write(tmp_path / "few.toml", few.name, few.secret_text, mode="test")
            await signed.ask("Balance")
            with Nonces(key.id, tmp_path, clock=lambda: 0) as nonces:
                second = Signed(server.rest_address, key, nonces)
                assert await second.ask("CancelAll") == {"count": 0}
                assert (await second.ask("GetApiKeyInfo"))["permissions"] == ["close-trades"]
                with pytest.raises(
                    RestError, match=r"query-open-trades; give it .* \(EGeneral:Permission denied\)"
                ) as one:
                    await second.ask("OpenOrders")
                assert (one.value.lasting, one.value.words) == (True, "EGeneral:Permission denied")
                with pytest.raises(RestError, match="lacks a permission; `krakpot key check` names it"):
                    await second.ask("TradesHistory")
                with pytest.raises(RestError, match="Permission denied"):
                    await second.ask("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.01")
            assert (await signed.ask("GetApiKeyInfo"))["permissions"] == list(PERMISSIONS)
            with pytest.raises(ConfigError, match="permissions"):
                server.add_key("withdraw-funds")

    run(test())


@pytest.mark.parametrize(
    ("fault", "sentence", "lasting"),
    [
        ("lockout,by=900s", "each try begins the while anew (EGeneral:Temporary lockout)", False),
        ("nonce", "another program uses this API key", True),
    ],
)
def test_faults_of_the_exchange(tmp_path: Path, fault: str, sentence: str, lasting: bool) -> None:
    """Kraken's words, and what helps."""

    async def test() -> None:
        async with exchange(tmp_path) as (server, signed):
            server.inject(fault)
            with pytest.raises(RestError) as caught:
                await signed.ask("OpenOrders")
            assert sentence in str(caught.value)
            assert caught.value.lasting == lasting
            server.exchange.clear_faults()

    run(test())


def test_too_many_requests(tmp_path: Path) -> None:
    """The counter of the tier refuses; that is over after a while."""

    async def test() -> None:
        async with exchange(tmp_path) as (_, signed):
            with pytest.raises(RestError, match=r"try again in a minute \(EAPI:Rate limit exceeded\)") as caught:
                for _ in range(60):
                    await signed.ask("TradesHistory")
            assert not caught.value.lasting

    run(test())

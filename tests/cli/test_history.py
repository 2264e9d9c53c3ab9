"""``backfill`` and ``import``: what they print and what they exit with."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import frames
import lakes
from commands import facts, krakpot, wrong
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.history.formats import FORMATS
from waiting import run

pytestmark = pytest.mark.usefixtures("folder")
TRADES = "1381095255,122.0,0.1\n1381179030,123.61,0.1\n"


def test_backfill_against_the_built_in_exchange() -> None:
    """Nothing is missing; a hole that REST cannot fill (exit 1); a pair that REST does not know; history."""
    lakes.make(Path("whole"), lakes.market())
    rows = [(1, 5), (2, 6), (9, 12)]
    for name, symbol in (("holes", "BTC/USD"), ("odd", "ODD/USD")):
        timed = [(frames.START, frames.ack("trade", symbol))]
        timed += [
            (ts, frames.trade(symbol, number, ts=ts)) for n, number in rows for ts in [frames.START + n * frames.SECOND]
        ]
        lakes.make(Path(name), timed)

    async def test() -> None:
        async with ExchangeServer(Options(pairs=3, rate=400.0, rest_rate=1e6)) as server:

            def backfill(*arguments: str) -> Any:
                return asyncio.to_thread(
                    krakpot, "backfill", *arguments, "--url", server.rest_address, "--pace", "10ms"
                )

            done: Result = await backfill("whole")
            assert (done.exit_code, done.stdout) == (0, "no trades are missing by their ids\n"), done.output
            done = await backfill("holes")
            assert done.exit_code == 1
            assert "BTC/USD: 5 trades missing, REST does not have them either: 7 to 11" in done.stdout
            found = facts(await backfill("holes", "--json"))
            assert (found["missing"], found["whole"]) == ({"BTC/USD": [[7, 11]]}, False)
            done = await backfill("odd")
            assert (done.exit_code, done.stdout.splitlines()[0]) == (
                1, "'ODD/USD': trades are missing, and REST does not know the pair",
            )  # fmt: skip
            await asyncio.sleep(0.5)
            done = await backfill("new", "--symbols", "BTC/*", "--since", "2026-01-01")
            assert done.exit_code == 0, done.output
            assert "BTC/USD: " in done.stdout
            assert "trades added" in done.stdout
            wrong(
                await backfill("new", "--symbols", "ZZZ/*", "--since", "2026-01-01"),
                "'ZZZ/*' matches none of the 3 pairs",
            )

    run(test())
    proof = krakpot("verify", "new")
    assert proof.exit_code == 0, proof.output
    assert "imported from rest, not proved: " in proof.stdout
    assert "nothing to prove yet" in proof.stdout
    spans = krakpot("coverage", "new").stdout
    assert " rest           imported" in spans


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, not after minutes; no lake is left."""

    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    done = krakpot("backfill", "new", "--symbols", "BTC/USD", "--since", "2026-01-01", "--url", "https://rest.invalid")
    assert (
        "REST AssetPairs: the name rest.invalid cannot be resolved (Name or service not known); check it" in done.stderr
    )
    assert done.exit_code == 1, done.output
    assert not Path("new").exists()


def test_import_of_several_files() -> None:
    """A bad file is named and does not hide the others."""
    Path("XBTUSD.csv").write_text(TRADES)
    Path("bad.csv").write_text("hello")
    done = krakpot("import", "lake", "bad.csv", "XBTUSD.csv", "none.csv")
    assert done.exit_code == 1
    assert "XBTUSD.csv: kraken-trades, 2 trades of BTC/USD, origin kraken-csv" in done.stdout
    assert "krakpot: bad.csv: is a CSV with the columns 'hello', not one that is known" in done.stderr
    assert "krakpot: none.csv: there is no such file" in done.stderr
    found = facts(krakpot("import", "other", "XBTUSD.csv", "--json"))
    assert found["files"][0]["rows"] == {"trades": {"BTC/USD": 2}}
    wrong(krakpot("import", "lake", "XBTUSD.csv"), "is in the lake lake already, as BTC/USD (session")
    again = krakpot("import", "lake", "XBTUSD.csv", "bad.csv", "--json")
    assert again.exit_code == 1
    assert len(facts(again)["failed"]) == 2


def test_the_formats_are_those_of_the_module() -> None:
    """The command line names them without importing Polars."""
    from krakpot.cli import history

    assert history.FORMATS == FORMATS

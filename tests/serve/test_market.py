"""What came of each pair, within bounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

import krakpot
from krakpot.serve import encode, market
from krakpot.serve.server import ViewServer
from streams import Client, Clock, Trades
from viewing import SYMBOL, serving


def test_trades_that_are_left_out_are_counted(monkeypatch: pytest.MonkeyPatch, lake: Path) -> None:
    """Of more trades than are kept the newest come, and the number of the others."""
    monkeypatch.setattr(market, "TRADES_KEPT", 3)
    wanted = krakpot.Lake(lake).trades(SYMBOL).collect()["trade_id"].to_list()
    assert len(wanted) > 10

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            await client.done("rate", per_second=1)
            await client.done("speed", speed=1000)
            await client.done("subscribe", symbols=[SYMBOL])
            await client.until(Clock, lambda clock: clock.at_end)
            found = [one for one in client.heard if isinstance(one, Trades)]
            ids = [row[2] for one in found for row in one.rows]
            assert all(len(one.rows) <= 3 for one in found)
            assert ids == sorted(ids)
            last = found[-1]
            assert last.left_out > 0
            assert [row[2] for row in last.rows] == wanted[-3:]
            begun = wanted.index(found[-1].rows[0][2]) - last.left_out
            assert begun == (0 if len(found) == 1 else 1 + wanted.index(found[-2].rows[-1][2]))

    serving(main, lake)


def trade(ts: int, number: int, *, symbol: str = SYMBOL, kind: str = "update") -> SimpleNamespace:
    """What a listener sees of a trade."""
    return SimpleNamespace(
        symbol=symbol, ts_recv=ts, ts_event=ts - 1, trade_id=number, price="1.5", qty="2", side="sell",
        ord_type="market", kind=kind,
    )  # fmt: skip


def test_what_comes_again_is_not_taken_twice() -> None:
    """After a place was rebuilt, only what is later, or of other pairs, counts."""
    one = market.Market()
    ((taker, _),) = one.listeners(["trade"])["trade"]
    for number in (1, 2):
        taker(trade(number, number))
    one.taken(2, {"trade": [SYMBOL]})
    for number in (1, 2, 3):
        taker(trade(number, number))
        taker(trade(number, number, symbol="ETH/USD"))
    assert [one.pair(symbol).traded for symbol in (SYMBOL, "ETH/USD")] == [3, 3]
    assert one.pair(SYMBOL).volume == 6.0
    assert [encode.TRADE.unpack(kept)[2] for kept in one.pair(SYMBOL).trades] == [1, 2, 3]
    taker(trade(4, 4, kind="snapshot"))
    assert one.pair(SYMBOL).volume == 6.0, "what was traded before is no volume of this time"


def test_what_is_kept_is_bounded() -> None:
    """However much comes: the newest trades and gaps stay, and all are counted."""
    one = market.Market()
    ((taker, _),) = one.listeners(["trade"])["trade"]
    ((down, _),) = one.listeners([])["connection"]
    many = 3 * market.TRADES_KEPT
    for number in range(many):
        taker(trade(number, number))
        down(SimpleNamespace(up=False, endpoint="public", reason="cut", ts_recv=number + 1))
    pair = one.pair(SYMBOL)
    assert (pair.traded, len(pair.trades)) == (many, market.TRADES_KEPT)
    assert (one.gap_count, len(one.gaps)) == (3 * many, market.GAPS_KEPT)
    assert one.reason == "cut"
    epoch = one.epoch
    one.clear()
    assert (one.pairs, list(one.gaps), one.reason) == ({}, [], "")
    assert one.epoch > epoch

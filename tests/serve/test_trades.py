"""Trades in flowsurface's form."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import polars as pl
import pyarrow as pa
import pytest

import krakpot
import lakes
from frames import START
from krakpot.serve import trades
from krakpot.serve.server import ViewServer
from viewing import SYMBOL, serving


def test_trades_as_arrow(lake: Path) -> None:
    """The trades of a range, with the types that its reader demands."""

    async def main(_: ViewServer, client: aiohttp.ClientSession) -> None:
        query = {
            "venue": "kraken",
            "market": "spot",
            "symbol": "btcusd",
            "from": str(START // 10**6),
            "to": str(10**13),
        }
        async with client.get("/trades.arrow", params=query) as answer:
            assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
            table = pa.ipc.open_stream(await answer.read()).read_all()
        assert table.num_rows == krakpot.Lake(lake).trades(SYMBOL).collect().height > 3

    serving(main, lake)


def read(data: bytes) -> pa.Table:
    """What flowsurface reads: four columns by their place, of these types."""
    table = pa.ipc.open_stream(data).read_all()
    assert table.schema.types == [pa.int64(), pa.float64(), pa.float64(), pa.bool_()]
    assert table.column_names == ["ts", "price", "qty", "is_sell"]
    return table


def test_page_by_page_is_all_of_it(tmp_path: Path) -> None:
    """A client that asks from after its last time gets every trade once, also where many are of one millisecond."""
    lakes.make(tmp_path / "lake", lakes.market(300, step=40_000))
    lake = krakpot.Lake(tmp_path / "lake")
    columns = (pl.col("ts_event").dt.epoch("ms"), "price", "qty", pl.col("side") == "sell")
    wanted = lake.trades(SYMBOL, numbers="float").sort("ts_event", "trade_id").select(columns).collect().rows()
    assert len({row[0] for row in wanted}) < len(wanted), "some share a millisecond"
    found: list[tuple[object, ...]] = []
    since, pages = 0, 0
    while True:
        page = read(trades.answer(lake, {"symbol": "BTCUSD", "from": str(since), "limit": "2"}))
        if not page.num_rows:
            break
        pages += 1
        found += zip(*(column.to_pylist() for column in page.columns), strict=True)
        since = page["ts"][-1].as_py() + 1
    assert found == wanted
    assert pages > 1


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "symbol: it is missing"),
        ({"symbol": "NOPE"}, "no pair 'NOPE'"),
        ({"symbol": "btcusd", "from": "-1"}, "from: '-1' is not allowed"),
        ({"symbol": "btcusd", "to": "1.5"}, "to: '1.5' is not allowed"),
        ({"symbol": "btcusd", "limit": "0"}, "limit: '0' is not allowed"),
        ({"symbol": "btcusd", "limit": "9" * 5000}, "limit: "),
        ({"symbol": "btcusd", "from": "\u0663"}, "from: "),
    ],
)
def test_wrong_questions(lake: Path, query: dict[str, str], sentence: str) -> None:
    """Each gets a sentence."""
    with pytest.raises(trades.RefusedError, match=sentence):
        trades.answer(krakpot.Lake(lake), query)


def test_a_range_without_trades(lake: Path) -> None:
    """An empty answer has its types."""
    for query in ({"from": str(10**15)}, {"to": "1"}, {"from": str(10**19), "to": str(10**19)}):
        assert read(trades.answer(krakpot.Lake(lake), {"symbol": "XBT/USD"} | query)).num_rows == 0

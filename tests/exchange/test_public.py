"""Public market data of the built-in exchange by REST: names, pages of trades, candles, books, limits, faults."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest

import frames
from krakpot import _core
from krakpot.exchange.frames import unframe
from krakpot.exchange.options import Options
from krakpot.exchange.public import BURST, Limit, Public
from krakpot.exchange.server import ExchangeServer
from waiting import talk

SECOND = 10**9


def exchange(seconds: int = 60, **options: Any) -> _core.Exchange:
    """An exchange that ran for some seconds."""
    made = _core.Exchange(pairs=30, rate=2000.0, start=frames.START, **options)
    made.advance(frames.START + seconds * SECOND)
    return made


def ask(public: Public, name: str, query: str = "") -> Any:
    """The result of a request that must be answered."""
    answer = public.answer(f"/0/public/{name}", query, "127.0.0.1")
    assert isinstance(answer, dict)
    assert answer["error"] == []
    return answer["result"]


def test_pairs_have_the_names_that_kraken_gives_them() -> None:
    """Old assets have an X or a Z in the key, if both of a pair do; BTC and DOGE have other names."""
    pairs = ask(Public(exchange(0), 1e9), "AssetPairs")
    names = {facts["wsname"]: (key, facts["altname"]) for key, facts in pairs.items()}
    assert names["XBT/USD"] == ("XXBTZUSD", "XBTUSD")
    assert names["ETH/XBT"] == ("XETHXXBT", "ETHXBT")
    assert names["XDG/USD"] == ("XDGUSD", "XDGUSD")
    assert names["XBT/USDT"] == ("XBTUSDT", "XBTUSDT")
    assert names["SOL/EUR"] == ("SOLEUR", "SOLEUR")
    assert len(pairs) == 30
    assert pairs["XXBTZUSD"]["pair_decimals"] == 1
    assert pairs["XXBTZUSD"]["tick_size"] == "0.1"
    chosen = ask(Public(exchange(0), 1e9), "AssetPairs", "pair=XBT/USD,ETHUSD")
    assert list(chosen) == ["XXBTZUSD", "XETHZUSD"]


def test_assets_are_those_of_the_feed() -> None:
    """Names as in balances, decimals as in the instrument channel; what the account has is among them."""
    made = exchange(0)
    client = made.connect()
    made.receive(client, b'{"method":"subscribe","params":{"channel":"instrument"}}')
    made.advance(frames.START + SECOND)
    messages = map(json.loads, unframe(made.take(client)))
    told = next(message["data"]["assets"] for message in messages if message.get("channel") == "instrument")
    assert len(told) > 10
    assets = ask(Public(made, 1e9), "Assets")
    shown = {facts["altname"]: (facts["decimals"], facts["display_decimals"]) for facts in assets.values()}
    renamed = {"BTC": "XBT", "DOGE": "XDG"}
    for asset in told:
        name = renamed.get(asset["id"], asset["id"])
        assert shown[name] == (asset["precision"], asset["precision_display"]), name
    assert set(ask(Public(_core.Exchange(pairs=1), 1e9), "Assets")) == {"XXBT", "ZUSD", "XETH", "ZEUR"}
    assert list(ask(Public(made, 1e9), "Assets", "asset=XBT,ZUSD")) == ["XXBT", "ZUSD"]


def test_pairs_have_the_fees_of_the_account() -> None:
    """In percent, whatever the volume."""
    made = exchange(0, account=["maker=0.1", "taker=0.26"])
    pairs = ask(Public(made, 1e9), "AssetPairs")
    assert len(pairs) == 30
    assert all((facts["fees"], facts["fees_maker"]) == ([[0, 0.26]], [[0, 0.1]]) for facts in pairs.values())


def test_trades_in_pages_are_all_trades_once() -> None:
    """From `since` on, at most `count`; `last` of a page is the `since` of the next one, also within a moment."""
    made = exchange()
    public = Public(made, 1e9)
    every = made.trades("BTC/USD", 0, 10**6)
    assert every is not None
    assert len(every) > 1500
    found: list[list[Any]] = []
    since = str(frames.START)
    while True:
        page = ask(public, "Trades", f"pair=XBTUSD&since={since}&count=37")
        assert len(page["XXBTZUSD"]) <= 37
        if not page["XXBTZUSD"]:
            break
        found += page["XXBTZUSD"]
        since = page["last"]
    assert [row[6] for row in found] == [trade[5] for trade in every]
    assert [row[:2] + row[3:5] for row in found] == [[trade[0], trade[1], trade[3], trade[4]] for trade in every]
    newest = ask(public, "Trades", "pair=XXBTZUSD&count=5")["XXBTZUSD"]
    assert [row[6] for row in newest] == [trade[5] for trade in every[-5:]]
    seconds = ask(public, "Trades", f"pair=XBT/USD&since={frames.START // SECOND}&count=1")["XXBTZUSD"]
    assert seconds[0][6] == every[0][5], "since may be in seconds"


def test_candles_are_those_of_the_trades() -> None:
    """The volumes add up; `last` is the last candle that is closed."""
    made = exchange(200)
    public = Public(made, 1e9)
    answer = ask(public, "OHLC", "pair=XBTUSD")
    candles = answer["XXBTZUSD"]
    trades = made.trades("BTC/USD", 0, 10**6) or []
    assert sum(candle[7] for candle in candles) == len(trades)
    assert candles[0][1] == trades[0][0]
    assert candles[-1][4] == trades[-1][0]
    assert all(candle[0] % 60 == 0 and float(candle[3]) <= float(candle[2]) for candle in candles)
    assert answer["last"] == candles[-2][0]
    later = ask(public, "OHLC", f"pair=XBTUSD&since={answer['last']}")["XXBTZUSD"]
    assert later == candles[-1:]
    assert len(ask(public, "OHLC", "pair=XBTUSD&interval=60")["XXBTZUSD"]) <= 2


def test_depth_is_the_book() -> None:
    """Bids and asks, best first, at most `count`."""
    made = exchange(1)
    book = ask(Public(made, 1e9), "Depth", "pair=XBTUSD&count=500")["XXBTZUSD"]
    bids, asks = made.book("BTC/USD", 500) or ([], [])
    assert [row[:2] for row in book["bids"]] == [list(level) for level in bids]
    assert [row[:2] for row in book["asks"]] == [list(level) for level in asks]
    assert len(ask(Public(made, 1e9), "Depth", "pair=XBTUSD&count=3")["XXBTZUSD"]["asks"]) == 3


@pytest.mark.parametrize(
    ("name", "query", "error"),
    [
        ("Trades", "pair=BTC/USD", "EQuery:Unknown asset pair"),
        ("Trades", "pair=NONE", "EQuery:Unknown asset pair"),
        ("OHLC", "pair=NONE", "EQuery:Unknown asset pair"),
        ("Depth", "pair=NONE", "EQuery:Unknown asset pair"),
        ("AssetPairs", "pair=XBTUSD,NONE", "EQuery:Unknown asset pair"),
        ("Assets", "asset=XBT,NONE", "EQuery:Unknown asset"),
        ("Trades", "", "EGeneral:Invalid arguments"),
        ("Trades", "pair=XBTUSD&count=1001", "EGeneral:Invalid arguments"),
        ("Trades", "pair=XBTUSD&count=0", "EGeneral:Invalid arguments"),
        ("Trades", "pair=XBTUSD&since=x", "EGeneral:Invalid arguments"),
        ("OHLC", "pair=XBTUSD&interval=7", "EGeneral:Invalid arguments"),
        ("Depth", "pair=XBTUSD&count=501", "EGeneral:Invalid arguments"),
        ("Depth", "pair=XBTUSD&count=x", "EGeneral:Invalid arguments"),
    ],
)
def test_wrong_requests_are_refused_in_kraken_s_words(name: str, query: str, error: str) -> None:
    """An unknown pair, an argument that is not allowed."""
    public = Public(exchange(0), 1e9)
    assert public.answer(f"/0/public/{name}", query, "127.0.0.1") == {"error": [error]}


def test_a_client_that_asks_too_often_is_refused() -> None:
    """A burst, then one a second; each pair and each address is counted apart."""
    now = [0.0]
    limit = Limit(1.0, lambda: now[0])
    assert [limit.exceeded("a", "x") for _ in range(int(BURST) + 2)] == [False] * int(BURST) + [True] * 2
    assert not limit.exceeded("a", "y")
    assert not limit.exceeded("b", "x")
    now[0] = 1.0
    assert [limit.exceeded("a", "x") for _ in range(2)] == [False, True]
    public = Public(exchange(0), 0.001)
    answers = [public.answer("/0/public/Depth", "pair=XBTUSD", "here") for _ in range(int(BURST) + 1)]
    assert answers[-1] == {"error": ["EGeneral:Too many requests"]}
    assert all(answer["error"] == [] for answer in answers[:-1] if isinstance(answer, dict))


def test_the_oldest_trades_are_forgotten() -> None:
    """Memory is bounded: `history` trades of all pairs together."""
    made = exchange(history=50)
    kept = [trade for symbol in made.symbols for trade in made.trades(symbol, 0, 1000) or []]
    whole = exchange()
    every = [trade for symbol in whole.symbols for trade in whole.trades(symbol, 0, 10**6) or []]
    assert len(kept) == 50
    assert min(trade[2] for trade in kept) >= sorted(trade[2] for trade in every)[-50]


def test_faults_and_sockets() -> None:
    """Over a socket: an answer, then the faults of REST, each as often as it was asked for."""

    async def run() -> None:
        async with ExchangeServer(Options(pairs=3, rest_rate=1e6)) as server:

            async def get() -> tuple[int, Any]:
                answer = await talk(
                    server.rest_address, b"GET /0/public/Depth?pair=XBTUSD&count=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                )
                head, _, body = answer.partition(b"\r\n\r\n")
                return int(head.split()[1]), json.loads(body)

            assert (await get())[0] == HTTPStatus.OK
            server.inject("rest=once,by=429")
            assert (await get())[0] == HTTPStatus.TOO_MANY_REQUESTS
            # What Cloudflare answers for Kraken, and Python has no name for.
            server.inject("rest=once,by=520")
            assert (await get())[0] == 520
            server.inject("rest_limit=once")
            assert await get() == (HTTPStatus.OK, {"error": ["EGeneral:Too many requests"]})
            assert (await get())[1]["error"] == []
            assert server.summary()["faults"] == {"rest": 2, "rest_limit": 1}

    asyncio.run(run())


def test_tickers_sum_up_the_trades_of_the_day() -> None:
    """Of today and of the last 24 hours, which began yesterday; as the trades themselves say."""
    made = _core.Exchange(pairs=2, rate=20.0, start=frames.START)
    made.advance(frames.START + 23 * 3600 * SECOND)
    public = Public(made, 1e9)
    ticker = ask(public, "Ticker", "pair=XBTUSD")["XXBTZUSD"]
    rows = made.trades("BTC/USD", 0, 10**6) or []
    midnight = made.now - made.now % (86_400 * SECOND)
    assert midnight > frames.START, "the test sees a midnight"
    for at, some in enumerate(([row for row in rows if row[2] >= midnight], rows)):
        prices = [Decimal(row[0]) for row in some]
        volume = sum((Decimal(row[1]) for row in some), Decimal(0))
        worth = sum((Decimal(row[0]) * Decimal(row[1]) for row in some), Decimal(0))
        assert len(some) > 100
        assert (Decimal(ticker["v"][at]), ticker["t"][at]) == (volume, len(some))
        assert (Decimal(ticker["l"][at]), Decimal(ticker["h"][at])) == (min(prices), max(prices))
        # Candles of hours have rounded averages.
        assert abs(Decimal(ticker["p"][at]) - worth / volume) < Decimal("0.2")
        if at == 0:
            assert ticker["o"] == some[0][0]
    assert ticker["c"] == [rows[-1][0], rows[-1][1]]
    bids, asks = made.book("BTC/USD", 1) or ([], [])
    assert (ticker["b"][0], ticker["a"][0]) == (bids[0][0], asks[0][0])
    assert set(ask(public, "Ticker")) == {"XXBTZUSD", "XETHZUSD"}
    assert public.answer("/0/public/Ticker", "pair=FISH", "c") == {"error": ["EQuery:Unknown asset pair"]}
    quiet = ask(Public(_core.Exchange(pairs=1), 1e9), "Ticker")["XXBTZUSD"]
    assert (quiet["v"], quiet["t"], quiet["c"]) == (["0.00000000"] * 2, [0, 0], ["0.0", "0.00000000"])

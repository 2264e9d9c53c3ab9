"""ccxt pro's ``watch_order_book``: it returns several updates as one. It compares no checksum."""

import asyncio

import ccxt.pro as ccxt

import common


async def main() -> None:
    """Watch until the exchange closes."""
    url, depth, _ = common.asked()
    exchange = ccxt.kraken()
    exchange.urls["api"]["ws"]["publicV2"] = url
    # The sender answers no pings, and on a busy machine the stream takes longer than ccxt waits for an answer.
    exchange.streaming["keepAlive"] = 1_000_000_000
    base, quote = common.SYMBOL.split("/")
    # What REST would answer.
    market = {"id": common.SYMBOL, "symbol": common.SYMBOL, "base": base, "quote": quote, "spot": True, "active": True}
    market |= {"baseId": base, "quoteId": quote, "type": "spot", "info": {"wsname": common.SYMBOL}}
    exchange.set_markets([market])
    book = None
    begun = common.now()
    try:
        while True:
            book = await exchange.watch_order_book(common.SYMBOL, depth)
    except ccxt.NetworkError:
        ended = common.now()
    await exchange.close()
    book = exchange.orderbooks[common.SYMBOL]
    sides = [[level[:2] for level in book[side]] for side in ("bids", "asks")]
    common.tell(begun, ended, 0, *sides, "ccxt", "aiohttp")


asyncio.run(main())

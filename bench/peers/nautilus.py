"""nautilus_trader's Kraken client, which is Rust, and its order book fed from Python as its data engine does."""

import asyncio
import os

from nautilus_trader.core import nautilus_pyo3 as n
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import capsule_to_data
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId

import common


def pair() -> n.CurrencyPair:
    """What REST would answer."""
    base, quote = common.SYMBOL.split("/")
    currencies = [n.Currency(name, 8, 0, name, n.CurrencyType.CRYPTO) for name in (base, quote)]
    tick, lot = (f"{10.0**-decimals:.{decimals}f}" for decimals in (common.PRICE_DECIMALS, common.QTY_DECIMALS))
    return n.CurrencyPair(
        instrument_id=n.InstrumentId.from_str(f"{common.SYMBOL}.KRAKEN"),
        raw_symbol=n.Symbol(common.SYMBOL),
        base_currency=currencies[0],
        quote_currency=currencies[1],
        price_precision=common.PRICE_DECIMALS,
        size_precision=common.QTY_DECIMALS,
        price_increment=n.Price.from_str(tick),
        size_increment=n.Quantity.from_str(lot),
        ts_event=0,
        ts_init=0,
    )


async def main() -> None:
    """Keep the book until the last message."""
    url, depth, wanted = common.asked()
    book = OrderBook(InstrumentId.from_str(f"{common.SYMBOL}.KRAKEN"), BookType.L2_MBP)
    messages = 0

    def callback(message: object) -> None:
        nonlocal messages
        book.apply_deltas(capsule_to_data(message))
        messages += 1
        if messages == wanted:
            ended = common.now()
            sides = [[(level.price, level.size()) for level in side] for side in (book.bids(), book.asks())]
            common.tell(begun, ended, messages, *sides, "nautilus_trader")
            # At once: the client would connect again, and the stream would start again.
            os._exit(0)

    loop = asyncio.get_running_loop()
    client = n.KrakenSpotWebSocketClient(base_url=url)
    begun = common.now()
    await client.connect(loop, [pair()], callback)
    await client.subscribe_book(n.InstrumentId.from_str(f"{common.SYMBOL}.KRAKEN"), depth)
    await asyncio.Event().wait()


asyncio.run(main())

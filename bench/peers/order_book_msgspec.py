"""websockets' asyncio API, msgspec into structs with decimals, the C library order_book; every checksum compared."""

import asyncio
from decimal import Decimal

import msgspec
from order_book import OrderBook
from websockets.asyncio.client import connect

import common


class Level(msgspec.Struct):
    """A price and its quantity."""

    price: Decimal
    qty: Decimal


class Entry(msgspec.Struct):
    """What a message says of a symbol."""

    bids: list[Level]
    asks: list[Level]
    checksum: int


class Message(msgspec.Struct):
    """A message of any channel, of which only books have data that is wanted."""

    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


async def main() -> None:
    """Keep the book."""
    url, depth, _ = common.asked()
    outer, inner = msgspec.json.Decoder(Message), msgspec.json.Decoder(list[Entry])
    book = OrderBook(max_depth=depth, max_depth_strict=True, checksum_format="KRAKEN")
    messages = 0
    begun = common.now()
    async with connect(url, max_size=None, compression=None) as socket:
        async for text in socket:
            message = outer.decode(text)
            if message.channel != "book":
                continue
            messages += 1
            for entry in inner.decode(message.data):
                for side, levels in ((book.bids, entry.bids), (book.asks, entry.asks)):
                    for level in levels:
                        if level.qty:
                            side[level.price] = level.qty
                        elif level.price in side:
                            del side[level.price]
                assert book.checksum() == entry.checksum
    ended = common.now()
    sides = [side.to_dict() for side in (book.bids, book.asks)]
    common.tell(begun, ended, messages, *(list(side.items()) for side in sides), "websockets", "msgspec", "order_book")


asyncio.run(main())

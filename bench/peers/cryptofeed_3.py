"""cryptofeed's Kraken feed over its own connection, checksums validated by default; the callback only counts."""

import asyncio
from collections import defaultdict

from cryptofeed.connection import WSAsyncConn
from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges.kraken import Kraken
from cryptofeed.symbols import Symbols

import common


async def main() -> None:
    """Keep the book."""
    url, depth, _ = common.asked()
    # What REST would answer.
    pair = common.SYMBOL.replace("/", "-")
    info = defaultdict(dict, instrument_type={pair: "spot"})
    Symbols.set(Kraken.id, {pair: common.SYMBOL}, info)
    messages = 0

    async def callback(_book: object, _time: float) -> None:
        nonlocal messages
        messages += 1

    feed = Kraken(max_depth=depth, symbols=[pair], channels=[L2_BOOK], callbacks={L2_BOOK: callback})
    assert feed.checksum_validation
    # It accepts only TLS addresses.
    connection = WSAsyncConn("wss://127.0.0.1", "bench", {"book": [common.SYMBOL]}, max_size=None, compression=None)
    connection.address = url
    begun = common.now()
    async with connection.connect() as opened:
        async for message in opened.read():
            await feed.message_handler(message, opened, opened.last_message)
    ended = common.now()
    book = feed._l2_book[pair].book  # noqa: SLF001  # it has no other door
    common.tell(begun, ended, messages, *(list(s.to_dict().items()) for s in (book.bids, book.asks)), "cryptofeed")


asyncio.run(main())

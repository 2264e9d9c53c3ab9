"""python-kraken-sdk's ``SpotOrderBookClient``: it sorts the book again for every entry, and compares every checksum."""

import asyncio
import os

from kraken.spot import SpotOrderBookClient
from kraken.spot.websocket.connectors import ConnectSpotWebsocketBase

import common


class Pairs:
    """What REST would answer."""

    def get_asset_pairs(self, pair: str) -> dict[str, dict[str, int]]:
        """Decimals of the pair."""
        return {pair: {"pair_decimals": common.PRICE_DECIMALS, "lot_decimals": common.QTY_DECIMALS}}


async def main() -> None:
    """Keep the book until the last message."""
    url, depth, wanted = common.asked()
    messages = 0

    def callback(pair: str, message: dict[str, object]) -> None:
        nonlocal messages
        assert "error" not in message, (pair, message)
        messages += 1
        if messages == wanted:
            ended = common.now()
            book = client.get(common.SYMBOL)
            sides = [[(price, qty) for price, (qty, _) in book[side].items()] for side in ("bid", "ask")]
            common.tell(begun, ended, messages, *sides, "python-kraken-sdk", "websockets")
            # At once: the client would connect again, and the stream would start again.
            os._exit(0)

    SpotOrderBookClient.WS_URL = url
    # Its ping every ten seconds would find the stream ended while it still works on it, and would start it again.
    ConnectSpotWebsocketBase.PING_INTERVAL = 1_000_000
    client = SpotOrderBookClient(depth=depth, callback=callback)
    client._SpotOrderBookClient__market = Pairs()  # noqa: SLF001  # it has no other door
    begun = common.now()
    await client.start()
    await asyncio.Event().wait()


asyncio.run(main())
